//! Refuses what no run can have, before any arithmetic.

use crate::estimate::model::{Attention, Mlp, Model};
use crate::estimate::{EstimateError, Workload};

pub(super) fn validate(workload: &Workload, model: &Model) -> Result<(), EstimateError> {
    let parallelism = workload.parallelism;
    let positive = [
        ("batchSize", workload.batch_size.unwrap_or(1)),
        ("contextLength", workload.context_length.unwrap_or(1)),
        ("parallelism.tensor", parallelism.tensor),
        ("parallelism.pipeline", parallelism.pipeline),
        ("parallelism.data", parallelism.data),
        ("parallelism.expert", parallelism.expert),
        ("parallelism.context", parallelism.context),
    ];
    for (field, value) in positive {
        if value == 0 {
            return Err(EstimateError::Invalid { field, reason: "is 0, must be at least 1".to_owned() });
        }
    }
    if workload.training.lora.as_ref().is_some_and(|lora| lora.rank == 0) {
        return Err(EstimateError::Invalid {
            field: "training.lora.rank",
            reason: "is 0, must be at least 1".to_owned(),
        });
    }
    divides(workload, model)
}

fn divides(workload: &Workload, model: &Model) -> Result<(), EstimateError> {
    let parallelism = workload.parallelism;
    let layers = model.layer_count();
    if parallelism.pipeline > layers {
        let stages = parallelism.pipeline;
        return Err(EstimateError::Parallelism(format!("{stages} pipeline stages for {layers} layers")));
    }
    for group in &model.layers {
        if let Some(heads) = heads(&group.attention)
            && !heads.is_multiple_of(parallelism.tensor)
        {
            let tensor = parallelism.tensor;
            return Err(EstimateError::Parallelism(format!(
                "tensor parallelism of {tensor} does not divide {heads} attention heads"
            )));
        }
        if let Mlp::Moe { experts, .. } = group.mlp
            && !experts.is_multiple_of(parallelism.expert)
        {
            let expert = parallelism.expert;
            return Err(EstimateError::Parallelism(format!(
                "expert parallelism of {expert} does not divide {experts} experts"
            )));
        }
    }
    let mixture = model.layers.iter().any(|group| matches!(group.mlp, Mlp::Moe { .. }));
    if parallelism.expert > 1 && !mixture {
        let expert = parallelism.expert;
        return Err(EstimateError::Parallelism(format!("expert parallelism of {expert} for a model without experts")));
    }
    Ok(())
}

fn heads(attention: &Attention) -> Option<u64> {
    match *attention {
        Attention::Full(heads)
        | Attention::Sliding { heads, .. }
        | Attention::Chunked { heads, .. }
        | Attention::Cross(heads)
        | Attention::SharedKv(heads)
        | Attention::Encoder(heads) => Some(heads.heads),
        Attention::Latent { heads, .. } => Some(heads),
        Attention::Linear(_) | Attention::Mamba(_) | Attention::None => None,
    }
}
