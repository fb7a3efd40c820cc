//! Files that are damaged or made to hurt: they cost little and take nothing else down.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use object::read::CompressedData;
use object::{CompressionFormat, Object, ObjectSection};

use super::super::{ModuleError, ModuleRef, ModuleStatus, Options, elf, frames, sections, symtab};
use super::{Workshop, bare_options, functions, names, resolve, resolve_with, run};

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Longest that one small damaged file may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn survives(path: &Path, offsets: &[u64], what: &str) {
    let start = Instant::now();
    let found = resolve(path, offsets);
    assert_eq!(found.symbols.len(), offsets.len(), "{what}");
    assert_eq!(found.modules.len(), 1, "{what}");
    assert!(start.elapsed() < PATIENCE, "{what}: {:?}", start.elapsed());
}

fn sample_offsets(path: &Path) -> Vec<u64> {
    let of = |(_, start, size): (String, u64, u64)| [start, start + size / 2, start + size];
    functions(path).into_iter().flat_map(of).chain([0, u64::MAX, 1 << 40]).collect()
}

#[test]
fn random_damage_never_panics() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for flags in [&["-gdwarf-5"][..], &["-gdwarf-4", "-gz=zlib"]] {
        let shop = Workshop::new();
        let whole = shop.program("program", flags);
        let offsets = sample_offsets(&whole);
        let good = fs::read(&whole).expect("readable");
        for round in 0..200 {
            let mut bad = good.clone();
            for _ in 0..=random.below(24) {
                let position = random.below(bad.len());
                bad[position] = random.below(256) as u8;
            }
            fs::write(shop.path("bad"), &bad).expect("written");
            survives(&shop.path("bad"), &offsets, &format!("{flags:?} round {round}"));
        }
    }
}

#[test]
fn damaged_debug_information_never_panics() {
    let mut random = Random(42);
    let shop = Workshop::new();
    let whole = shop.program("program", &[]);
    let offsets = sample_offsets(&whole);
    let good = fs::read(&whole).expect("readable");
    let file = object::File::parse(&*good).expect("ELF");
    let ranges: Vec<_> = file
        .sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_") || name.ends_with("tab")))
        .filter_map(|section| section.file_range())
        .collect();
    for round in 0..400 {
        let mut bad = good.clone();
        for _ in 0..=random.below(4) {
            let (start, size) = ranges[random.below(ranges.len())];
            bad[start as usize + random.below(size as usize)] = random.below(256) as u8;
        }
        fs::write(shop.path("bad"), &bad).expect("written");
        survives(&shop.path("bad"), &offsets, &format!("round {round}"));
    }
}

#[test]
fn every_truncation_is_survived() {
    let shop = Workshop::new();
    let whole = shop.program("program", &[]);
    let offsets = sample_offsets(&whole);
    let good = fs::read(&whole).expect("readable");
    for length in (0..good.len()).step_by(good.len() / 150) {
        fs::write(shop.path("bad"), &good[..length]).expect("written");
        survives(&shop.path("bad"), &offsets, &format!("{length} bytes"));
    }
}

#[test]
fn garbage_debug_files_do_not_spoil_the_symbol_table() {
    let shop = Workshop::new();
    let path = shop.program("program", &["-g0", "-Wl,--build-id"]);
    let (start, _) = super::function(&path, "main");
    let hex: String = super::build_id(&path).iter().map(|byte| format!("{byte:02x}")).collect();
    let place = shop.path(&format!(".build-id/{}/{}.debug", &hex[..2], &hex[2..]));
    fs::create_dir_all(place.parent().expect("a parent")).expect("created");
    fs::write(&place, "not an ELF file").expect("written");
    let options = Options { debug_dirs: vec![shop.dir.path().to_owned()], ..bare_options() };
    let found = resolve_with(ModuleRef { path, build_id: None }, &[start], &options);
    assert_eq!(names(found.symbols.get(0)), ["main"]);
    assert_eq!(found.modules[0].status, ModuleStatus::SymbolTable);
    assert!(matches!(found.modules[0].problems[..], [ModuleError::Elf { .. }]), "{:?}", found.modules);
}

/// One function `f` of 16 bytes, with hand-made DWARF 4: `body` follows the compilation unit's entry.
fn handmade(shop: &Workshop, body: &str, more: &str) -> (std::path::PathBuf, u64) {
    let assembly = format!(
        ".text\n.globl f\n.type f,@function\nf: .skip 16,0x90\n.size f,16\n\
        .section .debug_abbrev,\"\",@progbits\n\
        .byte 1,0x11,1, 0x11,1, 0x12,7, 0,0\n\
        .byte 2,0x2e,1, 0x03,8, 0x11,1, 0x12,7, 0,0\n\
        .byte 3,0x1d,1, 0,0\n\
        .byte 4,0x2e,0, 0x55,0x17, 0,0\n.byte 0\n\
        .section .debug_info,\"\",@progbits\n\
        .long 2f-1f\n1: .short 4\n.long 0\n.byte 8\n.byte 1\n.quad f\n.quad 16\n{body}\n.byte 0\n2:\n{more}\n\
        .section .note.GNU-stack,\"\",@progbits\n"
    );
    fs::write(shop.path("f.s"), assembly).expect("written");
    run("cc", &["-static", "-nostdlib", "-Wl,-e,f", "-o", &shop.text("f"), &shop.text("f.s")]);
    (shop.path("f"), super::function(&shop.path("f"), "f").0)
}

#[test]
fn nesting_is_limited_by_the_stack_not_by_luck() {
    let nested =
        |depth: u32| format!(".byte 2\n.asciz \"f\"\n.quad f\n.quad 16\n.fill {depth},1,3\n.fill {depth},1,0\n.byte 0");
    let shop = Workshop::new();
    let (path, f) = handmade(&shop, &nested(200), "");
    let found = resolve(&path, &[f]);
    assert_eq!((names(found.symbols.get(0)), &found.modules[0].problems[..]), (vec!["f"], &[][..]));
    assert_eq!(found.modules[0].status, ModuleStatus::Dwarf);
    let (path, f) = handmade(&shop, &nested(3_000_000), "");
    let found = resolve(&path, &[f, f + 1]);
    let limit = ModuleError::Limit { path: path.clone(), limit: "nesting limit" };
    assert_eq!(found.modules[0].problems, [limit]);
    assert_eq!(found.modules[0].malformed, 2);
    assert_eq!(names(found.symbols.get(0)), ["f"], "from the symbol table");
}

#[test]
fn shared_range_lists_cannot_multiply() {
    // 100,000 functions, each with the same list of 100,000 ranges: 240 GB in memory, from 2 MB of file.
    let functions = ".rept 100000\n.byte 4\n.long 0\n.endr";
    let ranges = ".section .debug_ranges,\"\",@progbits\n.rept 100000\n.quad 1,2\n.endr\n.quad 0,0\n";
    let shop = Workshop::new();
    let (path, f) = handmade(&shop, functions, ranges);
    let start = Instant::now();
    let found = resolve(&path, &[f]);
    let limit = ModuleError::Limit { path: path.clone(), limit: "read limit" };
    assert_eq!(found.modules[0].problems, [limit]);
    assert_eq!(names(found.symbols.get(0)), ["f"]);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn compression_bombs_are_not_inflated() {
    let zlib_of_nothing = [0x78, 0x9c, 0x03, 0, 0, 0, 0, 1];
    // A zstd frame of one 128 KiB run-length block after another, which declares 1,000 bytes.
    let block = [0x02, 0, 0x10, b'x'];
    let bomb = [&[0x28, 0xB5, 0x2F, 0xFD, 0x20, 0xFF][..], &block.repeat(10_000), &[0x01, 0, 0]].concat();
    for (format, data, uncompressed_size) in [
        (CompressionFormat::Zlib, &zlib_of_nothing[..], 1 << 40),
        (CompressionFormat::Zlib, &zlib_of_nothing[..], (8 << 30) + 1),
        (CompressionFormat::Zlib, &zlib_of_nothing[..], 1000),
        (CompressionFormat::Zstandard, &bomb[..], 1000),
        (CompressionFormat::Zstandard, &bomb[..], 1 << 33),
        (CompressionFormat::Zstandard, b"garbage", 10),
    ] {
        let data = CompressedData { format, data, uncompressed_size };
        assert!(sections::load_one(&[], data, &mut (8 << 30)).is_err(), "{format:?} {uncompressed_size}");
    }
}

#[test]
fn after_the_time_limit_symbols_stay_raw() {
    let shop = Workshop::new();
    let path =
        shop.compile("t.cc", "int twice(int n) { return n * 2; }\nint main() { return twice(1); }\n", "t", &["-g0"]);
    let (start, _) = super::function(&path, "_Z5twicei");
    let image = elf::ElfImage::open(&path).ok().expect("an ELF file");
    let table = symtab::SymbolTable::build(&image);
    for (time, name) in [(Duration::from_secs(60), "twice(int)"), (Duration::ZERO, "_Z5twicei")] {
        let mut resolver = frames::Resolver::new(None, Some((&table, &image)), time);
        let mut found = Vec::new();
        resolver.resolve(start, &mut found);
        assert_eq!((names(&found), resolver.overdue), (vec![name], time.is_zero()));
    }
}
