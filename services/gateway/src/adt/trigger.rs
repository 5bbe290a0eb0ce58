//! Trigger events: what each means here, or why it is not taken.

use super::refusal::Refusal;
use crate::known::StepKind;

/// What a message asks for, besides saying who the patient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Admit,
    Register,
    PlanAdmission,
    BecomeInpatient,
    BecomeOutpatient,
    Transfer,
    PlanTransfer,
    StartLeave,
    ReturnFromLeave,
    PlanDischarge,
    Discharge,
    /// Takes back the last step of one of these kinds.
    Cancel(&'static [StepKind]),
    /// Says who the patient is, and no more.
    Person,
    /// Says that several numbers are one person's.
    SamePerson,
}

impl Act {
    /// Whether a message of this act tells of several patients, one after the other.
    pub(super) fn takes_several(self) -> bool {
        matches!(self, Self::Transfer | Self::SamePerson)
    }
}

/// What the trigger event `event` of an ADT message asks for.
pub(super) fn act(event: &str) -> Result<Act, Refusal> {
    use StepKind as K;
    Ok(match event {
        "A01" => Act::Admit,
        "A02" | "A17" => Act::Transfer,
        "A03" => Act::Discharge,
        "A04" => Act::Register,
        "A05" | "A14" => Act::PlanAdmission,
        "A06" => Act::BecomeInpatient,
        "A07" => Act::BecomeOutpatient,
        "A08" | "A28" | "A31" => Act::Person,
        "A11" => Act::Cancel(&[K::Admitted, K::Registered]),
        "A12" => Act::Cancel(&[K::Transferred]),
        "A13" => Act::Cancel(&[K::Discharged]),
        "A15" => Act::PlanTransfer,
        "A16" => Act::PlanDischarge,
        "A18" | "A24" | "A30" | "A34" | "A36" | "A39" | "A40" | "A46" | "A47" | "A51" => {
            Act::SamePerson
        }
        "A21" => Act::StartLeave,
        "A22" => Act::ReturnFromLeave,
        "A25" => Act::Cancel(&[K::DischargePlanned]),
        "A26" => Act::Cancel(&[K::TransferPlanned]),
        "A27" | "A38" => Act::Cancel(&[K::AdmissionPlanned]),
        "A52" => Act::Cancel(&[K::LeaveStarted]),
        "A53" => Act::Cancel(&[K::LeaveReturned]),
        other => return Err(unsupported(other)),
    })
}

/// What withdraws a message that asked for an act.
pub(super) fn withdrawal(act: Act, event: &str) -> Result<Act, Refusal> {
    use StepKind as K;
    Ok(match act {
        Act::Admit | Act::Register => Act::Cancel(&[K::Admitted, K::Registered]),
        Act::PlanAdmission => Act::Cancel(&[K::AdmissionPlanned]),
        Act::Transfer => Act::Cancel(&[K::Transferred]),
        Act::PlanTransfer => Act::Cancel(&[K::TransferPlanned]),
        Act::StartLeave => Act::Cancel(&[K::LeaveStarted]),
        Act::ReturnFromLeave => Act::Cancel(&[K::LeaveReturned]),
        Act::PlanDischarge => Act::Cancel(&[K::DischargePlanned]),
        Act::Discharge => Act::Cancel(&[K::Discharged]),
        // It says itself that it withdraws.
        Act::Cancel(kinds) => Act::Cancel(kinds),
        Act::BecomeInpatient | Act::BecomeOutpatient | Act::Person | Act::SamePerson => {
            let message =
                format!("a deleted ADT {event} is not taken: what was recorded is never deleted");
            return Err(Refusal::unsupported(true, message));
        }
    })
}

fn unsupported(event: &str) -> Refusal {
    let why = match event {
        "A09" | "A10" | "A32" | "A33" => {
            "it tells of a way within the house, which is no part of the shared timeline; a move to another ward is A02"
        }
        "A19" => "it is a query: ask through gRPC or FHIR",
        "A20" => "it tells of a bed, and the timeline is a patient's",
        "A23" | "A29" => {
            "what was recorded is never deleted: cancel what did not happen (A11, A12, A13), or say that two numbers are one person's (A40)"
        }
        "A35" | "A41" | "A42" | "A44" | "A45" | "A48" | "A49" | "A50" => {
            "accounts, and visits of other numbers, are not merged, moved or renumbered yet: cancel the one (A11) and send the other anew"
        }
        "A37" | "A43" => "numbers that were said to be one person's cannot be taken apart yet",
        "A54" | "A55" | "A61" | "A62" => "a change of doctors alone is not taken yet",
        "A60" => "allergies are not kept here: the timeline says where a patient is and who cares",
        "" => "MSH-9 and EVN-1 name no trigger event: give one, such as ADT^A01",
        _unknown => "it is no trigger event of ADT that is known here",
    };
    let named: String = event.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    let space = if named.is_empty() { "" } else { " " };
    Refusal::unsupported(true, format!("ADT{space}{named} is not taken: {why}"))
}

/// The refusal of a message that is no ADT.
pub(super) fn not_adt(kind: &str) -> Refusal {
    let named: String = kind.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    let named = if named.is_empty() { "a message without type".to_owned() } else { named };
    Refusal::unsupported(
        false,
        format!("{named} is not taken: only ADT is; leave it out of what is sent here"),
    )
}
