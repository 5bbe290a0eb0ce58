//! Whether a stay is a readmission: it began within thirty days after an earlier stay, from which
//! the patient went home, or wherever no hospital took over. Then what the earlier plan missed is
//! to be seen (scenario E10; the window is that of the Hospital Readmissions Reduction Program).

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use tsunagi_domain::encounter::{Class, Stage};
use tsunagi_domain::{CareTime, EncounterId, Record, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::Standing;

/// Days after a discharge in which the next admission is a readmission.
const WINDOW_DAYS: i32 = 30;

/// Dispositions by which another hospital takes over: those of jp.discharge-disposition, and of
/// FHIR.
const HANDED_OVER: [&str; 7] = [
    "hospital",
    "recovery-rehabilitation",
    "long-term-hospital",
    "other-hcf",
    "rehab",
    "psy",
    "long",
];

/// What the stays of a patient say about it.
#[derive(Default)]
pub(super) struct Stays {
    admitted: BTreeMap<EncounterId, Timestamp>,
    discharged: BTreeMap<EncounterId, Discharge>,
    variances: Vec<(EncounterId, v1::PathVariance)>,
}

struct Discharge {
    happened_at: Timestamp,
    /// As it was written.
    at: String,
    is_handed_over: bool,
}

impl Stays {
    /// Whether such an event says something about it.
    pub(super) fn look_at(payload: &Payload) -> bool {
        matches!(payload, Payload::PathVarianceRecorded(_))
    }

    pub(super) fn see(&mut self, standing: &Standing<'_>) {
        let Some(encounter) = standing.encounter else { return };
        if let Payload::Admitted(_) = &*standing.payload {
            self.admitted.insert(encounter, standing.happened_at);
        } else if let Payload::Discharged(m) = &*standing.payload {
            let code = m.disposition.as_ref().map_or("", |code| code.code.as_str());
            let discharge = Discharge {
                happened_at: standing.happened_at,
                at: standing.occurred_at.to_owned(),
                is_handed_over: HANDED_OVER.contains(&code),
            };
            self.discharged.insert(encounter, discharge);
        } else if let Payload::PathVarianceRecorded(m) = &*standing.payload {
            let variance = v1::PathVariance {
                goal: m.goal.clone(),
                variance: m.variance.clone(),
                reason: m.reason.clone(),
            };
            self.variances.push((encounter, variance));
        }
    }

    /// After which stay this one is a readmission, if it is one.
    pub(super) fn readmission(
        &self,
        stay: EncounterId,
        record: &Record,
        zone: &Zone,
    ) -> Option<v1::Readmission> {
        let admitted_at = *self.admitted.get(&stay)?;
        let ended = self.discharged.iter().filter(|(earlier, discharge)| {
            let is_stay = record
                .encounter(**earlier)
                .is_some_and(|of| of.stage() == Stage::Ended && of.class() == Class::Inpatient);
            is_stay && **earlier != stay && discharge.happened_at <= admitted_at
        });
        let (earlier, discharge) = ended.max_by_key(|(_, discharge)| discharge.happened_at)?;
        let days = days_between(discharge.happened_at, admitted_at, zone)?;
        if discharge.is_handed_over || days > WINDOW_DAYS {
            return None;
        }
        let of_either = self.variances.iter().filter(|(of, _)| of == earlier || *of == stay);
        Some(v1::Readmission {
            encounter_id: earlier.to_string(),
            discharged_at: discharge.at.clone(),
            days: u32::try_from(days).unwrap_or_default(),
            variances: of_either.map(|(_, variance)| variance.clone()).collect(),
        })
    }
}

/// From one day to another, as the region's calendar has them.
fn days_between(from: Timestamp, to: Timestamp, zone: &Zone) -> Option<i32> {
    let day = |at| CareTime::at(at).words(zone).get(..10)?.parse::<Date>().ok();
    Some((day(to)? - day(from)?).get_days())
}
