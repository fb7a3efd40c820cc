//! The DWARF sections of one file: borrowed from the mapping, or inflated within limits.
//!
//! Inflating is the only step whose cost the file's size does not bound: zstd packs 128 KiB into four bytes. So the
//! declared size is limited, and for zstd, whose decoder ignores the declared size, the block headers are added up
//! before anything is decoded.

use std::borrow::Cow;
use std::ops::Range;

use addr2line::gimli::SectionId;
use object::read::CompressedData;
use object::{CompressionFormat, Object, ObjectSection};

use super::elf::ElfImage;
use super::types::ModuleError;

/// Inflated bytes per file. The largest debug files known (browsers) stay below.
const MAX_INFLATED: u64 = 8 << 30;
/// Inflated bytes per byte of file. Debug information packs about 4:1, single sections 30:1.
const MAX_RATIO: u64 = 100;
/// What even a tiny file may inflate to.
const MIN_INFLATED: u64 = 64 << 20;
/// Encoders may split blocks below 128 KiB, so a bound from block counts exceeds the truth, though never by this much.
const ZSTD_BLOCK_SLACK: u64 = 16;
/// Largest output of a zstd block.
const ZSTD_BLOCK: u64 = 128 << 10;

/// The sections addr2line reads. The others (locations, types, macros) are never inflated.
const USED: [SectionId; 11] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
];

/// Where the bytes of a section are.
pub(super) enum Contents {
    InFile(Range<usize>),
    Inflated(Vec<u8>),
}

/// DWARF sections of one image.
pub(super) struct Sections {
    contents: Vec<(SectionId, Contents)>,
    pub(super) little_endian: bool,
}

impl Sections {
    /// Finds and, if need be, inflates every section that is used.
    pub(super) fn load(image: &ElfImage) -> Result<Self, ModuleError> {
        let file = image.parse()?;
        let mut contents = Vec::new();
        let size = image.data().len() as u64;
        let mut budget = size.saturating_mul(MAX_RATIO).clamp(MIN_INFLATED, MAX_INFLATED);
        for id in USED {
            let Some(section) = file.section_by_name(id.name()) else { continue };
            let failed = |reason: String| ModuleError::Section {
                path: image.path().to_owned(),
                section: id.name().to_owned(),
                reason,
            };
            let data = section.compressed_data().map_err(|error| failed(error.to_string()))?;
            contents.push((id, load_one(image.data(), data, &mut budget).map_err(failed)?));
        }
        Ok(Self { contents, little_endian: file.is_little_endian() })
    }

    /// The bytes of a section; empty if the file has none.
    pub(super) fn get<'a>(&'a self, image: &'a ElfImage, wanted: SectionId) -> &'a [u8] {
        let found = self.contents.iter().find(|(id, _)| *id == wanted);
        match found {
            Some((_, Contents::InFile(range))) => image.data().get(range.clone()).unwrap_or_default(),
            Some((_, Contents::Inflated(bytes))) => bytes,
            None => &[],
        }
    }

    /// Bytes of all sections together.
    pub(super) fn total(&self) -> u64 {
        let size = |contents: &Contents| match contents {
            Contents::InFile(range) => range.len() as u64,
            Contents::Inflated(bytes) => bytes.len() as u64,
        };
        self.contents.iter().map(|(_, contents)| size(contents)).sum()
    }
}

/// Takes a section as it is, or inflates it and charges `budget`.
pub(super) fn load_one(file: &[u8], data: CompressedData<'_>, budget: &mut u64) -> Result<Contents, String> {
    if data.format == CompressionFormat::None {
        let start = data.data.as_ptr().addr().wrapping_sub(file.as_ptr().addr());
        return Ok(Contents::InFile(start..start.saturating_add(data.data.len())));
    }
    let (packed, declared) = (data.data.len() as u64, data.uncompressed_size);
    if declared > *budget {
        return Err(format!("refusing to inflate {packed} bytes to {declared}"));
    }
    if data.format == CompressionFormat::Zstandard {
        let bound = zstd_output_bound(data.data).ok_or("damaged zstd frame")?;
        if bound > declared.saturating_mul(ZSTD_BLOCK_SLACK).saturating_add(ZSTD_BLOCK) {
            return Err(format!("refusing to inflate up to {bound} bytes where {declared} are declared"));
        }
    }
    *budget -= declared;
    match data.decompress().map_err(|error| error.to_string())? {
        Cow::Owned(bytes) => Ok(Contents::Inflated(bytes)),
        Cow::Borrowed(bytes) => Ok(Contents::Inflated(bytes.to_vec())),
    }
}

/// Upper bound of what zstd frames inflate to, from the block headers alone (RFC 8878 §3.1.1).
fn zstd_output_bound(mut input: &[u8]) -> Option<u64> {
    let mut bound = 0u64;
    while !input.is_empty() {
        let (magic, rest) = input.split_first_chunk::<4>()?;
        let magic = u32::from_le_bytes(*magic);
        if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            input = rest.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..)?;
            continue;
        }
        if magic != 0xFD2F_B528 {
            return None;
        }
        let (&descriptor, rest) = rest.split_first()?;
        let single_segment = descriptor & 0x20 != 0;
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content_size = [usize::from(single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
        let header = usize::from(!single_segment) + dictionary + content_size;
        let (after_blocks, frame_bound) = zstd_blocks(rest.get(header..)?)?;
        bound = bound.saturating_add(frame_bound);
        let checksum = if descriptor & 4 != 0 { 4 } else { 0 };
        input = after_blocks.get(checksum..)?;
    }
    Some(bound)
}

/// Walks the blocks of a frame: what follows them, and the bound on their output.
fn zstd_blocks(mut input: &[u8]) -> Option<(&[u8], u64)> {
    let mut bound = 0u64;
    loop {
        let (header, rest) = input.split_first_chunk::<3>()?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let size = header >> 3;
        let (stored, output) = match (header >> 1) & 3 {
            0 => (size, u64::from(size)),
            1 => (1, u64::from(size)),
            2 => (size, ZSTD_BLOCK),
            _ => return None,
        };
        bound = bound.saturating_add(output);
        input = rest.get(usize::try_from(stored).ok()?..)?;
        if header & 1 != 0 {
            return Some((input, bound));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ZSTD_BLOCK, zstd_output_bound};

    /// Magic, descriptor "single segment, one byte of content size", content size.
    const FRAME: [u8; 6] = [0x28, 0xB5, 0x2F, 0xFD, 0x20, 0xFF];

    fn frame(blocks: &[&[u8]]) -> Vec<u8> {
        [&FRAME[..], &blocks.concat()].concat()
    }

    #[test]
    fn blocks_are_added_up() {
        let raw = [0x19, 0, 0, b'a', b'b', b'c']; // last, raw, 3 bytes
        assert_eq!(zstd_output_bound(&frame(&[&raw])), Some(3));
        let repeat = [0x02, 0, 0x10, b'x']; // repeat, 128 KiB
        assert_eq!(zstd_output_bound(&frame(&[&repeat, &repeat, &raw])), Some(2 * ZSTD_BLOCK + 3));
        let compressed = [0x15, 0, 0, 1, 2]; // last, compressed, 2 bytes
        assert_eq!(zstd_output_bound(&frame(&[&compressed])), Some(ZSTD_BLOCK));
        let skippable = [0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 9];
        assert_eq!(zstd_output_bound(&[&skippable[..], &frame(&[&raw])].concat()), Some(3));
        assert_eq!(zstd_output_bound(&frame(&[&repeat])), None, "no last block");
        assert_eq!(zstd_output_bound(b"nonsense"), None);
    }
}
