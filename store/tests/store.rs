//! The one integration test binary of the store. What belongs where:
//! `recordings` opening and refusing directories, made with `RecordingBuilder`,
//! `ingesting` what becomes of events, case by case,
//! `schema` the document of the tables,
//! `random` runs by chance against the independent model in `naive`, killed and repaired, and damaged input.

#[path = "store/ingesting.rs"]
mod ingesting;
#[path = "store/naive.rs"]
mod naive;
#[path = "store/random.rs"]
mod random;
#[path = "store/recordings.rs"]
mod recordings;
#[path = "store/schema.rs"]
mod schema;
#[path = "store/support.rs"]
mod support;
#[path = "store/wire.rs"]
mod wire;
