//! The keys of one machine, in two files: the private key in use, and the public keys of all that ever were.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{InvalidKey, KeyRing, SigningKey, public_keys};

/// The file with the private key, PKCS#8 PEM.
const SIGNING_KEY: &str = "signing.key";
/// The file with the public keys, a JSON Web Key Set.
const PUBLIC_KEYS: &str = "keys.json";

/// What went wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum FileKeyError {
    /// One cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One holds something else. It is left alone: it may be somebody's only copy.
    #[error("{} has {problem}; mend it, or move it away to have a new one made", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: InvalidKey,
    },
}

/// The keys in `folder`, made at the first time. Who moves the private key away gets a new one; the public key of the one
/// before stays. Blocks.
///
/// # Errors
/// [`FileKeyError`] names the file.
pub fn keys_in(folder: &Path) -> Result<KeyRing, FileKeyError> {
    let (private, public) = (folder.join(SIGNING_KEY), folder.join(PUBLIC_KEYS));
    let lock = folder.join(".keys.lock");
    let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.map_err(|source| FileKeyError::Io { path: lock, source })?;
    let content = |path: &Path| {
        let path = path.to_owned();
        move |problem| FileKeyError::Content { path, problem }
    };
    let known = match read(&public)? {
        Some(bytes) => public_keys(&bytes).map_err(content(&public))?,
        None => Vec::new(),
    };
    let signing = match read(&private)? {
        Some(pem) => SigningKey::from_pem(&String::from_utf8_lossy(&pem)).map_err(content(&private))?,
        None => {
            let made = SigningKey::generate().map_err(content(&private))?;
            write(&private, made.pem().as_bytes(), 0o600)?;
            made
        }
    };
    let ring = KeyRing::new(signing, &known, Timestamp::now());
    if ring.public() != known {
        let mut jwks = serde_json::to_vec_pretty(&ring.to_jwks()).unwrap_or_default();
        jwks.push(b'\n');
        write(&public, &jwks, 0o644)?;
    }
    Ok(ring)
}

/// The keys in `folder`, if there are any; none are made. Blocks.
///
/// # Errors
/// [`FileKeyError`] names the file.
pub fn keys_there(folder: &Path) -> Result<Option<KeyRing>, FileKeyError> {
    if read(&folder.join(SIGNING_KEY))?.is_some() { keys_in(folder).map(Some) } else { Ok(None) }
}

/// Where the public keys of `folder` are.
pub fn public_keys_file(folder: &Path) -> PathBuf {
    folder.join(PUBLIC_KEYS)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FileKeyError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileKeyError::Io { path: path.into(), source }),
    }
}

/// All of it or nothing, and for good.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), FileKeyError> {
    let temporary = path.with_extension("new");
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| FileKeyError::Io { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = keys_in(folder.path()).unwrap();
        let again = keys_in(folder.path()).unwrap();
        assert_eq!(first.public(), again.public());
        let mode = fs::metadata(folder.path().join(SIGNING_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_was_moved_away_stays_known() {
        let folder = tempfile::tempdir().unwrap();
        let first = keys_in(folder.path()).unwrap().public()[0].id();
        fs::remove_file(folder.path().join(SIGNING_KEY)).unwrap();
        let public: Vec<_> = keys_in(folder.path()).unwrap().public().iter().map(|key| key.id()).collect();
        assert_eq!((public.len(), public.last()), (2, Some(&first)));
    }

    #[test]
    fn what_is_no_key_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SIGNING_KEY), "mine").unwrap();
        let error = keys_in(folder.path()).unwrap_err().to_string();
        assert!(error.contains("signing.key has no Ed25519 private key"), "{error}");
        assert_eq!(fs::read(folder.path().join(SIGNING_KEY)).unwrap(), b"mine");
    }
}
