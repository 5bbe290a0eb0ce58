//! A disk that loses its power, or cannot flush: what was acknowledged is there afterwards, and
//! of what was not, whole batches or nothing. `kill -9` cannot show this: what was written stays
//! in the system's memory.

use std::path::{Path, PathBuf};
use std::process::Command;

use rand::RngExt as _;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::support::{Server, folder, reason, up};
use crate::traffic::{Killer, SMALL_SEGMENTS, Traffic, random, seed};

/// `tests/faulty-disk/faulty_disk.c`, built.
struct FaultyDisk {
    folder: TempDir,
}

/// What the process ends with when the power goes.
const CUT: i32 = 137;

impl FaultyDisk {
    fn build() -> Self {
        let folder = folder();
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/faulty-disk/faulty_disk.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
        let built = cc.arg(library(&folder)).arg(source).status().unwrap();
        assert!(built.success());
        Self { folder }
    }

    /// Makes the server's files those of a faulty disk. `site` is a folder that holds the data
    /// folder.
    fn under(&self, site: &Path, mut up: Command, faults: &[(&str, u64)]) -> Command {
        let aside = site.with_extension("aside");
        std::fs::create_dir_all(&aside).unwrap();
        up.env("LD_PRELOAD", library(&self.folder));
        up.env("FAULTY_DISK_FOLDER", site).env("FAULTY_DISK_ASIDE", aside);
        up.env("FAULTY_DISK_TOLD", flushed(site));
        for (name, number) in faults {
            up.env(format!("FAULTY_DISK_{name}"), number.to_string());
        }
        up
    }
}

fn library(folder: &TempDir) -> PathBuf {
    folder.path().join("faulty_disk.so")
}

/// The file that tells what was flushed.
fn flushed(site: &Path) -> PathBuf {
    site.with_extension("flushed")
}

/// Folders that have been through this many losses are left for new ones: the beginning of a
/// folder's life is as dangerous as the rest.
const LOSSES_OF_A_FOLDER: u32 = 3;

#[tokio::test]
async fn what_was_acknowledged_survives_the_loss_of_power() {
    const ROUNDS: u32 = 15;
    let disk = FaultyDisk::build();
    let mut home = folder();
    let mut traffic = Traffic::new(0);
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let seed = seed();
        if round % LOSSES_OF_A_FOLDER == 0 {
            acknowledged += traffic.acknowledged();
            (home, traffic) = (folder(), Traffic::new(seed));
        }
        let site = home.path().join("site");
        std::fs::create_dir_all(&site).unwrap();
        // Several folders deep: their names can be lost as well.
        let data = site.join("region/data");
        let cut_at = random(seed).random_range(1..400);
        let keep = if round % 2 == 0 { 0 } else { seed };
        let faults = [("CUT_AT", cut_at), ("KEEP", keep)];
        let mut cut = disk.under(&site, up(&data, &SMALL_SEGMENTS), &faults);
        if let Some(server) = Server::try_start(&mut cut) {
            let told = traffic.publish(&server.channel_to_be(), |_| true).await;
            assert!(told.iter().all(|status| status.get_details_error_info().is_none()));
            assert_eq!(server.wait().code(), Some(CUT));
        }
        let server = Server::start_with(&data, &SMALL_SEGMENTS);
        traffic.check(&server.channel().await).await;
        eprintln!("cut after {cut_at} changes, {} batches", traffic.acknowledged());
        if round % 3 == 0 {
            assert!(server.terminate().await.success());
        } else {
            server.kill();
        }
    }
    assert!(acknowledged + traffic.acknowledged() > 100, "hardly anything was at stake");
}

#[tokio::test]
async fn what_a_killed_server_left_is_flushed_before_it_is_served() {
    let disk = FaultyDisk::build();
    let home = folder();
    let site = home.path().join("site");
    let data = site.join("data");
    let mut traffic = Traffic::new(seed());
    let killed = Server::start_with(&data, &SMALL_SEGMENTS);
    let (channel, killer) = (killed.channel().await, Killer::new(killed, 100));
    traffic.publish(&channel, move |receipts| killer.goes_on(receipts)).await;
    // It may have been killed between writing and flushing, or naming and flushing the name.
    // Whoever reads it now, or is told that it was stored before, takes it for durable.
    let server = Server::try_start(&mut disk.under(&site, up(&data, &SMALL_SEGMENTS), &[]));
    let flushed = std::fs::read_to_string(flushed(&site)).unwrap();
    let log = data.join("log");
    let files = std::fs::read_dir(&log).unwrap().map(|file| file.unwrap().path());
    let last = files.filter(|path| path.extension().is_some_and(|end| end == "seg")).max().unwrap();
    for path in [site, data, log, last] {
        let path = path.canonicalize().unwrap();
        let is_flushed = flushed.lines().any(|line| Path::new(line) == path);
        assert!(is_flushed, "{} is not flushed: {flushed}", path.display());
    }
    drop(server);
}

/// Health, as a load balancer asks for it.
async fn is_serving(channel: &Channel, service: &str) -> bool {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
    answer.status() == ServingStatus::Serving
}

/// Waits for health to say that a service is no longer served.
async fn stops_serving(channel: &Channel, service: &str) {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut health = HealthClient::new(channel.clone());
    let mut answers = health.watch(request).await.unwrap().into_inner();
    while answers.message().await.unwrap().unwrap().status() == ServingStatus::Serving {}
}

#[tokio::test]
async fn nothing_is_acknowledged_after_a_flush_that_failed() {
    let disk = FaultyDisk::build();
    for last in [false, true] {
        let seed = seed();
        let home = folder();
        let site = home.path().join("site");
        std::fs::create_dir(&site).unwrap();
        let data = site.join("data");
        let mut traffic = Traffic::new(seed);
        // The flushes after it succeed: only the one that failed tells that events were lost.
        let faults = [("FAIL_AT", random(seed).random_range(10..100))];
        let mut failing = disk.under(&site, up(&data, &SMALL_SEGMENTS), &faults);
        let server = Server::try_start(&mut failing).unwrap();
        let channel = server.channel().await;
        for _attempt in 0..3 {
            for status in traffic.publish(&channel, |_| true).await {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                assert_eq!(reason(&status), "OUTCOME_UNKNOWN");
            }
        }
        for service in ["", "care.v1.CareBus", "care.v1.HomeCare", "care.v1.DischargeDesk"] {
            stops_serving(&channel, service).await;
        }
        assert!(is_serving(&channel, "care.v1.Timeline").await);
        // What is acknowledged is read, and nothing of what was lost.
        traffic.check(&channel).await;
        if last {
            drop(channel);
            assert!(server.terminate().await.success());
        } else {
            server.kill();
        }
        let server = Server::start_with(&data, &SMALL_SEGMENTS);
        let channel = server.channel().await;
        traffic.check(&channel).await;
        let killer = Killer::new(server, 50);
        // It goes on: what was not answered is sent again.
        let acknowledged = traffic.acknowledged();
        traffic.publish(&channel, move |receipts| killer.goes_on(receipts)).await;
        assert!(traffic.acknowledged() >= acknowledged + 50);
    }
}
