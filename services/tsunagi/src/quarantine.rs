//! `tsunagi quarantine`: what came in and could not be read.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tsunagi_chassis::Config;
use tsunagi_gateway::hl7::Message;
use tsunagi_gateway::hl7::charset::decode;
use tsunagi_gateway::mllp::{self, Frames, framed};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::client::{Connection, own, refused};
use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print this one, byte for byte, instead of the list
    id: Option<String>,

    /// Send it again as an HL7 message to the MLLP door at this address, such as
    /// 127.0.0.1:2575, and print the answer: after a profile was mended, say
    #[arg(long, value_name = "ADDRESS", requires = "id")]
    replay: Option<String>,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let connection = Connection::to_read(config, server).await?;
    let mut bus = CareBusClient::new(connection.channel.clone());
    let exit = match &options.id {
        None => list(&mut bus).await?,
        Some(id) => show(&mut bus, id, options.replay.as_deref()).await?,
    };
    connection.close().await?;
    Ok(exit)
}

async fn list(bus: &mut CareBusClient<Channel>) -> anyhow::Result<ExitCode> {
    let request = v1::SubscribeRequest {
        type_prefixes: vec!["care.system.message_quarantined.".to_owned()],
        ..v1::SubscribeRequest::default()
    };
    let mut frames = bus.subscribe(own(request)).await.map_err(|s| refused(&s))?.into_inner();
    while let Some(frame) = frames.message().await.map_err(|status| refused(&status))? {
        let event = match frame.frame {
            Some(Frame::Event(stored)) => stored.event.unwrap_or_default(),
            Some(Frame::CaughtUp(_)) => break,
            Some(Frame::Heartbeat(_)) | None => continue,
        };
        let message = v1::MessageQuarantined::decode(event.payload.as_slice())
            .context("the server sent what is no quarantined message")?;
        say(line(&event, &message));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the bytes of one, or sends them again.
async fn show(
    bus: &mut CareBusClient<Channel>,
    id: &str,
    replay_at: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let request = v1::ReadQuarantinedRequest { event_id: id.to_owned() };
    let kept = bus.read_quarantined(own(request)).await.map_err(|status| refused(&status))?;
    let message = kept.into_inner().message.unwrap_or_default();
    match replay_at {
        None => std::io::stdout().write_all(&message.raw)?,
        Some(address) => return replay(&message, address).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// How long the answer to a message may take.
const ANSWER_WAIT: Duration = Duration::from_mins(1);

/// Sends a message as its sender would. What it said may be taken now; it stays in quarantine
/// as what came in once.
async fn replay(message: &v1::MessageQuarantined, address: &str) -> anyhow::Result<ExitCode> {
    if message.parts > 1 {
        anyhow::bail!(
            "it is kept in {} parts: print each, join them, and send them with an HL7 tool",
            message.parts
        );
    }
    if message.media_type != "application/hl7-v2" {
        anyhow::bail!("it is no HL7 message: import it again from where it came");
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
    let is_good = answer.field("MSA", 1).raw().ends_with('A');
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn line(event: &v1::Event, message: &v1::MessageQuarantined) -> String {
    let v1::MessageQuarantined { origin, reason, part, parts, raw_length: bytes, .. } = message;
    let id = &event.event_id;
    let part = if *parts > 1 { format!("  part {part} of {parts}") } else { String::new() };
    format!("{id}  {bytes} bytes  {origin}{part}  {reason}")
}
