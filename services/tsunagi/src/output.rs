//! What the commands print.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line. Whoever reads our output may stop doing so: that is no error of ours.
pub(crate) fn say(line: impl Display) {
    // What others wrote may hold sequences that a terminal would obey.
    let is_command = |c: char| c.is_control() && c != '\n';
    let line = line.to_string().replace(is_command, "\u{fffd}");
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// Prints an error with its causes.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = format!("tsunagi: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    let _closed = writeln!(std::io::stderr(), "{text}");
}
