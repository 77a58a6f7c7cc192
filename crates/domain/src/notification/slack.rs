//! The form that Slack, Mattermost, Rocket.Chat and others like them take at an incoming webhook.

use serde_json::{Value, json};

use super::Event;
use crate::shown::is_troublesome;

/// The longest piece of a text of others, in characters.
const LONGEST: usize = 300;

/// The message about `event`, with the page about its Task where that is known. What others wrote is text in it: it links to
/// nothing, formats nothing and calls nobody.
pub fn slack(event: &Event, link: Option<&str>) -> Value {
    let text = |name: &str| event.data.get(name).and_then(Value::as_str).map(inert).filter(|text| !text.is_empty());
    let outcome =
        event.kind.outcome().map_or_else(|| event.kind.as_str().to_owned(), |phase| phase.as_str().to_owned());
    let name = inert(&format!("{}/{}", event.namespace, event.subject.trim_start_matches("tasks/")));
    let named = match link {
        Some(link) => format!("<{}|{name}>", link.replace(['<', '>', '|', ' '], "")),
        None => name,
    };
    let mut lines = vec![format!("Task {named} {outcome}")];
    if let Some(title) = text("title") {
        lines.push(title);
    }
    let why = [text("reason"), text("message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
    if !why.is_empty() {
        lines.push(why);
    }
    let about = [text("operation"), text("repo"), text("requested_by")].into_iter().flatten().collect::<Vec<_>>();
    if !about.is_empty() {
        lines.push(about.join(" · "));
    }
    json!({"text": lines.join("\n")})
}

/// `text` on one line, shortened, in which nothing is markup, a link or a name that is called.
fn inert(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars().take(LONGEST) {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            // Where a name is called by an @ alone, it is none behind what nobody sees.
            '@' => shown.push_str("@\u{200b}"),
            '*' | '_' | '~' | '`' => shown.extend(['\u{200b}', c]),
            // Of an address that would be made a link.
            ':' => shown.push_str(":\u{200b}"),
            c if is_troublesome(c) => shown.push(' '),
            c => shown.push(c),
        }
    }
    if text.chars().count() > LONGEST {
        shown.push('…');
    }
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::EventType;
    use super::super::tests::event;
    use super::*;

    fn told(data: Value, link: Option<&str>) -> String {
        let mut event = event(EventType::TaskFailed, "team", None);
        event.data = data.as_object().cloned().unwrap();
        slack(&event, link)["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_message_says_what_became_of_what_and_why() {
        let data = json!({"title": "Fix the login", "reason": "Timeout", "message": "too slow", "operation": "docs", "repo": "acme/api"});
        let said = told(data, Some("https://jct.example.org/console/tasks/01K")).replace('\u{200b}', "");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "Task <https://jct.example.org/console/tasks/01K|team/fix-login> failed");
        assert_eq!(&lines[1..], ["Fix the login", "Timeout: too slow", "docs · acme/api"]);
    }

    #[test]
    fn what_others_wrote_is_text_alone() {
        let said = told(json!({"title": "<!channel> @all *x* `y` https://evil.example/ \u{202e}\n# a & b"}), None);
        assert!(said.contains("&lt;!channel&gt;") && said.contains("a &amp; b"), "{said}");
        for mark in ["<!", "@all", " *x", " `y", "https://", "\u{202e}"] {
            assert!(!said.contains(mark), "{mark:?} in {said}");
        }
        assert_eq!(said.lines().count(), 2);
        let long = told(json!({"title": "a".repeat(5000)}), None);
        assert!(long.len() < 400);
    }
}
