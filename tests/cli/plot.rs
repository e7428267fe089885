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
