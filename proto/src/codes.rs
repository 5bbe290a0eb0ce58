//! The code sets that a ministry or a region changes: data files in `proto/codes`, each with its
//! version, its source, and whether somebody has compared it with that source.

use std::sync::OnceLock;

/// A code set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeSet {
    /// As `Code.system` names it: `jp.care-level`.
    pub name: &'static str,
    pub version: &'static str,
    pub ja: &'static str,
    pub en: &'static str,
    /// Where it was read.
    pub source: &'static str,
    /// Whether somebody has compared it with its source.
    pub verified: bool,
    pub codes: &'static [KnownCode],
}

/// One code, and what people call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCode {
    pub code: &'static str,
    pub ja: &'static str,
    pub en: &'static str,
    /// The lowest and the highest score, if it is an instrument.
    pub scores: Option<(i32, i32)>,
}

impl KnownCode {
    /// Whether a score, as a decimal number in text, can be one of this instrument's.
    pub fn can_score(&self, score: &str) -> bool {
        let Some((lowest, highest)) = self.scores else { return true };
        score
            .parse()
            .is_ok_and(|score: f64| (f64::from(lowest)..=f64::from(highest)).contains(&score))
    }
}

include!(concat!(env!("OUT_DIR"), "/codes.rs"));

/// Those that somebody keeps beside the program.
static ADOPTED: OnceLock<Vec<CodeSet>> = OnceLock::new();

/// Sets were adopted already: that can be done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("code sets were read already")]
pub struct AdoptedAlready;

/// Puts these sets in the place of those of the same names that are built in, for as long as the
/// process runs.
pub fn adopt(sets: Vec<CodeSet>) -> Result<(), AdoptedAlready> {
    ADOPTED.set(sets).map_err(|_adopted| AdoptedAlready)
}

/// All sets, in the order of their names.
pub fn all() -> impl Iterator<Item = &'static CodeSet> {
    SETS.iter().map(|set| adopted(set.name).unwrap_or(set))
}

/// The set of this name.
pub fn set(name: &str) -> Option<&'static CodeSet> {
    adopted(name).or_else(|| SETS.iter().find(|set| set.name == name))
}

fn adopted(name: &str) -> Option<&'static CodeSet> {
    ADOPTED.get()?.iter().find(|set| set.name == name)
}

/// The words for a code of a set, if both are known.
pub fn words(system: &str, code: &str) -> Option<&'static KnownCode> {
    set(system)?.codes.iter().find(|known| known.code == code)
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
                assert!(tsunagi_domain::id::is_code(known.code), "{} {}", set.name, known.code);
            }
        }
    }

    #[test]
    fn an_instrument_says_which_scores_it_has() {
        let instrument = |code: &str| words("sp.instrument", code).unwrap();
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
        assert_eq!(words("jp.care-level", "care-3").map(|known| known.ja), Some("要介護3"));
        assert_eq!(words("jp.care-level", "care-9"), None);
        assert_eq!(words("moon", "care-3"), None);
    }
}
