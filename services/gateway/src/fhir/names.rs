//! People's names: which of them are taken, and in which order.

use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::v1;

use super::resource::{HumanName, Period};
use crate::text::{cut, script as script_of};

/// As many names as the schema takes.
const NAMES_MAX: usize = 10;

/// The names that a person goes by at the time `now`, the official one first: of each script,
/// those of the best use. Kanji and kana may both be official, and stay side by side.
pub(super) fn names(names: &[HumanName], now: &str) -> Vec<v1::HumanName> {
    let mut taken: Vec<(u8, v1::HumanName)> = Vec::new();
    for (rank, name) in ranked(names, now) {
        let name = convert(name);
        if !taken.iter().any(|(best, other)| *best < rank && other.script == name.script) {
            taken.push((rank, name));
        }
    }
    taken.into_iter().map(|(_, name)| name).take(NAMES_MAX).collect()
}

/// The name to show of somebody whose names are told in passing.
pub(super) fn display_name(names: &[HumanName], now: &str) -> String {
    let ranked = ranked(names, now);
    let Some((_, name)) = ranked.first() else { return String::new() };
    if !name.text.is_empty() {
        return name.text.clone();
    }
    let mut parts = vec![name.family.as_str()];
    parts.extend(name.given.iter().map(String::as_str));
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// The names with the rank of their use, best first. Former names only if there are no others.
fn ranked<'a>(names: &'a [HumanName], now: &str) -> Vec<(u8, &'a HumanName)> {
    let says_something = |name: &&HumanName| {
        !(name.text.is_empty() && name.family.is_empty() && name.given.is_empty())
    };
    let mut said: Vec<&HumanName> = names.iter().filter(says_something).collect();
    if said.iter().any(|name| !is_former(name, now)) {
        said.retain(|name| !is_former(name, now));
    }
    let mut ranked: Vec<(u8, &HumanName)> =
        said.into_iter().map(|name| (rank(&name.usage), name)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
}

/// The rank of names that are none to put in the place of what is known.
const OTHER: u8 = 3;

fn rank(usage: &str) -> u8 {
    match usage {
        "official" => 0,
        "usual" => 1,
        "" => 2,
        _temporary_or_maiden => OTHER,
    }
}

fn is_former(name: &HumanName, now: &str) -> bool {
    is_past(&name.usage, &name.period, now)
}

/// Whether what is used so, and for so long, is not used any more at the time `now`.
pub(super) fn is_past(usage: &str, period: &Period, now: &str) -> bool {
    let time = |text: &str| CareTime::parse(text, &Zone::utc());
    let has_ended =
        matches!((time(&period.end), time(now)), (Ok(end), Ok(now)) if end.is_before(&now));
    usage == "old" || has_ended
}

/// Whether one of the names is what the person is called now, and no name of another kind.
pub(super) fn has_present_name(names: &[HumanName], now: &str) -> bool {
    let is_present = |(rank, name): &(u8, &HumanName)| *rank < OTHER && !is_former(name, now);
    ranked(names, now).iter().any(is_present)
}

fn convert(name: &HumanName) -> v1::HumanName {
    let script = name
        .extension
        .iter()
        .find(|extension| extension.url.ends_with("iso21090-EN-representation"))
        .map(|extension| extension.value_code.as_str());
    let script = match script {
        Some("IDE") => v1::NameScript::Ideographic,
        Some("SYL") => v1::NameScript::Syllabic,
        Some("ABC") => v1::NameScript::Alphabetic,
        _ => script_of(&format!("{}{}{}", name.family, name.given.concat(), name.text)),
    };
    v1::HumanName {
        script: script.into(),
        family: cut(&name.family, 100),
        given: cut(&name.given.join(" "), 100),
        text: cut(&name.text, 200),
    }
}

#[cfg(test)]
mod tests {
    use super::super::resource::Extension;
    use super::*;

    const NOW: &str = "2026-05-01T00:00:00Z";

    fn name(usage: &str, family: &str) -> HumanName {
        HumanName { usage: usage.to_owned(), family: family.to_owned(), ..HumanName::default() }
    }

    fn until(end: &str, name: HumanName) -> HumanName {
        HumanName { period: Period { end: end.to_owned(), ..Period::default() }, ..name }
    }

    fn written(script: &str, name: HumanName) -> HumanName {
        let url = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";
        let extension = Extension { url: url.to_owned(), value_code: script.to_owned() };
        HumanName { extension: vec![extension], ..name }
    }

    fn families(given: &[HumanName]) -> Vec<String> {
        names(given, NOW).into_iter().map(|name| name.family).collect()
    }

    #[test]
    fn the_official_name_comes_before_the_usual_and_that_before_one_of_no_stated_use() {
        let (none, usual, official) = (name("", "A"), name("usual", "B"), name("official", "C"));
        assert_eq!(families(&[none.clone(), usual.clone(), official.clone()]), ["C"]);
        assert_eq!(families(&[name("maiden", "M"), none.clone(), usual]), ["B"]);
        assert_eq!(families(&[name("maiden", "M"), none]), ["A"]);
        assert_eq!(display_name(&[name("maiden", "M"), official], NOW), "C");
    }

    #[test]
    fn former_names_are_taken_only_if_there_are_no_others() {
        let old = name("old", "旧姓");
        let ended = until("2026-04-30", name("official", "前の名"));
        let now = until("2026-05-02", name("nickname", "今の名"));
        assert_eq!(families(&[old.clone(), ended.clone(), now]), ["今の名"]);
        assert_eq!(families(&[old.clone(), name("official", "")]), ["旧姓"]);
        assert_eq!(families(&[old, ended]), ["前の名"]);
        assert!(families(&[]).is_empty());
    }

    #[test]
    fn kanji_and_kana_stay_side_by_side() {
        let (kanji, kana) = (name("official", "髙橋"), name("official", "タカハシ"));
        let old = written("SYL", name("old", "サトウ"));
        let marked = [old, written("IDE", kanji.clone()), written("SYL", kana.clone())];
        assert_eq!(families(&marked), ["髙橋", "タカハシ"]);
        assert_eq!(families(&[kanji, kana]), ["髙橋", "タカハシ"], "without their scripts too");
        let usual = written("SYL", name("usual", "タカハシ"));
        let marked = [usual, written("IDE", name("official", "髙橋"))];
        assert_eq!(families(&marked), ["髙橋", "タカハシ"], "the official one first");
    }
}
