//! Group commit: one task owns the connection for writing and commits what waits in one transaction.
//!
//! A commit waits for the disk, and each statement for the database; many requests can share those waits. A request that
//! is refused has changed nothing; when the database refuses a statement, the requests of the batch are done one by one,
//! so that the one to blame does not spoil the others. Nobody is answered before the commit, and no answer says "done"
//! unless it succeeded. A request goes on when its caller does not wait any longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ulid::Generator;

use super::batch::Saved;
use super::conn::{Conn, execute};
use super::connect::{Connected, Connector, Opening};
use super::maintenance::prepare;
use super::operation::{Needs, Operation, View};
use super::{CommittedTasks, Result, StoreError, StoreSettings, WriterStats, batch};
use jct_domain::notification::Notifications;

/// How often a transaction is tried on PostgreSQL, where a connection can be lost and replicas can be in each other's
/// way. Operations can be repeated, also those whose commit was not answered.
const POSTGRES_TRIES: u32 = 3;

/// How many times the wait for a lock a whole transaction may take: a connection whose other end is gone without a word
/// must not hold up the writer for ever.
const BATCH_WAITS: u32 = 12;

/// How long a database counts as full to which nothing but probes was written since. Whoever waits to write tries again
/// sooner.
const FULL: Duration = Duration::from_secs(35);

/// How many commits may be told of before a listener that is slow is told that it missed some.
const NEWS: usize = 64;

/// The wait between two tries to open the database for the first time.
const OPENING_INTERVAL: Duration = Duration::from_secs(1);

/// The receivers of notifications, and how many notifications were written for them.
pub(super) type OutboxSignals = (watch::Receiver<Arc<Notifications>>, watch::Sender<u64>);

/// Hands operations to the writer.
pub(super) struct Writer {
    requests: mpsc::Sender<Box<dyn Request>>,
    opening: Opening,
    closing: CancellationToken,
    running: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<Counters>,
    committed: broadcast::Sender<CommittedTasks>,
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    audit_entries: AtomicU64,
    /// When a transaction last failed, and why, unless it is known to work again.
    failure: std::sync::Mutex<Option<(Instant, StoreError)>>,
}

impl Counters {
    fn failure(&self) -> MutexGuard<'_, Option<(Instant, StoreError)>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On a full disk a small write may find room where a greater one does not: it proves nothing.
    fn note_success(&self, entries: u64) {
        let mut failure = self.failure();
        let stands = match &*failure {
            Some((since, StoreError::Full(_))) => entries == 0 && since.elapsed() < FULL,
            _ => false,
        };
        if !stands {
            *failure = None;
        }
    }
}

impl Writer {
    /// Starts the writer on `connected`, or lets it open the database by itself. The receivers of notifications are in `outbox.0`;
    /// `outbox.1` counts the notifications written for them.
    pub(super) fn start(
        settings: &StoreSettings,
        connected: Option<Connected>,
        outbox: OutboxSignals,
    ) -> (Self, Opening) {
        let (requests, receiver) = mpsc::channel(settings.queue.max(1));
        let connector = Connector::new(settings);
        let (connector, state) = match &connected {
            Some(_) => (connector.without_creating(), Ok(())),
            None => (connector, Err(StoreError::Unavailable("it is being opened".into()))),
        };
        let (opened, opening) = watch::channel(state);
        let closing = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let committed = broadcast::Sender::new(NEWS);
        let task = WriterTask {
            receiver,
            closing: closing.clone(),
            batch: settings.batch.max(1),
            wait: settings.wait,
            timeout: settings.wait.saturating_mul(BATCH_WAITS),
            tries: if connector.is_postgres() { POSTGRES_TRIES } else { 1 },
            connector,
            connected,
            opened,
            ids: Generator::new(),
            outbox,
            counters: Arc::clone(&counters),
            committed: committed.clone(),
        };
        let running = Mutex::new(Some(tokio::spawn(task.run())));
        (Self { requests, opening: opening.clone(), closing, running, counters, committed }, opening)
    }

    /// One that takes nothing: of a store that is only read.
    pub(super) fn none() -> Self {
        let (requests, _) = mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let opening = watch::channel(Ok(())).1;
        let (running, committed) = (Mutex::new(None), broadcast::Sender::new(1));
        Self { requests, opening, closing: CancellationToken::new(), running, counters, committed }
    }

    /// What is committed from now on.
    pub(super) fn committed(&self) -> broadcast::Receiver<CommittedTasks> {
        self.committed.subscribe()
    }

    /// Has the operation committed.
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Output> {
        self.opening.borrow().clone()?;
        let (answer, answered) = oneshot::channel();
        let request = Pending { operation, outcome: None, answer };
        self.requests.send(Box::new(request)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns once the database is open, or the writer has ended.
    pub(super) async fn opened(&self) {
        let _ = self.opening.clone().wait_for(Result::is_ok).await;
    }

    /// Why transactions fail, as far as is known.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.counters.failure().as_ref().map(|(_, error)| error.clone())
    }

    pub(super) fn stats(&self) -> WriterStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let waiting = self.requests.max_capacity().saturating_sub(self.requests.capacity());
        WriterStats {
            commits: count(&self.counters.commits),
            requests: count(&self.counters.requests),
            failures: count(&self.counters.failures),
            audit_entries: count(&self.counters.audit_entries),
            waiting: waiting as u64,
        }
    }

    /// Takes no further requests, and returns once those that wait are answered.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        if let Some(running) = self.running.lock().await.take()
            && let Err(error) = running.await
        {
            tracing::error!(%error, "the database writer ended badly");
        }
    }
}

/// An operation that waits, its type forgotten.
trait Request: Send {
    fn needs(&self, needs: &mut Needs);

    /// Decides, and adds what is to be written to the view.
    fn decide(&mut self, view: &mut View);

    /// Tells the caller what was decided, or why it was not committed.
    fn answer(self: Box<Self>, committed: &Result<()>);
}

struct Pending<O: Operation> {
    operation: O,
    outcome: Option<Result<O::Output>>,
    answer: oneshot::Sender<Result<O::Output>>,
}

impl<O: Operation> Request for Pending<O> {
    fn needs(&self, needs: &mut Needs) {
        self.operation.needs(needs);
    }

    fn decide(&mut self, view: &mut View) {
        self.outcome = Some(self.operation.decide(view).map(|(output, changes)| {
            view.stage(changes);
            output
        }));
    }

    fn answer(self: Box<Self>, committed: &Result<()>) {
        let outcome = match (self.outcome, committed) {
            // Also for an outcome of its own: it may rest on rows that are not there now.
            (_, Err(error)) => Err(error.clone()),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(StoreError::Internal("a request was passed over".into())),
        };
        // The caller may have stopped waiting.
        let _ = self.answer.send(outcome);
    }
}

struct WriterTask {
    receiver: mpsc::Receiver<Box<dyn Request>>,
    closing: CancellationToken,
    batch: usize,
    tries: u32,
    wait: Duration,
    timeout: Duration,
    connector: Connector,
    connected: Option<Connected>,
    opened: watch::Sender<Result<()>>,
    ids: Generator,
    outbox: OutboxSignals,
    counters: Arc<Counters>,
    committed: broadcast::Sender<CommittedTasks>,
}

impl WriterTask {
    async fn run(mut self) {
        let closing = self.closing.clone();
        // Asked to close, the writer has nothing to commit.
        let _ = closing.run_until_cancelled(self.open()).await;
        let mut batch = Vec::with_capacity(self.batch);
        loop {
            let taken = tokio::select! {
                biased;
                () = self.closing.cancelled(), if !self.receiver.is_closed() => {
                    self.receiver.close();
                    continue;
                }
                taken = self.receiver.recv_many(&mut batch, self.batch) => taken,
            };
            if taken == 0 {
                break;
            }
            self.counters.requests.fetch_add(taken as u64, Ordering::Relaxed);
            self.serve(&mut batch).await;
        }
        if let Some(connected) = self.connected.take() {
            connected.close().await;
        }
    }

    /// Opens the database if it is not, however long it takes.
    async fn open(&mut self) {
        while self.opened.borrow().is_err() {
            match self.try_to_open().await {
                Ok(connected) => {
                    self.connected = Some(connected);
                    self.connector = self.connector.clone().without_creating();
                    tracing::info!("the database is open");
                    self.opened.send_modify(|state| *state = Ok(()));
                }
                Err(error) => {
                    let known = self.opened.send_replace(Err(error.clone()));
                    if known.as_ref() != Err(&error) {
                        tracing::warn!(%error, category = error.category(), "the database cannot be opened; trying again");
                    }
                    tokio::time::sleep(OPENING_INTERVAL).await;
                }
            }
        }
    }

    async fn try_to_open(&self) -> Result<Connected> {
        let mut connected = within(self.timeout, self.connector.connect()).await?;
        prepare(&mut connected).await?;
        Ok(connected)
    }

    async fn serve(&mut self, batch: &mut Vec<Box<dyn Request>>) {
        let committed = self.commit_with_tries(batch).await;
        if batch.len() > 1 && matches!(committed, Err(StoreError::Internal(_))) {
            for mut request in batch.drain(..) {
                let committed = self.commit_with_tries(std::slice::from_mut(&mut request)).await;
                request.answer(&committed);
            }
        }
        for request in batch.drain(..) {
            request.answer(&committed);
        }
    }

    async fn commit_with_tries(&mut self, batch: &mut [Box<dyn Request>]) -> Result<()> {
        let mut tries_left = self.tries;
        loop {
            tries_left = tries_left.saturating_sub(1);
            match self.commit(batch).await {
                Err(StoreError::Unavailable(reason)) if tries_left > 0 => {
                    tracing::debug!(reason, "trying the transaction again");
                }
                committed => {
                    if let Err(error) = &committed {
                        *self.counters.failure() = Some((Instant::now(), error.clone()));
                    }
                    let counter = if committed.is_ok() { &self.counters.commits } else { &self.counters.failures };
                    counter.fetch_add(1, Ordering::Relaxed);
                    return committed;
                }
            }
        }
    }

    /// Runs the batch in one transaction. After a failure the connection is given up: what state it is in, and whether
    /// the file under it is still the same, is not known.
    async fn commit(&mut self, batch: &mut [Box<dyn Request>]) -> Result<()> {
        let mut connected = match self.connected.take() {
            Some(connected) => connected,
            None => within(self.timeout, self.connector.connect()).await?,
        };
        let whom = self.outbox.0.borrow().clone();
        let committed = within(self.timeout, transact(&mut connected.borrow(), batch, &mut self.ids, &whom)).await;
        match committed {
            Ok((Saved { entries, notifications }, committed)) => {
                if notifications > 0 {
                    self.outbox.1.send_modify(|written| *written += notifications);
                }
                if !committed.is_empty() {
                    // Mostly nobody listens.
                    let _ = self.committed.send(committed);
                }
                self.counters.audit_entries.fetch_add(entries, Ordering::Relaxed);
                self.counters.note_success(entries);
                self.connected = Some(connected);
                Ok(())
            }
            Err(error) => {
                // Closing rolls back what is open. The other end may not listen any more.
                let _ = tokio::time::timeout(self.wait, connected.close()).await;
                Err(error)
            }
        }
    }
}

async fn within<T>(timeout: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| StoreError::Unavailable(format!("no answer in {} s", timeout.as_secs()));
    tokio::time::timeout(timeout, work).await.map_err(late)?
}

/// Runs `batch` in one transaction and commits it; how much was written, and what it tells of.
async fn transact(
    conn: &mut Conn<'_>,
    batch: &mut [Box<dyn Request>],
    ids: &mut Generator,
    whom: &Notifications,
) -> Result<(Saved, CommittedTasks)> {
    let begin = match conn {
        Conn::Sqlite(_) => "BEGIN IMMEDIATE",
        Conn::Postgres(..) => "BEGIN",
    };
    execute!(conn, begin)?;
    let mut needs = Needs::default();
    for request in &*batch {
        request.needs(&mut needs);
    }
    let mut view = batch::load(conn, needs).await?;
    for request in batch {
        request.decide(&mut view);
    }
    let committed = CommittedTasks::of(&view);
    let saved = batch::save(conn, view, ids, whom).await?;
    execute!(conn, "COMMIT")?;
    Ok((saved, committed))
}
