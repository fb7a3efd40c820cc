//! What cannot wait until the program has ended.

use std::ffi::OsString;

use tmq_store::collect::{Observer, SinkError, Verdict};

use crate::ui::Ui;

/// Says on stderr what a user should know while the program runs.
pub(super) struct Watcher {
    ui: Ui,
    program: String,
}

impl Watcher {
    pub(super) fn new(command: &[OsString], ui: Ui) -> Self {
        let program = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
        Self { ui, program }
    }
}

impl Observer for Watcher {
    fn inspected(&mut self, verdict: &Verdict) {
        if let Verdict::Partial { reason, advice } = verdict {
            self.ui.warn(format_args!("{}: {reason}", self.program));
            self.ui.note(format_args!("  {advice}"));
        }
    }

    fn waiting_for_descendants(&mut self, processes: usize) {
        let program = &self.program;
        let run = match processes {
            1 => "1 process that it started runs on and is recorded".to_owned(),
            n => format!("{n} processes that it started run on and are recorded"),
        };
        self.ui.note(format_args!("{program} has ended; {run} (Ctrl-C ends the recording)"));
    }

    fn failed(&mut self, error: &SinkError) {
        self.ui.warn(format_args!("recording stopped: {error}; {} runs on", self.program));
    }
}
