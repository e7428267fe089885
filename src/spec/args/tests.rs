use super::*;
use crate::estimate::Bytes;
use crate::estimate::dtype::DType;
use crate::estimate::workload::{EngineName, Parallelism, Task, Version};
use crate::spec::declaration::{Declaration, ModelReference};
use crate::spec::fields;

/// A pod of nothing else.
const ALONE: Surroundings<'static> = Surroundings { files: Files::NONE, pods: None };

/// What is read from a container given as JSON.
fn declared(container: &str) -> Declaration {
    let container: Container = serde_json::from_str(container).unwrap();
    let mut draft = Draft::default();
    draft.out.gpus = super::super::gpus::request(&crate::spec::pod::PodTemplate::default(), &container);
    read(&container, &ALONE, &mut draft);
    draft.finish()
}

/// What is read from a command line in a shell string.
fn shell(script: &str) -> Declaration {
    let script = serde_json::to_string(script).unwrap();
    declared(&format!(
        r#"{{"name":"c","image":"x","command":["/bin/sh","-c",{script}],
            "env":[{{"name":"MODEL","value":"org/m"}},{{"name":"TP","value":"4"}},
                   {{"name":"SECRET","valueFrom":{{"secretKeyRef":{{"name":"s","key":"k"}}}}}}]}}"#
    ))
}

fn model(declaration: &Declaration) -> Option<&str> {
    match &declaration.model {
        Some(ModelReference::Name(name)) => Some(name),
        _ => None,
    }
}

#[test]
fn every_table_names_fields_that_exist() {
    use super::table::Effect;
    for program in PROGRAMS {
        for flag in program.flags.iter().chain(program.env) {
            if let Effect::Set(path) | Effect::Map(path, _) | Effect::Switch(path) = flag.effect {
                assert!(fields::by_path(path).is_some(), "{}: {:?} sets `{path}`", program.name, flag.names);
            }
            for name in flag.names.iter().filter(|name| name.starts_with('-')) {
                let rows = program.flags.iter().filter(|other| other.names.contains(name)).count();
                assert_eq!(rows, 1, "{}: {name}", program.name);
                assert!(!program.switches.contains(name), "{}: {name} is in both lists", program.name);
                assert!(!name.contains('_'), "{name}");
            }
        }
        let mut draft = Draft::default();
        name(program, Origin::Argument, &mut draft);
        assert_eq!(draft.out.engine_named, !program.trains, "{}", program.name);
    }
}

mod vllm {
    use super::*;

    #[test]
    fn the_image_alone_runs_the_server() {
        let found = declared(
            r#"{"name":"c","image":"harbor.corp:5000/hub/vllm/vllm-openai:v0.19.0@sha256:00","args":["--model","org/m",
            "--max-model-len=8k","--tensor_parallel_size","2","--gpu-memory-utilization","0.85","--enforce-eager",
            "--kv-cache-dtype","fp8_e4m3","--dtype=half","-q","awq","--max-num-seqs=64","--max-num-batched-tokens","4K"]}"#,
        );
        assert_eq!(model(&found), Some("org/m"));
        assert_eq!((found.task, found.engine_named), (Some(Task::Inference), true));
        assert_eq!((found.engine.name, found.engine.version), (EngineName::Vllm, Some(Version([0, 19, 0]))));
        assert_eq!(found.context_length, Some(8000), "a lower-case k counts in thousands");
        assert_eq!(found.parallelism, Parallelism { tensor: 2, ..Parallelism::default() });
        assert_eq!((found.engine.memory_fraction, found.engine.enforce_eager), (Some(0.85), true));
        assert_eq!((found.dtype, found.kv_cache_dtype), (Some(DType::Fp16), Some(DType::Fp8)));
        assert_eq!(found.quantization.as_deref(), Some("awq"));
        assert_eq!((found.engine.max_num_seqs, found.engine.max_num_batched_tokens), (Some(64), Some(4096)));
        assert_eq!(found.origins["contextLength"], Origin::Argument);
        assert_eq!(found.origins["engine.version"], Origin::Inferred);
        assert!(found.unread.is_empty() && found.unknown_fields.is_empty(), "{found:?}");
    }

    #[test]
    fn every_way_to_start_it_is_seen() {
        for words in [
            r#""command":["vllm","serve","org/m"],"args":["--port","8000"]"#,
            r#""command":["vllm"],"args":["serve","--port","8000","org/m"]"#,
            r#""command":["vllm","serve"],"args":["--trust-remote-code","org/m"]"#,
            r#""command":["python3","-m","vllm.entrypoints.openai.api_server"],"args":["--model=org/m"]"#,
            r#""command":["/usr/bin/python","-u","-m","vllm.entrypoints.openai.api_server","--model","org/m"]"#,
            r#""command":["tini","--","bash","-lc"],"args":["vllm serve org/m"]"#,
            r#""command":["bash","-c","exec \"$@\"","--","vllm","serve","org/m"]"#,
            r#""command":["/bin/bash"],"args":["-c","pip install x && cd / && A=1 exec vllm serve org/m"]"#,
        ] {
            let found = declared(&format!(r#"{{"name":"c","image":"x",{words}}}"#));
            assert_eq!(model(&found), Some("org/m"), "{words}");
            assert_eq!(found.engine.name, EngineName::Vllm, "{words}");
        }
        for args in [r#"["org/m"]"#, r#"["serve","org/m"]"#, r#"["--host","0.0.0.0","--model","org/m"]"#] {
            let found = declared(&format!(r#"{{"name":"c","image":"vllm/vllm-openai:latest","args":{args}}}"#));
            assert_eq!((model(&found), found.engine.version), (Some("org/m"), None), "{args}");
        }
    }

    #[test]
    fn scripts_with_continuations_defaults_and_json_are_read() {
        let found = shell(
            "set -euo pipefail\nexport LEN=${MAX_LEN:-16384}\nif [ -f x ]; then echo vllm serve other; fi\n\
             exec numactl --interleave=all vllm serve \"$MODEL\" \\\n  --tensor-parallel-size \"${TP}\" \\\n  \
             --max-model-len $LEN --no-enable-prefix-caching \\\n  --served-model-name a b \\\n  \
             --speculative-config '{\"method\":\"mtp\",\"num_speculative_tokens\":2}' 2>&1 | tee log\n",
        );
        assert_eq!(model(&found), Some("org/m"));
        assert_eq!((found.parallelism.tensor, found.context_length), (4, Some(16384)));
        assert_eq!(found.engine.speculative_tokens, 2);
        assert!(found.unread.is_empty(), "{:?}", found.unread);
    }

    #[test]
    fn what_cannot_be_known_makes_its_own_field_unknown() {
        let found = shell("vllm serve org/m --max-model-len $SECRET --tensor-parallel-size $(nvidia-smi -L | wc -l)");
        assert_eq!(model(&found), Some("org/m"));
        assert_eq!((found.context_length, found.parallelism.tensor), (None, 1));
        assert_eq!(found.unknown_fields.iter().copied().collect::<Vec<_>>(), ["contextLength", "parallelism.tensor"]);
        assert!(
            found.unread[0].contains("--max-model-len") && found.unread[0].contains("`$SECRET`"),
            "{:?}",
            found.unread
        );
        for (script, field) in [
            ("vllm serve $SECRET", "model"),
            ("vllm serve org/m $EXTRA_ARGS", "arguments"),
            ("vllm serve org/m --config /etc/c.yaml", "arguments"),
            ("vllm serve org/m --quantization brandnew", "quantization"),
            ("vllm serve org/m --tensor-parallel-size two", "parallelism.tensor"),
            ("vllm serve org/m -pcp 2", "parallelism.context"),
            ("vllm serve org/m --hf-overrides '{\"num_hidden_layers\":2}'", "model"),
            ("vllm serve org/m --speculative-config '{\"model\":\"d\"}'", "engine.speculativeTokens"),
            ("vllm serve 'org/m", "arguments"),
        ] {
            let found = shell(script);
            assert!(found.unknown_fields.contains(field) && !found.unread.is_empty(), "{script}: {found:?}");
        }
        for text in ["auto", "-1"] {
            let found = shell(&format!("vllm serve org/m --max-model-len {text}"));
            assert!(found.engine.auto_context && found.unread.is_empty(), "{found:?}");
        }
        let harmless =
            shell("vllm serve org/m --hf-overrides '{\"rope_scaling\":{}}' -O3 --compilation-config.level=3");
        assert!(harmless.unread.is_empty(), "{:?}", harmless.unread);
    }

    #[test]
    fn values_of_secrets_never_appear() {
        let found = shell("vllm serve org/m --api-key sk-verysecret --max-model-len \"$SECRET\"");
        assert!(!format!("{found:?}").contains("verysecret"));
    }

    #[test]
    fn flags_that_work_together_are_resolved_together() {
        let found = shell(
            "vllm serve org/m -tp 4 -dp 2 --enable-expert-parallel --enable-lora --max-loras 3 --max-lora-rank 64",
        );
        assert_eq!(found.parallelism, Parallelism { tensor: 4, data: 2, expert: 8, ..Parallelism::default() });
        assert_eq!((found.engine.max_loras, found.engine.max_lora_rank), (3, 64));
        assert_eq!(
            shell("vllm serve org/m --max-loras 3").engine.max_loras,
            0,
            "adapters are off without --enable-lora"
        );
        assert_eq!(shell("vllm serve org/m --enable-lora").engine.max_loras, 1);
        let off = shell("vllm serve org/m --cpu-offload-gb 10 --kv-cache-memory-bytes 4G --enforce-eager=false");
        assert_eq!((off.engine.cpu_offload, off.engine.kv_cache_memory), (Bytes(10 << 30), Some(Bytes(4 << 30))));
        assert!(!off.engine.enforce_eager);
    }

    #[test]
    fn the_last_of_equal_flags_counts() {
        assert_eq!(shell("vllm serve org/m --max-model-len 1024 --max-model-len 2048").context_length, Some(2048));
    }

    #[test]
    fn environment_variables_are_read_after_arguments() {
        let found = declared(
            r#"{"name":"c","image":"vllm/vllm-openai:v0.8.5.post1","args":["--model","$(M)","-pp","2"],
            "env":[{"name":"M","value":"org/m"},{"name":"VLLM_PP_LAYER_PARTITION","value":"16, 12"},
                   {"name":"PYTORCH_CUDA_ALLOC_CONF","value":"expandable_segments:True"}]}"#,
        );
        assert_eq!((model(&found), found.parallelism.pipeline), (Some("org/m"), 2));
        assert_eq!(found.engine.layer_partition, Some(vec![16, 12]));
        assert_eq!(found.engine.version, Some(Version([0, 8, 5])));
        assert!(found.training.expandable_segments);
        assert_eq!((found.task, found.origins["engine.layerPartition"]), (Some(Task::Inference), Origin::Env));
    }

    #[test]
    fn an_image_with_a_script_of_its_own_is_named_but_not_guessed() {
        let found = declared(r#"{"name":"c","image":"vllm/vllm-openai:v0.19.0","command":["/start.sh"]}"#);
        assert_eq!((found.engine.name, found.engine.version), (EngineName::Vllm, Some(Version([0, 19, 0]))));
        assert!(found.unknown_fields.contains("arguments") && found.unread[0].contains("/start.sh"));
    }
}

mod engines {
    use super::*;

    #[test]
    fn sglang_is_read() {
        let found = declared(
            r#"{"name":"c","image":"lmsysorg/sglang:v0.5.3","command":["python3","-m","sglang.launch_server"],
            "args":["--model-path","org/m","--tp","4","--mem-fraction-static=0.8","--context-length","32768",
                    "--max-running-requests","48","--chunked-prefill-size","4096","--disable-cuda-graph","--trust-remote-code",
                    "--kv-cache-dtype","fp8_e5m2","--dp-size","2"]}"#,
        );
        assert_eq!((model(&found), found.engine.name), (Some("org/m"), EngineName::Sglang));
        assert_eq!(found.parallelism, Parallelism { tensor: 4, data: 2, ..Parallelism::default() });
        assert_eq!((found.context_length, found.engine.memory_fraction), (Some(32768), Some(0.8)));
        assert_eq!((found.engine.max_num_seqs, found.engine.max_num_batched_tokens), (Some(48), Some(4096)));
        assert!(found.engine.enforce_eager && found.unread.is_empty(), "{:?}", found.unread);
        let attention = shell("sglang serve --model org/m --dp 4 --enable-dp-attention --speculative-algorithm EAGLE");
        assert_eq!((attention.engine.attention_data, attention.parallelism.data), (4, 1));
        let odd = shell("sglang serve --model org/m --dp many --enable-dp-attention");
        assert!(odd.unknown_fields.contains("parallelism.data"));
        assert!(attention.unknown_fields.contains("engine.speculativeTokens"));
    }

    #[test]
    fn tgi_is_read_from_flags_and_variables() {
        let found = declared(
            r#"{"name":"c","image":"ghcr.io/huggingface/text-generation-inference:3.3.4","args":["--max-total-tokens","8192"],
            "env":[{"name":"MODEL_ID","value":"org/m"},{"name":"QUANTIZE","value":"awq"},{"name":"MAX_TOTAL_TOKENS","value":"1"}],
            "resources":{"limits":{"nvidia.com/gpu":2}}}"#,
        );
        assert_eq!((model(&found), found.engine.name), (Some("org/m"), EngineName::Tgi));
        assert_eq!((found.context_length, found.parallelism.tensor), (Some(8192), 2), "every GPU is taken unless told");
        assert_eq!((found.quantization.as_deref(), found.engine.version), (Some("awq"), Some(Version([3, 3, 4]))));
        assert_eq!(found.origins["model"], Origin::Env);
    }

    #[test]
    fn llama_cpp_is_read_with_the_files_quantization() {
        let found = declared(
            r#"{"name":"c","image":"ghcr.io/ggml-org/llama.cpp:server-cuda","args":["-m","/models/a-7b.Q5_K_M.gguf","-c","8192",
            "-np","4","-ngl","99","-ctk","q8_0","--jinja"],"env":[{"name":"LLAMA_ARG_CTX_SIZE","value":"16"}]}"#,
        );
        assert_eq!((model(&found), found.engine.name), (Some("/models/a-7b.Q5_K_M.gguf"), EngineName::Llamacpp));
        assert_eq!(found.quantization.as_deref(), Some("q5_k_m"));
        assert_eq!(
            (found.context_length, found.batch_size, found.kv_cache_dtype),
            (Some(8192), Some(4), Some(DType::Int8))
        );
        assert!(found.unread.is_empty(), "{:?}", found.unread);
        let hub = shell("/app/llama-server -hf org/m-GGUF -ngl 20 -c 0");
        assert_eq!((model(&hub), hub.quantization.as_deref()), (Some("org/m-GGUF"), Some("q4_k_m")));
        assert_eq!((hub.engine.gpu_layers, hub.context_length), (Some(20), None));
    }

    #[test]
    fn tensorrt_llm_is_read() {
        let found = shell(
            "mpirun -n 2 trtllm-serve org/m --tp_size 2 --max_seq_len 4096 --kv_cache_free_gpu_memory_fraction 0.8",
        );
        assert_eq!((model(&found), found.engine.name), (Some("org/m"), EngineName::Trtllm));
        assert_eq!((found.parallelism.tensor, found.context_length), (2, Some(4096)));
        assert!(shell("trtllm-serve serve org/m --config x.yaml").unknown_fields.contains("arguments"));
    }

    #[test]
    fn ollama_has_variables_and_no_model() {
        let found = declared(
            r#"{"name":"c","image":"ollama/ollama:0.12.3","env":[{"name":"OLLAMA_CONTEXT_LENGTH","value":"8192"},
            {"name":"OLLAMA_NUM_PARALLEL","value":"2"},{"name":"OLLAMA_KV_CACHE_TYPE","value":"q8_0"}]}"#,
        );
        assert_eq!(
            (found.engine.name, found.context_length, found.batch_size),
            (EngineName::Ollama, Some(8192), Some(2))
        );
        assert!(found.model.is_none() && found.unread[0].contains("vramguard.io/model"));
    }
}

mod settings;

mod wrappers;

#[test]
fn two_different_engine_commands_leave_the_model_open() {
    for script in
        ["if [ -n \"$BIG\" ]; then vllm serve a/b; else vllm serve c/d; fi", "vllm serve a/b || vllm serve a/b -tp 2"]
    {
        let found = shell(script);
        assert!(found.unknown_fields.contains("model") && found.unread[0].contains("more than one"), "{found:?}");
    }
    let again = shell("vllm serve a/b || vllm serve a/b");
    assert!(again.unknown_fields.is_empty() && again.unread.is_empty(), "{again:?}");
}

#[test]
fn what_spreads_a_replica_over_pods_is_recognised() {
    for script in [
        "vllm serve a/b -tp 16 --nnodes 2 --node-rank 0",
        "vllm serve a/b -tp 16 --distributed-executor-backend=ray",
        "python3 -m sglang.launch_server --model a/b --tp 16 --nnodes 2 --node-rank 1",
    ] {
        assert!(shell(script).spans_pods, "{script}");
    }
    for script in ["vllm serve a/b -tp 16", "vllm serve a/b --nnodes 1 --distributed-executor-backend mp"] {
        assert!(!shell(script).spans_pods, "{script}");
    }
}

#[test]
fn values_of_variables_are_never_said() {
    let found = declared(
        r#"{"name":"c","image":"vllm/vllm-openai:v0.19.0","args":["--model","a/b","--max-model-len","$(LEN)","--dtype","x$(KEY)"],
            "env":[{"name":"LEN","value":"hf_SECRETVALUE"},{"name":"KEY","value":"hf_OTHERSECRET"}]}"#,
    );
    let said = format!("{:?} {:?} {:?}", found.unread, found.notes, found.conflicts);
    assert!(said.contains("$(LEN)") && said.contains("$(KEY)") && !said.contains("SECRET"), "{said}");
}

#[test]
fn an_unknown_program_with_a_gpu_asks_for_annotations() {
    let found = declared(r#"{"name":"c","image":"corp/app:1","resources":{"limits":{"nvidia.com/gpu":1}}}"#);
    assert!(found.unread[0].contains("corp/app:1") && found.unread[0].contains("annotations"));
    assert!(!found.engine_named && found.task.is_none());
    assert!(declared(r#"{"name":"c","image":"corp/app:1"}"#).unread.is_empty());
}

mod never_panics;
