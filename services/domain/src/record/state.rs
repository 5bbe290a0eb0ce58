//! The state that follows from what was told: each command is decided by the part that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add as _;

use jiff::Timestamp;
use uuid::Uuid;

use super::begun::Begun;
use super::{FUTURE_TOLERANCE, Fact, Order, Refusal, Stamp};
use crate::case::Case;
use crate::encounter::{self, Encounter};
use crate::id::{CaseId, EncounterId, PatientId, ReferralId, TransferRequestId};
use crate::identity::{self, Patient};
use crate::note::{Course, Document, Editions, Successions};
use crate::path::Gaps;
use crate::referral::Referral;
use crate::time::CareTime;
use crate::transfer_request::TransferRequest;

/// What follows from what was told, as it is corrected.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) patient: Patient,
    pub(super) encounters: BTreeMap<EncounterId, Encounter>,
    /// Those of which anything was entered for somebody else.
    pub(super) by_proxy: BTreeSet<EncounterId>,
    pub(super) transfer_requests: BTreeMap<TransferRequestId, TransferRequest>,
    pub(super) referrals: BTreeMap<ReferralId, Referral>,
    pub(super) cases: BTreeMap<CaseId, Case>,
    pub(super) courses: BTreeMap<(&'static str, Uuid), Course>,
    /// The versions of plans.
    pub(super) editions: BTreeMap<Uuid, Editions>,
    pub(super) begun: Begun,
    pub(super) successions: Successions,
}

impl State {
    pub(super) fn decide(&self, stamp: &Stamp, order: Order) -> Result<Fact, Refusal> {
        let fact = match order {
            Order::Identity(command) => Fact::Identity(self.patient.decide(stamp, command)?),
            Order::Encounter(id, command) => {
                Fact::Encounter(id, self.decide_encounter(id, stamp, command)?)
            }
            Order::TransferRequest(id, command) => {
                Fact::TransferRequest(id, self.decide_transfer_request(id, stamp, command)?)
            }
            Order::Referral(id, command) => {
                Fact::Referral(id, self.decide_referral(id, stamp, command)?)
            }
            Order::Case(id, command) => Fact::Case(id, self.decide_case(id, stamp, command)?),
            Order::Document(document) => {
                self.check_document(stamp, &document)?;
                Fact::Document(document)
            }
            Order::Correction(correction) => Fact::Correction(correction),
        };
        self.check_begun(stamp, &fact)?;
        if tells_of_the_patient(&fact) {
            self.check_born(stamp.occurred_at)?;
        }
        Ok(fact)
    }

    pub(super) fn apply(&mut self, stamp: &Stamp, fact: &Fact) {
        self.begun.add(stamp, fact);
        match fact {
            Fact::Identity(event) => self.patient.apply(stamp, event),
            Fact::Encounter(id, event) => {
                if stamp.by_proxy {
                    self.by_proxy.insert(*id);
                }
                self.encounters.entry(*id).or_default().apply(stamp, event);
            }
            Fact::TransferRequest(id, event) => {
                self.transfer_requests.entry(*id).or_default().apply(stamp, event);
            }
            Fact::Referral(id, event) => {
                self.referrals.entry(*id).or_default().apply(stamp, event);
            }
            Fact::Case(id, event) => self.cases.entry(*id).or_default().apply(stamp, event),
            Fact::Document(document) => {
                let Document { step, edition, encounter, case, is_case_work, .. } = document;
                if let Some(succession) = document.succession {
                    self.successions.apply(stamp, succession);
                }
                if let (Some(case), true) = (case, is_case_work) {
                    self.cases.entry(*case).or_default().work(stamp);
                }
                if let Some(step) = step {
                    let course = self.courses.entry((step.of, step.id)).or_default();
                    course.apply(stamp, *step, *encounter);
                }
                if let Some(edition) = edition {
                    self.editions.entry(edition.of).or_default().apply(stamp, edition.version);
                }
            }
            Fact::Correction(_) => {}
        }
    }

    /// What the courses of all things lack together.
    pub(super) fn gaps(&self) -> Gaps {
        let requests = self.transfer_requests.values().map(TransferRequest::gaps);
        let referrals = self.referrals.values().map(Referral::gaps);
        let cases = self.cases.values().map(Case::gaps);
        let courses = self.courses.values().map(Course::gaps);
        requests.chain(referrals).chain(cases).chain(courses).fold(Gaps::default(), Gaps::add)
    }

    /// Applies what was told in this record, or of another one that was merged into it.
    pub(super) fn take_over(&mut self, of: Option<PatientId>, stamp: &Stamp, fact: &Fact) {
        if let (Some(retired), Fact::Identity(event)) = (of, fact) {
            self.patient.absorb(retired, stamp, event);
        } else {
            self.apply(stamp, fact);
        }
    }

    /// Whether the patient was certainly dead before that.
    pub(super) fn died_before(&self, at: CareTime) -> bool {
        let mut deaths = self.encounters.values().filter_map(Encounter::death);
        self.patient.died_before(at) || deaths.any(|(_, death)| death.is_before(&at))
    }

    /// Nothing happens to a patient before birth.
    pub(super) fn check_born(&self, at: CareTime) -> Result<(), Refusal> {
        if self.patient.birth_on().is_some_and(|birth| at.is_before(&birth)) {
            return Err(identity::Refusal::BornAfterEvent.into());
        }
        Ok(())
    }
}

/// What is said of the person checks itself; a cancel and a correction tell of the record.
fn tells_of_the_patient(fact: &Fact) -> bool {
    match fact {
        Fact::Identity(_) | Fact::Correction(_) => false,
        Fact::Encounter(_, event) => event.cancelled().is_none(),
        Fact::TransferRequest(..) | Fact::Referral(..) | Fact::Case(..) | Fact::Document(_) => true,
    }
}

/// What has happened lies in the past, and so does the end of a visit or a life.
pub(super) fn check_ends(order: &Order, now: Timestamp) -> Result<(), Refusal> {
    let is_future =
        |time: Option<CareTime>| time.is_some_and(|time| time.earliest() > now + FUTURE_TOLERANCE);
    let ended_at = if let Order::Encounter(_, encounter::Command::RegisterVisit(visit)) = order {
        visit.ended_at
    } else if let Order::Document(document) = order {
        document.ended_at
    } else {
        None
    };
    if is_future(ended_at) {
        return Err(encounter::Refusal::EndsInFuture.into());
    }
    if let Order::Identity(
        identity::Command::Register(identity::Registration { demographics, .. })
        | identity::Command::UpdateDemographics(demographics),
    ) = order
        && is_future(demographics.deceased_at)
    {
        return Err(identity::Refusal::DiesInFuture.into());
    }
    if let Order::Identity(identity::Command::RecordDeath(death)) = order
        && is_future(death.at)
    {
        return Err(identity::Refusal::DiesInFuture.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case;
    use crate::encounter::Cancellation;
    use crate::identity::Demographics;
    use crate::record::testing::{admit, encounter_id, event_id, given, place, register, time};

    #[test]
    fn nothing_ends_in_the_future() {
        let record = given(&[("2026-05-01", register())]);
        let visit = encounter::Visit {
            class: encounter::Class::Outpatient,
            place: place("acute"),
            ended_at: Some(time("2026-06-02")),
            preceding: None,
        };
        let visit = Order::Encounter(encounter_id(1), encounter::Command::RegisterVisit(visit));
        assert_eq!(
            record.when("2026-05-02", visit),
            Err(Refusal::Encounter(encounter::Refusal::EndsInFuture))
        );
        let demographics =
            Demographics { deceased_at: Some(time("2026-06-02")), ..Demographics::default() };
        let update = Order::Identity(identity::Command::UpdateDemographics(demographics));
        assert_eq!(
            record.when("2026-05-02", update),
            Err(Refusal::Identity(identity::Refusal::DiesInFuture))
        );
    }

    #[test]
    fn nothing_happens_to_a_patient_before_birth() {
        let demographics =
            Demographics { birth_on: Some(time("2026-05-02")), ..Demographics::default() };
        let update = Order::Identity(identity::Command::UpdateDemographics(demographics));
        let record = given(&[
            ("2026-04-01", register()),
            ("2026-04-02", admit(1, "acute", None)),
            ("2026-05-02", update),
        ]);
        let born_later = || Err(Refusal::Identity(identity::Refusal::BornAfterEvent));
        let document = || Order::Document(Document::default());
        assert_eq!(record.when("2026-05-01", document()), born_later());
        assert_eq!(record.when("2026-05-01", admit(2, "rehab", None)), born_later());
        let case = CaseId::new(Uuid::from_u128(5));
        let open = Order::Case(case, case::Command::Open(None));
        assert_eq!(record.when("2026-05-01", open), born_later());
        assert_eq!(record.when("2026-05-02", document()), Ok(()), "the day of birth");
        let cancellation = Cancellation { cancelled: event_id(2) };
        let cancel =
            Order::Encounter(encounter_id(1), encounter::Command::CancelAdmission(cancellation));
        assert_eq!(record.when("2026-04-03", cancel), Ok(()), "the slip can be mended");
    }
}
