//! Files that `tracemalloc.Snapshot.dump` writes, read without running anything and written for any CPython.
//!
//! A pickle is a program for a stack machine. [`read`] knows the instructions that build plain data and the two classes
//! of a snapshot, refuses every other global, and keeps everything in flat arenas: no input can make it run code, recurse,
//! or use more memory than a small multiple of the bytes that were really there.

mod read;
mod values;
mod write;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use super::Snapshot;
use crate::Error;

/// Which CPython should load a dump: each reads only the layout of its own time.
///
/// ```
/// use tmq_query::tracemalloc::{DumpFor, Frame, Snapshot, Trace, Traceback};
///
/// let trace = Trace { domain: 7, size: 10, traceback: Traceback::new(vec![Frame::new("a.py", 2)]) };
/// let mut pickle = Vec::new();
/// Snapshot::new(vec![trace], 1).dump_to(&mut pickle, DumpFor::Python34).unwrap();
/// // CPython 3.4 knows no domains.
/// assert_eq!(Snapshot::load_bytes(&pickle).unwrap().traces[0].domain, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DumpFor {
    /// 3.9 and later: traces are (domain, size, frames, total number of frames).
    #[default]
    Python39,
    /// 3.6 to 3.8: traces are (domain, size, frames).
    Python36,
    /// 3.4 and 3.5: traces are (size, frames); domains are lost.
    Python34,
}

/// What is wrong with a pickle, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: u64,
    pub(super) reason: String,
}

impl Snapshot {
    /// Reads a file that `Snapshot.dump` of any CPython wrote. Nothing in it is executed; bytes of file names that are
    /// not text become the characters U+EF80 to U+EFFF, which [`Snapshot::dump`] turns back.
    ///
    /// ```no_run
    /// use tmq_query::tracemalloc::{KeyType, Snapshot};
    ///
    /// let snapshot = Snapshot::load("snapshot.pickle")?;
    /// for statistic in snapshot.statistics(KeyType::Lineno, false).unwrap().iter().take(10) {
    ///     println!("{statistic}");
    /// }
    /// # Ok::<(), tmq_query::Error>(())
    /// ```
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or holds something else.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| io("open", path, source))?;
        read::snapshot(&mut BufReader::new(file)).map_err(|fault| Error::Pickle {
            path: path.to_owned(),
            offset: fault.offset,
            reason: fault.reason,
        })
    }

    /// Reads the same from memory.
    ///
    /// ```
    /// use tmq_query::tracemalloc::Snapshot;
    ///
    /// let error = Snapshot::load_bytes(b"\x80\x04cos\nsystem\n.").unwrap_err().to_string();
    /// assert!(error.contains("byte 2: it names os.system"), "{error}");
    /// ```
    ///
    /// # Errors
    /// The bytes are damaged, or hold something else; the error has no path.
    pub fn load_bytes(mut bytes: &[u8]) -> Result<Self, Error> {
        read::snapshot(&mut bytes).map_err(|fault| Error::Pickle {
            path: std::path::PathBuf::new(),
            offset: fault.offset,
            reason: fault.reason,
        })
    }

    /// Writes a file that `tracemalloc.Snapshot.load` reads.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn dump(&self, path: impl AsRef<Path>, python: DumpFor) -> Result<(), Error> {
        let path = path.as_ref();
        let fail = |source| io("write", path, source);
        let mut file = BufWriter::new(File::create(path).map_err(fail)?);
        self.dump_to(&mut file, python).and_then(|()| file.flush()).map_err(fail)
    }

    /// Writes the same to anything; in small pieces, so that a file wants a buffer.
    ///
    /// ```
    /// use tmq_query::tracemalloc::{DumpFor, Frame, Snapshot, Trace, Traceback};
    ///
    /// let traceback = Traceback::new(vec![Frame::new("a.py", 2)]);
    /// let snapshot = Snapshot::new(vec![Trace { domain: 0, size: 10, traceback }], 1);
    /// let mut pickle = Vec::new();
    /// snapshot.dump_to(&mut pickle, DumpFor::Python39).unwrap();
    /// assert_eq!(Snapshot::load_bytes(&pickle).unwrap().traces, snapshot.traces);
    /// ```
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn dump_to(&self, out: &mut impl std::io::Write, python: DumpFor) -> std::io::Result<()> {
        write::snapshot(self, python, out)
    }
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracemalloc::{Frame, Trace, Traceback};

    fn example() -> Snapshot {
        let deep = Traceback::new(vec![Frame::new("a.py", 2), Frame::new("é\u{ef80}.py", 70_000)]).with_total(Some(9));
        let flat = Traceback::new(vec![Frame::unknown()]).with_total(Some(1));
        let trace = |domain, size, traceback: &Traceback| Trace { domain, size, traceback: traceback.clone() };
        let mut traces = vec![trace(0, 0, &deep), trace(389_047, 1 << 40, &flat), trace(3, 300, &deep)];
        traces.extend((0..3000).map(|i| trace(0, i, &deep)));
        Snapshot::new(traces, 25)
    }

    #[test]
    fn dumps_load() {
        let snapshot = example();
        let mut bytes = Vec::new();
        write::snapshot(&snapshot, DumpFor::Python39, &mut bytes).unwrap();
        let loaded = Snapshot::load_bytes(&bytes).unwrap();
        assert_eq!(loaded.traces, snapshot.traces);
        assert_eq!(loaded.traceback_limit, 25);
        assert_eq!(loaded.traces[0].traceback.total_nframe, Some(9));
        let mut bytes = Vec::new();
        write::snapshot(&snapshot, DumpFor::Python34, &mut bytes).unwrap();
        let loaded = Snapshot::load_bytes(&bytes).unwrap();
        assert_eq!((loaded.traces[1].domain, loaded.traces[1].size), (0, 1 << 40));
    }

    #[test]
    fn every_cut_and_every_flip_is_survived() {
        let mut bytes = Vec::new();
        let mut small = example();
        small.traces.truncate(5);
        write::snapshot(&small, DumpFor::Python39, &mut bytes).unwrap();
        for end in 0..bytes.len() {
            assert!(Snapshot::load_bytes(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let _ = Snapshot::load_bytes(&damaged);
            }
        }
    }

    #[test]
    fn foreign_globals_are_refused_where_they_stand() {
        let error = |bytes: &[u8]| Snapshot::load_bytes(bytes).unwrap_err().to_string();
        let text = error(b"\x80\x04cos\nsystem\n(S'echo'\ntR.");
        assert!(text.contains("byte 2: it names os.system"), "{text}");
        let text = error(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.");
        assert!(text.contains("it names builtins.eval"), "{text}");
        assert!(error(b"hello").contains("byte 0"));
        assert!(error(b"\x80\x06N.").contains("protocol 6"));
        assert!(error(b"\x80\x04N.").contains("it holds no Snapshot"));
        // A length that lies costs nothing.
        assert!(error(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f").contains("ends"));
        // Nesting a million deep neither recurses when it is read nor when it is dropped.
        let mut deep = b"\x80\x04".to_vec();
        deep.extend(std::iter::repeat_n(b']', 1_000_000));
        deep.extend(std::iter::repeat_n(b'a', 999_999));
        deep.push(b'.');
        assert!(error(&deep).contains("it holds no Snapshot"));
    }
}
