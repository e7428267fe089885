//! Which program a command runs: its own start, or a script, with or without a launcher before it.

use super::table::{Effect, Given, Program, find_in, is_bool, is_flag};
use super::trainers::{self, LAUNCH, LAUNCH_SWITCHES};
use super::{RESERVED, SHELLS, base_name};

/// Commands that only mention programs.
const MENTIONS: &[&str] = &[
    "echo", "printf", "pip", "pip3", "cat", "grep", "ls", "which", "test", "[", "cp", "mv", "rm", "ln", "chmod", "tee",
    "mkdir", "cd", "git", "wget", "curl", "sed", "export",
];

/// Words that start processes of a script.
const LAUNCHERS: &[&[&str]] = &[
    &["torchrun"],
    &["-m", "torch.distributed.run"],
    &["-m", "torch.distributed.launch"],
    &["accelerate", "launch"],
    &["accelerate-launch"],
    &["-m", "accelerate.commands.launch"],
    &["deepspeed"],
    &["-m", "deepspeed.launcher.runner"],
];

pub(super) type Start = &'static [&'static str];

/// A program as it is run.
pub(super) struct Run {
    pub(super) program: &'static Program,
    /// The words that started it.
    pub(super) start: Start,
    /// What the launcher was told.
    pub(super) launch: Vec<Given>,
    /// The launcher's name.
    pub(super) launcher: Option<&'static str>,
    pub(super) arguments: Vec<String>,
}

/// The program that a command runs. Wrappers (`exec`, `env`, `nohup`, `numactl`...) are passed over.
pub(super) fn find(words: &[String], programs: &'static [&'static Program]) -> Option<Run> {
    let first = words.iter().find(|word| !RESERVED.contains(&word.as_str()));
    if first.is_some_and(|word| MENTIONS.contains(&base_name(word))) {
        return None;
    }
    if let Some((launcher, launch, rest)) = launched(words) {
        let scripted = || {
            let arguments = rest.get(if rest.first().is_some_and(|word| word == "-m") { 2 } else { 1 }..);
            let arguments = arguments.unwrap_or_default();
            let program = trainers::by_evidence(arguments).unwrap_or(&trainers::TRANSFORMERS);
            Run { program, start: &[], launch: Vec::new(), launcher: None, arguments: arguments.to_vec() }
        };
        let run = started(&rest, programs).unwrap_or_else(scripted);
        return Some(Run { launch, launcher: Some(launcher), ..run });
    }
    started(words, programs).or_else(|| {
        let at = words.iter().position(|word| is_script(word))?;
        let arguments = words.get(at + 1..).filter(|_| runs_script(words, at))?;
        let program = trainers::by_evidence(arguments)?;
        Some(Run { program, start: &[], launch: Vec::new(), launcher: None, arguments: arguments.to_vec() })
    })
}

fn started(words: &[String], programs: &'static [&'static Program]) -> Option<Run> {
    (0..words.len()).find_map(|at| {
        let rest = words.get(at..)?;
        programs.iter().find_map(|program| {
            let start = program.starts.iter().find(|start| begins(rest, start))?;
            let script = start.first().is_some_and(|name| is_script(name));
            let arguments = rest.get(start.len()..).filter(|_| !script || runs_script(words, at))?.to_vec();
            Some(Run { program, start, launch: Vec::new(), launcher: None, arguments })
        })
    })
}

/// Whether a word names a script.
pub(super) fn is_script(word: &str) -> bool {
    [".py", ".sh"].iter().any(|ending| word.ends_with(ending))
}

/// Whether the word at a place is run: it stands first, or after an interpreter and its flags.
fn runs_script(words: &[String], at: usize) -> bool {
    let mut before = words.get(..at).unwrap_or_default().iter().rev().filter(|word| !is_flag(word));
    before.next().is_none_or(|word| {
        let name = base_name(word);
        name.starts_with("python") || name == "run" || name == "exec" || name == "env" || SHELLS.contains(&name)
    })
}

/// Asked for every program at every word of every pod: a comparison that fails must fail early.
fn begins(words: &[String], start: &[&str]) -> bool {
    words.len() >= start.len()
        && words.iter().zip(start).enumerate().all(|(index, (word, pattern))| {
            if pattern.as_bytes().contains(&b'*') {
                let word = if index == 0 { base_name(word) } else { word.as_str() };
                let (prefix, suffix) = pattern.split_once('*').unwrap_or((pattern, ""));
                return word.len() >= prefix.len() + suffix.len() && word.starts_with(prefix) && word.ends_with(suffix);
            }
            let rest = word.strip_suffix(pattern);
            rest.is_some_and(|rest| rest.is_empty() || (index == 0 && rest.ends_with('/')))
        })
}

/// What a launcher was told, and the words of what it launches; a module is `-m NAME`.
fn launched(words: &[String]) -> Option<(&'static str, Vec<Given>, Vec<String>)> {
    let (at, launcher) = (0..words.len()).find_map(|at| {
        let rest = words.get(at..)?;
        let start = LAUNCHERS.iter().find(|start| begins(rest, start))?;
        Some((at + start.len(), start.iter().copied().find(|word| *word != "-m")?))
    })?;
    let mut rest = words.get(at..)?;
    let mut given = Vec::new();
    while let Some((word, after)) = rest.split_first() {
        if word == "-m" || word == "--module" {
            let module = std::iter::once("-m".to_owned()).chain(after.iter().cloned()).collect();
            return Some((launcher, given, module));
        }
        if word == "--" {
            rest = after;
            break;
        }
        if !is_flag(word) {
            break;
        }
        rest = after;
        match find_in(LAUNCH, word) {
            Some(mut found) => {
                if found.value.is_none() && found.flag.effect.takes_value() {
                    let optional = matches!(found.flag.effect, Effect::KeepBool);
                    if let Some((value, after)) = rest.split_first()
                        && (!optional || is_bool(value))
                        && !is_flag(value)
                    {
                        found.value = Some(value.clone());
                        rest = after;
                    }
                    if found.value.is_none() && !optional {
                        continue;
                    }
                }
                given.push(found);
            }
            None => rest = without_value(word, rest),
        }
    }
    // `pip install deepspeed` launches nothing.
    (!rest.is_empty()).then(|| (launcher, given, rest.to_vec()))
}

/// A flag that is not known takes the next word, unless that is what is launched.
fn without_value<'w>(flag: &str, rest: &'w [String]) -> &'w [String] {
    let switch = flag.contains('=') || LAUNCH_SWITCHES.contains(&flag.replace('_', "-").as_str());
    match rest.split_first() {
        Some((value, after)) if !switch && !is_flag(value) && !is_script(value) => after,
        _ => rest,
    }
}
