//! Who a patient is, as several doors tell it: what is news, and who is somebody else.
//!
//! Whoever tells is written down with what they said themselves and no more: what is known from
//! others is never told again in their name. Else an address would still be shown when the word that
//! it came from is taken back, as an error or as another patient's.

mod words;

use tsunagi_bus::address::withheld;
use tsunagi_domain::CareTime;
use tsunagi_proto::demographics::{PARTS, Update, is_empty, value};
use tsunagi_proto::v1::{self, DemographicsPart as Part};

pub use words::{Word, Words};

/// What is known of a person when somebody says more.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    pub known: &'a v1::Demographics,
    /// Whether a confidential address is left out of it.
    pub is_withheld: bool,
    /// Whether the address was ever said to be confidential. Then only people say another openly:
    /// systems that know nothing of that say of every address that it is not.
    pub was_protected: bool,
    pub words: &'a Words,
    /// When more is said; none if nobody knows.
    pub written: Option<CareTime>,
    /// Whether it may be what was said before, come again.
    pub may_have_come: bool,
}

/// What becomes of a part that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    New,
    /// More is known, or was said since.
    Overtaken,
}

impl Before<'_> {
    /// What of `said` is news: all that it says and that is not overtaken, if any of it is new, or
    /// its sender has not said so before. None if that is nothing.
    pub fn news(&self, mut said: Update) -> Option<Update> {
        let adds_protection = self.adds_protection(&said);
        self.set_protection(&mut said);
        let mut is_new = false;
        for part in PARTS {
            match self.change(part, &said) {
                Change::Same => {}
                Change::New => is_new = true,
                // That the address is confidential is never too late to be said.
                Change::Overtaken if part == Part::Address && adds_protection => {
                    said.demographics.address = Some(withheld());
                    is_new = true;
                }
                Change::Overtaken => said.keep(part),
            }
        }
        self.drop_late_death(&mut said);
        if self.may_have_come && self.words.have_said(&said, self.known) {
            return None;
        }
        is_new |= self.is_death_new(&said.demographics);
        // What two say stays when one of them takes it back.
        is_new |= said.demographics.deceased && !self.words.was_own_last_of_death(&said);
        (is_new && !said.says_nothing()).then_some(said)
    }

    /// Whether all that is said is known to be so.
    pub fn holds(&self, said: &Update) -> bool {
        let v1::Demographics { not_deceased, .. } = said.demographics;
        let is_known =
            |part: &Part| self.is_same(*part, said) || says_less(self.known, said, *part);
        PARTS.iter().filter(|part| said.says(**part)).all(is_known)
            && !(not_deceased && self.known.deceased)
            && !self.is_death_new(&said.demographics)
    }

    fn change(&self, part: Part, said: &Update) -> Change {
        // The first word of a sender fills what nobody knows.
        let is_filling = self.words.is_first() && is_empty(self.known, part);
        let is_late = self.words.are_after(part, self.written) && !is_filling;
        if said.withdraws.contains(&part) {
            return if is_late { Change::Overtaken } else { Change::New };
        } else if !said.says(part) {
            return Change::Same;
        }
        let is_seen = !(part == Part::Address && self.is_withheld && self.is_confidential());
        if self.is_same(part, said) {
            // What two say stays when one of them takes it back.
            let is_said = !is_seen || self.words.have_own(part, said);
            if is_said { Change::Same } else { Change::New }
        } else if is_late
            || says_less(self.known, said, part)
            || self.words.was_own_error(part, said, self.written)
        {
            Change::Overtaken
        } else if self.written.is_none() && self.words.was_own_last(part, said) {
            // What its sender said before, without saying when, may be older than what is known.
            Change::Overtaken
        } else {
            Change::New
        }
    }

    /// Has a confidential address stay so: few systems say it of every address. One that may not be
    /// seen is not replaced by none.
    fn set_protection(&self, said: &mut Update) {
        if !said.says(Part::Address) {
            return;
        }
        let said_before = said.demographics.address == self.known.address;
        if !self.is_confidential() {
            if said_before && self.was_protected {
                // Not even what a person said openly is opened by a system.
                said.keep(Part::Address);
            } else if let Some(address) = &mut said.demographics.address {
                address.confidential |= self.was_protected;
            }
            return;
        }
        let address = said.demographics.address.get_or_insert_default();
        address.confidential = true;
        let none = withheld();
        if *address == none && self.known.address.as_ref() == Some(&none) {
            said.keep(Part::Address);
        }
    }

    fn adds_protection(&self, said: &Update) -> bool {
        let address = said.demographics.address.as_ref();
        address.is_some_and(|address| address.confidential) && !self.is_confidential()
    }

    fn is_confidential(&self) -> bool {
        self.known.address.as_ref().is_some_and(|address| address.confidential)
    }

    /// Whether of a part the same is known, as far as that may be seen.
    fn is_same(&self, part: Part, said: &Update) -> bool {
        // Whether it is another one cannot be told.
        if part == Part::Address && self.is_withheld && self.is_confidential() {
            true
        } else if said.leaves(part) {
            said.is_all_in(self.known, part)
        } else if part == Part::Contacts {
            // In whichever order.
            let known = self.known.contacts.iter().filter(|known| !said.leaves_contact(known));
            said.demographics.contacts.len() == known.count() && said.is_all_in(self.known, part)
        } else {
            value(self.known, part) == said.value(part)
        }
    }

    /// Says nothing of a death that was taken back since, or of the contrary, or of when it was if
    /// more is known: that somebody died is else never too late to be said.
    fn drop_late_death(&self, said: &mut Update) {
        let is_late = self.words.are_after_death(self.written)
            || (self.written.is_none() && self.words.was_own_last_of_death(said));
        let (known, now) = (self.known, &mut said.demographics);
        now.not_deceased &= known.deceased && !is_late;
        now.deceased &= known.deceased || !is_late;
        let is_less =
            known.deceased_at != now.deceased_at && known.deceased_at.starts_with(&now.deceased_at);
        if !now.deceased || is_less || (is_late && !known.deceased_at.is_empty()) {
            now.deceased_at.clear();
        }
        let is_timeless = now.deceased && now.deceased_at.is_empty();
        said.keeps.retain(|part| *part != Part::DeceasedAt);
        said.keeps.extend(is_timeless.then_some(Part::DeceasedAt));
    }

    /// That somebody did not die is news only of somebody who did.
    fn is_death_new(&self, said: &v1::Demographics) -> bool {
        let is_other_time =
            !said.deceased_at.is_empty() && said.deceased_at != self.known.deceased_at;
        said.not_deceased || (said.deceased && (!self.known.deceased || is_other_time))
    }
}

/// Whether what is said is less than what is known: the year of a birth, or that nobody knows.
fn says_less(known: &v1::Demographics, said: &Update, part: Part) -> bool {
    let said = &said.demographics;
    match part {
        Part::Birth => {
            !said.birth_on.is_empty()
                && known.birth_on != said.birth_on
                && known.birth_on.starts_with(&said.birth_on)
        }
        Part::Sex => said.sex() == v1::Sex::Unknown && is_known(known.sex()),
        Part::Names
        | Part::Address
        | Part::Contacts
        | Part::ContactsAtWork
        | Part::ContactsElsewhere
        | Part::DeceasedAt
        | Part::Unspecified => false,
    }
}

/// The names that are said, and whether they replace those that are known: a name in another script
/// stays beside one that is the same, or a reading, or in a script of its own, unless its sender
/// brought it in and leaves it out.
pub(crate) fn with_names(mut said: Update, known: &v1::Demographics, words: &Words) -> Update {
    let names = std::mem::take(&mut said.demographics.names);
    let is_changed = names.iter().any(|name| {
        let mut before = known.names.iter().filter(|one| are_of_one_script(one, name)).peekable();
        name.script() != v1::NameScript::Syllabic
            && before.peek().is_some()
            && !before.any(|one| is_same_name(one, name))
    });
    said.demographics.names = names.into_iter().map(|name| as_known(name, known)).collect();
    if !said.demographics.names.is_empty() && !is_changed {
        if words.have_left_out_a_name(&said) {
            said.withdraw(Part::Names);
        } else {
            said.keeps.push(Part::Names);
        }
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
    use tsunagi_domain::{EventId, Fact, Zone, identity};
    use tsunagi_proto::catalogue::Payload;
    use tsunagi_proto::convert::happened;

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

    /// Who said what, and when: one after the other.
    #[derive(Clone)]
    struct Told {
        is_own: bool,
        at: &'static str,
        update: Update,
        is_error: bool,
    }

    fn told(is_own: bool, at: &'static str, update: Update) -> Told {
        let by = if is_own { "own" } else { "other" }.to_owned();
        Told { is_own, at, update: Update { by, ..update }, is_error: false }
    }

    fn of_another(said: v1::Demographics) -> Told {
        told(false, "2026-05-01", Update { demographics: said, ..Update::default() })
    }

    fn own(said: v1::Demographics) -> Told {
        told(true, "2026-05-02", Update::given(said))
    }

    fn time(text: &str) -> Option<CareTime> {
        CareTime::parse(text, &Zone::utc()).ok()
    }

    fn event_id(number: usize) -> EventId {
        EventId::new(uuid::Uuid::from_u128(u128::try_from(number).unwrap() + 1))
    }

    /// The patient whom a program told of so.
    fn patient(all: &[Told]) -> identity::Patient {
        let mut patient = identity::Patient::default();
        for (number, told) in all.iter().enumerate().filter(|(_, told)| !told.is_error) {
            let event = v1::Event {
                event_id: event_id(number).to_string(),
                occurred_at: told.at.to_owned(),
                actor: Some(v1::Actor {
                    organisation: "acute".to_owned(),
                    role: "system".to_owned(),
                    person: "feed".to_owned(),
                    ..v1::Actor::default()
                }),
                ..v1::Event::default()
            };
            let payload = Payload::DemographicsUpdated(told.update.clone().into());
            let happened = happened(&event, &payload, &Zone::utc()).unwrap();
            let Fact::Identity(fact) = happened.fact else { unreachable!() };
            patient.apply(&happened.stamp, &fact);
        }
        patient
    }

    fn word(told: &Told) -> Word {
        Word { update: told.update.clone(), at: time(told.at).unwrap(), is_own: told.is_own }
    }

    fn words(all: &[Told], are_whole: bool) -> Words {
        let number = |event: EventId| (0..all.len()).find(|number| event_id(*number) == event);
        let standing = |event: EventId| Some(word(&all[number(event)?]));
        let in_error = all.iter().filter(|told| told.is_error).map(word).collect();
        Words::of(&patient(all), standing, in_error, are_whole)
    }

    fn known(all: &[Told]) -> v1::Demographics {
        let patient = patient(all);
        let number = |event: EventId| (0..all.len()).find(|number| event_id(*number) == event);
        let update = |event: EventId| Some(&all[number(event)?].update);
        let of_death = patient.death_said_by().filter_map(update);
        let said = patient.said_by().filter_map(update);
        tsunagi_proto::demographics::known(said, of_death).demographics
    }

    /// What is news where so much was told: of one who says all each time, or of a feed that may
    /// have said it before.
    fn news(all: &[Told], said: v1::Demographics, written: &str, is_feed: bool) -> Option<Update> {
        let (known, words) = (known(all), words(all, !is_feed));
        let before = Before {
            known: &known,
            is_withheld: !is_feed,
            was_protected: all.iter().any(|told| {
                told.update
                    .demographics
                    .address
                    .as_ref()
                    .is_some_and(|address| address.confidential)
            }),
            words: &words,
            written: time(written),
            may_have_come: is_feed && !words.are_before(time(written)),
        };
        let mut said = said;
        said.not_deceased &= is_feed || words.is_own_death();
        let said = words.left_out(with_names(Update::given(said), &known, &words));
        before.news(said)
    }

    /// What is known once somebody who says all each time said this.
    fn after_all(all: &[Told], said: v1::Demographics, written: &str) -> v1::Demographics {
        let news = news(all, said, written, false);
        known(
            &[all.to_vec(), news.map(|news| told(true, "2026-06-01", news)).into_iter().collect()]
                .concat(),
        )
    }

    /// The same of a feed.
    fn after_feed(all: &[Told], said: v1::Demographics, written: &str) -> v1::Demographics {
        let news = news(all, said, written, true);
        known(
            &[all.to_vec(), news.map(|news| told(false, "2026-06-01", news)).into_iter().collect()]
                .concat(),
        )
    }

    #[test]
    fn nobody_s_word_is_told_again_in_the_name_of_another() {
        let told = [of_another(v1::Demographics {
            contacts: reached_at("03").contacts,
            ..living_at("本町1", false)
        })];
        let said = person("1938", v1::Sex::Female);
        let news = news(&told, said.clone(), "2026-06-01", false).unwrap();
        assert_eq!(news.demographics, said);
        assert_eq!(news.keeps, [Part::Names, Part::Address, Part::Contacts]);
    }

    #[test]
    fn silence_takes_back_what_its_sender_alone_has_said() {
        let silent = person("1938", v1::Sex::Female);
        let said = |text| living_at(text, false);
        let (theirs, ours) = (of_another(said("本町1")), own(said("本町1")));
        let first = told(false, "2026-05-01", Update::given(silent.clone()));
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
    fn what_one_takes_back_falls_back_to_what_others_said() {
        let desk = of_another(living_at("本町1", false));
        let told = [desk, own(living_at("栄町2", false))];
        let silent = person("1938", v1::Sex::Female);
        let now = after_all(&told, silent, "2026-06-01");
        assert_eq!(now.address, living_at("本町1", false).address);
    }

    #[test]
    fn what_two_say_is_the_word_of_both() {
        let both = v1::Demographics { contacts: reached_at("03").contacts, ..died("2026-05-02") };
        let mut first = told(false, "2026-05-01", Update::given(both.clone()));
        let second = news(&[first.clone()], both.clone(), "2026-06-01", true);
        let second = told(false, "2026-06-01", second.unwrap());
        first.is_error = true;
        let now = known(&[first, second.clone()]);
        assert_eq!((now.contacts, now.deceased), (both.contacts.clone(), true));
        let again = Told { is_own: true, ..second };
        assert_eq!(news(&[again], both, "2026-06-02", true), None, "it is said once");
    }

    #[test]
    fn what_is_said_again_in_part_or_in_another_order_is_said_once() {
        let phone = |usage: &str, value: &str| v1::ContactPoint {
            r#use: usage.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        };
        let reached = |contacts: &[v1::ContactPoint]| v1::Demographics {
            contacts: contacts.to_vec(),
            ..Default::default()
        };
        let (home, work, mobile) = (phone("home", "1"), phone("work", "2"), phone("mobile", "3"));
        let all = reached(&[home.clone(), work, mobile]);
        let first = news(&[], all.clone(), "2026-05-01", false).unwrap();
        let told = [told(true, "2026-05-01", first)];
        assert_eq!(news(&told, all, "2026-06-01", false), None);
        let mut part = Update::given(reached(&[home]));
        part.keeps.push(Part::Contacts);
        let (known, words) = (known(&told), words(&told, false));
        let before = Before {
            known: &known,
            is_withheld: false,
            was_protected: false,
            words: &words,
            written: time("2026-06-01"),
            may_have_come: false,
        };
        assert_eq!(before.news(part), None);
    }

    #[test]
    fn an_error_of_a_sender_comes_back_when_it_is_said_since_alone() {
        let mut error = own(reached_at("03"));
        error.is_error = true;
        let again = |written| after_all(&[error.clone()], reached_at("03"), written).contacts;
        assert_eq!(again("2026-05-02"), [], "as it was written then");
        assert_eq!(again("2026-05-03"), reached_at("03").contacts);
    }

    #[test]
    fn an_older_word_of_a_system_hides_no_address_that_a_person_opened() {
        let secret = told(false, "2026-05-01", Update::given(living_at("秘密町1", true)));
        let open = told(false, "2026-05-09", Update::given(living_at("本町1", false)));
        let told = [secret, open.clone()];
        let older = after_feed(&told, living_at("旧町9", false), "2026-05-05");
        assert_eq!(older.address, open.update.demographics.address);
        let says_so = after_feed(&told, living_at("旧町9", true), "2026-05-05");
        assert_eq!(says_so.address, Some(withheld()));
    }

    #[test]
    fn systems_open_no_address_that_was_confidential() {
        let secret = told(false, "2026-05-01", Update::given(living_at("秘密町1", true)));
        let open = told(false, "2026-05-02", Update::given(living_at("本町1", false)));
        let told = [secret, open];
        for after in [after_all, after_feed] {
            let leaked = after(&told, living_at("秘密町1", false), "2026-06-01").address.unwrap();
            assert!(leaked.confidential);
            let same = after(&told, living_at("本町1", false), "2026-06-01").address.unwrap();
            assert!(!same.confidential, "what a person said openly may be said again");
        }
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
        let desk = told(false, "2026-05-03", Update::given(reached_at("06")));
        let told = [own(reached_at("03")), desk];
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
        let written = |names: Vec<v1::HumanName>, told: &[Told]| {
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
        assert_eq!(written(both[1..].to_vec(), &kanji), both, "a reading comes last");
    }

    fn died(at: &str) -> v1::Demographics {
        let deceased_at = at.to_owned();
        v1::Demographics { deceased: true, deceased_at, ..person("1938", v1::Sex::Female) }
    }

    fn lives() -> v1::Demographics {
        v1::Demographics { not_deceased: true, ..person("1938", v1::Sex::Female) }
    }

    #[test]
    fn a_death_is_taken_back_in_words_by_whoever_told_of_it_first() {
        let silent = person("1938", v1::Sex::Female);
        assert!(after_all(&[own(died(""))], silent, "2026-06-01").deceased);
        assert!(!after_all(&[own(died(""))], lives(), "2026-06-01").deceased);
        let by_other = [of_another(died("")), own(died(""))];
        assert!(after_all(&by_other, lives(), "2026-06-01").deceased);
        assert!(!after_all(&[own(died("")), of_another(died(""))], lives(), "2026-06-01").deceased);
        let anew = [own(died("")), of_another(lives()), of_another(died(""))];
        assert!(after_all(&anew, lives(), "2026-06-01").deceased, "said anew by another");
    }

    #[test]
    fn a_death_that_was_taken_back_is_not_told_again_by_what_is_older() {
        let taken_back = [own(died("")), told(false, "2026-05-03", Update::given(lives()))];
        assert!(!after_all(&taken_back, died(""), "2026-05-02").deceased);
        assert!(!after_all(&taken_back, died(""), "").deceased, "nobody knows that it is newer");
        assert!(after_all(&taken_back, died(""), "2026-05-04").deceased);
        let known = [of_another(person("1938", v1::Sex::Female))];
        assert!(after_all(&known, died(""), "2020-01-01").deceased, "never too late");
    }

    #[test]
    fn a_death_is_known_as_exactly_as_anybody_told_it() {
        let at = |all: &[Told], said, written| after_all(all, said, written).deceased_at;
        let exact = [of_another(died("2026-05-02"))];
        assert_eq!(at(&exact, died(""), "2026-06-01"), "2026-05-02");
        assert_eq!(at(&exact, died("2026-05"), "2026-06-01"), "2026-05-02");
        assert_eq!(at(&exact, died("2026-05-03"), "2026-06-01"), "2026-05-03");
        assert_eq!(at(&exact, died("2026-04-30"), "2026-04-30"), "2026-05-02", "older");
        let year = [of_another(died("2026"))];
        assert_eq!(at(&year, died("2026-05-02"), "2026-06-01"), "2026-05-02");
    }

    #[test]
    fn that_nobody_died_is_no_news_of_the_living() {
        assert_eq!(
            news(&[own(person("1938", v1::Sex::Female))], lives(), "2026-06-01", false),
            None
        );
    }

    #[test]
    fn a_confidential_address_is_kept_so_and_no_news() {
        // As it is shown: withheld.
        let told = [of_another(living_at("", true)), own(reached_at("03"))];
        let with_phone = |of| v1::Demographics { contacts: reached_at("03").contacts, ..of };
        for nowhere in [living_at("本町1", false), living_at("", true), living_at("", false)] {
            assert_eq!(news(&told, with_phone(nowhere), "2026-06-01", false), None);
        }
        let with_birth = |of| v1::Demographics { birth_on: "1938".to_owned(), ..with_phone(of) };
        let news = |said| {
            let news = news(&told, said, "2026-06-01", false).unwrap();
            (news.keeps.contains(&Part::Address), news.demographics)
        };
        let moved = news(with_birth(living_at("本町1", false)));
        assert_eq!(moved, (false, with_birth(living_at("本町1", true))));
        for nowhere in [v1::Demographics::default(), living_at("", true)] {
            let silent = (true, with_birth(v1::Demographics::default()));
            assert_eq!(news(with_birth(nowhere)), silent, "it is not replaced by none");
        }
    }

    #[test]
    fn a_feed_that_knows_a_confidential_address_tells_where_it_is() {
        let told = [of_another(living_at("", true))];
        let now = after_feed(&told, living_at("本町1", false), "2026-06-01");
        assert_eq!(now, living_at("本町1", true));
    }

    #[test]
    fn that_an_address_is_confidential_is_news_and_never_too_late() {
        let restricted = living_at("", true);
        let open = [of_another(living_at("本町1", false))];
        assert_eq!(after_all(&[], restricted.clone(), "2026-06-01"), restricted);
        assert_eq!(after_all(&open, restricted.clone(), "2026-06-01"), restricted);
        let spoken = [open[0].clone(), own(reached_at("03"))];
        let now = after_all(&spoken, living_at("旧町9", true), "2020-01-01");
        assert_eq!(now.address, restricted.address, "and where that was is not told again");
        let late = told(false, "2026-04-01", Update::given(restricted));
        let between = after_feed(&[open[0].clone(), late], living_at("旧町9", false), "2026-04-15");
        assert_eq!(between.address, Some(withheld()), "more was said since");
    }

    #[test]
    fn what_a_feed_said_before_does_not_come_back() {
        let first = v1::Demographics { not_deceased: true, ..reached_at("03") };
        let mut error = told(true, "2026-05-02", Update::given(first.clone()));
        let second = told(true, "2026-05-02", Update::given(reached_at("06")));
        let both = [error.clone(), second.clone()];
        assert_eq!(
            after_feed(&both, first.clone(), "2026-05-02").contacts,
            reached_at("06").contacts
        );
        let said_less = v1::Demographics { sex: v1::Sex::Unknown.into(), ..reached_at("03") };
        let known_sex = told(false, "2026-05-01", Update::given(person("1938", v1::Sex::Female)));
        let less = [known_sex, told(true, "2026-05-02", Update::given(reached_at("03"))), second];
        assert_eq!(after_feed(&less, said_less, "2026-05-02").contacts, reached_at("06").contacts);
        error.is_error = true;
        assert_eq!(after_feed(&[error.clone()], first.clone(), "").contacts, []);
        assert_eq!(after_all(&[error], first, "").contacts, [], "nor what another system did");
        let third = after_feed(&both, reached_at("07"), "2026-05-02");
        assert_eq!(
            third.contacts,
            reached_at("07").contacts,
            "of one time, the later to come holds"
        );
        let dead = v1::Demographics { deceased: true, ..reached_at("03") };
        assert!(after_feed(&both, dead, "2026-05-02").deceased);
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
