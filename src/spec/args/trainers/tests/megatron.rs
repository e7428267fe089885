use super::*;
use crate::estimate::model::hf_config;
use crate::estimate::workload::{Checkpointing, Optimizer, Parallelism, Precision, Sharding};

/// Parameters of the model that the flags describe.
fn parameters(found: &Declaration) -> u64 {
    let Some(ModelReference::Config(config)) = &found.model else { panic!("{found:#?}") };
    hf_config::read("megatron", config).unwrap().parameters()
}

const GPT: &str = "torchrun --nproc_per_node 8 pretrain_gpt.py --num-layers 12 --hidden-size 512 --num-attention-heads 8 \
    --micro-batch-size 4 --global-batch-size 32 --seq-length 1024 --max-position-embeddings 1024 --bf16";

#[test]
fn a_gpt_of_its_flags_alone() {
    let found = script(
        &format!("{GPT} --tensor-model-parallel-size 2 --pipeline-model-parallel-size 2 --sequence-parallel"),
        8,
    );
    sure(&found);
    assert_eq!(found.parallelism, Parallelism { tensor: 2, pipeline: 2, data: 2, ..Parallelism::default() });
    // Twelve layers of 12 h^2 + 13 h, GPT-2's vocabulary padded to 256, positions, the last norm.
    let (hidden, rows) = (512_u64, 50_432_u64);
    assert_eq!(parameters(&found), 12 * (12 * hidden * hidden + 13 * hidden) + (rows + 1024) * hidden + 2 * hidden);
    let training = &found.training;
    assert_eq!((training.precision, training.sharding), (Some(Precision::MixedBf16), Some(Sharding::Ddp)));
    assert_eq!((training.micro_batches, training.sequence_parallel, training.dropout), (Some(4), Some(true), true));
    assert_eq!(training.checkpointing, Some(Checkpointing::None));
}

#[test]
fn a_llama_with_a_distributed_optimizer() {
    let found = script(
        "torchrun --nproc_per_node 8 --nnodes 2 pretrain_gpt.py --tensor-model-parallel-size 4 --sequence-parallel \
         --num-layers 32 --hidden-size 4096 --ffn-hidden-size 14336 --num-attention-heads 32 --group-query-attention \
         --num-query-groups 8 --swiglu --disable-bias-linear --untie-embeddings-and-output-weights --vocab-size 128256 \
         --position-embedding-type rope --normalization RMSNorm --micro-batch-size 1 --global-batch-size 128 \
         --seq-length 8192 --max-position-embeddings 8192 --use-distributed-optimizer --overlap-grad-reduce \
         --fp8-format hybrid --recompute-granularity selective --recompute-modules core_attn mlp --hidden-dropout 0 \
         --attention-dropout 0.0 --num-distributed-optimizer-instances 2",
        8,
    );
    sure(&found);
    assert_eq!(parameters(&found), 8_030_261_248 + 2 * 256 * 4096, "Llama-3-8B with a padded vocabulary");
    let training = &found.training;
    assert_eq!((training.sharding, training.precision), (Some(Sharding::Megatron), Some(Precision::Fp8)));
    assert_eq!((found.parallelism.data, training.shard_replicas, training.dropout), (4, Some(2), false));
    assert_eq!((training.checkpointing, training.recompute_modules.len()), (Some(Checkpointing::Selective), 2));
    assert_eq!(training.micro_batches, Some(32));
}

#[test]
fn stages_of_their_own_sizes() {
    let staged = |flags: &str| script(&format!("{GPT} --pipeline-model-parallel-size 4 {flags}"), 8).training;
    let uneven = staged("--decoder-first-pipeline-num-layers 2 --decoder-last-pipeline-num-layers 2");
    assert_eq!(uneven.stage_layers, [2, 4, 4, 2]);
    let virtual_stages = staged("--num-layers-per-virtual-pipeline-stage 1");
    assert_eq!((virtual_stages.virtual_stages, virtual_stages.stage_layers), (Some(3), vec![]));
    let layout = staged("--pipeline-model-parallel-layout 'Et*2|(tt|)*5,tL'");
    assert!(layout.stage_layers.is_empty(), "{layout:?}");
    let layout = staged("--pipeline-model-parallel-layout 'Et|(tt|)*5t|L'");
    assert_eq!((layout.stage_layers, layout.virtual_stages), (vec![3, 4, 3, 2], Some(2)));
    let accounted = script(
        &format!(
            "{} --pipeline-model-parallel-size 2 --account-for-embedding-in-pipeline-split --account-for-loss-in-pipeline-split",
            GPT.replace("12", "10")
        ),
        8,
    );
    assert_eq!(accounted.training.stage_layers, [5, 5]);
}

#[test]
fn mixtures_and_latent_attention() {
    let experts = script(
        &format!(
            "{GPT} --num-experts 8 --moe-router-topk 2 --expert-model-parallel-size 4 --expert-tensor-parallel-size 1"
        ),
        8,
    );
    let dense = script(GPT, 8);
    assert!(parameters(&experts) > parameters(&dense) * 3, "{}", parameters(&experts));
    assert_eq!((experts.parallelism.expert, experts.training.expert_tensor), (4, Some(1)));
    let latent = script(
        &format!(
            "{GPT} --multi-latent-attention --kv-lora-rank 128 --num-experts 16 --moe-ffn-hidden-size 256 --moe-layer-freq '([0]*1+[1]*11)'"
        ),
        8,
    );
    assert!(parameters(&latent) > 12 * 16 * 2 * 512 * 256 / 2, "{}", parameters(&latent));
}

#[test]
fn what_its_flags_do_not_describe_is_said() {
    for (flags, field) in [
        ("--hybrid-override-pattern /*E", "model"),
        ("--perform-rl-step", "model"),
        ("--tokenizer-type HuggingFaceTokenizer --tokenizer-model org/m", "model"),
        ("--use-precision-aware-optimizer --exp-avg-dtype fp8", "training.optimizer"),
        ("--optimizer lion", "training.optimizer"),
        ("--recompute-granularity full --recompute-method block --recompute-num-layers 2", "training.checkpointing"),
    ] {
        let found = script(&format!("{GPT} {flags}"), 8);
        assert!(found.unknown_fields.contains(field), "{flags}: {found:#?}");
    }
    let muon = script(&format!("{GPT} --optimizer dist_muon"), 8);
    assert_eq!(muon.training.optimizer, Some(Optimizer::Muon));
}

#[test]
fn head_gradients_that_wait() {
    let deferred = script(&format!("{GPT} --defer-embedding-wgrad-compute --wgrad-deferral-limit 22"), 8);
    assert_eq!(deferred.training.deferred_head_gradients, 22);
    assert_eq!(script(&format!("{GPT} --defer-embedding-wgrad-compute"), 8).training.deferred_head_gradients, 1);
}

#[test]
fn nemos_overrides() {
    let found = script(
        "torchrun --nproc-per-node=8 scripts/training/run_recipe.py --recipe llama3_8b_pretrain_config \
         model.tensor_model_parallel_size=2 model.pipeline_model_parallel_size=2 model.sequence_parallel=True \
         train.micro_batch_size=1 train.global_batch_size=32 model.seq_length=8192 optimizer.optimizer_cpu_offload=true",
        8,
    );
    assert_eq!(found.parallelism, Parallelism { tensor: 2, pipeline: 2, data: 2, ..Parallelism::default() });
    assert_eq!((found.batch_size, found.context_length), (Some(1), Some(8192)));
    assert_eq!((found.training.micro_batches, found.training.sharding), (Some(16), Some(Sharding::Megatron)));
    assert!(found.training.cpu_offload && found.unknown_fields.contains("arguments"));
    assert!(found.unread[0].contains("llama3_8b_pretrain_config"), "{:?}", found.unread);
}

#[test]
fn an_encoder_with_a_decoder() {
    let found = script(
        "torchrun --nproc_per_node 8 pretrain_t5.py --encoder-num-layers 12 --decoder-num-layers 6 --hidden-size 768 \
         --num-attention-heads 12 --kv-channels 64 --ffn-hidden-size 3072 --encoder-seq-length 512 \
         --decoder-seq-length 128 --max-position-embeddings 512 --micro-batch-size 4 --vocab-extra-ids 100 \
         --tokenizer-type BertWordPieceCase --bf16",
        8,
    );
    sure(&found);
    assert_eq!((found.context_length, found.training.target_length), (Some(512), Some(128)));
    // Four attention matrices, twice in a decoder's layer, and two of the feed-forward block; 29,184 padded rows.
    let (hidden, wide) = (768_u64, 3072_u64);
    let matrices = (12 + 2 * 6) * 4 * hidden * hidden + 18 * 2 * hidden * wide + 29_184 * hidden;
    let rest = parameters(&found).checked_sub(matrices).unwrap();
    assert!(rest < matrices / 500, "norms and relative positions: {rest}");
}

#[test]
fn a_hybrid_of_its_pattern() {
    let found = script(
        "torchrun --nproc_per_node 8 pretrain_hybrid.py --hybrid-layer-pattern 'M-M*|M-/*E/*E' --hidden-size 1024 \
         --num-attention-heads 16 --group-query-attention --num-query-groups 8 --micro-batch-size 4 \
         --seq-length 1024 --max-position-embeddings 1024 --bf16",
        8,
    );
    let Some(ModelReference::Config(config)) = &found.model else { panic!("{found:#?}") };
    let model = hf_config::read("hybrid", config).unwrap();
    assert_eq!(model.layer_count(), 6, "a layer a letter, without those that predict further tokens");
    // Megatron's defaults: twice the width in heads of 64.
    assert_eq!(config["mamba_num_heads"], 32);
}
