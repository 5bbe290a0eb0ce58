//! Names and dates of people who do not exist.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use rand::RngExt as _;
use rand_pcg::Pcg64Mcg;
use tsunagi_proto::v1;

/// A family name in kanji and kana. Some are in letters that older character sets lack.
const FAMILY: [(&str, &str); 32] = [
    ("佐藤", "サトウ"),
    ("鈴木", "スズキ"),
    ("髙橋", "タカハシ"),
    ("高橋", "タカハシ"),
    ("田中", "タナカ"),
    ("渡邉", "ワタナベ"),
    ("渡辺", "ワタナベ"),
    ("伊藤", "イトウ"),
    ("山本", "ヤマモト"),
    ("中村", "ナカムラ"),
    ("小林", "コバヤシ"),
    ("加藤", "カトウ"),
    ("吉田", "ヨシダ"),
    ("山田", "ヤマダ"),
    ("佐々木", "ササキ"),
    ("山口", "ヤマグチ"),
    ("松本", "マツモト"),
    ("井上", "イノウエ"),
    ("木村", "キムラ"),
    ("林", "ハヤシ"),
    ("斎藤", "サイトウ"),
    ("齋藤", "サイトウ"),
    ("清水", "シミズ"),
    ("山﨑", "ヤマザキ"),
    ("山崎", "ヤマザキ"),
    ("森", "モリ"),
    ("池田", "イケダ"),
    ("橋本", "ハシモト"),
    ("石川", "イシカワ"),
    ("小川", "オガワ"),
    ("前田", "マエダ"),
    ("岡田", "オカダ"),
];

const FEMALE: [(&str, &str); 16] = [
    ("和子", "カズコ"),
    ("幸子", "サチコ"),
    ("洋子", "ヨウコ"),
    ("節子", "セツコ"),
    ("京子", "キョウコ"),
    ("恵子", "ケイコ"),
    ("文子", "フミコ"),
    ("美智子", "ミチコ"),
    ("トシ", "トシ"),
    ("キヨ", "キヨ"),
    ("ハナ", "ハナ"),
    ("千代", "チヨ"),
    ("由美子", "ユミコ"),
    ("真理", "マリ"),
    ("直美", "ナオミ"),
    ("恵", "メグミ"),
];

const MALE: [(&str, &str); 16] = [
    ("清", "キヨシ"),
    ("茂", "シゲル"),
    ("勇", "イサム"),
    ("弘", "ヒロシ"),
    ("正", "タダシ"),
    ("進", "ススム"),
    ("実", "ミノル"),
    ("勝", "マサル"),
    ("博", "ヒロシ"),
    ("隆", "タカシ"),
    ("誠", "マコト"),
    ("修", "オサム"),
    ("健一", "ケンイチ"),
    ("和夫", "カズオ"),
    ("三郎", "サブロウ"),
    ("昭", "アキラ"),
];

/// A person: most are old, as those who share a care team are.
pub(super) fn demographics(rng: &mut Pcg64Mcg, today: Date) -> v1::Demographics {
    let age = match rng.random_range(0..100) {
        0..10 => rng.random_range(30..65),
        10..35 => rng.random_range(65..75),
        35..80 => rng.random_range(75..90),
        _ => rng.random_range(90..100),
    };
    let born = Date::new(today.year() - age, rng.random_range(1..=12), rng.random_range(1..=28));
    let is_female = rng.random_ratio(3, 5);
    let family = pick(rng, &FAMILY);
    let given = pick(rng, if is_female { &FEMALE } else { &MALE });
    let sex = if is_female { v1::Sex::Female } else { v1::Sex::Male };
    v1::Demographics {
        names: vec![
            name(v1::NameScript::Ideographic, family.0, given.0),
            name(v1::NameScript::Syllabic, family.1, given.1),
        ],
        birth_on: born.map(|date| date.to_string()).unwrap_or_default(),
        sex: sex.into(),
        ..v1::Demographics::default()
    }
}

fn name(script: v1::NameScript, family: &str, given: &str) -> v1::HumanName {
    v1::HumanName {
        script: script.into(),
        family: family.to_owned(),
        given: given.to_owned(),
        text: String::new(),
    }
}

/// One of several.
pub(super) fn pick<T: Copy + Default>(rng: &mut Pcg64Mcg, of: &[T]) -> T {
    let index = rng.random_range(0..of.len().max(1));
    of.get(index).copied().unwrap_or_default()
}

/// The moment at which it is `clock` in the region.
pub(super) fn tokyo(clock: DateTime) -> Timestamp {
    Offset::constant(9).to_timestamp(clock).unwrap_or(Timestamp::MAX)
}

/// A clock of the region as events tell it.
pub(super) fn in_words(clock: DateTime) -> String {
    format!("{clock}+09:00")
}
