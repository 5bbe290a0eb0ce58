//! What was recorded wrongly is never changed (I1): a correction is an event that names it. What
//! holds is what was corrected last, by when the corrections were made; of those made at one time, or
//! on one day of which no more is known, the one told last. What was there before stays to be read.

use std::collections::BTreeMap;

use crate::id::EventId;
use crate::record::{Fact, Stamp};
use crate::time::CareTime;

/// So many corrections deep, what says of one that it was an error may be an error itself.
pub(crate) const DEPTH_MAX: usize = 16;

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    pub corrects: EventId,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It should never have been recorded.
    EnteredInError,
    /// It was told of the wrong patient, and is told again of the right one.
    Moved,
    /// This happened instead, at the time at which it was said to happen.
    Value(Box<Fact>),
    /// It happened then.
    Time(CareTime),
}

/// Why a correction is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("event {0} is not known for this patient: check the id, or the patient")]
    UnknownEvent(EventId),
    #[error("event {0} counts as entered in error already")]
    AlreadyInError(EventId),
    #[error(
        "event {0} was told again of another patient, and is in error here: correct there what was told again, or move it back (`CareTeam.MoveEvents`)"
    )]
    WasMoved(EventId),
    #[error(
        "event {0} says that another was told again of another patient, where it would stand as well: move it back (`CareTeam.MoveEvents`), or tell it anew"
    )]
    IsAMove(EventId),
    #[error(
        "only the organisation whose word event {0} was corrects it; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheAuthor(EventId),
    #[error(
        "event {0} is a correction: name the event that it corrects, or mark the correction as entered in error"
    )]
    IsACorrection(EventId),
    #[error(
        "what event {0} says cannot be corrected so: record what is known now in an event of its own"
    )]
    NotCorrectable(EventId),
    #[error("the correction must be of the type of event {0}, and about the same thing")]
    OtherKind(EventId),
    #[error(
        "event {0} builds on what is to be corrected, or cannot stand beside what would hold again: correct or cancel that first"
    )]
    LaterEventDepends(EventId),
}

impl Change {
    /// Whether what it is about does not hold any more.
    pub(crate) fn takes_back(&self) -> bool {
        matches!(self, Self::EnteredInError | Self::Moved)
    }
}

/// The corrections of a record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Corrections {
    /// By the event that they correct, in the order in which they were made.
    of: BTreeMap<EventId, Vec<Made>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Made {
    event: EventId,
    at: CareTime,
    change: Change,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome<'a> {
    /// The event that says that it was entered in error.
    pub error: Option<EventId>,
    /// What is said now instead, and the event that says so.
    pub value: Option<(EventId, &'a Fact)>,
    /// When it happened, and the event that says so.
    pub time: Option<(EventId, CareTime)>,
}

impl Corrections {
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Adds a correction that was told after all that were added before.
    pub(crate) fn add(&mut self, stamp: &Stamp, correction: &Correction) {
        let made = self.of.entry(correction.corrects).or_default();
        let (event, at) = (stamp.event, stamp.occurred_at);
        // Two of which it is known which was made first stand so in whatever order they are told.
        let place = made.iter().position(|other| at.is_before(&other.at)).unwrap_or(made.len());
        made.insert(place, Made { event, at, change: correction.change.clone() });
    }

    /// Whether an event is not marked as entered in error already, whatever the time at which either
    /// is said to have been done: told again elsewhere, it would be there twice. What is corrected
    /// otherwise may be marked so on the same day or later, in whichever order that is told; but what
    /// was moved would not be corrected where it holds.
    pub(crate) fn check_in_force(
        &self,
        event: EventId,
        at: &CareTime,
        change: &Change,
    ) -> Result<(), Refusal> {
        let error = self.outcome(event).error.and_then(|by| self.made(event, by));
        let Some(error) = error else { return Ok(()) };
        if error.change == Change::Moved {
            return Err(Refusal::WasMoved(event));
        }
        let is_in_error = match change {
            Change::EnteredInError | Change::Moved => true,
            Change::Value(_) | Change::Time(_) => error.at.is_before(at),
        };
        if is_in_error { Err(Refusal::AlreadyInError(event)) } else { Ok(()) }
    }

    /// As what another event corrects this one.
    pub(crate) fn change(&self, event: EventId, by: EventId) -> Option<&Change> {
        self.made(event, by).map(|made| &made.change)
    }

    fn made(&self, event: EventId, by: EventId) -> Option<&Made> {
        self.of.get(&event)?.iter().find(|made| made.event == by)
    }

    /// Whether what was told in an event holds, perhaps as it is corrected: it is no error.
    pub(crate) fn holds(&self, event: EventId) -> bool {
        self.outcome(event).error.is_none()
    }

    /// What became of an event.
    pub fn outcome(&self, event: EventId) -> Outcome<'_> {
        self.outcome_within(event, DEPTH_MAX)
    }

    /// A correction may itself be entered in error, and that too: `depth` times at most.
    fn outcome_within(&self, event: EventId, depth: usize) -> Outcome<'_> {
        let mut outcome = Outcome::default();
        let made = self.of.get(&event).map(Vec::as_slice).unwrap_or_default();
        for made in made {
            let is_void = depth > 0
                && self.of.contains_key(&made.event)
                && self.outcome_within(made.event, depth - 1).error.is_some();
            match &made.change {
                _ if is_void => {}
                Change::EnteredInError | Change::Moved => outcome.error = Some(made.event),
                Change::Value(fact) => outcome.value = Some((made.event, fact)),
                Change::Time(at) => outcome.time = Some((made.event, *at)),
            }
        }
        outcome
    }

    /// The corrections of an event, in the order in which they were made.
    pub fn of(&self, event: EventId) -> impl Iterator<Item = EventId> {
        self.of.get(&event).into_iter().flatten().map(|made| made.event)
    }
}
