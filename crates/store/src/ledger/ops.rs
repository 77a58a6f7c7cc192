//! What is decided of accounts.

use jiff::Timestamp;

use super::rows::{LedgerChanges, Reservation};
use super::{AccountAmounts, LimitedAccount, NewExchange, Reserve, Settle};
use crate::Result;
use crate::operation::{Changes, Needs, Operation, View};
use jct_domain::model::budget::{self, Account, Amount, Exhausted};

impl Operation for Reserve {
    type Output = std::result::Result<Amount, Exhausted>;

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.accounts.extend(self.accounts.iter().map(|(name, _)| name.clone()));
        needs.ledger.reservations.insert(self.id.clone());
    }

    fn decide(&self, view: &View) -> Result<(Self::Output, Changes)> {
        let limited = |(name, limits): &LimitedAccount| {
            let found = view.ledger.account(name);
            Account { limits: limits.raised_to(found.raised), spent: found.spent, reserved: found.reserved }
        };
        let mut accounts: Vec<Account> = self.accounts.iter().map(limited).collect();
        let granted = match budget::reserve(&mut accounts, &self.want) {
            Ok(granted) => granted,
            Err(exhausted) => return Ok((Err(exhausted), Changes::default())),
        };
        let held = view.ledger.reservation(&self.id).map_or_else(Amount::default, |held| held.granted);
        let names = self.accounts.iter().map(|(name, _)| name.clone());
        let reservation = Reservation {
            id: self.id.clone(),
            broker: self.broker.clone(),
            accounts: names.clone().collect(),
            granted: held.plus(granted),
            at: self.at,
        };
        let ledger = LedgerChanges {
            accounts: names.zip(&accounts).map(|(name, account)| with(view, name, account)).collect(),
            reserved: Some(reservation),
            ..LedgerChanges::default()
        };
        Ok((Ok(granted), Changes { ledger, ..Changes::default() }))
    }
}

/// An account as it will be.
fn with(view: &View, name: String, account: &Account) -> (String, AccountAmounts) {
    let amounts = view.ledger.account(&name).with(account);
    (name, amounts)
}

/// An exchange that goes on, so that nobody takes its broker for gone.
pub(super) struct KeepAlive {
    pub(super) id: String,
    pub(super) at: Timestamp,
}

impl Operation for KeepAlive {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.reservations.insert(self.id.clone());
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let Some(held) = view.ledger.reservation(&self.id) else { return Ok(((), Changes::default())) };
        let reserved = Some(Reservation { at: self.at, ..held.clone() });
        let ledger = LedgerChanges { reserved, ..LedgerChanges::default() };
        Ok(((), Changes { ledger, ..Changes::default() }))
    }
}

/// The accounts of a reservation without it, and with what was used up.
fn settled(view: &View, reservation: &Reservation, used: &Amount) -> LedgerChanges {
    let mut changes = LedgerChanges { ended: Some(reservation.id.clone()), ..LedgerChanges::default() };
    for name in &reservation.accounts {
        let found = view.ledger.account(name);
        let mut account = [Account { spent: found.spent, reserved: found.reserved, ..Account::default() }];
        budget::settle(&mut account, &reservation.granted, used);
        let [account] = account;
        changes.accounts.push(with(view, name.clone(), &account));
    }
    changes
}

impl Operation for Settle {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.reservations.insert(self.id.clone());
        needs.ledger.attempts.insert((self.exchange.task_id, self.exchange.attempt));
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let Some(reservation) = view.ledger.reservation(&self.id) else { return Ok(((), Changes::default())) };
        let ledger = settled(view, reservation, &self.exchange.used);
        let ledger = LedgerChanges { exchange: Some(self.exchange.clone()), ..ledger };
        Ok(((), Changes { ledger, ..Changes::default() }))
    }
}

/// Of an attempt with so many exchanges, no further one is kept for which nothing was reserved: these cost a program nothing, and
/// would fill the database.
const MOST: i64 = 10_000;

/// An exchange for which nothing was reserved.
pub(super) struct Keep(pub(super) NewExchange);

impl Operation for Keep {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.attempts.insert((self.0.task_id, self.0.attempt));
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        if view.ledger.last((self.0.task_id, self.0.attempt)) >= MOST {
            return Ok(((), Changes::default()));
        }
        let ledger = LedgerChanges { exchange: Some(self.0.clone()), ..LedgerChanges::default() };
        Ok(((), Changes { ledger, ..Changes::default() }))
    }
}

/// A reservation whose broker is gone: the provider may have had all of it.
pub(super) struct Charge(pub(super) String);

impl Operation for Charge {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.ledger.reservations.insert(self.0.clone());
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let Some(reservation) = view.ledger.reservation(&self.0) else { return Ok(((), Changes::default())) };
        let ledger = settled(view, reservation, &reservation.granted);
        Ok(((), Changes { ledger, ..Changes::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_requests_without_end_fill_no_database() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let task_id = jct_domain::Id::derive(at, "uid");
        let used = Amount::default();
        let exchange = NewExchange { task_id, attempt: 1, alias: String::new(), used, at, json: "{}".into() };
        for (last, is_kept) in [(MOST - 1, true), (MOST, false)] {
            let mut view = View::default();
            view.ledger.know_last((task_id, 1), last);
            let (_, changes) = Keep(exchange.clone()).decide(&view).unwrap();
            assert_eq!(changes.ledger.exchange.is_some(), is_kept, "{last}");
        }
    }
}
