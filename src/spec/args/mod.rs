//! Command lines, images and environments of serving engines and trainers.

use super::draft::Draft;
use super::pod::Container;

/// Reads what the container's command, arguments, environment and image say into the draft.
pub(super) fn read(_container: &Container, _draft: &mut Draft) {}
