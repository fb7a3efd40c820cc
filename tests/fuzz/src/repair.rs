//! Attacks `tmq repair`: a directory that was left behind by a recorder and then damaged.
//!
//! Must hold: it is refused, or repaired to a recording that keeps every promise of [`crate::check`]. Two ways in: any
//! bytes of any file change; or frames are appended to the journal, and fields of the checkpoint change, with checksums
//! that match. The serialised state within a checkpoint is changed with a matching checksum too, but only read: who can
//! write that can as well write the recording itself, and what it leads to is a wrong recording or a panic in safe code.

use std::path::Path;
use std::sync::OnceLock;

use tmq_store::Recording;
use tmq_store::fuzzing::{checkpoint_file, journal_frame, packed_slots, read_checkpoint};
use tmq_store::ingest::{SealOptions, repair};

use crate::damage::{self, Files, Scratch};
use crate::{check, source::Source};

const CHECKPOINT: &str = "journal/checkpoint";
/// Magic and checksum of a checkpoint.
const CHECKPOINT_HEADER_BYTES: usize = 16;

fn template() -> &'static Files {
    static TEMPLATE: OnceLock<Files> = OnceLock::new();
    TEMPLATE.get_or_init(|| damage::template(false))
}

/// One input.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let mut source = Source(data);
    let mut files = template().clone();
    match source.byte() % 4 {
        0 => damage::change(&mut files, &mut source),
        1 => return damaged_checkpoint(files, &mut source),
        _ => append_frames(&mut files, &mut source),
    }
    let scratch = Scratch::new("repair");
    let dir = scratch.path();
    damage::write(dir, &files);
    let is_part = |name: &Path| name.starts_with("allocations");
    check_repair(dir, template().iter().all(|(name, content)| !is_part(name) || files.get(name) == Some(content)));
}

/// Finished parts are taken as they are if they have the right size, so damage within them stays.
fn check_repair(dir: &Path, parts_are_whole: bool) {
    let options = SealOptions { no_symbols: true, ..SealOptions::default() };
    let summary = repair(dir, &options, &|_| {});
    if summary.is_ok() {
        let recording = Recording::open(dir).expect("a repaired recording opens");
        if parts_are_whole {
            check::recording(&recording);
        }
    }
}

/// Key of the journal and its segment, from the template's checkpoint.
fn key_and_segment() -> (u64, u64) {
    static KEY: OnceLock<(u64, u64)> = OnceLock::new();
    *KEY.get_or_init(|| {
        let scratch = Scratch::new("key");
        damage::write(scratch.path(), template());
        read_checkpoint(scratch.path()).expect("the template's checkpoint")
    })
}

/// Frames whose checksums match, of any kind and with any content.
fn append_frames(files: &mut Files, source: &mut Source<'_>) {
    let (key, segment) = key_and_segment();
    let journal = files.entry(format!("journal/{segment:05}.log").into()).or_default();
    if source.byte() & 1 == 0 {
        journal.clear();
    }
    while !source.is_empty() {
        let choice = source.byte();
        let (kind, writer, content) = if choice & 1 == 0 {
            let writer = (u32::from(source.byte() & 3), u32::from(source.byte() & 3));
            (1 + u32::from(choice & 2), writer, frame_of_slots(source))
        } else {
            (2, (0, 0), frame_of_input(source))
        };
        journal.extend(journal_frame(key, segment, kind, writer, &content));
    }
}

fn frame_of_slots(source: &mut Source<'_>) -> Vec<u8> {
    let mut slots = Vec::new();
    for _ in 0..source.below(16) {
        source.slots(&mut slots);
    }
    let mut content = packed_slots(&slots);
    let cut = source.byte();
    content.truncate(content.len().saturating_sub(if cut > 200 { usize::from(cut - 200) } else { 0 }));
    content
}

/// Postcard: the number of the variant, then whatever it takes for its fields.
fn frame_of_input(source: &mut Source<'_>) -> Vec<u8> {
    let length = 1 + source.below(40) as usize;
    let mut content = source.bytes(length).to_vec();
    if let Some(variant) = content.first_mut() {
        *variant %= 12;
    }
    content
}

/// The body of the checkpoint changes and its checksum with it.
fn damaged_checkpoint(files: Files, source: &mut Source<'_>) {
    let mut checkpoint: Files = files.into_iter().filter(|(name, _)| name == Path::new(CHECKPOINT)).collect();
    let content = checkpoint.get_mut(Path::new(CHECKPOINT)).expect("a checkpoint");
    content.drain(..CHECKPOINT_HEADER_BYTES);
    damage::change(&mut checkpoint, source);
    let Some(content) = checkpoint.get_mut(Path::new(CHECKPOINT)) else { return };
    *content = checkpoint_file(content);
    let scratch = Scratch::new("checkpoint");
    damage::write(scratch.path(), &checkpoint);
    let _ = read_checkpoint(scratch.path());
}

/// Changes that do little.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let slots: &[u8] = &[0, 1, 1, 3, 200, 0, 35, 40, 4, 5, 200, 7, 66, 0, 3, 9, 70, 4, 0, 1, 20, 0, 0];
    let input: &[u8] = &[1, 1, 0, 200, 15];
    vec![
        vec![0],
        vec![0, 2, 0, 9, 0, 0, 0, 1, 7],
        vec![0, 1, 0, 100, 0, 0, 0, 1, 7],
        vec![0, 0, 13, 50, 0, 0, 0],
        vec![1, 0, 0, 10, 0, 0, 0, 3, 1, 2, 3],
        [&[2, 1][..], slots, input, slots].concat(),
        [&[2, 0][..], slots, input].concat(),
    ]
}
