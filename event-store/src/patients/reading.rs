//! Reads the rows: page by page, those of an organisation, and as they were known at a time.

use std::collections::BTreeSet;
use std::ops::Bound;

use jiff::Timestamp;
use prost::Message as _;
use tsunagi_bus::StreamId;
use tsunagi_domain::{PatientId, ResourceId};
use tsunagi_proto::v1;

use super::{Patients, RowsError, row};
use crate::keys;
use crate::log::file::Patience;
use crate::timeline::{Other, Timeline, View};

/// Bytes of rows after which no more are put on a page.
const PAGE_BYTES: usize = 1 << 20;

impl Patients {
    /// Patients after `after`, in the order of their ids, of which `filter` holds: `max` of them
    /// at most, and fewer if they are long. With them, whether there may be more.
    pub fn list(
        &self,
        after: Option<PatientId>,
        max: usize,
        filter: impl Fn(&v1::PatientSummary) -> bool,
    ) -> Result<(Vec<v1::PatientSummary>, bool), RowsError> {
        let rows = match after {
            None => self.rows().scan_prefix(keys::PATIENTS),
            Some(after) => {
                let from = keys::patient(after);
                self.rows().range((Bound::Excluded(from), Bound::Unbounded))
            }
        };
        let mut patients = Vec::new();
        let mut bytes = 0;
        for row in rows {
            let (key, value) = row?;
            let Some(patient) = keys::read_patient(&key) else { break };
            if !self.records.has(StreamId::Patient(patient)) {
                // It was this store's once.
                continue;
            }
            if patients.len() >= max || bytes >= PAGE_BYTES {
                return Ok((patients, true));
            }
            // All could be read when they were opened: one that cannot be is left out, as
            // better missing than wrong.
            let summary = v1::PatientSummary::decode(&*value).ok();
            if let Some(summary) = summary.filter(|summary| filter(summary)) {
                bytes += value.len();
                patients.push(summary);
            }
        }
        Ok((patients, false))
    }

    /// The patients with whom an organisation has to do.
    pub fn of_organisation(
        &self,
        organisation: &str,
    ) -> Result<Vec<v1::PatientSummary>, RowsError> {
        let rows = self.rows();
        let prefix = keys::of_organisation(organisation);
        let mut patients = Vec::new();
        for key in rows.scan_prefix(&prefix).keys() {
            let Some(patient) = keys::read_in_organisation(&key?, &prefix) else { continue };
            if !self.records.has(StreamId::Patient(patient)) {
                continue;
            }
            let row = rows.get(keys::patient(patient))?;
            patients.extend(row.and_then(|row| v1::PatientSummary::decode(&*row).ok()));
        }
        Ok(patients)
    }

    /// Whether an organisation has, or ever had, to do with a patient.
    pub(crate) fn ever_had_to_do(
        &self,
        organisation: &str,
        patient: PatientId,
    ) -> Result<bool, RowsError> {
        let key = keys::in_organisation(&keys::ever_of_organisation(organisation), patient);
        Ok(self.rows().contains_key(key)?)
    }

    /// As `of_organisation`, as it was known at a time. None if they are more than `max` who ever had to do
    /// with it.
    pub(crate) fn of_organisation_at(
        &self,
        organisation: &str,
        as_known_at: Timestamp,
        max: usize,
    ) -> Result<Option<Vec<v1::PatientSummary>>, RowsError> {
        let prefix = keys::ever_of_organisation(organisation);
        let mut patients = Vec::new();
        for (count, key) in self.rows().scan_prefix(&prefix).keys().enumerate() {
            if count == max {
                return Ok(None);
            }
            let Some(patient) = keys::read_in_organisation(&key?, &prefix) else { continue };
            if !self.records.has(StreamId::Patient(patient)) {
                continue;
            }
            let row = self.row_at(patient, as_known_at)?;
            patients.extend(row.filter(|row| row.merged_into_patient_id.is_empty()));
        }
        Ok(Some(patients))
    }

    /// The row of a patient as it was known at a time, if the patient was registered by then.
    fn row_at(
        &self,
        patient: PatientId,
        as_known_at: Timestamp,
    ) -> Result<Option<v1::PatientSummary>, RowsError> {
        let view = View { as_known_at: Some(as_known_at), version_max: None };
        let read = &mut |other: Other| {
            let events = self.records.wait_for(other.into())?;
            events.map_err(|away| RowsError::Away(Box::new(away)))
        };
        let events = self.store.read_all(StreamId::Patient(patient), Patience::Wait)?;
        let timeline = Timeline::fold_with(&events, &self.store.region().zone, view, read)?;
        let is_known = timeline.record().patient().is_known();
        Ok(is_known.then(|| row(&timeline, patient, &self.store)))
    }

    /// As `list`, of what was known at a time. Looks at `read_max` patients at most, and says at
    /// which it stopped: a page may have fewer than there are.
    pub(crate) fn list_at(
        &self,
        after: Option<PatientId>,
        (max, read_max): (usize, usize),
        as_known_at: Timestamp,
        filter: impl Fn(&v1::PatientSummary) -> bool,
    ) -> Result<(Vec<v1::PatientSummary>, Option<PatientId>), RowsError> {
        let from = match after {
            None => Bound::Included(keys::PATIENTS.to_vec()),
            Some(after) => Bound::Excluded(keys::patient(after).to_vec()),
        };
        let (mut patients, mut bytes, mut last) = (Vec::new(), 0, None);
        for (count, key) in self.rows().range((from, Bound::Unbounded)).keys().enumerate() {
            let Some(patient) = keys::read_patient(&key?) else { return Ok((patients, None)) };
            if count == read_max || patients.len() >= max || bytes >= PAGE_BYTES {
                return Ok((patients, last));
            }
            last = Some(patient);
            if !self.records.has(StreamId::Patient(patient)) {
                continue;
            }
            if let Some(row) = self.row_at(patient, as_known_at)?.filter(&filter) {
                bytes += row.encoded_len();
                patients.push(row);
            }
        }
        Ok((patients, None))
    }

    /// Resources after `after`, in the order of their ids, that `show` shows: `max` of them at
    /// most, and fewer if they are long. With them, whether there may be more.
    pub fn resources(
        &self,
        after: Option<ResourceId>,
        max: usize,
        mut show: impl FnMut(v1::DirectoryEntry) -> Option<v1::DirectoryEntry>,
    ) -> Result<(Vec<v1::DirectoryEntry>, bool), RowsError> {
        let rows = match after {
            None => self.rows().scan_prefix(keys::RESOURCES),
            Some(after) => {
                let from = keys::resource(after);
                self.rows().range((Bound::Excluded(from), Bound::Unbounded))
            }
        };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let (key, value) = row?;
            if keys::read_resource(&key).is_none() {
                break;
            }
            let Some(entry) = v1::DirectoryEntry::decode(&*value).ok().and_then(&mut show) else {
                continue;
            };
            if entries.len() >= max || bytes >= PAGE_BYTES {
                return Ok((entries, true));
            }
            bytes += value.len();
            entries.push(entry);
        }
        Ok((entries, false))
    }

    /// The records that say that they were merged into another, which does not say so, as far as is
    /// known here: half of a merge, or of its end, is missing.
    pub fn half_merged(&self) -> Result<Vec<PatientId>, RowsError> {
        let rows = self.rows();
        let mut half = Vec::new();
        for retired in self.all(|row| !row.merged_into_patient_id.is_empty())? {
            let survivor = PatientId::parse(&retired.merged_into_patient_id).ok();
            let row = survivor.map(|of| rows.get(keys::patient(of))).transpose()?.flatten();
            let row = row.and_then(|row| v1::PatientSummary::decode(&*row).ok());
            if row.is_none_or(|row| !row.merged_patient_ids.contains(&retired.patient_id)) {
                half.extend(PatientId::parse(&retired.patient_id).ok());
            }
        }
        Ok(half)
    }

    /// The records to which events were moved from others: whether all that were begun came about,
    /// is not known here.
    pub fn moved_to(&self) -> Result<Vec<PatientId>, RowsError> {
        let mut patients = Vec::new();
        for row in self.rows().scan_prefix(keys::MOVED_TO_ALL) {
            patients.extend(keys::read_moved_to(&row?.0));
        }
        patients.retain(|patient| self.records.has(StreamId::Patient(*patient)));
        Ok(patients)
    }

    /// All patients of whom `filter` holds.
    pub fn all(
        &self,
        filter: impl Fn(&v1::PatientSummary) -> bool,
    ) -> Result<Vec<v1::PatientSummary>, RowsError> {
        let mut patients = Vec::new();
        for row in self.rows().scan_prefix(keys::PATIENTS) {
            let (key, row) = row?;
            if keys::read_patient(&key)
                .is_none_or(|patient| !self.records.has(StreamId::Patient(patient)))
            {
                continue;
            }
            let summary = v1::PatientSummary::decode(&*row).ok();
            patients.extend(summary.filter(|summary| filter(summary)));
        }
        Ok(patients)
    }
}

/// The organisations that have to do with a patient now: on the team, where the patient is or is
/// expected, or asked for something.
pub(crate) fn organisations(row: &v1::PatientSummary) -> BTreeSet<String> {
    let facility = |place: &Option<v1::Place>| place.as_ref().and_then(|at| at.facility.clone());
    let of = |who: &Option<v1::Participant>| who.as_ref().and_then(|of| of.organisation.clone());
    let requests = row.transfer_requests.iter().chain(&row.referrals);
    let parties = requests.flat_map(|asked| [asked.requester.clone(), asked.receiver.clone()]);
    let called = row.contacts_asked.iter().map(|asked| asked.receiver.clone());
    let all = parties
        .chain(called)
        .chain(row.team.iter().map(|member| of(&member.member)))
        .chain(row.stays.iter().map(|stay| facility(&stay.place)))
        .chain(row.planned_stays.iter().map(|stay| facility(&stay.place)))
        .chain(row.cases.iter().map(|case| of(&case.link_worker)));
    // A record that was merged into another is no longer anybody's.
    let is_own = row.merged_into_patient_id.is_empty();
    all.flatten().map(|of| of.id).filter(|id| is_own && !id.is_empty()).collect()
}
