//! The wire contract: the types and services generated from `care/v1`, the check of what the
//! schema declares, the catalogue of event types, and the conversion to the domain's types.

pub mod catalogue;
pub mod check;
pub mod convert;

/// The schema's packages, nested as the generated code expects them.
pub mod care {
    /// `package care.v1`.
    #[expect(
        unused_qualifications,
        clippy::pedantic,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::as_conversions,
        clippy::large_enum_variant,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("care.v1");
    }
}

#[expect(clippy::unreadable_literal, reason = "generated")]
mod checks {
    use crate::check::{Check, Must, Path, VIOLATIONS_MAX, Violation, said};
    use crate::{CommandRequest, v1};

    include!(concat!(env!("OUT_DIR"), "/checks.rs"));
}

pub use care::v1;

/// A desk's request: which event, when, which patient; and what is to be recorded.
pub trait CommandRequest: check::Check {
    type Event;

    fn into_parts(self) -> (Option<v1::CommandContext>, Option<Self::Event>);
}

/// The schema as a `FileDescriptorSet` with comments, for reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.binpb"));
