//! The one function that reads a Task specification, whoever wrote it.
//!
//! Total: any JSON gives a draft and all findings. Aliases and defaults are resolved here and nowhere else.

use serde_json::{Map, Value};

use super::{
    Controls, DEFAULT_TIME_BUDGET_SECONDS, Draft, MAX_ATTEMPTS, MAX_INPUTS_BYTES, MAX_METADATA_BYTES, MAX_REF_CHARS,
    Repo, RequestedBy, Rest, VERSION, git_ref,
};
use crate::{ActorKind, Code, Finding, Naming, json};

/// Reads `spec`. An empty list of findings means that the schema is kept; the policy has not been asked yet.
pub fn read(spec: &Value, naming: Naming) -> (Draft, Vec<Finding>) {
    let mut reader = Reader { naming, findings: Vec::new() };
    let draft = reader.draft(spec);
    (draft, reader.findings)
}

/// The greatest length of `operation`: none of them is as long.
const MAX_OPERATION_CHARS: usize = 64;
/// The greatest length of `target.repo` as it is written.
const MAX_REPO_CHARS: usize = 300;
/// The greatest length of `objective` as it is written.
const MAX_OBJECTIVE_CHARS_WITH_BLANKS: usize = 8000;

/// What an alias holds.
#[derive(Clone, Copy)]
enum Alias {
    /// A text of at most so many characters.
    Text(usize),
    Object,
}

struct Reader {
    naming: Naming,
    findings: Vec<Finding>,
}

/// An object being read: its fields, its path, and which fields somebody asked for.
struct Fields<'a> {
    path: String,
    map: Option<&'a Map<String, Value>>,
    known: Vec<String>,
}

impl<'a> Fields<'a> {
    /// The value of `name`; null counts as absent, as it does for the API server.
    fn take(&mut self, name: String) -> Option<&'a Value> {
        let value = self.map.and_then(|map| map.get(&name)).filter(|value| !value.is_null());
        self.known.push(name);
        value
    }

    /// Whether the object is there and this field of it is not.
    fn lacks(&self, name: &str) -> bool {
        self.map.is_some_and(|map| map.get(name).is_none_or(Value::is_null))
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }
}

impl Reader {
    fn draft(&mut self, spec: &Value) -> Draft {
        if let Some(field) = json::crowded(spec) {
            let root = self.naming.root();
            let path = if root.is_empty() { field.into() } else { format!("{root}.{field}") };
            self.invalid(path, json::TOO_MANY_VALUES.into());
        }
        if json::depth(spec) > json::MAX_DEPTH {
            self.invalid(self.naming.path(""), json::TOO_DEEP.into());
        }
        let mut fields = self.fields(Some(spec), self.naming.root().into());
        if let Some(version) = self.text(&mut fields, "version", 1..=16)
            && version != VERSION
        {
            self.invalid(fields.path_of("version"), format!("must be \"{VERSION}\", the only version there is"));
        }
        let idempotency_key = self.text(&mut fields, "idempotency_key", 1..=256);
        let requested_by = self.requested_by(&mut fields);
        let objective = self.objective(&mut fields);
        let operation = self.aliased(&mut fields, "operation", "type", Alias::Text(MAX_OPERATION_CHARS));
        let operation = self.required_text(&fields, "operation", operation);
        let (repo, git_ref, path) = self.target(&mut fields);
        let (time_budget_seconds, allow_network, allow_secrets) = self.constraints(&mut fields);
        let inputs = self.aliased(&mut fields, "inputs", "payload", Alias::Object);
        let inputs = self.free_form(inputs, MAX_INPUTS_BYTES);
        let metadata = (fields.path_of("metadata"), fields.take("metadata".into()));
        let metadata = self.free_form(metadata, MAX_METADATA_BYTES);
        let acceptance_criteria = self.texts(&mut fields, "acceptance_criteria");
        let evidence_requirements = self.texts(&mut fields, "evidence_requirements");
        let controls = self.controls(&mut fields);
        self.unknown(&fields);
        Draft {
            operation,
            repo,
            time_budget_seconds,
            allow_network,
            allow_secrets,
            controls,
            rest: Rest {
                idempotency_key,
                requested_by,
                objective,
                git_ref,
                path,
                inputs,
                metadata,
                acceptance_criteria,
                evidence_requirements,
            },
        }
    }

    fn requested_by(&mut self, parent: &mut Fields) -> Option<RequestedBy> {
        let mut fields = self.required_object(parent, "requested_by");
        let path = fields.path_of("kind");
        let kind = (path.clone(), fields.take("kind".into()));
        let kind = self.required_text(&fields, "kind", kind);
        let kind = kind.and_then(|name| {
            let kind = ActorKind::parse(&name);
            if kind.is_none() {
                self.invalid(path, "must be one of human, agent, system".into());
            }
            kind
        });
        let id = self.text(&mut fields, "id", 1..=128);
        if fields.lacks("id") {
            self.invalid(fields.path_of("id"), "is required".into());
        }
        let label = self.text(&mut fields, "label", 1..=256);
        self.unknown(&fields);
        Some(RequestedBy { kind: kind?, id: id?, label })
    }

    fn objective(&mut self, parent: &mut Fields) -> String {
        let path = parent.path_of("objective");
        let value = (path.clone(), parent.take("objective".into()));
        let Some(text) = self.required_text(parent, "objective", value) else { return String::new() };
        self.is_no_longer(&text, MAX_OBJECTIVE_CHARS_WITH_BLANKS, &path);
        let text = text.trim();
        if !(5..=4000).contains(&text.chars().count()) {
            self.invalid(path.clone(), "must be 5 to 4000 characters, leading and trailing blanks not counted".into());
        }
        if text.contains('\0') {
            self.invalid(path, "must not contain the character NUL".into());
        }
        text.into()
    }

    fn target(&mut self, parent: &mut Fields) -> (Option<Repo>, String, String) {
        let mut fields = self.required_object(parent, "target");
        let repo = self.aliased(&mut fields, "repo", "repository", Alias::Text(MAX_REPO_CHARS));
        let path = repo.0.clone();
        let repo =
            self.required_text(&fields, "repo", repo).filter(|text| self.is_no_longer(text, MAX_REPO_CHARS, &path));
        let repo = repo.and_then(|text| match Repo::parse(&text) {
            Ok(repo) => Some(repo),
            Err(problem) => {
                self.invalid(path, problem.to_string());
                None
            }
        });
        let git_ref = self.text(&mut fields, "ref", 0..=MAX_REF_CHARS).filter(|name| !name.is_empty());
        if let Some(problem) = git_ref.as_deref().and_then(git_ref::problem) {
            self.invalid(fields.path_of("ref"), format!("{problem}; give a branch, a tag or a commit id"));
        }
        let path = self.text(&mut fields, "path", 0..=512).unwrap_or_default();
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            self.invalid(fields.path_of("path"), "must be relative to the repository's root, without '..'".into());
        }
        if path.chars().any(char::is_control) {
            self.invalid(fields.path_of("path"), "must not contain control characters".into());
        }
        self.unknown(&fields);
        (repo, git_ref.unwrap_or_else(|| "main".into()), path)
    }

    fn constraints(&mut self, parent: &mut Fields) -> (i64, bool, bool) {
        let mut fields = self.object(parent, "constraints");
        let budget = self.integer(&mut fields, "time_budget_seconds");
        let allow_network = self.flag(&mut fields, "allow_network", false);
        let allow_secrets = self.flag(&mut fields, "allow_secrets", false);
        self.unknown(&fields);
        (budget.unwrap_or(i64::from(DEFAULT_TIME_BUDGET_SECONDS)), allow_network, allow_secrets)
    }

    fn controls(&mut self, fields: &mut Fields) -> Controls {
        let max_attempts = self.bounded(fields, "max_attempts", 1, i64::from(MAX_ATTEMPTS));
        let ttl = self.bounded(fields, "ttl_seconds_after_finished", 0, i64::from(i32::MAX));
        let executor = self.text(fields, "executor", 1..=63);
        if executor.as_deref().is_some_and(|name| !is_label(name)) {
            let path = fields.path_of("executor");
            self.invalid(
                path,
                "must be lower-case letters, digits and '-', beginning and ending with a letter or digit".into(),
            );
        }
        let suspend = self.flag(fields, "suspend", false);
        // Over REST one is a call of its own, the other a parameter.
        let (cancel, create_cwom) = match self.naming {
            Naming::Rest => (false, true),
            Naming::CustomResource => (self.flag(fields, "cancel", false), self.flag(fields, "create_cwom", true)),
        };
        Controls {
            suspend,
            cancel,
            create_cwom,
            executor,
            max_attempts: max_attempts.unwrap_or(1),
            ttl_seconds_after_finished: ttl,
        }
    }

    // The helpers below each read one kind of value and note what is wrong with it.

    fn invalid(&mut self, path: String, message: String) {
        self.findings.push(Finding::new(Code::InvalidSpec, path, message));
    }

    fn name(&self, canonical: &str) -> String {
        self.naming.name(canonical)
    }

    fn fields<'a>(&mut self, value: Option<&'a Value>, path: String) -> Fields<'a> {
        let map = value.and_then(Value::as_object);
        if map.is_none() && value.is_some() {
            let path = if path.is_empty() { "body".into() } else { path.clone() };
            self.invalid(path, "must be an object".into());
        }
        Fields { path, map, known: Vec::new() }
    }

    fn object<'a>(&mut self, parent: &mut Fields<'a>, canonical: &str) -> Fields<'a> {
        let name = self.name(canonical);
        let path = parent.path_of(&name);
        let value = parent.take(name);
        self.fields(value, path)
    }

    fn required_object<'a>(&mut self, parent: &mut Fields<'a>, canonical: &str) -> Fields<'a> {
        let fields = self.object(parent, canonical);
        let name = self.name(canonical);
        if parent.lacks(&name) {
            self.invalid(fields.path.clone(), "is required".into());
        }
        fields
    }

    /// The canonical field if it is there, else the alias. An alias beside it says nothing, and must be well-formed all the same.
    fn aliased<'a>(
        &mut self,
        fields: &mut Fields<'a>,
        canonical: &str,
        alias: &str,
        holds: Alias,
    ) -> (String, Option<&'a Value>) {
        let canonical = self.name(canonical);
        let by_alias = fields.take(alias.into());
        let path = fields.path_of(alias);
        match (fields.take(canonical.clone()), by_alias) {
            (None, Some(_)) => (path, by_alias),
            (value, None) => (fields.path_of(&canonical), value),
            (value, Some(other)) => {
                match (holds, other) {
                    (Alias::Text(most), Value::String(text)) => drop(self.is_no_longer(text, most, &path)),
                    (Alias::Text(_), _) => self.invalid(path, "must be a string".into()),
                    (Alias::Object, Value::Object(_)) => {}
                    (Alias::Object, _) => self.invalid(path, "must be an object".into()),
                }
                (fields.path_of(&canonical), value)
            }
        }
    }

    /// Whether the text has at most so many characters, blanks counted; else that is noted.
    fn is_no_longer(&mut self, text: &str, most: usize, path: &str) -> bool {
        let fits = text.chars().count() <= most;
        if !fits {
            self.invalid(path.into(), format!("must be at most {most} characters, blanks counted"));
        }
        fits
    }

    /// Says nothing of a missing field where the whole object is missing: that has been said.
    fn required_text(&mut self, fields: &Fields, canonical: &str, found: (String, Option<&Value>)) -> Option<String> {
        match found {
            (_, Some(Value::String(text))) => return Some(text.clone()),
            (path, Some(_)) => self.invalid(path, "must be a string".into()),
            (_, None) if fields.map.is_some() => self.invalid(fields.path_of(canonical), "is required".into()),
            (_, None) => {}
        }
        None
    }

    fn text(&mut self, fields: &mut Fields, canonical: &str, chars: std::ops::RangeInclusive<usize>) -> Option<String> {
        let name = self.name(canonical);
        let path = fields.path_of(&name);
        let value = fields.take(name)?;
        let Some(text) = value.as_str() else {
            self.invalid(path, "must be a string".into());
            return None;
        };
        if !chars.contains(&text.chars().count()) {
            self.invalid(path.clone(), format!("must be {} to {} characters", chars.start(), chars.end()));
        }
        if text.contains('\0') {
            self.invalid(path, "must not contain the character NUL".into());
        }
        Some(text.into())
    }

    fn texts(&mut self, fields: &mut Fields, canonical: &str) -> Vec<String> {
        let name = self.name(canonical);
        let path = fields.path_of(&name);
        let Some(value) = fields.take(name) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.invalid(path, "must be a list of strings".into());
            return Vec::new();
        };
        if items.len() > 50 {
            self.invalid(path.clone(), "must have at most 50 entries".into());
        }
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate().take(50) {
            match item.as_str() {
                Some(text) if text.chars().count() <= 1000 && !text.contains('\0') => texts.push(text.into()),
                Some(_) => {
                    self.invalid(format!("{path}[{index}]"), "must be at most 1000 characters, without NUL".into())
                }
                None => self.invalid(format!("{path}[{index}]"), "must be a string".into()),
            }
        }
        texts
    }

    fn flag(&mut self, fields: &mut Fields, canonical: &str, default: bool) -> bool {
        let name = self.name(canonical);
        let path = fields.path_of(&name);
        match fields.take(name) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.invalid(path, "must be true or false".into());
                default
            }
        }
    }

    /// A whole number, also if it is written as `60.0`; one that does not fit 64 bits is clamped, so that a limit can still refuse
    /// it by its own code.
    fn integer(&mut self, fields: &mut Fields, canonical: &str) -> Option<i64> {
        let name = self.name(canonical);
        let path = fields.path_of(&name);
        let value = fields.take(name)?;
        if let Some(number) = value.as_i64() {
            return Some(number);
        }
        match value.as_f64() {
            Some(number) if number.abs() >= 9e15 => Some(if number > 0.0 { i64::MAX } else { i64::MIN }),
            #[allow(clippy::cast_possible_truncation)]
            Some(number) if number.fract() == 0.0 => Some(number as i64),
            _ => {
                self.invalid(path, "must be a whole number".into());
                None
            }
        }
    }

    fn bounded(&mut self, fields: &mut Fields, canonical: &str, least: i64, greatest: i64) -> Option<u32> {
        let number = self.integer(fields, canonical)?;
        if !(least..=greatest).contains(&number) {
            let path = fields.path_of(&self.name(canonical));
            self.invalid(path, format!("must be {least} to {greatest}"));
            return None;
        }
        u32::try_from(number).ok()
    }

    fn free_form(&mut self, (path, value): (String, Option<&Value>), max_bytes: usize) -> Map<String, Value> {
        match value {
            None => Map::new(),
            Some(Value::Object(map)) => {
                let size = serde_json::to_vec(map).map_or(usize::MAX, |json| json.len());
                if size > max_bytes {
                    let kib = max_bytes / 1024;
                    self.invalid(path, format!("must be at most {kib} KiB of JSON, is {} KiB", size.div_ceil(1024)));
                    return Map::new();
                }
                map.clone()
            }
            Some(_) => {
                self.invalid(path, "must be an object".into());
                Map::new()
            }
        }
    }

    fn unknown(&mut self, fields: &Fields) {
        for name in fields.map.into_iter().flat_map(Map::keys).filter(|name| !fields.known.contains(name)) {
            let mut known = fields.known.clone();
            known.sort_unstable();
            let shown: String = name.chars().take(64).collect();
            self.invalid(fields.path_of(&shown), format!("is not a field; the fields here are {}", known.join(", ")));
        }
    }
}

/// Whether `name` is an RFC 1123 label (the length is checked elsewhere).
/// Whether `name` is of lower-case letters, digits and inner dashes, and not empty; how long it may be is the caller's to say.
pub fn is_label(name: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && ends(name.bytes().next())
        && ends(name.bytes().next_back())
}
