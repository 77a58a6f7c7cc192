//! How git is called: with nothing of the machine's or the repository's configuration that could make it run, fetch or
//! write anything beyond what it was told.

pub mod listing;
pub mod output;
pub mod repository;

use std::ffi::OsString;
use std::path::Path;

use jct_domain::url::WAYS_OUT;

/// Options before the subcommand. Attribute-driven programs (filters, external diffs) need configuration, and there is
/// none; hooks are off; objects are read in small windows so that a large pack needs little memory. Redirects are not followed,
/// and so neither are alternates elsewhere: the gate has allowed one repository, not what its server names in its place.
const OPTIONS: [&str; 21] = [
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.symlinks=true",
    "core.autocrlf=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=512m",
    "core.bigFileThreshold=32m",
    "pack.threads=2",
    "credential.helper=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "transfer.bundleURI=false",
    "http.followRedirects=false",
    "fetch.unpackLimit=1",
];

/// The options to begin a call of git with. `dir` is the checkout.
pub fn options(dir: &Path) -> Vec<OsString> {
    let configured = OPTIONS.iter().flat_map(|option| ["-c".into(), OsString::from(option)]);
    ["-C".into(), dir.as_os_str().to_owned(), "--no-pager".into()].into_iter().chain(configured).collect()
}

/// The whole environment of a call of git. `protocol` is the one scheme that it may use; none for no transport at all.
pub fn environment(dir: &Path, home: &Path, protocol: Option<&str>) -> Vec<(OsString, OsString)> {
    let fixed = [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_PROTOCOL_FROM_USER", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_ALLOW_PROTOCOL", protocol.unwrap_or("")),
        ("LC_ALL", "C"),
    ];
    let inherited = ["PATH"]
        .into_iter()
        .chain(WAYS_OUT)
        .filter_map(|name| std::env::var_os(name).map(|value| (name.into(), value)));
    fixed
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .chain(inherited)
        .chain([
            // A folder that is no repository yet is not taken for a part of one around it.
            ("GIT_CEILING_DIRECTORIES".into(), dir.parent().unwrap_or(dir).into()),
            ("HOME".into(), home.into()),
            ("TMPDIR".into(), home.into()),
            ("XDG_CONFIG_HOME".into(), home.into()),
            ("GIT_CONFIG_GLOBAL".into(), home.join("gitconfig").into()),
        ])
        .collect()
}
