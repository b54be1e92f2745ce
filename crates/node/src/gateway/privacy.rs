//! Private jobs: their segments are stored encrypted, and leased to the peers that were named. Serves steps I to III.

use std::collections::BTreeSet;

use manyhands_api::types::{Problem, ProblemKind};
use manyhands_blob::redundancy::Level;
use manyhands_blob::{ChunkStore, Owner, StoreError};
use manyhands_net::node_of_text;
use manyhands_proto::message::BlobKey;
use manyhands_proto::{BlobRef, NodeId};
use rand::RngCore as _;

use super::shelf::Shelf;
use super::tasks::Tasks;
use crate::store::keep_with;

/// Peers that one job may name.
const PEERS_MAX: usize = 1_024;

/// Who may work on a job: everybody if `asked` is nothing; who was named, or `trusted` if nobody was.
///
/// # Errors
/// [`ProblemKind::Invalid`] if a name is none, there are too many, or nobody is left.
pub(super) fn circle(asked: Option<&[String]>, trusted: &[String]) -> Result<Option<BTreeSet<NodeId>>, Problem> {
    let Some(named) = asked else { return Ok(None) };
    let names = if named.is_empty() { trusted } else { named };
    let invalid = |message: String| Problem { kind: ProblemKind::Invalid, message };
    if names.is_empty() {
        let message = "a private job needs the peers that may work on it: name them (--peer ID, once for each), or put \
                       those that every private job may go to into gateway.trusted of the gateway's configuration";
        return Err(invalid(message.to_owned()));
    }
    if names.len() > PEERS_MAX {
        return Err(invalid(format!("a private job names at most {PEERS_MAX} peers")));
    }
    let read = |name: &String| {
        let shown: String = name.chars().take(80).collect();
        node_of_text(name).ok_or_else(|| {
            invalid(format!("{shown:?} is no peer id: `manyhands node` says its own, 12D3Koo.., when it is up"))
        })
    };
    names.iter().map(read).collect::<Result<_, _>>().map(Some)
}

impl Tasks {
    /// Stores what a private job that runs brings: encrypted, each chunk under a key of its own. The key given is the root's.
    pub(super) async fn keep_sealed(&self, owner: Owner, bytes: Vec<u8>) -> Result<(BlobRef, BlobKey), StoreError> {
        let size_bytes = bytes.len() as u64;
        let put = move |store: &ChunkStore| {
            let randomness = |random: &mut [u8]| rand::rng().fill_bytes(random);
            store.put_encrypted_tree(&owner, &bytes[..], size_bytes, Level::None, randomness)
        };
        let root = keep_with(&self.store, put).await?;
        Ok((BlobRef { reference: root.address, size_bytes }, BlobKey(*root.key.as_bytes())))
    }

    /// Whether private jobs can be done with this storage.
    ///
    /// # Errors
    /// [`ProblemKind::Unfit`]: encrypted segments go from peer to peer, which with a Bee node alone they do not.
    pub(super) fn admit_private(&self) -> Result<(), Problem> {
        match self.shelf {
            Shelf::None | Shelf::Archive(..) => Ok(()),
            Shelf::Bee(_) => Err(Problem {
                kind: ProblemKind::Unfit,
                message: "this gateway keeps its blobs in its Bee node only (--storage bee-only), and encrypted segments go from peer \
                          to peer: use a gateway with --storage peer-first or embedded for private jobs"
                    .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_work_on_a_job() {
        let node = |number: u8| NodeId([number; 32]);
        let text = |number| manyhands_net::peer_text(node(number));
        let names = [text(1), text(2), text(1)];
        assert_eq!(circle(None, &names).unwrap(), None);
        assert_eq!(circle(Some(&names), &[]).unwrap(), Some(BTreeSet::from([node(1), node(2)])));
        assert_eq!(circle(Some(&[]), &[text(3)]).unwrap(), Some(BTreeSet::from([node(3)])));
        assert_eq!(circle(Some(&[text(1)]), &[text(3)]).unwrap(), Some(BTreeSet::from([node(1)])));
        for (asked, said) in
            [(vec![], "--peer"), (vec!["bob".to_owned()], "\"bob\" is no peer id"), (vec![text(1); 2_000], "at most")]
        {
            let problem = circle(Some(&asked), &[]).unwrap_err();
            assert!(problem.kind == ProblemKind::Invalid && problem.message.contains(said), "{}", problem.message);
        }
    }
}
