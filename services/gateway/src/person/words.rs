//! What was said of a person so far: which word holds of each part, and whose it is.

use tsunagi_domain::identity::Patient;
use tsunagi_domain::{CareTime, EventId};
use tsunagi_proto::v1::{self, DemographicsPart as Part};

use super::{Said, is_empty, value};

/// What one event says of who the person is.
#[derive(Debug, Clone)]
pub struct Word {
    pub said: Said,
    /// When it was said.
    pub at: CareTime,
    /// Whether it is the word of whoever speaks now.
    pub is_own: bool,
}

/// What was said of a person, in the order in which it holds.
#[derive(Debug, Clone, Default)]
pub struct Words {
    all: Vec<Word>,
    /// Those that say whether the person died.
    of_death: Vec<Word>,
    /// Whether whoever speaks now says all that they know each time: what they leave out, they take
    /// back.
    are_whole: bool,
}

impl Words {
    /// The words of a patient's events.
    pub fn of(patient: &Patient, word: impl Fn(EventId) -> Option<Word>, are_whole: bool) -> Self {
        Self {
            all: patient.said_by().filter_map(&word).collect(),
            of_death: patient.death_said_by().filter_map(&word).collect(),
            are_whole,
        }
    }

    #[cfg(test)]
    pub(super) fn in_order(words: Vec<Word>, are_whole: bool) -> Self {
        let says = |said: &v1::Demographics| said.deceased || said.not_deceased;
        let of_death = words.iter().filter(|word| says(&word.said.demographics)).cloned().collect();
        Self { all: words, of_death, are_whole }
    }

    /// The words on a part, the last first.
    fn on(&self, part: Part) -> impl Iterator<Item = &Word> {
        self.all.iter().rev().filter(move |word| word.said.says(part))
    }

    /// Whether whoever speaks now has not spoken before, and will say all each time.
    pub(super) fn is_first(&self) -> bool {
        let all = self.all.iter().chain(&self.of_death);
        self.are_whole && !all.into_iter().any(|word| word.is_own)
    }

    /// Whether more was said of a part after this was written.
    pub(super) fn is_overtaken(&self, part: Part, written: Option<CareTime>) -> bool {
        let last = self.on(part).next();
        last.zip(written).is_some_and(|(last, written)| written.is_before(&last.at))
    }

    pub(super) fn is_death_overtaken(&self, written: Option<CareTime>) -> bool {
        let last = self.of_death.last();
        last.zip(written).is_some_and(|(last, written)| written.is_before(&last.at))
    }

    /// Whether whoever speaks now said the same of a part before, and nothing else since.
    pub(super) fn was_own_last(&self, part: Part, said: &Said) -> bool {
        let own = self.on(part).find(|word| word.is_own);
        own.is_some_and(|own| {
            value(&own.said.demographics, part) == value(&said.demographics, part)
        })
    }

    /// Whether what holds of a part was said by whoever speaks now, and nobody else has said it.
    pub(super) fn are_own_alone(&self, part: Part) -> bool {
        let mut on = self.on(part).peekable();
        let Some(last) = on.peek().map(|word| value(&word.said.demographics, part)) else {
            return false;
        };
        self.are_whole
            && on
                .take_while(|word| value(&word.said.demographics, part) == last)
                .all(|word| word.is_own)
    }

    /// What silence takes back: what its sender alone has said before.
    pub(crate) fn left_out(&self, mut said: Said, known: &v1::Demographics) -> Said {
        let parts = [Part::Birth, Part::Sex, Part::Address, Part::Contacts];
        for part in parts {
            if !said.says(part) && self.are_own_alone(part) && !is_empty(known, part) {
                said.take_back(part);
            }
        }
        said
    }

    /// Whether it was whoever speaks now who told first of the death that holds.
    pub(crate) fn is_own_death(&self) -> bool {
        let mut died = self.of_death.iter().filter(|word| !word.said.demographics.not_deceased);
        died.next().is_some_and(|word| word.is_own)
    }

    /// Whether this was written after all that was said.
    pub(crate) fn are_before(&self, written: Option<CareTime>) -> bool {
        let is_before = |word: &Word| written.is_some_and(|written| word.at.is_before(&written));
        self.all.last().is_none_or(is_before)
    }

    /// Whether all of this was said before in one word, by anybody, of somebody of whom so much is
    /// known.
    pub(crate) fn have_said(&self, said: &Said, known: &v1::Demographics) -> bool {
        self.all.iter().chain(&self.of_death).any(|word| {
            let before = &word.said.demographics;
            let now = &said.demographics;
            let is_said =
                |part: Part| word.said.says(part) && value(before, part) == value(now, part);
            let told_death = !now.deceased
                || (before.deceased
                    && (now.deceased_at.is_empty() || now.deceased_at == before.deceased_at));
            // Of the living, nobody's word that they are is written down.
            let told_life = !now.not_deceased || !known.deceased || before.not_deceased;
            told_death
                && told_life
                && super::PARTS.into_iter().filter(|part| said.says(*part)).all(is_said)
        })
    }
}
