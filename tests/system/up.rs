//! `tsunagi up`: what a newcomer and a service manager see.

use std::os::unix::fs::PermissionsExt as _;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{Server, folder, run, stderr, stdout, tsunagi};

const SERVICES: [&str; 5] = [
    "care.v1.CareBus",
    "care.v1.DischargeDesk",
    "care.v1.HomeCare",
    "care.v1.LinkWorker",
    "care.v1.Timeline",
];

#[tokio::test]
async fn every_service_says_that_it_serves() {
    let data = folder();
    let server = Server::start(data.path());
    let mut health = HealthClient::new(server.channel().await);
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
}

#[tokio::test]
async fn reflection_describes_the_details_of_refusals() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel);
    for detail in ["google.rpc.ErrorInfo", "google.rpc.BadRequest"] {
        let request = v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(detail.to_owned())),
        };
        let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        let is_described =
            matches!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(_)));
        assert!(is_described, "{detail}");
    }
}

#[tokio::test]
async fn reflection_names_every_service_in_both_versions() {
    let data = folder();
    let server = Server::start(data.path());
    let wanted: Vec<String> =
        SERVICES.into_iter().chain(["grpc.health.v1.Health"]).map(str::to_owned).collect();
    let mut names = Vec::new();
    {
        use v1::server_reflection_request::MessageRequest;
        use v1::server_reflection_response::MessageResponse;
        let request = v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let channel = server.channel().await;
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel);
        let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("{answer:?}");
        };
        names.push(list.service.into_iter().map(|service| service.name).collect::<Vec<_>>());
    }
    {
        use v1alpha::server_reflection_request::MessageRequest;
        use v1alpha::server_reflection_response::MessageResponse;
        let request = v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let channel = server.channel().await;
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
        let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("{answer:?}");
        };
        names.push(list.service.into_iter().map(|service| service.name).collect::<Vec<_>>());
    }
    for names in names {
        for service in &wanted {
            assert!(names.contains(service), "{service} is not in {names:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_well() {
    let data = folder();
    let server = Server::start(data.path());
    let _connection = server.channel().await;
    assert!(server.terminate().await.success());
    assert!(data.path().join("log/closed").exists(), "the log was closed in order");
}

#[tokio::test]
async fn strangers_are_kept_out_by_default() {
    let data = folder();
    let path = data.path().to_str().unwrap();
    let refused = run(&["up", "--data", path, "--listen", "0.0.0.0:0"]);
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("--insecure-listen"), "{}", stderr(&refused));
    assert!(!data.path().join("log").exists(), "nothing was touched");
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused_and_told_where_the_first_is() {
    let data = folder();
    let server = Server::start(data.path());
    let path = data.path().to_str().unwrap();
    let second = run(&["up", "--data", path, "--listen", "127.0.0.1:0"]);
    assert!(!second.status.success());
    assert!(stderr(&second).contains(&server.url), "{}", stderr(&second));
}

#[test]
fn a_mistyped_folder_does_not_become_a_region() {
    let nowhere = folder().path().join("nowhere");
    let refused = run(&["patients", "--data", nowhere.to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("there is no region"), "{}", stderr(&refused));
    assert!(!nowhere.exists());
}

#[test]
fn the_region_s_secret_is_for_its_owner_alone() {
    let data = folder();
    drop(Server::start(data.path()));
    let mode = std::fs::metadata(data.path().join("region.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn all_settings_are_listed_with_their_origin() {
    let config = tsunagi().args(["config", "--log", "warn"]).env("TSUNAGI_ZONE", "UTC").output();
    let config = stdout(&config.unwrap());
    assert!(config.contains("slots = 4"));
    assert!(config.contains("--log, TSUNAGI_LOG; default info; now from: flag"));
    assert!(config.contains("--zone, TSUNAGI_ZONE; default Asia/Tokyo; now from: environment"));
    // What it prints can be used as a settings file.
    let folder = folder();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, &config).unwrap();
    let again = run(&["config", "--config", file.to_str().unwrap()]);
    assert!(stdout(&again).contains("zone = \"UTC\""), "{}", stderr(&again));
}

#[test]
fn a_wrong_setting_is_refused_by_its_name() {
    let wrong = run(&["config", "--zone", "Mars/Base"]);
    assert!(!wrong.status.success());
    assert!(stderr(&wrong).contains("`zone`"), "{}", stderr(&wrong));
}

#[test]
fn help_teaches() {
    let help = stdout(&run(&["--help"]));
    for word in ["demo", "import fhir", "timeline PATIENT", "tsunagi config"] {
        assert!(help.contains(word), "{word}");
    }
}
