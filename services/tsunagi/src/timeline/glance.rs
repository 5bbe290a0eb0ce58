//! A patient at a glance: who it is, where, on whose hands, and what is open.

use tsunagi_domain::Zone;
use tsunagi_event_store::timeline::wording::{local_time, place, role_words};
use tsunagi_proto::v1;

use super::Language;

/// What somebody has to know first, one thing a line, in Japanese and English.
pub(super) fn glance(patient: &v1::PatientSummary, zone: &Zone) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let named = |who: &v1::Participant| {
        let office = who.organisation.clone().unwrap_or_default();
        let office = if office.name.is_empty() { office.id } else { office.name };
        let office = if office.is_empty() { office } else { format!(" ({office})") };
        let (ja, en) = role_words(&who.role);
        let called =
            |role: &str| if who.name.is_empty() { role.to_owned() } else { who.name.clone() };
        (format!("{}{office}", called(ja)), format!("{}{office}", called(en)))
    };
    if !patient.merged_into_patient_id.is_empty() {
        let into = &patient.merged_into_patient_id;
        lines.push((
            format!("統合先: {into} (全体は tsunagi timeline {into})"),
            format!("merged into {into}: tsunagi timeline {into} shows all of the person"),
        ));
    }
    let manager = patient.team.iter().find(|member| member.is_care_manager);
    if let Some(manager) = manager.and_then(|member| member.member.as_ref()) {
        let (ja, en) = named(manager);
        lines.push((format!("担当ケアマネジャー: {ja}"), format!("care manager: {en}")));
    }
    let others = patient.team.iter().filter(|member| !member.is_care_manager);
    let (ja, en): (Vec<String>, Vec<String>) =
        others.filter_map(|of| of.member.as_ref()).map(named).unzip();
    if !ja.is_empty() {
        lines.push((format!("ケアチーム: {}", ja.join("、")), format!("team: {}", en.join(", "))));
    }
    for wish in &patient.wishes {
        let (at, what) = (local_time(&wish.said_at, zone), &wish.preference);
        lines.push((format!("心づもり {at}: {what}"), format!("wish {at}: {what}")));
    }
    let asked = patient.transfer_requests.iter().chain(&patient.referrals);
    for asked in asked {
        let receiver = asked.receiver.clone().unwrap_or_default();
        let name = if receiver.name.is_empty() { receiver.id } else { receiver.name };
        let state = asked.state.clone().unwrap_or_default();
        lines.push((format!("{name}: {}", state.ja), format!("{name}: {}", state.en)));
    }
    for question in &patient.questions {
        let (ja, en) = role_words(&question.owner_role);
        lines.push((format!("未回答の質問 → {ja}"), format!("open question → {en}")));
    }
    lines
}

pub(super) fn sex(sex: v1::Sex, language: Language) -> &'static str {
    let (ja, en) = match sex {
        v1::Sex::Female => ("女", "female"),
        v1::Sex::Male => ("男", "male"),
        v1::Sex::Other => ("その他", "other"),
        v1::Sex::Unknown | v1::Sex::Unspecified => ("性別不明", "sex unknown"),
    };
    if language == Language::En { en } else { ja }
}

/// The patient's names: the official one, and the others in brackets.
pub(crate) fn names(patient: &v1::PatientSummary) -> String {
    let known = patient.demographics.clone().unwrap_or_default();
    let mut names = known.names.iter().map(|name| {
        if name.family.is_empty() && name.given.is_empty() {
            name.text.clone()
        } else {
            format!("{} {}", name.family, name.given)
        }
    });
    let first = names.next().unwrap_or_default();
    let others: Vec<String> = names.collect();
    if others.is_empty() { first } else { format!("{first} ({})", others.join(", ")) }
}

/// Where the patient is, in one line.
pub(crate) fn state_words(patient: &v1::PatientSummary, language: Language, zone: &Zone) -> String {
    let place = place(patient.place.as_ref());
    let since = local_time(&patient.since_at, zone);
    let (ja, en) = state(patient.state());
    let is_known = !since.is_empty();
    let is_deceased = patient.state() == v1::PatientState::Deceased;
    let mut words = match (language, is_known) {
        (Language::En, true) if is_deceased => format!("died {since}"),
        (Language::Ja | Language::Both, true) if is_deceased => format!("{ja} {since}"),
        (Language::En, true) => format!("{en} since {since}  {place}"),
        (Language::En, false) => en.to_owned(),
        (Language::Ja | Language::Both, true) => format!("{ja} {since}から  {place}"),
        (Language::Ja | Language::Both, false) => ja.to_owned(),
    };
    let readmitted = patient.stays.iter().find_map(|stay| stay.readmission.as_ref());
    if let Some(v1::Readmission { days, .. }) = readmitted {
        words = if language == Language::En {
            format!("{words}  readmitted {days} days after the discharge")
        } else {
            format!("{words}  再入院 (退院の{days}日後)")
        };
    }
    let plans = [
        (&patient.planned_discharge_at, "退院予定", "discharge planned for"),
        (&patient.planned_admission_at, "入院予定", "admission planned for"),
    ];
    for (at, ja, en) in plans {
        if !at.is_empty() {
            let plan = if language == Language::En { en } else { ja };
            words = format!("{words}  {plan} {}", local_time(at, zone));
        }
    }
    words
}

/// Where a patient is, in Japanese and English.
pub(crate) fn state(state: v1::PatientState) -> (&'static str, &'static str) {
    match state {
        v1::PatientState::InHospital => ("入院中", "in hospital"),
        v1::PatientState::OnLeave => ("入院中 (外泊)", "in hospital, on leave"),
        v1::PatientState::Visiting => ("受診中", "visiting"),
        v1::PatientState::Discharged => ("退院後", "discharged"),
        v1::PatientState::Visited => ("受診後", "back from a visit"),
        v1::PatientState::Deceased => ("死亡", "deceased"),
        v1::PatientState::Unspecified => ("登録のみ", "registered"),
    }
}
