//! Just enough of the loader's data to find modules, symbols and build-ids without calling the loader.
//!
//! `dlsym` takes locks and may allocate, so it must not be called from a hook. The list of loaded objects (`_r_debug`),
//! their dynamic sections and their GNU hash tables are public ABI and can simply be read.

use core::ffi::{CStr, c_char, c_void};

/// Entry of the loader's list (`struct link_map`, the public part).
#[repr(C)]
#[derive(Debug)]
pub struct LinkMap {
    /// Load bias.
    pub bias: usize,
    /// Path; empty for the executable.
    pub name: *const c_char,
    dynamic: *const [u64; 2],
    next: *const LinkMap,
    _previous: *const LinkMap,
}

#[repr(C)]
struct RDebug {
    _version: i32,
    map: *const LinkMap,
    brk: usize,
}

unsafe extern "C" {
    static _r_debug: RDebug;
    static __libc_stack_end: *const usize;
    fn dl_iterate_phdr(callback: extern "C" fn(*const PhdrInfo, usize, *mut c_void) -> i32, data: *mut c_void) -> i32;
}

/// The object that contains an address, from `_dl_find_object`. Of an executable with gaps between its segments it is the
/// segment that contains the address.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// Load bias.
    pub bias: usize,
    /// Its entry in the loader's list.
    pub link_map: *const LinkMap,
    /// Address of its `.eh_frame_hdr`, 0 if it has none.
    pub eh_frame_hdr: usize,
    /// Where that and `.eh_frame` may be read: first address, and the first behind.
    pub tables: (usize, usize),
}

/// `struct dl_find_object` of glibc's `dlfcn.h`.
#[repr(C)]
#[derive(Default)]
struct DlFindObject {
    flags: u64,
    map_start: usize,
    map_end: usize,
    link_map: usize,
    eh_frame: usize,
    reserved: [u64; 7],
}

/// Type of `_dl_find_object`: lock-free, callable from signal handlers, since glibc 2.35.
type FindObject = unsafe extern "C" fn(*mut c_void, *mut DlFindObject) -> i32;

/// Finds `_dl_find_object`; 0 on older systems.
#[must_use]
pub fn find_object_function() -> usize {
    objects().find_map(|map| symbol(map.bias, map.dynamic, c"_dl_find_object")).unwrap_or(0)
}

/// The object that contains `address`, which must not be unloaded meanwhile: an address in code that is being executed.
/// `function` comes from [`find_object_function`].
#[must_use]
pub fn object_at(function: usize, address: usize) -> Option<Object> {
    let found = find_object(function, address)?;
    let link_map = found.link_map as *const LinkMap;
    // SAFETY: the loader keeps the entry while the object is loaded, and it is: an address in it is about to be used.
    let bias = unsafe { (*link_map).bias };
    let (start, end, eh_frame_hdr) = (found.map_start, found.map_end, found.eh_frame);
    let is_here = eh_frame_hdr == 0 || (start..end).contains(&eh_frame_hdr);
    let tables = if is_here { (start, end) } else { range_at(function, eh_frame_hdr).unwrap_or((0, 0)) };
    Some(Object { start, end, bias, link_map, eh_frame_hdr, tables })
}

/// Address of the `.eh_frame` of an object that is not unloaded meanwhile, as its `.eh_frame_hdr` says in the usual
/// encoding.
#[must_use]
pub fn eh_frame(object: &Object) -> Option<usize> {
    let field = object.eh_frame_hdr + 4;
    let tables = object.tables.0..object.tables.1.saturating_sub(8);
    if !tables.contains(&object.eh_frame_hdr) {
        return None;
    }
    // SAFETY: the header and the pc-relative pointer in it lie inside the mapping, checked above.
    let relative = unsafe { (field as *const i32).read_unaligned() };
    let address = field.wrapping_add_signed(relative as isize);
    tables.contains(&address).then_some(address)
}

/// First address of the object that contains `address`, and the first behind it. `function` as in [`object_at`].
#[must_use]
pub fn range_at(function: usize, address: usize) -> Option<(usize, usize)> {
    find_object(function, address).map(|found| (found.map_start, found.map_end))
}

/// First address of the loader, and the first behind it. `function` as in [`object_at`].
#[must_use]
pub fn loader_range(function: usize) -> Option<(usize, usize)> {
    // SAFETY: the loader exports `_r_debug` and has filled it before any code of ours runs. `r_brk` is a function of its.
    range_at(function, unsafe { _r_debug.brk })
}

fn find_object(function: usize, address: usize) -> Option<DlFindObject> {
    if function == 0 {
        return None;
    }
    let mut found = DlFindObject::default();
    // SAFETY: `function` is the loader's `_dl_find_object`.
    let function = unsafe { core::mem::transmute::<usize, FindObject>(function) };
    // SAFETY: it writes at most the structure, whose size glibc fixed for good.
    let failed = unsafe { function(address as *mut c_void, &raw mut found) } != 0;
    (!failed).then_some(found)
}

/// Loaded objects in search order. The walk takes no lock; it is used while one thread runs, and elsewhere only for
/// entries that cannot be unloaded.
pub fn objects() -> impl Iterator<Item = &'static LinkMap> {
    // SAFETY: the loader exports `_r_debug` and has filled it before any code of ours runs.
    let mut next = unsafe { _r_debug.map };
    core::iter::from_fn(move || {
        // SAFETY: the pointer is null or an entry of the loader's list.
        let map = unsafe { next.as_ref() }?;
        next = map.next;
        Some(map)
    })
}

/// The definition of `name` in the first object behind the one that contains `own_dynamic`, as `RTLD_NEXT` finds it, and
/// the load bias of that object.
#[must_use]
pub fn next_definition(own_dynamic: usize, name: &CStr) -> Option<(usize, usize)> {
    let behind = objects().skip_while(|map| map.dynamic as usize != own_dynamic).skip(1);
    behind.into_iter().find_map(|map| Some((symbol(map.bias, map.dynamic, name)?, map.bias)))
}

/// Whether no object before the one that contains `own_dynamic` defines `name`. To be asked while one thread runs.
#[must_use]
pub fn is_first(own_dynamic: usize, name: &CStr) -> bool {
    let before = objects().take_while(|map| map.dynamic as usize != own_dynamic);
    before.into_iter().all(|map| symbol(map.bias, map.dynamic, name).is_none())
}

/// The first definition of `name` in any loaded object but the one that contains `own_dynamic`. Asks the loader, which
/// locks: not for use in a hook.
#[must_use]
pub fn find_loaded(own_dynamic: usize, name: &CStr) -> Option<usize> {
    struct Search<'a> {
        own_dynamic: usize,
        name: &'a CStr,
        found: Option<usize>,
    }
    extern "C" fn look(info: *const PhdrInfo, _size: usize, search: *mut c_void) -> i32 {
        const PT_DYNAMIC: u32 = 2;
        // SAFETY: the loader passes a live structure, and the pointer is the one handed to it below.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_>>()) };
        for i in 0..info.count as usize {
            // SAFETY: the loader says that there are so many headers.
            let header = unsafe { &*info.headers.add(i) };
            let dynamic = info.bias.wrapping_add(header.address as usize);
            if header.kind == PT_DYNAMIC && dynamic != search.own_dynamic {
                search.found = symbol(info.bias, dynamic as *const [u64; 2], search.name);
            }
        }
        i32::from(search.found.is_some())
    }
    let mut search = Search { own_dynamic, name, found: None };
    // SAFETY: the callback fits the loader's type and the data outlives the call.
    unsafe { dl_iterate_phdr(look, (&raw mut search).cast()) };
    search.found
}

/// `struct dl_phdr_info` of glibc's `link.h`, its first part.
#[repr(C)]
struct PhdrInfo {
    bias: usize,
    _name: *const c_char,
    headers: *const Phdr,
    count: u16,
}

/// `Elf64_Phdr`.
#[repr(C)]
struct Phdr {
    kind: u32,
    _flags: u32,
    _offset: u64,
    address: u64,
    _rest: [u64; 4],
}

#[derive(Clone, Copy)]
struct Dynamic {
    symbols: usize,
    strings: usize,
    hash: usize,
    versions: usize,
}

fn dynamic(bias: usize, section: *const [u64; 2]) -> Option<Dynamic> {
    const DT_NULL: u64 = 0;
    const DT_STRTAB: u64 = 5;
    const DT_SYMTAB: u64 = 6;
    const DT_GNU_HASH: u64 = 0x6fff_fef5;
    const DT_VERSYM: u64 = 0x6fff_fff0;
    let mut found = Dynamic { symbols: 0, strings: 0, hash: 0, versions: 0 };
    let mut entry = section;
    if entry.is_null() {
        return None;
    }
    loop {
        // SAFETY: a dynamic section ends with DT_NULL.
        let [tag, value] = unsafe { *entry };
        // The loader relocates these pointers in place, except in the read-only section of the vdso.
        let value = value as usize;
        let address = if value < bias { value + bias } else { value };
        match tag {
            DT_NULL => break,
            DT_STRTAB => found.strings = address,
            DT_SYMTAB => found.symbols = address,
            DT_GNU_HASH => found.hash = address,
            DT_VERSYM => found.versions = address,
            _ => {}
        }
        // SAFETY: not yet at DT_NULL.
        entry = unsafe { entry.add(1) };
    }
    (found.symbols != 0 && found.strings != 0 && found.hash != 0).then_some(found)
}

#[repr(C)]
struct Sym {
    name: u32,
    info: u8,
    _other: u8,
    section: u16,
    value: u64,
    _size: u64,
}

/// Address of the default version of function or object `name` in the loaded object with this bias and dynamic section.
fn symbol(bias: usize, section: *const [u64; 2], name: &CStr) -> Option<usize> {
    const STT_GNU_IFUNC: u8 = 10;
    const VERSYM_HIDDEN: u16 = 0x8000;
    let d = dynamic(bias, section)?;
    let wanted = name.to_bytes().iter().fold(5381u32, |h, &c| h.wrapping_mul(33).wrapping_add(c.into()));
    // The tables belong to a loaded object and are laid out as the GNU hash section's format says; the loader itself
    // follows them the same way.
    let word = |index: usize| {
        // SAFETY: as said above.
        unsafe { *(d.hash as *const u32).add(index) }
    };
    let (buckets, first, bloom) = (word(0) as usize, word(1) as usize, word(2) as usize);
    if buckets == 0 {
        return None;
    }
    let chains = 4 + bloom * 2 + buckets;
    let mut index = word(4 + bloom * 2 + wanted as usize % buckets) as usize;
    if index < first {
        return None;
    }
    loop {
        let hash = word(chains + index - first);
        // SAFETY: as above.
        let sym = unsafe { &*(d.symbols as *const Sym).add(index) };
        if hash | 1 == wanted | 1 && sym.section != 0 && sym.info & 15 != STT_GNU_IFUNC {
            // SAFETY: as above.
            let its_name = unsafe { CStr::from_ptr((d.strings + sym.name as usize) as *const c_char) };
            // SAFETY: as above.
            let version = if d.versions == 0 { 1 } else { unsafe { *(d.versions as *const u16).add(index) } };
            if its_name == name && version & VERSYM_HIDDEN == 0 {
                return Some(bias + sym.value as usize);
            }
        }
        if hash & 1 != 0 {
            return None;
        }
        index += 1;
    }
}

/// Copies the path of a loaded object to `out`, that of the executable is `exe`. Returns its length.
#[must_use]
pub fn path(map: &LinkMap, exe: &[u8], out: &mut [u8]) -> usize {
    // SAFETY: the loader's names are zero-terminated strings that live as long as the entry.
    let name = if map.name.is_null() { b"" } else { unsafe { CStr::from_ptr(map.name) }.to_bytes() };
    let name = if name.is_empty() { exe } else { name };
    let n = name.len().min(out.len());
    out[..n].copy_from_slice(&name[..n]);
    n
}

/// Copies the GNU build-id of the object mapped at `start..end` to `out`; its length, 0 if there is none.
pub fn build_id(start: usize, end: usize, out: &mut [u8]) -> usize {
    const PT_NOTE: u32 = 4;
    const NT_GNU_BUILD_ID: u32 = 3;
    // SAFETY: the first page of a loaded object is mapped.
    let ident = unsafe { *(start as *const u32) };
    if ident != u32::from_le_bytes(*b"\x7fELF") || end - start < 4096 {
        return 0;
    }
    // SAFETY: e_phoff, e_phentsize and e_phnum lie in the first 64 bytes.
    let (offset, entry, count) = unsafe {
        (*((start + 32) as *const u64) as usize, *((start + 54) as *const u16) as usize, *((start + 56) as *const u16))
    };
    if entry < 56 || offset + entry * count as usize > 4096 {
        return 0;
    }
    let header = |i: usize| (start + offset + i * entry) as *const u32;
    // SAFETY: program headers lie in the first page, checked above.
    let field = |i: usize, at: usize| unsafe { *header(i).cast::<u64>().add(at) as usize };
    // SAFETY: as above.
    let kind = |i: usize| unsafe { *header(i) };
    let count = count as usize;
    let first_load = (0..count).find(|&i| kind(i) == 1).map_or(0, |i| field(i, 2) & !4095);
    for i in (0..count).filter(|&i| kind(i) == PT_NOTE) {
        let (mut at, size) = (start + field(i, 2) - first_load, field(i, 5));
        let stop = at + size;
        while at + 16 <= stop && stop <= end {
            // SAFETY: the note lies inside the mapping, checked above.
            let [name, desc, note] = unsafe { *(at as *const [u32; 3]) };
            let data = at + 12 + (name as usize).next_multiple_of(4);
            let next = data + (desc as usize).next_multiple_of(4);
            if note == NT_GNU_BUILD_ID && name == 4 && next <= stop {
                let n = (desc as usize).min(out.len());
                // SAFETY: `n` bytes from `data` lie inside the note.
                out[..n].copy_from_slice(unsafe { core::slice::from_raw_parts(data as *const u8, n) });
                return n;
            }
            at = next;
        }
    }
    0
}

/// End of the main thread's stack: everything between the stack pointer and it is mapped.
#[must_use]
pub fn main_stack_end() -> usize {
    // SAFETY: the loader exports the variable and sets it before any code of ours runs.
    unsafe { __libc_stack_end as usize }
}

/// Copies the value of environment variable `name` as the program was started with it; its length, 0 if unset. Reads the
/// block that the kernel put on the stack: libc's `environ` may not be set up yet.
pub fn initial_environment(name: &[u8], out: &mut [u8]) -> usize {
    let mut p = main_stack_end() as *const usize;
    // SAFETY: `__libc_stack_end` points at argc, then argv, a null, envp, a null.
    unsafe {
        p = p.add(1 + *p + 1);
        while *p != 0 {
            let text = CStr::from_ptr(*p as *const c_char).to_bytes();
            if let Some(value) = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")) {
                let n = value.len().min(out.len());
                out[..n].copy_from_slice(&value[..n]);
                return if n == value.len() { n } else { 0 };
            }
            p = p.add(1);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_objects_are_found() {
        let function = find_object_function();
        assert_ne!(function, 0);
        let malloc = objects().find_map(|map| symbol(map.bias, map.dynamic, c"malloc")).unwrap();
        let object = object_at(function, malloc).unwrap();
        assert!(object.start <= malloc && malloc < object.end && object.eh_frame_hdr != 0);
        let mut buffer = [0; 256];
        // SAFETY: libc stays loaded.
        let n = path(unsafe { &*object.link_map }, b"", &mut buffer);
        assert!(buffer[..n].windows(4).any(|w| w == b"libc"), "{:?}", std::str::from_utf8(&buffer[..n]));
        assert_eq!(build_id(object.start, object.end, &mut buffer), 20);
        assert!(objects().all(|map| symbol(map.bias, map.dynamic, c"no_such_symbol").is_none()));
        assert!(object_at(function, 8).is_none());
        assert_eq!(find_loaded(0, c"malloc"), Some(malloc));
        assert_eq!(find_loaded(0, c"no_such_symbol"), None);
    }

    #[test]
    fn environment_is_read_from_the_stack() {
        let mut buffer = [0; 4096];
        let n = initial_environment(b"PATH", &mut buffer);
        assert_eq!(std::str::from_utf8(&buffer[..n]).unwrap(), std::env::var("PATH").unwrap());
        assert_eq!(initial_environment(b"NO_SUCH_VARIABLE_HERE", &mut buffer), 0);
    }
}
