//! Program binaries: recognised, bounded, identified, and made out of bare ELF files.
//!
//! RISC Zero builds a program's whole memory image to find its image id, word by word in a map, and believes the sizes in the ELF
//! headers. So those are checked first: a file of a few hundred bytes can state gigabytes of zeros.

use core::fmt;

use elf::ElfBytes;
use elf::abi::{EM_RISCV, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use manyhands_proto::Digest;
use manyhands_proto::limits::PROGRAM_BYTES_MAX;
use risc0_binfmt::{AbiKind, KERNEL_START_ADDR, ProgramBinary};
use risc0_zkos_v1compat::V1COMPAT_ELF;

use crate::to_proto;

/// Most memory that a program's two ELF files may fill before it runs, zeros included, in bytes. Real guests fill little more than
/// their file (large ones are some 10 MB); the image takes about five times as much while it is made.
pub const IMAGE_BYTES_MAX: u64 = 32 << 20;

const ELF_MAGIC: &[u8] = b"\x7fELF";
const BINARY_MAGIC: &[u8] = b"R0BF";

/// Why bytes are not a program that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// A guest that was built but not wrapped.
    #[error(
        "this is a bare ELF file: RISC Zero runs program binaries, which hold the guest together with a kernel. Use the `.bin` file that \
         `cargo risczero build` puts beside it, or ask for the file to be wrapped with the v1compat kernel (`--wrap`)"
    )]
    BareElf,
    /// Something else.
    #[error("this is no RISC Zero program binary: such a file begins with `R0BF`, this one with {begins:?}")]
    NotAProgram {
        /// The first bytes, as text.
        begins: String,
    },
    /// The file is larger than any node takes.
    #[error("the program has {got_bytes} bytes, over the limit of {PROGRAM_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        got_bytes: u64,
    },
    /// A program binary that is cut short or damaged.
    #[error("the program binary is damaged or cut short: {why}")]
    Malformed {
        /// In which way.
        why: String,
    },
    /// A binary for another interface between guest and host.
    #[error("the program is for another zkVM interface ({what}); rebuild it with risc0-zkvm 3")]
    Interface {
        /// Which.
        what: String,
    },
    /// An ELF file, alone or in a binary, that is not a RISC-V guest.
    #[error("the {which} ELF file is not usable: {why}")]
    Elf {
        /// Guest or kernel.
        which: &'static str,
        /// Why.
        why: String,
    },
}

/// Whether `bytes` are an ELF file, which [`wrap_elf`] makes a program binary of.
pub fn is_bare_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(ELF_MAGIC)
}

/// The image id of a program binary: the digest that names it in claims and receipts.
///
/// # Errors
/// [`ProgramError`] when the bytes are not a sound binary for this zkVM. Never panics, whatever the bytes.
pub fn image_id(program: &[u8]) -> Result<Digest, ProgramError> {
    check(program)?.compute_image_id().map(to_proto).map_err(|error| malformed(&error))
}

/// A program binary of a guest's ELF file and the v1compat kernel, as `cargo risczero build` makes it.
///
/// # Errors
/// [`ProgramError::Elf`] when it is not a RISC-V guest, or fills too much memory.
pub fn wrap_elf(elf: &[u8]) -> Result<Vec<u8>, ProgramError> {
    if elf.len() as u64 + V1COMPAT_ELF.len() as u64 + 64 > PROGRAM_BYTES_MAX {
        return Err(ProgramError::TooLarge { got_bytes: elf.len() as u64 });
    }
    image_bytes("guest", elf, KERNEL_START_ADDR.0)?;
    Ok(ProgramBinary::new(elf, V1COMPAT_ELF).encode())
}

/// Decodes a program binary whose memory image can be built safely.
pub(crate) fn check(program: &[u8]) -> Result<ProgramBinary<'_>, ProgramError> {
    if is_bare_elf(program) {
        return Err(ProgramError::BareElf);
    }
    if program.is_empty() {
        return Err(malformed(&"it is empty"));
    }
    if !program.starts_with(BINARY_MAGIC) {
        let begins = program.get(..program.len().min(4)).unwrap_or_default();
        return Err(ProgramError::NotAProgram { begins: begins.escape_ascii().to_string() });
    }
    if program.len() as u64 > PROGRAM_BYTES_MAX {
        return Err(ProgramError::TooLarge { got_bytes: program.len() as u64 });
    }
    let binary = ProgramBinary::decode(program).map_err(|error| malformed(&error))?;
    let version = &binary.header.abi_version;
    if binary.header.abi_kind != AbiKind::V1Compat || version.major != 1 || !version.pre.is_empty() {
        return Err(ProgramError::Interface { what: format!("{:?} {version}", binary.header.abi_kind) });
    }
    let guest_bytes = image_bytes("guest", binary.user_elf, KERNEL_START_ADDR.0)?;
    let kernel_bytes = image_bytes("kernel", binary.kernel_elf, u32::MAX)?;
    if guest_bytes + kernel_bytes > IMAGE_BYTES_MAX {
        return Err(too_much_memory("guest", guest_bytes + kernel_bytes));
    }
    Ok(binary)
}

/// How much memory an ELF file fills, after everything that RISC Zero's loader computes with was found to be in range.
fn image_bytes(which: &'static str, elf: &[u8], address_max: u32) -> Result<u64, ProgramError> {
    let fail = |why: String| ProgramError::Elf { which, why };
    let file = ElfBytes::<LittleEndian>::minimal_parse(elf).map_err(|error| fail(error.to_string()))?;
    if file.ehdr.class != Class::ELF32 || file.ehdr.e_machine != EM_RISCV || file.ehdr.e_type != ET_EXEC {
        return Err(fail("it is not a 32-bit RISC-V program".into()));
    }
    let segments = file.segments().ok_or_else(|| fail("it has no program headers".into()))?;
    let mut total_bytes: u64 = 0;
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD) {
        let file_end = segment.p_offset.checked_add(segment.p_filesz);
        if file_end.is_none_or(|end| end > elf.len() as u64) {
            return Err(fail("it is cut short".into()));
        }
        let memory_end = segment.p_vaddr.checked_add(segment.p_memsz);
        if memory_end.is_none_or(|end| end > u64::from(address_max)) || segment.p_vaddr % 4 != 0 {
            return Err(fail(format!("it fills memory at {:#x}, where guests have none", segment.p_vaddr)));
        }
        total_bytes = total_bytes.saturating_add(segment.p_memsz);
        if total_bytes > IMAGE_BYTES_MAX {
            return Err(too_much_memory(which, total_bytes));
        }
    }
    Ok(total_bytes)
}

fn too_much_memory(which: &'static str, bytes: u64) -> ProgramError {
    ProgramError::Elf {
        which,
        why: format!("it fills at least {bytes} bytes of memory, over the limit of {IMAGE_BYTES_MAX}"),
    }
}

fn malformed(error: &impl fmt::Display) -> ProgramError {
    ProgramError::Malformed { why: format!("{error:#}") }
}
