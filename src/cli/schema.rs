//! `vramguard schema`: the JSON Schema of the machine interface.

use schemars::generate::SchemaSettings;

use super::error::Failure;
use super::exit::Exit;
use super::output::{self, Format};
use crate::decide::CheckResult;

pub(super) fn run() -> Result<Exit, Failure> {
    // Of what is written, not of what could be read: fields that are left out when empty are not required.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    output::document(&generator.into_root_schema_for::<CheckResult>(), Format::Json)?;
    Ok(Exit::Success)
}
