//! The ten stories that the people at the desks tell of their work, through their own rpcs. Each is
//! also told late, shuffled and twice; in the end, everybody must see the same.

use tsunagi_proto::v1;

use crate::desks::{place, registration};
use crate::stories::{
    CARE_MANAGER, DOCTOR, End, LIAISON, LINK_WORKER, NURSE, REHAB, Story, Who, code, deed,
    organisation, person, told_in_all_ways,
};
use crate::support::id;

fn registered(story: &mut Story, at: &str, number: &str) {
    deed!(story, LIAISON, at, desk.register_patient(RegisterPatientRequest { registration(number) }));
}

/// Admits under an encounter, which continues another if that is not 0.
fn admit(story: &mut Story, who: Who, at: &str, (stay, after): (u128, u128), ward: &str) -> String {
    deed!(story, who, at, desk.admit(AdmitRequest {
        v1::Admitted {
            encounter_id: id(stay),
            place: Some(place(who.0, ward)),
            preceding_encounter_id: if after == 0 { String::new() } else { id(after) },
            ..v1::Admitted::default()
        }
    }))
}

fn discharge(story: &mut Story, who: Who, at: &str, stay: u128, to: &str) -> String {
    deed!(story, who, at, desk.discharge(DischargeRequest {
        v1::Discharged {
            encounter_id: id(stay),
            disposition: Some(v1::Code {
                system: "jp.discharge-disposition".to_owned(),
                code: to.to_owned(),
                ..v1::Code::default()
            }),
            destination: None,
        }
    }))
}

fn plan_discharge(story: &mut Story, who: Who, at: &str, stay: u128, on: &str) {
    deed!(story, who, at, desk.plan_discharge(PlanDischargeRequest {
        v1::DischargePlanned {
            encounter_id: id(stay),
            planned_at: on.to_owned(),
            ..v1::DischargePlanned::default()
        }
    }));
}

fn screen(story: &mut Story, at: &str, stay: u128, factors: &[&str]) {
    deed!(story, LIAISON, at, desk.record_screening(RecordScreeningRequest {
        v1::ScreeningCompleted {
            encounter_id: id(stay),
            factors: factors.iter().filter_map(|factor| code(factor)).collect(),
            support_needed: true,
            note: String::new(),
        }
    }));
}

fn declare_care_manager(story: &mut Story, who: Who, at: &str) {
    deed!(story, who, at, team.declare_care_manager(DeclareCareManagerRequest {
        v1::PrimaryCareManagerDeclared {
            care_manager: Some(person(CARE_MANAGER)),
            ..v1::PrimaryCareManagerDeclared::default()
        }
    }));
}

fn visit(story: &mut Story, at: &str, changed: bool) {
    deed!(story, NURSE, at, home.record_visit(RecordVisitRequest {
        v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            change_noticed: changed,
            ..v1::VisitCompleted::default()
        }
    }));
}

fn admission_info(story: &mut Story, at: &str, stay: u128) {
    deed!(story, CARE_MANAGER, at, home.provide_admission_info(ProvideAdmissionInfoRequest {
        v1::AdmissionInfoProvided {
            encounter_id: if stay == 0 { String::new() } else { id(stay) },
            recipient: organisation("acute"),
            means: v1::Means::Electronic.into(),
            ..v1::AdmissionInfoProvided::default()
        }
    }));
}

fn ask_for_bed(story: &mut Story, at: &str, request: u128, stay: u128, facility: &str) {
    deed!(story, LIAISON, at, desk.request_transfer(RequestTransferRequest {
        v1::TransferRequested {
            transfer_request_id: id(request),
            encounter_id: id(stay),
            facility: organisation(facility),
            bed_type: code("recovery-rehabilitation"),
            ..v1::TransferRequested::default()
        }
    }));
}

fn answer(request: u128, reason: &str) -> v1::TransferAnswer {
    v1::TransferAnswer {
        transfer_request_id: id(request),
        reason: if reason.is_empty() { None } else { code(reason) },
        ..v1::TransferAnswer::default()
    }
}

fn team_board(end: &End) -> &v1::TeamRow {
    &end.team.patients[0]
}

/// What the liaison office of the acute hospital, the care manager and the link worker have on
/// their boards, a line a row.
fn boards(end: &End) -> Vec<String> {
    let ward = |stay: &v1::OpenStay| stay.place.clone().unwrap_or_default().ward;
    let mut lines = Vec::new();
    for stay in end.liaison.expected.iter().filter_map(|row| row.stay.as_ref()) {
        lines.push(format!("liaison: expected {}", stay.planned_at));
    }
    for stay in end.liaison.admitted.iter().filter_map(|row| row.stay.as_ref()) {
        let (day, _) = stay.since_at.split_once('T').unwrap();
        let again = if stay.readmission.is_some() { ", again" } else { "" };
        lines.push(format!("liaison: in {} since {day}{again}", ward(stay)));
    }
    for stay in end.liaison.planned_discharges.iter().filter_map(|row| row.stay.as_ref()) {
        lines.push(format!("liaison: leaves {}", stay.planned_discharge_at));
    }
    for row in &end.liaison.transfers_waiting {
        let receiver = row.request.clone().unwrap().receiver.unwrap().id;
        let whose = if row.is_ours_to_answer { "ours to answer" } else { "waits" };
        lines.push(format!("liaison: {receiver} {whose}"));
    }
    for row in &end.team.patients {
        let mut line = format!("team: {:?}", row.state());
        line.extend(row.stays.iter().map(|stay| format!(" {}", ward(stay))));
        line.extend(row.questions.iter().map(|asked| format!(", ask {}", asked.owner_role)));
        line.extend(row.alerts.iter().map(|alert| format!(", {}", alert.next_action)));
        lines.push(line);
    }
    for row in &end.caseload.cases {
        let mut line = format!("link: next {}", row.case.as_ref().unwrap().next_contact_on);
        line.push_str(if row.is_due { ", due" } else { "" });
        line.push_str(if row.is_silent { ", silent" } else { "" });
        lines.push(line);
    }
    lines
        .extend(end.caseload.referrals_waiting.iter().map(|_| "link: a referral waits".to_owned()));
    lines
}

/// E1: a planned hip operation; acute hospital, rehabilitation on a regional path, home.
#[tokio::test]
async fn e1_from_a_planned_operation_through_rehabilitation_home() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    declare_care_manager(story, LIAISON, "04-02T09:00");
    deed!(story, LIAISON, "04-10T10:00", desk.plan_admission(PlanAdmissionRequest {
        v1::AdmissionPlanned {
            encounter_id: id(0xa),
            planned_at: "2026-04-24".to_owned(),
            place: Some(place("acute", "5E")),
            ..v1::AdmissionPlanned::default()
        }
    }));
    admission_info(story, "04-22T15:00", 0);
    let expected = ["liaison: expected 2026-04-24", "team: Unspecified"];
    assert_eq!(boards(&told_in_all_ways(story, "2026-04-24").await), expected);
    admit(story, LIAISON, "04-24T10:00", (0xa, 0), "5E");
    screen(story, "04-25T11:00", 0xa, &["adl-decline"]);
    deed!(story, LIAISON, "04-25T13:00", desk.assign_pathway(AssignPathwayRequest {
        v1::PathwayAssigned {
            encounter_id: id(0xa),
            pathway: Some(v1::Code { display: "大腿骨頸部骨折".to_owned(), ..v1::Code::default() }),
            goal: "杖歩行で自宅へ".to_owned(),
        }
    }));
    ask_for_bed(story, "04-29T09:00", 0xb1, 0xa, "rehab");
    ask_for_bed(story, "04-29T09:05", 0xb2, 0xa, "hills");
    deed!(story, Who("hills", "liaison-nurse", "ln-3"), "04-30T09:00", desk.decline_transfer(DeclineTransferRequest { answer(0xb2, "no-bed") }));
    let waiting =
        ["liaison: in 5E since 2026-04-24", "liaison: rehab waits", "team: InHospital 5E"];
    assert_eq!(boards(&told_in_all_ways(story, "2026-04-30").await), waiting);
    deed!(story, REHAB, "04-30T10:00", desk.offer_bed(OfferBedRequest { answer(0xb1, "") }));
    deed!(story, LIAISON, "04-30T11:00", desk.accept_offer(AcceptOfferRequest { answer(0xb1, "") }));
    discharge(story, LIAISON, "05-08T10:00", 0xa, "hospital");
    admit(story, REHAB, "05-08T13:30", (0xc, 0xa), "recovery");
    deed!(story, REHAB, "06-10T14:00", desk.record_joint_guidance(RecordJointGuidanceRequest {
        v1::JointGuidance {
            encounter_id: id(0xc),
            participants: vec![person(REHAB), person(CARE_MANAGER), person(NURSE)],
            given_to_patient: true,
            ..v1::JointGuidance::default()
        }
    }));
    deed!(story, REHAB, "06-14T09:00", team.publish_document(PublishDocumentRequest {
        v1::DocumentReference {
            document_id: id(0xd0c),
            kind: code("18842-5"),
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
            addressee: organisation("clinic"),
            ..v1::DocumentReference::default()
        }
    }));
    discharge(story, REHAB, "06-15T10:00", 0xc, "home-with-services");
    deed!(story, DOCTOR, "06-15T12:00", home.issue_special_order(IssueSpecialOrderRequest {
        v1::NursingOrder {
            order_id: id(0x0d),
            kind: code("special"),
            valid_from_on: "2026-06-15".to_owned(),
            valid_to_on: "2026-06-28".to_owned(),
            recipient: organisation("nurses"),
            ..v1::NursingOrder::default()
        }
    }));
    visit(story, "06-17T10:00", false);

    let end = told_in_all_ways(story, "2026-06-20").await;
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "care manager declared (care manager)",
            "admission planned for 2026-04-24 to acute 5E",
            "information at admission given to acute (electronically)",
            "admitted to acute 5E",
            "screened for discharge difficulties: 1 found, discharge support needed",
            "on the pathway 大腿骨頸部骨折",
            "transfer requested from rehab",
            "transfer requested from hills",
            "transfer declined hills (no bed free)",
            "bed offered rehab",
            "offer accepted rehab",
            "discharged (another hospital)",
            "admitted to rehab recovery",
            "joint guidance before the discharge (liaison nurse, care manager, visiting nurse)",
            "document: discharge summary for clinic",
            "discharged (home with services)",
            "special nursing order 2026-06-15 to 2026-06-28",
            "nursing visit",
        ]
    );
    assert_eq!(end.patient.state(), v1::PatientState::Discharged);
    assert_eq!(end.patient.orders[0].valid_to_on, "2026-06-28");
    assert_eq!(boards(&end), ["team: Discharged"]);
    assert_eq!(team_board(&end).patient.as_ref().unwrap().name, "髙橋 ハナ");
}

/// E2: an emergency on the Friday night before a long holiday.
#[tokio::test]
async fn e2_an_emergency_on_a_friday_night() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    deed!(story, LIAISON, "05-01T20:00", desk.register_visit(RegisterVisitRequest {
        v1::EncounterRegistered {
            encounter_id: id(0xe),
            class: v1::EncounterClass::Emergency.into(),
            place: Some(place("acute", "")),
            ..v1::EncounterRegistered::default()
        }
    }));
    discharge(story, LIAISON, "05-01T21:50", 0xe, "hospital");
    admit(story, LIAISON, "05-01T22:10", (0xa, 0xe), "4W");
    admission_info(story, "05-02T09:30", 0xa);
    declare_care_manager(story, CARE_MANAGER, "05-02T09:40");
    screen(story, "05-07T11:00", 0xa, &["emergency-admission", "care-level-not-applied"]);
    deed!(story, CARE_MANAGER, "05-08T10:00", home.apply_for_certification(ApplyForCertificationRequest {
        v1::CertificationApplied {
            certification_id: id(0xce),
            applied_on: "2026-05-08".to_owned(),
            ..v1::CertificationApplied::default()
        }
    }));
    deed!(story, LIAISON, "05-09T10:00", desk.record_family_meeting(RecordFamilyMeetingRequest {
        v1::FamilyMeetingHeld { encounter_id: id(0xa), ..v1::FamilyMeetingHeld::default() }
    }));
    let end = told_in_all_ways(story, "2026-05-10").await;
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "emergency visit at acute",
            "visit ended (another hospital)",
            "admitted to acute 4W",
            "information at admission given to acute (electronically)",
            "care manager declared (care manager)",
            "screened for discharge difficulties: 2 found, discharge support needed",
            "long-term care applied for",
            "talk with patient and family",
        ]
    );
    assert_eq!(boards(&end), ["liaison: in 4W since 2026-05-01", "team: InHospital 4W"]);
    let stay = end.liaison.admitted[0].stay.as_ref().unwrap();
    assert_eq!(stay.since_at, "2026-05-01T22:10:00+09:00");
}

/// E3: admitted, cancelled, and admitted again the same day.
#[tokio::test]
async fn e3_an_admission_is_cancelled_and_the_patient_admitted_again() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    let admitted = admit(story, LIAISON, "05-11T09:00", (0xa, 0), "3E");
    deed!(story, LIAISON, "05-11T09:40", desk.cancel_admission(CancelAdmissionRequest {
        v1::EncounterCancellation {
            encounter_id: id(0xa),
            cancelled_event_id: admitted,
            reason: "発熱のため延期".to_owned(),
        }
    }));
    admit(story, LIAISON, "05-11T15:00", (0xb, 0), "3W");
    let end = told_in_all_ways(story, "2026-05-11").await;
    let expected = [
        "registered as a patient",
        "admitted to acute 3E",
        "admission cancelled",
        "admitted to acute 3W",
    ];
    assert_eq!(end.sentences, expected);
    assert_eq!(boards(&end), ["liaison: in 3W since 2026-05-11"]);
    assert_eq!(end.patient.place.as_ref().unwrap().ward, "3W");
}

/// A stay of which nearly everything was said wrong at first, under one encounter.
#[tokio::test]
async fn what_was_cancelled_may_be_told_after_what_holds() {
    let story = &mut Story::new();
    let cancel = |stay: u128, event: String| v1::EncounterCancellation {
        encounter_id: id(stay),
        cancelled_event_id: event,
        reason: String::new(),
    };
    registered(story, "04-01T09:00", "00123");
    let admitted = admit(story, LIAISON, "05-10T09:00", (0xa, 0), "3E");
    deed!(story, LIAISON, "05-10T09:40", desk.cancel_admission(CancelAdmissionRequest { cancel(0xa, admitted) }));
    admit(story, LIAISON, "05-11T15:00", (0xa, 0), "3W");
    deed!(story, LIAISON, "05-12T09:00", desk.start_leave(StartLeaveRequest {
        v1::LeaveStarted { encounter_id: id(0xa), ..v1::LeaveStarted::default() }
    }));
    deed!(story, LIAISON, "05-13T18:00", desk.return_from_leave(ReturnFromLeaveRequest {
        v1::LeaveReturned { encounter_id: id(0xa) }
    }));
    deed!(story, LIAISON, "05-14T09:00", desk.transfer_ward(TransferWardRequest {
        v1::Transferred { encounter_id: id(0xa), to: Some(place("acute", "5N")) }
    }));
    let discharged = discharge(story, LIAISON, "05-18T10:00", 0xa, "home");
    deed!(story, LIAISON, "05-18T11:00", desk.cancel_discharge(CancelDischargeRequest { cancel(0xa, discharged) }));
    discharge(story, LIAISON, "05-20T10:00", 0xa, "home");
    let end = told_in_all_ways(story, "2026-05-21").await;
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "admitted to acute 3E",
            "admission cancelled",
            "admitted to acute 3W",
            "on leave",
            "back from leave",
            "moved to acute 5N",
            "discharged (home)",
            "discharge cancelled",
            "discharged (home)",
        ]
    );
    assert_eq!(end.patient.since_at, "2026-05-20T10:00:00+09:00");
}

/// E4: to a hospital without the system: the desk enters for it; its own messages come later,
/// under another record, and the two are merged.
#[tokio::test]
async fn e4_a_transfer_to_a_hospital_without_the_system() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    declare_care_manager(story, LIAISON, "04-02T09:00");
    admit(story, LIAISON, "05-11T09:00", (0xa, 0), "6N");
    ask_for_bed(story, "05-14T09:00", 0xb1, 0xa, "seaside");
    deed!(story, LIAISON, "05-15T09:00 for seaside", desk.offer_bed(OfferBedRequest { answer(0xb1, "") }));
    deed!(story, LIAISON, "05-15T10:00", desk.accept_offer(AcceptOfferRequest { answer(0xb1, "") }));
    discharge(story, LIAISON, "05-20T10:00", 0xa, "hospital");
    deed!(story, LIAISON, "05-20T12:00 for seaside", desk.admit(AdmitRequest {
        v1::Admitted {
            encounter_id: id(0xb),
            place: Some(place("seaside", "")),
            preceding_encounter_id: id(0xa),
            ..v1::Admitted::default()
        }
    }));
    let seaside = Who("seaside", "clerk", "c-1");
    deed!(story, seaside, "2@05-20T13:00", desk.register_patient(RegisterPatientRequest {
        v1::PatientRegistered { identifiers: Vec::new(), ..registration("7") }
    }));
    admit(story, seaside, "2@05-20T13:10", (0xc, 0), "long-term");
    story.then();
    deed!(story, LIAISON, "05-22T09:00", team.merge_patients(MergePatientsRequest {
        v1::PatientsMerged { retired_patient_id: id(2), note: String::new() }
    }));
    let end = told_in_all_ways(story, "2026-05-23").await;
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "care manager declared (care manager)",
            "admitted to acute 6N",
            "transfer requested from seaside",
            "bed offered seaside",
            "offer accepted seaside",
            "discharged (another hospital)",
            "admitted to seaside",
            "registered as a patient",
            "admitted to seaside long-term",
            "another record of the same person was merged into this one",
        ]
    );
    assert_eq!(end.patient.state(), v1::PatientState::InHospital);
    assert_eq!(end.patient.merged_patient_ids, [id(2)]);
    assert_eq!(boards(&end), ["team: InHospital long-term"]);
    // What the desk had entered gives way to the hospital's own word.
    assert_eq!(end.patient.stays.len(), 1);
    assert_eq!(end.patient.stays[0].encounter_id, id(0xc));
    story.then();
    deed!(story, seaside, "05-28T10:00", desk.discharge(DischargeRequest {
        v1::Discharged { encounter_id: id(0xc), ..v1::Discharged::default() }
    }));
    let end = told_in_all_ways(story, "2026-05-29").await;
    assert_eq!(boards(&end), ["team: Discharged"]);
    assert!(end.patient.stays.is_empty());
}

/// E5: nobody knows the care manager at the admission; on the fourth day, somebody does.
#[tokio::test]
async fn e5_the_care_manager_is_found_on_the_fourth_day() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    admit(story, LIAISON, "05-11T09:00", (0xa, 0), "6N");
    deed!(story, LIAISON, "05-11T10:00", team.ask_question(AskQuestionRequest {
        v1::QuestionAsked {
            question_id: id(0x9),
            question: "担当ケアマネジャーはどなたですか。".to_owned(),
            owner_role: "care-manager".to_owned(),
            ..v1::QuestionAsked::default()
        }
    }));
    declare_care_manager(story, LIAISON, "05-14T11:00");
    let asked = ["liaison: in 6N since 2026-05-11", "team: InHospital 6N, ask care-manager"];
    assert_eq!(boards(&told_in_all_ways(story, "2026-05-14").await), asked);
    deed!(story, CARE_MANAGER, "05-14T11:30", team.answer_question(AnswerQuestionRequest {
        v1::QuestionAnswered { question_id: id(0x9), answer: "当事業所です。".to_owned() }
    }));
    admission_info(story, "05-14T15:00", 0xa);
    let end = told_in_all_ways(story, "2026-05-14").await;
    let manager = &end.patient.team[0];
    assert!(manager.is_care_manager);
    assert_eq!(manager.since_at, "2026-05-14T11:00:00+09:00");
    assert!(end.patient.questions.is_empty());
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "admitted to acute 6N",
            "question → care manager",
            "care manager declared (care manager)",
            "question answered",
            "information at admission given to acute (electronically)",
        ]
    );
    assert_eq!(boards(&end), ["liaison: in 6N since 2026-05-11", "team: InHospital 6N"]);
    let row = end.liaison.admitted[0].patient.as_ref().unwrap();
    assert_eq!(row.care_manager.as_ref().unwrap().person, "cm-1");
}

/// E6: the patient dies in hospital; nothing is planned for them any more.
#[tokio::test]
async fn e6_death_in_hospital() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    declare_care_manager(story, LIAISON, "04-02T09:00");
    admit(story, LIAISON, "05-11T09:00", (0xa, 0), "7E");
    plan_discharge(story, LIAISON, "05-12T09:00", 0xa, "2026-05-20");
    deed!(story, LIAISON, "05-15T04:30", desk.record_death(RecordDeathRequest {
        v1::PatientDeceased {
            deceased_at: "2026-05-15T04:12:00+09:00".to_owned(),
            encounter_id: id(0xa),
            ..v1::PatientDeceased::default()
        }
    }));
    discharge(story, LIAISON, "05-15T09:00", 0xa, "death");
    let end = told_in_all_ways(story, "2026-05-15").await;
    assert_eq!(end.patient.state(), v1::PatientState::Deceased);
    assert_eq!(end.patient.since_at, "2026-05-15T04:12:00+09:00");
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "care manager declared (care manager)",
            "admitted to acute 7E",
            "discharge planned for 2026-05-20",
            "died 2026-05-15 04:12",
            "discharged (died)",
        ]
    );
    assert_eq!(boards(&end), ["team: Deceased"]);
}

/// E7: two charts of one person are merged, and then taken apart: it was a twin.
#[tokio::test]
async fn e7_two_charts_are_merged_and_taken_apart() {
    let merged = &mut Story::new();
    registered(merged, "04-01T09:00", "00123");
    deed!(merged, NURSE, "2@04-02T09:00", home.register_patient(RegisterPatientRequest { registration("00456") }));
    declare_care_manager(merged, LIAISON, "04-02T10:00");
    declare_care_manager(merged, NURSE, "2@04-03T10:00");
    visit(merged, "05-02T10:00", false);
    deed!(merged, NURSE, "2@05-03T10:00", home.report_condition_change(ReportConditionChangeRequest {
        v1::ConditionChanged {
            severity: v1::Severity::Warning.into(),
            change: "食欲低下".to_owned(),
            owner_role: "home-doctor".to_owned(),
            next_action: "往診".to_owned(),
        }
    }));
    merged.then();
    deed!(merged, LIAISON, "05-05T09:00", team.merge_patients(MergePatientsRequest {
        v1::PatientsMerged { retired_patient_id: id(2), note: String::new() }
    }));
    let end = told_in_all_ways(merged, "2026-05-06").await;
    let both = [
        "registered as a patient",
        "registered as a patient",
        "care manager declared (care manager)",
        "care manager declared (care manager)",
        "nursing visit",
        "condition changed [needs action] 食欲低下 → home doctor: 往診",
        "another record of the same person was merged into this one",
    ];
    assert_eq!(end.sentences, both);
    assert_eq!(end.patient.identifiers.len(), 2);
    assert_eq!(boards(&end), ["team: Unspecified"], "one person, one row");

    merged.then();
    visit(merged, "05-06T10:00", true);
    merged.then();
    deed!(merged, LIAISON, "05-07T09:00", team.unmerge_patients(UnmergePatientsRequest {
        v1::PatientsUnmerged { retired_patient_id: id(2), note: String::new() }
    }));
    merged.then();
    deed!(merged, NURSE, "2@05-08T10:00", home.record_visit(RecordVisitRequest {
        v1::VisitCompleted { kind: v1::VisitKind::Nursing.into(), ..Default::default() }
    }));
    let end = told_in_all_ways(merged, "2026-05-08").await;
    let own = [
        "registered as a patient",
        "care manager declared (care manager)",
        "nursing visit",
        "another record of the same person was merged into this one",
        "nursing visit — change noticed",
        "the merge with another record was taken back",
    ];
    assert_eq!(end.sentences, own);
    assert_eq!(end.patient.identifiers.len(), 1);
    assert_eq!(boards(&end), ["team: Unspecified", "team: Unspecified"], "each their own");
}

/// E8: somebody without family; a supporter decides with them, and a link worker sees that they
/// are not alone.
#[tokio::test]
async fn e8_somebody_without_family() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    admit(story, LIAISON, "05-11T09:00", (0xa, 0), "3W");
    screen(story, "05-12T11:00", 0xa, &["no-family-contact", "poverty"]);
    deed!(story, LIAISON, "05-12T14:00", team.appoint_proxy(AppointProxyRequest {
        v1::Proxy {
            proxy_id: id(0xf0),
            proxy: Some(v1::Participant { role: "supporter".to_owned(), name: "田中".to_owned(), ..Default::default() }),
            kind: code("supporter"),
            scope: "医療の説明への同席".to_owned(),
            ..v1::Proxy::default()
        }
    }));
    deed!(story, LIAISON, "05-13T10:00", team.record_acp_preference(RecordAcpPreferenceRequest {
        v1::AcpPreferenceRecorded {
            preference_id: id(0xac),
            scope: code("place-of-care").into_iter().collect(),
            preference: "できるだけ自宅で過ごしたい。".to_owned(),
            author: Some(person(LIAISON)),
            ..v1::AcpPreferenceRecorded::default()
        }
    }));
    deed!(story, LIAISON, "05-13T11:00", link.request_referral(RequestReferralRequest {
        v1::ReferralRequested {
            referral_id: id(0xf1),
            receiver: organisation("link"),
            reasons: code("no-family").into_iter().collect(),
            what_matters: "また畑をやりたい。".to_owned(),
            ..v1::ReferralRequested::default()
        }
    }));
    let waiting = ["liaison: in 3W since 2026-05-11", "link: a referral waits"];
    assert_eq!(boards(&told_in_all_ways(story, "2026-05-14").await), waiting);
    let step = || v1::ReferralStep { referral_id: id(0xf1), ..v1::ReferralStep::default() };
    deed!(story, LINK_WORKER, "05-14T09:30", link.accept_referral(AcceptReferralRequest { step() }));
    deed!(story, LINK_WORKER, "05-14T09:40", link.open_case(OpenCaseRequest {
        v1::CaseOpened {
            case_id: id(0xca),
            link_worker: Some(person(LINK_WORKER)),
            referral_id: id(0xf1),
            ..v1::CaseOpened::default()
        }
    }));
    deed!(story, LINK_WORKER, "05-14T09:45", link.start_referral(StartReferralRequest { step() }));
    deed!(story, Who("link", "ai-tool", "ai-1"), "05-15T10:00", link.draft_interview(DraftInterviewRequest {
        v1::InterviewRecord {
            interview_id: id(0x17),
            case_id: id(0xca),
            missing_items: ["money", "consent"].iter().filter_map(|item| code(item)).collect(),
            tool: "summariser 1.2".to_owned(),
            ..v1::InterviewRecord::default()
        }
    }));
    deed!(story, LINK_WORKER, "05-15T11:00", link.confirm_interview(ConfirmInterviewRequest {
        v1::InterviewRecord { interview_id: id(0x17), case_id: id(0xca), ..Default::default() }
    }));
    deed!(story, LINK_WORKER, "05-15T11:10", link.record_contact(RecordContactRequest {
        v1::ContactHeld {
            case_id: id(0xca),
            means: v1::Means::InPerson.into(),
            next_contact_on: "2026-05-29".to_owned(),
            ..v1::ContactHeld::default()
        }
    }));
    deed!(story, LINK_WORKER, "05-15T11:20", link.set_goal(SetGoalRequest {
        v1::GoalSet {
            goal_id: id(0x90),
            case_id: id(0xca),
            goal: "週に一度、園芸の会へ行く。".to_owned(),
            ..v1::GoalSet::default()
        }
    }));
    deed!(story, LINK_WORKER, "05-20T09:00", link.send_feedback(SendFeedbackRequest {
        v1::FeedbackSent {
            referral_id: id(0xf1),
            recipient: organisation("acute"),
            means: v1::Means::Electronic.into(),
            summary: "ケースを開始しました。".to_owned(),
            ..v1::FeedbackSent::default()
        }
    }));
    let end = told_in_all_ways(story, "2026-05-30").await;
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "admitted to acute 3W",
            "screened for discharge difficulties: 2 found, discharge support needed",
            "proxy supporter (supporter of somebody without family)",
            "wishes for the end of life recorded (place of care)",
            "referred to link",
            "referral accepted link",
            "social-prescribing case opened",
            "referral in progress link",
            "interview drafted (not asked yet: money, consent to share)",
            "interview confirmed",
            "contact with the link worker (in person)",
            "goal set",
            "feedback sent to acute (electronically)",
        ]
    );
    assert_eq!(end.patient.wish.as_ref().unwrap().preference, "できるだけ自宅で過ごしたい。");
    let case = &end.caseload.cases[0];
    assert_eq!(case.case.as_ref().unwrap().next_contact_on, "2026-05-29");
    assert!(case.is_due && !case.is_silent);
    assert_eq!(boards(&end), ["liaison: in 3W since 2026-05-11", "link: next 2026-05-29, due"]);
    assert_eq!(end.patient.referrals[0].state.as_ref().unwrap().en, "in progress");
}

/// E9: the discharge comes five days earlier than planned.
#[tokio::test]
async fn e9_the_discharge_is_brought_forward() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    declare_care_manager(story, LIAISON, "04-02T09:00");
    admit(story, LIAISON, "05-11T09:00", (0xa, 0), "7E");
    plan_discharge(story, LIAISON, "05-14T10:00", 0xa, "2026-06-01");
    plan_discharge(story, LIAISON, "05-20T16:00", 0xa, "2026-05-27");
    deed!(story, LIAISON, "05-21T09:00", desk.schedule_conference(ScheduleConferenceRequest {
        v1::ConferenceScheduled {
            encounter_id: id(0xa),
            conference_id: id(0xc0),
            kind: v1::ConferenceKind::PreDischarge.into(),
            scheduled_at: "2026-05-25T14:00:00+09:00".to_owned(),
            ..v1::ConferenceScheduled::default()
        }
    }));
    deed!(story, LIAISON, "05-22T09:00", desk.declare_discharge_ready(DeclareDischargeReadyRequest {
        v1::DischargeReadyDeclared {
            encounter_id: id(0xa),
            ready_on: "2026-05-26".to_owned(),
            note: String::new(),
        }
    }));
    let end = told_in_all_ways(story, "2026-05-23").await;
    let planned = end.liaison.planned_discharges[0].stay.as_ref().unwrap();
    assert_eq!(planned.planned_discharge_at, "2026-05-27", "what was planned last");
    assert_eq!(planned.ready_on, "2026-05-26");
    assert_eq!(team_board(&end).stays[0].planned_discharge_at, "2026-05-27");
    assert_eq!(
        boards(&end),
        ["liaison: in 7E since 2026-05-11", "liaison: leaves 2026-05-27", "team: InHospital 7E"]
    );
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "care manager declared (care manager)",
            "admitted to acute 7E",
            "discharge planned for 2026-06-01",
            "discharge planned for 2026-05-27",
            "pre-discharge conference called for 2026-05-25 14:00",
            "ready for discharge from 2026-05-26",
        ]
    );
    assert_eq!(end.patient.planned_discharge_at, "2026-05-27");
}

/// E10: back in hospital within thirty days, with the variance of the plan before.
#[tokio::test]
async fn e10_readmitted_within_thirty_days() {
    let story = &mut Story::new();
    registered(story, "04-01T09:00", "00123");
    declare_care_manager(story, LIAISON, "04-02T09:00");
    admit(story, LIAISON, "05-01T09:00", (0xa, 0), "7E");
    discharge(story, LIAISON, "05-10T09:00", 0xa, "home");
    visit(story, "05-12T10:00", true);
    deed!(story, NURSE, "05-20T21:00", home.record_emergency_transport(RecordEmergencyTransportRequest {
        v1::EmergencyTransported { destination: organisation("acute"), ..Default::default() }
    }));
    admit(story, LIAISON, "05-20T22:00", (0xb, 0xa), "7E");
    screen(story, "05-21T10:00", 0xb, &["readmission"]);
    deed!(story, LIAISON, "05-21T11:00", desk.record_path_variance(RecordPathVarianceRequest {
        v1::PathVarianceRecorded {
            encounter_id: id(0xb),
            goal: "自宅で内服を続ける".to_owned(),
            variance: "内服できず再入院".to_owned(),
            reason: Some(v1::Code { display: "服薬管理".to_owned(), ..Default::default() }),
        }
    }));
    let end = told_in_all_ways(story, "2026-05-22").await;
    let expected = ["liaison: in 7E since 2026-05-20, again", "team: InHospital 7E"];
    assert_eq!(boards(&end), expected);
    assert_eq!(
        end.sentences,
        [
            "registered as a patient",
            "care manager declared (care manager)",
            "admitted to acute 7E",
            "discharged (home)",
            "nursing visit — change noticed",
            "taken to hospital in an emergency to acute",
            "admitted to acute 7E",
            "screened for discharge difficulties: 1 found, discharge support needed",
            "variance from the path (服薬管理)",
        ]
    );
    let [row] = end.liaison.admitted.as_slice() else { panic!("{:?}", end.liaison.admitted) };
    let stay = row.stay.as_ref().unwrap();
    let readmission = stay.readmission.as_ref().unwrap();
    assert_eq!((readmission.encounter_id.clone(), readmission.days), (id(0xa), 10));
    assert_eq!(readmission.discharged_at, "2026-05-10T09:00:00+09:00");
    assert_eq!(readmission.variances.len(), 1, "of the plan that did not hold");
    assert_eq!(readmission.variances[0].variance, "内服できず再入院");
    assert_eq!(end.patient.stays[0].readmission.as_ref(), Some(readmission));
}

/// Later than thirty days, or from hospital to hospital, it is none.
#[tokio::test]
async fn an_admission_is_no_readmission_after_thirty_days_or_from_another_hospital() {
    for (discharged_on, disposition) in [("04-20T09:00", "home"), ("05-19T09:00", "hospital")] {
        let story = &mut Story::new();
        registered(story, "04-01T09:00", "00123");
        admit(story, LIAISON, "04-10T09:00", (0xa, 0), "7E");
        discharge(story, LIAISON, discharged_on, 0xa, disposition);
        admit(story, LIAISON, "05-21T10:00", (0xb, 0), "7E");
        let end = told_in_all_ways(story, "2026-05-22").await;
        assert_eq!(end.patient.stays[0].readmission, None, "{disposition}");
    }
}
