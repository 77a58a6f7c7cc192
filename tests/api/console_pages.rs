//! The console as people meet it: in Chromium, light, dark and on a telephone, by the keyboard alone, and with a Task that means ill.

use std::fs;
use std::path::{Path, PathBuf};

use http::Request;
use jct::domain::trace::Outcome;
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::console_browser::from_near;
use crate::console_world::{MEDIA, PATCH, REPORT};
use crate::world::{ADA, World};

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or(Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

/// What looks at a page for what people with other eyes, ears and hands need.
fn axe() -> String {
    let folder = target().join("axe");
    let file = fs::read_dir(&folder).ok().and_then(|mut files| Some(files.next()?.unwrap().path()));
    let file = file.expect("no axe-core: run tests/cluster/prerequisites.sh browser");
    fs::read_to_string(file).unwrap()
}

/// Where the console is.
fn origin(world: &World) -> String {
    format!("http://{}", world.listen())
}

/// A browser that signed in by a link, as `kubectl jct console` makes it.
async fn signed_in(world: &World, origin: &str) -> Chromium {
    let host = origin.strip_prefix("http://").unwrap();
    let request = Request::post("/console/codes").header("host", host).header("x-jct-token", ADA);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let made = world.browse(from_near(request.body("namespace=team".into()).unwrap())).await;
    let made = axum::body::to_bytes(made.into_body(), 9_999).await.unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    let mut chromium = Chromium::start().await;
    chromium.goto(&format!("{origin}/console/sign-in#code={}", made["code"].as_str().unwrap())).await;
    chromium.until("location.pathname === '/console'").await;
    assert_eq!(chromium.eval("location.hash + document.cookie").await, "", "no code stays, no script has the cookie");
    chromium.until("document.readyState === 'complete'").await;
    chromium
}

/// Every page there is, by the name of its picture.
async fn pages(world: &World, done: &str, running: &str) -> Vec<(String, String)> {
    let issue = world.get(ADA, "/cwom/issues?namespace=team&limit=1").await.body[0]["id"].as_str().unwrap().to_owned();
    let task = |tab: &str| (format!("task-{tab}"), format!("/console/tasks/{done}/{tab}"));
    let mut pages: Vec<(String, String)> = [
        ("overview", "/console"),
        ("tasks", "/console/tasks"),
        ("tasks-none", "/console/tasks?status=cancelled"),
        ("objects", "/console/objects"),
        ("issues", "/console/objects/issues"),
        ("audit-refused", "/console/audit"),
        ("executors", "/console/executors"),
        ("not-found", "/console/tasks/01KJMMA2G027CE4HT1RZKZBW4A"),
    ]
    .map(|(name, path)| (name.to_owned(), path.to_owned()))
    .into();
    pages.push(("issue".into(), format!("/console/objects/issues/{issue}")));
    pages.push(("task".into(), format!("/console/tasks/{done}")));
    pages.push(("task-running".into(), format!("/console/tasks/{running}")));
    pages.push(("task-running-log".into(), format!("/console/tasks/{running}/log")));
    pages.extend(["log", "report", "changes", "files", "why", "record", "provenance"].map(task));
    pages
}

/// What is wrong with a page for who can't see, hear or point well.
async fn barriers(chromium: &mut Chromium, axe: &str) -> Vec<String> {
    chromium.eval(axe).await;
    let found = chromium.eval("axe.run({resultTypes: ['violations']}).then(found => found.violations)").await;
    let told = |one: &Value| {
        let nodes = one["nodes"].as_array().unwrap().iter().take(3);
        format!(
            "{}: {}",
            one["id"],
            nodes.map(|node| format!("{} {}", node["target"], node["failureSummary"])).collect::<String>()
        )
    };
    found.as_array().unwrap().iter().map(told).collect()
}

/// Every page loads without a word in the browser's console, in light and dark, wide and narrow; nothing of it keeps anybody out;
/// pictures of all are in target/console.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_there_for_everybody() {
    let world = World::with(|_| {}).await;
    world.cluster.rights.lock().unwrap().get_mut("ada").unwrap().push(("get", "/diagnostics", "*"));
    let (done, running) = world.busy().await;
    let (origin, axe) = (origin(&world), axe());
    let mut chromium = signed_in(&world, &origin).await;
    let mut wrong = Vec::new();
    for (name, path) in pages(&world, &done, &running).await {
        for (look, size, scheme) in
            [("light", (1280, 900), "light"), ("dark", (1280, 900), "dark"), ("narrow", (390, 844), "light")]
        {
            chromium.look(size, scheme).await;
            chromium.said.clear();
            chromium.goto(&format!("{origin}{path}")).await;
            let mut said = std::mem::take(&mut chromium.said);
            said.retain(|said| !(name == "not-found" && said.contains("404")));
            wrong.extend(said.into_iter().map(|said| format!("{name} {look}: says {said}")));
            wrong.extend(
                barriers(&mut chromium, &axe).await.into_iter().map(|barrier| format!("{name} {look}: {barrier}")),
            );
            let over =
                chromium.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
            if over != 0 {
                wrong.push(format!("{name} {look}: wider than the screen, by {over}"));
            }
            chromium.picture(&target().join(format!("console/{name}-{look}.png"))).await;
        }
    }
    chromium.goto(&format!("{origin}/console/sign-in")).await;
    wrong.extend(barriers(&mut chromium, &axe).await);
    chromium.picture(&target().join("console/sign-in-light.png")).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    chromium
        .eval("document.body.append(Object.assign(document.createElement('img'), {src: '/console/assets/icon.svg'}))")
        .await;
    assert!(!barriers(&mut chromium, &axe).await.is_empty(), "the control: a picture without words is seen");
}

/// A Task whose names, report, log and patch are full of markup: it is shown as text, asks for nothing and runs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_means_ill_runs_nothing() {
    const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)><a href=javascript:alert(4)>x</a>\
        <iframe src=https://evil.example></iframe><style>*{display:none}</style><div hx-get=/console/sign-out hx-trigger=load>";
    let world = World::new().await;
    let change = json!({"operation": "code_change", "objective": EVIL, "requested_by": {"kind": "agent", "id": EVIL.chars().take(128).collect::<String>()},
        "acceptance_criteria": [EVIL], "inputs": {EVIL: EVIL}});
    let report = format!(
        "# {EVIL}\n\n{EVIL}\n\n[x](javascript:alert(5)) ![x](https://evil.example/p.png) <{EVIL}>\n\n```{EVIL}\n{EVIL}\n```\n"
    );
    let patch = format!("diff --git a/{EVIL} b/{EVIL}\n--- a/x\n+++ b/x\n@@ -1 +1 @@ {EVIL}\n-{EVIL}\n+{EVIL}\n");
    let done = world.done(change, &report, &patch, EVIL).await;
    let running = world.enqueue(json!({"objective": EVIL})).await.body["task_id"].as_str().unwrap().to_owned();
    let ran = world.running(&running).await;
    ran.write("trace.log", format!("{EVIL}\n\u{1b}[2J\u{202e}\n"));
    let origin = origin(&world);
    let mut chromium = signed_in(&world, &origin).await;
    chromium.asked.clear();
    let mut seen = 0;
    for (name, path) in pages(&world, &done, &running).await {
        chromium.said.clear();
        chromium.goto(&format!("{origin}{path}")).await;
        // Long enough for what was to run at once.
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        let foreign = "document.querySelectorAll('script:not([src^=\"/console/assets/\"]), iframe, style, object, embed, [onerror], [onload], \
            [hx-trigger=load], img:not([src^=\"/console/assets/\"]), a[href^=\"javascript\" i]').length";
        assert_eq!(chromium.eval(foreign).await, 0, "{name}");
        seen += u32::from(chromium.eval("document.body.innerText.includes('alert(1)')").await == true);
        let said = &chromium.said;
        assert!(said.iter().all(|said| name == "not-found" && said.contains("404")), "{name}: {said:?}");
    }
    assert!(seen >= 8, "the control: it is there as text, on {seen} pages");
    chromium.until("true").await;
    assert!(chromium.asked.iter().all(|url| url.starts_with(&origin)), "{:?}", chromium.asked);
    // The control: what does run, and what would be asked for, is noticed.
    chromium.goto("data:text/html,<script>console.error('x')</script><img src=http://127.0.0.1:1/x>").await;
    assert!(!chromium.said.is_empty() && chromium.asked.iter().any(|url| url.ends_with(":1/x")));
}

/// What has the focus, and whether that can be seen.
const FOCUSED: &str = "(() => { const at = document.activeElement; const style = getComputedStyle(at); \
    return {index: [...document.querySelectorAll('*')].indexOf(at), name: at.outerHTML.slice(0, 90), \
    seen: at === document.body || style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2}; })()";

/// What can be done with a pointer. Of choices in a closed menu, and of what is folded up, nothing can.
const REACHABLE: &str = "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex=\"0\"]')]\
    .filter(at => at.checkVisibility()).map(at => [...document.querySelectorAll('*')].indexOf(at))";

/// The keyboard alone reaches all that a pointer does, one sees where one is, and does with it what there is to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_reaches_everything() {
    let world = World::new().await;
    let (done, running) = world.busy().await;
    let origin = origin(&world);
    let mut chromium = signed_in(&world, &origin).await;
    chromium.look((1280, 900), "light").await;
    for (name, path) in pages(&world, &done, &running).await {
        chromium.goto(&format!("{origin}{path}")).await;
        let mut left: Vec<Value> = chromium.eval(REACHABLE).await.as_array().unwrap().clone();
        assert!(left.len() > 1, "{name}");
        for _ in 0..left.len() * 2 + 10 {
            chromium.press("Tab").await;
            let at = chromium.eval(FOCUSED).await;
            assert_eq!(at["seen"], true, "{name}: nobody sees where the focus is: {}", at["name"]);
            left.retain(|index| *index != at["index"]);
            if left.is_empty() {
                break;
            }
        }
        assert_eq!(left, Vec::<Value>::new(), "{name}: not reached");
    }
    // From the list to a Task, and again, without a pointer.
    chromium.goto(&format!("{origin}/console/tasks?status=completed")).await;
    for _ in 0..60 {
        if chromium.eval("document.activeElement.id.startsWith('task-')").await == true {
            break;
        }
        chromium.press("Tab").await;
    }
    chromium.press("Enter").await;
    chromium.until("location.pathname.split('/').length === 4 && document.readyState === 'complete'").await;
    let first = chromium.eval("location.pathname").await;
    for _ in 0..60 {
        if chromium.eval("document.activeElement.innerText === 'Run again'").await == true {
            break;
        }
        chromium.press("Tab").await;
    }
    chromium.press("Enter").await;
    chromium.until(&format!("location.pathname !== {first} && document.readyState === 'complete'")).await;
    assert_eq!(chromium.eval("document.querySelector('.doing button').innerText").await, "Cancel", "it is a new Task");
}

/// What happens is seen without loading a page again: the log grows, and the page says that the Task has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_seen_as_it_happens() {
    let world = World::new().await;
    let mut ran = world.runs().await;
    ran.write("trace.log", "the first line\n");
    let origin = origin(&world);
    let mut chromium = signed_in(&world, &origin).await;
    chromium.goto(&format!("{origin}/console/tasks/{}/log", ran.task.id)).await;
    let has = |text: &str| format!("document.getElementById('log-text').textContent.includes({text:?})");
    chromium.until(&has("the first line")).await;
    ran.write("trace.log", "the first line\nthe second <b>line</b>\n");
    chromium.until(&has("the second <b>line</b>")).await;
    ran.write("artifacts/report.md", REPORT);
    ran.write("artifacts/change.patch", PATCH);
    ran.ends(Outcome::Succeeded, MEDIA).await;
    chromium.until("document.querySelector('#head .chip').innerText === 'Completed'").await;
    chromium.until("document.getElementById('log-state').textContent === 'That is the end of it.'").await;
    assert_eq!(chromium.said, Vec::<String>::new());
}

/// Signing in with a token, by hand; and out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_signs_in_with_a_token_and_out_again() {
    let world = World::new().await;
    let origin = origin(&world);
    let mut chromium = Chromium::start().await;
    chromium.goto(&format!("{origin}/console/executors?namespace=team")).await;
    chromium
        .eval("document.querySelector('summary').click(); document.querySelector('input[name=token]').focus()")
        .await;
    chromium.write(ADA).await;
    chromium.press("Enter").await;
    chromium.until("location.pathname === '/console/executors' && document.readyState === 'complete'").await;
    assert_eq!(chromium.eval("document.querySelector('.user').innerText").await, "ada");
    assert!(chromium.asked.iter().all(|url| !url.contains(ADA)), "no address has the token");
    chromium.eval("document.querySelector('.me button').click()").await;
    chromium.until("location.pathname === '/console/sign-in' && document.readyState === 'complete'").await;
    chromium.goto(&format!("{origin}/console/executors?namespace=team")).await;
    assert_eq!(chromium.eval("location.pathname").await, "/console/sign-in");
}
