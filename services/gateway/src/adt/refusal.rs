//! Why a message is not taken: for the sending system's people, who have to do something.

use tonic::Code;
use tsunagi_bus::handler::SubmitError;
use tsunagi_bus::port::ReadError;
use tsunagi_chassis::Refused;
use tsunagi_domain::PatientId;

/// What a refusal asks of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mend the message, or say first what it builds on.
    Content,
    /// Leave such messages out: they are not taken.
    Unsupported,
    /// Send it again later, as it is.
    Unavailable,
}

/// A refusal. No text holds a value of the message: it may be a patient's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: Kind,
    /// Of HL7's table 0357.
    pub condition: u16,
    /// The field at fault, such as `PV1-44`; empty if it is the whole message.
    pub field: String,
    /// Stable, for machines: `FIELD_MISSING`.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether the message is kept in quarantine: somebody here has to look at it.
    pub is_kept: bool,
}

impl Refusal {
    fn content(condition: u16, field: &str, reason: &'static str, message: &str) -> Self {
        Self {
            kind: Kind::Content,
            condition,
            field: field.to_owned(),
            reason,
            message: message.to_owned(),
            is_kept: true,
        }
    }

    /// The same of one patient, when what the message says of others is stored.
    pub(crate) fn after(mut self, patients: usize) -> Self {
        let done = format!("; what the message says of the {patients} before is stored");
        self.message.push_str(&done);
        self
    }

    /// A field that must be given.
    pub(crate) fn missing(field: &str, message: &str) -> Self {
        Self::content(101, field, "FIELD_MISSING", message)
    }

    /// A field that does not hold what it must.
    pub(crate) fn wrong(field: &str, message: &str) -> Self {
        Self::content(102, field, "FIELD_WRONG", message)
    }

    /// What the message is about is not known here.
    pub(crate) fn unknown(field: &str, reason: &'static str, message: &str) -> Self {
        Self::content(204, field, reason, message)
    }

    /// It contradicts what is known.
    pub(crate) fn contradicts(field: &str, reason: &'static str, message: &str) -> Self {
        Self::content(205, field, reason, message)
    }

    /// Bytes that are no message.
    pub(crate) fn unreadable(field: &str, message: &str) -> Self {
        Self::content(100, field, "MESSAGE_UNREADABLE", message)
    }

    /// A message type or event that is not taken, whatever the content. The sender has it, and
    /// loses nothing: it is not kept.
    pub(crate) fn unsupported(is_event: bool, message: String) -> Self {
        let (condition, reason) =
            if is_event { (201, "EVENT_NOT_SUPPORTED") } else { (200, "TYPE_NOT_SUPPORTED") };
        let (kind, field) = (Kind::Unsupported, "MSH-9".to_owned());
        Self { kind, condition, field, reason, message, is_kept: false }
    }

    /// A message that takes back what another said, of a kind that is not taken back so. It is kept:
    /// in a folder nobody is answered.
    pub(crate) fn undone_at_a_desk(event: &str) -> Self {
        let message = format!(
            "a deleted ADT {event} is not taken, since what was recorded is never deleted: have what was wrong entered in error at a desk (CareTeam.MarkEnteredInError); the message is kept in quarantine"
        );
        Self { is_kept: true, ..Self::unsupported(true, message) }
    }

    /// More bytes than are taken.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!(
            "the message has more than the {limit} bytes that are taken (mllp-frame-bytes), and only its beginning is kept: send it again in smaller messages, or as it is when the limit was raised"
        );
        Self {
            kind: Kind::Unsupported,
            condition: 207,
            field: String::new(),
            reason: "MESSAGE_TOO_LARGE",
            message,
            is_kept: true,
        }
    }

    /// More messages at once than are taken.
    pub(crate) fn too_many(limit: usize) -> Self {
        let message = format!(
            "the batch has more than the {limit} messages that are taken (mllp-batch-messages): send it in parts, or have the limit raised"
        );
        Self { message, reason: "BATCH_TOO_LARGE", ..Self::too_large(limit) }
    }

    /// Whoever sent it may not speak for the facility that it names.
    pub(crate) fn unproven() -> Self {
        let message = "the certificate of this connection names nobody who may speak for this facility: send it over TLS with the facility's own, or have the names of this one added to the facility's profile (client-certificate)";
        Self {
            kind: Kind::Unsupported,
            condition: 207,
            field: "MSH-4".to_owned(),
            reason: "SENDER_NOT_PROVEN",
            message: message.to_owned(),
            is_kept: false,
        }
    }

    /// Somebody else is merging this record, or was interrupted.
    pub(crate) fn merge_unfinished(record: PatientId) -> Self {
        let message = format!(
            "patient {record} is being merged with another record at a desk: send this again; if that goes on, the merge was interrupted, and is to be sent again there (CareTeam.MergePatients)"
        );
        Self {
            kind: Kind::Unavailable,
            condition: 207,
            field: "MRG-1".to_owned(),
            reason: "MERGE_UNFINISHED",
            message,
            is_kept: false,
        }
    }

    /// What the handler refused of the events that a message says, with the field that it is
    /// most likely about.
    pub(crate) fn of_submit(error: SubmitError, field: &str) -> Self {
        Self::of(Refused::from(error), field)
    }

    pub(crate) fn of_read(error: ReadError) -> Self {
        Self::of(Refused::from(error), "")
    }

    pub(crate) fn of(refused: Refused, field: &str) -> Self {
        let Refused { code, reason, message, .. } = refused;
        let (kind, condition) = match code {
            Code::InvalidArgument | Code::OutOfRange => (Kind::Content, 102),
            Code::NotFound => (Kind::Content, 204),
            Code::AlreadyExists => (Kind::Content, 205),
            Code::ResourceExhausted | Code::Unavailable | Code::Internal | Code::Aborted => {
                (Kind::Unavailable, 207)
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => (Kind::Content, 207),
        };
        let is_kept = kind == Kind::Content;
        let field = field.to_owned();
        Self { kind, condition, field, reason, message, is_kept }
    }
}
