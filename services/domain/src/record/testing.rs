//! What the tests of the domain tell: a patient, stays, stamps.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Command, Event, Order, Record, Refusal, Stamp};
use crate::encounter::{self, Admission};
use crate::id::{EncounterId, EventId, OrganisationId};
use crate::identity::{self, Demographics, Registration};
use crate::place::{Facility, Place};
use crate::time::{CareTime, Zone};

pub(crate) fn time(text: &str) -> CareTime {
    CareTime::parse(text, &Zone::named("Asia/Tokyo").unwrap()).unwrap()
}

pub(crate) fn event_id(number: u128) -> EventId {
    EventId::new(Uuid::from_u128(number))
}

pub(crate) fn stamp(number: u128, occurred_at: &str) -> Stamp {
    stamp_for(number, occurred_at, "hospital")
}

pub(crate) fn stamp_for(number: u128, occurred_at: &str, organisation: &str) -> Stamp {
    Stamp {
        event: event_id(number),
        occurred_at: time(occurred_at),
        acting_for: OrganisationId::parse(organisation).unwrap(),
        by_program: false,
        by_proxy: false,
    }
}

pub(crate) fn encounter_id(number: u128) -> EncounterId {
    EncounterId::new(Uuid::from_u128(number))
}

pub(crate) fn register() -> Order {
    Order::Identity(identity::Command::Register(Registration {
        identifiers: Vec::new(),
        demographics: Demographics::default(),
    }))
}

pub(crate) fn place(facility: &str) -> Place {
    let facility = Facility { id: OrganisationId::parse(facility).unwrap(), name: "".into() };
    Place { facility, department: "".into(), ward: "".into(), room: "".into(), bed: "".into() }
}

pub(crate) fn admit(encounter: u128, facility: &str, preceding: Option<u128>) -> Order {
    let preceding = preceding.map(encounter_id);
    let admission = Admission { place: place(facility), preceding };
    Order::Encounter(encounter_id(encounter), encounter::Command::Admit(admission))
}

pub(crate) fn discharge(encounter: u128) -> Order {
    Order::Encounter(encounter_id(encounter), encounter::Command::Discharge(()))
}

pub(crate) fn noon() -> Timestamp {
    time("2026-06-01T12:00:00+09:00").earliest()
}

/// A record to which these orders happened, the nth under the event id n.
pub(crate) fn given(orders: &[(&str, Order)]) -> Record {
    let mut record = Record::default();
    for ((at, order), number) in orders.iter().zip(1..) {
        record.apply(&Event { stamp: stamp(number, at), fact: order.clone().into() });
    }
    record
}

impl Record {
    pub(crate) fn when(&self, at: &str, order: Order) -> Result<(), Refusal> {
        let command = Command { stamp: stamp(99, at), order };
        self.decide(command, noon()).map(|_| ())
    }
}

/// Registered, admitted on 2 May, discharged on 9 May.
pub(crate) fn stay() -> Record {
    given(&[
        ("2026-05-01", register()),
        ("2026-05-02", admit(1, "acute", None)),
        ("2026-05-09", discharge(1)),
    ])
}
