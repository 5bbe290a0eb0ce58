//! Files of FHIR resources: NDJSON, one resource a line, and JSON, one resource or Bundle.
//! Read one resource at a time; a file may be larger than memory.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::files::{NotRead, problem};

/// Bytes of the largest resource that is read. Of a larger one, and of a document that cannot be
/// read, the first so many bytes are handed over as unreadable. The lines after a larger one are
/// read; a document ends with it.
pub const RESOURCE_BYTES_MAX: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where something was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub file: PathBuf,
    /// The line of an NDJSON file, or the entry of a Bundle, from 1 on; 0 for the whole file.
    pub number: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(f, "{}", self.file.display()),
            number => write!(f, "{}:{number}", self.file.display()),
        }
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
    /// These bytes are no JSON, or the beginning of what is too large.
    Unreadable { origin: Origin, raw: Vec<u8>, reason: String },
}

/// Reads a file, handing over one item after the other. `each` says whether to go on.
pub fn read(path: &Path, mut each: impl FnMut(Item) -> bool) -> Result<(), NotRead> {
    read_up_to(RESOURCE_BYTES_MAX, path, &mut each)
}

/// Reads a file whose resources have at most `limit` bytes.
fn read_up_to(
    limit: usize,
    path: &Path,
    each: &mut dyn FnMut(Item) -> bool,
) -> Result<(), NotRead> {
    let is_lines = path.extension().is_some_and(|ending| ending == "ndjson");
    let reader = File::open(path).map(BufReader::new);
    let read = reader.and_then(|reader| {
        if is_lines {
            read_lines(limit, path, reader, each)
        } else {
            read_document(limit, path, reader, each)
        }
    });
    read.map_err(|error| NotRead { path: path.to_owned(), reason: problem(&error) })
}

fn read_lines(
    limit: usize,
    path: &Path,
    mut reader: BufReader<File>,
    each: &mut dyn FnMut(Item) -> bool,
) -> std::io::Result<()> {
    // One more, for the end of the line.
    let taken = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    for number in 1.. {
        let origin = Origin { file: path.to_owned(), number };
        let mut line = Vec::new();
        let read = reader.by_ref().take(taken).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        let text = trim(&line);
        let item = if read > limit && !line.ends_with(b"\n") {
            reader.skip_until(b'\n')?;
            line.truncate(limit);
            Item::Unreadable { origin, raw: line, reason: too_large(limit) }
        } else if text.is_empty() {
            continue;
        } else {
            to_item(origin, text, String::new())
        };
        if !each(item) {
            return Ok(());
        }
    }
    Ok(())
}

/// A byte-order mark and the end of the line do not belong to the resource.
fn trim(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii()
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

fn too_large(limit: usize) -> String {
    format!(
        "a resource of more than {limit} bytes, of which the beginning is kept: export it without attachments"
    )
}

/// Reads one JSON document. A Bundle's entries are handed over one by one.
fn read_document(
    limit: usize,
    path: &Path,
    mut reader: BufReader<File>,
    each: &mut dyn FnMut(Item) -> bool,
) -> std::io::Result<()> {
    if reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    let origin = |number| Origin { file: path.to_owned(), number };
    let left = Cell::new(limit);
    let mut entries = 0;
    let mut document = Document { path, each, entries: &mut entries, limit, left: &left };
    let limited = Limited { reader, left: &left };
    let mut deserializer = serde_json::Deserializer::from_reader(limited);
    let parsed = DeserializeSeed::deserialize(&mut document, &mut deserializer);
    let parsed = parsed.and_then(|single| deserializer.end().map(|()| single));
    let reason = match parsed {
        // It was no Bundle, but one resource.
        Ok(Some(single)) => {
            each(to_item(origin(1), single.as_bytes(), String::new()));
            return Ok(());
        }
        Ok(None) => return Ok(()),
        Err(error) if error.io_error_kind() == Some(ErrorKind::FileTooLarge) => too_large(limit),
        Err(error) if error.is_io() => return Err(error.into()),
        Err(error) => not_json(&error),
    };
    let mut raw = Vec::new();
    File::open(path)?.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut raw)?;
    each(Item::Unreadable { origin: origin(entries + 1), raw, reason });
    Ok(())
}

/// A reader that fails with `FileTooLarge` when no bytes are left for the resource it is in.
struct Limited<'a> {
    reader: BufReader<File>,
    left: &'a Cell<usize>,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.get().checked_sub(read).ok_or(ErrorKind::FileTooLarge)?;
        self.left.set(left);
        Ok(read)
    }
}

/// A JSON document that is either a Bundle, whose entries go to `each`, or a resource, which is
/// put together again.
struct Document<'a> {
    path: &'a Path,
    each: &'a mut dyn FnMut(Item) -> bool,
    entries: &'a mut u64,
    /// Bytes that a resource may have, and those that are left for the one that is being read.
    limit: usize,
    left: &'a Cell<usize>,
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
        let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            // A List has entries as well; but those hold no resources.
            let value = if key == "entry" && resource_type(&fields).is_none_or(is_bundle) {
                map.next_value_seed(Entries { document: self })?
            } else {
                map.next_value()?
            };
            fields.push((key, value));
        }
        let has_entries = fields.iter().any(|(key, _)| key == "entry");
        if resource_type(&fields).map_or(has_entries, is_bundle) {
            return Ok(None);
        }
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(key, value)| format!("{}:{}", serde_json::Value::from(key), value.get()))
            .collect();
        Ok(Some(format!("{{{}}}", fields.join(","))))
    }
}

/// The type of a resource as it stands in JSON, if it is among the fields that were read.
fn resource_type(fields: &[(String, Box<RawValue>)]) -> Option<&str> {
    let field = fields.iter().find(|(key, _)| key == "resourceType");
    field.map(|(_, value)| value.get())
}

fn is_bundle(resource_type: &str) -> bool {
    resource_type == "\"Bundle\""
}

/// The entries of what is taken for a Bundle. Those without a resource are given back, should
/// it turn out to be none.
struct Entries<'a, 'd> {
    document: &'a mut Document<'d>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = Box<RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = Box<RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of a Bundle")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            #[serde(default)]
            full_url: String,
            resource: Option<Box<RawValue>>,
        }
        let mut goes_on = true;
        let mut others: Vec<Box<RawValue>> = Vec::new();
        while let Some(entry) = entries.next_element::<Box<RawValue>>()? {
            self.document.left.set(self.document.limit);
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
                Ok(Entry { resource: None, .. }) => {
                    others.push(entry);
                    continue;
                }
                Err(error) => {
                    let raw = entry.get().as_bytes().to_owned();
                    Item::Unreadable { origin, raw, reason: not_json(&error) }
                }
            };
            goes_on = (self.document.each)(item);
        }
        let others: Vec<&str> = others.iter().map(|entry| entry.get()).collect();
        RawValue::from_string(format!("[{}]", others.join(","))).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &[u8]) -> Vec<String> {
        read_text_up_to(RESOURCE_BYTES_MAX, name, text)
    }

    fn read_text_up_to(limit: usize, name: &str, text: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut seen = Vec::new();
        read_up_to(limit, &path, &mut |item| {
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
    fn a_byte_order_mark_does_not_belong_to_a_document() {
        let text = b"\xef\xbb\xbf{\"resourceType\":\"Patient\"}";
        assert_eq!(read_text("x.json", text), ["1 {\"resourceType\":\"Patient\"} "]);
    }

    #[test]
    fn a_list_has_entries_and_is_no_bundle() {
        let before = r#"{"resourceType":"List","entry":[{"item":{"reference":"Patient/1"}}]}"#;
        assert_eq!(read_text("x.json", before.as_bytes()), [format!("1 {before} ")]);
        let after = r#"{"entry":[{"item":{"reference":"Patient/1"}}],"resourceType":"List"}"#;
        assert_eq!(read_text("x.json", after.as_bytes()), [format!("1 {after} ")]);
    }

    #[test]
    fn a_line_that_is_too_long_does_not_stop_the_others() {
        let text = b"{\"a\":1}\n{\"a\":123456}\n{\"b\":2}\n{\"b\":1234}";
        assert_eq!(
            read_text_up_to(7, "x.ndjson", text),
            [
                "1 {\"a\":1} ".to_owned(),
                format!("2 unreadable, 7 bytes: {}", too_large(7)),
                "3 {\"b\":2} ".to_owned(),
                format!("4 unreadable, 7 bytes: {}", too_large(7)),
            ]
        );
    }

    #[test]
    fn a_document_may_be_larger_than_a_resource() {
        let text = br#"{"entry":[{"resource":{"id":"1"}},{"resource":{"id":"2"}},{"resource":"#;
        let text = [text.as_slice(), br#"{"id":"three-is-too-long-for-it"}}]}"#].concat();
        assert_eq!(
            read_text_up_to(40, "x.json", &text),
            [
                "1 {\"id\":\"1\"} ".to_owned(),
                "2 {\"id\":\"2\"} ".to_owned(),
                format!("3 unreadable, 40 bytes: {}", too_large(40)),
            ]
        );
        let single = br#"{"resourceType":"Patient","id":"0123456789"}"#;
        let unreadable = format!("1 unreadable, 40 bytes: {}", too_large(40));
        assert_eq!(read_text_up_to(40, "x.json", single), [unreadable]);
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
