//! My Number (マイナンバー, 個人番号): never stored, so refused wherever it turns up.
//!
//! People write it in many ways, and one number of twelve digits in eleven could be one. So it is
//! known by its digits, whatever script they are in, and by how they are grouped: twelve together,
//! in groups of four, three or one, or eight and four. Dates, times and readings are grouped otherwise.

/// How a My Number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// Twelve digits in a row, or eight and four: a number that a system gave out may look like that
    /// by chance.
    InOnePiece,
    /// In groups, as a person writes it.
    InGroups,
}

/// Whether `text` has a My Number in it.
pub fn is_in(text: &str) -> bool {
    find(text).is_some()
}

/// The first My Number in `text`: 12 digits of which the last is the right check digit.
pub fn find(text: &str) -> Option<Writing> {
    if text.len() < LENGTH {
        return None;
    }
    let scripts: [fn(char) -> Option<u32>; 2] = [digit, kanji_digit];
    scripts.into_iter().find_map(|digit| {
        // Most texts have no twelve digits.
        text.chars().filter_map(digit).nth(LENGTH - 1)?;
        let shown: Vec<char> = text.chars().filter(|c| !is_invisible(*c)).collect();
        let found = find_in(shown, digit);
        found.or_else(|| find_in(without_soft_breaks(text)?, digit))
    })
}

fn find_in(mut chars: Vec<char>, digit: fn(char) -> Option<u32>) -> Option<Writing> {
    blot_uuids_out(&mut chars);
    (0..chars.len()).find_map(|start| starts_at(&chars, start, digit))
}

/// The text with its lines joined where they were broken beside a mark that nobody sees: what a
/// page broke there is one number. None if none was.
fn without_soft_breaks(text: &str) -> Option<Vec<char>> {
    let is_break = |c: &char| matches!(c, '\n' | '\r');
    let chars: Vec<char> = text.chars().collect();
    let runs = chars.chunk_by(|one, next| {
        let may_be_dropped = |c: &char| is_break(c) || is_invisible(*c);
        may_be_dropped(one) == may_be_dropped(next)
    });
    let is_soft = |run: &&[char]| run.iter().any(is_break) && run.iter().any(|c| is_invisible(*c));
    let mut is_broken = false;
    let mut joined = Vec::with_capacity(chars.len());
    for run in runs {
        if is_soft(&run) {
            is_broken = true;
        } else {
            joined.extend(run.iter().filter(|c| !is_invisible(**c)));
        }
    }
    is_broken.then_some(joined)
}

const LENGTH: usize = 12;
/// Between two groups of digits: `1234 - 5678`.
const SEPARATORS_MAX: usize = 3;

/// The digits from one place on, and how they are grouped.
struct Groups<'a> {
    digits: [u32; LENGTH],
    sizes: Vec<usize>,
    separators: Vec<&'a [char]>,
}

fn starts_at(chars: &[char], start: usize, digit: fn(char) -> Option<u32>) -> Option<Writing> {
    let (before, rest) = chars.split_at_checked(start)?;
    digit(*rest.first()?)?;
    // A part of something longer is something else: of a number, a word, a version.
    if is_joined(before, digit) || is_fraction(before) {
        return None;
    }
    let (groups, after) = Groups::read(rest, digit)?;
    let goes_on = after.first().is_some_and(|c| goes_with_digits(*c) || digit(*c).is_some());
    if goes_on || !is_right(groups.digits) {
        return None;
    }
    match groups.sizes.as_slice() {
        [LENGTH] => (!is_timestamp(&groups.digits)).then_some(Writing::InOnePiece),
        [4, 4, 4] => (!groups.are_years()).then_some(Writing::InGroups),
        [8, 4] | [4, 8] => {
            let alone = groups.are_alike(before, after, digit) && !groups.have_a_day();
            alone.then_some(Writing::InOnePiece)
        }
        sizes if sizes == [3; 4] || sizes == [1; LENGTH] => {
            groups.are_alike(before, after, digit).then_some(Writing::InGroups)
        }
        _ => None,
    }
}

impl<'a> Groups<'a> {
    /// Twelve digits, and what stands behind them.
    fn read(rest: &'a [char], digit: fn(char) -> Option<u32>) -> Option<(Self, &'a [char])> {
        let mut groups = Self { digits: [0; LENGTH], sizes: vec![0], separators: Vec::new() };
        let mut rest = rest;
        for place in &mut groups.digits {
            let until_digit = rest.iter().position(|c| !separates(*c))?;
            let (separators, behind) = rest.split_at_checked(until_digit)?;
            if separators.len() > SEPARATORS_MAX {
                return None;
            }
            if !separators.is_empty() {
                groups.separators.push(separators);
                groups.sizes.push(0);
            }
            let (first, behind) = behind.split_first()?;
            *place = digit(*first)?;
            *groups.sizes.last_mut()? += 1;
            rest = behind;
        }
        Some((groups, rest))
    }

    fn are_separated_alike(&self) -> bool {
        self.separators.windows(2).all(|pair| matches!(pair, [one, other] if one == other))
    }

    /// Whether the groups stand by themselves, and are no list of readings or scores.
    fn are_alike(&self, before: &[char], after: &[char], digit: fn(char) -> Option<u32>) -> bool {
        let Some(between) = self.separators.first() else { return false };
        let lists = |c: &char| matches!(c, ',' | '，' | '、' | '､' | '/' | '／' | ';' | ':');
        let is_digit = |c: Option<&char>| c.copied().and_then(digit).is_some();
        let follows = after.strip_prefix(*between).is_some_and(|rest| is_digit(rest.first()));
        let precedes = before.strip_suffix(*between).is_some_and(|rest| is_digit(rest.last()));
        let is_list = between.iter().any(lists);
        self.are_separated_alike() && !is_list && !follows && !precedes
    }

    /// `20260501 1200`.
    fn have_a_day(&self) -> bool {
        let starts = if self.sizes == [8, 4] { 0 } else { 4 };
        self.digits.get(starts..starts + 8).is_some_and(is_day)
    }

    /// `2024/2025/2026`.
    fn are_years(&self) -> bool {
        self.digits.chunks(4).all(|group| matches!(group, [1, 9, ..] | [2, 0, ..]))
    }
}

/// Whether it reads as a minute: `202604301200`. Of the numbers of people, one in ten thousand
/// does.
fn is_timestamp(digits: &[u32; LENGTH]) -> bool {
    let [day @ .., h1, h2, min, _] = digits;
    is_day(day) && h1 * 10 + h2 < 24 && *min < 6
}

/// Whether it reads as a day: `20260430`.
fn is_day(digits: &[u32]) -> bool {
    let [y1, y2, _, _, m1, m2, d1, d2] = digits else { return false };
    let (month, day) = (m1 * 10 + m2, d1 * 10 + d2);
    matches!((y1, y2), (1, 9) | (2, 0)) && (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// Whatever is no letter and no number, and what looks like a hyphen.
fn separates(c: char) -> bool {
    !c.is_alphanumeric() || is_blank_or_hyphen(c)
}

fn is_blank_or_hyphen(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '－' | 'ー' | 'ｰ')
}

/// What nobody sees: soft hyphens, blanks without width, marks of direction and of variants.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{20e3}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
    )
}

/// Whether what stands before belongs to the digits. `No` and `ID` do not; one letter, or a few
/// that may be hexadecimal digits, do.
fn is_joined(before: &[char], digit: fn(char) -> Option<u32>) -> bool {
    let Some(last) = before.last() else { return false };
    if digit(*last).is_some() {
        return true;
    }
    let word = before.iter().rev().take_while(|c| goes_with_digits(**c));
    let word: Vec<char> = word.copied().collect();
    let is_word = word.len() > 1
        && word.iter().all(|c| c.is_alphabetic())
        && !word.iter().all(char::is_ascii_hexdigit);
    !word.is_empty() && !is_word
}

/// Letters and digits, of full width too. Kana and kanji stand beside a number without a space.
fn goes_with_digits(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ')
}

/// The digit that a character is, in whatever script but kanji.
fn digit(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    let of = |zeros: &[u32]| {
        let values = zeros.iter().filter_map(|zero| u32::from(c).checked_sub(*zero));
        values.into_iter().find(|value| *value < 10)
    };
    let without_zero = |ones: &[u32]| {
        let values = ones.iter().filter_map(|one| u32::from(c).checked_sub(*one));
        values.into_iter().find(|value| *value < 9).map(|value| value + 1)
    };
    match c {
        '⓪' | '⓿' | '🄋' | '🄌' => Some(0),
        '¹' => Some(1),
        '²' | '³' => u32::from(c).checked_sub(0xb0),
        _ => of(&ZEROS).or_else(|| without_zero(&ONES)),
    }
}

/// The zeros of the scripts of Unicode whose digits follow one another, full width first.
const ZEROS: [u32; 29] = [
    0xff10, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x17e0, 0x1810, 0x1946, 0x2070, 0x2080, 0xa620, 0x1d7ce,
    0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6,
];
/// The ones of digits in circles, in parentheses and with a full stop.
const ONES: [u32; 7] = [0x2460, 0x2474, 0x2488, 0x24f5, 0x2776, 0x2780, 0x278a];

fn kanji_digit(c: char) -> Option<u32> {
    const DIGITS: [&str; 10] = ["〇零", "一壱", "二弐", "三参", "四", "五", "六", "七", "八", "九"];
    (0..).zip(DIGITS).find(|(_, of)| of.contains(c)).map(|(value, _)| value)
}

/// Whether what stands before is a number and a point: `1.2.392.`
fn is_fraction(before: &[char]) -> bool {
    matches!(before, [.., number, '.'] if number.is_ascii_digit())
}

/// Whether the last digit is the check digit of the others.
fn is_right(digits: [u32; LENGTH]) -> bool {
    let [others @ .., check] = digits;
    let weights = [6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2];
    let sum: u32 = others.iter().zip(weights).map(|(digit, weight)| digit * weight).sum();
    let expected = match sum % 11 {
        0 | 1 => 0,
        remainder => 11 - remainder,
    };
    check == expected
}

/// Makes letters of all UUIDs: their groups of digits are no numbers.
fn blot_uuids_out(chars: &mut [char]) {
    const UUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    let is_uuid = |window: &[char]| {
        window.iter().zip(UUID.chars()).all(|(c, form)| match form {
            '-' => *c == '-',
            _ => c.is_ascii_hexdigit(),
        })
    };
    for start in 0..chars.len() {
        if let Some(window) = chars.get_mut(start..start + UUID.len())
            && is_uuid(window)
        {
            window.fill('x');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_my_number_is_found_however_it_is_written() {
        for text in [
            "123456789018",
            "1234 5678 9018",
            "1234-5678-9018",
            "１２３４５６７８９０１８",
            "１２３４－５６７８－９０１８",
            "個人番号: 123456789018。",
            "電話 03-1234-5678、123456789018",
            "個人番号123456789018",
            "個人番号は１２３４５６７８９０１８です",
            "1234−5678−9018",
            "1234 - 5678 - 9018",
            "1234\t5678\n9018",
            "1234\u{a0}5678\u{a0}9018",
            "No123456789018",
            "MyNumber:123456789018",
            "1234.5678.9018",
            "1234・5678・9018",
            "123 456 789 018",
            "123-456-789-018",
            "1234/5678/9018",
            "1234,5678,9018",
            "1234_5678_9018",
            "1-2-3-4-5-6-7-8-9-0-1-8",
            "1 2 3 4 5 6 7 8 9 0 1 8",
            "1234\u{200b}5678\u{200b}9018",
            "123\u{ad}456789018",
            "(1234)(5678)(9018)",
            "（1234）5678（9018）",
            "①②③④⑤⑥⑦⑧⑨⓪①⑧",
            "١٢٣٤٥٦٧٨٩٠١٨",
            "一二三四五六七八九〇一八",
            "一二三四 五六七八 九〇一八",
            "𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗𝟎𝟏𝟖",
            "12345678 9018",
            "1234-56789018",
            "１２３４５６７８　９０１８",
            "番号は12345678-9018です",
            "123456\n\u{200b}789018",
            "1234567\u{200b}\r\n89018",
            "123456789018\n\u{200b}5",
            "12345678\n\u{200b}9018",
        ] {
            assert!(is_in(text), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_not_taken_for_one() {
        for text in [
            "",
            "123456789019",
            "1234567890123",
            "0123456789018",
            "a123456789018",
            "Ａ１２３４５６７８９０１８",
            "１２３４５６７８９０１８０",
            "12-3456-789018",
            "03-1234-5678",
            "0198c9a4-7e3b-7c10-9d4e-123456789018",
            "feed0000-0000-0000-0000-000100000002",
            "Encounter/12345678-9018-1234-5678-90180000abcd",
            "urn:oid:1.2.392.123456789018",
            "2026-05-01T20:00:00+09:00",
            "A123456789018",
            "feed123456789018",
            "12345678, 9018",
            "12345678/9018",
            "12345678-9018-1",
            "1-12345678-9018",
            "123456\n789018",
            "12345\u{200b}\n6\n789018",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }

    #[test]
    fn one_number_of_eleven_has_the_check_digit() {
        for others in ["12345678901", "98765432109", "00000000001"] {
            let right = (0..10).filter(|check| is_in(&format!("{others}{check}"))).count();
            assert_eq!(right, 1, "{others}");
        }
    }

    #[test]
    fn times_readings_and_scores_are_grouped_otherwise() {
        // Whatever the check digit would be.
        for last in 0..10 {
            for text in [
                format!("2026-05-0{last} 12:00"),
                format!("2026/05/01 12:0{last}"),
                format!("20260501120{last}"),
                format!("120/80 72 36.5 9{last}"),
                format!("12:30 14:30 16:3{last}"),
                format!("36 37 36 38 37 3{last}"),
                format!("120, 118, 125, 13{last}"),
                format!("3,3,2,1,3,2,1,0,3,2,1,{last}"),
                format!("2024/2025/202{last}"),
                format!("1 2 3 4 5 6 7 8 9 0 1 2 {last}"),
                format!("03-1234-567{last} 04"),
                format!("20260501 123{last}"),
                format!("20260501-000{last}"),
                format!("{last}200 20260501"),
                format!("0{last}00-20260501"),
            ] {
                assert!(!is_in(&text), "{text}");
            }
        }
    }

    #[test]
    fn what_a_person_writes_in_groups_is_told_from_what_a_system_counts() {
        assert_eq!(find("123456789018"), Some(Writing::InOnePiece));
        assert_eq!(find("1234-5678-9018"), Some(Writing::InGroups));
        assert_eq!(find("12345678-9018"), Some(Writing::InOnePiece), "a number and its branch");
    }
}
