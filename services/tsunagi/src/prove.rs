//! `tsunagi prove` and `tsunagi check-proof`: that one event is in the log as it was signed,
//! shown to somebody who has neither server nor data folder.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::StreamId;
use tsunagi_chassis::Config;
use tsunagi_domain::PatientId;
use tsunagi_event_store::evidence::growth::{self, Growth};
use tsunagi_event_store::evidence::note::PublicKey;
use tsunagi_event_store::evidence::proof::{Proof, Proved};
use tsunagi_event_store::evidence::prove::{prove, prove_growth};
use tsunagi_proto::v1;
use uuid::Uuid;

use crate::client::needs_region;
use crate::output::say;
use crate::verify::read;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The event's id
    #[arg(required_unless_present = "since")]
    event_id: Option<Uuid>,

    /// Prove instead that the log only grew since the checkpoints in this file were signed: a
    /// copy of checkpoints.txt, or of some of it. Contains nothing of any event
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event_id", "patient"])]
    since: Option<PathBuf>,

    /// The patient whom the event is about, if several events have this id
    #[arg(long, value_name = "ID")]
    patient: Option<Uuid>,

    /// Where to write the proof; by default `EVENT_ID.tlog-proof`, or `growth.tlog-proof`, in
    /// the working folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// The proof
    file: PathBuf,

    /// The region's public key, as `tsunagi key` printed it; not out of the proof's own sender's
    /// hands, if it is the sender whom you check
    #[arg(long, value_name = "PUB")]
    key: PublicKey,

    /// Check that the log only grew since the checkpoints in this file were signed: the same
    /// ones that the proof was made with
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    since: Option<PathBuf>,

    /// Write the event's record here, byte for byte as it is stored (a `care.v1.Event`)
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub(crate) fn run(
    config: &Config,
    server: Option<&str>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    needs_region(config, server)?;
    let by_name = |name: &str| PathBuf::from(format!("{name}.tlog-proof"));
    let path = |name: &str| options.out.clone().unwrap_or_else(|| by_name(name));
    if let Some(since) = &options.since {
        let proofs = prove_growth(&config.data, &read(since)?)?;
        let text: String = proofs.iter().map(Growth::to_text).collect();
        let path = path("growth");
        write(&path, text.as_bytes())?;
        say(path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let event = options.event_id.unwrap_or_default();
    let patient = options.patient.map(|id| StreamId::Patient(PatientId::new(id)));
    let proof = prove(&config.data, event.into_bytes(), patient)?;
    let path = path(&event.to_string());
    write(&path, proof.to_text().as_bytes())?;
    say(format_args!(
        "{}: it contains the event itself; keep it as you keep records",
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn check(options: &CheckOptions) -> anyhow::Result<ExitCode> {
    let path = options.file.display();
    let text = String::from_utf8(read(&options.file)?);
    let text = text.with_context(|| format!("{path} is not text"))?;
    if let Some(since) = &options.since {
        let grown = growth::check(&text, &read(since)?, &options.key);
        for (old, new) in grown.with_context(|| format!("{path} proves nothing"))? {
            let (from, to) = (old.made_at, new.made_at);
            let (slot, before, now) = (old.slot, old.size, new.size);
            say(format_args!("slot {slot}: {before} events signed at {from}, {now} at {to}"));
        }
        say("The log only grew.");
        return Ok(ExitCode::SUCCESS);
    }
    let checked = Proof::from_text(&text).and_then(|proof| proof.check(&options.key));
    let proved = checked.with_context(|| format!("{path} proves nothing"))?;
    tell(&proved);
    if let Some(path) = &options.record {
        write(path, &proved.leaf.record)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(proved: &Proved) {
    let Proved { leaf, checkpoint } = proved;
    let event = v1::Event::decode(leaf.record.clone()).unwrap_or_default();
    let recorded_at = Timestamp::from_microsecond(leaf.recorded_at_us).unwrap_or_default();
    let stream = StreamId::from_parts(leaf.stream_kind, leaf.stream_key);
    let stream = stream.map(|stream| stream.to_string()).unwrap_or_default();
    let (n, size, made_at) = (leaf.n, checkpoint.size, checkpoint.made_at);
    say(format_args!("event     {} ({})", Uuid::from_bytes(leaf.event), event.r#type));
    say(format_args!("stream    {stream}, version {}", leaf.version));
    say(format_args!("recorded  {recorded_at}"));
    say(format_args!("signed    {made_at}, as event {n} of {size} in slot {}", leaf.slot));
    say("The event is in the log as it was signed.");
}

/// Writes a new file that its owner alone can read: it says things of a patient.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    let is_there = written.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
    let mend = if is_there { ": name another file, or move that one away" } else { "" };
    written.with_context(|| format!("cannot write {}{mend}", path.display()))
}
