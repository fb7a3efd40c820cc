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

    /// The number of a value, which is added if it is new; `None`: the dictionary is full.
    #[inline]
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
        loop {
            match self.slots[at] {
                0 => break,
                number if self.values[number as usize - 1] == value => return Some(u64::from(number) - 1),
                _ => at = (at + 1) % SLOTS,
            }
        }
        if self.values.len() >= MAX_VALUES {
            self.is_full = true;
            return None;
        }
        self.values.push(value);
        self.slots[at] = self.values.len() as u32;
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
