//! What happens between the visits: somebody walks in, asks, is called, is watched over from afar,
//! and does not come.

use tsunagi_proto::v1;

use super::living_at_home::living_at_home;
use super::region::{Person, Team, code};
use super::teller::{Stop, Story, tell};

/// Weeks of questions and calls.
pub(super) async fn between_visits(story: &mut Story) -> Result<(), Stop> {
    let nurse = story.team.visiting_nurse();
    story.after(2, 10, 0);
    walked_in(story).await?;
    question(story, nurse).await?;
    consult(story, nurse).await?;
    appointments(story).await?;
    watched(story, nurse).await?;
    living_at_home(story).await
}

/// Nobody knew who it was; later, it is said.
async fn walked_in(story: &mut Story) -> Result<(), Stop> {
    let (pharmacist, anonymous) = (Team::link_worker(), story.new_id());
    let known = story.speak_of(anonymous.clone());
    tell!(story, pharmacist, care_team.record_walk_in_consult(RecordWalkInConsultRequest {
        v1::WalkInConsultRecorded {
            topic: "眠れない".to_owned(),
            advice: "かかりつけ医に相談を".to_owned(),
            ..v1::WalkInConsultRecorded::default()
        }
    }));
    story.speak_of(known);
    story.after(4, 10, 0);
    tell!(story, pharmacist, care_team.merge_patients(MergePatientsRequest {
        v1::PatientsMerged { retired_patient_id: anonymous, note: "本人の申し出".to_owned() }
    }));
    Ok(())
}

async fn question(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let (question_id, doctor) = (story.new_id(), doctor(story));
    story.after(1, 9, 0);
    tell!(story, nurse, care_team.ask_question(AskQuestionRequest {
        v1::QuestionAsked {
            question_id: question_id.clone(),
            question: "入浴はいつから再開してよいですか。".to_owned(),
            owner_role: "home-doctor".to_owned(),
            ..v1::QuestionAsked::default()
        }
    }));
    tell!(story, nurse, care_team.assign_question(AssignQuestionRequest {
        v1::QuestionAssigned {
            question_id: question_id.clone(),
            owner: Some(doctor.taking_part(v1::Means::Unspecified)),
        }
    }));
    tell!(story, doctor, care_team.answer_question(AnswerQuestionRequest {
        v1::QuestionAnswered {
            question_id: question_id.clone(),
            answer: "解熱して3日たてばよい。".to_owned(),
        }
    }));
    tell!(story, nurse, care_team.close_question(CloseQuestionRequest {
        v1::QuestionClosed { question_id, note: String::new() }
    }));
    Ok(())
}

async fn consult(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let (consult_id, doctor) = (story.new_id(), doctor(story));
    story.after(3, 21, 0);
    tell!(story, nurse, care_team.request_consult(RequestConsultRequest {
        v1::ConsultRequested {
            consult_id: consult_id.clone(),
            reason: "38.5℃、呼吸は落ち着いている".to_owned(),
            means: v1::Means::Telephone.into(),
            ..v1::ConsultRequested::default()
        }
    }));
    tell!(story, doctor, care_team.answer_consult(AnswerConsultRequest {
        v1::ConsultAnswered {
            consult_id: consult_id.clone(),
            advice: "解熱剤を使い、朝に往診".to_owned(),
        }
    }));
    tell!(story, doctor, care_team.set_consult_disposition(SetConsultDispositionRequest {
        v1::ConsultDispositionSet {
            consult_id,
            disposition: Some(code("consult.disposition", "clinic-next-day", "")),
            destination: None,
        }
    }));
    story.after(1, 9, 0);
    let ended_at = story.minutes_ahead(15);
    tell!(story, doctor, care_team.record_televisit(RecordTelevisitRequest {
        v1::TelevisitCompleted {
            professional: Some(doctor.taking_part(v1::Means::Video)),
            ended_at,
            summary: "解熱。内服を続ける".to_owned(),
        }
    }));
    Ok(())
}

/// One is cancelled, to the other nobody comes; who cannot be reached by wire is called.
async fn appointments(story: &mut Story) -> Result<(), Stop> {
    let care_manager = story.team.care_manager();
    let (cancelled, missed) = (story.new_id(), story.new_id());
    let starts_at = story.time_ahead(3, 10);
    let provider = story.team.acute.named();
    let booked = |appointment_id: &str| v1::AppointmentBooked {
        appointment_id: appointment_id.to_owned(),
        provider: Some(provider.clone()),
        starts_at: starts_at.clone(),
        kind: None,
    };
    let step = |appointment_id: &str, reason: &str| v1::AppointmentStep {
        appointment_id: appointment_id.to_owned(),
        reason: reason.to_owned(),
    };
    for id in [&cancelled, &missed] {
        tell!(story, care_manager, care_team.book_appointment(BookAppointmentRequest { booked(id) }));
    }
    tell!(story, care_manager, care_team.cancel_appointment(CancelAppointmentRequest {
        step(&cancelled, "家族の都合")
    }));
    story.after(3, 15, 0);
    tell!(story, care_manager, care_team.record_no_show(RecordNoShowRequest { step(&missed, "") }));
    tell!(story, care_manager, care_team.record_fallback(RecordFallbackRequest {
        v1::FallbackRecorded {
            recipient: Some(provider.clone()),
            means: v1::Means::Telephone.into(),
            note: "電話で予約を取り直した".to_owned(),
            ..v1::FallbackRecorded::default()
        }
    }));
    Ok(())
}

async fn watched(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let (device_id, alert_id) = (story.new_id(), story.new_id());
    tell!(story, nurse, care_team.bind_device(BindDeviceRequest {
        v1::DeviceBound { device_id: device_id.clone(), ..v1::DeviceBound::default() }
    }));
    let to_at = story.time_ahead(0, 23);
    story.after(1, 9, 0);
    let device = Person { role: "device", id: "bed-2", ..nurse };
    tell!(story, device, care_team.summarise_signal(SummariseSignalRequest {
        v1::SignalSummarised {
            device_id: device_id.clone(),
            metric: Some(code("watch.metric", "sleep", "")),
            to_at,
            value: Some(v1::Quantity { value: "5.5".to_owned(), unit: "h".to_owned() }),
            readings: 330,
        }
    }));
    tell!(story, device, care_team.raise_alert(RaiseAlertRequest {
        v1::AlertRaised {
            alert_id: alert_id.clone(),
            metric: Some(code("watch.metric", "room-temperature", "")),
            severity: v1::Severity::Warning.into(),
            what: "室温が31℃".to_owned(),
            owner_role: "visiting-nurse".to_owned(),
            next_action: "電話して冷房を確かめる".to_owned(),
        }
    }));
    tell!(story, nurse, care_team.resolve_alert(ResolveAlertRequest {
        v1::AlertStep { alert_id, note: "冷房を入れた".to_owned() }
    }));
    story.after(30, 10, 0);
    tell!(story, nurse, care_team.unbind_device(UnbindDeviceRequest {
        v1::DeviceUnbound { device_id, reason: "返却".to_owned() }
    }));
    Ok(())
}

fn doctor(story: &Story) -> Person {
    Person { role: "home-doctor", id: "d-1", ..story.team.acute.liaison_nurse() }
}
