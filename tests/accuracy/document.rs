//! `docs/accuracy.md` is written by the tests and must not go stale.

use std::fs;

const HEAD: &str = "\
# Accuracy

Written by `UPDATE=1 cargo test --test accuracy`; the same test fails when the figures move. Every figure is a mean
absolute percentage error over rows of [tests/data](../tests/data/README.md), with the median, the worst row, and, where
an interval is given, how many measurements lie inside and how wide it is at the median. Start-ups that differ in the
context length alone count once. The rules were fitted with these rows in view, so expect somewhat worse on others. No
rule names a row or a model.

";

const PEERS: &str = "\
What aiconfigurator answered is in [tests/data](../tests/data/README.md). The other lines are formulas, evaluated on the
same rows: those of tools are given the measured weights, which flatters them; the last two are what everybody knows, and
show what the rest of the estimate is worth.

";

const SINGLE: &str = "\
Arithmetic on the public config is the truth here: weights as stored, cache as kept, divided and replicated over the
ranks. Tools answer for different models; whole-model tools are held against whole models.

";

const VERSIONS: &str = "\
Logs quoted in public issues, of models that they name. What depends on the card is compared where the log has its memory;
rows that do not tell how the weights are stored are left out.

";

const ENGINES: &str = "\
Of Ollama no row names model, settings and memory together.

";

const CONSTANTS: &str = "\
Neither a model's shape nor an engine's source gives these. Those with rows are refitted by the test, which fails when the
value in the source is further from the refit than the tolerance. Shares of work are of activations, logits and
transients. What the driver keeps of a device is a line through a table of logs, and refitted beside it.

";

const HELD_OUT: &str = "\
The profile run's constants again, fitted without the architecture that they are then judged on (tunes and quantizations
of one model are left out together), and the shares that training allocators hold, fitted without the model: the
difference between the lines is what it costs to be new.

";

const ANNOTATED: &str = "\
The second block are the same rows as pods, read as `check` reads them, with annotations alone: the main fields are task,
model, lengths, ranks, optimizer, precision, sharding, checkpointing, loss, adapters, quantization, accumulation and
offload. Models that the catalogue does not have are left out. Below low are runs that finished and that the whole of
`required.low` would have forbidden, whichever counter was read.

";

const TRAINING: &str = "\
No run that finished was measured below the lower bound, on which alone a denial rests, but for rows that contradict
themselves: they hold less than their bare states on the GPUs that they claim, and count in the error. Where rows leave
something unsaid, the comparison assumes it: one node of eight GPUs for distributed optimizers without a world size,
unfused attention in Megatron's oldest environments, a micro-batch of one for pipelines that give a batch per rank. Without
the second assumption the error of the Megatron rows is 5.6 %.
";

fn page() -> String {
    let block = |lines: Vec<String>| format!("```text\n{}\n```\n\n", lines.join("\n"));
    let mut page = HEAD.to_owned();
    let table = crate::sample::table;
    page.push_str("## Goals\n\n");
    page.push_str(&block(crate::targets::table()));
    page.push_str("## vLLM, one version and card\n\n");
    page.push_str(&block(table(crate::serving::ENGINE, &crate::serving::samples())));
    page.push_str("## Others on the same start-ups\n\n");
    page.push_str(&block(crate::peers::table()));
    page.push_str(PEERS);
    page.push_str("## Others on single models\n\n");
    page.push_str(&block(crate::single::table()));
    page.push_str(SINGLE);
    page.push_str("## vLLM, many versions and cards\n\n");
    page.push_str(&block(table(crate::vllm_versions::ENGINE, &crate::vllm_versions::measure().samples)));
    page.push_str(VERSIONS);
    page.push_str("## Other serving engines\n\n");
    let others = crate::engines::measure().samples;
    let known = crate::engines::ENGINES.iter().filter(|engine| others.iter().any(|s| s.engine == **engine));
    page.push_str(&block(known.flat_map(|engine| table(engine, &others)).collect()));
    page.push_str(ENGINES);
    page.push_str("## Constants\n\n");
    page.push_str(&block(crate::constants::table()));
    page.push_str(CONSTANTS);
    page.push_str("## Models that the fit did not see\n\n");
    page.push_str(&block([vec!["vLLM 0.19, H100".to_owned()], crate::profile::table()].concat()));
    page.push_str(&block(
        [vec!["training, what the allocator holds".to_owned()], crate::constants::training_table()].concat(),
    ));
    page.push_str(HELD_OUT);
    page.push_str("## Training\n\n");
    page.push_str(&block(crate::training::table()));
    page.push_str(&block(crate::annotated::table()));
    page.push_str(ANNOTATED);
    page.push_str(&block(crate::megatron::table()));
    page.push_str(&block(crate::megatron_pods::table()));
    page.push_str(TRAINING);
    page
}

#[test]
fn the_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/accuracy.md");
    let wanted = page();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, &wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "docs/accuracy.md is stale: run UPDATE=1 cargo test --test accuracy");
}
