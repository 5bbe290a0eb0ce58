//! Tracking: a patient leaves for another place of the house (A09) and arrives there (A10), or did
//! not after all (A33, A32). The bed is kept meanwhile: a way is a move that is planned for now.
//!
//! A place for the time being (PV1-11), such as an examination's, is no move.

use tsunagi_domain::EncounterId;
use tsunagi_domain::encounter::{Encounter, Stage};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told, cancels};
use super::changes::is_elsewhere;
use super::encounter::Situation;
use super::events::TRACKING;
use super::visit::Said;
use crate::known::{Step, StepKind};

impl Situation<'_> {
    pub(super) fn arrive(&self) -> Tells {
        let at = self.visit.happened_at()?;
        if let Some(visit) = self.visiting_here(&at) {
            return self.placed(visit);
        }
        let Some((stay, to)) = self.elsewhere(&at, 3) else { return Ok(Vec::new()) };
        let (encounter_id, to) = (stay.to_string(), Some(to));
        Ok(vec![Told { at, payload: Payload::Transferred(v1::Transferred { encounter_id, to }) }])
    }

    /// The visit that goes on and is certainly the one that the message is about: a patient may
    /// visit two departments at a time.
    fn visiting_here(&self, at: &Said) -> Option<EncounterId> {
        let visit = self.going_on(at).filter(|of| self.is_visiting(*of))?;
        let is_clear = self.visit.number().is_some();
        (is_clear && self.visit.says_place(3)).then_some(visit)
    }

    pub(super) fn depart(&self) -> Tells {
        let at = self.visit.happened_at()?;
        let place = if self.visit.says_place(42) { 42 } else { 3 };
        let Some((stay, to)) = self.elsewhere(&at, place) else { return Ok(Vec::new()) };
        // What is planned for another time is planned still.
        let plan = self.known.last(stay, &[StepKind::TransferPlanned]);
        let moved = self.known.last(stay, &[StepKind::Transferred]);
        let has_moved = |plan: &Step| moved.is_some_and(|moved| plan.at.is_before(&moved.at));
        let planned_at = self.visit.care_time(&at.text);
        let is_known =
            |plan: &Step| plan.planned_at == planned_at && plan.place.as_ref() == Some(&to);
        let is_kept = |plan: &Step| (plan.by != TRACKING && !has_moved(plan)) || is_known(plan);
        if plan.is_some_and(is_kept) {
            return Ok(Vec::new());
        }
        let encounter_id = stay.to_string();
        let plan = v1::TransferPlanned { encounter_id, planned_at: at.text.clone(), to: Some(to) };
        Ok(vec![Told { at, payload: Payload::TransferPlanned(plan) }])
    }

    /// The stay that goes on, and the place that a field of PV1 says, if that is another one than
    /// the patient is known to be in.
    fn elsewhere(&self, at: &Said, field: usize) -> Option<(EncounterId, v1::Place)> {
        let stay = self.going_on(at).filter(|_| self.visit.says_place(field))?;
        let state = self.known.record().encounter(stay);
        let known = state.filter(|state| state.stage() == Stage::InHospital);
        let known = known.and_then(Encounter::place).map(v1::Place::from)?;
        let to = self.visit.place(field);
        is_elsewhere(&to, &known).then_some((stay, to))
    }

    /// Takes back what tracking told last; what others told of the stay is none of its business.
    pub(super) fn cancel_tracked(&self, kind: StepKind) -> Tells {
        if kind == StepKind::Transferred
            && let Some(told) = self.visit_moved_back()?
        {
            return Ok(told);
        }
        let at = self.visit.written_at()?;
        let Some(stay) = self.current(|_| true)? else { return Ok(Vec::new()) };
        let told = self.known.last(stay, &[kind]).filter(|step| step.by == TRACKING);
        let cancelled = told.map(|step| {
            let cancellation = v1::EncounterCancellation {
                encounter_id: step.encounter.to_string(),
                cancelled_event_id: step.event.to_string(),
                reason: String::new(),
            };
            Told { at, payload: cancels(step.kind, cancellation) }
        });
        Ok(cancelled.into_iter().collect())
    }
}
