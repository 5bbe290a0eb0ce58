//! `Timeline` over gRPC and in the terminal: pages, watching, as known at.

use prost_types::Timestamp;
use tsunagi_proto::v1;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::watch_timeline_response::Frame;

use crate::desks::{place, register, registration};
use crate::support::{
    FAR_AHEAD, Server, by, context, folder, id, liaison, reason, run, stderr, stdout,
};

/// A visit on the `day`th of May, and the receipt of it.
async fn visit(channel: &tonic::transport::Channel, day: u8) -> v1::Receipt {
    let mut home = HomeCareClient::new(channel.clone());
    let kind = v1::VisitKind::Nursing.into();
    let request = v1::RecordVisitRequest {
        context: Some(context(
            &id(1),
            &id(100 + u128::from(day)),
            &format!("2026-05-{day:02}T10:00:00+09:00"),
        )),
        event: Some(v1::VisitCompleted { kind, ..Default::default() }),
    };
    home.record_visit(by("nurses", "visiting-nurse", request)).await.unwrap().into_inner()
}

fn request() -> v1::ReadTimelineRequest {
    v1::ReadTimelineRequest {
        patient_id: id(1),
        order: v1::Order::OldestFirst.into(),
        ..v1::ReadTimelineRequest::default()
    }
}

fn days(entries: &[v1::TimelineEntry]) -> Vec<&str> {
    entries.iter().map(|entry| &entry.occurred_at[8..10]).collect()
}

#[tokio::test]
async fn pages_show_the_timeline_as_it_was_when_reading_began() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut client = TimelineClient::new(channel.clone());
    register(&channel, &id(1), "00123").await;
    for day in [2, 4, 6, 8] {
        visit(&channel, day).await;
    }
    let paged = v1::ReadTimelineRequest { page_size: 2, ..request() };
    let first = client.read_timeline(liaison(paged.clone())).await.unwrap().into_inner();
    // Happened between what was shown and what is still to be shown.
    visit(&channel, 3).await;
    visit(&channel, 5).await;
    let mut entries = first.entries;
    let mut page_token = first.next_page_token;
    while !page_token.is_empty() {
        let next = v1::ReadTimelineRequest { page_token, ..paged.clone() };
        let page = client.read_timeline(liaison(next)).await.unwrap().into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
    }
    assert_eq!(days(&entries), ["01", "02", "04", "06", "08"]);
    let newest = v1::ReadTimelineRequest { order: v1::Order::NewestFirst.into(), ..request() };
    let all = client.read_timeline(liaison(newest)).await.unwrap().into_inner();
    assert_eq!(days(&all.entries), ["08", "06", "05", "04", "03", "02", "01"]);
}

#[tokio::test]
async fn a_page_token_is_of_one_patient() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut client = TimelineClient::new(channel.clone());
    register(&channel, &id(1), "00123").await;
    register(&channel, &id(2), "00456").await;
    visit(&channel, 2).await;
    let paged = v1::ReadTimelineRequest { page_size: 1, ..request() };
    let first = client.read_timeline(liaison(paged.clone())).await.unwrap().into_inner();
    let page_token = first.next_page_token;
    assert!(!page_token.is_empty());
    let of_other = v1::ReadTimelineRequest { page_token, patient_id: id(2), ..paged };
    let refused = client.read_timeline(liaison(of_other)).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_OF_OTHER_REQUEST");
}

#[tokio::test]
async fn a_timeline_is_read_as_it_was_known() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut client = TimelineClient::new(channel.clone());
    let registered = register(&channel, &id(1), "00123").await;
    let second = visit(&channel, 9).await;
    visit(&channel, 4).await;
    let known_at = |moment: Option<Timestamp>| {
        liaison(v1::ReadTimelineRequest { as_known_at: moment, ..request() })
    };
    let page = client.read_timeline(known_at(second.recorded_at)).await.unwrap().into_inner();
    assert!(!days(&page.entries).contains(&"04") || page.entries.len() == 3);
    assert!(days(&page.entries).contains(&"09"));
    let page = client.read_timeline(known_at(registered.recorded_at)).await.unwrap().into_inner();
    assert_eq!(page.patient.unwrap().version, u64::try_from(page.entries.len()).unwrap());
    let early = Timestamp { seconds: 0, nanos: 0 };
    let status = client.read_timeline(known_at(Some(early))).await.unwrap_err();
    assert_eq!(reason(&status), "PATIENT_UNKNOWN");
}

#[tokio::test]
async fn a_reader_sees_its_own_write() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut client = TimelineClient::new(channel.clone());
    register(&channel, &id(1), "00123").await;
    for day in 2..28 {
        let receipt = visit(&channel, day).await;
        let request =
            v1::ReadTimelineRequest { at_least_cursor: receipt.cursor.clone(), ..request() };
        let page = client.read_timeline(liaison(request)).await.unwrap().into_inner();
        assert_eq!(page.entries.last().unwrap().event_id, receipt.event_id);
        let request = v1::ListPatientsRequest {
            at_least_cursor: receipt.cursor,
            ..v1::ListPatientsRequest::default()
        };
        let rows = client.list_patients(liaison(request)).await.unwrap().into_inner();
        assert_eq!(rows.patients[0].version, receipt.version);
    }
}

#[tokio::test]
async fn a_timeline_is_watched_from_a_cursor_on() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--heartbeat-ms", "100"]);
    let channel = server.channel().await;
    let mut client = TimelineClient::new(channel.clone());
    register(&channel, &id(1), "00123").await;
    let seen = visit(&channel, 2).await;
    visit(&channel, 3).await;
    let request = v1::WatchTimelineRequest { patient_id: id(1), cursor: seen.cursor };
    let mut frames = client.watch_timeline(liaison(request)).await.unwrap().into_inner();
    let mut shown = Vec::new();
    let mut signs = (0, 0);
    while shown.len() < 3 || signs.1 == 0 {
        let frame = frames.message().await.unwrap().unwrap();
        assert!(!frame.cursor.is_empty());
        match frame.frame.unwrap() {
            Frame::Entry(entry) => shown.push(entry.occurred_at[8..10].to_owned()),
            Frame::CaughtUp(_) => {
                signs.0 += 1;
                visit(&channel, 5).await;
                visit(&channel, 4).await;
            }
            Frame::Heartbeat(_) => signs.1 += 1,
        }
    }
    assert_eq!(shown, ["03", "05", "04"], "in the order of recording");
    assert_eq!(signs.0, 1);
    let ahead = v1::WatchTimelineRequest { patient_id: id(1), cursor: FAR_AHEAD.to_owned() };
    let status = client.watch_timeline(liaison(ahead)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    assert_eq!(reason(&status), "CURSOR_AHEAD");
    let nobody = v1::WatchTimelineRequest { patient_id: id(9), cursor: String::new() };
    let status = client.watch_timeline(liaison(nobody)).await.unwrap_err();
    assert_eq!(reason(&status), "PATIENT_UNKNOWN");
}

#[tokio::test]
async fn the_terminal_tells_times_by_the_region_s_clock() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = DischargeDeskClient::new(channel);
    let mut admitted = v1::Admitted {
        encounter_id: id(0xa),
        place: Some(place("acute", "4E")),
        ..Default::default()
    };
    admitted.place.as_mut().unwrap().bed = "3".to_owned();
    let request = v1::AdmitRequest {
        context: Some(context(&id(1), &id(1), "2026-05-02T22:30:00Z")),
        event: Some(admitted),
    };
    desk.admit(liaison(request)).await.unwrap();
    let path = data.path().to_str().unwrap();
    let shown = stdout(&run(&["timeline", "00123", "--lang", "en", "--data", path]));
    assert!(shown.contains("in hospital since 2026-05-03 07:30  acute 4E 3"), "{shown}");
    assert!(shown.contains("\n2026-05-03\n  07:30  E1   admitted to acute 4E 3"), "{shown}");
    let last = shown.lines().last().unwrap();
    assert!(last.starts_with("E1, E2 …: stays and visits that continue"), "{shown}");
    assert!(
        shown.contains("\n2026-04-01\n              registered"),
        "a date has no clock: {shown}"
    );
    let list = stdout(&run(&["patients", "--lang", "en", "--data", path]));
    assert!(list.contains("in hospital since 2026-05-03 07:30  acute 4E 3"), "{list}");
}

#[tokio::test]
async fn a_nurse_reads_the_timeline_in_the_terminal() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    visit(&channel, 2).await;
    let path = data.path().to_str().unwrap();
    for named in [id(1).as_str(), "00123", "urn:oid:1.2.392.100495.20.3.51.1|00123"] {
        let shown = run(&["timeline", named, "--data", path]);
        let shown = stdout(&shown);
        assert!(shown.contains("髙橋 ハナ (タカハシ ハナ)  女  1938-04-02生"), "{shown}");
        assert!(
            shown.contains("2026-05-02\n  10:00       訪問看護  (訪問看護師、nurses)"),
            "{shown}"
        );
    }
    let english = stdout(&run(&["timeline", "00123", "--lang", "en", "--data", path]));
    assert!(english.contains("nursing visit") && !english.contains("訪問看護"), "{english}");
    let nobody = run(&["timeline", "99999", "--data", path]);
    assert!(!nobody.status.success());
    assert!(stderr(&nobody).contains("tsunagi patients"), "{}", stderr(&nobody));
    let list = stdout(&run(&["patients", "--data", path]));
    assert!(list.contains("髙橋 ハナ"), "{list}");
}

#[tokio::test]
async fn what_was_written_about_a_visit_is_shown_in_both_languages() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel);
    let request = v1::RecordVisitRequest {
        context: Some(context(&id(1), &id(2), "2026-05-02T10:00:00+09:00")),
        event: Some(v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            summary: "食欲低下。\n水分は摂れている。".to_owned(),
            ..Default::default()
        }),
    };
    home.record_visit(by("nurses", "visiting-nurse", request)).await.unwrap();
    let path = data.path().to_str().unwrap();
    for (language, words, late) in
        [("ja", "訪問看護", "後日記録"), ("en", "nursing visit", "recorded")]
    {
        let shown = stdout(&run(&["timeline", "00123", "--lang", language, "--data", path]));
        let line = format!("  10:00       {words}  「食欲低下。 水分は摂れている。」  (");
        let line = shown.lines().find(|shown| shown.starts_with(&line));
        assert!(line.is_some_and(|line| line.contains(late)), "{shown}");
    }
}

#[tokio::test]
async fn the_header_of_the_dead_tells_the_day_of_death_and_no_place() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut desk = DischargeDeskClient::new(channel);
    let mut registration = registration("00123");
    registration.demographics.get_or_insert_default().deceased_at = "2026-04-09".to_owned();
    let request = v1::RegisterPatientRequest {
        context: Some(context(&id(1), &id(0x1000), "2026-04-10")),
        event: Some(registration),
    };
    desk.register_patient(liaison(request)).await.unwrap();
    let admitted = v1::Admitted {
        encounter_id: id(0xa),
        place: Some(place("acute", "4E")),
        ..v1::Admitted::default()
    };
    let request = v1::AdmitRequest {
        context: Some(context(&id(1), &id(1), "2026-04-08")),
        event: Some(admitted),
    };
    desk.admit(liaison(request)).await.unwrap();
    let path = data.path().to_str().unwrap();
    for (language, words) in [("en", "died 2026-04-09"), ("ja", "死亡 2026-04-09")] {
        let shown = stdout(&run(&["timeline", "00123", "--lang", language, "--data", path]));
        assert!(shown.lines().any(|line| line == words), "{shown}");
        let list = stdout(&run(&["patients", "--lang", language, "--data", path]));
        assert!(list.trim_end().ends_with(words), "{list}");
    }
}

#[tokio::test]
async fn what_is_written_in_a_field_is_never_a_line_of_its_own() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = DischargeDeskClient::new(channel);
    let mut forged = place("acute", "4E\n2026-05-09\n  10:00  forged\u{2028}forged");
    forged.facility.as_mut().unwrap().name = "Acute\u{202e}\r\nforged".to_owned();
    let admitted =
        v1::Admitted { encounter_id: id(0xa), place: Some(forged), ..v1::Admitted::default() };
    let request = v1::AdmitRequest {
        context: Some(context(&id(1), &id(1), "2026-05-02T10:00:00+09:00")),
        event: Some(admitted),
    };
    desk.admit(liaison(request)).await.unwrap();
    let path = data.path().to_str().unwrap();
    let shown = stdout(&run(&["timeline", "00123", "--lang", "both", "--data", path]));
    let list = stdout(&run(&["patients", "--lang", "en", "--data", path]));
    for line in shown.lines().chain(list.lines()).filter(|line| line.contains("forged")) {
        assert!(line.contains("Acute\u{fffd} forged"), "{line:?}");
        assert!(!line.contains('\u{2028}'), "{line:?}");
    }
    assert!(shown.contains("forged") && list.contains("forged"), "{shown}{list}");
}
