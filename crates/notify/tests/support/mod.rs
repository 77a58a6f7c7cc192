//! A record in which Tasks end, and places that are told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jct_domain::notification::Notifications;
use jct_domain::task::{Constraints, Operation, Repo, RequestedBy, Target};
use jct_domain::{Actor, ActorKind, Id, Task, TraceId};
use jct_notify::{Count, Secrets, Sender, Timing};
use jct_store::{Ending, Failure, FinishTask, NewTask, Shown, Store, StoreSettings};
use jiff::{SignedDuration, Timestamp};
use serde_json::Map;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Of a test's patience.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn timing() -> Timing {
    Timing {
        request: Duration::from_millis(400),
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(50),
        give_up: SignedDuration::from_hours(24),
        look_again: Duration::from_secs(60),
    }
}

/// A receiver of CloudEvents, as it is configured.
pub fn receiver(name: &str, url: &str) -> String {
    format!("{{name: {name}, url: '{url}', signingKey: {{secret: notify, key: key}}}}")
}

/// Waits for something to be so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

pub struct World {
    pub store: Store,
    pub counted: Counted,
    /// How far the clock is ahead, in seconds.
    pub clock: Arc<AtomicI64>,
    configured: watch::Sender<Arc<Notifications>>,
    folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jct.db").display());
        let store = Store::open(&StoreSettings::new(url.parse().unwrap())).await.unwrap();
        let world = Self {
            store,
            counted: Counted::default(),
            clock: Arc::default(),
            configured: watch::Sender::default(),
            folder,
        };
        world.secret("key", KEY);
        world
    }

    pub fn secret(&self, key: &str, value: &str) {
        let folder = self.folder.path().join("secrets/notify");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(key), format!("{value}\n")).unwrap();
    }

    pub fn configure(&self, receivers: &[String]) {
        let configured = Notifications::read(&format!("receivers: [{}]", receivers.join(", "))).unwrap();
        let configured = Arc::new(configured);
        self.store.set_notifications(configured.clone());
        self.configured.send_replace(configured);
    }

    /// A Task of this name fails; its id.
    pub async fn ends(&self, name: &str) -> String {
        let now = Timestamp::now();
        let new = new_task(name, now);
        let task_id = new.id;
        self.store.record_task(new).await.unwrap();
        let failure = Failure::new("Timeout", "it took too long");
        let finish = FinishTask { task_id, ending: Ending::Failed, failure, actor: Actor::controller(), at: now };
        self.store.finish_task(finish).await.unwrap();
        task_id.to_string()
    }

    /// A process that sends, as the one that leads.
    pub fn send(&self, public_url: Option<&str>) -> JoinHandle<()> {
        let ahead = self.clock.clone();
        let sender = Sender {
            store: self.store.clone(),
            configured: self.configured.subscribe(),
            secrets: Secrets::new(self.folder.path().join("secrets")),
            public_url: public_url.map(Into::into),
            now: Arc::new(move || Timestamp::now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst))),
            count: Arc::new(self.counted.clone()),
            timing: timing(),
        };
        tokio::spawn(sender.run(CancellationToken::new()))
    }

    pub async fn waiting(&self, receiver: &str) -> usize {
        self.store.waiting_notifications(receiver, None, 100).await.unwrap().len()
    }

    pub async fn all_told(&self, receiver: &str) {
        until("all is told", async || self.waiting(receiver).await == 0).await;
    }
}

fn new_task(name: &str, now: Timestamp) -> NewTask {
    let task = Task {
        version: "1.0".into(),
        idempotency_key: None,
        requested_by: RequestedBy { kind: ActorKind::Human, id: "ada".into(), label: None },
        objective: "Fix the login".into(),
        operation: Operation::Docs,
        target: Target { repo: Repo::parse("acme/api").unwrap(), git_ref: "main".into(), path: String::new() },
        constraints: Constraints { time_budget_seconds: 900, allow_network: false, allow_secrets: false },
        inputs: Map::new(),
        metadata: Map::new(),
        acceptance_criteria: Vec::new(),
        evidence_requirements: Vec::new(),
    };
    NewTask {
        id: Id::derive(now, name),
        trace_id: TraceId::derive(name),
        namespace: "team".into(),
        name: name.into(),
        uid: name.into(),
        submitted_by: Some("ada@example.org".into()),
        actor: Actor::controller(),
        task,
        executor: None,
        model: None,
        delivery: None,
        max_attempts: 1,
        create_cwom: false,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: now,
        recorded_at: now,
    }
}

#[derive(Clone, Default)]
pub struct Counted(Arc<Mutex<BTreeMap<(String, &'static str), i64>>>, Arc<Mutex<BTreeMap<String, &'static str>>>);

impl Counted {
    fn add(&self, receiver: &str, what: &'static str) {
        *self.0.lock().unwrap().entry((receiver.into(), what)).or_default() += 1;
    }

    fn of(&self, receiver: &str, what: &'static str) -> i64 {
        self.0.lock().unwrap().get(&(receiver.to_owned(), what)).copied().unwrap_or_default()
    }

    pub fn sent(&self, receiver: &str) -> i64 {
        self.of(receiver, "sent")
    }

    pub fn failed(&self, receiver: &str) -> i64 {
        self.of(receiver, "failed")
    }

    pub fn given_up(&self, receiver: &str) -> i64 {
        self.of(receiver, "given up")
    }

    pub fn oldest(&self, receiver: &str) -> i64 {
        self.of(receiver, "oldest")
    }

    /// Of the last failure.
    pub fn reason(&self, receiver: &str) -> &'static str {
        self.1.lock().unwrap().get(receiver).copied().unwrap_or_default()
    }
}

impl Count for Counted {
    fn sent(&self, receiver: &str) {
        self.add(receiver, "sent");
    }

    fn failed(&self, receiver: &str, reason: &'static str) {
        self.1.lock().unwrap().insert(receiver.into(), reason);
        self.add(receiver, "failed");
    }

    fn given_up(&self, receiver: &str) {
        self.add(receiver, "given up");
    }

    fn oldest_waits(&self, receiver: &str, seconds: i64) {
        self.0.lock().unwrap().insert((receiver.into(), "oldest"), seconds);
    }

    fn forget(&self, _: &str) {}
}

/// What a place does with a request.
#[derive(Clone)]
pub enum Answer {
    Status(u16),
    Redirect(String),
    /// It never answers.
    Hang,
}

#[derive(Clone)]
pub struct ReceivedRequest {
    pub heads: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl ReceivedRequest {
    pub fn head(&self, name: &str) -> &str {
        self.heads.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.heads))
    }
}

/// A place that is told: it answers as in its script, and 204 from then on.
#[derive(Clone)]
pub struct FakeReceiver {
    port: u16,
    received: watch::Receiver<Vec<ReceivedRequest>>,
}

impl FakeReceiver {
    pub async fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        Self::serve(script.into_iter().collect(), Answer::Status(204)).await
    }

    pub async fn always(answer: Answer) -> Self {
        Self::serve(VecDeque::new(), answer).await
    }

    async fn serve(script: VecDeque<Answer>, then: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, received) = watch::channel(Vec::new());
        let (script, sender) = (Arc::new(Mutex::new(script)), Arc::new(sender));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (script, sender, then) = (script.clone(), sender.clone(), then.clone());
                tokio::spawn(async move { serve_one(connection, &script, &sender, &then).await });
            }
        });
        Self { port, received }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/told", self.port)
    }

    pub fn requests(&self) -> usize {
        self.received.borrow().len()
    }

    /// The request of this number, when it has come.
    pub async fn request(&self, index: usize) -> ReceivedRequest {
        let mut received = self.received.clone();
        let waiting = received.wait_for(|received| received.len() > index);
        let received =
            tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no request {index}")).unwrap();
        received[index].clone()
    }
}

async fn serve_one(
    connection: TcpStream,
    script: &Mutex<VecDeque<Answer>>,
    sender: &watch::Sender<Vec<ReceivedRequest>>,
    then: &Answer,
) -> Option<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut heads = BTreeMap::new();
        let mut line = String::new();
        connection.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        assert!(line.starts_with("POST /told "), "{line}");
        loop {
            line.clear();
            connection.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            heads.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; heads.get("content-length")?.parse().ok()?];
        connection.read_exact(&mut body).await.ok()?;
        let answer = script.lock().unwrap().pop_front().unwrap_or_else(|| then.clone());
        sender.send_modify(|received| received.push(ReceivedRequest { heads, body }));
        let head = match answer {
            Answer::Status(204) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            Answer::Status(status) => format!("HTTP/1.1 {status} Told\r\ncontent-length: 4\r\n\r\ntold"),
            Answer::Redirect(to) => format!("HTTP/1.1 307 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"),
            Answer::Hang => std::future::pending().await,
        };
        connection.get_mut().write_all(head.as_bytes()).await.ok()?;
    }
}
