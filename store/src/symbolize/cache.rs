//! Remembered results, one file per build-id, so that the next recording of the same program need not parse it again.
//!
//! Worth it for large programs and debug files only (see `MIN_CACHED` in `task`). A cache file is a hint: one that is damaged, from
//! another version, or made from other debug files is ignored and replaced. Files are replaced whole and atomically;
//! of two writers the last one wins.
//!
//! # Format
//!
//! Little-endian. Text and byte strings are a `u32` length and the bytes; lists are a `u32` count and the items.
//!
//! ```text
//! "tmqsym" u8 version  u8 0 │ u32 CRC-32 of all that follows
//! build-id │ files: [path, u64 size, i128 mtime in ns]          what the results were made from
//! strings: [text]
//! results: [u64 offset, frames: [u32 function, u32 raw symbol, u32 file, u32 line, u32 column, u8 inline]]
//! ```
//!
//! A string is its index plus one; in every field 0 stands for "unknown". Results are sorted by offset.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::crc::crc32;
use super::elf::FileIdentity;
use super::task::Lists;
use super::types::{ModuleError, SymbolFrame};

/// Bump it when the format *or the rules for names and paths* change. Changelog: 1 is the first.
const VERSION: u8 = 1;
const MAGIC: [u8; 8] = [b't', b'm', b'q', b's', b'y', b'm', VERSION, 0];
/// Longest cache file that is read or written.
const MAX_BYTES: usize = 1 << 30;
/// Longest build-id that makes a file name.
const MAX_BUILD_ID: usize = 64;

/// The cache file of one module, as it was when it was opened.
pub(super) struct CacheFile {
    path: PathBuf,
    /// Encoded build-id and files.
    key: Vec<u8>,
    /// Sorted, one for each list.
    offsets: Vec<u64>,
    lists: Lists,
}

impl CacheFile {
    /// Reads the cache of `build_id` in `dir`; empty if there is none that fits `files`.
    pub(super) fn open(dir: &Path, build_id: &[u8], files: &[FileIdentity]) -> Option<Self> {
        if build_id.is_empty() || build_id.len() > MAX_BUILD_ID {
            return None;
        }
        let name: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut key = Vec::new();
        put_bytes(&mut key, build_id);
        put_count(&mut key, files.len());
        for file in files {
            put_bytes(&mut key, file.path.as_os_str().as_bytes());
            key.extend(file.size.to_le_bytes());
            key.extend(file.mtime_ns.to_le_bytes());
        }
        let path = dir.join(name + ".symbols");
        let stored = read(&path).and_then(|bytes| decode(&bytes, &key));
        let (offsets, lists) = stored.unwrap_or_default();
        Some(Self { path, key, offsets, lists })
    }

    /// Frames at `offset`, if it was resolved before. An empty list is an answer: nothing is known there.
    pub(super) fn get(&self, offset: u64) -> Option<&[SymbolFrame]> {
        self.offsets.binary_search(&offset).ok().map(|index| self.lists.get(index))
    }

    /// Replaces the file by one that also has `fresh`, the lists of `offsets` (sorted, none of them known before).
    pub(super) fn store(&self, offsets: &[u64], fresh: &Lists) -> Result<(), ModuleError> {
        let known = self.offsets.iter().enumerate().map(|(index, &offset)| (offset, self.lists.get(index)));
        let new = offsets.iter().enumerate().map(|(index, &offset)| (offset, fresh.get(index)));
        let mut all: Vec<_> = known.chain(new).collect();
        all.sort_unstable_by_key(|&(offset, _)| offset);
        let bytes = encode(&self.key, &all);
        if bytes.len() > MAX_BYTES {
            return Ok(());
        }
        self.replace(&bytes).map_err(|error| ModuleError::Cache { path: self.path.clone(), reason: error.to_string() })
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        // Symbols tell what somebody runs: for the owner only.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            // The write's error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn encode(key: &[u8], results: &[(u64, &[SymbolFrame])]) -> Vec<u8> {
    let mut strings: HashMap<Arc<str>, u32> = HashMap::new();
    let (mut texts, mut body) = (Vec::new(), Vec::new());
    let mut string = |text: &Option<Arc<str>>| -> [u8; 4] {
        let number = text.as_ref().map_or(0, |text| {
            let next = u32::try_from(strings.len() + 1).unwrap_or(0);
            *strings.entry(Arc::clone(text)).or_insert_with(|| {
                put_bytes(&mut texts, text.as_bytes());
                next
            })
        });
        number.to_le_bytes()
    };
    put_count(&mut body, results.len());
    for (offset, frames) in results {
        body.extend(offset.to_le_bytes());
        put_count(&mut body, frames.len());
        for frame in *frames {
            body.extend([string(&frame.function), string(&frame.raw_symbol), string(&frame.file)].concat());
            body.extend(frame.line.unwrap_or(0).to_le_bytes());
            body.extend(frame.column.unwrap_or(0).to_le_bytes());
            body.push(u8::from(frame.is_inline));
        }
    }
    let mut count = Vec::new();
    put_count(&mut count, strings.len());
    let content = [key, &count, &texts, &body].concat();
    [&MAGIC[..], &crc32(&content).to_le_bytes(), &content].concat()
}

fn decode(bytes: &[u8], key: &[u8]) -> Option<(Vec<u64>, Lists)> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (crc, content) = rest.split_first_chunk::<4>()?;
    if crc32(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut input = Input(content.strip_prefix(key)?);
    let mut strings: Vec<Arc<str>> = Vec::new();
    for _ in 0..input.u32()? {
        strings.push(std::str::from_utf8(input.bytes()?).ok()?.into());
    }
    let (mut offsets, mut lists) = (Vec::new(), Lists::default());
    for _ in 0..input.u32()? {
        let offset = input.u64()?;
        if offsets.last().is_some_and(|&last| last >= offset) {
            return None;
        }
        let mut frames = Vec::new();
        for _ in 0..input.u32()? {
            frames.push(input.frame(&strings)?);
        }
        offsets.push(offset);
        lists.push_with(|all| all.append(&mut frames));
    }
    input.0.is_empty().then_some((offsets, lists))
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // A count that does not fit makes a file beyond MAX_BYTES, which is never written.
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// What is left to decode. Every read is checked.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn frame(&mut self, strings: &[Arc<str>]) -> Option<SymbolFrame> {
        let mut string = || -> Option<Option<Arc<str>>> {
            match self.u32()? {
                0 => Some(None),
                number => strings.get(usize::try_from(number - 1).ok()?).cloned().map(Some),
            }
        };
        let (function, raw_symbol, file) = (string()?, string()?, string()?);
        let known = |number: u32| (number > 0).then_some(number);
        let (line, column) = (known(self.u32()?), known(self.u32()?));
        let is_inline = self.chunk::<1>()? != [0];
        Some(SymbolFrame { function, raw_symbol, file, line, column, is_inline })
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheFile, FileIdentity, Lists, SymbolFrame};
    use std::fs;
    use std::path::Path;

    fn files(size: u64) -> Vec<FileIdentity> {
        vec![FileIdentity { path: "/x/libx.so".into(), size, mtime_ns: 12 }]
    }

    fn frame(name: &str) -> SymbolFrame {
        SymbolFrame { function: Some(name.into()), line: Some(7), is_inline: name == "b", ..SymbolFrame::default() }
    }

    fn open(dir: &Path, size: u64) -> CacheFile {
        CacheFile::open(dir, &[0xab, 0xcd], &files(size)).expect("a build-id")
    }

    fn filled(dir: &Path) {
        let mut lists = Lists::default();
        lists.push_with(|all| all.extend([frame("b"), frame("a")]));
        lists.push_with(|_| ());
        open(dir, 9).store(&[10, 30], &lists).expect("stored");
        let mut more = Lists::default();
        more.push_with(|all| all.push(frame("c")));
        open(dir, 9).store(&[20], &more).expect("stored");
    }

    #[test]
    fn results_come_back_and_accumulate() {
        let dir = tempfile::tempdir().expect("tempdir");
        filled(dir.path());
        let cache = open(dir.path(), 9);
        assert_eq!(cache.get(10), Some(&[frame("b"), frame("a")][..]));
        assert_eq!(cache.get(20), Some(&[frame("c")][..]));
        assert_eq!(cache.get(30), Some(&[][..]));
        assert_eq!(cache.get(11), None);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1, "no temporary file is left");
    }

    #[test]
    fn other_debug_files_or_damage_empty_the_cache() {
        let dir = tempfile::tempdir().expect("tempdir");
        filled(dir.path());
        assert_eq!(open(dir.path(), 8).get(10), None);
        let path = dir.path().join("abcd.symbols");
        let good = fs::read(&path).expect("cache file");
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0x41;
            fs::write(&path, &bad).expect("written");
            assert_eq!(open(dir.path(), 9).get(10), None, "byte {position}");
            fs::write(&path, &good[..position]).expect("written");
            assert_eq!(open(dir.path(), 9).get(10), None, "cut at {position}");
        }
    }

    #[test]
    fn no_build_id_no_cache() {
        assert!(CacheFile::open(Path::new("/nonexistent"), &[], &[]).is_none());
        assert!(CacheFile::open(Path::new("/nonexistent"), &[1; 100], &[]).is_none());
    }
}
