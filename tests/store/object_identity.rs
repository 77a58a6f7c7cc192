//! Whose a row of a work object is: nobody takes over what a Task, a Run or somebody else recorded.

use jct::domain::cwom::{Kind, Spec, Status};
use jct::domain::{Actor, ActorKind, Id};
use jct::store::{DeleteObject, NewTask, ObjectFilter, ObjectOrigin, ObjectRow, Page, Put, PutObject, Store, Unique};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Backend, Backend::*, Database, ada, at, audit, completed, end, new_task, row, start};
use crate::objects::{body, chain, minimal, recorded, resource, with};

const NAMES: [(Kind, &str); 7] = [
    (Kind::Repo, "api"),
    (Kind::Issue, "greet"),
    (Kind::ConstraintSnapshot, "friday"),
    (Kind::DoctrineRef, "tests"),
    (Kind::ContextPacket, "context"),
    (Kind::Run, "try"),
    (Kind::Artifact, "report"),
];

/// The same manifest, as another object that pins `id`, by somebody else.
fn mallorys(put: PutObject, id: Id) -> PutObject {
    let name = put.origin.map_or_else(|| "mine".into(), |origin| origin.name);
    PutObject {
        id,
        pin: Some(id),
        origin: Some(ObjectOrigin { name, uid: format!("mallory/{id}") }),
        submitted_by: Some("mallory@example.org".into()),
        actor: Actor { kind: ActorKind::Human, id: "mallory@example.org".into() },
        ..put
    }
}

async fn all(store: &Store) -> Vec<ObjectRow> {
    let mut rows = Vec::new();
    for kind in Kind::ALL.iter().copied() {
        rows.extend(store.objects(kind, &ObjectFilter::default(), Page::default()).await.unwrap());
    }
    rows
}

fn taken(put: &Put, id: Id) -> bool {
    *put == Put::Taken { by: id, what: Unique::Id }
}

/// What fits the kind and says something else, where that can be.
fn changed(kind: Kind) -> Value {
    match kind {
        Kind::Repo => with(kind, json!({"slug": "evil/other"})),
        Kind::DoctrineRef => with(kind, json!({"name": "other"})),
        _ => with(kind, json!({"tags": ["evil"]})),
    }
}

#[rstest]
#[tokio::test]
async fn what_a_task_recorded_is_nobodys_to_take(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    // What mallory's manifests refer to is there.
    recorded(store, resource(Kind::Repo, "api", with(Kind::Repo, json!({"slug": "acme/other"})))).await;
    for (kind, name) in [(Kind::Issue, "greet"), (Kind::Run, "try")] {
        recorded(store, resource(kind, name, minimal(kind))).await;
    }
    let task = row(store.record_task(NewTask { create_cwom: true, ..new_task("a") }).await.unwrap());
    store.start_attempt(start(&task, 1)).await.unwrap();
    store.finish_attempt(end(&task, 1, completed())).await.unwrap();
    let (before, log) = (all(store).await, audit(store).await);
    let of_task: Vec<&ObjectRow> = before.iter().filter(|row| row.task_id == Some(task.id)).collect();
    for kind in [Kind::Repo, Kind::Issue, Kind::ContextPacket, Kind::ConstraintSnapshot, Kind::Run, Kind::Artifact] {
        let row = of_task.iter().find(|row| row.object.kind() == kind).unwrap();
        // Not by the Task's own submitter either: the record is the Task's.
        for submitted_by in ["mallory@example.org", "ada@example.org"] {
            let put = mallorys(resource(kind, "mine", changed(kind)), row.object.id);
            let put = PutObject { submitted_by: Some(submitted_by.into()), ..put };
            let answer = store.put_object(put).await.unwrap();
            assert!(taken(&answer, row.object.id), "{kind}: {answer:?}");
        }
        // Not even as it is.
        let same =
            PutObject { spec: row.object.spec.clone(), ..mallorys(resource(kind, "m", minimal(kind)), row.object.id) };
        if kind != Kind::Repo {
            assert!(taken(&store.put_object(same).await.unwrap(), row.object.id), "{kind}");
        }
    }
    assert_eq!((all(store).await, audit(store).await), (before, log), "nothing was written");
}

#[rstest]
#[tokio::test]
async fn somebody_elses_object_is_restored_only_as_it_was(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let rows = chain(store).await;
    for ((kind, name), row) in NAMES.into_iter().zip(&rows) {
        let id = row.object.id;
        let other = mallorys(resource(kind, name, with(kind, json!({"tags": ["evil"]}))), id);
        assert!(taken(&store.put_object(other.clone()).await.unwrap(), id), "{kind}");
        let renamed = ObjectOrigin { name: "other".into(), uid: "u".into() };
        let elsewhere = PutObject { namespace: "other".into(), ..other.clone() };
        let by_other_name = PutObject { origin: Some(renamed), submitted_by: Some("ada@example.org".into()), ..other };
        assert!(taken(&store.put_object(by_other_name).await.unwrap(), id), "{kind}");
        let answer = store.put_object(elsewhere).await.unwrap();
        // What it refers to is not there either, which is no news of the id.
        assert!(taken(&answer, id), "{kind}: {answer:?}");
        assert_eq!(store.object(kind, id).await.unwrap().unwrap().origin, row.origin, "{kind}");
    }
    for ((kind, name), row) in NAMES.into_iter().zip(&rows) {
        // A backup that an administrator restores: the same manifests, other uids.
        let restored = recorded(store, mallorys(resource(kind, name, minimal(kind)), row.object.id)).await;
        assert_eq!((restored.object.id, &restored.object.spec), (row.object.id, &row.object.spec), "{kind}");
        assert_eq!(restored.submitted_by, row.submitted_by, "whose it is stays");
        assert_ne!(restored.origin, row.origin);
    }
    // Its own submitter may also say something else.
    let mut mine = resource(Kind::Issue, "greet", with(Kind::Issue, json!({"tags": ["urgent"]})));
    (mine.origin, mine.pin) = (Some(ObjectOrigin { name: "greet".into(), uid: "third".into() }), Some(mine.id));
    assert_eq!(recorded(store, mine).await.object.id, rows[1].object.id);
}

#[rstest]
#[tokio::test]
async fn what_came_by_rest_is_taken_by_its_submitter_alone(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let document = json!({"name": "api", "slug": "acme/api", "source": {"system": "github"}});
    let made = recorded(store, body(Kind::Repo, "x", document)).await;
    let manifest = mallorys(resource(Kind::Repo, "api", minimal(Kind::Repo)), made.object.id);
    assert!(taken(&store.put_object(manifest.clone()).await.unwrap(), made.object.id));
    let unverified = PutObject { submitted_by: None, ..manifest.clone() };
    assert!(taken(&store.put_object(unverified).await.unwrap(), made.object.id));
    let own = PutObject { submitted_by: made.submitted_by.clone(), ..manifest };
    assert_eq!(recorded(store, own).await.object.id, made.object.id);
}

#[rstest]
#[tokio::test]
async fn one_object_has_one_id_whatever_it_pins_later(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = resource(Kind::Repo, "api", minimal(Kind::Repo));
    let row = recorded(store, first.clone()).await;
    let other = Id::derive(at(5), "other");
    let repinned = PutObject { id: other, pin: Some(other), ..first.clone() };
    let Put::Refused(findings) = store.put_object(repinned).await.unwrap() else { panic!() };
    let reported = findings[0].to_string();
    assert!(
        reported.contains("metadata.annotations[jct.dev/id]") && reported.contains(&row.object.id.to_string()),
        "{reported}"
    );
    assert_eq!(store.object(Kind::Repo, other).await.unwrap(), None);
    // Without the annotation, and with the right one, it goes on.
    recorded(store, PutObject { id: other, ..first.clone() }).await;
    recorded(store, PutObject { pin: Some(row.object.id), ..first }).await;
    assert_eq!(all(store).await.len(), 1);
    // The database holds to it too.
    let twin = format!(
        "INSERT INTO cwom_repos (id, trace_id, namespace, name, uid, created_at, updated_at, recorded_at, names, spec, slug, \
         visibility) SELECT '{other}', trace_id, namespace, name, uid, created_at, updated_at, recorded_at, names, spec, \
         'a/b', visibility FROM cwom_repos"
    );
    let refused = db.execute(&twin).await.unwrap_err().to_string().to_lowercase();
    assert!(refused.contains("unique"), "{refused}");
}

#[rstest]
#[tokio::test]
async fn a_manifest_tells_more_of_a_tasks_repo_and_takes_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let task = row(store.record_task(NewTask { create_cwom: true, ..new_task("a") }).await.unwrap());
    let id = task.cwom_repo_id.unwrap();
    let before = store.object(Kind::Repo, id).await.unwrap().unwrap();
    let manifest = |name: &str| {
        let put = resource(Kind::Repo, name, with(Kind::Repo, json!({"defaultBranch": "trunk"})));
        PutObject { submitted_by: Some("bob@example.org".into()), ..put }
    };
    let described = recorded(store, manifest("api")).await;
    let fixed = |row: &ObjectRow| {
        let Spec::Repo(repo) = &row.object.spec else { panic!() };
        let object = &row.object;
        (
            object.id,
            object.created_at,
            object.trace_id.clone(),
            row.submitted_by.clone(),
            row.task_id,
            repo.slug.clone(),
        )
    };
    assert_eq!(fixed(&described), fixed(&before), "what the Task recorded");
    // A second one is told who has the slug; a deletion gives the repository back to the Task, and to the next manifest.
    let second = store.put_object(manifest("again")).await.unwrap();
    assert_eq!(second, Put::Taken { by: id, what: Unique::Slug });
    let origin = described.origin.unwrap();
    let delete =
        DeleteObject { kind: Kind::Repo, id: manifest("api").id, uid: origin.uid, actor: ada(), note: None, at: at(9) };
    let left = store.delete_object(delete).await.unwrap().unwrap();
    assert_eq!((left.origin, left.deleted_at), (None, None));
    assert_eq!(fixed(&recorded(store, manifest("again")).await), fixed(&before));
    let next = row(store.record_task(NewTask { create_cwom: true, ..new_task("b") }).await.unwrap());
    assert_eq!(next.cwom_repo_id, Some(id), "there is one Repo of the slug");
    // What the rows are follows from the log.
    let mut database = jct::store::Database::open(&db.settings).await.unwrap();
    assert_eq!(database.check().await.unwrap().problems, [""; 0]);
}

#[rstest]
#[tokio::test]
async fn the_issue_of_a_task_ends_as_the_task_does(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    recorded(store, resource(Kind::Repo, "api", with(Kind::Repo, json!({"slug": "acme/other"})))).await;
    let task = row(store.record_task(NewTask { create_cwom: true, ..new_task("a") }).await.unwrap());
    let issue = task.cwom_issue_id.unwrap();
    let claim = with(Kind::Issue, json!({"status": "done", "title": "Nothing to see"}));
    store.put_object(mallorys(resource(Kind::Issue, "mine", claim), issue)).await.unwrap();
    store.start_attempt(start(&task, 1)).await.unwrap();
    let failed = jct::store::Next::Failed(jct::store::Failure::new("WorkerFailed", "broken"));
    store.finish_attempt(end(&task, 1, failed)).await.unwrap();
    let row = store.object(Kind::Issue, issue).await.unwrap().unwrap();
    assert_eq!(row.object.spec.status(), Some(Status::Failed));
}

/// Undoes the migration that makes uids unique.
const UNDO: &str = "DROP INDEX {t}_superseded; DROP INDEX {t}_uid; ALTER TABLE {t} DROP COLUMN spec_sha256; ALTER TABLE {t} DROP COLUMN superseded_at;";

#[rstest]
#[tokio::test]
async fn rows_that_shared_a_uid_are_told_apart_by_the_migration(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let first = recorded(&db.store, resource(Kind::Repo, "api", minimal(Kind::Repo))).await;
    db.store.close().await;
    for kind in Kind::ALL.iter() {
        let table = match kind {
            Kind::Repo => "cwom_repos",
            Kind::Issue => "cwom_issues",
            Kind::ContextPacket => "cwom_context_packets",
            Kind::ConstraintSnapshot => "cwom_constraint_snapshots",
            Kind::DoctrineRef => "cwom_doctrine_refs",
            Kind::Run => "cwom_runs",
            Kind::Artifact => "cwom_artifacts",
        };
        db.execute(&UNDO.replace("{t}", table)).await.unwrap();
    }
    db.execute("DROP TABLE content_refs; DROP TABLE contents; DELETE FROM _sqlx_migrations WHERE version = 7")
        .await
        .unwrap();
    let newer = Id::derive(at(5), "other");
    let twin = format!(
        "INSERT INTO cwom_repos (id, trace_id, namespace, name, uid, created_at, updated_at, recorded_at, names, spec, slug, \
         visibility) SELECT '{newer}', trace_id, namespace, name, uid, created_at, updated_at, recorded_at + 1, names, spec, \
         'a/b', visibility FROM cwom_repos"
    );
    db.execute(&twin).await.unwrap();
    let store = Store::open(&db.settings).await.unwrap();
    let uid = first.origin.unwrap().uid;
    assert_eq!(store.recorded_spec(Kind::Repo, &uid).await.unwrap(), Some((newer, None)));
    let present = store.present_objects(Kind::Repo, None).await.unwrap();
    let mut over: Vec<_> = present.iter().map(|object| (object.id, object.is_superseded)).collect();
    over.sort_unstable();
    let mut expected = [(first.object.id, true), (newer, false)];
    expected.sort_unstable();
    assert_eq!(over, expected);
    // The controller closes it, as the log tells.
    let delete = DeleteObject { kind: Kind::Repo, id: first.object.id, uid, actor: ada(), note: None, at: at(9) };
    assert_eq!(store.delete_object(delete).await.unwrap().unwrap().object.id, first.object.id);
    assert_eq!(store.present_objects(Kind::Repo, None).await.unwrap().len(), 1);
    let log = audit(&store).await;
    assert_eq!(log.as_array().unwrap().last().unwrap()["action"], "deleted");
}
