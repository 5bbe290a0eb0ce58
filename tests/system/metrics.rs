//! What Prometheus fetches.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::desks::register;
use crate::evidence::{flip, frames, region, segment};
use crate::support::{Server, folder, id};

fn start(data: &Path) -> Server {
    let fast = ["--metrics-listen", "127.0.0.1:0", "--scrub-bytes-per-second", "1000000000"];
    Server::start_with(data, &fast)
}

async fn metrics(server: &Server) -> String {
    let address = server.metrics.as_deref().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    answer
}

/// The value of one metric.
async fn metric(server: &Server, name: &str) -> u64 {
    let all = metrics(server).await;
    let value = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {all}")).parse().unwrap()
}

async fn until(server: &Server, name: &str, value: u64) {
    while metric(server, name).await < value {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn metrics_tell_of_events_and_of_rows_that_were_put_aside() {
    let data = folder();
    let server = start(data.path());
    register(&server.channel().await, &id(1), "00123").await;
    until(&server, "tsunagi_events_stored_total", 1).await;
    assert_eq!(metric(&server, "tsunagi_rows_put_aside_total").await, 0);
    assert!(metric(&server, "tsunagi_disk_free_bytes").await > 0);
    for line in metrics(&server).await.lines().filter(|line| line.starts_with("tsunagi")) {
        assert!(!line.contains(&id(1)), "{line}");
    }
    assert!(server.terminate().await.success());

    for entry in std::fs::read_dir(data.path().join("rows-7.sled")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, b"this is no database").unwrap();
        }
    }
    let server = start(data.path());
    assert_eq!(metric(&server, "tsunagi_rows_put_aside_total").await, 1);
}

#[tokio::test]
async fn what_the_scrub_finds_is_counted() {
    let region = region();
    let sealed = segment(region.path(), 2);
    let at = frames(&std::fs::read(&sealed).unwrap())[2].0;
    flip(&sealed, at + 20);
    until(&start(region.path()), "tsunagi_damage_found_total", 1).await;
}
