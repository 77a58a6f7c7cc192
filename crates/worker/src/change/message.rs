//! The commit that records a change, as git stores it. Pure: the same change has the same id, whoever makes it.

use std::fmt::Write as _;

use jiff::Timestamp;

use jct_domain::forge::AgentTrailer;
use jct_domain::task::RequestedBy;
use jct_domain::url::percent_encoded;
use jct_domain::{Id, TraceId};
use jct_untrusted::names::is_troublesome;
use jct_untrusted::names::shorten;

/// Author and committer.
const IDENTITY: &str = "JCT <jct@jct.invalid>";
/// The greatest length of the first line, in characters.
const MAX_SUBJECT_CHARS: usize = 72;

/// For whom and by what a change was made.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// What was to be done.
    pub objective: &'a str,
    pub requested_by: &'a RequestedBy,
    pub task_id: Id,
    pub trace_id: &'a TraceId,
    pub executor: &'a str,
    /// How the message names the agent, and its name and address where that is not the executor's name.
    pub agent: (AgentTrailer, Option<&'a str>),
    /// When the change counts as made.
    pub at: Timestamp,
}

/// The content of the commit object of `tree` on `parent`.
pub fn commit(tree: &str, parent: &str, identity: &Identity) -> String {
    let time = identity.at.as_second();
    format!(
        "tree {tree}\nparent {parent}\nauthor {IDENTITY} {time} +0000\ncommitter {IDENTITY} {time} +0000\n\n{}",
        message(identity)
    )
}

/// The first line of the objective, all of it, and the trailers.
///
/// The trailers are the last paragraph, which no text of others is a part of; and no line of theirs is taken for a trailer,
/// for the end of the message or for the beginning of a patch.
fn message(identity: &Identity) -> String {
    let Identity { objective, requested_by, task_id, trace_id, executor, agent, at: _ } = identity;
    let lines: Vec<String> = objective.trim().lines().map(|line| plain(line).trim_end().to_owned()).collect();
    let subject = lines.first().map(|line| line.trim()).filter(|line| !line.is_empty()).unwrap_or("Change");
    let subject = if is_divider(subject) { format!("> {subject}") } else { subject.to_owned() };
    let mut message = shorten(&subject, MAX_SUBJECT_CHARS);
    message.push_str("\n\n");
    for line in &lines {
        let quote = if is_divider(line) || is_like_a_trailer(line) { "> " } else { "" };
        let _ = writeln!(message, "{quote}{line}");
    }
    let (name, address) = co_author(requested_by);
    let _ = write!(
        message,
        "\nCo-authored-by: {name} <{address}>\n{}Jct-Task-Id: {task_id}\nJct-Trace-Id: {trace_id}\nJct-Executor: {}\n",
        agent_line(*agent, executor),
        word(executor)
    );
    message
}

/// The line that names the agent, as the project wants it.
fn agent_line((trailer, identity): (AgentTrailer, Option<&str>), executor: &str) -> String {
    let name = match (trailer, identity) {
        (AgentTrailer::None, _) => return String::new(),
        (_, Some(identity)) => plain(identity).trim().to_owned(),
        (AgentTrailer::CoAuthoredBy, None) => format!("{0} <{0}@executor.jct.invalid>", word(executor)),
        (_, None) => word(executor),
    };
    format!("{trailer}: {name}\n")
}

/// Name and address. An id that is no e-mail address becomes one that nobody has.
fn co_author(requested_by: &RequestedBy) -> (String, String) {
    let RequestedBy { kind, id, label } = requested_by;
    let name: String = plain(label.as_deref().unwrap_or(id)).chars().filter(|c| !matches!(c, '<' | '>')).collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = if name.is_empty() { kind.to_string() } else { name };
    (name, if is_address(id) { id.clone() } else { format!("{}@{kind}.jct.invalid", word(id)) })
}

fn is_address(id: &str) -> bool {
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+%".contains(&byte))
    };
    id.split_once('@').is_some_and(|(local, domain)| is_plain(local) && is_plain(domain) && domain.contains('.'))
}

/// `text` as one word: what is no letter, digit or one of `.-_+` is written as `%XX`.
fn word(text: &str) -> String {
    percent_encoded(text.as_bytes(), b".-_+")
}

/// One line of plain text.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c != '\\' && is_troublesome(c) { ' ' } else { c }).collect()
}

/// Where git, reading mail or trailers, takes a message to be over.
fn is_divider(line: &str) -> bool {
    ["---", "diff -", "Index: ", "*** ", "-- "].iter().any(|start| line.starts_with(start)) || line == "--"
}

/// `Key: value`, or what git itself writes among trailers.
fn is_like_a_trailer(line: &str) -> bool {
    let key = line.split_once(':').map_or("", |(key, _)| key.trim_end());
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_key || line.starts_with("(cherry picked from")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use jct_domain::ActorKind;

    fn shown(objective: &str, requested_by: &RequestedBy) -> String {
        shown_with(objective, requested_by, (AgentTrailer::None, None))
    }

    fn shown_with(objective: &str, requested_by: &RequestedBy, agent: (AgentTrailer, Option<&str>)) -> String {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let (task_id, trace_id) = (Id::derive(at, "uid"), TraceId::derive("uid"));
        message(&Identity { objective, requested_by, task_id, trace_id: &trace_id, executor: "code-change", agent, at })
    }

    fn human(id: &str, label: Option<&str>) -> RequestedBy {
        RequestedBy { kind: ActorKind::Human, id: id.into(), label: label.map(str::to_owned) }
    }

    #[test]
    fn the_message_is_objective_and_trailers() {
        let message = shown("Mend the parser\r\n\r\nIt failed.\n", &human("ada@example.org", Some("Ada")));
        let (head, trailers) = message.split_once("Co-authored-by").unwrap();
        assert_eq!(head, "Mend the parser\n\nMend the parser\n\nIt failed.\n\n");
        assert!(trailers.starts_with(": Ada <ada@example.org>\nJct-Task-Id: 01"), "{trailers}");
        assert!(trailers.ends_with("\nJct-Executor: code-change\n"), "{trailers}");
    }

    #[rstest]
    #[case(AgentTrailer::None, Some("Bot <bot@example.org>"), None)]
    #[case(AgentTrailer::CoAuthoredBy, None, Some("Co-authored-by: code-change <code-change@executor.jct.invalid>"))]
    #[case(AgentTrailer::AssistedBy, None, Some("Assisted-by: code-change"))]
    #[case(AgentTrailer::GeneratedBy, Some("Bot <bot@example.org>"), Some("Generated-by: Bot <bot@example.org>"))]
    #[case(AgentTrailer::AssistedBy, Some("Bot\nJct-Task-Id: forged"), Some("Assisted-by: Bot Jct-Task-Id: forged"))]
    fn the_agent_is_named_as_the_project_wants_it(
        #[case] trailer: AgentTrailer,
        #[case] identity: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let message = shown_with("Mend it", &human("ada", None), (trailer, identity));
        let trailers: Vec<&str> = message.rsplit_once("\n\n").unwrap().1.lines().collect();
        assert_eq!(trailers.len(), 4 + usize::from(expected.is_some()), "{message}");
        assert!(
            trailers[0].starts_with("Co-authored-by: ada <")
                && trailers.iter().any(|line| line.starts_with("Jct-Task-Id: 01"))
        );
        assert_eq!(expected.map(|_| trailers[1]), expected, "{message}");
    }

    #[rstest]
    #[case("ada", None, "ada <ada@human.jct.invalid>")]
    #[case("ada@example.org", None, "ada@example.org <ada@example.org>")]
    #[case("a@b", None, "a@b <a%40b@human.jct.invalid>")]
    #[case(
        "x> <eve@example.org",
        Some("A\nJct-Task-Id: forged <b>"),
        "A Jct-Task-Id: forged b <x%3E%20%3Ceve%40example.org@human.jct.invalid>"
    )]
    #[case("\u{202e}", Some("\n"), "human <%E2%80%AE@human.jct.invalid>")]
    fn who_asked_is_one_name_and_one_address(#[case] id: &str, #[case] label: Option<&str>, #[case] expected: &str) {
        let message = shown("Mend it", &human(id, label));
        assert!(message.contains(&format!("\nCo-authored-by: {expected}\n")), "{message}");
    }

    proptest! {
        #[test]
        fn nothing_forges_a_trailer(
            objective in "([ -~\n\u{2028}]|\nJct-Task-Id: forged|\n---\n|\ndiff --git a b|Co-authored-by: x <x@y>|\r\n|\n\n){5,40}",
            label in "[ -~\n\r]{1,60}|.{1,30}",
            id in "[ -~\n]{1,60}",
        ) {
            let message = shown(&objective, &human(&id, Some(&label)));
            let lines: Vec<&str> = message.lines().collect();
            let (trailers, body) = (&lines[lines.len() - 4..], &lines[1..lines.len() - 4]);
            let keys = ["Co-authored-by: ", "Jct-Task-Id: 01", "Jct-Trace-Id: ", "Jct-Executor: code-change"];
            for (line, key) in trailers.iter().zip(keys) {
                prop_assert!(line.starts_with(key), "{message}");
            }
            prop_assert_eq!(body.last(), Some(&""));
            prop_assert!(!body.iter().any(|line| is_like_a_trailer(line) || is_divider(line)), "{}", message);
            prop_assert!(!is_divider(lines[0]) && lines[0].chars().count() <= MAX_SUBJECT_CHARS && lines[1].is_empty());
            prop_assert!(!message.chars().any(|c| c != '\n' && c.is_control()));
        }
    }
}
