//! Progress on stderr, for people only: nothing is shown when stderr is no terminal or with `--quiet`.

use std::future::Future;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::ui::Ui;

/// Work that ends sooner shows no progress.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// A line that says what is going on; it disappears when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins a line with this text.
    pub(crate) fn new(ui: Ui, text: &str) -> Self {
        if !ui.watched() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message(text.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }

    /// Shows another text and how much of how much is done; a total of 0 is not known.
    pub(crate) fn step(&self, text: &str, done: u64, total: u64) {
        let Some(bar) = &self.0 else { return };
        bar.set_message(text.to_owned());
        let template = if total > 0 { "{spinner} {msg} [{bar:24}] {pos}/{len}" } else { "{spinner} {msg} ({elapsed})" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Waits for work; if it takes longer than a moment, shows that it goes on.
pub(crate) async fn patiently<T>(ui: Ui, text: &str, work: impl Future<Output = T>) -> T {
    if !ui.watched() {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let _line = Progress::new(ui, text);
    work.await
}
