//! The commands that a Task's inputs name, read with all that is wrong with them. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use jct_untrusted::names::shorten;
use jct_untrusted::path::normalize;

/// The greatest number of commands in a list.
const MAX_COMMANDS: usize = 100;
/// The greatest number of arguments of one, and of its variables.
const MAX_ITEMS: usize = 1000;
/// The greatest length of a name, in characters.
const MAX_NAME_CHARS: usize = 80;
/// The greatest time that a command may be given, in seconds.
const MAX_TIMEOUT_SECONDS: u64 = 86_400;
/// How many findings are told at once.
const MAX_FINDINGS: usize = 10;
/// What a list looks like.
const FORM: &str = r#"[["make", "test"], {"name": "lint", "run": ["make", "lint"], "continueOnError": true}, {"shell": "sort a | uniq"}]"#;

/// A command to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// For people: as given, or the command itself, shortened.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Relative to the workspace; empty for the workspace itself.
    pub working_dir: String,
    /// Ended after so long; none for as long as the Task has.
    pub timeout_seconds: Option<u64>,
    /// Whether the next one is run although this one fails.
    pub continue_on_error: bool,
    /// Variables beside the usual ones.
    pub env: BTreeMap<String, String>,
    /// Where it stands, such as `inputs.commands[0]`.
    pub field: String,
}

/// The commands in `inputs.<name>`; none if there is no such input.
///
/// # Errors
/// What is wrong with them, each with its field, in a sentence.
pub fn commands(inputs: &Map<String, Value>, name: &str) -> anyhow::Result<Option<Vec<Command>>> {
    let field = format!("inputs.{name}");
    let list = match inputs.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => anyhow::bail!("{field}: must be a list of commands, such as {FORM}"),
    };
    if list.len() > MAX_COMMANDS {
        anyhow::bail!("{field}: {} commands are more than {MAX_COMMANDS}; put them into a script", list.len());
    }
    let mut findings = Findings::default();
    let commands: Vec<Command> = list
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| command(entry, &format!("{field}[{at}]"), &mut findings))
        .collect();
    findings.into_result()?;
    Ok(Some(commands))
}

/// As [`commands`], for an input that must be there and not be empty.
///
/// # Errors
/// As there, and when there is none.
pub fn required_commands(inputs: &Map<String, Value>, name: &str) -> anyhow::Result<Vec<Command>> {
    match commands(inputs, name)? {
        Some(commands) if !commands.is_empty() => Ok(commands),
        Some(_) => anyhow::bail!("inputs.{name} is empty: it must list what is to be run, such as {FORM}"),
        None => anyhow::bail!("inputs.{name} is missing: it must list what is to be run, such as {FORM}"),
    }
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, field: &str, problem: &str) {
        self.0.push(format!("{field}: {problem}"));
    }

    fn into_result(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let more = self.0.len().saturating_sub(MAX_FINDINGS);
        let mut text: Vec<String> = self.0.into_iter().take(MAX_FINDINGS).collect();
        if more > 0 {
            text.push(format!("and {more} more"));
        }
        anyhow::bail!("{}", text.join("; "))
    }
}

fn command(entry: &Value, field: &str, findings: &mut Findings) -> Option<Command> {
    match entry {
        Value::Array(list) => {
            let argv = argv(list, field, findings)?;
            Some(Command {
                name: shown(&argv.join(" ")),
                argv,
                working_dir: String::new(),
                timeout_seconds: None,
                continue_on_error: false,
                env: BTreeMap::new(),
                field: field.into(),
            })
        }
        Value::Object(object) => described(object, field, findings),
        Value::String(text) => {
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let (list, shell) = (serde_json::json!(words), serde_json::json!({ "shell": text }));
            findings.add(field, &format!("a text is not split into arguments: write {list}, or {shell}"));
            None
        }
        _ => {
            findings.add(field, "must be a list of arguments, or an object with `run` or `shell`");
            None
        }
    }
}

/// A command as an object.
fn described(object: &Map<String, Value>, field: &str, findings: &mut Findings) -> Option<Command> {
    let before = findings.0.len();
    let mut given: BTreeMap<&'static str, (&Value, String)> = BTreeMap::new();
    for (key, value) in object {
        let at = format!("{field}.{key}");
        let Some(known) = known_key(key) else {
            findings.add(
                &at,
                "no such field; there are run, shell, name, workingDir, timeoutSeconds, continueOnError and env",
            );
            continue;
        };
        if given.insert(known, (value, at.clone())).is_some() {
            findings.add(&at, "is given twice, in two spellings");
        }
    }
    let mut get = |key| given.remove(key).filter(|(value, _)| !value.is_null());
    let argv = match (get("run"), get("shell")) {
        (Some((Value::Array(list), at)), None) => argv(list, &at, findings),
        (Some((_, at)), None) => {
            findings.add(&at, "must be a list of arguments; a line for the shell goes into `shell`");
            None
        }
        (None, Some((value, at))) => {
            let line = text(value, &at, findings).filter(|line| !line.trim().is_empty());
            if line.is_none() && value.is_string() {
                findings.add(&at, "must be a line for the shell, without NUL");
            }
            line.map(|line| vec!["sh".into(), "-c".into(), line])
        }
        (Some(_), Some(_)) => {
            findings.add(field, "has both `run` and `shell`; one of them is to be run");
            None
        }
        (None, None) => {
            findings.add(field, "has neither `run` nor `shell`");
            None
        }
    };
    let name = get("name").and_then(|(value, at)| name(value, &at, findings));
    let working_dir = get("workingDir").and_then(|(value, at)| working_dir(value, &at, findings)).unwrap_or_default();
    let timeout_seconds = get("timeoutSeconds").and_then(|(value, at)| timeout(value, &at, findings));
    let continue_on_error = get("continueOnError").is_some_and(|(value, at)| flag(value, &at, findings));
    let env = get("env").map(|(value, at)| env(value, &at, findings)).unwrap_or_default();
    let argv = argv.filter(|_| findings.0.len() == before)?;
    let name = name.unwrap_or_else(|| match argv.as_slice() {
        [sh, c, line] if sh == "sh" && c == "-c" => shown(line.trim().lines().next().unwrap_or_default()),
        argv => shown(&argv.join(" ")),
    });
    Some(Command { name, argv, working_dir, timeout_seconds, continue_on_error, env, field: field.into() })
}

fn known_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "run" => "run",
        "shell" => "shell",
        "name" => "name",
        "workingDir" | "working_dir" => "workingDir",
        "timeoutSeconds" | "timeout_seconds" => "timeoutSeconds",
        "continueOnError" | "continue_on_error" => "continueOnError",
        "env" => "env",
        _ => return None,
    })
}

fn argv(list: &[Value], field: &str, findings: &mut Findings) -> Option<Vec<String>> {
    if list.is_empty() || list.len() > MAX_ITEMS {
        findings.add(field, &format!("must have 1 to {MAX_ITEMS} arguments, the first of which is the program"));
        return None;
    }
    let argv: Vec<String> = list
        .iter()
        .enumerate()
        .filter_map(|(at, argument)| text(argument, &format!("{field}[{at}]"), findings))
        .collect();
    if argv.len() < list.len() {
        return None;
    }
    if argv.first().is_some_and(|program| program.trim().is_empty()) {
        findings.add(&format!("{field}[0]"), "must be a program");
        return None;
    }
    Some(argv)
}

/// A text without NUL: no argument or variable can hold one.
fn text(value: &Value, field: &str, findings: &mut Findings) -> Option<String> {
    match value {
        Value::String(text) if !text.contains('\0') => Some(text.clone()),
        Value::String(_) => {
            findings.add(field, "must not hold NUL");
            None
        }
        Value::Number(_) | Value::Bool(_) => {
            findings.add(field, &format!("must be a text: write \"{value}\""));
            None
        }
        _ => {
            findings.add(field, "must be a text");
            None
        }
    }
}

fn name(value: &Value, field: &str, findings: &mut Findings) -> Option<String> {
    let name = text(value, field, findings)?;
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        findings.add(field, &format!("must have 1 to {MAX_NAME_CHARS} characters, all on one line"));
        return None;
    }
    Some(name.trim().into())
}

fn working_dir(value: &Value, field: &str, findings: &mut Findings) -> Option<String> {
    let path = text(value, field, findings)?;
    let normal = normalize(&path);
    if normal.is_err() {
        findings.add(field, "must be relative to the workspace, and within it");
    }
    normal.ok()
}

fn timeout(value: &Value, field: &str, findings: &mut Findings) -> Option<u64> {
    let seconds = value.as_u64().filter(|seconds| (1..=MAX_TIMEOUT_SECONDS).contains(seconds));
    if seconds.is_none() {
        findings.add(field, &format!("must be a whole number of seconds, 1 to {MAX_TIMEOUT_SECONDS}"));
    }
    seconds
}

fn flag(value: &Value, field: &str, findings: &mut Findings) -> bool {
    if !value.is_boolean() {
        findings.add(field, "must be true or false");
    }
    value == &Value::Bool(true)
}

fn env(value: &Value, field: &str, findings: &mut Findings) -> BTreeMap<String, String> {
    let Value::Object(object) = value else {
        findings.add(field, "must be an object of names and texts");
        return BTreeMap::new();
    };
    if object.len() > MAX_ITEMS {
        findings.add(field, &format!("must not have more than {MAX_ITEMS} variables"));
        return BTreeMap::new();
    }
    let mut env = BTreeMap::new();
    for (name, value) in object {
        let at = format!("{field}.{name}");
        let plain = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        if !plain || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            findings.add(&at, "a variable's name has letters, digits and underscores, and begins with no digit");
            continue;
        }
        env.extend(text(value, &at, findings).map(|value| (name.clone(), value)));
    }
    env
}

/// A command as a name: one short line.
fn shown(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten(line.trim(), MAX_NAME_CHARS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(list: Value) -> anyhow::Result<Vec<Command>> {
        let Value::Object(inputs) = json!({ "commands": list }) else { unreachable!() };
        required_commands(&inputs, "commands")
    }

    #[test]
    fn every_form_is_read() {
        let commands = read(json!([
            ["make", "test"],
            {"run": ["a", "b c"], "name": "tidy", "workingDir": "./sub//x", "timeoutSeconds": 5, "continueOnError": true, "env": {"A_1": "x"}},
            {"shell": "  a | b\nc", "working_dir": "", "timeout_seconds": 86400, "continue_on_error": false, "name": null},
        ]))
        .unwrap();
        assert_eq!(commands[0].name, "make test");
        assert_eq!(commands[0].argv, ["make", "test"]);
        let tidy = &commands[1];
        assert_eq!((tidy.name.as_str(), tidy.working_dir.as_str(), tidy.timeout_seconds), ("tidy", "sub/x", Some(5)));
        assert!(tidy.continue_on_error && tidy.env["A_1"] == "x");
        assert_eq!(commands[2].argv, ["sh", "-c", "  a | b\nc"]);
        assert_eq!((commands[2].name.as_str(), commands[2].field.as_str()), ("a | b", "inputs.commands[2]"));
    }

    #[rstest]
    #[case(json!([]), "inputs.commands is empty")]
    #[case(json!("make"), "inputs.commands: must be a list")]
    #[case(json!(["make test"]), r#"inputs.commands[0]: a text is not split into arguments: write ["make","test"], or {"shell":"make test"}"#)]
    #[case(json!([[]]), "inputs.commands[0]: must have 1 to")]
    #[case(json!([["a"], ["head", 5]]), r#"inputs.commands[1][1]: must be a text: write "5""#)]
    #[case(json!([[" "]]), "inputs.commands[0][0]: must be a program")]
    #[case(json!([["a\0"]]), "inputs.commands[0][0]: must not hold NUL")]
    #[case(json!([{}]), "inputs.commands[0]: has neither")]
    #[case(json!([{"run": ["a"], "shell": "a"}]), "inputs.commands[0]: has both")]
    #[case(json!([{"run": "a b"}]), "inputs.commands[0].run: must be a list")]
    #[case(json!([{"run": [{}]}]), "inputs.commands[0].run[0]: must be a text")]
    #[case(json!([{"shell": " "}]), "inputs.commands[0].shell: must be a line")]
    #[case(json!([{"shell": ["a"]}]), "inputs.commands[0].shell: must be a text")]
    #[case(json!([{"run": ["a"], "timeout": 5}]), "inputs.commands[0].timeout: no such field")]
    #[case(json!([{"run": ["a"], "timeoutSeconds": 0}]), "inputs.commands[0].timeoutSeconds: must be a whole number")]
    #[case(json!([{"run": ["a"], "timeoutSeconds": 5, "timeout_seconds": 5}]), "given twice")]
    #[case(json!([{"run": ["a"], "workingDir": "/etc"}]), "inputs.commands[0].workingDir: must be relative")]
    #[case(json!([{"run": ["a"], "workingDir": "a/../.."}]), "inputs.commands[0].workingDir: must be relative")]
    #[case(json!([{"run": ["a"], "continueOnError": "yes"}]), "inputs.commands[0].continueOnError: must be true or false")]
    #[case(json!([{"run": ["a"], "env": {"A=B": "x"}}]), "inputs.commands[0].env.A=B: a variable's name")]
    #[case(json!([{"run": ["a"], "env": {"A": 1}}]), r#"inputs.commands[0].env.A: must be a text: write "1""#)]
    #[case(json!([{"run": ["a"], "name": "a\nb"}]), "inputs.commands[0].name: must have")]
    fn what_is_wrong_is_named_with_its_field(#[case] list: Value, #[case] expected: &str) {
        let message = read(list).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn all_findings_are_told_at_once() {
        let message = read(json!([["a", 1], {"run": ["a"], "name": 2}])).unwrap_err().to_string();
        assert!(message.contains("[0][1]: ") && message.contains("[1].name: "), "{message}");
        let many = read(Value::Array(vec![json!(1); 100])).unwrap_err().to_string();
        assert!(many.ends_with("and 90 more"), "{many}");
        assert!(read(Value::Array(vec![json!(["a"]); 101])).is_err());
    }

    #[test]
    fn a_missing_list_is_none_or_an_error() {
        assert_eq!(commands(&Map::new(), "verify").unwrap(), None);
        assert!(required_commands(&Map::new(), "commands").unwrap_err().to_string().contains("[[\"make\", \"test\"]"));
    }

    proptest! {
        #[test]
        fn names_are_one_short_line(line in any::<String>()) {
            if let Ok(commands) = read(json!([{ "shell": line }])) {
                let name = &commands[0].name;
                prop_assert!(name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(char::is_control));
            }
        }
    }
}
