//! A patch as the parts that it has, one for each file: which files it names, and its hunks. Pure.
//!
//! For what git says of a patch is about paths from which it has taken the first part away, whether that is one of git's
//! prefixes (`a/`, `b/`) or a folder: who has set `diff.noprefix` makes patches without.

use std::collections::BTreeSet;

/// What a patch says of one file.
#[derive(Debug, Default)]
pub struct Section<'a> {
    /// As it is called before; none if it is new. As written, with its prefix.
    old: Option<Vec<u8>>,
    /// As it is called after; none if it is deleted. As written, with its prefix.
    new: Option<Vec<u8>>,
    /// In order.
    pub hunks: Vec<Hunk<'a>>,
    has_prefix: bool,
}

/// Lines of a file before and after.
#[derive(Debug)]
pub struct Hunk<'a> {
    /// `@@ -1,3 +1,3 @@`
    pub header: &'a str,
    /// Its first line in the file before, from 1.
    pub old_start: u64,
    /// With the sign that each begins with.
    pub lines: Vec<&'a str>,
}

/// All that a patch says.
#[derive(Debug)]
pub struct Sections<'a> {
    sections: Vec<Section<'a>>,
    /// How many parts git has to take away from the names.
    pub strip: u8,
}

impl<'a> Sections<'a> {
    /// Reads a patch as git does. What is none has no sections: git says so better.
    ///
    /// # Errors
    /// If some of its names have git's prefixes and others have none.
    pub fn read(patch: &'a str) -> anyhow::Result<Self> {
        let sections = Reader::default().read(patch);
        let with = sections.iter().find(|section| section.has_prefix);
        let without = sections.iter().find(|section| !section.has_prefix);
        if let (Some(with), Some(without)) = (with, without) {
            anyhow::bail!(
                "inputs.patch names some files with a prefix ({:?}) and others without ({:?}): make all of it with one \
                 `git diff`, with diff.noprefix or without",
                lossy(with.named()),
                lossy(without.named())
            );
        }
        Ok(Self { strip: u8::from(without.is_none()), sections })
    }

    /// Every path that the patch names.
    pub fn names(&self) -> BTreeSet<Vec<u8>> {
        self.each_names().flatten().map(<[u8]>::to_vec).collect()
    }

    /// A path of which the patch says something, but nothing changed.
    pub fn unchanged(&self, changed: &BTreeSet<Vec<u8>>) -> Option<String> {
        let mut names = self.each_names();
        let without = names.find(|names| !names.iter().any(|name| changed.contains(*name)))?;
        without.first().map(|name| lossy(name))
    }

    /// What the patch says of the file with this path before or after.
    pub fn of(&self, path: &str) -> Option<&Section<'a>> {
        let mut sections = self.sections.iter();
        sections.find(|section| self.stripped(section).contains(&path.as_bytes()))
    }

    /// The part of the names that is taken for a prefix, if that is none of those that git writes.
    pub fn odd_prefix(&self, path: &str) -> Option<String> {
        let section = self.of(path).filter(|_| self.strip == 1)?;
        let name = section.named();
        let end = name.iter().position(|byte| *byte == b'/')?;
        let prefix = lossy(name.get(..=end)?);
        (!["a/", "b/", "i/", "w/", "c/", "o/", "1/", "2/"].contains(&prefix.as_str())).then_some(prefix)
    }

    fn each_names(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        self.sections.iter().map(|section| self.stripped(section))
    }

    fn stripped<'s>(&self, section: &'s Section<'_>) -> Vec<&'s [u8]> {
        let strip = |name: &'s Vec<u8>| match self.strip {
            0 => Some(name.as_slice()),
            _ => name.iter().position(|byte| *byte == b'/').and_then(|at| name.get(at + 1..)),
        };
        [&section.old, &section.new].into_iter().flatten().filter_map(strip).collect()
    }
}

impl Section<'_> {
    fn named(&self) -> &[u8] {
        self.new.as_ref().or(self.old.as_ref()).map_or(&[], Vec::as_slice)
    }
}

impl Hunk<'_> {
    /// Its lines in the file before.
    pub fn old_lines(&self) -> Vec<&str> {
        self.lines_but('+')
    }

    /// Its lines in the file after.
    pub fn new_lines(&self) -> Vec<&str> {
        self.lines_but('-')
    }

    fn lines_but(&self, sign: char) -> Vec<&str> {
        // Mail programs and editors take the blank of an empty line away, and git minds that as little.
        let lines = self.lines.iter().filter(|line| !line.starts_with(sign));
        lines.map(|line| if matches!(*line, "" | "\r") { line } else { line.get(1..).unwrap_or("") }).collect()
    }
}

#[derive(Default)]
struct Reader<'a> {
    done: Vec<Section<'a>>,
    section: Option<Section<'a>>,
    /// What follows `diff --git `.
    header: Option<&'a str>,
    /// As written after `--- ` and `+++ `, or `rename from ` and the like.
    names: [Option<&'a str>; 2],
    moved: [Option<&'a str>; 2],
    /// How many lines the hunk still has, before and after.
    left: [u64; 2],
}

impl<'a> Reader<'a> {
    fn read(mut self, patch: &'a str) -> Vec<Section<'a>> {
        for line in patch.split('\n') {
            self.line(line);
        }
        self.end_section();
        self.done
    }

    fn line(&mut self, line: &'a str) {
        if self.left != [0, 0] {
            return self.hunk_line(line);
        }
        let plain = line.strip_suffix('\r').unwrap_or(line);
        let has_hunks = self.section.as_ref().is_some_and(|section| !section.hunks.is_empty());
        if let Some(header) = plain.strip_prefix("diff --git ") {
            self.end_section();
            self.header = Some(header);
            self.section = Some(Section::default());
        } else if let Some(name) = plain.strip_prefix("--- ") {
            if has_hunks || self.section.is_none() {
                self.end_section();
                self.section = Some(Section::default());
            }
            self.names[0] = Some(name);
        } else if self.section.is_none() {
        } else if let Some(name) = plain.strip_prefix("+++ ") {
            self.names[1] = Some(name);
        } else if let Some(name) = plain.strip_prefix("rename from ").or_else(|| plain.strip_prefix("copy from ")) {
            self.moved[0] = Some(name);
        } else if let Some(name) = plain.strip_prefix("rename to ").or_else(|| plain.strip_prefix("copy to ")) {
            self.moved[1] = Some(name);
        } else if plain.starts_with("@@ -") {
            self.begin_hunk(plain);
        }
    }

    fn begin_hunk(&mut self, line: &'a str) {
        let Some((old_start, left)) = ranges(line) else { return };
        let end = line.get(3..).and_then(|rest| rest.find("@@")).map_or(line.len(), |at| at + 5);
        self.left = left;
        if let Some(section) = &mut self.section {
            section.hunks.push(Hunk { header: line.get(..end).unwrap_or(line), old_start, lines: Vec::new() });
        }
    }

    fn hunk_line(&mut self, line: &'a str) {
        let taken = match line.as_bytes().first() {
            Some(b'-') => [1, 0],
            Some(b'+') => [0, 1],
            Some(b' ' | b'\r') | None => [1, 1],
            Some(b'\\') => [0, 0],
            // Cut off: git refuses it.
            Some(_) => {
                self.left = [0, 0];
                return self.line(line);
            }
        };
        self.left = [0, 1].map(|side| self.left[side].saturating_sub(taken[side]));
        if taken != [0, 0]
            && let Some(hunk) = self.section.as_mut().and_then(|section| section.hunks.last_mut())
        {
            hunk.lines.push(line);
        }
    }

    fn end_section(&mut self) {
        let header = self.header.take();
        let (names, moved) = (std::mem::take(&mut self.names), std::mem::take(&mut self.moved));
        self.left = [0, 0];
        let Some(mut section) = self.section.take() else { return };
        [section.old, section.new] = names.map(|name| name.and_then(name_in_line));
        match (header, moved) {
            (Some(header), [Some(from), Some(to)]) => {
                // These lines have the names without a prefix in any case.
                section.has_prefix = header != format!("{from} {to}");
                let full = |side: &str, name: &str| [side.as_bytes(), &unquoted(name)].concat();
                let prefixes = if section.has_prefix { ["a/", "b/"] } else { ["", ""] };
                section.old = Some(full(prefixes[0], from));
                section.new = Some(full(prefixes[1], to));
            }
            (Some(header), _) => {
                let twice = halves(header).filter(|(one, other)| one == other);
                section.has_prefix = twice.is_none();
                if names == [None, None] {
                    // A mode, an empty or a binary file: only the header has the name.
                    let named = twice.or_else(|| halves(header)).map(|(_, name)| unquoted(name));
                    (section.old, section.new) = (named.clone(), named);
                }
            }
            (None, _) => {
                // A mention of a file in the words around a patch is none.
                if section.hunks.is_empty() {
                    return;
                }
                section.has_prefix = is_prefixed(section.old.as_deref(), section.new.as_deref());
            }
        }
        self.done.push(section);
    }
}

/// Where the old lines begin, and how many lines there are before and after: `@@ -1,3 +1,4 @@`.
fn ranges(line: &str) -> Option<(u64, [u64; 2])> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let count = |range: &str| range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok());
    Some((old.split(',').next()?.parse().ok()?, [count(old)?, count(new)?]))
}

/// Both names of a header that has the same file twice, with prefixes of the same length or none.
fn halves(header: &str) -> Option<(&str, &str)> {
    let middle = header.len() / 2;
    let (one, other) = (header.get(..middle)?, header.get(middle..)?.strip_prefix(' ')?);
    (one.len() == other.len()).then_some((one, other))
}

/// Whether the names of a patch without a header of git's begin with a part that is no folder.
fn is_prefixed(old: Option<&[u8]>, new: Option<&[u8]>) -> bool {
    let starts = |name: &[u8], with: &[&[u8]]| with.iter().any(|with| name.starts_with(with));
    match (old, new) {
        (Some(old), Some(new)) => old != new && (old.contains(&b'/') || new.contains(&b'/')),
        (Some(name), None) | (None, Some(name)) => starts(name, &[b"a/", b"b/"]),
        (None, None) => true,
    }
}

/// The name after `--- ` or `+++ `; none for `/dev/null`.
fn name_in_line(text: &str) -> Option<Vec<u8>> {
    let name = if text.starts_with('"') { text } else { text.split('\t').next().unwrap_or(text) };
    if name == "/dev/null" { None } else { Some(unquoted(name)) }
}

/// A name as git quotes it: `"a/\303\251"`.
fn unquoted(name: &str) -> Vec<u8> {
    let Some(inner) = name.strip_prefix('"') else { return name.as_bytes().to_vec() };
    let mut out = Vec::new();
    let mut bytes = inner.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => match bytes.next() {
                Some(digit @ b'0'..=b'3') => {
                    let mut value = digit - b'0';
                    while let Some(digit) = bytes.next_if(|byte| (b'0'..=b'7').contains(byte)) {
                        value = value.wrapping_mul(8).wrapping_add(digit - b'0');
                    }
                    out.push(value);
                }
                Some(letter) => out.push(match letter {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    other => other,
                }),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(patch: &str) -> (u8, Vec<String>) {
        let sections = Sections::read(patch).unwrap();
        (sections.strip, sections.names().iter().map(|name| lossy(name)).collect())
    }

    #[rstest]
    #[case::usual("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", 1, &["x"])]
    #[case::no_prefix("diff --git s/x s/x\n--- s/x\n+++ s/x\n@@ -1 +1 @@\n-a\n+b\n", 0, &["s/x"])]
    #[case::a_folder_called_a("diff --git a/x a/x\n--- a/x\n+++ a/x\n@@ -1 +1 @@\n-a\n+b\n", 0, &["a/x"])]
    #[case::mnemonic("diff --git i/s/x w/s/x\n--- i/s/x\n+++ w/s/x\n@@ -1 +1 @@\n-a\n+b\n", 1, &["s/x"])]
    #[case::new("diff --git l/x l/x\nnew file mode 100644\n--- /dev/null\n+++ l/x\n@@ -0,0 +1 @@\n+b\n", 0, &["l/x"])]
    #[case::renamed("diff --git o/x n/x\nsimilarity index 100%\nrename from o/x\nrename to n/x\n", 0, &["n/x", "o/x"])]
    #[case::moved("diff --git a/o/x b/n/x\nsimilarity index 100%\nrename from o/x\nrename to n/x\n", 1, &["n/x", "o/x"])]
    #[case::mode("diff --git a/run me b/run me\nold mode 100644\nnew mode 100755\n", 1, &["run me"])]
    #[case::mode_no_prefix("diff --git run me run me\nold mode 100644\nnew mode 100755\n", 0, &["run me"])]
    #[case::quoted("diff --git \"a/\\303\\251\\t\" \"b/\\303\\251\\t\"\nold mode 100644\nnew mode 100755\n", 1, &["é\t"])]
    #[case::blanks("diff --git a/a b b/a b\n--- a/a b\t\n+++ b/a b\t\n@@ -1 +1 @@\n-a\n+b\n", 1, &["a b"])]
    #[case::plain_diff("--- x.orig\t2026-01-01\n+++ x\t2026-01-02\n@@ -1 +1 @@\n-a\n+b\n", 0, &["x", "x.orig"])]
    #[case::plain_prefixed("--- old/s/x\n+++ new/s/x\n@@ -1 +1 @@\n-a\n+b\n", 1, &["s/x"])]
    #[case::plain_new("--- /dev/null\n+++ b/s/x\n@@ -0,0 +1 @@\n+b\n", 1, &["s/x"])]
    #[case::a_mail("Subject: x\n\n--- like this\n---\n x | 2 +-\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39\n", 1, &["x"])]
    #[case::lines_like_headers(
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- y\n+++ z\n \n@@ -9 +9 @@\n-diff --git q q\n+b\n",
        1, &["x"]
    )]
    #[case::crlf("diff --git a/x b/x\r\n--- a/x\r\n+++ b/x\r\n@@ -1 +1 @@\r\n-a\r\n+b\r\n", 1, &["x"])]
    #[case::nothing("nonsense", 1, &[])]
    fn names_are_those_of_the_files(#[case] patch: &str, #[case] strip: u8, #[case] names: &[&str]) {
        assert_eq!(read(patch), (strip, names.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn half_with_prefixes_is_refused() {
        let patch = "diff --git a/x b/x\nold mode 100644\nnew mode 100755\ndiff --git s/y s/y\nold mode 100644\nnew mode 100755\n";
        let message = Sections::read(patch).unwrap_err().to_string();
        assert!(message.contains("with a prefix (\"b/x\") and others without (\"s/y\")"), "{message}");
    }

    #[test]
    fn hunks_have_both_sides() {
        let sections =
            Sections::read("--- a/x\n+++ b/x\n@@ -3,3 +3,2 @@ fn x() @@\n one\n\n-two\n\\ No newline at end of file\n");
        let sections = sections.unwrap();
        let hunk = &sections.of("x").unwrap().hunks[0];
        assert_eq!((hunk.header, hunk.old_start), ("@@ -3,3 +3,2 @@", 3));
        assert_eq!((hunk.old_lines(), hunk.new_lines()), (vec!["one", "", "two"], vec!["one", ""]));
    }

    #[test]
    fn what_is_taken_for_a_prefix_is_told_if_it_is_none_of_gits() {
        let odd = |patch: &str, path: &str| Sections::read(patch).unwrap().odd_prefix(path);
        assert_eq!(odd("--- src/x\n+++ lib/x\n@@ -1 +1 @@\n-a\n+b\n", "x").as_deref(), Some("lib/"));
        assert_eq!(odd("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "x"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(patch in "(diff --git |--- |\\+\\+\\+ |@@ -1,2 \\+3,4 @@|rename from |\"\\\\3|[ -~é\n\r]){0,40}") {
            if let Ok(sections) = Sections::read(&patch) {
                let names = sections.names();
                sections.unchanged(&names);
                for name in names {
                    sections.odd_prefix(&lossy(&name));
                }
            }
        }
    }
}
