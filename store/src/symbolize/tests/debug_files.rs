//! Separate debug files, compressed sections, symbol tables of every kind, and files that must be refused.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{ModuleError, ModuleRef, ModuleStatus, Options, Symbolized};
use super::{Workshop, bare_options, build_id, function, functions, names, optional, resolve, resolve_with, run};

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// Every address of the function with inlined ones.
fn addresses(path: &Path) -> Vec<u64> {
    let (start, size) = function(path, "local_function");
    (start..start + size).collect()
}

/// A stripped copy of `whole`, and its debug file.
fn split(shop: &Workshop, whole: &Path) -> (PathBuf, PathBuf) {
    let (stripped, debug) = (shop.path("stripped"), shop.path("program.debug"));
    run("objcopy", &["--only-keep-debug", text(whole), text(&debug)]);
    run("objcopy", &["--strip-all", text(whole), text(&stripped)]);
    (stripped, debug)
}

fn in_place(path: &Path) -> ModuleRef {
    ModuleRef { path: path.to_owned(), build_id: None }
}

fn assert_same(found: &Symbolized, expected: &Symbolized) {
    assert_eq!(found.modules[0].status, ModuleStatus::Dwarf, "{:?}", found.modules);
    assert!(found.symbols.iter().eq(expected.symbols.iter()), "{:?}\n{:?}", found.symbols, expected.symbols);
}

#[test]
fn debug_links_are_followed_and_checked() {
    for build_id_flag in ["-Wl,--build-id", "-Wl,--build-id=none"] {
        let shop = Workshop::new();
        let whole = shop.program("program", &[build_id_flag]);
        let offsets = addresses(&whole);
        let expected = resolve(&whole, &offsets);
        let (stripped, debug) = split(&shop, &whole);
        run("objcopy", &[&format!("--add-gnu-debuglink={}", text(&debug)), text(&stripped)]);
        let found = resolve(&stripped, &offsets);
        assert_same(&found, &expected);
        assert_eq!(found.modules[0].debug_file, Some(debug.canonicalize().expect("there")));

        let hidden = shop.path(".debug");
        fs::create_dir(&hidden).expect("created");
        fs::rename(&debug, hidden.join("program.debug")).expect("moved");
        assert_same(&resolve(&stripped, &offsets), &expected);

        let root = Workshop::new();
        let dir = shop.dir.path().canonicalize().expect("there");
        let below = root.dir.path().join(dir.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(&below).expect("created");
        fs::rename(hidden.join("program.debug"), below.join("program.debug")).expect("moved");
        let options = Options { debug_dirs: vec![root.dir.path().to_owned()], ..bare_options() };
        assert_same(&resolve_with(in_place(&stripped), &offsets, &options), &expected);

        // Another program's debug file under the right name.
        let other = shop.compile("other.c", "int main(void) { return 3; }\n", "other", &["-g", build_id_flag]);
        fs::copy(&other, below.join("program.debug")).expect("copied");
        let refused = resolve_with(in_place(&stripped), &offsets, &options);
        assert_ne!(refused.modules[0].status, ModuleStatus::Dwarf);
        assert!(
            matches!(refused.modules[0].problems[..], [ModuleError::DebugFileMismatch { .. }]),
            "{:?}",
            refused.modules
        );
    }
}

#[test]
fn build_id_directories_serve_even_missing_files() {
    let shop = Workshop::new();
    let whole = shop.program("program", &["-Wl,--build-id"]);
    let offsets = addresses(&whole);
    let expected = resolve(&whole, &offsets);
    let id = build_id(&whole);
    let (stripped, debug) = split(&shop, &whole);
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let place = shop.path(&format!("root/.build-id/{}/{}.debug", &hex[..2], &hex[2..]));
    fs::create_dir_all(place.parent().expect("a parent")).expect("created");
    fs::rename(&debug, &place).expect("moved");
    let options = Options { debug_dirs: vec![shop.path("nowhere"), shop.path("root")], ..bare_options() };
    let exact = |path: &Path| ModuleRef { path: path.to_owned(), build_id: Some(id.clone()) };
    assert_same(&resolve_with(exact(&stripped), &offsets, &options), &expected);
    assert_same(&resolve_with(in_place(&stripped), &offsets, &options), &expected);
    // The program was upgraded or removed, but its debug file is still there.
    let gone = resolve_with(exact(&shop.path("gone (deleted)")), &offsets, &options);
    assert_same(&gone, &expected);
    assert_eq!(gone.modules[0].debug_file, Some(place.clone()));
    // A file that lies about its name.
    let other = shop.compile("other.c", "int main(void) { return 3; }\n", "other", &["-g"]);
    fs::copy(&other, &place).expect("copied");
    let refused = resolve_with(exact(&stripped), &offsets, &options);
    assert!(
        matches!(refused.modules[0].problems[..], [ModuleError::DebugFileMismatch { .. }]),
        "{:?}",
        refused.modules
    );
}

#[test]
fn another_build_is_never_used() {
    let shop = Workshop::new();
    let path = shop.program("program", &["-Wl,--build-id"]);
    let (start, _) = function(&path, "main");
    let id = build_id(&path);
    let with = |build_id: Vec<u8>| ModuleRef { path: path.clone(), build_id: Some(build_id) };
    assert_eq!(resolve_with(with(id.clone()), &[start], &bare_options()).modules[0].status, ModuleStatus::Dwarf);
    let refused = resolve_with(with(vec![7; 20]), &[start], &bare_options());
    assert_eq!(refused.modules[0].status, ModuleStatus::BuildIdMismatch { found: Some(id) });
    assert_eq!(refused.symbols.get(0), []);
    let anonymous = shop.program("anonymous", &["-Wl,--build-id=none"]);
    let module = ModuleRef { path: anonymous, build_id: Some(vec![7; 20]) };
    let refused = resolve_with(module, &[start], &bare_options());
    assert_eq!(refused.modules[0].status, ModuleStatus::BuildIdMismatch { found: None });
}

#[test]
fn compressed_sections_are_read() {
    let shop = Workshop::new();
    let whole = shop.program("program", &[]);
    let offsets = addresses(&whole);
    let expected = resolve(&whole, &offsets);
    for format in ["zlib", "zlib-gnu"] {
        let path = shop.program("compressed", &[&format!("-gz={format}")]);
        assert_same(&resolve(&path, &offsets), &expected);
    }
    let supported = run("objcopy", &["--help"]).contains("zstd");
    if optional("objcopy with zstd", supported) {
        let path = shop.path("zstd");
        run("objcopy", &["--compress-debug-sections=zstd", text(&whole), text(&path)]);
        assert!(run("readelf", &["-tW", text(&path)]).contains("ZSTD"), "nothing was compressed");
        assert_same(&resolve(&path, &offsets), &expected);
    }
}

#[test]
fn dwz_supplementary_files_are_joined() {
    if !optional("dwz", std::process::Command::new("dwz").arg("--version").output().is_ok()) {
        return;
    }
    let shop = Workshop::new();
    // dwz moves out what two programs share: the names of these types and functions.
    let a = shop.program("a", &["-Wl,--build-id", "-gdwarf-4"]);
    let b = shop.program("b", &["-Wl,--build-id", "-gdwarf-4", "-O1"]);
    let offsets = addresses(&a);
    let expected = resolve(&a, &offsets);
    run("dwz", &["-m", &shop.text("common"), text(&a), text(&b)]);
    assert!(run("readelf", &["-SW", text(&a)]).contains("gnu_debugaltlink"), "dwz shared nothing");
    assert_same(&resolve(&a, &offsets), &expected);
    fs::remove_file(shop.path("common")).expect("removed");
    let without = resolve(&a, &offsets);
    assert!(
        matches!(without.modules[0].problems[..], [ModuleError::SupplementaryMissing { .. }]),
        "{:?}",
        without.modules
    );
    let physical = without.symbols.get(0).last().expect("found");
    assert_eq!(physical.raw_symbol.as_deref(), Some("local_function"), "the symbol table still knows");
}

#[test]
fn symbol_tables_alone_give_names() {
    let shop = Workshop::new();
    let path = shop.program("program", &["-g0"]);
    let all = functions(&path);
    let starts: Vec<_> = all.iter().map(|&(_, start, _)| start).collect();
    let found = resolve(&path, &starts);
    assert_eq!(found.modules[0].status, ModuleStatus::SymbolTable);
    for ((name, _, _), frames) in all.iter().zip(found.symbols.iter()) {
        assert_eq!(frames[0].raw_symbol.as_deref(), Some(name.as_str()));
        assert_eq!((frames.len(), &frames[0].file, frames[0].line, frames[0].is_inline), (1, &None, None, false));
    }
}

#[test]
fn dynamic_symbols_name_exported_functions_only() {
    let shop = Workshop::new();
    let whole = shop.program("lib.so", &["-shared", "-fPIC"]);
    let (local, _) = function(&whole, "local_function");
    let (exported, size) = function(&whole, "exported_function");
    let stripped = shop.path("stripped.so");
    run("strip", &["-s", "-o", text(&stripped), text(&whole)]);
    let found = resolve(&stripped, &[local, exported, exported + size - 1, exported + size]);
    assert_eq!(found.modules[0].status, ModuleStatus::DynamicSymbols);
    assert_eq!(names(found.symbols.get(0)), [""; 0], "a static function is not its exported neighbour");
    assert_eq!(names(found.symbols.get(1)), ["exported_function"]);
    assert_eq!(names(found.symbols.get(2)), ["exported_function"]);
    assert!(!names(found.symbols.get(3)).contains(&"exported_function"));
    assert_eq!((found.modules[0].requested, found.modules[0].problems.len()), (4, 0));
}

#[test]
fn what_is_not_a_file_is_not_found() {
    let shop = Workshop::new();
    run("mkfifo", &[&shop.text("fifo")]);
    fs::write(shop.path("x (deleted)"), "not looked at").expect("written");
    let missing = ["gone", "x (deleted)", ".", "fifo", "gone/below"].map(|name| shop.path(name));
    let odd = ["[heap]", "", "/dev/zero", "/proc/self/mem/x", "//anon"].map(PathBuf::from);
    for path in missing.iter().chain(&odd) {
        assert_eq!(resolve(path, &[1]).modules[0].status, ModuleStatus::NotFound, "{}", path.display());
    }
    for (name, content) in [("empty", &b""[..]), ("text", b"#!/bin/sh\n"), ("magic", b"\x7fELF\x02\x01\x01")] {
        fs::write(shop.path(name), content).expect("written");
        let status = resolve(&shop.path(name), &[1]).modules[0].status.clone();
        assert!(matches!(status, ModuleStatus::Unreadable(_)), "{name}: {status:?}");
    }
}

#[test]
fn separate_debug_files_are_remembered_from_a_smaller_size_on() {
    let shop = Workshop::new();
    let whole = shop.program("program", &["-Wl,--build-id"]);
    let offsets = addresses(&whole);
    let expected = resolve(&whole, &offsets);
    let (stripped, debug) = split(&shop, &whole);
    run("objcopy", &[&format!("--add-gnu-debuglink={}", text(&debug)), text(&stripped)]);
    let options = Options { cache_dir: Some(shop.path("cache")), ..bare_options() };
    let look_up = || {
        let found = resolve_with(in_place(&stripped), &offsets, &options);
        assert_same(&found, &expected);
        found.modules[0].cached
    };
    assert_eq!([look_up(), look_up()], [0, 0]);
    fs::write(shop.path("pad"), vec![0; 2 << 20]).expect("written");
    run("objcopy", &[&format!("--add-section=pad={}", text(&shop.path("pad"))), text(&debug)]);
    // The debug link has the checksum of the file as it was.
    run("objcopy", &["--remove-section=.gnu_debuglink", text(&stripped)]);
    run("objcopy", &[&format!("--add-gnu-debuglink={}", text(&debug)), text(&stripped)]);
    assert_eq!([look_up(), look_up()], [0, offsets.len()]);
}
