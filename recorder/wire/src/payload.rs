//! Payloads of variable length: what a module and a process image say about themselves.
//!
//! A payload is a byte string laid over record slots. Fields are little-endian; byte strings carry a `u16` length.
//! [`Writer`] cuts strings that do not fit rather than failing: the recorder has nobody to tell.

use crate::record::Slot;

/// Most slots that one payload may take (4 KiB), so that it always fits a fresh chunk.
pub const MAX_PAYLOAD_SLOTS: usize = 256;

/// Longest build-id that is kept; GNU build-ids have 20 bytes.
pub const MAX_BUILD_ID: usize = 32;

/// How a process image came to be, see [`Process::origin`].
pub const ORIGIN_EXEC: u8 = 0;
/// See [`ORIGIN_EXEC`].
pub const ORIGIN_FORK: u8 = 1;

/// A module instance: an ELF file mapped into a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// First address of its mapping.
    pub start: u64,
    /// First address behind its mapping.
    pub end: u64,
    /// GNU build-id as found in memory; empty if there is none.
    pub build_id: &'a [u8],
    /// Path as the loader knows it.
    pub path: &'a [u8],
}

/// A process image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process<'a> {
    /// Process id.
    pub pid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// `ORIGIN_*`.
    pub origin: u8,
    /// Path of the executable.
    pub exe: &'a [u8],
    /// Arguments, each ended by a zero byte, as in `/proc/self/cmdline`; may be cut.
    pub argv: &'a [u8],
}

/// Fills payload slots byte by byte.
#[derive(Debug)]
pub struct Writer<'a> {
    slots: &'a mut [Slot],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the first byte of `slots`, which must be zeroed.
    pub fn new(slots: &'a mut [Slot]) -> Self {
        Self { slots, len: 0 }
    }

    /// Slots used so far.
    #[must_use]
    pub fn slots_used(&self) -> usize {
        self.len.div_ceil(16)
    }

    fn room(&self) -> usize {
        self.slots.len() * 16 - self.len
    }

    fn byte(&mut self, byte: u8) {
        if let Some(slot) = self.slots.get_mut(self.len / 16) {
            slot[self.len % 16 / 8] |= u64::from(byte) << (self.len % 8 * 8);
            self.len += 1;
        }
    }

    fn number(&mut self, value: u64, bytes: usize) {
        for i in 0..bytes {
            self.byte((value >> (i * 8)) as u8);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.room().saturating_sub(2)).min(u16::MAX as usize);
        self.number(fits as u64, 2);
        for &b in &bytes[..fits] {
            self.byte(b);
        }
    }

    /// Appends a module.
    pub fn module(&mut self, module: &Module<'_>) {
        self.number(module.start, 8);
        self.number(module.end, 8);
        self.bytes(module.build_id);
        self.bytes(module.path);
    }

    /// Appends a process image.
    pub fn process(&mut self, process: &Process<'_>) {
        self.number(process.pid.into(), 4);
        self.number(process.ppid.into(), 4);
        self.number(process.origin.into(), 1);
        self.bytes(process.exe);
        self.bytes(process.argv);
    }

    /// Appends one byte string.
    pub fn text(&mut self, text: &[u8]) {
        self.bytes(text);
    }
}

/// Copies payload slots to `out` as bytes; returns how many bytes were copied.
pub fn copy_bytes(slots: &[Slot], out: &mut [u8]) -> usize {
    let mut n = 0;
    for word in slots.iter().flatten() {
        for byte in word.to_le_bytes() {
            let Some(place) = out.get_mut(n) else { return n };
            *place = byte;
            n += 1;
        }
    }
    n
}

/// Reads the fields of a payload from its bytes; `None` where the bytes end too early.
#[derive(Clone, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// Reads one byte string.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let n = self.number(2)? as usize;
        self.take(n)
    }

    /// Reads a module.
    pub fn module(&mut self) -> Option<Module<'a>> {
        Some(Module { start: self.number(8)?, end: self.number(8)?, build_id: self.text()?, path: self.text()? })
    }

    /// Reads a process image.
    pub fn process(&mut self) -> Option<Process<'a>> {
        Some(Process {
            pid: self.number(4)? as u32,
            ppid: self.number(4)? as u32,
            origin: self.number(1)? as u8,
            exe: self.text()?,
            argv: self.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_round_trip() {
        let mut slots = [[0u64; 2]; 16];
        let module = Module { start: 1 << 46, end: u64::MAX, build_id: &[7; 20], path: b"/usr/lib/libx.so" };
        let process = Process { pid: 7, ppid: 6, origin: ORIGIN_FORK, exe: b"/bin/a", argv: b"a\0-b\0" };
        let mut writer = Writer::new(&mut slots);
        writer.module(&module);
        writer.process(&process);
        let used = writer.slots_used();
        let mut bytes = [0u8; 256];
        let n = copy_bytes(&slots[..used], &mut bytes);
        let mut reader = Reader(&bytes[..n]);
        assert_eq!(reader.module(), Some(module));
        assert_eq!(reader.process(), Some(process));
    }

    #[test]
    fn long_strings_are_cut_and_short_input_is_refused() {
        let mut slots = [[0u64; 2]; 1];
        Writer::new(&mut slots).text(&[b'x'; 100]);
        let mut bytes = [0u8; 16];
        copy_bytes(&slots, &mut bytes);
        assert_eq!(Reader(&bytes).text(), Some(&[b'x'; 14][..]));
        assert_eq!(Reader(&bytes[..5]).text(), None);
        assert_eq!(Reader(&[]).module(), None);
    }
}
