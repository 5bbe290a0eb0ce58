//! `tsunagi timeline`: one patient's timeline, to be read by a person.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use tonic::transport::Channel;
use tsunagi_chassis::Config;
use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_event_store::timeline::wording::{local_time, place, role_words};
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::watch_timeline_response::Frame;

use crate::client::{Connection, own, refused};
use crate::output::{leave_a_line, say};

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
    /// recorded, and its ids
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
    let as_known_at = options.as_known_at.as_deref().map(|text| moment(text, &zone)).transpose()?;
    let connection = Connection::to_read(config, server).await?;
    let mut client = TimelineClient::new(connection.channel.clone());
    let mut printer = Printer { details: options.details, ..Printer::new(options.lang, zone) };
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

/// The moment that somebody names.
pub(crate) fn moment(text: &str, zone: &Zone) -> anyhow::Result<Timestamp> {
    // What was known on a day is what was known at its end.
    let time = CareTime::parse(text, zone).with_context(|| format!("`{text}`"))?;
    Ok(time.latest())
}

/// What is recorded longer than this after it happened is marked.
const LATE_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Prints a timeline line by line, and numbers the episodes that it meets.
struct Printer {
    language: Language,
    zone: Zone,
    episodes: Vec<String>,
    day: String,
    /// Whether who said each entry, and how it came, is shown in full.
    details: bool,
}

impl Printer {
    fn new(language: Language, zone: Zone) -> Self {
        Self { language, zone, episodes: Vec::new(), day: String::new(), details: false }
    }

    fn head(&self, patient: &v1::PatientSummary) {
        let known = patient.demographics.clone().unwrap_or_default();
        let born = match self.language {
            Language::En => format!("born {}", known.birth_on),
            Language::Ja | Language::Both => format!("{}生", known.birth_on),
        };
        let sex = sex(known.sex(), self.language);
        say(format_args!("{}  {sex}  {born}", names(patient)));
        say(format_args!("{}", patient.patient_id));
        for identifier in &patient.identifiers {
            say(format_args!("  {}|{}", identifier.system, identifier.value));
        }
        say(state_words(patient, self.language, &self.zone));
        for (ja, en) in glance(patient, &self.zone) {
            say(format_args!("  {}", if self.language == Language::En { en } else { ja }));
        }
    }

    /// What is still to be said of a merge that was taken back: whose it is what was told meanwhile.
    fn told_while_merged(&self, told: &v1::ToldWhileMerged) {
        let v1::ToldWhileMerged {
            survivor_patient_id: survivor, retired_patient_id: retired, ..
        } = told;
        let left = told.events.iter().filter(|event| event.entered_in_error_by_event_id.is_empty());
        let left: Vec<&v1::ToldEvent> = left.collect();
        if left.is_empty() {
            return;
        }
        let number = left.len();
        if self.language == Language::En {
            say(format_args!(
                "  {number} events were told of {survivor} while {retired} was merged into it; what is not its own, move (CareTeam.MoveEvents):"
            ));
        } else {
            say(format_args!(
                "  {retired} を統合していた間に {survivor} に記録された {number} 件。本人のものでなければ移す (CareTeam.MoveEvents):"
            ));
        }
        for event in left {
            let at = local_time(&event.occurred_at, &self.zone);
            let by = event.actor.clone().unwrap_or_default().organisation;
            say(format_args!("    {}  {at}  {}  {by}", event.event_id, event.r#type));
        }
    }

    fn entry(&mut self, entry: &v1::TimelineEntry) {
        let at = local_time(&entry.occurred_at, &self.zone);
        let (day, clock) = at.split_once(' ').unwrap_or((&at, "     "));
        if day != self.day {
            leave_a_line();
            say(day);
            day.clone_into(&mut self.day);
        }
        let episode = self.episode(&entry.episode_id);
        let by = entry.by.clone().unwrap_or_default();
        let is_cancelled = !entry.cancelled_by_event_id.is_empty();
        let is_error = !entry.entered_in_error_by_event_id.is_empty();
        let words = entry.text.clone().unwrap_or_default();
        let (mark, ja, en) = if is_error {
            ("×", "【誤登録】", "[entered in error] ")
        } else if is_cancelled {
            ("×", "【取消】", "[cancelled] ")
        } else if entry.earlier.is_empty() {
            (" ", "", "")
        } else {
            ("*", "【訂正】", "[corrected] ")
        };
        let note = &entry.note;
        let note = if note.is_empty() { String::new() } else { format!("  「{note}」") };
        let (late_ja, late_en) = self.recorded_late(entry).unwrap_or_default();
        let japanese = format!("{ja}{}{note}  ({}){late_ja}", words.ja, by.ja);
        let english = format!("{en}{}{note}  ({}){late_en}", words.en, by.en);
        let first = if self.language == Language::En { &english } else { &japanese };
        say(format_args!("{mark} {clock}  {episode:<3}  {first}"));
        if self.language == Language::Both {
            say(format_args!("              {english}"));
        }
        if self.details {
            for line in self.details(entry) {
                say(format_args!("              {line}"));
            }
        }
        for earlier in &entry.earlier {
            let words = earlier.text.clone().unwrap_or_default();
            let at = local_time(&earlier.occurred_at, &self.zone);
            if self.language == Language::En {
                say(format_args!("              before: {at} {}", words.en));
            } else {
                say(format_args!("              訂正前: {at} {}", words.ja));
            }
        }
    }

    /// What the marks beside the entries mean, if there were any.
    fn legend(&self) {
        if self.episodes.is_empty() {
            return;
        }
        leave_a_line();
        let ja = "E1、E2…: 続けて受けた受診・入院のひとまとまり (救急受診からの入院、転院を含む)";
        let en = "E1, E2 …: stays and visits that continue one another, such as an emergency visit, the stay after it and a transfer";
        match self.language {
            Language::Ja => say(ja),
            Language::En => say(en),
            Language::Both => {
                say(ja);
                say(en);
            }
        }
    }

    /// Who said it and for whom, by which door, when it happened and was recorded; and its ids.
    fn details(&self, entry: &v1::TimelineEntry) -> Vec<String> {
        let actor = entry.actor.clone().unwrap_or_default();
        let source = entry.source.clone().unwrap_or_default();
        let recorded_at = entry.recorded_at.as_ref();
        let recorded_at =
            recorded_at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()).map(CareTime::at);
        let recorded_at = recorded_at.map(|at| at.words(&self.zone)).unwrap_or_default();
        let at = local_time(&entry.occurred_at, &self.zone);
        let told = |ja: &str, en: &str, value: &str| {
            let name = if self.language == Language::En { en } else { ja };
            if value.is_empty() { String::new() } else { format!("{name} {value}  ") }
        };
        let lines = [
            told("記録者", "by", &actor.person)
                + &told("職種", "role", &actor.role)
                + &told("機関", "of", &actor.organisation)
                + &told("代理先", "for", &actor.on_behalf_of),
            told("入口", "door", &source.door)
                + &told("送信元", "system", &source.system)
                + &told("発生", "happened", &at)
                + &told("記録", "recorded", &recorded_at),
            told("事象", "event", &entry.event_id)
                + &told("エピソード", "episode", &entry.episode_id),
        ];
        lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
    }

    /// When it was recorded, in Japanese and English, if that was long after it happened.
    fn recorded_late(&self, entry: &v1::TimelineEntry) -> Option<(String, String)> {
        let recorded_at = entry.recorded_at.as_ref()?;
        let recorded_at = Timestamp::new(recorded_at.seconds, recorded_at.nanos).ok()?;
        let occurred_at = CareTime::parse(&entry.occurred_at, &self.zone).ok()?;
        let is_late = recorded_at.duration_since(occurred_at.latest()) > LATE_AFTER;
        let at = CareTime::at(recorded_at).words(&self.zone);
        is_late.then(|| (format!("  後日記録 {at}"), format!("  recorded {at}")))
    }

    /// `E1` for the first episode, and so on; nothing for what belongs to none.
    fn episode(&mut self, id: &str) -> String {
        if id.is_empty() {
            return String::new();
        }
        let known = self.episodes.iter().position(|episode| episode == id);
        let index = known.unwrap_or_else(|| {
            self.episodes.push(id.to_owned());
            self.episodes.len() - 1
        });
        format!("E{}", index + 1)
    }
}

/// What somebody has to know first, one thing a line, in Japanese and English.
fn glance(patient: &v1::PatientSummary, zone: &Zone) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let named = |who: &v1::Participant| {
        let office = who.organisation.clone().unwrap_or_default();
        let office = if office.name.is_empty() { office.id } else { office.name };
        let office = if office.is_empty() { office } else { format!(" ({office})") };
        let (ja, en) = role_words(&who.role);
        let called =
            |role: &str| if who.name.is_empty() { role.to_owned() } else { who.name.clone() };
        (format!("{}{office}", called(ja)), format!("{}{office}", called(en)))
    };
    if !patient.merged_into_patient_id.is_empty() {
        let into = &patient.merged_into_patient_id;
        lines.push((
            format!("統合先: {into} (全体は tsunagi timeline {into})"),
            format!("merged into {into}: tsunagi timeline {into} shows all of the person"),
        ));
    }
    let manager = patient.team.iter().find(|member| member.is_care_manager);
    if let Some(manager) = manager.and_then(|member| member.member.as_ref()) {
        let (ja, en) = named(manager);
        lines.push((format!("担当ケアマネジャー: {ja}"), format!("care manager: {en}")));
    }
    let others = patient.team.iter().filter(|member| !member.is_care_manager);
    let (ja, en): (Vec<String>, Vec<String>) =
        others.filter_map(|of| of.member.as_ref()).map(named).unzip();
    if !ja.is_empty() {
        lines.push((format!("ケアチーム: {}", ja.join("、")), format!("team: {}", en.join(", "))));
    }
    for wish in &patient.wishes {
        let (at, what) = (local_time(&wish.said_at, zone), &wish.preference);
        lines.push((format!("心づもり {at}: {what}"), format!("wish {at}: {what}")));
    }
    let asked = patient.transfer_requests.iter().chain(&patient.referrals);
    for asked in asked {
        let receiver = asked.receiver.clone().unwrap_or_default();
        let name = if receiver.name.is_empty() { receiver.id } else { receiver.name };
        let state = asked.state.clone().unwrap_or_default();
        lines.push((format!("{name}: {}", state.ja), format!("{name}: {}", state.en)));
    }
    for question in &patient.questions {
        let (ja, en) = role_words(&question.owner_role);
        lines.push((format!("未回答の質問 → {ja}"), format!("open question → {en}")));
    }
    lines
}

fn sex(sex: v1::Sex, language: Language) -> &'static str {
    let (ja, en) = match sex {
        v1::Sex::Female => ("女", "female"),
        v1::Sex::Male => ("男", "male"),
        v1::Sex::Other => ("その他", "other"),
        v1::Sex::Unknown | v1::Sex::Unspecified => ("性別不明", "sex unknown"),
    };
    if language == Language::En { en } else { ja }
}

/// The patient's names: the official one, and the others in brackets.
pub(crate) fn names(patient: &v1::PatientSummary) -> String {
    let known = patient.demographics.clone().unwrap_or_default();
    let mut names = known.names.iter().map(|name| {
        if name.family.is_empty() && name.given.is_empty() {
            name.text.clone()
        } else {
            format!("{} {}", name.family, name.given)
        }
    });
    let first = names.next().unwrap_or_default();
    let others: Vec<String> = names.collect();
    if others.is_empty() { first } else { format!("{first} ({})", others.join(", ")) }
}

/// Where the patient is, in one line.
pub(crate) fn state_words(patient: &v1::PatientSummary, language: Language, zone: &Zone) -> String {
    let place = place(patient.place.as_ref());
    let since = local_time(&patient.since_at, zone);
    let (ja, en) = match patient.state() {
        v1::PatientState::InHospital => ("入院中", "in hospital"),
        v1::PatientState::OnLeave => ("入院中 (外泊)", "in hospital, on leave"),
        v1::PatientState::Visiting => ("受診中", "visiting"),
        v1::PatientState::Discharged => ("退院後", "discharged"),
        v1::PatientState::Visited => ("受診後", "back from a visit"),
        v1::PatientState::Deceased => ("死亡", "deceased"),
        v1::PatientState::Unspecified => ("登録のみ", "registered"),
    };
    let is_known = !since.is_empty();
    let is_deceased = patient.state() == v1::PatientState::Deceased;
    let mut words = match (language, is_known) {
        (Language::En, true) if is_deceased => format!("died {since}"),
        (Language::Ja | Language::Both, true) if is_deceased => format!("{ja} {since}"),
        (Language::En, true) => format!("{en} since {since}  {place}"),
        (Language::En, false) => en.to_owned(),
        (Language::Ja | Language::Both, true) => format!("{ja} {since}から  {place}"),
        (Language::Ja | Language::Both, false) => ja.to_owned(),
    };
    let readmitted = patient.stays.iter().find_map(|stay| stay.readmission.as_ref());
    if let Some(v1::Readmission { days, .. }) = readmitted {
        words = if language == Language::En {
            format!("{words}  readmitted {days} days after the discharge")
        } else {
            format!("{words}  再入院 (退院の{days}日後)")
        };
    }
    let plans = [
        (&patient.planned_discharge_at, "退院予定", "discharge planned for"),
        (&patient.planned_admission_at, "入院予定", "admission planned for"),
    ];
    for (at, ja, en) in plans {
        if !at.is_empty() {
            let plan = if language == Language::En { en } else { ja };
            words = format!("{words}  {plan} {}", local_time(at, zone));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_say_who_for_whom_when_and_by_which_door() {
        let zone = Zone::named("Asia/Tokyo").unwrap();
        let recorded_at: Timestamp = "2026-05-02T01:00:00Z".parse().unwrap();
        let entry = v1::TimelineEntry {
            event_id: "e".to_owned(),
            occurred_at: "2026-05-01".to_owned(),
            recorded_at: Some(tsunagi_bus::handler::to_wire(recorded_at)),
            actor: Some(v1::Actor {
                organisation: "acute".to_owned(),
                role: "liaison-nurse".to_owned(),
                person: "ln-1".to_owned(),
                on_behalf_of: "seaside".to_owned(),
            }),
            source: Some(v1::Source { door: "discharge-desk".to_owned(), ..Default::default() }),
            ..v1::TimelineEntry::default()
        };
        let expected = [
            "by ln-1  role liaison-nurse  of acute  for seaside",
            "door discharge-desk  happened 2026-05-01  recorded 2026-05-02 10:00",
            "event e",
        ];
        assert_eq!(Printer::new(Language::En, zone).details(&entry), expected);
    }

    #[test]
    fn what_is_recorded_more_than_a_day_after_it_happened_is_marked() {
        let zone = Zone::named("Asia/Tokyo").unwrap();
        let printer = Printer::new(Language::Ja, zone);
        let late = |occurred_at: &str, recorded_at: &str| {
            let recorded_at: Timestamp = recorded_at.parse().unwrap();
            printer.recorded_late(&v1::TimelineEntry {
                occurred_at: occurred_at.to_owned(),
                recorded_at: Some(tsunagi_bus::handler::to_wire(recorded_at)),
                ..v1::TimelineEntry::default()
            })
        };
        let at = "2026-05-01T10:00:00+09:00";
        assert_eq!(late(at, "2026-05-02T01:00:00Z"), None);
        let marked = late(at, "2026-05-02T01:00:01Z").unwrap();
        assert_eq!(marked.0, "  後日記録 2026-05-02 10:00");
        assert_eq!(marked.1, "  recorded 2026-05-02 10:00");
        assert_eq!(late("2026-05-01", "2026-05-02T14:00:00Z"), None, "a day lasts until its end");
        assert!(late("2026-05-01", "2026-05-02T16:00:00Z").is_some());
    }
}
