use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const ENDS: [Phase; 3] = [Phase::Completed, Phase::Failed, Phase::Cancelled];

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

#[test]
fn without_a_rule_everything_stays() {
    for yaml in ["", "{}", "traces: []\nrecords: []", "interval: 2h"] {
        let retention = Retention::read(yaml).unwrap();
        assert!(retention.keeps_everything(), "{yaml}");
        let mut planner = Planner::new(&retention.traces, now());
        assert_eq!(planner.consider("team", Phase::Failed, ago(1_000_000)), None);
    }
    assert_eq!(Retention::read("interval: 90m").unwrap().interval, Duration::from_secs(5400));
    assert_eq!(Retention::read("").unwrap(), Retention::default());
}

#[test]
fn the_rule_of_an_outcome_comes_before_the_one_for_any() {
    let yaml = "traces: [{outcome: any, maxAge: 1d}, {outcome: failed, maxAge: 1w, maxCount: 2}]";
    let retention = Retention::read(yaml).unwrap();
    let mut planner = Planner::new(&retention.traces, now());
    assert_eq!(planner.consider("team", Phase::Failed, ago(25)), None);
    let completed = planner.consider("team", Phase::Completed, ago(25)).unwrap();
    assert_eq!((completed.rule.as_str(), completed.limit), ("traces[0] (outcome any, maxAge 1d)", Limit::MaxAge));
    assert_eq!(planner.consider("other", Phase::Failed, ago(26)), None);
    assert_eq!(planner.consider("team", Phase::Failed, ago(26)), None);
    let third = planner.consider("team", Phase::Failed, ago(27)).unwrap();
    assert_eq!(third.rule, "traces[1] (outcome failed, maxAge 1w, maxCount 2)");
    assert_eq!(third.limit, Limit::MaxCount);
    assert_eq!(planner.consider("team", Phase::Failed, ago(24 * 7)).unwrap().limit, Limit::MaxCount);
    assert_eq!(planner.consider("team", Phase::Failed, ago(24 * 7 + 1)).unwrap().limit, Limit::MaxAge);
}

#[rstest]
#[case("traces: [{outcome: done, maxAge: 1d}]", "traces[0].outcome", "completed, failed, cancelled or any")]
#[case("traces: [{outcome: pending, maxAge: 1d}]", "traces[0].outcome", "must be completed")]
#[case("traces: [{outcome: any}]", "traces[0]", "maxAge or maxCount")]
#[case("traces: [{outcome: any, maxAge: 90}]", "traces[0].maxAge", "such as 90d")]
#[case("traces: [{outcome: any, maxAge: 90x}]", "traces[0].maxAge", "such as 90d")]
#[case("traces: [{outcome: any, maxAge: 30m}]", "traces[0].maxAge", "1h to 36500d")]
#[case("traces: [{outcome: any, maxAge: '-1d'}]", "traces[0].maxAge", "such as 90d")]
#[case("traces: [{outcome: any, maxAge: é}]", "traces[0].maxAge", "such as 90d")]
#[case("traces: [{outcome: any, maxAge: d}]", "traces[0].maxAge", "such as 90d")]
#[case("traces: [{outcome: any, maxAge: 99999999999999999999d}]", "traces[0].maxAge", "such as 90d")]
#[case("traces: [{outcome: any, maxCount: 0}]", "traces[0].maxCount", "at least 1")]
#[case("traces: [{outcome: any, maxCount: -3}]", "traces[0].maxCount", "at least 1")]
#[case("traces: [{outcome: any, maxage: 1d}]", "(file)", "unknown field `maxage`")]
#[case("trace: []", "(file)", "unknown field `trace`")]
#[case("traces: [{maxAge: 1d}]", "(file)", "outcome")]
#[case("traces: [{outcome: any, maxAge: 1d}, {outcome: any, maxCount: 1}]", "traces[1].outcome", "traces[0]")]
#[case("interval: 10m2", "interval", "such as 90d")]
#[case("interval: 8d", "interval", "1m to 7d")]
#[case("records: [{outcome: failed, maxAge: 1d}]", "records[0].outcome", "no rule of traces is about failed")]
#[case(
    "{traces: [{outcome: failed, maxAge: 1d}], records: [{outcome: any, maxAge: 1d}]}",
    "records[0].outcome",
    "about completed Tasks"
)]
#[case(
    "{traces: [{outcome: any, maxAge: 2d}], records: [{outcome: failed, maxAge: 47h}]}",
    "records[0].maxAge",
    "traces[0].maxAge, 2d"
)]
fn a_mistake_is_named(#[case] yaml: &str, #[case] field: &str, #[case] message: &str) {
    let error = Retention::read(yaml).unwrap_err();
    assert_eq!(error.field, field, "{error}");
    assert!(error.message.contains(message), "{error}");
}

fn a_rule() -> impl Strategy<Value = (usize, Option<u64>, Option<u64>)> {
    (0..4_usize, prop::option::of(1..60_u64), prop::option::of(1..5_u64))
        .prop_filter("one limit at least", |(_, age, count)| age.is_some() || count.is_some())
}

proptest! {
    /// Nothing goes that no rule is about, that is young, and among the newest of its namespace; all else does.
    #[test]
    fn a_plan_is_what_the_rules_say(
        written in prop::collection::vec(a_rule(), 0..4),
        mut items in prop::collection::vec((0..3_usize, 0..3_usize, 0..80_i64), 0..60),
    ) {
        let mut rules: BTreeMap<usize, (Option<u64>, Option<u64>)> = BTreeMap::new();
        for (outcome, age, count) in written {
            rules.entry(outcome).or_insert((age, count));
        }
        let mut yaml = "traces:\n".to_owned();
        for (outcome, (age, count)) in &rules {
            yaml.push_str(&format!("- outcome: {}\n", ["completed", "failed", "cancelled", "any"][*outcome]));
            age.iter().for_each(|age| yaml.push_str(&format!("  maxAge: {age}h\n")));
            count.iter().for_each(|count| yaml.push_str(&format!("  maxCount: {count}\n")));
        }
        let retention = Retention::read(if rules.is_empty() { "" } else { &yaml }).unwrap();
        items.sort_by_key(|(.., age)| *age);
        let mut planner = Planner::new(&retention.traces, now());
        let due: Vec<Option<Due>> = items
            .iter()
            .map(|(namespace, outcome, age)| planner.consider(["a", "b", "c"][*namespace], ENDS[*outcome], ago(*age)))
            .collect();
        for (at, (namespace, outcome, age)) in items.iter().enumerate() {
            let rule_of = |outcome: usize| if rules.contains_key(&outcome) { outcome } else { 3 };
            let Some((max_age, max_count)) = rules.get(&rule_of(*outcome)) else {
                prop_assert_eq!(&due[at], &None);
                continue;
            };
            let of_rule = |(_, (space, other, _)): &(usize, &(usize, usize, i64))| {
                space == namespace && rule_of(*other) == rule_of(*outcome)
            };
            let newer = items[..at].iter().enumerate().filter(of_rule).count() as u64;
            let is_old = max_age.is_some_and(|most| *age > i64::try_from(most).unwrap());
            let is_beyond = max_count.is_some_and(|most| newer >= most);
            prop_assert_eq!(due[at].is_some(), is_old || is_beyond);
        }
    }
}
