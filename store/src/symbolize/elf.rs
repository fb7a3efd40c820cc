//! One ELF file in memory: opened once, identified, and parsed on demand.
//!
//! Nothing here borrows from itself: an image owns its bytes, and [`ElfImage::parse`] makes the cheap header view
//! anew whenever one is needed, so images can be shared between threads without lifetimes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use object::read::elf::{ElfFile, FileHeader, ProgramHeader, SectionHeader};
use object::{BinaryFormat, Object, elf};

use super::types::ModuleError;
use super::vdso;

/// Build-ids are 8 to 32 bytes; a longer note is not one.
const MAX_BUILD_ID: usize = 64;
/// Notes are a few hundred bytes; core files have more, but nobody maps those.
const MAX_NOTE_BYTES: u64 = 16 << 20;

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

/// What tells one version of a file from the next, for the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileIdentity {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) mtime_ns: i128,
}

/// An ELF file.
pub(super) struct ElfImage {
    bytes: Bytes,
    pub(super) identity: FileIdentity,
    pub(super) build_id: Option<Vec<u8>>,
}

/// Why there is no image.
pub(super) enum OpenError {
    /// No regular file there.
    NotFound,
    /// There is one, but it is of no use.
    Unusable(ModuleError),
}

impl ElfImage {
    /// Maps the file at `path`, or copies the vDSO, and checks that it is an ELF file.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        if vdso::is_vdso(path) {
            let image = vdso::read_own().ok_or(OpenError::NotFound)?;
            let identity = FileIdentity { path: path.to_owned(), size: image.len() as u64, mtime_ns: 0 };
            return Self::identified(Bytes::Owned(image), identity);
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::NotFound,
            _ => OpenError::Unusable(ModuleError::Io { path: path.to_owned(), reason: error.to_string() }),
        };
        // Asked before opening, because opening a FIFO waits and opening a device may have effects.
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(OpenError::NotFound);
        }
        let file = File::open(path).map_err(failed)?;
        // SAFETY: read-only and private; a file cut short while we read would raise SIGBUS, as for every ELF reader.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let mtime_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let identity = FileIdentity { path: path.to_owned(), size: map.len() as u64, mtime_ns };
        Self::identified(Bytes::Mapped(map), identity)
    }

    fn identified(bytes: Bytes, identity: FileIdentity) -> Result<Self, OpenError> {
        let mut image = Self { bytes, identity, build_id: None };
        let build_id = match image.parse() {
            Ok(file) => read_build_id(&file),
            Err(error) => return Err(OpenError::Unusable(error)),
        };
        image.build_id = build_id;
        Ok(image)
    }

    /// The file's bytes.
    pub(super) fn data(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(vec) => vec,
        }
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.identity.path
    }

    /// Reads the headers. Costs microseconds.
    pub(super) fn parse(&self) -> Result<object::File<'_>, ModuleError> {
        let malformed = |reason: String| ModuleError::Elf { path: self.path().to_owned(), reason };
        let file = object::File::parse(self.data()).map_err(|error| malformed(error.to_string()))?;
        // `object` may have been built with support for other systems' formats.
        if file.format() != BinaryFormat::Elf {
            return Err(malformed("not an ELF file".to_owned()));
        }
        Ok(file)
    }

    /// True if the file has DWARF of its own (an empty section does not count).
    pub(super) fn has_debug_info(&self) -> bool {
        use object::ObjectSection;
        let Ok(file) = self.parse() else { return false };
        let section = file.section_by_name(".debug_info");
        // The size alone does not do: in a stripped copy the section may be left without contents.
        section.is_some_and(|section| section.file_range().is_some_and(|(_, size)| size > 0))
    }

    /// True if the file has a `.symtab` with entries.
    pub(super) fn has_symbol_table(&self) -> bool {
        self.parse().is_ok_and(|file| file.symbols().next().is_some())
    }
}

/// The build-id in the file's notes. A damaged note is as good as none: it must not match anything.
fn read_build_id(file: &object::File<'_>) -> Option<Vec<u8>> {
    let notes = match file {
        object::File::Elf32(file) => note_bytes(file),
        object::File::Elf64(file) => note_bytes(file),
        _ => return None,
    };
    if notes > MAX_NOTE_BYTES {
        return None;
    }
    file.build_id().ok().flatten().filter(|id| id.len() <= MAX_BUILD_ID).map(<[u8]>::to_vec)
}

/// Bytes that a search through all notes reads. Thousands of headers may name the same large range.
fn note_bytes<E: FileHeader>(file: &ElfFile<'_, E>) -> u64 {
    let endian = file.endian();
    let sections = file.elf_section_table().iter().filter(|section| section.sh_type(endian) == elf::SHT_NOTE);
    let segments = file.elf_program_headers().iter().filter(|segment| segment.p_type(endian) == elf::PT_NOTE);
    let sizes = sections.map(|section| section.sh_size(endian).into());
    sizes.chain(segments.map(|segment| segment.p_filesz(endian).into())).fold(0, u64::saturating_add)
}
