//! Writing tables as Parquet files, and whole recordings from ready-made rows.
//!
//! Every file is written as `NAME.tmp` and renamed when its footer is complete, so a file under its final name can be
//! read by any engine, whatever happened to the writer.
#![forbid(unsafe_code)]

mod buffered;
mod builder;
mod page_file;
mod pages;
mod part_writer;
mod properties;
mod stack_frames;
mod stacks;
mod table_writer;
mod unfinished;

pub use builder::RecordingBuilder;
pub(crate) use part_writer::{PartColumns, PartWriter};
pub(crate) use stack_frames::StackFramesWriter;
pub(crate) use stacks::{StackQuality, StackRow, StacksWriter};
pub use table_writer::TableWriter;

use std::path::Path;

use crate::Error;
use crate::recording::TableFile;
use crate::schema::Columns;

/// Writes the rows of `columns` as one file of their table into the recording directory `dir`, replacing an older one.
///
/// # Errors
/// The file cannot be written; an older one is intact then.
pub fn write_table<C: Columns>(dir: &Path, columns: &mut C) -> Result<TableFile, Error> {
    let name = format!("{}.parquet", C::table().name);
    let batch = columns.take();
    let mut writer = TableWriter::create_for(dir, &name, C::table(), Some(batch.num_rows()))?;
    writer.write(&batch)?;
    writer.finish()
}
