//! Stories of what goes otherwise than planned: death, a second registration, nobody to ask, back in
//! hospital, slips of the pen; and of what is asked and watched between the visits.

use rand::RngExt as _;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::hospital::{admit, discharge_home, screen};
use super::living_at_home::{living_at_home, nursing_visit};
use super::region::{Person, Team, code};
use super::teller::{Stop, Story, tell};

/// Somebody dies in hospital.
pub(super) async fn death_in_hospital(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    declare_care_manager(story).await?;
    let days = story.some_days(5, 40);
    story.after(days, 16, 0);
    let stay = admit(story, acute, "内科", "3西病棟", "").await?;
    let days = story.some_days(6, 20);
    story.after(days, 4, 10);
    let deceased_at = story.minutes_ahead(0);
    tell!(story, acute.liaison_nurse(), discharge_desk.record_death(RecordDeathRequest {
        v1::PatientDeceased {
            deceased_at,
            place: Some(acute.place("内科", "3西病棟")),
            encounter_id: stay.clone(),
            note: String::new(),
        }
    }));
    story.after(0, 9, 0);
    tell!(story, acute.liaison_nurse(), discharge_desk.discharge(DischargeRequest {
        v1::Discharged {
            encounter_id: stay,
            disposition: Some(code("jp.discharge-disposition", "death", "死亡")),
            destination: None,
        }
    }));
    Ok(())
}

/// The nurses register somebody whom the hospital knows; somebody notices, and merges the two.
pub(super) async fn registered_twice(story: &mut Story) -> Result<(), Stop> {
    let nurse = story.team.visiting_nurse();
    story.after(3, 9, 0);
    let second = story.new_id();
    let first = story.speak_of(second.clone());
    let demographics = story.demographics();
    tell!(story, nurse, home_care.register_patient(RegisterPatientRequest {
        v1::PatientRegistered { identifiers: Vec::new(), demographics: Some(demographics) }
    }));
    nursing_visit(story).await?;
    story.speak_of(first);
    story.after(10, 11, 0);
    let who = story.team.acute.liaison_nurse();
    tell!(story, who, care_team.merge_patients(MergePatientsRequest {
        v1::PatientsMerged {
            retired_patient_id: second,
            note: "氏名・生年月日・保険証で確認".to_owned(),
        }
    }));
    namesake(story).await?;
    living_at_home(story).await
}

/// Somebody of the same name is taken for the same person, until the next day.
async fn namesake(story: &mut Story) -> Result<(), Stop> {
    let (nurse, liaison) = (story.team.visiting_nurse(), story.team.acute.liaison_nurse());
    let other = story.new_id();
    let first = story.speak_of(other.clone());
    let demographics = story.demographics();
    tell!(story, nurse, home_care.register_patient(RegisterPatientRequest {
        v1::PatientRegistered { identifiers: Vec::new(), demographics: Some(demographics) }
    }));
    story.speak_of(first);
    tell!(story, liaison, care_team.merge_patients(MergePatientsRequest {
        v1::PatientsMerged { retired_patient_id: other.clone(), note: "同姓同名".to_owned() }
    }));
    let visited = visit(story, nurse).await?;
    story.after(1, 9, 0);
    tell!(story, liaison, care_team.unmerge_patients(UnmergePatientsRequest {
        v1::PatientsUnmerged { retired_patient_id: other.clone(), note: "別人と判明".to_owned() }
    }));
    // The visit was the other's.
    let moving = v1::MoveEventsRequest {
        context: Some(story.context()?),
        to_patient_id: other,
        event_ids: vec![visited],
        note: String::new(),
    };
    let moved = story.teller.care_team.move_events(story.sign(nurse, moving)).await;
    story.told_all(moved.map(|moved| {
        moved.map(|v1::MoveEventsResponse { taken_back, told_again, .. }| {
            [taken_back, told_again].concat()
        })
    }))?;
    Ok(())
}

/// Somebody without family: a supporter, wishes, and a question to whoever knows.
pub(super) async fn without_family(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    let nurse = acute.liaison_nurse();
    let days = story.some_days(1, 20);
    story.after(days, 10, 0);
    let stay = admit(story, acute, "整形外科", "5東病棟", "").await?;
    story.after(1, 11, 0);
    let alone = code("jp.discharge-difficulty-factor", "no-family-contact", "");
    screen(story, acute, &stay, vec![alone]).await?;
    let question_id = story.new_id();
    tell!(story, nurse, care_team.ask_question(AskQuestionRequest {
        v1::QuestionAsked {
            question_id: question_id.clone(),
            question: "担当ケアマネジャーはどなたですか。".to_owned(),
            owner_role: "care-manager".to_owned(),
            ..v1::QuestionAsked::default()
        }
    }));
    story.after(3, 9, 0);
    declare_care_manager(story).await?;
    let care_manager = story.team.care_manager();
    tell!(story, care_manager, care_team.answer_question(AnswerQuestionRequest {
        v1::QuestionAnswered { question_id, answer: "当事業所です。".to_owned() }
    }));
    let proxy_id = story.new_id();
    tell!(story, nurse, care_team.appoint_proxy(AppointProxyRequest {
        v1::Proxy {
            proxy_id,
            proxy: Some(v1::Participant { role: "supporter".to_owned(), ..Default::default() }),
            kind: Some(code("proxy.kind", "supporter", "")),
            ..v1::Proxy::default()
        }
    }));
    let preference_id = story.new_id();
    tell!(story, nurse, care_team.record_acp_preference(RecordAcpPreferenceRequest {
        v1::AcpPreferenceRecorded {
            preference_id,
            scope: vec![code("acp.scope", "place-of-care", "")],
            preference: "できるだけ自宅で過ごしたい。".to_owned(),
            author: Some(nurse.taking_part(v1::Means::InPerson)),
            ..v1::AcpPreferenceRecorded::default()
        }
    }));
    story.after(8, 10, 0);
    discharge_home(story, acute, &stay).await?;
    living_at_home(story).await
}

/// Back in hospital within thirty days.
pub(super) async fn readmission(story: &mut Story) -> Result<(), Stop> {
    let (acute, nurse) = (story.team.acute, story.team.visiting_nurse());
    let days = story.some_days(1, 20);
    story.after(days, 10, 0);
    let first = admit(story, acute, "循環器内科", "7東病棟", "").await?;
    story.after(8, 10, 0);
    discharge_home(story, acute, &first).await?;
    story.after(2, 10, 0);
    nursing_visit(story).await?;
    let days = story.some_days(5, 20);
    story.after(days, 21, 0);
    tell!(story, nurse, home_care.record_emergency_transport(RecordEmergencyTransportRequest {
        v1::EmergencyTransported { destination: Some(acute.named()), ..Default::default() }
    }));
    let second = admit(story, acute, "循環器内科", "7東病棟", &first).await?;
    story.after(1, 11, 0);
    let again = code("jp.discharge-difficulty-factor", "readmission", "");
    screen(story, acute, &second, vec![again]).await?;
    tell!(story, acute.liaison_nurse(), discharge_desk.record_path_variance(RecordPathVarianceRequest {
        v1::PathVarianceRecorded {
            encounter_id: second.clone(),
            goal: "自宅で内服を続ける".to_owned(),
            variance: "内服できず再入院".to_owned(),
            reason: None,
        }
    }));
    story.after(9, 10, 0);
    discharge_home(story, acute, &second).await?;
    living_at_home(story).await
}

/// A visit that is written into the wrong chart, another under the wrong date.
pub(super) async fn slips(story: &mut Story) -> Result<(), Stop> {
    let nurse = story.team.visiting_nurse();
    story.after(4, 10, 0);
    let wrong = visit(story, nurse).await?;
    story.after(0, 17, 0);
    tell!(story, nurse, care_team.mark_entered_in_error(MarkEnteredInErrorRequest {
        v1::EnteredInError {
            moved_to_patient_id: String::new(),
            corrects_event_id: wrong,
            reason: Some(code("record.error-reason", "wrong-patient", "")),
            note: String::new(),
        }
    }));
    story.after(3, 10, 0);
    let occurred_at = story.time_ahead(0, 9);
    let late = visit(story, nurse).await?;
    tell!(story, nurse, care_team.correct_time(CorrectTimeRequest {
        v1::TimeCorrected {
            corrects_event_id: late,
            occurred_at,
            reason: Some(code("record.error-reason", "wrong-time", "")),
            note: String::new(),
        }
    }));
    let seen = v1::VisitCompleted {
        kind: v1::VisitKind::Nursing.into(),
        change_noticed: true,
        ..v1::VisitCompleted::default()
    };
    let seen = Payload::VisitCompleted(seen);
    let event = visit(story, nurse).await?;
    tell!(story, nurse, care_team.correct_value(CorrectValueRequest {
        v1::ValueCorrected {
            corrects_event_id: event,
            r#type: seen.event_type().to_owned(),
            payload: seen.encode_to_vec(),
            reason: Some(code("record.error-reason", "wrong-value", "")),
            note: String::new(),
        }
    }));
    discharged_too_early(story).await?;
    living_at_home(story).await
}

/// A stay on a pathway, from which somebody is discharged before they go.
async fn discharged_too_early(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    let liaison = acute.liaison_nurse();
    story.after(6, 10, 0);
    let stay = admit(story, acute, "整形外科", "5東病棟", "").await?;
    tell!(story, liaison, discharge_desk.assign_pathway(AssignPathwayRequest {
        v1::PathwayAssigned {
            encounter_id: stay.clone(),
            pathway: Some(v1::Code { display: "大腿骨頸部骨折".to_owned(), ..v1::Code::default() }),
            goal: "杖歩行で自宅へ".to_owned(),
        }
    }));
    let conference_id = story.new_id();
    let scheduled_at = story.time_ahead(2, 14);
    tell!(story, liaison, discharge_desk.schedule_conference(ScheduleConferenceRequest {
        v1::ConferenceScheduled {
            encounter_id: stay.clone(),
            conference_id: conference_id.clone(),
            kind: v1::ConferenceKind::PreDischarge.into(),
            scheduled_at,
            ..v1::ConferenceScheduled::default()
        }
    }));
    story.after(1, 10, 0);
    tell!(story, liaison, discharge_desk.cancel_conference(CancelConferenceRequest {
        v1::ConferenceCancelled {
            encounter_id: stay.clone(),
            conference_id,
            reason: "電話で済んだため".to_owned(),
        }
    }));
    story.after(8, 10, 0);
    let discharged = tell!(story, liaison, discharge_desk.discharge(DischargeRequest {
        v1::Discharged { encounter_id: stay.clone(), ..v1::Discharged::default() }
    }));
    tell!(story, liaison, discharge_desk.cancel_discharge(CancelDischargeRequest {
        v1::EncounterCancellation {
            encounter_id: stay.clone(),
            cancelled_event_id: discharged,
            reason: "発熱のため延期".to_owned(),
        }
    }));
    story.after(2, 10, 0);
    discharge_home(story, acute, &stay).await?;
    let document_id = story.new_id();
    tell!(story, liaison, care_team.publish_document(PublishDocumentRequest {
        v1::DocumentReference {
            document_id,
            kind: Some(code("document.kind", "18842-5", "退院時サマリー")),
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
            addressee: Some(story.team.visiting_nurse().office.named()),
            ..v1::DocumentReference::default()
        }
    }));
    Ok(())
}

/// Between the visits: an order, a device that watches, an alert, a call at night, an appointment.
pub(super) async fn watched_over(story: &mut Story) -> Result<(), Stop> {
    let (nurse, care_manager) = (story.team.visiting_nurse(), story.team.care_manager());
    declare_care_manager(story).await?;
    tell!(story, nurse, care_team.join_team(JoinTeamRequest {
        v1::TeamMemberJoined {
            members: vec![nurse.taking_part(v1::Means::Unspecified)],
            encounter_id: String::new(),
        }
    }));
    certified(story, care_manager).await?;
    story.after(2, 11, 0);
    let (order_id, from, to) = (story.new_id(), story.day_ahead(0), story.day_ahead(180));
    tell!(story, nurse, home_care.issue_order(IssueOrderRequest {
        v1::NursingOrder {
            order_id,
            kind: Some(code("jp.nursing-order-kind", "nursing", "")),
            valid_from_on: from,
            valid_to_on: to,
            recipient: Some(nurse.office.named()),
            ..v1::NursingOrder::default()
        }
    }));
    let device_id = story.new_id();
    tell!(story, nurse, care_team.bind_device(BindDeviceRequest {
        v1::DeviceBound { device_id, ..v1::DeviceBound::default() }
    }));
    let days = story.some_days(10, 30);
    story.after(days, 5, 30);
    let alert_id = story.new_id();
    let device = Person { office: nurse.office, role: "device", id: "bed-1" };
    tell!(story, device, care_team.raise_alert(RaiseAlertRequest {
        v1::AlertRaised {
            alert_id: alert_id.clone(),
            metric: Some(code("watch.metric", "no-movement", "")),
            severity: v1::Severity::Urgent.into(),
            what: "12時間動きがない".to_owned(),
            owner_role: "visiting-nurse".to_owned(),
            next_action: "電話し、出なければ訪問".to_owned(),
        }
    }));
    let step =
        || v1::AlertStep { alert_id: alert_id.clone(), note: "外出していた".to_owned() };
    tell!(story, nurse, care_team.acknowledge_alert(AcknowledgeAlertRequest { step() }));
    tell!(story, nurse, care_team.mark_false_alarm(MarkFalseAlarmRequest { step() }));
    story.after(5, 15, 0);
    let (appointment_id, starts_at) = (story.new_id(), story.time_ahead(7, 10));
    tell!(story, care_manager, care_team.book_appointment(BookAppointmentRequest {
        v1::AppointmentBooked {
            appointment_id,
            provider: Some(story.team.acute.named()),
            starts_at,
            kind: None,
        }
    }));
    living_at_home(story).await
}

/// The long-term care certification is applied for, and decided within a month. Gives its id.
pub(super) async fn certified(story: &mut Story, care_manager: Person) -> Result<String, Stop> {
    story.after(1, 10, 0);
    let (certification_id, applied_on) = (story.new_id(), story.day_ahead(0));
    tell!(story, care_manager, home_care.apply_for_certification(ApplyForCertificationRequest {
        v1::CertificationApplied {
            certification_id: certification_id.clone(),
            applied_on,
            ..v1::CertificationApplied::default()
        }
    }));
    story.after(25, 10, 0);
    let (decided_on, valid_to_on) = (story.day_ahead(0), story.day_ahead(365));
    tell!(story, care_manager, home_care.record_certification(RecordCertificationRequest {
        v1::CertificationDecided {
            certification_id: certification_id.clone(),
            level: Some(code("jp.care-level", "care-2", "要介護2")),
            valid_from_on: decided_on.clone(),
            decided_on,
            valid_to_on,
        }
    }));
    Ok(certification_id)
}

async fn visit(story: &mut Story, nurse: Person) -> Result<String, Stop> {
    let event = tell!(story, nurse, home_care.record_visit(RecordVisitRequest {
        v1::VisitCompleted { kind: v1::VisitKind::Nursing.into(), ..Default::default() }
    }));
    Ok(event)
}

/// Says who the care manager is; now and then, the link worker knows first.
async fn declare_care_manager(story: &mut Story) -> Result<(), Stop> {
    let care_manager = story.team.care_manager();
    let who = if story.rng.random_ratio(1, 10) { Team::link_worker() } else { care_manager };
    tell!(story, who, care_team.declare_care_manager(DeclareCareManagerRequest {
        v1::PrimaryCareManagerDeclared {
            care_manager: Some(care_manager.taking_part(v1::Means::Unspecified)),
            ..v1::PrimaryCareManagerDeclared::default()
        }
    }));
    Ok(())
}
