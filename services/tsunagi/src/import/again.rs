//! Resources that say again what was said before, and mean it: against what is known of the
//! patient, and against what somebody else has said since.

use tsunagi_bus::address;
use tsunagi_domain::{CareTime, Zone};
use tsunagi_gateway::fhir::Mapped;
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::{Encounter, Patient};
use tsunagi_gateway::person::Words;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::report::Outcome;
use super::session::Session;
use super::work::Work;

/// What says who a patient is.
const DEMOGRAPHICS: [&str; 2] =
    ["care.patient.registered.v1", "care.patient.demographics_updated.v1"];

impl Work {
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
        // Of somebody who was not known, nothing was taken back; plans may follow each other.
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
    pub(super) fn words(&self, timeline: &[v1::TimelineEntry]) -> Words {
        let stands = |entry: &&v1::TimelineEntry| {
            is_demographics(entry)
                && entry.entered_in_error_by_event_id.is_empty()
                && entry.merged_patient_id.is_empty()
        };
        let mut said: Vec<_> = timeline.iter().filter(stands).collect();
        // The newest come first.
        said.sort_by_key(|entry| {
            let at = CareTime::parse(&entry.occurred_at, &Zone::utc()).ok();
            (at.map(|at| at.earliest()), entry.version)
        });
        let word = |entry: &v1::TimelineEntry| {
            let person = entry.actor.as_ref().map(|actor| actor.person.as_str());
            let system = entry.source.as_ref().map(|source| source.system.as_str());
            let by = (person.unwrap_or_default(), system.unwrap_or_default());
            Some((self.mapper().is_own(by.0, by.1), demographics(entry)?))
        };
        said.into_iter().filter_map(word).collect()
    }
}

/// What was said of a patient after the resource was written, if anything was: by a later
/// export, or at a desk.
pub(super) fn overtaking(patient: &Patient, timeline: &[v1::TimelineEntry]) -> Option<Overtaking> {
    let time = |text: &str| CareTime::parse(text, &Zone::utc()).ok();
    let written = time(&patient.meta.last_updated)?;
    let said: Vec<_> = timeline.iter().filter(|entry| is_demographics(entry)).collect();
    let lives_after_all = {
        let words = said.iter().filter_map(|entry| Some((entry.version, says_dead(entry)?)));
        let died = words.clone().any(|(_, is_dead)| is_dead);
        died && words.max().is_some_and(|(_, is_dead)| !is_dead)
    };
    let last = said.into_iter().max_by_key(|entry| entry.version);
    let last =
        last.filter(|last| time(&last.occurred_at).is_some_and(|last| written.is_before(&last)));
    last.map(|last| Overtaking { at: last.occurred_at.clone(), lives_after_all })
}

/// What was said of a patient later.
pub(super) struct Overtaking {
    pub(super) at: String,
    /// It takes back that the patient died.
    pub(super) lives_after_all: bool,
}

fn is_demographics(entry: &v1::TimelineEntry) -> bool {
    DEMOGRAPHICS.contains(&entry.r#type.as_str())
}

fn demographics(entry: &v1::TimelineEntry) -> Option<v1::Demographics> {
    let detail = entry.detail.as_ref()?;
    let mut payload = Payload::decode(&entry.r#type, &detail.value).ok()?;
    address::demographics(&mut payload).cloned()
}

/// Whether an entry says that the patient died, or did not; none if it is silent on that.
fn says_dead(entry: &v1::TimelineEntry) -> Option<bool> {
    let said = demographics(entry)?;
    (said.deceased || said.not_deceased).then_some(said.deceased)
}
