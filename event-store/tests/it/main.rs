//! The event store from outside: as a bus, as a log that survives, as timelines.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod backup;
mod damage;
mod evidence;
mod feed;
mod flips;
mod fuzz;
mod golden;
mod handler;
mod index;
mod model;
mod patients;
mod scrub;
mod support;
mod timelines;
