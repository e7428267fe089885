//! Parse, run, exit.

use std::process::ExitCode;

use clap::Parser;
use vramguard::cli::serve::{self, ServeArgs};

#[derive(Parser)]
#[command(version, about)]
enum Command {
    /// Run the admission server
    Serve(Box<ServeArgs>),
}

fn main() -> anyhow::Result<ExitCode> {
    let Command::Serve(args) = Command::parse();
    serve::run(&args)
}
