//! The tables `timeline`, `moments`, `stack_stats` and `peak`.

use crate::ingest::{Amount, Site, State};
use crate::schema::{
    DOMAIN_HEAP, MomentsColumns, MomentsRow, PeakColumns, PeakRow, StackStatsColumns, StackStatsRow, TimelineColumns,
    TimelineRow,
};

/// A sum as a whole number (see [`Amount::at_least_zero`]).
pub(super) fn whole(value: f64) -> i64 {
    value.round().max(0.0) as i64
}

/// Sites in the order of stack, process and domain.
fn sorted(state: &State) -> Vec<&Site> {
    let mut sites: Vec<&Site> = state.model.sites.iter().filter(|s| s.allocated.blocks > 0.0).collect();
    sites.sort_unstable_by_key(|s| (s.stack, s.process, s.domain));
    sites
}

/// The table `timeline`.
pub(super) fn timeline(state: &State) -> TimelineColumns {
    let timeline = &state.model.timeline;
    let mut columns = TimelineColumns::default();
    for (i, (bin, rss)) in timeline.finish(&state.model.end_totals).into_iter().enumerate() {
        columns.push(TimelineRow {
            bin_ns: i as i64 * timeline.width_ns(),
            live_bytes: whole(bin.live.bytes),
            live_blocks: whole(bin.live.blocks),
            max_live_bytes: whole(bin.max_live_bytes),
            allocated_bytes: whole(bin.allocated.bytes),
            allocated_blocks: whole(bin.allocated.blocks),
            freed_bytes: whole(bin.freed.bytes),
            freed_blocks: whole(bin.freed.blocks),
            rss_bytes: rss,
        });
    }
    columns
}

/// Heap that lived until the end of its process, in all processes.
pub(super) fn left(state: &State) -> Amount {
    let mut sum = Amount::default();
    for process in &state.model.processes {
        sum.add(process.left);
    }
    sum
}

/// The table `moments`.
pub(super) fn moments(state: &State) -> MomentsColumns {
    let model = &state.model;
    let mut columns = MomentsColumns::default();
    let mut push = |name: &str, kind, at_ns, process: Option<u32>, live: Amount| {
        columns.push(MomentsRow {
            name: name.to_owned(),
            kind,
            at_ns,
            process_id: process.map(|p| p as i32),
            live_bytes: whole(live.bytes),
            live_blocks: whole(live.blocks),
        });
    };
    push("start", "start", 0, None, Amount::default());
    push("end", "end", model.now_ns, None, left(state));
    push("peak", "peak", model.peak.ns, None, model.peak.amount);
    for mark in &model.moments {
        push(&mark.name, "mark", mark.ns, mark.process, mark.live);
    }
    columns
}

/// The table `stack_stats`.
pub(super) fn stack_stats(state: &State) -> StackStatsColumns {
    let version = state.model.version;
    let mut columns = StackStatsColumns::default();
    for site in sorted(state) {
        let mut live = site.left;
        live.add(site.live);
        let (live, peak) = (live.at_least_zero(), site.at_peak(version).at_least_zero());
        columns.push(StackStatsRow {
            stack_id: site.stack as i32,
            process_id: site.process as i32,
            domain: i32::from(site.domain),
            allocated_blocks: site.allocated.blocks,
            allocated_bytes: site.allocated.bytes,
            live_blocks: live.blocks,
            live_bytes: live.bytes,
            peak_blocks: peak.blocks,
            peak_bytes: peak.bytes,
            temporary_blocks: site.temporary.blocks,
            temporary_bytes: site.temporary.bytes,
            lifetime_sum_ns: site.lifetime_sum_ns,
            lifetime_min_ns: (site.lifetime_max_ns >= 0).then_some(site.lifetime_min_ns),
            lifetime_max_ns: (site.lifetime_max_ns >= 0).then_some(site.lifetime_max_ns),
            size_min: i64::try_from(site.size_min).unwrap_or(i64::MAX),
            size_max: i64::try_from(site.size_max).unwrap_or(i64::MAX),
            first_ns: site.first_ns,
            last_ns: site.last_ns,
            allocated_blocks_variance: site.variance.blocks,
            allocated_bytes_variance: site.variance.bytes,
        });
    }
    columns
}

/// The table `peak`.
pub(super) fn peak(state: &State) -> PeakColumns {
    let mut columns = PeakColumns::default();
    for site in sorted(state) {
        let amount = site.at_peak(state.model.version).at_least_zero();
        if i32::from(site.domain) == DOMAIN_HEAP && amount.blocks > 0.0 {
            columns.push(PeakRow {
                stack_id: site.stack as i32,
                process_id: site.process as i32,
                blocks: amount.blocks,
                bytes: amount.bytes,
            });
        }
    }
    columns
}
