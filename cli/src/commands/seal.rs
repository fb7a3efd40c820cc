//! Completing a recording, which `record` and `repair` share: where symbols come from, and progress.

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;
use tmq_store::ingest::{SealOptions, SealProgress};

use crate::progress::Progress;
use crate::ui::Ui;

/// Where functions and lines are looked up.
#[derive(Debug, Args)]
pub(crate) struct SealArgs {
    /// Look for separate debug files in DIR, too; can be repeated
    #[arg(long = "debug-dir", value_name = "DIR", help_heading = "Symbols")]
    debug_dirs: Vec<PathBuf>,

    /// Do not look up functions and lines
    #[arg(long, help_heading = "Symbols")]
    no_symbols: bool,
}

impl SealArgs {
    pub(crate) fn options(&self) -> SealOptions {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        SealOptions {
            no_symbols: self.no_symbols,
            debug_dirs: self.debug_dirs.clone(),
            symbol_cache: cache.map(|path| path.join("tmq/symbols")),
            ..SealOptions::default()
        }
    }
}

/// Shows how far sealing is, from its first step on: before that the terminal belongs to the program.
#[derive(Debug)]
pub(crate) struct SealWatcher {
    ui: Ui,
    line: Mutex<Option<Progress>>,
}

impl SealWatcher {
    pub(crate) fn new(ui: Ui) -> Self {
        Self { ui, line: Mutex::new(None) }
    }

    pub(crate) fn step(&self, step: SealProgress) {
        // Poisoned means that another thread panicked while it drew: there is nothing to protect.
        let mut line = self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let line = line.get_or_insert_with(|| Progress::new(self.ui, "finishing the recording"));
        match step {
            SealProgress::Replaying { done, total } => line.step("reading the journal", done, total),
            SealProgress::Allocations => line.step("writing the last allocations", 0, 0),
            SealProgress::Symbols { done, total } => {
                line.step("looking up functions and lines", done as u64, total as u64);
            }
            SealProgress::Table(name) => line.step(&format!("writing {name}"), 0, 0),
            _ => {}
        }
    }
}
