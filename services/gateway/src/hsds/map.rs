//! What the tables of a directory say, as resources: a service with all that belongs to it.
//!
//! A row that cannot be taken is told, and the service is taken without it; so is a row that
//! leads to no service.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tsunagi_domain::ResourceId;
use tsunagi_proto::check::Check;
use tsunagi_proto::convert::{LATITUDE_MOST, LONGITUDE_MOST};
use tsunagi_proto::v1;
use uuid::Uuid;

use super::tables::{Row, Tables};
use crate::fhir::Origin;
use crate::text;

/// The space in which names made from directories are unique. Never changes.
const HSDS: Uuid = Uuid::from_u128(0x91d5_3a6e_20c4_4f0b_b6a7_4d7c_e815_0f39);

/// A service as a resource.
#[derive(Debug)]
pub struct Mapped {
    pub origin: Origin,
    /// Its id in the directory that it comes from.
    pub id: String,
    pub resource_id: ResourceId,
    pub resource: v1::Resource,
    /// When it was changed there, if that is said.
    pub last_modified: String,
}

/// A row that is not taken.
#[derive(Debug)]
pub struct Refused {
    pub origin: Origin,
    /// Its table and id.
    pub row: String,
    pub reason: &'static str,
    pub message: String,
}

/// A table of which nothing is made, or a name of what is in no table of HSDS, and how many rows or
/// objects it has.
pub type NotUsed = (String, usize);

/// Tables that services are made of.
const USED: [&str; 15] = [
    "accessibility",
    "address",
    "attribute",
    "contact",
    "cost_option",
    "language",
    "location",
    "organization",
    "phone",
    "required_document",
    "schedule",
    "service",
    "service_area",
    "service_at_location",
    "taxonomy_term",
];

/// Of these, rows that lead to no service are no loss: a list of terms or of organisations. To what
/// an attribute belongs, it says in a way of its own.
const SHARED: [&str; 4] = ["attribute", "organization", "service", "taxonomy_term"];

/// The rows of the tables, and which of them were used.
struct Work<'t> {
    tables: &'t Tables,
    source: &'t str,
    own: Option<&'t str>,
    /// Rows by table and by the service that they belong to.
    of_service: BTreeMap<(&'static str, String), Vec<&'t Row>>,
    refused: Vec<Refused>,
}

/// The resources of a directory that calls itself `source`. If the ids of its organisations are its
/// own, `own` stands before each.
pub fn resources(
    tables: &Tables,
    source: &str,
    own: Option<&str>,
) -> (Vec<Mapped>, Vec<Refused>, Vec<NotUsed>) {
    let mut work = Work { tables, source, own, of_service: BTreeMap::new(), refused: Vec::new() };
    work.assign();
    for (table, origin) in &tables.broken {
        let message = "its quotes are not as they must be: one that begins is ended, one within a text is doubled, and a text with a comma stands in quotes, or the line has more fields than the first; it is not read, and those that follow it are".to_owned();
        let (origin, row) = (origin.clone(), format!("{table}/"));
        work.refused.push(Refused { origin, row, reason: "ROW_UNREADABLE", message });
    }
    for (table, origin) in &tables.no_objects {
        let message = "an object is expected there, and it is none; it is not read, and those beside it are: export it as an object".to_owned();
        let (origin, row) = (origin.clone(), format!("{table}/"));
        work.refused.push(Refused { origin, row, reason: "ROW_UNREADABLE", message });
    }
    for (table, origin) in &tables.no_lists {
        let message = "a list of rows is expected there, and it is none; nothing of the table is read: export it as a list, and import it again, since what services were known to have of it is taken away".to_owned();
        let (origin, row) = (origin.clone(), format!("{table}/"));
        work.refused.push(Refused { origin, row, reason: "ROW_UNREADABLE", message });
    }
    // One object of JSON may hold the same row many times.
    let mut told = HashSet::new();
    let once = tables.twice.iter().filter(|(table, origin, id)| {
        told.insert((*table, origin.file.as_path(), origin.number, id.as_str()))
    });
    for (table, origin, id) in once {
        let row = format!("{table}/{}", text::code(id));
        let message = "another row has its id, and says otherwise: the first is taken, and of this one what that leaves out; give each an id of its own".to_owned();
        work.refused.push(Refused { origin: origin.clone(), row, reason: "ID_TWICE", message });
    }
    for row in tables.rows("location").iter().filter(|row| !is_on_globe(row)) {
        let message = "its latitude lies between -90 and 90 degrees and its longitude between -180 and 180, and these do not, or are no decimals: the place is taken without them".to_owned();
        work.refuse("location", row, "COORDINATES_WRONG", message);
    }
    let mut mapped = Vec::new();
    for row in tables.rows("service") {
        match work.resource(row) {
            Ok(resource) => mapped.push(resource),
            Err((reason, message)) => work.refuse("service", row, reason, message),
        }
    }
    let is_used = |table: &str| USED.contains(&table);
    let not_used = tables.counts().filter(|(table, _)| !is_used(table));
    let not_used = not_used.map(|(table, count)| (table.to_owned(), count));
    let unknown = tables.unknown.iter().map(|(name, count)| (name.clone(), *count));
    let not_used = not_used.chain(unknown).collect();
    (mapped, work.refused, not_used)
}

impl<'t> Work<'t> {
    fn refuse(&mut self, table: &str, row: &Row, reason: &'static str, message: String) {
        let row_name = format!("{table}/{}", text::code(row.id()));
        self.refused.push(Refused { origin: row.origin.clone(), row: row_name, reason, message });
    }

    /// Finds the services to which each row belongs.
    fn assign(&mut self) {
        for table in USED.into_iter().filter(|table| !SHARED.contains(table)) {
            for row in self.tables.rows(table) {
                let services = self.services_of(table, row);
                if services.is_empty() {
                    self.refuse(table, row, "SERVICE_UNKNOWN", leads_nowhere(row));
                } else if let Some(message) = self.lacks_place(table, row) {
                    self.refuse(table, row, "LOCATION_UNKNOWN", message.to_owned());
                }
                for service in services {
                    self.of_service.entry((table, service)).or_default().push(row);
                }
            }
        }
        for row in self.tables.rows("attribute") {
            self.assign_attribute(row);
        }
    }

    /// Finds the services to which an attribute belongs. One may belong to something else, of which
    /// nothing is made of it.
    fn assign_attribute(&mut self, row: &'t Row) {
        let said = (row.get("link_entity"), row.get("link_id"));
        let held = row.holders.iter().map(|holder| (holder.table, holder.id.trim()));
        let linked: BTreeSet<(&str, &str)> = std::iter::once(said).chain(held).collect();
        let term = row.get("taxonomy_term_id");
        if !linked.iter().any(|(table, id)| self.tables.has(table, id)) {
            self.refuse("attribute", row, "SERVICE_UNKNOWN", leads_nowhere(row));
        } else if !term.is_empty() && self.tables.row("taxonomy_term", term).is_none() {
            let message = "its taxonomy_term_id names no taxonomy term of these files: export the terms with the services; it is not taken".to_owned();
            self.refuse("attribute", row, "TERM_UNKNOWN", message);
        }
        let may_be_service = |named: &str| {
            ["", "service", "services"].contains(&named.to_ascii_lowercase().as_str())
        };
        let services = linked.into_iter().filter(|(named, _)| may_be_service(named));
        for service in services.map(|(_, id)| id).collect::<BTreeSet<_>>() {
            self.of_service.entry(("attribute", service.to_owned())).or_default().push(row);
        }
    }

    /// What is wrong of a row that leads to a service, and by a place that is not there.
    fn lacks_place(&self, table: &str, row: &Row) -> Option<&'static str> {
        let is_there =
            || row.all("location_id").any(|id| self.tables.row("location", id).is_some());
        match table {
            "service_at_location" if !row.get("location_id").is_empty() && !is_there() => Some(
                "its location_id names no location of these files: export the locations with the services; the service is taken without the place",
            ),
            "address" | "accessibility" if !is_there() => Some(
                "its location_id names no location of these files: export the locations with the services; it is not taken",
            ),
            _ => None,
        }
    }

    /// The services to which a row belongs, by what it says itself and by each object in which it
    /// stands.
    fn services_of(&self, table: &str, row: &Row) -> BTreeSet<String> {
        let mut services = self.services_named(table, row.id(), &|name| row.get(name));
        for holder in &row.holders {
            let named = |name: &str| if name == holder.link { holder.id.trim() } else { "" };
            services.extend(self.services_named(table, row.id(), &named));
        }
        services
    }

    fn services_named<'r>(
        &self,
        table: &str,
        id: &'r str,
        named: &dyn Fn(&str) -> &'r str,
    ) -> BTreeSet<String> {
        let known = |id: &str| self.tables.row("service", id).map(|_| id.to_owned());
        // What belongs to a contact belongs where the contact does; contacts belong to none.
        let contact = self.tables.row("contact", named("contact_id"));
        if let Some(contact) = contact.filter(|_| table != "contact") {
            return self.services_of("contact", contact);
        }
        let at = self.tables.row("service_at_location", named("service_at_location_id"));
        let at = at.map(|at| at.get("service_id"));
        let own = [Some(named("service_id")), at].into_iter().flatten().find_map(known);
        // That another service is offered at the same place does not say that this one is.
        if table == "service_at_location" {
            return own.into_iter().collect();
        }
        // Where many services may be offered, the first that names a place has no more right to it.
        if let Some(own) = own.filter(|_| table != "location") {
            return BTreeSet::from([own]);
        }
        let location = if table == "location" { id } else { named("location_id") };
        let of = |rows: &'t str, name: &'static str, id: &str| {
            let rows = self.tables.rows(rows).iter();
            rows.filter(|row| !id.is_empty() && row.get(name) == id).collect::<Vec<_>>()
        };
        let there = of("service_at_location", "location_id", location);
        let there: BTreeSet<String> =
            there.into_iter().filter_map(|row| known(row.get("service_id"))).collect();
        if !there.is_empty() || !matches!(table, "contact" | "phone") {
            return there;
        }
        let theirs = of("service", "organization_id", named("organization_id"));
        theirs.into_iter().map(|row| row.id().to_owned()).collect()
    }

    fn rows(&self, table: &'static str, service: &str) -> Vec<&'t Row> {
        self.of_service.get(&(table, service.to_owned())).cloned().unwrap_or_default()
    }

    fn resource(&mut self, row: &'t Row) -> Result<Mapped, (&'static str, String)> {
        let id = row.id();
        if id.is_empty() {
            return Err(("ID_MISSING", "the service has no id: give it one that stays".to_owned()));
        }
        let organisation = self.organisation(row)?;
        let system = format!("urn:tsunagi:hsds:{}", self.source);
        let status = row.get("status").replace(' ', "-");
        let said = |name: &str| row.get(name).to_owned();
        let mut resource = v1::Resource {
            organisation: Some(organisation),
            name: said("name"),
            alternate_name: said("alternate_name"),
            description: paragraphs(&[row.get("description"), row.get("alert")]),
            status: (!status.is_empty()).then(|| code("", &status, "")),
            eligibility: eligibility(row),
            url: said("url"),
            application: said("application_process"),
            assured_on: said("assured_date"),
            assurer_email: said("assurer_email"),
            identifiers: vec![v1::Identifier { system, value: id.to_owned() }],
            ..v1::Resource::default()
        };
        let violations = resource.violations();
        if let Some(violation) = violations.first() {
            return Err(("ROW_INVALID", format!("{} {}", violation.field, violation.problem)));
        }
        resource.kinds = self.taken("attribute", id, Self::kind);
        resource.areas = self.taken("service_area", id, |_, row| Some(area(row)));
        resource.locations = self.taken("location", id, |work, row| Some(work.location(row, id)));
        resource.schedules = self.taken("schedule", id, |work, row| Some(work.schedule(row, id)));
        resource.contacts = self.contacts(row);
        resource.fees = self.fees(row);
        let languages = self.rows("language", id).into_iter();
        let languages = languages.map(|row| [row.get("code"), row.get("name")]);
        let languages: BTreeSet<String> = languages
            .filter_map(|said| said.into_iter().find(|text| !text.is_empty()))
            .map(str::to_owned)
            .collect();
        resource.languages = languages.into_iter().collect();
        let documents = self.rows("required_document", id).into_iter();
        resource.required_documents = documents.map(|row| row.get("document").to_owned()).collect();
        resource.required_documents.retain(|document| !document.is_empty());
        if let Some(violation) = resource.violations().first() {
            return Err(("SERVICE_INVALID", format!("{} {}", violation.field, violation.problem)));
        }
        let name = format!("{}\n{id}", self.source);
        Ok(Mapped {
            origin: row.origin.clone(),
            id: id.to_owned(),
            resource_id: ResourceId::new(Uuid::new_v5(&HSDS, name.as_bytes())),
            resource,
            last_modified: said("last_modified"),
        })
    }

    /// What the rows of a table say of a service, but for those that cannot be taken.
    fn taken<M: Check>(
        &mut self,
        table: &'static str,
        service: &str,
        map: impl Fn(&Self, &'t Row) -> Option<M>,
    ) -> Vec<M> {
        let mut all = Vec::new();
        for row in self.rows(table, service) {
            let Some(message) = map(self, row) else { continue };
            match message.violations().first() {
                None => all.push(message),
                Some(violation) => {
                    let message = format!(
                        "{} {}: the service is taken without this row",
                        violation.field, violation.problem
                    );
                    self.refuse(table, row, "ROW_INVALID", message);
                }
            }
        }
        all
    }

    fn organisation(&self, service: &Row) -> Result<v1::Organisation, (&'static str, String)> {
        let id = service.get("organization_id");
        let unknown = || {
            let message = "its organization_id names no organization of these files: export the organizations with the services";
            ("ORGANIZATION_UNKNOWN", message.to_owned())
        };
        let row = self.tables.row("organization", id).ok_or_else(unknown)?;
        let id = match self.own {
            Some(own) => text::code(&format!("{}:{id}", own.replace(':', "%3A"))),
            None => text::code(id),
        };
        Ok(v1::Organisation { id, name: text::cut(row.get("name"), 200) })
    }

    fn kind(&self, attribute: &Row) -> Option<v1::Code> {
        let term = self.tables.row("taxonomy_term", attribute.get("taxonomy_term_id"))?;
        let taxonomy = [term.get("taxonomy"), term.get("taxonomy_id"), term.get("term_uri")];
        let taxonomy = taxonomy.into_iter().find(|text| !text.is_empty());
        let name = [term.get("code"), term.id()].into_iter().find(|text| !text.is_empty())?;
        Some(code(taxonomy.unwrap_or(self.source), name, term.get("name")))
    }

    fn location(&self, row: &Row, service: &str) -> v1::ResourceLocation {
        let of_here = |table: &'static str| {
            let rows = self.rows(table, service).into_iter();
            rows.filter(|one| one.all("location_id").any(|id| id == row.id())).collect::<Vec<_>>()
        };
        let addresses = of_here("address");
        let physical = |one: &&&Row| one.get("address_type") != "postal";
        let address = addresses.iter().find(physical).or(addresses.first());
        let accessibility = of_here("accessibility");
        let accessibility: Vec<&str> =
            accessibility.iter().map(|one| one.get("description")).collect();
        let said = |name: &str| row.get(name).to_owned();
        let on_globe = |name: &str| if is_on_globe(row) { said(name) } else { String::new() };
        v1::ResourceLocation {
            id: said("id"),
            name: said("name"),
            kind: said("location_type"),
            address: address.map(|row| self::address(row)),
            latitude: on_globe("latitude"),
            longitude: on_globe("longitude"),
            transportation: said("transportation"),
            accessibility: paragraphs(&accessibility),
        }
    }

    fn schedule(&self, row: &Row, service: &str) -> v1::ResourceSchedule {
        let said = |name: &str| row.get(name).to_owned();
        let clock = |name: &str| clock(row.get(name));
        let (rule, words) = recurrence(row);
        // How people attend is a code, and a text where somebody explains it.
        let attending = row.get("attending_type");
        let is_code = attending.len() <= 40;
        let explained = if is_code { "" } else { attending };
        v1::ResourceSchedule {
            rrule: rule,
            starts_on: said("dtstart"),
            opens_at: clock("opens_at"),
            closes_at: clock("closes_at"),
            valid_from_on: said("valid_from"),
            valid_to_on: said("valid_to"),
            description: paragraphs(&[row.get("description"), &words, row.get("notes"), explained]),
            location_id: self.held_at(row, service).to_owned(),
            attending_kind: if is_code { attending.to_owned() } else { String::new() },
        }
    }

    /// Where a schedule of a service holds: the place that it names, or that of the service's in
    /// which it stands.
    fn held_at(&self, row: &'t Row, service: &str) -> &'t str {
        let at = row.all("service_at_location_id");
        let at = at.filter_map(|id| self.tables.row("service_at_location", id));
        let at = at.filter(|at| at.get("service_id") == service).map(|at| at.get("location_id"));
        let places = self.rows("service_at_location", service);
        let is_its = |id: &&str| places.iter().any(|place| place.get("location_id") == *id);
        let held = row.all("location_id").filter(is_its);
        let named = Some(row.get("location_id")).filter(|id| !id.is_empty());
        named.into_iter().chain(held).chain(at).next().unwrap_or_default()
    }

    fn contacts(&mut self, service: &'t Row) -> Vec<v1::ResourceContact> {
        let id = service.id();
        let phones = self.rows("phone", id);
        let people = self.rows("contact", id);
        let is_of =
            |phone: &Row, contact: &Row| phone.all("contact_id").any(|id| id == contact.id());
        let mut contacts = self.taken("contact", id, |_, row| {
            let theirs = phones.iter().filter(|phone| is_of(phone, row));
            let mail = point("email", row.get("email"));
            let points = theirs.map(|phone| telephone(phone)).chain([mail]).flatten();
            Some(v1::ResourceContact {
                name: row.get("name").to_owned(),
                title: words(&[row.get("title"), row.get("department")]),
                points: points.collect(),
            })
        });
        let is_own = |phone: &&&Row| !people.iter().any(|contact| is_of(phone, contact));
        let own = phones.iter().filter(is_own).filter_map(|phone| telephone(phone));
        let points: Vec<_> = own.chain(point("email", service.get("email"))).collect();
        if !points.is_empty() {
            contacts.push(v1::ResourceContact { points, ..v1::ResourceContact::default() });
        }
        contacts
    }

    fn fees(&self, service: &Row) -> String {
        let options = self.rows("cost_option", service.id()).into_iter().map(|row| {
            let names = ["option", "amount", "currency", "amount_description"];
            words(&names.map(|name| row.get(name)))
        });
        let options: Vec<String> = options.collect();
        let mut all = vec![service.get("fees_description"), service.get("fees")];
        // The one field is the older name of the other.
        all.dedup();
        all.extend(options.iter().map(String::as_str));
        paragraphs(&all)
    }
}

/// What to do about a row that leads to nothing.
fn leads_nowhere(row: &Row) -> String {
    if let Some(holder) = row.holder_without_id() {
        return format!(
            "the {holder} in which it stands has no id, by which it would lead to a service: give it one that stays"
        );
    }
    "it leads to no service of these files: check its service_id, service_at_location_id, location_id, contact_id, organization_id, or link_id and link_entity".to_owned()
}

/// A time of day as `09:30`. What is none stays as it is, and is told with its row.
fn clock(text: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split(':');
    match (parts.next(), parts.next()) {
        (Some(hour), Some(minute)) if digits(hour) && digits(minute) && hour.len() <= 2 => {
            format!("{hour:0>2}:{minute}")
        }
        _ => text.to_owned(),
    }
}

fn code(system: &str, code: &str, display: &str) -> v1::Code {
    let (system, display) = (text::cut(system, 200), text::cut(display, 200));
    v1::Code { system, code: text::cut(code, 100), version: String::new(), display }
}

fn area(row: &Row) -> v1::ServiceArea {
    let said = |name: &str| row.get(name).to_owned();
    v1::ServiceArea {
        name: said("name"),
        description: said("description"),
        extent: said("extent"),
        extent_type: said("extent_type"),
    }
}

fn address(row: &Row) -> v1::Address {
    let street = words(&[row.get("address_1"), row.get("address_2")]);
    let parts = [row.get("state_province"), row.get("region"), row.get("city"), &street];
    v1::Address {
        text: text::cut(&words(&parts), 300),
        postal_code: text::cut(row.get("postal_code"), 20),
        state: text::cut(row.get("state_province"), 100),
        city: text::cut(row.get("city"), 100),
        confidential: false,
    }
}

fn eligibility(row: &Row) -> Option<v1::Eligibility> {
    let [(age_min, odd_min), (age_max, odd_max)] =
        ["minimum_age", "maximum_age"].map(|name| age(name, row.get(name)));
    let description = paragraphs(&[row.get("eligibility_description"), &odd_min, &odd_max]);
    let says_something = !description.is_empty() || age_min.is_some() || age_max.is_some();
    says_something.then_some(v1::Eligibility { description, age_min, age_max })
}

/// An age in years; or in words, if it is no whole number.
fn age(name: &str, said: &str) -> (Option<u32>, String) {
    let whole = said.split_once('.').filter(|(_, part)| part.bytes().all(|digit| digit == b'0'));
    let years = whole.map_or(said, |(years, _)| years).parse().ok();
    let words = if years.is_some() || said.is_empty() {
        String::new()
    } else {
        format!("{}: {said}", name.replace('_', " "))
    };
    (years, words)
}

/// How a schedule recurs, as a rule; or in words, if it is none.
fn recurrence(row: &Row) -> (String, String) {
    let until = row.get("until").replace('-', "");
    let count = if until.is_empty() { row.get("count") } else { "" };
    let parts = [
        ("FREQ", row.get("freq")),
        ("INTERVAL", row.get("interval")),
        ("COUNT", count),
        ("UNTIL", until.as_str()),
        ("WKST", row.get("wkst")),
        ("BYDAY", row.get("byday")),
        ("BYMONTHDAY", row.get("bymonthday")),
        ("BYWEEKNO", row.get("byweekno")),
        ("BYYEARDAY", row.get("byyearday")),
    ];
    let said = parts.into_iter().filter(|(_, value)| !value.is_empty());
    let said = said.map(|(name, value)| format!("{name}={}", value.replace(' ', "")));
    let rule = said.collect::<Vec<_>>().join(";").to_ascii_uppercase();
    if rule.is_empty() || tsunagi_domain::rrule::is_rule(&rule) {
        (rule, String::new())
    } else {
        (String::new(), rule)
    }
}

fn telephone(row: &Row) -> Option<v1::ContactPoint> {
    let number = row.get("number").trim_matches('"');
    let extension = row.get("extension");
    let whole =
        if extension.is_empty() { number.to_owned() } else { format!("{number} ext. {extension}") };
    let kind = match row.get("type") {
        "fax" => "fax",
        "sms" | "text" => "sms",
        "pager" => "pager",
        _voice => "phone",
    };
    point(kind, &whole).filter(|_| !number.is_empty())
}

fn point(kind: &str, value: &str) -> Option<v1::ContactPoint> {
    let (kind, value) = (kind.to_owned(), text::cut(value, 200));
    (!value.is_empty()).then(|| v1::ContactPoint { kind, value, r#use: "work".to_owned() })
}

fn words(parts: &[&str]) -> String {
    let said = parts.iter().filter(|part| !part.is_empty());
    said.copied().collect::<Vec<_>>().join(" ")
}

/// Whether where a place lies can be so, if it is said: coordinates that cannot be lead nowhere, and
/// are no reason not to take what is there.
fn is_on_globe(location: &Row) -> bool {
    let degrees = [("latitude", LATITUDE_MOST), ("longitude", LONGITUDE_MOST)];
    degrees.into_iter().all(|(name, most)| {
        let said = location.get(name);
        said.is_empty() || said.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= most)
    })
}

fn paragraphs(parts: &[&str]) -> String {
    let said = parts.iter().filter(|part| !part.is_empty());
    said.copied().collect::<Vec<_>>().join("\n")
}
