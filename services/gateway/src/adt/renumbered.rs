//! A visit that has another number than was told (A50), and two numbers that are one visit's (A42).

use tsunagi_domain::EncounterId;
use tsunagi_domain::encounter::{Class, Stage};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told, cancels};
use super::encounter::{Situation, merged_numbers};
use super::refusal::Refusal;
use super::visit::{Said, VISIT_NUMBERS};
use crate::known::{Step, StepKind};

/// What becomes of the numbers of a visit.
#[derive(Default)]
struct Change<'n> {
    /// The one that it has from now on, if it has another.
    own: Option<&'n v1::Identifier>,
    /// One of those that were made one with it, which leads to it no more.
    left: Option<&'n v1::Identifier>,
    /// More that are one with it.
    merged: &'n [v1::Identifier],
}

/// The number that holds (PV1-19), the one before (MRG-5), and their visits as far as known.
struct Numbered {
    number: v1::Identifier,
    prior_number: v1::Identifier,
    visit: Option<EncounterId>,
    prior: Option<EncounterId>,
}

impl Situation<'_> {
    pub(super) fn renumber(&self) -> Tells {
        let Numbered { number, prior_number, visit, prior } = self.both_numbers()?;
        match (visit, prior) {
            (None, Some(prior)) if self.is_merged(&prior_number, prior) => {
                let merged = std::slice::from_ref(&number);
                let change = Change { left: Some(&prior_number), merged, ..Change::default() };
                Ok(self.with_numbers(prior, &change, &self.visit.written_at()?))
            }
            (None, Some(prior)) => self.renumbered(prior, &number, &[]),
            (Some(_), None) => Ok(Vec::new()),
            (Some(visit), Some(prior)) if visit == prior => Ok(Vec::new()),
            (Some(_), Some(_)) => Err(number_taken()),
            (None, None) => Err(unknown_number()),
        }
    }

    /// That a visit has the message's number, and the ones that it had lead to it still.
    pub(super) fn numbered_too(&self, visit: EncounterId) -> Tells {
        let Some(number) = self.visit.number() else { return Ok(Vec::new()) };
        let of_messages = |of: &&v1::Identifier| of.system.ends_with(VISIT_NUMBERS);
        let mut prior: Vec<v1::Identifier> = Vec::new();
        for of in self.known.numbers_of(visit).filter(of_messages).chain(&self.visit.prior_number())
        {
            if *of != number && !prior.contains(of) {
                prior.push(of.clone());
            }
        }
        let change = Change { own: Some(&number), left: None, merged: &prior };
        Ok(self.with_numbers(visit, &change, &self.visit.written_at()?))
    }

    /// The number before leads to the visit from now on, also if what was said of it comes yet.
    pub(super) fn merge_visits(&self) -> Tells {
        let Numbered { number, prior_number, visit, prior } = self.both_numbers()?;
        match (visit, prior) {
            (None, Some(prior)) => self.numbered_as_well(prior, number, prior_number),
            (Some(visit), None) => {
                let told = self.with_merged(visit, &[prior_number])?;
                if told.is_empty() { Err(not_begun()) } else { Ok(told) }
            }
            (Some(visit), Some(prior)) if visit == prior => {
                let is_circle = number == prior_number
                    || (self.is_merged(&number, visit)
                        && self.known.numbers_of(visit).any(|own| *own == prior_number));
                if is_circle { Err(circular()) } else { Ok(Vec::new()) }
            }
            (Some(visit), Some(prior)) => {
                self.check_classes(visit, prior)?;
                let state = self.known.record().encounter(visit);
                if state.is_some_and(|state| state.stage() != Stage::Expected) {
                    return self.one_of_both(visit, prior, prior_number);
                }
                // It was planned under the one number, and began under the other.
                let mut told = self.all_taken_back(visit)?;
                told.extend(self.numbered_as_well(prior, number, prior_number)?);
                Ok(told)
            }
            (None, None) => Err(unknown_number()),
        }
    }

    /// Whether a number was made one with that of a visit, which has its own.
    fn is_merged(&self, number: &v1::Identifier, visit: EncounterId) -> bool {
        let mut own = self.known.numbers_of(visit);
        self.merged_into(number) == Some(visit) && own.all(|own| own != number)
    }

    /// A number that is one with that of a visit: it holds from now on, unless the other was no
    /// more the visit's own.
    fn numbered_as_well(
        &self,
        visit: EncounterId,
        number: v1::Identifier,
        prior: v1::Identifier,
    ) -> Tells {
        if self.is_merged(&prior, visit) {
            self.with_merged(visit, &[number])
        } else {
            self.renumbered(visit, &number, &[prior])
        }
    }

    /// What was said under the number before is taken back, and its numbers are the visit's.
    fn one_of_both(
        &self,
        visit: EncounterId,
        prior: EncounterId,
        prior_number: v1::Identifier,
    ) -> Tells {
        let mut numbers = vec![prior_number];
        numbers.extend(self.known.numbers_of(prior).cloned());
        let steps = self.known.steps.iter().filter(|step| step.encounter == prior);
        let said = steps.filter_map(|step| self.known.said_by(step.event));
        numbers.extend(said.flat_map(merged_numbers).cloned());
        let mut told = self.all_taken_back(prior)?;
        told.extend(self.with_merged(visit, &numbers)?);
        Ok(told)
    }

    fn with_merged(&self, visit: EncounterId, merged: &[v1::Identifier]) -> Tells {
        let change = Change { merged, ..Change::default() };
        Ok(self.with_numbers(visit, &change, &self.visit.written_at()?))
    }

    /// Refuses to make a stay and a visit one: one of them would be taken back whole.
    fn check_classes(&self, visit: EncounterId, prior: EncounterId) -> Result<(), Refusal> {
        let is_stay = |of| {
            let state = self.known.record().encounter(of);
            state.is_some_and(|state| state.class() == Class::Inpatient)
        };
        if is_stay(visit) == is_stay(prior) { Ok(()) } else { Err(other_classes()) }
    }

    fn both_numbers(&self) -> Result<Numbered, Refusal> {
        let missing = |field| {
            Refusal::missing(
                field,
                "say the number of the visit in PV1-19, and the one that it had before in MRG-5",
            )
        };
        let number = self.visit.number().ok_or_else(|| missing("PV1-19"))?;
        let prior = self.visit.prior_number().ok_or_else(|| missing("MRG-5"))?;
        let known = |number: &v1::Identifier| {
            let (visit, _) = Some(self.numbered(number)).filter(|(_, is_known)| *is_known)?;
            // What was taken back is no visit any more.
            self.known.steps.iter().any(|step| step.encounter == visit).then_some(visit)
        };
        let (visit, prior_number) = (known(&number), prior);
        let prior = known(&prior_number);
        Ok(Numbered { number, prior_number, visit, prior })
    }

    /// What was said of a visit's number, with the one that it has, and those that are one with it.
    /// A plan has no number to be corrected: it is made anew under the id that the number gives it.
    fn renumbered(
        &self,
        visit: EncounterId,
        number: &v1::Identifier,
        merged: &[v1::Identifier],
    ) -> Tells {
        let at = self.visit.written_at()?;
        let change = Change { own: Some(number), left: None, merged };
        let mut told = self.with_numbers(visit, &change, &at);
        if told.is_empty() {
            let anew = self.numbered(number).0.to_string();
            let plan = self.known.last(visit, &[StepKind::AdmissionPlanned]);
            if let Some((plan, Payload::AdmissionPlanned(said))) =
                plan.and_then(|plan| Some((plan, self.known.said_by(plan.event)?)))
            {
                told.push(taken_back(plan, at.clone()));
                let said = v1::AdmissionPlanned { encounter_id: anew, ..said.clone() };
                told.push(Told { at, payload: Payload::AdmissionPlanned(said) });
            }
        }
        Ok(told)
    }

    /// The beginnings of a visit with other numbers than were said.
    fn with_numbers(&self, visit: EncounterId, change: &Change<'_>, at: &Said) -> Vec<Told> {
        let steps = self.known.steps.iter().filter(|step| step.encounter == visit);
        steps.filter_map(|step| self.step_with_numbers(step, change, at)).collect()
    }

    fn step_with_numbers(&self, step: &Step, change: &Change<'_>, at: &Said) -> Option<Told> {
        let mut instead = self.known.said_by(step.event)?.clone();
        let (own, all) = if let Payload::Admitted(said) = &mut instead {
            (&mut said.visit_number, &mut said.merged_visit_numbers)
        } else if let Payload::EncounterRegistered(said) = &mut instead {
            (&mut said.visit_number, &mut said.merged_visit_numbers)
        } else {
            return None;
        };
        if let Some(number) = change.own {
            *own = Some(number.clone());
        }
        for number in change.merged.iter().map(|number| Some(number.clone())) {
            let is_known = all.iter().any(|known| known.number == number);
            if !is_known {
                all.push(v1::VisitNumber { number });
            }
        }
        let is_left =
            |of: &v1::VisitNumber| change.left.is_some() && of.number.as_ref() == change.left;
        all.retain(|merged| merged.number != *own && !is_left(merged));
        Some(Told::instead_of(step.event, &instead, at.clone()))
    }
}

fn taken_back(step: &Step, at: Said) -> Told {
    let cancellation = v1::EncounterCancellation {
        encounter_id: step.encounter.to_string(),
        cancelled_event_id: step.event.to_string(),
        reason: String::new(),
    };
    Told { at, payload: cancels(step.kind, cancellation) }
}

fn number_taken() -> Refusal {
    Refusal::contradicts(
        "PV1-19",
        "NUMBER_TAKEN",
        "both numbers are of visits that are known here: if they are one visit, say so (A42); if one of them never was, delete it (A23), and then send this again",
    )
}

fn circular() -> Refusal {
    Refusal::contradicts(
        "MRG-5",
        "NUMBERS_CIRCULAR",
        "the number in PV1-19 was made one with that of MRG-5 before, or is the same, so that each would take the other's place: both lead to the visit already; if it is to have a third number, say so (A50)",
    )
}

fn other_classes() -> Refusal {
    Refusal::contradicts(
        "MRG-5",
        "CLASSES_DIFFER",
        "one of the two numbers is a stay's, and the other a visit's, of which one would be taken back whole: turn the one into the other first (A06, A07), or delete the one that never was (A23)",
    )
}

fn not_begun() -> Refusal {
    Refusal::unknown(
        "MRG-5",
        "ENCOUNTER_UNKNOWN",
        "the visit of PV1-19 is only planned here, and none of the number in MRG-5 is known: send its admission (A01) or registration (A04) first, and then this again, or have it replayed from the quarantine, where it is",
    )
}

fn unknown_number() -> Refusal {
    Refusal::unknown(
        "MRG-5",
        "ENCOUNTER_UNKNOWN",
        "no visit of either number is known here: send its admission (A01) or registration (A04) with the number that holds",
    )
}
