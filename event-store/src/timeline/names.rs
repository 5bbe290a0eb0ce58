//! The names that a patient's events give to what other events only refer to by id.

use std::collections::BTreeMap;

use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::{fields, v1};

#[derive(Debug, Default)]
pub(super) struct Names {
    /// What was asked of whom, by the id of the transfer request or referral.
    asked: BTreeMap<String, String>,
    /// As the organisation calls itself, or as the first of the others called it.
    organisations: BTreeMap<String, String>,
}

impl Names {
    /// Takes note of what an event of the organisation `by` names.
    pub(super) fn note(&mut self, by: &str, payload: &Payload) {
        let named = payload.fields().map(fields::organisations).unwrap_or_default();
        for organisation in named {
            self.note_organisation(by, organisation);
        }
        if let Payload::TransferRequested(m) = payload {
            self.asked.insert(m.transfer_request_id.clone(), called(m.facility.as_ref()));
        } else if let Payload::ReferralRequested(m) = payload {
            let resource = m.resource.as_ref().filter(|resource| !resource.name.is_empty());
            let name = resource.map(|resource| resource.name.clone());
            let name = name.unwrap_or_else(|| called(m.receiver.as_ref()));
            self.asked.insert(m.referral_id.clone(), name);
        }
    }

    /// Adds what another record names and this one does not.
    pub(super) fn add(&mut self, other: Self) {
        for (id, name) in other.asked {
            self.asked.entry(id).or_insert(name);
        }
        for (id, name) in other.organisations {
            self.organisations.entry(id).or_insert(name);
        }
    }

    /// Who or what was asked; empty if nothing is known of it.
    pub(super) fn of(&self, id: &str) -> &str {
        self.asked.get(id).map(String::as_str).unwrap_or_default()
    }

    /// The name of an organisation, or its id if no event has named it.
    pub(super) fn organisation<'a>(&'a self, id: &'a str) -> &'a str {
        self.organisations.get(id).map_or(id, String::as_str)
    }

    fn note_organisation(&mut self, by: &str, organisation: &v1::Organisation) {
        let v1::Organisation { id, name } = organisation;
        if !name.is_empty() && (id == by || !self.organisations.contains_key(id)) {
            self.organisations.insert(id.clone(), name.clone());
        }
    }
}

fn called(organisation: Option<&v1::Organisation>) -> String {
    super::wording::organisation(organisation).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Payload {
        let organisation = v1::Organisation { id: "acute".into(), name: name.into() };
        Payload::Discharged(v1::Discharged {
            destination: Some(organisation),
            ..v1::Discharged::default()
        })
    }

    #[test]
    fn an_organisation_is_called_as_it_calls_itself() {
        let mut names = Names::default();
        assert_eq!(names.organisation("acute"), "acute");
        names.note("nurses", &named("中央"));
        names.note("nurses", &named("偽病院"));
        names.note("nurses", &named(""));
        assert_eq!(names.organisation("acute"), "中央", "the first to name it");
        names.note("acute", &named("中央病院"));
        names.note("nurses", &named("偽病院"));
        assert_eq!(names.organisation("acute"), "中央病院", "its own word");
    }
}
