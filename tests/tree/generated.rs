//! Generated files are what the code generates.

use std::fs;
use std::path::{Path, PathBuf};

/// File name and content of each custom resource definition.
fn definitions() -> Vec<(String, String)> {
    jct::crd::all()
        .iter()
        .map(|crd| {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            (name, format!("---\n{}", serde_yaml::to_string(crd).unwrap()))
        })
        .collect()
}

fn folders() -> [PathBuf; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [root.join("crds"), root.join("charts/jct/crds")]
}

#[test]
fn custom_resource_definitions_are_current() {
    for folder in folders() {
        let mut files: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let mut expected: Vec<String> = definitions().into_iter().map(|(name, _)| name).collect();
        expected.sort();
        assert_eq!(files, expected, "{}: run `make generate`", folder.display());
        for (name, content) in definitions() {
            let found = fs::read_to_string(folder.join(&name)).unwrap();
            assert!(found == content, "{}/{name} is stale: run `make generate`", folder.display());
        }
    }
}

/// Every variable that the operator reads is set by the chart.
#[test]
fn the_chart_has_a_value_for_every_setting() {
    use clap::Args as _;
    let command = jct::runtime::Settings::augment_args(clap::Command::new("operator"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deployment = fs::read_to_string(root.join("charts/jct/templates/deployment.yaml")).unwrap();
    for argument in command.get_arguments() {
        let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else { continue };
        let set = ["\n", ",", " "].iter().any(|end| deployment.contains(&format!("name: {variable}{end}")));
        assert!(set, "{variable} is missing in charts/jct/templates/deployment.yaml");
    }
}

/// A kind without them could not be watched.
#[test]
fn the_chart_gives_rights_on_every_kind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let helpers = fs::read_to_string(root.join("charts/jct/templates/_helpers.tpl")).unwrap();
    let listed = helpers.split("{{- define \"jct.workObjects\" -}}\n").nth(1).unwrap().lines().next().unwrap();
    let mut expected = jct::domain::cwom::Kind::ALL.map(|kind| kind.plural());
    expected.sort_unstable();
    assert_eq!(listed, expected.join(", "));
}

/// Every reason and code that users can meet is explained to them.
#[test]
fn the_documentation_names_every_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (failures, policies, tasks) = (page("failure-modes.md"), page("policies.md"), page("tasks.md"));
    for code in jct::domain::Code::ALL {
        assert!(policies.contains(&format!("`{code}`")), "{code} is missing in docs/policies.md");
    }
    for reason in jct::domain::FailureReason::ALL {
        let is_code = jct::domain::Code::ALL.iter().any(|code| code.as_str() == reason.as_str());
        assert!(is_code || failures.contains(&format!("`{reason}`")), "{reason} is missing in docs/failure-modes.md");
        let marked = failures.contains(&format!("`{reason}` ↻"));
        assert_eq!(marked, reason.is_retryable() && !is_code, "{reason}: the mark of a retry in docs/failure-modes.md");
        let marked = failures.contains(&format!("`{reason}` ↻ ☁"));
        assert_eq!(marked, reason.is_infrastructure(), "{reason}: the mark of the cluster in docs/failure-modes.md");
    }
    let objects = page("work-objects.md");
    for reason in jct::crd::cwom::WorkReason::ALL {
        assert!(objects.contains(&format!("`{}`", reason.as_str())), "{reason:?} is missing in docs/work-objects.md");
    }
    let sessions = page("cli.md");
    for reason in jct::crd::session::SessionReason::ALL {
        assert!(sessions.contains(&format!("`{}`", reason.as_str())), "{reason:?} is missing in docs/cli.md");
    }
    let reviews = page("reviews.md");
    for reason in jct::crd::review::ReviewReason::ALL {
        assert!(reviews.contains(&format!("`{}`", reason.as_str())), "{reason:?} is missing in docs/reviews.md");
    }
    for reason in jct::crd::status::Reason::WAITING {
        assert!(tasks.contains(&format!("`{}`", reason.as_str())), "{} is missing in docs/tasks.md", reason.as_str());
    }
}

#[test]
fn a_repository_that_is_none_is_refused_by_the_schema_of_the_values() {
    let schema =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/jct/values.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let image = &schema["definitions"]["image"]["properties"];
    let pattern = |name: &str| regex::Regex::new(image[name]["pattern"].as_str().unwrap()).unwrap();
    let repository = pattern("repository");
    let good = "jct-operator reg.example/jct localhost:5000/a/b Reg.Example:5000/a__b/c--d.e [::1]:5000/x 123/456";
    for name in good.split(' ') {
        assert!(repository.is_match(name), "{name}");
    }
    let bad = ",reg.example/jct:0.1,a:b,https://reg.example/x,a//b,/a,a/,a..b,-a,a@sha256:0,reg.example/JCT,a b,reg:port/x,a.-b,a_";
    for name in bad.split(',') {
        assert!(!repository.is_match(name), "{name}");
    }
    let digest = format!("sha256:{}", "a".repeat(64));
    assert!(
        pattern("digest").is_match(&digest)
            && pattern("digest").is_match("")
            && !pattern("digest").is_match(&digest[1..])
    );
    assert!(!pattern("tag").is_match(&digest), "a digest has a value of its own");
}
