//! A community resource (地域資源) in the region's directory: it is published, said more of,
//! withdrawn, and may be published again.
//!
//! Whoever acts for an organisation may say nearly any of this: link workers of several offices
//! keep one directory, and a resource's own people report how many it can take. But only who
//! published a resource takes it out of the directory.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::id::OrganisationId;
use crate::path;
use crate::record::{FUTURE_TOLERANCE, Stamp};

/// What can be said of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Publish,
    /// Anything that is said of one that is in the directory: what it is, that this is right,
    /// how many it can take.
    Describe,
    Withdraw,
}

/// Why nothing is said of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no resource with this `resource_id`: publish it first, or check the id")]
    Unknown,
    #[error("the resource is in the directory already: change it, or take a new id for another")]
    AlreadyPublished,
    #[error("the resource was withdrawn by then: publish it again first, or check `occurred_at`")]
    Withdrawn,
    #[error("the resource was not in the directory then: check `occurred_at`")]
    NotYet,
    #[error(
        "only an organisation that published the resource withdraws it; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotThePublisher,
    #[error(
        "the resource is that of organisation {0}: name it as the receiver, or refer to a resource of the receiver's"
    )]
    OfAnother(OrganisationId),
    #[error("`occurred_at` lies more than 5 minutes ahead of the server's clock: check it")]
    InFuture,
}

/// Whether it is in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Unknown,
    Published,
    Withdrawn,
}

impl path::Step for Step {
    type State = State;
    const BEGINNING: State = State::Unknown;

    fn leads_from(&self, state: State) -> Option<State> {
        let is_published = state == State::Published;
        let may_be_taken = match self {
            Self::Publish => !is_published,
            Self::Describe | Self::Withdraw => is_published,
        };
        may_be_taken.then(|| self.leads_to())
    }

    fn leads_to(&self) -> State {
        match self {
            Self::Publish | Self::Describe => State::Published,
            Self::Withdraw => State::Withdrawn,
        }
    }

    fn repeats(&self, later: &Self) -> bool {
        matches!((self, later), (Self::Publish, Self::Publish))
    }
}

/// When one resource was in the directory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resource {
    /// Without its descriptions: they lead nowhere, and a resource may say its capacity each day.
    path: path::Path<Step>,
    publishers: BTreeSet<OrganisationId>,
}

impl Resource {
    pub fn decide(&self, stamp: &Stamp, step: Step, now: Timestamp) -> Result<(), Refusal> {
        if stamp.occurred_at.earliest() > now + FUTURE_TOLERANCE {
            return Err(Refusal::InFuture);
        }
        let is_known = !self.publishers.is_empty();
        if step == Step::Withdraw && is_known && !self.publishers.contains(&stamp.acting_for) {
            return Err(Refusal::NotThePublisher);
        }
        if self.path.accepts(stamp, step) {
            return Ok(());
        }
        Err(match (self.path.state(), step) {
            (State::Unknown, _) => Refusal::Unknown,
            (State::Published, Step::Publish) => Refusal::AlreadyPublished,
            (State::Withdrawn, Step::Describe | Step::Withdraw) => Refusal::Withdrawn,
            (State::Published, Step::Describe | Step::Withdraw)
            | (State::Withdrawn, Step::Publish) => Refusal::NotYet,
        })
    }

    pub fn apply(&mut self, stamp: &Stamp, step: Step) {
        if step == Step::Publish {
            self.publishers.insert(stamp.acting_for.clone());
        }
        match step {
            Step::Publish | Step::Withdraw => self.path.insert(stamp, step),
            Step::Describe => {}
        }
    }

    pub fn is_withdrawn(&self) -> bool {
        self.path.state() == State::Withdrawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{stamp, stamp_for};

    fn given(steps: &[(Step, &str)]) -> Resource {
        let mut resource = Resource::default();
        for ((step, at), event) in steps.iter().zip(1..) {
            resource.apply(&stamp(event, at), *step);
        }
        resource
    }

    fn decide(resource: &Resource, step: Step, at: &str) -> Result<(), Refusal> {
        resource.decide(&stamp(99, at), step, "2026-06-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_resource_is_published_once_until_it_is_withdrawn() {
        use Step::{Describe, Publish, Withdraw};
        let nothing = given(&[]);
        assert_eq!(decide(&nothing, Describe, "2026-05-01"), Err(Refusal::Unknown));
        assert_eq!(decide(&nothing, Publish, "2026-05-01"), Ok(()));
        let published = given(&[(Publish, "2026-05-01")]);
        assert_eq!(decide(&published, Publish, "2026-05-02"), Err(Refusal::AlreadyPublished));
        assert_eq!(decide(&published, Describe, "2026-05-02"), Ok(()));
        assert_eq!(decide(&published, Describe, "2026-04-02"), Err(Refusal::NotYet));
        let withdrawn = given(&[(Publish, "2026-05-01"), (Withdraw, "2026-05-03")]);
        assert!(withdrawn.is_withdrawn() && !published.is_withdrawn());
        assert_eq!(decide(&withdrawn, Describe, "2026-05-04"), Err(Refusal::Withdrawn));
        assert_eq!(decide(&withdrawn, Publish, "2026-05-04"), Ok(()));
    }

    #[test]
    fn a_resource_is_withdrawn_by_who_published_it() {
        let published = given(&[(Step::Publish, "2026-05-01")]);
        let by = |who: &str, step| {
            let now = "2026-06-01T00:00:00Z".parse().unwrap();
            published.decide(&stamp_for(99, "2026-05-02", who), step, now)
        };
        assert_eq!(by("stranger", Step::Withdraw), Err(Refusal::NotThePublisher));
        assert_eq!(by("stranger", Step::Describe), Ok(()));
        assert_eq!(by("hospital", Step::Withdraw), Ok(()));
    }

    #[test]
    fn news_from_before_the_withdrawal_comes_late_and_is_taken() {
        let withdrawn = given(&[(Step::Publish, "2026-05-01"), (Step::Withdraw, "2026-05-03")]);
        assert_eq!(decide(&withdrawn, Step::Describe, "2026-05-02"), Ok(()));
    }

    #[test]
    fn a_resource_may_be_described_each_day_for_ever() {
        let mut resource = given(&[(Step::Publish, "2026-01-01")]);
        for event in 1..=20_000 {
            resource.apply(&stamp(event, "2026-05-01"), Step::Describe);
        }
        assert_eq!(decide(&resource, Step::Describe, "2026-05-01"), Ok(()));
        assert_eq!(decide(&resource, Step::Describe, "2025-12-31"), Err(Refusal::NotYet));
    }

    #[test]
    fn nothing_is_said_of_tomorrow() {
        assert_eq!(decide(&given(&[]), Step::Publish, "2026-06-03"), Err(Refusal::InFuture));
    }
}
