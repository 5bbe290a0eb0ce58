//! `tsunagi verify` and `tsunagi key`: whether the log still says what was signed, and with
//! which key.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tsunagi_chassis::Config;
use tsunagi_event_store::evidence::audit::{self, Report, public_key};
use tsunagi_event_store::evidence::note::PublicKey;

use crate::client::needs_region;
use crate::output::{complain, say};

/// What the exit code is when something is wrong with the log.
const WRONG: u8 = 2;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Verify only these segments, such as 3 or 3-7
    #[arg(long, value_name = "FIRST-LAST", value_parser = segments)]
    segments: Option<(u32, u32)>,

    /// Compare with the checkpoints in this file too: a copy of checkpoints.txt, or of some of
    /// it, that was kept where nobody who can write the data folder can write
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// The region's public key, as `tsunagi key` printed it where it can be trusted; by default
    /// that of the data folder
    #[arg(long, value_name = "PUB")]
    key: Option<PublicKey>,
}

fn segments(text: &str) -> Result<(u32, u32), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok().zip(last.parse().ok());
    let is_range = |(first, last): &(u32, u32)| *first >= 1 && first <= last;
    range.filter(is_range).ok_or_else(|| "say segments as 3 or as 3-7".to_owned())
}

pub(crate) fn run(
    config: &Config,
    server: Option<&str>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    needs_region(config, server)?;
    let kept = options.checkpoint.as_ref().map(|path| anyhow::Ok((path.clone(), read(path)?)));
    let options = audit::Options {
        segments: options.segments,
        key: options.key.clone(),
        kept: kept.transpose()?,
    };
    let report = audit::verify(&config.data, &options)?;
    tell(&report);
    if report.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for problem in &report.problems {
        complain(&anyhow::anyhow!("{problem}"));
    }
    Ok(ExitCode::from(WRONG))
}

fn tell(report: &Report) {
    let Report { key, segments, events, bytes, matched, uncovered, problems } = report;
    say(format_args!("key          {key}"));
    say(format_args!("read         {segments} segments, {events} events, {bytes} bytes"));
    say(format_args!("checkpoints  {matched} match; {uncovered} events are newer than the newest"));
    let found = problems.len();
    if found == 0 && *matched == 0 {
        say("All checksums match. Nothing was signed yet that could be compared.");
    } else if found == 0 {
        say("All checksums match, and the log is what was signed.");
    } else {
        say(format_args!("{found} problems were found."));
    }
}

/// Reads a file that the command line names.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Prints the region's public key.
pub(crate) fn key(config: &Config, server: Option<&str>) -> anyhow::Result<ExitCode> {
    needs_region(config, server)?;
    say(public_key(&config.data)?);
    Ok(ExitCode::SUCCESS)
}
