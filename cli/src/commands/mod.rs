//! One file per command: its arguments, its help, and the code that runs it.

pub(crate) mod addr;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod man;
pub(crate) mod mark;
pub(crate) mod record;
pub(crate) mod repair;
pub(crate) mod schema;
pub(crate) mod seal;
pub(crate) mod sql;
pub(crate) mod top;
pub(crate) mod traceback;

use crate::args::Command;
use crate::error::Result;
use crate::exit::Exit;
use crate::ui::Ui;

/// Runs a command.
pub(crate) fn run(command: Command, ui: Ui) -> Result<Exit> {
    match command {
        Command::Record(command) => return command.run(ui),
        Command::Top(command) => command.run(ui),
        Command::Leaks(command) => command.run(ui),
        Command::Temporary(command) => command.run(ui),
        Command::Diff(command) => command.run(ui),
        Command::Traceback(command) => command.run(ui),
        Command::Addr(command) => command.run(ui),
        Command::Sql(command) => command.run(ui),
        Command::Schema(command) => command.run(ui),
        Command::Info(command) => command.run(ui),
        Command::Mark(command) => command.run(ui),
        Command::Import(command) => command.run(ui),
        Command::Export(command) => command.run(ui),
        Command::Repair(command) => command.run(ui),
        Command::Completions(command) => command.run(ui),
        Command::Man(command) => command.run(ui),
    }?;
    Ok(Exit::Success)
}
