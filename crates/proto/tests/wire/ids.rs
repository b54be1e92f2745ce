//! Identifiers as people and JSON see them, and the nonce of a lease.

use manyhands_proto::{Binding, BlobRef, JobId, LeaseId, NodeId, Nonce, Reference, Seed, Unit};

#[test]
fn ids_print_and_parse_as_hexadecimal() {
    let id = JobId(std::array::from_fn(|i| i as u8 * 0x11));
    let text = "00112233445566778899aabbccddeeff";
    assert_eq!((id.to_string().as_str(), id.short().as_str()), (text, "00112233"));
    assert_eq!(format!("{id:?}"), format!("JobId({text})"));
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(format!("0x{}", text.to_uppercase()).parse(), Ok(id));
    for wrong in ["", "00", "0x", &text[1..], &format!("{text}00"), &text.replace('f', "g"), "ÿ".repeat(16).as_str()] {
        let error = wrong.parse::<JobId>().unwrap_err().to_string();
        assert!(error.contains("a job id must be 32 hexadecimal digits"), "{error}");
    }
    assert!("x".repeat(1 << 20).parse::<JobId>().unwrap_err().to_string().len() < 200, "a long text is not repeated");
}

#[test]
fn ids_are_texts_in_json() {
    let blob = BlobRef { reference: Reference([0xab; 32]), size_bytes: 5 };
    let json = serde_json::to_string(&blob).unwrap();
    assert_eq!(json, format!("{{\"reference\":\"{}\",\"size_bytes\":5}}", "ab".repeat(32)));
    assert_eq!(serde_json::from_str::<BlobRef>(&json).unwrap(), blob);
    assert!(serde_json::from_str::<BlobRef>(&json.replacen("ab", "zz", 1)).is_err());
}

/// Origin of the numbers: Python's hashlib over the tags and fields that the documentation of `Nonce` names.
#[test]
fn a_nonce_names_node_segment_seed_and_epoch() {
    let bound =
        |node, index, seed, epoch| Nonce::bound(NodeId([node; 32]), index, Binding { seed: Seed([seed; 16]), epoch });
    let nonce = bound(1, 3, 2, 4);
    assert_eq!(hex::encode(nonce.log), "629ca176e1ee5394cda5f5f7a71cbb45c963f3fb");
    assert_eq!(nonce.job, 6_862_267_150_177_027_442);
    assert_eq!(nonce.segment, 3);
    let others = [bound(9, 3, 2, 4), bound(1, 9, 2, 4), bound(1, 3, 9, 4), bound(1, 3, 2, 9)];
    assert!(others.iter().all(|other| *other != nonce));
}

#[test]
fn a_lease_is_bound_by_a_secret_its_node_and_all_that_names_it() {
    let lease = |job, unit, attempt| LeaseId { job: JobId([job; 16]), unit, attempt };
    let seed = |secret, node, lease| Binding::of_lease(&[secret; 32], NodeId([node; 32]), &lease, 5).seed;
    let first = seed(1, 2, lease(3, Unit::Prove(4), 5));
    let others = [
        seed(9, 2, lease(3, Unit::Prove(4), 5)),
        seed(1, 9, lease(3, Unit::Prove(4), 5)),
        seed(1, 2, lease(9, Unit::Prove(4), 5)),
        seed(1, 2, lease(3, Unit::Prove(9), 5)),
        seed(1, 2, lease(3, Unit::Prove(4), 9)),
    ];
    assert!(others.iter().all(|other| *other != first));
    assert_eq!((Binding::epoch_at(7_199), Binding::epoch_at(7_200)), (0, 1));
}
