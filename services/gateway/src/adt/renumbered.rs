//! A visit that has another number than was told (A50), and two numbers that are one visit's (A42).

use tsunagi_domain::EncounterId;
use tsunagi_domain::encounter::{Class, Stage};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told, cancels};
use super::encounter::{Situation, merged_numbers};
use super::refusal::Refusal;
use super::visit::Said;
use crate::known::{Step, StepKind};

/// The number that holds (PV1-19), the one before (MRG-5), and their visits as far as known.
struct Numbered {
    number: v1::Identifier,
    prior_number: v1::Identifier,
    visit: Option<EncounterId>,
    prior: Option<EncounterId>,
}

impl Situation<'_> {
    pub(super) fn renumber(&self) -> Tells {
        let Numbered { number, visit, prior, .. } = self.both_numbers()?;
        match (visit, prior) {
            (None, Some(prior)) => self.renumbered(prior, &number, &[]),
            (Some(_), None) => Ok(Vec::new()),
            (Some(visit), Some(prior)) if visit == prior => Ok(Vec::new()),
            (Some(_), Some(_)) => Err(number_taken()),
            (None, None) => Err(unknown_number()),
        }
    }

    /// The number before leads to the visit from now on, also if what was said of it comes yet.
    pub(super) fn merge_visits(&self) -> Tells {
        let Numbered { number, prior_number, visit, prior } = self.both_numbers()?;
        match (visit, prior) {
            (None, Some(prior)) => self.renumbered(prior, &number, &[prior_number]),
            (Some(visit), None) => {
                let at = self.visit.written_at()?;
                let told = self.with_numbers(visit, None, &[prior_number], &at);
                if told.is_empty() { Err(not_begun()) } else { Ok(told) }
            }
            (Some(visit), Some(prior)) if visit == prior => Ok(Vec::new()),
            (Some(visit), Some(prior)) => {
                self.check_classes(visit, prior)?;
                let state = self.known.record().encounter(visit);
                if state.is_some_and(|state| state.stage() != Stage::Expected) {
                    return self.one_of_both(visit, prior, prior_number);
                }
                // It was planned under the one number, and began under the other.
                let mut told = self.all_taken_back(visit)?;
                told.extend(self.renumbered(prior, &number, &[prior_number])?);
                Ok(told)
            }
            (None, None) => Err(unknown_number()),
        }
    }

    /// What was said under the number before is taken back, and its numbers are the visit's.
    fn one_of_both(
        &self,
        visit: EncounterId,
        prior: EncounterId,
        prior_number: v1::Identifier,
    ) -> Tells {
        let at = self.visit.written_at()?;
        let mut numbers = vec![prior_number];
        let steps = self.known.steps.iter().filter(|step| step.encounter == prior);
        let said = steps.filter_map(|step| self.known.said_by(step.event));
        numbers.extend(said.flat_map(merged_numbers).cloned());
        let mut told = self.all_taken_back(prior)?;
        told.extend(self.with_numbers(visit, None, &numbers, &at));
        Ok(told)
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
        let mut told = self.with_numbers(visit, Some(number), merged, &at);
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

    /// The beginnings of a visit with another number than was said, if one is given, and with more
    /// that are one with it.
    fn with_numbers(
        &self,
        visit: EncounterId,
        number: Option<&v1::Identifier>,
        merged: &[v1::Identifier],
        at: &Said,
    ) -> Vec<Told> {
        let steps = self.known.steps.iter().filter(|step| step.encounter == visit);
        steps.filter_map(|step| self.step_with_numbers(step, number, merged, at)).collect()
    }

    fn step_with_numbers(
        &self,
        step: &Step,
        number: Option<&v1::Identifier>,
        merged: &[v1::Identifier],
        at: &Said,
    ) -> Option<Told> {
        let mut instead = self.known.said_by(step.event)?.clone();
        let (own, all) = if let Payload::Admitted(said) = &mut instead {
            (&mut said.visit_number, &mut said.merged_visit_numbers)
        } else if let Payload::EncounterRegistered(said) = &mut instead {
            (&mut said.visit_number, &mut said.merged_visit_numbers)
        } else {
            return None;
        };
        if let Some(number) = number {
            *own = Some(number.clone());
        }
        for number in merged.iter().map(|number| Some(number.clone())) {
            let is_known = all.iter().any(|known| known.number == number);
            if !is_known {
                all.push(v1::VisitNumber { number });
            }
        }
        all.retain(|merged| merged.number != *own);
        let correction = v1::ValueCorrected {
            corrects_event_id: step.event.to_string(),
            r#type: instead.event_type().to_owned(),
            payload: instead.encode_to_vec(),
            ..v1::ValueCorrected::default()
        };
        Some(Told { at: at.clone(), payload: Payload::ValueCorrected(correction) })
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
