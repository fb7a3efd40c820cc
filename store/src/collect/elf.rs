//! Facts about an ELF file that decide whether its program can be recorded. Parsing only; [`inspect`](super::inspect())
//! draws the conclusions.

use object::elf::{EM_AARCH64, EM_X86_64, FileHeader32, FileHeader64, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, STT_GNU_IFUNC};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionTable, Sym};
use object::{Endianness, FileKind};

/// Symbols that are looked at; the largest browsers have about this many. Behind it an embedded allocator goes unnoticed.
const MAX_SYMBOLS: usize = 4 << 20;
/// Dynamic entries that are looked at.
const MAX_DYNAMIC: usize = 1 << 12;

/// What matters about one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// 32 or 64.
    pub(super) bits: u32,
    /// Built for another processor.
    pub(super) foreign: bool,
    /// It is the dynamic loader itself, run by name.
    pub(super) is_loader: bool,
    /// The loader that it asks for.
    pub(super) interpreter: Option<String>,
    /// Written by the Go linker.
    pub(super) go: bool,
    /// The sanitizer that it is built with.
    pub(super) sanitizer: Option<&'static str>,
    /// Its own `malloc` is visible to the loader.
    pub(super) exports_malloc: bool,
    /// An allocator that is linked into it.
    pub(super) allocator: Option<&'static str>,
}

/// Reads the facts; `None`: this is no ELF file that can be parsed.
pub(super) fn facts(data: &[u8]) -> Option<Facts> {
    match FileKind::parse(data).ok()? {
        FileKind::Elf64 => read(FileHeader64::<Endianness>::parse(data).ok()?, 64, data),
        FileKind::Elf32 => read(FileHeader32::<Endianness>::parse(data).ok()?, 32, data),
        _ => None,
    }
}

fn read<H: FileHeader<Endian = Endianness>>(header: &H, bits: u32, data: &[u8]) -> Option<Facts> {
    let endian = header.endian().ok()?;
    let own = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };
    let mut facts = Facts { bits, foreign: bits == 64 && header.e_machine(endian) != own, ..Facts::default() };
    for segment in header.program_headers(endian, data).ok()? {
        if let Ok(Some(path)) = segment.interpreter(endian, data) {
            facts.interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let sections = header.sections(endian, data).ok()?;
    facts.go = sections.enumerate().any(|(_, section)| {
        matches!(sections.section_name(endian, section), Ok(b".note.go.buildid" | b".go.buildinfo"))
    });
    read_dynamic(&mut facts, &sections, endian, data);
    read_symbols(&mut facts, &sections, endian, data);
    Some(facts)
}

fn read_dynamic<H: FileHeader<Endian = Endianness>>(
    facts: &mut Facts,
    sections: &SectionTable<'_, H>,
    endian: Endianness,
    data: &[u8],
) {
    let Ok(Some((entries, link))) = sections.dynamic(endian, data) else { return };
    let Ok(strings) = sections.strings(endian, data, link) else { return };
    for entry in entries.iter().take(MAX_DYNAMIC) {
        let tag = entry.tag(endian);
        if tag == object::elf::DT_NEEDED {
            let name = entry.string(endian, strings).unwrap_or_default();
            facts.sanitizer = facts.sanitizer.or_else(|| sanitizer_library(name));
        } else if tag == object::elf::DT_SONAME {
            let name = entry.string(endian, strings).unwrap_or_default();
            facts.is_loader |= name.starts_with(b"ld-linux") || name.starts_with(b"ld64");
        }
    }
}

fn read_symbols<H: FileHeader<Endian = Endianness>>(
    facts: &mut Facts,
    sections: &SectionTable<'_, H>,
    endian: Endianness,
    data: &[u8],
) {
    for kind in [SHT_DYNSYM, SHT_SYMTAB] {
        let Ok(symbols) = sections.symbols(endian, data, kind) else { continue };
        for symbol in symbols.iter().take(MAX_SYMBOLS) {
            let is_function = matches!(symbol.st_type(), STT_FUNC | STT_GNU_IFUNC);
            if !is_function && !symbol.is_undefined(endian) {
                continue;
            }
            let Ok(name) = symbols.symbol_name(endian, symbol) else { continue };
            facts.sanitizer = facts.sanitizer.or_else(|| sanitizer_symbol(name));
            if is_function && !symbol.is_undefined(endian) {
                facts.exports_malloc |= kind == SHT_DYNSYM && name == b"malloc";
                facts.allocator = facts.allocator.or_else(|| allocator(name));
            }
        }
    }
}

fn sanitizer_library(name: &[u8]) -> Option<&'static str> {
    let known = [
        ("libasan.", "AddressSanitizer"),
        ("libhwasan.", "HWAddressSanitizer"),
        ("libtsan.", "ThreadSanitizer"),
        ("liblsan.", "LeakSanitizer"),
        ("libclang_rt.asan", "AddressSanitizer"),
        ("libclang_rt.hwasan", "HWAddressSanitizer"),
        ("libclang_rt.tsan", "ThreadSanitizer"),
    ];
    known.iter().find(|(prefix, _)| name.starts_with(prefix.as_bytes())).map(|&(_, sanitizer)| sanitizer)
}

fn sanitizer_symbol(name: &[u8]) -> Option<&'static str> {
    match name {
        b"__asan_init" => Some("AddressSanitizer"),
        b"__hwasan_init" => Some("HWAddressSanitizer"),
        b"__tsan_init" => Some("ThreadSanitizer"),
        b"__msan_init" => Some("MemorySanitizer"),
        b"__lsan_init" => Some("LeakSanitizer"),
        _ => None,
    }
}

/// The allocator that has a function of this name.
fn allocator(name: &[u8]) -> Option<&'static str> {
    match name {
        b"_rjem_malloc" | b"_rjem_mallocx" | b"je_malloc" | b"je_mallocx" | b"mallocx" => Some("jemalloc"),
        b"mi_malloc" | b"mi_malloc_aligned" | b"mi_heap_malloc" => Some("mimalloc"),
        b"tc_malloc" | b"TCMallocInternalMalloc" => Some("tcmalloc"),
        b"rpmalloc" => Some("rpmalloc"),
        b"sn_malloc" | b"sn_rust_alloc" => Some("snmalloc"),
        b"GC_malloc" => Some("the Boehm collector"),
        _ if name.starts_with(b"_ZN15partition_alloc") => Some("PartitionAlloc"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_executable_is_ordinary() {
        let facts = facts(&std::fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert_eq!((facts.bits, facts.foreign, facts.go, facts.sanitizer), (64, false, false, None));
        assert!(facts.interpreter.unwrap().contains("ld-"));
        assert!(!facts.exports_malloc);
    }

    #[test]
    fn names_tell_allocators_and_sanitizers() {
        assert_eq!(allocator(b"_rjem_malloc"), Some("jemalloc"));
        assert_eq!(allocator(b"_ZN15partition_alloc13PartitionRoot5AllocEv"), Some("PartitionAlloc"));
        // All that Rust's crate keeps of it.
        assert_eq!(allocator(b"mi_malloc_aligned"), Some("mimalloc"));
        assert_eq!(allocator(b"malloc"), None);
        assert_eq!(sanitizer_library(b"libasan.so.8"), Some("AddressSanitizer"));
        assert_eq!(sanitizer_library(b"libc.so.6"), None);
    }

    #[test]
    fn no_mutation_of_an_executable_panics() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut bytes = own[..own.len().min(1 << 16)].to_vec();
        let mut state = 1u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (state >> 33) as usize % 1024;
            bytes[at] ^= (state >> 25) as u8;
            let _ = facts(&bytes);
        }
    }
}
