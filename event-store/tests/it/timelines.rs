//! Timelines: in the order of happening, as known at a time, the same from every rebuild.

use jiff::Timestamp;
use tsunagi_bus::{Stored, StreamId};
use tsunagi_domain::{PatientId, Zone};
use tsunagi_event_store::Store;
use tsunagi_event_store::timeline::{Timeline, View};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use tsunagi_event_store::log::scan::Patience;

use crate::support::{
    ENCOUNTER, admitted, care_event, discharged, event, folder, handler, one, open, registered,
    visited,
};

fn patient() -> PatientId {
    PatientId::new(Uuid::from_u128(1))
}

fn zone() -> Zone {
    Zone::named("Asia/Tokyo").unwrap()
}

fn stored(store: &Store) -> Vec<Stored> {
    store.read_all(StreamId::Patient(patient()), Patience::Wait).unwrap()
}

fn fold(store: &Store, view: View) -> Timeline {
    Timeline::fold(&stored(store), &zone(), view)
}

fn types(timeline: &Timeline) -> Vec<String> {
    timeline.entries_oldest_first().into_iter().map(|entry| entry.r#type).collect()
}

async fn tell(events: Vec<v1::Event>) -> (tempfile::TempDir, Store) {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    for event in events {
        handler.submit(one(event)).await.unwrap();
    }
    (folder, store)
}

#[tokio::test]
async fn entries_stand_in_the_order_in_which_they_happened() {
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &registered(&[])),
        care_event(0, 1, 9, &visited()),
        care_event(0, 2, 3, &admitted("4E")),
    ])
    .await;
    let shown = types(&fold(&store, View::default()));
    assert_eq!(
        shown,
        [
            "care.patient.registered.v1",
            "care.encounter.admitted.v1",
            "care.home.visit_completed.v1",
        ]
    );
}

#[tokio::test]
async fn a_timeline_can_be_read_as_it_was_known() {
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &registered(&[])),
        care_event(0, 1, 3, &admitted("4E")),
        care_event(0, 2, 5, &discharged()),
    ])
    .await;
    let events = stored(&store);
    for (count, event) in (1..).zip(&events) {
        let at = event.placed.recorded_at;
        let known = fold(&store, View { as_known_at: Some(at), version_max: None });
        let same_moment = events.iter().filter(|other| other.placed.recorded_at <= at).count();
        assert_eq!(types(&known).len(), same_moment);
        assert!(same_moment >= count);
        let before = View { as_known_at: None, version_max: Some(event.placed.version) };
        assert_eq!(types(&fold(&store, before)).len(), count);
    }
    let never = View { as_known_at: Some(Timestamp::UNIX_EPOCH), version_max: None };
    assert!(types(&fold(&store, never)).is_empty());
}

#[tokio::test]
async fn a_cancelled_entry_stays_and_says_by_what() {
    let cancel = Payload::AdmitCancelled(v1::EncounterCancellation {
        encounter_id: ENCOUNTER.into(),
        cancelled_event_id: event(1).to_string(),
        reason: String::new(),
    });
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &registered(&[])),
        care_event(0, 1, 3, &admitted("4E")),
        care_event(0, 2, 3, &cancel),
    ])
    .await;
    let timeline = fold(&store, View::default());
    let entries = timeline.entries_oldest_first();
    assert_eq!(entries[1].cancelled_by_event_id, event(2).to_string());
    assert_eq!(entries[2].cancelled_by_event_id, "");
    assert_eq!(timeline.summary(patient()).state(), v1::PatientState::Unspecified);
    // Before it was cancelled, it was in force.
    let before = fold(&store, View { as_known_at: None, version_max: Some(2) });
    assert_eq!(before.entries_oldest_first()[1].cancelled_by_event_id, "");
    assert_eq!(before.summary(patient()).state(), v1::PatientState::InHospital);
}

#[tokio::test]
async fn the_summary_says_who_and_where() {
    let planned = Payload::DischargePlanned(v1::DischargePlanned {
        encounter_id: ENCOUNTER.into(),
        planned_at: "2026-05-20".into(),
        ..Default::default()
    });
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &registered(&["77"])),
        care_event(0, 1, 3, &admitted("4E")),
        care_event(0, 2, 4, &planned),
    ])
    .await;
    let summary = fold(&store, View::default()).summary(patient());
    assert_eq!(summary.identifiers[0].value, "77");
    assert_eq!(summary.demographics.as_ref().unwrap().names[0].family, "髙橋");
    assert_eq!(summary.state(), v1::PatientState::InHospital);
    assert_eq!(summary.place.as_ref().unwrap().ward, "4E");
    assert_eq!(summary.since_at, "2026-05-03T09:00:00+09:00");
    assert_eq!(summary.planned_discharge_at, "2026-05-20");
    assert_eq!(summary.version, 3);
}

#[tokio::test]
async fn a_confidential_address_is_given_out_nowhere() {
    let lives_at = |confidential| v1::Demographics {
        address: Some(v1::Address {
            text: "秘密町1-2-3".into(),
            confidential,
            ..Default::default()
        }),
        ..Default::default()
    };
    let registered = Payload::PatientRegistered(v1::PatientRegistered {
        identifiers: Vec::new(),
        demographics: Some(lives_at(false)),
    });
    let updated = Payload::DemographicsUpdated(v1::DemographicsUpdated {
        demographics: Some(lives_at(true)),
    });
    let (_folder, store) =
        tell(vec![care_event(0, 0, 1, &registered), care_event(0, 1, 2, &updated)]).await;
    let timeline = fold(&store, View::default());
    let shown = format!("{:?}{:?}", timeline.entries_oldest_first(), timeline.summary(patient()));
    let secret = "秘密町".as_bytes();
    let entries = timeline.entries_oldest_first().into_iter();
    let bytes = entries.flat_map(|entry| entry.detail.unwrap_or_default().value);
    let bytes: Vec<u8> = bytes.collect();
    assert!(!shown.contains("秘密町"));
    assert!(
        !bytes.windows(secret.len()).any(|window| window == secret),
        "not in what was said before either"
    );
}

#[tokio::test]
async fn what_this_version_cannot_read_is_shown_as_such() {
    use tsunagi_bus::{Bus as _, Expected, Publication};
    let (folder, store) = tell(vec![care_event(0, 0, 1, &registered(&[]))]).await;
    let newer = v1::Event {
        r#type: "care.moon.landed.v1".into(),
        payload: vec![1, 2, 3],
        ..care_event(0, 1, 2, &visited())
    };
    let drafts = vec![tsunagi_bus::Draft {
        event: event(1),
        record: prost::Message::encode_to_vec(&newer).into(),
    }];
    let stream = StreamId::Patient(patient());
    store.publish(Publication { stream, expected: Expected::Any, drafts }).await.unwrap();
    let entries = fold(&store, View::default()).entries_oldest_first();
    assert_eq!(entries[1].text.as_ref().unwrap().en, "unknown entry of type care.moon.landed.v1");
    assert_eq!(entries[1].detail, None);
    // And it does not get in the way of what follows.
    let handler = handler(&store, &folder);
    handler.submit(one(care_event(0, 2, 3, &visited()))).await.unwrap();
    assert_eq!(fold(&store, View::default()).version(), 3);
}
