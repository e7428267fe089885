//! Charts.

use super::support::{Folder, vramguard};

#[test]
fn the_kv_cache_of_llama_2_7b_is_a_straight_line_from_1_to_32_gib() {
    let run = vramguard("plot kv --model meta-llama/Llama-2-7b-hf --batch-size 4 -o -");
    assert_eq!(run.code, 0, "{run}");
    for label in ["1.0", "2.0", "4.0", "8.0", "16.0", "32.0", "Context length, tokens", "KV cache per GPU, GiB"] {
        assert!(run.stdout.lines().any(|line| line.trim() == label), "no label {label}: {run}");
    }
}

#[test]
fn several_models_and_formats_share_a_chart_with_capacities() {
    let run = vramguard(
        "plot kv --model meta-llama/Llama-2-7b-hf --model meta-llama/Llama-3.1-8B-Instruct --kv-cache-dtype fp16 \
         --kv-cache-dtype fp8 --gpu A10 --gpu L40S -o -",
    );
    assert_eq!(run.code, 0, "{run}");
    for label in [
        "Llama-2-7b-hf, fp16",
        "Llama-2-7b-hf, fp8",
        "Llama-3.1-8B-Instruct, fp16",
        "Llama-3.1-8B-Instruct, fp8",
        "A10",
        "22.1 GiB",
        "L40S",
    ] {
        assert!(run.stdout.lines().any(|line| line.trim() == label), "no label {label}");
    }
}

#[test]
fn png_and_svg_files_are_what_their_names_say() {
    let folder = Folder::with(&[]);
    for (name, start) in [("kv.png", b"\x89PNG".as_slice()), ("kv.SVG", b"<svg".as_slice())] {
        let path = folder.path(name);
        let run = vramguard(&format!("plot kv --model meta-llama/Llama-2-7b-hf -o {path}"));
        assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{run}");
        assert!(std::fs::read(&path).unwrap().starts_with(start), "{name}");
    }
}

#[test]
fn impossible_charts_are_refused() {
    let folder = Folder::with(&[]);
    let unknown = vramguard(&format!("plot kv --model meta-llama/Llama-2-7b-hf -o {}", folder.path("kv.gif")));
    assert_eq!(unknown.code, 2, "{unknown}");
    assert!(unknown.stderr.contains("hint: end the file name in .svg or .png"), "{unknown}");
    let nowhere = vramguard("plot kv --model meta-llama/Llama-2-7b-hf -o /nonexistent/kv.png");
    assert_eq!(nowhere.code, 2, "{nowhere}");
    assert!(nowhere.stderr.contains("cannot write /nonexistent/kv.png"), "{nowhere}");
    let backwards = vramguard("plot kv --model meta-llama/Llama-2-7b-hf --from 4096 --to 512 -o -");
    assert_eq!(backwards.code, 2, "{backwards}");
}

#[test]
fn a_breakdown_has_a_bar_for_each_gpu() {
    let run = vramguard(
        "plot breakdown --model meta-llama/Llama-2-7b-hf --batch-size 4 --context-length 4096 --gpu T4 --gpu A10 \
         --gpu L40S -o -",
    );
    assert_eq!(run.code, 0, "{run}");
    for label in ["Tesla-T4", "A10", "L40S", "TOO_BIG", "TIGHT", "FITS", "weights", "kv cache", "12.6", "low to high"] {
        assert!(run.stdout.lines().any(|line| line.trim() == label), "no label {label}: {run}");
    }
    let alone = vramguard("plot breakdown --model meta-llama/Llama-2-7b-hf --engine vllm -o -");
    assert_eq!(alone.code, 0, "{alone}");
    assert!(!alone.stdout.contains("usable on the GPU"), "there is none: {alone}");
}

#[test]
fn a_training_step_has_four_phases() {
    let folder = Folder::with(&[]);
    let flags =
        "--model meta-llama/Llama-2-7b-hf --sharding zero3 --data-parallel 4 --batch-size 4 --context-length 4096";
    let run = vramguard(&format!("plot phases {flags} --gpu A100-80GB -o -"));
    assert_eq!(run.code, 0, "{run}");
    for label in ["loss", "backward start", "backward end", "step", "optimizer", "usable on the GPU"] {
        assert!(run.stdout.lines().any(|line| line.trim() == label), "no label {label}: {run}");
    }
    let path = folder.path("phases.png");
    assert_eq!(vramguard(&format!("plot phases {flags} -o {path}")).code, 0);
    assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn stacked_charts_of_nothing_are_refused() {
    for (flags, said) in [
        ("breakdown --model meta-llama/Llama-2-7b-hf -o b.gif", "image format"),
        ("breakdown --model no/such-model -o -", "no/such-model"),
        ("breakdown --model meta-llama/Llama-2-7b-hf --gpu Z80 -o -", "unknown GPU `Z80`"),
        ("phases --model meta-llama/Llama-2-7b-hf --task inference -o -", "no phases"),
        ("phases --parameters 7b --batch-size 1 --context-length 512 -o -", "known architectures"),
        ("brakedown --model meta-llama/Llama-2-7b-hf -o -", "breakdown"),
    ] {
        let run = vramguard(&format!("plot {flags}"));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run}");
        assert!(run.stderr.contains(said), "{flags}: {run}");
    }
    let gpus = " --gpu A10".repeat(9);
    let many = vramguard(&format!("plot breakdown --model meta-llama/Llama-2-7b-hf{gpus} -o -"));
    assert_eq!(many.code, 2, "{many}");
}

#[test]
fn a_sweep_marks_the_most_that_surely_fits() {
    let flags = "--model meta-llama/Llama-3.1-8B-Instruct --engine vllm --engine-version 0.19.0";
    let run = vramguard(&format!("plot context {flags} --gpu A10 --gpu L4 --gpu L40S -o -"));
    assert_eq!(run.code, 0, "{run}");
    let solved = |gpu: &str| {
        let solved = vramguard(&format!("estimate {flags} --gpu {gpu} --solve context -o json")).json();
        solved["solutions"][0]["value"].as_str().unwrap().to_owned()
    };
    for label in
        [solved("A10"), solved("L4"), "Context length, tokens".to_owned(), "L40S".to_owned(), "131072".to_owned()]
    {
        assert!(run.stdout.lines().any(|line| line.trim() == label), "no label {label}");
    }
    let trained = "--model meta-llama/Llama-2-7b-hf --task training --context-length 2048 --checkpointing full";
    let batch = vramguard(&format!("plot batch {trained} --to 8 -o -"));
    assert_eq!(batch.code, 0, "{batch}");
    assert!(batch.stdout.contains("Micro-batch"), "{batch}");
    for (flags, said) in [
        (format!("context {flags} --to 1 -o -"), "at least two points"),
        (format!("context {flags} --gpu Z80 -o -"), "unknown GPU `Z80`"),
        (format!("batch {flags} --to 0 -o -"), "at least 1"),
        (format!("batch {flags} --tensor-parallel 3 -o -"), "does not divide"),
    ] {
        let refused = vramguard(&format!("plot {flags}"));
        assert_eq!(refused.code, 2, "{refused}");
        assert!(refused.stderr.contains(said), "{refused}");
    }
}
