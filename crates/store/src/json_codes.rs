//! JSON as it lies in columns that are read and written whole, above all in the audit log, which is kept for ever: pieces that
//! most of it has are one or two characters there.
//!
//! A code is one of [`ONE`], or [`PREFIX`] and one of the characters from the space on. JSON text has none of these control
//! characters; where a text has one all the same, [`LITERAL`] stands before it. So each text that was written without codes, by
//! earlier versions, says what it said. What is hashed, exported and shown is the text without codes.
//!
//! A code never changes its meaning, and the lists only grow at their end: with a migration, which keeps programs off that do not
//! know the new ones.

use std::sync::LazyLock;

use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Type};

use super::conn::Argument;

/// What each of [`FIRST`] stands for.
const ONE: [&str; 26] = [
    r#"":""#,
    r#"",""#,
    r#"status":""#,
    r#"","actor_kind":"human","display":""#,
    r#"","verification":{"checks":[{"evidence_uri":"trace://"#,
    r#"":{""#,
    r#"","kind":"ConstraintSnapshot"}"#,
    r#""},"meta":{"task":{"attempt":1,"commit":"#,
    r#"","kind":"Artifact"}"#,
    r#"","kind":"ContextPacket"}]"#,
    r#""executor":{"actor":{"actor_id":""#,
    r#"/manifest.json","name":"sha256","status":"passed"}],"status":"passed"}}"#,
    r#"started_at":""#,
    r#""made_for":""#,
    r#"","state_sha256":""#,
    r#"{"digest":"sha256:"#,
    r#"uri":"trace://"#,
    r#"task_id":""#,
    r#"manifest_sha256":""#,
    r#","constraints":{"allow_network":false,"allow_secrets":false,"time_budget_seconds":"#,
    r#"cwom_run_id":null,"executor":null,"max_attempts":1,"recorded_at":""#,
    r#""}},"outputs":{"artifacts":[{"id":""#,
    r#"{"attempt":"#,
    r#""status":"running"#,
    r#"{"links":[{"field":""#,
    r#"","kind":""#,
];

/// The codes of [`ONE`]: control characters but NUL, which PostgreSQL takes in no text, and those of white space.
const FIRST: [u8; 26] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0b, 0x0c, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
    0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d,
];
/// Stands before a character that is no code.
const LITERAL: u8 = 0x1e;
/// Stands before a code of [`TWO`].
const PREFIX: u8 = 0x1f;

/// What `PREFIX` and a space stand for, `PREFIX` and `!`, and so on.
const TWO: [&str; 93] = [
    r#","completed_at":""#,
    r#","created_at":""#,
    r#","ended_at":""#,
    r#","queued_at":""#,
    r#","deleted_at":""#,
    r#","trace_removed_at":""#,
    r#""recorded_at":""#,
    r#"{"attempt_ended_at":""#,
    r#"","status":"completed"#,
    r#"","status":"failed"#,
    r#""status":"pending"#,
    r#""status":"queued"#,
    r#"{"status":"planned"}"#,
    r#"{"status":"ready"}"#,
    r#"{"status":"running"}"#,
    r#"{"status":"done"}"#,
    r#"{"status":"queued"}"#,
    r#"{"status":"pending"}"#,
    r#"{"attempt":0,"status":"pending"}"#,
    r#""},"status":"pending","submitted_by":""#,
    r#","status":"pending","task_id":""#,
    r#""status":"running","telemetry":{"started_at":""#,
    r#""},"status":"running","telemetry":{"started_at":""#,
    r#"","status":"running","worker_id":""#,
    r#""},"status":"done","telemetry":{"duration_s":"#,
    r#""},"telemetry":{"duration_s":"#,
    r#"{"cost":{"compute_s":"#,
    r#"","exit_code":0,"manifest_announced":true,""#,
    r#""exit_code":"#,
    r#""},"status":"completed","trace_complete":true,"trace_files":"#,
    r#""},"status":"completed","trace_files":"#,
    r#","trace_path":""#,
    r#"{"attempt":1,"complete":true,"files":"#,
    r#"files_sha256":""#,
    r#"","job_id":""#,
    r#"","job_name":"jct-"#,
    r#"","path":""#,
    r#"","commit":""#,
    r#"","result":{"outputs":[""#,
    r#""],"summary":""#,
    r#"","result_summary":""#,
    r#"","kind":"Artifact"}],"result_summary":""#,
    r#"","kind":"Artifact"},{"id":""#,
    r#"{"error":{"message":""#,
    r#"","reason":""#,
    r#"","message":""#,
    r#""retryable":"#,
    r#""infrastructure_failures":"#,
    r#""spec_generation":"#,
    r#""rule":""#,
    r#"{"assigned_to":""#,
    r#"{"assigned_to":"jct-"#,
    r#","worker_id":"jct-"#,
    r#"{"acceptance_criteria":[""#,
    r#"{"acceptance":{"criteria":[""#,
    r#""],"constraints":{"allow_network":"#,
    r#"","evidence_requirements":[""#,
    r#""],"id":""#,
    r#"","inputs":{""#,
    r#""},"metadata":{""#,
    r#""},"name":""#,
    r#"","name":""#,
    r#"","namespace":""#,
    r#"","objective":""#,
    r#"","operation":""#,
    r#"","record":{"create_cwom":true,"cwom_repo_id":""#,
    r#"","uid":""#,
    r#""},"requested_by":{"id":""#,
    r#"","kind":"human","label":""#,
    r#"","submitted_by":""#,
    r#"","target":{"path":""#,
    r#"","ref":""#,
    r#"","repo":""#,
    r#""},"task_id":""#,
    r#"","trace_id":""#,
    r#"","version":"1.0"}"#,
    r#"","cwom_issue_id":""#,
    r#"context_packets","id":""#,
    r#"{"links":[{"field":"constraints","id":""#,
    r#"{"links":[{"field":"inputs.context_packets","id":""#,
    r#"","kind":"ConstraintSnapshot"},{"field":"context_packets","id":""#,
    r#"","kind":"ContextPacket"}],"made_for":""#,
    r#""},"runtime":""#,
    r#"","toolchain":["jct "#,
    r#""]},"inputs":{"constraint_snapshot":{"id":""#,
    r#"","kind":"ConstraintSnapshot"},"inputs":{"data_blobs":[{"digest":"sha256:"#,
    r#"","media_type":"application/json","name":"task-inputs"}]},"instructions":""#,
    r#""]},"assignees":[{"actor_id":""#,
    r#""}],"constraints":[{"id":""#,
    r#"","kind":"ContextPacket"}],"description":""#,
    r#"","meta":{"task":{"criteria_from_objective":false,"evidence_requirements":[""#,
    r#"","media_type":""#,
    r#"","size_bytes":"#,
];

/// Every piece with its code.
fn pieces() -> impl Iterator<Item = (&'static str, String)> {
    let one = ONE.iter().zip(FIRST).map(|(piece, code)| (*piece, char::from(code).to_string()));
    let two =
        TWO.iter().zip(b' '..).map(|(piece, code)| (*piece, format!("{}{}", char::from(PREFIX), char::from(code))));
    one.chain(two)
}

/// A step into pieces: the code of the one that ends here, and where each next byte leads.
#[derive(Default)]
struct Step {
    code: Option<String>,
    next: Vec<(u8, usize)>,
}

/// The pieces as a trie; its first step is the root.
static TRIE: LazyLock<Vec<Step>> = LazyLock::new(|| {
    let mut trie = vec![Step::default()];
    for (piece, code) in pieces() {
        let mut at = 0;
        for byte in piece.bytes() {
            at = match trie[at].next.iter().find(|(next, _)| *next == byte) {
                Some((_, next)) => *next,
                None => {
                    let next = trie.len();
                    trie[at].next.push((byte, next));
                    trie.push(Step::default());
                    next
                }
            };
        }
        trie[at].code = Some(code);
    }
    trie
});

/// The longest piece that `text` begins with: its length and its code.
fn longest_piece(trie: &'static [Step], text: &[u8]) -> Option<(usize, &'static str)> {
    let (mut at, mut found) = (0, None);
    for (index, byte) in text.iter().enumerate() {
        match trie[at].next.iter().find(|(next, _)| next == byte) {
            Some((_, next)) => at = *next,
            None => break,
        }
        found = trie[at].code.as_deref().map(|code| (index + 1, code)).or(found);
    }
    found
}

/// JSON text that has codes in its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodedJson {
    /// Without codes.
    pub(crate) text: String,
    /// Whether it is written without codes, too: an index may look into it.
    is_plain: bool,
}

impl CodedJson {
    pub(crate) fn new(text: String) -> Self {
        Self { text, is_plain: false }
    }

    pub(crate) fn plain(text: String) -> Self {
        Self { text, is_plain: true }
    }
}

impl From<CodedJson> for Argument {
    fn from(json: CodedJson) -> Self {
        Self::Text(Some(if json.is_plain { json.text } else { encode(&json.text) }))
    }
}

impl From<Option<CodedJson>> for Argument {
    fn from(json: Option<CodedJson>) -> Self {
        json.map_or(Self::Text(None), Self::from)
    }
}

impl<DB: Database> Type<DB> for CodedJson
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        String::type_info()
    }

    fn compatible(column: &DB::TypeInfo) -> bool {
        String::compatible(column)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for CodedJson
where
    String: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self::new(decode(String::decode(value)?)))
    }
}

fn is_code(byte: u8) -> bool {
    byte < b' ' && (FIRST.contains(&byte) || byte == LITERAL || byte == PREFIX)
}

/// The text with codes.
pub(crate) fn encode(text: &str) -> String {
    let trie = TRIE.as_slice();
    let mut coded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = match longest_piece(trie, rest.as_bytes()) {
            Some((length, code)) => {
                coded.push_str(code);
                length
            }
            None => {
                if u8::try_from(letter).is_ok_and(is_code) {
                    coded.push(char::from(LITERAL));
                }
                coded.push(letter);
                letter.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    coded
}

/// The text without codes, of what stands in a column of JSON: for who reads the database by SQL. A code that stands for
/// nothing stays as it is.
pub fn decode(coded: String) -> String {
    let Some(mut at) = coded.bytes().position(is_code) else { return coded };
    let mut text = String::with_capacity(coded.len() * 2);
    let mut rest = coded.as_str();
    loop {
        // Codes are single bytes of ASCII: what is between them is copied as a whole.
        text.push_str(&rest[..at]);
        let code = rest.as_bytes()[at];
        let mut letters = rest[at + 1..].chars();
        match code {
            LITERAL => text.extend(letters.next()),
            PREFIX => match letters.next() {
                Some(second) => match second_piece(second) {
                    Some(piece) => text.push_str(piece),
                    None => text.extend([char::from(PREFIX), second]),
                },
                None => text.push(char::from(PREFIX)),
            },
            _ => text.extend(FIRST.iter().position(|known| *known == code).map(|place| ONE[place])),
        }
        rest = letters.as_str();
        match rest.bytes().position(is_code) {
            Some(next) => at = next,
            None => {
                text.push_str(rest);
                return text;
            }
        }
    }
}

fn second_piece(code: char) -> Option<&'static str> {
    let place = u8::try_from(code).ok()?.checked_sub(b' ')?;
    TWO.get(usize::from(place)).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Rows have these codes.
    #[test]
    fn codes_keep_their_meaning() {
        for (piece, code) in pieces() {
            assert_eq!((encode(piece), decode(code.clone())), (code, piece.to_owned()));
        }
        let digest = |pieces: &[&str]| jct_domain::id::sha256_hex(pieces.join("\n").as_bytes());
        // Of later pieces add a line for the first so many.
        assert_eq!(digest(&ONE), "f823817e23ec33abb7000ebbb4164f922d2b41bbaf0120130658cc9b3734a099");
        assert_eq!(digest(&TWO[..93]), "ddfcd4f3680c09219251be2f423da3f84740880f1eec0ba167e61bbeb7accad8");
    }

    #[test]
    fn what_has_no_codes_says_what_it_said() {
        for text in ["", "{}", r#"{"status":"ready"}"#, "é\u{2028}\"\\u0001\"", " \n\t"] {
            assert_eq!(decode(text.into()), text);
        }
    }

    #[test]
    fn the_json_of_an_ordinary_task_is_not_much_longer_than_half() {
        let samples = [
            json!({"status": "planned"}),
            json!({"attempt": 1, "created_at": "2026-11-30T17:15:23.366716Z", "job_name": "jct-01m8pq8g3ck16v3amgkc9gyyft-1",
                "status": "pending", "task_id": "01M8PQ8G3CK16V3AMGKC9GYYFT"}),
            json!({"links": [{"field": "inputs.context_packets", "id": "01M8PQ8G3C71GA960RWPT58N1Q", "kind": "ContextPacket"}],
                "made_for": "01M8PQ8G3CK16V3AMGKC9GYYFT", "state_sha256": "0".repeat(64)}),
        ];
        let length = |json: &Value| (json.to_string().len(), encode(&json.to_string()).len());
        let (plain, coded) = samples.iter().map(length).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        assert!(coded * 100 < plain * 62, "{coded} of {plain}");
    }

    #[test]
    fn codes_that_stand_for_nothing_stay() {
        for text in ["\u{1f}", "\u{1f}\u{7f}", "\u{1f}é", "a\u{1f}~"] {
            assert_eq!(decode(text.into()), text);
        }
        assert_eq!(decode("\u{1e}".into()), "");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "(\\PC|[\u{1}-\u{1f}]|status\":\"|\",\"|\\{\"attempt\":|\":\")*") {
            prop_assert_eq!(decode(encode(&text)), text);
        }

        #[test]
        fn a_text_never_has_more_bytes_with_codes_than_without(text in "[^\u{1}-\u{1f}]*") {
            prop_assert!(encode(&text).len() <= text.len());
        }
    }
}
