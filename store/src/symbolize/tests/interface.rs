//! Order, duplicates, progress, threads, cache and vDSO: what callers rely on.

use std::path::PathBuf;
use std::sync::Mutex;

use object::{Object, ObjectSymbol};

use super::super::{ModuleRef, ModuleStatus, Options, SymbolRequest, symbolize, vdso};
use super::{Workshop, bare_options, build_id, function, functions, names, resolve_with, run};

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let shop = Workshop::new();
    let path = shop.program("program", &[]);
    let (main, exported) = (function(&path, "main").0, function(&path, "exported_function").0);
    let module = ModuleRef { path, build_id: None };
    let modules = [module.clone(), ModuleRef { path: PathBuf::from("/nowhere"), build_id: None }, module];
    let request = |module, offset| SymbolRequest { module, offset };
    let requests = [
        request(2, main),
        request(0, exported),
        request(1, main),
        request(9, main),
        request(0, main),
        request(0, exported),
    ];
    let seen = Mutex::new(Vec::new());
    let found = symbolize(&modules, &requests, &bare_options(), &|progress| {
        seen.lock().expect("not poisoned").push((progress.done, progress.total));
    });
    let last: Vec<_> = found.symbols.iter().map(|frames| names(frames).last().copied()).collect();
    let (main, exported) = (Some("main"), Some("exported_function"));
    assert_eq!(last, [main, exported, None, None, main, exported]);
    assert_eq!(found.symbols.get(6), []);
    let statuses: Vec<_> = found.modules.iter().map(|report| report.status.clone()).collect();
    assert_eq!(statuses, [ModuleStatus::Dwarf, ModuleStatus::NotFound, ModuleStatus::Dwarf]);
    assert_eq!((found.modules[0].requested, found.modules[0].resolved), (2, 2), "unique addresses of both modules");
    assert_eq!(found.modules[1].requested, 1);
    let seen = seen.into_inner().expect("not poisoned");
    assert!(seen.contains(&(3, 3)) && seen.iter().all(|&(done, total)| done <= total && total == 3), "{seen:?}");
}

#[test]
fn nothing_asked_nothing_done() {
    let found = symbolize(&[], &[], &Options::default(), &|_| {});
    assert!(found.symbols.is_empty() && found.modules.is_empty());
    let unused = ModuleRef { path: std::env::current_exe().expect("known"), build_id: None };
    let found = symbolize(&[unused], &[], &Options::default(), &|_| {});
    assert_eq!((found.modules[0].requested, found.modules[0].problems.len()), (0, 0));
}

#[test]
fn threads_do_not_change_the_answers() {
    let path = std::env::current_exe().expect("known");
    let mut offsets: Vec<u64> = Vec::new();
    for (_, start, size) in functions(&path).into_iter().take(6000) {
        offsets.extend([start, start + size / 2]);
    }
    assert!(offsets.len() > 5000, "enough for several chunks");
    let module = || ModuleRef { path: path.clone(), build_id: None };
    let one = resolve_with(module(), &offsets, &Options { threads: 1, ..bare_options() });
    let four = resolve_with(module(), &offsets, &Options { threads: 4, ..bare_options() });
    assert!(one.symbols.iter().eq(four.symbols.iter()));
    assert_eq!(one.modules, four.modules);
    assert!(one.modules[0].resolved * 100 > one.modules[0].requested * 99, "{:?}", one.modules);
}

#[test]
fn large_modules_are_remembered_by_build_id() {
    let shop = Workshop::new();
    let small = shop.program("small", &["-Wl,--build-id"]);
    std::fs::write(shop.path("pad"), vec![0; 20 << 20]).expect("written");
    let path = shop.path("large");
    let (from, to) = (shop.text("small"), shop.text("large"));
    run("objcopy", &[&format!("--add-section=pad={}", shop.text("pad")), &from, &to]);
    let (start, size) = function(&path, "local_function");
    let offsets: Vec<_> = (start..start + size).collect();
    let cache_dir = Some(shop.path("cache/symbols"));
    let options = Options { cache_dir, ..bare_options() };
    let module = || ModuleRef { path: path.clone(), build_id: Some(build_id(&small)) };
    let first = resolve_with(module(), &offsets[..4], &options);
    let second = resolve_with(module(), &offsets, &options);
    let third = resolve_with(module(), &offsets, &options);
    let plain = resolve_with(module(), &offsets, &bare_options());
    let cached = [&first, &second, &third, &plain].map(|found| found.modules[0].cached);
    assert_eq!(cached, [0, 4, offsets.len(), 0]);
    for found in [&second, &third] {
        assert_eq!(found.modules[0].status, ModuleStatus::Dwarf);
        assert!(found.symbols.iter().eq(plain.symbols.iter()));
    }
    // Another version of the file under the same build-id (debug symbols stripped, say) starts afresh.
    run("objcopy", &["--strip-debug", &to]);
    assert_eq!(resolve_with(module(), &offsets, &options).modules[0].cached, 0);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_problem_not_a_failure() {
    let shop = Workshop::new();
    shop.program("small", &["-Wl,--build-id"]);
    std::fs::write(shop.path("pad"), vec![0; 20 << 20]).expect("written");
    let (from, to) = (shop.text("small"), shop.text("large"));
    run("objcopy", &[&format!("--add-section=pad={}", shop.text("pad")), &from, &to]);
    let (start, _) = function(&shop.path("large"), "main");
    let options = Options { cache_dir: Some(shop.path("pad")), ..bare_options() };
    let module = ModuleRef { path: shop.path("large"), build_id: None };
    let found = resolve_with(module, &[start], &options);
    assert_eq!(names(found.symbols.get(0)), ["main"]);
    assert_eq!(found.modules[0].problems.len(), 1);
}

#[test]
fn the_vdso_is_read_from_memory() {
    let image = vdso::read_own().expect("this kernel has a vDSO");
    let file = object::File::parse(&*image).expect("an ELF file");
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("__vdso_clock_gettime"));
    let symbol = symbol.expect("every vDSO tells the time");
    for path in ["[vdso]", "linux-vdso.so.1"] {
        let module = ModuleRef { path: path.into(), build_id: None };
        let found = resolve_with(module, &[symbol.address()], &bare_options());
        assert_eq!(found.modules[0].status, ModuleStatus::DynamicSymbols);
        let name = found.symbols.get(0)[0].function.as_deref().expect("named");
        assert!(name == "__vdso_clock_gettime" || name == "clock_gettime", "{name}");
    }
    let module = ModuleRef { path: "[vdso]".into(), build_id: Some(vec![1, 2, 3]) };
    let found = resolve_with(module, &[symbol.address()], &bare_options());
    assert!(matches!(found.modules[0].status, ModuleStatus::BuildIdMismatch { .. }), "another kernel's");
}
