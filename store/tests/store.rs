//! The one integration test binary of the store. What belongs where:
//! `recordings` opening and refusing directories, made with `RecordingBuilder`,
//! `ingesting` what becomes of events, case by case.

#[path = "store/ingesting.rs"]
mod ingesting;
#[path = "store/recordings.rs"]
mod recordings;
#[path = "store/support.rs"]
mod support;
#[path = "store/wire.rs"]
mod wire;
