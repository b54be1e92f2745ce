//! What the other checks read out of Rust sources: every path that a file names, and every function's length.

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};
use syn::visit::Visit;

/// A path such as `std::net::TcpStream`, as the source writes it, macros and `use` trees included. A macro's name ends with `!`.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// Its parts, joined by `::`.
    pub path: String,
    /// The line of its last part, from 1.
    pub line: usize,
}

/// All paths in a file, single names and keywords included. Comments and texts hold none.
///
/// # Errors
/// When the text is not Rust.
pub fn paths(text: &str) -> Result<Vec<NamedPath>, String> {
    let tokens: TokenStream = text.parse().map_err(|error| format!("is not Rust: {error}"))?;
    let mut found = Vec::new();
    collect(tokens, "", &mut found);
    Ok(found)
}

/// Walks one level of tokens; `prefix` is the path in front of a group of a `use` tree, else empty.
fn collect(tokens: TokenStream, prefix: &str, found: &mut Vec<NamedPath>) {
    let mut path = Path::starting_with(prefix);
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) => path.push(&name.to_string(), name.span()),
            TokenTree::Punct(mark) if mark.as_char() == ':' && mark.spacing() == Spacing::Joint => {
                // The second colon of `::`.
                tokens.next();
                path.awaits_more = true;
                continue;
            }
            TokenTree::Punct(mark) if mark.as_char() == '!' => path.names_macro(),
            TokenTree::Punct(mark) if mark.as_char() == '*' && path.awaits_more => path.push("*", mark.span()),
            TokenTree::Group(group) => {
                let continues = path.awaits_more && group.delimiter() == Delimiter::Brace;
                let inner = if continues { path.text.clone() } else { String::new() };
                if !continues {
                    path.flush(found);
                }
                collect(group.stream(), &inner, found);
                path = Path::starting_with(prefix);
                continue;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => path.flush_to(prefix, found),
        }
        let goes_on = matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if matches!(mark.as_char(), ':' | '!'));
        if !goes_on {
            path.flush_to(prefix, found);
        }
    }
    path.flush(found);
}

/// A path that is being read.
struct Path {
    text: String,
    line: Option<usize>,
    awaits_more: bool,
}

impl Path {
    fn starting_with(prefix: &str) -> Self {
        Self { text: prefix.to_owned(), line: None, awaits_more: !prefix.is_empty() }
    }

    fn push(&mut self, part: &str, span: Span) {
        let part = part.strip_prefix("r#").unwrap_or(part);
        if self.awaits_more && !self.text.is_empty() {
            self.text.push_str("::");
        } else {
            self.text.clear();
        }
        self.text.push_str(part);
        self.line = Some(span.start().line);
        self.awaits_more = false;
    }

    fn names_macro(&mut self) {
        if self.line.is_some() {
            self.text.push('!');
        }
    }

    fn flush(&mut self, found: &mut Vec<NamedPath>) {
        if let Some(line) = self.line.take() {
            found.push(NamedPath { path: std::mem::take(&mut self.text), line });
        }
    }

    fn flush_to(&mut self, prefix: &str, found: &mut Vec<NamedPath>) {
        self.flush(found);
        *self = Self::starting_with(prefix);
    }
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its signature, from 1.
    pub line: usize,
    /// Lines from the signature to the closing brace, both included.
    pub lines: usize,
}

/// All functions of a file that are no tests: neither marked so, nor inside a `#[cfg(test)]` module.
///
/// # Errors
/// When the text is not Rust.
pub fn functions(text: &str) -> Result<Vec<Function>, String> {
    let file = syn::parse_file(text).map_err(|error| format!("is not Rust: {error}"))?;
    let mut lengths = Lengths { found: Vec::new() };
    lengths.visit_file(&file);
    Ok(lengths.found)
}

struct Lengths {
    found: Vec<Function>,
}

impl Lengths {
    fn note(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, body: &syn::Block) {
        if attributes.iter().any(is_test) {
            return;
        }
        let line = signature.fn_token.span.start().line;
        let end = body.brace_token.span.close().end().line;
        let lines = end.saturating_sub(line).saturating_add(1);
        self.found.push(Function { name: signature.ident.to_string(), line, lines });
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !module.attrs.iter().any(is_test) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.attrs, &function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.attrs, &function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.note(&function.attrs, &function.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`.
fn is_test(attribute: &syn::Attribute) -> bool {
    if attribute.path().is_ident("cfg") {
        return attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test");
    }
    attribute.path().segments.last().is_some_and(|part| part.ident == "test")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn named(text: &str) -> Vec<String> {
        paths(text).unwrap().into_iter().map(|named| format!("{}:{}", named.line, named.path)).collect()
    }

    #[test]
    fn use_trees_are_unfolded() {
        let found = named("use std::{fs, net::{TcpStream, UdpSocket as U}, time::*};\nuse a::b;");
        for path in ["1:std::fs", "1:std::net::TcpStream", "1:std::net::UdpSocket", "1:std::time::*", "2:a::b"] {
            assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
        }
    }

    #[test]
    fn expressions_types_and_macros_are_read() {
        let found = named(
            "fn f(x: &Map<std::time::Instant, u8>) -> u8 {\n  vec![r#std::thread::spawn(g)];\n  println!(\"std::fs\");\n  a ? b.await\n}",
        );
        for path in ["1:std::time::Instant", "1:u8", "2:vec!", "2:std::thread::spawn", "3:println!", "4:await"] {
            assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
        }
        assert!(!found.iter().any(|path| path.ends_with("std::fs")), "a text is no path: {found:?}");
    }

    #[test]
    fn comments_hold_no_paths_and_neighbours_do_not_mix() {
        let found = named("/// std::fs\n// std::net\nfn f() { a(); std::env::var(b); c::d { e: f } }");
        assert!(!found.iter().any(|path| path.contains("std::fs") || path.contains("std::net")), "{found:?}");
        for path in ["3:a", "3:std::env::var", "3:b", "3:c::d", "3:e", "3:f"] {
            assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
        }
    }

    #[test]
    fn functions_are_measured_without_their_documentation() {
        let text = "/// One.\n/// Two.\nfn a() {\n}\nimpl T {\n  #[inline]\n  fn b(\n    x: u8,\n  ) {\n    fn inner() {}\n  }\n}\ntrait U { fn c(); fn d() {} }";
        let found: Vec<_> = functions(text).unwrap().into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("a".into(), 3, 2), ("b".into(), 7, 5), ("inner".into(), 10, 1), ("d".into(), 13, 1)]);
    }

    #[test]
    fn tests_are_not_measured() {
        let text = "#[cfg(test)]\nmod tests { fn helper() {} }\n#[test]\nfn a() {}\n#[tokio::test(flavor = \"current_thread\")]\nasync fn b() {}\n#[cfg(unix)]\nfn c() {}";
        assert_eq!(functions(text).unwrap().into_iter().map(|f| f.name).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn what_is_not_rust_is_an_error() {
        assert!(paths("fn f( {").is_err());
        assert!(functions("this is prose").is_err());
    }
}
