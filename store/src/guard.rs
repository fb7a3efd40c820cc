//! Third-party parsers on bytes that anybody may have written: a panic in one is an error like any other.
//!
//! Parquet readers, addr2line, cpp_demangle and ruzstd unwrap, index, add and assert on the assumption that what they
//! read before was right; gimli's `Reader::offset_from` is documented to panic. Fuzzing reaches some of these in Parquet
//! and addr2line; checking everything they assume beforehand would mean to write them anew. So what they do with a file
//! runs in here, and the caller says which file it was. Nothing that they have changed is used after a panic. It works
//! only where panics unwind, and the process's panic hook still runs: by default it prints where the panic was, and
//! replacing it is for the program to decide, not for a library.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a parser; if it panics, returns what it said.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded(|| panic!("short")), Err::<(), _>("short".to_owned()));
        let empty: &[u8] = &[];
        let index = empty.len() + 3;
        assert!(guarded(|| empty[index]).unwrap_err().contains("out of bounds"));
    }
}
