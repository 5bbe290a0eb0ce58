//! News arrives in any order, and the timeline is the same: what happened decides, and not when it
//! was told; but of corrections of one event that were made at one time, the one told last holds.

use jiff::SignedDuration;
use proptest::prelude::*;
use prost::Message as _;
use tsunagi_bus::{Placed, Position, Slot, Stored, StreamId};
use tsunagi_domain::{EventId, PatientId, ResourceId, Zone};
use tsunagi_event_store::directory;
use tsunagi_event_store::timeline::{Timeline, View, glance};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use crate::support::{ENCOUNTER, admitted, care_event, discharged, event, registered, visited};

fn patient() -> PatientId {
    PatientId::new(Uuid::from_u128(1))
}

fn thing(number: u128) -> String {
    Uuid::from_u128(0xabc0 + number).to_string()
}

fn named(id: &str) -> v1::Organisation {
    v1::Organisation { id: id.to_owned(), name: id.to_owned() }
}

fn wish(number: u128, preference: &str) -> Payload {
    Payload::AcpPreferenceRecorded(v1::AcpPreferenceRecorded {
        preference_id: thing(number),
        preference: preference.to_owned(),
        ..Default::default()
    })
}

fn planned(on: &str) -> Payload {
    Payload::DischargePlanned(v1::DischargePlanned {
        encounter_id: ENCOUNTER.into(),
        planned_at: on.to_owned(),
        ..Default::default()
    })
}

fn manager(person: &str) -> Payload {
    Payload::PrimaryCareManagerDeclared(v1::PrimaryCareManagerDeclared {
        care_manager: Some(v1::Participant {
            organisation: Some(named("cm-office")),
            role: "care-manager".to_owned(),
            person: person.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// A patient's month, one thing a day, as it would be told in order.
fn month() -> Vec<v1::Event> {
    let step = |number| v1::ReferralStep { referral_id: thing(number), ..Default::default() };
    let payloads = vec![
        registered(&["77"]),
        manager("cm-1"),
        admitted("4E"),
        planned("2026-05-28"),
        wish(1, "病院で"),
        Payload::QuestionAsked(v1::QuestionAsked {
            question_id: thing(2),
            question: "誰が".to_owned(),
            owner_role: "care-manager".to_owned(),
            ..Default::default()
        }),
        planned("2026-05-20"),
        Payload::QuestionAnswered(v1::QuestionAnswered {
            question_id: thing(2),
            answer: "私が".to_owned(),
        }),
        Payload::ReferralRequested(v1::ReferralRequested {
            referral_id: thing(3),
            receiver: Some(named("acute")),
            ..Default::default()
        }),
        Payload::ReferralAccepted(step(3)),
        Payload::ReferralInProgress(step(3)),
        wish(4, "家で"),
        Payload::CaseOpened(v1::CaseOpened {
            case_id: thing(5),
            referral_id: thing(3),
            ..Default::default()
        }),
        Payload::ContactHeld(v1::ContactHeld {
            case_id: thing(5),
            next_contact_on: "2026-05-20".to_owned(),
            ..Default::default()
        }),
        visited(),
        Payload::TimeCorrected(v1::TimeCorrected {
            corrects_event_id: event(2).to_string(),
            occurred_at: "2026-05-02T20:00:00+09:00".to_owned(),
            ..Default::default()
        }),
        Payload::EnteredInError(v1::EnteredInError {
            corrects_event_id: event(14).to_string(),
            ..Default::default()
        }),
        manager("cm-2"),
        discharged(),
        Payload::DischargeCancelled(v1::EncounterCancellation {
            encounter_id: ENCOUNTER.into(),
            cancelled_event_id: event(18).to_string(),
            ..Default::default()
        }),
        Payload::PatientDeceased(v1::PatientDeceased::default()),
        Payload::EnteredInError(v1::EnteredInError {
            corrects_event_id: event(20).to_string(),
            ..Default::default()
        }),
    ];
    let told = (0..).zip(1..).zip(&payloads);
    told.map(|((number, day), told)| care_event(0, number, day, told))
        .chain(corrections())
        .collect()
}

/// Two corrections of when a wish was said that were made at one time. Their ids run against the order
/// of telling.
fn corrections() -> [v1::Event; 2] {
    [(31, "2026-05-14T09:00:00+09:00"), (30, LAST_SAID)].map(|(number, at)| {
        let corrected = Payload::TimeCorrected(v1::TimeCorrected {
            corrects_event_id: event(11).to_string(),
            occurred_at: at.to_owned(),
            ..Default::default()
        });
        care_event(0, number, 23, &corrected)
    })
}

const LAST_SAID: &str = "2026-05-13T09:00:00+09:00";

/// The month told in another order. Which of two corrections of one time holds, the order of telling
/// alone can say: there is nothing else to go by that means anything to whoever made them. So that
/// order they keep.
fn told_out_of_order() -> impl Strategy<Value = Vec<v1::Event>> {
    Just(month()).prop_shuffle().prop_map(|mut order| {
        let [first, last] = corrections();
        let place = |of: &v1::Event| order.iter().position(|told| told == of).unwrap();
        let (one, other) = (place(&first), place(&last));
        if one > other {
            order.swap(one, other);
        }
        order
    })
}

/// The summary of these events, told on one day after the other, as it is read on `day`.
fn read_on(day: &str, told: &[Payload]) -> v1::PatientSummary {
    let numbered = (0..).zip(1..).zip(told);
    let told: Vec<_> =
        numbered.map(|((number, day), told)| care_event(0, number, day, told)).collect();
    let mut summary = seen(&told).1;
    glance::on_day(&mut summary, day);
    summary
}

#[test]
fn a_wish_in_whose_place_another_was_put_does_not_come_back() {
    let instead = Payload::AcpPreferenceRecorded(v1::AcpPreferenceRecorded {
        preference_id: thing(2),
        preference: "延命を希望しない".to_owned(),
        supersedes_preference_id: thing(1).to_uppercase(),
        ..Default::default()
    });
    let changed_mind = Payload::AcpPreferenceSuperseded(v1::AcpPreferenceSuperseded {
        preference_id: thing(2),
        ..Default::default()
    });
    let mut told = vec![registered(&["77"]), wish(1, "延命を希望する"), wish(3, "家で"), instead];
    let wishes = |summary: v1::PatientSummary| -> Vec<String> {
        summary.wishes.into_iter().map(|wish| wish.preference).collect()
    };
    assert_eq!(wishes(read_on("2026-05-30", &told)), ["延命を希望しない", "家で"]);
    told.push(changed_mind);
    assert_eq!(wishes(read_on("2026-05-30", &told)), ["家で"]);
}

#[test]
fn a_wish_holds_until_the_one_in_its_place_is_known() {
    let replaced = Payload::AcpPreferenceSuperseded(v1::AcpPreferenceSuperseded {
        preference_id: thing(1),
        superseded_by_preference_id: thing(2).to_uppercase(),
        ..Default::default()
    });
    let mut told = vec![registered(&["77"]), wish(1, "延命を希望する"), replaced];
    let wishes = |told: &[Payload]| -> Vec<String> {
        let wishes = read_on("2026-05-30", told).wishes;
        wishes.into_iter().map(|wish| wish.preference).collect()
    };
    assert_eq!(wishes(&told), ["延命を希望する"]);
    told.push(wish(2, "延命を希望しない"));
    assert_eq!(wishes(&told), ["延命を希望しない"]);
}

#[test]
fn a_care_manager_who_was_declared_ahead_is_one_from_that_day_on() {
    let mut ahead = manager("cm-2");
    if let Payload::PrimaryCareManagerDeclared(declared) = &mut ahead {
        declared.valid_from_on = "2026-06-01".to_owned();
    }
    let told = [registered(&["77"]), manager("cm-1"), ahead];
    for (day, person) in [("2026-05-31", "cm-1"), ("2026-06-01", "cm-2")] {
        let team = read_on(day, &told).team;
        assert_eq!(team[0].member.as_ref().unwrap().person, person, "{day}");
        assert_eq!(team.iter().filter(|of| of.is_care_manager).count(), 1, "{day}");
    }
}

#[test]
fn of_two_open_stays_the_plan_is_that_of_the_one_the_patient_is_in() {
    let of = |encounter: &str, mut told: Payload| {
        if let Payload::DischargePlanned(planned) = &mut told {
            planned.encounter_id = encounter.to_owned();
        } else if let Payload::Admitted(admitted) = &mut told {
            admitted.encounter_id = encounter.to_owned();
        }
        told
    };
    let second = thing(9);
    for [of_second, of_first] in [["2026-05-25", "2026-05-20"], ["2026-05-20", "2026-05-25"]] {
        let told = [
            registered(&["77"]),
            admitted("4E"),
            of(&second, admitted("9W")),
            of(&second, planned(of_second)),
            planned(of_first),
        ];
        assert_eq!(read_on("2026-05-10", &told).planned_discharge_at, of_second);
    }
}

/// What everybody sees if the events are told in this order, but for when that was.
pub(crate) fn seen(order: &[v1::Event]) -> (Vec<v1::TimelineEntry>, v1::PatientSummary) {
    let began = jiff::Timestamp::UNIX_EPOCH;
    let stored: Vec<Stored> = (1..)
        .zip(order)
        .map(|(version, told)| Stored {
            stream: StreamId::Patient(patient()),
            placed: Placed {
                position: Position { slot: Slot(0), n: version },
                version,
                recorded_at: began + SignedDuration::from_secs(i64::try_from(version).unwrap()),
            },
            event: EventId::parse(&told.event_id).unwrap(),
            record: told.encode_to_vec().into(),
        })
        .collect();
    let zone = Zone::named("Asia/Tokyo").unwrap();
    let timeline = Timeline::fold(&stored, &zone, View::default());
    let mut entries = timeline.entries_oldest_first();
    for entry in &mut entries {
        (entry.recorded_at, entry.version) = (None, 0);
        entry.earlier.iter_mut().for_each(|earlier| earlier.recorded_at = None);
    }
    (entries, timeline.summary(patient()))
}

/// The summary as it is read in the end.
fn at_the_end(mut summary: v1::PatientSummary) -> v1::PatientSummary {
    glance::on_day(&mut summary, "2026-05-31");
    summary
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_makes_no_difference(order in told_out_of_order()) {
        let in_order = seen(&month());
        let (entries, summary) = seen(&order);
        prop_assert_eq!(entries, in_order.0);
        prop_assert_eq!(summary, in_order.1);
    }
}

#[test]
fn the_month_says_what_it_should() {
    let (entries, summary) = seen(&month());
    let summary = at_the_end(summary);
    assert_eq!(entries.len(), 24);
    assert_eq!(summary.state(), v1::PatientState::InHospital);
    assert_eq!(summary.since_at, "2026-05-02T20:00:00+09:00");
    assert_eq!(summary.planned_discharge_at, "2026-05-20");
    assert_eq!(summary.wish.as_ref().unwrap().preference, "家で");
    assert_eq!(summary.wish.as_ref().unwrap().earlier_count, 1);
    assert_eq!(summary.team[0].member.as_ref().unwrap().person, "cm-2");
    assert!(summary.questions.is_empty());
    assert_eq!(summary.cases[0].next_contact_on, "2026-05-20");
    let visit = entries.iter().find(|entry| entry.event_id == event(14).to_string()).unwrap();
    assert_eq!(visit.entered_in_error_by_event_id, event(16).to_string());
    let wish = entries.iter().find(|entry| entry.event_id == event(11).to_string()).unwrap();
    assert_eq!(wish.occurred_at, LAST_SAID);
    let earlier = wish.earlier.iter().map(|earlier| earlier.corrected_by_event_id.clone());
    assert!(earlier.eq([event(31).to_string(), event(30).to_string()]));
}

/// What is said of a resource in two weeks, on one day after the other.
fn resource_events() -> Vec<v1::Event> {
    let named = |name: &str| v1::Resource { name: name.into(), ..Default::default() };
    let capacity = |code: &str| {
        let code = v1::Code { code: code.into(), ..Default::default() };
        Payload::ResourceCapacitySet(v1::ResourceCapacitySet {
            capacity: Some(code),
            ..Default::default()
        })
    };
    let payloads = [
        Payload::ResourcePublished(named("サロン")),
        capacity("has-capacity"),
        Payload::ResourceChanged(named("新サロン")),
        Payload::ResourceVerified(v1::ResourceVerified::default()),
        capacity("no-capacity"),
        Payload::ResourceWithdrawn(v1::ResourceWithdrawn::default()),
        Payload::ResourcePublished(named("戻ったサロン")),
        Payload::ResourceVerified(v1::ResourceVerified::default()),
    ];
    (0..)
        .zip(1..)
        .zip(&payloads)
        .map(|((number, day), told)| care_event(0, number, day, told))
        .collect()
}

fn directory_entry(order: &[v1::Event]) -> v1::DirectoryEntry {
    let resource = ResourceId::new(Uuid::from_u128(5));
    let stored: Vec<Stored> = (1..)
        .zip(order)
        .map(|(version, told)| Stored {
            stream: StreamId::Resource(resource),
            placed: Placed {
                position: Position { slot: Slot(0), n: version },
                version,
                recorded_at: jiff::Timestamp::UNIX_EPOCH,
            },
            event: EventId::parse(&told.event_id).unwrap(),
            record: told.encode_to_vec().into(),
        })
        .collect();
    directory::entry(resource, &stored, &Zone::named("Asia/Tokyo").unwrap()).unwrap()
}

proptest! {
    #[test]
    fn the_directory_says_the_same_in_whatever_order_it_was_told(
        order in Just(resource_events()).prop_shuffle()
    ) {
        let entry = directory_entry(&order);
        prop_assert_eq!(&entry, &directory_entry(&resource_events()));
        prop_assert_eq!(entry.resource.unwrap().name, "戻ったサロン");
        prop_assert!(!entry.is_withdrawn);
    }
}
