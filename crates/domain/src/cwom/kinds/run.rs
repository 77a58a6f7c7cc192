use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::choices;
use crate::cwom::limits::{AMOUNT, ARTIFACTS, DOCTRINES, ISSUE, META, PACKETS, REPO, SENTENCES, SNAPSHOT, WORDS};
use crate::cwom::{Actor, Ref, Status};
use crate::table::Holds::{self, Choice, Integer, Object, Text};
use crate::table::Need::{Empty, Optional, Or, Required};
use crate::table::record;

record! {
    /// One try at an Issue. Its inputs and outputs are only ever added to.
    pub struct Run {
        /// The Issue that it works on.
        for_issue: Ref = Required, ISSUE;
        /// The Repo that it works on.
        repo: Ref = Required, REPO;
        /// Where it is on its way; planned by default.
        status: Status = Or("planned"), Choice(Status::NAMES);
        /// Who works: agent and system are run by JCT, human and hybrid are only recorded.
        mode: Mode = Required, Choice(Mode::NAMES);
        /// Who carries it out, and with what.
        executor: Executor = Required, Object(&Executor::SHAPE);
        /// What it starts from, pinned.
        inputs: RunInputs = Empty, Object(&RunInputs::SHAPE);
        /// What it means to do.
        plan: Plan = Empty, Object(&Plan::SHAPE);
        /// When it ran.
        telemetry: Telemetry = Empty, Object(&Telemetry::SHAPE);
        /// What it cost.
        cost: Cost = Empty, Object(&Cost::SHAPE);
        /// What came out.
        outputs: RunOutputs = Empty, Object(&RunOutputs::SHAPE);
        /// Why it failed.
        failure: Option<Failure> = Optional, Object(&Failure::SHAPE);
        /// Words to find it by.
        tags: Vec<String> = Empty, WORDS;
        /// Free-form.
        meta: Map<String, Value> = Empty, META;
    }
}

record! {
    /// Who carries a Run out, and with what.
    pub struct Executor {
        /// Who.
        actor: Actor = Required, Object(&Actor::SHAPE);
        /// Where it runs.
        runtime: Option<String> = Optional, Text(1, 64);
        /// With which tools.
        toolchain: Vec<String> = Empty, WORDS;
    }
}

record! {
    /// What a Run starts from.
    pub struct RunInputs {
        /// What it has to know.
        context_packets: Vec<Ref> = Empty, PACKETS;
        /// The doctrine that binds it.
        doctrine_refs: Vec<Ref> = Empty, DOCTRINES;
        /// The constraints that it is done under.
        constraint_snapshot: Option<Ref> = Optional, SNAPSHOT;
    }
}

record! {
    /// What a Run means to do.
    pub struct Plan {
        /// In this order.
        steps: Vec<String> = Empty, SENTENCES;
        /// What could go wrong.
        risk_notes: Vec<String> = Empty, SENTENCES;
    }
}

record! {
    /// When a Run ran.
    pub struct Telemetry {
        /// When it began.
        started_at: Option<Timestamp> = Optional, Holds::Time;
        /// When it ended.
        ended_at: Option<Timestamp> = Optional, Holds::Time;
        /// How long it took, in seconds.
        duration_s: Option<f64> = Optional, AMOUNT;
    }
}

record! {
    /// What a Run cost.
    pub struct Cost {
        /// In US dollars.
        usd: Option<f64> = Optional, AMOUNT;
        /// Tokens of a language model.
        tokens: Option<u64> = Optional, Integer(0, i64::MAX);
        /// Processor time, in seconds.
        compute_s: Option<f64> = Optional, AMOUNT;
    }
}

record! {
    /// What came out of a Run.
    pub struct RunOutputs {
        /// What it made.
        artifacts: Vec<Ref> = Empty, ARTIFACTS;
        /// In short.
        result_summary: Option<String> = Optional, Text(0, 4000);
        /// What was decided on the way.
        decision_log: Vec<String> = Empty, SENTENCES;
    }
}

record! {
    /// Why a Run failed.
    pub struct Failure {
        /// What kind of failure.
        category: FailureCategory = Required, Choice(FailureCategory::NAMES);
        /// In a sentence.
        message: String = Required, Text(1, 4000);
    }
}

choices! {
    /// Who works on a Run.
    pub enum Mode {
        /// A person.
        Human = "human",
        /// An agent.
        Agent = "agent",
        /// A person and an agent together.
        Hybrid = "hybrid",
        /// A program that does what it was told.
        System = "system",
    }
}

choices! {
    /// What kind of failure ended a Run.
    pub enum FailureCategory {
        /// It was not allowed.
        Policy = "policy",
        /// It could not be built.
        Build = "build",
        /// A test failed.
        Test = "test",
        /// It failed while it ran.
        Runtime = "runtime",
        /// Something that it needs was missing.
        Dependency = "dependency",
        /// Nobody knows.
        Unknown = "unknown",
    }
}
