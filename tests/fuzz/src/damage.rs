//! Valid files and what happens to them: bytes as a list of changes, and directories to put the result into.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tmq_store::ingest::{Ingest, Input, RecordingConfig, SealOptions};
use tmq_wire::record::{self, Kind, Slot};

use crate::source::Source;

/// Changes of one run at most.
const MAX_CHANGES: usize = 32;

/// A directory that is removed with its content when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below `TMPDIR`.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tmq-fuzz-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Files of a directory by their path in it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Reads a directory, those in it included.
///
/// # Panics
/// It cannot be read.
#[must_use]
pub fn read(dir: &Path) -> Files {
    let (mut files, mut rest) = (Files::new(), vec![dir.to_owned()]);
    while let Some(next) = rest.pop() {
        for entry in std::fs::read_dir(&next).expect("a directory read") {
            let path = entry.expect("an entry read").path();
            if path.is_dir() {
                rest.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("a path below it").to_owned();
                files.insert(name, std::fs::read(&path).expect("a file read"));
            }
        }
    }
    files
}

/// Writes files into a directory.
///
/// # Panics
/// They cannot be written.
pub fn write(dir: &Path, files: &Files) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory above it")).expect("a directory made");
        std::fs::write(path, content).expect("a file written");
    }
}

/// Changes files as the source says: bytes overwritten, inserted, removed or copied, files cut, removed or swapped.
pub fn change(files: &mut Files, source: &mut Source<'_>) {
    let names: Vec<PathBuf> = files.keys().cloned().collect();
    for _ in 0..MAX_CHANGES {
        if source.is_empty() {
            return;
        }
        let name = &names[source.byte() as usize % names.len()];
        let kind = source.byte() % 16;
        let Some(content) = files.get_mut(name) else { continue };
        // Counted from the end for half of them: that is where Parquet and ELF keep what they begin with.
        let at = source.below(1 << 24) as usize % (content.len() + 1);
        let at = if kind & 1 == 0 { at } else { content.len() - at };
        match kind {
            14 => drop(files.remove(name)),
            15 => {
                let other = &names[source.byte() as usize % names.len()];
                if let Some(other) = files.get(other).cloned() {
                    files.insert(name.clone(), other);
                }
            }
            13 => content.truncate(at),
            12 => {
                let end = (at + source.below(64) as usize).min(content.len());
                content.drain(at..end);
            }
            10 | 11 => {
                let n = 1 + source.below(16) as usize;
                let new = source.bytes(n).to_vec();
                content.splice(at..at, new);
            }
            _ => {
                let n = 1 + source.below(16) as usize;
                for (place, byte) in content[at..].iter_mut().zip(source.bytes(n)) {
                    *place = *byte;
                }
            }
        }
    }
}

/// Slots of a small program: modules, nodes, mallocs and frees.
#[must_use]
pub fn program(events: u64) -> Vec<Slot> {
    let mut payload = [[0u64; 2]; 8];
    let mut writer = tmq_wire::payload::Writer::new(&mut payload);
    writer.module(&tmq_wire::payload::Module { start: 0x1000, end: 0x9000, build_id: &[7; 20], path: b"/bin/a" });
    let used = writer.slots_used();
    let mut slots = vec![record::time(1000), record::blob(Kind::Thread, 0, 7, 0)];
    slots.push(record::blob(Kind::Module, used as u16, 0, 0));
    slots.extend_from_slice(&payload[..used]);
    slots.extend((0..4).map(|i| record::node(16 + i, if i == 0 { 0 } else { 15 + i }, 0, 0x1100 + u64::from(i), 0)));
    for i in 0..events {
        let address = 0x1000 + i % 7 * 16;
        let kind = if i % 14 < 7 { Kind::Malloc } else { Kind::Free };
        slots.push(record::event(kind, address, i * 3, 16 + (i % 4) as u32, 10));
    }
    slots
}

/// A recording of [`program`]: sealed, or interrupted after a checkpoint if not.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn template(sealed: bool) -> Files {
    let scratch = Scratch::new("template");
    let dir = scratch.path().join("a.tmq");
    let mut ingest = Ingest::create(&dir, &RecordingConfig::default()).expect("a recording begun");
    ingest.set_checkpoint_bytes(if sealed { u64::MAX } else { 3000 });
    let slots = program(300);
    let mut input = |input| ingest.input(input).expect("an input taken in");
    input(Input::Clock { tsc: 1000, unix_ns: 1_700_000_000_000_000_000, ticks_per_second: 1e9 });
    input(Input::ProcessSeen { incarnation: 1, pid: 7, forked_from: 0, start_tsc: 1000 });
    for (number, some) in slots.chunks(100).enumerate() {
        input(Input::Slots { incarnation: 1, stream: 1, slots: some });
        input(Input::Watermark { tsc: 1000 + number as u64 * 900 });
    }
    input(Input::Mark { tsc: 2000, name: "here" });
    if sealed {
        let options = SealOptions { no_symbols: true, ..SealOptions::default() };
        ingest.seal(&options, &|_| {}).expect("a recording sealed");
    } else {
        drop(ingest);
    }
    read(&dir)
}
