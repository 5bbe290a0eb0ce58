//! Odd files and resources: told, and passed over, so that all others are taken.

use tsunagi_gateway::fhir::{NotRead, Origin};

use super::report::Outcome;
use super::work::{Stage, Work};

/// Characters that are shown of an id that is none.
const SHOWN_ID_MAX: usize = 64;

impl Work {
    /// Notes a file that is not read, once.
    pub(super) fn note_not_read(&mut self, not_read: NotRead) -> anyhow::Result<()> {
        let NotRead { path, reason: message } = not_read;
        if !self.not_read.insert(path.clone()) {
            return Ok(());
        }
        let outcome = Outcome::Refused { reason: "FILE_NOT_READ".to_owned(), message };
        self.report.note(&Origin { file: path, number: 0 }, "file", &outcome)
    }

    /// Tells of a resource whose id is none.
    pub(super) fn refuse_id(
        &mut self,
        stage: Stage,
        origin: &Origin,
        resource_type: &str,
        id: &str,
    ) -> anyhow::Result<()> {
        if stage != Stage::Patients {
            // The first reading told of it.
            return Ok(());
        }
        let shown: String = id.chars().take(SHOWN_ID_MAX).collect();
        let outcome = Outcome::Refused {
            reason: "ID_INVALID".to_owned(),
            message: "the resource's id is not 1 to 64 ASCII letters, digits, `-` or `.`, as FHIR has it: export it with one that is".to_owned(),
        };
        self.report.note(origin, &format!("{resource_type}/{shown}"), &outcome)
    }
}

/// Whether something may be the name of a type of resource.
pub(super) fn is_type(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether resources of a type say something to the timeline.
pub(super) fn is_used(resource_type: &str) -> bool {
    matches!(
        resource_type,
        "Patient"
            | "Encounter"
            | "CareTeam"
            | "Organization"
            | "Location"
            | "Practitioner"
            | "PractitionerRole"
    )
}
