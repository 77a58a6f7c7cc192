//! Odd manifests, and what becomes of each: `tests/commands/check.rs` holds `jct check` against it, `tests/e2e/offline_gate.rs` kubectl and a
//! real API server, with and without JCT's webhooks.

use Verdict::{Accepted, Refused};

/// What becomes of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
}

/// A manifest that somebody could write.
#[derive(Clone, Debug)]
pub struct Odd {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What `kubectl create` gets for an answer.
    pub cluster: Verdict,
    /// The same while JCT's webhooks are not there. What is let through then is refused by the controller, or runs.
    pub without_webhooks: Verdict,
    /// What `jct check` says.
    pub check: Verdict,
    /// Why `jct check` can't agree with the cluster, or is not to.
    pub differs: Option<&'static str>,
}

const HEAD: &str = "apiVersion: jct.dev/v1\nkind: Task\nmetadata:\n  name: odd\n";
const SPEC: &str = "spec:\n  requestedBy: {kind: human, id: ada}\n  objective: Look around\n  operation: analysis\n  \
                    target: {repo: demo/hello}\n";

/// The ordinary Task.
pub fn task() -> String {
    format!("{HEAD}{SPEC}")
}

/// With another line in its spec; one that is there is replaced.
fn spec(line: &str) -> String {
    let field = line.split(':').next().unwrap_or_default();
    let kept: String = SPEC.split_inclusive('\n').filter(|old| old.trim().split(':').next() != Some(field)).collect();
    format!("{HEAD}{kept}  {line}\n")
}

/// With other metadata.
fn metadata(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: jct.dev/v1\nkind: Task\nmetadata:\n{lines}{SPEC}")
}

fn json() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "odd"},
        "spec": {"requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "analysis",
                 "target": {"repo": "demo/hello"}},
    })
}

/// JSON with more in its spec.
fn json_with(more: &str) -> String {
    let text = json().to_string();
    format!("{},{more}}}}}", text.strip_suffix("}}").unwrap_or_default())
}

fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

#[derive(Default)]
struct Corpus(Vec<Odd>);

impl Corpus {
    fn add(&mut self, name: &str, bytes: impl Into<Vec<u8>>, verdict: Verdict) -> &mut Odd {
        let (name, bytes) = (name.to_owned(), bytes.into());
        assert!(self.0.iter().all(|odd| odd.name != name), "{name} is there twice");
        self.0.push(Odd { name, bytes, cluster: verdict, without_webhooks: verdict, check: verdict, differs: None });
        self.0.last_mut().unwrap()
    }

    fn good(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Odd {
        self.add(name, bytes, Accepted)
    }

    fn bad(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Odd {
        self.add(name, bytes, Refused)
    }

    /// Refused by the policy, which the schema doesn't know.
    fn policy(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.bad(name, bytes).without_webhooks = Accepted;
    }

    /// Accepted by the cluster, and not by `jct check`, for a reason.
    fn stricter(&mut self, name: &str, bytes: impl Into<Vec<u8>>, why: &'static str) {
        let odd = self.good(name, bytes);
        odd.check = Refused;
        odd.differs = Some(why);
    }

    /// Refused by the cluster, and not by `jct check`, for a reason.
    fn laxer(&mut self, name: &str, bytes: impl Into<Vec<u8>>, why: &'static str) {
        let odd = self.bad(name, bytes);
        odd.check = Accepted;
        odd.differs = Some(why);
    }
}

/// All of them.
pub fn corpus() -> Vec<Odd> {
    let mut corpus = Corpus::default();
    scalars(&mut corpus);
    structure(&mut corpus);
    documents(&mut corpus);
    json_forms(&mut corpus);
    object(&mut corpus);
    names_and_labels(&mut corpus);
    fields(&mut corpus);
    sizes(&mut corpus);
    work_objects(&mut corpus);
    corpus.0
}

fn scalars(c: &mut Corpus) {
    c.good("plain", task());
    for word in ["yes", "Yes", "YES", "y", "on", "On", "true", "True", "TRUE", "no", "off", "N", "!!bool yes"] {
        c.good(&format!("suspend {word}"), spec(&format!("suspend: {word}")));
    }
    for word in ["'yes'", "\"true\"", "yEs", "1", "tRUE", "!!str yes", "! yes!", "oN"] {
        c.bad(&format!("suspend {word}"), spec(&format!("suspend: {word}")));
    }
    for word in ["on", "yes", "Y", "TRUE"] {
        c.bad(&format!("network {word}"), spec(&format!("constraints: {{allowNetwork: {word}}}")));
    }
    for word in ["off", "n", "No", "~", "null", "NULL", "Null", ""] {
        c.good(&format!("network {word}"), spec(&format!("constraints: {{allowNetwork: {word}}}")));
    }
    for number in [
        "60",
        "60.0",
        "6e1",
        "6.0E+1",
        "0x3C",
        "0X3c",
        "074",
        "0o74",
        "0b111100",
        "+60",
        "86_400",
        "8_64_00",
        "60.",
        "!!float 60",
        "!!int 60",
        "!!int '60'",
        "3600.00",
    ] {
        c.good(&format!("budget {number}"), spec(&format!("constraints: {{timeBudgetSeconds: {number}}}")));
    }
    for number in [
        "60.5",
        "'60'",
        "0o8",
        "09",
        "1_",
        "1:30",
        "60s",
        ".inf",
        "-.INF",
        ".nan",
        "1e400",
        "10e29",
        "-60",
        "!!int 60.5",
        "!!str 60",
        "0x",
        "9223372036854775808",
        "18446744073709551616",
        "-0x3C",
        "29",
        "86401",
    ] {
        c.bad(&format!("budget {number}"), spec(&format!("constraints: {{timeBudgetSeconds: {number}}}")));
    }
    for word in ["no", "on", "123", "1.0", "0x1F", "~", "1e3", "010", ".5", "!!int 5", "n"] {
        c.bad(&format!("id {word}"), spec(&format!("requestedBy: {{kind: human, id: {word}}}")));
    }
    for word in [
        "nO",
        "'no'",
        "1_a",
        "2026-03-01",
        "2026-03-01T12:00:00Z",
        "12:30:45",
        "1.2.3",
        "1e",
        "0xg",
        "+",
        "-.",
        ".",
        "..",
        "<<",
        "=",
        "_1",
        "1e999",
        "!!str 5",
        "!!binary YWRh",
        "!custom 5",
        "!!timestamp 2026-03-01",
        "@ada",
        "0b2",
        "1__e",
    ] {
        let odd = c.good(&format!("id {word}"), spec(&format!("requestedBy:\n    kind: human\n    id: {word}")));
        if word == "@ada" {
            (odd.cluster, odd.without_webhooks, odd.check) = (Refused, Refused, Refused);
        }
    }
    for word in ["010", "main", "'010'", "1.0", "2026-03-01"] {
        let is_text = !["010", "1.0"].contains(&word);
        c.add(
            &format!("ref {word}"),
            spec(&format!("target: {{repo: demo/hello, ref: {word}}}")),
            if is_text { Accepted } else { Refused },
        );
    }
    c.good("version quoted", spec("version: '1.0'"));
    c.bad("version unquoted", spec("version: 1.0"));
    c.good(
        "inputs of all kinds",
        spec("inputs: {a: yes, b: 1e30, c: 0777, d: ~, e: [1, 1.5], f: {yes: no}, 5: x, 1.5: y}"),
    );
    c.bad("inputs with infinity", spec("inputs: {a: .inf}"));
    c.bad("inputs with a null key", spec("inputs: {~: a}"));
    c.bad("inputs with a list for a key", spec("inputs: {[a]: b}"));
    c.bad("bad base64", spec("inputs: {a: !!binary '*'}"));
    c.bad("null with text", spec("inputs: {a: !!null x}"));
}

fn structure(c: &mut Corpus) {
    let base = "apiVersion: jct.dev/v1\nkind: Task\nmetadata: {name: odd}\n";
    c.good(
        "merge key",
        format!("{base}spec:\n  <<: &d {{objective: Look around, operation: analysis}}\n  requestedBy: {{kind: human, id: ada}}\n  \
                 target: {{repo: demo/hello}}\n"),
    );
    c.good(
        "merge key overrides what stands before it",
        format!(
            "{base}spec:\n  operation: deploy\n  <<: {{objective: Look around, operation: analysis}}\n  \
                 requestedBy: {{kind: human, id: ada}}\n  target: {{repo: demo/hello}}\n"
        ),
    );
    c.bad("merge key brings what is bad", spec("constraints: {timeBudgetSeconds: 60, <<: {allowNetwork: on}}"));
    c.good(
        "merge of a list",
        spec("constraints: {<<: [{timeBudgetSeconds: 60}, {timeBudgetSeconds: 5, allowNetwork: off}]}"),
    );
    c.bad("merge of a list from its end", spec("constraints: {<<: [{timeBudgetSeconds: 5}, {timeBudgetSeconds: 60}]}"));
    c.bad("merge of a text", spec("constraints: {<<: x}"));
    c.bad(
        "merge of an alias to a list",
        spec("constraints: {<<: *l}").replace("requestedBy", "inputs: {l: &l [{a: 1}]}\n  requestedBy"),
    );
    c.bad("quoted merge key", spec("constraints: {'<<': {timeBudgetSeconds: 60}}"));
    c.good("alias", spec("inputs: {a: &x [1, 2], b: *x, c: {d: *x}}"));
    c.good("alias for a key", spec("inputs: {a: &x k, *x : 1}"));
    c.bad("alias without anchor", spec("inputs: {a: *nowhere}"));
    c.bad("anchor within itself", spec("inputs: {a: &x [*x]}"));
    let laughs: String = (1..9)
        .map(|n| {
            let inside = vec![format!("*l{}", n - 1); 9].join(", ");
            format!("    l{n}: &l{n} [{inside}]\n")
        })
        .collect();
    c.bad("billion laughs", spec(&format!("inputs:\n    l0: &l0 [lol, lol, lol]\n{laughs}")));
    c.good("literal block", spec("objective: |\n    Look\n    around"));
    c.good("folded block", spec("objective: >-\n    Look\n\n    around"));
    c.bad("tab for indent", spec("inputs:\n\ta: 1"));
    c.bad("objective of blanks", spec("objective: '        '"));
    c.bad("a list for the spec", format!("{HEAD}spec: [a]\n"));
    c.bad("no spec", HEAD);
    c.bad("null spec", format!("{HEAD}spec:\n"));
    let indented = serde_json::to_string_pretty(&json()).unwrap_or_default();
    c.good("flow style throughout", indented.replace('"', ""));
    c.good("single quotes", indented.replace('"', "'"));
    c.stricter(
        "key given twice",
        spec("maxAttempts: 2\n  maxAttempts: 3"),
        "kubectl keeps the last without a word, Flux and kustomize refuse it: something of the file is lost",
    );
    c.bad("comment in a flow", spec("inputs: {a: 1 #, b: 2}\n"));
    c.bad("not closed", spec("inputs: {a: [1"));
    c.bad("reserved sign", spec("inputs: {a: `x`}"));
    c.bad("a tag before a comma", spec("inputs: {a: !!str, b: 1}"));
    c.good("unknown tag", spec("inputs: !thing {a: !other [1]}"));
    c.good("colon in a flow", spec("inputs: {a:b, c: d:e, 'f':g}"));
    c.good("key with a question mark", spec("inputs:\n    ? a\n    : 1\n    ? b"));
    c.bad("control character", spec("inputs: {a: \"x\u{1}\"}"));
    c.good("escaped control character", spec("inputs: {a: \"x\\x01\\e\\L\"}"));
    c.bad("bad escape", spec("inputs: {a: \"\\q\"}"));
    c.bad("surrogates in YAML", spec("inputs: {a: \"\\ud83d\\ude00\"}"));
    c.good("emoji", spec("objective: Look around \u{1f600}"));
}

fn documents(c: &mut Corpus) {
    let (task, other) = (task(), task().replace("name: odd", "name: other"));
    let bad = spec("operation: deploy");
    c.good("two documents", format!("{task}---\n{other}"));
    c.bad("a bad second document", format!("{task}---\n{bad}"));
    c.bad("a bad first document", format!("{bad}---\n{task}"));
    c.good("separator with a comment", format!("--- # one\n{task}---   # two\n{other}---\n"));
    c.bad("separator with a document", format!("--- {{}}\n{task}"));
    c.bad("separator of more dashes", format!("{task}----\n{other}"));
    c.good("empty documents", format!("---\n---\n# nothing\n---\n{task}---\n~\n---\n"));
    c.bad("a directive", format!("%YAML 1.1\n---\n{task}"));
    c.good("end of a document", format!("{task}...\n"));
    c.good("end of a document, then another", format!("{task}...\n---\n{other}"));
    c.stricter(
        "what follows the end of a document",
        format!("{task}...\n{other}"),
        "kubectl reads nothing of it, without a word",
    );
    c.stricter(
        "two files in a row without a separator",
        format!("{task}{other}"),
        "kubectl takes the last of each field, without a word: a whole object is lost",
    );
    c.good("carriage returns", format!("{task}---\n{other}").replace('\n', "\r\n"));
    c.good("byte order mark", format!("\u{feff}{task}"));
    c.good("byte order mark in the middle", format!("{task}---\n\u{feff}{other}"));
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    c.good("UTF-16", [vec![0xff, 0xfe], utf_16(&task)].concat());
    c.good("UTF-16, the other way round", {
        let units = task.encode_utf16().flat_map(u16::to_be_bytes);
        [0xfe, 0xff].into_iter().chain(units).collect::<Vec<u8>>()
    });
    c.bad("UTF-16 without a mark", utf_16(&task));
    c.good("not UTF-8", [spec("objective: Look aro").trim_end().as_bytes(), b"\xff und\n"].concat());
    c.good("no line end", task.trim_end());
    c.laxer("a text", "hello\n", "no Kubernetes object: a pre-commit hook gives every YAML file of a repository");
    c.laxer(
        "other YAML",
        "on: push\njobs: {}\n",
        "no Kubernetes object: a pre-commit hook gives every YAML file of a repository",
    );
    c.laxer(
        "a kind that nobody knows",
        "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: odd}\n",
        "of another group: what it may say, and whether it is there, only a cluster knows",
    );
    c.good("a config map beside it", format!("{task}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odd}}\n"));
    c.bad("of a version that is not there", task.replace("jct.dev/v1", "jct.dev/v2"));
    c.bad("of no version", task.replace("jct.dev/v1", "jct.dev"));
    c.bad("group in capitals", task.replace("jct.dev/v1", "JCT.dev/v1"));
    let small = c.bad("kind in small letters", task.replace("kind: Task", "kind: task"));
    small.cluster = Accepted;
    small.differs = Some(
        "kubectl knows the kind by small letters, and the answer of a mutating webhook mends it; others refuse it",
    );
    c.bad("kind that is none", task.replace("kind: Task", "kind: Tusk"));
    c.bad("kind that is a number", task.replace("kind: Task", "kind: 5"));
    c.bad("no kind", task.replace("kind: Task\n", ""));
    c.bad("no version", task.replace("apiVersion: jct.dev/v1\n", ""));
    lists(c, &task, &bad);
}

fn lists(c: &mut Corpus, task: &str, bad: &str) {
    let item = |text: &str| {
        let lines: String = text.lines().map(|line| format!("  {line}\n")).collect();
        lines.replacen("  ", "- ", 1)
    };
    let list = |head: &str, items: &str| format!("{head}\nitems:\n{items}");
    c.good("a list", list("apiVersion: v1\nkind: List", &item(task)));
    c.bad("a list with something bad", list("apiVersion: v1\nkind: List", &(item(task) + &item(bad))));
    c.good("a list of ours", list("apiVersion: jct.dev/v1\nkind: TaskList", &item(task)));
    let short = task.lines().skip(2).collect::<Vec<_>>().join("\n");
    c.good("a list that says what its items are", list("apiVersion: jct.dev/v1\nkind: TaskList", &item(&short)));
    c.bad("a list whose items are nothing", list("apiVersion: v1\nkind: List", &item(&short)));
    c.bad(
        "a list in a list",
        list("apiVersion: v1\nkind: List", &item(&list("apiVersion: v1\nkind: List", &item(task)))),
    );
    c.laxer("an empty list", "apiVersion: v1\nkind: List\nitems: []\n", "nothing to be done is an error to kubectl");
    c.laxer("nothing", "# nothing\n", "nothing to be done is an error to kubectl");
}

fn json_forms(c: &mut Corpus) {
    let json = json();
    c.good("JSON", json.to_string());
    c.good("indented JSON", serde_json::to_string_pretty(&json).unwrap_or_default());
    c.good("JSON and JSON", format!("{json}{json}"));
    c.good("JSON, then YAML", format!("{json}\n---\n{}", task()));
    c.good("YAML, then JSON", format!("{}---\n{json}", task()));
    c.bad("JSON, JSON, then YAML", format!("{json}\n{json}\n---\n{}", task()));
    c.good("JSON after a comment", format!("# JSON\n{json}"));
    c.good("surrogate pair", json_with(r#""inputs":{"a":"\ud83d\ude00"}"#));
    c.good("half a surrogate pair", json_with(r#""inputs":{"a":"\ud83d","b":"\ude00\ud83d","c":"\\ud83d"}"#));
    c.good(
        "large numbers",
        json_with(r#""inputs":{"a":1000000000000000000000000000000,"b":1e30,"c":18446744073709551615}"#),
    );
    c.bad("a number that is too large", json_with(r#""inputs":{"a":1e400}"#));
    c.good("whole float", json_with(r#""constraints":{"timeBudgetSeconds":60.0}"#));
    c.good("whole float with an exponent", json_with(r#""constraints":{"timeBudgetSeconds":6E1},"maxAttempts":2.0"#));
    c.bad("broken float", json_with(r#""constraints":{"timeBudgetSeconds":60.5}"#));
    c.good("trailing comma, which is YAML", json_with(r#""inputs":{"a":1,}"#));
    c.bad("control character in JSON", json_with("\"inputs\":{\"a\":\"x\u{1}\"}"));
    c.good("tab in JSON", json_with("\"inputs\":{\"a\":\"x\ty\"}"));
    c.bad("JSON that is not closed", json.to_string().trim_end_matches('}'));
    c.stricter(
        "JSON with a name twice",
        json_with(r#""maxAttempts":2,"maxAttempts":3"#),
        "kubectl keeps the last without a word: something of the file is lost",
    );
    c.laxer(
        "a JSON list",
        format!("[{json}]"),
        "no Kubernetes object: a pre-commit hook gives every file of a repository",
    );
}

fn object(c: &mut Corpus) {
    c.bad("suspend beside the spec", format!("{}suspend: true\n", task()));
    c.bad("null beside the spec", format!("{}suspend: ~\n", task()));
    c.bad("data beside the spec", format!("{}data: {{a: b}}\n", task()));
    c.bad("unknown field of the spec", spec("suspnd: true"));
    c.bad("unknown field of the target", spec("target: {repo: demo/hello, branch: x}"));
    c.bad("unknown field of the constraints", spec("constraints: {timeout: 60}"));
    c.bad("a field in other letters", spec("maxattempts: 2"));
    c.bad("a field as REST has it", spec("requested_by: {kind: human, id: ada}"));
    c.good("status", format!("{}status: {{phase: Completed}}\n", task()));
    c.good("empty status", format!("{}status: {{}}\n", task()));
    c.bad("unknown field of the status", format!("{}status: {{fase: Completed}}\n", task()));
    c.bad("unknown field of a condition", format!("{}status: {{conditions: [{{kind: x}}]}}\n", task()));
    for (name, line) in [
        ("annotation", "annotation: {a: b}"),
        ("generatename", "generatename: x"),
        ("label", "label: {a: b}"),
        ("clusterName", "clusterName: a"),
        ("null", "annotation: ~"),
    ] {
        c.bad(&format!("metadata.{name}"), metadata(&format!("name: odd\n{line}")));
    }
    for (name, line) in [
        ("annotation that is a number", "annotations: {a: 5}"),
        ("annotation that is a boolean", "annotations: {a: yes}"),
        ("annotation that is a list", "annotations: {a: [x]}"),
        ("annotations that are a list", "annotations: [a]"),
        ("label that is a number", "labels: {version: 1.0}"),
        ("label that is a boolean", "labels: {enabled: on}"),
        ("finalizers that are a text", "finalizers: jct.dev/record"),
        ("generation that is a text", "generation: '1'"),
        ("time that is none", "creationTimestamp: yesterday"),
        ("owner that lacks a uid", "ownerReferences: [{apiVersion: v1, kind: Pod, name: a}]"),
        ("owner with another field", "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b, x: 1}]"),
        (
            "two controllers",
            "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b, controller: true}, \
                             {apiVersion: v1, kind: Pod, name: c, uid: d, controller: yes}]",
        ),
        ("event for an owner", "ownerReferences: [{apiVersion: v1, kind: Event, name: a, uid: b}]"),
        ("finalizer without form", "finalizers: ['a b']"),
        ("finalizers that exclude each other", "finalizers: [orphan, foregroundDeletion]"),
        ("namespace without form", "namespace: Not_One"),
        ("namespace that is a number", "namespace: 5"),
        ("managed fields that are a text", "managedFields: x"),
        ("unknown managed field", "managedFields: [{manger: x}]"),
    ] {
        c.bad(name, metadata(&format!("name: odd\n{line}")));
    }
    for (name, line) in [
        ("null annotation", "annotations: {a: ~}"),
        ("null labels", "labels: ~"),
        ("null time", "creationTimestamp: ~"),
        ("time", "creationTimestamp: 2026-03-01T12:00:00Z"),
        ("uid and resource version", "uid: abc\nresourceVersion: '5'"),
        ("self link", "selfLink: /x"),
        ("generation", "generation: 5"),
        (
            "owner",
            "ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b, controller: true, blockOwnerDeletion: off}]",
        ),
        ("finalizer", "finalizers: [example.org/x]"),
        ("short finalizer", "finalizers: [x]"),
        ("reserved annotation", "annotations: {jct.dev/submitted-by: root}"),
        ("pinned id", "annotations: {jct.dev/id: 01KJMMA2G027CE4HT1RZKZBW4A}"),
        ("namespace", "namespace: default"),
        ("empty namespace", "namespace: ''"),
    ] {
        c.good(name, metadata(&format!("name: odd\n{line}")));
    }
    c.policy("pinned id that is none", metadata("name: odd\nannotations: {jct.dev/id: x}"));
    c.laxer(
        "namespace that is not there",
        metadata("name: odd\nnamespace: nobody-has-made-it"),
        "whether a namespace is there only a cluster knows",
    );
    c.bad("no metadata", task().replace("metadata:\n  name: odd\n", ""));
    c.bad("metadata that are a list", task().replace("metadata:\n  name: odd\n", "metadata: [a]\n"));
    c.bad("metadata without a name", metadata("labels: {a: b}"));
}

fn names_and_labels(c: &mut Corpus) {
    let long = |length: usize| "a".repeat(length);
    let labels = vec!["b".repeat(63); 3].join(".");
    for (name, is_good) in [
        ("a.b", true),
        ("a-b.c-d", true),
        ("Odd", false),
        ("a_b", false),
        ("-a", false),
        ("a-", false),
        ("a..b", false),
        ("a.-b", false),
        ("ä", false),
        ("123", false),
        ("'123'", true),
        ("yes", false),
        ("'yes'", true),
        ("1e3", false),
        ("''", false),
        ("~", false),
        ("a b", false),
        (&format!("{labels}.{}", long(61)), true),
        (&format!("{labels}.{}", long(62)), false),
        (&long(253), true),
        (&long(254), false),
    ] {
        let verdict = if is_good { Accepted } else { Refused };
        let shown: String = name.chars().take(20).collect();
        c.add(&format!("name {shown} ({})", name.len()), metadata(&format!("name: {name}")), verdict);
    }
    for (prefix, is_good) in [
        ("odd-", true),
        ("odd.", false),
        ("odd", true),
        ("odd--", true),
        ("Odd-", false),
        ("-", false),
        ("a.-", false),
        (&long(253), true),
        (&long(254), false),
    ] {
        let verdict = if is_good { Accepted } else { Refused };
        let shown: String = prefix.chars().take(20).collect();
        c.add(
            &format!("generateName {shown} ({})", prefix.len()),
            metadata(&format!("generateName: '{prefix}'")),
            verdict,
        );
    }
    c.bad("bad generateName beside a name", metadata("name: odd\ngenerateName: B_"));
    for (label, is_good) in [
        ("a: b", true),
        ("a: ''", true),
        ("A.b_c-D: A.b_c-D", true),
        ("example.org/a: b", true),
        ("Example.org/a: b", false),
        ("a/b/c: d", false),
        ("/a: b", false),
        ("a/: b", false),
        ("-a: b", false),
        ("a: -b", false),
        ("a: b c", false),
        ("a: b/c", false),
        ("'a b': c", false),
        ("a: ä", false),
        (&format!("a: {}", long(63)), true),
        (&format!("a: {}", long(64)), false),
        (&format!("{}: a", long(64)), false),
    ] {
        let verdict = if is_good { Accepted } else { Refused };
        let shown: String = label.chars().take(20).collect();
        c.add(
            &format!("label {shown} ({})", label.len()),
            metadata(&format!("name: odd\nlabels: {{{label}}}")),
            verdict,
        );
    }
    for (annotation, is_good) in
        [("Example.org/A: b", true), ("a: any thing", true), ("a b: c", false), ("a/b/c: d", false), ("'': a", false)]
    {
        let verdict = if is_good { Accepted } else { Refused };
        c.add(
            &format!("annotation {annotation}"),
            metadata(&format!("name: odd\nannotations: {{{annotation}}}")),
            verdict,
        );
    }
}

fn fields(c: &mut Corpus) {
    for (name, line) in [
        ("malformed type beside operation", "type: 5"),
        ("malformed payload beside inputs", "payload: [1]\n  inputs: {a: 1}"),
        ("type that is too long beside operation", &format!("type: {}", "a".repeat(65))),
        ("malformed repository beside repo", "target: {repo: demo/hello, repository: 5}"),
        (
            "repository that is too long beside repo",
            &format!("target: {{repo: demo/hello, repository: {}}}", "a".repeat(301)),
        ),
        ("attempts 11", "maxAttempts: 11"),
        ("attempts that are a text", "maxAttempts: '2'"),
        ("executor without form", "executor: A_b"),
        ("an operation that is none", "operation: deploy"),
        ("an operation with a blank", "operation: 'docs '"),
        ("a repository with credentials", "target: {repo: 'https://user:pw@host/x'}"),
        ("a repository by its address", "target: {repo: 'https://github.com/demo/hello'}"),
        ("a repository of three parts", "target: {repo: demo/a/b}"),
        ("a ref that is an option", "target: {repo: demo/hello, ref: --x}"),
        ("a path upwards", "target: {repo: demo/hello, path: a/../../b}"),
        ("an absolute path", "target: {repo: demo/hello, path: /etc}"),
        ("a requester that is none", "requestedBy: {kind: robot, id: x}"),
        ("an objective of 4001", &format!("objective: {}", "a".repeat(4001))),
        ("an objective behind 8000 blanks", &format!("objective: '{}Look around'", " ".repeat(8000))),
        ("a repository behind 300 blanks", &format!("target: {{repo: '{}demo/hello'}}", " ".repeat(300))),
        ("criteria of 1001", &format!("acceptanceCriteria: [{}]", "a".repeat(1001))),
        ("51 criteria", &format!("acceptanceCriteria: [{}]", "a, ".repeat(51))),
        ("criteria that are numbers", "acceptanceCriteria: [1]"),
        ("criteria that are a text", "acceptanceCriteria: all"),
        ("an empty key", "idempotencyKey: ''"),
        ("a key that is a number", "idempotencyKey: 20260301"),
        ("inputs that are a list", "inputs: [1]"),
    ] {
        c.bad(name, spec(line));
    }
    for (name, line) in [
        ("type beside operation", "type: docs"),
        ("a type that is none beside operation", "type: deploy"),
        ("payload beside inputs", "payload: {b: 1}\n  inputs: {a: 1}"),
        ("repository beside repo", "target: {repo: demo/hello, repository: x}"),
        ("null key", "idempotencyKey: ~"),
        ("null inputs", "inputs: ~"),
        ("null constraints", "constraints: ~"),
        ("null attempts", "maxAttempts: ~"),
        ("an objective of 4000", &format!("objective: {}", "a".repeat(4000))),
        ("50 criteria", &format!("acceptanceCriteria: [{}]", "a, ".repeat(50))),
        ("a repository in capitals", "target: {repo: Demo/Hello.git}"),
        ("an empty ref", "target: {repo: demo/hello, ref: ''}"),
        ("suspended and cancelled", "suspend: true\n  cancel: true"),
    ] {
        c.good(name, spec(line));
    }
    c.good(
        "aliases alone",
        spec("type: docs\n  payload: {a: 1}").replace("  operation: analysis\n", "").replace("{repo:", "{repository:"),
    );
    c.policy("another repository", spec("target: {repo: other/thing}"));
    c.policy("a repository that begins alike", spec("target: {repo: demolition/x}"));
}

fn sizes(c: &mut Corpus) {
    c.good("inputs of 255 KiB", json_with(&format!(r#""inputs":{{"a":"{}"}}"#, "x".repeat(255 << 10))));
    c.policy("inputs of 257 KiB", json_with(&format!(r#""inputs":{{"a":"{}"}}"#, "x".repeat(257 << 10))));
    c.policy("metadata of 65 KiB", json_with(&format!(r#""metadata":{{"a":"{}"}}"#, "x".repeat(65 << 10))));
    c.policy("many values", json_with(&format!(r#""inputs":{{"a":[{}0]}}"#, "0,".repeat(20_000))));
    c.bad("more than an API server takes", json_with(&format!(r#""inputs":{{"a":"{}"}}"#, "x".repeat(3 << 20))));
    c.bad("annotations of 257 KiB", metadata(&format!("name: odd\nannotations: {{a: {}}}", "x".repeat(257 << 10))));
    c.good("annotations of 255 KiB", metadata(&format!("name: odd\nannotations: {{a: {}}}", "x".repeat(255 << 10))));
    let owners = r#"{"apiVersion":"v1","kind":"Pod","name":"a","uid":"b"},"#.repeat(32_000);
    let owned = json()
        .to_string()
        .replace(r#""name":"odd""#, &format!(r#""name":"odd","ownerReferences":[{}]"#, owners.trim_end_matches(',')));
    c.stricter("more than etcd takes", owned, "a dry run never reaches etcd, which takes 1.5 MiB");
    for (depth, is_good) in [(100, true), (117, true)] {
        let verdict = if is_good { Accepted } else { Refused };
        c.add(&format!("nested {depth} deep"), json_with(&format!(r#""inputs":{{"a":{}}}"#, nested(depth))), verdict);
        c.add(&format!("nested {depth} deep in YAML"), spec(&format!("inputs: {{a: {}}}", nested(depth))), verdict);
    }
    for depth in [119, 124, 130, 500, 3000] {
        c.policy(&format!("nested {depth} deep"), json_with(&format!(r#""inputs":{{"a":{}}}"#, nested(depth))));
    }
    c.policy("nested 200 deep in YAML", spec(&format!("inputs: {{a: {}}}", nested(200))));
    c.bad("nested 12000 deep", json_with(&format!(r#""inputs":{{"a":{}}}"#, nested(12_000))));
}

fn work_objects(c: &mut Corpus) {
    let object = |kind: &str, spec: &str| {
        format!("apiVersion: jct.dev/v1\nkind: {kind}\nmetadata: {{name: odd}}\nspec:\n{spec}")
    };
    let issue = "  repo: {kind: Repo, name: hello}\n  title: Greet\n  type: feature\n";
    c.good("an Issue", object("Issue", issue));
    c.bad("an Issue of no type", object("Issue", &issue.replace("feature", "epic")));
    c.bad("an Issue with a title that is a number", object("Issue", &issue.replace("Greet", "010")));
    c.bad("an Issue with another field", object("Issue", &format!("{issue}  colour: red\n")));
    c.bad("an Issue whose repo is a Run", object("Issue", &issue.replace("Repo", "Run")));
    c.bad(
        "an Issue whose repo has an id and a name",
        object("Issue", &issue.replace("name: hello", "name: hello, id: 01KJMMA2G027CE4HT1RZKZBW4A")),
    );
    c.bad("an Issue beside its spec", format!("{}title: x\n", object("Issue", issue)));
    c.good("a list of both", format!("apiVersion: v1\nkind: List\nitems: [{}, {}]", json(), json()));
}
