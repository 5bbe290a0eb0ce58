//! The directory of community resources: what it says of one is a pure fold of the resource's
//! stream (I5). What happened last holds, in whatever order it was told.

mod grpc;

use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tsunagi_bus::Stored;
use tsunagi_bus::handler::to_wire;
use tsunagi_domain::resource::Resource;
use tsunagi_domain::topic::Step;
use tsunagi_domain::{CareTime, ResourceId, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::topic_happened;
use tsunagi_proto::v1;

use crate::folding::fold;

pub use grpc::DirectoryService;

/// A resource is stale when nobody confirmed it for so many days, unless it says otherwise.
const STALE_DAYS: u32 = 180;

/// What the directory says of a resource, whatever day it is. None if nothing was ever
/// published.
pub fn entry(resource: ResourceId, events: &[Stored], zone: &Zone) -> Option<v1::DirectoryEntry> {
    let mut folded = Folded::default();
    for stored in events {
        folded.add(stored, zone);
    }
    folded.entry(resource, zone)
}

/// What a resource's events say. Of what was said at the same time, the later word holds.
#[derive(Default)]
struct Folded {
    resource: Resource,
    described: Option<Said<v1::Resource>>,
    capacity: Option<Said<v1::ResourceCapacitySet>>,
    /// When somebody made sure of it last.
    confirmed: Option<(Timestamp, String)>,
    version: u64,
    recorded_at: Option<Timestamp>,
}

struct Said<T> {
    at: Timestamp,
    event: v1::Event,
    what: T,
}

impl Folded {
    fn add(&mut self, stored: &Stored, zone: &Zone) {
        self.version = stored.placed.version;
        self.recorded_at = Some(stored.placed.recorded_at);
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return };
        let Ok(payload) = Payload::decode(&event.r#type, &event.payload) else { return };
        let Some((stamp, Step::Resource(step))) = topic_happened(&event, &payload, zone) else {
            return;
        };
        self.resource.apply(&stamp, &step);
        let at = stamp.occurred_at.earliest();
        if let Payload::ResourcePublished(what) | Payload::ResourceChanged(what) = payload {
            self.confirm(&what.assured_on, zone);
            say(&mut self.described, Said { at, event, what });
        } else if let Payload::ResourceCapacitySet(what) = payload {
            say(&mut self.capacity, Said { at, event, what });
        } else if let Payload::ResourceVerified(_) = payload {
            self.confirm(&event.occurred_at, zone);
        }
    }

    fn confirm(&mut self, written: &str, zone: &Zone) {
        let Ok(time) = CareTime::parse(written, zone) else { return };
        let at = time.earliest();
        if self.confirmed.as_ref().is_none_or(|(before, _)| *before <= at) {
            self.confirmed = Some((at, written.to_owned()));
        }
    }

    fn entry(self, resource: ResourceId, zone: &Zone) -> Option<v1::DirectoryEntry> {
        let is_withdrawn = self.resource.is_withdrawn();
        let described = self.described?;
        // Who publishes it and does not say when it was made sure of, says that it is so now.
        let (since, confirmed_at) = self.confirmed.unwrap_or((described.at, String::new()));
        let (capacity, capacity_at) = match self.capacity {
            Some(said) => (Some(said.what), said.event.occurred_at),
            None => (None, String::new()),
        };
        Some(v1::DirectoryEntry {
            resource_id: resource.to_string(),
            stale_on: stale_on(since, described.what.stale_after_days, zone),
            resource: Some(described.what),
            since_at: described.event.occurred_at,
            by: described.event.actor,
            is_withdrawn,
            capacity,
            capacity_at,
            confirmed_at,
            is_stale: false,
            version: self.version,
            recorded_at: self.recorded_at.map(to_wire),
        })
    }
}

fn say<T>(holds: &mut Option<Said<T>>, said: Said<T>) {
    if holds.as_ref().is_none_or(|before| before.at <= said.at) {
        *holds = Some(said);
    }
}

fn stale_on(since: Timestamp, after_days: u32, zone: &Zone) -> String {
    let days = if after_days == 0 { STALE_DAYS } else { after_days };
    let at = since + SignedDuration::from_hours(24 * i64::from(days));
    let words = CareTime::at(at).words(zone);
    words.split_once(' ').map(|(day, _)| day.to_owned()).unwrap_or(words)
}

/// The entry as it reads on a day: what holds no more is left out.
fn on_day(mut entry: v1::DirectoryEntry, today: &CareTime, zone: &Zone) -> v1::DirectoryEntry {
    let time = |text: &str| CareTime::parse(text, zone).ok();
    entry.is_stale = time(&entry.stale_on).is_some_and(|day| !today.is_before(&day));
    let has_run_out = |capacity: &v1::ResourceCapacitySet| {
        time(&capacity.valid_to_at).is_some_and(|end| end.is_before(today))
    };
    if entry.capacity.as_ref().is_some_and(has_run_out) {
        entry.capacity = None;
        entry.capacity_at.clear();
    }
    entry
}

/// Whether an entry is one of those that are asked for.
fn is_asked_for(entry: &v1::DirectoryEntry, asked: &v1::FindResourcesRequest) -> bool {
    const UNKNOWN: &str = "unknown";
    let Some(resource) = &entry.resource else { return false };
    let of_kind = || {
        let is_one = |kind: &v1::Code| asked.kinds.contains(&kind.code);
        resource.kinds.iter().any(is_one)
    };
    let has_capacity = || {
        let capacity = entry.capacity.as_ref().and_then(|of| of.capacity.as_ref());
        let code = capacity.map_or(UNKNOWN, |code| code.code.as_str());
        asked.capacities.iter().any(|wanted| wanted == code)
    };
    let is_fresh_as_asked = match asked.freshness() {
        v1::Freshness::Unspecified => true,
        v1::Freshness::Fresh => !entry.is_stale,
        v1::Freshness::Stale => entry.is_stale,
    };
    let organisation = resource.organisation.clone().unwrap_or_default();
    let texts = [&resource.name, &resource.alternate_name, &resource.description];
    is_fresh_as_asked
        && (asked.with_withdrawn || !entry.is_withdrawn)
        && (asked.kinds.is_empty() || of_kind())
        && (asked.capacities.is_empty() || has_capacity())
        && (asked.organisation_id.is_empty() || organisation.id == asked.organisation_id)
        && (asked.identifier_value.is_empty()
            || resource.identifiers.iter().any(|one| one.value == asked.identifier_value))
        && texts.into_iter().chain([&organisation.name]).any(|text| has(text, &asked.text))
        && (asked.area.is_empty() || is_in(resource, &asked.area))
}

fn is_in(resource: &v1::Resource, area: &str) -> bool {
    let lies_there = |location: &v1::ResourceLocation| {
        let address = location.address.clone().unwrap_or_default();
        let names = [&location.name, &address.text, &address.state, &address.city];
        names.into_iter().chain([&address.postal_code]).any(|name| has(name, area))
    };
    resource.areas.iter().any(|of| has(&of.name, area)) || resource.locations.iter().any(lies_there)
}

/// Whether a part of the text is what is looked for, however either was typed.
fn has(text: &str, part: &str) -> bool {
    let folded = fold(part);
    // What is nothing but signs is looked for as it is.
    if folded.is_empty() { text.contains(part) } else { fold(text).contains(&folded) }
}
