//! One column of one row group: pages, dictionary, statistics, indexes.

use std::io::Write;

use bytes::Bytes;
use multiversion::multiversion;
use parquet::basic::{BoundaryOrder, Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::dictionary::Dictionary;
use super::levels::Levels;
use super::physical::Physical;
use super::pieces::Pieces;
use super::{bits, delta};

/// How a column is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// Differences of neighbours; of numbers only, the others have an encoding of their own.
    Delta,
    /// A dictionary.
    Dictionary,
}

/// What is to be said of a page that is written.
struct DataPage {
    encoding: Encoding,
    /// Bytes with its header.
    bytes: usize,
    /// The same before compression.
    uncompressed: usize,
    rows: usize,
    /// More than rows in a column of lists.
    values: usize,
    /// Least and most value; `None`: all null.
    range: Option<(i64, i64)>,
    nulls: usize,
}

/// A column of the row group that is being written.
pub(crate) struct Chunk {
    physical: Physical,
    encoder: Encoder,
    dictionary: Dictionary,
    pages: Vec<DataPage>,
    /// The pages themselves.
    pub(super) content: Pieces,
    /// Pages until compression is tried again (rule 3).
    uncompressed_pages: u32,
    /// Row groups until a dictionary is tried again (rule 2).
    groups_without_dictionary: u32,
}

/// What all columns use in turn: the state of the compressor alone takes more memory than their pages.
pub(crate) struct Tools {
    numbers: Vec<u64>,
    encoded: Vec<u8>,
    compressor: Compressor<'static>,
    compressed: Vec<u8>,
    /// Of one page, on its way to the others.
    page: Vec<u8>,
    /// The page of a dictionary.
    pub(super) dictionary: Vec<u8>,
}

impl Tools {
    /// Without content.
    pub(crate) fn new() -> std::io::Result<Self> {
        let [encoded, compressed, page, dictionary] = [const { Vec::new() }; 4];
        Ok(Self { numbers: Vec::new(), encoded, compressor: Compressor::new(LEVEL)?, compressed, page, dictionary })
    }
}

/// Level of compression. Encoded pages either repeat themselves, which any level finds, or hardly become smaller: level 1
/// takes more than twice the instructions for a tenth fewer bytes.
const LEVEL: i32 = -5;
/// Pages of a column that are not compressed after one that did not become smaller.
const PAGES_UNTRIED: u32 = 15;
/// Row groups in which a column has no dictionary after one in which the dictionary was soon full (rule 2).
const GROUPS_UNTRIED: u32 = 7;

impl Chunk {
    /// An empty column.
    pub(crate) fn new(physical: Physical, encoder: Encoder) -> Self {
        Self {
            physical,
            encoder,
            dictionary: Dictionary::default(),
            pages: Vec::new(),
            content: Pieces::default(),
            uncompressed_pages: 0,
            groups_without_dictionary: 0,
        }
    }

    /// Appends a page of `rows` rows with the same value; `None` is null.
    pub(crate) fn constant_page(
        &mut self,
        tools: &mut Tools,
        value: Option<i64>,
        rows: usize,
        nullable: bool,
    ) -> Result<()> {
        let mut levels = Vec::new();
        if nullable {
            bits::run(&mut levels, value.is_some().into(), rows, 1);
        }
        let levels = Levels::single(levels, rows);
        let Some(value) = value else { return self.push(tools, &levels, Encoding::PLAIN, None, rows) };
        if self.has_no_dictionary() {
            return self.values_page(tools, &levels, &vec![value; rows]);
        }
        let Some(number) = self.dictionary.number(value.cast_unsigned()) else {
            return self.values_page(tools, &levels, &vec![value; rows]);
        };
        let width = bits::width(number);
        tools.encoded.clear();
        tools.encoded.push(width as u8);
        bits::run(&mut tools.encoded, number, rows, width);
        self.push(tools, &levels, Encoding::RLE_DICTIONARY, Some((value, value)), 0)
    }

    /// Appends a page of `rows` rows. `values` are those that are not null, `present` says which are, `None`: all.
    pub(crate) fn page(
        &mut self,
        tools: &mut Tools,
        values: &[i64],
        present: Option<&[bool]>,
        rows: usize,
        nullable: bool,
    ) -> Result<()> {
        let mut levels = Vec::new();
        match present {
            Some(present) => {
                tools.numbers.clear();
                tools.numbers.extend(present.iter().map(|p| u64::from(*p)));
                bits::packed_run(&mut levels, &tools.numbers, 1);
            }
            None if nullable => bits::run(&mut levels, 1, rows, 1),
            None => {}
        }
        self.page_of(tools, &Levels::single(levels, rows), values)
    }

    /// Appends a page of lists of these lengths, none of them empty, whose items are `values`.
    pub(crate) fn list_page(&mut self, tools: &mut Tools, values: &[i64], lengths: &[usize]) -> Result<()> {
        self.page_of(tools, &Levels::of_lists(lengths), values)
    }

    fn page_of(&mut self, tools: &mut Tools, levels: &Levels, values: &[i64]) -> Result<()> {
        if values.is_empty() {
            return self.push(tools, levels, Encoding::PLAIN, None, levels.values);
        }
        if self.has_no_dictionary() || !self.dictionary.numbers(values, &mut tools.numbers) {
            return self.values_page(tools, levels, values);
        }
        let width = bits::width(self.dictionary.values().len() as u64 - 1);
        tools.encoded.clear();
        tools.encoded.push(width as u8);
        bits::packed_run(&mut tools.encoded, &tools.numbers, width);
        self.push(tools, levels, Encoding::RLE_DICTIONARY, range_of(values), levels.values - values.len())
    }

    fn has_no_dictionary(&self) -> bool {
        self.encoder == Encoder::Delta
            || matches!(self.physical, Physical::Bool)
            || self.groups_without_dictionary > 0
            || self.dictionary.is_full()
    }

    /// A page without dictionary (rule 2).
    fn values_page(&mut self, tools: &mut Tools, levels: &Levels, values: &[i64]) -> Result<()> {
        tools.encoded.clear();
        let encoding = match self.physical {
            Physical::Int32 | Physical::Int64 => {
                delta::encode(&mut tools.encoded, values, matches!(self.physical, Physical::Int32));
                Encoding::DELTA_BINARY_PACKED
            }
            Physical::Double | Physical::Text(_) => {
                for &value in values {
                    self.physical.plain(value, &mut tools.encoded);
                }
                Encoding::PLAIN
            }
            Physical::Bool => {
                tools.numbers.clear();
                tools.numbers.extend(values.iter().map(|value| value.cast_unsigned()));
                // The length in bytes comes first.
                tools.encoded.extend([0; 4]);
                bits::packed_run(&mut tools.encoded, &tools.numbers, 1);
                let length = tools.encoded.len() as u32 - 4;
                tools.encoded[..4].copy_from_slice(&length.to_le_bytes());
                Encoding::RLE
            }
        };
        self.push(tools, levels, encoding, range_of(values), levels.values - values.len())
    }

    /// Makes a page of what is in `encoded`.
    fn push(
        &mut self,
        tools: &mut Tools,
        levels: &Levels,
        encoding: Encoding,
        range: Option<(i64, i64)>,
        nulls: usize,
    ) -> Result<()> {
        let Levels { bytes: levels, repetition, rows, values } = levels;
        if nulls == *values {
            tools.encoded.clear();
        }
        let is_compressed = self.compress(tools)?;
        let content = if is_compressed { &tools.compressed } else { &tools.encoded };
        let mut buffer = std::mem::take(&mut tools.page);
        buffer.clear();
        buffer.extend_from_slice(levels);
        buffer.extend_from_slice(content);
        let buffer = Bytes::from(buffer);
        let page = Page::DataPageV2 {
            buf: buffer.clone(),
            num_values: *values as u32,
            encoding,
            num_nulls: nulls as u32,
            num_rows: *rows as u32,
            def_levels_byte_len: (levels.len() - repetition) as u32,
            rep_levels_byte_len: *repetition as u32,
            is_compressed,
            statistics: None,
        };
        let page = CompressedPage::new(page, levels.len() + tools.encoded.len());
        let (bytes, uncompressed) = append(&mut self.content, page)?;
        tools.page = buffer.into();
        self.pages.push(DataPage { encoding, bytes, uncompressed, rows: *rows, values: *values, range, nulls });
        Ok(())
    }

    /// Compresses what is in `encoded`; says whether that is worth it (rule 3).
    fn compress(&mut self, tools: &mut Tools) -> Result<bool> {
        const LEAST: usize = 32;
        if tools.encoded.len() < LEAST {
            return Ok(false);
        }
        if self.uncompressed_pages > 0 {
            self.uncompressed_pages -= 1;
            return Ok(false);
        }
        tools.compressed.clear();
        tools.compressed.reserve(zstd::zstd_safe::compress_bound(tools.encoded.len()));
        let bytes = tools.compressor.compress_to_buffer(&tools.encoded, &mut tools.compressed)?;
        let is_worth_it = bytes * 100 <= tools.encoded.len() * 75;
        if !is_worth_it {
            self.uncompressed_pages = PAGES_UNTRIED;
        }
        Ok(is_worth_it)
    }

    /// What is to be said of the chunk of `column` that its pages make, behind the dictionary's, which is left in `tools`.
    pub(super) fn close(&mut self, tools: &mut Tools, column: ColumnDescPtr) -> Result<ColumnCloseResult> {
        tools.dictionary.clear();
        let (mut compressed, mut uncompressed) = (0, 0);
        let mut encodings = vec![Encoding::RLE];
        if !self.dictionary.values().is_empty() {
            let page = self.dictionary_page(tools)?;
            (compressed, uncompressed) = append(&mut tools.dictionary, page)?;
            encodings.push(Encoding::PLAIN);
        }
        let data_offset = compressed;
        let mut index = Indexes::new(self.physical);
        let mut with_dictionary = 0;
        for page in &self.pages {
            with_dictionary += usize::from(page.encoding == Encoding::RLE_DICTIONARY);
            if !encodings.contains(&page.encoding) {
                encodings.push(page.encoding);
            }
            index.page(page, compressed);
            compressed += page.bytes;
            uncompressed += page.uncompressed;
        }
        self.groups_without_dictionary = match self.dictionary.is_full() && with_dictionary * 4 < self.pages.len() {
            true => GROUPS_UNTRIED,
            false => self.groups_without_dictionary.saturating_sub(1),
        };
        let (rows, values) = (index.rows, index.values);
        let metadata = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_encodings(encodings)
            .set_num_values(values as i64)
            .set_total_compressed_size(compressed as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_data_page_offset(data_offset as i64)
            .set_dictionary_page_offset((data_offset > 0).then_some(0))
            .set_statistics(self.physical.statistics(index.range, index.nulls as u64));
        let (column_index, offset_index) = index.build()?;
        Ok(ColumnCloseResult {
            bytes_written: compressed as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: Some(column_index),
            offset_index: Some(offset_index),
        })
    }

    /// Makes it an empty column again.
    pub(super) fn clear(&mut self) {
        self.pages.clear();
        self.content.clear();
        self.dictionary.clear();
    }

    fn dictionary_page(&mut self, tools: &mut Tools) -> Result<CompressedPage> {
        tools.encoded.clear();
        for &value in self.dictionary.values() {
            self.physical.plain(value.cast_signed(), &mut tools.encoded);
        }
        let page = Page::DictionaryPage {
            buf: Bytes::from(tools.compressor.compress(&tools.encoded)?),
            num_values: self.dictionary.values().len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        Ok(CompressedPage::new(page, tools.encoded.len()))
    }
}

/// Appends a page; returns its bytes with the header, and how many that would be without compression.
fn append(to: &mut (impl Write + Send), page: CompressedPage) -> Result<(usize, usize)> {
    let mut sink = TrackedWrite::new(to);
    let spec = SerializedPageWriter::new(&mut sink).write_page(page)?;
    sink.flush()?;
    Ok((spec.compressed_size, spec.uncompressed_size))
}

/// Least and most of the values. The iterator's own `min` and `max` take four times as long.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn range_of(values: &[i64]) -> Option<(i64, i64)> {
    let &first = values.first()?;
    let (mut least, mut most) = (first, first);
    for &value in values {
        least = if value < least { value } else { least };
        most = if value > most { value } else { most };
    }
    Some((least, most))
}

/// Statistics and places of the pages of a chunk.
struct Indexes {
    physical: Physical,
    columns: ColumnIndexBuilder,
    offsets: OffsetIndexBuilder,
    range: Option<(i64, i64)>,
    last: Option<(i64, i64)>,
    is_ascending: bool,
    nulls: usize,
    rows: usize,
    values: usize,
}

impl Indexes {
    fn new(physical: Physical) -> Self {
        Self {
            physical,
            columns: ColumnIndexBuilder::new(physical.of_column()),
            offsets: OffsetIndexBuilder::new(),
            range: None,
            last: None,
            is_ascending: true,
            nulls: 0,
            rows: 0,
            values: 0,
        }
    }

    /// The next page, at `offset`.
    fn page(&mut self, page: &DataPage, offset: usize) {
        self.offsets.append_row_count(page.rows as i64);
        self.offsets.append_offset_and_size(offset as i64, i32::try_from(page.bytes).unwrap_or(i32::MAX));
        self.rows += page.rows;
        self.nulls += page.nulls;
        self.values += page.values;
        let Some((least, most)) = page.range else {
            self.columns.append(true, Vec::new(), Vec::new(), page.nulls as i64);
            return;
        };
        let bytes = |value| self.physical.bytes(value);
        self.columns.append(false, bytes(least), bytes(most), page.nulls as i64);
        self.is_ascending &= self.last.is_none_or(|(l, m)| l <= least && m <= most);
        self.last = Some((least, most));
        self.range = Some(self.range.map_or((least, most), |(l, m)| (l.min(least), m.max(most))));
    }

    fn build(
        mut self,
    ) -> Result<(
        parquet::file::page_index::column_index::ColumnIndexMetaData,
        parquet::file::page_index::offset_index::OffsetIndexMetaData,
    )> {
        if self.is_ascending {
            self.columns.set_boundary_order(BoundaryOrder::ASCENDING);
        }
        Ok((self.columns.build()?, self.offsets.build()))
    }
}
