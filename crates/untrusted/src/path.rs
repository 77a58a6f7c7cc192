//! Paths within a repository, as Tasks and git name them.

use crate::Failure;
use jct_domain::FailureReason;

/// `path` without empty parts and `.`; empty for the whole repository.
///
/// # Errors
/// [`FailureReason::PathNotFound`] if it is absolute, has a `..`, or names git's own folder.
pub fn normalize(path: &str) -> Result<String, Failure> {
    if path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains('\0') {
        return Err(path_not_found(path, "it leads out of the repository"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Ok(parts.join("/"))
}

/// The failure of a path that a Task names and its source does not have.
pub fn path_not_found(path: &str, why: &str) -> Failure {
    Failure::new(FailureReason::PathNotFound, format!("path {path:?}: {why}"))
}

/// Whether `path` is `scope` or below it.
pub fn is_within(path: &[u8], scope: &str) -> bool {
    scope.is_empty()
        || path.strip_prefix(scope.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_end_at_slashes() {
        assert!(is_within(b"src/a", "src") && is_within(b"src", "src") && is_within(b"x", ""));
        assert!(!is_within(b"src-old/a", "src"));
    }
}
