//! Hashes of content that are equal across runs, machines and versions of tmq.
//!
//! FNV-1a with 64 bits over bytes, so that any language can compute them:
//! - a frame with a function: `function 00 file 00 line` with the line in decimal; without a source file the name of the
//!   module (not its path) stands for the file, and the line is 0,
//! - a frame without a function: `module-name 00 offset` with the offset in decimal,
//! - a stack: the hashes of its frames as 8 bytes each, little-endian, most recent first.

/// FNV-1a.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fnv(u64);

impl Fnv {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self
    }

    pub(super) fn finish(self) -> i64 {
        self.0.cast_signed()
    }
}

/// Hash of a frame; `place` is its source file or the name of its module.
pub(super) fn frame(function: Option<&str>, place: &str, line: i32, offset: u64) -> i64 {
    let hash = Fnv::new();
    match function {
        Some(function) => hash
            .bytes(function.as_bytes())
            .bytes(&[0])
            .bytes(place.as_bytes())
            .bytes(&[0])
            .bytes(line.to_string().as_bytes()),
        None => hash.bytes(place.as_bytes()).bytes(&[0]).bytes(offset.to_string().as_bytes()),
    }
    .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are part of the format: recordings made by different versions are joined by them.
    #[test]
    fn hashes_do_not_change() {
        assert_eq!(Fnv::new().bytes(b"a").finish().cast_unsigned(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(frame(Some("f"), "a.c", 7, 99), Fnv::new().bytes(b"f\0a.c\x007").finish());
        assert_eq!(frame(None, "libc.so.6", 0, 99), Fnv::new().bytes(b"libc.so.6\099").finish());
    }
}
