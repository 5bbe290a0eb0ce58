//! What other systems speak, and how it becomes care events. Today: FHIR R4 files.

pub mod fhir;
