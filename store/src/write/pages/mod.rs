//! Parquet column chunks of integers and flags, encoded page by page without Arrow in between.
//!
//! They are for `allocations`, and for `stack_frames` and `stacks`, the longest of the others. `allocations` is written while the program
//! runs, on processors that the program wants too. The Parquet library's writer took 2,180 instructions for one row of its
//! twelve columns, most of them to hash every value of every column into a dictionary; this takes about a tenth. It writes
//! what the library would write: dictionary pages, data pages of version 2, statistics, column and offset indexes; the
//! library writes the file around them.
//!
//! Rules:
//! 1. A page holds values of one slice of rows. What is equal in a whole page is found first, by a pass over each word.
//! 2. A dictionary column that takes too many values goes on with plain or delta pages until the row group ends; if that
//!    came soon, the next few row groups do without. Addresses are worth a dictionary: programs use few of them again and
//!    again (1.5 to 2.7 bytes per row against 3.1 to 3.4 as differences).
//! 3. A page is stored compressed only if that makes it smaller by a quarter; if it does not, the next few pages of the
//!    column are not tried.

mod bits;
mod chunk;
mod delta;
mod dictionary;
mod levels;
mod physical;
mod pieces;
mod row_group;

pub(super) use chunk::{Chunk, Encoder, Tools};
pub(super) use physical::Physical;
pub(super) use row_group::write_row_group;
