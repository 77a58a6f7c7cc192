use serde_json::{Map, Value};

use crate::choices;
use crate::cwom::limits::{
    ACTORS, DOCTRINES, ISSUE, ISSUES, MAX_ISSUE_META_BYTES, PACKETS, REPO, RUNS, SENTENCES, SNAPSHOTS, WORDS,
};
use crate::cwom::{Actor, Ref, Status};
use crate::table::Holds::{Choice, Free, Object, Text};
use crate::table::Need::{Derived, Empty, Optional, Or, Required};
use crate::table::record;

record! {
    /// Work to be done, and why.
    pub struct Issue {
        /// The Repo that it is about.
        repo: Ref = Required, REPO;
        /// In a line.
        title: String = Required, Text(1, 512);
        /// In full.
        description: String = Or(""), Text(0, 16000);
        /// What kind of work.
        r#type: IssueType = Required, Choice(IssueType::NAMES);
        /// P0 is the most urgent, P4 the least; P2 by default.
        priority: Priority = Or("P2"), Choice(Priority::NAMES);
        /// Where it is on its way; planned by default.
        status: Status = Or("planned"), Choice(Status::NAMES);
        /// Who does it.
        assignees: Vec<Actor> = Empty, ACTORS;
        /// Who wants to know.
        watchers: Vec<Actor> = Empty, ACTORS;
        /// The doctrine that binds it.
        doctrine_refs: Vec<Ref> = Empty, DOCTRINES;
        /// The constraints that it is done under.
        constraints: Vec<Ref> = Empty, SNAPSHOTS;
        /// What one has to know for it.
        context_packets: Vec<Ref> = Empty, PACKETS;
        /// When it counts as done.
        acceptance: Acceptance = Empty, Object(&Acceptance::SHAPE);
        /// How it stands to other Issues.
        relationships: Relationships = Empty, Object(&Relationships::SHAPE);
        /// The Runs that name it.
        runs: Vec<Ref> = Derived, RUNS;
        /// Words to find it by.
        tags: Vec<String> = Empty, WORDS;
        /// Free-form; `task` holds what only a Task knows.
        meta: Map<String, Value> = Empty, Free(MAX_ISSUE_META_BYTES);
    }
}

record! {
    /// When an Issue counts as done.
    pub struct Acceptance {
        /// All of these hold.
        criteria: Vec<String> = Empty, SENTENCES;
        /// Which tests are expected.
        tests_expected: Option<String> = Optional, Text(0, 4000);
    }
}

record! {
    /// How an Issue stands to others.
    pub struct Relationships {
        /// The Issue that it is a part of.
        parent: Option<Ref> = Optional, ISSUE;
        /// Issues that wait for it.
        blocks: Vec<Ref> = Empty, ISSUES;
        /// Issues that it waits for.
        blocked_by: Vec<Ref> = Empty, ISSUES;
        /// Issues that say the same.
        duplicates: Vec<Ref> = Empty, ISSUES;
    }
}

choices! {
    /// What kind of work an Issue is.
    pub enum IssueType {
        /// Something new.
        Feature = "feature",
        /// Something to mend.
        Bug = "bug",
        /// Upkeep.
        Chore = "chore",
        /// Something to find out.
        Research = "research",
        /// Operational work.
        Ops = "ops",
        /// Documentation.
        Doc = "doc",
        /// Something that went wrong in production.
        Incident = "incident",
    }
}

choices! {
    /// How urgent an Issue is.
    pub enum Priority {
        /// The most urgent.
        P0 = "P0",
        /// Very urgent.
        P1 = "P1",
        /// The usual.
        P2 = "P2",
        /// When there is time.
        P3 = "P3",
        /// The least urgent.
        P4 = "P4",
    }
}
