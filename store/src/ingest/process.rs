//! One process image while it is recorded: what it says about its code, and what it holds.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tmq_wire::layout::LOSS_REASONS;

use super::blocks::Blocks;
use super::config::ProcessCounters;
use super::maps::Maps;
use super::sites::{Amount, Peak};

/// Site of nodes that no event has used yet.
const NO_SITE: u32 = u32::MAX;
/// Node numbers are dense. A number further ahead than this, and than a multiple of the nodes seen, is kept apart, so
/// that a damaged record cannot make the table huge.
const DENSE_SLACK: usize = 1024;
const DENSE_FACTOR: usize = 16;

/// A node of the calling-context tree as the process numbers it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct NodeEntry {
    /// Offset in the module; [`NodeEntry::UNDEFINED`] if only the number is known.
    pub offset: u64,
    /// Number of the caller's node, or a root.
    pub parent: u32,
    /// Node of the recording's tree, 0 if it has none yet (0 is a root).
    pub tree: u32,
    /// Number of the module in this process.
    pub module: u16,
    /// `NODE_*` of the wire format.
    pub flags: u8,
}

impl NodeEntry {
    /// [`NodeEntry::offset`] of a node whose record has not come.
    pub(crate) const UNDEFINED: u64 = u64::MAX;
    const EMPTY: Self = Self { offset: Self::UNDEFINED, parent: 0, tree: 0, module: 0, flags: 0 };
}

/// Nodes by number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Nodes {
    dense: Vec<NodeEntry>,
    /// Index of the heap site of the stack that ends at each dense node, or [`NO_SITE`]: all that most events need.
    sites: Vec<u32>,
    sparse: HashMap<u32, NodeEntry>,
    sparse_sites: HashMap<u32, u32>,
    seen: usize,
}

impl Nodes {
    /// The site of the stack that ends at node `id`.
    #[inline]
    pub(crate) fn site(&self, id: u32) -> Option<u32> {
        match self.sites.get(id as usize) {
            Some(&site) => (site != NO_SITE).then_some(site),
            None => self.sparse_sites.get(&id).copied(),
        }
    }

    /// Notes the site of the stack that ends at node `id`.
    pub(crate) fn set_site(&mut self, id: u32, site: u32) {
        self.entry(id);
        match self.sites.get_mut(id as usize) {
            Some(place) => *place = site,
            None => {
                self.sparse_sites.insert(id, site);
            }
        }
    }

    /// The node, if anything is known of it.
    pub(crate) fn get(&self, id: u32) -> Option<&NodeEntry> {
        self.dense.get(id as usize).or_else(|| self.sparse.get(&id))
    }

    /// The node, if anything is known of it.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut NodeEntry> {
        match self.dense.get_mut(id as usize) {
            Some(entry) => Some(entry),
            None => self.sparse.get_mut(&id),
        }
    }

    /// At least as many as there are.
    pub(crate) fn seen(&self) -> usize {
        self.seen
    }

    /// The node, made if it is new.
    pub(crate) fn entry(&mut self, id: u32) -> &mut NodeEntry {
        self.seen += 1;
        let at = id as usize;
        let dense_limit = DENSE_SLACK + DENSE_FACTOR * self.seen;
        if at >= self.dense.len() && (at >= dense_limit || self.sparse.contains_key(&id)) {
            return self.sparse.entry(id).or_insert(NodeEntry::EMPTY);
        }
        if at >= self.dense.len() {
            let from = self.dense.len() as u32;
            self.dense.resize(at + 1, NodeEntry::EMPTY);
            self.sites.resize(at + 1, NO_SITE);
            // What was kept apart while the table was short belongs here now.
            if !self.sparse.is_empty() {
                for id in from..=id {
                    if let Some(entry) = self.sparse.remove(&id) {
                        self.dense[id as usize] = entry;
                    }
                    if let Some(site) = self.sparse_sites.remove(&id) {
                        self.sites[id as usize] = site;
                    }
                }
            }
        }
        &mut self.dense[at]
    }
}

/// What `/proc` says about an image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Whether it or the collector has described it.
    pub is_known: bool,
    /// Parent's process id.
    pub ppid: u32,
    /// Path of the executable.
    pub exe: String,
    /// Command line.
    pub argv: Vec<String>,
}

impl Identity {
    /// `argv` has a zero behind each argument.
    pub(crate) fn new(ppid: u32, exe: &[u8], argv: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let argv = argv.strip_suffix(b"\0").unwrap_or(argv).split(|&b| b == 0);
        Self { is_known: true, ppid, exe: text(exe), argv: argv.map(text).collect() }
    }
}

/// One process image.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Number given by the recorder.
    pub incarnation: u32,
    /// Process id.
    pub pid: u32,
    /// Incarnation of the image that forked it, 0 for none.
    pub forked_from: u32,
    /// Counter when it began.
    pub start_tsc: u64,
    /// When it ended.
    pub end_ns: Option<i64>,
    /// Exit status, if known.
    pub exit_code: Option<i32>,
    /// Signal that ended it, if known.
    pub exit_signal: Option<i32>,
    /// What it said about itself.
    pub identity: Identity,
    /// Module of the recording by the process's module number, `u32::MAX` if unknown.
    pub modules: Vec<u32>,
    /// Its part of the calling-context tree.
    pub nodes: Nodes,
    /// Open heap blocks.
    pub blocks: Blocks,
    /// Open anonymous maps.
    pub maps: Maps,
    /// Its sites.
    pub sites: Vec<u32>,
    /// Its streams.
    pub streams: Vec<u32>,
    /// Live heap.
    pub live: Amount,
    /// Most of it.
    pub peak: Peak,
    /// Heap amounts that lived until its end.
    pub left: Amount,
    /// Heap rows that lived until its end.
    pub left_rows: u64,
    /// Heap allocations.
    pub allocations: u64,
    /// Frees without an open block.
    pub foreign_frees: u64,
    /// Blocks that ended without a free.
    pub unpaired: u64,
    /// Records lost, as the streams say.
    pub lost_in_streams: [u64; LOSS_REASONS],
    /// What the image's own counters say.
    pub counters: ProcessCounters,
}

impl Process {
    /// Heap blocks freed, once the process is closed.
    pub(crate) fn frees(&self) -> u64 {
        self.allocations.saturating_sub(self.left_rows)
    }
}
