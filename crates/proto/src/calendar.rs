//! Moments as people write them: the civil calendar, in UTC. There is no clock here; a moment is given in seconds.

/// A moment in UTC, as its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The year, from 1970 on.
    pub year: u64,
    /// The month, 1 to 12.
    pub month: u64,
    /// The day of the month, from 1 on.
    pub day: u64,
    /// The hour, 0 to 23.
    pub hour: u64,
    /// The minute, 0 to 59.
    pub minute: u64,
    /// The second, 0 to 59: leap seconds are not counted, as no computer's clock counts them.
    pub second: u64,
}

impl Moment {
    /// The moment so many seconds after the beginning of 1970.
    pub const fn of_unix(seconds: u64) -> Self {
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // Years that begin in March have their leap day at the end; 719,468 days lie between the first of March of year 0 and 1970, and
        // four centuries have 146,097 (H. Hinnant, days_from_civil).
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, year) = (day - (153 * month + 2) / 5 + 1, era * 400 + year);
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        Self { year, month, day, hour: of_day / 3_600, minute: of_day / 60 % 60, second: of_day % 60 }
    }

    /// As RFC 3339 has it: `2026-01-31T12:00:00Z`.
    pub fn rfc_3339(self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_others_write_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_399_438, "2026-11-23T02:03:58Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::of_unix(seconds).rfc_3339(), text);
        }
        assert!(Moment::of_unix(u64::MAX).year > 1 << 38, "whatever is given");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut last = Moment::of_unix(0);
        for day in 1..200_000 {
            let next = Moment::of_unix(day * 86_400);
            let begins_month = next.day == 1 && (next.month == last.month % 12 + 1) && last.day >= 28;
            assert!(next > last && (begins_month || (next.day, next.month) == (last.day + 1, last.month)), "{next:?}");
            last = next;
        }
        assert_eq!(last.rfc_3339(), "2517-07-31T00:00:00Z");
    }
}
