//! Addresses that the node returns to whenever it is not connected to whoever answers there.

use std::time::{Duration, Instant};

use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use super::Runner;
use super::dials::{classify, dial_options};
use crate::NetError;
use crate::address::parse_dialable;

/// Wait before the first return. It doubles with each failure, so that a dead gateway is not flooded when it comes back.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The addresses and how it stands with each.
#[derive(Debug)]
pub(super) struct Boot {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    address: Multiaddr,
    peer: Option<PeerId>,
    dialling: Option<ConnectionId>,
    failures: u32,
    due_at: Option<Instant>,
}

impl Boot {
    /// Reads the addresses.
    ///
    /// # Errors
    /// [`NetError::Address`] for the first that cannot be dialled.
    pub(super) fn new(texts: &[String]) -> Result<Self, NetError> {
        let entries = texts
            .iter()
            .map(|text| {
                let (address, peer) = parse_dialable(text)?;
                Ok(Entry { address, peer, dialling: None, failures: 0, due_at: None })
            })
            .collect::<Result<_, NetError>>()?;
        Ok(Self { entries })
    }

    /// A dial of ours reached somebody.
    pub(super) fn on_connected(&mut self, connection: ConnectionId, peer: PeerId) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.dialling == Some(connection)) {
            tracing::info!(address = %entry.address, %peer, "connected to a boot address");
            *entry =
                Entry { peer: Some(peer), dialling: None, failures: 0, due_at: None, address: entry.address.clone() };
        }
    }

    /// A dial of ours failed.
    pub(super) fn on_failed(&mut self, connection: ConnectionId, error: &DialError) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.dialling == Some(connection)) else { return };
        entry.dialling = None;
        entry.failures = entry.failures.saturating_add(1);
        let wait = retry_after(entry.failures, rand::random());
        entry.due_at = Instant::now().checked_add(wait);
        // Said once for each outage, not once for each attempt.
        if entry.failures == 1 {
            let why = classify(error);
            tracing::warn!(address = %entry.address, %why, %error, "cannot reach a boot address; trying again from time to time");
        }
    }
}

/// Between half and the whole of the doubled wait, as `random` (0 to 1) says, so that nodes that lost the same gateway spread out.
fn retry_after(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
    longest.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

impl Runner {
    /// Dials every boot address that is due.
    pub(super) fn dial_boot(&mut self, now: Instant) {
        for entry in &mut self.boot.entries {
            let connected = entry.peer.is_some_and(|peer| self.swarm.is_connected(&peer));
            let due = entry.due_at.is_none_or(|due_at| due_at <= now);
            if connected || entry.dialling.is_some() || !due {
                continue;
            }
            let options = dial_options(entry.peer, vec![entry.address.clone()], entry.address.clone());
            entry.dialling = Some(options.connection_id());
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(address = %entry.address, %error, "a boot address was not dialled");
                entry.dialling = None;
                entry.due_at = now.checked_add(RETRY_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_is_spread() {
        assert_eq!(retry_after(1, 1.0), Duration::from_secs(1));
        assert_eq!(retry_after(1, 0.0), Duration::from_millis(500));
        assert_eq!(retry_after(4, 1.0), Duration::from_secs(8));
        assert_eq!(retry_after(u32::MAX, 1.0), RETRY_MAX);
    }

    #[test]
    fn a_bad_address_is_named() {
        let error = Boot::new(&["/ip4/192.0.2.7/tcp/1".into(), "host:1".into()]).unwrap_err();
        assert!(error.to_string().contains("host:1"), "{error}");
    }
}
