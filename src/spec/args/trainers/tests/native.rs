use super::*;
use crate::estimate::workload::{Checkpointing, Loss, Optimizer, Parallelism, Precision, Sharding};

#[test]
fn torchtunes_own_config_with_overrides() {
    let found = script(
        "tune run --nproc_per_node 2 lora_finetune_distributed --config llama3_1/8B_lora batch_size=4 \
         tokenizer.max_seq_len=2048 enable_activation_checkpointing=True model.lora_rank=64",
        2,
    );
    sure(&found);
    assert_eq!((model(&found), found.batch_size), ("meta-llama/Llama-3.1-8B", Some(4)));
    assert_eq!((found.context_length, found.parallelism.data), (Some(2048), 2));
    let training = &found.training;
    assert_eq!((training.precision, training.sharding), (Some(Precision::Bf16), Some(Sharding::Fsdp)));
    assert_eq!((training.checkpointing, training.loss), (Some(Checkpointing::Full), Some(Loss::Chunked)));
    assert_eq!((training.gradient_accumulation, training.optimizer), (Some(8), Some(Optimizer::AdamW)));
    let lora = training.lora.as_ref().unwrap();
    let targets = "q_proj v_proj output_proj gate_proj up_proj down_proj";
    assert_eq!((lora.rank, lora.targets.join(" ").as_str(), lora.fp32_adapters), (64, targets, false));
}

#[test]
fn torchtune_on_one_device() {
    let found = script(
        "tune run full_finetune_single_device --config llama3_2/1B_full_single_device tokenizer.max_seq_len=4096 dataset.packed=True",
        1,
    );
    sure(&found);
    assert_eq!((found.training.sharding, found.training.fixed_lengths), (Some(Sharding::None), Some(true)));
    assert!(found.training.optimizer_in_backward, "{:#?}", found.training);
    let quantized = script("tune run lora_finetune_single_device --config llama3_1/8B_qlora_single_device", 1);
    assert!(quantized.training.lora.as_ref().unwrap().quantized_base);
    assert!(quantized.unknown_fields.contains("contextLength"), "nothing bounds the samples");
    assert!(quantized.unread[0].contains("max_seq_len"), "{:?}", quantized.unread);
}

#[test]
fn torchtune_with_a_config_of_ones_own() {
    let yaml = "model:\n  _component_: torchtune.models.qwen2_5.lora_qwen2_5_7b_instruct\n  lora_attn_modules: [q_proj, v_proj]\n\
        \x20 apply_lora_to_mlp: false\n  lora_rank: 32\ntokenizer: {max_seq_len: 8192}\nbatch_size: 1\ndtype: bf16\n\
        optimizer: {_component_: bitsandbytes.optim.PagedAdamW8bit, lr: 2e-5}\n\
        loss: {_component_: torchtune.modules.loss.CEWithChunkedOutputLoss}\nenable_activation_checkpointing: true\n\
        enable_activation_offloading: true\ncompile: true\nfsdp_cpu_offload: true\nbatch_size_val: ${batch_size}\n";
    let found =
        with_config("tune run --nproc_per_node 4 lora_finetune_distributed --config /conf/c.yaml", 4, "c.yaml", yaml);
    sure(&found);
    assert_eq!((model(&found), found.context_length), ("Qwen/Qwen2.5-7B", Some(8192)));
    let training = &found.training;
    assert_eq!(training.optimizer, Some(Optimizer::PagedAdamW8bit));
    assert!(training.activation_offload && training.fused_kernels == Some(true) && training.cpu_offload);
    assert_eq!(training.lora.as_ref().unwrap().targets, ["q_proj", "v_proj"]);
}

#[test]
fn torchtitans_toml() {
    let toml = "[job]\ndump_folder = \"./outputs\"\n[model]\nname = \"llama3\"\nflavor = \"8B\"\n# what is trained\n\
        converters = [\"float8\"]\n[optimizer]\nname = \"AdamW\"\nearly_step_in_backward = true\n[training]\n\
        local_batch_size = 1\nseq_len = 8192\n[parallelism]\ndata_parallel_shard_degree = -1\ntensor_parallel_degree = 2\n\
        fsdp_reshard_after_forward = \"never\"\n[activation_checkpoint]\nmode = \"selective\"\n[compile]\nenable = true\n";
    let found = with_config(
        "torchrun --nproc_per_node=8 -m torchtitan.train --job.config_file /conf/l.toml --training.local_batch_size 2",
        8,
        "l.toml",
        toml,
    );
    sure(&found);
    assert_eq!(
        (model(&found), found.batch_size, found.context_length),
        ("meta-llama/Llama-3.1-8B", Some(2), Some(8192))
    );
    assert_eq!(found.parallelism, Parallelism { tensor: 2, data: 4, ..Parallelism::default() });
    let training = &found.training;
    assert_eq!((training.sharding, training.precision), (Some(Sharding::Fsdp), Some(Precision::Fp8)));
    assert_eq!(training.checkpointing, Some(Checkpointing::Selective));
    assert!(training.keep_gathered && training.optimizer_in_backward && training.fused_kernels == Some(true));
}

#[test]
fn torchtitans_script_and_flags_of_both_generations() {
    let old = job(
        "NGPU=8 CONFIG_FILE=/conf/l.toml ./run_train.sh --parallelism.pipeline_parallel_degree 2 --training.local_batch_size 8",
        8,
        "volumeMounts: [{name: conf, mountPath: /conf}],",
        "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {l.toml: \"[model]\\nname = 'llama3'\\nflavor = '70B'\\n[training]\\nseq_len = 4096\\n\"}}",
    );
    sure(&old);
    assert_eq!((model(&old), old.parallelism.data), ("meta-llama/Llama-3.1-70B", 4));
    assert_eq!((old.batch_size, old.training.micro_batches), (Some(1), Some(8)), "a pipeline cuts the batch");
    let new = script(
        "MODULE=llama3 CONFIG=llama3_8b NGPU=4 ./run_train.sh --training.max_context_length 8192 \
         --training.num_tokens_per_microbatch_per_dp_rank 16384 --parallelism.data_parallel_replicate_degree 2",
        4,
    );
    assert_eq!((model(&new), new.batch_size), ("meta-llama/Llama-3.1-8B", Some(2)));
    assert_eq!((new.training.sharding, new.training.shard_replicas), (Some(Sharding::Hsdp), Some(2)));
    assert!(new.unknown_fields.contains("arguments"), "what the config sets by itself is not seen");
}

#[test]
fn litgpts_commands() {
    let found = script(
        "litgpt finetune_lora meta-llama/Llama-3.2-1B --data Alpaca2k --train.micro_batch_size 2 --train.max_seq_length 512 \
         --precision bf16-true --quantize bnb.nf4-dq --lora_r 4 --lora_mlp true --lora_dropout 0.0",
        1,
    );
    sure(&found);
    assert_eq!(
        (model(&found), found.batch_size, found.context_length),
        ("meta-llama/Llama-3.2-1B", Some(2), Some(512))
    );
    assert_eq!(
        (found.training.precision, found.training.checkpointing),
        (Some(Precision::Bf16), Some(Checkpointing::None))
    );
    let lora = found.training.lora.unwrap();
    assert_eq!((lora.rank, lora.targets.join(" ")), (4, "q_proj v_proj gate_proj up_proj down_proj".to_owned()));
    assert!(lora.quantized_base && lora.double_quantization && !lora.fp32_adapters && !lora.dropout);
    let full =
        script("litgpt finetune_full org/m --devices 4 --train.max_seq_length 1024 --train.global_batch_size 16", 4);
    assert_eq!((full.parallelism.data, full.training.sharding), (4, Some(Sharding::Fsdp)));
    assert_eq!((full.training.gradient_accumulation, full.training.lora), (Some(4), None));
    assert_eq!(full.training.checkpointing, Some(Checkpointing::Full));
}
