//! What ordered events mean: open blocks, finished rows, sums, peak and timeline.

use std::collections::{BTreeMap, HashMap, VecDeque};

use multiversion::multiversion;
use serde::{Deserialize, Serialize};
use tmq_wire::record::{Kind, NO_STACK, Plain};

use super::INVERSION_NS;
use super::block::Block;
use super::books::{Books, heap_row};
use super::clock::Clock;
use super::code::Code;
use super::maps::Range;
use super::process::Process;
use super::rows::{MALLOC, NO_ID, NO_TIME, ROWS_AT_ONCE, Row, Rows, kind_number};
use super::sampling::Sampling;
use super::sites::{Amount, Peak, Site};
use super::streams::{Cursor, NO_THREAD};
use super::timeline::{Timeline, Totals};
use crate::schema::{DOMAIN_HEAP, DOMAIN_MMAP};

const HEAP: u8 = DOMAIN_HEAP as u8;
const MMAP: u8 = DOMAIN_MMAP as u8;
/// Named moments kept; more are counted as lost.
const MAX_MOMENTS: usize = 100_000;
/// Distinct reasons of loss kept.
const MAX_LOSSES: usize = 10_000;
/// Blocks waiting for a late free; more than this many in [`INVERSION_NS`] are settled at once.
const MAX_DISPLACED: usize = 1 << 16;

/// A thread of a process image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub process: u32,
    pub tid: u32,
    pub name: String,
    pub start_ns: i64,
    pub end_ns: i64,
    /// Its most recent allocation.
    pub(super) last_address: u64,
    pub(super) last_ns: i64,
}

/// A named moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub name: String,
    pub ns: i64,
    pub process: Option<u32>,
    pub live: Amount,
}

/// Something that was not recorded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Loss {
    pub count: u64,
    pub at_ns: Option<i64>,
    pub thread: Option<u32>,
    pub detail: String,
}

/// A block whose address was handed out again before its free came (rule 4).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Displaced {
    process: u32,
    address: u64,
    block: Block,
    /// When the address was handed out again: the older block ends here.
    at_ns: i64,
}

/// Everything that follows from the ordered events so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Model {
    pub sampling: Sampling,
    pub clock: Option<Clock>,
    pub processes: Vec<Process>,
    pub threads: Vec<Thread>,
    thread_index: HashMap<(u32, u32), u32>,
    pub code: Code,
    pub sites: Vec<Site>,
    site_index: HashMap<(u32, u32, u8), u32>,
    displaced: VecDeque<Displaced>,
    /// Heap of all processes.
    pub totals: Totals,
    /// Most of it.
    pub peak: Peak,
    /// Heap of all processes when the recording was closed.
    pub end_totals: Totals,
    /// Number of maxima so far.
    pub version: u64,
    pub timeline: Timeline,
    pub moments: Vec<Moment>,
    pub losses: BTreeMap<(Option<u32>, String), Loss>,
    /// Time of the last event.
    pub now_ns: i64,
    /// Rows so far.
    pub row_count: u64,
    /// Finished rows that nobody has taken.
    #[serde(skip)]
    pub rows: Rows,
}

/// An event with its stamp converted, and who caused it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub kind: Kind,
    pub process: u32,
    pub thread: u32,
    pub address: u64,
    pub size: u64,
    pub node: u32,
    pub ns: i64,
}

/// [`Model::run_with`], compiled for processors that count bits and shift in one step too, which nearly all do.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn run_plain<const EXACT: bool>(
    model: &mut Model,
    cursor: &mut Cursor,
    until: u64,
    writer: (u32, u32),
    clock: &Clock,
) -> Option<i64> {
    model.run_with::<EXACT>(cursor, until, writer, clock)
}

impl Model {
    /// Before the first event.
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self { sampling, ..Self::default() }
    }

    /// Applies one event; they come in the order of their stamps. The caller notes the time ([`Model::now_ns`], the
    /// thread's end) when it has applied a run of them.
    pub(crate) fn event(&mut self, event: &Event) {
        self.timeline.advance(event.ns, &self.totals);
        if !self.displaced.is_empty() {
            self.expire_displaced(event.ns);
        }
        match event.kind {
            Kind::Free | Kind::ReallocOld => self.free(event),
            Kind::Malloc => self.allocate(event, MALLOC),
            Kind::Mmap | Kind::MremapNew => self.map(event),
            Kind::Munmap | Kind::MremapOld => self.unmap(event),
            kind => {
                if let Some(kind) = kind_number(kind) {
                    self.allocate(event, kind);
                }
            }
        }
    }

    fn allocate(&mut self, event: &Event, kind: u8) {
        let Event { address, size, ns, .. } = *event;
        if address == 0 {
            return;
        }
        let site = self.heap_site(event.process, event.node);
        let block = Block::new(kind, ns, size, site, event.thread);
        if let Some(older) = self.processes[event.process as usize].blocks.insert(address, block) {
            self.displace(event.process, address, older, ns);
        }
        self.books(event.process).allocate(address, &block);
    }

    fn free(&mut self, event: &Event) {
        if !self.displaced.is_empty() && self.free_displaced(event) {
            return;
        }
        let process = &mut self.processes[event.process as usize];
        let Some(block) = process.blocks.remove(event.address) else {
            process.foreign_frees += 1;
            return;
        };
        // A late record may bear an earlier stamp than the block that it frees (see [`Model::late`]).
        let ns = event.ns.max(block.alloc_ns);
        self.books(event.process).free(event.address, &block, ns);
        let free_stack = self.free_stack(event);
        self.emit(event.process, event.address, &block, ns, event.thread, free_stack);
    }

    /// Applies the events that come next in a stream of a process and thread, as [`Model::event`] would, while they are
    /// of the kinds that nearly all are; returns the time of the last one, if there was one. Looks everything up once
    /// that is the same for all of them.
    #[inline(always)]
    pub(crate) fn run(
        &mut self,
        cursor: &mut Cursor,
        until: u64,
        process: u32,
        thread: u32,
        clock: &Clock,
    ) -> Option<i64> {
        match (self.displaced.is_empty(), self.sampling.is_exact()) {
            (false, _) => None,
            (true, true) => run_plain::<true>(self, cursor, until, (process, thread), clock),
            (true, false) => run_plain::<false>(self, cursor, until, (process, thread), clock),
        }
    }

    #[inline(always)]
    fn run_with<const EXACT: bool>(
        &mut self,
        cursor: &mut Cursor,
        until: u64,
        (process, thread): (u32, u32),
        clock: &Clock,
    ) -> Option<i64> {
        let (mut books, rows) = self.books_and_rows::<EXACT>(process);
        let (mut last, mut displaced) = (None, None);
        let first_row = rows.len();
        while rows.len() < ROWS_AT_ONCE {
            cursor.prefetch(&books.process.blocks);
            let Some(Plain { kind, address, size, stack, tsc }) = cursor.peek_plain(until) else { break };
            let ns = clock.ns(tsc);
            let kind = match kind {
                Kind::Free | Kind::ReallocOld if stack == NO_STACK => {
                    cursor.pass(tsc);
                    last = Some(ns);
                    books.timeline.advance(ns, books.totals);
                    match books.process.blocks.remove(address) {
                        Some(block) => books.end(rows, process, address, &block, (ns, thread)),
                        None => books.process.foreign_frees += 1,
                    }
                    continue;
                }
                Kind::Malloc => MALLOC,
                Kind::Calloc | Kind::ReallocNull | Kind::ReallocNew => kind_number(kind).unwrap_or_default(),
                _ => break,
            };
            let Some(site) = books.process.nodes.site(stack).filter(|_| address != 0) else { break };
            cursor.pass(tsc);
            last = Some(ns);
            books.timeline.advance(ns, books.totals);
            let block = Block::new(kind, ns, size, site, thread);
            // What the next event frees need not be noted as open in between.
            if let Some(tsc) = cursor.freed_next(address, until)
                && !books.process.blocks.is_open(address)
            {
                cursor.pass(tsc);
                let ns = clock.ns(tsc);
                last = Some(ns);
                books.pass(rows, process, address, &block, (ns, thread));
                continue;
            }
            if let Some(older) = books.process.blocks.insert(address, block) {
                displaced = Some((address, block, older));
                break;
            }
            books.allocate(address, &block);
        }
        self.row_count += (rows.len() - first_row) as u64;
        if let Some((address, block, older)) = displaced {
            self.displace(process, address, older, block.alloc_ns);
            self.books(process).allocate(address, &block);
        }
        last
    }

    /// What events of heap blocks of a process change.
    #[inline(always)]
    fn books(&mut self, process: u32) -> Books<'_, false> {
        self.books_and_rows(process).0
    }

    #[inline(always)]
    fn books_and_rows<const EXACT: bool>(&mut self, process: u32) -> (Books<'_, EXACT>, &mut Rows) {
        let books = Books {
            process: &mut self.processes[process as usize],
            threads: &mut self.threads,
            sites: &mut self.sites,
            totals: &mut self.totals,
            peak: &mut self.peak,
            version: &mut self.version,
            timeline: &mut self.timeline,
            sampling: self.sampling,
        };
        (books, &mut self.rows)
    }

    #[inline]
    fn free_stack(&mut self, event: &Event) -> u32 {
        if event.node == NO_STACK {
            return NO_ID;
        }
        let site = self.heap_site(event.process, event.node);
        self.sites[site as usize].stack
    }

    pub(super) fn emit(
        &mut self,
        process: u32,
        address: u64,
        block: &Block,
        free_ns: i64,
        free_thread: u32,
        free_stack: u32,
    ) {
        self.row_count += 1;
        let stack = self.sites[block.site as usize].stack;
        self.rows.push(heap_row(process, address, block, free_ns, stack, (free_thread, free_stack)));
    }

    /// An address was handed out again while it was open: the older block ends now, its free may still come.
    #[cold]
    fn displace(&mut self, process: u32, address: u64, block: Block, at_ns: i64) {
        let at_ns = at_ns.max(block.alloc_ns);
        self.books(process).free(address, &block, at_ns);
        if self.displaced.len() >= MAX_DISPLACED {
            self.settle_displaced();
        }
        self.displaced.push_back(Displaced { process, address, block, at_ns });
    }

    /// Closes an older block at this address with a late free; says whether there was one.
    #[cold]
    fn free_displaced(&mut self, event: &Event) -> bool {
        let found = self.displaced.iter().position(|d| d.process == event.process && d.address == event.address);
        let Some(older) = found.and_then(|i| self.displaced.remove(i)) else { return false };
        let free_stack = self.free_stack(event);
        self.emit(older.process, older.address, &older.block, older.at_ns, event.thread, free_stack);
        true
    }

    #[cold]
    fn expire_displaced(&mut self, ns: i64) {
        while self.displaced.front().is_some_and(|d| ns - d.at_ns > INVERSION_NS) {
            self.settle_displaced();
        }
    }

    /// Gives the oldest displaced block up: its free was not seen.
    fn settle_displaced(&mut self) {
        if let Some(older) = self.displaced.pop_front() {
            self.processes[older.process as usize].unpaired += 1;
            self.emit(older.process, older.address, &older.block, older.at_ns, NO_ID, NO_ID);
        }
    }

    /// Gives up all displaced blocks of a process.
    pub(super) fn settle_displaced_of(&mut self, number: u32) {
        let (own, others) = std::mem::take(&mut self.displaced).into_iter().partition(|d| d.process == number);
        self.displaced = own;
        while !self.displaced.is_empty() {
            self.settle_displaced();
        }
        self.displaced = others;
    }

    fn map(&mut self, event: &Event) {
        let Some(kind) = kind_number(event.kind) else { return };
        // A fixed mapping replaces what was there.
        self.unmap(event);
        let site = self.site(event.process, event.node, MMAP);
        let amount = Amount::of(event.size, 1.0);
        self.sites[site as usize].allocate(self.version, event.size, amount, event.ns);
        let range = Range::new(event.address, event.size, event.ns, site, event.thread, kind);
        self.processes[event.process as usize].maps.insert(range);
    }

    fn unmap(&mut self, event: &Event) {
        let parts = self.processes[event.process as usize].maps.cut(event.address, event.size);
        for (part, stay) in parts {
            let site = &mut self.sites[part.site as usize];
            if stay > 0 {
                site.split(self.version, f64::from(stay));
            }
            let ns = event.ns.max(part.alloc_ns);
            site.free(self.version, Amount::of(part.size(), 1.0), ns - part.alloc_ns, false);
            let free_stack = match event.kind {
                Kind::Munmap | Kind::MremapOld => self.free_stack(event),
                _ => NO_ID,
            };
            self.emit_range(event.process, &part, ns, event.thread, free_stack);
        }
    }

    pub(super) fn emit_range(&mut self, process: u32, range: &Range, free_ns: i64, free_thread: u32, free_stack: u32) {
        self.row_count += 1;
        self.rows.push(Row {
            alloc_ns: range.alloc_ns,
            free_ns,
            address: range.start,
            size: range.size(),
            who: Row::who(process, range.thread),
            freed_by: Row::freed_by(free_thread, free_stack),
            what: Row::what(self.sites[range.site as usize].stack, range.kind, true),
        });
    }

    #[inline]
    fn heap_site(&mut self, process: u32, node: u32) -> u32 {
        match self.processes[process as usize].nodes.site(node) {
            Some(site) => site,
            None => self.site(process, node, HEAP),
        }
    }

    #[cold]
    fn site(&mut self, number: u32, node: u32, domain: u8) -> u32 {
        let process = &mut self.processes[number as usize];
        let stack = self.code.stack(number, process, node);
        let site = *self.site_index.entry((number, stack, domain)).or_insert_with(|| {
            self.sites.push(Site::new(number, stack, domain));
            process.sites.push(self.sites.len() as u32 - 1);
            self.sites.len() as u32 - 1
        });
        if domain == HEAP {
            process.nodes.set_site(node, site);
        }
        site
    }

    /// The thread `tid` of a process, made if it is new.
    pub(crate) fn thread(&mut self, process: u32, tid: u32) -> u32 {
        *self.thread_index.entry((process, tid)).or_insert_with(|| {
            self.threads.push(Thread {
                process,
                tid,
                name: String::new(),
                start_ns: NO_TIME,
                end_ns: NO_TIME,
                last_address: 0,
                last_ns: NO_TIME,
            });
            self.threads.len() as u32 - 1
        })
    }

    /// Names a thread, if it has had an event.
    pub(crate) fn name_thread(&mut self, process: u32, tid: u32, name: String) {
        if let Some(&thread) = self.thread_index.get(&(process, tid)) {
            self.threads[thread as usize].name = name;
        }
    }

    /// Notes the last event of a run of events of one thread.
    pub(crate) fn thread_reached(&mut self, thread: u32, ns: i64) {
        self.now_ns = self.now_ns.max(ns);
        if let Some(thread) = self.threads.get_mut(thread as usize) {
            thread.end_ns = thread.end_ns.max(ns);
        }
    }

    /// Notes the first event of a thread, or of a stream that it begins to write.
    pub(crate) fn thread_starts(&mut self, thread: u32, ns: i64) {
        let thread = &mut self.threads[thread as usize];
        if thread.start_ns == NO_TIME {
            thread.start_ns = ns;
            thread.end_ns = ns;
        }
        thread.start_ns = thread.start_ns.min(ns);
    }

    /// Counts that the next record of a stream, at `ns`, lies before what was applied already. It keeps its time where
    /// that is possible, but sums over time count it now, and no block ends before it began.
    #[cold]
    pub(crate) fn late(&mut self, process: u32, thread: u32, ns: i64) {
        if thread != NO_THREAD {
            self.thread_starts(thread, ns);
        }
        let detail = "Records of a thread arrived when later ones had been put in order already: they are placed behind \
                      those, so lifetimes and sums over time may be wrong there.";
        self.lose(Some(process), "late_records", 1, detail);
    }

    /// Notes a named moment: what is live now.
    pub(crate) fn mark(&mut self, name: String, ns: i64, process: Option<u32>) {
        if self.moments.len() >= MAX_MOMENTS {
            self.lose(process, "too_many_marks", 1, "Marks beyond the first 100,000 were not kept.");
            return;
        }
        self.moments.push(Moment { name, ns, process, live: self.totals.live });
    }

    /// Counts something that was not recorded.
    pub(crate) fn lose(&mut self, process: Option<u32>, reason: &str, count: u64, detail: &str) {
        let key = (process, reason.to_owned());
        if self.losses.len() >= MAX_LOSSES && !self.losses.contains_key(&key) {
            return;
        }
        let now = self.clock.map(|_| self.now_ns);
        let loss = self.losses.entry(key).or_insert_with(|| Loss { at_ns: now, ..Loss::default() });
        loss.count = loss.count.saturating_add(count);
        if loss.detail.is_empty() {
            loss.detail = detail.to_owned();
        }
    }
}
