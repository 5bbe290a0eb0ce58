//! The parts of FHIR R4 resources that are used here. Other elements are passed over.

use serde::Deserialize;

/// What every resource begins with.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnyResource {
    pub resource_type: String,
    #[serde(default)]
    pub id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub last_updated: String,
    pub security: Vec<Coding>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Reference {
    pub reference: String,
    pub display: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Coding {
    pub system: String,
    pub version: String,
    pub code: String,
    pub display: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CodeableConcept {
    pub coding: Vec<Coding>,
    pub text: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Identifier {
    pub system: String,
    pub value: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Period {
    pub start: String,
    pub end: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Extension {
    pub url: String,
    pub value_code: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HumanName {
    #[serde(rename = "use")]
    pub usage: String,
    pub text: String,
    pub family: String,
    pub given: Vec<String>,
    pub period: Period,
    pub extension: Vec<Extension>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    #[serde(rename = "use")]
    pub usage: String,
    pub text: String,
    pub line: Vec<String>,
    pub city: String,
    pub state: String,
    pub postal_code: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContactPoint {
    pub system: String,
    pub value: String,
    #[serde(rename = "use")]
    pub usage: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Patient {
    pub id: String,
    pub meta: Meta,
    pub identifier: Vec<Identifier>,
    pub name: Vec<HumanName>,
    pub telecom: Vec<ContactPoint>,
    pub gender: String,
    pub birth_date: String,
    pub deceased_boolean: Option<bool>,
    pub deceased_date_time: String,
    pub address: Vec<Address>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Encounter {
    pub id: String,
    pub identifier: Vec<Identifier>,
    pub status: String,
    pub class: Coding,
    pub service_type: CodeableConcept,
    pub subject: Reference,
    pub participant: Vec<EncounterParticipant>,
    pub period: Period,
    pub hospitalization: Hospitalization,
    pub location: Vec<EncounterLocation>,
    pub service_provider: Reference,
    pub part_of: Reference,
    pub meta: Meta,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EncounterParticipant {
    #[serde(rename = "type")]
    pub participant_type: Vec<CodeableConcept>,
    pub individual: Reference,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hospitalization {
    pub admit_source: CodeableConcept,
    pub discharge_disposition: CodeableConcept,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EncounterLocation {
    pub location: Reference,
    pub status: String,
    pub period: Period,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Location {
    pub id: String,
    pub name: String,
    pub physical_type: CodeableConcept,
    pub managing_organization: Reference,
    pub part_of: Reference,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Organization {
    pub id: String,
    pub identifier: Vec<Identifier>,
    pub name: String,
    pub part_of: Reference,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Practitioner {
    pub id: String,
    pub name: Vec<HumanName>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PractitionerRole {
    pub id: String,
    pub practitioner: Reference,
    pub organization: Reference,
    pub code: Vec<CodeableConcept>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CareTeam {
    pub id: String,
    pub meta: Meta,
    pub subject: Reference,
    pub encounter: Reference,
    pub period: Period,
    pub participant: Vec<CareTeamParticipant>,
    pub managing_organization: Vec<Reference>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CareTeamParticipant {
    pub role: Vec<CodeableConcept>,
    pub member: Reference,
    pub on_behalf_of: Reference,
}

/// The elements that are read of a resource that says something about a patient. Nothing is made of
/// others: whoever is on the care team reads the timeline, and what it is for is not said there.
pub const READ: [(&str, &[&str]); 3] = [
    (
        "Patient",
        &[
            "id",
            "meta",
            "identifier",
            "name",
            "telecom",
            "gender",
            "birthDate",
            "deceasedBoolean",
            "deceasedDateTime",
            "address",
        ],
    ),
    (
        "Encounter",
        &[
            "id",
            "meta",
            "identifier",
            "status",
            "class",
            "serviceType",
            "subject",
            "participant",
            "period",
            "hospitalization",
            "location",
            "serviceProvider",
            "partOf",
        ],
    ),
    (
        "CareTeam",
        &["id", "meta", "subject", "encounter", "period", "participant", "managingOrganization"],
    ),
];

/// Whether a text is an id as FHIR has it.
pub fn is_id(text: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(may_be)
}

impl Patient {
    /// Whether the sending system restricts who may read of the patient.
    pub fn is_restricted(&self) -> bool {
        const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
        let restricts = |label: &Coding| {
            label.system == CONFIDENTIALITY && matches!(label.code.as_str(), "R" | "V")
        };
        self.meta.security.iter().any(restricts)
    }
}

impl Encounter {
    /// Whether it has begun and not ended.
    pub fn goes_on(&self) -> bool {
        matches!(self.status.as_str(), "arrived" | "triaged" | "in-progress" | "onleave")
    }

    /// Whether it did not happen, or not to this patient.
    pub fn is_withdrawn(&self) -> bool {
        matches!(self.status.as_str(), "cancelled" | "entered-in-error")
    }
}

impl EncounterLocation {
    /// Whether the patient has not come there yet.
    pub fn is_to_come(&self) -> bool {
        matches!(self.status.as_str(), "planned" | "reserved")
    }
}

impl CodeableConcept {
    /// The words for a person: its own, or its first coding's.
    pub fn words(&self) -> &str {
        let of_coding = || self.coding.iter().map(|coding| coding.display.as_str());
        let mut words = [self.text.as_str()].into_iter().chain(of_coding());
        words.find(|words| !words.is_empty()).unwrap_or_default()
    }

    pub fn has_code(&self, code: &str) -> bool {
        self.coding.iter().any(|coding| coding.code == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_up_to_64_letters_digits_hyphens_and_points() {
        assert!(is_id("pt-03487fca7488.v2") && is_id(&"x".repeat(64)));
        for none in ["", "a b", "a/b", "あ", &"x".repeat(65)] {
            assert!(!is_id(none), "{none}");
        }
    }
}
