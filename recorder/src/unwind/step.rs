//! One step of a walk: from a frame to its caller.
//!
//! The rules that nearly all frames have are applied without a branch on their kind; everything else is cold.

use core::sync::atomic::Ordering::Relaxed;

use tmq_wire::record::{NO_MODULE, NODE_EXACT, NODE_FALLBACK, ROOT_BROKEN, ROOT_COMPLETE};

use super::cfi::{self, Found};
use super::chain::{BpUse, Frame, read};
use super::rules::{PackedRule, Rule};
use crate::process::Process;
use crate::thread::ThreadState;
use crate::{elf, sys};

/// Where the caller is to be written, and how far the stack may be read.
pub(super) struct Step<'a> {
    /// The frame whose caller is looked for; told what its rule does with rbp.
    pub(super) frame: &'a mut Frame,
    /// Where it goes.
    pub(super) caller: &'a mut Frame,
    /// Upper end of the readable stack; moves when a signal frame leads to another one.
    pub(super) high: &'a mut usize,
}

/// How a step ended: `None`: at a caller, else at this root.
pub(super) type End = Option<u32>;

/// What the common rules have in common: `cfa = (rbp or rsp) + offset`, rbp perhaps saved at `cfa + saved`.
#[derive(Clone, Copy)]
struct Common {
    is_by_bp: bool,
    saves_bp: bool,
    offset: u64,
    saved: i64,
}

impl Common {
    #[inline(always)]
    fn of(rule: PackedRule) -> Self {
        Self { is_by_bp: rule.is_by_bp(), saves_bp: rule.saves_bp(), offset: rule.offset(), saved: rule.saved() }
    }

    fn new(is_by_bp: bool, offset: u32, saved: Option<i32>) -> Self {
        Self { is_by_bp, saves_bp: saved.is_some(), offset: offset.into(), saved: saved.unwrap_or(0).into() }
    }
}

impl Step<'_> {
    /// Finds the caller, if its rule is remembered and common.
    #[inline(always)]
    pub(super) fn fast(&mut self, process: &Process) -> Result<End, ()> {
        let rule = process.rules.get(self.frame.pc);
        if !rule.is_common() || self.frame.flags & NODE_EXACT != 0 {
            return Err(());
        }
        Ok(self.apply_common(Common::of(rule)))
    }

    #[inline(always)]
    fn apply_common(&mut self, rule: Common) -> End {
        let frame = &mut *self.frame;
        frame.bp_use = match (rule.is_by_bp, rule.saves_bp) {
            (true, _) => BpUse::Needs,
            (false, true) => BpUse::Replaces,
            (false, false) => BpUse::Passes,
        };
        let base = if rule.is_by_bp { frame.bp } else { frame.sp };
        let cfa = base.wrapping_add(rule.offset);
        let pc_slot = cfa.wrapping_sub(8);
        let bp_slot = if rule.saves_bp { cfa.wrapping_add_signed(rule.saved) } else { pc_slot };
        let room = (*self.high as u64).saturating_sub(frame.sp);
        let is_inside = |slot: u64| slot.wrapping_sub(frame.sp) < room;
        if !is_inside(pc_slot) | !is_inside(bp_slot) | ((pc_slot | bp_slot) & 7 != 0) {
            return Some(ROOT_BROKEN);
        }
        // SAFETY: both lie between the stack pointer and the end of a mapped stack, and are aligned.
        let (pc, word) = unsafe { (read(pc_slot as usize), read(bp_slot as usize)) };
        if pc == 0 {
            return Some(ROOT_COMPLETE);
        }
        let caller = &mut *self.caller;
        (caller.sp, caller.pc, caller.pc_slot, caller.sp_slot) = (cfa, pc, pc_slot as usize, 0);
        (caller.bp, caller.bp_slot) = if rule.saves_bp { (word, bp_slot as usize) } else { (frame.bp, 0) };
        (caller.flags, caller.bp_use) = (0, BpUse::Needs);
        None
    }

    /// Finds the caller in any other way.
    #[cold]
    #[inline(never)]
    pub(super) fn slow(&mut self, process: &Process, state: &mut ThreadState) -> End {
        self.frame.bp_use = BpUse::Needs;
        let is_exact = self.frame.flags & NODE_EXACT != 0;
        let remembered = if is_exact { None } else { process.rules.get(self.frame.pc).unpack() };
        match remembered {
            Some(rule) if rule != Rule::Special => self.apply(rule),
            _ => self.look_up(process, state, is_exact),
        }
    }

    fn apply(&mut self, rule: Rule) -> End {
        match rule {
            Rule::End => {
                self.frame.bp_use = BpUse::Passes;
                Some(ROOT_COMPLETE)
            }
            Rule::Special => Some(ROOT_BROKEN),
            Rule::Realigned { offset, saved } => self.apply_realigned(offset, saved),
            // These come here when they are looked up for the first time, and always where an offset is too large to be
            // remembered.
            Rule::Sp { offset } => self.apply_common(Common::new(false, offset, None)),
            Rule::Bp { offset } => self.apply_common(Common::new(true, offset, None)),
            Rule::SpSaved { offset, saved } => self.apply_common(Common::new(false, offset, Some(saved))),
            Rule::BpSaved { offset, saved } => self.apply_common(Common::new(true, offset, Some(saved))),
        }
    }

    fn is_readable(&self, address: u64) -> bool {
        self.frame.sp <= address && address < *self.high as u64 && address.is_multiple_of(8)
    }

    /// A frame that realigned its stack keeps the old stack pointer below its frame pointer.
    fn apply_realigned(&mut self, offset: i32, saved: i32) -> End {
        self.frame.bp_use = BpUse::Needs;
        let sp_slot = self.frame.bp.wrapping_add_signed(offset.into());
        let bp_slot = self.frame.bp.wrapping_add_signed(saved.into());
        if !self.is_readable(sp_slot) || !self.is_readable(bp_slot) {
            return Some(ROOT_BROKEN);
        }
        // SAFETY: readable, as just checked.
        let cfa = unsafe { read(sp_slot as usize) };
        let pc_slot = cfa.wrapping_sub(8);
        if !self.is_readable(pc_slot) {
            return Some(ROOT_BROKEN);
        }
        // SAFETY: readable, as just checked.
        let (pc, bp) = unsafe { (read(pc_slot as usize), read(bp_slot as usize)) };
        if pc == 0 {
            return Some(ROOT_COMPLETE);
        }
        *self.caller = Frame {
            pc_slot: pc_slot as usize,
            pc,
            bp_slot: bp_slot as usize,
            bp,
            sp_slot: sp_slot as usize,
            sp: cfa,
            ..Frame::EMPTY
        };
        None
    }

    fn look_up(&mut self, process: &Process, state: &mut ThreadState, is_exact: bool) -> End {
        let frame_pc = self.frame.pc;
        let pc = if is_exact { frame_pc } else { frame_pc - 1 };
        let Some(object) = process.modules.object_at(pc) else { return self.outside_modules(process) };
        // Makes the module known, and with it whether it lies where another one was. What is not known is not forgotten when
        // it goes, so nothing is remembered about it.
        let is_known = process.modules.place(process, state, frame_pc).0 != NO_MODULE;
        let remember = |rule| {
            if is_known {
                process.rules.put(frame_pc, rule);
            }
        };
        let found = match cfi::find(&object, pc) {
            // A function that is returned into at its very start, with no code before it: nobody called, somebody put
            // the address there (`__start_context` of makecontext, the first frame of a coroutine).
            Found::Nothing if !is_exact && cfi::find(&object, frame_pc) != Found::Nothing => Found::Rule(Rule::End),
            found => found,
        };
        match found {
            Found::Rule(rule) => {
                if !is_exact {
                    remember(rule);
                }
                self.apply(rule)
            }
            Found::Signal => {
                remember(Rule::Special);
                self.signal(state)
            }
            Found::Unsupported => {
                remember(Rule::Special);
                Some(ROOT_BROKEN)
            }
            Found::Nothing => {
                remember(Rule::Special);
                self.frame_pointer(process)
            }
        }
    }

    /// The frame that a signal interrupted: its registers lie in the signal context, which the stack pointer points to
    /// when the handler has returned (`struct ucontext` of the x86_64 kernel ABI).
    fn signal(&mut self, state: &mut ThreadState) -> End {
        self.frame.bp_use = BpUse::Replaces;
        const RBP_OFFSET: u64 = 120;
        const RSP_OFFSET: u64 = 160;
        const RIP_OFFSET: u64 = 168;
        let context = self.frame.sp;
        if context + RIP_OFFSET + 8 > *self.high as u64 || !context.is_multiple_of(8) {
            return Some(ROOT_BROKEN);
        }
        let slot = |offset: u64| (context + offset) as usize;
        // SAFETY: the three words lie between the stack pointer and the end of the stack, checked above.
        let (bp, sp, pc) = unsafe { (read(slot(RBP_OFFSET)), read(slot(RSP_OFFSET)), read(slot(RIP_OFFSET))) };
        // The handler may have run on another stack than what it interrupted.
        let address = sp as usize;
        if !(context as usize..*self.high).contains(&address) {
            *self.high =
                if state.bounds.contains(address) { state.bounds.high() } else { state.bounds.foreign_high(address) };
            if *self.high == 0 {
                return Some(ROOT_BROKEN);
            }
        }
        *self.caller = Frame {
            pc_slot: slot(RIP_OFFSET),
            pc,
            bp_slot: slot(RBP_OFFSET),
            bp,
            sp_slot: slot(RSP_OFFSET),
            sp,
            flags: NODE_EXACT,
            ..Frame::EMPTY
        };
        None
    }

    /// Code without call frame information: if rbp is a frame pointer that leads to a return address in a known module,
    /// it is believed, and the caller marked; otherwise the stack ends here.
    fn frame_pointer(&mut self, process: &Process) -> End {
        let sp = self.frame.sp;
        if sp as usize >= elf::main_stack_end() && sp as usize <= *self.high {
            return Some(ROOT_COMPLETE); // the loader's own start, below which is only what the kernel put there
        }
        let end = self.apply(Rule::BpSaved { offset: 16, saved: -16 });
        let is_plausible = end.is_none()
            && self.caller.sp > sp + 8
            && process.modules.object_at(self.caller.pc.wrapping_sub(1)).is_some();
        if !is_plausible {
            return Some(ROOT_BROKEN);
        }
        self.caller.flags = NODE_FALLBACK;
        None
    }

    /// The address came by a valid rule but lies in no module: code made at run time, or a stack that is not what it
    /// seems.
    fn outside_modules(&mut self, process: &Process) -> End {
        let executable = sys::vma_at(self.frame.pc as usize).is_some_and(|vma| vma.executable);
        if executable { self.frame_pointer(process) } else { Some(ROOT_BROKEN) }
    }
}

/// Whether stacks are compared with others at all.
#[inline(always)]
pub(super) fn is_verifying(process: &Process) -> bool {
    process.verify_every.load(Relaxed) != 0
}
