//! Code sets that a region keeps beside the program.

use std::fs;
use std::path::Path;

use tsunagi_proto::v1;
use tsunagi_proto::v1::home_care_client::HomeCareClient;

use crate::desks::register;
use crate::support::{Server, by, context, folder, id, reason, run, sentences, stderr, stdout};

const OWN: &str = r#"
name = "visit.missed-reason"
version = "2031"
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

#[tokio::test]
async fn a_region_s_own_list_stands_in_for_the_one_built_in() {
    let (data, lists) = (folder(), folder());
    let own = own(lists.path());
    let listed = stdout(&run(&[&["codes", "visit.missed-reason"], &own[..]].concat()));
    assert!(listed.contains("2031") && listed.contains("snow  大雪"), "{listed}");
    let server = Server::start_with(data.path(), &own);
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel.clone());
    let missed = |number, code: &str| {
        let reason = v1::Code { code: code.to_owned(), ..v1::Code::default() };
        let kind = v1::VisitKind::Nursing.into();
        let event = v1::VisitMissed { kind, reason: Some(reason), ..v1::VisitMissed::default() };
        let context = context(&id(1), &id(number), "2026-05-02T10:00:00+09:00");
        let request = v1::RecordMissedVisitRequest { context: Some(context), event: Some(event) };
        by("nurses", "visiting-nurse", request)
    };
    let refused = home.record_missed_visit(missed(2, "absent")).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID");
    home.record_missed_visit(missed(3, "snow")).await.unwrap();
    let told = sentences(&channel, &id(1)).await;
    assert!(told.iter().any(|sentence| sentence.contains("heavy snow")), "{told:?}");
}

#[test]
fn what_is_no_code_set_stops_the_start_and_says_why() {
    let lists = folder();
    let own = own(lists.path());
    for (name, text, told) in [
        ("a.toml", "name = ", "is no code set"),
        ("b.toml", &OWN.replace("codes =", "cards ="), "it has no `codes`"),
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
