//! Attacks the collector's drain: a region in which hostile targets store whatever they like, between rounds.
//!
//! Must hold: no panic, and the collector's promises to the store (order of inputs, watermark that never goes back,
//! nothing after an image's end), which the sink of its tests checks.

/// One input: a list of stores, registrations and rounds.
pub fn run(data: &[u8]) {
    tmq_store::fuzzing::drain(data);
}

/// Valid inputs: an honest target, and one that is not.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    tmq_store::fuzzing::drain_seeds()
}
