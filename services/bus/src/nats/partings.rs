//! Where a slot's stream and the log parted: the stream had lost its end, and others published
//! before the log's events were there again. The log keeps what it had in front of what the
//! stream has there, and a store that is made anew from the stream has to do the same, or its
//! order, versions and times would be others. So it is written down once, for all stores.

use std::ops::RangeInclusive;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind};
use tokio::time::Instant;

use super::streams::{Identity, Streams, StreamsError, ask};
use super::{headers, layout};
use crate::stream::Slot;

/// A place at which a slot's stream and the log parted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    /// Which stream it was.
    pub identity: Identity,
    /// The first message that is another one than the log had there, and when the stream took
    /// it, in nanoseconds since 1970: if another one lies there by now, this is of the past.
    pub sequence: u64,
    pub taken_at_ns: i64,
    /// The positions that the log has in front of that message. The stream has them somewhere
    /// behind it, each marked with its position.
    pub lost: RangeInclusive<u64>,
}

impl Streams {
    /// Where a slot's stream, which is this one, parted from the log.
    pub async fn partings(
        &self,
        slot: Slot,
        identity: &Identity,
    ) -> Result<Vec<Parting>, StreamsError> {
        let (told, _last) = self.all_partings(slot).await?;
        let mut partings = Vec::new();
        for parting in told.into_iter().filter(|parting| parting.identity == *identity) {
            let kept = self.at(slot, parting.sequence).await?;
            if kept.is_some_and(|kept| kept.taken_at_ns == parting.taken_at_ns) {
                partings.push(parting);
            }
        }
        Ok(partings)
    }

    /// Writes down that a slot's stream parts from the log at a message, which is there, and has
    /// these positions in front of it. Another store may be faster, or see it otherwise: read
    /// afterwards what is there.
    pub async fn tell_parting(
        &self,
        slot: Slot,
        identity: &Identity,
        sequence: u64,
        lost: RangeInclusive<u64>,
    ) -> Result<(), StreamsError> {
        let Some(kept) = self.at(slot, sequence).await? else { return Ok(()) };
        let taken_at_ns = kept.taken_at_ns;
        let parting = Parting { identity: identity.clone(), sequence, taken_at_ns, lost };
        let (_, last) = self.all_partings(slot).await?;
        if last == 0 {
            // It may have been deleted while the server ran.
            let until = Instant::now() + self.start_wait;
            self.create(&self.partings, until).await?;
        }
        let message = PublishMessage::build()
            .headers(headers::of_parting(&parting))
            .expected_last_subject_sequence(last);
        let subject = layout::parting_subject(slot);
        let asked = |error: &dyn std::fmt::Display| ask(layout::PARTINGS, error);
        let sent = self.nats.context.send_publish(subject, message).await;
        match sent.map_err(|error| asked(&error))?.await {
            Ok(_ack) => Ok(()),
            Err(error) if super::publisher::is_conflict(&error) => Ok(()),
            Err(error) => Err(asked(&error)),
        }
    }

    /// All that were found of a slot, and the sequence of the last.
    async fn all_partings(&self, slot: Slot) -> Result<(Vec<Parting>, u64), StreamsError> {
        let subject = layout::parting_subject(slot);
        let stream = self.nats.context.get_stream_no_info(layout::PARTINGS).await;
        let stream = stream.map_err(|error| ask(layout::PARTINGS, &error))?;
        let (mut partings, mut last) = (Vec::new(), 0);
        loop {
            match stream.get_first_raw_message_by_subject(&subject, last + 1).await {
                Ok(message) => {
                    last = message.sequence;
                    partings.extend(headers::parting(&message.headers));
                }
                Err(error) if is_not_there(&error) => return Ok((partings, last)),
                Err(error) => return Err(ask(layout::PARTINGS, &error)),
            }
        }
    }
}

/// Whether there is no such message, or not even the stream.
fn is_not_there(error: &RawMessageError) -> bool {
    match error.kind() {
        RawMessageErrorKind::NoMessageFound => true,
        RawMessageErrorKind::JetStream(told) => told.error_code() == ErrorCode::STREAM_NOT_FOUND,
        RawMessageErrorKind::InvalidSubject | RawMessageErrorKind::Other => false,
    }
}
