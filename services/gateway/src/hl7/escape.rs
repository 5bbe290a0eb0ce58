//! Escape sequences, both ways. What is no sequence that is known stays as it was written.

use std::borrow::Cow;

use super::delimiters::Delimiters;

/// The characters that `text` stands for.
pub fn unescape<'a>(text: &'a str, delimiters: &Delimiters) -> Cow<'a, str> {
    let escape = delimiters.escape;
    if !text.contains(escape) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(escape) {
        plain.push_str(before);
        let meant = behind
            .split_once(escape)
            .and_then(|(sequence, tail)| Some((meaning(sequence, delimiters)?, tail)));
        if let Some((meant, tail)) = meant {
            plain.push_str(&meant);
            rest = tail;
        } else {
            plain.push(escape);
            rest = behind;
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// What stands for the characters of `text` in a message.
pub fn escape<'a>(text: &'a str, delimiters: &Delimiters) -> Cow<'a, str> {
    let is_line_end = |c: char| matches!(c, '\r' | '\n');
    if !text.contains(|c| delimiters.divides(c) || is_line_end(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        let name = match c {
            '\r' => "X0D",
            '\n' => "X0A",
            c if c == delimiters.field => "F",
            c if c == delimiters.component => "S",
            c if c == delimiters.subcomponent => "T",
            c if c == delimiters.repetition => "R",
            c if c == delimiters.escape => "E",
            c => {
                escaped.push(c);
                continue;
            }
        };
        escaped.push(delimiters.escape);
        escaped.push_str(name);
        escaped.push(delimiters.escape);
    }
    Cow::Owned(escaped)
}

fn meaning(sequence: &str, delimiters: &Delimiters) -> Option<Cow<'static, str>> {
    let one = |c: char| Some(Cow::Owned(c.to_string()));
    match sequence {
        "F" => one(delimiters.field),
        "S" => one(delimiters.component),
        "T" => one(delimiters.subcomponent),
        "R" => one(delimiters.repetition),
        "E" => one(delimiters.escape),
        // Highlighting begins and ends.
        "H" | "N" => Some(Cow::Borrowed("")),
        ".br" | ".sp" | ".ce" => Some(Cow::Borrowed("\n")),
        _ => sequence.strip_prefix('X').and_then(hexadecimal).map(Cow::Owned),
    }
}

/// Bytes told by their numbers. Their character set is not said: UTF-8 if they can be, or else
/// one character each.
fn hexadecimal(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let all_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    let bytes = bytes.filter(|_| all_digits)?;
    let text = String::from_utf8(bytes);
    Some(text.unwrap_or_else(|error| error.as_bytes().iter().copied().map(char::from).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> String {
        unescape(text, &Delimiters::default()).into_owned()
    }

    #[test]
    fn each_sequence_stands_for_its_character() {
        assert_eq!(plain(r"a\F\b\S\c\T\d\R\e\E\f"), r"a|b^c&d~e\f");
        assert_eq!(plain(r"\H\bold\N\ line\.br\next"), "bold line\nnext");
        assert_eq!(plain(r"\X0D0A\|\XE9AB99\|\XE9\"), "\r\n|髙|é");
        assert_eq!(plain(r"\E\F\E\"), r"\F\", "what was escaped is not read again");
    }

    #[test]
    fn what_is_no_sequence_stays_as_it_is() {
        for odd in [r"C:\dir", r"\", r"\\", r"\Xzz\", r"\X0\", r"\Z1\", r"a\M2442\b", r"\X+1\"] {
            assert_eq!(plain(odd), odd);
        }
        assert_eq!(plain(r"5\' \T\ more"), r"5\' & more");
        assert!(matches!(unescape("高橋", &Delimiters::default()), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(text in "\\PC{0,40}", signs in "[|^~&\\\\\r\n#@$XFE]{0,20}") {
            let usual = Delimiters::default();
            let custom = Delimiters::of_header(r"MSH#$%*@#").unwrap();
            for delimiters in [usual, custom] {
                let both = format!("{text}{signs}{text}");
                let escaped = escape(&both, &delimiters).into_owned();
                prop_assert_eq!(&*unescape(&escaped, &delimiters), &*both);
                let signs = |c: char| delimiters.divides(c) && c != delimiters.escape;
                prop_assert!(!escaped.contains(signs));
                prop_assert!(!escaped.contains(['\r', '\n']));
            }
        }
    }
}
