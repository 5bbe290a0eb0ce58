//! Who acts: an organisation, a role in it, a person.

use crate::id::{IdError, OrganisationId, is_code};

/// Who does or did something. Ids only, never names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    organisation: OrganisationId,
    role: Box<str>,
    person: Box<str>,
    on_behalf_of: Option<OrganisationId>,
}

impl Actor {
    pub fn new(organisation: OrganisationId, role: &str, person: &str) -> Result<Self, IdError> {
        if !is_code(role) || !is_code(person) {
            return Err(IdError::Code);
        }
        Ok(Self { organisation, role: role.into(), person: person.into(), on_behalf_of: None })
    }

    /// The same actor, making a proxy entry for another organisation.
    #[must_use]
    pub fn on_behalf_of(self, organisation: Option<OrganisationId>) -> Self {
        Self { on_behalf_of: organisation, ..self }
    }

    pub fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    pub fn role(&self) -> &str {
        &self.role
    }

    pub fn person(&self) -> &str {
        &self.person
    }

    pub fn represented(&self) -> Option<&OrganisationId> {
        self.on_behalf_of.as_ref()
    }

    /// The organisation whose word this is.
    pub fn acting_for(&self) -> &OrganisationId {
        self.on_behalf_of.as_ref().unwrap_or(&self.organisation)
    }
}
