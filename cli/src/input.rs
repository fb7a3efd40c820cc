//! Which recording is meant: `[NAME=]PATH[@MOMENT]` as users write it, the newest one, or the nearest name to a typo.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use tmq_query::{Moment, RecordingRef};
use tmq_store::Recording;
use tmq_store::recording::MANIFEST_NAME;

use crate::error::{Error, Result};
use crate::ui::Ui;

/// Names at least this similar (Jaro-Winkler) are suggested.
const SIMILAR: f64 = 0.8;

/// The recording of commands that read one.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecordingArg {
    /// Recording, perhaps with a moment: app.tmq@end, @1.5s; by default the newest *.tmq here
    #[arg(value_name = "REC[@MOMENT]", value_hint = ValueHint::DirPath)]
    pub(crate) recording: Option<OsString>,
}

impl RecordingArg {
    /// The recording meant.
    pub(crate) fn resolve(&self, ui: Ui) -> Result<RecordingRef> {
        resolve(self.recording.as_deref(), ui)
    }
}

/// The recording that `text` names; the newest one here, with a note, if it names none.
pub(crate) fn resolve(text: Option<&OsStr>, ui: Ui) -> Result<RecordingRef> {
    let mut reference = match text {
        None => RecordingRef::new(""),
        // What is not UTF-8 cannot have a moment behind it that we know.
        Some(text) => match text.to_str() {
            Some(text) => RecordingRef::parse(text).map_err(Error::usage)?,
            None => RecordingRef::new(text),
        },
    };
    if reference.path.as_os_str().is_empty() {
        let newest = Recording::newest_in(".").map_err(|e| match e {
            tmq_store::Error::NoneInDirectory { .. } => {
                Error::new("no *.tmq recording in the current directory").hint("`tmq record COMMAND` makes one")
            }
            e => e.into(),
        })?;
        reference.path = newest.path().to_owned();
        ui.note(format_args!("reading {}", reference.path.display()));
    } else if !reference.path.exists() {
        return Err(missing(&reference.path));
    }
    Ok(reference)
}

/// The recordings that `text` names: several if the last part of the path has `*` or `?`.
pub(crate) fn resolve_all(text: &OsStr, ui: Ui) -> Result<Vec<RecordingRef>> {
    let pattern = text.to_str().filter(|t| t.contains(['*', '?']) && !Path::new(t).exists());
    let Some(pattern) = pattern else { return Ok(vec![resolve(Some(text), ui)?]) };
    let (parent, last) = match pattern.rsplit_once('/') {
        Some(("", last)) => ("/", last),
        Some((parent, last)) => (parent, last),
        None => (".", pattern),
    };
    let entries = fs::read_dir(parent).map_err(|e| Error::io(format_args!("cannot list {parent}"), &e))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| wildcard(last, name) && Path::new(parent).join(name).join(MANIFEST_NAME).is_file())
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return Err(Error::new(format!("no recording matches {pattern}")));
    }
    let prefix = &pattern[..pattern.len() - last.len()];
    Ok(names.iter().map(|name| RecordingRef::new(format!("{prefix}{name}"))).collect())
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters and `?` for one.
fn wildcard(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            wildcard(&pattern[1..], text)
                || text.chars().next().is_some_and(|c| wildcard(pattern, &text[c.len_utf8()..]))
        }
        (Some('?'), Some(c)) => wildcard(&pattern[1..], &text[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => wildcard(&pattern[p.len_utf8()..], &text[c.len_utf8()..]),
        _ => false,
    }
}

/// The moment written behind the recording, or another one.
pub(crate) fn moment_or(reference: &RecordingRef, default: Moment) -> Moment {
    reference.moment.clone().unwrap_or(default)
}

/// There is no recording at this path; suggests what may have been meant.
pub(crate) fn missing(path: &Path) -> Error {
    let error = Error::new(format!("no recording at {}", path.display()));
    match nearest(path) {
        Some(near) => error.hint(format!("did you mean {}?", near.display())),
        None => error.hint("`tmq record COMMAND` makes one"),
    }
}

/// The recording in the same directory whose name is most like the one given: a prefix of it, or similar.
fn nearest(path: &Path) -> Option<PathBuf> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let names = fs::read_dir(parent.unwrap_or(Path::new("."))).ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.ends_with(".tmq").then_some(name)
    });
    let (score, name) = names
        .map(|name| {
            let stem = wanted.trim_end_matches(".tmq");
            let starts = !stem.is_empty() && name.starts_with(stem);
            let score = if starts { 1.0 } else { strsim::jaro_winkler(&name, &wanted) };
            (score, name)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)))?;
    (score >= SIMILAR).then(|| parent.map_or_else(|| PathBuf::from(&name), |p| p.join(&name)))
}

impl From<tmq_store::Error> for Error {
    fn from(error: tmq_store::Error) -> Self {
        Self::new(error)
    }
}

impl From<tmq_query::Error> for Error {
    fn from(error: tmq_query::Error) -> Self {
        match error {
            tmq_query::Error::ReadOnly(what) => Self::new(format!("queries are read-only ({what})"))
                .hint("--allow-write allows statements that change or copy something"),
            other => Self::new(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        assert!(wildcard("*.tmq", "app.1.tmq"));
        assert!(wildcard("a?p*", "app"));
        assert!(wildcard("*ü*", "grün"));
        assert!(!wildcard("*.tmq", "app.tmq.old"));
        assert!(!wildcard("?", ""));
    }

    #[test]
    fn typos_find_the_nearest_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["sort.12.tmq", "server.99.tmq", "notes.txt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let near = |name: &str| nearest(&dir.path().join(name)).map(|p| p.file_name().unwrap().to_owned());
        assert_eq!(near("sort").unwrap(), "sort.12.tmq");
        assert_eq!(near("srot.12.tmq").unwrap(), "sort.12.tmq");
        assert_eq!(near("zzzz"), None);
    }
}
