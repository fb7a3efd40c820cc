//! A look at the program before it runs: can the recorder see into it?
//!
//! The recorder comes in by `LD_PRELOAD` and takes the place of `malloc`. That fails silently for programs that load
//! nothing, may not preload, or bring their own allocator, and an empty recording is a poor way to find out. So the file
//! that exec will load is found as `execvp` finds it, through interpreters of scripts, and judged from its ELF headers and
//! symbols. Whatever cannot be parsed counts as fine: the kernel will say what is wrong with it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::elf::{self, Facts};
use super::sys;

/// Interpreters of interpreters that are followed; the kernel gives up after as many.
const MAX_SCRIPTS: usize = 5;
/// Longest first line of a script that the kernel reads.
const MAX_SCRIPT_LINE: u64 = 256;
/// Where glibc looks without a `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Whether a program can be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Fine,
    /// Nothing of it will be seen.
    CannotRecord {
        /// Why, a sentence without full stop.
        reason: String,
        /// What to do instead.
        advice: String,
    },
    /// Part of it will not be seen.
    Partial {
        /// What and why, a sentence without full stop.
        reason: String,
        /// What to do about it.
        advice: String,
    },
}

/// A program that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The file that exec will find.
    pub path: PathBuf,
    /// What was found out about it, or about the interpreter that will run it.
    pub verdict: Verdict,
}

/// Looks at the program of `command`.
///
/// # Errors
/// There is no such program, or it may not be executed: what exec will say.
pub fn inspect(command: &[OsString]) -> io::Result<Inspection> {
    let program = command.first().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    let path = find(program)?;
    let verdict = judge(&path, 0).unwrap_or(Verdict::Fine);
    Ok(Inspection { path, verdict })
}

/// Finds a program as `execvp` does.
fn find(program: &OsStr) -> io::Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return executable(&path).map(|()| path);
    }
    let mut refused = io::Error::from_raw_os_error(libc::ENOENT);
    if program.is_empty() {
        return Err(refused);
    }
    for directory in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())) {
        let path = if directory.as_os_str().is_empty() { PathBuf::from(program) } else { directory.join(program) };
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => refused = e,
            Err(_) => {}
        }
    }
    Err(refused)
}

fn executable(path: &Path) -> io::Result<()> {
    let refused = || io::Error::from_raw_os_error(libc::EACCES);
    let regular = fs::metadata(path)?.is_file();
    let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    if regular && sys::is_executable(&name) { Ok(()) } else { Err(refused()) }
}

fn judge(path: &Path, scripts: usize) -> io::Result<Verdict> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    (&mut file).take(MAX_SCRIPT_LINE).read_to_end(&mut head)?;
    if let Some(interpreter) = interpreter(&head) {
        return if scripts < MAX_SCRIPTS { judge(&find(&interpreter)?, scripts + 1) } else { Ok(Verdict::Fine) };
    }
    if !head.starts_with(b"\x7fELF") {
        return Ok(Verdict::Fine);
    }
    if let Some(verdict) = privileges(path, &file)? {
        return Ok(verdict);
    }
    let map = sys::map_file(&file)?;
    Ok(elf::facts(&map).map_or(Verdict::Fine, |facts| of_elf(&facts)))
}

/// The program that runs a script with this first line; `env NAME` means NAME.
fn interpreter(head: &[u8]) -> Option<OsString> {
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let mut words = line.split(|&byte| byte == b' ' || byte == b'\t').filter(|word| !word.is_empty());
    let interpreter = words.next()?;
    let name = interpreter.rsplit(|&byte| byte == b'/').next();
    let named = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
    let program = if name == Some(b"env") { named.unwrap_or(interpreter) } else { interpreter };
    Some(OsStr::from_bytes(program).to_owned())
}

/// Programs that gain privileges: the loader ignores preloaded libraries then.
fn privileges(path: &Path, file: &File) -> io::Result<Option<Verdict>> {
    let meta = file.metadata()?;
    let (user, group) = sys::effective_ids();
    let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let what = if meta.mode() & 0o4000 != 0 && meta.uid() != user {
        "setuid"
    } else if meta.mode() & 0o2010 == 0o2010 && meta.gid() != group {
        "setgid"
    } else if user != 0 && sys::has_attribute(&name, c"security.capability") {
        "given capabilities by its file"
    } else {
        return Ok(None);
    };
    Ok(Some(cannot(
        format!("it is {what}, and the loader preloads nothing into programs that gain privileges"),
        "record it as the user it runs as, or record a copy without these rights",
    )))
}

fn of_elf(facts: &Facts) -> Verdict {
    if facts.bits != usize::BITS || facts.foreign {
        let reason = if facts.foreign { "it is built for another processor" } else { "it is a 32-bit program" };
        return cannot(reason, "build it for the processor and word size of tmq");
    }
    if facts.is_loader {
        return Verdict::Fine;
    }
    match &facts.interpreter {
        None if facts.go => cannot(
            "it is a statically linked Go program, and Go has an allocator of its own",
            "use Go's own heap profiles (runtime/pprof)",
        ),
        None => cannot(
            "it is statically linked, so there is no loader to preload the recorder",
            "link it dynamically (for musl targets of Rust: -C target-feature=-crt-static, or a glibc target)",
        ),
        Some(path) if path.contains("ld-musl") => {
            cannot("it is linked with musl, and the recorder is built for glibc", "build it for a glibc target")
        }
        Some(_) => of_dynamic_elf(facts),
    }
}

fn of_dynamic_elf(facts: &Facts) -> Verdict {
    if let Some(sanitizer) = facts.sanitizer {
        return cannot(
            format!("it is built with {sanitizer}, which replaces malloc itself and tolerates no other"),
            "build it without the sanitizer",
        );
    }
    if facts.exports_malloc {
        let whose =
            facts.allocator.map_or_else(|| "a malloc of its own".to_owned(), |name| format!("{name} as malloc"));
        return cannot(
            format!("the executable contains {whose}, which takes precedence over preloaded libraries"),
            "build it with the system's malloc; an allocator in a shared library (LD_PRELOAD) can be recorded too",
        );
    }
    if let Some(name) = facts.allocator {
        return partial(
            format!("{name} is linked into it: what goes through it directly is not seen, only C library calls"),
            "build it with the system allocator (in Rust: without #[global_allocator])",
        );
    }
    if facts.go {
        return partial(
            "Go has an allocator of its own, which is not seen: only C code called by it is",
            "use Go's own heap profiles (runtime/pprof)",
        );
    }
    Verdict::Fine
}

fn cannot(reason: impl Into<String>, advice: impl Into<String>) -> Verdict {
    Verdict::CannotRecord { reason: reason.into(), advice: advice.into() }
}

fn partial(reason: impl Into<String>, advice: impl Into<String>) -> Verdict {
    Verdict::Partial { reason: reason.into(), advice: advice.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ordinary() -> Facts {
        Facts {
            bits: 64,
            foreign: false,
            is_loader: false,
            interpreter: Some("/lib64/ld-linux-x86-64.so.2".into()),
            go: false,
            sanitizer: None,
            exports_malloc: false,
            allocator: None,
        }
    }

    fn why(facts: Facts) -> String {
        match of_elf(&facts) {
            Verdict::Fine => "fine".into(),
            Verdict::CannotRecord { reason, .. } => reason,
            Verdict::Partial { reason, .. } => format!("partial: {reason}"),
        }
    }

    #[test]
    fn every_obstacle_is_named() {
        assert_eq!(why(ordinary()), "fine");
        assert!(why(Facts { bits: 32, ..ordinary() }).contains("32-bit"));
        assert!(why(Facts { foreign: true, ..ordinary() }).contains("another processor"));
        assert!(why(Facts { interpreter: None, ..ordinary() }).contains("statically linked"));
        assert!(why(Facts { interpreter: None, go: true, ..ordinary() }).contains("Go"));
        assert_eq!(why(Facts { interpreter: None, is_loader: true, ..ordinary() }), "fine");
        assert!(why(Facts { interpreter: Some("/lib/ld-musl-x86_64.so.1".into()), ..ordinary() }).contains("musl"));
        assert!(why(Facts { sanitizer: Some("AddressSanitizer"), ..ordinary() }).contains("AddressSanitizer"));
        assert!(why(Facts { exports_malloc: true, ..ordinary() }).contains("malloc of its own"));
        let jemalloc = Facts { allocator: Some("jemalloc"), ..ordinary() };
        assert!(why(jemalloc.clone()).starts_with("partial: jemalloc"));
        assert!(why(Facts { exports_malloc: true, ..jemalloc }).contains("jemalloc as malloc"));
        assert!(why(Facts { go: true, ..ordinary() }).starts_with("partial: Go"));
    }

    #[test]
    fn interpreters_are_found() {
        let interpreter = |line: &[u8]| interpreter(line).map(|os| os.into_string().unwrap());
        assert_eq!(interpreter(b"#!/bin/sh\necho"), Some("/bin/sh".into()));
        assert_eq!(interpreter(b"#! /bin/sh -e"), Some("/bin/sh".into()));
        assert_eq!(interpreter(b"#!/usr/bin/env python3\n"), Some("python3".into()));
        assert_eq!(interpreter(b"#!/usr/bin/env -S A=1 python3 -u\n"), Some("python3".into()));
        assert_eq!(interpreter(b"#!/usr/bin/env\n"), Some("/usr/bin/env".into()));
        assert_eq!(interpreter(b"#!\n"), None);
        assert_eq!(interpreter(b"\x7fELF"), None);
    }

    #[test]
    fn programs_are_found_as_exec_finds_them() {
        let inspect = |program: &str| inspect(&[program.into()]);
        assert_eq!(inspect("sh").unwrap().verdict, Verdict::Fine);
        assert_eq!(inspect("/bin/sh").unwrap().path, PathBuf::from("/bin/sh"));
        assert_eq!(inspect("tmq-no-such-program").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(inspect("").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(inspect("/").unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert_eq!(inspect("/etc/passwd").unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert_eq!(inspect("/etc/passwd/x").unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn broken_files_are_fine_and_scripts_that_name_themselves_end() {
        let path = std::env::temp_dir().join(format!("tmq-inspect-{}", std::process::id()));
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut garbage = own[..4096].to_vec();
        garbage[24..].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 37) as u8);
        let script = format!("#!{}\n", path.display());
        for content in [b"".as_slice(), b"\x7fELF", &own[..64], &own[..4096], &garbage, script.as_bytes()] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            let verdict = inspect(&[path.clone().into()]).unwrap().verdict;
            assert!(verdict == Verdict::Fine || content.len() == 4096, "{verdict:?}");
        }
        fs::remove_file(path).unwrap();
    }
}
