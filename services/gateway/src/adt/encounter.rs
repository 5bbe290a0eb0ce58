//! Which encounter a message is about: the one that has its visit number, or, where messages
//! have none as in SS-MIX2, the one of this patient in this facility that began then or goes on.

use jiff::SignedDuration;
use tsunagi_domain::encounter::{Encounter, Stage};
use tsunagi_domain::{CareTime, EncounterId, PatientId};
use tsunagi_proto::v1;

use super::ids;
use super::refusal::Refusal;
use super::visit::Visit;
use crate::known::{Known, StepKind};

/// A message about one patient, and what is known of the patient.
pub(super) struct Situation<'a> {
    pub(super) visit: Visit<'a>,
    pub(super) known: &'a Known,
    pub(super) patient: PatientId,
}

/// Two admissions to one facility this close together are one that was told twice.
const SAME_STAY: SignedDuration = SignedDuration::from_hours(24);

const BEGINNINGS: [StepKind; 2] = [StepKind::Admitted, StepKind::Registered];

impl Situation<'_> {
    fn facility(&self) -> &str {
        &self.visit.profile.facility.id
    }

    /// The encounter that begins at a time, as `what` it begins.
    pub(super) fn beginning(&self, at: &str, what: &str) -> EncounterId {
        let begun = self.visit.care_time(at);
        if let Some(number) = self.visit.number() {
            let (numbered, is_known) = self.numbered(&number);
            return if is_known {
                numbered
            } else {
                begun.and_then(|begun| self.told_otherwise(begun)).unwrap_or(numbered)
            };
        }
        let by_time = begun.and_then(|begun| self.begun_at(begun, what));
        by_time.or_else(|| self.expected(what)).unwrap_or_else(|| {
            ids::timed_encounter(self.facility(), self.patient, &format!("{what} {at}"))
        })
    }

    /// The encounter that goes on, or, if `wanted` says so, one that has ended.
    pub(super) fn current(
        &self,
        wanted: impl Fn(&Encounter) -> bool,
    ) -> Result<Option<EncounterId>, Refusal> {
        let began = self.visit.admitted_at()?.and_then(|said| self.visit.care_time(&said.text));
        if let Some(number) = self.visit.number() {
            let (numbered, is_known) = self.numbered(&number);
            if is_known {
                return Ok(Some(numbered));
            }
            // Somebody told of it at a desk before, without the number.
            let told = match began {
                Some(began) => self.told_otherwise(began),
                None => self.last_here(|stay| stay.is_inpatient() && wanted(stay)),
            };
            return Ok(told);
        }
        let by_time = began.and_then(|began| {
            let begun = self.steps_here(&BEGINNINGS).filter(|step| step.1 == began);
            begun.map(|step| step.0).last()
        });
        match (by_time, began) {
            (Some(encounter), _) => Ok(Some(encounter)),
            // It says when the stay began, and no stay here began then.
            (None, Some(_)) => Ok(None),
            (None, None) => Ok(self.last_here(wanted)),
        }
    }

    /// The encounter that has or would have the message's visit number or time.
    pub(super) fn own(&self, at: &str, what: &str) -> EncounterId {
        match self.visit.number() {
            Some(number) => self.numbered(&number).0,
            None => ids::timed_encounter(self.facility(), self.patient, &format!("{what} {at}")),
        }
    }

    /// The encounter that has a number here, as this or another door told of it, and whether it
    /// is known.
    fn numbered(&self, number: &v1::Identifier) -> (EncounterId, bool) {
        let own = ids::numbered_encounter(self.facility(), number);
        let told = self.known.numbered(number).filter(|encounter| self.is_here(*encounter));
        if self.is_known(own) {
            (own, true)
        } else {
            told.min().map_or((own, false), |id| (id, true))
        }
    }

    fn is_known(&self, encounter: EncounterId) -> bool {
        self.known.record().encounter(encounter).is_some()
    }

    fn is_here(&self, encounter: EncounterId) -> bool {
        let place = self.known.record().encounter(encounter).and_then(Encounter::place);
        place.is_some_and(|place| place.facility.id.as_str() == self.facility())
    }

    fn steps_here(&self, kinds: &[StepKind]) -> impl Iterator<Item = (EncounterId, CareTime)> {
        let steps = self.known.steps.iter().filter(|step| kinds.contains(&step.kind));
        steps.filter(|step| self.is_here(step.encounter)).map(|step| (step.encounter, step.at))
    }

    fn begun_at(&self, at: CareTime, what: &str) -> Option<EncounterId> {
        let kind = if what == INPATIENT { StepKind::Admitted } else { StepKind::Registered };
        let begun = self.steps_here(&[kind]).find(|step| step.1 == at);
        begun.map(|step| step.0)
    }

    /// The stay that is planned here and has not begun.
    fn expected(&self, what: &str) -> Option<EncounterId> {
        let is_expected = |encounter: &EncounterId| {
            let state = self.known.record().encounter(*encounter);
            state.is_some_and(|state| state.stage() == Stage::Expected)
        };
        let planned = self.steps_here(&[StepKind::AdmissionPlanned]).map(|step| step.0);
        if what == INPATIENT { planned.filter(is_expected).last() } else { None }
    }

    /// A stay here that goes on under another id, and began at about the same time.
    fn told_otherwise(&self, began: CareTime) -> Option<EncounterId> {
        self.last_here(|stay| {
            stay.is_inpatient()
                && stay.began_at().is_some_and(|other| {
                    let apart = other.earliest().duration_since(began.earliest());
                    apart.abs() < SAME_STAY
                })
        })
    }

    fn last_here(&self, wanted: impl Fn(&Encounter) -> bool) -> Option<EncounterId> {
        let all = self.known.record().encounters();
        let wanted = all.filter(|(id, encounter)| self.is_here(*id) && wanted(encounter));
        let last = wanted
            .max_by_key(|(id, encounter)| (encounter.since().map(|since| since.earliest()), *id));
        last.map(|(id, _)| id)
    }
}

/// What names the id of a stay that has no number.
pub(super) const INPATIENT: &str = "stay";
/// And of a visit.
pub(super) const VISIT: &str = "visit";
