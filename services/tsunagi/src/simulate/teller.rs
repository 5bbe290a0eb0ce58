//! Tells a story: keeps its clock, signs each call, and stops at the horizon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Span;
use jiff::civil::DateTime;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use uuid::Builder;

use super::Scale;
use super::people::{demographics, in_words};
use super::region::{Person, Team};
use crate::client::{refused, signed};

/// Why a story ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The rest would happen after the last day.
    Horizon,
    Failed(anyhow::Error),
}

/// Reaches the desks, and counts what was told.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    pub(super) discharge_desk: DischargeDeskClient<Channel>,
    pub(super) home_care: HomeCareClient<Channel>,
    pub(super) link_worker: LinkWorkerClient<Channel>,
    pub(super) care_team: CareTeamClient<Channel>,
    horizon: DateTime,
    events: Arc<AtomicU64>,
}

/// One person's story, and how far it is told.
pub(super) struct Story {
    pub(super) teller: Teller,
    pub(super) team: Team,
    pub(super) rng: Pcg64Mcg,
    first_day: DateTime,
    clock: DateTime,
    days: u16,
    seed: u64,
    number: u32,
    patient_id: String,
    event_id: String,
    demographics: v1::Demographics,
}

/// Tells one thing: who does it, by which rpc, and what happened. Gives the event's id.
macro_rules! tell {
    ($story:ident, $who:expr, $desk:ident.$rpc:ident($request:ident { $event:expr })) => {{
        let request = v1::$request { context: Some($story.context()?), event: Some($event) };
        let answer = $story.teller.$desk.$rpc($story.sign($who, request)).await;
        $story.told(answer)?
    }};
}
pub(super) use tell;

impl Teller {
    pub(super) fn new(channel: Channel, horizon: DateTime) -> Self {
        Self {
            discharge_desk: DischargeDeskClient::new(channel.clone()),
            home_care: HomeCareClient::new(channel.clone()),
            link_worker: LinkWorkerClient::new(channel.clone()),
            care_team: CareTeamClient::new(channel),
            horizon,
            events: Arc::default(),
        }
    }

    /// How many events were told.
    pub(super) fn told(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

impl Story {
    /// The story of person `number`: the same for every telling with the same seed.
    pub(super) fn new(teller: Teller, scale: &Scale, number: u32) -> Self {
        let seed = scale.seed.wrapping_mul(1_000_000_007).wrapping_add(number.into());
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let team = Team::new(&mut rng);
        let first_day = scale.start.at(9, 0, 0, 0);
        let demographics = demographics(&mut rng, scale.start);
        let patient_id = new_id(&mut rng);
        Self {
            teller,
            team,
            rng,
            first_day,
            clock: first_day,
            days: scale.days,
            seed: scale.seed,
            number,
            patient_id,
            event_id: String::new(),
            demographics,
        }
    }

    pub(super) fn patient_id(&self) -> &str {
        &self.patient_id
    }

    /// Goes on about another record; gives the one that it was about.
    pub(super) fn speak_of(&mut self, patient_id: String) -> String {
        std::mem::replace(&mut self.patient_id, patient_id)
    }

    pub(super) fn demographics(&self) -> v1::Demographics {
        self.demographics.clone()
    }

    /// A new id for an encounter, a case, a conference.
    pub(super) fn new_id(&mut self) -> String {
        new_id(&mut self.rng)
    }

    /// Registers the person, on some day of the first half of the time.
    pub(super) async fn register(&mut self) -> Result<(), Stop> {
        let day = self.rng.random_range(0..=i64::from(self.days / 2));
        self.clock = self.first_day.saturating_add(Span::new().days(day));
        let who = self.team.care_manager();
        // One that is drawn would be drawn twice for two people, if they are many.
        let record_number = v1::Identifier {
            system: format!("urn:tsunagi:simulated:{}:{}", self.seed, self.team.acute.id),
            value: format!("{:08}", self.number),
        };
        let registered = v1::PatientRegistered {
            identifiers: vec![record_number],
            demographics: Some(self.demographics.clone()),
        };
        tell!(self, who, home_care.register_patient(RegisterPatientRequest { registered }));
        Ok(())
    }

    /// Lets days pass, to a time of day.
    pub(super) fn after(&mut self, days: i64, hour: i8, minute: i8) -> &mut Self {
        let day = self.clock.date().saturating_add(Span::new().days(days));
        self.clock = day.at(hour, minute, 0, 0);
        self
    }

    /// Goes to a moment, if it is still to come.
    pub(super) fn until(&mut self, moment: DateTime) -> &mut Self {
        self.clock = self.clock.max(moment);
        self
    }

    /// Some number of days.
    pub(super) fn some_days(&mut self, least: i64, most: i64) -> i64 {
        self.rng.random_range(least..=most)
    }

    /// The day that lies so many days ahead.
    pub(super) fn day_ahead(&self, days: i64) -> String {
        self.clock.date().saturating_add(Span::new().days(days)).to_string()
    }

    /// A time of the day that lies so many days ahead.
    pub(super) fn time_ahead(&self, days: i64, hour: i8) -> String {
        let day = self.clock.date().saturating_add(Span::new().days(days));
        in_words(day.at(hour, 0, 0, 0))
    }

    /// So many minutes from now.
    pub(super) fn minutes_ahead(&self, minutes: i64) -> String {
        in_words(self.clock.saturating_add(Span::new().minutes(minutes)))
    }

    pub(super) fn context(&mut self) -> Result<v1::CommandContext, Stop> {
        if self.clock >= self.teller.horizon {
            return Err(Stop::Horizon);
        }
        self.event_id = self.new_id();
        Ok(v1::CommandContext {
            event_id: self.event_id.clone(),
            patient_id: self.patient_id.clone(),
            occurred_at: in_words(self.clock),
            ..v1::CommandContext::default()
        })
    }

    #[expect(clippy::unused_self, reason = "reads as a sentence in `tell!`")]
    pub(super) fn sign<T>(&self, who: Person, message: T) -> Request<T> {
        signed(message, who.office.id, who.role, who.id)
    }

    pub(super) fn told(
        &mut self,
        answer: Result<Response<v1::Receipt>, Status>,
    ) -> Result<String, Stop> {
        let mut told = self.told_all(answer.map(|receipt| receipt.map(|receipt| vec![receipt])))?;
        Ok(told.pop().unwrap_or_default())
    }

    /// The same of an act that tells several events.
    pub(super) fn told_all(
        &mut self,
        answer: Result<Response<Vec<v1::Receipt>>, Status>,
    ) -> Result<Vec<String>, Stop> {
        let receipts = answer.map_err(|status| Stop::Failed(refused(&status)))?.into_inner();
        let events = receipts.into_iter().map(|receipt| receipt.event_id).collect::<Vec<_>>();
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        self.teller.events.fetch_add(count, Ordering::Relaxed);
        // Minutes pass between one thing and the next.
        let minutes = self.rng.random_range(5..40);
        self.clock = self.clock.saturating_add(Span::new().minutes(minutes));
        Ok(events)
    }
}

fn new_id(rng: &mut Pcg64Mcg) -> String {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}
