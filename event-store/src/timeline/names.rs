//! The names that a patient's events give to what other events only refer to by id.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tsunagi_domain::ResourceId;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::{fields, v1};

#[derive(Debug, Default)]
pub(super) struct Names {
    /// What was asked of whom, by the id of the transfer request or referral in small letters.
    asked: BTreeMap<String, String>,
    /// The same, of referrals to a resource that is only named by its id.
    asked_resource: BTreeMap<String, String>,
    /// What resources of the region's directory are called, by their ids in small letters; none
    /// if that was not looked up yet.
    resources: BTreeMap<String, Option<String>>,
    /// As the organisation called itself last, or as the first of the others called it.
    organisations: BTreeMap<String, Called>,
}

#[derive(Debug)]
struct Called {
    name: String,
    is_own_word: bool,
    at: Timestamp,
}

impl Names {
    /// Takes note of what an event of the organisation `by` names.
    pub(super) fn note(&mut self, by: &str, at: Timestamp, payload: &Payload) {
        let named = payload.fields().map(fields::organisations).unwrap_or_default();
        for organisation in named {
            self.note_organisation(by, at, organisation);
        }
        let resource = payload.fields().and_then(|fields| fields.field("resource"));
        if let Some(fields::Value::ResourceRef(resource)) = resource
            && resource.name.is_empty()
        {
            self.resources.entry(resource.id.to_ascii_lowercase()).or_default();
        }
        self.note_asked(payload);
    }

    /// Takes note of whom or what a request asks: as it was corrected, if it was.
    pub(super) fn note_asked(&mut self, payload: &Payload) {
        if let Payload::TransferRequested(m) = payload {
            self.asked
                .insert(m.transfer_request_id.to_ascii_lowercase(), called(m.facility.as_ref()));
        } else if let Payload::ReferralRequested(m) = payload {
            let resource = m.resource.as_ref().filter(|resource| !resource.name.is_empty());
            let name = resource.map(|resource| resource.name.clone());
            let name = name.unwrap_or_else(|| called(m.receiver.as_ref()));
            let referral = m.referral_id.to_ascii_lowercase();
            self.asked.insert(referral.clone(), name);
            self.asked_resource.remove(&referral);
            if let Some(unnamed) = m.resource.as_ref().filter(|resource| resource.name.is_empty()) {
                let id = unnamed.id.to_ascii_lowercase();
                self.resources.entry(id.clone()).or_default();
                self.asked_resource.insert(referral, id);
            }
        }
    }

    /// Adds what another record names and this one does not.
    pub(super) fn add(&mut self, other: Self) {
        for (id, name) in other.asked {
            self.asked.entry(id).or_insert(name);
        }
        self.asked_resource.extend(other.asked_resource);
        for (id, name) in other.resources {
            let known = self.resources.entry(id).or_default();
            *known = known.take().or(name);
        }
        for (id, called) in other.organisations {
            self.call(id, called);
        }
    }

    /// Who or what was asked; empty if nothing is known of it.
    pub(super) fn of(&self, id: &str) -> &str {
        let id = &id.to_ascii_lowercase();
        let resource = self.asked_resource.get(id);
        if let Some(Some(name)) = resource.and_then(|id| self.resources.get(id))
            && !name.is_empty()
        {
            return name;
        }
        self.asked.get(id).map(String::as_str).unwrap_or_default()
    }

    /// The resources whose names were not looked up yet.
    pub(super) fn unnamed_resources(&self) -> Vec<ResourceId> {
        let unnamed = self.resources.iter().filter(|(_, name)| name.is_none());
        unnamed.filter_map(|(id, _)| ResourceId::parse(id).ok()).collect()
    }

    /// Notes what a resource is called in the directory; empty if it is not there.
    pub(super) fn name_resource(&mut self, id: ResourceId, name: String) {
        self.resources.insert(id.to_string(), Some(name));
    }

    /// The name of a resource in the directory, or its id if it is not there.
    pub(super) fn resource<'a>(&'a self, id: &'a str) -> &'a str {
        let name = self.resources.get(&id.to_ascii_lowercase()).and_then(Option::as_deref);
        name.filter(|name| !name.is_empty()).unwrap_or(id)
    }

    /// The name of an organisation, or its id if no event has named it.
    pub(super) fn organisation<'a>(&'a self, id: &'a str) -> &'a str {
        self.organisations.get(id).map_or(id, |called| called.name.as_str())
    }

    fn note_organisation(&mut self, by: &str, at: Timestamp, organisation: &v1::Organisation) {
        let v1::Organisation { id, name } = organisation;
        if !name.is_empty() {
            let called = Called { name: name.clone(), is_own_word: id == by, at };
            self.call(id.clone(), called);
        }
    }

    /// Keeps the better of two names, in whatever order they are told.
    fn call(&mut self, id: String, called: Called) {
        let is_better = self.organisations.get(&id).is_none_or(|before| {
            match (called.is_own_word, before.is_own_word) {
                (true, true) => called.at >= before.at,
                (false, false) => called.at < before.at,
                (is_own_word, _) => is_own_word,
            }
        });
        if is_better {
            self.organisations.insert(id, called);
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
        let at = |day: i64| Timestamp::from_second(86_400 * day).unwrap();
        names.note("nurses", at(2), &named("偽病院"));
        names.note("nurses", at(1), &named("中央"));
        names.note("nurses", at(3), &named(""));
        assert_eq!(names.organisation("acute"), "中央", "the first to name it");
        names.note("acute", at(5), &named("中央病院"));
        names.note("acute", at(4), &named("旧中央病院"));
        names.note("nurses", at(6), &named("偽病院"));
        assert_eq!(names.organisation("acute"), "中央病院", "its own word");
    }
}
