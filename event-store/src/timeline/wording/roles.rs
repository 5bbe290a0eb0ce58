//! The words for the codes of roles. A code that is not in the table is shown as it is: roles
//! are written by people, and `長女` needs no words.

/// What a role is called in Japanese and English.
const ROLES: &[(&str, &str, &str)] = &[
    ("ai-tool", "AIツール", "AI tool"),
    ("care-manager", "ケアマネジャー", "care manager"),
    ("care-worker", "介護職員", "care worker"),
    ("clerk", "事務職員", "clerk"),
    ("daughter", "娘", "daughter"),
    ("dental-hygienist", "歯科衛生士", "dental hygienist"),
    ("dentist", "歯科医師", "dentist"),
    ("device", "見守り機器", "device"),
    ("dietitian", "管理栄養士", "dietitian"),
    ("discharge-nurse", "入退院支援看護師", "discharge nurse"),
    ("doctor", "医師", "doctor"),
    ("family", "家族", "family"),
    ("family-doctor", "かかりつけ医", "family doctor"),
    ("father", "父", "father"),
    ("home-doctor", "在宅医", "home doctor"),
    ("home-helper", "訪問介護員", "home helper"),
    ("husband", "夫", "husband"),
    ("liaison-nurse", "地域連携看護師", "liaison nurse"),
    ("link-worker", "リンクワーカー", "link worker"),
    ("mother", "母", "mother"),
    ("nurse", "看護師", "nurse"),
    ("occupational-therapist", "作業療法士", "occupational therapist"),
    ("patient", "本人", "patient"),
    ("pharmacist", "薬剤師", "pharmacist"),
    ("physical-therapist", "理学療法士", "physical therapist"),
    ("physician", "医師", "physician"),
    ("public-health-nurse", "保健師", "public health nurse"),
    ("social-worker", "医療ソーシャルワーカー", "social worker"),
    ("son", "息子", "son"),
    ("speech-therapist", "言語聴覚士", "speech therapist"),
    ("supporter", "支援者", "supporter"),
    ("system", "システム", "system"),
    ("therapist", "リハビリ療法士", "therapist"),
    ("visiting-nurse", "訪問看護師", "visiting nurse"),
    ("volunteer", "ボランティア", "volunteer"),
    ("ward-nurse", "病棟看護師", "ward nurse"),
    ("wife", "妻", "wife"),
];

/// A role in Japanese and English.
pub(super) fn role(code: &str) -> (&str, &str) {
    let found = ROLES.iter().find(|(known, ..)| *known == code);
    found.map_or((code, code), |(_, ja, en)| (ja, en))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_role_has_words_and_another_is_shown_as_it_is() {
        assert_eq!(role("visiting-nurse"), ("訪問看護師", "visiting nurse"));
        assert_eq!(role("長女"), ("長女", "長女"));
        assert_eq!(role("moon-nurse"), ("moon-nurse", "moon-nurse"));
    }

    #[test]
    fn a_role_stands_in_the_table_once() {
        assert!(ROLES.is_sorted_by(|(one, ..), (next, ..)| one < next));
    }
}
