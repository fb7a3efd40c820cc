//! Stack capture: from a hook's return address to the number of a calling-context tree node.
//!
//! - [`cfi`] finds and executes the call frame information of an address and condenses it to a [`rules::Rule`];
//! - [`rules`] remembers rules by return address, 8 bytes each, shared by all threads;
//! - [`mod@step`] applies a rule to a frame, or finds its caller in another way;
//! - [`chain`] keeps what is known of a thread's last stack;
//! - [`memo`] keeps other stacks that it has had lately, as far as they differ from that one;
//! - [`walk`] steps through a stack and proves how much of the last one is unchanged;
//! - [`stack_bounds`] knows which memory is stack and may be read.
//!
//! Only rsp and rbp are tracked, which compiled code needs for all but a handful of hand-written frames. What the rules
//! cannot express ends the stack with a mark, never with a guess.

pub mod cfi;
pub mod chain;
pub mod memo;
pub mod rules;
pub mod stack_bounds;
mod step;
pub mod walk;
