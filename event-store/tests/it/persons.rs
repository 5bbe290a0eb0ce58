//! What is given out of one person whose records were merged: addresses that must not leave any of
//! them, the name that one of them has, and records merged one into the next.

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use prost::Message;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};
use tsunagi_bus::grpc::CareBusService;
use tsunagi_bus::handler::Moving;
use tsunagi_bus::{Handler, Submission};
use tsunagi_domain::PatientId;
use tsunagi_event_store::grpc::TimelineService;
use tsunagi_event_store::{Patients, Store};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_server::CareBus as _;
use tsunagi_proto::v1::subscribe_response::Frame as Sent;
use tsunagi_proto::v1::timeline_server::Timeline as _;
use tsunagi_proto::v1::watch_timeline_response::Frame as Watched;
use uuid::Uuid;

use crate::support::{
    admitted, care_event, config, event, folder, handler, liaison, linked, one, open, records,
    registered, visited,
};

const A: u128 = 0;
const B: u128 = 1;

/// A store, everything that is served of it, and who tells it things.
struct Served {
    _folder: TempDir,
    _store: Store,
    handler: Arc<Handler>,
    bus: CareBusService,
    timeline: TimelineService,
    stop: CancellationToken,
    number: u128,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Served {
    fn open() -> Self {
        let folder = folder();
        let store = open(&folder);
        let handler = handler(&store, &folder);
        let (config, stop) = (config(folder.path()), CancellationToken::new());
        let patients = Patients::open(records(&store, folder.path()), folder.path()).unwrap();
        let rows = patients.clone();
        let until = stop.clone();
        tokio::spawn(async move { rows.run(until).await });
        let bus = CareBusService::new(Arc::clone(&handler), &config, stop.clone());
        let timeline = TimelineService::new(store.clone(), patients, &config, stop.clone());
        Self { _folder: folder, _store: store, handler, bus, timeline, stop, number: 0 }
    }

    /// Tells something of a patient, as of a day of May.
    async fn tell(&mut self, patient: u128, day: u8, payload: &Payload) {
        self.try_tell(patient, day, payload).await.unwrap();
    }

    async fn try_tell(
        &mut self,
        patient: u128,
        day: u8,
        payload: &Payload,
    ) -> Result<(), &'static str> {
        self.number += 1;
        let said = one(care_event(patient, self.number, day, payload));
        let taken = self.handler.submit(said).await;
        taken.map(|_| ()).map_err(|error| tsunagi_chassis::Refused::from(error).reason)
    }

    async fn read(&self, request: v1::ReadTimelineRequest) -> v1::ReadTimelineResponse {
        self.timeline.read_timeline(liaison(request)).await.unwrap().into_inner()
    }

    async fn patient(&self, number: u128) -> v1::PatientSummary {
        self.read(of(number)).await.patient.unwrap()
    }

    /// All that is given out of these patients, through every door, as bytes.
    async fn given_out(&self, numbers: &[u128]) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let subscribe = v1::SubscribeRequest {
            patient_ids: numbers.iter().map(|number| patient(*number)).collect(),
            ..v1::SubscribeRequest::default()
        };
        let frames = self.bus.subscribe(liaison(subscribe)).await.unwrap();
        let caught_up =
            |frame: &v1::SubscribeResponse| matches!(frame.frame, Some(Sent::CaughtUp(_)));
        all.push(("bus".to_owned(), until(frames, caught_up).await));
        let list = v1::ListPatientsRequest::default();
        let listed = self.timeline.list_patients(liaison(list)).await.unwrap().into_inner();
        all.push(("list".to_owned(), listed.encode_to_vec()));
        for number in numbers {
            let now = self.read(of(*number)).await;
            for entry in &now.entries {
                let as_known_at = entry.recorded_at;
                let request = v1::ReadTimelineRequest { as_known_at, ..of(*number) };
                let known = self.timeline.read_timeline(liaison(request)).await;
                // It may be asked as of before the patient was known.
                let known = known.map(|known| known.into_inner().encode_to_vec());
                all.extend(known.map(|known| (format!("{number} as known at"), known)));
            }
            all.push((format!("{number}"), now.encode_to_vec()));
            let watch =
                v1::WatchTimelineRequest { patient_id: patient(*number), cursor: String::new() };
            let frames = self.timeline.watch_timeline(liaison(watch)).await.unwrap();
            let caught_up = |frame: &v1::WatchTimelineResponse| {
                matches!(frame.frame, Some(Watched::CaughtUp(_)))
            };
            all.push((format!("{number} watched"), until(frames, caught_up).await));
        }
        all
    }

    /// Through which doors a word is given out.
    async fn doors(&self, numbers: &[u128], word: &str) -> Vec<String> {
        let all = self.given_out(numbers).await;
        let says = |bytes: &[u8]| bytes.windows(word.len()).any(|at| at == word.as_bytes());
        all.into_iter().filter(|(_, bytes)| says(bytes)).map(|(door, _)| door).collect()
    }
}

/// The bytes of what a stream sends until it says that it has caught up.
async fn until<M: Message>(
    frames: Response<impl Stream<Item = Result<M, Status>> + Unpin>,
    is_last: impl Fn(&M) -> bool,
) -> Vec<u8> {
    let (mut frames, mut bytes) = (frames.into_inner(), Vec::new());
    loop {
        let frame = frames.next().await.unwrap().unwrap();
        bytes.extend(frame.encode_to_vec());
        if is_last(&frame) {
            return bytes;
        }
    }
}

fn patient(number: u128) -> String {
    PatientId::new(Uuid::from_u128(number + 1)).to_string()
}

fn of(number: u128) -> v1::ReadTimelineRequest {
    v1::ReadTimelineRequest {
        patient_id: patient(number),
        page_size: 500,
        ..v1::ReadTimelineRequest::default()
    }
}

fn living_at(text: &str, confidential: bool) -> v1::Demographics {
    let address = v1::Address { text: text.into(), confidential, ..Default::default() };
    v1::Demographics { address: Some(address), ..Default::default() }
}

fn lives_at(text: &str, confidential: bool) -> Payload {
    let demographics = Some(living_at(text, confidential));
    Payload::PatientRegistered(v1::PatientRegistered { identifiers: Vec::new(), demographics })
}

fn moved_to(text: &str, confidential: bool) -> Payload {
    let demographics = Some(living_at(text, confidential));
    Payload::DemographicsUpdated(v1::DemographicsUpdated {
        demographics,
        keeps: Vec::new(),
        withdraws: Vec::new(),
    })
}

fn merged(retired: u128) -> Payload {
    let retired_patient_id = patient(retired);
    Payload::PatientsMerged(v1::PatientsMerged { retired_patient_id, note: String::new() })
}

fn unmerged(retired: u128) -> Payload {
    let retired_patient_id = patient(retired);
    Payload::PatientsUnmerged(v1::PatientsUnmerged { retired_patient_id, note: String::new() })
}

const NOWHERE: [String; 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_record_says_is_confidential_no_record_of_the_person_gives_out() {
    for (survivor_is_confidential, other_is_confidential) in [(false, true), (true, false)] {
        let mut served = Served::open();
        served.tell(A, 1, &lives_at("ALPHA-TOWN", survivor_is_confidential)).await;
        served.tell(B, 1, &lives_at("BETA-TOWN", other_is_confidential)).await;
        let open = if survivor_is_confidential { "BETA-TOWN" } else { "ALPHA-TOWN" };
        assert!(!served.doors(&[A, B], open).await.is_empty(), "nobody said so of this person");
        served.tell(A, 3, &merged(B)).await;
        for word in ["ALPHA-TOWN", "BETA-TOWN"] {
            assert_eq!(served.doors(&[A, B], word).await, NOWHERE, "{word}");
        }
        served.tell(A, 4, &moved_to("NEW-TOWN", false)).await;
        let doors = served.doors(&[A, B], "NEW-TOWN").await;
        for door in ["bus", "list", "0", "0 watched"] {
            assert!(doors.iter().any(|shown| shown == door), "{door}: {doors:?}");
        }
        for word in ["ALPHA-TOWN", "BETA-TOWN"] {
            assert_eq!(served.doors(&[A, B], word).await, NOWHERE, "{word}");
        }
        served.tell(A, 5, &moved_to("SECRET-TOWN", true)).await;
        for word in ["ALPHA-TOWN", "BETA-TOWN", "NEW-TOWN", "SECRET-TOWN"] {
            assert_eq!(served.doors(&[A, B], word).await, NOWHERE, "{word}");
        }
        served.tell(A, 6, &unmerged(B)).await;
        // Two people: of which of them it was said while they were one, nobody knows.
        assert_eq!(served.doors(&[B], "BETA-TOWN").await, NOWHERE);
        served.tell(B, 7, &moved_to("OPEN-TOWN", false)).await;
        assert!(!served.doors(&[B], "OPEN-TOWN").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_records_keeps_what_its_first_one_says_is_confidential() {
    let mut served = Served::open();
    served.tell(A, 1, &lives_at("ALPHA-TOWN", true)).await;
    for number in 1..4 {
        served.tell(number, 1, &lives_at("BETA-TOWN", false)).await;
        served.tell(number, 2, &merged(number - 1)).await;
    }
    assert_eq!(served.doors(&[0, 1, 2, 3], "BETA-TOWN").await, NOWHERE);
    assert_eq!(served.doors(&[0, 1, 2, 3], "ALPHA-TOWN").await, NOWHERE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_told_late_of_before_it_was_confidential_is_withheld() {
    let mut served = Served::open();
    served.tell(A, 1, &lives_at("OLD-TOWN", false)).await;
    served.tell(A, 10, &moved_to("SECRET-TOWN", true)).await;
    served.tell(A, 5, &moved_to("LATE-TOWN", false)).await;
    for word in ["OLD-TOWN", "SECRET-TOWN", "LATE-TOWN"] {
        assert_eq!(served.doors(&[A], word).await, NOWHERE, "{word}");
    }
    served.tell(A, 12, &moved_to("NEW-TOWN", false)).await;
    let doors = served.doors(&[A], "NEW-TOWN").await;
    assert!(doors.contains(&"bus".to_owned()) && doors.contains(&"0".to_owned()), "{doors:?}");
    for word in ["OLD-TOWN", "SECRET-TOWN", "LATE-TOWN"] {
        assert_eq!(served.doors(&[A], word).await, NOWHERE, "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_makes_a_chain_too_long_is_refused_and_loses_nothing() {
    let mut served = Served::open();
    served.tell(0, 1, &registered(&[])).await;
    served.tell(0, 2, &admitted("4E")).await;
    for number in 1..=16 {
        served.tell(number, 1, &registered(&[])).await;
        served.tell(number, 3, &merged(number - 1)).await;
    }
    served.tell(17, 1, &registered(&[])).await;
    assert_eq!(served.try_tell(17, 3, &merged(16)).await, Err("MERGES_TOO_DEEP"));
    // As it says: the other way round.
    served.tell(16, 3, &merged(17)).await;
    let whole = served.read(of(16)).await;
    assert!(whole.entries.iter().any(|entry| entry.r#type == "care.encounter.admitted.v1"));
    assert_eq!(whole.patient.unwrap().stays.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anonymous_record_has_the_name_of_the_record_that_is_merged_into_it() {
    let mut served = Served::open();
    let consulted = Payload::WalkInConsultRecorded(v1::WalkInConsultRecorded::default());
    served.tell(A, 1, &consulted).await;
    served.tell(B, 1, &registered(&["1"])).await;
    assert!(served.patient(A).await.is_anonymous);
    served.tell(A, 3, &merged(B)).await;
    let list = v1::ListPatientsRequest::default();
    let listed = served.timeline.list_patients(liaison(list)).await.unwrap().into_inner();
    for known in [served.patient(A).await, listed.patients[0].clone()] {
        assert_eq!(known.demographics.unwrap().names[0].family, "髙橋");
        assert!(!known.is_anonymous);
    }
    served.tell(A, 4, &unmerged(B)).await;
    let known = served.patient(A).await;
    assert!(known.is_anonymous && known.demographics.is_none_or(|said| said.names.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anonymous_record_is_somebody_s_when_it_has_a_name_or_a_number() {
    let mut served = Served::open();
    let name = v1::HumanName { family: "髙橋".into(), ..Default::default() };
    let named = Payload::DemographicsUpdated(v1::DemographicsUpdated {
        demographics: Some(v1::Demographics { names: vec![name], ..Default::default() }),
        ..Default::default()
    });
    for (patient, said) in [(A, named), (B, linked("1"))] {
        let consulted = Payload::WalkInConsultRecorded(v1::WalkInConsultRecorded::default());
        served.tell(patient, 1, &consulted).await;
        assert!(served.patient(patient).await.is_anonymous);
        served.tell(patient, 2, &said).await;
        assert!(!served.patient(patient).await.is_anonymous);
    }
}

/// Somebody registered twice, for whom each record has a bed: people must see both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_records_that_are_merged_each_shows_the_offer_that_was_accepted() {
    let mut served = Served::open();
    let organisation = |id: &str| Some(v1::Organisation { id: id.into(), name: String::new() });
    for patient in [A, B] {
        let id = |kind: u128| Uuid::from_u128(100 + 10 * kind + patient).to_string();
        let place = v1::Place { facility: organisation("hills"), ..Default::default() };
        let (encounter_id, transfer_request_id) = (id(1), id(2));
        let answer = v1::TransferAnswer { transfer_request_id: id(2), ..Default::default() };
        for payload in [
            registered(&[]),
            Payload::Admitted(v1::Admitted {
                encounter_id: id(1),
                place: Some(place),
                ..Default::default()
            }),
            Payload::TransferRequested(v1::TransferRequested {
                transfer_request_id,
                encounter_id,
                facility: organisation("acute"),
                ..Default::default()
            }),
            Payload::TransferOffered(answer.clone()),
            Payload::TransferAccepted(answer),
        ] {
            served.tell(patient, 2, &payload).await;
        }
    }
    served.tell(A, 5, &merged(B)).await;
    let summary = served.patient(A).await;
    let list = v1::ListPatientsRequest::default();
    let listed = served.timeline.list_patients(liaison(list)).await.unwrap().into_inner();
    for known in [&summary, &listed.patients[0]] {
        let accepted = known.transfer_requests.iter();
        let accepted: Vec<_> = accepted
            .map(|asked| (asked.state.clone().unwrap().en, asked.asked_at.clone()))
            .collect();
        let one = ("accepted".to_owned(), "2026-05-02T09:00:00+09:00".to_owned());
        assert_eq!(accepted, [one.clone(), one]);
    }
    served.tell(A, 6, &unmerged(B)).await;
    assert_eq!(served.patient(A).await.transfer_requests.len(), 1);
}

/// Each record says its own wish in the place of the other's, as neither could alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_wishes_that_merged_records_say_in_each_other_s_place_the_last_is_shown() {
    let mut served = Served::open();
    let wish = |number: u128, instead: u128| {
        Payload::AcpPreferenceRecorded(v1::AcpPreferenceRecorded {
            preference_id: Uuid::from_u128(number).to_string(),
            supersedes_preference_id: Uuid::from_u128(instead).to_string(),
            preference: format!("wish {number}"),
            ..Default::default()
        })
    };
    for (patient, day, said) in [(A, 4, wish(1, 2)), (B, 3, wish(2, 1))] {
        served.tell(patient, 1, &registered(&[])).await;
        served.tell(patient, day, &said).await;
    }
    served.tell(A, 5, &merged(B)).await;
    let wishes = served.patient(A).await.wishes;
    assert_eq!(wishes.iter().map(|wish| wish.preference.as_str()).collect::<Vec<_>>(), ["wish 1"]);
}

/// I3 is of one patient and event id: see README, "What is always true".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_was_told_to_the_survivor_is_another_one_of_the_record_that_is_its_own_again()
{
    let mut served = Served::open();
    for number in [A, B] {
        served.tell(number, 1, &registered(&[])).await;
    }
    served.tell(A, 2, &merged(B)).await;
    let visit = |patient| -> Submission { one(care_event(patient, 99, 3, &visited())) };
    served.handler.submit(visit(A)).await.unwrap();
    served.tell(A, 4, &unmerged(B)).await;
    // Each of the two says it: what was recorded since the merge stays with the survivor.
    assert!(!served.handler.submit(visit(B)).await.unwrap()[0].repeated);
    served.tell(A, 5, &merged(B)).await;
    let told = served.read(of(A)).await.entries;
    let same = told.iter().filter(|entry| entry.event_id == event(99).to_string());
    let mut records: Vec<&str> = same.map(|entry| entry.merged_patient_id.as_str()).collect();
    records.sort_unstable();
    assert_eq!(records, ["", &*patient(B)], "two events, and it is told of which record each is");
}

fn in_error(of: u128) -> Payload {
    let corrects_event_id = event(of).to_string();
    Payload::EnteredInError(v1::EnteredInError { corrects_event_id, ..Default::default() })
}

impl Served {
    /// Two patients, of whom the first is said to live where the second does, in the event of this
    /// number.
    async fn mixed_up() -> (Self, u128) {
        let mut served = Self::open();
        served.tell(A, 1, &lives_at("ALPHA-TOWN", false)).await;
        served.tell(B, 1, &registered(&[])).await;
        served.tell(A, 3, &moved_to("BETA-TOWN", false)).await;
        let doors = served.doors(&[A], "BETA-TOWN").await;
        for door in ["bus", "list", "0", "0 watched"] {
            assert!(
                doors.iter().any(|shown| shown == door),
                "nobody knows better: {door}: {doors:?}"
            );
        }
        let wrong = served.number;
        (served, wrong)
    }

    /// That what the first says of where somebody lives was entered in error is known everywhere,
    /// but where the second lives there.
    async fn gives_out_nothing_of_beta(&self, of_the_second: &[&str]) {
        assert_eq!(self.doors(&[A], "BETA-TOWN").await, of_the_second);
        let known = self.patient(A).await.demographics.unwrap();
        assert_eq!(known.address.unwrap().text, "ALPHA-TOWN");
        assert!(!self.doors(&[A], "ALPHA-TOWN").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_was_entered_in_error_is_given_out_by_no_reader() {
    let (mut served, wrong) = Served::mixed_up().await;
    served.tell(A, 4, &in_error(wrong)).await;
    served.gives_out_nothing_of_beta(&[]).await;
    // It was right after all.
    served.tell(A, 5, &in_error(served.number)).await;
    assert!(!served.doors(&[A], "BETA-TOWN").await.is_empty());
    served.tell(A, 6, &in_error(served.number)).await;
    served.gives_out_nothing_of_beta(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_was_moved_to_whose_it_is_is_read_there_alone() {
    let (mut served, wrong) = Served::mixed_up().await;
    let id = |number: u128| PatientId::new(Uuid::from_u128(number + 1));
    let moving = Moving {
        act: event(500),
        from: id(A),
        to: id(B),
        events: vec![event(wrong)],
        note: String::new(),
        said: care_event(A, 500, 4, &in_error(wrong)),
        expected_version: None,
    };
    served.handler.move_events(moving).await.unwrap();
    served.gives_out_nothing_of_beta(&["list"]).await;
    assert!(!served.doors(&[B], "BETA-TOWN").await.is_empty());
    served.tell(B, 5, &moved_to("SECRET-TOWN", true)).await;
    for word in ["BETA-TOWN", "SECRET-TOWN"] {
        assert_eq!(served.doors(&[A, B], word).await, NOWHERE, "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_record_that_survives_says_was_an_error_is_one_in_the_other_too() {
    let (mut served, wrong) = Served::mixed_up().await;
    served.tell(B, 4, &merged(A)).await;
    served.tell(B, 5, &in_error(wrong)).await;
    assert_eq!(served.doors(&[A, B], "BETA-TOWN").await, NOWHERE);
    served.tell(B, 6, &unmerged(A)).await;
    assert_eq!(served.doors(&[A, B], "BETA-TOWN").await, NOWHERE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_survivor_said_was_no_error_is_one_again_in_the_record_that_is_its_own_again() {
    let (mut served, wrong) = Served::mixed_up().await;
    served.tell(A, 4, &in_error(wrong)).await;
    let error = served.number;
    served.tell(B, 5, &merged(A)).await;
    served.tell(B, 6, &in_error(error)).await;
    assert!(!served.doors(&[A, B], "BETA-TOWN").await.is_empty(), "it holds in both");
    served.tell(B, 7, &unmerged(A)).await;
    served.gives_out_nothing_of_beta(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_be_confidential_while_merged_is_so_of_both_when_they_are_taken_apart() {
    let mut served = Served::open();
    served.tell(A, 1, &lives_at("ALPHA-TOWN", false)).await;
    served.tell(B, 1, &lives_at("BETA-TOWN", false)).await;
    served.tell(2, 1, &lives_at("GAMMA-TOWN", false)).await;
    served.tell(B, 2, &merged(2)).await;
    served.tell(A, 3, &merged(B)).await;
    served.tell(A, 10, &moved_to("SECRET-TOWN", true)).await;
    served.tell(A, 11, &unmerged(B)).await;
    let all = ["ALPHA-TOWN", "BETA-TOWN", "GAMMA-TOWN", "SECRET-TOWN"];
    for word in all {
        assert_eq!(served.doors(&[A, B, 2], word).await, NOWHERE, "{word}");
    }
    served.tell(B, 12, &unmerged(2)).await;
    for word in all {
        assert_eq!(served.doors(&[A, B, 2], word).await, NOWHERE, "{word}");
    }
    // What is told of before it was said to be confidential does not open it.
    served.tell(B, 9, &moved_to("LATE-TOWN", false)).await;
    assert_eq!(served.doors(&[B], "LATE-TOWN").await, NOWHERE);
    for (patient, word) in [(B, "NEW-BETA"), (2, "NEW-GAMMA")] {
        served.tell(patient, 13, &moved_to(word, false)).await;
        assert!(!served.doors(&[patient], word).await.is_empty(), "{word}");
    }
    // What is said of the first from then on does not concern the others.
    served.tell(A, 14, &moved_to("OTHER-TOWN", true)).await;
    for (patient, word) in [(B, "NEW-BETA"), (2, "NEW-GAMMA")] {
        assert!(!served.doors(&[patient], word).await.is_empty(), "{word}");
    }
    for word in all {
        assert_eq!(served.doors(&[A, B, 2], word).await, NOWHERE, "{word}");
    }
}

/// What was said of confidential addresses before two were merged is each one's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confidential_before_a_merge_is_so_of_the_one_alone_afterwards() {
    let mut served = Served::open();
    served.tell(A, 1, &lives_at("SECRET-TOWN", true)).await;
    served.tell(B, 1, &lives_at("BETA-TOWN", false)).await;
    served.tell(A, 3, &merged(B)).await;
    served.tell(A, 4, &unmerged(B)).await;
    served.tell(A, 5, &moved_to("OTHER-TOWN", true)).await;
    assert!(!served.doors(&[B], "BETA-TOWN").await.is_empty());
    assert_eq!(served.doors(&[A], "SECRET-TOWN").await, NOWHERE);
}

/// Also not as known when the two were one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_confidential_address_of_a_record_is_not_read_in_another_that_it_was_part_of() {
    let mut served = Served::open();
    served.tell(A, 1, &lives_at("ALPHA-TOWN", false)).await;
    served.tell(B, 1, &lives_at("SECRET-TOWN", true)).await;
    served.tell(A, 3, &merged(B)).await;
    served.tell(A, 4, &unmerged(B)).await;
    assert_eq!(served.doors(&[A, B], "SECRET-TOWN").await, NOWHERE);
    assert!(!served.doors(&[A], "ALPHA-TOWN").await.is_empty());
}

impl Served {
    /// What is listed as told while merged of these patients: in which record, while which one was
    /// part of it, how many, and of the events what became of them.
    async fn told_while_merged(&self, of_patient: u128) -> Vec<(String, String, u32, Vec<String>)> {
        let page = self.read(of(of_patient)).await;
        let told = page.told_while_merged.into_iter().map(|told| {
            let marks = told.events.into_iter().map(|event| event.entered_in_error_by_event_id);
            (told.survivor_patient_id, told.retired_patient_id, told.count, marks.collect())
        });
        told.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_of_a_chain_of_records_is_listed_for_each_of_them() {
    const C: u128 = 2;
    let mut served = Served::open();
    for number in [A, B, C] {
        served.tell(number, 1, &registered(&[])).await;
    }
    served.tell(B, 2, &merged(C)).await;
    served.tell(A, 3, &merged(B)).await;
    served.tell(A, 4, &visited()).await;
    served.tell(A, 5, &unmerged(B)).await;
    served.tell(B, 6, &unmerged(C)).await;
    // Neither was part of the first then.
    served.tell(A, 7, &visited()).await;
    let left = || vec![String::new()];
    let of_b = (patient(A), patient(B), 1, left());
    let of_c = (patient(A), patient(C), 1, left());
    assert_eq!(served.told_while_merged(A).await, std::slice::from_ref(&of_b));
    assert_eq!(served.told_while_merged(B).await, [of_b]);
    assert_eq!(served.told_while_merged(C).await, std::slice::from_ref(&of_c));
    served.tell(A, 8, &merged(B)).await;
    assert_eq!(served.told_while_merged(C).await, [of_c]);
    served.tell(A, 9, &merged(C)).await;
    assert_eq!(served.told_while_merged(C).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_listed_while_two_are_merged_again_whichever_way_round() {
    const C: u128 = 2;
    for into_a_third in [false, true] {
        let mut served = Served::open();
        for number in [A, B, C] {
            served.tell(number, 1, &registered(&[])).await;
        }
        served.tell(A, 2, &merged(B)).await;
        served.tell(A, 3, &visited()).await;
        served.tell(A, 4, &unmerged(B)).await;
        assert_eq!(served.told_while_merged(A).await.len(), 1);
        assert_eq!(served.told_while_merged(B).await.len(), 1);
        if into_a_third {
            served.tell(C, 5, &merged(A)).await;
            assert_eq!(served.told_while_merged(B).await.len(), 1);
            served.tell(C, 5, &merged(B)).await;
        } else {
            served.tell(B, 5, &merged(A)).await;
        }
        assert_eq!(served.told_while_merged(A).await, []);
        assert_eq!(served.told_while_merged(B).await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_correction_of_an_event_is_left_of_nothing_once_that_is_in_error() {
    let mut served = Served::open();
    for number in [A, B] {
        served.tell(number, 1, &registered(&[])).await;
    }
    served.tell(A, 2, &merged(B)).await;
    served.tell(A, 3, &visited()).await;
    let visit = served.number;
    let corrected = Payload::TimeCorrected(v1::TimeCorrected {
        corrects_event_id: event(visit).to_string(),
        occurred_at: "2026-05-02".to_owned(),
        ..v1::TimeCorrected::default()
    });
    served.tell(A, 4, &corrected).await;
    served.tell(A, 5, &unmerged(B)).await;
    let told = |marks: [String; 2]| [(patient(A), patient(B), 2, marks.to_vec())];
    assert_eq!(served.told_while_merged(B).await, told([String::new(), String::new()]));
    served.tell(A, 6, &in_error(visit)).await;
    let by = event(served.number).to_string();
    assert_eq!(served.told_while_merged(B).await, told([by.clone(), by]));
}
