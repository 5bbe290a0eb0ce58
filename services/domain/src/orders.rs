//! In every order of telling: all that can follow one another is taken and says the same, and of two
//! steps that exclude each other one is.

mod of_one_day;

use uuid::Uuid;

use crate::case::Command as Case;
use crate::correction::{Change, Correction};
use crate::note::{self, Document};
use crate::properties::{command, replay, tell_again_and_again};
use crate::record::testing::{admit, encounter_id, event_id, noon, register, stamp_for};
use crate::referral::Command as Referral;
use crate::transfer_request::Command as Transfer;
use crate::{
    CareTime, CaseId, Event, EventId, Fact, OrganisationId, PatientId, Record, ReferralId, Stamp,
    TransferRequestId, identity, record, referral, transfer_request,
};

/// Who says what on which day of May.
type Said = (&'static str, u8, record::Order);

fn transfer(request: u128, day: u8, command: Transfer) -> Said {
    let who = match command {
        Transfer::Offer(()) | Transfer::Decline(()) => "rehab",
        Transfer::Request(_) | Transfer::Accept(()) | Transfer::Withdraw(()) => "acute",
    };
    let id = TransferRequestId::new(Uuid::from_u128(request));
    (who, day, record::Order::TransferRequest(id, command))
}

fn asked(request: u128) -> Said {
    let facility = OrganisationId::parse("rehab").unwrap();
    let question = transfer_request::Question { encounter: encounter_id(1), facility };
    transfer(request, 3, Transfer::Request(question))
}

fn offer(request: u128, day: u8) -> Said {
    transfer(request, day, Transfer::Offer(()))
}

fn of_referral(day: u8, command: Referral) -> Said {
    let by_requester = matches!(
        command,
        Referral::Request(_) | Referral::Cancel(()) | Referral::MarkEnteredInError(())
    );
    let who = if by_requester { "acute" } else { "link-workers" };
    (who, day, record::Order::Referral(ReferralId::new(Uuid::from_u128(7)), command))
}

fn referred() -> Said {
    let receiver = OrganisationId::parse("link-workers").unwrap();
    of_referral(3, Referral::Request(referral::Asked { receiver, case: None }))
}

fn of_case(day: u8, command: Case) -> Said {
    ("link-workers", day, record::Order::Case(CaseId::new(Uuid::from_u128(8)), command))
}

fn goal(day: u8) -> Said {
    let case = Some(CaseId::new(Uuid::from_u128(8)));
    let set = Document { case, is_case_work: true, ..Document::default() };
    ("link-workers", day, record::Order::Document(set))
}

fn question(day: u8, from: &'static [&'static str], to: &'static str) -> Said {
    let step = note::Step::of_question(9, from, to);
    ("office", day, record::Order::Document(Document { step: Some(step), ..Document::default() }))
}

/// At nine o'clock of a day.
fn at_nine(day: u8) -> String {
    format!("2026-05-{day:02}T09:00:00+09:00")
}

/// On a day, and no more is known.
fn on_the_day(day: u8) -> String {
    format!("2026-05-{day:02}")
}

/// Every order in which these can be told, after the patient was admitted; each is the event of its
/// place.
fn in_every_order(said: &[Said], at: fn(u8) -> String) -> Vec<Vec<Event>> {
    let event = |(number, (who, day, order)): (u128, &Said)| Event {
        stamp: stamp_for(number, &at(*day), who),
        fact: order.clone().into(),
    };
    let begun = [("acute", 1, register()), ("acute", 2, admit(1, "acute", None))];
    let begun: Vec<Event> = (100..).zip(&begun).map(event).collect();
    let events: Vec<Event> = (1..).zip(said).map(event).collect();
    let permuted = permutations(&events);
    permuted.into_iter().map(|told| [begun.clone(), told].concat()).collect()
}

fn permutations(events: &[Event]) -> Vec<Vec<Event>> {
    if events.is_empty() {
        return vec![Vec::new()];
    }
    let first = |place: usize| {
        let mut rest = events.to_vec();
        let first = rest.remove(place);
        permutations(&rest).into_iter().map(move |rest| [vec![first.clone()], rest].concat())
    };
    (0..events.len()).flat_map(first).collect()
}

fn all_are_taken(said: &[Said]) {
    all_of_times_are_taken(said, at_nine);
}

fn all_of_times_are_taken(said: &[Said], at: fn(u8) -> String) {
    let orders = in_every_order(said, at);
    let in_time = replay(&orders[0]);
    for told in orders {
        let (record, refused) = tell_again_and_again(told.clone());
        assert!(refused.is_empty(), "{refused:?} of {told:?}");
        assert!(record.says_the_same_as(&in_time), "{told:?}");
        assert!(accepted(&record) <= 1, "{told:?}");
    }
}

/// How many offers are accepted.
fn accepted(record: &Record) -> usize {
    let mut all = record.transfer_requests();
    all.by_ref().filter(|(_, of)| of.state() == transfer_request::State::Accepted).count()
}

/// The last two exclude each other.
fn one_is_taken(said: &[Said]) {
    one_stands_whatever_is_corrected(said);
    let last_two = [said.len() - 1, said.len()];
    let last_two = last_two.map(|number| EventId::new(Uuid::from_u128(number.try_into().unwrap())));
    for told in in_every_order(said, at_nine) {
        let (_, refused) = tell_again_and_again(told.clone());
        let events: Vec<EventId> = refused.iter().map(|(event, _)| event.stamp.event).collect();
        assert!(
            events.len() == 1 && last_two.contains(&events[0]),
            "not taken: {refused:?} of {told:?}"
        );
    }
}

/// The same, where one of the two is entered in error, and that as well, said to be done whenever:
/// whichever of it is told first.
fn one_stands_whatever_is_corrected(said: &[Said]) {
    let (begun, last_two) = said.split_at(said.len() - 2);
    let begun = &in_every_order(begun, at_nine)[0];
    for [in_error, other] in [[0, 1], [1, 0]] {
        let event = |place: usize| {
            let (who, day, order) = &last_two[place];
            let number = 50 + u128::try_from(place).unwrap();
            Event { stamp: stamp_for(number, &at_nine(*day), who), fact: order.clone().into() }
        };
        let (in_error, other) = (event(in_error), event(other));
        let days = [in_error.stamp.occurred_at, other.stamp.occurred_at].map(|at| at.earliest());
        let hour = jiff::SignedDuration::from_hours(1);
        for day in [days[0], days[1], days[0].max(days[1]) + hour * 48] {
            let [error, back] = [1, 2].map(|hours| CareTime::at(day + hour * hours));
            let error = corrected(60, error, &in_error, Change::EnteredInError);
            let back = corrected(61, back, &error, Change::EnteredInError);
            let told = [in_error.clone(), other.clone(), error, back];
            never_both_stand(begun, &told, [&in_error, &other]);
        }
    }
}

fn corrected(number: u128, occurred_at: CareTime, of: &Event, change: Change) -> Event {
    let stamp = Stamp { event: event_id(number), occurred_at, ..of.stamp.clone() };
    let corrects = of.stamp.event;
    Event { stamp, fact: Fact::Correction(Correction { corrects, change }) }
}

/// In every order of telling, one of the two stands at last, and never both.
fn never_both_stand(begun: &[Event], told: &[Event], two: [&Event; 2]) {
    for told in permutations(told) {
        let mut record = replay(begun);
        let standing = |record: &Record| {
            let is_one = |event: EventId| two.iter().any(|one| one.stamp.event == event);
            record.standing().filter(|(stamp, _)| is_one(stamp.event)).count()
        };
        let mut left = told.clone();
        for _ in 0..told.len() {
            left.retain(|event| {
                let is_taken = record.decide(command(event), noon()).is_ok();
                if is_taken {
                    record.apply(event);
                }
                assert!(standing(&record) < 2, "both stand of {told:?}");
                !is_taken
            });
        }
        assert_eq!(standing(&record), 1, "none is taken of {told:?}");
    }
}

#[test]
fn what_can_follow_one_another_is_taken_in_every_order() {
    all_are_taken(&[
        asked(1),
        transfer(1, 4, Transfer::Offer(())),
        transfer(1, 5, Transfer::Decline(())),
        transfer(1, 6, Transfer::Offer(())),
        transfer(1, 7, Transfer::Accept(())),
        transfer(1, 8, Transfer::Withdraw(())),
    ]);
    all_are_taken(&[
        asked(1),
        asked(2),
        transfer(1, 4, Transfer::Offer(())),
        transfer(2, 4, Transfer::Offer(())),
        transfer(1, 5, Transfer::Accept(())),
        transfer(1, 6, Transfer::Withdraw(())),
        transfer(2, 7, Transfer::Accept(())),
    ]);
    all_are_taken(&[
        referred(),
        of_referral(4, Referral::Accept(())),
        of_referral(5, Referral::Start(())),
        of_referral(6, Referral::Hold(())),
        of_referral(7, Referral::Start(())),
        of_referral(8, Referral::Hold(())),
        of_referral(9, Referral::Start(())),
    ]);
    all_are_taken(&[
        referred(),
        of_referral(4, Referral::Accept(())),
        of_referral(5, Referral::Complete(())),
    ]);
    all_are_taken(&[
        of_case(3, Case::Open(None)),
        of_case(4, Case::Close(())),
        of_case(5, Case::Reopen(())),
        of_case(6, Case::Close(())),
        of_case(7, Case::Reopen(())),
        of_case(8, Case::RecordContact(())),
        of_case(9, Case::Close(())),
    ]);
    all_are_taken(&[
        of_case(3, Case::Open(None)),
        goal(4),
        of_case(5, Case::Close(())),
        of_case(6, Case::Reopen(())),
        goal(7),
    ]);
    all_are_taken(&[
        question(3, &["none"], "open"),
        question(4, &["open"], "closed"),
        question(5, &["open", "closed"], "open"),
        question(6, &["open"], "closed"),
        question(7, &["closed"], "open"),
        question(8, &["open"], "closed"),
    ]);
}

/// Accepted, withdrawn, and another accepted elsewhere, of which only the day is known.
#[test]
fn an_offer_withdrawn_makes_room_for_another_of_the_same_day_in_every_order() {
    let on_one_day = |days: [u8; 5]| {
        [
            asked(1),
            asked(2),
            transfer(1, days[0], Transfer::Offer(())),
            transfer(2, days[1], Transfer::Offer(())),
            transfer(1, days[2], Transfer::Accept(())),
            transfer(1, days[3], Transfer::Withdraw(())),
            transfer(2, days[4], Transfer::Accept(())),
        ]
    };
    for days in [[4, 4, 5, 5, 5], [5, 5, 5, 5, 5], [4, 4, 5, 6, 6]] {
        all_of_times_are_taken(&on_one_day(days), on_the_day);
        let told = &in_every_order(&on_one_day(days), on_the_day)[0];
        let mut record = Record::default();
        for event in told {
            let decided = record.decide(command(event), noon());
            assert!(decided.is_ok(), "{decided:?} of {days:?}");
            record.apply(event);
        }
    }
}

#[test]
fn of_two_offers_for_one_stay_one_is_accepted_in_every_order() {
    for day in [9, 10, 11] {
        one_is_taken(&[
            asked(1),
            asked(2),
            transfer(1, 4, Transfer::Offer(())),
            transfer(2, 4, Transfer::Offer(())),
            transfer(1, 10, Transfer::Accept(())),
            transfer(2, day, Transfer::Accept(())),
        ]);
    }
}

/// What makes room for another is corrected when the other is taken: it is entered in error, or
/// was done later.
#[test]
fn what_makes_room_for_another_step_is_not_taken_from_under_it() {
    let offered = [asked(1), asked(2), offer(1, 4), offer(2, 4)];
    let accepted = transfer(1, 5, Transfer::Accept(()));
    let withdrawn = transfer(1, 6, Transfer::Withdraw(()));
    room_is_kept(
        &[&offered[..], &[accepted]].concat(),
        &withdrawn,
        &transfer(2, 9, Transfer::Accept(())),
    );
    let closed = [of_case(3, Case::Open(None)), of_case(4, Case::Close(()))];
    room_is_kept(&closed, &of_case(5, Case::Reopen(())), &of_case(9, Case::Close(())));
    let called_off = [
        question(3, &["none", "scheduled", "cancelled"], "scheduled"),
        question(4, &["scheduled"], "cancelled"),
    ];
    let called = question(5, &["none", "scheduled", "cancelled"], "scheduled");
    let held = question(9, &["none", "scheduled", "held"], "held");
    room_is_kept(&called_off, &called, &held);
}

fn room_is_kept(begun: &[Said], between: &Said, after: &Said) {
    let told = &in_every_order(&[begun, &[between.clone(), after.clone()]].concat(), at_nine)[0];
    let [.., made, _] = &told[..] else { panic!("too few") };
    let hour = jiff::SignedDuration::from_hours(1);
    let at = CareTime::at(made.stamp.occurred_at.earliest() + hour);
    let later = CareTime::at(told[told.len() - 1].stamp.occurred_at.earliest() + hour);
    for change in [Change::EnteredInError, Change::Time(later)] {
        let error = corrected(60, at, made, change);
        let refused = replay(told).decide(command(&error), noon()).unwrap_err();
        let reasons = ["ANOTHER_OFFER_ACCEPTED", "OUT_OF_ORDER"];
        assert!(reasons.contains(&refused.reason()), "{refused:?} of {error:?}");
    }
    // The same in place of what was wrong, told together.
    let (error, again) = (corrected(60, at, made, Change::EnteredInError), {
        let stamp = Stamp { event: event_id(62), ..made.stamp.clone() };
        Event { stamp: Stamp { occurred_at: at, ..stamp }, fact: made.fact.clone() }
    });
    let mut record = replay(told);
    for (event, follow) in [(&error, vec![command(&again)]), (&again, Vec::new())] {
        let decided = record.decide_before(command(event), &follow, noon());
        assert!(decided.is_ok(), "{decided:?}");
        record.apply(event);
    }
}

/// The other offer was accepted in a record that is merged with this one.
#[test]
fn an_offer_is_not_accepted_again_beside_one_of_a_merged_record() {
    let retired = PatientId::new(Uuid::from_u128(70));
    let other = [asked(2), offer(2, 4), transfer(2, 9, Transfer::Accept(()))];
    let other = replay(&in_every_order(&other, at_nine)[0]);
    let accepted = [asked(1), offer(1, 4), transfer(1, 5, Transfer::Accept(()))];
    let told = &in_every_order(&accepted, at_nine)[0];
    let mut record = replay(told);
    let accepted = &told[told.len() - 1];
    let error = corrected(60, accepted.stamp.occurred_at, accepted, Change::EnteredInError);
    record.apply(&error);
    let merged = Fact::Identity(identity::Event::Merged(identity::Merge { retired }));
    record.apply(&Event { stamp: stamp_for(61, &at_nine(10), "acute"), fact: merged });
    record.absorb(retired, &other);
    let back = corrected(62, accepted.stamp.occurred_at, &error, Change::EnteredInError);
    let refused = record.decide(command(&back), noon()).unwrap_err();
    assert_eq!(refused.reason(), "ANOTHER_OFFER_ACCEPTED");
}

/// What one step lacks may still be told: an acceptance that was an error, and the right one.
#[test]
fn a_correction_that_is_told_late_takes_away_what_is_told_again() {
    let told =
        [referred(), of_referral(4, Referral::Accept(())), of_referral(9, Referral::Complete(()))];
    let told = &in_every_order(&told, at_nine)[0];
    let accepted = &told[told.len() - 2];
    let after = |hours| {
        let hours = jiff::SignedDuration::from_hours(hours);
        CareTime::at(accepted.stamp.occurred_at.earliest() + hours)
    };
    let error = corrected(60, after(1), accepted, Change::EnteredInError);
    let (_, refused) = tell_again_and_again([&told[..], std::slice::from_ref(&error)].concat());
    assert!(refused.is_empty(), "{refused:?}");
    // The error was one, and that as well.
    let back = corrected(61, after(2), &error, Change::EnteredInError);
    let again = corrected(62, after(3), &back, Change::EnteredInError);
    let mut record = replay(told);
    for event in [error, back, again] {
        assert_eq!(record.decide(command(&event), noon()).err(), None, "{event:?}");
        record.apply(&event);
    }
}

#[test]
fn of_two_steps_that_exclude_each_other_one_is_taken_in_every_order() {
    one_is_taken(&[
        asked(1),
        transfer(1, 4, Transfer::Offer(())),
        transfer(1, 10, Transfer::Accept(())),
        transfer(1, 9, Transfer::Decline(())),
    ]);
    let taken =
        || [referred(), of_referral(4, Referral::Accept(())), of_referral(5, Referral::Start(()))];
    for other in [
        of_referral(9, Referral::Cancel(())),
        of_referral(10, Referral::Fail(())),
        of_referral(20, Referral::Fail(())),
    ] {
        one_is_taken(&[&taken()[..], &[of_referral(15, Referral::Complete(())), other]].concat());
    }
    one_is_taken(&[
        referred(),
        of_referral(5, Referral::Accept(())),
        of_referral(4, Referral::Reject(())),
    ]);
    let on_it = Case::Open(Some(ReferralId::new(Uuid::from_u128(7))));
    one_is_taken(&[referred(), of_referral(5, Referral::Cancel(())), of_case(9, on_it)]);
    let opened = || of_case(3, Case::Open(None));
    one_is_taken(&[opened(), of_case(9, Case::Close(())), of_case(8, Case::Close(()))]);
    one_is_taken(&[opened(), of_case(9, Case::RecordContact(())), of_case(8, Case::Close(()))]);
    one_is_taken(&[opened(), goal(9), of_case(8, Case::Close(()))]);
    one_is_taken(&[
        question(3, &["none"], "open"),
        question(9, &["open"], "answered"),
        question(8, &["open"], "withdrawn"),
    ]);
    one_is_taken(&[
        question(3, &["none", "scheduled", "cancelled"], "scheduled"),
        question(9, &["none", "scheduled", "held"], "held"),
        question(8, &["scheduled"], "cancelled"),
    ]);
    one_is_taken(&[asked(1), asked(1)]);
    // Nothing ends twice, though the later end was told first.
    for [first, last] in [[8, 9], [9, 8]] {
        let answered = || question(5, &["open", "answered"], "answered");
        let closed = |day| question(day, &["open", "answered"], "closed");
        let asked = || question(3, &["none"], "open");
        one_is_taken(&[asked(), answered(), closed(first), closed(last)]);
        let reopened = question(5, &["closed"], "open");
        one_is_taken(&[asked(), closed(4), reopened, closed(first), closed(last)]);
    }
}
