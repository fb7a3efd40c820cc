//! What callers hand in and get back. Plain data: no file is opened here.
//!
//! Strings are `Arc<str>` because a million frames share a few thousand names and paths.

use std::path::PathBuf;
use std::sync::Arc;

/// One loaded module: an ELF file that was mapped into a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModuleRef {
    /// Path as the target's link map had it. `[vdso]` names the kernel's vDSO.
    pub path: PathBuf,
    /// Build-id read from the *mapped* `PT_NOTE` at run time. `None`: the module had none, nothing is verified.
    pub build_id: Option<Vec<u8>>,
}

/// One address to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SymbolRequest {
    /// Index into the module slice. Out of range gives no frames.
    pub module: usize,
    /// Runtime address minus `dlpi_addr` (the link map's `l_addr`), that is the ELF virtual address. Looked up as it
    /// is: for a return address the caller has subtracted one.
    pub offset: u64,
}

/// One function at an address; several of them when functions were inlined there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SymbolFrame {
    /// Name for people: demangled, without compiler suffixes, Rust hashes and symbol versions.
    pub function: Option<Arc<str>>,
    /// Name as the linker or DWARF has it, suffixes included.
    pub raw_symbol: Option<Arc<str>>,
    /// Source file, absolute whenever the debug information says where it was compiled.
    pub file: Option<Arc<str>>,
    /// Line, from 1. `None` if unknown or compiler-generated.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// True for a function that was inlined into the next frame of the list.
    pub is_inline: bool,
}

/// Frame lists in the order of the requests. Requests for the same address share one list.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    /// Request → list.
    pub(super) lists: Vec<usize>,
    /// List → range in `frames`; list `i` is `bounds[i]..bounds[i + 1]`.
    pub(super) bounds: Vec<usize>,
    pub(super) frames: Vec<SymbolFrame>,
}

impl Symbols {
    /// Frames of request `index`: innermost first, the last one is the physical function. Empty: nothing is known.
    pub fn get(&self, index: usize) -> &[SymbolFrame] {
        let range = self.lists.get(index).and_then(|&list| {
            let (start, end) = (*self.bounds.get(list)?, *self.bounds.get(list + 1)?);
            self.frames.get(start..end)
        });
        range.unwrap_or_default()
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// True if there were no requests.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The frame lists, one per request, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[SymbolFrame]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Where to look and how hard to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Roots of separate debug files.
    pub debug_dirs: Vec<PathBuf>,
    /// Where resolved offsets are kept between runs, by build-id; `None` keeps nothing.
    pub cache_dir: Option<PathBuf>,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { debug_dirs: vec![PathBuf::from("/usr/lib/debug")], cache_dir: None, threads: 0 }
    }
}

/// How far the work is, in unique addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Addresses finished, found or not.
    pub done: usize,
    /// Addresses in all.
    pub total: usize,
}

/// How the addresses of a module were resolved: the best source that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleStatus {
    /// Debug information: inline functions, files, lines.
    Dwarf,
    /// `.symtab`: function names only.
    SymbolTable,
    /// `.dynsym`: names of exported functions only, so an address in a static function stays unknown.
    DynamicSymbols,
    /// The file is fine but has no symbols of any kind.
    NoSymbols,
    /// No file at the path (deleted, in a container, a memfd).
    NotFound,
    /// The file at the path is another build than the one that ran; it was not used.
    BuildIdMismatch {
        /// The build-id of the file on disk, if it has one.
        found: Option<Vec<u8>>,
    },
    /// The file is there but cannot be used.
    Unreadable(ModuleError),
}

/// How one module went. Callers turn what is missing into rows, so that no gap is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleReport {
    /// How it was resolved.
    pub status: ModuleStatus,
    /// The separate debug file that was used, if any.
    pub debug_file: Option<PathBuf>,
    /// Unique addresses asked for.
    pub requested: usize,
    /// Unique addresses with at least one frame.
    pub resolved: usize,
    /// Of `requested`, those answered from the disk cache.
    pub cached: usize,
    /// Addresses whose debug information was malformed; they were looked up in the symbol table.
    pub malformed: usize,
    /// What went wrong on the way; not empty does not mean that nothing was resolved.
    pub problems: Vec<ModuleError>,
}

/// Everything [`super::symbolize`] found.
#[derive(Debug, Clone, Default)]
pub struct Symbolized {
    /// Frames, in the order of the requests.
    pub symbols: Symbols,
    /// Reports, in the order of the modules.
    pub modules: Vec<ModuleReport>,
}

/// What can be wrong with a module's files. Messages are fragments that fit after "cannot".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The operating system said no.
    #[error("open {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's message.
        reason: String,
    },
    /// Not an ELF file, or a malformed one.
    #[error("parse {}: {reason}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A section is damaged, or would inflate beyond the limits.
    #[error("read section {section} of {}: {reason}", path.display())]
    Section {
        /// The file.
        path: PathBuf,
        /// Section name.
        section: String,
        /// What is wrong.
        reason: String,
    },
    /// A separate debug file exists but belongs to another build.
    #[error("use debug file {}: {reason}", path.display())]
    DebugFileMismatch {
        /// The debug file.
        path: PathBuf,
        /// How it was told.
        reason: &'static str,
    },
    /// Debug information refers to a dwz file that is not installed; some names are missing.
    #[error("find supplementary debug file {name}")]
    SupplementaryMissing {
        /// The name in `.gnu_debugaltlink`.
        name: String,
    },
    /// Debug information is malformed.
    #[error("read debug information of {}: {reason}", path.display())]
    Dwarf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Debug information takes more reads or a deeper stack than any compiler's output does.
    #[error("read debug information of {}: {limit} exceeded", path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// Which limit.
        limit: &'static str,
    },
    /// A parser we depend on panicked; the module fell back to its symbol table.
    #[error("read {}: parser panicked: {message}", path.display())]
    Panicked {
        /// The file.
        path: PathBuf,
        /// Panic message.
        message: String,
    },
    /// The file of remembered results could not be written.
    #[error("write symbol cache {}: {reason}", path.display())]
    Cache {
        /// The cache file.
        path: PathBuf,
        /// The system's message.
        reason: String,
    },
}
