//! The saved state of a recording under way: `journal/checkpoint`.
//!
//! It says which journal segment comes next and which parts exist. Later parts and earlier segments mean nothing.

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
const MAGIC: &[u8; 8] = b"tmqckpt3";

/// A checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// First journal segment that is not part of the state.
    pub segment: u64,
    /// Key of the journal's checksums.
    pub key: u64,
    /// Parts that hold all rows of the state.
    pub parts: Vec<TableFile>,
    /// The state, serialised.
    #[serde(with = "serde_bytes_like")]
    pub state: Vec<u8>,
}

/// Byte strings are written as such instead of number by number.
mod serde_bytes_like {
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> de::Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
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
        let body = postcard::to_extend(self, Vec::with_capacity(self.state.len() + ROOM))
            .map_err(|e| damaged(dir, &e.to_string()))?;
        let write = || {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&checksum(&body, 0).to_le_bytes())?;
            file.write_all(&body)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(Error::io("write", &path))
    }

    /// Reads it.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let path = path_in(dir);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let body = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first_chunk::<8>())
            .filter(|(sum, body)| u64::from_le_bytes(**sum) == checksum(body, 0));
        let (_, body) = body.ok_or_else(|| damaged(dir, "its checksum does not match"))?;
        postcard::from_bytes(body).map_err(|e| damaged(dir, &e.to_string()))
    }
}
