//! What the record says against it, as clients see it (contract section 3).

use axum::http::StatusCode;

use crate::api::error::Problem;
use crate::crd::names::GROUP;
use crate::domain::cwom::{Kind, Spec};
use crate::domain::{Code, Finding, Id, does_not_exist};
use crate::store::{ObjectOrigin, ObjectRow, RefProblem, Unique, Unresolved};

/// 422: references that do not lead to an object, or in a circle.
pub fn unresolved(refs: &[Unresolved]) -> Problem {
    let missing: Vec<String> = refs.iter().filter_map(missing).collect();
    if missing.is_empty() {
        let circles = refs.iter().map(|Unresolved { path, kind, target, .. }| {
            let message = format!("{kind} '{target}' would come before itself, or be a part of itself");
            Finding::new(Code::InvalidSpec, path.clone(), message)
        });
        return Problem::findings(&circles.collect::<Vec<_>>());
    }
    Problem::text(StatusCode::UNPROCESSABLE_ENTITY, missing.join("; "))
}

/// 422: a body that is no object. Where nothing is wrong but references by ids that can't be any here, it is as for others that
/// lead nowhere.
pub fn unreadable(findings: &[Finding]) -> Problem {
    if findings.iter().all(|finding| finding.is_dangling) {
        let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
        return Problem::text(StatusCode::UNPROCESSABLE_ENTITY, messages.join("; "));
    }
    Problem::findings(findings)
}

fn missing(reference: &Unresolved) -> Option<String> {
    let Unresolved { path: _, kind, target, problem } = reference;
    let message = does_not_exist(kind.as_str(), &target.to_string());
    match problem {
        RefProblem::Missing => Some(message),
        RefProblem::WrongKind(found) => Some(format!("{message}: it is the id of the kind {found}")),
        RefProblem::Circle => None,
    }
}

/// 409: another object has what must be unique. Which one is not told: a right to create is none to read.
pub fn taken(spec: &Spec, what: Unique) -> Problem {
    let kind = spec.kind();
    Problem::conflict(match (what, spec) {
        (Unique::Slug, Spec::Repo(repo)) => format!("{kind} with slug '{}' already exists", repo.slug),
        (Unique::Doctrine, Spec::DoctrineRef(doctrine)) => {
            let (namespace, name, version) = (&doctrine.namespace, &doctrine.name, &doctrine.version);
            format!("{kind} '{namespace}/{name}' with version '{version}' already exists")
        }
        _ => format!("{kind} with this id already exists"),
    })
}

/// 409: the change belongs into the object's custom resource.
pub fn of_custom_resource(kind: Kind, row: &ObjectRow, origin: &ObjectOrigin) -> Problem {
    let (id, namespace, plural) = (row.object.id, &row.namespace, kind.plural());
    Problem::conflict(format!(
        "{kind} '{id}' is what its custom resource says; change that: kubectl --namespace {namespace} edit \
         {plural}.{GROUP} {}",
        origin.name
    ))
}

/// 409: it goes as its Task goes.
pub fn of_task(kind: Kind, id: Id, task_id: Id) -> Problem {
    Problem::conflict(format!(
        "{kind} '{id}' goes as Task '{task_id}' goes, which alone changes this; see /tasks/{task_id}, and \
         /tasks/{task_id}/cancel to end it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cwom::Target;

    const ID: &str = "01KJMMA2G027CE4HT1RZKZBW4A";

    fn problem(found: &[(&str, RefProblem)]) -> serde_json::Value {
        let refs = found.iter().map(|(path, problem)| Unresolved {
            path: (*path).into(),
            kind: Kind::Issue,
            target: Target::Id(ID.parse().unwrap()),
            problem: *problem,
        });
        serde_json::json!(unresolved(&refs.collect::<Vec<_>>()).detail)
    }

    #[test]
    fn what_is_missing_is_told_in_the_words_of_the_contract() {
        let missing = format!("Referenced Issue '{ID}' does not exist");
        assert_eq!(problem(&[("for_issue", RefProblem::Missing)]), missing);
        let both =
            [("for_issue", RefProblem::WrongKind(Kind::Run)), ("x", RefProblem::Circle), ("y", RefProblem::Missing)];
        assert_eq!(problem(&both), format!("{missing}: it is the id of the kind Run; {missing}"));
    }

    #[test]
    fn a_finding_is_what_it_is_and_not_how_its_message_begins() {
        let dangling = Finding::dangling("repo.id", "Repo", "x");
        let alike = Finding::new(Code::InvalidSpec, "title", dangling.message.clone());
        let shown = |findings: &[Finding]| serde_json::json!(unreadable(findings).detail);
        assert_eq!(shown(std::slice::from_ref(&dangling)), "Referenced Repo 'x' does not exist");
        assert_eq!(shown(&[dangling, alike])["error"], "validation_error");
    }

    #[test]
    fn a_circle_is_a_finding_on_its_field() {
        let shown = problem(&[("relationships.parent", RefProblem::Circle)]);
        assert_eq!(shown["violations"][0]["field"], "relationships.parent");
        assert_eq!(shown["error"], "validation_error");
    }
}
