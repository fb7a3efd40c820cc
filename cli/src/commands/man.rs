//! `tmq man`: manual pages, made from the command line's own definition.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
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
        let mut root = crate::command().disable_help_subcommand(true);
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
    std::fs::create_dir_all(dir).map_err(|e| Error::io(format_args!("cannot create {}", dir.display()), &e))?;
    let commands = root.get_subcommands();
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

/// A page; what --help says below the options becomes sections of their own, with lines kept as they are.
fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let extra = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut notes = Vec::new();
    for block in extra.split("\n\n") {
        match block.split_once(":\n") {
            Some(("Examples", lines)) => section(&mut page, "EXAMPLES", lines)?,
            Some(("Exit codes", lines)) => section(&mut page, "EXIT STATUS", lines)?,
            _ => notes.push(block),
        }
    }
    if !notes.is_empty() && !extra.is_empty() {
        writeln!(page, ".SH NOTES")?;
        notes.iter().try_for_each(|note| writeln!(page, "{}", escape(note)))?;
    }
    if !command.has_subcommands() {
        writeln!(page, ".SH \"SEE ALSO\"\n\\fBtmq\\fR(1)")?;
    }
    Ok(page)
}

fn section(page: &mut Vec<u8>, title: &str, lines: &str) -> std::io::Result<()> {
    writeln!(page, ".SH \"{title}\"\n.nf")?;
    lines.lines().try_for_each(|line| writeln!(page, "{}", escape(line)))?;
    writeln!(page, ".fi")
}

/// Text for roff: no character of it is a command.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
