//! The three desks, through their own rpcs: one patient's way, and what everybody then sees.

use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::support::{Server, by, context, folder, id, liaison, reason, sentences};

fn patient() -> String {
    id(1)
}

pub(crate) fn registration(number: &str) -> v1::PatientRegistered {
    let name = |script: v1::NameScript, family: &str, given: &str| v1::HumanName {
        script: script.into(),
        family: family.to_owned(),
        given: given.to_owned(),
        text: String::new(),
    };
    v1::PatientRegistered {
        identifiers: vec![v1::Identifier {
            system: "urn:oid:1.2.392.100495.20.3.51.1".to_owned(),
            value: number.to_owned(),
        }],
        demographics: Some(v1::Demographics {
            names: vec![
                name(v1::NameScript::Ideographic, "髙橋", "ハナ"),
                name(v1::NameScript::Syllabic, "タカハシ", "ハナ"),
            ],
            birth_on: "1938-04-02".to_owned(),
            sex: v1::Sex::Female.into(),
            ..v1::Demographics::default()
        }),
    }
}

pub(crate) fn place(facility: &str, ward: &str) -> v1::Place {
    v1::Place {
        facility: Some(v1::Organisation { id: facility.to_owned(), name: String::new() }),
        ward: ward.to_owned(),
        ..v1::Place::default()
    }
}

pub(crate) async fn register(channel: &Channel, patient: &str, number: &str) -> v1::Receipt {
    let mut desk = DischargeDeskClient::new(channel.clone());
    let request = v1::RegisterPatientRequest {
        context: Some(context(patient, &id(0x1000), "2026-04-01")),
        event: Some(registration(number)),
    };
    desk.register_patient(liaison(request)).await.unwrap().into_inner()
}

#[tokio::test]
async fn one_patient_s_way_is_one_timeline_for_all_desks() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    let mut home = HomeCareClient::new(channel.clone());
    let mut link = LinkWorkerClient::new(channel.clone());
    let patient = patient();
    register(&channel, &patient, "00123").await;
    let at = |number: u128, day: &str| Some(context(&patient, &id(number), day));
    let stay = id(0xa);

    desk.admit(liaison(v1::AdmitRequest {
        context: at(1, "2026-05-01T10:00:00+09:00"),
        event: Some(v1::Admitted {
            encounter_id: stay.clone(),
            place: Some(place("acute", "4E")),
            ..v1::Admitted::default()
        }),
    }))
    .await
    .unwrap();
    home.provide_admission_info(by(
        "cm-office",
        "care-manager",
        v1::ProvideAdmissionInfoRequest {
            context: at(2, "2026-05-01T15:00:00+09:00"),
            event: Some(v1::AdmissionInfoProvided {
                encounter_id: stay.clone(),
                recipient: Some(v1::Organisation {
                    id: "acute".into(), name: "中央病院".into()
                }),
                means: v1::Means::Fax.into(),
                ..v1::AdmissionInfoProvided::default()
            }),
        },
    ))
    .await
    .unwrap();
    desk.discharge(liaison(v1::DischargeRequest {
        context: at(3, "2026-05-09T10:00:00+09:00"),
        event: Some(v1::Discharged { encounter_id: stay.clone(), ..v1::Discharged::default() }),
    }))
    .await
    .unwrap();
    link.signpost(by(
        "link",
        "link-worker",
        v1::SignpostRequest {
            context: at(4, "2026-05-12T10:00:00+09:00"),
            event: Some(v1::Signposted {
                resource: Some(v1::ResourceRef {
                    id: String::new(), name: "体操サロン".into()
                }),
                ..v1::Signposted::default()
            }),
        },
    ))
    .await
    .unwrap();
    home.record_visit(by(
        "nurses",
        "visiting-nurse",
        v1::RecordVisitRequest {
            context: at(5, "2026-05-11T10:00:00+09:00"),
            event: Some(v1::VisitCompleted {
                kind: v1::VisitKind::Nursing.into(),
                ..v1::VisitCompleted::default()
            }),
        },
    ))
    .await
    .unwrap();

    assert_eq!(
        sentences(&channel, &patient).await,
        [
            "registered as a patient",
            "admitted to acute 4E",
            "information at admission given to 中央病院 (by fax)",
            "discharged",
            "nursing visit",
            "signposted to 体操サロン",
        ]
    );
}

#[tokio::test]
async fn a_receipt_names_the_event_and_a_repeat_is_told_as_one() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let first = register(&channel, &patient(), "00123").await;
    assert_eq!(first.event_id, id(0x1000));
    assert_eq!(first.version, 1);
    assert!(!first.repeated && !first.cursor.is_empty());
    let again = register(&channel, &patient(), "00123").await;
    assert_eq!(again, v1::Receipt { repeated: true, ..first });
}

#[tokio::test]
async fn a_patient_is_found_by_an_identifier() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &patient(), "00123").await;
    let mut timeline = TimelineClient::new(channel);
    let find = |value: &str| {
        let identifier = v1::Identifier {
            system: "urn:oid:1.2.392.100495.20.3.51.1".to_owned(),
            value: value.to_owned(),
        };
        liaison(v1::FindPatientRequest { identifier: Some(identifier), as_known_at: None })
    };
    let found = timeline.find_patient(find("00123")).await.unwrap().into_inner().patient.unwrap();
    assert_eq!(found.patient_id, patient());
    let names = found.demographics.unwrap().names;
    assert_eq!((names[0].family.as_str(), names[1].family.as_str()), ("髙橋", "タカハシ"));
    let nobody = timeline.find_patient(find("00124")).await.unwrap_err();
    assert_eq!(reason(&nobody), "IDENTIFIER_UNKNOWN");
}

#[tokio::test]
async fn a_transfer_request_is_answered_by_the_facility_that_was_asked() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    let patient = patient();
    register(&channel, &patient, "00123").await;
    let at = |number: u128| Some(context(&patient, &id(number), "2026-05-02T10:00:00+09:00"));
    let admitted = v1::Admitted {
        encounter_id: id(0xa),
        place: Some(place("acute", "4E")),
        ..v1::Admitted::default()
    };
    let admit = v1::AdmitRequest { context: at(1), event: Some(admitted) };
    desk.admit(liaison(admit)).await.unwrap();
    let asked = v1::TransferRequested {
        transfer_request_id: id(0xb),
        encounter_id: id(0xa),
        facility: Some(v1::Organisation { id: "rehab".into(), name: "みどりの丘".into() }),
        ..v1::TransferRequested::default()
    };
    let ask = v1::RequestTransferRequest { context: at(2), event: Some(asked) };
    desk.request_transfer(liaison(ask)).await.unwrap();
    let answer = v1::TransferAnswer { transfer_request_id: id(0xb), ..Default::default() };
    let offer = |number: u128, on_behalf_of: &str| v1::OfferBedRequest {
        context: at(number)
            .map(|context| v1::CommandContext { on_behalf_of: on_behalf_of.to_owned(), ..context }),
        event: Some(answer.clone()),
    };
    let refused = desk.offer_bed(liaison(offer(3, ""))).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert_eq!(reason(&refused), "NOT_THE_FACILITY_ASKED");
    // The facility answered by telephone; the liaison nurse enters it on its behalf.
    desk.offer_bed(liaison(offer(4, "rehab"))).await.unwrap();
    let accept = v1::AcceptOfferRequest { context: at(5), event: Some(answer) };
    desk.accept_offer(liaison(accept)).await.unwrap();
    let sentences = sentences(&channel, &patient).await;
    assert_eq!(
        sentences[2..],
        [
            "transfer requested from みどりの丘",
            "bed offered みどりの丘",
            "offer accepted みどりの丘",
        ]
    );
}

fn worker_of<T>(message: T) -> tonic::Request<T> {
    by("link", "link-worker", message)
}

#[tokio::test]
async fn a_referral_and_its_case_go_from_request_to_outcome() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut link = LinkWorkerClient::new(channel.clone());
    let patient = patient();
    register(&channel, &patient, "00123").await;
    let at = |number: u128| Some(context(&patient, &id(number), "2026-05-02T10:00:00+09:00"));
    let worker = |request| by("link", "link-worker", request);
    let referral = v1::ReferralRequested {
        referral_id: id(0xc),
        receiver: Some(v1::Organisation { id: "link".into(), name: "相談室".into() }),
        ..v1::ReferralRequested::default()
    };
    let request = v1::RequestReferralRequest { context: at(1), event: Some(referral) };
    link.request_referral(liaison(request)).await.unwrap();
    let step = v1::ReferralStep { referral_id: id(0xc), ..v1::ReferralStep::default() };
    let accept = v1::AcceptReferralRequest { context: at(2), event: Some(step.clone()) };
    link.accept_referral(by("link", "link-worker", accept)).await.unwrap();
    let opened = v1::CaseOpened {
        case_id: id(0xd),
        link_worker: Some(v1::Participant { role: "link-worker".into(), ..Default::default() }),
        referral_id: id(0xc),
        ..v1::CaseOpened::default()
    };
    link.open_case(worker(v1::OpenCaseRequest { context: at(3), event: Some(opened) }))
        .await
        .unwrap();
    let attended = v1::AttendanceRecorded { referral_id: id(0xc), note: String::new() };
    let attendance = v1::RecordAttendanceRequest { context: at(4), event: Some(attended) };
    link.record_attendance(by("link", "link-worker", attendance)).await.unwrap();
    let closed = v1::CaseClosed {
        case_id: id(0xd),
        outcome: Some(v1::Code { code: "goals-met".into(), ..Default::default() }),
        summary: String::new(),
    };
    let close = v1::CloseCaseRequest { context: at(5), event: Some(closed) };
    let stranger = link.close_case(by("nurses", "visiting-nurse", close.clone())).await;
    assert_eq!(reason(&stranger.unwrap_err()), "NOT_THE_OPENER");
    link.close_case(by("link", "link-worker", close)).await.unwrap();
    let goal = v1::GoalSet {
        goal_id: id(0xe),
        case_id: id(0xd),
        goal: "畑".into(),
        target_on: String::new(),
    };
    let context = context(&patient, &id(6), "2026-05-03T10:00:00+09:00");
    let set = v1::SetGoalRequest { context: Some(context.clone()), event: Some(goal) };
    assert_eq!(reason(&link.set_goal(worker_of(set)).await.unwrap_err()), "CASE_CLOSED");
    let measured = v1::MeasureRecorded {
        case_id: id(0xd),
        instrument: Some(v1::Code { code: "UCLA-3".into(), ..v1::Code::default() }),
        score: "12".into(),
        ..v1::MeasureRecorded::default()
    };
    let measure = v1::RecordMeasureRequest { context: Some(context), event: Some(measured) };
    let refused = link.record_measure(worker_of(measure)).await.unwrap_err();
    assert!(refused.message().contains("must lie between 3 and 9"), "{}", refused.message());
    assert_eq!(
        sentences(&channel, &patient).await[1..],
        [
            "referred to 相談室",
            "referral accepted 相談室",
            "social-prescribing case opened",
            "attended 相談室",
            "social-prescribing case closed (goals met)",
        ]
    );
}
