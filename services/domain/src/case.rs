//! A social-prescribing case: opened, worked on, closed, perhaps reopened.

use std::collections::BTreeMap;

use crate::id::{EventId, OrganisationId, ReferralId};
use crate::pairs::commands_and_events;
use crate::path::{Gaps, Path, Step};
use crate::record::{Stamp, Turn};
use crate::time::CareTime;

commands_and_events! {
    Open => Opened(Option<ReferralId>),
    Close => Closed(()),
    Reopen => Reopened(()),
    RecordContactAttempt => ContactAttempted(()),
    RecordContact => ContactHeld(()),
}

impl Event {
    pub(crate) fn turn(&self) -> Turn {
        match self {
            Self::Opened(_) => Turn::Answered,
            Self::ContactAttempted(()) | Self::ContactHeld(()) => Turn::Underway,
            Self::Closed(()) => Turn::Closed,
            Self::Reopened(()) => Turn::Ended,
        }
    }
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
    #[error("the case was not open at the time given: check `occurred_at` against the timeline")]
    OutOfOrder,
    #[error(
        "event {0} tells of something later that is done on an open case, or could not have followed: check `occurred_at` against the timeline, tell of what reopened the case in between, or correct that event first"
    )]
    LaterStep(EventId),
    #[error(
        "only the organisation that opened the case closes or reopens it; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheOpener,
    #[error(
        "the referral was rejected, cancelled, failed or entered in error: no case is opened on it"
    )]
    ReferralNotLive,
}

/// Whether a case is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Unopened,
    Open,
    Closed,
}

/// The state of one case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Case {
    path: Path<Move>,
    opener: Option<OrganisationId>,
    /// On which referral it was opened, and when.
    referral: Option<(ReferralId, EventId, CareTime)>,
    /// What was done on it: contacts and goals, which need an open case.
    work: BTreeMap<EventId, CareTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Open,
    Close,
    Reopen,
    /// Something that is done on an open case.
    Work,
}

impl Step for Move {
    type State = State;
    const BEGINNING: State = State::Unopened;

    fn leads_from(&self, state: State) -> Option<State> {
        let leads = matches!(
            (self, state),
            (Self::Open, State::Unopened)
                | (Self::Close | Self::Work, State::Open)
                | (Self::Reopen, State::Closed)
        );
        leads.then_some(self.leads_to())
    }

    fn leads_to(&self) -> State {
        match self {
            Self::Open | Self::Reopen | Self::Work => State::Open,
            Self::Close => State::Closed,
        }
    }

    fn repeats(&self, later: &Self) -> bool {
        matches!((self, later), (Self::Open, Self::Open))
    }

    fn begins_again(&self, state: State) -> bool {
        matches!((self, state), (Self::Reopen, State::Open))
    }
}

impl Case {
    /// The event that `command` causes now, or why it causes none.
    pub fn decide(&self, stamp: &Stamp, command: Command) -> Result<Event, Refusal> {
        let turn = match &command {
            Command::Open(_) => Move::Open,
            Command::Close(()) => Move::Close,
            Command::Reopen(()) => Move::Reopen,
            // What was done before the case was closed may be told afterwards.
            Command::RecordContactAttempt(()) | Command::RecordContact(()) => Move::Work,
        };
        let is_outsider = self.opener.as_ref().is_some_and(|opener| *opener != stamp.acting_for);
        if is_outsider && matches!(turn, Move::Close | Move::Reopen) {
            return Err(Refusal::NotTheOpener);
        }
        self.check(stamp, turn)?;
        Ok(command.into())
    }

    /// Whether something may be done on it that is done on an open case.
    pub(crate) fn check_work(&self, stamp: &Stamp) -> Result<(), Refusal> {
        self.check(stamp, Move::Work)
    }

    fn check(&self, stamp: &Stamp, turn: Move) -> Result<(), Refusal> {
        let fits = match turn {
            // Work leads nowhere, but is done on an open case.
            Move::Close | Move::Reopen => self.with_work().fits(stamp, turn),
            Move::Open | Move::Work => self.path.fits(stamp, turn),
        };
        fits.map_err(|later| later.map_or_else(|| self.why_not(turn), Refusal::LaterStep))
    }

    fn with_work(&self) -> Path<Move> {
        let work = self.work.iter().map(|(event, at)| (*event, *at, Move::Work));
        self.path.clone().with_also(work)
    }

    fn why_not(&self, turn: Move) -> Refusal {
        match (turn, self.path.state()) {
            (_, State::Unopened) => Refusal::Unknown,
            (Move::Open, State::Open | State::Closed) => Refusal::AlreadyOpened,
            (Move::Reopen, State::Open) => Refusal::Open,
            (Move::Close | Move::Work | Move::Reopen, State::Closed) => Refusal::Closed,
            (Move::Close | Move::Work, State::Open) => Refusal::OutOfOrder,
        }
    }

    /// Whether it was opened on this referral.
    pub(crate) fn is_on(&self, referral: ReferralId) -> bool {
        self.referral.as_ref().is_some_and(|(of, ..)| *of == referral)
    }

    /// The event that opened it on this referral, certainly after that time.
    pub(crate) fn opened_after(&self, at: &CareTime, on: ReferralId) -> Option<EventId> {
        let (referral, event, opened_at) = self.referral.as_ref()?;
        (*referral == on && at.is_before(opened_at)).then_some(*event)
    }

    pub fn apply(&mut self, stamp: &Stamp, event: &Event) {
        match event {
            Event::Opened(referral) => {
                self.referral = referral.map(|of| (of, stamp.event, stamp.occurred_at));
                self.opener = Some(stamp.acting_for.clone());
                self.path.insert(stamp, Move::Open);
            }
            Event::Reopened(()) => self.path.insert(stamp, Move::Reopen),
            Event::Closed(()) => self.path.insert(stamp, Move::Close),
            Event::ContactAttempted(()) | Event::ContactHeld(()) => self.work(stamp),
        }
    }

    /// Adds what was done on it.
    pub(crate) fn work(&mut self, stamp: &Stamp) {
        self.work.insert(stamp.event, stamp.occurred_at);
    }

    pub(crate) fn gaps(&self) -> Gaps {
        self.with_work().gaps()
    }

    pub fn state(&self) -> State {
        self.path.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{stamp, stamp_for};

    /// A case to which these events happened, one a day from 1 May on.
    fn given(events: &[Event]) -> Case {
        let mut case = Case::default();
        for (event, day) in events.iter().zip(1_u8..) {
            case.apply(&stamp(day.into(), &format!("2026-05-{day:02}")), event);
        }
        case
    }

    impl Case {
        fn when(&self, at: &str, command: Command) -> Result<Event, Refusal> {
            self.decide(&stamp(99, at), command)
        }
    }

    #[test]
    fn a_case_is_opened_once() {
        assert_eq!(given(&[]).when("2026-05-09", Command::Open(None)), Ok(Event::Opened(None)));
        let opened = given(&[Event::Opened(None)]);
        assert_eq!(opened.when("2026-05-09", Command::Open(None)), Err(Refusal::AlreadyOpened));
    }

    #[test]
    fn nothing_is_done_on_a_closed_case_until_it_is_reopened() {
        let closed = given(&[Event::Opened(None), Event::Closed(())]);
        let on_9_may = |command| closed.when("2026-05-09", command);
        assert_eq!(on_9_may(Command::RecordContact(())), Err(Refusal::Closed));
        assert_eq!(on_9_may(Command::Close(())), Err(Refusal::Closed));
        assert_eq!(on_9_may(Command::Reopen(())), Ok(Event::Reopened(())));
        let reopened = given(&[Event::Opened(None), Event::Closed(()), Event::Reopened(())]);
        let contact = Command::RecordContact(());
        assert_eq!(reopened.when("2026-05-09", contact), Ok(Event::ContactHeld(())));
    }

    #[test]
    fn what_was_done_before_the_case_was_closed_may_be_told_afterwards() {
        let closed = given(&[Event::Opened(None), Event::ContactHeld(()), Event::Closed(())]);
        let contact = || Command::RecordContact(());
        assert_eq!(closed.when("2026-05-02", contact()), Ok(Event::ContactHeld(())));
        let opened = given(&[Event::Opened(None)]);
        assert_eq!(opened.when("2026-04-02", contact()), Err(Refusal::OutOfOrder));
    }

    #[test]
    fn a_case_is_closed_and_reopened_by_who_opened_it() {
        let (opened, closed) =
            (given(&[Event::Opened(None)]), given(&[Event::Opened(None), Event::Closed(())]));
        let by = |case: &Case, who: &str, command| {
            case.decide(&stamp_for(99, "2026-05-09", who), command)
        };
        let refused = || Err(Refusal::NotTheOpener);
        assert_eq!(by(&opened, "stranger", Command::Close(())), refused());
        assert_eq!(by(&closed, "stranger", Command::Reopen(())), refused());
        assert_eq!(by(&opened, "hospital", Command::Close(())), Ok(Event::Closed(())));
        let contact = Command::RecordContact(());
        assert_eq!(by(&opened, "stranger", contact), Ok(Event::ContactHeld(())), "anybody helps");
    }

    #[test]
    fn nothing_is_done_on_an_unknown_case() {
        for command in [Command::Close(()), Command::Reopen(()), Command::RecordContactAttempt(())]
        {
            assert_eq!(given(&[]).when("2026-05-09", command), Err(Refusal::Unknown));
        }
    }
}
