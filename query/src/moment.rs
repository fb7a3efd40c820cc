//! Moments of a recording and references to recordings, as users write them: `app.tmq@peak`, `before=a.tmq@1.5s`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Error;

/// A moment of a recording. A block is live at `t` if it was allocated at or before `t`, was not freed at or before `t`,
/// and its process had not ended by `t`.
///
/// ```
/// use tmq_query::Moment;
///
/// assert_eq!("peak".parse::<Moment>().unwrap(), Moment::Peak);
/// assert_eq!("250ms".parse::<Moment>().unwrap(), Moment::At(250_000_000));
/// assert_eq!("40%".parse::<Moment>().unwrap(), Moment::Share(0.4));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    /// Before the first allocation: nothing is live.
    Start,
    /// What was never freed, each process at its own end.
    End,
    /// When the heap bytes of all processes together were at their highest.
    Peak,
    /// Nanoseconds since the start.
    At(i64),
    /// A share of the recording's duration, 0 to 1.
    Share(f64),
    /// When the program or `tmq mark` set this mark (the last one of that name).
    Mark(String),
}

/// Units of a time, in nanoseconds; longer suffixes first where one ends with another.
const UNITS: [(&str, f64); 6] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("min", 60e9), ("s", 1e9)];

impl FromStr for Moment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::Moment { text: text.to_owned() };
        match text {
            "start" => return Ok(Self::Start),
            "end" => return Ok(Self::End),
            "peak" => return Ok(Self::Peak),
            _ => {}
        }
        if let Some(name) = text.strip_prefix("mark:") {
            return if name.is_empty() { Err(bad()) } else { Ok(Self::Mark(name.to_owned())) };
        }
        let number = |digits: &str| match digits.trim_end().parse::<f64>() {
            Ok(n) if n.is_finite() && n >= 0.0 && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Ok(n),
            _ => Err(bad()),
        };
        if let Some(share) = text.strip_suffix('%') {
            let share = number(share)? / 100.0;
            return if share <= 1.0 { Ok(Self::Share(share)) } else { Err(bad()) };
        }
        for (unit, ns) in UNITS {
            if let Some(digits) = text.strip_suffix(unit) {
                // Whole nanoseconds are exact far beyond any run; a float that is too large saturates.
                return Ok(Self::At((number(digits)? * ns).round() as i64));
            }
        }
        Err(bad())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::End => f.write_str("end"),
            Self::Peak => f.write_str("peak"),
            Self::At(ns) => {
                // The largest unit in which it is a whole number.
                let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
                let whole = units.into_iter().find(|(_, length)| *ns != 0 && ns % length == 0);
                let (unit, length) = whole.unwrap_or(("ns", 1));
                write!(f, "{}{unit}", ns / length)
            }
            Self::Share(share) => write!(f, "{}%", share * 100.0),
            Self::Mark(name) => write!(f, "mark:{name}"),
        }
    }
}

/// A recording to open: where it is, what SQL calls it, and which moment of it is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingRef {
    /// Its directory.
    pub path: PathBuf,
    /// Its name in SQL; without one, the directory's name without `.tmq`.
    pub alias: Option<String>,
    /// The moment written behind `@`; what a missing one means is up to the report.
    pub moment: Option<Moment>,
}

impl RecordingRef {
    /// A recording without alias and moment.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), alias: None, moment: None }
    }

    /// Reads `[NAME=]PATH[@MOMENT]`. A path that exists as it is written wins over the notation, so that names with
    /// `@` and `=` can be used.
    ///
    /// ```
    /// use tmq_query::{Moment, RecordingRef};
    ///
    /// let r = RecordingRef::parse("before=app.tmq@1.5s").unwrap();
    /// assert_eq!(r.path.to_str(), Some("app.tmq"));
    /// assert_eq!(r.alias.as_deref(), Some("before"));
    /// assert_eq!(r.moment, Some(Moment::At(1_500_000_000)));
    /// assert!(RecordingRef::parse("app.tmq@noon").is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::Moment`] if the text behind the last `@` is no moment.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if Path::new(text).exists() {
            return Ok(Self::new(text));
        }
        let (alias, rest) = match text.split_once('=') {
            Some((name, rest)) if is_name(name) => (Some(name.to_owned()), rest),
            _ => (None, text),
        };
        let (path, moment) = match rest.rsplit_once('@') {
            Some((path, moment)) if !Path::new(rest).exists() && !moment.contains('/') => (path, Some(moment.parse()?)),
            _ => (rest, None),
        };
        Ok(Self { path: path.into(), alias, moment })
    }

    /// What SQL calls it: the alias, or the directory's name without `.tmq`.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(alias) = &self.alias {
            return alias.clone();
        }
        // `.` and `..` have no name of their own.
        let named = if self.path.file_name().is_none() { self.path.canonicalize().ok() } else { None };
        let path = named.as_deref().unwrap_or(&self.path);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        name.strip_suffix(".tmq").map_or_else(|| name.clone(), str::to_owned)
    }
}

/// Whether `text` can stand before `=` as an alias.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_round_trip_and_nonsense_is_refused() {
        for (text, moment) in [
            ("start", Moment::Start),
            ("end", Moment::End),
            ("peak", Moment::Peak),
            ("1.5s", Moment::At(1_500_000_000)),
            ("300ms", Moment::At(300_000_000)),
            ("2 us", Moment::At(2_000)),
            ("2min", Moment::At(120_000_000_000)),
            ("7ns", Moment::At(7)),
            ("40%", Moment::Share(0.4)),
            ("mark:load done", Moment::Mark("load done".to_owned())),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap(), moment, "{text}");
            assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
        }
        for text in ["", "noon", "1.5", "-1s", "101%", "mark:", "infs", "nans", "s", "%", "+1s"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_come_from_alias_or_directory() {
        assert_eq!(RecordingRef::parse("x/app.12.tmq").unwrap().name(), "app.12");
        assert_eq!(RecordingRef::parse("b=x/app.tmq").unwrap().name(), "b");
        assert_eq!(RecordingRef::parse("x/a=b.tmq").unwrap().name(), "a=b");
        assert_eq!(RecordingRef::parse("user@host/app.tmq").unwrap().moment, None);
        assert!(!RecordingRef::new(".").name().is_empty());
    }
}
