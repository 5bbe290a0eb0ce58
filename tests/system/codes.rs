//! Code sets that a region keeps beside the program.

use std::fs;
use std::path::Path;

use tonic::Request;
use tsunagi_proto::v1;
use tsunagi_proto::v1::home_care_client::HomeCareClient;

use crate::desks::register;
use crate::support::{Server, by, context, folder, id, reason, run, sentences, stderr, stdout};

const OWN: &str = r#"
name = "visit.missed-reason"
version = "2031"
in_force_from = "2026-05-02"
ja = "訪問できなかった理由"
en = "why a visit was missed"
source = "the region's own list"
verified = true
codes = [{ code = "snow", ja = "大雪", en = "heavy snow" }]
"#;

fn own(folder: &Path) -> [&str; 2] {
    fs::write(folder.join("visit.missed-reason.toml"), OWN).unwrap();
    ["--code-sets", folder.to_str().unwrap()]
}

fn missed(
    number: u128,
    day: &str,
    code: &str,
    version: &str,
) -> Request<v1::RecordMissedVisitRequest> {
    let (code, version) = (code.to_owned(), version.to_owned());
    let reason = v1::Code { code, version, ..v1::Code::default() };
    let kind = v1::VisitKind::Nursing.into();
    let event = v1::VisitMissed { kind, reason: Some(reason), ..v1::VisitMissed::default() };
    let context = context(&id(1), &id(number), &format!("{day}T10:00:00+09:00"));
    let request = v1::RecordMissedVisitRequest { context: Some(context), event: Some(event) };
    by("nurses", "visiting-nurse", request)
}

#[tokio::test]
async fn a_region_s_own_list_holds_from_its_day_on() {
    let (data, lists) = (folder(), folder());
    let own = own(lists.path());
    let listed = stdout(&run(&[&["codes", "visit.missed-reason"], &own[..]].concat()));
    assert!(listed.contains("2031  from 2026-05-02"), "{listed}");
    assert!(listed.contains("snow  大雪") && listed.contains("absent"), "{listed}");
    let server = Server::start_with(data.path(), &own);
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel.clone());
    let refused = home.record_missed_visit(missed(2, "2026-05-02", "absent", "")).await;
    assert_eq!(reason(&refused.unwrap_err()), "FIELDS_INVALID");
    home.record_missed_visit(missed(3, "2026-05-02", "snow", "")).await.unwrap();
    home.record_missed_visit(missed(4, "2026-05-01", "absent", "")).await.unwrap();
    home.record_missed_visit(missed(5, "2026-05-03", "absent", "1")).await.unwrap();
    let refused = home.record_missed_visit(missed(6, "2026-05-03", "snow", "1850")).await;
    assert_eq!(reason(&refused.unwrap_err()), "FIELDS_INVALID");
    let told = sentences(&channel, &id(1)).await;
    assert!(told.iter().any(|sentence| sentence.contains("heavy snow")), "{told:?}");
}

#[tokio::test]
async fn what_was_told_with_an_earlier_list_stays_as_it_was_told() {
    let (data, lists) = (folder(), folder());
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel.clone());
    home.record_missed_visit(missed(2, "2026-05-01", "absent", "")).await.unwrap();
    home.record_missed_visit(missed(3, "2026-05-02", "absent", "")).await.unwrap();
    let before = sentences(&channel, &id(1)).await;
    server.kill();
    let same_code =
        OWN.replace("}]", "}, { code = \"absent\", ja = \"外出\", en = \"gone out\" }]");
    let same_code = same_code.replace("2026-05-02", "2026-05-03");
    fs::write(lists.path().join("a.toml"), same_code).unwrap();
    let folder = ["--code-sets", lists.path().to_str().unwrap()];
    let server = Server::start_with(data.path(), &folder);
    assert_eq!(sentences(&server.channel().await, &id(1)).await, before);
    server.kill();
    fs::remove_file(lists.path().join("a.toml")).unwrap();
    // Adopted late: what lies after its day had been told with the list before.
    let own = own(lists.path());
    let server = Server::start_with(data.path(), &own);
    let channel = server.channel().await;
    assert_eq!(sentences(&channel, &id(1)).await, before);
    let mut home = HomeCareClient::new(channel.clone());
    let again = home.record_missed_visit(missed(3, "2026-05-02", "absent", "")).await.unwrap();
    assert!(again.into_inner().repeated);
}

#[test]
fn what_is_no_code_set_stops_the_start_and_says_why() {
    let lists = folder();
    let own = own(lists.path());
    for (name, text, told) in [
        ("a.toml", "name = ", "is no code set"),
        ("b.toml", &OWN.replace("codes =", "cards ="), "it has no `codes`"),
        ("e.toml", &OWN.replace("in_force_from", "from"), "it has no `in_force_from`"),
        ("d.toml", &OWN.replace("2031", "1"), "a changed list is a new version"),
        ("c.toml", &OWN.replace("visit.missed-reason", "visit.none"), "no code set that is known"),
    ] {
        let path = lists.path().join(name);
        fs::write(&path, text).unwrap();
        let output = run(&[&["codes"], &own[..]].concat());
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(told) && said.contains(name), "{said}");
        fs::remove_file(path).unwrap();
    }
}
