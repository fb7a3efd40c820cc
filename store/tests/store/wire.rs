//! Synthetic recorders: streams of wire records, and reading back what became of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tmq_store::Recording;
use tmq_store::ingest::{Ingest, Input, RecordingConfig, SealOptions, Summary};
use tmq_store::schema::Table;
use tmq_wire::payload::{self, Writer};
use tmq_wire::record::{self, DT_BITS, Kind, SIZE_BITS, Slot};

/// Counter at time zero; one tick is a nanosecond.
pub const BASE: u64 = 1_000_000;

/// One stream as a recorder would write it. `ends` are the slots after which a record is complete, with its stamp.
#[derive(Clone, Default)]
pub struct Stream {
    pub incarnation: u32,
    pub number: u32,
    pub slots: Vec<Slot>,
    pub ends: Vec<(usize, u64)>,
    tsc: u64,
}

impl Stream {
    pub fn new(incarnation: u32, number: u32, tid: u32) -> Self {
        let mut stream = Self { incarnation, number, ..Self::default() };
        stream.push(&[record::time(BASE), record::blob(Kind::Thread, 0, tid, 0)], BASE);
        stream
    }

    fn push(&mut self, slots: &[Slot], tsc: u64) {
        self.slots.extend_from_slice(slots);
        self.tsc = tsc;
        self.ends.push((self.slots.len(), tsc));
    }

    pub fn event(&mut self, ns: u64, kind: Kind, address: u64, size: u64, stack: u32) -> &mut Self {
        let tsc = BASE + ns;
        assert!(tsc >= self.tsc, "stamps of a stream never decrease");
        let mut slots = Vec::new();
        if tsc - self.tsc >= 1 << DT_BITS {
            slots.push(record::time(tsc));
            self.tsc = tsc;
        }
        if size >= 1 << SIZE_BITS {
            slots.push(record::extend(size));
        }
        slots.push(record::event(kind, address, size, stack, tsc - self.tsc));
        self.push(&slots, tsc);
        self
    }

    pub fn malloc(&mut self, ns: u64, address: u64, size: u64, stack: u32) -> &mut Self {
        self.event(ns, Kind::Malloc, address, size, stack)
    }

    pub fn free(&mut self, ns: u64, address: u64) -> &mut Self {
        self.event(ns, Kind::Free, address, 0, record::NO_STACK)
    }

    pub fn thread(&mut self, tid: u32) -> &mut Self {
        self.push(&[record::blob(Kind::Thread, 0, tid, 0)], self.tsc);
        self
    }

    pub fn node(&mut self, id: u32, parent: u32, module: u16, offset: u64) -> &mut Self {
        self.node_with(id, parent, module, offset, 0)
    }

    pub fn node_with(&mut self, id: u32, parent: u32, module: u16, offset: u64, flags: u8) -> &mut Self {
        self.push(&[record::node(id, parent, module, offset, flags)], self.tsc);
        self
    }

    fn payload(&mut self, kind: Kind, arg: u32, value: u64, fill: impl FnOnce(&mut Writer<'_>)) -> &mut Self {
        let mut slots = vec![[0; 2]; payload::MAX_PAYLOAD_SLOTS];
        let mut writer = Writer::new(&mut slots);
        fill(&mut writer);
        let used = writer.slots_used();
        let mut all = vec![record::blob(kind, used as u16, arg, value)];
        all.extend_from_slice(&slots[..used]);
        self.push(&all, self.tsc);
        self
    }

    pub fn module(&mut self, number: u32, path: &str, build_id: &[u8]) -> &mut Self {
        let module = payload::Module { start: 0x1000, end: 0x2000, build_id, path: path.as_bytes() };
        self.payload(Kind::Module, number, 0, |w| w.module(&module))
    }

    pub fn process(&mut self, pid: u32, ppid: u32, exe: &str, argv: &[&str]) -> &mut Self {
        let argv: String = argv.iter().map(|a| format!("{a}\0")).collect();
        let process = payload::Process { pid, ppid, origin: 0, exe: exe.as_bytes(), argv: argv.as_bytes() };
        self.payload(Kind::Process, 0, 0, |w| w.process(&process))
    }

    pub fn mark(&mut self, ns: u64, name: &str) -> &mut Self {
        self.push(&[record::time(BASE + ns)], BASE + ns);
        self.payload(Kind::Mark, 0, 0, |w| w.text(name.as_bytes()))
    }

    pub fn lost(&mut self, reason: u32, count: u64) -> &mut Self {
        self.push(&[record::blob(Kind::Lost, 0, reason, count)], self.tsc);
        self
    }

    pub fn input(&self) -> Input<'_> {
        Input::Slots { incarnation: self.incarnation, stream: self.number, slots: &self.slots }
    }
}

pub const CLOCK: Input<'static> = Input::Clock { tsc: BASE, unix_ns: 1_700_000_000_000_000_000, ticks_per_second: 1e9 };

pub fn seen(incarnation: u32, pid: u32, forked_from: u32, ns: u64) -> Input<'static> {
    Input::ProcessSeen { incarnation, pid, forked_from, start_tsc: BASE + ns }
}

pub fn ended(incarnation: u32, ns: u64) -> Input<'static> {
    Input::ProcessEnded {
        incarnation,
        tsc: Some(BASE + ns),
        exit_code: Some(0),
        exit_signal: None,
        counters: Default::default(),
    }
}

pub fn no_symbols() -> SealOptions {
    SealOptions { no_symbols: true, ..SealOptions::default() }
}

/// Records whole streams at once.
pub fn record(dir: &Path, config: &RecordingConfig, inputs: &[Input<'_>], streams: &[&Stream]) -> (Recording, Summary) {
    let mut ingest = Ingest::create(dir, config).unwrap();
    ingest.input(CLOCK).unwrap();
    for input in inputs {
        ingest.input(*input).unwrap();
    }
    for stream in streams {
        ingest.input(stream.input()).unwrap();
    }
    let summary = ingest.seal(&no_symbols(), &|_| {}).unwrap();
    (Recording::open(dir).unwrap(), summary)
}

/// A value of a table.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(n) => *n,
            other => panic!("{other:?} is not an integer"),
        }
    }

    pub fn optional(&self) -> Option<i64> {
        (*self != Self::Null).then(|| self.int())
    }

    pub fn float(&self) -> f64 {
        match self {
            Self::Float(x) => *x,
            other => panic!("{other:?} is not a number"),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Text(s) => s,
            other => panic!("{other:?} is not a text"),
        }
    }

    pub fn ints(&self) -> Vec<i64> {
        match self {
            Self::List(values) => values.iter().map(Self::int).collect(),
            other => panic!("{other:?} is not a list"),
        }
    }
}

pub type Row = BTreeMap<&'static str, Value>;

fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Value::Int(array.as_boolean().value(row).into()),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|i| value(&items, i)).collect())
        }
        other => panic!("unexpected type {other}"),
    }
}

/// All rows of a table in the order of its files.
pub fn rows(recording: &Recording, table: &'static Table) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in recording.table_files(table) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        assert_eq!(reader.schema().as_ref(), table.schema().as_ref());
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            for row in 0..batch.num_rows() {
                rows.push(table.columns.iter().zip(batch.columns()).map(|(c, a)| (c.name, value(a, row))).collect());
            }
        }
    }
    assert_eq!(rows.len() as u64, recording.rows(table));
    rows
}
