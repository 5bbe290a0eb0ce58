//! What somebody wrote in their own words: questions, answers, decisions, reasons. The sentence of an
//! entry says nothing of it, or its beginning.

use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::fields::Value;
use tsunagi_proto::v1;

use super::Language;

/// What the texts are that are written most, in Japanese.
const JAPANESE: &[(&str, &str)] = &[
    ("action", "対応"),
    ("advice", "助言"),
    ("answer", "回答"),
    ("cautions", "注意"),
    ("change", "変化"),
    ("content", "内容"),
    ("decisions", "決定"),
    ("family_wishes", "家族の意向"),
    ("goal", "目標"),
    ("goals", "目標"),
    ("instructions", "指示"),
    ("next_action", "次の行動"),
    ("note", "備考"),
    ("open_questions", "未決"),
    ("outcome", "結果"),
    ("patient_view", "本人の受け止め"),
    ("patient_wishes", "本人の意向"),
    ("policy", "方針"),
    ("preference", "意向"),
    ("problems", "課題"),
    ("question", "質問"),
    ("reason", "理由"),
    ("scope", "範囲"),
    ("subject", "議題"),
    ("summary", "要約"),
    ("support", "支援"),
    ("variance", "バリアンス"),
    ("what", "内容"),
    ("what_matters", "大切なこと"),
    ("wish", "希望"),
];

/// Each text of an entry, with what it is. Of who the patient is, the head of the timeline tells.
pub(super) fn texts(entry: &v1::TimelineEntry, language: Language) -> Vec<String> {
    let Some(detail) = entry.detail.as_ref().filter(|_| entry.family() != v1::Family::Identity)
    else {
        return Vec::new();
    };
    let Ok(payload) = Payload::decode(&entry.r#type, &detail.value) else { return Vec::new() };
    let Some(message) = payload.fields() else { return Vec::new() };
    let mut lines = Vec::new();
    for name in message.names() {
        let value = message.field(name);
        let text = if let Some(Value::Text(text)) = value {
            text.to_owned()
        } else if let Some(Value::Texts(texts)) = value {
            texts.join(", ")
        } else {
            continue;
        };
        // A line of the terminal each, whatever was written.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            lines.push(format!("{} 「{text}」", label(name, language)));
        }
    }
    lines
}

fn label(name: &str, language: Language) -> String {
    let japanese = JAPANESE.iter().find(|(known, _)| *known == name).map(|(_, words)| *words);
    match japanese {
        Some(words) if language != Language::En => words.to_owned(),
        Some(_) | None => name.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn entry(payload: &Payload, message: Vec<u8>) -> v1::TimelineEntry {
        v1::TimelineEntry {
            r#type: payload.event_type().to_owned(),
            family: v1::Family::Watch.into(),
            detail: Some(prost_types::Any { type_url: String::new(), value: message }),
            ..v1::TimelineEntry::default()
        }
    }

    #[test]
    fn what_was_asked_answered_and_decided_is_told_in_full() {
        let answered = v1::QuestionAnswered {
            question_id: "x".into(),
            answer: "明日から\n入浴してよい。".into(),
        };
        let answer = entry(&Payload::QuestionAnswered(answered.clone()), answered.encode_to_vec());
        assert_eq!(texts(&answer, Language::Ja), ["回答 「明日から 入浴してよい。」"]);
        assert_eq!(texts(&answer, Language::En), ["answer 「明日から 入浴してよい。」"]);
        let held = v1::ConferenceHeld {
            decisions: "訪問看護を週2回".into(),
            open_questions: "夜間".into(),
            ..Default::default()
        };
        let held = entry(&Payload::ConferenceHeld(held.clone()), held.encode_to_vec());
        assert_eq!(texts(&held, Language::Ja), ["決定 「訪問看護を週2回」", "未決 「夜間」"]);
    }

    #[test]
    fn who_the_patient_is_is_not_told_again() {
        let answered = v1::QuestionAnswered { answer: "x".into(), ..Default::default() };
        let mut entry =
            entry(&Payload::QuestionAnswered(answered.clone()), answered.encode_to_vec());
        entry.family = v1::Family::Identity.into();
        assert!(texts(&entry, Language::En).is_empty());
    }

    #[test]
    fn a_text_stands_in_the_table_once() {
        assert!(JAPANESE.is_sorted_by(|(one, _), (next, _)| one < next));
    }
}
