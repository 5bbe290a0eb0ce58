//! Resources that say again what was said before, and mean it: against what is known of the
//! patient, and against what somebody else has said since.

use tsunagi_bus::address;
use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_gateway::fhir::Mapped;
use tsunagi_gateway::fhir::map::set_patient;
use tsunagi_gateway::fhir::resource::{Encounter, Patient};
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

    /// What was said of a patient after the resource was written, if anything was: by a later
    /// export, or at a desk.
    pub(super) async fn overtaking(
        &self,
        patient: &Patient,
        owner: PatientId,
    ) -> anyhow::Result<Option<Overtaking>> {
        let time = |text: &str| CareTime::parse(text, &Zone::utc()).ok();
        let Some(written) = time(&patient.meta.last_updated) else { return Ok(None) };
        let timeline = self.timeline(owner).await?;
        let said = timeline.iter().filter(|entry| DEMOGRAPHICS.contains(&entry.r#type.as_str()));
        let said: Vec<_> = said.collect();
        let lives_after_all = {
            let words = said.iter().filter_map(|entry| Some((entry.version, says_dead(entry)?)));
            let died = words.clone().any(|(_, is_dead)| is_dead);
            died && words.max().is_some_and(|(_, is_dead)| !is_dead)
        };
        let last = said.into_iter().max_by_key(|entry| entry.version);
        let last = last
            .filter(|last| time(&last.occurred_at).is_some_and(|last| written.is_before(&last)));
        Ok(last.map(|last| Overtaking { at: last.occurred_at.clone(), lives_after_all }))
    }
}

/// What was said of a patient later.
pub(super) struct Overtaking {
    pub(super) at: String,
    /// It takes back that the patient died.
    pub(super) lives_after_all: bool,
}

/// Whether an entry says that the patient died, or did not; none if it is silent on that.
fn says_dead(entry: &v1::TimelineEntry) -> Option<bool> {
    let detail = entry.detail.as_ref();
    let payload = detail.and_then(|detail| Payload::decode(&entry.r#type, &detail.value).ok());
    let mut payload = payload?;
    let said = address::demographics(&mut payload)?;
    (said.deceased || said.not_deceased).then_some(said.deceased)
}
