//! The verify mode: unwinds a stack again from scratch, with another unwinder, and compares.
//!
//! framehop reads the same tables by other code. Where it is known to end early (signal frames, realigned stacks, code
//! without tables) only the frames that both found are compared.
