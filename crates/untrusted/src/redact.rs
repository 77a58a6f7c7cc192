//! Takes secrets out of what an executor prints, line by line, so that none reaches the trace.
//!
//! Well-known forms only: a net with known holes below the controls that keep secrets away from executors in the first
//! place. It errs on the side of redacting.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use regex::bytes::{Captures, Regex, RegexSet};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";
/// Of a longer line, in bytes, the rest is dropped.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// So much of the end of an overlong line is dropped as well, since a secret may have been cut in it.
const MARGIN_BYTES: usize = 4 * 1024;
/// A longer number may be a secret, unless what it follows speaks of many.
const MAX_COUNT_DIGITS: usize = 3;
/// A private key whose end is not seen in so many lines has none.
const MAX_KEY_LINES: usize = 600;

/// Each with the group `keep`, shown, and whatever is matched besides, replaced: of a `value` what its quotes hold.
const PATTERNS: [&str; 7] = [
    // Tokens known by their prefix.
    r"(?-u)\b(?:gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|gl(?:pat|ptt|rt|dt|cbt|soat)-[A-Za-z0-9_-]{10,}|xox[a-z]-[A-Za-z0-9-]{8,}|(?:sk|rk|pk)[-_][A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{16,}|pypi-[A-Za-z0-9_-]{16,}|dckr_pat_[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|cio[a-zA-Z0-9]{32,}|ya29\.[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|hv[sb]\.[A-Za-z0-9_-]{16,}|dop_v1_[a-f0-9]{32,}|AGE-SECRET-KEY-1[A-Z0-9]{20,})",
    // AWS key ids.
    r"(?-u)\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}",
    // JSON Web Tokens.
    r"(?-u)\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
    // Authorization headers and the like.
    r"(?i-u)(?P<keep>\b(?:bearer|basic)[ \t]+)[A-Za-z0-9._~+/=-]{8,}",
    r#"(?i-u)(?P<keep>\b(?:proxy-)?authorization["']?[ \t]*[:=][ \t]*["']?(?:[a-z]+[ \t]+)?)[^\s"']{4,}"#,
    // Credentials in URLs.
    r#"(?i-u)(?P<keep>\b[a-z][a-z0-9+.-]{1,15}://)[^\s/@"'<>]+@"#,
    // password=…, "api_key": "…", AWS_SECRET_ACCESS_KEY=…, also within a text in JSON.
    r#"(?i-u)(?P<keep>(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?key|credentials?)[a-z0-9_-]*\\?["']?[ \t]*(?:=>|[:=])[ \t]*)(?P<value>\\"(?:[^"\\])+(?:\\")?|"(?:[^"\\]|\\.)+"?|'(?:[^'\\]|\\.)+'?|[^\s"',;&]+)"#,
];

static WELL_KNOWN: LazyLock<Arc<Rules>> = LazyLock::new(|| Arc::new(Rules::compile(&[])));

/// What is a secret: the well-known forms, and those of the configuration.
#[derive(Debug)]
pub struct Rules {
    /// Tells in one pass which of the patterns are worth a look: usually none.
    any: RegexSet,
    each: Vec<Regex>,
}

impl Default for Rules {
    /// The well-known forms alone.
    fn default() -> Self {
        Self::compile(&[])
    }
}

impl Rules {
    /// The well-known forms alone.
    pub fn well_known() -> Arc<Self> {
        WELL_KNOWN.clone()
    }

    /// The well-known forms and `patterns`, which were checked when the configuration was read: one that does not compile is
    /// left out. What the group `keep` of a pattern matches is shown.
    pub fn compile(patterns: &[String]) -> Self {
        let all = PATTERNS.iter().copied().chain(patterns.iter().map(String::as_str));
        let each: Vec<Regex> = all.filter_map(|pattern| Regex::new(pattern).ok()).collect();
        let any = RegexSet::new(each.iter().map(Regex::as_str)).unwrap_or_else(|_| RegexSet::empty());
        Self { any, each }
    }

    /// `text` without the secrets in it. For a text that is whole: a private key may span its lines.
    pub fn redact(self: &Arc<Self>, text: &str) -> String {
        let mut redactor = Redactor::new(self.clone());
        let mut out = Vec::with_capacity(text.len());
        redactor.push(text.as_bytes(), &mut out);
        redactor.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The patterns that match in `line`; all, if they were too many to be looked for at once.
    fn matching(&self, line: &[u8]) -> impl Iterator<Item = &Regex> {
        let all = self.any.is_empty();
        let found = self.any.matches(line);
        self.each.iter().enumerate().filter(move |(index, _)| all || found.matched(*index)).map(|(_, regex)| regex)
    }
}

/// `text` without the well-known forms of secrets in it: see [`Rules::redact`].
pub fn redact(text: &str) -> String {
    WELL_KNOWN.redact(text)
}

/// A stream of bytes being redacted. However the stream is cut into chunks, the result is the same.
#[derive(Debug)]
pub struct Redactor {
    rules: Arc<Rules>,
    line: Vec<u8>,
    dropped_bytes: u64,
    key_lines: usize,
}

impl Redactor {
    /// A stream that begins.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self { rules, line: Vec::new(), dropped_bytes: 0, key_lines: 0 }
    }

    /// Takes the next chunk, and appends to `out` the lines that became complete.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for part in chunk.split_inclusive(|byte| is_line_end(*byte)) {
            let (text, end) = match part.split_last() {
                Some((end, text)) if is_line_end(*end) => (text, Some(*end)),
                _ => (part, None),
            };
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len()).min(text.len());
            self.line.extend(text.iter().take(room));
            self.dropped_bytes += (text.len() - room) as u64;
            if let Some(end) = end {
                self.end_line(out);
                out.push(end);
            }
        }
    }

    /// Appends what is left of a last line without an end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_line(out);
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let mut line = std::mem::take(&mut self.line);
        let dropped_bytes = std::mem::take(&mut self.dropped_bytes);
        if dropped_bytes == 0 {
            out.extend(self.redact_line(&line).iter());
            return;
        }
        // Found in the line as far as it is known, then cut where no secret's beginning can be in doubt.
        let known = MAX_LINE_BYTES - MARGIN_BYTES;
        let rules = self.rules.clone();
        let suspects: Vec<&Regex> = rules.matching(&line).collect();
        for regex in suspects {
            let spans: Vec<_> = regex.find_iter(&line).map(|found| found.range()).collect();
            for span in spans.into_iter().filter(|span| span.start < known) {
                line.iter_mut().take(span.end).skip(span.start).for_each(|byte| *byte = b'*');
            }
        }
        line.truncate(known);
        out.extend(self.redact_line(&line).iter());
        out.extend(format!("… [{} bytes of this line left out]", dropped_bytes + MARGIN_BYTES as u64).bytes());
    }

    fn redact_line<'a>(&mut self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let key = self.without_private_keys(line);
        let rules = self.rules.clone();
        let found: Vec<&Regex> = rules.matching(&key).collect();
        found.into_iter().fold(key, |line, regex| match regex.replace_all(&line, replacement) {
            Cow::Borrowed(_) => line,
            Cow::Owned(changed) => Cow::Owned(changed),
        })
    }

    /// Replaces everything from `-----BEGIN … PRIVATE KEY` to the end of its last line's marker, over lines.
    fn without_private_keys<'a>(&mut self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let mut kept = Vec::new();
        let mut rest = line;
        loop {
            if self.key_lines > 0 {
                match find_marker(rest, b"-----END ") {
                    Some((_, end)) => {
                        rest = rest.get(end..).unwrap_or_default();
                        self.key_lines = 0;
                    }
                    None => {
                        self.key_lines = (self.key_lines + 1) % MAX_KEY_LINES;
                        return Cow::Owned(kept);
                    }
                }
            }
            let Some((start, end)) = find_marker(rest, b"-----BEGIN ") else { break };
            kept.extend(rest.get(..start).unwrap_or_default());
            kept.extend(b"[redacted private key]");
            rest = rest.get(end..).unwrap_or_default();
            self.key_lines = 1;
        }
        if rest.len() == line.len() {
            return Cow::Borrowed(line);
        }
        kept.extend(rest);
        Cow::Owned(kept)
    }
}

/// Where the first marker of a private key with this beginning starts and ends in `line`.
fn find_marker(line: &[u8], beginning: &[u8]) -> Option<(usize, usize)> {
    const WORDS: &[u8] = b"PRIVATE KEY";
    let mut from = 0;
    loop {
        let start = from + find(line.get(from..)?, beginning)?;
        let after = start + beginning.len();
        let label = line.get(after..)?;
        let dashes = find(label, b"-----").unwrap_or(label.len());
        if find(label.get(..dashes)?, WORDS).is_some() {
            return Some((start, (after + dashes + 5).min(line.len())));
        }
        from = after;
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn replacement(captures: &Captures) -> Vec<u8> {
    let keep = captures.name("keep").map(|keep| keep.as_bytes()).unwrap_or_default();
    let Some(value) = captures.name("value") else {
        let end: &[u8] = if keep.ends_with(b"://") { b"@" } else { b"" };
        return [keep, REDACTED.as_bytes(), end].concat();
    };
    let (begin, secret, end) = unwrapped(value.as_bytes());
    let shown = if is_no_secret(keep, secret) { secret } else { REDACTED.as_bytes() };
    [keep, begin, shown, end].concat()
}

/// A value without its quotes, or the brackets around it: what is JSON stays JSON.
fn unwrapped(value: &[u8]) -> (&[u8], &[u8], &[u8]) {
    for quote in [b"\\\"".as_slice(), b"\"", b"'"] {
        if let Some(inner) = value.strip_prefix(quote) {
            let inner = inner.strip_suffix(quote).unwrap_or(inner);
            let (begin, rest) = value.split_at(quote.len());
            return (begin, inner, rest.get(inner.len()..).unwrap_or_default());
        }
    }
    let inner = |byte: &u8| !b"{[(".contains(byte);
    let start = value.iter().position(inner).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !b"}])".contains(byte)).map_or(start, |at| (at + 1).max(start));
    let (begin, rest) = value.split_at(start);
    let (secret, end) = rest.split_at(end - start);
    (begin, secret, end)
}

/// Whether what follows a word for a secret is a number of them, or says yes or no. `keep` ends with the word and what assigns.
fn is_no_secret(keep: &[u8], value: &[u8]) -> bool {
    if value.is_empty()
        || [b"true".as_slice(), b"false", b"null", b"none", b"redacted"]
            .contains(&value.to_ascii_lowercase().as_slice())
    {
        return true;
    }
    let is_number = value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let name =
        keep.iter().rposition(|byte| byte.is_ascii_alphanumeric()).and_then(|at| keep.get(..=at)).unwrap_or_default();
    let counts_many = name.to_ascii_lowercase().ends_with(b"s") && !name.to_ascii_lowercase().ends_with(b"pass");
    is_number && (counts_many || value.len() <= MAX_COUNT_DIGITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const CANARY: &str = "Zq7CanaryCanaryCanary93x";

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(Rules::default().each.len(), PATTERNS.len());
        assert_eq!(Rules::default().any.len(), PATTERNS.len());
    }

    #[test]
    fn the_configuration_adds_patterns() {
        let rules = Arc::new(Rules::compile(&["corp-[0-9a-f]{8}".into(), "(?P<keep>id: )[0-9]+".into()]));
        assert_eq!(
            rules.redact("see corp-0123abcd, id: 77, token=abcdefgh"),
            "see [redacted], id: [redacted], token=[redacted]"
        );
    }

    #[rstest]
    #[case("token ghp_{C}", "token [redacted]")]
    #[case("github_pat_{C} is it", "[redacted] is it")]
    #[case("glpat-{C}", "[redacted]")]
    #[case("key AKIAIOSFODNN7EXAMPLE.", "key [redacted].")]
    #[case("Authorization: Bearer {C}", "Authorization: [redacted]")]
    #[case("curl -H 'authorization: token {C}'", "curl -H 'authorization: [redacted]'")]
    #[case("fetching https://user:{C}@host/x.git", "fetching https://[redacted]@host/x.git")]
    #[case("https://{C}@host/x", "https://[redacted]@host/x")]
    #[case("password={C}&x=1", "password=[redacted]&x=1")]
    #[case("{\"api_key\": \"{C} with blanks\", \"x\": 1}", "{\"api_key\": \"[redacted]\", \"x\": 1}")]
    #[case("{\"token\":\"{C}\"}", "{\"token\":\"[redacted]\"}")]
    #[case(r#"{"log": "{\"token\": \"{C}\", \"x\": 1}"}"#, r#"{"log": "{\"token\": \"[redacted]\", \"x\": 1}"}"#)]
    #[case(r#"{"cost": {"tokens": 120034}, "x": 1}"#, r#"{"cost": {"tokens": 120034}, "x": 1}"#)]
    #[case(r#"{"allow_secrets":false,"secret":null}"#, r#"{"allow_secrets":false,"secret":null}"#)]
    #[case(r#"{"credentials": {"password": "{C}"}}"#, r#"{"credentials": {"password": "[redacted]"}}"#)]
    #[case("{\"pwd\": {C}}", "{\"pwd\": [redacted]}")]
    #[case("password='{C}' x", "password='[redacted]' x")]
    #[case("used tokens: 48213, passwords=0", "used tokens: 48213, passwords=0")]
    #[case("password: 123456", "password: [redacted]")]
    #[case::twice("password=[redacted], \"token\": \"[redacted]\"", "password=[redacted], \"token\": \"[redacted]\"")]
    #[case("AWS_SECRET_ACCESS_KEY={C}", "AWS_SECRET_ACCESS_KEY=[redacted]")]
    #[case("sk-ant-{C}", "[redacted]")]
    #[case("eyJhbGciOiJIUzI1NiJ9.{C}.{C}", "[redacted]")]
    #[case("no secret: 12 passed, https://host/path@v1", "no secret: 12 passed, https://host/path@v1")]
    #[case("12 passed; see https://host/path@v1", "12 passed; see https://host/path@v1")]
    fn well_known_forms(#[case] line: &str, #[case] expected: &str) {
        let shown = redact(&line.replace("{C}", CANARY));
        assert!(!shown.contains(CANARY), "{shown}");
        if expected.starts_with("Authorization") || expected.starts_with("curl") {
            // Two patterns meet here; what counts is that the header's name stays and the rest goes.
            assert!(shown.to_lowercase().contains("authorization: "), "{shown}");
        } else {
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn private_keys_go_whole() {
        let text = format!(
            "before\n-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n{CANARY}\n-----END RSA PRIVATE KEY-----\nafter\n\
             -----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        );
        assert_eq!(
            redact(&text),
            "before\n[redacted private key]\n\n\n\nafter\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        );
        let one_line = format!("k: -----BEGIN PRIVATE KEY-----\\n{CANARY}\\n-----END PRIVATE KEY-----\\n x");
        assert_eq!(redact(&one_line), "k: [redacted private key]\\n x");
    }

    #[test]
    fn a_key_without_end_does_not_swallow_everything() {
        let text = format!("-----BEGIN PRIVATE KEY-----\n{}end\n", "x\n".repeat(2000));
        assert!(redact(&text).ends_with("end\n"));
    }

    #[test]
    fn an_overlong_line_is_cut_and_no_secret_with_it() {
        for position in (MAX_LINE_BYTES - 2 * MARGIN_BYTES..MAX_LINE_BYTES + 100).step_by(97) {
            let line = format!("{} ghp_{CANARY} {}\nnext\n", "x".repeat(position), "y".repeat(100_000));
            let shown = redact(&line);
            assert!(!shown.contains("Zq7C") && !shown.contains("ghp_"), "{position}");
            assert!(shown.ends_with("left out]\nnext\n"));
        }
    }

    proptest! {
        #[test]
        fn no_canary_survives_any_chunking(
            before in "[ -~\n]{0,200}",
            after in "[ -~\n]{0,200}",
            form in prop::sample::select(vec![
                "ghp_{C}", "glpat-{C}", "Bearer {C}", "https://u:{C}@h/", "password={C}", "secret: \"{C}\"",
                "-----BEGIN PRIVATE KEY-----\n{C}\n-----END PRIVATE KEY-----",
            ]),
            size in 1usize..64,
        ) {
            let text = format!("{before}\n{}\n{after}", form.replace("{C}", CANARY));
            let mut redactor = Redactor::new(Rules::well_known());
            let mut out = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                redactor.push(chunk, &mut out);
            }
            redactor.finish(&mut out);
            let shown = String::from_utf8(out).unwrap();
            prop_assert!(!shown.contains(CANARY), "{}", shown);
            prop_assert_eq!(shown, redact(&text));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..2000), size in 1usize..100) {
            let mut redactor = Redactor::new(Rules::well_known());
            let mut out = Vec::new();
            bytes.chunks(size).for_each(|chunk| redactor.push(chunk, &mut out));
            redactor.finish(&mut out);
        }
    }
}
