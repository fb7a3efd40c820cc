//! Real frames from real programs, sorted by a person.

use super::{EXACT, FAMILIES, has_known_start, is_plumbing};

fn by_name(function: &str) -> bool {
    is_plumbing(function, None, None, "/usr/bin/app")
}

#[test]
fn allocators_and_wrappers_are_plumbing() {
    for function in [
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "posix_memalign",
        "__libc_malloc",
        "__GI___libc_malloc",
        "strdup",
        "_IO_file_doallocate",
        "_IO_vasprintf",
        "__vasprintf_internal",
        "operator new(unsigned long)",
        "operator new[](unsigned long, std::nothrow_t const&)",
        "arrow::Buffer::operator new(unsigned long)",
        "xmalloc",
        "xmalloc(unsigned long)",
        "g_malloc0",
        "g_strdup_printf",
        "g_slice_alloc0",
        "g_hash_table_insert",
        "xstrdup",
        "zmalloc",
        "ztrymalloc_usable_internal",
        "_sdsnewlen",
        "sqlite3MemMalloc",
        "mallocWithAlarm",
        "sqlite3DbMallocRawNN",
        "sqlite3DbMallocZero",
        "sqlite3DbRealloc",
        "sqlite3DbStrDup",
        "dbMallocRawFinish",
        "jv_mem_alloc",
        "jvp_string_alloc",
        "Perl_safesysmalloc",
        "Perl_sv_grow",
        "PyMem_RawMalloc",
        "_PyMem_DebugRawAlloc",
        "_PyObject_GC_Alloc",
        "PyObject_Malloc",
        "PyType_GenericAlloc",
        "CRYPTO_zalloc",
        "OPENSSL_sk_push",
        "QArrayData::allocate(unsigned long, unsigned long)",
        "QList<QString>::append(QString const&)",
        "je_malloc",
        "mi_heap_malloc",
        "tcmalloc::allocate_full_malloc_oom(unsigned long)",
        "moz_xmalloc",
        "ngx_palloc",
        "apr_palloc",
        "palloc0",
        "av_mallocz",
        "_emalloc_56",
        "ruby_xmalloc2",
        "luaM_malloc_",
        "__interceptor_malloc",
    ] {
        assert!(by_name(function), "{function}");
    }
}

#[test]
fn containers_are_plumbing() {
    for function in [
        "std::vector<int, std::allocator<int> >::push_back(int const&)",
        "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >::_M_create(unsigned long&, unsigned long)",
        "std::_Rb_tree<int, int>::_M_emplace_hint_unique<int>(int&&)",
        "std::make_shared<Widget>(int&&)",
        "__gnu_cxx::new_allocator<char>::allocate(unsigned long, void const*)",
        "std::__new_allocator<Node>::allocate(unsigned long, void const*)",
        "std::__1::vector<int>::__grow_by(unsigned long)",
        "boost::container::vector<int>::priv_insert_forward_range_no_capacity",
        "absl::lts_20230802::container_internal::raw_hash_set<K>::resize(unsigned long)",
        "llvm::SmallVectorBase<unsigned int>::grow_pod(void*, unsigned long, unsigned long)",
        "alloc::vec::Vec<T,A>::push",
        "<alloc::vec::Vec<app::Row>>::push",
        "alloc::raw_vec::RawVec<T,A>::grow_one",
        "<alloc::raw_vec::RawVecInner>::grow_amortized",
        "alloc::raw_vec::finish_grow",
        "hashbrown::raw::RawTable<T,A>::reserve_rehash",
        "<alloc::string::String as core::clone::Clone>::clone",
        "<alloc::string::String as core::convert::From<&str>>::from",
        "<T as alloc::string::ToString>::to_string",
        "<T as core::convert::Into<U>>::into",
        "<&str as core::convert::Into<alloc::string::String>>::into",
        "<app::Name as alloc::string::SpecToString>::spec_to_string",
        "<[u8]>::to_vec",
        "<I as core::iter::traits::collect::IntoIterator>::into_iter",
        "core::ops::function::FnOnce::call_once",
        "std::thread::Builder::spawn_unchecked_",
        "<std::thread::Builder>::spawn_unchecked::<app::main::{closure#0}, ()>",
        "__rust_alloc",
        "__rdl_alloc",
        "__rg_alloc",
        "__rustc::__rust_alloc",
        "__rustc::__rdl_alloc_zeroed",
    ] {
        assert!(by_name(function), "{function}");
    }
}

#[test]
fn a_person_would_name_these() {
    for function in [
        "main",
        "parse_line",
        "Parser::read(std::string const&)",
        "app::main",
        "app::load::{closure#0}",
        "PyDict_New",
        "PyUnicode_New",
        "_PyEval_EvalFrameDefault",
        "sqlite3Prepare",
        "sqlite3_open_v2",
        "yyparse",
        "jv_parse_sized",
        "Perl_newSVpvn",
        "Perl_hv_common",
        "createObject",
        "createStringObject",
        "dictAddRaw",
        "<app::Row as core::clone::Clone>::clone",
        "<app::Row as core::convert::From<&str>>::from",
        "<alloc::vec::Vec<u8> as app::Encode>::encode",
        "<[u8] as app::Encode>::encode",
        "<app::Tree>::insert",
        "standard_alloc_policy",
        "stdlib_init",
        "replace_text",
        "mi_parse",
        "mallocator_test",
        "allocate_seats",
        "operator_precedence",
        "make_std(std::vector<int>)",
        "free_list_scan",
        "core_dump_write",
        "QWidget::show()",
        "g_main_loop_run",
        "gtk_window_new",
        "OPENSSL_init_crypto",
        "SSL_CTX_new",
        "<fn() -> alloc::string::String as app::Handler>::call",
        "execute_query(char const*)",
        "",
    ] {
        assert!(!by_name(function), "{function}");
    }
}

#[test]
fn symbols_files_and_modules_tell_too() {
    assert!(is_plumbing("__libc_alloc_buffer", Some("malloc@@GLIBC_2.2.5"), None, "/app"));
    assert!(is_plumbing("xrealloc", Some("xrealloc.part.0"), None, "/app"));
    assert!(is_plumbing("helper", Some("xrealloc.part.0"), None, "/app"));
    assert!(is_plumbing("qsort", None, None, "/lib/x86_64-linux-gnu/libc.so.6"));
    assert!(is_plumbing("fopen", None, None, "/usr/lib/libc-2.31.so"));
    assert!(is_plumbing("_dl_map_object", None, None, "/lib64/ld-linux-x86-64.so.2"));
    assert!(is_plumbing("anything", None, None, "/opt/lib/libjemalloc.so.2"));
    assert!(!is_plumbing("crypt", None, None, "/usr/lib/libcrypt.so.1"));
    assert!(!is_plumbing("f", None, None, "/usr/lib/libcurl.so.4"));
    assert!(is_plumbing("allocate", None, Some("/usr/include/c++/12/bits/new_allocator.h"), "/app"));
    assert!(is_plumbing("allocate", None, Some("/usr/include/x86_64-linux-gnu/c++/12/bits/x.h"), "/app"));
    assert!(is_plumbing("grow_one<u8>", None, Some("/rustc/59807616e1fa/library/alloc/src/raw_vec/mod.rs"), "/app"));
    assert!(is_plumbing("next", None, Some("/usr/src/rustc-1.63.0/library/core/src/str/iter.rs"), "/app"));
    assert!(is_plumbing("insert", None, Some("/rust/deps/hashbrown-0.15.5/src/map.rs"), "/app"));
    assert!(!is_plumbing("insert", None, Some("/home/me/library/src/insert.rs"), "/app"));
}

#[test]
fn cpp_namespaces_are_not_rust_crates() {
    assert!(!is_plumbing("core::Engine::run()", Some("_ZN4core6Engine3runEv"), None, "/app"));
    assert!(!is_plumbing("alloc::Pool::get()", Some("_ZN5alloc4Pool3getEv"), None, "/app"));
    let rust = Some("_ZN4core3ops8function6FnOnce9call_once17h0123456789abcdefE");
    assert!(is_plumbing("core::ops::function::FnOnce::call_once", rust, None, "/app"));
}

#[test]
fn the_table_says_nothing_twice() {
    let total: usize = FAMILIES.iter().map(|family| family.exact.len()).sum();
    assert_eq!(EXACT.len(), total, "a name is in two families");
    for start in FAMILIES.iter().flat_map(|family| family.prefixes) {
        assert!(start.len() >= 3, "{start} is too short to be safe");
        let covered: Vec<_> = EXACT.iter().filter(|name| name.starts_with(start)).collect();
        assert!(covered.is_empty(), "{start} makes {covered:?} superfluous");
    }
}

#[test]
fn a_start_is_found_as_one_by_one() {
    let starts: Vec<&str> = FAMILIES.iter().flat_map(|family| family.prefixes).copied().collect();
    let one_by_one = |name: &str| starts.iter().any(|start| name.starts_with(start));
    for start in &starts {
        let shorter = &start[..start.len() - 1];
        let around = [format!("{start}~"), format!("{start}\u{1}"), format!("{shorter}\u{7f}"), format!(" {start}")];
        for name in around.iter().map(String::as_str).chain([*start, shorter]) {
            assert_eq!(has_known_start(name), one_by_one(name), "{name}");
        }
    }
    assert!(!has_known_start("") && !has_known_start("\u{10ffff}"));
}
