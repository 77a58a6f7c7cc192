//! Every file and folder of the commit, for links to lead to. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::link::folder;
use crate::tree::{Entry, Kind};

/// Names of files that make a folder a package.
const PACKAGES: [&str; 14] = [
    "Cargo.toml",
    "package.json",
    "go.mod",
    "pyproject.toml",
    "setup.py",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "mix.exs",
    "Package.swift",
    "CMakeLists.txt",
    "Chart.yaml",
    "pubspec.yaml",
];
/// Names of folders whose content needs no README of its own: it is a part of what is above.
const PARTS: [&str; 26] = [
    "src",
    "lib",
    "libs",
    "test",
    "tests",
    "spec",
    "specs",
    "e2e",
    "bench",
    "benches",
    "benchmarks",
    "example",
    "examples",
    "bin",
    "cmd",
    "internal",
    "pkg",
    "include",
    "app",
    "main",
    "java",
    "scripts",
    "docs",
    "doc",
    "assets",
    "migrations",
];
/// Names of folders that hold what others wrote, or what is made to be broken.
const FOREIGN: [&str; 9] = [
    "node_modules",
    "vendor",
    "vendored",
    "third_party",
    "third-party",
    "external",
    "testdata",
    "fixtures",
    "snapshots",
];
/// Extensions of sources.
const SOURCES: [&str; 34] = [
    "rs", "go", "py", "js", "mjs", "ts", "tsx", "jsx", "java", "kt", "scala", "c", "h", "cc", "cpp", "hpp", "cs", "fs",
    "rb", "php", "swift", "m", "ex", "exs", "erl", "hs", "ml", "lua", "sh", "pl", "r", "jl", "dart", "zig",
];
/// Folders of sources below this depth are parts of others.
const MAX_SOURCE_DEPTH: usize = 2;
/// Packages below this depth are parts of others.
const MAX_PACKAGE_DEPTH: usize = 4;

/// Where links may lead.
#[derive(Debug)]
pub struct Places<'a> {
    entries: HashMap<&'a [u8], Kind>,
    folders: HashSet<&'a [u8]>,
    by_lower_case: HashMap<Vec<u8>, &'a [u8]>,
}

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    File(&'a [u8]),
    Folder(&'a [u8]),
    /// Beyond a symlink or a submodule: not followed.
    Beyond,
    Nothing,
}

impl<'a> Places<'a> {
    /// The places of these entries.
    pub fn of(entries: &'a [Entry]) -> Self {
        let mut places =
            Self { entries: HashMap::new(), folders: HashSet::from([&b""[..]]), by_lower_case: HashMap::new() };
        for entry in entries {
            let path = entry.path.as_slice();
            places.entries.insert(path, entry.kind);
            places.by_lower_case.insert(path.to_ascii_lowercase(), path);
            let mut above = folder(path);
            while places.folders.insert(above) {
                places.by_lower_case.insert(above.to_ascii_lowercase(), above);
                above = folder(above);
            }
        }
        places
    }

    /// What is at `path`.
    pub fn find(&self, path: &[u8]) -> Found<'a> {
        if let Some((path, kind)) = self.entries.get_key_value(path) {
            return if *kind == Kind::File { Found::File(path) } else { Found::Beyond };
        }
        if let Some(path) = self.folders.get(path) {
            return Found::Folder(path);
        }
        let mut above = folder(path);
        while !above.is_empty() {
            if self.entries.get(above).is_some_and(|kind| *kind != Kind::File) {
                return Found::Beyond;
            }
            above = folder(above);
        }
        Found::Nothing
    }

    pub fn files(&self) -> impl Iterator<Item = &'a [u8]> {
        self.entries.keys().copied()
    }

    /// What has this name but for upper and lower case.
    pub fn alike(&self, path: &[u8]) -> Option<&'a [u8]> {
        self.by_lower_case.get(&path.to_ascii_lowercase()).copied()
    }

    /// The README that is shown with a folder.
    pub fn readme(&self, folder: &[u8]) -> Option<&'a [u8]> {
        let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let names = [&b"readme.md"[..], b"readme.markdown", b"readme.rst", b"readme.txt", b"readme.adoc", b"readme"];
        names.iter().find_map(|name| {
            let path = self.alike(&[prefix.as_slice(), *name].concat())?;
            // Only the README's own name may differ in case, not that of the folder.
            (path.starts_with(&prefix) && self.entries.contains_key(path)).then_some(path)
        })
    }

    /// Folders that want a README and have none, with the reason.
    pub fn without_readme(&self) -> BTreeMap<&'a [u8], &'static str> {
        let mut wanting = BTreeMap::from([(&b""[..], "the repository has no README")]);
        for (path, kind) in &self.entries {
            let (folder, name) = (folder(path), name(path));
            if *kind != Kind::File || folder.is_empty() || is_foreign(path) || is_hidden(path) {
                continue;
            }
            let depth = folder.split(|byte| *byte == b'/').count();
            let is_part =
                folder.split(|byte| *byte == b'/').any(|part| PARTS.iter().any(|name| name.as_bytes() == part));
            if PACKAGES.iter().any(|package| package.as_bytes() == name) && depth <= MAX_PACKAGE_DEPTH {
                wanting.insert(folder, "this package has no README");
            } else if is_source(name) && depth <= MAX_SOURCE_DEPTH && !is_part {
                wanting.entry(folder).or_insert("this folder of sources has no README");
            }
        }
        wanting.retain(|folder, _| self.readme(folder).is_none());
        wanting
    }
}

/// Whether `path` lies where others' files are, or files that are meant to be broken.
pub fn is_foreign(path: &[u8]) -> bool {
    folder(path).split(|byte| *byte == b'/').any(|part| FOREIGN.iter().any(|name| name.as_bytes() == part))
}

/// Whether `path` lies in a folder for tools, not for readers.
pub fn is_hidden(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part.starts_with(b"."))
}

/// The last part of `path`.
pub fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn is_source(name: &[u8]) -> bool {
    let extension = name.rsplit(|byte| *byte == b'.').next().filter(|extension| extension.len() < name.len());
    extension.is_some_and(|extension| SOURCES.iter().any(|source| source.as_bytes() == extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(paths: &[(&str, Kind)]) -> Vec<Entry> {
        paths.iter().map(|(path, kind)| Entry { path: path.as_bytes().into(), kind: *kind, size_bytes: 1 }).collect()
    }

    #[test]
    fn places_are_files_folders_and_what_is_beyond() {
        let entries = entries(&[("docs/a.md", Kind::File), ("link", Kind::Symlink), ("sub", Kind::Submodule)]);
        let places = Places::of(&entries);
        assert_eq!(places.find(b"docs/a.md"), Found::File(b"docs/a.md"));
        assert_eq!(places.find(b"docs"), Found::Folder(b"docs"));
        assert_eq!(places.find(b""), Found::Folder(b""));
        assert_eq!([places.find(b"link/x"), places.find(b"sub")], [Found::Beyond, Found::Beyond]);
        assert_eq!(places.find(b"docs/b.md"), Found::Nothing);
        assert_eq!(places.alike(b"Docs/A.md"), Some(&b"docs/a.md"[..]));
    }

    #[test]
    fn readmes_are_wanted_where_people_look_for_them() {
        let file = Kind::File;
        let entries = entries(&[
            ("src/main.rs", file),
            ("tool/x.py", file),
            ("tool/deep/x.py", file),
            ("tool/deep/er/x.py", file),
            ("crates/a/Cargo.toml", file),
            ("crates/b/Cargo.toml", file),
            ("crates/b/ReadMe.md", file),
            ("vendor/c/Cargo.toml", file),
            (".github/x.sh", file),
            ("data/x.csv", file),
        ]);
        let wanting: Vec<_> = Places::of(&entries).without_readme().into_keys().map(String::from_utf8_lossy).collect();
        assert_eq!(wanting, ["", "crates/a", "tool", "tool/deep"]);
    }
}
