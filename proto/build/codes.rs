//! Writes the code sets of `codes/*.toml` as tables.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;

use toml::{Table, Value};

pub(crate) fn generate(folder: &str) -> Result<String, Box<dyn Error>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    let mut code = String::from(
        "/// All code sets, in the order of their names.\npub const SETS: &[CodeSet] = &[\n",
    );
    for file in files {
        let set: Table = toml::from_str(&fs::read_to_string(&file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        write_set(&set, &mut code).map_err(|error| format!("{}: {error}", file.display()))?;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let (name, version) = (text(&set, "name")?, text(&set, "version")?);
        if stem != name && stem != format!("{name}.{version}") {
            return Err(format!("{}: is named otherwise than its file", file.display()).into());
        }
    }
    code.push_str("];\n");
    Ok(code)
}

fn write_set(set: &Table, code: &mut String) -> Result<(), Box<dyn Error>> {
    let name = text(set, "name")?;
    let verified = set.get("verified").and_then(Value::as_bool).ok_or("no `verified`")?;
    writeln!(
        code,
        "    CodeSet {{ name: {name:?}, version: {:?}, in_force_from: {:?}, ja: {:?}, en: {:?}, source: {:?}, verified: {verified}, codes: &[",
        text(set, "version")?,
        text(set, "in_force_from").unwrap_or_default(),
        text(set, "ja")?,
        text(set, "en")?,
        text(set, "source")?,
    )?;
    let codes = set.get("codes").and_then(Value::as_array).ok_or("no `codes`")?;
    let mut before = Vec::new();
    for one in codes {
        let one = one.as_table().ok_or("a code is a table")?;
        let known = text(one, "code")?;
        if before.contains(&known) {
            return Err(format!("`{known}` twice").into());
        }
        writeln!(
            code,
            "        KnownCode {{ code: {known:?}, ja: {:?}, en: {:?}, scores: {:?}, units: &{:?}, ranges: &[{}], days_at_most: {:?} }},",
            text(one, "ja")?,
            text(one, "en")?,
            scores(one)?,
            units(one)?,
            literals(&ranges(one)?),
            days_at_most(one)?,
        )?;
        before.push(known);
    }
    writeln!(code, "    ] }},")?;
    Ok(())
}

/// The lowest and the highest score of an instrument.
fn scores(one: &Table) -> Result<Option<(i64, i64)>, String> {
    let end = |key: &str| one.get(key).and_then(Value::as_integer);
    match (end("lowest"), end("highest")) {
        (None, None) => Ok(None),
        (Some(lowest), Some(highest)) if lowest < highest => Ok(Some((lowest, highest))),
        _ => Err("`lowest` and `highest` are whole numbers in their order".to_owned()),
    }
}

/// The units of a kind of observation.
fn units(one: &Table) -> Result<Vec<&str>, String> {
    let Some(units) = one.get("units") else { return Ok(Vec::new()) };
    let units: Option<Vec<&str>> =
        units.as_array().and_then(|units| units.iter().map(Value::as_str).collect());
    units.filter(|units| !units.is_empty()).ok_or("`units` are texts".to_owned())
}

/// As they are written in code.
fn literals(ranges: &[(i64, i64)]) -> String {
    let literal = |number: i64| {
        let digits = number.to_string();
        let thousands = digits.len().checked_sub(3).filter(|_| digits.len() > 5);
        let parts = thousands.and_then(|at| digits.split_at_checked(at));
        parts.map_or(digits.clone(), |(thousands, rest)| format!("{thousands}_{rest}"))
    };
    let range =
        |(lowest, highest): &(i64, i64)| format!("({}, {})", literal(*lowest), literal(*highest));
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// Between which values an observation lies, in each of its units.
fn ranges(one: &Table) -> Result<Vec<(i64, i64)>, String> {
    let Some(ranges) = one.get("ranges") else { return Ok(Vec::new()) };
    let range = |range: &Value| match range.as_array()?.as_slice() {
        [lowest, highest] => Some((lowest.as_integer()?, highest.as_integer()?)),
        _ => None,
    };
    let ranges: Option<Vec<(i64, i64)>> =
        ranges.as_array().and_then(|ranges| ranges.iter().map(range).collect());
    let are_right =
        |ranges: &Vec<(i64, i64)>| ranges.iter().all(|(lowest, highest)| lowest < highest);
    let ranges =
        ranges.filter(are_right).filter(|ranges| Ok(ranges.len()) == units(one).map(|of| of.len()));
    ranges.ok_or("`ranges` are two whole numbers in their order for each of `units`".to_owned())
}

/// How many days something of a kind may be valid.
fn days_at_most(one: &Table) -> Result<Option<i64>, String> {
    let days = one.get("days_at_most").map(Value::as_integer);
    match days {
        None => Ok(None),
        Some(Some(days)) if (1..=3660).contains(&days) => Ok(Some(days)),
        Some(_) => Err("`days_at_most` is a number of days".to_owned()),
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Result<&'a str, String> {
    table.get(key).and_then(Value::as_str).ok_or(format!("no `{key}`"))
}
