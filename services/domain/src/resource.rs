//! A community resource (地域資源) in the region's directory: it is published, said more of,
//! withdrawn, and may be published again.
//!
//! Whoever acts for an organisation may confirm a resource and report how many it can take: link
//! workers of several offices keep one directory. But only who published a resource, or runs it,
//! says what it is, and only who published it takes it out of the directory. What a program took in
//! from another directory is everybody's to keep.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::id::{EventId, OrganisationId};
use crate::path;
use crate::record::{FUTURE_TOLERANCE, Stamp};
use crate::time::CareTime;

/// What can be said of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It comes into the directory; and who runs it, if that is said by an id.
    Publish(Option<OrganisationId>),
    /// What it is, and who runs it.
    Change(Option<OrganisationId>),
    /// Anything else that is said of one that is in the directory: that it is right, how many it
    /// can take, that somebody is sent to it.
    Describe,
    Withdraw,
}

/// What a step means for whether it is in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Publish,
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
        "the resource was published by organisation {0}: only that one withdraws it; it, or who runs the resource, changes it; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotThePublisher(OrganisationId),
    #[error(
        "the resource is that of organisation {0}: name it as the receiver, or refer to a resource of the receiver's"
    )]
    OfAnother(OrganisationId),
    #[error("`occurred_at` lies more than 5 minutes ahead of the server's clock: check it")]
    InFuture,
}

/// Whether it is in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Unknown,
    Published,
    Withdrawn,
}

impl Step {
    fn listing(&self) -> Listing {
        match self {
            Self::Publish(_) => Listing::Publish,
            Self::Change(_) | Self::Describe => Listing::Describe,
            Self::Withdraw => Listing::Withdraw,
        }
    }
}

impl path::Step for Listing {
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
    path: path::Path<Listing>,
    publishers: BTreeSet<OrganisationId>,
    /// Whether a person published it, and no program.
    is_of_people: bool,
    /// Who runs it, by when that was said; none, if that was not said any more.
    run_by: BTreeMap<(Timestamp, EventId), Option<OrganisationId>>,
}

impl Resource {
    pub fn decide(&self, stamp: &Stamp, step: &Step, now: Timestamp) -> Result<(), Refusal> {
        if stamp.occurred_at.earliest() > now + FUTURE_TOLERANCE {
            return Err(Refusal::InFuture);
        }
        self.check_teller(stamp, step)?;
        let step = step.listing();
        if self.path.accepts(stamp, step) {
            return Ok(());
        }
        Err(match (self.path.state(), step) {
            (State::Unknown, _) => Refusal::Unknown,
            (State::Published, Listing::Publish) => Refusal::AlreadyPublished,
            (State::Withdrawn, Listing::Describe | Listing::Withdraw) => Refusal::Withdrawn,
            (State::Published, Listing::Describe | Listing::Withdraw)
            | (State::Withdrawn, Listing::Publish) => Refusal::NotYet,
        })
    }

    /// Whether somebody can be sent to it: by a referral, also whether the `receiver` runs it. One
    /// that came into the directory later was there before.
    pub fn check_sending(
        &self,
        stamp: &Stamp,
        receiver: Option<&OrganisationId>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let described = self.decide(stamp, &Step::Describe, now);
        if let Err(refusal @ (Refusal::Unknown | Refusal::Withdrawn)) = described {
            return Err(refusal);
        }
        match (self.run_by(&stamp.occurred_at), receiver) {
            (Some(run_by), Some(receiver)) if run_by != receiver => {
                Err(Refusal::OfAnother(run_by.clone()))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    pub fn apply(&mut self, stamp: &Stamp, step: &Step) {
        if let Step::Publish(run_by) | Step::Change(run_by) = step {
            let said_at = (stamp.occurred_at.earliest(), stamp.event);
            self.run_by.insert(said_at, run_by.clone());
        }
        if let Step::Publish(_) = step {
            self.publishers.insert(stamp.acting_for.clone());
            self.is_of_people |= !stamp.by_program;
        }
        match step.listing() {
            listing @ (Listing::Publish | Listing::Withdraw) => self.path.insert(stamp, listing),
            Listing::Describe => {}
        }
    }

    /// Only who published it, or runs it, says what it is; only who published it withdraws it.
    fn check_teller(&self, stamp: &Stamp, step: &Step) -> Result<(), Refusal> {
        let Some(publisher) = self.publishers.first() else { return Ok(()) };
        let is_publisher = self.publishers.contains(&stamp.acting_for);
        let runs_it = || self.run_by(&stamp.occurred_at) == Some(&stamp.acting_for);
        let may_say = match step {
            Step::Publish(_) | Step::Describe => true,
            Step::Change(_) => is_publisher || !self.is_of_people || runs_it(),
            Step::Withdraw => is_publisher,
        };
        if may_say { Ok(()) } else { Err(Refusal::NotThePublisher(publisher.clone())) }
    }

    /// Who ran it at a time, as far as it was said by then.
    fn run_by(&self, at: &CareTime) -> Option<&OrganisationId> {
        let by_then = self.run_by.iter().take_while(|((said_at, _), _)| *said_at <= at.latest());
        by_then
            .last()
            .or(self.run_by.iter().next())
            .and_then(|(_, organisation)| organisation.as_ref())
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
            resource.apply(&stamp(event, at), step);
        }
        resource
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better in tests")]
    fn decide(resource: &Resource, step: Step, at: &str) -> Result<(), Refusal> {
        resource.decide(&stamp(99, at), &step, "2026-06-01T00:00:00Z".parse().unwrap())
    }

    const PUBLISH: Step = Step::Publish(None);

    #[test]
    fn a_resource_is_published_once_until_it_is_withdrawn() {
        use Step::{Describe, Withdraw};
        let publish = || PUBLISH;
        let nothing = given(&[]);
        assert_eq!(decide(&nothing, Describe, "2026-05-01"), Err(Refusal::Unknown));
        assert_eq!(decide(&nothing, publish(), "2026-05-01"), Ok(()));
        let published = given(&[(publish(), "2026-05-01")]);
        assert_eq!(decide(&published, publish(), "2026-05-02"), Err(Refusal::AlreadyPublished));
        assert_eq!(decide(&published, Describe, "2026-05-02"), Ok(()));
        assert_eq!(decide(&published, Describe, "2026-04-02"), Err(Refusal::NotYet));
        let withdrawn = given(&[(publish(), "2026-05-01"), (Withdraw, "2026-05-03")]);
        assert!(withdrawn.is_withdrawn() && !published.is_withdrawn());
        assert_eq!(decide(&withdrawn, Describe, "2026-05-04"), Err(Refusal::Withdrawn));
        assert_eq!(decide(&withdrawn, publish(), "2026-05-04"), Ok(()));
    }

    #[test]
    fn a_resource_is_withdrawn_by_who_published_it() {
        let published = given(&[(PUBLISH, "2026-05-01")]);
        let by = |who: &str, step| {
            let now = "2026-06-01T00:00:00Z".parse().unwrap();
            published.decide(&stamp_for(99, "2026-05-02", who), &step, now)
        };
        let hospital = OrganisationId::parse("hospital").unwrap();
        let not_theirs = || Err(Refusal::NotThePublisher(hospital.clone()));
        assert_eq!(by("stranger", Step::Withdraw), not_theirs());
        assert_eq!(by("stranger", Step::Change(None)), not_theirs());
        assert_eq!(by("stranger", Step::Describe), Ok(()));
        assert_eq!(by("hospital", Step::Withdraw), Ok(()));
        assert_eq!(by("hospital", Step::Change(None)), Ok(()));
    }

    #[test]
    fn a_resource_is_changed_by_who_runs_it_then() {
        let org = |id: &str| OrganisationId::parse(id).unwrap();
        let by = |who: &str, step| {
            let resource = given(&[
                (Step::Publish(Some(org("salon"))), "2026-05-01"),
                (Step::Change(Some(org("club"))), "2026-05-10"),
            ]);
            let now = "2026-06-01T00:00:00Z".parse().unwrap();
            resource.decide(&stamp_for(99, "2026-05-12", who), &step, now)
        };
        assert_eq!(by("club", Step::Change(None)), Ok(()));
        let not_theirs = || Err(Refusal::NotThePublisher(org("hospital")));
        assert_eq!(by("salon", Step::Change(None)), not_theirs());
        assert_eq!(by("club", Step::Withdraw), not_theirs());
        let of_nobody = given(&[
            (Step::Publish(Some(org("salon"))), "2026-05-01"),
            (Step::Change(None), "2026-05-10"),
        ]);
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let by_salon =
            of_nobody.decide(&stamp_for(99, "2026-05-12", "salon"), &Step::Change(None), now);
        assert_eq!(by_salon, not_theirs());
        assert_eq!(
            of_nobody.check_sending(&stamp(99, "2026-05-12"), Some(&org("other")), now),
            Ok(())
        );
    }

    #[test]
    fn what_a_program_took_in_is_changed_by_everybody() {
        let mut resource = Resource::default();
        let program = Stamp { by_program: true, ..stamp(1, "2026-05-01") };
        resource.apply(&program, &PUBLISH);
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let by = |step| resource.decide(&stamp_for(9, "2026-05-02", "office"), &step, now);
        assert_eq!(by(Step::Change(None)), Ok(()));
        assert!(by(Step::Withdraw).is_err());
    }

    #[test]
    fn a_referral_to_a_resource_asks_who_runs_it() {
        let org = |id: &str| OrganisationId::parse(id).unwrap();
        let resource = given(&[(Step::Publish(Some(org("salon"))), "2026-05-05")]);
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let send = |at: &str, receiver: Option<&OrganisationId>| {
            resource.check_sending(&stamp(99, at), receiver, now)
        };
        let (salon, other) = (org("salon"), org("other"));
        assert_eq!(send("2026-05-06", Some(&salon)), Ok(()));
        assert_eq!(send("2026-05-06", None), Ok(()));
        assert_eq!(send("2026-05-04", Some(&salon)), Ok(()), "it was there before");
        assert_eq!(send("2026-05-06", Some(&other)), Err(Refusal::OfAnother(salon)));
        let unknown = Resource::default();
        let sent = unknown.check_sending(&stamp(99, "2026-05-06"), None, now);
        assert_eq!(sent, Err(Refusal::Unknown));
    }

    #[test]
    fn news_from_before_the_withdrawal_comes_late_and_is_taken() {
        let withdrawn = given(&[(PUBLISH, "2026-05-01"), (Step::Withdraw, "2026-05-03")]);
        assert_eq!(decide(&withdrawn, Step::Describe, "2026-05-02"), Ok(()));
    }

    #[test]
    fn a_resource_may_be_described_each_day_for_ever() {
        let mut resource = given(&[(PUBLISH, "2026-01-01")]);
        for event in 1..=20_000 {
            resource.apply(&stamp(event, "2026-05-01"), &Step::Describe);
        }
        assert_eq!(decide(&resource, Step::Describe, "2026-05-01"), Ok(()));
        assert_eq!(decide(&resource, Step::Describe, "2025-12-31"), Err(Refusal::NotYet));
    }

    #[test]
    fn nothing_is_said_of_tomorrow() {
        assert_eq!(decide(&given(&[]), PUBLISH, "2026-06-03"), Err(Refusal::InFuture));
    }
}
