//! Bytes as a source of decisions: numbers that are mostly small, texts, wire slots. It never ends, it only gives zeros.

use tmq_wire::record::{self, Kind, Slot};

/// What is left of the bytes.
#[derive(Clone, Debug)]
pub struct Source<'a>(pub &'a [u8]);

impl<'a> Source<'a> {
    /// Whether everything is used up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes, at most `n`.
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n.min(self.0.len()));
        self.0 = tail;
        head
    }

    fn fixed(&mut self, n: usize) -> u64 {
        self.bytes(n).iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.fixed(1) as u8
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        self.fixed(4) as u32
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        self.fixed(8)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.fixed(if limit <= 256 { 1 } else { 4 }) % limit.max(1)
    }

    /// A number of any size; small ones, and those next to powers of two, take few bytes.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            tag @ 0..=63 => tag.into(),
            64..=127 => self.fixed(1),
            128..=159 => self.fixed(2),
            160..=191 => self.fixed(4),
            tag @ 192..=223 => (1u64 << (tag & 31) << (tag & 31)).wrapping_sub(self.fixed(1) & 1),
            224..=239 => u64::MAX - self.fixed(1),
            _ => self.fixed(8),
        }
    }

    /// A short text.
    pub fn text(&mut self) -> String {
        let length = self.byte() as usize % 48;
        String::from_utf8_lossy(self.bytes(length)).into_owned()
    }

    /// A slot: now and then any 16 bytes, mostly a record whose fields are small enough to meet others. `tsc` is the last
    /// stamp of the stream.
    pub fn slots(&mut self, out: &mut Vec<Slot>) {
        let choice = self.byte();
        match choice {
            0..=15 => out.push([self.u64(), self.u64()]),
            16..=31 => out.push(record::time(self.number())),
            32..=47 => out.push(record::extend(self.u64())),
            48..=63 => out.push(record::blob(Kind::Thread, 0, self.number() as u32, 0)),
            64..=95 => self.node(out),
            96..=103 => out.push(record::blob(Kind::Lost, 0, self.number() as u32, self.number())),
            104..=127 => self.blob(out),
            _ => self.event(out),
        }
    }

    fn event(&mut self, out: &mut Vec<Slot>) {
        let kind = Kind::from_number(1 + self.byte() % 11).unwrap_or(Kind::Free);
        let address = match self.byte() {
            255 => self.u64(),
            other => u64::from(other & 31) << 12 | u64::from(other >> 5) * 16,
        };
        let (size, stack, dt) = (self.number(), 12 + u32::from(self.byte() & 15), self.number());
        if size >> record::SIZE_BITS != 0 {
            out.push(record::extend(size));
        }
        out.push(record::event(kind, address, size, stack, dt));
    }

    fn node(&mut self, out: &mut Vec<Slot>) {
        let (id, parent) = (12 + u32::from(self.byte() & 15), 12 + u32::from(self.byte() & 15));
        let parent = if parent < 16 { parent - 12 } else { parent };
        out.push(record::node(id, parent, self.number() as u16, self.number(), self.byte()));
    }

    fn blob(&mut self, out: &mut Vec<Slot>) {
        let kind = [Kind::Module, Kind::Process, Kind::Mark][self.byte() as usize % 3];
        let (arg, value) = (self.number() as u32, self.number());
        let mut payload = [[0u64; 2]; 16];
        let mut writer = tmq_wire::payload::Writer::new(&mut payload);
        match kind {
            Kind::Module => writer.module(&tmq_wire::payload::Module {
                start: self.number(),
                end: self.number(),
                build_id: self.text().as_bytes(),
                path: self.text().as_bytes(),
            }),
            Kind::Process => writer.process(&tmq_wire::payload::Process {
                pid: self.number() as u32,
                ppid: self.number() as u32,
                origin: self.byte(),
                exe: self.text().as_bytes(),
                argv: self.text().as_bytes(),
            }),
            _ => writer.text(self.text().as_bytes()),
        }
        let used = writer.slots_used();
        // Mostly as long as it says.
        let claimed = if self.byte() > 240 { self.number() as u16 } else { used as u16 };
        out.push(record::blob(kind, claimed, arg, value));
        out.extend_from_slice(&payload[..used]);
    }
}
