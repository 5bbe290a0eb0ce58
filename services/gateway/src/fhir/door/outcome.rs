//! What is told of a request: an `OperationOutcome`, with the status that says the same.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tonic::Code;
use tsunagi_bus::handler::SubmitError;
use tsunagi_bus::port::ReadError;
use tsunagi_chassis::Refused;

use crate::fhir::NotMapped;

pub(super) const MEDIA_TYPE: &str = "application/fhir+json";

/// Why something was not done. Holds ids and reasons, and nothing of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Of FHIR's issue types.
    pub(super) issue: &'static str,
    /// Stable, for machines: `PATIENT_UNKNOWN`.
    pub(super) reason: String,
    /// What is wrong and what to do.
    pub(super) message: String,
    /// What of the request it is about, such as `Bundle.entry[2]`.
    pub(super) expression: String,
}

impl Problem {
    fn new(status: StatusCode, issue: &'static str, reason: &str, message: &str) -> Self {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        Self { status, issue, reason, message, expression: String::new() }
    }

    pub(super) fn invalid(reason: &str, message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", reason, message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "NOT_FOUND", message)
    }

    pub(super) fn not_supported(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-supported", "NOT_SUPPORTED", message)
    }

    /// An element of an entry's request asks for what is not done.
    pub(super) fn request_not_supported(element: &str, message: &str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let problem = Self::new(status, "not-supported", "REQUEST_NOT_SUPPORTED", message);
        Self { expression: format!("request.{element}"), ..problem }
    }

    pub(super) fn rule(reason: &str, message: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "business-rule", reason, message)
    }

    pub(super) fn conflict(reason: &str, message: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", reason, message)
    }

    /// What the timeline, which the door asks, says of why it cannot answer.
    pub(super) fn of_timeline(status: &tonic::Status) -> Self {
        let message = status.message().to_owned();
        Refused::new(status.code(), "TIMELINE_NOT_READ", message).into()
    }

    pub(super) fn not_given() -> Self {
        let message = "what was kept of the resource cannot be read: report it";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "exception", "NOT_GIVEN", message)
    }

    pub(super) fn busy() -> Self {
        let message = "the server works on as many requests as it takes: send it again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "throttled", "SERVER_FULL", message)
    }

    pub(super) fn too_slow() -> Self {
        let message = "the body did not come in the time that it may take (fhir-body-wait-ms): send it again, or several smaller Bundles";
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "BODY_TOO_SLOW", message)
    }

    /// The same, told of an entry of a Bundle.
    pub(super) fn at(mut self, entry: usize) -> Self {
        if !self.expression.starts_with("Bundle.") {
            self.expression = in_entry(entry, &self.expression);
        }
        self
    }

    pub(super) fn issue(&self) -> Value {
        issue("error", self.issue, &self.reason, &self.message, &self.expression)
    }
}

/// The place of an element of an entry's resource, such as `Patient.name`; or of the entry.
pub(super) fn in_entry(entry: usize, element: &str) -> String {
    match element.split_once('.') {
        Some(("request", _)) => format!("Bundle.entry[{entry}].{element}"),
        Some((_, path)) => format!("Bundle.entry[{entry}].resource.{path}"),
        None => format!("Bundle.entry[{entry}]"),
    }
}

/// One issue of an `OperationOutcome`.
pub(super) fn issue(
    severity: &str,
    code: &str,
    reason: &str,
    message: &str,
    expression: &str,
) -> Value {
    let mut issue = json!({
        "severity": severity,
        "code": code,
        "details": { "coding": [{ "system": "urn:tsunagi:reason", "code": reason }], "text": message },
        "diagnostics": message,
    });
    if let (Some(issue), false) = (issue.as_object_mut(), expression.is_empty()) {
        issue.insert("expression".to_owned(), json!([expression]));
    }
    issue
}

pub(super) fn outcome(issues: &[Value]) -> Value {
    json!({ "resourceType": "OperationOutcome", "issue": issues })
}

/// An answer in FHIR's JSON.
pub(super) fn answer(status: StatusCode, resource: impl Serialize) -> Response {
    (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], Json(resource).into_response().into_body())
        .into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        answer(self.status, outcome(&[self.issue()]))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let Refused { code, reason, message, .. } = refused;
        let (status, issue) = match code {
            Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid"),
            Code::OutOfRange => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
            Code::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Code::AlreadyExists => (StatusCode::CONFLICT, "duplicate"),
            Code::FailedPrecondition => (StatusCode::UNPROCESSABLE_ENTITY, "business-rule"),
            Code::PermissionDenied => (StatusCode::FORBIDDEN, "forbidden"),
            Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "login"),
            Code::Aborted => (StatusCode::CONFLICT, "conflict"),
            Code::ResourceExhausted | Code::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "transient")
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss => (StatusCode::INTERNAL_SERVER_ERROR, "exception"),
        };
        Self::new(status, issue, reason, &message)
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        Refused::from(error).into()
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        Refused::from(error).into()
    }
}

impl From<NotMapped> for Problem {
    fn from(not_mapped: NotMapped) -> Self {
        let NotMapped { reason, message, element: expression } = not_mapped;
        let problem = match reason {
            "FIELDS_INVALID" | "ELEMENT_WRONG" => Self::invalid(reason, &message),
            _ => Self::rule(reason, &message),
        };
        Self { expression, ..problem }
    }
}
