//! A snapshot as a pickle of protocol 4, which CPython 3.4 and later read.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::DumpFor;
use crate::tracemalloc::{Frame, Snapshot, Trace, Traceback};

/// Traces between two APPENDS, as Python's own pickler has it.
const BATCH: usize = 1000;

/// Writes the snapshot.
pub(super) fn snapshot(snapshot: &Snapshot, python: DumpFor, out: &mut impl Write) -> io::Result<()> {
    let mut writer =
        Writer { out, remembered: 0, tracebacks: HashMap::new(), frames: HashMap::new(), files: HashMap::new() };
    writer.out.write_all(b"\x80\x04ctracemalloc\nSnapshot\n)\x81}(")?;
    writer.text("traces")?;
    writer.out.write_all(b"ctracemalloc\n_Traces\n)\x81}")?;
    writer.text("_traces")?;
    writer.out.write_all(b"]")?;
    for batch in snapshot.traces.chunks(BATCH) {
        writer.out.write_all(b"(")?;
        for trace in batch {
            writer.trace(trace, python)?;
        }
        writer.out.write_all(b"e")?;
    }
    writer.out.write_all(b"sb")?;
    writer.text("traceback_limit")?;
    writer.integer(i64::from(snapshot.traceback_limit))?;
    writer.out.write_all(b"ub.")
}

struct Writer<'a, W> {
    out: &'a mut W,
    remembered: u32,
    tracebacks: HashMap<Traceback, u32>,
    frames: HashMap<Frame, u32>,
    files: HashMap<Arc<str>, u32>,
}

impl<W: Write> Writer<'_, W> {
    fn trace(&mut self, trace: &Trace, python: DumpFor) -> io::Result<()> {
        // Four parts need a mark.
        if python == DumpFor::Python39 {
            self.out.write_all(b"(")?;
        }
        if python != DumpFor::Python34 {
            self.integer(i64::from(trace.domain))?;
        }
        self.integer(trace.size)?;
        self.traceback(&trace.traceback)?;
        match python {
            DumpFor::Python39 => {
                match trace.traceback.total_nframe {
                    Some(total) => self.integer(i64::from(total))?,
                    None => self.out.write_all(b"N")?,
                }
                self.out.write_all(b"t")
            }
            DumpFor::Python36 => self.out.write_all(b"\x87"),
            DumpFor::Python34 => self.out.write_all(b"\x86"),
        }
    }

    fn traceback(&mut self, traceback: &Traceback) -> io::Result<()> {
        if let Some(number) = self.tracebacks.get(traceback) {
            return recall(self.out, *number);
        }
        self.out.write_all(b"(")?;
        for frame in traceback.frames() {
            self.frame(frame)?;
        }
        self.out.write_all(b"t")?;
        let number = self.remember()?;
        self.tracebacks.insert(traceback.clone(), number);
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        if let Some(number) = self.frames.get(frame) {
            return recall(self.out, *number);
        }
        match self.files.get(&frame.filename) {
            Some(number) => recall(self.out, *number)?,
            None => {
                self.text(&frame.filename)?;
                let number = self.remember()?;
                self.files.insert(Arc::clone(&frame.filename), number);
            }
        }
        self.integer(i64::from(frame.lineno))?;
        self.out.write_all(b"\x86")?;
        let number = self.remember()?;
        self.frames.insert(frame.clone(), number);
        Ok(())
    }

    fn remember(&mut self) -> io::Result<u32> {
        self.out.write_all(b"\x94")?;
        self.remembered += 1;
        Ok(self.remembered - 1)
    }

    fn integer(&mut self, value: i64) -> io::Result<()> {
        if let Ok(small) = u8::try_from(value) {
            return self.out.write_all(&[b'K', small]);
        }
        if let Ok(word) = i32::try_from(value) {
            self.out.write_all(b"J")?;
            return self.out.write_all(&word.to_le_bytes());
        }
        self.out.write_all(b"\x8a\x08")?;
        self.out.write_all(&value.to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let bytes = encode(text);
        self.out.write_all(b"X")?;
        let length =
            u32::try_from(bytes.len()).map_err(|_| io::Error::other("a file name is too long for a pickle"))?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&bytes)
    }
}

fn recall(out: &mut impl Write, number: u32) -> io::Result<()> {
    match u8::try_from(number) {
        Ok(small) => out.write_all(&[b'h', small]),
        Err(_) => {
            out.write_all(b"j")?;
            out.write_all(&number.to_le_bytes())
        }
    }
}

/// UTF-8 with bytes that were no text as the surrogates that Python has for them.
fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match c as u32 {
            code @ 0xef80..=0xefff => {
                let surrogate = code - 0xef80 + 0xdc80;
                bytes.extend([0xed, 0x80 | (surrogate >> 6 & 0x3f) as u8, 0x80 | (surrogate & 0x3f) as u8]);
            }
            _ => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}
