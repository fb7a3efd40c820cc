//! Where allocations come from: stacks, frames, the calling-context tree and modules.

use super::define::define_table;

define_table! {
    /// One row per distinct call stack of the recording.
    "stacks", STACKS, StacksColumns, StacksRow {
        /// Dense number, the key of this table.
        stack_id: i32,
        /// Hash of the stack's content (functions, files, lines; module names and offsets where functions are unknown),
        /// equal across runs and address-space layouts; joins recordings. FNV-1a over the frame hashes.
        stack_hash: i64,
        /// Node of the calling-context tree; see `callsites`.
        callsite_id: i32,
        /// Number of frames, inlined ones included; a stack that could not be captured has the one frame `<unknown>`.
        depth: i32 ["frames"],
        /// Most recent frame; see `frames`.
        leaf_frame_id: i32,
        /// First frame, from the most recent on, outside allocators, container libraries and other plumbing: the one a
        /// person would name.
        user_leaf_frame_id: i32,
        /// All frames, most recent first.
        frames: Vec<i32>,
        /// complete: unwound to the outermost frame; truncated: cut at the depth limit; broken: unwinding stopped early;
        /// fallback: complete, but some frames were found by frame pointers; none: no stack could be captured.
        quality: &'static str,
    }
}

define_table! {
    /// The frames of every stack, one row per position.
    "stack_frames", STACK_FRAMES, StackFramesColumns, StackFramesRow {
        /// See `stacks`.
        stack_id: i32,
        /// 0 is the most recent frame.
        position: i32,
        /// See `frames`.
        frame_id: i32,
        /// No earlier position of this stack has the same (file, line).
        is_first_line: bool,
        /// No earlier position of this stack has the same function.
        is_first_function: bool,
        /// No earlier position of this stack has the same file.
        is_first_file: bool,
        /// No earlier position of this stack has the same module.
        is_first_module: bool,
    }
}

define_table! {
    /// One row per distinct place in code: an address resolved to a function and a line, or one inlined level of it.
    "frames", FRAMES, FramesColumns, FramesRow {
        /// Dense number, the key of this table.
        frame_id: i32,
        /// Hash of the frame's content, equal across runs.
        frame_hash: i64,
        /// Function as a person reads it (demangled); `??` if unknown.
        function: String,
        /// Symbol as the linker knows it; null if unknown.
        raw_symbol: Option<String>,
        /// Source file; the module's path where there is no line information, `<unknown>` if there is no module.
        file: String,
        /// Source line; 0 if unknown.
        line: i32,
        /// Source column; 0 if unknown.
        column: i32,
        /// See `modules`; -1 for addresses outside every module.
        module_id: i32,
        /// Offset in the module of the instruction that is executing (the call, not the return address).
        offset: i64,
        /// The compiler expanded this function into the next outer frame.
        is_inline: bool,
        /// The function belongs to an allocator, a container library or another layer that a person would not name.
        is_plumbing: bool,
    }
}

define_table! {
    /// The calling-context tree: one row per distinct path from the outermost frame.
    "callsites", CALLSITES, CallsitesColumns, CallsitesRow {
        /// Dense number, the key of this table.
        callsite_id: i32,
        /// Callsite of the caller; always smaller than callsite_id, null at the outermost frame.
        parent_id: Option<i32>,
        /// See `frames`.
        frame_id: i32,
        /// 0 at the outermost frame.
        depth: i32,
    }
}

define_table! {
    /// Files of code that the recorded processes had mapped, one row per (build-id, path).
    "modules", MODULES, ModulesColumns, ModulesRow {
        /// Dense number, the key of this table.
        module_id: i32,
        /// Path when it was mapped.
        path: String,
        /// Last component of the path.
        name: String,
        /// GNU build-id in hexadecimal, as mapped; null if there is none.
        build_id: Option<String>,
        /// First process image that mapped it.
        process_id: i32,
        /// First address of that mapping.
        start_address: i64,
        /// First address behind that mapping.
        end_address: i64,
        /// Where its symbols came from: dwarf, symtab, dynsym, none, "not needed", or why they could not be read.
        symbols: String,
    }
}
