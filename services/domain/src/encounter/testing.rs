//! What the tests of encounters tell: moves, plans, cancels.

use super::{
    Admission, Cancellation, Class, Command, Encounter, Event, PlannedDischarge, Refusal, Visit,
    WardTransfer,
};
use crate::id::OrganisationId;
use crate::place::{Facility, Place};
use crate::record::testing::{event_id, stamp, time};

pub(crate) fn place(facility: &str, ward: &str) -> Place {
    Place {
        facility: Facility { id: OrganisationId::parse(facility).unwrap(), name: "".into() },
        department: "".into(),
        ward: ward.into(),
        room: "".into(),
        bed: "".into(),
    }
}

pub(crate) fn admitted() -> Event {
    Event::Admitted(Admission { place: place("acute", "4E"), preceding: None })
}

pub(crate) fn admit() -> Command {
    Command::Admit(Admission { place: place("acute", "4E"), preceding: None })
}

pub(crate) fn visit(ended_at: Option<&str>) -> Command {
    Command::RegisterVisit(Visit {
        class: Class::Emergency,
        place: place("acute", ""),
        ended_at: ended_at.map(time),
        preceding: None,
    })
}

pub(crate) fn to_ward(ward: &str) -> WardTransfer {
    WardTransfer { to: place("acute", ward) }
}

pub(crate) fn planned(at: &str) -> PlannedDischarge {
    PlannedDischarge { planned_at: time(at) }
}

pub(crate) fn cancelling(number: u128) -> Cancellation {
    Cancellation { cancelled: event_id(number) }
}

/// An encounter to which these events happened; the nth has the event id n.
pub(crate) fn given(events: &[(&str, Event)]) -> Encounter {
    let mut encounter = Encounter::default();
    for ((at, event), number) in events.iter().zip(1..) {
        encounter.apply(&stamp(number, at), event);
    }
    encounter
}

impl Encounter {
    /// Whether each move can follow those before it, in the order of time.
    pub(crate) fn is_legal(&self) -> bool {
        self.path.is_legal()
    }

    pub(crate) fn when(&self, at: &str, command: Command) -> Result<Event, Refusal> {
        self.decide(&stamp(99, at), command)
    }
}
