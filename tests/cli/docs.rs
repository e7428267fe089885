//! Pages that must not go stale: README, examples in help texts, the command reference, the schema.

use serde_json::Value;
use vramguard::spec::kinds::{KINDS, Shape};

use std::fmt::Write as _;

use super::support::{generated, root, vramguard, vramguard_args, without_reader};

const COMMANDS: [&str; 13] = [
    "estimate",
    "explain",
    "check",
    "plot kv",
    "plot breakdown",
    "plot phases",
    "plot context",
    "plot batch",
    "models",
    "gpus",
    "serve",
    "schema",
    "completions",
];

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// Fenced blocks of a language: their text with the line on which they start, from 0.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<(usize, Vec<&'a str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Vec<&str>, bool)> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(name)) => open = Some((number + 1, Vec::new(), name == language)),
            (Some(_), Some(_)) => {
                if let Some((start, lines, true)) = open.take() {
                    blocks.push((start, lines));
                }
            }
            (Some((_, lines, _)), None) => lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The program's arguments in a command line of the README, if it runs the program.
fn arguments(command: &str) -> Option<Vec<&str>> {
    let rest = ["cargo run --release -- ", "vramguard "].iter().find_map(|start| command.strip_prefix(start))?;
    Some(rest.split_whitespace().collect())
}

/// What a terminal shows of a command: both streams, and the exit code where it is not zero.
fn transcript(command: &str) -> String {
    let arguments = arguments(command).unwrap_or_else(|| panic!("cannot run `{command}`"));
    let run = vramguard_args(&arguments);
    let exit = if run.code == 0 { String::new() } else { format!("(exit code {})\n", run.code) };
    format!("$ {command}\n{}{}{exit}", run.stderr, run.stdout)
}

#[test]
fn transcripts_in_the_readme_are_what_the_program_prints() {
    let page = readme();
    let mut wanted = page.clone();
    let found = blocks(&page, "console");
    assert!(!found.is_empty());
    for (_, lines) in found {
        let shown = lines.join("\n") + "\n";
        let commands = lines.iter().filter_map(|line| line.strip_prefix("$ "));
        let real: String = commands.map(transcript).collect();
        wanted = wanted.replacen(&shown, &real, 1);
    }
    generated("README.md", &wanted);
}

#[test]
fn other_commands_in_the_readme_have_flags_and_paths_that_exist() {
    let page = readme();
    for (_, lines) in blocks(&page, "sh") {
        for command in lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let command = command.split(" #").next().unwrap().trim();
            for word in command.split_whitespace() {
                let word = word.split('=').next_back().unwrap();
                let mine = ["examples/", "charts/", "manifests/", "tests/", "docs/", ".ci/"];
                if mine.iter().any(|start| word.starts_with(start)) {
                    assert!(root().join(word).exists(), "`{command}`: no {word}");
                }
            }
            let piped = command.split(" | ").filter_map(arguments);
            for mut arguments in
                piped.map(|words| words.into_iter().take_while(|word| *word != ">").collect::<Vec<_>>())
            {
                arguments.push("--help");
                let run = vramguard_args(&arguments);
                assert_eq!(run.code, 0, "`{command}`: {run}");
            }
        }
    }
}

#[test]
fn links_in_the_readme_lead_somewhere() {
    for page in ["README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let there = root().join(page).parent().unwrap().join(file);
            assert!(target.starts_with("http") || file.is_empty() || there.exists(), "{page}: {target}");
        }
    }
}

#[test]
fn the_command_reference_is_current() {
    let mut page =
        "# Command line\n\nGenerated from `--help`; `UPDATE=1 cargo test --test cli` rewrites it.\n".to_owned();
    for command in std::iter::once("").chain(COMMANDS) {
        let help = vramguard(&format!("{command} --help"));
        assert_eq!(help.code, 0, "{help}");
        let title = if command.is_empty() { "vramguard".to_owned() } else { format!("vramguard {command}") };
        let help: String = help.stdout.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        write!(page, "\n## {title}\n\n```text\n{help}```\n").unwrap();
    }
    generated("docs/cli.md", &page);
}

#[test]
fn the_annotation_reference_is_current() {
    generated("docs/annotations.md", &vramguard::spec::annotations::reference::markdown());
}

#[test]
fn the_reason_codes_are_current() {
    let mut page = "# Reason codes\n\nGenerated; `UPDATE=1 cargo test --test cli` rewrites it.\n\n\
         Stable codes of `reason` in results and of `refusals` in estimates: why a workload does not fit or its engine would \
         not start. An engine's own check is only held against a workload where version and settings make it \
         certain.\n\n| code | meaning |\n|---|---|\n"
        .to_owned();
    for (code, meaning) in vramguard::estimate::refusal::REASONS {
        writeln!(page, "| `{code}` | {meaning} |").unwrap();
    }
    generated("docs/reasons.md", &page);
}

#[test]
fn the_published_schema_is_current() {
    generated("docs/schema/check-result.schema.json", &vramguard("schema").stdout);
}

#[test]
fn the_definitions_of_the_chart_are_current() {
    for definition in vramguard::facts::profile::crd::definitions() {
        let name = definition["metadata"]["name"].as_str().unwrap();
        let text = serde_saphyr::to_string(&definition).unwrap();
        let head = "# Made from src/facts/profile; `UPDATE=1 cargo test --test cli` rewrites it.\n";
        generated(&format!("charts/vramguard/files/crds/{name}.yaml"), &format!("{head}{text}"));
    }
}

#[test]
fn the_list_of_kinds_is_current() {
    const HEAD: &str = "\
# Workload kinds

Generated from the table in `src/spec/kinds/table.rs`; `UPDATE=1 cargo test --test cli` rewrites it.

`check` finds pod templates at these places. *made* means that a controller makes the pod from what lies there: the
template that is judged is written down from the object (a model's address becomes the server's argument, a preset its
command). Objects of other kinds are searched for what looks like a pod template: a list of containers with a name and
an image. The webhook is asked about the same kinds (`webhooks.validating.customKinds` of the chart), and at last about
every pod.

| API group | kind | places |
|---|---|---|
";
    let mut page = HEAD.to_owned();
    for row in KINDS {
        let places: Vec<String> = row
            .parts
            .iter()
            .map(|part| match (part.path, part.shape) {
                ("", Shape::Made(_)) => "the object, made".to_owned(),
                ("", _) => "the object".to_owned(),
                (path, Shape::Made(_)) => format!("`{path}`, made"),
                (path, _) => format!("`{path}`"),
            })
            .collect();
        let places = if places.is_empty() { "none: completed by other objects".to_owned() } else { places.join("; ") };
        let group = if row.group.is_empty() { "core" } else { row.group };
        writeln!(page, "| {group} | {} | {places} |", row.kind).unwrap();
    }
    generated("docs/kinds.md", &page);
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = vramguard(&format!("completions {shell}"));
        assert_eq!(run.code, 0, "{run}");
        assert!(run.stdout.contains("kv-cache-dtype"), "{shell}");
    }
}

#[test]
fn catalogues_can_be_searched() {
    let models = vramguard("models llama-2-7b");
    assert!(models.stdout.contains("meta-llama/Llama-2-7b-hf") && models.stdout.contains("6.74 B"), "{models}");
    let gpus = vramguard("gpus l40s -o json");
    let visible = gpus.json()[0]["visibleBytes"].as_u64().unwrap();
    assert!((44 << 30..45 << 30).contains(&visible), "{gpus}");
    let nothing = vramguard("models no-such-model-anywhere");
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, ""), "{nothing}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for command in ["models", "gpus -o json", "check -f examples/ --nodes examples/nodes.yaml", "schema"] {
        assert_eq!(without_reader(command), (Some(0), String::new()), "{command}");
    }
}

/// Where a value departs from a schema, by the keywords that the generated one uses; empty if nowhere.
fn departures(schema: &Value, root: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"));
        return departures(target, root, value, place);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[keyword].as_array() {
            let all: Vec<_> = choices.iter().map(|choice| departures(choice, root, value, place)).collect();
            return if all.iter().any(Vec::is_empty) { Vec::new() } else { all.concat() };
        }
    }
    let mut wrong = Vec::new();
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    if !types.is_empty() && !types.iter().any(|kind| is(kind)) {
        wrong.push(format!("{place}: {value} is none of {types:?}"));
    }
    let constant = schema.get("const").is_some_and(|only| only != value);
    if constant || schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        wrong.push(format!("{place}: {value} is not allowed"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            wrong.push(format!("{place}: `{name}` is missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(property) => wrong.extend(departures(property, root, inner, &format!("{place}.{name}"))),
            None if schema["properties"].is_object() => wrong.push(format!("{place}: `{name}` is not described")),
            None => {}
        }
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        wrong.extend(departures(&schema["items"], root, inner, &format!("{place}[{index}]")));
    }
    wrong
}

#[test]
fn what_check_prints_is_what_the_schema_describes() {
    let schema = vramguard("schema").json();
    let examples = vramguard("check -f examples/ --nodes examples/nodes.yaml -o json").json();
    let partly = super::support::check("kind: [\n---\n{kind: Pod, apiVersion: v1, metadata: {name: p}, spec: {containers: [{name: c, image: x, resources: {limits: {nvidia.com/gpu: 1}}}]}}\n", "-o json").json();
    assert_eq!(partly["errors"].as_array().map(Vec::len), Some(1), "{partly}");
    let mut solved =
        vramguard("estimate --model meta-llama/Llama-3.1-8B-Instruct --engine vllm --gpu A10 --solve all -o json")
            .json();
    assert_eq!(departures(&schema["$defs"]["Report"], &schema, &solved, "report"), Vec::<String>::new());
    solved["solutions"][0]["outcome"] = "maybe".into();
    assert!(!departures(&schema["$defs"]["Report"], &schema, &solved, "report").is_empty());
    for result in [examples, partly] {
        assert_eq!(departures(&schema, &schema, &result, "result"), Vec::<String>::new());
    }
    let mut wrong = schema["properties"]["results"].clone();
    wrong["type"] = "string".into();
    assert!(!departures(&wrong, &schema, &Value::from(vec![1]), "").is_empty(), "the comparison finds something");
}
