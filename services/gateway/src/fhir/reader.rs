//! Files of FHIR resources: NDJSON, one resource a line, and JSON, one resource or Bundle.
//! Read one resource at a time; a file may be larger than memory.

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Bytes of the largest resource that is read. A larger one ends the reading of its file.
pub const RESOURCE_BYTES_MAX: usize = 64 << 20;

/// Where something was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub file: PathBuf,
    /// The line of an NDJSON file, or the entry of a Bundle, from 1 on.
    pub number: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.number)
    }
}

/// What was read.
#[derive(Debug)]
pub enum Item {
    Resource {
        origin: Origin,
        /// The resource as JSON.
        json: String,
        /// The URL that stands for the resource within its Bundle; empty outside of one.
        full_url: String,
    },
    /// These bytes are no JSON.
    Unreadable { origin: Origin, raw: Vec<u8>, reason: String },
}

/// Why reading a file ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path} cannot be read")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{0} has a resource of more than {RESOURCE_BYTES_MAX} bytes: split it, or leave it out"
    )]
    TooLarge(Origin),
}

/// The files to read under `paths`: those named, and in folders those that end in `.ndjson` or
/// `.json`, sorted, so that every run reads them in the same order.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReadError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() { walk(path, &mut found)? } else { found.push(path.clone()) }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let error = |source| ReadError::Io { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(error)?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<Result<_, _>>().map_err(error)?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "ndjson" || ending == "json") {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads a file, handing over one item after the other. `each` says whether to go on.
pub fn read(path: &Path, mut each: impl FnMut(Item) -> bool) -> Result<(), ReadError> {
    let error = |source| ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(error)?;
    if path.extension().is_some_and(|ending| ending == "ndjson") {
        read_lines(path, BufReader::new(file), each)
    } else {
        read_document(path, BufReader::new(file), &mut each).map_err(error)
    }
}

fn read_lines(
    path: &Path,
    mut reader: BufReader<File>,
    mut each: impl FnMut(Item) -> bool,
) -> Result<(), ReadError> {
    let limit = u64::try_from(RESOURCE_BYTES_MAX).unwrap_or(u64::MAX);
    for number in 1.. {
        let origin = Origin { file: path.to_owned(), number };
        let mut line = Vec::new();
        let error = |source| ReadError::Io { path: path.to_owned(), source };
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(error)?;
        if read == 0 {
            return Ok(());
        }
        if read >= RESOURCE_BYTES_MAX {
            return Err(ReadError::TooLarge(origin));
        }
        let text = trim(&line);
        if text.is_empty() {
            continue;
        }
        if !each(to_item(origin, text, String::new())) {
            return Ok(());
        }
    }
    Ok(())
}

/// A byte-order mark and the end of the line do not belong to the resource.
fn trim(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii()
}

fn to_item(origin: Origin, raw: &[u8], full_url: String) -> Item {
    let unreadable =
        |reason: String| Item::Unreadable { origin: origin.clone(), raw: raw.to_owned(), reason };
    let json = match std::str::from_utf8(raw) {
        Ok(json) => json,
        Err(error) => return unreadable(format!("not UTF-8 at byte {}", error.valid_up_to())),
    };
    match serde_json::from_str::<IgnoredAny>(json) {
        Ok(_) => Item::Resource { origin, json: json.to_owned(), full_url },
        Err(error) => unreadable(not_json(&error)),
    }
}

/// What is wrong, without the text that serde would quote.
fn not_json(error: &serde_json::Error) -> String {
    format!("not JSON at line {}, column {}", error.line(), error.column())
}

/// Reads one JSON document. A Bundle's entries are handed over one by one.
fn read_document(
    path: &Path,
    mut reader: impl Read,
    each: &mut dyn FnMut(Item) -> bool,
) -> std::io::Result<()> {
    let origin = |number| Origin { file: path.to_owned(), number };
    let mut entries = 0;
    let mut document = Document { path, each, entries: &mut entries };
    let mut deserializer = serde_json::Deserializer::from_reader(&mut reader);
    let parsed = DeserializeSeed::deserialize(&mut document, &mut deserializer);
    let parsed = parsed.and_then(|single| deserializer.end().map(|()| single));
    match parsed {
        // It was no Bundle, but one resource.
        Ok(Some(single)) => {
            each(to_item(origin(1), single.as_bytes(), String::new()));
        }
        Ok(None) => {}
        Err(error) if error.is_io() => return Err(error.into()),
        Err(error) => {
            let raw = std::fs::read(path)?;
            let reason = not_json(&error);
            each(Item::Unreadable { origin: origin(entries + 1), raw, reason });
        }
    }
    Ok(())
}

/// A JSON document that is either a Bundle, whose entries go to `each`, or a resource, which is
/// put together again.
struct Document<'a> {
    path: &'a Path,
    each: &'a mut dyn FnMut(Item) -> bool,
    entries: &'a mut u64,
}

impl<'de> DeserializeSeed<'de> for &mut Document<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Document<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resource or a Bundle")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        let mut has_entries = false;
        while let Some(key) = map.next_key::<String>()? {
            // No resource but a Bundle has an element of this name.
            if key == "entry" {
                map.next_value_seed(Entries { document: self })?;
                has_entries = true;
            } else {
                let value: Box<RawValue> = map.next_value()?;
                fields.push((key, value));
            }
        }
        let is_bundle =
            fields.iter().any(|(key, value)| key == "resourceType" && value.get() == "\"Bundle\"");
        if has_entries || is_bundle {
            return Ok(None);
        }
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(key, value)| format!("{}:{}", serde_json::Value::from(key), value.get()))
            .collect();
        Ok(Some(format!("{{{}}}", fields.join(","))))
    }
}

/// The entries of a Bundle.
struct Entries<'a, 'd> {
    document: &'a mut Document<'d>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of a Bundle")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            #[serde(default)]
            full_url: String,
            resource: Option<Box<RawValue>>,
        }
        let mut goes_on = true;
        while let Some(entry) = entries.next_element::<Box<RawValue>>()? {
            *self.document.entries += 1;
            let origin =
                Origin { file: self.document.path.to_owned(), number: *self.document.entries };
            if !goes_on {
                continue;
            }
            let parsed = Entry::deserialize(&mut serde_json::Deserializer::from_str(entry.get()));
            let item = match parsed {
                Ok(Entry { full_url, resource: Some(resource) }) => {
                    Item::Resource { origin, json: resource.get().to_owned(), full_url }
                }
                // An entry without a resource, such as a deletion, says nothing here.
                Ok(Entry { resource: None, .. }) => continue,
                Err(error) => {
                    let raw = entry.get().as_bytes().to_owned();
                    Item::Unreadable { origin, raw, reason: not_json(&error) }
                }
            };
            goes_on = (self.document.each)(item);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut seen = Vec::new();
        read(&path, |item| {
            seen.push(match item {
                Item::Resource { origin, json, full_url } => {
                    format!("{} {json} {full_url}", origin.number)
                }
                Item::Unreadable { origin, raw, reason } => {
                    format!("{} unreadable, {} bytes: {reason}", origin.number, raw.len())
                }
            });
            true
        })
        .unwrap();
        seen
    }

    #[test]
    fn an_ndjson_file_has_a_resource_a_line() {
        let text = b"\xef\xbb\xbf{\"resourceType\":\"Patient\"}\r\n\n  {\"a\":1}";
        let seen = read_text("x.ndjson", text);
        assert_eq!(seen, ["1 {\"resourceType\":\"Patient\"} ", "3 {\"a\":1} "]);
    }

    #[test]
    fn an_unreadable_line_does_not_stop_the_others() {
        let seen = read_text("x.ndjson", b"{\"a\":1}\n{\"a\":\n\xff\xfe\n{\"b\":2}\n");
        assert_eq!(
            seen,
            [
                "1 {\"a\":1} ",
                "2 unreadable, 5 bytes: not JSON at line 1, column 5",
                "3 unreadable, 2 bytes: not UTF-8 at byte 0",
                "4 {\"b\":2} ",
            ]
        );
    }

    #[test]
    fn a_bundle_has_entries_wherever_its_type_stands() {
        let text = br#"{"entry":[{"fullUrl":"urn:uuid:1","resource":{"id":"1"}},{"request":{}},
            {"resource":{"id":"3"}}],"resourceType":"Bundle"}"#;
        assert_eq!(read_text("x.json", text), ["1 {\"id\":\"1\"} urn:uuid:1", "3 {\"id\":\"3\"} "]);
        assert!(read_text("x.json", br#"{"resourceType":"Bundle"}"#).is_empty());
    }

    #[test]
    fn a_single_resource_stays_whole() {
        let seen = read_text("x.json", br#"{"resourceType":"Patient","name":[{"a": 1.10}]}"#);
        assert_eq!(seen, ["1 {\"resourceType\":\"Patient\",\"name\":[{\"a\": 1.10}]} "]);
    }

    #[test]
    fn a_broken_bundle_is_kept_whole_and_what_was_read_is_taken() {
        let seen = read_text("x.json", br#"{"entry":[{"resource":{"id":"1"}},{"resource":"#);
        assert_eq!(
            seen,
            ["1 {\"id\":\"1\"} ", "2 unreadable, 46 bytes: not JSON at line 1, column 46",]
        );
    }

    #[test]
    fn other_json_is_unreadable() {
        assert_eq!(
            read_text("x.json", b"[1]"),
            ["1 unreadable, 3 bytes: not JSON at line 1, column 1"]
        );
    }
}
