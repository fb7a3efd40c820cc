//! Running the binary in a directory of its own, and comparing what it says with the expected text.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory to run `tmq` in, removed afterwards.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
}

/// What a run of `tmq` left behind; paths of the scratch directory read `[DIR]`.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A command that runs `tmq` here, untouched by the environment of whoever runs the tests.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tmq"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for name in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "NO_COLOR", "COLUMNS"] {
            command.env_remove(name);
        }
        command.env("HOME", self.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.ran(self.command(args).output().unwrap())
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        self.ran(child.wait_with_output().unwrap())
    }

    fn ran(&self, output: Output) -> Ran {
        let text = |bytes: Vec<u8>| {
            let dir = self.path().to_str().unwrap();
            String::from_utf8_lossy(&bytes).replace(dir, "[DIR]")
        };
        Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code().unwrap_or(-1) }
    }
}

impl Ran {
    /// The standard output of a run that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "exit status; stderr: {}", self.stderr);
        self.stdout
    }

    /// Everything in one text.
    pub(crate) fn all(&self) -> String {
        let mut text = format!("exit: {}\n", self.code);
        for (name, part) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !part.is_empty() {
                text += &format!("--- {name}\n{part}");
                if !part.ends_with('\n') {
                    text += "\n(no newline at the end)\n";
                }
            }
        }
        text
    }
}

/// Compares `text` with `snapshots/NAME.txt`, or writes that file if `UPDATE_EXPECT` is set.
#[track_caller]
pub(crate) fn expect(name: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if expected != text {
        let line = expected.lines().zip(text.lines()).take_while(|(a, b)| a == b).count() + 1;
        panic!(
            "{} differs from line {line} on; UPDATE_EXPECT=1 accepts the new text.\n--- expected\n{expected}\n--- got\n{text}",
            file.display()
        );
    }
}
