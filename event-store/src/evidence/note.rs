//! Signed notes (<https://c2sp.org/signed-note>): a text, an empty line, and a line with its
//! Ed25519 signature. The only door to Ed25519.
//!
//! Keys are written as other tools for such notes write them: the public one as
//! `name+id+key`, the secret one as `PRIVATE+KEY+name+id+key`; the id in hexadecimal, the key in
//! base64 with `0x01` for Ed25519 before it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::log::bytes::take;

const ED25519: u8 = 1;
const SECRET: &str = "PRIVATE+KEY+";
/// What every signature's line begins with.
pub const SIGNATURE: &str = "— ";

/// Why a note is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("it is not a signed note")]
    Malformed,
    #[error("it is not signed by this key: take the key of the region that it comes from")]
    OtherKey,
    #[error("the signature is not that of this text: it was changed after it was signed")]
    Forged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a key as `tsunagi key` prints it")]
pub struct KeyError;

/// Says which texts are a region's.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

/// Signs a region's texts. Secret.
pub struct SigningKey {
    name: String,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// `name` has neither spaces nor plus signs.
    pub fn new(name: String, secret: &[u8; 32]) -> Self {
        Self { name, key: ed25519_dalek::SigningKey::from_bytes(secret) }
    }

    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The note of a text, which ends with the end of a line.
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let signed = [&self.public().id()[..], &signature].concat();
        format!("{text}\n{SIGNATURE}{} {}\n", self.name, BASE64_STANDARD.encode(signed))
    }

    /// The text that the key is kept in.
    pub fn to_secret_text(&self) -> String {
        let public = self.public();
        format!("{SECRET}{}", written(&self.name, public.id(), self.key.as_bytes()))
    }

    pub fn from_secret_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim().strip_prefix(SECRET).ok_or(KeyError)?;
        let (name, id, secret) = read(text).ok_or(KeyError)?;
        let key = Self::new(name, &secret);
        if key.public().id() == id { Ok(key) } else { Err(KeyError) }
    }
}

impl PublicKey {
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new_with_prefix(self.name.as_bytes())
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes());
        hash.finalize().first_chunk().copied().unwrap_or_default()
    }

    /// The text of a note, if this key has signed it. Other keys' signatures are let be.
    pub fn verify<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let is_forbidden = |c: char| c.is_ascii_control() && c != '\n';
        if !note.ends_with('\n') || note.contains(is_forbidden) {
            return Err(NoteError::Malformed);
        }
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed)? + 1;
        let (text, signatures) = note.split_at_checked(end).ok_or(NoteError::Malformed)?;
        for line in signatures.lines().skip(1) {
            let (name, signed) = line
                .strip_prefix(SIGNATURE)
                .and_then(|line| line.split_once(' '))
                .ok_or(NoteError::Malformed)?;
            let signed = BASE64_STANDARD.decode(signed).or(Err(NoteError::Malformed))?;
            let (id, signature) = signed.split_first_chunk().ok_or(NoteError::Malformed)?;
            if name == self.name && *id == self.id() {
                let signature = Signature::from_slice(signature).or(Err(NoteError::Malformed))?;
                let verified = self.key.verify_strict(text.as_bytes(), &signature);
                return verified.map(|()| text).or(Err(NoteError::Forged));
            }
        }
        Err(NoteError::OtherKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(&self.name, self.id(), self.key.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, key) = read(text.trim()).ok_or(KeyError)?;
        let key = VerifyingKey::from_bytes(&key).or(Err(KeyError))?;
        let key = Self { name, key };
        if key.id() == id { Ok(key) } else { Err(KeyError) }
    }
}

fn written(name: &str, id: [u8; 4], key: &[u8; 32]) -> String {
    let key = BASE64_STANDARD.encode([&[ED25519], &key[..]].concat());
    format!("{name}+{:08x}+{key}", u32::from_be_bytes(id))
}

fn read(text: &str) -> Option<(String, [u8; 4], [u8; 32])> {
    // Base64 may have plus signs, a name has none.
    let (name, rest) = text.split_once('+')?;
    let (id, key) = rest.split_once('+')?;
    let id = u32::from_str_radix(id, 16).ok()?.to_be_bytes();
    let bytes = BASE64_STANDARD.decode(key).ok()?;
    let mut rest = bytes.as_slice();
    if take(&mut rest)? != [ED25519] {
        return None;
    }
    Some((name.to_owned(), id, rest.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the note of the documentation of Go's package `note`.
    const GO_SECRET: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";

    fn text() -> &'static str {
        GO_NOTE.split_once("\n\n").map(|(text, _)| text).unwrap()
    }

    #[test]
    fn notes_are_those_of_other_tools() {
        let key = SigningKey::from_secret_text(GO_SECRET).unwrap();
        assert_eq!(key.public().to_string(), GO_PUBLIC);
        assert_eq!(key.to_secret_text(), GO_SECRET);
        assert_eq!(key.sign(&format!("{}\n", text())), GO_NOTE);
        let public: PublicKey = GO_PUBLIC.parse().unwrap();
        assert_eq!(public.verify(GO_NOTE).unwrap().trim_end(), text());
    }

    #[test]
    fn a_changed_note_and_another_key_are_refused() {
        let public: PublicKey = GO_PUBLIC.parse().unwrap();
        let changed = GO_NOTE.replace("answer", "Answer");
        assert_eq!(public.verify(&changed), Err(NoteError::Forged));
        let other = SigningKey::new("other".to_owned(), &[7; 32]);
        assert_eq!(other.public().verify(GO_NOTE), Err(NoteError::OtherKey));
        let same_name = SigningKey::new("PeterNeumann".to_owned(), &[7; 32]);
        assert_eq!(same_name.public().verify(GO_NOTE), Err(NoteError::OtherKey));
        for malformed in ["", "text\n", "text\n\n— a\n", "text\n\n— a !\n", "a\rb\n\n— a AAAA\n"]
        {
            assert_eq!(public.verify(malformed), Err(NoteError::Malformed), "{malformed:?}");
        }
    }

    #[test]
    fn others_may_sign_too() {
        let other = SigningKey::new("witness".to_owned(), &[7; 32]);
        let text = format!("{}\n", text());
        let theirs = other.sign(&text);
        let line = theirs.lines().last().unwrap();
        let public: PublicKey = GO_PUBLIC.parse().unwrap();
        let both = format!("{GO_NOTE}{line}\n");
        assert_eq!(public.verify(&both), Ok(text.as_str()));
        assert_eq!(other.public().verify(&both), Ok(text.as_str()));
    }

    #[test]
    fn a_mistyped_key_is_refused() {
        let mistyped = GO_PUBLIC.replace("c74f", "c75f");
        assert_eq!(mistyped.parse::<PublicKey>(), Err(KeyError));
        assert_eq!("key".parse::<PublicKey>(), Err(KeyError));
        assert!(SigningKey::from_secret_text(GO_PUBLIC).is_err());
    }
}
