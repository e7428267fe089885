use super::*;
use crate::estimate::workload::{Checkpointing, Loss, Optimizer, Precision, Sharding, ZeroBuckets};

const ZERO3: &str = r#"{"bf16": {"enabled": "auto"}, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
    "zero_optimization": {"stage": 3, "overlap_comm": true, "reduce_bucket_size": 5e8, "stage3_prefetch_bucket_size": "auto",
        "stage3_max_live_parameters": 1e9, "offload_optimizer": {"device": "cpu"}, "zero_hpz_partition_size": 8},
    "gradient_accumulation_steps": "auto", "train_micro_batch_size_per_gpu": "auto"}"#;

const ARGUMENTS: &str = "--model_name_or_path org/m --per_device_train_batch_size 4 --gradient_accumulation_steps 2 \
    --bf16 True --gradient_checkpointing True --model_max_length 2048";

fn is_zero3(found: &Declaration) {
    sure(found);
    assert_eq!((found.training.sharding, found.training.cpu_offload), (Some(Sharding::Zero3), true));
    assert_eq!(
        (found.batch_size, found.training.gradient_accumulation),
        (Some(4), Some(2)),
        "`auto` is the argument's"
    );
    let buckets = ZeroBuckets {
        reduce: Some(500_000_000),
        prefetch: None,
        max_live: Some(1_000_000_000),
        secondary_shards: Some(8),
    };
    assert_eq!((found.training.buckets, found.training.optimizer), (buckets, Some(Optimizer::AdamW)));
}

#[test]
fn deepspeeds_file_in_a_config_map() {
    let found = with_config(&format!("deepspeed train.py --deepspeed /conf/ds.json {ARGUMENTS}"), 8, "ds.json", ZERO3);
    is_zero3(&found);
    assert_eq!((found.parallelism.data, found.context_length), (8, Some(2048)));
}

#[test]
fn deepspeeds_file_in_the_script() {
    is_zero3(&script(
        &format!("cat > ds.json <<'EOF'\n{ZERO3}\nEOF\ndeepspeed train.py --deepspeed ds.json {ARGUMENTS}"),
        8,
    ));
    let zero3 = serde_json::to_string(ZERO3).unwrap();
    let variable = format!("env: [{{name: CONFIG, value: {zero3}}}],");
    let echoed = format!("echo \"$CONFIG\" > ds.json && deepspeed train.py --deepspeed ds.json {ARGUMENTS}");
    is_zero3(&job(&echoed, 8, &variable, ""));
}

#[test]
fn deepspeeds_file_as_one_key_at_a_path() {
    let map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"zero2": "{\"zero_optimization\": {\"stage\": 2}, \"train_micro_batch_size_per_gpu\": 3}"}});
    let mounts = "workingDir: /work, volumeMounts: [{name: conf, mountPath: /work/ds.json, subPath: zero2}],";
    let found = job(
        "deepspeed train.py --deepspeed --deepspeed_config ds.json --model_name_or_path org/m",
        4,
        mounts,
        &format!("---\n{map}"),
    );
    assert_eq!((found.training.sharding, found.batch_size), (Some(Sharding::Zero2), Some(3)), "{found:#?}");
}

#[test]
fn configurations_that_trainers_ship_are_known_by_their_names() {
    for (name, sharding, offload) in [
        ("examples/deepspeed/ds_z3_offload_config.json", Sharding::Zero3, true),
        ("deepspeed_configs/zero2.json", Sharding::Zero2, false),
        ("zero3_offload", Sharding::Zero3, true),
    ] {
        let found = script(&format!("torchrun train.py {ARGUMENTS} --deepspeed {name}"), 2);
        assert_eq!((found.training.sharding, found.training.cpu_offload), (Some(sharding), offload), "{name}");
    }
    let other = script(&format!("torchrun train.py {ARGUMENTS} --deepspeed my/zero3.json"), 2);
    assert!(other.unknown_fields.contains("training.sharding"), "a name of one's own says nothing");
}

#[test]
fn accelerates_yaml_with_fsdp() {
    let yaml = "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nmixed_precision: bf16\nnum_machines: 1\n\
        num_processes: 8\nfsdp_config:\n  fsdp_version: 2\n  fsdp_reshard_after_forward: false\n\
        \x20 fsdp_offload_params: true\n  fsdp_activation_checkpointing: true\n";
    let found = with_config(
        "accelerate launch --config_file /conf/fsdp.yaml train.py --model_name_or_path org/m --per_device_train_batch_size 1",
        8,
        "fsdp.yaml",
        yaml,
    );
    sure(&found);
    let training = &found.training;
    assert_eq!((training.sharding, found.parallelism.data), (Some(Sharding::Fsdp), 8));
    assert!(training.keep_gathered && training.cpu_offload);
    assert_eq!(training.checkpointing, Some(Checkpointing::Full));
}

#[test]
fn accelerates_yaml_with_deepspeed() {
    for (text, sharding) in [
        (
            "distributed_type: DEEPSPEED\nnum_processes: 4\ndeepspeed_config: {zero_stage: 2, gradient_accumulation_steps: 4}",
            Sharding::Zero2,
        ),
        ("distributed_type: MULTI_GPU\nnum_processes: 4", Sharding::Ddp),
        (
            "distributed_type: FSDP\nnum_processes: 4\nfsdp_config: {fsdp_sharding_strategy: HYBRID_SHARD}",
            Sharding::Hsdp,
        ),
    ] {
        let command = "accelerate launch --config_file=/conf/a.yaml sft.py --model_name_or_path org/m";
        let found = with_config(command, 4, "a.yaml", text);
        assert_eq!((found.training.sharding, found.parallelism.data), (Some(sharding), 4), "{text}");
    }
}

#[test]
fn axolotls_qlora() {
    let yaml = "base_model: NousResearch/Llama-3.2-1B\nload_in_4bit: true\nadapter: qlora\nlora_r: 32\nlora_dropout: 0.05\n\
        lora_target_modules: [gate_proj, down_proj, up_proj, q_proj, v_proj, k_proj, o_proj]\nsequence_len: 2048\n\
        sample_packing: true\nmicro_batch_size: 2\ngradient_accumulation_steps: 4\noptimizer: adamw_bnb_8bit\nbf16: auto\n\
        gradient_checkpointing: true\nattn_implementation: flash_attention_2\ndatasets:\n- path: a\n  type: alpaca\n";
    let found = with_config("axolotl train /conf/q.yml", 1, "q.yml", yaml);
    sure(&found);
    assert_eq!(
        (model(&found), found.batch_size, found.context_length),
        ("NousResearch/Llama-3.2-1B", Some(2), Some(2048))
    );
    let training = &found.training;
    assert_eq!((training.optimizer, training.checkpointing), (Some(Optimizer::AdamW8bit), Some(Checkpointing::Full)));
    assert_eq!((training.precision, training.fixed_lengths), (Some(Precision::Bf16), Some(true)));
    let lora = training.lora.as_ref().unwrap();
    assert_eq!((lora.rank, lora.targets.len(), lora.quantized_base, lora.dropout), (32, 7, true, true));
}

#[test]
fn axolotls_full_training_with_fsdp() {
    let yaml = "base_model: org/m\nsequence_len: 4096\nmicro_batch_size: 1\nbf16: true\nplugins:\n\
        - axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin\nfsdp_version: 2\nfsdp_config:\n\
        \x20 offload_params: true\n  reshard_after_forward: true\n  activation_checkpointing: true\ntensor_parallel_size: 2\n";
    let found =
        with_config("accelerate launch -m axolotl.cli.train /conf/f.yml --micro-batch-size 4", 8, "f.yml", yaml);
    sure(&found);
    assert_eq!((found.batch_size, found.parallelism.tensor, found.parallelism.data), (Some(4), 2, 4));
    let training = &found.training;
    assert_eq!((training.sharding, training.precision), (Some(Sharding::Fsdp), Some(Precision::MixedBf16)));
    assert_eq!((training.loss, training.cpu_offload), (Some(Loss::Fused), true));
    assert_eq!(training.checkpointing, Some(Checkpointing::Full));
}

#[test]
fn llama_factorys_lora() {
    let yaml = "model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct\nstage: sft\ndo_train: true\nfinetuning_type: lora\n\
        lora_target: all\ndataset: identity\ncutoff_len: 1024\nper_device_train_batch_size: 1\n\
        gradient_accumulation_steps: 8\nbf16: true\n";
    let found = with_config("FORCE_TORCHRUN=1 llamafactory-cli train /conf/l.yaml lora_rank=16", 2, "l.yaml", yaml);
    sure(&found);
    assert_eq!((found.batch_size, found.context_length, found.parallelism.data), (Some(1), Some(1024), 2));
    let training = &found.training;
    assert_eq!((training.sharding, training.checkpointing), (Some(Sharding::Ddp), Some(Checkpointing::Full)));
    let lora = training.lora.as_ref().unwrap();
    assert_eq!((lora.rank, lora.targets.as_slice()), (16, &["all-linear".to_owned()][..]));
}

#[test]
fn llama_factorys_full_training() {
    let yaml = "model_name_or_path: org/m\nstage: dpo\nfinetuning_type: full\npure_bf16: true\n\
        deepspeed: examples/deepspeed/ds_z3_config.json\nuse_badam: true\ndisable_gradient_checkpointing: true\n";
    let found = with_config("llamafactory-cli train /conf/l.yaml", 4, "l.yaml", yaml);
    let training = &found.training;
    assert_eq!((found.batch_size, found.context_length), (Some(16), Some(2048)), "pairs of the default batch of 8");
    assert_eq!((training.sharding, training.reference_models), (Some(Sharding::Zero3), 1));
    assert_eq!((training.checkpointing, training.active_layers), (Some(Checkpointing::None), Some(1)));
    assert_eq!((training.precision, &training.lora), (Some(Precision::Bf16), &None));
    let galore = "model_name_or_path: org/m\nfinetuning_type: full\nuse_galore: true\ngalore_layerwise: true\ngalore_rank: 128\n";
    let found = with_config("llamafactory-cli train /conf/g.yaml", 1, "g.yaml", galore);
    assert_eq!((found.training.projection_rank, found.training.optimizer_in_backward), (Some(128), true));
    let frozen = "model_name_or_path: org/m\nfinetuning_type: freeze\nfreeze_trainable_layers: 4\n";
    let found = with_config("llamafactory-cli train /conf/g.yaml", 1, "g.yaml", frozen);
    assert_eq!(found.training.active_layers, Some(4));
}

#[test]
fn serving_engines_read_their_files_too() {
    let found = with_config(
        "vllm serve org/m --config /conf/v.yaml --max-model-len 4096",
        2,
        "v.yaml",
        "max-model-len: 8192\ntensor-parallel-size: 2\nenforce-eager: true\ngpu_memory_utilization: 0.8\n\
         speculative-config: {method: mtp, num_speculative_tokens: 2}\n",
    );
    sure(&found);
    assert_eq!((found.context_length, found.parallelism.tensor), (Some(4096), 2));
    assert_eq!((found.engine.memory_fraction, found.engine.speculative_tokens), (Some(0.8), 2));
    assert!(found.engine.enforce_eager);
    let found = with_config(
        "trtllm-serve org/m --max_seq_len 1024 --extra_llm_api_options /conf/t.yaml",
        1,
        "t.yaml",
        "kv_cache_config:\n  free_gpu_memory_fraction: 0.7\nmax_seq_len: 2048\n",
    );
    sure(&found);
    assert_eq!((found.context_length, found.engine.memory_fraction), (Some(2048), Some(0.7)), "the file is stronger");
}
