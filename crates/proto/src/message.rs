//! Messages between gateways and nodes, and the job notice that is gossiped.
//!
//! A node asks and a gateway answers, except for [`Request::Cancel`], which a gateway sends. Blobs and receipts never
//! travel here: messages carry references, numbers and short texts.

use serde::{Deserialize, Serialize};

use crate::codec::Checked;
use crate::limits::{
    ADDRESS_CHARS_MAX, ADDRESSES_MAX, HOLDERS_MAX, RECEIPT_BYTES_MAX, SEGMENT_BYTES_MAX, SLOTS_MAX, TEXT_CHARS_MAX,
    TIMINGS_MAX,
};
use crate::unit::UnitKind;
use crate::{BlobRef, DecodeError, JobId, LeaseId, NodeId, Nonce, Po2, SignedScore};

/// The control protocol's name; a change of any message's bytes changes the number.
pub const CONTROL_PROTOCOL: &str = "/manyhands/control/6";
/// The blob protocol's name.
pub const BLOB_PROTOCOL: &str = "/manyhands/blob/2";
/// The gossip topic for job notices.
pub const NOTICE_TOPIC: &str = "manyhands/jobs/1";

/// Who is at fault for a failure. Only [`Blame::Peer`] costs standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// This process or this machine.
    Us,
    /// The peer: what it sent cannot come from an honest node.
    Peer,
    /// Nobody that can be named: connections break.
    Network,
}

/// A peer and where to dial it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The peer.
    pub node: NodeId,
    /// Its multiaddresses, without the `/p2p` part.
    #[serde(deserialize_with = "crate::bounded::list::<ADDRESSES_MAX, _, _>")]
    pub addresses: Vec<String>,
}

/// What a node can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The exact zkVM version of the node's worker; only equal versions are matched.
    pub zkvm: String,
    /// The largest segment that the node offers to prove.
    pub po2_max: Po2,
    /// Memory that one slot may use.
    pub memory_bytes: u64,
    /// Units that the node works on at the same time.
    pub slots: u8,
    /// Logical cores.
    pub cores: u16,
    /// Whether the recursion programs are inside its worker: lifts, joins, resolutions, keccak proofs and unions can be leased to it.
    pub recursion: bool,
    /// Times that the node measured on itself. A hint for its first lease; what the gateway sees itself comes first.
    #[serde(deserialize_with = "crate::bounded::list::<TIMINGS_MAX, _, _>")]
    pub timings: Vec<Timing>,
}

/// How long one unit of a kind took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The kind of unit.
    pub kind: UnitKind,
    /// The size of the segment or keccak proof; lifts and joins take the same time at each.
    pub po2: Po2,
    /// Milliseconds from input in memory to proof in memory.
    pub elapsed_ms: u64,
}

/// An offer to do work now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bid {
    /// What the node can do.
    pub capabilities: Capabilities,
    /// Slots without a lease. A bid is for one unit whatever the number.
    pub slots_free: u8,
    /// What a verifier last said of the node: the newest score that this gateway is likely to believe.
    pub score: Option<Box<SignedScore>>,
}

/// What opens an encrypted blob: with the blob's reference, the 64 bytes that Swarm calls an encrypted reference. It travels in a
/// lease and nowhere else, and `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobKey(pub [u8; 32]);

impl core::fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BlobKey(hidden)")
    }
}

/// A unit given to one node until a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which lease.
    pub id: LeaseId,
    /// What the unit works on: a segment, a keccak request, a segment's proof, two neighbours to join or unite, or a range and what resolves its
    /// assumption.
    #[serde(deserialize_with = "crate::bounded::list::<2, _, _>")]
    pub inputs: Vec<BlobRef>,
    /// What opens the segment or keccak request, if it is encrypted. Proofs never are.
    pub key: Option<BlobKey>,
    /// Size of the job's segments; of a keccak proof its own.
    pub po2: Po2,
    /// The nonce to prove a segment under; all other units ignore it.
    pub nonce: Nonce,
    /// Time from the lease's arrival until the gateway stops waiting for it, in milliseconds.
    pub deadline_ms: u64,
    /// How often the gateway wants to hear of it, in milliseconds.
    pub heartbeat_ms: u64,
    /// Who has the inputs.
    #[serde(deserialize_with = "crate::bounded::list::<HOLDERS_MAX, _, _>")]
    pub holders: Vec<Holder>,
}

/// How far a leased unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Getting the inputs.
    Fetch,
    /// Proving, lifting, joining, resolving or uniting.
    Work,
    /// Storing the receipt.
    Store,
}

/// Why a node gives a lease back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailReason {
    /// The inputs could not be had.
    Fetch(String),
    /// The worker refused, crashed or ran out of memory.
    Worker(String),
    /// The node shuts down or its owner wants the machine.
    Leaving,
}

/// What one peer asks of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A node introduces itself, so that the gateway can say which nodes offer what even while no job runs.
    Hello(Capabilities),
    /// A node offers to work. The gateway answers with a lease, or holds the bid until a unit needs it.
    Bid(Bid),
    /// A lease is still being worked on.
    Heartbeat {
        /// Which.
        lease: LeaseId,
        /// How far.
        stage: Stage,
        /// Milliseconds until the work is done, as the node reckons from the processor time that it gets; nothing where it cannot say.
        /// It can only make a lease look slower than predicted, so that a false one gains its sender nothing.
        remaining_ms: Option<u64>,
    },
    /// A lease's receipt can be fetched from the sender.
    Done {
        /// Which.
        lease: LeaseId,
        /// The receipt.
        receipt: BlobRef,
        /// Milliseconds of proving, as the node says.
        elapsed_ms: u64,
    },
    /// A lease is given back.
    Fail {
        /// Which.
        lease: LeaseId,
        /// Why.
        reason: FailReason,
    },
    /// A gateway needs a lease's result no more.
    Cancel(LeaseId),
}

/// What the other answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To `Hello`, `Heartbeat`, `Done`, `Fail` and `Cancel`: taken note of.
    Ok,
    /// To `Bid`: work.
    Lease(Box<Lease>),
    /// To `Bid`: nothing to do now; ask again after this many milliseconds, or when a job is announced.
    Wait {
        /// Milliseconds.
        retry_ms: u64,
    },
    /// To `Heartbeat` and `Done`: the lease is not (or no more) the sender's; drop the work.
    Stale,
    /// To `Bid`: this node gets no work here, and why.
    Refused {
        /// A sentence for the node's owner.
        reason: String,
        /// When it may ask again, in milliseconds.
        retry_ms: u64,
    },
    /// To `Done`: taken, and this is the gateway's word on it, to be shown to others.
    Scored(Box<SignedScore>),
}

/// A gateway's announcement that a job has units to lease. Gossiped, signed by its author, at most 1 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNotice {
    /// The job.
    pub job: JobId,
    /// Who owns it, and where.
    pub gateway: Holder,
    /// The exact zkVM version that its units need.
    pub zkvm: String,
    /// Segment size of its units.
    pub po2: Po2,
    /// Whether it needs the recursion programs: for lifts and joins, or for keccak proofs.
    pub recursion: bool,
}

/// Texts are shown to people, so they are short and cannot move the cursor of a terminal.
fn text(text: &str) -> Result<(), DecodeError> {
    if text.len() > TEXT_CHARS_MAX {
        return Err(DecodeError::Invalid("a text is too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(DecodeError::Invalid("a text holds control characters"));
    }
    Ok(())
}

impl Checked for Holder {
    fn check(&self) -> Result<(), DecodeError> {
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(DecodeError::Invalid("a peer states too many addresses"));
        }
        if self.addresses.iter().any(|address| address.len() > ADDRESS_CHARS_MAX) {
            return Err(DecodeError::Invalid("an address is too long"));
        }
        self.addresses.iter().try_for_each(|address| text(address))
    }
}

impl Checked for Capabilities {
    fn check(&self) -> Result<(), DecodeError> {
        text(&self.zkvm)?;
        if self.slots == 0 || self.slots > SLOTS_MAX {
            return Err(DecodeError::Invalid("a node has 1 to 64 slots"));
        }
        if self.timings.len() > TIMINGS_MAX {
            return Err(DecodeError::Invalid("a node states too many timings"));
        }
        Ok(())
    }
}

impl Checked for Lease {
    fn check(&self) -> Result<(), DecodeError> {
        self.id.unit.check()?;
        if self.inputs.len() != self.id.unit.inputs() {
            return Err(DecodeError::Invalid("a lease has the wrong number of inputs for its unit"));
        }
        let limit = if self.id.unit.is_first() { SEGMENT_BYTES_MAX } else { RECEIPT_BYTES_MAX };
        if self.inputs.iter().any(|input| input.size_bytes > limit) {
            return Err(DecodeError::Invalid("a lease's input is too large"));
        }
        if self.key.is_some() && !self.id.unit.is_first() {
            return Err(DecodeError::Invalid("only what the guest left is encrypted"));
        }
        if self.holders.len() > HOLDERS_MAX {
            return Err(DecodeError::Invalid("a lease names too many holders"));
        }
        self.holders.iter().try_for_each(Checked::check)
    }
}

impl Checked for Request {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Hello(capabilities) => capabilities.check(),
            Self::Bid(bid) => {
                bid.capabilities.check()?;
                if bid.slots_free > bid.capabilities.slots {
                    return Err(DecodeError::Invalid("more slots are free than there are"));
                }
                bid.score.as_ref().map_or(Ok(()), |score| score.check())
            }
            // The size of a receipt is not checked here: a lie about it is the sender's fault, and step IV says so.
            Self::Heartbeat { lease, .. } | Self::Done { lease, .. } | Self::Cancel(lease) => lease.unit.check(),
            Self::Fail { lease, reason } => {
                lease.unit.check()?;
                match reason {
                    FailReason::Fetch(why) | FailReason::Worker(why) => text(why),
                    FailReason::Leaving => Ok(()),
                }
            }
        }
    }
}

impl Checked for Response {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Lease(lease) => lease.check(),
            Self::Refused { reason, .. } => text(reason),
            Self::Scored(score) => score.check(),
            Self::Ok | Self::Wait { .. } | Self::Stale => Ok(()),
        }
    }
}

impl Checked for JobNotice {
    fn check(&self) -> Result<(), DecodeError> {
        text(&self.zkvm)?;
        self.gateway.check()
    }
}
