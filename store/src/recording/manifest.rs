//! The manifest `tmq.json`: the first file of a recording and the one that says whether it is complete.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::version::{STORE_VERSION, StoreVersion};

/// File name of the manifest.
pub const MANIFEST_NAME: &str = "tmq.json";
/// [`Manifest::format`] of every recording.
const FORMAT: &str = "tmq recording";
/// A manifest larger than this is not one of ours.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// How far a recording has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Is being made, or was interrupted.
    Recording,
    /// Complete.
    Sealed,
}

/// One Parquet file of a sealed recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// Name of the table.
    pub table: String,
    /// Path within the recording.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Content of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Tells a recording from any other JSON file.
    pub format: String,
    /// Version of the format.
    pub version: StoreVersion,
    /// How far it has come.
    pub state: State,
    /// When the recording was created, in nanoseconds since 1970.
    pub created_unix_ns: i64,
    /// The tmq that made it.
    pub tmq_version: String,
    /// The recorded command.
    pub command: Vec<String>,
    /// Every Parquet file, once sealed.
    #[serde(default)]
    pub files: Vec<TableFile>,
}

impl Manifest {
    /// The manifest of a recording that begins now.
    pub(crate) fn new(created_unix_ns: i64, command: Vec<String>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: STORE_VERSION,
            state: State::Recording,
            created_unix_ns,
            tmq_version: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            files: Vec::new(),
        }
    }

    /// Reads the manifest of `dir` and checks that this build can read the recording.
    ///
    /// # Errors
    /// Nothing there, not a recording, or a version that this build does not read.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let foreign = |reason: String| Error::NotARecording { path: dir.to_owned(), reason };
        let meta = match fs::metadata(dir) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NotFound { path: dir.to_owned() }),
            Err(e) => return Err(Error::io("open", dir)(e)),
        };
        if !meta.is_dir() {
            return Err(foreign("a recording is a directory, this is a file".to_owned()));
        }
        let path = dir.join(MANIFEST_NAME);
        let text = match fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_MANIFEST_BYTES => {
                return Err(foreign(format!("{MANIFEST_NAME} is too large")));
            }
            Ok(_) => fs::read_to_string(&path).map_err(Error::io("read", &path))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(foreign(format!("it has no {MANIFEST_NAME}")));
            }
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        // The version comes first: a newer manifest need not parse as ours.
        let head: Head = serde_json::from_str(&text).map_err(|e| foreign(format!("{MANIFEST_NAME}: {e}")))?;
        if head.format != FORMAT {
            return Err(foreign(format!("{MANIFEST_NAME} describes a {:?}", head.format)));
        }
        head.version.check_readable(dir)?;
        serde_json::from_str(&text).map_err(|e| foreign(format!("{MANIFEST_NAME}: {e}")))
    }

    /// Writes the manifest into `dir`, replacing an older one atomically.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(MANIFEST_NAME);
        let temporary = dir.join("tmq.json.tmp");
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&temporary, &path)
        };
        write().map_err(Error::io("write", &path))
    }
}

/// What every version of the manifest has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: StoreVersion,
}
