//! What all records of one person say of addresses that must not leave them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tsunagi_domain::{EventId, PatientId};

use super::{Confidential, Membership, Word};
use crate::port::Placed;

/// Records of one person that are looked at. Of a person who has more, no address is given out.
const RECORDS_MAX: usize = 256;

/// How often it is followed that an error was said to be one in error, and so on. What was taken
/// back more often than that counts as an error.
const ERRORS_MAX: usize = 64;

/// What all records of one person say, and those of which they were part once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The record that is asked for; none as long as nothing is known that any record says.
    of: Option<PatientId>,
    words: BTreeMap<PatientId, Word>,
}

impl Person {
    /// The next record whose word is needed.
    pub fn wanted(&self) -> Option<PatientId> {
        if self.is_too_many() {
            return None;
        }
        let records = self.records();
        // Of those of which they were part, only what was said in them then.
        let above = |word: &Word| word.above().map(|above| above.survivor).collect();
        let above = self.reached(records.iter().copied().collect(), above);
        records.union(&above).find(|record| !self.words.contains_key(record)).copied()
    }

    /// Adds the word of a record: first that of the one that is asked for.
    pub fn add(&mut self, patient: PatientId, word: Word) {
        self.of.get_or_insert(patient);
        self.words.insert(patient, word);
    }

    /// Forgets the words of all records but one.
    pub fn keep_only(&mut self, one: Option<PatientId>) {
        self.words.retain(|patient, _| Some(*patient) == one);
    }

    /// Whether an open address is withheld that was told in the record of `told_in`, as of
    /// `said_at`. That of a record which is not the person's any more is.
    pub fn withholds(&self, told_in: PatientId, placed: Placed, said_at: Timestamp) -> bool {
        let records = self.records();
        self.is_too_many()
            || self.of.is_some() && !records.contains(&told_in)
            || records.into_iter().any(|patient| {
                self.confidential(patient).is_some_and(|confidential| {
                    let is_told_after = if patient == told_in {
                        placed.version > confidential.version
                    } else {
                        let joined = self.joined(told_in, patient);
                        joined.is_some_and(|joined| placed.version > joined)
                            && placed.recorded_at > confidential.told_at
                    };
                    !is_told_after || said_at < confidential.said_at
                })
            })
    }

    /// Whether an event was entered in error, as any of the records says, or moved to whose it is.
    pub fn is_in_error(&self, event: EventId) -> bool {
        let (own, all) = (self.records(), self.words.keys().copied().collect());
        self.error(event, ERRORS_MAX, [&all, &own]).unwrap_or(true)
    }

    /// Whether any record says that the address is confidential, or ever said so.
    pub(super) fn is_protected(&self) -> bool {
        self.is_too_many()
            || self.records().into_iter().any(|record| self.confidential(record).is_some())
    }

    /// What was said while a record was part of others, since it is its own again: as if it had been
    /// told in it when they were taken apart.
    pub(super) fn taken_along(&self, patient: PatientId) -> Option<Confidential> {
        let former = self.words.get(&patient)?.former.iter();
        let always = (Timestamp::MIN, Timestamp::MAX);
        let taken = former.filter_map(|of| {
            let said_at = self.said_meanwhile(of, always, RECORDS_MAX)?;
            Some(Confidential { said_at, told_at: of.until, version: of.version })
        });
        taken.reduce(Confidential::or_later)
    }

    /// As of when it was said last, of what was told within a time in a record of which another is
    /// part, or in those of which that is part.
    fn said_meanwhile(
        &self,
        of: &Membership,
        (from, to): (Timestamp, Timestamp),
        depth: usize,
    ) -> Option<Timestamp> {
        let (depth, word) = (depth.checked_sub(1)?, self.words.get(&of.survivor)?);
        let told = word.meanwhile.get(&of.merge).into_iter().flatten();
        let told = told.filter(|said| from <= said.told_at && said.told_at <= to);
        let within = (from.max(of.since), to.min(of.until));
        let above = word.above().filter_map(|of| self.said_meanwhile(of, within, depth));
        told.map(|said| said.said_at).chain(above).max()
    }

    fn confidential(&self, patient: PatientId) -> Option<Confidential> {
        let own = self.words.get(&patient).and_then(|word| word.confidential);
        own.into_iter().chain(self.taken_along(patient)).reduce(Confidential::or_later)
    }

    /// None if nobody can say. That the event is an error, is what any of the records says; that this
    /// is one itself, those that are still the person's: what a record took back that is none of them
    /// any more, is an error again in its own.
    fn error(
        &self,
        event: EventId,
        depth: usize,
        [says_so, denies]: [&BTreeSet<PatientId>; 2],
    ) -> Option<bool> {
        let depth = depth.checked_sub(1)?;
        let words = says_so.iter().filter_map(|record| self.words.get(record));
        let mut is_in_error = false;
        for by in words.filter_map(|word| word.errors.get(&event)).flatten() {
            is_in_error |= !self.error(*by, depth, [denies, says_so])?;
        }
        Some(is_in_error)
    }

    fn is_too_many(&self) -> bool {
        self.words.len() >= RECORDS_MAX
    }

    /// The records that are the person's, whether or not their words are known.
    fn records(&self) -> BTreeSet<PatientId> {
        self.reached(self.of.into_iter().collect(), |word| word.others().collect())
    }

    /// The records to which these lead, and they.
    fn reached(
        &self,
        from: Vec<PatientId>,
        next: impl Fn(&Word) -> Vec<PatientId>,
    ) -> BTreeSet<PatientId> {
        let (mut left, mut reached) = (from, BTreeSet::new());
        while let Some(record) = left.pop() {
            if reached.insert(record) {
                left.extend(self.words.get(&record).map(&next).unwrap_or_default());
            }
        }
        reached
    }

    /// By which of a record's events another became part of it.
    fn joined(&self, record: PatientId, other: PatientId) -> Option<u64> {
        let mut part = other;
        for _ in 0..self.words.len() {
            let survivor = self.words.get(&part)?.survivor?.survivor;
            if survivor == record {
                return Some(self.words.get(&record)?.merged.get(&part)?.version);
            }
            part = survivor;
        }
        None
    }
}
