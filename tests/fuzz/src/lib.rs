//! Fuzz targets: everything in tmq that reads what somebody else wrote.
//!
//! ```text
//! run ─▶ bin/TARGET (libFuzzer) ─▶ TARGET::run(bytes)        TARGET::seeds: valid inputs to start from
//!                                   └─ source: bytes as a program of numbers, texts and slots
//!                                   └─ damage: bytes as changes to valid files ─▶ check: what a recording promises
//! ```
//! Each module says what it attacks and what must hold. A panic, a hang, an arithmetic overflow and a read outside of
//! the memory handed over end the run; libFuzzer then keeps the input.

pub mod cfi;
pub mod check;
pub mod damage;
pub mod drain;
pub mod ingest;
pub mod open;
pub mod repair;
pub mod source;
pub mod symbols;
pub mod wire;

/// Writes a target's seeds and ends the process, if `TMQ_FUZZ_SEEDS` names a directory for them.
///
/// # Panics
/// They cannot be written.
pub fn start(seeds: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(dir) = std::env::var_os("TMQ_FUZZ_SEEDS") else { return };
    let dir = std::path::Path::new(&dir);
    std::fs::create_dir_all(dir).expect("a directory for seeds");
    for (number, seed) in seeds().into_iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{number}")), seed).expect("a seed written");
    }
    std::process::exit(0);
}

/// Lets panics that the product catches itself be caught, instead of ending the run where they begin. Those that nobody
/// catches still end it.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|info| eprintln!("panic: {info}")));
}
