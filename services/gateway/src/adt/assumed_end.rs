//! The end of an outpatient visit of which no message tells (`Visit::ends_on`).
//!
//! Where the visit becomes a stay, the end is taken away. Where that stay is taken back, the visit
//! ended on its day after all, which is said in an event of its own: with the end at its beginning,
//! what was told of the stay could not have been, though it is taken back.

use tsunagi_domain::{EncounterId, EventId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told};
use super::again::{SAME_VISIT, other_visit};
use super::encounter::{Situation, apart};
use super::events::{ASSUMING, MLLP, SSMIX2};
use super::refusal::Refusal;
use super::visit::Said;
use crate::known::{Step, StepKind};

/// An end that was said of a visit, and the event that said so first. It is empty where the visit
/// was said to go on.
type End<'k> = (EventId, &'k str);

impl Situation<'_> {
    /// An admission. Of a visit that becomes a stay so, the end that was assumed was none.
    pub(super) fn becomes_stay(&self, encounter: EncounterId, new: Told) -> Tells {
        let began = new.at.clone();
        let admitted = self.step(encounter, StepKind::Admitted, new)?;
        let Some((end, taken_away)) = self.assumed_end(encounter)? else { return Ok(admitted) };
        if admitted.is_empty() {
            return Ok(admitted);
        }
        self.check_same_visit(&end, &began)?;
        Ok(std::iter::once(taken_away).chain(admitted).collect())
    }

    /// That a visit ended on its day after all: it did not become the stay that is taken back.
    pub(super) fn ends_after_all(&self, encounter: EncounterId) -> Option<Told> {
        let begun = self.known.last(encounter, &[StepKind::Registered])?;
        let ends = self.ends(begun);
        let [.., before, (by, "")] = ends.as_slice() else { return None };
        if !self.is_own(*by) || !self.is_assumed(begun, *before) {
            return None;
        }
        let at = Said { text: before.1.to_owned(), field: "PV1-19", odd_offset: false };
        let encounter_id = encounter.to_string();
        let ended = v1::Discharged { encounter_id, ..v1::Discharged::default() };
        Some(Told { at, payload: Payload::Discharged(ended) })
    }

    /// Whether a step is the end that is assumed of a visit that one of these events began: it says
    /// nothing without that.
    pub(super) fn is_end_of(&self, step: &Step, events: &[EventId]) -> bool {
        let begun = self.known.last(step.encounter, &[StepKind::Registered]);
        step.by == ASSUMING
            && step.kind == StepKind::Discharged
            && begun.is_some_and(|begun| events.contains(&begun.event))
    }

    /// The end that is assumed of a visit, if one is, and what takes it away.
    fn assumed_end(&self, encounter: EncounterId) -> Result<Option<(String, Told)>, Refusal> {
        let is_assumed = |step: &&Step| step.by == ASSUMING && self.is_own(step.event);
        let ended = self.known.last(encounter, &[StepKind::Discharged]).filter(is_assumed);
        if let Some(ended) = ended {
            let taken_away = self.take_back(&[ended.event])?;
            let day = self.visit.day_of(ended.at);
            return Ok(taken_away.into_iter().next().map(|taken_away| (day, taken_away)));
        }
        let Some(begun) = self.known.last(encounter, &[StepKind::Registered]) else {
            return Ok(None);
        };
        let end = self.ends(begun).pop().filter(|end| self.is_assumed(begun, *end));
        let said = self.known.said_by(begun.event);
        let Some(((_, end), Payload::EncounterRegistered(said))) = end.zip(said) else {
            return Ok(None);
        };
        let goes_on = v1::EncounterRegistered { ended_at: String::new(), ..said.clone() };
        let goes_on = Payload::EncounterRegistered(goes_on);
        let taken_away = Told::instead_of(begun.event, &goes_on, self.visit.written_at()?);
        Ok(Some((end.to_owned(), taken_away)))
    }

    /// Refuses an admission so long after the end that was assumed of its visit that it is another
    /// one's, to which the number was given again.
    fn check_same_visit(&self, end: &str, began: &Said) -> Result<(), Refusal> {
        let times = self.visit.care_time(end).zip(self.visit.care_time(&began.text));
        match times {
            Some((end, begun)) if apart(&end, &begun) > SAME_VISIT => Err(other_visit(began.field)),
            _ => Ok(()),
        }
    }

    /// The ends that were said of a visit, one after the other.
    fn ends(&self, begun: &Step) -> Vec<End<'_>> {
        let mut ends = Vec::new();
        for (by, said) in self.known.wordings(begun.event) {
            if let Payload::EncounterRegistered(said) = said {
                ends.push((by.event, said.ended_at.as_str()));
            }
        }
        // A correction of something else says the end once more.
        ends.dedup_by_key(|(_, end)| *end);
        ends
    }

    /// Whether an end was assumed: a message of this facility said so, of the day on which it said
    /// that the visit began. What a person or another system says is known.
    fn is_assumed(&self, begun: &Step, (by, end): End<'_>) -> bool {
        let first = self.known.wordings(begun.event).next();
        let day = first.map(|(first, _)| self.visit.day_of(first.at));
        !end.is_empty() && self.is_own(by) && day.is_some_and(|day| day == end)
    }

    /// Whether an event was told by a message of this facility.
    pub(super) fn is_own(&self, event: EventId) -> bool {
        let facility = &self.visit.profile.facility.id;
        self.known.is_word_of(facility, event) && self.known.came_by(&[MLLP, SSMIX2], event)
    }
}
