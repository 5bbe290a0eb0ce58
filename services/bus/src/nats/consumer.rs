//! Reads a slot's stream in its order, from a sequence on, without a filter: a filter over a
//! large stream is ten times slower.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_nats::jetstream::Message as Delivered;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use futures_util::Stream as _;

use super::headers::{self, Incoming, Message};
use super::layout;
use super::streams::Streams;
use crate::stream::Slot;

/// Why a slot's stream cannot be read on. Begin again, where it was stored to.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// Messages are missing, or came twice.
    #[error("{name} should go on with message {expected}, and goes on with {found}")]
    Gap { name: String, expected: u64, found: u64 },
    #[error("{name} cannot be read: {told}")]
    Broken { name: String, told: String },
}

/// A reader of one slot's stream at its place.
pub struct SlotReader {
    slot: Slot,
    slots: u16,
    messages: Ordered,
    /// The sequence that comes next.
    next: u64,
    /// Came, and were not handed over yet.
    waiting: VecDeque<Incoming>,
    /// How much these are.
    bytes: usize,
}

/// After the reader's silence the server forgets it.
const PULL_WAIT: Duration = Duration::from_secs(30);

impl SlotReader {
    pub(crate) async fn open(
        streams: &Streams,
        slot: Slot,
        from: u64,
    ) -> Result<Self, ReaderError> {
        let name = layout::stream_name(slot);
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            max_expires: PULL_WAIT,
            ..OrderedConfig::default()
        };
        let broken = |told: &dyn std::fmt::Display| ReaderError::Broken {
            name: name.clone(),
            told: told.to_string(),
        };
        let consumer = streams.nats.context.create_consumer_on_stream(config, &name).await;
        let consumer = consumer.map_err(|error| broken(&error))?;
        let messages = consumer.messages().await.map_err(|error| broken(&error))?;
        let (slots, next) = (streams.slots, from.max(1));
        Ok(Self { slot, slots, messages, next, waiting: VecDeque::new(), bytes: 0 })
    }

    /// What comes next, as many as are there, up to so many messages or bytes; waits for the
    /// first. The messages of one publication come together. Cancelling the wait loses nothing.
    pub async fn next(
        &mut self,
        messages_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Incoming>, ReaderError> {
        loop {
            let is_in_batch = self.waiting.back().is_some_and(|last| !last.is_last);
            let is_enough = self.waiting.len() >= messages_max || self.bytes >= bytes_max;
            if is_enough && !is_in_batch {
                break;
            }
            let must_wait = self.waiting.is_empty() || is_in_batch;
            match self.poll_message(must_wait).await {
                Some(message) => self.take(message?)?,
                None => break,
            }
        }
        self.bytes = 0;
        Ok(self.waiting.drain(..).collect())
    }

    /// The next message; none if it is not there and is not waited for.
    async fn poll_message(&mut self, waits: bool) -> Option<Result<Delivered, ReaderError>> {
        let polled = poll_fn(|context| match Pin::new(&mut self.messages).poll_next(context) {
            Poll::Ready(message) => Poll::Ready(Some(message)),
            Poll::Pending if waits => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        });
        let message = polled.await?;
        Some(match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Err(self.broken(&"the subscription ended")),
        })
    }

    fn take(&mut self, delivered: Delivered) -> Result<(), ReaderError> {
        let info = delivered.info().map_err(|error| self.broken(&error))?;
        let sequence = info.stream_sequence;
        if sequence != self.next {
            let name = layout::stream_name(self.slot);
            return Err(ReaderError::Gap { name, expected: self.next, found: sequence });
        }
        self.next += 1;
        let taken_at_us = i64::try_from(info.published.unix_timestamp_nanos() / 1000);
        let is_last_of_all = info.pending == 0;
        let async_nats::Message { subject, headers, payload: body, .. } = delivered.message;
        let message = Message { subject, headers, body };
        let headers = message.headers.as_ref();
        let is_last = is_last_of_all || !headers::is_in_batch(headers);
        let recorded_at_us = headers::recorded_at_us(headers, taken_at_us.unwrap_or(0));
        let what = headers::read(&message.raw(), self.slot, self.slots);
        self.bytes += message.bytes();
        self.waiting.push_back(Incoming { sequence, recorded_at_us, is_last, what, message });
        Ok(())
    }

    fn broken(&self, told: &dyn std::fmt::Display) -> ReaderError {
        ReaderError::Broken { name: layout::stream_name(self.slot), told: told.to_string() }
    }
}
