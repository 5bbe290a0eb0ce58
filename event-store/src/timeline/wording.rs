//! What each event says in one sentence, in Japanese and English.
//!
//! Made from what is coded and named: places, dates, roles, means. Free text stays in the
//! entry's detail, except where the text is the message itself (a change of condition, an
//! observation in words); what was written about a visit stands beside the sentence. Codes that
//! may tell a diagnosis are counted and not named.

mod roles;
mod units;

use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use tsunagi_proto::v1::Words;

use self::roles::role;
use self::units::unit;
use super::names::Names;

/// A time by the clock of the region, as far as it is known: `2026-05-01 20:00`, `2026-05-01`.
pub fn local_time(time: &str, zone: &Zone) -> String {
    let told = CareTime::parse(time, zone).map(|time| time.words(zone));
    told.unwrap_or_else(|_no_time| time.to_owned())
}

/// A place from the facility to the bed: `つなぎ中央病院 4東病棟 401`.
pub fn place(place: Option<&v1::Place>) -> String {
    let Some(place) = place else { return String::new() };
    let parts = [
        organisation(place.facility.as_ref()),
        &place.department,
        &place.ward,
        &place.room,
        &place.bed,
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// What a sentence takes from outside its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) names: &'a Names,
    /// By whose clock times are told.
    pub(super) zone: &'a Zone,
    /// Whether the event's encounter is a visit, and no stay.
    pub(super) is_visit: bool,
}

/// Who said it: the role, and the organisation by the name that the timeline has learnt.
pub(super) fn by(actor: &v1::Actor, names: &Names) -> Words {
    let (ja, en) = role(&actor.role);
    let organisation = names.organisation(&actor.organisation);
    let represented = names.organisation(&actor.on_behalf_of);
    words(
        format!("{ja}、{organisation}{}", known("、", represented, "の代理")),
        format!("{en}, {organisation}{}", known(" for ", represented, "")),
    )
}

/// What was written about a visit; empty if nothing was, or it is no visit.
pub(super) fn note(payload: &Payload) -> String {
    if let Payload::VisitCompleted(m) = payload {
        excerpt(&m.summary)
    } else if let Payload::VisitMissed(m) = payload {
        excerpt(&m.note)
    } else {
        String::new()
    }
}

/// The sentence for an event: one arm for each type, in the catalogue's order.
#[expect(clippy::too_many_lines, reason = "one arm for each event type, none of them long")]
pub(super) fn headline(event_type: &str, payload: &Payload, context: Context<'_>) -> Words {
    let Context { names, zone, is_visit } = context;
    match payload {
        Payload::PatientRegistered(_) => words("患者登録", "registered as a patient"),
        Payload::IdentifierLinked(_) => words("識別番号を追加", "identifier added"),
        Payload::DemographicsUpdated(m) => demographics_updated(m, zone),
        Payload::TeamMemberJoined(m) => {
            with_people("ケアチーム参加", "joined the care team", &m.members)
        }
        Payload::AdmissionPlanned(m) => {
            let at = local_time(&m.planned_at, zone);
            planned("入院予定", "admission planned for", &at, m.place.as_ref())
        }
        Payload::AdmissionPlannedCancelled(_) => {
            words("入院予定取消", "planned admission cancelled")
        }
        Payload::EncounterRegistered(m) => visit_registered(m, zone),
        Payload::RegistrationCancelled(_) => words("受付取消", "visit cancelled"),
        Payload::Admitted(m) => admitted(m),
        Payload::AdmitCancelled(_) => words("入院取消", "admission cancelled"),
        Payload::TransferPlanned(m) => {
            let at = local_time(&m.planned_at, zone);
            planned("転棟・転科予定", "move planned for", &at, m.to.as_ref())
        }
        Payload::TransferPlannedCancelled(_) => {
            words("転棟・転科予定取消", "planned move cancelled")
        }
        Payload::Transferred(m) => {
            let to = place(m.to.as_ref());
            words(format!("転棟・転科 {to}"), format!("moved to {to}"))
        }
        Payload::TransferCancelled(_) => words("転棟・転科取消", "move cancelled"),
        Payload::LeaveStarted(m) => leave_started(m, zone),
        Payload::LeaveStartedCancelled(_) => words("外出・外泊取消", "leave cancelled"),
        Payload::LeaveReturned(_) => words("帰院", "back from leave"),
        Payload::LeaveReturnedCancelled(_) => words("帰院取消", "return from leave cancelled"),
        Payload::DischargePlanned(m) => discharge_planned(m, zone),
        Payload::DischargePlannedCancelled(_) => {
            words("退院予定取消", "planned discharge cancelled")
        }
        Payload::Discharged(m) => {
            let to = destination(m.disposition.as_ref(), m.destination.as_ref());
            let (ja, en) =
                if is_visit { ("受診終了", "visit ended") } else { ("退院", "discharged") };
            detailed(ja, en, &to)
        }
        Payload::DischargeCancelled(_) if is_visit => {
            words("受診終了取消", "end of visit cancelled")
        }
        Payload::DischargeCancelled(_) => words("退院取消", "discharge cancelled"),
        Payload::ScreeningCompleted(m) => screening_completed(m),
        Payload::FamilyMeetingHeld(m) => {
            with_people("患者・家族面談", "talk with patient and family", &m.participants)
        }
        Payload::PlanStarted(m) => discharge_plan("退院支援計画 着手", "discharge plan started", m),
        Payload::PlanIssued(m) => discharge_plan("退院支援計画 交付", "discharge plan issued", m),
        Payload::PlanChanged(m) => discharge_plan("退院支援計画 変更", "discharge plan changed", m),
        Payload::ConferenceScheduled(m) => conference_scheduled(m, zone),
        Payload::ConferenceHeld(m) => {
            let (ja, en) = conference(m.kind());
            with_people(&format!("{ja} 開催"), &format!("{en} held"), &m.participants)
        }
        Payload::DischargeReadyDeclared(m) => {
            let on = &m.ready_on;
            words(format!("退院可能 {on}から"), format!("ready for discharge from {on}"))
        }
        Payload::TransferRequested(m) => {
            let to = organisation(m.facility.as_ref());
            words(format!("転院依頼 {to}"), format!("transfer requested from {to}"))
        }
        Payload::TransferOffered(m) => answer("転院受入可", "bed offered", m, names),
        Payload::TransferDeclined(m) => answer("転院受入不可", "transfer declined", m, names),
        Payload::TransferAccepted(m) => answer("転院先決定", "offer accepted", m, names),
        Payload::TransferWithdrawn(m) => {
            answer("転院依頼取下げ", "transfer request withdrawn", m, names)
        }
        Payload::VisitCompleted(m) => visit_completed(m),
        Payload::VisitMissed(m) => {
            let (ja, en) = visit_kind(m.kind());
            let why = code(m.reason.as_ref());
            detailed(&format!("{ja} 実施できず"), &format!("{en} missed"), why)
        }
        Payload::ObservationRecorded(m) => {
            let (ja, en): (Vec<_>, Vec<_>) = m.observations.iter().map(observation).unzip();
            words(format!("観察 {}", ja.join("、")), format!("observed {}", en.join(", ")))
        }
        Payload::ConditionChanged(m) => condition_changed(m),
        Payload::AdmissionInfoProvided(m) => admission_info_provided(m),
        Payload::DischargeInfoRecorded(m) => discharge_info_recorded(m),
        Payload::Signposted(m) => {
            let to = resource(m.resource.as_ref());
            words(format!("案内 {to}"), format!("signposted to {to}"))
        }
        Payload::ReferralRequested(m) => referral_requested(m),
        Payload::ReferralAccepted(m) => step("紹介 受入", "referral accepted", m, names),
        Payload::ReferralRejected(m) => step("紹介 受入不可", "referral rejected", m, names),
        Payload::ReferralInProgress(m) => step("紹介 対応中", "referral in progress", m, names),
        Payload::ReferralOnHold(m) => step("紹介 保留", "referral on hold", m, names),
        Payload::ReferralFailed(m) => step("紹介 不成立", "referral failed", m, names),
        Payload::ReferralCompleted(m) => step("紹介 完了", "referral completed", m, names),
        Payload::ReferralCancelled(m) => step("紹介 取消", "referral cancelled", m, names),
        Payload::ReferralEnteredInError(m) => {
            step("紹介 誤登録", "referral entered in error", m, names)
        }
        Payload::CaseOpened(_) => words("社会的処方ケース 開始", "social-prescribing case opened"),
        Payload::CaseClosed(m) => {
            let how = code(m.outcome.as_ref());
            detailed("社会的処方ケース 終了", "social-prescribing case closed", how)
        }
        Payload::CaseReopened(_) => {
            words("社会的処方ケース 再開", "social-prescribing case reopened")
        }
        Payload::ContactAttempted(m) => {
            by_means("連絡つかず", "contact attempted in vain", m.means())
        }
        Payload::ContactHeld(m) => {
            by_means("リンクワーカー面談", "contact with the link worker", m.means())
        }
        Payload::AttendanceRecorded(m) => {
            let to = known(" ", names.of(&m.referral_id), "");
            words(format!("参加{to}"), format!("attended{to}"))
        }
        Payload::Unattended(m) => {
            let to = known(" ", names.of(&m.referral_id), "");
            let why = code(m.reason.as_ref());
            detailed(&format!("不参加{to}"), &format!("did not attend{to}"), why)
        }
        Payload::MeasureRecorded(m) => {
            let (what, score) = (code(m.instrument.as_ref()), &m.score);
            words(format!("評価 {what}: {score}"), format!("measured {what}: {score}"))
        }
        Payload::IdentifierClaimed(_)
        | Payload::IdentifierReleased(_)
        | Payload::MessageQuarantined(_)
        | Payload::MessageRepeated(_) => words("システムの記録", "a record of the system"),
        Payload::Unknown => words(
            format!("未対応の種類の記録 ({event_type})"),
            format!("unknown entry of type {event_type}"),
        ),
    }
}

fn demographics_updated(message: &v1::DemographicsUpdated, zone: &Zone) -> Words {
    let deceased = message.demographics.as_ref().map(|known| known.deceased_at.as_str());
    let at = local_time(deceased.unwrap_or_default(), zone);
    words(
        format!("基本情報を更新{}", known(" (死亡 ", &at, ")")),
        format!("demographics updated{}", known(" (died ", &at, ")")),
    )
}

fn visit_registered(message: &v1::EncounterRegistered, zone: &Zone) -> Words {
    let (ja, en) = match message.class() {
        v1::EncounterClass::Emergency => ("救急受診", "emergency visit"),
        v1::EncounterClass::Home => ("在宅診療", "care at home"),
        v1::EncounterClass::Virtual => ("オンライン診療", "online visit"),
        v1::EncounterClass::Outpatient
        | v1::EncounterClass::Inpatient
        | v1::EncounterClass::Unspecified => ("外来受診", "outpatient visit"),
    };
    let (at, until) = (place(message.place.as_ref()), clock(&message.ended_at, zone));
    words(
        format!("{ja} {at}{}", known(" 〜", &until, "")),
        format!("{en} at {at}{}", known(" until ", &until, "")),
    )
}

fn admitted(message: &v1::Admitted) -> Words {
    let to = place(message.place.as_ref());
    let from = code(message.admit_source.as_ref());
    detailed(&format!("入院 {to}"), &format!("admitted to {to}"), from)
}

fn leave_started(message: &v1::LeaveStarted, zone: &Zone) -> Words {
    let back = local_time(&message.expected_return_at, zone);
    words(
        format!("外出・外泊{}", known(" (帰院予定 ", &back, ")")),
        format!("on leave{}", known(" (back on ", &back, ")")),
    )
}

fn discharge_planned(message: &v1::DischargePlanned, zone: &Zone) -> Words {
    let at = local_time(&message.planned_at, zone);
    let to = destination(message.disposition.as_ref(), message.destination.as_ref());
    detailed(&format!("退院予定 {at}"), &format!("discharge planned for {at}"), &to)
}

fn planned(ja: &str, en: &str, at: &str, to: Option<&v1::Place>) -> Words {
    let to = place(to);
    words(format!("{ja} {at} {to}"), format!("{en} {at} to {to}"))
}

fn screening_completed(message: &v1::ScreeningCompleted) -> Words {
    let factors = message.factors.len();
    let (ja, en) = if message.support_needed {
        ("退院支援が必要", "discharge support needed")
    } else {
        ("退院支援は不要", "no discharge support needed")
    };
    words(
        format!("退院困難要因スクリーニング: 要因{factors}件、{ja}"),
        format!("screened for discharge difficulties: {factors} found, {en}"),
    )
}

fn discharge_plan(ja: &str, en: &str, plan: &v1::DischargePlan) -> Words {
    words(
        format!("{ja}{}", known(" (目標 ", &plan.target_on, ")")),
        format!("{en}{}", known(" (aiming at ", &plan.target_on, ")")),
    )
}

fn conference_scheduled(message: &v1::ConferenceScheduled, zone: &Zone) -> Words {
    let (ja, en) = conference(message.kind());
    let at = local_time(&message.scheduled_at, zone);
    words(format!("{ja} 開催予定 {at}"), format!("{en} called for {at}"))
}

fn conference(kind: v1::ConferenceKind) -> (&'static str, &'static str) {
    match kind {
        v1::ConferenceKind::PreDischarge => ("退院前カンファレンス", "pre-discharge conference"),
        v1::ConferenceKind::CareManager => {
            ("介護支援等連携指導", "conference with the care manager")
        }
        v1::ConferenceKind::Ward => ("多職種カンファレンス", "ward conference"),
        v1::ConferenceKind::Unspecified => ("カンファレンス", "conference"),
    }
}

fn visit_completed(message: &v1::VisitCompleted) -> Words {
    let (ja, en) = visit_kind(message.kind());
    if message.change_noticed {
        words(format!("{ja} — 変化あり"), format!("{en} — change noticed"))
    } else {
        words(ja, en)
    }
}

fn visit_kind(kind: v1::VisitKind) -> (&'static str, &'static str) {
    match kind {
        v1::VisitKind::Nursing => ("訪問看護", "nursing visit"),
        v1::VisitKind::Medical => ("訪問診療", "medical visit"),
        v1::VisitKind::Rehabilitation => ("訪問リハビリ", "rehabilitation visit"),
        v1::VisitKind::HomeHelp => ("訪問介護", "home-help visit"),
        v1::VisitKind::CareManagement => ("ケアマネジャー訪問", "care manager's visit"),
        v1::VisitKind::Pharmacy => ("薬剤師訪問", "pharmacist's visit"),
        v1::VisitKind::Unspecified => ("訪問", "visit"),
    }
}

/// What was observed, in Japanese and English. A value in words is the observation itself.
fn observation(observation: &v1::Observation) -> (String, String) {
    use v1::observation::Value;
    let what = code(observation.code.as_ref());
    let both = |told: String| (told.clone(), told);
    match &observation.value {
        Some(Value::Quantity(v1::Quantity { value, unit: ucum })) => {
            let (ja, en) = unit(ucum);
            (format!("{what} {value} {ja}"), format!("{what} {value} {en}"))
        }
        Some(Value::Coded(value)) => both(format!("{what} {}", code(Some(value)))),
        Some(Value::Text(text)) => both(format!("{what} {}", excerpt(text))),
        None => both(what.to_owned()),
    }
}

/// The beginning of a text, in one line.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.split_at(end).0),
        None => text,
    }
}

fn condition_changed(message: &v1::ConditionChanged) -> Words {
    let (ja, en) = match message.severity() {
        v1::Severity::Urgent => ("至急", "urgent"),
        v1::Severity::Warning => ("要対応", "needs action"),
        v1::Severity::Notice | v1::Severity::Unspecified => ("情報共有", "for information"),
    };
    let v1::ConditionChanged { change, owner_role, next_action, .. } = message;
    let (owner_ja, owner_en) = role(owner_role);
    words(
        format!("状態変化 [{ja}] {change} → {owner_ja}: {next_action}"),
        format!("condition changed [{en}] {change} → {owner_en}: {next_action}"),
    )
}

fn admission_info_provided(message: &v1::AdmissionInfoProvided) -> Words {
    let to = organisation(message.recipient.as_ref());
    by_means(
        &format!("入院時情報提供 {to}へ"),
        &format!("information at admission given to {to}"),
        message.means(),
    )
}

fn discharge_info_recorded(message: &v1::DischargeInfoRecorded) -> Words {
    let session = message.session;
    let (ja, en) = if message.at_conference {
        (" (カンファレンス)", " (at a conference)")
    } else {
        ("", "")
    };
    words(
        format!("退院・退所情報の聞き取り {session}回目{ja}"),
        format!("discharge information heard, session {session}{en}"),
    )
}

fn referral_requested(message: &v1::ReferralRequested) -> Words {
    let to = organisation(message.receiver.as_ref());
    let resource = known(" / ", resource(message.resource.as_ref()), "");
    words(format!("紹介 {to}{resource}へ"), format!("referred to {to}{resource}"))
}

fn step(ja: &str, en: &str, step: &v1::ReferralStep, names: &Names) -> Words {
    let to = known(" ", names.of(&step.referral_id), "");
    detailed(&format!("{ja}{to}"), &format!("{en}{to}"), code(step.reason.as_ref()))
}

fn answer(ja: &str, en: &str, answer: &v1::TransferAnswer, names: &Names) -> Words {
    let facility = known(" ", names.of(&answer.transfer_request_id), "");
    let (from, why) = (&answer.available_from_on, code(answer.reason.as_ref()));
    words(
        format!("{ja}{facility}{}{}", known(" (", from, "から)"), known(" (", why, ")")),
        format!("{en}{facility}{}{}", known(" (from ", from, ")"), known(" (", why, ")")),
    )
}

fn by_means(ja: &str, en: &str, means: v1::Means) -> Words {
    let (means_ja, means_en) = match means {
        v1::Means::InPerson => ("面談", "in person"),
        v1::Means::Telephone => ("電話", "by telephone"),
        v1::Means::Video => ("オンライン", "by video"),
        v1::Means::Fax => ("FAX", "by fax"),
        v1::Means::Post => ("郵送", "by post"),
        v1::Means::Electronic => ("電子", "electronically"),
        v1::Means::Unspecified => ("", ""),
    };
    words(
        format!("{ja}{}", known(" (", means_ja, ")")),
        format!("{en}{}", known(" (", means_en, ")")),
    )
}

/// A sentence, and what is known besides in brackets.
fn detailed(ja: &str, en: &str, detail: &str) -> Words {
    let detail = known(" (", detail, ")");
    words(format!("{ja}{detail}"), format!("{en}{detail}"))
}

fn words(ja: impl Into<String>, en: impl Into<String>) -> Words {
    Words { ja: ja.into(), en: en.into() }
}

/// The text between two others, or nothing if it is empty.
fn known(before: &str, text: &str, after: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text}{after}") }
}

/// The clock in a time, if it has one: `20:00`.
fn clock(time: &str, zone: &Zone) -> String {
    let told = local_time(time, zone);
    told.split_once(' ').map(|(_day, clock)| clock.to_owned()).unwrap_or_default()
}

pub(super) fn organisation(organisation: Option<&v1::Organisation>) -> &str {
    match organisation {
        Some(organisation) if organisation.name.is_empty() => &organisation.id,
        Some(organisation) => &organisation.name,
        None => "",
    }
}

fn resource(resource: Option<&v1::ResourceRef>) -> &str {
    resource.map(|resource| resource.name.as_str()).unwrap_or_default()
}

fn destination(disposition: Option<&v1::Code>, to: Option<&v1::Organisation>) -> String {
    let parts = [code(disposition), organisation(to)];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// A code's words, or the code if it has none.
fn code(code: Option<&v1::Code>) -> &str {
    match code {
        Some(code) if code.display.is_empty() => &code.code,
        Some(code) => &code.display,
        None => "",
    }
}

fn with_people(ja: &str, en: &str, people: &[v1::Participant]) -> Words {
    const NAMED_MAX: usize = 4;
    let (roles_ja, roles_en): (Vec<&str>, Vec<&str>) =
        people.iter().take(NAMED_MAX).map(|who| role(&who.role)).unzip();
    let more = people.len().saturating_sub(NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!(" +{more}") };
    let listed = |roles: &str| known(" (", roles, &format!("{more})"));
    words(
        format!("{ja}{}", listed(&roles_ja.join("、"))),
        format!("{en}{}", listed(&roles_en.join(", "))),
    )
}

#[cfg(test)]
mod tests {
    use tsunagi_proto::catalogue::TYPES;

    use super::*;

    fn context<'a>(names: &'a Names, zone: &'a Zone) -> Context<'a> {
        Context { names, zone, is_visit: false }
    }

    fn told(event_type: &str, payload: &Payload) -> Words {
        headline(event_type, payload, context(&Names::default(), &Zone::utc()))
    }

    #[test]
    fn every_type_has_words_in_both_languages() {
        for event_type in TYPES {
            let payload = Payload::decode(event_type, &[]).unwrap();
            let Words { ja, en } = told(event_type, &payload);
            assert!(!ja.is_empty() && !en.is_empty(), "{event_type}");
            assert!(en.is_ascii() || en.contains('→'), "{event_type}: {en}");
            assert!(!ja.is_ascii(), "{event_type}: {ja}");
        }
    }

    #[test]
    fn an_unknown_type_is_shown_by_its_name() {
        let shown = told("care.moon.landed.v1", &Payload::Unknown);
        assert_eq!(shown.en, "unknown entry of type care.moon.landed.v1");
    }

    #[test]
    fn an_answer_names_the_facility_that_was_asked() {
        let mut names = Names::default();
        names.note(
            "",
            &Payload::TransferRequested(v1::TransferRequested {
                transfer_request_id: "1".into(),
                facility: Some(v1::Organisation { id: "x".into(), name: "みどりの丘".into() }),
                ..v1::TransferRequested::default()
            }),
        );
        let offered = Payload::TransferOffered(v1::TransferAnswer {
            transfer_request_id: "1".into(),
            available_from_on: "2026-05-24".into(),
            ..v1::TransferAnswer::default()
        });
        let shown = headline(offered.event_type(), &offered, context(&names, &Zone::utc()));
        assert_eq!(shown.ja, "転院受入可 みどりの丘 (2026-05-24から)");
        assert_eq!(shown.en, "bed offered みどりの丘 (from 2026-05-24)");
    }

    #[test]
    fn observations_are_told_with_their_units() {
        use v1::observation::Value;
        let observed = |what: &str, value: Value| v1::Observation {
            code: Some(v1::Code { display: what.into(), ..v1::Code::default() }),
            value: Some(value),
        };
        let amount = |value: &str, unit: &str| {
            Value::Quantity(v1::Quantity { value: value.into(), unit: unit.into() })
        };
        let recorded = Payload::ObservationRecorded(v1::ObservationRecorded {
            observations: vec![
                observed("体温", amount("36.8", "Cel")),
                observed("脈拍", amount("72", "/min")),
                observed("皮膚", Value::Text("仙骨部に\n発赤".into())),
            ],
        });
        let shown = told(recorded.event_type(), &recorded);
        assert_eq!(shown.ja, "観察 体温 36.8 ℃、脈拍 72 /分、皮膚 仙骨部に 発赤");
        assert_eq!(shown.en, "observed 体温 36.8 ℃, 脈拍 72 /min, 皮膚 仙骨部に 発赤");
    }

    #[test]
    fn a_long_text_is_cut_to_one_line() {
        assert_eq!(excerpt("  食欲\r\n低下 "), "食欲 低下");
        assert_eq!(excerpt(&"痛".repeat(120)), "痛".repeat(120));
        assert_eq!(excerpt(&"痛".repeat(121)), format!("{}…", "痛".repeat(120)));
    }

    #[test]
    fn roles_are_told_in_words() {
        let who = |role: &str| v1::Participant { role: role.into(), ..v1::Participant::default() };
        let met = Payload::FamilyMeetingHeld(v1::FamilyMeetingHeld {
            participants: vec![who("liaison-nurse"), who("長女")],
            ..v1::FamilyMeetingHeld::default()
        });
        let told_met = told(met.event_type(), &met);
        assert_eq!(told_met.ja, "患者・家族面談 (地域連携看護師、長女)");
        assert_eq!(told_met.en, "talk with patient and family (liaison nurse, 長女)");
        let changed = Payload::ConditionChanged(v1::ConditionChanged {
            change: "発熱".into(),
            owner_role: "home-doctor".into(),
            next_action: "往診".into(),
            ..v1::ConditionChanged::default()
        });
        let told_changed = told(changed.event_type(), &changed);
        assert_eq!(told_changed.ja, "状態変化 [情報共有] 発熱 → 在宅医: 往診");
        assert_eq!(told_changed.en, "condition changed [for information] 発熱 → home doctor: 往診");
    }

    #[test]
    fn who_said_it_is_told_by_role_and_name() {
        let mut names = Names::default();
        let destination = v1::Organisation { id: "130".into(), name: "中央病院".into() };
        let discharged =
            v1::Discharged { destination: Some(destination), ..v1::Discharged::default() };
        names.note("", &Payload::Discharged(discharged));
        let actor = v1::Actor {
            organisation: "130".into(),
            role: "ward-nurse".into(),
            on_behalf_of: "140".into(),
            ..v1::Actor::default()
        };
        let told = by(&actor, &names);
        assert_eq!(told.ja, "病棟看護師、中央病院、140の代理");
        assert_eq!(told.en, "ward nurse, 中央病院 for 140");
    }

    #[test]
    fn factors_are_counted_and_not_named() {
        let cancer = v1::Code { display: "悪性腫瘍".into(), ..v1::Code::default() };
        let screened = Payload::ScreeningCompleted(v1::ScreeningCompleted {
            factors: vec![cancer],
            ..v1::ScreeningCompleted::default()
        });
        let shown = told("care.discharge.screening_completed.v1", &screened);
        assert!(shown.ja.contains("要因1件"));
        assert!(!shown.ja.contains("悪性腫瘍"));
    }
}
