//! A commit with a signature, held against the one without. Pure.

/// The headers that a signature may be: by which digests the repository names its objects.
const SIGNATURES: [&[u8]; 2] = [b"gpgsig", b"gpgsig-sha256"];

/// Whether `signed` is `commit` with one signature, and nothing else.
pub fn is_signed(commit: &[u8], signed: &[u8]) -> bool {
    without_signature(signed).is_some_and(|(rest, signatures)| signatures == 1 && rest == commit)
}

/// The commit without its signatures, and how many there were.
fn without_signature(signed: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = signed.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, message) = signed.split_at_checked(end + 1)?;
    let (mut rest, mut signatures, mut within) = (Vec::new(), 0, false);
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        within = if SIGNATURES.contains(&name) { true } else { within && line.starts_with(b" ") };
        signatures += usize::from(SIGNATURES.contains(&name));
        if !within {
            rest.extend(line);
        }
    }
    rest.extend(message);
    Some((rest, signatures))
}

#[cfg(test)]
mod tests {
    const COMMIT: &str = "tree t\nparent p\nauthor A\ncommitter C\n\nMend it\n\ngpgsig no\n more\n";
    const SIGNATURE: &str = "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----\n";

    fn signed(signature: &str) -> String {
        COMMIT.replacen("\n\nMend", &format!("\n{signature}\nMend"), 1)
    }

    #[test]
    fn only_a_signature_may_be_added() {
        let is_signed = |signed: &str| super::is_signed(COMMIT.as_bytes(), signed.as_bytes());
        assert!(is_signed(&signed(SIGNATURE)));
        for other in [
            COMMIT.to_owned(),
            signed(&SIGNATURE.repeat(2)),
            signed(&format!("{SIGNATURE}encoding x\n")),
            signed(&format!("mergetag x\n {SIGNATURE}")),
            signed(SIGNATURE).replace("parent p", "parent q"),
            signed(SIGNATURE).replace("Mend it", "Mend all"),
            signed(SIGNATURE).replace("author A", "author B"),
            format!("{}x", signed(SIGNATURE)),
            "gpgsig".into(),
        ] {
            assert!(!is_signed(&other), "{other}");
        }
    }
}
