//! What an object may be: its head, names, labels, fields, sizes, and other kinds.

use super::*;

pub(super) fn object(c: &mut Corpus) {
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

pub(super) fn names_and_labels(c: &mut Corpus) {
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

pub(super) fn fields(c: &mut Corpus) {
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

pub(super) fn sizes(c: &mut Corpus) {
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

pub(super) fn work_objects(c: &mut Corpus) {
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
