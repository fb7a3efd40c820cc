//! The costly part of opening a module, done at most once and only when an address is not in the cache.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::elf::ElfImage;
use super::locate::Located;
use super::sections::Sections;
use super::symtab::SymbolTable;
use super::types::ModuleError;

/// What lookups read: sections and symbols, owned, shareable between threads.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) sections: Option<Sections>,
    pub(super) supplementary: Option<Sections>,
    pub(super) symbols: SymbolTable,
    pub(super) problems: Vec<ModuleError>,
}

/// Inflates the sections and sorts the symbols of a module.
pub(super) fn load(located: &Located) -> Loaded {
    let mut loaded = Loaded::default();
    if let Some(image) = located.dwarf_image() {
        loaded.sections = sections(image, &mut loaded.problems);
        if let Some(image) = &located.supplementary {
            loaded.supplementary = sections(image, &mut loaded.problems);
        }
    }
    if let Some(image) = located.symbol_image() {
        loaded.symbols = SymbolTable::build(image);
    }
    loaded
}

fn sections(image: &ElfImage, problems: &mut Vec<ModuleError>) -> Option<Sections> {
    Sections::load(image).map_err(|problem| problems.push(problem)).ok()
}

/// Runs third-party parsers on untrusted bytes, so that a panic in one costs a module and not the recording.
///
/// addr2line, cpp_demangle and ruzstd unwrap, index and assert on the assumption that their own earlier steps were
/// right, and gimli's `Reader::offset_from` is documented to panic. Fuzzing (millions of names and frames, tens of
/// thousands of files) has reached none of these; the promise not to panic should not rest on that. Works only where
/// panics unwind, and the default hook still prints the message.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, ModuleError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        ModuleError::Panicked { path: path.to_owned(), message }
    })
}
