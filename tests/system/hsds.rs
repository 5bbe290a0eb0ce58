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
async fn what_several_services_of_a_file_name_is_one_and_no_item_is_dropped_untold() {
    let (data, files) = (folder(), folder());
    let service = |id: &str| {
        json!({
            "id": id, "name": "サロン", "status": "active",
            "organization": { "id": "org-1", "name": "日だまりの会" },
            "service_at_locations": [{
                "id": format!("at-{id}"),
                "location": {
                    "id": "place-1", "location_type": "physical", "name": "中央公民館",
                    "addresses": [{ "id": "a-1", "city": "日立市", "address_type": "physical" }],
                },
            }],
        })
    };
    let file = files.path().join("services.json");
    let put = |services: serde_json::Value| std::fs::write(&file, services.to_string()).unwrap();
    put(json!([service("s-1"), service("s-2")]));
    let output = import(data.path(), files.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let mut odd = service("s-3");
    odd["phones"] = json!(["0294-00-0001", null]);
    put(json!([odd, "text", null, service("s-1")]));
    let output = import(data.path(), files.path(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for told in [
        "services.json:1  phone/  ROW_UNREADABLE",
        "services.json:2  service/  ROW_UNREADABLE",
        "services.json:3  service/  ROW_UNREADABLE",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let server = Server::start(data.path());
    let entries = entries(&server.channel().await).await;
    let places = entries.iter().map(|entry| entry.resource.as_ref().unwrap().locations.len());
    assert_eq!(places.collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn what_two_services_hold_is_both_s_and_only_what_says_otherwise_is_told() {
    let (data, files) = (folder(), folder());
    let service = |id: &str, name: &str, number: &str| {
        let phone = json!({ "id": "p-1", "number": number });
        json!({
            "id": id, "name": "サロン", "status": "active",
            "organization": { "id": "org-1", "name": "日だまりの会" },
            "phones": [phone],
            "contacts": [{ "id": "c-1", "name": name, "phones": [
                { "id": "p-2", "number": "0294-00-0002" },
            ] }],
            "schedules": [{ "id": "t-1", "freq": "WEEKLY", "byday": "TU" }],
            "service_areas": [{ "id": "w-1", "name": "日立市" }],
            "languages": [{ "id": "g-1", "code": "ja" }],
            "cost_options": [{ "id": "f-1", "option": "お茶代" }],
            "required_documents": [{ "id": "d-1", "document": "申込書" }],
            "attributes": [{ "id": "k-1", "taxonomy_term": {
                "id": "term-1", "code": "gathering", "name": "サロン",
            } }],
            "volunteers": [{ "id": "v-1" }, { "id": "v-2" }],
            "urls": [{ "id": "u-1", "url": "http://example.com" }],
        })
    };
    let file = files.path().join("services.json");
    let put = |services: serde_json::Value| std::fs::write(&file, services.to_string()).unwrap();
    let said = |id: &str| service(id, "世話役", "0294-00-0001");
    put(json!([said("s-1"), said("s-2"), { "id": "x-1", "comment": "no kind of HSDS" }]));
    let output = import(data.path(), files.path(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("url 1") && text.contains("volunteers 4"), "{text}");
    assert!(text.contains("object 1"), "{text}");
    put(json!([said("s-1"), service("s-3", "別の人", "0294-00-0009")]));
    let output = import(data.path(), files.path(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for told in ["services.json:2  contact/c-1  ID_TWICE", "services.json:2  phone/p-1  ID_TWICE"] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    assert_eq!(text.matches("ID_TWICE").count(), 2, "{text}");
    let server = Server::start(data.path());
    let entries = entries(&server.channel().await).await;
    assert_eq!(entries.len(), 3);
    for entry in &entries {
        let service = entry.resource.as_ref().unwrap();
        let [person, own] = &service.contacts[..] else { panic!("{:?}", service.contacts) };
        assert_eq!((person.name.as_str(), person.points.len()), ("世話役", 1));
        assert_eq!(person.points[0].value, "0294-00-0002");
        assert_eq!(own.points[0].value, "0294-00-0001");
        let counts = [service.kinds.len(), service.schedules.len(), service.areas.len()];
        assert_eq!(counts, [1; 3]);
        assert_eq!(
            (service.fees.as_str(), &service.languages[..]),
            ("お茶代", &["ja".to_owned()][..])
        );
        assert_eq!(service.required_documents, ["申込書"]);
    }
}

#[tokio::test]
async fn a_place_is_taken_without_coordinates_that_lead_nowhere() {
    let (data, tables) = (folder(), folder());
    write(tables.path());
    let nowhere = "id,name,latitude,longitude\r\nplace-1,中央公民館,100,101\r\n";
    std::fs::write(tables.path().join("locations.csv"), nowhere).unwrap();
    let text = stdout(&import(data.path(), tables.path(), &[]));
    assert!(text.contains("locations.csv:2  location/place-1  COORDINATES_WRONG"), "{text}");
    let server = Server::start(data.path());
    let entries = entries(&server.channel().await).await;
    let place = &entries[0].resource.as_ref().unwrap().locations[0];
    assert_eq!(place.name, "中央公民館");
    assert_eq!((place.latitude.as_str(), place.longitude.as_str()), ("", ""));
}

#[tokio::test]
async fn a_row_that_leads_to_no_service_or_to_nothing_that_is_there_is_told() {
    let (data, tables) = (folder(), folder());
    write(tables.path());
    for (name, text) in [
        (
            "service_at_location",
            "id,service_id,location_id\nl-1,s-1,place-1\nl-2,s-9,place-1\nl-3,,place-1\nl-4,s-2,place-9\n",
        ),
        (
            "addresses",
            "id,location_id,city,address_type\na-1,place-1,日立市,physical\na-9,place-9,日立市,physical\n",
        ),
        ("accessibility", "id,location_id,description\nb-9,place-9,段差なし\n"),
        ("taxonomy_terms", "id,code,name\nterm-1,gathering,サロン\n"),
        (
            "attributes",
            "id,link_id,link_entity,taxonomy_term_id\nk-1,s-1,service,term-1\nk-2,s-9,service,term-1\nk-3,s-1,service,term-9\nk-4,org-1,organization,term-1\n",
        ),
    ] {
        std::fs::write(tables.path().join(format!("{name}.csv")), text).unwrap();
    }
    let output = import(data.path(), tables.path(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for told in [
        "service_at_location.csv:3  service_at_location/l-2  SERVICE_UNKNOWN",
        "service_at_location.csv:4  service_at_location/l-3  SERVICE_UNKNOWN",
        "service_at_location.csv:5  service_at_location/l-4  LOCATION_UNKNOWN",
        "addresses.csv:3  address/a-9  LOCATION_UNKNOWN",
        "accessibility.csv:2  accessibility/b-9  LOCATION_UNKNOWN",
        "attributes.csv:3  attribute/k-2  SERVICE_UNKNOWN",
        "attributes.csv:4  attribute/k-3  TERM_UNKNOWN",
    ] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    assert!(!text.contains("attribute/k-4"), "{text}");
    let server = Server::start(data.path());
    let entries = entries(&server.channel().await).await;
    let salon = entries[0].resource.as_ref().unwrap();
    assert_eq!((salon.locations.len(), salon.kinds.len()), (1, 1));
}

#[tokio::test]
async fn an_attribute_is_of_the_table_that_it_names_where_ids_are_counted_in_each() {
    let (data, tables) = (folder(), folder());
    for (name, text) in [
        ("organizations", "id,name\n7,日だまりの会\n8,つばさの会\n"),
        ("services", "id,organization_id,name,status\n7,7,サロン,active\n"),
        ("phones", "id,service_id,number\n9,7,0294-00-0001\n"),
        ("taxonomy_terms", "id,code,name\n1,gathering,サロン\n2,non-profit,法人\n"),
        (
            "attributes",
            "id,link_id,link_entity,taxonomy_term_id\n1,7,service,1\n2,7,organization,2\n3,8,service,1\n4,9,,1\n5,8,organizations,2\n6,7,planet,2\n",
        ),
    ] {
        std::fs::write(tables.path().join(format!("{name}.csv")), text).unwrap();
    }
    // In JSON, an object says by where it stands of what it is.
    let nested = json!([{
        "id": "s-1", "name": "配食", "status": "active",
        "organization": {
            "id": "s-1", "name": "つなぎの会",
            "attributes": [{ "id": "k-1", "taxonomy_term": { "id": "2", "code": "non-profit" } }],
        },
        "attributes": [{ "id": "k-2", "taxonomy_term": { "id": "1", "code": "gathering" } }],
    }]);
    std::fs::write(tables.path().join("nested.json"), nested.to_string()).unwrap();
    let output = import(data.path(), tables.path(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for told in [3, 6] {
        let told = format!("attribute/{told}  SERVICE_UNKNOWN");
        assert!(text.contains(&told), "{told}\n{text}");
    }
    assert_eq!(text.matches("attribute/").count(), 2, "{text}");
    let server = Server::start(data.path());
    for entry in entries(&server.channel().await).await {
        let kinds = entry.resource.unwrap().kinds;
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.code.as_str()).collect();
        assert_eq!(kinds, ["gathering"]);
    }
}

#[tokio::test]
async fn a_table_that_is_no_list_and_what_stands_in_an_object_without_an_id_are_told() {
    let (data, files) = (folder(), folder());
    let service = |name: &str| json!({ "id": "s-1", "organization_id": "org-1", "name": name });
    let packed = json!({
        "organizations.csv": [{ "id": "org-1", "name": "日だまりの会" }],
        "services.csv": [service("サロン")],
        "contacts.csv": { "id": "c-1", "service_id": "s-1", "name": "世話役" },
    });
    let nested = json!([{
        "id": "s-2", "name": "配食", "status": "active",
        "organization": { "id": "org-1", "name": "日だまりの会" },
        "contacts": [{ "name": "当番", "phones": [{ "id": "p-1", "number": "0294-00-0001" }] }],
        "languages": [{ "id": "g-1", "code": "ja" }, { "id": "g-1", "code": "en" }, { "id": "g-1", "code": "fr" }],
    }]);
    std::fs::write(files.path().join("packed.json"), packed.to_string()).unwrap();
    std::fs::write(files.path().join("nested.json"), nested.to_string()).unwrap();
    let output = import(data.path(), files.path(), &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("packed.json  contact/  ROW_UNREADABLE: a list of rows"), "{text}");
    let told =
        "nested.json:1  phone/p-1  SERVICE_UNKNOWN: the contact in which it stands has no id";
    assert!(text.contains(told), "{text}");
    assert_eq!(text.matches("language/g-1  ID_TWICE").count(), 1, "{text}");
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

#[tokio::test]
async fn a_real_directory_is_taken_once_in_either_form_and_a_change_is_one_event() {
    let skipped = "a_real_directory_is_taken_once_in_either_form_and_a_change_is_one_event";
    let Some(examples) = data_set("hsds/openreferral-specification", skipped) else { return };
    let (data, tables, files) = (folder(), folder(), folder());
    for file in std::fs::read_dir(&examples).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("examples_csv_") {
            std::fs::copy(&file, tables.path().join(&name)).unwrap();
        }
    }
    std::fs::copy(examples.join("examples_service_full.json"), files.path().join("services.json"))
        .unwrap();
    let stored = |what: &Path, source: &str| {
        let text = stdout(&import(data.path(), what, &["--source", source]));
        let line = text.lines().find(|line| line.contains(" events stored")).unwrap().to_owned();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap_or_else(|_| panic!("{text}"))
    };
    for (what, source) in [(tables.path(), "tables"), (files.path(), "files")] {
        assert_eq!([1, 0, 0], [0; 3].map(|_| stored(what, source)), "{source}");
    }
    for (what, source, file) in [
        (tables.path(), "tables", "examples_csv_services.csv"),
        (files.path(), "files", "services.json"),
    ] {
        let path = what.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = text.replace("Community Counselling", "Community Advice");
        assert_ne!(text, changed);
        // With a mark before it and other ends of lines, as another program saves it.
        let saved = format!("\u{feff}{}", changed.replace('\n', "\r\n"));
        std::fs::write(&path, saved).unwrap();
        assert_eq!([1, 0], [0; 2].map(|_| stored(what, source)), "{source}");
    }
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let told = entries(&channel).await;
    assert_eq!(told.len(), 2, "two directories have each its own");
    for entry in &told {
        let (resource, was) = (entry.resource.as_ref().unwrap(), &entry.by);
        assert_eq!(resource.name, "Community Advice", "{was:?}");
        assert_eq!(resource.schedules.len(), told[0].resource.as_ref().unwrap().schedules.len());
    }
}

#[tokio::test]
async fn odd_tables_are_taken_as_far_as_they_can_be_read() {
    let (data, tables) = (folder(), folder());
    let put = |name: &str, bytes: &[u8]| std::fs::write(tables.path().join(name), bytes).unwrap();
    put("organizations.csv", b"id,name\no-1,Club\n");
    let long = "x".repeat(70_000);
    let services = format!(
        "ID,organization_id,Name,description,status,minimum_age,maximum_age\r\
         s-1,o-1,Walks,\"a\nb\rc\",active,65.0,99\r\
         ,o-1,Nameless,,active,,\r\
         s-2,o-1,Long,{long},active,,\r\
         s-3,o-1,Young,,active,0.5,a child\r\
         s-4,o-1,Walks, and talks,\"\",active,1,2\r"
    );
    put("services.csv", services.as_bytes());
    let rules = "id,service_id,freq,interval,byday,bymonthday,until,count,opens_at,closes_at\n\
        t-1,s-1,MONTHLY,1,3TU,,,,10:00:00,\n\
        t-2,s-1,weekly,2,\"mo, we\",,2027-03-31,5,09:00,\n\
        t-3,s-1,MONTHLY,,,31,,,,\n\
        t-4,s-1,FORTNIGHTLY,,TU,,,,,\n\
        t-5,s-1,WEEKLY,0,TU,,,,,\n\
        t-6,s-1,WEEKLY,,XX,,,,,\n\
        ,s-1,DAILY,,,,,,24:00,\n";
    put("schedules.csv", rules.as_bytes());
    put("phones.csv", b"id,service_id,number\np-1,s-1,\xa0\xff\n");
    let location = "\u{feff}{\"id\":\"l-1\",\"location_type\":\"physical\",\"name\":\"Hall\"}";
    put("locations.json", location.as_bytes());
    put("contacts.json", b"{\"id\":\"c-1\",");
    let taken = import(data.path(), tables.path(), &["--source", "city"]);
    let text = stdout(&taken);
    assert!(text.contains("2 events stored from 6 files"), "{text}");
    for told in [
        "contacts.json:1  file  UNREADABLE",
        "locations.json:1  location/l-1  SERVICE_UNKNOWN",
        "phones.csv  file  UNREADABLE: it is neither UTF-8 nor CP932",
        "services.csv:5  service/  ID_MISSING",
        "services.csv:6  service/s-2  ROW_INVALID: description",
        "services.csv:8  service/  ROW_UNREADABLE",
    ] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    let server = Server::start(data.path());
    let told = entries(&server.channel().await).await;
    let [walks, young] = [0, 1].map(|at: usize| told[at].resource.as_ref().unwrap());
    let ages = |of: &v1::Resource| {
        let of = of.eligibility.clone().unwrap();
        (of.age_min, of.age_max, of.description)
    };
    assert_eq!(ages(walks), (Some(65), Some(99), String::new()));
    assert_eq!(ages(young), (None, None, "minimum age: 0.5\nmaximum age: a child".to_owned()));
    let rules: Vec<&str> = walks
        .schedules
        .iter()
        .map(|of| of.rrule.as_str())
        .filter(|rule| !rule.is_empty())
        .collect();
    let weekly = "FREQ=WEEKLY;INTERVAL=2;UNTIL=20270331;BYDAY=MO,WE";
    let monthly = ["FREQ=MONTHLY;INTERVAL=1;BYDAY=3TU", weekly, "FREQ=MONTHLY;BYMONTHDAY=31"];
    assert_eq!(rules, [&monthly[..], &["FREQ=DAILY"]].concat());
    let words: Vec<&str> = walks
        .schedules
        .iter()
        .map(|of| of.description.as_str())
        .filter(|words| !words.is_empty())
        .collect();
    let odd = ["FREQ=FORTNIGHTLY;BYDAY=TU", "FREQ=WEEKLY;INTERVAL=0;BYDAY=TU"];
    assert_eq!(words, [&odd[..], &["FREQ=WEEKLY;BYDAY=XX"]].concat(), "no rule is kept in words");
}

#[tokio::test]
async fn organisations_of_two_directories_are_two_where_their_ids_are_their_own() {
    let (data, tables) = (folder(), folder());
    let put = |name: &str, text: &str| std::fs::write(tables.path().join(name), text).unwrap();
    put("organizations.csv", "id,name\n1,Club\n");
    put("services.csv", "id,organization_id,name,status\n1,1,Walks,active\n");
    for source in ["east", "west"] {
        let arguments = ["--source", source, "--own-organisations"];
        for events in [1, 0] {
            let text = stdout(&import(data.path(), tables.path(), &arguments));
            assert!(text.contains(&format!("{events} events stored")), "{text}");
        }
    }
    let server = Server::start(data.path());
    let told = entries(&server.channel().await).await;
    let mut of: Vec<String> =
        told.into_iter().map(|entry| entry.resource.unwrap().organisation.unwrap().id).collect();
    of.sort();
    assert_eq!(of, ["east:1", "west:1"]);
}
