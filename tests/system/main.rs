//! The real binary from outside: through gRPC and the command line, with `kill -9`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::too_many_lines,
    reason = "a test that fails says so by panicking"
)]

mod authority;
mod backup;
mod boards;
mod bus;
mod codes;
mod corrections;
mod crash;
mod deaths;
mod desks;
mod directory;
mod disk_full;
mod documents;
mod evidence;
mod export;
mod faulty_disk;
mod fhir;
mod fhir_kept;
mod fhir_record;
mod fhir_said;
mod fhir_versions;
mod hl7_cancels;
mod hl7_moves;
mod hl7_news;
mod hl7_record;
mod hl7_triggers;
mod hl7_under_way;
mod hl7_visits;
mod hsds;
mod import;
mod merges;
mod metrics;
mod mllp;
mod mllp_frames;
mod moved;
mod nats;
#[path = "../nats/servers.rs"]
mod nats_servers;
mod newer;
mod odd_exports;
mod odd_feeds;
mod partner_meetings;
mod reads;
mod reasons;
mod refusals;
mod reimports;
mod rpcs;
mod scenarios;
mod shards;
mod shared_data;
mod simulate;
mod ssmix2;
mod stories;
mod support;
mod timeline;
mod traffic;
mod up;
