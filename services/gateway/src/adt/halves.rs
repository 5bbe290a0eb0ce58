//! Messages that take two writes, and may be interrupted between them: kept in quarantine before the
//! first, and released after the second. What was not released is taken again when a server starts.
//!
//! What must stay true: a message is kept before anything of it is stored, and released only when
//! all of it is, or nobody but its sender can do more. Taking it again adds nothing (I3).

use std::collections::BTreeMap;
use std::time::Duration;

use tsunagi_bus::quarantine;
use tsunagi_chassis::Refused;
use tsunagi_domain::EventId;
use tsunagi_proto::v1;

use super::events::actor;
use super::intake::{Incoming, Intake, Manner, Outcome};
use super::refusal::{Kind, Refusal};

/// In the origin of what is kept until it is done.
const MOVES: &str = "moves a visit from one patient to another";

const REASON: &str = "it takes two writes, and was not done yet when this was kept: if it was interrupted, it is taken again when a server starts";

/// How often one and the same message is kept, because it was begun again after it was released: as
/// after a refusal for good. Beyond that it is taken all the same, and kept no more.
const TIMES_MAX: u32 = 64;

/// Before what could not be done for the moment is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What came of a message that was interrupted.
enum Finished {
    Done,
    /// For good: it is kept for somebody to look at, as ever.
    Refused(&'static str),
    /// It was interrupted while it was being kept: nothing of it was stored.
    NotBegun,
}

/// A message of which the first write may be done, by the ids under which it is kept; none of
/// them before that.
#[derive(Debug, Default)]
pub(super) struct Half {
    kept: Vec<String>,
}

impl Intake {
    /// Keeps a message before the first of its writes.
    pub(super) async fn begin_half(
        &self,
        incoming: &Incoming<'_>,
        half: &mut Half,
    ) -> Result<(), Refusal> {
        if !half.kept.is_empty() {
            return Ok(());
        }
        let facility = &incoming.profile.facility.id;
        for time in 0..TIMES_MAX {
            // The same message is kept once, however often its sender is told to send it again.
            // What is released is not kept again: the next time has a name of its own.
            let name = incoming.key.kept(incoming.raw, time);
            let origin = format!("{}: {facility} {MOVES}, {name}", incoming.door);
            let kept = self.keep_parts(incoming.raw, &origin, REASON).await?;
            if !self.is_any_released(&kept).await? {
                half.kept = kept;
                break;
            }
        }
        Ok(())
    }

    async fn is_any_released(&self, kept: &[String]) -> Result<bool, Refusal> {
        let bus = self.handler.bus().as_ref();
        for id in kept.iter().filter_map(|id| EventId::parse(id).ok()) {
            if quarantine::is_released(bus, id).await.map_err(Refusal::of_read)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Releases a message when all of it is done, or when what its sender was told is what there is
    /// to do. What it could not do for the moment stays to be done.
    pub(super) async fn end_half(&self, half: Half, outcome: &Result<Outcome, Refusal>) {
        let is_unfinished = |refusal: &Refusal| refusal.kind == Kind::Unavailable;
        if outcome.as_ref().is_err_and(is_unfinished) {
            return;
        }
        let note = if outcome.is_ok() { "it is done" } else { "it was refused" };
        self.release_all(half.kept, note).await;
    }

    /// Takes again what was interrupted between its writes, until all of it is done. Begun when a
    /// server starts, and cancelled when it stops.
    pub async fn finish_halves(&self) {
        let mut halves = self.found_halves().await;
        loop {
            let mut undone = Vec::new();
            for parts in halves {
                if let Err(reason) = self.finish(&parts).await {
                    tracing::warn!(
                        reason,
                        "an HL7 message that is half done could not be done, and is tried again"
                    );
                    undone.push(parts);
                }
            }
            if undone.is_empty() {
                return;
            }
            halves = undone;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// What was interrupted, as soon as that can be listed.
    async fn found_halves(&self) -> Vec<Vec<v1::QuarantinedMessage>> {
        loop {
            match self.interrupted_halves().await {
                Ok(halves) => return halves,
                Err(refused) => {
                    let reason = refused.reason;
                    tracing::warn!(
                        reason,
                        "HL7 messages that are half done could not be looked for, and are again"
                    );
                }
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// What is kept and not released, by message.
    async fn interrupted_halves(&self) -> Result<Vec<Vec<v1::QuarantinedMessage>>, Refused> {
        let mut messages: BTreeMap<String, Vec<v1::QuarantinedMessage>> = BTreeMap::new();
        let mut request =
            v1::ListQuarantineRequest { origin: MOVES.to_owned(), ..Default::default() };
        loop {
            let page = quarantine::list(self.handler.bus().as_ref(), &request).await?;
            for part in page.messages {
                messages.entry(part.origin.clone()).or_default().push(part);
            }
            if page.next_page_token.is_empty() {
                for parts in messages.values_mut() {
                    parts.sort_by_key(|part| part.part);
                }
                return Ok(messages.into_values().collect());
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Takes one again, and releases it. The reason, if that cannot be done now.
    async fn finish(&self, parts: &[v1::QuarantinedMessage]) -> Result<(), &'static str> {
        let (door, all) =
            parts.first().map(|part| (part.door.as_str(), part.parts)).unwrap_or_default();
        let finished = if u32::try_from(parts.len()) == Ok(all) {
            self.take_again(parts, door).await?
        } else {
            Finished::NotBegun
        };
        let note = match finished {
            Finished::Done => {
                tracing::info!("an HL7 message that was half done is done");
                "it is done"
            }
            Finished::Refused(reason) => {
                tracing::warn!(reason, "an HL7 message that was half done was refused");
                "it was refused"
            }
            Finished::NotBegun => {
                tracing::info!("an HL7 message of which nothing was stored was let go");
                "nothing of it was stored"
            }
        };
        let kept = parts.iter().map(|part| part.event_id.clone()).collect();
        self.release_all(kept, note).await;
        Ok(())
    }

    /// Takes a message again that is kept in parts. The reason, if that cannot be done now.
    async fn take_again(
        &self,
        parts: &[v1::QuarantinedMessage],
        door: &str,
    ) -> Result<Finished, &'static str> {
        let mut raw = Vec::new();
        for part in parts {
            let Ok(id) = EventId::parse(&part.event_id) else { return Err("EVENT_UNKNOWN") };
            let kept = quarantine::read(self.handler.bus().as_ref(), id).await;
            raw.extend(kept.map_err(|refused| refused.reason)?.raw);
        }
        match self.take_as(&raw, door, Manner::AsSaid).await.outcome {
            Outcome::Refused(refusal) if refusal.kind == Kind::Unavailable => Err(refusal.reason),
            Outcome::Refused(refusal) => Ok(Finished::Refused(refusal.reason)),
            Outcome::Stored | Outcome::Repeated | Outcome::NothingNew | Outcome::Ignored => {
                Ok(Finished::Done)
            }
        }
    }

    async fn release_all(&self, kept: Vec<String>, note: &str) {
        for id in kept {
            if let Err(refused) = self.release(&id, note).await {
                // It is taken again at the next start, which adds nothing.
                tracing::warn!(reason = refused.reason, "a message that is over was not released");
            }
        }
    }

    async fn release(&self, kept: &str, note: &str) -> Result<(), Refused> {
        let release = v1::MessageReleased {
            quarantined_event_id: kept.to_owned(),
            how: v1::Release::Replayed.into(),
            note: note.to_owned(),
        };
        let Ok(actor) = actor("tsunagi") else { return Ok(()) };
        let bus = self.handler.bus().as_ref();
        quarantine::release(bus, release, &actor, "hl7").await.map(drop)
    }
}
