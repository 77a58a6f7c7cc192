//! Which connections there are, and which one goes when there are too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The connections of one port.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_of_one: usize,
    began: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    source: IpAddr,
    activity: Arc<Activity>,
    close: CancellationToken,
}

/// What goes on on one connection.
#[derive(Debug, Default)]
pub struct Activity {
    in_flight: AtomicUsize,
    served: AtomicU64,
    /// When the last one was, in milliseconds since the port was opened; before, when the connection was.
    last: AtomicU64,
}

impl Activity {
    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Whether any request was answered.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed) > 0
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

/// A place among the connections, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
    pub(super) activity: Arc<Activity>,
    /// Cancelled when the place is needed for another connection.
    pub(super) close: CancellationToken,
}

/// By what a handler says that its answer goes on when its head is sent; an extension of every request.
#[derive(Clone, Debug)]
pub struct KeepBusy {
    connections: Arc<Connections>,
    activity: Arc<Activity>,
}

impl KeepBusy {
    pub(super) fn new(connections: &Arc<Connections>, activity: &Arc<Activity>) -> Self {
        Self { connections: connections.clone(), activity: activity.clone() }
    }

    /// The connection counts as busy until what is returned is dropped: it is closed neither for being idle nor to make room.
    pub fn begin(&self) -> InFlight {
        Place::begin(&self.connections, &self.activity)
    }
}

/// A request being answered.
#[derive(Debug)]
pub struct InFlight {
    connections: Arc<Connections>,
    activity: Arc<Activity>,
}

impl Connections {
    /// At most `most` connections, and `most_of_one` from one source.
    pub(super) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, began: Instant::now(), open: Mutex::default() })
    }

    /// A place for a connection from `source`. Where all are taken, of the source with the most connections the one goes
    /// that has been idle for the longest time; none goes on which a request is being answered.
    pub(super) fn place(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.of(source) >= self.most_of_one {
            open.close_one(source)?;
        } else if open.all.len() >= self.most {
            let busiest = open.busiest()?;
            open.close_one(busiest)?;
        }
        let id = open.next;
        open.next += 1;
        let activity = Arc::new(Activity::default());
        activity.last.store(self.now(), Ordering::Relaxed);
        let close = CancellationToken::new();
        open.all.insert(id, Entry { source, activity: activity.clone(), close: close.clone() });
        Some(Place { connections: self.clone(), id, activity, close })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.open.lock().unwrap().all.len()
    }
}

impl Open {
    fn of(&self, source: IpAddr) -> usize {
        self.all.values().filter(|entry| entry.source == source).count()
    }

    /// The source with the most connections that can go.
    fn busiest(&self) -> Option<IpAddr> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.all.values().filter(|entry| !entry.activity.is_busy()) {
            *counts.entry(entry.source).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(source, _)| source)
    }

    fn close_one(&mut self, source: IpAddr) -> Option<()> {
        let idle = self.all.iter().filter(|(_, entry)| entry.source == source && !entry.activity.is_busy());
        let (id, _) = idle.min_by_key(|(id, entry)| (entry.activity.has_served(), entry.activity.last(), **id))?;
        let id = *id;
        self.all.remove(&id)?.close.cancel();
        Some(())
    }
}

impl Place {
    /// Notes that a request is being answered, until what is returned is dropped.
    pub(super) fn begin(connections: &Arc<Connections>, activity: &Arc<Activity>) -> InFlight {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { connections: connections.clone(), activity: activity.clone() }
    }

    /// Milliseconds since the last request was answered, or since the connection was opened.
    pub(super) fn idle_millis(&self) -> u64 {
        self.connections.now().saturating_sub(self.activity.last())
    }

    pub(super) fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all.remove(&self.id);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.last.store(self.connections.now(), Ordering::Relaxed);
        self.activity.served.fetch_add(1, Ordering::Relaxed);
        self.activity.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_source_has_its_share_and_loses_its_own_idle_ones() {
        let connections = Connections::new(4, 2);
        let first = connections.place(source(1)).unwrap();
        let second = connections.place(source(1)).unwrap();
        let third = connections.place(source(1)).unwrap();
        assert!(first.close.is_cancelled() && !second.close.is_cancelled() && !third.close.is_cancelled());
        assert_eq!(connections.count(), 2);
        let busy = [&second, &third].map(|place| Place::begin(&connections, &place.activity));
        assert!(connections.place(source(1)).is_none(), "a request being answered is not broken off");
        drop(busy);
        assert!(connections.place(source(1)).is_some());
    }

    #[test]
    fn a_crowd_does_not_keep_a_newcomer_out() {
        let connections = Connections::new(4, 3);
        let served = connections.place(source(1)).unwrap();
        drop(Place::begin(&connections, &served.activity));
        let crowd: Vec<_> = (0..3).map(|_| connections.place(source(2)).unwrap()).collect();
        let newcomer = connections.place(source(3)).unwrap();
        assert!(crowd[0].close.is_cancelled() && !served.close.is_cancelled());
        drop((crowd, newcomer, served));
        assert_eq!(connections.count(), 0, "places are given back, those of closed connections once");
    }
}
