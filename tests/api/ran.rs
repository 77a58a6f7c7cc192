//! Attempts that run and end, as worker and controller leave them in the record and on the volume.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use http::{HeaderMap, Response};
use jct::domain::FailureReason;
use jct::domain::forge::Forges;
use jct::domain::trace::{
    EVENTS_FILE, Event, FileEntry, FileKind, MANIFEST_FILE, MANIFEST_VERSION, Manifest, Outcome, TASK_FILE, folder,
    task_json,
};
use jct::outcome::{Ended, judge, seal};
use jct::store::{MarkRunning, RemoveTrace, StartAttempt, TaskRow};
use jct::trace::Stamp;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{ADA, Answer, World};

/// An attempt of a Task of Ada's in `team`.
pub struct Ran<'w> {
    world: &'w World,
    pub task: TaskRow,
    pub attempt: u32,
    pub dir: PathBuf,
    seq: u64,
}

impl World {
    /// A Task whose first attempt runs.
    pub async fn runs(&self) -> Ran<'_> {
        let made = self.enqueue(json!({})).await;
        self.running(made.body["task_id"].as_str().unwrap()).await
    }

    /// The Task with this id, of which an attempt runs from here on.
    pub async fn running(&self, id: &str) -> Ran<'_> {
        let task = self.store.task(id.parse().unwrap()).await.unwrap().unwrap();
        Ran { world: self, task, attempt: 0, dir: PathBuf::new(), seq: 0 }.again().await
    }

    /// Status, headers and bytes of an answer; what was read before the connection broke off is the error.
    pub async fn bytes(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Result<Vec<u8>, Vec<u8>>) {
        let response = self.unread_with(ADA, path, headers).await;
        let (head, body) = response.into_parts();
        (head.status.as_u16(), head.headers, read(body).await)
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Vec<u8>> {
    let (mut all, mut body) = (Vec::new(), body.into_data_stream());
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => all.extend(piece),
            Err(_) => return Err(all),
        }
    }
    Ok(all)
}

impl Ran<'_> {
    /// The next attempt, which has begun.
    pub async fn again(mut self) -> Self {
        self.attempt += 1;
        let (at, row) = (Timestamp::now(), &self.task);
        let start = StartAttempt::of(row, self.attempt, format!("job-{}", self.attempt), at);
        self.world.store.start_attempt(start).await.unwrap();
        let running = MarkRunning { task_id: row.id, attempt: self.attempt, worker_id: "pod".into(), commit: None, at };
        self.task = self.world.store.mark_running(running).await.unwrap();
        let row = &self.task;
        self.world.traces.prepare(&row.namespace, row.id, self.attempt, &task_json(&row.task)).unwrap();
        self.dir = self.world.traces.root().join(folder(&row.namespace, row.id, self.attempt));
        self.seq = 0;
        self
    }

    /// The path of what is asked for of the Task.
    pub fn path(&self, rest: &str) -> String {
        format!("/tasks/{}/{rest}", self.task.id)
    }

    pub async fn get(&self, rest: &str) -> Answer {
        self.world.get(ADA, &self.path(rest)).await
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The recorder notes that something happened.
    pub fn event(&mut self, event: &str) {
        self.event_with(event, 0, &json!({}));
    }

    /// The same, so many milliseconds later, with these fields.
    pub fn event_with(&mut self, event: &str, later: i64, fields: &Value) {
        use std::io::Write as _;
        let began: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        self.seq += 1;
        let event = Event {
            ts: began + jiff::SignedDuration::from_millis(later),
            seq: self.seq,
            event: event.into(),
            trace_id: self.task.trace_id.clone(),
            fields: fields.as_object().unwrap().clone(),
        };
        let mut file = fs::File::options().append(true).create(true).open(self.dir.join(EVENTS_FILE)).unwrap();
        writeln!(file, "{}", serde_json::to_string(&event).unwrap()).unwrap();
    }

    /// The worker seals what is there, of these media types by the ends of names, and the controller records how it ended.
    pub async fn ends(&mut self, outcome: Outcome, media_types: &[(&str, &str)]) {
        let mut files = Vec::new();
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(&self.dir).unwrap().to_str().unwrap().to_owned();
                let media_type = media_types.iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| *kind);
                let file = fs::File::open(&path).unwrap();
                let stamp = Stamp::of(&file).unwrap();
                files.push(FileEntry {
                    path: name,
                    kind: FileKind::File,
                    media_type: media_type.unwrap_or("text/plain; charset=utf-8").into(),
                    size_bytes: stamp.size_bytes,
                    sha256: stamp.sha256(&file).unwrap().unwrap(),
                });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let task_sha256 = files.iter().find(|file| file.path == TASK_FILE).unwrap().sha256.clone();
        let reason = (outcome == Outcome::Failed).then_some(FailureReason::Evicted);
        let manifest: Manifest = serde_json::from_value(json!({
            "version": MANIFEST_VERSION, "task_id": self.task.id, "trace_id": self.task.trace_id, "namespace": "team",
            "attempt": self.attempt, "executor": "analysis", "worker": "jct", "task_sha256": task_sha256,
            "outcome": outcome, "reason": reason, "files": files,
            "started_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:00:01Z",
        }))
        .unwrap();
        self.write(MANIFEST_FILE, serde_json::to_vec(&manifest).unwrap());
        let mut ended = Ended::unseen(FailureReason::WorkerFailed, String::new());
        ended.failure = None;
        let judgement = judge(&self.world.traces, &self.task, &ended).unwrap();
        seal(&self.world.traces, &self.task, &judgement);
        let end = judgement.attempt_end(&self.task, &ended, None, 3, &Forges::default());
        self.task = self.world.store.finish_attempt(end).await.unwrap();
    }

    /// The operator signs what is sealed, with the key of this world's installation; `subject` is the digest that it names.
    pub fn signed(&self, subject: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": MANIFEST_FILE, "digest": {"sha256": subject}}]});
        let key = jct::signing::SigningKey::from_seed(&[7; 32]).unwrap();
        let envelope = key.sign(&serde_json::to_vec(&statement).unwrap());
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o755)).unwrap();
        self.write("provenance.dsse.json", serde_json::to_vec(&envelope).unwrap());
    }

    /// Whoever can write to the volume changes a sealed file.
    pub fn tamper(&self, name: &str, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.join(name);
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Retention removes the trace of this attempt.
    pub async fn removed(&self) {
        let rule =
            RemoveTrace { task_id: self.task.id, attempt: self.attempt, rule: "old".into(), at: Timestamp::now() };
        assert!(self.world.store.remove_trace(rule).await.unwrap());
        self.world.traces.remove("team", self.task.id, self.attempt).unwrap();
    }
}

/// What somebody who follows hears.
pub struct Follower {
    body: BodyDataStream,
    text: String,
}

impl Follower {
    pub fn of(response: Response<Body>) -> Self {
        assert_eq!(response.status(), 200);
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next server-sent event that is no comment: its id and data; none at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                self.text = rest.to_owned();
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(data) = field("data: ") {
                    let id = field("id: ").or(field("event: ")).unwrap();
                    return Some((id, serde_json::from_str(&data).unwrap()));
                }
            }
            let more = self.more().await?;
            self.text.push_str(&more);
        }
    }

    /// What comes next, as it is.
    pub async fn more(&mut self) -> Option<String> {
        let piece = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await.expect("nothing comes");
        Some(String::from_utf8(piece?.unwrap().to_vec()).unwrap())
    }

    /// Ids until the end, and what is said there.
    pub async fn rest(&mut self) -> (Vec<String>, Value) {
        let mut ids = Vec::new();
        while let Some((id, data)) = self.next().await {
            if id == "end" {
                assert!(self.next().await.is_none(), "it is the last one");
                return (ids, data);
            }
            ids.push(id);
        }
        panic!("it broke off after {ids:?}");
    }
}
