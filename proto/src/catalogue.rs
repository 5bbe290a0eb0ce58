//! Every event type: its name, its family, its sentence, and the message in its payload. The
//! build reads them out of the schema, where each message says it of itself (`catalogue.proto`).

use prost::Message as _;

use crate::check::{Check, Violation};
use crate::codes::Moment;
use crate::fields::Fields;
use crate::v1;
pub use crate::v1::Family;

/// A payload that is not what its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not a {message}")]
pub struct Unreadable {
    message: &'static str,
}

/// Of what an event is a step, as the schema has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepOf {
    /// The field that holds the id.
    pub of: &'static str,
    /// From which states it leads.
    pub from: &'static [&'static str],
    /// To which.
    pub to: &'static str,
    /// Whether only a person may take it.
    pub by_person: bool,
    /// Whether only those who took a first step take it, or the facility of the encounter.
    pub by_beginner: bool,
    /// Whether it begins again what had ended.
    pub begins_again: bool,
}

/// What the schema says of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType {
    /// `care.<family>.<event>.v<version>`.
    pub name: &'static str,
    pub family: Family,
    /// The sentence in Japanese and English, with fields in braces.
    pub sentence: (&'static str, &'static str),
}

macro_rules! catalogue {
    (
        all { $($variant:ident($message:ident) = $type:literal $family:ident $ja:literal $en:literal,)* }
        ruled { $($ruled:ident($of:ident),)* }
        noted { $($noted:ident: $step:expr,)* }
    ) => {
        /// The payload of an event, by the event's type.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(clippy::large_enum_variant, reason = "lives for one event, is never stored")]
        pub enum Payload {
            $( #[doc = concat!("`", $type, "`")] $variant(v1::$message), )*
            /// Of a type that this version does not know: kept and passed on as it is.
            Unknown,
        }

        /// The payloads that the domain has rules of its own for.
        #[derive(Debug, Clone, Copy)]
        pub enum Ruled<'a> { $( $ruled(&'a v1::$of), )* }

        /// All types that this version knows.
        pub const TYPES: &[EventType] = &[
            $( EventType { name: $type, family: Family::$family, sentence: ($ja, $en) }, )*
        ];

        impl Payload {
            /// Reads the payload of an event of type `event_type`.
            pub fn decode(event_type: &str, payload: &[u8]) -> Result<Self, Unreadable> {
                match event_type {
                    $( $type => v1::$message::decode(payload)
                        .map(Self::$variant)
                        .or(Err(Unreadable { message: stringify!($message) })), )*
                    _ => Ok(Self::Unknown),
                }
            }

            /// The event's type; empty for an unknown one.
            pub fn event_type(&self) -> &'static str {
                match self { $( Self::$variant(_) => $type, )* Self::Unknown => "" }
            }

            pub fn family(&self) -> Family {
                match self {
                    $( Self::$variant(_) => Family::$family, )*
                    Self::Unknown => Family::Unspecified,
                }
            }

            /// The sentence in Japanese and English, with fields in braces; none for an unknown
            /// type.
            pub fn sentence(&self) -> Option<(&'static str, &'static str)> {
                match self {
                    $( Self::$variant(_) => Some(($ja, $en)), )*
                    Self::Unknown => None,
                }
            }

            pub fn encode_to_vec(&self) -> Vec<u8> {
                match self {
                    $( Self::$variant(message) => message.encode_to_vec(), )*
                    Self::Unknown => Vec::new(),
                }
            }

            /// The name by which reflection knows the payload's message.
            pub fn message_name(&self) -> Option<&'static str> {
                match self {
                    $( Self::$variant(_) => Some(concat!("care.v1.", stringify!($message))), )*
                    Self::Unknown => None,
                }
            }

            /// What the payload violates of what the schema declares, if it tells of this
            /// moment.
            pub fn violations(&self, moment: Option<Moment<'_>>) -> Vec<Violation> {
                match self {
                    $( Self::$variant(message) => message.violations_of(moment), )*
                    Self::Unknown => Vec::new(),
                }
            }

            /// The message, to be read by its fields' names.
            pub fn fields(&self) -> Option<&dyn Fields> {
                match self {
                    $( Self::$variant(message) => Some(message), )*
                    Self::Unknown => None,
                }
            }

            /// The message, if the domain has rules of its own for it.
            pub fn ruled(&self) -> Option<Ruled<'_>> {
                match self {
                    $( Self::$ruled(message) => Some(Ruled::$ruled(message)), )*
                    $( Self::$noted(_) => None, )*
                    Self::Unknown => None,
                }
            }

            /// Of what it is a step, if it is a form or a note that is one.
            pub fn step(&self) -> Option<StepOf> {
                match self {
                    $( Self::$noted(_) => $step, )*
                    $( Self::$ruled(_) => None, )*
                    Self::Unknown => None,
                }
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

impl Payload {
    /// Whether it changes nothing until a person says the same.
    pub fn is_draft(&self) -> bool {
        DRAFTS.contains(&self.event_type())
    }

    /// Whether only the facility says it whose stay it is about, or somebody on its behalf.
    pub fn is_of_facility(&self) -> bool {
        OF_FACILITY.contains(&self.event_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_named_care_family_event_version() {
        let mut seen = std::collections::BTreeSet::new();
        for EventType { name, .. } in TYPES {
            assert!(seen.insert(name), "{name} twice");
            let parts: Vec<&str> = name.split('.').collect();
            assert!(matches!(parts.as_slice(), ["care", _, _, "v1"]), "{name}");
        }
    }

    #[test]
    fn an_unknown_type_is_kept_as_it_is() {
        assert_eq!(Payload::decode("care.moon.landed.v1", b"\xff"), Ok(Payload::Unknown));
    }

    #[test]
    fn a_payload_that_is_not_its_message_is_unreadable() {
        let error = Payload::decode("care.encounter.admitted.v1", b"\xff").unwrap_err();
        assert_eq!(error.to_string(), "the payload is not a Admitted");
    }

    #[test]
    fn a_device_that_was_unbound_is_the_one_thing_of_no_rules_of_its_own_that_begins_again() {
        let all = TYPES.iter().map(|one| Payload::decode(one.name, &[]).unwrap());
        let again = all.filter(|one| one.step().is_some_and(|step| step.begins_again));
        let again: Vec<_> = again.map(|one| one.event_type()).collect();
        assert_eq!(again, ["care.watch.device_bound.v1"]);
    }

    #[test]
    fn a_draft_has_an_event_by_which_a_person_says_the_same() {
        let drafts = TYPES.iter().map(|one| Payload::decode(one.name, &[]).unwrap());
        for draft in drafts.filter(Payload::is_draft) {
            let step = draft.step().unwrap();
            let all = TYPES.iter().map(|one| Payload::decode(one.name, &[]).unwrap());
            let mut steps = all.filter_map(|of| of.step());
            let confirms = |of: &StepOf| of.of == step.of && of.by_person;
            assert!(steps.any(|of| confirms(&of)), "{}", draft.event_type());
        }
    }

    #[test]
    fn the_names_of_messages_are_known_to_reflection() {
        let admitted = Payload::Admitted(v1::Admitted::default());
        assert_eq!(admitted.message_name(), Some("care.v1.Admitted"));
        assert_eq!(admitted.event_type(), "care.encounter.admitted.v1");
        assert_eq!(admitted.family(), Family::Encounter);
    }
}
