//! Who a person is, made of what was said of them one after the other.

use crate::catalogue::Payload;
use crate::v1::{
    Demographics, DemographicsPart as Part, DemographicsUpdated, HumanName, NameScript,
};

/// The parts of demographics. When a person died goes with that they did.
pub const PARTS: [Part; 5] = [Part::Names, Part::Birth, Part::Sex, Part::Address, Part::Contacts];

/// What somebody says of a person. Of the parts that it keeps it says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    pub demographics: Demographics,
    pub keeps: Vec<Part>,
}

impl Update {
    /// What an event says of who the person is, if it does.
    pub fn of(payload: &Payload) -> Option<Self> {
        if let Payload::PatientRegistered(message) = payload {
            Some(Self { demographics: message.demographics.clone()?, keeps: Vec::new() })
        } else if let Payload::DemographicsUpdated(message) = payload {
            let keeps = message.keeps().collect();
            Some(Self { demographics: message.demographics.clone()?, keeps })
        } else {
            None
        }
    }

    /// What is given is said, and nothing of the rest.
    pub fn given(demographics: Demographics) -> Self {
        let silent = PARTS.into_iter().filter(|part| is_empty(&demographics, *part));
        let is_timeless = demographics.deceased && demographics.deceased_at.is_empty();
        let keeps = silent.chain(is_timeless.then_some(Part::DeceasedAt)).collect();
        Self { demographics, keeps }
    }

    /// Whether it says anything of a part: names may be given and others kept.
    pub fn says(&self, part: Part) -> bool {
        !self.keeps.contains(&part) || !is_empty(&self.demographics, part)
    }

    pub fn says_of_death(&self) -> bool {
        self.demographics.deceased || self.demographics.not_deceased
    }

    pub fn says_nothing(&self) -> bool {
        !self.says_of_death() && !PARTS.into_iter().any(|part| self.says(part))
    }

    /// What it says of a part, in one form for all parts.
    pub fn value(&self, part: Part) -> Demographics {
        value(&self.demographics, part)
    }

    /// Says nothing of a part.
    pub fn keep(&mut self, part: Part) {
        self.take_back(part);
        self.keeps.push(part);
    }

    /// Says that a part is not known.
    pub fn take_back(&mut self, part: Part) {
        copy(part, &Demographics::default(), &mut self.demographics);
        self.keeps.retain(|kept| *kept != part);
    }

    /// What is known once this is said as well. Of a death, what this says alone.
    fn after(&self, known: &Demographics) -> Demographics {
        let mut now = self.demographics.clone();
        for part in &self.keeps {
            if *part == Part::Names {
                now.names = names(&known.names, &self.demographics.names);
            } else if *part != Part::DeceasedAt {
                copy(*part, known, &mut now);
            }
        }
        now
    }
}

impl From<Update> for DemographicsUpdated {
    fn from(update: Update) -> Self {
        let keeps = update.keeps.into_iter().map(i32::from).collect();
        Self { demographics: Some(update.demographics), keeps }
    }
}

/// Who a person is, as was said, each after the others; and whether they died, as was said of that.
pub fn known<'a>(
    said: impl Iterator<Item = &'a Update>,
    of_death: impl Iterator<Item = &'a Update>,
) -> Demographics {
    let now = said.fold(Demographics::default(), |known, update| update.after(&known));
    of_death.fold(now, |mut now, Update { demographics, keeps }| {
        now.deceased = !demographics.not_deceased;
        if demographics.not_deceased || !keeps.contains(&Part::DeceasedAt) {
            now.deceased_at.clone_from(&demographics.deceased_at);
        }
        now
    })
}

/// Those that are said, and those that are known in scripts in which none is said. Of a name that
/// is known without its script nobody can tell whether it is said in another.
fn names(known: &[HumanName], said: &[HumanName]) -> Vec<HumanName> {
    let is_other = |name: &&HumanName| {
        said.is_empty()
            || (name.script() != NameScript::Unspecified
                && !said.iter().any(|one| one.script == name.script))
    };
    said.iter().chain(known.iter().filter(is_other)).cloned().collect()
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
        Part::Unspecified => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Address, Sex};

    fn named(script: NameScript, family: &str) -> HumanName {
        HumanName { script: script.into(), family: family.to_owned(), ..HumanName::default() }
    }

    fn whole(demographics: Demographics) -> Update {
        Update { demographics, keeps: Vec::new() }
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
        known([&person(), update].into_iter(), [].into_iter())
    }

    #[test]
    fn what_is_kept_stays_and_what_is_neither_said_nor_kept_goes() {
        assert_eq!(after_person(&whole(Demographics::default())), Demographics::default());
        assert_eq!(after_person(&Update::given(Demographics::default())), person().demographics);
        let keeps = vec![Part::Birth, Part::Address];
        let now = after_person(&Update { demographics: Demographics::default(), keeps });
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
            let update = Update { demographics: said, keeps: vec![Part::Names] };
            let now = known([&whole(before), &update].into_iter(), [].into_iter());
            now.names.into_iter().map(|name| name.family).collect::<Vec<_>>()
        };
        assert_eq!(families(Ideographic, Ideographic), ["佐藤", "コバヤシ"]);
        assert_eq!(families(Unspecified, Ideographic), ["佐藤", "コバヤシ"], "it may be the same");
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
            let now = known([].into_iter(), of_death.iter());
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
