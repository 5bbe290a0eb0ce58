//! Servers to test against, and calls to them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use prost::Message as _;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use uuid::Uuid;

pub(crate) const TSUNAGI: &str = env!("CARGO_BIN_EXE_tsunagi");

/// A cursor that has seen 127 events of slot 3, in the form that names no region.
pub(crate) const FAR_AHEAD: &str = "AgN_";

/// A server process. Killed when the test lets go of it.
pub(crate) struct Server {
    pub(crate) url: String,
    /// Where it takes HL7 v2, if it does.
    pub(crate) mllp: Option<String>,
    /// Where it serves FHIR, if it does.
    pub(crate) fhir: Option<String>,
    /// Where Prometheus fetches metrics, if it may.
    pub(crate) metrics: Option<String>,
    child: Child,
}

/// Settings that keep a test's server small.
const SMALL: [&str; 4] = ["--slots", "4", "--segment-bytes", "8388608"];

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

impl Server {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub(crate) fn start_with(data: &Path, settings: &[&str]) -> Self {
        Self::try_start(&mut up(data, settings)).unwrap_or_else(|| panic!("the server ended"))
    }

    /// Starts `tsunagi up` and waits until it says where it listens. None if it ends before.
    pub(crate) fn try_start(up: &mut Command) -> Option<Self> {
        let mut child = up.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let (mut mllp, mut fhir, mut metrics) = (None, None, None);
        let url = loop {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                child.wait().unwrap();
                return None;
            }
            if let Some((_, address)) = line.split_once("MLLP  ") {
                mllp = Some(address.trim().to_owned());
            }
            if let Some((_, address)) = line.split_once("FHIR  http://") {
                fhir = address.trim().split('/').next().map(str::to_owned);
            }
            if let Some((_, address)) = line.split_once("metrics  http://") {
                metrics = address.trim().split('/').next().map(str::to_owned);
            }
            if let Some((_, url)) = line.split_once("gRPC  ") {
                break url.trim().to_owned();
            }
        };
        // What else it says is let through, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Some(Self { url, mllp, fhir, metrics, child })
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).unwrap().connect().await.unwrap()
    }

    /// A channel to a server that may be gone already: calls on it say so.
    pub(crate) fn channel_to_be(&self) -> Channel {
        Channel::from_shared(self.url.clone()).unwrap().connect_lazy()
    }

    /// Waits for a server that ends of itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as a service manager does, and waits for its end. Connections of the
    /// test go on meanwhile: the server waits for them to close.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        tokio::task::spawn_blocking(move || self.child.wait().unwrap()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either it was stopped by the test, or this stops it.
        let _stopped = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// `tsunagi up` in a folder, not yet started.
pub(crate) fn up(data: &Path, settings: &[&str]) -> Command {
    let mut command = tsunagi();
    command.arg("up").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]).args(settings);
    command
}

/// The binary, with small settings and nothing of this machine's environment.
pub(crate) fn tsunagi() -> Command {
    let mut command = Command::new(TSUNAGI);
    for (name, _) in std::env::vars() {
        if name.starts_with("TSUNAGI_") {
            command.env_remove(name);
        }
    }
    command.args(SMALL);
    command
}

/// Runs a command of the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    tsunagi().args(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A request in the name of somebody at an organisation.
pub(crate) fn by<T>(organisation: &str, role: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("tsunagi-organisation", organisation.parse().unwrap());
    metadata.insert("tsunagi-role", role.parse().unwrap());
    metadata.insert("tsunagi-person", "p-1".parse().unwrap());
    request
}

/// A request in the name of the acute hospital's liaison nurse.
pub(crate) fn liaison<T>(message: T) -> Request<T> {
    by("acute", "liaison-nurse", message)
}

pub(crate) fn id(number: u128) -> String {
    Uuid::from_u128(0xfeed_0000_0000_0000_0000_0000_0000_0000 + number).to_string()
}

pub(crate) fn context(patient: &str, event: &str, occurred_at: &str) -> v1::CommandContext {
    v1::CommandContext {
        event_id: event.to_owned(),
        patient_id: patient.to_owned(),
        occurred_at: occurred_at.to_owned(),
        ..v1::CommandContext::default()
    }
}

/// The machine-readable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap_or_else(|| panic!("no reason: {status}")).reason
}

/// Everything that the timelines say, but for when it was recorded, as bytes by patient.
pub(crate) async fn timelines(channel: &Channel) -> BTreeMap<String, Vec<u8>> {
    let mut client = TimelineClient::new(channel.clone());
    let mut all = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListPatientsRequest {
            page_size: 500,
            page_token,
            ..v1::ListPatientsRequest::default()
        };
        let page = client.list_patients(liaison(request)).await.unwrap().into_inner();
        for patient in page.patients {
            let mut bytes = patient.encode_to_vec();
            for mut entry in timeline(channel, &patient.patient_id).await {
                entry.recorded_at = None;
                entry.earlier.iter_mut().for_each(|earlier| earlier.recorded_at = None);
                bytes.extend(entry.encode_to_vec());
            }
            all.insert(patient.patient_id, bytes);
        }
        if page.next_page_token.is_empty() {
            return all;
        }
        page_token = page.next_page_token;
    }
}

/// One patient's entries, oldest first, gathered page by page.
pub(crate) async fn timeline(channel: &Channel, patient: &str) -> Vec<v1::TimelineEntry> {
    let mut client = TimelineClient::new(channel.clone());
    let mut entries = Vec::new();
    let mut request = v1::ReadTimelineRequest {
        patient_id: patient.to_owned(),
        order: v1::Order::OldestFirst.into(),
        page_size: 20,
        ..v1::ReadTimelineRequest::default()
    };
    loop {
        let page = client.read_timeline(liaison(request.clone())).await.unwrap().into_inner();
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        request.page_token = page.next_page_token;
    }
}

/// The sentences of a timeline in English.
pub(crate) async fn sentences(channel: &Channel, patient: &str) -> Vec<String> {
    let entries = timeline(channel, patient).await;
    entries.into_iter().map(|entry| entry.text.unwrap_or_default().en).collect()
}
