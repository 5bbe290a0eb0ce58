//! Searches: parameters as they were asked for, and whether a resource is found by them.

use std::cmp::Ordering;

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
            "birthdate" => is_in([&said.birth_on; 2], value),
            "gender" => is_token(value, GENDERS, gender),
            _ => true,
        };
        // Commas stand between values of which one has to fit.
        let any =
            |(name, values): &(String, String)| values.split(',').any(|value| finds(name, value));
        self.parameters.iter().all(any)
    }

    /// Whether an encounter, request or task is found, as it is given out.
    pub(super) fn finds_resource(&self, resource: &Value) -> bool {
        let text =
            |pointer: &str| resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let one_of = |value: &str, is: &str| value.split(',').any(|one| token(one).1 == is);
        let status = self.all("status").all(|wanted| one_of(wanted, text("/status")));
        let class = [text("/class/system"), text("/class/code")];
        let class = self
            .all("class")
            .all(|wanted| wanted.split(',').any(|wanted| is_token(wanted, class[0], class[1])));
        let id = self.all("_id").all(|wanted| one_of(wanted, text("/id")));
        let period = [text("/period/start"), text("/period/end")];
        let is_then = |wanted: &str| wanted.split(',').any(|wanted| is_in(period, wanted));
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

/// Whether a search can compare with it. What has another prefix (`ne`, `sa`, `eb`, `ap`) is not
/// compared as if it had none: nothing would be found.
fn is_date(wanted: &str) -> bool {
    let date = PREFIXES.iter().find_map(|prefix| wanted.strip_prefix(prefix)).unwrap_or(wanted);
    date.get(..4).is_some_and(|year| year.bytes().all(|byte| byte.is_ascii_digit()))
}

const PREFIXES: [&str; 5] = ["eq", "ge", "le", "gt", "lt"];

/// Whether a period lies where a search wants it, as R4 compares: `eq` if it lies within the date,
/// the others by whichever end reaches furthest. What has no end goes on. Compared as far as both
/// are known, by days at most.
fn is_in([start, end]: [&str; 2], wanted: &str) -> bool {
    let (prefix, date) = match wanted.split_at_checked(2) {
        Some((prefix @ ("eq" | "ge" | "le" | "gt" | "lt"), date)) => (prefix, date),
        Some(_) | None => ("eq", wanted),
    };
    if start.is_empty() {
        return false;
    }
    let compare = |known: &str| {
        let length = known.len().min(date.len()).min(10);
        let [known, date] = [known, date].map(|text| text.get(..length).unwrap_or(text));
        known.cmp(date)
    };
    let begins = compare(start);
    let ends = if end.is_empty() { Ordering::Greater } else { compare(end) };
    match prefix {
        "ge" => ends.is_ge(),
        "le" => begins.is_le(),
        "gt" => ends.is_gt(),
        "lt" => begins.is_lt(),
        _equal => begins.is_eq() && ends.is_eq(),
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
        let finds =
            |name: &str, value: &str| query("Patient", &[(name, value)]).unwrap().finds(&patient);
        assert!(finds("gender", "male,female") && !finds("gender", "male,other"));
        assert!(finds("identifier", "8,7") && finds("identifier", "urn:oid:1|8,urn:oid:1|7"));
        assert!(finds("identifier", "urn:oid:1|") && !finds("identifier", "urn:oid:2|"));
        assert!(!finds("identifier", "|7") && !finds("identifier", "8,9"));
        let class = serde_json::json!({ "class": { "system": "urn:act", "code": "IMP" } });
        let finds = |value| query("Encounter", &[("class", value)]).unwrap().finds_resource(&class);
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
            query("Encounter", &[("date", value)]).unwrap().finds_resource(&stay)
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
