//! What FHIR resources say, as care events.
//!
//! | resource              | events                                                        |
//! |-----------------------|---------------------------------------------------------------|
//! | Patient               | registered                                                    |
//! | Encounter, inpatient  | admission planned, or admitted, moved, and discharged         |
//! | Encounter, other      | registered, with its end if it has ended                      |
//! | Encounter, cancelled  | cancels of the above: `withdrawal`                            |
//! | `CareTeam`            | members joined                                                |
//!
//! Reasons and diagnoses are not taken: the timeline is read by everybody on the care team.

use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::demographics::Update;
use tsunagi_proto::v1;
use uuid::Uuid;

use super::directory::{Directory, LeadsNowhere, Provider, key};
use super::ids::Ids;
use super::names::{has_present_name, is_past, names};
use super::resource::{
    Address, CareTeam, CodeableConcept, ContactPoint, Encounter, EncounterLocation, Patient, Period,
};
use super::stations::stations;
use super::version;
use crate::person::{Words, with_names};
use crate::text::{code, cut};

/// Why a resource is not taken: a stable reason, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotMapped {
    pub reason: &'static str,
    pub message: String,
    /// The element that it is about, such as `Patient.contact[0].name`; empty if it is the whole.
    pub element: String,
}

/// The events that a resource says, and whom they are about.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// The key of the resource that is the patient.
    pub patient_key: String,
    pub events: Vec<v1::Event>,
    /// Said instead of the events if these register a visit that was registered when it was
    /// still going on: that it has ended.
    pub ending: Option<v1::Event>,
}

/// Turns resources of one sending system into events.
pub struct Mapper<'a> {
    pub ids: &'a Ids,
    pub directory: &'a Directory,
    /// When something happened that the resource gives no time for.
    pub now: &'a str,
}

type Result<T> = std::result::Result<T, NotMapped>;

/// The person in whose name events are said.
pub(super) const PERSON: &str = "fhir-import";
const ROLE: &str = "system";

impl Mapper<'_> {
    /// Who the patient is.
    pub fn demographics(&self, patient: &Patient) -> v1::Demographics {
        let is_dead =
            patient.deceased_boolean == Some(true) || !patient.deceased_date_time.is_empty();
        v1::Demographics {
            names: names(&patient.name, self.now),
            birth_on: patient.birth_date.clone(),
            sex: sex(&patient.gender).into(),
            address: lives_at(patient, self.now),
            contacts: contacts(&patient.telecom, self.now),
            deceased_at: patient.deceased_date_time.clone(),
            deceased: is_dead,
            not_deceased: patient.deceased_boolean == Some(false) && !is_dead,
        }
    }

    /// What the resource says of a patient of whom so much was said: what is empty, or past, says
    /// nothing of what others said, and takes back what only it said itself.
    pub fn said(&self, patient: &Patient, known: &v1::Demographics, words: &Words) -> Update {
        let mut said = self.demographics(patient);
        if !known.names.is_empty() && !has_present_name(&patient.name, self.now) {
            said.names.clear();
        }
        // Many systems say of everybody for ever that nobody died.
        said.not_deceased &= words.is_own_death();
        words.left_out(with_names(Update::given(said), known, words))
    }

    /// Whether an event was made of this very resource of the sending system.
    pub fn is_own(
        &self,
        patient: &Patient,
        actor: Option<&v1::Actor>,
        source: Option<&v1::Source>,
    ) -> bool {
        let own = (code(self.ids.source()), cut(&key("Patient", &patient.id), 200));
        actor.is_some_and(|actor| actor.person == PERSON)
            && source.is_some_and(|of| (&of.system, &of.message_id) == (&own.0, &own.1))
    }

    /// The numbers by which the patient can be found. The first leads back to the resource.
    pub fn identifiers(&self, patient: &Patient) -> Vec<v1::Identifier> {
        let own =
            v1::Identifier { system: self.ids.identifier_system(), value: patient.id.clone() };
        let others = patient
            .identifier
            .iter()
            .filter(|identifier| !identifier.system.is_empty() && !identifier.value.is_empty())
            .map(|identifier| v1::Identifier {
                system: identifier.system.clone(),
                value: identifier.value.clone(),
            });
        let mut identifiers = vec![own];
        for other in others.take(19) {
            if !identifiers.contains(&other) {
                identifiers.push(other);
            }
        }
        identifiers
    }

    /// The registration of a patient.
    pub fn patient(&self, patient: &Patient) -> Result<Mapped> {
        if patient.id.is_empty() {
            return Err(not_mapped("ID_MISSING", "the resource has no id: export it with one"));
        }
        let patient_key = key("Patient", &patient.id);
        let registered = Payload::PatientRegistered(v1::PatientRegistered {
            identifiers: self.identifiers(patient),
            // There is no death yet to be taken back.
            demographics: Some(v1::Demographics {
                not_deceased: false,
                ..self.demographics(patient)
            }),
        });
        let events = vec![self.of_patient(patient, "registered", &registered)];
        Ok(Mapped { patient_key, events, ending: None })
    }

    /// A change of what is known of a patient who was registered before. The same change of
    /// another version of the patient is another fact, as when somebody moves back.
    pub fn patient_update(
        &self,
        patient: &Patient,
        said: Update,
        changed_version: u64,
    ) -> v1::Event {
        let updated = Payload::DemographicsUpdated(said.into());
        let content = Uuid::new_v5(&Uuid::NAMESPACE_OID, &updated.encode_to_vec());
        self.of_patient(patient, &format!("updated {changed_version} {content}"), &updated)
    }

    /// One more number of a patient who was registered before.
    pub fn identifier_linked(&self, patient: &Patient, identifier: v1::Identifier) -> v1::Event {
        let fact = format!("linked {}|{}", identifier.system, identifier.value);
        let identifier = Some(identifier);
        let linked = Payload::IdentifierLinked(v1::IdentifierLinked { identifier });
        self.of_patient(patient, &fact, &linked)
    }

    fn of_patient(&self, patient: &Patient, fact: &str, payload: &Payload) -> v1::Event {
        let about = About {
            key: &key("Patient", &patient.id),
            organisation: self.ids.source(),
            written: "",
        };
        self.event(&about, fact, &self.registered_at(patient), payload)
    }

    /// What happened under an encounter.
    pub fn encounter(&self, encounter: &Encounter) -> Result<Mapped> {
        if encounter.id.is_empty() {
            return Err(not_mapped("ID_MISSING", "the resource has no id: export it with one"));
        }
        let patient_key = self.directory.key_of(&encounter.subject, "Patient");
        if patient_key.is_empty() {
            return Err(not_mapped(
                "SUBJECT_MISSING",
                "the encounter has no subject that can be followed",
            ));
        }
        let class = class(&encounter.class.code).ok_or_else(|| {
            not_mapped(
                "CLASS_UNKNOWN",
                "the encounter's class is not one of v3-ActCode that is a visit or a stay",
            )
        })?;
        self.named_provider(encounter)?;
        let events = match (encounter.status.as_str(), class) {
            ("planned", v1::EncounterClass::Inpatient) => self.planned_stay(encounter)?,
            ("arrived" | "triaged" | "in-progress" | "onleave" | "finished", class) => {
                if encounter.period.start.is_empty() {
                    return Err(not_mapped("TIME_MISSING", "the encounter has no `period.start`"));
                }
                if encounter.status == "finished" && ends_before_it_begins(&encounter.period) {
                    return Err(not_mapped(
                        "ENDS_BEFORE_IT_BEGINS",
                        "the encounter's `period.end` lies before its `period.start`: correct it, and import it again",
                    ));
                }
                if class == v1::EncounterClass::Inpatient {
                    self.stay(encounter)?
                } else {
                    vec![self.visit(encounter, class)]
                }
            }
            ("planned", _) => {
                return Err(not_mapped(
                    "NOT_YET",
                    "the visit is planned; it is taken when it has begun",
                ));
            }
            _ if encounter.is_withdrawn() => {
                return Err(not_mapped(
                    "DID_NOT_HAPPEN",
                    "the encounter was cancelled or entered in error",
                ));
            }
            _unknown => {
                return Err(not_mapped(
                    "STATUS_UNKNOWN",
                    "the encounter's status does not say whether it happened",
                ));
            }
        };
        let ending =
            if class == v1::EncounterClass::Inpatient { None } else { self.ending(encounter) };
        Ok(Mapped { patient_key, events, ending })
    }

    /// Who joined a patient's care team.
    pub fn care_team(&self, team: &CareTeam) -> Result<Mapped> {
        let patient_key = self.directory.key_of(&team.subject, "Patient");
        if team.id.is_empty() || patient_key.is_empty() {
            return Err(not_mapped(
                "SUBJECT_MISSING",
                "the care team has no id, or no subject that can be followed",
            ));
        }
        let occurred_at = [&team.period.start, &team.meta.last_updated];
        let occurred_at = occurred_at.into_iter().find(|time| !time.is_empty());
        let occurred_at = occurred_at.ok_or_else(|| {
            not_mapped(
                "TIME_MISSING",
                "the care team has neither `period.start` nor `meta.lastUpdated`",
            )
        })?;
        let owner = team.managing_organization.first();
        let provider = owner.map_or(Ok(None), |owner| self.directory.provider(owner));
        let provider =
            provider.map_err(|LeadsNowhere| provider_unknown("CareTeam.managingOrganization"))?;
        let provider = provider.unwrap_or_else(|| self.sender());
        let members: Vec<v1::Participant> = team
            .participant
            .iter()
            .filter(|participant| !participant.member.reference.starts_with("Patient/"))
            .take(50)
            .map(|participant| {
                let (person, name) = self.directory.person(&participant.member);
                let role = participant.role.first().map(CodeableConcept::words).unwrap_or_default();
                let role = if role.is_empty() {
                    self.directory.role_words(&participant.member)
                } else {
                    role
                };
                v1::Participant {
                    organisation: Some(provider.organisation()),
                    role: cut(role, 100),
                    person: code(&person),
                    name: cut(&name, 100),
                    means: 0,
                }
            })
            .collect();
        if members.is_empty() {
            return Err(not_mapped(
                "MEMBERS_MISSING",
                "the care team has no members besides the patient",
            ));
        }
        let encounter = self.directory.key_of(&team.encounter, "Encounter");
        let joined = Payload::TeamMemberJoined(v1::TeamMemberJoined {
            members,
            encounter_id: self.encounter_id(&encounter),
        });
        let about = About {
            key: &key("CareTeam", &team.id),
            organisation: &provider.facility_id,
            written: "",
        };
        let events = vec![self.event(&about, "joined", occurred_at, &joined)];
        Ok(Mapped { patient_key, events, ending: None })
    }

    /// The version of an encounter that events are made from.
    pub(super) fn about<'e>(
        &'e self,
        encounter: &'e Encounter,
        key: &'e str,
        provider: &'e Provider,
    ) -> About<'e> {
        About { key, organisation: &provider.facility_id, written: self.written(encounter) }
    }

    fn planned_stay(&self, encounter: &Encounter) -> Result<Vec<v1::Event>> {
        let encounter_key = key("Encounter", &encounter.id);
        if encounter.period.start.is_empty() {
            return Err(not_mapped("TIME_MISSING", "the planned encounter has no `period.start`"));
        }
        let provider = self.provider(encounter);
        let planned = Payload::AdmissionPlanned(v1::AdmissionPlanned {
            encounter_id: self.encounter_id(&key("Encounter", &encounter.id)),
            planned_at: encounter.period.start.clone(),
            place: Some(self.place(encounter, &encounter.location, &provider)),
            preceding_encounter_id: self.preceding(encounter),
            purpose: String::new(),
        });
        let about = self.about(encounter, &encounter_key, &provider);
        // When the plan was made is not said; that it is known now is.
        let fact = format!("planned {}", encounter.period.start);
        Ok(vec![self.event(&about, &fact, self.now, &planned)])
    }

    fn visit(&self, encounter: &Encounter, class: v1::EncounterClass) -> v1::Event {
        let encounter_key = key("Encounter", &encounter.id);
        let provider = self.provider(encounter);
        let ended_at = if encounter.status == "finished" { &encounter.period.end } else { "" };
        let been = encounter.location.iter().filter(|location| !location.is_to_come());
        let been: Vec<EncounterLocation> = been.cloned().collect();
        let registered = Payload::EncounterRegistered(v1::EncounterRegistered {
            encounter_id: self.encounter_id(&key("Encounter", &encounter.id)),
            class: class.into(),
            place: Some(self.place(encounter, &been, &provider)),
            ended_at: ended_at.to_owned(),
            preceding_encounter_id: self.preceding(encounter),
            attending: self.attending(encounter),
            visit_number: visit_number(encounter),
            ..v1::EncounterRegistered::default()
        });
        let about = self.about(encounter, &encounter_key, &provider);
        self.event(&about, "registered", &encounter.period.start, &registered)
    }

    /// The end of a visit, if it has ended.
    fn ending(&self, encounter: &Encounter) -> Option<v1::Event> {
        if encounter.status != "finished" || encounter.period.end.is_empty() {
            return None;
        }
        let provider = self.provider(encounter);
        let encounter_key = key("Encounter", &encounter.id);
        let about = self.about(encounter, &encounter_key, &provider);
        let ended = self.discharged(encounter);
        Some(self.event(&about, "ended", &encounter.period.end, &ended))
    }

    fn discharged(&self, encounter: &Encounter) -> Payload {
        Payload::Discharged(v1::Discharged {
            encounter_id: self.encounter_id(&key("Encounter", &encounter.id)),
            disposition: to_code(&encounter.hospitalization.discharge_disposition),
            destination: None,
        })
    }

    fn stay(&self, encounter: &Encounter) -> Result<Vec<v1::Event>> {
        let encounter_key = key("Encounter", &encounter.id);
        let encounter_id = self.encounter_id(&encounter_key);
        let provider = self.provider(encounter);
        let about = self.about(encounter, &encounter_key, &provider);
        let mut stations = stations(encounter).into_iter();
        let first = stations.next().map(|(_, places)| places).unwrap_or_default();
        let admitted = Payload::Admitted(v1::Admitted {
            encounter_id: encounter_id.clone(),
            place: Some(self.place(encounter, &first, &provider)),
            admit_source: to_code(&encounter.hospitalization.admit_source),
            preceding_encounter_id: self.preceding(encounter),
            attending: self.attending(encounter),
            visit_number: visit_number(encounter),
            ..v1::Admitted::default()
        });
        let mut events = vec![self.event(&about, "admitted", &encounter.period.start, &admitted)];
        for (at, places) in stations {
            let to = Some(self.place(encounter, &places, &provider));
            let moved =
                Payload::Transferred(v1::Transferred { encounter_id: encounter_id.clone(), to });
            events.push(self.event(&about, &format!("moved {at}"), &at, &moved));
        }
        if encounter.status == "finished" {
            if encounter.period.end.is_empty() {
                return Err(not_mapped(
                    "TIME_MISSING",
                    "the stay is finished and has no `period.end`",
                ));
            }
            let discharged = self.discharged(encounter);
            events.push(self.event(&about, "discharged", &encounter.period.end, &discharged));
        }
        Ok(events)
    }

    /// The facility of an encounter. Where it cannot be known which one is meant, it is refused
    /// when the encounter is mapped.
    pub(super) fn provider(&self, encounter: &Encounter) -> Provider {
        let provider = self.named_provider(encounter).ok().flatten();
        let mut provider = provider.unwrap_or_else(|| self.sender());
        if provider.department.is_empty() {
            encounter.service_type.words().clone_into(&mut provider.department);
        }
        provider
    }

    fn named_provider(&self, encounter: &Encounter) -> Result<Option<Provider>> {
        let named = self.directory.provider(&encounter.service_provider);
        let named = named.map_err(|LeadsNowhere| provider_unknown("Encounter.serviceProvider"))?;
        let location = encounter.location.first();
        let location = location.and_then(|first| self.directory.location(&first.location));
        match (named, location) {
            (None, Some(location)) => {
                let of_location = self.directory.provider(&location.managing_organization);
                of_location
                    .map_err(|LeadsNowhere| provider_unknown("Encounter.location[0].location"))
            }
            (named, _) => Ok(named),
        }
    }

    /// Where nothing says which facility it was, it was the one that sent this.
    fn sender(&self) -> Provider {
        Provider { facility_id: self.ids.source().to_owned(), ..Provider::default() }
    }

    pub(super) fn place(
        &self,
        encounter: &Encounter,
        locations: &[EncounterLocation],
        provider: &Provider,
    ) -> v1::Place {
        let mut place = v1::Place {
            facility: Some(provider.organisation()),
            department: cut(&provider.department, 100),
            ..v1::Place::default()
        };
        for at in locations {
            let location = self.directory.location(&at.location);
            let name = location.map_or(&at.location.display, |location| &location.name);
            let kind = location.map(|location| &location.physical_type);
            let is = |code: &str| kind.is_some_and(|kind| kind.has_code(code));
            let part = if is("bd") {
                &mut place.bed
            } else if is("ro") {
                &mut place.room
            } else if is("wa") || (encounter.class.code == "IMP" && kind.is_none()) {
                &mut place.ward
            } else {
                continue;
            };
            *part = cut(name, 100);
        }
        place
    }

    fn attending(&self, encounter: &Encounter) -> Option<v1::Participant> {
        let attends = encounter.participant.iter().find(|participant| {
            participant.participant_type.iter().any(|kind| kind.has_code("ATND"))
        })?;
        let (person, name) = self.directory.person(&attends.individual);
        Some(v1::Participant {
            role: "doctor".to_owned(),
            person: code(&person),
            name: cut(&name, 100),
            ..v1::Participant::default()
        })
    }

    fn preceding(&self, encounter: &Encounter) -> String {
        self.encounter_id(&self.directory.key_of(&encounter.part_of, "Encounter"))
    }

    pub(super) fn encounter_id(&self, key: &str) -> String {
        if key.is_empty() { String::new() } else { self.ids.encounter(key).to_string() }
    }

    /// When the sending system last wrote the patient down; not before the patient was born.
    pub(super) fn registered_at(&self, patient: &Patient) -> String {
        let time = |text: &str| CareTime::parse(text, &Zone::utc());
        let written = self.known_time(&patient.meta.last_updated);
        match (time(&written), time(&patient.birth_date)) {
            (Ok(at), Ok(born)) if at.is_before(&born) => patient.birth_date.clone(),
            _ => written,
        }
    }

    fn known_time(&self, time: &str) -> String {
        if CareTime::parse(time, &Zone::utc()).is_ok() { time } else { self.now }.to_owned()
    }

    /// The event with everything but the patient, who is set when it is known which one it is.
    pub(super) fn event(
        &self,
        about: &About<'_>,
        fact: &str,
        occurred_at: &str,
        payload: &Payload,
    ) -> v1::Event {
        v1::Event {
            event_id: self.ids.event(about.key, fact).to_string(),
            r#type: payload.event_type().to_owned(),
            occurred_at: occurred_at.to_owned(),
            actor: Some(v1::Actor {
                organisation: code(about.organisation),
                role: ROLE.to_owned(),
                person: PERSON.to_owned(),
                on_behalf_of: String::new(),
            }),
            source: Some(v1::Source {
                system: code(self.ids.source()),
                message_id: cut(&version::name(about.key, about.written), 200),
                ..v1::Source::default()
            }),
            payload: payload.encode_to_vec(),
            ..v1::Event::default()
        }
    }
}

/// The resource that an event is made from, and the organisation that it speaks for.
pub(super) struct About<'a> {
    pub(super) key: &'a str,
    pub(super) organisation: &'a str,
    /// When the version of it was written; empty where that is not said.
    pub(super) written: &'a str,
}

impl Provider {
    fn organisation(&self) -> v1::Organisation {
        v1::Organisation { id: code(&self.facility_id), name: cut(&self.facility_name, 200) }
    }
}

/// Sets the patient of events that were made before it was known which patient it is.
pub fn set_patient(events: &mut [v1::Event], patient: PatientId) {
    for event in events {
        event.patient_id = patient.to_string();
    }
}

/// Whether a period ends before it begins, wherever it is. That of which one is a day and the
/// other a clock time is left to the server, which knows when a day begins there.
fn ends_before_it_begins(period: &Period) -> bool {
    let time = |text: &str| CareTime::parse(text, &Zone::utc());
    let is_clock = |text: &str| text.contains('T');
    is_clock(&period.start) == is_clock(&period.end)
        && matches!((time(&period.start), time(&period.end)), (Ok(start), Ok(end)) if end.is_before(&start))
}

fn not_mapped(reason: &'static str, message: &str) -> NotMapped {
    NotMapped { reason, message: message.to_owned(), element: String::new() }
}

/// It must not become the sender's, who is not said to be it.
fn provider_unknown(element: &str) -> NotMapped {
    let message = format!(
        "{element} does not say which organisation it is: refer to one that is sent with it or contained in it, or name its identifier with system and value"
    );
    NotMapped { reason: "PROVIDER_UNKNOWN", message, element: element.to_owned() }
}

/// Codes of v3-ActCode.
fn class(code: &str) -> Option<v1::EncounterClass> {
    match code {
        "IMP" | "ACUTE" | "NONAC" | "OBSENC" | "SS" => Some(v1::EncounterClass::Inpatient),
        "AMB" => Some(v1::EncounterClass::Outpatient),
        "EMER" => Some(v1::EncounterClass::Emergency),
        "HH" => Some(v1::EncounterClass::Home),
        "VR" => Some(v1::EncounterClass::Virtual),
        _ => None,
    }
}

fn sex(gender: &str) -> v1::Sex {
    match gender {
        "female" => v1::Sex::Female,
        "male" => v1::Sex::Male,
        "other" => v1::Sex::Other,
        "unknown" => v1::Sex::Unknown,
        _ => v1::Sex::Unspecified,
    }
}

/// Where the patient lives. Of a restricted patient it is said even of no address that it is
/// confidential: one that was said before may be known.
fn lives_at(patient: &Patient, now: &str) -> Option<v1::Address> {
    let mut lives_at = home(&patient.address, now);
    if patient.is_restricted() {
        lives_at.get_or_insert_default().confidential = true;
    }
    lives_at
}

/// The address at home, or else the first, of those that are not past and say where that is.
fn home(addresses: &[Address], now: &str) -> Option<v1::Address> {
    let is_present = |one: &&Address| {
        !is_past(&one.usage, &one.period, now) && address(one) != v1::Address::default()
    };
    let present: Vec<&Address> = addresses.iter().filter(is_present).collect();
    let home = present.iter().find(|address| address.usage == "home").or(present.first());
    home.map(|home| address(home))
}

fn address(address: &Address) -> v1::Address {
    let text = if address.text.is_empty() { address.line.join(" ") } else { address.text.clone() };
    v1::Address {
        text: cut(&text, 300),
        postal_code: cut(&address.postal_code, 20),
        state: cut(&address.state, 100),
        city: cut(&address.city, 100),
        confidential: false,
    }
}

/// The ways of reaching the person that are not past, as many as the schema takes.
fn contacts(contacts: &[ContactPoint], now: &str) -> Vec<v1::ContactPoint> {
    let is_present =
        |one: &&ContactPoint| !one.value.is_empty() && !is_past(&one.usage, &one.period, now);
    contacts.iter().filter(is_present).take(10).map(contact).collect()
}

fn contact(contact: &ContactPoint) -> v1::ContactPoint {
    v1::ContactPoint {
        kind: cut(&contact.system, 20),
        value: cut(&contact.value, 200),
        r#use: cut(&contact.usage, 20),
    }
}

fn to_code(concept: &CodeableConcept) -> Option<v1::Code> {
    let coding = concept.coding.first().cloned().unwrap_or_default();
    let mut code = v1::Code {
        system: cut(&coding.system, 200),
        code: cut(&coding.code, 100),
        version: cut(&coding.version, 50),
        display: cut(concept.words(), 200),
    };
    if code.system.is_empty() && !code.code.is_empty() {
        // In FHIR, a code of no system means nothing: it is a word.
        let word = std::mem::take(&mut code.code);
        code.version.clear();
        if code.display.is_empty() {
            code.display = word;
        }
    }
    (!code.code.is_empty() || !code.display.is_empty()).then_some(code)
}

fn visit_number(encounter: &Encounter) -> Option<v1::Identifier> {
    let identifier = encounter.identifier.iter().find(|identifier| !identifier.value.is_empty())?;
    let system = if identifier.system.is_empty() { "unknown" } else { &identifier.system };
    Some(v1::Identifier { system: cut(system, 200), value: cut(&identifier.value, 200) })
}

#[cfg(test)]
mod tests {
    use super::super::resource::{Coding, Reference};
    use super::*;

    const NOW: &str = "2026-05-01T00:00:00Z";

    fn encounter(class: &str, status: &str, start: &str, end: &str) -> Encounter {
        Encounter {
            id: "e1".to_owned(),
            status: status.to_owned(),
            class: Coding { code: class.to_owned(), ..Coding::default() },
            subject: Reference { reference: "Patient/p1".to_owned(), ..Reference::default() },
            period: Period { start: start.to_owned(), end: end.to_owned() },
            ..Encounter::default()
        }
    }

    fn with_mapper<T>(map: impl FnOnce(&Mapper<'_>) -> T) -> T {
        let (ids, directory) = (Ids::new("fhir"), Directory::default());
        map(&Mapper { ids: &ids, directory: &directory, now: NOW })
    }

    fn map(encounter: &Encounter) -> Result<Mapped> {
        with_mapper(|mapper| mapper.encounter(encounter))
    }

    #[test]
    fn the_address_of_a_restricted_patient_is_confidential() {
        let lives_at = |system: &str, code: &str, text: &str| {
            let (system, code) = (system.to_owned(), code.to_owned());
            let label = Coding { system, code, ..Coding::default() };
            let home = Address { text: text.to_owned(), ..Address::default() };
            let mut patient = Patient::default();
            patient.meta.security.push(label);
            patient.address.extend((!text.is_empty()).then_some(home));
            with_mapper(|mapper| mapper.demographics(&patient)).address
        };
        let address = |text: &str, confidential| {
            Some(v1::Address { text: text.to_owned(), confidential, ..Default::default() })
        };
        let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
        assert_eq!(lives_at(system, "R", "本町1"), address("本町1", true));
        assert_eq!(lives_at(system, "V", ""), address("", true));
        assert_eq!(lives_at(system, "N", "本町1"), address("本町1", false));
        assert_eq!(
            lives_at("http://hl7.org/fhir/v3/Confidentiality", "R", "本町1"),
            address("本町1", true)
        );
        assert_eq!(lives_at("urn:other", "R", "本町1"), address("本町1", false));
    }

    #[test]
    fn an_admission_planned_for_another_time_is_another_fact() {
        let id = |start: &str| {
            let planned = map(&encounter("IMP", "planned", start, "")).unwrap();
            planned.events.into_iter().next().unwrap().event_id
        };
        assert_eq!(id("2026-06-01"), id("2026-06-01"));
        assert_ne!(id("2026-06-01"), id("2026-06-08"));
    }

    #[test]
    fn the_same_change_of_another_version_is_another_fact() {
        let patient = Patient { id: "p1".to_owned(), ..Patient::default() };
        let id = |birth_on: &str, version: u64| {
            let said = Update::given(v1::Demographics {
                birth_on: birth_on.to_owned(),
                ..Default::default()
            });
            with_mapper(|mapper| mapper.patient_update(&patient, said, version)).event_id
        };
        assert_eq!(id("1938", 3), id("1938", 3));
        assert_ne!(id("1938", 3), id("1939", 3));
        assert_ne!(id("1938", 3), id("1938", 5));
    }

    #[test]
    fn what_ends_before_it_begins_says_nothing() {
        let reason = |class, status, start, end| {
            map(&encounter(class, status, start, end)).err().map(|not_mapped| not_mapped.reason)
        };
        let clock = "2026-03-05T01:00:00Z";
        for class in ["IMP", "AMB"] {
            for (start, end) in [(clock, "2026-03-05T09:59:59+09:00"), ("2026-03-05", "2026-03-04")]
            {
                assert_eq!(reason(class, "finished", start, end), Some("ENDS_BEFORE_IT_BEGINS"));
                assert_eq!(reason(class, "in-progress", start, end), None, "it has not ended");
            }
            assert_eq!(reason(class, "finished", clock, "2026-03-05T10:00:00+09:00"), None);
            assert_eq!(reason(class, "finished", "2026-03-05", "2026-03"), None);
            assert_eq!(reason(class, "finished", clock, "2026-03-04"), None, "in Hawaii");
        }
    }

    #[test]
    fn a_finished_visit_says_how_it_ends_if_it_was_known_to_go_on() {
        let (start, end) = ("2026-03-01T09:00:00+09:00", "2026-03-01T11:00:00+09:00");
        let ending =
            |class, status, end| map(&encounter(class, status, start, end)).unwrap().ending;
        let ended = ending("AMB", "finished", end).unwrap();
        assert_eq!(ended.r#type, "care.encounter.discharged.v1");
        assert_eq!(ended.occurred_at, end);
        assert_eq!(ending("AMB", "in-progress", ""), None);
        assert_eq!(ending("AMB", "finished", ""), None, "nobody knows when");
        assert_eq!(ending("IMP", "finished", end), None, "a stay says its discharge itself");
    }
}
