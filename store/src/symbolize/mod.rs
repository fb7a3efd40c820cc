//! From (module, offset) to function, file and line, with inlined functions, for a whole recording at once.
//!
//! # Shape
//!
//! ```text
//! requests ─▶ batch: unique (module, offset), sorted ─▶ task: locate the files, ask the cache
//!                                                         │ what is left, in chunks, in parallel
//!                      ┌──────────────────────────────────┘
//!                      ├─ load:   sections (inflated) and symbol table, once per module
//!                      ├─ dwarf:  one addr2line context per chunk
//!                      └─ frames: what DWARF and the linker call it ─▶ names, paths ─▶ SymbolFrame
//! ```
//!
//! It runs in the analyser, never in the target. It does not unwind, does not adjust return addresses (the caller
//! has subtracted one already), does not talk to debuginfod, and does not read split DWARF (`.dwo`, `.dwp`) or
//! MiniDebugInfo (`.gnu_debugdata`): such modules get names from their symbol table.
//!
//! # Where names come from, in order
//!
//! 1. `.debug_info` of the mapped file itself,
//! 2. `<debug dir>/.build-id/xx/yyyy.debug`,
//! 3. `.gnu_debuglink`: beside the file, in `.debug/`, under each debug dir; its build-id, or else its CRC, must fit,
//! 4. `.symtab` of the file, else of its debug file,
//! 5. `.dynsym`.
//!
//! A dwz supplementary file (`.gnu_debugaltlink`) is added to 1–3 when it is found. An address that DWARF does not
//! cover falls through to the symbol table.
//!
//! # Rules
//!
//! 1. **The file must be the file that ran.** A build-id that differs from the one seen in the target's memory
//!    means that none of that file's symbols are used; a debug file with the right build-id still is.
//! 2. **Bad input costs time proportional to its size, never a crash.** Every read of DWARF goes through
//!    `reader`, which counts bytes and watches the stack; sections are inflated only within `sections`' limits. Where a
//!    parser panics all the same, its module makes do with the symbol table, or with nothing, and says so.
//! 3. **A gap is data.** Each module gets a [`ModuleReport`] that says how it was resolved and what went wrong.

mod batch;
mod cache;
mod crc;
mod dwarf;
mod elf;
mod frames;
mod load;
mod locate;
mod names;
mod paths;
pub mod plumbing;
mod reader;
mod sections;
mod symtab;
mod task;
mod types;
mod vdso;

pub use batch::symbolize;
pub use types::{
    ModuleError, ModuleRef, ModuleReport, ModuleStatus, Options, Progress, SymbolFrame, SymbolRequest, Symbolized,
    Symbols,
};

#[cfg(test)]
mod tests;
