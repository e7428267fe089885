//! What was found, kept on disk. A cache that cannot be read or written is a slow one, not an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MOST_CONFIG;
use super::name::{RepoName, is_commit};

/// Branches and tags move: they are looked up again after this long.
const FRESH: Duration = Duration::from_hours(7 * 24);
/// Files kept at most; then the oldest goes.
const MOST_FILES: usize = 2000;

/// What is kept of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cached {
    /// Its `config.json`.
    pub(super) config: Value,
    /// Bytes that a server loads, where an index said so.
    pub(super) checkpoint_bytes: Option<u64>,
}

/// A folder of one endpoint.
#[derive(Debug)]
pub(super) struct DiskCache {
    folder: PathBuf,
}

impl DiskCache {
    /// Endpoints do not share: what one says of a model is not what another does.
    pub(super) fn new(folder: &Path, endpoint: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
        let name: String = endpoint.chars().take(100).map(plain).collect();
        Self { folder: folder.join(name) }
    }

    fn path(&self, name: &RepoName, revision: &str) -> PathBuf {
        self.folder.join(format!("{}@{revision}.json", name.file_name()))
    }

    /// What is kept, and whether it is fresh.
    pub(super) fn read(&self, name: &RepoName, revision: &str) -> Option<(Cached, bool)> {
        let path = self.path(name, revision);
        let about = fs::metadata(&path).ok()?;
        if about.len() > 2 * MOST_CONFIG as u64 {
            return None;
        }
        let cached = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let age = about.modified().ok().and_then(|written| SystemTime::now().duration_since(written).ok());
        Some((cached, is_commit(revision) || age.is_some_and(|age| age < FRESH)))
    }

    /// Writes beside the file and renames, so that no reader finds half of it.
    pub(super) fn write(&self, name: &RepoName, revision: &str, found: &Cached) {
        let path = self.path(name, revision);
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let written = serde_json::to_vec(found).map_err(std::io::Error::other).and_then(|text| {
            fs::create_dir_all(&self.folder)?;
            make_room(&self.folder);
            fs::write(&partial, text)?;
            fs::rename(&partial, &path)
        });
        if written.is_err() {
            // Best effort: a full disk must not fill up further.
            let _ = fs::remove_file(&partial);
        }
    }
}

fn make_room(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let files: Vec<(SystemTime, PathBuf)> =
        entries.flatten().filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    if files.len() >= MOST_FILES
        && let Some((_, oldest)) = files.iter().min()
    {
        let _ = fs::remove_file(oldest);
    }
}
