//! How each engine's users say a setting: its own flag, and its own word for a value.

use crate::decide::report::Change;
use crate::estimate::Workload;
use crate::estimate::workload::{EngineName, Task};
use crate::spec::declaration::{Declaration, Origin};

/// Words of ours and of an engine.
type Words = &'static [(&'static str, &'static str)];

/// Field, flag, and the values that are called otherwise there.
type Row = (&'static str, &'static str, Words);

const VLLM: &[Row] = &[
    ("contextLength", "--max-model-len", &[]),
    ("batchSize", "--max-num-seqs", &[]),
    ("kvCacheDtype", "--kv-cache-dtype", &[]),
    ("quantization", "--quantization", &[]),
    ("dtype", "--dtype", &[("fp16", "float16"), ("bf16", "bfloat16")]),
    ("engine.maxNumSeqs", "--max-num-seqs", &[]),
    ("engine.maxNumBatchedTokens", "--max-num-batched-tokens", &[]),
    ("parallelism.tensor", "--tensor-parallel-size", &[]),
    ("parallelism.pipeline", "--pipeline-parallel-size", &[]),
    ("engine.memoryFraction", "--gpu-memory-utilization", &[]),
];

const SGLANG: &[Row] = &[
    ("contextLength", "--context-length", &[]),
    ("batchSize", "--max-running-requests", &[]),
    ("kvCacheDtype", "--kv-cache-dtype", &[("fp8", "fp8_e4m3")]),
    ("quantization", "--quantization", &[]),
    ("parallelism.tensor", "--tensor-parallel-size", &[]),
    ("parallelism.pipeline", "--pipeline-parallel-size", &[]),
    ("engine.memoryFraction", "--mem-fraction-static", &[]),
];

const TGI: &[Row] = &[
    ("contextLength", "--max-total-tokens", &[]),
    ("batchSize", "--max-batch-size", &[]),
    ("kvCacheDtype", "--kv-cache-dtype", &[("fp8", "fp8_e4m3fn")]),
    ("quantization", "--quantize", &[]),
    ("parallelism.tensor", "--num-shard", &[]),
    ("engine.memoryFraction", "--cuda-memory-fraction", &[]),
];

const TRTLLM: &[Row] = &[
    ("contextLength", "--max_seq_len", &[]),
    ("batchSize", "--max_batch_size", &[]),
    ("kvCacheDtype", "--kv_cache_dtype", &[]),
    ("parallelism.tensor", "--tp_size", &[]),
    ("parallelism.pipeline", "--pp_size", &[]),
];

const LLAMACPP: &[Row] = &[
    ("contextLength", "--ctx-size", &[]),
    ("batchSize", "--parallel", &[]),
    ("kvCacheDtype", "--cache-type-k and --cache-type-v", &[("auto", "f16"), ("int8", "q8_0"), ("int4", "q4_0")]),
];

const OLLAMA: &[Row] = &[
    ("contextLength", "OLLAMA_CONTEXT_LENGTH", &[]),
    ("batchSize", "OLLAMA_NUM_PARALLEL", &[]),
    ("kvCacheDtype", "OLLAMA_KV_CACHE_TYPE", &[("auto", "f16"), ("int8", "q8_0"), ("int4", "q4_0")]),
];

const fn rows(engine: EngineName) -> &'static [Row] {
    match engine {
        EngineName::Vllm => VLLM,
        EngineName::Sglang => SGLANG,
        EngineName::Tgi => TGI,
        EngineName::Trtllm => TRTLLM,
        EngineName::Llamacpp => LLAMACPP,
        EngineName::Ollama => OLLAMA,
        EngineName::Generic => &[],
    }
}

/// Says a change the way the user would make it: the engine's flag, unless an annotation said it, and the resource that
/// was requested.
pub(super) fn in_source_words(change: &mut Change, workload: &Workload, declaration: &Declaration) {
    if change.path == "gpus" {
        let resource = declaration.gpus.as_ref().map_or("nvidia.com/gpu", |request| request.resource.as_str());
        resource.clone_into(&mut change.path);
        return;
    }
    let annotated = declaration.origins.get(change.path.as_str()) == Some(&Origin::Annotation);
    if annotated || workload.task == Task::Training {
        return;
    }
    let Some((_, flag, words)) = rows(workload.engine.name).iter().find(|(field, ..)| *field == change.path) else {
        return;
    };
    (*flag).clone_into(&mut change.path);
    for value in [&mut change.from, &mut change.to] {
        if let Some((_, theirs)) = words.iter().find(|(ours, _)| *ours == value.as_str()) {
            (*theirs).clone_into(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::pod::PodTemplate;

    /// Every flag is one that the engine's reader knows, with the effect that the row says.
    #[test]
    fn flags_are_read_back_as_the_fields_that_they_stand_for() {
        let starts = [
            (EngineName::Vllm, "vllm serve m"),
            (EngineName::Sglang, "python -m sglang.launch_server --model-path m"),
            (EngineName::Tgi, "text-generation-launcher --model-id m"),
            (EngineName::Trtllm, "trtllm-serve m"),
            (EngineName::Llamacpp, "llama-server -m m.gguf"),
        ];
        for (engine, start) in starts {
            for (field, flag, words) in rows(engine) {
                let number = if *field == "engine.memoryFraction" { "0.5" } else { "2" };
                let value = match *field {
                    "kvCacheDtype" => words.last().map_or("fp8", |(_, theirs)| theirs),
                    "quantization" => "awq",
                    "dtype" => "float16",
                    _ => number,
                };
                let mut command: Vec<&str> = start.split(' ').collect();
                command.extend([flag.split(' ').next().unwrap(), value]);
                let pod = serde_json::json!({"spec": {"containers": [{
                    "name": "c", "command": command, "resources": {"limits": {"nvidia.com/gpu": 2}},
                }]}});
                let template: PodTemplate = serde_json::from_value(pod).unwrap();
                let declared = crate::spec::declare(&template).remove(0).unwrap();
                let set = match *field {
                    "batchSize" => declared.batch_size.or(declared.engine.max_num_seqs) == Some(2),
                    field => declared.origins.get(field) == Some(&Origin::Argument),
                };
                assert!(set, "{engine:?} {flag} {value}: {:?}", declared.origins);
            }
        }
    }
}
