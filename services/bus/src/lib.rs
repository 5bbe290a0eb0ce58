//! The region's bus: what it is to publish and to follow events (`port`), the one way in which
//! a command becomes events on it (`handler`), and its own door (`grpc`).
//!
//! Nothing above this crate knows which bus it is on. The embedded bus is the event store's.

pub mod address;
pub mod claims;
pub mod cursor;
pub mod desk;
pub mod grpc;
pub mod handler;
pub mod patients;
pub mod port;
pub mod quarantine;
mod refusals;
pub mod region;
pub mod stream;

pub use cursor::Cursor;
pub use desk::Desk;
pub use handler::{Handler, Submission};
pub use port::{Bus, Delivery, Draft, Expected, Feed, Placed, Publication, PublishError, Stored};
pub use region::Region;
pub use stream::{Position, Slot, StreamId};
