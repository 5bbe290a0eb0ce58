//! What holds for every sequence of accepted commands.

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use crate::encounter::{
    Admission, Cancellation, Class, Command as Order, PlannedAdmission, PlannedDischarge,
    PlannedTransfer, Stage, Visit, WardTransfer,
};
use crate::identity::{self, Demographics, Registration};
use crate::place::{Facility, Place};
use crate::{
    CareTime, CaseId, Command, EncounterId, Event, EventId, Fact, OrganisationId, Record,
    ReferralId, Stamp, Zone, case, record, referral,
};

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn place(facility: u8, ward: u8) -> Place {
    Place {
        facility: Facility {
            id: OrganisationId::parse(&format!("facility-{facility}")).unwrap(),
            name: "".into(),
        },
        department: "".into(),
        ward: ward.to_string().into(),
        room: "".into(),
        bed: "".into(),
    }
}

fn encounter(number: u8) -> EncounterId {
    EncounterId::new(Uuid::from_u128(u128::from(number) + 1))
}

/// What a command is made from, besides its position in the sequence.
#[derive(Debug, Clone)]
struct Raw {
    kind: u8,
    encounter: u8,
    facility: u8,
    ward: u8,
    preceding: Option<u8>,
    /// How many commands ago the event happened that a cancel names.
    back: u128,
    /// How many half days this is told before or after its turn.
    shift: i8,
    coarse: bool,
}

fn raw() -> impl Strategy<Value = Raw> {
    let shift = prop_oneof![4 => Just(0), 1 => -6..7i8];
    (
        0..40u8,
        prop_oneof![4 => Just(0u8), 1 => 1..3u8],
        prop_oneof![6 => Just(0u8), 1 => Just(1u8)],
        0..3u8,
        proptest::option::weighted(0.2, 0..3u8),
        1..6u128,
        shift,
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(kind, encounter, facility, ward, preceding, back, shift, coarse)| Raw {
            kind,
            encounter,
            facility,
            ward,
            preceding,
            back,
            shift,
            coarse,
        })
}

impl Raw {
    fn command(self, position: u128) -> Command {
        let event = EventId::new(Uuid::from_u128(position));
        let acting_for = OrganisationId::parse(&format!("facility-{}", self.facility)).unwrap();
        let occurred_at = self.time(position);
        let stamp = Stamp { event, occurred_at, acting_for, by_program: false, by_proxy: false };
        Command { stamp, order: self.order(position) }
    }

    /// Half days of spring 2026, some of them known to the day only.
    fn time(&self, position: u128) -> CareTime {
        let half_days = i64::try_from(position).unwrap() + i64::from(self.shift);
        let moment = "2026-04-10T00:00:00Z".parse::<Timestamp>().unwrap()
            + jiff::SignedDuration::from_hours(12 * half_days)
            // No two at the same moment.
            + jiff::SignedDuration::from_secs(i64::try_from(position).unwrap());
        let text = moment.to_string();
        let text = if self.coarse { text.split('T').next().unwrap() } else { &text };
        CareTime::parse(text, &Zone::utc()).unwrap()
    }

    fn order(&self, position: u128) -> record::Order {
        let id = Uuid::from_u128(u128::from(self.ward) + 1);
        let receiver = OrganisationId::parse("facility-0").unwrap();
        match self.kind {
            32 => record::Order::Case(CaseId::new(id), case::Command::Open(None)),
            33 => record::Order::Case(CaseId::new(id), case::Command::RecordContact(())),
            34 => record::Order::Case(CaseId::new(id), case::Command::Close(())),
            35 => record::Order::Case(CaseId::new(id), case::Command::Reopen(())),
            36 => record::Order::Referral(
                ReferralId::new(id),
                referral::Command::Request(referral::Asked { receiver, case: None }),
            ),
            37 => record::Order::Referral(ReferralId::new(id), referral::Command::Accept(())),
            38 => record::Order::Referral(ReferralId::new(id), referral::Command::Start(())),
            39 => record::Order::Referral(ReferralId::new(id), referral::Command::Complete(())),
            _ => {
                record::Order::Encounter(encounter(self.encounter), self.encounter_order(position))
            }
        }
    }

    fn encounter_order(&self, position: u128) -> Order {
        let place = place(self.facility, self.ward);
        let preceding = self.preceding.map(encounter);
        let planned_at = self.time(position + 4);
        let cancelled = EventId::new(Uuid::from_u128(position.saturating_sub(self.back)));
        let cancel = Cancellation { cancelled };
        match self.kind {
            0 => Order::PlanAdmission(PlannedAdmission { planned_at, place, preceding }),
            1 => Order::CancelPlannedAdmission(cancel),
            2 | 3 => {
                let ended_at = (self.kind == 2).then_some(planned_at);
                Order::RegisterVisit(Visit { class: Class::Emergency, place, ended_at, preceding })
            }
            4 => Order::CancelVisit(cancel),
            5..=8 => Order::Admit(Admission { place, preceding }),
            9 => Order::CancelAdmission(cancel),
            10 => Order::PlanTransfer(PlannedTransfer { planned_at, to: place }),
            11 => Order::CancelPlannedTransfer(cancel),
            12..=15 => Order::Transfer(WardTransfer { to: place }),
            16 | 17 => Order::CancelTransfer(cancel),
            18..=20 => Order::StartLeave(()),
            21 => Order::CancelLeave(cancel),
            22..=24 => Order::ReturnFromLeave(()),
            25 => Order::CancelReturn(cancel),
            26 => Order::PlanDischarge(PlannedDischarge { planned_at }),
            27 => Order::CancelPlannedDischarge(cancel),
            28 | 29 => Order::Discharge(()),
            _ => Order::CancelDischarge(cancel),
        }
    }
}

/// A registered patient, and then commands of which many are refused.
fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec(raw(), 1..60).prop_map(of_raws)
}

/// The same, with times that are known to the second.
fn commands_with_clock_times() -> impl Strategy<Value = Vec<Command>> {
    let precise = |raws: Vec<Raw>| raws.into_iter().map(|raw| Raw { coarse: false, ..raw });
    vec(raw(), 1..60).prop_map(move |raws| of_raws(precise(raws).collect()))
}

fn of_raws(raws: Vec<Raw>) -> Vec<Command> {
    {
        let stamp = Stamp {
            event: EventId::new(Uuid::from_u128(1)),
            occurred_at: CareTime::parse("2026-04-01", &Zone::utc()).unwrap(),
            acting_for: OrganisationId::parse("facility-0").unwrap(),
            by_program: false,
            by_proxy: false,
        };
        let register = record::Order::Identity(identity::Command::Register(Registration {
            identifiers: Vec::new(),
            demographics: Demographics::default(),
        }));
        let first = Command { stamp, order: register };
        let rest = raws.into_iter().zip(2..).map(|(raw, position)| raw.command(position));
        [first].into_iter().chain(rest).collect()
    }
}

/// Decides and applies one command after the other; what was accepted, and the state.
fn live(commands: Vec<Command>) -> (Vec<Event>, Record) {
    let mut record = Record::default();
    let mut accepted = Vec::new();
    for command in commands {
        let Ok(events) = record.decide(command, now()) else { continue };
        for event in events {
            record.apply(&event);
            accepted.push(event);
        }
    }
    (accepted, record)
}

fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Record {
    let mut record = Record::default();
    for event in events {
        record.apply(event);
    }
    record
}

/// The move that this event cancels, if it cancels one. (A cancelled plan does not bring back
/// the plan that it had replaced.)
fn cancelled(event: &Event) -> Option<EventId> {
    use crate::encounter::Event as Happened;
    let Fact::Encounter(_, happened) = &event.fact else { return None };
    let is_plan = matches!(
        happened,
        Happened::PlannedAdmissionCancelled(_)
            | Happened::PlannedTransferCancelled(_)
            | Happened::PlannedDischargeCancelled(_)
    );
    if is_plan { None } else { happened.cancelled() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn replay_equals_live_state(commands in commands()) {
        let (accepted, record) = live(commands);
        prop_assert_eq!(replay(&accepted), record);
    }

    #[test]
    fn the_order_of_telling_makes_no_difference(
        (commands, seed) in (commands_with_clock_times(), any::<u64>())
    ) {
        let (accepted, record) = live(commands);
        let mut shuffled = accepted;
        shuffled.sort_by_cached_key(|event| {
            Uuid::new_v5(&Uuid::from_u128(seed.into()), event.stamp.event.uuid().as_bytes())
        });
        prop_assert!(replay(&shuffled).says_the_same_as(&record));
    }

    #[test]
    fn accepted_commands_leave_a_legal_state(commands in commands()) {
        let (_, record) = live(commands);
        for (id, encounter) in record.encounters() {
            // Whoever is somewhere is at a place since a time; whoever is nowhere is not.
            let somewhere = encounter.stage() != Stage::Expected;
            prop_assert!(encounter.is_legal());
            prop_assert_eq!(encounter.began_at().is_some(), somewhere);
            prop_assert_eq!(encounter.since().is_some(), somewhere);
            prop_assert!(!somewhere || encounter.place().is_some());
            // What is planned is still to come.
            prop_assert!(encounter.planned_admission().is_none() || !somewhere);
            prop_assert!(encounter.planned_discharge().is_none() || encounter.is_inpatient());
            // A chain of encounters has a beginning.
            prop_assert_eq!(record.episode(record.episode(id)), record.episode(id));
        }
    }

    #[test]
    fn the_effect_of_a_cancelled_move_is_gone(commands in commands()) {
        let (accepted, record) = live(commands);
        let gone: Vec<EventId> = accepted.iter().filter_map(cancelled).collect();
        let left = accepted.iter().filter(|event| {
            !gone.contains(&event.stamp.event) && cancelled(event).is_none()
        });
        for (id, encounter) in replay(left).encounters() {
            prop_assert_eq!(record.encounter(id), Some(encounter));
        }
    }
}
