//! Attacks `tmq_wire`: the decoder of records and the reader of payloads, which read what targets wrote.
//!
//! Must hold: decoding always moves on and stays inside; a decoded record encodes to what decodes to it again; what the
//! writer of payloads wrote, the reader reads, cut at most.

use tmq_wire::payload::{self, Module, Process, Reader, Writer};
use tmq_wire::record::{self, Decoder, Kind, Plain, Record, Slot};

use crate::source::Source;

/// Longest payload that decoders copy.
const PAYLOAD_BYTES: usize = payload::MAX_PAYLOAD_SLOTS * 16;

/// One input.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let slots: Vec<Slot> = data
        .chunks_exact(16)
        .map(|both| [0, 8].map(|at| both[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))))
        .collect();
    decode(&slots);
    let (mut source, mut likely) = (Source(data), Vec::new());
    while !source.is_empty() && likely.len() < 4096 {
        source.slots(&mut likely);
    }
    decode(&likely);
    read(data);
    round_trip(&mut Source(data));
}

fn decode(slots: &[Slot]) {
    let (mut decoder, mut at) = (Decoder::default(), 0);
    while let Some(Ok((record, next))) = decoder.next(slots, at) {
        assert!(next > at && next <= slots.len());
        match record {
            Record::Event { kind, address, size, stack, tsc } => {
                let dt = 5;
                let again = [record::extend(size), record::event(kind, address, size, stack, dt)];
                let mut other = Decoder::default();
                other.tsc = tsc.wrapping_sub(dt);
                assert_eq!(other.next(&again, 0), Some(Ok((record, 2))));
                let frees = matches!(kind, Kind::Free | Kind::ReallocOld);
                assert_eq!(record::freed_address(slots[next - 1]), frees.then_some(address));
                let plain = Plain { kind, address, size, stack, tsc };
                let (mut ready, fits) = (Decoder::default(), size >> record::SIZE_BITS == 0);
                ready.tsc = tsc.wrapping_sub(dt);
                // Where the stamp does not overflow on the way, and the limit lies behind it.
                if fits && ready.tsc < tsc && tsc < u64::MAX {
                    assert_eq!(ready.peek_plain(&again, 1, u64::MAX), Some(plain));
                    assert_eq!(ready.peek_plain(&again, 1, tsc), None);
                    assert_eq!(ready.peek_plain(&again, 0, u64::MAX), None);
                }
            }
            Record::Node { id, parent, module, offset, flags } => {
                let again = [record::node(id, parent, module, offset, flags)];
                assert_eq!(Decoder::default().next(&again, 0), Some(Ok((record, 1))));
            }
            Record::Blob { payload, .. } => {
                let mut bytes = vec![0; PAYLOAD_BYTES];
                let n = payload::copy_bytes(payload, &mut bytes);
                read(&bytes[..n]);
            }
            _ => {}
        }
        at = next;
    }
}

fn read(bytes: &[u8]) {
    let _ = (Reader(bytes).module(), Reader(bytes).process());
    let mut reader = Reader(bytes);
    while reader.text().is_some() {}
}

fn round_trip(source: &mut Source<'_>) {
    let mut slots = vec![[0; 2]; source.below(payload::MAX_PAYLOAD_SLOTS as u64 + 1) as usize];
    let (build_id, path) = (source.text(), source.text());
    let module =
        Module { start: source.u64(), end: source.u64(), build_id: build_id.as_bytes(), path: path.as_bytes() };
    let (exe, argv) = (source.text(), source.text());
    let process = Process {
        pid: source.u32(),
        ppid: source.u32(),
        origin: source.byte(),
        exe: exe.as_bytes(),
        argv: argv.as_bytes(),
    };
    let mut writer = Writer::new(&mut slots);
    writer.module(&module);
    writer.process(&process);
    let used = writer.slots_used();
    assert!(used <= slots.len());
    let mut bytes = vec![0; PAYLOAD_BYTES];
    let n = payload::copy_bytes(&slots[..used], &mut bytes);
    let mut reader = Reader(&bytes[..n]);
    if let Some(found) = reader.module() {
        assert!((found.start, found.end) == (module.start, module.end));
        assert!(module.build_id.starts_with(found.build_id) && module.path.starts_with(found.path));
        if let Some(found) = reader.process() {
            assert!((found.pid, found.ppid, found.origin) == (process.pid, process.ppid, process.origin));
            assert!(process.exe.starts_with(found.exe) && process.argv.starts_with(found.argv));
        }
    }
}

/// Valid inputs.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    use record::{Kind, blob, event, extend, node, time};
    let slots = [
        time(1000),
        blob(Kind::Thread, 0, 7, 0),
        node(16, record::ROOT_COMPLETE, 0, 0x1234, 0),
        extend(1 << 30),
        event(Kind::Mmap, 4096, 1 << 30, 16, 5),
        event(Kind::Malloc, 4096, 10, 16, 5),
        event(Kind::Free, 4096, 0, record::NO_STACK, 7),
        blob(Kind::Mark, 1, 0, 0),
        [5 | 0x6c6c_6568 << 16, 0],
        blob(Kind::Lost, 0, 1, 9),
    ];
    vec![slots.iter().flatten().flat_map(|word| word.to_le_bytes()).collect(), (0..=255).collect()]
}
