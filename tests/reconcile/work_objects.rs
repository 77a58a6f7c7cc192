//! Objects of the seven kinds: recorded, resolved in any order, let go.

use jct::crd::names::{CHANGED_BY, FINALIZER};
use jct::domain::Principal;
use jct::domain::cwom::Kind;
use jct::reconcile::Action;
use jct::reconcile::work_object::{WorkObject, reconcile};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::{Answer, Call, call};
use crate::fixture::{Pass, World, object_id, reconcile_object};

pub fn status_of(kind: Kind, name: &str) -> Call {
    let path = format!("/apis/jct.dev/v1/namespaces/team/{}/{name}/status", kind.plural());
    call("PATCH", path, Answer::Echo)
}

pub fn repo(slug: &str) -> Value {
    json!({"name": "hello", "slug": slug, "source": {"system": "git"}})
}

pub fn issue(change: Value) -> Value {
    let mut spec = json!({"repo": {"kind": "Repo", "name": "hello"}, "title": "Look around", "type": "research"});
    json_patch::merge(&mut spec, &change);
    spec
}

/// How kstatus sees an object with the status that a pass wrote (sigs.k8s.io/cli-utils, pkg/kstatus/status, `Compute`).
pub fn kstatus(object: &Value, pass: &Pass) -> &'static str {
    let status = pass.status();
    let is = |type_: &str, value: &str| {
        let conditions = status["conditions"].as_array().unwrap().iter();
        conditions
            .into_iter()
            .any(|condition| (&condition["type"], &condition["status"]) == (&json!(type_), &json!(value)))
    };
    match () {
        () if !object["metadata"]["deletionTimestamp"].is_null() => "Terminating",
        () if object["metadata"]["generation"] != status["observedGeneration"] => "InProgress",
        () if is("Reconciling", "True") => "InProgress",
        () if is("Stalled", "True") => "Failed",
        () if is("Ready", "False") || is("Ready", "Unknown") => "InProgress",
        () if is("Ready", "True") => "Current",
        () => panic!("it would take it for Current, knowing nothing: {status}"),
    }
}

/// Status and reason of a condition that a pass wrote.
pub fn condition(pass: &Pass, type_: &str) -> (String, String) {
    let conditions = pass.status()["conditions"].as_array().unwrap().iter();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_).expect("no such condition");
    (found["status"].as_str().unwrap().into(), found["reason"].as_str().unwrap().into())
}

fn reported(pass: &Pass, type_: &str) -> String {
    let conditions = pass.status()["conditions"].as_array().unwrap().iter();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_).expect("no such condition");
    found["message"].as_str().unwrap().into()
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

#[tokio::test]
async fn an_object_is_recorded_and_its_status_says_so_once() {
    let world = World::new().await;
    let mut object = world.object(Kind::Repo, "hello", repo("octo/hello"));
    let pass = world.object_pass(Kind::Repo, &object, vec![status_of(Kind::Repo, "hello")]).await;
    assert_eq!(pass.result.as_ref().unwrap(), &Action::await_change());
    assert_eq!(condition(&pass, "Recorded"), is("True", "Recorded"));
    assert_eq!(condition(&pass, "Resolved"), is("True", "AllFound"));
    assert_eq!(kstatus(&object, &pass), "Current");
    let id = object_id(Kind::Repo, "hello");
    assert_eq!(pass.status()["id"], json!(id));
    let row = world.store.object(Kind::Repo, id).await.unwrap().unwrap();
    assert_eq!((row.submitted_by.as_deref(), row.origin.unwrap().name.as_str()), (Some("ada@example.org"), "hello"));
    assert_eq!(world.audit().await, ["Repo created  by ada@example.org"]);

    // Another start of the operator: nothing to write, nowhere.
    object["status"] = pass.status().clone();
    world.object_pass(Kind::Repo, &object, vec![]).await.result.unwrap();
    assert_eq!(world.audit().await.len(), 1);
}

#[tokio::test]
async fn what_comes_later_wakes_who_waits_for_it() {
    let world = World::new().await;
    let packets = json!({"contextPackets": [{"kind": "ContextPacket", "name": "later"}]});
    let waiting = world.object(Kind::Issue, "greet", issue(packets));
    let pass = world.object_pass(Kind::Issue, &waiting, vec![status_of(Kind::Issue, "greet")]).await;
    assert_eq!(condition(&pass, "Recorded"), is("False", "ReferenceMissing"));
    assert_eq!(condition(&pass, "Resolved"), is("False", "ReferenceMissing"));
    assert_eq!((kstatus(&waiting, &pass), condition(&pass, "Ready")), ("InProgress", is("False", "ReferenceMissing")));
    assert!(reported(&pass, "Resolved").contains("spec.repo: there is no Repo hello in this namespace"));
    assert!(reported(&pass, "Resolved").contains("spec.contextPackets[0]: there is no ContextPacket later"));
    assert_eq!(pass.result.as_ref().unwrap(), &Action::requeue(std::time::Duration::from_secs(10)));
    assert_eq!(world.store.object(Kind::Issue, object_id(Kind::Issue, "greet")).await.unwrap(), None);

    let hello = world.object(Kind::Repo, "hello", repo("octo/hello"));
    let script = vec![status_of(Kind::Issue, "greet"), status_of(Kind::Repo, "hello"), status_of(Kind::Issue, "greet")];
    let pass = world
        .passes(script, async |context| {
            let mut woken = context.objects.triggers.open(Kind::Issue);
            reconcile_object(Kind::Issue, &waiting, &context).await?;
            assert!(woken.try_recv().is_err());
            reconcile_object(Kind::Repo, &hello, &context).await?;
            assert_eq!(woken.try_recv().unwrap(), ("team".into(), "greet".into()));
            reconcile_object(Kind::Issue, &waiting, &context).await
        })
        .await;
    pass.result.as_ref().unwrap();
    assert_eq!(condition(&pass, "Recorded"), is("True", "Recorded"));
    assert_eq!(condition(&pass, "Resolved"), is("False", "ReferenceMissing"), "the packet is still to come");
    assert_eq!(kstatus(&waiting, &pass), "InProgress");
    let refs = json!([{"field": "repo", "kind": "Repo", "name": "hello", "id": object_id(Kind::Repo, "hello")}]);
    assert_eq!(pass.status()["refs"], refs);
}

#[tokio::test]
async fn a_spec_that_does_not_fit_is_told_and_waits_for_an_edit() {
    let world = World::new().await;
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let unfit =
        json!({"name": "hello", "slug": "nul\u{0}", "visibility": "secret", "fromTheFuture": {}, "meta": {"a": deep}});
    let bad = world.object(Kind::Repo, "bad", unfit);
    let pass = world.object_pass(Kind::Repo, &bad, vec![status_of(Kind::Repo, "bad")]).await;
    assert_eq!(pass.result.as_ref().unwrap(), &Action::await_change());
    assert_eq!(condition(&pass, "Recorded"), is("False", "InvalidSpec"));
    assert_eq!((kstatus(&bad, &pass), condition(&pass, "Stalled")), ("Failed", is("True", "InvalidSpec")));
    for field in ["spec.slug", "spec.source", "spec.visibility", "spec.fromTheFuture"] {
        assert!(
            reported(&pass, "Recorded").contains(&format!("INVALID_SPEC: {field}: ")),
            "{}",
            reported(&pass, "Recorded")
        );
    }
    assert_eq!(world.audit().await, [""; 0]);
}

#[tokio::test]
async fn a_slug_that_is_taken_names_its_holder_and_is_waited_for() {
    let world = World::new().await;
    let first = world.object(Kind::Repo, "hello", repo("octo/hello"));
    let second = world.object(Kind::Repo, "again", repo("octo/hello"));
    let mut deleted = first.clone();
    deleted["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:05:00Z");
    let metadata =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": deleted["metadata"]});
    world.object_pass(Kind::Repo, &first, vec![status_of(Kind::Repo, "hello")]).await.result.unwrap();
    let script = vec![
        status_of(Kind::Repo, "again"),
        call("GET", "/repos/hello", Answer::Object(metadata.clone())),
        call("PATCH", "/repos/hello", Answer::Object(metadata)),
    ];
    let pass = world
        .passes(script, async |context| {
            let mut woken = context.objects.triggers.open(Kind::Repo);
            reconcile_object(Kind::Repo, &second, &context).await?;
            let done = reconcile_object(Kind::Repo, &deleted, &context).await;
            assert_eq!(woken.try_recv().unwrap(), ("team".into(), "again".into()));
            done
        })
        .await;
    pass.result.as_ref().unwrap();
    assert_eq!(condition(&pass, "Recorded"), is("False", "SlugTaken"));
    assert_eq!(kstatus(&second, &pass), "Failed");
    assert!(reported(&pass, "Recorded").contains(&object_id(Kind::Repo, "hello").to_string()));
    assert_eq!(pass.status()["id"], Value::Null);
    assert_eq!(pass.calls[2].2["metadata"]["finalizers"], json!([]));
    let row = world.store.object(Kind::Repo, object_id(Kind::Repo, "hello")).await.unwrap().unwrap();
    assert!(row.deleted_at.is_some());
    assert_eq!(world.audit().await.last().unwrap(), "Repo deleted  by unknown");

    let pass = world.object_pass(Kind::Repo, &second, vec![status_of(Kind::Repo, "again")]).await;
    assert_eq!(condition(&pass, "Recorded"), is("True", "Recorded"));
    assert_eq!(kstatus(&second, &pass), "Current");
}

#[tokio::test]
async fn issues_that_block_each_other_are_a_circle() {
    let world = World::new().await;
    let hello = world.object(Kind::Repo, "hello", repo("octo/hello"));
    world.object_pass(Kind::Repo, &hello, vec![status_of(Kind::Repo, "hello")]).await.result.unwrap();
    let blocks = |other: &str| issue(json!({"relationships": {"blocks": [{"kind": "Issue", "name": other}]}}));
    let (a, b) = (world.object(Kind::Issue, "a", blocks("b")), world.object(Kind::Issue, "b", blocks("a")));
    let script = vec![status_of(Kind::Issue, "a"), status_of(Kind::Issue, "b"), status_of(Kind::Issue, "a")];
    let pass = world
        .passes(script, async |context| {
            for object in [&a, &b] {
                reconcile_object(Kind::Issue, object, &context).await?;
            }
            reconcile_object(Kind::Issue, &a, &context).await
        })
        .await;
    assert_eq!(condition(&pass, "Recorded"), is("True", "Recorded"));
    assert_eq!(condition(&pass, "Resolved"), is("False", "CircularReference"));
    assert_eq!((kstatus(&a, &pass), condition(&pass, "Ready")), ("Failed", is("False", "CircularReference")));
    assert!(
        reported(&pass, "Resolved").contains("spec.relationships.blocks[0]: with Issue "),
        "{}",
        reported(&pass, "Resolved")
    );
}

#[rstest]
#[case::of_another_kind(Kind::Repo, "WrongKind", "Failed")]
#[case::of_nothing(Kind::Issue, "ReferenceMissing", "InProgress")]
#[tokio::test]
async fn an_id_that_leads_nowhere_is_told(#[case] of: Kind, #[case] reason: &str, #[case] seen: &str) {
    let world = World::new().await;
    let hello = world.object(Kind::Repo, "hello", repo("octo/hello"));
    world.object_pass(Kind::Repo, &hello, vec![status_of(Kind::Repo, "hello")]).await.result.unwrap();
    let parent = json!({"relationships": {"parent": {"kind": "Issue", "id": object_id(of, "hello")}}});
    let child = world.object(Kind::Issue, "child", issue(parent));
    let pass = world.object_pass(Kind::Issue, &child, vec![status_of(Kind::Issue, "child")]).await;
    assert_eq!(condition(&pass, "Recorded"), is("True", "Recorded"));
    assert_eq!(condition(&pass, "Resolved"), is("False", reason));
    assert_eq!(kstatus(&child, &pass), seen);
}

#[tokio::test]
async fn a_change_is_recorded_as_that_of_who_made_it() {
    let world = World::new().await;
    let mut hello = world.object(Kind::Repo, "hello", repo("octo/hello"));
    world.object_pass(Kind::Repo, &hello, vec![status_of(Kind::Repo, "hello")]).await.result.unwrap();
    world.change(&mut hello, &Principal::named("bob@example.org"), json!({"visibility": "public"}));
    let pass = world.object_pass(Kind::Repo, &hello, vec![status_of(Kind::Repo, "hello")]).await;
    assert_eq!(pass.status()["observedGeneration"], 2);
    assert_eq!(world.audit().await[1], "Repo updated  by bob@example.org");
    // The same change by somebody whom no webhook saw.
    let mut forged = hello.clone();
    forged["spec"]["visibility"] = json!("private");
    forged["metadata"]["generation"] = json!(3);
    world.object_pass(Kind::Repo, &forged, vec![status_of(Kind::Repo, "hello")]).await.result.unwrap();
    assert_eq!(world.audit().await[2], "Repo updated  by unverified");
    // What the webhook would have refused is refused here too.
    hello["spec"]["slug"] = json!("octo/other");
    let pass = world.object_pass(Kind::Repo, &hello, vec![status_of(Kind::Repo, "hello")]).await;
    assert_eq!(condition(&pass, "Recorded"), is("False", "ChangeRefused"));
    assert_eq!(kstatus(&hello, &pass), "Failed");
    assert!(reported(&pass, "Recorded").contains("spec.slug"));
}

#[tokio::test]
async fn nobody_is_believed_without_the_seal() {
    let world = World::new().await;
    let mut forged = world.object(Kind::Repo, "hello", repo("octo/hello"));
    forged["metadata"]["annotations"]["jct.dev/submitted-by"] = json!("root@example.org");
    forged["metadata"]["annotations"][CHANGED_BY] = json!("root@example.org");
    world.object_pass(Kind::Repo, &forged, vec![status_of(Kind::Repo, "hello")]).await.result.unwrap();
    assert_eq!(world.audit().await, ["Repo created  by unverified"]);
}

#[tokio::test]
async fn an_object_without_our_finalizer_gets_it_before_it_is_recorded() {
    let world = World::new().await;
    let mut bare = world.object(Kind::Repo, "hello", repo("octo/hello"));
    bare["metadata"]["finalizers"] = json!(["other/one"]);
    let metadata =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": bare["metadata"]});
    let script = vec![
        call("GET", "/repos/hello", Answer::Object(metadata.clone())),
        call("PATCH", "/repos/hello", Answer::Object(metadata)),
        status_of(Kind::Repo, "hello"),
    ];
    let pass = world.object_pass(Kind::Repo, &bare, script).await;
    assert_eq!(pass.calls[1].2["metadata"]["finalizers"], json!(["other/one", FINALIZER]));
}

#[tokio::test]
async fn while_the_database_does_not_answer_that_is_told_once() {
    let world = World::with(|settings| settings.wait = std::time::Duration::from_millis(300)).await;
    let mut object = world.object(Kind::Repo, "hello", repo("octo/hello"));
    let lock = world.lock().await;
    let pass = world.object_pass(Kind::Repo, &object, vec![status_of(Kind::Repo, "hello")]).await;
    assert_eq!(condition(&pass, "Recorded"), is("False", "StoreUnavailable"));
    assert_eq!(kstatus(&object, &pass), "InProgress");
    assert_eq!(pass.result.as_ref().unwrap_err().category(), "store");
    object["status"] = pass.status().clone();
    world.object_pass(Kind::Repo, &object, vec![]).await.result.unwrap_err();
    drop(lock);
    let pass = world.object_pass(Kind::Repo, &object, vec![status_of(Kind::Repo, "hello")]).await;
    assert_eq!(condition(&pass, "Recorded"), is("True", "Recorded"));
}

#[tokio::test]
async fn a_spec_is_read_where_the_record_does_not_have_it_and_not_else() {
    let mut object = World::new().await.object(Kind::Repo, "hello", repo("octo/hello"));
    let pass = async |world: &World, object: &Value, script: Vec<Call>| {
        let cached: WorkObject = serde_json::from_str(&object.to_string()).unwrap();
        world.passes(script, async |context| reconcile(Kind::Repo, &cached, &context).await).await
    };
    let read = |object: &Value| call("GET", "/namespaces/team/repos/hello", Answer::Object(object.clone()));
    let world = World::new().await;
    let first = pass(&world, &object, vec![read(&object), status_of(Kind::Repo, "hello")]).await;
    assert_eq!(condition(&first, "Recorded"), is("True", "Recorded"));
    object["status"] = first.status().clone();
    pass(&world, &object, vec![]).await.result.unwrap();

    // A database that lost it, an edit, and an id that is pinned later are each a reason to look.
    let lost = World::new().await;
    pass(&lost, &object, vec![read(&object)]).await.result.unwrap();
    assert_eq!(lost.audit().await, ["Repo created  by ada@example.org"]);
    let mut edited = object.clone();
    world.change(&mut edited, &Principal::named("ada@example.org"), json!({"visibility": "public"}));
    pass(&world, &edited, vec![read(&edited), status_of(Kind::Repo, "hello")]).await.result.unwrap();
    assert_eq!(world.audit().await[1], "Repo updated  by ada@example.org");
    let mut pinned = edited.clone();
    pinned["metadata"]["annotations"]["jct.dev/id"] = json!("01KJMMA2G027CE4HT1RZKZBW4A");
    let refused = pass(&world, &pinned, vec![read(&pinned), status_of(Kind::Repo, "hello")]).await;
    assert_eq!(condition(&refused, "Recorded"), is("False", "ChangeRefused"));
    assert!(reported(&refused, "Recorded").contains("metadata.annotations[jct.dev/id]"));

    // Another object of the name is another pass's business.
    let mut other = edited.clone();
    other["metadata"]["uid"] = json!("another");
    edited["spec"]["visibility"] = json!("private");
    pass(&world, &edited, vec![read(&other)]).await.result.unwrap();
    assert_eq!(world.audit().await.len(), 2);
}

#[tokio::test]
async fn a_pinned_id_that_is_anothers_tells_nothing_of_it() {
    let world = World::new().await;
    let hello = world.object(Kind::Repo, "hello", repo("octo/hello"));
    world.object_pass(Kind::Repo, &hello, vec![status_of(Kind::Repo, "hello")]).await.result.unwrap();
    let id = object_id(Kind::Repo, "hello");
    let mut messages = Vec::new();
    for (namespace, kind, name) in [("other", Kind::Repo, "a"), ("team", Kind::Repo, "b")] {
        let mut stranger = world.object(kind, name, repo("octo/other"));
        stranger["metadata"]["namespace"] = json!(namespace);
        stranger["metadata"]["annotations"] = json!({"jct.dev/id": id});
        let path = format!("/apis/jct.dev/v1/namespaces/{namespace}/repos/{name}/status");
        let pass = world.object_pass(kind, &stranger, vec![call("PATCH", path, Answer::Echo)]).await;
        assert_eq!(condition(&pass, "Recorded"), is("False", "IdConflict"));
        assert_eq!(pass.status()["id"], Value::Null);
        messages.push(reported(&pass, "Recorded"));
    }
    assert_eq!(messages[0], messages[1]);
    for reported in ["hello", "team", "Repo", &id.to_string()] {
        assert!(!messages[0].contains(reported), "{}", messages[0]);
    }
}
