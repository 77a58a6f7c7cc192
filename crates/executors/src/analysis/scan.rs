//! Reads the files in scope: lines, languages, notes. Streams, so that no file's size matters.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::languages::{self, Comments};
use super::report::{Language, LargeFile, Todo, Todos, Totals};
use super::todos;
use crate::tree::{Entry, Kind};
use jct_untrusted::files::{open_regular, read_regular};
use jct_untrusted::lfs::{MAX_POINTER_BYTES, is_pointer, may_be_pointer};
use jct_untrusted::names::escaped;
use jct_untrusted::names::shorten;
use jct_untrusted::redact::redact;

/// Readers at work.
const THREADS: usize = 2;
/// A NUL within so many bytes makes a file binary, as it does for git.
const BINARY_PROBE_BYTES: usize = 8000;
/// So much of a line is looked at for notes, in bytes.
const MAX_LINE_BYTES: usize = 4096;
/// How many notes are listed.
const MAX_TODOS: usize = 500;
/// How long the text of a note may be, in characters.
const MAX_TODO_CHARS: usize = 200;
/// How many of the largest files are listed.
const MAX_LARGEST: usize = 20;
/// How many pointers to files of Git LFS are listed.
const MAX_POINTERS: usize = 200;

/// What was found.
#[derive(Debug, Default)]
pub struct Scan {
    pub totals: Totals,
    /// By lines, most first.
    pub languages: Vec<Language>,
    /// By size, largest first.
    pub largest: Vec<LargeFile>,
    /// By path and line.
    pub todos: Todos,
    /// Pointers to files of Git LFS, by path.
    pub lfs_pointers: Vec<String>,
}

/// Reads every file of `entries` below `root`.
pub fn scan(root: &Path, entries: &[&Entry]) -> Scan {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut part = Part::default();
        while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            part.entry(root, entry);
        }
        part
    };
    let mut sum = Part::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).for_each(|part| sum.add(part));
    });
    sum.finish()
}

/// What one reader found.
#[derive(Default)]
struct Part {
    totals: Totals,
    languages: BTreeMap<&'static str, Language>,
    files: Vec<LargeFile>,
    todo_counts: BTreeMap<String, u64>,
    todos: Vec<Todo>,
    lfs_pointers: Vec<String>,
}

/// One text being read.
#[derive(Default)]
struct Text {
    lines: u64,
    blank_lines: u64,
}

impl Part {
    fn entry(&mut self, root: &Path, entry: &Entry) {
        match entry.kind {
            Kind::Symlink => self.totals.symlinks += 1,
            Kind::Submodule => self.totals.submodules += 1,
            Kind::File => self.file(root, entry),
        }
    }

    fn file(&mut self, root: &Path, entry: &Entry) {
        self.totals.files += 1;
        self.totals.bytes += entry.size_bytes;
        let language = languages::of(&entry.path);
        let path = escaped(&entry.path);
        let place = root.join(OsStr::from_bytes(&entry.path));
        if may_be_pointer(entry.size_bytes)
            && read_regular(&place, MAX_POINTER_BYTES).is_ok_and(|bytes| is_pointer(&bytes))
        {
            // What it holds is no text of the project.
            self.totals.lfs_pointers += 1;
            self.lfs_pointers.push(path);
            if self.lfs_pointers.len() > 4 * MAX_POINTERS {
                keep_first(&mut self.lfs_pointers, MAX_POINTERS);
            }
            return;
        }
        let text = open_regular(&place).and_then(|file| self.read(file, &path, language.comments));
        let lines = match text {
            Ok(Some(Text { lines, blank_lines })) => {
                self.totals.lines += lines;
                self.totals.blank_lines += blank_lines;
                let sum = self.languages.entry(language.name).or_insert_with(|| Language {
                    language: language.name.into(),
                    files: 0,
                    lines: 0,
                    blank_lines: 0,
                    bytes: 0,
                });
                sum.files += 1;
                sum.lines += lines;
                sum.blank_lines += blank_lines;
                sum.bytes += entry.size_bytes;
                Some(lines)
            }
            Ok(None) => {
                self.totals.binary_files += 1;
                None
            }
            Err(_) => {
                self.totals.unreadable_files += 1;
                None
            }
        };
        self.files.push(LargeFile { path, bytes: entry.size_bytes, lines });
        if self.files.len() > 100 * MAX_LARGEST {
            keep_largest(&mut self.files);
        }
    }

    /// Counts the lines of a text; none if it is binary.
    fn read(&mut self, mut input: impl Read, path: &str, comments: Comments) -> std::io::Result<Option<Text>> {
        let mut buffer = vec![0; 64 * 1024];
        let mut text = Text::default();
        let mut line = Vec::new();
        let mut probed = 0;
        let mut unfinished = false;
        loop {
            let read = input.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            if probed < BINARY_PROBE_BYTES && bytes.iter().take(BINARY_PROBE_BYTES - probed).any(|byte| *byte == 0) {
                return Ok(None);
            }
            probed = probed.saturating_add(bytes.len());
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                unfinished = part.last() != Some(&b'\n');
                if line.is_empty() && !unfinished {
                    self.line(&mut text, part, path, comments);
                    continue;
                }
                line.extend(part.iter().take(MAX_LINE_BYTES.saturating_sub(line.len())));
                if !unfinished {
                    self.line(&mut text, &line, path, comments);
                    line.clear();
                }
            }
        }
        if unfinished {
            self.line(&mut text, &line, path, comments);
        }
        Ok(Some(text))
    }

    fn line(&mut self, text: &mut Text, line: &[u8], path: &str, comments: Comments) {
        text.lines += 1;
        text.blank_lines += u64::from(line.trim_ascii().is_empty());
        let line = line.get(..MAX_LINE_BYTES).unwrap_or(line);
        let Some((kind, note)) = todos::find(line, comments) else { return };
        *self.todo_counts.entry(kind.into()).or_default() += 1;
        let note = shorten(&redact(&String::from_utf8_lossy(note)), MAX_TODO_CHARS);
        self.todos.push(Todo {
            path: path.into(),
            line: text.lines,
            kind: kind.into(),
            text: escaped(note.as_bytes()),
        });
        if self.todos.len() > 4 * MAX_TODOS {
            keep_first(&mut self.todos, MAX_TODOS);
        }
    }

    fn add(&mut self, other: Self) {
        let Self { totals, languages, files, todo_counts, todos, lfs_pointers } = other;
        let Totals {
            files: count,
            binary_files,
            lines,
            blank_lines,
            bytes,
            symlinks,
            submodules,
            lfs_pointers: pointers,
            unreadable_files,
        } = totals;
        self.totals.files += count;
        self.totals.binary_files += binary_files;
        self.totals.lines += lines;
        self.totals.blank_lines += blank_lines;
        self.totals.bytes += bytes;
        self.totals.symlinks += symlinks;
        self.totals.submodules += submodules;
        self.totals.lfs_pointers += pointers;
        self.totals.unreadable_files += unreadable_files;
        self.lfs_pointers.extend(lfs_pointers);
        for (name, language) in languages {
            match self.languages.get_mut(name) {
                Some(sum) => {
                    sum.files += language.files;
                    sum.lines += language.lines;
                    sum.blank_lines += language.blank_lines;
                    sum.bytes += language.bytes;
                }
                None => drop(self.languages.insert(name, language)),
            }
        }
        self.files.extend(files);
        todo_counts.into_iter().for_each(|(kind, count)| *self.todo_counts.entry(kind).or_default() += count);
        self.todos.extend(todos);
    }

    fn finish(mut self) -> Scan {
        keep_largest(&mut self.files);
        keep_first(&mut self.todos, MAX_TODOS);
        keep_first(&mut self.lfs_pointers, MAX_POINTERS);
        let mut languages: Vec<Language> = self.languages.into_values().collect();
        languages.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.language.cmp(&b.language)));
        let total = self.todo_counts.values().sum();
        let todos = Todos { total, by_kind: self.todo_counts, items: self.todos };
        Scan { totals: self.totals, languages, largest: self.files, todos, lfs_pointers: self.lfs_pointers }
    }
}

fn keep_largest(files: &mut Vec<LargeFile>) {
    files.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    files.truncate(MAX_LARGEST);
}

fn keep_first<T: Ord>(found: &mut Vec<T>, most: usize) {
    found.sort();
    found.truncate(most);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n\
        oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

    fn entry(root: &Path, path: &[u8], content: &[u8]) -> Entry {
        fs::write(root.join(OsStr::from_bytes(path)), content).unwrap();
        Entry { path: path.to_vec(), kind: Kind::File, size_bytes: content.len() as u64 }
    }

    #[test]
    fn counts_lines_languages_and_notes() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("// {}\n// TODO: behind\n", "x".repeat(200_000));
        let entries = [
            entry(dir.path(), b"a.rs", b"fn a() {}\n\n  // TODO: token=abcdefgh\nlast"),
            entry(dir.path(), b"long.rs", long.as_bytes()),
            entry(dir.path(), b"bin", b"\x7fELF\0\0"),
            entry(dir.path(), b"empty.py", b""),
            entry(dir.path(), b"-rf\n\xff.rs", b"x\n"),
            Entry { path: b"gone.rs".to_vec(), kind: Kind::File, size_bytes: 7 },
            Entry { path: b"link".to_vec(), kind: Kind::Symlink, size_bytes: 7 },
            entry(dir.path(), b"large.rs", POINTER),
            Entry { path: b"sub".to_vec(), kind: Kind::Submodule, size_bytes: 0 },
        ];
        let scan = scan(dir.path(), &entries.iter().collect::<Vec<_>>());
        let Totals { files, binary_files, lines, blank_lines, symlinks, unreadable_files, .. } = scan.totals;
        assert_eq!((files, binary_files, lines, blank_lines, symlinks, unreadable_files), (7, 1, 7, 1, 1, 1));
        assert_eq!((scan.totals.submodules, scan.totals.lfs_pointers), (1, 1));
        assert_eq!(scan.lfs_pointers, ["large.rs"]);
        assert_eq!((scan.languages[0].language.as_str(), scan.languages[0].files), ("Rust", 3));
        assert_eq!(scan.largest[0].path, "long.rs");
        assert!(scan.largest.iter().any(|file| file.path == "-rf%0A%FF.rs"));
        assert_eq!(scan.todos.total, 2);
        let notes: Vec<_> = scan.todos.items.iter().map(|todo| (todo.line, todo.text.as_str())).collect();
        assert_eq!(notes, [(3, "token=[redacted]"), (2, "behind")]);
    }

    #[test]
    fn a_symlink_in_place_of_a_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("a.rs")).unwrap();
        let entry = Entry { path: b"a.rs".to_vec(), kind: Kind::File, size_bytes: 1 };
        assert_eq!(scan(dir.path(), &[&entry]).totals.unreadable_files, 1);
    }
}
