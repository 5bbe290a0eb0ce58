//! What MLLP costs: `cargo bench -p tsunagi --bench mllp [SECONDS]`.
//!
//! Senders in a closed loop tell of stays (A01, A02, A08, A02, A03), each of patients of its
//! own, and wait for each answer, which is given when the message is durable. Beside it, in the
//! same run and in a process of its own too, a bare echo answers each frame out of its head, and
//! another one when the frame is flushed to a file, together with those that came meanwhile: no
//! durable answer is faster. Then: how fast messages are read, and what a thousand silent connections cost.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that fails is of no use"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tsunagi_gateway::hl7::charset::decode;
use tsunagi_gateway::hl7::{Charset, Message};

const TSUNAGI: &str = env!("CARGO_BIN_EXE_tsunagi");
const ANSWER: &[u8] =
    b"\x0bMSH|^~\\&|GW|R|HIS|H|20260501120000||ACK^A01^ACK|1|P|2.5\rMSA|AA|1\r\x1c\r";
const SILENT: usize = 1000;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("bare") => return serve_bare(None).await,
        Some("flushed") => return serve_bare(Some(flusher(&arguments[1]))).await,
        _ => {}
    }
    let seconds = arguments.first().and_then(|seconds| seconds.parse().ok()).unwrap_or(3);
    let length = Duration::from_secs(seconds);
    let folder =
        tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")).unwrap();
    let serve = |data: &str| {
        start(
            Command::new(TSUNAGI)
                .args(["up", "--listen", "127.0.0.1:0", "--mllp-listen", "127.0.0.1:0"])
                .args(["--mllp-connections", "2000", "--log", "error", "--data"])
                .arg(folder.path().join(data)),
        )
    };
    let mut server = serve("data");
    let mut bare = start(Command::new(std::env::current_exe().unwrap()).arg("bare"));
    let file = folder.path().join("flushed");
    let mut flushed =
        start(Command::new(std::env::current_exe().unwrap()).arg("flushed").arg(&file));
    println!(
        "| senders | messages/s | p50 µs | p99 µs | bare echo/s | ratio | flushed echo/s | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for senders in [1, 16, 64] {
        let ours = send(&server.address, senders, length).await;
        let echo = send(&bare.address, senders, length).await;
        let safe = send(&flushed.address, senders, length).await;
        let [rate, bare, safe] = [&ours, &echo, &safe].map(|times| per_second(times, length));
        let (p50, p99) = (percentile(&ours, 50), percentile(&ours, 99));
        let ratios = [rate / bare, rate / safe].map(|ratio| format!("{ratio:.2}"));
        println!(
            "| {senders} | {rate:.0} | {p50} | {p99} | {bare:.0} | {} | {safe:.0} | {} |",
            ratios[0], ratios[1]
        );
    }
    for charset in [Charset::Utf8, Charset::Iso2022Jp] {
        println!("read, {charset:?}: {:.0} MB/s", read_speed(charset, length));
    }
    server.child.kill().unwrap();
    // Another one: this one still gives back the memory of what it was busy with.
    let mut server = serve("silent");
    talk(&mut TcpStream::connect(&server.address).await.unwrap(), &message(0, 0, 0)).await;
    let before = server.resident_mb();
    let mut silent = Vec::with_capacity(SILENT);
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(&server.address).await.unwrap());
    }
    // An answer on the last of them: all before it were accepted.
    talk(silent.last_mut().unwrap(), &message(0, 0, 1)).await;
    println!("{SILENT} silent connections: {:.1} MB", server.resident_mb() - before);
    server.child.kill().unwrap();
    bare.child.kill().unwrap();
    flushed.child.kill().unwrap();
}

struct Process {
    address: String,
    child: Child,
}

impl Process {
    fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

fn start(command: &mut Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address =
        lines.find_map(|line| Some(line.ok()?.split_once("MLLP  ")?.1.to_owned())).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    Process { address, child }
}

/// What is to be flushed, and whom to tell.
type Flush = (Vec<u8>, oneshot::Sender<()>);

/// Flushes all that came since the last flush at once.
fn flusher(path: &str) -> mpsc::UnboundedSender<Flush> {
    let (sender, mut frames) = mpsc::unbounded_channel::<Flush>();
    let mut file = std::fs::File::create(path).unwrap();
    std::thread::spawn(move || {
        while let Some((bytes, told)) = frames.blocking_recv() {
            file.write_all(&bytes).unwrap();
            let mut waiting = vec![told];
            while let Ok((bytes, told)) = frames.try_recv() {
                file.write_all(&bytes).unwrap();
                waiting.push(told);
            }
            file.sync_data().unwrap();
            for told in waiting {
                told.send(()).unwrap();
            }
        }
    });
    sender
}

async fn serve_bare(flusher: Option<mpsc::UnboundedSender<Flush>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("MLLP  {}", listener.local_addr().unwrap());
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let flusher = flusher.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 16 << 10];
            while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                if !bytes[..count].ends_with(b"\x1c\r") {
                    continue;
                }
                if let Some(flusher) = &flusher {
                    let (told, flushed) = oneshot::channel();
                    flusher.send((bytes[..count].to_vec(), told)).unwrap();
                    flushed.await.unwrap();
                }
                if stream.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// How long each message took.
async fn send(address: &str, senders: usize, length: Duration) -> Vec<Duration> {
    // Other patients than in the runs before.
    let run = usize::try_from(std::process::id()).unwrap() * 1000 + senders;
    let end = Instant::now() + length;
    let mut all = JoinSet::new();
    for sender in 0..senders {
        let address = address.to_owned();
        all.spawn(async move {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut times = Vec::new();
            for n in 0.. {
                let sent = message(run, sender, n);
                let began = Instant::now();
                if began > end {
                    break;
                }
                let answer = talk(&mut stream, &sent).await;
                assert!(answer.windows(6).any(|six| six == b"MSA|AA"));
                times.push(began.elapsed());
            }
            times
        });
    }
    all.join_all().await.into_iter().flatten().collect()
}

async fn talk(stream: &mut TcpStream, message: &str) -> Vec<u8> {
    stream.write_all(&[b"\x0b", message.as_bytes(), b"\x1c\r"].concat()).await.unwrap();
    let mut answer = Vec::with_capacity(512);
    while !answer.ends_with(b"\x1c\r") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    answer
}

/// The `n`th message of a sender: five tell of one stay.
fn message(run: usize, sender: usize, n: usize) -> String {
    let (patient, step) = (n / 5, n % 5);
    let event = ["A01", "A02", "A08", "A02", "A03"][step];
    let (number, hour) = (format!("{run}-{sender}-{patient}"), 10 + step);
    format!(
        "MSH|^~\\&|HIS|H|GW|R|202604{hour}1200||ADT^{event}^ADT_A01|{number}-{n}|P|2.5\r\
         EVN||202604{hour}1200\r\
         PID|1||{number}^^^H^MR||Sample^Person^^^^^L^A||19400203|F|||1 High Street^^Town^^12345||^PRN^PH^^^^^^^^^03-{step}\r\
         PV1|1|I|{step}E^401^1||||12^Doctor^Ann||||||||||||V-{number}|||||||||||||||||||||||||202604100900\r"
    )
}

/// Megabytes of messages decoded and read in a second: every field that a mapping looks at.
fn read_speed(charset: Charset, length: Duration) -> f64 {
    let header = if charset == Charset::Iso2022Jp { "~ISO IR87" } else { "UNICODE UTF-8" };
    let text = message(1, 2, 3).replace("|P|2.5\r", &format!("|P|2.5||||||{header}\r"));
    let bytes = charset.write(&text.replace("Sample^Person", "患者^太郎"));
    let (began, mut read) = (Instant::now(), 0_usize);
    while began.elapsed() < length {
        for _ in 0..100 {
            let decoded = decode(&bytes, None);
            let message = Message::parse(&decoded.text).unwrap();
            for (segment, last) in [("MSH", 20), ("EVN", 6), ("PID", 30), ("PV1", 45)] {
                let segment = message.segment(segment);
                for number in 1..=last {
                    std::hint::black_box(segment.field(number).first());
                }
            }
            read += bytes.len();
        }
    }
    f64::from(u32::try_from(read >> 10).unwrap()) / 1024.0 / began.elapsed().as_secs_f64()
}

fn per_second(times: &[Duration], length: Duration) -> f64 {
    f64::from(u32::try_from(times.len()).unwrap()) / length.as_secs_f64()
}

fn percentile(times: &[Duration], percent: usize) -> u128 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100].as_micros()
}
