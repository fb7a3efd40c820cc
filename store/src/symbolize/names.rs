//! From linker symbols to names for people.
//!
//! Mangled names come from files that nobody vouches for, and both demanglers expand back-references, so a hundred
//! bytes can stand for gigabytes. Input length, output length and recursion are limited; beyond them the raw name is
//! the name.

use std::fmt::{self, Write};

use cpp_demangle::{BorrowedSymbol, DemangleOptions, ParseOptions};

/// Longest symbol to demangle. Boost and Eigen reach about 20 KiB.
const MAX_RAW: usize = 64 << 10;
/// Longest demangled name; nobody reads on, and the table would carry it.
const MAX_PRETTY: usize = 64 << 10;
/// cpp_demangle's recursion limit, when parsing (its default) and when printing.
///
/// It bounds time, too: cpp_demangle backtracks, so `_Z1fSaISaISaI…` costs twice as much per level. 96 levels take
/// up to half a second, 192 would not end. Of 147,655 symbols in Debian's libraries none needs more than 96.
const MAX_RECURSION: u32 = 96;

/// Words that compilers and linkers append after a dot, optionally with a number of their own.
const SUFFIXES: [&str; 21] = [
    "cold",
    "hot",
    "warm",
    "unlikely",
    "startup",
    "exit",
    "isra",
    "part",
    "constprop",
    "clone",
    "llvm",
    "lto_priv",
    "lto",
    "localalias",
    "local",
    "resolver",
    "ifunc",
    "__uniq",
    "str",
    "default",
    "sra",
];

/// The name for people. What it costs is bounded (half a second), but not small for names made to hurt.
pub(super) fn pretty(raw: &str) -> String {
    let base = base(raw);
    demangle(base).unwrap_or_else(|| base.to_owned())
}

/// True if the name (without suffixes) is in a mangling that we know.
pub(super) fn is_mangled(base: &str) -> bool {
    base.starts_with("_Z") || base.starts_with("__Z") || base.starts_with("_R")
}

/// `raw` without symbol version and compiler suffixes: `foo.isra.0.cold@@V1` is `foo`.
pub(super) fn base(raw: &str) -> &str {
    let mut name = match raw.find('@') {
        Some(at) if at > 0 => &raw[..at],
        _ => raw,
    };
    while let Some(shorter) = strip_suffix(name) {
        name = shorter;
    }
    name
}

fn strip_suffix(name: &str) -> Option<&str> {
    let (head, last) = name.rsplit_once('.').filter(|(head, _)| !head.is_empty())?;
    if SUFFIXES.contains(&last) {
        return Some(head);
    }
    if last.is_empty() || !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match head.rsplit_once('.') {
        Some((front, word)) => (!front.is_empty() && SUFFIXES.contains(&word)).then_some(front),
        // GCC's nested functions, `inner.0`. More dots are somebody's own names, such as Go's `main.init.0`.
        None => Some(head),
    }
}

fn demangle(base: &str) -> Option<String> {
    if base.len() > MAX_RAW || !is_mangled(base) {
        return None;
    }
    rust(base).or_else(|| cpp(base)).filter(|name| !name.is_empty())
}

fn rust(base: &str) -> Option<String> {
    // `_ZN3foo3barE` also parses as legacy Rust; only the hash tells it from C++.
    if !(base.starts_with("_R") || has_rust_hash(base)) {
        return None;
    }
    let parsed = rustc_demangle::try_demangle(base).ok()?;
    Limited::collect(|out| write!(out, "{parsed:#}"))
}

/// True for `..17h0123456789abcdefE`.
pub(super) fn has_rust_hash(base: &str) -> bool {
    let hash = base.strip_suffix('E').and_then(|rest| rest.get(rest.len().checked_sub(19)?..));
    let digits = hash.and_then(|hash| hash.strip_prefix("17h"));
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn cpp(base: &str) -> Option<String> {
    let parse = ParseOptions::default().recursion_limit(MAX_RECURSION);
    let (symbol, tail) = BorrowedSymbol::with_tail_and_options(base.as_bytes(), &parse).ok()?;
    if !tail.is_empty() {
        return None;
    }
    // A template's return type in front would hide the namespace that readers and filters look at first.
    let options = DemangleOptions::new().no_return_type().recursion_limit(MAX_RECURSION);
    Limited::collect(|out| symbol.structured_demangle(out, &options))
}

/// A string that refuses to grow beyond [`MAX_PRETTY`], which also ends the demangler that writes to it.
#[derive(Default)]
struct Limited(String);

impl Limited {
    fn collect(write: impl FnOnce(&mut Self) -> fmt::Result) -> Option<String> {
        let mut out = Self::default();
        write(&mut out).ok().map(|()| out.0)
    }
}

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_PRETTY {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
