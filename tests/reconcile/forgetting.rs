//! What the controllers remember of objects goes with the objects, though their finalizers were taken off by hand: each
//! sweep forgets what is not in the cache, and nothing else.

use std::time::Duration;

use jct::crd::TaskStatus;
use jct::crd::cwom::{WorkObjectStatus, api_resource};
use jct::domain::cwom::{Kind, Target};
use jct::reconcile::queue::cache::Tasks;
use jct::reconcile::work_object::WorkObject;
use jct::reconcile::work_object::waiting::{Place, Wanted};
use jct::reconcile::{Action, Context, orphans, work_object};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use serde_json::json;

use crate::fixture::{UID, World, object_uid};

const GONE: &str = "00000000-0000-0000-0000-00000000dead";
const FIRST: Duration = Duration::from_millis(500);

/// The wait after one more failure: the first one where nothing is remembered.
fn next_wait(context: &Context, uid: &str) -> Duration {
    context.backoff.failed(uid)
}

#[tokio::test]
async fn a_sweep_over_tasks_forgets_those_that_are_gone_and_no_others() {
    let world = World::new().await;
    let objects = Tasks::default();
    objects.apply(serde_json::from_str(&world.task(json!({})).to_string()).unwrap());
    let passes = async |context: std::sync::Arc<Context>| {
        let status = |reason: &str| TaskStatus { reason: Some(reason.into()), ..TaskStatus::default() };
        for uid in [UID, GONE] {
            context.written.note(uid, Some("1000"), status("kept"));
            context.signed.note(uid, 1);
            context.backoff.failed(uid);
        }
        orphans::sweep(&context, &objects).await?;
        let kept = |uid: &str| context.written.current(uid, Some("1"), None).is_some();
        assert_eq!((kept(UID), context.signed.has(UID, 1), next_wait(&context, UID)), (true, true, FIRST * 2));
        assert_eq!((kept(GONE), context.signed.has(GONE, 1), next_wait(&context, GONE)), (false, false, FIRST));
        Ok(Action::await_change())
    };
    world.passes(vec![], passes).await.result.unwrap();
}

#[tokio::test]
async fn a_sweep_over_work_objects_forgets_those_that_are_gone_and_no_others() {
    let world = World::new().await;
    let resource = api_resource(Kind::Issue);
    let mut writer: Writer<WorkObject> = Writer::new(resource);
    let objects: Store<WorkObject> = writer.as_reader();
    let here = world.object(Kind::Issue, "here", json!({}));
    writer.apply_watcher_event(&Event::Apply(serde_json::from_value(here).unwrap()));
    let uid = object_uid(Kind::Issue, "here");
    let passes = async |context: std::sync::Arc<Context>| {
        let (notes, others) = (context.objects.notes(Kind::Issue), context.objects.notes(Kind::Run));
        let wanted = Wanted { kind: Kind::Repo, namespace: "team".into(), target: Target::Name("r".into()) };
        for (uid, name) in [(uid.as_str(), "here"), (GONE, "gone")] {
            notes.written.note(uid, Some("1000"), WorkObjectStatus::default());
            notes.backoff.failed(uid);
            notes.rechecks.failed(uid);
            let place = Place { kind: Kind::Issue, namespace: "team".into(), name: name.into() };
            context.objects.waiting.expect(&place, std::slice::from_ref(&wanted));
        }
        others.backoff.failed(GONE);
        work_object::orphans::sweep(&context, Kind::Issue, &objects).await?;
        let kept = |uid: &str| notes.written.current(uid, Some("1"), None).is_some();
        assert_eq!(
            (kept(&uid), notes.backoff.failed(&uid), notes.rechecks.failed(&uid).as_secs()),
            (true, FIRST * 2, 20)
        );
        assert_eq!((kept(GONE), notes.backoff.failed(GONE), notes.rechecks.failed(GONE).as_secs()), (false, FIRST, 10));
        let waiters = context.objects.waiting.waiters(&wanted);
        assert_eq!(waiters.iter().map(|place| place.name.as_str()).collect::<Vec<_>>(), ["here"]);
        assert_eq!(others.backoff.failed(GONE), FIRST * 2, "it is a sweep of one kind");
        Ok(Action::await_change())
    };
    world.passes(vec![], passes).await.result.unwrap();
}
