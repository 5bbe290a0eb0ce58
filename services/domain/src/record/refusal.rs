//! Why what is told of a patient, a resource or an organisation is refused.

use crate::id::{CaseId, EncounterId, EventId, ReferralId};
use crate::{
    case, correction, encounter, identity, note, organisation, referral, resource, transfer_request,
};

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "`occurred_at` lies more than 5 minutes ahead of the server's clock: plans are said with the commands that plan, everything else after it happened"
    )]
    InFuture,
    #[error(
        "encounter {0} is not known for this patient: record its admission, visit or plan first, or check the id"
    )]
    UnknownEncounter(EncounterId),
    #[error("case {0} is not known for this patient: open it first, or check the id")]
    UnknownCase(CaseId),
    #[error("referral {0} is not known for this patient: request it first, or check the id")]
    UnknownReferral(ReferralId),
    #[error(
        "something else was begun with this `{0}`, by or with others or for another stay, and entered in error; what is said of it is its own: take a new id"
    )]
    IdOfAnother(&'static str),
    #[error(transparent)]
    Identity(#[from] identity::Refusal),
    #[error(transparent)]
    Encounter(#[from] encounter::Refusal),
    #[error(transparent)]
    TransferRequest(#[from] transfer_request::Refusal),
    #[error(transparent)]
    Referral(#[from] referral::Refusal),
    #[error(transparent)]
    Case(#[from] case::Refusal),
    #[error(transparent)]
    Note(#[from] note::Refusal),
    #[error(transparent)]
    Correction(#[from] correction::Refusal),
    #[error(transparent)]
    Resource(#[from] resource::Refusal),
    #[error(transparent)]
    Organisation(#[from] organisation::Refusal),
}

/// What a refusal asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The command itself is wrong, whatever the state.
    Invalid,
    /// What it is about does not exist.
    NotFound,
    /// It exists already.
    Exists,
    /// The state does not allow it now.
    State,
    /// Somebody else has to say it.
    NotYours,
}

impl Refusal {
    /// Whether something that is known speaks against it, and not the want of what may still be told.
    pub(super) fn speaks_against(&self) -> bool {
        matches!(
            self,
            Self::Encounter(_)
                | Self::TransferRequest(
                    transfer_request::Refusal::NotTheFacilityAsked
                        | transfer_request::Refusal::NotTheRequester
                        | transfer_request::Refusal::AnotherAccepted(_)
                )
                | Self::Referral(
                    referral::Refusal::NotTheReceiver
                        | referral::Refusal::NotTheRequester
                        | referral::Refusal::BeforeRequest
                )
                | Self::Case(case::Refusal::NotTheOpener | case::Refusal::ReferralNotLive)
        )
    }

    /// Why something earlier is refused because of the step that would be refused with it.
    pub(super) fn because_of(&self, step: EventId) -> Self {
        match self {
            Self::TransferRequest(transfer_request::Refusal::AnotherAccepted(_)) => {
                transfer_request::Refusal::AnotherAccepted(step).into()
            }
            Self::TransferRequest(
                transfer_request::Refusal::WrongState(_) | transfer_request::Refusal::LaterStep(_),
            ) => transfer_request::Refusal::LaterStep(step).into(),
            Self::Referral(referral::Refusal::WrongState(_) | referral::Refusal::LaterStep(_))
            | Self::Case(case::Refusal::ReferralNotLive) => {
                referral::Refusal::LaterStep(step).into()
            }
            Self::Case(
                case::Refusal::Closed
                | case::Refusal::Open
                | case::Refusal::OutOfOrder
                | case::Refusal::LaterStep(_),
            ) => case::Refusal::LaterStep(step).into(),
            Self::Note(note::Refusal::WrongState { .. } | note::Refusal::LaterStep(_)) => {
                note::Refusal::LaterStep(step).into()
            }
            Self::InFuture
            | Self::UnknownEncounter(_)
            | Self::UnknownCase(_)
            | Self::UnknownReferral(_)
            | Self::IdOfAnother(_)
            | Self::Identity(_)
            | Self::Encounter(_)
            | Self::TransferRequest(_)
            | Self::Referral(_)
            | Self::Case(_)
            | Self::Note(_)
            | Self::Correction(_)
            | Self::Resource(_)
            | Self::Organisation(_) => correction::Refusal::LaterEventDepends(step).into(),
        }
    }

    /// Whether other steps may make possible what is refused.
    pub(super) fn is_of_order(&self) -> bool {
        use {case::Refusal as Case, note::Refusal as Note};
        use {referral::Refusal as Referral, transfer_request::Refusal as Transfer};
        matches!(
            self,
            Self::TransferRequest(
                Transfer::WrongState(_) | Transfer::LaterStep(_) | Transfer::AnotherAccepted(_)
            ) | Self::Referral(Referral::WrongState(_) | Referral::LaterStep(_))
                | Self::Case(
                    Case::Closed
                        | Case::Open
                        | Case::OutOfOrder
                        | Case::LaterStep(_)
                        | Case::ReferralNotLive
                )
                | Self::Note(Note::WrongState { .. } | Note::LaterStep(_))
        )
    }

    /// The machine-readable reason: stable, for callers to match on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InFuture => "OCCURRED_AT_IN_FUTURE",
            Self::UnknownEncounter(_) => "ENCOUNTER_UNKNOWN",
            Self::IdOfAnother(_) => "ID_OF_ANOTHER",
            Self::UnknownCase(_) | Self::Case(case::Refusal::Unknown) => "CASE_UNKNOWN",
            Self::UnknownReferral(_) | Self::Referral(referral::Refusal::Unknown) => {
                "REFERRAL_UNKNOWN"
            }
            Self::Identity(refusal) => identity_reason(refusal),
            Self::Encounter(refusal) => encounter_reason(refusal),
            Self::TransferRequest(refusal) => transfer_request_reason(refusal),
            Self::Referral(referral::Refusal::AlreadyRequested) => "REFERRAL_EXISTS",
            Self::Referral(referral::Refusal::NotTheReceiver) => "NOT_THE_RECEIVER",
            Self::Referral(referral::Refusal::NotTheRequester) => "NOT_THE_REQUESTER",
            Self::Referral(referral::Refusal::WrongState(_)) => "REFERRAL_IN_WRONG_STATE",
            Self::Referral(referral::Refusal::BeforeRequest | referral::Refusal::LaterStep(_))
            | Self::Case(case::Refusal::OutOfOrder | case::Refusal::LaterStep(_)) => "OUT_OF_ORDER",
            Self::Note(refusal) => note_reason(refusal),
            Self::Correction(refusal) => correction_reason(refusal),
            Self::Resource(refusal) => resource_reason(refusal),
            Self::Organisation(refusal) => organisation_reason(refusal),
            Self::Case(case::Refusal::AlreadyOpened) => "CASE_EXISTS",
            Self::Case(case::Refusal::Closed) => "CASE_CLOSED",
            Self::Case(case::Refusal::Open) => "CASE_OPEN",
            Self::Case(case::Refusal::ReferralNotLive) => "REFERRAL_NOT_LIVE",
            Self::Case(case::Refusal::NotTheOpener) => "NOT_THE_OPENER",
        }
    }

    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Identity(refusal) => identity_kind(refusal),
            Self::Note(refusal) => note_kind(refusal),
            Self::Resource(refusal) => resource_kind(refusal),
            Self::InFuture
            | Self::Organisation(organisation::Refusal::InFuture)
            | Self::Encounter(
                encounter::Refusal::CircularEpisode
                | encounter::Refusal::EndsBeforeItBegins
                | encounter::Refusal::EndsInFuture
                | encounter::Refusal::ReadyBeforeAdmission
                | encounter::Refusal::ReadyAfterDischarge
                | encounter::Refusal::ReadyTooFar,
            )
            | Self::TransferRequest(transfer_request::Refusal::SameFacility)
            | Self::Correction(
                correction::Refusal::IsACorrection(_)
                | correction::Refusal::NotCorrectable(_)
                | correction::Refusal::IsAMove(_)
                | correction::Refusal::OtherKind(_),
            ) => RefusalKind::Invalid,
            Self::UnknownEncounter(_)
            | Self::UnknownCase(_)
            | Self::UnknownReferral(_)
            | Self::TransferRequest(transfer_request::Refusal::Unknown)
            | Self::Referral(referral::Refusal::Unknown)
            | Self::Case(case::Refusal::Unknown)
            | Self::Organisation(organisation::Refusal::UnknownMeeting(_))
            | Self::Correction(correction::Refusal::UnknownEvent(_)) => RefusalKind::NotFound,
            Self::TransferRequest(transfer_request::Refusal::AlreadyRequested)
            | Self::Referral(referral::Refusal::AlreadyRequested)
            | Self::IdOfAnother(_)
            | Self::Case(case::Refusal::AlreadyOpened) => RefusalKind::Exists,
            Self::TransferRequest(
                transfer_request::Refusal::NotTheFacilityAsked
                | transfer_request::Refusal::NotTheRequester,
            )
            | Self::Referral(
                referral::Refusal::NotTheReceiver | referral::Refusal::NotTheRequester,
            )
            | Self::Case(case::Refusal::NotTheOpener)
            | Self::Organisation(organisation::Refusal::NotTheOrganisation)
            | Self::Encounter(encounter::Refusal::NotTheFacility)
            | Self::Correction(correction::Refusal::NotTheAuthor(_)) => RefusalKind::NotYours,
            Self::Organisation(organisation::Refusal::AlreadyInError(_))
            | Self::Correction(
                correction::Refusal::AlreadyInError(_)
                | correction::Refusal::WasMoved(_)
                | correction::Refusal::LaterEventDepends(_),
            )
            | Self::Encounter(_)
            | Self::TransferRequest(
                transfer_request::Refusal::WrongState(_)
                | transfer_request::Refusal::AnotherAccepted(_)
                | transfer_request::Refusal::LaterStep(_),
            )
            | Self::Referral(
                referral::Refusal::WrongState(_)
                | referral::Refusal::BeforeRequest
                | referral::Refusal::LaterStep(_),
            )
            | Self::Case(
                case::Refusal::Closed
                | case::Refusal::Open
                | case::Refusal::OutOfOrder
                | case::Refusal::LaterStep(_)
                | case::Refusal::ReferralNotLive,
            ) => RefusalKind::State,
        }
    }
}

fn note_kind(refusal: &note::Refusal) -> RefusalKind {
    match refusal {
        note::Refusal::NeverValid => RefusalKind::Invalid,
        note::Refusal::Unknown(_) => RefusalKind::NotFound,
        note::Refusal::Exists(_) | note::Refusal::VersionKnown(_) => RefusalKind::Exists,
        note::Refusal::NeedsPerson | note::Refusal::NotTheBeginner { .. } => RefusalKind::NotYours,
        note::Refusal::WrongState { .. }
        | note::Refusal::LaterStep(_)
        | note::Refusal::Differs(_)
        | note::Refusal::OtherKind(_)
        | note::Refusal::TookItsPlace(_)
        | note::Refusal::NotTheNextVersion { .. }
        | note::Refusal::VersionOutOfTime(_) => RefusalKind::State,
    }
}

fn resource_kind(refusal: &resource::Refusal) -> RefusalKind {
    match refusal {
        resource::Refusal::InFuture => RefusalKind::Invalid,
        resource::Refusal::Unknown => RefusalKind::NotFound,
        resource::Refusal::AlreadyPublished => RefusalKind::Exists,
        resource::Refusal::NotThePublisher(_) => RefusalKind::NotYours,
        resource::Refusal::Withdrawn
        | resource::Refusal::NotYet
        | resource::Refusal::OfAnother(_) => RefusalKind::State,
    }
}

fn identity_kind(refusal: &identity::Refusal) -> RefusalKind {
    match refusal {
        identity::Refusal::BornAfterEvent
        | identity::Refusal::DiesInFuture
        | identity::Refusal::DiedBeforeBirth => RefusalKind::Invalid,
        identity::Refusal::Unknown => RefusalKind::NotFound,
        identity::Refusal::AlreadyRegistered
        | identity::Refusal::AlreadyLinked
        | identity::Refusal::AlreadyMerged => RefusalKind::Exists,
        identity::Refusal::Retired(_)
        | identity::Refusal::Deceased
        | identity::Refusal::NotMerged
        | identity::Refusal::MergesTooDeep(_) => RefusalKind::State,
    }
}

fn identity_reason(refusal: &identity::Refusal) -> &'static str {
    match refusal {
        identity::Refusal::Unknown => "PATIENT_UNKNOWN",
        identity::Refusal::Retired(_) => "PATIENT_MERGED",
        identity::Refusal::AlreadyMerged => "ALREADY_MERGED",
        identity::Refusal::NotMerged => "NOT_MERGED",
        identity::Refusal::MergesTooDeep(_) => "MERGES_TOO_DEEP",
        identity::Refusal::AlreadyRegistered => "PATIENT_EXISTS",
        identity::Refusal::AlreadyLinked => "IDENTIFIER_LINKED",
        identity::Refusal::BornAfterEvent => "BORN_AFTER_EVENT",
        identity::Refusal::DiesInFuture => "DIES_IN_FUTURE",
        identity::Refusal::DiedBeforeBirth => "DIED_BEFORE_BIRTH",
        identity::Refusal::Deceased => "PATIENT_DECEASED",
    }
}

fn encounter_reason(refusal: &encounter::Refusal) -> &'static str {
    match refusal {
        encounter::Refusal::NotAdmitted => "NOT_ADMITTED",
        encounter::Refusal::AlreadyAdmitted => "ALREADY_ADMITTED",
        encounter::Refusal::InFacilityAlready(_) => "IN_FACILITY_ALREADY",
        encounter::Refusal::AlreadyBegun => "ENCOUNTER_BEGUN",
        encounter::Refusal::AlreadyEnded => "ENCOUNTER_ENDED",
        encounter::Refusal::OnLeave => "ON_LEAVE",
        encounter::Refusal::NotOnLeave => "NOT_ON_LEAVE",
        encounter::Refusal::OutOfOrder => "OUT_OF_ORDER",
        encounter::Refusal::OtherFacility => "OTHER_FACILITY",
        encounter::Refusal::NotTheFacility => "NOT_THE_FACILITY",
        encounter::Refusal::NothingToCancel(_) => "NOTHING_TO_CANCEL",
        encounter::Refusal::LaterMoveDepends(_) => "LATER_MOVE_DEPENDS",
        encounter::Refusal::CircularEpisode => "CIRCULAR_EPISODE",
        encounter::Refusal::EndsBeforeItBegins => "ENDS_BEFORE_IT_BEGINS",
        encounter::Refusal::EndsInFuture => "ENDS_IN_FUTURE",
        encounter::Refusal::ReadyBeforeAdmission => "READY_BEFORE_ADMISSION",
        encounter::Refusal::ReadyAfterDischarge => "READY_AFTER_DISCHARGE",
        encounter::Refusal::ReadyTooFar => "READY_TOO_FAR",
    }
}

fn transfer_request_reason(refusal: &transfer_request::Refusal) -> &'static str {
    match refusal {
        transfer_request::Refusal::Unknown => "TRANSFER_REQUEST_UNKNOWN",
        transfer_request::Refusal::AlreadyRequested => "TRANSFER_REQUEST_EXISTS",
        transfer_request::Refusal::NotTheFacilityAsked => "NOT_THE_FACILITY_ASKED",
        transfer_request::Refusal::NotTheRequester => "NOT_THE_REQUESTER",
        transfer_request::Refusal::WrongState(_) => "TRANSFER_REQUEST_IN_WRONG_STATE",
        transfer_request::Refusal::SameFacility => "SAME_FACILITY",
        transfer_request::Refusal::LaterStep(_) => "OUT_OF_ORDER",
        transfer_request::Refusal::AnotherAccepted(_) => "ANOTHER_OFFER_ACCEPTED",
    }
}

fn note_reason(refusal: &note::Refusal) -> &'static str {
    match refusal {
        note::Refusal::Unknown(_) => "NOT_BEGUN",
        note::Refusal::Exists(_) => "BEGUN_ALREADY",
        note::Refusal::WrongState { .. } => "IN_WRONG_STATE",
        note::Refusal::NeedsPerson => "PERSON_NEEDED",
        note::Refusal::NeverValid => "NEVER_VALID",
        note::Refusal::Differs(_) => "DOCUMENT_DIFFERS",
        note::Refusal::OtherKind(_) => "KIND_DIFFERS",
        note::Refusal::TookItsPlace(_) => "TOOK_ITS_PLACE",
        note::Refusal::NotTheBeginner { .. } => "NOT_THE_ORGANISER",
        note::Refusal::VersionKnown(_) => "VERSION_KNOWN",
        note::Refusal::NotTheNextVersion { .. } => "VERSION_NOT_NEXT",
        note::Refusal::VersionOutOfTime(_) | note::Refusal::LaterStep(_) => "OUT_OF_ORDER",
    }
}

fn resource_reason(refusal: &resource::Refusal) -> &'static str {
    match refusal {
        resource::Refusal::Unknown => "RESOURCE_UNKNOWN",
        resource::Refusal::AlreadyPublished => "RESOURCE_EXISTS",
        resource::Refusal::Withdrawn => "RESOURCE_WITHDRAWN",
        resource::Refusal::NotYet => "OUT_OF_ORDER",
        resource::Refusal::NotThePublisher(_) => "NOT_THE_PUBLISHER",
        resource::Refusal::OfAnother(_) => "RESOURCE_OF_ANOTHER",
        resource::Refusal::InFuture => "OCCURRED_AT_IN_FUTURE",
    }
}

fn organisation_reason(refusal: &organisation::Refusal) -> &'static str {
    match refusal {
        organisation::Refusal::NotTheOrganisation => "NOT_THE_ORGANISATION",
        organisation::Refusal::UnknownMeeting(_) => "MEETING_UNKNOWN",
        organisation::Refusal::AlreadyInError(_) => "ALREADY_IN_ERROR",
        organisation::Refusal::InFuture => "OCCURRED_AT_IN_FUTURE",
    }
}

fn correction_reason(refusal: &correction::Refusal) -> &'static str {
    match refusal {
        correction::Refusal::UnknownEvent(_) => "EVENT_UNKNOWN",
        correction::Refusal::AlreadyInError(_) | correction::Refusal::WasMoved(_) => {
            "ALREADY_IN_ERROR"
        }
        correction::Refusal::NotTheAuthor(_) => "NOT_THE_AUTHOR",
        correction::Refusal::IsACorrection(_) => "IS_A_CORRECTION",
        correction::Refusal::NotCorrectable(_) | correction::Refusal::IsAMove(_) => {
            "NOT_CORRECTABLE"
        }
        correction::Refusal::OtherKind(_) => "CORRECTION_OF_OTHER_KIND",
        correction::Refusal::LaterEventDepends(_) => "LATER_EVENT_DEPENDS",
    }
}
