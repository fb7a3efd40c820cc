//! Tests of the query crate over recordings made by a deterministic generator.
//!
//! `reports`: every report against a naive computation. `session`: opening, several recordings, permissions. `views`: every view is documented and planned.

mod reports;
mod session;
mod support;
mod views;
