//! Functions, inlining, files and lines, against binutils and against what we know of ourselves.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{ModuleStatus, SymbolFrame};
use super::{Workshop, function, names, resolve, run};

/// (function, file name, line) of each frame by address, from `addr2line`.
fn expected(path: &Path, addresses: &[u64], demangle: bool) -> BTreeMap<u64, Vec<(String, String, u32)>> {
    let path = path.to_str().expect("temporary paths are text");
    let addresses: Vec<_> = addresses.iter().map(|address| format!("{address:#x}")).collect();
    let mut arguments = vec!["-a", "-i", "-f", "-e", path];
    arguments.extend(demangle.then_some("-C"));
    arguments.extend(addresses.iter().map(String::as_str));
    let output = run("addr2line", &arguments);
    let mut found: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    let (mut current, mut lines) = (0, output.lines());
    while let Some(line) = lines.next() {
        if let Some(address) = line.strip_prefix("0x").filter(|rest| rest.len() == 16) {
            current = u64::from_str_radix(address, 16).expect("hexadecimal");
            continue;
        }
        let place = lines.next().expect("a place follows each name");
        let place = place.split(" (discriminator").next().unwrap_or(place);
        let (file, number) = place.rsplit_once(':').expect("file and line");
        let file = file.rsplit('/').next().unwrap_or(file).to_owned();
        found.entry(current).or_default().push((line.to_owned(), file, number.parse().unwrap_or(0)));
    }
    found
}

fn simplified(frames: &[SymbolFrame]) -> Vec<(String, String, u32)> {
    let simplify = |frame: &SymbolFrame| {
        let file = frame.file.as_deref().unwrap_or("??");
        let file = file.rsplit('/').next().unwrap_or(file);
        (frame.function.as_deref().unwrap_or("??").to_owned(), file.to_owned(), frame.line.unwrap_or(0))
    };
    frames.iter().map(simplify).collect()
}

#[test]
fn inlined_functions_are_those_of_addr2line() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let shop = Workshop::new();
        let path = shop.program("program", &[version]);
        let mut addresses = Vec::new();
        for name in ["local_function", "exported_function", "main"] {
            let (start, size) = function(&path, name);
            addresses.extend(start..start + size);
        }
        let found = resolve(&path, &addresses);
        assert_eq!(found.modules[0].status, ModuleStatus::Dwarf);
        assert_eq!(found.modules[0].problems, []);
        let expected = expected(&path, &addresses, false);
        for (address, frames) in addresses.iter().zip(found.symbols.iter()) {
            assert_eq!(simplified(frames), expected[address], "{version} {address:#x}");
            let (physical, inlined) = frames.split_last().expect("every address of a function is known");
            assert!(!physical.is_inline && inlined.iter().all(|frame| frame.is_inline), "{address:#x}");
        }
        let depth = found.symbols.iter().map(<[SymbolFrame]>::len).max();
        assert_eq!(depth, Some(3), "deepest, middle and local_function");
    }
}

#[test]
fn files_are_absolute_and_tidy() {
    let shop = Workshop::new();
    std::fs::create_dir(shop.path("include")).expect("created");
    std::fs::create_dir(shop.path("sub")).expect("created");
    let header = "static inline int twice(int n) { extern int sink; sink = n; return n * 2; }\n";
    std::fs::write(shop.path("include/twice.h"), header).expect("written");
    let source =
        "#include \"../include/./twice.h\"\nint sink;\nint main(int c, char **v) { (void)v; return twice(c); }\n";
    std::fs::write(shop.path("sub/m.c"), source).expect("written");
    let command = format!("cd {} && cc -g -O2 sub/../sub/m.c -o m", shop.text("."));
    run("sh", &["-c", &command]);
    let (start, size) = function(&shop.path("m"), "main");
    let addresses: Vec<_> = (start..start + size).collect();
    let found = resolve(&shop.path("m"), &addresses);
    let real = shop.dir.path().canonicalize().expect("real path");
    let mut files: Vec<_> = found.symbols.iter().flatten().filter_map(|frame| frame.file.clone()).collect();
    files.sort();
    files.dedup();
    let expected = ["include/twice.h", "sub/m.c"].map(|name| real.join(name).to_string_lossy().into_owned());
    assert_eq!(files.iter().map(|file| &**file).collect::<Vec<_>>(), expected);
}

/// `name` up to the first parenthesis that is not inside template arguments.
fn without_parameters(name: &str) -> &str {
    let mut depth = 0i32;
    let end = name.char_indices().find(|&(_, character)| {
        depth += i32::from(character == '<') - i32::from(character == '>');
        character == '(' && depth == 0
    });
    end.map_or(name, |(index, _)| &name[..index])
}

#[test]
fn cpp_templates_are_demangled() {
    let source = "\
        #include <map>\n#include <string>\n\
        namespace app { template <class T> struct Stack { T item; __attribute__((noinline)) T &push(T value) { item = value; return item; } }; }\n\
        template <class F> __attribute__((noinline)) int apply(F f) { return f(3); }\n\
        static int sink;\n\
        int main(int c, char **) {\n\
            app::Stack<int> a; app::Stack<std::string> b; a.push(c); b.push(\"x\");\n\
            std::map<std::string, int> m; m[\"a\"] = c;\n\
            auto twice = [&](int n) __attribute__((noinline)) { sink += n; return n * c; };\n\
            return apply(twice) + m.size();\n}\n";
    let shop = Workshop::new();
    let path = shop.compile("t.cc", source, "t", &["-g", "-O1"]);
    let wanted = [
        ("_ZN3app5StackIiE4pushEi", "app::Stack<int>::push(int)"),
        ("_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()(int) const"),
        ("_Z5applyIZ4mainEUliE_EiT_", "apply<main::{lambda(int)#1}>(main::{lambda(int)#1})"),
    ];
    for (symbol, name) in wanted {
        let (start, _) = function(&path, symbol);
        let found = resolve(&path, &[start]);
        let frame = found.symbols.get(0).last().expect("found");
        assert_eq!((frame.function.as_deref(), frame.raw_symbol.as_deref()), (Some(name), Some(symbol)));
    }
    // Every function of the program, against c++filt, up to the parameters: cpp_demangle 0.5 leaves out the first one
    // of constructor templates and the `&&` of parameter packs.
    for (symbol, start, _) in super::functions(&path) {
        if symbol.starts_with("_Z") {
            let expected = run("c++filt", &[&symbol]);
            let found = resolve(&path, &[start]);
            let frame = found.symbols.get(0).last().expect("found");
            let name = frame.function.as_deref().expect("named");
            assert!(expected.contains(without_parameters(name)), "{symbol}: {name}\n{expected}");
        }
    }
}

#[test]
fn split_off_parts_keep_their_suffix_in_the_raw_symbol() {
    let source = "\
        #include <stdlib.h>\n#include <stdio.h>\nint sink;\n\
        __attribute__((cold, noinline)) void fail(int n) { sink = n; }\n\
        __attribute__((noinline)) int risky(int n) { if (n == 7) { fail(n); printf(\"%d\", n); abort(); } return n + sink; }\n\
        int main(int c, char **v) { (void)v; return risky(c); }\n";
    let shop = Workshop::new();
    for debug in ["-g", "-g0"] {
        let path = shop.compile("c.c", source, "c", &["-O2", debug]);
        let (start, _) = function(&path, "risky.cold");
        let found = resolve(&path, &[start]);
        let frame = found.symbols.get(0).last().expect("found");
        assert_eq!(frame.function.as_deref(), Some("risky"), "{debug}");
        assert_eq!(frame.raw_symbol.as_deref(), Some("risky.cold"), "{debug}");
    }
}

/// A function of this test program, to be found in this test program.
#[inline(never)]
fn marked_function() -> (usize, u32) {
    let marker: fn() -> (usize, u32) = marked_function;
    (std::hint::black_box(marker as usize), line!())
}

#[test]
fn this_rust_program_finds_itself() {
    let (address, line) = marked_function();
    let executable = std::env::current_exe().expect("known");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("readable");
    let first = maps.lines().find(|line| line.ends_with(executable.to_str().expect("text"))).expect("mapped");
    let base = u64::from_str_radix(first.split('-').next().expect("range"), 16).expect("hexadecimal");
    let found = resolve(&executable, &[address as u64 - base]);
    assert_eq!(found.modules[0].status, ModuleStatus::Dwarf);
    let frame = found.symbols.get(0).last().expect("found");
    let name = frame.function.as_deref().expect("named");
    assert!(name.ends_with("tests::dwarf::marked_function"), "{name}");
    let raw = frame.raw_symbol.as_deref().expect("a symbol");
    assert!(raw.starts_with("_R") || raw.contains("17h"), "{raw}");
    let file = frame.file.as_deref().expect("a file");
    assert!(file.starts_with('/') && file.ends_with("tests/dwarf.rs"), "{file}");
    assert!(frame.line.is_some_and(|found| found.abs_diff(line) <= 3), "{:?} {line}", frame.line);
}

#[test]
fn functions_without_debug_information_come_from_the_symbol_table() {
    let shop = Workshop::new();
    let assembly = "\
        .text\n.globl with_size\n.type with_size,@function\nwith_size: ret\nnop\n.size with_size,.-with_size\n.skip 16\n\
        .globl no_size\n.type no_size,@function\nno_size: nop\nnop\nnop\nret\n.globl after\nafter: ret\n.section .note.GNU-stack,\"\"\n";
    std::fs::write(shop.path("a.s"), assembly).expect("written");
    // Separately, because with -g even assembly gets debug information.
    run("cc", &["-c", "-o", &shop.text("a.o"), &shop.text("a.s")]);
    let path = shop.program("program", &[&shop.text("a.o")]);
    let listing = run("nm", &[&shop.text("program")]);
    let start = |name: &str| {
        let line = listing.lines().find(|line| line.ends_with(&format!(" {name}"))).expect("listed");
        u64::from_str_radix(line.split(' ').next().expect("address"), 16).expect("hexadecimal")
    };
    let (sized, unsized_, after) = (start("with_size"), start("no_size"), start("after"));
    let found = resolve(&path, &[sized, sized + 1, sized + 2, sized + 10, unsized_, unsized_ + 3, after, u64::MAX, 0]);
    let named: Vec<_> = found.symbols.iter().map(names).collect();
    let expected: [&[&str]; 9] =
        [&["with_size"], &["with_size"], &[], &[], &["no_size"], &["no_size"], &["after"], &[], &[]];
    assert_eq!(named, expected);
}
