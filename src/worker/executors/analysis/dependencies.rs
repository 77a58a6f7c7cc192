//! Files that declare dependencies, and how many they declare directly. Pure, and rough by intent: no file is executed,
//! and none is parsed further than counting needs.

use serde_json::Value;

/// Counts in the text of a file; none if that is not easily told.
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
        "setup.py" | "setup.cfg" | "Pipfile" => ("Python", unknown),
        "Gemfile" => ("Ruby", gemfile),
        "composer.json" => ("PHP (Composer)", composer),
        "mix.exs" => ("Elixir", unknown),
        "pubspec.yaml" => ("Dart", unknown),
        "Package.swift" => ("Swift", unknown),
        "build.sbt" => ("Scala", unknown),
        "conanfile.txt" | "conanfile.py" | "vcpkg.json" => ("C/C++", unknown),
        "Podfile" => ("CocoaPods", unknown),
        "flake.nix" => ("Nix", unknown),
        "Chart.yaml" => ("Helm", unknown),
        _ if name.starts_with("requirements") && name.ends_with(".txt") => ("Python", requirements),
        _ if name.ends_with(".csproj") || name.ends_with(".fsproj") => (".NET", dotnet),
        _ => return None,
    };
    Some(by_name)
}

fn unknown(_: &str) -> Option<u64> {
    None
}

/// The lines of a TOML file with the table that each is in; comments and blanks left out.
fn toml_lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut table = "";
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(move |line| {
        match line.strip_prefix('[') {
            // A line of an array may begin with '[' too, but not end a table's header.
            Some(header) if header.contains(']') && !header.contains('=') => {
                table = header.trim_start_matches('[').split(']').next().unwrap_or("").trim();
                (table, "")
            }
            _ => (table, line),
        }
    })
}

fn cargo(text: &str) -> Option<u64> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let is_list = |table: &str| table.rsplit('.').next().is_some_and(|last| kinds.contains(&last));
    let is_one = |table: &str| table.rsplit_once('.').is_some_and(|(list, _)| is_list(list));
    let counts = toml_lines(text).filter(|(table, line)| match *line {
        "" => is_one(table),
        line => is_list(table) && is_key(line),
    });
    Some(counts.count() as u64)
}

/// `key = …`, and not the continuation of a value above.
fn is_key(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        let key = key.trim().trim_matches('"');
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "._-\"".contains(c))
    })
}

fn pyproject(text: &str) -> Option<u64> {
    let mut count = 0;
    let mut in_array = false;
    for (table, line) in toml_lines(text) {
        if table == "tool.poetry.dependencies" && is_key(line) {
            count += u64::from(!line.starts_with("python"));
        }
        let starts = table == "project"
            && line.strip_prefix("dependencies").is_some_and(|rest| rest.trim_start().starts_with('='));
        if starts || in_array {
            let value = if starts { line.split_once('[').map_or("", |(_, rest)| rest) } else { line };
            count += quoted(value);
            in_array = !without_quoted(value).contains(']');
        }
    }
    Some(count)
}

fn quoted(text: &str) -> u64 {
    (parts_by_quote(text).count() / 2) as u64
}

fn without_quoted(text: &str) -> String {
    parts_by_quote(text).step_by(2).collect()
}

/// Outside, inside, outside, … of the strings of `text`, which all have the same quotes.
fn parts_by_quote(text: &str) -> impl Iterator<Item = &str> {
    let quote = text.chars().find(|c| matches!(c, '"' | '\'')).unwrap_or('"');
    text.split(quote)
}

fn keys(text: &str, names: &[&str]) -> Option<u64> {
    let json: Value = serde_json::from_str(text).ok()?;
    let count = |name: &&str| json.get(name).and_then(Value::as_object).map_or(0, |map| map.len() as u64);
    Some(names.iter().map(count).sum())
}

fn package_json(text: &str) -> Option<u64> {
    keys(text, &["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"])
}

fn composer(text: &str) -> Option<u64> {
    keys(text, &["require", "require-dev"])
}

fn go_mod(text: &str) -> Option<u64> {
    let mut in_block = false;
    let mut count = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        if let Some(rest) = line.strip_prefix("require") {
            in_block = rest.trim() == "(";
            count += u64::from(!in_block && rest.starts_with(' ') && !rest.contains("// indirect"));
        } else if in_block && line == ")" {
            in_block = false;
        } else if in_block {
            count += u64::from(!line.contains("// indirect"));
        }
    }
    Some(count)
}

fn pom(text: &str) -> Option<u64> {
    let mut outside = String::new();
    let mut rest = text;
    while let Some((before, managed)) = rest.split_once("<dependencyManagement>") {
        outside.push_str(before);
        rest = managed.split_once("</dependencyManagement>").map_or("", |(_, after)| after);
    }
    outside.push_str(rest);
    Some(outside.matches("<dependency>").count() as u64)
}

fn requirements(text: &str) -> Option<u64> {
    let lines = text.lines().map(str::trim);
    Some(lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '-'])).count() as u64)
}

fn gemfile(text: &str) -> Option<u64> {
    Some(text.lines().filter(|line| line.trim_start().starts_with("gem ")).count() as u64)
}

fn dotnet(text: &str) -> Option<u64> {
    Some(text.matches("<PackageReference ").count() as u64)
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
    #[case("package.json", "{\"dependencies\":{\"a\":\"1\",\"b\":\"1\"},\"devDependencies\":{\"c\":\"1\"}}", 3)]
    #[case("go.mod", "module x\nrequire a v1\nrequire (\n\tb v1\n\tc v1 // indirect\n)\n", 2)]
    #[case("pom.xml", "<dependencyManagement><dependency></dependency></dependencyManagement><dependency>", 1)]
    #[case("pyproject.toml", "[project]\ndependencies = [\n  \"a[x]>=1\",\n  \"b\",\n]\noptional = [\"c\"]\n", 2)]
    #[case(
        "pyproject.toml",
        "[project]\ndependencies = [\"a\", \"b\"]\n[tool.poetry.dependencies]\npython = \"3\"\nc = \"1\"\n",
        3
    )]
    #[case("requirements-dev.txt", "# x\n-r base.txt\na==1\nb\n", 2)]
    #[case("Gemfile", "source 'x'\ngem 'a'\n  gem \"b\"\n", 2)]
    #[case("x.csproj", "<PackageReference Include=\"a\" />", 1)]
    fn counts(#[case] name: &str, #[case] text: &str, #[case] expected: u64) {
        let (_, count) = manifest(name).unwrap();
        assert_eq!(count(text), Some(expected));
    }

    #[test]
    fn what_is_malformed_has_no_count() {
        assert_eq!(package_json("{"), None);
        assert!(manifest("readme.md").is_none());
    }
}
