//! Organisations, places and people that other resources refer to, gathered before those.

use std::collections::{HashMap, HashSet};

use super::names::display_name;
use super::resource::{
    CareTeam, CodeableConcept, Contained, Encounter, Identifier, Location, Organization,
    Practitioner, PractitionerRole, Reference,
};

/// What references lead to.
#[derive(Debug, Default)]
pub struct Directory {
    organizations: HashMap<String, Organization>,
    /// The keys of organisations by the system and value of their numbers.
    numbers: HashMap<(String, String), String>,
    locations: HashMap<String, Location>,
    practitioners: HashMap<String, String>,
    /// The practitioner, organisation and role of a `PractitionerRole`.
    roles: HashMap<String, PractitionerRole>,
    /// URLs in Bundles that stand for resources under another id.
    aliases: HashMap<String, String>,
    /// The base URLs of the sending system.
    bases: HashSet<String>,
    /// The sending system, if the ids of its organisations are its own.
    own: Option<String>,
}

/// An organisation found by climbing to the top: the facility, and the department in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider {
    pub facility_id: String,
    pub facility_name: String,
    pub department: String,
}

/// Why it is not known which organisation a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeadsNowhere;

/// Steps from a department to its hospital, at most: a circle must end.
const CLIMB_MAX: usize = 16;

/// The key of a resource: its type and id.
pub fn key(resource_type: &str, id: &str) -> String {
    format!("{resource_type}/{id}")
}

impl Directory {
    pub fn add_organization(&mut self, organization: Organization) {
        let key = key("Organization", &organization.id);
        for Identifier { system, value } in &organization.identifier {
            if !system.is_empty() && !value.is_empty() {
                let number = (system.clone(), value.clone());
                self.numbers.entry(number).or_insert_with(|| key.clone());
            }
        }
        self.organizations.insert(key, organization);
    }

    pub fn add_location(&mut self, location: Location) {
        self.locations.insert(key("Location", &location.id), location);
    }

    /// Notes a person by the name that holds at the time `now`.
    pub fn add_practitioner(&mut self, practitioner: &Practitioner, now: &str) {
        let name = display_name(&practitioner.name, now);
        self.practitioners.insert(key("Practitioner", &practitioner.id), name);
    }

    pub fn add_role(&mut self, role: PractitionerRole) {
        self.roles.insert(key("PractitionerRole", &role.id), role);
    }

    /// Notes a base URL of the sending system: absolute references with another base lead to
    /// none of its resources.
    pub fn add_base(&mut self, url: &str) {
        self.bases.insert(url.trim_end_matches('/').to_owned());
    }

    /// Notes that the ids of organisations are the own ones of `source`: another system's of the
    /// same id is another organisation.
    pub fn keep_apart(&mut self, source: &str) {
        self.own = Some(source.to_owned());
    }

    fn organisation(&self, id: String) -> String {
        match &self.own {
            // One on another server has its address, and one that is looked for its system. A `:`
            // within the name would make it another system's.
            Some(source) if !id.contains(['/', '|']) => {
                format!("{}:{id}", source.replace(':', "%3A"))
            }
            Some(_) | None => id,
        }
    }

    /// Notes that a URL in a Bundle stands for a resource, unless that can be seen from it.
    pub fn add_alias(&mut self, full_url: &str, resource_type: &str, id: &str) {
        let key = key(resource_type, id);
        let base = full_url.strip_suffix(&key).and_then(|base| base.strip_suffix('/'));
        if let Some(base) = base.filter(|base| is_absolute(base)) {
            self.add_base(base);
        } else if is_absolute(full_url) && self.resolve(full_url, resource_type) != key {
            self.aliases.insert(full_url.to_owned(), key);
        }
    }

    /// The key of the resource that a reference leads to. Empty if it leads nowhere; what leads
    /// to a foreign server stays as it is, and is the key of nothing here.
    pub fn key_of(&self, reference: &Reference, expected_type: &str) -> String {
        let text = reference.reference.as_str();
        match self.aliases.get(text) {
            Some(key) => key.clone(),
            None => self.resolve(text, expected_type),
        }
    }

    /// `Type/id` out of a relative URL, out of an absolute one of the sending system, or out of a
    /// URN, whose type is taken to be the one that belongs there. Into the resource itself, the
    /// reference was led to what it contains before (`Within`), if that is there.
    fn resolve(&self, reference: &str, expected_type: &str) -> String {
        if reference.is_empty() || reference.starts_with('#') {
            return String::new();
        }
        if reference.starts_with("urn:") {
            let id = reference.rsplit(':').next().unwrap_or_default();
            return key(expected_type, id);
        }
        let path = reference.split("/_history/").next().unwrap_or_default();
        let mut parts = path.rsplitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(id), Some(resource_type), None) => key(resource_type, id),
            (Some(id), Some(resource_type), Some(base)) if self.bases.contains(base) => {
                key(resource_type, id)
            }
            (Some(_), Some(_), Some(_)) => path.to_owned(),
            _ => key(expected_type, path),
        }
    }

    /// The facility and department that a reference leads to. None if there is no reference.
    pub fn provider(&self, reference: &Reference) -> Result<Option<Provider>, LeadsNowhere> {
        let mut key = self.key_of(reference, "Organization");
        if key.is_empty() {
            match self.numbered(&reference.identifier) {
                Some(numbered) => key.clone_from(numbered),
                None => return unseen(reference),
            }
        }
        let id = id_of(&key);
        let Some(first) = self.organizations.get(&key) else {
            let facility_name = reference.display.clone();
            let facility_id = self.organisation(id);
            return Ok(Some(Provider { facility_id, facility_name, department: String::new() }));
        };
        let mut top = first;
        for _ in 0..CLIMB_MAX {
            key = self.key_of(&top.part_of, "Organization");
            if key.is_empty() {
                let named = self.numbered(&top.part_of.identifier);
                key = named.cloned().unwrap_or_default();
            }
            match self.organizations.get(&key) {
                Some(above) => top = above,
                None => break,
            }
        }
        let department = if top.id == first.id { String::new() } else { first.name.clone() };
        Ok(Some(Provider {
            facility_id: self.facility_id(top).ok_or(LeadsNowhere)?,
            facility_name: top.name.clone(),
            department,
        }))
    }

    /// The key of the organisation that has a number, if it is among those that were sent.
    fn numbered(&self, identifier: &Identifier) -> Option<&String> {
        self.numbers.get(&(identifier.system.clone(), identifier.value.clone()))
    }

    /// The id of a facility. None of one that stands within another resource without a number:
    /// nothing tells it from others.
    fn facility_id(&self, facility: &Organization) -> Option<String> {
        if let Some(number) = institution_number(facility) {
            return Some(number);
        }
        if !facility.id.contains('#') {
            return Some(self.organisation(facility.id.clone()));
        }
        let number = facility.identifier.iter().find(|identifier| !identifier.value.is_empty())?;
        Some(by_number(number))
    }

    pub fn location(&self, reference: &Reference) -> Option<&Location> {
        self.locations.get(&self.key_of(reference, "Location"))
    }

    /// The id and name of the person that a reference leads to.
    pub fn person(&self, reference: &Reference) -> (String, String) {
        let mut key = self.key_of(reference, "Practitioner");
        if let Some(role) = self.roles.get(&key) {
            key = self.key_of(&role.practitioner, "Practitioner");
        }
        let known = self.practitioners.get(&key).filter(|name| !name.is_empty());
        let name = known.unwrap_or(&reference.display).clone();
        let id = id_of(&key);
        // One who stands within the resource alone has no id that others know.
        let id =
            if id.is_empty() || id.contains('#') { reference.identifier.value.clone() } else { id };
        (id, name)
    }

    /// The role's words, where a reference leads to a `PractitionerRole`.
    pub fn role_words(&self, reference: &Reference) -> &str {
        let role = self.roles.get(&self.key_of(reference, "PractitionerRole"));
        role.and_then(|role| role.code.first()).map(CodeableConcept::words).unwrap_or_default()
    }
}

fn is_absolute(url: &str) -> bool {
    url.starts_with("urn:") || url.contains("://")
}

/// The id by which a resource is told from others of its type: of one on a foreign server, with
/// its address.
fn id_of(key: &str) -> String {
    match key.split_once("://") {
        // A search, such as `Organization?identifier=http://…|7`, ends with what is looked for.
        Some((scheme, address)) if !scheme.contains('?') => address.to_owned(),
        Some(_) | None => key.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

/// What a reference names of which no more was sent than the number, if it has one.
fn unseen(reference: &Reference) -> Result<Option<Provider>, LeadsNowhere> {
    let Reference { reference: to, identifier, display } = reference;
    if identifier.value.is_empty() {
        let is_silent = to.is_empty() && display.is_empty() && identifier.system.is_empty();
        return if is_silent { Ok(None) } else { Err(LeadsNowhere) };
    }
    let facility_id = by_number(identifier);
    Ok(Some(Provider { facility_id, facility_name: display.clone(), ..Provider::default() }))
}

/// The 10-digit number that the health insurance knows a facility by (医療機関コード).
const INSTITUTION_NUMBER: &str =
    "http://jpfhir.jp/fhir/core/IdSystem/insurance-medical-institution-no";

fn institution_number(organization: &Organization) -> Option<String> {
    let mut numbers = organization.identifier.iter();
    let is_it = |one: &&Identifier| one.system == INSTITUTION_NUMBER && !one.value.is_empty();
    let number = numbers.find(is_it)?;
    Some(number.value.clone())
}

/// The id of a facility that is named by a number. One without a system is an id as it is given
/// out here.
fn by_number(Identifier { system, value }: &Identifier) -> String {
    if system.is_empty() || system == INSTITUTION_NUMBER {
        value.clone()
    } else {
        format!("{system}|{value}")
    }
}

/// What a resource contains: where references into it lead to.
struct Within<'a> {
    owner: &'a str,
    ids: HashMap<String, &'static str>,
}

impl<'a> Within<'a> {
    /// Adds to a directory what the resource with this key contains.
    fn add(
        directory: &mut Directory,
        owner: &'a str,
        contained: Vec<Contained>,
        now: &str,
    ) -> Self {
        let mut within = Self { owner, ids: HashMap::new() };
        let all = || contained.iter().filter_map(kind_and_id);
        within.ids.extend(all().map(|(kind, id)| (id.to_owned(), kind)));
        for resource in contained {
            match resource {
                Contained::Organization(mut one) => {
                    one.id = within.id(&one.id);
                    within.lead(&mut one.part_of);
                    directory.add_organization(one);
                }
                Contained::Location(mut one) => {
                    one.id = within.id(&one.id);
                    within.lead(&mut one.managing_organization);
                    within.lead(&mut one.part_of);
                    directory.add_location(one);
                }
                Contained::Practitioner(one) => {
                    let id = within.id(&one.id);
                    directory.add_practitioner(&Practitioner { id, ..one }, now);
                }
                Contained::PractitionerRole(mut one) => {
                    one.id = within.id(&one.id);
                    within.lead(&mut one.practitioner);
                    within.lead(&mut one.organization);
                    directory.add_role(one);
                }
                Contained::Other => {}
            }
        }
        within
    }

    /// The id that it has outside: that of no other resource.
    fn id(&self, id: &str) -> String {
        format!("{}#{id}", self.owner.replace('/', "."))
    }

    /// Leads a reference into the resource to what is there.
    fn lead(&self, reference: &mut Reference) {
        let id = reference.reference.strip_prefix('#').unwrap_or_default();
        if let Some(kind) = self.ids.get(id) {
            reference.reference = key(kind, &self.id(id));
        }
    }
}

impl Encounter {
    /// Follows its references into itself.
    pub fn look_within(&mut self, directory: &mut Directory, now: &str) {
        let (owner, contained) = (key("Encounter", &self.id), std::mem::take(&mut self.contained));
        let within = Within::add(directory, &owner, contained, now);
        within.lead(&mut self.service_provider);
        self.location.iter_mut().for_each(|at| within.lead(&mut at.location));
        self.participant.iter_mut().for_each(|one| within.lead(&mut one.individual));
    }
}

impl CareTeam {
    /// Follows its references into itself.
    pub fn look_within(&mut self, directory: &mut Directory, now: &str) {
        let (owner, contained) = (key("CareTeam", &self.id), std::mem::take(&mut self.contained));
        let within = Within::add(directory, &owner, contained, now);
        self.managing_organization.iter_mut().for_each(|owner| within.lead(owner));
        self.participant.iter_mut().for_each(|one| within.lead(&mut one.member));
    }
}

fn kind_and_id(contained: &Contained) -> Option<(&'static str, &str)> {
    Some(match contained {
        Contained::Organization(one) => ("Organization", &one.id),
        Contained::Location(one) => ("Location", &one.id),
        Contained::Practitioner(one) => ("Practitioner", &one.id),
        Contained::PractitionerRole(one) => ("PractitionerRole", &one.id),
        Contained::Other => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        Reference { reference: text.to_owned(), ..Reference::default() }
    }

    #[test]
    fn references_are_followed_in_all_their_forms() {
        let mut directory = Directory::default();
        directory.add_alias("urn:uuid:77", "Patient", "a");
        let of = |text: &str| directory.key_of(&reference(text), "Patient");
        assert_eq!(of("Patient/a"), "Patient/a");
        assert_eq!(of("Patient/a/_history/2"), "Patient/a");
        assert_eq!(of("a"), "Patient/a");
        assert_eq!(of("urn:uuid:77"), "Patient/a", "as its Bundle says");
        assert_eq!(of("urn:uuid:78"), "Patient/78");
        assert_eq!(of("#p1"), "");
        assert_eq!(of(""), "");
    }

    #[test]
    fn an_absolute_reference_is_followed_if_its_base_is_the_sending_system_s() {
        let mut directory = Directory::default();
        let (own, other) = ("https://own.example/fhir", "http://other.example/fhir");
        directory.add_alias(&format!("{own}/Patient/a"), "Patient", "a");
        directory.add_alias(&format!("{other}/Patient/b"), "Patient", "c");
        directory.add_base("http://named.example/");
        // What is no absolute URL stands for nothing but itself.
        directory.add_alias("Patient/d", "Patient", "e");
        let of = |text: &str| directory.key_of(&reference(text), "Patient");
        assert_eq!(of(&format!("{own}/Patient/q/_history/2")), "Patient/q");
        assert_eq!(of("http://named.example/Patient/q"), "Patient/q");
        assert_eq!(of(&format!("{other}/Patient/b")), "Patient/c", "as its Bundle says");
        assert_eq!(of("Patient/d"), "Patient/d");
        for foreign in ["http://other.example/fhir/Patient/q", "//own.example/fhir/Patient/q"] {
            assert_eq!(of(foreign), foreign);
        }
    }

    #[test]
    fn a_foreign_facility_is_not_the_local_one_of_the_same_id() {
        let facility =
            |text: &str| Directory::default().provider(&reference(text)).unwrap().unwrap();
        assert_eq!(facility("Organization/5").facility_id, "5");
        let foreign = facility("http://other.example/Organization/5");
        assert_eq!(foreign.facility_id, "other.example/Organization/5");
        assert_eq!(
            facility("Organization?identifier=http://ids.example|7").facility_id,
            "ids.example|7"
        );
    }

    #[test]
    fn a_department_that_names_its_hospital_by_identifier_is_that_hospital_s() {
        let mut directory = Directory::default();
        let number = Identifier { system: "urn:ids".to_owned(), value: "7".to_owned() };
        directory.add_organization(Organization {
            id: "hospital".to_owned(),
            identifier: vec![number.clone()],
            name: "中央病院".to_owned(),
            ..Organization::default()
        });
        directory.add_organization(Organization {
            id: "surgery".to_owned(),
            name: "外科".to_owned(),
            part_of: Reference { identifier: number, ..Reference::default() },
            ..Organization::default()
        });
        let provider = directory.provider(&reference("Organization/surgery")).unwrap().unwrap();
        assert_eq!(provider.facility_id, "hospital");
        assert_eq!(
            (provider.facility_name, provider.department),
            ("中央病院".into(), "外科".into())
        );
    }

    #[test]
    fn organisations_of_two_systems_are_two_where_their_ids_are_their_own() {
        let mut directory = Directory::default();
        directory.keep_apart("west");
        let facility = |of: &Directory, text: &str| {
            of.provider(&reference(text)).unwrap().unwrap().facility_id
        };
        assert_eq!(facility(&directory, "Organization/1"), "west:1");
        assert_eq!(
            facility(&directory, "http://other.example/Organization/1"),
            "other.example/Organization/1"
        );
        let number = Identifier {
            system: "http://jpfhir.jp/fhir/core/IdSystem/insurance-medical-institution-no"
                .to_owned(),
            value: "1319999999".to_owned(),
        };
        // A number without a value says nothing.
        let none = Identifier { value: String::new(), ..number.clone() };
        for (id, identifier) in [("1", vec![]), ("2", vec![number]), ("3", vec![none])] {
            let id = id.to_owned();
            directory.add_organization(Organization { id, identifier, ..Organization::default() });
        }
        assert_eq!(facility(&directory, "Organization/1"), "west:1");
        assert_eq!(facility(&directory, "Organization/2"), "1319999999", "everybody's");
        assert_eq!(facility(&directory, "Organization/3"), "west:3");
    }

    #[test]
    fn a_department_belongs_to_its_hospital() {
        let mut directory = Directory::default();
        let organization = |id: &str, name: &str, above: &str| Organization {
            id: id.to_owned(),
            name: name.to_owned(),
            part_of: reference(above),
            ..Organization::default()
        };
        directory.add_organization(organization("ward", "内科", "Organization/hospital"));
        directory.add_organization(organization("hospital", "総合病院", ""));
        let provider = directory.provider(&reference("Organization/ward")).unwrap().unwrap();
        assert_eq!(provider.facility_id, "hospital");
        assert_eq!(provider.facility_name, "総合病院");
        assert_eq!(provider.department, "内科");
        let itself = directory.provider(&reference("Organization/hospital")).unwrap().unwrap();
        assert_eq!(itself.department, "");
        assert_eq!(directory.provider(&reference("")), Ok(None));
    }

    #[test]
    fn organisations_in_a_circle_come_to_an_end() {
        let mut directory = Directory::default();
        for (id, above) in [("a", "Organization/b"), ("b", "Organization/a")] {
            directory.add_organization(Organization {
                id: id.to_owned(),
                part_of: reference(above),
                ..Organization::default()
            });
        }
        assert!(matches!(directory.provider(&reference("Organization/a")), Ok(Some(_))));
    }
}
