//! Logs whose numbers follow to the integer once the pool is known: blocks, tokens and concurrency of whole models.

use serde_json::Value;
use vramguard::estimate::dtype::DType;
use vramguard::estimate::workload::{
    Engine, EngineName, Method, ModelFacts, Parallelism, Task, Training, Version, Workload,
};
use vramguard::estimate::{Bytes, Device, ServingDetail, estimate};
use vramguard::facts::catalog::Catalog;

use crate::serving;

/// A start-up with a pool of a known size.
struct Log {
    model: &'static str,
    version: [u16; 3],
    tensor: u64,
    cache: Option<DType>,
    context: u64,
    block: Option<u64>,
    batched: Option<u64>,
    pool: Bytes,
    tokens: u64,
    concurrency: &'static str,
    /// Prefixes of recurrent states are cached, as these start-ups asked or their version did by itself.
    prefixes: Option<bool>,
}

const fn gib(hundredths: u64) -> Bytes {
    Bytes(hundredths * (1 << 30) / 100)
}

const LOGS: [Log; 6] = [
    // Blocks of 2096 tokens, four groups of ten layers, 304 blocks; 32 blocks a request and two states a group.
    Log {
        model: "Qwen/Qwen3.5-35B-A3B",
        version: [0, 17, 0],
        tensor: 1,
        cache: Some(DType::Fp8),
        context: 65_536,
        block: None,
        batched: None,
        pool: gib(608),
        tokens: 159_296,
        concurrency: "8.00x",
        prefixes: Some(true),
    },
    // 284 blocks; 16 blocks a request.
    Log {
        model: "Qwen/Qwen3.5-35B-A3B",
        version: [0, 17, 0],
        tensor: 1,
        cache: Some(DType::Fp8),
        context: 32_768,
        block: None,
        batched: None,
        pool: gib(569),
        tokens: 148_816,
        concurrency: "12.91x",
        prefixes: Some(true),
    },
    // Blocks of 544 tokens, 16-bit states, one a group: 7162 blocks.
    Log {
        model: "Qwen/Qwen3-Next-80B-A3B-Instruct",
        version: [0, 11, 0],
        tensor: 2,
        cache: None,
        context: 262_144,
        block: None,
        batched: None,
        pool: gib(4459),
        tokens: 973_760,
        concurrency: "14.77x",
        prefixes: None,
    },
    // Blocks of 784 tokens: 408 blocks, 341 a request, counted by concurrency.
    Log {
        model: "Qwen/Qwen3.5-27B",
        version: [0, 28, 0],
        tensor: 1,
        cache: None,
        context: 262_144,
        block: None,
        batched: None,
        pool: gib(1954),
        tokens: 313_650,
        concurrency: "1.20x",
        prefixes: Some(true),
    },
    // The same blocks with a cache of half the width hold twice the tokens, 1568: states are padded by 0.13 %.
    Log {
        model: "Qwen/Qwen3.5-27B",
        version: [0, 17, 0],
        tensor: 1,
        cache: Some(DType::Fp8),
        context: 262_144,
        block: None,
        batched: None,
        // 400 blocks of 16 layers of 1568 tokens of 2048 bytes; four groups.
        pool: Bytes(400 * 16 * 1568 * 2048),
        tokens: 156_800,
        concurrency: "2.30x",
        prefixes: Some(true),
    },
    // 2127 blocks of 64 tokens (3.12 GiB), 2115 a request: 2048 of full attention, 67 of windows.
    Log {
        model: "openai/gpt-oss-20b",
        version: [0, 28, 0],
        tensor: 1,
        cache: None,
        context: 131_072,
        block: Some(64),
        batched: Some(4096),
        pool: Bytes(2127 * 12 * 64 * 2048),
        tokens: 131_815,
        concurrency: "1.01x",
        prefixes: None,
    },
];

fn served(log: &Log) -> ServingDetail {
    let workload = Workload {
        task: Task::Inference,
        model: ModelFacts::Known(Catalog::embedded().find(log.model).unwrap()),
        parallelism: Parallelism { tensor: log.tensor, ..Parallelism::default() },
        dtype: None,
        quantization: None,
        kv_cache_dtype: log.cache,
        context_length: Some(log.context),
        batch_size: None,
        engine: Engine {
            name: EngineName::Vllm,
            version: Some(Version(log.version)),
            kv_cache_memory: Some(log.pool),
            block_size: log.block,
            max_num_batched_tokens: log.batched,
            prefix_caching: log.prefixes,
            ..Engine::default()
        },
        training: Training::default(),
        method: Method::Auto,
    };
    let device = Device { product: String::new(), visible: Bytes::from_gib(139.8), compute_capability: None };
    estimate(&workload, &device).unwrap().serving.unwrap()
}

#[test]
fn hybrid_pools_are_counted_to_the_integer() {
    for log in &LOGS {
        let serving = served(log);
        assert_eq!(serving.kv_tokens, log.tokens, "{} of {}", log.model, log.context);
        let said = serving.expected_log.iter().any(|line| line.contains(&format!(" {}", log.concurrency)));
        assert!(said, "{}: {:?} says no {}", log.model, serving.expected_log, log.concurrency);
    }
}

/// The tokens of a measured start-up, had it been given a pool.
fn with_pool(row: &Value, gib: f64) -> Option<u64> {
    let pool = format!("--kv-cache-memory-bytes={}", Bytes::from_gib(gib).0);
    Some(serving::evaluated(row, &[pool]).estimate?.serving?.kv_tokens)
}

/// Every logged number of tokens follows from the logged pool, whose two decimals leave a little room.
#[test]
fn tokens_follow_from_the_pool() {
    let (mut count, mut wrong) = (0, Vec::new());
    for run in serving::runs().iter().filter(|run| !run.pipeline()) {
        let (pool, logged) = (run.number("kv_cache_memory_gib"), run.number("kv_cache_tokens") as u64);
        let at = |gib: f64| with_pool(&run.row, gib);
        let (Some(least), Some(most)) = (at(pool - 0.0051), at(pool + 0.0051)) else { continue };
        count += 1;
        if !(least..=most).contains(&logged) {
            wrong.push(format!("{}: {logged} outside {least} to {most}", run.label));
        }
    }
    assert!(count >= 40 && wrong.is_empty(), "{wrong:#?} of {count}");
}
