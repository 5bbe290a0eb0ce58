//! The event store from outside: as a bus, as a log that survives, as timelines.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod backup;
mod conformance;
mod damage;
mod evidence;
mod feed;
mod feed_damage;
mod flips;
mod fuzz;
mod glances;
mod golden;
mod handler;
mod index;
mod interposed;
mod merges;
mod model;
mod moves;
#[path = "../../../tests/nats/cluster.rs"]
mod nats_cluster;
mod nats_edges;
mod nats_faults;
mod nats_history;
mod nats_notify;
#[path = "../../../tests/nats/proxy.rs"]
mod nats_proxy;
#[path = "../../../tests/nats/servers.rs"]
mod nats_servers;
mod patients;
mod permutations;
mod persons;
mod scrub;
mod support;
mod timelines;
