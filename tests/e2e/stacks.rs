//! Stacks compared with other unwinders: random call trees under `--verify=1` (which unwinds every stack again without
//! cache and with framehop) and gdb's backtrace at random stops; many distinct and very deep stacks.
//!
//! `TMQ_FUZZ_STACKS=N` sets the number of stacks to reach (default 200,000; 10,000,000 takes about 15 minutes).

use std::fmt::Write as _;
use std::process::Command;

use crate::support::{compile, record_with, run, workload, workload_with};

/// A small reproducible random sequence (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % n
    }
}

/// A program whose functions call each other at random: plain, recursive, with alloca, with over-aligned locals, as tail
/// calls, through qsort, through signal handlers, over longjmp. `walks` bounds how many calls it makes.
fn random_program(seed: u64, walks: u32) -> String {
    const FUNCTIONS: u64 = 40;
    let mut r = Random(seed);
    let mut text = String::from(
        "#define _GNU_SOURCE\n#include <alloca.h>\n#include <setjmp.h>\n#include <signal.h>\n#include <stdlib.h>\n\
         #include <string.h>\n#include <stdio.h>\n#define KEEP __asm__ volatile(\"\" ::: \"memory\")\n\
         static unsigned long state = 88172645463325252ul; static long budget; static jmp_buf out; static volatile int sink;\n\
         static unsigned next(void) { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return (unsigned)(state >> 11); }\n\
         static void touch(int n) { free(malloc(n & 1023)); KEEP; }\n\
         typedef int function(int, int);\nstatic function *table[];\nstatic int (*forward)(int, int);\n\
         static void handler(int s) { touch(s); forward(2, s); KEEP; }\n\
         static int compare(const void *a, const void *b) { touch(*(const char *)a); return *(const char *)a - *(const char *)b; }\n\
         #define CALL(d, n) (budget-- > 0 && (d) > 0 ? table[next() % 40]((d) - 1, (n)) : (touch(n), (n)))\n",
    );
    for i in 0..FUNCTIONS {
        let locals = r.below(30) + 1;
        let body = match r.below(9) {
            0 => "char *p = alloca(16 + (n & 255)); memset(p, n, 16); int r = CALL(d, n + 1) + p[3]; KEEP; return r;".to_owned(),
            1 => format!("_Alignas({}) volatile char b[64]; b[n & 63] = n; int r = CALL(d, n) + b[3]; KEEP; return r;", 32 << r.below(3)),
            2 => "_Alignas(64) volatile char b[64]; char *p = alloca(32 + (n & 511)); p[0] = b[1] = n; touch(n); int r = CALL(d, n) + p[0]; KEEP; return r;".to_owned(),
            3 => "return CALL(d, n + 3);".to_owned(),
            4 => "char v[9]; for (int i = 0; i < 9; i++) v[i] = next(); qsort(v, 9, 1, compare); int r = CALL(d, v[4]); KEEP; return r;".to_owned(),
            5 => "if (next() % 64 == 0) { raise(SIGUSR1); touch(n); } int r = CALL(d, n); KEEP; return r;".to_owned(),
            6 => "if (next() % 512 == 0) longjmp(out, 1); int r = CALL(d, n) ^ CALL(d / 2, n + 1); KEEP; return r;".to_owned(),
            7 => "int r = 0; for (int i = 0; i < (n & 3); i++) { r += CALL(d / 2, i); touch(r); } KEEP; return r;".to_owned(),
            _ => format!("volatile int v[{locals}]; v[n % {locals}] = n; int r = CALL(d, v[n % {locals}] + 1) + v[0]; KEEP; return r;"),
        };
        writeln!(text, "__attribute__((noinline)) static int f{i}(int d, int n) {{ n &= 0xffff; {body} }}").unwrap();
    }
    let names: Vec<String> = (0..FUNCTIONS).map(|i| format!("f{i}")).collect();
    writeln!(
        text,
        "static function *table[] = {{{}}};\nint main(void) {{ forward = f3; signal(SIGUSR1, handler); \
         for (volatile int i = 0; i < {walks}; i++) {{ budget = 400; if (setjmp(out) == 0) sink += CALL(40, i); \
         sigset_t s; sigemptyset(&s); sigprocmask(SIG_SETMASK, &s, NULL); }} puts(\"done\"); return 0; }}",
        names.join(", ")
    )
    .unwrap();
    text
}

#[test]
fn random_call_trees() {
    let goal: i64 = std::env::var("TMQ_FUZZ_STACKS").ok().and_then(|v| v.parse().ok()).unwrap_or(200_000);
    let compilers = [
        &["-O0", "-w"][..],
        &["-O2", "-w", "-fno-builtin"],
        &["-O2", "-w", "-fno-builtin", "-fno-omit-frame-pointer"],
        &["-O3", "-w", "-fno-builtin", "-mavx2"],
        &["-O2", "-w", "-fno-builtin", "-static-pie", "-no-pie"],
        &["-Os", "-w", "-fno-builtin", "-fno-plt"],
    ];
    let (mut verified, mut seed) = (0, 1u64);
    while verified < goal {
        let flags: Vec<&str> =
            compilers[seed as usize % compilers.len()].iter().copied().filter(|f| *f != "-static-pie").collect();
        let program = compile(&random_program(seed, 300), &flags);
        let recording = record_with(&["-q", "--verify=1"], &[&program]);
        assert_eq!(recording.output.stdout, b"done\n", "seed {seed} {flags:?}");
        recording.check_nothing_lost();
        let odd = recording
            .sql("select quality, count(*) as n from stacks where quality not in ('complete') group by quality");
        assert!(odd.is_empty(), "seed {seed} {flags:?}: {odd:?}");
        verified += recording.integer("select cast(value as bigint) from metadata where key = 'verified'");
        seed += 1;
    }
    println!("{verified} stacks of {} programs verified, no mismatch", seed - 1);
}

/// gdb stops a recorded program in the real allocator and sees the same functions that tmq records.
#[test]
fn gdb_sees_the_same_callers() {
    let program = workload_with("stacks.c", &["-O0"]);
    let recording = record_with(&["-q"], &[&program]);
    let ours: Vec<String> = recording
        .sql(
            "select string_agg(g.function, ' ' order by f.position) as path from stack_frames f \
             join frames g on g.frame_id = f.frame_id group by f.stack_id",
        )
        .iter()
        .map(|row| row["path"].as_str().unwrap().to_owned())
        .collect();
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-ex", "set confirm off", "-ex", "set debuginfod enabled off", "-ex", "break leaf"]);
    gdb.args(["-ex", "run"]);
    for _ in 0..40 {
        gdb.args([
            "-ex",
            "ignore 1 97",
            "-ex",
            "continue",
            "-ex",
            "bt -frame-info location-and-address",
            "-ex",
            "echo END\\n",
        ]);
    }
    let text = String::from_utf8_lossy(&run(gdb.arg(&program)).stdout).into_owned();
    let mut compared = 0;
    for block in text.split("END\n") {
        let frames: Vec<&str> = block
            .lines()
            .filter(|l| l.starts_with('#'))
            .filter_map(|l| l.split(" in ").last()?.split_whitespace().next())
            .take_while(|f| *f != "main")
            .collect();
        if frames.first() == Some(&"leaf") {
            let wanted = format!("{} main", frames.join(" "));
            let found = ours.iter().any(|path| path.starts_with(&wanted));
            let through_libc = frames.iter().any(|f| f.contains("msort") || f.contains("qsort"));
            assert!(found || through_libc, "gdb: {wanted}\ntmq: {ours:#?}");
            compared += usize::from(found);
        }
    }
    assert!(compared >= 20, "gdb gave {compared} backtraces:\n{text}");
}

/// 100,000 distinct stacks.
#[test]
fn many_stacks() {
    let recording = record_with(&["-q"], &[workload("many_stacks.c")]);
    assert!(recording.integer("select count(*) from stacks where depth > 15") >= 100_000);
    recording.check_nothing_lost();
    let top = run(crate::support::tmq().arg("top").arg(&recording.dir).args(["-g", "traceback", "-n", "3"]));
    assert!(top.status.success() && String::from_utf8_lossy(&top.stdout).contains("many_stacks.c"));
}

/// Recursion 5,000 deep with an allocation at every level.
#[test]
fn deep_recursion() {
    let recording = record_with(&["-q"], &[workload("deep.c")]);
    assert!(recording.integer("select max(depth) from stacks") > 5000);
    recording.check_nothing_lost();
    let top = run(crate::support::tmq().arg("top").arg(&recording.dir));
    let text = String::from_utf8_lossy(&top.stdout).into_owned();
    assert!(top.status.success() && text.contains("descend"), "{text}");
}
