//! Kubernetes Events, for people: what goes wrong at once, what was denied after that, the end of an ordinary Task where there is
//! room for it. All they say is in statuses and the audit log too: they are never worth a delay.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::debug;

use super::Clock;
use crate::crd::names::GROUP;
use crate::domain::id::sha256_hex;

/// Between two events: ten in a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// The greatest note, in bytes (events.k8s.io/v1).
const MOST_BYTES: usize = 1_000;

/// What goes first where there is much to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Something is not as it was meant to be.
    Trouble,
    /// The webhook denied a request.
    Denial,
    /// The end of a Task that went its way.
    Ordinary,
}

impl Urgency {
    /// How many of them may wait.
    fn places(self) -> usize {
        match self {
            Self::Trouble => 1_000,
            Self::Denial => 200,
            Self::Ordinary => 50,
        }
    }
}

/// What people are told of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Its uid; none of an object that was not made.
    pub uid: Option<String>,
    /// A reason of `.status.reason`, or a code.
    pub reason: String,
    pub note: String,
    pub urgency: Urgency,
    /// Tells apart what is told of one Task for the same reason: the attempt.
    pub attempt: i64,
}

impl Announcement {
    fn is_about_the_same_as(&self, other: &Self) -> bool {
        (&self.kind, &self.namespace, &self.name, &self.uid) == (&other.kind, &other.namespace, &other.name, &other.uid)
    }
}

#[derive(Debug, Default)]
struct Queues {
    trouble: VecDeque<Announcement>,
    denials: VecDeque<Announcement>,
    ordinary: VecDeque<Announcement>,
}

impl Queues {
    /// Adds an announcement. Of what becomes of one Task only the last word counts, of what is denied too. Says whether another one
    /// had to go for it.
    fn add(&mut self, announcement: Announcement) -> bool {
        let Self { trouble, denials, ordinary } = self;
        let replaced: &mut [&mut VecDeque<_>] = match announcement.urgency {
            Urgency::Denial => &mut [&mut *denials],
            Urgency::Trouble | Urgency::Ordinary => &mut [&mut *trouble, &mut *ordinary],
        };
        for queue in replaced {
            queue.retain(|waiting| !waiting.is_about_the_same_as(&announcement));
        }
        let queue = match announcement.urgency {
            Urgency::Trouble => trouble,
            Urgency::Denial => denials,
            Urgency::Ordinary => ordinary,
        };
        let most = announcement.urgency.places();
        queue.push_back(announcement);
        let is_full = queue.len() > most;
        if is_full {
            queue.pop_front();
        }
        is_full
    }

    fn next(&mut self) -> Option<Announcement> {
        [&mut self.trouble, &mut self.denials, &mut self.ordinary].into_iter().find_map(VecDeque::pop_front)
    }
}

/// Takes what is to be told, and never makes anybody wait. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Announcer {
    queues: Arc<Mutex<Queues>>,
    news: Arc<Notify>,
    dropped: Counter,
}

impl Announcer {
    /// One that counts what it has to leave out.
    pub fn new(dropped: Counter) -> Self {
        Self { dropped, ..Self::default() }
    }

    /// Tells it, soon or never.
    pub fn announce(&self, announcement: Announcement) {
        if let Ok(mut queues) = self.queues.lock()
            && queues.add(announcement)
        {
            self.dropped.inc();
        }
        self.news.notify_one();
    }

    /// What is to be told next.
    pub fn next(&self) -> Option<Announcement> {
        self.queues.lock().ok()?.next()
    }

    /// Sends what is to be told, for ever, at most ten in a second.
    pub async fn send(self, client: Client, clock: Clock) {
        loop {
            let Some(announcement) = self.next() else {
                self.news.notified().await;
                continue;
            };
            let events: Api<Event> = Api::namespaced(client.clone(), &announcement.namespace);
            match events.create(&PostParams::default(), &event(&announcement, clock.now())).await {
                Ok(_) => {}
                // Told before, by this process or an earlier one.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    debug!(reason = announcement.reason, %error, "an Event was not written");
                    self.dropped.inc();
                }
            }
            sleep(INTERVAL).await;
        }
    }
}

/// One name for the same news, so that nothing is told twice.
fn event(announcement: &Announcement, now: Timestamp) -> Event {
    let Announcement { kind, namespace, name, uid, reason, note, urgency, attempt } = announcement;
    let who = uid.clone().unwrap_or_else(|| format!("{kind}/{name}"));
    let key = sha256_hex(format!("{who} {attempt} {reason} {note}").as_bytes());
    let (action, part) = match urgency {
        Urgency::Denial => ("Admit", "webhook"),
        Urgency::Trouble | Urgency::Ordinary => ("Reconcile", "controller"),
    };
    let is_warning = *urgency != Urgency::Ordinary;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", stem(name, kind), &key[..16])),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some(action.into()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(note)),
        reason: Some(reason.clone()),
        regarding: Some(ObjectReference {
            api_version: Some(format!("{GROUP}/v1")),
            kind: Some(kind.clone()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(format!("{GROUP}/{part}")),
        reporting_instance: Some(format!("jct-{part}")),
        type_: Some(if is_warning { "Warning" } else { "Normal" }.into()),
        ..Event::default()
    }
}

/// What the name of an Event begins with: the object's, as far as it fits. The name of what was denied may be none.
fn stem(name: &str, kind: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let parts = name.split('.').map(|part| {
        let part: String = part.chars().filter(|c| fits(*c) || *c == '-').collect();
        part.trim_matches('-').to_owned()
    });
    let stem: String = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".").chars().take(200).collect();
    let stem = stem.trim_end_matches(['-', '.']);
    if stem.is_empty() { kind.to_lowercase() } else { stem.to_owned() }
}

fn cut(note: &str) -> String {
    let end = note.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MOST_BYTES).last();
    note[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn announcement(uid: usize, urgency: Urgency) -> Announcement {
        Announcement {
            kind: "Task".into(),
            namespace: "team".into(),
            name: "look".into(),
            uid: Some(uid.to_string()),
            reason: "OOMKilled".into(),
            note: "because of that".into(),
            urgency,
            attempt: 1,
        }
    }

    fn denial(name: &str) -> Announcement {
        Announcement { name: name.into(), uid: None, ..announcement(0, Urgency::Denial) }
    }

    #[test]
    fn what_is_ordinary_goes_first_where_there_is_too_much_and_comes_last() {
        let announcer = Announcer::default();
        let places = Urgency::Ordinary.places();
        for uid in 0..places * 3 {
            announcer.announce(announcement(uid, Urgency::Ordinary));
        }
        announcer.announce(denial("look"));
        announcer.announce(announcement(7_000, Urgency::Trouble));
        assert_eq!(announcer.dropped.get(), places as u64 * 2);
        assert_eq!(announcer.next().unwrap().urgency, Urgency::Trouble);
        assert_eq!(announcer.next().unwrap().urgency, Urgency::Denial);
        assert_eq!(announcer.next().unwrap().uid, Some((places * 2).to_string()));
    }

    #[test]
    fn denials_take_no_place_of_trouble() {
        let announcer = Announcer::default();
        announcer.announce(announcement(1, Urgency::Trouble));
        for n in 0..2_000 {
            announcer.announce(denial(&format!("look-{n}")));
        }
        assert_eq!(announcer.next(), Some(announcement(1, Urgency::Trouble)));
        let waiting = std::iter::from_fn(|| announcer.next()).count();
        assert_eq!((waiting, announcer.dropped.get()), (200, 1_800));
    }

    #[test]
    fn of_one_task_the_last_word_counts() {
        let announcer = Announcer::default();
        announcer.announce(announcement(1, Urgency::Trouble));
        announcer.announce(announcement(1, Urgency::Ordinary));
        assert_eq!(announcer.next().unwrap().urgency, Urgency::Ordinary);
        assert_eq!(announcer.next(), None);
    }

    #[test]
    fn a_denial_is_no_word_about_how_a_task_goes() {
        let announcer = Announcer::default();
        announcer.announce(announcement(1, Urgency::Trouble));
        announcer.announce(announcement(1, Urgency::Denial));
        announcer.announce(Announcement { note: "another one".into(), ..announcement(1, Urgency::Denial) });
        assert_eq!(announcer.next().unwrap().urgency, Urgency::Trouble);
        assert_eq!(announcer.next().unwrap().note, "another one");
        assert_eq!(announcer.next(), None);
    }

    #[test]
    fn an_event_fits_what_the_api_takes() {
        let long =
            Announcement { name: "n".repeat(253), note: "ä".repeat(4_000), ..announcement(1, Urgency::Trouble) };
        let event = event(&long, Timestamp::UNIX_EPOCH);
        assert!(event.metadata.name.as_ref().unwrap().len() <= 253);
        assert!(event.note.unwrap().len() <= MOST_BYTES);
        let regarding = event.regarding.unwrap();
        assert_eq!((regarding.uid.as_deref(), regarding.namespace), (Some("1"), event.metadata.namespace));
    }

    #[rstest]
    #[case("look", "look")]
    #[case("a.b-c", "a.b-c")]
    #[case("Bad_Name", "adame")]
    #[case("build-", "build")]
    #[case("-.x..y-", "x.y")]
    #[case("é", "task")]
    #[case("", "task")]
    fn the_name_of_an_event_is_one_whatever_the_objects_is(#[case] name: &str, #[case] expected: &str) {
        let event = event(&denial(name), Timestamp::UNIX_EPOCH);
        let found = event.metadata.name.unwrap();
        assert_eq!(found.rsplit_once('.').unwrap().0, expected);
        assert_eq!((event.regarding.unwrap().uid, event.action.as_deref()), (None, Some("Admit")));
    }
}
