//! The arguments of a call, held against what the tool takes.

use serde_json::{Map, Value};

/// Arguments that the tool takes, each of the type that it has there.
pub(super) struct Arguments(Map<String, Value>);

impl Arguments {
    /// `given`, if a tool with these properties takes it. What a value may be besides its type, the API says.
    pub(super) fn read(given: Map<String, Value>, properties: &Value, required: &[&str]) -> Result<Self, String> {
        let known = |name: &str| properties.get(name);
        for (name, value) in &given {
            let Some(property) = known(name) else {
                let names: Vec<&str> =
                    properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                return Err(format!("{name}: there is no such argument; there are {}", names.join(", ")));
            };
            check(name, value, property)?;
        }
        match required.iter().find(|name| !given.contains_key(**name)) {
            Some(missing) => Err(format!("{missing}: is required")),
            None => Ok(Self(given)),
        }
    }

    /// A text; empty if it is not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A text, if it is given.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// A value as it is, if it is given.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

fn check(name: &str, value: &Value, property: &Value) -> Result<(), String> {
    if let Some(choice) = property["enum"].as_array() {
        let names: Vec<&str> = choice.iter().filter_map(Value::as_str).collect();
        return if choice.contains(value) {
            Ok(())
        } else {
            Err(format!("{name}: must be one of {}", names.join(", ")))
        };
    }
    let is_so = match property["type"].as_str() {
        Some("string") => value.as_str().is_some_and(|text| !text.is_empty()),
        Some("integer") => value.as_u64().is_some(),
        Some("array") => value.as_array().is_some_and(|entries| entries.iter().all(Value::is_string)),
        Some("object") => value.is_object(),
        _ => true,
    };
    let kind = property["type"].as_str().unwrap_or("something else");
    if !is_so {
        let kind = if kind == "array" { "array of strings" } else { kind };
        return Err(format!("{name}: must be a {kind}, and not empty")
            .replace("a array", "an array")
            .replace("a integer", "a whole number")
            .replace("a object", "an object"));
    }
    if let Some(number) = value.as_u64() {
        let (least, most) =
            (property["minimum"].as_u64().unwrap_or(0), property["maximum"].as_u64().unwrap_or(u64::MAX));
        if !(least..=most).contains(&number) {
            return Err(format!("{name}: must be from {least} to {most}, is {number}"));
        }
    }
    if property["pattern"].is_string() && value.as_str().is_none_or(|text| text.parse::<jct_domain::Id>().is_err()) {
        return Err(format!("{name}: must be the id of a Task, 26 upper-case letters and digits"));
    }
    Ok(())
}
