//! The FHIR R4 door: Bundles in (`bundle`, `intake`), patients out (`chart`, `emit`, `search`),
//! and what it can do (`capability`). Every error is an `OperationOutcome` (`outcome`).

mod bundle;
mod capability;
mod chart;
mod emit;
mod intake;
mod outcome;
mod search;
mod server;

pub use server::{DoorError, Server};
