//! What the hooks of `mmap`, `munmap` and `mremap` call. Mappings are never sampled, and an operator that makes one records it.

use tmq_wire::record::{Kind, NO_STACK};

use crate::session::{Entry, Session, begin_for, lose_address, stamp_before};
use crate::{process, sys};

/// An anonymous mapping was made.
pub fn mapped(address: *mut u8, size: usize, entry: Entry) {
    if process::is_off() {
        return;
    }
    let Some(mut session) = begin_for(entry, false) else { return };
    if !lose_address(address as u64) {
        session.state.stream.begin();
        let tsc = sys::rdtsc();
        let stack = session.stack(entry);
        session.write(Kind::Mmap, address as u64, size as u64, stack, tsc);
    }
    session.end();
}

/// Begins a hook of something that is about to be done to a mapping, with its stamp; `None`: do not record.
fn begin_before(entry: Entry) -> Option<(Session, u64)> {
    if process::is_off() {
        return None;
    }
    let session = begin_for(entry, false)?;
    session.state.stream.begin();
    Some((session, stamp_before()))
}

/// Makes an `munmap`: calls `real`, which says whether it succeeded, and records it.
pub fn unmapping(address: *mut u8, size: usize, entry: Entry, real: impl FnOnce() -> bool) {
    let Some((mut session, before)) = begin_before(entry) else {
        real();
        return;
    };
    if real() && !lose_address(address as u64) {
        let stack = session.free_stack(entry);
        session.write(Kind::Munmap, address as u64, size as u64, stack, before);
    } else {
        session.state.stream.cancel();
    }
    session.end();
}

/// Makes an `mremap`: calls `real`, which gives the new address or `None`, and records it.
pub fn remapping(old: (*mut u8, usize), size: usize, entry: Entry, real: impl FnOnce() -> Option<*mut u8>) {
    let Some((mut session, before)) = begin_before(entry) else {
        real();
        return;
    };
    match real() {
        Some(new) if !lose_address(new as u64) => {
            let after = sys::rdtsc();
            let stack = session.stack(entry);
            session.write_pair(
                (Kind::MremapOld, old.0 as u64, old.1 as u64, NO_STACK, before),
                (Kind::MremapNew, new as u64, size as u64, stack, after),
            );
        }
        _ => session.state.stream.cancel(),
    }
    session.end();
}
