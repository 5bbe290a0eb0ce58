//! SS-MIX2 storages: files as a hospital system writes them become timelines.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use tonic::transport::Channel;
use tsunagi_gateway::hl7::Charset;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::mllp::find;
use crate::support::{Server, folder, liaison, timeline};

fn start(data: &Path, storage: &Path) -> Server {
    let storage = storage.to_str().unwrap();
    let settings =
        ["--ssmix2-folder", storage, "--ssmix2-poll-ms", "20", "--ssmix2-settle-ms", "0"];
    Server::start_with(data, &settings)
}

pub(crate) fn message(event: &str, control: &str, rest: &str) -> Vec<u8> {
    let text = format!(
        "MSH|^~\\&|HIS|SEND|GW|R|20260501120000||ADT^{event}^ADT_A01|{control}|P|2.5||||||~ISO IR87||ISO 2022-1994\r\
         EVN||202605011200\r\
         PID|0001||0042||患者^太郎^^^^^L^I~カンジャ^タロウ^^^^^L^P||19480405|M\r{rest}\r\x1c"
    );
    Charset::Iso2022Jp.write(&text)
}

pub(crate) fn admitted(at: &str) -> String {
    format!("PV1|1|I|32^302^1{}{at}", "|".repeat(41))
}

/// Waits until the patient's timeline has this many entries, by following the feed.
pub(crate) async fn entries(channel: &Channel, count: usize) -> Vec<String> {
    let mut bus = CareBusClient::new(channel.clone());
    let request = v1::SubscribeRequest {
        type_prefixes: vec!["care.patient.".into(), "care.encounter.".into()],
        ..Default::default()
    };
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut seen = 0;
    while seen < count {
        if let Some(Frame::Event(_)) = frames.message().await.unwrap().unwrap().frame {
            seen += 1;
        }
    }
    let patient = find(channel, "urn:tsunagi:hl7:SEND", "0042").await;
    let entries = timeline(channel, &patient.patient_id).await;
    entries.into_iter().map(|entry| entry.r#type.replace("care.", "").replace(".v1", "")).collect()
}

#[tokio::test]
async fn what_is_appended_to_a_transaction_file_is_taken_once() {
    let (data, storage) = (folder(), folder());
    let year = storage.path().join("2026");
    std::fs::create_dir(&year).unwrap();
    let path = year.join("TR_20260501000000000_00001.DAT");
    let append = |parts: &[&[u8]]| {
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(&parts.concat()).unwrap();
    };
    append(&[
        b"INS,0042,20260430,ADT-22\r\n",
        &message("A01", "1", &admitted("202604300900")),
        b"\r\n",
    ]);
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 2).await, ["patient.registered", "encounter.admitted"]);
    // A deletion takes it back, and another admission comes in its place.
    append(&[
        b"DEL,0042,20260430,ADT-22\r\n",
        &message("A01", "1", &admitted("202604300900")),
        b"\r\n",
    ]);
    append(&[
        b"INS,0042,20260430,ADT-22\r\n",
        &message("A01", "2", &admitted("202604301000")),
        b"\r\n",
    ]);
    let all = [
        "patient.registered",
        "encounter.admitted",
        "encounter.admit_cancelled",
        "encounter.admitted",
    ];
    let mut found = entries(&channel, 4).await;
    found.sort();
    let mut expected = all.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    // Without its cursor it reads all again, and adds nothing.
    server.kill();
    std::fs::remove_file(data.path().join("ssmix2-cursor.json")).ok();
    let server = start(data.path(), storage.path());
    append(&[b"INS,0042,20260501,ADT-52\r\n", &message("A03", "3", "PV1|1|I|32^302^1"), b"\r\n"]);
    let found = entries(&server.channel().await, 5).await;
    assert_eq!(found.len(), 5, "{found:?}");
}

#[tokio::test]
async fn a_file_of_the_standard_storage_that_replaces_another_corrects_it() {
    let (data, storage) = (folder(), folder());
    let place = storage.path().join("004/2/0042/20260430/ADT-22");
    std::fs::create_dir_all(&place).unwrap();
    let name =
        |time: &str, flag: &str| place.join(format!("0042_20260430_ADT-22_7_{time}_01_{flag}"));
    std::fs::write(name("20260430100000000", "1"), message("A01", "1", &admitted("202604300900")))
        .unwrap();
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 2).await.len(), 2);
    std::fs::rename(name("20260430100000000", "1"), name("20260430100000000", "2")).unwrap();
    std::fs::write(name("20260430110000000", "1"), message("A01", "2", &admitted("202604300800")))
        .unwrap();
    let found = entries(&channel, 4).await;
    let count = |of: &str| found.iter().filter(|one| *one == of).count();
    assert_eq!(
        (count("encounter.admitted"), count("encounter.admit_cancelled")),
        (2, 1),
        "{found:?}"
    );
    let patient = find(&channel, "urn:tsunagi:hl7:SEND", "0042").await;
    assert_eq!(patient.since_at, "2026-04-30T08:00:00+09:00");
}
