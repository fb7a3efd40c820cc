//! From nodes of the calling-context tree to frames with functions, files and lines.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Progress, hash};
use crate::ingest::{Code, NO_MODULE, SealOptions, SealProgress, Stack};
use crate::schema::{FramesColumns, FramesRow};
use crate::symbolize::{self, ModuleRef, ModuleReport, ModuleStatus, SymbolFrame, SymbolRequest, plumbing};

/// Name of functions without a name.
const NO_FUNCTION: &str = "??";
/// File of addresses outside every module, and function and file of the one frame of an empty stack.
const UNKNOWN: &str = "<unknown>";

/// One frame: a place in code, or one inlined level of it.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub hash: i64,
    function: Arc<str>,
    raw_symbol: Option<Arc<str>>,
    file: Arc<str>,
    line: i32,
    column: i32,
    /// -1 outside every module.
    pub module: i32,
    offset: u64,
    is_inline: bool,
    pub is_plumbing: bool,
    /// Numbers of (file, line), function and file.
    pub line_key: u32,
    pub function_key: u32,
    pub file_key: u32,
}

/// All frames, and which of them each node of the tree stands for.
#[derive(Debug)]
pub(super) struct Frames {
    /// Frames by `frame_id`.
    pub all: Vec<Frame>,
    /// For each node of the tree the first of its frames and their number, innermost first.
    pub of_node: Vec<(u32, u32)>,
    /// Frame of empty stacks, if there are any.
    pub unknown: Option<u32>,
    /// How each module was resolved.
    pub reports: Vec<ModuleReport>,
}

impl Frames {
    /// Looks up every address of the tree once.
    pub(super) fn resolve(code: &Code, options: &SealOptions, progress: Progress<'_>) -> Self {
        let mut index = HashMap::new();
        let mut addresses = Vec::new();
        let place_of_node: Vec<usize> = code
            .tree
            .nodes()
            .iter()
            .map(|node| {
                let address = (node.module, node.lookup_offset());
                *index.entry(address).or_insert_with(|| {
                    addresses.push(address);
                    addresses.len() - 1
                })
            })
            .collect();
        drop(index);
        let (symbols, reports) = look_up(code, &addresses, options, progress);
        let paths: Vec<Arc<str>> =
            code.modules.iter().map(|m| Arc::from(String::from_utf8_lossy(&m.path).as_ref())).collect();
        let mut interner = Interner { frames: Vec::new(), texts: HashMap::new(), lines: HashMap::new(), paths };
        let is_empty = |stack: &Stack| !matches!(stack, Stack::Known(node) if code.tree.get(*node).is_some());
        let unknown = code.stacks.iter().any(is_empty).then(|| {
            let frame =
                SymbolFrame { function: Some(UNKNOWN.into()), file: Some(UNKNOWN.into()), ..SymbolFrame::default() };
            interner.push(NO_MODULE, 0, &frame)
        });
        let ranges: Vec<(u32, u32)> = addresses
            .iter()
            .enumerate()
            .map(|(i, &(module, offset))| interner.place(module, offset, symbols.as_ref().map_or(&[], |s| s.get(i))))
            .collect();
        let of_node = place_of_node.into_iter().map(|place| ranges[place]).collect();
        Self { all: interner.frames, of_node, unknown, reports }
    }

    /// The table `frames`.
    pub(super) fn table(&self) -> FramesColumns {
        let mut columns = FramesColumns::default();
        for (id, frame) in self.all.iter().enumerate() {
            columns.push(FramesRow {
                frame_id: id as i32,
                frame_hash: frame.hash,
                function: frame.function.to_string(),
                raw_symbol: frame.raw_symbol.as_deref().map(str::to_owned),
                file: frame.file.to_string(),
                line: frame.line,
                column: frame.column,
                module_id: frame.module,
                offset: i64::try_from(frame.offset).unwrap_or(i64::MAX),
                is_inline: frame.is_inline,
                is_plumbing: frame.is_plumbing,
            });
        }
        columns
    }

    /// `modules.symbols` of a module.
    pub(super) fn symbols_of(&self, module: usize) -> String {
        let Some(report) = self.reports.get(module) else { return "not looked up".to_owned() };
        if report.requested == 0 {
            return "not needed".to_owned();
        }
        match &report.status {
            ModuleStatus::Dwarf => "dwarf".to_owned(),
            ModuleStatus::SymbolTable => "symtab".to_owned(),
            ModuleStatus::DynamicSymbols => "dynsym".to_owned(),
            ModuleStatus::NoSymbols => "none".to_owned(),
            ModuleStatus::NotFound => "no such file".to_owned(),
            ModuleStatus::BuildIdMismatch { .. } => "the file is another build than the one that ran".to_owned(),
            ModuleStatus::Unreadable(error) => format!("cannot {error}"),
        }
    }

    /// What could not be looked up because a file is missing, foreign or damaged: module, addresses concerned, reason.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (usize, u64, String)> {
        self.reports.iter().enumerate().flat_map(|(module, report)| {
            let is_unusable = matches!(
                report.status,
                ModuleStatus::NotFound | ModuleStatus::BuildIdMismatch { .. } | ModuleStatus::Unreadable(_)
            );
            let missing = (report.requested - report.resolved.min(report.requested)) as u64;
            let own = (is_unusable && missing > 0).then(|| (module, missing, self.symbols_of(module)));
            let problems =
                report.problems.iter().map(move |problem| (module, missing.max(1), format!("cannot {problem}")));
            own.into_iter().chain(problems)
        })
    }
}

fn look_up(
    code: &Code,
    addresses: &[(u32, u64)],
    options: &SealOptions,
    progress: Progress<'_>,
) -> (Option<symbolize::Symbols>, Vec<ModuleReport>) {
    if options.no_symbols {
        return (None, Vec::new());
    }
    let modules: Vec<ModuleRef> = code
        .modules
        .iter()
        .map(|m| ModuleRef {
            path: PathBuf::from(OsStr::from_bytes(&m.path)),
            build_id: (!m.build_id.is_empty()).then(|| m.build_id.clone()),
        })
        .collect();
    // `NO_MODULE` is out of range, which gives no frames.
    let requests: Vec<SymbolRequest> =
        addresses.iter().map(|&(module, offset)| SymbolRequest { module: module as usize, offset }).collect();
    let mut debug_dirs = options.debug_dirs.clone();
    debug_dirs.extend(symbolize::Options::default().debug_dirs);
    let cache_dir = options.symbol_cache.clone();
    let settings = symbolize::Options { debug_dirs, cache_dir, threads: options.threads };
    let report = |p: symbolize::Progress| progress(SealProgress::Symbols { done: p.done, total: p.total });
    let found = symbolize::symbolize(&modules, &requests, &settings, &report);
    (Some(found.symbols), found.modules)
}

/// Makes frames and numbers what they have in common.
struct Interner {
    frames: Vec<Frame>,
    texts: HashMap<Arc<str>, u32>,
    lines: HashMap<(u32, i32), u32>,
    paths: Vec<Arc<str>>,
}

impl Interner {
    /// The frames of one address, innermost first; there is always one.
    fn place(&mut self, module: u32, offset: u64, symbols: &[SymbolFrame]) -> (u32, u32) {
        let first = self.frames.len() as u32;
        if symbols.is_empty() {
            self.push(module, offset, &SymbolFrame::default());
        }
        for symbol in symbols {
            self.push(module, offset, symbol);
        }
        (first, self.frames.len() as u32 - first)
    }

    fn push(&mut self, module: u32, offset: u64, symbol: &SymbolFrame) -> u32 {
        let path: Arc<str> = self.paths.get(module as usize).cloned().unwrap_or_else(|| UNKNOWN.into());
        let name = path.rsplit('/').next().unwrap_or(&path);
        let line = symbol.file.as_ref().and(symbol.line).map_or(0, |l| i32::try_from(l).unwrap_or(i32::MAX));
        let column = symbol.file.as_ref().and(symbol.column).map_or(0, |c| i32::try_from(c).unwrap_or(i32::MAX));
        let named = symbol.function.as_deref().or(symbol.raw_symbol.as_deref());
        let hash = hash::frame(named, symbol.file.as_deref().unwrap_or(name), line, offset);
        let file = symbol.file.clone().unwrap_or_else(|| path.clone());
        let function =
            symbol.function.clone().or_else(|| symbol.raw_symbol.clone()).unwrap_or_else(|| NO_FUNCTION.into());
        let is_plumbing = plumbing::is_plumbing(&function, symbol.raw_symbol.as_deref(), symbol.file.as_deref(), &path);
        let (function_key, file_key) = (self.text(&function), self.text(&file));
        let next = self.lines.len() as u32;
        let line_key = *self.lines.entry((file_key, line)).or_insert(next);
        self.frames.push(Frame {
            hash,
            function,
            raw_symbol: symbol.raw_symbol.clone(),
            file,
            line,
            column,
            module: if (module as usize) < self.paths.len() { module as i32 } else { -1 },
            offset,
            is_inline: symbol.is_inline,
            is_plumbing,
            line_key,
            function_key,
            file_key,
        });
        self.frames.len() as u32 - 1
    }

    fn text(&mut self, text: &Arc<str>) -> u32 {
        let next = self.texts.len() as u32;
        *self.texts.entry(text.clone()).or_insert(next)
    }
}
