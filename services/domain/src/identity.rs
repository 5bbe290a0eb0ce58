//! Who a patient is: registered once, found by identifiers that are the patient's alone.

use std::collections::BTreeSet;

use crate::pairs::commands_and_events;
use crate::record::Stamp;
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
    #[error("the identifier is linked to this patient already")]
    AlreadyLinked,
    #[error("the date of birth lies after the event: check `birth_on` and `occurred_at`")]
    BornAfterEvent,
    #[error("the date of death lies in the future: check `deceased_at`")]
    DiesInFuture,
    #[error("the date of death lies before the date of birth: check `deceased_at` and `birth_on`")]
    DiedBeforeBirth,
}

/// The state of a patient's identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patient {
    registered: bool,
    identifiers: BTreeSet<Identifier>,
    demographics: Demographics,
}

impl Patient {
    /// The event that `command` causes now, or why it causes none.
    pub fn decide(&self, stamp: &Stamp, command: Command) -> Result<Event, Refusal> {
        match &command {
            Command::Register(_) if self.registered => Err(Refusal::AlreadyRegistered),
            Command::Register(registration) => registration.demographics.check(stamp),
            Command::LinkIdentifier(_) | Command::UpdateDemographics(_) if !self.registered => {
                Err(Refusal::Unknown)
            }
            Command::LinkIdentifier(identifier) if self.identifiers.contains(identifier) => {
                Err(Refusal::AlreadyLinked)
            }
            Command::LinkIdentifier(_) => Ok(()),
            Command::UpdateDemographics(demographics) => demographics.check(stamp),
        }?;
        Ok(command.into())
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Registered(registration) => {
                self.registered = true;
                self.identifiers.extend(registration.identifiers.iter().cloned());
                self.demographics = registration.demographics.clone();
            }
            Event::IdentifierLinked(identifier) => {
                self.identifiers.insert(identifier.clone());
            }
            Event::DemographicsUpdated(demographics) => self.demographics = demographics.clone(),
        }
    }

    pub fn is_registered(&self) -> bool {
        self.registered
    }

    pub fn has_identifier(&self, identifier: &Identifier) -> bool {
        self.identifiers.contains(identifier)
    }

    pub fn identifiers(&self) -> impl Iterator<Item = &Identifier> {
        self.identifiers.iter()
    }

    pub fn birth_on(&self) -> Option<CareTime> {
        self.demographics.birth_on
    }

    pub fn is_deceased(&self) -> bool {
        self.demographics.deceased || self.demographics.deceased_at.is_some()
    }
}

impl Demographics {
    fn check(&self, stamp: &Stamp) -> Result<(), Refusal> {
        let Some(birth) = &self.birth_on else { return Ok(()) };
        if stamp.occurred_at.is_before(birth) {
            return Err(Refusal::BornAfterEvent);
        }
        match &self.deceased_at {
            Some(death) if death.is_before(birth) => Err(Refusal::DiedBeforeBirth),
            Some(_) | None => Ok(()),
        }
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
            patient.apply(event);
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
    fn nobody_is_registered_before_birth_or_dead_before_it() {
        let with = |birth: &str, death: Option<&str>| {
            let demographics = Demographics {
                birth_on: Some(time(birth)),
                deceased_at: death.map(time),
                deceased: false,
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
