//! Short texts, sealed: nobody without the key reads or changes them, or takes one for another.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

fn aead(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

/// `text`, encrypted with `key`, to be opened as what it is `bound_to` alone. With one key few texts: their nonces are random.
///
/// None if the system gives no random bytes.
pub fn seal_text(key: &[u8; 32], bound_to: &str, text: &str) -> Option<String> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).ok()?;
    let mut bytes = text.as_bytes().to_vec();
    let (fresh, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(bound_to.as_bytes()));
    aead(key)?.seal_in_place_append_tag(fresh, aad, &mut bytes).ok()?;
    Some(BASE64_STANDARD_NO_PAD.encode([nonce.as_slice(), &bytes].concat()))
}

/// The text that was sealed; none if it was with another key, as something else, or has been changed.
pub fn open_text(key: &[u8; 32], bound_to: &str, sealed: &str) -> Option<String> {
    let bytes = BASE64_STANDARD_NO_PAD.decode(sealed).ok()?;
    let (nonce, encrypted) = bytes.split_at_checked(NONCE_LEN)?;
    let (nonce, mut encrypted) = (Nonce::try_assume_unique_for_key(nonce).ok()?, encrypted.to_vec());
    let plain = aead(key)?.open_in_place(nonce, Aad::from(bound_to.as_bytes()), &mut encrypted).ok()?;
    String::from_utf8(plain.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_with_its_key_as_what_it_is() {
        let (ours, theirs) = ([7; 32], [8; 32]);
        let sealed = seal_text(&ours, "session a", "secret").unwrap();
        assert_eq!(open_text(&ours, "session a", &sealed).as_deref(), Some("secret"), "the control");
        assert_eq!(open_text(&theirs, "session a", &sealed), None);
        assert_eq!(open_text(&ours, "session b", &sealed), None);
        assert_ne!(seal_text(&ours, "session a", "secret").unwrap(), sealed);
        let changed = format!("{}{}", &sealed[..20], sealed[20..].replacen(&sealed[20..21], "_", 1));
        for bad in ["", "AAAA", &sealed[..30], &changed] {
            assert_eq!(open_text(&ours, "session a", bad), None, "{bad}");
        }
    }
}
