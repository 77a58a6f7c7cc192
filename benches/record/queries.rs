//! The main queries, each asked for things all over the record.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jct::domain::audit::EntityKind;
use jct::domain::cwom::Kind;
use jct::domain::{Id, Phase, TraceId};
use jct::store::{AuditQuery, ObjectFilter, Page, Store, StoreSettings, TaskFilter, TraceVisibility};
use jiff::{SignedDuration, Timestamp};

use super::life::{namespace, uid};

/// How often each is asked.
const TIMES: usize = 100;

macro_rules! timed {
    ($what:literal, |$n:ident| $ask:expr) => {{
        let mut times = Vec::with_capacity(TIMES);
        for $n in 0..TIMES {
            let began = Instant::now();
            let _ = $ask.await?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        println!(
            "    {:<58} {:>9.2?} {:>9.2?}",
            $what,
            times[TIMES / 2],
            times.last().copied().unwrap_or(Duration::ZERO)
        );
    }};
}

/// Prints the time of each, the median and the longest.
pub async fn time(url: &str, real: usize) -> anyhow::Result<()> {
    let store = Store::open(&StoreSettings::new(url.parse()?)).await?;
    let pick = |n: usize| uid(n * real / TIMES);
    let mut ids: Vec<Id> = Vec::new();
    for n in 0..TIMES {
        ids.extend(store.task_by_uid(&pick(n)).await?.map(|row| row.id));
    }
    let page = Page { limit: 100, ..Page::default() };
    let audit = || AuditQuery { page, ..AuditQuery::default() };
    println!("    {:<58} {:>9} {:>9}", "query", "median", "longest");
    timed!("a Task by its object's uid, as each pass does", |n| store.task_by_uid(&pick(n)));
    timed!("the newest 100 Tasks of a namespace", |n| async {
        let filter = TaskFilter { namespace: Some(namespace(n)), ..TaskFilter::default() };
        store.tasks(&filter, page).await
    });
    timed!("the newest 100 failed Tasks, of which there are none", |_n| async {
        let filter = TaskFilter { phase: Some(Phase::Failed), ..TaskFilter::default() };
        store.tasks(&filter, page).await
    });
    timed!("a Task with its attempts and files", |n| async {
        store.task(ids[n]).await?;
        store.jobs(ids[n]).await?;
        store.artifacts(ids[n]).await
    });
    timed!("the story of a trace: objects and entries", |n| async {
        let trace_id = TraceId::derive(&pick(n));
        store.objects_of_trace(&trace_id, &TraceVisibility::Everything).await?;
        store.audit(&AuditQuery { trace_id: Some(trace_id), ..audit() }).await
    });
    timed!("the newest 100 Issues", |_n| async {
        let filter = ObjectFilter::default();
        store.objects(Kind::Issue, &filter, page).await
    });
    timed!("the entries of one Task", |n| async {
        store
            .audit(&AuditQuery { entity_kind: Some(EntityKind::Task), entity_id: Some(ids[n].to_string()), ..audit() })
            .await
    });
    timed!("the newest 100 entries by one person", |_n| async {
        store.audit(&AuditQuery { actor_id: Some("ada@example.org".into()), ..audit() }).await
    });
    timed!("the newest 100 entries about Tasks of the last hour", |_n| async {
        let since = Some(Timestamp::now() - SignedDuration::from_hours(1));
        store.audit(&AuditQuery { entity_kind: Some(EntityKind::Task), since, ..audit() }).await
    });
    timed!("open Tasks by namespace, and what an hour recorded", |_n| async {
        store.recorded_by_minute(Timestamp::now() - SignedDuration::from_hours(1)).await?;
        store.open_by_namespace(&BTreeSet::new()).await
    });
    store.close().await;
    Ok(())
}
