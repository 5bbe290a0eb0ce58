//! The search for a facility to transfer to (転院調整): one request for each facility asked.

use crate::id::{EncounterId, EventId, OrganisationId};
use crate::pairs::commands_and_events;
use crate::path::{Gaps, Path, Step};
use crate::record::{Stamp, Turn};
use crate::time::CareTime;

#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub encounter: EncounterId,
    pub facility: OrganisationId,
}

commands_and_events! {
    Request => Requested(Question),
    Offer => Offered(()),
    Decline => Declined(()),
    Accept => Accepted(()),
    Withdraw => Withdrawn(()),
}

impl Event {
    pub(crate) fn turn(&self) -> Turn {
        match self {
            Self::Requested(_) => Turn::Begun,
            Self::Offered(()) | Self::Declined(()) => Turn::Answered,
            Self::Accepted(()) => Turn::Underway,
            Self::Withdrawn(()) => Turn::Closed,
        }
    }
}

/// Why a command about a transfer request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "there is no such transfer request: check `transfer_request_id`, or send the request first"
    )]
    Unknown,
    #[error(
        "there is a transfer request with this id already: take a new id for each facility that is asked"
    )]
    AlreadyRequested,
    #[error(
        "only the facility that was asked may say this; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheFacilityAsked,
    #[error(
        "only the hospital that asked may say this; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheRequester,
    #[error("the request is {0} now, and this cannot be said of it")]
    WrongState(State),
    #[error("the facility that is asked is the one where the patient is")]
    SameFacility,
    #[error(
        "another offer for this stay was accepted, in event {0}: withdraw that request first, and tell of a withdrawal before the acceptance that it made possible"
    )]
    AnotherAccepted(EventId),
    #[error(
        "event {0} tells of a later step of this request that could not have followed: check `occurred_at` against the timeline, or correct that event first"
    )]
    LaterStep(EventId),
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Requested,
    Offered,
    Declined,
    Accepted,
    Withdrawn,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Requested => "waiting for an answer",
            Self::Offered => "offered",
            Self::Declined => "declined",
            Self::Accepted => "accepted",
            Self::Withdrawn => "withdrawn",
        })
    }
}

/// The state of one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TransferRequest {
    asked: Option<Asked>,
    path: Path<State>,
}

#[derive(Debug, Clone, PartialEq)]
struct Asked {
    question: Question,
    requester: OrganisationId,
    event: EventId,
}

/// That an offer was accepted, and until when.
struct Acceptance {
    event: EventId,
    at: CareTime,
    ended_at: Option<CareTime>,
}

impl Acceptance {
    fn can_end_before(&self, other: &Self) -> bool {
        self.ended_at.is_some_and(|ended| !other.at.is_before(&ended))
    }
}

/// What is said of a request leads to the state that it names.
impl Step for State {
    type State = Self;
    const BEGINNING: Self = Self::Requested;

    fn leads_from(&self, state: Self) -> Option<Self> {
        let leads = match self {
            Self::Requested => false,
            Self::Offered => matches!(state, Self::Requested | Self::Declined),
            // A facility may change its mind until its offer was taken.
            Self::Declined => matches!(state, Self::Requested | Self::Offered),
            Self::Accepted => state == Self::Offered,
            Self::Withdrawn => matches!(state, Self::Requested | Self::Offered | Self::Accepted),
        };
        leads.then_some(*self)
    }

    fn leads_to(&self) -> Self {
        *self
    }

    /// An offer may be taken back and made again.
    fn repeats(&self, later: &Self) -> bool {
        self == later && matches!(self, Self::Accepted | Self::Withdrawn)
    }

    fn begins_again(&self, state: Self) -> bool {
        matches!((self, state), (Self::Offered, Self::Offered))
    }
}

impl TransferRequest {
    /// The event that `command` causes now, or why it causes none.
    pub fn decide(&self, stamp: &Stamp, command: Command) -> Result<Event, Refusal> {
        match (&command, &self.asked) {
            (Command::Request(_), None) => Ok(()),
            (Command::Request(_), Some(_)) => Err(Refusal::AlreadyRequested),
            (_, None) => Err(Refusal::Unknown),
            (Command::Offer(()) | Command::Decline(()), Some(asked)) => {
                said_by(&asked.question.facility, stamp, Refusal::NotTheFacilityAsked)
            }
            (Command::Accept(()) | Command::Withdraw(()), Some(asked)) => {
                said_by(&asked.requester, stamp, Refusal::NotTheRequester)
            }
        }?;
        if let Some(next) = led_to(&command.clone().into()) {
            let wrong_state = || Refusal::WrongState(self.path.state());
            let refusal =
                |later: Option<EventId>| later.map_or_else(wrong_state, Refusal::LaterStep);
            self.path.fits(stamp, next).map_err(refusal)?;
        }
        Ok(command.into())
    }

    pub fn apply(&mut self, stamp: &Stamp, event: &Event) {
        if let Event::Requested(question) = event {
            self.asked = Some(Asked {
                question: question.clone(),
                requester: stamp.acting_for.clone(),
                event: stamp.event,
            });
        } else if let Some(state) = led_to(event) {
            self.path.insert(stamp, state);
        }
    }

    /// The acceptance that excludes the one of another offer for the same stay: by the times that
    /// are known, neither can have been withdrawn when the other was accepted.
    pub(crate) fn acceptance_beside(&self, other: &Self) -> Option<EventId> {
        let excludes = |own: &Acceptance| {
            other.acceptances().any(|of| !own.can_end_before(&of) && !of.can_end_before(own))
        };
        self.acceptances().find(excludes).map(|own| own.event)
    }

    fn acceptances(&self) -> impl Iterator<Item = Acceptance> {
        let accepted = self.path.iter().filter(|taken| taken.step == State::Accepted);
        accepted.map(|taken| {
            let mut after = self.path.iter().skip_while(|step| step.event != taken.event);
            let end = after.find(|step| step.step == State::Withdrawn);
            Acceptance { event: taken.event, at: taken.at, ended_at: end.map(|end| end.at) }
        })
    }

    pub(crate) fn gaps(&self) -> Gaps {
        self.path.gaps()
    }

    pub fn state(&self) -> State {
        self.path.state()
    }

    pub fn encounter(&self) -> Option<EncounterId> {
        self.asked.as_ref().map(|asked| asked.question.encounter)
    }

    /// By whom it was sent, to which facility, and in which event.
    pub fn parties(&self) -> Option<(&OrganisationId, &OrganisationId, EventId)> {
        let Asked { question, requester, event } = self.asked.as_ref()?;
        Some((requester, &question.facility, *event))
    }
}

/// The state to which an event leads, if it changes it.
fn led_to(event: &Event) -> Option<State> {
    Some(match event {
        Event::Requested(_) => return None,
        Event::Offered(()) => State::Offered,
        Event::Declined(()) => State::Declined,
        Event::Accepted(()) => State::Accepted,
        Event::Withdrawn(()) => State::Withdrawn,
    })
}

fn said_by(who: &OrganisationId, stamp: &Stamp, refusal: Refusal) -> Result<(), Refusal> {
    if stamp.acting_for == *who { Ok(()) } else { Err(refusal) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::stamp_for;

    fn question() -> Question {
        Question {
            encounter: EncounterId::new(uuid::Uuid::from_u128(7)),
            facility: OrganisationId::parse("rehab").unwrap(),
        }
    }

    fn given(events: &[(&str, Event)]) -> TransferRequest {
        let mut request = TransferRequest::default();
        for ((organisation, event), number) in events.iter().zip(1..) {
            request.apply(&stamp_for(number, "2026-05-01", organisation), event);
        }
        request
    }

    fn when(
        request: &TransferRequest,
        organisation: &str,
        command: Command,
    ) -> Result<Event, Refusal> {
        request.decide(&stamp_for(99, "2026-05-02", organisation), command)
    }

    #[test]
    fn the_facility_asked_answers_and_the_hospital_accepts() {
        let asked = given(&[("acute", Event::Requested(question()))]);
        assert_eq!(when(&asked, "acute", Command::Offer(())), Err(Refusal::NotTheFacilityAsked));
        assert_eq!(when(&asked, "rehab", Command::Offer(())), Ok(Event::Offered(())));
        let offered =
            given(&[("acute", Event::Requested(question())), ("rehab", Event::Offered(()))]);
        assert_eq!(when(&offered, "rehab", Command::Accept(())), Err(Refusal::NotTheRequester));
        assert_eq!(when(&offered, "acute", Command::Accept(())), Ok(Event::Accepted(())));
    }

    #[test]
    fn only_an_offer_can_be_accepted() {
        let asked = given(&[("acute", Event::Requested(question()))]);
        assert_eq!(
            when(&asked, "acute", Command::Accept(())),
            Err(Refusal::WrongState(State::Requested))
        );
    }

    #[test]
    fn a_facility_may_change_its_mind_until_its_offer_was_taken() {
        let history = [
            ("acute", Event::Requested(question())),
            ("rehab", Event::Offered(())),
            ("acute", Event::Accepted(())),
        ];
        let accepted = given(&history);
        assert_eq!(
            when(&accepted, "rehab", Command::Decline(())),
            Err(Refusal::WrongState(State::Accepted))
        );
        let offered = given(&history[..2]);
        assert_eq!(when(&offered, "rehab", Command::Decline(())), Ok(Event::Declined(())));
    }

    #[test]
    fn an_unknown_request_has_no_answer_and_a_known_one_no_second_question() {
        assert_eq!(when(&given(&[]), "rehab", Command::Offer(())), Err(Refusal::Unknown));
        let asked = given(&[("acute", Event::Requested(question()))]);
        assert_eq!(
            when(&asked, "acute", Command::Request(question())),
            Err(Refusal::AlreadyRequested)
        );
    }
}
