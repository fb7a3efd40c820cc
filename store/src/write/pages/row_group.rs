//! Writing the columns of a row group, one behind the other, into a file of the Parquet library.

use std::io::{Chain, Read, Write};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedFileWriter;

use super::chunk::{Chunk, Tools};
use super::pieces::{Pieces, PiecesReader};

/// Writes a row group of the columns, and empties them.
pub(crate) fn write_row_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    chunks: &mut [Chunk],
    tools: &mut Tools,
) -> Result<()> {
    let columns = file.schema_descr().columns().to_vec();
    let mut group = file.next_row_group()?;
    for (chunk, column) in chunks.iter_mut().zip(columns) {
        let close = chunk.close(tools, column)?;
        group.append_column(&ChunkBytes { dictionary: &tools.dictionary, pages: &chunk.content }, close)?;
        chunk.clear();
    }
    group.close().map(|_| ())
}

/// A chunk as the library reads it: once, from its beginning.
struct ChunkBytes<'a> {
    dictionary: &'a [u8],
    pages: &'a Pieces,
}

impl Length for ChunkBytes<'_> {
    fn len(&self) -> u64 {
        (self.dictionary.len() + self.pages.len()) as u64
    }
}

impl<'a> ChunkReader for ChunkBytes<'a> {
    type T = Chain<&'a [u8], PiecesReader<'a>>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        match start {
            0 => Ok(self.dictionary.chain(self.pages.reader())),
            _ => Err(ParquetError::General(format!("a column chunk was to be read from byte {start} on"))),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = Vec::new();
        self.get_read(start)?.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}
