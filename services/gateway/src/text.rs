//! Texts of other systems, in the form that the schema takes.

use tsunagi_proto::v1;

use tsunagi_domain::id::is_code;
use uuid::Uuid;

/// The space in which the marks of shortened texts are unique. Never changes: with other marks,
/// facilities and numbers would be others.
const TEXT: Uuid = Uuid::from_u128(0x7a0e_94c3_51d8_4c62_8b1f_2e60_f3a9_c75d);

/// A foreign id in the form that ids have here. What has that form stays as it is; of anything
/// else, what can be written is followed by a mark of the exact text, so that two ids never
/// become one: numbers of `東病院` and of `西病院` are not one patient's.
pub(crate) fn code(text: &str) -> String {
    if text.is_empty() || is_code(text) {
        return text.to_owned();
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    let words = text.split(|c| !is_allowed(c)).filter(|word| !word.is_empty());
    marked(&words.collect::<Vec<_>>().join("-"), text, 64)
}

/// A text by which things are told apart, of at most so many code points: one that is longer or
/// has control characters ends with a mark of the exact text instead.
pub(crate) fn distinct(text: &str, max: usize) -> String {
    let taken = cut(text, max);
    if taken == text || taken.is_empty() { taken } else { marked(&taken, text, max) }
}

/// What can be shown of a text, and a mark of all of it.
fn marked(shown: &str, text: &str, max: usize) -> String {
    // 48 bits: those before the one that says how it was made.
    let mark: String =
        Uuid::new_v5(&TEXT, text.as_bytes()).simple().to_string().chars().take(12).collect();
    let shown: String = shown.chars().take(max.saturating_sub(mark.len() + 1)).collect();
    if shown.is_empty() { mark } else { format!("{shown}-{mark}") }
}

/// At most so many code points, to be read and not obeyed: without control characters. All that
/// is taken are names, codes and addresses, which have one line; line ends and tabs become
/// spaces.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let line = text.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c });
    line.filter(|c| !c.is_control()).take(max).collect()
}

/// The script that a name is written in, where nothing says so.
pub(crate) fn script(name: &str) -> v1::NameScript {
    let is_kana = |c: char| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9f}' | ' ');
    let is_kanji =
        |c: char| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{3005}');
    if name.is_ascii() {
        v1::NameScript::Alphabetic
    } else if name.chars().any(is_kanji) {
        v1::NameScript::Ideographic
    } else if name.chars().all(|c| is_kana(c) || c == '\u{3000}') {
        v1::NameScript::Syllabic
    } else {
        v1::NameScript::Unspecified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_foreign_ids_never_become_one() {
        let long = "x".repeat(64);
        let ids = ["東病院", "西病院", "---", "St Mary", "St-Mary", "St  Mary", "St Märy", "東"];
        let mut ids: Vec<String> = ids.map(str::to_owned).to_vec();
        ids.extend([format!("{long}1"), format!("{long}2"), long.clone()]);
        let made: Vec<String> = ids.iter().map(|id| code(id)).collect();
        for (at, one) in made.iter().enumerate() {
            assert!(is_code(one), "{one}");
            assert_eq!(made.iter().position(|other| other == one), Some(at), "{one}");
        }
        assert_eq!(code("0810112345"), "0810112345");
        assert_eq!((code(&long), code("")), (long, String::new()));
        // Golden: with other marks, every patient of such a facility would be another.
        assert_eq!(code("つなぎ St. Mary"), "St.-Mary-bcffb7aa24b0");
        assert_eq!(code("東病院"), "ab20d963a17e");
    }

    #[test]
    fn what_tells_things_apart_is_not_cut_to_the_same() {
        let long = "字".repeat(200);
        assert_eq!(distinct(&long, 200), long);
        let [one, other] = ["1", "2"].map(|end| distinct(&format!("{long}{end}"), 200));
        assert_ne!(one, other);
        assert_eq!((one.chars().count(), other.chars().count()), (200, 200));
        assert_ne!(distinct("a\tb", 200), distinct("a b", 200));
    }

    #[test]
    fn texts_are_to_be_read_and_not_obeyed() {
        assert_eq!(cut("\u{1b}[31m赤\0", 10), "[31m赤");
        assert_eq!(cut("つなぎ市\r\n本町\t1-2", 100), "つなぎ市 本町 1-2");
    }

    #[test]
    fn what_is_left_out_does_not_count() {
        assert_eq!(cut("\u{7f}\u{9b}四文字だ", 3), "四文字");
    }
}
