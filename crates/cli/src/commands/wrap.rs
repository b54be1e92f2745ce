//! `manyhands wrap`: a bare ELF file becomes a program binary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use manyhands_proto::limits::PROGRAM_BYTES_MAX;

use crate::failure::Failure;
use crate::files::{self, Draft};
use crate::screen;
use crate::screen::text::bytes;

/// Options of `wrap`.
#[derive(Debug, Args)]
pub struct WrapArgs {
    /// The guest, as the RISC-V toolchain links it.
    elf: PathBuf,
    /// Where the program binary goes; a file that is there is replaced [default: ELF's name with .bin, in this directory].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Wraps.
pub fn run(args: &WrapArgs) -> Result<ExitCode, Failure> {
    let elf = files::read(&args.elf, "ELF file", PROGRAM_BYTES_MAX)?;
    if !manyhands_zkvm::is_bare_elf(&elf) {
        let what =
            if elf.starts_with(b"R0BF") { "a program binary already: it can be used as it is" } else { "no ELF file" };
        return Err(Failure::usage(format!("{} is {what}", args.elf.display())));
    }
    let program = manyhands_zkvm::wrap_elf(&elf)?;
    let image_id = manyhands_zkvm::image_id(&program)?;
    let name = args.elf.file_stem().unwrap_or(args.elf.as_os_str()).to_string_lossy();
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.bin")));
    let path = Draft::new(&path)?.finish(&program)?;
    if args.json {
        screen::json(&serde_json::json!({ "program": path, "image_id": image_id, "size_bytes": program.len() }));
    } else {
        screen::out(&format!("{} ({}), image id {image_id}", path.display(), bytes(program.len() as u64)));
    }
    Ok(ExitCode::SUCCESS)
}
