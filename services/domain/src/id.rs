//! Typed ids: an id of one kind cannot stand in for another.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("must be a UUID, such as 0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e, and not all zeros")]
    Uuid,
    #[error("must be 1 to 64 ASCII letters, digits, `.`, `_`, `:` or `-`")]
    Code,
}

/// A UUID out of its usual text form with hyphens; not the nil UUID.
pub fn parse_uuid(text: &str) -> Result<Uuid, IdError> {
    // The parser also takes braces, URNs and bare digits; one form keeps ids comparable by eye.
    const TEXT_LENGTH: usize = 36;
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == TEXT_LENGTH && !uuid.is_nil() => Ok(uuid),
        Ok(_) | Err(_) => Err(IdError::Uuid),
    }
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub fn parse(text: &str) -> Result<Self, IdError> {
                parse_uuid(text).map(Self)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    )* };
}

uuid_ids! {
    /// One event, chosen by whoever first wrote it down.
    EventId,
    /// One patient: a pseudonym of the region, never an insurer's or hospital's number.
    PatientId,
    /// One visit or stay at one facility.
    EncounterId,
    /// One question to one facility whether it takes a patient.
    TransferRequestId,
    /// One referral to one organisation.
    ReferralId,
    /// One social-prescribing case.
    CaseId,
    /// One community resource in the region's directory.
    ResourceId,
}

/// For whom somebody acts: an id that some register gave out, such as a facility number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganisationId(Arc<str>);

impl OrganisationId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if is_code(text) { Ok(Self(text.into())) } else { Err(IdError::Code) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrganisationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` has the form of an id that is not a UUID.
pub fn is_code(text: &str) -> bool {
    const MAX_LENGTH: usize = 64;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_taken_in_its_hyphenated_form_only() {
        let text = "0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e";
        assert_eq!(EventId::parse(text).unwrap().to_string(), text);
        assert_eq!(EventId::parse(&text.to_uppercase()).unwrap().to_string(), text);
        for wrong in ["", "x", "0198c9a47e3b7c109d4e3f6a2b1c0d5e", &format!("{{{text}}}")] {
            assert_eq!(EventId::parse(wrong), Err(IdError::Uuid), "{wrong}");
        }
        assert_eq!(EventId::parse("00000000-0000-0000-0000-000000000000"), Err(IdError::Uuid));
    }

    #[test]
    fn a_code_is_short_and_ascii() {
        assert!(is_code("0810112345"));
        assert!(is_code("st-mary:ward_4.e"));
        assert!(!is_code(""));
        assert!(!is_code("日立中央病院"));
        assert!(!is_code("two words"));
        assert!(!is_code(&"x".repeat(65)));
    }
}
