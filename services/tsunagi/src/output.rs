//! What the commands print.
//!
//! What others wrote never decides how many lines there are, nor in which order a line reads.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line, and one line only. Whoever reads our output may stop doing so: that is no
/// error of ours.
pub(crate) fn say(line: impl Display) {
    let _closed = writeln!(std::io::stdout(), "{}", one_line(&line.to_string()));
}

/// Prints an empty line.
pub(crate) fn leave_a_line() {
    say("");
}

/// Prints an error with its causes, in one line.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = format!("tsunagi: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    let _closed = writeln!(std::io::stderr(), "{}", one_line(&text));
}

/// A text without what would end its line, turn its direction, or be obeyed by a terminal.
fn one_line(text: &str) -> String {
    text.replace("\r\n", " ").replace(ends_line, " ").replace(is_command, "\u{fffd}")
}

fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Control characters, and those that make a text read in another order than it is written.
fn is_command(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}');
    c.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_begin_a_line() {
        for end in ["\n", "\r\n", "\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}"] {
            assert_eq!(one_line(&format!("4E{end}  10:00  退院")), "4E   10:00  退院", "{end:?}");
        }
    }

    #[test]
    fn a_value_cannot_turn_the_line_or_command_the_terminal() {
        let turns = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}";
        for c in turns.chars().chain("\u{1b}\u{7}\0\u{9b}".chars()) {
            assert_eq!(one_line(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
    }

    #[test]
    fn names_stay_as_they_are_written() {
        for name in ["髙橋 ハナ", "葛\u{e0100}城", "𠮷野", "José"] {
            assert_eq!(one_line(name), name);
        }
    }
}
