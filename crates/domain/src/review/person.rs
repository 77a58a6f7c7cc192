//! Who may decide: a second person, never one who has a part in how the Task came about. Pure.

use super::{Decision, Required};

/// What somebody has to do with a Task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Submitted it, or the same under its idempotency key.
    Submitted,
    /// Asks for it, by the account of who submitted it.
    AskedFor,
    /// Restored its object under its id, or decided about its lost record.
    Restored,
    /// Wrote its Run, its Issue, a ContextPacket, or changed one of these.
    WroteObjects,
    /// Released, retried, suspended or changed it.
    Changed,
    /// Has a part in a Task that it follows up, or asked for the changes that it makes.
    FollowedUp,
}

impl Part {
    /// After "who".
    pub fn words(self) -> &'static str {
        match self {
            Self::Submitted => "submitted the Task",
            Self::AskedFor => "asks for the Task (requestedBy)",
            Self::Restored => "restored the Task",
            Self::WroteObjects => "wrote an object that the Task was made from or works on",
            Self::Changed => "released, retried or changed the Task",
            Self::FollowedUp => "has a part in the Task that this one follows up",
        }
    }
}

/// Everybody who has a part in how a Task came about, by authenticated user names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    people: Vec<(String, Part)>,
}

impl Chain {
    /// Notes somebody.
    pub fn add(&mut self, user: impl Into<String>, part: Part) {
        let entry = (user.into(), part);
        if !self.people.contains(&entry) {
            self.people.push(entry);
        }
    }

    /// With all who have a part in a Task that this one follows up.
    pub fn follows(&mut self, before: &Self) {
        before.people.iter().for_each(|(user, _)| self.add(user.clone(), Part::FollowedUp));
    }

    /// What this user has to do with it.
    pub fn part_of(&self, user: &str) -> Option<Part> {
        self.people.iter().filter(|(known, _)| known == user).map(|(_, part)| *part).min()
    }
}

/// Somebody who wants to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reviewer {
    /// The authenticated user; none if nobody vouches for them.
    pub user: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
}

/// Why somebody may not decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReviewer {
    /// No stamp, or one that does not hold.
    #[error("nobody vouches for who this is: a review must come past JCT's webhooks, or by its API")]
    Unverified,
    /// Of the Task's chain.
    #[error("{user} {}: a second person has to review it", .part.words())]
    InTheChain {
        /// Who.
        user: String,
        /// What they have to do with it.
        part: Part,
    },
    /// A program.
    #[error(
        "{0} is a service account or a system user, and no person: the forge's review.reviewers would have to name it"
    )]
    System(String),
    /// A program of the Task's own namespace, which whoever runs Tasks there may be able to use.
    #[error("{0} is a service account of the Task's own namespace: it never reviews")]
    OwnServiceAccount(String),
    /// Others are named.
    #[error("{0} is none of those who review for the forge {1} (review.reviewers)")]
    NotNamed(String, String),
}

/// Whether this one may decide so about a Task of `namespace`.
///
/// Whoever is of the chain may say no to it, though not yes.
///
/// # Errors
/// [`NotAReviewer`]; `Ok(true)` for somebody of the chain whom the policy lets approve.
pub fn may_review(
    reviewer: &Reviewer,
    decision: Decision,
    namespace: &str,
    required: Option<&Required>,
    chain: &Chain,
) -> Result<bool, NotAReviewer> {
    let user = reviewer.user.as_deref().filter(|user| !user.is_empty()).ok_or(NotAReviewer::Unverified)?;
    let unlimited = Required::default();
    let Required { forge, users, groups, self_approval, .. } = required.unwrap_or(&unlimited);
    let is_named = users.iter().any(|name| name == user);
    let is_in_named = is_named || groups.iter().any(|group| reviewer.groups.contains(group));
    if user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split(':').next()) == Some(namespace) {
        return Err(NotAReviewer::OwnServiceAccount(user.into()));
    }
    // A group such as system:authenticated has every program in it: a program must be named itself.
    if user.starts_with("system:") && !is_named {
        return Err(NotAReviewer::System(user.into()));
    }
    let is_anybody = users.is_empty() && groups.is_empty();
    if !is_anybody && !is_in_named {
        return Err(NotAReviewer::NotNamed(user.into(), forge.clone()));
    }
    match chain.part_of(user) {
        Some(part) if decision == Decision::Approved && !self_approval => {
            Err(NotAReviewer::InTheChain { user: user.into(), part })
        }
        part => Ok(part.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn chain() -> Chain {
        let mut first = Chain::default();
        first.add("first-author", Part::Submitted);
        let mut chain = Chain::default();
        for (user, part) in [
            ("ada", Part::Submitted),
            ("duplicate", Part::Submitted),
            ("author", Part::WroteObjects),
            ("releaser", Part::Changed),
            ("restorer", Part::Restored),
        ] {
            chain.add(user, part);
        }
        chain.follows(&first);
        chain
    }

    fn asked(user: &str) -> Result<bool, NotAReviewer> {
        let reviewer =
            Reviewer { user: Some(user.into()), groups: vec!["system:authenticated".into(), "leads".into()] };
        may_review(&reviewer, Decision::Approved, "team", Some(&Required::default()), &chain())
    }

    #[rstest]
    #[case::submitter("ada")]
    #[case::of_a_duplicate("duplicate")]
    #[case::author_of_run_or_issue("author")]
    #[case::released_or_retried("releaser")]
    #[case::restored("restorer")]
    #[case::of_what_it_follows_up("first-author")]
    fn nobody_of_the_chain_approves(#[case] user: &str) {
        assert!(matches!(asked(user), Err(NotAReviewer::InTheChain { .. })), "{:?}", asked(user));
        // The control: somebody else does.
        assert_eq!(asked("bob"), Ok(false));
    }

    #[rstest]
    #[case("system:serviceaccount:team:robot", NotAReviewer::OwnServiceAccount("system:serviceaccount:team:robot".into()))]
    #[case("system:serviceaccount:other:robot", NotAReviewer::System("system:serviceaccount:other:robot".into()))]
    #[case("system:admin", NotAReviewer::System("system:admin".into()))]
    fn programs_do_not_review(#[case] user: &str, #[case] why: NotAReviewer) {
        assert_eq!(asked(user), Err(why));
    }

    #[test]
    fn a_program_that_is_named_reviews_but_never_in_its_own_namespace() {
        let name = |user: &str| Required {
            users: vec![user.into()],
            groups: vec!["system:authenticated".into()],
            ..Required::default()
        };
        let ask = |user: &str, required: &Required| {
            let reviewer = Reviewer { user: Some(user.into()), groups: vec!["system:authenticated".into()] };
            may_review(&reviewer, Decision::Approved, "team", Some(required), &chain())
        };
        let (there, here) = ("system:serviceaccount:ci:gate", "system:serviceaccount:team:gate");
        assert_eq!(ask(there, &name(there)), Ok(false));
        assert_eq!(ask(here, &name(here)), Err(NotAReviewer::OwnServiceAccount(here.into())));
        // To be in a group that is named is not to be named.
        assert_eq!(ask(there, &name("bob")), Err(NotAReviewer::System(there.into())));
    }

    #[test]
    fn nobody_vouched_for_reviews() {
        for user in [None, Some(String::new())] {
            let reviewer = Reviewer { user, groups: vec!["leads".into()] };
            let required = Required {
                users: vec![String::new()],
                groups: vec!["leads".into()],
                self_approval: true,
                ..Required::default()
            };
            for decision in Decision::ALL {
                let asked = may_review(&reviewer, decision, "team", Some(&required), &chain());
                assert_eq!(asked, Err(NotAReviewer::Unverified));
            }
        }
    }

    #[test]
    fn where_reviewers_are_named_only_they_count() {
        let required = Required { users: vec!["bob".into()], groups: vec!["leads".into()], ..Required::default() };
        let ask = |user: &str, groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            may_review(
                &Reviewer { user: Some(user.into()), groups },
                Decision::Approved,
                "team",
                Some(&required),
                &chain(),
            )
        };
        assert_eq!((ask("bob", &[]), ask("eve", &["leads"])), (Ok(false), Ok(false)));
        assert!(matches!(ask("eve", &[]), Err(NotAReviewer::NotNamed(..))));
        // To be named makes nobody a second person.
        assert!(matches!(ask("ada", &["leads"]), Err(NotAReviewer::InTheChain { .. })));
    }

    #[test]
    fn who_asked_may_say_no_and_where_it_is_allowed_yes() {
        let ada = Reviewer { user: Some("ada".into()), groups: Vec::new() };
        let ask = |decision, required: &Required| may_review(&ada, decision, "team", Some(required), &chain());
        assert_eq!(ask(Decision::Rejected, &Required::default()), Ok(true));
        let lifted = Required { self_approval: true, ..Required::default() };
        assert_eq!(ask(Decision::Approved, &lifted), Ok(true));
    }

    proptest! {
        /// Without self-approval nobody approves who is of the chain, whatever their groups and whoever is named.
        #[test]
        fn no_way_around(user in "ada|author|bob|system:serviceaccount:team:x", groups in proptest::collection::vec("[a-c]", 0..3),
            users in proptest::collection::vec("ada|bob|author", 0..3), named in proptest::collection::vec("[a-c]", 0..2)) {
            let required = Required { users, groups: named, ..Required::default() };
            let asked = may_review(&Reviewer { user: Some(user.clone()), groups }, Decision::Approved, "team", Some(&required), &chain());
            if user != "bob" {
                prop_assert!(asked.is_err());
            } else {
                prop_assert_ne!(asked, Ok(true));
            }
        }
    }
}
