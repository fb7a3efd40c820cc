//! Tests of the query crate over recordings made by a deterministic generator.
//!
//! `session`: opening, several recordings, permissions. `views`: every view is documented and planned.

mod session;
mod support;
mod views;
