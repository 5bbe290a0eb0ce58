//! What takes back the last step of a kind (A11, A12, A13 and their like): which one that is.
//!
//! Messages overtake each other, and what is kept in quarantine is replayed days later. So a cancel
//! means nothing that came after it was written. A step came when it happened, or when that was
//! written: facilities write beforehand when a patient is to leave, and call it off before that
//! comes. What was written before the cancel is meant before anything else.

use jiff::SignedDuration;
use tsunagi_bus::handler::SubmitError;
use tsunagi_domain::encounter::{Encounter, Refusal as Rule};
use tsunagi_domain::{CareTime, EncounterId, Refusal as Refused};

use super::acts::{Tells, nothing_to_cancel, unknown_to_cancel};
use super::encounter::Situation;
use super::events::{IN_PASSING, TRACKING};
use super::refusal::Refusal;
use super::rules;
use crate::known::{Step, StepKind};

/// Clock times come with seconds and without: within one minute nobody can say what came first.
const SAME_MINUTE: SignedDuration = SignedDuration::from_mins(1);

impl Situation<'_> {
    pub(super) fn cancel(&self, kinds: &[StepKind]) -> Tells {
        if kinds == [StepKind::Transferred]
            && let Some(told) = self.visit_moved_back()?
        {
            return Ok(told);
        }
        let said = self.visit.written_at()?;
        let written = self.visit.care_time(&said.text);
        let came_later = |at: CareTime| written.is_some_and(|written| is_after(&at, &written));
        let is_numbered = self.visit.number().is_some();
        // The stay that went on when it was written.
        let had_begun = |of: &Encounter| !is_numbered || !of.began_at().is_some_and(came_later);
        let encounter = self.current(had_begun)?;
        let is_candidate = |step: &&Step| {
            let is_told_later = self.known.timed_at(step.event).is_none_or(came_later);
            kinds.contains(&step.kind) && !(came_later(step.at) && is_told_later)
        };
        let of_stay = encounter.and_then(|encounter| {
            let of_stay = self.known.steps.iter().filter(|step| step.encounter == encounter);
            let was_written =
                |step: &Step| self.known.timed_at(step.event).is_none_or(|at| !came_later(at));
            // A move that an update told in passing is not the one that was told and is cancelled.
            // Of several that are meant alike, the last.
            let is_meant = |step: &&Step| (was_written(step), !is_in_passing(step));
            of_stay.filter(is_candidate).max_by_key(is_meant)
        });
        // Without a number, the last of its kind here.
        let here = || {
            let mut steps = self.known.steps.iter().rev();
            steps.find(|step| is_candidate(step) && self.may_be_here(step.encounter))
        };
        let is_clear = is_numbered || self.visit.admitted_at()?.is_some();
        let found = if is_clear { of_stay } else { of_stay.or_else(here) };
        let none = if encounter.is_some() { nothing_to_cancel } else { unknown_to_cancel };
        let step = found.ok_or_else(none)?;
        self.check_built_on(step, said.field)?;
        self.take_back(&[step.event])
    }

    /// Refuses to take back what something builds on that is in effect, also where that came later:
    /// the record takes a cancel as of the time at which it was written.
    fn check_built_on(&self, step: &Step, field: &str) -> Result<(), Refusal> {
        let state = self.known.record().encounter(step.encounter);
        let Some(later) = state.and_then(|of| of.built_on(step.event)) else { return Ok(()) };
        let of_later = self.known.steps.iter().find(|step| step.event == later);
        // The end that was assumed of a visit is taken back with it.
        if of_later.is_some_and(|of| self.is_end_of(of, &[step.event])) {
            return Ok(());
        }
        let rule = Refused::Encounter(Rule::LaterMoveDepends(later));
        Err(rules::refusal(self.act, SubmitError::Refused(rule), field))
    }

    fn may_be_here(&self, encounter: EncounterId) -> bool {
        let state = self.known.record().encounter(encounter);
        let facility = &self.visit.profile.facility.id;
        state.is_some_and(|state| {
            let place = state.place();
            place.is_some_and(|place| place.facility.id.as_str() == facility)
                && self.may_be(encounter, state)
        })
    }
}

/// Whether a time certainly lies after another.
fn is_after(at: &CareTime, other: &CareTime) -> bool {
    at.earliest().duration_since(other.latest()) >= SAME_MINUTE
}

/// Whether an update or the tracking of patients told it, and no message that is about it.
fn is_in_passing(step: &Step) -> bool {
    matches!(step.by.as_str(), IN_PASSING | TRACKING)
}
