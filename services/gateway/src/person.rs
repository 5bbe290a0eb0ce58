//! Who a patient is, as several doors tell it: what is news, and who is somebody else.

use tsunagi_proto::v1;

/// What `said` adds to what is known, where the address that is known is not shown. None if
/// that is nothing. Of a death that it is silent about, it stays silent: it is not its word.
pub fn news(known: &v1::Demographics, mut said: v1::Demographics) -> Option<v1::Demographics> {
    // That nobody died is news only of somebody who did.
    said.not_deceased &= known.deceased;
    let with_death = |said: &v1::Demographics| {
        let mut heard = said.clone();
        carry_death(known, &mut heard);
        heard
    };
    if known.address.as_ref().is_some_and(|address| address.confidential) {
        // Whether it is another address cannot be told: nobody is shown the one that is known.
        // Few systems say that an address is confidential, so it stays so; and where no address
        // is said, the one that is known stays.
        said.address = said.address.filter(says_where);
        if let Some(address) = &mut said.address {
            address.confidential = true;
        }
        let all_else = |of: &v1::Demographics| v1::Demographics { address: None, ..of.clone() };
        return (all_else(known) != all_else(&with_death(&said))).then_some(said);
    }
    (*known != with_death(&said)).then_some(said)
}

/// What was said of who somebody is, in the order in which it held; and whether it is the word of
/// whoever speaks now. Empty where nobody's silence takes anything back.
#[derive(Debug, Default)]
pub struct Words(Vec<(bool, v1::Demographics)>);

impl FromIterator<(bool, v1::Demographics)> for Words {
    fn from_iter<T: IntoIterator<Item = (bool, v1::Demographics)>>(words: T) -> Self {
        Self(words.into_iter().collect())
    }
}

impl Words {
    /// Whether something that holds was first said, since when it holds, by whoever speaks now.
    fn is_own(&self, has: impl Fn(&v1::Demographics) -> bool) -> bool {
        let since = self.0.iter().rev().take_while(|(_, said)| has(said));
        since.last().is_some_and(|(is_own, _)| *is_own)
    }

    /// Whether it was whoever speaks now who told first of the death that holds. Silence took it
    /// back in none of the words since.
    fn is_own_death(&self) -> bool {
        let since = self.0.iter().rev().take_while(|(_, said)| !said.not_deceased);
        since.filter(|(_, said)| said.deceased).last().is_some_and(|(is_own, _)| *is_own)
    }
}

/// What is said, with what it is silent about as it is known: an empty field says nothing, but
/// that its own word is taken back. A death is taken back by whoever told of it alone, and in
/// words; that an address is confidential, never so.
pub fn completed(
    said: v1::Demographics,
    known: &v1::Demographics,
    words: &Words,
) -> v1::Demographics {
    let mut said = said;
    said.names = names(said.names, known, words);
    if said.birth_on.is_empty() && !words.is_own(|of| of.birth_on == known.birth_on) {
        said.birth_on.clone_from(&known.birth_on);
    }
    if said.sex() == v1::Sex::Unspecified && !words.is_own(|of| of.sex == known.sex) {
        said.sex = known.sex;
    }
    if said.contacts.is_empty() && !words.is_own(|of| of.contacts == known.contacts) {
        said.contacts.clone_from(&known.contacts);
    }
    // Of a confidential one, no word is carried on: nobody is shown it.
    let lives_at = known.address.as_ref().filter(|address| !address.confidential);
    if said.address.is_none() && !words.is_own(|of| of.address.as_ref() == lives_at) {
        said.address = lives_at.cloned();
    }
    // Many systems say of everybody for ever that nobody died.
    if said.not_deceased && known.deceased && !words.is_own_death() {
        said.not_deceased = false;
    }
    if said.deceased && said.deceased_at.is_empty() {
        said.deceased_at.clone_from(&known.deceased_at);
    }
    said
}

/// As many names as the schema takes.
const NAMES_MAX: usize = 10;

/// The names that are said, with what is known of the same name beside them: how it is written in
/// other scripts. A name that changed takes those along.
fn names(said: Vec<v1::HumanName>, known: &v1::Demographics, words: &Words) -> Vec<v1::HumanName> {
    let is_known = |name: &v1::HumanName| known.names.iter().any(|one| is_same_name(one, name));
    if !said.is_empty() && !said.iter().any(is_known) {
        return said;
    }
    let is_said = |of: &v1::HumanName| {
        said.iter().any(|name| is_same_name(name, of) || name.script == of.script)
    };
    let is_own =
        |of: &v1::HumanName| words.is_own(|word| word.names.iter().any(|n| is_same_name(n, of)));
    let others = known.names.iter().filter(|of| !is_said(of) && !is_own(of));
    let others: Vec<v1::HumanName> = others.cloned().collect();
    let as_known = |name: v1::HumanName| {
        let before = known.names.iter().find(|one| is_same_name(one, &name));
        before.map_or(name.clone(), |before| said_again(name, before))
    };
    let mut all: Vec<v1::HumanName> = said.iter().cloned().map(as_known).collect();
    all.extend(others);
    all.truncate(NAMES_MAX);
    all
}

/// A name with what its script is known to be.
fn said_again(name: v1::HumanName, before: &v1::HumanName) -> v1::HumanName {
    if name.script() == v1::NameScript::Unspecified {
        v1::HumanName { script: before.script, ..name }
    } else {
        name
    }
}

/// Whether two names are one, however they are parted.
fn is_same_name(one: &v1::HumanName, other: &v1::HumanName) -> bool {
    let words = |name: &v1::HumanName| {
        let parts = format!("{}{}", name.family, name.given);
        let text = if parts.is_empty() { name.text.clone() } else { parts };
        text.replace(char::is_whitespace, "")
    };
    words(one) == words(other)
}

/// Silence takes no death back.
fn carry_death(known: &v1::Demographics, said: &mut v1::Demographics) {
    if !said.deceased && !said.not_deceased {
        said.deceased = known.deceased;
        said.deceased_at.clone_from(&known.deceased_at);
        said.not_deceased = known.not_deceased;
    }
}

/// What is never too late to be said of a patient of whom something later is known: that the
/// address is confidential, and that the patient died, unless that was taken back since.
pub fn never_too_late(
    known: &v1::Demographics,
    said: &v1::Demographics,
    was_taken_back: bool,
) -> Option<v1::Demographics> {
    let mut now = known.clone();
    if said.address.as_ref().is_some_and(|address| address.confidential) {
        now.address.get_or_insert_default().confidential = true;
    }
    if said.deceased && !was_taken_back {
        (now.deceased, now.not_deceased) = (true, false);
        if now.deceased_at.is_empty() {
            now.deceased_at.clone_from(&said.deceased_at);
        }
    }
    (now != *known).then_some(now)
}

/// Whether an address says more than that it is confidential.
fn says_where(address: &v1::Address) -> bool {
    let withheld = v1::Address { confidential: address.confidential, ..v1::Address::default() };
    *address != withheld
}

/// Whether these are two people: of another birth date or sex, as far as both are known.
pub fn is_somebody_else(one: &v1::Demographics, other: &v1::Demographics) -> bool {
    differ(&one.birth_on, &other.birth_on)
        || (is_known(one.sex()) && is_known(other.sex()) && one.sex() != other.sex())
}

/// What tells two people of one number apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Born {
    pub(crate) on: String,
    pub(crate) sex: v1::Sex,
}

/// Whether a patient is said to be of a birth date or sex of which nobody ever said that it was
/// the patient's. What was said before it was corrected is nobody else's: messages come late.
pub(crate) fn is_none_of(said: &v1::Demographics, known: &[&Born]) -> bool {
    let births = || known.iter().map(|born| born.on.as_str()).filter(|on| !on.is_empty());
    let sexes = || known.iter().map(|born| born.sex).filter(|sex| is_known(*sex));
    let is_other_birth = births().all(|on| differ(on, &said.birth_on));
    let is_other_sex = is_known(said.sex()) && sexes().all(|sex| sex != said.sex());
    (births().next().is_some() && is_other_birth) || (sexes().next().is_some() && is_other_sex)
}

/// `1938` does not differ from `1938-04-02`.
fn differ(one: &str, other: &str) -> bool {
    !one.starts_with(other) && !other.starts_with(one)
}

fn is_known(sex: v1::Sex) -> bool {
    !matches!(sex, v1::Sex::Unspecified | v1::Sex::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(birth_on: &str, sex: v1::Sex) -> v1::Demographics {
        v1::Demographics { birth_on: birth_on.to_owned(), sex: sex.into(), ..Default::default() }
    }

    fn living_at(text: &str, confidential: bool) -> v1::Demographics {
        let address = v1::Address { text: text.to_owned(), confidential, ..Default::default() };
        v1::Demographics { address: Some(address), ..Default::default() }
    }

    #[test]
    fn two_are_somebody_else_if_what_is_known_of_both_differs() {
        let known = person("1938-04-02", v1::Sex::Female);
        let differs = |birth_on, sex| is_somebody_else(&known, &person(birth_on, sex));
        assert!(differs("1938-04-03", v1::Sex::Female));
        assert!(differs("1939", v1::Sex::Unspecified));
        assert!(differs("1938-04-02", v1::Sex::Male));
        assert!(differs("", v1::Sex::Other));
        assert!(!differs("1938-04", v1::Sex::Female));
        assert!(!differs("", v1::Sex::Unknown));
        assert!(!is_somebody_else(&person("", v1::Sex::Unspecified), &known));
    }

    #[test]
    fn whoever_was_said_to_be_the_patient_is_not_somebody_else() {
        let born = |on: &str, sex| Born { on: on.to_owned(), sex };
        let known = [born("1938-04-02", v1::Sex::Female), born("1940", v1::Sex::Unspecified)];
        let is_none = |on: &str, sex| is_none_of(&person(on, sex), &known.each_ref());
        assert!(
            !is_none("1938-04-02", v1::Sex::Female) && !is_none("1940-05-05", v1::Sex::Unknown)
        );
        assert!(!is_none("", v1::Sex::Unspecified) && !is_none("1938-04", v1::Sex::Female));
        assert!(is_none("1938-04-03", v1::Sex::Female), "another birth");
        assert!(is_none("1940", v1::Sex::Male), "another sex");
        assert!(!is_none_of(&person("1938", v1::Sex::Male), &[]), "nothing is known");
    }

    fn named(script: v1::NameScript, family: &str) -> v1::HumanName {
        v1::HumanName { script: script.into(), family: family.to_owned(), ..Default::default() }
    }

    #[test]
    fn a_name_keeps_its_other_scripts_and_another_name_has_its_own() {
        use v1::NameScript::{Ideographic, Syllabic, Unspecified};
        let both = vec![named(Ideographic, "小林"), named(Syllabic, "コバヤシ")];
        let known = v1::Demographics { names: both.clone(), ..Default::default() };
        let said = |family: &str, words: &Words| {
            let names = vec![named(Unspecified, family)];
            let said = v1::Demographics { names, ..Default::default() };
            completed(said, &known, words).names
        };
        assert_eq!(said("小林", &Words::default()), both);
        assert_eq!(said("佐藤", &Words::default()), [named(Unspecified, "佐藤")]);
        let by = |is_own| Words::from_iter([(is_own, known.clone())]);
        assert_eq!(said("小林", &by(false)), both);
        assert_eq!(said("小林", &by(true)), [named(Ideographic, "小林")]);
        let silent = |words: &Words| completed(v1::Demographics::default(), &known, words).names;
        assert_eq!(silent(&by(false)), both);
        assert!(silent(&by(true)).is_empty());
    }

    #[test]
    fn silence_takes_back_what_the_sender_brought_in_itself_alone() {
        let (none, born) = (v1::Demographics::default(), person("1938", v1::Sex::Female));
        let dead = v1::Demographics { deceased: true, ..born };
        let alive = v1::Demographics { not_deceased: true, ..none.clone() };
        let after = |words: &[(bool, &v1::Demographics)], said: &v1::Demographics| {
            let words = words.iter().map(|(is_own, said)| (*is_own, (*said).clone())).collect();
            let said = completed(said.clone(), &dead, &words);
            news(&dead, said).unwrap_or_else(|| dead.clone())
        };
        let by_other = after(&[(false, &dead), (true, &dead)], &alive);
        assert_eq!(by_other, dead, "carried on, and no word of its own");
        let own = after(&[(false, &none), (true, &dead), (false, &dead)], &none);
        assert_eq!((own.birth_on.as_str(), own.sex()), ("", v1::Sex::Unspecified));
        assert!(!own.deceased && !own.not_deceased, "of a death it says nothing");
        let taken_back = after(&[(true, &dead), (false, &none)], &alive);
        assert!(!taken_back.deceased && taken_back.not_deceased, "but in words");
        let since = after(&[(true, &dead), (false, &alive), (false, &dead)], &alive);
        assert_eq!(since, dead, "it was taken back, and said anew by another");
    }

    #[test]
    fn a_confidential_address_is_carried_on_by_nobody() {
        let known = living_at("", true);
        let said = completed(v1::Demographics::default(), &known, &Words::default());
        assert_eq!(said.address, None);
        let open = living_at("本町1", false);
        assert_eq!(completed(v1::Demographics::default(), &open, &Words::default()), open);
    }

    #[test]
    fn a_confidential_address_is_kept_so_and_no_news() {
        let known = living_at("", true);
        assert_eq!(news(&known, living_at("本町1", false)), None);
        assert_eq!(news(&known, v1::Demographics::default()), None);
        let with_birth = |of| v1::Demographics { birth_on: "1938".to_owned(), ..of };
        assert_eq!(
            news(&known, with_birth(living_at("本町1", false))),
            Some(with_birth(living_at("本町1", true)))
        );
    }

    #[test]
    fn where_no_address_is_said_a_confidential_one_is_not_replaced() {
        let with_birth = |of| v1::Demographics { birth_on: "1938".to_owned(), ..of };
        for nowhere in [v1::Demographics::default(), living_at("", true)] {
            assert_eq!(
                news(&living_at("", true), with_birth(nowhere)),
                Some(with_birth(v1::Demographics::default()))
            );
        }
    }

    #[test]
    fn silence_on_a_death_is_no_news_and_a_word_is() {
        let dead = v1::Demographics { deceased: true, ..Default::default() };
        let lives = v1::Demographics { not_deceased: true, ..Default::default() };
        assert_eq!(news(&dead, v1::Demographics::default()), None);
        assert_eq!(news(&dead, lives.clone()), Some(lives.clone()));
        assert_eq!(news(&lives, v1::Demographics::default()), None);
        assert_eq!(news(&lives, lives.clone()), None);
        assert_eq!(news(&v1::Demographics::default(), lives.clone()), None, "nobody died");
        assert_eq!(news(&lives, dead.clone()), Some(dead.clone()));
        let moved = living_at("栄町2", false);
        assert_eq!(news(&dead, moved.clone()), Some(moved), "and the death is not its word");
        assert_eq!(never_too_late(&lives, &dead, false), Some(dead));
    }

    #[test]
    fn that_an_address_is_confidential_is_news() {
        let restricted = living_at("", true);
        assert_eq!(news(&living_at("本町1", false), restricted.clone()), Some(restricted.clone()));
        assert_eq!(news(&v1::Demographics::default(), restricted.clone()), Some(restricted));
    }

    #[test]
    fn an_address_that_may_be_known_is_compared() {
        let known = living_at("本町1", false);
        assert_eq!(news(&known, known.clone()), None);
        let moved = living_at("栄町2", false);
        assert_eq!(news(&known, moved.clone()), Some(moved));
    }
}
