//! Languages by the names of files, and how comments begin in them.

/// How comments begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comments {
    /// `//`, `/*`, and lines within that begin with `*`.
    Slashes,
    /// `#`.
    Hash,
    /// `--`.
    Dashes,
    /// `;`.
    Semicolon,
    /// `%`.
    Percent,
    /// `<!--`.
    Markup,
    /// `//`, `/*`, `#` or `<!--`.
    Any,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language {
    pub name: &'static str,
    pub comments: Comments,
}

/// What is not in the tables.
pub const OTHER: Language = Language { name: "Other", comments: Comments::None };

use Comments::{Any, Dashes, Hash, Markup, None, Percent, Semicolon, Slashes};

/// Name, comments, extensions.
const BY_EXTENSION: &[(&str, Comments, &[&str])] = &[
    ("Ada", Dashes, &["adb", "ads"]),
    ("Assembly", Semicolon, &["asm"]),
    ("Assembly", Any, &["s"]),
    ("AsciiDoc", Slashes, &["adoc", "asciidoc"]),
    ("Batch", None, &["bat", "cmd"]),
    ("C", Slashes, &["c", "h"]),
    ("C#", Slashes, &["cs", "csx"]),
    ("C++", Slashes, &["cc", "cpp", "cxx", "c++", "hh", "hpp", "hxx", "ipp", "inl"]),
    ("CMake", Hash, &["cmake"]),
    ("CSS", Slashes, &["css", "scss", "sass", "less"]),
    ("CSV", None, &["csv", "tsv"]),
    ("Clojure", Semicolon, &["clj", "cljs", "cljc", "edn"]),
    ("CoffeeScript", Hash, &["coffee"]),
    ("Crystal", Hash, &["cr"]),
    ("CUDA", Slashes, &["cu", "cuh"]),
    ("D", Slashes, &["d"]),
    ("Dart", Slashes, &["dart"]),
    ("Elixir", Hash, &["ex", "exs"]),
    ("Elm", Dashes, &["elm"]),
    ("Erlang", Percent, &["erl", "hrl"]),
    ("F#", Slashes, &["fs", "fsi", "fsx"]),
    ("Fortran", None, &["f", "f90", "f95", "f03", "for"]),
    ("Go", Slashes, &["go"]),
    ("Gradle", Slashes, &["gradle"]),
    ("GraphQL", Hash, &["graphql", "gql"]),
    ("Groovy", Slashes, &["groovy"]),
    ("HCL", Any, &["tf", "tfvars", "hcl"]),
    ("HTML", Markup, &["html", "htm", "xhtml"]),
    ("Haskell", Dashes, &["hs", "lhs"]),
    ("INI", Any, &["ini", "cfg", "conf", "properties", "editorconfig"]),
    ("JSON", None, &["json", "jsonl", "ndjson", "geojson"]),
    ("Java", Slashes, &["java"]),
    ("JavaScript", Slashes, &["js", "mjs", "cjs", "jsx"]),
    ("Jsonnet", Slashes, &["jsonnet", "libsonnet"]),
    ("Julia", Hash, &["jl"]),
    ("Jupyter Notebook", None, &["ipynb"]),
    ("Kotlin", Slashes, &["kt", "kts"]),
    ("Lisp", Semicolon, &["lisp", "lsp", "el", "scm", "rkt"]),
    ("Lua", Dashes, &["lua"]),
    ("MATLAB", Percent, &["mat"]),
    ("Makefile", Hash, &["mk", "mak"]),
    ("Markdown", Markup, &["md", "markdown", "mdx"]),
    ("Meson", Hash, &["meson"]),
    ("Nim", Hash, &["nim"]),
    ("Nix", Hash, &["nix"]),
    ("OCaml", None, &["ml", "mli"]),
    ("Objective-C", Slashes, &["m", "mm"]),
    ("PHP", Any, &["php", "phtml"]),
    ("Perl", Hash, &["pl", "pm", "t"]),
    ("PowerShell", Hash, &["ps1", "psm1", "psd1"]),
    ("Protocol Buffers", Slashes, &["proto"]),
    ("Puppet", Hash, &["pp"]),
    ("Python", Hash, &["py", "pyi", "pyx"]),
    ("R", Hash, &["r"]),
    ("Rego", Hash, &["rego"]),
    ("Ruby", Hash, &["rb", "rake", "gemspec", "erb"]),
    ("Rust", Slashes, &["rs"]),
    ("SQL", Dashes, &["sql"]),
    ("SVG", Markup, &["svg"]),
    ("Scala", Slashes, &["scala", "sc", "sbt"]),
    ("Shell", Hash, &["sh", "bash", "zsh", "fish", "ksh"]),
    ("Solidity", Slashes, &["sol"]),
    ("Starlark", Hash, &["bzl", "star", "bazel"]),
    ("Svelte", Any, &["svelte"]),
    ("Swift", Slashes, &["swift"]),
    ("TOML", Hash, &["toml"]),
    ("Tcl", Hash, &["tcl"]),
    ("TeX", Percent, &["tex", "sty", "cls", "bib"]),
    ("Text", None, &["txt", "rst", "log", "text"]),
    ("Thrift", Any, &["thrift"]),
    ("TypeScript", Slashes, &["ts", "tsx", "mts", "cts"]),
    ("VHDL", Dashes, &["vhd", "vhdl"]),
    ("Verilog", Slashes, &["v", "sv", "svh"]),
    ("Vim script", None, &["vim"]),
    ("Visual Basic", None, &["vb", "vbs", "bas"]),
    ("Vue", Any, &["vue"]),
    ("WebAssembly", Semicolon, &["wat", "wast"]),
    ("XML", Markup, &["xml", "xsd", "xsl", "xslt", "plist", "csproj", "fsproj", "vcxproj", "props", "targets"]),
    ("YAML", Hash, &["yaml", "yml"]),
    ("Zig", Slashes, &["zig"]),
];

/// Name, comments, whole names in lower case.
const BY_NAME: &[(&str, Comments, &[&str])] = &[
    ("CMake", Hash, &["cmakelists.txt"]),
    ("Dockerfile", Hash, &["dockerfile", "containerfile"]),
    ("Gradle", Slashes, &["gradlew"]),
    ("Groovy", Slashes, &["jenkinsfile"]),
    ("Go module", Slashes, &["go.mod", "go.work"]),
    ("Ignore list", Hash, &[".gitignore", ".dockerignore", ".gitattributes", ".npmignore", "codeowners"]),
    ("Lock file", None, &["cargo.lock", "go.sum", "yarn.lock", "poetry.lock", "gemfile.lock", "package-lock.json"]),
    ("Makefile", Hash, &["makefile", "gnumakefile", "kbuild", "kconfig"]),
    ("Meson", Hash, &["meson.build", "meson_options.txt"]),
    ("Ruby", Hash, &["rakefile", "gemfile", "vagrantfile", "podfile", "brewfile"]),
    ("Shell", Hash, &[".bashrc", ".profile", ".zshrc", "configure", ".envrc"]),
    ("Starlark", Hash, &["build", "workspace", "tiltfile"]),
    ("Text", None, &["license", "licence", "copying", "authors", "notice", "readme", "changelog", "unlicense"]),
];

/// The language of the file with this path.
pub fn of(path: &[u8]) -> Language {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path).to_ascii_lowercase();
    let name = String::from_utf8_lossy(&name);
    if let Some(language) = find(BY_NAME, &name) {
        return language;
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    if matches!(stem, "dockerfile" | "containerfile" | "makefile") {
        return find(BY_NAME, stem).unwrap_or(OTHER);
    }
    find(BY_EXTENSION, extension).unwrap_or(OTHER)
}

fn find(table: &[(&'static str, Comments, &[&str])], key: &str) -> Option<Language> {
    let (name, comments, _) = table.iter().find(|(_, _, keys)| keys.contains(&key))?;
    Some(Language { name, comments: *comments })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("src/lib.rs", "Rust")]
    #[case("A/B.PY", "Python")]
    #[case("Makefile", "Makefile")]
    #[case("deploy/Dockerfile.dev", "Dockerfile")]
    #[case("package-lock.json", "Lock file")]
    #[case("package.json", "JSON")]
    #[case("bin/tool", "Other")]
    #[case(".gitignore", "Ignore list")]
    #[case("-rf", "Other")]
    #[case("a.tar.gz", "Other")]
    fn names_tell_the_language(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(of(path.as_bytes()).name, expected);
    }

    #[test]
    fn no_extension_is_listed_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for extension in BY_EXTENSION.iter().chain(BY_NAME).flat_map(|(_, _, keys)| *keys) {
            assert!(seen.insert(extension), "{extension}");
        }
    }
}
