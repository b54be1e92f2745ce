//! Wraps a bare guest ELF with the zkVM's system program into the program binary that an executor wants, and prints the
//! image id of the result: `manyhands-guest-wrap GUEST.elf GUEST.bin`. It judges nothing about the guest.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

use risc0_binfmt::ProgramBinary;
use risc0_zkos_v1compat::V1COMPAT_ELF;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let [elf_path, binary_path] = arguments.as_slice() else {
        eprintln!("usage: manyhands-guest-wrap GUEST.elf GUEST.bin");
        return ExitCode::from(2);
    };
    match wrap(elf_path, binary_path) {
        Ok(image_id) => {
            println!("{image_id}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{} was not wrapped: {error}", elf_path.display());
            ExitCode::FAILURE
        }
    }
}

/// Writes the program binary and returns its image id in hex.
fn wrap(elf_path: &OsString, binary_path: &OsString) -> Result<String, Box<dyn Error>> {
    let elf = fs::read(elf_path)?;
    let program = ProgramBinary::new(&elf, V1COMPAT_ELF);
    // The id first: it loads both programs, so a file that is no guest is refused before anything is written.
    let image_id = program.compute_image_id()?.to_string();
    fs::write(binary_path, program.encode())?;
    Ok(image_id)
}
