//! The saved state of a recording under way: `journal/checkpoint`.
//!
//! It says which journal segment comes next and which parts exist. Later parts and earlier segments mean nothing.
//!
//! ```text
//! magic 8 bytes | checksum u64 of the rest | bytes of the head u64 | head, postcard | the state, megabytes perhaps
//! ```

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::journal::checksum;
use super::state::State;
use crate::Error;
use crate::recording::{JOURNAL_DIR, TableFile};

/// Bytes that a checkpoint may take beyond what there is much of.
const ROOM: usize = 64 << 10;
/// The last digit changes with the layout.
pub(super) const MAGIC: &[u8; 8] = b"tmqckpt6";

/// A checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// First journal segment that is not part of the state.
    pub segment: u64,
    /// Key of the journal's checksums.
    pub key: u64,
    /// Parts that hold all rows of the state.
    pub parts: Vec<TableFile>,
    /// The state, serialised; it follows the head as it is.
    #[serde(skip)]
    pub state: Vec<u8>,
}

/// Bytes of the length of the head.
const LENGTH_BYTES: usize = 8;

/// Checksum of what follows it.
pub(super) fn sum(head: &[u8], state: &[u8]) -> u64 {
    checksum(state, checksum(head, 0))
}

/// Head and state of what follows the checksum.
pub(super) fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join(JOURNAL_DIR).join("checkpoint")
}

/// Serialises a state.
pub(crate) fn save(state: &State, dir: &Path) -> Result<Vec<u8>, Error> {
    // Doubling would have the kernel clear three times as much.
    let buffer = Vec::with_capacity(state.estimated_bytes() as usize + ROOM);
    postcard::to_extend(state, buffer).map_err(|e| damaged(dir, &e.to_string()))
}

/// Restores a state that [`save`] made.
pub(crate) fn restore(bytes: &[u8], dir: &Path) -> Result<State, Error> {
    postcard::from_bytes(bytes).map_err(|e| damaged(dir, &e.to_string()))
}

fn damaged(dir: &Path, reason: &str) -> Error {
    Error::Damaged { path: path_in(dir), offset: 0, reason: reason.to_owned() }
}

impl Checkpoint {
    /// Writes it, replacing the one before.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = path_in(dir);
        let temporary = path.with_extension("tmp");
        let head = postcard::to_extend(self, Vec::new()).map_err(|e| damaged(dir, &e.to_string()))?;
        let write = || {
            let mut file = fs::File::create(&temporary)?;
            let (sum, length) = (sum(&head, &self.state), head.len() as u64);
            file.write_all(&[MAGIC, &sum.to_le_bytes(), &length.to_le_bytes(), &head[..]].concat())?;
            file.write_all(&self.state)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(Error::io("write", &path))
    }

    /// Reads it.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let path = path_in(dir);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let found = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first_chunk::<8>())
            .and_then(|(expected, body)| Some((u64::from_le_bytes(*expected), split(body)?)))
            .filter(|(expected, (head, state))| sum(head, state) == *expected);
        let (_, (head, state)) = found.ok_or_else(|| damaged(dir, "its checksum does not match"))?;
        let checkpoint: Self = postcard::from_bytes(head).map_err(|e| damaged(dir, &e.to_string()))?;
        Ok(Self { state: state.to_vec(), ..checkpoint })
    }
}
