//! `tsunagi quarantine`: what came in and could not be read.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use prost::Message as _;
use tsunagi_chassis::Config;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::client::{Connection, own, refused};
use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print this one, byte for byte, instead of the list
    id: Option<String>,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let connection = Connection::to_read(config, server).await?;
    let mut bus = CareBusClient::new(connection.channel.clone());
    let request = v1::SubscribeRequest {
        type_prefixes: vec!["care.system.message_quarantined.".to_owned()],
        ..v1::SubscribeRequest::default()
    };
    let mut frames = bus.subscribe(own(request)).await.map_err(|s| refused(&s))?.into_inner();
    let mut found = false;
    while let Some(frame) = frames.message().await.map_err(|status| refused(&status))? {
        let event = match frame.frame {
            Some(Frame::Event(stored)) => stored.event.unwrap_or_default(),
            Some(Frame::CaughtUp(_)) => break,
            Some(Frame::Heartbeat(_)) | None => continue,
        };
        let message = v1::MessageQuarantined::decode(event.payload.as_slice())
            .context("the server sent what is no quarantined message")?;
        match &options.id {
            None => say(line(&event, &message)),
            Some(id) if *id == event.event_id => {
                std::io::stdout().write_all(&message.raw)?;
                found = true;
                break;
            }
            Some(_) => {}
        }
    }
    drop(frames);
    connection.close().await?;
    if let (Some(id), false) = (&options.id, found) {
        anyhow::bail!(
            "nothing in quarantine has the id {id}: `tsunagi quarantine` lists what there is"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn line(event: &v1::Event, message: &v1::MessageQuarantined) -> String {
    let (id, bytes) = (&event.event_id, message.raw.len());
    let v1::MessageQuarantined { origin, reason, part, parts, .. } = message;
    let part = if *parts > 1 { format!("  part {part} of {parts}") } else { String::new() };
    format!("{id}  {bytes} bytes  {origin}{part}  {reason}")
}
