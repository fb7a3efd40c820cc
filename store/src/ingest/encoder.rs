//! The thread that turns finished rows into Parquet parts, and makes checkpoints valid.
//!
//! A checkpoint becomes valid when its file is renamed, after the part with its last row was closed; only then are the
//! journal segments before it removed or used again. The ingesting thread hands over the saved state and goes on.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;

use super::checkpoint::Checkpoint;
use super::journal;
use super::rows::Rows;
use super::sampling::Sampling;
use crate::Error;
use crate::recording::{TableFile, part_name};
use crate::schema::ALLOCATIONS;
use crate::write::{PartColumns, PartWriter};

/// Buffers on their way to the encoder before the ingesting thread waits for it.
const QUEUE: usize = 2;
/// Rows after which a part is closed.
const PART_ROWS: u64 = 8 << 20;

enum Command {
    Rows(Rows),
    /// Closes the part and saves the state.
    Checkpoint {
        segment: u64,
        key: u64,
        state: Vec<u8>,
    },
}

/// The ingesting thread's end.
#[derive(Debug)]
pub(crate) struct Encoder {
    path: PathBuf,
    commands: Option<SyncSender<Command>>,
    used: Receiver<Rows>,
    thread: Option<JoinHandle<Result<Vec<TableFile>, Error>>>,
}

impl Encoder {
    /// Starts the thread. `files` are the parts that exist already.
    pub(crate) fn start(dir: &Path, sampling: Sampling, files: Vec<TableFile>) -> Result<Self, Error> {
        let (commands, incoming) = mpsc::sync_channel(QUEUE);
        let (give_back, used) = mpsc::channel();
        let path = dir.to_owned();
        let worker = Worker { dir: path.clone(), sampling, files, part: None, columns: None, give_back };
        let thread = std::thread::Builder::new()
            .name("tmq-encode".to_owned())
            .spawn(move || worker.run(&incoming))
            .map_err(Error::io("start the encoder of", dir))?;
        Ok(Self { path, commands: Some(commands), used, thread: Some(thread) })
    }

    /// Hands rows over and leaves an empty buffer.
    pub(crate) fn rows(&mut self, rows: &mut Rows) -> Result<(), Error> {
        if rows.len() == 0 {
            return Ok(());
        }
        let empty = self.used.try_recv().unwrap_or_default();
        self.send(Command::Rows(std::mem::replace(rows, empty)))
    }

    /// Closes the part and makes a checkpoint that continues at a journal segment.
    pub(crate) fn checkpoint(&mut self, segment: u64, key: u64, state: Vec<u8>) -> Result<(), Error> {
        self.send(Command::Checkpoint { segment, key, state })
    }

    /// Closes the last part; returns all parts.
    pub(crate) fn finish(mut self) -> Result<Vec<TableFile>, Error> {
        self.join()
    }

    fn send(&mut self, command: Command) -> Result<(), Error> {
        let sent = self.commands.as_ref().is_some_and(|c| c.send(command).is_ok());
        if sent {
            return Ok(());
        }
        match self.join() {
            Err(error) => Err(error),
            Ok(_) => Err(Error::WriterStopped { path: self.path.clone() }),
        }
    }

    fn join(&mut self) -> Result<Vec<TableFile>, Error> {
        self.commands = None;
        let stopped = || Error::WriterStopped { path: self.path.clone() };
        self.thread.take().ok_or_else(stopped)?.join().map_err(|_| stopped())?
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // Without `finish` nobody wants the result, but the thread must not outlive the directory's lock.
        let _ = self.join();
    }
}

struct Worker {
    dir: PathBuf,
    sampling: Sampling,
    files: Vec<TableFile>,
    part: Option<PartWriter>,
    /// PartColumns of the last part, for the next.
    columns: Option<PartColumns>,
    give_back: Sender<Rows>,
}

impl Worker {
    fn run(mut self, incoming: &Receiver<Command>) -> Result<Vec<TableFile>, Error> {
        while let Ok(command) = incoming.recv() {
            match command {
                Command::Rows(mut rows) => {
                    self.write(&rows)?;
                    while rows.next() {
                        self.write(&rows)?;
                    }
                    // The other end may be gone: then the buffer is not wanted.
                    let _ = self.give_back.send(rows);
                }
                Command::Checkpoint { segment, key, state } => {
                    self.close_part()?;
                    Checkpoint { segment, key, parts: self.files.clone(), state }.write(&self.dir)?;
                    journal::retire_before(&self.dir, segment)?;
                }
            }
        }
        self.close_part()?;
        Ok(self.files)
    }

    fn write(&mut self, rows: &Rows) -> Result<(), Error> {
        let part = match &mut self.part {
            Some(part) => part,
            None => {
                let name = part_name(ALLOCATIONS.name, self.files.len());
                let columns = self.columns.take().map_or_else(|| PartColumns::new(&self.dir), Ok)?;
                self.part.insert(PartWriter::create(&self.dir, &name, self.sampling, columns)?)
            }
        };
        part.write(rows)?;
        if part.rows() >= PART_ROWS {
            self.close_part()?;
        }
        Ok(())
    }

    fn close_part(&mut self) -> Result<(), Error> {
        if let Some(part) = self.part.take() {
            let (file, columns) = part.finish()?;
            self.files.push(file);
            self.columns = Some(columns);
        }
        Ok(())
    }
}
