//! A part of `allocations`, from rows as ingestion has them.

use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::errors::Result as ParquetResult;
use parquet::file::writer::SerializedFileWriter;

use super::pages::{Chunk, Encoder, Physical, Tools, write_row_group};
use super::properties::{ROW_GROUP_ROWS, writer_properties};
use super::unfinished::{Counted, Unfinished};
use crate::Error;
use crate::ingest::{KINDS, NO_ID, NO_TIME, Part, Row, Sampling};
use crate::recording::TableFile;
use crate::schema::ALLOCATIONS;

/// Rows per page: what page statistics can skip, and what fits a processor's second cache while it is encoded.
const PAGE_ROWS: usize = 16 << 10;

/// Name, type and encoding of the columns of `allocations`, in the order in which [`PartWriter::page`] fills them; a test
/// compares them with the schema.
const COLUMNS: [(&str, Physical, Encoder); 12] = {
    use Encoder::{Delta, Dictionary};
    use Physical::{Double, Int32, Int64, Text};
    [
        ("process_id", Int32, Dictionary),
        ("thread_id", Int32, Dictionary),
        ("alloc_ns", Int64, Delta),
        ("free_ns", Int64, Delta),
        ("free_thread_id", Int32, Dictionary),
        ("address", Int64, Dictionary),
        ("size", Int64, Dictionary),
        ("stack_id", Int32, Dictionary),
        ("free_stack_id", Int32, Dictionary),
        ("kind", Text(&KINDS), Dictionary),
        ("domain", Int32, Dictionary),
        ("weight", Double, Dictionary),
    ]
};

fn long(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The columns of one part after the other: what was learnt about them, and room for pages.
pub(crate) struct PartColumns {
    chunks: Vec<Chunk>,
    buffers: Buffers,
}

impl PartColumns {
    /// Before the first part; `dir` is where parts go.
    pub(crate) fn new(dir: &Path) -> Result<Self, Error> {
        let tools = Tools::new().map_err(Error::io("begin to write into", dir))?;
        let chunks = COLUMNS.iter().map(|c| Chunk::new(c.1, c.2)).collect();
        Ok(Self { chunks, buffers: Buffers { values: Vec::new(), present: Vec::new(), tools } })
    }
}

/// Writes one part.
pub(crate) struct PartWriter {
    unfinished: Unfinished,
    file: SerializedFileWriter<Counted>,
    columns: PartColumns,
    sampling: Sampling,
    rows_in_group: usize,
    rows: u64,
}

impl PartWriter {
    /// Begins the file `name` in the recording directory `dir`.
    pub(crate) fn create(dir: &Path, name: &str, sampling: Sampling, columns: PartColumns) -> Result<Self, Error> {
        let (unfinished, counted) = Unfinished::create(dir, name, &ALLOCATIONS)?;
        let begin = || -> ParquetResult<_> {
            let writer =
                ArrowWriter::try_new(counted, ALLOCATIONS.schema(), Some(writer_properties(&ALLOCATIONS, None)))?;
            // The Arrow writer has put the schema into the metadata; the rows come without it.
            Ok(writer.into_serialized_writer()?.0)
        };
        let file = begin().map_err(Error::parquet("write", unfinished.path()))?;
        Ok(Self { unfinished, file, columns, sampling, rows_in_group: 0, rows: 0 })
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends rows.
    pub(crate) fn write(&mut self, rows: &[Row]) -> Result<(), Error> {
        for page in rows.chunks(PAGE_ROWS) {
            self.page(page).map_err(Error::parquet("write", self.unfinished.path()))?;
        }
        Ok(())
    }

    fn page(&mut self, rows: &[Row]) -> ParquetResult<()> {
        let [process, thread, alloc, free, free_thread, address, size, stack, free_stack, kind, domain, weight] =
            self.columns.chunks.as_mut_slice()
        else {
            return Ok(());
        };
        let Some(varies) = Varies::among(rows) else { return Ok(()) };
        let buffers = &mut self.columns.buffers;
        let number = |part: Part, word: u64| part.of(word).cast_signed();
        let id = |part: Part, word: u64| Some(number(part, word)).filter(|id| *id != i64::from(NO_ID));
        buffers.required(process, rows, varies.who(Part::PROCESS), |r| number(Part::PROCESS, r.who))?;
        buffers.required(thread, rows, varies.who(Part::THREAD), |r| number(Part::THREAD, r.who))?;
        buffers.required(alloc, rows, varies.alloc_ns, |r| r.alloc_ns)?;
        buffers.optional(free, rows, varies.free_ns, |r| Some(r.free_ns).filter(|ns| *ns != NO_TIME))?;
        let freed_by = |part| varies.freed_by(part);
        buffers.optional(free_thread, rows, freed_by(Part::FREE_THREAD), |r| id(Part::FREE_THREAD, r.freed_by))?;
        buffers.required(address, rows, varies.address, |r| long(r.address))?;
        buffers.required(size, rows, varies.size, |r| long(r.size))?;
        buffers.required(stack, rows, varies.what(Part::STACK), |r| number(Part::STACK, r.what))?;
        buffers.optional(free_stack, rows, freed_by(Part::FREE_STACK), |r| id(Part::FREE_STACK, r.freed_by))?;
        buffers.required(kind, rows, varies.what(Part::KIND), |r| number(Part::KIND, r.what))?;
        let (is_mmap, mmap_varies) = (|r: &Row| Part::IS_MMAP.of(r.what), varies.what(Part::IS_MMAP));
        buffers.required(domain, rows, mmap_varies, |r| Row::domain(is_mmap(r)).into())?;
        let sampling = self.sampling;
        if sampling.is_exact() {
            buffers.required(weight, rows, false, |_| 1f64.to_bits().cast_signed())?;
        } else {
            let weigh = |r: &Row| if is_mmap(r) != 0 { 1.0 } else { sampling.weight(r.size) };
            buffers.required(weight, rows, varies.size || mmap_varies, |r| weigh(r).to_bits().cast_signed())?;
        }
        self.rows += rows.len() as u64;
        self.rows_in_group += rows.len();
        if self.rows_in_group >= ROW_GROUP_ROWS { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> ParquetResult<()> {
        self.rows_in_group = 0;
        write_row_group(&mut self.file, &mut self.columns.chunks, &mut self.columns.buffers.tools)
    }

    /// Completes the file and gives it its name; returns the columns for the next part.
    pub(crate) fn finish(mut self) -> Result<(TableFile, PartColumns), Error> {
        let end = |writer: &mut Self| -> ParquetResult<u64> {
            if writer.rows_in_group > 0 {
                writer.close_group()?;
            }
            writer.file.finish()?;
            Ok(writer.file.bytes_written() as u64)
        };
        let bytes = end(&mut self).map_err(Error::parquet("write", self.unfinished.path()))?;
        Ok((self.unfinished.finish(self.rows, bytes)?, self.columns))
    }
}

/// What is not the same in all rows of a page. One pass finds that out for all: the rows are read from memory that is far
/// away, and most fields of most programs are the same for long.
struct Varies {
    alloc_ns: bool,
    free_ns: bool,
    address: bool,
    size: bool,
    /// Bits of [`Row::who`] that differ somewhere, and so on.
    who: u64,
    freed_by: u64,
    what: u64,
}

impl Varies {
    /// `None`: there are no rows.
    fn among(rows: &[Row]) -> Option<Self> {
        let first = rows.first()?;
        let (mut times, mut block, mut origin) = ([0; 2], [0; 2], [0; 3]);
        for row in rows {
            times[0] |= row.alloc_ns ^ first.alloc_ns;
            times[1] |= row.free_ns ^ first.free_ns;
            block[0] |= row.address ^ first.address;
            block[1] |= row.size ^ first.size;
            origin[0] |= row.who ^ first.who;
            origin[1] |= row.freed_by ^ first.freed_by;
            origin[2] |= row.what ^ first.what;
        }
        let ([alloc_ns, free_ns], [address, size]) = (times.map(|t| t != 0), block.map(|b| b != 0));
        let [who, freed_by, what] = origin;
        Some(Self { alloc_ns, free_ns, address, size, who, freed_by, what })
    }

    fn who(&self, part: Part) -> bool {
        part.of(self.who) != 0
    }

    fn freed_by(&self, part: Part) -> bool {
        part.of(self.freed_by) != 0
    }

    fn what(&self, part: Part) -> bool {
        part.of(self.what) != 0
    }
}

/// Values of one column of one page.
struct Buffers {
    values: Vec<i64>,
    present: Vec<bool>,
    tools: Tools,
}

impl Buffers {
    #[inline(always)]
    fn required(
        &mut self,
        chunk: &mut Chunk,
        rows: &[Row],
        varies: bool,
        get: impl Fn(&Row) -> i64,
    ) -> ParquetResult<()> {
        if !varies {
            return chunk.constant_page(&mut self.tools, rows.first().map(get), rows.len(), false);
        }
        self.values.clear();
        self.values.extend(rows.iter().map(get));
        chunk.page(&mut self.tools, &self.values, None, rows.len(), false)
    }

    #[inline(always)]
    fn optional(
        &mut self,
        chunk: &mut Chunk,
        rows: &[Row],
        varies: bool,
        get: impl Fn(&Row) -> Option<i64>,
    ) -> ParquetResult<()> {
        if !varies {
            return chunk.constant_page(&mut self.tools, rows.first().and_then(get), rows.len(), true);
        }
        self.values.clear();
        self.values.extend(rows.iter().filter_map(&get));
        if self.values.len() == rows.len() {
            return chunk.page(&mut self.tools, &self.values, None, rows.len(), true);
        }
        self.present.clear();
        self.present.extend(rows.iter().map(|row| get(row).is_some()));
        chunk.page(&mut self.tools, &self.values, Some(&self.present), rows.len(), true)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn columns_are_those_of_the_schema() {
        assert_eq!(ALLOCATIONS.columns.len(), COLUMNS.len());
        for (declared, (name, physical, encoder)) in ALLOCATIONS.columns.iter().zip(COLUMNS) {
            assert_eq!(declared.name, name);
            let data_type = match physical {
                Physical::Int32 => DataType::Int32,
                Physical::Int64 => DataType::Int64,
                Physical::Double => DataType::Float64,
                Physical::Text(_) => DataType::Utf8,
            };
            assert_eq!((declared.data_type)(), data_type, "{name}");
            assert!(encoder == Encoder::Dictionary || data_type == DataType::Int64, "{name}");
        }
    }
}
