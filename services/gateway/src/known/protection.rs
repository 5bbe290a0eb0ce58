//! Whether a patient's address is confidential, as the patient's records say (DV 住所秘匿).

use std::collections::HashMap;

use jiff::Timestamp;
use tsunagi_bus::{Stored, address};
use tsunagi_domain::PatientId;
use tsunagi_domain::identity::Patient;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

/// What was told of the address being confidential, by when it was recorded.
#[derive(Debug, Default)]
pub(super) struct Protection {
    /// The last time that the own record said so, and each other one.
    own: Option<Timestamp>,
    others: HashMap<PatientId, Timestamp>,
    /// Since when others are part of the own record.
    joined: HashMap<PatientId, Timestamp>,
    /// The last time that the own record openly said an address.
    opened: Option<Timestamp>,
    /// Whether the own record was taken apart from another, and it is not yet known what was said
    /// there meanwhile.
    is_given_back: bool,
}

impl Protection {
    pub(super) fn fold(
        &mut self,
        stored: &Stored,
        is_own: bool,
        event: &v1::Event,
        payload: &Payload,
    ) {
        let at = stored.placed.recorded_at;
        if let Payload::PatientsMerged(merge) = payload
            && let Ok(retired) = PatientId::parse(&merge.retired_patient_id)
            && is_own
        {
            self.joined.insert(retired, at);
        } else if matches!(payload, Payload::PatientRestored(_)) {
            self.is_given_back |= is_own;
        } else if address::is_confidential(event, payload) {
            match stored.stream.patient() {
                Some(patient) if !is_own => drop(self.others.insert(patient, at)),
                Some(_) | None => self.own = Some(at),
            }
        } else if is_own && address::has_address(payload) {
            self.opened = Some(at);
        }
    }

    pub(super) fn is_given_back(&self) -> bool {
        self.is_given_back
    }

    /// Takes note of when the own record was taken apart from one in which the address was said to
    /// be confidential meanwhile, if it ever was.
    pub(super) fn take_along(&mut self, since: Option<Timestamp>) {
        self.own = self.own.max(since);
        self.is_given_back = false;
    }

    /// Whether somebody said that the address of `patient` is confidential, and nobody who could
    /// know openly said one since.
    pub(super) fn holds(&self, patient: &Patient) -> bool {
        let is_after = |one: &Timestamp| self.opened.is_some_and(|opened| opened > *one);
        let last_joined = self.joined.values().max();
        let protects = |(record, at): (&PatientId, &Timestamp)| {
            let joined = self.joined.get(record).or(last_joined);
            self.is_part(*record, patient) && !(is_after(at) && joined.is_none_or(is_after))
        };
        self.own.as_ref().is_some_and(|at| !is_after(at)) || self.others.iter().any(protects)
    }

    /// Whether anybody ever said so, whatever was said since.
    pub(super) fn was_said(&self, patient: &Patient) -> bool {
        self.own.is_some() || self.others.keys().any(|record| self.is_part(*record, patient))
    }

    fn is_part(&self, record: PatientId, patient: &Patient) -> bool {
        if self.joined.contains_key(&record) {
            patient.merge_of(record).is_some()
        } else {
            // It came with another that was merged.
            patient.merged().next().is_some()
        }
    }
}
