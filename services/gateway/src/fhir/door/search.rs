//! Searches: parameters as they were asked for, and whether a resource is found by them.

use serde_json::Value;
use tsunagi_proto::v1;

use super::capability::TYPES;
use super::outcome::Problem;

/// Resources on a page, unless fewer or more are asked for, and at most.
const COUNT: u32 = 100;
const COUNT_MAX: u32 = 1000;

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
                "_count" => {
                    let count = value.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
                    query.count = count.ok_or_else(|| {
                        Problem::invalid("PARAMETER_WRONG", "`_count` must be 1 to 1000")
                    })?;
                }
                "_page" => query.page = value,
                "_format" | "_pretty" => {}
                _ if known.iter().any(|(one, kind)| *one == name && *kind == "date")
                    && !is_date(&value) =>
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

    /// The patient that a search within one patient names.
    pub(super) fn patient(&self) -> Option<&str> {
        let named = self.get("patient").or_else(|| self.get("subject"))?;
        Some(named.rsplit('/').next().unwrap_or(named))
    }

    /// Whether a patient is found.
    pub(super) fn finds(&self, patient: &v1::PatientSummary) -> bool {
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
        self.parameters.iter().all(|(name, value)| match name.as_str() {
            "_id" => patient.patient_id == value.to_lowercase(),
            "identifier" => {
                let (system, number) = token(value);
                let is_one = |one: &v1::Identifier| {
                    one.value == number && system.is_none_or(|system| one.system == system)
                };
                patient.identifiers.iter().any(is_one)
            }
            "family" => any_name(value, |name| vec![&name.family]),
            "given" => any_name(value, |name| name.given.split_whitespace().collect()),
            "name" => any_name(value, |name| {
                let given = name.given.split_whitespace();
                [name.family.as_str(), name.text.as_str()].into_iter().chain(given).collect()
            }),
            "birthdate" => is_in(&said.birth_on, value),
            "gender" => gender == value,
            _ => true,
        })
    }

    /// Whether an encounter, request or task is found, as it is given out.
    pub(super) fn finds_resource(&self, resource: &Value) -> bool {
        let text =
            |pointer: &str| resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let one_of = |value: &str, is: &str| value.split(',').any(|one| token(one).1 == is);
        let status = self.all("status").all(|wanted| one_of(wanted, text("/status")));
        let class = self.all("class").all(|wanted| one_of(wanted, text("/class/code")));
        let id = self.all("_id").all(|wanted| one_of(wanted, text("/id")));
        status && class && id && self.all("date").all(|wanted| is_in(text("/period/start"), wanted))
    }
}

/// `system|value`, or the value alone.
pub(super) fn token(text: &str) -> (Option<&str>, &str) {
    match text.split_once('|') {
        Some((system, value)) => (Some(system), value),
        None => (None, text),
    }
}

/// Whether a search can compare with it. What has another prefix (`ne`, `sa`, `eb`, `ap`) is not
/// compared as if it had none: nothing would be found.
fn is_date(wanted: &str) -> bool {
    let date = PREFIXES.iter().find_map(|prefix| wanted.strip_prefix(prefix)).unwrap_or(wanted);
    date.get(..4).is_some_and(|year| year.bytes().all(|byte| byte.is_ascii_digit()))
}

const PREFIXES: [&str; 5] = ["eq", "ge", "le", "gt", "lt"];

/// Whether a date or time lies where a search wants it, compared as far as both are known.
fn is_in(known: &str, wanted: &str) -> bool {
    let (prefix, date) = match wanted.split_at_checked(2) {
        Some((prefix @ ("eq" | "ge" | "le" | "gt" | "lt"), date)) => (prefix, date),
        Some(_) | None => ("eq", wanted),
    };
    if known.is_empty() {
        return false;
    }
    let length = known.len().min(date.len()).min(10);
    let [known, date] = [known, date].map(|text| text.get(..length).unwrap_or(text));
    match prefix {
        "ge" => known >= date,
        "le" => known <= date,
        "gt" => known > date,
        "lt" => known < date,
        _equal => known == date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let finds =
            |name: &str, value: &str| query("Patient", &[(name, value)]).unwrap().finds(&patient);
        assert!(finds("identifier", "7") && finds("identifier", "urn:oid:1|7"));
        assert!(!finds("identifier", "urn:oid:2|7"));
        assert!(finds("family", "髙") && finds("name", "子") && !finds("given", "髙"));
        assert!(finds("birthdate", "1938-04-02") && finds("birthdate", "ge1938"));
        assert!(!finds("birthdate", "lt1938") && !finds("gender", "male"));
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
