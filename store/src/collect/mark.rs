//! `tmq mark NAME`: naming a moment of a running recording from outside.
//!
//! The recording directory holds a datagram socket while the recording runs. A mark is one datagram,
//! `"mark" | time stamp, 8 bytes little-endian | name`; whether it arrived whole is the kernel's business, so the collector
//! never waits for a sender. The stamp is the sender's, which reads the same counter, but no later than the receipt and
//! no earlier than what the collector has declared complete.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::sys;

const SOCKET: &str = "control.sock";
const TAG: &[u8; 4] = b"mark";
const NAME_AT: usize = 12;
/// Longest name of a mark, in bytes.
const MAX_NAME: usize = 255;
/// Marks taken in one round.
const MARKS_PER_ROUND: usize = 16;
/// Longest path that surely fits a socket address.
const MAX_PATH: usize = 100;

/// Names this moment of the recording in `directory`.
///
/// # Errors
/// The name is empty or too long, or no recording runs there.
pub fn mark(directory: &Path, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        return Err(Error::MarkName { name: name.to_owned(), limit: MAX_NAME });
    }
    let message = [TAG, sys::tsc().to_le_bytes().as_slice(), name.as_bytes()].concat();
    let send = || {
        let (path, _open) = address(directory)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(std::time::Duration::from_secs(2)))?;
        socket.send_to(&message, path)
    };
    match send() {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Mark { directory: directory.to_owned(), source }),
    }
}

/// A name of the socket that fits an address, and what has to stay open while it is used.
fn address(directory: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = directory.join(SOCKET);
    if path.as_os_str().as_bytes().len() <= MAX_PATH {
        return Ok((path, None));
    }
    let open = File::open(directory)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd())), Some(open)))
}

/// The receiving end; dropping it removes the socket.
#[derive(Debug)]
pub(super) struct Control {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Control {
    /// Makes the socket in a recording directory.
    pub(super) fn bind(directory: &Path) -> io::Result<Self> {
        let (path, _open) = address(directory)?;
        Ok(Self { socket: sys::bind_datagram(&path)?, path: std::path::absolute(directory)?.join(SOCKET) })
    }

    /// The marks that arrived, with their times; not before `earliest`.
    pub(super) fn take(&self, earliest: u64) -> Vec<(u64, String)> {
        let mut buffer = [0; NAME_AT + MAX_NAME + 1];
        let mut marks = Vec::new();
        for _ in 0..MARKS_PER_ROUND {
            let Ok(n) = self.socket.recv(&mut buffer) else { break };
            marks.extend(buffer.get(..n).and_then(|message| decode(message, earliest, sys::tsc())));
        }
        marks
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It may be gone already, with the directory; nobody needs it either way.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn decode(message: &[u8], earliest: u64, now: u64) -> Option<(u64, String)> {
    let (head, name) = message.split_at_checked(NAME_AT)?;
    let stamp = head.strip_prefix(TAG)?.try_into().ok()?;
    let name = String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name)).replace(char::is_control, " ");
    (!name.is_empty()).then(|| (u64::from_le_bytes(stamp).min(now).max(earliest), name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn marks_arrive_and_the_socket_goes_away() {
        for depth in [1, 30] {
            let root = std::env::temp_dir().join(format!("tmq-mark-{}-{depth}", std::process::id()));
            let dir = root.join(vec!["long-name"; depth].join("/"));
            std::fs::create_dir_all(&dir).unwrap();
            assert!(matches!(mark(&dir, "early"), Err(Error::Mark { .. })));
            let control = Control::bind(&dir).unwrap();
            let mode = std::fs::metadata(dir.join(SOCKET)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(control.take(0).is_empty());
            let before = sys::tsc();
            mark(&dir, "after loading").unwrap();
            mark(&dir, "ümlaut").unwrap();
            let marks = control.take(0);
            assert_eq!(marks.iter().map(|m| m.1.as_str()).collect::<Vec<_>>(), ["after loading", "ümlaut"]);
            assert!(before < marks[0].0 && marks[0].0 <= marks[1].0 && marks[1].0 < sys::tsc());
            assert!(matches!(mark(&dir, ""), Err(Error::MarkName { .. })));
            drop(control);
            assert!(!dir.join(SOCKET).exists());
            std::fs::remove_dir_all(root).unwrap();
        }
    }

    #[test]
    fn foreign_datagrams_are_ignored_and_times_are_bounded() {
        let with = |stamp: u64, name: &[u8]| [TAG.as_slice(), &stamp.to_le_bytes(), name].concat();
        assert_eq!(decode(b"", 0, 9), None);
        assert_eq!(decode(&[0; 300], 0, 9), None);
        assert_eq!(decode(&with(5, b""), 0, 9), None);
        assert_eq!(decode(&with(5, b"a\nb"), 0, 9), Some((5, "a b".into())));
        assert_eq!(decode(&with(50, b"a"), 0, 9), Some((9, "a".into())));
        assert_eq!(decode(&with(1, b"a"), 4, 9), Some((4, "a".into())));
        assert_eq!(decode(&with(1, &[0xff; 300]), 4, 9).unwrap().1.chars().count(), MAX_NAME);
    }
}
