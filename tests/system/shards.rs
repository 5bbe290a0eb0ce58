//! Two stores, each with half of the region's slots: what is about two patients in two of them,
//! and what all of them know together.

use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tsunagi_bus::StreamId;
use tsunagi_bus::pages::Pages;
use tsunagi_domain::{PatientId, ResourceId};
use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::watch_board_response::Frame as Sign;

use crate::desks::{place, registration};
use crate::directory::salon;
use crate::nats::{address, folder_of_the_region, listed, on_nats, start, until_health_is};
use crate::nats_servers::NatsServer;
use crate::stories::{CARE_MANAGER, LINK_WORKER, person, signed};
use crate::support::{
    FAR_AHEAD, Server, TSUNAGI, by, context, folder, id, liaison, reason, sentences, stderr,
    timeline, timelines,
};
use crate::{export, fhir, mllp, ssmix2};

/// A region in two shards, on one nats-server.
pub(crate) struct Shards {
    folders: [TempDir; 2],
    addresses: [String; 2],
    nats: NatsServer,
    /// Of services by themselves.
    only_region: TempDir,
    _servers: TempDir,
}

impl Shards {
    /// None of them runs yet.
    pub(crate) async fn new() -> Self {
        let (data, servers) = (folder(), folder());
        let nats = NatsServer::start(servers.path());
        // Whoever begins the region names it.
        assert!(Server::start(data.path()).terminate().await.success());
        let folders = [folder_of_the_region(data.path()), folder_of_the_region(data.path())];
        let only_region = folder_of_the_region(data.path());
        Self { folders, addresses: [address(), address()], nats, only_region, _servers: servers }
    }

    fn stores(&self) -> String {
        self.addresses.each_ref().map(|address| format!("http://{address}")).join(",")
    }

    pub(crate) fn start(&self, place: usize) -> Server {
        self.start_with(place, &[])
    }

    fn start_with(&self, place: usize, more: &[&str]) -> Server {
        let (url, stores) = (self.nats.url(), self.stores());
        let share = ["1/2", "2/2"][place];
        let share = ["--shard", share, "--stores", &stores, "--read-wait-ms", "1000"];
        let settings = on_nats(&url, &[&share[..], more].concat())
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        start(self.folders[place].path(), &["up"], &self.addresses[place], &settings)
    }

    /// A service by itself.
    pub(crate) fn desk(&self, service: &str) -> Server {
        let (url, stores) = (self.nats.url(), self.stores());
        let settings = on_nats(&url, &["--stores", &stores]);
        start(self.only_region.path(), &["serve", service], "127.0.0.1:0", &settings)
    }

    fn forget_rows(&self, place: usize) {
        std::fs::remove_dir_all(self.folders[place].path().join("rows-7.sled")).unwrap();
    }
}

/// The shard in which a patient's events lie.
fn place_of(patient: &str) -> usize {
    let patient = PatientId::parse(patient).unwrap();
    usize::from(StreamId::Patient(patient).slot(4).0 % 2)
}

/// So many patients of one shard.
fn patients_of(place: usize, count: usize) -> Vec<String> {
    let all = (1..).map(id).filter(|patient| place_of(patient) == place);
    all.take(count).collect()
}

async fn register(channel: &Channel, patient: &str, number: u128) {
    let mut team = CareTeamClient::new(channel.clone());
    let request = v1::RegisterPatientRequest {
        context: Some(context(patient, &id(0x1_0000 + number), "2026-04-01")),
        event: Some(registration(&format!("shards-{number}"))),
    };
    team.register_patient(by("nurses", "visiting-nurse", request)).await.unwrap();
}

async fn visit(channel: &Channel, patient: &str, number: u128) {
    let mut home = HomeCareClient::new(channel.clone());
    let request = v1::RecordVisitRequest {
        context: Some(context(patient, &id(0x2_0000 + number), "2026-05-04T10:00:00+09:00")),
        event: Some(v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            ..v1::VisitCompleted::default()
        }),
    };
    home.record_visit(by("nurses", "visiting-nurse", request)).await.unwrap();
}

async fn declare_care_manager(channel: &Channel, patient: &str, number: u128) {
    let mut team = CareTeamClient::new(channel.clone());
    let request = v1::DeclareCareManagerRequest {
        context: Some(context(patient, &id(0x3_0000 + number), "2026-05-02T10:00:00+09:00")),
        event: Some(v1::PrimaryCareManagerDeclared {
            care_manager: Some(person(CARE_MANAGER)),
            ..v1::PrimaryCareManagerDeclared::default()
        }),
    };
    team.declare_care_manager(liaison(request)).await.unwrap();
}

async fn merge(channel: &Channel, survivor: &str, retired: &str, number: u128) {
    let mut team = CareTeamClient::new(channel.clone());
    let event = v1::PatientsMerged { retired_patient_id: retired.into(), note: String::new() };
    let context = context(survivor, &id(0x4_0000 + number), "2026-05-09T10:00:00+09:00");
    let request = v1::MergePatientsRequest { context: Some(context), event: Some(event) };
    team.merge_patients(liaison(request)).await.unwrap();
}

async fn unmerge(channel: &Channel, survivor: &str, retired: &str, number: u128) {
    let mut team = CareTeamClient::new(channel.clone());
    let event = v1::PatientsUnmerged {
        retired_patient_id: retired.into(),
        note: "同姓同名".to_owned(),
    };
    let context = context(survivor, &id(0x5_0000 + number), "2026-05-10T10:00:00+09:00");
    let request = v1::UnmergePatientsRequest { context: Some(context), event: Some(event) };
    team.unmerge_patients(liaison(request)).await.unwrap();
}

/// The care managers' board, as a server tells it.
async fn team_board(server: &Server) -> v1::ReadTeamBoardResponse {
    let mut boards = BoardsClient::new(server.channel().await);
    let request = v1::ReadTeamBoardRequest::default();
    boards.read_team_board(signed(CARE_MANAGER, request)).await.unwrap().into_inner()
}

fn names(rows: &[v1::TeamRow]) -> Vec<&str> {
    rows.iter().filter_map(|row| row.patient.as_ref()).map(|of| of.patient_id.as_str()).collect()
}

const VISITED: [&str; 1] = ["nursing visit"];

/// How often the timeline tells of a visit.
async fn visits(channel: &Channel, patient: &str) -> usize {
    let told = sentences(channel, patient).await;
    told.iter().filter(|sentence| VISITED.contains(&sentence.as_str())).count()
}

#[tokio::test]
async fn a_merge_across_shards_keeps_the_whole_history_wherever_it_is_read() {
    let shards = Shards::new().await;
    let (first, second) = (shards.start(0), shards.start(1));
    let (here, there) = (patients_of(0, 2), patients_of(1, 2));
    // One survivor in each shard, whose other half lies in the other.
    let pairs = [(&here[0], &there[0]), (&there[1], &here[1])];
    let (one, two) = (first.channel().await, second.channel().await);
    for (number, (survivor, retired)) in (0..).zip(pairs) {
        register(&one, survivor, number * 2).await;
        register(&one, retired, number * 2 + 1).await;
        visit(&two, survivor, number * 2).await;
        visit(&two, retired, number * 2 + 1).await;
        declare_care_manager(&one, retired, number).await;
        merge(if number == 0 { &one } else { &two }, survivor, retired, number).await;
    }
    for channel in [&one, &two] {
        for (survivor, retired) in pairs {
            assert_eq!(visits(channel, survivor).await, 2, "of both records");
            let merged = timeline(channel, survivor).await;
            assert!(merged.iter().any(|entry| &entry.merged_patient_id == retired));
        }
    }
    let whole = timelines(&one).await;
    assert_eq!(whole.len(), 2, "each survivor, and neither of the retired");
    assert_eq!(timelines(&two).await, whole);
    let mut survivors = pairs.map(|(survivor, _)| survivor.as_str());
    survivors.sort_unstable();
    for server in [&first, &second] {
        assert_eq!(names(&team_board(server).await.patients), survivors, "whoever is asked");
    }

    // Half a history is no history: while the other store is away, nothing is told of it.
    second.kill();
    let read = |patient: &String| {
        let patient_id = patient.clone();
        liaison(v1::ReadTimelineRequest { patient_id, ..Default::default() })
    };
    let mut reader = TimelineClient::new(one.clone());
    for patient in [&here[0], &there[1]] {
        let told = reader.read_timeline(read(patient)).await.unwrap_err();
        assert_eq!(reason(&told), "SHARD_AWAY", "{told}");
        assert_eq!(told.code(), tonic::Code::Unavailable);
        assert!(told.message().contains("2/2"), "{told}");
    }
    // Nor when it starts alone, and makes its rows anew.
    first.kill();
    shards.forget_rows(0);
    let first = shards.start(0);
    let mut reader = TimelineClient::new(first.channel().await);
    let listed = reader.list_patients(liaison(v1::ListPatientsRequest::default())).await;
    assert_eq!(reason(&listed.unwrap_err()), "SHARD_AWAY");
    let mut boards = BoardsClient::new(first.channel().await);
    let board = boards.read_team_board(signed(CARE_MANAGER, v1::ReadTeamBoardRequest::default()));
    assert_eq!(reason(&board.await.unwrap_err()), "SHARD_AWAY");

    shards.forget_rows(1);
    let second = shards.start(1);
    for server in [&first, &second] {
        let channel = server.channel().await;
        until_listed(&channel).await;
        assert_eq!(timelines(&channel).await, whole);
        assert_eq!(names(&team_board(server).await.patients), survivors);
    }

    // Each takes its own again.
    let (one, two) = (first.channel().await, second.channel().await);
    for (number, (survivor, retired)) in (0..).zip(pairs) {
        unmerge(&two, survivor, retired, number).await;
    }
    for channel in [&one, &two] {
        for (survivor, retired) in pairs {
            assert_eq!(visits(channel, survivor).await, 1);
            assert_eq!(visits(channel, retired).await, 1);
        }
        assert_eq!(timelines(channel).await.len(), 4);
    }
}

/// Waits until patients can be listed: the stores have just found each other again.
async fn until_listed(channel: &Channel) {
    let mut reader = TimelineClient::new(channel.clone());
    while reader.list_patients(liaison(v1::ListPatientsRequest::default())).await.is_err() {}
}

#[tokio::test]
async fn look_alikes_and_boards_are_those_of_all_shards() {
    const EACH: usize = 2;
    let shards = Shards::new().await;
    let (first, second) = (shards.start(0), shards.start(1));
    let one = first.channel().await;
    let mut patients = [patients_of(0, EACH), patients_of(1, EACH)].concat();
    patients.sort_unstable();
    for (number, patient) in (0..).zip(&patients) {
        // They have the same name and birth date.
        register(&one, patient, number).await;
        declare_care_manager(&one, patient, number).await;
    }
    let seen = team_board(&first).await;
    assert_eq!(names(&seen.patients), patients, "in the order of their ids");
    visit(&one, &patients[3], 0).await;
    let request = v1::ReadTeamBoardRequest {
        since_cursor: seen.cursor.clone(),
        ..v1::ReadTeamBoardRequest::default()
    };
    let mut changed: Vec<&str> = patients.iter().map(String::as_str).collect();
    changed.rotate_right(1);
    for server in [&first, &second] {
        let channel = server.channel().await;
        let mut boards = BoardsClient::new(channel.clone());
        let board = boards.read_team_board(signed(CARE_MANAGER, request.clone())).await;
        let board = board.unwrap().into_inner();
        assert_eq!(names(&board.patients), changed, "of whom something changed comes first");
        assert_eq!(board.patients[0].changes.len(), 1);
        assert!(board.patients[1..].iter().all(|row| row.changes.is_empty()));
        // Its cursor has seen all shards.
        let again =
            v1::ReadTeamBoardRequest { since_cursor: board.cursor.clone(), ..request.clone() };
        let again = boards.read_team_board(signed(CARE_MANAGER, again)).await.unwrap();
        assert!(again.into_inner().patients.iter().all(|row| row.changes.is_empty()));
        let waits = v1::ReadTeamBoardRequest { at_least_cursor: board.cursor, ..request.clone() };
        boards.read_team_board(signed(CARE_MANAGER, waits)).await.unwrap();

        let mut reader = TimelineClient::new(channel);
        for patient in &patients {
            let request =
                v1::FindLookAlikesRequest { patient_id: patient.clone(), ..Default::default() };
            let found = reader.find_look_alikes(liaison(request)).await.unwrap().into_inner();
            let found: Vec<String> =
                found.candidates.into_iter().map(|of| of.patient.unwrap().patient_id).collect();
            let others: Vec<String> =
                patients.iter().filter(|other| *other != patient).cloned().collect();
            assert_eq!(found, others);
        }
        let request = v1::FindLookAlikesRequest {
            patient_id: patients[0].clone(),
            max: 2,
            ..Default::default()
        };
        let found = reader.find_look_alikes(liaison(request)).await.unwrap().into_inner();
        assert_eq!(found.candidates.len(), 2);
    }
    second.kill();
    let mut reader = TimelineClient::new(one.clone());
    let request =
        v1::FindLookAlikesRequest { patient_id: patients[0].clone(), ..Default::default() };
    let told = reader.find_look_alikes(liaison(request)).await.unwrap_err();
    assert_eq!(reason(&told), "SHARD_AWAY", "some are not all");
}

/// Admits a patient to the acute hospital.
async fn admit(channel: &Channel, patient: &str, number: u128) {
    let mut desk = DischargeDeskClient::new(channel.clone());
    let request = v1::AdmitRequest {
        context: Some(context(patient, &id(0x6_0000 + number), "2026-05-03T10:00:00+09:00")),
        event: Some(v1::Admitted {
            encounter_id: id(0x7_0000 + number),
            place: Some(place("acute", "4E")),
            ..v1::Admitted::default()
        }),
    };
    desk.admit(liaison(request)).await.unwrap();
}

async fn open_case(channel: &Channel, patient: &str, number: u128) {
    let mut link = LinkWorkerClient::new(channel.clone());
    let request = v1::OpenCaseRequest {
        context: Some(context(patient, &id(0x8_0000 + number), "2026-05-04T10:00:00+09:00")),
        event: Some(v1::CaseOpened {
            case_id: id(0x9_0000 + number),
            link_worker: Some(person(LINK_WORKER)),
            ..v1::CaseOpened::default()
        }),
    };
    link.open_case(signed(LINK_WORKER, request)).await.unwrap();
}

/// The next sign that is not a heartbeat, and the cursor behind it.
async fn next_sign(signs: &mut Streaming<v1::WatchBoardResponse>) -> (Sign, String) {
    loop {
        let told = signs.message().await.unwrap().unwrap();
        match told.frame.unwrap() {
            Sign::Heartbeat(_) => {}
            sign @ (Sign::Changed(_) | Sign::CaughtUp(_)) => return (sign, told.cursor),
        }
    }
}

#[tokio::test]
async fn every_board_and_its_signs_are_those_of_all_shards() {
    let shards = Shards::new().await;
    let (first, second) = (shards.start(0), shards.start(1));
    let one = first.channel().await;
    let patients = [patients_of(0, 1), patients_of(1, 1)].concat();
    for (number, patient) in (0..).zip(&patients) {
        register(&one, patient, number).await;
        admit(&one, patient, number).await;
        open_case(&one, patient, number).await;
    }
    let mut sorted: Vec<&str> = patients.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    for server in [&first, &second] {
        let mut boards = BoardsClient::new(server.channel().await);
        let request = v1::ReadLiaisonBoardRequest::default();
        let board = boards.read_liaison_board(liaison(request)).await.unwrap().into_inner();
        let here: Vec<&str> = board
            .admitted
            .iter()
            .filter_map(|row| Some(row.patient.as_ref()?.patient_id.as_str()))
            .collect();
        assert_eq!(here, sorted, "who is in hospital");
        let request = v1::ReadCaseloadBoardRequest::default();
        let board = boards.read_caseload_board(signed(LINK_WORKER, request)).await;
        let board = board.unwrap().into_inner();
        let cases: Vec<&str> = board
            .cases
            .iter()
            .filter_map(|row| Some(row.patient.as_ref()?.patient_id.as_str()))
            .collect();
        assert_eq!(cases, sorted, "whose cases are open");

        // Whoever watches begins at the end of all shards, whatever they are told first.
        let watch = |cursor: String| {
            liaison(v1::WatchBoardRequest { organisation_id: String::new(), cursor })
        };
        let mut signs = boards.watch_board(watch(String::new())).await.unwrap().into_inner();
        let (sign, begun) = next_sign(&mut signs).await;
        assert_eq!(sign, Sign::CaughtUp(v1::CaughtUp {}), "nothing that was there before");
        let mut numbers = if server.url == first.url { 0..4 } else { 4..8 };
        let mut seen = begun;
        for patient in &patients {
            visit(&one, patient, numbers.next().unwrap()).await;
            let (sign, cursor) = next_sign(&mut signs).await;
            let patient_ids = vec![patient.clone()];
            assert_eq!(sign, Sign::Changed(v1::BoardChanged { patient_ids }));
            seen = cursor;
        }
        drop(signs);
        // The cursor of the last sign has seen both; what comes while nobody watches is told.
        visit(&one, &patients[0], numbers.next().unwrap()).await;
        let mut signs = boards.watch_board(watch(seen)).await.unwrap().into_inner();
        let (sign, _) = next_sign(&mut signs).await;
        let patient_ids = vec![patients[0].clone()];
        assert_eq!(sign, Sign::Changed(v1::BoardChanged { patient_ids }), "and nothing again");
        let (sign, _) = next_sign(&mut signs).await;
        assert_eq!(sign, Sign::CaughtUp(v1::CaughtUp {}));
    }
}

/// The shard in which a resource's events lie.
fn place_of_resource(resource: &str) -> usize {
    let resource = ResourceId::parse(resource).unwrap();
    usize::from(StreamId::Resource(resource).slot(4).0 % 2)
}

#[tokio::test]
async fn a_resource_is_told_with_its_name_from_whatever_shard() {
    let shards = Shards::new().await;
    let (first, second) = (shards.start(0), shards.start(1));
    let one = first.channel().await;
    let mut link = LinkWorkerClient::new(one.clone());
    let resource =
        |wanted| (0xa000..0xa100).map(id).find(|id| place_of_resource(id) == wanted).unwrap();
    let resources = [resource(0), resource(1)];
    let names = ["火曜サロン", "子ども食堂"];
    for (number, (resource, name)) in (0..).zip(resources.iter().zip(names)) {
        let request = v1::PublishResourceRequest {
            context: Some(v1::ResourceContext {
                event_id: id(0xb000 + number),
                resource_id: resource.clone(),
                occurred_at: "2026-04-01".into(),
                ..v1::ResourceContext::default()
            }),
            event: Some(salon(name)),
        };
        link.publish_resource(signed(LINK_WORKER, request)).await.unwrap();
    }
    let patients = [patients_of(0, 1), patients_of(1, 1)].concat();
    for (number, patient) in (0..).zip(&patients) {
        register(&one, patient, number).await;
        for (further, resource) in (0..).zip(&resources) {
            let event = id(0xc000 + number * 2 + further);
            let request = v1::SignpostRequest {
                context: Some(context(patient, &event, "2026-05-04T10:00:00+09:00")),
                event: Some(v1::Signposted {
                    resource: Some(v1::ResourceRef {
                        id: resource.clone(),
                        ..v1::ResourceRef::default()
                    }),
                    ..v1::Signposted::default()
                }),
            };
            link.signpost(signed(LINK_WORKER, request)).await.unwrap();
        }
    }
    for channel in [&one, &second.channel().await] {
        for patient in &patients {
            let told = sentences(channel, patient).await;
            let expected = names.map(|name| format!("signposted to {name}"));
            assert_eq!(told[1..], expected);
        }
    }
    // A name that cannot be looked up is not left out.
    second.kill();
    let mut reader = TimelineClient::new(one.clone());
    let patient_id = patients[0].clone();
    let request = v1::ReadTimelineRequest { patient_id, ..Default::default() };
    assert_eq!(reason(&reader.read_timeline(liaison(request)).await.unwrap_err()), "SHARD_AWAY");
}

#[tokio::test]
async fn a_cursor_that_is_ahead_of_a_store_is_waited_for() {
    let shards = Shards::new().await;
    let (first, _second) = (shards.start(0), shards.start(1));
    let one = first.channel().await;
    // Slot 3, of which the cursor has seen more than there is, is in the second shard.
    let patient = patients_of(1, 1).remove(0);
    register(&one, &patient, 0).await;
    let cursor = FAR_AHEAD.to_owned();
    let watch = v1::WatchTimelineRequest { patient_id: patient, cursor: cursor.clone() };
    let told = TimelineClient::new(one.clone()).watch_timeline(liaison(watch)).await.unwrap_err();
    assert_eq!(reason(&told), "CURSOR_NOT_REACHED");
    let subscribe = v1::SubscribeRequest { cursor: cursor.clone(), ..Default::default() };
    let told = CareBusClient::new(one.clone()).subscribe(liaison(subscribe)).await.unwrap_err();
    assert_eq!(reason(&told), "CURSOR_NOT_REACHED");
    let watch = v1::WatchBoardRequest { organisation_id: String::new(), cursor };
    let told = BoardsClient::new(one).watch_board(liaison(watch)).await.unwrap_err();
    assert_eq!(reason(&told), "CURSOR_NOT_REACHED");
}

#[tokio::test]
async fn a_shard_that_takes_calls_and_never_answers_is_away_for_everybody() {
    let shards = Shards::new().await;
    let silent = std::net::TcpListener::bind(&shards.addresses[1]).unwrap();
    let first = shards.start_with(0, &["--stores-answer-ms", "300"]);
    let one = first.channel().await;
    let there = patients_of(1, 1).remove(0);
    let mut reader = TimelineClient::new(one.clone());
    let away = |told: Status| {
        assert_eq!(reason(&told), "SHARD_AWAY", "{told}");
        assert_eq!(told.code(), tonic::Code::Unavailable);
        assert!(told.message().contains("2/2"), "{told}");
    };
    let (patient_id, cursor) = (there.clone(), String::new());
    let read = v1::ReadTimelineRequest { patient_id: there.clone(), ..Default::default() };
    away(reader.read_timeline(liaison(read)).await.unwrap_err());
    let watch = v1::WatchTimelineRequest { patient_id, cursor };
    away(reader.watch_timeline(liaison(watch)).await.unwrap_err());
    // The page with which the other shard begins.
    let page_token = Pages::of(&v1::ListPatientsRequest::default()).token("1/");
    let list = v1::ListPatientsRequest { page_token, ..Default::default() };
    away(reader.list_patients(liaison(list)).await.unwrap_err());
    let claimed = (0..16).map(|number| {
        let value = format!("anybody-{number}");
        let identifier = Some(v1::Identifier { system: "urn:oid:1.2.3".into(), value });
        v1::FindPatientRequest { identifier, ..Default::default() }
    });
    let mut unknown = 0;
    for request in claimed {
        let told = reader.find_patient(liaison(request)).await.unwrap_err();
        // Whose claims lie here is known.
        if reason(&told) == "IDENTIFIER_UNKNOWN" {
            unknown += 1;
        } else {
            away(told);
        }
    }
    assert!((1..16).contains(&unknown), "identifiers lie in both shards");

    let mut boards = BoardsClient::new(one.clone());
    let board = v1::ReadTeamBoardRequest::default();
    away(boards.read_team_board(signed(CARE_MANAGER, board)).await.unwrap_err());
    let watch = v1::WatchBoardRequest::default();
    away(boards.watch_board(signed(CARE_MANAGER, watch)).await.unwrap_err());
    let page_token = Pages::of(&v1::FindResourcesRequest::default()).token("1/");
    let find = v1::FindResourcesRequest { page_token, ..Default::default() };
    away(DirectoryClient::new(one.clone()).find_resources(liaison(find)).await.unwrap_err());
    let mut home = HomeCareClient::new(one.clone());
    let visit = v1::RecordVisitRequest {
        context: Some(context(&there, &id(1), "2026-05-04T10:00:00+09:00")),
        event: Some(v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            ..v1::VisitCompleted::default()
        }),
    };
    away(home.record_visit(by("nurses", "visiting-nurse", visit)).await.unwrap_err());
    let subscribe = v1::SubscribeRequest::default();
    let mut feed =
        CareBusClient::new(one).subscribe(liaison(subscribe)).await.unwrap().into_inner();
    loop {
        match feed.message().await {
            Ok(frame) => assert!(frame.is_some(), "it ends without a word"),
            Err(told) => break away(told),
        }
    }
    drop(silent);
}

#[tokio::test]
async fn stores_in_another_order_than_their_shards_are_not_believed() {
    let shards = Shards::new().await;
    let first = shards.start(0);
    let reversed = shards.addresses.each_ref().map(|it| format!("http://{it}"));
    let reversed = format!("{},{}", reversed[1], reversed[0]);
    let of_second = ["--shard", "2/2", "--stores", &reversed];
    let url = shards.nats.url();
    let of_second = on_nats(&url, &of_second);
    let second = start(shards.folders[1].path(), &["up"], &shards.addresses[1], &of_second);
    for (number, patient) in (1..).zip(patients_of(0, 2).iter().chain(&patients_of(1, 2))) {
        register(&first.channel().await, patient, number).await;
    }
    // It would list its own twice.
    let mut reader = TimelineClient::new(second.channel().await);
    let list = || liaison(v1::ListPatientsRequest::default());
    let told = loop {
        match reader.list_patients(list()).await {
            Ok(_not_noticed_yet) => tokio::task::yield_now().await,
            Err(told) => break told,
        }
    };
    assert_eq!(reason(&told), "SHARD_AWAY", "{told}");
    let only_region = folder_of_the_region(shards.folders[0].path());
    let one = format!("http://{}", shards.addresses[0]);
    for stores in [&reversed, &one] {
        let serve = std::process::Command::new(TSUNAGI)
            .args(["serve", "home-care", "--slots", "4", "--listen", "127.0.0.1:0", "--data"])
            .arg(only_region.path())
            .args(on_nats(&shards.nats.url(), &["--stores", stores]))
            .output()
            .unwrap();
        assert!(!serve.status.success());
        assert!(stderr(&serve).contains("--stores must name"), "{}", stderr(&serve));
    }
}

#[tokio::test]
async fn a_desk_asks_another_replica_when_one_is_gone() {
    const DESK: &str = "care.v1.DischargeDesk";
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    assert!(Server::start(data.path()).terminate().await.success());
    let folders = [folder_of_the_region(data.path()), folder_of_the_region(data.path())];
    let addresses = [address(), address()];
    let settings = on_nats(&url, &[]);
    let store = |place: usize| start(folders[place].path(), &["up"], &addresses[place], &settings);
    let (one, other) = (store(0), store(1));
    let stores = addresses.each_ref().map(|it| format!("http://{it}")).join("|");
    let only_region = folder_of_the_region(data.path());
    let with_stores = on_nats(&url, &["--stores", &stores]);
    let desk = start(only_region.path(), &["serve", "discharge-desk"], "127.0.0.1:0", &with_stores);
    let at_desk = desk.channel().await;
    // What was under way when a store died may have to be sent again.
    let register = async |number: u128| {
        let request = v1::RegisterPatientRequest {
            context: Some(context(&id(number), &id(number), "2026-05-01T09:00:00+09:00")),
            event: Some(registration(&format!("n-{number}"))),
        };
        let mut client = DischargeDeskClient::new(at_desk.clone());
        while client.register_patient(liaison(request.clone())).await.is_err() {}
    };
    register(1).await;
    one.kill();
    register(2).await;
    assert_eq!(listed(&other).await.len(), 2);
    other.kill();
    until_health_is(&desk, DESK, ServingStatus::NotServing).await;
    until_health_is(&desk, "", ServingStatus::NotServing).await;
    let one = store(0);
    until_health_is(&desk, DESK, ServingStatus::Serving).await;
    register(3).await;
    assert_eq!(listed(&one).await.len(), 3);
}

/// Reads of a patient over FHIR what a search for a number finds. The id that it has here.
async fn found_over_fhir(server: &Server, number: &str) -> String {
    let found = fhir::get(server, &format!("/Patient?identifier={number}")).await;
    let entries = found["entry"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{found}");
    let patient = entries[0]["resource"]["id"].as_str().unwrap().to_owned();
    let all = fhir::get(server, &format!("/Patient/{patient}/$everything")).await;
    assert_eq!(all["resourceType"], "Bundle", "{all}");
    patient
}

#[tokio::test]
async fn the_doors_of_other_systems_stand_at_a_shard_and_by_themselves() {
    const DOORS: [&str; 4] = ["--mllp-listen", "127.0.0.1:0", "--fhir-listen", "127.0.0.1:0"];
    let (shards, storage) = (Shards::new().await, folder());
    let (first, second) = (shards.start(0), shards.start_with(1, &DOORS));
    let only_region = folder_of_the_region(shards.folders[0].path());
    let (url, stores) = (shards.nats.url(), shards.stores());
    let reads = ["--ssmix2-folder", storage.path().to_str().unwrap(), "--ssmix2-poll-ms", "20"];
    let settings = [&["--stores", &stores, "--ssmix2-settle-ms", "0"], &reads[..], &DOORS].concat();
    let gateway =
        start(only_region.path(), &["serve", "gateway"], "127.0.0.1:0", &on_nats(&url, &settings));

    let place = storage.path().join("004/2/0042/20260430/ADT-22");
    std::fs::create_dir_all(&place).unwrap();
    let written = ssmix2::message("A01", "1", &ssmix2::admitted("202604300900"));
    std::fs::write(place.join("0042_20260430_ADT-22_7_20260430100000000_01_1"), written).unwrap();
    let read = ssmix2::entries(&first.channel().await, 2).await;
    assert_eq!(read, ["patient.registered", "encounter.admitted"]);

    // Patients of both shards, by both doors; and each again by the other, which adds nothing.
    let mut places = [false, false];
    let channel = first.channel().await;
    for number in 0..6 {
        let doors = if number % 2 == 0 { [&gateway, &second] } else { [&second, &gateway] };
        let sent =
            mllp::message("A01", &format!("c-{number}"), &format!("n{number}"), mllp::ADMITTED)
                .replace("|V-1|", &format!("|V-{number}|"));
        for door in doors {
            let answer = mllp::Sender::connect(door).await.send(&sent).await;
            assert_eq!(mllp::code(&answer), ("AA", ""), "{answer}");
        }
        let patient = mllp::find(&channel, "urn:tsunagi:hl7:H:H", &format!("n{number}")).await;
        assert_eq!(timeline(&channel, &patient.patient_id).await.len(), 2);
        places[place_of(&patient.patient_id)] = true;
    }
    assert_eq!(places, [true, true], "so few numbers are in one shard alone");
    let resources = [vec![export::patient(0)], export::encounters(0)].concat();
    for door in [&gateway, &second] {
        let sent = fhir::bundle("transaction", resources.clone());
        let (status, answer) = fhir::request(door, "POST", "", &sent).await;
        assert_eq!(status, 200, "{answer}");
    }
    for number in ["MR00000", "n0", "n1", "n2", "n3"] {
        let one = found_over_fhir(&gateway, number).await;
        assert_eq!(found_over_fhir(&second, number).await, one);
    }
    assert!(gateway.terminate().await.success());

    let without = std::process::Command::new(TSUNAGI)
        .args(["serve", "gateway", "--slots", "4", "--listen", "127.0.0.1:0", "--data"])
        .arg(only_region.path())
        .args(on_nats(&url, &["--stores", &stores]))
        .output()
        .unwrap();
    assert!(!without.status.success());
    assert!(stderr(&without).contains("--mllp-listen"), "{}", stderr(&without));
}
