//! Settings of serving engines, flag by flag.

use super::*;

#[test]
fn vllms_graphs_towers_and_chunks() {
    for (flags, batch, eager) in [
        ("--max-cudagraph-capture-size 64", Some(64), false),
        ("--cudagraph-capture-sizes 1 2 128 4", Some(128), false),
        ("--compilation-config '{\"cudagraph_capture_sizes\":[8,256]}'", Some(256), false),
        ("-O.cudagraph_capture_sizes=[8,16]", Some(16), false),
        ("-cc.cudagraph_mode=NONE", None, true),
        ("-O0", None, true),
        ("-O3", None, false),
        ("-O 0", None, true),
    ] {
        let found = shell(&format!("vllm serve {flags} --model org/m"));
        assert_eq!((found.engine.graph_batch, found.engine.enforce_eager), (batch, eager), "{flags}");
        assert!(model(&found) == Some("org/m") && found.unread.is_empty(), "{flags}: {:?}", found.unread);
    }
    for (flags, text_only) in [
        ("--language-model-only", true),
        ("--limit-mm-per-prompt '{\"image\":0,\"video\":{\"count\":0}}'", true),
        ("--limit-mm-per-prompt image=0,video=0", true),
        ("--limit-mm-per-prompt.image=0 --limit-mm-per-prompt.video=1", false),
        ("--limit-mm-per-prompt '{\"image\":2}'", false),
    ] {
        assert_eq!(shell(&format!("vllm serve org/m {flags}")).engine.text_only, text_only, "{flags}");
    }
    let chunks = shell("VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 vllm serve org/m --no-enable-chunked-prefill");
    assert_eq!((chunks.engine.chunked_prefill, chunks.engine.allow_long_context), (Some(false), true));
    assert!(shell("VLLM_USE_V1=0 vllm serve org/m").unknown_fields.contains("arguments"));
    assert!(shell("vllm serve org/m --disable-hybrid-kv-cache-manager").engine.full_window_cache);
    let mtp = shell("vllm serve org/m --speculative-config.method=mtp --speculative-config.num_speculative_tokens=3");
    assert_eq!(mtp.engine.speculative_tokens, 3, "parts of one object are joined");
}

#[test]
fn sglangs_pools() {
    let found = shell(
        "python3 -m sglang.launch_server --model org/m --max-total-tokens 50000 --cuda-graph-max-bs 64 \
         --disable-hybrid-swa-memory --swa-full-tokens-ratio 0.4 --mamba-full-memory-ratio 1.2 --max-mamba-cache-size 38",
    );
    let engine = &found.engine;
    assert_eq!((engine.max_total_tokens, engine.graph_batch, engine.state_slots), (Some(50_000), Some(64), Some(38)));
    assert_eq!((engine.window_pool_ratio, engine.state_pool_ratio), (Some(0.4), Some(1.2)));
    assert!(engine.full_window_cache && found.unread.is_empty(), "{:?}", found.unread);
    assert_eq!(shell("sglang serve --model org/m --cuda-graph-bs 1 2 48").engine.graph_batch, Some(48));
    assert!(
        shell("sglang serve --model org/m --max-total-tokens $SECRET").unknown_fields.contains("engine.maxTotalTokens")
    );
}

#[test]
fn tgis_pool_and_graphs() {
    let found = declared(
        r#"{"name":"c","image":"ghcr.io/huggingface/text-generation-inference:3.3.4","args":["--max-batch-total-tokens=60000"],
        "env":[{"name":"MODEL_ID","value":"org/m"},{"name":"CUDA_GRAPHS","value":"1,2,16"}]}"#,
    );
    assert_eq!((found.engine.max_total_tokens, found.engine.graph_batch), (Some(60_000), Some(16)));
    assert!(shell("text-generation-launcher --model-id org/m --cuda-graphs 0").engine.enforce_eager);
}

#[test]
fn llama_cpps_layers_slots_and_batch() {
    let found = shell("LLAMA_ARG_FIT=off llama-server -m a.gguf -ngl 99 -np 4 -ub 1024 --swa-full");
    let engine = &found.engine;
    assert_eq!((engine.gpu_layers, engine.parallel_slots, engine.ubatch), (Some(99), Some(4), Some(1024)));
    assert_eq!((engine.fit, engine.full_window_cache), (Some(false), true));
    assert_eq!(shell("llama-server -m a.gguf -ngl all").engine.gpu_layers, Some(u64::MAX));
    assert_eq!(shell("llama-server -m a.gguf -ngl auto -np -1").engine, shell("llama-server -m a.gguf").engine);
    for flags in ["-ngl 99 --cpu-moe", "-ngl 99 -ot exps=CPU", "-ncmoe 20", "--no-kv-offload"] {
        let found = shell(&format!("llama-server -m a.gguf {flags}"));
        assert!(found.unknown_fields.contains("engine.cpuOffload"), "{flags}");
    }
}

#[test]
fn a_file_that_the_script_writes_is_read() {
    let options = "kv_cache_config:\n  free_gpu_memory_fraction: 0.7\n  max_tokens: 4096\n  dtype: fp8\n\
                   cuda_graph_config:\n  max_batch_size: 16\nmax_seq_len: 2048\n";
    let found = shell(&format!(
        "cat > /tmp/o.yaml <<'EOF'\n{options}EOF\ntrtllm-serve org/m --max_seq_len 9999 --extra_llm_api_options /tmp/o.yaml"
    ));
    assert_eq!(found.context_length, Some(2048), "the file wins over flags");
    let engine = &found.engine;
    assert_eq!(
        (engine.memory_fraction, engine.max_total_tokens, engine.graph_batch),
        (Some(0.7), Some(4096), Some(16))
    );
    assert!(found.kv_cache_dtype == Some(DType::Fp8) && found.unread.is_empty(), "{:?}", found.unread);
    let vllm = shell(
        "echo 'max-model-len: 4k' > c.yaml; echo other > d; vllm serve org/m --config c.yaml -tp 2 2>&1 | tee log",
    );
    assert_eq!((vllm.context_length, vllm.parallelism.tensor), (Some(4000), 2));
    assert!(vllm.unread.is_empty(), "{:?}", vllm.unread);
    let weaker = shell("echo 'max_model_len: 4k' > c.yaml\nvllm serve org/m --max-model-len 8k --config c.yaml");
    assert_eq!(weaker.context_length, Some(8000), "flags win over vLLM's file");
    for script in [
        "trtllm-serve org/m --config /etc/x.yaml",
        "cat > x.yaml <<EOF\nmax_seq_len: $LEN\nEOF\ntrtllm-serve org/m --config x.yaml",
        "if [ -f y ]; then echo 'max_seq_len: 1' > x.yaml; fi; trtllm-serve org/m --config x.yaml",
        "echo 'speculative_config: {decoding_type: MTP}' > x.yaml; trtllm-serve org/m --config x.yaml",
    ] {
        assert!(shell(script).unknown_fields.contains("arguments"), "{script}");
    }
}
