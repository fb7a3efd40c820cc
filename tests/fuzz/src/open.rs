//! Attacks opening: a sealed recording whose manifest and tables were damaged.
//!
//! Must hold: `Recording::open`, `read` and `metadata` refuse it or give what is there; no panic that is not caught there,
//! no hang, not much memory. The query engine reads tables with the same Parquet reader.

use std::path::Path;
use std::sync::OnceLock;

use tmq_store::Recording;
use tmq_store::schema::TABLES;

use crate::damage::{self, Files, Scratch};
use crate::source::Source;

fn template() -> &'static Files {
    static TEMPLATE: OnceLock<Files> = OnceLock::new();
    TEMPLATE.get_or_init(|| damage::template(true))
}

/// One input.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let mut source = Source(data);
    let mut files = template().clone();
    let mode = source.byte();
    if mode & 1 == 0 {
        damage::change(&mut files, &mut source);
    } else {
        // One table is what matters; the manifest must count its new size, or it is refused for that.
        let manifest = files.remove(Path::new("tmq.json")).expect("a manifest");
        damage::change(&mut files, &mut source);
        files.insert("tmq.json".into(), with_sizes(&manifest, &files));
    }
    let scratch = Scratch::new("open");
    damage::write(scratch.path(), &files);
    let Ok(recording) = Recording::open(scratch.path()) else { return };
    let _ = recording.metadata();
    for table in TABLES {
        let _ = recording.read(table);
    }
}

fn with_sizes(manifest: &[u8], files: &Files) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(manifest).expect("the template's manifest");
    for file in json["files"].as_array_mut().expect("files") {
        let path = file["path"].as_str().map(Path::new).expect("a path");
        let length = files.get(path).map_or(0, Vec::len);
        file["bytes"] = length.into();
    }
    serde_json::to_vec(&json).expect("a manifest")
}

/// Changes that do little.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    (0..16)
        .map(|file| vec![1, file, 1, 30, 0, 0, 0, 1, 7])
        .chain([vec![0], vec![0, 15, 0, 40, 0, 0, 0, 1, b'}']])
        .collect()
}
