//! Open blocks in a checkpoint: page by page as they lie in memory.
//!
//! There may be millions, and they are saved again with every checkpoint, so they are copied and not encoded one by one.
//!
//! ```text
//! blocks that are kept whole | regions with blocks: number, pages with blocks: | number u8 | where they begin u64 | blocks, 16 bytes each |
//! ```

use serde::ser::{SerializeSeq, SerializeTuple};
use serde::{Deserialize, Serialize, Serializer};
use zerocopy::IntoBytes;

use super::block::Block;
use super::blocks::{Blocks, Page, Place, Region};
use super::packed::Packed;

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_tuple(2)?;
        parts.serialize_element(self.kept_whole())?;
        parts.serialize_element(&Regions(self))?;
        parts.end()
    }
}

struct Regions<'a>(&'a Blocks);

impl Serialize for Regions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let regions = || self.0.regions().filter(|region| !region.is_empty());
        let mut list = serializer.serialize_seq(Some(regions().count()))?;
        for region in regions() {
            list.serialize_element(&(region.number(), Pages(self.0, region)))?;
        }
        list.end()
    }
}

struct Pages<'a>(&'a Blocks, &'a Region);

impl Serialize for Pages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pages = || (0u8..).zip(self.1.pages()).filter(|(_, page)| !page.is_empty());
        let mut list = serializer.serialize_seq(Some(pages().count()))?;
        for (number, page) in pages() {
            list.serialize_element(&(number, page.begins(), Open(self.0, page)))?;
        }
        list.end()
    }
}

struct Open<'a>(&'a Blocks, &'a Page);

impl Serialize for Open<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut room = [Packed::default(); 64];
        serializer.serialize_bytes(self.0.open_in_page(self.1, &mut room).as_bytes())
    }
}

/// Blocks as they come from a checkpoint.
#[derive(Deserialize)]
pub(super) struct Saved {
    whole: Vec<Block>,
    regions: Vec<(u64, Vec<SavedPage>)>,
}

/// Number, where blocks begin, and the blocks.
type SavedPage = (u8, u64, Vec<u8>);

impl TryFrom<Saved> for Blocks {
    type Error = &'static str;

    fn try_from(saved: Saved) -> Result<Self, Self::Error> {
        let mut table = Self::default();
        for (region, pages) in saved.regions {
            for (page, begins, bytes) in pages {
                let (blocks, rest) = bytes.as_chunks::<{ size_of::<Packed>() }>();
                if !rest.is_empty() || blocks.len() != begins.count_ones() as usize {
                    return Err("a page of open blocks has another length than it should");
                }
                let mut left = begins;
                for &bytes in blocks {
                    let place = Place::new(region, page, left).ok_or("open blocks lie beyond all addresses")?;
                    left &= left - 1;
                    let block = Packed::from_bytes(bytes).unpacked(&saved.whole).ok_or("an open block is missing")?;
                    table.insert(place.address(), block);
                }
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(saved: &(Vec<Block>, Vec<(u64, Vec<SavedPage>)>)) -> Result<Blocks, postcard::Error> {
        postcard::from_bytes(&postcard::to_extend(saved, Vec::new()).unwrap())
    }

    #[test]
    fn blocks_come_back_where_they_were() {
        let mut table = Blocks::default();
        // Neighbours, some of which go again; one that is kept whole; far ones.
        let addresses = (0..200u64).map(|i| 0x5555_0000_1000 + i * 24).chain([0x7fff_ffff_fff8, 8]);
        for (i, address) in (0u32..).zip(addresses.clone()) {
            let size = if i == 77 { 1 << 40 } else { u64::from(i) };
            table.insert(address, Block::new((i % 5) as u8, i.into(), size, i, i / 2));
        }
        for address in addresses.clone().skip(1).step_by(3) {
            table.remove(address);
        }
        let mut back: Blocks = postcard::from_bytes(&postcard::to_extend(&table, Vec::new()).unwrap()).unwrap();
        assert_eq!(back.len(), table.len());
        for address in addresses {
            assert_eq!(back.remove(address), table.remove(address), "{address:#x}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let page = |number: u8, begins: u64, bytes: &[u8]| vec![(number, begins, bytes.to_vec())];
        let whole = [[0; 8], u64::MAX.to_le_bytes()].concat();
        for (region, pages) in [
            (1, page(0, 3, &[0; 16])),
            (1, page(0, 1, &[0; 15])),
            (1, page(0, 0, &[0; 16])),
            (1, page(64, 1, &[0; 16])),
            (1 << 49, page(0, 1, &[0; 16])),
            (1, page(0, 1, &whole)),
        ] {
            assert!(restored(&(Vec::new(), vec![(region, pages.clone())])).is_err(), "{region} {pages:?}");
        }
        let saved = (vec![Block::default()], vec![((1 << 49) - 1, page(63, 1 << 63, &whole))]);
        assert_eq!(restored(&saved).unwrap().remove(u64::MAX - 7), Some(Block::default()));
    }
}
