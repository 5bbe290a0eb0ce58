//! What an organisation says of its own work, and of no patient: which meetings it held with
//! partner institutions (連携機関との会合).
//!
//! It is that organisation's own word, and what was recorded in error is taken back once.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::id::{EventId, OrganisationId};
use crate::record::{FUTURE_TOLERANCE, Stamp};

/// What can be said of an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    HoldMeeting,
    /// The meeting that this event recorded was none.
    MarkMeetingInError(EventId),
}

/// Why nothing is said of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "an organisation alone says what it did: act for the one that `organisation_id` names, or name it in `on_behalf_of`"
    )]
    NotTheOrganisation,
    #[error("no event {0} recorded a meeting of this organisation: check the id")]
    UnknownMeeting(EventId),
    #[error("meeting {0} was marked as entered in error before: nothing is left to do")]
    AlreadyInError(EventId),
    #[error("`occurred_at` lies more than 5 minutes ahead of the server's clock: check it")]
    InFuture,
}

/// What one organisation said of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Organisation {
    /// By the events that recorded them; whether they still count.
    meetings: BTreeMap<EventId, bool>,
}

impl Organisation {
    /// Whether it can be said of the organisation `of`.
    pub fn decide(
        &self,
        of: &OrganisationId,
        stamp: &Stamp,
        step: Step,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if stamp.acting_for != *of {
            return Err(Refusal::NotTheOrganisation);
        }
        if stamp.occurred_at.earliest() > now + FUTURE_TOLERANCE {
            return Err(Refusal::InFuture);
        }
        match step {
            Step::HoldMeeting => Ok(()),
            Step::MarkMeetingInError(meeting) => match self.meetings.get(&meeting) {
                None => Err(Refusal::UnknownMeeting(meeting)),
                Some(false) => Err(Refusal::AlreadyInError(meeting)),
                Some(true) => Ok(()),
            },
        }
    }

    pub fn apply(&mut self, stamp: &Stamp, step: Step) {
        match step {
            Step::HoldMeeting => {
                self.meetings.entry(stamp.event).or_insert(true);
            }
            Step::MarkMeetingInError(meeting) => {
                self.meetings.insert(meeting, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{event_id, stamp, stamp_for};

    fn given(steps: &[(u128, Step)]) -> Organisation {
        let mut organisation = Organisation::default();
        for (event, step) in steps {
            organisation.apply(&stamp(*event, "2026-05-01"), *step);
        }
        organisation
    }

    fn decide(given: &Organisation, stamp: &Stamp, step: Step) -> Result<(), Refusal> {
        let hospital = OrganisationId::parse("hospital").unwrap();
        given.decide(&hospital, stamp, step, "2026-06-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_meeting_is_taken_back_once() {
        let in_error = Step::MarkMeetingInError(event_id(1));
        let at = stamp(9, "2026-05-02");
        let nothing = given(&[]);
        assert_eq!(decide(&nothing, &at, Step::HoldMeeting), Ok(()));
        assert_eq!(decide(&nothing, &at, in_error), Err(Refusal::UnknownMeeting(event_id(1))));
        let held = given(&[(1, Step::HoldMeeting)]);
        assert_eq!(decide(&held, &at, Step::HoldMeeting), Ok(()), "there may be many a day");
        assert_eq!(decide(&held, &at, in_error), Ok(()));
        let taken_back = given(&[(1, Step::HoldMeeting), (2, in_error)]);
        assert_eq!(decide(&taken_back, &at, in_error), Err(Refusal::AlreadyInError(event_id(1))));
        let of_the_mark = Step::MarkMeetingInError(event_id(2));
        assert_eq!(
            decide(&taken_back, &at, of_the_mark),
            Err(Refusal::UnknownMeeting(event_id(2)))
        );
    }

    #[test]
    fn nobody_says_what_another_organisation_did() {
        let stranger = stamp_for(9, "2026-05-02", "stranger");
        let held = given(&[(1, Step::HoldMeeting)]);
        for step in [Step::HoldMeeting, Step::MarkMeetingInError(event_id(1))] {
            assert_eq!(decide(&held, &stranger, step), Err(Refusal::NotTheOrganisation));
        }
    }

    #[test]
    fn no_meeting_was_held_tomorrow() {
        let tomorrow = stamp(9, "2026-06-03");
        assert_eq!(decide(&given(&[]), &tomorrow, Step::HoldMeeting), Err(Refusal::InFuture));
    }
}
