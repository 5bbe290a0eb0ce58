//! Texts of other systems, in the form that the schema takes.

/// A foreign id in the form that ids have here.
pub(crate) fn code(text: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '-' }
    };
    text.chars().take(64).map(allowed).collect()
}

/// At most so many code points, to be read and not obeyed: without control characters. All that
/// is taken are names, codes and addresses, which have one line; line ends and tabs become
/// spaces.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let line = text.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c });
    line.filter(|c| !c.is_control()).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
