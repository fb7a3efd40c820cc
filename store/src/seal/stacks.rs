//! The tables `stacks`, `stack_frames` and `callsites`.

use std::path::Path;

use tmq_wire::record::{NO_STACK, NODE_FALLBACK, ROOT_BROKEN, ROOT_COMPLETE, ROOT_TRUNCATED};

use super::Progress;
use super::frames::{Frame, Frames};
use super::hash::Fnv;
use super::output::Output;
use crate::Error;
use crate::ingest::{Code, ROOTS, SealProgress, Stack};
use crate::recording::TableFile;
use crate::schema::{CallsitesColumns, CallsitesRow, StackFramesRow};
use crate::write::{StackFramesWriter, StackQuality, StackRow, StacksWriter};

/// How many stacks have which quality.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quality {
    pub stacks: u64,
    pub truncated: u64,
    pub broken: u64,
    pub none: u64,
    pub unresolved: u64,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub files: Vec<TableFile>,
    pub quality: Quality,
}

/// Writes the three tables.
pub(super) fn write(dir: &Path, code: &Code, frames: &Frames, progress: Progress<'_>) -> Result<Written, Error> {
    progress(SealProgress::Table("stacks"));
    let paths = Paths::new(code, frames);
    let mut quality = Quality::default();
    let mut stacks = StacksWriter::create(dir)?;
    let mut positions = StackFramesWriter::create(dir)?;
    let mut first = FirstSeen::new(frames);
    let mut list = Vec::new();
    for (id, stack) in code.stacks.iter().enumerate() {
        let node = match stack {
            Stack::Known(node) => *node,
            Stack::Pending { .. } | Stack::Lost => NO_STACK,
        };
        list.clear();
        collect_frames(code, frames, node, &mut list);
        let kind = paths.quality(node);
        quality.count(stack, kind);
        let mut hash = Fnv::new();
        for (position, &number) in list.iter().enumerate() {
            let frame = &frames.all[number as usize];
            hash = hash.bytes(&frame.hash.to_le_bytes());
            let is_first = first.see(id as u32, frame);
            positions.push(StackFramesRow {
                stack_id: id as i32,
                position: position as i32,
                frame_id: number as i32,
                is_first_line: is_first.line,
                is_first_function: is_first.function,
                is_first_file: is_first.file,
                is_first_module: is_first.module,
            })?;
        }
        let user_leaf = list.iter().copied().find(|&f| !frames.all[f as usize].is_plumbing).unwrap_or(list[0]);
        let row = StackRow {
            stack_id: id as i32,
            stack_hash: hash.finish(),
            callsite_id: paths.callsite(node),
            user_leaf_frame_id: user_leaf as i32,
            quality: kind,
        };
        stacks.push(row, &list)?;
    }
    let callsites = paths.write_callsites(dir, code, frames)?;
    Ok(Written { files: vec![stacks.finish()?, positions.finish()?, callsites], quality })
}

/// Frames of the stack that ends at `node`, most recent first; the unknown frame if there is none.
fn collect_frames(code: &Code, frames: &Frames, node: u32, list: &mut Vec<u32>) {
    let mut at = node;
    while let Some(step) = code.tree.get(at) {
        let (first, count) = frames.of_node[(at - ROOTS) as usize];
        list.extend(first..first + count);
        at = step.parent;
    }
    if list.is_empty() {
        list.push(frames.unknown.unwrap_or(0));
    }
}

impl Quality {
    fn count(&mut self, stack: &Stack, kind: StackQuality) {
        self.stacks += 1;
        self.unresolved += u64::from(!matches!(stack, Stack::Known(_)));
        match kind {
            StackQuality::Truncated => self.truncated += 1,
            StackQuality::Broken => self.broken += 1,
            StackQuality::None => self.none += 1,
            StackQuality::Complete | StackQuality::Fallback => {}
        }
    }
}

/// What the path from the root to each node of the tree amounts to.
struct Paths {
    /// Number of the innermost callsite.
    callsites: Vec<i32>,
    /// Depth of that callsite.
    depths: Vec<i32>,
    /// Root, and whether a frame on the way was found by frame pointers.
    roots: Vec<(u8, bool)>,
    has_unknown: bool,
}

impl Paths {
    fn new(code: &Code, frames: &Frames) -> Self {
        let nodes = code.tree.nodes();
        let has_unknown = frames.unknown.is_some();
        let mut paths = Self {
            callsites: Vec::with_capacity(nodes.len()),
            depths: Vec::with_capacity(nodes.len()),
            roots: Vec::with_capacity(nodes.len()),
            has_unknown,
        };
        let mut next = i32::from(has_unknown);
        for (node, &(_, count)) in nodes.iter().zip(&frames.of_node) {
            let parent = node.parent.checked_sub(ROOTS).map(|p| p as usize);
            let depth = parent.map_or(-1, |p| paths.depths[p]);
            let (root, fallback) = parent.map_or((node.parent as u8, false), |p| paths.roots[p]);
            next = next.saturating_add(count as i32);
            paths.callsites.push(next - 1);
            paths.depths.push(depth + count as i32);
            paths.roots.push((root, fallback || node.flags & NODE_FALLBACK != 0));
        }
        paths
    }

    fn callsite(&self, node: u32) -> i32 {
        match node.checked_sub(ROOTS) {
            Some(at) => self.callsites[at as usize],
            None => 0,
        }
    }

    fn quality(&self, node: u32) -> StackQuality {
        let (root, fallback) = match node.checked_sub(ROOTS) {
            Some(at) => self.roots[at as usize],
            None => (node as u8, false),
        };
        match u32::from(root) {
            ROOT_COMPLETE if fallback => StackQuality::Fallback,
            ROOT_COMPLETE => StackQuality::Complete,
            ROOT_TRUNCATED => StackQuality::Truncated,
            ROOT_BROKEN => StackQuality::Broken,
            _ => StackQuality::None,
        }
    }

    fn write_callsites(&self, dir: &Path, code: &Code, frames: &Frames) -> Result<TableFile, Error> {
        let mut output = Output::<CallsitesColumns>::create(dir);
        if let Some(unknown) = frames.unknown {
            let row = CallsitesRow { callsite_id: 0, parent_id: None, frame_id: unknown as i32, depth: 0 };
            output.buffer(1)?.push(row);
        }
        for (at, (node, &(first, count))) in code.tree.nodes().iter().zip(&frames.of_node).enumerate() {
            let mut parent = node.parent.checked_sub(ROOTS).map(|p| self.callsites[p as usize]);
            // The outermost of the node's frames is the last one.
            for level in 0..count {
                let callsite_id = self.callsites[at] - (count - 1 - level) as i32;
                output.buffer(1)?.push(CallsitesRow {
                    callsite_id,
                    parent_id: parent,
                    frame_id: (first + count - 1 - level) as i32,
                    depth: self.depths[at] - (count - 1 - level) as i32,
                });
                parent = Some(callsite_id);
            }
        }
        debug_assert!(self.has_unknown == frames.unknown.is_some());
        output.finish()
    }
}

/// Which lines, functions, files and modules the current stack has had already.
struct FirstSeen {
    lines: Vec<u32>,
    functions: Vec<u32>,
    files: Vec<u32>,
    modules: Vec<u32>,
}

struct IsFirst {
    line: bool,
    function: bool,
    file: bool,
    module: bool,
}

impl FirstSeen {
    fn new(frames: &Frames) -> Self {
        let size =
            |key: fn(&Frame) -> u32| vec![u32::MAX; frames.all.iter().map(key).max().map_or(0, |m| m as usize + 1)];
        Self {
            lines: size(|f| f.line_key),
            functions: size(|f| f.function_key),
            files: size(|f| f.file_key),
            modules: size(|f| (f.module + 1) as u32),
        }
    }

    fn see(&mut self, stack: u32, frame: &Frame) -> IsFirst {
        let new = |seen: &mut Vec<u32>, key: u32| std::mem::replace(&mut seen[key as usize], stack) != stack;
        IsFirst {
            line: new(&mut self.lines, frame.line_key),
            function: new(&mut self.functions, frame.function_key),
            file: new(&mut self.files, frame.file_key),
            module: new(&mut self.modules, (frame.module + 1) as u32),
        }
    }
}
