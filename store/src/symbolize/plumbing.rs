//! Which frames are plumbing: nobody would name them as the cause of an allocation.
//!
//! `malloc` called by `std::vector<int>::push_back` called by `Parser::read_line` is `read_line`'s doing. A frame is
//! plumbing if it allocates on behalf of whoever called it: allocators and their wrappers, string duplication,
//! containers and smart pointers, and all of the C and C++ runtime libraries. A function that *decides* to allocate is
//! not, even inside a library: `PyDict_New` and `sqlite3_open` stay, `PyObject_Malloc` and `sqlite3DbMallocRaw` go.
//!
//! The data is in `MODULES`, `FILES` and `FAMILIES`: to teach it a project's wrappers, add a family there and a
//! line to the test. Plumbing at the bottom of a stack (`__libc_start_main`) does no harm, because readers look for the
//! first frame from the top that is not.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::names;

/// Starts of file names of modules in which everything is plumbing.
const MODULES: &[&str] = &[
    "libc.so",
    "libc-2.",
    "libc.musl-",
    "ld-linux",
    "ld-2.",
    "ld-musl-",
    "ld.so",
    "ld64.so",
    "libpthread.so",
    "libpthread-2.",
    "libstdc++.so",
    "libc++.so",
    "libc++abi.so",
    "libgcc_s.so",
    "libjemalloc.",
    "libtcmalloc",
    "libmimalloc",
    "libhoard.",
    "libtmq",
];

/// Parts of source paths in which everything is plumbing. A closure of the user's keeps the user's path.
const FILES: &[&str] = &[
    // C++ standard libraries: installed headers, then their own sources.
    "/include/c++/",
    "-linux-gnu/c++/",
    "/c++/v1/",
    "/libstdc++-v3/",
    "/boost/container/",
    "/boost/smart_ptr/",
    "/boost/unordered/",
    // Rust's library, wherever it was built, and what it is built from; then containers from crates.io.
    "/library/alloc/src/",
    "/library/core/src/",
    "/library/std/src/",
    "/rust/deps/",
    "/hashbrown-",
    "/smallvec-",
    "/indexmap-",
    "/allocator-api2-",
    "/raw_vec.rs",
    "/raw_vec/mod.rs",
];

/// Functions of one project or language.
struct Family {
    /// Whole names; for C++, without the parameter list.
    exact: &'static [&'static str],
    /// Starts of names.
    prefixes: &'static [&'static str],
}

/// C, C++ and everything built on them.
// One name per line would make it three screens longer and no easier to search.
#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    // C allocation, also for static binaries, where the module does not tell.
    Family {
        exact: &[
            "malloc", "calloc", "realloc", "reallocarray", "free", "cfree", "memalign", "posix_memalign",
            "aligned_alloc", "valloc", "pvalloc", "mmap", "mmap64", "mremap", "sbrk", "brk", "strdup", "strndup",
            "wcsdup", "asprintf", "vasprintf", "getline", "getdelim", "open_memstream", "fmemopen", "sysmalloc",
            "_int_malloc", "_int_realloc", "_int_memalign", "_int_free", "malloc_consolidate", "tcache_init",
            "malloc_hook_ini", "arena_get2", "new_heap", "__strdup", "__strndup", "__getdelim", "__mmap", "__mmap64",
        ],
        prefixes: &["__libc_", "__GI_", "_IO_", "_dl_", "__asprintf", "__vasprintf", "___asprintf"],
    },
    // Replacement allocators and sanitizers.
    Family {
        exact: &["rpmalloc", "rpcalloc", "rprealloc", "scalloc", "nedmalloc", "dlmalloc", "dlcalloc", "dlrealloc"],
        prefixes: &[
            "je_", "_rjem_", "jemalloc_", "tc_malloc", "tc_calloc", "tc_realloc", "tc_new", "tc_memalign",
            "tcmalloc::", "tcmalloc_", "mi_malloc", "mi_calloc", "mi_zalloc", "mi_realloc", "mi_new", "mi_aligned",
            "mi_heap_", "mi_page_", "mi_segment", "_mi_malloc", "_mi_heap_", "_mi_page_", "_mi_segment", "_mi_arena",
            "_mi_os_", "__interceptor_", "__asan_", "scudo::", "scudo_", "rpaligned_",
        ],
    },
    // C++ standard library and the language's own operators.
    Family {
        exact: &["__cxa_allocate_exception", "__cxa_get_globals", "_Znwm", "_Znam"],
        prefixes: &["std::", "__gnu_cxx::", "operator new", "operator delete"],
    },
    // C++ container libraries.
    Family {
        exact: &["llvm::safe_malloc", "llvm::safe_realloc", "llvm::allocate_buffer"],
        prefixes: &[
            "boost::container::", "boost::intrusive::", "boost::shared_ptr<", "boost::make_shared<",
            "boost::detail::sp_", "boost::detail::shared_count", "boost::unordered::", "boost::pool<",
            "boost::fast_pool_allocator", "absl::container_internal::", "absl::inlined_vector_internal::",
            "folly::fbvector<", "folly::fbstring", "folly::basic_fbstring<", "folly::f14::", "llvm::SmallVector",
            "llvm::BumpPtrAllocator", "llvm::StringMapImpl::", "llvm::DenseMap", "llvm::FoldingSet",
            "Eigen::internal::aligned_", "Eigen::internal::conditional_aligned_", "Eigen::DenseStorage<",
            "Eigen::PlainObjectBase<", "google::protobuf::Arena", "google::protobuf::internal::ThreadSafeArena",
            "google::protobuf::internal::SerialArena", "google::protobuf::internal::RepeatedPtrFieldBase::",
            "google::protobuf::RepeatedField<", "tbb::detail::r1::allocate",
            "tbb::detail::r1::cache_aligned_allocate", "scalable_malloc", "scalable_calloc", "scalable_realloc",
            "scalable_aligned_", "fmt::v", "fmt::basic_memory_buffer<", "rapidjson::CrtAllocator::",
            "rapidjson::MemoryPoolAllocator<", "v8::internal::Malloced::", "v8::internal::AllocWithRetry",
            "v8::base::Malloc", "v8::base::Calloc", "node::Malloc", "node::UncheckedMalloc", "allocator_shim::",
            "partition_alloc::", "WTF::Partitions::", "WTF::fastMalloc", "WTF::Vector<", "bmalloc::",
            "nsTArray_base<", "nsTArray_Impl<", "nsTSubstring<", "nsStringBuffer::",
        ],
    },
    // Qt's implicitly shared containers.
    Family {
        exact: &["qMallocAligned", "qReallocAligned", "qMalloc", "qRealloc"],
        prefixes: &[
            "QArrayData::", "QArrayDataPointer<", "QArrayDataOps::", "QTypedArrayData<", "QtPrivate::QPodArrayOps<",
            "QtPrivate::QGenericArrayOps<", "QtPrivate::QMovableArrayOps<", "QListData::", "QList<", "QVector<",
            "QVarLengthArray<", "QHashData::", "QHash<", "QHashPrivate::", "QMultiHash<", "QSet<", "QMap<",
            "QMapData", "QMultiMap<", "QStringList::", "QString::", "QByteArray::", "QStringBuilder<",
            "QSharedPointer<", "QtSharedPointer::", "QContiguousCacheData::", "QFreeList<",
        ],
    },
    // GLib's allocators and containers.
    Family {
        exact: &[
            "g_malloc", "g_malloc0", "g_malloc_n", "g_malloc0_n", "g_realloc", "g_realloc_n", "g_try_malloc",
            "g_try_malloc0", "g_try_malloc_n", "g_try_malloc0_n", "g_try_realloc", "g_try_realloc_n",
            "g_aligned_alloc", "g_aligned_alloc0", "g_memdup", "g_memdup2", "g_strndup", "g_strnfill", "g_strconcat",
            "g_strjoin", "g_strjoinv", "g_strsplit", "g_stpcpy", "g_vasprintf", "g_build_filename", "g_build_path",
            "g_slice_copy", "g_atomic_rc_box_alloc", "g_type_create_instance",
        ],
        prefixes: &[
            "g_strdup", "g_slice_alloc", "g_array_", "g_byte_array_", "g_ptr_array_", "g_string_", "g_hash_table_",
            "g_list_", "g_slist_", "g_queue_", "g_rc_box_", "standard_malloc", "standard_calloc",
        ],
    },
    // The wrapper that every C program seems to have: out of memory means exit.
    Family {
        exact: &[
            "xmalloc", "xmalloc0", "xmallocz", "xcalloc", "xzalloc", "xrealloc", "xreallocarray", "xstrdup",
            "xstrndup", "xmemdup", "xmemdup0", "xmemdupz", "xnmalloc", "xnrealloc", "x2nrealloc", "x2realloc",
            "xpalloc", "xcharalloc", "xalloc", "ximalloc", "xicalloc", "xirealloc", "xireallocarray", "ximemdup",
            "ximemdup0", "xasprintf", "xvasprintf", "ireallocarray", "sh_xmalloc", "sh_xrealloc", "safe_malloc",
            "safe_calloc", "safe_realloc", "safe_strdup", "safemalloc", "saferealloc", "checked_malloc",
            "checked_realloc", "emalloc", "ecalloc", "erealloc", "estrdup", "mem_alloc", "mem_calloc", "mem_realloc",
            "memdup", "memdup_suffix0", "greedy_realloc", "greedy_realloc0", "malloc_multiply", "strbuf_grow",
            "strbuf_add", "strbuf_init",
        ],
        prefixes: &[],
    },
    // CPython's three allocators; objects' constructors are not plumbing.
    Family {
        exact: &[
            "PyObject_Malloc", "PyObject_Calloc", "PyObject_Realloc", "PyObject_Free", "_PyObject_Malloc",
            "_PyObject_Calloc", "_PyObject_Realloc", "_PyObject_New", "_PyObject_NewVar", "_PyObject_GC_Alloc",
            "_PyObject_GC_Malloc", "_PyObject_GC_Calloc", "_PyObject_GC_New", "_PyObject_GC_NewVar",
            "_PyObject_GC_Resize", "_PyObject_ArenaMalloc", "_PyObject_ArenaMmap", "PyType_GenericAlloc",
            "_PyType_AllocNoTrack", "pymalloc_alloc", "pymalloc_realloc", "allocate_from_new_pool", "new_arena",
            "gc_alloc", "object_malloc",
        ],
        prefixes: &["PyMem_", "_PyMem_"],
    },
    // Perl: the allocator, the string copies, and the arenas that values are cut from. `newSV…` is not plumbing.
    Family {
        exact: &[
            "Perl_safesysmalloc", "Perl_safesyscalloc", "Perl_safesysrealloc", "Perl_malloc", "Perl_calloc",
            "Perl_realloc", "Perl_sv_grow", "Perl_sv_grow_fresh", "Perl_more_bodies", "Perl_more_sv", "S_more_sv",
            "S_new_body", "S_new_SV", "Perl_savepv", "Perl_savepvn", "Perl_savesvpv", "Perl_savesharedpv",
            "Perl_savesharedpvn", "Perl_get_arena", "PerlIOBuf_get_base",
        ],
        prefixes: &[],
    },
    // SQLite.
    Family {
        exact: &[
            "sqlite3Malloc", "sqlite3MallocZero", "sqlite3Realloc", "sqlite3MemMalloc", "sqlite3MemRealloc",
            "sqlite3_malloc", "sqlite3_malloc64", "sqlite3_realloc", "sqlite3_realloc64", "sqlite3_mprintf",
            "sqlite3_vmprintf", "sqlite3MPrintf", "sqlite3VMPrintf", "sqlite3PageMalloc", "sqlite3OomStr",
            "mallocWithAlarm", "dbMallocRawFinish", "dbReallocFinish", "pcache1Alloc", "sqlite3ScratchMalloc",
            "growOpArray", "sqlite3ArrayAllocate", "sqlite3StrAccumEnlarge", "sqlite3_str_append",
            "sqlite3_str_vappendf",
        ],
        prefixes: &["sqlite3DbMalloc", "sqlite3DbRealloc", "sqlite3DbStr", "sqlite3DbSpanDup"],
    },
    // Other language runtimes: jq, Lua, Ruby, PHP.
    Family {
        exact: &[
            "jvp_string_alloc", "jvp_array_alloc", "l_alloc", "luaM_malloc_", "luaM_realloc_", "luaM_saferealloc_",
            "luaM_growaux_", "luaM_shrinkvector_", "ruby_xmalloc", "ruby_xmalloc2", "ruby_xcalloc", "ruby_xrealloc",
            "ruby_xrealloc2", "ruby_strdup", "objspace_xmalloc0", "objspace_xcalloc", "objspace_xrealloc",
            "__zend_malloc", "__zend_calloc", "__zend_realloc", "_ecalloc", "_estrdup", "_estrndup", "_safe_emalloc",
        ],
        prefixes: &["jv_mem_", "_emalloc", "_erealloc", "zend_mm_alloc", "rb_alloc_tmp_buffer"],
    },
    // Servers and their pools: Redis (with its strings), PostgreSQL, MySQL, nginx, Apache.
    Family {
        exact: &[
            "zmalloc", "zcalloc", "zcalloc_num", "zrealloc", "zstrdup", "zcalloc_usable", "zrealloc_usable",
            "sdsnewlen", "_sdsnewlen", "sdsnew", "sdsdup", "sdsMakeRoomFor", "_sdsMakeRoomFor", "sdscatlen", "palloc",
            "palloc0", "palloc_extended", "repalloc", "pstrdup", "pnstrdup", "psprintf", "enlargeStringInfo",
            "AllocSetAlloc", "AllocSetAllocFromNewBlock", "AllocSetRealloc", "my_malloc", "my_realloc", "my_strdup",
            "my_strndup", "my_memdup", "my_raw_malloc", "alloc_root", "multi_alloc_root", "ngx_alloc", "ngx_calloc",
            "ngx_palloc", "ngx_pnalloc", "ngx_pcalloc", "ngx_pmemalign", "ngx_memalign", "ngx_palloc_small",
            "ngx_palloc_block", "ngx_palloc_large", "apr_palloc", "apr_pcalloc", "apr_pstrdup", "apr_pstrndup",
            "apr_pmemdup", "apr_psprintf", "apr_allocator_alloc", "allocator_alloc",
        ],
        prefixes: &["ztrymalloc", "ztrycalloc", "ztryrealloc", "zmalloc_", "MemoryContextAlloc", "MemoryContextStrdup"],
    },
    // Libraries with an allocator of their own: OpenSSL, libxml2, FFmpeg, curl, Firefox.
    Family {
        exact: &[
            "CRYPTO_malloc", "CRYPTO_zalloc", "CRYPTO_calloc", "CRYPTO_realloc", "CRYPTO_clear_realloc",
            "CRYPTO_strdup", "CRYPTO_strndup", "CRYPTO_memdup", "CRYPTO_secure_malloc", "CRYPTO_secure_zalloc",
            "CRYPTO_aligned_alloc", "OPENSSL_malloc", "OPENSSL_zalloc", "OPENSSL_realloc", "OPENSSL_strdup",
            "OPENSSL_memdup", "BUF_MEM_grow", "BUF_MEM_grow_clean", "default_malloc_ex", "xmlStrdup", "xmlStrndup",
            "xmlMemMalloc", "xmlMallocLoc", "xmlReallocLoc", "xmlMemStrdupLoc", "xmlBufGrowInternal",
            "Curl_saferealloc", "Curl_memdup", "Curl_dyn_add", "Curl_dyn_addn", "dyn_nappend", "curl_dbg_malloc",
            "curl_dbg_calloc", "curl_dbg_realloc", "curl_dbg_strdup", "png_malloc", "png_malloc_base", "png_calloc",
            "png_malloc_warn", "png_zalloc", "_cairo_malloc_ab",
        ],
        prefixes: &[
            "OPENSSL_sk_", "OPENSSL_LH_", "av_malloc", "av_calloc", "av_realloc", "av_strdup", "av_strndup",
            "av_memdup", "av_fast_malloc", "av_fast_padded_malloc", "av_fast_realloc", "av_dynarray", "moz_xmalloc",
            "moz_xcalloc", "moz_xrealloc", "moz_xstrdup", "moz_xmemalign", "moz_arena_", "replace_malloc",
            "replace_calloc", "replace_realloc",
        ],
    },
];

/// Crates of Rust's library, and container crates. Also what a Rust type's path starts with if it is one of theirs.
const RUST_CRATES: &[&str] = &[
    "alloc::",
    "core::",
    "std::",
    "hashbrown::",
    "smallvec::",
    "indexmap::",
    "allocator_api2::",
    "bytes::",
    "bumpalo::",
];

/// Starts of Rust's allocation functions, which have no crate in their name.
const RUST_ALLOCATION: &[&str] = &["__rust_", "__rdl_", "__rg_", "__rustc::__r", "rust_begin_unwind"];

/// Traits whose implementation for a user's type is nevertheless the library's (blanket implementations).
const RUST_BLANKET: &[&str] = &[
    "alloc::string::ToString>",
    "alloc::string::SpecToString>",
    "alloc::borrow::ToOwned>",
    "alloc::vec::spec_",
    "core::convert::Into<",
    "core::convert::TryInto<",
];

/// The starts of names, sorted, but for those that begin with another one.
static STARTS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut starts: Vec<&str> = FAMILIES.iter().flat_map(|family| family.prefixes).copied().collect();
    starts.sort_unstable();
    starts.dedup_by(|longer, shorter| longer.starts_with(*shorter));
    starts
});

static EXACT: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| FAMILIES.iter().flat_map(|family| family.exact).copied().collect());

/// True if a person would not name this frame as the cause of an allocation. `function` is the demangled name.
pub fn is_plumbing(function: &str, raw_symbol: Option<&str>, file: Option<&str>, module_path: &str) -> bool {
    let module = module_path.rsplit('/').next().unwrap_or_default();
    if MODULES.iter().any(|start| module.starts_with(start)) {
        return true;
    }
    if file.is_some_and(is_plumbing_file) {
        return true;
    }
    let raw = raw_symbol.map(names::base);
    if is_known_function(function) || raw.is_some_and(is_known_function) {
        return true;
    }
    // A C++ namespace may well be called `core` or `alloc`.
    let is_cpp = raw.is_some_and(|raw| raw.starts_with("_Z") && !names::has_rust_hash(raw));
    !is_cpp && is_rust_library(function)
}

fn is_plumbing_file(file: &str) -> bool {
    FILES.iter().any(|part| file.contains(part))
}

fn is_known_function(name: &str) -> bool {
    let without_parameters = name.split_once('(').map_or(name, |(head, _)| head);
    EXACT.contains(without_parameters)
        || has_known_start(name)
        // A class's own operator new serves whoever says `new`.
        || name.contains("::operator new")
        // Inline namespaces carry the release: absl::lts_20240116::container_internal::…
        || (name.starts_with("absl::lts_") && name.contains("_internal::"))
}

fn has_known_start(name: &str) -> bool {
    // Between a start of the name and the name itself lie only texts with the same start, of which there are none here.
    let behind = STARTS.partition_point(|start| *start <= name);
    behind.checked_sub(1).is_some_and(|last| name.starts_with(STARTS[last]))
}

fn is_rust_library(function: &str) -> bool {
    let starts_with = |table: &[&str]| table.iter().any(|start| function.starts_with(start));
    if starts_with(RUST_ALLOCATION) || starts_with(RUST_CRATES) {
        return true;
    }
    // `<Type>::method` or `<Type as Trait>::method`.
    let Some(inner) = function.strip_prefix('<') else { return false };
    let (of_type, of_trait) = split_impl(inner);
    let Some(of_trait) = of_trait else { return is_library_type(of_type) };
    if !RUST_CRATES.iter().any(|start| of_trait.starts_with(start)) {
        // The user's trait on a library type is the user's code.
        return false;
    }
    is_library_type(of_type) || RUST_BLANKET.iter().any(|start| of_trait.starts_with(start))
}

/// Splits what follows the opening `<` at its own ` as `; the trait keeps everything after it.
fn split_impl(inner: &str) -> (&str, Option<&str>) {
    let mut depth = 0usize;
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            // The `>` of `fn() -> T` closes nothing.
            b'>' if index > 0 && inner.as_bytes().get(index - 1) == Some(&b'-') => {}
            b'>' if depth == 0 => return (inner.get(..index).unwrap_or(inner), None),
            b'>' | b')' | b']' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 && inner.get(index..).is_some_and(|rest| rest.starts_with(" as ")) => {
                return (inner.get(..index).unwrap_or(inner), inner.get(index + 4..));
            }
            _ => {}
        }
    }
    (inner, None)
}

/// True for types of Rust's library, primitive types, and the bare type parameters of legacy mangling.
fn is_library_type(of_type: &str) -> bool {
    let mut name = of_type.trim_start_matches(['&', '*', '[', '(']);
    for word in ["mut ", "const ", "dyn "] {
        name = name.strip_prefix(word).unwrap_or(name);
    }
    let name = name.trim_start_matches(['&', '[', '(']);
    // Paths have a crate; what has none is `T`, `u8`, `str` and the like.
    let first = name.split([',', ';', ']', ')', '>', '<', ' ']).next().unwrap_or_default();
    !first.contains("::") || RUST_CRATES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests;
