//! `tmq man`: manual pages, made from the command line's own definition.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::exit;
use crate::output::Destination;
use crate::ui::Ui;

/// Print the manual page, or write those of all commands into a directory
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq man | man -l -                          read it
  tmq man record | man -l -                   the page of one command
  tmq man --dir ~/.local/share/man/man1       install all pages")]
pub(crate) struct Man {
    /// Command whose page to print; by default that of tmq itself
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Option<String>,

    /// Write tmq.1 and tmq-COMMAND.1 for every command into DIR
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let mut root = crate::command();
        root.build();
        if let Some(dir) = &self.dir {
            return write_all(&root, dir, ui);
        }
        let page = match &self.command {
            None => page(&root)?,
            Some(name) => {
                let command = root
                    .find_subcommand(name)
                    .ok_or_else(|| Error::usage(format!("no command {name}")).hint("`tmq help` lists the commands"))?;
                page(command)?
            }
        };
        let mut out = Destination::new(None)?;
        out.write_all(&page)?;
        out.finish()
    }
}

fn write_all(root: &clap::Command, dir: &Path, ui: Ui) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::new(format!("cannot create {}: {e}", dir.display())))?;
    let commands = root.get_subcommands().filter(|c| c.get_name() != "help");
    let mut count = 0;
    for command in std::iter::once(root).chain(commands) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let mut out = Destination::new(Some(&dir.join(format!("{name}.1"))))?;
        out.write_all(&page(command)?)?;
        out.finish()?;
        count += 1;
    }
    ui.note(format_args!("wrote {count} pages to {}", dir.display()));
    Ok(())
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render(&mut page)?;
    if command.get_name() != "tmq" {
        writeln!(page, ".SH \"SEE ALSO\"\n\\fBtmq\\fR(1)")?;
    } else if !String::from_utf8_lossy(&page).contains("Exit codes") {
        writeln!(page, ".SH \"EXIT STATUS\"\n.nf\n{}\n.fi", exit::HELP)?;
    }
    Ok(page)
}
