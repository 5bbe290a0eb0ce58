//! The code sets of a folder, beside those that are built in: a ministry changes a list, or a region
//! has its own, and no new program is needed. From the day on which a version comes into force, it
//! stands in for the earlier ones; these stay known, for what was told with them.

use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::codes::{self, CodeSet, KnownCode};

/// Why a folder's code sets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CodeSetsError {
    #[error("cannot read the code sets in {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is no code set: {problem}; those in the repository's proto/codes show how one is written"
    )]
    Malformed { path: PathBuf, problem: String },
    #[error("{path} is of no code set that is known: `tsunagi codes` lists them")]
    Unknown { path: PathBuf },
    #[error(
        "{path} has a `version` or an `in_force_from` that another list of this set has: `tsunagi codes SET` lists them; what was told with a list stays, so a changed list is a new version"
    )]
    Twice { path: PathBuf },
    #[error(transparent)]
    Adopted(#[from] codes::AdoptedAlready),
}

/// Takes every `*.toml` of the folder as a version of a code set from now on. Called once, before anything is
/// served; every process of a region needs the same folder.
pub fn adopt(folder: &Path) -> Result<(), CodeSetsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| CodeSetsError::Read { path, source }
    };
    let mut sets: Vec<CodeSet> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let set = read(&text)
            .map_err(|problem| CodeSetsError::Malformed { path: path.clone(), problem })?;
        if codes::set(set.name).is_none() {
            return Err(CodeSetsError::Unknown { path });
        }
        let is_same = |other: &CodeSet| {
            let (version, from) = (other.version, other.in_force_from);
            other.name == set.name && (version == set.version || from == set.in_force_from)
        };
        if sets.iter().any(is_same) || codes::all().into_iter().any(is_same) {
            return Err(CodeSetsError::Twice { path });
        }
        sets.push(set);
    }
    Ok(codes::adopt(sets)?)
}

/// A code set as it is written. It is kept for as long as the process runs.
fn read(text: &str) -> Result<CodeSet, String> {
    let set: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let codes = set.get("codes").and_then(Value::as_array).ok_or("it has no `codes`")?;
    let mut known: Vec<KnownCode> = Vec::with_capacity(codes.len());
    for one in codes {
        let one = one.as_table().ok_or("a code is a table")?;
        let (code, ja, en) = (kept(one, "code")?, kept(one, "ja")?, kept(one, "en")?);
        if !tsunagi_domain::id::is_code(code) {
            return Err(format!("`{code}` is no code: letters, digits, `.`, `_`, `:` and `-`"));
        }
        if known.iter().any(|of| of.code == code) {
            return Err(format!("it has `{code}` twice"));
        }
        let (scores, units, days_at_most) = (scores(one)?, units(one)?, days_at_most(one)?);
        let ranges = ranges(one, units.len())?;
        known.push(KnownCode { code, ja, en, scores, units, ranges, days_at_most });
    }
    let verified = set.get("verified").and_then(Value::as_bool);
    let in_force_from = kept(&set, "in_force_from")?;
    let is_day = in_force_from.len() == "2027-04-01".len();
    if !is_day || CareTime::parse(in_force_from, &Zone::utc()).is_err() {
        return Err("`in_force_from` is no day such as \"2027-04-01\"".to_owned());
    }
    Ok(CodeSet {
        in_force_from,
        name: kept(&set, "name")?,
        version: kept(&set, "version")?,
        ja: kept(&set, "ja")?,
        en: kept(&set, "en")?,
        source: kept(&set, "source")?,
        verified: verified.ok_or("it does not say whether it is `verified`")?,
        codes: known.leak(),
    })
}

/// The lowest and the highest score of an instrument.
fn scores(one: &Table) -> Result<Option<(i32, i32)>, String> {
    let end = |key: &str| {
        one.get(key).map(|end| end.as_integer().and_then(|end| i32::try_from(end).ok()))
    };
    match (end("lowest"), end("highest")) {
        (None, None) => Ok(None),
        (Some(Some(lowest)), Some(Some(highest))) if lowest < highest => {
            Ok(Some((lowest, highest)))
        }
        _ => Err("`lowest` and `highest` are whole numbers in their order".to_owned()),
    }
}

/// The units of a kind of observation.
fn units(one: &Table) -> Result<&'static [&'static str], String> {
    let Some(units) = one.get("units") else { return Ok(&[]) };
    let text = |unit: &Value| unit.as_str().map(|unit| &*unit.to_owned().leak());
    let units: Option<Vec<&'static str>> =
        units.as_array().and_then(|units| units.iter().map(text).collect());
    let units = units.filter(|units| !units.is_empty()).ok_or("`units` are texts in UCUM")?;
    Ok(units.leak())
}

/// Between which values an observation lies, in each of its units.
fn ranges(one: &Table, units: usize) -> Result<&'static [(i32, i32)], String> {
    let Some(ranges) = one.get("ranges") else { return Ok(&[]) };
    let end = |end: &Value| i32::try_from(end.as_integer()?).ok();
    let range = |range: &Value| match range.as_array()?.as_slice() {
        [lowest, highest] => Some((end(lowest)?, end(highest)?)),
        _ => None,
    };
    let ranges: Option<Vec<(i32, i32)>> =
        ranges.as_array().and_then(|ranges| ranges.iter().map(range).collect());
    let are_right =
        |of: &Vec<(i32, i32)>| of.len() == units && of.iter().all(|(low, high)| low < high);
    let ranges = ranges.filter(are_right);
    let ranges =
        ranges.ok_or("`ranges` are two whole numbers in their order for each of `units`")?;
    Ok(ranges.leak())
}

/// How many days something of a kind may be valid.
fn days_at_most(one: &Table) -> Result<Option<u32>, String> {
    let days = one.get("days_at_most").map(|days| days.as_integer().map(u32::try_from));
    match days {
        None => Ok(None),
        Some(Some(Ok(days @ 1..=3660))) => Ok(Some(days)),
        Some(_) => Err("`days_at_most` is a number of days".to_owned()),
    }
}

fn kept(table: &Table, key: &str) -> Result<&'static str, String> {
    let text = table.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    Ok(text.ok_or_else(|| format!("it has no `{key}`"))?.to_owned().leak())
}
