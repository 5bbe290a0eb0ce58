//! What an event is about if it is about no patient: a community resource, or an organisation.
//! Each has a stream of its own, on which it is decided what may be said of it.

use jiff::Timestamp;

use crate::id::{OrganisationId, ResourceId};
use crate::organisation::{self, Organisation};
use crate::record::{Refusal, Stamp};
use crate::resource::{self, Resource};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    Resource(ResourceId),
    Organisation(OrganisationId),
}

/// What can be said of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Resource(resource::Step),
    /// What the organisation itself says that it did.
    Organisation(OrganisationId, organisation::Step),
}

/// What was said of one: of the two, one stays empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    resource: Resource,
    organisation: Organisation,
}

impl Known {
    pub fn decide(&self, stamp: &Stamp, step: &Step, now: Timestamp) -> Result<(), Refusal> {
        match step {
            Step::Resource(step) => Ok(self.resource.decide(stamp, step, now)?),
            Step::Organisation(of, step) => Ok(self.organisation.decide(of, stamp, *step, now)?),
        }
    }

    /// Whether somebody can be sent to it, if it is a resource.
    pub fn check_sending(
        &self,
        stamp: &Stamp,
        receiver: Option<&OrganisationId>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        Ok(self.resource.check_sending(stamp, receiver, now)?)
    }

    pub fn apply(&mut self, stamp: &Stamp, step: &Step) {
        match step {
            Step::Resource(step) => self.resource.apply(stamp, step),
            Step::Organisation(_, step) => self.organisation.apply(stamp, *step),
        }
    }
}
