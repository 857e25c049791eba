//! The files of the repository, read once per test.

use std::fmt;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// A Rust file.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Source {
    pub(crate) fn parsed(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }

    pub(crate) fn stem(&self) -> &str {
        self.path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap()
    }

    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| ["tests", "tests.rs", "testing.rs", "benches"].contains(&part))
    }

    /// What to say of a file that is longer than allowed; tests at the end of a file do not count.
    pub(crate) fn over(&self, (house, tests): (usize, usize)) -> Option<String> {
        let limit = if self.is_test() { tests } else { house };
        let lines = self.text.lines().take_while(|line| *line != "#[cfg(test)]" || self.is_test()).count();
        (lines > limit).then(|| format!("{}: {lines} lines, {limit} are allowed", self.path))
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the house and its tests.
pub(crate) fn sources() -> Vec<Source> {
    ["proto", "net", "actors", "src", "tests", "benches"].iter().flat_map(|name| folder(name)).collect()
}

/// The Rust files below a folder, in the order of their names.
pub(crate) fn folder(name: &str) -> Vec<Source> {
    let read = |path: PathBuf| Source { text: read_to_string(&path).unwrap(), path: relative(&path) };
    let sources: Vec<_> = below(&root().join(name), "rs").into_iter().map(read).collect();
    assert!(!sources.is_empty(), "{name} has no Rust file");
    sources
}

/// The Markdown documents: path from the root, text.
pub(crate) fn documents() -> Vec<(String, String)> {
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let found = top.chain(below(&root().join("docs"), "md"));
    found.map(|path| (relative(&path), read_to_string(&path).unwrap())).collect()
}

/// The relative targets of a document's links, without what follows `#`.
pub(crate) fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    relative.map(|target| target.split('#').next().unwrap_or_default().to_owned()).collect()
}

/// The files of the repository that a document names in backticks, by a path.
pub(crate) fn named_files(text: &str) -> Vec<String> {
    let code = text.split('`').skip(1).step_by(2);
    let is_file = |code: &&str| {
        let ending = code.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
        let path = code.contains('/') && !code.starts_with('/') && !code.contains([' ', ':', '*', '<']);
        path && ["rs", "py", "lua", "toml", "md", "vp", "pml", "vectors", "tsv"].contains(&ending)
    };
    code.filter(is_file).map(str::to_owned).collect()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

fn below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(below(&path, ending));
        } else if path.extension().is_some_and(|of| of == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}
