//! Splitting text into SQL statements, and knowing whether a statement is complete.
//!
//! A semicolon ends a statement unless it is inside a quote or a comment. Dollar-quoted strings are not recognised: the
//! dialect has none.

/// One statement of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// The statement without its semicolon and without space around it.
    pub(crate) text: &'a str,
    /// Whether a semicolon ended it.
    pub(crate) closed: bool,
}

/// What a byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    /// A string or a quoted name; the byte is the quote.
    Quoted(u8),
    LineComment,
    /// Nested this deep.
    BlockComment(usize),
}

/// Walks over SQL text, telling code from quotes and comments.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    state: State,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, state: State::Code }
    }

    /// The next byte of code outside quotes and comments, with its position.
    pub(super) fn next_code(&mut self) -> Option<(usize, u8)> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let (at, before) = (self.at, self.state);
            self.step(byte);
            if before == State::Code && self.state == State::Code {
                return Some((at, byte));
            }
        }
        None
    }

    fn step(&mut self, byte: u8) {
        let next = self.bytes.get(self.at + 1).copied();
        let mut width = 1;
        self.state = match (self.state, byte, next) {
            (State::Code, b'\'' | b'"', _) => State::Quoted(byte),
            (State::Code, b'-', Some(b'-')) => State::LineComment,
            (State::Code, b'/', Some(b'*')) => {
                width = 2;
                State::BlockComment(1)
            }
            // A doubled quote closes and opens again, which comes to the same.
            (State::Quoted(quote), b, _) if b == quote => State::Code,
            (State::LineComment, b'\n', _) => State::Code,
            (State::BlockComment(depth), b'/', Some(b'*')) => {
                width = 2;
                State::BlockComment(depth + 1)
            }
            (State::BlockComment(depth), b'*', Some(b'/')) => {
                width = 2;
                if depth == 1 { State::Code } else { State::BlockComment(depth - 1) }
            }
            (state, ..) => state,
        };
        self.at += width;
    }

    /// Whether the text ends inside a quote or a block comment.
    fn is_open(&self) -> bool {
        matches!(self.state, State::Quoted(_) | State::BlockComment(_))
    }
}

/// The statements of `text` in order; pieces without code are left out.
pub(crate) fn statements(text: &str) -> Vec<Statement<'_>> {
    let mut found = Vec::new();
    let mut begin = 0;
    let mut has_code = false;
    let mut scanner = Scanner::new(text);
    while let Some((at, byte)) = scanner.next_code() {
        if byte != b';' {
            has_code |= !byte.is_ascii_whitespace();
            continue;
        }
        push(&mut found, &text[begin..at], true, has_code);
        begin = at + 1;
        has_code = false;
    }
    push(&mut found, &text[begin..], false, has_code);
    found
}

fn push<'a>(found: &mut Vec<Statement<'a>>, text: &'a str, closed: bool, has_code: bool) {
    let trimmed = text.trim();
    // A statement that is only a quoted name is still one; only blank text and comments are not.
    if has_code || trimmed.starts_with(['\'', '"']) {
        found.push(Statement { text: trimmed, closed });
    }
}

/// Whether a person who typed this is done: every statement is closed and nothing is open.
pub(crate) fn is_complete(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    let mut last = None;
    while let Some((_, byte)) = scanner.next_code() {
        if !byte.is_ascii_whitespace() {
            last = Some(byte);
        }
    }
    !scanner.is_open() && matches!(last, None | Some(b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        statements(text).into_iter().map(|s| s.text).collect()
    }

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_count() {
        assert_eq!(texts("select 1; select 2"), ["select 1", "select 2"]);
        assert_eq!(
            texts("select ';', \"a;b\" -- x;y\n; /* ; /* ; */ ; */ select 2;"),
            ["select ';', \"a;b\" -- x;y", "/* ; /* ; */ ; */ select 2"]
        );
        assert_eq!(texts("select 'it''s; fine'"), ["select 'it''s; fine'"]);
        assert_eq!(texts(" ; ;; -- nothing\n"), Vec::<&str>::new());
        assert_eq!(texts("select 'über;' ;"), ["select 'über;'"]);
    }

    #[test]
    fn complete_means_closed() {
        for text in ["select 1;", "", "  ", "select ';';", "select 1; -- done", "/* only a comment */"] {
            assert!(is_complete(text), "{text}");
        }
        for text in ["select 1", "select ';", "select 1; select", "/* ;", "select 'a;\n"] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
