//! What the door can do, for machines: the `CapabilityStatement`.

use serde_json::{Value, json};

use crate::fhir::resource::read_of;

/// The types that can be read and searched, and by which parameters.
pub(super) const TYPES: [(&str, &[(&str, &str)]); 5] = [
    (
        "Patient",
        &[
            ("_id", "token"),
            ("identifier", "token"),
            ("family", "string"),
            ("given", "string"),
            ("name", "string"),
            ("birthdate", "date"),
            ("gender", "token"),
        ],
    ),
    (
        "Encounter",
        &[
            ("_id", "token"),
            ("patient", "reference"),
            ("subject", "reference"),
            ("status", "token"),
            ("class", "token"),
            ("date", "date"),
        ],
    ),
    ("CareTeam", &[("_id", "token"), ("patient", "reference"), ("subject", "reference")]),
    (
        "ServiceRequest",
        &[
            ("_id", "token"),
            ("patient", "reference"),
            ("subject", "reference"),
            ("status", "token"),
        ],
    ),
    (
        "Task",
        &[
            ("_id", "token"),
            ("patient", "reference"),
            ("subject", "reference"),
            ("status", "token"),
        ],
    ),
];

pub(super) fn statement(base: &str) -> Value {
    let resource = |(kind, parameters): &(&str, &[(&str, &str)])| {
        let parameter = |(name, kind): &(&str, &str)| json!({ "name": name, "type": kind });
        let mut resource = json!({
            "type": kind,
            "interaction": [{ "code": "read" }, { "code": "search-type" }],
            "searchParam": parameters.iter().map(parameter).collect::<Vec<_>>(),
        });
        let read = read_of(kind);
        if !read.is_empty() {
            let kept = format!(
                "Of what is posted in a Bundle, these elements are used: {}. Others are not kept, and the answer names them.",
                read.join(", ")
            );
            if let Some(resource) = resource.as_object_mut() {
                resource.insert("documentation".to_owned(), json!(kept));
            }
        }
        if let (Some(resource), "Patient") = (resource.as_object_mut(), *kind) {
            let everything = "http://hl7.org/fhir/OperationDefinition/Patient-everything";
            let operation = json!([{ "name": "everything", "definition": everything }]);
            resource.insert("operation".to_owned(), operation);
        }
        resource
    };
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-22",
        "kind": "instance",
        "software": { "name": "Tsunagi", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": "A region's shared timelines", "url": base },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{
            "mode": "server",
            "resource": TYPES.iter().map(resource).collect::<Vec<_>>(),
            "interaction": [{ "code": "transaction" }, { "code": "batch" }],
            "operation": [{
                "name": "process-message",
                "definition": "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message",
            }],
        }],
    })
}
