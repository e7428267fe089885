//! stub
use clap::Args;
use super::args::OutputArgs; use super::error::Failure; use super::exit::Exit;
/// stub
#[derive(Debug, Args)]
pub(super) struct CheckArgs { #[command(flatten)] pub output: OutputArgs }
pub(super) fn run(_: &CheckArgs) -> Result<Exit, Failure> { Ok(Exit::Success) }
