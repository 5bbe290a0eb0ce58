//! `tsunagi import hsds`: takes in a directory of community resources, through the desk that keeps
//! the region's.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tsunagi_chassis::Config;
use tsunagi_domain::{CareTime, Zone};
use tsunagi_gateway::hsds::{Mapped, Tables, resources};
use tsunagi_proto::v1;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use uuid::Uuid;

use super::report::{Outcome, Report};
use crate::client::{Connection, reason, refused, signed};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Files, or folders whose `.csv` and `.json` files are read
    #[arg(required = true)]
    paths: Vec<PathBuf>,

    /// The directory that they were exported from, in whose name its resources are said. Ids are
    /// unique within it, so give every directory a name of its own
    #[arg(long, value_name = "NAME", default_value = "hsds")]
    source: String,

    /// The ids of organisations are this directory's own: another system's of the same id is another
    /// organisation. Say so from the first import on, or never
    #[arg(long)]
    own_organisations: bool,

    /// Write what was refused or could not be read to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

struct Work<'a> {
    source: &'a str,
    directory: DirectoryClient<Channel>,
    desk: LinkWorkerClient<Channel>,
    now: String,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let source = options.source.as_str();
    if !tsunagi_domain::id::is_code(source) {
        anyhow::bail!("--source must be 1 to 64 ASCII letters, digits, `.`, `_`, `:` or `-`");
    }
    let began = Instant::now();
    let (tables, files, not_read) =
        Tables::read(&options.paths).context("cannot read what was named")?;
    if files == 0 {
        anyhow::bail!("there are no .csv or .json files in what was named");
    }
    let mut report = Report::new(options.report.as_deref())?;
    for file in not_read {
        report.note(&file.origin, "file", &Outcome::Unreadable { reason: file.reason })?;
    }
    let (mapped, rows_refused, not_used) =
        resources(&tables, source, options.own_organisations.then_some(source));
    for row in rows_refused {
        let outcome = Outcome::Refused { reason: row.reason.to_owned(), message: row.message };
        report.note(&row.origin, &row.row, &outcome)?;
    }
    for (table, rows) in not_used {
        report.note_not_used_times(&table, u64::try_from(rows).unwrap_or(u64::MAX));
    }
    let connection = Connection::open(config, server).await?;
    let mut work = Work {
        source,
        directory: DirectoryClient::new(connection.channel.clone()),
        desk: LinkWorkerClient::new(connection.channel.clone()),
        now: Timestamp::now().to_string(),
    };
    for resource in mapped {
        let name = format!("service/{}", resource.id);
        let origin = resource.origin.clone();
        let outcome = work.take(resource).await.context(
            "the import stopped before its end: run it again when the server is there; nothing is stored twice",
        )?;
        report.note_events(u64::from(outcome == Outcome::Taken));
        report.note(&origin, &name, &outcome)?;
    }
    report.finish()?;
    report.print(files, began.elapsed());
    connection.close().await?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

impl Work<'_> {
    fn signed<T>(&self, message: T) -> Request<T> {
        signed(message, self.source, "system", "hsds")
    }

    async fn take(&mut self, mapped: Mapped) -> anyhow::Result<Outcome> {
        let request = v1::ReadResourceRequest {
            resource_id: mapped.resource_id.to_string(),
            ..v1::ReadResourceRequest::default()
        };
        let known = self.directory.read_resource(self.signed(request)).await;
        let known = match known {
            Ok(known) => known.into_inner().entry,
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => return Err(refused(&status)),
        };
        let Some(known) = known else {
            let at = self.said_at(&mapped, None);
            return self.say(&mapped, at, 0).await;
        };
        if known.resource.as_ref() == Some(&mapped.resource) && !known.is_withdrawn {
            return Ok(Outcome::Repeated);
        }
        let by_us = known.by.as_ref().is_some_and(|by| by.organisation == self.source);
        let refusal = |reason: &str, message: &str| Outcome::Refused {
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if known.is_withdrawn {
            let message = "it was withdrawn from the region's directory: if it is offered again, publish it there again first";
            return Ok(refusal("WITHDRAWN_HERE", message));
        }
        let since = time(&known.since_at);
        let is_older = since
            .zip(time(&mapped.last_modified))
            .is_some_and(|(since, said)| said.earliest() < since.earliest());
        if is_older && !by_us {
            let message = "somebody changed it in the region's directory after its last_modified: look at both, and change there or here what is wrong";
            return Ok(refusal("CHANGED_SINCE", message));
        }
        let at = self.said_at(&mapped, since);
        self.say(&mapped, at, known.version).await
    }

    /// When it was changed, as the directory says; if it says nothing that can be, now.
    fn said_at(&self, mapped: &Mapped, since: Option<CareTime>) -> String {
        let said = time(&mapped.last_modified).filter(|said| {
            said.latest() <= Timestamp::now()
                && since.is_none_or(|since| said.earliest() > since.earliest())
        });
        said.map_or_else(|| self.now.clone(), |_| mapped.last_modified.clone())
    }

    /// Publishes it, or says what changed since the `version`th thing that was said of it.
    async fn say(&mut self, mapped: &Mapped, at: String, version: u64) -> anyhow::Result<Outcome> {
        let content = Uuid::new_v5(&mapped.resource_id.uuid(), &mapped.resource.encode_to_vec());
        let event_id = Uuid::new_v5(&content, version.to_string().as_bytes());
        let context = Some(v1::ResourceContext {
            event_id: event_id.to_string(),
            resource_id: mapped.resource_id.to_string(),
            occurred_at: at,
            expected_version: Some(version),
            ..v1::ResourceContext::default()
        });
        let event = Some(mapped.resource.clone());
        let said = if version == 0 {
            let request = self.signed(v1::PublishResourceRequest { context, event });
            self.desk.publish_resource(request).await
        } else {
            let request = self.signed(v1::ChangeResourceRequest { context, event });
            self.desk.change_resource(request).await
        };
        match said {
            Ok(receipt) if receipt.get_ref().repeated => Ok(Outcome::Repeated),
            Ok(_) => Ok(Outcome::Taken),
            Err(status) if is_about_it(&status) => {
                let message = status.message().to_owned();
                Ok(Outcome::Refused { reason: reason(&status), message })
            }
            Err(status) => Err(refused(&status)),
        }
    }
}

/// Whether a refusal is about the resource, and not about the server.
fn is_about_it(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
    )
}

fn time(text: &str) -> Option<CareTime> {
    CareTime::parse(text, &Zone::utc()).ok()
}
