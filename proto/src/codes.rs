//! The code sets that a ministry or a region changes: data files in `proto/codes`, each with its
//! version, its source, and whether somebody has compared it with that source.
//!
//! A new version stands beside the earlier ones and puts none of them away: what was told with a
//! list stays as it was told.

use std::sync::OnceLock;

use tsunagi_domain::{CareTime, Zone};

/// One version of a code set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeSet {
    /// As `Code.system` names it: `jp.care-level`.
    pub name: &'static str,
    pub version: &'static str,
    /// From which day on it counts, such as `2027-04-01`; empty: always.
    pub in_force_from: &'static str,
    pub ja: &'static str,
    pub en: &'static str,
    /// Where it was read.
    pub source: &'static str,
    /// Whether somebody has compared it with its source.
    pub verified: bool,
    pub codes: &'static [KnownCode],
}

impl CodeSet {
    fn find(&self, code: &str) -> Option<&'static KnownCode> {
        self.codes.iter().find(|known| known.code == code)
    }
}

/// One code, and what people call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCode {
    pub code: &'static str,
    pub ja: &'static str,
    pub en: &'static str,
    /// The lowest and the highest score, if it is an instrument.
    pub scores: Option<(i32, i32)>,
    /// The units in UCUM in which it is measured, if it is a kind of observation; empty: any.
    pub units: &'static [&'static str],
    /// Between which values it can lie, in each of the units in turn; empty: any.
    pub ranges: &'static [(i32, i32)],
    /// How many days it may be valid, the first and the last counted, if there is a rule.
    pub days_at_most: Option<u32>,
}

impl KnownCode {
    /// Between which values one in this unit lies, if that is known.
    pub fn range_in(&self, unit: &str) -> Option<(i32, i32)> {
        let mut ranges = self.units.iter().zip(self.ranges);
        ranges.find(|(of, _)| **of == unit).map(|(_, range)| *range)
    }

    /// Whether a score, as a decimal number in text, can be one of this instrument's.
    pub fn can_score(&self, score: &str) -> bool {
        let Some((lowest, highest)) = self.scores else { return true };
        score
            .parse()
            .is_ok_and(|score: f64| (f64::from(lowest)..=f64::from(highest)).contains(&score))
    }
}

/// When a code was told: by what that says, the version is chosen that it was told with.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    pub at: CareTime,
    pub zone: &'a Zone,
}

include!(concat!(env!("OUT_DIR"), "/codes.rs"));

/// What LOINC is called by those who send its codes.
const LOINC: [&str; 2] = ["http://loinc.org", "urn:oid:2.16.840.1.113883.6.1"];

/// The sets that have words for codes of LOINC.
const LOINC_SETS: [&str; 2] = ["loinc.observation", "document.kind"];

/// Those that somebody keeps beside the program.
static ADOPTED: OnceLock<Vec<CodeSet>> = OnceLock::new();

/// Sets were adopted already: that can be done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("code sets were read already")]
pub struct AdoptedAlready;

/// Adds versions to those that are built in, for as long as the process runs.
pub fn adopt(sets: Vec<CodeSet>) -> Result<(), AdoptedAlready> {
    ADOPTED.set(sets).map_err(|_adopted| AdoptedAlready)
}

/// All versions of all sets, by their names, and of each the earlier before the later.
pub fn all() -> Vec<&'static CodeSet> {
    let mut all: Vec<&CodeSet> = known().collect();
    all.sort_by_key(|set| (set.name, set.in_force_from));
    all
}

/// All versions of the set of this name, the earlier before the later.
pub fn versions(name: &str) -> Vec<&'static CodeSet> {
    let mut versions: Vec<&CodeSet> = known().filter(|set| set.name == name).collect();
    versions.sort_by_key(|set| set.in_force_from);
    versions
}

/// The newest version of the set of this name.
pub fn set(name: &str) -> Option<&'static CodeSet> {
    known().filter(|set| set.name == name).max_by_key(|set| set.in_force_from)
}

/// The version of this name, if it is known.
pub fn version(name: &str, version: &str) -> Option<&'static CodeSet> {
    known().find(|set| set.name == name && set.version == version)
}

/// The version that was in force then: the first, before all others.
pub fn in_force(name: &str, moment: Moment<'_>) -> Option<&'static CodeSet> {
    let versions = versions(name);
    if let [only] = versions.as_slice() {
        return Some(only);
    }
    // A month or a year counts by its beginning.
    let told = moment.at.words(moment.zone);
    let begun = versions.iter().rev().find(|set| set.in_force_from <= told.as_str());
    begun.or(versions.first()).copied()
}

/// The words for a code that was told then: those of the version that was named with it, or else
/// of the one that was in force. Where that one has no such code, any other's are better than
/// none.
pub fn words(
    system: &str,
    named: &str,
    code: &str,
    moment: Option<Moment<'_>>,
) -> Option<&'static KnownCode> {
    if is_loinc(system) {
        // The version is LOINC's own, and our sets have their own.
        return LOINC_SETS.iter().find_map(|set| words_of(set, "", code, moment));
    }
    words_of(system, named, code, moment)
}

/// Whether a code's system is LOINC.
pub(crate) fn is_loinc(system: &str) -> bool {
    LOINC.contains(&system)
}

fn words_of(
    system: &str,
    named: &str,
    code: &str,
    moment: Option<Moment<'_>>,
) -> Option<&'static KnownCode> {
    let meant = match moment {
        _ if !named.is_empty() => version(system, named),
        Some(moment) => in_force(system, moment),
        None => set(system),
    };
    let found = meant.and_then(|set| set.find(code));
    found.or_else(|| versions(system).iter().rev().find_map(|set| set.find(code)))
}

/// Whether a set has a code: the version that is named with it, or else the one that was in force.
/// Where nobody knows when it was told, any version may have it.
pub(crate) fn has(name: &str, named: &str, code: &str, moment: Option<Moment<'_>>) -> bool {
    match moment {
        _ if !named.is_empty() => version(name, named).is_some_and(|set| set.find(code).is_some()),
        Some(moment) => in_force(name, moment).is_some_and(|set| set.find(code).is_some()),
        None => versions(name).iter().any(|set| set.find(code).is_some()),
    }
}

fn known() -> impl Iterator<Item = &'static CodeSet> {
    SETS.iter().chain(ADOPTED.get().into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_says_where_it_comes_from_and_has_words_in_both_languages() {
        assert!(SETS.len() > 10);
        for set in SETS {
            assert!(!set.source.is_empty() && !set.version.is_empty(), "{}", set.name);
            assert!(!set.codes.is_empty(), "{}", set.name);
            for known in set.codes {
                let words = !known.ja.is_empty() && known.en.is_ascii() && !known.en.is_empty();
                assert!(words, "{} {}", set.name, known.code);
                let has_ranges = !known.ranges.is_empty();
                assert!(!has_ranges || known.ranges.len() == known.units.len(), "{}", known.code);
                assert!(tsunagi_domain::id::is_code(known.code), "{} {}", set.name, known.code);
            }
        }
    }

    #[test]
    fn an_instrument_says_which_scores_it_has() {
        let instrument = |code: &str| words("sp.instrument", "", code, None).unwrap();
        for (score, can_be) in
            [("3", true), ("9", true), ("4.5", true), ("2", false), ("10", false)]
        {
            assert_eq!(instrument("UCLA-3").can_score(score), can_be, "{score}");
        }
        assert!(!instrument("EQ-5D-5L").can_score("-1.1"));
        assert!(instrument("ONS4").can_score("40"));
    }

    #[test]
    fn a_code_is_told_in_words() {
        let told = |system, code| words(system, "", code, None).map(|known| known.ja);
        assert_eq!(told("jp.care-level", "care-3"), Some("要介護3"));
        assert_eq!(told("jp.care-level", "care-9"), None);
        assert_eq!(told("moon", "care-3"), None);
    }

    #[test]
    fn codes_of_loinc_are_told_in_words_whatever_it_is_called() {
        for system in LOINC {
            let told = |code| words(system, "2.77", code, None).map(|known| (known.ja, known.en));
            assert_eq!(told("8310-5"), Some(("体温", "body temperature")), "{system}");
            assert_eq!(told("18842-5").map(|(ja, _)| ja), Some("退院時サマリー"), "{system}");
            assert_eq!(told("1-1"), None);
        }
        assert!(LOINC_SETS.iter().all(|name| set(name).is_some()));
    }

    #[test]
    fn what_was_told_with_an_earlier_list_stays_as_it_was_told() {
        const NEW: &[KnownCode] = &[KnownCode {
            code: "care-3",
            ja: "新区分B",
            en: "new level B",
            scores: None,
            units: &[],
            ranges: &[],
            days_at_most: None,
        }];
        let set = set("jp.care-level").unwrap();
        let new = CodeSet { version: "2027", in_force_from: "2027-04-01", codes: NEW, ..*set };
        adopt(vec![new]).unwrap();
        let zone = Zone::utc();
        let on = |day: &str| Some(Moment { at: CareTime::parse(day, &zone).unwrap(), zone: &zone });
        let told = |named, day| words("jp.care-level", named, "care-3", on(day)).unwrap().ja;
        assert_eq!(told("", "2027-03-31T23:59:59Z"), "要介護3");
        assert_eq!(told("", "2027-04-01T00:00:00Z"), "新区分B");
        assert_eq!(told("", "2027-04"), "要介護3", "a month counts by its beginning");
        assert_eq!(told("2000", "2028-01-01"), "要介護3", "the version that was told");
        assert_eq!(told("2027", "2020-01-01"), "新区分B");
        let known = |named, code, day| has("jp.care-level", named, code, on(day));
        assert!(known("", "care-5", "2027-03-31") && !known("", "care-5", "2027-04-01"));
        assert!(known("2000", "care-5", "2028-01-01"), "true then, and told late");
        assert!(!known("1850", "care-5", "2027-03-31"), "no such version");
        assert!(
            has("jp.care-level", "", "care-5", None) && has("jp.care-level", "", "care-3", None)
        );
        assert_eq!(versions("jp.care-level").len(), 2);
    }
}
