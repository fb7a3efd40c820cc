//! Lines of source files, where they can be read.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Larger files are not source code that somebody wrote.
const MAX_BYTES: u64 = 16 << 20;

/// Source files read so far.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: HashMap<String, Option<Vec<String>>>,
}

impl Sources {
    /// A line without the space around it; none if the file cannot be read or the line is blank.
    pub(super) fn line(&mut self, file: &str, line: i64) -> Option<&str> {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        if !self.files.contains_key(file) {
            self.files.insert(file.to_owned(), read(Path::new(file)));
        }
        let text = self.files.get(file)?.as_ref()?.get(index)?.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// The lines of a regular text file.
fn read(path: &Path) -> Option<Vec<String>> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    // A module stands in for the file where there is no line information: that is no source.
    if bytes.contains(&0) {
        return None;
    }
    Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_exist_and_say_something() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.c");
        fs::write(&path, "int main() {\n\n    return 0;\n}\n").unwrap();
        let file = path.to_str().unwrap();
        let mut sources = Sources::default();
        assert_eq!(sources.line(file, 3), Some("return 0;"));
        assert_eq!(sources.line(file, 2), None);
        assert_eq!(sources.line(file, 0), None);
        assert_eq!(sources.line(file, 99), None);
        assert_eq!(sources.line("/does/not/exist", 1), None);
    }
}
