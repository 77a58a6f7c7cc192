//! Holds what Cargo cannot say of who may use what, by reading the `use` lines and paths of the sources: within the operator, and
//! of crates from elsewhere. What a crate of ours may use of the others, its Cargo.toml says.

use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the operator, and which of our crates by the names that it gives them, each of its modules may use.
const ALLOWED: [(&str, &[&str]); 19] = [
    ("manifest", &["domain"]),
    ("crd", &["domain"]),
    ("jobs", &["domain", "crd"]),
    ("forges", &["domain"]),
    ("signing", &["domain"]),
    ("checkpoint", &["domain", "store", "signing"]),
    ("serve", &[]),
    ("outcome", &["domain", "store", "signing", "trace"]),
    ("metrics", &[]),
    ("shared", &["domain", "crd", "store", "metrics"]),
    ("sessions", &["domain", "crd", "shared", "metrics"]),
    ("webhook", &["domain", "policy", "crd", "serve", "shared", "metrics"]),
    (
        "reconcile",
        &["domain", "policy", "crd", "jobs", "forges", "store", "signing", "trace", "outcome", "shared", "metrics"],
    ),
    ("broker", &["domain", "crd", "store", "serve", "metrics"]),
    ("api", &["domain", "policy", "crd", "store", "signing", "trace", "serve", "shared", "metrics"]),
    ("console", &["domain", "crd", "store", "signing", "serve"]),
    ("local", &["domain", "jobs", "store", "signing", "checkpoint", "trace", "outcome", "broker"]),
    (
        "commands",
        &[
            "domain",
            "policy",
            "manifest",
            "crd",
            "store",
            "signing",
            "checkpoint",
            "trace",
            "local",
            "broker",
            "forges",
        ],
    ),
    (
        "runtime",
        &[
            "domain",
            "policy",
            "crd",
            "jobs",
            "forges",
            "store",
            "signing",
            "checkpoint",
            "trace",
            "serve",
            "shared",
            "metrics",
            "webhook",
            "reconcile",
            "sessions",
            "broker",
            "api",
            "console",
        ],
    ),
];

/// Our crates, by the names that the operator gives them: nothing but `commands` starts a step of the worker.
const OURS: [&str; 5] = ["domain", "policy", "store", "trace", "worker"];

/// Which crates from elsewhere belong to which modules, or crates of ours, alone.
const OWNED: [(&str, &[&str]); 9] = [
    ("libyaml_safer", &["manifest"]),
    ("sqlx", &["store"]),
    ("axum", &["serve", "webhook", "broker", "api", "console"]),
    ("hyper_util", &["serve", "console", "model-gateway", "fake-model", "notify", "cli", "forges"]),
    ("tokio_rustls", &["serve"]),
    ("rcgen", &["webhook"]),
    ("ring", &["signing", "forges"]),
    ("hpke", &["session"]),
    ("clap", &["runtime", "commands", "worker", "relay", "cli"]),
];

/// What pure modules must not know.
const PURE: [&str; 4] = ["domain", "policy", "manifest", "jobs"];
const IMPURE: [&str; 12] = [
    "tokio",
    "kube::Client",
    "kube::api::Api",
    "kube::client",
    "sqlx",
    "axum",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "SystemTime::now",
    "Timestamp::now",
];

/// The files of a folder, at any depth, with one of these extensions.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if extensions.iter().any(|known| path.extension().is_some_and(|extension| extension == *known)) {
            found.push(path);
        }
    }
    found
}

/// The code of a file without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every file of every module of the operator, with its code; files that hold only tests left out.
fn modules() -> Vec<(String, PathBuf, String)> {
    let found = sources("src");
    assert!(found.len() > 30, "the sources were not found");
    let is_module = |(_, path, _): &(String, PathBuf, String)| path.components().count() > 2;
    found.into_iter().filter(is_module).collect()
}

/// The same, and those of our crates: each is one module, but for the gate, which is one of its own.
fn modules_and_crates() -> Vec<(String, PathBuf, String)> {
    let mut found = modules();
    for folder in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates")).unwrap() {
        let name = &*folder.unwrap().file_name().into_string().unwrap();
        let files = sources(&format!("crates/{name}/src"));
        assert!(!files.is_empty(), "{name}: the sources were not found");
        let module = |path: &Path| if path.starts_with("crates/domain/src/policy") { "policy" } else { name };
        found.extend(files.into_iter().map(|(_, path, code)| (module(&path).to_owned(), path, code)));
    }
    found
}

/// Files below a folder by the name of what is below it, with their paths from the root.
fn sources(folder: &str) -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all =
        files(&root.join(folder), &["rs"]).into_iter().filter(|path| !path.to_string_lossy().ends_with("tests.rs"));
    all.map(|path| {
        let below = path.strip_prefix(root.join(folder)).unwrap();
        let module = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        (module, path.strip_prefix(root).unwrap().to_owned(), code(&path))
    })
    .collect()
}

#[test]
fn modules_use_only_what_they_may() {
    let names: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).chain(OURS).collect();
    for (module, path, code) in modules() {
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} is a new module: add it to the rule"));
        for other in names.iter().filter(|other| **other != module && !allowed.contains(other)) {
            assert!(!code.contains(&format!("crate::{other}")), "{}: {module} must not use {other}", path.display());
        }
        let grouped = code.contains("use crate::{");
        assert!(!grouped, "{}: write `use crate::module::…`, so that this test can read it", path.display());
    }
}

/// The modules of the operator in an order in which each uses only those before it; what is left where there is a circle.
fn from_below<'a>(mut left: Vec<(&'a str, &[&'a str])>) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut below = Vec::new();
    loop {
        let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
        let (next, rest) =
            left.into_iter().partition::<Vec<_>, _>(|(_, uses)| !uses.iter().any(|used| names.contains(used)));
        if next.is_empty() {
            return (below, names);
        }
        below.extend(next.into_iter().map(|(name, _)| name));
        left = rest;
    }
}

#[test]
fn there_is_no_circle_and_the_processes_are_on_top() {
    let (below, circle) = from_below(ALLOWED.to_vec());
    assert_eq!(circle, Vec::<&str>::new());
    assert_eq!(below.last(), Some(&"runtime"));
    let (_, circle) = from_below(vec![("a", &["b"][..]), ("b", &["c", "a"]), ("c", &[])]);
    assert_eq!(circle, ["a", "b"], "the control: a circle is seen");
}

/// Whether what follows `before` is the name of a crate, and not the end of another name or a module of another crate.
fn is_crate(before: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    !before.ends_with(is_name) && !before.strip_suffix("::").is_some_and(|path| path.ends_with(is_name))
}

#[test]
fn crates_stay_where_they_belong() {
    for (module, path, code) in modules_and_crates() {
        for (name, owners) in OWNED {
            let used = code.match_indices(&format!("{name}::")).any(|(at, _)| is_crate(&code[..at]));
            assert!(!used || owners.contains(&module.as_str()), "{}: {name} belongs to {owners:?}", path.display());
        }
    }
}

/// What is compared with times of the API server's objects, or written beside them, is by its clock (`shared::Clock`).
#[test]
fn who_deals_with_objects_goes_by_the_api_servers_clock() {
    let mut seen = false;
    for (module, path, code) in modules_and_crates() {
        let of_this_machine = ["Timestamp::now", "SystemTime::now"].iter().any(|now| code.contains(now));
        let is_bound = ["reconcile", "webhook", "sessions"].contains(&module.as_str());
        assert!(!(is_bound && of_this_machine), "{}: ask the clock of the context", path.display());
        seen |= of_this_machine;
    }
    assert!(seen, "the control: others do ask this machine's");
}

#[test]
fn pure_modules_know_no_clock_and_no_io() {
    for (module, path, code) in modules_and_crates() {
        if PURE.contains(&module.as_str()) {
            for impure in IMPURE {
                assert!(!code.contains(impure), "{}: {module} is pure and must not know {impure}", path.display());
            }
            assert!(!code.contains("async fn"), "{}: {module} is pure and must not wait", path.display());
        }
    }
}

/// Documents, by their path from the root.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root.join(name)).to_vec();
    for folder in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let relative = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    paths.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// The tests that `text` cites, as `path/file.rs::name`.
fn cited_tests(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once(".rs::").map(|_| code.split_once("::").unwrap()))
        .collect()
}

#[test]
fn tests_that_documents_cite_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cited = 0;
    for (document, text) in documents() {
        for (file, name) in cited_tests(&text) {
            let source =
                fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("{document} cites {file}: no such file"));
            let name = name.rsplit("::").next().unwrap_or_default();
            assert!(source.contains(&format!("fn {name}(")), "{document} cites {file}::{name}: no such test");
            cited += 1;
        }
    }
    assert!(cited > 20, "the documents cite {cited} tests: are they read as they are written?");
}

/// Who attacks, what holds, by what, and which test shows it: a row without a test is a wish.
#[test]
fn every_row_of_the_threat_model_names_its_tests() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).unwrap();
    let model = text.split("## Threat model").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = model.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| who")).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        assert!(!cited_tests(last).is_empty(), "no test holds: {row}");
    }
}

/// The numbers after each `phrase` in `text`: of "sections 4 and 5" and "decisions 6 to 9" all that stand there.
fn cited_numbers(text: &str, phrase: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for (at, _) in text.match_indices(phrase) {
        let after = text[at + phrase.len()..].trim_start_matches('s').trim_start();
        for word in after.split_whitespace() {
            match word.trim_matches(|letter: char| !letter.is_ascii_digit()).parse() {
                Ok(number) => numbers.push(number),
                Err(_) if ["and", "to"].contains(&word) => continue,
                Err(_) => break,
            }
            if word.ends_with([')', '.', ':', ';']) {
                break;
            }
        }
    }
    numbers
}

#[test]
fn sections_and_decisions_that_the_code_cites_exist() {
    assert_eq!(cited_numbers("(design decisions 6 to 9). And design decision 12.", "design decision"), [6, 9, 12]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (contract, decisions) = (read("docs/contract.md"), read("docs/decisions/README.md"));
    let mut seen = [0, 0];
    for path in ["src", "crates", "tests"].iter().flat_map(|folder| files(&root.join(folder), &["rs", "sql"])) {
        if path.ends_with("architecture.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for number in cited_numbers(&text, "contract section") {
            seen[0] += 1;
            assert!(contract.contains(&format!("\n## {number}. ")), "{}: contract section {number}", path.display());
        }
        for number in cited_numbers(&text, "design decision") {
            seen[1] += 1;
            assert!(decisions.contains(&format!("\n{number}. **")), "{}: design decision {number}", path.display());
        }
    }
    assert!(seen[0] > 20 && seen[1] > 5, "{seen:?}: the citations are found");
}

/// What the map of the code and the lists of CONTRIBUTING name is there.
#[test]
fn files_that_the_map_and_the_lists_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in ["docs/architecture.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for code in text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2)) {
            let path = code.split("::").next().unwrap_or_default();
            let folders = ["src/", "tests/", "charts/", "docs/", "crates/", "scripts/"];
            if folders.iter().any(|folder| path.starts_with(folder)) {
                assert!(root.join(path).exists(), "{document} names {path}: it is not there");
                named += 1;
            }
        }
    }
    assert!(named > 60, "{named} files are named");
}

/// What a package is built of, with features and all that it pulls in: names, each once.
fn built_of(package: &str) -> Vec<String> {
    let arguments =
        ["tree", "--locked", "--package", package, "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let root = env!("CARGO_MANIFEST_DIR");
    let output = std::process::Command::new(env!("CARGO")).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// It is in every container that runs a stranger's code.
#[test]
fn the_worker_has_no_database_no_client_and_no_web_server_in_it() {
    let elsewhere =
        ["kube", "k8s-openapi", "sqlx", "axum", "hyper", "rcgen", "utoipa", "utoipa-swagger-ui", "rustls", "ring"];
    let worker = built_of("jct-worker");
    for name in elsewhere {
        assert!(!worker.iter().any(|found| found == name), "jct-worker is built with {name}");
    }
    assert!(worker.len() > 30, "{}: the tree was read", worker.len());
    let operator = built_of("jct");
    assert!(
        elsewhere.iter().all(|name| operator.iter().any(|found| found == name)),
        "the control: the operator has them"
    );
}
