//! Tests of the query crate over recordings made by a deterministic generator.
