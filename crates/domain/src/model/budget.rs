//! Budgets: reserve, settle, cut. Pure, so that a ledger in memory and one in a database decide the same.
//!
//! Before a request is sent on, what it may cost is reserved in every account that it is of: the attempt's, the Task's, the
//! namespace's and the grant's of the day. If less is left than it may cost, that is reserved, as long as it is enough for the
//! request itself and the least answer: a small budget is not useless because answers could be long. What was reserved is not
//! passed: whoever reads the answer cuts it there, unless it [gets more](reserve). So an account is overspent by no more than
//! what arrives before a cut, and never by what others do at the same time.

use serde::{Deserialize, Serialize};

use super::Usd;

/// What can be used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// At list price.
    pub usd: Usd,
    /// Input and output.
    pub tokens: u64,
    /// Exchanges.
    pub requests: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            usd: self.usd + other.usd,
            tokens: self.tokens.saturating_add(other.tokens),
            requests: self.requests.saturating_add(other.requests),
        }
    }

    fn less(self, other: Self) -> Self {
        Self {
            usd: self.usd.less(other.usd),
            tokens: self.tokens.saturating_sub(other.tokens),
            requests: self.requests.saturating_sub(other.requests),
        }
    }

    /// Whether it is more than another in anything.
    pub fn passes(self, other: Self) -> bool {
        self.usd > other.usd || self.tokens > other.tokens || self.requests > other.requests
    }
}

/// How much of an account there is. What is not said is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Dollars.
    #[serde(default, rename = "max_usd", skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// Input and output.
    #[serde(default, rename = "max_tokens", skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Exchanges.
    #[serde(default, rename = "max_requests", skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
}

impl Limits {
    /// What they are where some were raised.
    #[must_use]
    pub fn raised_to(self, raised: Self) -> Self {
        Self {
            usd: raised.usd.or(self.usd),
            tokens: raised.tokens.or(self.tokens),
            requests: raised.requests.or(self.requests),
        }
    }

    /// The lower of each.
    pub fn lowered_by(self, other: Self) -> Self {
        Self {
            usd: lower(self.usd, other.usd),
            tokens: lower(self.tokens, other.tokens),
            requests: lower(self.requests, other.requests),
        }
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What has been used up of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// All there is.
    pub limits: Limits,
    /// By exchanges that have ended.
    pub spent: Amount,
    /// For those that have not.
    pub reserved: Amount,
}

impl Account {
    /// What can still be reserved: at most this much.
    fn left(&self) -> Amount {
        self.beyond(self.spent.plus(self.reserved))
    }

    /// What there is beyond what is taken.
    fn beyond(&self, taken: Amount) -> Amount {
        let Limits { usd, tokens, requests } = self.limits;
        let all = Amount {
            usd: usd.unwrap_or(Usd::MAX),
            tokens: tokens.unwrap_or(u64::MAX),
            requests: requests.unwrap_or(u64::MAX),
        };
        all.less(taken)
    }
}

/// What an exchange asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// So much may be used up.
    pub most: Amount,
    /// With less than this it is not worth beginning.
    pub least: Amount,
}

/// What is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Dollars.
    Usd,
    /// Tokens.
    Tokens,
    /// Requests.
    Requests,
}

impl Unit {
    /// As the record and messages have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "dollars",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
        }
    }

    /// The unit of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Usd, Self::Tokens, Self::Requests].into_iter().find(|unit| unit.as_str() == name)
    }
}

/// An account has not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Which of them, by its place.
    pub account: usize,
    /// Of what.
    pub unit: Unit,
    /// Whether there would be enough if nothing were reserved: then there may be when others end.
    pub is_reserved: bool,
}

/// Reserves in all of the accounts or in none. What it gives is the most that may be used up; the same is reserved in each.
///
/// For more of what is reserved already: with a want of the rest, and requests of 0.
///
/// # Errors
/// The first account that has not enough.
pub fn reserve(accounts: &mut [Account], want: &Want) -> Result<Amount, Exhausted> {
    let mut granted = want.most;
    for (index, account) in accounts.iter().enumerate() {
        let left = account.left();
        if let Some(unit) = missing(left, want.least) {
            let is_reserved = missing(account.beyond(account.spent), want.least).is_none();
            return Err(Exhausted { account: index, unit, is_reserved });
        }
        granted.usd = granted.usd.min(left.usd);
        granted.tokens = granted.tokens.min(left.tokens);
        granted.requests = granted.requests.min(left.requests);
    }
    for account in accounts {
        account.reserved = account.reserved.plus(granted);
    }
    Ok(granted)
}

fn missing(left: Amount, least: Amount) -> Option<Unit> {
    if left.requests < least.requests {
        Some(Unit::Requests)
    } else if left.usd < least.usd {
        Some(Unit::Usd)
    } else if left.tokens < least.tokens {
        Some(Unit::Tokens)
    } else {
        None
    }
}

/// Ends a reservation with what was used up, whatever that is: the truth is charged.
pub fn settle(accounts: &mut [Account], reserved: &Amount, used: &Amount) {
    for account in accounts {
        account.reserved = account.reserved.less(*reserved);
        account.spent = account.spent.plus(*used);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(usd: u64, tokens: u64, requests: u64) -> Amount {
        Amount { usd: Usd::from_nanos(usd), tokens, requests }
    }

    fn account(usd: Option<u64>, tokens: Option<u64>, requests: Option<u64>) -> Account {
        let limits = Limits { usd: usd.map(Usd::from_nanos), tokens, requests };
        Account { limits, ..Account::default() }
    }

    #[test]
    fn what_is_left_is_reserved_if_it_is_enough() {
        let mut accounts = [account(Some(100), None, None), account(None, Some(50), Some(2))];
        let want = Want { most: amount(80, 30, 1), least: amount(10, 5, 1) };
        assert_eq!(reserve(&mut accounts, &want), Ok(amount(80, 30, 1)));
        assert_eq!(reserve(&mut accounts, &want), Ok(amount(20, 20, 1)));
        let short = |account, unit, is_reserved| Err(Exhausted { account, unit, is_reserved });
        assert_eq!(reserve(&mut accounts, &want), short(0, Unit::Usd, true));
        settle(&mut accounts, &amount(80, 30, 1), &amount(10, 10, 1));
        assert_eq!(reserve(&mut accounts, &want), short(1, Unit::Requests, true));
        assert_eq!(accounts[0], Account { spent: amount(10, 10, 1), reserved: amount(20, 20, 1), ..accounts[0] });
        settle(&mut accounts, &amount(20, 20, 1), &amount(85, 1, 1));
        assert_eq!(reserve(&mut accounts, &want), short(0, Unit::Usd, false));
    }

    #[test]
    fn more_is_given_while_there_is_some() {
        let mut accounts = [account(Some(100), None, Some(1))];
        let first = reserve(&mut accounts, &Want { most: amount(60, 0, 1), least: amount(1, 0, 1) }).unwrap();
        let more = Want { most: amount(30, 0, 0), least: amount(1, 0, 0) };
        assert_eq!(reserve(&mut accounts, &more), Ok(amount(30, 0, 0)));
        assert_eq!(reserve(&mut accounts, &more), Ok(amount(10, 0, 0)));
        assert_eq!(reserve(&mut accounts, &more).unwrap_err().unit, Unit::Usd);
        settle(&mut accounts, &first.plus(amount(40, 0, 0)), &amount(100, 0, 1));
        assert_eq!(accounts[0].reserved, Amount::default());
    }

    #[test]
    fn limits_only_get_lower() {
        let one = Limits { usd: Some(Usd::from_nanos(5)), tokens: None, requests: Some(3) };
        let other = Limits { usd: Some(Usd::from_nanos(9)), tokens: Some(7), requests: None };
        let both = Limits { usd: Some(Usd::from_nanos(5)), tokens: Some(7), requests: Some(3) };
        assert_eq!((one.lowered_by(other), other.lowered_by(one)), (both, both));
    }

    /// What happens to accounts, by exchanges that are there at the same time.
    #[derive(Clone, Debug)]
    enum Step {
        Begin(Want),
        More { of: usize, want: Want },
        End { of: usize, share: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let amounts = || (0..1000u64, 0..1000u64).prop_map(|(usd, tokens)| amount(usd, tokens, 1));
        let want = || {
            (amounts(), 0..100u64).prop_map(|(most, part)| {
                let part = |whole: u64| whole * part / 100;
                Want { most, least: amount(part(most.usd.nanos()), part(most.tokens), 1) }
            })
        };
        let more = |want: Want| Want {
            most: Amount { requests: 0, ..want.most },
            least: Amount { requests: 0, ..want.least },
        };
        let step = prop_oneof![
            3 => want().prop_map(Step::Begin),
            1 => (0..50usize, want()).prop_map(move |(of, want)| Step::More { of, want: more(want) }),
            3 => (0..50usize, 0..=100u64).prop_map(|(of, share)| Step::End { of, share }),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        /// However exchanges overlap: as long as each keeps to its reservation no account is overspent, and when each passes it
        /// by `slack` hundredths, by no more than that of each. What is reserved is what is open.
        #[test]
        fn exchanges_at_the_same_time_overspend_nothing(steps in steps(), limits in (0..5000u64, 0..5000u64, 0..40u64), slack in 0..=100u64) {
            let (usd, tokens, requests) = limits;
            let mut accounts = [account(Some(usd), None, Some(requests)), account(None, Some(tokens), None), account(None, None, None)];
            let (mut open, mut over) = (Vec::new(), amount(0, 0, 0));
            for step in steps {
                match step {
                    Step::Begin(want) => {
                        let before = accounts;
                        match reserve(&mut accounts, &want) {
                            Ok(granted) => {
                                prop_assert!(!want.least.passes(granted) && !granted.passes(want.most));
                                open.push(granted);
                            }
                            Err(_) => prop_assert_eq!(before, accounts),
                        }
                    }
                    Step::More { of, want } if !open.is_empty() => {
                        let of = of % open.len();
                        if let Ok(more) = reserve(&mut accounts, &want) {
                            open[of] = open[of].plus(more);
                        }
                    }
                    Step::End { of, share } if !open.is_empty() => {
                        let granted = open.swap_remove(of % open.len());
                        let part = |whole: u64| whole * share * (100 + slack) / 10_000;
                        let used = amount(part(granted.usd.nanos()), part(granted.tokens), 1);
                        over = over.plus(used.less(granted));
                        settle(&mut accounts, &granted, &used);
                    }
                    Step::More { .. } | Step::End { .. } => {}
                }
                let reserved = open.iter().fold(Amount::default(), |sum, one| sum.plus(*one));
                for account in &accounts {
                    prop_assert_eq!(account.reserved, reserved);
                    let taken = account.spent.plus(account.reserved);
                    let Limits { usd, tokens, requests } = account.limits;
                    prop_assert!(usd.is_none_or(|most| taken.usd <= most + over.usd));
                    prop_assert!(tokens.is_none_or(|most| taken.tokens <= most + over.tokens));
                    prop_assert!(requests.is_none_or(|most| taken.requests <= most));
                }
            }
        }
    }
}
