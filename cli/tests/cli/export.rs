//! Files for other viewers.

use std::collections::BTreeMap;
use std::fs;

use crate::fixture;
use crate::support::{Scratch, expect};

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fixture::recording(scratch.path(), "app.4711.tmq", 1);
    scratch
}

#[test]
fn collapsed_stacks() {
    let scratch = scratch();
    expect("export-collapsed", &scratch.run(&["export", "--to", "collapsed"]).ok());
    expect("export-collapsed-blocks", &scratch.run(&["export", "--to", "collapsed", "--blocks", "@end"]).ok());
}

#[test]
fn speedscope_profiles_add_up() {
    let text = scratch().run(&["export", "--to", "speedscope"]).ok();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let frames = file["shared"]["frames"].as_array().unwrap();
    let bytes = &file["profiles"][0];
    assert_eq!(bytes["endValue"], 48_556);
    assert_eq!(bytes["samples"].as_array().unwrap().len(), bytes["weights"].as_array().unwrap().len());
    let outermost = bytes["samples"][0][0].as_u64().unwrap() as usize;
    assert_eq!(frames[outermost]["name"], "main");
    assert_eq!(file["profiles"][1]["endValue"], 5);
}

#[test]
fn pprof_can_be_decoded() {
    let scratch = scratch();
    scratch.run(&["export", "--to", "pprof", "-o", "app.pb"]).ok();
    let content = fs::read(scratch.path().join("app.pb")).unwrap();
    let fields = fields(&content);
    let strings: Vec<&str> = fields[&6].iter().map(|f| std::str::from_utf8(f.bytes()).unwrap()).collect();
    assert_eq!(strings[0], "");
    assert!(strings.contains(&"inuse_space") && strings.contains(&"make_parser"));
    assert_eq!(fields[&1].len(), 2, "two kinds of value");
    let values: Vec<u64> =
        fields[&2].iter().map(|sample| packed(self::fields(sample.bytes())[&2][0].bytes())[1]).collect();
    assert_eq!(values.iter().sum::<u64>(), 48_556);
    let locations = fields[&4].len();
    for sample in &fields[&2] {
        let ids = packed(self::fields(sample.bytes())[&1][0].bytes());
        assert!(ids.iter().all(|id| (1..=locations as u64).contains(id)));
    }
}

enum Field<'a> {
    Number,
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number => panic!("a number where bytes were expected"),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn packed(mut bytes: &[u8]) -> Vec<u64> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(varint(&mut bytes));
    }
    values
}

fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Field<'_>>> {
    let mut fields: BTreeMap<u64, Vec<Field<'_>>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => {
                varint(&mut bytes);
                Field::Number
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(value)
            }
            other => panic!("wire type {other}"),
        };
        fields.entry(key >> 3).or_default().push(value);
    }
    fields
}
