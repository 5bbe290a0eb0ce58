//! Every event type: its name, its family, and the message in its payload.

use prost::Message as _;

use crate::check::{Check, Violation};
use crate::v1;

/// The families of the catalogue, by which readers filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Identity,
    Team,
    Encounter,
    DischargePlanning,
    HomeCare,
    SocialPrescribing,
    System,
    /// Of a type that this version does not know.
    Unknown,
}

/// A payload that is not what its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not a {message}")]
pub struct Unreadable {
    message: &'static str,
}

macro_rules! catalogue {
    ($($family:ident { $($variant:ident($message:ident) = $type:literal,)* })*) => {
        /// The payload of an event, by the event's type.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(clippy::large_enum_variant, reason = "lives for one event, is never stored")]
        pub enum Payload {
            $($( #[doc = concat!("`", $type, "`")] $variant(v1::$message), )*)*
            /// Of a type that this version does not know: kept and passed on as it is.
            Unknown,
        }

        /// The names of all types that this version knows.
        pub const TYPES: &[&str] = &[$($($type,)*)*];

        impl Payload {
            /// Reads the payload of an event of type `event_type`.
            pub fn decode(event_type: &str, payload: &[u8]) -> Result<Self, Unreadable> {
                match event_type {
                    $($( $type => v1::$message::decode(payload)
                        .map(Self::$variant)
                        .or(Err(Unreadable { message: stringify!($message) })), )*)*
                    _ => Ok(Self::Unknown),
                }
            }

            /// The event's type; empty for an unknown one.
            pub fn event_type(&self) -> &'static str {
                match self { $($( Self::$variant(_) => $type, )*)* Self::Unknown => "" }
            }

            pub fn family(&self) -> Family {
                match self {
                    $($( Self::$variant(_) => Family::$family, )*)*
                    Self::Unknown => Family::Unknown,
                }
            }

            pub fn encode_to_vec(&self) -> Vec<u8> {
                match self {
                    $($( Self::$variant(message) => message.encode_to_vec(), )*)*
                    Self::Unknown => Vec::new(),
                }
            }

            /// The name by which reflection knows the payload's message.
            pub fn message_name(&self) -> Option<&'static str> {
                match self {
                    $($( Self::$variant(_) => Some(concat!("care.v1.", stringify!($message))), )*)*
                    Self::Unknown => None,
                }
            }

            /// What the payload violates of what the schema declares.
            pub fn violations(&self) -> Vec<Violation> {
                match self {
                    $($( Self::$variant(message) => message.violations(), )*)*
                    Self::Unknown => Vec::new(),
                }
            }
        }
    };
}

catalogue! {
    Identity {
        PatientRegistered(PatientRegistered) = "care.patient.registered.v1",
        IdentifierLinked(IdentifierLinked) = "care.patient.identifier_linked.v1",
        DemographicsUpdated(DemographicsUpdated) = "care.patient.demographics_updated.v1",
    }
    Team {
        TeamMemberJoined(TeamMemberJoined) = "care.team.member_joined.v1",
    }
    Encounter {
        AdmissionPlanned(AdmissionPlanned) = "care.encounter.admission_planned.v1",
        AdmissionPlannedCancelled(EncounterCancellation) =
            "care.encounter.admission_planned_cancelled.v1",
        EncounterRegistered(EncounterRegistered) = "care.encounter.registered.v1",
        RegistrationCancelled(EncounterCancellation) = "care.encounter.registration_cancelled.v1",
        Admitted(Admitted) = "care.encounter.admitted.v1",
        AdmitCancelled(EncounterCancellation) = "care.encounter.admit_cancelled.v1",
        TransferPlanned(TransferPlanned) = "care.encounter.transfer_planned.v1",
        TransferPlannedCancelled(EncounterCancellation) =
            "care.encounter.transfer_planned_cancelled.v1",
        Transferred(Transferred) = "care.encounter.transferred.v1",
        TransferCancelled(EncounterCancellation) = "care.encounter.transfer_cancelled.v1",
        LeaveStarted(LeaveStarted) = "care.encounter.leave_started.v1",
        LeaveStartedCancelled(EncounterCancellation) = "care.encounter.leave_started_cancelled.v1",
        LeaveReturned(LeaveReturned) = "care.encounter.leave_returned.v1",
        LeaveReturnedCancelled(EncounterCancellation) =
            "care.encounter.leave_returned_cancelled.v1",
        DischargePlanned(DischargePlanned) = "care.encounter.discharge_planned.v1",
        DischargePlannedCancelled(EncounterCancellation) =
            "care.encounter.discharge_planned_cancelled.v1",
        Discharged(Discharged) = "care.encounter.discharged.v1",
        DischargeCancelled(EncounterCancellation) = "care.encounter.discharge_cancelled.v1",
    }
    DischargePlanning {
        ScreeningCompleted(ScreeningCompleted) = "care.discharge.screening_completed.v1",
        FamilyMeetingHeld(FamilyMeetingHeld) = "care.discharge.family_meeting_held.v1",
        PlanStarted(DischargePlan) = "care.discharge.plan_started.v1",
        PlanIssued(DischargePlan) = "care.discharge.plan_issued.v1",
        PlanChanged(DischargePlan) = "care.discharge.plan_changed.v1",
        ConferenceScheduled(ConferenceScheduled) = "care.discharge.conference_scheduled.v1",
        ConferenceHeld(ConferenceHeld) = "care.discharge.conference_held.v1",
        DischargeReadyDeclared(DischargeReadyDeclared) = "care.discharge.ready_declared.v1",
        TransferRequested(TransferRequested) = "care.transfer_request.requested.v1",
        TransferOffered(TransferAnswer) = "care.transfer_request.offered.v1",
        TransferDeclined(TransferAnswer) = "care.transfer_request.declined.v1",
        TransferAccepted(TransferAnswer) = "care.transfer_request.accepted.v1",
        TransferWithdrawn(TransferAnswer) = "care.transfer_request.withdrawn.v1",
    }
    HomeCare {
        VisitCompleted(VisitCompleted) = "care.home.visit_completed.v1",
        VisitMissed(VisitMissed) = "care.home.visit_missed.v1",
        ObservationRecorded(ObservationRecorded) = "care.home.observation_recorded.v1",
        ConditionChanged(ConditionChanged) = "care.home.condition_changed.v1",
        AdmissionInfoProvided(AdmissionInfoProvided) = "care.home.admission_info_provided.v1",
        DischargeInfoRecorded(DischargeInfoRecorded) = "care.home.discharge_info_recorded.v1",
    }
    SocialPrescribing {
        Signposted(Signposted) = "care.sp.signposted.v1",
        ReferralRequested(ReferralRequested) = "care.sp.referral_requested.v1",
        ReferralAccepted(ReferralStep) = "care.sp.referral_accepted.v1",
        ReferralRejected(ReferralStep) = "care.sp.referral_rejected.v1",
        ReferralInProgress(ReferralStep) = "care.sp.referral_in_progress.v1",
        ReferralOnHold(ReferralStep) = "care.sp.referral_on_hold.v1",
        ReferralFailed(ReferralStep) = "care.sp.referral_failed.v1",
        ReferralCompleted(ReferralStep) = "care.sp.referral_completed.v1",
        ReferralCancelled(ReferralStep) = "care.sp.referral_cancelled.v1",
        ReferralEnteredInError(ReferralStep) = "care.sp.referral_entered_in_error.v1",
        CaseOpened(CaseOpened) = "care.sp.case_opened.v1",
        CaseClosed(CaseClosed) = "care.sp.case_closed.v1",
        CaseReopened(CaseReopened) = "care.sp.case_reopened.v1",
        ContactAttempted(ContactAttempted) = "care.sp.contact_attempted.v1",
        ContactHeld(ContactHeld) = "care.sp.contact_held.v1",
        AttendanceRecorded(AttendanceRecorded) = "care.sp.attendance_recorded.v1",
        Unattended(Unattended) = "care.sp.unattended.v1",
        MeasureRecorded(MeasureRecorded) = "care.sp.measure_recorded.v1",
    }
    System {
        IdentifierClaimed(IdentifierClaimed) = "care.identifier.claimed.v1",
        IdentifierReleased(IdentifierReleased) = "care.identifier.released.v1",
        MessageQuarantined(MessageQuarantined) = "care.system.message_quarantined.v1",
        MessageRepeated(MessageRepeated) = "care.system.message_repeated.v1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_named_care_family_event_version() {
        let mut seen = std::collections::BTreeSet::new();
        for name in TYPES {
            assert!(seen.insert(name), "{name} twice");
            let parts: Vec<&str> = name.split('.').collect();
            assert!(matches!(parts.as_slice(), ["care", _, _, "v1"]), "{name}");
        }
    }

    #[test]
    fn an_unknown_type_is_kept_as_it_is() {
        assert_eq!(Payload::decode("care.moon.landed.v1", b"\xff"), Ok(Payload::Unknown));
    }

    #[test]
    fn a_payload_that_is_not_its_message_is_unreadable() {
        let error = Payload::decode("care.encounter.admitted.v1", b"\xff").unwrap_err();
        assert_eq!(error.to_string(), "the payload is not a Admitted");
    }

    #[test]
    fn the_names_of_messages_are_known_to_reflection() {
        let admitted = Payload::Admitted(v1::Admitted::default());
        assert_eq!(admitted.message_name(), Some("care.v1.Admitted"));
        assert_eq!(admitted.event_type(), "care.encounter.admitted.v1");
        assert_eq!(admitted.family(), Family::Encounter);
    }
}
