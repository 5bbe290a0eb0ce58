//! In every order of telling: all that can follow one another is taken and says the same, and of two
//! steps that exclude each other one is.

use uuid::Uuid;

use crate::case::Command as Case;
use crate::note::{self, Document};
use crate::properties::{replay, tell_again_and_again};
use crate::record::testing::{admit, encounter_id, noon, register, stamp_for};
use crate::referral::Command as Referral;
use crate::transfer_request::Command as Transfer;
use crate::{
    CaseId, Command, Event, EventId, OrganisationId, Record, ReferralId, TransferRequestId, record,
    referral, transfer_request,
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

fn question(day: u8, from: &'static [&'static str], to: &'static str) -> Said {
    let step = note::Step {
        of: "question_id",
        id: Uuid::from_u128(9),
        from,
        to,
        by_person: false,
        by_beginner: false,
        content: None,
        variant: None,
    };
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
            let command = Command { stamp: event.stamp.clone(), order: event.fact.clone().into() };
            let decided = record.decide(command, noon());
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
    one_is_taken(&[
        question(3, &["none"], "open"),
        question(9, &["open"], "answered"),
        question(8, &["open"], "withdrawn"),
    ]);
}
