//! The Tasks in the record, counted for the page of metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::metrics::{OpenLabels, PhaseLabels, ProcessMetrics};
use crate::domain::Phase;
use crate::store::Store;

/// Between two counts of the Tasks.
const COUNT_INTERVAL: Duration = Duration::from_secs(30);

/// How many namespaces have a label of their own: those with the most Tasks that have not ended.
const NAMESPACES: usize = 100;

/// Counts the Tasks by phase, until `stop`. While the record is away the last count stands.
pub async fn count_tasks(store: Store, metrics: ProcessMetrics, stop: CancellationToken) {
    loop {
        if let Ok(counts) = store.counts().await {
            for phase in Phase::ALL.map(Phase::as_str) {
                let count = counts.get(phase).copied().unwrap_or_default();
                metrics.tasks.get_or_create(&PhaseLabels { phase }).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        if let Ok(counts) = store.open_by_phase().await {
            // Of a namespace that is not there any more, nothing stays on the page.
            metrics.open_tasks.clear();
            for ((namespace, phase), count) in bounded(counts) {
                let labels = OpenLabels { namespace, phase: phase.as_str() };
                metrics.open_tasks.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        if stop.run_until_cancelled(sleep(COUNT_INTERVAL)).await.is_none() {
            metrics.tasks.clear();
            metrics.open_tasks.clear();
            return;
        }
    }
}

/// The counts with no more than so many namespaces; those of the others, which have the fewest Tasks, together under an empty name.
fn bounded(counts: Vec<(String, Phase, u64)>) -> BTreeMap<(String, Phase), u64> {
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for (namespace, _, count) in &counts {
        *totals.entry(namespace).or_default() += count;
    }
    let mut most: Vec<_> = totals.into_iter().map(|(namespace, total)| (total, namespace)).collect();
    // Of namespaces with as many, the first by name: the same ones each time.
    most.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let named: Vec<String> = most.into_iter().take(NAMESPACES).map(|(_, namespace)| namespace.to_owned()).collect();
    let mut shown = BTreeMap::new();
    for (namespace, phase, count) in counts {
        let namespace = if named.contains(&namespace) { namespace } else { String::new() };
        *shown.entry((namespace, phase)).or_default() += count;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_namespaces_have_names_and_none_is_left_out_of_the_sum() {
        let small = (0..150).map(|number| (format!("small-{number:03}"), Phase::Queued, 1));
        let large = [("large", Phase::Queued, 7), ("large", Phase::Running, 2)];
        let large = large.map(|(namespace, phase, count)| (namespace.to_owned(), phase, count));
        let shown = bounded(small.chain(large).collect());
        let of = |namespace: &str, phase| {
            shown.iter().find(|((name, known), _)| name == namespace && *known == phase).map(|(_, count)| *count)
        };
        assert_eq!((of("large", Phase::Queued), of("large", Phase::Running)), (Some(7), Some(2)));
        assert_eq!((of("small-098", Phase::Queued), of("small-099", Phase::Queued)), (Some(1), None));
        assert_eq!(of("", Phase::Queued), Some(51));
        assert_eq!(shown.values().sum::<u64>(), 159);
        assert!(shown.len() <= NAMESPACES + 2);
    }
}
