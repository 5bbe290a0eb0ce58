//! Searches: parameters as they were asked for, and whether a resource is found by them.

use std::cmp::Ordering;

use serde_json::Value;
use tsunagi_domain::{CareTime, PatientId, Zone};
use tsunagi_proto::v1;

use super::capability::TYPES;
use super::emit::parts;
use super::outcome::Problem;

/// Resources on a page, unless fewer or more are asked for, and at most.
const COUNT: u32 = 100;
const COUNT_MAX: u32 = 1000;
/// Patients or ids that one search names at most.
const VALUES_MAX: usize = 100;

/// The parameters of one search.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    pub(super) parameters: Vec<(String, String)>,
    pub(super) count: u32,
    /// Goes on where a page ended.
    pub(super) page: String,
}

impl Query {
    /// Reads the parameters of a search for `kind`. One that is not known would be passed over
    /// by others; here it is refused, since more would be found than was asked for.
    pub(super) fn read(kind: &str, given: Vec<(String, String)>) -> Result<Self, Problem> {
        let known = TYPES.iter().find(|(one, _)| *one == kind).map_or(&[][..], |(_, all)| *all);
        let mut query = Self { count: COUNT, ..Self::default() };
        for (name, value) in given {
            match name.as_str() {
                // A reference or id may be one of several.
                "patient" | "subject" | "_id" if value.split(',').count() > VALUES_MAX => {
                    let message = format!(
                        "`{name}` has more than {VALUES_MAX} values: ask for fewer at a time"
                    );
                    return Err(Problem::invalid("PARAMETER_WRONG", &message));
                }
                "_count" => {
                    let count = value.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
                    query.count = count.ok_or_else(|| {
                        Problem::invalid("PARAMETER_WRONG", "`_count` must be 1 to 1000")
                    })?;
                }
                "_page" => query.page = value,
                "_format" | "_pretty" => {}
                _ if known.iter().any(|(one, kind)| *one == name && *kind == "date")
                    && !value.split(',').all(is_date) =>
                {
                    let message = format!(
                        "`{name}` must be a date such as 2026-05-01, or eq, ge, le, gt or lt and a date"
                    );
                    return Err(Problem::invalid("PARAMETER_WRONG", &message));
                }
                _ if known.iter().any(|(one, _)| *one == name) => {
                    query.parameters.push((name, value));
                }
                _unknown => {
                    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                    let message =
                        format!("{kind} is searched by {}, `_count` and `_page`", names.join(", "));
                    return Err(Problem::invalid("PARAMETER_UNKNOWN", &message));
                }
            }
        }
        Ok(query)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().filter(|(one, _)| one == name);
        named.next().map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.parameters.iter().filter(move |(one, _)| one == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The patients that a search names, of this server. None if it names none.
    pub(super) fn patients(&self, base: &str) -> Option<Vec<PatientId>> {
        let mut named = self.all("patient").chain(self.all("subject")).map(|values| {
            let ids = values.split(',').map(|value| patient_of(value, base));
            ids.flatten().collect::<Vec<PatientId>>()
        });
        // Said twice, both have to fit.
        let mut found = named.next()?;
        for others in named {
            found.retain(|one| others.contains(one));
        }
        Some(in_turn(found))
    }

    /// The patients of the resources that a search names by their ids. None if it names none.
    pub(super) fn patients_of_ids(&self) -> Option<Vec<PatientId>> {
        let ids = self.get("_id")?.split(',');
        let of = |id: &str| match parts(id) {
            Some((patient, _)) => Some(patient),
            // A care team has its patient's.
            None => PatientId::parse(id).ok(),
        };
        Some(in_turn(ids.filter_map(of).collect()))
    }

    /// Where in the list of what is found a page begins.
    pub(super) fn from(&self) -> Result<usize, Problem> {
        let message = "`_page` must be what a page's `next` link says";
        let page = if self.page.is_empty() { "0" } else { self.page.as_str() };
        page.parse().or(Err(Problem::invalid("PARAMETER_WRONG", message)))
    }

    /// Whether a patient is found.
    pub(super) fn finds(&self, patient: &v1::PatientSummary, zone: &Zone) -> bool {
        let none = v1::Demographics::default();
        let said = patient.demographics.as_ref().unwrap_or(&none);
        let any_name = |wanted: &str, of: fn(&v1::HumanName) -> Vec<&str>| {
            let wanted = wanted.to_lowercase();
            let begins = |part: &str| part.to_lowercase().starts_with(&wanted);
            said.names.iter().any(|name| of(name).into_iter().any(begins))
        };
        let gender = match said.sex() {
            v1::Sex::Female => "female",
            v1::Sex::Male => "male",
            v1::Sex::Other => "other",
            v1::Sex::Unknown => "unknown",
            v1::Sex::Unspecified => "",
        };
        let finds = |name: &str, value: &str| match name {
            "_id" => patient.patient_id == value.to_lowercase(),
            "identifier" => {
                let mut all = patient.identifiers.iter();
                all.any(|one| is_token(value, &one.system, &one.value))
            }
            "family" => any_name(value, |name| vec![&name.family]),
            "given" => any_name(value, |name| name.given.split_whitespace().collect()),
            "name" => any_name(value, |name| {
                let given = name.given.split_whitespace();
                [name.family.as_str(), name.text.as_str()].into_iter().chain(given).collect()
            }),
            "birthdate" => is_in([&said.birth_on; 2], value, zone),
            "gender" => is_token(value, GENDERS, gender),
            _ => true,
        };
        // Commas stand between values of which one has to fit.
        let any =
            |(name, values): &(String, String)| values.split(',').any(|value| finds(name, value));
        self.parameters.iter().all(any)
    }

    /// Whether an encounter, request or task is found, as it is given out.
    pub(super) fn finds_resource(&self, resource: &Value, zone: &Zone) -> bool {
        let text =
            |pointer: &str| resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let is_code = |name: &str, system: &str, code: &str| {
            self.all(name).all(|all| all.split(',').any(|wanted| is_token(wanted, system, code)))
        };
        let status = is_code("status", statuses(text("/resourceType")), text("/status"));
        let class = is_code("class", text("/class/system"), text("/class/code"));
        let id = self.all("_id").all(|all| all.split(',').any(|wanted| wanted == text("/id")));
        let period = [text("/period/start"), text("/period/end")];
        let is_then = |wanted: &str| wanted.split(',').any(|wanted| is_in(period, wanted, zone));
        status && class && id && self.all("date").all(is_then)
    }
}

/// `system|value`, or the value alone.
pub(super) fn token(text: &str) -> (Option<&str>, &str) {
    match text.split_once('|') {
        Some((system, value)) => (Some(system), value),
        None => (None, text),
    }
}

const GENDERS: &str = "http://hl7.org/fhir/administrative-gender";

/// Whether a code or number of a system is what is wanted: `value` of any system, `system|value`,
/// `system|` for all of it, and `|value` for one without a system.
fn is_token(wanted: &str, system: &str, value: &str) -> bool {
    match token(wanted) {
        (None, wanted) => wanted == value,
        (Some(of), "") => !of.is_empty() && of == system,
        (Some(of), wanted) => wanted == value && of == system,
    }
}

/// The code system of the statuses of a type.
fn statuses(kind: &str) -> &'static str {
    match kind {
        "Encounter" => "http://hl7.org/fhir/encounter-status",
        "ServiceRequest" => "http://hl7.org/fhir/request-status",
        "Task" => "http://hl7.org/fhir/task-status",
        _ => "",
    }
}

/// The patient that a reference names, if that is on this server.
fn patient_of(reference: &str, base: &str) -> Option<PatientId> {
    let own = reference.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    let relative = own.unwrap_or(reference);
    PatientId::parse(relative.strip_prefix("Patient/").unwrap_or(relative)).ok()
}

/// Each once, where it stands first.
fn in_turn(named: Vec<PatientId>) -> Vec<PatientId> {
    let mut once: Vec<PatientId> = Vec::with_capacity(named.len());
    for patient in named {
        if !once.contains(&patient) {
            once.push(patient);
        }
    }
    once
}

/// Whether a search can compare with it. What has another prefix (`ne`, `sa`, `eb`, `ap`) is not
/// compared as if it had none: nothing would be found.
fn is_date(wanted: &str) -> bool {
    CareTime::parse(prefixed(wanted).1, &Zone::utc()).is_ok()
}

const PREFIXES: [&str; 5] = ["eq", "ge", "le", "gt", "lt"];

/// How a search compares, and with which date.
fn prefixed(wanted: &str) -> (&str, &str) {
    let prefix = PREFIXES.iter().find(|prefix| wanted.starts_with(**prefix));
    prefix.map_or(("eq", wanted), |prefix| wanted.split_at(prefix.len()))
}

/// Whether a period lies where a search wants it, as R4 compares: `eq` if it lies within the date,
/// the others by whichever end reaches furthest. What has no end goes on. Compared by instants, as
/// far as both are known; days are those of the region.
fn is_in([start, end]: [&str; 2], wanted: &str, zone: &Zone) -> bool {
    let (prefix, date) = prefixed(wanted);
    let time = |text: &str| CareTime::parse(text, zone).ok();
    let (Some(start), Some(date)) = (time(start), time(date)) else { return false };
    let begins = compare(&start, &date);
    let ends = time(end).map_or(Ordering::Greater, |end| compare(&end, &date));
    match prefix {
        "ge" => ends.is_ge(),
        "le" => begins.is_le(),
        "gt" => ends.is_gt(),
        "lt" => begins.is_lt(),
        _equal => begins.is_eq() && ends.is_eq(),
    }
}

/// The order of two times; equal, if one is part of the other.
fn compare(known: &CareTime, wanted: &CareTime) -> Ordering {
    let is_within = |one: &CareTime, other: &CareTime| {
        one.earliest() >= other.earliest() && one.latest() <= other.latest()
    };
    if is_within(known, wanted) || is_within(wanted, known) {
        Ordering::Equal
    } else {
        known.earliest().cmp(&wanted.earliest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone::named("Asia/Tokyo").unwrap()
    }

    fn query(kind: &str, given: &[(&str, &str)]) -> Result<Query, Problem> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Query::read(kind, given.collect())
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused_with_those_that_are() {
        let problem = query("CareTeam", &[("colour", "red")]).unwrap_err();
        assert!(problem.message.contains("patient"), "{}", problem.message);
        assert!(query("Patient", &[("_count", "0")]).is_err());
        assert_eq!(query("Patient", &[("_count", "7")]).unwrap().count, 7);
    }

    #[test]
    fn patients_are_found_by_numbers_names_and_birth() {
        let name =
            v1::HumanName {
                family: "髙橋".into(), given: "花 子".into(), ..Default::default()
            };
        let patient = v1::PatientSummary {
            identifiers: vec![v1::Identifier { system: "urn:oid:1".into(), value: "7".into() }],
            demographics: Some(v1::Demographics {
                names: vec![name],
                birth_on: "1938-04".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let finds = |name: &str, value: &str| {
            query("Patient", &[(name, value)]).unwrap().finds(&patient, &zone())
        };
        assert!(finds("identifier", "7") && finds("identifier", "urn:oid:1|7"));
        assert!(!finds("identifier", "urn:oid:2|7"));
        assert!(finds("family", "髙") && finds("name", "子") && !finds("given", "髙"));
        assert!(finds("birthdate", "1938-04-02") && finds("birthdate", "ge1938"));
        assert!(!finds("birthdate", "lt1938") && !finds("gender", "male"));
    }

    #[test]
    fn one_of_several_values_is_enough_and_a_system_counts() {
        let identifier =
            |value: &str| v1::Identifier { system: "urn:oid:1".into(), value: value.into() };
        let patient = v1::PatientSummary {
            identifiers: vec![identifier("7")],
            demographics: Some(v1::Demographics {
                sex: v1::Sex::Female.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let finds = |name: &str, value: &str| {
            query("Patient", &[(name, value)]).unwrap().finds(&patient, &zone())
        };
        assert!(finds("gender", "male,female") && !finds("gender", "male,other"));
        assert!(finds("identifier", "8,7") && finds("identifier", "urn:oid:1|8,urn:oid:1|7"));
        assert!(finds("identifier", "urn:oid:1|") && !finds("identifier", "urn:oid:2|"));
        assert!(!finds("identifier", "|7") && !finds("identifier", "8,9"));
        let class = serde_json::json!({ "class": { "system": "urn:act", "code": "IMP" } });
        let finds = |value| {
            query("Encounter", &[("class", value)]).unwrap().finds_resource(&class, &zone())
        };
        assert!(finds("IMP") && finds("urn:act|IMP") && finds("AMB,IMP"));
        assert!(!finds("urn:wrong|IMP") && !finds("AMB"));
    }

    #[test]
    fn a_stay_is_found_on_every_day_that_it_lasts() {
        let finds = |end: &str, value: &str| {
            let mut stay =
                serde_json::json!({ "period": { "start": "2026-05-01T09:00:00+09:00" } });
            if !end.is_empty() {
                stay["period"]["end"] = end.into();
            }
            query("Encounter", &[("date", value)]).unwrap().finds_resource(&stay, &zone())
        };
        assert!(
            finds("", "ge2026-05-03") && finds("", "gt2026-05-03") && finds("", "le2026-05-03")
        );
        assert!(!finds("", "2026-05-01"), "it goes on");
        let end = "2026-05-04T10:00:00+09:00";
        assert!(finds(end, "ge2026-05-04") && !finds(end, "gt2026-05-04"));
        assert!(finds(end, "le2026-05-01") && !finds(end, "lt2026-05-01"));
        assert!(!finds(end, "ge2026-05-05") && !finds(end, "le2026-04-30"));
        assert!(
            finds(end, "2026-05") && finds(end, "2026-04,2026-05") && !finds(end, "2026-05-01")
        );
    }

    #[test]
    fn a_date_is_refused_with_a_prefix_that_is_not_known() {
        for wrong in ["ne1938", "sa1938-04", "eb1938", "ap1938", "April", ""] {
            let problem = query("Patient", &[("birthdate", wrong)]).unwrap_err();
            assert!(problem.message.contains("eq, ge, le, gt or lt"), "{}", problem.message);
            assert!(query("Encounter", &[("date", wrong)]).is_err(), "{wrong}");
        }
        assert!(query("Encounter", &[("date", "ge2026-05-01"), ("date", "2026")]).is_ok());
    }
}
