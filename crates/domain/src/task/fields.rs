//! Every field of a Task, with its default, its limit and what the custom resource's definition says of it.

use serde_json::{Map, Value};

use super::{
    DEFAULT_TIME_BUDGET_SECONDS, MAX_ATTEMPTS, MAX_INPUTS_BYTES, MAX_METADATA_BYTES, MAX_TIME_BUDGET_SECONDS,
    MIN_TIME_BUDGET_SECONDS, Operation, Repo, VERSION, forms,
};
use crate::ActorKind;
use crate::forge::Mode;
use crate::model::Usd;
use crate::table::Holds::{self, Choice, Clamped, Count, Flag, Free, Integer, List, Number, Object, Texts};
use crate::table::Need::{Else, Empty, Optional, Or, Required};
use crate::table::{Scalar, Shape, record};

/// The greatest number of dollars that a Task can ask for.
const MAX_USD: f64 = 1e6;
/// The greatest number of tokens.
const MAX_TOKENS: i64 = 1 << 53;

/// What the author of a Task writes: what it is, and how it is handled.
pub const SHAPES: [&Shape; 2] = [&Task::SHAPE, &Controls::SHAPE];

record! {
    /// A durable, governed unit of work.
    #[derive(Eq)]
    pub struct Task {
        /// Version of the specification; only "1.0".
        version: String = Or(VERSION), forms::VERSION_FORM, rules(forms::version_rules);
        /// Same key in the same namespace, same Task: a second object with it does not run.
        idempotency_key: Option<String> = Optional, forms::text::<1, 256>();
        /// Who asks for the work, by their own account. The authenticated user is recorded besides.
        requested_by: RequestedBy = Required, Object(&RequestedBy::SHAPE);
        /// What is to be done: 5 to 4000 characters, leading and trailing blanks not counted.
        objective: String = Required, forms::OBJECTIVE, rules(forms::objective_rules);
        /// One of code_change, docs, analysis, ops.
        operation: Operation = Required, forms::OPERATION, alias("type"), rules(forms::operation_rules);
        /// What the work is about.
        target: Target = Required, Object(&Target::SHAPE);
        /// What the work may use.
        constraints: Constraints = Empty, Object(&Constraints::SHAPE);
        /// Free-form parameters of the executor, at most 256 KiB of JSON.
        inputs: Map<String, Value> = Empty, Free(MAX_INPUTS_BYTES), alias("payload");
        /// Free-form notes of the requester, at most 64 KiB of JSON.
        metadata: Map<String, Value> = Empty, Free(MAX_METADATA_BYTES);
        /// When the work counts as done: at most 50 of at most 1000 characters.
        acceptance_criteria: Vec<String> = Empty, Texts(50, 1000);
        /// What must be shown for it: at most 50 of at most 1000 characters.
        evidence_requirements: Vec<String> = Empty, Texts(50, 1000);
    }
}

record! {
    /// Who asks for the work, by their own account. Who really asked is the authenticated user beside it.
    #[derive(Eq)]
    pub struct RequestedBy {
        /// human, agent or system.
        kind: ActorKind = Required, forms::ACTOR_KIND, rules(forms::actor_kind_rules);
        /// Identifier, 1 to 128 characters.
        id: String = Required, forms::text::<1, 128>();
        /// A name for people.
        label: Option<String> = Optional, forms::text::<1, 256>();
    }
}

record! {
    /// What the work is about.
    #[derive(Eq)]
    pub struct Target {
        /// Repository as owner/name.
        repo: Repo = Required, forms::REPO, alias("repository"), rules(forms::repo_rules);
        /// Branch, tag or commit; "main" by default.
        git_ref("ref"): String = Else(Scalar::Text("main")), forms::REF, rules(forms::ref_rules);
        /// Path inside the repository; all of it by default.
        path: String = Else(Scalar::Text("")), forms::PATH, rules(forms::path_rules);
    }
}

record! {
    /// What the work may use.
    #[derive(Eq)]
    pub struct Constraints {
        /// How long the executor may run, 30 to 86400 seconds; 900 by default.
        time_budget_seconds: u32 = Else(Scalar::Number(DEFAULT_TIME_BUDGET_SECONDS as i64)),
            Clamped(MIN_TIME_BUDGET_SECONDS as i64, MAX_TIME_BUDGET_SECONDS as i64), rules(forms::time_budget_rules);
        /// Must be false in version 1.
        allow_network: bool = Else(Scalar::Flag(false)), Flag, rules(forms::network_rules);
        /// Must be false in version 1.
        allow_secrets: bool = Else(Scalar::Flag(false)), Flag, rules(forms::secrets_rules);
    }
}

record! {
    /// The fields that say how a Task is handled, not what it is.
    #[derive(Eq)]
    pub struct Controls {
        /// Make the CWOM objects that tell the Task's causality; true by default.
        create_cwom: bool = Else(Scalar::Flag(true)), Flag, only_in_resource();
        /// Name of a configured executor; by operation when absent.
        executor: Option<String> = Optional, forms::EXECUTOR;
        /// Which model the executor asks, and how much of it: only less than the executor and the grant have.
        model: Option<TaskModel> = Optional, Object(&TaskModel::SHAPE);
        /// What becomes of the change once it is approved; it stays in the trace when absent.
        delivery: Option<TaskDelivery> = Optional, Object(&TaskDelivery::SHAPE);
        /// How often the work is tried, 1 to 10; 1 by default.
        max_attempts: u32 = Else(Scalar::Number(1)), Count(1, MAX_ATTEMPTS as i64);
        /// Delete this object so many seconds after its end; never when absent. The record stays.
        ttl_seconds_after_finished: Option<u32> = Optional, Count(0, i32::MAX as i64);
        /// Hold the Task back: no further attempt starts while this is true. A running attempt goes on. May change.
        suspend: bool = Else(Scalar::Flag(false)), Flag, may_change();
        /// End the Task. May change.
        cancel: bool = Else(Scalar::Flag(false)), Flag, only_in_resource(), may_change();
    }
}

record! {
    /// Which model the executor asks, and how much of it.
    #[derive(Eq)]
    pub struct TaskModel {
        /// One of those that the executor may ask and that are granted; all of them when absent.
        alias: Option<String> = Optional, forms::text::<1, 200>();
        /// Dollars, over all attempts.
        max_usd: Option<Usd> = Optional, Number(0.0, MAX_USD);
        /// Tokens, over all attempts.
        max_tokens: Option<u64> = Optional, Integer(1, MAX_TOKENS);
    }
}

record! {
    /// What becomes of the change once it is approved.
    #[derive(Eq)]
    pub struct TaskDelivery {
        /// none, branch or pull_request; none by default. For code_change and docs.
        mode: Mode = Else(Scalar::Text("none")), Choice(Mode::NAMES);
        /// The branch that it should go into; target.ref by default, where that is a branch.
        base: Option<String> = Optional, forms::BRANCH;
        /// The branch that it is put on; by default one that begins with the forge's prefix and has the Task's name.
        branch: Option<String> = Optional, forms::BRANCH;
        /// Of the pull request; by default the objective's first line.
        title: Option<String> = Optional, forms::line::<1, 200>();
        /// Whether the pull request is a draft; true by default.
        draft: bool = Else(Scalar::Flag(true)), Flag;
        /// Labels of the pull request: at most 20 of at most 50 characters.
        labels: Vec<String> = Empty, List(20, &LABEL);
        /// Whom the pull request asks for a review, by their names on the forge: at most 20 of at most 100 characters.
        reviewers: Vec<String> = Empty, List(20, &REVIEWER);
    }
}

const LABEL: Holds = forms::line::<1, 50>();
const REVIEWER: Holds = forms::line::<1, 100>();

impl TaskDelivery {
    /// The branch that the change should go into, of a Task for `git_ref`: none if that is no branch as far as its name tells.
    pub fn base<'a>(&'a self, git_ref: &'a str) -> Option<&'a str> {
        let is_commit = matches!(git_ref.len(), 40 | 64) && git_ref.bytes().all(|byte| byte.is_ascii_hexdigit());
        let branch = git_ref.strip_prefix("refs/heads/").unwrap_or(git_ref);
        self.base.as_deref().or(Some(branch).filter(|branch| !is_commit && !branch.starts_with("refs/")))
    }
}

/// What a Task asks for beside its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks<'a> {
    /// Who does it; by operation when absent.
    pub executor: Option<&'a str>,
    /// Which model, and how much of it.
    pub model: Option<&'a TaskModel>,
    /// What becomes of the change. One of mode none is as good as none.
    pub delivery: Option<&'a TaskDelivery>,
}

impl<'a> Asks<'a> {
    /// What is asked for by these.
    pub fn of(executor: Option<&'a str>, model: Option<&'a TaskModel>, delivery: Option<&'a TaskDelivery>) -> Self {
        Self { executor, model, delivery: delivery.filter(|delivery| delivery.mode != Mode::None) }
    }
}

impl Controls {
    /// What they ask for.
    pub fn asks(&self) -> Asks<'_> {
        Asks::of(self.executor.as_deref(), self.model.as_ref(), self.delivery.as_ref())
    }
}

impl Default for Controls {
    fn default() -> Self {
        Self {
            create_cwom: true,
            executor: None,
            model: None,
            delivery: None,
            max_attempts: 1,
            ttl_seconds_after_finished: None,
            suspend: false,
            cancel: false,
        }
    }
}
