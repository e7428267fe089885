use super::*;

/// What is said, and the fields that are then unknown.
fn said(found: &Declaration) -> (String, Vec<&'static str>) {
    (found.unread.join("; "), found.unknown_fields.iter().copied().collect())
}

#[test]
fn files_that_are_not_seen_say_where_they_would_be() {
    let command =
        "deepspeed train.py --model_name_or_path org/m --per_device_train_batch_size 1 --deepspeed /conf/ds.json";
    let (text, fields) = said(&script(command, 2));
    assert!(text.contains("`/conf/ds.json`: a file of the image is not seen here"), "{text}");
    assert_eq!(fields, ["training.precision", "training.sharding"]);
    let mounted = job(command, 2, "volumeMounts: [{name: conf, mountPath: /conf}],", "");
    assert!(said(&mounted).0.contains("the ConfigMap `conf` that holds it is not known here"), "{:?}", mounted.unread);
    let (text, fields) = said(&with_config("axolotl train /conf/a.yml", 2, "b.yml", ""));
    assert!(text.contains("the ConfigMap `conf` has no key for it") && fields == ["arguments"], "{text} {fields:?}");
    let (text, fields) = said(&script("tune run full_finetune_distributed --config my_config", 2));
    assert!(text.contains("`my_config`") && fields.contains(&"arguments"), "{text} {fields:?}");
}

#[test]
fn malformed_files_are_named_with_the_line() {
    for (file, text, command, place) in [
        (
            "ds.json",
            "{\"zero_optimization\":\n {\"stage\": ]}",
            "torchrun t.py --deepspeed /conf/ds.json --gradient_checkpointing",
            "line 2",
        ),
        ("a.yml", "a: 1\nb: [", "axolotl train /conf/a.yml", "line"),
        ("l.toml", "[model]\nname = \n", "torchrun -m torchtitan.train --job.config_file /conf/l.toml", "line 2"),
        ("a.yml", "- a\n- b\n", "axolotl train /conf/a.yml", "holds no settings"),
        ("a.yml", "", "axolotl train /conf/a.yml", "holds no settings"),
    ] {
        let found = with_config(command, 1, file, text);
        let (said, fields) = said(&found);
        assert!(
            said.contains(&format!("`/conf/{file}`")) && said.contains(place) && !fields.is_empty(),
            "{said} {fields:?}"
        );
    }
}

#[test]
fn malformed_values_are_named_with_file_and_key() {
    let yaml = "base_model: org/m\nmicro_batch_size: many\nsequence_len: {a: 1}\noptimizer: brandnew\nbf16: true\n";
    let (text, fields) = said(&with_config("axolotl train /conf/a.yml", 1, "a.yml", yaml));
    for part in
        ["/conf/a.yml: micro_batch_size: `many`", "/conf/a.yml: sequence_len", "/conf/a.yml: optimizer: `brandnew`"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(fields, ["batchSize", "contextLength", "training.optimizer"]);
    let config = "{\"zero_optimization\": {\"stage\": 7}}";
    let command = "deepspeed t.py --model_name_or_path org/m --gradient_checkpointing --deepspeed /conf/ds.json";
    let (text, fields) = said(&with_config(command, 2, "ds.json", config));
    assert!(text.contains("/conf/ds.json: zero_optimization.stage") && fields == ["training.sharding"], "{text}");
}

#[test]
fn variables_that_are_not_known_lose_one_field_each() {
    let found = script(
        "torchrun --nnodes $NODES --nproc_per_node 8 run_clm.py --per_device_train_batch_size $B --optim adafactor",
        8,
    );
    assert_eq!(said(&found).1, ["batchSize", "parallelism.data"]);
    let templated = "base_model: org/m\nmicro_batch_size: ${BATCH}\n";
    let found = with_config("axolotl train /conf/a.yml", 1, "a.yml", templated);
    assert_eq!(said(&found).1, ["batchSize"], "{found:#?}");
}

#[test]
fn a_launched_script_that_is_not_known_is_not_called_training() {
    let found = script("torchrun --nproc_per_node 8 generate.py --ckpt x", 8);
    assert!(found.task.is_none() && found.unknown_fields.contains("arguments"), "{found:?}");
}

#[test]
fn what_only_mentions_a_launcher_launches_nothing() {
    let found = script("python -m pip install deepspeed && trl sft --model_name_or_path org/m", 1);
    sure(&found);
    assert_eq!(found.training.trainer.as_deref(), Some("trl"));
}

#[test]
fn a_script_of_ones_own_may_divide_in_its_own_way() {
    let annotated = manifest(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, annotations: {vramguard.io/task: training, vramguard.io/model: org/m}},\
          spec: {containers: [{name: c, image: x, command: [torchrun, --nproc-per-node=4, train.py],\
          resources: {limits: {nvidia.com/gpu: 4}}}]}}",
    );
    assert_eq!((annotated.training.sharding, annotated.parallelism.data), (None, 4));
    let own = script("torchrun --nproc-per-node=4 train.py --gradient_accumulation_steps 4 --model_name org/m", 4);
    assert_eq!((own.training.sharding, own.parallelism.data), (None, 4));
}

#[test]
fn annotations_are_stronger_than_files() {
    let found = manifest(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, annotations: {vramguard.io/batch-size: '1', vramguard.io/sharding: fsdp,\
          vramguard.io/stage-layers: '3,1', vramguard.io/projection-rank: '64', vramguard.io/keep-gathered: 'true'}},\
          spec: {containers: [{name: c, image: x, command: [trl, sft, --config, /c/a.yaml], volumeMounts: [{name: c, mountPath: /c}],\
          resources: {limits: {nvidia.com/gpu: 2}}}], volumes: [{name: c, configMap: {name: m}}]}}\n---\n\
         {apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a.yaml: 'per_device_train_batch_size: 4'}}",
    );
    assert_eq!(found.batch_size, Some(1));
    assert!(
        found.notes.iter().any(|note| note.contains("a.yaml: per_device_train_batch_size (4)")),
        "{:?}",
        found.notes
    );
    assert_eq!((found.training.stage_layers.as_slice(), found.training.projection_rank), (&[3, 1][..], Some(64)));
    assert!(found.training.keep_gathered);
}
