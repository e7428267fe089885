//! Where a control plane keeps its data and logs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const PREFIX: &str = "controlplane-";

/// A new directory in Cargo's, named after this process. Removes those of processes that were killed before they could.
pub(super) fn create() -> Result<PathBuf> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    sweep(parent);
    let mine = format!("{PREFIX}{}-", std::process::id());
    let directory = tempfile::Builder::new().prefix(&mine).tempdir_in(parent);
    Ok(directory.with_context(|| format!("creating a directory in {}", parent.display()))?.keep())
}

/// Best effort: what stays is a nuisance, not an error.
fn sweep(parent: &Path) {
    let processes = Path::new("/proc");
    if !processes.join("self").exists() {
        return;
    }
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !processes.join(owner.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
