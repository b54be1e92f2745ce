//! References as people have them: 64 hexadecimal digits, or 128 with the key of an encrypted tree. A key never gets into a message.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use manyhands_blob::{AnyReference, NotAReference};

use crate::failure::Failure;

/// Most characters that are read of a reference on standard input: 128 digits and what may stand before them, generously.
const LINE_BYTES_MAX: u64 = 256;

/// A reference as it was given, not looked at yet: were it clap's to check, a mistyped key would be repeated on standard error.
#[derive(Clone)]
pub struct ReferenceText(String);

impl FromStr for ReferenceText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ReferenceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReferenceText(hidden)")
    }
}

impl ReferenceText {
    /// The reference; of `-`, the one in the first line of standard input.
    pub fn read(&self) -> Result<AnyReference, Failure> {
        if self.0 != "-" {
            return parse(&self.0);
        }
        let mut line = String::new();
        let read = io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line);
        read.map_err(|error| Failure::usage(format!("cannot read a reference from standard input: {error}")))?;
        parse(&line)
    }
}

fn parse(text: &str) -> Result<AnyReference, Failure> {
    let text = text.trim();
    let path = text.strip_prefix("bzz://").unwrap_or(text);
    let reference = path.strip_suffix('/').unwrap_or(path);
    if reference.contains('/') {
        return Err(Failure::usage("a path below a reference is not read here").hint("give the reference alone"));
    }
    reference.parse().map_err(|error: NotAReference| {
        let wrong = match reference.strip_prefix("0x").unwrap_or(reference).chars().count() {
            64 | 128 => "of these characters some are no digits".to_owned(),
            count => format!("this has {count}"),
        };
        Failure::usage(format!("{error}; {wrong}")).hint("0x or bzz:// may stand before them")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_people_have_them() {
        let digits = "0123456789abcdef".repeat(4);
        let plain = AnyReference::Plain(digits.parse().unwrap());
        for text in [digits.clone(), format!("0x{digits}"), format!("bzz://{digits}/\n"), digits.to_uppercase()] {
            assert_eq!(parse(&text).unwrap(), plain, "{text}");
        }
        let both = format!("{digits}{}", "fe".repeat(32));
        let AnyReference::Encrypted(found) = parse(&format!("bzz://0x{both}")).unwrap() else { panic!("it has a key") };
        assert_eq!(found.reveal(), both);
        assert_eq!(AnyReference::Encrypted(found).address(), plain.address());
    }

    #[test]
    fn wrong_ones_are_told_without_being_repeated() {
        let (digits, key) = ("0123456789abcdef".repeat(4), "fe".repeat(32));
        let wrong = [
            String::new(),
            digits[1..].to_owned(),
            format!("{digits}{}", &key[1..]),
            format!("{digits}{}x", &key[1..]),
            format!("bzz://{digits}/{key}"),
            "é".repeat(64),
            format!("0x0x{}", &digits[2..]),
            key.repeat(9),
        ];
        for text in wrong {
            let failure = parse(&text).unwrap_err();
            let said = format!("{failure:?}");
            assert!(!said.contains("fefe") && !said.contains("0123"), "{said}");
            assert_eq!(failure.exit, crate::failure::Exit::Usage, "{said}");
        }
        assert!(!format!("{:?}", ReferenceText(key)).contains("fefe"));
    }
}
