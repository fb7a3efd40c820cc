//! Whole-module tests: small programs are compiled here and now, so that expectations follow the installed tools.
//!
//! A tool that is missing fails the test. Tools that few machines have (dwz, an objcopy with zstd) may be waived by
//! setting `TMQ_WAIVE_OPTIONAL_TOOLS`; the test then says so on standard error.

mod debug_files;
mod dwarf;
mod hostile;
mod interface;
mod spelling;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ModuleRef, Options, SymbolFrame, SymbolRequest, Symbolized, symbolize};

/// Functions inlined into each other, a static function, and something to call.
const C_SOURCE: &str = "\
#include <stdlib.h>
int sink;
static inline __attribute__((always_inline)) void *deepest(int n) {
    sink += n * 3;
    return malloc(n);
}
static inline __attribute__((always_inline)) void *middle(int n) {
    sink ^= n;
    return deepest(n + 1);
}
static __attribute__((noinline)) void *local_function(int n) {
    void *p = middle(n);
    sink++;
    return p;
}
__attribute__((noinline)) void *exported_function(int n) {
    void *p = local_function(n + 2);
    sink += 5;
    return p;
}
int main(int argc, char **argv) {
    (void)argv;
    free(exported_function(argc));
    return sink == 0;
}
";

/// Runs a tool and returns what it prints; a failure is the test's failure.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// True if a tool that few machines have works; false only if that was waived.
fn optional(program: &str, works: bool) -> bool {
    let waived = std::env::var_os("TMQ_WAIVE_OPTIONAL_TOOLS").is_some();
    assert!(works || waived, "{program} is needed by this test; set TMQ_WAIVE_OPTIONAL_TOOLS to go without it");
    if !works {
        eprintln!("NOT TESTED: {program} is missing");
    }
    works
}

/// A directory to compile in, gone with the test.
struct Workshop {
    dir: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary paths are text").to_owned()
    }

    /// Compiles `source` (C, or what the extension says) to `name`.
    fn compile(&self, source_name: &str, source: &str, name: &str, flags: &[&str]) -> PathBuf {
        std::fs::write(self.path(source_name), source).expect("source written");
        let compiler = if source_name.ends_with(".cc") { "c++" } else { "cc" };
        let (input, output) = (self.text(source_name), self.text(name));
        run(compiler, &[&["-o", &output, &input], flags].concat());
        self.path(name)
    }

    /// [`C_SOURCE`] with debug information, optimised.
    fn program(&self, name: &str, flags: &[&str]) -> PathBuf {
        self.compile("program.c", C_SOURCE, name, &[&["-g", "-O2"], flags].concat())
    }
}

/// Function symbols of a file: name, start, size.
fn functions(path: &Path) -> Vec<(String, u64, u64)> {
    let path = path.to_str().expect("temporary paths are text");
    let listing = run("nm", &["-S", path]);
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [start, size, kind, name] = fields[..] else { return None };
        let number = |text| u64::from_str_radix(text, 16).ok();
        ["t", "T", "W", "w"].contains(&kind).then_some((name.to_owned(), number(start)?, number(size)?))
    };
    listing.lines().filter_map(parse).collect()
}

/// Start and size of one function.
fn function(path: &Path, name: &str) -> (u64, u64) {
    let found = functions(path).into_iter().find(|(found, _, _)| found == name);
    let Some((_, start, size)) = found else { panic!("{name} is not in {}", path.display()) };
    (start, size)
}

fn build_id(path: &Path) -> Vec<u8> {
    use object::Object;
    let data = std::fs::read(path).expect("readable");
    object::File::parse(&*data).expect("ELF").build_id().expect("notes").expect("a build-id").to_vec()
}

fn bare_options() -> Options {
    Options { debug_dirs: Vec::new(), cache_dir: None, threads: 2 }
}

/// Resolves offsets of one module.
fn resolve_with(module: ModuleRef, offsets: &[u64], options: &Options) -> Symbolized {
    let requests: Vec<_> = offsets.iter().map(|&offset| SymbolRequest { module: 0, offset }).collect();
    symbolize(&[module], &requests, options, &|_| {})
}

fn resolve(path: &Path, offsets: &[u64]) -> Symbolized {
    resolve_with(ModuleRef { path: path.to_owned(), build_id: None }, offsets, &bare_options())
}

fn names(frames: &[SymbolFrame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.function.as_deref().unwrap_or("?")).collect()
}
