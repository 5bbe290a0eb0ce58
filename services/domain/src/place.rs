//! Where a patient is: a facility and a place within it.

use crate::id::OrganisationId;

/// A hospital or other facility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facility {
    pub id: OrganisationId,
    /// Its name as people know it; may be empty.
    pub name: Box<str>,
}

/// A place in a facility. What is not known is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub facility: Facility,
    pub department: Box<str>,
    pub ward: Box<str>,
    pub room: Box<str>,
    pub bed: Box<str>,
}
