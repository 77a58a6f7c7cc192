//! The controller of Tasks: what is there, whose turn it is, and the passes under way.
//!
//! kube's own controller serves whoever waits in no order, keeps every object for ever, and runs all passes on one thread. This
//! one is for Tasks alone, of which there can be a hundred thousand.

pub mod cache;
pub mod starts;
mod timers;
pub mod turns;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use tokio::sync::Semaphore;
use tokio::task::{Id as PassId, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::cache::{CachedTask, Tasks, VIEWS, version};
use self::timers::Timers;
use self::turns::{Lane, TaskKey, Turns};
use super::runner::{failed, measured, permits_for};
use super::task::{Object, reconcile, reconcile_in_line};
use super::{Action, Context, Error};

/// While so many wait for a pass, the first list does not go on: what is at hand would be gone before its turn.
const ENOUGH: usize = VIEWS / 2;

/// How long a Task waits for its first worker before that is told: for most the news would be old when it is read.
const REPORT_AFTER: Duration = Duration::from_secs(3);

/// How often who waits is told so, and how many then: each costs a write of a status, which a Job could have been made with.
const REPORT_EVERY: Duration = Duration::from_millis(500);
const REPORTED_AT_ONCE: usize = 5;

/// Passes beyond those that are begun at once, for namespaces that have none under way.
const BESIDE: usize = 4;

/// How long nothing is due when nothing is.
const NEVER: Duration = Duration::from_secs(3600);

/// The controller of Tasks.
pub struct Queue {
    context: Arc<Context>,
    tasks: Arc<Tasks>,
    specs: Arc<Semaphore>,
    concurrency: usize,
    turns: Turns,
    timers: Timers,
    passes: JoinSet<Action>,
    running: HashMap<TaskKey, Running>,
    by_id: HashMap<PassId, TaskKey>,
    reporting: usize,
    /// Who waits for a first worker, and since when, and may not know that.
    unreported: VecDeque<(Instant, TaskKey)>,
    /// Whether all that are there have been listed: before that nobody can be said to be first.
    is_listed: bool,
    /// Whether the first list waits for passes. One that broke off may have taken longer than etcd keeps what it began with;
    /// the next one does not wait.
    list_waits: bool,
}

/// A pass under way.
struct Running {
    cached: CachedTask,
    /// Whether there was news since it began.
    again: bool,
    /// Whether it only tells that the Task waits.
    only_reports: bool,
}

impl Queue {
    /// One that passes over so many `tasks` at once; each takes a permit of `specs` for each KiB of a spec that it may read.
    pub fn new(context: Arc<Context>, tasks: Arc<Tasks>, specs: Arc<Semaphore>, concurrency: u16) -> Self {
        Self {
            context,
            tasks,
            specs,
            concurrency: concurrency.into(),
            turns: Turns::default(),
            timers: Timers::default(),
            passes: JoinSet::new(),
            running: HashMap::new(),
            by_id: HashMap::new(),
            reporting: 0,
            unreported: VecDeque::new(),
            is_listed: false,
            list_waits: true,
        }
    }

    /// Passes over every Task of `events` that changed, and over those that are `triggered`, until `shutdown`; passes under way
    /// end first. Every object that comes or changes is shown to `observe`; `filled` is called once, when all are listed.
    pub async fn run(
        mut self,
        events: impl Stream<Item = Result<Event<Object>, watcher::Error>> + Send,
        triggered: impl Stream<Item = (String, String)> + Send,
        observe: impl Fn(&Object) + Send,
        filled: impl FnOnce() + Send,
        shutdown: CancellationToken,
    ) {
        let mut events = std::pin::pin!(events);
        let mut triggered = std::pin::pin!(triggered);
        let mut filled = Some(filled);
        let mut report_tick = interval(REPORT_EVERY);
        report_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_passes();
            let due = self.timers.first().unwrap_or_else(|| Instant::now() + NEVER);
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = self.passes.join_next_with_id(), if !self.passes.is_empty() => self.ended(ended),
                Some(event) = events.next(), if self.takes_events() => {
                    self.handle_event(event, &observe);
                    if self.is_listed && let Some(filled) = filled.take() {
                        filled();
                    }
                }
                Some((namespace, name)) = triggered.next() => self.push(TaskKey::new(&namespace, &name)),
                () = sleep_until(due) => {
                    while let Some(key) = self.timers.due(Instant::now()) {
                        self.push(key);
                    }
                }
                _ = report_tick.tick() => self.report_waiting(),
            }
        }
        while self.passes.join_next().await.is_some() {}
    }

    fn handle_event(&mut self, event: Result<Event<Object>, watcher::Error>, observe: &impl Fn(&Object)) {
        match event {
            Ok(Event::Init) => self.tasks.begin(),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                observe(&object);
                let Some((key, uid, version)) = named(&object) else { return };
                let is_changed = self.tasks.apply(object).is_some();
                if is_changed {
                    self.push(key.clone());
                }
                // A pass that began with an older one still needs what it wrote.
                if !self.running.contains_key(&key) {
                    self.context.written.seen(&uid, version);
                }
            }
            Ok(Event::InitDone) => {
                self.tasks.complete();
                self.is_listed = true;
            }
            Ok(Event::Delete(object)) => {
                observe(&object);
                self.tasks.remove(&object);
                if let Some((key, ..)) = named(&object) {
                    self.turns.remove(&key);
                    self.timers.set(&key, None);
                }
            }
            // The watcher recovers by itself, with a backoff.
            Err(error) => {
                warn!(kind = "Task", %error, "watch interrupted");
                self.list_waits = false;
            }
        }
    }

    fn takes_events(&self) -> bool {
        self.is_listed || !self.list_waits || self.turns.soon() < ENOUGH
    }

    /// `key` waits for a pass. One that is not there does not: the list, or an event, will bring it.
    fn push(&mut self, key: TaskKey) {
        if let Some(running) = self.running.get_mut(&key) {
            running.again = true;
            return;
        }
        let Some(lane) = self.tasks.lane(&key) else { return };
        let is_new = self.turns.lane(&key).is_none();
        self.turns.push(key.clone(), lane);
        if is_new && lane != Lane::Soon {
            self.unreported.push_back((Instant::now(), key));
        }
    }

    fn begin_passes(&mut self) {
        while let Some((key, lane)) = self.next() {
            match self.running.get_mut(&key) {
                // It is being told that it waits; that ends soon.
                Some(running) => running.again = true,
                None => self.begin(key, Some(lane)),
            }
        }
    }

    /// Whose pass begins now. That of a namespace which has none under way does not wait until one of the others ends.
    fn next(&mut self) -> Option<(TaskKey, Lane)> {
        let under_way = self.passes.len() - self.reporting;
        if under_way < self.concurrency {
            return self.turns.next(self.is_listed);
        }
        if under_way >= self.concurrency + BESIDE {
            return None;
        }
        let running = &self.running;
        let has_none = |namespace: &str| {
            !running.iter().any(|(key, running)| !running.only_reports && key.namespace() == namespace)
        };
        self.turns.next_among(self.is_listed, has_none)
    }

    /// Begins a pass; one without a `lane` only tells that the Task waits.
    fn begin(&mut self, key: TaskKey, lane: Option<Lane>) {
        let only_reports = lane.is_none();
        let cached = if only_reports { self.tasks.cached(&key) } else { self.tasks.begin_pass(&key) };
        let Some(cached) = cached else { return };
        if !only_reports {
            self.timers.set(&key, None);
        }
        let is_start = matches!(lane, Some(Lane::Start(_)));
        let ticket = is_start.then(|| self.context.starts.register(&key));
        let pass = pass(self.context.clone(), self.specs.clone(), key.clone(), cached.clone(), only_reports);
        let pass = async move {
            let _ticket = ticket;
            pass.await
        };
        let id = self.passes.spawn(pass).id();
        self.by_id.insert(id, key.clone());
        self.reporting += usize::from(only_reports);
        self.running.insert(key, Running { cached, again: false, only_reports });
    }

    fn ended(&mut self, ended: Result<(PassId, Action), JoinError>) {
        let (id, action) = match ended {
            Ok((id, action)) => (id, Some(action)),
            Err(error) => (error.id(), None),
        };
        let Some(key) = self.by_id.remove(&id) else { return };
        let Some(Running { cached, again, only_reports }) = self.running.remove(&key) else { return };
        self.reporting -= usize::from(only_reports);
        let action = action.unwrap_or_else(|| {
            error!(task = ?key, "a pass broke off: this is a fault of JCT");
            Action::requeue(self.context.backoff.failed(&cached.uid))
        });
        let Some(now) = self.tasks.cached(&key) else { return };
        self.context.written.seen(&now.uid, now.version);
        if !only_reports {
            self.timers.set(&key, action.after().map(|after| Instant::now() + after));
            if action.after().is_none() {
                self.tasks.rest(&key, cached.version);
            }
        }
        if again {
            self.push(key);
        }
    }

    /// Tells some of those who wait for long that they do.
    fn report_waiting(&mut self) {
        let mut reported = 0;
        while reported < REPORTED_AT_ONCE
            && let Some((since, _)) = self.unreported.front()
            && since.elapsed() >= REPORT_AFTER
            && let Some((_, key)) = self.unreported.pop_front()
        {
            if let Some(Lane::Start(_)) = self.turns.lane(&key)
                && !self.running.contains_key(&key)
            {
                self.begin(key, None);
                reported += 1;
            }
        }
    }
}

/// What an object is called, its uid and its version.
fn named(object: &Object) -> Option<(TaskKey, String, u64)> {
    let metadata = &object.metadata;
    let key = TaskKey::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?);
    Some((key, metadata.uid.clone()?, version(object)))
}

/// One pass over the Task of this name, and when the next one is due. All parts.
async fn pass(
    context: Arc<Context>,
    specs: Arc<Semaphore>,
    key: TaskKey,
    cached: CachedTask,
    only_reports: bool,
) -> Action {
    // The semaphore is never closed.
    let _permits = specs.acquire_many(permits_for(cached.spec_bytes)).await;
    let object = match cached.view {
        Some(view) => view,
        None => match read(&context, &key).await {
            Ok(Some(object)) => object,
            Ok(None) => return Action::await_change(),
            Err(error) => {
                let wait = context.backoff.failed(&cached.uid);
                warn!(kind = "Task", namespace = key.namespace(), name = key.name(), %error, category = error.category(),
                    retry_in = ?wait, "pass failed");
                return Action::requeue(wait);
            }
        },
    };
    let passed = async {
        match only_reports {
            true => reconcile_in_line(object.clone(), context.clone()).await,
            false => reconcile(object.clone(), context.clone()).await,
        }
    };
    match measured("Task", context.clone(), passed).await {
        Ok(action) => action,
        Err(error) => failed("Task", &*object, &error, &context.backoff),
    }
}

/// The object as it is now. API server.
async fn read(context: &Context, key: &TaskKey) -> Result<Option<Arc<Object>>, Error> {
    let api: Api<Object> = Api::namespaced(context.client.clone(), key.namespace());
    let found = api.get_opt(key.name()).await.map_err(Error::api("read a Task"))?;
    Ok(found.map(Arc::new))
}
