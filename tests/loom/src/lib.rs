//! Models of the places where threads and processes hand memory to each other without a lock, each run by loom in every
//! order that the memory model allows.
//!
//! These are copies, not the product's code: that lays its words out in shared memory and reads the processor's clock,
//! and loom's atomics can do neither. Each function names the one that it mirrors, step by step, with the same orderings;
//! who changes one changes the other. What loom explores is more than x86_64 does, so the product is right on weaker
//! processors too, in these parts.
//!
//! Every model takes what it depends on as a parameter: one test shows that the model holds with what the product does,
//! the others (`should_panic`) that it does not without. A model that nothing can break proves nothing.
//!
//! | module | product | what must hold |
//! |---|---|---|
//! | [`free_list`] | `recorder/src/region.rs`, `store/src/collect/region.rs` | a chunk has one owner, and none is lost |
//! | [`hand_over`] | `recorder/src/stream.rs`, `store/src/collect/drain.rs` | every record arrives once, whole, in order |
//! | [`watermark`] | the same | no record arrives behind the watermark; what it refers to has arrived |
//! | [`wake`] | `Region::wait_for_chunk`, `Session::drain_until_end` | nobody sleeps through what they wait for |
//! | [`threads`] | `recorder/src/thread.rs` | a thread state has one owner; `is_alone` is not wrong at a free |
//! | [`processes`] | `Region::claim_process`, `store/src/collect/processes.rs` | a slot has one owner and is read whole |
//!
//! Marks need no model: those from inside are records, those from outside are datagrams, which the kernel hands over.

#[cfg(test)]
mod free_list;
#[cfg(test)]
mod hand_over;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod wake;
#[cfg(test)]
mod watermark;

/// Runs a model in every order with at most `preemptions` places where a thread is interrupted although it could go on.
/// Most errors need one or two; without a limit some models would take hours.
#[cfg(test)]
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
