//! With what a private repository is read: files of a Secret that this container alone has mounted.
//!
//! Git asks for it by its own way, a helper, which is this program again: what it is told is on no command line, in no environment, in
//! no configuration and in no file but those of the Secret. Only the forge's own host is told, whatever host git asks for.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use jct_domain::FailureReason;
use jct_domain::forge::{MAX_SECRET_BYTES, secret};
use jct_domain::url::SCHEMES;
use jct_untrusted::Failure;

use crate::CredentialArgs;

/// The most that git is read of, in bytes: it asks in a few short lines.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;

/// A user and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// What the Secret has; none if nothing is in it, for nobody is granted it any more.
///
/// # Errors
/// [`FailureReason::SourceUnavailable`] if it says that there is none to be had.
pub fn read(folder: &Path) -> Result<Option<Login>, Failure> {
    let lost = |error: io::Error| Failure::worker("read the forge's credential", &error);
    if let Some(trouble) = text(&folder.join(secret::TROUBLE)).map_err(lost)? {
        return Err(Failure::new(FailureReason::SourceUnavailable, trouble));
    }
    let username = text(&folder.join(secret::USERNAME)).map_err(lost)?;
    let token = text(&folder.join(secret::TOKEN)).map_err(lost)?;
    Ok(username.zip(token).map(|(username, token)| Login { username, token }))
}

fn text(file: &Path) -> io::Result<Option<String>> {
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    opened.take(MAX_SECRET_BYTES as u64).read_to_string(&mut text)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// What git is told to ask for it: `program`, with the folder of the Secret and the one place that may be told.
pub fn helper(program: &Path, folder: &Path, url: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let words = [
        quoted(&program.to_string_lossy()),
        "worker credential".into(),
        quoted(&format!("--folder={}", folder.display())),
        quoted(&format!("--origin={}", origin(url))),
    ];
    format!("!{}", words.join(" "))
}

/// Scheme and host, with the port if there is one.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    format!("{scheme}://{}", rest.split('/').next().unwrap_or_default()).to_lowercase()
}

/// `jct worker credential`: answers git, if it asks for the place that may be told.
pub fn answer(args: &CredentialArgs) -> ExitCode {
    let mut request = String::new();
    let read_all = io::stdin().lock().take(MAX_REQUEST_BYTES).read_to_string(&mut request);
    if args.operation != "get" || read_all.is_err() || !asks_for(&request, &args.origin) {
        return ExitCode::SUCCESS;
    }
    match read(&args.folder) {
        Ok(Some(Login { username, token })) => {
            let answer = format!("username={username}\npassword={token}\n");
            if io::stdout().lock().write_all(answer.as_bytes()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether git asks for this place and no other.
fn asks_for(request: &str, origin: &str) -> bool {
    let value = |name: &str| request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let asked = value("protocol").zip(value("host")).map(|(protocol, host)| format!("{protocol}://{host}"));
    let is_known = SCHEMES.iter().any(|scheme| origin.starts_with(&format!("{scheme}://")));
    is_known && asked.is_some_and(|asked| asked.to_lowercase() == origin)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("protocol=https\nhost=git.example\n", "https://git.example", true)]
    #[case("protocol=https\nhost=git.example:3000\npath=a/b\n", "https://git.example:3000", true)]
    #[case("protocol=https\nhost=git.example:3000\n", "https://git.example", false)]
    #[case("protocol=http\nhost=git.example\n", "https://git.example", false)]
    #[case("protocol=https\nhost=git.example.evil\n", "https://git.example", false)]
    #[case("protocol=https\nhost=evil\n", "https://git.example", false)]
    #[case("host=git.example\n", "https://git.example", false)]
    #[case("", "https://git.example", false)]
    #[case("protocol=\nhost=\n", "://", false)]
    fn only_the_forge_is_told(#[case] request: &str, #[case] origin: &str, #[case] expected: bool) {
        assert_eq!(asks_for(request, origin), expected);
    }

    #[test]
    fn a_secret_has_a_login_nothing_or_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join(secret::USERNAME), "jct").unwrap();
        std::fs::write(folder.path().join(secret::TOKEN), "t0ken").unwrap();
        let login = read(folder.path()).unwrap().unwrap();
        assert_eq!((&*login.username, &*login.token), ("jct", "t0ken"));
        assert_eq!(format!("{login:?}"), "Login");
        std::fs::write(folder.path().join(secret::TROUBLE), "the forge hub has no usable credential").unwrap();
        assert_eq!(read(folder.path()).unwrap_err().reason, FailureReason::SourceUnavailable);
    }

    #[test]
    fn the_helper_is_one_word_for_each_part() {
        let helper = helper(Path::new("/a b/it's"), Path::new("/run/x"), "HTTPS://Git.Example:3000/a/b.git");
        let expected = r"!'/a b/it'\''s' worker credential '--folder=/run/x' '--origin=https://git.example:3000'";
        assert_eq!(helper, expected);
    }
}
