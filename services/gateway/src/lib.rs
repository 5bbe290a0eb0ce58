//! What other systems speak, and how it becomes care events: FHIR R4 and HL7 v2.
//!
//! | door | step 1 of the way data takes |
//! |---|---|
//! | HL7 v2 over MLLP | `mllp` reads frames and answers, `hl7` reads messages, `adt` says what they mean |
//! | SS-MIX2 storages | `ssmix2` reads folders; messages are taken by `adt` |
//! | FHIR R4 over HTTP | `fhir::door` serves, takes Bundles and reads out; `fhir` says what resources mean |
//! | FHIR R4 files | `fhir` reads them; the binary's import publishes what they say |
//! | HSDS directories | `hsds` |
//!
//! What a message says is decided by the same handler as what people say at the desks. Out goes
//! `metrics`, for Prometheus.

pub mod adt;
pub mod fhir;
pub mod hl7;
pub mod hsds;
mod known;
pub mod metrics;
pub mod mllp;
pub mod person;
mod received;
mod recent;
pub mod ssmix2;
mod text;
