//! The parts of FHIR R4 resources that are used here. Other elements are passed over.

use serde::{Deserialize, Deserializer};

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
#[expect(clippy::struct_field_names, reason = "FHIR calls it so")]
pub struct Reference {
    pub reference: String,
    /// What it names, where that is no resource that can be followed to.
    pub identifier: Identifier,
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
    #[serde(deserialize_with = "texts")]
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
    #[serde(deserialize_with = "texts")]
    pub line: Vec<String>,
    pub city: String,
    pub state: String,
    pub postal_code: String,
    pub period: Period,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContactPoint {
    pub system: String,
    pub value: String,
    #[serde(rename = "use")]
    pub usage: String,
    pub period: Period,
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
    pub contained: Vec<Contained>,
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
    pub contained: Vec<Contained>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CareTeamParticipant {
    pub role: Vec<CodeableConcept>,
    pub member: Reference,
    pub on_behalf_of: Reference,
}

/// A resource that is there within another alone: `#id` leads to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "resourceType")]
pub enum Contained {
    Organization(Organization),
    Location(Location),
    Practitioner(Practitioner),
    PractitionerRole(PractitionerRole),
    #[serde(other)]
    Other,
}

/// The elements that are read of a resource that says something about a patient. Nothing is made of
/// others: whoever is on the care team reads the timeline, and what it is for is not said there.
const READ: [(&str, &[&str]); 3] = [
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

/// Which elements are read of a resource of this type.
pub fn read_of(kind: &str) -> &'static [&'static str] {
    READ.iter().find(|(of, _)| *of == kind).map_or(&[], |(_, read)| *read)
}

/// The texts of a list. A null stands for one that has an extension alone, beside the list.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let items = Vec::<Option<String>>::deserialize(deserializer)?;
    Ok(items.into_iter().flatten().collect())
}

/// Whether a text is an id as FHIR has it.
pub fn is_id(text: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(may_be)
}

/// What a label of `meta.security` says of who may read the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    Restricts,
    Open,
    /// A code of confidentiality that nobody here knows: it may restrict.
    Unknown,
    /// It is about something else.
    Other,
}

impl Coding {
    /// What it says as a label. HL7's codes of confidentiality have had several names, and without
    /// one they are meant all the same: what must not get out is rather withheld once too often.
    pub fn label(&self) -> Label {
        let system = self.system.to_ascii_lowercase();
        let oid = system.strip_prefix("urn:oid:").unwrap_or(&system);
        let is_confidentiality =
            oid == "2.16.840.1.113883.5.25" || system.contains("confidentiality");
        match self.code.as_str() {
            "R" | "V" if is_confidentiality || system.is_empty() => Label::Restricts,
            "U" | "L" | "M" | "N" if is_confidentiality => Label::Open,
            _ if is_confidentiality => Label::Unknown,
            _ => Label::Other,
        }
    }
}

impl Meta {
    /// The places of the labels of this kind.
    pub fn labelled(&self, as_one: impl Fn(Label) -> bool) -> impl Iterator<Item = usize> {
        let labels = self.security.iter().map(Coding::label).enumerate();
        labels.filter(move |(_, label)| as_one(*label)).map(|(at, _)| at)
    }
}

impl Patient {
    /// Whether the sending system restricts who may read of the patient.
    pub fn is_restricted(&self) -> bool {
        self.meta.labelled(|label| label == Label::Restricts).next().is_some()
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
    fn a_label_restricts_under_each_name_of_its_code_system() {
        let label = |system: &str, code: &str| {
            let (system, code) = (system.to_owned(), code.to_owned());
            Coding { system, code, ..Coding::default() }.label()
        };
        for system in [
            "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
            "https://terminology.hl7.org/CodeSystem/v3-Confidentiality",
            "http://terminology.hl7.org/ValueSet/v3-ConfidentialityClassification",
            "http://hl7.org/fhir/v3/Confidentiality",
            "http://hl7.org/implement/standards/fhir/v3/Confidentiality",
            "urn:oid:2.16.840.1.113883.5.25",
            "urn:OID:2.16.840.1.113883.5.25",
            "2.16.840.1.113883.5.25",
        ] {
            assert_eq!(label(system, "R"), Label::Restricts, "{system}");
            assert_eq!(label(system, "V"), Label::Restricts, "{system}");
            assert_eq!(label(system, "N"), Label::Open, "{system}");
            for unknown in ["r", "DV", ""] {
                assert_eq!(label(system, unknown), Label::Unknown, "{system} {unknown}");
            }
        }
        assert_eq!(label("", "R"), Label::Restricts, "of no system, to be on the safe side");
        assert_eq!(label("", "N"), Label::Other);
        assert_eq!(label("urn:oid:2.16.840.1.113883.5.250", "R"), Label::Other);
    }

    #[test]
    fn of_texts_that_an_extension_alone_stands_for_the_others_are_read() {
        let patient: Patient = serde_json::from_value(serde_json::json!({
            "name": [{ "given": [null, "花"], "_given": [{ "id": "g" }, null] }, { "given": [] }],
            "address": [{ "line": ["本町1", null], "_line": [null, { "id": "l" }] }],
        }))
        .unwrap();
        assert_eq!(patient.name[0].given, ["花"]);
        assert_eq!(patient.address[0].line, ["本町1"]);
        let wrong = serde_json::json!({ "name": [{ "given": [null, 7] }] });
        assert!(serde_json::from_value::<Patient>(wrong).is_err());
    }

    #[test]
    fn an_id_has_up_to_64_letters_digits_hyphens_and_points() {
        assert!(is_id("pt-03487fca7488.v2") && is_id(&"x".repeat(64)));
        for none in ["", "a b", "a/b", "あ", &"x".repeat(65)] {
            assert!(!is_id(none), "{none}");
        }
    }
}
