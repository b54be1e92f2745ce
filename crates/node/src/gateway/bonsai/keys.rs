//! API keys: made and revoked at the command line, kept as hashes. While there are none, the door is open, on loopback only.

use std::path::Path;

use manyhands_api::bonsai::types::Tenant;
use manyhands_api::types::{Problem, ProblemKind};
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

use super::book::{Book, KeyLimits, KeyRow};
use crate::StartError;

/// What a key begins with, so that one that leaks is known for what it is.
const PREFIX: &str = "mh_";

/// The keys of a data directory. The daemon may run: it sees each change at once.
#[derive(Debug)]
pub struct Keys(Book);

impl Keys {
    /// Opens the keys in `data_dir`, which is made if need be.
    ///
    /// # Errors
    /// [`StartError`] if the directory or the database cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, StartError> {
        crate::data_dir::DataDir::make(data_dir)?;
        let path = crate::data_dir::DataDir::bonsai_in(data_dir);
        Book::open(&path).map(Self).map_err(|source| StartError::Database { path, source })
    }

    /// Makes a key for `tenant`. It is shown once and kept nowhere.
    ///
    /// # Errors
    /// [`Problem`] if the name is none, or has a key already.
    pub fn create(&self, tenant: &str, limits: KeyLimits) -> Result<String, Problem> {
        let is_name = (1..=64).contains(&tenant.len())
            && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
        if !is_name {
            return Err(Problem::invalid("a name has 1 to 64 letters, digits and -_.@"));
        }
        if self.list()?.iter().any(|row| row.tenant == tenant && !row.is_revoked) {
            return Err(Problem::invalid(format!(
                "{tenant} has a key; revoke it first: manyhands keys revoke {tenant}"
            )));
        }
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = format!("{PREFIX}{digits}");
        self.0.add_key(hash_of(&key), tenant, limits).map_err(|error| broken(&error))?;
        Ok(key)
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// [`Problem`] if the database cannot be read.
    pub fn list(&self) -> Result<Vec<KeyRow>, Problem> {
        self.0.keys().map_err(|error| broken(&error))
    }

    /// Cycles that a tenant's ended sessions took together, as far as the gateway has written them down: within the hour.
    ///
    /// # Errors
    /// [`Problem`] if the database cannot be read.
    pub fn used_cycles(&self, tenant: &str) -> Result<u64, Problem> {
        self.0.used_cycles(&Tenant(tenant.to_owned())).map_err(|error| broken(&error))
    }

    /// Revokes a tenant's key. False if there is none.
    ///
    /// # Errors
    /// [`Problem`] if the database cannot be written.
    pub fn revoke(&self, tenant: &str) -> Result<bool, Problem> {
        self.0.revoke(tenant).map_err(|error| broken(&error))
    }
}

/// What is kept of a key. It has 256 random bits, so that one plain hash hides it.
pub(super) fn hash_of(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

pub(super) fn broken(error: &rusqlite::Error) -> Problem {
    Problem::new(ProblemKind::Internal, format!("the gateway's database of sessions failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_once_and_kept_as_a_hash() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let priority = manyhands_core::Priority::Normal;
        let limits = KeyLimits { cycles_max: 1, sessions_max: 1, bytes_max: 1, budget_cycles: None, priority };
        let key = keys.create("alice", limits).unwrap();
        assert_eq!((key.len(), &key[..3]), (67, "mh_"));
        for name in ["alice", "", "a b", &"x".repeat(65)] {
            assert!(keys.create(name, limits).is_err(), "{name:?}");
        }
        let digit = |place| u8::from_str_radix(&key[place..place + 2], 16).unwrap();
        let secret: Vec<u8> = (3..key.len()).step_by(2).map(digit).collect();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            assert!(!has(key.as_bytes()) && !has(&secret), "the key is in a file");
        }
        assert!(keys.0.key(hash_of(&key)).unwrap().is_some() && keys.0.key(hash_of("mh_x")).unwrap().is_none());
        assert!(keys.revoke("alice").unwrap() && !keys.revoke("alice").unwrap());
        assert!(keys.0.key(hash_of(&key)).unwrap().is_none());
        assert!(keys.create("alice", limits).is_ok(), "a new one may be made");
        assert_eq!(keys.list().unwrap().len(), 2);
    }
}
