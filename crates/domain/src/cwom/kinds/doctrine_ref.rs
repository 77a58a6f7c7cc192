use serde_json::{Map, Value};

use super::IssueType;
use crate::choices;
use crate::cwom::Ref;
use crate::cwom::limits::{META, NOTES, REPOS, URLS, WORDS};
use crate::table::Holds::{Choice, List, Object, Text};
use crate::table::Need::{Empty, Optional, Or, Required};
use crate::table::record;

record! {
    /// A rule that work is bound by. Namespace, name and version together name one, and never change.
    pub struct DoctrineRef {
        /// Whose doctrine.
        namespace: String = Required, Text(1, 128);
        /// Its name there.
        name: String = Required, Text(1, 256);
        /// Its version.
        version: String = Required, Text(1, 64);
        /// What kind of rule.
        r#type: DoctrineType = Required, Choice(DoctrineType::NAMES);
        /// How binding: must, should or may; should by default.
        priority: DoctrinePriority = Or("should"), Choice(DoctrinePriority::NAMES);
        /// The rule.
        statement: String = Required, Text(1, 4000);
        /// Why.
        rationale: Option<String> = Optional, NOTES;
        /// Related addresses.
        links: Vec<String> = Empty, URLS;
        /// Where it applies; everywhere when empty.
        applicability: Applicability = Empty, Object(&Applicability::SHAPE);
        /// Words to find it by.
        tags: Vec<String> = Empty, WORDS;
        /// Free-form.
        meta: Map<String, Value> = Empty, META;
    }
}

record! {
    /// Where a rule applies.
    pub struct Applicability {
        /// To these Repos.
        repo_refs: Vec<Ref> = Empty, REPOS;
        /// To Issues of these types.
        issue_types: Vec<IssueType> = Empty, List(IssueType::NAMES.len(), &Choice(IssueType::NAMES));
        /// To what has one of these tags.
        tags: Vec<String> = Empty, WORDS;
    }
}

choices! {
    /// What kind of rule a DoctrineRef is.
    pub enum DoctrineType {
        /// What one believes in.
        Principle = "principle",
        /// What is decided.
        Policy = "policy",
        /// How it is done.
        Procedure = "procedure",
        /// What mostly helps.
        Heuristic = "heuristic",
        /// A form that has proved itself.
        Pattern = "pattern",
    }
}

choices! {
    /// How binding a rule is (RFC 2119).
    pub enum DoctrinePriority {
        /// Always.
        Must = "must",
        /// Unless there is a reason.
        Should = "should",
        /// If one likes.
        May = "may",
    }
}
