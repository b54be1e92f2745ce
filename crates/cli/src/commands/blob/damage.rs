//! Panics of the work on a store, in words. The database below it panics where a page of its file is not what it can be, as after a bad
//! sector: for the user that is a damaged file and no defect of this program.

use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;
use crate::screen::text::{clip, printable};

/// Most characters that are shown of what was said.
const SHOWN_CHARS: usize = 200;

/// The first panic: others may follow from it.
static FIRST: Mutex<Option<Panic>> = Mutex::new(None);

#[derive(Debug, Clone)]
struct Panic {
    file: String,
    text: String,
}

/// From now on panics are remembered instead of being printed.
pub fn listen() {
    panic::set_hook(Box::new(|info| {
        // The value is set as a whole.
        let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| Panic::of(info));
    }));
}

/// The failure of work that panicked.
pub fn failure() -> Failure {
    let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    first.map_or_else(|| Failure::failed("the work ended before it was done"), |panic| panic.failure())
}

impl Panic {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let file = info.location().map(|location| location.file().to_owned()).unwrap_or_default();
        Self { file, text: info.payload_as_str().unwrap_or_default().to_owned() }
    }

    fn failure(&self) -> Failure {
        let text = clip(&printable(&self.text).replace('\n', " "), SHOWN_CHARS);
        // The name of the package, with its version where cargo unpacked it.
        if self.file.split(['/', '\\']).any(|part| part == "redb" || part.starts_with("redb-")) {
            return Failure::failed(format!(
                "the chunk store's file is damaged, and its database cannot be read: {text}"
            ))
            .hint("check the disk; move the file away, and put or fetch again what is needed");
        }
        Failure::failed(format!("the work ended before it was done: {text}")).hint("this is a defect; please report it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_panics_are_damage_and_others_are_defects() {
        let of = |file: &str| Panic { file: file.to_owned(), text: "Invalid page\ntype \x1b[2J".to_owned() }.failure();
        let damage = of("/home/x/registry/src/index/redb-4.6.0/src/tree_store/btree_base.rs");
        assert!(damage.message.contains("is damaged") && damage.message.ends_with("Invalid page type \\u{1b}[2J"));
        assert!(damage.hint.unwrap().contains("move the file away"));
        assert!(of("crates/blob/src/store/mod.rs").hint.unwrap().contains("defect"));
    }
}
