//! The torture list: one small program per behaviour, bare and recorded with every stack verified. Output and status are
//! the same, nothing hangs, nothing is lost, totals are what the program knows them to be.
//!
//! # Covered
//!
//! | behaviour | test |
//! |---|---|
//! | allocation before `main`: a hundred libraries' constructors, preinit functions, IFUNC resolvers; after it | [`libraries`] |
//! | `dlopen` of a library whose dependency is found by RUNPATH `$ORIGIN`, both allocating in constructors, lazily bound | [`libraries`] |
//! | `dlclose`, and another library at the same address; far more loads than a process can have module numbers | [`libraries`] |
//! | 64 threads that load, unload, throw and allocate | [`libraries`] |
//! | fork from an allocator storm: `fork`, `_Fork`, raw `fork` and `clone`; children followed and not | [`families`] |
//! | threads that `fork`, `vfork` and `posix_spawn` at once; `system`, `popen` | [`families`] |
//! | `vfork` and `clone(CLONE_VM \| CLONE_VFORK)` children that allocate in the parent's memory, one killed | [`families`] |
//! | exec of itself again and again, from a thread, at last with an empty environment; programs that gain rights | [`families`] |
//! | nine ways to end, in the middle of allocations | [`families`] |
//! | signal handlers that allocate, 10 kHz, on either stack | [`control`] |
//! | handlers at every single instruction of the recorder, also while it sets itself up | [`control`] |
//! | `longjmp`, `siglongjmp` out of handlers and faults, coroutines, coroutines that change threads | [`control`] |
//! | C++ exceptions through 50 frames, thread cancellation, Rust panics | [`control`] |
//! | short threads on 64 KiB and 16 KiB stacks; keys and `thread_local` objects that free late; detached threads at exit | [`control`] |
//! | blocks that change threads at full speed | [`blocks`] |
//! | realloc in every way across threads, failing too: exact balance | [`blocks`] |
//! | calls from a stack that is off by a word | [`blocks`] |
//! | every allocation function in its corner cases, `errno`, usable sizes, sizes of 2^40 and 2^45 | [`blocks`] |
//! | jemalloc, tcmalloc, mimalloc preloaded or linked; every `operator new` and `delete`; the wrong order | [`allocators`] |
//! | executables with a `malloc` of their own, static ones, without an interpreter, sanitizers, Rust with mimalloc | [`allocators`], [`refusals`](super::refusals) |
//! | realigned stacks, no frame pointers, -O0 to -O3, tail calls, hand-written assembly with and without CFI | [`frames`] |
//! | recursion 5,000 and 100,000 deep with different leaves | [`frames`] |
//! | closed descriptors, `closefrom` and no descriptors left, chroot, limits of address space, files, stack | [`limits`] |
//! | seccomp filters, also without futexes and memfds; no `/dev/shm`; a memory cgroup, where the machine lets us make one | [`limits`] |
//! | tmq killed, stopped, out of descriptors or file size, its disk full or read-only | [`collector`], [`refusals`](super::refusals) |
//! | tmq and the program killed at random moments | [`kills`](super::kills) |
//!
//! # Not covered
//!
//! - musl, glibc before 2.35, other processors: no such system in CI. The first two are refused or end stacks early.
//! - `LD_AUDIT`, `dlmopen` and `RTLD_DEEPBIND`: libraries there have an allocator that no preloaded library comes before.
//! - An allocator's own functions (`mallocx`, `mi_malloc`, `tc_malloc`), and blocks of `malloc` freed by them.
//! - `clone(CLONE_VM)` without a thread's own storage and without `CLONE_VFORK`: two threads that look like one.
//! - seccomp's strict mode and filters that kill: the recorder's own system calls (`mmap`, `futex`, `openat`) are among
//!   what they may kill for.
//! - Being attached to a running program, which tmq does not do.
//! - Real programs (interpreters, compilers, servers, a browser) are recorded in [`exactness`](super::exactness) and
//!   [`processes`](super::processes), the browser by hand only.
//!
//! `TMQ_TORTURE=long` runs the long forms: 1,000 forks, 100,000 threads, 6,000,000 hand-overs per thread. About 10 minutes.

mod allocators;
mod blocks;
mod collector;
mod control;
mod families;
mod frames;
mod libraries;
mod limits;

use std::process::Command;

use crate::support::{Recording, record_with, run, shell_status, workload};

fn long() -> bool {
    std::env::var("TMQ_TORTURE").is_ok_and(|v| v == "long")
}

/// Runs a workload bare and recorded; the recording.
fn same(name: &str, args: &[&str]) -> Recording {
    let program = workload(name);
    same_command(&std::iter::once(program.to_str().unwrap()).chain(args.iter().copied()).collect::<Vec<_>>())
}

/// Runs a command bare and recorded; the recording.
fn same_command(command: &[&str]) -> Recording {
    let recording = same_with(&["--verify=1"], command);
    recording.check_nothing_lost();
    recording
}

/// As [`same_command`] with these options, of a program of which something may be lost.
fn same_with(options: &[&str], command: &[&str]) -> Recording {
    let bare = run(Command::new(command[0]).args(&command[1..]));
    let recording = record_with(&[&["-q"], options].concat(), command);
    let recorded = &recording.output;
    assert_eq!(String::from_utf8_lossy(&recorded.stdout), String::from_utf8_lossy(&bare.stdout), "{command:?}");
    // Where something cannot be seen, tmq says so at the end.
    let message = String::from_utf8_lossy(&recorded.stderr);
    let theirs = message.lines().filter(|line| !line.contains(" a malloc that comes before tmq's"));
    assert_eq!(
        theirs.collect::<Vec<_>>(),
        String::from_utf8_lossy(&bare.stderr).lines().collect::<Vec<_>>(),
        "{command:?}"
    );
    assert_eq!(shell_status(recorded.status), shell_status(bare.status), "{command:?}");
    recording.check_consistency();
    recording
}

impl Recording {
    /// Blocks of `size` bytes.
    fn blocks_of(&self, size: i64) -> i64 {
        self.blocks_between(size, size)
    }

    /// Blocks of so many bytes.
    fn blocks_between(&self, low: i64, high: i64) -> i64 {
        let condition = format!("size between {low} and {high} and domain = 0");
        self.integer(&format!("select count(*) from allocations where {condition}"))
    }

    /// Blocks of so many bytes that were never freed.
    fn left_between(&self, low: i64, high: i64) -> i64 {
        let condition = format!("size between {low} and {high} and domain = 0 and free_ns is null");
        self.integer(&format!("select count(*) from allocations where {condition}"))
    }

    /// Distinct paths of functions, most recent first, of the blocks of `size` bytes.
    fn paths_of(&self, size: i64) -> Vec<String> {
        let query = format!(
            "select distinct string_agg(g.function, ' ' order by f.position) as path from \
             (select distinct stack_id from allocations where size = {size} and domain = 0) a \
             join stack_frames f on f.stack_id = a.stack_id join frames g on g.frame_id = f.frame_id \
             group by f.stack_id order by 1"
        );
        self.sql(&query).iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
    }

    /// Events whose stacks are not complete.
    fn with_odd_stacks(&self) -> i64 {
        self.integer(
            "select count(*) from allocations a join stacks s on a.stack_id = s.stack_id where s.quality <> 'complete'",
        )
    }

    /// What was lost for this reason.
    fn lost(&self, reason: &str) -> i64 {
        self.integer(&format!("select coalesce(sum(count), 0) from losses where reason = '{reason}'"))
    }
}
