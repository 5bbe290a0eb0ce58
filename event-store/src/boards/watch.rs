//! Tells when a board is to be read again: somebody recorded something about a patient with whom
//! its organisation has, or ever had, to do.

use std::collections::BTreeSet;

use tokio::sync::watch;
use tsunagi_bus::cursor::Progress;
use tsunagi_bus::{Cursor, Delivery, Feed, Stored};
use tsunagi_chassis::Refused;
use tsunagi_domain::PatientId;
use tsunagi_proto::v1;
use tsunagi_proto::v1::watch_board_response::Frame as Sign;

use crate::grpc::{rows_refused, rows_unreadable};
use crate::patients::Patients;
use crate::store::Store;
use crate::timeline::is_read;

/// A board that is being watched.
pub(super) struct Watched {
    pub(super) store: Store,
    pub(super) patients: Patients,
    pub(super) organisation: String,
    pub(super) feed: Box<dyn Feed>,
    /// How far the rows are made.
    pub(super) made: watch::Receiver<Cursor>,
    /// What the watcher was told of, or does not concern the board.
    pub(super) seen: Progress,
    /// Whether the watcher was told that what comes is live.
    pub(super) is_caught_up: bool,
}

impl Watched {
    /// The next sign; waits for it.
    pub(super) async fn next(&mut self) -> Result<v1::WatchBoardResponse, Refused> {
        loop {
            let frame = match self.feed.next().await? {
                Delivery::CaughtUp if self.is_caught_up => continue,
                Delivery::CaughtUp => {
                    self.is_caught_up = true;
                    Sign::CaughtUp(v1::CaughtUp {})
                }
                // What it says is on no board.
                Delivery::Unreadable(of) => {
                    if let Some(of) = of {
                        self.seen.advance(of.placed.position);
                    }
                    continue;
                }
                Delivery::Events(events) => match self.changed(&events).await? {
                    Some(changed) => Sign::Changed(changed),
                    None => continue,
                },
            };
            return Ok(sign(frame, &self.seen, &self.store));
        }
    }

    /// The board's patients of whom these events tell something, when their rows are made.
    async fn changed(&mut self, events: &[Stored]) -> Result<Option<v1::BoardChanged>, Refused> {
        let mut end = Cursor::start();
        for stored in events {
            end.advance(stored.placed.position);
        }
        // The rows are made as long as the server runs; which has its own end for this.
        if self.made.wait_for(|made| made.covers(&end)).await.is_err() {
            return Err(tsunagi_chassis::answers::stops());
        }
        let told = events.iter().filter(|stored| is_read(stored));
        let told = told.filter_map(|stored| stored.stream.patient());
        let told: BTreeSet<PatientId> = told.collect();
        let (patients, organisation) = (self.patients.clone(), self.organisation.clone());
        let ours = tokio::task::spawn_blocking(move || {
            let is_ours = |of: &PatientId| patients.ever_had_to_do(&organisation, *of);
            told.into_iter().map(|of| Ok((is_ours(&of)?, of))).collect::<Result<Vec<_>, _>>()
        });
        let ours = match ours.await {
            Ok(Ok(ours)) => ours,
            Ok(Err(error)) => return Err(rows_refused(error)),
            Err(error) => return Err(rows_unreadable(&error)),
        };
        for stored in events {
            self.seen.advance(stored.placed.position);
        }
        let patient_ids: Vec<String> = ours
            .into_iter()
            .filter(|(is_ours, _)| *is_ours)
            .map(|(_, of)| of.to_string())
            .collect();
        Ok((!patient_ids.is_empty()).then_some(v1::BoardChanged { patient_ids }))
    }
}

pub(super) fn sign(frame: Sign, seen: &Progress, store: &Store) -> v1::WatchBoardResponse {
    v1::WatchBoardResponse { frame: Some(frame), cursor: seen.text(store.region()) }
}
