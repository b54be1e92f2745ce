//! Program binaries: sound ones have their image id, everything else an error that helps, and nothing panics or eats the memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use manyhands_zkvm::{ProgramError, image_id, is_bare_elf, wrap_elf};
use proptest::prelude::*;

fn guest(name: &str) -> Vec<u8> {
    let path = format!("{}/../../guests/built/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The tiny guest without its kernel.
fn elf() -> Vec<u8> {
    let binary = guest("tiny.bin");
    risc0_binfmt::ProgramBinary::decode(&binary).unwrap().user_elf.to_vec()
}

/// Where the ELF format has the fields of the first loaded segment's header.
struct Header {
    at: usize,
}

impl Header {
    const OFFSET: usize = 4;
    const ADDRESS: usize = 8;
    const FILE_BYTES: usize = 16;
    const MEMORY_BYTES: usize = 20;

    fn first_loaded(elf: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap());
        let headers = word(28) as usize;
        let at = (0..).map(|i| headers + 32 * i).find(|at| word(*at) == 1).unwrap();
        Self { at }
    }

    fn set(&self, elf: &mut [u8], field: usize, value: u32) {
        elf[self.at + field..self.at + field + 4].copy_from_slice(&value.to_le_bytes());
    }
}

#[test]
fn image_ids_are_those_that_were_written_down_when_the_guests_were_built() {
    let list: serde_json::Value = serde_json::from_slice(&guest("guests.json")).unwrap();
    for entry in list["guests"].as_array().unwrap() {
        let program = guest(entry["file"].as_str().unwrap());
        assert_eq!(image_id(&program).unwrap().to_string(), entry["image_id"].as_str().unwrap());
    }
}

#[test]
fn a_bare_elf_is_recognised_and_can_be_wrapped() {
    let elf = elf();
    assert!(is_bare_elf(&elf));
    let refusal = image_id(&elf).unwrap_err();
    assert_eq!(refusal, ProgramError::BareElf);
    assert!(refusal.to_string().contains("--wrap"), "{refusal}");
    assert_eq!(wrap_elf(&elf).unwrap(), guest("tiny.bin"));
}

#[test]
fn other_files_are_named_for_what_they_are() {
    assert_eq!(image_id(b"#!/bin/sh"), Err(ProgramError::NotAProgram { begins: "#!/b".into() }));
    assert!(matches!(image_id(b""), Err(ProgramError::Malformed { why }) if why == "it is empty"));
    assert!(matches!(image_id(b"R0BF"), Err(ProgramError::Malformed { .. })));
    assert!(matches!(wrap_elf(b"\x7fELF"), Err(ProgramError::Elf { which: "guest", .. })));
    assert!(matches!(wrap_elf(b""), Err(ProgramError::Elf { .. })));
}

#[test]
fn a_program_that_is_cut_short_says_so() {
    let program = guest("tiny.bin");
    for length in [4, 8, 12, 20, 60, 1_000, program.len() / 2, program.len() - 1] {
        let error = image_id(&program[..length]).unwrap_err();
        assert!(matches!(error, ProgramError::Malformed { .. } | ProgramError::Elf { .. }), "{length}: {error}");
    }
}

#[test]
fn an_elf_that_lies_about_its_sizes_costs_nothing() {
    let honest = elf();
    let header = Header::first_loaded(&honest);
    let lies = [
        (Header::MEMORY_BYTES, 0xb000_0000_u32),
        (Header::MEMORY_BYTES, u32::MAX),
        (Header::FILE_BYTES, u32::MAX),
        (Header::OFFSET, u32::MAX - 2),
        (Header::ADDRESS, u32::MAX - 3),
        (Header::ADDRESS, 0xc000_0000),
        (Header::ADDRESS, 0x0020_0801),
    ];
    for (field, value) in lies {
        let mut elf = honest.clone();
        header.set(&mut elf, field, value);
        let error = wrap_elf(&elf).unwrap_err();
        assert!(matches!(error, ProgramError::Elf { which: "guest", .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(image_id(&bytes).is_err());
        prop_assert!(image_id(&[b"R0BF", bytes.as_slice()].concat()).is_err());
        prop_assert!(image_id(&[b"R0BF\x01\0\0\0", bytes.as_slice()].concat()).is_err());
        prop_assert!(wrap_elf(&[b"\x7fELF\x01\x01\x01", bytes.as_slice()].concat()).is_err());
    }
}

proptest! {
    // Few: a header that states many zeros is believed up to the limit, and such an image takes a second to hash.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn changed_headers_never_panic(changes in proptest::collection::vec((0_usize..400, any::<u8>()), 1..6)) {
        let mut program = guest("tiny.bin");
        changes.into_iter().for_each(|(at, value)| program[at] = value);
        let _ = image_id(&program);
    }

    #[test]
    fn changed_kernel_headers_never_panic(changes in proptest::collection::vec((0_usize..400, any::<u8>()), 1..6)) {
        let mut program = guest("tiny.bin");
        let kernel = risc0_binfmt::ProgramBinary::decode(&program).unwrap().kernel_elf.len();
        let start = program.len() - kernel;
        changes.into_iter().for_each(|(at, value)| program[start + at] = value);
        let _ = image_id(&program);
    }
}
