//! Which part of a file a request wants: one range of bytes, or all of it (RFC 9110, 14).

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// From `first` on, `count` bytes, at least one.
    Range {
        /// Offset of the first byte.
        first: u64,
        /// Number of bytes.
        count: u64,
    },
    /// The range begins beyond the end.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size_bytes`. What is no single range of bytes is ignored, as the RFC allows.
pub(crate) fn part(header: Option<&str>, size_bytes: u64) -> Part {
    let Some((first, last)) = header.and_then(|text| text.trim().strip_prefix("bytes=")?.split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            None => Part::Whole,
            Some(0) => Part::Unsatisfiable,
            Some(_) if size_bytes == 0 => Part::Unsatisfiable,
            Some(count) => Part::Range { first: size_bytes.saturating_sub(count), count: count.min(size_bytes) },
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), _) if first >= size_bytes => Part::Unsatisfiable,
            (Some(first), Some(last)) if last >= first => {
                Part::Range { first, count: last.min(size_bytes - 1) - first + 1 }
            }
            (Some(first), None) if last.is_empty() => Part::Range { first, count: size_bytes - first },
            _ => Part::Whole,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_those_of_the_rfc() {
        let range = |first, count| Part::Range { first, count };
        for (header, expected) in [
            ("bytes=0-9", range(0, 10)),
            ("bytes=90-", range(90, 10)),
            ("bytes=-10", range(90, 10)),
            ("bytes=-1000", range(0, 100)),
            ("bytes=50-1000", range(50, 50)),
            ("bytes=99-99", range(99, 1)),
            ("bytes=100-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=9-1", Part::Whole),
            ("bytes=1-2,4-5", Part::Whole),
            ("items=1-2", Part::Whole),
            ("bytes=x-", Part::Whole),
        ] {
            assert_eq!(part(Some(header), 100), expected, "{header}");
        }
        assert_eq!((part(None, 100), part(Some("bytes=0-0"), 0)), (Part::Whole, Part::Unsatisfiable));
    }

    proptest! {
        #[test]
        fn a_range_lies_within_the_file(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Part::Range { first, count } = part(Some(&header), size) {
                prop_assert!(count > 0 && first.checked_add(count).is_some_and(|end| end <= size));
            }
        }
    }
}
