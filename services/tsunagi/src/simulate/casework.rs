//! Social prescribing: from the hospital's screening to attendance and outcome.

use rand::RngExt as _;
use tsunagi_proto::v1;

use super::directory;
use super::hospital::{admit, discharge_home, screen};
use super::region::{Person, Team, code};
use super::teller::{Stop, Story, tell};

/// A lonely person comes into hospital; the liaison office sees it and refers; a link worker
/// takes the case on, finds something, and sees it through.
pub(super) async fn from_screening_to_outcome(story: &mut Story) -> Result<(), Stop> {
    let (hospital, link_worker) = (story.team.acute, Team::link_worker());
    let days = story.some_days(1, 20);
    story.after(days, 10, 30);
    let stay = admit(story, hospital, "内科", "3西病棟", "").await?;
    story.after(1, 11, 0);
    let lonely =
        code("jp.discharge-difficulty-factor", "no-family-contact", "身寄り・家族と連絡困難");
    let poor = code("jp.discharge-difficulty-factor", "poverty", "生活困窮");
    screen(story, hospital, &stay, vec![lonely, poor]).await?;

    let asked = story.new_id();
    tell!(story, hospital.liaison_nurse(), link_worker.request_referral(RequestReferralRequest {
        v1::ReferralRequested {
            referral_id: asked.clone(),
            receiver: Some(link_worker.office.named()),
            reasons: vec![code("sp.referral-reason", "loneliness", "孤立")],
            what_matters: "退院しても話す相手がいない。また畑をやりたい。".to_owned(),
            ..v1::ReferralRequested::default()
        }
    }));
    story.after(1, 9, 30);
    tell!(story, link_worker, link_worker.accept_referral(AcceptReferralRequest { step(&asked) }));
    let case = story.new_id();
    tell!(story, link_worker, link_worker.open_case(OpenCaseRequest {
        v1::CaseOpened {
            case_id: case.clone(),
            link_worker: Some(link_worker.taking_part(v1::Means::Unspecified)),
            referral_id: asked.clone(),
            reasons: vec![code("sp.referral-reason", "loneliness", "孤立")],
            what_matters: "畑と話し相手".to_owned(),
        }
    }));
    tell!(story, link_worker, link_worker.start_referral(StartReferralRequest { step(&asked) }));
    let days = story.some_days(5, 12);
    story.after(days, 13, 0);
    discharge_home(story, hospital, &stay).await?;
    contacts(story, link_worker, &case).await?;
    measure(story, link_worker, &case, "7").await?;
    let (goal_id, target_on) = (story.new_id(), story.day_ahead(60));
    tell!(story, link_worker, link_worker.set_goal(SetGoalRequest {
        v1::GoalSet {
            goal_id: goal_id.clone(),
            case_id: case.clone(),
            goal: "週に一度、園芸の会へ行く。".to_owned(),
            target_on,
        }
    }));
    attend(story, link_worker, &case).await?;

    story.after(14, 15, 0);
    measure(story, link_worker, &case, "4").await?;
    tell!(story, link_worker, link_worker.meet_goal(MeetGoalRequest {
        v1::GoalMet { goal_id, case_id: case.clone(), note: String::new() }
    }));
    tell!(story, link_worker, link_worker.complete_referral(CompleteReferralRequest { step(&asked) }));
    tell!(story, link_worker, link_worker.close_case(CloseCaseRequest {
        v1::CaseClosed {
            case_id: case,
            outcome: Some(code("sp.case-outcome", "goals-met", "目標達成")),
            summary: "週1回の参加が続いている。".to_owned(),
        }
    }));
    Ok(())
}

async fn contacts(story: &mut Story, who: Person, case: &str) -> Result<(), Stop> {
    story.after(2, 10, 0);
    if story.rng.random_ratio(1, 2) {
        let next_contact_on = story.day_ahead(2);
        tell!(story, who, link_worker.record_contact_attempt(RecordContactAttemptRequest {
            v1::ContactAttempted {
                case_id: case.to_owned(),
                means: v1::Means::Telephone.into(),
                note: String::new(),
                next_contact_on,
            }
        }));
        story.after(2, 10, 0);
    }
    let next_contact_on = story.day_ahead(14);
    tell!(story, who, link_worker.record_contact(RecordContactRequest {
        v1::ContactHeld {
            case_id: case.to_owned(),
            means: v1::Means::InPerson.into(),
            duration_minutes: 60,
            summary: "自宅を訪問し、したいことを一緒に整理。".to_owned(),
            next_contact_on,
        }
    }));
    Ok(())
}

/// A referral to a community resource, which the link worker keeps the record of: its members
/// do not use the system.
async fn attend(story: &mut Story, who: Person, case: &str) -> Result<(), Stop> {
    let (referral, resource) = (story.new_id(), story.team.resource);
    tell!(story, who, link_worker.request_referral(RequestReferralRequest {
        v1::ReferralRequested {
            referral_id: referral.clone(),
            receiver: Some(resource.named()),
            resource: Some(directory::named(resource)),
            case_id: case.to_owned(),
            ..v1::ReferralRequested::default()
        }
    }));
    let group = Person { office: resource, role: "volunteer", id: "v-1" };
    tell!(story, group, link_worker.accept_referral(AcceptReferralRequest { step(&referral) }));
    for week in 0..4 {
        story.after(7, 10, 0);
        if week == 0 && story.rng.random_ratio(1, 3) {
            tell!(story, group, link_worker.record_non_attendance(RecordNonAttendanceRequest {
                v1::Unattended {
                    referral_id: referral.clone(),
                    reason: Some(code("sp.unattended-reason", "unwell", "体調不良")),
                    note: String::new(),
                }
            }));
        } else {
            tell!(story, group, link_worker.record_attendance(RecordAttendanceRequest {
                v1::AttendanceRecorded { referral_id: referral.clone(), note: String::new() }
            }));
        }
    }
    tell!(story, group, link_worker.complete_referral(CompleteReferralRequest { step(&referral) }));
    Ok(())
}

/// The UCLA three-item loneliness scale: 3 to 9, lower is better.
async fn measure(story: &mut Story, who: Person, case: &str, score: &str) -> Result<(), Stop> {
    tell!(story, who, link_worker.record_measure(RecordMeasureRequest {
        v1::MeasureRecorded {
            case_id: case.to_owned(),
            instrument: Some(code("sp.instrument", "UCLA-3", "UCLA孤独感尺度3項目版")),
            items: Vec::new(),
            score: score.to_owned(),
            direction: v1::ScoreDirection::LowerIsBetter.into(),
        }
    }));
    Ok(())
}

fn step(referral: &str) -> v1::ReferralStep {
    v1::ReferralStep { referral_id: referral.to_owned(), ..v1::ReferralStep::default() }
}
