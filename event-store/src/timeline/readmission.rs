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

/// Days after a discharge in which a hospital that takes over admits the patient.
const HANDING_OVER_DAYS: i32 = 1;

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
    admitted: BTreeMap<EncounterId, Admission>,
    discharged: BTreeMap<EncounterId, Discharge>,
    variances: Vec<(EncounterId, v1::PathVariance)>,
}

struct Admission {
    happened_at: Timestamp,
    /// The id of the facility.
    facility: String,
    /// The stay that it is said to follow from.
    preceding: Option<EncounterId>,
}

struct Discharge {
    happened_at: Timestamp,
    /// As it was written.
    at: String,
    is_handed_over: bool,
    /// The id of the facility or service to which the patient went; empty if it was not said.
    destination: String,
}

impl Stays {
    /// Whether such an event says something about it.
    pub(super) fn look_at(payload: &Payload) -> bool {
        matches!(payload, Payload::PathVarianceRecorded(_))
    }

    pub(super) fn see(&mut self, standing: &Standing<'_>) {
        let Some(encounter) = standing.encounter else { return };
        if let Payload::Admitted(m) = &*standing.payload {
            let facility = m.place.as_ref().and_then(|place| place.facility.as_ref());
            let admission = Admission {
                happened_at: standing.happened_at,
                facility: facility.map(|facility| facility.id.clone()).unwrap_or_default(),
                preceding: EncounterId::parse(&m.preceding_encounter_id).ok(),
            };
            self.admitted.insert(encounter, admission);
        } else if let Payload::Discharged(m) = &*standing.payload {
            let code = m.disposition.as_ref().map_or("", |code| code.code.as_str());
            let discharge = Discharge {
                happened_at: standing.happened_at,
                at: standing.occurred_at.to_owned(),
                is_handed_over: HANDED_OVER.contains(&code),
                destination: m.destination.as_ref().map(|of| of.id.clone()).unwrap_or_default(),
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
        let admission = self.admitted.get(&stay)?;
        let admitted_at = admission.happened_at;
        let ended = self.discharged.iter().filter(|(earlier, discharge)| {
            let is_stay = record
                .encounter(**earlier)
                .is_some_and(|of| of.stage() == Stage::Ended && of.class() == Class::Inpatient);
            is_stay && **earlier != stay && discharge.happened_at <= admitted_at
        });
        let (earlier, discharge) = ended.max_by_key(|(_, discharge)| discharge.happened_at)?;
        let days = days_between(discharge.happened_at, admitted_at, zone)?;
        let is_taken_over = discharge.is_handed_over
            || days <= HANDING_OVER_DAYS && self.follows(admission, earlier, discharge);
        if is_taken_over || days > WINDOW_DAYS {
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

    /// Whether another hospital is said to have taken over with this admission.
    fn follows(&self, admission: &Admission, earlier: &EncounterId, from: &Discharge) -> bool {
        let before = self.admitted.get(earlier).map_or("", |before| before.facility.as_str());
        let is_said =
            admission.preceding == Some(*earlier) || from.destination == admission.facility;
        is_said && before != admission.facility
    }
}

/// From one day to another, as the region's calendar has them.
fn days_between(from: Timestamp, to: Timestamp, zone: &Zone) -> Option<i32> {
    let day = |at| CareTime::at(at).words(zone).get(..10)?.parse::<Date>().ok();
    Some((day(to)? - day(from)?).get_days())
}
