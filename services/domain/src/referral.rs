//! A referral to an organisation and its states: those of the Gravity SDOH Clinical Care task
//! without `draft` (a draft is not published) and without `received` and `ready` (not used).

use crate::id::{CaseId, OrganisationId};
use crate::pairs::commands_and_events;
use crate::record::Stamp;

/// Who is asked to take the person on, and for which case, if there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub receiver: OrganisationId,
    pub case: Option<CaseId>,
}

commands_and_events! {
    Request => Requested(Asked),
    Accept => Accepted(()),
    Reject => Rejected(()),
    Start => Started(()),
    Hold => Held(()),
    Fail => Failed(()),
    Complete => Completed(()),
    Cancel => Cancelled(()),
    MarkEnteredInError => EnteredInError(()),
    RecordAttendance => Attended(()),
    RecordNonAttendance => Unattended(()),
}

/// Why a command about a referral is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such referral: check `referral_id`, or request the referral first")]
    Unknown,
    #[error("there is a referral with this id already: take a new id for each referral")]
    AlreadyRequested,
    #[error(
        "only the organisation that the referral went to may say this; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheReceiver,
    #[error(
        "only the organisation that made the referral may say this; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheRequester,
    #[error("the referral is {0} now, and this cannot be said of it")]
    WrongState(State),
}

/// Where a referral stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Requested,
    Accepted,
    Rejected,
    InProgress,
    OnHold,
    Failed,
    Completed,
    Cancelled,
    EnteredInError,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Requested => "waiting for an answer",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::InProgress => "in progress",
            Self::OnHold => "on hold",
            Self::Failed => "failed",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::EnteredInError => "entered in error",
        })
    }
}

/// The state of one referral.
#[derive(Debug, Clone, PartialEq)]
pub struct Referral {
    requester: OrganisationId,
    receiver: OrganisationId,
    state: State,
}

/// The event that `command` causes for `referral` now, or why it causes none.
pub fn decide(
    referral: Option<&Referral>,
    stamp: &Stamp,
    command: Command,
) -> Result<Event, Refusal> {
    match (&command, referral) {
        (Command::Request(_), None) => Ok(()),
        (Command::Request(_), Some(_)) => Err(Refusal::AlreadyRequested),
        (_, None) => Err(Refusal::Unknown),
        (_, Some(referral)) => referral.allows(stamp, &command),
    }?;
    Ok(command.into())
}

pub fn apply(referral: &mut Option<Referral>, stamp: &Stamp, event: &Event) {
    let state = match event {
        Event::Requested(asked) => {
            *referral = Some(Referral {
                requester: stamp.acting_for.clone(),
                receiver: asked.receiver.clone(),
                state: State::Requested,
            });
            return;
        }
        Event::Accepted(()) => State::Accepted,
        Event::Rejected(()) => State::Rejected,
        Event::Started(()) => State::InProgress,
        Event::Held(()) => State::OnHold,
        Event::Failed(()) => State::Failed,
        Event::Completed(()) => State::Completed,
        Event::Cancelled(()) => State::Cancelled,
        Event::EnteredInError(()) => State::EnteredInError,
        Event::Attended(()) | Event::Unattended(()) => return,
    };
    if let Some(referral) = referral {
        referral.state = state;
    }
}

impl Referral {
    /// Whether a case can be opened on it: it was not turned down or taken back.
    pub(crate) fn is_live(&self) -> bool {
        use State::{Cancelled, EnteredInError, Failed, Rejected};
        !matches!(self.state, Rejected | Cancelled | Failed | EnteredInError)
    }

    /// Who may say it and in which states, as the table at `ReferralStep` in the schema has it.
    fn allows(&self, stamp: &Stamp, command: &Command) -> Result<(), Refusal> {
        use State::{Accepted, Completed, InProgress, OnHold, Requested};
        let all_but_error = self.state != State::EnteredInError;
        let (receiver_says, in_state) = match command {
            Command::Request(_) => (false, false),
            Command::Accept(()) | Command::Reject(()) => (true, self.state == Requested),
            Command::Start(()) => (true, matches!(self.state, Accepted | OnHold)),
            Command::Hold(()) => (true, matches!(self.state, Accepted | InProgress)),
            Command::Fail(()) => (true, matches!(self.state, Accepted | InProgress | OnHold)),
            Command::Complete(()) => (true, matches!(self.state, Accepted | InProgress)),
            // Who came is often told afterwards.
            Command::RecordAttendance(()) | Command::RecordNonAttendance(()) => {
                (true, matches!(self.state, Accepted | InProgress | Completed))
            }
            Command::Cancel(()) => {
                (false, matches!(self.state, Requested | Accepted | InProgress | OnHold))
            }
            Command::MarkEnteredInError(()) => (false, all_but_error),
        };
        if receiver_says && stamp.acting_for != self.receiver {
            return Err(Refusal::NotTheReceiver);
        }
        if !receiver_says && stamp.acting_for != self.requester {
            return Err(Refusal::NotTheRequester);
        }
        if in_state { Ok(()) } else { Err(Refusal::WrongState(self.state)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::stamp_for;

    fn given(events: &[Event]) -> Option<Referral> {
        let mut referral = None;
        for event in events {
            apply(&mut referral, &stamp_for(1, "2026-05-01", "hospital"), event);
        }
        referral
    }

    fn requested() -> Event {
        let receiver = OrganisationId::parse("link-workers").unwrap();
        Event::Requested(Asked { receiver, case: None })
    }

    fn when(events: &[Event], organisation: &str, command: Command) -> Result<Event, Refusal> {
        decide(given(events).as_ref(), &stamp_for(2, "2026-05-02", organisation), command)
    }

    #[test]
    fn the_receiver_answers_and_the_requester_cancels() {
        assert_eq!(
            when(&[requested()], "link-workers", Command::Accept(())),
            Ok(Event::Accepted(()))
        );
        assert_eq!(
            when(&[requested()], "hospital", Command::Accept(())),
            Err(Refusal::NotTheReceiver)
        );
        assert_eq!(when(&[requested()], "hospital", Command::Cancel(())), Ok(Event::Cancelled(())));
        assert_eq!(
            when(&[requested()], "link-workers", Command::Cancel(())),
            Err(Refusal::NotTheRequester)
        );
    }

    #[test]
    fn a_rejected_referral_is_not_accepted_later() {
        let rejected = [requested(), Event::Rejected(())];
        assert_eq!(
            when(&rejected, "link-workers", Command::Accept(())),
            Err(Refusal::WrongState(State::Rejected))
        );
    }

    #[test]
    fn a_referral_on_hold_goes_on() {
        let held = [requested(), Event::Accepted(()), Event::Held(())];
        assert_eq!(when(&held, "link-workers", Command::Start(())), Ok(Event::Started(())));
        assert_eq!(
            when(&held, "link-workers", Command::Complete(())),
            Err(Refusal::WrongState(State::OnHold))
        );
    }

    #[test]
    fn nobody_attends_before_the_referral_is_accepted() {
        assert_eq!(
            when(&[requested()], "link-workers", Command::RecordAttendance(())),
            Err(Refusal::WrongState(State::Requested))
        );
        let accepted = [requested(), Event::Accepted(())];
        assert_eq!(
            when(&accepted, "link-workers", Command::RecordNonAttendance(())),
            Ok(Event::Unattended(()))
        );
    }

    #[test]
    fn who_came_may_be_told_when_the_referral_is_completed() {
        let completed = [requested(), Event::Accepted(()), Event::Completed(())];
        assert!(when(&completed, "link-workers", Command::RecordAttendance(())).is_ok());
    }

    #[test]
    fn every_state_but_error_itself_can_turn_out_to_be_an_error() {
        let ends =
            [Event::Rejected(()), Event::Completed(()), Event::Failed(()), Event::Cancelled(())];
        for end in ends {
            assert!(when(&[requested(), end], "hospital", Command::MarkEnteredInError(())).is_ok());
        }
        assert_eq!(
            when(
                &[requested(), Event::EnteredInError(())],
                "hospital",
                Command::MarkEnteredInError(())
            ),
            Err(Refusal::WrongState(State::EnteredInError))
        );
    }
}
