//! What a patient's summary says when news is of a day, of several things at once, or corrected.

use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use crate::permutations::seen;
use crate::support::{ENCOUNTER, admitted, care_event, discharged, event, registered};

const ID: &str = "00000000-0000-0000-0000-00000000abc1";

/// What is seen of things told at these times.
fn told(all: &[(&str, Payload)]) -> (Vec<v1::TimelineEntry>, v1::PatientSummary) {
    let event = |(number, (at, payload)): (u128, &(&str, Payload))| v1::Event {
        occurred_at: (*at).to_owned(),
        ..care_event(0, number, 1, payload)
    };
    let first = ("2026-05-01", registered(&["77"]));
    seen(&(0..).zip([&first].into_iter().chain(all)).map(event).collect::<Vec<_>>())
}

fn participant(person: &str, name: &str) -> v1::Participant {
    v1::Participant {
        organisation: Some(v1::Organisation { id: "nurses".into(), name: String::new() }),
        role: "visiting-nurse".into(),
        person: person.into(),
        name: name.into(),
        ..Default::default()
    }
}

fn joined(encounter_id: &str, person: &str, name: &str) -> Payload {
    Payload::TeamMemberJoined(v1::TeamMemberJoined {
        encounter_id: encounter_id.into(),
        members: vec![participant(person, name)],
    })
}

fn left(person: &str, name: &str) -> Payload {
    Payload::TeamMemberLeft(v1::TeamMemberLeft {
        members: vec![participant(person, name)],
        ..Default::default()
    })
}

fn team(all: &[(&str, Payload)]) -> Vec<String> {
    let members = told(all).1.team.into_iter().filter_map(|of| of.member);
    members.map(|member| member.name).collect()
}

#[test]
fn who_joined_openly_and_for_a_stay_is_on_the_team_when_the_stay_is_over() {
    let stay = [
        ("2026-05-02", joined("", "n1", "佐藤 花子")),
        ("2026-05-03", admitted("4E")),
        ("2026-05-03", joined(ENCOUNTER, "n1", "佐藤 花子")),
        ("2026-05-03", joined(ENCOUNTER, "n2", "鈴木 一")),
        ("2026-05-09", discharged()),
    ];
    assert_eq!(team(&stay[..4]), ["佐藤 花子", "鈴木 一"]);
    assert_eq!(team(&stay), ["佐藤 花子"]);
}

#[test]
fn what_was_begun_for_a_stay_that_gave_way_ends_with_the_facility_s_own() {
    let own = |mut told: Payload| {
        if let Payload::Admitted(said) = &mut told {
            ID.clone_into(&mut said.encounter_id);
        } else if let Payload::Discharged(said) = &mut told {
            ID.clone_into(&mut said.encounter_id);
        }
        told
    };
    let asked = Payload::TransferRequested(v1::TransferRequested {
        transfer_request_id: ID.into(),
        encounter_id: ENCOUNTER.into(),
        facility: Some(v1::Organisation { id: "rehab".into(), name: String::new() }),
        ..Default::default()
    });
    let told = [
        ("2026-05-01", registered(&["77"])),
        ("2026-05-03", admitted("4E")),
        ("2026-05-03", joined(ENCOUNTER, "n1", "佐藤 花子")),
        ("2026-05-04", asked),
        ("2026-05-03", own(admitted("4E"))),
        ("2026-05-09", own(discharged())),
    ];
    let mut events: Vec<v1::Event> = (0..)
        .zip(&told)
        .map(|(number, (at, payload))| v1::Event {
            occurred_at: (*at).to_owned(),
            ..care_event(0, number, 1, payload)
        })
        .collect();
    let proxy = events[1].actor.as_mut().unwrap();
    "office".clone_into(&mut proxy.organisation);
    "acute".clone_into(&mut proxy.on_behalf_of);
    let before = seen(&events[..5]).1;
    assert_eq!((before.team.len(), before.transfer_requests.len()), (1, 1));
    let after = seen(&events).1;
    assert_eq!((after.team.len(), after.transfer_requests.len()), (0, 0));
}

#[test]
fn whoever_has_an_id_is_the_same_however_they_are_written() {
    let mut all = vec![
        ("2026-05-02", joined("", "n1", "佐藤 花子")),
        ("2026-05-03", joined("", "n1", "")),
        ("2026-05-03", joined("", "", "鈴木 一")),
    ];
    assert_eq!(team(&all), ["佐藤 花子", "鈴木 一"]);
    all.push(("2026-05-04", left("n1", "佐藤花子")));
    all.push(("2026-05-04", left("", "鈴木 二")));
    assert_eq!(team(&all), ["鈴木 一"], "without an id, the name says who it is");
}

#[test]
fn the_care_level_that_was_decided_last_holds() {
    let decided = |level: &str, decided_on: &str| {
        Payload::CertificationDecided(v1::CertificationDecided {
            level: Some(v1::Code { code: level.into(), ..Default::default() }),
            decided_on: decided_on.into(),
            ..Default::default()
        })
    };
    let level = |all: &[(&str, Payload)]| told(all).1.care_level.unwrap().level.unwrap().code;
    let mut all = vec![
        ("2026-05-08", decided("care-4", "2026-05-08")),
        ("2026-05-09", decided("care-1", "2024-05-08")),
    ];
    assert_eq!(level(&all), "care-4");
    all.push(("2026-05-20", decided("care-5", "")));
    assert_eq!(level(&all), "care-5", "as of when it is said to have been");
}

#[test]
fn a_hospital_that_takes_over_the_next_day_readmits_nobody() {
    let of = |encounter: &str, facility: &str, preceding: &str| {
        let mut admitted = admitted("4E");
        if let Payload::Admitted(said) = &mut admitted {
            encounter.clone_into(&mut said.encounter_id);
            preceding.clone_into(&mut said.preceding_encounter_id);
            facility.clone_into(&mut said.place.as_mut().unwrap().facility.as_mut().unwrap().id);
        }
        admitted
    };
    let to = |destination: &str| {
        let destination = v1::Organisation { id: destination.into(), name: String::new() };
        Payload::Discharged(v1::Discharged {
            encounter_id: ENCOUNTER.into(),
            destination: Some(destination),
            ..Default::default()
        })
    };
    let is_again = |left: Payload, day: &str, next: Payload| {
        let stay = [("2026-05-02", of(ENCOUNTER, "acute", "")), ("2026-05-09", left), (day, next)];
        let stays = told(&stay).1.stays;
        stays[0].readmission.is_some()
    };
    assert!(!is_again(to("rehab"), "2026-05-09", of(ID, "rehab", "")));
    assert!(!is_again(to(""), "2026-05-10", of(ID, "rehab", ENCOUNTER)));
    assert!(is_again(to("home-care"), "2026-05-10", of(ID, "rehab", "")), "it went elsewhere");
    assert!(is_again(to("rehab"), "2026-05-12", of(ID, "rehab", ENCOUNTER)), "it did not come");
    assert!(is_again(to("home-care"), "2026-05-09", of(ID, "acute", ENCOUNTER)), "it came back");
}

#[test]
fn a_discharge_that_was_cancelled_is_followed_by_no_readmission() {
    let cancelled = Payload::DischargeCancelled(v1::EncounterCancellation {
        encounter_id: ENCOUNTER.into(),
        cancelled_event_id: event(2).to_string(),
        ..Default::default()
    });
    let mut next = admitted("5E");
    if let Payload::Admitted(said) = &mut next {
        ID.clone_into(&mut said.encounter_id);
    }
    let stays = told(&[
        ("2026-05-02", admitted("4E")),
        ("2026-05-15", discharged()),
        ("2026-05-15", cancelled),
        ("2026-05-14", discharged()),
        ("2026-05-20", next),
    ])
    .1
    .stays;
    assert_eq!(stays[0].readmission.as_ref().unwrap().discharged_at, "2026-05-14");
}

#[test]
fn a_link_worker_of_no_other_organisation_is_of_the_one_that_opened_the_case() {
    let link_worker = Some(v1::Participant { organisation: None, ..participant("lw-1", "") });
    let opened = v1::CaseOpened { case_id: ID.into(), link_worker, ..Default::default() };
    let summary = told(&[("2026-05-03", Payload::CaseOpened(opened))]).1;
    let member = summary.team[0].member.as_ref();
    for of in [summary.cases[0].link_worker.as_ref(), member] {
        assert_eq!(of.unwrap().organisation.as_ref().unwrap().id, "acute");
    }
}

#[test]
fn what_is_known_by_its_day_is_of_what_began_that_day() {
    let order = |valid_to_on: &str| v1::NursingOrder {
        order_id: ID.into(),
        valid_to_on: valid_to_on.into(),
        ..Default::default()
    };
    let case = v1::CaseOpened { case_id: ID.into(), ..Default::default() };
    let contact = v1::ContactHeld {
        case_id: ID.into(),
        next_contact_on: "2026-05-20".into(),
        ..Default::default()
    };
    let question = v1::QuestionAsked { question_id: ID.into(), ..Default::default() };
    let assigned = v1::QuestionAssigned {
        question_id: ID.into(),
        owner: Some(participant("n1", "佐藤 花子")),
    };
    let summary = told(&[
        ("2026-05-03T10:00:00+09:00", Payload::OrderIssued(order("2026-10-31"))),
        ("2026-05-03", Payload::OrderAmended(order("2026-05-31"))),
        ("2026-05-03T10:00:00+09:00", Payload::CaseOpened(case)),
        ("2026-05-03", Payload::ContactHeld(contact)),
        ("2026-05-03T10:00:00+09:00", Payload::QuestionAsked(question)),
        ("2026-05-03", Payload::QuestionAssigned(assigned)),
    ])
    .1;
    assert_eq!(summary.orders[0].valid_to_on, "2026-05-31");
    assert_eq!(summary.cases[0].next_contact_on, "2026-05-20");
    assert_eq!(summary.questions[0].owner.as_ref().unwrap().person, "n1");
}

#[test]
fn an_answer_is_of_whom_the_corrected_request_asks() {
    let asked = |id: &str, name: &str| {
        Payload::TransferRequested(v1::TransferRequested {
            transfer_request_id: ID.into(),
            encounter_id: ENCOUNTER.into(),
            facility: Some(v1::Organisation { id: id.into(), name: name.into() }),
            ..Default::default()
        })
    };
    let instead = asked("rehab-2", "西リハビリ病院");
    let corrected = Payload::ValueCorrected(v1::ValueCorrected {
        corrects_event_id: event(2).to_string(),
        r#type: instead.event_type().to_owned(),
        payload: instead.encode_to_vec(),
        ..Default::default()
    });
    let offered = Payload::TransferOffered(v1::TransferAnswer {
        transfer_request_id: ID.to_uppercase(),
        ..Default::default()
    });
    let entries = told(&[
        ("2026-05-02", admitted("4E")),
        ("2026-05-03", asked("rehab", "東リハビリ病院")),
        ("2026-05-03", corrected),
        ("2026-05-04", offered),
    ])
    .0;
    let offer = entries.last().unwrap().text.as_ref().unwrap();
    assert!(offer.ja.contains("西リハビリ病院"), "{offer:?}");
}
