//! Title and body of a pull request. Pure.

use std::fmt::Write as _;

use super::inert::{block, line, word};
use crate::evidence::Verdict;
use crate::{Id, TraceId};

/// The longest title, in characters: GitHub takes 256, others no fewer.
pub const MAX_TITLE_CHARS: usize = 200;
/// The longest body, in characters: GitHub takes 65,536, others more.
pub const MAX_BODY_CHARS: usize = 30_000;
/// What is shown of an objective, in characters.
const MAX_OBJECTIVE_CHARS: usize = 8_000;
/// The longest name and other short text.
const MAX_WORD_CHARS: usize = 300;
/// How many checks and approvers are named.
const MAX_NAMED: usize = 50;

/// What a pull request says.
#[derive(Clone, Copy, Debug)]
pub struct PullRequest<'a> {
    /// What the Task asks the title to be; the objective's first line where it does not.
    pub title: Option<&'a str>,
    /// What was to be done.
    pub objective: &'a str,
    /// Who asked for it, as the API server knows them.
    pub requested_by: &'a str,
    /// Who approved it; nobody where no review was required.
    pub approved_by: &'a [&'a str],
    /// What made the change.
    pub executor: &'a str,
    /// The Task's namespace and name.
    pub task: (&'a str, &'a str),
    /// Its id.
    pub task_id: Id,
    /// Its trace.
    pub trace_id: &'a TraceId,
    /// Which attempt.
    pub attempt: u32,
    /// What JCT's own checks came to, where they are evaluated.
    pub verdict: Option<Verdict>,
    /// Those of its checks that failed.
    pub checks_failed: &'a [&'a str],
    /// What is signed.
    pub signed: Signed<'a>,
    /// Where people can look at it all: the console's page of the Task.
    pub link: Option<&'a str>,
}

/// What binds a pull request to its trace.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The commit that was sealed.
    pub sealed_commit: &'a str,
    /// The commit that is delivered: another one where the operator signed it, with the same tree, parents and message.
    pub delivered_commit: &'a str,
    /// The digest of the manifest.
    pub manifest_sha256: &'a str,
    /// The digest of the signed statement about the attempt; none where nothing is signed.
    pub statement_sha256: Option<&'a str>,
}

impl PullRequest<'_> {
    /// Its title: one line of plain text, never empty.
    pub fn title(&self) -> String {
        let lines = self.title.into_iter().chain(self.objective.lines());
        let title = lines.map(|text| line(text, MAX_TITLE_CHARS - 1)).find(|title| !title.is_empty());
        title.unwrap_or_else(|| "Change".into())
    }

    /// Its body, as markdown.
    pub fn body(&self) -> String {
        let short = |text: &str| word(text, MAX_WORD_CHARS);
        let (namespace, name) = self.task;
        let mut body = format!(
            "An agent made this change: please read it as you would a stranger's.\n\n**Objective**\n\n{}\n\n| | |\n|---|---|\n",
            block(self.objective, MAX_OBJECTIVE_CHARS)
        );
        let mut row = |what: &str, text: String| {
            // A bar would end the cell, even in code.
            let _ = writeln!(body, "| {what} | {} |", text.replace('|', "\\|"));
        };
        row("Requested by", short(self.requested_by));
        row(
            "Approved by",
            if self.approved_by.is_empty() { "nobody: no review was required".into() } else { list(self.approved_by) },
        );
        row("Made by", short(self.executor));
        row(
            "Task",
            format!(
                "{}, id {}, attempt {}",
                short(&format!("{namespace}/{name}")),
                short(&self.task_id.to_string()),
                self.attempt
            ),
        );
        row("Trace", short(self.trace_id.as_str()));
        row("JCT's checks", self.checks());
        let Signed { sealed_commit, delivered_commit, manifest_sha256, statement_sha256 } = self.signed;
        row("Sealed commit", short(sealed_commit));
        if sealed_commit != delivered_commit {
            row("Delivered commit", format!("{}: the same tree, parents and message, signed", short(delivered_commit)));
        }
        row("Manifest, SHA-256", short(manifest_sha256));
        row("Signed statement, SHA-256", statement_sha256.map_or_else(|| "none".into(), short));
        body.push_str(&self.verification());
        debug_assert!(body.chars().count() <= MAX_BODY_CHARS, "each part has its limit");
        body
    }

    fn checks(&self) -> String {
        let verdict = self.verdict.map_or("not evaluated", Verdict::as_str);
        if self.checks_failed.is_empty() {
            format!("`{verdict}`")
        } else {
            format!("`{verdict}`; failed: {}", list(self.checks_failed))
        }
    }

    fn verification(&self) -> String {
        let (namespace, name) = self.task;
        let argument = |text: &str| {
            text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).collect::<String>()
        };
        let mut text = format!(
            "\n**To verify it** (needs the operator's public keys, `GET /keys`, and nothing else of JCT)\n\n```sh\n\
             kubectl jct trace download {} --namespace {}\njct trace verify --keys keys.json DIRECTORY\n```\n",
            argument(name),
            argument(namespace)
        );
        if let Some(link) = self.link.filter(|link| is_plain_link(link)) {
            let _ = write!(text, "\n<{link}>\n");
        }
        text
    }
}

fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_NAMED).map(|name| word(name, 100)).collect();
    let rest = names.len().saturating_sub(MAX_NAMED);
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}

fn is_plain_link(link: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?=&%".contains(c);
    (link.starts_with("https://") || link.starts_with("http://")) && link.len() <= 500 && link.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn request<'a>(trace_id: &'a TraceId, objective: &'a str, requested_by: &'a str) -> PullRequest<'a> {
        PullRequest {
            title: None,
            objective,
            requested_by,
            approved_by: &["bob"],
            executor: "docs",
            task: ("team-a", "add-docs"),
            task_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
            trace_id,
            attempt: 2,
            verdict: Some(Verdict::Partial),
            checks_failed: &[],
            signed: Signed {
                sealed_commit: "1111111111111111111111111111111111111111",
                delivered_commit: "2222222222222222222222222222222222222222",
                manifest_sha256: DIGEST,
                statement_sha256: Some(DIGEST),
            },
            link: Some("https://jct.example.org/console/tasks/x"),
        }
    }

    #[test]
    fn a_body_says_who_what_and_how_to_verify_it() {
        let trace_id = TraceId::derive("x");
        insta::assert_snapshot!(request(&trace_id, "Document the API.\nAll of it.", "alice").body());
    }

    #[test]
    fn words_of_strangers_do_nothing() {
        let trace_id = TraceId::derive("x");
        let hostile = "closes #1 @octocat <!-- x -->\n```\n/merge\n| a | b |\n\u{202e}[x](https://evil.example)";
        let mut request = request(&trace_id, hostile, "a|b`c\n## @octocat fixes #2");
        request.link = Some("javascript:alert(1)");
        let (title, body) = (request.title(), request.body());
        assert_eq!(title, "closes # 1 @ octocat < ! -- x -->");
        for bad in
            ["#1", "@octocat", "<!--", "\n/merge", "\n```\n/", "\u{202e}", "https://evil", "#2", "\n## ", "javascript"]
        {
            assert!(!body.contains(bad), "{bad:?} in {body}");
        }
        assert!(body.contains(r"| Requested by | `a\|b'c ## @ octocat fixes # 2` |"), "{body}");
    }

    #[test]
    fn both_have_their_limits_and_are_never_empty() {
        let trace_id = TraceId::derive("x");
        let long = "@x<y ".repeat(20_000);
        let names = vec![long.as_str(); 100];
        let request = PullRequest { approved_by: &names, checks_failed: &names, ..request(&trace_id, &long, &long) };
        assert!(request.title().chars().count() <= MAX_TITLE_CHARS);
        assert!(request.body().chars().count() <= MAX_BODY_CHARS, "{}", request.body().chars().count());
        assert_eq!(super::PullRequest { objective: " \n", ..request }.title(), "Change");
    }
}
