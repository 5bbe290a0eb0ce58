//! A visit that has another number than was told (A50), and two numbers that are one visit's (A42).

use tsunagi_domain::EncounterId;
use tsunagi_domain::encounter::Stage;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told, cancels};
use super::encounter::Situation;
use super::refusal::Refusal;
use super::visit::Said;
use crate::known::{Step, StepKind};

/// The visits of the number that holds (PV1-19) and of the one before (MRG-5), as far as known.
struct Numbered {
    number: v1::Identifier,
    visit: Option<EncounterId>,
    prior: Option<EncounterId>,
}

impl Situation<'_> {
    pub(super) fn renumber(&self) -> Tells {
        let Numbered { number, visit, prior } = self.both_numbers()?;
        match (visit, prior) {
            (None, Some(prior)) => self.renumbered(prior, &number),
            (Some(_), None) => Ok(Vec::new()),
            (Some(visit), Some(prior)) if visit == prior => Ok(Vec::new()),
            (Some(_), Some(_)) => Err(number_taken()),
            (None, None) => Err(unknown_number()),
        }
    }

    pub(super) fn merge_visits(&self) -> Tells {
        let Numbered { number, visit, prior } = self.both_numbers()?;
        match (visit, prior) {
            (None, Some(prior)) => self.renumbered(prior, &number),
            (Some(_), None) => Ok(Vec::new()),
            (Some(visit), Some(prior)) if visit == prior => Ok(Vec::new()),
            (Some(visit), Some(prior)) => {
                let state = self.known.record().encounter(visit);
                if state.is_some_and(|state| state.stage() != Stage::Expected) {
                    return self.all_taken_back(prior);
                }
                // It was planned under the one number, and began under the other.
                let mut told = self.all_taken_back(visit)?;
                told.extend(self.renumbered(prior, &number)?);
                Ok(told)
            }
            (None, None) => Err(unknown_number()),
        }
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
        let [visit, prior] = [known(&number), known(&prior)];
        Ok(Numbered { number, visit, prior })
    }

    /// What was said of a visit's number, with the one that it has. A plan has no number to be
    /// corrected: it is made anew under the id that the number gives it.
    fn renumbered(&self, visit: EncounterId, number: &v1::Identifier) -> Tells {
        let at = self.visit.written_at()?;
        let steps = self.known.steps.iter().filter(|step| step.encounter == visit);
        let mut told = Vec::new();
        for step in steps.clone() {
            told.extend(self.with_number(step, number, &at));
        }
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

    fn with_number(&self, step: &Step, number: &v1::Identifier, at: &Said) -> Option<Told> {
        let number = Some(number.clone());
        let said = self.known.said_by(step.event)?;
        let instead = if let Payload::Admitted(said) = said {
            Payload::Admitted(v1::Admitted { visit_number: number, ..said.clone() })
        } else if let Payload::EncounterRegistered(said) = said {
            let said = v1::EncounterRegistered { visit_number: number, ..said.clone() };
            Payload::EncounterRegistered(said)
        } else {
            return None;
        };
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

fn unknown_number() -> Refusal {
    Refusal::unknown(
        "MRG-5",
        "ENCOUNTER_UNKNOWN",
        "no visit of either number is known here: send its admission (A01) or registration (A04) with the number that holds",
    )
}
