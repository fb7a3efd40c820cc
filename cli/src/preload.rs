//! The preload library: carried inside the binary, put on disk for the dynamic linker to find.
//!
//! ```text
//! $XDG_CACHE_HOME/tmq/preload/<hash of the content>/libtmq_preload.so
//! ```
//! Other people's programs load this file, so it is used only if nobody else could have written it: every directory from
//! the cache down and the file itself belong to this user and are writable by nobody else, and the content is compared
//! with the bytes in the binary before each use. Places that are read-only or open to others are passed over for the next
//! candidate.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};

/// The library itself.
static LIBRARY: &[u8] = include_bytes!(env!("TMQ_PRELOAD_SO"));
/// Names its content, so that several versions of tmq can record at the same time.
const HASH: &str = env!("TMQ_PRELOAD_HASH");
const FILE_NAME: &str = "libtmq_preload.so";
/// Libraries of other versions that nobody has used for so long are removed.
const KEEP_OTHERS: Duration = Duration::from_secs(30 * 24 * 3600);
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Puts the library on disk, unless it is there already, and returns its path. `beside` is the directory that the
/// recording is made in, the last resort.
pub(crate) fn library(beside: &Path) -> Result<PathBuf> {
    let owner = effective_user()?;
    let mut refusals = Vec::new();
    for base in candidates(beside, owner) {
        match place(&base, owner) {
            Ok(path) => return Ok(path),
            Err(e) => refusals.push(format!("{}: {e}", base.display())),
        }
    }
    Err(Error::new(format!("found no place for the recorder library ({})", refusals.join("; ")))
        .hint("set XDG_CACHE_HOME to a directory that you own and can write to"))
}

fn candidates(beside: &Path, owner: u32) -> Vec<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let temporary = std::env::temp_dir().join(format!("tmq-{owner}"));
    [cache, absolute("XDG_RUNTIME_DIR"), Some(temporary), std::path::absolute(beside).ok()]
        .into_iter()
        .flatten()
        .collect()
}

/// Puts the library below `base`, a directory that is created if need be.
fn place(base: &Path, owner: u32) -> io::Result<PathBuf> {
    create_private(base)?;
    check_base(&fs::metadata(base)?, owner)?;
    let mut directory = base.to_owned();
    for part in ["tmq", "preload", HASH] {
        directory.push(part);
        create_private(&directory)?;
        check_private(&fs::symlink_metadata(&directory)?, owner)?;
    }
    let path = directory.join(FILE_NAME);
    if !is_genuine(&path, owner) {
        write_atomically(&directory, &path)?;
        if !is_genuine(&path, owner) {
            return Err(io::Error::other("the library does not read back as it was written"));
        }
        remove_old_versions(&base.join("tmq/preload"));
    }
    Ok(path)
}

/// Whether the file holds our bytes and nobody else can change them.
fn is_genuine(path: &Path, owner: u32) -> bool {
    let trusted = fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.len() == LIBRARY.len() as u64 && check_private(&meta, owner).is_ok());
    trusted && has_our_content(path).unwrap_or(false)
}

/// Compares piece by piece: room for a whole copy costs more than reading it.
fn has_our_content(path: &Path) -> io::Result<bool> {
    const PIECE: usize = 64 << 10;
    let (mut file, mut piece, mut rest) = (File::open(path)?, vec![0; PIECE], LIBRARY);
    loop {
        let bytes = file.read(&mut piece)?;
        match rest.strip_prefix(&piece[..bytes]) {
            _ if bytes == 0 => return Ok(rest.is_empty()),
            Some(behind) => rest = behind,
            None => return Ok(false),
        }
    }
}

fn write_atomically(directory: &Path, path: &Path) -> io::Result<()> {
    let temporary = directory.join(format!("{FILE_NAME}.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let write = || -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o700).open(&temporary)?;
        file.write_all(LIBRARY)?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

fn create_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

fn check_private(meta: &Metadata, owner: u32) -> io::Result<()> {
    if meta.uid() == owner && meta.mode() & WRITABLE_BY_OTHERS == 0 && !meta.file_type().is_symlink() {
        return Ok(());
    }
    Err(io::Error::other("it belongs to another user or others can write to it"))
}

/// The base may also be root's or shared like /tmp: nobody else can replace our directory in it then.
fn check_base(meta: &Metadata, owner: u32) -> io::Result<()> {
    let closed = meta.mode() & WRITABLE_BY_OTHERS == 0 || meta.mode() & STICKY != 0;
    if meta.is_dir() && closed && (meta.uid() == owner || meta.uid() == 0) {
        return Ok(());
    }
    Err(io::Error::other("it belongs to another user or others can write to it"))
}

/// Best effort: a directory that cannot be removed stays.
fn remove_old_versions(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten().filter(|e| e.file_name() != HASH) {
        let library = entry.path().join(FILE_NAME);
        let used = fs::metadata(&library).and_then(|m| m.accessed());
        let old = used.is_ok_and(|t| SystemTime::now().duration_since(t).is_ok_and(|age| age > KEEP_OTHERS));
        if old {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The owner of our own entry in /proc, which is the effective user.
fn effective_user() -> Result<u32> {
    fs::metadata("/proc/self").map(|m| m.uid()).map_err(|e| Error::io("cannot read /proc/self", &e))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn base() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn placed_once_and_repaired_when_damaged() {
        let (base, owner) = (base(), effective_user().unwrap());
        let path = place(base.path(), owner).unwrap();
        let first = fs::metadata(&path).unwrap().ino();
        assert_eq!(place(base.path(), owner).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().ino(), first, "a genuine library is not written again");

        fs::write(&path, b"evil").unwrap();
        assert_eq!(place(base.path(), owner).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), LIBRARY);
    }

    #[test]
    fn open_to_others_is_not_trusted() {
        let (base, owner) = (base(), effective_user().unwrap());
        let path = place(base.path(), owner).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!is_genuine(&path, owner));
        assert!(place(base.path(), owner).is_ok(), "it is replaced");

        fs::set_permissions(base.path().join("tmq/preload"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(place(base.path(), owner).is_err());
        assert!(place(base.path(), owner + 1).is_err());
    }
}
