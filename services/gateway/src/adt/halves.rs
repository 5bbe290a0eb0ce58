//! Messages that take two writes, and may be interrupted between them: kept in quarantine before the
//! first, and released after the second. What was not released is taken again when a server starts.
//!
//! What must stay true: a message is kept before anything of it is stored, and released only when
//! all of it is, or nobody but its sender can do more. Taking it again adds nothing (I3).

use std::collections::BTreeMap;

use jiff::Timestamp;
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
        // What is released is not kept again: each time has a name of its own.
        let (facility, now) = (&incoming.profile.facility.id, Timestamp::now());
        let origin = format!("{}: {facility} {MOVES}, {now}", incoming.door);
        half.kept = self.keep_parts(incoming.raw, &origin, REASON).await?;
        Ok(())
    }

    /// Releases a message when all of it is done, or when what its sender was told is what there is
    /// to do. What it could not do for the moment stays to be done.
    pub(super) async fn end_half(&self, half: Half, outcome: &Result<Outcome, Refusal>) {
        let is_unfinished = |refusal: &Refusal| refusal.kind == Kind::Unavailable;
        if outcome.as_ref().is_err_and(is_unfinished) {
            return;
        }
        for kept in half.kept {
            if let Err(refused) = self.release(&kept).await {
                // It is taken again at the next start, which adds nothing.
                tracing::warn!(reason = refused.reason, "a message that is done was not released");
            }
        }
    }

    /// Takes again what was interrupted between its writes. Begun when a server starts.
    pub async fn finish_halves(&self) {
        match self.interrupted_halves().await {
            Ok(halves) => {
                for parts in halves {
                    self.finish(parts).await;
                }
            }
            Err(refused) => {
                let reason = refused.reason;
                tracing::warn!(reason, "HL7 messages that are half done were not looked for");
            }
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
                return Ok(messages.into_values().collect());
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn finish(&self, mut parts: Vec<v1::QuarantinedMessage>) {
        parts.sort_by_key(|part| part.part);
        let (door, all) =
            parts.first().map(|part| (part.door.clone(), part.parts)).unwrap_or_default();
        let finished = if u32::try_from(parts.len()) == Ok(all) {
            self.take_again(&parts, &door).await
        } else {
            // Interrupted while it was being kept: nothing of it was stored.
            Ok(())
        };
        match finished {
            Ok(()) => {
                let kept = parts.into_iter().map(|part| part.event_id).collect();
                self.end_half(Half { kept }, &Ok(Outcome::Stored)).await;
                tracing::info!("an HL7 message that was half done is done");
            }
            Err(reason) => {
                tracing::warn!(reason, "an HL7 message that is half done could not be done");
            }
        }
    }

    /// Takes a message again that is kept in parts. The reason, if that cannot be done now.
    async fn take_again(
        &self,
        parts: &[v1::QuarantinedMessage],
        door: &str,
    ) -> Result<(), &'static str> {
        let mut raw = Vec::new();
        for part in parts {
            let Ok(id) = EventId::parse(&part.event_id) else { return Err("EVENT_UNKNOWN") };
            let kept = quarantine::read(self.handler.bus().as_ref(), id).await;
            raw.extend(kept.map_err(|refused| refused.reason)?.raw);
        }
        match self.take_as(&raw, door, Manner::AsSaid).await.outcome {
            Outcome::Refused(refusal) if refusal.kind == Kind::Unavailable => Err(refusal.reason),
            // What is refused for good is kept for somebody to look at, as ever.
            Outcome::Refused(_)
            | Outcome::Stored
            | Outcome::Repeated
            | Outcome::NothingNew
            | Outcome::Ignored => Ok(()),
        }
    }

    async fn release(&self, kept: &str) -> Result<(), Refused> {
        let release = v1::MessageReleased {
            quarantined_event_id: kept.to_owned(),
            how: v1::Release::Replayed.into(),
            note: "it is done".to_owned(),
        };
        let Ok(actor) = actor("tsunagi") else { return Ok(()) };
        let bus = self.handler.bus().as_ref();
        quarantine::release(bus, release, &actor, "hl7").await.map(drop)
    }
}
