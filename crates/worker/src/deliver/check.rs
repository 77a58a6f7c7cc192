//! `deliver-check`: the sealed commit, by the digests of the record, as objects that git has looked at, on the base that was fetched.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use jct_domain::delivery::DeliveryReason;
use jct_domain::id::{hex, sha256_hex};
use jct_domain::trace::{ARTIFACTS_DIR, Change, FileEntry, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest};
use jct_untrusted::files::{open_regular, read_regular};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::bundle::read_header;
use super::signed::is_signed;
use super::{CHANGE_REF, CheckArgs, Local, Stop, broken};
use crate::change::BUNDLE_FILE;

fn altered(message: impl Into<String>) -> Stop {
    Stop::new(DeliveryReason::CheckFailed, message)
}

fn refused(message: impl Into<String>) -> Stop {
    Stop::new(DeliveryReason::CheckFailed, message)
}

/// Gives the commit that is delivered.
pub async fn check(args: &CheckArgs, interrupted: CancellationToken) -> Result<String, Stop> {
    let CheckArgs { step, trace_dir, manifest_sha256, commit, signed_commit } = args;
    let git = Local::new(step, true, interrupted);
    let (change, entry) = sealed(trace_dir, manifest_sha256)?;
    if (&change.commit, &change.base_commit) != (commit, &step.base) {
        return Err(altered("the manifest is about another commit"));
    }
    let path = trace_dir.join(ARTIFACTS_DIR).join(BUNDLE_FILE);
    let mut bundle = copy(&path, &step.scratch, &entry, step.max_bytes)?;
    let header = read_header(&mut bundle).map_err(|what| refused(format!("the bundle can't be read: {what}")))?;
    if header.prerequisites != [step.base.clone()]
        || header.tips.is_empty()
        || header.tips.iter().any(|tip| tip != commit)
    {
        return Err(refused("the bundle holds something else than the commit on its base"));
    }
    let most = format!("--max-input-size={}", step.max_bytes);
    let index = ["index-pack", "--stdin", "--fix-thin", "--strict", &most];
    git.must(&index, Stdio::from(bundle), "git does not take the objects of the change").await?;
    let content = git.must(&["cat-file", "commit", commit], Stdio::null(), "the commit is not there").await?;
    let head = content.split(|&byte| byte == b'\n').take_while(|line| !line.is_empty());
    let parents: Vec<&[u8]> = head.filter_map(|line| line.strip_prefix(b"parent ")).collect();
    if parents != [step.base.as_bytes()] {
        return Err(refused("the commit has other parents than the commit that the change is made on"));
    }
    let delivered = match signed_commit {
        Some(signed) => write_signed(&git, &content, signed).await?,
        None => commit.clone(),
    };
    let walk = ["rev-list", "--objects", "--quiet", "--end-of-options", &delivered];
    git.must(&walk, Stdio::null(), "the commit is not whole").await?;
    git.must(&["update-ref", CHANGE_REF, &delivered], Stdio::null(), "the commit can't be named").await?;
    Ok(delivered)
}

/// The change that the manifest of this digest has, and the bundle as it binds it.
fn sealed(trace: &Path, manifest_sha256: &str) -> Result<(Change, FileEntry), Stop> {
    let bytes = read_regular(&trace.join(MANIFEST_FILE), MAX_MANIFEST_BYTES)
        .map_err(|error| altered(format!("the manifest can't be read: {error}")))?;
    if sha256_hex(&bytes) != manifest_sha256 {
        return Err(altered("the manifest does not have the digest of the record"));
    }
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| altered(format!("the manifest can't be read: {error}")))?;
    let change = manifest.change.ok_or_else(|| altered("the manifest has no change"))?;
    let path = format!("{ARTIFACTS_DIR}/{BUNDLE_FILE}");
    let entry = manifest.files.into_iter().find(|file| file.path == path);
    let entry = entry.ok_or_else(|| altered("the manifest has no bundle"))?;
    if entry.sha256 != change.bundle_sha256 {
        return Err(altered("the manifest binds two bundles"));
    }
    Ok((change, entry))
}

/// The bundle in a file that nobody else has, if its digest is the manifest's: what is on the volume may change between two looks.
fn copy(path: &Path, scratch: &Path, entry: &FileEntry, most: u64) -> Result<File, Stop> {
    if entry.size_bytes > most {
        return Err(refused(format!("the bundle is larger than {most} bytes")));
    }
    let mut from = open_regular(path).map_err(|error| altered(format!("the bundle can't be read: {error}")))?;
    let own = scratch.join(BUNDLE_FILE);
    jct_untrusted::files::remove(&own).map_err(broken("copy the bundle"))?;
    let mut to =
        File::options().read(true).write(true).create_new(true).open(&own).map_err(broken("copy the bundle"))?;
    let (mut hash, mut left, mut buffer) = (Sha256::new(), entry.size_bytes + 1, vec![0; 64 * 1024]);
    let mut pour = || -> io::Result<()> {
        loop {
            let read = (&mut from).take(left).read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return to.rewind() };
            left -= read as u64;
            hash.update(bytes);
            to.write_all(bytes)?;
        }
    };
    pour().map_err(broken("copy the bundle"))?;
    if left == 1 && hex(&hash.finalize()) == entry.sha256 {
        return Ok(to);
    }
    Err(altered("the bundle is not the one that was sealed"))
}

/// Stores the commit with its signature, if it is the same otherwise; gives its id.
async fn write_signed(git: &Local<'_>, commit: &[u8], signed: &str) -> Result<String, Stop> {
    let signed = decoded(signed).ok_or_else(|| refused("the signed commit is not in base64"))?;
    if !is_signed(commit, &signed) {
        return Err(refused("the signed commit is not the sealed one with a signature"));
    }
    let path = git.args.scratch.join("commit");
    std::fs::write(&path, &signed).map_err(broken("write the signed commit"))?;
    let file = File::open(&path).map_err(broken("write the signed commit"))?;
    let args = ["hash-object", "-t", "commit", "-w", "--stdin"];
    let id = git.must(&args, Stdio::from(file), "git does not take the signed commit").await?;
    Ok(String::from_utf8_lossy(&id).trim().to_owned())
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
