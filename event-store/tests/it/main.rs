//! The event store from outside: as a bus, as a log that survives, as timelines.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod damage;
mod feed;
mod flips;
mod handler;
mod index;
mod model;
mod patients;
mod support;
mod timelines;
