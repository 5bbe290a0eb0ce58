//! `tsunagi patients`: who is there, one a line.

use std::process::ExitCode;

use clap::Args;
use tsunagi_chassis::Config;
use tsunagi_domain::Zone;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::client::{Connection, own, refused};
use crate::output::say;
use crate::timeline::{Language, names, state_words, zone};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only patients who are in hospital now
    #[arg(long)]
    in_hospital: bool,

    /// List at most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,

    /// The language of the words between names and codes
    #[arg(long, value_enum, default_value_t = Language::Ja)]
    lang: Language,
}

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let zone = zone(config)?;
    let connection = Connection::to_read(config, server).await?;
    let mut timeline = TimelineClient::new(connection.channel.clone());
    let state = if options.in_hospital {
        v1::PatientState::InHospital
    } else {
        v1::PatientState::Unspecified
    };
    let mut left = options.max;
    let mut page_token = String::new();
    loop {
        let request = v1::ListPatientsRequest {
            page_size: left.min(1000),
            page_token,
            state: state.into(),
            ..v1::ListPatientsRequest::default()
        };
        let page =
            timeline.list_patients(own(request)).await.map_err(|s| refused(&s))?.into_inner();
        for patient in &page.patients {
            say(line(patient, options.lang, &zone));
        }
        left = left.saturating_sub(u32::try_from(page.patients.len()).unwrap_or(u32::MAX));
        page_token = page.next_page_token;
        if page_token.is_empty() || left == 0 {
            break;
        }
    }
    connection.close().await?;
    Ok(ExitCode::SUCCESS)
}

fn line(patient: &v1::PatientSummary, language: Language, zone: &Zone) -> String {
    let id = &patient.patient_id;
    let born = patient.demographics.as_ref().map(|known| known.birth_on.as_str());
    let (name, state) = (names(patient), state_words(patient, language, zone));
    format!("{id}  {name}  {}  {state}", born.unwrap_or_default())
}
