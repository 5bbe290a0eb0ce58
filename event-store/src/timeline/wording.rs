//! What each event says in one sentence, in Japanese and English.
//!
//! Each type has its sentence in the schema (`catalogue.proto`). It is
//! made from what is coded and named: places, dates, roles, means. Free text stays in the
//! entry's detail, except where the text is the message itself (a change of condition, an
//! observation in words); what was written about a visit stands beside the sentence. Codes that
//! may tell a diagnosis are counted and not named.

mod roles;
mod sentence;
mod units;

use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::codes;
use tsunagi_proto::v1;
use tsunagi_proto::v1::Words;

use self::roles::role;
use self::sentence::{Teller, Tongue};
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

/// A role in Japanese and English: as it is, if it is not a well-known one.
pub fn role_words(code: &str) -> (&str, &str) {
    role(code)
}

/// What a sentence takes from outside its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) names: &'a Names,
    /// By whose clock times are told.
    pub(super) zone: &'a Zone,
    /// Whether the event's encounter is a visit, and no stay.
    pub(super) is_visit: bool,
    /// When the event says that it happened: by the lists of then its codes are told.
    pub(super) told_of: Option<CareTime>,
}

impl Context<'_> {
    fn moment(&self) -> Option<codes::Moment<'_>> {
        self.told_of.map(|at| codes::Moment { at, zone: self.zone })
    }
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

/// A drafted interview with all items named of which it says nothing, if its writer named none:
/// a program that forgot an item does not know that it did. None of any other event.
fn with_missing_items(payload: &Payload) -> Option<Payload> {
    let Payload::InterviewRecordDrafted(record) = payload else { return None };
    if !record.missing_items.is_empty() {
        return None;
    }
    let mut record = record.clone();
    let is_answered = |code: &str| {
        let answers = record.answers.iter().filter(|of| !of.answer.trim().is_empty());
        answers.filter_map(|of| of.item.as_ref()).any(|item| item.code == code)
    };
    let items = codes::set("sp.interview-item").map(|set| set.codes).unwrap_or_default();
    let missing = items
        .iter()
        .filter(|item| !is_answered(item.code))
        .map(|item| v1::Code { code: item.code.to_owned(), ..v1::Code::default() });
    record.missing_items = missing.collect();
    Some(Payload::InterviewRecordDrafted(record))
}

/// The sentence for an event, as its type has it in the schema.
pub(super) fn headline(event_type: &str, payload: &Payload, context: Context<'_>) -> Words {
    let completed = with_missing_items(payload);
    let payload = completed.as_ref().unwrap_or(payload);
    let (Some((ja, en)), Some(message)) = (payload.sentence(), payload.fields()) else {
        return words(
            format!("未対応の種類の記録 ({event_type})"),
            format!("unknown entry of type {event_type}"),
        );
    };
    // The same event ends a visit and a stay.
    let (ja, en) = match event_type {
        "care.encounter.discharged.v1" if context.is_visit => (
            "受診終了< ({disposition} {destination})>",
            "visit ended< ({disposition} {destination})>",
        ),
        "care.encounter.discharge_cancelled.v1" if context.is_visit => {
            ("受診終了取消", "end of visit cancelled")
        }
        _ => (ja, en),
    };
    let told = |sentence, tongue| Teller { message, context, tongue }.sentence(sentence);
    words(told(ja, Tongue::Ja), told(en, Tongue::En))
}

fn words(ja: impl Into<String>, en: impl Into<String>) -> Words {
    Words { ja: ja.into(), en: en.into() }
}

/// The text between two others, or nothing if it is empty.
fn known(before: &str, text: &str, after: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text}{after}") }
}

pub(super) fn organisation(organisation: Option<&v1::Organisation>) -> &str {
    match organisation {
        Some(organisation) if organisation.name.is_empty() => &organisation.id,
        Some(organisation) => &organisation.name,
        None => "",
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

#[cfg(test)]
mod tests {
    use tsunagi_proto::catalogue::TYPES;

    use super::*;

    fn context<'a>(names: &'a Names, zone: &'a Zone) -> Context<'a> {
        Context { names, zone, is_visit: false, told_of: None }
    }

    fn told(event_type: &str, payload: &Payload) -> Words {
        headline(event_type, payload, context(&Names::default(), &Zone::utc()))
    }

    #[test]
    fn every_type_has_words_in_both_languages() {
        for event_type in TYPES.iter().map(|known| known.name) {
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
            jiff::Timestamp::UNIX_EPOCH,
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
        names.note("", jiff::Timestamp::UNIX_EPOCH, &Payload::Discharged(discharged));
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
