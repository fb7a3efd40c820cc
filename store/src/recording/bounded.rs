//! Bytes of a table's file for the Parquet reader: reading behind the end is an error.
//!
//! A file reads as nothing at its end, and the Parquet reader takes that for what it wanted to pass over: a damaged page
//! header that announces 2^31 numbers keeps it reading nothing 2^31 times, which is minutes. Found by fuzzing.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// A file of known length.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    file: Arc<File>,
    length: u64,
}

impl Bounded {
    /// Of a file as long as it is now.
    ///
    /// # Errors
    /// The length cannot be had.
    pub(super) fn new(file: File) -> io::Result<Self> {
        Ok(Self { length: file.metadata()?.len(), file: Arc::new(file) })
    }
}

impl Length for Bounded {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Bounded {
    type T = BufReader<Following>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(Following { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // Before memory is made for them.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.length)));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// What follows a place of a file.
#[derive(Debug)]
pub(super) struct Following {
    file: Arc<File>,
    at: u64,
}

impl Read for Following {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        if read == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_end_is_an_error() {
        let path = std::env::temp_dir().join(format!("tmq-bounded-{}", std::process::id()));
        fs::write(&path, b"0123456789").unwrap();
        let bounded = Bounded::new(File::open(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(bounded.len(), 10);
        assert_eq!(bounded.get_bytes(7, 3).unwrap(), &b"789"[..]);
        for (start, length) in [(7, 4), (11, 0), (u64::MAX, 2), (0, usize::MAX)] {
            bounded.get_bytes(start, length).unwrap_err();
        }
        let mut reader = bounded.get_read(8).unwrap();
        let mut two = [0; 2];
        reader.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"89");
        let passed = io::copy(&mut reader.by_ref().take(1), &mut io::sink());
        assert_eq!(passed.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
