//! Reads profiles that Callgrind wrote with `--dump-instr=yes --compress-pos=no --compress-strings=no`.
//!
//! ```text
//! ob=/path/of/object
//! fl=/path/of/source            file of the function
//! fn=name
//! 0x1234 17 5                   address, line, instructions executed there
//! fi=/other/source              file of inlined code, until fe= or the next fi=
//! calls=3 0x2000 40             a call: the next line is its inclusive cost, which is not ours
//! 0x1238 17 900
//! ```

use crate::error::Result;
use crate::programs::not_understood;

/// Instructions executed at one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Executable or library.
    pub object: String,
    /// Function as compiled, with what was inlined into it.
    pub function: String,
    /// Source file of the line.
    pub file: String,
    /// Place in the object.
    pub address: u64,
    /// Line in `file`; 0 if unknown.
    pub line: u32,
    /// How many were executed.
    pub instructions: u64,
}

/// All costs of a profile.
///
/// # Errors
/// The text is no such profile.
pub fn parse(text: &str) -> Result<Vec<Cost>> {
    let (mut costs, mut place, mut skip) = (Vec::new(), Cost::default(), false);
    for line in text.lines() {
        if line.starts_with("0x") {
            if !std::mem::take(&mut skip) {
                costs.push(cost(line, &place).ok_or_else(|| not_understood("callgrind's profile", line))?);
            }
            continue;
        }
        match line.split_once('=') {
            Some(("ob", name)) => name.clone_into(&mut place.object),
            Some(("fn", name)) => name.clone_into(&mut place.function),
            Some(("fl" | "fi" | "fe", name)) => name.clone_into(&mut place.file),
            Some(("calls", _)) => skip = true,
            _ => {}
        }
    }
    match costs.is_empty() {
        true => Err(not_understood("callgrind's profile", "it has no costs")),
        false => Ok(costs),
    }
}

fn cost(line: &str, place: &Cost) -> Option<Cost> {
    let mut words = line.split(' ');
    let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let line = words.next()?.parse().ok()?;
    // Callgrind leaves out trailing zeros.
    let instructions = words.next().map_or(Some(0), |word| word.parse().ok())?;
    Some(Cost { address, line, instructions, ..place.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inclusive_costs_of_calls_are_not_counted() {
        let text = "events: Ir\nob=/lib/x.so\nfl=a.rs\nfn=f\n0x10 3 5\nfi=b.rs\n0x14 9 2\nfe=a.rs\ncfn=g\n\
            calls=2 0x40 1\n0x18 4 700\n0x1c 5\n";
        let costs = parse(text).unwrap();
        let short: Vec<_> = costs.iter().map(|c| (c.file.as_str(), c.address, c.line, c.instructions)).collect();
        assert_eq!(short, [("a.rs", 0x10, 3, 5), ("b.rs", 0x14, 9, 2), ("a.rs", 0x1c, 5, 0)]);
        assert!(parse("nothing").is_err());
    }
}
