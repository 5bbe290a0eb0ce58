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
            'ぁ'..='ゖ' => folded.extend(char::from_u32(u32::from(c) + 0x60)),
            'ｦ'..='ﾝ' => folded.push(full_width(c)),
            '！'..='～' => folded.extend(char::from_u32(u32::from(c) - 0xfee0)),
            c => folded.push(USUAL.get(&c).copied().unwrap_or(c)),
        }
    }
    folded.to_uppercase()
}

/// Makes the last sound of a text a voiced one: カ, ガ and ハ, バ, パ follow each other.
fn voiced(text: &mut String, by: u32) {
    if let Some(last) = text.pop() {
        let is_wu = last == 'ウ';
        text.extend(if is_wu { Some('ヴ') } else { char::from_u32(u32::from(last) + by) });
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
    fn each_kanji_has_one_usual_form() {
        let mut seen = std::collections::BTreeSet::new();
        for line in VARIANTS.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.chars().count() > 1, "{line}");
            assert!(line.chars().all(|c| seen.insert(c)), "{line}");
        }
    }
}
