//! Random programs: functions that call each other at random, each in one of the ways that make unwinding hard.
//!
//! What they share is in `prelude.h`; a program's own part is a table of functions whose bodies a seed chooses. The same
//! text is C or C++; Rust programs are of their own kind, with what Rust adds: panics, closures, drops.

use std::fmt::Write as _;

/// A small reproducible random sequence (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % n
    }
}

/// Functions of a program (`COUNT` of the prelude).
const FUNCTIONS: u64 = 40;

/// Bodies of C functions `int f(int d, int n)`.
const C_BODIES: [&str; 14] = [
    "char *p = (char *)alloca(16 + (n & 255)); memset(p, n, 16); int r = CALL(d, n + 1) + p[3]; KEEP; return r;",
    "ALIGNED(@ALIGN) volatile char b[64]; b[n & 63] = n; int r = CALL(d, n) + b[3]; KEEP; return r;",
    "ALIGNED(64) volatile char b[64]; char *p = (char *)alloca(32 + (n & 511)); p[0] = b[1] = n; touch(n); \
     int r = CALL(d, n) + p[0]; KEEP; return r;",
    "return CALL(d, n + 3);",
    "char v[9]; for (int i = 0; i < 9; i++) v[i] = next(); qsort(v, 9, 1, compare); int r = CALL(d, v[4]); KEEP; return r;",
    "if (next() % 64 == 0) { raise(SIGUSR1); touch(n); } int r = CALL(d, n); KEEP; return r;",
    "if (next() % 64 == 0) { raise(SIGUSR2); touch(n); } int r = CALL(d, n); KEEP; return r;",
    "if (next() % 512 == 0) longjmp(out, 1); int r = CALL(d, n) ^ CALL(d / 2, n + 1); KEEP; return r;",
    "int r = 0; for (int i = 0; i < (n & 3); i++) { r += CALL(d / 2, i); touch(r); } KEEP; return r;",
    "int r = next() % 8 == 0 ? enter(n) : CALL(d, n); KEEP; return r;",
    "if (next() % 16 == 0) leave(); int r = CALL(d, n); KEEP; return r;",
    "int r = next() % 4 == 0 ? visit_library(d, n) : CALL(d, n); KEEP; return r;",
    // Frames of the same size called one after the other from the same place: at the same addresses, in other functions.
    "volatile int v[8]; v[n & 7] = n; touch(n); int r = CALL(d, n) + v[0]; KEEP; return r;",
    "volatile int v[@LOCALS]; v[n % @LOCALS] = n; int r = CALL(d, v[n % @LOCALS] + 1) + v[0]; KEEP; return r;",
];

/// Further bodies of C++ functions: exceptions through frames with and without something to destroy.
const CPP_BODIES: [&str; 3] = [
    "int saved = catching++; int r; try { r = CALL(d, n); } catch (int thrown) { touch(thrown); r = thrown; } \
     catching = saved; r += CALL(d / 2, n); KEEP; return r;",
    "if (catching && next() % 32 == 0) throw n; int r = CALL(d, n); KEEP; return r;",
    "struct Guard { int n; ~Guard() { touch(n); } } guard{n}; int r = CALL(d, n) + guard.n; KEEP; return r;",
];

/// A C program, or a C++ one.
pub fn c(seed: u64, walks: u32, is_cpp: bool) -> String {
    let mut random = Random(seed);
    let mut text = include_str!("prelude.h").to_owned();
    let bodies: Vec<&str> =
        C_BODIES.iter().chain(is_cpp.then_some(&CPP_BODIES).into_iter().flatten()).copied().collect();
    for i in 0..FUNCTIONS {
        let body = bodies[random.below(bodies.len() as u64) as usize]
            .replace("@ALIGN", &(32u64 << random.below(3)).to_string())
            .replace("@LOCALS", &(1 + random.below(30)).to_string());
        writeln!(text, "__attribute__((noinline)) static int f{i}(int d, int n) {{ n &= 0xffff; {body} }}").unwrap();
    }
    let names: Vec<String> = (0..FUNCTIONS).map(|i| format!("f{i}")).collect();
    writeln!(
        text,
        "int main(int argc, char **argv) {{ function *all[] = {{{}}}; memcpy(table, all, sizeof table); forward = f3;\n\
         if (argc > 2) {{ paths[0] = argv[1]; paths[1] = argv[2]; }}\nwalk({walks}); puts(\"done\"); return 0; }}",
        names.join(", ")
    )
    .unwrap();
    text
}

/// A library for C programs to load: `visit` allocates and calls back from somewhere in its functions.
pub fn library(seed: u64) -> String {
    let mut random = Random(seed);
    let mut text = String::from(
        "#include <stdlib.h>\ntypedef int function(int, int);\n#define KEEP __asm__ volatile(\"\" ::: \"memory\")\n",
    );
    const DEPTH: u64 = 6;
    for i in 0..DEPTH {
        let locals = 1 + random.below(40);
        let call = if i == 0 { "f(d - 1, n)".to_owned() } else { format!("v{}(d, n, f)", i - 1) };
        writeln!(
            text,
            "__attribute__((noinline)) static int v{i}(int d, int n, function *f) {{ volatile int v[{locals}]; \
             v[n % {locals}] = n; free(malloc(n & 511)); KEEP; int r = {call} + v[0]; free(malloc(7)); KEEP; return r; }}"
        )
        .unwrap();
    }
    let entry = random.below(DEPTH);
    writeln!(
        text,
        "int visit(int d, int n, function *f) {{ n &= 0xffff; int r = v{entry}(d, n, f); KEEP; return r; }}"
    )
    .unwrap();
    text
}

/// Bodies of Rust functions `fn f(d: u32, n: u32) -> u32`.
const RUST_BODIES: [&str; 8] = [
    "let v: Vec<u32> = (0..n % 50).collect(); call(d, n + 1) + v.len() as u32",
    "let guard = Guard(n); let r = call(d, n); r ^ guard.0",
    "catch_unwind(|| call(d, n)).unwrap_or_else(|_| call(d / 2, 1))",
    "if CATCHING.get() > 0 && next() % 64 == 0 { resume_unwind(Box::new(n)); } call(d, n)",
    "let mut v: Vec<u32> = (0..24).map(|_| next()).collect(); v.sort_by(|a, b| { touch(*a); a.cmp(b) }); call(d, v[3])",
    "let f: Box<dyn Fn(u32) -> u32> = Box::new(move |x| call(d, x ^ n)); f(n) + 1",
    "#[repr(align(64))] struct Aligned([u8; 64]); let a = black_box(Aligned([n as u8; 64])); call(d, n) + u32::from(a.0[7])",
    "(0..n % 3).map(|i| call(d / 2, i)).fold(String::new(), |s, x| s + &x.to_string()).len() as u32",
];

const RUST_PRELUDE: &str = "\
use std::cell::Cell;
use std::hint::black_box;
use std::panic::{UnwindSafe, resume_unwind};
thread_local! {
    static STATE: Cell<u64> = const { Cell::new(88172645463325252) };
    static BUDGET: Cell<i32> = const { Cell::new(0) };
    static CATCHING: Cell<u32> = const { Cell::new(0) };
}
fn next() -> u32 {
    STATE.set({ let mut s = STATE.get(); s ^= s << 13; s ^= s >> 7; s ^= s << 17; s });
    (STATE.get() >> 11) as u32
}
#[inline(never)]
fn touch(n: u32) { black_box(vec![0u8; (n & 1023) as usize + 1]); }
struct Guard(u32);
impl Drop for Guard { fn drop(&mut self) { touch(self.0); } }
fn catch_unwind(f: impl FnOnce() -> u32 + UnwindSafe) -> std::thread::Result<u32> {
    let saved = CATCHING.replace(CATCHING.get() + 1);
    let r = std::panic::catch_unwind(f);
    CATCHING.set(saved);
    r
}
fn call(d: u32, n: u32) -> u32 {
    BUDGET.set(BUDGET.get() - 1);
    if BUDGET.get() > 0 && d > 0 { TABLE[next() as usize % TABLE.len()](d - 1, n & 0xffff) } else { touch(n); n }
}
";

/// A Rust program; its threads walk at the same time.
pub fn rust(seed: u64, walks: u32) -> String {
    let mut random = Random(seed);
    let mut text = RUST_PRELUDE.to_owned();
    for i in 0..FUNCTIONS {
        let body = RUST_BODIES[random.below(RUST_BODIES.len() as u64) as usize];
        writeln!(text, "#[inline(never)]\nfn f{i}(d: u32, n: u32) -> u32 {{ {body} }}").unwrap();
    }
    let names: Vec<String> = (0..FUNCTIONS).map(|i| format!("f{i}")).collect();
    writeln!(
        text,
        "static TABLE: [fn(u32, u32) -> u32; {FUNCTIONS}] = [{}];\n\
         fn walk(seed: u64) {{ STATE.set(STATE.get() ^ seed); \
         for i in 0..{walks} {{ BUDGET.set(400); black_box(call(40, i)); }} }}\n\
         fn main() {{ let threads: Vec<_> = (1..3).map(|i| std::thread::spawn(move || walk(i))).collect(); walk(0); \
         for thread in threads {{ thread.join().unwrap(); }} println!(\"done\"); }}",
        names.join(", ")
    )
    .unwrap();
    text
}
