//! What there is to see before a review.

use jct_domain::shown::plain;
use serde_json::Value;

use super::Style;
use crate::tasks::text;

/// The evidence of a Task, and how its review stands.
pub fn shown(task: &Value, evidence: &Value, style: Style) -> String {
    let (pack, review) = (&evidence["evidence_pack"], &evidence["review"]);
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| lines.push(format!("{}  {value}", style.dim(&format!("{name:<13}"))));
    line("Task", &style.bold(&plain(text(task, "name"))));
    line("Objective", &plain(text(task, "objective").lines().next().unwrap_or_default()));
    line("Asked by", &plain(task["submitted_by"].as_str().unwrap_or("nobody who is vouched for")));
    let verdict = text(pack, "verdict");
    let coloured = match verdict {
        "pass" => style.green(verdict),
        "fail" => style.red(verdict),
        other => style.yellow(other),
    };
    line("Verdict", &format!("{coloured}: {}", plain(text(pack, "verdict_reason"))));
    for check in texts(&pack["checks_failed"]) {
        line("Failed", &style.red(&check));
    }
    for check in texts(&pack["checks_skipped"]) {
        line("Not checked", &style.yellow(&check));
    }
    for check in texts(&pack["checks_passed"]) {
        line("Passed", &check);
    }
    for result in pack["criteria_results"].as_array().into_iter().flatten() {
        let (status, criterion) = (plain(text(result, "status")), plain(text(result, "criterion")));
        line("Criterion", &format!("{status}: {criterion} ({})", plain(text(result, "reason"))));
    }
    for found in pack["evidence_collected"].as_array().into_iter().flatten() {
        let place = found["artifact_uri"].as_str().map(plain).unwrap_or_else(|| "nothing".into());
        let of = plain(text(found, "requirement"));
        line("Evidence", &format!("{of}: {place} ({})", plain(text(found, "notes"))));
    }
    if let Some(commit) = pack["subject"]["commit"].as_str() {
        line("Commit", &plain(commit));
    }
    line("Digest", &plain(text(pack, "subject_sha256")));
    line("Review", &state(review, style));
    for past in evidence["reviews"].as_array().into_iter().flatten() {
        let reason = past["decision_reason"].as_str().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
        let who = plain(text(&past["reviewer"], "actor_id"));
        line("", &format!("{} by {who}{reason}", plain(text(past, "decision"))));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect()
}

fn state(review: &Value, style: Style) -> String {
    match text(review, "state") {
        "missing" => style.yellow(&format!("{} must approve it", review["approvals"])),
        "approved" => style.green("approved"),
        "not_required" => "not required: nothing is to be delivered, or the forge asks for none".into(),
        other => style.red(&plain(&other.replace('_', " "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_told_as_such_and_nothing_acts_on_the_terminal() {
        let task = json!({"name": "fix", "objective": "Mend it\nnow", "submitted_by": "ada"});
        let evidence = json!({
            "evidence_pack": {
                "verdict": "partial", "verdict_reason": "not every check was made", "subject_sha256": "ab",
                "checks_passed": ["manifest_verified"], "checks_skipped": ["manifest_announced: silent"], "checks_failed": [],
                "criteria_results": [{"criterion": "it works\u{1b}[2J", "status": "unverified", "reason": "claimed by the executor, unverified"}],
                "evidence_collected": [{"requirement": "a report", "artifact_uri": null, "notes": "the executor names nothing for it"}],
                "subject": {"commit": "c0ffee"},
            },
            "review": {"state": "missing", "approvals": 2},
            "reviews": [{"decision": "approved", "reviewer": {"actor_id": "bob"}, "decision_reason": "read"}],
        });
        let shown = shown(&task, &evidence, Style::default());
        insta::assert_snapshot!(shown, @r"
        Task           fix
        Objective      Mend it
        Asked by       ada
        Verdict        partial: not every check was made
        Not checked    manifest_announced: silent
        Passed         manifest_verified
        Criterion      unverified: it works\u{1b}[2J (claimed by the executor, unverified)
        Evidence       a report: nothing (the executor names nothing for it)
        Commit         c0ffee
        Digest         ab
        Review         2 must approve it
                       approved by bob: read
        ");
    }
}
