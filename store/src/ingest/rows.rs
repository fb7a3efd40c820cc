//! Finished allocations on their way to the encoder.

use tmq_wire::record::Kind;

use crate::schema::{DOMAIN_HEAP, DOMAIN_MMAP};

/// Names of `allocations.kind`, by [`Part::KIND`]; in order, as columns of texts need them.
pub(crate) const KINDS: [&str; 6] = ["calloc", "malloc", "memalign", "mmap", "mremap", "realloc"];
/// The number of the most frequent kind.
pub(crate) const MALLOC: u8 = 1;

/// The number in [`KINDS`] of a kind that hands out memory; `None` for others.
pub(crate) fn kind_number(kind: Kind) -> Option<u8> {
    Some(match kind {
        Kind::Calloc => 0,
        Kind::Malloc => MALLOC,
        Kind::Memalign => 2,
        Kind::Mmap => 3,
        Kind::MremapNew => 4,
        Kind::ReallocNull | Kind::ReallocNew => 5,
        _ => return None,
    })
}

/// [`Row::free_ns`] of blocks that were never freed, and the other fields that may be unknown.
pub(crate) const NO_TIME: i64 = i64::MIN;
/// [`Part::FREE_THREAD`] and [`Part::FREE_STACK`] where there is none.
pub(crate) const NO_ID: u32 = u32::MAX;

/// One row of `allocations`; ids are those of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub alloc_ns: i64,
    pub free_ns: i64,
    pub address: u64,
    pub size: u64,
    /// Of [`Row::who`].
    pub who: u64,
    /// Of [`Row::freed_by`].
    pub freed_by: u64,
    /// Of [`Row::what`].
    pub what: u64,
}

/// Words of a row, by their place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    AllocNs,
    FreeNs,
    Address,
    Size,
    Who,
    FreedBy,
    What,
}

/// Words in a row.
const WORDS: usize = 7;
/// Rows in [`Rows`]: those of a page of the table.
pub(crate) const ROWS_AT_ONCE: usize = 16 << 10;
/// Words between the beginnings of two columns. More than there are rows, so that the places of a row do not compete for
/// one set of a cache.
const STRIDE: usize = ROWS_AT_ONCE + 72;

/// Rows as columns, because a column at a time is how they are encoded: a value is written once, and read where it lies
/// among its like.
#[derive(Debug)]
pub(crate) struct Rows {
    words: Box<[[i64; STRIDE]; WORDS]>,
    len: usize,
    /// What came after the columns were full, most recent last; the first `taken` of them are in the columns or gone.
    more: Vec<Row>,
    taken: usize,
}

impl Default for Rows {
    fn default() -> Self {
        let words = vec![[0; STRIDE]; WORDS].into_boxed_slice();
        // The length is the one that was asked for.
        let Ok(words) = words.try_into() else { unreachable!() };
        Self { words, len: 0, more: Vec::new(), taken: 0 }
    }
}

impl Rows {
    /// How many there are.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len + self.more.len() - self.taken
    }

    /// Appends a row.
    #[inline(always)]
    pub(crate) fn push(&mut self, row: Row) {
        let at = self.len;
        if at >= ROWS_AT_ONCE {
            return self.push_more(row);
        }
        let [alloc_ns, free_ns, address, size, who, freed_by, what] = &mut *self.words;
        alloc_ns[at] = row.alloc_ns;
        free_ns[at] = row.free_ns;
        address[at] = row.address.cast_signed();
        size[at] = row.size.cast_signed();
        who[at] = row.who.cast_signed();
        freed_by[at] = row.freed_by.cast_signed();
        what[at] = row.what.cast_signed();
        self.len = at + 1;
    }

    #[cold]
    fn push_more(&mut self, row: Row) {
        self.more.push(row);
    }

    /// The values of one word of all rows but those that did not fit (see [`Rows::next`]).
    #[inline]
    pub(crate) fn column(&self, word: Word) -> &[i64] {
        &self.words[word as usize][..self.len]
    }

    /// Drops the rows that [`Rows::column`] has and takes up those that did not fit; says whether there are any.
    pub(crate) fn next(&mut self) -> bool {
        self.len = 0;
        let from = self.taken;
        self.taken = self.more.len().min(from + ROWS_AT_ONCE);
        for at in from..self.taken {
            self.push(self.more[at]);
        }
        if self.taken == self.more.len() {
            (self.more, self.taken) = (Vec::new(), 0);
        }
        self.len > 0
    }

    /// The rows that [`Rows::column`] has, one by one.
    #[cfg(any(test, fuzzing))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Row> {
        let word = |word: Word, at: usize| self.words[word as usize][at];
        (0..self.len).map(move |at| Row {
            alloc_ns: word(Word::AllocNs, at),
            free_ns: word(Word::FreeNs, at),
            address: word(Word::Address, at).cast_unsigned(),
            size: word(Word::Size, at).cast_unsigned(),
            who: word(Word::Who, at).cast_unsigned(),
            freed_by: word(Word::FreedBy, at).cast_unsigned(),
            what: word(Word::What, at).cast_unsigned(),
        })
    }
}

/// A column that is a part of a word of [`Row`]: how far to shift it, and its bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part(u32, u64);

const UPPER: Part = Part(32, u32::MAX as u64);
const LOWER: Part = Part(0, u32::MAX as u64);

impl Part {
    /// `process_id`, a part of [`Row::who`].
    pub(crate) const PROCESS: Self = UPPER;
    /// `thread_id`, a part of [`Row::who`].
    pub(crate) const THREAD: Self = LOWER;
    /// `free_thread_id`, a part of [`Row::freed_by`].
    pub(crate) const FREE_THREAD: Self = UPPER;
    /// `free_stack_id`, a part of [`Row::freed_by`].
    pub(crate) const FREE_STACK: Self = LOWER;
    /// `stack_id`, a part of [`Row::what`].
    pub(crate) const STACK: Self = LOWER;
    /// `kind`, a part of [`Row::what`].
    pub(crate) const KIND: Self = Self(32, 0xFF);
    /// Whether the domain is that of mappings, a part of [`Row::what`].
    pub(crate) const IS_MMAP: Self = Self(40, 1);

    /// This part of a word.
    #[inline(always)]
    pub(crate) fn of(self, word: u64) -> u64 {
        word >> self.0 & self.1
    }

    #[inline(always)]
    const fn with(self, value: u64) -> u64 {
        value << self.0
    }
}

impl Row {
    /// Which process and thread allocated.
    #[inline(always)]
    pub(crate) fn who(process: u32, thread: u32) -> u64 {
        Part::PROCESS.with(process.into()) | Part::THREAD.with(thread.into())
    }

    /// Which thread freed, and where.
    #[inline(always)]
    pub(crate) fn freed_by(thread: u32, stack: u32) -> u64 {
        Part::FREE_THREAD.with(thread.into()) | Part::FREE_STACK.with(stack.into())
    }

    /// By which call, and where.
    #[inline(always)]
    pub(crate) fn what(stack: u32, kind: u8, is_mmap: bool) -> u64 {
        Part::STACK.with(stack.into()) | Part::KIND.with(kind.into()) | Part::IS_MMAP.with(is_mmap.into())
    }

    /// `allocations.domain` by what [`Part::IS_MMAP`] says.
    pub(crate) fn domain(is_mmap: u64) -> i32 {
        if is_mmap != 0 { DOMAIN_MMAP } else { DOMAIN_HEAP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_names() {
        let named = [
            (Kind::Malloc, "malloc"),
            (Kind::Calloc, "calloc"),
            (Kind::Memalign, "memalign"),
            (Kind::ReallocNull, "realloc"),
            (Kind::ReallocNew, "realloc"),
            (Kind::Mmap, "mmap"),
            (Kind::MremapNew, "mremap"),
        ];
        assert!(named.iter().all(|&(kind, name)| kind_number(kind).map(|number| KINDS[number as usize]) == Some(name)));
        assert_eq!(kind_number(Kind::Free), None);
    }

    #[test]
    fn rows_that_do_not_fit_come_next() {
        let row = |i: u64| Row {
            alloc_ns: i as i64,
            free_ns: NO_TIME,
            address: i * 8,
            size: i + 1,
            who: Row::who(1, i as u32),
            freed_by: Row::freed_by(NO_ID, 7),
            what: Row::what(5, 2, i.is_multiple_of(2)),
        };
        let mut rows = Rows::default();
        let count = 2 * ROWS_AT_ONCE as u64 + 5;
        (0..count).for_each(|i| rows.push(row(i)));
        assert_eq!(rows.len() as u64, count);
        let mut seen = Vec::new();
        loop {
            assert_eq!(rows.column(Word::Size).len(), rows.iter().count());
            seen.extend(rows.iter());
            if !rows.next() {
                break;
            }
        }
        assert_eq!(rows.len(), 0);
        assert!(seen.into_iter().eq((0..count).map(row)));
        let what = row(6).what;
        assert_eq!((Part::STACK.of(what), Part::KIND.of(what), Part::IS_MMAP.of(what)), (5, 2, 1));
    }
}
