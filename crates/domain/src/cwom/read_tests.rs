use std::fmt::Write as _;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::Naming;
use crate::table::{Holds, Need, Shape};

const ID: &str = "01KJMMA2G027CE4HT1RZKZBW4A";

/// The least document of each kind.
pub fn minimal(kind: Kind) -> Value {
    let issue = json!({"kind": "Issue", "id": ID});
    let repo = json!({"kind": "Repo", "id": ID});
    let ada = json!({"actor_kind": "human", "actor_id": "ada"});
    match kind {
        Kind::Repo => json!({"name": "hello", "slug": "octo/hello", "source": {"system": "github"}}),
        Kind::Issue => json!({"repo": repo, "title": "Greet", "type": "feature"}),
        Kind::ContextPacket => json!({"for_issue": issue, "version": "1", "summary": "All there is to know"}),
        Kind::ConstraintSnapshot => json!({"scope": "run", "owner": ada}),
        Kind::DoctrineRef => {
            json!({"namespace": "octo", "name": "tests", "version": "1", "type": "policy", "statement": "Test."})
        }
        Kind::Run => json!({"for_issue": issue, "repo": repo, "mode": "agent", "executor": {"actor": ada}}),
        Kind::Artifact => json!({
            "produced_by": {"kind": "Run", "id": ID}, "for_issue": issue, "type": "report", "title": "Report",
            "uri": "trace://x",
        }),
    }
}

/// The least document with `change` merged into it (RFC 7396: null removes).
fn with(kind: Kind, change: Value) -> Value {
    let mut document = minimal(kind);
    json_patch::merge(&mut document, &change);
    document
}

fn findings(kind: Kind, document: &Value) -> Vec<String> {
    read(kind, document, Naming::Rest).1.iter().map(ToString::to_string).collect()
}

#[rstest]
fn the_least_document_of_each_kind_and_its_defaults(
    #[values(
        Kind::Repo,
        Kind::Issue,
        Kind::ContextPacket,
        Kind::ConstraintSnapshot,
        Kind::DoctrineRef,
        Kind::Run,
        Kind::Artifact
    )]
    kind: Kind,
) {
    let (spec, findings) = read(kind, &minimal(kind), Naming::Rest);
    assert_eq!(findings, []);
    insta::assert_json_snapshot!(format!("defaults_{kind}"), spec.unwrap().to_json());
}

/// Every field with its default and limit, as the contract has them. Red means that the contract changed.
#[test]
fn the_tables_are_frozen() {
    fn list(shape: &Shape, indent: usize, out: &mut String) {
        for field in shape.fields {
            let (mut holds, mut lists) = (&field.holds, String::new());
            while let Holds::List(most, of) = holds {
                write!(lists, "up to {most} of ").unwrap();
                holds = of;
            }
            let what = match holds {
                Holds::Object(shape) => shape.name.to_owned(),
                Holds::Ref(kinds) => format!("Ref({})", kinds.iter().map(|k| k.as_str()).collect::<Vec<_>>().join("|")),
                other => format!("{other:?}"),
            };
            writeln!(out, "{:indent$}{}: {:?} {lists}{what}", "", field.name, field.need).unwrap();
            if let Holds::Object(shape) = holds
                && !["Actor", "Source"].contains(&shape.name)
            {
                list(shape, indent + 2, out);
            }
        }
    }
    let mut out = String::new();
    for shape in Kind::ALL.iter().map(|kind| kind.shape()).chain([&Actor::SHAPE, &Source::SHAPE]) {
        writeln!(out, "\n{}", shape.name).unwrap();
        list(shape, 2, &mut out);
    }
    insta::assert_snapshot!(out);
}

/// A record that may be left out must have a default: no field of it may be required.
#[test]
fn what_may_be_empty_can_be() {
    fn look(shape: &Shape, may_be_empty: bool) {
        for field in shape.fields {
            assert!(!(may_be_empty && field.need == Need::Required), "{}.{}", shape.name, field.name);
            match (&field.holds, field.need) {
                (Holds::Object(shape), need) => look(shape, need == Need::Empty),
                (Holds::List(_, Holds::Object(shape)), _) => look(shape, false),
                (Holds::Choice(names), Need::Or(text)) => {
                    assert!(names.contains(&text), "{}.{}", shape.name, field.name)
                }
                (Holds::Choice(_), need) => assert_ne!(need, Need::Empty),
                _ => {}
            }
        }
    }
    for kind in Kind::ALL {
        look(kind.shape(), false);
    }
}

fn long(chars: usize) -> String {
    "ä".repeat(chars)
}

#[rstest]
#[case(Kind::Repo, json!({"slug": null}), "slug: is required")]
#[case(Kind::Repo, json!({"name": long(257)}), "name: must be 1 to 256 characters")]
#[case(Kind::Repo, json!({"slug": ""}), "slug: must be 1 to 256 characters")]
#[case(Kind::Repo, json!({"slug": 5}), "slug: must be a string")]
#[case(Kind::Repo, json!({"slug": "a\u{0}"}), "slug: must not contain the character NUL")]
#[case(Kind::Repo, json!({"source": "github"}), "source: must be an object")]
#[case(Kind::Repo, json!({"source": {"system": null}}), "source.system: is required")]
#[case(Kind::Repo, json!({"source": {"system": long(65)}}), "source.system: must be 1 to 64")]
#[case(Kind::Repo, json!({"source": {"external_id": long(257)}}), "source.external_id: must be 1 to 256")]
#[case(Kind::Repo, json!({"source": {"url": long(2001)}}), "source.url: must be 1 to 2000")]
#[case(Kind::Repo, json!({"visibility": "secret"}), "visibility: must be one of public, private, internal")]
#[case(Kind::Repo, json!({"owners": {}}), "owners: must be a list")]
#[case(Kind::Repo, json!({"owners": vec![json!({"actor_kind": "human", "actor_id": "a"}); 101]}), "owners: must have at most 100 entries, has 101")]
#[case(Kind::Repo, json!({"owners": [{"actor_kind": "robot", "actor_id": "a"}]}), "owners[0].actor_kind: must be one of human, agent, system")]
#[case(Kind::Repo, json!({"owners": [{"actor_kind": "human", "actor_id": long(129)}]}), "owners[0].actor_id: must be 1 to 128")]
#[case(Kind::Repo, json!({"owners": [{"actor_kind": "human", "actor_id": "a", "display": long(257)}]}), "owners[0].display: must be 1 to 256")]
#[case(Kind::Repo, json!({"policy": {"allow": []}}), "policy.allow: is not a field; the fields here are allowed_tools, secrets_profile")]
#[case(Kind::Repo, json!({"tags": [1]}), "tags[0]: must be a string")]
#[case(Kind::Repo, json!({"meta": {"x": long(32768)}}), "meta: must be at most 64 KiB of JSON, is 65 KiB")]
#[case(Kind::Repo, json!({"id": ID}), "id: is not a field")]
#[case(Kind::Repo, json!({"kind": "Issue"}), "kind: must be Repo")]
#[case(Kind::Issue, json!({"title": long(513)}), "title: must be 1 to 512")]
#[case(Kind::Issue, json!({"description": long(16001)}), "description: must be 0 to 16000")]
#[case(Kind::Issue, json!({"type": "epic"}), "type: must be one of feature, bug, chore, research, ops, doc, incident")]
#[case(Kind::Issue, json!({"priority": "p1"}), "priority: must be one of P0, P1, P2, P3, P4")]
#[case(Kind::Issue, json!({"status": "completed"}), "status: must be one of planned, ready, running, blocked, done")]
#[case(Kind::Issue, json!({"repo": ID}), "repo: must be a reference: {kind, id}")]
#[case(Kind::Issue, json!({"repo": {"kind": "Issue"}}), "repo.kind: must be Repo")]
#[case(Kind::Issue, json!({"repo": {"kind": null}}), "repo.kind: is required; it must be Repo")]
#[case(Kind::Issue, json!({"repo": {"id": null}}), "repo.id: is required")]
#[case(Kind::Issue, json!({"repo": {"id": ID.to_lowercase()}}), "repo.id: Referenced Repo '")]
#[case(Kind::Issue, json!({"repo": {"id": &ID[1..]}}), "repo.id: Referenced Repo '")]
#[case(Kind::Issue, json!({"repo": {"id": format!("{ID}A")}}), "repo.id: Referenced Repo '")]
#[case(Kind::Issue, json!({"repo": {"id": format!("8{}", &ID[1..])}}), "repo.id: Referenced Repo '")]
#[case(Kind::Issue, json!({"repo": {"id": 1}}), "repo.id: must be a string")]
#[case(Kind::Issue, json!({"repo": {"name": "hello"}}), "repo.name: is not a field; the fields here are kind, id, role")]
#[case(Kind::Issue, json!({"repo": {"role": long(65)}}), "repo.role: must be 1 to 64")]
#[case(Kind::Issue, json!({"constraints": [{"kind": "ContextPacket", "id": ID}]}), "constraints[0].kind: must be ConstraintSnapshot")]
#[case(Kind::Issue, json!({"relationships": {"blocks": [{"kind": "Issue", "id": ID}, {"kind": "Issue", "id": ID, "role": "x"}]}}), "relationships.blocks[1]: names the same object as entry 0")]
#[case(Kind::Issue, json!({"relationships": {"parent": {"kind": "Run", "id": ID}}}), "relationships.parent.kind: must be Issue")]
#[case(Kind::Issue, json!({"acceptance": {"criteria": vec!["x"; 101]}}), "acceptance.criteria: must have at most 100")]
#[case(Kind::Issue, json!({"runs": [{"kind": "Run", "id": ID}]}), "runs: is derived by JCT; leave it out")]
#[case(Kind::Issue, json!({"meta": {"x": long(200 * 1024)}}), "meta: must be at most 384 KiB of JSON")]
#[case(Kind::ContextPacket, json!({"version": long(65)}), "version: must be 1 to 64")]
#[case(Kind::ContextPacket, json!({"summary": long(4001)}), "summary: must be 1 to 4000")]
#[case(Kind::ContextPacket, json!({"instructions": long(8001)}), "instructions: must be 0 to 8000")]
#[case(Kind::ContextPacket, json!({"inputs": {"documents": [{"title": "x"}]}}), "inputs.documents[0].uri: is required")]
#[case(Kind::ContextPacket, json!({"inputs": {"documents": [{"title": "x", "uri": "y", "excerpt": long(4001)}]}}), "inputs.documents[0].excerpt: must be 0 to 4000")]
#[case(Kind::ContextPacket, json!({"inputs": {"data_blobs": [{"name": "x", "media_type": "text/plain", "inline": long(131_073)}]}}), "inputs.data_blobs[0].inline: must be at most 256 KiB, is 257 KiB")]
#[case(Kind::ContextPacket, json!({"inputs": {"data_blobs": [{"name": "x", "media_type": "text/plain", "inline": {}}]}}), "inputs.data_blobs[0].inline: must be a string")]
#[case(Kind::ConstraintSnapshot, json!({"scope": "team"}), "scope: must be one of personal, repo, org, system, run")]
#[case(Kind::ConstraintSnapshot, json!({"captured_at": "yesterday"}), "captured_at: must be a time such as")]
#[case(Kind::ConstraintSnapshot, json!({"constraints": {"energy": {"score_0_5": 5.1}}}), "constraints.energy.score_0_5: must be 0 to 5")]
#[case(Kind::ConstraintSnapshot, json!({"constraints": {"energy": {"score_0_5": "5"}}}), "constraints.energy.score_0_5: must be a number")]
#[case(Kind::ConstraintSnapshot, json!({"constraints": {"time": {"available_minutes": -1}}}), "constraints.time.available_minutes: must be 0 to")]
#[case(Kind::ConstraintSnapshot, json!({"constraints": {"environment": {"connectivity": "on"}}}), "constraints.environment.connectivity: must be one of offline, limited, ok")]
#[case(Kind::DoctrineRef, json!({"namespace": long(129)}), "namespace: must be 1 to 128")]
#[case(Kind::DoctrineRef, json!({"name": long(257)}), "name: must be 1 to 256")]
#[case(Kind::DoctrineRef, json!({"version": long(65)}), "version: must be 1 to 64")]
#[case(Kind::DoctrineRef, json!({"statement": long(4001)}), "statement: must be 1 to 4000")]
#[case(Kind::DoctrineRef, json!({"priority": "MUST"}), "priority: must be one of must, should, may")]
#[case(Kind::DoctrineRef, json!({"applicability": {"issue_types": ["epic"]}}), "applicability.issue_types[0]: must be one of feature")]
#[case(Kind::Run, json!({"executor": {"actor": null}}), "executor.actor: is required")]
#[case(Kind::Run, json!({"executor": {"runtime": long(65)}}), "executor.runtime: must be 1 to 64")]
#[case(Kind::Run, json!({"cost": {"tokens": 1.5}}), "cost.tokens: must be a whole number")]
#[case(Kind::Run, json!({"cost": {"tokens": -1}}), "cost.tokens: must be a whole number, 0 to")]
#[case(Kind::Run, json!({"cost": {"tokens": u64::MAX}}), "cost.tokens: must be a whole number, 0 to")]
#[case(Kind::Run, json!({"failure": {"category": "x", "message": "y"}}), "failure.category: must be one of policy, build, test, runtime, dependency, unknown")]
#[case(Kind::Run, json!({"failure": {"category": "test", "message": long(4001)}}), "failure.message: must be 1 to 4000")]
#[case(Kind::Artifact, json!({"uri": long(2001)}), "uri: must be 1 to 2000")]
#[case(Kind::Artifact, json!({"title": long(513)}), "title: must be 1 to 512")]
#[case(Kind::Artifact, json!({"preview": long(4001)}), "preview: must be 0 to 4000")]
#[case(Kind::Artifact, json!({"size_bytes": -1}), "size_bytes: must be a whole number, 0 to")]
#[case(Kind::Artifact, json!({"verification": {"checks": [{"name": "sha256"}]}}), "verification.checks[0].status: is required")]
fn findings_name_the_field_and_the_fix(#[case] kind: Kind, #[case] change: Value, #[case] expected: &str) {
    let found = findings(kind, &with(kind, change));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("INVALID_SPEC: {expected}")), "{found:?}");
}

#[rstest]
#[case(Kind::Repo, json!({"name": long(256), "slug": long(256), "kind": "Repo", "meta": {"x": long(32000)}}))]
#[case(Kind::Repo, json!({"owners": vec![json!({"actor_kind": "human", "actor_id": "a"}); 100]}))]
#[case(Kind::Issue, json!({"title": long(512), "description": long(16000), "runs": [], "assignees": null}))]
#[case(Kind::Issue, json!({"repo": {"role": long(64)}, "meta": {"x": long(190 * 1024)}}))]
#[case(Kind::ContextPacket, json!({"version": long(64), "summary": long(4000), "instructions": long(8000)}))]
#[case(Kind::ContextPacket, json!({"inputs": {"data_blobs": [{"name": "x", "media_type": "a/b", "inline": long(131_072)}]}}))]
#[case(Kind::ConstraintSnapshot, json!({"constraints": {"energy": {"score_0_5": 5}, "time": {"available_minutes": 0}}}))]
#[case(Kind::DoctrineRef, json!({"namespace": long(128), "name": long(256), "version": long(64), "statement": long(4000)}))]
#[case(Kind::Run, json!({"cost": {"tokens": i64::MAX}, "failure": {"category": "test", "message": long(4000)}}))]
#[case(Kind::Artifact, json!({"uri": long(2000), "title": long(512), "preview": long(4000), "size_bytes": 0}))]
fn what_is_just_within_the_limits_passes(#[case] kind: Kind, #[case] change: Value) {
    assert_eq!(findings(kind, &with(kind, change)), [""; 0]);
}

#[rstest]
#[case(json!({"kind": "Repo", "name": "hello"}), &[])]
#[case(json!({"kind": "Repo", "id": ID, "role": "home"}), &[])]
#[case(json!({"kind": "Repo", "id": ID, "name": "hello"}), &["spec.repo: must have either an id or a name"])]
#[case(json!({"kind": "Repo"}), &["spec.repo: must have an id, or the name of an object of this namespace"])]
#[case(json!({"kind": "Repo", "name": "Not_A_Name"}), &["spec.repo.name: must be the name of an object"])]
#[case(json!({"kind": "Repo", "name": "other/hello"}), &["spec.repo.name: must be the name of an object"])]
#[case(json!({"kind": "Repo", "name": "hello", "namespace": "other"}), &["spec.repo.namespace: is not a field; the fields here are kind, id, name, role"])]
#[case(json!({"kind": "Task", "name": 5}), &["spec.repo.kind: must be Repo", "spec.repo.name: must be the name of an object"])]
fn a_manifest_may_name_what_it_refers_to(#[case] reference: Value, #[case] expected: &[&str]) {
    let spec = json!({"repo": reference, "title": "Greet", "type": "feature"});
    let (_, found) = read(Kind::Issue, &spec, Naming::CustomResource);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.to_string().starts_with(&format!("INVALID_SPEC: {expected}")), "{found}");
    }
}

#[test]
fn references_are_found_with_their_places_and_names_become_ids() {
    let spec = json!({
        "forIssue": {"kind": "Issue", "name": "greet"}, "repo": {"kind": "Repo", "name": "hello"}, "mode": "agent",
        "executor": {"actor": {"actorKind": "agent", "actorId": "a"}},
        "inputs": {
            "contextPackets": [{"kind": "ContextPacket", "id": ID}, {"kind": "ContextPacket", "name": "facts"}],
            "constraintSnapshot": {"kind": "ConstraintSnapshot", "name": "limits"},
        },
    });
    let (spec, found) = read(Kind::Run, &spec, Naming::CustomResource);
    assert_eq!(found, []);
    let mut spec = spec.unwrap();
    let places: Vec<String> = spec.refs().into_iter().map(|(place, _)| place).collect();
    let expected =
        ["for_issue", "repo", "inputs.context_packets[0]", "inputs.context_packets[1]", "inputs.constraint_snapshot"];
    assert_eq!(places, expected);

    assert_eq!(Spec::from_json(Kind::Run, spec.to_json()).unwrap(), spec, "names survive storage");
    spec.each_ref_mut(&mut |_, reference| reference.target = Target::Id(ID.parse().unwrap()));
    assert!(spec.refs().iter().all(|(_, reference)| reference.id().is_some()));
}

#[test]
fn a_body_of_nothing_but_mistakes_has_a_short_answer() {
    let fields: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("x{n}"), json!(1))).collect();
    assert_eq!(findings(Kind::Issue, &Value::Object(fields)).len(), 100);
    assert_eq!(findings(Kind::Issue, &json!([])), ["INVALID_SPEC: body: must be an object"]);
}

#[test]
fn a_patch_changes_what_it_names() {
    let old = with(Kind::Issue, json!({"priority": "P0", "acceptance": {"criteria": ["a"], "tests_expected": "unit"}}));
    let Some(Spec::Issue(mut old)) = read(Kind::Issue, &old, Naming::Rest).0 else { panic!() };
    old.runs = vec![Ref::to(Kind::Run, ID.parse().unwrap())];
    let change = json!({"priority": null, "acceptance": {"criteria": ["a", "b"]}, "status": "running"});
    let (new, found) = patch(&Spec::Issue(old.clone()), &change);
    assert_eq!(found, []);
    let expected = Issue {
        priority: Priority::P2,
        status: Status::Running,
        acceptance: Acceptance { criteria: vec!["a".into(), "b".into()], ..old.acceptance.clone() },
        ..*old.clone()
    };
    assert_eq!(new, Some(expected.into()));

    let refused = |change| patch(&Spec::Issue(old.clone()), &change).1.iter().map(ToString::to_string).collect();
    let found: Vec<String> = refused(json!({"runs": [{"kind": "Run", "id": ID}], "title": null, "x": 1}));
    assert_eq!(found.len(), 3, "{found:?}");
    let found: Vec<String> = refused(json!(5));
    assert_eq!(found, ["INVALID_SPEC: body: must be an object"]);
}

#[test]
fn an_object_is_one_level_of_json() {
    let time = "2026-03-01T12:00:00Z".parse().unwrap();
    let Some(spec) = read(Kind::ConstraintSnapshot, &minimal(Kind::ConstraintSnapshot), Naming::Rest).0 else {
        panic!()
    };
    let Spec::ConstraintSnapshot(snapshot) = spec else { panic!() };
    let object: Object = Object::new(ID.parse().unwrap(), time, "trace-id".parse().unwrap(), *snapshot).into();
    let json = object.to_json();
    assert_eq!(
        [&json["kind"], &json["id"], &json["trace_id"], &json["scope"], &json["captured_at"]],
        ["ConstraintSnapshot", ID, "trace-id", "run", "2026-03-01T12:00:00Z"]
    );
    assert_eq!(Object::from_json(json).unwrap(), object);
    assert!(Object::from_json(json!({"kind": "Task"})).is_err());
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn any_naming() -> impl Strategy<Value = Naming> {
    prop::sample::select(&[Naming::CustomResource, Naming::Rest][..])
}

/// A kind, and JSON that is likely to have its fields.
fn any_document() -> impl Strategy<Value = (Kind, Naming, Value)> {
    (any_kind(), any_naming()).prop_flat_map(|(kind, naming)| {
        let names = prop::sample::select(strategy::names(kind.shape(), naming));
        let keys = prop_oneof![6 => names, 1 => strategy::text(0, 8)].boxed();
        let broken = (strategy::document(kind, naming), strategy::any_json(keys.clone()), keys.clone()).prop_map(
            |(mut document, value, key)| {
                document.as_object_mut().unwrap().insert(key, value);
                document
            },
        );
        let document = prop_oneof![strategy::any_json(keys), broken];
        (Just(kind), Just(naming), document)
    })
}

fn valid_document() -> impl Strategy<Value = (Kind, Naming, Value)> {
    (any_kind(), any_naming())
        .prop_flat_map(|(kind, naming)| (Just(kind), Just(naming), strategy::document(kind, naming)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_panics((kind, naming, document) in any_document(), change in strategy::any_json(strategy::text(0, 8))) {
        let (spec, findings) = read(kind, &document, naming);
        prop_assert_eq!(spec.is_none(), !findings.is_empty());
        if let Some(spec) = spec {
            let (patched, findings) = patch(&spec, &change);
            prop_assert!(patched.is_some() || !findings.is_empty());
        }
    }

    #[test]
    fn what_the_table_allows_is_read_and_reading_it_again_changes_nothing((kind, naming, document) in valid_document()) {
        let (spec, findings) = read(kind, &document, naming);
        prop_assert_eq!(&findings, &[]);
        let spec = spec.unwrap();
        let text = spec.to_json().to_string();
        let json: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&Spec::from_json(kind, json.clone()).unwrap(), &spec);
        prop_assert_eq!(check_update(&spec, &spec, naming), vec![]);
        if spec.refs().iter().all(|(_, reference)| reference.id().is_some()) {
            prop_assert_eq!(read(kind, &json, Naming::Rest), (Some(spec.clone()), vec![]));
            prop_assert_eq!(patch(&spec, &json!({})), (Some(spec), vec![]));
        }
    }
}

#[test]
fn an_object_of_countless_values_is_refused_by_the_field_that_has_most() {
    for kind in Kind::ALL.iter().copied() {
        let found = findings(kind, &with(kind, json!({"meta": {"x": vec![0; 20_000]}})));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("INVALID_SPEC: meta: the spec has more than 20000 JSON values"), "{found:?}");
        assert_eq!(findings(kind, &with(kind, json!({"meta": {"x": vec![0; 15_000]}}))), [""; 0]);
    }
}
