//! Steps of which no more than the day is known, told late and between one another.

use super::*;
use crate::case;
use crate::record::testing::time;

/// The same, whichever of their ids is the first: these say nothing of the order in which it was.
fn whatever_the_ids(told: &[Event]) -> [Vec<Event>; 2] {
    let turned = |event: &Event| {
        let number = 1000 - event.stamp.event.uuid().as_u128();
        let stamp = Stamp { event: event_id(number), ..event.stamp.clone() };
        Event { stamp, fact: event.fact.clone() }
    };
    [told.to_vec(), told.iter().map(turned).collect()]
}

fn stories(said: &[Said]) -> Vec<Vec<Event>> {
    let told = in_every_order(said, on_the_day);
    told.iter().flat_map(|told| whatever_the_ids(told)).collect()
}

/// What of it is taken, each as often as it takes.
fn told_late(mut left: Vec<Event>, mut each: impl FnMut(&Record)) -> (Record, Vec<Event>) {
    let mut record = Record::default();
    loop {
        let before = left.len();
        left.retain(|event| {
            let is_taken = record.decide(command(event), noon()).is_ok();
            if is_taken {
                record.apply(event);
                each(&record);
            }
            !is_taken
        });
        if left.len() == before {
            return (record, left);
        }
    }
}

#[test]
fn no_offer_that_is_told_late_hides_an_acceptance() {
    let said = [
        asked(1),
        asked(2),
        offer(1, 9),
        transfer(1, 9, Transfer::Accept(())),
        offer(2, 4),
        offer(1, 4),
        transfer(1, 6, Transfer::Decline(())),
        transfer(2, 10, Transfer::Accept(())),
    ];
    let (begun, rest) = said.split_at(2);
    for rest in in_every_order(rest, on_the_day) {
        let begun = in_every_order(begun, on_the_day).swap_remove(0);
        // They are the events of their places in the whole story.
        let after = rest.into_iter().skip(2).map(|event| {
            let number = event.stamp.event.uuid().as_u128() + 2;
            let stamp = Stamp { event: event_id(number), ..event.stamp };
            Event { stamp, ..event }
        });
        let told: Vec<Event> = begun.into_iter().chain(after).collect();
        for told in whatever_the_ids(&told) {
            told_late(told.clone(), |record| {
                assert!(accepted(record) <= 1, "{told:?}");
            });
            let (record, refused) = tell_again_and_again(told.clone());
            assert_eq!(refused.len(), 1, "one of the two acceptances: {refused:?} of {told:?}");
            assert_eq!(accepted(&record), 1, "{told:?}");
        }
    }
}

#[test]
fn a_case_that_was_closed_and_reopened_on_a_day_is_open_whatever_else_is_told_late() {
    let said = [
        of_case(3, Case::Open(None)),
        of_case(9, Case::Close(())),
        of_case(9, Case::Reopen(())),
        of_case(6, Case::Reopen(())),
        of_case(5, Case::Close(())),
    ];
    for told in stories(&said) {
        let without_the_close_of_5: Vec<Event> = told
            .iter()
            .filter(|event| !(event.stamp.occurred_at == time("2026-05-05")))
            .cloned()
            .collect();
        for told in [told, without_the_close_of_5] {
            let is_open = |record: &Record| {
                let mut cases = record.cases();
                cases.all(|(_, case)| case.state() == case::State::Open)
            };
            let (record, left) = told_late(told.clone(), |_| ());
            assert!(left.is_empty(), "{left:?} of {told:?}");
            assert!(is_open(&record), "{told:?}");
        }
    }
}

/// What no order of telling one by one makes possible, in both orders of telling together.
fn only_together(said: &[Said], two: [&Said; 2]) {
    for at in [on_the_day, at_nine] {
        let all = [said, &two.map(Clone::clone)].concat();
        let told = in_every_order(&all, at).swap_remove(0);
        let (before, two) = told.split_at(told.len() - 2);
        let record = replay(before);
        for (one, other) in [(0, 1), (1, 0)] {
            let two = [one, other].map(|place: usize| command(&two[place]));
            for one in &two {
                assert!(record.decide(one.clone(), noon()).is_err(), "{one:?} alone");
            }
            let caused = record.decide_together(&two, noon());
            let events = caused.unwrap_or_else(|refusal| panic!("{refusal:?} of {two:?}"));
            let stamps: Vec<EventId> = events.iter().map(|event| event.stamp.event).collect();
            assert_eq!(stamps, two.each_ref().map(|one| one.stamp.event), "as they were given");
            let taken = replay(before.iter().chain(&events));
            assert!(taken.says_the_same_as(&replay(&told)));
        }
    }
}

#[test]
fn a_case_that_was_closed_and_reopened_before_a_contact_of_the_day_is_told_so_together() {
    let begun = [of_case(4, Case::Open(None)), of_case(8, Case::RecordContact(()))];
    only_together(&begun, [&of_case(6, Case::Close(())), &of_case(8, Case::Reopen(()))]);
}

#[test]
fn a_referral_that_was_on_hold_and_completed_on_a_day_is_told_so_together() {
    let begun = [
        referred(),
        of_referral(4, Referral::Accept(())),
        of_referral(6, Referral::Start(())),
        of_referral(8, Referral::Complete(())),
    ];
    only_together(
        &begun,
        [&of_referral(8, Referral::Hold(())), &of_referral(8, Referral::Start(()))],
    );
}

/// One of them alone is not taken back, nor done later: it makes the other possible.
#[test]
fn of_what_is_possible_together_alone_no_half_is_taken_away() {
    let said = [
        referred(),
        of_referral(4, Referral::Accept(())),
        of_referral(6, Referral::Start(())),
        of_referral(8, Referral::Complete(())),
        of_referral(8, Referral::Hold(())),
        of_referral(8, Referral::Start(())),
    ];
    let told = in_every_order(&said, on_the_day).swap_remove(0);
    let record = replay(&told);
    let half = &told[told.len() - 1];
    for change in [Change::EnteredInError, Change::Time(time("2026-05-09"))] {
        for at in ["2026-05-10", "2026-05-08"] {
            let error = corrected(60, time(at), half, change.clone());
            let refused = record.decide(command(&error), noon()).unwrap_err();
            let reasons = ["LATER_EVENT_DEPENDS", "OUT_OF_ORDER", "REFERRAL_IN_WRONG_STATE"];
            assert!(reasons.contains(&refused.reason()), "{refused:?} of {error:?}");
            // Nor with something else that is true.
            let stamp = Stamp { event: event_id(70), ..error.stamp.clone() };
            let beside = Event { stamp, fact: Fact::Document(Document::default()) };
            for together in [[&error, &beside], [&beside, &error]] {
                let again = record.decide_together(&together.map(command), noon()).unwrap_err();
                assert_eq!(again, refused, "{together:?}");
            }
        }
    }
    let both = [half, &told[told.len() - 2]].map(|one| {
        let number = one.stamp.event.uuid().as_u128() + 60;
        command(&corrected(number, time("2026-05-10"), one, Change::EnteredInError))
    });
    assert!(record.decide_together(&both, noon()).is_ok());
}

/// With more that can be taken beside them.
#[test]
fn a_whole_story_is_taken_together_in_every_order() {
    let of_case = [
        of_case(4, Case::Open(None)),
        of_case(8, Case::RecordContact(())),
        of_case(6, Case::Close(())),
        of_case(8, Case::Reopen(())),
        of_case(9, Case::RecordContact(())),
    ];
    let of_offers = [
        asked(1),
        asked(2),
        offer(1, 8),
        offer(2, 8),
        transfer(1, 8, Transfer::Accept(())),
        transfer(1, 8, Transfer::Withdraw(())),
        transfer(2, 8, Transfer::Accept(())),
    ];
    for said in [&of_case[..], &of_offers] {
        let told = in_every_order(said, on_the_day).swap_remove(0);
        let (begun, rest) = told.split_at(told.len() - 5);
        for rest in permutations(rest) {
            let commands: Vec<_> = rest.iter().map(command).collect();
            let caused = replay(begun).decide_together(&commands, noon());
            assert_eq!(caused.as_ref(), Ok(&rest), "as they were given");
            assert!(replay(&told).says_the_same_as(&replay(begun.iter().chain(&rest))));
        }
    }
}

/// Each of them seems possible when the other has been told.
#[test]
fn what_is_impossible_is_so_together() {
    let refused = |said: &[Said], count: usize, reason: &str| {
        let told = in_every_order(said, on_the_day).swap_remove(0);
        let (before, rest) = told.split_at(told.len() - count);
        for rest in permutations(rest) {
            let commands: Vec<_> = rest.iter().map(command).collect();
            let refusal = replay(before).decide_together(&commands, noon()).unwrap_err();
            let first = replay(before).decide(commands[0].clone(), noon());
            assert_eq!(refusal.reason(), reason, "{rest:?}");
            assert!(first.is_ok() || first == Err(refusal), "the first that is refused: {rest:?}");
        }
    };
    let (start, complete) = (Referral::Start(()), Referral::Complete(()));
    let never_accepted = [referred(), of_referral(8, start), of_referral(8, complete)];
    refused(&never_accepted, 2, "REFERRAL_IN_WRONG_STATE");
    let offered = [asked(1), asked(2), offer(1, 4), offer(2, 4)];
    let accepted = [1, 2].map(|request| transfer(request, 8, Transfer::Accept(())));
    refused(&[&offered[..], &accepted].concat(), 2, "ANOTHER_OFFER_ACCEPTED");
    let closed = [of_case(4, Case::Open(None)), of_case(6, Case::Close(()))];
    let contacts = [of_case(8, Case::RecordContact(())), of_case(8, Case::RecordContact(()))];
    refused(&[&closed[..], &contacts].concat(), 2, "CASE_CLOSED");
}

#[test]
fn of_more_steps_of_one_day_than_an_order_is_looked_for_the_ids_decide() {
    let steps = |held: usize| {
        let turns = [Referral::Start(()), Referral::Hold(())].into_iter().cycle().take(held);
        let said = [referred(), of_referral(4, Referral::Accept(()))].into_iter();
        said.chain(turns.map(|step| of_referral(5, step))).collect::<Vec<_>>()
    };
    for (held, in_order) in [(29, true), (41, false)] {
        let told: Vec<Event> = (1..)
            .zip(steps(held))
            .map(|(number, (who, day, order))| {
                // By their ids, all that was held on that day would have been held at last.
                let number = if day == 5 && number % 2 == 0 { 1000 + number } else { number };
                Event { stamp: stamp_for(number, &on_the_day(day), who), fact: order.into() }
            })
            .collect();
        let record = replay(&told);
        let (_, referral) = record.referrals().next().unwrap();
        assert_eq!(referral.gaps() == crate::path::Gaps::default(), in_order, "{held}");
        assert!(replay(told.iter().rev()).says_the_same_as(&record), "{held}");
    }
}
