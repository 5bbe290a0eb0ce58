//! Who calls. Until callers prove who they are, they say so in the call's metadata; tokens
//! will take that place here, and the services will not notice.

use tonic::Code;
use tonic::metadata::MetadataMap;
use tsunagi_domain::{Actor, OrganisationId};

use crate::refused::Refused;

pub const ORGANISATION: &str = "tsunagi-organisation";
pub const ROLE: &str = "tsunagi-role";
pub const PERSON: &str = "tsunagi-person";

/// The organisation, role and person that the call's metadata names.
pub fn caller(metadata: &MetadataMap) -> Result<Actor, Refused> {
    let organisation = OrganisationId::parse(value(metadata, ORGANISATION)?);
    let (role, person) = (value(metadata, ROLE)?, value(metadata, PERSON)?);
    organisation.and_then(|organisation| Actor::new(organisation, role, person)).map_err(|error| {
        let message =
            format!("each of the metadata `{ORGANISATION}`, `{ROLE}` and `{PERSON}` {error}");
        Refused::new(Code::Unauthenticated, "ACTOR_MALFORMED", message)
    })
}

fn value<'a>(metadata: &'a MetadataMap, key: &str) -> Result<&'a str, Refused> {
    metadata.get(key).and_then(|value| value.to_str().ok()).ok_or_else(|| {
        let message = format!(
            "say who you are: send the metadata `{ORGANISATION}`, `{ROLE}` and `{PERSON}` with every call (`{key}` is missing)"
        );
        Refused::new(Code::Unauthenticated, "ACTOR_MISSING", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&'static str, &'static str)]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for (key, value) in pairs {
            metadata.insert(*key, value.parse().unwrap());
        }
        metadata
    }

    #[test]
    fn a_caller_names_organisation_role_and_person() {
        let all = [(ORGANISATION, "0810112345"), (ROLE, "liaison-nurse"), (PERSON, "n-17")];
        let actor = caller(&metadata(&all)).unwrap();
        assert_eq!(actor.acting_for().as_str(), "0810112345");
        for missing in 0..3 {
            let mut some = all.to_vec();
            some.remove(missing);
            assert_eq!(caller(&metadata(&some)).unwrap_err().reason, "ACTOR_MISSING");
        }
    }

    #[test]
    fn a_caller_is_named_by_ids() {
        let named = [(ORGANISATION, "acute"), (ROLE, "nurse"), (PERSON, "Mary Smith")];
        let refused = caller(&metadata(&named)).unwrap_err();
        assert_eq!(refused.reason, "ACTOR_MALFORMED");
        assert!(!refused.message.contains("Mary"), "a name is not repeated");
    }
}
