//! What the environment holds that nobody else is to learn, before anything else is done.
//!
//! The environment with which a process began stays readable in `/proc/PID/environ` for as long as it lives, whatever becomes of
//! its variables: to every process of its user, and under root to more. So this program begins a second time, with an environment
//! that holds what it needs and no secret. The rest, which is the repository's URL and the ways to it, it finds in a file of memory
//! that has no name, reads it, and closes it: before another process is started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, anyhow};
use clap::Args as _;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use super::RunArgs;
use super::models::is_key;
use crate::domain::url::WAYS_OUT;

/// Says, the second time, which descriptor the file of memory is. The same process: so it is its own.
const ASIDE: &str = "JCT_RUN_ASIDE";
/// Stands for the repository's URL, the second time.
const SET_ASIDE: &str = "set-aside";
/// What is needed of the rest, besides the arguments that may be given as variables.
const KEPT: [&str; 6] = ["HOME", "XDG_STATE_HOME", "JCT_LOG", "TERM", "NO_COLOR", "RUST_BACKTRACE"];

/// What is in the file of memory.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetAside {
    /// The repository, as it was given.
    pub repo: String,
    /// The variables with which git finds the way to it.
    pub ways_out: BTreeMap<String, String>,
    /// The variables with keys of models' providers.
    pub model_keys: BTreeMap<String, String>,
}

/// Begins again with nothing secret in the environment; the second time, gives what was set aside. From here on nobody but the
/// kernel looks into this process, and what it makes is for its user alone.
///
/// # Errors
/// If this program cannot be run anew.
pub fn set_aside(args: &RunArgs) -> anyhow::Result<SetAside> {
    let Some(number) = std::env::var_os(ASIDE) else {
        return Err(begin_again(args));
    };
    let number = number.to_str().and_then(|number| number.parse::<i32>().ok());
    let number = number.ok_or_else(|| anyhow!("{ASIDE} is for this program alone"))?;
    let text = fs::read_to_string(format!("/proc/self/fd/{number}")).with_context(|| format!("cannot read {ASIDE}"))?;
    let _ = nix::unistd::close(number);
    let aside = serde_json::from_str(&text).with_context(|| format!("cannot understand {ASIDE}"))?;
    nix::sys::prctl::set_dumpable(false).context("cannot close this process to others of its user")?;
    umask(Mode::from_bits_truncate(0o077));
    Ok(aside)
}

/// Returns only if that fails.
fn begin_again(args: &RunArgs) -> anyhow::Error {
    let again = || -> anyhow::Result<std::io::Error> {
        let variable = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        let aside = SetAside {
            repo: args.repo.clone(),
            ways_out: WAYS_OUT.into_iter().filter_map(variable).collect(),
            model_keys: std::env::vars_os().filter_map(key).collect(),
        };
        // Open in the program that this one becomes.
        let mut file = File::from(memfd_create("jct", MFdFlags::empty())?);
        file.write_all(serde_json::to_string(&aside)?.as_bytes())?;
        let mut itself = Command::new(std::env::current_exe().context("cannot find its own program")?);
        let arguments: Vec<_> = std::env::args_os().collect();
        itself.arg0(arguments.first().map_or_else(|| "jct".into(), Clone::clone)).args(arguments.iter().skip(1));
        itself.env_clear().envs(kept()).env(ASIDE, file.as_raw_fd().to_string()).env("JCT_REPO", SET_ASIDE);
        Ok(itself.exec())
    };
    again().map_or_else(|error| error, Into::into).context("cannot begin again without what is secret")
}

/// A variable that has the key of a provider.
fn key((name, value): (OsString, OsString)) -> Option<(String, String)> {
    let name = name.into_string().ok().filter(|name| is_key(name))?;
    Some((name, value.into_string().ok()?))
}

/// What of the environment stays, with absolute paths alone in PATH: a relative one is looked up where a step works, and there
/// lies what a repository or an executor put.
fn kept() -> Vec<(String, OsString)> {
    let command = RunArgs::augment_args(clap::Command::new("run"));
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_env_values_set());
    let arguments = arguments.filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned));
    let names = arguments.chain(KEPT.map(str::to_owned));
    let mut kept: Vec<_> = names.filter_map(|name| std::env::var_os(&name).map(|value| (name, value))).collect();
    if let Some(path) = std::env::var_os("PATH") {
        let absolute = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        // They came from such a list: joining them can't fail.
        kept.push(("PATH".into(), std::env::join_paths(absolute).unwrap_or_default()));
    }
    kept
}
