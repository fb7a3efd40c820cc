//! The one integration test binary of the store. What belongs where:
//! `recordings` opening and refusing directories, made with `RecordingBuilder`.

#[path = "store/recordings.rs"]
mod recordings;
#[path = "store/support.rs"]
mod support;
