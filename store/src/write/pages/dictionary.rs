//! Dictionaries of a column chunk: value → number, in the order of appearance.

/// Values beyond which a dictionary is given up.
const MAX_VALUES: usize = 32 << 10;
const SLOTS: usize = MAX_VALUES * 2;
/// Values below this are found by a look at their place: ids and sizes nearly always are.
const SMALL: usize = 1 << 16;
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The values of a dictionary, by their bits.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    values: Vec<u64>,
    /// Number of a value below [`SMALL`] plus one; 0 is none. Made at the first value that differs, if it is one.
    small: Vec<u16>,
    /// Number of another value plus one, by hash; 0 is empty. Made at the first value that differs, if it is one.
    slots: Vec<u16>,
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
            match self.small.get_mut(place(value)) {
                Some(number) if is_small(value) => *number = 0,
                _ if self.slots.is_empty() => {}
                _ => self.clear_run(value),
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
        // What is there already is overwritten.
        numbers.resize(values.len(), 0);
        let (mut last, mut number) = (None, 0);
        for (place, &value) in numbers.iter_mut().zip(values) {
            if last != Some(value) {
                match self.number(value.cast_unsigned()) {
                    Some(found) => (last, number) = (Some(value), found),
                    None => return false,
                }
            }
            *place = number;
        }
        true
    }

    /// The number of a value, which is added if it is new; `None`: the dictionary is full.
    #[inline(always)]
    pub(super) fn number(&mut self, value: u64) -> Option<u64> {
        if is_small(value)
            && let Some(small) = self.small.first_chunk::<SMALL>()
            && small[place(value)] != 0
        {
            return Some(u64::from(small[place(value)]) - 1);
        }
        self.look_up(value)
    }

    /// The same for a value that is not in the table of small ones.
    fn look_up(&mut self, value: u64) -> Option<u64> {
        if self.small.is_empty() && self.slots.is_empty() {
            match self.values[..] {
                [] => return self.add(value),
                [only] if only == value => return Some(0),
                _ => {}
            }
        }
        if is_small(value) {
            return self.add_small(value);
        }
        if self.slots.is_empty() {
            self.make_slots();
        }
        let mut at = home(value);
        // The length is always this, which spares a check for each look.
        let slots = self.slots.first_chunk::<SLOTS>()?;
        loop {
            match slots[at % SLOTS] {
                0 => break,
                number if self.values.get(usize::from(number) - 1) == Some(&value) => {
                    return Some(u64::from(number) - 1);
                }
                _ => at += 1,
            }
        }
        let number = self.add(value)?;
        self.slots[at % SLOTS] = number as u16 + 1;
        Some(number)
    }

    /// The number of a new value.
    fn add(&mut self, value: u64) -> Option<u64> {
        if self.values.len() >= MAX_VALUES {
            self.is_full = true;
            return None;
        }
        self.values.push(value);
        Some(self.values.len() as u64 - 1)
    }

    fn add_small(&mut self, value: u64) -> Option<u64> {
        if self.small.is_empty() {
            self.make_small();
            return self.number(value);
        }
        let number = self.add(value)?;
        self.small[place(value)] = number as u16 + 1;
        Some(number)
    }

    #[cold]
    fn make_small(&mut self) {
        self.small = vec![0; SMALL];
        for (number, &value) in self.values.iter().enumerate().filter(|(_, value)| is_small(**value)) {
            self.small[place(value)] = number as u16 + 1;
        }
    }

    #[cold]
    fn make_slots(&mut self) {
        self.slots = vec![0; SLOTS];
        for (number, &value) in self.values.iter().enumerate().filter(|(_, value)| !is_small(**value)) {
            // There is one at most: what came after the first value has made the slots.
            self.slots[home(value)] = number as u16 + 1;
        }
    }
}

#[inline]
fn is_small(value: u64) -> bool {
    value < SMALL as u64
}

/// Place of a small value.
#[inline]
fn place(value: u64) -> usize {
    value as usize % SMALL
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
        // Small ones, others, and both by turns.
        for (first, step) in [(1000, 1), (1 << 40, 1 << 20), (SMALL as u64 - 100, 7)] {
            let mut dictionary = Dictionary::default();
            for round in 0..3 {
                let (a, b) = if round == 1 { (7, u64::MAX) } else { (u64::MAX, 9) };
                assert_eq!(dictionary.number(a), Some(0), "round {round}");
                assert_eq!(dictionary.number(a), Some(0));
                assert_eq!(dictionary.number(b), Some(1));
                assert_eq!(dictionary.number(a), Some(0));
                for again in 0..2 {
                    for i in 0..MAX_VALUES as u64 - 2 {
                        assert_eq!(dictionary.number(first + i * step), Some(2 + i), "round {again}");
                    }
                }
                assert_eq!((dictionary.number(0), dictionary.is_full()), (None, true));
                assert_eq!((dictionary.number(1 << 50), dictionary.number(b)), (None, Some(1)));
                dictionary.clear();
                assert_eq!((dictionary.values().len(), dictionary.is_full()), (0, false));
            }
        }
    }

    #[test]
    fn numbers_of_many_values_are_those_of_each() {
        let mut dictionary = Dictionary::default();
        let values = [5, 5, -1, 5, 70_000, 70_000, -1, 6];
        let mut numbers = vec![9; 20];
        assert!(dictionary.numbers(&values, &mut numbers));
        assert_eq!(numbers, [0, 0, 1, 0, 2, 2, 1, 3]);
        let many: Vec<i64> = (0..MAX_VALUES as i64).collect();
        assert!(!dictionary.numbers(&many, &mut numbers));
        assert_eq!(dictionary.number(6), Some(3));
    }
}
