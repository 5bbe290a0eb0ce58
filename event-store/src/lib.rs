//! The event store: the append-only log that is the record, the embedded bus on it, and the
//! timelines and patient rows that are folded from it.
//!
//! Everything but the log can be deleted and is made again from it (I5). The only door to
//! sled is `patients`.

pub mod backup;
mod bus;
pub mod evidence;
pub mod grpc;
mod keys;
pub mod log;
pub mod patients;
mod region_file;
pub mod scrub;
pub mod store;
pub mod timeline;

pub use patients::Patients;
pub use region_file::{has_log, has_region};
pub use store::{OpenError, Store};
