//! The executor `ops`: runs the commands that the Task names, one after the other, and keeps what each one printed.

mod record;
mod run;
mod spec;

pub use self::run::{Place, run_all};
pub use self::spec::{commands, required_commands};

use super::{Achieved, Assignment, Executor};

/// See the module.
#[derive(Debug)]
pub struct Ops;

impl Executor for Ops {
    fn name(&self) -> &'static str {
        "ops"
    }

    fn execute(&self, assignment: &Assignment) -> anyhow::Result<Achieved> {
        let commands = required_commands(&assignment.task.inputs, "commands")?;
        let ran = run_all(&commands, &Place::of(assignment))?;
        println!("{}", ran.summary);
        Ok(ran)
    }
}
