//! References between work objects, as the door answers them.

use jct::domain::cwom::Kind;
use serde_json::{Value, json};

use crate::work::{id, least, one, path, to};
use crate::world::{ADA, ROOT, World};

/// Well-formed, and nothing's.
const NOTHING: &str = "01KJMMA2G027CE4HT1RZKZBW4A";

async fn count(world: &World, kind: Kind) -> usize {
    world.get(ROOT, path(kind)).await.body.as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn what_is_referred_to_must_be_there() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let to = |kind: &str| json!({"kind": kind, "id": NOTHING});
    for (kind, change, referenced) in [
        (Kind::Issue, json!({"repo": to("Repo")}), "Repo"),
        (Kind::Issue, json!({"doctrine_refs": [to("DoctrineRef")]}), "DoctrineRef"),
        (Kind::Issue, json!({"relationships": {"parent": to("Issue")}}), "Issue"),
        (Kind::ContextPacket, json!({"for_issue": to("Issue")}), "Issue"),
        (Kind::ContextPacket, json!({"constraint_snapshot": to("ConstraintSnapshot")}), "ConstraintSnapshot"),
        (Kind::DoctrineRef, json!({"version": "2", "applicability": {"repo_refs": [to("Repo")]}}), "Repo"),
        (Kind::Run, json!({"for_issue": to("Issue")}), "Issue"),
        (Kind::Run, json!({"inputs": {"context_packets": [to("ContextPacket")]}}), "ContextPacket"),
        (Kind::Artifact, json!({"produced_by": to("Run")}), "Run"),
    ] {
        let before = count(&world, kind).await;
        let mut body = least(kind, &known);
        json_patch::merge(&mut body, &change);
        let answer = world.post(ADA, path(kind), &body).await;
        let detail = format!("Referenced {referenced} '{NOTHING}' does not exist");
        assert_eq!((answer.status, &answer.body), (422, &json!({"detail": detail})), "{kind} {change}");
        assert_eq!(count(&world, kind).await, before, "nothing is written");
    }
    let mut both = least(Kind::Run, &known);
    json_patch::merge(&mut both, &json!({"for_issue": to("Issue"), "repo": to("Repo")}));
    let detail = format!("Referenced Issue '{NOTHING}' does not exist; Referenced Repo '{NOTHING}' does not exist");
    assert_eq!(world.post(ADA, path(Kind::Run), &both).await.body["detail"], json!(detail));
}

#[tokio::test]
async fn only_a_kind_that_fits_may_be_referred_to() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    // The reference says Issue, its id is that of a Repo.
    let mut body = least(Kind::Run, &known);
    body["for_issue"]["id"] = known[&Kind::Repo]["id"].clone();
    let answer = world.post(ADA, "/cwom/runs", &body).await;
    assert_eq!(answer.status, 422);
    let detail =
        format!("Referenced Issue '{}' does not exist: it is the id of the kind Repo", id(&known[&Kind::Repo]));
    assert_eq!(answer.body["detail"], json!(detail));
    // The reference says what does not fit.
    body["for_issue"] = to(&known[&Kind::Repo]);
    let answer = world.post(ADA, "/cwom/runs", &body).await;
    assert_eq!((answer.status, &answer.body["detail"]["violations"][0]["field"]), (422, &json!("for_issue.kind")));
    for bad in [json!("x"), json!(null), json!({"kind": "Issue"}), json!({"kind": "Issue", "name": "greet"})] {
        body["for_issue"] = bad;
        assert_eq!(world.post(ADA, "/cwom/runs", &body).await.status, 422, "{body}");
    }
}

#[tokio::test]
async fn an_object_of_another_namespace_is_not_there() {
    let world = World::new().await;
    world.allow("ada", &["create", "get", "list", "patch"], "other");
    let ours = world.one_of_each().await;
    let theirs = world.one_of_each_in("other").await;
    for kind in [Kind::Issue, Kind::ContextPacket, Kind::Run, Kind::Artifact] {
        let body = least(kind, &theirs);
        let answer = world.post(ADA, path(kind), &body).await;
        assert_eq!(answer.status, 422, "{kind}");
        let reported = answer.body["detail"].as_str().unwrap();
        assert!(reported.starts_with("Referenced ") && reported.ends_with(" does not exist"), "{reported}");
        assert!(!reported.contains("other"), "{reported}");
    }
    let change = json!({"context_packets": [to(&theirs[&Kind::ContextPacket])]});
    let answer = world.call("PATCH", ADA, &one(&ours[&Kind::Issue]), &change).await;
    let detail = format!("Referenced ContextPacket '{}' does not exist", id(&theirs[&Kind::ContextPacket]));
    assert_eq!((answer.status, &answer.body["detail"]), (422, &json!(detail)));
    // An id that says another kind than it is tells nothing of another namespace either.
    let mut body = least(Kind::Run, &ours);
    body["for_issue"]["id"] = theirs[&Kind::Repo]["id"].clone();
    let answer = world.post(ADA, "/cwom/runs", &body).await;
    let detail = format!("Referenced Issue '{}' does not exist", id(&theirs[&Kind::Repo]));
    assert_eq!(answer.body["detail"], json!(detail));
}

#[tokio::test]
async fn circles_are_refused() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let issue = |relationships: Value| {
        let mut body = least(Kind::Issue, &known);
        body["relationships"] = relationships;
        body
    };
    let whole = world.made(Kind::Issue, &issue(json!({}))).await;
    let part = world.made(Kind::Issue, &issue(json!({"parent": to(&whole)}))).await;
    let grandchild = world.made(Kind::Issue, &issue(json!({"parent": to(&part), "blocked_by": [to(&whole)]}))).await;
    for (object, relationships, field) in [
        (&whole, json!({"parent": to(&whole)}), "relationships.parent"),
        (&whole, json!({"parent": to(&grandchild)}), "relationships.parent"),
        (&whole, json!({"blocked_by": [to(&grandchild)]}), "relationships.blocked_by[0]"),
        // What it is blocked by is a part of this circle.
        (&grandchild, json!({"blocks": [to(&whole)]}), "relationships.blocked_by[0]"),
    ] {
        let answer = world.call("PATCH", ADA, &one(object), &json!({"relationships": relationships})).await;
        assert_eq!(
            (answer.status, &answer.body["detail"]["error"]),
            (422, &json!("validation_error")),
            "{relationships}"
        );
        assert_eq!(answer.body["detail"]["violations"][0]["field"], field, "{}", answer.text);
    }
    let both = issue(json!({"blocks": [to(&whole)], "blocked_by": [to(&whole)]}));
    assert_eq!(world.post(ADA, "/cwom/issues", &both).await.status, 422);
    assert_eq!(world.get(ADA, &one(&whole)).await.body["relationships"]["parent"], Value::Null);
}
