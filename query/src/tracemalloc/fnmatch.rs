//! Patterns of Python's `fnmatch`, as CPython 3.11 and later translate them.
//!
//! `*` matches any text and `?` any character, `/` and newlines included; `[seq]` and `[!seq]` match one character of a
//! set with ranges; an unclosed `[` is itself; nothing escapes. A range whose ends are reversed is empty.

/// A compiled pattern; it matches whole texts, case-sensitively.
///
/// ```
/// use tmq_query::tracemalloc::Pattern;
///
/// assert!(Pattern::new("*/lib/[!a-c]*.py").matches("/usr/lib/x/y.py"));
/// assert!(!Pattern::new("a.py").matches("/a.py"));
/// assert!(Pattern::new("[").matches("["));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

/// One element of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any text.
    Star,
    /// Any character.
    Any,
    /// This character.
    Char(char),
    /// A character inside (or outside) of these ranges.
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Part {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Star | Self::Any => true,
            Self::Char(own) => *own == c,
            Self::Set { negated, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

impl Pattern {
    /// Compiles a pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut parts = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            at += 1;
            parts.push(match c {
                '*' => {
                    if parts.last() == Some(&Part::Star) {
                        continue;
                    }
                    Part::Star
                }
                '?' => Part::Any,
                '[' => match closing(&chars, at) {
                    None => Part::Char('['),
                    Some(end) => {
                        let set = set(&chars[at..end]);
                        at = end + 1;
                        set
                    }
                },
                c => Part::Char(c),
            });
        }
        Self { parts }
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut part = 0;
        // The last star: where the pattern goes on behind it, and the text that it may yet take.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            if self.parts.get(part) == Some(&Part::Star) {
                part += 1;
                retry = Some((part, rest.clone()));
                continue;
            }
            let next = rest.next();
            match (next, self.parts.get(part)) {
                (None, None) => return true,
                (Some(c), Some(p)) if p.matches(c) => {
                    part += 1;
                    continue;
                }
                // The text is used up: giving the star more of it cannot help.
                (None, _) => return false,
                _ => {}
            }
            let Some((behind, from)) = &mut retry else { return false };
            from.next();
            part = *behind;
            rest = from.clone();
        }
    }
}

/// Where the set that begins at `from` is closed. A `]` right at its beginning belongs to it.
fn closing(chars: &[char], from: usize) -> Option<usize> {
    let mut at = from;
    if chars.get(at) == Some(&'!') {
        at += 1;
    }
    if chars.get(at) == Some(&']') {
        at += 1;
    }
    (at..chars.len()).find(|i| chars[*i] == ']')
}

/// The set between `[` and `]`, by the steps of `fnmatch.translate`.
fn set(stuff: &[char]) -> Part {
    let chunks = chunks(stuff);
    let mut flat: Vec<(char, char)> = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut chars = chunk.iter();
        if index > 0
            && let Some(first) = chars.next()
            && let Some(last) = flat.last_mut()
        {
            // A hyphen stood between the chunks: the neighbours of it are the ends of a range.
            last.1 = *first;
        }
        flat.extend(chars.map(|c| (*c, *c)));
    }
    let negated = flat.first().is_some_and(|(c, _)| *c == '!') && chunks.first().is_some_and(|c| !c.is_empty());
    if !negated {
        return Part::Set { negated, ranges: flat };
    }
    flat.remove(0);
    if flat.is_empty() { Part::Any } else { Part::Set { negated, ranges: flat } }
}

/// Splits a set at the hyphens that make ranges, and merges chunks around reversed ranges, which are empty.
fn chunks(stuff: &[char]) -> Vec<Vec<char>> {
    if !stuff.contains(&'-') {
        return vec![stuff.to_vec()];
    }
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut from = 0;
    let mut search = if stuff.first() == Some(&'!') { 2 } else { 1 };
    while let Some(hyphen) = (search..stuff.len()).find(|i| stuff[*i] == '-') {
        chunks.push(stuff[from..hyphen].to_vec());
        from = hyphen + 1;
        search = hyphen + 3;
    }
    match (stuff.get(from..).unwrap_or_default(), chunks.last_mut()) {
        ([], Some(last)) => last.push('-'),
        (rest, _) => chunks.push(rest.to_vec()),
    }
    for index in (1..chunks.len()).rev() {
        let (Some(low), Some(high)) = (chunks[index - 1].last(), chunks[index].first()) else { continue };
        if low > high {
            let tail = chunks.remove(index);
            chunks[index - 1].pop();
            chunks[index - 1].extend(tail.into_iter().skip(1));
        }
    }
    chunks
}

/// A file name as tracemalloc compares it: a trailing `.pyc` becomes `.py`, once.
///
/// ```
/// use tmq_query::tracemalloc::normalize_filename;
///
/// assert_eq!(normalize_filename("a.pyc"), "a.py");
/// assert_eq!(normalize_filename("a.pyo"), "a.pyo");
/// ```
#[must_use]
pub fn normalize_filename(filename: &str) -> &str {
    if filename.ends_with(".pyc") { &filename[..filename.len() - 1] } else { filename }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fnmatch(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern).matches(text)
    }

    #[test]
    fn sets_are_cpythons() {
        for (text, pattern, expected) in [
            ("b", "[a-c]", true),
            ("d", "[a-c]", false),
            ("d", "[!a-c]", true),
            ("b", "[c-a]", false),
            ("x", "[!c-a]", true),
            ("-", "[a-]", true),
            ("-", "[-a]", true),
            ("a", "[-a]", true),
            ("b", "[!-a]", true),
            ("-", "[!-a]", false),
            ("]", "[]]", true),
            ("a", "[!]]", true),
            ("]", "[!]]", false),
            ("^", "[^a]", true),
            ("b", "[^a]", false),
            ("[", "[[]", true),
            ("[ab", "[ab", true),
            ("[!", "[!", true),
            ("[]", "[]", true),
            ("\\", "[\\]", true),
            ("-", "[a-b-c]", true),
            ("b", "[a-b-c]", true),
            ("c", "[a-b-c]", true),
            ("d", "[a-b-c]", false),
            ("!", "[a!]", true),
            ("&", "[&&]", true),
            ("e", "[a-cz-xd-f]", true),
            ("y", "[a-cz-xd-f]", false),
        ] {
            assert_eq!(fnmatch(text, pattern), expected, "{text:?} {pattern:?}");
        }
    }

    #[test]
    fn wildcards_cross_everything() {
        assert!(fnmatch("/a/b\nc/.d", "*"));
        assert!(fnmatch("a\nb", "a?b"));
        assert!(fnmatch("", "*"));
        assert!(!fnmatch("", "?"));
        assert!(fnmatch("aXbXc", "a*X*c"));
        assert!(fnmatch("é", "?"));
        assert!(!fnmatch("a{b}", "a{b,c}"));
    }

    #[test]
    fn long_stars_are_not_exponential() {
        let pattern = "a*".repeat(50) + "b";
        assert!(!fnmatch(&"a".repeat(2000), &pattern));
    }
}
