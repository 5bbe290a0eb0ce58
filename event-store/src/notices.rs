//! Tells other organisations that something was recorded that concerns them: by ids alone, so
//! that who may read it reads it here.
//!
//! What must stay true: each event of this store's slots is told at least once to every
//! organisation that it concerns and that is to be told. How far that is stands in
//! `notices.cursor`, which is written when NATS has what lies before it. Of a patient of whom
//! something is damaged, what can be read says whom it concerns: nobody waits for what may never
//! be read again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::nats::notify::{Notice, Notifier, NotifyError};
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Stored, StreamId};
use tsunagi_chassis::Refused;
use tsunagi_domain::{EventId, PatientId};
use tsunagi_proto::v1;

use crate::log::LogError;
use crate::patients::organisations;
use crate::records::{Lack, Reader, Records};
use crate::region_file::write_durably;
use crate::store::off_the_runtime;
use crate::timeline::{Timeline, View, is_read};

const NAME: &str = "notices.cursor";
/// Notices that are on their way to NATS at once.
const SENT_AT_ONCE: usize = 32;
/// After a failure; each further one in a row waits twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Why telling does not go on, or not at the moment.
#[derive(Debug, thiserror::Error)]
pub enum NoticesError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Notify(#[from] NotifyError),
    #[error("{} ({})", .0.message, .0.reason)]
    Refused(Refused),
}

/// Tells of what is stored.
pub struct Notices {
    records: Records,
    notifier: Notifier,
    /// Who is to be told.
    organisations: BTreeSet<String>,
    path: PathBuf,
    cursor: Cursor,
}

impl Notices {
    /// Goes on where it was; what was stored before it was first asked for is told to nobody.
    pub fn open(
        records: Records,
        notifier: Notifier,
        organisations: &[String],
        data: &Path,
    ) -> Result<Self, LogError> {
        let path = data.join(NAME);
        let region = records.store().region();
        let cursor = match std::fs::read_to_string(&path) {
            Ok(text) => region.read_cursor(text.trim()).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(LogError::io("reading", &path)(error)),
        };
        let end = records.store().end();
        // A log that was put back to before the cursor begins where it ends.
        let cursor = cursor.filter(|cursor| end.covers(cursor)).unwrap_or(end);
        write_durably(&path, region.cursor_text(&cursor).as_bytes())?;
        let organisations = organisations.iter().cloned().collect();
        Ok(Self { records, notifier, organisations, path, cursor })
    }

    /// Tells until it is time to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = RETRY_AFTER;
        loop {
            let told = self.tell_all(&mut pause);
            // What was told and is not noted yet is told again.
            let Some(ended) = stop.run_until_cancelled(told).await else { return };
            if let Err(error) = ended {
                tracing::warn!(%error, "organisations are told later");
            }
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(RETRY_AFTER_MAX);
        }
    }

    async fn tell_all(&mut self, pause: &mut Duration) -> Result<(), NoticesError> {
        let mut feed = self.records.store().follow(self.cursor.clone());
        loop {
            let events = match feed.next().await? {
                Delivery::Events(events) => events,
                Delivery::Unreadable(of) => {
                    // Nobody knows any more whom it concerns.
                    if let Some(of) = of {
                        self.cursor.advance(of.placed.position);
                    }
                    continue;
                }
                Delivery::CaughtUp => continue,
            };
            let mut patients: Vec<PatientId> =
                events.iter().filter_map(|stored| stored.stream.patient()).collect();
            patients.sort_unstable();
            patients.dedup();
            for patient in
                patients.into_iter().filter(|patient| self.records.has(StreamId::Patient(*patient)))
            {
                let of_patient =
                    events.iter().filter(|stored| stored.stream == StreamId::Patient(patient));
                self.tell_of(patient, of_patient.map(|stored| stored.event).collect()).await?;
            }
            for stored in &events {
                self.cursor.advance(stored.placed.position);
            }
            let text = self.records.store().region().cursor_text(&self.cursor);
            let path = self.path.clone();
            off_the_runtime(move || write_durably(&path, text.as_bytes())).await?;
            *pause = RETRY_AFTER;
        }
    }

    /// Tells of some of a patient's events.
    async fn tell_of(
        &self,
        patient: PatientId,
        events: BTreeSet<EventId>,
    ) -> Result<(), NoticesError> {
        let concerned = self.records.reading(move |reader| concerned(reader, patient, &events));
        let concerned = concerned.await.map_err(NoticesError::Refused)?;
        let told = concerned.into_iter().flat_map(|(stored, organisations)| {
            let body = body(&stored, patient);
            let kind = kind(&stored);
            let organisations = organisations.intersection(&self.organisations).cloned();
            let notice = |organisation: String| Notice {
                id: format!("{}.{organisation}", stored.event),
                organisation,
                kind: kind.clone(),
                body: body.clone(),
            };
            organisations.map(notice).collect::<Vec<_>>()
        });
        let sent = futures_util::stream::iter(told.collect::<Vec<_>>())
            .map(|notice| async move { self.notifier.tell(notice).await })
            .buffer_unordered(SENT_AT_ONCE);
        Ok(sent.try_collect::<()>().await?)
    }
}

/// Whom these events concern: who had to do with the patient before, and who has afterwards.
fn concerned(
    reader: &Reader<'_>,
    patient: PatientId,
    events: &BTreeSet<EventId>,
) -> Result<Vec<(Stored, BTreeSet<String>)>, Lack> {
    let mut timeline = Timeline::for_summary(&reader.store.region().zone);
    let mut concerned = Vec::new();
    for stored in reader.events_past_damage(patient)? {
        let is_told = events.contains(&stored.event) && is_read(&stored);
        let before = is_told.then(|| organisations(&timeline.summary(patient)));
        let read = &mut |of| reader.other_past_damage(of);
        timeline.add_with(&stored, View::default(), read)?;
        if let Some(mut of_event) = before {
            of_event.extend(organisations(&timeline.summary(patient)));
            concerned.push((stored, of_event));
        }
    }
    Ok(concerned)
}

/// The family of the event's type, as a token of a subject.
fn kind(stored: &Stored) -> String {
    let event = v1::Event::decode(stored.record.clone()).unwrap_or_default();
    let family = event.r#type.split('.').nth(1).unwrap_or_default().replace('_', "-");
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    let is_token = !family.is_empty() && family.len() <= 32 && family.bytes().all(is_plain);
    if is_token { family } else { "other".to_owned() }
}

/// An event as `CloudEvents` has it, without data.
fn body(stored: &Stored, patient: PatientId) -> Bytes {
    let (event, kind, at) = (stored.event, kind(stored), stored.placed.recorded_at);
    // Ids, a family's name and a time: there is nothing to be escaped.
    let text = format!(
        r#"{{"specversion":"1.0","id":"{event}","source":"/tsunagi","type":"care.notice.{kind}.v1","subject":"{patient}","time":"{at}"}}"#
    );
    text.into()
}
