//! The FHIR R4 door: Bundles in (`bundle`, `intake`), patients out (`chart`, `emit`, `search`),
//! what is kept of what came in (`kept`), and what the door can do (`capability`). Every error is an
//! `OperationOutcome` (`outcome`), in the words of what was sent (`fields`).

mod bundle;
mod capability;
mod chart;
mod emit;
mod fields;
mod intake;
mod kept;
mod outcome;
mod search;
mod server;

pub use kept::{Elements, Kept, Remark};
pub use server::{DoorError, Server};
