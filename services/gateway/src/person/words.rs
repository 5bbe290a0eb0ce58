//! What was said of a person so far: which word holds of each part, and whose it is.

use tsunagi_bus::address;
use tsunagi_domain::identity::Patient;
use tsunagi_domain::{CareTime, EventId};
use tsunagi_proto::demographics::{PARTS, Update};
use tsunagi_proto::v1::{self, DemographicsPart as Part};

/// What one event says of who the person is.
#[derive(Debug, Clone)]
pub struct Word {
    pub update: Update,
    /// When it was said.
    pub at: CareTime,
    /// Whether it is the word of whoever speaks now.
    pub is_own: bool,
}

/// What was said of a person.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// In the order in which it holds.
    standing: Vec<Word>,
    /// Of those, what says whether the person died, from the last that says that they did not.
    of_death: Vec<Word>,
    in_error: Vec<Word>,
    /// Whether whoever speaks now says all that they know each time: what they leave out, they take
    /// back.
    are_whole: bool,
}

impl Words {
    /// The words of a patient's events.
    pub fn of(
        patient: &Patient,
        word: impl Fn(EventId) -> Option<Word>,
        in_error: Vec<Word>,
        are_whole: bool,
    ) -> Self {
        let standing = patient.said_by().filter_map(&word).collect();
        let of_death = patient.death_said_by().filter_map(&word).collect();
        Self { standing, of_death, in_error, are_whole }
    }

    /// Also those that were entered in error: who hears them again hears nothing new.
    fn all(&self) -> impl Iterator<Item = &Word> {
        self.standing.iter().chain(&self.in_error)
    }

    /// The words on a part, the last first.
    fn on(&self, part: Part) -> impl Iterator<Item = &Word> {
        self.standing.iter().rev().filter(move |word| word.update.says(part))
    }

    /// Whether whoever speaks now has not spoken before, and will say all each time.
    pub(super) fn is_first(&self) -> bool {
        self.are_whole && !self.all().any(|word| word.is_own)
    }

    /// Whether more was said of a part after this was written; or left out, by whoever speaks now
    /// and says all that they know each time.
    pub(super) fn are_after(&self, part: Part, written: Option<CareTime>) -> bool {
        let own = self.standing.iter().filter(|word| self.are_whole && word.is_own);
        let mut all = self.on(part).chain(own);
        written.is_some_and(|written| all.any(|word| written.is_before(&word.at)))
    }

    pub(super) fn are_after_death(&self, written: Option<CareTime>) -> bool {
        let is_after =
            |written: CareTime| self.of_death.iter().any(|word| written.is_before(&word.at));
        written.is_some_and(is_after)
    }

    /// Whether whoever speaks now said the same of a part before, and nothing else since, unless it
    /// was an error.
    pub(super) fn was_own_last(&self, part: Part, said: &Update) -> bool {
        let is_it = |word: &Word| word.update.value(part) == said.value(part);
        self.on(part).find(|word| word.is_own).is_some_and(is_it)
            || self.was_own_error(part, said, None)
    }

    /// Whether whoever speaks now has said all of this of a part.
    pub(super) fn have_own(&self, part: Part, said: &Update) -> bool {
        self.on(part).any(|word| word.is_own && said.is_all_in(&word.update.demographics, part))
    }

    /// Whether it was an error of whoever speaks now, not said before it was written. Of an address
    /// that is withheld nobody can tell that it was another.
    pub(super) fn was_own_error(
        &self,
        part: Part,
        said: &Update,
        written: Option<CareTime>,
    ) -> bool {
        let withheld = Some(address::withheld());
        self.in_error.iter().filter(|word| word.is_own && word.update.says(part)).any(|word| {
            let is_it = word.update.value(part) == said.value(part)
                || (part == Part::Address && word.update.demographics.address == withheld);
            is_it && written.is_none_or(|written| !word.at.is_before(&written))
        })
    }

    /// The same of whether the person died.
    pub(super) fn was_own_last_of_death(&self, said: &Update) -> bool {
        let is_own = |word: &&Word| word.is_own && word.update.says_of_death();
        let is_it = |word: &Word| word.update.demographics.deceased == said.demographics.deceased;
        said.says_of_death()
            && (self.standing.iter().rfind(is_own).is_some_and(is_it)
                || self.in_error.iter().filter(is_own).any(is_it))
    }

    /// What whoever speaks now, and says all that they know each time, said last of a part.
    fn own_last(&self, part: Part) -> Option<v1::Demographics> {
        let is_on = |word: &&Word| {
            word.is_own && (word.update.says(part) || word.update.withdraws.contains(&part))
        };
        let own = self.standing.iter().rfind(is_on).filter(|_| self.are_whole);
        own.map(|own| own.update.value(part))
    }

    /// Whether they said a name before in a script in which they say none now.
    pub(super) fn have_left_out_a_name(&self, said: &Update) -> bool {
        let now = &said.demographics.names;
        let before = self.own_last(Part::Names).unwrap_or_default().names;
        before.iter().any(|before| now.iter().all(|name| name.script != before.script))
    }

    /// What silence takes back: what its sender has said before. Nobody is left without a name.
    pub(crate) fn left_out(&self, mut said: Update) -> Update {
        for part in PARTS.into_iter().filter(|part| *part != Part::Names) {
            let before = self.own_last(part).unwrap_or_default();
            if !said.says(part) && before != v1::Demographics::default() {
                said.withdraw(part);
            }
        }
        said
    }

    /// Whether whoever speaks now may take back the death that holds: they told of it first.
    pub(crate) fn is_own_death(&self) -> bool {
        let first = self.of_death.iter().find(|word| word.update.demographics.deceased);
        self.are_whole && first.is_some_and(|word| word.is_own)
    }

    /// Whether this was written after all that was said.
    pub(crate) fn are_before(&self, written: Option<CareTime>) -> bool {
        written.is_some_and(|written| self.all().all(|word| word.at.is_before(&written)))
    }

    /// Whether whoever speaks now has said all of this before in one word, of somebody of whom so much
    /// is known. That an address is confidential may have become known since.
    pub(super) fn have_said(&self, said: &Update, known: &v1::Demographics) -> bool {
        let now = &said.demographics;
        self.all().filter(|word| word.is_own).any(|word| {
            let before = &word.update.demographics;
            let told_death = !now.deceased
                || (before.deceased
                    && (now.deceased_at.is_empty() || now.deceased_at == before.deceased_at));
            // Of the living, nobody's word that they are is written down.
            let told_life = !now.not_deceased || !known.deceased || before.not_deceased;
            let mut parts = PARTS.into_iter().filter(|part| said.says(*part));
            told_death && told_life && parts.all(|part| has_said(&word.update, said, part))
        })
    }
}

fn has_said(before: &Update, now: &Update, part: Part) -> bool {
    let openly = |of: &Update| {
        let mut value = of.value(part);
        value.address.iter_mut().for_each(|address| address.confidential = false);
        value
    };
    // Who took all numbers back has taken back each half.
    let half = before.kept_half_of_contacts();
    let is_of_half =
        part != Part::Contacts || half.is_none() || half == now.kept_half_of_contacts();
    before.says(part) && is_of_half && openly(before) == openly(now)
}
