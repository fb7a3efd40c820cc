//! Collapsed stacks, the input of flamegraph.pl, inferno, speedscope and others: `main;parse;xmalloc 4096`.

use std::io::Write;

use super::Stack;
use crate::error::Result;

pub(super) fn write(stacks: &[Stack], blocks: bool, out: &mut impl Write) -> Result<()> {
    for stack in stacks {
        let names: Vec<String> = stack.frames.iter().rev().map(|f| name(&f.function)).collect();
        let names = if names.is_empty() { "[no stack]".to_owned() } else { names.join(";") };
        writeln!(out, "{names} {}", if blocks { stack.blocks } else { stack.bytes })?;
    }
    Ok(())
}

/// Semicolons and line breaks have a meaning in the format.
fn name(function: &str) -> String {
    function.replace([';', '\n', '\r'], ":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Frame;

    #[test]
    fn outermost_first() {
        let frame = |function: &str| Frame { filename: "a.c".to_owned(), lineno: 1, function: function.to_owned() };
        let stacks = [
            Stack { frames: vec![frame("f<a;b>"), frame("main")], bytes: 12, blocks: 1 },
            Stack { frames: vec![], bytes: 5, blocks: 1 },
        ];
        let mut out = Vec::new();
        write(&stacks, false, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "main;f<a:b> 12\n[no stack] 5\n");
    }
}
