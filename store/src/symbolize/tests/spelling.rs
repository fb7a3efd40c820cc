//! Names for people, and names that are made to hurt the demanglers.

use std::time::{Duration, Instant};

use super::super::names::{base, pretty};
use super::super::reader::THREAD_STACK;

/// The longest that one name may take, with room for a busy machine and an unoptimised build.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn names_are_for_people() {
    for (raw, expected) in [
        ("main", "main"),
        ("malloc@@GLIBC_2.2.5", "malloc"),
        ("memcpy@GLIBC_2.14", "memcpy"),
        ("@odd", "@odd"),
        ("work.cold", "work"),
        ("work.isra.0", "work"),
        ("work.constprop.0.isra.12.cold", "work"),
        ("work.part.3", "work"),
        ("work.llvm.1234567890", "work"),
        ("work.lto_priv.0", "work"),
        ("work.localalias", "work"),
        ("work.__uniq.123456", "work"),
        ("inner.0", "inner"),
        ("main.init.0", "main.init.0"),
        ("main.(*T).Run", "main.(*T).Run"),
        (".cold", ".cold"),
        ("v1.2.txt", "v1.2.txt"),
        ("", ""),
        ("_ZN3app6Parser4readEi", "app::Parser::read(int)"),
        ("_ZN3app6Parser4readEi.cold", "app::Parser::read(int)"),
        ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
        ("_ZSt4moveIRiEONSt16remove_referenceIT_E4typeEOS2_", "std::move<int&>(int&)"),
        ("_Znwm", "operator new(unsigned long)"),
        ("_ZNKSt8functionIFivEEclEv@@GLIBCXX_3.4", "std::function<int ()>::operator()() const"),
        ("_ZN4core3ops8function6FnOnce9call_once17h0123456789abcdefE", "core::ops::function::FnOnce::call_once"),
        (
            "_ZN4core3ops8function6FnOnce9call_once17h0123456789abcdefE.llvm.77",
            "core::ops::function::FnOnce::call_once",
        ),
        ("_ZN5alloc3vec16Vec$LT$T$C$A$GT$4push17h0123456789abcdefE", "alloc::vec::Vec<T,A>::push"),
        ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ("_RNvMs0_NtCs1234_7mycrate5inputNtB5_6Reader4next.llvm.8", "<mycrate::input::Reader>::next"),
        ("_Znonsense", "_Znonsense"),
        ("_Rnonsense", "_Rnonsense"),
        ("_Z", "_Z"),
    ] {
        assert_eq!(pretty(raw), expected, "{raw}");
    }
    assert_eq!(base("_Z3foov.isra.0@V"), "_Z3foov");
}

/// Runs a test with the stack that workers have.
fn on_a_worker(test: fn()) {
    let worker = std::thread::Builder::new().stack_size(THREAD_STACK).spawn(test).expect("a thread");
    worker.join().expect("the test passed");
}

#[test]
fn pathological_names_are_cheap() {
    on_a_worker(pathological_names);
}

fn pathological_names() {
    let doubling: String = (0..60).map(|index| format!("S{index:X}_")).collect();
    let nested = |unit: &str, times: usize| unit.repeat(times);
    let names = [
        format!("_Z1f{}", nested("P", 50_000)),
        format!("_Z{}", nested("Z", 50_000)),
        format!("_Z{}1fvE", nested("N", 20_000)),
        format!("_Z1fI{}E", nested("X", 10_000)),
        format!("_Z1fI{}", nested("1AI", 10_000)),
        format!("_Z1f{}", nested("F", 10_000)),
        format!("_Z1fDp{}", nested("Dp", 10_000)),
        format!("_Z1fIJ{}", nested("J", 10_000)),
        format!("_Z1fIX{}", nested("cl", 10_000)),
        format!("_Z1fIX{}", nested("sr", 60)),
        format!("_Z1fIX{}", nested("srN1a", 40)),
        format!("_Z1fIXcv{}", nested("cv", 40)),
        format!("_Z{}", nested("1aI", 60)),
        format!("_Z1f{}", nested("SaI", 60)),
        format!("_Z1f{}", nested("St1aI", 14)),
        format!("_Z1fM{}", nested("MF", 60)),
        format!("_Z1fDT{}", nested("clL_Z1fDT", 60)),
        format!("_Z1f1AIS_S_E{}", (0..40).map(|index| format!("1AIS{index:X}_S{index:X}_E")).collect::<String>()),
        format!("_ZN1A{doubling}E"),
        format!("_R{}", nested("NvC", 20_000)),
        format!("_RNvC1a1bB{}", nested("_", 10_000)),
        format!("_RIC1a{}E", nested("TB3_B3_", 5_000)),
        format!("_RIC1aTTTTTTTTaaEB7_B7_EB5_B5_EB4_B4_EB3_B3_E{}E", nested("B2_", 2_000)),
        format!("_ZN{}17h0123456789abcdefE", nested("1a", 20_000)),
        "x".repeat(10 << 20),
        format!("_Z{}", "9".repeat(100)),
        "_Z99999999999999999999foo".to_owned(),
        "_ZN\u{fffd}E".to_owned(),
        "_Z\u{e9}\u{e9}".to_owned(),
        format!("work{}", ".cold".repeat(100_000)),
    ];
    for name in names {
        let start = Instant::now();
        let result = pretty(&name);
        assert!(result.len() <= name.len().max(64 << 10), "{} bytes", result.len());
        let head: String = name.chars().take(40).collect();
        assert!(start.elapsed() < PATIENCE, "{head}: {:?}", start.elapsed());
    }
}

#[test]
fn random_mangled_names_are_cheap() {
    on_a_worker(random_mangled_names);
}

fn random_mangled_names() {
    const PIECES: [&str; 48] = [
        "N", "E", "I", "S_", "S0_", "S1_", "T_", "T0_", "1a", "3std", "St", "Sa", "Ss", "K", "R", "P", "F", "M", "D",
        "Dp", "DT", "X", "L", "Z", "i", "v", "cl", "sr", "sZ", "cv", "J", "C1", "D0", "Ul", "_", "GV", "Th", "Tc", "A",
        "B", "G", "O", "fp", "fL", "il", "dc", "on", "gs",
    ];
    let mut state = 1u64;
    let mut next = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..30_000 {
        let length = 1 + next(80);
        let name: String = (0..length).map(|_| PIECES[next(PIECES.len())]).collect();
        for prefix in ["_Z", "_ZN", "_Z1fI", "_Z1fIX"] {
            let start = Instant::now();
            pretty(&format!("{prefix}{name}"));
            assert!(start.elapsed() < PATIENCE, "{prefix}{name}: {:?}", start.elapsed());
        }
    }
}
