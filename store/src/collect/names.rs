//! Names of threads, read from `/proc` while the threads live.
//!
//! A thread usually names itself right after it started, rarely later. So a name is read when the thread is first seen
//! and again at growing distances; a round reads only a few, so that a storm of threads cannot hold up the drain.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::procfs;
use super::sink::Sink;
use crate::Error;
use crate::ingest::Input;

const FIRST_DISTANCE: Duration = Duration::from_millis(30);
const LAST_DISTANCE: Duration = Duration::from_secs(4);
/// Names read in one round; each costs about ten microseconds.
const READS_PER_ROUND: usize = 32;
/// Threads remembered at one time. A hostile target can invent them.
const MAX_THREADS: usize = 1 << 16;

#[derive(Debug)]
struct Thread {
    name: String,
    due: Instant,
    distance: Duration,
}

/// Threads by (incarnation, thread id).
#[derive(Debug, Default)]
pub(super) struct Names {
    threads: HashMap<(u32, u32), Thread>,
    next: Option<Instant>,
}

impl Names {
    /// A thread wrote its id.
    pub(super) fn seen(&mut self, incarnation: u32, tid: u32, now: Instant) {
        if self.threads.len() < MAX_THREADS {
            let thread = || Thread { name: String::new(), due: now, distance: FIRST_DISTANCE };
            self.threads.entry((incarnation, tid)).or_insert_with(thread);
            self.next = Some(self.next.map_or(now, |next| next.min(now)));
        }
    }

    /// An image ended.
    pub(super) fn forget(&mut self, incarnation: u32) {
        self.threads.retain(|&(of, _), _| of != incarnation);
    }

    /// Reads the names that are due and sends those that changed.
    pub(super) fn refresh(
        &mut self,
        now: Instant,
        pid_of: impl Fn(u32) -> Option<u32>,
        sink: &mut dyn Sink,
    ) -> Result<(), Error> {
        if self.next.is_none_or(|next| next > now) {
            return Ok(());
        }
        let due: Vec<_> =
            self.threads.iter().filter(|(_, t)| t.due <= now).map(|(&key, _)| key).take(READS_PER_ROUND).collect();
        for (incarnation, tid) in due {
            let name = pid_of(incarnation).and_then(|pid| procfs::thread_name(pid, tid));
            let (Some(name), Some(thread)) = (name, self.threads.get_mut(&(incarnation, tid))) else {
                self.threads.remove(&(incarnation, tid));
                continue;
            };
            thread.due = now + thread.distance;
            thread.distance = (thread.distance * 2).min(LAST_DISTANCE);
            if thread.name != name {
                sink.input(Input::ThreadName { incarnation, tid, name: &name })?;
                thread.name = name;
            }
        }
        self.next = self.threads.values().map(|thread| thread.due).min();
        Ok(())
    }
}
