//! A part of `allocations`, from rows as ingestion has them.

use std::path::Path;

use multiversion::multiversion;
use parquet::errors::Result as ParquetResult;

use super::page_file::PageFile;
use super::pages::{Chunk, Encoder, Physical, Tools};
use crate::Error;
use crate::ingest::{KINDS, NO_ID, NO_TIME, Part, Row, Rows, Sampling, Word};
use crate::recording::TableFile;
use crate::schema::ALLOCATIONS;

/// Name, type and encoding of the columns of `allocations`, in the order in which [`PartWriter::page`] fills them; a test
/// compares them with the schema.
const COLUMNS: [(&str, Physical, Encoder); 12] = {
    use Encoder::{Delta, Dictionary};
    use Physical::{Double, Int32, Int64};
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
        ("kind", Physical::text(&KINDS), Dictionary),
        ("domain", Int32, Dictionary),
        ("weight", Double, Dictionary),
    ]
};

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
        Ok(Self { chunks, buffers: Buffers { values: Vec::new(), ids: Vec::new(), present: Vec::new(), tools } })
    }
}

/// Writes one part.
pub(crate) struct PartWriter {
    file: PageFile,
    columns: PartColumns,
    sampling: Sampling,
}

impl PartWriter {
    /// Begins the file `name` in the recording directory `dir`.
    pub(crate) fn create(dir: &Path, name: &str, sampling: Sampling, columns: PartColumns) -> Result<Self, Error> {
        Ok(Self { file: PageFile::create(dir, name, &ALLOCATIONS)?, columns, sampling })
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.file.rows()
    }

    /// Appends the rows of the columns as a page.
    pub(crate) fn write(&mut self, rows: &Rows) -> Result<(), Error> {
        self.page(rows).map_err(self.file.error())
    }

    fn page(&mut self, rows: &Rows) -> ParquetResult<()> {
        let [process, thread, alloc, free, free_thread, address, size, stack, free_stack, kind, domain, weight] =
            self.columns.chunks.as_mut_slice()
        else {
            return Ok(());
        };
        let [alloc_ns, free_ns, addresses, sizes] =
            [Word::AllocNs, Word::FreeNs, Word::Address, Word::Size].map(|word| rows.column(word));
        let [who, freed_by, what] = [Word::Who, Word::FreedBy, Word::What].map(|word| Packed::new(rows.column(word)));
        let buffers = &mut self.columns.buffers;
        buffers.part(process, &who, Part::PROCESS)?;
        buffers.part(thread, &who, Part::THREAD)?;
        buffers.numbers(alloc, alloc_ns)?;
        buffers.optional(free, free_ns, NO_TIME)?;
        buffers.optional_part(free_thread, &freed_by, Part::FREE_THREAD)?;
        buffers.numbers(address, addresses)?;
        buffers.numbers(size, sizes)?;
        buffers.part(stack, &what, Part::STACK)?;
        buffers.optional_part(free_stack, &freed_by, Part::FREE_STACK)?;
        buffers.part(kind, &what, Part::KIND)?;
        let mmap = Part::IS_MMAP;
        buffers.each(domain, &what, what.varies(mmap), |word| Row::domain(mmap.of(word)).into())?;
        let sampling = self.sampling;
        if sampling.is_exact() {
            buffers.each(weight, &what, false, |_| 1f64.to_bits().cast_signed())?;
        } else {
            let weigh = |(&word, &size): (&i64, &i64)| {
                let is_mmap = mmap.of(word.cast_unsigned()) != 0;
                let weight = if is_mmap { 1.0 } else { sampling.weight(size.cast_unsigned()) };
                weight.to_bits().cast_signed()
            };
            let weights: Vec<i64> = what.words.iter().zip(sizes).map(weigh).collect();
            buffers.numbers(weight, &weights)?;
        }
        self.file.appended(alloc_ns.len(), &mut self.columns.chunks, &mut self.columns.buffers.tools)
    }

    /// Completes the file and gives it its name; returns the columns for the next part.
    pub(crate) fn finish(mut self) -> Result<(TableFile, PartColumns), Error> {
        let PartColumns { chunks, buffers } = &mut self.columns;
        Ok((self.file.finish(chunks, &mut buffers.tools)?, self.columns))
    }
}

/// Words that are several columns at once.
struct Packed<'a> {
    words: &'a [i64],
    /// Bits that differ somewhere: most columns of most programs are the same for long.
    varies: u64,
}

impl<'a> Packed<'a> {
    fn new(words: &'a [i64]) -> Self {
        Self { words, varies: varies(words) }
    }

    fn varies(&self, part: Part) -> bool {
        part.of(self.varies) != 0
    }
}

/// Bits that are not the same in all words.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn varies(words: &[i64]) -> u64 {
    let Some(&first) = words.first() else { return 0 };
    words.iter().fold(0, |all, word| all | (word ^ first)).cast_unsigned()
}

/// Values of one column of one page.
struct Buffers {
    values: Vec<i64>,
    /// With [`NO_ID`] among them.
    ids: Vec<i64>,
    present: Vec<bool>,
    tools: Tools,
}

impl Buffers {
    /// A column of numbers as they are.
    fn numbers(&mut self, chunk: &mut Chunk, values: &[i64]) -> ParquetResult<()> {
        if varies(values) == 0 {
            return chunk.constant_page(&mut self.tools, values.first().copied(), values.len(), false);
        }
        chunk.page(&mut self.tools, values, None, values.len(), false)
    }

    /// The same, where `null` stands for none.
    fn optional(&mut self, chunk: &mut Chunk, values: &[i64], null: i64) -> ParquetResult<()> {
        if varies(values) == 0 {
            let value = values.first().copied().filter(|value| *value != null);
            return chunk.constant_page(&mut self.tools, value, values.len(), true);
        }
        let rows = values.len();
        if !values.contains(&null) {
            return chunk.page(&mut self.tools, values, None, rows, true);
        }
        self.values.clear();
        self.values.extend(values.iter().filter(|value| **value != null));
        self.present.clear();
        self.present.extend(values.iter().map(|value| *value != null));
        chunk.page(&mut self.tools, &self.values, Some(&self.present), rows, true)
    }

    /// A column that is a part of words.
    fn part(&mut self, chunk: &mut Chunk, packed: &Packed<'_>, part: Part) -> ParquetResult<()> {
        self.each(chunk, packed, packed.varies(part), |word| part.of(word).cast_signed())
    }

    /// The same, where [`NO_ID`] stands for none.
    fn optional_part(&mut self, chunk: &mut Chunk, packed: &Packed<'_>, part: Part) -> ParquetResult<()> {
        let id = |word: &i64| part.of(word.cast_unsigned()).cast_signed();
        if !packed.varies(part) {
            let value = packed.words.first().map(id).filter(|id| *id != i64::from(NO_ID));
            return chunk.constant_page(&mut self.tools, value, packed.words.len(), true);
        }
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        ids.extend(packed.words.iter().map(id));
        let done = self.optional(chunk, &ids, i64::from(NO_ID));
        self.ids = ids;
        done
    }

    /// A column of what `get` makes of words; `varies`: whether that may be different in some rows.
    #[inline(always)]
    fn each(
        &mut self,
        chunk: &mut Chunk,
        packed: &Packed<'_>,
        varies: bool,
        get: impl Fn(u64) -> i64,
    ) -> ParquetResult<()> {
        let get = |word: &i64| get(word.cast_unsigned());
        let rows = packed.words.len();
        if !varies {
            return chunk.constant_page(&mut self.tools, packed.words.first().map(get), rows, false);
        }
        self.values.clear();
        self.values.extend(packed.words.iter().map(get));
        chunk.page(&mut self.tools, &self.values, None, rows, false)
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
            let data_type = physical.data_type();
            assert_eq!((declared.data_type)(), data_type, "{name}");
            assert!(encoder == Encoder::Dictionary || data_type == DataType::Int64, "{name}");
        }
    }
}
