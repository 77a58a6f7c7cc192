//! What models use up: accounts, reservations, exchanges.

use jct::domain::model::Usd;
use jct::domain::model::budget::{Amount, Limits, Unit, Want};
use jct::domain::{Actor, Id};
use jct::store::{
    AskBudget, AuditQuery, BudgetDecision, CostBy, CostQuery, Database as Whole, DecideBudget, HoldState, NewExchange,
    NotWaiting, Reserve, Settle, Store, StoreSettings, task_account,
};
use rstest::rstest;
use serde_json::json;

use crate::harness::{Backend, Backend::*, Database, at, new_task, row};

fn amount(dollars: f64, tokens: u64) -> Amount {
    Amount { usd: Usd::from_dollars(dollars).unwrap(), tokens, requests: 1 }
}

fn limited(dollars: f64) -> Limits {
    Limits { usd: Usd::from_dollars(dollars), ..Limits::default() }
}

fn want(most: f64, least: f64) -> Want {
    Want { most: amount(most, 10), least: amount(least, 1) }
}

fn reserve(id: &str, accounts: &[(&str, Limits)], want: Want) -> Reserve {
    let accounts = accounts.iter().map(|(name, limits)| ((*name).to_owned(), *limits)).collect();
    Reserve { id: id.into(), broker: "this".into(), accounts, want, at: at(1) }
}

fn exchange(task_id: Id, used: Amount, json: &str) -> NewExchange {
    NewExchange { task_id, attempt: 1, alias: "small".into(), used, at: at(2), json: json.into() }
}

fn settle(id: &str, exchange: NewExchange) -> Settle {
    Settle { id: id.into(), exchange }
}

#[rstest]
#[tokio::test]
async fn what_is_reserved_is_settled_once_and_kept_in_order(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let task = row(db.store.record_task(new_task("a")).await.unwrap()).id;
    let accounts = [("task/a", limited(1.0)), ("grant/g/2026-01-01", limited(5.0))];
    let first = db.store.reserve_model(reserve("1", &accounts, want(0.7, 0.1))).await.unwrap().unwrap();
    assert_eq!(first, amount(0.7, 10));
    let rest = db.store.reserve_model(reserve("2", &accounts, want(0.7, 0.1))).await.unwrap().unwrap();
    assert_eq!(rest.usd, Usd::from_dollars(0.3).unwrap(), "what is left, for it is enough");
    let none = db.store.reserve_model(reserve("3", &accounts, want(0.7, 0.1))).await.unwrap().unwrap_err();
    assert_eq!((none.account, none.unit, none.is_reserved), (0, Unit::Usd, true));
    // More in the first, of what is left elsewhere.
    let more = reserve("1", &accounts[1..], Want { most: amount(0.2, 0), least: amount(0.1, 0) });
    db.store.reserve_model(more).await.unwrap().unwrap();

    for _ in 0..2 {
        db.store.settle_model(settle("1", exchange(task, amount(0.4, 5), "{\"n\":1}"))).await.unwrap();
    }
    db.store.keep_exchange(exchange(task, Amount::default(), "{\"n\":2}")).await.unwrap();
    db.store.settle_model(settle("2", exchange(task, amount(0.1, 5), "{\"n\":3}"))).await.unwrap();
    let kept = db.store.exchanges(task, 1).await.unwrap();
    let expected = [(1, "{\"n\":1}"), (2, "{\"n\":2}"), (3, "{\"n\":3}")].map(|(seq, json)| (seq, json.to_owned()));
    assert_eq!(kept, expected);
    let account = db.store.model_account("task/a").await.unwrap();
    assert_eq!(account.spent, Amount { usd: Usd::from_dollars(0.5).unwrap(), tokens: 10, requests: 2 });
    assert_eq!(account.reserved.usd, Usd::ZERO);
    assert_eq!(db.number("SELECT COUNT(*) FROM model_reservations").await, 0);
}

#[rstest]
#[tokio::test]
async fn costs_are_summed_up_by_what_is_asked_for(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    for (uid, alias, dollars) in [("a", "small", 0.1), ("b", "large", 0.5), ("c", "small", 0.2)] {
        let task = row(db.store.record_task(new_task(uid)).await.unwrap()).id;
        let used = amount(dollars, 10);
        let exchange = NewExchange { alias: alias.into(), ..exchange(task, used, "{}") };
        db.store.reserve_model(reserve(uid, &[], Want::default())).await.unwrap().unwrap();
        db.store.settle_model(settle(uid, exchange)).await.unwrap();
    }
    let costs = async |by, namespace: Option<&str>, since| {
        let query = CostQuery { by, namespace: namespace.map(Into::into), since, until: None };
        let sums = db.store.model_costs(&query).await.unwrap();
        sums.into_iter().map(|(name, sum)| (name, sum.usd.nanos() / 10_000_000, sum.requests)).collect::<Vec<_>>()
    };
    let named = |name: &str, cents, requests| (name.to_owned(), cents, requests);
    assert_eq!(costs(CostBy::Model, None, None).await, [named("large", 50, 1), named("small", 30, 2)]);
    assert_eq!(costs(CostBy::Namespace, Some("team"), None).await, [named("team", 80, 3)]);
    assert_eq!(costs(CostBy::Repo, None, Some(at(2))).await.len(), 1);
    assert_eq!(costs(CostBy::Agent, Some("elsewhere"), None).await, []);
    assert_eq!(costs(CostBy::Agent, None, Some(at(3))).await, []);
}

#[rstest]
#[tokio::test]
async fn what_a_broker_that_is_gone_had_reserved_is_charged(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let accounts = [("grant/g/2026-01-01", limited(5.0))];
    let of = |id: &str, broker: &str| Reserve { broker: broker.into(), ..reserve(id, &accounts, want(0.7, 0.1)) };
    for (id, broker) in [("1", "gone"), ("2", "this")] {
        db.store.reserve_model(of(id, broker)).await.unwrap().unwrap();
    }
    assert_eq!(db.store.charge_abandoned("this", at(1)).await.unwrap(), 0, "it may be there yet");
    // One that says that it goes on is there, and what it reserved stays so.
    db.store.keep_reservation("1".into(), at(200)).await.unwrap();
    assert_eq!(db.store.charge_abandoned("this", at(100)).await.unwrap(), 0, "it goes on");
    let account = db.store.model_account("grant/g/2026-01-01").await.unwrap();
    assert_eq!((account.spent, account.reserved.usd), (Amount::default(), Usd::from_dollars(1.4).unwrap()));
    assert_eq!(db.store.charge_abandoned("this", at(300)).await.unwrap(), 1);
    let account = db.store.model_account("grant/g/2026-01-01").await.unwrap();
    let cents = |cents: u64| Usd::from_nanos(cents * 10_000_000);
    assert_eq!((account.spent.usd, account.reserved.usd), (cents(70), cents(70)));
}

/// Takes as much as it gets, in small parts, each of which is settled for what was reserved.
async fn spend(store: Store, name: &'static str, task: Id) -> u64 {
    let accounts = [("grant/race/2026-01-01", limited(1.0))];
    let mut spent = 0;
    for number in 0..40 {
        let id = format!("{name}/{number}");
        let Ok(granted) = store.reserve_model(reserve(&id, &accounts, want(0.05, 0.01))).await.unwrap() else {
            continue;
        };
        spent += granted.usd.nanos();
        store.settle_model(settle(&id, exchange(task, granted, "{}"))).await.unwrap();
    }
    spent
}

#[rstest]
#[tokio::test]
async fn brokers_at_the_same_time_overspend_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let task = row(db.store.record_task(new_task("a")).await.unwrap()).id;
    // On PostgreSQL each of them has a connection of its own.
    let other = match backend {
        Postgres => Store::open(&StoreSettings::new(db.url().parse().unwrap())).await.unwrap(),
        Sqlite => db.store.clone(),
    };
    let spenders = [(&db.store, "one"), (&other, "two"), (&db.store, "three"), (&other, "four")];
    let spending = spenders.map(|(store, name)| tokio::spawn(spend(store.clone(), name, task)));
    let mut spent = 0;
    for spender in spending {
        spent += spender.await.unwrap();
    }
    assert_eq!(spent, 1_000_000_000, "all of it, and no more");
    let account = db.store.model_account("grant/race/2026-01-01").await.unwrap();
    assert_eq!((account.spent.usd.nanos(), account.reserved), (1_000_000_000, Amount::default()));
    let kept = db.store.exchanges(task, 1).await.unwrap();
    assert_eq!(kept.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=kept.len() as u64).collect::<Vec<_>>());
}

#[rstest]
#[tokio::test]
async fn somebody_is_asked_once_and_what_they_give_counts(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let task = row(db.store.record_task(new_task("a")).await.unwrap());
    let (id, account) = (task.id, task_account(task.id));
    let accounts = [(account.as_str(), limited(1.0)), ("grant/g/2026-01-01", limited(5.0))];
    db.store.reserve_model(reserve("1", &accounts, want(1.0, 1.0))).await.unwrap().unwrap();
    db.store.settle_model(settle("1", exchange(id, amount(1.0, 5), "{}"))).await.unwrap();
    let more = || reserve("2", &accounts, want(2.0, 0.5));
    assert!(!db.store.reserve_model(more()).await.unwrap().unwrap_err().is_reserved);

    let ask = |attempt, seconds: i64| {
        let (at, until) = (at(seconds), at(seconds + 60));
        AskBudget { task_id: id, attempt, unit: Unit::Usd, at, until }
    };
    let decide = |decision, granted| DecideBudget {
        task_id: id,
        decision,
        granted,
        actor: Actor::authenticated("eve"),
        at: at(7),
    };
    assert_eq!(db.store.model_hold(id).await.unwrap(), None);
    let early = decide(BudgetDecision::End, limited(1.0));
    assert_eq!(db.store.decide_model_budget(early).await.unwrap(), Err(NotWaiting), "nobody has asked");
    let asked = db.store.ask_model_budget(ask(1, 5)).await.unwrap();
    assert_eq!((asked.state, asked.waits_until), (HoldState::Waiting, at(65)));
    assert_eq!(db.store.ask_model_budget(ask(1, 6)).await.unwrap(), asked, "it waits since then");
    assert_eq!(db.store.model_hold(id).await.unwrap(), Some(asked));
    let spent = db.store.model_spending(id).await.unwrap();
    assert_eq!(spent, [("small".to_owned(), amount(1.0, 5))]);

    let raise = decide(BudgetDecision::Raise(limited(2.5)), limited(1.0));
    let decided = db.store.decide_model_budget(raise.clone()).await.unwrap().unwrap();
    assert_eq!((decided.state, decided.decided_by.as_deref()), (HoldState::Raised, Some("eve")));
    assert_eq!(db.store.decide_model_budget(raise).await.unwrap(), Err(NotWaiting), "once");
    let granted = db.store.reserve_model(more()).await.unwrap().unwrap();
    assert_eq!(granted.usd, Usd::from_dollars(1.5).unwrap(), "what was raised, less what is spent");
    let told = db.store.audit(&AuditQuery { actor_id: Some("eve".into()), ..AuditQuery::default() }).await.unwrap();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let (before, after) = (told.before.clone().unwrap(), told.after.clone().unwrap());
    assert_eq!(before["model_budget"]["limits"], json!({"max_usd": 1.0}));
    assert_eq!(
        after["model_budget"],
        json!({"state": "raised", "limits": {"max_usd": 2.5},
        "spent": {"usd": 1.0, "tokens": 5, "requests": 1}})
    );

    // It is used up once more, and there is no more.
    db.store.ask_model_budget(ask(1, 70)).await.unwrap();
    let end = decide(BudgetDecision::End, limited(1.0));
    assert_eq!(db.store.decide_model_budget(end).await.unwrap().unwrap().state, HoldState::Ended);
    assert_eq!(db.store.ask_model_budget(ask(2, 80)).await.unwrap().state, HoldState::Ended, "that is for good");
    let mut whole = Whole::open(&db.settings).await.unwrap();
    assert_eq!(whole.check().await.unwrap().problems, [] as [&str; 0], "the log and the rows agree");
}

#[rstest]
#[tokio::test]
async fn who_waits_goes_on_or_has_waited_long_enough(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    for (uid, resumes, expected) in [("a", true, HoldState::Raised), ("b", false, HoldState::Ended)] {
        let id = row(db.store.record_task(new_task(uid)).await.unwrap()).id;
        let ask = AskBudget { task_id: id, attempt: 1, unit: Unit::Tokens, at: at(1), until: at(2) };
        db.store.ask_model_budget(ask).await.unwrap();
        match resumes {
            true => db.store.resume_model_budget(id).await.unwrap(),
            false => db.store.end_model_budget(id).await.unwrap(),
        }
        let hold = db.store.model_hold(id).await.unwrap().unwrap();
        assert_eq!((hold.state, hold.unit, hold.decided_by), (expected, Unit::Tokens, None));
    }
}
