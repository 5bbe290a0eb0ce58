//! The region's bus: what it is to publish and to follow events (`port`), the one way in which
//! a command becomes events on it (`handler`), and its own door (`grpc`).
//!
//! Nothing above this crate knows which bus it is on: the embedded one, which is the event store's,
//! or NATS JetStream (`nats`).

pub mod address;
pub mod claims;
pub mod cursor;
pub mod desk;
pub mod grpc;
pub mod handler;
pub mod nats;
pub mod pages;
pub mod patients;
pub mod port;
pub mod quarantine;
mod received;
mod refusals;
pub mod region;
pub mod remote;
pub mod shards;
pub mod stored_record;
pub mod stream;
pub mod told_while_merged;
mod topics;
mod turns;

pub use cursor::Cursor;
pub use desk::Desk;
pub use handler::{Handler, Submission};
pub use port::{
    Bus, Delivery, Draft, Expected, Feed, Log, Placed, Publication, PublishError, Run, Stored,
    Unreadable,
};
pub use region::Region;
pub use remote::RemoteStore;
pub use shards::{Shard, Shards};
pub use stream::{Position, Slot, StreamId};

// For `records!`: a desk names what it records, and nothing of how.
#[doc(hidden)]
pub use tonic;
