//! My Number (マイナンバー, 個人番号): never stored, so refused wherever it turns up.

/// Whether `text` has a My Number in it: 12 digits of which the last is the right check digit,
/// in one piece or in three groups of four.
pub fn is_in(text: &str) -> bool {
    // Most texts have no twelve digits, full-width ones included.
    if text.len() < LENGTH || text.chars().filter_map(digit).nth(LENGTH - 1).is_none() {
        return false;
    }
    let mut chars: Vec<char> = text.chars().collect();
    blot_uuids_out(&mut chars);
    (0..chars.len()).any(|start| starts_at(&chars, start))
}

const LENGTH: usize = 12;
/// Between two groups of digits.
const SEPARATORS_MAX: usize = 3;

/// Blanks, line ends and all that looks like a hyphen.
fn separates(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '－' | 'ー' | 'ｰ')
}

fn starts_at(chars: &[char], start: usize) -> bool {
    let Some((before, rest)) = chars.split_at_checked(start) else { return false };
    // A part of something longer is something else: of a number, a word, a version.
    if before.last().copied().is_some_and(goes_with_digits) || is_fraction(before) {
        return false;
    }
    let mut digits = [0_u32; LENGTH];
    let mut rest = rest.iter().peekable();
    for (found, place) in digits.iter_mut().enumerate() {
        if found > 0 && found % 4 == 0 {
            // `1234 - 5678`
            for _ in 0..SEPARATORS_MAX {
                rest.next_if(|c| separates(**c));
            }
        }
        let Some(value) = rest.next().copied().and_then(digit) else { return false };
        *place = value;
    }
    let goes_on = rest.next().copied().is_some_and(goes_with_digits);
    !goes_on && is_right(digits)
}

/// Letters and digits, of full width too. Kana and kanji stand beside a number without a space.
fn goes_with_digits(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ')
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

fn digit(c: char) -> Option<u32> {
    const FULL_WIDTH_ZERO: u32 = 0xff10;
    c.to_digit(10).or_else(|| u32::from(c).checked_sub(FULL_WIDTH_ZERO).filter(|value| *value < 10))
}

/// Whether what stands before is a number and a point: `1.2.392.`
fn is_fraction(before: &[char]) -> bool {
    matches!(before, [.., number, '.'] if number.is_ascii_digit())
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
}
