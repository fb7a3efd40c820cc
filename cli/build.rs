//! Builds the preload library so that the binary can carry it: one file is the whole installation.
//!
//! Cargo cannot yet hand a `cdylib` of one package to another (artifact dependencies are unstable), so this script runs
//! a nested `cargo build` with its own target directory below `OUT_DIR` and the profile `preload`. It exports
//!
//! - `TMQ_PRELOAD_SO`: path of the library, for `include_bytes!`,
//! - `TMQ_PRELOAD_HASH`: a name for its content (see `preload.rs`).

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables of the outer build that would change the inner one. Flags given to `tmq` (coverage, sanitizers, `-D
/// warnings`) must not reach a library that is loaded into other people's programs, and a wrapper such as Clippy's must
/// not replace the compiler.
const NOT_INHERITED: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_DIR",
    "CARGO_INCREMENTAL",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
];

fn main() {
    let manifest_dir = PathBuf::from(required("CARGO_MANIFEST_DIR"));
    let workspace = manifest_dir.parent().expect("cli/ lies in the workspace").to_owned();
    let target_dir = PathBuf::from(required("OUT_DIR")).join("preload");

    watch_sources(&workspace);
    let (target, host) = (required("TARGET"), required("HOST"));
    let cross = (target != host).then_some(target);
    build(&workspace, &target_dir, cross.as_ref());

    let mut library = target_dir;
    library.extend(cross);
    library.extend(["preload", "libtmq_preload.so"]);
    let content = std::fs::read(&library).unwrap_or_else(|e| panic!("{}: {e}", library.display()));
    println!("cargo:rustc-env=TMQ_PRELOAD_SO={}", library.display());
    println!("cargo:rustc-env=TMQ_PRELOAD_HASH={:016x}", fnv1a(&content));
    // Position-independent, the binary has 220,000 addresses that the loader corrects at every start: 1,000 pages and
    // 5 ms of CPU, a third of what a short recording costs.
    println!("cargo:rustc-link-arg-bin=tmq=-no-pie");
}

fn required(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

/// Everything the library is made of, and nothing that a build writes to: a second `cargo build` does nothing.
fn watch_sources(workspace: &Path) {
    for path in ["recorder/Cargo.toml", "recorder/src", "recorder/wire/Cargo.toml", "recorder/wire/src"] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    for path in ["recorder/preload", "Cargo.toml", "Cargo.lock", "cli/build.rs"] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    let script = workspace.join("recorder/build.rs");
    if script.exists() {
        println!("cargo:rerun-if-changed={}", script.display());
    }
}

fn build(workspace: &Path, target_dir: &Path, cross: Option<&OsString>) {
    let mut cargo = Command::new(required("CARGO"));
    cargo.current_dir(workspace).args(["build", "--package", "tmq-preload", "--profile", "preload"]);
    cargo.arg("--target-dir").arg(target_dir);
    // The outer build has just resolved this workspace, so its lock file is current; without one (a vendored copy
    // stripped of it) cargo resolves again. Offline mode arrives by CARGO_NET_OFFLINE or the user's configuration.
    if workspace.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    if let Some(target) = cross {
        cargo.arg("--target").arg(target);
    }
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_BUILD_") || text.starts_with("CARGO_CFG_") || text.starts_with("CARGO_FEATURE_") {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status().unwrap_or_else(|e| panic!("cannot run cargo for the preload library: {e}"));
    assert!(status.success(), "building the preload library failed ({status})");
}

/// FNV-1a, 64 bits: names the content, protects nothing (`preload.rs` compares the bytes themselves).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
