//! The whole job: makes requests unique, runs the tasks in parallel, and hands results back in the requests' order.
//!
//! Work is cut into jobs that never wait for the pool from inside, so a worker's stack holds one lookup at a time;
//! that is what lets [`super::reader`] reason about stack depth.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::reader::THREAD_STACK;
use super::task::{Lists, Outcome, Task};
use super::types::{ModuleRef, ModuleReport, Options, Progress, SymbolRequest, Symbolized, Symbols};

/// Resolves every request. Never fails as a whole: what could not be resolved is empty, and a report says why.
///
/// `progress` is called from several threads, at least once, and for the last time with `done == total`.
pub fn symbolize(
    modules: &[ModuleRef],
    requests: &[SymbolRequest],
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Symbolized {
    let plan = Plan::new(modules, requests);
    let total = plan.groups.iter().map(|group| group.offsets.len()).sum();
    let counter = Counter { done: AtomicUsize::new(0), total, progress };
    // Without threads (a limit on processes) everything runs here.
    let pool = ThreadPoolBuilder::new().num_threads(options.threads).stack_size(THREAD_STACK).build().ok();
    let threads = pool.as_ref().map_or(1, ThreadPool::current_num_threads);
    let tasks = run_all(pool.as_ref(), &plan.groups, |group| Task::open(group, options));
    counter.add(tasks.iter().map(Task::known).sum());
    let jobs: Vec<_> = tasks.iter().map(|task| task.jobs(threads)).collect();
    let counts: Vec<usize> = jobs.iter().map(Vec::len).collect();
    let jobs: Vec<_> = jobs.into_iter().flatten().collect();
    let mut chunks = run_all(pool.as_ref(), &jobs, |job| job.run(&counter)).into_iter();
    drop(jobs);
    let finish = |(task, count): (Task<'_>, usize)| task.finish(chunks.by_ref().take(count).collect());
    let outcomes = tasks.into_iter().zip(counts).map(finish).collect();
    plan.assemble(requests, outcomes)
}

fn run_all<'t, T, R>(pool: Option<&ThreadPool>, items: &'t [T], work: impl Fn(&'t T) -> R + Send + Sync) -> Vec<R>
where
    T: Sync,
    R: Send,
{
    match pool {
        Some(pool) => pool.install(|| items.par_iter().with_max_len(1).map(work).collect()),
        None => items.iter().map(work).collect(),
    }
}

/// Counts finished addresses and tells the caller.
pub(super) struct Counter<'a> {
    done: AtomicUsize,
    total: usize,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl Counter<'_> {
    /// `count` more addresses are done.
    pub(super) fn add(&self, count: usize) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        (self.progress)(Progress { done, total: self.total });
    }
}

/// One distinct module and the addresses wanted from it.
pub(super) struct Group<'a> {
    pub(super) module: &'a ModuleRef,
    /// Sorted, unique.
    pub(super) offsets: Vec<u64>,
}

/// Requests by module. Modules that name the same file and build share a group.
struct Plan<'a> {
    groups: Vec<Group<'a>>,
    group_of_module: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new(modules: &'a [ModuleRef], requests: &[SymbolRequest]) -> Self {
        let mut known: HashMap<&ModuleRef, usize> = HashMap::new();
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut group_of_module = Vec::with_capacity(modules.len());
        for module in modules {
            let group = *known.entry(module).or_insert_with(|| {
                groups.push(Group { module, offsets: Vec::new() });
                groups.len() - 1
            });
            group_of_module.push(group);
        }
        for request in requests {
            let group = group_of_module.get(request.module).and_then(|&group| groups.get_mut(group));
            if let Some(group) = group {
                group.offsets.push(request.offset);
            }
        }
        for group in &mut groups {
            group.offsets.sort_unstable();
            group.offsets.dedup();
        }
        Self { groups, group_of_module }
    }

    fn assemble(&self, requests: &[SymbolRequest], outcomes: Vec<Outcome>) -> Symbolized {
        let mut all = Lists::default();
        let mut first_list = Vec::with_capacity(outcomes.len());
        let mut reports = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            first_list.push(all.len());
            all.append(outcome.lists);
            reports.push(outcome.report);
        }
        let list_of = |request: &SymbolRequest| {
            let group = *self.group_of_module.get(request.module)?;
            let position = self.groups.get(group)?.offsets.binary_search(&request.offset).ok()?;
            Some(first_list.get(group)? + position)
        };
        // A list number that does not exist reads as "no frames".
        let lists = requests.iter().map(|request| list_of(request).unwrap_or(usize::MAX - 1)).collect();
        let (bounds, frames) = all.into_parts();
        let report_of = |&group: &usize| -> Option<ModuleReport> { reports.get(group).cloned() };
        let modules = self.group_of_module.iter().filter_map(report_of).collect();
        Symbolized { symbols: Symbols { lists, bounds, frames }, modules }
    }
}
