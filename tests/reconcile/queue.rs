//! Whose turn it is, by the controller of Tasks as a whole: events in, Jobs out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::mpsc;
use futures::{Stream, StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use jct::domain::Phase;
use jct::reconcile::Context;
use jct::reconcile::queue::Queue;
use jct::reconcile::queue::cache::{Tasks, VIEWS};
use jct::reconcile::task::{Object, reconcile, reconcile_in_line};
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher::{self, Event};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api::{Answer, call};
use crate::fixture::World;

const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";
const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";

fn read(object: &Value) -> Object {
    serde_json::from_str(&object.to_string()).unwrap()
}

#[tokio::test]
async fn a_task_whose_turn_has_not_come_is_recorded_and_told_so_once() {
    let world = World::new().await;
    let task = world.task(json!({}));
    let script = vec![call("PATCH", STATUS, Answer::Echo)];
    let in_line = async |context: Arc<Context>| {
        reconcile_in_line(Arc::new(read(&task)), context.clone()).await?;
        reconcile_in_line(Arc::new(read(&task)), context).await
    };
    let pass = world.passes_over(Some(&task), script, in_line).await;
    assert!(pass.result.as_ref().unwrap().after().is_some());
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Queued"), &json!("WaitingForTurn")));
    let row = world.row().await;
    assert_eq!((row.phase, row.attempt), (Phase::Queued, 0));
    // The control: with its turn it has its Job.
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    let pass = world.passes_over(Some(&task), script, async |context| reconcile(Arc::new(read(&task)), context).await);
    let pass = pass.await;
    assert_eq!(pass.status()["reason"], "JobCreated");
    assert_eq!((world.row().await.phase, world.row().await.attempt), (Phase::Queued, 1));
}

/// An API server that has these Tasks, and takes what is written; whose Jobs were made comes out.
#[derive(Clone)]
struct Server {
    tasks: Arc<Vec<Value>>,
    jobs: Arc<Mutex<Vec<String>>>,
    /// Which Tasks were read.
    reads: Arc<Mutex<Vec<String>>>,
    /// Before it takes a finalizer, it waits until there are so many Jobs; not for ever.
    until_jobs: Arc<Mutex<usize>>,
    /// How many Jobs there were when it was first asked to take the single Task's; it waits for six more then.
    at_single: Arc<Mutex<Option<usize>>>,
}

impl Server {
    fn new(tasks: Vec<Value>) -> Self {
        Self {
            tasks: Arc::new(tasks),
            jobs: Arc::default(),
            reads: Arc::default(),
            until_jobs: Arc::default(),
            at_single: Arc::default(),
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, tower::BoxError>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (code, answer) = match head.method {
            Method::POST => {
                let of = body["metadata"]["annotations"]["jct.dev/task-name"].as_str().unwrap_or_default();
                self.jobs.lock().unwrap().push(of.to_owned());
                (201, body)
            }
            Method::PATCH => {
                if head.uri.path().ends_with("/tasks/single") {
                    let there = self.jobs.lock().unwrap().len();
                    let at = *self.at_single.lock().unwrap().get_or_insert(there);
                    *self.until_jobs.lock().unwrap() = at + 6;
                }
                for _ in 0..60 {
                    if head.uri.path().ends_with("/status")
                        || self.jobs.lock().unwrap().len() >= *self.until_jobs.lock().unwrap()
                    {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (200, json!({"metadata": {"resourceVersion": "1000"}}))
            }
            _ => {
                let has = |task: &&Value| {
                    head.uri.path().ends_with(&format!("/tasks/{}", task["metadata"]["name"].as_str().unwrap()))
                };
                match self.tasks.iter().find(has) {
                    Some(task) => {
                        self.reads.lock().unwrap().push(task["metadata"]["name"].as_str().unwrap().to_owned());
                        (200, task.clone())
                    }
                    None => (404, json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"})),
                }
            }
        };
        Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap()
    }
}

fn task(world: &World, namespace: &str, name: &str, created: &str, version: usize) -> Value {
    let mut task = world.task(json!({"metadata": {"annotations": null}}));
    json_patch::merge(
        &mut task,
        &json!({"metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-{name}"), "creationTimestamp": created,
            "resourceVersion": version.to_string(),
        }}),
    );
    task
}

/// Runs the controller over a list and the events after it, until there are so many Jobs, and for a moment more.
async fn jobs(world: &World, server: &Server, list: &[Value], then: Vec<Event<Object>>, count: usize) -> Vec<String> {
    jobs_of_many(world, server, list, stream::iter(then), count, 1).await
}

/// The same with so many passes at once.
async fn jobs_of_many(
    world: &World,
    server: &Server,
    list: &[Value],
    then: impl Stream<Item = Event<Object>> + Send,
    count: usize,
    concurrency: u16,
) -> Vec<String> {
    let stop = CancellationToken::new();
    let listed: Vec<_> = list.iter().map(|task| Event::InitApply(read(task))).collect();
    let events = stream::iter([Event::Init].into_iter().chain(listed).chain([Event::InitDone]));
    let events = events.chain(then).map(Ok).chain(stream::pending());
    let (_trigger, triggered) = mpsc::unbounded();
    let context = world.context(server.client());
    let queue = Queue::new(context, Arc::new(Tasks::default()), Arc::new(Semaphore::new(2048)), concurrency);
    let until = async {
        while server.jobs.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
    };
    let done = async { tokio::join!(queue.run(events, triggered, |_| {}, || {}, stop.clone()), until) };
    tokio::time::timeout(Duration::from_secs(60), done).await.expect("no more Jobs");
    server.jobs.lock().unwrap().clone()
}

#[tokio::test]
async fn first_come_is_first_served_and_namespaces_take_turns() {
    let world = World::new().await;
    let at = |n: usize| format!("2026-03-01T12:00:{:02}Z", 10 - n);
    // Listed by name, which is no order of theirs: the last one came first.
    let mut list: Vec<Value> = (0..8).map(|n| task(&world, "team", &format!("t{n}"), &at(n), 100 + n)).collect();
    list.push(task(&world, "zone", "single", "2026-03-01T12:01:00Z", 200));
    // Of one second the order in which they were made.
    list.push(task(&world, "team", "a-later", &at(7), 109));
    let gone = task(&world, "team", "gone", "2026-03-01T12:02:00Z", 300);
    let then = vec![Event::Apply(read(&gone)), Event::Delete(read(&gone))];
    let server = Server::new(list.clone());
    let jobs = jobs(&world, &server, &list, then, list.len()).await;
    let of_team: Vec<&str> = jobs.iter().map(String::as_str).filter(|name| *name != "single").collect();
    assert_eq!(
        of_team,
        ["t7", "a-later", "t6", "t5", "t4", "t3", "t2", "t1", "t0"],
        "and none for the one that is gone"
    );
    assert!(jobs.iter().position(|name| name == "single").unwrap() < 2, "{jobs:?}");
}

/// All passes that there may be at once are under way, and the single Task's own takes longer than theirs.
#[rstest]
#[case::as_it_is(3600, true)]
#[case::the_control_where_nobody_is_held(0, false)]
#[tokio::test]
async fn beside_many_of_one_namespace_a_single_task_of_another_starts_before_the_third_next_of_theirs(
    #[case] patience: u64,
    #[case] is_before: bool,
) {
    const CONCURRENCY: u16 = 8;
    let mut world = World::new().await;
    world.starts_patience = Duration::from_secs(patience);
    let at = "2026-03-01T12:00:00Z";
    let list: Vec<Value> = (0..60).map(|n| task(&world, "team", &format!("t{n}"), at, 100 + n)).collect();
    let mut single = task(&world, "zone", "single", "2026-03-01T12:01:00Z", 300);
    single["metadata"]["finalizers"] = json!([]);
    let server = Server::new(list.iter().chain([&single]).cloned().collect());
    let comes = {
        let (server, single) = (server.clone(), read(&single));
        stream::once(async move {
            while server.jobs.lock().unwrap().len() < 10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Event::Apply(single)
        })
    };
    let jobs = jobs_of_many(&world, &server, &list, comes, list.len() + 1, CONCURRENCY).await;
    let place = jobs.iter().position(|name| name == "single").unwrap();
    let came = server.at_single.lock().unwrap().expect("its pass began");
    assert!(came + usize::from(CONCURRENCY) < list.len(), "a control: {came} were there before, of {}", list.len());
    assert_eq!(place - came <= 2, is_before, "{} of theirs started before it: {jobs:?}", place - came);
}

fn ended(world: &World, n: usize) -> Value {
    let mut ended = task(world, "team", &format!("ended-{n}"), "2026-03-01T12:00:00Z", 1000 + n);
    ended["spec"] = json!({});
    ended["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
    ended["metadata"]["finalizers"] = json!([]);
    ended
}

#[tokio::test]
async fn of_many_who_wait_the_last_is_read_again_and_the_first_are_not() {
    let world = World::new().await;
    let of = |n: usize| task(&world, "team", &format!("t{n}"), "2026-03-01T12:00:00Z", 100 + n);
    let list: Vec<Value> = (0..=VIEWS).map(of).collect();
    let server = Server::new(list.clone());
    let jobs = jobs(&world, &server, &list, vec![], list.len()).await;
    assert_eq!(jobs.len(), list.len());
    // Once, and once more on a machine so slow that it is told meanwhile that it waits.
    let read: BTreeSet<String> = server.reads.lock().unwrap().drain(..).collect();
    assert_eq!(read, BTreeSet::from([format!("t{VIEWS}")]));
}

/// Of a list that is never passed over to its end, what comes after it broke off once and began again.
#[rstest]
#[case::which_broke_off_once(true)]
#[case::the_control_which_waits_for_passes(false)]
#[tokio::test]
async fn a_list_that_broke_off_does_not_wait_for_passes(#[case] broke_off: bool) {
    let world = World::new().await;
    let mut stuck = ended(&world, 0);
    stuck["metadata"]["deletionTimestamp"] = Value::Null;
    stuck["spec"] = json!({"suspend": true});
    let list =
        || [Ok(Event::Init)].into_iter().chain((0..VIEWS).map(|n| Ok(Event::InitApply(read(&ended(&world, n))))));
    let breaks = || broke_off.then_some(Err(watcher::Error::NoResourceVersion));
    // The first pass that begins does not end: its finalizer is not taken.
    let server = Server::new(vec![stuck.clone()]);
    *server.until_jobs.lock().unwrap() = usize::MAX;
    let taken = Arc::new(Mutex::new(0));
    let count = |_: &Result<_, _>| *taken.lock().unwrap() += 1;
    let first = [Ok(Event::Init), Ok(Event::InitApply(read(&stuck)))];
    let events: Vec<_> = first.into_iter().chain(breaks()).chain(list()).collect();
    let whole = events.len();
    let (stop, (_trigger, triggered)) = (CancellationToken::new(), mpsc::unbounded());
    let context = world.context(server.client());
    let queue = Queue::new(context, Arc::new(Tasks::default()), Arc::new(Semaphore::new(2048)), 1);
    let events = stream::iter(events).inspect(count).chain(stream::pending());
    let run = queue.run(events, triggered, |_| {}, || {}, stop.clone());
    let until = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let taken = *taken.lock().unwrap();
        stop.cancel();
        taken
    };
    let (_, taken) = tokio::join!(run, until);
    assert_eq!(taken == whole, broke_off, "{taken} of {whole}");
}
