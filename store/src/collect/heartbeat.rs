//! A thread that shows targets that the collector lives, whatever its drain is busy with.
//!
//! A round can take long: the store waits for the disk, or puts in order what a thread that stood still has held back.
//! Targets that wait for a chunk meanwhile give up when the heartbeat stands still (see `COLLECTOR_SILENCE_MS`), which it
//! should do only when the process of the collector is stopped or gone. So the beat has a thread of its own.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use tmq_wire::layout::COLLECTOR_SILENCE_MS;

use super::region::Region;

const EVERY: Duration = Duration::from_millis(COLLECTOR_SILENCE_MS / 10);

/// Beats until it is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    _stop: mpsc::Sender<()>,
}

impl Heartbeat {
    /// Starts to beat.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, region: &'scope Region) -> std::io::Result<Self> {
        // From the start, not only when the thread gets to run.
        region.header().heartbeat.0.store(1, Relaxed);
        let (stop, stopped) = mpsc::channel();
        let beat = move || {
            let begin = Instant::now();
            loop {
                let milliseconds = begin.elapsed().as_millis() as u64 + 2;
                region.header().heartbeat.0.store(milliseconds, Relaxed);
                // Nothing is ever sent: the sender goes away, or the time is over.
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("heartbeat".into()).stack_size(64 << 10).spawn_scoped(scope, beat)?;
        Ok(Self { _stop: stop })
    }
}
