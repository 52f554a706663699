//! The files of the source tree, and what each uses by its paths.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// `jobs` for `src/jobs/backup/mod.rs`.
    pub(crate) fn room(&self) -> &str {
        let first = self.path.components().next().unwrap().as_os_str().to_str().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Without comments and without the tests at the end.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        let code = self.text.split("\n#[cfg(test)]").next().unwrap();
        code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
    }

    /// `pool` for each `crate::pool…` in the code, those of `use crate::{pool, state}` included.
    pub(crate) fn uses(&self) -> Vec<String> {
        let code = self.code().collect::<Vec<_>>().join(" ");
        let mut uses = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            let after = &code[at + "crate::".len()..];
            let name = |text: &str| {
                text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned()
            };
            match after.strip_prefix('{') {
                None => uses.push(name(after)),
                Some(list) => uses.extend(top_level(list).into_iter().map(name)),
            }
        }
        uses
    }
}

/// The parts of `a, b::{c, d}, e};…` up to its closing brace.
fn top_level(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The files of the program.
pub(crate) fn sources() -> Vec<Source> {
    below("src")
}

/// The Rust files below a folder of the repository, by their paths in it.
pub(crate) fn below(folder: &str) -> Vec<Source> {
    fn collect(dir: &Path, root: &Path, into: &mut Vec<Source>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            // What cargo builds of the fuzz targets lies beside them.
            if path.is_dir() && !path.ends_with("target") {
                collect(&path, root, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                into.push(Source { path: path.strip_prefix(root).unwrap().to_owned(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 50, "the files are not found in {}", root.display());
    files
}
