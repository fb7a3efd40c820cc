//! How large workloads are.

/// A factor that workloads are made larger or smaller by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    times: u64,
    divisor: u64,
}

impl Scale {
    /// As they are defined.
    pub const ONE: Self = Self { times: 1, divisor: 1 };
    /// For a look whether everything works.
    pub const QUICK: Self = Self { times: 1, divisor: 10 };

    /// So many times as large.
    pub fn times(times: u64) -> Self {
        Self { times, divisor: 1 }
    }

    /// A number of things to do, at this scale.
    pub fn of(self, number: u64) -> u64 {
        number * self.times / self.divisor
    }

    /// What to say after the description of a workload, whose numbers are those of [`Scale::ONE`].
    pub fn note(self) -> String {
        match self {
            Self { times: 1, divisor: 1 } => String::new(),
            Self { times: 1, divisor } => format!(", a {divisor}th of that"),
            Self { times, .. } => format!(", {times} times that"),
        }
    }
}
