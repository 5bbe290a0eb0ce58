//! `tsunagi simulate`: a generated region, whose people tell their stories through the three
//! desks' own rpcs. The same seed tells the same stories, event id by event id.
//!
//! The region is a Japanese city of about 170,000. Its proportions follow national figures,
//! rounded, and no real city: three people in ten are 65 or older (population estimates of the
//! Statistics Bureau, 2023: 29.1 %), one in five of these is certified for long-term care
//! (介護保険事業状況報告), a stay in a general bed takes about 16 days (病院報告, 2022) and
//! one in a recovery-phase rehabilitation ward two months. Of the people who are simulated,
//! more are in hospital than in life: they are those whom a care team shares.

mod between_visits;
mod casework;
mod changes_of_plan;
mod directory;
mod hardships;
mod hospital;
mod living_at_home;
mod meetings;
mod paperwork;
mod people;
mod region;
mod rights;
mod roundabout;
mod teller;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use futures_util::stream::{self, TryStreamExt as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use jiff::civil::Date;
use rand::RngExt as _;
use tsunagi_chassis::Config;

use crate::client::Connection;
use crate::output::say;
use teller::{Stop, Story, Teller};

#[derive(Debug, Clone, Args)]
pub(crate) struct Scale {
    /// How many people
    #[arg(long, default_value_t = 200)]
    patients: u32,

    /// Over how many days their stories go; what would come later is not told
    #[arg(long, default_value_t = 120)]
    days: u16,

    /// The first day
    #[arg(long, default_value = "2026-04-01", value_name = "DATE")]
    start: Date,

    /// Another seed makes another region
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was told.
pub(crate) struct Told {
    patients: u32,
    events: u64,
    took: Duration,
    example: String,
}

/// Patients whose stories are told at once.
const AT_ONCE: usize = 64;

pub(crate) async fn run(
    config: &Config,
    server: Option<String>,
    scale: &Scale,
) -> anyhow::Result<ExitCode> {
    let connection = Connection::open(config, server).await?;
    let told = tell_to(&connection, scale).await?;
    say(told.summary());
    connection.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Tells the stories to a server.
pub(crate) async fn tell(url: &str, scale: &Scale) -> anyhow::Result<Told> {
    tell_to(&Connection::to(url).await?, scale).await
}

async fn tell_to(connection: &Connection, scale: &Scale) -> anyhow::Result<Told> {
    let end = scale.start.checked_add(jiff::Span::new().days(scale.days));
    let end = end.context("--days goes beyond the calendar")?;
    if people::tokyo(end.at(0, 0, 0, 0)) > Timestamp::now() {
        anyhow::bail!(
            "the stories would end on {end}, in the future: say an earlier --start or fewer --days"
        );
    }
    let teller = Teller::new(connection.channel.clone(), end.at(0, 0, 0, 0));
    let progress = progress(scale.patients);
    let began = Instant::now();
    directory::publish(&teller, scale.start).await?;
    meetings::record(&teller, scale.start).await?;
    stream::iter((0..scale.patients).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |number| {
            let story = Story::new(teller.clone(), scale, number);
            let progress = progress.clone();
            async move {
                let told = tell_one(story, number).await;
                progress.inc(1);
                told
            }
        })
        .await?;
    progress.finish_and_clear();
    let example = Story::new(teller.clone(), scale, 0).patient_id().to_owned();
    let (patients, took) = (scale.patients, began.elapsed());
    Ok(Told { patients, events: teller.told(), took, example })
}

/// One person's story.
async fn tell_one(mut story: Story, number: u32) -> anyhow::Result<()> {
    let ended = match story.register().await {
        Ok(()) => match kind(&mut story, number) {
            0 => hospital::hip_operation(&mut story).await,
            1 => hospital::friday_night(&mut story).await,
            2 => hospital::cancelled_admission(&mut story).await,
            3 => hospital::transfer_between_hospitals(&mut story).await,
            4 => hospital::discharge_brought_forward(&mut story).await,
            5 => casework::from_screening_to_outcome(&mut story).await,
            6 => hardships::death_in_hospital(&mut story).await,
            7 => hardships::registered_twice(&mut story).await,
            8 => hardships::without_family(&mut story).await,
            9 => hardships::readmission(&mut story).await,
            10 => hardships::slips(&mut story).await,
            11 => hardships::watched_over(&mut story).await,
            13 => changes_of_plan::changes_of_plan(&mut story).await,
            14 => paperwork::paperwork(&mut story).await,
            15 => rights::rights(&mut story).await,
            16 => between_visits::between_visits(&mut story).await,
            17 => roundabout::roundabout(&mut story).await,
            _ => living_at_home::living_at_home(&mut story).await,
        },
        Err(stop) => Err(stop),
    };
    match ended {
        Ok(()) | Err(Stop::Horizon) => Ok(()),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Which story it is: the first people tell one of each, the others as it comes.
fn kind(story: &mut Story, number: u32) -> u32 {
    const STORIES: u32 = 18;
    if number < STORIES {
        return number;
    }
    match story.rng.random_range(0..100) {
        0..8 => 0,
        8..14 => 1,
        14..17 => 2,
        17..22 => 3,
        22..30 => 4,
        30..38 => 5,
        38..40 => 6,
        40..42 => 7,
        42..45 => 8,
        45..48 => 9,
        48..50 => 10,
        50..55 => 11,
        55..57 => 13,
        57..60 => 14,
        60..61 => 15,
        61..64 => 16,
        64..66 => 17,
        _ => 12,
    }
}

impl Told {
    pub(crate) fn summary(&self) -> String {
        let Self { patients, events, took, .. } = self;
        let seconds = took.as_secs_f64();
        format!("{events} events about {patients} people told in {seconds:.1} s")
    }

    /// A patient whose timeline is worth a look.
    pub(crate) fn example(&self) -> &str {
        &self.example
    }
}

fn progress(patients: u32) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(u64::from(patients)), target);
    let style = ProgressStyle::with_template("people {bar:40} {pos}/{len}  {elapsed}");
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
