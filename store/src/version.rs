//! The version of the recording format, and which versions this build reads.
//!
//! A recording carries its version in its manifest. The major number changes when an older tmq would misread the files;
//! the minor number when it would merely miss something new.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Version of the recordings that this build writes.
///
/// Changelog:
/// - 1.0: first version.
pub const STORE_VERSION: StoreVersion = StoreVersion { major: 1, minor: 0 };

/// Oldest version that this build reads.
const OLDEST_READABLE: StoreVersion = StoreVersion { major: 1, minor: 0 };

/// Version of the recording format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreVersion {
    /// Changes when older readers would misread the files.
    pub major: u32,
    /// Changes when older readers would miss something.
    pub minor: u32,
}

impl fmt::Display for StoreVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl StoreVersion {
    /// Whether this build reads a recording of this version; `path` is for the message.
    ///
    /// # Errors
    /// [`Error::TooNew`] or [`Error::TooOld`].
    pub fn check_readable(self, path: &Path) -> Result<(), Error> {
        if self.major > STORE_VERSION.major {
            return Err(Error::TooNew { path: path.to_owned(), found: self, reads: STORE_VERSION });
        }
        if self < OLDEST_READABLE {
            return Err(Error::TooOld { path: path.to_owned(), found: self, reads: OLDEST_READABLE });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_minor_is_readable_newer_major_is_not() {
        let path = Path::new("a.tmq");
        assert!(STORE_VERSION.check_readable(path).is_ok());
        assert!(StoreVersion { major: 1, minor: 9 }.check_readable(path).is_ok());
        let message = StoreVersion { major: 2, minor: 0 }.check_readable(path).unwrap_err().to_string();
        assert_eq!(message, "a.tmq was made by a newer tmq (format 2.0; this tmq reads 1.x): upgrade tmq");
        let message = StoreVersion { major: 0, minor: 3 }.check_readable(path).unwrap_err().to_string();
        assert_eq!(
            message,
            "a.tmq was made by an older tmq (format 0.3; this tmq reads 1.0 and later): read it with that tmq, or record again"
        );
    }
}
