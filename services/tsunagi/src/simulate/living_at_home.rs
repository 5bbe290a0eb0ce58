//! Most people: they live at home, and nurse and care manager come.

use rand::RngExt as _;
use tsunagi_proto::v1;

use super::people::pick;
use super::region::code;
use super::teller::{Stop, Story, tell};

/// Visits to the end of the time, now and then with a change that somebody has to act on.
pub(super) async fn living_at_home(story: &mut Story) -> Result<(), Stop> {
    let (nurse, care_manager) = (story.team.visiting_nurse(), story.team.care_manager());
    loop {
        for _week in 0..4 {
            story.after(7, 10, 0);
            nursing_visit(story).await?;
            if story.rng.random_ratio(1, 20) {
                let next_visit_at = story.time_ahead(2, 10);
                tell!(story, nurse, home_care.record_missed_visit(RecordMissedVisitRequest {
                    v1::VisitMissed {
                        kind: v1::VisitKind::Nursing.into(),
                        reason: Some(code("visit.missed-reason", "absent", "不在")),
                        note: String::new(),
                        next_visit_at,
                    }
                }));
            }
        }
        story.after(1, 14, 0);
        let (ended_at, next_visit_at) = (story.minutes_ahead(45), story.time_ahead(28, 14));
        tell!(story, care_manager, home_care.record_visit(RecordVisitRequest {
            v1::VisitCompleted {
                kind: v1::VisitKind::CareManagement.into(),
                ended_at,
                summary: "生活状況・サービス利用状況を確認。計画どおり継続。".to_owned(),
                change_noticed: false,
                next_visit_at,
            }
        }));
    }
}

/// A nurse's visit: what was seen, measured, and whether somebody has to act.
pub(super) async fn nursing_visit(story: &mut Story) -> Result<(), Stop> {
    let nurse = story.team.visiting_nurse();
    let change_noticed = story.rng.random_ratio(1, 12);
    let (ended_at, next_visit_at) = (story.minutes_ahead(60), story.time_ahead(7, 10));
    tell!(story, nurse, home_care.record_visit(RecordVisitRequest {
        v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            ended_at,
            summary: "バイタル測定、服薬確認、下肢浮腫の観察。".to_owned(),
            change_noticed,
            next_visit_at,
        }
    }));
    let observations = vec![
        measured("8310-5", "体温", format!("36.{}", story.rng.random_range(0..9)), "Cel"),
        measured("8867-4", "脈拍", story.rng.random_range(58..96).to_string(), "/min"),
        measured("8480-6", "収縮期血圧", story.rng.random_range(105..158).to_string(), "mm[Hg]"),
        measured("59408-5", "SpO2", story.rng.random_range(93..99).to_string(), "%"),
    ];
    tell!(story, nurse, home_care.record_observation(RecordObservationRequest {
        v1::ObservationRecorded { observations }
    }));
    if change_noticed {
        let (change, next_action) = pick(
            &mut story.rng,
            &[
                ("3日で体重が1.5kg増え、下肢の浮腫が強い", "電話で指示を仰ぎ、必要なら往診"),
                ("食事量が半分に減り、ふらつきがある", "今週中に診察"),
                ("夜間に転倒。外傷なし", "住環境の確認とサービスの見直し"),
            ],
        );
        let (severity, owner_role) = pick(
            &mut story.rng,
            &[
                (v1::Severity::Warning, "home-doctor"),
                (v1::Severity::Urgent, "home-doctor"),
                (v1::Severity::Notice, "care-manager"),
            ],
        );
        tell!(story, nurse, home_care.report_condition_change(ReportConditionChangeRequest {
            v1::ConditionChanged {
                severity: severity.into(),
                change: change.to_owned(),
                owner_role: owner_role.to_owned(),
                next_action: next_action.to_owned(),
            }
        }));
    }
    Ok(())
}

fn measured(loinc: &str, words: &str, value: String, unit: &str) -> v1::Observation {
    let quantity = v1::Quantity { value, unit: unit.to_owned() };
    v1::Observation {
        code: Some(code("http://loinc.org", loinc, words)),
        value: Some(v1::observation::Value::Quantity(quantity)),
    }
}
