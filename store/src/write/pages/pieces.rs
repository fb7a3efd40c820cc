//! Encoded pages of a column until their row group is written.

use std::io::{self, Read, Write};

/// Bytes of the first piece: most columns of short recordings need no more.
const FIRST_BYTES: usize = 1 << 10;
/// Bytes of the others.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes in pieces that are filled one after the other and used again. A buffer that doubles would copy megabytes, and
/// memory that is given back is soon asked for again: fresh pages cost more than what is written into them.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// All but the last one in use are full.
    all: Vec<Vec<u8>>,
    in_use: usize,
    len: usize,
}

impl Pieces {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Drops the bytes and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.all[..self.in_use].iter_mut().for_each(Vec::clear);
        (self.in_use, self.len) = (0, 0);
    }

    /// Reads the bytes from the first one on.
    pub(super) fn reader(&self) -> PiecesReader<'_> {
        PiecesReader { all: &self.all[..self.in_use], at: 0 }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let has_room = |piece: &Vec<u8>| piece.len() < piece.capacity();
        if self.in_use == 0 || !has_room(&self.all[self.in_use - 1]) {
            if self.in_use == self.all.len() {
                let room = if self.all.is_empty() { FIRST_BYTES } else { PIECE_BYTES };
                self.all.push(Vec::with_capacity(room));
            }
            self.in_use += 1;
        }
        let last = &mut self.all[self.in_use - 1];
        let written = bytes.len().min(last.capacity() - last.len());
        last.extend_from_slice(&bytes[..written]);
        self.len += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is in [`Pieces`].
#[derive(Debug)]
pub(super) struct PiecesReader<'a> {
    all: &'a [Vec<u8>],
    /// Bytes of the first that are read.
    at: usize,
}

impl Read for PiecesReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((first, others)) = self.all.split_first() else { return Ok(0) };
        let rest = &first[self.at..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        self.at += read;
        if self.at == first.len() {
            (self.all, self.at) = (others, 0);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut pieces = Pieces::default();
        for round in 0..3u8 {
            let mut expected = Vec::new();
            for i in 0..1000usize {
                let bytes: Vec<u8> = (0..i % 701).map(|k| (i + k) as u8 ^ round).collect();
                pieces.write_all(&bytes).unwrap();
                expected.extend(bytes);
            }
            pieces.write_all(&vec![round; 3 * PIECE_BYTES]).unwrap();
            expected.extend(vec![round; 3 * PIECE_BYTES]);
            assert_eq!(pieces.len(), expected.len());
            let mut read = Vec::new();
            pieces.reader().read_to_end(&mut read).unwrap();
            assert!(read == expected);
            assert_eq!(pieces.all.len(), expected.len().saturating_sub(FIRST_BYTES).div_ceil(PIECE_BYTES) + 1);
            pieces.clear();
            assert_eq!(pieces.reader().read(&mut [0; 8]).unwrap(), 0);
        }
    }
}
