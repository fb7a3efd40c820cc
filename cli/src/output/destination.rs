//! Where output goes: stdout, or a file that appears under its name only when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Whether the reader of stdout has gone away. Libraries wrap the error beyond recognition, so the fact is kept here.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether writing to stdout failed because nobody reads it any more, which ends a command successfully.
pub(crate) fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

/// A place to write to.
#[derive(Debug)]
pub(crate) enum Destination {
    /// stdout.
    Stdout(BufWriter<Stdout>),
    /// A file under a temporary name.
    File(AtomicFile),
}

impl Destination {
    /// `-o FILE`, or stdout without one.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self> {
        match path {
            Some(path) if path != Path::new("-") => AtomicFile::create(path).map(Self::File),
            _ => Ok(Self::Stdout(BufWriter::with_capacity(64 << 10, Stdout))),
        }
    }

    /// Whether a person reads this as it is written.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout(_)) && io::stdout().is_terminal()
    }

    /// Flushes, and gives a file its name.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Stdout(mut stdout) => Ok(stdout.flush()?),
            Self::File(file) => file.finish(),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(buf),
            Self::File(file) => file.writer.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.writer.flush(),
        }
    }
}

/// stdout that remembers a closed pipe. `io::stdout` flushes at every newline, which costs a system call per row; the
/// buffer around this one does not.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        let result = out.write_all(buf).and_then(|()| out.flush());
        note_closed(result.map(|()| buf.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        note_closed(io::stdout().lock().flush())
    }
}

fn note_closed<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(e) = &result
        && e.kind() == io::ErrorKind::BrokenPipe
    {
        STDOUT_CLOSED.store(true, Ordering::Relaxed);
    }
    result
}

/// A file that gets its name when it is complete; dropped before, it leaves nothing behind. Pipes and devices
/// (`/dev/stderr`, a FIFO) are written directly.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    temporary: Option<PathBuf>,
    writer: BufWriter<File>,
}

impl AtomicFile {
    /// Begins a file that will be called `path`.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let failed = |e: io::Error| Error::io(format_args!("cannot write {}", path.display()), &e);
        // A link keeps pointing to the file it names.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&target) {
            Ok(meta) if meta.is_dir() => {
                return Err(Error::new(format!("cannot write {}: it is a directory", path.display())));
            }
            Ok(meta) if !meta.is_file() => {
                let file = File::options().write(true).open(&target).map_err(failed)?;
                return Ok(Self { path: target, temporary: None, writer: BufWriter::new(file) });
            }
            _ => {}
        }
        let Some(name) = target.file_name() else {
            return Err(Error::new(format!("cannot write {}: it has no file name", path.display())));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let temporary = target.with_file_name(hidden);
        let file = File::create(&temporary).map_err(failed)?;
        let writer = BufWriter::with_capacity(256 << 10, file);
        Ok(Self { path: target, temporary: Some(temporary), writer })
    }

    fn finish(mut self) -> Result<()> {
        let failed = |e: io::Error| Error::io(format_args!("cannot write {}", self.path.display()), &e);
        self.writer.flush().map_err(failed)?;
        if let Some(temporary) = self.temporary.take() {
            fs::rename(&temporary, &self.path).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let mut file = Destination::new(Some(&path)).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");

        let mut file = Destination::new(Some(&path)).unwrap();
        file.write_all(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }
}
