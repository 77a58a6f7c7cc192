//! The termination message of a container: the outcome for those who cannot see the volume.

use std::io::Write;
use std::path::Path;

use jct_domain::trace::Termination;
use jct_untrusted::names::shorten;

/// What the kubelet takes of a termination message, in bytes.
const MAX_BYTES: usize = 4096;
/// The greatest message within it, in characters.
const MAX_MESSAGE_CHARS: usize = 1000;

/// `termination` as JSON of at most 4096 bytes; the message is shortened as far as needed.
pub fn render(mut termination: Termination) -> String {
    let mut limit = MAX_MESSAGE_CHARS;
    loop {
        termination.message = termination.message.as_deref().map(|message| shorten(message, limit));
        let json = serde_json::to_string(&termination).unwrap_or_default();
        if json.len() <= MAX_BYTES || limit == 0 {
            return json;
        }
        limit /= 2;
    }
}

/// Writes the message. Best effort: a container whose message is lost still has its exit code and its trace.
pub fn write(path: &Path, termination: Termination) {
    let written = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| file.write_all(render(termination).as_bytes()));
    if let Err(error) = written {
        tracing::warn!(%error, "termination message not written");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use jct_domain::FailureReason;
    use jct_domain::trace::Outcome;

    proptest! {
        #[test]
        fn always_fits_and_parses(message in "\\PC{0,1500}|\u{1}{900,1100}|\u{1F600}{900,1100}") {
            let termination = Termination {
                outcome: Outcome::Failed,
                reason: Some(FailureReason::ExecutorFailed),
                message: Some(message),
                manifest_sha256: Some("a".repeat(64)),
                claimed_by: None,
            };
            let json = render(termination);
            prop_assert!(json.len() <= MAX_BYTES);
            let back: Termination = serde_json::from_str(&json).unwrap();
            prop_assert!(back.message.unwrap().chars().count() <= MAX_MESSAGE_CHARS);
            prop_assert_eq!(back.reason, Some(FailureReason::ExecutorFailed));
        }
    }
}
