//! HL7 v2 over MLLP: frames in (`frame`), messages taken by `adt`, answers out (`answer`).
//!
//! What must stay true: a message is acknowledged when what it says is durable (I2), and every
//! answer is that of the message whose control id it names. The messages of one connection are
//! taken one after the other, in their order.

mod answer;
mod certificate;
mod frame;
mod patience;
mod server;
mod tls;

pub use answer::answers;
pub use frame::{Frame, Frames, framed};
pub use server::{MllpError, Server};
