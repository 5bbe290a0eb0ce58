//! What is ordered and what happened, whichever kind of thing it is about.

use crate::correction::Correction;
use crate::id::{CaseId, EncounterId, EventId, ReferralId, TransferRequestId};
use crate::note::Document;
use crate::{case, encounter, identity, referral, transfer_request};

#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most of what is told is the largest: notes and forms"
)]
pub enum Order {
    Identity(identity::Command),
    Encounter(EncounterId, encounter::Command),
    TransferRequest(TransferRequestId, transfer_request::Command),
    Referral(ReferralId, referral::Command),
    Case(CaseId, case::Command),
    Document(Document),
    Correction(Correction),
}

#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most of what is told is the largest: notes and forms"
)]
pub enum Fact {
    Identity(identity::Event),
    Encounter(EncounterId, encounter::Event),
    TransferRequest(TransferRequestId, transfer_request::Event),
    Referral(ReferralId, referral::Event),
    Case(CaseId, case::Event),
    Document(Document),
    Correction(Correction),
}

impl Fact {
    /// The event that this cancels, if it is a cancel.
    pub fn cancelled(&self) -> Option<EventId> {
        match self {
            Self::Encounter(_, event) => event.cancelled(),
            Self::Identity(_)
            | Self::TransferRequest(..)
            | Self::Referral(..)
            | Self::Case(..)
            | Self::Document(_)
            | Self::Correction(_) => None,
        }
    }
}

impl Order {
    /// Whether it is a form or a note that depends on nothing that another event could undo.
    pub fn is_independent(&self) -> bool {
        matches!(self, Self::Document(document) if document.is_independent())
    }
}

/// Which of the things that happened at one time came first, by what they are: a stay begins before
/// it ends, and nothing is taken back before it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    Registered,
    Known,
    Planned,
    Visited,
    Admitted,
    Moved,
    OnLeave,
    Returned,
    Begun,
    Answered,
    Underway,
    Closed,
    Ended,
    TakenBack,
    Corrected,
}

impl Fact {
    pub fn turn(&self) -> Turn {
        match self {
            Self::Identity(event) => event.turn(),
            Self::Encounter(_, event) => event.turn(),
            Self::TransferRequest(_, event) => event.turn(),
            Self::Referral(_, event) => event.turn(),
            Self::Case(_, event) => event.turn(),
            Self::Document(document) => document.turn(),
            Self::Correction(_) => Turn::Corrected,
        }
    }
}

/// A stored event is a command that was accepted.
impl From<Order> for Fact {
    fn from(order: Order) -> Self {
        match order {
            Order::Identity(command) => Self::Identity(command.into()),
            Order::Encounter(id, command) => Self::Encounter(id, command.into()),
            Order::TransferRequest(id, command) => Self::TransferRequest(id, command.into()),
            Order::Referral(id, command) => Self::Referral(id, command.into()),
            Order::Case(id, command) => Self::Case(id, command.into()),
            Order::Document(document) => Self::Document(document),
            Order::Correction(correction) => Self::Correction(correction),
        }
    }
}

/// What would have to be ordered for it to happen again.
impl From<Fact> for Order {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Identity(event) => Self::Identity(event.into()),
            Fact::Encounter(id, event) => Self::Encounter(id, event.into()),
            Fact::TransferRequest(id, event) => Self::TransferRequest(id, event.into()),
            Fact::Referral(id, event) => Self::Referral(id, event.into()),
            Fact::Case(id, event) => Self::Case(id, event.into()),
            Fact::Document(document) => Self::Document(document),
            Fact::Correction(correction) => Self::Correction(correction),
        }
    }
}
