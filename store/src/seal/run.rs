//! The tables `processes`, `threads`, `modules`, `losses` and `metadata`, and the summary.

use std::collections::HashMap;

use tmq_wire::layout::LossReason;

use super::frames::Frames;
use super::stacks::Quality;
use super::sums::{self, whole};
use crate::ingest::{Process, State, Summary};
use crate::schema::{
    DOMAIN_HEAP, LossesColumns, LossesRow, ModulesColumns, ModulesRow, ProcessesColumns, ProcessesRow, ThreadsColumns,
    ThreadsRow,
};
use crate::version::STORE_VERSION;

fn long(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The table `modules`.
pub(super) fn modules(state: &State, frames: &Frames) -> ModulesColumns {
    let mut columns = ModulesColumns::default();
    for (id, module) in state.model.code.modules.iter().enumerate() {
        let path = String::from_utf8_lossy(&module.path).into_owned();
        let build_id: String = module.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        columns.push(ModulesRow {
            module_id: id as i32,
            name: path.rsplit('/').next().unwrap_or(&path).to_owned(),
            path,
            build_id: (!build_id.is_empty()).then_some(build_id),
            process_id: module.process as i32,
            start_address: long(module.start),
            end_address: long(module.end),
            symbols: frames.symbols_of(id),
        });
    }
    columns
}

/// Where process image `number` came from.
fn origin(processes: &[Process], numbers: &HashMap<u32, usize>, number: usize) -> (&'static str, Option<usize>) {
    let process = &processes[number];
    if process.forked_from != 0 {
        return ("fork", numbers.get(&process.forked_from).copied());
    }
    if number == 0 {
        return ("start", None);
    }
    // exec keeps the process id; an image that nobody forked came from exec in a child that was not recorded between
    // its fork (or vfork, or spawn) and exec.
    let same_pid = processes[..number].iter().rposition(|p| p.pid == process.pid && p.pid != 0);
    let parent =
        same_pid.or_else(|| processes[..number].iter().rposition(|p| p.pid == process.identity.ppid && p.pid != 0));
    ("exec", parent)
}

/// The table `processes`.
pub(super) fn processes(state: &State) -> ProcessesColumns {
    let processes = &state.model.processes;
    let numbers: HashMap<u32, usize> = processes.iter().enumerate().map(|(i, p)| (p.incarnation, i)).collect();
    let mut bytes_allocated = vec![0.0; processes.len()];
    for site in state.model.sites.iter().filter(|s| i32::from(s.domain) == DOMAIN_HEAP) {
        bytes_allocated[site.process as usize] += site.allocated.bytes;
    }
    let mut columns = ProcessesColumns::default();
    for (number, process) in processes.iter().enumerate() {
        let (origin, parent) = origin(processes, &numbers, number);
        // A forked child that has not described itself is what its parent is.
        let identity = match parent {
            Some(parent) if !process.identity.is_known && origin == "fork" => &processes[parent].identity,
            _ => &process.identity,
        };
        let ppid = match parent {
            Some(parent) if origin == "fork" && !process.identity.is_known => processes[parent].pid,
            _ => process.identity.ppid,
        };
        columns.push(ProcessesRow {
            process_id: number as i32,
            pid: process.pid as i32,
            ppid: ppid as i32,
            parent_process_id: parent.map(|p| p as i32),
            origin,
            exe: identity.exe.clone(),
            argv: identity.argv.clone(),
            start_ns: state.model.clock.map_or(0, |c| c.ns(process.start_tsc)),
            end_ns: process.end_ns,
            exit_code: process.exit_code,
            exit_signal: process.exit_signal,
            allocations: long(process.allocations),
            frees: long(process.frees()),
            bytes_allocated: whole(bytes_allocated[number]),
            peak_bytes: whole(process.peak.amount.bytes),
            peak_ns: process.peak.ns,
            live_blocks: long(process.left_rows),
            live_bytes: whole(process.left.bytes),
            foreign_frees: long(process.foreign_frees),
            recorder_bytes: long(process.counters.recorder_bytes),
        });
    }
    columns
}

/// The table `threads`.
pub(super) fn threads(state: &State) -> ThreadsColumns {
    let mut columns = ThreadsColumns::default();
    for (id, thread) in state.model.threads.iter().enumerate() {
        columns.push(ThreadsRow {
            thread_id: id as i32,
            process_id: thread.process as i32,
            tid: thread.tid as i32,
            name: thread.name.clone(),
            start_ns: thread.start_ns.max(0),
            end_ns: thread.end_ns.max(0),
        });
    }
    columns
}

/// Records of a process lost for a reason: its own counters, or what its streams said if they are gone.
fn lost(process: &Process, reason: LossReason) -> u64 {
    let at = reason as usize;
    process.counters.losses[at].max(process.lost_in_streams[at])
}

fn explain(reason: LossReason) -> &'static str {
    match reason {
        LossReason::NoChunk => {
            "The buffer to the recorder was full: record fewer events (--sample), or wait (--on-full wait)."
        }
        LossReason::Nested => "Signal handlers were nested deeper than the recorder has room for.",
        LossReason::AddressRange => "Blocks lay outside the 47 bits of address that a record holds.",
        LossReason::NoMemory => "The recorder got no memory for a thread.",
        LossReason::StackTableFull => {
            "There were more distinct stacks than the recorder has room for: events were kept without their stack."
        }
        LossReason::LateUnload => {
            "Code was found where other code had lain which had not been seen to go: stacks before may name that."
        }
        LossReason::Bypassed => {
            "The program has a malloc of its own, or one preloaded before the recorder: nothing that goes through it was \
             seen."
        }
        LossReason::ModuleTableFull => {
            "There were more loads of libraries than the recorder has numbers for: frames in later ones have no function."
        }
    }
}

/// The table `losses`.
pub(super) fn losses(state: &State, quality: &Quality, frames: &Frames) -> LossesColumns {
    let mut columns = LossesColumns::default();
    let mut push = |process_id: Option<usize>, at_ns, reason: &str, count: u64, detail: &str| {
        if count > 0 {
            columns.push(LossesRow {
                process_id: process_id.map(|p| p as i32),
                thread_id: None,
                at_ns,
                reason: reason.to_owned(),
                count: long(count),
                detail: detail.to_owned(),
            });
        }
    };
    for (number, process) in state.model.processes.iter().enumerate() {
        for reason in LossReason::ALL {
            push(Some(number), None, reason.name(), lost(process, reason), explain(reason));
        }
        let detail = "Stacks differed from an unwind from scratch: please report this.";
        push(Some(number), None, "stack_mismatch", process.counters.mismatches, detail);
        let detail = "Addresses were handed out again before a free of them was seen; the older blocks end there.";
        push(Some(number), None, "unpaired", process.unpaired, detail);
    }
    for ((process, reason), loss) in &state.model.losses {
        push(process.map(|p| p as usize), loss.at_ns, reason, loss.count, &loss.detail);
    }
    push(
        None,
        None,
        "broken_stacks",
        quality.broken,
        "Distinct stacks whose unwinding ended before the outermost frame.",
    );
    push(None, None, "truncated_stacks", quality.truncated, "Distinct stacks cut at the depth limit.");
    push(
        None,
        None,
        "unresolved_stacks",
        quality.unresolved,
        "Distinct stacks whose description is missing from the recording.",
    );
    for (module, count, reason) in frames.gaps() {
        let path = String::from_utf8_lossy(&state.model.code.modules[module].path);
        push(None, None, "no_symbols", count, &format!("{path}: {reason}."));
    }
    columns
}

/// What the recording contains, in numbers; path and size are not known yet.
pub(super) fn summary(state: &State, quality: &Quality, interrupted: bool) -> Summary {
    let model = &state.model;
    let processes = &model.processes;
    let sum = |get: fn(&Process) -> u64| total(processes.iter().map(get));
    let left = sums::left(state);
    let whole = |value| whole(value).cast_unsigned();
    let no_events =
        [LossReason::StackTableFull, LossReason::LateUnload, LossReason::Bypassed, LossReason::ModuleTableFull];
    let counted = LossReason::ALL.into_iter().filter(|reason| !no_events.contains(reason));
    let is_bypassed = |p: &&Process| lost(p, LossReason::Bypassed) > 0;
    let lost_events = processes.iter().flat_map(|p| counted.clone().map(|reason| lost(p, reason)));
    let corrupt = model.losses.iter().filter(|((_, reason), _)| reason == "corrupt_stream").map(|(_, l)| l.count);
    let estimate = |rows: u64, weighted: f64| if model.sampling.is_exact() { rows } else { whole(weighted) };
    let allocated = model.totals.allocated.blocks;
    Summary {
        processes: processes.len() as u64,
        threads: model.threads.len() as u64,
        allocations: estimate(sum(|p| p.allocations), allocated),
        frees: estimate(sum(Process::frees), allocated - left.blocks),
        bytes_allocated: whole(model.totals.allocated.bytes),
        live_blocks: estimate(sum(|p| p.left_rows), left.blocks),
        live_bytes: whole(left.bytes),
        peak_bytes: whole(model.peak.amount.bytes),
        peak_ns: model.peak.ns,
        rows: model.row_count,
        stacks: quality.stacks,
        broken_stacks: quality.broken + quality.none,
        lost_events: total(lost_events.chain(corrupt)),
        bypassed_processes: processes.iter().filter(is_bypassed).count() as u64,
        duration_ns: model.now_ns,
        sampling_interval: state.config.sample_interval,
        verified: sum(|p| p.counters.verified),
        mismatches: sum(|p| p.counters.mismatches),
        interrupted,
        ..Summary::default()
    }
}

/// The sum of numbers that targets chose, at most the largest that there is.
fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The table `metadata`.
pub(super) fn metadata(state: &State, summary: &Summary) -> Vec<(String, String)> {
    let config = &state.config;
    let clock = state.model.clock;
    let argv = serde_json::to_string(&config.argv).unwrap_or_default();
    let mut pairs: Vec<(&str, String)> = vec![
        ("tmq_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("store_version", STORE_VERSION.to_string()),
        ("wire_version", tmq_wire::WIRE_VERSION.to_string()),
        ("argv", argv),
        ("cwd", config.cwd.clone()),
        ("hostname", config.hostname.clone()),
        ("kernel", config.kernel.clone()),
        ("cpus", config.cpus.to_string()),
        ("start_unix_ns", clock.map_or(state.created_unix_ns, |c| c.unix_ns).to_string()),
        ("clock_source", config.clock_source.clone()),
        ("clock_ticks_per_second", clock.map_or(0.0, |c| c.ticks_per_second).to_string()),
        ("sample_interval", config.sample_interval.to_string()),
        ("max_depth", config.max_depth.to_string()),
        ("follow", config.follow.to_string()),
        ("free_stacks", config.free_stacks.to_string()),
        ("verify_every", config.verify_every.to_string()),
        ("bin_width_ns", state.model.timeline.width_ns().to_string()),
        ("peak_blocks", state.model.peak.amount.blocks.round().to_string()),
    ];
    let numbers = [
        ("processes", summary.processes),
        ("threads", summary.threads),
        ("allocations", summary.allocations),
        ("frees", summary.frees),
        ("bytes_allocated", summary.bytes_allocated),
        ("live_blocks", summary.live_blocks),
        ("live_bytes", summary.live_bytes),
        ("peak_bytes", summary.peak_bytes),
        ("rows", summary.rows),
        ("stacks", summary.stacks),
        ("broken_stacks", summary.broken_stacks),
        ("lost_events", summary.lost_events),
        ("verified", summary.verified),
        ("mismatches", summary.mismatches),
    ];
    pairs.extend(numbers.map(|(key, value)| (key, value.to_string())));
    pairs.push(("peak_ns", summary.peak_ns.to_string()));
    pairs.push(("duration_ns", summary.duration_ns.to_string()));
    pairs.push(("interrupted", summary.interrupted.to_string()));
    let own = pairs.into_iter().map(|(key, value)| (key.to_owned(), value));
    own.chain(config.extra.clone()).collect()
}
