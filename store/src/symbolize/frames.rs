//! Puts together what DWARF and the symbol table say about an address.
//!
//! DWARF knows inline functions, files and lines, and has a linkage name for most C++ and Rust functions. The symbol
//! table knows what DWARF leaves out: suffixes (`.cold`), functions written in assembly, and the linkage names that
//! GCC omits for lambdas and local classes, whose DWARF name is a bare `operator()`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dwarf::{DwarfContext, DwarfFrame};
use super::elf::ElfImage;
use super::symtab::SymbolTable;
use super::types::SymbolFrame;
use super::{names, paths};

/// Resolves addresses of one module on one thread.
pub(super) struct Resolver<'d, 's> {
    dwarf: Option<DwarfContext<'d>>,
    symbols: Option<(&'s SymbolTable, &'s ElfImage)>,
    texts: Texts,
    deadline: Instant,
    /// Addresses whose debug information was malformed.
    pub(super) malformed: usize,
    /// True once the time is used up; from then on symbols are looked up raw.
    pub(super) overdue: bool,
}

impl<'d, 's> Resolver<'d, 's> {
    /// Uses `dwarf` first and `symbols` (with the image they are in) second; either may be missing. After `time`
    /// neither debug information nor demanglers are asked any more: what a single question costs is bounded
    /// elsewhere, what thousands of them cost is bounded here.
    pub(super) fn new(
        dwarf: Option<DwarfContext<'d>>,
        symbols: Option<(&'s SymbolTable, &'s ElfImage)>,
        time: Duration,
    ) -> Self {
        Self { dwarf, symbols, texts: Texts::default(), deadline: Instant::now() + time, malformed: 0, overdue: false }
    }

    /// Appends the frames at `address` to `frames`, innermost first.
    pub(super) fn resolve(&mut self, address: u64, frames: &mut Vec<SymbolFrame>) {
        if !self.overdue && Instant::now() >= self.deadline {
            self.overdue = true;
            self.dwarf = None;
            self.texts.raw_only = true;
        }
        let symbol = self.symbols.and_then(|(table, image)| table.lookup(image, address));
        let found = match self.dwarf.as_ref().map(|dwarf| dwarf.lookup(address)) {
            Some(Ok(found)) => found,
            Some(Err(_)) => {
                self.malformed += 1;
                Vec::new()
            }
            None => Vec::new(),
        };
        let Some((physical, inlined)) = found.split_last() else {
            let named = symbol.map(|symbol| self.texts.name(symbol));
            frames.extend(named.map(|named| self.texts.frame(&DwarfFrame::default(), Some(named), false)));
            return;
        };
        for frame in inlined {
            let named = frame.name.map(|name| self.texts.name(name));
            frames.push(self.texts.frame(frame, named, true));
        }
        let named = self.texts.physical_name(physical.name, symbol);
        if named.is_some() || physical.file.is_some() || !inlined.is_empty() {
            frames.push(self.texts.frame(physical, named, false));
        }
    }
}

#[derive(Clone)]
struct Named {
    function: Arc<str>,
    raw_symbol: Arc<str>,
}

/// Remembers texts, so that each name is demangled once and equal ones share memory.
#[derive(Default)]
struct Texts {
    names: HashMap<Vec<u8>, Named>,
    files: HashMap<String, Arc<str>>,
    raw_only: bool,
}

impl Texts {
    fn frame(&mut self, found: &DwarfFrame<'_>, named: Option<Named>, is_inline: bool) -> SymbolFrame {
        let (function, raw_symbol) = named.map(|named| (named.function, named.raw_symbol)).unzip();
        let file = found.file.map(|file| self.file(file));
        SymbolFrame { function, raw_symbol, file, line: found.line, column: found.column, is_inline }
    }

    /// The name of the function that is really there, from what DWARF and the symbol table call it.
    fn physical_name(&mut self, dwarf: Option<&[u8]>, symbol: Option<&[u8]>) -> Option<Named> {
        let (Some(dwarf), Some(symbol)) = (dwarf, symbol) else {
            return dwarf.or(symbol).map(|name| self.name(name));
        };
        let (plain, linked) = (String::from_utf8_lossy(dwarf), String::from_utf8_lossy(symbol));
        let linked_base = names::base(&linked);
        if linked_base == plain || (names::is_mangled(linked_base) && !names::is_mangled(&plain)) {
            return Some(self.name(symbol));
        }
        if names::is_mangled(&plain) {
            return Some(self.name(dwarf));
        }
        // Two plain names: the symbol is an alias. `malloc` says more than the `__libc_malloc` in the source, but an
        // unrelated name (identical functions folded into one) says less.
        let linked = self.name(symbol);
        let says_more = plain.starts_with('_') && plain.ends_with(&*linked.function);
        let function = if says_more { linked.function } else { self.name(dwarf).function };
        Some(Named { function, raw_symbol: linked.raw_symbol })
    }

    fn name(&mut self, raw: &[u8]) -> Named {
        if let Some(known) = self.names.get(raw) {
            return known.clone();
        }
        let raw_symbol: Arc<str> = String::from_utf8_lossy(raw).into();
        let pretty = if self.raw_only { names::base(&raw_symbol).to_owned() } else { names::pretty(&raw_symbol) };
        let function = if *pretty == *raw_symbol { Arc::clone(&raw_symbol) } else { pretty.into() };
        let named = Named { function, raw_symbol };
        self.names.insert(raw.to_vec(), named.clone());
        named
    }

    fn file(&mut self, file: &str) -> Arc<str> {
        if let Some(known) = self.files.get(file) {
            return Arc::clone(known);
        }
        let normal: Arc<str> = paths::normalise(file).into();
        self.files.insert(file.to_owned(), Arc::clone(&normal));
        normal
    }
}
