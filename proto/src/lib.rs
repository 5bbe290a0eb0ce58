//! The wire contract: the types and services generated from `care/v1`, the check of what the
//! schema declares, the catalogue of event types, the code sets, and the conversion to the
//! domain's types.

pub mod catalogue;
pub mod check;
pub mod codes;
pub mod convert;
pub mod demographics;
pub mod fields;
mod json;
mod lists;
pub mod named;

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

#[expect(clippy::unreadable_literal, clippy::too_many_lines, reason = "generated")]
mod checks {
    use crate::check::{Check, Must, Path, VIOLATIONS_MAX, Violation, are_blank, named, said};
    use crate::{CommandRequest, Context, v1};

    include!(concat!(env!("OUT_DIR"), "/checks.rs"));
}

#[expect(clippy::match_same_arms, reason = "generated")]
mod generated_fields {
    use crate::fields::{Fields, Value};
    use crate::v1;

    include!(concat!(env!("OUT_DIR"), "/fields.rs"));
}

pub use care::v1;

/// A desk's request: which event, when, which patient, resource or organisation; and what is to be recorded.
pub trait CommandRequest: check::Check {
    type Event;

    fn into_parts(self) -> (Option<Context>, Option<Self::Event>);
}

/// What a desk's request says besides its event.
#[derive(Debug, Clone)]
pub enum Context {
    Patient(v1::CommandContext),
    Resource(v1::ResourceContext),
    Organisation(v1::OrganisationContext),
}

impl From<v1::CommandContext> for Context {
    fn from(context: v1::CommandContext) -> Self {
        Self::Patient(context)
    }
}

impl From<v1::ResourceContext> for Context {
    fn from(context: v1::ResourceContext) -> Self {
        Self::Resource(context)
    }
}

impl From<v1::OrganisationContext> for Context {
    fn from(context: v1::OrganisationContext) -> Self {
        Self::Organisation(context)
    }
}

/// The schema as a `FileDescriptorSet` with comments, for reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.binpb"));
