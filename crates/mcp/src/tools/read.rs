//! Reading what Tasks left, and what is recorded of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use jct_domain::trace::PROVENANCE_FILE;
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::{Call, Refused};
use crate::advice;
use crate::rest_client::{ApiRequest, RestClient, encoded};

/// How much of a file is read, if it is not said, in bytes.
const BYTES: u64 = 32 * 1024;

pub(super) async fn results<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let attempts = call.get(format!("/tasks/{}/trace", arguments.text("task_id"))).await?;
    Ok(
        json!({"attempts": attempts, "next": "read_result reads one of the files; get_evidence has what there is to show"}),
    )
}

/// The attempt that is meant: the newest, if it is not said.
async fn attempt<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<(u64, Value), Refused> {
    let attempts = call.get(format!("/tasks/{}/trace", arguments.text("task_id"))).await?;
    let all = attempts.as_array().cloned().unwrap_or_default();
    let wanted = arguments.number("attempt");
    let found = match wanted {
        None => all.last(),
        Some(number) => all.iter().find(|attempt| attempt["attempt"].as_u64() == Some(number)),
    };
    let none =
        "there is no such attempt\nNext: follow_task waits for the first one, list_results has those that there are";
    let found = found.ok_or_else(|| none.to_owned())?;
    Ok((found["attempt"].as_u64().unwrap_or(1), found.clone()))
}

pub(super) async fn result<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let (number, _) = attempt(call, arguments).await?;
    let (offset, most) = (arguments.number("offset").unwrap_or(0), arguments.number("max_bytes").unwrap_or(BYTES));
    let path: Vec<String> = arguments.text("path").split('/').map(encoded).collect();
    let at = format!("/tasks/{}/trace/{number}/{}", arguments.text("task_id"), path.join("/"));
    let answer = call.asked(ApiRequest { range: Some((offset, most)), ..ApiRequest::get(call.client, at) }).await?;
    if answer.status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(format!("{offset} is beyond the end of the file\nNext: list_results tells how large it is"));
    }
    if !answer.status.is_success() {
        return Err(advice::on(&answer));
    }
    let total = answer
        .headers
        .get("content-range")
        .and_then(|range| range.to_str().ok()?.rsplit_once('/')?.1.parse::<u64>().ok());
    // What is not sealed yet is sent as a whole.
    let from =
        if answer.status == StatusCode::PARTIAL_CONTENT { 0 } else { usize::try_from(offset).unwrap_or(usize::MAX) };
    let piece = answer.body.get(from.min(answer.body.len())..).unwrap_or_default();
    let piece = piece.get(..piece.len().min(usize::try_from(most).unwrap_or(usize::MAX))).unwrap_or_default();
    if piece.contains(&0) {
        return Err(
            "the file is no text\nNext: tell the person you work for to get it with kubectl jct trace download".into(),
        );
    }
    let end = offset + piece.len() as u64;
    let total = total.unwrap_or(answer.body.len() as u64);
    Ok(json!({
        "attempt": number,
        "path": arguments.text("path"),
        "text": String::from_utf8_lossy(piece),
        "offset": offset,
        "size_bytes": total,
        "is_whole": offset == 0 && end >= total && !answer.is_cut,
        "next_offset": (end < total || answer.is_cut).then_some(end),
    }))
}

pub(super) async fn log<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let parameters = [
        ("stream", Some(arguments.given("stream").unwrap_or_else(|| "trace".into()))),
        ("attempt", arguments.number("attempt").map(|number| number.to_string())),
        ("tail", Some(arguments.number("lines").unwrap_or(100).to_string())),
    ];
    let request = ApiRequest::list(call.client, &format!("/tasks/{}/log", arguments.text("task_id")), &parameters);
    let answer = call.answer(request).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    Ok(Value::String(if text.is_empty() { "(nothing is written yet)".into() } else { text }))
}

pub(super) async fn trace<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    call.get(format!("/trace/{}", encoded(arguments.text("trace_id")))).await
}

pub(super) async fn audit<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let names = ["entity_kind", "entity_id", "trace_id", "actor_kind", "actor_id", "action", "since", "until"];
    let mut parameters: Vec<(&str, Option<String>)> = names.iter().map(|name| (*name, arguments.given(name))).collect();
    parameters.push(("limit", Some(arguments.number("limit").unwrap_or(20).to_string())));
    Ok(json!({"entries": call.list("/audit", &parameters).await?}))
}

pub(super) async fn evidence<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let id = arguments.text("task_id");
    let task = call.get(format!("/tasks/{id}")).await?;
    let (number, attempt) = attempt(call, arguments).await?;
    let answer =
        call.asked(ApiRequest::get(call.client, format!("/tasks/{id}/trace/{number}/{PROVENANCE_FILE}"))).await?;
    let envelope = if answer.status.is_success() { answer.json() } else { Value::Null };
    let payload = envelope["payload"].as_str().and_then(|payload| STANDARD.decode(payload).ok());
    let statement: Value = payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default();
    let missing =
        statement.is_null().then(|| "there is no signed statement (yet): it follows the end of the attempt".to_owned());
    Ok(json!({
        "task_id": id,
        "status": task["status"],
        "result": task["result"],
        "error": task["error"],
        "acceptance_criteria": task["acceptance_criteria"],
        "evidence_requirements": task["evidence_requirements"],
        "attempt": attempt,
        "provenance": statement,
        "signed_by": envelope["signatures"],
        "note": missing,
        "next": "a signature is checked offline with `kubectl jct trace verify`; whether criteria are met a person decides",
    }))
}
