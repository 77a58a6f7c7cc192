//! Signatures of commits, as git makes them with `gpg.format = ssh`: <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig>,
//! by an Ed25519 key as `ssh-keygen` writes it, <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jct_domain::id::hex;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use sha2::{Digest as _, Sha512};

use super::key::SigningKey;

const ALGORITHM: &[u8] = b"ssh-ed25519";
/// What is signed is of git: a signature for something else counts for no commit, and this one for nothing else.
const NAMESPACE: &[u8] = b"git";
const HASH: &[u8] = b"sha512";
const MAGIC: &[u8] = b"SSHSIG";
const KEY_MAGIC: &[u8] = b"openssh-key-v1\0";
const KEY_BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const KEY_END: &str = "-----END OPENSSH PRIVATE KEY-----";
/// How long a line of a signature is.
const COLUMNS: usize = 70;

/// Why commits can't be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitKeyProblem {
    /// Another form, or another kind of key.
    #[error("no Ed25519 private key as `ssh-keygen -t ed25519` or `openssl genpkey -algorithm ed25519` makes one")]
    NoKey,
    /// Nobody is there to be asked for the words.
    #[error("the private key has a passphrase: it must have none (`ssh-keygen -p -N ''`)")]
    Passphrase,
    /// What should be signed is no commit.
    #[error("what should be signed is no commit, or is signed already")]
    NoCommit,
}

/// A key to sign commits with.
#[derive(Debug)]
pub struct CommitKey(SigningKey);

impl CommitKey {
    /// The key in an OpenSSH private key file, or in a PKCS#8 PEM.
    ///
    /// # Errors
    /// [`CommitKeyProblem`] if it is none that can be used.
    pub fn read(text: &str) -> Result<Self, CommitKeyProblem> {
        let Some((_, rest)) = text.split_once(KEY_BEGIN) else {
            return SigningKey::from_pem(text).map(Self).map_err(|_| CommitKeyProblem::NoKey);
        };
        let (body, _) = rest.split_once(KEY_END).ok_or(CommitKeyProblem::NoKey)?;
        let body: String = body.split_whitespace().collect();
        let bytes = STANDARD.decode(body).map_err(|_| CommitKeyProblem::NoKey)?;
        let key = SigningKey::from_seed(&seed(&bytes)?).map_err(|_| CommitKeyProblem::NoKey)?;
        Ok(Self(key))
    }

    /// The public key as a line of `authorized_keys`, which forges take, and of git's allowed signers.
    pub fn public_line(&self) -> String {
        format!("ssh-ed25519 {}", STANDARD.encode(self.public_blob()))
    }

    /// The commit, byte by byte, with a signature of it. The same commit has the same signature.
    ///
    /// # Errors
    /// [`CommitKeyProblem::NoCommit`].
    pub fn sign_commit(&self, commit: &[u8]) -> Result<Vec<u8>, CommitKeyProblem> {
        let end = commit.windows(2).position(|pair| pair == b"\n\n").ok_or(CommitKeyProblem::NoCommit)?;
        let (head, message) = commit.split_at_checked(end + 1).ok_or(CommitKeyProblem::NoCommit)?;
        let tree = head.strip_prefix(b"tree ").and_then(|rest| rest.split(|&byte| byte == b'\n').next());
        let tree = tree.filter(|_| !head.windows(7).any(|part| part == b"\ngpgsig"));
        let header = match tree.map(<[u8]>::len) {
            Some(40) => "gpgsig",
            Some(64) => "gpgsig-sha256",
            _ => return Err(CommitKeyProblem::NoCommit),
        };
        let signature = self.armored(commit).trim_end().replace('\n', "\n ");
        Ok([head, format!("{header} {signature}\n").as_bytes(), message].concat())
    }

    fn public_blob(&self) -> Vec<u8> {
        [string(ALGORITHM), string(&self.0.public().bytes)].concat()
    }

    fn armored(&self, message: &[u8]) -> String {
        let of = [string(NAMESPACE), string(b""), string(HASH)].concat();
        let signed = [MAGIC, &of, &string(&Sha512::digest(message))].concat();
        let signature = [string(ALGORITHM), string(&self.0.raw_signature(&signed))].concat();
        let version = 1u32.to_be_bytes();
        let blob = [MAGIC, &version, &string(&self.public_blob()), &of, &string(&signature)].concat();
        let mut text = String::from("-----BEGIN SSH SIGNATURE-----\n");
        for line in STANDARD.encode(blob).as_bytes().chunks(COLUMNS) {
            text.extend(line.iter().map(|&byte| char::from(byte)));
            text.push('\n');
        }
        text + "-----END SSH SIGNATURE-----\n"
    }
}

/// The id that git gives a commit of these bytes, signed or not; none of what is no commit.
pub fn commit_id(commit: &[u8]) -> Option<String> {
    // Git's names of objects are SHA-1 where a repository was not made with SHA-256: as its first line shows, which names the tree.
    let algorithm = match commit.strip_prefix(b"tree ")?.split(|&byte| byte == b'\n').next()?.len() {
        40 => &SHA1_FOR_LEGACY_USE_ONLY,
        64 => &SHA256,
        _ => return None,
    };
    let mut context = Context::new(algorithm);
    context.update(format!("commit {}\0", commit.len()).as_bytes());
    context.update(commit);
    Some(hex(context.finish().as_ref()))
}

/// `bytes` with their number before them.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// Reads what [`string`] writes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u32, CommitKeyProblem> {
        let (number, rest) = self.0.split_first_chunk::<4>().ok_or(CommitKeyProblem::NoKey)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Result<&'a [u8], CommitKeyProblem> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CommitKeyProblem::NoKey)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn is(&mut self, expected: &[u8]) -> Result<(), CommitKeyProblem> {
        if self.string()? == expected { Ok(()) } else { Err(CommitKeyProblem::NoKey) }
    }
}

/// The seed of the key in an OpenSSH private key.
fn seed(bytes: &[u8]) -> Result<[u8; 32], CommitKeyProblem> {
    let mut key = Reader(bytes.strip_prefix(KEY_MAGIC).ok_or(CommitKeyProblem::NoKey)?);
    key.is(b"none").map_err(|_| CommitKeyProblem::Passphrase)?;
    key.is(b"none")?;
    key.is(b"")?;
    if key.number()? != 1 {
        return Err(CommitKeyProblem::NoKey);
    }
    key.string()?;
    let mut private = Reader(key.string()?);
    if private.number()? != private.number()? {
        return Err(CommitKeyProblem::NoKey);
    }
    private.is(ALGORITHM)?;
    private.string()?;
    let (seed, _) = private.string()?.split_first_chunk::<32>().ok_or(CommitKeyProblem::NoKey)?;
    Ok(*seed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    fn run(dir: &Path, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.output().unwrap()
    }

    fn done(dir: &Path, program: &str, args: &[&str]) -> Vec<u8> {
        let output = run(dir, program, args);
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Git and ssh-keygen are the others here: they make the key, the commit, and the judgement.
    #[test]
    fn git_takes_the_signature() {
        for format in ["sha1", "sha256"] {
            let folder = tempfile::tempdir().unwrap();
            let dir = folder.path();
            done(dir, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "jct", "-f", "key"]);
            let key = CommitKey::read(&fs::read_to_string(dir.join("key")).unwrap()).unwrap();
            let public = fs::read_to_string(dir.join("key.pub")).unwrap();
            assert_eq!(public.trim(), format!("{} jct", key.public_line()));

            done(dir, "git", &["init", "-q", &format!("--object-format={format}"), "."]);
            let author = ["-c", "user.name=JCT", "-c", "user.email=jct@jct.invalid"];
            done(
                dir,
                "git",
                &[&author[..], &["commit", "-q", "--allow-empty", "-m", "Mend it\n\nAll of it."]].concat(),
            );
            let commit = done(dir, "git", &["cat-file", "commit", "HEAD"]);
            let signed = key.sign_commit(&commit).unwrap();
            assert_eq!(key.sign_commit(&signed), Err(CommitKeyProblem::NoCommit), "once is enough");
            fs::write(dir.join("signed"), &signed).unwrap();
            let written = done(dir, "git", &["hash-object", "-t", "commit", "-w", "signed"]);
            let id = String::from_utf8(written).unwrap().trim().to_owned();

            assert_eq!(commit_id(&signed), Some(id.clone()));

            let verify = |signer: &str| {
                fs::write(dir.join("signers"), format!("* {signer}\n")).unwrap();
                let allowed = format!("gpg.ssh.allowedSignersFile={}", dir.join("signers").display());
                run(dir, "git", &["-c", &allowed, "verify-commit", &id]).status.success()
            };
            assert!(verify(&key.public_line()), "{format}");
            // The controls.
            let other = CommitKey(SigningKey::from_seed(&[7; 32]).unwrap());
            assert!(!verify(&other.public_line()), "{format}");
            fs::write(dir.join("signed"), String::from_utf8(signed).unwrap().replace("All of it", "None of it"))
                .unwrap();
            let changed = done(dir, "git", &["hash-object", "-t", "commit", "-w", "signed"]);
            let changed = String::from_utf8(changed).unwrap().trim().to_owned();
            let allowed = format!("gpg.ssh.allowedSignersFile={}", dir.join("signers").display());
            fs::write(dir.join("signers"), format!("* {}\n", key.public_line())).unwrap();
            assert!(!run(dir, "git", &["-c", &allowed, "verify-commit", &changed]).status.success());
        }
    }

    #[test]
    fn what_is_no_key_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        done(dir, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "secret", "-f", "locked"]);
        done(dir, "ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"]);
        let read = |name: &str| CommitKey::read(&fs::read_to_string(dir.join(name)).unwrap()).map(drop);
        assert_eq!(read("locked"), Err(CommitKeyProblem::Passphrase));
        assert_eq!(read("rsa"), Err(CommitKeyProblem::NoKey));
        assert_eq!(read("rsa.pub"), Err(CommitKeyProblem::NoKey));
        let pem = SigningKey::from_seed(&[1; 32]).unwrap();
        assert!(CommitKey::read(pem.pem()).is_ok());
        for commit in ["", "tree x\n\nno", "no\n\ncommit"] {
            let key = CommitKey::read(pem.pem()).unwrap();
            assert_eq!(key.sign_commit(commit.as_bytes()), Err(CommitKeyProblem::NoCommit), "{commit}");
        }
    }
}
