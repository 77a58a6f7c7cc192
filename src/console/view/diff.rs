//! A patch of git's, side by side.

use super::{cut, plain};

/// How many rows are shown, and how long a line may be.
const ROWS: usize = 4_000;
const LINE: usize = 1_000;

/// A patch, as far as it is shown.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// Of each file.
    pub files: Vec<FileDiff>,
    /// Whether there is more.
    pub is_cut: bool,
    /// Lines added in what is shown.
    pub added: usize,
    /// Lines removed in what is shown.
    pub removed: usize,
}

/// What becomes of one file.
#[derive(Clone, Debug, Default)]
pub struct FileDiff {
    /// What it is called; with its old name, where that is another one.
    pub name: String,
    /// `new file`, `deleted`, `renamed`, `binary`; empty where it is changed.
    pub what: &'static str,
    /// Lines added.
    pub added: usize,
    /// Lines removed.
    pub removed: usize,
    /// The rows of all hunks.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Where a hunk begins.
    Hunk(String),
    /// What stood there, and what stands there.
    Lines(Option<Line>, Option<Line>),
}

/// A line of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file.
    pub number: u32,
    /// What it says.
    pub text: String,
    /// Whether the other side has it too.
    pub is_same: bool,
}

#[derive(Default)]
struct Reader {
    patch: Patch,
    rows: usize,
    /// The numbers of the next lines.
    at: (u32, u32),
    /// How many lines of the hunk are still to come on each side.
    left: (u32, u32),
    /// Lines that were removed, and those added in their place, not yet paired.
    removed: Vec<Line>,
    added: Vec<Line>,
}

/// The patch in `text`.
pub fn read(text: &str) -> Patch {
    let mut reader = Reader::default();
    for line in text.lines() {
        if reader.rows + reader.removed.len() + reader.added.len() >= ROWS {
            reader.patch.is_cut = true;
            break;
        }
        reader.take(line);
    }
    reader.pair();
    let mut patch = reader.patch;
    patch.added = patch.files.iter().map(|file| file.added).sum();
    patch.removed = patch.files.iter().map(|file| file.removed).sum();
    patch
}

impl Reader {
    fn take(&mut self, line: &str) {
        if self.left != (0, 0) && line.bytes().next().is_none_or(|mark| b" +-\\".contains(&mark)) {
            return self.in_hunk(line);
        }
        // A hunk that promised more has ended all the same.
        self.left = (0, 0);
        if let Some(rest) = line.strip_prefix("diff --git ") {
            self.pair();
            let name = rest.rsplit_once(" b/").map_or(rest, |(_, name)| name);
            self.patch.files.push(FileDiff { name: shown(name), ..FileDiff::default() });
            return;
        }
        if let Some((at, left)) = line.strip_prefix("@@ ").and_then(ranges) {
            self.pair();
            (self.at, self.left) = (at, left);
            self.rows += 1;
            return self.push(Row::Hunk(shown(line)));
        }
        let Some(file) = self.patch.files.last_mut() else { return };
        if line.starts_with("new file") {
            file.what = "new file";
        } else if line.starts_with("deleted file") {
            file.what = "deleted";
        } else if let Some(from) = line.strip_prefix("rename from ") {
            file.what = "renamed";
            file.name = format!("{} → {}", shown(from), file.name);
        } else if line.starts_with("GIT binary patch") || line.starts_with("Binary files") {
            file.what = "binary";
        }
    }

    fn in_hunk(&mut self, line: &str) {
        let (mark, text) = line.split_at_checked(1).unwrap_or((" ", ""));
        let side = |number: &mut u32, left: &mut u32, is_same| {
            let line = Line { number: *number, text: shown(text), is_same };
            *number = number.saturating_add(1);
            *left = left.saturating_sub(1);
            line
        };
        match mark {
            "-" => {
                if !self.added.is_empty() {
                    self.pair();
                }
                let line = side(&mut self.at.0, &mut self.left.0, false);
                self.removed.push(line);
            }
            "+" => {
                let line = side(&mut self.at.1, &mut self.left.1, false);
                self.added.push(line);
            }
            "\\" => {}
            _ => {
                self.pair();
                let old = side(&mut self.at.0, &mut self.left.0, true);
                let new = side(&mut self.at.1, &mut self.left.1, true);
                self.rows += 1;
                self.push(Row::Lines(Some(old), Some(new)));
            }
        }
    }

    /// Sets what was removed beside what was added in its place.
    fn pair(&mut self) {
        let (removed, added) = (std::mem::take(&mut self.removed), std::mem::take(&mut self.added));
        if let Some(file) = self.patch.files.last_mut() {
            file.removed += removed.len();
            file.added += added.len();
        }
        let count = removed.len().max(added.len());
        self.rows += count;
        let (mut removed, mut added) = (removed.into_iter(), added.into_iter());
        for _ in 0..count {
            self.push(Row::Lines(removed.next(), added.next()));
        }
    }

    fn push(&mut self, row: Row) {
        if let Some(file) = self.patch.files.last_mut() {
            file.rows.push(row);
        }
    }
}

/// Where a hunk begins on each side, and how many lines it has there: of `-1,2 +3,4 @@`.
fn ranges(text: &str) -> Option<((u32, u32), (u32, u32))> {
    let mut parts = text.split(' ');
    let mut side = |mark: char| {
        let range = parts.next()?.strip_prefix(mark)?;
        let (from, count) = range.split_once(',').unwrap_or((range, "1"));
        Some((from.parse().ok()?, count.parse().ok()?))
    };
    let (old, new): ((u32, u32), (u32, u32)) = (side('-')?, side('+')?);
    Some(((old.0, new.0), (old.1, new.1)))
}

/// A line, harmless; tabs are four spaces.
fn shown(text: &str) -> String {
    cut(&plain(&text.replace('\t', "    ")), LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "diff --git a/src/a.rs b/src/a.rs\nindex 1..2 100644\n--- a/src/a.rs\n+++ b/src/a.rs\n\
                         @@ -1,4 +1,4 @@ fn x\n one\n-two\n-three\n+TWO\n four\n+--- five\n\
                         diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+hi\n\
                         \\ No newline at end of file\ndiff --git a/x.png b/y.png\nrename from x.png\nGIT binary patch\n";

    #[test]
    fn what_is_changed_stands_side_by_side() {
        let patch = read(PATCH);
        let names: Vec<_> =
            patch.files.iter().map(|file| (file.name.as_str(), file.what, file.added, file.removed)).collect();
        assert_eq!(names, [("src/a.rs", "", 2, 2), ("new", "new file", 1, 0), ("x.png → y.png", "binary", 0, 0)]);
        let rows = |file: &FileDiff| {
            let side =
                |line: &Option<Line>| line.as_ref().map_or("-".into(), |line| format!("{}:{}", line.number, line.text));
            let row = |row: &Row| match row {
                Row::Hunk(head) => head.clone(),
                Row::Lines(old, new) => format!("{} | {}", side(old), side(new)),
            };
            file.rows.iter().map(row).collect::<Vec<_>>()
        };
        let expected = [
            "@@ -1,4 +1,4 @@ fn x",
            "1:one | 1:one",
            "2:two | 2:TWO",
            "3:three | -",
            "4:four | 3:four",
            "- | 4:--- five",
        ];
        assert_eq!(rows(&patch.files[0]), expected, "a line that looks like a head is a line");
        assert_eq!(rows(&patch.files[1]), ["@@ -0,0 +1 @@", "- | 1:hi"]);
    }

    #[test]
    fn a_hunk_that_promised_more_ends_at_the_next_file() {
        let patch =
            read("diff --git a/a b/a\n@@ -1,99 +1,99 @@\n same\n-old\ndiff --git a/b b/b\n@@ -1 +1 @@\n-x\n+y\n");
        assert_eq!(patch.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_patch_that_lies_or_never_ends_is_bounded() {
        for hostile in
            ["@@ -1,4294967295 +1,4294967295 @@\n", "diff --git\n@@ -1 +1\n", "@@ -x,y +z @@\n", "+\n-\n", "é"]
        {
            read(&hostile.repeat(20_000));
        }
        let long =
            format!("diff --git a/a b/a\n@@ -0,0 +1,99999 @@\n{}", format!("+{}\n", "x".repeat(5_000)).repeat(10_000));
        let patch = read(&long);
        assert!(patch.is_cut && patch.files[0].rows.len() <= ROWS);
        let Row::Lines(_, Some(line)) = &patch.files[0].rows[1] else { panic!() };
        assert_eq!(line.text.chars().count(), LINE + 1);
    }
}
