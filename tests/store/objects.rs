//! Work objects: rows, links, audit entries; those of Tasks.

use jct::domain::cwom::{Kind, Spec, Status, Target, read};
use jct::domain::id::sha256_hex;
use jct::domain::{Id, Naming, TraceId};
use jct::store::{
    DeleteObject, ObjectFilter, ObjectOrigin, ObjectRow, Page, PatchObject, Patched, Put, PutObject, RefProblem, Store,
    Unique,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Backend, Backend::*, Database, ada, at, audit, created_at};

#[path = "objects_of_tasks.rs"]
mod of_tasks;

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
