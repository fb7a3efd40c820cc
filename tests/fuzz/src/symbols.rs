//! Attacks `tmq_store::symbolize`: modules are files that anybody may have made, damaged or made to hurt.
//!
//! Must hold: as many lists as addresses, one report, no panic that the symbolizer does not catch itself, no hang.

use tmq_store::symbolize::{ModuleRef, Options, SymbolRequest, symbolize};

use crate::damage::Scratch;

/// Addresses looked up: those that small programs have, and others.
const OFFSETS: &[u64] = &[0, 0x1000, 0x1004, 0x1010, 0x1020, 0x1040, 0x1080, 0x1100, 0x1180, 0x2000, 1 << 40, u64::MAX];

/// One input: a file.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let scratch = Scratch::new("symbols");
    let path = scratch.path().join("module");
    std::fs::write(&path, data).expect("a module written");
    let modules = [ModuleRef { path, build_id: None }];
    let requests: Vec<SymbolRequest> = OFFSETS.iter().map(|&offset| SymbolRequest { module: 0, offset }).collect();
    let options = Options { debug_dirs: Vec::new(), cache_dir: None, threads: 1 };
    let found = symbolize(&modules, &requests, &options, &|_| {});
    assert_eq!((found.symbols.len(), found.modules.len()), (requests.len(), 1));
}

/// Valid inputs: the files that `TMQ_FUZZ_MODULES` names, separated by colons.
///
/// # Panics
/// One cannot be read.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let paths = std::env::var("TMQ_FUZZ_MODULES").unwrap_or_default();
    paths.split(':').filter(|path| !path.is_empty()).map(|path| std::fs::read(path).expect("a module")).collect()
}
