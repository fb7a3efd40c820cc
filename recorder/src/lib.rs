//! What runs inside a recorded process: the logic behind the allocation hooks, stack capture and the shared-memory streams.
//!
//! The crate exports no symbol; `recorder/preload` puts `malloc` and its relatives on top of [`record`]. Everything here
//! may run inside `malloc`, in a signal handler, before constructors and after TLS destructors, on a 16 KiB stack. So:
//!
//! - no allocation, no lock, no libc call on any path: system calls are made directly ([`sys`]), memory comes from
//!   `mmap` and is not given back, and `errno` is therefore never touched;
//! - one writer per stream ([`stream`]), lock-free tables shared by threads ([`nodes`], [`unwind::rules`]), and where two
//!   threads race the loser repeats work instead of waiting;
//! - a stack is proven, not guessed ([`unwind::walk`]), and what cannot be proven is marked so;
//! - when anything fails, the target goes on and the gap is counted.
//!
//! ```text
//! record, mapping ──▶ session ──▶ thread ──▶ stream ──▶ region (shared memory)
//!                       │            ▲
//!                       └──▶ unwind::walk ──▶ unwind::rules ──▶ unwind::cfi      process: start, fork, end
//!                                 └─────────▶ nodes ──▶ modules ◀── unloading
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arena;
pub mod elf;
pub mod mapping;
pub mod modules;
pub mod nodes;
pub mod operator;
pub mod process;
pub mod record;
pub mod region;
pub mod sampler;
pub mod session;
pub mod stream;
pub mod sys;
pub mod thread;
pub mod tls;
pub mod unloading;
pub mod unwind;
pub mod verify;
