//! Timelines: in the order of happening, as known at a time, the same from every rebuild.

use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use prost::Message as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::{Bus as _, Draft, Expected, Handler, Publication, Stored, StreamId};
use tsunagi_chassis::Config;
use tsunagi_domain::{PatientId, Zone};
use tsunagi_event_store::grpc::TimelineService;
use tsunagi_event_store::log::file::Patience;
use tsunagi_event_store::timeline::{Timeline, View};
use tsunagi_event_store::{Patients, Store};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_server::Timeline as _;
use tsunagi_proto::v1::watch_timeline_response::Frame;
use uuid::Uuid;

use crate::support::{
    ENCOUNTER, admitted, care_event, config, discharged, event, folder, handler, liaison, one,
    open, records, registered, visited,
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

async fn tell(events: Vec<v1::Event>) -> (TempDir, Store) {
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
async fn the_dead_are_dead_since_they_died_and_nowhere() {
    let died = |deceased_at: &str, deceased| {
        let demographics =
            v1::Demographics { deceased_at: deceased_at.into(), deceased, ..Default::default() };
        Payload::DemographicsUpdated(v1::DemographicsUpdated {
            demographics: Some(demographics),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        })
    };
    let planned = Payload::DischargePlanned(v1::DischargePlanned {
        encounter_id: ENCOUNTER.into(),
        planned_at: "2026-05-20".into(),
        ..Default::default()
    });
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &registered(&[])),
        care_event(0, 1, 2, &died("2026-05-02", true)),
        care_event(0, 2, 1, &admitted("4E")),
        care_event(0, 3, 1, &planned),
        care_event(0, 4, 9, &died("", true)),
    ])
    .await;
    for (version_max, died_at) in [(4, "2026-05-02"), (5, "")] {
        let view = View { as_known_at: None, version_max: Some(version_max) };
        let summary = fold(&store, view).summary(patient());
        assert_eq!(summary.state(), v1::PatientState::Deceased);
        assert_eq!(summary.since_at, died_at);
        assert_eq!((summary.place, summary.encounter_id.as_str()), (None, ""));
        assert_eq!(summary.planned_discharge_at, "");
    }
}

/// The sentences of entries in both languages.
fn sentences(timeline: &Timeline) -> Vec<(String, String)> {
    let texts = timeline.entries_oldest_first().into_iter().map(|entry| entry.text.unwrap());
    texts.map(|text| (text.ja, text.en)).collect()
}

#[tokio::test]
async fn sentences_tell_times_by_the_region_s_clock_and_dates_as_they_are() {
    let planned = |at: &str| {
        Payload::DischargePlanned(v1::DischargePlanned {
            encounter_id: ENCOUNTER.into(),
            planned_at: at.into(),
            ..Default::default()
        })
    };
    let died = Payload::DemographicsUpdated(v1::DemographicsUpdated {
        demographics: Some(v1::Demographics {
            deceased_at: "2026-05-04T20:30:00-04:00".into(),
            ..Default::default()
        }),
        keeps: Vec::new(),
        withdraws: Vec::new(),
    });
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &registered(&[])),
        care_event(0, 1, 3, &admitted("4E")),
        care_event(0, 2, 4, &planned("2026-05-19T22:00:00Z")),
        care_event(0, 3, 5, &planned("2026-05-20")),
        care_event(0, 4, 6, &died),
    ])
    .await;
    let told = sentences(&fold(&store, View::default()));
    assert_eq!(told[2].0, "退院予定 2026-05-20 07:00");
    assert_eq!(told[2].1, "discharge planned for 2026-05-20 07:00");
    assert_eq!(told[3].1, "discharge planned for 2026-05-20");
    assert_eq!(told[4].1, "demographics updated (died 2026-05-05 09:30)");
}

#[tokio::test]
async fn a_visit_ends_and_only_a_stay_ends_with_a_discharge() {
    let visit = Payload::EncounterRegistered(v1::EncounterRegistered {
        encounter_id: ENCOUNTER.into(),
        class: v1::EncounterClass::Outpatient.into(),
        place: Some(v1::Place {
            facility: Some(v1::Organisation { id: "acute".into(), name: "中央病院".into() }),
            ..Default::default()
        }),
        ..Default::default()
    });
    let cancel = Payload::DischargeCancelled(v1::EncounterCancellation {
        encounter_id: ENCOUNTER.into(),
        cancelled_event_id: event(2).to_string(),
        reason: String::new(),
    });
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &registered(&[])),
        care_event(0, 1, 3, &visit),
        care_event(0, 2, 4, &discharged()),
        care_event(0, 3, 5, &cancel),
        care_event(0, 4, 6, &admitted("4E")),
        care_event(0, 5, 7, &discharged()),
    ])
    .await;
    let of_the_visit = View { as_known_at: None, version_max: Some(4) };
    let told = sentences(&fold(&store, of_the_visit));
    assert_eq!(told[2], ("受診終了".into(), "visit ended".into()));
    assert_eq!(told[3], ("受診終了取消".into(), "end of visit cancelled".into()));
    let told = sentences(&fold(&store, View::default()));
    assert_eq!(told[5], ("退院".into(), "discharged".into()), "the visit became a stay");
}

fn address(text: &str, confidential: bool) -> v1::Demographics {
    let address = v1::Address { text: text.into(), confidential, ..Default::default() };
    v1::Demographics { address: Some(address), ..Default::default() }
}

fn lives_at(text: &str, confidential: bool) -> Payload {
    let demographics = Some(address(text, confidential));
    Payload::PatientRegistered(v1::PatientRegistered { identifiers: Vec::new(), demographics })
}

fn moved_to(text: &str, confidential: bool) -> Payload {
    let demographics = Some(address(text, confidential));
    Payload::DemographicsUpdated(v1::DemographicsUpdated {
        demographics,
        keeps: Vec::new(),
        withdraws: Vec::new(),
    })
}

/// Everything that entries and summary give out, as far as it is text.
fn given_out(timeline: &Timeline) -> String {
    let entries = timeline.entries_oldest_first();
    let shown = format!("{entries:?}{:?}", timeline.summary(patient()));
    let details = entries.into_iter().flat_map(|entry| entry.detail.unwrap_or_default().value);
    shown + &String::from_utf8_lossy(&details.collect::<Vec<u8>>())
}

#[tokio::test]
async fn a_confidential_address_is_given_out_nowhere() {
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &lives_at("秘密町1-2-3", false)),
        care_event(0, 1, 2, &moved_to("秘密町1-2-3", true)),
    ])
    .await;
    let timeline = fold(&store, View::default());
    assert!(!given_out(&timeline).contains("秘密町"), "not in what was said before either");
    let summary = timeline.summary(patient());
    assert!(summary.demographics.unwrap().address.unwrap().confidential, "it is told why");
}

#[tokio::test]
async fn an_address_made_confidential_since_is_not_in_the_timeline_of_before() {
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &lives_at("秘密町1-2-3", false)),
        care_event(0, 1, 2, &visited()),
        care_event(0, 2, 3, &moved_to("秘密町1-2-3", true)),
    ])
    .await;
    let first = stored(&store)[0].placed.recorded_at;
    let as_known = View { as_known_at: Some(first), version_max: None };
    let of_a_page = View { as_known_at: None, version_max: Some(2) };
    for before in [as_known, of_a_page] {
        let timeline = fold(&store, before);
        assert!(!types(&timeline).is_empty());
        assert!(!given_out(&timeline).contains("秘密町"));
    }
}

#[tokio::test]
async fn only_what_was_said_after_an_address_was_confidential_is_shown_again() {
    let nameless = Payload::DemographicsUpdated(v1::DemographicsUpdated {
        demographics: Some(v1::Demographics::default()),
        keeps: Vec::new(),
        withdraws: Vec::new(),
    });
    let (_folder, store) = tell(vec![
        care_event(0, 0, 1, &lives_at("旧町1", false)),
        care_event(0, 1, 2, &moved_to("秘密町2", true)),
        care_event(0, 2, 3, &nameless),
        care_event(0, 3, 4, &moved_to("新町3", false)),
    ])
    .await;
    for version in 1..=4 {
        let view = View { as_known_at: None, version_max: Some(version) };
        let shown = given_out(&fold(&store, view));
        assert!(!shown.contains("旧町") && !shown.contains("秘密町"), "{version}");
        assert_eq!(shown.contains("新町"), version == 4);
        // What says nothing of the address does not say that it is confidential no more.
        let known = fold(&store, view).summary(patient()).demographics.unwrap();
        let is_confidential = known.address.is_some_and(|address| address.confidential);
        assert_eq!(is_confidential, version < 4, "{version}");
    }
    let of_the_third = &fold(&store, View::default()).entries_oldest_first()[2].detail;
    assert_eq!(of_the_third.as_ref().unwrap().value, nameless.encode_to_vec(), "as it came");
}

#[tokio::test]
async fn an_event_labelled_as_of_a_confidential_address_makes_it_so() {
    let label = v1::Sensitivity::ConfidentialAddress.into();
    let labelled = v1::Event {
        sensitivity: vec![label],
        ..care_event(0, 1, 2, &moved_to("秘密町1-2-3", false))
    };
    let (_folder, store) =
        tell(vec![care_event(0, 0, 1, &lives_at("秘密町1-2-3", false)), labelled]).await;
    assert!(!given_out(&fold(&store, View::default())).contains("秘密町"));
}

#[tokio::test]
async fn a_watcher_is_not_shown_an_address_that_a_much_later_event_makes_confidential() {
    let folder = folder();
    let store = open(&folder);
    let handler = handler(&store, &folder);
    handler.submit(one(care_event(0, 0, 1, &lives_at("秘密町1-2-3", false)))).await.unwrap();
    // Several times what is read of a stream at once.
    let note = |number| Draft {
        event: event(number),
        record: care_event(0, number, 2, &visited()).encode_to_vec().into(),
    };
    let (stream, expected) = (StreamId::Patient(patient()), Expected::Any);
    for begin in (1..=1900).step_by(100) {
        let drafts = (begin..begin + 100).map(note).collect();
        store.publish(Publication { stream, expected, drafts }).await.unwrap();
    }
    handler.submit(one(care_event(0, 2000, 3, &moved_to("秘密町1-2-3", true)))).await.unwrap();
    let entries = watched_until_caught_up(&store, &folder).await;
    assert_eq!(entries.len(), 1902);
    let details = entries.into_iter().flat_map(|entry| entry.detail.unwrap_or_default().value);
    let details: Vec<u8> = details.collect();
    assert!(!String::from_utf8_lossy(&details).contains("秘密町"));
}

/// The entries of patient 0 that a watcher is sent from the first event on.
async fn watched_until_caught_up(store: &Store, folder: &TempDir) -> Vec<v1::TimelineEntry> {
    let patients = Patients::open(records(store, folder.path()), folder.path()).unwrap();
    let stop = CancellationToken::new();
    let service = TimelineService::new(store.clone(), patients, &config(folder.path()), stop);
    let watch =
        v1::WatchTimelineRequest { patient_id: patient().to_string(), cursor: String::new() };
    let mut frames = service.watch_timeline(liaison(watch)).await.unwrap().into_inner();
    let mut entries = Vec::new();
    loop {
        match frames.next().await.unwrap().unwrap().frame.unwrap() {
            Frame::Entry(entry) => entries.push(entry),
            Frame::CaughtUp(_) => return entries,
            Frame::Heartbeat(_) => {}
        }
    }
}

#[tokio::test]
async fn a_small_record_into_which_a_large_one_was_merged_is_a_large_timeline() {
    let folder = folder();
    // None may be in memory, so that whoever needs the right to one is refused.
    let config = Config {
        segment_bytes: 4 << 20,
        large_timelines: 0,
        read_wait_ms: 20,
        ..config(folder.path())
    };
    let store = Store::open(&config).unwrap();
    let handler = Arc::new(Handler::new(Arc::new(store.clone()), &config));
    for patient in [0, 1] {
        handler.submit(one(care_event(patient, patient, 1, &registered(&[])))).await.unwrap();
    }
    let patients = Patients::open(records(&store, folder.path()), folder.path()).unwrap();
    let stop = CancellationToken::new();
    let service = TimelineService::new(store.clone(), patients, &config, stop);
    let read = || v1::ReadTimelineRequest {
        patient_id: patient().to_string(),
        ..v1::ReadTimelineRequest::default()
    };
    let merged = PatientId::new(Uuid::from_u128(2));
    let event = v1::PatientsMerged { retired_patient_id: merged.to_string(), note: String::new() };
    for number in 10..20 {
        let payload = vec![0; 1 << 20];
        let large = v1::Event { payload, ..care_event(1, number, 2, &visited()) };
        let record = large.encode_to_vec().into();
        let drafts = vec![Draft { event: crate::support::event(number), record }];
        let (stream, expected) = (StreamId::Patient(merged), Expected::Any);
        store.publish(Publication { stream, expected, drafts }).await.unwrap();
    }
    let page = service.read_timeline(liaison(read())).await.unwrap().into_inner();
    assert_eq!(page.entries.len(), 1, "small as long as they are two");
    let merge = Payload::PatientsMerged(event);
    handler.submit(one(care_event(0, 30, 3, &merge))).await.unwrap();
    let refused = service.read_timeline(liaison(read())).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
}

#[tokio::test]
async fn what_this_version_cannot_read_is_shown_as_such() {
    let (folder, store) = tell(vec![care_event(0, 0, 1, &registered(&[]))]).await;
    let newer = v1::Event {
        r#type: "care.moon.landed.v1".into(),
        payload: vec![1, 2, 3],
        ..care_event(0, 1, 2, &visited())
    };
    let drafts = vec![Draft { event: event(1), record: newer.encode_to_vec().into() }];
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
