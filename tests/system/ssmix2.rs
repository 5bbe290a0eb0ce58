//! SS-MIX2 storages: files as a hospital system writes them become timelines.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tonic::transport::Channel;
use tsunagi_gateway::hl7::Charset;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::mllp::{Sender, code, find};
use crate::mllp_frames::{command, quarantined};
use crate::support::{Server, folder, liaison, timeline};

fn start(data: &Path, storage: &Path) -> Server {
    start_with(data, storage, &[])
}

fn start_with(data: &Path, storage: &Path, more: &[&str]) -> Server {
    let storage = storage.to_str().unwrap();
    let settings =
        ["--ssmix2-folder", storage, "--ssmix2-poll-ms", "20", "--ssmix2-settle-ms", "0"];
    Server::start_with(data, &[&settings, more].concat())
}

/// Puts a file where it is whole at once, as it would be after a while.
fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// A file of the standard storage, by its order and transaction time.
fn stored(storage: &Path, order: &str, time: &str, flag: &str) -> PathBuf {
    storage.join(format!("0042_20260430_ADT-22_{order}_{time}_01_{flag}"))
}

/// A message after which the patient's given name is another.
fn renamed(control: &str, name: &str) -> Vec<u8> {
    let day = u32::try_from(name.chars().count()).unwrap();
    let said = String::from_utf8(message_in("A08", control, "", Charset::Utf8)).unwrap();
    let said = said.replace("202605011200", &format!("202605{:02}1200", 1 + day));
    Charset::Iso2022Jp.write(&said.replace("太郎", name))
}

pub(crate) fn message(event: &str, control: &str, rest: &str) -> Vec<u8> {
    message_in(event, control, rest, Charset::Iso2022Jp)
}

fn message_in(event: &str, control: &str, rest: &str, charset: Charset) -> Vec<u8> {
    let text = format!(
        "MSH|^~\\&|HIS|SEND|GW|R|20260501120000||ADT^{event}^ADT_A01|{control}|P|2.5||||||~ISO IR87||ISO 2022-1994\r\
         EVN||202605011200\r\
         PID|0001||0042||患者^太郎^^^^^L^I~カンジャ^タロウ^^^^^L^P||19480405|M\r{rest}\r\x1c"
    );
    charset.write(&text)
}

pub(crate) fn admitted(at: &str) -> String {
    format!("PV1|1|I|32^302^1{}{at}", "|".repeat(41))
}

/// Waits until the patient's timeline has this many entries, by following the feed.
pub(crate) async fn entries(channel: &Channel, count: usize) -> Vec<String> {
    until(channel, &["care.patient.", "care.encounter."], count).await;
    let patient = find(channel, "urn:tsunagi:hl7:SEND", "0042").await;
    let entries = timeline(channel, &patient.patient_id).await;
    entries.into_iter().map(|entry| entry.r#type.replace("care.", "").replace(".v1", "")).collect()
}

/// Waits until there are so many events of these types.
async fn until(channel: &Channel, types: &[&str], count: usize) {
    let mut bus = CareBusClient::new(channel.clone());
    let request = v1::SubscribeRequest {
        type_prefixes: types.iter().map(|of| (*of).to_owned()).collect(),
        ..Default::default()
    };
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut seen = 0;
    while seen < count {
        if let Some(Frame::Event(_)) = frames.message().await.unwrap().unwrap().frame {
            seen += 1;
        }
    }
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
async fn a_deletion_that_takes_nothing_back_is_kept_and_never_sent_as_though_it_said_so() {
    let (data, storage) = (folder(), folder());
    std::fs::create_dir(storage.path().join("2026")).unwrap();
    let record = |begins: &str, message: &[u8]| [begins.as_bytes(), message, b"\r\n"].concat();
    let file = [
        record("INS,0042,20260430,ADT-22\r\n", &message("A01", "1", &admitted("202604300900"))),
        record("INS,0042,20260501,ADT-00\r\n", &renamed("2", "花")),
        record("DEL,0042,20260501,ADT-00\r\n", &renamed("2", "花")),
        record("INS,0042,20260501,ADT-52\r\n", &message("A03", "3", "PV1|1|I|32^302^1")),
    ];
    put(&storage.path().join("2026/TR_20260501000000000_00001.DAT"), &file.concat());
    let server = start(data.path(), storage.path());
    entries(&server.channel().await, 4).await;
    let kept = quarantined(&server).await;
    let [(id, line)] = &kept[..] else { panic!("{kept:?}") };
    assert!(line.contains("A08") && line.contains("at a desk"), "{line}");
    assert!(command(&server, &["quarantine", id]).await.starts_with(&renamed("2", "花")));
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

#[tokio::test]
async fn transaction_files_of_one_name_in_several_folders_are_each_read() {
    let (data, storage) = (folder(), folder());
    for (place, control, event, rest) in [
        ("a", "1", "A01", admitted("202604300900")),
        ("b", "2", "A03", "PV1|1|I|32^302^1".to_owned() + &"|".repeat(42) + "202605011000"),
    ] {
        let place = storage.path().join(place);
        std::fs::create_dir(&place).unwrap();
        let record = [b"INS\r\n".as_slice(), &message(event, control, &rest), b"\r\n"].concat();
        put(&place.join("TR_20260501000000000_00001.DAT"), &record);
    }
    let server = start(data.path(), storage.path());
    let found = entries(&server.channel().await, 3).await;
    assert_eq!(found.last().unwrap(), "encounter.discharged", "{found:?}");
}

#[tokio::test]
async fn a_transaction_file_that_became_shorter_is_read_from_its_beginning() {
    let (data, storage) = (folder(), folder());
    let path = storage.path().join("TR_20260501000000000_00001.DAT");
    put(&path, &message("A01", "1", &admitted("202604300900")));
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 2).await.len(), 2);
    put(&path, &message("A03", "2", "PV1|1|I|32"));
    let found = entries(&channel, 3).await;
    assert_eq!(found.last().unwrap(), "encounter.discharged", "{found:?}");
}

#[tokio::test]
async fn a_transaction_file_in_whose_place_a_longer_one_came_is_read_from_its_beginning() {
    let (data, storage) = (folder(), folder());
    let path = storage.path().join("TR_20260501000000000_00001.DAT");
    put(&path, &message("A01", "1", &admitted("202604300900")));
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 2).await.len(), 2);
    // The first record of the other file ends where the one before did, or behind that.
    let moved = message("A02", "2", "PV1|1|I|41^411^1");
    let padded = [moved.as_slice(), b"ZZZ|1|0123456789012345678901234567890123456789\r"].concat();
    put(&path, &[padded, message("A03", "3", "PV1|1|I|41")].concat());
    let found = entries(&channel, 4).await;
    assert_eq!(found[2..], ["encounter.transferred", "encounter.discharged"], "{found:?}");
}

/// A message that says of itself that it is one of SS-MIX2.
fn of_ss_mix2(event: &str, control: &str, visit: &str) -> Vec<u8> {
    let said = String::from_utf8(message_in(event, control, visit, Charset::Utf8)).unwrap();
    let version = "|ISO 2022-1994|SS-MIX2_1.20^SS-MIX2^1.2.392.200250.2.1.100.1.2.120^ISO\r";
    Charset::Iso2022Jp.write(&said.replacen("|ISO 2022-1994\r", version, 1))
}

#[tokio::test]
async fn an_outpatient_whose_admission_is_deleted_or_replaced_was_there_for_a_day() {
    let (data, storage) = (folder(), folder());
    let visit = |class: &str, number: &str, at: &str| {
        format!("PV1|1|{class}|112{}{number}{}{at}", "|".repeat(16), "|".repeat(25))
    };
    let records = |number: &str| {
        let came = of_ss_mix2("A04", &format!("1{number}"), &visit("O", number, "202604300900"));
        let stayed = of_ss_mix2("A01", &format!("2{number}"), &visit("I", number, "202604301000"));
        [came, stayed]
    };
    let [came, stayed] = records("V-1");
    let record = |kind: &str, said: &[u8]| [kind.as_bytes(), b",0042\r\n", said, b"\r\n"].concat();
    let all = [record("INS", &came), record("INS", &stayed), record("DEL", &stayed)];
    put(&storage.path().join("TR_20260501000000000_00001.DAT"), &all.concat());
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    let visited = async || {
        let patient = find(&channel, "urn:tsunagi:hl7:SEND", "0042").await;
        patient.state() == v1::PatientState::Visited
    };
    let found = entries(&channel, 5).await;
    assert!(visited().await, "{found:?}");
    // What is replaced in the standard storage is taken back.
    let [came, stayed] = records("V-2");
    put(&stored(storage.path(), "8", "20260501100000000", "1"), &came);
    put(&stored(storage.path(), "9", "20260501110000000", "1"), &stayed);
    entries(&channel, 7).await;
    let replaced = |flag: &str| stored(storage.path(), "9", "20260501110000000", flag);
    std::fs::rename(replaced("1"), replaced("2")).unwrap();
    let found = entries(&channel, 9).await;
    assert!(visited().await, "{found:?}");
}

#[tokio::test]
async fn an_outpatient_is_registered_for_a_day() {
    let (data, storage) = (folder(), folder());
    let visit = format!("PV1|1|O|112{}202604300900", "|".repeat(41));
    let of_ss_mix2 = |control: &str, visit: &str| of_ss_mix2("A04", control, visit);
    let file = |order: &str, time: &str| stored(storage.path(), order, time, "1");
    put(&file("7", "20260430100000000"), &of_ss_mix2("1", &visit));
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 2).await, ["patient.registered", "encounter.registered"]);
    let patient = find(&channel, "urn:tsunagi:hl7:SEND", "0042").await;
    assert_eq!(patient.state(), v1::PatientState::Visited, "no visit goes on for ever");
    // An emergency may last longer than the day.
    let emergency = visit.replace("|O|", "|E|").replace("20260430", "20260501");
    put(&file("8", "20260501100000000"), &of_ss_mix2("2", &emergency));
    entries(&channel, 3).await;
    let patient = find(&channel, "urn:tsunagi:hl7:SEND", "0042").await;
    assert_eq!(patient.state(), v1::PatientState::Visiting);
    // The same said again corrects nothing.
    put(&file("9", "20260501110000000"), &of_ss_mix2("3", &visit));
    put(&file("10", "20260501120000000"), &message("A01", "4", &admitted("202605011100")));
    let found = entries(&channel, 4).await;
    assert_eq!(found.last().unwrap(), "encounter.admitted", "{found:?}");
}

#[tokio::test]
async fn what_was_taken_and_said_nothing_new_is_not_taken_again() {
    let (data, storage) = (folder(), folder());
    let in_storage = |order: &str, time: &str| stored(storage.path(), order, time, "1");
    // Two messages tell of one admission: the second one says nothing new.
    for (order, time) in [("7", "20260501100000000"), ("8", "20260501110000000")] {
        put(&in_storage(order, time), &message("A01", order, &admitted("202604300900")));
    }
    put(&in_storage("9", "20260501120000000"), &renamed("9", "次郎"));
    let mllp = ["--mllp-listen", "127.0.0.1:0"];
    let server = start_with(data.path(), storage.path(), &mllp);
    let channel = server.channel().await;
    entries(&channel, 3).await;
    let mut sender = Sender::connect(&server).await;
    let cancel = message("A11", "10", &admitted("202604300900"));
    assert_eq!(code(&sender.send(&cancel[..cancel.len() - 2]).await).0, "AA");
    // What is behind them in the storage is taken after them, also after a restart.
    put(&in_storage("11", "20260501130000000"), &renamed("11", "正三郎"));
    entries(&channel, 5).await;
    assert!(server.terminate().await.success());
    let server = start_with(data.path(), storage.path(), &mllp);
    put(&in_storage("12", "20260501140000000"), &renamed("12", "佐四次郎"));
    let found = entries(&server.channel().await, 6).await;
    let admissions = found.iter().filter(|one| *one == "encounter.admitted").count();
    assert_eq!(admissions, 1, "{found:?}");
}

#[tokio::test]
async fn a_file_that_comes_late_is_taken_however_old_it_is() {
    let (data, storage) = (folder(), folder());
    let in_storage = |order: &str, time: &str| stored(storage.path(), order, time, "1");
    put(&in_storage("7", "20260501000100000"), &message("A01", "1", &admitted("202604300900")));
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 2).await.len(), 2);
    put(&in_storage("8", "20260430235900000"), &renamed("2", "次郎"));
    assert_eq!(entries(&channel, 3).await.len(), 3);
    put(&in_storage("9", "20250102030405000"), &renamed("3", "正三郎"));
    assert_eq!(entries(&channel, 4).await.len(), 4);
    // A file that is written anew within the days that are looked at is read anew.
    put(&in_storage("7", "20260501000100000"), &renamed("4", "佐四次郎"));
    assert_eq!(entries(&channel, 5).await.len(), 5);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_taken_when_it_can() {
    let (data, storage) = (folder(), folder());
    let in_storage = |order: &str, time: &str| stored(storage.path(), order, time, "1");
    let large = in_storage("7", "20260401000000000");
    put(&large, &[b'x'; 3000]);
    put(&in_storage("8", "20260501000000000"), &renamed("1", "次郎"));
    let server = start_with(data.path(), storage.path(), &["--ssmix2-file-bytes", "2000"]);
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 1).await, ["patient.registered"]);
    // It lies far behind what was taken since.
    put(&large, &message("A01", "2", &admitted("202604300900")));
    let found = entries(&channel, 2).await;
    assert!(found.contains(&"encounter.admitted".to_owned()), "{found:?}");
}

#[tokio::test]
async fn a_clock_that_runs_ahead_holds_nothing_up() {
    let (data, storage) = (folder(), folder());
    let ahead = |path: &Path, bytes: &[u8]| {
        std::fs::write(path.with_extension("new"), bytes).unwrap();
        let file = OpenOptions::new().append(true).open(path.with_extension("new")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(1 << 30)).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    };
    let admission = message("A01", "1", &admitted("202604300900"));
    ahead(&stored(storage.path(), "7", "20260501100000000", "1"), &admission);
    put(&stored(storage.path(), "8", "20260501110000000", "1"), &renamed("2", "次郎"));
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 3).await.len(), 3);
    let transactions = storage.path().join("TR_20260501000000000_00001.DAT");
    ahead(&transactions, &message("A03", "3", "PV1|1|I|32"));
    let found = entries(&channel, 4).await;
    assert!(found.contains(&"encounter.discharged".to_owned()), "{found:?}");
}

#[tokio::test]
async fn a_file_of_long_ago_that_is_replaced_afterwards_is_taken_back() {
    let (data, storage) = (folder(), folder());
    let first = |flag: &str| stored(storage.path(), "7", "20260402100000000", flag);
    put(&first("1"), &message("A01", "1", &admitted("202604020900")));
    let second = stored(storage.path(), "7", "20260501100000000", "1");
    put(&second, &message("A01", "2", &admitted("202604030800")));
    put(&stored(storage.path(), "8", "20260501110000000", "1"), &renamed("3", "次郎"));
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    let before = entries(&channel, 3).await;
    assert_eq!(before.iter().filter(|one| *one == "encounter.admitted").count(), 1, "{before:?}");
    std::fs::rename(first("1"), first("2")).unwrap();
    entries(&channel, 5).await;
    let patient = find(&channel, "urn:tsunagi:hl7:SEND", "0042").await;
    assert_eq!(patient.since_at, "2026-04-03T08:00:00+09:00");
}

#[tokio::test]
async fn what_replaces_an_admission_after_the_discharge_corrects_it() {
    for (ward, began) in [("7B", "202604300900"), ("32", "202604300800")] {
        let (data, storage) = (folder(), folder());
        let first = |flag: &str| stored(storage.path(), "7", "20260430100000000", flag);
        put(&first("1"), &message("A01", "1", &admitted("202604300900")));
        let left = format!("{}|202605011000", admitted("202604300900"));
        let end = stored(storage.path(), "8", "20260501110000000", "1");
        put(&end, &message("A03", "2", &left));
        let server = start(data.path(), storage.path());
        let channel = server.channel().await;
        assert_eq!(entries(&channel, 3).await.len(), 3);
        std::fs::rename(first("1"), first("2")).unwrap();
        let instead = admitted(began).replace("|32^", &format!("|{ward}^"));
        let second = stored(storage.path(), "7", "20260501120000000", "1");
        put(&second, &message("A01", "3", &instead));
        until(&channel, &["care.record."], 1).await;
        let patient = find(&channel, "urn:tsunagi:hl7:SEND", "0042").await;
        assert_eq!(patient.state(), v1::PatientState::Discharged);
        let told = timeline(&channel, &patient.patient_id).await;
        let admissions: Vec<_> =
            told.iter().filter(|entry| entry.r#type == "care.encounter.admitted.v1").collect();
        assert_eq!(admissions.len(), 1, "{told:?}");
        assert!(admissions[0].text.clone().unwrap().en.contains(ward), "{admissions:?}");
        let at = jiff::fmt::strtime::parse("%Y%m%d%H%M", began).unwrap().to_datetime().unwrap();
        assert_eq!(admissions[0].occurred_at, format!("{at}+09:00"));
    }
}

#[tokio::test]
async fn a_record_that_is_written_in_pieces_is_taken_whole() {
    let whole = message("A01", "1", &admitted("202604300900"));
    let beginning = |of: &[u8]| whole.windows(of.len()).position(|one| one == of).unwrap();
    let next = [b"INS\r\n".as_slice(), &renamed("2", "次郎"), b"\r\n"].concat();
    // Within a segment, and between two.
    for (at, told) in [(beginning(b"19480405"), 1), (beginning(b"PV1"), 2)] {
        let (data, storage) = (folder(), folder());
        let path = storage.path().join("TR_20260501000000000_00001.DAT");
        let append = |bytes: &[u8]| {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
            file.write_all(bytes).unwrap();
        };
        append(&[b"INS\r\n".as_slice(), &whole[..at]].concat());
        // Another file is read meanwhile, after it.
        let other = storage.path().join("TR_20260501000000000_00002.DAT");
        put(&other, &renamed("3", "三郎"));
        let server = start(data.path(), storage.path());
        let channel = server.channel().await;
        until(&channel, &["care.patient."], told).await;
        append(&[&whole[at..], b"\r\n"].concat());
        append(&next);
        until(&channel, &["care.patient."], told + 1).await;
        let patient = find(&channel, "urn:tsunagi:hl7:SEND", "0042").await;
        assert_eq!(patient.place.unwrap().ward, "32");
        assert_eq!(patient.since_at, "2026-04-30T09:00:00+09:00");
        let told = timeline(&channel, &patient.patient_id).await;
        let admissions = told.iter().filter(|of| of.r#type.ends_with("admitted.v1")).count();
        assert_eq!(admissions, 1, "{told:?}");
    }
}

#[tokio::test]
async fn what_was_refused_is_taken_when_what_it_builds_on_has_come() {
    let (data, storage) = (folder(), folder());
    let in_storage = |order: &str, time: &str| stored(storage.path(), order, time, "1");
    let of_a_woman = |message: Vec<u8>| {
        let said = message.strip_suffix(b"\x1c").unwrap();
        let (before, after) = said.split_at(said.windows(3).position(|of| of == b"|M\r").unwrap());
        [before, b"|F", &after[2..], b"\x1c"].concat()
    };
    put(&in_storage("7", "20260501100000000"), &message("A01", "1", &admitted("202604300900")));
    let discharge = of_a_woman(message("A03", "2", "PV1|1|I|32"));
    put(&in_storage("8", "20260501110000000"), &discharge);
    put(&in_storage("9", "20260501120000000"), &renamed("3", "次郎"));
    let server = start(data.path(), storage.path());
    let channel = server.channel().await;
    let found = entries(&channel, 3).await;
    assert!(!found.contains(&"encounter.discharged".to_owned()), "{found:?}");
    // The sex was corrected.
    put(&in_storage("10", "20260501130000000"), &of_a_woman(renamed("4", "正三郎")));
    let found = entries(&channel, 5).await;
    assert!(found.contains(&"encounter.discharged".to_owned()), "{found:?}");
}
