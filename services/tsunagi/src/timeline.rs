//! `tsunagi timeline`: one patient's timeline, to be read by a person.

mod glance;
mod printer;
mod said;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tonic::transport::Channel;
use tsunagi_chassis::Config;
use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::watch_timeline_response::Frame;

use crate::client::{Connection, own, refused};
use crate::output::say;
use printer::Printer;

pub(crate) use glance::{names, state, state_words};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The patient id, an identifier as `SYSTEM|VALUE`, or an identifier's value alone
    patient: String,

    /// The language of the sentences
    #[arg(long, value_enum, default_value_t = Language::Ja)]
    lang: Language,

    /// Show what happened last first
    #[arg(long)]
    newest_first: bool,

    /// Show what the record said at this time, such as 2026-05-02T09:00:00+09:00 or 2026-05-02
    #[arg(long, value_name = "TIME")]
    as_known_at: Option<String>,

    /// Only entries of these families, such as home-care or social-prescribing
    #[arg(long, value_name = "FAMILY")]
    family: Vec<String>,

    /// Only entries by these roles, such as visiting-nurse
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,

    /// Only entries of the episode with this id, as `--details` shows it
    #[arg(long, value_name = "ID")]
    episode: Option<String>,

    /// Only what happened at this time or later, such as 2026-05-02
    #[arg(long, value_name = "TIME")]
    from: Option<String>,

    /// Only what happened at this time or earlier
    #[arg(long, value_name = "TIME")]
    to: Option<String>,

    /// Show of each entry who said it and for whom, by which door it came, when it happened and was
    /// recorded, its ids, and all that was written: questions, answers, decisions, reasons
    #[arg(long)]
    details: bool,

    /// Go on showing what is recorded, until Ctrl-C
    #[arg(long, conflicts_with = "as_known_at")]
    follow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// 日本語
    Ja,
    /// English
    En,
    /// Both, one under the other
    Both,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let zone = zone(config)?;
    let as_known_at = known_at(options.as_known_at.as_deref(), &zone)?;
    let connection = Connection::to_read(config, server).await?;
    let mut client = TimelineClient::new(connection.channel.clone());
    let mut printer = Printer::new(options.lang, zone);
    printer.details = options.details;
    let shown = show(&mut client, options, as_known_at, &mut printer).await;
    connection.close().await?;
    shown
}

async fn show(
    client: &mut TimelineClient<Channel>,
    options: &Options,
    as_known_at: Option<Timestamp>,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let Some(patient_id) = find(client, &options.patient).await? else {
        return Ok(ExitCode::from(2));
    };
    let time = |text: &Option<String>| {
        let read = |text: &String| {
            CareTime::parse(text, &printer.zone).with_context(|| format!("`{text}`"))
        };
        text.as_ref().map(read).transpose()
    };
    let (from, to) = (time(&options.from)?, time(&options.to)?);
    let shown = Shown { families: families(&options.family)?, options, from, to };
    let order = if options.newest_first { v1::Order::NewestFirst } else { v1::Order::OldestFirst };
    let mut request = v1::ReadTimelineRequest {
        patient_id: patient_id.clone(),
        order: order.into(),
        page_size: 1000,
        as_known_at: as_known_at.map(tsunagi_bus::handler::to_wire),
        families: shown.families.clone(),
        roles: options.role.clone(),
        episode_id: options.episode.clone().unwrap_or_default(),
        from_at: options.from.clone().unwrap_or_default(),
        to_at: options.to.clone().unwrap_or_default(),
        ..v1::ReadTimelineRequest::default()
    };
    let cursor = loop {
        let page = client.read_timeline(own(request.clone())).await.map_err(|s| refused(&s))?;
        let page = page.into_inner();
        if request.page_token.is_empty()
            && let Some(patient) = &page.patient
        {
            printer.head(patient);
            page.told_while_merged.iter().for_each(|told| printer.told_while_merged(told));
        }
        for entry in &page.entries {
            printer.entry(entry);
        }
        if page.next_page_token.is_empty() {
            break page.cursor;
        }
        request.page_token = page.next_page_token;
    };
    printer.legend();
    if options.follow {
        follow(client, patient_id, cursor, &shown, printer).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Which entries are asked for: all of no family and no role.
struct Shown<'a> {
    families: Vec<i32>,
    options: &'a Options,
    from: Option<CareTime>,
    to: Option<CareTime>,
}

impl Shown<'_> {
    fn has(&self, entry: &v1::TimelineEntry, zone: &Zone) -> bool {
        let Options { role: roles, episode, .. } = self.options;
        let role = entry.actor.as_ref().map_or("", |actor| actor.role.as_str());
        let at = CareTime::parse(&entry.occurred_at, zone).ok();
        (self.families.is_empty() || self.families.contains(&entry.family))
            && (roles.is_empty() || roles.iter().any(|of| of == role))
            && episode.as_ref().is_none_or(|id| id.eq_ignore_ascii_case(&entry.episode_id))
            && at.is_none_or(|at| {
                self.from.is_none_or(|from| at.earliest() >= from.earliest())
                    && self.to.is_none_or(|to| at.earliest() <= to.latest())
            })
    }
}

/// The families of these names.
fn families(names: &[String]) -> anyhow::Result<Vec<i32>> {
    let family = |name: &String| {
        let code = format!("FAMILY_{}", name.replace('-', "_").to_uppercase());
        let family = v1::Family::from_str_name(&code);
        let known = "identity, team, consent, encounter, discharge-planning, home-care, watch, social-prescribing, documents, delivery, record";
        family.map(i32::from).with_context(|| format!("`{name}` is no family: there are {known}"))
    };
    names.iter().map(family).collect()
}

async fn follow(
    client: &mut TimelineClient<Channel>,
    patient_id: String,
    cursor: String,
    shown: &Shown<'_>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let request = v1::WatchTimelineRequest { patient_id, cursor };
    let frames = client.watch_timeline(own(request)).await.map_err(|status| refused(&status))?;
    let mut frames = frames.into_inner();
    loop {
        let frame = tokio::select! {
            // Whoever presses it has seen enough.
            pressed = tokio::signal::ctrl_c() => return pressed.context("cannot listen to Ctrl-C"),
            frame = frames.message() => frame.map_err(|status| refused(&status))?,
        };
        match frame.and_then(|frame| frame.frame) {
            Some(Frame::Entry(entry)) if shown.has(&entry, &printer.zone) => printer.entry(&entry),
            Some(Frame::Entry(_) | Frame::CaughtUp(_) | Frame::Heartbeat(_)) => {}
            None => return Ok(()),
        }
    }
}

/// The patient that the command line names. None, with a word to the user, if that is not one.
async fn find(client: &mut TimelineClient<Channel>, named: &str) -> anyhow::Result<Option<String>> {
    if PatientId::parse(named).is_ok() {
        return Ok(Some(named.to_owned()));
    }
    if let Some((system, value)) = named.rsplit_once('|') {
        let identifier = v1::Identifier { system: system.to_owned(), value: value.to_owned() };
        let request = v1::FindPatientRequest { identifier: Some(identifier), as_known_at: None };
        let found = client.find_patient(own(request)).await.map_err(|status| refused(&status))?;
        return Ok(found.into_inner().patient.map(|patient| patient.patient_id));
    }
    let request = v1::ListPatientsRequest {
        identifier_value: named.to_owned(),
        ..v1::ListPatientsRequest::default()
    };
    let found = client.list_patients(own(request)).await.map_err(|status| refused(&status))?;
    let patients = found.into_inner().patients;
    match patients.as_slice() {
        [patient] => Ok(Some(patient.patient_id.clone())),
        [] => bail!(
            "no patient has an identifier `{named}`: give a patient id, or an identifier as SYSTEM|VALUE; `tsunagi patients` lists who is there"
        ),
        several => {
            say(format_args!("Several patients have an identifier `{named}`:"));
            for patient in several {
                say(format_args!("{}  {}", patient.patient_id, names(patient)));
            }
            Ok(None)
        }
    }
}

/// The zone by whose clock times are told.
pub(crate) fn zone(config: &Config) -> anyhow::Result<Zone> {
    Zone::named(&config.zone).context("the time zone is unknown")
}

/// As of when somebody wants to know what the record said; none for now.
pub(crate) fn known_at(text: Option<&str>, zone: &Zone) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    // What was known on a day is what was known at its end.
    let time = CareTime::parse(text, zone).with_context(|| format!("`{text}`"))?;
    Ok(Some(time.latest()))
}
