//! One module's share of the job: open it, look at the cache, cut the rest into chunks, collect the results.
//!
//! Sections and symbols are loaded by the first chunk that runs and dropped by the last one, so a recording with
//! hundreds of modules holds the inflated debug information of only a few at a time.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object::Object;

use super::batch::{Counter, Group};
use super::cache::CacheFile;
use super::dwarf::{DwarfContext, DwarfSource};
use super::frames::Resolver;
use super::load::{self, Loaded, guarded};
use super::locate::{self, Located};
use super::types::{ModuleError, ModuleReport, ModuleStatus, Options, SymbolFrame};

/// Smallest chunk: below it, reading the unit headers once more costs more than a second core brings.
const MIN_CHUNK: usize = 2048;
/// Largest chunk: a chunk keeps every unit it has parsed until it ends.
const MAX_CHUNK: usize = 8192;
/// Smallest debug file worth a cache: below it, tens of thousands of addresses take less than a tenth of a second.
const MIN_CACHED: u64 = 16 << 20;
/// The same for separate debug files. Those of the C library and its loader change seldom and concern every recording,
/// and looking up a few addresses in them can cost more than a short recording.
const MIN_CACHED_SEPARATE: u64 = 64 << 10;
/// Longest that one chunk may take before it makes do with raw symbols. Thirty times what the slowest known takes.
const MAX_CHUNK_TIME: Duration = Duration::from_secs(120);
/// Addresses between two reports of progress.
const PROGRESS_STEP: usize = 1024;

/// Frame lists, one after the other.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lists {
    ends: Vec<usize>,
    frames: Vec<SymbolFrame>,
}

impl Lists {
    /// Number of lists.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// List `index`; empty if there is none.
    pub(super) fn get(&self, index: usize) -> &[SymbolFrame] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|&end| self.frames.get(start..end)).unwrap_or_default()
    }

    /// Adds one list, made by `fill`.
    pub(super) fn push_with(&mut self, fill: impl FnOnce(&mut Vec<SymbolFrame>)) {
        fill(&mut self.frames);
        self.ends.push(self.frames.len());
    }

    /// Adds all lists of `other`.
    pub(super) fn append(&mut self, mut other: Self) {
        let before = self.frames.len();
        self.frames.append(&mut other.frames);
        self.ends.extend(other.ends.iter().map(|end| before + end));
    }

    /// Boundaries (one more than lists) and frames.
    pub(super) fn into_parts(self) -> (Vec<usize>, Vec<SymbolFrame>) {
        (std::iter::once(0).chain(self.ends).collect(), self.frames)
    }
}

/// What a task comes to: a list for each of the group's offsets, and the report.
pub(super) struct Outcome {
    pub(super) lists: Lists,
    pub(super) report: ModuleReport,
}

/// One module being resolved.
pub(super) struct Task<'a> {
    group: &'a Group<'a>,
    located: Located,
    cache: Option<CacheFile>,
    /// Offsets that the cache does not have, sorted.
    missing: Vec<u64>,
    loaded: Mutex<Option<Arc<Loaded>>>,
    /// Chunks that have not finished.
    running: AtomicUsize,
    problems: Mutex<Vec<ModuleError>>,
}

impl<'a> Task<'a> {
    /// Finds the module's files and what is known about it already.
    pub(super) fn open(group: &'a Group<'a>, options: &Options) -> Self {
        let mut task = Self {
            group,
            located: Located::default(),
            cache: None,
            missing: Vec::new(),
            loaded: Mutex::new(None),
            running: AtomicUsize::new(0),
            problems: Mutex::new(Vec::new()),
        };
        let path = &group.module.path;
        match guarded(path, || locate::locate(group.module, &options.debug_dirs)) {
            Ok(located) => task.located = located,
            Err(panic) => task.located.failure = Some(ModuleStatus::Unreadable(panic)),
        }
        task.problems = Mutex::new(std::mem::take(&mut task.located.problems));
        if task.has_nothing() || group.offsets.is_empty() {
            return task;
        }
        let cache = |dir: &Path| guarded(path, || task.open_cache(dir)).ok().flatten();
        task.cache = options.cache_dir.as_deref().and_then(cache);
        let known = |offset: &u64| task.cache.as_ref().is_some_and(|cache| cache.get(*offset).is_some());
        task.missing = group.offsets.iter().copied().filter(|offset| !known(offset)).collect();
        task
    }

    /// Addresses that need no work.
    pub(super) fn known(&self) -> usize {
        self.group.offsets.len() - self.missing.len()
    }

    /// The remaining work, cut for `threads` threads.
    pub(super) fn jobs(&self, threads: usize) -> Vec<Job<'_>> {
        let size = self.missing.len().div_ceil(threads.max(1)).clamp(MIN_CHUNK, MAX_CHUNK);
        let starts = (0..self.missing.len()).step_by(size);
        let ranges = starts.map(|start| start..(start + size).min(self.missing.len()));
        let jobs: Vec<_> = ranges.map(|range| Job { task: self, range }).collect();
        self.running.store(jobs.len(), Ordering::Relaxed);
        jobs
    }

    /// Puts together cache and chunks (in the order of their jobs), and updates the cache.
    pub(super) fn finish(self, chunks: Vec<Chunk>) -> Outcome {
        let with_dwarf = chunks.is_empty() || chunks.iter().any(|chunk| chunk.used_dwarf);
        let malformed = chunks.iter().map(|chunk| chunk.malformed).sum();
        let mut fresh = Lists::default();
        for chunk in chunks {
            fresh.append(chunk.lists);
        }
        let status = guarded(&self.group.module.path, || self.status(with_dwarf));
        let status = status.unwrap_or_else(ModuleStatus::Unreadable);
        let cached = if self.has_nothing() { 0 } else { self.known() };
        let mut problems = self.problems.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Results with flaws are not kept, so that every run reports the flaw.
        let flawless = problems.is_empty() && malformed == 0;
        if let Some(cache) = self.cache.as_ref().filter(|_| flawless && !self.missing.is_empty()) {
            problems.extend(cache.store(&self.missing, &fresh).err());
        }
        let mut lists = Lists::default();
        for offset in &self.group.offsets {
            let position = self.missing.binary_search(offset).ok();
            let known = || self.cache.as_ref().and_then(|cache| cache.get(*offset)).unwrap_or_default();
            let frames = position.map_or_else(known, |position| fresh.get(position));
            lists.push_with(|all| all.extend_from_slice(frames));
        }
        let report = ModuleReport {
            status,
            debug_file: self.located.debug.map(|image| image.identity.path),
            requested: lists.len(),
            resolved: (0..lists.len()).filter(|&index| !lists.get(index).is_empty()).count(),
            cached,
            malformed,
            problems,
        };
        Outcome { lists, report }
    }

    fn has_nothing(&self) -> bool {
        self.located.main.is_none() && self.located.debug.is_none()
    }

    fn open_cache(&self, dir: &Path) -> Option<CacheFile> {
        let main = self.located.main.as_ref().or(self.located.debug.as_ref())?;
        let least = if self.located.debug.is_some() { MIN_CACHED_SEPARATE } else { MIN_CACHED };
        self.located.dwarf_image().filter(|image| image.identity.size >= least)?;
        let build_id = self.group.module.build_id.as_ref().or(main.build_id.as_ref())?;
        CacheFile::open(dir, build_id, &self.located.identities())
    }

    fn status(&self, with_dwarf: bool) -> ModuleStatus {
        if with_dwarf && self.located.dwarf_image().is_some() {
            return ModuleStatus::Dwarf;
        }
        let Some(image) = self.located.symbol_image() else {
            return self.located.failure.clone().unwrap_or(ModuleStatus::NoSymbols);
        };
        let has_dynamic = || image.parse().is_ok_and(|file| file.dynamic_symbols().next().is_some());
        match () {
            () if image.has_symbol_table() => ModuleStatus::SymbolTable,
            () if has_dynamic() => ModuleStatus::DynamicSymbols,
            () => ModuleStatus::NoSymbols,
        }
    }

    fn loaded(&self) -> Arc<Loaded> {
        let mut slot = lock(&self.loaded);
        let loaded = slot.get_or_insert_with(|| {
            let mut loaded = load::load(&self.located);
            lock(&self.problems).append(&mut loaded.problems);
            Arc::new(loaded)
        });
        Arc::clone(loaded)
    }

    /// One chunk less is running; the last one takes the loaded sections with it.
    fn release(&self) {
        // AcqRel: the chunk that sees zero must see the slot as the other chunks left it.
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            *lock(&self.loaded) = None;
        }
    }

    fn report(&self, problem: ModuleError) {
        let mut problems = lock(&self.problems);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

/// A run of a task's missing offsets.
pub(super) struct Job<'a> {
    task: &'a Task<'a>,
    range: Range<usize>,
}

/// What a job found, one list per offset.
pub(super) struct Chunk {
    lists: Lists,
    used_dwarf: bool,
    malformed: usize,
}

impl Job<'_> {
    /// Resolves the offsets: with debug information if possible, else with symbols, else not at all.
    pub(super) fn run(&self, counter: &Counter<'_>) -> Chunk {
        let ticker = Ticker { counter, reported: Cell::new(0) };
        let attempts = [Self::with_dwarf, Self::with_symbols];
        let chunk = attempts.iter().find_map(|attempt| {
            let done = guarded(&self.task.group.module.path, || attempt(self, &self.task.loaded(), &ticker));
            done.unwrap_or_else(|panic| Err(Some(panic)))
                .map_err(|problem| problem.map(|problem| self.task.report(problem)))
                .ok()
        });
        self.task.release();
        ticker.reach(self.offsets().len());
        chunk.unwrap_or_else(|| Chunk::unknown(self.offsets().len()))
    }

    fn offsets(&self) -> &[u64] {
        self.task.missing.get(self.range.clone()).unwrap_or_default()
    }

    /// `Err(None)`: there is no debug information.
    fn with_dwarf(&self, loaded: &Loaded, ticker: &Ticker<'_>) -> Result<Chunk, Option<ModuleError>> {
        let image = self.task.located.dwarf_image().ok_or(None)?;
        let sections = loaded.sections.as_ref().ok_or(None)?;
        let supplementary = self.task.located.supplementary.as_ref().zip(loaded.supplementary.as_ref());
        let source = DwarfSource { image, sections, supplementary };
        let budget = source.budget();
        let path = || image.path().to_owned();
        let limit = || budget.tripped().map(|limit| ModuleError::Limit { path: path(), limit });
        let context = DwarfContext::new(&source, &budget).map_err(|error| {
            limit().unwrap_or_else(|| ModuleError::Dwarf { path: path(), reason: error.to_string() })
        })?;
        let chunk = self.resolve(loaded, Some(context), ticker);
        if let Some(problem) = limit() {
            self.task.report(problem);
        }
        Ok(chunk)
    }

    fn with_symbols(&self, loaded: &Loaded, ticker: &Ticker<'_>) -> Result<Chunk, Option<ModuleError>> {
        Ok(self.resolve(loaded, None, ticker))
    }

    fn resolve(&self, loaded: &Loaded, dwarf: Option<DwarfContext<'_>>, ticker: &Ticker<'_>) -> Chunk {
        let symbols = self.task.located.symbol_image().map(|image| (&loaded.symbols, image));
        let mut chunk = Chunk { lists: Lists::default(), used_dwarf: dwarf.is_some(), malformed: 0 };
        let mut resolver = Resolver::new(dwarf, symbols, MAX_CHUNK_TIME);
        for (index, &offset) in self.offsets().iter().enumerate() {
            if index % PROGRESS_STEP == 0 {
                ticker.reach(index);
            }
            chunk.lists.push_with(|frames| resolver.resolve(offset, frames));
        }
        chunk.malformed = resolver.malformed;
        if resolver.overdue {
            self.task.report(ModuleError::Limit { path: self.task.group.module.path.clone(), limit: "time limit" });
        }
        chunk
    }
}

impl Chunk {
    fn unknown(length: usize) -> Self {
        let mut lists = Lists::default();
        (0..length).for_each(|_| lists.push_with(|_| ()));
        Self { lists, used_dwarf: false, malformed: 0 }
    }
}

/// Reports each address of a chunk once, even if the chunk starts over after a panic.
struct Ticker<'a> {
    counter: &'a Counter<'a>,
    reported: Cell<usize>,
}

impl Ticker<'_> {
    fn reach(&self, index: usize) {
        if let Some(more) = index.checked_sub(self.reported.get()).filter(|&more| more > 0) {
            self.reported.set(index);
            self.counter.add(more);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
