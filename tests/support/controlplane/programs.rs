//! The programs that `tests/controlplane/build.sh` builds.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A directory with built programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    bin: PathBuf,
}

impl Programs {
    /// Builds the named components (directories of `tests/controlplane`), which takes minutes the first time and a
    /// tenth of a second once they are in the cache. Progress goes to our stderr.
    pub(crate) fn of(components: &[&str]) -> Result<Self> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane/build.sh");
        let output = Command::new(&script)
            .args(components)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("running {}", script.display()))?;
        if !output.status.success() {
            bail!(
                "tests/controlplane/build.sh failed ({}); its messages are above. These tests need a real control \
                 plane, which is built with Go: they are never skipped",
                output.status
            );
        }
        let text = String::from_utf8(output.stdout)?;
        let bin = text.lines().last().and_then(|line| line.strip_prefix("BIN=")).context("build.sh printed no BIN=")?;
        Ok(Self { bin: PathBuf::from(bin) })
    }

    /// The path of one program.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}
