//! `tsunagi quarantine`: what came in and could not be read.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tsunagi_chassis::Config;
use tsunagi_gateway::hl7::Message;
use tsunagi_gateway::hl7::charset::decode;
use tsunagi_gateway::mllp::{self, Frames, framed};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;

use crate::client::{Connection, own, refused, signed};
use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print this one, byte for byte, instead of the list
    id: Option<String>,

    /// Send it again as an HL7 message to the MLLP door at this address, such as
    /// 127.0.0.1:2575, and print the answer: after a profile was mended, say. If it is taken, it
    /// is listed no more
    #[arg(long, value_name = "ADDRESS", requires = "id")]
    replay: Option<String>,

    /// List it no more: it was looked at, and this is why it is to stay out
    #[arg(long, value_name = "WHY", requires = "id", requires = "by", conflicts_with = "replay")]
    dismiss: Option<String>,

    /// Who dismisses it: a person's id, such as staff-12
    #[arg(long, value_name = "PERSON", requires = "dismiss")]
    by: Option<String>,

    #[command(flatten)]
    listed: Listed,
}

/// What of it is listed.
#[derive(Debug, Args)]
#[command(next_help_heading = "The list")]
struct Listed {
    /// Also what was replayed or dismissed
    #[arg(long, conflicts_with = "id")]
    all: bool,

    /// Only what was kept at this time or later, such as 2026-05-01
    #[arg(long, value_name = "TIME", default_value = "", hide_default_value = true)]
    since: String,

    /// Only what was kept before this time
    #[arg(long, value_name = "TIME", default_value = "", hide_default_value = true)]
    until: String,

    /// Only what came through this door, such as mllp
    #[arg(long, default_value = "", hide_default_value = true)]
    door: String,

    /// Only what has this in its origin: a facility's id, a file's name
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    origin: String,

    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: usize,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let connection = Connection::to_read(config, server).await?;
    let mut bus = CareBusClient::new(connection.channel.clone());
    let exit = match &options.id {
        None => list(&mut bus, &options.listed).await?,
        Some(id) => one(&mut bus, id, options).await?,
    };
    connection.close().await?;
    Ok(exit)
}

async fn list(bus: &mut CareBusClient<Channel>, listed: &Listed) -> anyhow::Result<ExitCode> {
    const PAGE: usize = 500;
    let mut page_token = String::new();
    let mut left = listed.limit;
    loop {
        let request = v1::ListQuarantineRequest {
            include_released: listed.all,
            from_at: listed.since.clone(),
            to_at: listed.until.clone(),
            door: listed.door.clone(),
            origin: listed.origin.clone(),
            page_size: u32::try_from(left.min(PAGE))?,
            page_token,
        };
        let page = bus.list_quarantine(own(request)).await.map_err(|s| refused(&s))?.into_inner();
        for message in page.messages.iter().take(left) {
            say(line(message));
        }
        left = left.saturating_sub(page.messages.len());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if left == 0 {
            say(format!("there is more: --limit takes more than {}", listed.limit));
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn one(
    bus: &mut CareBusClient<Channel>,
    id: &str,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    if let (Some(why), Some(by)) = (&options.dismiss, &options.by) {
        let release = released(id, v1::Release::Dismissed, why);
        let request = signed(release, "tsunagi", "operator", by);
        bus.release_quarantined(request).await.map_err(|status| refused(&status))?;
        return Ok(ExitCode::SUCCESS);
    }
    let message = kept(bus, id).await?;
    let Some(address) = &options.replay else {
        std::io::stdout().write_all(&message.raw)?;
        return Ok(ExitCode::SUCCESS);
    };
    let answer = replay(&message, address).await?;
    if !answer.ends_with('A') {
        return Ok(ExitCode::from(2));
    }
    let note = format!("sent again, and answered with {answer}");
    let release = own(released(id, v1::Release::Replayed, &note));
    bus.release_quarantined(release).await.map_err(|status| refused(&status))?;
    Ok(ExitCode::SUCCESS)
}

fn released(id: &str, how: v1::Release, note: &str) -> v1::ReleaseQuarantinedRequest {
    let release = v1::MessageReleased {
        quarantined_event_id: id.to_owned(),
        how: how.into(),
        note: note.to_owned(),
    };
    v1::ReleaseQuarantinedRequest { release: Some(release) }
}

/// What is kept under an id.
async fn kept(
    bus: &mut CareBusClient<Channel>,
    id: &str,
) -> anyhow::Result<v1::MessageQuarantined> {
    let request = v1::ReadQuarantinedRequest { event_id: id.to_owned() };
    let kept = bus.read_quarantined(own(request)).await.map_err(|status| refused(&status))?;
    Ok(kept.into_inner().message.unwrap_or_default())
}

/// How long the answer to a message may take.
const ANSWER_WAIT: Duration = Duration::from_mins(1);

/// Sends a message as its sender would, and prints the answer. The answer's code.
async fn replay(message: &v1::MessageQuarantined, address: &str) -> anyhow::Result<String> {
    if message.media_type != "application/hl7-v2" {
        anyhow::bail!(
            "it is no HL7 message, or only the beginning of one, or one that its storage took back: have it sent again from where it came, one that was too large in smaller messages"
        );
    }
    if message.parts > 1 {
        anyhow::bail!(
            "it is kept in {} parts: print each, join them, and send them with an HL7 tool",
            message.parts
        );
    }
    let connect = TcpStream::connect(address);
    let mut stream = connect.await.with_context(|| format!("no MLLP door answers at {address}"))?;
    stream.write_all(&framed(&message.raw)).await?;
    let mut frames = Frames::new(message.raw.len() + (1 << 20));
    let mut bytes = vec![0; 4096];
    let answer = loop {
        let read = tokio::time::timeout(ANSWER_WAIT, stream.read(&mut bytes)).await;
        let count = read.context("the message was not answered in time")??;
        if count == 0 {
            anyhow::bail!("the connection was closed without an answer");
        }
        frames.push(bytes.get(..count).unwrap_or_default());
        if let Some(mllp::Frame::Message(answer)) = frames.take() {
            break decode(&answer, None).text.into_owned();
        }
    };
    say(answer.trim_end().replace('\r', "\n"));
    let answer = Message::parse(&answer).context("the answer cannot be read")?;
    Ok(answer.field("MSA", 1).raw().to_owned())
}

fn line(message: &v1::QuarantinedMessage) -> String {
    let v1::QuarantinedMessage { event_id, size_bytes, origin, reason, part, parts, .. } = message;
    let part = if *parts > 1 { format!("  part {part} of {parts}") } else { String::new() };
    let kept = message.recorded_at.and_then(|at| Timestamp::new(at.seconds, 0).ok());
    let kept = kept.map(|at| at.to_string()).unwrap_or_default();
    let became = message.released.as_ref().map_or_else(String::new, |release| {
        let how = match release.how() {
            v1::Release::Dismissed => "dismissed",
            v1::Release::Replayed | v1::Release::Unspecified => "replayed",
        };
        let by = message.released_by.clone().unwrap_or_default().person;
        format!("  [{how} by {by}: {}]", release.note)
    });
    format!("{event_id}  {kept}  {size_bytes} bytes  {origin}{part}  {reason}{became}")
}
