//! Tables for people: aligned columns on a terminal or in Markdown, streamed.
//!
//! Column widths come from the first [`SAMPLE_ROWS`] rows; later rows that are wider push their line out. On a terminal
//! wide text columns are cut in the middle (both ends of a path or of a function's name say something) until a row fits;
//! in a file or pipe nothing is ever cut.

use std::io::Write;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::values::{Cells, is_number};
use crate::error::Result;
use crate::ui::Styles;

/// Rows that decide the column widths.
const SAMPLE_ROWS: usize = 1000;
/// Columns of text are not cut below this width: a table that does not fit then is wrapped by the terminal.
const MIN_CUT_WIDTH: usize = 16;
const ELLIPSIS: char = '…';

/// Look of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Columns two spaces apart, the header underlined.
    Plain,
    /// A Markdown table.
    Markdown,
}

/// Writes one result as a table.
pub(super) struct TableWriter<W> {
    out: W,
    look: Look,
    styles: Styles,
    /// Columns of the terminal; `None` cuts nothing.
    fit: Option<usize>,
    columns: Vec<Column>,
    pending: Vec<Vec<String>>,
    /// Whether the header is out and the widths are fixed.
    started: bool,
    /// Whether a value was cut.
    cut: bool,
}

struct Column {
    name: String,
    right: bool,
    width: usize,
    /// Longest that a value may be.
    limit: usize,
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(out: W, schema: &Schema, look: Look, styles: Styles, fit: Option<usize>) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let name = one_line(field.name(), look);
            let width = name.width().max(if look == Look::Markdown { 3 } else { 1 });
            Column { name, right: is_number(field.data_type()), width, limit: usize::MAX }
        });
        let fit = fit.filter(|_| look == Look::Plain);
        let columns = columns.collect();
        Self { out, look, styles, fit, columns, pending: Vec::new(), started: false, cut: false }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::new(batch)?;
        for row in cells.rows() {
            if self.started {
                self.row(&row)?;
                continue;
            }
            self.pending.push(row);
            if self.pending.len() >= SAMPLE_ROWS {
                self.start()?;
            }
        }
        Ok(())
    }

    /// Writes what is pending; says whether a value was cut.
    pub(super) fn finish(&mut self) -> Result<bool> {
        self.start()?;
        self.out.flush()?;
        Ok(self.cut)
    }

    fn start(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let mut multiline = vec![false; self.columns.len()];
        for row in &pending {
            for ((column, cell), multiline) in self.columns.iter_mut().zip(row).zip(&mut multiline) {
                *multiline |= cell.contains('\n');
                let longest = cell_lines(cell, self.look).map(|l| l.width()).max().unwrap_or(0);
                column.width = column.width.max(longest);
            }
        }
        self.limit_widths(&multiline);
        self.header()?;
        pending.iter().try_for_each(|row| self.row(row))
    }

    /// Lowers the widest text columns to a common limit so that a row fits the terminal. Plans and other text of several
    /// lines stay whole.
    fn limit_widths(&mut self, multiline: &[bool]) {
        let Some(available) = self.fit else { return };
        let gaps = 2 * self.columns.len().saturating_sub(1);
        let can_cut = |i: usize, c: &Column| !c.right && !multiline[i] && c.width > MIN_CUT_WIDTH;
        let total: usize = self.columns.iter().map(|c| c.width).sum::<usize>() + gaps;
        if total <= available {
            return;
        }
        let fixed: usize = self.columns.iter().enumerate().filter(|(i, c)| !can_cut(*i, c)).map(|(_, c)| c.width).sum();
        let mut widths: Vec<usize> =
            self.columns.iter().enumerate().filter(|(i, c)| can_cut(*i, c)).map(|(_, c)| c.width).collect();
        widths.sort_unstable();
        let mut room = available.saturating_sub(fixed + gaps);
        let mut limit = MIN_CUT_WIDTH;
        for (done, width) in widths.iter().enumerate() {
            let share = room / (widths.len() - done);
            if *width > share {
                limit = share.max(MIN_CUT_WIDTH);
                break;
            }
            room -= width;
            limit = *width;
        }
        for (i, column) in self.columns.iter_mut().enumerate() {
            if !column.right && !multiline[i] && column.width > limit {
                column.width = limit.max(column.name.width());
                column.limit = column.width;
            }
        }
    }

    fn header(&mut self) -> Result<()> {
        let names: Vec<String> = self.columns.iter().map(|c| c.name.clone()).collect();
        let styles = self.styles;
        self.line(&names, |text| styles.bold(text))?;
        let rules: Vec<String> = self
            .columns
            .iter()
            .map(|c| match (self.look, c.right) {
                (Look::Markdown, true) => format!("{}:", "-".repeat(c.width - 1)),
                _ => "-".repeat(c.width),
            })
            .collect();
        self.line(&rules, |text| styles.dim(text))
    }

    fn row(&mut self, row: &[String]) -> Result<()> {
        let cells: Vec<Vec<String>> = row.iter().map(|cell| cell_lines(cell, self.look).collect()).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(1);
        for i in 0..height {
            let mut line = Vec::with_capacity(cells.len());
            for (column, lines) in self.columns.iter().zip(&cells) {
                let text = lines.get(i).map_or("", String::as_str);
                let (text, cut) = cut_middle(text, column.limit);
                self.cut |= cut;
                line.push(text);
            }
            self.line(&line, |text| text)?;
        }
        Ok(())
    }

    fn line(&mut self, cells: &[String], style: impl Fn(String) -> String) -> Result<()> {
        let mut line = String::new();
        let last = cells.len().saturating_sub(1);
        for (i, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            let padding = " ".repeat(column.width.saturating_sub(cell.width()));
            let text = style(cell.clone());
            match self.look {
                Look::Markdown if column.right => line += &format!("| {padding}{text} "),
                Look::Markdown => line += &format!("| {text}{padding} "),
                Look::Plain if column.right => line += &format!("{padding}{text}"),
                Look::Plain if i == last => line += &text,
                Look::Plain => line += &format!("{text}{padding}"),
            }
            if self.look == Look::Plain && i != last {
                line += "  ";
            }
        }
        match self.look {
            Look::Markdown => line.push('|'),
            Look::Plain => line.truncate(line.trim_end().len()),
        }
        line.push('\n');
        Ok(self.out.write_all(line.as_bytes())?)
    }
}

/// The lines of a cell, free of characters that would disturb a terminal or the table.
fn cell_lines(cell: &str, look: Look) -> impl Iterator<Item = String> {
    let whole = [one_line(cell, look)];
    let split = look == Look::Plain && cell.contains('\n');
    let lines: Vec<String> =
        if split { cell.trim_end_matches('\n').split('\n').map(|l| one_line(l, look)).collect() } else { whole.into() };
    lines.into_iter()
}

fn one_line(text: &str, look: Look) -> String {
    if !text.chars().any(|c| c.is_control() || (look == Look::Markdown && c == '|')) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '|' if look == Look::Markdown => clean += "\\|",
            '\n' if look == Look::Markdown => clean += "<br>",
            c if c.is_control() => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    clean
}

/// `text` cut in the middle to at most `limit` columns, and whether it was.
fn cut_middle(text: &str, limit: usize) -> (String, bool) {
    if limit == usize::MAX || text.width() <= limit {
        return (text.to_owned(), false);
    }
    let room = limit.saturating_sub(1);
    let (head_room, tail_room) = (room.div_ceil(2), room / 2);
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        chars
            .take_while(|c| {
                used += c.width().unwrap_or(0);
                used <= room
            })
            .collect::<Vec<char>>()
    };
    let head = take(&mut text.chars(), head_room);
    let tail = take(&mut text.chars().rev(), tail_room);
    (head.into_iter().chain([ELLIPSIS]).chain(tail.into_iter().rev()).collect(), true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn batch(rows: &[(&str, Option<i64>)]) -> RecordBatch {
        let names: ArrayRef = Arc::new(rows.iter().map(|r| Some(r.0)).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>());
        RecordBatch::try_from_iter([("name", names), ("bytes", numbers)]).unwrap()
    }

    fn render(rows: &[(&str, Option<i64>)], look: Look, fit: Option<usize>) -> String {
        let batch = batch(rows);
        let mut out = Vec::new();
        let mut table = TableWriter::new(&mut out, &batch.schema(), look, Styles::PLAIN, fit);
        table.write(&batch).unwrap();
        table.finish().unwrap();
        drop(table);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_on_the_right() {
        let text = render(&[("a", Some(5)), ("main", Some(12345)), ("über", None)], Look::Plain, None);
        assert_eq!(text, "name  bytes\n----  -----\na         5\nmain  12345\nüber   NULL\n");
    }

    #[test]
    fn markdown_escapes_bars() {
        let text = render(&[("a|b", Some(5))], Look::Markdown, Some(1));
        assert_eq!(text, "| name | bytes |\n| ---- | ----: |\n| a\\|b |     5 |\n");
    }

    #[test]
    fn cut_in_the_middle_only_to_fit() {
        let long = "/usr/lib/very/long/path/to/some/file.rs";
        let text = render(&[(long, Some(5))], Look::Plain, Some(30));
        assert!(text.contains("/usr/lib/ve…ome/file.rs      5"), "{text}");
        assert!(render(&[(long, Some(5))], Look::Plain, None).contains(long));
    }

    #[test]
    fn cells_of_several_lines_and_control_characters() {
        let text = render(&[("a\nb", Some(1)), ("\x1b[2J", Some(2))], Look::Plain, None);
        assert!(text.contains("a              1\nb\n"), "{text}");
        assert!(text.contains("\\u{1b}[2J"), "{text}");
    }

    #[test]
    fn no_rows_still_have_a_header() {
        assert_eq!(render(&[], Look::Plain, None), "name  bytes\n----  -----\n");
    }
}
