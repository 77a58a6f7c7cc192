//! How a manifest may be written: scalars, structure, documents, lists, JSON.

use super::*;

pub(super) fn scalars(c: &mut Corpus) {
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

pub(super) fn structure(c: &mut Corpus) {
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

pub(super) fn documents(c: &mut Corpus) {
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

pub(super) fn json_forms(c: &mut Corpus) {
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
