//! `tsunagi board`: what somebody at a desk has before them, in the terminal.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tonic::transport::Channel;
use tsunagi_bus::handler::to_wire;
use tsunagi_chassis::Config;
use tsunagi_domain::Zone;
use tsunagi_event_store::timeline::wording::{local_time, place, role_words};
use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;

use crate::client::{Connection, own, refused};
use crate::output::{leave_a_line, say};
use crate::timeline::{Language, known_at, state, zone};

#[derive(Debug, Subcommand)]
pub(crate) enum Board {
    /// A hospital's liaison office: expected, here, leaving, waiting for an answer
    Liaison(LiaisonOptions),
    /// A care manager's or nurses' office: its patients, and what changed
    Team(TeamOptions),
    /// A link workers' office: cases by next contact, waiting referrals
    Caseload(CaseloadOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LiaisonOptions {
    /// The hospital's id
    facility: String,

    /// The day that counts as today, such as 2026-05-02
    #[arg(long, value_name = "DAY")]
    on: Option<String>,

    /// Show what the record said at this time, such as 2026-05-02T09:00:00+09:00 or 2026-05-02
    #[arg(long, value_name = "TIME")]
    as_known_at: Option<String>,

    /// The language of the words between names and codes
    #[arg(long, value_enum, default_value_t = Language::Ja)]
    lang: Language,
}

#[derive(Debug, Args)]
pub(crate) struct CaseloadOptions {
    /// The organisation's id
    organisation: String,

    /// Only this person's cases
    #[arg(long)]
    person: Option<String>,

    /// The day that counts as today, such as 2026-05-02
    #[arg(long, value_name = "DAY")]
    on: Option<String>,

    /// Show what the record said at this time, such as 2026-05-02T09:00:00+09:00 or 2026-05-02
    #[arg(long, value_name = "TIME")]
    as_known_at: Option<String>,

    /// The language of the words between names and codes
    #[arg(long, value_enum, default_value_t = Language::Ja)]
    lang: Language,
}

#[derive(Debug, Args)]
pub(crate) struct TeamOptions {
    /// The organisation's id
    organisation: String,

    /// Only patients on whose team this person is
    #[arg(long)]
    person: Option<String>,

    /// Show what changed since this cursor, which the board printed last time
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,

    /// Show what the record said at this time, such as 2026-05-02T09:00:00+09:00 or 2026-05-02
    #[arg(long, value_name = "TIME")]
    as_known_at: Option<String>,

    /// The language of the words between names and codes
    #[arg(long, value_enum, default_value_t = Language::Ja)]
    lang: Language,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    board: &Board,
) -> anyhow::Result<ExitCode> {
    let zone = zone(config)?;
    let connection = Connection::to_read(config, server).await?;
    let mut client = BoardsClient::new(connection.channel.clone());
    let shown = match board {
        Board::Liaison(options) => liaison(&mut client, options, &zone).await,
        Board::Team(options) => team(&mut client, options, &zone).await,
        Board::Caseload(options) => caseload(&mut client, options, &zone).await,
    };
    connection.close().await?;
    shown.map(|()| ExitCode::SUCCESS)
}

type Boards = BoardsClient<Channel>;

async fn liaison(client: &mut Boards, options: &LiaisonOptions, zone: &Zone) -> anyhow::Result<()> {
    let request = v1::ReadLiaisonBoardRequest {
        facility_id: options.facility.clone(),
        on_day: options.on.clone().unwrap_or_default(),
        as_known_at: known_at(options.as_known_at.as_deref(), zone)?.map(to_wire),
        ..v1::ReadLiaisonBoardRequest::default()
    };
    let board = client.read_liaison_board(own(request)).await.map_err(|s| refused(&s))?;
    let board = board.into_inner();
    let tell = Tell { language: options.lang, zone };
    tell.head("入院予定", "expected", board.expected.len());
    for row in &board.expected {
        let stay = row.stay.clone().unwrap_or_default();
        let late = if row.is_overdue { tell.words("  未着", "  overdue") } else { "" };
        let (at, to) = (tell.time(&stay.planned_at), place(stay.place.as_ref()));
        say(format_args!("  {at}  {}  {to}{late}", tell.patient(row.patient.as_ref())));
    }
    tell.head("入院中", "in hospital", board.admitted.len());
    for row in &board.admitted {
        say(tell.stay(row));
    }
    tell.head("退院予定", "planned discharges", board.planned_discharges.len());
    for row in &board.planned_discharges {
        say(tell.stay(row));
    }
    tell.head("転院の返事待ち", "transfers waiting", board.transfers_waiting.len());
    for row in &board.transfers_waiting {
        say(tell.waiting(row));
    }
    tell.whether_cut(board.is_cut);
    Ok(())
}

async fn team(client: &mut Boards, options: &TeamOptions, zone: &Zone) -> anyhow::Result<()> {
    let request = v1::ReadTeamBoardRequest {
        organisation_id: options.organisation.clone(),
        person: options.person.clone().unwrap_or_default(),
        since_cursor: options.since.clone().unwrap_or_default(),
        as_known_at: known_at(options.as_known_at.as_deref(), zone)?.map(to_wire),
        ..v1::ReadTeamBoardRequest::default()
    };
    let board = client.read_team_board(own(request)).await.map_err(|s| refused(&s))?;
    let board = board.into_inner();
    let tell = Tell { language: options.lang, zone };
    tell.head("担当", "patients", board.patients.len());
    for row in &board.patients {
        say(tell.member(row));
        for entry in &row.changes {
            let words = entry.text.clone().unwrap_or_default();
            let words = tell.words(&words.ja, &words.en).to_owned();
            say(format_args!("      {}  {words}", tell.time(&entry.occurred_at)));
        }
        if row.more_changes > 0 {
            let more = tell.words("件の変更が他にあります", "more changes");
            say(format_args!("      … {} {more}", row.more_changes));
        }
        for asked in &row.questions {
            let what = tell.words("? 質問", "? question");
            say(tell.open(what, &asked.asked_at, &asked.owner_role, &asked.answer_by_on));
        }
        for alert in &row.alerts {
            let (ja, en) = severity(alert.severity());
            let what = format!("! {}", tell.words(ja, en));
            let line = tell.open(&what, &alert.raised_at, &alert.owner_role, "");
            let seen = if alert.is_acknowledged { tell.words("  対応中", "  seen") } else { "" };
            say(format_args!("{line}  {}{seen}", alert.next_action));
        }
    }
    tell.whether_cut(board.is_cut);
    leave_a_line();
    say(format_args!("--since {}", board.cursor));
    Ok(())
}

async fn caseload(
    client: &mut Boards,
    options: &CaseloadOptions,
    zone: &Zone,
) -> anyhow::Result<()> {
    let request = v1::ReadCaseloadBoardRequest {
        organisation_id: options.organisation.clone(),
        person: options.person.clone().unwrap_or_default(),
        on_day: options.on.clone().unwrap_or_default(),
        as_known_at: known_at(options.as_known_at.as_deref(), zone)?.map(to_wire),
        ..v1::ReadCaseloadBoardRequest::default()
    };
    let board = client.read_caseload_board(own(request)).await.map_err(|s| refused(&s))?;
    let board = board.into_inner();
    let tell = Tell { language: options.lang, zone };
    tell.head("ケース", "cases", board.cases.len());
    for row in &board.cases {
        let case = row.case.clone().unwrap_or_default();
        let due = if row.is_due { tell.words("  要連絡", "  due") } else { "" };
        let silent =
            if row.is_silent { tell.words("  長く連絡なし", "  silent") } else { "" };
        let next = tell.time(&case.next_contact_on);
        let mut line = format!("  {next:<10}  {}", tell.patient(row.patient.as_ref()));
        for (ja, en, at) in [
            ("開始", "since", &case.opened_at),
            ("前回の連絡", "last contact", &case.last_contact_at),
        ] {
            if !at.is_empty() {
                line = format!("{line}  {} {}", tell.words(ja, en), tell.time(at));
            }
        }
        say(format_args!("{line}{due}{silent}"));
    }
    tell.head("返事待ちの紹介", "referrals waiting", board.referrals_waiting.len());
    for row in &board.referrals_waiting {
        say(tell.waiting(row));
    }
    tell.head("連絡希望", "asked to be called", board.contacts_asked.len());
    for row in &board.contacts_asked {
        let asked = row.asked.clone().unwrap_or_default();
        let patient = tell.patient(row.patient.as_ref());
        say(format_args!("  {:<10}  {patient}", tell.time(&asked.asked_at)));
    }
    tell.whether_cut(board.is_cut);
    Ok(())
}

/// How much an alert matters, in Japanese and English.
fn severity(severity: v1::Severity) -> (&'static str, &'static str) {
    match severity {
        v1::Severity::Urgent => ("至急", "urgent"),
        v1::Severity::Warning => ("要対応", "needs action"),
        v1::Severity::Notice | v1::Severity::Unspecified => ("情報共有", "for information"),
    }
}

/// How a board is told.
struct Tell<'a> {
    language: Language,
    zone: &'a Zone,
}

impl Tell<'_> {
    fn words<'w>(&self, ja: &'w str, en: &'w str) -> &'w str {
        if self.language == Language::En { en } else { ja }
    }

    fn time(&self, time: &str) -> String {
        if time.is_empty() { String::new() } else { local_time(time, self.zone) }
    }

    fn head(&self, ja: &str, en: &str, count: usize) {
        say(format_args!("{} ({count})", self.words(ja, en)));
    }

    fn whether_cut(&self, is_cut: bool) {
        if is_cut {
            say(self.words("ここまで。続きがあります", "cut here: there are more rows"));
        }
    }

    fn patient(&self, patient: Option<&v1::BoardPatient>) -> String {
        let patient = patient.cloned().unwrap_or_default();
        let nameless = self.words("匿名", "anonymous");
        let name = if patient.name.is_empty() { nameless } else { &patient.name };
        format!("{name}  {}  {}", patient.birth_on, patient.patient_id)
    }

    fn stay(&self, row: &v1::StayRow) -> String {
        let stay = row.stay.clone().unwrap_or_default();
        let (since, at) = (self.time(&stay.since_at), place(stay.place.as_ref()));
        let mut line = format!("  {since}  {}  {at}", self.patient(row.patient.as_ref()));
        for (ja, en, at) in [
            ("退院予定", "discharge planned for", &stay.planned_discharge_at),
            ("退院可能", "ready from", &stay.ready_on),
        ] {
            if !at.is_empty() {
                line = format!("{line}  {} {}", self.words(ja, en), self.time(at));
            }
        }
        if let Some(readmission) = &stay.readmission {
            let days = readmission.days;
            let (ja, en) = (
                format!("再入院 (退院の{days}日後)"),
                format!("readmitted {days} days after the discharge"),
            );
            line = format!("{line}  {}", self.words(&ja, &en));
        }
        line
    }

    /// Who asked whom, where it stands, and by when an answer is needed; marked if it is the
    /// board's own organisation that has to answer.
    fn waiting(&self, row: &v1::WaitingRow) -> String {
        let asked = row.request.clone().unwrap_or_default();
        let named = |of: Option<v1::Organisation>| {
            let of = of.unwrap_or_default();
            if of.name.is_empty() { of.id } else { of.name }
        };
        let (from, to) = (named(asked.requester), named(asked.receiver));
        let state = asked.state.unwrap_or_default();
        let (at, state) = (self.time(&asked.asked_at), self.words(&state.ja, &state.en));
        let mut line =
            format!("  {at}  {}  {from} → {to}  {state}", self.patient(row.patient.as_ref()));
        if !asked.answer_by_on.is_empty() {
            let until = self.words("回答期限", "answer by");
            line = format!("{line}  {until} {}", self.time(&asked.answer_by_on));
        }
        if row.is_ours_to_answer {
            line = format!("{line}  {}", self.words("こちらの返事待ち", "ours to answer"));
        }
        line
    }

    /// A patient of a care team, and where the patient is.
    fn member(&self, row: &v1::TeamRow) -> String {
        let (ja, en) = state(row.state());
        let mut line = format!("  {}  {}", self.patient(row.patient.as_ref()), self.words(ja, en));
        for stay in &row.stays {
            line = format!("{line}  {}", place(stay.place.as_ref()));
            if !stay.planned_discharge_at.is_empty() {
                let planned = self.words("退院予定", "discharge planned for");
                line = format!("{line}  {planned} {}", self.time(&stay.planned_discharge_at));
            }
        }
        line
    }

    /// A question or an alert: since when, who has to act, and by when.
    fn open(&self, what: &str, at: &str, owner_role: &str, until: &str) -> String {
        let (ja, en) = role_words(owner_role);
        let line = format!("      {what}  {}  → {}", self.time(at), self.words(ja, en));
        let until = self.time(until);
        if until.is_empty() {
            line
        } else {
            format!("{line}  {} {until}", self.words("期限", "by"))
        }
    }
}
