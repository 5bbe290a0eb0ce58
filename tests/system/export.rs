//! A FHIR export as a hospital would make it, written by the tests themselves.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

/// How many patients an export has.
pub(crate) struct Export {
    pub(crate) patients: usize,
}

impl Export {
    /// Writes the export into `folder`, one file for each type of resource.
    pub(crate) fn write(&self, folder: &Path) {
        let numbers = || 0..self.patients;
        write(folder, "Patient", numbers().map(patient));
        write(folder, "Encounter", numbers().flat_map(encounters));
        write(folder, "CareTeam", numbers().map(care_team));
        write(folder, "Organization", organizations().into_iter());
        write(folder, "Location", locations().into_iter());
        write(folder, "Practitioner", [practitioner()].into_iter());
        write(folder, "Condition", numbers().map(|number| {
            json!({ "resourceType": "Condition", "id": format!("c{number}"), "code": { "text": "肺炎" } })
        }));
    }
}

fn write(folder: &Path, name: &str, resources: impl Iterator<Item = Value>) {
    let mut lines = String::new();
    for resource in resources {
        writeln!(lines, "{resource}").unwrap();
    }
    std::fs::write(folder.join(format!("{name}.ndjson")), lines).unwrap();
}

pub(crate) fn patient(number: usize) -> Value {
    let script = |code: &str| {
        let url = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";
        json!([{ "url": url, "valueCode": code }])
    };
    json!({
        "resourceType": "Patient",
        "id": format!("p{number}"),
        "meta": { "lastUpdated": "2026-01-01T00:00:00+09:00" },
        "identifier": [{ "system": "urn:oid:1.2.392.100495.20.3.51.1", "value": format!("MR{number:05}") }],
        "name": [
            { "family": "髙橋", "given": [format!("花{number}")], "extension": script("IDE") },
            { "family": "タカハシ", "given": ["ハナ"], "extension": script("SYL") },
        ],
        "gender": "female",
        "birthDate": "1938-04-02",
    })
}

/// An outpatient visit; and for every second patient, an emergency that became a stay.
pub(crate) fn encounters(number: usize) -> Vec<Value> {
    let encounter = |id: String, class: &str, start: &str, end: &str| {
        json!({
            "resourceType": "Encounter",
            "id": id,
            "status": "finished",
            "class": { "code": class },
            "subject": { "reference": format!("Patient/p{number}") },
            "period": { "start": start, "end": end },
            "serviceProvider": { "reference": "Organization/internal" },
            "reasonCode": [{ "text": "肺炎" }],
        })
    };
    let (day, next) = (format!("2026-02-{:02}", number % 20 + 1), "2026-03-05T10:00:00+09:00");
    let visit = encounter(
        format!("v{number}"),
        "AMB",
        &format!("{day}T09:00:00+09:00"),
        &format!("{day}T09:20:00+09:00"),
    );
    if number % 2 == 1 {
        return vec![visit];
    }
    let (came, stayed) = (format!("{day}T20:00:00+09:00"), format!("{day}T22:30:00+09:00"));
    let emergency = encounter(format!("e{number}"), "EMER", &came, &stayed);
    let mut stay = encounter(format!("s{number}"), "IMP", &stayed, next);
    stay["partOf"] = json!({ "reference": format!("Encounter/e{number}") });
    stay["location"] = json!([
        { "location": { "reference": "Location/bed-1" } },
        { "location": { "reference": "Location/ward-4e" } },
    ]);
    stay["hospitalization"] = json!({
        "admitSource": { "text": "救急外来より入院", "coding": [{ "code": "emd" }] },
        "dischargeDisposition": { "text": "自宅退院", "coding": [{ "code": "home" }] },
    });
    // The stay stands before the emergency that it continues.
    vec![stay, visit, emergency]
}

fn care_team(number: usize) -> Value {
    json!({
        "resourceType": "CareTeam",
        "id": format!("t{number}"),
        "subject": { "reference": format!("Patient/p{number}") },
        "encounter": { "reference": format!("Encounter/v{number}") },
        "period": { "start": "2026-02-01T09:00:00+09:00" },
        "participant": [{
            "role": [{ "text": "医師" }],
            "member": { "reference": "Practitioner/dr-1" },
        }],
        "managingOrganization": [{ "reference": "Organization/hospital" }],
    })
}

fn organizations() -> Vec<Value> {
    let number = json!([{
        "system": "http://jpfhir.jp/fhir/core/IdSystem/insurance-medical-institution-no",
        "value": "0810112345",
    }]);
    vec![
        json!({
            "resourceType": "Organization", "id": "internal", "name": "内科",
            "partOf": { "reference": "Organization/hospital" },
        }),
        json!({
            "resourceType": "Organization", "id": "hospital", "name": "つなぎ中央病院",
            "identifier": number,
        }),
    ]
}

fn locations() -> Vec<Value> {
    let location = |id: &str, name: &str, kind: &str| {
        json!({
            "resourceType": "Location", "id": id, "name": name,
            "physicalType": { "coding": [{ "code": kind }] },
        })
    };
    vec![location("ward-4e", "4E病棟", "wa"), location("bed-1", "401-1", "bd")]
}

fn practitioner() -> Value {
    json!({
        "resourceType": "Practitioner", "id": "dr-1",
        "name": [{ "family": "徳永", "given": ["浩"] }],
    })
}
