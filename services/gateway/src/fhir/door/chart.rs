//! One patient as FHIR shows it: a fold of the patient's stream, read anew for each request.

use std::collections::BTreeMap;

use prost::Message as _;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Bus, Stored, StreamId, address};
use tsunagi_domain::{EncounterId, Fact, PatientId, Record, ReferralId, referral};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::happened;
use tsunagi_proto::v1;

/// One patient.
pub(super) struct Chart {
    pub(super) patient: PatientId,
    pub(super) record: Record,
    /// Without an address that must not leave the record.
    pub(super) demographics: v1::Demographics,
    pub(super) encounters: BTreeMap<EncounterId, Details>,
    pub(super) team: Vec<v1::Participant>,
    pub(super) referrals: BTreeMap<ReferralId, Referred>,
}

/// What messages said of an encounter and rules do not look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    pub(super) began: String,
    pub(super) ended: String,
    pub(super) planned: String,
    pub(super) number: Option<v1::Identifier>,
    pub(super) attending: Option<v1::Participant>,
    pub(super) admit_source: Option<v1::Code>,
    pub(super) disposition: Option<v1::Code>,
}

/// A referral.
#[derive(Debug, Clone, Default)]
pub(super) struct Referred {
    pub(super) asked: v1::ReferralRequested,
    pub(super) requester: String,
    pub(super) asked_at: String,
    pub(super) status: &'static str,
    pub(super) changed_at: String,
}

impl Chart {
    /// Reads a patient. None if nobody is registered under the id.
    pub(super) async fn read(bus: &dyn Bus, patient: PatientId) -> Result<Option<Self>, ReadError> {
        let mut events = Vec::new();
        loop {
            let after = events.last().map_or(0, |last: &Stored| last.placed.version);
            let page = bus.read(StreamId::Patient(patient), after).await?;
            if page.is_empty() {
                break;
            }
            events.extend(page);
        }
        let mut chart = Self {
            patient,
            record: Record::default(),
            demographics: v1::Demographics::default(),
            encounters: BTreeMap::new(),
            team: Vec::new(),
            referrals: BTreeMap::new(),
        };
        let withheld_up_to = address::withheld_up_to(&events);
        for stored in &events {
            chart.fold(stored, bus, withheld_up_to);
        }
        Ok(chart.record.patient().is_registered().then_some(chart))
    }

    fn fold(&mut self, stored: &Stored, bus: &dyn Bus, withheld_up_to: u64) {
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return };
        let Ok(mut payload) = Payload::decode(&event.r#type, &event.payload) else { return };
        let Some(happened) = happened(&event, &payload, &bus.region().zone) else { return };
        if let Some(demographics) = address::demographics(&mut payload) {
            self.demographics = demographics.clone();
            if stored.placed.version <= withheld_up_to
                && let Some(address) = &mut self.demographics.address
            {
                address::withhold(address);
            }
        }
        match &happened.fact {
            Fact::Encounter(id, _) => {
                let details = self.encounters.entry(*id).or_default();
                details.fold(payload, event.occurred_at);
            }
            Fact::Referral(id, fact) => {
                let referred = self.referrals.entry(*id).or_default();
                referred.fold(fact, payload, event);
            }
            Fact::Document(_) => {
                if let Payload::TeamMemberJoined(joined) = payload {
                    for member in joined.members {
                        if !self.team.contains(&member) {
                            self.team.push(member);
                        }
                    }
                }
            }
            Fact::Identity(_)
            | Fact::TransferRequest(..)
            | Fact::Case(..)
            | Fact::Correction(_) => {}
        }
        self.record.apply(&happened);
    }
}

impl Details {
    fn fold(&mut self, payload: Payload, at: String) {
        if let Payload::AdmissionPlanned(message) = payload {
            self.planned = message.planned_at;
        } else if let Payload::EncounterRegistered(message) = payload {
            self.began = at;
            self.ended = message.ended_at;
            self.number = message.visit_number;
            self.attending = message.attending;
        } else if let Payload::Admitted(message) = payload {
            self.began = at;
            self.number = message.visit_number.or(self.number.take());
            self.attending = message.attending.or(self.attending.take());
            self.admit_source = message.admit_source;
        } else if let Payload::Discharged(message) = payload {
            self.ended = at;
            self.disposition = message.disposition;
        } else if let Payload::DischargeCancelled(_) = payload {
            self.ended.clear();
            self.disposition = None;
        }
    }
}

impl Referred {
    fn fold(&mut self, fact: &referral::Event, payload: Payload, event: v1::Event) {
        if let Payload::ReferralRequested(asked) = payload {
            self.asked = asked;
            self.asked_at.clone_from(&event.occurred_at);
            self.requester = event.actor.map(|actor| actor.organisation).unwrap_or_default();
        }
        let status = match fact {
            referral::Event::Requested(_) => "requested",
            referral::Event::Accepted(()) => "accepted",
            referral::Event::Rejected(()) => "rejected",
            referral::Event::Started(()) => "in-progress",
            referral::Event::Held(()) => "on-hold",
            referral::Event::Failed(()) => "failed",
            referral::Event::Completed(()) => "completed",
            referral::Event::Cancelled(()) => "cancelled",
            referral::Event::EnteredInError(()) => "entered-in-error",
            referral::Event::Attended(()) | referral::Event::Unattended(()) => return,
        };
        self.status = status;
        self.changed_at = event.occurred_at;
    }
}
