//! What stands in the way of taking an event, but for a repeat: when that was taken, it may not
//! have stood there.

use tsunagi_domain::{OrganisationId, ResourceId, Stamp, note};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::{Path, Violation};
use tsunagi_proto::{convert, v1};

use super::SubmitError;

/// What is held against an event.
#[derive(Default)]
pub(crate) struct Objections {
    /// Codes that no list has that is known now.
    unlisted: Vec<Violation>,
    /// Words that only the system may say.
    of_the_system: Vec<Violation>,
    /// Whether a tool of AI says it, and it is no draft.
    needs_person: bool,
    /// The resources to which somebody is sent.
    resources: Vec<Sending>,
}

/// That somebody is sent to a resource of the directory.
pub(super) struct Sending {
    pub(super) resource: ResourceId,
    pub(super) stamp: Stamp,
    /// Who is asked, if it is a referral.
    pub(super) receiver: Option<OrganisationId>,
}

impl Objections {
    /// Notes to which resource somebody is sent.
    pub(super) fn sends_to(&mut self, payload: &Payload, stamp: &Stamp) {
        let receiver = if let Payload::ReferralRequested(referral) = payload {
            let receiver = referral.receiver.as_ref();
            receiver.and_then(|receiver| OrganisationId::parse(&receiver.id).ok())
        } else {
            None
        };
        let sending = |resource| Sending { resource, stamp: stamp.clone(), receiver };
        self.resources.extend(sent_to(payload).map(sending));
    }

    pub(super) fn resources(&self) -> &[Sending] {
        &self.resources
    }

    pub(crate) fn add(&mut self, event: &v1::Event, payload: &Payload, unlisted: Vec<Violation>) {
        let is_by_tool = event.actor.as_ref().is_some_and(|actor| convert::is_tool(&actor.role));
        self.needs_person |= is_by_tool && !payload.is_draft();
        self.unlisted.extend(unlisted);
    }

    /// Notes if it says that an event was moved: nothing is told again by that.
    pub(super) fn claims_a_move(&mut self, payload: &Payload) {
        if let Payload::EnteredInError(error) = payload
            && !error.moved_to_patient_id.is_empty()
        {
            let payload = Path::ROOT.field("payload");
            self.of_the_system.push(payload.field("moved_to_patient_id").violation(
                "must be empty: to tell the event of another patient, and enter it in error here by that, use `CareTeam.MoveEvents`",
            ));
        }
    }

    pub(crate) fn check(&self) -> Result<(), SubmitError> {
        if self.needs_person {
            return Err(SubmitError::Refused(note::Refusal::NeedsPerson.into()));
        }
        if !(self.unlisted.is_empty() && self.of_the_system.is_empty()) {
            let fields = self.unlisted.iter().chain(&self.of_the_system);
            return Err(SubmitError::Fields(fields.cloned().collect()));
        }
        Ok(())
    }
}

/// The resource of the directory to which somebody is sent, if it is one by its id.
fn sent_to(payload: &Payload) -> Option<ResourceId> {
    let resource = if let Payload::ReferralRequested(referral) = payload {
        referral.resource.as_ref()
    } else if let Payload::Signposted(signposted) = payload {
        signposted.resource.as_ref()
    } else {
        None
    };
    ResourceId::parse(&resource?.id).ok()
}
