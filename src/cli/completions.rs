//! `vramguard completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use super::error::Failure;
use super::exit::Exit;
use super::output;

/// Which shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vramguard completions bash > /etc/bash_completion.d/vramguard\n  \
                        source <(vramguard completions zsh)")]
pub(super) struct CompletionsArgs {
    /// Shell to write the script for
    pub shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vramguard", &mut script);
    output::bytes(&script)?;
    Ok(Exit::Success)
}
