//! `tsunagi import fhir`: takes in files of FHIR resources through the bus's own door.
//!
//! Three readings of the files, so that they may stand in any order: patients and whatever
//! others refer to; encounters; care teams. Each reading is over when all its answers are in.

mod again;
mod answers;
pub(crate) mod hsds;
mod known;
mod odd;
mod reading;
mod report;
mod session;
mod stays;
mod withdrawn;
mod work;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tsunagi_chassis::Config;
use tsunagi_gateway::fhir::{Files, Ids};

use crate::client::Connection;
use crate::output::{leave_a_line, say};
use report::Report;
use work::{Stage, Work};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Files, or folders whose `.ndjson` and `.json` files are read
    #[arg(required = true)]
    paths: Vec<PathBuf>,

    /// The system that exported these files. Resource ids are unique within it, so give every
    /// sending system a name of its own
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// The ids of organisations are this system's own: another system's of the same id is another
    /// organisation. Say so from the first import on, or never; codes of medical institutions
    /// (医療機関コード) are everybody's
    #[arg(long, requires = "source")]
    own_organisations: bool,

    /// The base URL of the system that exported these files, such as
    /// `https://ehr.example/fhir`: absolute references with this base lead to its resources
    #[arg(long, value_name = "URL")]
    base: Option<String>,

    /// Write what was refused, could not be read, or was taken and not kept or not used to this file,
    /// one JSON object a line: ids and reasons
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The name of the sending system where none is given.
const SOURCE: &str = "fhir";

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let source = options.source.as_deref().unwrap_or(SOURCE);
    if !tsunagi_domain::id::is_code(source) {
        anyhow::bail!("--source must be 1 to 64 ASCII letters, digits, `.`, `_`, `:` or `-`");
    }
    let Files { to_read: files, not_read, .. } = Files::under(&options.paths)?;
    if files.is_empty() && not_read.is_empty() {
        anyhow::bail!("there are no .ndjson or .json files in what was named");
    }
    let bytes = files.iter().map(|file| reading::bytes(file)).sum();
    let connection = Connection::open(config, server).await?;
    let report = Report::new(options.report.as_deref())?;
    let is_named = options.source.is_some();
    let mut work = Work::new(connection.channel.clone(), Ids::new(source), is_named, report);
    work.kept_bytes = config.fhir.kept_bytes;
    if options.own_organisations {
        work.directory.keep_apart(source);
    }
    if let Some(base) = &options.base {
        work.directory.add_base(base);
    }
    for not_read in not_read {
        work.note_not_read(not_read)?;
    }
    let began = Instant::now();
    let all: BTreeSet<PathBuf> = files.iter().cloned().collect();
    let progress = progress(bytes);
    for stage in Stage::ALL {
        // Later readings leave out the files in which the first found nothing for them.
        let wanted: Vec<PathBuf> =
            files.iter().filter(|file| work.is_wanted(file, stage)).cloned().collect();
        progress.set_message(stage.words());
        progress.set_position(0);
        work.read(stage, wanted, &progress).await.context(
            "the import stopped before its end: run it again when the server is there; nothing is stored twice",
        )?;
    }
    progress.finish_and_clear();
    let report = work.finish()?;
    report.print(all.len(), began.elapsed());
    connection.close().await?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn progress(bytes: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    let style = ProgressStyle::with_template("{msg:12} {bar:40} {bytes}/{total_bytes}  {elapsed}");
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// A blank line and a heading, to tell the parts of the output from each other.
fn heading(words: &str) {
    leave_a_line();
    say(words);
}
