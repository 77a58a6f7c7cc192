//! The states of Issues and Runs, and the ways between them (contract section 2).

use super::Kind;
use crate::choices;

choices! {
    /// Where an Issue or a Run is on its way.
    pub enum Status {
        /// Somebody means to do it.
        Planned = "planned",
        /// All that it needs is there.
        Ready = "ready",
        /// It is being done.
        Running = "running",
        /// It waits for something.
        Blocked = "blocked",
        /// It is done. The end.
        Done = "done",
        /// It was not done. The end of a Run; an Issue may be tried again.
        Failed = "failed",
        /// Nobody wants it any more. The end.
        Canceled = "canceled",
        /// It is done if a reviewer agrees.
        UnderReview = "under_review",
    }
}

impl Status {
    /// The states that an object of `kind` in this state may go to.
    ///
    /// Work may end at once, as nobody may have watched it; what has begun is never merely planned again. `done` and
    /// `canceled` are terminal, and so is a Run's `failed`: another try is another Run, further work another Issue.
    pub fn next(self, kind: Kind) -> &'static [Self] {
        use Status::{Blocked, Canceled, Done, Failed, Planned, Ready, Running, UnderReview};
        match self {
            Planned => &[Ready, Running, Blocked, UnderReview, Done, Failed, Canceled],
            Ready => &[Planned, Running, Blocked, UnderReview, Done, Failed, Canceled],
            Running => &[Ready, Blocked, UnderReview, Done, Failed, Canceled],
            Blocked => &[Ready, Running, UnderReview, Done, Failed, Canceled],
            UnderReview => &[Ready, Running, Blocked, Done, Failed, Canceled],
            Failed if kind == Kind::Issue => &[Ready, Running, Canceled],
            Done | Failed | Canceled => &[],
        }
    }

    /// Whether an object of `kind` in this state may go to `next`.
    pub fn may_become(self, kind: Kind, next: Self) -> bool {
        self.next(kind).contains(&next)
    }

    /// Whether an object of `kind` in this state stays there for ever.
    pub fn is_terminal(self, kind: Kind) -> bool {
        self.next(kind).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Kind::Issue, &["done", "canceled"])]
    #[case(Kind::Run, &["done", "failed", "canceled"])]
    fn the_ends(#[case] kind: Kind, #[case] expected: &[&str]) {
        let ends: Vec<&str> = Status::ALL.iter().filter(|s| s.is_terminal(kind)).map(|s| s.as_str()).collect();
        assert_eq!(ends, expected);
    }

    #[test]
    fn every_state_can_be_reached_and_left_for_an_end() {
        for kind in [Kind::Issue, Kind::Run] {
            for status in Status::ALL {
                assert!(!status.may_become(kind, status));
                assert!(status.is_terminal(kind) || status.may_become(kind, Status::Canceled), "{status}");
                let reached = Status::ALL.iter().any(|from| from.may_become(kind, status));
                assert!(reached, "{status}");
            }
        }
    }

    #[rstest]
    #[case("planned", "running", true)]
    #[case("planned", "done", true)]
    #[case("ready", "planned", true)]
    #[case("running", "planned", false)]
    #[case("blocked", "planned", false)]
    #[case("under_review", "running", true)]
    #[case("done", "running", false)]
    #[case("canceled", "ready", false)]
    #[case("failed", "planned", false)]
    fn the_ways_that_both_share(#[case] from: &str, #[case] to: &str, #[case] allowed: bool) {
        for kind in [Kind::Issue, Kind::Run] {
            assert_eq!(Status::parse(from).unwrap().may_become(kind, Status::parse(to).unwrap()), allowed);
        }
    }

    #[test]
    fn an_issue_may_be_tried_again_and_a_run_may_not() {
        assert!(Status::Failed.may_become(Kind::Issue, Status::Running));
        assert!(!Status::Failed.may_become(Kind::Run, Status::Running));
    }
}
