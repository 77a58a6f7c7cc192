//! The executor `code-change`: applies the patch that the Task brings along, and verifies it with the commands that the
//! Task names. What is delivered is what the patch says, whatever a verification leaves in the checkout.

mod patch;
mod refusal;
mod sections;
mod workspace;

use serde_json::{Map, Value};

use self::sections::Sections;
use self::workspace::Workspace;
use super::ops::{Place, commands, run_all};
use super::{Achieved, Assignment, Executor, step};
use jct_untrusted::path::normalize;

/// The patch of a Task, and how many parts of its names git has to take away; none if it has none that can be applied.
pub fn asked(inputs: &Map<String, Value>) -> Option<(String, u8)> {
    let patch = patch::required(inputs).ok()?;
    let strip = Sections::read(&patch).ok()?.strip;
    Some((patch, strip))
}

/// See the module.
#[derive(Debug)]
pub struct CodeChange;

impl Executor for CodeChange {
    fn name(&self) -> &'static str {
        "code-change"
    }

    fn execute(&self, assignment: &Assignment) -> anyhow::Result<Achieved> {
        let inputs = &assignment.task.inputs;
        let patch = patch::required(inputs)?;
        let verify = commands(inputs, "verify")?.unwrap_or_default();
        let path = normalize(&assignment.task.target.path)?;
        let workspace = Workspace::of(assignment, &patch, &path)?;
        step("Applying the patch");
        let patched = workspace.apply()?;
        let files = patched.files;
        let mut decision_log = vec![format!("inputs.patch applied as it is: {files} files changed")];
        if verify.is_empty() {
            decision_log.push("inputs.verify names no commands: the change was not verified".into());
        } else {
            let verified = run_all(&verify, &Place::of(assignment));
            // Whatever it left, and however it ended: the change is the patch.
            step("Putting the patched tree back");
            workspace.put_back(&patched)?;
            decision_log.append(&mut verified?.decision_log);
        }
        let verified = match verify.len() {
            0 => "not verified".into(),
            1 => "verified by 1 command".into(),
            n => format!("verified by {n} commands"),
        };
        let summary = format!("changed {files} files, {verified}");
        println!("{summary}");
        Ok(Achieved { summary, decision_log })
    }
}
