//! The 16-byte records of a stream, encoded and decoded.
//!
//! ```text
//!            63    59 58                            15 14          0
//! word 0    | kind 5 |        address >> 3  (44)      | dt low (15) |   Malloc .. MremapNew, Free, Munmap
//! word 1    | stack 28       | size low 24  | dt high (12)          |
//!
//! word 0    | kind 5 | 0 ... | size bits 24..64 (40)                |   Extend: widens the size of the next record
//! word 1    | 0                                                     |
//!
//! word 0    | kind 5 | id 28 | parent 28    | flags 3               |   Node: one step of the calling-context tree
//! word 1    | module 16      | offset 48                            |
//!
//! word 0    | kind 5 | 0                    | slots 16 | arg 32     |   Blob: `slots` slots of payload follow
//! word 1    | value 64                                              |   Time, Thread, Lost: no payload
//! ```
//!
//! `dt` is the distance in time stamp counter ticks to the previous stamp of the stream; every chunk begins with a
//! `Time` record, and a distance that does not fit is preceded by one. A realloc is two records committed together:
//! `ReallocOld` (stamp before the call) and `ReallocNew` (stamp after it).

/// Bits of a time distance.
pub const DT_BITS: u32 = 27;
/// Bits of a stack (node) number.
pub const STACK_BITS: u32 = 28;
/// Bits of a size that fit without [`Kind::Extend`].
pub const SIZE_BITS: u32 = 24;
/// Bits of an address.
pub const ADDRESS_BITS: u32 = 47;
/// Bits of an offset in a module.
pub const OFFSET_BITS: u32 = 48;

const DT_LOW_BITS: u32 = 15;
const KIND_SHIFT: u32 = 59;
const ADDRESS_SHIFT: u32 = DT_LOW_BITS;
const STACK_SHIFT: u32 = 36;
const SIZE_SHIFT: u32 = 12;

/// Root of complete stacks: the unwinder reached the outermost frame.
pub const ROOT_COMPLETE: u32 = 0;
/// Root of stacks cut at the depth limit.
pub const ROOT_TRUNCATED: u32 = 1;
/// Root of stacks whose unwinding ended before the outermost frame.
pub const ROOT_BROKEN: u32 = 2;
/// Not a stack: it was not or could not be captured.
pub const NO_STACK: u32 = 3;
/// First number given to a node.
pub const FIRST_NODE: u32 = 16;
/// Number of nodes that a process image can define.
pub const MAX_NODES: u32 = 1 << STACK_BITS;

/// [`Record::Node`] flag: `offset` is the interrupted instruction itself (a frame below a signal handler), not a return
/// address, so symbol look-ups must not subtract one.
pub const NODE_EXACT: u8 = 1;
/// [`Record::Node`] flag: this frame was found by following frame pointers because there was no unwind rule.
pub const NODE_FALLBACK: u8 = 2;
/// Module number of addresses outside every known module; `offset` is then the absolute address.
pub const NO_MODULE: u16 = u16::MAX;

/// What a record says. The numbers are the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `malloc` and what is built on it.
    Malloc = 1,
    /// `calloc`.
    Calloc = 2,
    /// `posix_memalign`, `aligned_alloc`, `memalign`, `valloc`, `pvalloc`.
    Memalign = 3,
    /// `realloc` or `reallocarray` of a null pointer.
    ReallocNull = 4,
    /// New block of a realloc; follows `ReallocOld`.
    ReallocNew = 5,
    /// Anonymous `mmap`.
    Mmap = 6,
    /// New range of an `mremap`; follows `MremapOld`.
    MremapNew = 7,
    /// `free` and its variants, and `realloc(p, 0)`.
    Free = 8,
    /// Old block of a realloc.
    ReallocOld = 9,
    /// `munmap` of `size` bytes at `address`.
    Munmap = 10,
    /// Old range of an `mremap`, `size` bytes at `address`.
    MremapOld = 11,
    /// Widens the size of the next record.
    Extend = 16,
    /// Absolute time stamp: `value`.
    Time = 17,
    /// Who writes from here on: `arg` is the thread id.
    Thread = 18,
    /// Calling-context tree node.
    Node = 19,
    /// A module instance; payload [`crate::payload::Module`], `arg` its number, `value` its load bias.
    Module = 20,
    /// The process image; payload [`crate::payload::Process`].
    Process = 21,
    /// `value` records were lost, `arg` says why.
    Lost = 22,
    /// A named moment; the payload is its name.
    Mark = 23,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Malloc,
            2 => Self::Calloc,
            3 => Self::Memalign,
            4 => Self::ReallocNull,
            5 => Self::ReallocNew,
            6 => Self::Mmap,
            7 => Self::MremapNew,
            8 => Self::Free,
            9 => Self::ReallocOld,
            10 => Self::Munmap,
            11 => Self::MremapOld,
            16 => Self::Extend,
            17 => Self::Time,
            18 => Self::Thread,
            19 => Self::Node,
            20 => Self::Module,
            21 => Self::Process,
            22 => Self::Lost,
            23 => Self::Mark,
            _ => return None,
        })
    }

    /// Whether records of this kind have the address, stack, size and time layout.
    #[must_use]
    pub const fn is_event(self) -> bool {
        (self as u8) < 16
    }
}

/// Two words as they lie in a chunk.
pub type Slot = [u64; 2];

/// The address in the slot of an event that frees a block. For looking ahead without decoding: slots of payload may look
/// like one.
#[inline(always)]
#[must_use]
pub const fn freed_address(slot: Slot) -> Option<u64> {
    let kind = slot[0] >> KIND_SHIFT;
    if kind == Kind::Free as u64 || kind == Kind::ReallocOld as u64 {
        Some((slot[0] >> ADDRESS_SHIFT & ((1 << 44) - 1)) << 3)
    } else {
        None
    }
}

/// Encodes an event. `dt` must fit [`DT_BITS`], `size` [`SIZE_BITS`], `address` [`ADDRESS_BITS`] and be a multiple of 8;
/// higher bits are cut off.
#[inline(always)]
#[must_use]
pub const fn event(kind: Kind, address: u64, size: u64, stack: u32, dt: u64) -> Slot {
    let low = (1u64 << DT_LOW_BITS) - 1;
    [
        (kind as u64) << KIND_SHIFT | ((address >> 3) & ((1 << 44) - 1)) << ADDRESS_SHIFT | (dt & low),
        ((stack as u64) & ((1 << STACK_BITS) - 1)) << STACK_SHIFT
            | (size & ((1 << SIZE_BITS) - 1)) << SIZE_SHIFT
            | (dt >> DT_LOW_BITS) & ((1 << (DT_BITS - DT_LOW_BITS)) - 1),
    ]
}

/// Encodes the part of `size` that does not fit the event that follows.
#[must_use]
pub const fn extend(size: u64) -> Slot {
    [(Kind::Extend as u64) << KIND_SHIFT | size >> SIZE_BITS, 0]
}

/// Encodes an absolute time stamp.
#[must_use]
pub const fn time(tsc: u64) -> Slot {
    [(Kind::Time as u64) << KIND_SHIFT, tsc]
}

/// Encodes a node of the calling-context tree.
#[must_use]
pub const fn node(id: u32, parent: u32, module: u16, offset: u64, flags: u8) -> Slot {
    [
        (Kind::Node as u64) << KIND_SHIFT | (id as u64) << 31 | (parent as u64) << 3 | (flags & 7) as u64,
        (module as u64) << OFFSET_BITS | offset & ((1 << OFFSET_BITS) - 1),
    ]
}

/// Encodes a record of `kind` with `payload_slots` slots of payload behind it.
#[must_use]
pub const fn blob(kind: Kind, payload_slots: u16, arg: u32, value: u64) -> Slot {
    [(kind as u64) << KIND_SHIFT | (payload_slots as u64) << 32 | arg as u64, value]
}

/// One decoded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A block or range changed.
    Event {
        /// What happened.
        kind: Kind,
        /// Address of the block.
        address: u64,
        /// Bytes asked for (frees: 0).
        size: u64,
        /// Node number of the stack, or one of the roots or [`NO_STACK`].
        stack: u32,
        /// Time stamp, absolute.
        tsc: u64,
    },
    /// A time stamp without an event.
    Time {
        /// Time stamp, absolute.
        tsc: u64,
    },
    /// The stream is written by thread `tid` from here on.
    Thread {
        /// Thread id.
        tid: u32,
    },
    /// A new node of the calling-context tree.
    Node {
        /// Its number.
        id: u32,
        /// Number of the caller's node, or a root.
        parent: u32,
        /// Module number or [`NO_MODULE`].
        module: u16,
        /// Offset of the return address in the module (see [`NODE_EXACT`]).
        offset: u64,
        /// `NODE_*`.
        flags: u8,
    },
    /// A record with a payload: `Module`, `Process` or `Mark`.
    Blob {
        /// Which.
        kind: Kind,
        /// Small argument.
        arg: u32,
        /// Large argument.
        value: u64,
        /// Payload words, padded with zeros.
        payload: &'a [Slot],
    },
    /// Records were lost here.
    Lost {
        /// Number of a [`crate::layout::LossReason`].
        reason: u32,
        /// How many.
        count: u64,
    },
}

/// Why a chunk cannot be decoded further. `slot` is the index of the offending slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The kind is not in this version of the format.
    UnknownKind {
        /// Index of the slot.
        slot: usize,
        /// The number found.
        kind: u8,
    },
    /// The record needs more slots than are there.
    Truncated {
        /// Index of the slot.
        slot: usize,
    },
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownKind { slot, kind } => write!(f, "unknown record kind {kind} in slot {slot}"),
            Self::Truncated { slot } => write!(f, "record in slot {slot} is cut off"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// The fields of a [`Record::Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "said there")]
pub struct Plain {
    pub kind: Kind,
    pub address: u64,
    pub size: u64,
    pub stack: u32,
    pub tsc: u64,
}

/// Decodes the slots of one chunk in order. State (the last time stamp) carries over from call to call, so one decoder
/// serves one stream.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// Last time stamp of the stream.
    pub tsc: u64,
    wide: u64,
}

impl Decoder {
    /// Decodes the record at `slots[at]`; returns it and the index behind it. `None` at the end.
    ///
    /// # Errors
    /// An unknown kind or a payload beyond the end of `slots`; the rest of the chunk cannot be read then.
    #[inline]
    pub fn next<'a>(&mut self, slots: &'a [Slot], at: usize) -> Option<Result<(Record<'a>, usize), DecodeError>> {
        let [w0, w1] = *slots.get(at)?;
        let number = (w0 >> KIND_SHIFT) as u8;
        let Some(kind) = Kind::from_number(number) else {
            return Some(Err(DecodeError::UnknownKind { slot: at, kind: number }));
        };
        if kind.is_event() {
            return Some(Ok((self.event(kind, w0, w1), at + 1)));
        }
        let arg = w0 as u32;
        let record = match kind {
            Kind::Extend => {
                self.wide = w0 & ((1 << 40) - 1);
                // Only an event can be widened; asking the next slot's kind keeps a hostile chain from recursing.
                return match slots.get(at + 1) {
                    Some(next) if (next[0] >> KIND_SHIFT) < 16 => self.next(slots, at + 1),
                    _ => Some(Err(DecodeError::Truncated { slot: at })),
                };
            }
            Kind::Time => {
                self.tsc = w1;
                Record::Time { tsc: w1 }
            }
            Kind::Thread => Record::Thread { tid: arg },
            Kind::Lost => Record::Lost { reason: arg, count: w1 },
            Kind::Node => Record::Node {
                id: (w0 >> 31) as u32 & (MAX_NODES - 1),
                parent: (w0 >> 3) as u32 & (MAX_NODES - 1),
                module: (w1 >> OFFSET_BITS) as u16,
                offset: w1 & ((1 << OFFSET_BITS) - 1),
                flags: w0 as u8 & 7,
            },
            _ => {
                let count = (w0 >> 32) as u16 as usize;
                let Some(payload) = slots.get(at + 1..at + 1 + count) else {
                    return Some(Err(DecodeError::Truncated { slot: at }));
                };
                return Some(Ok((Record::Blob { kind, arg, value: w1, payload }, at + 1 + count)));
            }
        };
        Some(Ok((record, at + 1)))
    }

    /// The record at `slots[at]`, if it is an event in one slot with a stamp before `until`, which nearly all are. Decodes
    /// as [`Decoder::next`] does, in fewer steps, and changes nothing: who takes the event sets [`Decoder::tsc`].
    #[inline(always)]
    #[must_use]
    pub fn peek_plain(&self, slots: &[Slot], at: usize, until: u64) -> Option<Plain> {
        let [w0, w1] = *slots.get(at)?;
        let kind = Kind::from_number((w0 >> KIND_SHIFT) as u8)?;
        let tsc = self.tsc.checked_add(distance(w0, w1)).filter(|tsc| *tsc < until)?;
        (kind.is_event() && self.wide == 0).then(|| fields(kind, w0, w1, 0, tsc))
    }

    #[inline(always)]
    fn event(&mut self, kind: Kind, w0: u64, w1: u64) -> Record<'static> {
        self.tsc = self.tsc.wrapping_add(distance(w0, w1));
        let Plain { kind, address, size, stack, tsc } = fields(kind, w0, w1, self.wide, self.tsc);
        self.wide = 0;
        Record::Event { kind, address, size, stack, tsc }
    }
}

/// Time between an event and the stamp before it.
#[inline(always)]
const fn distance(w0: u64, w1: u64) -> u64 {
    w0 & ((1 << DT_LOW_BITS) - 1) | (w1 & ((1 << (DT_BITS - DT_LOW_BITS)) - 1)) << DT_LOW_BITS
}

/// `wide`: the part of the size that did not fit.
#[inline(always)]
const fn fields(kind: Kind, w0: u64, w1: u64, wide: u64, tsc: u64) -> Plain {
    Plain {
        kind,
        address: ((w0 >> ADDRESS_SHIFT) & ((1 << 44) - 1)) << 3,
        size: (w1 >> SIZE_SHIFT) & ((1 << SIZE_BITS) - 1) | wide << SIZE_BITS,
        stack: (w1 >> STACK_SHIFT) as u32,
        tsc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(slots: &[Slot]) -> Record<'_> {
        Decoder::default().next(slots, 0).unwrap().unwrap().0
    }

    #[test]
    fn events_round_trip_at_their_limits() {
        for address in [0u64, 16, 0x7fff_ffff_fff8] {
            for size in [0u64, 1, (1 << SIZE_BITS) - 1] {
                for stack in [0, NO_STACK, MAX_NODES - 1] {
                    for dt in [0u64, 1, (1 << DT_LOW_BITS) - 1, 1 << DT_LOW_BITS, (1 << DT_BITS) - 1] {
                        let slots = [event(Kind::Free, address, size, stack, dt)];
                        let want = Record::Event { kind: Kind::Free, address, size, stack, tsc: dt };
                        assert_eq!(only(&slots), want);
                    }
                }
            }
        }
    }

    #[test]
    fn wide_sizes_and_time_carry_over() {
        let size = 0x12_3456_789a_bcde;
        let slots = [time(1000), extend(size), event(Kind::Mmap, 4096, size, 20, 5), event(Kind::Free, 8, 0, 0, 7)];
        let mut decoder = Decoder::default();
        let (_, at) = decoder.next(&slots, 0).unwrap().unwrap();
        let (record, at) = decoder.next(&slots, at).unwrap().unwrap();
        assert_eq!(record, Record::Event { kind: Kind::Mmap, address: 4096, size, stack: 20, tsc: 1005 });
        let (record, at) = decoder.next(&slots, at).unwrap().unwrap();
        assert_eq!(record, Record::Event { kind: Kind::Free, address: 8, size: 0, stack: 0, tsc: 1012 });
        assert!(decoder.next(&slots, at).is_none());
    }

    #[test]
    fn nodes_round_trip() {
        let slots = [node(MAX_NODES - 1, 77, NO_MODULE, (1 << OFFSET_BITS) - 1, NODE_EXACT)];
        let want = Record::Node {
            id: MAX_NODES - 1,
            parent: 77,
            module: NO_MODULE,
            offset: (1 << OFFSET_BITS) - 1,
            flags: NODE_EXACT,
        };
        assert_eq!(only(&slots), want);
    }

    /// The example of `FORMAT.md`.
    #[test]
    fn worked_example() {
        assert_eq!(time(900), [0x8800_0000_0000_0000, 0x384]);
        assert_eq!(blob(Kind::Thread, 0, 4711, 0), [0x9000_0000_0000_1267, 0]);
        assert_eq!(node(16, ROOT_COMPLETE, 1, 0x2724a, 0), [0x9800_0008_0000_0000, 0x0001_0000_0002_724a]);
        assert_eq!(node(17, 16, 0, 0x11c9, 0), [0x9800_0008_8000_0080, 0x11c9]);
        let malloc = event(Kind::Malloc, 0x55d2_75c9_92a0, 100, 17, 100);
        assert_eq!(malloc, [0x0d5d_275c_992a_0064, 0x0000_0110_0006_4000]);
    }

    #[test]
    fn hostile_slots_give_errors() {
        let mut decoder = Decoder::default();
        let cut = [blob(Kind::Module, 3, 0, 0), [0, 0]];
        assert_eq!(decoder.next(&cut, 0), Some(Err(DecodeError::Truncated { slot: 0 })));
        let lone = [extend(1 << 30)];
        assert_eq!(decoder.next(&lone, 0), Some(Err(DecodeError::Truncated { slot: 0 })));
        assert_eq!(decoder.next(&[[0, 0]], 0), Some(Err(DecodeError::UnknownKind { slot: 0, kind: 0 })));
        let chain = [extend(1 << 30); 2];
        assert_eq!(decoder.next(&chain, 0), Some(Err(DecodeError::Truncated { slot: 0 })));
    }
}
