//! A flame graph as one HTML file that needs no network: `page.html` with the call tree and the timeline inside.
//!
//! Branches below a thousandth of the total in bytes and in blocks are summed up in one node per parent, so that the
//! file stays small however many stacks there are.

use std::collections::HashMap;
use std::io::Write;

use serde_json::{Value, json};

use super::{Meaning, Stack};
use crate::error::{Error, Result};

const PAGE: &str = include_str!("page.html");
/// Where the data goes in [`PAGE`].
const PLACE: &str = "/*DATA*/null";
/// Branches smaller than this share of everything are summed up.
const SMALLEST_SHARE: i64 = 1000;

/// A node of the call tree: a function called along one path.
#[derive(Clone, Copy, Debug)]
struct Node {
    parent: usize,
    name: usize,
    bytes: i64,
    blocks: i64,
}

/// The call tree; parents come before their children, and node 0 stands for everything.
#[derive(Debug, Default)]
struct Tree<'a> {
    nodes: Vec<Node>,
    names: Vec<(&'a str, &'a str)>,
}

impl<'a> Tree<'a> {
    fn of(stacks: &'a [Stack]) -> Self {
        let mut tree = Self { nodes: vec![Node { parent: 0, name: 0, bytes: 0, blocks: 0 }], names: vec![("all", "")] };
        let mut names: HashMap<(&str, &str), usize> = HashMap::new();
        let mut children: HashMap<(usize, usize), usize> = HashMap::new();
        for stack in stacks {
            let mut at = 0;
            tree.add(at, stack);
            for frame in stack.frames.iter().rev() {
                let key = (frame.function.as_str(), frame.filename.as_str());
                let name = *names.entry(key).or_insert_with(|| {
                    tree.names.push(key);
                    tree.names.len() - 1
                });
                at = *children.entry((at, name)).or_insert_with(|| {
                    tree.nodes.push(Node { parent: at, name, bytes: 0, blocks: 0 });
                    tree.nodes.len() - 1
                });
                tree.add(at, stack);
            }
        }
        tree
    }

    fn add(&mut self, node: usize, stack: &Stack) {
        self.nodes[node].bytes += stack.bytes;
        self.nodes[node].blocks += stack.blocks;
    }

    /// The tree without small branches; what they held is in one node per parent.
    fn folded(&self) -> Self {
        let everything = self.nodes[0];
        let small =
            |n: &Node| n.bytes * SMALLEST_SHARE < everything.bytes && n.blocks * SMALLEST_SHARE < everything.blocks;
        let mut folded = Self { nodes: Vec::new(), names: self.names.clone() };
        folded.names.push(("(smaller)", ""));
        let rest_name = folded.names.len() - 1;
        let mut kept: Vec<Option<usize>> = vec![None; self.nodes.len()];
        let mut rests: HashMap<usize, usize> = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(parent) = (if i == 0 { Some(0) } else { kept[node.parent] }) else { continue };
            if i == 0 || !small(node) {
                kept[i] = Some(folded.nodes.len());
                folded.nodes.push(Node { parent, ..*node });
                continue;
            }
            let rest = *rests.entry(parent).or_insert_with(|| {
                folded.nodes.push(Node { parent, name: rest_name, bytes: 0, blocks: 0 });
                folded.nodes.len() - 1
            });
            folded.nodes[rest].bytes += node.bytes;
            folded.nodes[rest].blocks += node.blocks;
        }
        folded
    }
}

/// A point of the timeline: nanoseconds since the start, live bytes.
pub(super) type Point = (i64, i64);

pub(super) fn write(stacks: &[Stack], timeline: &[Point], meaning: &Meaning, out: &mut impl Write) -> Result<()> {
    let tree = Tree::of(stacks).folded();
    let nodes: Vec<Value> = tree.nodes.iter().map(|n| json!([n.parent, n.name, n.bytes, n.blocks])).collect();
    let data = json!({
        "recording": meaning.recording,
        "title": meaning.title,
        "duration": meaning.duration_ns,
        "moment": meaning.moment_ns,
        "names": tree.names,
        "nodes": nodes,
        "timeline": timeline,
    });
    // `</script>` inside a name would end the script.
    let data = serde_json::to_string(&data).map_err(Error::new)?.replace('<', "\\u003c");
    Ok(out.write_all(PAGE.replacen(PLACE, &data, 1).as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Frame;

    fn stack(frames: &[&str], bytes: i64) -> Stack {
        let frame = |f: &&str| Frame { filename: "a.c".to_owned(), lineno: 1, function: (*f).to_owned() };
        Stack { frames: frames.iter().map(frame).collect(), bytes, blocks: 1 }
    }

    #[test]
    fn the_page_has_a_place_for_data() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
    }

    #[test]
    fn small_branches_are_summed_up() {
        let mut stacks: Vec<Stack> = (0..2000).map(|_| stack(&["leaf", "main"], 1000)).collect();
        stacks.push(stack(&["tiny", "main"], 1));
        stacks.push(stack(&["deeper", "other", "main"], 1));
        let tree = Tree::of(&stacks).folded();
        let shown: Vec<(&str, i64)> = tree.nodes.iter().map(|n| (tree.names[n.name].0, n.bytes)).collect();
        assert_eq!(shown, [("all", 2_000_002), ("main", 2_000_002), ("leaf", 2_000_000), ("(smaller)", 2)]);
        assert!(tree.nodes.iter().enumerate().all(|(i, n)| n.parent < i || i == 0));
    }
}
