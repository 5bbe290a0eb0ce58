//! Who a person is, made of what was said of them one after the other.

use crate::v1::{Demographics, DemographicsPart, HumanName};

/// What is known of a person once more is said. What that leaves as it is (`keeps`) stays. Of a
/// death it holds what is said alone: see `with_death`.
pub fn after(
    known: &Demographics,
    said: &Demographics,
    keeps: &[DemographicsPart],
) -> Demographics {
    let mut now = said.clone();
    for part in keeps {
        match part {
            DemographicsPart::Names => now.names = names(&known.names, &said.names),
            DemographicsPart::Birth => now.birth_on.clone_from(&known.birth_on),
            DemographicsPart::Sex => now.sex = known.sex,
            DemographicsPart::Address => now.address.clone_from(&known.address),
            DemographicsPart::Contacts => now.contacts.clone_from(&known.contacts),
            DemographicsPart::DeceasedAt | DemographicsPart::Unspecified => {}
        }
    }
    now
}

/// Those that are said, and those that are known in scripts in which none is said.
fn names(known: &[HumanName], said: &[HumanName]) -> Vec<HumanName> {
    let is_other = |name: &&HumanName| !said.iter().any(|one| one.script == name.script);
    said.iter().chain(known.iter().filter(is_other)).cloned().collect()
}

/// The same with the death of which these tell, or that there was none, one after the other.
pub fn with_death<'a>(
    known: Demographics,
    said: impl Iterator<Item = (&'a Demographics, &'a [DemographicsPart])>,
) -> Demographics {
    said.fold(known, |mut now, (said, keeps)| {
        now.deceased = !said.not_deceased;
        if said.not_deceased || !keeps.contains(&DemographicsPart::DeceasedAt) {
            now.deceased_at.clone_from(&said.deceased_at);
        }
        now
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Address, NameScript, Sex};

    fn named(script: NameScript, family: &str) -> HumanName {
        HumanName { script: script.into(), family: family.to_owned(), ..HumanName::default() }
    }

    fn known() -> Demographics {
        Demographics {
            names: vec![
                named(NameScript::Ideographic, "小林"),
                named(NameScript::Syllabic, "コバヤシ"),
            ],
            birth_on: "1938-04-02".to_owned(),
            sex: Sex::Female.into(),
            address: Some(Address { text: "本町1".to_owned(), ..Address::default() }),
            ..Demographics::default()
        }
    }

    #[test]
    fn what_is_kept_stays_and_what_is_neither_said_nor_kept_goes() {
        let silent = Demographics::default();
        assert_eq!(after(&known(), &silent, &[]), silent);
        let now = after(&known(), &silent, &[DemographicsPart::Birth, DemographicsPart::Address]);
        assert_eq!((now.birth_on, now.address), (known().birth_on, known().address));
        assert_eq!((now.sex, now.names), (0, Vec::new()));
    }

    #[test]
    fn names_of_other_scripts_are_kept() {
        let married = Demographics {
            names: vec![named(NameScript::Ideographic, "佐藤")],
            ..Demographics::default()
        };
        let now = after(&known(), &married, &[DemographicsPart::Names]);
        let families: Vec<_> = now.names.iter().map(|name| name.family.as_str()).collect();
        assert_eq!(families, ["佐藤", "コバヤシ"]);
    }

    #[test]
    fn a_death_is_as_well_known_as_was_told_unless_that_is_taken_back() {
        let keeps = [DemographicsPart::DeceasedAt];
        let died = |at: &str| Demographics {
            deceased: true,
            deceased_at: at.to_owned(),
            ..Demographics::default()
        };
        let (day, known_day) = (died("2026-05-02"), died(""));
        let told = [(&day, &[][..]), (&known_day, &keeps[..])];
        let now = with_death(known(), told.into_iter());
        assert_eq!((now.deceased, now.deceased_at.as_str()), (true, "2026-05-02"));
        let no_day = with_death(known(), told.into_iter().chain([(&known_day, &[][..])]));
        assert_eq!((no_day.deceased, no_day.deceased_at.as_str()), (true, ""));
        let lives = Demographics { not_deceased: true, ..Demographics::default() };
        assert_eq!(with_death(known(), told.into_iter().chain([(&lives, &[][..])])), known());
    }
}
