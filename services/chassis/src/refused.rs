//! How a service says no: a gRPC code, a reason for machines, a sentence for people.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tsunagi_proto::check::Violation;
use tsunagi_proto::v1;

/// The domain that qualifies reasons in `google.rpc.ErrorInfo`.
const REASON_DOMAIN: &str = "tsunagi.care";

/// Why something was refused. Texts and metadata hold ids and numbers, never a patient's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: Code,
    /// Stable, for callers to match on: `PATIENT_UNKNOWN`.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Ids and numbers that belong to the reason.
    pub metadata: Vec<(&'static str, String)>,
    /// The fields at fault, if it is about fields.
    pub violations: Vec<Violation>,
}

impl Refused {
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), metadata: Vec::new(), violations: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, key: &'static str, value: &impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// A request whose fields are not what the schema says.
    pub fn fields(violations: Vec<Violation>) -> Self {
        let named: Vec<String> = violations
            .iter()
            .map(|violation| format!("`{}` {}", violation.field, violation.problem))
            .collect();
        let message = format!("the request cannot be taken as it is: {}", named.join("; "));
        Self { violations, ..Self::new(Code::InvalidArgument, "FIELDS_INVALID", message) }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let metadata: HashMap<_, _> = owned(refused.metadata).collect();
        let mut details = ErrorDetails::with_error_info(refused.reason, REASON_DOMAIN, metadata);
        for violation in refused.violations {
            details.add_bad_request_violation(violation.field, violation.problem);
        }
        Self::with_error_details(refused.code, refused.message, details)
    }
}

impl From<Refused> for v1::Refused {
    fn from(refused: Refused) -> Self {
        let code = i32::from(refused.code).unsigned_abs();
        let mut metadata: HashMap<String, String> = owned(refused.metadata).collect();
        for Violation { field, problem, .. } in refused.violations {
            let told = metadata.entry(field).or_default();
            if !told.is_empty() {
                told.push_str("; ");
            }
            told.push_str(&problem);
        }
        Self { code, reason: refused.reason.to_owned(), message: refused.message, metadata }
    }
}

/// The reason that a service gave with its refusal. None: it was not a service that refused, as
/// when it does not answer.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

fn owned(metadata: Vec<(&'static str, String)>) -> impl Iterator<Item = (String, String)> {
    metadata.into_iter().map(|(key, value)| (key.to_owned(), value))
}
