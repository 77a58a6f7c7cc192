//! Who may do what with work objects: the same that they may do with kubectl.

use jct::domain::cwom::Kind;
use rstest::rstest;
use serde_json::{Value, json};

use crate::cluster::Rule;
use crate::work::{Known, ORDER, id, least, namespace_parameter, one, path};
use crate::world::{ADA, Answer, CI, EVE, NOBODY, World};

/// A user with exactly these rights.
fn only(world: &World, rules: &[Rule]) {
    world.cluster.rights.lock().unwrap().insert("nobody", rules.to_vec());
}

fn lacks(answer: &Answer, verb: &str, kind: Kind) {
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert_eq!(answer.body["detail"]["verb"], verb);
    assert_eq!(answer.body["detail"]["resource"], format!("{}.jct.dev", kind.plural()));
}

#[tokio::test]
async fn each_call_needs_the_one_right_that_it_is() {
    let mut world = World::new().await;
    let known = world.one_of_each().await;
    for kind in ORDER {
        let (plural, one) = (kind.plural(), one(&known[&kind]));
        let list = format!("{}?{}=team", path(kind), namespace_parameter(kind));
        lacks(&world.post(NOBODY, path(kind), &json!({"surprise": 1})).await, "create", kind);
        assert_eq!(world.get(NOBODY, &one).await.status, 404);
        if kind != Kind::ContextPacket {
            lacks(&world.get(NOBODY, &list).await, "list", kind);
        }
        only(&world, &[("get", plural, "team"), ("list", plural, "team")]);
        world.restart();
        assert_eq!(world.get(NOBODY, &one).await.status, 200);
        if kind != Kind::ContextPacket {
            assert_eq!(world.get(NOBODY, &list).await.status, 200);
            let everywhere = world.get(NOBODY, path(kind)).await;
            lacks(&everywhere, "list", kind);
            let hint = format!("?{}=NAME", namespace_parameter(kind));
            assert!(everywhere.body["detail"]["message"].as_str().unwrap().ends_with(&hint), "{}", everywhere.text);
        }
        if [Kind::Issue, Kind::Run].contains(&kind) {
            lacks(&world.call("PATCH", NOBODY, &one, &json!({"surprise": 1})).await, "patch", kind);
            lacks(&world.get(NOBODY, &format!("{one}/artifacts")).await, "list", Kind::Artifact);
        }
        only(&world, &[]);
        world.restart();
    }
    let issue = format!("{}/status?status=done", one(&known[&Kind::Issue]));
    only(&world, &[("patch", "issues", "team")]);
    world.restart();
    assert_eq!(world.call("PATCH", NOBODY, &issue, &Value::Null).await.status, 200, "to change is not to read");
}

#[rstest]
#[case(NOBODY)]
#[case(CI)]
#[case(EVE)]
#[tokio::test]
async fn what_one_may_not_get_is_answered_as_what_is_not_there(#[case] token: &str) {
    let world = World::new().await;
    let known = world.one_of_each().await;
    for kind in ORDER {
        for (method, rest, body) in [
            ("GET", "", json!(null)),
            ("PATCH", "", json!({"status": "done"})),
            ("PATCH", "/status?status=done", json!(null)),
            ("GET", "/artifacts", json!(null)),
            ("GET", "/context-packets?limit=1", json!(null)),
        ] {
            let there = format!("{}{rest}", one(&known[&kind]));
            let not_there = format!("{}/01KJMMA2G027CE4HT1RZKZBW4A{rest}", path(kind));
            let (there, not_there) =
                (world.call(method, token, &there, &body).await, world.call(method, token, &not_there, &body).await);
            assert!([404, 405].contains(&there.status), "{method} {kind}{rest}: {}", there.text);
            let without_id = |answer: &Answer| {
                let text = answer.text.replace(id(&known[&kind]), "[id]");
                (answer.status, text.replace("01KJMMA2G027CE4HT1RZKZBW4A", "[id]"))
            };
            // A path that there is not names itself.
            let (there, not_there) = (without_id(&there), without_id(&not_there));
            assert_eq!(there, not_there, "{method} {kind}{rest}");
        }
    }
}

#[tokio::test]
async fn an_object_is_where_it_was_recorded() {
    let world = World::new().await;
    world.allow("ada", &["create"], "other");
    let ours = world.one_of_each().await;
    let theirs = world.one_of_each_in("other").await;
    for kind in ORDER {
        assert_eq!(world.get(ADA, &one(&theirs[&kind])).await.status, 404, "the right to create is none to read");
        assert_eq!(world.get(EVE, &one(&theirs[&kind])).await.status, 200);
        assert_eq!(world.get(EVE, &one(&ours[&kind])).await.status, 404);
        if kind != Kind::ContextPacket {
            let listed = world.get(EVE, &format!("{}?{}=other", path(kind), namespace_parameter(kind))).await;
            let ids: Vec<&str> = listed.body.as_array().unwrap().iter().map(id).collect();
            assert_eq!((listed.status, ids), (200, vec![id(&theirs[&kind])]));
        }
    }
    let elsewhere = world.post(ADA, "/cwom/repos?namespace=kube-system", &least(Kind::Repo, &Known::new())).await;
    lacks(&elsewhere, "create", Kind::Repo);
    let of_doctrines = world.post(ADA, "/cwom/doctrine-refs?namespace=team", &json!({})).await;
    assert_eq!(of_doctrines.status, 422, "there it is another namespace's name");
}
