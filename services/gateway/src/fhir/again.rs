//! What is said again, and is another fact: a plan that goes back to an earlier time, an encounter
//! that was withdrawn and took place after all, and one that was ended and goes on after all.
//!
//! Only of resources that say when they were written, and were written after what they differ from:
//! an older export that is read again says nothing new.

use std::collections::HashMap;

use tsunagi_domain::EventId;
use tsunagi_proto::v1;

use super::directory::key;
use super::map::{Mapped, Mapper};
use super::resource::Encounter;

const ENDED: &str = "care.encounter.discharged.v1";
const PLANNED: &str = "care.encounter.admission_planned.v1";

type ById<'t> = HashMap<&'t str, &'t v1::TimelineEntry>;

impl Mapper<'_> {
    /// Gives new ids to those events of an encounter that say something again, as the patient's
    /// timeline tells.
    pub fn say_again(
        &self,
        encounter: &Encounter,
        mapped: &mut Mapped,
        timeline: &[v1::TimelineEntry],
    ) {
        let by_id: ById<'_> =
            timeline.iter().map(|entry| (entry.event_id.as_str(), entry)).collect();
        for event in mapped.events.iter_mut().chain(&mut mapped.ending) {
            self.reinstate(encounter, event, &by_id);
            if event.r#type == PLANNED {
                self.plan_again(encounter, event, timeline);
            }
        }
    }

    /// What takes back that an encounter ended, which goes on after all.
    pub fn reopened(
        &self,
        encounter: &Encounter,
        timeline: &[v1::TimelineEntry],
    ) -> Vec<v1::Event> {
        if !encounter.goes_on() {
            return Vec::new();
        }
        let mut said = self.said_of(encounter, timeline);
        said.retain(|entry| entry.r#type == ENDED && self.is_newer(encounter, entry));
        self.cancellations(encounter, &said).into_iter().flatten().collect()
    }

    /// What an import took back is said again under another id.
    fn reinstate(&self, encounter: &Encounter, event: &mut v1::Event, by_id: &ById<'_>) {
        while let Some(entry) = by_id.get(event.event_id.as_str()) {
            let cancelled = self.cancel_of(encounter, &event.event_id);
            let is_ours = entry.cancelled_by_event_id == cancelled.to_string();
            let cancel = by_id.get(entry.cancelled_by_event_id.as_str());
            if !is_ours || !cancel.is_some_and(|cancel| self.is_newer(encounter, cancel)) {
                return;
            }
            event.event_id = self.again(encounter, &event.event_id).to_string();
        }
    }

    /// What takes an event of an encounter back, if the encounter is withdrawn.
    pub(super) fn cancel_of(&self, encounter: &Encounter, event: &str) -> EventId {
        self.ids.event(&key("Encounter", &encounter.id), &format!("cancelled {event}"))
    }

    /// What says again what was taken back.
    pub(super) fn again(&self, encounter: &Encounter, event: &str) -> EventId {
        self.ids.event(&key("Encounter", &encounter.id), &format!("again {event}"))
    }

    /// A time that was planned before another one was is planned once more.
    fn plan_again(
        &self,
        encounter: &Encounter,
        event: &mut v1::Event,
        timeline: &[v1::TimelineEntry],
    ) {
        let mut plans = self.said_of(encounter, timeline);
        plans.retain(|entry| entry.r#type == PLANNED);
        plans.sort_by_key(|entry| entry.version);
        let Some((last, before)) = plans.split_last() else { return };
        let is_last = last.event_id == event.event_id;
        if is_last || !before.iter().any(|plan| plan.event_id == event.event_id) {
            return;
        }
        let after = |plan: &v1::TimelineEntry| {
            let fact = format!("planned {} after {}", encounter.period.start, plan.event_id);
            self.ids.event(&key("Encounter", &encounter.id), &fact).to_string()
        };
        if before.last().is_some_and(|plan| after(plan) == last.event_id) {
            event.event_id.clone_from(&last.event_id);
        } else if self.is_newer(encounter, last) {
            event.event_id = after(last);
        }
    }
}
