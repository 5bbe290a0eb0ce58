//! A full disk: writes are refused, reads go on, and so do writes when there is room again.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tonic::{Code, Status};

use crate::support::{Server, folder, reason};
use crate::traffic::{Killer, SMALL_SEGMENTS, Traffic, seed};

/// What must stay free, and what is free when that is too little.
const FLOOR_BYTES: &str = "8388608";
const LEFT_BYTES: u64 = 6 << 20;

/// A small disk of its own. Taken away when the test lets go of it.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// None where it cannot be had: only root may mount.
    fn mount(skipped: &str) -> Option<Self> {
        let folder = folder();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(folder.path());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self { folder });
        }
        eprintln!("SKIPPED: `{skipped}` checked nothing, because no tmpfs can be mounted here");
        None
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Leaves nothing.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        for bytes in [1 << 16, 1] {
            while file.write_all(&vec![1; bytes]).is_ok() {}
        }
    }

    /// Leaves so much.
    fn free(&self, bytes: u64) {
        let file = File::options().write(true).open(self.filler()).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.folder.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn start(data: &Path, floor_bytes: &str) -> Server {
    Server::start_with(data, &[&SMALL_SEGMENTS[..], &["--disk-floor-bytes", floor_bytes]].concat())
}

fn assert_refused(told: Vec<Status>) {
    for status in told {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert_eq!(reason(&status), "DISK_FULL");
    }
}

/// Publishes until something is taken again, however often it is refused before: nothing but
/// time tells the server that there is room. Then goes on to `kill -9`.
async fn go_on_and_kill(traffic: &mut Traffic, server: Server) {
    let channel = server.channel().await;
    let before = traffic.acknowledged();
    while traffic.acknowledged() == before {
        assert_refused(traffic.publish(&channel, |_| false).await);
    }
    traffic.check(&channel).await;
    let killer = Killer::new(server, 40);
    traffic.publish(&channel, move |receipts| killer.goes_on(receipts)).await;
}

#[tokio::test]
async fn writes_are_refused_before_the_disk_is_full_and_reads_go_on() {
    const NAME: &str = "writes_are_refused_before_the_disk_is_full_and_reads_go_on";
    let Some(disk) = SmallDisk::mount(NAME) else { return };
    let mut traffic = Traffic::new(seed());
    for round in 0..3 {
        let server = start(&disk.data(), FLOOR_BYTES);
        let channel = server.channel().await;
        assert_refused(traffic.publish(&channel, |receipts| receipts < 40).await);
        disk.fill();
        disk.free(LEFT_BYTES);
        assert_refused(traffic.publish(&channel, |_| true).await);
        traffic.check(&channel).await;
        server.kill();
        let server = start(&disk.data(), FLOOR_BYTES);
        let channel = server.channel().await;
        traffic.check(&channel).await;
        let acknowledged = traffic.acknowledged();
        assert_refused(traffic.publish(&channel, |_| true).await);
        assert_eq!(traffic.acknowledged(), acknowledged, "round {round}: nothing is written");
        disk.make_room();
        go_on_and_kill(&mut traffic, server).await;
    }
    let server = start(&disk.data(), FLOOR_BYTES);
    traffic.check(&server.channel().await).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_disk_without_any_room() {
    const NAME: &str = "what_was_acknowledged_survives_a_disk_without_any_room";
    let Some(disk) = SmallDisk::mount(NAME) else { return };
    let mut traffic = Traffic::new(seed());
    for is_killed in [false, true, false] {
        let mut server = start(&disk.data(), "0");
        let channel = server.channel().await;
        assert_refused(traffic.publish(&channel, |receipts| receipts < 40).await);
        disk.fill();
        assert_refused(traffic.publish(&channel, |_| true).await);
        // The patients' rows cannot be kept now, and are made again when they can.
        traffic.check_log(&channel).await;
        if is_killed {
            server.kill();
            disk.make_room();
            server = start(&disk.data(), "0");
        } else {
            disk.make_room();
        }
        go_on_and_kill(&mut traffic, server).await;
    }
    let server = start(&disk.data(), "0");
    traffic.check(&server.channel().await).await;
}
