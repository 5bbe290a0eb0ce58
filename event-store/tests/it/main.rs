//! The event store from outside: as a bus, as a log that survives, as timelines.

mod damage;
mod feed;
mod handler;
mod model;
mod patients;
mod support;
mod timelines;
