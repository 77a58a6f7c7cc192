//! Times and durations.

use jiff::Timestamp;
use serde_json::Value;

/// A time, as it is shown: when it was, in words, and exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// For machines; empty if there is none.
    pub exact: String,
    /// `2026-03-01 12:00:04`, of UTC.
    pub date: String,
    /// `12:00:04`.
    pub clock: String,
    /// `3m ago`.
    pub ago: String,
}

impl Moment {
    /// The time at `pointer`.
    pub fn of(value: &Value, pointer: &str, now: Timestamp) -> Self {
        value.pointer(pointer).and_then(parsed).map_or_else(Self::default, |at| Self::at(at, now))
    }

    /// This time.
    pub fn at(at: Timestamp, now: Timestamp) -> Self {
        let passed = now.duration_since(at).as_secs();
        let ago = if passed < 0 { format!("in {}", seconds(-passed)) } else { format!("{} ago", seconds(passed)) };
        Self {
            exact: at.to_string(),
            date: at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            clock: at.strftime("%H:%M:%S").to_string(),
            ago,
        }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.exact.is_empty()
    }
}

/// A time of the API's.
pub fn parsed(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// So many seconds: 45s, 3m 20s, 5h, 12d.
pub fn seconds(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < 60 => format!("{seconds}s"),
        () if minutes < 60 && seconds % 60 != 0 => format!("{minutes}m {}s", seconds % 60),
        () if minutes < 60 => format!("{minutes}m"),
        () if hours < 48 && minutes % 60 != 0 => format!("{hours}h {}m", minutes % 60),
        () if hours < 48 => format!("{hours}h"),
        () => format!("{days}d"),
    }
}

/// So many milliseconds: 0.4s, 12.3s, then as [`seconds`].
pub fn millis(millis: i64) -> String {
    let millis = millis.max(0);
    if millis < 60_000 { format!("{}.{}s", millis / 1000, millis % 1000 / 100) } else { seconds(millis / 1000) }
}

/// How long it took from the time at one pointer to that at another, or to `now` where that is not there yet; none where the
/// first is not.
pub fn between(value: &Value, from: &str, to: &str, now: Timestamp) -> Option<String> {
    let from = value.pointer(from).and_then(parsed)?;
    let to = value.pointer(to).and_then(parsed).unwrap_or(now);
    Some(millis(i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_tell_them() {
        assert_eq!(
            [0, 59, 60, 200, 3_600, 5_400, 172_800, -1].map(seconds),
            ["0s", "59s", "1m", "3m 20s", "1h", "1h 30m", "2d", "0s"]
        );
        assert_eq!([0, 1_234, 59_999, 61_000].map(millis), ["0.0s", "1.2s", "59.9s", "1m 1s"]);
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let moment = Moment::at("2026-03-01T11:57:00Z".parse().unwrap(), now);
        assert_eq!((moment.date.as_str(), moment.ago.as_str()), ("2026-03-01 11:57:00", "3m ago"));
        assert_eq!(Moment::at("2026-03-01T12:00:30Z".parse().unwrap(), now).ago, "in 30s");
    }
}
