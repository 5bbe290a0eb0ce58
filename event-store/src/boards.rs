//! `Boards` over gRPC: what the people at each desk have before them, picked out of the
//! patients' rows (I5).

mod watch;

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tsunagi_bus::cursor::Progress;
use tsunagi_bus::{Bus as _, Cursor, Region};
use tsunagi_chassis::{Config, Refused, answers, caller};
use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_server::Boards;
use tsunagi_proto::v1::watch_board_response::Frame as Sign;

use crate::grpc::{checked, from_wire, rows_refused, rows_unreadable};
use crate::patients::Patients;
use crate::store::Store;
use crate::timeline::{Timeline, View, glance};
use watch::Watched;

/// Rows of one kind on a board.
const ROWS_MAX: usize = 500;
/// Entries that are shown of what changed about one patient.
const CHANGES_MAX: usize = 20;
const SILENT_DAYS: u32 = 28;

/// The service.
#[derive(Clone)]
pub struct BoardsService {
    store: Store,
    patients: Patients,
    read_wait: Duration,
    /// Patients of whom a board as known at a time is made.
    read_back_max: usize,
    heartbeat: Duration,
    open: answers::Open,
    stop: CancellationToken,
}

pub(crate) type Frames = Pin<Box<dyn Stream<Item = Result<v1::WatchBoardResponse, Status>> + Send>>;

/// The patients of one organisation, and up to where their rows were made.
struct Shown {
    organisation: String,
    as_known_at: Option<Timestamp>,
    rows: Vec<v1::PatientSummary>,
    cursor: String,
}

/// Whose board is asked for, and as it was known when.
struct Asked<'a> {
    caller: String,
    named: &'a str,
    at_least: &'a str,
    as_known_at: Option<&'a prost_types::Timestamp>,
}

impl Shown {
    /// The day that counts as today: the one that is named, or that of the moment shown.
    fn today(&self, named: &str, zone: &Zone) -> CareTime {
        let moment = self.as_known_at.filter(|_| named.is_empty());
        moment.map_or_else(|| today(named, zone), |moment| day_of(moment, zone))
    }
}

impl BoardsService {
    pub fn new(store: Store, patients: Patients, config: &Config, stop: CancellationToken) -> Self {
        let read_wait = Duration::from_millis(config.read_wait_ms);
        let heartbeat = Duration::from_millis(config.heartbeat_ms);
        let open = answers::Open::new(config.open_streams);
        let read_back_max = config.read_back_patients;
        Self { store, patients, read_wait, read_back_max, heartbeat, open, stop }
    }

    /// The rows of an organisation's patients; of the caller's, if none is named. Shows all that
    /// was stored when it was asked, or what of it was known at a time.
    async fn rows(&self, asked: Asked<'_>) -> Result<Shown, Refused> {
        let Asked { caller, named, at_least, as_known_at } = asked;
        let organisation = if named.is_empty() { caller } else { named.to_owned() };
        let as_known_at = as_known_at.map(from_wire).transpose()?;
        let wanted = self.store.region().read_cursor(at_least)?;
        // What lies in other shards is not waited for here: it never comes.
        let wanted = self.patients.records().part_of(&wanted);
        let end = self.store.end();
        self.patients.reach(&end, self.read_wait).await?;
        self.patients.reach(&wanted, self.read_wait).await?;
        let cursor = self.store.region().cursor_text(&self.patients.watch().borrow().clone());
        let (patients, of, max) = (self.patients.clone(), organisation.clone(), self.read_back_max);
        let rows = tokio::task::spawn_blocking(move || match as_known_at {
            Some(at) => patients.of_organisation_at(&of, at, max),
            None => patients.of_organisation(&of).map(Some),
        });
        match rows.await {
            Ok(Ok(Some(mut rows))) => {
                let day = day_text(as_known_at, &self.store.region().zone);
                for row in &mut rows {
                    glance::on_day(row, &day);
                }
                Ok(Shown { organisation, as_known_at, rows, cursor })
            }
            Ok(Ok(None)) => Err(too_many(self.read_back_max)),
            Ok(Err(error)) => Err(rows_refused(error)),
            Err(error) => Err(rows_unreadable(&error)),
        }
    }

    /// What was recorded of a patient that `since` has not seen.
    async fn changes(
        &self,
        row: &v1::PatientSummary,
        since: &Cursor,
        as_known_at: Option<Timestamp>,
    ) -> Result<Vec<v1::TimelineEntry>, Refused> {
        let Ok(patient) = PatientId::parse(&row.patient_id) else { return Ok(Vec::new()) };
        let since = since.clone();
        let changes = self.patients.records().reading(move |reader| {
            let events = reader.events(patient, usize::MAX)?.unwrap_or_default();
            let unseen = |stored: &&tsunagi_bus::Stored| !since.has_seen(stored.placed.position);
            let unseen: Vec<u64> =
                events.iter().filter(unseen).map(|stored| stored.placed.version).collect();
            if unseen.is_empty() {
                return Ok(Vec::new());
            }
            let zone = &reader.store.region().zone;
            let view = View { as_known_at, version_max: None };
            let read = &mut |of| reader.other(of);
            let timeline = Timeline::fold_with(&events, zone, view, read)?;
            Ok(unseen.into_iter().filter_map(|version| timeline.entry(version)).collect())
        });
        changes.await
    }

    async fn team_rows(
        &self,
        shown: &Shown,
        request: &v1::ReadTeamBoardRequest,
    ) -> Result<Vec<v1::TeamRow>, Refused> {
        let since = self.since(&request.since_cursor)?;
        let mut rows = Vec::new();
        for row in &shown.rows {
            let is_ours = |member: &v1::TeamMember| {
                is_one(member.member.as_ref(), &shown.organisation, &request.person)
            };
            if !row.team.iter().any(is_ours) {
                continue;
            }
            let mut changes = match &since {
                Some(since) if self.has_news(row, since) => {
                    self.changes(row, since, shown.as_known_at).await?
                }
                Some(_) | None => Vec::new(),
            };
            let more = changes.len().saturating_sub(CHANGES_MAX);
            changes.truncate(CHANGES_MAX);
            rows.push(v1::TeamRow {
                patient: Some(board_patient(row)),
                state: row.state,
                stays: row.stays.clone(),
                questions: row.questions.clone(),
                alerts: row.alerts.clone(),
                changes,
                more_changes: u32::try_from(more).unwrap_or(u32::MAX),
            });
        }
        Ok(rows)
    }

    fn since(&self, cursor: &str) -> Result<Option<Cursor>, Refused> {
        if cursor.is_empty() {
            return Ok(None);
        }
        let cursor = self.store.region().read_cursor(cursor)?;
        Ok(Some(cursor))
    }

    /// Whether the newest of the patient's events has not been seen.
    fn has_news(&self, row: &v1::PatientSummary, since: &Cursor) -> bool {
        let region: &Region = self.store.region();
        let newest = region.read_cursor(&row.newest_cursor);
        newest.map_or(true, |newest: Cursor| !since.covers(&newest))
    }
}

#[tonic::async_trait]
impl Boards for BoardsService {
    type WatchBoardStream = Frames;

    async fn watch_board(
        &self,
        request: Request<v1::WatchBoardRequest>,
    ) -> Result<Response<Frames>, Status> {
        let caller = caller(request.metadata())?.organisation().to_string();
        let v1::WatchBoardRequest { organisation_id, cursor } = checked(request)?;
        let organisation = if organisation_id.is_empty() { caller } else { organisation_id };
        let end = self.store.end();
        let cursor = match cursor.as_str() {
            "" => end,
            text => {
                let cursor = self.store.region().read_cursor(text).map_err(Refused::from)?;
                // What lies in other shards never comes here.
                let cursor = self.patients.records().part_of(&cursor);
                self.store.reach(&cursor, self.read_wait).await.map_err(Refused::from)?;
                cursor
            }
        };
        let right = self.open.enter()?;
        let seen = Progress::from(cursor.clone());
        let watched = Watched {
            store: self.store.clone(),
            patients: self.patients.clone(),
            organisation,
            feed: self.store.follow(cursor),
            made: self.patients.watch(),
            seen: seen.clone(),
            is_caught_up: false,
        };
        let frames = stream::try_unfold(watched, |mut watched| async move {
            Ok(Some((watched.next().await?, watched)))
        });
        let store = self.store.clone();
        let heartbeat = move || watch::sign(Sign::Heartbeat(v1::Heartbeat {}), &seen, &store);
        let frames = answers::follow(frames, heartbeat, self.heartbeat, self.stop.clone());
        Ok(Response::new(Box::pin(answers::holding(frames, right))))
    }

    async fn read_liaison_board(
        &self,
        request: Request<v1::ReadLiaisonBoardRequest>,
    ) -> Result<Response<v1::ReadLiaisonBoardResponse>, Status> {
        let organisation = caller(request.metadata())?.organisation().to_string();
        let request = checked(request)?;
        let shown = self
            .rows(Asked {
                caller: organisation,
                named: &request.facility_id,
                at_least: &request.at_least_cursor,
                as_known_at: request.as_known_at.as_ref(),
            })
            .await?;
        let zone = &self.store.region().zone;
        let board = liaison(&shown, &shown.today(&request.on_day, zone), zone);
        Ok(Response::new(board))
    }

    async fn read_team_board(
        &self,
        request: Request<v1::ReadTeamBoardRequest>,
    ) -> Result<Response<v1::ReadTeamBoardResponse>, Status> {
        let organisation = caller(request.metadata())?.organisation().to_string();
        let request = checked(request)?;
        let shown = self
            .rows(Asked {
                caller: organisation,
                named: &request.organisation_id,
                at_least: &request.at_least_cursor,
                as_known_at: request.as_known_at.as_ref(),
            })
            .await?;
        let patients = self.team_rows(&shown, &request).await?;
        let mut board = v1::ReadTeamBoardResponse { patients, is_cut: false, cursor: shown.cursor };
        arrange_team(&mut board);
        Ok(Response::new(board))
    }

    async fn read_caseload_board(
        &self,
        request: Request<v1::ReadCaseloadBoardRequest>,
    ) -> Result<Response<v1::ReadCaseloadBoardResponse>, Status> {
        let organisation = caller(request.metadata())?.organisation().to_string();
        let request = checked(request)?;
        let shown = self
            .rows(Asked {
                caller: organisation,
                named: &request.organisation_id,
                at_least: &request.at_least_cursor,
                as_known_at: request.as_known_at.as_ref(),
            })
            .await?;
        let zone = &self.store.region().zone;
        let board = caseload(&shown, &request, &shown.today(&request.on_day, zone), zone);
        Ok(Response::new(board))
    }
}

/// The day that counts as today: the region's, if none is named.
pub(crate) fn today(named: &str, zone: &Zone) -> CareTime {
    CareTime::parse(named, zone).unwrap_or_else(|_not_named| day_of(Timestamp::now(), zone))
}

/// The day of a moment, by the clock of the region.
fn day_of(moment: Timestamp, zone: &Zone) -> CareTime {
    CareTime::parse(&day_text(Some(moment), zone), zone)
        .unwrap_or_else(|_no_day| CareTime::at(moment))
}

fn too_many(max: usize) -> Refused {
    let message = format!(
        "the organisation has had to do with more than {max} patients, and of no more is a board read back: read the patients' timelines, or have `read-back-patients` raised"
    );
    Refused::new(Code::ResourceExhausted, "TOO_MANY_TO_READ_BACK", message)
}

/// The liaison office's board of a hospital's patients.
fn liaison(shown: &Shown, today: &CareTime, zone: &Zone) -> v1::ReadLiaisonBoardResponse {
    let Shown { organisation, rows, cursor, .. } = shown;
    let mut board = v1::ReadLiaisonBoardResponse { cursor: cursor.clone(), ..Default::default() };
    for row in rows.iter().filter(|row| row.state() != v1::PatientState::Deceased) {
        let patient = board_patient(row);
        for stay in row.planned_stays.iter().filter(|stay| is_at(stay.place.as_ref(), organisation))
        {
            let planned = CareTime::parse(&stay.planned_at, zone).ok();
            if planned.is_some_and(|planned| !today.is_before(&planned)) {
                board.expected.push(v1::ExpectedRow {
                    patient: Some(patient.clone()),
                    stay: Some(stay.clone()),
                    is_overdue: planned.is_some_and(|planned| planned.is_before(today)),
                });
            }
        }
        let here = row
            .stays
            .iter()
            .filter(|stay| stay.is_stay && is_at(stay.place.as_ref(), organisation));
        board.admitted.extend(
            here.map(|stay| v1::StayRow {
                patient: Some(patient.clone()),
                stay: Some(stay.clone()),
            }),
        );
        let waiting = row.transfer_requests.iter().filter(|asked| asked.is_waiting);
        board
            .transfers_waiting
            .extend(waiting.filter_map(|asked| waiting_row(&patient, asked, organisation)));
    }
    let is_planned = |row: &&v1::StayRow| planned_discharge(row, zone).is_some();
    board.planned_discharges = board.admitted.iter().filter(is_planned).cloned().collect();
    arrange_liaison(&mut board, zone);
    board
}

/// Puts the rows of a board in their order, and leaves those that come first. Rows of the same
/// time are in the order of their patients' ids.
pub(crate) fn arrange_liaison(board: &mut v1::ReadLiaisonBoardResponse, zone: &Zone) {
    board
        .planned_discharges
        .sort_by_cached_key(|row| (planned_discharge(row, zone), id(row.patient.as_ref())));
    board.expected.sort_by_cached_key(|row| {
        (
            row.stay.as_ref().and_then(|stay| earliest(&stay.planned_at, zone)),
            id(row.patient.as_ref()),
        )
    });
    board.admitted.sort_by_cached_key(|row| {
        (
            row.stay.as_ref().and_then(|stay| earliest(&stay.since_at, zone)),
            id(row.patient.as_ref()),
        )
    });
    board.transfers_waiting.sort_by_cached_key(|row| waiting_since(row, zone));
    board.is_cut |= cut(&mut board.expected)
        | cut(&mut board.admitted)
        | cut(&mut board.planned_discharges)
        | cut(&mut board.transfers_waiting);
}

/// The same of a care team's board: those of whom something changed come first.
pub(crate) fn arrange_team(board: &mut v1::ReadTeamBoardResponse) {
    board.patients.sort_by_cached_key(|row| (row.changes.is_empty(), id(row.patient.as_ref())));
    board.is_cut |= cut(&mut board.patients);
}

/// The same of a link workers' board.
pub(crate) fn arrange_caseload(board: &mut v1::ReadCaseloadBoardResponse, zone: &Zone) {
    board.cases.sort_by_cached_key(|row| {
        let next = row.case.as_ref().and_then(|case| earliest(&case.next_contact_on, zone));
        (next, id(row.patient.as_ref()))
    });
    board.referrals_waiting.sort_by_cached_key(|row| waiting_since(row, zone));
    board.contacts_asked.sort_by_cached_key(|row| {
        let since = row.asked.as_ref().and_then(|asked| earliest(&asked.asked_at, zone));
        (since, id(row.patient.as_ref()))
    });
    board.is_cut |= cut(&mut board.cases) | cut(&mut board.referrals_waiting);
    board.is_cut |= cut(&mut board.contacts_asked);
}

fn planned_discharge(row: &v1::StayRow, zone: &Zone) -> Option<Timestamp> {
    row.stay.as_ref().and_then(|stay| earliest(&stay.planned_discharge_at, zone))
}

fn waiting_since(row: &v1::WaitingRow, zone: &Zone) -> (Option<Timestamp>, String) {
    let since = row.request.as_ref().and_then(|asked| earliest(&asked.asked_at, zone));
    (since, id(row.patient.as_ref()))
}

fn earliest(text: &str, zone: &Zone) -> Option<Timestamp> {
    CareTime::parse(text, zone).ok().map(|time| time.earliest())
}

fn id(patient: Option<&v1::BoardPatient>) -> String {
    patient.map(|patient| patient.patient_id.clone()).unwrap_or_default()
}

/// The day of a moment, or today, by the clock of the region.
pub(crate) fn day_text(moment: Option<Timestamp>, zone: &Zone) -> String {
    let words = CareTime::at(moment.unwrap_or_else(Timestamp::now)).words(zone);
    words.split_once(' ').map(|(day, _)| day.to_owned()).unwrap_or(words)
}

/// The board of a link workers' office.
fn caseload(
    shown: &Shown,
    request: &v1::ReadCaseloadBoardRequest,
    today: &CareTime,
    zone: &Zone,
) -> v1::ReadCaseloadBoardResponse {
    let Shown { organisation, rows, cursor, .. } = shown;
    let mut board = v1::ReadCaseloadBoardResponse { cursor: cursor.clone(), ..Default::default() };
    let days = if request.silent_days == 0 { SILENT_DAYS } else { request.silent_days };
    let silent_since = today.earliest() - SignedDuration::from_hours(24 * i64::from(days));
    let time = |text: &str| CareTime::parse(text, zone).ok();
    for row in rows.iter().filter(|row| row.state() != v1::PatientState::Deceased) {
        let patient = board_patient(row);
        let ours = row
            .cases
            .iter()
            .filter(|case| is_one(case.link_worker.as_ref(), organisation, &request.person));
        for case in ours {
            let last = if case.last_contact_at.is_empty() {
                &case.opened_at
            } else {
                &case.last_contact_at
            };
            board.cases.push(v1::CaseRow {
                patient: Some(patient.clone()),
                case: Some(case.clone()),
                is_due: time(&case.next_contact_on).is_none_or(|next| !today.is_before(&next)),
                is_silent: time(last).is_some_and(|last| last.latest() < silent_since),
            });
        }
        let asked = row.contacts_asked.iter();
        let asked = asked.filter(|asked| {
            asked.receiver.as_ref().is_some_and(|receiver| receiver.id == *organisation)
        });
        board.contacts_asked.extend(asked.map(|asked| v1::AskedContactRow {
            patient: Some(patient.clone()),
            asked: Some(asked.clone()),
        }));
        let waiting = row.referrals.iter().filter(|asked| asked.is_waiting);
        board.referrals_waiting.extend(
            waiting
                .filter_map(|asked| waiting_row(&patient, asked, organisation))
                .filter(|row| row.is_ours_to_answer),
        );
    }
    arrange_caseload(&mut board, zone);
    board
}

fn waiting_row(
    patient: &v1::BoardPatient,
    asked: &v1::OpenRequest,
    organisation: &str,
) -> Option<v1::WaitingRow> {
    let is = |party: &Option<v1::Organisation>| {
        party.as_ref().is_some_and(|party| party.id == organisation)
    };
    let (ours, theirs) = (is(&asked.receiver), is(&asked.requester));
    let is_ours_to_answer = if asked.is_offered { theirs } else { ours };
    (ours || theirs).then(|| v1::WaitingRow {
        patient: Some(patient.clone()),
        request: Some(asked.clone()),
        is_ours_to_answer,
    })
}

fn board_patient(row: &v1::PatientSummary) -> v1::BoardPatient {
    let known = row.demographics.clone().unwrap_or_default();
    let whole = |name: &v1::HumanName| match (&*name.family, &*name.given) {
        ("", "") => name.text.clone(),
        (family, given) => format!("{family} {given}"),
    };
    let kana = |name: &&v1::HumanName| name.script() == v1::NameScript::Syllabic;
    let care_manager = row.team.iter().find(|member| member.is_care_manager);
    v1::BoardPatient {
        patient_id: row.patient_id.clone(),
        name: known.names.first().map(whole).unwrap_or_default(),
        kana: known.names.iter().find(kana).map(whole).unwrap_or_default(),
        birth_on: known.birth_on,
        care_manager: care_manager.and_then(|member| member.member.clone()),
    }
}

fn is_at(place: Option<&v1::Place>, organisation: &str) -> bool {
    place.and_then(|place| place.facility.as_ref()).is_some_and(|of| of.id == organisation)
}

/// Whether somebody is of an organisation, and a certain person, if one is named.
fn is_one(who: Option<&v1::Participant>, organisation: &str, person: &str) -> bool {
    who.is_some_and(|who| {
        who.organisation.as_ref().is_some_and(|of| of.id == organisation)
            && (person.is_empty() || who.person == person)
    })
}

/// Leaves the rows that a board shows. True if there were more.
fn cut<T>(rows: &mut Vec<T>) -> bool {
    let is_cut = rows.len() > ROWS_MAX;
    rows.truncate(ROWS_MAX);
    is_cut
}
