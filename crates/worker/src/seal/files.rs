//! Files of a trace: their digests, kinds and media types, and writing them for good.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use jct_domain::id::hex;
use jct_domain::trace::{FileEntry, FileKind};
use jct_untrusted::files::{create_anew, open_regular};

/// The entry of the regular file `name` (relative, with `/`) in `dir`, hashed in a stream.
///
/// # Errors
/// When it can't be read, or is no regular file.
pub fn entry(dir: &Path, name: &str) -> io::Result<FileEntry> {
    let mut file = open_regular(&dir.join(name))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut size_bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        size_bytes += bytes.len() as u64;
    }
    let (kind, media_type) = describe(name);
    Ok(FileEntry { path: name.into(), kind, media_type: media_type.into(), size_bytes, sha256: hex(&hash.finalize()) })
}

/// What a file with this name is.
pub fn describe(name: &str) -> (FileKind, &'static str) {
    let base = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let (stem, extension) = base.rsplit_once('.').unwrap_or((&base, ""));
    let media_type = match extension {
        "md" | "markdown" => "text/markdown; charset=utf-8",
        "txt" | "log" | "rst" | "adoc" => "text/plain; charset=utf-8",
        "json" | "sarif" => "application/json",
        "jsonl" | "ndjson" => "application/jsonl",
        "patch" | "diff" => "text/x-diff; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "tar" => "application/x-tar",
        _ => "application/octet-stream",
    };
    let kind = match extension {
        "patch" | "diff" => FileKind::Diff,
        "log" | "jsonl" | "ndjson" => FileKind::Log,
        "prom" => FileKind::Metric,
        "err" => FileKind::Error,
        _ => match stem {
            "report" => FileKind::Report,
            "metrics" => FileKind::Metric,
            "error" | "errors" => FileKind::Error,
            _ if extension == "sarif" => FileKind::Report,
            _ => FileKind::File,
        },
    };
    (kind, media_type)
}

/// Opens `path` for appending, not following a symlink; makes it if it is not there.
///
/// # Errors
/// When it can't be opened, or is no regular file.
pub fn open_append(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().append(true).create(true).mode(0o644).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Writes `dir/name` so that it is there in full or not at all, also after a power loss.
///
/// # Errors
/// When any step fails; the file may or may not be there then, but never in part.
pub fn write_atomically(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.tmp"));
    let mut file = create_anew(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("artifacts/report.md", FileKind::Report, "text/markdown; charset=utf-8")]
    #[case("artifacts/report.json", FileKind::Report, "application/json")]
    #[case("artifacts/change.patch", FileKind::Diff, "text/x-diff; charset=utf-8")]
    #[case("events.jsonl", FileKind::Log, "application/jsonl")]
    #[case("stdout.log", FileKind::Log, "text/plain; charset=utf-8")]
    #[case("task.json", FileKind::File, "application/json")]
    #[case("artifacts/metrics.json", FileKind::Metric, "application/json")]
    #[case("artifacts/Makefile", FileKind::File, "application/octet-stream")]
    fn names_tell_kind_and_media_type(#[case] name: &str, #[case] kind: FileKind, #[case] media_type: &str) {
        assert_eq!(describe(name), (kind, media_type));
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.txt"), "abc").unwrap();
        let entry = entry(dir.path(), "x.txt").unwrap();
        assert_eq!(entry.size_bytes, 3);
        assert_eq!(entry.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_symlink_is_replaced_and_its_target_kept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "keep").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join(".manifest.json.tmp")).unwrap();
        write_atomically(dir.path(), "manifest.json", b"{}").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"keep");
        assert_eq!(fs::read(dir.path().join("manifest.json")).unwrap(), b"{}");
    }
}
