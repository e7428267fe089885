use super::*;
use crate::estimate::workload::{Checkpointing, Loss, Optimizer, Parallelism, Precision, Sharding, Task};

#[test]
fn trl_sft_of_all_parameters() {
    let found = manifest(
        "apiVersion: batch/v1
kind: Job
metadata: {name: sft}
spec:
  template:
    spec:
      containers:
      - name: trainer
        image: huggingface/trl
        command: [trl, sft]
        args: [--model_name_or_path, Qwen/Qwen2-0.5B, --dataset_name, trl-lib/Capybara, --learning_rate, '2.0e-5',
          --num_train_epochs, '1', --packing, --per_device_train_batch_size, '2', --gradient_accumulation_steps, '8',
          --eos_token, '<|im_end|>', --eval_strategy, steps, --output_dir, /out]
        resources: {limits: {nvidia.com/gpu: 1}}",
    );
    sure(&found);
    assert_eq!((found.task, model(&found)), (Some(Task::Training), "Qwen/Qwen2-0.5B"));
    assert_eq!((found.batch_size, found.context_length), (Some(2), Some(1024)), "TRL cuts samples at 1024 tokens");
    let training = &found.training;
    assert_eq!((training.checkpointing, training.precision), (Some(Checkpointing::Full), Some(Precision::MixedBf16)));
    assert_eq!((training.sharding, found.parallelism.data), (Some(Sharding::None), 1));
    assert_eq!((training.gradient_accumulation, training.fixed_lengths), (Some(8), Some(true)));
    assert_eq!((training.trainer.as_deref(), training.reference_models), (Some("trl"), 0));
}

#[test]
fn trl_with_adapters_on_a_quantized_base() {
    let found = script(
        "trl sft --model_name_or_path org/m --per_device_train_batch_size 2 --max_length 2048 --use_peft --lora_r 32 \
         --lora_target_modules q_proj v_proj --load_in_4bit --optim paged_adamw_8bit --accelerate_config zero2 \
         --gradient_accumulation_steps 8 --use_liger_kernel --lora_dropout 0.05",
        4,
    );
    sure(&found);
    assert_eq!((found.batch_size, found.context_length, found.parallelism.data), (Some(2), Some(2048), 4));
    let training = &found.training;
    let lora = training.lora.as_ref().unwrap();
    assert_eq!((lora.rank, lora.targets.join("+"), lora.quantized_base), (32, "q_proj+v_proj".into(), true));
    assert!(lora.dropout && !lora.double_quantization);
    assert_eq!((training.optimizer, training.sharding), (Some(Optimizer::PagedAdamW8bit), Some(Sharding::Zero2)));
    assert_eq!((training.checkpointing, training.loss), (Some(Checkpointing::Full), Some(Loss::Fused)));
}

#[test]
fn trl_dpo_holds_two_answers_and_a_reference() {
    let command = "accelerate launch --num_processes 8 trl/scripts/dpo.py --model_name_or_path org/m \
         --per_device_train_batch_size 2 --max_length 1536 --gradient_checkpointing --bf16 --dtype bfloat16";
    let found = script(command, 8);
    assert_eq!((found.batch_size, found.context_length, found.parallelism.data), (Some(4), Some(1536), 8));
    assert_eq!((found.training.reference_models, found.training.precision), (1, Some(Precision::Bf16)));
    assert_eq!(found.training.sharding, None, "the image may hold a configuration of accelerate");
    let adapted = script(&format!("{command} --use_peft"), 8);
    assert_eq!((adapted.training.reference_models, adapted.training.lora.unwrap().rank), (0, 16));
}

#[test]
fn trl_grpo_generates() {
    let found = script("trl grpo --model_name_or_path org/m --max_completion_length 1024 --beta 0.04 --use_vllm", 1);
    assert_eq!((found.batch_size, found.context_length), (Some(8), Some(1536)));
    assert_eq!(found.training.reference_models, 1);
    assert!(found.unread[0].contains("vLLM"), "{:?}", found.unread);
    let served = script("trl grpo --model_name_or_path org/m --use_vllm --vllm_mode server", 1);
    assert_eq!((served.context_length, served.training.reference_models), (Some(768), 0));
    sure(&served);
}

#[test]
fn trl_kto_and_reward() {
    let kto = script("trl kto --model_name_or_path org/m --per_device_train_batch_size 4", 1);
    assert_eq!((kto.batch_size, kto.training.reference_models), (Some(4), 1));
    let reward = script("trl reward --model_name_or_path org/m --per_device_train_batch_size 4", 1);
    assert_eq!((reward.batch_size, reward.training.reference_models), (Some(8), 0));
}

#[test]
fn trl_reads_its_yaml() {
    let found = with_config(
        "trl sft --config /conf/sft.yaml --per_device_train_batch_size 1",
        2,
        "sft.yaml",
        "model_name_or_path: org/m\nper_device_train_batch_size: 16\nmax_length: 4096\nuse_peft: true\nlora_r: 8\n\
         lora_target_modules: [q_proj, k_proj]\naccelerate_config: fsdp2\nbf16: true\ngradient_checkpointing: false\n",
    );
    sure(&found);
    assert_eq!((model(&found), found.batch_size), ("org/m", Some(1)), "arguments are stronger");
    assert_eq!((found.context_length, found.training.sharding), (Some(4096), Some(Sharding::Fsdp)));
    assert_eq!(found.training.checkpointing, Some(Checkpointing::None));
    let lora = found.training.lora.unwrap();
    assert_eq!((lora.rank, lora.targets), (8, vec!["q_proj".to_owned(), "k_proj".to_owned()]));
}

#[test]
fn a_pytorchjob_of_two_nodes() {
    let found = manifest(
        "apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: llama, namespace: ml}
spec:
  nprocPerNode: '8'
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      template: &pod
        spec:
          containers:
          - name: pytorch
            image: pytorch/pytorch
            command: [torchrun]
            args: [--nnodes=$(PET_NNODES), --nproc_per_node=8, run_clm.py, --model_name_or_path, meta-llama/Llama-3.1-8B,
              --per_device_train_batch_size=1, --block_size=4096, --bf16, 'True', --torch_dtype, bfloat16,
              --gradient_checkpointing, --fsdp, full_shard auto_wrap, --optim, adamw_torch]
            resources: {limits: {nvidia.com/gpu: 8}}
    Worker: {replicas: 3, template: *pod}",
    );
    sure(&found);
    assert_eq!((found.parallelism.data, found.context_length), (32, Some(4096)), "eight GPUs of four pods");
    assert_eq!((found.training.sharding, found.training.precision), (Some(Sharding::Fsdp), Some(Precision::Bf16)));
    assert_eq!(found.training.checkpointing, Some(Checkpointing::Full));
}

#[test]
fn launchers_count_processes() {
    let arguments =
        "train.py --model_name_or_path org/m --per_device_train_batch_size 4 --gradient_accumulation_steps 2";
    for (launcher, data, sharding) in [
        ("torchrun --nproc_per_node=8 --nnodes=2", 16, Some(Sharding::Ddp)),
        ("torchrun --nproc-per-node gpu --standalone", 2, Some(Sharding::Ddp)),
        ("accelerate launch --num_processes 4 --use_fsdp", 4, Some(Sharding::Fsdp)),
        ("accelerate launch --multi_gpu --num_machines 2 --mixed_precision bf16", 4, Some(Sharding::Ddp)),
        ("accelerate launch --use_deepspeed --zero_stage 3 --num_processes 2", 2, Some(Sharding::Zero3)),
        ("deepspeed --num_gpus 2 --master_port 29500", 2, None),
        ("python -m torch.distributed.run", 2, Some(Sharding::Ddp)),
    ] {
        let found = script(&format!("{launcher} {arguments}"), 2);
        assert_eq!((found.parallelism.data, found.task), (data, Some(Task::Training)), "{launcher}");
        assert_eq!((model(&found), found.training.sharding), ("org/m", sharding), "{launcher}");
    }
}

#[test]
fn a_script_without_a_launcher() {
    let found = script(
        "pip install peft && python -u finetune.py --base_model org/m --per_device_train_batch_size 1 \
         --max_seq_length 512 --fp16 --lora_r 8 --lora_target_modules '[q_proj,v_proj]' --load_in_8bit",
        1,
    );
    sure(&found);
    assert_eq!((model(&found), found.training.sharding), ("org/m", Some(Sharding::None)));
    assert_eq!((found.quantization.as_deref(), found.training.precision), (Some("int8"), Some(Precision::MixedFp16)));
    let lora = found.training.lora.unwrap();
    assert_eq!((lora.rank, lora.targets.len(), lora.quantized_base), (8, 2, true));
    let several = script("python train.py --model_name_or_path org/m --per_device_train_batch_size 1", 2);
    assert_eq!(several.training.sharding, None, "one process may spread the layers");
    let served = script("python server.py --model org/m", 1);
    assert!(served.task.is_none(), "{served:?}");
}

#[test]
fn ms_swift() {
    let found = job(
        "swift sft --model Qwen/Qwen2.5-7B-Instruct --train_type lora --dataset a b --torch_dtype bfloat16 \
         --per_device_train_batch_size 1 --lora_rank 8 --lora_alpha 32 --target_modules all-linear --max_length 2048 \
         --gradient_accumulation_steps 16 --deepspeed zero2 --output_dir out",
        2,
        "env: [{name: NPROC_PER_NODE, value: '2'}],",
        "",
    );
    sure(&found);
    assert_eq!((model(&found), found.batch_size), ("Qwen/Qwen2.5-7B-Instruct", Some(1)));
    assert_eq!((found.parallelism.data, found.training.sharding), (2, Some(Sharding::Zero2)));
    assert_eq!(
        (found.training.checkpointing, found.training.precision),
        (Some(Checkpointing::Full), Some(Precision::Bf16))
    );
    assert_eq!(found.training.lora.unwrap().targets, ["all-linear"]);
    let full = script("swift rlhf --rlhf_type dpo --model org/m --tuner_type full --max_length 1024", 1);
    assert_eq!((full.batch_size, full.training.reference_models, full.training.lora), (Some(2), 1, None));
}

#[test]
fn megatron_swift() {
    let found = script(
        "NPROC_PER_NODE=8 megatron sft --load Qwen3-30B-A3B-mcore --model Qwen/Qwen3-30B-A3B \
         --tensor_model_parallel_size 2 --expert_model_parallel_size 4 --micro_batch_size 1 --global_batch_size 16 \
         --packing true --recompute_granularity full --recompute_method uniform --recompute_num_layers 1 \
         --max_length 8192 --sequence_parallel true --optimizer_cpu_offload true",
        8,
    );
    let parallelism = Parallelism { tensor: 2, data: 4, expert: 4, ..Parallelism::default() };
    assert_eq!((found.parallelism, found.context_length), (parallelism, Some(8192)), "{found:#?}");
    let training = &found.training;
    assert_eq!((training.sharding, training.checkpointing), (Some(Sharding::Megatron), Some(Checkpointing::Full)));
    assert_eq!((training.micro_batches, training.sequence_parallel, training.cpu_offload), (Some(4), Some(true), true));
}

#[test]
fn unsloths_command_line() {
    let found = script(
        "python unsloth-cli.py --model_name unsloth/Meta-Llama-3.1-8B --max_seq_length 8192 --load_in_4bit --r 64 \
         --per_device_train_batch_size 4 --gradient_accumulation_steps 8 --use_gradient_checkpointing unsloth",
        1,
    );
    sure(&found);
    assert_eq!((found.batch_size, found.context_length), (Some(4), Some(8192)));
    assert!(found.training.activation_offload && found.training.checkpointing == Some(Checkpointing::Full));
    let lora = found.training.lora.unwrap();
    assert_eq!((lora.rank, lora.quantized_base, lora.targets.len()), (64, true, 7));
    assert_eq!(found.training.optimizer, Some(Optimizer::AdamW8bit));
}
