//! Who a patient is: registered once, found by identifiers that are the patient's alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::id::{EventId, OrganisationId, PatientId};
use crate::pairs::commands_and_events;
use crate::record::{Stamp, Turn};
use crate::time::CareTime;

/// A number that somebody issued, unique together with its system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    pub system: Box<str>,
    pub value: Box<str>,
}

/// The parts of a person's demographics that rules look at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demographics {
    pub birth_on: Option<CareTime>,
    pub deceased_at: Option<CareTime>,
    /// Also if it is not known when.
    pub deceased: bool,
    /// The person did not die, whatever was said before. Silence does not say so.
    pub not_deceased: bool,
    pub keeps: Keeps,
}

/// What demographics say nothing of, and leave as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeps {
    pub birth: bool,
    /// When the person died, if they say that it was so.
    pub deceased_at: bool,
    /// Of the birth, what the same organisation said before does not hold any more.
    pub withdraws_birth: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    pub identifiers: Vec<Identifier>,
    pub demographics: Demographics,
}

commands_and_events! {
    Register => Registered(Registration),
    LinkIdentifier => IdentifierLinked(Identifier),
    UpdateDemographics => DemographicsUpdated(Demographics),
    RecordDeath => DeathRecorded(Death),
    /// Somebody who does not say who they are is listened to all the same.
    OpenAnonymous => AnonymousOpened(()),
    Merge => Merged(Merge),
    Unmerge => Unmerged(Merge),
    Retire => Retired(Retirement),
    Restore => Restored(Retirement),
    /// A merge of which the other record knows already did not come about.
    AbandonMerge => MergeAbandoned(Merge),
}

impl Event {
    /// Whether records are one with it, or are no more.
    pub fn is_of_merge(&self) -> bool {
        match self {
            Self::Merged(_)
            | Self::Retired(_)
            | Self::Unmerged(_)
            | Self::Restored(_)
            | Self::MergeAbandoned(_) => true,
            Self::Registered(_)
            | Self::AnonymousOpened(())
            | Self::IdentifierLinked(_)
            | Self::DemographicsUpdated(_)
            | Self::DeathRecorded(_) => false,
        }
    }

    pub(crate) fn turn(&self) -> Turn {
        match self {
            Self::Registered(_) | Self::AnonymousOpened(()) => Turn::Registered,
            Self::IdentifierLinked(_) | Self::DemographicsUpdated(_) => Turn::Known,
            Self::DeathRecorded(_) => Turn::Underway,
            Self::Merged(_) | Self::Retired(_) => Turn::TakenBack,
            Self::Unmerged(_) | Self::Restored(_) | Self::MergeAbandoned(_) => Turn::Corrected,
        }
    }
}

/// When somebody died, if that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Death {
    pub at: Option<CareTime>,
}

/// The other record of the same person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    pub retired: PatientId,
}

/// The record with which this one was merged, and the event that says so there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retirement {
    pub survivor: PatientId,
    pub merge: EventId,
}

/// Why a command about a patient's identity is refused. That an identifier belongs to somebody
/// else is found when it is claimed, before this is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the patient is not registered: register the patient first, or check the patient id")]
    Unknown,
    #[error(
        "the patient is registered already: to change what is known, update the demographics or link an identifier"
    )]
    AlreadyRegistered,
    #[error(
        "this record was merged into patient {0}: use that patient, or take the merge back first"
    )]
    Retired(PatientId),
    #[error("the other record is merged into this one already")]
    AlreadyMerged,
    #[error("the other record is not merged into this one: check `retired_patient_id`")]
    NotMerged,
    #[error(
        "the other record ends a chain of {0} records that were merged one into the next: merge this record into that one instead"
    )]
    MergesTooDeep(usize),
    #[error("the identifier is linked to this patient already")]
    AlreadyLinked,
    #[error(
        "the patient died before that: if this is wrong, mark the death as entered in error, or cancel the discharge that tells of it, and say this again"
    )]
    Deceased,
    #[error("the date of birth lies after the event: check `birth_on` and `occurred_at`")]
    BornAfterEvent,
    #[error("the date of death lies in the future: check `deceased_at`")]
    DiesInFuture,
    #[error("the date of death lies before the date of birth: check `deceased_at` and `birth_on`")]
    DiedBeforeBirth,
}

/// What holds of what one record says of the person.
#[derive(Debug, Clone, Default, PartialEq)]
struct Said {
    all: Words,
    /// What says whether the person died, from the last that says that they did not: the others take
    /// no death back.
    of_death: Words,
}

/// What was said, in the order in which it holds: each leaves what it says nothing of as it was.
#[derive(Debug, Clone, Default, PartialEq)]
struct Words(Vec<Word>);

/// Demographics, as somebody said them.
#[derive(Debug, Clone, PartialEq)]
struct Word {
    by: EventId,
    acting_for: OrganisationId,
    demographics: Demographics,
    /// As of when they are: who is dead by them had died by then.
    as_of: CareTime,
    /// When they were said, if a person said them: what was said later holds, however theirs came;
    /// of what people said at the same time, an update holds, and that with the last id.
    at: Option<(Timestamp, bool, EventId)>,
}

impl Said {
    fn hear(&mut self, stamp: &Stamp, demographics: &Demographics, is_update: bool) {
        self.all.hear(stamp, demographics, is_update);
        if demographics.is_deceased() || demographics.not_deceased {
            self.of_death.hear(stamp, demographics, is_update);
            let lives = self.of_death.0.iter().rposition(|word| word.demographics.not_deceased);
            self.of_death.0.drain(..lives.unwrap_or(0));
        }
    }

    fn birth_on(&self) -> Option<CareTime> {
        let mut withdrawn = BTreeSet::new();
        for word in self.all.0.iter().rev() {
            let Demographics { keeps, birth_on, .. } = word.demographics;
            if keeps.withdraws_birth {
                withdrawn.insert(&word.acting_for);
            } else if !keeps.birth && !withdrawn.contains(&word.acting_for) {
                return birth_on;
            }
        }
        None
    }

    /// What was said of the death that holds, the last first. Nothing, if nobody died.
    fn deaths(&self) -> impl Iterator<Item = &Word> {
        self.of_death.0.iter().rev().take_while(|word| word.demographics.is_deceased())
    }

    /// When the patient died, as far as that was said.
    fn deceased_at(&self) -> Option<CareTime> {
        let at = self.deaths().find(|word| !word.demographics.keeps.deceased_at);
        at.and_then(|word| word.demographics.deceased_at)
    }

    /// When the patient had died at the latest, by this: who does not know when knows that it was.
    fn dead_by(&self) -> Option<CareTime> {
        let known = || self.deaths().map(|word| word.as_of);
        self.deceased_at().or_else(|| known().min_by_key(|at| (at.latest(), at.earliest())))
    }

    fn is_deceased(&self) -> bool {
        self.deaths().next().is_some()
    }

    /// Refuses an update that contradicts itself, or what it keeps.
    fn check(&self, stamp: &Stamp, update: &Demographics) -> Result<(), Refusal> {
        update.check_birth(stamp)?;
        let Keeps { birth, deceased_at, withdraws_birth } = update.keeps;
        let birth_on = if birth || withdraws_birth { self.birth_on() } else { update.birth_on };
        let deceased_at = if deceased_at { self.deceased_at() } else { update.deceased_at };
        check_life(birth_on, deceased_at)
    }
}

impl Words {
    /// What a program says is what its system knows when it says so, however old that is there.
    fn hear(&mut self, stamp: &Stamp, demographics: &Demographics, is_update: bool) {
        let at = (stamp.occurred_at.earliest(), is_update, stamp.event);
        let is_later = |word: &&Word| match word.at {
            Some(said_at) => at < said_at,
            None => stamp.occurred_at.is_before(&word.as_of),
        };
        let later = self.0.iter().rev().take_while(|word| !stamp.by_program && is_later(word));
        let later = later.count();
        let word = Word {
            by: stamp.event,
            acting_for: stamp.acting_for.clone(),
            demographics: demographics.clone(),
            as_of: stamp.occurred_at,
            at: (!stamp.by_program).then_some(at),
        };
        self.0.insert(self.0.len() - later, word);
    }

    fn by(&self) -> impl Iterator<Item = EventId> {
        self.0.iter().map(|word| word.by)
    }
}

/// The state of a patient's identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patient {
    is_registered: bool,
    is_anonymous: bool,
    identifiers: BTreeSet<Identifier>,
    said: Said,
    /// What the records say of the person that were merged into this one. Who the person is, this
    /// record says; that somebody died, each of them.
    said_elsewhere: BTreeMap<PatientId, Said>,
    is_dead: bool,
    /// When the patient had died at the latest, as an event of its own says.
    dead_by: Option<CareTime>,
    /// The records that were merged into this one, and the events that did it.
    merged: BTreeMap<PatientId, EventId>,
    /// The record into which this one was merged.
    retired_into: Option<Retirement>,
}

impl Patient {
    /// The event that `command` causes now, or why it causes none.
    pub fn decide(&self, stamp: &Stamp, command: Command) -> Result<Event, Refusal> {
        match &command {
            Command::Register(_) | Command::OpenAnonymous(()) if self.is_known() => {
                Err(Refusal::AlreadyRegistered)
            }
            Command::Register(registration) => registration.demographics.check(stamp),
            Command::LinkIdentifier(_)
            | Command::UpdateDemographics(_)
            | Command::RecordDeath(_)
            | Command::Merge(_)
            | Command::Unmerge(_)
            | Command::Retire(_)
            | Command::Restore(_)
            | Command::AbandonMerge(_)
                if !self.is_known() =>
            {
                Err(Refusal::Unknown)
            }
            Command::LinkIdentifier(identifier) if self.identifiers.contains(identifier) => {
                Err(Refusal::AlreadyLinked)
            }
            Command::UpdateDemographics(update) => self.said.check(stamp, update),
            Command::RecordDeath(Death { at }) => check_life(self.said.birth_on(), *at),
            Command::Merge(Merge { retired }) if self.merged.contains_key(retired) => {
                Err(Refusal::AlreadyMerged)
            }
            Command::Unmerge(Merge { retired }) if !self.merged.contains_key(retired) => {
                Err(Refusal::NotMerged)
            }
            Command::Retire(_) => self.not_retired(),
            Command::Restore(retirement) if self.retired_into != Some(*retirement) => {
                Err(Refusal::NotMerged)
            }
            Command::OpenAnonymous(())
            | Command::LinkIdentifier(_)
            | Command::Merge(_)
            | Command::Unmerge(_)
            | Command::Restore(_)
            | Command::AbandonMerge(_) => Ok(()),
        }?;
        Ok(command.into())
    }

    pub fn apply(&mut self, stamp: &Stamp, event: &Event) {
        match event {
            Event::Registered(registration) => {
                self.is_registered = true;
                self.identifiers.extend(registration.identifiers.iter().cloned());
                self.said.hear(stamp, &registration.demographics, false);
            }
            Event::AnonymousOpened(()) => self.is_anonymous = true,
            Event::IdentifierLinked(identifier) => {
                self.identifiers.insert(identifier.clone());
            }
            Event::DemographicsUpdated(demographics) => {
                self.said.hear(stamp, demographics, true);
            }
            Event::DeathRecorded(death) => {
                self.is_dead = true;
                self.dead_by(death.at.unwrap_or(stamp.occurred_at));
            }
            Event::Merged(Merge { retired }) => {
                self.merged.insert(*retired, stamp.event);
            }
            Event::Unmerged(Merge { retired }) => {
                self.merged.remove(retired);
            }
            Event::Retired(retirement) => self.retired_into = Some(*retirement),
            Event::Restored(_) => self.retired_into = None,
            Event::MergeAbandoned(_) => {}
        }
    }

    /// Takes over the numbers and the death of a record that was merged into this one. Who the
    /// person is, this record says.
    pub(crate) fn absorb(&mut self, retired: PatientId, stamp: &Stamp, event: &Event) {
        let mut hear = |demographics: &Demographics, is_update| {
            let elsewhere = self.said_elsewhere.entry(retired).or_default();
            elsewhere.hear(stamp, demographics, is_update);
        };
        match event {
            Event::Registered(registration) => {
                hear(&registration.demographics, false);
                // Somebody knows now who it is.
                self.is_registered = true;
                self.identifiers.extend(registration.identifiers.iter().cloned());
            }
            Event::IdentifierLinked(identifier) => {
                self.identifiers.insert(identifier.clone());
            }
            Event::DeathRecorded(death) => {
                self.is_dead = true;
                self.dead_by(death.at.unwrap_or(stamp.occurred_at));
            }
            Event::DemographicsUpdated(demographics) => hear(demographics, true),
            Event::AnonymousOpened(())
            | Event::Merged(_)
            | Event::Unmerged(_)
            | Event::Retired(_)
            | Event::Restored(_)
            | Event::MergeAbandoned(_) => {}
        }
    }

    /// Refuses whatever is said of a record that was merged into another.
    pub(crate) fn not_retired(&self) -> Result<(), Refusal> {
        match self.retired_into {
            Some(into) => Err(Refusal::Retired(into.survivor)),
            None => Ok(()),
        }
    }

    /// Whether there is such a patient, by name or as somebody unknown.
    pub fn is_known(&self) -> bool {
        self.is_registered || self.is_anonymous
    }

    pub fn is_anonymous(&self) -> bool {
        self.is_anonymous && !self.is_registered
    }

    /// The record into which this one was merged.
    pub fn retired_into(&self) -> Option<PatientId> {
        self.retired_into.map(|into| into.survivor)
    }

    /// The record into which this one was merged, and the merge.
    pub fn retirement(&self) -> Option<Retirement> {
        self.retired_into
    }

    /// The merge by which another record belongs to this one.
    pub fn merge_of(&self, retired: PatientId) -> Option<EventId> {
        self.merged.get(&retired).copied()
    }

    /// The merge by which this record was retired.
    pub fn retired_by(&self) -> Option<EventId> {
        self.retired_into.map(|into| into.merge)
    }

    /// The records that were merged into this one, and the events that did it.
    pub fn merged(&self) -> impl Iterator<Item = (PatientId, EventId)> {
        self.merged.iter().map(|(retired, merge)| (*retired, *merge))
    }

    pub fn is_registered(&self) -> bool {
        self.is_registered
    }

    pub fn has_identifier(&self, identifier: &Identifier) -> bool {
        self.identifiers.contains(identifier)
    }

    pub fn identifiers(&self) -> impl Iterator<Item = &Identifier> {
        self.identifiers.iter()
    }

    /// The events that say who the person is, in the order in which they hold: each leaves what it
    /// says nothing of as it was.
    pub fn said_by(&self) -> impl Iterator<Item = EventId> {
        self.said.all.by()
    }

    /// The events whose demographics say whether the person died, in the order in which they hold.
    /// Others are silent on it, and some of these on when.
    pub fn death_said_by(&self) -> impl Iterator<Item = EventId> {
        self.said.of_death.by()
    }

    /// Both of each record that was merged into this one.
    pub fn said_elsewhere(
        &self,
    ) -> impl Iterator<Item = (impl Iterator<Item = EventId>, impl Iterator<Item = EventId>)> {
        self.said_elsewhere.values().map(|said| (said.all.by(), said.of_death.by()))
    }

    pub fn birth_on(&self) -> Option<CareTime> {
        self.said.birth_on()
    }

    /// Of several, the earliest holds, however they came.
    fn dead_by(&mut self, at: CareTime) {
        let place = |of: &CareTime| (of.latest(), of.earliest());
        if self.dead_by.is_none_or(|before| place(&at) < place(&before)) {
            self.dead_by = Some(at);
        }
    }

    /// Whether the patient was certainly dead before that.
    pub(crate) fn died_before(&self, at: CareTime) -> bool {
        let said = self.all_said().filter_map(Said::dead_by);
        self.dead_by.into_iter().chain(said).any(|death| death.is_before(&at))
    }

    fn all_said(&self) -> impl Iterator<Item = &Said> {
        std::iter::once(&self.said).chain(self.said_elsewhere.values())
    }

    pub fn is_deceased(&self) -> bool {
        self.is_dead || self.all_said().any(Said::is_deceased)
    }
}

impl Demographics {
    fn is_deceased(&self) -> bool {
        self.deceased || self.deceased_at.is_some()
    }

    fn check(&self, stamp: &Stamp) -> Result<(), Refusal> {
        self.check_birth(stamp)?;
        check_life(self.birth_on, self.deceased_at)
    }

    fn check_birth(&self, stamp: &Stamp) -> Result<(), Refusal> {
        match self.birth_on {
            Some(birth) if stamp.occurred_at.is_before(&birth) => Err(Refusal::BornAfterEvent),
            Some(_) | None => Ok(()),
        }
    }
}

fn check_life(birth_on: Option<CareTime>, deceased_at: Option<CareTime>) -> Result<(), Refusal> {
    match (birth_on, deceased_at) {
        (Some(birth), Some(death)) if death.is_before(&birth) => Err(Refusal::DiedBeforeBirth),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{stamp, time};

    fn identifier(value: &str) -> Identifier {
        Identifier { system: "urn:oid:1.2".into(), value: value.into() }
    }

    fn registration() -> Registration {
        Registration { identifiers: vec![identifier("1")], demographics: Demographics::default() }
    }

    fn given(events: &[Event]) -> Patient {
        let mut patient = Patient::default();
        for event in events {
            patient.apply(&stamp(1, "2026-04-01"), event);
        }
        patient
    }

    #[test]
    fn a_person_is_registered_once() {
        let registered = Event::Registered(registration());
        let command = Command::Register(registration());
        let at = stamp(1, "2026-05-01");
        assert_eq!(given(&[]).decide(&at, command.clone()), Ok(registered.clone()));
        assert_eq!(given(&[registered]).decide(&at, command), Err(Refusal::AlreadyRegistered));
    }

    #[test]
    fn nothing_is_linked_to_or_said_of_a_stranger() {
        let at = stamp(1, "2026-05-01");
        let link = Command::LinkIdentifier(identifier("2"));
        assert_eq!(given(&[]).decide(&at, link), Err(Refusal::Unknown));
        let update = Command::UpdateDemographics(Demographics::default());
        assert_eq!(given(&[]).decide(&at, update), Err(Refusal::Unknown));
    }

    #[test]
    fn an_identifier_is_linked_once() {
        let patient =
            given(&[Event::Registered(registration()), Event::IdentifierLinked(identifier("2"))]);
        for value in ["1", "2"] {
            let link = Command::LinkIdentifier(identifier(value));
            assert_eq!(patient.decide(&stamp(3, "2026-05-01"), link), Err(Refusal::AlreadyLinked));
        }
        let link = Command::LinkIdentifier(identifier("3"));
        assert!(patient.decide(&stamp(3, "2026-05-01"), link).is_ok());
    }

    #[test]
    fn what_was_said_later_holds_however_it_came() {
        let dead = Demographics { deceased: true, ..Demographics::default() };
        let mut patient = given(&[Event::Registered(registration())]);
        patient.apply(&stamp(2, "2026-05-09"), &Event::DemographicsUpdated(dead));
        let lives = Demographics { not_deceased: true, ..Demographics::default() };
        let lives = Event::DemographicsUpdated(lives);
        patient.apply(&stamp(3, "2026-05-02"), &lives);
        assert!(patient.is_deceased(), "told late, of before");
        let silent = Event::DemographicsUpdated(Demographics::default());
        patient.apply(&stamp(4, "2026-05-10"), &silent);
        assert!(patient.is_deceased(), "silence takes nothing back");
        patient.apply(&stamp(5, "2026-05-10"), &lives);
        assert!(!patient.is_deceased());
    }

    #[test]
    fn an_update_leaves_what_it_keeps_and_takes_the_rest_back() {
        let born = |on: &str| Demographics { birth_on: Some(time(on)), ..Default::default() };
        let keeps = Keeps { birth: true, ..Keeps::default() };
        let silent = Demographics { keeps, ..Demographics::default() };
        let update = Event::DemographicsUpdated;
        let mut patient = given(&[Event::Registered(registration()), update(born("1938"))]);
        patient.apply(&stamp(2, "2026-05-02"), &update(silent.clone()));
        assert_eq!(patient.birth_on(), Some(time("1938")));
        patient.apply(&stamp(3, "2026-05-01"), &update(born("1939")));
        assert_eq!(patient.birth_on(), Some(time("1939")), "said before it, and told late");
        let at = stamp(4, "2026-05-03");
        let died = Demographics { deceased_at: Some(time("1938-12")), ..silent };
        let command = Command::UpdateDemographics(died);
        assert_eq!(patient.decide(&at, command), Err(Refusal::DiedBeforeBirth));
        let withdraws = Keeps { withdraws_birth: true, ..Keeps::default() };
        let withdrawn = update(Demographics { keeps: withdraws, ..Default::default() });
        let elsewhere = OrganisationId::parse("elsewhere").unwrap();
        patient.apply(&Stamp { acting_for: elsewhere, ..at.clone() }, &withdrawn);
        assert_eq!(patient.birth_on(), Some(time("1939")), "nothing that it said");
        patient.apply(&at, &withdrawn);
        assert_eq!(patient.birth_on(), None);
    }

    #[test]
    fn what_a_person_said_earlier_is_earlier_than_what_a_program_said() {
        let born = |on: &str| {
            let birth_on = Some(time(on));
            Event::DemographicsUpdated(Demographics { birth_on, ..Default::default() })
        };
        let keeps = Keeps { birth: true, ..Keeps::default() };
        let silent = Event::DemographicsUpdated(Demographics { keeps, ..Default::default() });
        let program = |number, at| Stamp { by_program: true, ..stamp(number, at) };
        let mut patient = given(&[Event::Registered(registration())]);
        patient.apply(&stamp(2, "2026-05-04"), &born("1938"));
        patient.apply(&program(3, "2026-05-06"), &silent);
        patient.apply(&stamp(4, "2026-05-02"), &born("1939"));
        assert_eq!(patient.birth_on(), Some(time("1938")), "told late, of before");
        patient.apply(&program(5, "2026-04-01"), &born("1940"));
        assert_eq!(patient.birth_on(), Some(time("1940")), "as its system knows it now");
        patient.apply(&stamp(6, "2026-05-05"), &born("1941"));
        assert_eq!(patient.birth_on(), Some(time("1941")));
    }

    #[test]
    fn who_says_no_time_of_a_death_may_leave_what_others_said() {
        let update = |deceased_at: Option<&str>| {
            let deceased_at = deceased_at.map(time);
            let keeps =
                Keeps { birth: true, deceased_at: deceased_at.is_none(), ..Keeps::default() };
            Event::DemographicsUpdated(Demographics {
                deceased: true,
                deceased_at,
                keeps,
                ..Default::default()
            })
        };
        let mut patient = given(&[Event::Registered(registration())]);
        patient.apply(&stamp(2, "2026-05-01"), &update(Some("2026-05-01")));
        patient.apply(&stamp(3, "2026-05-09"), &update(None));
        assert!(patient.died_before(time("2026-05-02")));
    }

    #[test]
    fn a_record_is_merged_once_and_taken_apart_again() {
        let retired = PatientId::new(uuid::Uuid::from_u128(7));
        let merge = Merge { retired };
        let at = stamp(3, "2026-05-01");
        let one = given(&[Event::Registered(registration())]);
        assert_eq!(one.decide(&at, Command::Unmerge(merge)), Err(Refusal::NotMerged));
        assert!(one.decide(&at, Command::Merge(merge)).is_ok());
        let both = given(&[Event::Registered(registration()), Event::Merged(merge)]);
        assert_eq!(both.decide(&at, Command::Merge(merge)), Err(Refusal::AlreadyMerged));
        assert!(both.decide(&at, Command::Unmerge(merge)).is_ok());
    }

    #[test]
    fn nobody_is_registered_before_birth_or_dead_before_it() {
        let with = |birth: &str, death: Option<&str>| {
            let demographics = Demographics {
                birth_on: Some(time(birth)),
                deceased_at: death.map(time),
                ..Demographics::default()
            };
            Command::Register(Registration { demographics, ..registration() })
        };
        let decide = |command| given(&[]).decide(&stamp(1, "2026-05-01T09:00:00+09:00"), command);
        assert_eq!(decide(with("2026-05-02", None)), Err(Refusal::BornAfterEvent));
        assert!(decide(with("2026-05-01", None)).is_ok());
        assert!(decide(with("2026", None)).is_ok());
        assert_eq!(decide(with("1940", Some("1939-12"))), Err(Refusal::DiedBeforeBirth));
    }
}
