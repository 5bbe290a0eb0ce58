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
    /// Says that the visit or stay should not have been told of at all.
    DeleteVisit,
    ChangeAttending,
    CancelAttending,
    /// Says who the patient is, and no more.
    Person,
    /// Says who the patient is, and of the visit whatever changed.
    Update,
    /// Says where the patient is by now.
    Arrive,
    /// Says that the patient left for another place of the house.
    Depart,
    /// Takes back the last step of this kind that tracking told.
    CancelTracked(StepKind),
    /// Says who the patient is, and of accounts what is not kept here.
    Account,
    /// Says that a visit is another patient's than was told.
    MoveVisit,
    /// Says that a visit has another number than was told.
    RenumberVisit,
    /// Says that two numbers are one visit's.
    MergeVisits,
    /// Says that a number is another person's than was told.
    MoveNumber,
    /// Says that allergies were recorded.
    Allergies,
    /// Says that several numbers are one person's.
    SamePerson,
    /// Says that they are not.
    OtherPerson,
}

impl Act {
    /// Whether a message of this act tells of several patients, one after the other.
    pub(super) fn takes_several(self) -> bool {
        matches!(self, Self::Transfer | Self::SamePerson | Self::Account | Self::MoveNumber)
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
        "A08" => Act::Update,
        "A09" => Act::Depart,
        "A10" => Act::Arrive,
        "A32" => Act::CancelTracked(K::Transferred),
        "A33" => Act::CancelTracked(K::TransferPlanned),
        "A28" | "A31" | "A48" | "A51" => Act::Person,
        "A35" | "A41" | "A44" | "A49" => Act::Account,
        "A42" => Act::MergeVisits,
        "A43" => Act::MoveNumber,
        "A45" => Act::MoveVisit,
        "A50" => Act::RenumberVisit,
        "A60" => Act::Allergies,
        "A11" => Act::Cancel(&[K::Admitted, K::Registered]),
        "A12" => Act::Cancel(&[K::Transferred]),
        "A13" => Act::Cancel(&[K::Discharged]),
        "A15" => Act::PlanTransfer,
        "A16" => Act::PlanDischarge,
        "A18" | "A24" | "A30" | "A34" | "A36" | "A39" | "A40" | "A46" | "A47" => Act::SamePerson,
        "A37" => Act::OtherPerson,
        "A21" => Act::StartLeave,
        "A22" => Act::ReturnFromLeave,
        "A23" => Act::DeleteVisit,
        "A25" => Act::Cancel(&[K::DischargePlanned]),
        "A26" => Act::Cancel(&[K::TransferPlanned]),
        "A27" | "A38" => Act::Cancel(&[K::AdmissionPlanned]),
        "A52" => Act::Cancel(&[K::LeaveStarted]),
        "A53" => Act::Cancel(&[K::LeaveReturned]),
        "A54" => Act::ChangeAttending,
        "A55" => Act::CancelAttending,
        other => return Err(unsupported(other)),
    })
}

/// Whether messages of a trigger event are there to say who a known patient is by now.
pub(super) fn corrects_person(event: &str) -> bool {
    matches!(event, "A08" | "A31")
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
        Act::Arrive => Act::CancelTracked(K::Transferred),
        Act::Depart => Act::CancelTracked(K::TransferPlanned),
        // It says itself that it withdraws.
        Act::Cancel(kinds) => Act::Cancel(kinds),
        Act::CancelTracked(kind) => Act::CancelTracked(kind),
        Act::ChangeAttending | Act::CancelAttending => Act::CancelAttending,
        Act::BecomeInpatient
        | Act::BecomeOutpatient
        | Act::DeleteVisit
        | Act::Person
        | Act::Update
        | Act::Account
        | Act::MoveVisit
        | Act::RenumberVisit
        | Act::MergeVisits
        | Act::MoveNumber
        | Act::Allergies
        | Act::SamePerson
        | Act::OtherPerson => {
            return Err(Refusal::undone_at_a_desk(event));
        }
    })
}

fn unsupported(event: &str) -> Refusal {
    let why = match event {
        "A19" => "it is a query: ask through gRPC or FHIR",
        "A20" => "it tells of a bed, and the timeline is a patient's",
        "A29" => DELETED_PATIENT,
        "A61" | "A62" => {
            "consulting doctors are not kept here; a change of the attending doctor is A54"
        }
        "" => "MSH-9 and EVN-1 name no trigger event: give one, such as ADT^A01",
        _unknown => "it is no trigger event of ADT that is known here",
    };
    let named: String = event.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    if named.is_empty() {
        return Refusal::unsupported(true, format!("ADT is not taken: {why}"));
    }
    Refusal::unsupported(
        true,
        format!(
            "ADT {named} is not taken: {why}. To have it passed over and answered with AA, list it under `ignore` in the facility's profile"
        ),
    )
}

const DELETED_PATIENT: &str = "what was recorded of a patient is never deleted: cancel what did not happen (A11, A13, A23), or say whose record it is (A40)";

/// The refusal of a message that would delete a patient's record.
pub(super) fn deletes_the_patient() -> Refusal {
    let message = format!(
        "ADT A23 without a visit is not taken: {DELETED_PATIENT}. To delete a visit, say which in PV1-19 or PV1-44"
    );
    Refusal::unsupported(true, message)
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
