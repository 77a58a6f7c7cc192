//! Commits and people, from `git log`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use jiff::Timestamp;

use super::report::{ChangedFile, Contributor, History};
use crate::git::{Git, Seen};
use jct_untrusted::names::escaped;
use jct_untrusted::names::shorten;

/// More commits are not counted.
const MAX_COMMITS: u64 = 2_000_000;
/// Changed files are looked for in so many of the latest commits.
const CHANGES_OF_COMMITS: u64 = 2000;
/// More people or changed paths are not told apart.
const MAX_KEYS: usize = 200_000;
/// How many people are listed.
const MAX_CONTRIBUTORS: usize = 100;
/// How many changed files are listed.
const MAX_CHANGED: usize = 20;

/// The history that leads to `commit`; changed files only below `scope`.
///
/// # Errors
/// When git fails.
pub fn read(git: Git, commit: &str, scope: &str) -> anyhow::Result<History> {
    let mut people = People::default();
    let log =
        ["log", "--no-show-signature", "--use-mailmap", "--format=%at%x00%aN%x00%aE", "--end-of-options", commit, "--"];
    let seen = git.records(&log, b'\n', |record| people.commit(record))?;
    let mut changes = Changes::default();
    let count = format!("--max-count={CHANGES_OF_COMMITS}");
    let mut numstat = vec!["log", "--no-show-signature", "--format=", "--numstat", "-z", "--no-renames"];
    numstat.extend(["--no-ext-diff", "--no-textconv", "--no-merges", &count, "--end-of-options", commit, "--"]);
    numstat.extend(Some(scope).filter(|scope| !scope.is_empty()));
    git.records(&numstat, 0, |record| changes.file(record))?;
    let mut history = people.finish(seen == Seen::All);
    history.changes_of_commits = history.commits.min(CHANGES_OF_COMMITS);
    history.most_changed_files = changes.finish();
    Ok(history)
}

#[derive(Clone, Copy)]
struct Span {
    commits: u64,
    first: i64,
    last: i64,
}

#[derive(Default)]
struct People {
    total: Option<Span>,
    by_person: HashMap<(Vec<u8>, Vec<u8>), Span>,
}

impl People {
    /// `<author time>\0<name>\0<e-mail>`
    fn commit(&mut self, record: &[u8]) -> ControlFlow<()> {
        let mut columns = record.splitn(3, |byte| *byte == 0);
        let (Some(time), Some(name), Some(email)) = (columns.next(), columns.next(), columns.next()) else {
            return ControlFlow::Continue(());
        };
        let time = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok()).unwrap_or(0);
        let new = Span { commits: 1, first: time, last: time };
        let total = self.total.map_or(new, |span| span.and(new));
        self.total = Some(total);
        let key = (name.to_vec(), email.to_ascii_lowercase());
        if self.by_person.len() < MAX_KEYS || self.by_person.contains_key(&key) {
            self.by_person.entry(key).and_modify(|span| *span = span.and(new)).or_insert(new);
        }
        if total.commits < MAX_COMMITS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn finish(self, complete: bool) -> History {
        let contributor_count = self.by_person.len() as u64;
        let mut people: Vec<_> = self.by_person.into_iter().collect();
        people.sort_by(|(a, a_span), (b, b_span)| b_span.commits.cmp(&a_span.commits).then_with(|| a.cmp(b)));
        people.truncate(MAX_CONTRIBUTORS);
        let contributor = |((name, email), span): ((Vec<u8>, Vec<u8>), Span)| {
            let domain =
                email.rsplit(|byte| *byte == b'@').next().filter(|_| email.contains(&b'@')).unwrap_or_default();
            Contributor {
                name: shorten(&escaped(&name), 200),
                email_domain: shorten(&escaped(domain), 200),
                commits: span.commits,
                first_commit_at: date(span.first),
                last_commit_at: date(span.last),
            }
        };
        History {
            commits: self.total.map_or(0, |span| span.commits),
            complete,
            first_commit_at: self.total.and_then(|span| date(span.first)),
            last_commit_at: self.total.and_then(|span| date(span.last)),
            contributor_count,
            contributors: people.into_iter().map(contributor).collect(),
            ..History::default()
        }
    }
}

impl Span {
    fn and(self, other: Self) -> Self {
        let commits = self.commits + other.commits;
        Self { commits, first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

#[derive(Default)]
struct Changes {
    by_path: HashMap<Vec<u8>, (u64, u64, u64)>,
}

impl Changes {
    /// `<added>\t<deleted>\t<path>`, with `-` for a binary file's numbers.
    fn file(&mut self, record: &[u8]) -> ControlFlow<()> {
        let mut columns = record.trim_ascii_start().splitn(3, |byte| *byte == b'\t');
        let (Some(added), Some(deleted), Some(path)) = (columns.next(), columns.next(), columns.next()) else {
            return ControlFlow::Continue(());
        };
        let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0u64);
        if self.by_path.len() < MAX_KEYS || self.by_path.contains_key(path) {
            let sums = self.by_path.entry(path.to_vec()).or_default();
            *sums = (sums.0 + 1, sums.1.saturating_add(number(added)), sums.2.saturating_add(number(deleted)));
        }
        ControlFlow::Continue(())
    }

    fn finish(self) -> Vec<ChangedFile> {
        let mut files: Vec<_> = self.by_path.into_iter().collect();
        files.sort_by(|(a, a_sums), (b, b_sums)| {
            (b_sums.0, b_sums.1.saturating_add(b_sums.2))
                .cmp(&(a_sums.0, a_sums.1.saturating_add(a_sums.2)))
                .then_with(|| a.cmp(b))
        });
        files.truncate(MAX_CHANGED);
        let changed = |(path, (commits, lines_added, lines_deleted)): (Vec<u8>, _)| ChangedFile {
            path: escaped(&path),
            commits,
            lines_added,
            lines_deleted,
        };
        files.into_iter().map(changed).collect()
    }
}

/// A commit's time; none if nobody's clock can have shown it.
fn date(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_apart_without_their_address() {
        let mut people = People::default();
        for record in
            ["100\0Ada\0ada@Example.org", "50\0Ada\0ADA@example.org", "70\0Eve\0eve", "x", "99999999999999999\0Z\0z@z"]
        {
            assert!(people.commit(record.as_bytes()).is_continue());
        }
        let history = people.finish(true);
        assert_eq!((history.commits, history.contributor_count), (4, 3));
        let ada = &history.contributors[0];
        assert_eq!((ada.name.as_str(), ada.email_domain.as_str(), ada.commits), ("Ada", "example.org", 2));
        assert_eq!(ada.first_commit_at.as_deref(), Some("1970-01-01T00:00:50Z"));
        assert_eq!(history.contributors[1].email_domain, "");
        assert_eq!(history.last_commit_at, None);
    }

    #[test]
    fn changes_are_counted_by_path() {
        let mut changes = Changes::default();
        for record in ["1\t2\ta\tb", "\n3\t0\ta\tb", "-\t-\tc", ""] {
            assert!(changes.file(record.as_bytes()).is_continue());
        }
        let files = changes.finish();
        let first = ChangedFile { path: "a%09b".into(), commits: 2, lines_added: 4, lines_deleted: 2 };
        assert_eq!((files.len(), &files[0]), (2, &first));
    }
}
