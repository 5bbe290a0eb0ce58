//! How the region lies on NATS: one stream for each slot, one subject for each of our streams.
//!
//! A stream keeps everything for ever and in one order, and nobody can delete from it: what a
//! publisher was told, and what an event store will read, rests on that. So an existing stream
//! is compared with what must hold, and is not used if it differs.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};
use uuid::Uuid;

use crate::region::Region;
use crate::stream::{Slot, StreamId};

/// How long JetStream remembers a message's id. A publisher gives up long before.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
const DUPLICATE_WINDOW_MAX: Duration = Duration::from_mins(10);
/// How many readers a slot may have. The server's own default is 1000.
const CONSUMERS_MAX: i32 = 256;

const REGION: &str = "tsunagi-region";
const SLOTS: &str = "tsunagi-slots";
/// Made anew whenever a stream is created: two streams of one name are told apart by it.
const EPOCH: &str = "tsunagi-epoch";

/// The stream that collects messages that could not be read, for whoever operates NATS.
pub(crate) const DEAD_LETTERS: &str = "CARE-DLQ";
const DEAD_LETTER_BYTES: i64 = 64 << 20;

/// The stream in which it is written down where a slot's stream and the log parted.
pub(crate) const PARTINGS: &str = "CARE-PARTINGS";
const PARTING_BYTES: i64 = 16 << 20;

/// What an existing stream has, and what it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub setting: &'static str,
    pub found: String,
    pub needed: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is {} and must be {}", self.setting, self.found, self.needed)
    }
}

/// The name of a slot's stream.
pub(crate) fn stream_name(slot: Slot) -> String {
    format!("CARE-{:02}", slot.0)
}

/// The subject of one of our streams, within the stream of its slot.
pub(crate) fn subject(slot: Slot, stream: StreamId) -> String {
    format!("care.evt.{:02}.{stream}", slot.0)
}

/// The stream that a subject names, if it belongs to this slot of a region.
pub(crate) fn read_subject(text: &str, slot: Slot, slots: u16) -> Option<StreamId> {
    let name = text.strip_prefix(&format!("care.evt.{:02}.", slot.0))?;
    let stream: StreamId = name.parse().ok()?;
    (stream.slot(slots) == slot).then_some(stream)
}

pub(crate) fn dead_letter_subject(slot: Slot) -> String {
    format!("care.dlq.{:02}", slot.0)
}

pub(crate) fn parting_subject(slot: Slot) -> String {
    format!("care.parting.{:02}", slot.0)
}

/// The stream of a slot, as it is created.
pub(crate) fn slot_stream(slot: Slot, region: &Region, replicas: usize, bytes: i64) -> Config {
    let metadata = [
        (REGION, region.id.to_string()),
        (SLOTS, region.slots.to_string()),
        (EPOCH, Uuid::now_v7().to_string()),
    ];
    Config {
        name: stream_name(slot),
        description: Some("care events of one slot; never delete from it".to_owned()),
        subjects: vec![format!("care.evt.{:02}.*", slot.0)],
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        max_bytes: bytes,
        num_replicas: replicas,
        discard: DiscardPolicy::New,
        deny_delete: true,
        deny_purge: true,
        allow_atomic_publish: true,
        allow_direct: true,
        ..unlimited()
    }
}

/// The stream for what could not be read.
pub(crate) fn dead_letters(replicas: usize) -> Config {
    Config {
        name: DEAD_LETTERS.to_owned(),
        description: Some(
            "messages that could not be read; they are in quarantine, too".to_owned(),
        ),
        subjects: vec!["care.dlq.*".to_owned()],
        max_bytes: DEAD_LETTER_BYTES,
        num_replicas: replicas,
        ..unlimited()
    }
}

/// The stream for where the streams and the log parted.
pub(crate) fn partings(replicas: usize) -> Config {
    Config {
        name: PARTINGS.to_owned(),
        description: Some(
            "where the order of the log is another than that of a stream; never delete from it"
                .to_owned(),
        ),
        subjects: vec!["care.parting.*".to_owned()],
        max_bytes: PARTING_BYTES,
        num_replicas: replicas,
        discard: DiscardPolicy::New,
        deny_delete: true,
        deny_purge: true,
        ..unlimited()
    }
}

fn unlimited() -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: CONSUMERS_MAX,
        max_age: Duration::ZERO,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

/// The epoch of an existing stream. Empty if it was created by somebody else.
pub(crate) fn epoch(found: &Config) -> String {
    found.metadata.get(EPOCH).cloned().unwrap_or_default()
}

/// The region of an existing stream and the one that is served, if both are known and differ.
pub(crate) fn other_region(found: &Config, needed: &Config) -> Option<(String, String)> {
    let found = found.metadata.get(REGION)?;
    let needed = needed.metadata.get(REGION)?;
    (found != needed).then(|| (found.clone(), needed.clone()))
}

/// Where an existing stream would break a promise.
pub(crate) fn differences(found: &Config, needed: &Config) -> Vec<Difference> {
    let mut differences = Differences(Vec::new());
    let mut check = |setting, found: &dyn Display, needed: &dyn Display| {
        differences.compare(setting, found.to_string(), needed.to_string());
    };
    let of = |config: &Config, key| tag(&config.metadata, key);
    check("metadata.tsunagi-region", &of(found, REGION), &of(needed, REGION));
    check("metadata.tsunagi-slots", &of(found, SLOTS), &of(needed, SLOTS));
    check("subjects", &found.subjects.join(", "), &needed.subjects.join(", "));
    // More of them keep what is promised, too.
    check("num_replicas", &found.num_replicas, &needed.num_replicas.max(found.num_replicas));
    check("max_msgs", &found.max_messages, &needed.max_messages);
    check("max_msgs_per_subject", &found.max_messages_per_subject, &-1);
    check("max_msg_size", &found.max_message_size, &needed.max_message_size);
    // A position is the sequence of its message, from 1 on.
    check("first_seq", &found.first_sequence.unwrap_or_default().max(1), &1);
    check("max_age", &format_args!("{:?}", found.max_age), &format_args!("{:?}", needed.max_age));
    let debug = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    check("retention", &debug(&found.retention), &debug(&needed.retention));
    check("storage", &debug(&found.storage), &debug(&needed.storage));
    check("discard", &debug(&found.discard), &debug(&needed.discard));
    check("deny_delete", &found.deny_delete, &needed.deny_delete);
    check("deny_purge", &found.deny_purge, &needed.deny_purge);
    check("allow_atomic", &found.allow_atomic_publish, &needed.allow_atomic_publish);
    for (setting, is_set) in breaking(found) {
        check(setting, &is_set, &false);
    }
    let window = found.duplicate_window;
    if !(DUPLICATE_WINDOW..=DUPLICATE_WINDOW_MAX).contains(&window) {
        let needed = format!("{DUPLICATE_WINDOW:?} to {DUPLICATE_WINDOW_MAX:?}");
        differences.compare("duplicate_window", format!("{window:?}"), needed);
    }
    differences.0
}

/// What no stream of a slot may have, and whether this one has it.
fn breaking(found: &Config) -> [(&'static str, bool); 12] {
    [
        ("sealed", found.sealed),
        ("no_ack", found.no_ack),
        ("mirror", found.mirror.is_some()),
        ("sources", found.sources.as_ref().is_some_and(|sources| !sources.is_empty())),
        ("subject_transform", found.subject_transform.is_some()),
        ("republish", found.republish.is_some()),
        ("persist_mode async", found.persist_mode == Some(PersistenceMode::Async)),
        ("allow_rollup_hdrs", found.allow_rollup),
        ("allow_msg_ttl", found.allow_message_ttl),
        ("allow_msg_schedules", found.allow_message_schedules),
        ("allow_msg_counter", found.allow_message_counter),
        ("discard_new_per_subject", found.discard_new_per_subject),
    ]
}

fn tag(metadata: &HashMap<String, String>, key: &str) -> String {
    metadata.get(key).map_or("missing", String::as_str).to_owned()
}

struct Differences(Vec<Difference>);

impl Differences {
    fn compare(&mut self, setting: &'static str, found: String, needed: String) {
        if found != needed {
            self.0.push(Difference { setting, found, needed });
        }
    }
}

#[cfg(test)]
mod tests {
    use tsunagi_domain::{PatientId, Zone};

    use super::*;

    fn region() -> Region {
        Region {
            id: Uuid::from_u128(7),
            slots: 64,
            zone_name: "UTC".into(),
            zone: Zone::utc(),
            course: 0,
            identifier_key: [0; 32],
        }
    }

    fn created() -> Config {
        slot_stream(Slot(5), &region(), 3, 1 << 20)
    }

    #[test]
    fn names_never_change() {
        // Golden: other names would be other streams.
        let stream = StreamId::Patient(PatientId::new(Uuid::from_u128(1)));
        assert_eq!(stream_name(Slot(5)), "CARE-05");
        assert_eq!(stream_name(Slot(100)), "CARE-100");
        let expected = "care.evt.07.p-00000000000000000000000000000001";
        assert_eq!(subject(Slot(7), stream), expected);
        assert_eq!(dead_letter_subject(Slot(7)), "care.dlq.07");
        assert_eq!(parting_subject(Slot(7)), "care.parting.07");
    }

    #[test]
    fn a_subject_is_read_in_its_own_slot_alone() {
        let stream = StreamId::Patient(PatientId::new(Uuid::from_u128(1)));
        let slot = stream.slot(64);
        let text = subject(slot, stream);
        assert_eq!(read_subject(&text, slot, 64), Some(stream));
        assert_eq!(read_subject(&text, Slot(slot.0 + 1), 64), None);
        let elsewhere = Slot(slot.0 + 1);
        assert_eq!(read_subject(&subject(elsewhere, stream), elsewhere, 64), None);
        for garbage in ["", "care.evt.", "care.evt.07.x.y", "other.7.quarantine"] {
            assert_eq!(read_subject(garbage, Slot(7), 64), None, "{garbage}");
        }
    }

    #[test]
    fn a_stream_as_it_was_created_is_used_again() {
        // The epoch is another each time, and the operator may have made room.
        let found = Config { max_bytes: 1 << 40, ..created() };
        assert_eq!(differences(&found, &created()), []);
    }

    #[test]
    fn every_setting_that_would_break_a_promise_is_told() {
        let differs = |change: &dyn Fn(&mut Config)| {
            let mut found = created();
            change(&mut found);
            let differences = differences(&found, &created());
            assert_eq!(differences.len(), 1, "{differences:?}");
            differences[0].to_string()
        };
        let told = differs(&|found| found.max_age = Duration::from_hours(1));
        assert_eq!(told, "`max_age` is 3600s and must be 0ns");
        let told = differs(&|found| found.deny_delete = false);
        assert_eq!(told, "`deny_delete` is false and must be true");
        let told = differs(&|found| found.discard = DiscardPolicy::Old);
        assert_eq!(told, "`discard` is old and must be new");
        let told = differs(&|found| drop(found.metadata.insert(SLOTS.into(), "16".into())));
        assert_eq!(told, "`metadata.tsunagi-slots` is 16 and must be 64");
        let told = differs(&|found| found.subjects = vec!["care.>".into()]);
        assert_eq!(told, "`subjects` is care.> and must be care.evt.05.*");
        assert_eq!(differences(&Config { num_replicas: 5, ..created() }, &created()), []);
        let told = differs(&|found| found.num_replicas = 1);
        assert_eq!(told, "`num_replicas` is 1 and must be 3");
        let told = differs(&|found| found.duplicate_window = Duration::from_secs(1));
        assert_eq!(told, "`duplicate_window` is 1s and must be 120s to 600s");
        let told = differs(&|found| found.persist_mode = Some(PersistenceMode::Async));
        assert_eq!(told, "`persist_mode async` is true and must be false");
        let told = differs(&|found| found.max_message_size = 1000);
        assert_eq!(told, "`max_msg_size` is 1000 and must be -1");
        let told = differs(&|found| found.first_sequence = Some(100));
        assert_eq!(told, "`first_seq` is 100 and must be 1");
        differs(&|found| found.deny_purge = false);
        differs(&|found| found.retention = RetentionPolicy::Interest);
        differs(&|found| found.storage = StorageType::Memory);
        differs(&|found| found.max_messages = 10);
        differs(&|found| found.max_messages_per_subject = 10);
        differs(&|found| found.allow_atomic_publish = false);
        differs(&|found| found.sealed = true);
        differs(&|found| found.allow_rollup = true);
    }
}
