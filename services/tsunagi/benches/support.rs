//! What the benchmarks share: processes, connections, callers.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tonic::Request;
use tonic::transport::Channel;

pub(crate) const TSUNAGI: &str = env!("CARGO_BIN_EXE_tsunagi");

pub(crate) struct Process {
    pub(crate) url: String,
    pub(crate) child: Child,
}

/// Starts a process and reads from its output where it listens.
pub(crate) fn start(command: &mut Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.find_map(|line| Some(line.ok()?.split_once("gRPC  ")?.1.to_owned())).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    Process { url, child }
}

impl Process {
    pub(crate) fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

pub(crate) async fn connect(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().tcp_nodelay(true).connect().await.unwrap()
}

pub(crate) fn signed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    for key in ["tsunagi-organisation", "tsunagi-role", "tsunagi-person"] {
        request.metadata_mut().insert(key, "bench".parse().unwrap());
    }
    request
}
