//! Each reason for which the rules refuse what a desk sends, given by the rpc that runs into it, the
//! same again when it is sent again; and nothing of it is stored.

use tsunagi_proto::v1;

use crate::desks::{place, registration};
use crate::stories::{
    DOCTOR, LIAISON, LINK_WORKER, NURSE, REHAB, Story, Who, code, deed, organisation, person,
};
use crate::support::{Server, folder, id, reason, timeline};

/// Tells a story of which some is refused; gives what was, with the reasons.
async fn refused(story: &Story) -> Vec<(&'static str, String)> {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let (mut taken, mut refusals) = (0, Vec::new());
    for deed in story.parts.iter().flatten() {
        match (deed.send)(&channel).await {
            Ok(_) => taken += 1,
            Err(status) => {
                let again = (deed.send)(&channel).await.unwrap_err();
                assert_eq!(reason(&again), reason(&status), "{}", deed.rpc);
                refusals.push((deed.rpc, reason(&status)));
            }
        }
    }
    assert_eq!(timeline(&channel, &id(1)).await.len(), taken, "nothing of what was refused");
    refusals
}

/// The same as `refused` gives it.
fn reasons(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    expected.iter().map(|(rpc, reason)| (*rpc, (*reason).to_owned())).collect()
}

fn registered() -> Story {
    let mut story = Story::new();
    deed!(story, LIAISON, "04-01T09:00", desk.register_patient(RegisterPatientRequest { registration("00123") }));
    story
}

fn admitted(stay: u128, ward: &str) -> v1::Admitted {
    v1::Admitted {
        encounter_id: id(stay),
        place: Some(place("acute", ward)),
        ..v1::Admitted::default()
    }
}

#[tokio::test]
async fn who_the_patient_is_is_said_once_and_makes_sense() {
    let mut story = registered();
    deed!(story, LIAISON, "04-02T09:00", desk.register_patient(RegisterPatientRequest { registration("00456") }));
    let [number] = registration("00123").identifiers.try_into().unwrap();
    deed!(story, NURSE, "04-02T10:00", home.link_identifier(LinkIdentifierRequest {
        v1::IdentifierLinked { identifier: Some(number) }
    }));
    for died in ["1930-01-01", "2290-01-01"] {
        deed!(story, LIAISON, "04-03T09:00", desk.record_death(RecordDeathRequest {
            v1::PatientDeceased { deceased_at: died.to_owned(), ..Default::default() }
        }));
    }
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("register_patient", "PATIENT_EXISTS"),
            ("link_identifier", "IDENTIFIER_LINKED"),
            ("record_death", "DIED_BEFORE_BIRTH"),
            ("record_death", "DIES_IN_FUTURE"),
        ])
    );
}

#[tokio::test]
async fn a_stay_goes_its_way_within_its_hospital() {
    let mut story = registered();
    admit(&mut story, "05-01T09:00", admitted(0xa, "4E"));
    deed!(story, LIAISON, "05-01T10:00", desk.register_visit(RegisterVisitRequest {
        v1::EncounterRegistered {
            encounter_id: id(0xa),
            class: v1::EncounterClass::Emergency.into(),
            place: Some(place("acute", "")),
            ..v1::EncounterRegistered::default()
        }
    }));
    deed!(story, LIAISON, "05-02T09:00", desk.return_from_leave(ReturnFromLeaveRequest {
        v1::LeaveReturned { encounter_id: id(0xa) }
    }));
    let leave = || v1::LeaveStarted { encounter_id: id(0xa), ..v1::LeaveStarted::default() };
    deed!(story, LIAISON, "05-03T09:00", desk.start_leave(StartLeaveRequest { leave() }));
    deed!(story, LIAISON, "05-03T10:00", desk.start_leave(StartLeaveRequest { leave() }));
    deed!(story, LIAISON, "05-04T18:00", desk.return_from_leave(ReturnFromLeaveRequest {
        v1::LeaveReturned { encounter_id: id(0xa) }
    }));
    deed!(story, LIAISON, "05-05T09:00", desk.transfer_ward(TransferWardRequest {
        v1::Transferred { encounter_id: id(0xa), to: Some(place("rehab", "5N")) }
    }));
    deed!(story, NURSE, "05-06T09:00", home.record_visit(RecordVisitRequest {
        v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            ended_at: "2290-01-01T10:00:00+09:00".to_owned(),
            ..v1::VisitCompleted::default()
        }
    }));
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("register_visit", "ENCOUNTER_BEGUN"),
            ("return_from_leave", "NOT_ON_LEAVE"),
            ("start_leave", "ON_LEAVE"),
            ("transfer_ward", "OTHER_FACILITY"),
            ("record_visit", "ENDS_IN_FUTURE"),
        ])
    );
}

fn admit(story: &mut Story, at: &str, admitted: v1::Admitted) -> String {
    deed!(story, LIAISON, at, desk.admit(AdmitRequest { admitted }))
}

fn ask(story: &mut Story, at: &str, request: u128, facility: &str) -> String {
    deed!(story, LIAISON, at, desk.request_transfer(RequestTransferRequest {
        v1::TransferRequested {
            transfer_request_id: id(request),
            encounter_id: id(0xa),
            facility: organisation(facility),
            ..v1::TransferRequested::default()
        }
    }))
}

fn answer(request: u128) -> v1::TransferAnswer {
    v1::TransferAnswer { transfer_request_id: id(request), ..v1::TransferAnswer::default() }
}

#[tokio::test]
async fn a_transfer_is_asked_for_offered_and_accepted_in_turn() {
    let mut story = registered();
    admit(&mut story, "05-01T09:00", admitted(0xa, "4E"));
    ask(&mut story, "05-02T09:00", 0xb0, "acute");
    ask(&mut story, "05-02T10:00", 0xb1, "rehab");
    ask(&mut story, "05-02T10:05", 0xb1, "rehab");
    ask(&mut story, "05-02T10:10", 0xb2, "hills");
    let hills = Who("hills", "liaison-nurse", "ln-3");
    deed!(story, REHAB, "05-03T08:00", desk.offer_bed(OfferBedRequest { answer(0xbb) }));
    deed!(story, LIAISON, "05-03T08:30", desk.accept_offer(AcceptOfferRequest { answer(0xb1) }));
    deed!(story, REHAB, "05-03T09:00", desk.offer_bed(OfferBedRequest { answer(0xb1) }));
    deed!(story, hills, "05-03T10:00", desk.offer_bed(OfferBedRequest { answer(0xb2) }));
    deed!(story, hills, "05-03T11:00", desk.accept_offer(AcceptOfferRequest { answer(0xb1) }));
    deed!(story, LIAISON, "05-04T09:00", desk.accept_offer(AcceptOfferRequest { answer(0xb1) }));
    deed!(story, LIAISON, "05-04T10:00", desk.accept_offer(AcceptOfferRequest { answer(0xb2) }));
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("request_transfer", "SAME_FACILITY"),
            ("request_transfer", "TRANSFER_REQUEST_EXISTS"),
            ("offer_bed", "TRANSFER_REQUEST_UNKNOWN"),
            ("accept_offer", "TRANSFER_REQUEST_IN_WRONG_STATE"),
            ("accept_offer", "NOT_THE_REQUESTER"),
            ("accept_offer", "ANOTHER_OFFER_ACCEPTED"),
        ])
    );
}

#[tokio::test]
async fn answers_to_a_request_that_was_an_error_are_no_other_facility_s() {
    let mut story = registered();
    admit(&mut story, "05-01T09:00", admitted(0xa, "4E"));
    let asked = ask(&mut story, "05-02T10:00", 0xb1, "rehab");
    deed!(story, REHAB, "05-03T09:00", desk.offer_bed(OfferBedRequest { answer(0xb1) }));
    in_error(&mut story, LIAISON, "05-02T11:00", &asked);
    ask(&mut story, "05-02T11:00", 0xb1, "hills");
    ask(&mut story, "05-02T11:00", 0xb1, "rehab");
    assert_eq!(refused(&story).await, reasons(&[("request_transfer", "ID_OF_ANOTHER")]));
}

fn refer(story: &mut Story, at: &str, referral: u128) {
    deed!(story, DOCTOR, at, link.request_referral(RequestReferralRequest {
        v1::ReferralRequested {
            referral_id: id(referral),
            receiver: organisation("link"),
            ..v1::ReferralRequested::default()
        }
    }));
}

fn step(referral: u128) -> v1::ReferralStep {
    v1::ReferralStep { referral_id: id(referral), ..v1::ReferralStep::default() }
}

#[tokio::test]
async fn each_step_of_a_referral_is_its_own_side_s() {
    let mut story = registered();
    refer(&mut story, "05-01T09:00", 0xf1);
    refer(&mut story, "05-01T09:05", 0xf1);
    deed!(story, LINK_WORKER, "05-02T09:00", link.accept_referral(AcceptReferralRequest { step(0xff) }));
    deed!(story, NURSE, "05-02T09:10", link.accept_referral(AcceptReferralRequest { step(0xf1) }));
    deed!(story, LINK_WORKER, "05-02T09:20", link.start_referral(StartReferralRequest { step(0xf1) }));
    deed!(story, NURSE, "05-02T09:30", link.cancel_referral(CancelReferralRequest { step(0xf1) }));
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("request_referral", "REFERRAL_EXISTS"),
            ("accept_referral", "REFERRAL_UNKNOWN"),
            ("accept_referral", "NOT_THE_RECEIVER"),
            ("start_referral", "REFERRAL_IN_WRONG_STATE"),
            ("cancel_referral", "NOT_THE_REQUESTER"),
        ])
    );
}

fn open_case(story: &mut Story, at: &str, case: u128, referral: u128) {
    deed!(story, LINK_WORKER, at, link.open_case(OpenCaseRequest {
        v1::CaseOpened {
            case_id: id(case),
            link_worker: Some(person(LINK_WORKER)),
            referral_id: if referral == 0 { String::new() } else { id(referral) },
            ..v1::CaseOpened::default()
        }
    }));
}

#[tokio::test]
async fn a_case_is_opened_once_and_reopened_when_it_is_closed() {
    let mut story = registered();
    refer(&mut story, "05-01T09:00", 0xf1);
    deed!(story, LINK_WORKER, "05-02T09:00", link.reject_referral(RejectReferralRequest { step(0xf1) }));
    open_case(&mut story, "05-02T10:00", 0xca, 0xf1);
    open_case(&mut story, "05-02T11:00", 0xca, 0);
    open_case(&mut story, "05-02T12:00", 0xca, 0);
    deed!(story, LINK_WORKER, "05-03T09:00", link.reopen_case(ReopenCaseRequest {
        v1::CaseReopened { case_id: id(0xca), reason: "再び孤立".to_owned() }
    }));
    deed!(story, LINK_WORKER, "05-03T10:00", link.record_contact(RecordContactRequest {
        v1::ContactHeld { case_id: id(0xcb), means: 2, ..Default::default() }
    }));
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("open_case", "REFERRAL_NOT_LIVE"),
            ("open_case", "CASE_EXISTS"),
            ("reopen_case", "CASE_OPEN"),
            ("record_contact", "CASE_UNKNOWN"),
        ])
    );
}

#[tokio::test]
async fn what_is_begun_is_begun_once_and_ended_once() {
    let mut story = registered();
    let asked = || v1::QuestionAsked {
        question_id: id(0x9),
        question: "入浴はいつからよいですか。".to_owned(),
        owner_role: "home-doctor".to_owned(),
        ..v1::QuestionAsked::default()
    };
    let answered = || v1::QuestionAnswered {
        question_id: id(0x9),
        answer: "明日からどうぞ。".to_owned(),
    };
    deed!(story, DOCTOR, "05-01T08:00", team.answer_question(AnswerQuestionRequest { answered() }));
    deed!(story, NURSE, "05-01T09:00", team.ask_question(AskQuestionRequest { asked() }));
    deed!(story, NURSE, "05-01T09:05", team.ask_question(AskQuestionRequest { asked() }));
    deed!(story, DOCTOR, "05-01T12:00", team.close_question(CloseQuestionRequest {
        v1::QuestionClosed { question_id: id(0x9), ..Default::default() }
    }));
    deed!(story, DOCTOR, "05-01T13:00", team.answer_question(AnswerQuestionRequest { answered() }));
    deed!(story, DOCTOR, "05-02T09:00", home.issue_order(IssueOrderRequest {
        v1::NursingOrder {
            order_id: id(0x0d),
            kind: code("nursing"),
            valid_from_on: "2026-05-31".to_owned(),
            valid_to_on: "2026-05-01".to_owned(),
            recipient: organisation("nurses"),
            ..v1::NursingOrder::default()
        }
    }));
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("answer_question", "NOT_BEGUN"),
            ("ask_question", "BEGUN_ALREADY"),
            ("answer_question", "IN_WRONG_STATE"),
            ("issue_order", "NEVER_VALID"),
        ])
    );
}

#[tokio::test]
async fn a_ready_date_and_the_version_of_a_plan_fit_what_is_known() {
    let mut story = registered();
    admit(&mut story, "05-01T09:00", admitted(0xa, "4E"));
    deed!(story, LIAISON, "05-02T09:00", desk.declare_discharge_ready(DeclareDischargeReadyRequest {
        v1::DischargeReadyDeclared {
            encounter_id: id(0xa),
            ready_on: "2026-04-30".to_owned(),
            ..Default::default()
        }
    }));
    let plan = |version, policy: &str| v1::CarePlanShared {
        care_plan_id: id(0xc),
        version,
        policy: policy.to_owned(),
        ..v1::CarePlanShared::default()
    };
    for (at, version) in [("05-03T09:00", 1), ("05-04T09:00", 1), ("05-05T09:00", 3)] {
        deed!(story, NURSE, at, home.share_care_plan(ShareCarePlanRequest { plan(version, at) }));
    }
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("declare_discharge_ready", "READY_BEFORE_ADMISSION"),
            ("share_care_plan", "VERSION_KNOWN"),
            ("share_care_plan", "VERSION_NOT_NEXT"),
        ])
    );
}

#[tokio::test]
async fn a_conference_an_order_and_a_ready_date_stay_what_they_can_be() {
    let mut story = registered();
    admit(&mut story, "05-01T09:00", admitted(0xa, "4E"));
    deed!(story, LIAISON, "05-02T09:00", desk.declare_discharge_ready(DeclareDischargeReadyRequest {
        v1::DischargeReadyDeclared {
            encounter_id: id(0xa),
            ready_on: "2299-01-01".to_owned(),
            ..Default::default()
        }
    }));
    deed!(story, LIAISON, "05-03T09:00", desk.schedule_conference(ScheduleConferenceRequest {
        v1::ConferenceScheduled {
            encounter_id: id(0xa),
            conference_id: id(0xc),
            scheduled_at: "2026-05-09T14:00:00+09:00".to_owned(),
            ..Default::default()
        }
    }));
    for (who, at) in [(NURSE, "05-04T09:00"), (LIAISON, "05-05T09:00")] {
        deed!(story, who, at, desk.cancel_conference(CancelConferenceRequest {
            v1::ConferenceCancelled {
                encounter_id: id(0xa),
                conference_id: id(0xc),
                ..Default::default()
            }
        }));
    }
    deed!(story, LIAISON, "05-09T15:00", desk.record_conference(RecordConferenceRequest {
        v1::ConferenceHeld {
            encounter_id: id(0xa),
            conference_id: id(0xc),
            ..Default::default()
        }
    }));
    let special = |to: &str| v1::NursingOrder {
        order_id: id(0x0d),
        kind: code("special"),
        valid_from_on: "2026-05-10".to_owned(),
        valid_to_on: to.to_owned(),
        recipient: organisation("nurses"),
        ..v1::NursingOrder::default()
    };
    for (at, to) in [("05-10T09:00", "2026-06"), ("05-10T10:00", "2026-05-23")] {
        deed!(story, DOCTOR, at, home.issue_special_order(IssueSpecialOrderRequest { special(to) }));
    }
    deed!(story, DOCTOR, "05-11T09:00", home.amend_order(AmendOrderRequest {
        v1::NursingOrder { kind: code("nursing"), ..special("2026-10-31") }
    }));
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("declare_discharge_ready", "READY_TOO_FAR"),
            ("cancel_conference", "NOT_THE_ORGANISER"),
            ("record_conference", "IN_WRONG_STATE"),
            ("issue_special_order", "FIELDS_INVALID"),
            ("amend_order", "KIND_DIFFERS"),
        ])
    );
}

fn in_error(story: &mut Story, who: Who, at: &str, event: &str) -> String {
    deed!(story, who, at, team.mark_entered_in_error(MarkEnteredInErrorRequest {
        v1::EnteredInError { corrects_event_id: event.to_owned(), ..Default::default() }
    }))
}

#[tokio::test]
async fn what_others_build_on_and_what_corrects_is_not_corrected() {
    let mut story = registered();
    let admission = admit(&mut story, "05-01T09:00", admitted(0xa, "4E"));
    deed!(story, LIAISON, "05-02T09:00", desk.transfer_ward(TransferWardRequest {
        v1::Transferred { encounter_id: id(0xa), to: Some(place("acute", "5N")) }
    }));
    in_error(&mut story, LIAISON, "05-03T09:00", &admission);
    let visit = deed!(story, NURSE, "05-04T10:00", home.record_visit(RecordVisitRequest {
        v1::VisitCompleted { kind: v1::VisitKind::Nursing.into(), ..Default::default() }
    }));
    let mark = in_error(&mut story, NURSE, "05-05T09:00", &visit);
    deed!(story, NURSE, "05-05T10:00", team.correct_time(CorrectTimeRequest {
        v1::TimeCorrected {
            corrects_event_id: mark.clone(),
            occurred_at: "2026-05-05T08:00:00+09:00".to_owned(),
            ..v1::TimeCorrected::default()
        }
    }));
    // The registration is the story's first event.
    in_error(&mut story, LIAISON, "05-06T09:00", &id(0x1_0001));
    assert_eq!(
        refused(&story).await,
        reasons(&[
            ("mark_entered_in_error", "LATER_EVENT_DEPENDS"),
            ("correct_time", "IS_A_CORRECTION"),
            ("mark_entered_in_error", "NOT_CORRECTABLE"),
        ])
    );
}

#[tokio::test]
async fn a_wish_that_was_replaced_does_not_take_the_place_of_what_took_its_own() {
    let mut story = registered();
    for (at, wish, earlier) in [("05-01T09:00", 0x21, ""), ("05-02T09:00", 0x22, &*id(0x21))] {
        deed!(story, NURSE, at, team.record_acp_preference(RecordAcpPreferenceRequest {
            v1::AcpPreferenceRecorded {
                preference_id: id(wish),
                preference: "家で過ごしたい".to_owned(),
                supersedes_preference_id: earlier.to_owned(),
                ..v1::AcpPreferenceRecorded::default()
            }
        }));
    }
    deed!(story, NURSE, "05-03T09:00", team.supersede_acp_preference(SupersedeAcpPreferenceRequest {
        v1::AcpPreferenceSuperseded {
            preference_id: id(0x22),
            superseded_by_preference_id: id(0x21),
            ..v1::AcpPreferenceSuperseded::default()
        }
    }));
    assert_eq!(refused(&story).await, reasons(&[("supersede_acp_preference", "TOOK_ITS_PLACE")]));
}
