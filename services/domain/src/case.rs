//! A social-prescribing case: opened, worked on, closed, perhaps reopened.

use crate::id::ReferralId;
use crate::pairs::commands_and_events;

commands_and_events! {
    Open => Opened(Option<ReferralId>),
    Close => Closed(()),
    Reopen => Reopened(()),
    RecordContactAttempt => ContactAttempted(()),
    RecordContact => ContactHeld(()),
}

/// Why a command about a case is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such case: check `case_id`, or open the case first")]
    Unknown,
    #[error("there is a case with this id already: take a new id for each case, or reopen it")]
    AlreadyOpened,
    #[error("the case is closed: reopen it first")]
    Closed,
    #[error("the case is open already")]
    Open,
    #[error(
        "the referral was rejected, cancelled, failed or entered in error: no case is opened on it"
    )]
    ReferralNotLive,
}

/// The state of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Open,
    Closed,
}

/// The event that `command` causes for `case` now, or why it causes none.
pub fn decide(case: Option<Case>, command: Command) -> Result<Event, Refusal> {
    match (&command, case) {
        (Command::Open(_), None) | (Command::Reopen(()), Some(Case::Closed)) => Ok(()),
        (Command::Open(_), Some(_)) => Err(Refusal::AlreadyOpened),
        (_, None) => Err(Refusal::Unknown),
        (Command::Reopen(()), Some(Case::Open)) => Err(Refusal::Open),
        (
            Command::Close(()) | Command::RecordContactAttempt(()) | Command::RecordContact(()),
            Some(case),
        ) => match case {
            Case::Open => Ok(()),
            Case::Closed => Err(Refusal::Closed),
        },
    }?;
    Ok(command.into())
}

pub fn apply(case: &mut Option<Case>, event: &Event) {
    match event {
        Event::Opened(_) | Event::Reopened(()) => *case = Some(Case::Open),
        Event::Closed(()) => *case = Some(Case::Closed),
        Event::ContactAttempted(()) | Event::ContactHeld(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(events: &[Event]) -> Option<Case> {
        let mut case = None;
        for event in events {
            apply(&mut case, event);
        }
        case
    }

    #[test]
    fn a_case_is_opened_once() {
        assert_eq!(decide(given(&[]), Command::Open(None)), Ok(Event::Opened(None)));
        let opened = given(&[Event::Opened(None)]);
        assert_eq!(decide(opened, Command::Open(None)), Err(Refusal::AlreadyOpened));
    }

    #[test]
    fn nothing_is_done_on_a_closed_case_until_it_is_reopened() {
        let closed = given(&[Event::Opened(None), Event::Closed(())]);
        assert_eq!(decide(closed, Command::RecordContact(())), Err(Refusal::Closed));
        assert_eq!(decide(closed, Command::Close(())), Err(Refusal::Closed));
        assert_eq!(decide(closed, Command::Reopen(())), Ok(Event::Reopened(())));
        let reopened = given(&[Event::Opened(None), Event::Closed(()), Event::Reopened(())]);
        assert_eq!(decide(reopened, Command::RecordContact(())), Ok(Event::ContactHeld(())));
    }

    #[test]
    fn nothing_is_done_on_an_unknown_case() {
        for command in [Command::Close(()), Command::Reopen(()), Command::RecordContactAttempt(())]
        {
            assert_eq!(decide(None, command), Err(Refusal::Unknown));
        }
    }
}
