//! URLs of repositories: what may be told of them, and those of folders.

use core::net::IpAddr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Variables that say how git gets out of a machine: proxies and certificate authorities. A proxy's URL may hold a password.
pub const WAYS_OUT: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

/// The variable by which the step that fetches a repository is told from where. All else that a worker is told is in its
/// arguments: an executor's image may set any variable, but this step runs in our own image, before the executor, and the URL
/// may hold a password, which arguments show to everybody on the node.
pub const SOURCE_URL: &str = "JCT_SOURCE_URL";

/// What the URL of a repository may begin with: what git is known to keep harmless.
pub const SCHEMES: [&str; 4] = ["https", "http", "git", "file"];

/// `user:password` in `url`.
pub fn credentials(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit_once('@').map(|(credentials, _)| credentials)
}

/// `url` without user and password.
pub fn without_credentials(url: &str) -> String {
    credentials(url).map_or_else(|| url.into(), |credentials| url.replacen(&format!("{credentials}@"), "", 1))
}

/// The URL of a folder of this machine, whatever its name holds: git takes a `%` in it for the beginning of an escape.
pub fn of_folder(path: &Path) -> String {
    format!("file://{}", percent_encoded(path.as_os_str().as_bytes(), b"/-._~"))
}

/// Letters, digits and the marks in `kept`, which are ASCII, as they are; every other byte as `%XX`.
pub fn percent_encoded(bytes: &[u8], kept: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || kept.contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// The host of `authority`, which may have a port; an address of IPv6 without its brackets.
pub fn host_name(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether `host`, as [`host_name`] has it, is this machine.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://user:secret@git.example/octo/hello.git", "https://git.example/octo/hello.git")]
    #[case("https://token@git.example/a@b/c", "https://git.example/a@b/c")]
    #[case("https://git.example/a@b/c", "https://git.example/a@b/c")]
    #[case("file:///srv/git/a.git", "file:///srv/git/a.git")]
    fn credentials_are_told_apart(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(without_credentials(url), expected);
    }

    #[rstest]
    #[case("localhost", true)]
    #[case("localhost:8000", true)]
    #[case("127.8.0.1:1", true)]
    #[case("[::1]:8000", true)]
    #[case("[::1]", true)]
    #[case("localhost.example.org", false)]
    #[case("127.0.0.1.example.org", false)]
    #[case("10.0.0.1:1", false)]
    #[case("[fe80::1]", false)]
    #[case("", false)]
    fn this_machine_is_known_by_its_own_names_alone(#[case] authority: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(host_name(authority)), expected);
    }

    #[rstest]
    #[case(b"/srv/git/hello.git", "file:///srv/git/hello.git")]
    #[case(b"/a b%41/#?/\xff", "file:///a%20b%2541/%23%3F/%FF")]
    fn a_folder_may_have_any_name(#[case] path: &[u8], #[case] expected: &str) {
        assert_eq!(of_folder(Path::new(OsStr::from_bytes(path))), expected);
    }
}
