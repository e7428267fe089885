//! Runs the program as a user would: a bare environment, the package's root as working directory.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

/// The form of snapshots: exit code, then both streams.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vramguard"));
    command.current_dir(root()).env_clear().env("LANG", "C.UTF-8").env("NO_COLOR", "1");
    command
}

/// Runs with arguments as a shell would split them; quotes are not needed here.
pub(crate) fn vramguard(arguments: &str) -> Run {
    with_input(&arguments.split_whitespace().collect::<Vec<_>>(), "")
}

/// Runs with arguments as they are.
pub(crate) fn vramguard_args(arguments: &[&str]) -> Run {
    with_input(arguments, "")
}

/// Runs `check` on a manifest given on standard input, against the example nodes.
pub(crate) fn check(manifest: &str, further: &str) -> Run {
    let mut arguments = vec!["check", "-f", "-", "--nodes", "examples/nodes.yaml"];
    arguments.extend(further.split_whitespace());
    with_input(&arguments, manifest)
}

pub(crate) fn with_input(arguments: &[&str], input: &str) -> Run {
    run(command().args(arguments), input)
}

/// Runs with one more environment variable.
pub(crate) fn with_env(arguments: &str, name: &str, value: &str) -> Run {
    run(command().args(arguments.split_whitespace()).env(name, value), "")
}

/// The exit code and the complaints of a run whose reader is gone before it starts.
pub(crate) fn without_reader(arguments: &str) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command().args(arguments.split_whitespace()).stdout(writer).output().expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn run(command: &mut Command, input: &str) -> Run {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    // Beside the wait: a program that does not read its input must not block the test.
    let feed = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().expect("the program ends");
    feed.join().expect("the feeder ends");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A directory with files, gone after the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// Text with this folder's path as `DIR`.
    pub(crate) fn masked(&self, text: &str) -> String {
        text.replace(&*self.0.path().to_string_lossy(), "DIR")
    }
}

/// Compares a generated file, or rewrites it with `UPDATE=1`.
pub(crate) fn generated(path: &str, wanted: &str) {
    let file: PathBuf = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, wanted).expect("the file is written");
        return;
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == wanted, "{path} is stale: run `UPDATE=1 cargo test --test cli` and review the change");
}
