//! The log of inputs that makes a recording survive the death of its recorder.
//!
//! ```text
//! journal/00000.log     frames from the last checkpoint on; a new segment begins with each checkpoint
//! frame: | payload bytes u32 | kind u32 | checksum u64 | payload, padded to 8 bytes |
//! kind 1: incarnation u32, stream u32, slots of 16 bytes        kind 2: any other input, postcard
//! ```
//! Frames go through a buffer to the page cache, not to the disk: they survive the process, not the machine. A frame
//! whose length or checksum is wrong is the end of the journal.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use tmq_wire::record::Slot;

use super::input::Input;
use crate::Error;
use crate::recording::JOURNAL_DIR;

const HEADER_BYTES: usize = 16;
const KIND_SLOTS: u32 = 1;
const KIND_OTHER: u32 = 2;
/// Bytes collected before they are written without being asked to.
const BUFFER_BYTES: usize = 1 << 20;
/// Longer frames are damaged: the collector hands over at most a region at a time.
const MAX_FRAME_BYTES: usize = 1 << 31;

fn segment_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(JOURNAL_DIR).join(format!("{segment:05}.log"))
}

/// A fast checksum against torn writes (not against malice): four lanes of multiply and rotate over 64-bit words.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
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
    lanes.into_iter().fold(bytes.len() as u64, |sum, lane| (sum ^ lane).wrapping_mul(FACTOR).rotate_left(31))
}

/// The end of the journal where inputs are appended.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    segment: u64,
    file: File,
    buffer: Vec<u8>,
    /// Bytes of this segment, the buffer included.
    bytes: u64,
}

impl Journal {
    /// Begins a segment.
    pub(crate) fn create(dir: &Path, segment: u64) -> Result<Self, Error> {
        let path = segment_path(dir, segment);
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        Ok(Self { dir: dir.to_owned(), segment, file, buffer: Vec::with_capacity(BUFFER_BYTES * 2), bytes: 0 })
    }

    /// Bytes of this segment.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends an input.
    pub(crate) fn append(&mut self, input: &Input<'_>) -> Result<(), Error> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
        let kind = match *input {
            Input::Slots { incarnation, stream, slots } => {
                self.buffer.extend_from_slice(&incarnation.to_le_bytes());
                self.buffer.extend_from_slice(&stream.to_le_bytes());
                let at = self.buffer.len();
                self.buffer.resize(at + slots.len() * 16, 0);
                let (places, _) = self.buffer[at..].as_chunks_mut::<16>();
                for ([w0, w1], place) in slots.iter().zip(places) {
                    *place = (u128::from(*w0) | u128::from(*w1) << 64).to_le_bytes();
                }
                KIND_SLOTS
            }
            _ => {
                let buffer = std::mem::take(&mut self.buffer);
                let path = segment_path(&self.dir, self.segment);
                let reason = |e: postcard::Error| Error::Damaged { path, offset: 0, reason: e.to_string() };
                self.buffer = postcard::to_extend(input, buffer).map_err(reason)?;
                KIND_OTHER
            }
        };
        let length = self.buffer.len() - start - HEADER_BYTES;
        self.buffer.resize(start + HEADER_BYTES + length.next_multiple_of(8), 0);
        let sum = checksum(&self.buffer[start + HEADER_BYTES..]);
        let header = &mut self.buffer[start..start + HEADER_BYTES];
        header[..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&sum.to_le_bytes());
        self.bytes += (self.buffer.len() - start) as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands everything to the kernel.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let path = || segment_path(&self.dir, self.segment);
        self.file.write_all(&self.buffer).map_err(|e| Error::io("write", path())(e))?;
        self.buffer.clear();
        Ok(())
    }

    /// Begins the next segment; returns its number.
    pub(crate) fn rotate(&mut self) -> Result<u64, Error> {
        self.flush()?;
        *self = Self::create(&self.dir, self.segment + 1)?;
        Ok(self.segment)
    }
}

/// Removes the segments before `segment`.
pub(crate) fn remove_before(dir: &Path, segment: u64) -> Result<(), Error> {
    for old in (0..segment).rev() {
        let path = segment_path(dir, old);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => break,
            Err(e) => return Err(Error::io("remove", &path)(e)),
        }
    }
    Ok(())
}

/// Feeds every input from `segment` on to `apply`, with the bytes read so far and in all.
pub(crate) fn replay(
    dir: &Path,
    segment: u64,
    mut apply: impl FnMut(&Input<'_>, u64, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let paths: Vec<PathBuf> = (segment..).map(|n| segment_path(dir, n)).take_while(|path| path.exists()).collect();
    let total = paths.iter().map(|path| fs::metadata(path).map_or(0, |m| m.len())).sum();
    let mut done = 0;
    let (mut payload, mut slots) = (Vec::new(), Vec::new());
    for path in paths {
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        while let Some(kind) = read_frame(&mut file, &mut payload).map_err(Error::io("read", &path))? {
            done += (HEADER_BYTES + payload.len()) as u64;
            if let Some(input) = decode(kind, &payload, &mut slots) {
                apply(&input, done, total)?;
            }
        }
    }
    Ok(())
}

/// Reads a frame into `payload`; `None` at the end or where a frame is torn.
fn read_frame(file: &mut impl Read, payload: &mut Vec<u8>) -> std::io::Result<Option<u32>> {
    let mut header = [0; HEADER_BYTES];
    if !read_whole(file, &mut header)? {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (length, kind) = (word(0) as usize, word(4));
    if length > MAX_FRAME_BYTES {
        return Ok(None);
    }
    payload.clear();
    // Grows with what is there, not with what the header claims.
    let read = file.take(length.next_multiple_of(8) as u64).read_to_end(payload)?;
    let sum = u64::from(word(8)) | u64::from(word(12)) << 32;
    Ok((read == length.next_multiple_of(8) && checksum(payload) == sum).then_some(kind))
}

fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn decode<'a>(kind: u32, payload: &'a [u8], slots: &'a mut Vec<Slot>) -> Option<Input<'a>> {
    match kind {
        KIND_SLOTS => {
            let (incarnation, rest) = payload.split_first_chunk()?;
            let (stream, rest) = rest.split_first_chunk()?;
            slots.clear();
            slots.extend(rest.as_chunks::<16>().0.iter().map(|bytes| {
                let both = u128::from_le_bytes(*bytes);
                [both as u64, (both >> 64) as u64]
            }));
            Some(Input::Slots {
                incarnation: u32::from_le_bytes(*incarnation),
                stream: u32::from_le_bytes(*stream),
                slots,
            })
        }
        KIND_OTHER => postcard::take_from_bytes(payload).ok().map(|(input, _)| input),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut journal = Journal::create(&dir, 4).unwrap();
        for input in &inputs[..2] {
            journal.append(input).unwrap();
        }
        assert_eq!(journal.rotate().unwrap(), 5);
        journal.append(&inputs[2]).unwrap();
        journal.flush().unwrap();
        let mut seen = 0;
        let count = |dir: &Path, seen: &mut usize| {
            *seen = 0;
            replay(dir, 4, |input, _, _| {
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
        }
        remove_before(&dir, 5).unwrap();
        assert!(!segment_path(&dir, 4).exists() && last.exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
