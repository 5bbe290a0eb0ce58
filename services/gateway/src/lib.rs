//! What other systems speak, and how it becomes care events: FHIR R4 and HL7 v2.

pub mod fhir;
pub mod hl7;
