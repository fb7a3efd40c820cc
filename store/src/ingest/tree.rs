//! The calling-context tree of the whole recording: process-independent nodes, interned by content.
//!
//! A node is one step from the outermost frame towards the allocation. Its number is larger than its parent's. The
//! first numbers are roots, which say how the unwinding of a stack ended.

use ahash::RandomState;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize, Serializer};
use tmq_wire::record::{NO_STACK, NODE_EXACT};

/// Number of roots: `ROOT_COMPLETE`, `ROOT_TRUNCATED`, `ROOT_BROKEN`, `NO_STACK`.
pub(crate) const ROOTS: u32 = NO_STACK + 1;
/// [`TreeNode::module`] of addresses outside every module.
pub(crate) const NO_MODULE: u32 = u32::MAX;

/// One step of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct TreeNode {
    /// Node of the caller, or a root.
    pub parent: u32,
    /// Module of the recording, or [`NO_MODULE`].
    pub module: u32,
    /// Offset of the return address in the module.
    pub offset: u64,
    /// `NODE_*` of the wire format.
    pub flags: u8,
}

impl TreeNode {
    /// Offset of the instruction that was executing.
    pub(crate) fn lookup_offset(&self) -> u64 {
        if self.flags & NODE_EXACT != 0 { self.offset } else { self.offset.saturating_sub(1) }
    }
}

/// The tree.
#[derive(Debug, Deserialize)]
#[serde(from = "Vec<TreeNode>")]
pub(crate) struct Tree {
    nodes: Vec<TreeNode>,
    index: HashTable<u32>,
    hasher: RandomState,
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The index is made anew from the nodes.
        self.nodes.serialize(serializer)
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

fn hasher() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

impl Tree {
    /// The number of the node with this content, made if it is new. `None`: there are too many.
    pub(crate) fn intern(&mut self, node: TreeNode) -> Option<u32> {
        let hash = self.hasher.hash_one(node);
        if let Some(&found) = self.index.find(hash, |&i| self.nodes[i as usize] == node) {
            return Some(found + ROOTS);
        }
        let number = u32::try_from(self.nodes.len()).ok().filter(|&n| n < i32::MAX as u32 - ROOTS)?;
        self.nodes.push(node);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.index.insert_unique(hash, number, |&i| hasher.hash_one(nodes[i as usize]));
        Some(number + ROOTS)
    }

    /// The node with this number; `None` for roots.
    pub(crate) fn get(&self, number: u32) -> Option<&TreeNode> {
        self.nodes.get(number.checked_sub(ROOTS)? as usize)
    }

    /// Nodes in the order of their numbers, which begin at [`ROOTS`].
    pub(crate) fn nodes(&self) -> &[TreeNode] {
        &self.nodes
    }
}

impl From<Vec<TreeNode>> for Tree {
    fn from(nodes: Vec<TreeNode>) -> Self {
        let hasher = hasher();
        let mut index = HashTable::with_capacity(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            index.insert_unique(hasher.hash_one(node), i as u32, |&j| hasher.hash_one(nodes[j as usize]));
        }
        Self { nodes, index, hasher }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_is_one_node_also_after_restoring() {
        let mut tree = Tree::default();
        let node = |parent, offset| TreeNode { parent, module: 0, offset, flags: 0 };
        let a = tree.intern(node(0, 10)).unwrap();
        let b = tree.intern(node(a, 20)).unwrap();
        assert_eq!(tree.intern(node(0, 10)), Some(a));
        assert_ne!(a, b);
        let mut restored = Tree::from(tree.nodes);
        assert_eq!(restored.intern(node(a, 20)), Some(b));
        assert_eq!(restored.get(b), Some(&node(a, 20)));
        assert_eq!(restored.get(ROOTS - 1), None);
    }
}
