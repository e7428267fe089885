//! The command line: one file a subcommand, one writer, one place where errors become text or JSON.
//!
//! Data goes to standard output, everything else to standard error. A command returns an [`Exit`] or a [`Failure`];
//! it never writes to a stream itself.

mod args;
mod capacity;
mod catalogues;
mod check;
mod checkpoint;
mod completions;
mod documents;
mod engine;
mod error;
mod estimate;
mod exit;
mod explain;
pub mod hub;
mod manifests;
mod models;
mod output;
mod plot;
mod profiles;
pub mod render;
mod schema;
#[cfg(feature = "webhook")]
pub mod serve;
mod solve;
mod values;
mod workload_flags;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use error::Failure;
pub use exit::Exit;
use output::Format;

/// Reads the process's arguments, runs the command and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(problem) => return usage(&problem),
    };
    let format = cli.command.format();
    run(cli.command).unwrap_or_else(|failure| failure.report(format))
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    let exit = match command {
        Command::Estimate(args) => estimate::run(&args)?,
        Command::Explain(args) => explain::run(&args)?,
        Command::Check(args) => check::run(&args)?,
        Command::Plot { chart } => plot::run(&chart)?,
        Command::Models(args) => models::run(&args)?,
        Command::Gpus(args) => catalogues::gpus(&args)?,
        Command::Schema => schema::run()?,
        Command::Completions(args) => completions::run(&args)?,
        #[cfg(feature = "webhook")]
        Command::Serve(args) => return serve::run(&args).map_err(|error| Failure::from_chain(&error)),
    };
    Ok(exit.into())
}

/// `--help` and `--version` are data; a wrong flag is an error, in JSON where the caller asked for JSON.
fn usage(problem: &clap::Error) -> ExitCode {
    if !problem.use_stderr() {
        // A closed pipe while help is printed is the reader's decision.
        let _ = problem.print();
        return Exit::Success.into();
    }
    if Format::asked_in(std::env::args_os()) == Format::Table {
        let _ = problem.print();
        return Exit::BadInput.into();
    }
    Failure::from_usage(problem).report(Format::asked_in(std::env::args_os()))
}
