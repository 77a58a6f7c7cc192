//! Following a Task to its end.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use jct_domain::shown::plain;
use serde_json::Value;
use tokio::time::{Instant, interval, sleep};

use crate::cli::Output;
use crate::connect::Context;
use crate::rest::{Answer, Refusal, Rest};
use crate::show::sse::{Events, Sent};
use crate::show::{self, Style, steps, time};
use crate::tasks::{self, text};
use crate::{GOES_ON, show::outcome};

/// How often it is looked where nothing can be followed.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait before a stream that broke off is opened again, and how often.
const AGAIN: (Duration, u32) = (Duration::from_secs(1), 60);

/// Where what happens is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// Nowhere.
    Quiet,
    /// On standard output.
    Output,
    /// On standard error, where standard output is for the result.
    Error,
}

/// Follows a Task and tells how it ended; its exit code. Interrupted, the Task goes on.
///
/// # Errors
/// If it can't be asked about.
pub async fn to_the_end(context: &Context, rest: &Rest, task: &Value, output: Option<Output>) -> anyhow::Result<u8> {
    let following = if output.is_none() { Following::Output } else { Following::Error };
    let ended = tokio::select! {
        ended = follow(context, rest, task, following) => ended?,
        _ = tokio::signal::ctrl_c() => {
            let name = plain(text(task, "name"));
            eprintln!("\nTask {name} goes on: kubectl jct logs --follow {name} follows it, kubectl jct cancel {name} ends it.");
            return Ok(GOES_ON);
        }
    };
    let attempts = tasks::attempts(rest, text(&ended, "id")).await.unwrap_or_default();
    let shown = match (output, show::document(&ended, output)?) {
        (_, Some(document)) => document,
        (Some(Output::Name), None) => format!("task.jct.dev/{}\n", text(&ended, "name")),
        (_, None) => outcome::shown(&ended, attempts.last(), context.style),
    };
    super::put(&shown)?;
    Ok(tasks::exit_code(&ended))
}

/// Follows a Task to its end; the Task as it is then.
///
/// # Errors
/// If it can't be asked about.
pub async fn follow(context: &Context, rest: &Rest, task: &Value, following: Following) -> anyhow::Result<Value> {
    let id = text(task, "id");
    let mut printer = EventPrinter::new(task, following, context.style);
    let mut last = String::new();
    for _ in 0..AGAIN.1 {
        let headers = [("accept", "text/event-stream"), ("last-event-id", last.as_str())];
        let headers = if last.is_empty() { &headers[..1] } else { &headers[..] };
        let opened = rest.open(&format!("/tasks/{id}/events?follow=true"), headers).await;
        let mut answer = match opened {
            Ok(answer) => answer,
            // The caller may read the Task but not its trace, or retention removed the trace.
            Err(error) if is_refused(&error) => break,
            Err(_) => {
                sleep(AGAIN.0).await;
                continue;
            }
        };
        match read(&mut answer, &mut printer, &mut last).await {
            Some(reason) if reason == "ended" => break,
            Some(reason) if ["forbidden", "trace_removed", "trace_changed"].contains(&reason.as_str()) => {
                printer.note(&format!("What happens can't be followed any more: {reason}"));
                break;
            }
            _ => sleep(AGAIN.0).await,
        }
    }
    wait(rest, id, &mut printer).await
}

fn is_refused(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status.is_client_error() && refusal.status != 429)
}

/// Prints the events of a stream. Returns why the stream ended, if it says so.
async fn read(answer: &mut Answer, printer: &mut EventPrinter, last: &mut String) -> Option<String> {
    let mut events = Events::default();
    let mut tick = interval(Duration::from_millis(250));
    loop {
        let piece = tokio::select! {
            piece = answer.next() => piece.ok().flatten()?,
            _ = tick.tick() => {
                printer.progress();
                continue;
            }
        };
        for Sent { id, event, data } in events.push(&piece) {
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            if event == "end" {
                return Some(text(&data, "reason").to_owned());
            }
            *last = id;
            printer.step(&data);
        }
    }
}

/// Waits until the record has the end of the Task.
async fn wait(rest: &Rest, id: &str, printer: &mut EventPrinter) -> anyhow::Result<Value> {
    let mut failures = 0;
    loop {
        match rest.get(&format!("/tasks/{id}")).await {
            Ok(task) if !task["completed_at"].is_null() => {
                printer.clear();
                return Ok(task);
            }
            Ok(_) => failures = 0,
            Err(error) if is_refused(&error) => return Err(error),
            Err(error) if failures >= 30 => return Err(error),
            Err(_) => failures += 1,
        }
        if printer.began.elapsed() > Duration::from_secs(7 * 86_400) {
            bail!("the Task does not end");
        }
        for _ in 0..4 {
            printer.progress();
            sleep(LOOK / 4).await;
        }
    }
}

/// Prints the steps of a Task; on a terminal also a line of progress, which it clears before it prints a step.
struct EventPrinter {
    following: Following,
    style: Style,
    created: Option<jiff::Timestamp>,
    began: Instant,
    /// The step that the line of progress names.
    now: String,
    shows_progress: bool,
    has_line: bool,
}

impl EventPrinter {
    fn new(task: &Value, following: Following, style: Style) -> Self {
        let shows_progress = following != Following::Quiet && io::stderr().is_terminal();
        let created = time::parsed(&task["created_at"]);
        let style = if following == Following::Output { style } else { Style::default() };
        let now = "waiting".to_owned();
        Self { following, style, created, began: Instant::now(), now, shows_progress, has_line: false }
    }

    fn step(&mut self, event: &Value) {
        self.now = plain(text(event, "event")).replace('_', " ").chars().take(40).collect();
        let line = steps::line(event, self.created, self.style);
        self.note(&line);
    }

    fn note(&mut self, line: &str) {
        self.clear();
        match self.following {
            Following::Quiet => {}
            // Standard output may be closed: the Task is followed all the same.
            Following::Output => drop(writeln!(io::stdout().lock(), "{line}")),
            Following::Error => drop(writeln!(io::stderr().lock(), "{line}")),
        }
    }

    fn progress(&mut self) {
        const MARKS: [char; 4] = ['|', '/', '-', '\\'];
        if !self.shows_progress {
            return;
        }
        let passed = self.began.elapsed();
        let mark = MARKS[usize::try_from(passed.as_millis() / 250).unwrap_or(0) % MARKS.len()];
        let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        let _ = write!(io::stderr().lock(), "\r\u{1b}[K{mark} {} ({})", self.now, time::ago(seconds));
        self.has_line = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.has_line) {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

impl Drop for EventPrinter {
    fn drop(&mut self) {
        self.clear();
    }
}
