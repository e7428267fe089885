#!/usr/bin/env python3
"""Writes the embedded catalogues (data/*.tsv) and tests/data/parameters.jsonl from the collected rows.

Usage: data/compact.py MODELS.json RECALLED.json GPUS.json INSTANCES.json MIG.json, from the root of the repository

Each input is a JSON list of rows with `hf_id`, `source`, `config` (keys of the model's config.json), `params_total`,
`params_mtp` and `kv`. What never changes a size is dropped, long ignore lists are shortened to the layers they name.
"""

import json
import sys

NEUTRAL = (
    "token", "dropout", "rope_theta", "rope_local", "beam", "penalty", "pdrop", "summary", "eps", "epsilon", "act",
    "init", "temperature", "scal", "typical", "return", "output_", "prefix", "pruned", "label", "hc_sinkhorn",
    "grid", "topk", "router", "swiglu", "projector_hidden", "_attentions", "softmax", "chunk_size_feed", "do_sample",
    "min_length", "max_length", "torchscript", "task", "problem", "early", "ngram", "bos", "eos", "decoder_start",
    "top_k", "top_p", "producer", "observer", "image_process", "process_image", "mup_", "blocksparse", "time_step_f",
    "time_step_m", "time_step_l", "use_cache", "rotary", "norm_topk", "n_group", "suppress", "bad_words", "logits",
)
KEEP = (
    "time_step_rank", "rope_scaling", "rope_parameters", "factor", "num_experts_per_tok", "num_experts_per_token",
    "final_logit_softcapping", "top_k_experts", "experts_per_token", "n_groups", "use_gemma_norm", "num_key_value_heads",
    "attention_chunk_size", "multi_query_group_num", "_index", "routed_expert_hidden_size", "shared_experts",
    "quantized_layers", "activation_scheme", "image_token_compression_config", "img_token_compression_config",
    "kv_cache_scheme", "interleave", "position_embedding_size", "num_hidden_layers", "factor", "max_position_embeddings",
    "original_max_position_embeddings", "intermediate_layers_indices", "deepstack_visual_indexes", "init_pos_emb_height",
    "init_pos_emb_width", "supported_aspect_ratios", "use_routing_bias", "moe_latent_size", "quant_algo",
    "moe_top_k", "model_max_length", "topk_method", "projector_hidden_size", "mamba_n_groups", "use_moe_router_bias", "attn_output_gate", "attention_output_gate", "vision_output_dim",
    "projector_output_dim", "mla_use_output_gate", "output_activations",
)
ROPE = ("factor", "rope_type", "type", "original_max_position_embeddings")


def keep(key):
    return key in KEEP or not any(part in key for part in NEUTRAL)


def compact(value, key=""):
    if key in ("rope_scaling", "rope_parameters") and isinstance(value, dict):
        return {k: v for k, v in value.items() if k in ROPE} or None
    if isinstance(value, dict):
        if "_list_len" in value or "_dict_len" in value:
            return value
        if key == "quantized_layers" and len(value) > 16:
            names = sorted(value)[:12]
            return {"_dict_len": len(value), "first": {n: value[n] for n in names}}
        kept = {}
        for k, v in value.items():
            v = compact(v, k)
            switched_off = v is None and k != "q_lora_rank" or v == [] or v == {}
            if keep(k) and not switched_off:
                kept[k] = v
        return kept
    if isinstance(value, list) and key in ("ignore", "modules_to_not_convert", "exclude_modules", "targets") and len(value) > 24:
        return {"_list_len": len(value), "first": value[:12]}
    return value


def name_the_experts(entry):
    """Lists of mixed precision that were cut before any expert was named: the repository's name says what they are."""
    for quantization in (entry["config"].get("quantization_config"), entry["config"].get("_hf_quant_config", {}).get("quantization")):
        if not quantization or quantization.get("quant_algo") != "MIXED_PRECISION" or "moe_quant_algo" in quantization:
            continue
        layers = quantization.get("quantized_layers", {})
        if "_dict_len" in layers and "NVFP4" in entry["id"] and layers["_dict_len"] > 1000:
            quantization["moe_quant_algo"] = "NVFP4"


def gemma_3_positions(entry):
    """MaxText writes 163840 positions where the published configs have none: transformers' default is 131072, which the
    rotary tables of measured servers agree with (8.58 GiB of weights for 4B)."""
    text = entry["config"].get("text_config", {})
    if text.get("model_type") == "gemma3_text" and text.get("max_position_embeddings") == 163840:
        text["max_position_embeddings"] = 131072


def write(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write("\t".join("" if cell is None else str(cell) for cell in row) + "\n")


def gpus(path, mig):
    """Product, other names, MiB that NVML reports, compute capability, confidence, source; MIG slices as products."""
    with open(path, encoding="utf-8") as file:
        products = json.load(file)["products"]
    with open(mig, encoding="utf-8") as file:
        profiles = json.load(file)["profiles"]
    rows, capability = [], {}
    for row in products:
        product = row["gfd_product"] or row["nvml_name"]
        names = [row["nvml_name"], *row["aliases"]]
        capability[product] = row["compute_capability"]
        rows.append((product, ",".join(names), row["memory_mib"], row["compute_capability"], row["confidence"], row["source"]))
    for row in profiles:
        for product in row["gfd_products"]:
            name = f"{product}-MIG-{row['profile']}"
            other = name.replace("+", ".")
            names = other if other != name else ""
            rows.append((name, names, row["memory_mib"], capability.get(product), row["memory_kind"], row["source"]))
    write("data/gpus.tsv", rows)


def instances(path):
    """Instance type, product, devices of the resource, resource, MiB per device where it is a fraction, source."""
    with open(path, encoding="utf-8") as file:
        types = json.load(file)["instance_types"]
    rows = []
    for row in types:
        if row["resource_count"] is None:
            continue
        fraction = row["vendor_memory_mib_per_gpu"] if row["gpu_fraction"] else None
        rows.append((row["instance_type"].lower(), row["gpu_product"], row["resource_count"], row["resource"],
                     fraction, "fraction" if row["gpu_fraction"] else "whole", row["source"]))
    write("data/instances.tsv", sorted(rows))


def published_in_fp8(entry):
    """The files are fp8 (4.35 GiB for 3.85 billion parameters); the collected config leaves the quantization out."""
    if entry["id"] == "mistralai/Ministral-3-3B-Instruct-2512":
        kept = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
        entry["config"]["quantization_config"] = {"modules_to_not_convert": kept, "quant_method": "fp8"}
        entry["config"] = dict(sorted(entry["config"].items()))


def main():
    gpus(sys.argv[3], sys.argv[5])
    instances(sys.argv[4])
    rows, expected = {}, []
    for path, recalled in ((sys.argv[1], False), (sys.argv[2], True)):
        with open(path, encoding="utf-8") as file:
            for row in json.load(file):
                entry = {"id": row["hf_id"], "source": row["source"], "config": compact(row["config"])}
                name_the_experts(entry)
                gemma_3_positions(entry)
                published_in_fp8(entry)
                if recalled:
                    entry["recalled"] = True
                rows[row["hf_id"].lower()] = entry
                kv = row.get("kv") or {}
                expected.append({
                    "id": row["hf_id"], "total": row["params_total"], "mtp": row.get("params_mtp"),
                    "breakdown": row.get("params_breakdown"),
                    "kv": {k: v for k, v in kv.items() if k in ("full_elems_per_token", "sliding", "cross", "state_per_sequence")},
                })
    with open("data/models.tsv", "w", encoding="utf-8") as out:
        for key in sorted(rows):
            out.write(key + "\t" + json.dumps(rows[key], separators=(",", ":"), ensure_ascii=False) + "\n")
    expected.sort(key=lambda row: row["id"].lower())
    with open("tests/data/parameters.jsonl", "w", encoding="utf-8") as out:
        for row in expected:
            out.write(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n")


main()
