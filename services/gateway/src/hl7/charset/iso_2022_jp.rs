//! ISO-2022-JP, as hospitals write it.

use std::borrow::Cow;

use encoding_rs::EUC_JP;

use super::ESCAPE;

/// No character begins so in EUC-JP: it is read as the mark for what is none.
const NO_CHARACTER: u8 = 0xff;

/// What the two bytes behind an escape switch to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    SingleByte,
    /// Half-width katakana.
    Katakana,
    /// JIS X 0208.
    DoubleByte,
    /// JIS X 0212.
    Supplement,
    /// Two bytes to a character of a set that is not read here, such as the second plane of
    /// JIS X 0213.
    Unknown,
}

/// ISO-2022-JP, read by way of EUC-JP, which has the same characters with the high bit set.
/// More is taken than its RFC allows: half-width katakana, JIS X 0212, what JIS X 0213 has in common
/// with JIS X 0208, and lines that end without going back to ASCII. What is no character, such as
/// the first half of one or an escape that switches to nothing, is marked.
pub(super) fn iso_2022_jp(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let mut euc = Vec::with_capacity(bytes.len());
    let (mut mode, mut rest, mut whole) = (Mode::SingleByte, bytes, true);
    loop {
        if let Some((to, tail)) = switch(rest) {
            (mode, rest) = (to, tail);
            continue;
        }
        rest = match (rest, mode) {
            ([], _) => break,
            // A line ends in ASCII, also where its writer forgot to say so.
            ([control @ 0..0x20, tail @ ..], _) => {
                whole &= *control != ESCAPE;
                if matches!(control, b'\r' | b'\n') {
                    mode = Mode::SingleByte;
                }
                euc.push(if *control == ESCAPE { NO_CHARACTER } else { *control });
                tail
            }
            // Two separators are those of a writer that did not go back to ASCII before them, which
            // is marked: what else they would be, a broken bar of full width, nobody writes.
            ([b'|', b'|', tail @ ..], Mode::DoubleByte) => {
                (mode, whole) = (Mode::SingleByte, false);
                euc.extend([NO_CHARACTER, b'|', b'|']);
                tail
            }
            ([0x21..0x7f, 0x21..0x7f, tail @ ..], Mode::Unknown) => {
                whole = false;
                euc.push(NO_CHARACTER);
                tail
            }
            ([high @ 0x21..0x7f, low @ 0x21..0x7f, tail @ ..], Mode::DoubleByte) => {
                euc.extend([high | 0x80, low | 0x80]);
                tail
            }
            ([high @ 0x21..0x7f, low @ 0x21..0x7f, tail @ ..], Mode::Supplement) => {
                euc.extend([0x8f, high | 0x80, low | 0x80]);
                tail
            }
            ([one @ 0x21..0x60, tail @ ..], Mode::Katakana) => {
                euc.extend([0x8e, one | 0x80]);
                tail
            }
            ([one @ 0..0x80, tail @ ..], _) => {
                let is_character = matches!((mode, one), (Mode::SingleByte, _) | (_, b' '));
                whole &= is_character;
                euc.push(if is_character { *one } else { NO_CHARACTER });
                tail
            }
            // Half-width katakana of eight bits (JIS X 0201), which need no escape.
            ([one @ 0xa1..0xe0, tail @ ..], Mode::SingleByte | Mode::Katakana) => {
                euc.extend([0x8e, *one]);
                tail
            }
            ([_high, tail @ ..], _) => {
                whole = false;
                euc.push(NO_CHARACTER);
                tail
            }
        };
    }
    let (text, had_errors) = EUC_JP.decode_without_bom_handling(&euc);
    (Cow::Owned(text.into_owned()), whole && !had_errors)
}

/// Whether there is an escape that switches sets. Others are a printer's.
pub(super) fn has_escape(bytes: &[u8]) -> bool {
    let mut rests = (0..bytes.len()).filter_map(|at| bytes.get(at..));
    rests.any(|rest| switch(rest).is_some())
}

/// What an escape switches to, and what is behind it.
fn switch(bytes: &[u8]) -> Option<(Mode, &[u8])> {
    match bytes.strip_prefix(&[ESCAPE])? {
        // `H` is what old programs write for `J`.
        [b'(', b'B' | b'J' | b'H', tail @ ..] => Some((Mode::SingleByte, tail)),
        [b'(', b'I', tail @ ..] => Some((Mode::Katakana, tail)),
        [b'$', b'@' | b'B', tail @ ..] | [b'$', b'(', b'@' | b'B' | b'O' | b'Q', tail @ ..] => {
            Some((Mode::DoubleByte, tail))
        }
        [b'$', b'(', b'D', tail @ ..] => Some((Mode::Supplement, tail)),
        [b'$', b'A', tail @ ..] | [b'$', b'(', b'C' | b'P', tail @ ..] => {
            Some((Mode::Unknown, tail))
        }
        _ => None,
    }
}
