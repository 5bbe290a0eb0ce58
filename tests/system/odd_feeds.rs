//! What other systems send, or how they send it, that is odd: it spoils nothing but itself, and is
//! told.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tsunagi_gateway::hl7::Charset;

use crate::export;
use crate::fhir::{bundle, get, reason, request, start};
use crate::hl7_news::sent;
use crate::mllp::{Sender, code, find};
use crate::ssmix2::{admitted, entries, message};
use crate::support::{Server, folder, run, stdout};

fn response(answer: &Value, at: usize) -> &Value {
    &answer["entry"][at]["response"]
}

#[tokio::test]
async fn an_entry_of_a_batch_that_cannot_be_read_does_not_spoil_the_others() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut wrong = export::patient(1);
    wrong["birthDate"] = json!(5);
    let sent = bundle("batch", vec![wrong, export::patient(0)]);
    let mut sent: Value = serde_json::from_str(&sent).unwrap();
    let entries = sent["entry"].as_array_mut().unwrap();
    entries.push(json!({ "request": { "method": "GET", "url": "Patient/1" } }));
    entries.push(json!("no entry"));
    let (status, answer) = request(&server, "POST", "", &sent.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    for (at, why) in [(0, "ELEMENT_WRONG"), (2, "METHOD_NOT_SUPPORTED"), (3, "UNREADABLE")] {
        assert_eq!(response(&answer, at)["status"], "400 Bad Request", "{answer}");
        let outcome = &response(&answer, at)["outcome"];
        assert_eq!(reason(outcome), why);
        let expression = outcome["issue"][0]["expression"][0].as_str().unwrap();
        assert!(expression.starts_with(&format!("Bundle.entry[{at}]")), "{expression}");
    }
    assert_eq!(response(&answer, 1)["status"], "201 Created", "{answer}");
    // Of a transaction, all is refused.
    sent["type"] = json!("transaction");
    let (status, answer) = request(&server, "POST", "", &sent.to_string()).await;
    assert_eq!((status, reason(&answer)), (400, "ELEMENT_WRONG"));
}

#[tokio::test]
async fn control_characters_in_a_message_are_left_out_and_the_answer_says_so() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--mllp-listen", "127.0.0.1:0"]);
    let mut sender = Sender::connect(&server).await;
    let channel = server.channel().await;
    for (number, sign) in ["\u{b}", "\u{1c}", "\0", "\u{85}"].into_iter().enumerate() {
        let answer = sender
            .send(&format!(
                "MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A28|{number}|P|2.5||||||UNICODE UTF-8\r\
                 PID|1||{number}^^^H^MR||Do{sign}e^Jo||19400203|F\r"
            ))
            .await;
        assert_eq!(code(&answer).0, "AA", "{answer}");
        assert!(answer.contains("PID-5 holds control characters"), "{sign:?}: {answer}");
        let patient = find(&channel, "urn:tsunagi:hl7:H:H", &number.to_string()).await;
        assert_eq!(patient.demographics.unwrap().names[0].family, "Doe");
    }
}

#[tokio::test]
async fn a_character_set_that_is_in_doubt_is_told_in_the_answer_with_what_was_read() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--mllp-listen", "127.0.0.1:0"]);
    let mut sender = Sender::connect(&server).await;
    let told = [
        (
            "",
            Charset::Latin1,
            "García",
            "no character set is declared, and the bytes are not ASCII",
        ),
        ("", Charset::Cp932, "山田", "read as CP932"),
        (
            "UNICODE UTF-8",
            Charset::Cp932,
            "山田",
            "declares another character set than the bytes have",
        ),
        ("8859/1", Charset::Latin1, "García", ""),
        ("", Charset::Ascii, "Garcia", ""),
        ("ISO IR 999", Charset::Ascii, "Garcia", "not known here: read as ASCII"),
    ];
    for (number, (declared, charset, family, doubt)) in told.into_iter().enumerate() {
        let message = format!(
            "MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A28|{number}|P|2.5||||||{declared}\r\
             PID|1||{number}^^^H^MR||{family}^Jo||19400203|F\r"
        );
        let answer = sender.send(charset.write(&message)).await;
        assert_eq!(code(&answer).0, "AA", "{answer}");
        assert!(answer.contains(doubt), "{family} as {charset:?}: {answer}");
        assert_eq!(answer.contains("read as"), !doubt.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn a_gender_that_is_none_is_remarked() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut person = export::patient(0);
    person["gender"] = json!("xx");
    let (status, answer) = request(&server, "POST", "", &bundle("transaction", vec![person])).await;
    assert_eq!(status, 200, "{answer}");
    let outcome = &response(&answer, 0)["outcome"];
    assert!(outcome.to_string().contains("gender"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_holds_up_nobody() {
    let data = folder();
    let settings = ["--fhir-requests", "1", "--fhir-body-wait-ms", "300"];
    let server = start(data.path(), &settings);
    let address = server.fhir.clone().unwrap();
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head =
            format!("POST /fhir HTTP/1.1\r\nhost: {address}\r\ncontent-length: 100\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // While they wait, and when they were told so, others are answered.
    let taken = bundle("transaction", vec![export::patient(0)]);
    assert_eq!(request(&server, "POST", "", &taken).await.0, 200);
    for mut stream in slow {
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    }
    assert_eq!(request(&server, "POST", "", &taken).await.0, 200);
}

#[tokio::test]
async fn an_older_resource_still_says_that_an_address_is_confidential_and_of_a_death() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut person = export::patient(0);
    person["address"] = json!([{ "text": "本町1-2-3" }]);
    let post = async |person: &Value| {
        let (status, answer) =
            request(&server, "POST", "", &bundle("transaction", vec![person.clone()])).await;
        assert_eq!(status, 200, "{answer}");
        get(&server, "/Patient?identifier=MR00000").await["entry"][0]["resource"].clone()
    };
    person["meta"] = json!({ "lastUpdated": "2026-03-02T00:00:00Z" });
    assert_eq!(post(&person).await["address"][0]["text"], "本町1-2-3");
    let mut older = person.clone();
    older["meta"] = json!({
        "lastUpdated": "2026-03-01T00:00:00Z",
        "security": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R" }],
    });
    older["deceasedDateTime"] = json!("2026-02-28T10:00:00+09:00");
    older["telecom"] = json!([{ "system": "phone", "value": "old" }]);
    let shown = post(&older).await;
    assert!(!shown.to_string().contains("本町") && !shown.to_string().contains("old"), "{shown}");
    assert_eq!(shown["deceasedDateTime"], "2026-02-28T10:00:00+09:00");
}

#[tokio::test]
async fn a_resource_that_was_written_on_a_day_is_of_the_region_s_day() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut person = export::patient(0);
    // In UTC, the later one would still be of that day.
    for (written, phone) in [("2026-03-03T01:00:00+09:00", "new"), ("2026-03-02", "old")] {
        person["meta"] = json!({ "lastUpdated": written });
        person["telecom"] = json!([{ "system": "phone", "value": phone }]);
        let sent = bundle("transaction", vec![person.clone()]);
        assert_eq!(request(&server, "POST", "", &sent).await.0, 200);
    }
    let shown = get(&server, "/Patient?identifier=MR00000").await["entry"][0]["resource"].clone();
    assert_eq!(shown["telecom"][0]["value"], "new");
}

#[tokio::test]
async fn an_older_export_still_says_that_an_address_is_confidential() {
    let (data, files) = (folder(), folder());
    let write = |meta: Value| {
        let mut person = export::patient(0);
        person["address"] = json!([{ "text": "本町1-2-3" }]);
        person["meta"] = meta;
        std::fs::write(files.path().join("Patient.ndjson"), format!("{person}\n")).unwrap();
        let import = ["import", "fhir", files.path().to_str().unwrap()];
        run(&[&import[..], &["--data", data.path().to_str().unwrap()]].concat())
    };
    let first = write(json!({ "lastUpdated": "2026-03-02T00:00:00Z" }));
    assert_eq!(first.status.code(), Some(0), "{}", stdout(&first));
    let label = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R" }]);
    let older = json!({ "lastUpdated": "2026-03-01T00:00:00Z", "security": label });
    assert!(stdout(&write(older.clone())).contains("1 event"), "it is taken");
    assert!(stdout(&write(older)).contains("0 events"), "once");
    let server = start(data.path(), &[]);
    let shown = get(&server, "/Patient?identifier=MR00000").await.to_string();
    assert!(shown.contains("MR00000") && !shown.contains("本町"), "{shown}");
}

#[tokio::test]
async fn patients_and_stays_are_found_by_one_of_several_values_and_while_they_last() {
    let data = folder();
    let server = start(data.path(), &[]);
    let found = async |path: &str| {
        get(&server, path).await["entry"].as_array().map(Vec::len).unwrap_or_default()
    };
    let mut stay = export::encounters(0).remove(0);
    stay["status"] = json!("in-progress");
    stay["class"]["code"] = json!("IMP");
    stay["period"] = json!({ "start": "2026-05-01T09:00:00+09:00" });
    let resources = vec![export::patient(0), stay];
    let (status, answer) = request(&server, "POST", "", &bundle("transaction", resources)).await;
    assert_eq!(status, 200, "{answer}");
    request(&server, "POST", "", &bundle("transaction", vec![export::patient(1)])).await;
    assert_eq!(found("/Patient?identifier=MR00000,MR00001").await, 2);
    assert_eq!(found("/Patient?gender=female,male").await, 2);
    let system = "urn:oid:1.2.392.100495.20.3.51.1";
    assert_eq!(found(&format!("/Patient?identifier={system}%7C")).await, 2);
    assert_eq!(
        found(&format!("/Patient?identifier={system}%7CMR00000,{system}%7CMR00001")).await,
        2
    );
    let patient = get(&server, "/Patient?identifier=MR00000").await;
    let patient = patient["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    let stays = async |query: &str| found(&format!("/Encounter?patient={patient}&{query}")).await;
    assert_eq!(stays("date=ge2026-05-03").await, 1, "it goes on");
    assert_eq!(stays("date=lt2026-05-01").await, 0);
    assert_eq!(stays("class=IMP").await, 1);
    assert_eq!(stays("class=urn:wrong%7CIMP").await, 0);
}

#[tokio::test]
async fn a_storage_is_read_through_links_and_past_what_is_no_file() {
    let (data, storage, elsewhere) = (folder(), folder(), folder());
    let fifo = storage.path().join("TR_20260501000000000_00000.DAT");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    symlink(elsewhere.path(), storage.path().join("2026")).unwrap();
    // Links that lead back come to an end.
    symlink(storage.path(), elsewhere.path().join("back")).unwrap();
    symlink(elsewhere.path(), elsewhere.path().join("itself")).unwrap();
    symlink("nowhere", elsewhere.path().join("broken")).unwrap();
    let records = [
        &b"DEL,0042,20260429,ADT-22\r\nINS,0042,20260430,ADT-22\r\n"[..],
        &message("A01", "1", &admitted("202604300900")),
        b"\r\n",
    ];
    let file = elsewhere.path().join("TR_20260501000000000_00001.DAT");
    std::fs::write(file, records.concat()).unwrap();
    let storage = storage.path().to_str().unwrap();
    let settings =
        ["--ssmix2-folder", storage, "--ssmix2-poll-ms", "20", "--ssmix2-settle-ms", "0"];
    let server = Server::start_with(data.path(), &settings);
    let channel = server.channel().await;
    assert_eq!(entries(&channel, 2).await, ["patient.registered", "encounter.admitted"]);
    // A deletion of nobody knows what is kept for somebody to look at.
    let kept = sent(&channel, &["care.system.message_quarantined."]).await;
    assert_eq!(kept.len(), 1);
}

#[test]
fn what_of_a_directory_cannot_be_taken_is_told() {
    let (data, tables) = (folder(), folder());
    let write = |name: &str, text: &str| {
        std::fs::write(tables.path().join(name), Charset::Utf8.write(text)).unwrap();
    };
    write("organizations.csv", "id,name\no-1,会\n");
    write(
        "services.csv",
        "id,organization_id,name,status\ns-1,o-1,体操,active\ns-1,o-1,配食,active\n\
         s-2,o-1,\"サロン,active\ns-3,o-1,\"茶会\",active\ns-4,o-1,散歩,active\n",
    );
    write(
        "schedules.csv",
        "id,service_id,freq,byday,opens_at,closes_at\nt-1,s-1,WEEKLY,MO,9:00,12:30\nt-2,s-3,WEEKLY,MO,morning,\n",
    );
    let (data, tables) = (data.path().to_str().unwrap(), tables.path().to_str().unwrap());
    let taken = run(&["import", "hsds", tables, "--data", data, "--source", "city"]);
    let text = stdout(&taken);
    assert_eq!(taken.status.code(), Some(2), "{text}");
    for told in [
        "services.csv:3  service/s-1  ID_TWICE",
        "services.csv:4  service/  ROW_UNREADABLE",
        "schedules.csv:3  schedule/t-2  ROW_INVALID: opens_at",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(text.contains("3 events stored"), "{text}");
}
