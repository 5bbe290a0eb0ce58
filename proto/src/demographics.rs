//! Who a person is, made of what was said of them one after the other.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::catalogue::Payload;
use crate::v1::{
    Actor, ContactPoint, Demographics, DemographicsPart as Part, DemographicsUpdated, Event,
    NameScript, Source,
};

/// The parts of demographics. When a person died goes with that they did.
pub const PARTS: [Part; 5] = [Part::Names, Part::Birth, Part::Sex, Part::Address, Part::Contacts];

/// Of contacts, each may be kept by itself.
pub(crate) const HALVES: [Part; 2] = [Part::ContactsAtWork, Part::ContactsElsewhere];

/// How contacts at work are marked.
const WORK: &str = "work";

/// What somebody says of a person. Of the parts that it keeps it says nothing, and of those that it
/// withdraws no more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    pub demographics: Demographics,
    pub keeps: Vec<Part>,
    pub withdraws: Vec<Part>,
    /// Whose word it is: of which organisation and system.
    pub by: String,
}

impl Update {
    /// What an event says of who the person is, if it does.
    pub fn of(event: &Event, payload: &Payload) -> Option<Self> {
        let by = sender(event.actor.as_ref(), event.source.as_ref());
        if let Payload::PatientRegistered(message) = payload {
            // Before, nothing was known: what it does not give, it says nothing of.
            Some(Self { by, ..Self::given(message.demographics.clone()?) })
        } else if let Payload::DemographicsUpdated(message) = payload {
            let (keeps, withdraws) = (message.keeps().collect(), message.withdraws().collect());
            Some(Self { demographics: message.demographics.clone()?, keeps, withdraws, by })
        } else {
            None
        }
    }

    /// What is given is said, and nothing of the rest.
    pub fn given(demographics: Demographics) -> Self {
        let silent = PARTS.into_iter().filter(|part| is_empty(&demographics, *part));
        let is_timeless = demographics.deceased && demographics.deceased_at.is_empty();
        let keeps = silent.chain(is_timeless.then_some(Part::DeceasedAt)).collect();
        Self { demographics, keeps, ..Self::default() }
    }

    /// Whether it says what a part is, or that it is not known.
    pub fn says(&self, part: Part) -> bool {
        !self.leaves(part) || !is_empty(&self.demographics, part)
    }

    /// Whether what others said of a part stays, but for what this says in its place.
    pub fn leaves(&self, part: Part) -> bool {
        self.keeps.contains(&part) || self.withdraws.contains(&part)
    }

    /// Whether a way of reaching the person stays that others told, though more is said of them.
    pub fn leaves_contact(&self, contact: &ContactPoint) -> bool {
        self.leaves_piece(Part::Contacts, usage(contact))
    }

    fn leaves_piece(&self, part: Part, piece: &str) -> bool {
        let half = if piece == WORK { Part::ContactsAtWork } else { Part::ContactsElsewhere };
        self.leaves(part) || (part == Part::Contacts && self.keeps.contains(&half))
    }

    /// Which half of the contacts it keeps while it takes the other back: none if it takes back both,
    /// or none.
    pub fn kept_half_of_contacts(&self) -> Option<Part> {
        self.keeps.iter().copied().find(|part| HALVES.contains(part))
    }

    pub fn says_of_death(&self) -> bool {
        self.demographics.deceased || self.demographics.not_deceased
    }

    pub fn says_nothing(&self) -> bool {
        let says = |part: Part| self.says(part) || self.withdraws.contains(&part);
        !self.says_of_death() && !PARTS.into_iter().any(says)
    }

    /// What it says of a part, in one form for all parts.
    pub fn value(&self, part: Part) -> Demographics {
        value(&self.demographics, part)
    }

    /// Whether these demographics have all that it says of a part.
    pub fn is_all_in(&self, of: &Demographics, part: Part) -> bool {
        let Demographics { names, contacts, .. } = &self.demographics;
        match part {
            Part::Names => names.iter().all(|name| of.names.contains(name)),
            Part::Contacts => contacts.iter().all(|contact| of.contacts.contains(contact)),
            Part::Birth
            | Part::Sex
            | Part::Address
            | Part::DeceasedAt
            | Part::ContactsAtWork
            | Part::ContactsElsewhere
            | Part::Unspecified => self.value(part) == value(of, part),
        }
    }

    /// Says nothing of a part.
    pub fn keep(&mut self, part: Part) {
        self.take_back(part);
        self.keeps.push(part);
    }

    /// Says of a part no more what it said before.
    pub fn withdraw(&mut self, part: Part) {
        self.keeps.retain(|kept| *kept != part);
        self.withdraws.push(part);
    }

    /// Says that a part is not known, whoever said it.
    pub fn take_back(&mut self, part: Part) {
        copy(part, &Demographics::default(), &mut self.demographics);
        let is_it = |of: &Part| *of == part || (part == Part::Contacts && HALVES.contains(of));
        self.keeps.retain(|kept| !is_it(kept));
        self.withdraws.retain(|withdrawn| *withdrawn != part);
    }
}

impl From<Update> for DemographicsUpdated {
    fn from(update: Update) -> Self {
        let codes = |parts: Vec<Part>| parts.into_iter().map(i32::from).collect();
        Self {
            demographics: Some(update.demographics),
            keeps: codes(update.keeps),
            withdraws: codes(update.withdraws),
        }
    }
}

/// Whose word an event is: an organisation's and its system's, and of a resource that says who a
/// patient is, that resource's.
pub fn sender(actor: Option<&Actor>, source: Option<&Source>) -> String {
    let organisation = actor.map_or("", |actor| &actor.organisation);
    let (system, message) = source.map_or(("", ""), |of| (&of.system, &of.message_id));
    let resource = if message.starts_with("Patient/") { message } else { "" };
    format!("{organisation} {system} {resource}")
}

/// Who a person is, as was said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    pub demographics: Demographics,
    /// Which of the updates says where the person lives, counted from 0.
    pub address_by: Option<usize>,
}

/// Who a person is, as was said, each after the others; and whether they died, as was said of that.
pub fn known<'a>(
    said: impl Iterator<Item = &'a Update>,
    of_death: impl Iterator<Item = &'a Update>,
) -> Known {
    let mut told = BTreeMap::new();
    for (number, update) in said.enumerate() {
        for part in PARTS {
            hear(&mut told, part, number, update);
        }
    }
    let mut known = Known::default();
    let mut last: Vec<(&Piece, &Word<'_>)> =
        told.iter().filter_map(|(piece, words)| Some((piece, words.last()?))).collect();
    // What was said together stays in its order: it says which name is the official one. A reading
    // is none, where there is another.
    let is_reading = |value: &Demographics| {
        value.names.first().is_some_and(|name| name.script() == NameScript::Syllabic)
    };
    last.sort_by_key(|(_, word)| (is_reading(&word.value), Reverse(word.number), word.place));
    for ((part, _), word) in last {
        if *part == i32::from(Part::Address) && word.value.address.is_some() {
            known.address_by = Some(word.number);
        }
        add(&mut known.demographics, &word.value);
    }
    known.demographics = of_death.fold(known.demographics, |mut now, update| {
        let said = &update.demographics;
        (now.deceased, now.not_deceased) = (!said.not_deceased, said.not_deceased);
        if said.not_deceased || !update.keeps.contains(&Part::DeceasedAt) {
            now.deceased_at.clone_from(&said.deceased_at);
        }
        now
    });
    known
}

/// A part, and of names which script, of contacts whether at work: each may be said by itself.
type Piece = (i32, String);

/// What somebody said of a piece.
struct Word<'a> {
    by: &'a str,
    /// In which update, and where there.
    number: usize,
    place: usize,
    value: Demographics,
}

fn hear<'a>(
    told: &mut BTreeMap<Piece, Vec<Word<'a>>>,
    part: Part,
    number: usize,
    update: &'a Update,
) {
    let pieces = pieces(part, &update.demographics);
    for ((of, piece), words) in told.iter_mut().filter(|((of, _), _)| *of == i32::from(part)) {
        let is_given = pieces.iter().any(|(given, _)| given == piece);
        // Of a name that is known without its script nobody can tell whether it is said in another.
        let is_unclear = *of == i32::from(Part::Names) && piece.is_empty() && !pieces.is_empty();
        let is_emptied = !is_given && (is_unclear || !update.leaves_piece(part, piece));
        if is_given || is_emptied || update.withdraws.contains(&part) {
            words.retain(|word| word.by != update.by);
        }
        if is_emptied {
            // Nothing, until whoever says so withdraws it.
            let value = Demographics::default();
            words.push(Word { by: &update.by, number, place: 0, value });
        }
    }
    for (place, (piece, value)) in pieces.into_iter().enumerate() {
        let word = Word { by: &update.by, number, place, value };
        told.entry((part.into(), piece)).or_default().push(word);
    }
}

/// What is said of each piece of a part, in its order.
fn pieces(part: Part, of: &Demographics) -> Vec<(String, Demographics)> {
    let mut pieces: Vec<(String, Demographics)> = Vec::new();
    let mut note =
        |piece: String, value: Demographics| match pieces.iter_mut().find(|(of, _)| *of == piece) {
            Some((_, all)) => add(all, &value),
            None => pieces.push((piece, value)),
        };
    match part {
        Part::Names => of.names.iter().cloned().for_each(|name| {
            let script = if name.script == 0 { String::new() } else { name.script.to_string() };
            note(script, Demographics { names: vec![name], ..Demographics::default() });
        }),
        Part::Contacts => of.contacts.iter().cloned().for_each(|contact| {
            let piece = usage(&contact).to_owned();
            note(piece, Demographics { contacts: vec![contact], ..Demographics::default() });
        }),
        Part::Birth | Part::Sex | Part::Address if !is_empty(of, part) => {
            note(String::new(), value(of, part));
        }
        Part::Birth
        | Part::Sex
        | Part::Address
        | Part::DeceasedAt
        | Part::ContactsAtWork
        | Part::ContactsElsewhere
        | Part::Unspecified => {}
    }
    pieces
}

/// Which piece of the contacts one belongs to.
fn usage(contact: &ContactPoint) -> &str {
    if contact.r#use == WORK { WORK } else { "" }
}

fn add(to: &mut Demographics, value: &Demographics) {
    to.names.extend(value.names.iter().cloned());
    to.contacts.extend(value.contacts.iter().cloned());
    for part in [Part::Birth, Part::Sex, Part::Address] {
        if !is_empty(value, part) {
            copy(part, value, to);
        }
    }
}

/// What demographics say of a part, and nothing else.
pub fn value(of: &Demographics, part: Part) -> Demographics {
    let mut only = Demographics::default();
    copy(part, of, &mut only);
    only
}

pub fn is_empty(of: &Demographics, part: Part) -> bool {
    value(of, part) == Demographics::default()
}

fn copy(part: Part, from: &Demographics, to: &mut Demographics) {
    match part {
        Part::Names => to.names.clone_from(&from.names),
        Part::Birth => to.birth_on.clone_from(&from.birth_on),
        Part::Sex => to.sex = from.sex,
        Part::Address => to.address.clone_from(&from.address),
        Part::Contacts => to.contacts.clone_from(&from.contacts),
        Part::DeceasedAt => to.deceased_at.clone_from(&from.deceased_at),
        Part::ContactsAtWork | Part::ContactsElsewhere | Part::Unspecified => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Address, ContactPoint, HumanName, Sex};

    fn named(script: NameScript, family: &str) -> HumanName {
        HumanName { script: script.into(), family: family.to_owned(), ..HumanName::default() }
    }

    fn whole(demographics: Demographics) -> Update {
        Update { demographics, ..Update::default() }
    }

    fn person() -> Update {
        whole(Demographics {
            names: vec![
                named(NameScript::Ideographic, "小林"),
                named(NameScript::Syllabic, "コバヤシ"),
            ],
            birth_on: "1938-04-02".to_owned(),
            sex: Sex::Female.into(),
            address: Some(Address { text: "本町1".to_owned(), ..Address::default() }),
            ..Demographics::default()
        })
    }

    fn after_person(update: &Update) -> Demographics {
        known([&person(), update].into_iter(), [].into_iter()).demographics
    }

    #[test]
    fn what_is_kept_stays_and_what_is_neither_said_nor_kept_goes() {
        assert_eq!(after_person(&whole(Demographics::default())), Demographics::default());
        assert_eq!(after_person(&Update::given(Demographics::default())), person().demographics);
        let keeps = vec![Part::Birth, Part::Address];
        let now = after_person(&Update { keeps, ..Update::default() });
        let before = person().demographics;
        assert_eq!((now.birth_on, now.address), (before.birth_on, before.address));
        assert_eq!((now.sex, now.names), (0, Vec::new()));
    }

    #[test]
    fn names_of_other_scripts_are_kept() {
        use NameScript::{Ideographic, Unspecified};
        let families = |before: NameScript, said: NameScript| {
            let before = vec![named(before, "小林"), named(NameScript::Syllabic, "コバヤシ")];
            let said = vec![named(said, "佐藤")];
            let [before, said] =
                [before, said].map(|names| Demographics { names, ..Default::default() });
            let update =
                Update { demographics: said, keeps: vec![Part::Names], ..Update::default() };
            let now = known([&whole(before), &update].into_iter(), [].into_iter());
            now.demographics.names.into_iter().map(|name| name.family).collect::<Vec<_>>()
        };
        assert_eq!(families(Ideographic, Ideographic), ["佐藤", "コバヤシ"]);
        assert_eq!(families(Unspecified, Ideographic), ["佐藤", "コバヤシ"], "it may be the same");
    }

    #[test]
    fn contacts_at_work_and_others_are_kept_beside_each_other() {
        let phone = |usage: &str, value: &str| ContactPoint {
            r#use: usage.to_owned(),
            value: value.to_owned(),
            ..ContactPoint::default()
        };
        let with =
            |contacts: Vec<ContactPoint>| Demographics { contacts, ..Demographics::default() };
        let before =
            whole(with(vec![phone("home", "1"), phone("work", "2"), phone("mobile", "3")]));
        let said = with(vec![phone("work", "4")]);
        let now = |update: Update| {
            let now = known([&before, &update].into_iter(), [].into_iter());
            let contacts = now.demographics.contacts.into_iter();
            contacts.map(|contact| contact.value).collect::<Vec<_>>()
        };
        let keeps = vec![Part::Contacts];
        assert_eq!(now(Update { keeps, ..whole(said.clone()) }), ["4", "1", "3"]);
        assert_eq!(now(whole(said.clone())), ["4"]);
        let theirs = Update { by: "other".to_owned(), ..whole(said) };
        let mut silent =
            Update { by: "other".to_owned(), ..Update::given(Demographics::default()) };
        silent.withdraw(Part::Contacts);
        let all = known([&before, &theirs, &silent].into_iter(), [].into_iter()).demographics;
        assert_eq!(all.contacts.len(), 3, "all that was said before");
    }

    #[test]
    fn who_withdraws_its_own_word_leaves_those_of_others() {
        let by = |by: &str, text: &str| {
            let address = Some(Address { text: text.to_owned(), ..Address::default() });
            let said = Demographics { address, ..Demographics::default() };
            Update { by: by.to_owned(), ..Update::given(said) }
        };
        let mut silent = Update { by: "a".to_owned(), ..Update::given(Demographics::default()) };
        silent.withdraw(Part::Address);
        let lives_at = |told: &[Update]| {
            let now = known(told.iter(), [].into_iter());
            (now.demographics.address.map(|address| address.text), now.address_by)
        };
        let (a, b) = (by("a", "本町1"), by("b", "栄町2"));
        assert_eq!(lives_at(&[a.clone(), silent.clone()]), (None, None));
        let of_b = (Some("栄町2".to_owned()), Some(0));
        assert_eq!(lives_at(&[b.clone(), a.clone(), silent.clone()]), of_b);
        assert_eq!(lives_at(&[b.clone(), a.clone(), a.clone(), silent.clone()]), of_b);
        let of_b = (Some("栄町2".to_owned()), Some(1));
        assert_eq!(lives_at(&[a.clone(), b.clone(), silent]), of_b);
        let nowhere = Update { by: "c".to_owned(), ..whole(Demographics::default()) };
        assert_eq!(lives_at(&[a, b.clone(), nowhere.clone()]), (None, None), "by nobody");
        let mut silent = Update { by: "c".to_owned(), ..Update::given(Demographics::default()) };
        silent.withdraw(Part::Address);
        assert_eq!(lives_at(&[b, nowhere, silent]), (Some("栄町2".to_owned()), Some(0)));
    }

    #[test]
    fn a_death_is_as_well_known_as_was_told_unless_that_is_taken_back() {
        let died = |at: &str| {
            Update::given(Demographics {
                deceased: true,
                deceased_at: at.to_owned(),
                ..Demographics::default()
            })
        };
        let told = |of_death: &[Update]| {
            let now = known([].into_iter(), of_death.iter()).demographics;
            (now.deceased, now.deceased_at)
        };
        let (day, some_day) = (died("2026-05-02"), died(""));
        assert_eq!(told(&[day.clone(), some_day.clone()]), (true, "2026-05-02".to_owned()));
        let no_day = whole(some_day.demographics);
        assert_eq!(told(&[day.clone(), no_day]), (true, String::new()));
        let lives = Demographics { not_deceased: true, ..Demographics::default() };
        assert_eq!(told(&[day, Update::given(lives)]), (false, String::new()));
    }
}
