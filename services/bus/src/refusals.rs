//! How a submission's refusal is told to the caller: one whole match.

use tonic::Code;
use tsunagi_chassis::Refused;
use tsunagi_domain::RefusalKind;

use crate::cursor::CursorError;
use crate::handler::{SubmitError, listed};
use crate::port::ReadError;

impl From<SubmitError> for Refused {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::Fields(violations) => Self::fields(violations),
            SubmitError::UnknownType(_) => {
                Self::new(Code::InvalidArgument, "TYPE_UNKNOWN", message)
            }
            SubmitError::SystemType(_) => {
                Self::new(Code::InvalidArgument, "TYPE_OF_THE_SYSTEM", message)
            }
            SubmitError::Payload(_) => {
                Self::new(Code::InvalidArgument, "PAYLOAD_UNREADABLE", message)
            }
            SubmitError::Encrypted => Self::new(Code::InvalidArgument, "KEY_UNKNOWN", message),
            SubmitError::SeveralPatients => {
                Self::new(Code::InvalidArgument, "SEVERAL_PATIENTS", message)
            }
            SubmitError::TooLarge { bytes, limit } => {
                Self::new(Code::InvalidArgument, "EVENT_TOO_LARGE", message)
                    .with("bytes", &bytes)
                    .with("limit", &limit)
            }
            SubmitError::Refused(refusal) => {
                let code = match refusal.kind() {
                    RefusalKind::Invalid => Code::InvalidArgument,
                    RefusalKind::NotFound => Code::NotFound,
                    RefusalKind::Exists => Code::AlreadyExists,
                    RefusalKind::State => Code::FailedPrecondition,
                    RefusalKind::NotYours => Code::PermissionDenied,
                };
                Self::new(code, refusal.reason(), message)
            }
            SubmitError::IdentifierTaken { owner } => {
                Self::new(Code::AlreadyExists, "IDENTIFIER_TAKEN", message)
                    .with("patient_id", &owner)
            }
            SubmitError::VersionConflict { expected, actual } => {
                Self::new(Code::Aborted, "VERSION_CONFLICT", message)
                    .with("expected_version", &expected)
                    .with("actual_version", &actual)
            }
            SubmitError::Reused(event) => {
                Self::new(Code::AlreadyExists, "EVENT_ID_REUSED", message).with("event_id", &event)
            }
            SubmitError::CorrectedMeanwhile(event) => {
                Self::new(Code::Aborted, "CORRECTED_MEANWHILE", message).with("event_id", &event)
            }
            SubmitError::InMerged { event, of } => {
                Self::new(Code::FailedPrecondition, "PATIENT_MERGED", message)
                    .with("event_id", &event)
                    .with("patient_id", &of)
            }
            SubmitError::StillTold { refusal, copies } => {
                Self { message, ..Self::from(*refusal) }.with("still_told", &listed(&copies))
            }
            SubmitError::Contended => Self::new(Code::Aborted, "CONTENDED", message),
            SubmitError::Full => Self::new(Code::ResourceExhausted, "SERVER_FULL", message),
            SubmitError::NoRoom(_) => Self::new(Code::ResourceExhausted, "DISK_FULL", message),
            SubmitError::OutcomeUnknown(_) => {
                Self::new(Code::Unavailable, "OUTCOME_UNKNOWN", message)
            }
            SubmitError::Unreadable(error) => error.into(),
        }
    }
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Log(_) => {
                tracing::error!(%error, "the log could not be read");
                let message =
                    "the server cannot read its log: try again later, and tell whoever runs it";
                Self::new(Code::Unavailable, "LOG_UNREADABLE", message)
            }
            ReadError::Away { ref shard, .. } => {
                tracing::warn!(%error, "a shard does not answer");
                away(shard)
            }
        }
    }
}

impl From<CursorError> for Refused {
    fn from(error: CursorError) -> Self {
        let (code, reason) = match error {
            CursorError::Malformed => (Code::InvalidArgument, "CURSOR_MALFORMED"),
            CursorError::OtherRegion => (Code::InvalidArgument, "CURSOR_OF_OTHER_REGION"),
            CursorError::Ahead => (Code::OutOfRange, "CURSOR_AHEAD"),
            CursorError::NotReached => (Code::Unavailable, "CURSOR_NOT_REACHED"),
        };
        Self::new(code, reason, error.to_string())
    }
}

/// Says that a shard's store is needed and does not answer.
pub(crate) fn away(shard: &str) -> Refused {
    let message = format!(
        "part of what was asked for lies in shard {shard} of the region, whose event store does not answer or has not yet seen it all: try again when it runs"
    );
    Refused::new(Code::Unavailable, "SHARD_AWAY", message).with("shard", &shard)
}
