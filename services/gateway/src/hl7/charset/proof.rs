//! Which character set bytes beyond ASCII have, by what they read as in each.

use super::Charset;

/// The set that bytes beyond ASCII have: what is declared, unless they prove another one.
pub(super) fn by_bytes(bytes: &[u8], known: Option<Charset>, usual: Option<Charset>) -> Charset {
    let fits = |set: &Charset| set.read(bytes).1;
    // Text of another set is hardly ever UTF-8 by accident, and any bytes are Latin-1.
    // Half-width katakana may be both.
    let said = || [known, usual].into_iter().flatten();
    if fits(&Charset::Utf8) && said().all(|set| reads_better(bytes, Charset::Utf8, set)) {
        return Charset::Utf8;
    }
    // Of what is beyond ASCII, that a message is in ASCII says nothing.
    let said = said().filter(|set| *set != Charset::Ascii);
    let sniffed = by_bytes_alone(bytes);
    for said in said {
        let is_disproved =
            sniffed != Charset::Latin1 && fits(&sniffed) && Reading::new(said, bytes).is_nonsense();
        if !is_disproved {
            return said;
        }
    }
    sniffed
}

/// Whether a set that fits reads as more ordinary text than another, if that fits at all.
fn reads_better(bytes: &[u8], set: Charset, other: Charset) -> bool {
    set == other
        || !other.read(bytes).1
        || Reading::new(set, bytes).odd < Reading::new(other, bytes).odd
}

/// The set of bytes of which nobody says anything.
fn by_bytes_alone(bytes: &[u8]) -> Charset {
    let utf8 = Reading::new(Charset::Utf8, bytes);
    let [euc, cp932] = [Charset::EucJp, Charset::Cp932].map(|set| Reading::new(set, bytes));
    // No other set has so many bytes to a character that must fit.
    if utf8.is_whole() || utf8.characters >= 2 * utf8.errors.max(1) {
        return Charset::Utf8;
    }
    if is_western(bytes) {
        return Charset::Latin1;
    }
    match (euc.is_whole(), cp932.is_whole()) {
        // Where both fit, the one that reads as ordinary Japanese.
        (true, true) if euc.odd < cp932.odd => Charset::EucJp,
        (true, false) => Charset::EucJp,
        (_, true) => Charset::Cp932,
        (false, false) if euc.is_nearly_whole() && euc.errors <= cp932.errors => Charset::EucJp,
        (false, false) if cp932.is_nearly_whole() => Charset::Cp932,
        (false, false) => Charset::Latin1,
    }
}

/// Whether each byte beyond ASCII stands alone and beside a letter, and is a letter in Latin-1, as in
/// `Ren\u{e9}`: in Japanese, hardly any character has such bytes alone, and one that were read so
/// would swallow a separator behind it.
fn is_western(bytes: &[u8]) -> bool {
    let at = |at: Option<usize>| at.and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
    let is_letter = |byte: u8| byte >= 0xc0 && !matches!(byte, 0xd7 | 0xf7);
    bytes.iter().enumerate().filter(|(_, byte)| !byte.is_ascii()).all(|(place, byte)| {
        let beside = [at(place.checked_sub(1)), at(place.checked_add(1))];
        is_letter(*byte)
            && beside.iter().all(u8::is_ascii)
            && beside.iter().any(u8::is_ascii_alphabetic)
    })
}

/// How bytes read in a set, by its characters beyond ASCII.
struct Reading {
    characters: usize,
    /// What is no character of the set.
    errors: usize,
    /// Characters that are not what Japanese is written with, or not where they stand.
    odd: usize,
}

impl Reading {
    fn new(set: Charset, bytes: &[u8]) -> Self {
        let (mut reading, mut before) = (Self { characters: 0, errors: 0, odd: 0 }, ' ');
        let text = set.read(bytes).0;
        for c in text.chars() {
            if c == char::REPLACEMENT_CHARACTER {
                reading.errors += 1;
            } else if !c.is_ascii() {
                reading.characters += 1;
                reading.odd += usize::from(is_odd(before, c));
            }
            before = c;
        }
        reading
    }

    fn is_whole(&self) -> bool {
        self.errors == 0
    }

    /// Whether there is so much text that what is none is rather a slip than another set.
    fn is_nearly_whole(&self) -> bool {
        self.characters >= 4 * self.errors.max(1) && self.odd * 4 <= self.characters
    }

    /// Whether much of it is no text of the set. One byte alone proves nothing.
    fn is_nonsense(&self) -> bool {
        self.errors > 1 && 4 * (2 * self.errors + self.odd) > self.characters + self.errors
    }
}

/// Whether a character is not what Japanese is written with, or does not stand where it may.
fn is_odd(before: char, c: char) -> bool {
    let is_half_width = |c: char| matches!(c, '\u{ff61}'..='\u{ff9f}');
    match c {
        // Half-width katakana stand among their like, and marks of sound behind what they mark.
        'ﾞ' => !matches!(before, 'ｳ' | 'ｶ'..='ﾄ' | 'ﾊ'..='ﾎ'),
        'ﾟ' => !matches!(before, 'ﾊ'..='ﾎ'),
        'ｧ'..='ｰ' | 'ﾝ' => !is_half_width(before),
        'ｦ'..='ﾜ' => !before.is_ascii() && !is_half_width(before),
        '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ff01}'..='\u{ff60}' => {
            is_half_width(before)
        }
        _ => true,
    }
}
