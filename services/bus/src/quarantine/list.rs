//! What is in quarantine, page by page: what came by the doors, and what each slot's stream on NATS
//! had that could not be read.

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_chassis::Refused;
use tsunagi_domain::CareTime;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::released;
use crate::handler::to_wire;
use crate::pages::{Pages, malformed};
use crate::port::{Bus, ReadError, Stored};
use crate::stream::{Slot, StreamId};

/// How many are on a page where the caller does not say.
const PAGE: usize = 100;

/// Where a page begins: after the event of this version, in the stream at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    stream: usize,
    after: u64,
}

impl Place {
    fn read(text: Option<&str>) -> Result<Self, Refused> {
        let Some(text) = text else { return Ok(Self { stream: 0, after: 0 }) };
        let parts = text.split_once(':');
        let parts = parts.and_then(|(at, after)| Some((at.parse().ok()?, after.parse().ok()?)));
        let (stream, after) = parts.ok_or_else(malformed)?;
        Ok(Self { stream, after })
    }
}

/// What is asked for.
struct Wanted<'a> {
    request: &'a v1::ListQuarantineRequest,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// A page of what is in quarantine.
pub async fn list(
    bus: &dyn Bus,
    request: &v1::ListQuarantineRequest,
) -> Result<v1::ListQuarantineResponse, Refused> {
    let zone = &bus.region().zone;
    let time = |text: &str| CareTime::parse(text, zone).ok().map(|time| time.earliest());
    let (from, to) = (time(&request.from_at), time(&request.to_at));
    let wanted = Wanted { request, from, to };
    let size = usize::try_from(request.page_size).ok().filter(|size| *size > 0).unwrap_or(PAGE);
    let pages = pages(request);
    let start = Place::read(pages.place(&request.page_token)?.as_deref())?;
    let mut messages = Vec::new();
    for (at, stream) in streams(bus).enumerate().skip(start.stream) {
        let mut after = if at == start.stream { start.after } else { 0 };
        loop {
            let events = bus.read(stream, after).await?;
            let Some(last) = events.last() else { break };
            let end = last.placed.version;
            for stored in &events {
                let Some(message) = wanted.shown(bus, stored).await? else { continue };
                // There is one more: the page ends before it.
                if messages.len() == size {
                    let before = stored.placed.version.saturating_sub(1);
                    let next_page_token = pages.token(&format!("{at}:{before}"));
                    return Ok(v1::ListQuarantineResponse { messages, next_page_token });
                }
                messages.push(message);
            }
            after = end;
        }
    }
    Ok(v1::ListQuarantineResponse { messages, next_page_token: String::new() })
}

fn pages(request: &v1::ListQuarantineRequest) -> Pages {
    let request = request.clone();
    Pages::of(&v1::ListQuarantineRequest { page_size: 0, page_token: String::new(), ..request })
}

/// Where what is quarantined stands.
fn streams(bus: &dyn Bus) -> impl Iterator<Item = StreamId> + use<> {
    let slots = (0..bus.region().slots).map(|slot| StreamId::Slot(Slot(slot)));
    std::iter::once(StreamId::Quarantine).chain(slots)
}

fn kept(stored: &Stored) -> Option<(v1::Event, v1::MessageQuarantined)> {
    let event = v1::Event::decode(stored.record.clone()).ok()?;
    let payload = Payload::decode(&event.r#type, &event.payload).ok()?;
    if let Payload::MessageQuarantined(message) = payload { Some((event, message)) } else { None }
}

impl Wanted<'_> {
    /// What is told of an event, if it is wanted.
    async fn shown(
        &self,
        bus: &dyn Bus,
        stored: &Stored,
    ) -> Result<Option<v1::QuarantinedMessage>, ReadError> {
        let recorded_at = stored.placed.recorded_at;
        let is_in_time = self.from.is_none_or(|from| recorded_at >= from)
            && self.to.is_none_or(|to| recorded_at < to);
        let Some((event, kept)) = kept(stored).filter(|_| is_in_time) else { return Ok(None) };
        let v1::ListQuarantineRequest { door, origin, include_released, .. } = self.request;
        let came_by = event.source.unwrap_or_default().door;
        if (!door.is_empty() && *door != came_by) || !kept.origin.contains(origin.as_str()) {
            return Ok(None);
        }
        let release = bus.find(StreamId::Quarantine, released(stored.event)).await?;
        if release.is_some() && !include_released {
            return Ok(None);
        }
        let size_bytes = u64::try_from(kept.raw.len()).unwrap_or(u64::MAX);
        let mut message = v1::QuarantinedMessage {
            event_id: event.event_id,
            recorded_at: Some(to_wire(recorded_at)),
            door: came_by,
            origin: kept.origin,
            media_type: kept.media_type,
            reason: kept.reason,
            part: kept.part,
            parts: kept.parts,
            size_bytes,
            ..v1::QuarantinedMessage::default()
        };
        if let Some(release) = release {
            let said = v1::Event::decode(release.record.clone()).unwrap_or_default();
            if let Ok(Payload::MessageReleased(release)) =
                Payload::decode(&said.r#type, &said.payload)
            {
                message.released = Some(release);
            }
            message.released_by = said.actor;
            message.released_at = Some(to_wire(release.placed.recorded_at));
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        assert_eq!(Place::read(None).unwrap(), Place { stream: 0, after: 0 });
        assert_eq!(Place::read(Some("3:17")).unwrap(), Place { stream: 3, after: 17 });
        for token in ["3", ":", "3:", "a:1", "1:-1", "1:2:3"] {
            assert_eq!(
                Place::read(Some(token)).unwrap_err().reason,
                "PAGE_TOKEN_MALFORMED",
                "{token}"
            );
        }
    }
}
