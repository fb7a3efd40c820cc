//! Drives redis-server with redis-benchmark: a server ends when it is told to, and its output is what it answers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::scale::Scale;
use crate::error::{Error, Result};
use crate::programs;

/// Commands of each kind.
const REQUESTS: u64 = 100_000;
const KINDS: [&str; 4] = ["set", "get", "lpush", "hset"];
/// Longest that the server may take to answer for the first time.
const START: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(5);

/// A server on a socket of its own, and what is asked of it.
#[derive(Debug)]
pub struct Redis {
    socket: PathBuf,
    requests: u64,
}

impl Redis {
    /// Server and client for `directory`, with a load of this `scale`.
    ///
    /// # Errors
    /// The clients are not installed.
    pub fn new(directory: &Path, scale: Scale) -> Result<Self> {
        let missing = ["redis-benchmark", "redis-cli"].into_iter().find(|name| programs::find(name).is_none());
        match missing {
            Some(name) => Err(Error::Missing(format!("{name} (Debian: apt-get install redis-tools)"))),
            None => Ok(Self { socket: directory.join("redis.socket"), requests: scale.of(REQUESTS) }),
        }
    }

    /// The server's arguments: no network, nothing on disk.
    pub fn arguments(&self) -> Vec<OsString> {
        let fixed = "--port 0 --appendonly no --loglevel warning --daemonize no --save";
        let mut arguments: Vec<OsString> = fixed.split(' ').map(OsString::from).collect();
        arguments.extend(["".into(), "--unixsocket".into(), self.socket.clone().into()]);
        arguments
    }

    /// Waits for the server, sends everything, checks that all of it was done, and ends the server.
    ///
    /// # Errors
    /// The server does not come up, or has done other commands than it was sent.
    pub fn drive(&self) -> Result<()> {
        self.wait_for_server()?;
        let requests = self.requests.to_string();
        let load = ["-n", &requests, "-r", "100000", "-P", "16", "-c", "16", "-q", "-t", &KINDS.join(",")];
        programs::run(Command::new("redis-benchmark").arg("-s").arg(&self.socket).args(load))?;
        let stats = self.ask(&["info", "commandstats"])?;
        for kind in KINDS {
            let done = format!("cmdstat_{kind}:calls={requests},");
            if !stats.contains(&done) {
                return Err(programs::not_understood(&format!("commandstats (expected {done})"), &stats));
            }
        }
        // Its answer is the end of the connection.
        let _ = self.ask(&["shutdown", "nosave"]);
        Ok(())
    }

    fn wait_for_server(&self) -> Result<()> {
        let start = Instant::now();
        while self.ask(&["ping"]).is_err() {
            if start.elapsed() > START {
                return Err(Error::TooLong { what: "the start of redis-server".to_owned(), seconds: START.as_secs() });
            }
            std::thread::sleep(RETRY);
        }
        Ok(())
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        let output = programs::run(Command::new("redis-cli").arg("-s").arg(&self.socket).args(words))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
