//! An organisation's meetings with partner institutions (連携機関との会合) in one year: a pure
//! fold of its stream (I5).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::Stored;
use tsunagi_bus::handler::to_wire;
use tsunagi_bus::pages::{Pages, malformed};
use tsunagi_chassis::Refused;
use tsunagi_domain::topic::Step;
use tsunagi_domain::{CareTime, EventId, Zone, organisation};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::convert::topic_happened;
use tsunagi_proto::v1;

/// Meetings a page, at most: each may be with 100 institutions.
const PAGE_MAX: u32 = 50;
/// So often in a year is an institution met regularly, if the caller says no other number.
const REGULAR_FROM: u32 = 3;

/// Where a meeting stands among others: by when it was held.
type Place = (Timestamp, EventId);

/// A page of the meetings of the year that is asked for, with the numbers of the whole year.
pub(crate) fn page(
    events: &[Stored],
    request: &v1::ListPartnerMeetingsRequest,
    zone: &Zone,
) -> Result<v1::ListPartnerMeetingsResponse, Refused> {
    let pages = pages(request);
    let after = pages.place(&request.page_token)?;
    let after = after.map(|place| read_place(&place).ok_or_else(malformed)).transpose()?;
    let held = of_year(held(events, zone), &request.year_from_on, zone);
    let times = times_met(held.values());
    let regular_from = or_else(request.regular_from, REGULAR_FROM);
    let max = usize::try_from(or_else(request.page_size, PAGE_MAX)).unwrap_or(usize::MAX);
    let behind = |place: &Place| after.is_none_or(|after| *place > after);
    let mut rest = held.iter().filter(|(place, _)| behind(place));
    let shown: Vec<_> = rest.by_ref().take(max).collect();
    let last = shown.last().filter(|_| rest.next().is_some());
    Ok(v1::ListPartnerMeetingsResponse {
        next_page_token: last.map(|(place, _)| pages.token(&text(place))).unwrap_or_default(),
        meetings: shown.into_iter().map(|(_, meeting)| meeting.clone()).collect(),
        meeting_count: count(held.len()),
        partner_count: count(times.len()),
        regular_partner_count: count(times.values().filter(|met| **met >= regular_from).count()),
    })
}

/// All meetings that were held, without those that were entered in error.
fn held(events: &[Stored], zone: &Zone) -> BTreeMap<EventId, (Timestamp, v1::PartnerMeeting)> {
    let mut held = BTreeMap::new();
    for stored in events {
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { continue };
        let Ok(payload) = Payload::decode(&event.r#type, &event.payload) else { continue };
        let happened = topic_happened(&event, &payload, zone);
        let Some((stamp, Step::Organisation(_, step))) = happened else { continue };
        if let organisation::Step::MarkMeetingInError(meeting) = step {
            held.remove(&meeting);
        } else if let Payload::PartnerMeetingHeld(meeting) = payload {
            let meeting = v1::PartnerMeeting {
                event_id: event.event_id,
                held_at: event.occurred_at,
                meeting: Some(meeting),
                by: event.actor,
                recorded_at: Some(to_wire(stored.placed.recorded_at)),
            };
            held.insert(stamp.event, (stamp.occurred_at.earliest(), meeting));
        }
    }
    held
}

/// Those that were held within a year from a day on, in their order.
fn of_year(
    held: BTreeMap<EventId, (Timestamp, v1::PartnerMeeting)>,
    from_on: &str,
    zone: &Zone,
) -> BTreeMap<Place, v1::PartnerMeeting> {
    let Ok(day) = CareTime::parse(from_on, zone) else { return BTreeMap::new() };
    let is_of_year = |at: Timestamp| {
        day.earliest() <= at && day.year_after(zone).is_none_or(|next_year| at < next_year)
    };
    let held = held.into_iter().filter(|(_, (at, _))| is_of_year(*at));
    held.map(|(event, (at, meeting))| ((at, event), meeting)).collect()
}

/// How often each institution was met.
fn times_met<'a>(held: impl Iterator<Item = &'a v1::PartnerMeeting>) -> BTreeMap<&'a str, u32> {
    let mut times = BTreeMap::new();
    for meeting in held.filter_map(|held| held.meeting.as_ref()) {
        // One that is named twice was met once.
        let partners: BTreeSet<&str> = meeting.partners.iter().map(|of| of.id.as_str()).collect();
        for partner in partners {
            *times.entry(partner).or_default() += 1;
        }
    }
    times
}

fn pages(request: &v1::ListPartnerMeetingsRequest) -> Pages {
    Pages::of(&v1::ListPartnerMeetingsRequest {
        page_size: 0,
        page_token: String::new(),
        at_least_cursor: String::new(),
        ..request.clone()
    })
}

fn or_else(asked: u32, instead: u32) -> u32 {
    if asked == 0 { instead } else { asked }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn text((at, event): &Place) -> String {
    format!("{} {event}", at.as_nanosecond())
}

fn read_place(text: &str) -> Option<Place> {
    let (at, event) = text.split_once(' ')?;
    let at = Timestamp::from_nanosecond(at.parse().ok()?).ok()?;
    Some((at, EventId::parse(event).ok()?))
}
