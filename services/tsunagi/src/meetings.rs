//! `tsunagi partner-meetings`: a hospital's meetings with its partner institutions (連携機関) in one
//! year, in the terminal.

use std::process::ExitCode;

use clap::Args;
use tsunagi_bus::handler::to_wire;
use tsunagi_chassis::Config;
use tsunagi_domain::Zone;
use tsunagi_event_store::timeline::wording::local_time;
use tsunagi_proto::fields::{Fields as _, Value};
use tsunagi_proto::v1;
use tsunagi_proto::v1::directory_client::DirectoryClient;

use crate::client::{Connection, own, refused};
use crate::output::say;
use crate::timeline::{Language, known_at, zone};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The hospital's id
    hospital: String,

    /// The day with which the year begins, such as 2026-04-01 for 2026年度, or 2026
    #[arg(long, value_name = "DAY")]
    year: String,

    /// How often an institution is met that is met regularly
    #[arg(long, value_name = "TIMES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=366))]
    regular: u32,

    /// Show what was known at this time, such as 2026-05-02T09:00:00+09:00 or 2026-05-02
    #[arg(long, value_name = "TIME")]
    as_known_at: Option<String>,

    /// The language of the words between names
    #[arg(long, value_enum, default_value_t = Language::Ja)]
    lang: Language,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let zone = zone(config)?;
    let known = known_at(options.as_known_at.as_deref(), &zone)?;
    let connection = Connection::to_read(config, server).await?;
    let mut directory = DirectoryClient::new(connection.channel.clone());
    let mut request = v1::ListPartnerMeetingsRequest {
        organisation_id: options.hospital.clone(),
        year_from_on: options.year.clone(),
        regular_from: options.regular,
        as_known_at: known.map(to_wire),
        ..v1::ListPartnerMeetingsRequest::default()
    };
    loop {
        let page = directory.list_partner_meetings(own(request.clone())).await;
        let page = page.map_err(|status| refused(&status))?.into_inner();
        if request.page_token.is_empty() {
            say(counts(&page, options.regular, options.lang));
        }
        for meeting in &page.meetings {
            say(line(meeting, options.lang, &zone));
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    connection.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// How many meetings there were, with how many institutions.
fn counts(page: &v1::ListPartnerMeetingsResponse, regular: u32, language: Language) -> String {
    let v1::ListPartnerMeetingsResponse {
        meeting_count, partner_count, regular_partner_count, ..
    } = page;
    if language == Language::En {
        format!(
            "meetings {meeting_count}  institutions {partner_count}  met {regular} times or more {regular_partner_count}"
        )
    } else {
        format!(
            "会合 {meeting_count}件  連携機関 {partner_count}  うち{regular}回以上 {regular_partner_count}"
        )
    }
}

fn line(held: &v1::PartnerMeeting, language: Language, zone: &Zone) -> String {
    let meeting = held.meeting.clone().unwrap_or_default();
    let kind = if let Some(Value::Words(ja, en)) = meeting.field("kind") {
        if language == Language::En { en } else { ja }
    } else {
        ""
    };
    let named = |of: &v1::Organisation| if of.name.is_empty() { &of.id } else { &of.name }.clone();
    let partners: Vec<String> = meeting.partners.iter().map(named).collect();
    let partners = partners.join(if language == Language::En { ", " } else { "、" });
    let at = local_time(&held.held_at, zone);
    format!("  {at}  {kind}  {partners}  {}", meeting.subject).trim_end().to_owned()
}
