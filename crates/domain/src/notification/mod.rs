//! Notifications: what the record tells others of, and who they are.
//!
//! An [`Event`] is written with what it tells of, once for each receiver that wants it. The configuration is a YAML file,
//! [`Notifications::read`]; docs/notifications.md is its reference. Keys and secret addresses are not in it: it names the Secrets
//! that have them, whose files the sender alone reads.

mod read;
mod slack;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use read::{MAX_NOTIFICATIONS_BYTES, check_url};
pub use slack::slack;

use crate::model::KeyRef;
use crate::name::names_namespace;
use crate::task::Operation;
use crate::{Id, Phase};

/// What can be told of. The name is the `type` of a CloudEvent, and never changes; a kind that comes later has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// A Task ended with the work done.
    #[serde(rename = "dev.jct.task.completed")]
    TaskCompleted,
    /// A Task ended without.
    #[serde(rename = "dev.jct.task.failed")]
    TaskFailed,
    /// A Task was ended by somebody.
    #[serde(rename = "dev.jct.task.cancelled")]
    TaskCancelled,
}

impl EventType {
    /// That of a Task that ended so; none before its end.
    pub fn of_end(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Completed => Some(Self::TaskCompleted),
            Phase::Failed => Some(Self::TaskFailed),
            Phase::Cancelled => Some(Self::TaskCancelled),
            Phase::Pending | Phase::Queued | Phase::Running => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskCompleted => "dev.jct.task.completed",
            Self::TaskFailed => "dev.jct.task.failed",
            Self::TaskCancelled => "dev.jct.task.cancelled",
        }
    }

    /// How a Task ended, of an event that tells of that.
    pub fn outcome(self) -> Option<Phase> {
        match self {
            Self::TaskCompleted => Some(Phase::Completed),
            Self::TaskFailed => Some(Phase::Failed),
            Self::TaskCancelled => Some(Phase::Cancelled),
        }
    }
}

/// Something that others are told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The same however often it is told.
    pub id: Id,
    /// What it tells of.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// Of the object that it is about.
    pub namespace: String,
    /// That object, such as `tasks/fix-login`.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// The operation of the Task, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The rest.
    pub data: Map<String, Value>,
}

impl Event {
    /// The event as CloudEvents 1.0 has it in JSON, with the page about its Task where that is known.
    pub fn to_cloud_event(&self, link: Option<&str>) -> Value {
        let mut data = self.data.clone();
        if let Some(link) = link {
            data.insert("url".into(), link.into());
        }
        serde_json::json!({
            "specversion": "1.0",
            "id": self.id,
            "source": format!("/jct/namespaces/{}", self.namespace),
            "type": self.kind,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "data": data,
        })
    }

    /// The id of the Task that it is about, if it is about one.
    pub fn task_id(&self) -> Option<&str> {
        self.data.get("task_id").and_then(Value::as_str)
    }
}

/// In which form a receiver is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CloudEvents 1.0, structured, signed.
    #[default]
    CloudEvents,
    /// What Slack, and others like it, take at an incoming webhook.
    Slack,
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receiver {
    /// In metrics and log lines.
    pub name: String,
    /// Where events are posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The Secret that has the address, where that is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<KeyRef>,
    /// Whether the address may be `http://`, by which whoever is on the way reads what is told.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// The certificates, in PEM, that alone vouch for the receiver; those that browsers believe, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// In which form.
    #[serde(default)]
    pub format: Format,
    /// The Secret that has the key of signatures; for CloudEvents it is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<KeyRef>,
    /// Names of namespaces, or beginnings that end in `*`.
    #[serde(default = "all")]
    pub namespaces: Vec<String>,
    /// How Tasks ended; any, if empty.
    #[serde(default)]
    pub outcomes: Vec<Phase>,
    /// Operations; any, if empty.
    #[serde(default)]
    pub operations: Vec<Operation>,
}

fn all() -> Vec<String> {
    vec!["*".into()]
}

impl Receiver {
    /// Whether it is to be told of `event`.
    pub fn wants(&self, event: &Event) -> bool {
        let outcome_fits =
            self.outcomes.is_empty() || event.kind.outcome().is_some_and(|outcome| self.outcomes.contains(&outcome));
        let operation_fits =
            self.operations.is_empty() || event.operation.is_some_and(|operation| self.operations.contains(&operation));
        names_namespace(&self.namespaces, &event.namespace) && outcome_fits && operation_fits
    }
}

/// All of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notifications {
    /// Who is told.
    pub receivers: Vec<Receiver>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    pub(super) fn event(kind: EventType, namespace: &str, operation: Option<Operation>) -> Event {
        let at = Timestamp::UNIX_EPOCH;
        Event {
            id: Id::derive(at, "uid"),
            kind,
            namespace: namespace.into(),
            subject: "tasks/fix-login".into(),
            time: at,
            operation,
            data: Map::from_iter([("task_id".to_owned(), "01K".into())]),
        }
    }

    #[rstest]
    #[case("", "team-a", true)]
    #[case("namespaces: [team-a]", "team-a", true)]
    #[case("namespaces: [team-*]", "team-a", true)]
    #[case("namespaces: [team]", "team-a", false)]
    #[case("namespaces: [other, 'x*']", "team-a", false)]
    #[case("outcomes: [failed]", "team-a", true)]
    #[case("outcomes: [completed, cancelled]", "team-a", false)]
    #[case("operations: [docs]", "team-a", true)]
    #[case("operations: [ops]", "team-a", false)]
    #[case("namespaces: [team-a], outcomes: [failed], operations: [ops]", "team-a", false)]
    fn a_receiver_wants_what_passes_all_its_filters(
        #[case] filters: &str,
        #[case] namespace: &str,
        #[case] wanted: bool,
    ) {
        let receiver: Receiver = serde_yaml::from_str(&format!("{{name: a, url: 'https://a', {filters}}}")).unwrap();
        assert_eq!(receiver.wants(&event(EventType::TaskFailed, namespace, Some(Operation::Docs))), wanted);
    }

    #[test]
    fn an_operation_that_nobody_knows_is_none_that_is_asked_for() {
        let receiver: Receiver = serde_yaml::from_str("{name: a, url: 'https://a', operations: [docs]}").unwrap();
        assert!(!receiver.wants(&event(EventType::TaskFailed, "a", None)));
    }

    #[test]
    fn names_of_types_are_those_that_are_written() {
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
            let kind = EventType::of_end(phase).unwrap();
            assert_eq!(serde_json::json!(kind), kind.as_str());
            assert_eq!(kind.outcome(), Some(phase));
        }
    }

    #[test]
    fn a_cloud_event_has_what_the_specification_requires_and_a_link_where_there_is_one() {
        let event = event(EventType::TaskCompleted, "team", None);
        let told = event.to_cloud_event(Some("https://jct.example.org/console/tasks/01K"));
        assert_eq!(told["specversion"], "1.0");
        assert_eq!(
            (&told["source"], &told["type"]),
            (&"/jct/namespaces/team".into(), &"dev.jct.task.completed".into())
        );
        assert_eq!(told["data"]["url"], "https://jct.example.org/console/tasks/01K");
        assert!(event.to_cloud_event(None)["data"].get("url").is_none());
        let again: Event = serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap();
        assert_eq!(again, event);
    }
}
