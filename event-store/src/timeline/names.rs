//! The names that a patient's events give to what other events only refer to by id.

use std::collections::BTreeMap;

use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// What was asked of whom, by the id of the transfer request or referral.
    asked: BTreeMap<String, String>,
    /// As the organisation calls itself, or as the first of the others called it.
    organisations: BTreeMap<String, String>,
}

impl Names {
    /// Takes note of what an event of the organisation `by` names.
    pub(super) fn note(&mut self, by: &str, payload: &Payload) {
        for organisation in organisations(payload) {
            self.note_organisation(by, organisation);
        }
        if let Payload::TransferRequested(m) = payload {
            self.asked.insert(m.transfer_request_id.clone(), called(m.facility.as_ref()));
        } else if let Payload::ReferralRequested(m) = payload {
            let resource = m.resource.as_ref().filter(|resource| !resource.name.is_empty());
            let name = resource.map(|resource| resource.name.clone());
            let name = name.unwrap_or_else(|| called(m.receiver.as_ref()));
            self.asked.insert(m.referral_id.clone(), name);
        }
    }

    /// Who or what was asked; empty if nothing is known of it.
    pub(super) fn of(&self, id: &str) -> &str {
        self.asked.get(id).map(String::as_str).unwrap_or_default()
    }

    /// The name of an organisation, or its id if no event has named it.
    pub(super) fn organisation<'a>(&'a self, id: &'a str) -> &'a str {
        self.organisations.get(id).map_or(id, String::as_str)
    }

    fn note_organisation(&mut self, by: &str, organisation: &v1::Organisation) {
        let v1::Organisation { id, name } = organisation;
        if !name.is_empty() && (id == by || !self.organisations.contains_key(id)) {
            self.organisations.insert(id.clone(), name.clone());
        }
    }
}

fn called(organisation: Option<&v1::Organisation>) -> String {
    super::wording::organisation(organisation).to_owned()
}

/// The organisations that a payload tells the id and name of.
fn organisations(payload: &Payload) -> Vec<&v1::Organisation> {
    match payload {
        Payload::TeamMemberJoined(m) => members(&m.members),
        Payload::AdmissionPlanned(m) => at(m.place.as_ref()),
        Payload::EncounterRegistered(m) => {
            [at(m.place.as_ref()), members(m.attending.as_slice())].concat()
        }
        Payload::Admitted(m) => [at(m.place.as_ref()), members(m.attending.as_slice())].concat(),
        Payload::TransferPlanned(m) => at(m.to.as_ref()),
        Payload::Transferred(m) => at(m.to.as_ref()),
        Payload::DischargePlanned(m) => m.destination.iter().collect(),
        Payload::Discharged(m) => m.destination.iter().collect(),
        Payload::FamilyMeetingHeld(m) => members(&m.participants),
        Payload::PlanStarted(m) | Payload::PlanIssued(m) | Payload::PlanChanged(m) => {
            members(&m.responsible)
        }
        Payload::ConferenceScheduled(m) => members(&m.invited),
        Payload::ConferenceHeld(m) => members(&m.participants),
        Payload::TransferRequested(m) => m.facility.iter().collect(),
        Payload::AdmissionInfoProvided(m) => m.recipient.iter().collect(),
        Payload::DischargeInfoRecorded(m) => members(&m.informants),
        Payload::ReferralRequested(m) => m.receiver.iter().collect(),
        Payload::CaseOpened(m) => members(m.link_worker.as_slice()),
        Payload::PatientRegistered(_)
        | Payload::IdentifierLinked(_)
        | Payload::DemographicsUpdated(_)
        | Payload::AdmissionPlannedCancelled(_)
        | Payload::RegistrationCancelled(_)
        | Payload::AdmitCancelled(_)
        | Payload::TransferPlannedCancelled(_)
        | Payload::TransferCancelled(_)
        | Payload::LeaveStarted(_)
        | Payload::LeaveStartedCancelled(_)
        | Payload::LeaveReturned(_)
        | Payload::LeaveReturnedCancelled(_)
        | Payload::DischargePlannedCancelled(_)
        | Payload::DischargeCancelled(_)
        | Payload::ScreeningCompleted(_)
        | Payload::DischargeReadyDeclared(_)
        | Payload::TransferOffered(_)
        | Payload::TransferDeclined(_)
        | Payload::TransferAccepted(_)
        | Payload::TransferWithdrawn(_)
        | Payload::VisitCompleted(_)
        | Payload::VisitMissed(_)
        | Payload::ObservationRecorded(_)
        | Payload::ConditionChanged(_)
        | Payload::Signposted(_)
        | Payload::ReferralAccepted(_)
        | Payload::ReferralRejected(_)
        | Payload::ReferralInProgress(_)
        | Payload::ReferralOnHold(_)
        | Payload::ReferralFailed(_)
        | Payload::ReferralCompleted(_)
        | Payload::ReferralCancelled(_)
        | Payload::ReferralEnteredInError(_)
        | Payload::CaseClosed(_)
        | Payload::CaseReopened(_)
        | Payload::ContactAttempted(_)
        | Payload::ContactHeld(_)
        | Payload::AttendanceRecorded(_)
        | Payload::Unattended(_)
        | Payload::MeasureRecorded(_)
        | Payload::IdentifierClaimed(_)
        | Payload::IdentifierReleased(_)
        | Payload::MessageQuarantined(_)
        | Payload::MessageRepeated(_)
        | Payload::Unknown => Vec::new(),
    }
}

fn at(place: Option<&v1::Place>) -> Vec<&v1::Organisation> {
    place.and_then(|place| place.facility.as_ref()).into_iter().collect()
}

fn members(people: &[v1::Participant]) -> Vec<&v1::Organisation> {
    people.iter().filter_map(|who| who.organisation.as_ref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Payload {
        let organisation = v1::Organisation { id: "acute".into(), name: name.into() };
        Payload::Discharged(v1::Discharged {
            destination: Some(organisation),
            ..v1::Discharged::default()
        })
    }

    #[test]
    fn an_organisation_is_called_as_it_calls_itself() {
        let mut names = Names::default();
        assert_eq!(names.organisation("acute"), "acute");
        names.note("nurses", &named("中央"));
        names.note("nurses", &named("偽病院"));
        names.note("nurses", &named(""));
        assert_eq!(names.organisation("acute"), "中央", "the first to name it");
        names.note("acute", &named("中央病院"));
        names.note("nurses", &named("偽病院"));
        assert_eq!(names.organisation("acute"), "中央病院", "its own word");
    }
}
