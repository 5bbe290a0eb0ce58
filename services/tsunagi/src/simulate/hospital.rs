//! Stories that lead through hospitals.

use jiff::civil::date;
use rand::RngExt as _;
use tsunagi_proto::v1;

use super::living_at_home::{living_at_home, nursing_visit};
use super::region::{Office, code};
use super::teller::{Stop, Story, tell};

/// A planned hip operation: acute hospital, rehabilitation, home; with the search for a
/// rehabilitation bed, the conference, and the exchange with the care manager.
pub(super) async fn hip_operation(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    let stay = story.new_id();
    let planned_at = story.time_ahead(14, 10);
    tell!(story, acute.liaison_nurse(), discharge_desk.plan_admission(PlanAdmissionRequest {
        v1::AdmissionPlanned {
            encounter_id: stay.clone(),
            planned_at,
            place: Some(acute.place("整形外科", "5東病棟")),
            preceding_encounter_id: String::new(),
            purpose: "予定手術".to_owned(),
        }
    }));
    story.after(12, 15, 0);
    admission_info(story, acute, "").await?;
    story.after(2, 10, 0);
    admit_under(story, acute, &stay, "整形外科", "5東病棟").await?;
    let factor = code("jp.discharge-difficulty-factor", "adl-decline", "ADL低下で生活再編");
    story.after(1, 11, 0);
    screen(story, acute, &stay, vec![factor]).await?;
    plan_with_family(story, acute, &stay).await?;
    story.after(4, 9, 0);
    let rehabilitation = find_rehabilitation_bed(story, acute, &stay).await?;
    let days = story.some_days(8, 12);
    story.after(days, 10, 0);
    discharge_to(story, acute, &stay, rehabilitation).await?;

    story.after(0, 13, 30);
    let second = admit(story, rehabilitation, "リハビリテーション科", "回復期病棟", &stay).await?;
    let days = story.some_days(30, 45);
    story.after(days, 10, 0);
    trial_leave(story, rehabilitation, &second).await?;
    story.after(5, 14, 0);
    pre_discharge_conference(story, rehabilitation, &second).await?;
    discharge_home(story, rehabilitation, &second).await?;
    story.after(2, 10, 0);
    nursing_visit(story).await?;
    living_at_home(story).await
}

/// An emergency on the Friday night before the Golden Week of 2026: 1 May, 20:00.
pub(super) async fn friday_night(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    story.until(date(2026, 5, 1).at(20, 0, 0, 0));
    let visit = story.new_id();
    tell!(story, acute.liaison_nurse(), discharge_desk.register_visit(RegisterVisitRequest {
        v1::EncounterRegistered {
            encounter_id: visit.clone(),
            class: v1::EncounterClass::Emergency.into(),
            place: Some(acute.place("救急科", "")),
            ..v1::EncounterRegistered::default()
        }
    }));
    story.after(0, 22, 10);
    tell!(story, acute.liaison_nurse(), discharge_desk.discharge(DischargeRequest {
        v1::Discharged { encounter_id: visit.clone(), disposition: None, destination: None }
    }));
    let stay = admit(story, acute, "内科", "4西病棟", &visit).await?;
    story.after(1, 9, 30);
    admission_info(story, acute, &stay).await?;
    story.after(5, 11, 0);
    let factor = code("jp.discharge-difficulty-factor", "emergency-admission", "緊急入院");
    screen(story, acute, &stay, vec![factor]).await?;
    plan_with_family(story, acute, &stay).await?;
    let days = story.some_days(8, 14);
    story.after(days, 14, 0);
    pre_discharge_conference(story, acute, &stay).await?;
    discharge_home(story, acute, &stay).await?;
    story.after(1, 10, 0);
    living_at_home(story).await
}

/// Admitted, cancelled the same morning, and admitted again.
pub(super) async fn cancelled_admission(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    let days = story.some_days(1, 20);
    story.after(days, 9, 0);
    let stay = story.new_id();
    let admitted = admit_under(story, acute, &stay, "外科", "3東病棟").await?;
    tell!(story, acute.liaison_nurse(), discharge_desk.cancel_admission(CancelAdmissionRequest {
        v1::EncounterCancellation {
            encounter_id: stay.clone(),
            cancelled_event_id: admitted,
            reason: "発熱のため手術延期".to_owned(),
        }
    }));
    story.after(0, 15, 0);
    admit_under(story, acute, &stay, "内科", "3西病棟").await?;
    let days = story.some_days(4, 8);
    story.after(days, 10, 0);
    discharge_home(story, acute, &stay).await?;
    living_at_home(story).await
}

/// From an acute hospital to a long-term one.
pub(super) async fn transfer_between_hospitals(story: &mut Story) -> Result<(), Stop> {
    let (acute, long_term) = (story.team.acute, story.team.long_term);
    let days = story.some_days(1, 20);
    story.after(days, 11, 0);
    let stay = admit(story, acute, "脳神経内科", "6北病棟", "").await?;
    story.after(2, 10, 0);
    let factor = code("jp.discharge-difficulty-factor", "medical-procedure", "退院後に医療処置");
    screen(story, acute, &stay, vec![factor]).await?;
    story.after(5, 10, 0);
    tell!(story, acute.liaison_nurse(), discharge_desk.transfer_ward(TransferWardRequest {
        v1::Transferred { encounter_id: stay.clone(), to: Some(acute.place("脳神経内科", "6南病棟")) }
    }));
    let asked = request_bed(story, acute, &stay, long_term, ("long-term", "療養病床")).await?;
    story.after(2, 15, 0);
    offer(story, long_term, &asked).await?;
    accept(story, acute, &asked).await?;
    let ready_on = story.day_ahead(0);
    tell!(story, acute.liaison_nurse(), discharge_desk.declare_discharge_ready(DeclareDischargeReadyRequest {
        v1::DischargeReadyDeclared { encounter_id: stay.clone(), ready_on, note: String::new() }
    }));
    let days = story.some_days(3, 9);
    story.after(days, 10, 0);
    discharge_to(story, acute, &stay, long_term).await?;
    story.after(0, 14, 0);
    admit(story, long_term, "内科", "療養病棟", &stay).await?;
    Ok(())
}

/// A discharge that is planned, and then comes five days earlier.
pub(super) async fn discharge_brought_forward(story: &mut Story) -> Result<(), Stop> {
    let acute = story.team.acute;
    let days = story.some_days(1, 20);
    story.after(days, 10, 0);
    let stay = admit(story, acute, "循環器内科", "7東病棟", "").await?;
    story.after(3, 11, 0);
    let factor = code("jp.discharge-difficulty-factor", "readmission", "入退院の繰り返し");
    screen(story, acute, &stay, vec![factor]).await?;
    let later = story.time_ahead(17, 10);
    plan_discharge(story, acute, &stay, later).await?;
    story.after(6, 16, 0);
    let sooner = story.time_ahead(6, 10);
    plan_discharge(story, acute, &stay, sooner).await?;
    story.after(2, 14, 0);
    pre_discharge_conference(story, acute, &stay).await?;
    discharge_home(story, acute, &stay).await?;
    story.after(1, 10, 0);
    living_at_home(story).await
}

/// Admits under a new encounter that continues `preceding`, and gives the encounter's id.
pub(super) async fn admit(
    story: &mut Story,
    hospital: Office,
    department: &str,
    ward: &str,
    preceding: &str,
) -> Result<String, Stop> {
    let stay = story.new_id();
    tell!(story, hospital.liaison_nurse(), discharge_desk.admit(AdmitRequest {
        v1::Admitted {
            encounter_id: stay.clone(),
            place: Some(hospital.place(department, ward)),
            preceding_encounter_id: preceding.to_owned(),
            ..v1::Admitted::default()
        }
    }));
    Ok(stay)
}

/// Admits under an encounter that was planned, or cancelled before; gives the event's id.
async fn admit_under(
    story: &mut Story,
    hospital: Office,
    stay: &str,
    department: &str,
    ward: &str,
) -> Result<String, Stop> {
    let event = tell!(story, hospital.liaison_nurse(), discharge_desk.admit(AdmitRequest {
        v1::Admitted {
            encounter_id: stay.to_owned(),
            place: Some(hospital.place(department, ward)),
            ..v1::Admitted::default()
        }
    }));
    Ok(event)
}

pub(super) async fn screen(
    story: &mut Story,
    hospital: Office,
    stay: &str,
    factors: Vec<v1::Code>,
) -> Result<(), Stop> {
    tell!(story, hospital.liaison_nurse(), discharge_desk.record_screening(RecordScreeningRequest {
        v1::ScreeningCompleted {
            encounter_id: stay.to_owned(),
            factors,
            support_needed: true,
            note: String::new(),
        }
    }));
    Ok(())
}

pub(super) async fn discharge_home(
    story: &mut Story,
    hospital: Office,
    stay: &str,
) -> Result<(), Stop> {
    story.after(1, 10, 0);
    tell!(story, hospital.liaison_nurse(), discharge_desk.discharge(DischargeRequest {
        v1::Discharged {
            encounter_id: stay.to_owned(),
            disposition: Some(disposition("home", "自宅")),
            destination: None,
        }
    }));
    Ok(())
}

async fn discharge_to(
    story: &mut Story,
    hospital: Office,
    stay: &str,
    to: Office,
) -> Result<(), Stop> {
    tell!(story, hospital.liaison_nurse(), discharge_desk.discharge(DischargeRequest {
        v1::Discharged {
            encounter_id: stay.to_owned(),
            disposition: Some(disposition("other-hcf", "転院")),
            destination: Some(to.named()),
        }
    }));
    Ok(())
}

async fn plan_discharge(
    story: &mut Story,
    hospital: Office,
    stay: &str,
    planned_at: String,
) -> Result<(), Stop> {
    tell!(story, hospital.liaison_nurse(), discharge_desk.plan_discharge(PlanDischargeRequest {
        v1::DischargePlanned {
            encounter_id: stay.to_owned(),
            planned_at,
            disposition: Some(disposition("home", "自宅")),
            destination: None,
        }
    }));
    Ok(())
}

/// The care manager tells the hospital how the patient lives; before the admission is known,
/// without naming the stay.
async fn admission_info(story: &mut Story, hospital: Office, stay: &str) -> Result<(), Stop> {
    let care_manager = story.team.care_manager();
    let level = story.rng.random_range(1..=4);
    tell!(story, care_manager, home_care.provide_admission_info(ProvideAdmissionInfoRequest {
        v1::AdmissionInfoProvided {
            encounter_id: stay.to_owned(),
            recipient: Some(hospital.named()),
            recipient_person: "地域連携室".to_owned(),
            means: v1::Means::Electronic.into(),
            care_level: Some(v1::CareLevel {
                level: Some(code("jp.care-level", &format!("care-{level}"), &format!("要介護{level}"))),
                ..v1::CareLevel::default()
            }),
            living_situation: "戸建て2階、独居。長女が市内。".to_owned(),
            key_person: "長女".to_owned(),
            patient_wishes: "自宅で暮らし続けたい".to_owned(),
            services_before: "訪問看護 週1回、通所リハ 週2回".to_owned(),
            wants_conference: true,
            daily_living: Some(v1::DailyLiving {
                mobility: v1::Independence::PartlyAssisted.into(),
                bathing: v1::Independence::PartlyAssisted.into(),
                eating: v1::Independence::Independent.into(),
                ..v1::DailyLiving::default()
            }),
            ..v1::AdmissionInfoProvided::default()
        }
    }));
    Ok(())
}

async fn plan_with_family(story: &mut Story, hospital: Office, stay: &str) -> Result<(), Stop> {
    let nurse = hospital.liaison_nurse();
    let daughter = v1::Participant { role: "長女".to_owned(), ..v1::Participant::default() };
    story.after(2, 15, 0);
    tell!(story, nurse, discharge_desk.record_family_meeting(RecordFamilyMeetingRequest {
        v1::FamilyMeetingHeld {
            encounter_id: stay.to_owned(),
            participants: vec![nurse.taking_part(v1::Means::InPerson), daughter],
            patient_wishes: "家に帰りたい".to_owned(),
            family_wishes: "歩けるようになってから帰ってほしい".to_owned(),
            summary: "リハビリを続け、自宅退院をめざす".to_owned(),
        }
    }));
    let target_on = story.day_ahead(30);
    tell!(story, nurse, discharge_desk.start_discharge_plan(StartDischargePlanRequest {
        v1::DischargePlan {
            encounter_id: stay.to_owned(),
            goals: "自宅内を歩行器で移動できる".to_owned(),
            disposition: Some(disposition("home", "自宅")),
            target_on,
            ..v1::DischargePlan::default()
        }
    }));
    Ok(())
}

/// Two rehabilitation hospitals are asked; the first has no bed, the second offers one.
async fn find_rehabilitation_bed(
    story: &mut Story,
    acute: Office,
    stay: &str,
) -> Result<Office, Stop> {
    let [full, free, _] = story.team.rehabilitation;
    let kind = ("recovery-rehabilitation", "回復期リハビリ");
    let first = request_bed(story, acute, stay, full, kind).await?;
    let second = request_bed(story, acute, stay, free, kind).await?;
    story.after(1, 10, 0);
    tell!(story, full.liaison_nurse(), discharge_desk.decline_transfer(DeclineTransferRequest {
        v1::TransferAnswer {
            transfer_request_id: first,
            reason: Some(code("transfer.decline-reason", "no-bed", "満床")),
            ..v1::TransferAnswer::default()
        }
    }));
    story.after(1, 11, 0);
    offer(story, free, &second).await?;
    accept(story, acute, &second).await?;
    Ok(free)
}

pub(super) async fn request_bed(
    story: &mut Story,
    from: Office,
    stay: &str,
    of: Office,
    kind: (&str, &str),
) -> Result<String, Stop> {
    let request = story.new_id();
    let wanted_from_on = story.day_ahead(7);
    tell!(story, from.liaison_nurse(), discharge_desk.request_transfer(RequestTransferRequest {
        v1::TransferRequested {
            transfer_request_id: request.clone(),
            encounter_id: stay.to_owned(),
            facility: Some(of.named()),
            bed_type: Some(code("jp.bed-type", kind.0, kind.1)),
            wanted_from_on,
            requirements: String::new(),
        }
    }));
    Ok(request)
}

async fn offer(story: &mut Story, by: Office, request: &str) -> Result<(), Stop> {
    let available_from_on = story.day_ahead(6);
    tell!(story, by.liaison_nurse(), discharge_desk.offer_bed(OfferBedRequest {
        v1::TransferAnswer {
            transfer_request_id: request.to_owned(),
            available_from_on,
            ..v1::TransferAnswer::default()
        }
    }));
    Ok(())
}

async fn accept(story: &mut Story, by: Office, request: &str) -> Result<(), Stop> {
    tell!(story, by.liaison_nurse(), discharge_desk.accept_offer(AcceptOfferRequest {
        v1::TransferAnswer {
            transfer_request_id: request.to_owned(),
            ..v1::TransferAnswer::default()
        }
    }));
    Ok(())
}

/// A weekend at home, to see how it goes.
async fn trial_leave(story: &mut Story, hospital: Office, stay: &str) -> Result<(), Stop> {
    let expected_return_at = story.time_ahead(1, 16);
    tell!(story, hospital.liaison_nurse(), discharge_desk.start_leave(StartLeaveRequest {
        v1::LeaveStarted {
            encounter_id: stay.to_owned(),
            expected_return_at,
            destination: "自宅".to_owned(),
        }
    }));
    story.after(1, 16, 0);
    tell!(story, hospital.liaison_nurse(), discharge_desk.return_from_leave(ReturnFromLeaveRequest {
        v1::LeaveReturned { encounter_id: stay.to_owned() }
    }));
    Ok(())
}

/// The conference before the discharge, and what the care manager takes down of it.
async fn pre_discharge_conference(
    story: &mut Story,
    hospital: Office,
    stay: &str,
) -> Result<(), Stop> {
    let (nurse, conference) = (hospital.liaison_nurse(), story.new_id());
    let (care_manager, visiting) = (story.team.care_manager(), story.team.visiting_nurse());
    let invited =
        [nurse, care_manager, visiting].map(|who| who.taking_part(v1::Means::InPerson)).to_vec();
    let scheduled_at = story.time_ahead(4, 14);
    tell!(story, nurse, discharge_desk.schedule_conference(ScheduleConferenceRequest {
        v1::ConferenceScheduled {
            encounter_id: stay.to_owned(),
            conference_id: conference.clone(),
            kind: v1::ConferenceKind::PreDischarge.into(),
            scheduled_at,
            venue: "面談室1".to_owned(),
            invited: invited.clone(),
        }
    }));
    let planned_at = story.time_ahead(7, 10);
    plan_discharge(story, hospital, stay, planned_at).await?;
    story.after(4, 14, 0);
    tell!(story, nurse, discharge_desk.record_conference(RecordConferenceRequest {
        v1::ConferenceHeld {
            encounter_id: stay.to_owned(),
            conference_id: conference,
            kind: v1::ConferenceKind::PreDischarge.into(),
            participants: invited,
            decisions: "訪問看護 週2回で開始。手すり設置後に退院。".to_owned(),
            open_questions: String::new(),
        }
    }));
    tell!(story, care_manager, home_care.record_discharge_info(RecordDischargeInfoRequest {
        v1::DischargeInfoRecorded {
            encounter_id: stay.to_owned(),
            session: 1,
            at_conference: true,
            means: v1::Means::InPerson.into(),
            informants: vec![nurse.taking_part(v1::Means::InPerson)],
            patient_view: "早く帰りたい".to_owned(),
            cautions: "段差でのふらつきに注意".to_owned(),
            ..v1::DischargeInfoRecorded::default()
        }
    }));
    story.after(2, 10, 0);
    Ok(())
}

/// FHIR's discharge dispositions.
fn disposition(of: &str, words: &str) -> v1::Code {
    code("http://terminology.hl7.org/CodeSystem/discharge-disposition", of, words)
}
