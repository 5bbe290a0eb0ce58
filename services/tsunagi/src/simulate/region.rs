//! The organisations of the generated region, and who speaks for them.

use rand_pcg::Pcg64Mcg;
use tsunagi_proto::v1;

use super::people::pick;

/// An organisation, by the id and name that it bears in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Office {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
}

/// Somebody who acts for an organisation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    pub(super) office: Office,
    pub(super) role: &'static str,
    pub(super) id: &'static str,
}

const fn office(id: &'static str, name: &'static str) -> Office {
    Office { id, name }
}

pub(super) const ACUTE: [Office; 3] = [
    office("9908000011", "つなぎ中央病院"),
    office("9908000012", "つなぎ市民病院"),
    office("9908000013", "東浜総合病院"),
];
pub(super) const REHABILITATION: [Office; 3] = [
    office("9908000021", "みどりの丘リハビリ病院"),
    office("9908000022", "海岸リハビリテーション病院"),
    office("9908000023", "北山回復期病院"),
];
pub(super) const LONG_TERM: [Office; 2] =
    [office("9908000031", "ひだまり療養病院"), office("9908000032", "さくら医療院")];
const NURSING: [Office; 6] = [
    office("9960000001", "訪問看護ステーションあおば"),
    office("9960000002", "訪問看護ステーションこもれび"),
    office("9960000003", "浜風訪問看護ステーション"),
    office("9960000004", "つなぎ訪問看護"),
    office("9960000005", "訪問看護ステーション山の手"),
    office("9960000006", "訪問看護ステーションゆい"),
];
const CARE_MANAGEMENT: [Office; 6] = [
    office("9970000001", "ケアプランあおば"),
    office("9970000002", "居宅介護支援事業所こもれび"),
    office("9970000003", "浜風ケアプランセンター"),
    office("9970000004", "つなぎ居宅介護支援"),
    office("9970000005", "ケアプラン山の手"),
    office("9970000006", "居宅介護支援ゆい"),
];
const LINK_WORK: Office = office("9980000001", "つなぎ市 地域とくらしの相談室");
pub(super) const RESOURCES: [Office; 8] = [
    office("res-01", "朝の体操サロン"),
    office("res-02", "おしゃべり喫茶ひだまり"),
    office("res-03", "男の料理教室"),
    office("res-04", "浜辺ウォーキングの会"),
    office("res-05", "フードバンクつなぎ"),
    office("res-06", "スマホ相談カフェ"),
    office("res-07", "園芸ボランティアの会"),
    office("res-08", "家計相談窓口"),
];

/// Those who look after one person.
#[derive(Debug, Clone, Copy)]
pub(super) struct Team {
    pub(super) acute: Office,
    pub(super) rehabilitation: [Office; 3],
    pub(super) long_term: Office,
    pub(super) nursing: Office,
    pub(super) care_management: Office,
    pub(super) resource: Office,
}

impl Team {
    /// Whoever it comes to.
    pub(super) fn new(rng: &mut Pcg64Mcg) -> Self {
        let mut rehabilitation = REHABILITATION;
        rehabilitation.rotate_left(pick(rng, &[0, 1, 2]));
        Self {
            acute: pick(rng, &ACUTE),
            rehabilitation,
            long_term: pick(rng, &LONG_TERM),
            nursing: pick(rng, &NURSING),
            care_management: pick(rng, &CARE_MANAGEMENT),
            resource: pick(rng, &RESOURCES),
        }
    }

    pub(super) fn visiting_nurse(&self) -> Person {
        Person { office: self.nursing, role: "visiting-nurse", id: "n-1" }
    }

    pub(super) fn care_manager(&self) -> Person {
        Person { office: self.care_management, role: "care-manager", id: "cm-1" }
    }

    pub(super) fn link_worker() -> Person {
        Person { office: LINK_WORK, role: "link-worker", id: "lw-1" }
    }
}

impl Office {
    pub(super) fn liaison_nurse(self) -> Person {
        Person { office: self, role: "liaison-nurse", id: "ln-1" }
    }

    pub(super) fn named(self) -> v1::Organisation {
        v1::Organisation { id: self.id.to_owned(), name: self.name.to_owned() }
    }

    pub(super) fn place(self, department: &str, ward: &str) -> v1::Place {
        v1::Place {
            facility: Some(self.named()),
            department: department.to_owned(),
            ward: ward.to_owned(),
            ..v1::Place::default()
        }
    }
}

impl Person {
    /// As somebody who takes part in something.
    pub(super) fn taking_part(self, means: v1::Means) -> v1::Participant {
        v1::Participant {
            organisation: Some(self.office.named()),
            role: self.role.to_owned(),
            person: self.id.to_owned(),
            means: means.into(),
            ..v1::Participant::default()
        }
    }
}

/// A code in words.
pub(super) fn code(system: &str, code: &str, display: &str) -> v1::Code {
    v1::Code {
        system: system.to_owned(),
        code: code.to_owned(),
        version: String::new(),
        display: display.to_owned(),
    }
}
