//! What nurses, care managers and doctors write for each other: orders, plans, reports, meetings,
//! documents; and what goes wrong with them.

use tsunagi_proto::v1;

use super::hardships::certified;
use super::living_at_home::living_at_home;
use super::region::{Person, code};
use super::teller::{Stop, Story, tell};

/// A month of papers.
pub(super) async fn paperwork(story: &mut Story) -> Result<(), Stop> {
    let doctor = Person { role: "home-doctor", id: "d-1", ..story.team.acute.liaison_nurse() };
    story.after(1, 10, 0);
    orders(story, doctor).await?;
    plans_and_reports(story, doctor).await?;
    let certification_id = certified(story, story.team.care_manager()).await?;
    let valid_to_on = story.day_ahead(365);
    let care_manager = story.team.care_manager();
    tell!(story, care_manager, home_care.remind_of_certification(RemindOfCertificationRequest {
        v1::CertificationExpiring { certification_id, valid_to_on }
    }));
    medicines_and_a_fall(story).await?;
    documents(story, doctor).await?;
    living_at_home(story).await
}

async fn orders(story: &mut Story, doctor: Person) -> Result<(), Stop> {
    let (order_id, from, to) = (story.new_id(), story.day_ahead(0), story.day_ahead(90));
    let nursing = story.team.nursing.named();
    let order = |kind: &str, instructions: &str| v1::NursingOrder {
        order_id: order_id.clone(),
        kind: Some(code("jp.nursing-order-kind", kind, "")),
        valid_from_on: from.clone(),
        valid_to_on: to.clone(),
        doctor: Some(doctor.taking_part(v1::Means::Unspecified)),
        recipient: Some(nursing.clone()),
        instructions: instructions.to_owned(),
        ..v1::NursingOrder::default()
    };
    tell!(story, doctor, home_care.issue_order(IssueOrderRequest {
        order("nursing", "褥瘡の処置、服薬の確認")
    }));
    story.after(3, 12, 0);
    tell!(story, doctor, home_care.amend_order(AmendOrderRequest {
        order("nursing", "褥瘡の処置を週3回に")
    }));
    let (valid_from_on, valid_to_on) = (story.day_ahead(0), story.day_ahead(13));
    let special = v1::NursingOrder {
        order_id: story.new_id(),
        valid_from_on,
        valid_to_on,
        ..order("special", "急性増悪。連日の訪問")
    };
    tell!(story, doctor, home_care.issue_special_order(IssueSpecialOrderRequest { special }));
    story.after(5, 12, 0);
    tell!(story, doctor, home_care.expire_order(ExpireOrderRequest {
        v1::OrderExpired { order_id: order_id.clone(), note: "入院のため".to_owned() }
    }));
    Ok(())
}

async fn plans_and_reports(story: &mut Story, doctor: Person) -> Result<(), Stop> {
    let (nurse, care_manager) = (story.team.visiting_nurse(), story.team.care_manager());
    let scheduled_at = story.time_ahead(1, 10);
    tell!(story, nurse, home_care.schedule_visit(ScheduleVisitRequest {
        v1::VisitScheduled {
            kind: v1::VisitKind::Nursing.into(),
            scheduled_at,
            visitor: Some(nurse.taking_part(v1::Means::InPerson)),
        }
    }));
    let paper = |summary: &str| v1::NursingPaper {
        recipient: Some(doctor.office.named()),
        summary: summary.to_owned(),
        means: v1::Means::Electronic.into(),
        ..v1::NursingPaper::default()
    };
    tell!(story, nurse, home_care.submit_nursing_plan(SubmitNursingPlanRequest {
        paper("皮膚の観察と処置、家族への指導")
    }));
    let care_plan_id = story.new_id();
    tell!(story, care_manager, home_care.share_care_plan(ShareCarePlanRequest {
        v1::CarePlanShared {
            care_plan_id,
            version: 1,
            policy: "本人のできることを続ける".to_owned(),
            ..v1::CarePlanShared::default()
        }
    }));
    let next_on = story.day_ahead(90);
    tell!(story, care_manager, home_care.record_service_meeting(RecordServiceMeetingRequest {
        v1::ServiceMeetingHeld {
            participants: [care_manager, nurse]
                .map(|who| who.taking_part(v1::Means::InPerson))
                .to_vec(),
            decisions: "訪問看護を週2回、福祉用具を追加".to_owned(),
            open_questions: "夜間の対応".to_owned(),
            next_on,
        }
    }));
    story.after(20, 17, 0);
    tell!(story, nurse, home_care.submit_nursing_report(SubmitNursingReportRequest {
        paper("褥瘡は縮小。服薬は自立")
    }));
    Ok(())
}

async fn medicines_and_a_fall(story: &mut Story) -> Result<(), Stop> {
    let nurse = story.team.visiting_nurse();
    story.after(2, 10, 0);
    tell!(story, nurse, home_care.reconcile_medication(ReconcileMedicationRequest {
        v1::MedicationReconciled {
            differences: 1,
            note: "退院時に中止の薬が残っていた".to_owned(),
            leftover: "14日分".to_owned(),
            ..v1::MedicationReconciled::default()
        }
    }));
    tell!(story, nurse, home_care.report_incident(ReportIncidentRequest {
        v1::IncidentReported {
            kind: Some(code("incident.kind", "fall", "転倒")),
            severity: v1::Severity::Warning.into(),
            what: "浴室で転倒。外傷なし".to_owned(),
            action: "手すりを依頼".to_owned(),
            informed: vec![story.team.care_manager().taking_part(v1::Means::Telephone)],
        }
    }));
    Ok(())
}

/// A letter is published, received and filed; a newer one takes its place, and one was wrong.
async fn documents(story: &mut Story, doctor: Person) -> Result<(), Stop> {
    let nurse = story.team.visiting_nurse();
    let (first, second, wrong) = (story.new_id(), story.new_id(), story.new_id());
    let letter = |document_id: &str, digit: char| v1::DocumentReference {
        document_id: document_id.to_owned(),
        kind: Some(code("document.kind", "57133-1", "診療情報提供書")),
        sha256: digit.to_string().repeat(64),
        addressee: Some(nurse.office.named()),
        ..v1::DocumentReference::default()
    };
    for (id, digit) in [(&first, 'a'), (&second, 'b'), (&wrong, 'c')] {
        tell!(story, doctor, care_team.publish_document(PublishDocumentRequest {
            letter(id, digit)
        }));
    }
    tell!(story, nurse, care_team.receive_document(ReceiveDocumentRequest { letter(&second, 'b') }));
    tell!(story, nurse, care_team.file_document(FileDocumentRequest { letter(&second, 'b') }));
    tell!(story, doctor, care_team.supersede_document(SupersedeDocumentRequest {
        v1::DocumentEnded {
            document_id: first,
            superseded_by_document_id: second,
            reason: "検査値の追記".to_owned(),
        }
    }));
    tell!(story, doctor, care_team.withdraw_document(WithdrawDocumentRequest {
        v1::DocumentEnded {
            document_id: wrong,
            reason: "別の方の文書".to_owned(),
            ..v1::DocumentEnded::default()
        }
    }));
    Ok(())
}
