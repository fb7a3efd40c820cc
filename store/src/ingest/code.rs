//! Code seen by the recording: modules, the calling-context tree and the stacks in it.
//!
//! A stack gets its final number when an event first uses it, because that number goes into rows at once. The records
//! that describe it may lie in a stream that has not been drained so far: such a stack is pending, and looked up again
//! when its process ends and when the recording is sealed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tmq_wire::record::{FIRST_NODE, NO_MODULE, NO_STACK};

use super::process::{NodeEntry, Process};
use super::tree::{self, Tree, TreeNode};

/// Files of code in one recording.
const MAX_MODULES: usize = 1 << 20;

/// A file of code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Module {
    /// Path as the loader knew it.
    pub path: Vec<u8>,
    /// GNU build-id, empty if there is none.
    pub build_id: Vec<u8>,
    /// First process image that mapped it.
    pub process: u32,
    /// First address of that mapping.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
}

/// Where a stack ends in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stack {
    /// Node of the tree, possibly a root.
    Known(u32),
    /// Node `node` of process `process`, not described yet.
    Pending { process: u32, node: u32 },
    /// Its process ended without describing it.
    Lost,
}

/// Modules, tree and stacks.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Code {
    pub modules: Vec<Module>,
    module_index: HashMap<(Vec<u8>, Vec<u8>), u32>,
    pub tree: Tree,
    pub stacks: Vec<Stack>,
    stack_index: HashMap<u32, u32>,
    pending: HashMap<(u32, u32), u32>,
}

impl Code {
    /// Interns a module; `None`: there are too many.
    pub(crate) fn module(&mut self, module: Module) -> Option<u32> {
        let key = (module.build_id.clone(), module.path.clone());
        if let Some(&known) = self.module_index.get(&key) {
            return Some(known);
        }
        if self.modules.len() >= MAX_MODULES {
            return None;
        }
        let number = self.modules.len() as u32;
        self.modules.push(module);
        self.module_index.insert(key, number);
        Some(number)
    }

    /// The stack that ends at node `node` of `process`.
    pub(crate) fn stack(&mut self, number: u32, process: &mut Process, node: u32) -> u32 {
        if let Some(tree) = self.tree_node(process, node) {
            return *self.stack_index.entry(tree).or_insert_with(|| {
                self.stacks.push(Stack::Known(tree));
                self.stacks.len() as u32 - 1
            });
        }
        *self.pending.entry((number, node)).or_insert_with(|| {
            self.stacks.push(Stack::Pending { process: number, node });
            self.stacks.len() as u32 - 1
        })
    }

    /// Looks the pending stacks of a process up for the last time.
    pub(crate) fn settle(&mut self, number: u32, process: &mut Process) {
        if self.pending.is_empty() {
            return;
        }
        let mut nodes: Vec<(u32, u32)> =
            self.pending.iter().filter(|((p, _), _)| *p == number).map(|(&(_, node), &stack)| (node, stack)).collect();
        nodes.sort_unstable();
        for (node, stack) in nodes {
            self.pending.remove(&(number, node));
            self.stacks[stack as usize] = self.tree_node(process, node).map_or(Stack::Lost, Stack::Known);
        }
    }

    /// The node of the tree for a node of a process, if all of its chain is described.
    fn tree_node(&mut self, process: &mut Process, node: u32) -> Option<u32> {
        let mut chain = Vec::new();
        let mut at = node;
        let mut tree = loop {
            if at < FIRST_NODE {
                break at.min(NO_STACK);
            }
            let entry = process.nodes.get(at).filter(|e| e.offset != NodeEntry::UNDEFINED)?;
            if entry.tree != 0 {
                break entry.tree;
            }
            if chain.len() > process.nodes.seen() {
                return None; // A circle: damaged.
            }
            chain.push(at);
            at = entry.parent;
        };
        for &id in chain.iter().rev() {
            let entry = process.nodes.get(id)?;
            let module = match entry.module {
                NO_MODULE => tree::NO_MODULE,
                number => *process.modules.get(number as usize).filter(|&&m| m != tree::NO_MODULE)?,
            };
            let content = TreeNode { parent: tree, module, offset: entry.offset, flags: entry.flags };
            tree = self.tree.intern(content)?;
            process.nodes.get_mut(id)?.tree = tree;
        }
        Some(tree)
    }
}
