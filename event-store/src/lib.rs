//! The event store: the append-only log that is the record, the embedded bus on it, and the
//! timelines, patient rows and boards that are folded from it.
//!
//! Everything but the log can be deleted and is made again from it (I5). The only door to
//! sled is `patients`.

pub mod backup;
pub mod boards;
mod bus;
pub mod directory;
pub mod evidence;
mod folding;
pub mod grpc;
pub mod ingest;
mod keys;
pub mod log;
mod look_alikes;
pub mod metrics;
pub mod notices;
mod partner_meetings;
pub mod patients;
pub mod records;
mod region_file;
pub mod replicas;
pub mod scrub;
pub mod service;
pub mod sharded;
pub mod store;
pub mod timeline;
pub mod troubles;

pub use patients::Patients;
pub use records::Records;
pub use region_file::{has_log, has_region, read as read_region};
pub use store::{OpenError, Store};
