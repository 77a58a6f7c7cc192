//! An executor that tries to escape. The Task says by `inputs.escapes` what it is to try; it tells on standard output what it
//! tried and what it got, an error's name or SUCCEEDED, one line each: the trace is the evidence.

mod harm;
mod outputs;
mod probes;
mod sys;

use std::fmt::Display;
use std::io::Write as _;

fn main() {
    let file = std::env::var("JCT_TASK_FILE").expect("JCT_TASK_FILE");
    let task: serde_json::Value = serde_json::from_slice(&std::fs::read(file).expect("the Task")).expect("JSON");
    for escape in task["inputs"]["escapes"].as_array().expect("inputs.escapes is a list") {
        let escape = escape.as_str().expect("inputs.escapes has names");
        let known = probes::run(escape) || outputs::run(escape) || harm::run(escape);
        assert!(known, "no escape is named {escape}");
    }
}

/// Tells of a try.
fn told<T>(what: impl Display, got: Result<T, impl Name>) {
    let got = got.map_or_else(|error| error.name(), |_| "SUCCEEDED".into());
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{what}: {got}").and_then(|()| out.flush());
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
