//! HL7 v2 over MLLP, through raw sockets: answers, repeats, quarantine, limits, `kill -9`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::support::{Server, folder, liaison, run, stdout, timeline};

const MLLP: [&str; 2] = ["--mllp-listen", "127.0.0.1:0"];

fn start(data: &Path, settings: &[&str]) -> Server {
    Server::start_with(data, &[&MLLP[..], settings].concat())
}

/// A sender's connection.
pub(crate) struct Sender {
    stream: Box<dyn Wire>,
    read: Vec<u8>,
}

/// A connection, with TLS or without.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Sender {
    pub(crate) async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.mllp.as_deref().unwrap()).await.unwrap();
        Self { stream: Box::new(stream), read: Vec::new() }
    }

    /// Over TLS, trusting an authority, with a certificate or without.
    async fn connect_tls(
        server: &Server,
        authority: &str,
        own: Option<(&str, &str)>,
    ) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        let stream = TcpStream::connect(server.mllp.as_deref().unwrap()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        Some(Self { stream: Box::new(stream), read: Vec::new() })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Says that it sends nothing more, and still takes answers.
    pub(crate) async fn shut(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next answer, without its frame. None when the server has closed the connection.
    pub(crate) async fn answer(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\x1c\r") {
                let frame: Vec<u8> = self.read.drain(..end + 2).collect();
                assert_eq!(frame[0], 0x0b);
                return Some(String::from_utf8_lossy(&frame[1..end]).into_owned());
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
            self.read.extend_from_slice(&bytes[..count]);
        }
    }

    /// Sends a message and waits for its answer. None if the server is gone.
    pub(crate) async fn try_send(&mut self, message: impl AsRef<[u8]>) -> Option<String> {
        self.stream.write_all(&framed(message)).await.ok()?;
        self.answer().await
    }

    /// Sends a message and waits for its answer.
    pub(crate) async fn send(&mut self, message: impl AsRef<[u8]>) -> String {
        self.write(&framed(message)).await;
        self.answer().await.unwrap()
    }
}

/// Sends a message that is taken.
pub(crate) async fn take(sender: &mut Sender, message: String) {
    let answer = sender.send(&message).await;
    assert_eq!(code(&answer).0, "AA", "{message}\n{answer}");
}

/// Sends a message that is refused, with an answer that says all of this.
pub(crate) async fn refuse(sender: &mut Sender, message: String, says: &[&str]) {
    let answer = sender.send(&message).await;
    assert_eq!(code(&answer).0, "AE", "{message}\n{answer}");
    for part in says {
        assert!(answer.contains(part), "{part}\n{message}\n{answer}");
    }
}

fn framed(message: impl AsRef<[u8]>) -> Vec<u8> {
    [b"\x0b", message.as_ref(), b"\x1c\r"].concat()
}

/// A message about the patient `number`, sent as `control`.
pub(crate) fn message(event: &str, control: &str, number: &str, visit: &str) -> String {
    format!(
        "MSH|^~\\&|HIS|H|GW|R|20260501120000||ADT^{event}^ADT_A01|{control}|P|2.5\r\
         EVN||20260501120000\r\
         PID|1||{number}^^^H^MR||Doe^Jo||19400203|F\r\
         {visit}\r"
    )
}

pub(crate) const ADMITTED: &str =
    "PV1|1|I|4E^401^1||||12^Smith^Ann||||||||||||V-1|||||||||||||||||||||||||20260430090000";

/// The code and the text of an answer.
pub(crate) fn code(answer: &str) -> (&str, &str) {
    let msa = answer.split('\r').find(|line| line.starts_with("MSA")).unwrap();
    let fields: Vec<&str> = msa.split(answer.chars().nth(3).unwrap()).collect();
    (fields[1], fields.get(3).copied().unwrap_or_default())
}

/// The patient whom the hospital knows by a number.
pub(crate) async fn find(channel: &Channel, system: &str, number: &str) -> v1::PatientSummary {
    let identifier = v1::Identifier { system: system.to_owned(), value: number.to_owned() };
    let request = v1::FindPatientRequest { identifier: Some(identifier), as_known_at: None };
    let mut client = TimelineClient::new(channel.clone());
    client.find_patient(liaison(request)).await.unwrap().into_inner().patient.unwrap()
}

async fn types(channel: &Channel, number: &str) -> Vec<String> {
    let patient = find(channel, "urn:tsunagi:hl7:H:H", number).await;
    let entries = timeline(channel, &patient.patient_id).await;
    entries.into_iter().map(|entry| entry.r#type.replace("care.", "").replace(".v1", "")).collect()
}

#[tokio::test]
async fn an_admission_is_on_the_timeline_when_it_is_acknowledged() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    let answer = sender.send(message("A01", "1", "7", ADMITTED)).await;
    assert_eq!(code(&answer), ("AA", ""));
    assert!(answer.starts_with("MSH|^~\\&|GW|R|HIS|H|"), "{answer}");
    assert!(answer.contains("\rMSA|AA|1\r"), "{answer}");
    let channel = server.channel().await;
    let patient = find(&channel, "urn:tsunagi:hl7:H:H", "7").await;
    assert_eq!(patient.state(), v1::PatientState::InHospital);
    assert_eq!(patient.place.unwrap().ward, "4E");
    assert_eq!(patient.since_at, "2026-04-30T09:00:00+09:00");
    // And after a power cut, without a word of farewell.
    server.kill();
    let server = start(data.path(), &[]);
    let channel = server.channel().await;
    assert_eq!(types(&channel, "7").await, ["patient.registered", "encounter.admitted"]);
}

#[tokio::test]
async fn a_number_is_one_facility_s_whatever_the_facility_is_called() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    let of = |facility: &str, who: &str| {
        let said =
            message("A01", "1", "0042", ADMITTED).replace("|HIS|H|", &format!("|HIS|{facility}|"));
        said.replace("^^^H^MR||Doe^Jo||19400203|F", &format!("||{who}"))
    };
    let facilities = ["東病院", "西病院", "St Mary", "St-Mary", "St-Mary^1.2.392.9^ISO"];
    for facility in facilities {
        // The same birth and sex: nothing but the facility tells them apart.
        let answer = sender.send(of(facility, "Doe^Jo||19400203|F")).await;
        assert_eq!(code(&answer).0, "AA", "{answer}");
    }
    let channel = server.channel().await;
    assert_eq!(crate::support::timelines(&channel).await.len(), facilities.len());
}

#[tokio::test]
async fn the_same_message_again_gets_the_same_answer_and_adds_nothing() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    let first = sender.send(message("A01", "1", "7", ADMITTED)).await;
    sender.send(message("A03", "2", "7", "PV1|1|I|4E||||||||||||||||V-1")).await;
    // After a restart too, and when it was sent does not count.
    server.kill();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    let again = message("A01", "1", "7", ADMITTED).replace("|R|20260501120000|", "|R|20260502|");
    let again = sender.send(again).await;
    let but_for_its_time = |answer: &str| {
        let mut fields: Vec<String> = answer.split('|').map(str::to_owned).collect();
        fields[6].clear();
        fields
    };
    assert_eq!(but_for_its_time(&again), but_for_its_time(&first));
    // The control id alone makes no repeat.
    let other = sender.send(message("A01", "1", "8", ADMITTED)).await;
    assert_eq!(code(&other), ("AA", ""));
    let channel = server.channel().await;
    let all = ["patient.registered", "encounter.admitted", "encounter.discharged"];
    assert_eq!(types(&channel, "7").await, all);
    assert_eq!(types(&channel, "8").await, all[..2]);
}

#[tokio::test]
async fn messages_may_come_in_pieces_and_many_at_once() {
    let data = folder();
    let server = start(data.path(), &["--mllp-pipeline", "2"]);
    let mut sender = Sender::connect(&server).await;
    for byte in framed(message("A01", "1", "7", ADMITTED)).chunks(9) {
        sender.write(byte).await;
    }
    assert_eq!(code(&sender.answer().await.unwrap()).0, "AA");
    // Twenty at once, answered in their order, each with its own control id.
    let many: Vec<u8> = (0..20)
        .flat_map(|n| framed(message("A01", &format!("c{n}"), &format!("p{n}"), ADMITTED)))
        .collect();
    sender.write(&many).await;
    for n in 0..20 {
        let answer = sender.answer().await.unwrap();
        assert!(answer.contains(&format!("\rMSA|AA|c{n}\r")), "{answer}");
    }
}

#[tokio::test]
async fn noise_and_halves_of_frames_spoil_no_message() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    let garbage = vec![b'x'; 1 << 20];
    sender.write(&garbage).await;
    assert!(sender.send(message("A01", "c1", "7", ADMITTED)).await.contains("\rMSA|AA|c1\r"));
    // Cut off within a message, which begins anew on the same connection; and an end without one.
    let whole = framed(message("A01", "c2", "8", ADMITTED));
    let cut =
        [&whole[..40], &whole, b"\x1c\r\x1c\r\n", &framed(message("A01", "c3", "9", ADMITTED))];
    sender.write(&cut.concat()).await;
    for control in ["c2", "c3"] {
        let answer = sender.answer().await.unwrap();
        assert!(answer.contains(&format!("\rMSA|AA|{control}\r")), "{answer}");
    }
    let channel = server.channel().await;
    for number in ["7", "8", "9"] {
        assert_eq!(types(&channel, number).await.len(), 2, "{number}");
    }
}

#[tokio::test]
async fn one_control_id_on_two_connections_at_once_names_two_messages() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut both = [Sender::connect(&server).await, Sender::connect(&server).await];
    let of =
        |side: usize, n: usize| message("A01", &format!("c{n}"), &format!("{side}-{n}"), ADMITTED);
    for (side, sender) in both.iter_mut().enumerate() {
        let all: Vec<u8> = (0..20).flat_map(|n| framed(of(side, n))).collect();
        sender.write(&all).await;
    }
    let mut answers = BTreeMap::new();
    for (side, sender) in both.iter_mut().enumerate() {
        for n in 0..20 {
            let answer = sender.answer().await.unwrap();
            assert!(answer.contains(&format!("\rMSA|AA|c{n}\r")), "{answer}");
            let id = answer.split('|').nth(9).unwrap().to_owned();
            assert_eq!(
                answers.insert(id, (side, n)),
                None,
                "each message has an answer of its own"
            );
        }
    }
    let channel = server.channel().await;
    for (side, n) in answers.into_values() {
        assert_eq!(types(&channel, &format!("{side}-{n}")).await.len(), 2);
    }
}

#[tokio::test]
async fn a_message_that_comes_to_no_end_holds_no_place_for_ever() {
    let data = folder();
    let server = start(data.path(), &["--mllp-connections", "1", "--mllp-idle-ms", "500"]);
    let mut endless = Sender::connect(&server).await;
    endless.write(b"\x0bMSH|").await;
    // Never silent: until the server has closed the connection.
    while endless.stream.write_all(b"x").await.is_ok() {
        tokio::task::yield_now().await;
    }
    let mut sender = Sender::connect(&server).await;
    assert!(sender.send(message("A01", "c1", "7", ADMITTED)).await.contains("\rMSA|AA|c1\r"));
}

#[tokio::test]
async fn bytes_of_no_message_hold_no_place_for_ever() {
    for byte in [b"x", b"\n"] {
        let data = folder();
        let server = start(data.path(), &["--mllp-connections", "1", "--mllp-idle-ms", "500"]);
        let mut stray = Sender::connect(&server).await;
        // Never silent: until the server has closed the connection.
        while stray.stream.write_all(byte).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let mut sender = Sender::connect(&server).await;
        assert!(sender.send(message("A01", "c1", "7", ADMITTED)).await.contains("\rMSA|AA|c1\r"));
    }
}

#[tokio::test]
async fn fifty_senders_store_each_message_once() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut senders = Vec::new();
    for sender in 0..50 {
        let mut connection = Sender::connect(&server).await;
        senders.push(tokio::spawn(async move {
            // Each patient is told of by ten senders, with the same messages.
            let patient = format!("p{}", sender % 5);
            let first = connection.send(message("A01", "1", &patient, ADMITTED)).await;
            let second = connection
                .send(message("A02", "2", &patient, "PV1|1|I|5W^1||||||||||||||||V-1"))
                .await;
            [code(&first).0.to_owned(), code(&second).0.to_owned()]
        }));
    }
    for sender in senders {
        assert_eq!(sender.await.unwrap(), ["AA", "AA"]);
    }
    let channel = server.channel().await;
    for number in 0..5 {
        let types = types(&channel, &format!("p{number}")).await;
        let once = ["patient.registered", "encounter.admitted", "encounter.transferred"];
        let count = |of: &str| types.iter().filter(|one| *one == of).count();
        assert_eq!(once.map(count), [1, 1, 1], "{types:?}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_and_the_rest_comes_again() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut senders = Vec::new();
    let (acknowledged, mut told) = tokio::sync::mpsc::unbounded_channel();
    for sender in 0..8 {
        let mut connection = Sender::connect(&server).await;
        let acknowledged = acknowledged.clone();
        senders.push(tokio::spawn(async move {
            for n in 0.. {
                let number = format!("{sender}-{n}");
                let sent = message("A01", &number, &number, ADMITTED);
                if connection.stream.write_all(&framed(&sent)).await.is_err() {
                    return;
                }
                let Some(answer) = connection.answer().await else { return };
                assert_eq!(code(&answer), ("AA", ""));
                acknowledged.send(number).unwrap();
            }
        }));
    }
    drop(acknowledged);
    let mut stored = Vec::new();
    while stored.len() < 60 {
        stored.push(told.recv().await.unwrap());
    }
    server.kill();
    for sender in senders {
        sender.await.unwrap();
    }
    while let Some(number) = told.recv().await {
        stored.push(number);
    }
    let server = start(data.path(), &[]);
    let channel = server.channel().await;
    let mut sender = Sender::connect(&server).await;
    for number in &stored {
        assert_eq!(types(&channel, number).await.len(), 2, "{number}");
        let again = sender.send(message("A01", number, number, ADMITTED)).await;
        assert_eq!(code(&again), ("AA", ""));
        assert_eq!(types(&channel, number).await.len(), 2, "{number}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_and_kept_byte_for_byte() {
    let data = folder();
    let server = start(data.path(), &["--mllp-frame-bytes", "2048"]);
    let mut sender = Sender::connect(&server).await;
    let garbage = b"HELLO \xff\xfe";
    let answer = sender.send(garbage).await;
    assert_eq!(code(&answer).0, "AE");
    assert!(answer.contains("MESSAGE_UNREADABLE"), "{answer}");
    let nobody = message("A01", "2", "", ADMITTED).replace("^^^H^MR", "");
    let answer = sender.send(nobody).await;
    assert_eq!(code(&answer).0, "AE");
    assert!(answer.contains("\rERR||PID^1^3|101^"), "{answer}");
    let large = message("A01", "3", "7", &format!("NTE|1||{}", "x".repeat(4000)));
    let answer = sender.send(&large).await;
    assert_eq!(code(&answer).0, "AR");
    assert!(answer.contains("\rMSA|AR|3|"), "{answer}");
    let answer = sender.send(message("A40", "4", "7", "PV1")).await;
    assert_eq!(code(&answer).0, "AE", "{answer}");
    let answer = sender.send("MSH|^~\\&|LIS|H|GW|R|20260501||ORU^R01|5|P|2.5\rPID|1||7\r").await;
    assert_eq!(code(&answer).0, "AR", "{answer}");
    assert!(answer.contains("200^Unsupported message type"), "{answer}");
    // The connection goes on.
    assert_eq!(code(&sender.send(message("A01", "6", "7", ADMITTED)).await).0, "AA");
    sender.write(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(code(&sender.send(message("A01", "6", "7", ADMITTED)).await).0, "AA");
    let url = server.url.clone();
    let list = tokio::task::spawn_blocking(move || stdout(&run(&["quarantine", "--server", &url])));
    let list = list.await.unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 5, "{list}");
    assert!(lines[1].contains("mllp: H  FIELD_MISSING PID-3"), "{list}");
    assert!(!list.contains("Doe") && !list.contains("HELLO"), "no word of the messages: {list}");
    let (id, url) = (lines[0].split_whitespace().next().unwrap().to_owned(), server.url.clone());
    let raw = move || run(&["quarantine", &id, "--server", &url]).stdout;
    assert_eq!(tokio::task::spawn_blocking(raw).await.unwrap(), garbage);
}

#[tokio::test]
async fn what_is_in_quarantine_is_sent_again_after_a_fix() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    // The stay is not known, and nothing says when it began.
    let moved = message("A02", "1", "7", "PV1|1|I|5W^1||||||||||||||||V-1");
    assert_eq!(code(&sender.send(&moved).await).0, "AE");
    assert_eq!(code(&sender.send(message("A01", "2", "7", ADMITTED)).await).0, "AA");
    let (url, mllp) = (server.url.clone(), server.mllp.clone().unwrap());
    let again = tokio::task::spawn_blocking(move || {
        let list = || stdout(&run(&["quarantine", "--server", &url]));
        let listed = list();
        let id = listed.split_whitespace().next().unwrap();
        let again = run(&["quarantine", id, "--replay", &mllp, "--server", &url]);
        assert_eq!(list(), "", "what was taken is listed no more");
        let all = stdout(&run(&["quarantine", "--all", "--server", &url]));
        assert!(all.contains(id) && all.contains("replayed by cli"), "{all}");
        again
    });
    let again = again.await.unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", stdout(&again));
    assert!(stdout(&again).contains("MSA|AA|1"), "{}", stdout(&again));
    let types = types(&server.channel().await, "7").await;
    assert!(types.contains(&"encounter.transferred".to_owned()), "{types:?}");
}

#[tokio::test]
async fn the_enhanced_mode_answers_as_it_is_asked() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    let asking = |control: &str, modes: &str| {
        message("A01", control, control, ADMITTED)
            .replace("|P|2.5\r", &format!("|P|2.5|||{modes}\r"))
    };
    assert_eq!(code(&sender.send(asking("1", "AL|AL")).await).0, "CA");
    assert_eq!(code(&sender.answer().await.unwrap()).0, "AA");
    sender.write(&framed(asking("2", "NE|NE"))).await;
    assert_eq!(code(&sender.send(asking("3", "AL|NE")).await).0, "CA", "the second has no answer");
    let channel = server.channel().await;
    assert_eq!(types(&channel, "2").await.len(), 2, "and is stored");
}

#[tokio::test]
async fn a_batch_is_answered_by_a_batch() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    let [one, two] = ["1", "2"].map(|n| message("A01", n, n, ADMITTED));
    let batch = format!("BHS|^~\\&|HIS|H\r{one}MSH|^~\\&|broken\r{two}BTS|3\r");
    let answer = sender.send(batch).await;
    let codes: Vec<&str> =
        answer.split('\r').filter(|line| line.starts_with("MSA")).map(|line| &line[4..6]).collect();
    assert_eq!(codes, ["AA", "AR", "AA"], "{answer}");
    assert!(answer.starts_with("BHS|") && answer.ends_with("BTS|3\r"), "{answer}");
    let lost = format!("BHS|^~\\&|HIS|H\r{}BTS|2\r", message("A01", "3", "3", ADMITTED));
    let answer = sender.send(lost).await;
    assert!(answer.ends_with("BTS|1|BTS-1 counts 2 messages, and 1 were found\r"), "{answer}");
}

#[tokio::test]
async fn a_connection_too_many_and_a_silent_one_are_closed() {
    let data = folder();
    let server = start(data.path(), &["--mllp-connections", "1", "--mllp-idle-ms", "1500"]);
    let mut first = Sender::connect(&server).await;
    assert_eq!(code(&first.send(message("A01", "1", "7", ADMITTED)).await).0, "AA");
    assert_eq!(Sender::connect(&server).await.answer().await, None, "one too many");
    assert_eq!(first.answer().await, None, "silent");
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_has_read() {
    let data = folder();
    let server = start(data.path(), &[]);
    let mut sender = Sender::connect(&server).await;
    assert_eq!(code(&sender.send(message("A01", "1", "7", ADMITTED)).await).0, "AA");
    assert!(server.terminate().await.success());
    assert_eq!(sender.answer().await, None);
}

#[tokio::test]
async fn who_takes_no_answers_does_not_hold_up_the_stop() {
    let data = folder();
    let limits = ["--mllp-idle-ms", "0", "--mllp-frame-bytes", "33554432", "--stop-wait-ms", "100"];
    let server = start(data.path(), &limits);
    let address = server.mllp.as_deref().unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    // Its answer, which repeats the names, is larger than what lies in between holds.
    let name = "n".repeat(4 << 20);
    let message = format!("MSH|^~\\&|{name}|{name}|{name}|{name}|2026||ORU^R01|1|P|2.5\r");
    stream.write_all(&framed(message)).await.unwrap();
    stream.peek(&mut [0]).await.unwrap();
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn over_tls_only_those_are_let_in_whom_the_authority_has_signed() {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap().pem();
        (cert, Issuer::new(params, key))
    };
    let signed = |issuer: &Issuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
    };
    let ((ours, issuer), (_, stranger)) = (authority("ours"), authority("stranger"));
    let (data, files) = (folder(), folder());
    let (cert, key) = signed(&issuer);
    let [cert, key, ca] = [("cert", &cert), ("key", &key), ("ca", &ours)].map(|(name, pem)| {
        let path = files.path().join(format!("{name}.pem"));
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let settings = ["--mllp-tls-cert", &cert, "--mllp-tls-key", &key, "--mllp-client-ca", &ca];
    let server = start(data.path(), &settings);
    let (cert, key) = signed(&issuer);
    let mut sender = Sender::connect_tls(&server, &ours, Some((&cert, &key))).await.unwrap();
    assert_eq!(code(&sender.send(message("A01", "1", "7", ADMITTED)).await).0, "AA");
    // Without a certificate, or with another's, or without TLS, nothing is answered.
    let (cert, key) = signed(&stranger);
    for own in [None, Some((cert.as_str(), key.as_str()))] {
        // In TLS 1.3 a client learns only when it reads that it was not let in.
        if let Some(mut sender) = Sender::connect_tls(&server, &ours, own).await {
            let _refused =
                sender.stream.write_all(&framed(message("A01", "2", "8", ADMITTED))).await;
            assert_eq!(sender.answer().await, None);
        }
    }
    let mut plain = Sender::connect(&server).await;
    plain.write(&framed(message("A01", "3", "9", ADMITTED))).await;
    assert_eq!(plain.answer().await.filter(|answer| answer.contains("MSA")), None);
    assert_eq!(code(&sender.send(message("A01", "4", "10", ADMITTED)).await).0, "AA");
}

#[tokio::test]
async fn only_those_whom_its_profile_names_speak_for_a_facility() {
    let (data, files) = (folder(), folder());
    let mut params = CertificateParams::new(vec!["authority".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ours = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let signed = |subject: &str, other: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![other.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let (cert, key) = signed("server", "localhost");
    let profiles = "[[facility]]\nid = \"h\"\nfacility = \"H\"\n\
        client-certificate = [\"東病院\", \"his.h.example\"]\n"
        .to_owned();
    let all = [("cert", &cert), ("key", &key), ("ca", &ours), ("profiles", &profiles)];
    let [cert, key, ca, profiles] = all.map(|(name, text)| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let tls = ["--mllp-tls-cert", &cert, "--mllp-tls-key", &key, "--mllp-client-ca", &ca];
    let server = start(data.path(), &[&tls[..], &["--hl7-profiles", &profiles]].concat());
    let says = async |own: (String, String), message: &str| {
        let own = Some((own.0.as_str(), own.1.as_str()));
        let mut sender = Sender::connect_tls(&server, &ours, own).await.unwrap();
        sender.send(message).await
    };
    let theirs = message("A01", "1", "7", ADMITTED);
    let answer = says(signed("hospital A", "a.example"), &theirs).await;
    assert!(code(&answer).0 == "AR" && answer.contains("SENDER_NOT_PROVEN"), "{answer}");
    for own in [signed("東病院", "x.example"), signed("x", "his.h.example")] {
        assert_eq!(code(&says(own, &theirs).await).0, "AA");
    }
    let own = theirs.replace("|HIS|H|", "|HIS|A|");
    assert_eq!(code(&says(signed("hospital A", "a.example"), &own).await).0, "AA");
}

#[tokio::test]
async fn a_profile_says_how_a_facility_is_read() {
    let data = folder();
    let profiles = folder();
    let path = profiles.path().join("profiles.toml");
    let text = "[[facility]]\nid = \"0810112345\"\nname = \"つなぎ中央病院\"\nfacility = \"H\"\n\
        zone = \"Europe/London\"\nauthority = \"urn:oid:1.2.3\"\nignore = [\"A20\"]\n\
        [facility.authorities]\nH = \"urn:oid:1.2.3\"\n[facility.wards]\n4E = \"4東病棟\"\n\
        [facility.classes]\nZ = \"emergency\"\n[facility.fields]\nadmitted-at = \"ZPV-2\"\n\
        confidential-address = \"ZPD-1\"\n";
    std::fs::write(&path, text).unwrap();
    let server = start(data.path(), &["--hl7-profiles", path.to_str().unwrap()]);
    let mut sender = Sender::connect(&server).await;
    let visit = "PV1|1|I|4E\rZPV||202601050800\rZPD|Y";
    assert_eq!(code(&sender.send(message("A01", "1", "7", visit)).await).0, "AA");
    let answer = sender.send(message("A20", "2", "7", "NPU|1")).await;
    assert_eq!(code(&answer), ("AA", "passed over, as the facility's profile says"));
    let channel = server.channel().await;
    let patient = find(&channel, "urn:oid:1.2.3", "7").await;
    let place = patient.place.unwrap();
    assert_eq!(place.facility.unwrap().name, "つなぎ中央病院");
    assert_eq!(place.ward, "4東病棟");
    assert_eq!(patient.since_at, "2026-01-05T08:00:00+00:00");
    assert!(patient.demographics.unwrap().address.unwrap().confidential);
    let names: BTreeMap<_, _> = timeline(&channel, &patient.patient_id)
        .await
        .into_iter()
        .map(|entry| (entry.r#type, entry.source.unwrap().door))
        .collect();
    assert!(names.values().all(|door| door == "mllp"), "{names:?}");
}
