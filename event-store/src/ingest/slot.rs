//! One slot: reads its stream from where the log ends, and stores what comes.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tsunagi_bus::nats::{Incoming, What};
use tsunagi_bus::{Position, Run, Slot, Stored};

use super::append::{Append, Coming};
use super::records::{NOTE_BYTES, again, agrees, unreadable};
use super::standing::Standing;
use super::streams_file::Source;
use super::{IngestError, Shared};
use crate::log::frame::{HEADER_BYTES, RECORD_BYTES_MAX, Sealed};
use crate::log::writer::{Entry, Repeat, Taken};
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
    /// Whether the log was told that the slot is stopped.
    is_told: bool,
    /// The event with which the stream was compared last.
    compared: Option<Stored>,
}

impl SlotTask {
    pub(super) fn new(shared: Shared, slot: Slot) -> Self {
        Self { shared, slot, pause: RETRY_AFTER, failures: 0, is_told: false, compared: None }
    }

    /// Follows the stream for ever. Whatever stops it, it begins again where the log ends.
    pub(super) async fn run(mut self) {
        loop {
            match self.follow().await {
                Ok(()) => self.pause = RETRY_AFTER,
                Err(error) => {
                    self.failed(&error);
                    sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(RETRY_AFTER_MAX);
                }
            }
        }
    }

    /// Health says of a slot that stays stopped that it is, until it goes on. The log is told
    /// once, and of no slot that NATS does not answer: of the connection, it is told already.
    fn failed(&mut self, error: &IngestError) {
        self.failures = self.failures.saturating_add(1);
        let is_connected = *self.shared.streams.watch_link().borrow();
        tracing::debug!(slot = self.slot.0, %error, "a stream is read again");
        if self.failures < FAILURES {
            return;
        }
        self.shared.store.troubles().begin(Trouble::Stopped(self.slot));
        if is_connected && !std::mem::replace(&mut self.is_told, true) {
            tracing::error!(slot = self.slot.0, %error, "a slot is not taken in");
        }
    }

    fn goes_on(&mut self) {
        self.pause = RETRY_AFTER;
        self.failures = 0;
        self.shared.store.troubles().end(&Trouble::Stopped(self.slot));
        if std::mem::take(&mut self.is_told) {
            tracing::info!(slot = self.slot.0, "the slot is taken in again");
        }
    }

    /// Reads until there is something to look at anew.
    async fn follow(&mut self) -> Result<(), IngestError> {
        let mut connected = self.shared.streams.watch_connected();
        connected.mark_unchanged();
        let Some(Begun { source, next, until }) = self.begin().await? else { return Ok(()) };
        let mut reader = self.shared.streams.read(self.slot, next).await?;
        let every = self.shared.limits.check_every;
        let mut check = interval_at(Instant::now() + every, every);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let limits = self.shared.limits;
        let mut before: Option<LastLook> = None;
        loop {
            tokio::select! {
                // Each may be cancelled: what the reader has is kept, the others are only
                // waited for.
                messages = reader.next(limits.messages, limits.bytes) => {
                    let mut messages = messages?;
                    let ahead = messages.iter().position(|message| Some(message.sequence) == until);
                    messages.truncate(ahead.unwrap_or(messages.len()));
                    self.take_in(&source.run, messages).await?;
                    self.goes_on();
                    if ahead.is_some() {
                        return Ok(());
                    }
                }
                _ = check.tick() => {
                    let seen = self.check(&source, before).await?;
                    // That messages are there is not that they come.
                    if seen.last == seen.stored || before.is_some_and(|it| it.stored < seen.stored) {
                        self.goes_on();
                    }
                    before = Some(seen);
                }
                _ = connected.changed() => return Ok(()),
            }
        }
    }

    /// Finds out where to go on. None if that is to be found out anew.
    async fn begin(&mut self) -> Result<Option<Begun>, IngestError> {
        let mut standing = self.shared.standing(self.slot).await?;
        if !matches!(standing, Standing::Same { .. }) {
            // A server that has just become the stream's leader may not tell of all that it has.
            sleep(LOOK_AGAIN_AFTER).await;
            standing = self.shared.standing(self.slot).await?;
        }
        match standing {
            Standing::Same { source, next, until } => self.go_on(source, next, until).await,
            Standing::Untold { identity, sequence, lost } => {
                let streams = &self.shared.streams;
                streams.tell_parting(self.slot, &identity, sequence, lost).await?;
                Ok(None)
            }
            Standing::Parted { source, next } => {
                tracing::error!(
                    slot = self.slot.0,
                    positions = ?source.again,
                    sequence = next,
                    "the stream on NATS has other messages than the log was made from: both are kept, and what it may lack is published again"
                );
                self.go_on(source, next, None).await
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
                let carried = self.shared.publish_behind(behind).await?;
                carried.unreadable.map_or(Ok(None), Err)
            }
            Standing::Before { source, lacks } => {
                self.take_in_before(&source, lacks).await?;
                self.note(&source).await?;
                Ok(None)
            }
            Standing::Lost { source, lost } if self.shared.limits.accepts_lost => {
                tracing::error!(
                    slot = self.slot.0,
                    from_sequence = lost.start(),
                    to_sequence = lost.end(),
                    "messages are lost, as was accepted: the slot goes on behind them"
                );
                let next = source.run.sequence;
                self.go_on(source, next, None).await
            }
            Standing::Lost { lost, .. } => {
                let (from, to) = lost.into_inner();
                Err(IngestError::Lost { slot: self.slot.0, from, to })
            }
        }
    }

    async fn go_on(
        &self,
        mut source: Source,
        next: u64,
        until: Option<u64>,
    ) -> Result<Option<Begun>, IngestError> {
        self.note(&source).await?;
        if let Some(again) = source.again.take() {
            self.shared.publish_lost(self.slot, again).await?;
            self.note(&source).await?;
        }
        Ok(Some(Begun { source, next, until }))
    }

    /// Stores what another store has in front of the message with which the source's run begins,
    /// and has published again behind it.
    async fn take_in_before(
        &self,
        source: &Source,
        lacks: RangeInclusive<u64>,
    ) -> Result<(), IngestError> {
        let parting = source.run.sequence;
        // Of what lies in the stream from there on, nothing is stored before this ends.
        self.tell(source.run);
        let mut reader = self.shared.streams.read(self.slot, parting).await?;
        let (limits, mut next) = (self.shared.limits, *lacks.start());
        while lacks.contains(&next) {
            let messages = reader.next(limits.messages, limits.bytes);
            let Ok(messages) = timeout(limits.check_every, messages).await else {
                return Err(IngestError::Missing { slot: self.slot.0, n: next });
            };
            let mut append = Append::default();
            for message in messages? {
                if message.position_before(parting) != Some(next) {
                    continue;
                }
                let coming = self.coming(next, message).await;
                if append.bytes + coming.bytes > limits.append_bytes {
                    self.store(std::mem::take(&mut append)).await?;
                }
                append.push(next, coming);
                next += 1;
            }
            self.store(append).await?;
        }
        Ok(())
    }

    /// Notes the source durably, and lets publishers know.
    async fn note(&self, source: &Source) -> Result<(), IngestError> {
        self.shared.note(vec![(self.slot, source.clone())]).await?;
        self.tell(source.run);
        Ok(())
    }

    /// Lets publishers know where the messages of the stream are stored.
    fn tell(&self, run: Run) {
        let place = usize::from(self.slot.0);
        self.shared.store.runs().send_if_modified(|runs| match runs.get_mut(place) {
            Some(known) if *known != Some(run) => {
                *known = Some(run);
                true
            }
            Some(_) | None => false,
        });
    }

    /// Makes sure that the stream is still the one that the log was made from, and that its
    /// messages come: the server on which its reader was may be gone.
    async fn check(
        &mut self,
        source: &Source,
        before: Option<LastLook>,
    ) -> Result<LastLook, IngestError> {
        let state = self.shared.streams.state(self.slot).await?;
        let position = Position { slot: self.slot, n: self.shared.store.durable_n(self.slot) };
        let stored = source.run.sequence_of(position.n).unwrap_or(source.run.sequence - 1);
        let is_same = state.identity == source.identity && state.last >= stored;
        // Of a message that the stream has lost since, nobody can tell.
        let is_there = stored < state.first || self.has_last(source, position).await?;
        if !is_same || !is_there {
            return Err(IngestError::Changed(self.slot.0));
        }
        if before.is_some_and(|before| before.stored == stored && before.last > stored) {
            return Err(IngestError::Silent(self.slot.0));
        }
        Ok(LastLook { stored, last: state.last })
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
            publication.push(n, self.coming(n, message).await);
            if !is_last && publication.bytes <= limit {
                continue;
            }
            if append.bytes + publication.bytes > limit {
                self.store(std::mem::take(&mut append)).await?;
            }
            // One that is larger than a segment becomes visible in parts.
            for (n, coming) in std::mem::take(&mut publication).into_events() {
                if append.bytes + coming.bytes > limit {
                    self.store(std::mem::take(&mut append)).await?;
                }
                append.push(n, coming);
            }
        }
        for (n, coming) in publication.into_events() {
            append.push(n, coming);
        }
        self.store(append).await
    }

    async fn store(&self, append: Append) -> Result<(), IngestError> {
        let Some(first_n) = append.first_n else { return Ok(()) };
        let split = |coming: Coming| (coming.taken, (coming.sequence, coming.message));
        let (taken, messages): (Vec<_>, Vec<_>) = append.events.into_iter().map(split).unzip();
        let (slot, limit) = (self.slot, self.record_bytes_max());
        let note =
            move |repeat: Repeat<'_>| again(slot, &repeat, messages.get(repeat.index), limit);
        Ok(self.shared.store.take_in(self.slot, first_n, taken, Box::new(note)).await?)
    }

    fn record_bytes_max(&self) -> usize {
        let limit = self.shared.limits.append_bytes.saturating_sub(HEADER_BYTES);
        limit.min(RECORD_BYTES_MAX)
    }

    /// A message as it is stored, unless its event is stored already.
    async fn coming(&self, n: u64, message: Incoming) -> Coming {
        let Incoming { sequence, recorded_at_us, what, message, .. } = message;
        let limit = self.record_bytes_max();
        let taken = match what {
            What::Event { stream, event, record } if record.len() <= limit => {
                let entry = Entry { event: event.uuid().into_bytes(), sealed: Sealed::new(record) };
                Taken { stream: stream.to_parts(), recorded_at_us, entry }
            }
            What::Event { .. } => {
                let reason = "it is larger than a file of the log";
                self.quarantined(n, recorded_at_us, (sequence, reason, message.to_bytes())).await
            }
            What::Unreadable { reason } => {
                self.quarantined(n, recorded_at_us, (sequence, reason, message.to_bytes())).await
            }
        };
        // Or else a note is stored, which may keep all of it.
        let noted = (HEADER_BYTES + NOTE_BYTES + message.bytes()).min(HEADER_BYTES + limit);
        let bytes = taken.entry.frame_bytes().max(noted);
        Coming { taken, sequence, message, bytes }
    }

    async fn quarantined(
        &self,
        n: u64,
        recorded_at_us: i64,
        message: (u64, &'static str, Bytes),
    ) -> Taken {
        let (sequence, reason, raw) = &message;
        tracing::warn!(
            slot = self.slot.0,
            sequence,
            reason,
            "a message on NATS cannot be read, and goes to quarantine"
        );
        // Told first: once it is stored, it is not looked at again.
        let streams = &self.shared.streams;
        streams.tell_dead_letter(self.slot, *sequence, reason, raw.clone()).await;
        unreadable(self.slot, n, recorded_at_us, message, self.record_bytes_max())
    }
}

/// Where reading goes on, and before which message it is to be begun anew.
struct Begun {
    source: Source,
    next: u64,
    until: Option<u64>,
}

/// How far a stream was, and its slot in the log, when they were last looked at.
#[derive(Clone, Copy)]
struct LastLook {
    stored: u64,
    last: u64,
}
