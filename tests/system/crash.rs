//! `kill -9` and deletion: what was acknowledged is there, once, and timelines come out the same.

use std::path::Path;
use std::process::Stdio;

use rand::RngExt as _;
use tonic_types::StatusExt as _;

use crate::export::Export;
use crate::support::{Server, folder, run, stderr, timelines, tsunagi};
use crate::traffic::{Killer, SMALL_SEGMENTS, Traffic, random, seed};

/// The timelines of an import that nothing disturbed.
async fn undisturbed(export: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    let data = folder();
    let output = run(&["import", "fhir", export, "--data", data.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let server = Server::start(data.path());
    timelines(&server.channel().await).await
}

/// How many bytes of the log's first segment are written.
fn log_bytes(data: &Path) -> usize {
    let log = std::fs::read(data.join("log/0000000001.seg")).unwrap_or_default();
    log.iter().rposition(|byte| *byte != 0).unwrap_or(0)
}

/// Waits, without a clock, until the log has grown to so many bytes, or `done` says so.
fn wait_for_bytes(data: &Path, bytes: usize, mut done: impl FnMut() -> bool) {
    while log_bytes(data) < bytes && !done() {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn an_import_whose_server_is_killed_can_be_run_again() {
    let export = folder();
    Export { patients: 150 }.write(export.path());
    let path = export.path().to_str().unwrap();
    let expected = undisturbed(path).await;
    for bytes in [500, 20_000, 60_000, 150_000, 220_000] {
        let data = folder();
        let server = Server::start(data.path());
        let mut import = tsunagi()
            .args(["import", "fhir", path, "--server", &server.url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_bytes(data.path(), bytes, || import.try_wait().unwrap().is_some());
        server.kill();
        import.wait().unwrap();
        let output = run(&["import", "fhir", path, "--data", data.path().to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let server = Server::start(data.path());
        assert_eq!(timelines(&server.channel().await).await, expected, "killed at {bytes} bytes");
    }
}

#[tokio::test]
async fn an_import_that_is_killed_itself_can_be_run_again() {
    let export = folder();
    Export { patients: 150 }.write(export.path());
    let path = export.path().to_str().unwrap();
    let expected = undisturbed(path).await;
    for bytes in [5_000, 100_000] {
        let data = folder();
        let mut import = tsunagi()
            .args(["import", "fhir", path, "--data", data.path().to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_bytes(data.path(), bytes, || import.try_wait().unwrap().is_some());
        import.kill().unwrap();
        import.wait().unwrap();
        let output = run(&["import", "fhir", path, "--data", data.path().to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let server = Server::start(data.path());
        assert_eq!(timelines(&server.channel().await).await, expected, "killed at {bytes} bytes");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    const ROUNDS: u32 = 30;
    // A folder is left for a new one after so many, that reading all of it stays quick.
    const ROUNDS_OF_A_FOLDER: u32 = 6;
    let mut data = folder();
    let mut traffic = Traffic::new(0);
    let mut merges = 0;
    for round in 0..ROUNDS {
        let seed = seed();
        if round % ROUNDS_OF_A_FOLDER == 0 {
            (data, traffic) = (folder(), Traffic::new(seed));
        }
        let server = Server::start_with(data.path(), &SMALL_SEGMENTS);
        let channel = server.channel().await;
        traffic.check(&channel).await;
        let killer = Killer::new(server, random(seed).random_range(1..100));
        let told = traffic.publish(&channel, move |receipts| killer.goes_on(receipts)).await;
        assert!(told.iter().all(|status| status.get_details_error_info().is_none()));
        let merged = data.path().join("log/index/0000000001-0000000008.idx");
        merges += u32::from(merged.exists());
    }
    let server = Server::start_with(data.path(), &SMALL_SEGMENTS);
    traffic.check(&server.channel().await).await;
    assert!(merges > 0, "the logs were too short to be in danger");
}

#[tokio::test]
async fn everything_but_the_log_can_be_deleted() {
    let data = folder();
    let path = data.path().to_str().unwrap();
    assert!(run(&["simulate", "--patients", "20", "--data", path]).status.success());
    let server = Server::start(data.path());
    let expected = timelines(&server.channel().await).await;
    assert!(server.terminate().await.success());
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let path = entry.unwrap().path();
        let is_record = path.ends_with("log") || path.ends_with("region.toml");
        if is_record {
            continue;
        }
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    for entry in std::fs::read_dir(data.path().join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else if path.extension().is_none_or(|ending| ending != "seg") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let server = Server::start(data.path());
    assert_eq!(timelines(&server.channel().await).await, expected);
}
