//! Who a patient is, as several doors tell it: what is news, and who is somebody else.
//!
//! Whoever tells is written down with what they said themselves and no more: what is known from
//! others is never told again in their name. Else an address would still be shown when the word that
//! it came from is taken back, as an error or as another patient's.

mod words;

use tsunagi_domain::CareTime;
use tsunagi_proto::v1::{self, DemographicsPart as Part};

pub use words::{Word, Words};

const PARTS: [Part; 5] = [Part::Names, Part::Birth, Part::Sex, Part::Address, Part::Contacts];

/// What somebody says of a person. Of the parts that it keeps it says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    pub demographics: v1::Demographics,
    pub keeps: Vec<Part>,
}

impl Said {
    /// What is given is said, and nothing of the rest.
    pub fn given(demographics: v1::Demographics) -> Self {
        let silent = PARTS.into_iter().filter(|part| is_empty(&demographics, *part));
        let is_timeless = demographics.deceased && demographics.deceased_at.is_empty();
        let keeps = silent.chain(is_timeless.then_some(Part::DeceasedAt)).collect();
        Self { demographics, keeps }
    }

    /// Whether it says anything of a part: if it keeps the names in other scripts, it does.
    fn says(&self, part: Part) -> bool {
        !self.keeps.contains(&part) || !is_empty(&self.demographics, part)
    }

    /// Says nothing of a part.
    pub fn keep(&mut self, part: Part) {
        copy(part, &v1::Demographics::default(), &mut self.demographics);
        if !self.keeps.contains(&part) {
            self.keeps.push(part);
        }
    }

    /// Says that it is not known.
    pub fn take_back(&mut self, part: Part) {
        copy(part, &v1::Demographics::default(), &mut self.demographics);
        self.keeps.retain(|kept| *kept != part);
    }

    fn says_nothing(&self) -> bool {
        let v1::Demographics { deceased, not_deceased, .. } = self.demographics;
        !deceased && !not_deceased && !PARTS.into_iter().any(|part| self.says(part))
    }
}

impl From<Said> for v1::DemographicsUpdated {
    fn from(said: Said) -> Self {
        let keeps = said.keeps.into_iter().map(i32::from).collect();
        Self { demographics: Some(said.demographics), keeps }
    }
}

/// What of `said` is news, where so much is known: all that it says and that is not overtaken, if
/// any of it is new. None if that is nothing. `written` is when it was said; none if that is not
/// known. An address that is confidential may be withheld in `known`.
pub fn news(
    known: &v1::Demographics,
    words: &Words,
    mut said: Said,
    written: Option<CareTime>,
) -> Option<Said> {
    let mut is_new = words.is_first();
    set_protection(known, &mut said);
    for part in PARTS.into_iter().filter(|part| said.says(*part)).collect::<Vec<_>>() {
        let is_late =
            words.is_overtaken(part, written) && !(words.is_first() && is_empty(known, part));
        // What its sender said before, without saying when, may be older than what is known.
        let may_be_late = || written.is_none() && words.was_own_last(part, &said);
        if is_late && adds_protection(known, &said, part) {
            said.demographics.address =
                Some(v1::Address { confidential: true, ..Default::default() });
            is_new = true;
        } else if is_late || says_less(known, &said.demographics, part) {
            said.keep(part);
        } else if !is_same(known, &said, part) {
            if may_be_late() {
                said.keep(part);
            } else {
                is_new = true;
            }
        }
    }
    is_new |= death_is_new(known, words, &mut said, written);
    (is_new && !said.says_nothing()).then_some(said)
}

/// Whether all that is said is known to be so.
pub fn holds(known: &v1::Demographics, said: &Said) -> bool {
    let v1::Demographics { deceased, not_deceased, .. } = said.demographics;
    let is_known = |part: Part| {
        !said.says(part) || is_same(known, said, part) || says_less(known, &said.demographics, part)
    };
    PARTS.into_iter().all(is_known)
        && (!deceased || known.deceased)
        && (!not_deceased || !known.deceased)
}

/// Has a confidential address stay so: few systems say it of every address. One that is known, and
/// may not be seen, is not replaced by none.
fn set_protection(known: &v1::Demographics, said: &mut Said) {
    let Some(before) = known.address.as_ref().filter(|address| address.confidential) else {
        return;
    };
    if !said.says(Part::Address) {
        return;
    }
    let address = said.demographics.address.get_or_insert_default();
    address.confidential = true;
    if !says_where(address) && !says_where(before) {
        said.keep(Part::Address);
    }
}

/// That an address is confidential is never too late to be said.
fn adds_protection(known: &v1::Demographics, said: &Said, part: Part) -> bool {
    let is_confidential =
        |of: &v1::Demographics| of.address.as_ref().is_some_and(|address| address.confidential);
    part == Part::Address && is_confidential(&said.demographics) && !is_confidential(known)
}

/// Whether of a part the same is known, as far as that may be seen.
fn is_same(known: &v1::Demographics, said: &Said, part: Part) -> bool {
    match (part, &known.address) {
        // Whether it is another address cannot be told: nobody is shown the one that is known.
        (Part::Address, Some(before)) if before.confidential && !says_where(before) => true,
        (Part::Names, _) if said.keeps.contains(&part) => {
            said.demographics.names.iter().all(|name| known.names.contains(name))
        }
        _ => value(known, part) == value(&said.demographics, part),
    }
}

/// Whether what is said is less than what is known: the year of a birth, or that nobody knows.
fn says_less(known: &v1::Demographics, said: &v1::Demographics, part: Part) -> bool {
    match part {
        Part::Birth => {
            !said.birth_on.is_empty()
                && known.birth_on != said.birth_on
                && known.birth_on.starts_with(&said.birth_on)
        }
        Part::Sex => said.sex() == v1::Sex::Unknown && is_known(known.sex()),
        Part::Names | Part::Address | Part::Contacts | Part::DeceasedAt | Part::Unspecified => {
            false
        }
    }
}

/// Whether what is said of a death is news. Silence says nothing; that somebody did not die is news
/// only of somebody who did; and a death is never too late to be told, unless it was taken back since.
fn death_is_new(
    known: &v1::Demographics,
    words: &Words,
    said: &mut Said,
    written: Option<CareTime>,
) -> bool {
    let is_overtaken = words.is_death_overtaken(written);
    let Said { demographics: now, keeps } = said;
    now.not_deceased &= known.deceased && !is_overtaken;
    now.deceased &= known.deceased || !is_overtaken;
    if now.deceased && is_overtaken && !known.deceased_at.is_empty() {
        now.deceased_at.clear();
    }
    keeps.retain(|part| *part != Part::DeceasedAt);
    if !now.deceased {
        now.deceased_at.clear();
    } else if now.deceased_at.is_empty() {
        keeps.push(Part::DeceasedAt);
    }
    let is_other_time = !now.deceased_at.is_empty() && now.deceased_at != known.deceased_at;
    now.not_deceased || (now.deceased && (!known.deceased || is_other_time))
}

/// What is said of a part, in one form for all parts.
fn value(of: &v1::Demographics, part: Part) -> v1::Demographics {
    let mut only = v1::Demographics::default();
    copy(part, of, &mut only);
    only
}

fn copy(part: Part, from: &v1::Demographics, to: &mut v1::Demographics) {
    match part {
        Part::Names => to.names.clone_from(&from.names),
        Part::Birth => to.birth_on.clone_from(&from.birth_on),
        Part::Sex => to.sex = from.sex,
        Part::Address => to.address.clone_from(&from.address),
        Part::Contacts => to.contacts.clone_from(&from.contacts),
        Part::DeceasedAt | Part::Unspecified => {}
    }
}

fn is_empty(of: &v1::Demographics, part: Part) -> bool {
    value(of, part) == v1::Demographics::default()
}

/// The names that are said, and whether they replace those that are known: a name in another script
/// stays beside one that is the same or in a script of its own, unless its sender brought it in.
pub(crate) fn with_names(mut said: Said, known: &v1::Demographics, words: &Words) -> Said {
    let names = std::mem::take(&mut said.demographics.names);
    let is_changed = names.iter().any(|name| {
        let mut before = known.names.iter().filter(|one| are_of_one_script(one, name)).peekable();
        before.peek().is_some() && !before.any(|one| is_same_name(one, name))
    });
    said.demographics.names = names.into_iter().map(|name| as_known(name, known)).collect();
    if !said.demographics.names.is_empty() && !is_changed && !words.are_own_alone(Part::Names) {
        said.keeps.push(Part::Names);
    }
    said
}

/// A name in the script that it is known to be written in, if it says none.
fn as_known(name: v1::HumanName, known: &v1::Demographics) -> v1::HumanName {
    let before = known.names.iter().find(|one| is_same_name(one, &name));
    match before {
        Some(before) if name.script() == v1::NameScript::Unspecified => {
            v1::HumanName { script: before.script, ..name }
        }
        Some(_) | None => name,
    }
}

fn are_of_one_script(one: &v1::HumanName, other: &v1::HumanName) -> bool {
    let unknown = i32::from(v1::NameScript::Unspecified);
    one.script == other.script || one.script == unknown || other.script == unknown
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
    use tsunagi_domain::Zone;

    use super::*;

    fn person(birth_on: &str, sex: v1::Sex) -> v1::Demographics {
        v1::Demographics { birth_on: birth_on.to_owned(), sex: sex.into(), ..Default::default() }
    }

    fn living_at(text: &str, confidential: bool) -> v1::Demographics {
        let address = v1::Address { text: text.to_owned(), confidential, ..Default::default() };
        v1::Demographics { address: Some(address), ..Default::default() }
    }

    fn reached_at(phone: &str) -> v1::Demographics {
        let value = phone.to_owned();
        let contacts = vec![v1::ContactPoint { value, ..Default::default() }];
        v1::Demographics { contacts, ..Default::default() }
    }

    fn named(script: v1::NameScript, family: &str) -> v1::HumanName {
        v1::HumanName { script: script.into(), family: family.to_owned(), ..Default::default() }
    }

    fn at(time: &str) -> Option<CareTime> {
        CareTime::parse(time, &Zone::utc()).ok()
    }

    /// Who said what, and when: one after the other.
    type Told<'a> = &'a [(bool, &'a str, Said)];

    fn words(told: Told<'_>, are_whole: bool) -> Words {
        let word = |(is_own, time, said): &(bool, &str, Said)| Word {
            said: said.clone(),
            at: at(time).unwrap(),
            is_own: *is_own,
        };
        Words::in_order(told.iter().map(word).collect(), are_whole)
    }

    fn known(told: Told<'_>) -> v1::Demographics {
        use tsunagi_proto::demographics::{after, with_death};
        let all = told.iter().map(|(_, _, said)| said);
        let known = all.clone().fold(v1::Demographics::default(), |known, said| {
            after(&known, &said.demographics, &said.keeps)
        });
        let of_death =
            all.filter(|said| said.demographics.deceased || said.demographics.not_deceased);
        with_death(known, of_death.map(|said| (&said.demographics, &*said.keeps)))
    }

    /// What holds once this was said as well, by somebody who says all that they know each time.
    fn after_all(told: Told<'_>, said: v1::Demographics, written: &str) -> v1::Demographics {
        let (known, words) = (known(told), words(told, true));
        let said = words.left_out(with_names(Said::given(said), &known, &words), &known);
        let Some(news) = news(&known, &words, said, at(written)) else { return known };
        let now = tsunagi_proto::demographics::after(&known, &news.demographics, &news.keeps);
        v1::Demographics { deceased: (known.deceased || now.deceased) && !now.not_deceased, ..now }
    }

    fn of_another(said: v1::Demographics) -> (bool, &'static str, Said) {
        (false, "2026-05-01", Said { demographics: said, keeps: Vec::new() })
    }

    fn own(said: v1::Demographics) -> (bool, &'static str, Said) {
        (true, "2026-05-02", Said::given(said))
    }

    #[test]
    fn nobody_s_word_is_told_again_in_the_name_of_another() {
        let told = [of_another(v1::Demographics {
            contacts: reached_at("03").contacts,
            ..living_at("本町1", false)
        })];
        let (known, words) = (known(&told), words(&told, true));
        let said = Said::given(person("1938", v1::Sex::Female));
        let news = news(&known, &words, words.left_out(said, &known), at("2026-06-01")).unwrap();
        assert_eq!(news.demographics, person("1938", v1::Sex::Female));
        assert_eq!(news.keeps, [Part::Names, Part::Address, Part::Contacts]);
    }

    #[test]
    fn silence_takes_back_what_its_sender_alone_has_said() {
        let silent = person("1938", v1::Sex::Female);
        let said = |text| v1::Demographics { ..living_at(text, false) };
        let (theirs, ours) = (of_another(said("本町1")), own(said("本町1")));
        let first = (false, "2026-05-01", Said::given(silent.clone()));
        let alone = after_all(&[first.clone(), ours.clone()], silent.clone(), "2026-06-01");
        assert_eq!(alone.address, None);
        for told in [[theirs.clone(), ours.clone()], [ours.clone(), theirs]] {
            let now = after_all(&told, silent.clone(), "2026-06-01");
            assert_eq!(now.address, said("本町1").address, "another says so as well");
        }
        let late = after_all(&[first, ours], silent, "2026-05-01");
        assert_eq!(late.address, said("本町1").address, "it was silent before it said so");
    }

    #[test]
    fn an_old_word_replaces_nothing_and_fills_what_nobody_knows() {
        let told = [of_another(living_at("本町1", false))];
        let old =
            v1::Demographics { contacts: reached_at("03").contacts, ..living_at("旧町9", false) };
        let now = after_all(&told, old, "2020-01-01");
        assert_eq!(now.address, living_at("本町1", false).address);
        assert_eq!(now.contacts, reached_at("03").contacts);
        let spoken = [told[0].clone(), own(person("1938", v1::Sex::Female))];
        let again = after_all(&spoken, reached_at("03"), "2020-01-01");
        assert!(again.contacts.is_empty(), "nobody has a phone, it was said since");
    }

    #[test]
    fn what_a_sender_said_before_without_a_time_does_not_come_back() {
        let told = [own(reached_at("03")), (false, "2026-05-03", Said::given(reached_at("06")))];
        assert_eq!(after_all(&told, reached_at("03"), "").contacts, reached_at("06").contacts);
        let now = after_all(&told, reached_at("03"), "2026-05-04");
        assert_eq!(now.contacts, reached_at("03").contacts, "it says that it was said since");
        let in_turn = [own(reached_at("03")), own(reached_at("06"))];
        assert_eq!(after_all(&in_turn, reached_at("03"), "").contacts, reached_at("03").contacts);
    }

    #[test]
    fn less_than_is_known_is_no_news() {
        let told = [of_another(person("1938-04-02", v1::Sex::Female))];
        let now = after_all(&told, person("1938", v1::Sex::Unknown), "2026-06-01");
        assert_eq!(now, person("1938-04-02", v1::Sex::Female));
        let other = after_all(&told, person("1939", v1::Sex::Male), "2026-06-01");
        assert_eq!(other, person("1939", v1::Sex::Male));
    }

    #[test]
    fn a_name_keeps_its_other_scripts_and_another_name_has_its_own() {
        use v1::NameScript::{Ideographic, Syllabic, Unspecified};
        let both = vec![named(Ideographic, "小林"), named(Syllabic, "コバヤシ")];
        let known = v1::Demographics { names: both.clone(), ..Default::default() };
        let written = |names: Vec<v1::HumanName>, told: Told<'_>| {
            let said = v1::Demographics { names, ..Default::default() };
            after_all(told, said, "2026-06-01").names
        };
        let (theirs, ours) = ([of_another(known.clone())], [own(known)]);
        assert_eq!(written(vec![named(Unspecified, "小林")], &theirs), both);
        let kana = vec![named(Ideographic, "小林"), named(Syllabic, "オバヤシ")];
        assert_eq!(written(kana.clone(), &theirs), kana);
        assert_eq!(
            written(vec![named(Unspecified, "佐藤")], &theirs),
            [named(Unspecified, "佐藤")]
        );
        assert_eq!(written(vec![named(Unspecified, "小林")], &ours), [named(Ideographic, "小林")]);
        assert_eq!(written(Vec::new(), &ours), both, "nobody is left without a name");
        let kanji =
            [of_another(v1::Demographics { names: both[..1].to_vec(), ..Default::default() })];
        let mut side_by_side = written(both[1..].to_vec(), &kanji);
        side_by_side.reverse();
        assert_eq!(side_by_side, both);
    }

    #[test]
    fn a_death_is_taken_back_in_words_and_by_none_who_came_later() {
        let dead = v1::Demographics { deceased: true, ..person("1938", v1::Sex::Female) };
        let lives = v1::Demographics { not_deceased: true, ..Default::default() };
        let silent = person("1938", v1::Sex::Female);
        assert!(after_all(&[own(dead.clone())], silent, "2026-06-01").deceased);
        assert!(!after_all(&[own(dead.clone())], lives.clone(), "2026-06-01").deceased);
        assert!(words(&[own(dead.clone()), of_another(dead.clone())], true).is_own_death());
        assert!(!words(&[of_another(dead.clone()), own(dead.clone())], true).is_own_death());
        let told = [own(dead.clone()), (true, "2026-05-03", Said::given(lives))];
        assert!(!after_all(&told, dead.clone(), "2026-05-02").deceased, "it was taken back since");
        assert!(after_all(&told, dead.clone(), "2026-05-04").deceased);
        let known = [of_another(person("1938", v1::Sex::Female))];
        assert!(after_all(&known, dead, "2020-01-01").deceased, "never too late");
    }

    #[test]
    fn that_nobody_died_is_no_news_of_the_living() {
        let said = v1::Demographics { not_deceased: true, ..person("1938", v1::Sex::Female) };
        let told = [own(person("1938", v1::Sex::Female))];
        let (known, words) = (known(&told), words(&told, true));
        assert_eq!(news(&known, &words, Said::given(said), at("2026-06-01")), None);
    }

    #[test]
    fn a_confidential_address_is_kept_so_and_no_news() {
        // As it is shown: withheld.
        let told = [of_another(living_at("", true))];
        let (known, words) = (known(&told), words(&told, false));
        let news = |said: v1::Demographics| {
            let news = news(&known, &words, Said::given(said), at("2026-06-01"));
            news.map(|news| (news.demographics, news.keeps.contains(&Part::Address)))
        };
        assert_eq!(news(living_at("本町1", false)), None);
        assert_eq!(news(living_at("", true)), None);
        assert_eq!(news(v1::Demographics::default()), None);
        let with_birth = |of| v1::Demographics { birth_on: "1938".to_owned(), ..of };
        assert_eq!(
            news(with_birth(living_at("本町1", false))),
            Some((with_birth(living_at("本町1", true)), false))
        );
        for nowhere in [v1::Demographics::default(), living_at("", true)] {
            let silent = (with_birth(v1::Demographics::default()), true);
            assert_eq!(news(with_birth(nowhere)), Some(silent), "it is not replaced by none");
        }
    }

    #[test]
    fn that_an_address_is_confidential_is_news_and_never_too_late() {
        let restricted = living_at("", true);
        for told in [&[][..], &[of_another(living_at("本町1", false))]] {
            assert_eq!(after_all(told, restricted.clone(), "2026-06-01"), restricted);
            assert_eq!(
                after_all(told, living_at("旧町9", true), "2020-01-01")
                    .address
                    .map(|a| a.confidential),
                Some(true)
            );
        }
        let told = [of_another(living_at("本町1", false)), own(reached_at("03"))];
        let now = after_all(&told, living_at("旧町9", true), "2020-01-01");
        assert_eq!(now.address, restricted.address, "and where that was is not told again");
    }

    #[test]
    fn a_message_that_comes_again_is_known() {
        let said = Said::given(v1::Demographics { not_deceased: true, ..reached_at("03") });
        let told = [
            (false, "2026-05-02", said.clone()),
            (false, "2026-05-03", Said::given(reached_at("06"))),
        ];
        let words = words(&told, false);
        assert!(words.have_said(&said, &known(&told)));
        assert!(!words.have_said(&Said::given(reached_at("07")), &known(&told)));
        let dead = Said::given(v1::Demographics { deceased: true, ..reached_at("03") });
        assert!(!words.have_said(&dead, &known(&told)));
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
}
