//! The search for a facility to transfer to (転院調整): one request for each facility asked.

use crate::id::{EncounterId, OrganisationId};
use crate::pairs::commands_and_events;
use crate::record::Stamp;

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
    #[error("another offer for this stay was accepted already: withdraw that request first")]
    AnotherAccepted,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct TransferRequest {
    question: Question,
    requester: OrganisationId,
    state: State,
}

/// The event that `command` causes for `request` now, or why it causes none.
pub fn decide(
    request: Option<&TransferRequest>,
    stamp: &Stamp,
    command: Command,
) -> Result<Event, Refusal> {
    match (&command, request) {
        (Command::Request(_), None) => Ok(()),
        (Command::Request(_), Some(_)) => Err(Refusal::AlreadyRequested),
        (_, None) => Err(Refusal::Unknown),
        (Command::Offer(()) | Command::Decline(()), Some(request)) => {
            said_by(&request.question.facility, stamp, Refusal::NotTheFacilityAsked)
        }
        (Command::Accept(()) | Command::Withdraw(()), Some(request)) => {
            said_by(&request.requester, stamp, Refusal::NotTheRequester)
        }
    }?;
    if let Some(request) = request {
        request.allows(&command)?;
    }
    Ok(command.into())
}

pub fn apply(request: &mut Option<TransferRequest>, stamp: &Stamp, event: &Event) {
    let state = match event {
        Event::Requested(question) => {
            *request = Some(TransferRequest {
                question: question.clone(),
                requester: stamp.acting_for.clone(),
                state: State::Requested,
            });
            return;
        }
        Event::Offered(()) => State::Offered,
        Event::Declined(()) => State::Declined,
        Event::Accepted(()) => State::Accepted,
        Event::Withdrawn(()) => State::Withdrawn,
    };
    if let Some(request) = request {
        request.state = state;
    }
}

impl TransferRequest {
    pub(crate) fn is_accepted(&self) -> bool {
        self.state == State::Accepted
    }

    pub fn encounter(&self) -> EncounterId {
        self.question.encounter
    }

    fn allows(&self, command: &Command) -> Result<(), Refusal> {
        let allowed: &[State] = match command {
            Command::Request(_) => &[],
            // A facility may change its mind until its offer was taken.
            Command::Offer(()) => &[State::Requested, State::Declined],
            Command::Decline(()) => &[State::Requested, State::Offered],
            Command::Accept(()) => &[State::Offered],
            Command::Withdraw(()) => &[State::Requested, State::Offered, State::Accepted],
        };
        if allowed.contains(&self.state) { Ok(()) } else { Err(Refusal::WrongState(self.state)) }
    }
}

fn said_by(organisation: &OrganisationId, stamp: &Stamp, refusal: Refusal) -> Result<(), Refusal> {
    if stamp.acting_for == *organisation { Ok(()) } else { Err(refusal) }
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

    fn given(events: &[(&str, Event)]) -> Option<TransferRequest> {
        let mut request = None;
        for (organisation, event) in events {
            apply(&mut request, &stamp_for(1, "2026-05-01", organisation), event);
        }
        request
    }

    fn when(
        request: Option<&TransferRequest>,
        organisation: &str,
        command: Command,
    ) -> Result<Event, Refusal> {
        decide(request, &stamp_for(2, "2026-05-02", organisation), command)
    }

    #[test]
    fn the_facility_asked_answers_and_the_hospital_accepts() {
        let asked = given(&[("acute", Event::Requested(question()))]);
        assert_eq!(
            when(asked.as_ref(), "acute", Command::Offer(())),
            Err(Refusal::NotTheFacilityAsked)
        );
        assert_eq!(when(asked.as_ref(), "rehab", Command::Offer(())), Ok(Event::Offered(())));
        let offered =
            given(&[("acute", Event::Requested(question())), ("rehab", Event::Offered(()))]);
        assert_eq!(
            when(offered.as_ref(), "rehab", Command::Accept(())),
            Err(Refusal::NotTheRequester)
        );
        assert_eq!(when(offered.as_ref(), "acute", Command::Accept(())), Ok(Event::Accepted(())));
    }

    #[test]
    fn only_an_offer_can_be_accepted() {
        let asked = given(&[("acute", Event::Requested(question()))]);
        assert_eq!(
            when(asked.as_ref(), "acute", Command::Accept(())),
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
            when(accepted.as_ref(), "rehab", Command::Decline(())),
            Err(Refusal::WrongState(State::Accepted))
        );
        let offered = given(&history[..2]);
        assert_eq!(when(offered.as_ref(), "rehab", Command::Decline(())), Ok(Event::Declined(())));
    }

    #[test]
    fn an_unknown_request_has_no_answer_and_a_known_one_no_second_question() {
        assert_eq!(when(None, "rehab", Command::Offer(())), Err(Refusal::Unknown));
        let asked = given(&[("acute", Event::Requested(question()))]);
        assert_eq!(
            when(asked.as_ref(), "acute", Command::Request(question())),
            Err(Refusal::AlreadyRequested)
        );
    }
}
