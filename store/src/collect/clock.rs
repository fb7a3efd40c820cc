//! How time stamp counter ticks relate to time, measured and not looked up: what kernels and processors say about the
//! frequency is missing in many virtual machines.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::sink::Sink;
use super::sys;
use crate::Error;
use crate::ingest::Input;

/// Distance of the two readings: each is good to about 30 ns, so the frequency to about 2 in a million.
const DISTANCE: Duration = Duration::from_millis(20);
/// Readings of which the one least disturbed by interrupts is taken.
const ATTEMPTS: u32 = 16;

/// All clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    tsc: u64,
    monotonic: Instant,
    unix_ns: i64,
}

impl Reading {
    fn now() -> Self {
        let read = || {
            let before = sys::tsc();
            let monotonic = Instant::now();
            let after = sys::tsc();
            let width = after.wrapping_sub(before);
            (width, Self { tsc: before.wrapping_add(width / 2), monotonic, unix_ns: 0 })
        };
        let mut best = read();
        for _ in 1..ATTEMPTS {
            let next = read();
            if next.0 < best.0 {
                best = next;
            }
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = wall.saturating_sub(best.1.monotonic.elapsed());
        Self { unix_ns: wall.as_nanos().try_into().unwrap_or(i64::MAX), ..best.1 }
    }
}

/// A measurement under way.
#[derive(Debug)]
pub(super) struct Calibration {
    first: Reading,
    done: bool,
}

impl Calibration {
    /// Begins it.
    pub(super) fn start() -> Self {
        Self { first: Reading::now(), done: false }
    }

    /// Sends the result once it is precise enough, or at once because the recording `ends`.
    pub(super) fn poll(&mut self, now: Instant, ends: bool, sink: &mut dyn Sink) -> Result<(), Error> {
        if self.done || (!ends && now.duration_since(self.first.monotonic) < DISTANCE) {
            return Ok(());
        }
        self.done = true;
        let Reading { tsc, unix_ns, .. } = self.first;
        let last = Reading::now();
        let seconds = last.monotonic.duration_since(self.first.monotonic).as_secs_f64();
        let ticks = last.tsc.wrapping_sub(tsc) as f64;
        let ticks_per_second = if ticks > 0.0 && seconds > 0.0 { ticks / seconds } else { 1e9 };
        sink.input(Input::Clock { tsc, unix_ns, ticks_per_second })?;
        if !is_stable() {
            sink.input(Input::Loss {
                incarnation: None,
                reason: "unstable_clock",
                count: 1,
                detail: "the processor's time stamp counter is not constant: times and the order of events are not exact",
            })?;
        }
        Ok(())
    }
}

/// Whether the time stamp counters of all processors run alike and at all times.
fn is_stable() -> bool {
    if cfg!(not(target_arch = "x86_64")) {
        return true;
    }
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    if source.is_ok_and(|source| matches!(source.trim(), "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies")) {
        return false;
    }
    let Ok(info) = fs::read_to_string("/proc/cpuinfo") else { return true };
    let Some(flags) = info.lines().find(|line| line.starts_with("flags")) else { return true };
    let has = |name| flags.split_ascii_whitespace().any(|flag| flag == name);
    has("constant_tsc") && has("nonstop_tsc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequency_is_found_and_sent_once() {
        struct Clocks(Vec<f64>);
        impl Sink for Clocks {
            fn input(&mut self, input: Input<'_>) -> Result<(), Error> {
                if let Input::Clock { ticks_per_second, .. } = input {
                    self.0.push(ticks_per_second);
                }
                Ok(())
            }
        }
        let (mut clocks, begin, tsc) = (Clocks(Vec::new()), Instant::now(), sys::tsc());
        let mut calibration = Calibration::start();
        calibration.poll(Instant::now(), false, &mut clocks).unwrap();
        assert!(clocks.0.is_empty());
        std::thread::sleep(DISTANCE);
        calibration.poll(Instant::now(), false, &mut clocks).unwrap();
        calibration.poll(Instant::now(), true, &mut clocks).unwrap();
        let rough = (sys::tsc() - tsc) as f64 / begin.elapsed().as_secs_f64();
        assert_eq!(clocks.0.len(), 1);
        assert!((clocks.0[0] / rough - 1.0).abs() < 0.01, "{} is not about {rough}", clocks.0[0]);
    }
}
