//! What holds for every sequence of accepted commands.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use crate::correction::{Change, Correction};
use crate::encounter::{
    Admission, Cancellation, Class, Command as Order, PlannedAdmission, PlannedDischarge,
    PlannedTransfer, Stage, Visit, WardTransfer,
};
use crate::identity::{self, Demographics, Registration};
use crate::place::{Facility, Place};
use crate::{
    CareTime, CaseId, Command, EncounterId, Event, EventId, Fact, OrganisationId, PatientId,
    Record, ReferralId, Stamp, TransferRequestId, Zone, case, record, referral, transfer_request,
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
    /// Known to the day only.
    coarse: bool,
    /// At the very time of others.
    together: bool,
}

fn raw() -> impl Strategy<Value = Raw> {
    let shift = prop_oneof![4 => Just(0), 1 => -6..7i8];
    (
        prop_oneof![3 => 0..52u8, 2 => 32..52u8],
        prop_oneof![4 => Just(0u8), 1 => 1..3u8],
        prop_oneof![6 => Just(0u8), 1 => Just(1u8)],
        0..3u8,
        proptest::option::weighted(0.2, 0..3u8),
        1..6u128,
        shift,
        (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)),
    )
        .prop_map(|(kind, encounter, facility, ward, preceding, back, shift, exact)| Raw {
            kind,
            encounter,
            facility,
            ward,
            preceding,
            back,
            shift,
            coarse: exact.0,
            together: exact.1,
        })
}

impl Raw {
    fn command(self, position: u128) -> Command {
        let event = EventId::new(Uuid::from_u128(position));
        // The facility that is asked for a bed answers.
        let facility = if matches!(self.kind, 41 | 42) { 9 } else { self.facility };
        let acting_for = OrganisationId::parse(&format!("facility-{facility}")).unwrap();
        let occurred_at = self.time(position);
        let stamp = Stamp { event, occurred_at, acting_for, by_program: false, by_proxy: false };
        Command { stamp, order: self.order(position) }
    }

    /// Half days of spring 2026, some of them known to the day only.
    fn time(&self, position: u128) -> CareTime {
        let position = i64::try_from(position).unwrap();
        let half_days = position + i64::from(self.shift);
        let (half_days, seconds) =
            if self.together { (half_days - half_days % 4, 0) } else { (half_days, position) };
        let moment = "2026-04-10T00:00:00Z".parse::<Timestamp>().unwrap()
            + jiff::SignedDuration::from_hours(12 * half_days)
            // No two at the same moment, but those that are to be.
            + jiff::SignedDuration::from_secs(seconds);
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
            40 => {
                let encounter = encounter(self.encounter);
                let facility = OrganisationId::parse("facility-9").unwrap();
                let question = transfer_request::Question { encounter, facility };
                record::Order::TransferRequest(
                    TransferRequestId::new(id),
                    transfer_request::Command::Request(question),
                )
            }
            41..=44 => {
                let command = match self.kind {
                    41 => transfer_request::Command::Offer(()),
                    42 => transfer_request::Command::Decline(()),
                    43 => transfer_request::Command::Accept(()),
                    _ => transfer_request::Command::Withdraw(()),
                };
                record::Order::TransferRequest(TransferRequestId::new(id), command)
            }
            48..=51 => {
                let command = match self.kind {
                    48 => referral::Command::Reject(()),
                    49 => referral::Command::Hold(()),
                    50 => referral::Command::Fail(()),
                    _ => referral::Command::Cancel(()),
                };
                record::Order::Referral(ReferralId::new(id), command)
            }
            45 | 46 => record::Order::Correction(Correction {
                corrects: EventId::new(Uuid::from_u128(position.saturating_sub(self.back))),
                change: Change::EnteredInError,
            }),
            47 => record::Order::Correction(Correction {
                corrects: EventId::new(Uuid::from_u128(position.saturating_sub(self.back))),
                change: Change::Time(self.time(position.saturating_sub(self.back))),
            }),
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

/// The event that a cancel or a correction takes back.
fn named(order: &record::Order) -> Option<EventId> {
    if let record::Order::Correction(correction) = order {
        return Some(correction.corrects);
    }
    Fact::from(order.clone()).cancelled()
}

/// A registered patient, and then commands of which many are refused.
fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec(raw(), 1..60).prop_map(of_raws)
}

/// The same, with nothing that is corrected.
fn uncorrected_commands() -> impl Strategy<Value = Vec<Command>> {
    let is_correction = |command: &Command| matches!(command.order, record::Order::Correction(_));
    commands().prop_map(move |mut commands| {
        commands.retain(|command| !is_correction(command));
        commands
    })
}

/// Commands that are told when they happen: some at the same time, or known to the same day.
fn commands_in_time() -> impl Strategy<Value = Vec<Command>> {
    commands().prop_map(in_time)
}

/// The same, no two at the same time: which came first can be told of all.
fn commands_one_by_one() -> impl Strategy<Value = Vec<Command>> {
    let one_by_one = |raw: Raw| Raw { coarse: false, together: false, ..raw };
    vec(raw(), 1..60)
        .prop_map(move |raws| in_time(of_raws(raws.into_iter().map(one_by_one).collect())))
}

/// Two requests about one stay, and what is said of them and corrected: at times that are known, or
/// whenever.
fn commands_of_offers(one_by_one: bool) -> impl Strategy<Value = Vec<Command>> {
    let kinds = prop_oneof![2 => 41..43u8, 3 => Just(43u8), 2 => Just(44u8), 4 => Just(45u8), 1 => Just(47u8)];
    let raws = vec((raw(), kinds, 0..2u8, 1..20u128), 1..24);
    raws.prop_map(move |raws| {
        let of_offers = move |(raw, kind, ward, back): (Raw, u8, u8, u128)| Raw {
            kind,
            ward,
            back,
            facility: 0,
            encounter: 0,
            coarse: (raw.coarse || raw.preceding.is_some()) && !one_by_one,
            together: raw.together && !one_by_one,
            ..raw
        };
        let begun = [(5, 0), (40, 0), (40, 1), (41, 0), (41, 1)];
        of_raws(begun.map(begin).into_iter().chain(raws.into_iter().map(of_offers)).collect())
    })
}

fn begin((kind, ward): (u8, u8)) -> Raw {
    let (encounter, facility, preceding, back, shift) = (0, 0, None, 1, 0);
    let (coarse, together) = (false, false);
    Raw { kind, encounter, facility, ward, preceding, back, shift, coarse, together }
}

/// Steps of a case, a referral and two requests on a few days, told in their order; of most no more
/// than the day is known, and their ids say nothing.
fn steps_of_few_days() -> impl Strategy<Value = Vec<Command>> {
    let kinds = prop_oneof![33..36u8, 37..40u8, 41..45u8, 48..52u8, Just(43u8)];
    let steps = vec((kinds, 0..2u8, proptest::bool::weighted(0.8)), 1..24);
    (steps, any::<u64>()).prop_map(|(steps, seed)| {
        let of_day = |(kind, ward, coarse): (u8, u8, bool)| {
            let ward = if matches!(kind, 41..=44) { ward } else { 0 };
            Raw { coarse, together: true, ..begin((kind, ward)) }
        };
        let begun = [(5, 0), (40, 0), (40, 1), (32, 0), (36, 0)];
        let raws = begun.map(begin).into_iter().chain(steps.into_iter().map(of_day));
        with_other_ids(in_time(of_raws(raws.collect())), seed)
    })
}

/// Two requests about one stay, and what is said of them on a few days, told whenever.
fn offers_of_few_days() -> impl Strategy<Value = Vec<Command>> {
    let kinds = prop_oneof![2 => Just(41u8), 1 => Just(42u8), 2 => Just(43u8), 1 => Just(44u8)];
    let steps = vec((kinds, 0..2u8, 0..4i8), 4..16);
    (steps, any::<u64>()).prop_map(|(steps, seed)| {
        let of_day = |((kind, ward, day), place): ((u8, u8, i8), i8)| {
            let shift = 16 + 4 * day - place;
            Raw { shift, coarse: true, together: true, ..begin((kind, ward)) }
        };
        let begun = [(5, 0), (40, 0), (40, 1)].map(begin).into_iter();
        let raws = begun.chain(steps.into_iter().zip(0..).map(of_day));
        with_other_ids(of_raws(raws.collect()), seed)
    })
}

/// The same under ids that say nothing of the order.
fn with_other_ids(mut commands: Vec<Command>, seed: u64) -> Vec<Command> {
    let other = |id: EventId| {
        EventId::new(Uuid::new_v5(&Uuid::from_u128(seed.into()), id.uuid().as_bytes()))
    };
    for Command { stamp, order } in &mut commands {
        stamp.event = other(stamp.event);
        if let record::Order::Correction(correction) = order {
            correction.corrects = other(correction.corrects);
        }
    }
    commands
}

fn in_time(mut commands: Vec<Command>) -> Vec<Command> {
    commands.sort_by_key(|command| command.stamp.occurred_at.earliest());
    // Nobody takes back what is still to happen.
    let mut told = BTreeSet::new();
    commands.retain(|command| {
        told.insert(command.stamp.event);
        named(&command.order).is_none_or(|named| told.contains(&named))
    });
    commands
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

/// Another order for another seed. Of corrections of one event of which nobody can say which was
/// made first, the one told last holds: what corrects such an event keeps its order.
fn shuffle(events: &mut [Event], seed: u64) {
    let told = events.to_vec();
    events.sort_by_cached_key(|event| {
        Uuid::new_v5(&Uuid::from_u128(seed.into()), event.stamp.event.uuid().as_bytes())
    });
    let tied: BTreeSet<EventId> =
        told.iter().filter(|one| is_tied(one, &told)).filter_map(corrected).collect();
    for target in tied {
        let is_of_it = |event: &&Event| corrected(event) == Some(target);
        let mut in_order = told.iter().filter(is_of_it);
        for place in events.iter_mut().filter(|event| corrected(event) == Some(target)) {
            place.clone_from(in_order.next().unwrap());
        }
    }
}

fn corrected(event: &Event) -> Option<EventId> {
    let Fact::Correction(correction) = &event.fact else { return None };
    Some(correction.corrects)
}

/// Whether another event corrects the same, and nobody can say which was made first.
fn is_tied(one: &Event, all: &[Event]) -> bool {
    corrected(one).is_some()
        && all.iter().any(|other| {
            let (at, of) = (one.stamp.occurred_at, other.stamp.occurred_at);
            let is_known = at.is_before(&of) || of.is_before(&at);
            one.stamp.event != other.stamp.event && corrected(one) == corrected(other) && !is_known
        })
}

/// Tells of events as a sender does whose messages overtook each other: what is refused is sent
/// again after the others; with what takes it back, if that does not help; and then two together, or
/// all. The record, and what it never took.
pub(crate) fn tell_again_and_again(mut left: Vec<Event>) -> (Record, Vec<(Event, crate::Refusal)>) {
    let mut record = Record::default();
    loop {
        let before = left.len();
        let mut refused = Vec::new();
        for event in left {
            match record.decide(command(&event), now()) {
                Ok(caused) => add(&mut record, &caused),
                Err(refusal) => refused.push((event, refusal)),
            }
        }
        if refused.len() == before {
            let told = refused.iter().position(|(event, _)| {
                let follow: Vec<Command> = taken_back(event, &refused).map(command).collect();
                let caused = record.decide_before(command(event), &follow, now());
                caused.is_ok_and(|caused| {
                    add(&mut record, &caused);
                    true
                })
            });
            match (told, together(&record, &refused)) {
                (Some(told), _) => drop(refused.remove(told)),
                (None, Some((with_them, told))) => {
                    record = with_them;
                    refused.retain(|(event, _)| !told.contains(&event.stamp.event));
                }
                (None, None) => return (record, refused),
            }
        }
        if refused.is_empty() {
            return (record, refused);
        }
        left = refused.into_iter().map(|(event, _)| event).collect();
    }
}

/// The record with two that are taken together, or with all.
fn together(
    record: &Record,
    refused: &[(Event, crate::Refusal)],
) -> Option<(Record, Vec<EventId>)> {
    let all: Vec<&Event> = refused.iter().map(|(event, _)| event).collect();
    let pairs = all.iter().flat_map(|one| all.iter().map(move |other| vec![*one, *other]));
    let pairs = pairs.filter(|pair| pair[0] != pair[1]);
    pairs.chain([all.clone()]).find_map(|told| {
        let commands: Vec<Command> = told.iter().map(|event| command(event)).collect();
        let caused = record.decide_together(&commands, now()).ok()?;
        let mut record = record.clone();
        add(&mut record, &caused);
        Some((record, told.iter().map(|event| event.stamp.event).collect()))
    })
}

fn add(record: &mut Record, events: &[Event]) {
    for event in events {
        record.apply(event);
    }
}

pub(crate) fn command(event: &Event) -> Command {
    let Event { stamp, fact } = event.clone();
    Command { stamp, order: fact.into() }
}

/// What cancels an event, or says of it that it was entered in error.
fn taken_back<'a>(
    event: &Event,
    all: &'a [(Event, crate::Refusal)],
) -> impl Iterator<Item = &'a Event> {
    let event = event.stamp.event;
    let takes_back =
        move |by: &&Event| by.fact.cancelled() == Some(event) || corrected(by) == Some(event);
    all.iter().map(|(event, _)| event).filter(takes_back)
}

/// The same events told in two records, each with all that it tells of an encounter; and merged.
fn merged(told: &[Event]) -> Record {
    let is_first = |event: &Event| {
        let event = named(&event.fact.clone().into())
            .and_then(|named| told.iter().find(|event| event.stamp.event == named))
            .unwrap_or(event);
        matches!(&event.fact, Fact::Encounter(id, _) if *id == encounter(0))
    };
    let (first, second): (Vec<&Event>, Vec<&Event>) = told.iter().partition(|one| is_first(one));
    let retired = PatientId::new(Uuid::from_u128(7));
    let merge = Fact::Identity(identity::Event::Merged(identity::Merge { retired }));
    let stamp = Stamp { event: EventId::new(Uuid::from_u128(1000)), ..told[0].stamp.clone() };
    let mut record = replay(second);
    record
        .apply(&Event { stamp: Stamp { occurred_at: CareTime::at(now()), ..stamp }, fact: merge });
    record.absorb(retired, &replay(first));
    record
}

/// The events in few words, for whoever reads why a property fails.
fn tale(events: &[Event]) -> String {
    let line = |event: &Event| {
        let at = event.stamp.occurred_at.words(&Zone::utc());
        format!("{at} {} {:?}", event.stamp.event, event.fact)
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tale_of_refused(refused: &[(Event, crate::Refusal)]) -> String {
    let line = |(event, why): &(Event, crate::Refusal)| format!("{} {why:?}", event.stamp.event);
    refused.iter().map(line).collect::<Vec<_>>().join(", ")
}

pub(crate) fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Record {
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
        (commands, seed) in (commands(), any::<u64>())
    ) {
        let (accepted, record) = live(commands);
        let mut shuffled = accepted;
        shuffle(&mut shuffled, seed);
        prop_assert!(replay(&shuffled).says_the_same_as(&record));
    }

    #[test]
    fn what_comes_late_is_taken_and_says_the_same(
        (commands, seeds) in (commands_one_by_one(), any::<[u64; 2]>())
    ) {
        let (accepted, record) = live(commands);
        for seed in seeds {
            let mut late = accepted.clone();
            shuffle(&mut late, seed);
            let (told, refused) = tell_again_and_again(late);
            prop_assert!(refused.is_empty(), "never taken: {} of {}", tale_of_refused(&refused), tale(&accepted));
            prop_assert!(told.says_the_same_as(&record), "another story than {}", tale(&accepted));
        }
    }

    #[test]
    fn what_happened_on_a_few_days_is_taken_late_or_together(
        (commands, seeds) in (steps_of_few_days(), any::<[u64; 2]>())
    ) {
        let (accepted, record) = live(commands);
        for seed in seeds {
            let mut late = accepted.clone();
            shuffle(&mut late, seed);
            let (told, refused) = tell_again_and_again(late.clone());
            prop_assert!(refused.is_empty(), "never taken: {} of {}", tale_of_refused(&refused), tale(&late));
            prop_assert!(told.says_the_same_as(&record), "another story than {}", tale(&accepted));
            let is_registration = |one: &&Event| one.stamp.event == accepted[0].stamp.event;
            let (first, rest): (Vec<&Event>, Vec<&Event>) = late.iter().partition(is_registration);
            let rest: Vec<Command> = rest.into_iter().map(command).collect();
            let together = replay(first).decide_together(&rest, now());
            prop_assert!(together.is_ok(), "{together:?} of {}", tale(&late));
        }
    }

    #[test]
    fn offers_that_were_accepted_one_after_the_other_are_taken_late(
        (commands, seed) in (commands_of_offers(true), any::<u64>())
    ) {
        // What is in error by two corrections, of which one was an error itself, is so by either.
        let mut once = BTreeSet::new();
        let mut is_first = |command: &Command| {
            let record::Order::Correction(correction) = &command.order else { return true };
            once.insert(correction.corrects)
        };
        let commands = in_time(commands).into_iter().filter(|one| is_first(one)).collect();
        let (accepted, record) = live(commands);
        let mut late = accepted.clone();
        shuffle(&mut late, seed);
        let (told, refused) = tell_again_and_again(late);
        prop_assert!(refused.is_empty(), "never taken: {} of {}", tale_of_refused(&refused), tale(&accepted));
        prop_assert!(told.says_the_same_as(&record), "another story than {}", tale(&accepted));
    }

    #[test]
    fn two_records_of_one_person_make_one_however_they_were_told(
        (commands, seeds) in (commands_in_time(), any::<[u64; 2]>())
    ) {
        let (accepted, record) = live(commands);
        let merged = seeds.map(|seed| {
            let mut told = accepted.clone();
            shuffle(&mut told, seed);
            merged(&told)
        });
        prop_assert!(merged[0].says_the_same_as(&merged[1]), "{}", tale(&accepted));
        for (id, encounter) in record.encounters() {
            prop_assert_eq!(merged[0].encounter(id), Some(encounter), "{}", tale(&accepted));
        }
    }

    #[test]
    fn accepted_commands_leave_a_legal_state(commands in commands_in_time()) {
        let (accepted, record) = live(commands);
        for (id, encounter) in record.encounters() {
            // Whoever is somewhere is at a place since a time; whoever is nowhere is not.
            let somewhere = encounter.stage() != Stage::Expected;
            prop_assert!(encounter.is_legal(), "{}", tale(&accepted));
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
    fn one_offer_for_a_stay_is_accepted_whatever_is_told_and_corrected(
        commands in prop_oneof![commands_of_offers(false), offers_of_few_days()]
    ) {
        let (accepted, record) = live(commands);
        let said = |which: fn(&transfer_request::Event) -> bool| -> BTreeSet<TransferRequestId> {
            let of = record.standing().filter_map(|(_, fact)| {
                let Fact::TransferRequest(id, event) = fact else { return None };
                which(&event).then_some(id)
            });
            of.collect()
        };
        let accepted_in = said(|event| matches!(event, transfer_request::Event::Accepted(())));
        let withdrawn = said(|event| matches!(event, transfer_request::Event::Withdrawn(())));
        let stays = accepted_in.difference(&withdrawn).map(|id| {
            record.transfer_requests().find(|(of, _)| of == id).and_then(|(_, of)| of.encounter())
        });
        let mut stays: Vec<_> = stays.collect();
        let all = stays.len();
        stays.sort();
        stays.dedup();
        prop_assert_eq!(stays.len(), all, "{}", tale(&accepted));
    }

    #[test]
    fn the_effect_of_a_cancelled_move_is_gone(commands in uncorrected_commands()) {
        let (accepted, record) = live(commands);
        let gone: Vec<EventId> = accepted.iter().filter_map(cancelled).collect();
        let left = accepted.iter().filter(|event| {
            !gone.contains(&event.stamp.event) && cancelled(event).is_none()
        });
        for (id, encounter) in replay(left).encounters() {
            prop_assert_eq!(record.encounter(id), Some(encounter), "{}", tale(&accepted));
        }
    }
}
