//! A team's world as a page shows it: Tasks of all kinds, over some days.

use std::fmt::Write as _;

use jct::domain::Actor;
use jct::domain::trace::Outcome;
use jct::store::{Ending, Failure, FinishTask};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{ADA, World};

pub const MEDIA: &[(&str, &str)] = &[
    ("report.md", "text/markdown; charset=utf-8"),
    (".patch", "text/x-diff; charset=utf-8"),
    (".json", "application/json"),
];

pub const REPORT: &str = "# Retries back off\n\nThe client of `octo/hello` retried at once, three times. Now it waits **200 ms**, then twice as long, with \
    jitter.\n\n## What changed\n\n| file | lines | why |\n|---|---|---|\n| `src/client.rs` | +18 −6 | the loop waits |\n| `src/backoff.rs` | +31 | how long |\n\n\
    > Tests of the old behaviour were kept; two were added.\n\n```\ncargo test\n   42 passed, 0 failed\n```\n\n- [x] no new dependency\n- [ ] a note in the changelog\n\n\
    See [the RFC](https://example.org/rfc).\n";

pub const PATCH: &str = "diff --git a/src/client.rs b/src/client.rs\nindex 83db48f..bf269f4 100644\n--- a/src/client.rs\n+++ b/src/client.rs\n\
    @@ -10,9 +10,10 @@ impl Client {\n     pub fn get(&self, path: &str) -> Result<Response> {\n-        for _ in 0..3 {\n-            if let Ok(found) = self.once(path) {\n+        let mut backoff = Backoff::new();\n+        loop {\n+            if let Ok(found) = self.once(path) {\n                 return Ok(found);\n             }\n+            std::thread::sleep(backoff.next().ok_or(Error::GaveUp)?);\n         }\n-        Err(Error::GaveUp)\n     }\n\
    diff --git a/src/backoff.rs b/src/backoff.rs\nnew file mode 100644\n--- /dev/null\n+++ b/src/backoff.rs\n@@ -0,0 +1,5 @@\n+//! How long to wait.\n+\n+pub struct Backoff {\n+    next: Duration,\n+}\n";

impl World {
    /// One that was done, with a report and a change; what is there of all pages.
    pub async fn done(&self, change: Value, report: &str, patch: &str, log: &str) -> String {
        let made = self.enqueue(change).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let id = made.body["task_id"].as_str().unwrap().to_owned();
        let mut ran = self.running(&id).await;
        let lines = [
            ("source_started", json!({"repo": "octo/hello", "ref": "main"})),
            (
                "source_fetched",
                json!({"commit": "b34e72f1f9fba0d995abc03d1763c52d61d4c48d", "files": 12, "bytes": 123_456}),
            ),
            ("executor_started", json!({"executor": "code-change", "time_budget_seconds": 900})),
            ("executor_confined", json!({"missing": []})),
            ("executor_step", json!({"message": log})),
            ("executor_ended", json!({"end": {"exited": 0}, "wall_ms": 5_678, "peak_memory_bytes": 43_651_072})),
            ("attempt_ended", json!({"outcome": "succeeded", "message": "changed 2 files"})),
        ];
        for (seq, (event, fields)) in (1..).zip(lines) {
            ran.event_with(event, seq * 700, &fields);
        }
        ran.write("trace.log", format!("00:00.0 source fetched\n{log}\n00:05.7 executor ended: exited 0\n"));
        ran.write("stdout.log", log);
        ran.write("artifacts/report.md", report);
        ran.write("artifacts/change.patch", patch);
        ran.write("artifacts/report.json", "{}");
        ran.ends(Outcome::Succeeded, MEDIA).await;
        ran.signed(&ran.task.manifest_sha256.clone().unwrap());
        id
    }

    /// Ends a Task of which no attempt runs.
    pub async fn fails(&self, id: &str, reason: &str, message: &str) {
        let (failure, actor) = (Failure::new(reason, message), Actor::authenticated("ada"));
        let finish =
            FinishTask { task_id: id.parse().unwrap(), ending: Ending::Failed, failure, actor, at: Timestamp::now() };
        self.store.finish_task(finish).await.unwrap();
    }

    /// Moves what ended into the days before, so that there is a past.
    pub async fn past(&self, ids: &[String]) {
        let mut connection = self.lock_record().await;
        let mut sql = String::new();
        for (number, id) in ids.iter().enumerate() {
            let (hours, seconds) = (3 + number * 7, 4 + number * number % 90);
            let _ = write!(
                sql,
                "UPDATE tasks SET completed_at = completed_at - {hours} * 3600000000, \
                 started_at = completed_at - {hours} * 3600000000 - {seconds} * 1000000, \
                 queued_at = completed_at - {hours} * 3600000000 - {seconds} * 1000000 - 2000000 WHERE id = '{id}';"
            );
        }
        sql.push_str("COMMIT;");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }

    /// A team at work: one done, one that runs, some that wait, and a past. The ids of the first two.
    pub async fn busy(&self) -> (String, String) {
        let mut past = Vec::new();
        for number in 0..18 {
            let operation = ["analysis", "docs", "ops", "code_change"][number % 4];
            let repo = ["octo/hello", "octo/shop", "octo/infra"][number % 3];
            let objective =
                ["Look for the cause of the slow start", "Bring the guide up to date", "Renew the certificates"]
                    [number % 3];
            let (kind, id) = [("human", "ada"), ("agent", "release-bot"), ("system", "nightly")][number % 3];
            let name = json!({
                "operation": operation, "target": {"repo": repo}, "objective": objective,
                "requested_by": {"kind": kind, "id": id},
            });
            let made = self.enqueue(name).await;
            let id = made.body["task_id"].as_str().unwrap().to_owned();
            match number % 5 {
                1 => {
                    self.fails(
                        &id,
                        ["TimeBudgetExceeded", "ExecutorFailed", "SourceFailed"][number % 3],
                        "it took longer than it may",
                    )
                    .await
                }
                _ => self.running(&id).await.ends(Outcome::Succeeded, &[]).await,
            }
            past.push(id);
        }
        self.past(&past).await;
        let change = json!({
            "operation": "code_change", "objective": "Make the client's retries back off, with jitter, and say so in the docs",
            "acceptance_criteria": ["No new dependency", "The tests pass"], "inputs": {"max_attempts": 5},
        });
        let done =
            self.done(change, REPORT, PATCH, "reading src/client.rs\nwriting src/backoff.rs\n42 tests passed").await;
        let made = self.enqueue(json!({"objective": "Describe what this repository contains"})).await;
        let running = made.body["task_id"].as_str().unwrap().to_owned();
        let mut ran = self.running(&running).await;
        ran.event_with("source_started", 0, &json!({"repo": "octo/hello", "ref": "main"}));
        ran.write("trace.log", "fetching octo/hello\ncounting lines\n");
        for objective in ["Waits for a node", "Waits for its turn"] {
            self.post(ADA, "/tasks/enqueue", &crate::world::task(json!({"objective": objective}))).await;
        }
        (done, running)
    }
}
