//! The program that asks on somebody's behalf, by its own account: recorded beside the user, and vouched for by nobody.

/// The longest name, in bytes.
pub const MAX_CLIENT_BYTES: usize = 64;

/// Whether `text` has the form of a program's name, such as `mcp/claude-code`.
pub fn is_client(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    (1..=MAX_CLIENT_BYTES).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('/')
}
