//! Directories of community resources, imported from HSDS 3.0 tables and JSON.

use std::path::Path;
use std::process::Output;

use serde_json::json;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;

use crate::shared_data::data_set;
use crate::support::{Server, by, folder, id, run, stdout};

const ORGANIZATION: &str = "id,name,description\r\norg-1,日だまりの会,住民の会\r\n";
const SERVICES: &str = "\u{feff}id,organization_id,name,description,status,minimum_age,fees_description,fees,last_modified\r\n\
    s-1,org-1,日だまりサロン,\"お茶と体操、\n誰でも\",active,65,無料,,2026-04-01T09:00:00+09:00\r\n\
    s-2,org-1,配食,,temporarily closed,,,,\r\n\
    s-3,nobody,だれのものでもない,,active,,,,\r\n";
const SCHEDULES: &str = "id,service_id,service_at_location_id,dtstart,freq,interval,byday,opens_at,closes_at,description\r\n\
    t-1,,l-1,2026-04-07,WEEKLY,1,\"TU,TH\",10:00:00,12:00:00,\r\n\
    t-2,s-1,,,SOMETIMES,,,,,祝日は休み\r\n\
    t-3,s-1,,tomorrow,,,,,,\r\n\
    t-4,s-9,,,,,,,,\r\n";
const PHONES: &str = "id,contact_id,service_id,organization_id,number,extension,type\r\n\
    p-1,c-1,,,0294-00-0001,12,voice\r\np-2,,,org-1,0294-00-0002,,fax\r\n";

fn write(folder: &Path) {
    for (name, text) in [
        ("organizations", ORGANIZATION),
        ("services", SERVICES),
        ("schedules", SCHEDULES),
        ("phones", PHONES),
        ("service_at_location", "id,service_id,location_id\r\nl-1,s-1,place-1\r\n"),
        (
            "locations",
            "id,location_type,name,latitude,longitude\r\nplace-1,physical,中央公民館,36.6,140.65\r\n",
        ),
        (
            "addresses",
            "id,location_id,address_1,city,state_province,postal_code,address_type\r\na-1,place-1,本町1-2,日立市,茨城県,317-0001,physical\r\n",
        ),
        // Contacts that lead to themselves and to each other come to an end.
        (
            "contacts",
            "id,service_id,contact_id,name,title\r\nc-1,s-1,c-1,世話役,代表\r\nc-2,s-2,c-3,当番,\r\nc-3,s-2,c-2,当番,\r\n",
        ),
        ("service_areas", "id,service_id,name\r\nw-1,s-1,日立市\r\n"),
        ("funding", "id,service_id,source\r\nf-1,s-1,市\r\n"),
    ] {
        std::fs::write(folder.join(format!("{name}.csv")), text).unwrap();
    }
}

fn import(data: &Path, what: &Path, more: &[&str]) -> Output {
    let (data, what) = (data.to_str().unwrap(), what.to_str().unwrap());
    run(&[&["import", "hsds", what, "--data", data], more].concat())
}

async fn entries(channel: &Channel) -> Vec<v1::DirectoryEntry> {
    let mut directory = DirectoryClient::new(channel.clone());
    let request = by("lw-office", "link-worker", v1::FindResourcesRequest::default());
    let mut entries = directory.find_resources(request).await.unwrap().into_inner().entries;
    entries.sort_by_key(|entry| entry.resource.as_ref().unwrap().identifiers[0].value.clone());
    entries
}

#[tokio::test]
async fn a_directory_is_taken_once_and_what_is_not_taken_is_told_with_file_and_line() {
    let (data, tables) = (folder(), folder());
    write(tables.path());
    let report = tables.path().join("report.jsonl");
    let first = import(data.path(), tables.path(), &["--report", report.to_str().unwrap()]);
    let text = stdout(&first);
    assert_eq!(first.status.code(), Some(2), "{text}");
    assert!(text.contains("2 events stored from 10 files"), "{text}");
    assert!(text.contains("funding 1"), "{text}");
    for told in [
        "services.csv:5  service/s-3  ORGANIZATION_UNKNOWN",
        "schedules.csv:4  schedule/t-3  ROW_INVALID: starts_on",
        "schedules.csv:5  schedule/t-4  SERVICE_UNKNOWN",
    ] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    assert_eq!(std::fs::read_to_string(&report).unwrap().lines().count(), 3);
    std::fs::remove_file(report).unwrap();

    let server = Server::start(data.path());
    let channel = server.channel().await;
    let entries = entries(&channel).await;
    assert_eq!(entries.len(), 2);
    let salon = entries[0].resource.as_ref().unwrap();
    assert_eq!(salon.name, "日だまりサロン");
    assert_eq!(salon.organisation.as_ref().unwrap().name, "日だまりの会");
    assert_eq!(salon.description, "お茶と体操、\n誰でも");
    assert_eq!(salon.eligibility.as_ref().unwrap().age_min, Some(65));
    assert_eq!(salon.areas[0].name, "日立市");
    let place = &salon.locations[0];
    assert_eq!(place.address.as_ref().unwrap().text, "茨城県 日立市 本町1-2");
    let weekly = &salon.schedules[0];
    assert_eq!(weekly.rrule, "FREQ=WEEKLY;INTERVAL=1;BYDAY=TU,TH");
    assert_eq!((weekly.opens_at.as_str(), weekly.location_id.as_str()), ("10:00", "place-1"));
    let words = &salon.schedules[1];
    assert_eq!(
        (words.rrule.as_str(), words.description.as_str()),
        ("", "祝日は休み\nFREQ=SOMETIMES")
    );
    assert_eq!(salon.contacts[0].points[0].value, "0294-00-0001 ext. 12");
    assert_eq!(salon.contacts[1].points[0].value, "0294-00-0002", "the organisation's");
    let meals = entries[1].resource.as_ref().unwrap();
    assert_eq!(meals.status.as_ref().unwrap().code, "temporarily-closed");
    assert_eq!(entries[0].since_at, "2026-04-01T09:00:00+09:00");

    // Again, and beside the server: nothing is added.
    let again = import(data.path(), tables.path(), &[]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
    // A change is one event; and what was changed here later is not undone.
    let services = SERVICES.replace("お茶と体操", "歌と体操");
    std::fs::write(tables.path().join("services.csv"), &services).unwrap();
    for events in [1, 0] {
        let changed = import(data.path(), tables.path(), &[]);
        assert!(
            stdout(&changed).contains(&format!("{events} events stored")),
            "{}",
            stdout(&changed)
        );
    }
    let mut desk = LinkWorkerClient::new(channel.clone());
    let context = v1::ResourceContext {
        event_id: id(1),
        resource_id: entries[0].resource_id.clone(),
        occurred_at: jiff::Timestamp::now().to_string(),
        ..v1::ResourceContext::default()
    };
    let event = Some(v1::Resource { name: "ひだまりサロン".to_owned(), ..salon.clone() });
    let change = v1::ChangeResourceRequest { context: Some(context), event };
    desk.change_resource(by("lw-office", "link-worker", change)).await.unwrap();
    let last = import(data.path(), tables.path(), &[]);
    let text = stdout(&last);
    assert!(text.contains("0 events stored") && text.contains("CHANGED_SINCE"), "{text}");
}

#[tokio::test]
async fn json_says_the_same_as_tables() {
    let (data, files) = (folder(), folder());
    let service = json!([{
        "id": "s-1", "name": "日だまりサロン", "status": "active",
        "organization": { "id": "org-1", "name": "日だまりの会" },
        "phones": [{ "id": "p-1", "number": "0294-00-0001" }],
        "service_at_locations": [{
            "id": "l-1",
            "schedules": [{ "id": "t-1", "freq": "WEEKLY", "byday": "TU", "opens_at": "10:00" }],
            "location": {
                "id": "place-1", "location_type": "physical", "name": "中央公民館",
                "latitude": 36.6, "longitude": 140.65,
                "addresses": [{ "id": "a-1", "city": "日立市", "address_type": "physical" }],
            },
        }],
        "attributes": [{ "id": "k-1", "taxonomy_term": {
            "id": "term-1", "code": "gathering", "name": "サロン", "taxonomy": "jp", "term_uri": "",
        } }],
    }]);
    std::fs::write(files.path().join("services.json"), service.to_string()).unwrap();
    let output = import(data.path(), files.path(), &["--source", "hitachi"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let server = Server::start(data.path());
    let entries = entries(&server.channel().await).await;
    let salon = entries[0].resource.as_ref().unwrap();
    assert_eq!(entries[0].by.as_ref().unwrap().organisation, "hitachi");
    assert_eq!(salon.organisation.as_ref().unwrap().id, "org-1");
    assert_eq!(salon.locations[0].address.as_ref().unwrap().city, "日立市");
    assert_eq!(salon.schedules[0].location_id, "place-1");
    assert_eq!(salon.contacts[0].points[0].value, "0294-00-0001");
    assert_eq!(salon.kinds[0].code, "gathering");
}

#[tokio::test]
async fn the_specification_s_own_examples_are_taken() {
    let skipped = "the_specification_s_own_examples_are_taken";
    let Some(examples) = data_set("hsds/openreferral-specification", skipped) else { return };
    let data = folder();
    let output = import(data.path(), &examples, &[]);
    let text = stdout(&output);
    assert!(text.contains("1 events stored"), "{text}");
    let again = import(data.path(), &examples, &[]);
    assert!(stdout(&again).contains("0 events stored"), "{}", stdout(&again));
    let server = Server::start(data.path());
    let entries = entries(&server.channel().await).await;
    let service = entries[0].resource.as_ref().unwrap();
    assert_eq!(service.name, "Community Counselling");
    assert_eq!(service.locations[0].name, "MyCity Civic Center");
}
