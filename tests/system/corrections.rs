//! What was recorded wrongly is corrected by an event that names it; two clocks; records that were
//! registered twice.

use prost::Message as _;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::desks::{place, register, registration};
use crate::support::{
    Server, by, context, folder, id, liaison, reason, run, sentences, stdout, timeline,
};

fn weight(value: &str) -> v1::ObservationRecorded {
    let quantity = v1::Quantity { value: value.to_owned(), unit: "kg".to_owned() };
    v1::ObservationRecorded {
        observations: vec![v1::Observation {
            code: Some(v1::Code { display: "体重".to_owned(), ..v1::Code::default() }),
            value: Some(v1::observation::Value::Quantity(quantity)),
        }],
    }
}

fn corrected(value: &str) -> v1::ValueCorrected {
    v1::ValueCorrected {
        corrects_event_id: id(1),
        r#type: "care.home.observation_recorded.v1".to_owned(),
        payload: weight(value).encode_to_vec(),
        ..v1::ValueCorrected::default()
    }
}

#[tokio::test]
async fn a_correction_shows_what_holds_and_keeps_what_was_said() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel.clone());
    let mut team = CareTeamClient::new(channel.clone());
    let nurse = |message| by("nurses", "visiting-nurse", message);
    let at = |number, at: &str| Some(context(&id(1), &id(number), at));
    home.record_observation(by(
        "nurses",
        "visiting-nurse",
        v1::RecordObservationRequest {
            context: at(1, "2026-05-02T10:00:00+09:00"),
            event: Some(weight("84.0")),
        },
    ))
    .await
    .unwrap();
    let correct = |number, value| v1::CorrectValueRequest {
        context: at(number, "2026-05-03T09:00:00+09:00"),
        event: Some(corrected(value)),
    };
    let first = team.correct_value(nurse(correct(2, "48.0"))).await.unwrap().into_inner();
    let earlier = by(
        "nurses",
        "visiting-nurse",
        v1::CorrectTimeRequest {
            context: at(3, "2026-05-03T09:05:00+09:00"),
            event: Some(v1::TimeCorrected {
                corrects_event_id: id(1),
                occurred_at: "2026-05-01T10:00:00+09:00".to_owned(),
                ..v1::TimeCorrected::default()
            }),
        },
    );
    team.correct_time(earlier).await.unwrap();

    let entries = timeline(&channel, &id(1)).await;
    let entry = entries.iter().find(|entry| entry.event_id == id(1)).unwrap();
    assert_eq!(entry.text.as_ref().unwrap().en, "observed 体重 48.0 kg");
    assert_eq!(entry.occurred_at, "2026-05-01T10:00:00+09:00");
    let before = |index: usize| {
        let earlier = &entry.earlier[index];
        (earlier.text.clone().unwrap().en, earlier.occurred_at.clone())
    };
    let told_at = || "2026-05-02T10:00:00+09:00".to_owned();
    assert_eq!(before(0), ("observed 体重 84.0 kg".to_owned(), told_at()));
    assert_eq!(before(1), ("observed 体重 48.0 kg".to_owned(), told_at()));
    let detail = entry.detail.as_ref().unwrap();
    assert_eq!(v1::ObservationRecorded::decode(&*detail.value).unwrap(), weight("48.0"));

    // As it was known before the second correction.
    let mut reader = TimelineClient::new(channel.clone());
    let known = v1::ReadTimelineRequest {
        patient_id: id(1),
        as_known_at: first.recorded_at,
        ..v1::ReadTimelineRequest::default()
    };
    let page = reader.read_timeline(liaison(known)).await.unwrap().into_inner();
    let entry = page.entries.iter().find(|entry| entry.event_id == id(1)).unwrap();
    assert_eq!((entry.occurred_at.clone(), entry.earlier.len()), (told_at(), 1));

    // The first correction was an error itself: what was said first holds again.
    let error = |number, corrects| v1::MarkEnteredInErrorRequest {
        context: at(number, "2026-05-04T09:00:00+09:00"),
        event: Some(v1::EnteredInError {
            corrects_event_id: id(corrects),
            ..v1::EnteredInError::default()
        }),
    };
    let signed = |message| by("nurses", "visiting-nurse", message);
    team.mark_entered_in_error(signed(error(4, 2))).await.unwrap();
    assert!(sentences(&channel, &id(1)).await.contains(&"observed 体重 84.0 kg".to_owned()));
    let data = data.path().to_str().unwrap();
    let shown = stdout(&run(&["timeline", "00123", "--lang", "en", "--data", data]));
    assert!(shown.contains("* 10:00       [corrected] observed 体重 84.0 kg"), "{shown}");
    assert!(shown.contains("before: 2026-05-02 10:00 observed 体重 84.0 kg"), "{shown}");
    team.mark_entered_in_error(signed(error(5, 1))).await.unwrap();
    let entries = timeline(&channel, &id(1)).await;
    let entry = entries.iter().find(|entry| entry.event_id == id(1)).unwrap();
    assert_eq!(entry.entered_in_error_by_event_id, id(5));
}

fn in_error(number: u128, corrects: u128) -> v1::MarkEnteredInErrorRequest {
    let corrects_event_id = id(corrects);
    v1::MarkEnteredInErrorRequest {
        context: Some(context(&id(1), &id(number), "2026-05-10T09:00:00+09:00")),
        event: Some(v1::EnteredInError { corrects_event_id, ..v1::EnteredInError::default() }),
    }
}

#[tokio::test]
async fn who_somebody_is_is_what_was_said_before_an_error() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    let mut team = CareTeamClient::new(channel.clone());
    let mut reader = TimelineClient::new(channel.clone());
    let mut born = async || {
        let identifier = registration("00123").identifiers.pop();
        let request = v1::FindPatientRequest { identifier, as_known_at: None };
        let found = reader.find_patient(liaison(request)).await.unwrap().into_inner();
        found.patient.unwrap().demographics.unwrap().birth_on
    };
    assert_eq!(born().await, "1938-04-02");
    let demographics = v1::Demographics {
        birth_on: "1983-04-02".to_owned(),
        ..registration("00123").demographics.unwrap()
    };
    desk.update_demographics(liaison(v1::UpdateDemographicsRequest {
        context: Some(context(&id(1), &id(2), "2026-05-09T09:00:00+09:00")),
        event: Some(v1::DemographicsUpdated {
            demographics: Some(demographics),
            keeps: Vec::new(),
            withdraws: Vec::new(),
        }),
    }))
    .await
    .unwrap();
    assert_eq!(born().await, "1983-04-02");
    team.mark_entered_in_error(liaison(in_error(3, 2))).await.unwrap();
    assert_eq!(born().await, "1938-04-02");
}

#[tokio::test]
async fn what_a_cancel_in_error_cancelled_stands_again() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    let mut team = CareTeamClient::new(channel.clone());
    let at = |number, at: &str| Some(context(&id(1), &id(number), at));
    let stay = v1::Admitted {
        encounter_id: id(0xa),
        place: Some(place("acute", "4E")),
        ..v1::Admitted::default()
    };
    let request =
        v1::AdmitRequest { context: at(2, "2026-05-08T09:00:00+09:00"), event: Some(stay) };
    desk.admit(liaison(request)).await.unwrap();
    let cancel = v1::EncounterCancellation {
        encounter_id: id(0xa),
        cancelled_event_id: id(2),
        ..v1::EncounterCancellation::default()
    };
    let context = at(3, "2026-05-08T10:00:00+09:00");
    let request = v1::CancelAdmissionRequest { context, event: Some(cancel) };
    desk.cancel_admission(liaison(request)).await.unwrap();
    let cancelled_by = async || {
        let entries = timeline(&channel, &id(1)).await;
        let entry = entries.into_iter().find(|entry| entry.event_id == id(2)).unwrap();
        entry.cancelled_by_event_id
    };
    assert_eq!(cancelled_by().await, id(3));
    team.mark_entered_in_error(liaison(in_error(4, 3))).await.unwrap();
    assert_eq!(cancelled_by().await, "");
}

#[tokio::test]
async fn only_its_author_corrects_an_event_and_with_one_of_its_type() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel.clone());
    let mut team = CareTeamClient::new(channel.clone());
    let at = |number| Some(context(&id(1), &id(number), "2026-05-02T10:00:00+09:00"));
    let observed = v1::RecordObservationRequest { context: at(1), event: Some(weight("84.0")) };
    home.record_observation(by("nurses", "visiting-nurse", observed)).await.unwrap();
    let correct = |event| v1::CorrectValueRequest { context: at(2), event: Some(event) };
    let other = team.correct_value(liaison(correct(corrected("48.0")))).await.unwrap_err();
    assert_eq!(reason(&other), "NOT_THE_AUTHOR");
    let nurse = |event| by("nurses", "visiting-nurse", correct(event));
    let visit = v1::VisitCompleted { kind: 1, ..v1::VisitCompleted::default() };
    let visit = v1::ValueCorrected {
        r#type: "care.home.visit_completed.v1".to_owned(),
        payload: visit.encode_to_vec(),
        ..corrected("")
    };
    let other_kind = team.correct_value(nurse(visit)).await.unwrap_err();
    assert_eq!(reason(&other_kind), "CORRECTION_OF_OTHER_KIND");
    let unknown = v1::ValueCorrected { corrects_event_id: id(77), ..corrected("48.0") };
    assert_eq!(reason(&team.correct_value(nurse(unknown)).await.unwrap_err()), "EVENT_UNKNOWN");
    let broken = team.correct_value(nurse(corrected("heavy"))).await.unwrap_err();
    assert_eq!(reason(&broken), "FIELDS_INVALID");
    assert!(team.correct_value(nurse(corrected("48.0"))).await.is_ok());
}

#[tokio::test]
async fn a_my_number_is_refused_wherever_it_turns_up() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel.clone());
    let visit = |summary: &str| {
        let event = v1::VisitCompleted {
            kind: v1::VisitKind::Nursing.into(),
            summary: summary.to_owned(),
            ..v1::VisitCompleted::default()
        };
        let context = Some(context(&id(1), &id(1), "2026-05-02T10:00:00+09:00"));
        by("nurses", "visiting-nurse", v1::RecordVisitRequest { context, event: Some(event) })
    };
    let refused = home.record_visit(visit("番号は 1234-5678-9018 とのこと")).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID");
    assert!(!format!("{refused:?}").contains("9018"), "{refused:?}");
    assert!(home.record_visit(visit("電話 03-1234-5678")).await.is_ok());
    let numbered = v1::RegisterPatientRequest {
        context: Some(context(&id(2), &id(2), "2026-05-02")),
        event: Some(registration("123456789018")),
    };
    let refused = home.register_patient(by("nurses", "visiting-nurse", numbered)).await;
    assert_eq!(reason(&refused.unwrap_err()), "FIELDS_INVALID");
    let admitted = v1::AdmitRequest {
        context: Some(context(&id(1), &id(3), "2026-05-02T10:00:00+09:00")),
        event: Some(v1::Admitted {
            encounter_id: id(30),
            place: Some(place("9908000011", "3A")),
            visit_number: Some(v1::Identifier {
                system: "urn:oid:1.2.3".to_owned(),
                value: "123456789018".to_owned(),
            }),
            ..v1::Admitted::default()
        }),
    };
    let mut desk = DischargeDeskClient::new(channel.clone());
    desk.admit(liaison(admitted)).await.expect("a hospital's number of a stay");
    assert_eq!(sentences(&channel, &id(1)).await.len(), 3);
}

#[tokio::test]
async fn somebody_registered_twice_is_found_merged_and_found_by_both_numbers() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut team = CareTeamClient::new(channel.clone());
    let mut again = registration("00456");
    let demographics = again.demographics.as_mut().unwrap();
    demographics.names.truncate(1);
    demographics.names[0].family = "高橋".to_owned();
    demographics.names[0].given = "ハナ".to_owned();
    let twice = v1::RegisterPatientRequest {
        context: Some(context(&id(2), &id(0x2000), "2026-04-02")),
        event: Some(again),
    };
    team.register_patient(by("nurses", "visiting-nurse", twice)).await.unwrap();
    let member = v1::Participant {
        role: "care-manager".to_owned(),
        person: "cm-1".to_owned(),
        ..v1::Participant::default()
    };
    let joined = v1::TeamMemberJoined { members: vec![member], ..v1::TeamMemberJoined::default() };
    let at = Some(context(&id(2), &id(8), "2026-05-01T10:00:00+09:00"));
    let joined = team.join_team(liaison(v1::JoinTeamRequest { context: at, event: Some(joined) }));
    let before_the_merge = joined.await.unwrap().into_inner().recorded_at;
    let mut reader = TimelineClient::new(channel.clone());
    let request = v1::FindLookAlikesRequest { patient_id: id(1), ..Default::default() };
    let found = reader.find_look_alikes(liaison(request)).await.unwrap().into_inner();
    assert_eq!(found.candidates.len(), 1);
    let candidate = &found.candidates[0];
    assert_eq!(candidate.patient.as_ref().unwrap().patient_id, id(2));
    assert!(candidate.kanji_agree && candidate.birth_agrees && candidate.sex_agrees);
    assert!(candidate.patient.as_ref().unwrap().team[0].is_care_manager);
    let shown = &candidate.patient.as_ref().unwrap().demographics.as_ref().unwrap().names[0];
    assert_eq!(shown.family, "高橋", "as it was written");

    let merge = |number, patient: u128, other: u128| {
        let event = v1::PatientsMerged { retired_patient_id: id(other), note: String::new() };
        let context = Some(context(&id(patient), &id(number), "2026-05-02T10:00:00+09:00"));
        liaison(v1::MergePatientsRequest { context, event: Some(event) })
    };
    let itself = team.merge_patients(merge(1, 1, 1)).await.unwrap_err();
    assert_eq!(reason(&itself), "FIELDS_INVALID");
    let nobody = team.merge_patients(merge(1, 1, 9)).await.unwrap_err();
    assert_eq!(reason(&nobody), "FIELDS_INVALID");
    let first = team.merge_patients(merge(1, 1, 2)).await.unwrap().into_inner();
    let repeat = team.merge_patients(merge(1, 1, 2)).await.unwrap().into_inner();
    assert_eq!(repeat, v1::Receipt { repeated: true, ..first });
    let mut alike = async |as_known_at| {
        let request = v1::FindLookAlikesRequest { patient_id: id(1), max: 0, as_known_at };
        let found = reader.find_look_alikes(liaison(request)).await.unwrap().into_inner();
        found.candidates.into_iter().map(|it| it.patient.unwrap().patient_id).collect::<Vec<_>>()
    };
    assert_eq!(alike(None).await, [""; 0]);
    assert_eq!(alike(before_the_merge).await, [id(2)], "as was known then");
    let elsewhere = team.merge_patients(merge(5, 1, 2)).await.unwrap_err();
    assert_eq!(reason(&elsewhere), "ALREADY_MERGED");
    let back = team.merge_patients(merge(6, 2, 1)).await.unwrap_err();
    assert_eq!(reason(&back), "PATIENT_MERGED");

    for value in ["00123", "00456"] {
        let identifier = v1::Identifier {
            system: "urn:oid:1.2.392.100495.20.3.51.1".to_owned(),
            value: value.to_owned(),
        };
        let find = v1::FindPatientRequest { identifier: Some(identifier), as_known_at: None };
        let found = reader.find_patient(liaison(find)).await.unwrap().into_inner();
        assert_eq!(found.patient.unwrap().patient_id, id(1), "{value}");
    }
    let list = v1::ListPatientsRequest::default();
    let listed = reader.list_patients(liaison(list)).await.unwrap().into_inner().patients;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].merged_patient_ids, [id(2)]);
}

#[tokio::test]
async fn an_anonymous_consultation_is_linked_to_a_patient_later() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut team = CareTeamClient::new(channel.clone());
    let at = |patient, number, at: &str| Some(context(&id(patient), &id(number), at));
    let consult = v1::RecordWalkInConsultRequest {
        context: at(7, 1, "2026-05-02T10:00:00+09:00"),
        event: Some(v1::WalkInConsultRecorded {
            topic: "介護の疲れ".to_owned(),
            ..v1::WalkInConsultRecorded::default()
        }),
    };
    team.record_walk_in_consult(by("link", "link-worker", consult)).await.unwrap();
    let mut reader = TimelineClient::new(channel.clone());
    let read = |patient| v1::ReadTimelineRequest { patient_id: id(patient), ..Default::default() };
    let page = reader.read_timeline(liaison(read(7))).await.unwrap().into_inner();
    let anonymous = page.patient.unwrap();
    assert!(anonymous.is_anonymous && anonymous.demographics.is_none());
    let merge = v1::MergePatientsRequest {
        context: at(1, 2, "2026-05-09T10:00:00+09:00"),
        event: Some(v1::PatientsMerged { retired_patient_id: id(7), note: String::new() }),
    };
    team.merge_patients(by("link", "link-worker", merge)).await.unwrap();
    let known = sentences(&channel, &id(1)).await;
    assert_eq!(known[1], "anonymous consultation");
    let page = reader.read_timeline(liaison(read(7))).await.unwrap().into_inner();
    assert_eq!(page.patient.unwrap().merged_into_patient_id, id(1));
}

#[tokio::test]
async fn a_timeline_is_filtered_by_family_role_episode_and_time() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut home = HomeCareClient::new(channel.clone());
    for day in 2..6 {
        let at = format!("2026-05-{day:02}T10:00:00+09:00");
        let request = v1::RecordObservationRequest {
            context: Some(context(&id(1), &id(day), &at)),
            event: Some(weight("48.0")),
        };
        home.record_observation(by("nurses", "visiting-nurse", request)).await.unwrap();
    }
    let mut reader = TimelineClient::new(channel.clone());
    let all = v1::ReadTimelineRequest { patient_id: id(1), ..Default::default() };
    let families = vec![v1::Family::HomeCare.into()];
    let asked = [
        (v1::ReadTimelineRequest { families: families.clone(), ..all.clone() }, 4),
        (v1::ReadTimelineRequest { roles: vec!["liaison-nurse".into()], ..all.clone() }, 1),
        (v1::ReadTimelineRequest { from_at: "2026-05-03".into(), ..all.clone() }, 3),
        (v1::ReadTimelineRequest { to_at: "2026-05-03".into(), ..all.clone() }, 3),
        (v1::ReadTimelineRequest { episode_id: id(0xa), ..all.clone() }, 0),
    ];
    for (request, count) in asked {
        let page = reader.read_timeline(liaison(request.clone())).await.unwrap().into_inner();
        assert_eq!(page.entries.len(), count, "{request:?}");
        assert!(page.next_page_token.is_empty());
    }
    // Pages count what passes the filter.
    let paged = v1::ReadTimelineRequest { families, page_size: 3, ..all };
    let first = reader.read_timeline(liaison(paged.clone())).await.unwrap().into_inner();
    let page_token = first.next_page_token;
    let next = v1::ReadTimelineRequest { page_token, ..paged };
    let second = reader.read_timeline(liaison(next)).await.unwrap().into_inner();
    assert_eq!((first.entries.len(), second.entries.len()), (3, 1));
    assert!(second.next_page_token.is_empty());
}

#[tokio::test]
async fn a_number_that_was_mistyped_at_the_registration_is_free_when_it_is_corrected() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let event = id(1);
    let entries = timeline(&channel, &event).await;
    let corrects_event_id = entries[0].event_id.clone();
    let numbered = |number: &str, demographics| {
        let registered = v1::PatientRegistered { demographics, ..registration(number) };
        let instead = v1::ValueCorrected {
            corrects_event_id: corrects_event_id.clone(),
            r#type: "care.patient.registered.v1".to_owned(),
            payload: registered.encode_to_vec(),
            ..v1::ValueCorrected::default()
        };
        let context = Some(context(&id(1), &id(2), "2026-05-10T09:00:00+09:00"));
        v1::CorrectValueRequest { context, event: Some(instead) }
    };
    let mut team = CareTeamClient::new(channel.clone());
    let whole = numbered("00132", registration("00132").demographics);
    let refused = team.correct_value(liaison(whole)).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID");
    let correction = numbered("00132", Some(v1::Demographics::default()));
    team.correct_value(liaison(correction.clone())).await.unwrap();
    assert!(team.correct_value(liaison(correction)).await.unwrap().into_inner().repeated);
    let mut reader = TimelineClient::new(channel.clone());
    let mut found = async |number: &str| {
        let identifier = registration(number).identifiers.pop();
        let request = v1::FindPatientRequest { identifier, as_known_at: None };
        let found = reader.find_patient(liaison(request)).await.ok()?.into_inner();
        found.patient.map(|patient| patient.patient_id)
    };
    assert_eq!(found("00132").await, Some(id(1)));
    assert_eq!(found("00123").await, None);
    register(&channel, &id(0x77), "00123").await;
    assert_eq!(found("00123").await, Some(id(0x77)));
    let request = v1::ReadTimelineRequest { patient_id: id(1), ..Default::default() };
    let page = reader.read_timeline(liaison(request)).await.unwrap().into_inner();
    let patient = page.patient.unwrap();
    assert_eq!(patient.identifiers, registration("00132").identifiers);
    assert_eq!(patient.demographics, registration("00132").demographics, "as it was said");
}

#[tokio::test]
async fn a_number_that_was_taken_back_while_merged_stays_so_when_that_is_undone() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = DischargeDeskClient::new(channel.clone());
    // Under another event id than the first.
    let registered = id(0xf);
    desk.register_patient(liaison(v1::RegisterPatientRequest {
        context: Some(context(&id(2), &registered, "2026-04-01")),
        event: Some(registration("00456")),
    }))
    .await
    .unwrap();
    let mut team = CareTeamClient::new(channel.clone());
    let at = |patient, number, day: &str| {
        Some(context(&id(patient), &id(number), &format!("2026-05-{day}T09:00:00+09:00")))
    };
    let linked = v1::IdentifierLinked { identifier: registration("00789").identifiers.pop() };
    let request = v1::LinkIdentifierRequest { context: at(2, 0x10, "02"), event: Some(linked) };
    desk.link_identifier(liaison(request)).await.unwrap();
    let retired_patient_id = id(2);
    let merge = v1::PatientsMerged { retired_patient_id, ..Default::default() };
    let request = v1::MergePatientsRequest { context: at(1, 0x11, "03"), event: Some(merge) };
    team.merge_patients(liaison(request)).await.unwrap();
    let wrong = v1::EnteredInError { corrects_event_id: id(0x10), ..Default::default() };
    let request = v1::MarkEnteredInErrorRequest { context: at(1, 0x12, "04"), event: Some(wrong) };
    team.mark_entered_in_error(liaison(request)).await.unwrap();
    let right = v1::PatientRegistered {
        demographics: Some(v1::Demographics::default()),
        ..registration("00465")
    };
    let right = v1::ValueCorrected {
        corrects_event_id: registered,
        r#type: "care.patient.registered.v1".to_owned(),
        payload: right.encode_to_vec(),
        ..Default::default()
    };
    let request = v1::CorrectValueRequest { context: at(1, 0x13, "05"), event: Some(right) };
    team.correct_value(liaison(request)).await.unwrap();
    let retired_patient_id = id(2);
    let apart = v1::PatientsUnmerged { retired_patient_id, ..Default::default() };
    let request = v1::UnmergePatientsRequest { context: at(1, 0x14, "06"), event: Some(apart) };
    team.unmerge_patients(liaison(request)).await.unwrap();
    let mut reader = TimelineClient::new(channel.clone());
    for (patient, number) in [(1, "00123"), (2, "00465")] {
        let request = v1::ReadTimelineRequest { patient_id: id(patient), ..Default::default() };
        let page = reader.read_timeline(liaison(request)).await.unwrap().into_inner();
        assert_eq!(page.patient.unwrap().identifiers, registration(number).identifiers);
        let identifier = registration(number).identifiers.pop();
        let request = v1::FindPatientRequest { identifier, as_known_at: None };
        let found = reader.find_patient(liaison(request)).await.unwrap().into_inner();
        assert_eq!(found.patient.unwrap().patient_id, id(patient));
    }
    // What was given back is free.
    register(&channel, &id(0x77), "00789").await;
    register(&channel, &id(0x78), "00456").await;
}
