//! Work objects: rows, links, audit entries; those of Tasks.

use std::collections::BTreeMap;

use jct::domain::cwom::adapter::{Origin, run_id};
use jct::domain::cwom::{FailureCategory, Kind, Spec, Status, Target, read};
use jct::domain::id::sha256_hex;
use jct::domain::{Id, Naming, TraceId};
use jct::store::{
    DeleteObject, Ending, FailRun, Failure, FinishTask, NewTask, Next, ObjectField, ObjectFilter, ObjectOrigin,
    ObjectRow, Page, PatchObject, Patched, Put, PutObject, RefProblem, Store, TraceSight, Unique,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Backend, Backend::*, Database, ada, at, audit, completed, created_at, end, new_task, row, running, start,
};

fn spec(kind: Kind, document: &Value, naming: Naming) -> Spec {
    let (spec, findings) = read(kind, document, naming);
    assert_eq!(findings, []);
    spec.unwrap()
}

/// The custom resource of this name, whose uid is its name.
pub fn resource(kind: Kind, name: &str, document: Value) -> PutObject {
    PutObject {
        id: Id::derive(created_at(), &format!("{kind}/{name}")),
        trace_id: TraceId::derive(name),
        namespace: "team".into(),
        origin: Some(ObjectOrigin { name: name.into(), uid: format!("{kind}/{name}") }),
        submitted_by: Some("ada@example.org".into()),
        actor: ada(),
        pin: None,
        spec: spec(kind, &document, Naming::CustomResource),
        spec_sha256: Some(sha256_hex(document.to_string().as_bytes())),
        created_at: created_at(),
        at: at(1),
    }
}

/// What a REST body asks for.
pub fn body(kind: Kind, uid: &str, document: Value) -> PutObject {
    PutObject {
        origin: None,
        spec_sha256: None,
        spec: spec(kind, &document, Naming::Rest),
        ..resource(kind, uid, minimal(kind))
    }
}

pub fn minimal(kind: Kind) -> Value {
    let named = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    match kind {
        Kind::Repo => json!({"name": "api", "slug": "acme/api", "source": {"system": "github"}}),
        Kind::Issue => json!({"repo": named("Repo", "api"), "title": "Greet", "type": "feature"}),
        Kind::ContextPacket => json!({"forIssue": named("Issue", "greet"), "version": "1", "summary": "What to know"}),
        Kind::ConstraintSnapshot => {
            json!({"scope": "run", "owner": {"actorKind": "human", "actorId": "ada"}, "constraints": {}})
        }
        Kind::DoctrineRef => {
            json!({"namespace": "acme", "name": "tests", "version": "1", "type": "policy", "statement": "Test"})
        }
        Kind::Run => json!({"forIssue": named("Issue", "greet"), "repo": named("Repo", "api"), "mode": "human",
            "executor": {"actor": {"actorKind": "human", "actorId": "ada"}}}),
        Kind::Artifact => {
            json!({"producedBy": named("Run", "try"), "forIssue": named("Issue", "greet"), "type": "report",
            "title": "Report", "uri": "https://example.org/report"})
        }
    }
}

pub fn with(kind: Kind, changes: Value) -> Value {
    let mut document = minimal(kind);
    json_patch::merge(&mut document, &changes);
    document
}

pub async fn recorded(store: &Store, put: PutObject) -> ObjectRow {
    match store.put_object(put).await.unwrap() {
        Put::Recorded { row, unresolved, .. } => {
            assert_eq!(unresolved, []);
            *row
        }
        other => panic!("not recorded: {other:?}"),
    }
}

/// The paths that are left, and why.
fn left(put: Put) -> Vec<(String, RefProblem)> {
    match put {
        Put::Recorded { unresolved, .. } | Put::Unresolved(unresolved) => {
            unresolved.into_iter().map(|left| (left.path, left.problem)).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn issue(store: &Store, name: &str, changes: Value) -> Put {
    store.put_object(resource(Kind::Issue, name, with(Kind::Issue, changes))).await.unwrap()
}

pub async fn chain(store: &Store) -> Vec<ObjectRow> {
    let mut rows = Vec::new();
    for (kind, name) in [
        (Kind::Repo, "api"),
        (Kind::Issue, "greet"),
        (Kind::ConstraintSnapshot, "friday"),
        (Kind::DoctrineRef, "tests"),
        (Kind::ContextPacket, "context"),
        (Kind::Run, "try"),
        (Kind::Artifact, "report"),
    ] {
        rows.push(recorded(store, resource(kind, name, minimal(kind))).await);
    }
    rows
}

#[rstest]
#[tokio::test]
async fn every_kind_is_stored_as_returned(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let rows = chain(&db.store).await;
    for row in &rows {
        let kind = row.object.kind();
        let mut found = db.store.object(kind, row.object.id).await.unwrap().unwrap();
        if let Spec::Issue(issue) = &mut found.object.spec {
            assert_eq!(issue.runs.iter().map(|run| run.id()).collect::<Vec<_>>(), [Some(rows[5].object.id)]);
            assert_eq!(issue.context_packets.iter().map(|at| at.id()).collect::<Vec<_>>(), [Some(rows[4].object.id)]);
            (issue.runs, issue.context_packets) = (Vec::new(), Vec::new());
        }
        assert_eq!(&found, row);
        let all = db.store.objects(kind, &ObjectFilter::default(), Page::default()).await.unwrap();
        assert_eq!(all.len(), 1);
        let again =
            db.store.put_object(resource(kind, &row.origin.clone().unwrap().name, minimal(kind))).await.unwrap();
        assert!(matches!(again, Put::Recorded { changed: false, .. }), "{again:?}");
    }
    insta::assert_json_snapshot!("chain", audit(&db.store).await);
}

#[rstest]
#[tokio::test]
async fn what_is_required_comes_first_and_the_rest_whenever_it_comes(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let wanted = with(
        Kind::Issue,
        json!({"contextPackets": [{"kind": "ContextPacket", "name": "context"}],
            "doctrineRefs": [{"kind": "DoctrineRef", "name": "tests"}, {"kind": "DoctrineRef", "name": "typo"}],
            "relationships": {"parent": {"kind": "Issue", "name": "epic"}}}),
    );
    let greet = resource(Kind::Issue, "greet", wanted);
    assert_eq!(left(store.put_object(greet.clone()).await.unwrap()).len(), 5);
    assert_eq!(store.object(Kind::Issue, greet.id).await.unwrap(), None, "not without its Repo");

    recorded(store, resource(Kind::Repo, "api", minimal(Kind::Repo))).await;
    let missing: Vec<String> =
        left(store.put_object(greet.clone()).await.unwrap()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(missing, ["doctrine_refs[0]", "doctrine_refs[1]", "context_packets[0]", "relationships.parent"]);

    recorded(store, resource(Kind::ContextPacket, "context", minimal(Kind::ContextPacket))).await;
    recorded(store, resource(Kind::DoctrineRef, "tests", minimal(Kind::DoctrineRef))).await;
    recorded(store, resource(Kind::Issue, "epic", with(Kind::Issue, json!({"title": "Epic"})))).await;
    let now = store.put_object(greet.clone()).await.unwrap();
    assert!(matches!(now, Put::Recorded { changed: true, .. }));
    assert_eq!(left(now), [("doctrine_refs[1]".to_owned(), RefProblem::Missing)]);
    let before = db.rows().await;
    assert!(matches!(store.put_object(greet.clone()).await.unwrap(), Put::Recorded { changed: false, .. }));
    assert_eq!(db.rows().await, before, "nothing new, nothing written");

    // Links that are taken out of the manifest go; a ContextPacket stays with the Issue that it is for.
    recorded(store, resource(Kind::Issue, "greet", minimal(Kind::Issue))).await;
    let found = store.object(Kind::Issue, greet.id).await.unwrap().unwrap();
    let refs: Vec<String> = found.object.spec.refs().into_iter().map(|(path, _)| path).collect();
    assert_eq!(refs, ["repo", "context_packets[0]"]);
    insta::assert_json_snapshot!("links", audit(store).await);
}

#[rstest]
#[tokio::test]
async fn references_lead_nowhere_but_to_what_fits(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let rows = chain(store).await;
    let (repo, packet) = (rows[0].object.id, rows[4].object.id);
    let elsewhere = PutObject { namespace: "other".into(), ..resource(Kind::Repo, "theirs", minimal(Kind::Repo)) };
    let theirs = recorded(store, elsewhere).await.object.id;
    let nobody = Id::derive(created_at(), "nobody");

    for (id, problem) in [
        (packet, RefProblem::WrongKind(Kind::ContextPacket)),
        (theirs, RefProblem::Missing),
        (nobody, RefProblem::Missing),
    ] {
        let wanted = json!({"repo": {"kind": "Repo", "id": id}, "title": "x", "type": "bug"});
        let put = store.put_object(body(Kind::Issue, "new", wanted)).await.unwrap();
        assert_eq!(left(put), [("repo".to_owned(), problem)]);
    }
    // At the REST door, every reference must lead somewhere; of a custom resource, the required ones.
    let wanted = json!({"repo": {"kind": "Repo", "id": repo}, "title": "x", "type": "bug",
        "doctrine_refs": [{"kind": "DoctrineRef", "id": nobody}]});
    assert!(matches!(store.put_object(body(Kind::Issue, "new", wanted)).await.unwrap(), Put::Unresolved(_)));
    let wanted = with(Kind::Issue, json!({"doctrineRefs": [{"kind": "DoctrineRef", "id": nobody}]}));
    let put = store.put_object(resource(Kind::Issue, "new", wanted)).await.unwrap();
    assert!(matches!(&put, Put::Recorded { unresolved, .. } if unresolved[0].target == Target::Id(nobody)), "{put:?}");
}

#[rstest]
#[tokio::test]
async fn issues_do_not_run_in_circles(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    recorded(store, resource(Kind::Repo, "api", minimal(Kind::Repo))).await;
    let to = |name: &str| json!({"kind": "Issue", "name": name});
    let circle = |path: &str| vec![(path.to_owned(), RefProblem::Circle)];

    assert_eq!(
        left(issue(store, "self", json!({"relationships": {"parent": to("self")}})).await),
        circle("relationships.parent")
    );
    assert_eq!(
        left(issue(store, "twin", json!({"relationships": {"duplicates": [to("twin")]}})).await),
        circle("relationships.duplicates[0]")
    );
    assert_eq!(left(issue(store, "a", json!({})).await), []);
    assert_eq!(left(issue(store, "b", json!({"relationships": {"blocks": [to("a")]}})).await), []);
    assert_eq!(left(issue(store, "c", json!({"relationships": {"blocks": [to("b")]}})).await), []);
    // Said from either side, it is the same circle.
    assert_eq!(
        left(issue(store, "a", json!({"relationships": {"blocks": [to("c")]}})).await),
        circle("relationships.blocks[0]")
    );
    assert_eq!(
        left(issue(store, "c", json!({"relationships": {"blocks": [to("b")], "blockedBy": [to("a")]}})).await),
        circle("relationships.blocked_by[0]")
    );
    assert_eq!(left(issue(store, "a", json!({"relationships": {"blockedBy": [to("b")]}})).await), [], "said twice");
    // Being a part is another order.
    assert_eq!(left(issue(store, "a", json!({"relationships": {"parent": to("c")}})).await), []);
    assert_eq!(
        left(issue(store, "c", json!({"relationships": {"parent": to("a")}})).await),
        circle("relationships.parent")
    );
    // Once one lets go, the other may.
    assert_eq!(left(issue(store, "a", json!({})).await), []);
    assert_eq!(left(issue(store, "c", json!({"relationships": {"parent": to("a")}})).await), []);
}

#[rstest]
#[tokio::test]
async fn what_must_be_unique_is(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let rows = chain(store).await;
    for (kind, of, what) in [(Kind::Repo, 0, Unique::Slug), (Kind::DoctrineRef, 3, Unique::Doctrine)] {
        let taken = Put::Taken { by: rows[of].object.id, what };
        let second = resource(kind, "second", minimal(kind));
        assert_eq!(store.put_object(second.clone()).await.unwrap(), taken);
        assert_eq!(store.put_object(PutObject { origin: None, ..second.clone() }).await.unwrap(), taken);
        let elsewhere = PutObject { namespace: "other".into(), ..second.clone() };
        assert!(matches!(store.put_object(elsewhere).await.unwrap(), Put::Recorded { .. }), "by namespace");
    }
    let pinned =
        PutObject { id: rows[1].object.id, ..resource(Kind::Repo, "pinned", with(Kind::Repo, json!({"slug": "a/b"}))) };
    assert_eq!(store.put_object(pinned).await.unwrap(), Put::Taken { by: rows[1].object.id, what: Unique::Id });
    // What was deleted leaves its slug to the next one, and its name.
    let delete = DeleteObject {
        kind: Kind::Repo,
        id: rows[0].object.id,
        uid: "Repo/api".into(),
        actor: ada(),
        note: None,
        at: at(9),
    };
    assert_eq!(store.delete_object(delete.clone()).await.unwrap().unwrap().deleted_at, Some(at(9)));
    let mut next = resource(Kind::Repo, "api", minimal(Kind::Repo));
    next.id = Id::derive(created_at(), "next");
    next.origin = Some(ObjectOrigin { name: "api".into(), uid: "next".into() });
    let next = recorded(store, next).await;
    assert_eq!(next.object.id, Id::derive(created_at(), "next"));
    let before = db.rows().await;
    assert_eq!(store.delete_object(delete).await.unwrap().unwrap().deleted_at, Some(at(9)));
    assert_eq!(db.rows().await, before, "gone once");
    // What it was linked to stays linked to it.
    let found = store.put_object(resource(Kind::Issue, "greet", minimal(Kind::Issue))).await.unwrap();
    assert!(matches!(found, Put::Recorded { changed: false, .. }), "{found:?}");
}

#[rstest]
#[tokio::test]
async fn fifty_at_once_make_one_repo(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let calls = (0..50).map(|n| {
        db.store.put_object(body(
            Kind::Repo,
            &format!("{n}"),
            json!({"name": "a", "slug": "acme/api", "source": {"system": "x"}}),
        ))
    });
    let put = futures::future::try_join_all(calls).await.unwrap();
    assert_eq!(put.iter().filter(|put| matches!(put, Put::Recorded { .. })).count(), 1);
    assert_eq!(put.iter().filter(|put| matches!(put, Put::Taken { what: Unique::Slug, .. })).count(), 49);
}

#[rstest]
#[tokio::test]
async fn patches_keep_to_the_rules(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let repo =
        recorded(store, body(Kind::Repo, "r", json!({"name": "a", "slug": "a/b", "source": {"system": "x"}}))).await;
    let wanted = json!({"repo": {"kind": "Repo", "id": repo.object.id}, "title": "x", "type": "bug"});
    let one = recorded(store, body(Kind::Issue, "i", wanted)).await;
    let patch = |change: Value| PatchObject { kind: Kind::Issue, id: one.object.id, change, actor: ada(), at: at(7) };

    let done = store.patch_object(patch(json!({"status": "done", "title": "y"}))).await.unwrap();
    assert!(
        matches!(&done, Patched::Patched(row) if row.object.spec.status() == Some(Status::Done) && row.object.updated_at == at(7))
    );
    let refused = store.patch_object(patch(json!({"status": "running"}))).await.unwrap();
    assert!(matches!(&refused, Patched::Refused(findings) if findings[0].field == "status"), "{refused:?}");
    let nothing = Id::derive(created_at(), "nobody");
    let dangling = store.patch_object(patch(json!({"repo": {"kind": "Repo", "id": nothing}}))).await.unwrap();
    assert!(matches!(&dangling, Patched::Unresolved(left) if left[0].path == "repo"), "{dangling:?}");
    let unknown = PatchObject { id: nothing, ..patch(json!({})) };
    assert_eq!(store.patch_object(unknown).await.unwrap(), Patched::Unknown);
    let before = db.rows().await;
    assert!(matches!(store.patch_object(patch(json!({"title": "y"}))).await.unwrap(), Patched::Patched(_)));
    assert_eq!(db.rows().await, before, "what is so already is no change");

    let of_resource = recorded(store, resource(Kind::Repo, "other", with(Kind::Repo, json!({"slug": "c/d"})))).await;
    let patch = PatchObject { kind: Kind::Repo, id: of_resource.object.id, ..patch(json!({"name": "z"})) };
    assert!(
        matches!(store.patch_object(patch).await.unwrap(), Patched::OfCustomResource(origin) if origin.name == "other")
    );
}

async fn of_kind(store: &Store, kind: Kind) -> Vec<ObjectRow> {
    let mut rows = store.objects(kind, &ObjectFilter::default(), Page::default()).await.unwrap();
    rows.sort_by_key(|row| (row.object.created_at, row.object.id));
    rows
}

fn statuses(rows: &[ObjectRow]) -> Vec<&'static str> {
    rows.iter().map(|row| row.object.spec.status().unwrap().as_str()).collect()
}

#[rstest]
#[tokio::test]
async fn a_task_makes_its_objects_and_they_follow(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let task = row(store.record_task(NewTask { create_cwom: true, ..new_task("a") }).await.unwrap());
    let ids = task.cwom_ids().unwrap();
    assert_eq!(task.cwom_issue_id, Some(ids.issue));
    for (kind, id) in [
        (Kind::Repo, ids.repo),
        (Kind::Issue, ids.issue),
        (Kind::ContextPacket, ids.context_packet),
        (Kind::ConstraintSnapshot, ids.constraint_snapshot),
    ] {
        let found = store.object(kind, id).await.unwrap().unwrap();
        assert_eq!((found.task_id, found.object.trace_id), (Some(task.id), task.trace_id.clone()), "{kind}");
    }
    let status = async || statuses(&[of_kind(store, Kind::Issue).await, of_kind(store, Kind::Run).await].concat());
    assert_eq!(status().await, ["ready"]);
    let task = store.start_attempt(start(&task, 1)).await.unwrap();
    assert_eq!(status().await, ["ready", "planned"]);
    let task = store.mark_running(running(&task, 1)).await.unwrap();
    assert_eq!(status().await, ["running", "running"]);
    let failure = Failure::new("ExecutorFailed", "exit code 1");
    let task = store.finish_attempt(end(&task, 1, Next::Retry(failure))).await.unwrap();
    assert_eq!(status().await, ["running", "failed"]);
    let task = store.start_attempt(start(&task, 2)).await.unwrap();
    store.mark_running(running(&task, 2)).await.unwrap();
    store.finish_attempt(end(&task, 2, completed())).await.unwrap();
    assert_eq!(status().await, ["done", "failed", "done"]);

    let runs = of_kind(store, Kind::Run).await;
    let origin = Origin { task_id: task.id, created_at: task.created_at, trace_id: &task.trace_id };
    assert_eq!(runs.iter().map(|row| row.object.id).collect::<Vec<_>>(), [run_id(&origin, 1), run_id(&origin, 2)]);
    let filter =
        ObjectFilter { fields: vec![(ObjectField::Run, runs[1].object.id.to_string())], ..ObjectFilter::default() };
    let artifacts = store.objects(Kind::Artifact, &filter, Page::default()).await.unwrap();
    assert_eq!(artifacts.len(), 1, "the report; not a copy of the Task");
    insta::assert_json_snapshot!("task", audit(store).await);
    let story: Vec<Value> = store
        .objects_of_trace(&task.trace_id, &TraceSight::Everything)
        .await
        .unwrap()
        .iter()
        .map(|row| row.object.to_json())
        .collect();
    insta::assert_json_snapshot!("story", story);

    // The next Task on the same repository uses its Repo; one that wants none makes none.
    let second = row(store.record_task(NewTask { create_cwom: true, ..new_task("b") }).await.unwrap());
    assert_eq!(second.cwom_ids().unwrap().repo, ids.repo);
    let third = row(store.record_task(new_task("c")).await.unwrap());
    assert_eq!(third.cwom_ids(), None);
    assert_eq!((of_kind(store, Kind::Repo).await.len(), of_kind(store, Kind::Issue).await.len()), (1, 2));
    // A custom resource takes over the Repo that the Task has made.
    let taken_over = recorded(store, resource(Kind::Repo, "api", minimal(Kind::Repo))).await;
    assert_eq!((taken_over.object.id, taken_over.origin.unwrap().name.as_str()), (ids.repo, "api"));
    let later =
        PatchObject { kind: Kind::Issue, id: ids.issue, change: json!({"status": "failed"}), actor: ada(), at: at(99) };
    assert_eq!(store.patch_object(later).await.unwrap(), Patched::OfTask(task.id));
}

#[rstest]
#[tokio::test]
async fn a_task_carries_out_a_run(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    for (kind, name) in [(Kind::Repo, "api"), (Kind::Issue, "greet"), (Kind::ContextPacket, "context")] {
        recorded(store, resource(kind, name, minimal(kind))).await;
    }
    let wanted = with(
        Kind::Run,
        json!({"mode": "agent", "inputs": {"contextPackets": [{"kind": "ContextPacket", "name": "context"}]}}),
    );
    let manifest = resource(Kind::Run, "try", wanted);
    let run = recorded(store, manifest.clone()).await.object.id;
    let task = row(store.record_task(NewTask { for_run: Some(run), ..new_task("a") }).await.unwrap());
    assert_eq!(task.cwom_run_id, Some(run));
    assert_eq!(task.cwom_ids(), None, "they are not the Task's");
    let second = row(store.record_task(NewTask { for_run: Some(run), ..new_task("b") }).await.unwrap());
    assert_eq!(second.cwom_run_id, None, "a Run is carried out once");

    let task = store.start_attempt(start(&task, 1)).await.unwrap();
    store.mark_running(running(&task, 1)).await.unwrap();
    let again = recorded(store, manifest.clone()).await;
    assert_eq!(again.object.spec.status(), Some(Status::Running), "the manifest's `planned` does not undo it");
    let failure = Failure::new("ExecutorFailed", "exit code 1");
    let task = store.finish_attempt(end(&task, 1, Next::Retry(failure))).await.unwrap();
    let task = store.start_attempt(start(&task, 2)).await.unwrap();
    store.finish_attempt(end(&task, 2, completed())).await.unwrap();
    let runs = of_kind(store, Kind::Run).await;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    statuses(&runs).into_iter().for_each(|status| *seen.entry(status).or_default() += 1);
    assert_eq!(seen, BTreeMap::from([("failed", 1), ("done", 1)]));
    for row in &runs {
        let Spec::Run(run) = &row.object.spec else { panic!() };
        assert_eq!((run.inputs.context_packets.len(), run.outputs.artifacts.len()), (1, 1), "{run:?}");
    }
    let issue = of_kind(store, Kind::Issue).await;
    assert_eq!(statuses(&issue), ["planned"], "its author says how it stands");
    insta::assert_json_snapshot!("run", audit(store).await);
}

#[rstest]
#[tokio::test]
async fn a_run_may_fail_before_it_is_a_task(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let rows = chain(store).await;
    let fail = |message: &str| FailRun {
        id: rows[5].object.id,
        category: FailureCategory::Policy,
        message: message.into(),
        actor: ada(),
        at: at(3),
    };
    let failed = store.fail_run(fail("REPO_NOT_ALLOWED: no")).await.unwrap().unwrap();
    assert_eq!(failed.object.spec.status(), Some(Status::Failed));
    assert_eq!(store.fail_run(fail("again")).await.unwrap().unwrap(), failed, "the first ending stays");
    let unknown = FailRun { id: rows[0].object.id, ..fail("x") };
    assert_eq!(store.fail_run(unknown).await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn a_run_that_has_ended_stays_so_whatever_its_manifest_says(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    for (kind, name) in [(Kind::Repo, "api"), (Kind::Issue, "greet")] {
        recorded(store, resource(kind, name, minimal(kind))).await;
    }
    let agents = |name: &str| resource(Kind::Run, name, with(Kind::Run, json!({"mode": "agent"})));
    let denied = recorded(store, agents("denied")).await.object.id;
    let message = "REPO_NOT_ALLOWED: no".to_owned();
    let fail = FailRun { id: denied, category: FailureCategory::Policy, message, actor: ada(), at: at(3) };
    let failed = store.fail_run(fail).await.unwrap().unwrap();
    let Put::Recorded { row: again, changed, .. } = store.put_object(agents("denied")).await.unwrap() else { panic!() };
    assert_eq!((*again, changed), (failed, false));

    let run = recorded(store, agents("try")).await.object.id;
    let task = row(store.record_task(NewTask { for_run: Some(run), ..new_task("a") }).await.unwrap());
    let failure = Failure::new("ExecutorNotConfigured", "there is none");
    let finish = FinishTask { task_id: task.id, ending: Ending::Failed, failure, actor: ada(), at: at(4) };
    store.finish_task(finish).await.unwrap();
    let ended = store.object(Kind::Run, run).await.unwrap().unwrap();
    let Spec::Run(spec) = &ended.object.spec else { panic!() };
    let failure = spec.failure.as_ref().unwrap();
    assert_eq!((spec.status, failure.category), (Status::Failed, FailureCategory::Dependency), "no attempt ran");
    assert_eq!(failure.message, "ExecutorNotConfigured: there is none");
    assert_eq!(recorded(store, agents("try")).await, ended);
}

#[rstest]
#[tokio::test]
async fn objects_whose_custom_resource_is_there_are_listed_in_pages(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let rows = chain(store).await;
    recorded(store, resource(Kind::Issue, "after", minimal(Kind::Issue))).await;
    let body = with(Kind::Issue, json!({"repo": null}));
    let by_id =
        json!({"repo": {"kind": "Repo", "id": rows[0].object.id}, "title": body["title"], "type": body["type"]});
    recorded(store, self::body(Kind::Issue, "made", by_id)).await;
    let all = store.present_objects(Kind::Issue, None).await.unwrap();
    assert_eq!(all.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["after", "greet"]);
    assert_eq!((all[1].id, all[1].uid.as_str()), (rows[1].object.id, "Issue/greet"));
    assert_eq!(store.present_objects(Kind::Issue, Some(&all[0])).await.unwrap(), all[1..]);
    assert_eq!(store.present_objects(Kind::Issue, Some(&all[1])).await.unwrap(), []);
    let gone =
        DeleteObject { kind: Kind::Issue, id: all[0].id, uid: all[0].uid.clone(), actor: ada(), note: None, at: at(5) };
    store.delete_object(gone).await.unwrap();
    assert_eq!(store.present_objects(Kind::Issue, None).await.unwrap(), all[1..]);
}
