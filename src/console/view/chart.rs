//! Charts, drawn here: bars over time, as SVG of numbers alone.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::time;
use super::{list, text};

const WIDTH: i64 = 540;
const HEIGHT: i64 = 180;
/// What is left for numbers and times.
const LEFT: i64 = 44;
const BELOW: i64 = 24;
const ABOVE: i64 = 10;

/// What is drawn of one part of the time.
struct Bar {
    at: Timestamp,
    /// From below: class and height.
    parts: Vec<(&'static str, f64)>,
    detail: String,
}

/// How Tasks ended, over the time that `statistics` are of.
pub fn outcomes(statistics: &Value) -> String {
    let bar = |part: &Value| {
        let count = |name: &str| part[name].as_f64().unwrap_or_default();
        let parts = ["completed", "failed", "cancelled"].map(|name| (name, count(name)));
        let detail = parts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ");
        Some(Bar { at: time::parsed(&part["at"])?, parts: parts.into(), detail })
    };
    drawn(statistics, "How Tasks ended, over time", bar, |most| format!("{most:.0}"), true)
}

/// How long those took that ran.
pub fn durations(statistics: &Value) -> String {
    let bar = |part: &Value| {
        let (mean, most) = (part["mean_seconds"].as_f64()?, part["max_seconds"].as_f64()?);
        let detail = format!("{} on average, {} at the most", seconds(mean), seconds(most));
        Some(Bar {
            at: time::parsed(&part["at"])?,
            parts: vec![("mean", mean), ("most", (most - mean).max(0.0))],
            detail,
        })
    };
    drawn(statistics, "How long Tasks ran, over time", bar, seconds, false)
}

#[allow(clippy::cast_possible_truncation)] // Of seconds that were counted.
fn seconds(seconds: f64) -> String {
    time::millis((seconds * 1000.0) as i64)
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // Pixels.
fn drawn(
    statistics: &Value,
    name: &str,
    bar: impl Fn(&Value) -> Option<Bar>,
    scale: impl Fn(f64) -> String,
    whole: bool,
) -> String {
    let bars: Vec<Bar> = list(&statistics["parts"]).iter().filter_map(bar).collect();
    let (Some(since), Some(until)) = (time::parsed(&statistics["since"]), time::parsed(&statistics["until"])) else {
        return String::new();
    };
    let all = until.duration_since(since).as_secs().max(1);
    let part = statistics["part_seconds"].as_i64().unwrap_or(1).max(1);
    let highest = bars.iter().map(|bar| bar.parts.iter().map(|(_, height)| height).sum::<f64>()).fold(0.0, f64::max);
    let top = nice(highest, whole);
    let room = HEIGHT - BELOW - ABOVE;
    let x = |at: Timestamp| LEFT + (WIDTH - LEFT) * at.duration_since(since).as_secs().clamp(0, all) / all;
    let y = |height: f64| HEIGHT - BELOW - (height / top * room as f64) as i64;
    let wide = ((WIDTH - LEFT) * part / all - 2).clamp(3, 60);
    let mut svg = format!("<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name}\">");
    for line in [0.0, top / 2.0, top] {
        let at = y(line);
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at}\" y2=\"{at}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 6,
            at + 4,
            scale(line)
        );
    }
    for bar in &bars {
        let (left, mut below) = (x(bar.at), 0.0);
        let _ = write!(svg, "<g><title>{}: {}</title>", bar.at.strftime("%Y-%m-%d %H:%M"), bar.detail);
        for (class, height) in bar.parts.iter().filter(|(_, height)| *height > 0.0) {
            let (lower, upper) = (y(below), y(below + height));
            below += height;
            let tall = (lower - upper).max(1);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{left}\" y=\"{}\" width=\"{wide}\" height=\"{tall}\"/>",
                lower - tall
            );
        }
        svg.push_str("</g>");
    }
    let form = if all > 3 * 86_400 { "%b %d" } else { "%H:%M" };
    for quarter in 0..4 {
        let at = since.saturating_add(SignedDuration::from_secs(all * quarter / 4)).unwrap_or(since);
        let _ = write!(svg, "<text x=\"{}\" y=\"{}\">{}</text>", x(at), HEIGHT - 6, at.strftime(form));
    }
    svg.push_str("</svg>");
    svg
}

/// A number at least as great that reads well.
fn nice(most: f64, whole: bool) -> f64 {
    let least = if whole { 2.0 } else { 1.0 };
    if !most.is_finite() || most <= least {
        return least;
    }
    let size = 10_f64.powf(most.log10().floor());
    let step = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].into_iter().find(|step| step * size >= most).unwrap_or(10.0);
    step * size
}

/// A row of what a chart shows, for who does not see it.
#[derive(Clone, Debug)]
pub struct Row {
    pub at: String,
    pub completed: String,
    pub failed: String,
    pub cancelled: String,
    pub mean: String,
    pub most: String,
}

/// The same as a table.
pub fn rows(statistics: &Value) -> Vec<Row> {
    let took = |value: &Value| value.as_f64().map_or_else(|| "–".to_owned(), seconds);
    let row = |part: &Value| Row {
        at: time::parsed(&part["at"]).map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M").to_string()),
        completed: text(part, "/completed"),
        failed: text(part, "/failed"),
        cancelled: text(part, "/cancelled"),
        mean: took(&part["mean_seconds"]),
        most: took(&part["max_seconds"]),
    };
    list(&statistics["parts"]).iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chart_holds_what_happened() {
        let statistics = json!({
            "since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "part_seconds": 3600,
            "parts": [
                {"at": "2026-03-01T06:00:00Z", "completed": 3, "failed": 1, "cancelled": 0, "mean_seconds": 2.5, "max_seconds": 7},
                {"at": "2026-03-01T12:00:00Z", "completed": 0, "failed": 0, "cancelled": 1, "mean_seconds": null, "max_seconds": null},
            ],
        });
        let svg = outcomes(&statistics);
        assert_eq!((svg.matches("<rect").count(), svg.matches("class=\"failed\"").count()), (3, 1), "{svg}");
        assert!(svg.contains("2026-03-01 06:00: 3 completed, 1 failed, 0 cancelled"));
        assert_eq!(durations(&statistics).matches("<title>").count(), 1, "what did not run took no time");
        assert_eq!(rows(&statistics)[1].mean, "–");
        assert!(
            outcomes(&json!({"since": "2026-03-01T00:00:00Z", "until": "2026-03-01T00:00:00Z", "parts": []}))
                .ends_with("</svg>")
        );
        assert_eq!(outcomes(&json!({})), "");
    }

    #[test]
    fn a_scale_ends_at_a_number_that_reads_well() {
        assert_eq!([0.0, 1.0, 3.0, 7.0, 11.0, 99.0].map(|most| nice(most, true)), [2.0, 2.0, 4.0, 8.0, 20.0, 100.0]);
    }
}
