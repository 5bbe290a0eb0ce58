//! Messages of a stream that are stored together.

use tsunagi_bus::nats::Message;

use crate::log::writer::Taken;

/// What is stored of a message, and the message itself.
pub(super) struct Coming {
    pub(super) taken: Taken,
    pub(super) sequence: u64,
    pub(super) message: Message,
    /// Bytes that it may take.
    pub(super) bytes: usize,
}

/// Events that are stored together.
#[derive(Default)]
pub(super) struct Append {
    pub(super) first_n: Option<u64>,
    pub(super) events: Vec<Coming>,
    pub(super) bytes: usize,
}

impl Append {
    pub(super) fn push(&mut self, n: u64, coming: Coming) {
        self.first_n.get_or_insert(n);
        self.bytes += coming.bytes;
        self.events.push(coming);
    }

    pub(super) fn into_events(self) -> impl Iterator<Item = (u64, Coming)> {
        (self.first_n.unwrap_or(1)..).zip(self.events)
    }
}
