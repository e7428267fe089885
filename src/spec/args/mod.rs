//! Command lines, images and environments of serving engines and trainers.
//!
//! Each program is a table ([`table::Program`]); this module finds which program a container runs and with which words.

mod config;
mod image;
mod llamacpp;
mod ollama;
mod run;
mod sglang;
mod shell;
mod table;
mod tgi;
mod trainers;
mod trtllm;
mod values;
mod vllm;
mod words;
mod wrappers;

use serde_json::Value;

use self::image::Image;
use self::shell::{Env, Var};
use self::table::{ImageRule, Program, Reader, Scene, last_of_each};
use super::declaration::Origin;
use super::draft::{Draft, Source};
use super::files::Files;
use super::numbers::shown;
use super::pod::Container;

/// Every program that is read.
const PROGRAMS: &[&Program] = &[
    &vllm::PROGRAM,
    &sglang::PROGRAM,
    &tgi::PROGRAM,
    &trtllm::PROGRAM,
    &llamacpp::PROGRAM,
    &llamacpp::PYTHON,
    &ollama::PROGRAM,
    &wrappers::KSERVE,
    &wrappers::NIM,
    &wrappers::DJL,
    &wrappers::RUNPOD,
    &trainers::TRL,
    &trainers::TORCHTUNE,
    &trainers::TORCHTITAN,
    &trainers::AXOLOTL,
    &trainers::LLAMA_FACTORY,
    &trainers::SWIFT,
    &trainers::MEGATRON_SWIFT,
    &trainers::MEGATRON,
    &trainers::NEMO,
    &trainers::LITGPT,
    &trainers::UNSLOTH,
    &trainers::TRANSFORMERS,
];

/// What a container has around it.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Files of its volumes.
    pub(super) files: Files<'a>,
    /// Pods that work on its job together, where known.
    pub(super) pods: Option<u64>,
}

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"];
/// Words of the shell's grammar that stand before a command.
const RESERVED: &[&str] = &["if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"];
/// Shells in shells.
const MAX_SHELLS: usize = 4;

/// A command with the environment that it sees.
struct Command {
    words: Vec<String>,
    env: Env,
}

/// Set by the controller of LeaderWorkerSets: the pods of the group.
const GROUP_SIZE: &str = "LWS_GROUP_SIZE";

/// Shorter values are numbers and switches, not secrets.
const SHORTEST_SECRET: usize = 6;

/// Reads what the container's command, arguments, environment and image say into the draft.
pub(super) fn read(container: &Container, around: &Surroundings<'_>, draft: &mut Draft) {
    let mut env = Env::of(container, &around.files);
    if let Some(pods) = around.pods {
        env.assume(GROUP_SIZE, pods.to_string());
    }
    recognise(container, &env, around, draft);
    redact(&env, draft);
}

/// A variable's value may be a secret: what is said names the variable instead.
fn redact(env: &Env, draft: &mut Draft) {
    let said = &mut draft.out;
    for text in said.unread.iter_mut().chain(&mut said.notes).chain(&mut said.conflicts) {
        for (name, value) in env.known().filter(|(_, value)| value.len() >= SHORTEST_SECRET) {
            let value = shown(value);
            let value = value.trim_end_matches('…');
            if text.contains(value) {
                *text = text.replace(value, &format!("$({name})"));
            }
        }
    }
}

/// Whether the container's own words start an engine or a trainer.
pub(super) fn runs_program(container: &Container) -> bool {
    let env = Env::of(container, &Files::NONE);
    let words = container.command.iter().chain(&container.args).map(|word| env.expand(word)).collect();
    let commands = commands(words, env, 0).unwrap_or_default();
    commands.iter().any(|command| run::find(&command.words, PROGRAMS).is_some())
}

fn recognise(container: &Container, env: &Env, around: &Surroundings<'_>, draft: &mut Draft) {
    common_env(env, draft);
    let image = Image::parse(&container.image);
    let holder = PROGRAMS
        .iter()
        .find_map(|program| program.images.iter().find(|rule| image.is(rule.repository)).map(|rule| (*program, rule)));
    let words: Vec<String> = container.command.iter().chain(&container.args).map(|word| env.expand(word)).collect();
    let commands = match commands(words, env.clone(), 0) {
        Ok(commands) => commands,
        Err(problem) => {
            draft.out.unread.push(problem);
            draft.out.unknown_fields.insert("arguments");
            Vec::new()
        }
    };
    let scene = |env| Scene { env, files: around.files, pods: around.pods };
    let mut runs = commands.iter().filter_map(|command| Some((run::find(&command.words, PROGRAMS)?, command)));
    if let Some((run, command)) = runs.next() {
        let program = run.program;
        name(program, Origin::Argument, draft);
        version(holder.filter(|(held, _)| held.name == program.name).map(|(_, rule)| rule), &image, draft);
        let mut reader = Reader::new(draft, program, run.start, scene(&command.env)).of_image(&image);
        reader.launcher = run.launcher;
        reader.take(&last_of_each(run.launch));
        reader.read(&run.arguments);
        if runs.any(|(_, other)| other.words != command.words) {
            // Which of them runs, or whether all do, is decided when the script runs.
            draft.out.unread.push("the container's script holds more than one engine or trainer command".to_owned());
            draft.out.unknown_fields.insert("model");
        }
    } else if let Some((program, rule)) = holder {
        by_image(container, (program, rule), &image, &commands, scene(env), draft);
    } else if draft.out.gpus.is_some() && !draft.out.engine_named && draft.is_free("task") {
        draft.out.unread.push(format!(
            "`{}` is no engine or trainer that is known here: describe the workload in annotations",
            beginning(container)
        ));
    }
}

/// The command up to its first flag, of which the rest may be secret; the image where it has none.
fn beginning(container: &Container) -> String {
    if container.command.is_empty() {
        return shown(&container.image);
    }
    let words = container.command.iter().chain(&container.args);
    let plain: Vec<&str> = words.take_while(|word| !word.starts_with('-')).take(3).map(String::as_str).collect();
    shown(&plain.join(" "))
}

/// The image holds a program that no command names: either the image's entry point runs it, or a script does.
fn by_image(
    container: &Container,
    (program, rule): (&'static Program, &ImageRule),
    image: &Image<'_>,
    commands: &[Command],
    scene: Scene<'_>,
    draft: &mut Draft,
) {
    name(program, Origin::Inferred, draft);
    version(Some(rule), image, draft);
    if rule.entrypoint && container.command.is_empty() {
        let words = commands.first().map_or(&[][..], |command| command.words.as_slice());
        let words = words.strip_prefix(&["serve".to_owned()][..]).unwrap_or(words);
        return Reader::new(draft, program, &[], scene).of_image(image).read(words);
    }
    Reader::new(draft, program, &[], scene).of_image(image).read(&[]);
    let command = container.command.iter().chain(&container.args).next().map_or("the entry point", String::as_str);
    draft.out.unread.push(format!("`{}` runs {} with arguments that are not seen here", shown(command), program.name));
    draft.out.unknown_fields.insert("arguments");
}

/// Variables that mean the same to every program built on PyTorch.
fn common_env(env: &Env, draft: &mut Draft) {
    for name in ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"] {
        let Var::Known(value) = env.get(name) else { continue };
        let expandable = value.split(',').any(|part| part.trim().eq_ignore_ascii_case("expandable_segments:true"));
        if expandable {
            let location = format!("env {name}");
            let source = Source { origin: Origin::Env, location: &location };
            // A flag that reads `true` cannot be refused.
            let _ = draft.set_path("training.expandableSegments", &Value::from(true), source);
        }
    }
}

fn name(program: &Program, origin: Origin, draft: &mut Draft) {
    let location = if origin == Origin::Inferred { "image" } else { "command" };
    let path = if program.trains { "training.trainer" } else { "engine.name" };
    // The table's names are tested to be allowed.
    let _ = draft.set_path(path, &Value::from(program.name), Source { origin, location });
}

/// The engine's version from the image's tag; tags such as `latest` have none.
fn version(rule: Option<&ImageRule>, image: &Image<'_>, draft: &mut Draft) {
    let tagged = rule.is_some_and(|rule| rule.versioned) && super::fields::version(image.tag).is_some();
    if tagged {
        let source = Source { origin: Origin::Inferred, location: "image" };
        let _ = draft.set_path("engine.version", &Value::from(image.tag), source);
    }
}

/// The commands that a container runs: its own words, or those of the shell script that they start.
fn commands(words: Vec<String>, env: Env, depth: usize) -> Result<Vec<Command>, String> {
    let Some((script, positional)) = shell_script(&words) else {
        return Ok(vec![Command { words, env }]);
    };
    if depth >= MAX_SHELLS {
        return Err("shells start shells too deeply".to_owned());
    }
    if script.trim().is_empty() {
        return Ok(Vec::new());
    }
    let (scripted, env) = shell::script(script, &env, positional)?;
    let mut out = Vec::new();
    for words in scripted {
        out.extend(commands(words, env.clone(), depth + 1)?);
    }
    Ok(out)
}

/// `sh -c SCRIPT [NAME ARGUMENT...]`, wherever the shell stands (`tini -- sh -c ...`).
fn shell_script(words: &[String]) -> Option<(&str, &[String])> {
    let at = words.iter().take(8).position(|word| SHELLS.contains(&base_name(word)))?;
    let rest = words.get(at + 1..)?;
    let flags = rest.iter().take_while(|word| word.starts_with(['-', '+'])).count();
    let has_c = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
    let c = rest.iter().take(flags.max(4)).position(has_c)?;
    let mut after = rest.get(c + 1..)?;
    // `bash -c -- SCRIPT`: flags may follow the `-c` as well.
    while let Some((_, behind)) = after.split_first().filter(|(word, _)| word.starts_with(['-', '+'])) {
        after = behind;
    }
    let (script, positional) = after.split_first()?;
    Some((script, positional.get(1..).unwrap_or_default()))
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests;
