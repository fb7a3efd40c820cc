//! Call frame information: finds the entry of an address in `.eh_frame` and condenses it to a rule.
//!
//! Reads the tables of loaded modules where they lie (LSB Core, "Exception Frames"; DWARF 5 §6.4). Nothing is allocated
//! and little stack is used. Every read stays inside the module's mapping; what is malformed or needs more than rsp and
//! rbp gives [`Found::Unsupported`].

use crate::elf::Object;
use crate::unwind::rules::Rule;

/// What the tables say about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A rule.
    Rule(Rule),
    /// The frame that returns from a signal handler: registers are in the signal context.
    Signal,
    /// There is no entry for this address.
    Nothing,
    /// The entry needs registers or operations that are not tracked.
    Unsupported,
}

const RBP: u64 = 6;
const RSP: u64 = 7;
const RETURN_ADDRESS: u64 = 16;
/// Depth of `DW_CFA_remember_state`; compilers nest one level.
const MAX_REMEMBERED: usize = 4;

/// Bounded little-endian reader over mapped memory.
#[derive(Clone, Copy)]
struct Reader {
    at: usize,
    end: usize,
}

impl Reader {
    fn bytes(&mut self, n: usize) -> Option<u64> {
        if self.end.checked_sub(self.at)? < n {
            return None;
        }
        let mut value = [0u8; 8];
        // SAFETY: `at..end` lies inside a mapped module, and `n` bytes are left in it.
        unsafe { core::ptr::copy_nonoverlapping(self.at as *const u8, value.as_mut_ptr(), n) };
        self.at += n;
        Some(u64::from_le_bytes(value))
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b as u8)
    }

    fn uleb(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }

    fn sleb(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let byte = self.byte()?;
            if shift < 64 {
                value |= i64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(if shift < 64 && byte & 0x40 != 0 { value | -1i64 << shift } else { value });
            }
        }
    }

    fn skip(&mut self, n: u64) -> Option<()> {
        if ((self.end - self.at) as u64) < n {
            return None;
        }
        self.at += n as usize;
        Some(())
    }

    /// A pointer in a `DW_EH_PE_*` encoding, absolute or pc-relative; indirection is not followed.
    fn pointer(&mut self, encoding: u8) -> Option<u64> {
        const PC_RELATIVE: u8 = 0x10;
        let here = self.at as u64;
        let value = match encoding & 0x0f {
            0x00 | 0x04 | 0x0c => self.bytes(8)?,
            0x02 => self.bytes(2)?,
            0x03 => self.bytes(4)?,
            0x0a => self.bytes(2)? as i16 as u64,
            0x0b => self.bytes(4)? as i32 as u64,
            0x01 => self.uleb()?,
            0x09 => self.sleb()? as u64,
            _ => return None,
        };
        match encoding & 0x70 {
            0 => Some(value),
            PC_RELATIVE => Some(value.wrapping_add(here)),
            _ => None,
        }
    }
}

/// Finds the rule for the instruction at `pc` of `object`.
#[must_use]
pub fn find(object: &Object, pc: u64) -> Found {
    if object.eh_frame_hdr == 0 {
        return Found::Nothing;
    }
    match lookup_fde(object, pc) {
        None => Found::Nothing,
        Some(fde) => parse_fde(object, fde, pc).unwrap_or(Found::Unsupported),
    }
}

/// Binary search in `.eh_frame_hdr`; the address of the entry that may cover `pc`.
fn lookup_fde(object: &Object, pc: u64) -> Option<usize> {
    const DATA_RELATIVE_SDATA4: u8 = 0x3b;
    let base = object.eh_frame_hdr;
    let mut header = Reader { at: base, end: object.tables.1 };
    let [version, frame_encoding, count_encoding, table_encoding] =
        header.bytes(4)?.to_le_bytes()[..4].try_into().ok()?;
    if version != 1 || table_encoding != DATA_RELATIVE_SDATA4 {
        return None;
    }
    header.pointer(frame_encoding)?;
    let count = header.pointer(count_encoding)? as usize;
    let table = header.at;
    if count == 0 || object.tables.1.checked_sub(table)? / 8 < count {
        return None;
    }
    let relative = (pc as i64).wrapping_sub(base as i64);
    // SAFETY: entry `i < count` lies inside the mapping, checked above.
    let entry = |i: usize| unsafe { *((table + i * 8) as *const [i32; 2]) };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if i64::from(entry(middle)[0]) <= relative { low = middle + 1 } else { high = middle }
    }
    let at = (base as i64).wrapping_add(entry(low.checked_sub(1)?)[1].into()) as usize;
    (object.tables.0 <= at && at < object.tables.1).then_some(at)
}

/// What a CIE says that its FDEs need.
struct Cie {
    code_factor: u64,
    data_factor: i64,
    pointer_encoding: u8,
    augmented: bool,
    signal: bool,
    instructions: Reader,
}

fn parse_cie(object: &Object, at: usize) -> Option<Cie> {
    let mut r = Reader { at, end: object.tables.1 };
    let length = r.bytes(4)?;
    if length >= 0xffff_fff0 || length > (r.end - r.at) as u64 {
        return None;
    }
    r.end = r.at + length as usize;
    if r.bytes(4)? != 0 {
        return None;
    }
    let version = r.byte()?;
    let augmentation = r;
    while r.byte()? != 0 {}
    let (code_factor, data_factor) = (r.uleb()?, r.sleb()?);
    let register = if version == 1 { r.byte()?.into() } else { r.uleb()? };
    if register != RETURN_ADDRESS {
        return None;
    }
    let mut cie =
        Cie { code_factor, data_factor, pointer_encoding: 0, augmented: false, signal: false, instructions: r };
    let mut letters = augmentation;
    let mut data = r;
    loop {
        match letters.byte()? {
            0 => break,
            b'z' => {
                let length = data.uleb()?;
                cie.augmented = true;
                cie.instructions = data;
                cie.instructions.skip(length)?;
            }
            b'R' => cie.pointer_encoding = data.byte()?,
            b'L' => drop(data.byte()?),
            b'P' => {
                let encoding = data.byte()?;
                // Only its size matters here.
                data.pointer(encoding & 0x0f)?;
            }
            b'S' => cie.signal = true,
            _ => return None,
        }
    }
    Some(cie)
}

fn parse_fde(object: &Object, at: usize, pc: u64) -> Option<Found> {
    let mut r = Reader { at, end: object.tables.1 };
    let length = r.bytes(4)?;
    if length >= 0xffff_fff0 || length > (r.end - r.at) as u64 {
        return None;
    }
    r.end = r.at + length as usize;
    let cie_field = r.at;
    let cie_at = cie_field.checked_sub(r.bytes(4)? as usize)?;
    if cie_at < object.tables.0 {
        return None;
    }
    let cie = parse_cie(object, cie_at)?;
    let begin = r.pointer(cie.pointer_encoding)?;
    let range = r.pointer(cie.pointer_encoding & 0x0f)?;
    if pc < begin || pc - begin >= range {
        return Some(Found::Nothing);
    }
    if cie.augmented {
        let n = r.uleb()?;
        r.skip(n)?;
    }
    if cie.signal {
        return Some(Found::Signal);
    }
    let mut row = Row::START;
    let mut none = [Row::START; MAX_REMEMBERED];
    execute(cie.instructions, &cie, u64::MAX, 0, &mut row, Row::START, &mut none)?;
    let initial = row;
    let mut remembered = [initial; MAX_REMEMBERED];
    execute(r, &cie, pc, begin, &mut row, initial, &mut remembered)?;
    Some(row.rule())
}

/// How the canonical frame address is computed.
#[derive(Clone, Copy, PartialEq)]
enum Cfa {
    Register(u64, i64),
    /// `*(rbp + offset)`
    DerefBp(i64),
    Other,
}

/// Where a register's value in the caller is found.
#[derive(Clone, Copy, PartialEq)]
enum Saved {
    Same,
    Undefined,
    /// At cfa + offset.
    AtCfa(i64),
    /// At rbp + offset.
    AtBp(i64),
    Other,
}

#[derive(Clone, Copy)]
struct Row {
    cfa: Cfa,
    rbp: Saved,
    ra: Saved,
}

impl Row {
    const START: Self = Self { cfa: Cfa::Other, rbp: Saved::Same, ra: Saved::Undefined };

    fn set(&mut self, register: u64, saved: Saved) {
        match register {
            RBP => self.rbp = saved,
            RETURN_ADDRESS => self.ra = saved,
            _ => {}
        }
    }

    fn restore(&mut self, register: u64, initial: &Self) {
        match register {
            RBP => self.rbp = initial.rbp,
            RETURN_ADDRESS => self.ra = initial.ra,
            _ => {}
        }
    }

    fn rule(&self) -> Found {
        if self.ra == Saved::Undefined {
            return Found::Rule(Rule::End);
        }
        if self.ra != Saved::AtCfa(-8) {
            return Found::Unsupported;
        }
        let rule = match (self.cfa, self.rbp) {
            (Cfa::Register(RSP, offset), Saved::Same | Saved::Undefined) => {
                u32::try_from(offset).ok().map(|offset| Rule::Sp { offset })
            }
            // Below the stack pointer: an epilogue has taken rbp from there already, and the tables (LLVM's) do not say so.
            // Met where a signal interrupts it.
            (Cfa::Register(RSP, offset), Saved::AtCfa(saved)) if offset.saturating_add(saved) < 0 => {
                u32::try_from(offset).ok().map(|offset| Rule::Sp { offset })
            }
            (Cfa::Register(RSP, offset), Saved::AtCfa(saved)) => {
                both(offset, saved).map(|(offset, saved)| Rule::SpSaved { offset, saved })
            }
            (Cfa::Register(RBP, offset), Saved::AtCfa(saved)) => {
                both(offset, saved).map(|(offset, saved)| Rule::BpSaved { offset, saved })
            }
            (Cfa::Register(RBP, offset), Saved::Same | Saved::Undefined) => {
                u32::try_from(offset).ok().map(|offset| Rule::Bp { offset })
            }
            (Cfa::DerefBp(offset), Saved::AtBp(saved)) => i32::try_from(offset)
                .ok()
                .zip(i32::try_from(saved).ok())
                .map(|(offset, saved)| Rule::Realigned { offset, saved }),
            _ => None,
        };
        rule.map_or(Found::Unsupported, Found::Rule)
    }
}

fn both(offset: i64, saved: i64) -> Option<(u32, i32)> {
    Some((u32::try_from(offset).ok()?, i32::try_from(saved).ok()?))
}

/// Executes instructions until the row of `pc` is complete. `None`: malformed or unknown.
fn execute(
    mut r: Reader,
    cie: &Cie,
    pc: u64,
    begin: u64,
    row: &mut Row,
    initial: Row,
    remembered: &mut [Row; MAX_REMEMBERED],
) -> Option<()> {
    let (mut location, mut depth) = (begin, 0usize);
    while r.at < r.end {
        let op = r.byte()?;
        let low = u64::from(op & 0x3f);
        let advance = match op {
            0x40..=0x7f => low,
            0x02 => r.bytes(1)?,
            0x03 => r.bytes(2)?,
            0x04 => r.bytes(4)?,
            0x01 => {
                location = r.pointer(cie.pointer_encoding)?;
                if location > pc {
                    return Some(());
                }
                continue;
            }
            0x0a => {
                *remembered.get_mut(depth)? = *row;
                depth += 1;
                continue;
            }
            0x0b => {
                depth = depth.checked_sub(1)?;
                *row = remembered[depth];
                continue;
            }
            _ => {
                instruction(op, low, &mut r, cie, row, &initial)?;
                continue;
            }
        };
        location = location.wrapping_add(advance.wrapping_mul(cie.code_factor));
        if location > pc {
            return Some(());
        }
    }
    Some(())
}

/// One instruction that changes the row.
fn instruction(op: u8, low: u64, r: &mut Reader, cie: &Cie, row: &mut Row, initial: &Row) -> Option<()> {
    let factored = |n: u64| (n as i64).wrapping_mul(cie.data_factor);
    match op {
        0x00 => {}
        0x80..=0xbf => row.set(low, Saved::AtCfa(factored(r.uleb()?))),
        0xc0..=0xff => row.restore(low, initial),
        0x05 => {
            let register = r.uleb()?;
            row.set(register, Saved::AtCfa(factored(r.uleb()?)));
        }
        0x06 => {
            let register = r.uleb()?;
            row.restore(register, initial);
        }
        0x07 => row.set(r.uleb()?, Saved::Undefined),
        0x08 => row.set(r.uleb()?, Saved::Same),
        0x09 => {
            let register = r.uleb()?;
            r.uleb()?;
            row.set(register, Saved::Other);
        }
        0x0c => row.cfa = Cfa::Register(r.uleb()?, r.uleb()? as i64),
        0x0d => {
            let register = r.uleb()?;
            row.cfa = match row.cfa {
                Cfa::Register(_, offset) => Cfa::Register(register, offset),
                _ => Cfa::Other,
            };
        }
        0x0e | 0x13 => {
            let offset = if op == 0x0e { r.uleb()? as i64 } else { r.sleb()?.wrapping_mul(cie.data_factor) };
            if let Cfa::Register(register, _) = row.cfa {
                row.cfa = Cfa::Register(register, offset);
            }
        }
        0x0f => row.cfa = cfa_expression(r)?,
        0x10 => {
            let register = r.uleb()?;
            let saved = address_expression(r)?;
            row.set(register, saved);
        }
        0x11 => {
            let register = r.uleb()?;
            row.set(register, Saved::AtCfa(r.sleb()?.wrapping_mul(cie.data_factor)));
        }
        0x12 => row.cfa = Cfa::Register(r.uleb()?, r.sleb()?.wrapping_mul(cie.data_factor)),
        0x14 | 0x15 => {
            let register = r.uleb()?;
            r.uleb()?;
            row.set(register, Saved::Other);
        }
        0x16 => {
            let register = r.uleb()?;
            let n = r.uleb()?;
            r.skip(n)?;
            row.set(register, Saved::Other);
        }
        0x2e => drop(r.uleb()?),
        _ => return None,
    }
    Some(())
}

const DW_OP_BREG_RBP: u8 = 0x76;
const DW_OP_DEREF: u8 = 0x06;

/// `DW_OP_breg6 n; DW_OP_deref`, as GCC writes it for functions that realign their stack.
fn cfa_expression(r: &mut Reader) -> Option<Cfa> {
    let n = r.uleb()?;
    let mut block = *r;
    r.skip(n)?;
    block.end = r.at;
    if block.byte() != Some(DW_OP_BREG_RBP) {
        return Some(Cfa::Other);
    }
    let offset = block.sleb()?;
    let plain = block.byte() == Some(DW_OP_DEREF) && block.at == block.end;
    Some(if plain { Cfa::DerefBp(offset) } else { Cfa::Other })
}

/// `DW_OP_breg6 n`: saved at rbp + n.
fn address_expression(r: &mut Reader) -> Option<Saved> {
    let n = r.uleb()?;
    let mut block = *r;
    r.skip(n)?;
    block.end = r.at;
    if block.byte() != Some(DW_OP_BREG_RBP) {
        return Some(Saved::Other);
    }
    let offset = block.sleb()?;
    Some(if block.at == block.end { Saved::AtBp(offset) } else { Saved::Other })
}
