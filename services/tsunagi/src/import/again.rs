//! Resources that say again what was said before, and mean it: against what is known of the
//! patient, and against what somebody else has said since.

use std::collections::HashMap;

use tsunagi_domain::{Event, Fact, Stamp, Zone, identity};
use tsunagi_gateway::fhir::Mapped;
use tsunagi_gateway::fhir::directory::key;
use tsunagi_gateway::fhir::door::Remark;
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::{Encounter, Patient};
use tsunagi_gateway::person::{Word, Words};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::demographics::Update;
use tsunagi_proto::v1;

use super::report::Outcome;
use super::session::Session;
use super::work::Work;

/// What says who a patient is.
const DEMOGRAPHICS: [&str; 2] =
    ["care.patient.registered.v1", "care.patient.demographics_updated.v1"];

impl Work {
    /// Whether a version of an encounter was taken that was written later, from these files or
    /// before. If not, this one is the last from now on.
    pub(super) async fn is_older(
        &mut self,
        encounter: &Encounter,
        session: &mut Session,
    ) -> anyhow::Result<bool> {
        let Some(written) = self.mapper().written_at(encounter) else { return Ok(false) };
        let encounter_key = key("Encounter", &encounter.id);
        let patient_key = self.directory.key_of(&encounter.subject, "Patient");
        let Some(patient) = self.patient(&patient_key).await? else { return Ok(false) };
        let mut last = self.written.get(&encounter_key).copied();
        if last.is_some() {
            // What these files said of it before may still be under way, and counts as known.
            self.settle(session).await?;
            self.newcomers.remove(&patient.to_string());
        }
        if !self.newcomers.contains(&patient.to_string()) {
            let timeline = self.timeline(patient).await?;
            let sources = timeline.iter().filter_map(|entry| entry.source.as_ref());
            last = last.max(self.mapper().last_written(encounter, sources));
        }
        let is_older = self.mapper().is_older(encounter, last);
        if !is_older {
            self.written.insert(encounter_key, written);
        }
        Ok(is_older)
    }

    /// Gives new ids to what an encounter says again, and takes back that it ended if it goes on
    /// after all. What came in the way of that, if anything did.
    pub(super) async fn say_again(
        &mut self,
        encounter: &Encounter,
        mapped: &mut Mapped,
        session: &mut Session,
    ) -> anyhow::Result<Option<Outcome>> {
        let is_plan = encounter.status == "planned";
        if encounter.meta.last_updated.is_empty() {
            return Ok(None);
        }
        if is_plan {
            // An earlier plan of these files may still be under way.
            self.settle(session).await?;
        }
        let Some(patient) = self.patient(&mapped.patient_key).await? else { return Ok(None) };
        // Of somebody who was not known, nothing was taken back before these files; plans may follow
        // each other.
        if is_plan || !self.newcomers.contains(&patient.to_string()) {
            let timeline = self.timeline(patient).await?;
            self.mapper().say_again(encounter, mapped, &timeline);
            let mut reopened = self.mapper().reopened(encounter, &timeline);
            set_patient(&mut reopened, patient);
            match self.publish(reopened, None).await? {
                Ok(stored) => self.report.note_events(stored),
                Err(outcome) => return Ok(Some(outcome)),
            }
        }
        Ok(None)
    }

    /// What was said of who a patient is, in the patient's own record.
    pub(super) fn words(&self, patient: &Patient, timeline: &[v1::TimelineEntry]) -> Words {
        let is_own = |entry: &&v1::TimelineEntry| {
            DEMOGRAPHICS.contains(&entry.r#type.as_str()) && entry.merged_patient_id.is_empty()
        };
        let mut told: Vec<_> = timeline.iter().filter(is_own).collect();
        told.sort_by_key(|entry| entry.version);
        let mut person = identity::Patient::default();
        let (mut words, mut in_error) = (HashMap::new(), Vec::new());
        for entry in told {
            let Some((stamp, fact, update)) = told_by(entry) else { continue };
            let is_own = self.mapper().is_own(patient, entry.actor.as_ref(), entry.source.as_ref());
            let word = Word { update, at: stamp.occurred_at, is_own };
            if entry.entered_in_error_by_event_id.is_empty() {
                person.apply(&stamp, &fact);
                words.insert(stamp.event, word);
            } else {
                in_error.push(word);
            }
        }
        Words::of(&person, |event| words.get(&event).cloned(), in_error, true)
    }
}

/// What is told of a version of an encounter that is older than one that was taken.
pub(super) fn older() -> Remark {
    let message = "a version with a later meta.lastUpdated was taken: this one changes nothing";
    Remark { reason: "NOT_IN_FORCE", message: message.to_owned() }
}

/// Whether anybody ever said that the address is confidential: it is shown so, if in any way.
pub(super) fn was_protected(timeline: &[v1::TimelineEntry]) -> bool {
    let label = i32::from(v1::Sensitivity::ConfidentialAddress);
    let says_so = |entry: &v1::TimelineEntry| {
        let address = told_by(entry).and_then(|(_, _, update)| update.demographics.address);
        // Of an error, every address is shown as though it were: its label says whether it was.
        let is_shown = entry.entered_in_error_by_event_id.is_empty();
        entry.sensitivity.contains(&label)
            || is_shown && address.is_some_and(|address| address.confidential)
    };
    timeline.iter().any(says_so)
}

/// What an entry tells of who the patient is.
fn told_by(entry: &v1::TimelineEntry) -> Option<(Stamp, identity::Event, Update)> {
    let detail = entry.detail.as_ref()?;
    let payload = Payload::decode(&entry.r#type, &detail.value).ok()?;
    let event = v1::Event {
        event_id: entry.event_id.clone(),
        occurred_at: entry.occurred_at.clone(),
        actor: entry.actor.clone(),
        source: entry.source.clone(),
        ..v1::Event::default()
    };
    let Event { stamp, fact } = happened(&event, &payload, &Zone::utc())?;
    let Fact::Identity(fact) = fact else { return None };
    Some((stamp, fact, Update::of(&event, &payload)?))
}
