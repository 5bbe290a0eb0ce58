//! `tsunagi verify` and `tsunagi key`: whether the log still says what was signed, and with
//! which key.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tsunagi_chassis::Config;
use tsunagi_event_store::evidence::accept::accept;
use tsunagi_event_store::evidence::audit::{self, Report, public_key};
use tsunagi_event_store::evidence::note::PublicKey;
use tsunagi_event_store::{has_log, has_region};

use crate::client::{needs_region, reads_here};
use crate::output::{complain, say};

/// What the exit code is when something is wrong with the log.
const WRONG: u8 = 2;
/// Problems that are listed, each in a line.
const LINES_MAX: usize = 20;

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

    /// Sign that what was found without anything signed of it is right as it is, and say so from
    /// then on instead of calling it wrong. Only if nothing else is wrong, and with the server
    /// stopped
    #[arg(long, conflicts_with_all = ["segments", "key"])]
    accept_unsigned: bool,
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
    reads_here(server)?;
    let accepts = options.accept_unsigned;
    let kept = options.checkpoint.as_ref().map(|path| anyhow::Ok((path.clone(), read(path)?)));
    let options = audit::Options {
        segments: options.segments,
        key: options.key.clone(),
        kept: kept.transpose()?,
        newest_alone: false,
    };
    if !has_region(&config.data) && !has_log(&config.data) {
        needs_region(config, server)?;
    }
    let report = match audit::verify(&config.data, &options) {
        Ok(report) => report,
        Err(error) if error.is_finding() => {
            complain(&error.into());
            return Ok(ExitCode::from(WRONG));
        }
        Err(error) => return Err(error.into()),
    };
    tell(&report);
    // With one problem, it may be the one to accept.
    if accepts && report.problems.len() < 2 {
        let to = accept(&config.data, &report)?;
        say(format_args!("Accepted up to segment {} offset {}.", to.segment, to.offset));
        return Ok(ExitCode::SUCCESS);
    }
    if report.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    complain_of(&report);
    if accepts {
        complain(&anyhow::anyhow!(
            "nothing was accepted: something else is wrong, and comes first"
        ));
    }
    Ok(ExitCode::from(WRONG))
}

fn tell(report: &Report) {
    let Report { key, segments, events, bytes, matched, uncovered, accepted, problems, .. } =
        report;
    say(format_args!("key          {key}"));
    say(format_args!("read         {segments} segments, {events} events, {bytes} bytes"));
    say(format_args!("checkpoints  {matched} match; {uncovered} events are newer than the newest"));
    if let Some(to) = accepted {
        let (segment, offset) = (to.segment, to.offset);
        say(format_args!(
            "accepted     what was recorded before segment {segment} offset {offset}, though it was not signed then"
        ));
    }
    let found = problems.len();
    if found == 0 && *matched == 0 {
        say("All checksums match. Nothing was signed yet that could be compared.");
    } else if found == 0 {
        say("All checksums match, and the log is what was signed.");
    } else {
        say(format_args!("{found} problems were found."));
    }
}

/// Tells what is wrong: each cause in a line, and how much follows from them.
fn complain_of(report: &Report) {
    let Report { problems, follow_on, .. } = report;
    for problem in problems.iter().take(LINES_MAX) {
        complain(&anyhow::anyhow!("{problem}"));
    }
    if let Some(more @ 1..) = problems.len().checked_sub(LINES_MAX) {
        complain(&anyhow::anyhow!("{more} more problems of this kind are not listed"));
    }
    if *follow_on > 0 {
        complain(&anyhow::anyhow!(
            "{follow_on} checkpoints do not match or could not be compared: that follows from the above; mend it, and verify again"
        ));
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
