//! The server on NATS: going over from the embedded bus, `kill -9` of either side, a server of
//! its own, and what is refused.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rand::RngExt as _;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use tsunagi_proto::v1;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::desks::{register, registration};
use crate::nats_servers::{NatsServer, binary, free_port};
use crate::support::{
    Server, context, folder, id, liaison, reason, run, stderr, stdout, timelines, tsunagi, up,
};
use crate::traffic::{Killer, SMALL_SEGMENTS, Traffic, random, seed};

/// Streams that a test's server has room for, and a check that comes soon.
const SMALL_STREAMS: [&str; 4] = ["--nats-stream-bytes", "67108864", "--nats-check-ms", "200"];

pub(crate) fn on_nats<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--nats", url], &SMALL_STREAMS[..], more].concat()
}

/// A folder with generated patients, told on the embedded bus.
fn embedded_region() -> TempDir {
    let data = folder();
    let path = data.path().to_str().unwrap();
    assert!(run(&["simulate", "--patients", "12", "--data", path]).status.success());
    data
}

/// A new folder of the same region.
pub(crate) fn folder_of_the_region(data: &Path) -> TempDir {
    let other = folder();
    std::fs::copy(data.join("region.toml"), other.path().join("region.toml")).unwrap();
    other
}

/// How many resources are in the directory. Each that is found can be read.
async fn resources(channel: &Channel) -> usize {
    let mut directory = DirectoryClient::new(channel.clone());
    let mut request = v1::FindResourcesRequest { page_size: 2, ..Default::default() };
    let mut count = 0;
    loop {
        let found = directory.find_resources(liaison(request.clone())).await.unwrap().into_inner();
        for entry in found.entries {
            let resource_id = entry.resource_id.clone();
            let one = v1::ReadResourceRequest { resource_id, ..Default::default() };
            let read = directory.read_resource(liaison(one)).await.unwrap().into_inner();
            assert_eq!(read.entry, Some(entry));
            count += 1;
        }
        if found.next_page_token.is_empty() {
            return count;
        }
        request.page_token = found.next_page_token;
    }
}

/// What `up` says when it refuses to start.
fn refusal(data: &Path, settings: &[&str]) -> String {
    let output = up(data, settings).output().unwrap();
    assert!(!output.status.success(), "{}", stdout(&output));
    stderr(&output)
}

#[tokio::test]
async fn an_embedded_region_goes_over_to_nats_and_a_second_store_reads_it_there() {
    let (data, servers) = (embedded_region(), folder());
    let nats = NatsServer::start(servers.path());
    let settings = on_nats(&nats.url(), &[]).iter().map(ToString::to_string).collect::<Vec<_>>();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let embedded = Server::start(data.path());
    let before = timelines(&embedded.channel().await).await;
    assert!(embedded.terminate().await.success());
    let server = Server::start_with(data.path(), &settings);
    assert_eq!(timelines(&server.channel().await).await, before);
    // New events follow the old ones.
    assert!(
        run(&["simulate", "--patients", "3", "--seed", "9", "--server", &server.url])
            .status
            .success()
    );
    let after = timelines(&server.channel().await).await;
    assert!(after.len() > before.len());
    let other = folder_of_the_region(data.path());
    let second = Server::start_with(other.path(), &settings);
    let channel = second.channel().await;
    // The second store begins with nothing, and takes in everything.
    let mut seen = timelines(&channel).await;
    while seen.len() < after.len() || seen != after {
        seen = timelines(&channel).await;
    }
    assert!(server.terminate().await.success());
    assert!(second.terminate().await.success());
    let without = refusal(data.path(), &[]);
    assert!(without.contains("--nats"), "{without}");
}

#[tokio::test]
async fn what_was_looked_at_in_quarantine_is_listed_no_more_on_nats_too() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let server = Server::start_with(data.path(), &on_nats(&url, &[]));
    crate::bus::quarantine_is_worked_off(server.channel().await).await;
}

#[tokio::test]
async fn going_over_can_be_broken_off_at_any_time() {
    let (data, servers) = (embedded_region(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let embedded = Server::start(data.path());
    let before = timelines(&embedded.channel().await).await;
    assert!(embedded.terminate().await.success());
    let settings = on_nats(&url, &["--nats-window", "2"]);
    let folder = data.path().join("streams.toml");
    for _ in 0..3 {
        let mut broken_off = up(data.path(), &settings).spawn().unwrap();
        // The file is there when carrying begins.
        while !folder.exists() && broken_off.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        broken_off.kill().unwrap();
        broken_off.wait().unwrap();
    }
    let server = Server::start_with(data.path(), &settings);
    assert_eq!(timelines(&server.channel().await).await, before);
    let verified = run(&["verify", "--data", data.path().to_str().unwrap()]);
    assert!(verified.status.success(), "{}{}", stdout(&verified), stderr(&verified));
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_of_server_and_nats() {
    const ROUNDS: u32 = 8;
    let (data, servers) = (folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let url = nats.url();
    let settings = on_nats(&url, &SMALL_SEGMENTS);
    let mut traffic = Traffic::new(seed());
    for round in 0..ROUNDS {
        let server = Server::start_with(data.path(), &settings);
        let channel = server.channel().await;
        if round > 0 {
            traffic.check_log(&channel).await;
        }
        let killer = Killer::new(server, random(seed()).random_range(1..60));
        let told = traffic.publish(&channel, move |receipts| killer.goes_on(receipts)).await;
        assert!(told.iter().all(|status| status.get_details_error_info().is_none()));
        if round % 2 == 0 {
            nats.kill();
            nats.resume();
        }
    }
    let server = Server::start_with(data.path(), &settings);
    traffic.check(&server.channel().await).await;
    // Whoever begins with nothing finds the same.
    let other = folder_of_the_region(data.path());
    let second = Server::start_with(other.path(), &settings);
    let (expected, channel) = (timelines(&server.channel().await).await, second.channel().await);
    while timelines(&channel).await != expected {}
}

#[tokio::test]
async fn a_nats_server_of_its_own_is_supervised_and_ends_with_the_server() {
    let data = folder();
    let settings = [&["--with-nats", "--nats-listen", "127.0.0.1:0"], &SMALL_STREAMS[..]].concat();
    let server = Server::start_with(data.path(), &settings);
    let pid = |data: &Path| {
        let pid = std::fs::read_to_string(data.join("nats/nats.pid")).unwrap();
        pid.trim().to_owned()
    };
    let told = run(&["simulate", "--patients", "2", "--server", &server.url]);
    assert!(told.status.success(), "{}", stderr(&told));
    // It is started again, and publishing goes on.
    assert!(Command::new("kill").args(["-KILL", &pid(data.path())]).status().unwrap().success());
    let told = run(&["simulate", "--patients", "2", "--seed", "5", "--server", &server.url]);
    assert!(told.status.success(), "{}", stderr(&told));
    let before = timelines(&server.channel().await).await;
    let last = pid(data.path());
    server.kill();
    let ended = || !Path::new("/proc").join(&last).join("exe").exists();
    while !ended() {
        std::thread::yield_now();
    }
    let server = Server::start_with(data.path(), &settings);
    assert_eq!(timelines(&server.channel().await).await, before);
    let last = pid(data.path());
    assert!(server.terminate().await.success());
    assert!(!Path::new("/proc").join(&last).join("exe").exists(), "it was stopped in order");
}

/// Something that says it is a nats-server of a version.
fn pretend_to_be(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let info = format!(
                "INFO {{\"server_id\":\"x\",\"version\":\"{version}\",\"max_payload\":1048576,\"headers\":true}}\r\n"
            );
            stream.write_all(info.as_bytes()).unwrap();
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                if stream.write_all(b"PONG\r\n").is_err() {
                    break;
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn what_would_break_a_promise_is_refused_and_told() {
    let data = folder();
    let nowhere = ["--nats", "nats://127.0.0.1:1", "--nats-start-ms", "300"];
    let told = refusal(data.path(), &nowhere);
    assert!(told.contains("no NATS server answers at 127.0.0.1:1"), "{told}");
    let told = refusal(data.path(), &["--nats", "here or there"]);
    assert!(told.contains("is no address of a NATS server"), "{told}");
    let told = refusal(data.path(), &["--nats", &pretend_to_be("2.9.10")]);
    assert!(told.contains("2.9.10") && told.contains("2.15.1"), "{told}");
}

#[tokio::test]
async fn a_folder_of_another_region_is_refused() {
    let (data, other, servers) = (folder(), folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let server = Server::start_with(data.path(), &on_nats(&url, &[]));
    let told = refusal(other.path(), &on_nats(&url, &[]));
    assert!(told.contains("another region") && told.contains("region.toml"), "{told}");
    assert!(server.terminate().await.success());
    let mut fewer = tsunagi();
    fewer.args(["up", "--listen", "127.0.0.1:0", "--nats-replicas", "3", "--data"]);
    let output = fewer.arg(data.path()).args(on_nats(&url, &[])).output().unwrap();
    let told = stderr(&output);
    assert!(told.contains("`num_replicas` is 1 and must be 3"), "{told}");
}

/// The patients that a server lists.
pub(crate) async fn listed(server: &Server) -> Vec<String> {
    let mut timeline = TimelineClient::new(server.channel().await);
    let request = v1::ListPatientsRequest::default();
    let listed = timeline.list_patients(liaison(request)).await.unwrap().into_inner();
    listed.patients.into_iter().map(|patient| patient.patient_id).collect()
}

#[tokio::test]
async fn another_region_s_nats_at_the_same_address_gets_nothing_and_gives_nothing() {
    let (data, other, servers) = (folder(), folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let url = nats.url();
    let brief = ["--nats-ack-ms", "300", "--publish-wait-ms", "3000"];
    let server = Server::start_with(data.path(), &on_nats(&url, &brief));
    register(&server.channel().await, &id(1), "00123").await;

    nats.kill();
    std::fs::rename(servers.path().join("alone"), servers.path().join("first")).unwrap();
    nats.resume();
    let stranger = Server::start_with(other.path(), &on_nats(&url, &[]));
    register(&stranger.channel().await, &id(2), "00123").await;

    let mut desk = DischargeDeskClient::new(server.channel().await);
    let request = v1::RegisterPatientRequest {
        context: Some(context(&id(3), &id(3), "2026-05-01T09:00:00+09:00")),
        event: Some(registration("00789")),
    };
    let refused = desk.register_patient(liaison(request)).await.unwrap_err();
    assert_eq!(reason(&refused), "OUTCOME_UNKNOWN");
    until_health_is(&server, "care.v1.Timeline", ServingStatus::NotServing).await;
    assert_eq!((listed(&server).await, listed(&stranger).await), (vec![id(1)], vec![id(2)]));

    // When its own is back, it goes on.
    drop(stranger);
    nats.kill();
    std::fs::rename(servers.path().join("alone"), servers.path().join("second")).unwrap();
    std::fs::rename(servers.path().join("first"), servers.path().join("alone")).unwrap();
    nats.resume();
    until_health_is(&server, "care.v1.Timeline", ServingStatus::Serving).await;
    register(&server.channel().await, &id(4), "00456").await;
}

#[tokio::test]
async fn a_nats_that_has_nothing_of_the_region_is_filled_when_that_is_accepted() {
    let (data, servers) = (folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let url = nats.url();
    let server = Server::start_with(data.path(), &on_nats(&url, &[]));
    register(&server.channel().await, &id(1), "00123").await;
    assert!(server.terminate().await.success());
    nats.kill();
    std::fs::remove_dir_all(servers.path().join("alone")).unwrap();
    nats.resume();
    let told = refusal(data.path(), &on_nats(&url, &[]));
    assert!(told.contains("--nats") && told.contains("--accept-lost"), "{told}");
    let server = Server::start_with(data.path(), &on_nats(&url, &["--accept-lost"]));
    assert_eq!(listed(&server).await, [id(1)]);
    assert!(server.terminate().await.success());
    // The streams have all of it.
    let other = folder_of_the_region(data.path());
    let server = Server::start_with(other.path(), &on_nats(&url, &[]));
    assert_eq!(listed(&server).await, [id(1)]);
}

#[test]
fn the_accounts_are_a_configuration_that_nats_server_takes() {
    let folder = folder();
    let accounts = stdout(&run(&["nats-accounts", "acute", "nurses"]));
    let file = folder.path().join("accounts.conf");
    std::fs::write(&file, accounts).unwrap();
    let mut check = Command::new(binary());
    for password in ["CARE_PASSWORD", "ORG_ACUTE_PASSWORD", "ORG_NURSES_PASSWORD"] {
        check.env(password, "secret");
    }
    let checked = check.args(["-t", "-c"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
}

#[test]
fn a_nats_server_of_its_own_is_kept_from_strangers() {
    let data = folder();
    let told = refusal(data.path(), &["--with-nats", "--nats-listen", "0.0.0.0:0"]);
    assert!(told.contains("0.0.0.0:0 is not a loopback address"), "{told}");
}

/// A port that a server will listen at: others are told of it beforehand.
pub(crate) fn address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// `tsunagi` with these arguments, which says where it listens when it serves.
pub(crate) fn start(data: &Path, command: &[&str], listen: &str, settings: &[&str]) -> Server {
    let mut up = tsunagi();
    up.args(command).arg("--data").arg(data).args(["--listen", listen]).args(settings);
    Server::try_start(&mut up).unwrap_or_else(|| panic!("{command:?} ended"))
}

#[tokio::test]
async fn two_shards_and_desks_by_themselves_are_one_region() {
    let (data, servers) = (embedded_region(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let embedded = Server::start(data.path());
    let before = timelines(&embedded.channel().await).await;
    assert!(embedded.terminate().await.success());
    // The history goes to the streams once, and each shard takes its slots from there.
    let whole = Server::start_with(data.path(), &on_nats(&url, &[]));
    assert!(whole.terminate().await.success());
    let addresses = [address(), address()];
    let stores = addresses.each_ref().map(|address| format!("http://{address}")).join(",");
    let shard = |share: &'static str| {
        on_nats(&url, &["--shard", share, "--stores", &stores])
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let folders = [folder_of_the_region(data.path()), folder_of_the_region(data.path())];
    let start_shard = |place: usize| {
        let settings = shard(["1/2", "2/2"][place]);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        start(folders[place].path(), &["up"], &addresses[place], &settings)
    };
    let (first, second) = (start_shard(0), start_shard(1));
    for server in [&first, &second] {
        let channel = server.channel().await;
        assert_eq!(timelines(&channel).await, before, "whoever is asked");
        assert_eq!(resources(&channel).await, 8, "of both shards");
    }
    // Two copies of one desk, without a store, decide on what the shards have.
    let only_region = folder_of_the_region(data.path());
    let desk_settings = on_nats(&url, &["--stores", &stores]);
    let desks = [0, 1].map(|_| {
        start(only_region.path(), &["serve", "discharge-desk"], "127.0.0.1:0", &desk_settings)
    });
    let mut receipts = Vec::new();
    for number in 0..6u128 {
        let desk = &desks[usize::try_from(number % 2).unwrap()];
        let mut client = DischargeDeskClient::new(desk.channel().await);
        let event_id = id(0x9000 + number);
        let request = v1::RegisterPatientRequest {
            context: Some(context(&id(0x8000 + number), &event_id, "2026-05-01T10:00:00+09:00")),
            event: Some(registration(&format!("shards-{number}"))),
        };
        let receipt = client.register_patient(liaison(request.clone())).await.unwrap().into_inner();
        assert!(!receipt.repeated);
        // The other copy knows it at once.
        let other = &desks[usize::try_from((number + 1) % 2).unwrap()];
        let mut client = DischargeDeskClient::new(other.channel().await);
        let again = client.register_patient(liaison(request)).await.unwrap().into_inner();
        assert!(again.repeated);
        receipts.push(receipt);
    }
    // A receipt's cursor is seen by whoever is asked to show at least that.
    for receipt in &receipts {
        for server in [&first, &second] {
            let mut client = TimelineClient::new(server.channel().await);
            let request = v1::ReadTimelineRequest {
                patient_id: receipt.patient_id.clone(),
                at_least_cursor: receipt.cursor.clone(),
                ..Default::default()
            };
            let page = client.read_timeline(liaison(request)).await.unwrap().into_inner();
            assert_eq!(page.entries.len(), 1);
        }
    }
    let now = timelines(&first.channel().await).await;
    assert_eq!(now.len(), before.len() + receipts.len());
    // A shard that was gone takes in what came meanwhile, before it serves.
    second.kill();
    let second = start_shard(1);
    assert_eq!(timelines(&second.channel().await).await, now);
    for desk in desks {
        assert!(desk.terminate().await.success());
    }
}

#[tokio::test]
async fn what_a_publisher_was_told_is_there_when_it_is_killed() {
    const ROUNDS: u32 = 5;
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let store = Server::start_with(data.path(), &on_nats(&url, &SMALL_SEGMENTS));
    let only_region = folder_of_the_region(data.path());
    let settings = on_nats(&url, &["--stores", &store.url]);
    let mut traffic = Traffic::new(seed());
    for _ in 0..ROUNDS {
        let publisher = start(only_region.path(), &["serve", "care-bus"], "127.0.0.1:0", &settings);
        let channel = publisher.channel().await;
        let killer = Killer::new(publisher, random(seed()).random_range(1..60));
        let told = traffic.publish(&channel, move |receipts| killer.goes_on(receipts)).await;
        assert!(told.iter().all(|status| status.get_details_error_info().is_none()));
    }
    let publisher = start(only_region.path(), &["serve", "care-bus"], "127.0.0.1:0", &settings);
    let channel = publisher.channel().await;
    // What was under way is sent again, and stored once.
    traffic.publish(&channel, |receipts| receipts < 40).await;
    traffic.check(&store.channel().await).await;
}

#[tokio::test]
async fn a_replica_with_another_history_is_told_of() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let addresses = [address(), address()];
    let others = addresses.each_ref().map(|address| format!("http://{address}"));
    let first = start(data.path(), &["up"], &addresses[0], &on_nats(&url, &[]));
    let told = run(&["simulate", "--patients", "4", "--server", &first.url]);
    assert!(told.status.success(), "{}", stderr(&told));
    let other = folder_of_the_region(data.path());
    let settings = ["--replicas", &others[0], "--replica-check-ms", "50"];
    let compare = |data: &Path| {
        let mut up = tsunagi();
        up.arg("up").arg("--data").arg(data).args(["--listen", &addresses[1]]);
        up.args(on_nats(&url, &settings)).args(["--log", "info"]);
        up
    };
    let second = Server::try_start(&mut compare(other.path())).unwrap();
    let same = timelines(&second.channel().await).await;
    assert_eq!(same, timelines(&first.channel().await).await);
    assert!(second.terminate().await.success());
    // Another folder of the region has an event that came in no other way than by hand.
    let embedded = folder_of_the_region(data.path());
    std::fs::create_dir(embedded.path().join("log")).unwrap();
    let by_hand = Server::start(embedded.path());
    let told = run(&["simulate", "--patients", "4", "--seed", "77", "--server", &by_hand.url]);
    assert!(told.status.success(), "{}", stderr(&told));
    assert!(by_hand.terminate().await.success());
    let mut differs =
        compare(embedded.path()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let output = BufReader::new(differs.stderr.take().unwrap());
    let is_told =
        output.lines().map_while(Result::ok).any(|line| line.contains("has another history"));
    differs.kill().unwrap();
    differs.wait().unwrap();
    assert!(is_told);
}

/// Waits until health says this of a service.
pub(crate) async fn until_health_is(server: &Server, service: &str, wanted: ServingStatus) {
    let mut health = HealthClient::new(server.channel().await);
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut told = health.watch(request).await.unwrap().into_inner();
    while told.message().await.unwrap().unwrap().status() != wanted {}
}

#[tokio::test]
async fn health_says_that_slots_are_not_taken_in_and_when_they_are_again() {
    let (data, servers) = (folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let url = nats.url();
    let server = Server::start_with(data.path(), &on_nats(&url, &["--nats-ack-ms", "200"]));
    for reading in ["care.v1.Timeline", "care.v1.Boards", "care.v1.EventStore"] {
        until_health_is(&server, reading, ServingStatus::Serving).await;
    }
    nats.kill();
    for reading in ["care.v1.Timeline", "care.v1.Boards", "care.v1.EventStore"] {
        until_health_is(&server, reading, ServingStatus::NotServing).await;
    }
    nats.resume();
    for reading in ["care.v1.Timeline", "care.v1.Boards", "care.v1.EventStore"] {
        until_health_is(&server, reading, ServingStatus::Serving).await;
    }
}

/// A certificate authority's certificate, and what it signs for this machine: PEM files.
fn certificates(folder: &Path) -> [String; 3] {
    let mut params = CertificateParams::new(vec!["the region".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    [
        write("ca.pem", authority),
        write("cert.pem", certificate),
        write("key.pem", key.serialize_pem()),
    ]
}

#[tokio::test]
async fn nats_is_spoken_over_tls_with_certificates_and_a_password() {
    let (data, servers, files) = (folder(), folder(), folder());
    let [ca, certificate, key] = certificates(files.path());
    let guarded = format!(
        "tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true }}\n\
         authorization {{ user: care, password: secret }}\n"
    );
    let mut nats = NatsServer::prepare(servers.path(), "guarded", &guarded);
    nats.resume();
    let url = |password: &str| format!("tls://care:{password}@localhost:{}", nats.port);
    let own = ["--nats-ca", &ca, "--nats-certificate", &certificate, "--nats-key", &key];
    let with = |url: &str, more: &[&str]| -> Vec<String> {
        on_nats(url, more).iter().map(ToString::to_string).collect()
    };
    let short = ["--nats-start-ms", "500"];
    // Without a certificate, with a wrong password, and trusting nobody: it does not begin.
    for (url, more) in [
        (url("secret"), [&own[..2], &short].concat()),
        (url("wrong"), [&own[..], &short].concat()),
        (url("secret"), short.to_vec()),
    ] {
        let settings = with(&url, &more);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let told = refusal(data.path(), &settings);
        let is_told = ["no NATS server answers", "will not have this client"];
        assert!(is_told.iter().any(|why| told.contains(why)), "{told}");
        assert!(!told.contains("secret") && !told.contains("wrong"), "{told}");
    }
    let settings = with(&url("secret"), &own);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = Server::start_with(data.path(), &settings);
    let told = run(&["simulate", "--patients", "2", "--server", &server.url]);
    assert!(told.status.success(), "{}", stderr(&told));
    assert!(server.terminate().await.success());
}
