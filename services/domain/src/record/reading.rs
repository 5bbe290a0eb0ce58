//! What a record says: where the patient is, in which stays they were, what became of events.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::corrections::effective;
use super::{Fact, Record, Stamp, Told};
use crate::case::Case;
use crate::correction;
use crate::encounter::{Encounter, Stage};
use crate::id::{CaseId, EncounterId, EventId, PatientId, ReferralId, TransferRequestId};
use crate::identity::{self, Patient};
use crate::note::Course;
use crate::referral::Referral;
use crate::time::CareTime;
use crate::transfer_request::TransferRequest;

impl Record {
    /// What was told and holds: as it is corrected, without what was entered in error, in the
    /// order in which it was told; and with it what was told in the records that were merged into
    /// this one.
    pub fn standing(&self) -> impl Iterator<Item = (Stamp, Fact)> {
        self.told.iter().filter_map(|told| effective(told, &self.corrections))
    }

    /// The events that say a number of the patient's, and those that correct them, or one another:
    /// also what was entered in error.
    pub fn of_numbers(&self) -> BTreeSet<EventId> {
        use identity::Event::{IdentifierLinked, Registered};
        let said = |told: &&Arc<Told>| {
            matches!(told.event.fact, Fact::Identity(Registered(_) | IdentifierLinked(_)))
        };
        let mut next: Vec<EventId> =
            self.told.iter().filter(said).map(|told| told.event.stamp.event).collect();
        let mut found = BTreeSet::new();
        while let Some(event) = next.pop() {
            if found.insert(event) {
                next.extend(self.corrections.of(event));
            }
        }
        found
    }

    /// What became of an event: entered in error, or corrected.
    pub fn outcome(&self, event: EventId) -> correction::Outcome<'_> {
        self.corrections.outcome(event)
    }

    /// The corrections of an event, in the order in which they were made.
    pub fn corrections_of(&self, event: EventId) -> impl Iterator<Item = EventId> {
        self.corrections.of(event)
    }

    /// The record that was merged into this one with which an event came.
    pub fn merged_from(&self, event: EventId) -> Option<PatientId> {
        let told = self.told.iter().find(|told| told.event.stamp.event == event);
        let note = || self.notes.iter().find(|note| note.event == event)?.of;
        told.map_or_else(note, |told| told.of)
    }

    pub fn has_corrections(&self) -> bool {
        !self.corrections.is_empty()
    }

    pub fn patient(&self) -> &Patient {
        &self.state.patient
    }

    /// Whether the patient died, as anybody says: also a discharge.
    pub fn is_deceased(&self) -> bool {
        self.state.patient.is_deceased() || self.death_in_encounter().is_some()
    }

    /// When the patient died in a stay or visit, and the event that says so.
    pub fn death_in_encounter(&self) -> Option<(EventId, CareTime)> {
        self.state.encounters.values().find_map(Encounter::death)
    }

    pub fn encounter(&self, id: EncounterId) -> Option<&Encounter> {
        self.state.encounters.get(&id)
    }

    /// The same; of a stay that gave way, the facility's own.
    pub fn encounter_in_force(&self, id: EncounterId) -> Option<&Encounter> {
        self.encounter(self.state.successor(id).map_or(id, |(own, _)| own))
    }

    /// Without the stays of which the facility itself has told since under another id.
    pub fn encounters(&self) -> impl Iterator<Item = (EncounterId, &Encounter)> {
        let all = self.state.encounters.iter().map(|(id, encounter)| (*id, encounter));
        all.filter(|(id, _)| self.state.successor(*id).is_none())
    }

    /// The event by which the facility itself tells of a stay that somebody had entered for it: that
    /// stay gives way.
    pub fn superseded_by(&self, id: EncounterId) -> Option<EventId> {
        self.state.successor(id).map(|(_, event)| event)
    }

    pub fn transfer_request(&self, id: TransferRequestId) -> Option<&TransferRequest> {
        self.state.transfer_requests.get(&id)
    }

    pub fn transfer_requests(&self) -> impl Iterator<Item = (TransferRequestId, &TransferRequest)> {
        self.state.transfer_requests.iter().map(|(id, request)| (*id, request))
    }

    pub fn referrals(&self) -> impl Iterator<Item = (ReferralId, &Referral)> {
        self.state.referrals.iter().map(|(id, referral)| (*id, referral))
    }

    pub fn cases(&self) -> impl Iterator<Item = (CaseId, &Case)> {
        self.state.cases.iter().map(|(id, case)| (*id, case))
    }

    /// Where things stand of which forms and notes tell the steps: a question, an order.
    pub fn course(&self, of: &'static str, id: Uuid) -> Option<&Course> {
        self.state.courses.get(&(of, id))
    }

    /// The encounter with which the chain that leads to `encounter` begins. The first link of
    /// a chain may be an encounter that nothing else is known of.
    pub fn episode(&self, encounter: EncounterId) -> EncounterId {
        let mut first = encounter;
        // A chain cannot be longer than there are encounters, unless it were circular.
        for _ in 0..=self.state.encounters.len() {
            match self.state.preceding(first) {
                Some(preceding) if preceding != encounter => first = preceding,
                Some(_) | None => break,
            }
        }
        first
    }

    /// The encounter that says where the patient is: the stay or visit that goes on now, or
    /// else the one that ended last.
    pub fn whereabouts(&self) -> Option<(EncounterId, &Encounter)> {
        self.encounters().filter(|(_, encounter)| encounter.began_at().is_some()).max_by_key(
            |(id, encounter)| {
                let rank = match encounter.stage() {
                    Stage::Expected | Stage::Ended => 0,
                    Stage::Visiting => 1,
                    Stage::InHospital | Stage::OnLeave => 2,
                };
                (rank, encounter.since().map(|since| since.earliest()), *id)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::record::testing::{admit, discharge, encounter_id, given, register};

    #[test]
    fn encounters_that_continue_one_another_are_one_episode() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-09", discharge(1)),
            ("2026-05-09", admit(2, "rehab", Some(1))),
            ("2026-05-30", discharge(2)),
            ("2026-05-30", admit(3, "long-term", Some(2))),
        ]);
        for encounter in [1, 2, 3] {
            assert_eq!(record.episode(encounter_id(encounter)), encounter_id(1));
        }
        assert_eq!(record.episode(encounter_id(9)), encounter_id(9));
    }

    #[test]
    fn the_patient_is_where_the_stay_goes_on() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-09", discharge(1)),
        ]);
        assert_eq!(record.whereabouts().unwrap().0, encounter_id(1));
        let back = given(&[
            ("2026-05-01", register()),
            ("2026-05-20", admit(2, "acute", None)),
            ("2026-05-02", admit(1, "rehab", None)),
            ("2026-05-09", discharge(1)),
        ]);
        assert_eq!(back.whereabouts().unwrap().0, encounter_id(2));
    }
}
