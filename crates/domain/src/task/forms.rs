//! The texts of a Task that have rules of their own, each beside what of it is static enough for a CEL rule.

use super::{MAX_REF_CHARS, MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS, Operation, Repo, VERSION, git_ref};
use crate::name::{MAX_LABEL_BYTES, is_label_of_any_length};
use crate::shown::is_troublesome;
use crate::table::read::no_longer;
use crate::table::{Form, Holds, Rule};
use crate::{ActorKind, Code};

/// Notes one thing that is wrong.
type Note<'a> = &'a mut dyn FnMut(String);
/// The expression for a field's value; the argument stands for a missing one.
type Value<'a> = &'a dyn Fn(&str) -> String;

const OBJECTIVE_CHARS: (usize, usize) = (5, 4000);
const MAX_OBJECTIVE_CHARS_WITH_BLANKS: usize = 8000;
const OBJECTIVE_PROBLEM: &str = "must be 5 to 4000 characters, leading and trailing blanks not counted";
const PATH_PROBLEM: &str = "must be relative to the repository's root, without '..'";
const MAX_REPO_CHARS: usize = 300;
const MAX_BRANCH_CHARS: usize = 200;

const fn form(chars: (usize, usize), words: &'static [&'static str], check: fn(&str, Note) -> Option<String>) -> Holds {
    Holds::Form(Form { chars, words, pattern: None, check })
}

/// Any text of so many characters, without NUL.
pub const fn text<const LEAST: usize, const MOST: usize>() -> Holds {
    form((LEAST, MOST), &[], |text, note| Some(sized(text, LEAST, MOST, note)))
}

/// [`VERSION`].
pub const VERSION_FORM: Holds = form((0, 16), &[VERSION], |text, note| {
    let text = sized(text, 1, 16, note);
    if text != VERSION {
        note(version_problem());
    }
    Some(text)
});

/// Not counted are blanks around it.
pub const OBJECTIVE: Holds = form((0, MAX_OBJECTIVE_CHARS_WITH_BLANKS), &[], |text, note| {
    no_longer(text, MAX_OBJECTIVE_CHARS_WITH_BLANKS, note);
    let (text, (least, most)) = (text.trim(), OBJECTIVE_CHARS);
    if !(least..=most).contains(&text.chars().count()) {
        note(OBJECTIVE_PROBLEM.into());
    }
    without_nul(text, note);
    Some(text.into())
});

/// Which of them there are is for the gate to say.
pub const OPERATION: Holds = form((0, 64), Operation::NAMES, |text, _| Some(text.into()));

/// One of the names of [`ActorKind`].
pub const ACTOR_KIND: Holds = form((0, 16), ActorKind::NAMES, |text, note| {
    let is_known = ActorKind::parse(text).is_some();
    if !is_known {
        note(one_of(ActorKind::NAMES));
    }
    is_known.then(|| text.into())
});

/// As [`Repo`] writes it.
pub const REPO: Holds = form((0, MAX_REPO_CHARS), &[], |text, note| {
    if !no_longer(text, MAX_REPO_CHARS, note) {
        return None;
    }
    Repo::parse(text).map_err(|problem| note(problem.to_string())).ok().map(String::from)
});

/// The empty one is main.
pub const REF: Holds = form((0, MAX_REF_CHARS), &[], |text, note| {
    let text = sized(text, 0, MAX_REF_CHARS, note);
    if text.is_empty() {
        return Some("main".into());
    }
    if let Some(problem) = git_ref::problem(&text) {
        note(format!("{problem}; give a branch, a tag or a commit id"));
    }
    Some(text)
});

/// The name of a branch, without `refs/heads/`.
pub const BRANCH: Holds = form((0, MAX_BRANCH_CHARS), &[], |text, note| {
    let text = sized(text, 1, MAX_BRANCH_CHARS, note);
    if let Some(problem) = git_ref::problem(&text) {
        note(format!("{problem}; give the name of a branch"));
    }
    if text.starts_with("refs/") {
        note("must be the name of a branch alone, without refs/heads/".into());
    }
    Some(text)
});

/// Any text of so many characters on one line, in which nothing changes how it is shown.
pub const fn line<const LEAST: usize, const MOST: usize>() -> Holds {
    form((LEAST, MOST), &[], |text, note| {
        let text = sized(text, LEAST, MOST, note);
        if text.trim().is_empty() || text.chars().any(|c| c != '\\' && is_troublesome(c)) {
            note("must be one line, not blank, without control characters and marks of direction".into());
        }
        Some(text)
    })
}

/// Of a file or folder below the root.
pub const PATH: Holds = form((0, 512), &[], |text, note| {
    let text = sized(text, 0, 512, note);
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        note(PATH_PROBLEM.into());
    }
    if text.chars().any(char::is_control) {
        note("must not contain control characters".into());
    }
    Some(text)
});

/// The name of one.
pub const EXECUTOR: Holds = Holds::Form(Form {
    chars: (0, MAX_LABEL_BYTES),
    words: &[],
    pattern: Some("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    check: |text, note| {
        let text = sized(text, 1, MAX_LABEL_BYTES, note);
        if !is_label_of_any_length(&text) {
            note("must be lower-case letters, digits and '-', beginning and ending with a letter or digit".into());
        }
        Some(text)
    },
});

fn sized(text: &str, least: usize, most: usize, note: Note) -> String {
    if !(least..=most).contains(&text.chars().count()) {
        note(format!("must be {least} to {most} characters"));
    }
    without_nul(text, note);
    text.into()
}

fn without_nul(text: &str, note: Note) {
    if text.contains('\0') {
        note("must not contain the character NUL".into());
    }
}

fn one_of(names: &[&str]) -> String {
    format!("must be one of {}", names.join(", "))
}

fn among(value: &str, names: &[&str]) -> String {
    format!("{value} in ['{}']", names.join("', '"))
}

fn version_problem() -> String {
    format!("must be \"{VERSION}\", the only version there is")
}

pub fn version_rules(value: Value) -> Vec<Rule> {
    vec![Rule::new(Code::InvalidSpec, format!("{} == '{VERSION}'", value("")), version_problem())]
}

pub fn objective_rules(value: Value) -> Vec<Rule> {
    let (size, (least, most)) = (format!("{}.trim().size()", value("")), OBJECTIVE_CHARS);
    vec![Rule::new(Code::InvalidSpec, format!("{size} >= {least} && {size} <= {most}"), OBJECTIVE_PROBLEM)]
}

pub fn operation_rules(value: Value) -> Vec<Rule> {
    let names = Operation::NAMES;
    // A missing one is said to be missing.
    vec![Rule::new(Code::InvalidOperation, among(&value(Operation::Docs.as_str()), names), one_of(names))]
}

pub fn actor_kind_rules(value: Value) -> Vec<Rule> {
    vec![Rule::new(Code::InvalidSpec, among(&value(""), ActorKind::NAMES), one_of(ActorKind::NAMES))]
}

pub fn repo_rules(value: Value) -> Vec<Rule> {
    let part = "[A-Za-z0-9._][A-Za-z0-9._-]*";
    let holds = format!("{}.trim().matches('^{part}/{part}$') && !{}.contains('..')", value("a/b"), value(""));
    vec![Rule::new(Code::InvalidSpec, holds, "must be owner/name: without scheme, credentials, '..', '?' or '#'")]
}

pub fn ref_rules(value: Value) -> Vec<Rule> {
    let value = value("");
    let holds = format!("!{value}.startsWith('-') && !{value}.contains('..')");
    vec![Rule::new(Code::InvalidSpec, holds, "must be a branch, a tag or a commit id")]
}

pub fn path_rules(value: Value) -> Vec<Rule> {
    let value = value("");
    let holds = format!("!{value}.startsWith('/') && !{value}.matches('(^|/)\\\\.\\\\.(/|$)')");
    vec![Rule::new(Code::InvalidSpec, holds, PATH_PROBLEM)]
}

pub fn time_budget_rules(value: Value) -> Vec<Rule> {
    let (value, least, most) = (value(""), MIN_TIME_BUDGET_SECONDS, MAX_TIME_BUDGET_SECONDS);
    let message = format!("must be {least} to {most} seconds");
    vec![
        Rule::new(Code::TimeBudgetTooLow, format!("{value} >= {least}"), message.clone()),
        Rule::new(Code::TimeBudgetTooHigh, format!("{value} <= {most}"), message),
    ]
}

pub fn network_rules(value: Value) -> Vec<Rule> {
    vec![Rule::new(Code::NetworkAccessDenied, format!("!{}", value("")), "must be false")]
}

pub fn secrets_rules(value: Value) -> Vec<Rule> {
    vec![Rule::new(Code::SecretsAccessDenied, format!("!{}", value("")), "must be false")]
}
