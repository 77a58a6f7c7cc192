//! An executor that tries to escape. The Task says by `inputs.escapes` what it is to try; it tells on standard output what it
//! tried and what it got, an error's name or SUCCEEDED, one line each, and by `inputs.evidence` in the artifact `tries` too:
//! there nothing is redacted, so that what it got cannot look like nothing. The trace is the evidence.

mod harm;
mod outputs;
mod probes;
mod sys;
mod threads;

use std::fmt::Display;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

fn main() {
    let file = std::env::var("JCT_TASK_FILE").expect("JCT_TASK_FILE");
    let task: serde_json::Value = serde_json::from_slice(&std::fs::read(file).expect("the Task")).expect("JSON");
    if task["inputs"]["evidence"].as_bool() == Some(true) {
        File::create(evidence()).expect("the evidence");
    }
    for escape in task["inputs"]["escapes"].as_array().expect("inputs.escapes is a list") {
        let escape = escape.as_str().expect("inputs.escapes has names");
        let known = probes::run(escape) || threads::run(escape) || outputs::run(escape) || harm::run(escape);
        assert!(known, "no escape is named {escape}");
    }
}

/// Tells of a try.
fn report<T>(what: impl Display, got: Result<T, impl Name>) {
    report_value(what, got.map_or_else(|error| error.name(), |_| "SUCCEEDED".into()));
}

/// Tells what was found.
fn report_value(what: impl Display, found: impl Display) {
    let line = format!("{what}: {found}\n");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    // Only where it is wanted.
    if let Ok(mut file) = File::options().append(true).open(evidence()) {
        let _ = file.write_all(line.as_bytes());
    }
}

fn evidence() -> PathBuf {
    PathBuf::from(std::env::var_os("JCT_OUT").expect("JCT_OUT")).join("tries")
}

/// An error's name.
trait Name {
    fn name(&self) -> String;
}

impl Name for nix::errno::Errno {
    fn name(&self) -> String {
        format!("{self:?}")
    }
}

impl Name for std::io::Error {
    fn name(&self) -> String {
        self.raw_os_error().map_or_else(|| self.to_string(), |code| nix::errno::Errno::from_raw(code).name())
    }
}
