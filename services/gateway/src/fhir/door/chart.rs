//! One patient as FHIR shows it, read anew for each request.
//!
//! What holds, of which record, and whose it is: the timeline decides that. Here its entries are
//! put together again as encounters and referrals, by the domain's own rules.

use std::collections::BTreeMap;

use tonic::Code;
use tonic::transport::Channel;
use tsunagi_bus::Region;
use tsunagi_bus::patients::MERGES_READ_MAX;
use tsunagi_domain::{EncounterId, Fact, PatientId, Record, ReferralId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use super::outcome::Problem;

/// One patient.
pub(super) struct Chart {
    pub(super) patient: PatientId,
    /// Who the patient is and where; without an address that must not leave the record.
    pub(super) summary: v1::PatientSummary,
    /// What follows from the entries that hold.
    pub(super) record: Record,
    pub(super) encounters: BTreeMap<EncounterId, Details>,
    pub(super) referrals: BTreeMap<ReferralId, Referred>,
}

/// What was said of an encounter and rules do not look at.
#[derive(Debug, Clone)]
pub(super) struct Details {
    /// The record in which it was told first: that has its id for ever, also when it was merged.
    pub(super) told_in: PatientId,
    /// When that was recorded.
    first: Recorded,
    pub(super) class: v1::EncounterClass,
    pub(super) began: String,
    pub(super) ended: String,
    pub(super) planned: String,
    pub(super) number: Option<v1::Identifier>,
    pub(super) attending: Option<v1::Participant>,
    pub(super) admit_source: Option<v1::Code>,
    pub(super) disposition: Option<v1::Code>,
}

/// A referral.
#[derive(Debug, Clone)]
pub(super) struct Referred {
    pub(super) told_in: PatientId,
    pub(super) asked: v1::ReferralRequested,
    pub(super) requester: String,
    pub(super) asked_at: String,
    pub(super) changed_at: String,
}

/// Entries read at a time.
const PAGE: u32 = 1000;

/// The timeline, as the door asks for it.
#[derive(Clone)]
pub(super) struct Timeline {
    pub(super) client: TimelineClient<Channel>,
    pub(super) region: Region,
}

impl Timeline {
    /// What is known of a patient, also of one whose record was merged into another. None if
    /// there is no such patient.
    pub(super) async fn summary(
        &self,
        patient: PatientId,
    ) -> Result<Option<v1::PatientSummary>, Problem> {
        let request = v1::ReadTimelineRequest { page_size: 1, ..asks_for(patient) };
        Ok(self.page(request).await?.and_then(|page| page.patient))
    }

    /// A patient's chart: of a record that was merged into another, the other's.
    pub(super) async fn chart(&self, patient: PatientId) -> Result<Option<Chart>, Problem> {
        let mut patient = patient;
        for _ in 0..=MERGES_READ_MAX {
            let mut request = asks_for(patient);
            let Some(mut page) = self.page(request.clone()).await? else { return Ok(None) };
            let summary = page.patient.take().unwrap_or_default();
            if let Ok(survivor) = PatientId::parse(&summary.merged_into_patient_id) {
                patient = survivor;
                continue;
            }
            let mut chart = Chart::new(patient, summary);
            loop {
                for entry in page.entries {
                    chart.fold(&entry, &self.region.zone);
                }
                if page.next_page_token.is_empty() {
                    return Ok(Some(chart));
                }
                request.page_token = page.next_page_token;
                let Some(next) = self.page(request.clone()).await? else { return Ok(None) };
                page = next;
            }
        }
        Ok(None)
    }

    async fn page(
        &self,
        request: v1::ReadTimelineRequest,
    ) -> Result<Option<v1::ReadTimelineResponse>, Problem> {
        match self.client.clone().read_timeline(super::server::own(request)).await {
            Ok(page) => Ok(Some(page.into_inner())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Problem::of_timeline(&status)),
        }
    }
}

fn asks_for(patient: PatientId) -> v1::ReadTimelineRequest {
    v1::ReadTimelineRequest {
        patient_id: patient.to_string(),
        order: v1::Order::OldestFirst.into(),
        page_size: PAGE,
        ..v1::ReadTimelineRequest::default()
    }
}

impl Chart {
    pub(super) fn new(patient: PatientId, summary: v1::PatientSummary) -> Self {
        let (encounters, referrals) = (BTreeMap::new(), BTreeMap::new());
        Self { patient, summary, record: Record::default(), encounters, referrals }
    }

    /// Adds an entry, as it is corrected. The entries come in the order in which they happened.
    pub(super) fn fold(&mut self, entry: &v1::TimelineEntry, zone: &Zone) {
        let Some(detail) = &entry.detail else { return };
        let Ok(payload) = Payload::decode(&entry.r#type, &detail.value) else { return };
        let event = v1::Event {
            event_id: entry.event_id.clone(),
            r#type: entry.r#type.clone(),
            occurred_at: entry.occurred_at.clone(),
            actor: entry.actor.clone(),
            ..v1::Event::default()
        };
        let Some(happened) = happened(&event, &payload, zone) else { return };
        let holds = entry.entered_in_error_by_event_id.is_empty();
        let is_cancelled = !entry.cancelled_by_event_id.is_empty();
        let told_in = PatientId::parse(&entry.merged_patient_id).unwrap_or(self.patient);
        match &happened.fact {
            Fact::Encounter(id, _) => {
                let details = self.encounters.entry(*id);
                let details = details.or_insert_with(|| Details::new(told_in, entry));
                details.note_telling(told_in, entry);
                details.fold(payload, &entry.occurred_at, holds && !is_cancelled);
            }
            Fact::Referral(id, _) => {
                let new = || Referred::new(told_in);
                self.referrals.entry(*id).or_insert_with(new).fold(payload, event, holds);
            }
            Fact::Document(_) => {
                if let (Payload::AttendingChanged(changed), true) = (payload, holds)
                    && let Ok(id) = EncounterId::parse(&changed.encounter_id)
                    && let Some(details) = self.encounters.get_mut(&id)
                {
                    details.attending = changed.attending;
                }
            }
            // The entries say themselves how they were corrected, and who is whom.
            Fact::Correction(_) | Fact::Identity(_) => return,
            Fact::TransferRequest(..) | Fact::Case(..) => {}
        }
        if holds {
            self.record.apply(&happened);
        }
    }
}

/// When, and as which of its record's events.
type Recorded = (i64, i32, u64);

fn recorded(entry: &v1::TimelineEntry) -> Recorded {
    let at = entry.recorded_at.unwrap_or_default();
    (at.seconds, at.nanos, entry.version)
}

impl Details {
    fn new(told_in: PatientId, entry: &v1::TimelineEntry) -> Self {
        Self {
            told_in,
            first: recorded(entry),
            class: v1::EncounterClass::Inpatient,
            began: String::new(),
            ended: String::new(),
            planned: String::new(),
            number: None,
            attending: None,
            admit_source: None,
            disposition: None,
        }
    }

    fn note_telling(&mut self, told_in: PatientId, entry: &v1::TimelineEntry) {
        if recorded(entry) < self.first {
            (self.told_in, self.first) = (told_in, recorded(entry));
        }
    }

    /// Of what does not hold only the class is looked at, without which there is no encounter.
    fn fold(&mut self, payload: Payload, at: &str, holds: bool) {
        if let Payload::EncounterRegistered(visit) = &payload {
            self.class = visit.class();
        }
        if !holds {
            return;
        }
        if let Payload::AdmissionPlanned(message) = payload {
            self.planned = message.planned_at;
        } else if let Payload::EncounterRegistered(message) = payload {
            self.begin(at);
            self.ended = message.ended_at;
            self.number = message.visit_number;
            self.attending = message.attending;
        } else if let Payload::Admitted(message) = payload {
            self.begin(at);
            self.ended.clear();
            self.number = message.visit_number.or(self.number.take());
            self.attending = message.attending.or(self.attending.take());
            self.admit_source = message.admit_source;
        } else if let Payload::Discharged(message) = payload {
            at.clone_into(&mut self.ended);
            self.disposition = message.disposition;
        }
    }

    /// A visit that became a stay began as a visit.
    fn begin(&mut self, at: &str) {
        if self.began.is_empty() {
            at.clone_into(&mut self.began);
        }
    }
}

impl Referred {
    fn new(told_in: PatientId) -> Self {
        let (requester, asked_at, changed_at) = Default::default();
        Self { told_in, asked: v1::ReferralRequested::default(), requester, asked_at, changed_at }
    }

    fn fold(&mut self, payload: Payload, event: v1::Event, holds: bool) {
        if let Payload::ReferralRequested(asked) = payload {
            self.asked = asked;
            self.asked_at.clone_from(&event.occurred_at);
            let actor = event.actor.unwrap_or_default();
            let represented = Some(actor.on_behalf_of).filter(|of| !of.is_empty());
            self.requester = represented.unwrap_or(actor.organisation);
        } else if let Payload::AttendanceRecorded(_) | Payload::Unattended(_) = payload {
            return;
        }
        if holds {
            self.changed_at = event.occurred_at;
        }
    }
}
