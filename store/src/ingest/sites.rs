//! Sums per stack, process and domain, and what each held at the exact peak.
//!
//! Peak in constant time per event: every new maximum gets a version. The first change of a site after a maximum saves
//! what the site held before; at the end a site that was changed since the last maximum held the saved value then, any
//! other holds it still.

use serde::{Deserialize, Serialize};

/// Weighted blocks and bytes. Aligned so that both lie in one cache line: most events change several of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[repr(align(16))]
pub(crate) struct Amount {
    /// Blocks.
    pub blocks: f64,
    /// Bytes.
    pub bytes: f64,
}

impl Amount {
    /// One block of `size` bytes that stands for `weight` blocks.
    #[inline]
    pub(crate) fn of(size: u64, weight: f64) -> Self {
        // Sizes have at most 48 bits, and signed numbers convert faster.
        Self { blocks: weight, bytes: size.cast_signed() as f64 * weight }
    }

    /// One block of `size` bytes that stands for itself.
    #[inline]
    pub(crate) fn one(size: u64) -> Self {
        Self { blocks: 1.0, bytes: size.cast_signed() as f64 }
    }

    #[inline]
    pub(crate) fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
    }

    #[inline]
    pub(crate) fn subtract(&mut self, other: Self) {
        self.blocks -= other.blocks;
        self.bytes -= other.bytes;
    }

    /// The same, if it is not negative. What comes and goes need not add up to zero if sums lost digits on the way, which
    /// takes petabytes: damaged or invented records.
    pub(crate) fn at_least_zero(self) -> Self {
        Self { blocks: self.blocks.max(0.0), bytes: self.bytes.max(0.0) }
    }
}

/// Sums of one stack in one process and domain. Laid out by cache lines, because every event touches one of these
/// somewhere in a large table: an allocation needs the first line, a free the first two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[repr(C, align(64))]
pub(crate) struct Site {
    /// Live now.
    pub live: Amount,
    /// Everything allocated.
    pub allocated: Amount,
    saved_version: u64,
    /// Smallest block.
    pub size_min: u64,
    /// Largest block.
    pub size_max: u64,
    /// Last allocation.
    pub last_ns: i64,

    saved: Amount,
    /// Freed before the same thread allocated again.
    pub temporary: Amount,
    /// Sum, least and most of the lifetimes of freed blocks.
    pub lifetime_sum_ns: f64,
    /// `i64::MAX` before the first free.
    pub lifetime_min_ns: i64,
    /// -1 before the first free.
    pub lifetime_max_ns: i64,
    /// Stack of the recording.
    pub stack: u32,
    /// Process image.
    pub process: u32,

    /// Lived until its process ended.
    pub left: Amount,
    /// Variance of `allocated` under sampling.
    pub variance: Amount,
    /// First allocation.
    pub first_ns: i64,
    /// `DOMAIN_*`.
    pub domain: u8,
}

const _: () = assert!(size_of::<Site>() == 192);
const _: () = assert!(std::mem::offset_of!(Site, saved) == 64);
const _: () = assert!(std::mem::offset_of!(Site, left) == 128);

impl Site {
    /// A site without blocks.
    pub(crate) fn new(process: u32, stack: u32, domain: u8) -> Self {
        let none = Amount::default();
        Self {
            process,
            stack,
            domain,
            live: none,
            saved: none,
            saved_version: 0,
            allocated: none,
            temporary: none,
            left: none,
            lifetime_sum_ns: 0.0,
            lifetime_min_ns: i64::MAX,
            lifetime_max_ns: -1,
            size_min: u64::MAX,
            size_max: 0,
            first_ns: i64::MAX,
            last_ns: 0,
            variance: none,
        }
    }

    #[inline]
    fn save(&mut self, version: u64) {
        if self.saved_version != version {
            self.saved = self.live;
            self.saved_version = version;
        }
    }

    /// A block was handed out. `version` is that of the last maximum.
    #[inline]
    pub(crate) fn allocate(&mut self, version: u64, size: u64, amount: Amount, ns: i64) {
        self.save(version);
        self.live.add(amount);
        self.count_allocated(size, amount, ns);
    }

    /// A block was given back.
    #[inline]
    pub(crate) fn free(&mut self, version: u64, amount: Amount, lifetime_ns: i64, is_temporary: bool) {
        self.save(version);
        self.live.subtract(amount);
        self.count_freed(amount, lifetime_ns);
        if is_temporary {
            self.temporary.add(amount);
        }
    }

    /// A block was handed out and given back at once, without a maximum in between: what is live is as before.
    #[inline]
    pub(crate) fn pass(&mut self, size: u64, amount: Amount, ns: i64, lifetime_ns: i64) {
        self.count_allocated(size, amount, ns);
        self.count_freed(amount, lifetime_ns);
        self.temporary.add(amount);
    }

    #[inline]
    fn count_allocated(&mut self, size: u64, amount: Amount, ns: i64) {
        // Time goes back at late records only; `first_ns` is in a line that is not touched otherwise.
        if self.allocated.blocks == 0.0 || ns < self.last_ns {
            self.first_ns = self.first_ns.min(ns);
        }
        self.allocated.add(amount);
        self.size_min = self.size_min.min(size);
        self.size_max = self.size_max.max(size);
        self.last_ns = self.last_ns.max(ns);
    }

    #[inline]
    fn count_freed(&mut self, amount: Amount, lifetime_ns: i64) {
        self.lifetime_sum_ns += lifetime_ns as f64 * amount.blocks;
        self.lifetime_min_ns = self.lifetime_min_ns.min(lifetime_ns);
        self.lifetime_max_ns = self.lifetime_max_ns.max(lifetime_ns);
    }

    /// A block fell into pieces: `extra` more of them than before, with the same bytes in all.
    pub(crate) fn split(&mut self, version: u64, extra: f64) {
        self.save(version);
        self.live.blocks += extra;
        self.allocated.blocks += extra;
    }

    /// Its process ended with what is live.
    pub(crate) fn leave(&mut self, version: u64) {
        self.save(version);
        self.left.add(self.live);
        self.live = Amount::default();
    }

    /// What was live at the maximum with this version.
    pub(crate) fn at_peak(&self, version: u64) -> Amount {
        if self.saved_version == version { self.saved } else { self.live }
    }
}

/// The most that was live at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peak {
    /// How much, at the maximum of bytes, the first one if it was reached more than once.
    pub amount: Amount,
    /// When.
    pub ns: i64,
}

impl Peak {
    /// Compares with what is live now; says whether that is a new maximum.
    #[inline]
    pub(crate) fn reach(&mut self, now: Amount, ns: i64) -> bool {
        let is_new = now.bytes > self.amount.bytes;
        if is_new {
            (self.amount, self.ns) = (now, ns);
        }
        is_new
    }
}
