//! What is asked, worked on and written down about a patient: transfer requests, referrals, cases and
//! documents, and what each must be about.

use super::state::State;
use super::{Refusal, Stamp};
use crate::case::{self, Case};
use crate::encounter;
use crate::id::{CaseId, ReferralId, TransferRequestId};
use crate::note::{self, Course, Document};
use crate::referral::{self, Referral};
use crate::transfer_request::{self, TransferRequest};

impl State {
    pub(super) fn decide_transfer_request(
        &self,
        id: TransferRequestId,
        stamp: &Stamp,
        command: transfer_request::Command,
    ) -> Result<transfer_request::Event, Refusal> {
        if let transfer_request::Command::Request(question) = &command {
            let encounter = self.known_encounter(question.encounter)?;
            if encounter.place().is_some_and(|place| place.facility.id == question.facility) {
                return Err(transfer_request::Refusal::SameFacility.into());
            }
        }
        let unknown = TransferRequest::default();
        let request = self.transfer_requests.get(&id).unwrap_or(&unknown);
        if matches!(command, transfer_request::Command::Accept(())) && request.encounter().is_some()
        {
            let mut accepted = request.clone();
            accepted.apply(stamp, &transfer_request::Event::Accepted(()));
            let is_of_the_stay = |other: &TransferRequest| other.encounter() == request.encounter();
            let others = self.transfer_requests.iter().filter(|(other, _)| **other != id);
            let mut others = others.filter(|(_, other)| is_of_the_stay(other));
            if let Some(event) = others.find_map(|(_, other)| other.acceptance_beside(&accepted)) {
                return Err(transfer_request::Refusal::AnotherAccepted(event).into());
            }
        }
        let is_for_stay = matches!(
            command,
            transfer_request::Command::Offer(()) | transfer_request::Command::Accept(())
        );
        let event = request.decide(stamp, command)?;
        let stay = request.encounter().filter(|_| is_for_stay);
        if let Some(stay) = stay.and_then(|stay| self.encounters.get(&stay)) {
            stay.check_not_over(stamp)?;
        }
        Ok(event)
    }

    pub(super) fn decide_referral(
        &self,
        id: ReferralId,
        stamp: &Stamp,
        command: referral::Command,
    ) -> Result<referral::Event, Refusal> {
        if let referral::Command::Request(referral::Asked { case: Some(case), .. }) = &command {
            self.known_case(*case)?;
        }
        let unknown = Referral::default();
        let event = self.referrals.get(&id).unwrap_or(&unknown).decide(stamp, command)?;
        if event.ends_before_work() {
            let at = &stamp.occurred_at;
            let opened = self.cases.values().find_map(|case| case.opened_after(at, id));
            opened.map_or(Ok(()), |opened| Err(referral::Refusal::LaterStep(opened)))?;
        }
        Ok(event)
    }

    pub(super) fn decide_case(
        &self,
        id: CaseId,
        stamp: &Stamp,
        command: case::Command,
    ) -> Result<case::Event, Refusal> {
        if let case::Command::Open(Some(referral)) = &command {
            let found = self.referrals.get(referral).filter(|found| found.is_known());
            let referral = found.ok_or(Refusal::UnknownReferral(*referral))?;
            if !referral.was_live_at(&stamp.occurred_at) {
                return Err(case::Refusal::ReferralNotLive.into());
            }
        }
        let unknown = Case::default();
        Ok(self.cases.get(&id).unwrap_or(&unknown).decide(stamp, command)?)
    }

    pub(super) fn check_document(&self, stamp: &Stamp, document: &Document) -> Result<(), Refusal> {
        if document.ended_at.is_some_and(|end| end.is_before(&stamp.occurred_at)) {
            return Err(encounter::Refusal::EndsBeforeItBegins.into());
        }
        if let (Some(from), Some(to)) = document.valid
            && to.is_before(&from)
        {
            return Err(note::Refusal::NeverValid.into());
        }
        if let Some(encounter) = document.encounter {
            let encounter = self.known_encounter(encounter)?;
            if document.of_facility {
                encounter.check_teller(stamp)?;
            }
            if let Some(day) = document.ready_on {
                encounter.check_ready(stamp, day)?;
            }
        }
        if let Some(id) = document.case {
            let case = self.known_case(id)?;
            if document.is_case_work {
                case.check_work(stamp)?;
            }
        }
        if let Some(referral) = document.referral
            && !self.referrals.get(&referral).is_some_and(Referral::is_known)
        {
            return Err(Refusal::UnknownReferral(referral));
        }
        if let Some(step) = document.step {
            let unknown = Course::default();
            let course = self.courses.get(&(step.of, step.id)).unwrap_or(&unknown);
            let mut places = course.stays().filter_map(|of| self.encounters.get(&of)?.place());
            if !places.any(|place| place.facility.id == stamp.acting_for) {
                course.check_beginner(stamp, step)?;
            }
            course.decide(stamp, step)?;
        }
        if let Some(succession) = document.succession {
            self.successions.decide(succession)?;
        }
        if let Some(edition) = document.edition
            && let Some(known) = self.editions.get(&edition.of)
        {
            known.decide(stamp, edition.version)?;
        }
        Ok(())
    }

    fn known_case(&self, id: CaseId) -> Result<&Case, Refusal> {
        let case = self.cases.get(&id).filter(|case| case.state() != case::State::Unopened);
        case.ok_or(Refusal::UnknownCase(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correction::{Change, Correction};
    use crate::id::OrganisationId;
    use crate::record::testing::{
        admit, discharge, encounter_id, event_id, given, noon, register, stamp, stamp_for, time,
    };
    use crate::record::{Command, Event, Fact, Order};
    use uuid::Uuid;

    fn transfer_order(request: u128, command: transfer_request::Command) -> Order {
        Order::TransferRequest(TransferRequestId::new(Uuid::from_u128(request)), command)
    }

    #[test]
    fn one_offer_for_a_stay_is_accepted() {
        let ask = |request: u128, facility: &str| {
            let question = transfer_request::Question {
                encounter: encounter_id(1),
                facility: OrganisationId::parse(facility).unwrap(),
            };
            transfer_order(request, transfer_request::Command::Request(question))
        };
        let mut record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-03", ask(1, "rehab-1")),
            ("2026-05-03", ask(2, "rehab-2")),
            ("2026-05-04", transfer_order(1, transfer_request::Command::Offer(()))),
            ("2026-05-04", transfer_order(2, transfer_request::Command::Offer(()))),
        ]);
        let accept = |request| transfer_order(request, transfer_request::Command::Accept(()));
        assert_eq!(record.when("2026-05-05", accept(1)), Ok(()));
        record.apply(&Event { stamp: stamp(7, "2026-05-05"), fact: accept(1).into() });
        assert_eq!(
            record.when("2026-05-06", accept(2)),
            Err(Refusal::TransferRequest(transfer_request::Refusal::AnotherAccepted(event_id(7))))
        );
        let withdraw = transfer_order(1, transfer_request::Command::Withdraw(()));
        record.apply(&Event { stamp: stamp(8, "2026-05-06"), fact: withdraw.into() });
        assert_eq!(record.when("2026-05-06", accept(2)), Ok(()));
    }

    #[test]
    fn nothing_is_offered_or_accepted_for_a_stay_that_is_over() {
        use transfer_request::Command as Transfer;
        let of = |command| transfer_order(1, command);
        // One organisation says it all.
        let facility = OrganisationId::parse("hospital").unwrap();
        let question = transfer_request::Question { encounter: encounter_id(1), facility };
        let asked = of(Transfer::Request(question));
        let cancelling = |number| encounter::Cancellation { cancelled: event_id(number) };
        let of_stay = |command| Order::Encounter(encounter_id(1), command);
        let cancelled = of_stay(encounter::Command::CancelAdmission(cancelling(2)));
        let begun = |ends: &Order, said: Order| {
            given(&[
                ("2026-05-01", register()),
                ("2026-05-02T09:00:00+09:00", admit(1, "acute", None)),
                ("2026-05-03", asked.clone()),
                ("2026-05-04", said),
                ("2026-05-09T09:00:00+09:00", ends.clone()),
            ])
        };
        let ends = [(discharge(1), "ENCOUNTER_ENDED"), (cancelled, "NOT_ADMITTED")];
        for (said, next) in [
            (Transfer::Offer(()), Transfer::Accept(())),
            (Transfer::Decline(()), Transfer::Offer(())),
        ] {
            for (end, reason) in &ends {
                let over = begun(end, of(said.clone()));
                let refused = over.when("2026-05-10", of(next.clone())).unwrap_err();
                assert_eq!(refused.reason(), *reason);
                for then in ["2026-05-08", "2026-05-09", "2026-05-09T08:59:59+09:00"] {
                    assert_eq!(over.when(then, of(next.clone())), Ok(()), "{then}, told late");
                }
            }
        }
        let mut goes_on = begun(&discharge(1), of(Transfer::Offer(())));
        let back = of_stay(encounter::Command::CancelDischarge(cancelling(5)));
        goes_on.apply(&Event { stamp: stamp(6, "2026-05-11"), fact: back.into() });
        assert_eq!(goes_on.when("2026-05-12", of(Transfer::Accept(()))), Ok(()));
    }

    #[test]
    fn a_bed_is_offered_for_a_stay_that_is_planned() {
        let plan = encounter::PlannedAdmission {
            planned_at: time("2026-05-09"),
            place: crate::record::testing::place("acute"),
            preceding: None,
        };
        let plan = Order::Encounter(encounter_id(1), encounter::Command::PlanAdmission(plan));
        let facility = OrganisationId::parse("hospital").unwrap();
        let question = transfer_request::Question { encounter: encounter_id(1), facility };
        let asked = transfer_order(1, transfer_request::Command::Request(question));
        let record =
            given(&[("2026-05-01", register()), ("2026-05-02", plan), ("2026-05-03", asked)]);
        let offer = transfer_order(1, transfer_request::Command::Offer(()));
        assert_eq!(record.when("2026-05-04", offer), Ok(()));
    }

    #[test]
    fn nothing_is_offered_for_a_stay_that_was_called_off() {
        use crate::encounter::Command as Stay;
        let of_stay = |command| Order::Encounter(encounter_id(1), command);
        let plan = |at: &str| {
            of_stay(Stay::PlanAdmission(encounter::PlannedAdmission {
                planned_at: time(at),
                place: crate::record::testing::place("acute"),
                preceding: None,
            }))
        };
        let facility = OrganisationId::parse("hospital").unwrap();
        let question = transfer_request::Question { encounter: encounter_id(1), facility };
        let asked = transfer_order(1, transfer_request::Command::Request(question));
        let cancel = |cancelled| encounter::Cancellation { cancelled: event_id(cancelled) };
        let mut off = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", plan("2026-05-09")),
            ("2026-05-03", asked),
            ("2026-05-05", of_stay(Stay::CancelPlannedAdmission(cancel(2)))),
        ]);
        let offer = || transfer_order(1, transfer_request::Command::Offer(()));
        let reason = |record: &crate::Record, at: &str| {
            record.when(at, offer()).map_err(|refusal| refusal.reason())
        };
        assert_eq!(reason(&off, "2026-05-06"), Err("NOT_ADMITTED"));
        for then in ["2026-05-04", "2026-05-05"] {
            assert_eq!(reason(&off, then), Ok(()), "{then}, told late");
        }
        // It was cancelled again after it had begun under another plan.
        let begun = [
            ("2026-05-07", plan("2026-05-09")),
            ("2026-05-09", admit(1, "acute", None)),
            ("2026-05-11", of_stay(Stay::CancelAdmission(cancel(6)))),
            ("2026-05-13", of_stay(Stay::CancelPlannedAdmission(cancel(5)))),
        ];
        for ((at, order), number) in begun.into_iter().zip(5..) {
            off.apply(&Event { stamp: stamp(number, at), fact: order.into() });
        }
        for (at, expected) in [
            ("2026-05-06", Err("NOT_ADMITTED")),
            ("2026-05-08", Ok(())),
            ("2026-05-10", Ok(())),
            ("2026-05-12", Ok(())),
            ("2026-05-14", Err("NOT_ADMITTED")),
        ] {
            assert_eq!(reason(&off, at), expected, "{at}");
        }
    }

    #[test]
    fn one_offer_was_accepted_at_a_time() {
        let of = |request: u128, command| transfer_order(request, command);
        let ask = |request: u128| {
            let facility = OrganisationId::parse("rehab").unwrap();
            let encounter = encounter_id(1);
            of(
                request,
                transfer_request::Command::Request(transfer_request::Question {
                    encounter,
                    facility,
                }),
            )
        };
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-03", ask(1)),
            ("2026-05-03", ask(2)),
            ("2026-05-04", of(1, transfer_request::Command::Offer(()))),
            ("2026-05-04", of(2, transfer_request::Command::Offer(()))),
            ("2026-05-08", of(2, transfer_request::Command::Accept(()))),
        ]);
        let mut record = record;
        let accept = || of(1, transfer_request::Command::Accept(()));
        for at in ["2026-05-06", "2026-05-09"] {
            let another = transfer_request::Refusal::AnotherAccepted(event_id(7));
            assert_eq!(record.when(at, accept()), Err(another.into()), "{at}");
        }
        let withdraw = of(1, transfer_request::Command::Withdraw(()));
        record.apply(&Event { stamp: stamp(8, "2026-05-07"), fact: withdraw.into() });
        assert_eq!(record.when("2026-05-06", accept()), Ok(()), "it was withdrawn by the 8th");
    }

    #[test]
    fn the_facility_that_is_asked_is_another_one() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let ask = |facility: &str| {
            let question = transfer_request::Question {
                encounter: encounter_id(1),
                facility: OrganisationId::parse(facility).unwrap(),
            };
            let id = TransferRequestId::new(Uuid::from_u128(8));
            Order::TransferRequest(id, transfer_request::Command::Request(question))
        };
        assert_eq!(record.when("2026-05-03", ask("rehab")), Ok(()));
        assert_eq!(
            record.when("2026-05-03", ask("acute")),
            Err(Refusal::TransferRequest(transfer_request::Refusal::SameFacility))
        );
    }

    #[test]
    fn a_proxy_entry_speaks_for_the_organisation_it_names() {
        let mut record =
            given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let question = transfer_request::Question {
            encounter: encounter_id(1),
            facility: OrganisationId::parse("rehab").unwrap(),
        };
        let id = TransferRequestId::new(Uuid::from_u128(8));
        record.apply(&Event {
            stamp: stamp(3, "2026-05-03"),
            fact: Fact::TransferRequest(id, transfer_request::Event::Requested(question)),
        });
        let offer = |organisation: &str| Command {
            stamp: stamp_for(4, "2026-05-04", organisation),
            order: Order::TransferRequest(id, transfer_request::Command::Offer(())),
        };
        assert_eq!(
            record.decide(offer("hospital"), noon()),
            Err(Refusal::TransferRequest(transfer_request::Refusal::NotTheFacilityAsked))
        );
        assert!(record.decide(offer("rehab"), noon()).is_ok());
    }

    #[test]
    fn a_case_stands_on_a_referral_that_lives_and_a_referral_on_a_case_that_is_known() {
        let referral_id = ReferralId::new(Uuid::from_u128(1));
        let case_id = CaseId::new(Uuid::from_u128(2));
        let ask = |case: Option<CaseId>| {
            let receiver = OrganisationId::parse("hospital").unwrap();
            let asked = referral::Asked { receiver, case };
            Order::Referral(referral_id, referral::Command::Request(asked))
        };
        let record = given(&[("2026-05-01", register())]);
        assert_eq!(
            record.when("2026-05-02", ask(Some(case_id))),
            Err(Refusal::UnknownCase(case_id))
        );
        let rejected = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", ask(None)),
            ("2026-05-03", Order::Referral(referral_id, referral::Command::Reject(()))),
        ]);
        let open = Order::Case(case_id, case::Command::Open(Some(referral_id)));
        assert_eq!(
            rejected.when("2026-05-04", open),
            Err(Refusal::Case(case::Refusal::ReferralNotLive))
        );
    }

    #[test]
    fn a_document_is_about_what_is_known() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let about = |encounter: u128| {
            Order::Document(Document {
                encounter: Some(encounter_id(encounter)),
                ..Document::default()
            })
        };
        assert_eq!(record.when("2026-05-03", about(1)), Ok(()));
        assert_eq!(
            record.when("2026-05-03", about(2)),
            Err(Refusal::UnknownEncounter(encounter_id(2)))
        );
        let case = CaseId::new(Uuid::from_u128(5));
        let of_case = Order::Document(Document { case: Some(case), ..Document::default() });
        assert_eq!(record.when("2026-05-03", of_case), Err(Refusal::UnknownCase(case)));
    }

    #[test]
    fn a_patient_is_ready_to_leave_a_stay_that_has_begun() {
        let record = given(&[("2026-05-01", register()), ("2026-05-09", admit(1, "acute", None))]);
        let ready_on = |day: &str| {
            let (encounter, ready_on) = (Some(encounter_id(1)), Some(time(day)));
            let ready = Document { encounter, ready_on, ..Document::default() };
            record.when("2026-05-12", Order::Document(ready))
        };
        assert_eq!(ready_on("2026-05-20"), Ok(()));
        assert_eq!(ready_on("2026-05-09"), Ok(()), "the day of the admission");
        assert_eq!(
            ready_on("2026-05-08"),
            Err(Refusal::Encounter(encounter::Refusal::ReadyBeforeAdmission))
        );
    }

    #[test]
    fn a_patient_is_ready_to_leave_where_they_lie_and_within_a_year() {
        let declared = |record: &crate::Record, at: &str, day: &str| {
            let (encounter, ready_on) = (Some(encounter_id(1)), Some(time(day)));
            let ready = Document { encounter, ready_on, ..Document::default() };
            record.when(at, Order::Document(ready)).map_err(|refusal| refusal.reason())
        };
        let plan = encounter::PlannedAdmission {
            planned_at: time("2026-05-09"),
            place: crate::record::testing::place("acute"),
            preceding: None,
        };
        let plan = Order::Encounter(encounter_id(1), encounter::Command::PlanAdmission(plan));
        let planned = given(&[("2026-05-01", register()), ("2026-05-02", plan)]);
        assert_eq!(declared(&planned, "2026-05-12", "2026-05-20"), Err("NOT_ADMITTED"));
        for ended_at in [None, Some(time("2026-05-09T12:00:00+09:00"))] {
            let visit = encounter::Visit {
                class: encounter::Class::Outpatient,
                place: crate::record::testing::place("acute"),
                ended_at,
                preceding: None,
            };
            let visit = Order::Encounter(encounter_id(1), encounter::Command::RegisterVisit(visit));
            let visited =
                given(&[("2026-05-01", register()), ("2026-05-09T10:00:00+09:00", visit)]);
            assert_eq!(declared(&visited, "2026-05-12", "2026-05-20"), Err("NOT_ADMITTED"));
        }
        let ended = crate::record::testing::stay();
        let of_ended = |at: &str, day: &str| declared(&ended, at, day);
        assert_eq!(of_ended("2026-05-12", "2026-05-10"), Err("READY_AFTER_DISCHARGE"));
        assert_eq!(of_ended("2026-05-12", "2026-06"), Err("READY_AFTER_DISCHARGE"));
        assert_eq!(of_ended("2026-05-12", "2026-05"), Ok(()), "by a day that nobody knows");
        assert_eq!(of_ended("2026-05-12", "2026-05-07"), Ok(()), "written down afterwards");
        assert_eq!(of_ended("2026-05-05", "2026-05-10"), Ok(()), "said then, and told late");
        let here = given(&[("2026-05-01", register()), ("2026-05-09", admit(1, "acute", None))]);
        let of_stay = |day: &str| declared(&here, "2026-05-12", day);
        assert_eq!(of_stay("2299-01-01"), Err("READY_TOO_FAR"));
        assert_eq!(of_stay("2027-06"), Err("READY_TOO_FAR"));
        assert_eq!(of_stay("2027"), Ok(()), "perhaps in January");
        assert_eq!(of_stay("2026-04"), Err("READY_BEFORE_ADMISSION"));
    }

    #[test]
    fn a_ready_date_is_corrected_as_of_when_it_was_declared() {
        let ready = |day: &str| Document {
            kind: "ready",
            encounter: Some(encounter_id(1)),
            ready_on: Some(time(day)),
            ..Document::default()
        };
        let mut record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-05", Order::Document(ready("2026-05-08"))),
            ("2026-05-09", discharge(1)),
        ]);
        let corrected = |day: &str| {
            let instead = Box::new(Fact::Document(ready(day)));
            let change = Change::Value(instead);
            Order::Correction(Correction { corrects: event_id(3), change })
        };
        let reason = |record: &crate::Record, day: &str| {
            record.when("2026-05-12", corrected(day)).map_err(|refusal| refusal.reason())
        };
        assert_eq!(reason(&record, "2026-05-11"), Ok(()), "as it was said before the discharge");
        assert_eq!(reason(&record, "2026-05-01"), Err("READY_BEFORE_ADMISSION"));
        assert_eq!(reason(&record, "2027-05-08"), Err("READY_TOO_FAR"));
        let said_at = |at: &str| {
            let change = Change::Time(time(at));
            Order::Correction(Correction { corrects: event_id(3), change })
        };
        let moved = |record: &crate::Record, at: &str| {
            record.when("2026-05-12", said_at(at)).map_err(|refusal| refusal.reason())
        };
        assert_eq!(moved(&record, "2026-05-11"), Ok(()), "afterwards, of a day before");
        assert_eq!(moved(&record, "2025-05-01"), Err("READY_TOO_FAR"));
        let mut later_day = record.clone();
        let value = Event { stamp: stamp(7, "2026-05-11"), fact: corrected("2026-05-11").into() };
        later_day.apply(&value);
        assert_eq!(moved(&later_day, "2026-05-10"), Err("READY_AFTER_DISCHARGE"));
        assert_eq!(moved(&later_day, "2026-05-06"), Ok(()));
        let (later, earlier) = (said_at("2026-05-10"), corrected("2026-05-07"));
        let command = |number, order| Command { stamp: stamp(number, "2026-05-12"), order };
        let with = [command(9, earlier)];
        assert!(later_day.decide_before(command(8, later), &with, noon()).is_ok(), "with its day");
        // It was declared after the discharge.
        let later = said_at("2026-05-10");
        record.apply(&Event { stamp: stamp(5, "2026-05-11"), fact: later.into() });
        assert_eq!(reason(&record, "2026-05-11"), Err("READY_AFTER_DISCHARGE"));
        assert_eq!(reason(&record, "2026-05-07"), Ok(()));
    }

    #[test]
    fn a_conference_is_called_off_by_who_called_it_or_by_the_facility() {
        let step = |from, to| note::Step {
            of: "conference_id",
            id: Uuid::from_u128(7),
            from,
            to,
            by_person: false,
            by_beginner: true,
            begins_again: false,
            content: None,
            variant: None,
        };
        let called = step(&["none", "scheduled", "cancelled"], "scheduled");
        let called_off = step(&["scheduled"], "cancelled");
        let of = |stay, step| {
            let encounter = Some(encounter_id(stay));
            Order::Document(Document { encounter, step: Some(step), ..Document::default() })
        };
        let mut record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-03", admit(2, "clinic", None)),
        ]);
        let by = |number, who: &str, step| Command {
            stamp: stamp_for(number, "2026-05-04", who),
            order: of(if who == "clinic" { 2 } else { 1 }, step),
        };
        let scheduled = record.decide(by(3, "office", called), noon()).unwrap();
        record.apply(&scheduled[0]);
        let office = OrganisationId::parse("office").unwrap();
        for step in [called, called_off] {
            // Also under a visit of its own.
            for who in ["stranger", "clinic"] {
                let not_theirs =
                    note::Refusal::NotTheBeginner { of: "conference_id", by: office.clone() };
                assert_eq!(
                    record.decide(by(4, who, step), noon()),
                    Err(not_theirs.into()),
                    "{who}"
                );
            }
            for who in ["office", "acute"] {
                assert!(record.decide(by(4, who, step), noon()).is_ok(), "{who}");
            }
        }
    }

    #[test]
    fn the_versions_of_a_plan_follow_one_another() {
        let version = |version: u32| {
            let edition = Some(note::Edition { of: Uuid::from_u128(7), version });
            Order::Document(Document { kind: "plan", edition, ..Document::default() })
        };
        let mut record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", version(4)),
            ("2026-05-05", version(5)),
        ]);
        let refused = |at: &str, number: u32| record.when(at, version(number)).unwrap_err();
        assert_eq!(refused("2026-05-09", 5), note::Refusal::VersionKnown(5).into());
        let after = note::Refusal::NotTheNextVersion { version: 7, last: 5 };
        assert_eq!(refused("2026-05-09", 7), after.into());
        let before = note::Refusal::NotTheNextVersion { version: 1, last: 5 };
        assert_eq!(refused("2026-05-01", 1), before.into());
        assert_eq!(refused("2026-05-04", 6), note::Refusal::VersionOutOfTime(6).into());
        assert_eq!(refused("2026-05-03", 3), note::Refusal::VersionOutOfTime(3).into());
        assert_eq!(record.when("2026-05-09", version(6)), Ok(()));
        assert_eq!(record.when("2026-05-01", version(3)), Ok(()), "an earlier one, told late");
        let error = |corrects| {
            let change = Change::EnteredInError;
            Order::Correction(Correction { corrects: event_id(corrects), change })
        };
        let is_wrong = Event { stamp: stamp(4, "2026-05-10"), fact: error(3).into() };
        assert_eq!(record.when("2026-05-10", error(3)), Ok(()));
        record.apply(&is_wrong);
        assert_eq!(record.when("2026-05-11", version(5)), Ok(()), "the one before was an error");
    }

    #[test]
    fn no_wish_takes_the_place_of_one_that_took_its_own() {
        let replaces = |of, older: u128, newer: u128| {
            let [older, newer] = [older, newer].map(Uuid::from_u128);
            let succession = Some(note::Succession { of, older, newer });
            let of_its_own = newer.as_u128() * 1000 + older.as_u128();
            let step = Some(note::Step::of_question(of_its_own, &["none"], "recorded"));
            Order::Document(Document { step, succession, ..Document::default() })
        };
        let wish = |older, newer| replaces("preference_id", older, newer);
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", wish(1, 2)),
            ("2026-05-03", wish(2, 3)),
        ]);
        for (older, newer) in [(2, 1), (3, 2), (3, 1)] {
            let refused = record.when("2026-05-09", wish(older, newer)).unwrap_err();
            assert_eq!(refused.reason(), "TOOK_ITS_PLACE", "{older} {newer}");
        }
        assert_eq!(record.when("2026-05-09", wish(3, 4)), Ok(()));
        assert_eq!(record.when("2026-05-09", wish(1, 4)), Ok(()), "of two, one");
        assert_eq!(record.when("2026-05-09", replaces("document_id", 3, 1)), Ok(()));
    }

    #[test]
    fn a_goal_is_set_in_an_open_case() {
        let case = CaseId::new(Uuid::from_u128(5));
        let of_case = |command| Order::Case(case, command);
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", of_case(case::Command::Open(None))),
            ("2026-05-09", of_case(case::Command::Close(()))),
        ]);
        let document = Document { case: Some(case), ..Document::default() };
        let goal = || Order::Document(Document { is_case_work: true, ..document });
        let closed = || Err(Refusal::Case(case::Refusal::Closed));
        assert_eq!(record.when("2026-05-10", goal()), closed());
        assert_eq!(record.when("2026-05-08", goal()), Ok(()), "before it was closed");
        let measure = Order::Document(document);
        assert_eq!(record.when("2026-05-10", measure), Ok(()), "how it went is asked afterwards");
    }

    #[test]
    fn what_a_document_tells_of_ends_after_it_began_and_in_the_past() {
        let record = given(&[("2026-05-01", register())]);
        let until = |end: &str| {
            let document = Document { ended_at: Some(time(end)), ..Document::default() };
            record.when("2026-05-03T10:00:00+09:00", Order::Document(document))
        };
        assert_eq!(until("2026-05-03T10:00:00+09:00"), Ok(()));
        assert_eq!(until("2026-05-03"), Ok(()), "the same day");
        assert_eq!(
            until("2026-05-03T09:59:59+09:00"),
            Err(Refusal::Encounter(encounter::Refusal::EndsBeforeItBegins))
        );
        assert_eq!(until("2026-06-02"), Err(Refusal::Encounter(encounter::Refusal::EndsInFuture)));
    }
}
