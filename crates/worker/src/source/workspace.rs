//! The workspace's own repository: for the executor, to read history from and to commit to.
//!
//! It has the objects that were fetched by way of alternates, and nothing else in common with the repository that they are
//! in, and the tags: what an executor does to it says nothing about the change that is taken from the workspace afterwards.

use std::fs;
use std::io;
use std::path::Path;

/// Makes `workspace/.git` at `commit`, detached. `repository` is bare, has packed its tags, and an index that fits the
/// workspace. Gives the number of tags.
///
/// # Errors
/// When it can't be written.
pub fn give_repository(workspace: &Path, repository: &Path, commit: &str) -> io::Result<u64> {
    let git = workspace.join(".git");
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        fs::create_dir_all(git.join(folder))?;
    }
    let (version, format) = if commit.len() == 64 { (1, "[extensions]\n\tobjectFormat = sha256\n") } else { (0, "") };
    // Its files may be given to another user before anybody looks: that alone makes none of them a changed one.
    let core = format!(
        "[core]\n\trepositoryFormatVersion = {version}\n\tbare = false\n\tcheckStat = minimal\n\ttrustctime = false\n"
    );
    fs::write(git.join("config"), core + format)?;
    fs::write(git.join("HEAD"), format!("{commit}\n"))?;
    fs::write(git.join("objects/info/alternates"), format!("{}\n", repository.join("objects").display()))?;
    let tags = tags_of(&fs::read(repository.join("packed-refs")).unwrap_or_default());
    fs::write(git.join("packed-refs"), &tags)?;
    for file in ["index", "info/attributes"] {
        match fs::copy(repository.join(file), git.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(tags.split(|byte| *byte == b'\n').filter(|line| line.first().is_some_and(u8::is_ascii_hexdigit)).count() as u64)
}

/// The tags in a file of packed refs, with what each one leads to.
fn tags_of(packed: &[u8]) -> Vec<u8> {
    let mut tags = Vec::new();
    let mut is_tag = false;
    for line in packed.split_inclusive(|byte| *byte == b'\n') {
        is_tag = match line.first() {
            Some(b'#') => true,
            Some(b'^') => is_tag,
            _ => line.windows(11).any(|part| part == b" refs/tags/"),
        };
        if is_tag {
            tags.extend(line);
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_are_taken_over() {
        let packed = b"# pack-refs with: peeled fully-peeled sorted \n11 refs/jct/heads/a\n22 refs/tags/v1\n^11\n33 refs/z\n^11\n";
        assert_eq!(tags_of(packed), b"# pack-refs with: peeled fully-peeled sorted \n22 refs/tags/v1\n^11\n");
    }
}
