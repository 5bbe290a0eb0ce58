//! A referral to an organisation and its states: those of the Gravity SDOH Clinical Care task
//! without `draft` (a draft is not published) and without `received` and `ready` (not used).

use crate::id::{CaseId, EventId, OrganisationId};
use crate::pairs::commands_and_events;
use crate::path::{Gaps, Path, Step};
use crate::record::{Stamp, Turn};
use crate::time::CareTime;

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

impl Event {
    /// Whether no case is opened on the referral after it.
    pub(crate) fn ends_before_work(&self) -> bool {
        led_to(self).is_some_and(|state| !state.is_live())
    }

    pub(crate) fn turn(&self) -> Turn {
        match self {
            Self::Requested(_) => Turn::Begun,
            Self::Accepted(()) | Self::Rejected(()) => Turn::Answered,
            Self::Started(()) | Self::Held(()) | Self::Attended(()) | Self::Unattended(()) => {
                Turn::Underway
            }
            Self::Failed(()) | Self::Completed(()) | Self::Cancelled(()) => Turn::Closed,
            Self::EnteredInError(()) => Turn::TakenBack,
        }
    }
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
    #[error("the referral was asked for later: check `occurred_at` against the timeline")]
    BeforeRequest,
    #[error(
        "event {0} tells of something later that could not have followed: check `occurred_at` against the timeline, or correct that event first"
    )]
    LaterStep(EventId),
}

/// Where a referral stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Referral {
    asked: Option<Question>,
    path: Path<State>,
    /// When it was asked for: nothing is said of it before.
    asked_at: Option<CareTime>,
}

#[derive(Debug, Clone, PartialEq)]
struct Question {
    requester: OrganisationId,
    receiver: OrganisationId,
    event: EventId,
}

impl State {
    /// Whether it may be told that somebody came, or did not.
    fn takes_attendance(self) -> bool {
        matches!(self, Self::Accepted | Self::InProgress | Self::Completed)
    }

    fn is_live(self) -> bool {
        match self {
            Self::Rejected | Self::Cancelled | Self::Failed | Self::EnteredInError => false,
            Self::Requested
            | Self::Accepted
            | Self::InProgress
            | Self::OnHold
            | Self::Completed => true,
        }
    }
}

/// What is said of a referral leads to the state that it names, from the states of the table at
/// `ReferralStep` in the schema.
impl Step for State {
    type State = Self;
    const BEGINNING: Self = Self::Requested;

    fn leads_from(&self, state: Self) -> Option<Self> {
        let leads = match self {
            Self::Requested => false,
            Self::Accepted | Self::Rejected => state == Self::Requested,
            Self::InProgress => matches!(state, Self::Accepted | Self::OnHold),
            Self::OnHold => matches!(state, Self::Accepted | Self::InProgress),
            Self::Failed => matches!(state, Self::Accepted | Self::InProgress | Self::OnHold),
            Self::Completed => matches!(state, Self::Accepted | Self::InProgress),
            Self::Cancelled => {
                matches!(state, Self::Requested | Self::Accepted | Self::InProgress | Self::OnHold)
            }
            Self::EnteredInError => state != Self::EnteredInError,
        };
        leads.then_some(*self)
    }

    fn leads_to(&self) -> Self {
        *self
    }

    /// What is on hold goes on, and may be put on hold again.
    fn repeats(&self, later: &Self) -> bool {
        self == later && !matches!(self, Self::InProgress | Self::OnHold)
    }

    fn begins_again(&self, state: Self) -> bool {
        matches!((self, state), (Self::InProgress, Self::InProgress))
    }
}

impl Referral {
    /// The event that `command` causes now, or why it causes none.
    pub fn decide(&self, stamp: &Stamp, command: Command) -> Result<Event, Refusal> {
        match (&command, &self.asked) {
            (Command::Request(_), None) => Ok(()),
            (Command::Request(_), Some(_)) => Err(Refusal::AlreadyRequested),
            (_, None) => Err(Refusal::Unknown),
            (_, Some(question)) => self.allows(question, stamp, &command),
        }?;
        Ok(command.into())
    }

    pub fn apply(&mut self, stamp: &Stamp, event: &Event) {
        if let Event::Requested(asked) = event {
            self.asked = Some(Question {
                requester: stamp.acting_for.clone(),
                receiver: asked.receiver.clone(),
                event: stamp.event,
            });
            self.asked_at = Some(stamp.occurred_at);
        } else if let Some(state) = led_to(event) {
            self.path.insert(stamp, state);
        }
    }

    /// Whether a case can be opened on it: it was not turned down or taken back by then.
    pub(crate) fn was_live_at(&self, at: &CareTime) -> bool {
        self.is_known() && self.path.may_be(at, State::is_live)
    }

    pub fn is_known(&self) -> bool {
        self.asked.is_some()
    }

    pub(crate) fn gaps(&self) -> Gaps {
        self.path.gaps()
    }

    pub fn state(&self) -> State {
        self.path.state()
    }

    /// By whom it was asked for, of whom, and in which event.
    pub fn parties(&self) -> Option<(&OrganisationId, &OrganisationId, EventId)> {
        let Question { requester, receiver, event } = self.asked.as_ref()?;
        Some((requester, receiver, *event))
    }

    /// Who may say it and in which states, as the table at `ReferralStep` in the schema has it.
    fn allows(&self, asked: &Question, stamp: &Stamp, command: &Command) -> Result<(), Refusal> {
        let receiver_says = match command {
            Command::Request(_) | Command::Cancel(()) | Command::MarkEnteredInError(()) => false,
            Command::Accept(())
            | Command::Reject(())
            | Command::Start(())
            | Command::Hold(())
            | Command::Fail(())
            | Command::Complete(())
            | Command::RecordAttendance(())
            | Command::RecordNonAttendance(()) => true,
        };
        if receiver_says && stamp.acting_for != asked.receiver {
            return Err(Refusal::NotTheReceiver);
        }
        if !receiver_says && stamp.acting_for != asked.requester {
            return Err(Refusal::NotTheRequester);
        }
        let state = self.path.state();
        if self.asked_at.is_some_and(|asked_at| stamp.occurred_at.is_before(&asked_at)) {
            return Err(Refusal::BeforeRequest);
        }
        let may_be_said = match led_to(&command.clone().into()) {
            Some(next) => match self.path.fits(stamp, next) {
                Err(Some(later)) => return Err(Refusal::LaterStep(later)),
                fits => fits.is_ok(),
            },
            // Who came is often told afterwards.
            None => {
                state.takes_attendance()
                    || self.path.may_be(&stamp.occurred_at, State::takes_attendance)
            }
        };
        if may_be_said { Ok(()) } else { Err(Refusal::WrongState(state)) }
    }
}

/// The state to which an event leads, if it changes it.
fn led_to(event: &Event) -> Option<State> {
    Some(match event {
        Event::Accepted(()) => State::Accepted,
        Event::Rejected(()) => State::Rejected,
        Event::Started(()) => State::InProgress,
        Event::Held(()) => State::OnHold,
        Event::Failed(()) => State::Failed,
        Event::Completed(()) => State::Completed,
        Event::Cancelled(()) => State::Cancelled,
        Event::EnteredInError(()) => State::EnteredInError,
        Event::Requested(_) | Event::Attended(()) | Event::Unattended(()) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::stamp_for;

    fn given(events: &[Event]) -> Referral {
        let mut referral = Referral::default();
        for (event, number) in events.iter().zip(1..) {
            referral.apply(&stamp_for(number, "2026-05-01", "hospital"), event);
        }
        referral
    }

    fn requested() -> Event {
        let receiver = OrganisationId::parse("link-workers").unwrap();
        Event::Requested(Asked { receiver, case: None })
    }

    fn when(events: &[Event], organisation: &str, command: Command) -> Result<Event, Refusal> {
        given(events).decide(&stamp_for(99, "2026-05-02", organisation), command)
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
    fn the_state_is_made_of_when_things_happened_and_not_of_when_they_were_told() {
        let mut referral = given(&[requested(), Event::Accepted(())]);
        let at = |number, day: &str| stamp_for(number, day, "link-workers");
        referral.apply(&at(3, "2026-05-09"), &Event::Completed(()));
        assert!(referral.decide(&at(4, "2026-05-04"), Command::Start(())).is_ok());
        referral.apply(&at(4, "2026-05-04"), &Event::Started(()));
        assert_eq!(referral.state(), State::Completed);
        assert_eq!(
            referral.decide(&at(5, "2026-04-04"), Command::Hold(())),
            Err(Refusal::BeforeRequest)
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
    fn what_of_a_day_was_first_does_not_depend_on_what_is_told_first() {
        let day = |number| stamp_for(number, "2026-05-04", "link-workers");
        let mut referral = given(&[requested(), Event::Accepted(())]);
        for (number, event) in [(3, Event::Started(())), (4, Event::Held(()))] {
            referral.apply(&day(number), &event);
        }
        assert_eq!(referral.state(), State::OnHold);
        assert!(referral.decide(&day(5), Command::RecordAttendance(())).is_ok(), "before the hold");
        let later = stamp_for(5, "2026-05-05", "link-workers");
        let refused = Err(Refusal::WrongState(State::OnHold));
        assert_eq!(referral.decide(&later, Command::RecordAttendance(())), refused);
        referral.apply(&day(5), &Event::Cancelled(()));
        assert!(referral.was_live_at(&day(6).occurred_at), "a case was opened before that");
        assert!(!referral.was_live_at(&later.occurred_at));
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
