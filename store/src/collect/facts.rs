//! What is known about a recording before it begins: the command, the machine, the settings.

use std::ffi::OsStr;
use std::fs;

use super::record::Options;
use crate::ingest::RecordingConfig;

/// Collects the facts.
pub(super) fn facts(options: &Options) -> RecordingConfig {
    let text = |os: &OsStr| os.to_string_lossy().into_owned();
    let line = |path: &str| fs::read_to_string(path).map_or_else(|_| String::new(), |line| line.trim().to_owned());
    RecordingConfig {
        argv: options.command.iter().map(|argument| text(argument)).collect(),
        cwd: std::env::current_dir().map_or_else(|_| String::new(), |path| text(path.as_os_str())),
        hostname: line("/proc/sys/kernel/hostname"),
        kernel: line("/proc/sys/kernel/osrelease"),
        cpus: std::thread::available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        clock_source: if cfg!(target_arch = "x86_64") { "tsc" } else { "cntvct" }.to_owned(),
        sample_interval: options.config.sample_interval,
        max_depth: options.config.max_depth,
        follow: options.config.follow,
        free_stacks: options.config.free_stacks,
        verify_every: options.config.verify_every,
        ..RecordingConfig::default()
    }
}
