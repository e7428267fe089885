//! Files in: which ones, how much of them, and what is wrong with them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::{Failure, code};

/// Larger files are not manifests; a list of ten thousand pods is about a tenth of this.
pub(super) const MANIFEST_LIMIT: u64 = 256 << 20;
/// Directories below a given one.
const DEPTH_LIMIT: usize = 64;

/// Whether a path stands for standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The file's text, or standard input's for `-`; too large and not UTF-8 are errors.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if is_stdin(path) {
        io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::io("read", path, &error))?;
    if bytes.len() as u64 > limit {
        let message = format!("{}: larger than {} MiB", path.display(), limit >> 20);
        return Err(Failure::new(code::BAD_INPUT, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        Failure::new(code::BAD_INPUT, format!("{}: not UTF-8 at byte {good}", path.display()))
    })
}

/// The files to read, in a stable order, each once; what cannot be listed is reported beside them.
pub(super) fn collect(given: &[PathBuf], skip: &[PathBuf]) -> (Vec<PathBuf>, Vec<Failure>) {
    let mut found =
        Collected { skip: skip.iter().filter_map(|path| path.canonicalize().ok()).collect(), ..Collected::default() };
    for path in given {
        if is_stdin(path) || !path.is_dir() {
            found.file(path);
        } else {
            found.directory(path, 0);
        }
    }
    (found.files, found.failures)
}

#[derive(Default)]
struct Collected {
    files: Vec<PathBuf>,
    failures: Vec<Failure>,
    /// Canonical paths that were taken or are to be left out.
    seen: BTreeSet<PathBuf>,
    skip: BTreeSet<PathBuf>,
}

impl Collected {
    fn file(&mut self, path: &Path) {
        // A file that does not exist has no canonical path; reading it gives the error.
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.seen.insert(identity) {
            self.files.push(path.to_owned());
        }
    }

    fn directory(&mut self, directory: &Path, depth: usize) {
        let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.failures.push(Failure::io("list", directory, &error)),
        };
        let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        for path in paths.iter().filter(|path| !hidden(path)) {
            // Links to directories are not followed: they may lead in circles.
            if path.is_dir() {
                if !path.is_symlink() && depth < DEPTH_LIMIT {
                    self.directory(path, depth + 1);
                }
            } else if manifest(path) && !self.skipped(path) {
                self.file(path);
            }
        }
    }

    fn skipped(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| self.skip.contains(&path))
    }
}

fn hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
}

fn manifest(path: &Path) -> bool {
    path.extension().and_then(|ext| ext.to_str()).is_some_and(|ext| matches!(ext, "yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn names(root: &Path, files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|f| f.strip_prefix(root).unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn directories_are_walked_in_order_without_hidden_foreign_and_skipped_files() {
        let root = tree(&["b.yaml", "a/z.yml", "a/y.json", "notes.md", ".git/x.yaml", "nodes.yaml"]);
        let (files, failures) = collect(&[root.path().to_owned()], &[root.path().join("nodes.yaml")]);
        assert_eq!(names(root.path(), &files), ["a/y.json", "a/z.yml", "b.yaml"]);
        assert!(failures.is_empty());
    }

    #[test]
    fn a_file_given_twice_is_read_once() {
        let root = tree(&["a.yaml"]);
        let (files, _) = collect(&[root.path().join("a.yaml"), root.path().to_owned()], &[]);
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn too_large_and_non_utf8_files_are_refused() {
        let root = tree(&[]);
        let path = root.path().join("a.yaml");
        fs::write(&path, [b'a', 0xff]).unwrap();
        let error = format!("{:?}", read_bounded(&path, 10).unwrap_err());
        assert!(error.contains("not UTF-8 at byte 1"), "{error}");
        assert!(read_bounded(&path, 1).is_err());
    }
}
