//! The tables of a directory, whichever form it has: rows by table, and where each stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::csv;
use super::json::{self, Fields, Found, Holder};
use crate::fhir::Origin;
use crate::hl7::charset::decode_cp932;
use crate::text;

/// The tables of HSDS 3, and the names of their files.
pub(super) const TABLES: [(&str, &str); 24] = [
    ("accessibility", "accessibility"),
    ("address", "addresses"),
    ("attribute", "attributes"),
    ("contact", "contacts"),
    ("cost_option", "cost_options"),
    ("funding", "funding"),
    ("language", "languages"),
    ("location", "locations"),
    ("meta_table_description", "meta_table_descriptions"),
    ("metadata", "metadata"),
    ("organization", "organizations"),
    ("organization_identifier", "organization_identifiers"),
    ("phone", "phones"),
    ("program", "programs"),
    ("required_document", "required_documents"),
    ("schedule", "schedules"),
    ("service", "services"),
    ("service_area", "service_areas"),
    ("service_at_location", "service_at_location"),
    ("service_capacity", "service_capacities"),
    ("taxonomy", "taxonomies"),
    ("taxonomy_term", "taxonomy_terms"),
    ("unit", "units"),
    ("url", "urls"),
];

/// Bytes of the largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A row of a table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) origin: Origin,
    pub(super) fields: Fields,
    /// The objects in which it stands, in JSON.
    pub(super) holders: Vec<Holder>,
}

/// A file that was not read, and why.
#[derive(Debug)]
pub struct NotRead {
    pub origin: Origin,
    pub reason: String,
}

/// All rows, by table and in the order in which they were read.
#[derive(Debug, Default)]
pub struct Tables {
    rows: BTreeMap<&'static str, Vec<Row>>,
    by_id: BTreeMap<(&'static str, String), usize>,
    /// Lines whose quotes are not as they must be, or that have more fields than the first.
    pub(super) broken: Vec<(&'static str, Origin)>,
    /// What stands in JSON in the place of a row, and is no object.
    pub(super) no_objects: Vec<(&'static str, Origin)>,
    /// What stands in JSON in the place of a table's rows, and is no list.
    pub(super) no_lists: Vec<(&'static str, Origin)>,
    /// Objects that are of no table of HSDS, by the names under which they stand.
    pub(super) unknown: BTreeMap<String, usize>,
    /// Rows that say otherwise what another one of their table and id says.
    pub(super) twice: Vec<(&'static str, Origin, String)>,
}

impl Row {
    /// What a field says; nothing if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    pub(super) fn id(&self) -> &str {
        self.get("id")
    }

    /// The kind of object in which it stands, in JSON, if nobody can say which one that is.
    pub(super) fn holder_without_id(&self) -> Option<&str> {
        let without = self.holders.iter().find(|holder| holder.id.trim().is_empty());
        without.map(|holder| holder.table)
    }

    /// All that it belongs to by a field: what it names there itself, and where it stands.
    pub(super) fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let held = self.holders.iter().filter(move |holder| holder.link == name);
        let said = std::iter::once(self.get(name)).chain(held.map(|holder| holder.id.trim()));
        said.filter(|id| !id.is_empty())
    }
}

impl Tables {
    /// Reads files, and the files of folders. What cannot be read is told.
    pub fn read(paths: &[PathBuf]) -> std::io::Result<(Self, usize, Vec<NotRead>)> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                let within: std::io::Result<Vec<PathBuf>> =
                    std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
                let mut within = within?;
                within.retain(|file| file.is_file() && has_ending(file, &["csv", "json"]));
                within.sort();
                files.extend(within);
            } else {
                files.push(path.clone());
            }
        }
        let is_package = |file: &PathBuf| {
            file.file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with("datapackage.json"))
        };
        let (packages, files): (Vec<_>, Vec<_>) = files.into_iter().partition(is_package);
        let named = packages.iter().flat_map(|package| tables_of(package)).collect();
        let (mut tables, mut not_read) = (Self::default(), Vec::new());
        for file in &files {
            if let Err((line, reason)) = tables.read_file(file, &named) {
                let origin = Origin { file: file.clone(), number: line };
                not_read.push(NotRead { origin, reason });
            }
        }
        Ok((tables, files.len(), not_read))
    }

    fn read_file(
        &mut self,
        file: &Path,
        named: &BTreeMap<String, &'static str>,
    ) -> Result<(), (u64, String)> {
        let length = std::fs::metadata(file).map_err(|error| (0, error.to_string()))?.len();
        if length > FILE_BYTES_MAX {
            let reason = format!("the file is larger than {} MiB: divide it", FILE_BYTES_MAX >> 20);
            return Err((0, reason));
        }
        let bytes = std::fs::read(file).map_err(|error| (0, error.to_string()))?;
        if has_ending(file, &["json"]) {
            let value: Value = json_of(&bytes).map_err(|error| {
                let line = u64::try_from(error.line()).unwrap_or(0);
                (line, "this is no JSON in UTF-8: mend it, or export the file again".to_owned())
            })?;
            json::read(&value, &mut |number, found| {
                let origin = Origin { file: file.to_owned(), number };
                match found {
                    Found::Row(table, fields, holder) => {
                        let holders = holder.into_iter().collect();
                        self.add(table, Row { origin, fields, holders });
                    }
                    Found::NoObject(table) => self.no_objects.push((table, origin)),
                    Found::NoList(table) => self.no_lists.push((table, origin)),
                    Found::Unknown(name) => {
                        *self.unknown.entry(text::code(&name)).or_default() += 1;
                    }
                }
            });
            return Ok(());
        }
        let table = table_of(file, named).ok_or_else(|| {
            let reason = "its name is that of no table of HSDS 3 (such as services.csv), and no datapackage.json beside it names one: rename it";
            (0, reason.to_owned())
        })?;
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => decode_cp932(error.as_bytes())
                .ok_or_else(|| (0, "it is neither UTF-8 nor CP932: save it as UTF-8".to_owned()))?,
        };
        self.add_csv(table, file, &text);
        Ok(())
    }

    fn add_csv(&mut self, table: &'static str, file: &Path, text: &str) {
        let (rows, broken) = csv::rows(text);
        let origin = |number: u64| Origin { file: file.to_owned(), number };
        self.broken.extend(broken.into_iter().map(|line| (table, origin(line))));
        let mut rows = rows.into_iter();
        let Some(header) = rows.next() else { return };
        for row in rows {
            // A comma in a text that is not in quotes moves all that follows.
            let more = row.fields.get(header.fields.len()..).unwrap_or_default();
            if more.iter().any(|field| !field.trim().is_empty()) {
                self.broken.push((table, origin(row.line)));
                continue;
            }
            let named = header.fields.iter().map(|name| name.trim().to_ascii_lowercase());
            let fields = named.zip(row.fields).collect();
            let origin = origin(row.line);
            self.add(table, Row { origin, fields, holders: Vec::new() });
        }
    }

    /// Adds a row. One that was there already, as in JSON within several objects, adds what was
    /// not said of it yet, and stands in all of these.
    fn add(&mut self, table: &'static str, row: Row) {
        let rows = self.rows.entry(table).or_default();
        let key = (table, row.id().to_owned());
        let known = self.by_id.get(&key).and_then(|at| rows.get_mut(*at));
        if let Some(known) = known.filter(|_| !key.1.is_empty()) {
            let held = row.holders.into_iter().filter(|holder| !known.holders.contains(holder));
            known.holders.extend(held.collect::<Vec<_>>());
            let mut is_another = false;
            for (name, text) in row.fields {
                let before = known.fields.entry(name).or_default();
                is_another |= !before.is_empty() && !text.is_empty() && *before != text;
                if before.is_empty() {
                    *before = text;
                }
            }
            if is_another {
                self.twice.push((table, row.origin, key.1));
            }
            return;
        }
        self.by_id.insert(key, rows.len());
        rows.push(row);
    }

    pub(super) fn rows(&self, table: &str) -> &[Row] {
        self.rows.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn row(&self, table: &'static str, id: &str) -> Option<&Row> {
        let at = self.by_id.get(&(table, id.to_owned()))?;
        self.rows(table).get(*at).filter(|_| !id.is_empty())
    }

    /// Whether a row has this id: of the table of that name, or, where none is named, of any.
    pub(super) fn has(&self, named: &str, id: &str) -> bool {
        let mut tables = TABLES.iter().filter(|(one, many)| {
            named.is_empty() || [one, many].iter().any(|name| name.eq_ignore_ascii_case(named))
        });
        tables.any(|(table, _)| self.row(table, id).is_some())
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.rows.iter().map(|(table, rows)| (*table, rows.len()))
    }
}

/// What a file of JSON says. Some programs set a byte-order mark before it.
fn json_of(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

fn has_ending(file: &Path, endings: &[&str]) -> bool {
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// Which files a data package says are which tables.
fn tables_of(package: &Path) -> Vec<(String, &'static str)> {
    let read = std::fs::read(package).ok();
    let value: Option<Value> = read.and_then(|bytes| json_of(&bytes).ok());
    let resources = value.as_ref().and_then(|value| value.get("resources")?.as_array());
    let named = |resource: &Value| {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let (name, path) = (text("name")?, text("path")?);
        let (table, _) = TABLES.iter().find(|(one, many)| *one == name || *many == name)?;
        let file = Path::new(path).file_name()?.to_string_lossy().into_owned();
        Some((file, *table))
    };
    resources.into_iter().flatten().filter_map(named).collect()
}

fn table_of(file: &Path, named: &BTreeMap<String, &'static str>) -> Option<&'static str> {
    let name = file.file_name()?.to_string_lossy();
    if let Some(table) = named.get(&*name) {
        return Some(table);
    }
    let stem = file.file_stem()?.to_string_lossy().to_ascii_lowercase();
    let is_one = |name: &str| stem == name || stem.ends_with(&format!("_{name}"));
    let fits = TABLES.iter().filter(|(one, many)| is_one(one) || is_one(many));
    // `service_at_location` ends on `location`.
    fits.max_by_key(|(_, many)| many.len()).map(|(table, _)| *table)
}
