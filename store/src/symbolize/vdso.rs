//! The vDSO has no file: its image is copied out of our own process.
//!
//! The kernel maps the same image into every process, so ours stands for the target's as long as both ran on the
//! same kernel; the caller's build-id check settles that for a recording that was moved. The image is read through
//! `/proc/self`, which needs no pointer from `getauxval` and hence no unsafe code.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A vDSO is one or two pages; more than this is not one.
const MAX_VDSO_BYTES: u64 = 1 << 20;

/// True for the names under which link maps and `/proc/*/maps` list the vDSO.
pub(super) fn is_vdso(path: &Path) -> bool {
    matches!(path.to_str(), Some("[vdso]" | "linux-vdso.so.1" | "linux-vdso64.so.1" | "linux-gate.so.1"))
}

/// The bytes of our own vDSO, or `None` if this kernel maps none.
pub(super) fn read_own() -> Option<Vec<u8>> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let length = end.checked_sub(start).filter(|&length| length <= MAX_VDSO_BYTES)?;
    let mut image = vec![0; usize::try_from(length).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut image, start).ok()?;
    Some(image)
}
