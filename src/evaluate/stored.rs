//! The checkpoint's own bytes, where an annotation or a file gives them.

use std::sync::Arc;

use super::resolve::{Problem, problem};
use crate::decide::Verdict;
use crate::estimate::Bytes;
use crate::estimate::model::checkpoint::attach_total;
use crate::estimate::model::{Model, Quantization};
use crate::estimate::workload::ModelFacts;
use crate::spec::declaration::Declaration;

/// Puts the annotated bytes into the model, and says whose bytes the weights are.
pub(super) fn apply(declaration: &Declaration, facts: &mut ModelFacts, notes: &mut Vec<String>) -> Result<(), Problem> {
    let ModelFacts::Known(model) = facts else {
        if declaration.checkpoint_bytes.is_some() {
            notes.push("checkpointBytes is not used: only a parameter count describes the model".to_owned());
        }
        return Ok(());
    };
    if let Some(bytes) = declaration.checkpoint_bytes {
        let mut known = (**model).clone();
        stored_as(declaration, &mut known, bytes);
        attach_total(&mut known, bytes.0).map_err(|error| {
            let text = format!("checkpointBytes: {error}; make the annotations `checkpointBytes` and `model` agree");
            problem(Verdict::SpecConflict, text)
        })?;
        *model = Arc::new(known);
    }
    if let Some(known) = model.checkpoint_bytes {
        notes.push(format!("weights are scaled to the checkpoint's own {:.2}", Bytes(known.total)));
    }
    Ok(())
}

/// Bytes that fit the quantization that the engine is told of mean that the checkpoint is stored so, whatever the name
/// says of the model.
fn stored_as(declaration: &Declaration, model: &mut Model, bytes: Bytes) {
    let asked = declaration.quantization.as_deref().and_then(Quantization::from_name);
    let Some(asked) = asked.filter(|_| model.quantization.is_none()) else { return };
    let plain = model.stored_bytes();
    model.quantization = Some(asked);
    let quantized = model.stored_bytes();
    let far = |derived: f64| (bytes.as_f64() / derived.max(1.0)).ln().abs();
    if far(plain) <= far(quantized) {
        model.quantization = None;
    }
}
