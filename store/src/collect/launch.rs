//! Starting the target as the shell would have: same environment but for two variables, same descriptors, directory,
//! process group, signal mask and dispositions.
//!
//! This file decides what the target is started with; the fork and exec themselves are in [`sys::spawn`](super::sys).

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use tmq_wire::ENV_REGION;

use super::sys::signals::Inherited;
use super::sys::spawn::{self, Image, Paused};
use super::sys::{self, Exit};

const ENV_PRELOAD: &str = "LD_PRELOAD";

/// A name for the preload library that the dynamic loader can read.
#[derive(Debug)]
pub(super) struct Preload {
    name: Vec<u8>,
    _open: Option<File>,
}

impl Preload {
    /// Checks that the library can be read and finds a name for it. The loader splits `LD_PRELOAD` at spaces and colons
    /// and expands `$ORIGIN` and its like, with no way to quote them; a library whose path contains such characters is
    /// named through a descriptor of this process, which serves for as long as the process lives.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = File::open(&path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let name = path.into_os_string().into_vec();
        if name.iter().any(|byte| b" :;$\n\t".contains(byte)) {
            let name = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into_bytes();
            return Ok(Self { name, _open: Some(file) });
        }
        Ok(Self { name, _open: None })
    }
}

/// The environment of the target: that of `tmq`, with the library in front of what is preloaded already and the name of
/// the region.
fn environment(inherited: Vec<CString>, preload: &Preload, region: &str) -> Vec<CString> {
    let value_of = |entry: &CString, name: &str| {
        entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
    };
    let mut preloaded = preload.name.clone();
    let mut environment = Vec::with_capacity(inherited.len() + 2);
    for entry in inherited {
        if let Some(others) = value_of(&entry, ENV_PRELOAD) {
            let rest = others.strip_prefix(preload.name.as_slice()).unwrap_or_default();
            let ours_is_first = others == preload.name || rest.starts_with(b":") || rest.starts_with(b" ");
            let others = if ours_is_first { rest.get(1..).unwrap_or_default() } else { &others };
            if !others.is_empty() {
                preloaded.push(b':');
                preloaded.extend_from_slice(others);
            }
        } else if value_of(&entry, ENV_REGION).is_none() {
            environment.push(entry);
        }
    }
    let pair = |name: &str, value: &[u8]| CString::new([name.as_bytes(), b"=", value].concat()).ok();
    environment.extend(pair(ENV_PRELOAD, &preloaded));
    environment.extend(pair(ENV_REGION, region.as_bytes()));
    environment
}

/// The target, forked but not running yet.
#[derive(Debug)]
pub(super) struct Launch {
    paused: Paused,
    _preload: Preload,
}

impl Launch {
    /// Prepares `command` to run.
    pub(super) fn prepare(
        command: &[OsString],
        preload: Preload,
        region: &str,
        inherited: Inherited,
    ) -> io::Result<Self> {
        let arguments = command.iter().map(|argument| CString::new(argument.as_bytes())).collect::<Result<_, _>>()?;
        let environment = environment(spawn::environment(), &preload, region);
        let paused = Paused::fork(&Image { arguments, environment }, inherited)?;
        Ok(Self { paused, _preload: preload })
    }

    /// Process id that the target will have.
    pub(super) fn pid(&self) -> u32 {
        self.paused.pid()
    }

    /// Runs the target.
    pub(super) fn run(self) -> io::Result<Child> {
        let pid = self.paused.pid();
        self.paused.release()?;
        Ok(Child { pid, exit: None, _preload: self._preload })
    }

    /// Gives the target up before it ran.
    pub(super) fn cancel(self) {
        self.paused.cancel();
    }
}

/// The running target.
#[derive(Debug)]
pub(super) struct Child {
    /// Its process id.
    pub(super) pid: u32,
    exit: Option<Exit>,
    _preload: Preload,
}

impl Child {
    /// How the target ended, if it has. Once it is known its process id may belong to someone else.
    pub(super) fn poll(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            // ECHILD: someone else in this process collected it; that it ended is all that is known.
            self.exit = sys::try_wait(self.pid).unwrap_or(Some(Exit::Code(0)));
        }
        self.exit
    }

    /// What the last [`poll`](Self::poll) found.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Passes a signal on, unless the target has ended.
    pub(super) fn signal(&mut self, signal: i32) {
        if self.poll().is_none() {
            // The target is a child that was not collected yet, so the number cannot belong to anyone else.
            let _ = sys::kill(self.pid, signal);
        }
    }
}

/// `PROGRAM.PID.tmq` in the current directory, the name of a recording that was given none.
pub(super) fn default_directory(program: &OsString, pid: u32) -> PathBuf {
    let base = Path::new(program).file_name().unwrap_or(program.as_os_str());
    let mut name = base.to_os_string();
    name.push(format!(".{pid}.tmq"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    #[test]
    fn library_goes_in_front_and_nothing_else_changes() {
        let preload = Preload { name: b"/lib/tmq.so".to_vec(), _open: None };
        let inherited = vec![c("A=1"), c("LD_PRELOAD=/x.so /y.so"), c("odd"), c("TMQ_REGION=old"), c("LD_PRELOADS=z")];
        let want = [c("A=1"), c("odd"), c("LD_PRELOADS=z"), c("LD_PRELOAD=/lib/tmq.so:/x.so /y.so"), c("TMQ_REGION=r")];
        assert_eq!(environment(inherited, &preload, "r"), want);
    }

    #[test]
    fn library_is_not_named_twice() {
        let preload = Preload { name: b"/lib/tmq.so".to_vec(), _open: None };
        for old in ["LD_PRELOAD=/lib/tmq.so", "LD_PRELOAD="] {
            assert_eq!(environment(vec![c(old)], &preload, "r"), [c("LD_PRELOAD=/lib/tmq.so"), c("TMQ_REGION=r")]);
        }
        for (old, new) in [(":/x.so", ":/x.so"), (" /x.so", ":/x.so"), ("x", ":/lib/tmq.sox")] {
            let got = environment(vec![c(&format!("LD_PRELOAD=/lib/tmq.so{old}"))], &preload, "r");
            assert_eq!(got[0], c(&format!("LD_PRELOAD=/lib/tmq.so{new}")));
        }
    }

    #[test]
    fn paths_that_the_loader_would_split_go_through_a_descriptor() {
        let dir = std::env::temp_dir().join(format!("tmq launch:{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let library = dir.join("lib.so");
        std::fs::write(&library, b"x").unwrap();
        let preload = Preload::new(&library).unwrap();
        assert!(preload.name.starts_with(b"/proc/"));
        assert_eq!(std::fs::read(std::ffi::OsStr::from_bytes(&preload.name)).unwrap(), b"x");
        assert!(Preload::new(&dir).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn recordings_are_named_after_program_and_process() {
        assert_eq!(default_directory(&"./bin/app".into(), 7), PathBuf::from("app.7.tmq"));
    }
}
