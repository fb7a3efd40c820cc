//! The file format of speedscope.app: one list of frames, one profile for bytes and one for blocks.

use std::collections::HashMap;
use std::io::Write;

use serde_json::{Value, json};

use super::{Meaning, Stack};
use crate::error::{Error, Result};
use crate::report::Frame;

pub(super) fn write(stacks: &[Stack], meaning: &Meaning, out: &mut impl Write) -> Result<()> {
    let mut numbers: HashMap<&Frame, usize> = HashMap::new();
    let mut frames: Vec<Value> = Vec::new();
    let mut samples: Vec<Vec<usize>> = Vec::with_capacity(stacks.len());
    for stack in stacks {
        let numbered = stack.frames.iter().rev().map(|frame| {
            *numbers.entry(frame).or_insert_with(|| {
                let Frame { filename, lineno, function } = frame;
                frames.push(match lineno {
                    0 => json!({"name": function, "file": filename}),
                    _ => json!({"name": function, "file": filename, "line": lineno}),
                });
                frames.len() - 1
            })
        });
        samples.push(numbered.collect());
    }
    let profile = |what: &str, unit: &str, weight: fn(&Stack) -> i64| {
        let weights: Vec<i64> = stacks.iter().map(weight).collect();
        json!({
            "type": "sampled", "name": format!("{what} {}", meaning.title), "unit": unit,
            "startValue": 0, "endValue": weights.iter().sum::<i64>(), "samples": samples, "weights": weights,
        })
    };
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": concat!("tmq ", env!("CARGO_PKG_VERSION")),
        "shared": {"frames": frames},
        "profiles": [profile("bytes", "bytes", |s| s.bytes), profile("blocks", "none", |s| s.blocks)],
    });
    serde_json::to_writer(&mut *out, &file).map_err(Error::new)?;
    Ok(out.write_all(b"\n")?)
}
