//! The costly part of opening a module, done at most once and only when an address is not in the cache.

use std::path::Path;

use super::elf::ElfImage;
use super::locate::Located;
use super::sections::Sections;
use super::symtab::SymbolTable;
use super::types::ModuleError;
use crate::guard;

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

/// Runs what parses the module at `path`, so that a panic costs this module and not the recording.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, ModuleError> {
    guard::guarded(work).map_err(|message| ModuleError::Panicked { path: path.to_owned(), message })
}
