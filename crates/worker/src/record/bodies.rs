//! Bodies of requests and answers, where the configuration has them recorded: taken into the trace without the secrets in them.
//!
//! The relay leaves them as they went by. A request is JSON: each of its texts is looked at by itself, for in JSON a private key is one
//! line. Of a stream each event is looked at likewise: what a model says of a secret piece by piece is not seen.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::work::Work;
use jct_domain::model::record::Exchange;
use jct_domain::trace::MODEL_BODIES_FILE;
use jct_untrusted::files::{create_anew, open_regular};
use jct_untrusted::redact::Rules;

/// Takes the bodies of these exchanges; how many exchanges have one. What cannot be understood is left out.
///
/// # Errors
/// If the trace can't be written.
pub fn take(work: &Work, trace_dir: &std::path::Path, exchanges: &[Exchange], rules: &Arc<Rules>) -> io::Result<usize> {
    let Ok(file) = open_regular(&work.model_bodies()) else { return Ok(0) };
    let numbers: HashMap<&str, u64> = exchanges.iter().map(|exchange| (exchange.id.as_str(), exchange.seq)).collect();
    let mut to = BufWriter::new(create_anew(&trace_dir.join(MODEL_BODIES_FILE))?);
    let mut taken = 0;
    for line in BufReader::new(file).lines() {
        let Ok(Value::Object(mut kept)) = serde_json::from_str(&line?) else { continue };
        let seq = kept.get("id").and_then(Value::as_str).and_then(|id| numbers.get(id));
        let Some(seq) = seq.copied() else { continue };
        for part in ["request", "response"] {
            let redacted = redacted(kept.get(part).and_then(Value::as_str).unwrap_or_default(), rules);
            kept.insert(part.into(), redacted.into());
        }
        let mut told = Map::from_iter([("seq".to_owned(), json!(seq))]);
        told.append(&mut kept);
        writeln!(to, "{}", Value::Object(told))?;
        taken += 1;
    }
    to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(taken)
}

/// A body without secrets: JSON, a stream of events with JSON, or whatever text it is.
fn redacted(body: &str, rules: &Arc<Rules>) -> String {
    if let Ok(value) = serde_json::from_str(body) {
        return within(value, rules).to_string();
    }
    let event = |line: &str| match line.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok()) {
        Some(value) => format!("data: {}", within(value, rules)),
        None => rules.redact(line),
    };
    if body.lines().any(|line| line.starts_with("data: ")) {
        return body.lines().map(event).collect::<Vec<_>>().join("\n");
    }
    rules.redact(body)
}

fn within(value: Value, rules: &Arc<Rules>) -> Value {
    match value {
        Value::String(text) => rules.redact(&text).into(),
        Value::Array(values) => values.into_iter().map(|value| within(value, rules)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (rules.redact(&name), within(value, rules)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----";

    #[test]
    fn secrets_are_found_in_json_in_events_and_in_text() {
        let rules = Arc::new(Rules::compile(&["corp-[0-9]{8}".to_owned()]));
        let request =
            json!({"model": "m", "messages": [{"role": "user", "content": format!("it is corp-12345678\n{KEY}")}]});
        let got = redacted(&request.to_string(), &rules);
        assert!(!got.contains("corp-1") && !got.contains("MIIE") && got.contains("it is "), "{got}");
        assert!(serde_json::from_str::<Value>(&got).is_ok(), "{got}");
        let stream = "event: x\ndata: {\"delta\":{\"text\":\"say corp-12345678\"}}\n\ndata: [DONE]\n";
        let got = redacted(stream, &rules);
        assert!(!got.contains("corp-1") && got.contains("say ") && got.contains("data: [DONE]"), "{got}");
        assert!(!redacted("corp-12345678", &rules).contains("corp-1"));
        assert_eq!(redacted("{\"a\":[1,\"plain\"]}", &rules), "{\"a\":[1,\"plain\"]}", "the control");
    }
}
