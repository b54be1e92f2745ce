//! The key file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use manyhands_net::{Identity, IdentityError};

#[test]
fn a_new_key_is_kept_and_belongs_to_its_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    let made = Identity::load_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(Identity::load_or_create(&path).unwrap().node_id(), made.node_id());
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    assert_ne!(Identity::generate().node_id(), made.node_id());
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    Identity::load_or_create(&path).unwrap();
    for mode in [0o644, 0o640, 0o602] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Exposed { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{mode:04o}")) && text.contains("chmod 600"), "{text}");
    }
}

#[test]
fn the_key_in_the_file_is_the_one_that_is_used() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    // RFC 8032, section 7.1, test 1.
    fs::write(&path, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let node = Identity::load_or_create(&path).unwrap().node_id().to_string();
    assert_eq!(node, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
}

#[test]
fn a_damaged_file_is_neither_used_nor_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    for damaged in ["", "zz", &"a".repeat(63), &"a".repeat(1000)] {
        fs::write(&path, damaged).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
    fs::write(&path, [0xff; 64]).unwrap();
    assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Damaged { .. })));
}

#[test]
fn a_missing_directory_is_named() {
    let home = tempfile::tempdir().unwrap();
    let error = Identity::load_or_create(&home.path().join("no/such/key")).unwrap_err();
    assert!(matches!(error, IdentityError::NoDirectory { .. }), "{error}");
    assert!(error.to_string().contains("no/such/key"), "{error}");
    // A directory where the file should be.
    assert!(Identity::load_or_create(home.path()).is_err());
}

#[test]
fn the_secret_is_not_printed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    let identity = Identity::load_or_create(&path).unwrap();
    let secret = fs::read_to_string(&path).unwrap();
    assert!(!format!("{identity:?}").contains(secret.trim()));
}
