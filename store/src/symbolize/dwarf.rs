//! Lookups in debug information: a thin layer over addr2line that knows about our sections and budget.
//!
//! A [`DwarfContext`] belongs to one thread and one run of sorted offsets: addr2line parses units and functions
//! lazily and keeps them, so neighbours share the work and nothing outlives the run.

use addr2line::gimli::{self, AbbreviationsCacheStrategy, Dwarf, RunTimeEndian};
use addr2line::{Context, Frame};

use super::elf::ElfImage;
use super::reader::{Budget, BudgetReader};
use super::sections::Sections;

/// Longest inline chain that is reported. Compilers stop far earlier; beyond it the innermost ones are kept.
const MAX_INLINE_DEPTH: usize = 256;

/// Debug information of one module: an image with its sections, and dwz's file if there is one.
pub(super) struct DwarfSource<'a> {
    pub(super) image: &'a ElfImage,
    pub(super) sections: &'a Sections,
    pub(super) supplementary: Option<(&'a ElfImage, &'a Sections)>,
}

impl DwarfSource<'_> {
    /// A budget that fits this debug information.
    pub(super) fn budget(&self) -> Budget {
        let supplementary = self.supplementary.map_or(0, |(_, sections)| sections.total());
        Budget::new(self.sections.total().saturating_add(supplementary))
    }
}

/// One function at an address, as DWARF has it.
#[derive(Default)]
pub(super) struct DwarfFrame<'a> {
    /// Linkage name if there is one, else the plain name.
    pub(super) name: Option<&'a [u8]>,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

/// Parsed debug information.
pub(super) struct DwarfContext<'a> {
    context: Context<BudgetReader<'a>>,
}

impl<'a> DwarfContext<'a> {
    /// Reads the unit headers and address ranges; everything else waits for a lookup.
    pub(super) fn new(source: &DwarfSource<'a>, budget: &'a Budget) -> gimli::Result<Self> {
        let mut dwarf = dwarf_of(source.image, source.sections, budget)?;
        if let Some((image, sections)) = source.supplementary {
            dwarf.set_sup(dwarf_of(image, sections, budget)?);
        }
        // Without it units that share abbreviations (dwz, LTO) parse them again each.
        dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
        Ok(Self { context: Context::from_dwarf(dwarf)? })
    }

    /// The frames at `address`, innermost first; empty if debug information does not cover it.
    pub(super) fn lookup(&self, address: u64) -> gimli::Result<Vec<DwarfFrame<'_>>> {
        let mut found = Vec::new();
        // No code is there, and addr2line adds one to what it is asked for.
        if address == u64::MAX {
            return Ok(found);
        }
        let mut frames = self.context.find_frames(address).skip_all_loads()?;
        while let Some(frame) = frames.next()? {
            if found.len() == MAX_INLINE_DEPTH {
                found.pop();
            }
            found.push(convert(frame));
        }
        Ok(found)
    }
}

fn dwarf_of<'a>(
    image: &'a ElfImage,
    sections: &'a Sections,
    budget: &'a Budget,
) -> gimli::Result<Dwarf<BudgetReader<'a>>> {
    let endian = if sections.little_endian { RunTimeEndian::Little } else { RunTimeEndian::Big };
    Dwarf::load(|id| Ok(BudgetReader::new(sections.get(image, id), endian, budget)))
}

fn convert<'c, 'a: 'c>(frame: Frame<'c, BudgetReader<'a>>) -> DwarfFrame<'c> {
    let name = frame.function.map(|function| function.name.bytes()).filter(|name| !name.is_empty());
    let location = frame.location;
    let (file, line, column) =
        location.map_or((None, None, None), |location| (location.file, location.line, location.column));
    let file = file.filter(|file| !file.is_empty());
    DwarfFrame { name, file, line, column: column.filter(|&column| column > 0) }
}
