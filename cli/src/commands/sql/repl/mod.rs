//! The interactive mode: reads statements until a semicolon, runs them, keeps going after errors.
//!
//! Lines that begin with a backslash are commands of this mode (`meta`). Ctrl-C stops a running query, or drops the line
//! being typed; Ctrl-D ends.

mod helper;
mod meta;

use std::fs;
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use super::{execute, split};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::{Destination, Format};
use crate::ui::{self, Ui};
use helper::Helper;
use meta::Meta;

const PROMPT: &str = "tmq> ";
const HISTORY_LINES: usize = 2000;

/// What the interactive mode remembers between statements.
struct Repl<'a> {
    engine: &'a Engine,
    format: Format,
    timing: bool,
    ui: Ui,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Quit,
}

/// Reads and runs statements until Ctrl-D or `\q`.
pub(super) fn run(engine: &Engine, format: Option<Format>, ui: Ui) -> Result<()> {
    let mut repl = Repl { engine, format: format.unwrap_or(Format::Table), timing: true, ui };
    let mut editor = editor(engine)?;
    let history = history_file();
    if let Some(file) = &history {
        // A first run has no history, and a broken one is not worth a message.
        let _ = editor.load_history(file);
    }
    ui.note("end a query with ; and see \\? for help");
    while repl.read_and_run(&mut editor)? == Next::Continue {}
    if let Some(file) = &history {
        save_history(&mut editor, file, ui);
    }
    Ok(())
}

impl Repl<'_> {
    fn read_and_run(&mut self, editor: &mut Editor<Helper, DefaultHistory>) -> Result<Next> {
        let text = match editor.readline(PROMPT) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => return Ok(Next::Continue),
            Err(ReadlineError::Eof) => return Ok(Next::Quit),
            Err(e) => return Err(Error::new(format!("cannot read from the terminal: {e}"))),
        };
        let text = text.trim();
        if text.is_empty() {
            return Ok(Next::Continue);
        }
        let _ = editor.add_history_entry(text);
        let result = match Meta::parse(text) {
            Some(command) => command.and_then(|command| self.meta(command)),
            None => self.statements(text).map(|()| Next::Continue),
        };
        match result {
            Ok(next) => Ok(next),
            Err(error) if error.code() == Exit::Interrupted => {
                ui::line("interrupted");
                Ok(Next::Continue)
            }
            Err(error) => {
                self.ui.error(&error);
                Ok(Next::Continue)
            }
        }
    }

    /// Runs statements up to the first that fails.
    fn statements(&self, text: &str) -> Result<()> {
        for statement in split::statements(text) {
            let mut out = Destination::new(None)?;
            let ui = if self.timing { self.ui } else { self.ui.silent() };
            execute(self.engine, statement.text, self.format, &mut out, ui)?;
            out.finish()?;
        }
        Ok(())
    }

    fn meta(&mut self, command: Meta) -> Result<Next> {
        match command {
            Meta::Quit => return Ok(Next::Quit),
            Meta::Help => ui::line(meta::HELP),
            Meta::Describe(None) => {
                let mut out = Destination::new(None)?;
                crate::commands::schema::list(&mut out, self.ui)?;
                out.finish()?;
            }
            Meta::Describe(Some(table)) => self.describe(&table)?,
            Meta::Format(Some(format)) if format.is_binary() => {
                return Err(Error::new("a terminal cannot show a binary format"));
            }
            Meta::Format(Some(format)) => self.format = format,
            Meta::Format(None) => ui::line(format_args!("{:?}", self.format).to_string().to_lowercase()),
            Meta::Timing => {
                self.timing = !self.timing;
                ui::line(if self.timing { "timing is on" } else { "timing is off" });
            }
            Meta::Include(path) => {
                let text = fs::read_to_string(&path).map_err(|e| Error::io(format_args!("cannot read {path}"), &e))?;
                self.statements(&text)?;
            }
        }
        Ok(Next::Continue)
    }

    /// What the schema says about a table, or the columns that the engine sees.
    fn describe(&self, table: &str) -> Result<()> {
        let mut out = Destination::new(None)?;
        if crate::commands::schema::describe(table, &mut out, self.ui)? {
            return out.finish();
        }
        self.statements(&format!("DESCRIBE {table}"))
    }
}

fn editor(engine: &Engine) -> Result<Editor<Helper, DefaultHistory>> {
    let failed = |e: ReadlineError| Error::new(format!("cannot use the terminal: {e}"));
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)
        .map_err(failed)?
        .auto_add_history(false)
        .build();
    let mut editor = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Helper::new(engine.names())));
    Ok(editor)
}

/// `$XDG_STATE_HOME/tmq/history`.
fn history_file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("tmq/history"))
}

fn save_history(editor: &mut Editor<Helper, DefaultHistory>, file: &std::path::Path, ui: Ui) {
    let saved = file.parent().map_or(Ok(()), fs::create_dir_all).map_err(ReadlineError::Io);
    if let Err(e) = saved.and_then(|()| editor.save_history(file)) {
        ui.note(format_args!("the history could not be saved to {}: {e}", file.display()));
    }
}
