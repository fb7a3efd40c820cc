//! A DWARF reader with a budget: the one place that keeps hostile debug information within bounds.
//!
//! addr2line and gimli check that reads stay inside a section, but not how much work a section asks for. Thousands
//! of functions may share one long range list, thousands of units one line program, and addr2line recurses once per
//! nesting level of inlined functions (a level costs one byte of input). Each of these must read through
//! `gimli::Reader`, so counting bytes and watching the stack pointer here bounds time, memory and recursion in all of
//! them at once, lazily, and without a pass over the debug information beforehand.

use std::borrow::Cow;
use std::cell::Cell;

use addr2line::gimli::{self, EndianSlice, Reader, ReaderOffsetId, RunTimeEndian};

/// Bytes that may be read per byte of debug information. Compilers' output stays below 8 (each unit is read for its
/// header, its functions, the inlined functions, and its lines; file names are joined to directories).
const READS_PER_BYTE: u64 = 32;
/// Floor of the budget, so that tiny files with relatively long strings pass.
const MIN_READS: u64 = 16 << 20;
/// Stack that one lookup may use. A level of inlining takes less than 1 KiB; compilers stop after a few dozen levels.
const MAX_STACK: usize = 1 << 20;
/// Stack for the threads that look up: this budget, and the demanglers, which without optimisation take up to 3 MiB.
pub(super) const THREAD_STACK: usize = MAX_STACK + (7 << 20);

/// What is left to spend. One per context; not shared between threads.
#[derive(Debug)]
pub(super) struct Budget {
    reads: Cell<u64>,
    stack_base: usize,
    tripped: Cell<Option<&'static str>>,
}

impl Budget {
    /// A budget for `bytes` of debug information, used from this stack frame downwards.
    pub(super) fn new(bytes: u64) -> Self {
        let reads = bytes.saturating_mul(READS_PER_BYTE).max(MIN_READS);
        Self { reads: Cell::new(reads), stack_base: stack_position(), tripped: Cell::new(None) }
    }

    /// The limit that was hit last, if one was.
    pub(super) fn tripped(&self) -> Option<&'static str> {
        self.tripped.get()
    }

    #[inline(always)]
    fn charge(&self, bytes: usize) -> gimli::Result<()> {
        let left = self.reads.get();
        let used = stack_position().abs_diff(self.stack_base);
        match left.checked_sub(bytes as u64) {
            Some(rest) if used < MAX_STACK => {
                self.reads.set(rest);
                Ok(())
            }
            rest => Err(self.trip(rest.is_none())),
        }
    }

    /// Running out of reads is final. Too deep a stack is one function's fault: the others can still be looked up.
    #[cold]
    fn trip(&self, out_of_reads: bool) -> gimli::Error {
        if out_of_reads {
            self.reads.set(0);
        }
        self.tripped.set(Some(if out_of_reads { "read limit" } else { "nesting limit" }));
        gimli::Error::Io
    }
}

/// Address of a local variable: where the stack is now, to within a frame.
#[inline(always)]
fn stack_position() -> usize {
    let marker = 0u8;
    std::ptr::from_ref(&marker).addr()
}

/// A slice of a section whose reads are charged to a [`Budget`].
#[derive(Debug, Clone, Copy)]
pub(super) struct BudgetReader<'a> {
    slice: EndianSlice<'a, RunTimeEndian>,
    budget: &'a Budget,
}

impl<'a> BudgetReader<'a> {
    /// A reader over a whole section.
    pub(super) fn new(data: &'a [u8], endian: RunTimeEndian, budget: &'a Budget) -> Self {
        Self { slice: EndianSlice::new(data, endian), budget }
    }

    /// The remaining bytes, without copying.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.slice.slice()
    }
}

impl Reader for BudgetReader<'_> {
    type Endian = RunTimeEndian;
    type Offset = usize;

    #[inline]
    fn endian(&self) -> RunTimeEndian {
        self.slice.endian()
    }

    #[inline]
    fn len(&self) -> usize {
        self.slice.len()
    }

    #[inline]
    fn empty(&mut self) {
        self.slice.empty();
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> gimli::Result<()> {
        self.slice.truncate(len)
    }

    #[inline]
    fn offset_from(&self, base: &Self) -> usize {
        self.slice.offset_from(base.slice)
    }

    #[inline]
    fn offset_id(&self) -> ReaderOffsetId {
        self.slice.offset_id()
    }

    #[inline]
    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.slice.lookup_offset_id(id)
    }

    #[inline]
    fn find(&self, byte: u8) -> gimli::Result<usize> {
        let position = Reader::find(&self.slice, byte)?;
        self.budget.charge(position.saturating_add(1))?;
        Ok(position)
    }

    #[inline]
    fn skip(&mut self, len: usize) -> gimli::Result<()> {
        self.budget.charge(1)?;
        self.slice.skip(len)
    }

    #[inline]
    fn split(&mut self, len: usize) -> gimli::Result<Self> {
        self.budget.charge(1)?;
        let slice = self.slice.split(len)?;
        Ok(Self { slice, budget: self.budget })
    }

    fn to_slice(&self) -> gimli::Result<Cow<'_, [u8]>> {
        self.budget.charge(self.slice.len())?;
        self.slice.to_slice()
    }

    fn to_string(&self) -> gimli::Result<Cow<'_, str>> {
        self.budget.charge(self.slice.len())?;
        Reader::to_string(&self.slice)
    }

    fn to_string_lossy(&self) -> gimli::Result<Cow<'_, str>> {
        self.budget.charge(self.slice.len())?;
        Reader::to_string_lossy(&self.slice)
    }

    #[inline]
    fn read_slice(&mut self, buf: &mut [u8]) -> gimli::Result<()> {
        self.budget.charge(buf.len())?;
        self.slice.read_slice(buf)
    }
}
