//! Files that declare dependencies, and how many they declare directly. Pure: no file is executed, each is parsed as what it
//! is. What only a program could tell has no count.

use std::collections::BTreeSet;

use serde_json::Value;
use toml_edit::{DocumentMut, Item, TableLike};

use super::xml::elements;

/// Counts in the text of a file; none if it is malformed, or not to be told without running it.
type Count = fn(&str) -> Option<u64>;

/// The ecosystem of a file with this name, and how to count in it.
pub fn manifest(name: &str) -> Option<(&'static str, Count)> {
    let by_name: (&str, Count) = match name {
        "Cargo.toml" => ("Rust (Cargo)", cargo),
        "package.json" => ("JavaScript (npm)", package_json),
        "go.mod" => ("Go", go_mod),
        "pom.xml" => ("Java (Maven)", pom),
        "build.gradle" | "build.gradle.kts" => ("Java (Gradle)", unknown),
        "pyproject.toml" => ("Python", pyproject),
        "Pipfile" => ("Python", pipfile),
        "setup.py" | "setup.cfg" => ("Python", unknown),
        "Gemfile" => ("Ruby", gemfile),
        "composer.json" => ("PHP (Composer)", composer),
        "mix.exs" => ("Elixir", unknown),
        "pubspec.yaml" => ("Dart", pubspec),
        "Package.swift" => ("Swift", unknown),
        "build.sbt" => ("Scala", unknown),
        "vcpkg.json" => ("C/C++", vcpkg),
        "conanfile.txt" | "conanfile.py" => ("C/C++", unknown),
        "Podfile" => ("CocoaPods", unknown),
        "flake.nix" => ("Nix", unknown),
        "Chart.yaml" => ("Helm", chart),
        _ if name.starts_with("requirements") && name.ends_with(".txt") => ("Python", requirements),
        _ if name.ends_with(".csproj") || name.ends_with(".fsproj") => (".NET", dotnet),
        _ => return None,
    };
    Some(by_name)
}

fn unknown(_: &str) -> Option<u64> {
    None
}

/// The table at this path.
fn table<'a>(root: &'a DocumentMut, path: &[&str]) -> Option<&'a dyn TableLike> {
    let mut item: &Item = root.as_item();
    for key in path {
        item = item.as_table_like()?.get(key)?;
    }
    item.as_table_like()
}

fn cargo(text: &str) -> Option<u64> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let root: DocumentMut = text.parse().ok()?;
    let of = |table: &dyn TableLike| -> u64 {
        let lists = KINDS.iter().filter_map(|kind| table.get(kind)?.as_table_like());
        lists.map(|list| list.len() as u64).sum()
    };
    let targets = table(&root, &["target"]).into_iter().flat_map(|targets| targets.iter());
    let of_targets: u64 = targets.filter_map(|(_, target)| target.as_table_like()).map(of).sum();
    let of_workspace = table(&root, &["workspace"]).map_or(0, of);
    Some(of(root.as_table()) + of_targets + of_workspace)
}

fn pyproject(text: &str) -> Option<u64> {
    let root: DocumentMut = text.parse().ok()?;
    let listed = table(&root, &["project"]).and_then(|project| project.get("dependencies")?.as_array());
    let poetry = table(&root, &["tool", "poetry", "dependencies"]);
    let of_poetry = poetry.map_or(0, |list| list.iter().filter(|(name, _)| *name != "python").count());
    Some((listed.map_or(0, toml_edit::Array::len) + of_poetry) as u64)
}

fn pipfile(text: &str) -> Option<u64> {
    let root: DocumentMut = text.parse().ok()?;
    let lists = ["packages", "dev-packages"].iter().filter_map(|name| table(&root, &[name]));
    Some(lists.map(|list| list.len() as u64).sum())
}

/// The names in these objects, each once.
fn keys(text: &str, names: &[&str], counts: impl Fn(&str) -> bool) -> Option<u64> {
    let json: Value = serde_json::from_str(text).ok()?;
    let lists = names.iter().filter_map(|name| json.get(name)?.as_object());
    let names: BTreeSet<&String> = lists.flat_map(|list| list.keys()).filter(|name| counts(name)).collect();
    Some(names.len() as u64)
}

fn package_json(text: &str) -> Option<u64> {
    keys(text, &["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"], |_| true)
}

fn composer(text: &str) -> Option<u64> {
    // What has no vendor is the platform: PHP, its extensions and libraries.
    keys(text, &["require", "require-dev"], |name| name.contains('/'))
}

fn vcpkg(text: &str) -> Option<u64> {
    let json: Value = serde_json::from_str(text).ok()?;
    Some(json.get("dependencies").and_then(Value::as_array).map_or(0, |list| list.len() as u64))
}

fn pubspec(text: &str) -> Option<u64> {
    let yaml: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    let lists = ["dependencies", "dev_dependencies"].iter().filter_map(|name| yaml.get(name)?.as_mapping());
    // What comes with Dart or Flutter is none.
    Some(lists.flat_map(|list| list.values()).filter(|value| value.get("sdk").is_none()).count() as u64)
}

fn chart(text: &str) -> Option<u64> {
    let yaml: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    Some(yaml.get("dependencies").and_then(serde_yaml::Value::as_sequence).map_or(0, |list| list.len() as u64))
}

/// By the grammar of the Go modules reference: a directive a line, or a block of them; comments to the end of the line.
fn go_mod(text: &str) -> Option<u64> {
    let mut in_block = None;
    let mut count = 0;
    for line in text.lines() {
        let (line, comment) = line.split_once("//").unwrap_or((line, ""));
        let words: Vec<&str> = line.split_whitespace().collect();
        let directive = match (in_block, words.as_slice()) {
            (_, []) => continue,
            (Some(_), [")"]) => {
                in_block = None;
                continue;
            }
            (Some(directive), _) => directive,
            (None, [word, "("]) => {
                in_block = Some(*word);
                continue;
            }
            (None, [word]) if word.ends_with('(') => {
                in_block = word.strip_suffix('(');
                continue;
            }
            (None, [word, ..]) => *word,
        };
        count += u64::from(directive == "require" && !comment.trim_start().starts_with("indirect"));
    }
    Some(count)
}

fn pom(text: &str) -> Option<u64> {
    let counted = elements(text)?.into_iter().filter(|path| {
        matches!(
            path.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
            ["project", "dependencies", "dependency"]
                | ["project", "profiles", "profile", "dependencies", "dependency"]
        )
    });
    Some(counted.count() as u64)
}

fn dotnet(text: &str) -> Option<u64> {
    let is_one = |path: &Vec<String>| path.last().is_some_and(|name| name == "PackageReference");
    Some(elements(text)?.into_iter().filter(is_one).count() as u64)
}

/// By pip's format: comments, options and continued lines are none of their own.
fn requirements(text: &str) -> Option<u64> {
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    let lines = joined.lines().map(str::trim);
    Some(lines.filter(|line| !line.is_empty() && !line.starts_with('#') && is_requirement(line)).count() as u64)
}

fn is_requirement(line: &str) -> bool {
    !line.starts_with('-') || line.starts_with("-e ") || line.starts_with("--editable")
}

fn gemfile(text: &str) -> Option<u64> {
    let is_one = |line: &str| line.strip_prefix("gem").is_some_and(|rest| rest.starts_with([' ', '(', '\t']));
    Some(text.lines().filter(|line| is_one(line.trim_start())).count() as u64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "Cargo.toml",
        "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb = { version = \"1\", features = [\n  \"x\",\n] }\n[target.'cfg(unix)'.dev-dependencies]\nc.workspace = true\n[dependencies.d]\nversion = \"1\"\n",
        4
    )]
    #[case::inline_and_dotted(
        "Cargo.toml",
        "dependencies = { a = \"1\", b = \"2\" }\nbuild-dependencies.c = \"1\"\n[workspace.dependencies]\nd = \"1\"\n[features]\ndependencies = [\"x = 1\"]\n",
        4
    )]
    #[case::in_a_text("Cargo.toml", "[package]\ndescription = \"\"\"\n[dependencies]\na = 1\n\"\"\"\n", 0)]
    #[case("package.json", "{\"dependencies\":{\"a\":\"1\",\"b\":\"1\"},\"devDependencies\":{\"c\":\"1\"}}", 3)]
    #[case::named_twice("package.json", "{\"peerDependencies\":{\"a\":\"1\"},\"devDependencies\":{\"a\":\"1\"}}", 1)]
    #[case("go.mod", "module x\nrequire a v1\nrequire (\n\tb v1\n\tc v1 // indirect\n)\n", 2)]
    #[case::other_blocks(
        "go.mod",
        "require(\n\ta v1 // why\n\t// b v1\n)\nreplace (\n\ta => ../a\n)\nrequire c v1 //indirect\n",
        1
    )]
    #[case(
        "pom.xml",
        "<project><dependencyManagement><dependencies><dependency/></dependencies></dependencyManagement><dependencies><dependency><exclusions/></dependency><!-- <dependency/> --></dependencies></project>",
        1
    )]
    #[case::of_plugins(
        "pom.xml",
        "<project><build><plugins><plugin><dependencies><dependency/></dependencies></plugin></plugins></build></project>",
        0
    )]
    #[case("pyproject.toml", "[project]\ndependencies = [\n  \"a[x]>=1\",\n  \"b\",\n]\noptional = [\"c\"]\n", 2)]
    #[case(
        "pyproject.toml",
        "[project]\ndependencies = [\"a\", \"b\"]\n[tool.poetry.dependencies]\npython = \"3\"\npython-x = \"1\"\n",
        3
    )]
    #[case::quotes("pyproject.toml", "[project]\ndependencies = ['a; extra == \"x\"', \"b\"] # [\"c\"]\n", 2)]
    #[case(
        "Pipfile",
        "[packages]\na = \"*\"\n[dev-packages]\nb = {version = \"*\"}\n[requires]\npython_version = \"3\"\n",
        2
    )]
    #[case("composer.json", "{\"require\":{\"php\":\"8\",\"ext-json\":\"*\",\"a/b\":\"1\"}}", 1)]
    #[case("pubspec.yaml", "dependencies:\n  flutter: {sdk: flutter}\n  a: ^1\ndev_dependencies:\n  b:\n", 2)]
    #[case("Chart.yaml", "name: x\ndependencies:\n- name: a\n- name: b\n", 2)]
    #[case("vcpkg.json", "{\"dependencies\":[\"a\",{\"name\":\"b\"}]}", 2)]
    #[case("requirements-dev.txt", "# x\n-r base.txt\na==1 \\\n  --hash=sha256:0\nb\n-e ./c\n", 3)]
    #[case("Gemfile", "source 'x'\ngem 'a'\n  gem \"b\"\ngem('c')\ngemspec\n", 3)]
    #[case(
        "x.csproj",
        "<Project><ItemGroup><PackageReference\n Include=\"a\" /><!-- <PackageReference Include=\"b\" /> --></ItemGroup></Project>",
        1
    )]
    fn counts(#[case] name: &str, #[case] text: &str, #[case] expected: u64) {
        let (_, count) = manifest(name).unwrap();
        assert_eq!(count(text), Some(expected));
    }

    #[rstest]
    #[case("package.json", "{")]
    #[case("Cargo.toml", "[dependencies\n")]
    #[case("pom.xml", "<project>")]
    #[case("setup.py", "setup(install_requires=['a'])")]
    fn what_is_malformed_or_a_program_has_no_count(#[case] name: &str, #[case] text: &str) {
        let (_, count) = manifest(name).unwrap();
        assert_eq!(count(text), None);
        assert!(manifest("readme.md").is_none());
    }
}
