//! Times and durations.

use jiff::Timestamp;
use serde_json::Value;

/// A time of the API's.
pub fn parsed(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// So many seconds as kubectl tells ages: 45s, 3m20s, 5h, 12d.
pub fn ago(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 && seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 48 => format!("{hours}h"),
        () => format!("{days}d"),
    }
}

/// From one time to another; `-` where one is not known.
pub fn between(from: &Value, to: Option<Timestamp>) -> String {
    match (parsed(from), to) {
        (Some(from), Some(to)) => ago(to.duration_since(from).as_secs()),
        _ => "-".to_owned(),
    }
}

/// So many milliseconds since something began, in ten characters: `    12.3s`.
pub fn since(milliseconds: i64) -> String {
    let tenths = milliseconds.max(0) / 100;
    if tenths < 6000 {
        return format!("{:>8}", format!("{}.{}s", tenths / 10, tenths % 10));
    }
    let seconds = tenths / 10;
    format!("{:>8}", format!("{}m{:02}s", seconds / 60, seconds % 60))
}

/// A time to the second.
pub fn second(value: &Value) -> String {
    parsed(value).map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_kubectl_tells_them() {
        let shown = [0, 119, 120, 200, 700, 10_799, 10_800, 172_799, 172_800, -5].map(ago);
        assert_eq!(shown, ["0s", "119s", "2m", "3m20s", "11m", "179m", "3h", "47h", "2d", "0s"]);
        assert_eq!([0, 1_234, 59_999, 601_000].map(since), ["    0.0s", "    1.2s", "   59.9s", "  10m01s"]);
        let from = Value::from("2026-03-01T12:00:00Z");
        assert_eq!(between(&from, "2026-03-01T12:00:04.9Z".parse().ok()), "4s");
        assert_eq!(between(&Value::Null, None), "-");
    }
}
