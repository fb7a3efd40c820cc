//! The log of inputs that makes a recording survive the death of its recorder.
//!
//! ```text
//! journal/00000.log     frames from the last checkpoint on; a new segment begins with each checkpoint
//! frame: | payload bytes u32 | kind u32 | incarnation u32 | stream u32 | checksum u64 | payload, padded to 8 bytes |
//! kind 1: slots, packed            kind 2: any other input, postcard; incarnation and stream are 0
//! kind 3: as kind 1, slots of earlier segments which wait to be put in order; they belong to the state that a checkpoint
//!         saves with the segment they begin, and are passed over by who comes from an earlier one
//! journal/spare         a segment that a checkpoint has made unnecessary, until it becomes the next one
//! ```
//! Frames go through a buffer to the page cache, not to the disk: they survive the process, not the machine. Written one by
//! one from where slots are, they took the kernel a third longer, more than the copy takes. A frame whose length or checksum
//! is wrong is the end of its segment.
//!
//! A new segment overwrites an old one where that has pages in the page cache: fresh ones cost more than what is written
//! into them. So behind the end of a segment lie frames of an older one. They are told apart by their checksums, which
//! depend on the segment's number, and on a random key of the recording: what a recorded program writes could otherwise
//! be made to look like frames.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use tmq_wire::record::Slot;

use super::input::Input;
use super::packed_slots;
use crate::Error;
use crate::recording::JOURNAL_DIR;

const HEADER_BYTES: usize = 24;
const KIND_SLOTS: u32 = 1;
const KIND_OTHER: u32 = 2;
const KIND_AGAIN: u32 = 3;
/// Bytes collected before they are written without being asked to: few calls, and what is written is still in a cache.
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// Longer frames are damaged: the collector hands over at most a region at a time.
const MAX_FRAME_BYTES: usize = 1 << 31;

fn segment_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(JOURNAL_DIR).join(format!("{segment:05}.log"))
}

fn spare_path(dir: &Path) -> PathBuf {
    dir.join(JOURNAL_DIR).join("spare")
}

const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A fast checksum against torn writes (not against malice, unless the seed is secret): four lanes of multiply and rotate
/// over 64-bit words. Of the same bytes it is different for each seed.
pub(crate) fn checksum(bytes: &[u8], seed: u64) -> u64 {
    let mut lanes = [1u64, 2, 3, 4];
    let mut blocks = bytes.chunks_exact(32);
    let step = |lane: u64, word: [u8; 8]| (lane ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR).rotate_left(29);
    for block in &mut blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = step(*lane, *word);
        }
    }
    for tail in blocks.remainder().chunks(8) {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        lanes[0] = step(lanes[0], word);
    }
    let start = seed.wrapping_mul(FACTOR) ^ bytes.len() as u64;
    lanes.into_iter().fold(start, |sum, lane| (sum ^ lane).wrapping_mul(FACTOR).rotate_left(31))
}

/// A key that no recorded program can know.
pub(crate) fn new_key() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Seed of the checksums of a segment's frames, before the first word of the header is mixed in.
fn seed_of(key: u64, segment: u64) -> u64 {
    key.wrapping_add(segment.wrapping_mul(FACTOR))
}

/// The header of a frame without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// Bytes of the payload without its padding.
    length: u32,
    kind: u32,
    incarnation: u32,
    stream: u32,
}

impl Head {
    /// Seed of the frame's checksum.
    fn seed(self, key: u64, segment: u64) -> u64 {
        let words = [u64::from(self.length) | u64::from(self.kind) << 32, self.ids()];
        words.into_iter().fold(seed_of(key, segment), |seed, word| (seed ^ word).wrapping_mul(FACTOR).rotate_left(29))
    }

    fn ids(self) -> u64 {
        u64::from(self.incarnation) | u64::from(self.stream) << 32
    }

    fn padded(self) -> usize {
        (self.length as usize).next_multiple_of(8)
    }

    /// The header with the checksum `sum`.
    fn with(self, sum: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (words, _) = bytes.as_chunks_mut::<4>();
        let numbers = [self.length, self.kind, self.incarnation, self.stream, sum as u32, (sum >> 32) as u32];
        words.iter_mut().zip(numbers).for_each(|(word, number)| *word = number.to_le_bytes());
        bytes
    }

    /// A header and its checksum.
    fn of(bytes: [u8; HEADER_BYTES]) -> (Self, u64) {
        let word = |i: usize| u32::from_le_bytes(bytes.as_chunks::<4>().0[i]);
        let head = Self { length: word(0), kind: word(1), incarnation: word(2), stream: word(3) };
        (head, u64::from(word(4)) | u64::from(word(5)) << 32)
    }
}

/// The end of the journal where inputs are appended.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    key: u64,
    segment: u64,
    file: File,
    /// Never shortened, so nothing is cleared only to be overwritten.
    buffer: Vec<u8>,
    /// Bytes in the buffer that are to be written.
    filled: usize,
    /// Bytes of this segment, the buffer included.
    bytes: u64,
    /// Bytes of all segments before it.
    bytes_before: u64,
}

impl Journal {
    /// Begins the first segment. `key` is that of the recording.
    pub(crate) fn create(dir: &Path, segment: u64, key: u64) -> Result<Self, Error> {
        let file = begin(dir, segment)?;
        let buffer = vec![0; BUFFER_BYTES];
        Ok(Self { dir: dir.to_owned(), key, segment, file, buffer, filled: 0, bytes: 0, bytes_before: 0 })
    }

    /// Bytes of this segment.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of all segments.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.bytes_before + self.bytes
    }

    /// Appends an input.
    pub(crate) fn append(&mut self, input: &Input<'_>) -> Result<(), Error> {
        if let Input::Slots { incarnation, stream, slots } = *input {
            return self.append_slots(KIND_SLOTS, incarnation, stream, slots);
        }
        let reason = |e: postcard::Error| Error::Damaged { path: self.path(), offset: 0, reason: e.to_string() };
        let mut bytes = postcard::to_extend(input, Vec::new()).map_err(reason)?;
        let head = Head { length: bytes.len() as u32, kind: KIND_OTHER, incarnation: 0, stream: 0 };
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        self.append_frame(head, &bytes)
    }

    /// Appends slots that earlier segments have, for a checkpoint that does not save them.
    pub(crate) fn append_again(&mut self, incarnation: u32, stream: u32, slots: &[Slot]) -> Result<(), Error> {
        self.append_slots(KIND_AGAIN, incarnation, stream, slots)
    }

    fn append_slots(&mut self, kind: u32, incarnation: u32, stream: u32, slots: &[Slot]) -> Result<(), Error> {
        let rest = self.room(packed_slots::most_bytes(slots.len()).next_multiple_of(8))?;
        let length = packed_slots::pack(slots, rest);
        let head = Head { length: length as u32, kind, incarnation, stream };
        rest[length..head.padded()].fill(0);
        self.close_frame(head);
        Ok(())
    }

    /// `payload` is padded.
    fn append_frame(&mut self, head: Head, payload: &[u8]) -> Result<(), Error> {
        self.room(payload.len())?[..payload.len()].copy_from_slice(payload);
        self.close_frame(head);
        Ok(())
    }

    /// Where the header and so many bytes of payload of the next frame go.
    fn room(&mut self, bytes: usize) -> Result<&mut [u8], Error> {
        let bytes = HEADER_BYTES + bytes;
        if self.filled + bytes > self.buffer.len() {
            self.flush()?;
            if bytes > self.buffer.len() {
                self.buffer.resize(bytes, 0);
            }
        }
        Ok(&mut self.buffer[self.filled + HEADER_BYTES..])
    }

    /// Completes the frame whose payload is in its place.
    fn close_frame(&mut self, head: Head) {
        let frame = &mut self.buffer[self.filled..][..HEADER_BYTES + head.padded()];
        let (header, payload) = frame.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&head.with(checksum(payload, head.seed(self.key, self.segment))));
        self.filled += frame.len();
        self.bytes += frame.len() as u64;
    }

    fn path(&self) -> PathBuf {
        segment_path(&self.dir, self.segment)
    }

    /// Hands everything to the kernel.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.buffer[..self.filled]).map_err(|e| Error::io("write", self.path())(e))?;
        self.filled = 0;
        Ok(())
    }

    /// Begins the next segment; returns its number.
    pub(crate) fn rotate(&mut self) -> Result<u64, Error> {
        self.flush()?;
        self.file = begin(&self.dir, self.segment + 1)?;
        self.segment += 1;
        self.bytes_before += std::mem::take(&mut self.bytes);
        Ok(self.segment)
    }
}

/// The file of a new segment: the spare one, which is overwritten, or a new one.
fn begin(dir: &Path, segment: u64) -> Result<File, Error> {
    let path = segment_path(dir, segment);
    match fs::rename(spare_path(dir), &path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("create", &path)(e)),
        _ => {}
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(Error::io("create", &path))
}

/// Makes the segment before `segment` the spare one and removes those before.
pub(crate) fn retire_before(dir: &Path, segment: u64) -> Result<(), Error> {
    for old in (0..segment).rev() {
        let path = segment_path(dir, old);
        let done = if old + 1 == segment { fs::rename(&path, spare_path(dir)) } else { fs::remove_file(&path) };
        match done {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => break,
            Err(e) => return Err(Error::io("remove", &path)(e)),
        }
    }
    Ok(())
}

/// Feeds every input from `segment` on to `apply`, with the bytes read so far and, at most, in all. `key` is that of the
/// recording.
pub(crate) fn replay(
    dir: &Path,
    segment: u64,
    key: u64,
    mut apply: impl FnMut(&Input<'_>, u64, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let paths: Vec<(u64, PathBuf)> =
        (segment..).map(|n| (n, segment_path(dir, n))).take_while(|(_, path)| path.exists()).collect();
    let total = paths.iter().map(|(_, path)| fs::metadata(path).map_or(0, |m| m.len())).sum();
    let mut done = 0;
    let (mut payload, mut slots) = (Vec::new(), Vec::new());
    for (number, path) in paths {
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        while let Some(head) = read_frame(&mut file, &mut payload, key, number).map_err(Error::io("read", &path))? {
            done += (HEADER_BYTES + payload.len()) as u64;
            if head.kind == KIND_AGAIN && number != segment {
                continue;
            }
            if let Some(input) = decode(head, &payload, &mut slots) {
                apply(&input, done, total)?;
            }
        }
    }
    Ok(())
}

/// Reads a frame's payload with its padding into `payload`; `None` at the end, where a frame is torn or where those of an
/// older segment begin.
fn read_frame(file: &mut impl Read, payload: &mut Vec<u8>, key: u64, segment: u64) -> std::io::Result<Option<Head>> {
    let mut header = [0; HEADER_BYTES];
    if !read_whole(file, &mut header)? {
        return Ok(None);
    }
    let (head, sum) = Head::of(header);
    if head.length as usize > MAX_FRAME_BYTES {
        return Ok(None);
    }
    payload.clear();
    // Grows with what is there, not with what the header claims.
    let read = file.take(head.padded() as u64).read_to_end(payload)?;
    Ok((read == head.padded() && checksum(payload, head.seed(key, segment)) == sum).then_some(head))
}

/// Slots as they are in frames.
#[cfg(fuzzing)]
pub(super) fn packed(slots: &[Slot]) -> Vec<u8> {
    let mut bytes = vec![0; packed_slots::most_bytes(slots.len())];
    let length = packed_slots::pack(slots, &mut bytes);
    bytes.truncate(length);
    bytes
}

/// A whole frame.
#[cfg(fuzzing)]
pub(super) fn frame(key: u64, segment: u64, kind: u32, (incarnation, stream): (u32, u32), payload: &[u8]) -> Vec<u8> {
    let head = Head { length: payload.len() as u32, kind, incarnation, stream };
    let mut padded = payload.to_vec();
    padded.resize(head.padded(), 0);
    [&head.with(checksum(&padded, head.seed(key, segment)))[..], &padded].concat()
}

fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn decode<'a>(head: Head, payload: &'a [u8], slots: &'a mut Vec<Slot>) -> Option<Input<'a>> {
    match head.kind {
        KIND_SLOTS | KIND_AGAIN => {
            slots.clear();
            packed_slots::unpack(payload, slots)?;
            Some(Input::Slots { incarnation: head.incarnation, stream: head.stream, slots })
        }
        KIND_OTHER => postcard::take_from_bytes(payload).ok().map(|(input, _)| input),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 77;

    #[test]
    fn frames_come_back_and_a_torn_tail_is_the_end() {
        let dir = std::env::temp_dir().join(format!("tmq-journal-test-{}", std::process::id()));
        fs::create_dir_all(dir.join(JOURNAL_DIR)).unwrap();
        let slots = [[1, 2], [3, u64::MAX]];
        let inputs = [
            Input::Slots { incarnation: 7, stream: 8, slots: &slots },
            Input::Loss { incarnation: None, reason: "x", count: 3, detail: "Why." },
            Input::Watermark { tsc: u64::MAX },
        ];
        let mut journal = Journal::create(&dir, 4, KEY).unwrap();
        for input in &inputs[..2] {
            journal.append(input).unwrap();
        }
        assert_eq!(journal.rotate().unwrap(), 5);
        journal.append(&inputs[2]).unwrap();
        journal.flush().unwrap();
        let mut seen = 0;
        let count = |dir: &Path, seen: &mut usize| {
            *seen = 0;
            replay(dir, 4, KEY, |input, _, _| {
                assert_eq!(*input, inputs[*seen]);
                *seen += 1;
                Ok(())
            })
            .unwrap();
        };
        count(&dir, &mut seen);
        assert_eq!(seen, 3);
        let last = segment_path(&dir, 5);
        let bytes = fs::read(&last).unwrap();
        for cut in 0..bytes.len() {
            fs::write(&last, &bytes[..cut]).unwrap();
            count(&dir, &mut seen);
            assert_eq!(seen, 2);
            let mut flipped = bytes.clone();
            flipped[cut] ^= 64;
            fs::write(&last, &flipped).unwrap();
            count(&dir, &mut seen);
            assert_eq!(seen, 2);
        }
        fs::write(&last, &bytes).unwrap();
        journal.append_again(7, 8, &slots).unwrap();
        journal.flush().unwrap();
        assert_eq!((replayed(&dir, 4, KEY).len(), replayed(&dir, 5, KEY).len()), (3, 2));
        retire_before(&dir, 5).unwrap();
        assert!(!segment_path(&dir, 4).exists() && last.exists() && spare_path(&dir).exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    /// Inputs from `segment` on, as text.
    fn replayed(dir: &Path, segment: u64, key: u64) -> Vec<String> {
        let mut seen = Vec::new();
        let note = |input: &Input<'_>, _, _| {
            seen.push(format!("{input:?}"));
            Ok(())
        };
        replay(dir, segment, key, note).unwrap();
        seen
    }

    /// Every segment is shorter than the one it overwrites, and its end lies where an old frame begins.
    #[test]
    fn frames_of_the_segment_that_was_overwritten_do_not_come_back() {
        let dir = std::env::temp_dir().join(format!("tmq-journal-reuse-{}", std::process::id()));
        fs::create_dir_all(dir.join(JOURNAL_DIR)).unwrap();
        let slots = [[9 << 59, 3]; 40];
        let mut journal = Journal::create(&dir, 0, KEY).unwrap();
        for segment in 0..6 {
            for stream in 0..20 - segment * 3 {
                journal.append(&Input::Slots { incarnation: segment, stream, slots: &slots }).unwrap();
                journal.flush().unwrap();
                let seen = replayed(&dir, u64::from(segment), KEY);
                assert_eq!(seen.len() as u32, stream + 1);
                assert!(seen.iter().all(|s| s.contains(&format!("incarnation: {segment},"))));
                assert!(replayed(&dir, u64::from(segment), KEY + 1).is_empty());
            }
            assert_eq!(journal.rotate().unwrap(), u64::from(segment) + 1);
            assert!(replayed(&dir, u64::from(segment) + 1, KEY).is_empty());
            retire_before(&dir, u64::from(segment) + 1).unwrap();
            assert!(fs::read_dir(dir.join(JOURNAL_DIR)).unwrap().count() <= 2);
        }
        assert!(fs::metadata(segment_path(&dir, 6)).unwrap().len() > 0 && journal.bytes() == 0);
        assert_eq!(journal.total_bytes(), (20 + 17 + 14 + 11 + 8 + 5) * (HEADER_BYTES as u64 + 664));
        // Longer than the buffer.
        let many = vec![[9 << 59, 3]; BUFFER_BYTES / 8];
        journal.append(&Input::Slots { incarnation: 1, stream: 2, slots: &many }).unwrap();
        journal.append(&Input::Watermark { tsc: 5 }).unwrap();
        journal.flush().unwrap();
        assert_eq!(replayed(&dir, 6, KEY).len(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }
}
