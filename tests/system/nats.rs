//! The server on NATS: going over from the embedded bus, `kill -9` of either side, a server of
//! its own, and what is refused.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use rand::RngExt as _;
use tempfile::TempDir;
use tonic_types::StatusExt as _;

use crate::nats_servers::NatsServer;
use crate::support::{Server, folder, run, stderr, stdout, timelines, tsunagi, up};
use crate::traffic::{Killer, SMALL_SEGMENTS, Traffic, random, seed};

/// Streams that a test's server has room for, and a check that comes soon.
const SMALL_STREAMS: [&str; 4] = ["--nats-stream-bytes", "67108864", "--nats-check-ms", "200"];

fn on_nats<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--nats", url], &SMALL_STREAMS[..], more].concat()
}

/// A folder with generated patients, told on the embedded bus.
fn embedded_region() -> TempDir {
    let data = folder();
    let path = data.path().to_str().unwrap();
    assert!(run(&["simulate", "--patients", "12", "--data", path]).status.success());
    data
}

/// A new folder of the same region.
fn folder_of_the_region(data: &Path) -> TempDir {
    let other = folder();
    std::fs::copy(data.join("region.toml"), other.path().join("region.toml")).unwrap();
    other
}

/// What `up` says when it refuses to start.
fn refusal(data: &Path, settings: &[&str]) -> String {
    let output = up(data, settings).output().unwrap();
    assert!(!output.status.success(), "{}", stdout(&output));
    stderr(&output)
}

#[tokio::test]
async fn an_embedded_region_goes_over_to_nats_and_a_second_store_reads_it_there() {
    let (data, servers) = (embedded_region(), folder());
    let nats = NatsServer::start(servers.path());
    let settings = on_nats(&nats.url(), &[]).iter().map(ToString::to_string).collect::<Vec<_>>();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let embedded = Server::start(data.path());
    let before = timelines(&embedded.channel().await).await;
    assert!(embedded.terminate().await.success());
    let server = Server::start_with(data.path(), &settings);
    assert_eq!(timelines(&server.channel().await).await, before);
    // New events follow the old ones.
    assert!(
        run(&["simulate", "--patients", "3", "--seed", "9", "--server", &server.url])
            .status
            .success()
    );
    let after = timelines(&server.channel().await).await;
    assert!(after.len() > before.len());
    let other = folder_of_the_region(data.path());
    let second = Server::start_with(other.path(), &settings);
    let channel = second.channel().await;
    // The second store begins with nothing, and takes in everything.
    let mut seen = timelines(&channel).await;
    while seen.len() < after.len() || seen != after {
        seen = timelines(&channel).await;
    }
    assert!(server.terminate().await.success());
    assert!(second.terminate().await.success());
    let without = refusal(data.path(), &[]);
    assert!(without.contains("--nats"), "{without}");
}

#[tokio::test]
async fn going_over_can_be_broken_off_at_any_time() {
    let (data, servers) = (embedded_region(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let embedded = Server::start(data.path());
    let before = timelines(&embedded.channel().await).await;
    assert!(embedded.terminate().await.success());
    let settings = on_nats(&url, &["--nats-window", "2"]);
    let folder = data.path().join("streams.toml");
    for _ in 0..3 {
        let mut broken_off = up(data.path(), &settings).spawn().unwrap();
        // The file is there when carrying begins.
        while !folder.exists() && broken_off.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        broken_off.kill().unwrap();
        broken_off.wait().unwrap();
    }
    let server = Server::start_with(data.path(), &settings);
    assert_eq!(timelines(&server.channel().await).await, before);
    let verified = run(&["verify", "--data", data.path().to_str().unwrap()]);
    assert!(verified.status.success(), "{}{}", stdout(&verified), stderr(&verified));
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_of_server_and_nats() {
    const ROUNDS: u32 = 8;
    let (data, servers) = (folder(), folder());
    let mut nats = NatsServer::start(servers.path());
    let url = nats.url();
    let settings = on_nats(&url, &SMALL_SEGMENTS);
    let mut traffic = Traffic::new(seed());
    for round in 0..ROUNDS {
        let server = Server::start_with(data.path(), &settings);
        let channel = server.channel().await;
        if round > 0 {
            traffic.check_log(&channel).await;
        }
        let killer = Killer::new(server, random(seed()).random_range(1..60));
        let told = traffic.publish(&channel, move |receipts| killer.goes_on(receipts)).await;
        assert!(told.iter().all(|status| status.get_details_error_info().is_none()));
        if round % 2 == 0 {
            nats.kill();
            nats.resume();
        }
    }
    let server = Server::start_with(data.path(), &settings);
    traffic.check(&server.channel().await).await;
    // Whoever begins with nothing finds the same.
    let other = folder_of_the_region(data.path());
    let second = Server::start_with(other.path(), &settings);
    let (expected, channel) = (timelines(&server.channel().await).await, second.channel().await);
    while timelines(&channel).await != expected {}
}

#[tokio::test]
async fn a_nats_server_of_its_own_is_supervised_and_ends_with_the_server() {
    let data = folder();
    let settings = [&["--with-nats", "--nats-listen", "127.0.0.1:0"], &SMALL_STREAMS[..]].concat();
    let server = Server::start_with(data.path(), &settings);
    let pid = |data: &Path| {
        let pid = std::fs::read_to_string(data.join("nats/nats.pid")).unwrap();
        pid.trim().to_owned()
    };
    let told = run(&["simulate", "--patients", "2", "--server", &server.url]);
    assert!(told.status.success(), "{}", stderr(&told));
    // It is started again, and publishing goes on.
    assert!(Command::new("kill").args(["-KILL", &pid(data.path())]).status().unwrap().success());
    let told = run(&["simulate", "--patients", "2", "--seed", "5", "--server", &server.url]);
    assert!(told.status.success(), "{}", stderr(&told));
    let before = timelines(&server.channel().await).await;
    let last = pid(data.path());
    server.kill();
    let ended = || !Path::new("/proc").join(&last).join("exe").exists();
    while !ended() {
        std::thread::yield_now();
    }
    let server = Server::start_with(data.path(), &settings);
    assert_eq!(timelines(&server.channel().await).await, before);
    let last = pid(data.path());
    assert!(server.terminate().await.success());
    assert!(!Path::new("/proc").join(&last).join("exe").exists(), "it was stopped in order");
}

/// Something that says it is a nats-server of a version.
fn pretend_to_be(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let info = format!(
                "INFO {{\"server_id\":\"x\",\"version\":\"{version}\",\"max_payload\":1048576,\"headers\":true}}\r\n"
            );
            stream.write_all(info.as_bytes()).unwrap();
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                if stream.write_all(b"PONG\r\n").is_err() {
                    break;
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn what_would_break_a_promise_is_refused_and_told() {
    let data = folder();
    let nowhere = ["--nats", "nats://127.0.0.1:1", "--nats-start-ms", "300"];
    let told = refusal(data.path(), &nowhere);
    assert!(told.contains("no NATS server answers at 127.0.0.1:1"), "{told}");
    let told = refusal(data.path(), &["--nats", "here or there"]);
    assert!(told.contains("is no address of a NATS server"), "{told}");
    let told = refusal(data.path(), &["--nats", &pretend_to_be("2.9.10")]);
    assert!(told.contains("2.9.10") && told.contains("2.15.1"), "{told}");
}

#[tokio::test]
async fn a_folder_of_another_region_is_refused() {
    let (data, other, servers) = (folder(), folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let server = Server::start_with(data.path(), &on_nats(&url, &[]));
    let told = refusal(other.path(), &on_nats(&url, &[]));
    assert!(told.contains("another region") && told.contains("region.toml"), "{told}");
    assert!(server.terminate().await.success());
    let mut fewer = tsunagi();
    fewer.args(["up", "--listen", "127.0.0.1:0", "--nats-replicas", "3", "--data"]);
    let output = fewer.arg(data.path()).args(on_nats(&url, &[])).output().unwrap();
    let told = stderr(&output);
    assert!(told.contains("`num_replicas` is 1 and must be 3"), "{told}");
}
