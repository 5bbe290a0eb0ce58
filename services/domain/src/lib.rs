//! What may happen to a patient's record, and what follows from what happened.
//!
//! Pure (I6): no I/O, no clock, no randomness; times and ids are arguments. For each kind of
//! thing, `decide` says whether a command is accepted, and `apply` folds an event into the
//! state. `apply` never fails: what is in the log has happened.

pub mod actor;
pub mod case;
pub mod correction;
pub mod encounter;
pub mod id;
pub mod identity;
pub mod my_number;
pub mod note;
#[cfg(test)]
mod orders;
pub mod organisation;
mod pairs;
mod path;
pub mod place;
#[cfg(test)]
mod properties;
pub mod record;
pub mod referral;
pub mod resource;
pub mod rrule;
pub mod time;
pub mod topic;
pub mod transfer_request;

pub use actor::Actor;
pub use id::{
    CaseId, EncounterId, EventId, OrganisationId, PatientId, ReferralId, ResourceId,
    TransferRequestId,
};
pub use note::Document;
pub use record::{Command, Event, Fact, Order, Record, Refusal, RefusalKind, Stamp, Turn};
pub use time::{CareTime, Zone};
pub use topic::Topic;
