//! What the names of files tell of a project: readme, licences, continuous integration, dependencies, tests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::report::{Ci, Dependencies, Licence, Tests};
use super::{dependencies, licences};
use crate::tree::{Entry, Kind};
use jct_untrusted::files::read_regular;
use jct_untrusted::names::escaped;

/// How much of a file is read to look into it, in bytes.
const MAX_READ_BYTES: u64 = 1024 * 1024;
/// How many names are listed of each.
const MAX_LISTED: usize = 200;
/// How many test files are named.
const MAX_TEST_EXAMPLES: usize = 10;

/// What was found.
#[derive(Debug, Default)]
pub struct Project {
    /// At the root.
    pub readmes: Vec<String>,
    /// At the root, or in a folder of licences.
    pub licences: Vec<Licence>,
    /// By name.
    pub ci: Vec<Ci>,
    /// Anywhere.
    pub dependency_manifests: Vec<Dependencies>,
    /// Anywhere.
    pub tests: Tests,
    /// Anywhere.
    pub submodules: Vec<String>,
}

/// Looks at the names of all `entries`, and into those files below `root` that need it.
pub fn inspect(root: &Path, entries: &[Entry]) -> Project {
    let mut project = Project::default();
    let mut ci: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let path = escaped(&entry.path);
        if entry.kind == Kind::Submodule {
            push(&mut project.submodules, path);
            continue;
        }
        if let Some(system) = ci_system(&path) {
            push(ci.entry(system).or_default(), path.clone());
        }
        if entry.kind == Kind::File {
            project.file(root, entry, path);
        }
    }
    project.ci = ci.into_iter().map(|(system, files)| Ci { system: system.into(), files }).collect();
    project
}

impl Project {
    fn file(&mut self, root: &Path, entry: &Entry, path: String) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let lower = name.to_ascii_lowercase();
        if folder.is_empty() && lower.starts_with("readme") {
            push(&mut self.readmes, path.clone());
        }
        if (folder.is_empty() && licences::is_licence(&lower)) || folder == "LICENSES" {
            let spdx_id = text(root, entry).map_or(licences::UNRECOGNISED, |text| licences::recognise(&text));
            push(&mut self.licences, Licence { path: path.clone(), spdx_id: spdx_id.into() });
        }
        if is_test(folder, &lower) {
            self.tests.files += 1;
            if self.tests.examples.len() < MAX_TEST_EXAMPLES {
                self.tests.examples.push(path.clone());
            }
        }
        if let Some((ecosystem, count)) = dependencies::manifest(name)
            && self.dependency_manifests.len() < MAX_LISTED
        {
            let direct_dependencies = text(root, entry).and_then(|text| count(&text));
            self.dependency_manifests.push(Dependencies { path, ecosystem: ecosystem.into(), direct_dependencies });
        }
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_LISTED {
        list.push(item);
    }
}

fn text(root: &Path, entry: &Entry) -> Option<String> {
    let bytes = read_regular(&root.join(OsStr::from_bytes(&entry.path)), MAX_READ_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

fn ci_system(path: &str) -> Option<&'static str> {
    let is_yaml = path.ends_with(".yml") || path.ends_with(".yaml");
    match path {
        ".gitlab-ci.yml" => Some("GitLab CI"),
        "Jenkinsfile" => Some("Jenkins"),
        ".travis.yml" => Some("Travis CI"),
        "azure-pipelines.yml" => Some("Azure Pipelines"),
        "bitbucket-pipelines.yml" => Some("Bitbucket Pipelines"),
        ".drone.yml" => Some("Drone"),
        ".woodpecker.yml" | ".woodpecker.yaml" => Some("Woodpecker"),
        "appveyor.yml" | ".appveyor.yml" => Some("AppVeyor"),
        ".cirrus.yml" => Some("Cirrus CI"),
        "cloudbuild.yaml" | "cloudbuild.yml" => Some("Google Cloud Build"),
        ".prow.yaml" => Some("Prow"),
        _ if is_yaml && path.starts_with(".github/workflows/") => Some("GitHub Actions"),
        _ if is_yaml && path.starts_with(".forgejo/workflows/") => Some("Forgejo Actions"),
        _ if is_yaml && path.starts_with(".circleci/") => Some("CircleCI"),
        _ if is_yaml && path.starts_with(".buildkite/") => Some("Buildkite"),
        _ if is_yaml && path.starts_with(".tekton/") => Some("Tekton"),
        _ => None,
    }
}

/// Whether a file looks like a test: by its folder, or by its name (in lower case).
fn is_test(folder: &str, name: &str) -> bool {
    let folders = ["test", "tests", "spec", "specs", "__tests__", "testing", "e2e"];
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    folder.split('/').any(|part| folders.contains(&part.to_ascii_lowercase().as_str()))
        || (stem.starts_with("test_") && name.ends_with(".py"))
        || ["_test", ".test", ".spec", "_spec", "_tests"].iter().any(|end| stem.ends_with(end))
        || ["test.java", "tests.java", "test.kt", "tests.cs", "test.php", "tests.swift"]
            .iter()
            .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(".github/workflows/ci.yml", Some("GitHub Actions"))]
    #[case(".github/dependabot.yml", None)]
    #[case(".circleci/config.yml", Some("CircleCI"))]
    #[case("Jenkinsfile", Some("Jenkins"))]
    #[case("docs/Jenkinsfile", None)]
    fn ci_by_path(#[case] path: &str, #[case] expected: Option<&str>) {
        assert_eq!(ci_system(path), expected);
    }

    #[rstest]
    #[case("src", "lib_test.go", true)]
    #[case("", "test_x.py", true)]
    #[case("a/__tests__", "x.js", true)]
    #[case("web", "app.spec.ts", true)]
    #[case("src", "latest.rs", false)]
    #[case("contest", "main.c", false)]
    fn tests_by_path(#[case] folder: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_test(folder, name), expected);
    }
}
