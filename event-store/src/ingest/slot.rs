//! One slot: reads its stream from where the log ends, and stores what comes.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tsunagi_bus::nats::{Incoming, What};
use tsunagi_bus::{Position, Run, Slot, Stored};

use super::records::{agrees, repeated, unreadable};
use super::standing::Standing;
use super::streams_file::Source;
use super::{IngestError, Shared};
use crate::log::frame::{HEADER_BYTES, RECORD_BYTES_MAX, Sealed};
use crate::log::writer::{Entry, Taken};
use crate::troubles::Trouble;

/// After a failure; each further one in a row waits twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// So many failures in a row, and the slot counts as stopped.
const FAILURES: u32 = 3;

/// Before it is believed that a stream has lost messages.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) struct SlotTask {
    shared: Shared,
    slot: Slot,
    pause: Duration,
    /// In a row.
    failures: u32,
    /// The event with which the stream was compared last.
    compared: Option<Stored>,
}

impl SlotTask {
    pub(super) fn new(shared: Shared, slot: Slot) -> Self {
        Self { shared, slot, pause: RETRY_AFTER, failures: 0, compared: None }
    }

    /// Follows the stream for ever. Whatever stops it, it begins again where the log ends.
    pub(super) async fn run(mut self) {
        loop {
            match self.follow().await {
                Ok(()) => self.pause = RETRY_AFTER,
                Err(error) => {
                    tracing::warn!(slot = self.slot.0, %error, "a stream is read again");
                    self.failed();
                    sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(RETRY_AFTER_MAX);
                }
            }
        }
    }

    /// Health says of a slot that stays stopped that it is, until it goes on.
    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let trouble = Trouble::Stopped(self.slot);
        if self.failures >= FAILURES && self.shared.store.troubles().begin(trouble) {
            tracing::error!(slot = self.slot.0, "a slot is not taken in");
        }
    }

    fn goes_on(&mut self) {
        self.pause = RETRY_AFTER;
        self.failures = 0;
        if self.shared.store.troubles().end(&Trouble::Stopped(self.slot)) {
            tracing::info!(slot = self.slot.0, "the slot is taken in again");
        }
    }

    /// Reads until there is something to look at anew.
    async fn follow(&mut self) -> Result<(), IngestError> {
        let mut connected = self.shared.streams.watch_connected();
        connected.mark_unchanged();
        let Some((source, next)) = self.begin().await? else { return Ok(()) };
        let mut reader = self.shared.streams.read(self.slot, next).await?;
        let every = self.shared.limits.check_every;
        let mut check = interval_at(Instant::now() + every, every);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let limits = self.shared.limits;
        let mut before = None;
        loop {
            tokio::select! {
                // Each may be cancelled: what the reader has is kept, the others are only
                // waited for.
                messages = reader.next(limits.messages, limits.bytes) => {
                    self.take_in(&source.run, messages?).await?;
                    self.goes_on();
                }
                _ = check.tick() => {
                    before = Some(self.check(&source, before).await?);
                    self.goes_on();
                }
                _ = connected.changed() => return Ok(()),
            }
        }
    }

    /// Finds out where to go on. None if that is to be found out anew.
    async fn begin(&mut self) -> Result<Option<(Source, u64)>, IngestError> {
        let mut standing = self.shared.standing(self.slot).await?;
        if !matches!(standing, Standing::Same { .. }) {
            // A server that has just become the stream's leader may not tell of all that it has.
            sleep(LOOK_AGAIN_AFTER).await;
            standing = self.shared.standing(self.slot).await?;
        }
        let (mut source, next) = match standing {
            Standing::Same { source, next } => (source, next),
            Standing::Parted { source, next } => {
                tracing::error!(
                    slot = self.slot.0,
                    positions = ?source.again,
                    sequence = next,
                    "the stream on NATS has other messages than the log was made from: both are kept, and what it may lack is published again. The stream has another order from now on: make further stores from a backup of this one"
                );
                (source, next)
            }
            Standing::Behind { source, lacks } => {
                tracing::warn!(
                    slot = self.slot.0,
                    from_position = lacks.start(),
                    to_position = lacks.end(),
                    "the stream on NATS lacks events of the log: they are published again"
                );
                self.note(&source).await?;
                let behind = vec![(self.slot, source.run, lacks)];
                self.shared.publish_behind(behind).await?;
                return Ok(None);
            }
        };
        self.note(&source).await?;
        if let Some(again) = source.again.take() {
            self.shared.publish_lost(self.slot, again).await?;
            self.note(&source).await?;
        }
        Ok(Some((source, next)))
    }

    /// Notes the source durably, and lets publishers know.
    async fn note(&self, source: &Source) -> Result<(), IngestError> {
        self.shared.note(vec![(self.slot, source.clone())]).await?;
        let place = usize::from(self.slot.0);
        self.shared.store.runs().send_if_modified(|runs| match runs.get_mut(place) {
            Some(run) if *run != Some(source.run) => {
                *run = Some(source.run);
                true
            }
            Some(_) | None => false,
        });
        Ok(())
    }

    /// Makes sure that the stream is still the one that the log was made from, and that its
    /// messages come: the server on which its reader was may be gone.
    async fn check(&mut self, source: &Source, before: Option<Seen>) -> Result<Seen, IngestError> {
        let state = self.shared.streams.state(self.slot).await?;
        let position = Position { slot: self.slot, n: self.shared.store.durable_n(self.slot) };
        let stored = source.run.sequence_of(position.n).unwrap_or(source.run.sequence - 1);
        let is_same = state.identity == source.identity && state.last >= stored;
        if !is_same || !self.has_last(source, position).await? {
            return Err(IngestError::Changed(self.slot.0));
        }
        if before.is_some_and(|before| before.stored == stored && before.last > stored) {
            return Err(IngestError::Silent(self.slot.0));
        }
        Ok(Seen { stored, last: state.last })
    }

    /// Whether the stream has the message that the slot's last event was stored from.
    async fn has_last(&mut self, source: &Source, last: Position) -> Result<bool, IngestError> {
        let Some(sequence) = source.run.sequence_of(last.n).filter(|_| last.n > 0) else {
            return Ok(true);
        };
        // A slot that is quiet for long has its last event in a segment that is long sealed, and
        // the way there is not to be gone each time.
        if self.compared.as_ref().is_none_or(|compared| compared.placed.position != last) {
            self.compared = self.shared.stored_at(last).await?;
        }
        let kept = self.shared.streams.at(self.slot, sequence).await?;
        Ok(self.compared.as_ref().zip(kept).is_some_and(|(stored, kept)| agrees(stored, &kept)))
    }

    /// Stores messages, those of one publication together.
    async fn take_in(&self, run: &Run, messages: Vec<Incoming>) -> Result<(), IngestError> {
        let limit = self.shared.limits.append_bytes;
        let mut append = Append::default();
        let mut publication = Append::default();
        for message in messages {
            let is_last = message.is_last;
            let Some(n) = run.n_of(message.sequence) else {
                return Err(IngestError::Changed(self.slot.0));
            };
            publication.push(n, self.taken(n, message).await);
            if !is_last && publication.bytes <= limit {
                continue;
            }
            if append.bytes + publication.bytes > limit {
                self.store(std::mem::take(&mut append)).await?;
            }
            // One that is larger than a segment becomes visible in parts.
            for (n, taken) in std::mem::take(&mut publication).into_events() {
                if append.bytes + taken.entry.frame_bytes() > limit {
                    self.store(std::mem::take(&mut append)).await?;
                }
                append.push(n, taken);
            }
        }
        for (n, taken) in publication.into_events() {
            append.push(n, taken);
        }
        self.store(append).await
    }

    async fn store(&self, append: Append) -> Result<(), IngestError> {
        let Some(first_n) = append.first_n else { return Ok(()) };
        let stored = self.shared.store.take_in(self.slot, first_n, append.taken, repeated);
        Ok(stored.await?)
    }

    /// What is stored of a message.
    async fn taken(&self, n: u64, message: Incoming) -> Taken {
        let limit = self.shared.limits.append_bytes.saturating_sub(HEADER_BYTES);
        let limit = limit.min(RECORD_BYTES_MAX);
        let (reason, raw) = match message.what {
            What::Event { stream, event, record } if record.len() <= limit => {
                let entry = Entry { event: event.uuid().into_bytes(), sealed: Sealed::new(record) };
                let stream = stream.to_parts();
                return Taken { stream, recorded_at_us: message.recorded_at_us, entry };
            }
            What::Event { record, .. } => ("it is larger than a file of the log", record),
            What::Unreadable { reason, raw } => (reason, raw),
        };
        tracing::warn!(
            slot = self.slot.0,
            sequence = message.sequence,
            reason,
            "a message on NATS cannot be read, and goes to quarantine"
        );
        // Told first: once it is stored, it is not looked at again.
        let streams = &self.shared.streams;
        streams.tell_dead_letter(self.slot, message.sequence, reason, raw.clone()).await;
        let of = (message.sequence, reason, raw);
        unreadable(self.slot, n, message.recorded_at_us, of, limit)
    }
}

/// How far a stream was, and its slot in the log, when they were last looked at.
#[derive(Clone, Copy)]
struct Seen {
    stored: u64,
    last: u64,
}

/// Events that are stored together.
#[derive(Default)]
struct Append {
    first_n: Option<u64>,
    taken: Vec<Taken>,
    bytes: usize,
}

impl Append {
    fn push(&mut self, n: u64, taken: Taken) {
        self.first_n.get_or_insert(n);
        self.bytes += taken.entry.frame_bytes();
        self.taken.push(taken);
    }

    fn into_events(self) -> impl Iterator<Item = (u64, Taken)> {
        (self.first_n.unwrap_or(1)..).zip(self.taken)
    }
}
