//! The stack machine: protocols 2 to 5, plain data and two classes.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::Fault;
use super::values::{Class, Value, Values};
use crate::tracemalloc::Snapshot;

/// Newest protocol that is known.
const PROTOCOL: u8 = 5;
/// A snapshot needs a thousand traces and one long traceback on the stack at a time.
const MAX_STACK: usize = 4 << 20;
/// Longest name of a module or class.
const MAX_NAME: u64 = 1 << 10;

/// Reads a snapshot.
pub(super) fn snapshot(input: &mut impl BufRead) -> Result<Snapshot, Fault> {
    let mut machine = Machine {
        input,
        offset: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        sparse: HashMap::new(),
        values: Values::default(),
    };
    loop {
        let at = machine.offset;
        let fault = |reason| Fault { offset: at, reason };
        match machine.step() {
            Ok(None) => {}
            Ok(Some(value)) => return machine.values.snapshot(value).map_err(fault),
            Err(reason) => return Err(fault(reason)),
        }
    }
}

struct Machine<'a, R> {
    input: &'a mut R,
    offset: u64,
    stack: Vec<Value>,
    /// Heights of the stack that were marked.
    marks: Vec<usize>,
    /// Values by number; numbers come in order but for hand-made pickles, whose others are in `sparse`.
    memo: Vec<Value>,
    sparse: HashMap<u32, Value>,
    values: Values,
}

impl<R: BufRead> Machine<'_, R> {
    /// Executes one instruction; the value at the end.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let op = self.byte()?;
        if self.offset == 1 && op != 0x80 {
            return Err("it is no pickle of protocol 2 or later".to_owned());
        }
        if self.stack.len() > MAX_STACK || self.marks.len() > MAX_STACK {
            return Err("it nests too deeply".to_owned());
        }
        match op {
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            0x80 => self.protocol()?,
            // FRAME: what follows is in one piece, which is nothing to a reader of a file.
            0x95 => drop(self.array::<8>()?),
            b'c' | 0x93 | 0x81 | b'b' => self.objects(op)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' | b'p' | b'g' => self.memo(op)?,
            b'0' | b'1' | b'2' => self.stack_only(op)?,
            b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'a' | b'e' | b'}' | b'd' | b's' | b'u' => self.containers(op)?,
            0x8f..=0x91 => self.sets(op)?,
            _ => {
                let value = self.scalar(op)?;
                self.stack.push(value);
            }
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Result<(), String> {
        match self.byte()? {
            2..=PROTOCOL => Ok(()),
            version => Err(format!("pickle protocol {version} is not known")),
        }
    }

    fn scalar(&mut self, op: u8) -> Result<Value, String> {
        Ok(match op {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Other,
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            0x8a => {
                let length = u64::from(self.byte()?);
                integer(&self.bytes(length)?)
            }
            0x8b => {
                let length = u64::from(u32::from_le_bytes(self.array()?));
                integer(&self.bytes(length)?)
            }
            b'G' => {
                self.array::<8>()?;
                Value::Other
            }
            0x8c => {
                let length = u64::from(self.byte()?);
                self.text(length)?
            }
            b'X' => {
                let length = u64::from(u32::from_le_bytes(self.array()?));
                self.text(length)?
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)?
            }
            b'C' => {
                let length = u64::from(self.byte()?);
                self.skip(length)?
            }
            b'B' => {
                let length = u64::from(u32::from_le_bytes(self.array()?));
                self.skip(length)?
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.array()?);
                self.skip(length)?
            }
            b'R' | b'o' | b'i' | 0x92 => return Err("it calls something; snapshots hold only data".to_owned()),
            _ => return Err(format!("instruction 0x{op:02x} is not known")),
        })
    }

    fn objects(&mut self, op: u8) -> Result<(), String> {
        match op {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Class(class(&module, &name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.values.text_of(module), self.values.text_of(name)) else {
                    return Err("it names a global that is no text".to_owned());
                };
                let class = class(module, name)?;
                self.stack.push(Value::Class(class));
            }
            0x81 => {
                let _arguments = self.pop()?;
                let Value::Class(class) = self.pop()? else { return Err("it makes an object of no class".to_owned()) };
                let object = self.values.object(class)?;
                self.stack.push(object);
            }
            _ => {
                let state = self.pop()?;
                let object = self.top()?;
                self.values.build(object, state)?;
            }
        }
        Ok(())
    }

    fn memo(&mut self, op: u8) -> Result<(), String> {
        let number = match op {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            0x94 => u32::try_from(self.memo.len() + self.sparse.len()).map_err(|_| "it remembers too much")?,
            _ => self.line()?.parse().map_err(|_| "it remembers under no number")?,
        };
        if matches!(op, b'h' | b'j' | b'g') {
            let value = self.memo.get(number as usize).or_else(|| self.sparse.get(&number));
            let value = *value.ok_or_else(|| format!("it recalls {number}, which it never remembered"))?;
            self.stack.push(value);
            return Ok(());
        }
        let value = self.top()?;
        let remembered = self.memo.len();
        match self.memo.get_mut(number as usize) {
            Some(slot) => *slot = value,
            None if number as usize == remembered => self.memo.push(value),
            None => drop(self.sparse.insert(number, value)),
        }
        Ok(())
    }

    fn stack_only(&mut self, op: u8) -> Result<(), String> {
        match op {
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            _ => {
                let top = self.top()?;
                self.stack.push(top);
            }
        }
        Ok(())
    }

    fn containers(&mut self, op: u8) -> Result<(), String> {
        match op {
            b')' => self.push_tuple(&[]),
            b't' => {
                let items = self.since_mark()?;
                self.push_tuple(&items)
            }
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(op - 0x84)).ok_or("its stack is empty")?;
                let items = self.stack.split_off(from);
                self.push_tuple(&items)
            }
            b']' | b'l' => {
                let items = if op == b'l' { self.since_mark()? } else { Vec::new() };
                let list = self.values.list()?;
                self.stack.push(list);
                self.values.append(list, &items)
            }
            b'a' => {
                let item = self.pop()?;
                let list = self.top()?;
                self.values.append(list, &[item])
            }
            b'e' => {
                let items = self.since_mark()?;
                let list = self.top()?;
                self.values.append(list, &items)
            }
            b'}' | b'd' => {
                let pairs = if op == b'd' { self.since_mark()? } else { Vec::new() };
                let dict = self.values.dict()?;
                self.stack.push(dict);
                self.values.set_items(dict, &pairs)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                let dict = self.top()?;
                self.values.set_items(dict, &[key, value])
            }
            _ => {
                let pairs = self.since_mark()?;
                let dict = self.top()?;
                self.values.set_items(dict, &pairs)
            }
        }
    }

    /// EMPTY_SET, ADDITEMS, FROZENSET: only users' attributes have sets.
    fn sets(&mut self, op: u8) -> Result<(), String> {
        if op != 0x8f {
            self.since_mark()?;
        }
        if op != 0x90 {
            self.stack.push(Value::Other);
        }
        Ok(())
    }

    fn push_tuple(&mut self, items: &[Value]) -> Result<(), String> {
        let tuple = self.values.tuple(items)?;
        self.stack.push(tuple);
        Ok(())
    }

    /// Values above the topmost mark belong to its container.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, String> {
        if self.stack.len() <= self.floor() {
            return Err("its stack is empty".to_owned());
        }
        self.stack.pop().ok_or_else(|| "its stack is empty".to_owned())
    }

    fn top(&self) -> Result<Value, String> {
        self.stack.last().copied().ok_or_else(|| "its stack is empty".to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("it closes something that it never opened")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|e| ended(&e))?;
        self.offset += N as u64;
        Ok(bytes)
    }

    /// So many bytes; memory grows with those that are really there.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(length).read_to_end(&mut bytes).map_err(|e| ended(&e))?;
        if read as u64 != length {
            return Err("it ends in the middle".to_owned());
        }
        self.offset += length;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<Value, String> {
        let skipped = std::io::copy(&mut self.input.by_ref().take(length), &mut std::io::sink());
        if skipped.map_err(|e| ended(&e))? != length {
            return Err("it ends in the middle".to_owned());
        }
        self.offset += length;
        Ok(Value::Other)
    }

    fn text(&mut self, length: u64) -> Result<Value, String> {
        let text = decode(self.bytes(length)?)?;
        self.values.text(text)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(MAX_NAME).read_until(b'\n', &mut bytes).map_err(|e| ended(&e))?;
        self.offset += bytes.len() as u64;
        if bytes.pop() != Some(b'\n') {
            return Err("a name in it has no end".to_owned());
        }
        String::from_utf8(bytes).map_err(|_| "a name in it is no text".to_owned())
    }
}

fn ended(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

fn class(module: &str, name: &str) -> Result<Class, String> {
    match (module, name) {
        ("tracemalloc", "Snapshot") => Ok(Class::Snapshot),
        ("tracemalloc", "_Traces") => Ok(Class::Traces),
        _ => Err(format!("it names {module}.{name}; only the classes of a snapshot are loaded")),
    }
}

/// Little-endian two's complement; what does not fit is of no interest.
fn integer(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    if bytes.len() > 8 && bytes[8..].iter().any(|b| *b != fill) {
        return Value::Other;
    }
    let mut wide = [fill; 8];
    let length = bytes.len().min(8);
    wide[..length].copy_from_slice(&bytes[..length]);
    let value = i64::from_le_bytes(wide);
    if (value < 0) == negative { Value::Int(value) } else { Value::Other }
}

/// UTF-8 in which Python has also put single surrogates: bytes of file names that are no text, U+DC80 to U+DCFF.
fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error.into_bytes(),
    };
    let mut text = String::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(all) => all.len(),
            Err(error) => error.valid_up_to(),
        };
        let (before, after) = rest.split_at(valid);
        text.push_str(std::str::from_utf8(before).map_err(|e| e.to_string())?);
        rest = match after {
            [] => break,
            [0xed, high @ (0xb2 | 0xb3), low @ 0x80..=0xbf, rest @ ..] => {
                let surrogate = 0xd000 | (u32::from(*high & 0x3f) << 6) | u32::from(*low & 0x3f);
                text.push(char::from_u32(surrogate - 0xdc80 + 0xef80).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest
            }
            _ => return Err("a text in it is not UTF-8".to_owned()),
        };
    }
    Ok(text)
}
