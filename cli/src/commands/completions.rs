//! `tmq completions`: completion scripts for shells, made from the command line's own definition.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use crate::error::Result;
use crate::output::Destination;
use crate::ui::Ui;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq completions bash > ~/.local/share/bash-completion/completions/tmq
  tmq completions zsh > ~/.zfunc/_tmq
  tmq completions fish > ~/.config/fish/completions/tmq.fish")]
pub(crate) struct Completions {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, _ui: Ui) -> Result<()> {
        // Generators of clap panic when writing fails, so they get memory to write to.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::command(), "tmq", &mut script);
        let mut out = Destination::new(None)?;
        out.write_all(&script)?;
        out.finish()
    }
}
