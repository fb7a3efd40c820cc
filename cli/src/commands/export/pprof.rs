//! pprof's profile.proto, written by hand: six small messages do not need a code generator.
//!
//! Fields: <https://github.com/google/pprof/blob/main/proto/profile.proto>. A location has one line here; inlined
//! functions are locations of their own, since they are frames of their own in a recording.

use std::collections::HashMap;
use std::io::Write;

use super::{Meaning, Stack};
use crate::error::Result;
use crate::report::Frame;

/// Protocol-buffer encoding of what is needed here.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: i64) {
        self.varint(field << 3);
        self.varint(value as u64);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn packed(&mut self, field: u64, values: impl Iterator<Item = i64>) {
        let mut inner = Self::default();
        values.for_each(|v| inner.varint(v as u64));
        self.bytes(field, &inner.0);
    }
}

/// Numbers for strings; 0 is the empty one, as the format demands.
struct Strings<'a> {
    numbers: HashMap<&'a str, i64>,
    list: Vec<&'a str>,
}

impl<'a> Strings<'a> {
    fn number(&mut self, text: &'a str) -> i64 {
        let next = self.list.len() as i64;
        let number = *self.numbers.entry(text).or_insert(next);
        if number == next {
            self.list.push(text);
        }
        number
    }
}

pub(super) fn write(stacks: &[Stack], meaning: &Meaning, out: &mut impl Write) -> Result<()> {
    let mut strings = Strings { numbers: HashMap::from([("", 0)]), list: vec![""] };
    let mut profile = Message::default();
    let types = match meaning.allocated {
        true => [("alloc_objects", "count"), ("alloc_space", "bytes")],
        false => [("inuse_objects", "count"), ("inuse_space", "bytes")],
    };
    for (name, unit) in types {
        let mut value_type = Message::default();
        value_type.number(1, strings.number(name));
        value_type.number(2, strings.number(unit));
        profile.bytes(1, &value_type.0);
    }
    let mut locations: HashMap<&Frame, i64> = HashMap::new();
    for stack in stacks {
        let mut sample = Message::default();
        let numbers = stack.frames.iter().map(|frame| {
            let next = locations.len() as i64 + 1;
            *locations.entry(frame).or_insert(next)
        });
        sample.packed(1, numbers);
        sample.packed(2, [stack.blocks, stack.bytes].into_iter());
        profile.bytes(2, &sample.0);
    }
    let mut functions: HashMap<(&str, &str), i64> = HashMap::new();
    let mut ordered: Vec<_> = locations.into_iter().collect();
    ordered.sort_unstable_by_key(|(_, number)| *number);
    for (frame, number) in ordered {
        let next = functions.len() as i64 + 1;
        let function = *functions.entry((&frame.function, &frame.filename)).or_insert(next);
        if function == next {
            let mut message = Message::default();
            message.number(1, function);
            message.number(2, strings.number(&frame.function));
            message.number(4, strings.number(&frame.filename));
            profile.bytes(5, &message.0);
        }
        let (mut line, mut location) = (Message::default(), Message::default());
        line.number(1, function);
        line.number(2, frame.lineno);
        location.number(1, number);
        location.bytes(4, &line.0);
        profile.bytes(4, &location.0);
    }
    profile.number(10, meaning.duration_ns);
    profile.number(14, strings.number(types[1].0));
    for text in &strings.list {
        profile.bytes(6, text.as_bytes());
    }
    Ok(out.write_all(&profile.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_and_fields() {
        let mut message = Message::default();
        message.number(1, 300);
        message.bytes(2, b"ab");
        message.packed(3, [1, 128].into_iter());
        assert_eq!(message.0, [0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x1a, 3, 1, 0x80, 0x01]);
    }
}
