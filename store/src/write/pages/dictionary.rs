//! Dictionaries of a column chunk: value → number, in the order of appearance.

/// Values beyond which a dictionary is given up.
const MAX_VALUES: usize = 32 << 10;
const SLOTS: usize = MAX_VALUES * 2;
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The values of a dictionary, by their bits.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    values: Vec<u64>,
    /// Number of a value plus one, by hash; 0 is empty. Made at the first value that differs.
    slots: Vec<u32>,
    is_full: bool,
}

impl Dictionary {
    /// The values so far.
    pub(super) fn values(&self) -> &[u64] {
        &self.values
    }

    /// Whether it was given up.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        for value in std::mem::take(&mut self.values) {
            if !self.slots.is_empty() {
                self.clear_run(value);
            }
        }
        self.is_full = false;
    }

    fn clear_run(&mut self, value: u64) {
        let mut at = home(value);
        while self.slots[at] != 0 {
            self.slots[at] = 0;
            at = (at + 1) % SLOTS;
        }
    }

    /// Replaces `numbers` by those of `values`; says whether the dictionary could take them all.
    pub(super) fn numbers(&mut self, values: &[i64], numbers: &mut Vec<u64>) -> bool {
        numbers.clear();
        numbers.reserve(values.len());
        let (mut last, mut number) = (None, 0);
        for &value in values {
            if last != Some(value) {
                match self.number(value.cast_unsigned()) {
                    Some(found) => (last, number) = (Some(value), found),
                    None => return false,
                }
            }
            numbers.push(number);
        }
        true
    }

    /// The number of a value, which is added if it is new; `None`: the dictionary is full.
    #[inline(always)]
    pub(super) fn number(&mut self, value: u64) -> Option<u64> {
        if self.slots.is_empty() {
            if self.values.first() == Some(&value) {
                return Some(0);
            }
            if self.values.is_empty() {
                self.values.push(value);
                return Some(0);
            }
            self.make_slots();
        }
        let mut at = home(value);
        // The length is always this, which spares a check for each look.
        let slots = self.slots.first_chunk_mut::<SLOTS>()?;
        loop {
            match slots[at % SLOTS] {
                0 => break,
                number if self.values.get(number as usize - 1) == Some(&value) => return Some(u64::from(number) - 1),
                _ => at += 1,
            }
        }
        at %= SLOTS;
        if self.values.len() >= MAX_VALUES {
            self.is_full = true;
            return None;
        }
        self.values.push(value);
        slots[at] = self.values.len() as u32;
        Some(self.values.len() as u64 - 1)
    }

    #[cold]
    fn make_slots(&mut self) {
        self.slots = vec![0; SLOTS];
        for (number, &value) in self.values.iter().enumerate() {
            self.slots[home(value)] = number as u32 + 1;
        }
    }
}

#[inline]
fn home(value: u64) -> usize {
    (value.wrapping_mul(FACTOR) >> (64 - SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_as_they_come_until_it_is_full() {
        let mut dictionary = Dictionary::default();
        for round in 0..3 {
            assert_eq!(dictionary.number(7), Some(0), "round {round}");
            assert_eq!(dictionary.number(9), Some(1));
            assert_eq!(dictionary.number(7), Some(0));
            for i in 0..MAX_VALUES as u64 - 2 {
                assert_eq!(dictionary.number(1000 + i), Some(2 + i));
            }
            assert_eq!((dictionary.number(0), dictionary.is_full()), (None, true));
            assert_eq!(dictionary.number(9), Some(1));
            dictionary.clear();
            assert_eq!((dictionary.values().len(), dictionary.is_full()), (0, false));
        }
    }
}
