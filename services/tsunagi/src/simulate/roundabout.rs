//! Social prescribing that takes its time: referrals that end otherwise, a case that is opened
//! again, a draft that a tool wrote, a programme.

use tsunagi_proto::v1;

use super::directory;
use super::living_at_home::living_at_home;
use super::region::{Office, Person, Team, code};
use super::teller::{Stop, Story, tell};

/// From a self check to a programme, and feedback to whoever referred.
pub(super) async fn roundabout(story: &mut Story) -> Result<(), Stop> {
    let who = Team::link_worker();
    story.after(2, 20, 0);
    tell!(story, who, link_worker.request_selfcheck_contact(RequestSelfcheckContactRequest {
        v1::SelfcheckContactRequested {
            wish: "電話で話したい".to_owned(),
            receiver: Some(who.office.named()),
            ..v1::SelfcheckContactRequested::default()
        }
    }));
    referrals_that_end_otherwise(story, who).await?;
    let referral = feedback(story, who).await?;
    case_opened_again(story, who, &referral).await?;
    programme(story, who).await?;
    living_at_home(story).await
}

async fn refer(story: &mut Story, who: Person, to: Office) -> Result<String, Stop> {
    let referral_id = story.new_id();
    tell!(story, who, link_worker.request_referral(RequestReferralRequest {
        v1::ReferralRequested {
            referral_id: referral_id.clone(),
            receiver: Some(to.named()),
            reasons: vec![code("sp.referral-reason", "loneliness", "孤立")],
            ..v1::ReferralRequested::default()
        }
    }));
    Ok(referral_id)
}

fn step(referral: &str, reason: &str) -> v1::ReferralStep {
    v1::ReferralStep {
        referral_id: referral.to_owned(),
        reason: Some(code("sp.status-reason", reason, "")).filter(|_| !reason.is_empty()),
        ..v1::ReferralStep::default()
    }
}

async fn referrals_that_end_otherwise(story: &mut Story, who: Person) -> Result<(), Stop> {
    let resource = story.team.resource;
    let group = Person { office: resource, role: "volunteer", id: "v-1" };
    let full = refer(story, who, resource).await?;
    tell!(story, group, link_worker.reject_referral(RejectReferralRequest {
        step(&full, "at-capacity")
    }));
    let unwanted = refer(story, who, resource).await?;
    tell!(story, who, link_worker.cancel_referral(CancelReferralRequest {
        step(&unwanted, "declined-by-person")
    }));
    let mistaken = refer(story, who, resource).await?;
    tell!(story, who, link_worker.mark_referral_entered_in_error(MarkReferralEnteredInErrorRequest {
        step(&mistaken, "wrong-person")
    }));
    let failed = refer(story, who, resource).await?;
    tell!(story, group, link_worker.accept_referral(AcceptReferralRequest { step(&failed, "") }));
    story.after(3, 10, 0);
    tell!(story, group, link_worker.record_non_attendance(RecordNonAttendanceRequest {
        v1::Unattended {
            referral_id: failed.clone(),
            reason: Some(code("sp.unattended-reason", "unwell", "")),
            note: String::new(),
        }
    }));
    tell!(story, group, link_worker.hold_referral(HoldReferralRequest { step(&failed, "unwell") }));
    story.after(10, 10, 0);
    tell!(story, group, link_worker.fail_referral(FailReferralRequest {
        step(&failed, "no-contact")
    }));
    tell!(story, who, link_worker.signpost(SignpostRequest {
        v1::Signposted {
            resource: Some(directory::named(resource)),
            note: "案内のみ".to_owned(),
            means: v1::Means::Telephone.into(),
            ..v1::Signposted::default()
        }
    }));
    Ok(())
}

/// The hospital refers, and is told what came of it.
async fn feedback(story: &mut Story, who: Person) -> Result<String, Stop> {
    let acute = story.team.acute;
    let referral = refer(story, acute.liaison_nurse(), who.office).await?;
    story.after(1, 9, 30);
    tell!(story, who, link_worker.accept_referral(AcceptReferralRequest { step(&referral, "") }));
    tell!(story, who, link_worker.send_feedback(SendFeedbackRequest {
        v1::FeedbackSent {
            referral_id: referral.clone(),
            case_id: String::new(),
            recipient: Some(acute.named()),
            means: v1::Means::Electronic.into(),
            summary: "初回面談を予定".to_owned(),
        }
    }));
    Ok(referral)
}

async fn case_opened_again(story: &mut Story, who: Person, referral: &str) -> Result<(), Stop> {
    let (case_id, interview_id) = (story.new_id(), story.new_id());
    tell!(story, who, link_worker.open_case(OpenCaseRequest {
        v1::CaseOpened {
            case_id: case_id.clone(),
            link_worker: Some(who.taking_part(v1::Means::Unspecified)),
            referral_id: referral.to_owned(),
            ..v1::CaseOpened::default()
        }
    }));
    let record = |tool: &str| v1::InterviewRecord {
        interview_id: interview_id.clone(),
        case_id: case_id.clone(),
        answers: vec![v1::InterviewAnswer {
            item: Some(code("sp.interview-item", "what-matters", "")),
            answer: "孫の発表会に行きたい。".to_owned(),
        }],
        missing_items: vec![code("sp.interview-item", "money", "")],
        tool: tool.to_owned(),
        ..v1::InterviewRecord::default()
    };
    let tool = Person { role: "ai-tool", id: "ai-1", ..who };
    tell!(story, tool, link_worker.draft_interview(DraftInterviewRequest { record("draft-1") }));
    tell!(story, who, link_worker.confirm_interview(ConfirmInterviewRequest { record("") }));
    story.after(10, 10, 0);
    tell!(story, who, link_worker.close_case(CloseCaseRequest {
        v1::CaseClosed {
            case_id: case_id.clone(),
            outcome: Some(code("sp.case-outcome", "no-contact", "")),
            summary: String::new(),
        }
    }));
    story.after(20, 10, 0);
    tell!(story, who, link_worker.reopen_case(ReopenCaseRequest {
        v1::CaseReopened { case_id, reason: "本人から電話".to_owned() }
    }));
    Ok(())
}

async fn programme(story: &mut Story, who: Person) -> Result<(), Stop> {
    let (programme_id, review_on) = (story.new_id(), story.day_ahead(60));
    tell!(story, who, link_worker.enrol_in_programme(EnrolInProgrammeRequest {
        v1::ProgrammeEnrolled {
            programme_id: programme_id.clone(),
            programme: Some(code("", "", "短期集中予防サービス")),
            provider: Some(story.team.resource.named()),
            review_on,
        }
    }));
    story.after(30, 10, 0);
    tell!(story, who, link_worker.close_programme(CloseProgrammeRequest {
        v1::ProgrammeClosed {
            programme_id,
            outcome: Some(code("sp.case-outcome", "goals-met", "")),
        }
    }));
    Ok(())
}
