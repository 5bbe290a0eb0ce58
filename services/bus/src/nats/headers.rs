//! An event as a message on NATS, and back: the record is the body, byte for byte (I7); what
//! routes it stands in the subject and in headers with CloudEvents' names.

use async_nats::header::{
    HeaderValue, NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID,
};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tsunagi_chassis::Trace;
use tsunagi_domain::{EventId, OrganisationId};
use tsunagi_proto::v1;
use uuid::Uuid;

use super::layout;
use super::partings::Parting;
use super::streams::Identity;
use crate::port::Draft;
use crate::stream::{Slot, StreamId};

const CE_ID: &str = "ce-id";
/// When an event that is published again was first recorded, in microseconds.
const RECORDED_AT: &str = "tsunagi-recorded-at";
/// The position of an event that the log has in front of messages that it now lies behind.
const POSITION: &str = "tsunagi-position";
/// Of a parting: which stream it was, its first other message and when the stream took that, and
/// the positions in front of it.
const CREATED_NS: &str = "tsunagi-created-ns";
const EPOCH: &str = "tsunagi-epoch";
const SEQUENCE: &str = "tsunagi-sequence";
const TAKEN_AT_NS: &str = "tsunagi-taken-at-ns";
const LOST_FROM: &str = "tsunagi-lost-from";
const LOST_TO: &str = "tsunagi-lost-to";

/// A message of a slot's stream, as the event store takes it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its place in the stream.
    pub sequence: u64,
    pub recorded_at_us: i64,
    /// Whether it is the last of its publication.
    pub is_last: bool,
    pub what: What,
    pub message: Message,
}

impl Incoming {
    /// The position in the log that it had in front of the message at which they parted.
    pub fn position_before(&self, parting: u64) -> Option<u64> {
        let given = self.message.headers.as_ref()?.get(POSITION)?;
        let (n, sequence) = given.as_str().split_once(' ')?;
        (sequence.parse() == Ok(parting)).then(|| n.parse().ok())?
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Event {
        stream: StreamId,
        event: EventId,
        record: Bytes,
    },
    /// It cannot be read, and is kept as it came.
    Unreadable {
        reason: &'static str,
    },
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) subject: Subject,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) body: Bytes,
}

impl Message {
    /// Subject, headers and body, for people to look at. The same message gives the same bytes.
    pub fn to_bytes(&self) -> Bytes {
        self.raw().to_bytes()
    }

    /// How many bytes these are.
    pub fn bytes(&self) -> usize {
        let ends = "\r\n".len() * 2;
        let line_ends = ": \r\n".len();
        let raw = self.raw();
        let lines = raw.lines().map(|(name, value)| name.len() + value.len() + line_ends);
        let lines: usize = lines.sum();
        self.subject.len() + ends + lines + self.body.len()
    }

    pub(crate) fn raw(&self) -> Raw<'_> {
        Raw { subject: &self.subject, headers: self.headers.as_ref(), body: &self.body }
    }
}

/// The same, as it lies in the stream.
pub(crate) struct Raw<'a> {
    pub(crate) subject: &'a str,
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) body: &'a Bytes,
}

/// The id by which JetStream knows the event again. It names the stream, too: JetStream looks
/// for the id in all of a slot, and the same event id may be used for two patients.
pub fn message_id(stream: StreamId, event: EventId) -> String {
    Uuid::new_v5(&event.uuid(), stream.to_string().as_bytes()).as_simple().to_string()
}

/// The headers of an event.
pub(crate) fn of_event(slot: Slot, stream: StreamId, draft: &Draft, trace: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message_id(stream, draft.event).as_str());
    headers.insert(NATS_EXPECTED_STREAM, layout::stream_name(slot).as_str());
    let mut put = |name: &'static str, value: &str| {
        // A value that a header cannot hold is left out: the record has it.
        if !value.is_empty()
            && let Ok(value) = value.parse::<HeaderValue>()
        {
            headers.insert(name, value);
        }
    };
    put("ce-specversion", "1.0");
    put(CE_ID, &draft.event.to_string());
    put("ce-subject", &stream.to_string());
    put("content-type", "application/protobuf");
    put("traceparent", trace);
    if let Ok(event) = v1::Event::decode(draft.record.clone()) {
        put("ce-type", &event.r#type);
        put("ce-source", &source(&event));
        if event.occurred_at.parse::<Timestamp>().is_ok() {
            put("ce-time", &event.occurred_at);
        }
    }
    headers
}

/// Marks an event that is published again with when it was recorded.
pub(crate) fn put_recorded_at(headers: &mut HeaderMap, recorded_at: Timestamp) {
    headers.insert(RECORDED_AT, recorded_at.as_microsecond().to_string().as_str());
}

/// Marks an event that is published again with its position in the log, in front of the message
/// at which stream and log parted. JetStream is to take it though it may have the event already:
/// without that mark it is not found again.
pub(crate) fn put_position(headers: &mut HeaderMap, n: u64, parting: u64) {
    headers.insert(POSITION, format!("{n} {parting}").as_str());
    if let Some(id) = headers.get(NATS_MESSAGE_ID).map(ToString::to_string) {
        headers.insert(NATS_MESSAGE_ID, format!("{id}-{n}-{parting}").as_str());
    }
}

/// A parting as a message: it is all in its headers.
pub(crate) fn of_parting(parting: &Parting) -> HeaderMap {
    let Parting { identity, sequence, taken_at_ns, lost } = parting;
    let mut headers = HeaderMap::new();
    headers.insert(CREATED_NS, identity.created_ns.to_string().as_str());
    headers.insert(EPOCH, identity.epoch.as_str());
    headers.insert(SEQUENCE, sequence.to_string().as_str());
    headers.insert(TAKEN_AT_NS, taken_at_ns.to_string().as_str());
    headers.insert(LOST_FROM, lost.start().to_string().as_str());
    headers.insert(LOST_TO, lost.end().to_string().as_str());
    headers
}

/// The parting that a message tells of.
pub(crate) fn parting(headers: &HeaderMap) -> Option<Parting> {
    let text = |name: &str| headers.get(name).map(HeaderValue::as_str);
    let number = |name: &str| text(name)?.parse::<u64>().ok();
    let time = |name: &str| text(name)?.parse::<i64>().ok();
    let epoch = text(EPOCH).unwrap_or_default().to_owned();
    let lost = number(LOST_FROM)?..=number(LOST_TO)?;
    let parting = Parting {
        identity: Identity { created_ns: time(CREATED_NS)?, epoch },
        sequence: number(SEQUENCE)?,
        taken_at_ns: time(TAKEN_AT_NS)?,
        lost,
    };
    (!parting.lost.is_empty()).then_some(parting)
}

/// The trace that a publication belongs to (W3C Trace Context): that of the call for which it is
/// made, or else a new one.
pub(crate) fn trace() -> String {
    Trace::current().map_or_else(new_trace, |trace| trace.as_str().to_owned())
}

pub(crate) fn new_trace() -> String {
    let (trace, span) = (Uuid::now_v7().as_u128(), Uuid::now_v7().as_u128());
    format!("00-{trace:032x}-{:016x}-01", span & u128::from(u64::MAX))
}

/// What a message says, told by its subject, headers and body.
pub(crate) fn read(raw: &Raw<'_>, slot: Slot, slots: u16) -> What {
    read_event(raw, slot, slots).unwrap_or_else(|reason| What::Unreadable { reason })
}

fn read_event(raw: &Raw<'_>, slot: Slot, slots: u16) -> Result<What, &'static str> {
    let stream = layout::read_subject(raw.subject, slot, slots)
        .ok_or("its subject is not that of a stream of this slot")?;
    let id = raw.header(CE_ID).ok_or("it has no `ce-id`")?;
    let event = EventId::parse(id).map_err(|_unreadable| "its `ce-id` is not a UUID")?;
    if raw.body.is_empty() {
        return Err("it is empty");
    }
    let record = v1::Event::decode(raw.body.clone()).ok().filter(|record| {
        EventId::parse(&record.event_id).is_ok_and(|in_record| in_record == event)
    });
    let record = record.ok_or("its body is not the event that its `ce-id` names")?;
    let is_of = |told: &str, key: Uuid| told.is_empty() || told.parse() == Ok(key);
    let is_there = match stream {
        StreamId::Patient(patient) => is_of(&record.patient_id, patient.uuid()),
        StreamId::Resource(resource) => is_of(&record.resource_id, resource.uuid()),
        StreamId::Organisation(_) => {
            let told = OrganisationId::parse(&record.organisation_id);
            record.organisation_id.is_empty()
                || told.is_ok_and(|told| StreamId::of_organisation(&told) == stream)
        }
        StreamId::Identifier(_) | StreamId::Quarantine | StreamId::Slot(_) => true,
    };
    if !is_there {
        return Err(
            "its body is of another patient, resource or organisation than its subject names",
        );
    }
    Ok(What::Event { stream, event, record: raw.body.clone() })
}

/// When an event was recorded: when the stream took it, unless it was recorded before and is
/// published again. Whoever publishes may say when, but not that it is yet to come: a slot's
/// time never runs backwards, and would stay there. Every store finds the same.
pub(crate) fn recorded_at_us(headers: Option<&HeaderMap>, taken_at_us: i64) -> i64 {
    let given = headers.and_then(|headers| headers.get(RECORDED_AT));
    let given = given.and_then(|given| given.as_str().parse().ok()).unwrap_or(taken_at_us);
    given.min(taken_at_us).max(0)
}

/// Whether others of the same publication come behind this message.
pub(crate) fn is_in_batch(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| {
        headers.get(NATS_BATCH_ID).is_some() && headers.get(NATS_BATCH_COMMIT).is_none()
    })
}

impl Raw<'_> {
    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.headers.iter().flat_map(|headers| headers.iter());
        headers.flat_map(|(name, values)| {
            values.iter().map(move |value| (name.as_ref(), value.as_str()))
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers?.get(name)?.as_str())
    }

    /// The message's id for JetStream.
    pub(crate) fn message_id(&self) -> Option<&str> {
        Some(self.headers?.get(NATS_MESSAGE_ID)?.as_str())
    }

    /// Subject, headers and body, for people to look at. The same message gives the same bytes.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut lines: Vec<String> =
            self.lines().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        lines.sort_unstable();
        let head = format!("{}\r\n{}\r\n", self.subject, lines.concat());
        [head.as_bytes(), self.body].concat().into()
    }
}

fn source(event: &v1::Event) -> String {
    let organisation = event.actor.as_ref().map_or("", |actor| actor.organisation.as_str());
    let door = event.source.as_ref().map_or("", |source| source.door.as_str());
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let part = |text: &str| if is_plain(text) { text.to_owned() } else { String::new() };
    format!("/tsunagi/{}/{}", part(organisation), part(door))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use proptest::prelude::*;
    use tsunagi_domain::PatientId;

    use super::*;

    fn stream() -> StreamId {
        StreamId::Patient(PatientId::new(Uuid::from_u128(1)))
    }

    fn draft(number: u128, payload: Vec<u8>) -> Draft {
        let event = EventId::new(Uuid::from_u128(number));
        let record = v1::Event {
            event_id: event.to_string(),
            r#type: "care.encounter.admitted.v1".into(),
            occurred_at: "2026-05-01T09:00:00+09:00".into(),
            actor: Some(v1::Actor { organisation: "acute".into(), ..Default::default() }),
            source: Some(v1::Source { door: "discharge-desk".into(), ..Default::default() }),
            payload,
            ..Default::default()
        };
        Draft { event, record: record.encode_to_vec().into() }
    }

    fn read_back(headers: &HeaderMap, body: &Bytes) -> What {
        let slot = stream().slot(64);
        let subject = layout::subject(slot, stream());
        read(&Raw { subject: &subject, headers: Some(headers), body }, slot, 64)
    }

    fn reason(headers: &HeaderMap, body: &[u8]) -> &'static str {
        match read_back(headers, &Bytes::copy_from_slice(body)) {
            What::Unreadable { reason } => reason,
            What::Event { .. } => panic!("it was read"),
        }
    }

    #[test]
    fn the_headers_never_change() {
        // Golden: stored messages bear these, and other systems read them.
        let draft = draft(7, Vec::new());
        let headers = of_event(Slot(27), stream(), &draft, "00-1-2-01");
        let mut lines: Vec<String> =
            headers.iter().map(|(name, values)| format!("{name}: {}", values[0])).collect();
        lines.sort_unstable();
        let expected = [
            "Nats-Expected-Stream: CARE-27",
            "Nats-Msg-Id: c9e2d6cdf07656629217cb90b7cf2df2",
            "ce-id: 00000000-0000-0000-0000-000000000007",
            "ce-source: /tsunagi/acute/discharge-desk",
            "ce-specversion: 1.0",
            "ce-subject: p-00000000000000000000000000000001",
            "ce-time: 2026-05-01T09:00:00+09:00",
            "ce-type: care.encounter.admitted.v1",
            "content-type: application/protobuf",
            "traceparent: 00-1-2-01",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_same_event_id_in_two_streams_has_two_message_ids() {
        let event = EventId::new(Uuid::from_u128(7));
        assert_ne!(message_id(stream(), event), message_id(StreamId::Quarantine, event));
    }

    #[test]
    fn what_cannot_be_read_says_why_and_is_kept_whole() {
        let draft = draft(7, Vec::new());
        let good = of_event(Slot(27), stream(), &draft, "");
        assert_eq!(reason(&HeaderMap::new(), &draft.record), "it has no `ce-id`");
        assert_eq!(reason(&good, b""), "it is empty");
        let not_the_event = "its body is not the event that its `ce-id` names";
        assert_eq!(reason(&good, b"\xff\xff"), not_the_event);
        let mut other = good;
        other.insert(CE_ID, "00000000-0000-0000-0000-000000000008");
        assert_eq!(reason(&other, &draft.record), not_the_event);
        other.insert(CE_ID, "eight");
        assert_eq!(reason(&other, &draft.record), "its `ce-id` is not a UUID");
    }

    #[test]
    fn an_event_of_another_patient_than_its_subject_names_is_not_read() {
        let of = |patient: u128| {
            let draft = draft(7, Vec::new());
            let mut event = v1::Event::decode(draft.record).unwrap();
            event.patient_id = Uuid::from_u128(patient).to_string();
            Draft { event: draft.event, record: event.encode_to_vec().into() }
        };
        let (own, other) = (of(1), of(2));
        let headers = of_event(Slot(27), stream(), &own, "");
        assert!(matches!(read_back(&headers, &own.record), What::Event { .. }));
        let told =
            "its body is of another patient, resource or organisation than its subject names";
        assert_eq!(reason(&headers, &other.record), told);
    }

    #[test]
    fn a_time_of_recording_that_was_given_is_kept() {
        let mut headers = HeaderMap::new();
        assert_eq!(recorded_at_us(Some(&headers), 5), 5);
        put_recorded_at(&mut headers, Timestamp::from_microsecond(3).unwrap());
        assert_eq!(recorded_at_us(Some(&headers), 5), 3);
    }

    #[test]
    fn an_event_that_lies_behind_its_place_says_where_that_is() {
        let draft = draft(7, Vec::new());
        let mut headers = of_event(Slot(27), stream(), &draft, "");
        put_position(&mut headers, 5, 9);
        assert_ne!(
            headers.get(NATS_MESSAGE_ID).unwrap().as_str(),
            message_id(stream(), draft.event)
        );
        let what = read_back(&headers, &draft.record);
        let subject = Subject::from(layout::subject(Slot(27), stream()));
        let message = Message { subject, headers: Some(headers), body: draft.record };
        let incoming = Incoming { sequence: 12, recorded_at_us: 0, is_last: true, what, message };
        assert_eq!(incoming.position_before(9), Some(5));
        assert_eq!(incoming.position_before(8), None, "they parted elsewhere, too");
    }

    #[test]
    fn a_parting_reads_as_it_was_written() {
        let identity = Identity { created_ns: -5, epoch: "e".into() };
        let told = Parting { identity, sequence: 9, taken_at_ns: 7, lost: 5..=8 };
        assert_eq!(parting(&of_parting(&told)), Some(told.clone()));
        let nothing_lost = Parting { lost: RangeInclusive::new(8, 7), ..told };
        assert_eq!(parting(&of_parting(&nothing_lost)), None);
        assert_eq!(parting(&HeaderMap::new()), None);
    }

    #[test]
    fn nothing_was_recorded_before_time_began_or_after_the_stream_took_it() {
        for (given, expected) in [
            ("6", 5),
            ("9223372036854775807", 5),
            ("-1", 0),
            ("-9223372036854775808", 0),
            ("9223372036854775808", 5),
            ("soon", 5),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RECORDED_AT, given);
            assert_eq!(recorded_at_us(Some(&headers), 5), expected, "{given}");
        }
        assert_eq!(recorded_at_us(None, -5), 0);
    }

    #[test]
    fn a_trace_is_in_w3cs_form() {
        let trace = new_trace();
        let lengths: Vec<usize> = trace.split('-').map(str::len).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{trace}");
    }

    proptest! {
        #[test]
        fn an_event_reads_as_it_was_written(
            number in any::<u128>(),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let draft = draft(number, payload);
            let headers = of_event(Slot(27), stream(), &draft, &new_trace());
            let expected =
                What::Event { stream: stream(), event: draft.event, record: draft.record.clone() };
            prop_assert_eq!(read_back(&headers, &draft.record), expected);
        }

        #[test]
        fn no_message_makes_it_panic(
            subject in ".{0,60}",
            id in proptest::option::of("[ -~]{0,40}"),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut headers = HeaderMap::new();
            if let Some(id) = &id {
                headers.insert(CE_ID, id.as_str());
            }
            let (subject, body) = (Subject::from(subject), Bytes::from(body));
            let message = Message { subject, headers: Some(headers), body };
            let is_read = matches!(read(&message.raw(), Slot(0), 64), What::Event { .. });
            prop_assert!(!is_read);
            let kept = message.to_bytes();
            prop_assert!(kept.ends_with(&message.body));
            prop_assert_eq!(kept.len(), message.bytes());
        }
    }
}
