//! What came of an import: counted by type of resource, and told one by one where something
//! was not taken.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tsunagi_gateway::fhir::door::Remark;
use tsunagi_gateway::fhir::{NotMapped, Origin};
use tsunagi_proto::v1;

use super::heading;
use crate::output::say;

/// Refusals shown in the terminal; `--report` has all of them.
const SHOWN_MAX: usize = 20;

/// What came of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    Repeated,
    Refused {
        reason: String,
        message: String,
    },
    /// Kept in quarantine.
    Unreadable {
        reason: String,
    },
}

impl From<v1::Refused> for Outcome {
    fn from(v1::Refused { reason, message, .. }: v1::Refused) -> Self {
        Self::Refused { reason, message }
    }
}

impl From<NotMapped> for Outcome {
    fn from(NotMapped { reason, message, .. }: NotMapped) -> Self {
        Self::Refused { reason: reason.to_owned(), message }
    }
}

#[derive(Debug, Default)]
struct Counts {
    taken: u64,
    repeated: u64,
    refused: u64,
    unreadable: u64,
}

pub(super) struct Report {
    by_type: BTreeMap<String, Counts>,
    not_used: BTreeMap<String, u64>,
    /// The same by file, for the report.
    not_used_of: BTreeMap<(PathBuf, String), u64>,
    /// Resources that were taken with a remark, by its reason.
    remarks: BTreeMap<&'static str, u64>,
    events: u64,
    shown: Vec<String>,
    /// Refusals and unreadable items altogether.
    not_taken: u64,
    file: Option<BufWriter<File>>,
}

/// A line of the report file. `number` is the line or the Bundle's entry, 0 for the whole file.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    number: u64,
    resource: &'a str,
    reason: &'a str,
    message: &'a str,
}

impl Report {
    pub(super) fn new(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path.map(|path| {
            let file = File::create(path);
            file.with_context(|| format!("cannot write {}", path.display())).map(BufWriter::new)
        });
        Ok(Self {
            by_type: BTreeMap::new(),
            not_used: BTreeMap::new(),
            not_used_of: BTreeMap::new(),
            remarks: BTreeMap::new(),
            events: 0,
            shown: Vec::new(),
            not_taken: 0,
            file: file.transpose()?,
        })
    }

    /// Notes what came of a resource. `resource` is its type and id, or its type alone.
    pub(super) fn note(
        &mut self,
        origin: &Origin,
        resource: &str,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        let resource_type = resource.split('/').next().unwrap_or(resource);
        let counts = self.by_type.entry(resource_type.to_owned()).or_default();
        let (reason, message) = match outcome {
            Outcome::Taken => {
                counts.taken += 1;
                return Ok(());
            }
            Outcome::Repeated => {
                counts.repeated += 1;
                return Ok(());
            }
            Outcome::Refused { reason, message } => {
                counts.refused += 1;
                (reason.as_str(), message.as_str())
            }
            Outcome::Unreadable { reason } => {
                counts.unreadable += 1;
                ("UNREADABLE", reason.as_str())
            }
        };
        self.not_taken += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(format!("{origin}  {resource}  {reason}: {message}"));
        }
        self.write(origin, resource, reason, message)
    }

    /// The same with what is to be told of the resource if it was taken.
    pub(super) fn note_with(
        &mut self,
        (origin, resource): (&Origin, &str),
        outcome: &Outcome,
        remarks: &[Remark],
    ) -> anyhow::Result<()> {
        if matches!(outcome, Outcome::Taken | Outcome::Repeated) {
            for Remark { reason, message } in remarks {
                *self.remarks.entry(reason).or_default() += 1;
                self.write(origin, resource, reason, message)?;
            }
        }
        self.note(origin, resource, outcome)
    }

    fn write(
        &mut self,
        origin: &Origin,
        resource: &str,
        reason: &str,
        message: &str,
    ) -> anyhow::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let (path, number) = (origin.file.display().to_string(), origin.number);
        let line = Line { file: path, number, resource, reason, message };
        serde_json::to_writer(&mut *file, &line)?;
        file.write_all(b"\n")?;
        Ok(())
    }

    /// Notes a resource of a type that says nothing to the timeline.
    pub(super) fn note_not_used(&mut self, origin: &Origin, resource_type: &str) {
        self.note_not_used_times(resource_type, 1);
        let of = (origin.file.clone(), resource_type.to_owned());
        *self.not_used_of.entry(of).or_default() += 1;
    }

    pub(super) fn note_not_used_times(&mut self, resource_type: &str, times: u64) {
        *self.not_used.entry(resource_type.to_owned()).or_default() += times;
    }

    /// Notes events that were stored now.
    pub(super) fn note_events(&mut self, events: u64) {
        self.events += events;
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        for ((file, resource_type), count) in std::mem::take(&mut self.not_used_of) {
            let message =
                format!("{count} of this file: nothing is made of them, and they are not kept");
            self.write(&Origin { file, number: 0 }, &resource_type, "NOT_USED", &message)?;
        }
        if let Some(file) = &mut self.file {
            file.flush().context("cannot write the report")?;
        }
        Ok(())
    }

    /// Whether everything was taken or had been taken before.
    pub(super) fn is_clean(&self) -> bool {
        self.not_taken == 0
    }

    pub(super) fn print(&self, files: usize, took: Duration) {
        say(format_args!(
            "{:<20}{:>10}{:>10}{:>10}{:>12}",
            "", "taken", "repeated", "refused", "unreadable"
        ));
        for (resource_type, counts) in &self.by_type {
            let Counts { taken, repeated, refused, unreadable } = counts;
            say(format_args!(
                "{resource_type:<20}{taken:>10}{repeated:>10}{refused:>10}{unreadable:>12}"
            ));
        }
        let not_used: Vec<String> =
            self.not_used.iter().map(|(of, count)| format!("{of} {count}")).collect();
        if !not_used.is_empty() {
            heading("Not used:");
            say(format_args!("  {}", not_used.join(", ")));
        }
        if !self.remarks.is_empty() {
            heading("Taken with a remark (`--report FILE` has them all):");
            for (reason, count) in &self.remarks {
                say(format_args!("  {reason} {count}"));
            }
        }
        if !self.shown.is_empty() {
            heading("Not taken:");
            for line in &self.shown {
                say(format_args!("  {line}"));
            }
            let more = self.not_taken.saturating_sub(u64::try_from(self.shown.len()).unwrap_or(0));
            if more > 0 {
                say(format_args!("  … and {more} more: `--report FILE` writes them all"));
            }
        }
        let seconds = took.as_secs_f64();
        let events = self.events;
        heading(&format!("{events} events stored from {files} files in {seconds:.1} s"));
    }
}
