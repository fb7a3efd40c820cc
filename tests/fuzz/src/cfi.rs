//! Attacks `tmq_recorder::unwind::cfi`: the reader of `.eh_frame`, which reads modules of the target where they are mapped.
//!
//! Must hold: every read lies inside the object. The object lies between pages that cannot be read, at an address that is
//! the same in every run, once up against the page behind it and once against the page before it.
//!
//! Which addresses an object has is what the loader says (`_dl_find_object`), and that all of them can be read is trusted:
//! a target that unmaps parts of its own modules crashes in any unwinder.

use std::sync::OnceLock;

use tmq_recorder::elf::Object;
use tmq_recorder::unwind::cfi;

use crate::source::Source;

const PAGE: usize = 4096;
const PAGES: usize = 4;
const BASE: usize = 0x10_0000_0000;

/// First byte of the readable pages.
fn arena() -> usize {
    static ARENA: OnceLock<usize> = OnceLock::new();
    *ARENA.get_or_init(|| {
        let (flags, whole) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE, (PAGES + 2) * PAGE);
        // SAFETY: a new mapping where there is none.
        let at = unsafe { libc::mmap((BASE - PAGE) as *mut libc::c_void, whole, libc::PROT_NONE, flags, -1, 0) };
        assert_eq!(at as usize, BASE - PAGE, "no room at the fixed address");
        // SAFETY: pages of the mapping just made.
        let done =
            unsafe { libc::mprotect(BASE as *mut libc::c_void, PAGES * PAGE, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(done, 0);
        BASE
    })
}

/// One input: where the header lies, which addresses are looked up, and the object's bytes.
pub fn run(data: &[u8]) {
    let mut source = Source(data);
    let header = source.below(1 << 16) as usize;
    let pcs: Vec<i64> = (0..4).map(|_| source.u32() as i32 as i64).collect();
    let image = &source.0[..source.0.len().min(PAGES * PAGE)];
    let low = arena();
    for start in [low, low + PAGES * PAGE - image.len()] {
        // SAFETY: the image fits the readable pages, which nobody else uses.
        unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), start as *mut u8, image.len()) };
        let eh_frame_hdr = start + header;
        let end = start + image.len();
        let tables = (start, end);
        let object = Object { start, end, bias: start, link_map: std::ptr::null(), eh_frame_hdr, tables };
        for pc in &pcs {
            let _ = cfi::find(&object, eh_frame_hdr.wrapping_add_signed(*pc as isize) as u64);
        }
    }
}

fn uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An entry: length, then `body` padded.
fn entry(out: &mut Vec<u8>, body: &[u8]) {
    let length = body.len().next_multiple_of(4);
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(body);
    out.resize(out.len() + length - body.len(), 0);
}

/// A header, a CIE and an FDE for each of `programs`, which covers 256 bytes.
fn object(programs: &[&[u8]], augmentation: &[u8]) -> Vec<u8> {
    let count = programs.len();
    let mut out = vec![1, 0x1b, 3, 0x3b, 0, 0, 0, 0];
    out.extend_from_slice(&(count as u32).to_le_bytes());
    out.resize(12 + count * 8, 0);
    let cie = out.len();
    let mut body = vec![0, 0, 0, 0, 1];
    body.extend_from_slice(augmentation);
    body.extend_from_slice(&[0, 1, 0x78, 16]);
    uleb(&mut body, 1);
    body.extend_from_slice(&[0x1b, 0x0c, 7, 8, 0x90, 1]);
    entry(&mut out, &body);
    for (number, program) in programs.iter().enumerate() {
        let at = out.len();
        let begin = 0x4000 + number as i32 * 256;
        out[12 + number * 8..16 + number * 8].copy_from_slice(&begin.to_le_bytes());
        out[16 + number * 8..20 + number * 8].copy_from_slice(&(at as i32).to_le_bytes());
        let mut body = ((at + 4 - cie) as u32).to_le_bytes().to_vec();
        body.extend_from_slice(&(begin - (at as i32 + 8)).to_le_bytes());
        body.extend_from_slice(&256u32.to_le_bytes());
        body.push(0);
        body.extend_from_slice(program);
        entry(&mut out, &body);
    }
    out
}

/// Valid inputs: what compilers write, and each instruction once.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let programs: &[&[u8]] = &[
        &[0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x02, 40, 0x0c, 7, 8],
        &[0x44, 0x0a, 0x0e, 48, 0x48, 0x0b, 0xc6, 0x08, 6, 0x07, 16],
        &[0x44, 0x0f, 3, 0x76, 0x78, 6, 0x10, 6, 2, 0x76, 0, 0x44, 0x2e, 16],
        &[
            0x44, 0x05, 6, 2, 0x06, 6, 0x09, 3, 4, 0x11, 6, 2, 0x12, 7, 2, 0x13, 2, 0x14, 6, 2, 0x15, 6, 2, 0x16, 3, 1,
            0,
        ],
        &[0x03, 4, 0, 0x0e, 24, 0x04, 4, 0, 0, 0, 0x0e, 32],
    ];
    let with = |augmentation: &[u8], pc: i32| {
        let mut data = vec![0; 4];
        for i in 0..4 {
            data.extend_from_slice(&(0x4000 + pc + i * 256).to_le_bytes());
        }
        data.extend_from_slice(&object(programs, augmentation));
        data
    };
    vec![with(b"zR", 20), with(b"zR", 276), with(b"zRS", 20), with(b"zPLR", 20), with(b"", 20)]
}
