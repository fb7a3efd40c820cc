//! Makes what is measured: compiles `programs/*.c` and finds the programs of this machine.
//!
//! Sources are carried inside the binary, so that it can be run from anywhere.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::error::{Error, Result, in_file};

macro_rules! sources {
    ($($name:literal),*) => { &[$(($name, include_str!(concat!("../programs/", $name, ".c")))),*] };
}

/// Every program that is compiled here.
const SOURCES: &[(&str, &str)] = sources!["meter", "count", "noop", "frames", "shallow", "exchange", "storm"];
/// Without builtins the compiler leaves calls of malloc and free as they are written.
const FLAGS: &[&str] = &["-O2", "-w", "-fno-builtin", "-pthread"];

/// Compiles `programs/NAME.c` to `output`.
///
/// # Errors
/// There is no C compiler, or it fails.
pub fn compile(name: &str, output: &Path, flags: &[&OsStr]) -> Result<PathBuf> {
    let source = SOURCES.iter().find(|(n, _)| *n == name).map_or("", |(_, text)| text);
    let file = output.with_extension("c");
    fs::write(&file, source).map_err(in_file(&file))?;
    let mut compiler = Command::new("cc");
    run(compiler.args(FLAGS).arg(&file).arg("-o").arg(output).args(flags))?;
    Ok(output.to_owned())
}

/// Runs a command that is not measured and must succeed.
///
/// # Errors
/// It cannot be started or fails.
pub fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| Error::Start { program, source })?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Failed { what: format!("{command:?}"), status: output.status.code().unwrap_or(-1), text })
}

/// Where a program is in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The `tmq` that was built with this program: the one beside it.
///
/// # Errors
/// It is not there.
pub fn tmq() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(Error::System)?;
    let tmq = own.with_file_name("tmq");
    match tmq.is_file() {
        true => Ok(tmq),
        false => Err(Error::Missing(format!("{}: build the whole workspace, or use benches/run", tmq.display()))),
    }
}

/// `tmq info --format json` of a recording.
///
/// # Errors
/// It cannot be opened.
pub fn info(tmq: &Path, recording: &Path) -> Result<Value> {
    let output = run(Command::new(tmq).args(["info", "--format", "json"]).arg(recording))?;
    serde_json::from_slice(&output.stdout).map_err(|e| not_understood("tmq info", &e.to_string()))
}

/// A number in what [`info`] returns.
///
/// # Errors
/// There is none of this name.
pub fn number(info: &Value, name: &str) -> Result<f64> {
    info[name].as_f64().ok_or_else(|| not_understood("tmq info", &format!("no {name} in {info}")))
}

/// An [`Error::NotUnderstood`].
pub fn not_understood(what: &str, text: &str) -> Error {
    Error::NotUnderstood { what: what.to_owned(), text: text.to_owned() }
}

/// Bytes of a file, or of all files below a directory.
///
/// # Errors
/// Something cannot be read.
pub fn size_on_disk(path: &Path) -> Result<u64> {
    let meta = fs::symlink_metadata(path).map_err(in_file(path))?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let entries = fs::read_dir(path).map_err(in_file(path))?;
    entries.map(|entry| size_on_disk(&entry.map_err(in_file(path))?.path())).sum()
}
