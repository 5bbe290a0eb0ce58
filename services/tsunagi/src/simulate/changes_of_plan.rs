//! A stay in which nearly everything is planned otherwise than it comes: each plan is cancelled or
//! changed, and the discharge waits.

use tsunagi_proto::v1;

use super::hospital::{admit, discharge_home, request_bed};
use super::region::{Office, Person, code};
use super::teller::{Stop, Story, tell};

/// From a visit that was somebody else's to a discharge that had to wait.
pub(super) async fn changes_of_plan(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    story.after(2, 9, 0);
    plans_that_come_to_nothing(story, acute).await?;
    story.after(3, 10, 0);
    let stay = admit(story, acute, "内科", "4西病棟", "").await?;
    moves_that_are_taken_back(story, acute, &stay).await?;
    leaves_that_are_taken_back(story, acute, &stay).await?;
    support(story, acute, &stay).await?;
    guidance(story, acute, &stay).await?;
    waiting(story, acute, &stay).await?;
    story.after(3, 10, 0);
    discharge_home(story, acute, &stay).await
}

fn cancels(stay: &str, event: String, reason: &str) -> v1::EncounterCancellation {
    v1::EncounterCancellation {
        encounter_id: stay.to_owned(),
        cancelled_event_id: event,
        reason: reason.to_owned(),
    }
}

async fn plans_that_come_to_nothing(story: &mut Story, acute: Office) -> Result<(), Stop> {
    let (nurse, visit, planned) = (acute.liaison_nurse(), story.new_id(), story.new_id());
    let event = tell!(story, nurse, discharge_desk.register_visit(RegisterVisitRequest {
        v1::EncounterRegistered {
            encounter_id: visit.clone(),
            class: v1::EncounterClass::Outpatient.into(),
            place: Some(acute.place("内科", "")),
            ..v1::EncounterRegistered::default()
        }
    }));
    tell!(story, nurse, discharge_desk.cancel_visit(CancelVisitRequest {
        cancels(&visit, event, "別の方の受付だった")
    }));
    let planned_at = story.time_ahead(10, 10);
    let event = tell!(story, nurse, discharge_desk.plan_admission(PlanAdmissionRequest {
        v1::AdmissionPlanned {
            encounter_id: planned.clone(),
            planned_at,
            place: Some(acute.place("内科", "4西病棟")),
            ..v1::AdmissionPlanned::default()
        }
    }));
    tell!(story, nurse, discharge_desk.cancel_planned_admission(CancelPlannedAdmissionRequest {
        cancels(&planned, event, "外来で様子を見る")
    }));
    Ok(())
}

async fn moves_that_are_taken_back(
    story: &mut Story,
    acute: Office,
    stay: &str,
) -> Result<(), Stop> {
    let nurse = acute.liaison_nurse();
    story.after(1, 10, 0);
    let (to, planned_at) = (Some(acute.place("内科", "4東病棟")), story.time_ahead(2, 10));
    let event = tell!(story, nurse, discharge_desk.plan_ward_transfer(PlanWardTransferRequest {
        v1::TransferPlanned { encounter_id: stay.to_owned(), planned_at, to: to.clone() }
    }));
    tell!(story, nurse, discharge_desk.cancel_planned_ward_transfer(CancelPlannedWardTransferRequest {
        cancels(stay, event, "満床")
    }));
    let event = tell!(story, nurse, discharge_desk.transfer_ward(TransferWardRequest {
        v1::Transferred { encounter_id: stay.to_owned(), to }
    }));
    tell!(story, nurse, discharge_desk.cancel_ward_transfer(CancelWardTransferRequest {
        cancels(stay, event, "入力の誤り")
    }));
    tell!(story, nurse, discharge_desk.change_attending(ChangeAttendingRequest {
        v1::AttendingChanged {
            encounter_id: stay.to_owned(),
            attending: Some(Person { role: "doctor", id: "d-2", ..nurse }.taking_part(v1::Means::Unspecified)),
        }
    }));
    tell!(story, nurse, discharge_desk.change_encounter_class(ChangeEncounterClassRequest {
        v1::EncounterClassChanged {
            encounter_id: stay.to_owned(),
            kind: Some(code("jp.bed-type", "community-care", "地域包括ケア")),
            note: String::new(),
        }
    }));
    Ok(())
}

async fn leaves_that_are_taken_back(
    story: &mut Story,
    acute: Office,
    stay: &str,
) -> Result<(), Stop> {
    let nurse = acute.liaison_nurse();
    let leave = || v1::LeaveStarted { encounter_id: stay.to_owned(), ..Default::default() };
    story.after(2, 10, 0);
    let event = tell!(story, nurse, discharge_desk.start_leave(StartLeaveRequest { leave() }));
    tell!(story, nurse, discharge_desk.cancel_leave(CancelLeaveRequest {
        cancels(stay, event, "発熱のため中止")
    }));
    story.after(2, 10, 0);
    tell!(story, nurse, discharge_desk.start_leave(StartLeaveRequest { leave() }));
    let returned = || v1::LeaveReturned { encounter_id: stay.to_owned() };
    let event = tell!(story, nurse, discharge_desk.return_from_leave(ReturnFromLeaveRequest { returned() }));
    tell!(story, nurse, discharge_desk.cancel_return_from_leave(CancelReturnFromLeaveRequest {
        cancels(stay, event, "まだ戻っていなかった")
    }));
    story.after(1, 16, 0);
    tell!(story, nurse, discharge_desk.return_from_leave(ReturnFromLeaveRequest { returned() }));
    Ok(())
}

async fn support(story: &mut Story, acute: Office, stay: &str) -> Result<(), Stop> {
    let (nurse, support_id) = (acute.liaison_nurse(), story.new_id());
    story.after(1, 11, 0);
    tell!(story, nurse, discharge_desk.add_factor(AddFactorRequest {
        v1::FactorIdentified {
            encounter_id: stay.to_owned(),
            factor: Some(code("jp.discharge-difficulty-factor", "poverty", "生活困窮")),
            note: String::new(),
        }
    }));
    tell!(story, nurse, discharge_desk.open_support(OpenSupportRequest {
        v1::SupportOpened {
            support_id: support_id.clone(),
            encounter_id: stay.to_owned(),
            responsible: Some(nurse.taking_part(v1::Means::Unspecified)),
        }
    }));
    let plan = |goals: &str| v1::DischargePlan {
        encounter_id: stay.to_owned(),
        goals: goals.to_owned(),
        support: "訪問看護 週1回、配食".to_owned(),
        ..v1::DischargePlan::default()
    };
    tell!(story, nurse, discharge_desk.issue_discharge_plan(IssueDischargePlanRequest {
        plan("家の中を伝い歩きできる")
    }));
    story.after(3, 15, 0);
    tell!(story, nurse, discharge_desk.change_discharge_plan(ChangeDischargePlanRequest {
        plan("車いすで家に帰る")
    }));
    tell!(story, nurse, discharge_desk.close_support(CloseSupportRequest {
        v1::SupportClosed {
            support_id,
            encounter_id: stay.to_owned(),
            outcome: "自宅退院の見込み".to_owned(),
        }
    }));
    Ok(())
}

async fn guidance(story: &mut Story, acute: Office, stay: &str) -> Result<(), Stop> {
    let nurse = acute.liaison_nurse();
    let others = [nurse, story.team.care_manager(), story.team.visiting_nurse()];
    let given = || v1::JointGuidance {
        encounter_id: stay.to_owned(),
        participants: others.map(|who| who.taking_part(v1::Means::Video)).to_vec(),
        content: "移乗の介助、褥瘡の予防、緊急時の連絡先".to_owned(),
        given_to_patient: true,
        ..v1::JointGuidance::default()
    };
    story.after(2, 14, 0);
    tell!(story, nurse, discharge_desk.record_care_manager_guidance(RecordCareManagerGuidanceRequest {
        given()
    }));
    story.after(2, 14, 0);
    tell!(story, nurse, discharge_desk.record_joint_guidance(RecordJointGuidanceRequest { given() }));
    let wanted_on = story.day_ahead(5);
    tell!(story, nurse, discharge_desk.order_equipment(OrderEquipmentRequest {
        v1::EquipmentOrdered {
            encounter_id: stay.to_owned(),
            items: vec!["車いす".to_owned(), "特殊寝台".to_owned()],
            wanted_on,
            ..v1::EquipmentOrdered::default()
        }
    }));
    Ok(())
}

/// The discharge is planned, and waits; another hospital is asked meanwhile.
async fn waiting(story: &mut Story, acute: Office, stay: &str) -> Result<(), Stop> {
    let (nurse, planned_at) = (acute.liaison_nurse(), story.time_ahead(3, 10));
    let event = tell!(story, nurse, discharge_desk.plan_discharge(PlanDischargeRequest {
        v1::DischargePlanned { encounter_id: stay.to_owned(), planned_at, ..Default::default() }
    }));
    tell!(story, nurse, discharge_desk.cancel_planned_discharge(CancelPlannedDischargeRequest {
        cancels(stay, event, "住宅改修が間に合わない")
    }));
    tell!(story, nurse, discharge_desk.record_delay_reason(RecordDelayReasonRequest {
        v1::DelayReasonRecorded {
            encounter_id: stay.to_owned(),
            reason: Some(code("discharge.delay-reason", "awaiting-equipment", "福祉用具待ち")),
            note: String::new(),
        }
    }));
    tell!(story, nurse, discharge_desk.assess_residence_criteria(AssessResidenceCriteriaRequest {
        v1::ResidenceCriteriaAssessed {
            encounter_id: stay.to_owned(),
            criterion: Some(code("uk.residence-criterion", "not-met", "")),
            note: String::new(),
        }
    }));
    let bed = ("long-term", "療養病床");
    let asked = request_bed(story, acute, stay, story.team.long_term, bed).await?;
    story.after(1, 9, 0);
    tell!(story, nurse, discharge_desk.withdraw_transfer_request(WithdrawTransferRequestRequest {
        v1::TransferAnswer {
            transfer_request_id: asked,
            note: "自宅退院に決まった".to_owned(),
            ..v1::TransferAnswer::default()
        }
    }));
    Ok(())
}
