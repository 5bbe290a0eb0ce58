//! Whose question an id names. A request that was entered in error leaves the answers it was given
//! under its id: told anew, it must be the same question, or they would be put in the mouth of
//! somebody who never gave them. So must one that nobody answered yet, since an answer may still be
//! on its way. What was moved to another record leaves none.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::retold::{Refused, Work, is_step, refused};
use super::state::State;
use super::{Command, Fact, Record, Refusal, RefusalKind, Stamp};
use crate::id::{CaseId, EncounterId, EventId, OrganisationId, ReferralId, TransferRequestId};
use crate::note::Document;
use crate::{case, referral, transfer_request};

/// What is begun under an id of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    TransferRequest(TransferRequestId),
    Referral(ReferralId),
    Case(CaseId),
    /// Of the kind that the field says which names it.
    Course(&'static str, Uuid),
}

/// Who began it, with whom, and for which stay.
#[derive(Debug, Clone, PartialEq)]
struct Parties {
    by: OrganisationId,
    with: Option<OrganisationId>,
    stay: Option<EncounterId>,
}

/// All that was ever begun, also what was entered in error since.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Begun {
    of: BTreeMap<Thing, BTreeMap<EventId, Parties>>,
}

impl Thing {
    /// The field that names it.
    fn field(self) -> &'static str {
        match self {
            Self::TransferRequest(_) => "transfer_request_id",
            Self::Referral(_) => "referral_id",
            Self::Case(_) => "case_id",
            Self::Course(field, _) => field,
        }
    }
}

impl Begun {
    pub(super) fn add(&mut self, stamp: &Stamp, fact: &Fact) {
        if let Some((thing, parties)) = begins(stamp, fact) {
            self.of.entry(thing).or_default().insert(stamp.event, parties);
        }
    }
}

impl State {
    /// Whether what begins something is what was begun under its id before.
    pub(super) fn check_begun(&self, stamp: &Stamp, fact: &Fact) -> Result<(), Refusal> {
        let Some((thing, parties)) = begins(stamp, fact) else { return Ok(()) };
        let Some(before) = self.begun.of.get(&thing) else { return Ok(()) };
        // Others may have called it again, or the facility of the stay.
        let is_called =
            matches!(fact, Fact::Document(Document { step: Some(step), .. }) if step.by_beginner);
        let is_same = if is_called {
            before.values().any(|of| of.by == parties.by || self.is_at(of.stay, &parties.by))
        } else {
            before.values().all(|of| *of == parties)
        };
        if is_same { Ok(()) } else { Err(Refusal::IdOfAnother(thing.field())) }
    }

    fn is_at(&self, stay: Option<EncounterId>, facility: &OrganisationId) -> bool {
        let stay = stay.and_then(|stay| self.encounters.get(&stay));
        stay.and_then(|stay| stay.place()).is_some_and(|place| place.facility.id == *facility)
    }

    /// Whether anything is known of what is begun that holds again with it: its beginning was
    /// entered in error, or told in a record that is none of this one's any more.
    pub(super) fn wakes(&self, fact: &Fact) -> bool {
        match fact {
            Fact::TransferRequest(id, transfer_request::Event::Requested(_)) => {
                self.transfer_requests.contains_key(id)
            }
            Fact::Referral(id, referral::Event::Requested(_)) => {
                self.referrals.contains_key(id) || self.cases.values().any(|case| case.is_on(*id))
            }
            Fact::Case(id, case::Event::Opened(_)) => self.cases.contains_key(id),
            Fact::Document(Document { step: Some(step), .. }) if step.begins() => {
                let course = self.courses.get(&(step.of, step.id));
                course.is_some_and(|course| !course.is_begun())
            }
            Fact::TransferRequest(..)
            | Fact::Referral(..)
            | Fact::Case(..)
            | Fact::Identity(_)
            | Fact::Encounter(..)
            | Fact::Document(_)
            | Fact::Correction(_) => false,
        }
    }
}

impl Record {
    /// Whether the steps that hold again with what is told may do so beside all others.
    pub(super) fn check_woken(
        &self,
        stamp: &Stamp,
        told: &Fact,
        follow: &[Command],
    ) -> Result<(), Refusal> {
        if !self.state.wakes(told) {
            return Ok(());
        }
        let corrections = self.corrections_with(follow);
        let with =
            [&[Command { stamp: stamp.clone(), order: told.clone().into() }], follow].concat();
        let mut work = Work::default();
        let before = refused(&self.retold(&corrections, follow), &mut work)?;
        let retold = refused(&self.retold(&corrections, &with), &mut work)?;
        for Refused { event, fact, refusal, .. } in retold {
            let was = before.iter().find(|was| was.event == event).map(|was| &was.refusal);
            let is_told_now = with.iter().any(|told| told.stamp.event == event);
            if was == Some(&refusal) || is_told_now || !is_step(&fact) || !refusal.speaks_against()
            {
                continue;
            }
            // It answers another question than the one that is asked.
            if refusal.kind() == RefusalKind::NotYours
                && let Some(thing) = thing(told)
            {
                return Err(Refusal::IdOfAnother(thing.field()));
            }
            let is_of_it = !matches!(fact, Fact::Document(_)) && thing(&fact) == thing(told);
            return Err(if is_of_it { refusal } else { refusal.because_of(event) });
        }
        Ok(())
    }
}

/// What a fact is about, if that is begun under an id of its own.
pub(super) fn thing(fact: &Fact) -> Option<Thing> {
    match fact {
        Fact::TransferRequest(id, _) => Some(Thing::TransferRequest(*id)),
        Fact::Referral(id, _) => Some(Thing::Referral(*id)),
        Fact::Case(id, _) => Some(Thing::Case(*id)),
        Fact::Document(document) => document.step.map(|step| Thing::Course(step.of, step.id)),
        Fact::Identity(_) | Fact::Encounter(..) | Fact::Correction(_) => None,
    }
}

/// What a fact begins, and between whom.
fn begins(stamp: &Stamp, fact: &Fact) -> Option<(Thing, Parties)> {
    let (with, stay) = match fact {
        Fact::TransferRequest(_, transfer_request::Event::Requested(question)) => {
            (Some(question.facility.clone()), Some(question.encounter))
        }
        Fact::Referral(_, referral::Event::Requested(asked)) => {
            (Some(asked.receiver.clone()), None)
        }
        Fact::Case(_, case::Event::Opened(_)) => (None, None),
        // Under which stay is no part of the question, but says who else may call it off.
        Fact::Document(Document { step: Some(step), encounter, .. }) if step.begins() => {
            (None, encounter.filter(|_| step.by_beginner))
        }
        Fact::TransferRequest(..)
        | Fact::Referral(..)
        | Fact::Case(..)
        | Fact::Identity(_)
        | Fact::Encounter(..)
        | Fact::Document(_)
        | Fact::Correction(_) => return None,
    };
    Some((thing(fact)?, Parties { by: stamp.acting_for.clone(), with, stay }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correction::{Change, Correction};
    use crate::note::Step;
    use crate::record::testing::{admit, encounter_id, event_id, given, noon, register, stamp_for};
    use crate::record::{Event, Order};

    fn organisation(name: &str) -> OrganisationId {
        OrganisationId::parse(name).unwrap()
    }

    fn transfer(request: u128, command: transfer_request::Command) -> Order {
        Order::TransferRequest(TransferRequestId::new(Uuid::from_u128(request)), command)
    }

    fn ask(request: u128, stay: u128, facility: &str) -> Order {
        let (encounter, facility) = (encounter_id(stay), organisation(facility));
        let question = transfer_request::Question { encounter, facility };
        transfer(request, transfer_request::Command::Request(question))
    }

    fn correct(corrects: u128, change: Change) -> Order {
        Order::Correction(Correction { corrects: event_id(corrects), change })
    }

    fn error(corrects: u128) -> Order {
        correct(corrects, Change::EnteredInError)
    }

    fn said(number: u128, at: &str, who: &str, order: Order) -> Command {
        Command { stamp: stamp_for(number, at, who), order }
    }

    fn reason(record: &Record, command: Command) -> &'static str {
        record.decide(command, noon()).map_or_else(|refusal| refusal.reason(), |_| "OK")
    }

    /// With commands of which each is taken.
    fn and(mut record: Record, commands: impl IntoIterator<Item = Command>) -> Record {
        for command in commands {
            for event in record.decide(command, noon()).unwrap() {
                record.apply(&event);
            }
        }
        record
    }

    /// In two stays.
    fn stays() -> Record {
        given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-02", admit(2, "clinic", None)),
        ])
    }

    /// A request to `rehab` whose offer was accepted, and which was entered in error early on.
    fn in_error() -> Record {
        and(
            stays(),
            [
                said(11, "2026-05-03T09:00:00+09:00", "acute", ask(1, 1, "rehab")),
                said(12, "2026-05-04", "rehab", transfer(1, transfer_request::Command::Offer(()))),
                said(13, "2026-05-06", "acute", transfer(1, transfer_request::Command::Accept(()))),
                said(14, "2026-05-03T10:00:00+09:00", "acute", error(11)),
            ],
        )
    }

    #[test]
    fn a_request_is_told_anew_between_the_same_for_the_same_stay() {
        let again = |who, stay, facility| {
            reason(&in_error(), said(15, "2026-05-03", who, ask(1, stay, facility)))
        };
        assert_eq!(again("acute", 1, "rehab"), "OK");
        assert_eq!(again("acute", 1, "elsewhere"), "ID_OF_ANOTHER");
        assert_eq!(again("acute", 2, "rehab"), "ID_OF_ANOTHER");
        assert_eq!(again("clinic", 1, "rehab"), "ID_OF_ANOTHER");
    }

    #[test]
    fn what_was_never_answered_keeps_its_id_whatever_is_told_first() {
        let question = || said(11, "2026-05-03", "acute", ask(1, 1, "rehab"));
        let back = || said(12, "2026-05-03", "acute", error(11));
        let other = || said(13, "2026-05-04", "acute", ask(1, 1, "elsewhere"));
        let record = and(stays(), [question(), back()]);
        assert_eq!(reason(&record, other()), "ID_OF_ANOTHER");
        let (first, back) = (and(stays(), [other()]), said(14, "2026-05-05", "acute", error(13)));
        assert_eq!(reason(&and(first, [back]), question()), "ID_OF_ANOTHER");
        // Nor does what was answered, though its answers are in error.
        let back = [(15, 13), (16, 12)].map(|(id, of)| {
            let who = if of == 12 { "rehab" } else { "acute" };
            said(id, "2026-05-08", who, error(of))
        });
        let other = said(17, "2026-05-03", "acute", ask(1, 1, "elsewhere"));
        assert_eq!(reason(&and(in_error(), back), other), "ID_OF_ANOTHER");
    }

    #[test]
    fn an_error_that_is_told_late_leaves_nobody_s_answers_to_another() {
        let record = and(
            stays(),
            [
                said(21, "2026-05-03T12:00:00+09:00", "acute", ask(1, 1, "elsewhere")),
                said(
                    22,
                    "2026-05-04",
                    "elsewhere",
                    transfer(1, transfer_request::Command::Offer(())),
                ),
            ],
        );
        let (first, back) = (
            said(11, "2026-05-03T09:00:00+09:00", "acute", ask(1, 1, "rehab")),
            said(12, "2026-05-03T10:00:00+09:00", "acute", error(11)),
        );
        let mut late = record.clone();
        for event in record.decide_before(first, std::slice::from_ref(&back), noon()).unwrap() {
            late.apply(&event);
        }
        late = and(late, [back, said(23, "2026-05-03T13:00:00+09:00", "acute", error(21))]);
        let again = said(24, "2026-05-03T14:00:00+09:00", "acute", ask(1, 1, "rehab"));
        assert_eq!(reason(&late, again), "ID_OF_ANOTHER");
    }

    #[test]
    fn a_question_is_told_anew_as_it_was_corrected() {
        let elsewhere = || Change::Value(Box::new(ask(1, 1, "elsewhere").into()));
        let offered = transfer(1, transfer_request::Command::Offer(()));
        let record = and(
            stays(),
            [
                said(11, "2026-05-03T09:00:00+09:00", "acute", ask(1, 1, "rehab")),
                said(12, "2026-05-03T09:00:00+09:00", "acute", correct(11, elsewhere())),
                said(13, "2026-05-04", "elsewhere", offered),
                said(14, "2026-05-03T10:00:00+09:00", "acute", error(11)),
            ],
        );
        let again = |record: &Record, facility| {
            reason(record, said(16, "2026-05-03", "acute", ask(1, 1, facility)))
        };
        assert_eq!(again(&record, "elsewhere"), "OK");
        assert_eq!(again(&record, "rehab"), "ID_OF_ANOTHER");
        // It was corrected wrongly: what answered it stays with whoever answered.
        let wrongly = said(15, "2026-05-03T10:00:00+09:00", "acute", error(12));
        assert_eq!(again(&and(record, [wrongly]), "rehab"), "ID_OF_ANOTHER");
    }

    #[test]
    fn what_holds_again_with_a_request_is_no_second_acceptance() {
        let of_second = |number, at, who, command| said(number, at, who, transfer(2, command));
        let mut record = and(
            in_error(),
            [
                said(21, "2026-05-03", "acute", ask(2, 1, "rehab-2")),
                of_second(22, "2026-05-04", "rehab-2", transfer_request::Command::Offer(())),
                of_second(23, "2026-05-07", "acute", transfer_request::Command::Accept(())),
            ],
        );
        let again = || said(24, "2026-05-03", "acute", ask(1, 1, "rehab"));
        assert_eq!(
            record.decide(again(), noon()),
            Err(transfer_request::Refusal::AnotherAccepted(event_id(23)).into())
        );
        // Nor with something else that is true.
        let beside = said(28, "2026-05-08", "acute", Order::Document(Document::default()));
        for together in [[again(), beside.clone()], [beside, again()]] {
            assert_eq!(
                record.decide_together(&together, noon()),
                Err(transfer_request::Refusal::AnotherAccepted(event_id(23)).into())
            );
        }
        // Together with what takes the acceptance back.
        let back = [said(25, "2026-05-08", "acute", error(13))];
        assert!(record.decide_before(again(), &back, noon()).is_ok());
        let withdrawn =
            of_second(26, "2026-05-05", "acute", transfer_request::Command::Withdraw(()));
        record = and(record, [said(27, "2026-05-08", "acute", error(23))]);
        assert_eq!(reason(&and(record, [withdrawn]), again()), "OK");
    }

    #[test]
    fn what_holds_again_with_a_request_was_said_before_the_stay_ended() {
        let discharge = Order::Encounter(encounter_id(1), crate::encounter::Command::Discharge(()));
        let again = || said(21, "2026-05-03", "acute", ask(1, 1, "rehab"));
        for (at, expected) in [("2026-05-05", "ENCOUNTER_ENDED"), ("2026-05-07", "OK")] {
            let over = and(in_error(), [said(20, at, "acute", discharge.clone())]);
            assert_eq!(reason(&over, again()), expected, "{at}");
        }
    }

    #[test]
    fn a_merged_record_s_answers_are_to_its_own_question() {
        use crate::id::PatientId;
        use crate::identity;
        let retired = PatientId::new(Uuid::from_u128(7));
        let merged = identity::Event::Merged(identity::Merge { retired });
        let mut record =
            given(&[("2026-05-01", register()), ("2026-05-02", admit(3, "acute", None))]);
        let stamp = stamp_for(30, "2026-05-10", "acute");
        record.apply(&Event { stamp, fact: Fact::Identity(merged) });
        record.absorb(retired, &in_error());
        let again =
            |facility| reason(&record, said(31, "2026-05-03", "acute", ask(1, 1, facility)));
        assert_eq!(again("elsewhere"), "ID_OF_ANOTHER");
        assert_eq!(again("rehab"), "OK");
    }

    #[test]
    fn a_referral_is_told_anew_between_the_same() {
        let referral = |command| Order::Referral(ReferralId::new(Uuid::from_u128(1)), command);
        let refer = |to: &str| {
            let asked = referral::Asked { receiver: organisation(to), case: None };
            referral(referral::Command::Request(asked))
        };
        let record = and(
            stays(),
            [
                said(11, "2026-05-03T09:00:00+09:00", "acute", refer("lw")),
                said(12, "2026-05-04", "lw", referral(referral::Command::Accept(()))),
                said(13, "2026-05-03T10:00:00+09:00", "acute", error(11)),
            ],
        );
        let again = |who, at, to| reason(&record, said(15, at, who, refer(to)));
        assert_eq!(again("acute", "2026-05-03", "lw"), "OK");
        assert_eq!(again("acute", "2026-05-03", "lw-2"), "ID_OF_ANOTHER");
        assert_eq!(again("clinic", "2026-05-03", "lw"), "ID_OF_ANOTHER");
        assert_eq!(again("acute", "2026-05-05", "lw"), "OUT_OF_ORDER", "it was answered before");
    }

    #[test]
    fn a_case_is_told_anew_by_who_opened_it() {
        let case = |command| Order::Case(CaseId::new(Uuid::from_u128(1)), command);
        let record = and(
            stays(),
            [
                said(11, "2026-05-03T09:00:00+09:00", "lw", case(case::Command::Open(None))),
                said(12, "2026-05-04", "lw", case(case::Command::Close(()))),
                said(13, "2026-05-03T10:00:00+09:00", "lw", error(11)),
            ],
        );
        let again =
            |who| reason(&record, said(15, "2026-05-03", who, case(case::Command::Open(None))));
        assert_eq!(again("lw"), "OK");
        assert_eq!(again("lw-2"), "ID_OF_ANOTHER");
    }

    #[test]
    fn a_question_is_asked_anew_by_who_asked_it() {
        let asked =
            Document { step: Some(Step::of_question(1, &["none"], "open")), ..Document::default() };
        let answer = Document {
            step: Some(Step::of_question(1, &["open"], "answered")),
            ..Document::default()
        };
        let record = and(
            stays(),
            [
                said(11, "2026-05-03T09:00:00+09:00", "acute", Order::Document(asked)),
                said(12, "2026-05-04", "clinic", Order::Document(answer)),
                said(13, "2026-05-03T10:00:00+09:00", "acute", error(11)),
            ],
        );
        let again = |who| reason(&record, said(15, "2026-05-03", who, Order::Document(asked)));
        assert_eq!(again("acute"), "OK");
        assert_eq!(again("clinic"), "ID_OF_ANOTHER");
    }

    #[test]
    fn a_conference_is_called_anew_by_who_called_it_or_by_the_facility() {
        let step = |from, to| Step { by_beginner: true, ..Step::of_question(1, from, to) };
        let of = |step| {
            Order::Document(Document {
                encounter: Some(encounter_id(1)),
                step: Some(step),
                ..Document::default()
            })
        };
        let called = step(&["none", "scheduled", "cancelled"], "scheduled");
        let record = and(
            stays(),
            [
                said(11, "2026-05-03T09:00:00+09:00", "office", of(called)),
                said(12, "2026-05-04", "office", of(step(&["scheduled"], "cancelled"))),
                said(13, "2026-05-03T10:00:00+09:00", "office", error(11)),
            ],
        );
        let again = |who| reason(&record, said(15, "2026-05-03", who, of(called)));
        assert_eq!(again("office"), "OK");
        assert_eq!(again("acute"), "OK");
        assert_eq!(again("clinic"), "ID_OF_ANOTHER");
    }

    #[test]
    fn what_was_moved_to_another_record_leaves_its_id_free() {
        let offered = transfer(1, transfer_request::Command::Offer(()));
        let record = and(
            stays(),
            [
                said(11, "2026-05-03", "acute", ask(1, 1, "rehab")),
                said(12, "2026-05-04", "acute", correct(11, Change::Moved)),
                said(13, "2026-05-03T09:00:00+09:00", "acute", ask(1, 1, "elsewhere")),
                said(14, "2026-05-04", "elsewhere", offered),
                said(15, "2026-05-03T10:00:00+09:00", "acute", error(13)),
            ],
        );
        let again = said(16, "2026-05-03", "acute", ask(1, 1, "elsewhere"));
        assert_eq!(reason(&record, again), "OK", "nobody else was asked here");
    }
}
