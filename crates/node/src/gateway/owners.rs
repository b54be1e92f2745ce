//! Under which names a gateway holds blobs. Whatever other name there is in its store is somebody else's.

use manyhands_blob::Owner;
use manyhands_proto::JobId;

/// Owner of everything that belongs to a job until it ends.
pub(crate) fn owner_of(job: JobId) -> Owner {
    Owner::from(job)
}

/// Owner of what nodes claim to be a job's results, until it is verified. Not the job itself: a node may name any blob for its receipt,
/// the segment that it was given too, and what is refused is let go.
pub(crate) fn claims_of(job: JobId) -> Owner {
    named(&format!("{CLAIMS}{job}"))
}

/// Owner of final receipts.
pub(crate) fn receipts() -> Owner {
    named("receipts")
}

/// Owner of programs and inputs that no job uses yet.
pub(crate) fn uploads() -> Owner {
    named("uploads")
}

/// Owner of receipts that scores are of, while they are looked at.
pub(crate) fn scored() -> Owner {
    named("scored")
}

const CLAIMS: &str = "claims ";

fn named(name: &str) -> Owner {
    // A short literal is always an owner's name; the job id zero, which no job has, stands for the impossible.
    Owner::new(name).unwrap_or_else(|_| Owner::from(JobId::default()))
}

/// What a gateway holds a blob for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// [`owner_of`].
    Job(JobId),
    /// [`claims_of`].
    Claims,
    /// [`receipts`].
    Receipts,
    /// [`uploads`].
    Uploads,
    /// [`scored`].
    Scored,
}

impl Purpose {
    /// What an owner is; none if it is not a gateway's.
    pub(crate) fn of(owner: &Owner) -> Option<Self> {
        if *owner == receipts() {
            return Some(Self::Receipts);
        }
        if *owner == uploads() {
            return Some(Self::Uploads);
        }
        if *owner == scored() {
            return Some(Self::Scored);
        }
        let name = owner.as_str();
        if let Some(job) = name.strip_prefix(CLAIMS) {
            return job.parse::<JobId>().ok().map(|_| Self::Claims);
        }
        let job = name.split(' ').next_back()?.parse::<JobId>().ok()?;
        (*owner == owner_of(job)).then_some(Self::Job(job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_has_its_purpose_and_others_have_none() {
        let job = JobId([0xab; 16]);
        assert_eq!(Purpose::of(&owner_of(job)), Some(Purpose::Job(job)));
        assert_eq!(Purpose::of(&claims_of(job)), Some(Purpose::Claims));
        assert_eq!(Purpose::of(&receipts()), Some(Purpose::Receipts));
        assert_eq!(Purpose::of(&uploads()), Some(Purpose::Uploads));
        assert_eq!(Purpose::of(&scored()), Some(Purpose::Scored));
        let digits = "ab".repeat(16);
        for other in
            ["cli", "made", "batch-7", "job", "job 7", "claims", "claims x", &digits, &format!("{digits} p0 1")]
        {
            assert_eq!(Purpose::of(&Owner::new(other).unwrap()), None, "{other}");
        }
    }
}
