//! The corpus, read as `check` reads it: file by file, ConfigMaps first, held against no nodes.

use std::fmt;
use std::path::{Path, PathBuf};

use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::Source;
use vramguard::decide::{Policy, Verdict};
use vramguard::estimate::workload::Task;
use vramguard::evaluate::{self, Environment};
use vramguard::spec::declaration::Declaration;
use vramguard::spec::files::ConfigMaps;
use vramguard::spec::{declare_with, kinds, yaml};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is read from one container.
pub(crate) struct Line {
    /// File, kind and name.
    pub(crate) manifest: String,
    /// Where in the object, and which container.
    place: String,
    /// What runs, where it is known.
    runs: String,
    /// Model and program are known, and what they need was estimated.
    pub(crate) estimated: bool,
    /// Why there is no estimate, or what it leaves open.
    pub(crate) missing: Option<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.manifest, self.place, self.runs)?;
        self.missing
            .as_ref()
            .map_or(Ok(()), |missing| write!(f, " {} {missing}", if self.estimated { "OPEN" } else { "MISSING" }))
    }
}

/// The files of the corpus with their text, in order.
pub(crate) fn files() -> Vec<(String, String)> {
    let folder = root().join("tests/corpus/manifests");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = |path: &PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
    };
    paths.iter().map(named).collect()
}

pub(crate) fn corpus() -> Vec<Line> {
    files().iter().flat_map(|(name, text)| read(name, text)).collect()
}

/// The lines of one file.
pub(crate) fn read(file: &str, text: &str) -> Vec<Line> {
    let documents = yaml::documents(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut maps = ConfigMaps::default();
    for document in &documents {
        maps.collect(&document.value);
    }
    let policy = Policy::default();
    let environment = Environment { config_maps: Some(&maps), ..Environment::catalogued(None, &policy) };
    let mut lines = Vec::new();
    for document in &documents {
        let (templates, problems) = kinds::readable(&document.value);
        assert!(problems.is_empty(), "{file}: {problems:?}");
        for template in templates {
            for declared in declare_with(&template.pod, Some(&maps)) {
                let declared = declared.unwrap_or_else(|error| panic!("{file}: {error}"));
                let manifest = format!("{file} {}/{}", template.object.kind, template.object.name);
                let path = template.path.trim_end_matches("template").trim_end_matches('.');
                let path = path.trim_start_matches("spec").trim_start_matches('.');
                let place = [path, &declared.container].join(" ").trim().to_owned();
                lines.push(line(manifest, place, &declared, &environment));
            }
        }
    }
    lines
}

fn line(manifest: String, place: String, declared: &Declaration, environment: &Environment<'_>) -> Line {
    let report =
        evaluate::evaluate_declaration(declared, &Source::default(), &PolicyInput::default(), None, environment);
    let runs = report.workload.as_ref().map_or_else(String::new, |workload| {
        let split = workload.parallelism;
        let degrees = [
            ("tp", split.tensor),
            ("pp", split.pipeline),
            ("dp", split.data),
            ("ep", split.expert),
            ("cp", split.context),
        ];
        let mut words = vec![
            if workload.task == Task::Training { "train" } else { "serve" }.to_owned(),
            workload.model.clone(),
            workload.engine.name.clone(),
        ];
        words.extend(workload.parameters.map(|count| format!("({:.1}B)", count as f64 / 1e9)));
        words.extend(degrees.iter().filter(|(_, degree)| *degree > 1).map(|(name, degree)| format!("{name}{degree}")));
        words.push(declared.gpus.as_ref().map_or("no GPU".to_owned(), |gpus| format!("{} GPU", gpus.count)));
        words.extend(declared.replica_pods.filter(|pods| *pods > 1).map(|pods| format!("x{pods} pods")));
        words.extend(workload.context_length.map(|tokens| format!("{tokens} tokens")));
        words.extend(workload.batch_size.map(|batch| format!("batch {batch}")));
        words.extend(workload.quantization.clone());
        if workload.task == Task::Training {
            words.extend(declared.training.lora.as_ref().map(|lora| format!("{} {}", "lora", lora.rank)));
            words.extend(declared.training.sharding.map(|sharding| format!("{sharding:?}").to_lowercase()));
        }
        words.join(" ")
    });
    let unknown: Vec<&str> = declared.unknown_fields.iter().copied().collect();
    let missing = if report.verdict != Verdict::UnknownCapacity {
        let said = std::iter::once(report.message.clone()).chain(declared.unread.iter().cloned());
        Some(said.collect::<Vec<_>>().join("; "))
    } else if unknown.is_empty() {
        None
    } else {
        Some(format!("{}: {}", unknown.join(", "), declared.unread.join("; ")))
    };
    let estimated = report.verdict == Verdict::UnknownCapacity;
    Line { manifest, place, runs, estimated, missing }
}
