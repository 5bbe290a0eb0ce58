//! Ids of ours for what another system sent: made from its own ids, so that the same resource
//! always gets the same ones.

use tsunagi_domain::{EncounterId, EventId, PatientId};
use uuid::Uuid;

/// The space in which names made from FHIR resources are unique. Never changes.
const FHIR: Uuid = Uuid::from_u128(0x5fd2_2a0e_8f0b_4d0f_9a3b_6d5c_7a41_5e10);

/// Makes ids for one sending system.
#[derive(Debug, Clone)]
pub struct Ids {
    source: String,
}

impl Ids {
    /// `source` names the sending system: resource ids are unique within it.
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned() }
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// The identifier by which the region finds the patient of a resource again.
    pub fn identifier_system(&self) -> String {
        format!("urn:tsunagi:fhir:{}:Patient", self.source)
    }

    pub fn patient(&self, key: &str) -> PatientId {
        PatientId::new(self.name(key, ""))
    }

    pub fn encounter(&self, key: &str) -> EncounterId {
        EncounterId::new(self.name(key, ""))
    }

    /// The event that says `fact` of a resource.
    pub fn event(&self, key: &str, fact: &str) -> EventId {
        EventId::new(self.name(key, fact))
    }

    fn name(&self, key: &str, fact: &str) -> Uuid {
        Uuid::new_v5(&FHIR, format!("{}\n{key}\n{fact}", self.source).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_resource_has_the_same_ids_for_ever() {
        // Golden: other ids would import everything a second time.
        let ids = Ids::new("fhir");
        assert_eq!(
            ids.event("Encounter/1", "admitted").to_string(),
            "e250e2d0-4713-5ff5-9bfa-cb42172d51a5"
        );
        assert_ne!(ids.patient("Patient/1"), Ids::new("other").patient("Patient/1"));
    }
}
