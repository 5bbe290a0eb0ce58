//! Texts folded to be compared, however they were typed: without spaces, with hiragana as katakana,
//! half-width kana and full-width letters and digits as they are usually typed, and each kanji as it
//! is usually written. What is shown is always written as it was.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Kanji that are written in several ways: the usual one, and the others behind it.
const VARIANTS: &str = include_str!("folding/variants.txt");

/// How each of the others is usually written.
static USUAL: LazyLock<BTreeMap<char, char>> = LazyLock::new(|| {
    let mut usual = BTreeMap::new();
    for line in VARIANTS.lines().filter(|line| !line.starts_with('#')) {
        let mut kanji = line.chars();
        let Some(first) = kanji.next() else { continue };
        usual.extend(kanji.map(|other| (other, first)));
    }
    usual
});

/// The text as it is compared.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // The marks of voiced sounds follow half-width kana.
            'ﾞ' | '\u{3099}' => voiced(&mut folded, 1),
            'ﾟ' | '\u{309a}' => voiced(&mut folded, 2),
            c if c.is_whitespace() || matches!(c, '・' | '･' | ',' | '.' | '，' | '．') => {}
            // Selectors of how a kanji is drawn.
            '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => {}
            'ぁ'..='ゖ' | 'ゝ' | 'ゞ' => folded.extend(char::from_u32(u32::from(c) + 0x60)),
            'ｦ'..='ﾝ' => folded.push(full_width(c)),
            '！'..='～' => folded.extend(char::from_u32(u32::from(c) - 0xfee0)),
            c => folded.push(USUAL.get(&c).copied().unwrap_or(c)),
        }
    }
    folded.to_uppercase()
}

/// A name as it is compared: small kana as large ones, ヴ and kana that are heard as others as these,
/// marks of iteration as what they repeat, and a long vowel the same however it is written.
pub(crate) fn heard(name: &str) -> String {
    sounds(&repeated(&fold(name)))
}

/// A name with what its marks of iteration repeat: みすゞ is みすず, 佐々木 is 佐佐木.
fn repeated(name: &str) -> String {
    let mut whole = String::with_capacity(name.len());
    for c in name.chars() {
        let last = whole.chars().next_back();
        match (c, last) {
            ('ヽ', Some(last)) => whole.push(unvoiced(last)),
            ('ヾ', Some(last)) => {
                whole.push(unvoiced(last));
                voiced(&mut whole, 1);
            }
            ('々' | '〻', Some(last)) => whole.push(last),
            (c, _) => whole.push(c),
        }
    }
    whole
}

/// The kana to which a mark of a voiced sound was added, if that is one.
fn unvoiced(kana: char) -> char {
    const VOICED: &str = "ガギグゲゴザジズゼゾダヂヅデドバビブベボ";
    const PLAIN: &str = "カキクケコサシスセソタチツテトハヒフヘホ";
    let mut pairs = VOICED.chars().zip(PLAIN.chars());
    pairs.find(|(voiced, _)| *voiced == kana).map_or(kana, |(_, plain)| plain)
}

/// A kana that is heard as another one, as that one.
fn alike(kana: char) -> char {
    match kana {
        'ヂ' => 'ジ',
        'ヅ' => 'ズ',
        'ヰ' => 'イ',
        'ヱ' => 'エ',
        'ヲ' => 'オ',
        'ヷ' => 'バ',
        'ヸ' => 'ビ',
        'ヹ' => 'ベ',
        'ヺ' => 'ボ',
        _ => kana,
    }
}

/// Katakana by how they sound.
fn sounds(name: &str) -> String {
    let mut sounds = String::new();
    for c in name.chars().map(large).map(alike) {
        let last = sounds.chars().next_back();
        let heard = match (last, c) {
            (Some('ヴ'), 'ア' | 'イ' | 'エ' | 'オ') => {
                sounds.pop();
                b_sound(c)
            }
            // Lines of other kinds stand for a long vowel, behind kana.
            (Some('ァ'..='ー'), '-' | '\u{2010}' | '\u{2212}') => 'ー',
            (Some(last), c) if lengthens(c, last) => 'ー',
            (_, c) => c,
        };
        sounds.push(heard);
    }
    sounds.replace('ヴ', "ブ")
}

/// A small kana as a large one.
fn large(c: char) -> char {
    const SMALL: &str = "ァアィイゥウェエォオッツャヤュユョヨヮワヵカヶケ";
    let mut pairs = SMALL.chars().step_by(2).zip(SMALL.chars().skip(1).step_by(2));
    pairs.find(|(small, _)| *small == c).map_or(c, |(_, large)| large)
}

fn b_sound(vowel: char) -> char {
    match vowel {
        'ア' => 'バ',
        'イ' => 'ビ',
        'エ' => 'ベ',
        _ => 'ボ',
    }
}

/// Whether a vowel only makes the sound before it longer: サトウ is heard as サトー.
fn lengthens(vowel: char, before: char) -> bool {
    const ROWS: [(&str, &str); 5] = [
        ("ア", "アカガサザタダナハバパマヤラワ"),
        ("イ", "イキギシジチヂニヒビピミリ"),
        ("ウ", "ウクグスズツヅヌフブプムユルヴ"),
        ("エイ", "エケゲセゼテデネヘベペメレ"),
        ("オウ", "オコゴソゾトドノホボポモヨロヲ"),
    ];
    ROWS.iter().any(|(vowels, row)| vowels.contains(vowel) && row.contains(before))
}

/// Makes the last sound of a text a voiced one: カ, ガ and ハ, バ, パ follow each other.
fn voiced(text: &mut String, by: u32) {
    if let Some(last) = text.pop() {
        text.extend(match last {
            'ウ' => Some('ヴ'),
            // ワ to ヲ have theirs elsewhere.
            'ワ'..='ヲ' => char::from_u32(u32::from(last) + 8),
            last => char::from_u32(u32::from(last) + by),
        });
    }
}

fn full_width(c: char) -> char {
    const FULL: &str = "ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン";
    let place = u32::from(c) - u32::from('ｦ');
    FULL.chars().nth(usize::try_from(place).unwrap_or(usize::MAX)).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_of_writing_a_name_make_no_difference() {
        assert_eq!(fold("髙橋 ハナ"), fold("高橋　はな"));
        assert_eq!(fold("山﨑"), fold("山崎"));
        assert_eq!(fold("渡邊"), fold("渡辺"));
        assert_eq!(fold("ﾀｶﾊｼ ﾊﾅ"), fold("たかはし はな"));
        assert_eq!(fold("ｶﾞｯﾎﾟ"), "ガッポ");
        assert_ne!(fold("高橋"), fold("高嶋"));
    }

    #[test]
    fn full_width_letters_digits_and_signs_are_as_others() {
        assert_eq!(fold("ＮＰＯ ｻﾛﾝ１"), fold("npoサロン1"));
        assert_eq!(fold("３１７－００６５"), "317-0065");
        assert_eq!(fold("Ａ．Ｂ，Ｃ"), fold("a.b,c"));
    }

    #[test]
    fn ways_of_writing_a_sound_make_no_difference() {
        for (one, other) in [
            ("ジョージ", "ジヨージ"),
            ("ジョージ", "ジョウジ"),
            ("ｼﾞﾖ-ｼﾞ", "じょーじ"),
            ("サトー　ユーキ", "さとう ゆうき"),
            ("オーノ", "オオノ"),
            ("ケイコ", "ケーコ"),
            ("ヴァイオレット", "バイオレット"),
            ("ヴィクトリア", "ビクトリア"),
            ("イヴ", "イブ"),
            ("ＳＭＩＴＨ　Ａｎｎｅ", "Smith Anne"),
            ("龍ヶ崎", "竜ケ崎"),
            ("ハットリ", "ハツトリ"),
            ("ミヅホ", "ミズホ"),
            ("チヅル", "ちずる"),
            ("フヂタ", "フジタ"),
            ("スヱ", "スエ"),
            ("ヰネ", "イネ"),
            ("カヲル", "かおる"),
            ("ヷイオレット", "ヴァイオレット"),
            ("ヸクトリア", "ビクトリア"),
            ("ヹラ", "ベラ"),
            ("ヺルガ", "ボルガ"),
            ("ワ\u{3099}ン", "ヷン"),
            ("みすゞ", "ミスズ"),
            ("いすヾ", "イスズ"),
            ("みすゝ", "ミスス"),
            ("ヾ", "ヾ"),
            ("佐々木", "佐佐木"),
            ("ﾐﾂﾞﾎ", "みづほ"),
        ] {
            assert_eq!(heard(one), heard(other), "{one} {other}");
        }
        for (one, other) in
            [("オオノ", "オノ"), ("ユウキ", "ユキ"), ("ハナ", "パナ"), ("みすゞ", "みすす")]
        {
            assert_ne!(heard(one), heard(other), "{one} {other}");
        }
    }

    #[test]
    fn each_kanji_has_one_usual_form() {
        let mut seen = std::collections::BTreeSet::new();
        for line in VARIANTS.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.chars().count() > 1, "{line}");
            assert!(line.chars().all(|c| seen.insert(c)), "{line}");
        }
    }
}
