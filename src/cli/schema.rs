//! `vramguard schema`: the JSON Schema of the machine interface.

use super::error::Failure;
use super::exit::Exit;
use super::output::{self, Format};
use crate::decide::CheckResult;

pub(super) fn run() -> Result<Exit, Failure> {
    output::document(&schemars::schema_for!(CheckResult), Format::Json)?;
    Ok(Exit::Success)
}
