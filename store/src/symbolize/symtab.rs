//! Function symbols of one image, ready for lookup by address.
//!
//! A symbol with a size covers exactly that size. A symbol without one (hand-written assembly) reaches to the next
//! symbol or to the end of its section, and gives way to any sized symbol that covers the address. Among aliases the
//! one a person would write wins: global before weak before local, then fewer leading underscores, then shorter.

use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolFlags, elf};

use super::elf::ElfImage;

/// How many symbols that start before an address but end before it too are stepped over. Only nested symbols cause
/// steps, and nobody nests this deep.
const MAX_STEPS: usize = 256;

#[derive(Debug)]
struct Symbol {
    start: u64,
    end: u64,
    /// Larger is preferred among symbols with the same start.
    rank: u64,
    /// Name, as a range of the image.
    name_start: usize,
    name_len: usize,
}

/// Sorted function symbols. Names stay in the image that was given to [`SymbolTable::build`].
#[derive(Debug, Default)]
pub(super) struct SymbolTable {
    /// By start, preferred ones last among equals.
    sized: Vec<Symbol>,
    /// `reach[i]`: largest end in `sized[..=i]`; tells when stepping back is pointless.
    reach: Vec<u64>,
    /// By start, disjoint after [`close_gaps`].
    unsized_: Vec<Symbol>,
}

impl SymbolTable {
    /// Reads `.symtab`, or `.dynsym` if there is no `.symtab`.
    pub(super) fn build(image: &ElfImage) -> Self {
        let Ok(file) = image.parse() else { return Self::default() };
        let dynamic = file.symbols().next().is_none();
        let all = if dynamic { file.dynamic_symbols() } else { file.symbols() };
        let (mut sized, mut unsized_) = (Vec::new(), Vec::new());
        for symbol in all {
            let Some(rank) = rank(&file, &symbol) else { continue };
            let Ok(name) = symbol.name_bytes() else { continue };
            let entry = Symbol {
                start: symbol.address(),
                end: symbol.address().saturating_add(symbol.size()),
                rank: rank << 32 | name_rank(name),
                name_start: name.as_ptr().addr().wrapping_sub(image.data().as_ptr().addr()),
                name_len: name.len(),
            };
            if symbol.size() > 0 { sized.push(entry) } else { unsized_.push(entry) }
        }
        for list in [&mut sized, &mut unsized_] {
            list.sort_by_key(|symbol| (symbol.start, symbol.rank));
        }
        close_gaps(&mut unsized_, &sized, &file);
        let reach = sized.iter().scan(0, |reach: &mut u64, symbol| {
            *reach = symbol.end.max(*reach);
            Some(*reach)
        });
        Self { reach: reach.collect(), sized, unsized_ }
    }

    /// Name of the function that contains `address`; `image` is the one the table was built from.
    pub(super) fn lookup<'a>(&self, image: &'a ElfImage, address: u64) -> Option<&'a [u8]> {
        let found = self.sized_at(address).or_else(|| {
            let after = self.unsized_.partition_point(|symbol| symbol.start <= address);
            let symbol = self.unsized_.get(after.checked_sub(1)?)?;
            (address < symbol.end).then_some(symbol)
        })?;
        let end = found.name_start.checked_add(found.name_len)?;
        image.data().get(found.name_start..end)
    }

    fn sized_at(&self, address: u64) -> Option<&Symbol> {
        let after = self.sized.partition_point(|symbol| symbol.start <= address);
        let before = (0..after).rev().take(MAX_STEPS);
        let reachable = before.take_while(|&index| self.reach.get(index).is_some_and(|&reach| reach > address));
        reachable.filter_map(|index| self.sized.get(index)).find(|symbol| symbol.end > address)
    }
}

/// Ends every symbol without a size where the next symbol or its section's end is.
fn close_gaps(unsized_: &mut Vec<Symbol>, sized: &[Symbol], file: &object::File<'_>) {
    // The preferred alias is last; the others would only make empty ranges.
    unsized_.reverse();
    unsized_.dedup_by_key(|symbol| symbol.start);
    unsized_.reverse();
    let mut sections: Vec<(u64, u64)> = file
        .sections()
        .filter(is_code)
        .map(|section| (section.address(), section.address().saturating_add(section.size())))
        .collect();
    sections.sort_unstable();
    let mut next_start = u64::MAX;
    for symbol in unsized_.iter_mut().rev() {
        let after = sized.partition_point(|other| other.start <= symbol.start);
        let next_sized = sized.get(after).map_or(u64::MAX, |other| other.start);
        let containing = sections.partition_point(|&(start, _)| start <= symbol.start).checked_sub(1);
        let section_end = containing.and_then(|index| sections.get(index)).map_or(0, |&(_, end)| end);
        symbol.end = next_start.min(next_sized).min(section_end);
        next_start = symbol.start;
    }
}

/// Preference by type and binding; `None` for symbols that are not functions.
fn rank(file: &object::File<'_>, symbol: &object::Symbol<'_, '_>) -> Option<u64> {
    let SymbolFlags::Elf { st_info, .. } = symbol.flags() else { return None };
    if symbol.is_undefined() {
        return None;
    }
    let typed = match st_info & 0xf {
        elf::STT_FUNC | elf::STT_GNU_IFUNC => 1,
        elf::STT_NOTYPE if is_code_label(file, symbol) => 0,
        _ => return None,
    };
    let binding = match st_info >> 4 {
        elf::STB_LOCAL => 0,
        elf::STB_WEAK => 1,
        _ => 2,
    };
    Some(typed << 2 | binding)
}

/// True for untyped symbols that assembly code uses as function names.
fn is_code_label(file: &object::File<'_>, symbol: &object::Symbol<'_, '_>) -> bool {
    // `$x` marks instruction sets on ARM; `.L` labels are internal to a function.
    let internal = |name: &[u8]| name.is_empty() || name.starts_with(b"$") || name.starts_with(b".L");
    let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
    section.is_some_and(|section| is_code(&section)) && symbol.name_bytes().is_ok_and(|name| !internal(name))
}

/// By flags, not by type: in a separate debug file code sections are there without contents.
fn is_code(section: &object::Section<'_, '_>) -> bool {
    matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & u64::from(elf::SHF_EXECINSTR) != 0)
}

/// Preference by spelling: fewer leading underscores first, then shorter. Larger is better, fits in 32 bits.
fn name_rank(name: &[u8]) -> u64 {
    let underscores = name.iter().take_while(|&&byte| byte == b'_').count().min(0xff) as u64;
    let length = name.len().min(0xffff) as u64;
    (0xff - underscores) << 16 | (0xffff - length)
}
