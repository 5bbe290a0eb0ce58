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
}

/// ISO-2022-JP, read by way of EUC-JP, which has the same characters with the high bit set.
/// More is taken than its RFC allows: half-width katakana, JIS X 0212, and lines that end
/// without going back to ASCII.
pub(super) fn iso_2022_jp(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let mut euc = Vec::with_capacity(bytes.len());
    let (mut mode, mut rest, mut whole) = (Mode::SingleByte, bytes, true);
    loop {
        rest = match (rest, mode) {
            ([], _) => break,
            ([ESCAPE, b'(', b'B' | b'J', tail @ ..], _) => {
                mode = Mode::SingleByte;
                tail
            }
            ([ESCAPE, b'(', b'I', tail @ ..], _) => {
                mode = Mode::Katakana;
                tail
            }
            ([ESCAPE, b'$', b'(', b'D', tail @ ..], _) => {
                mode = Mode::Supplement;
                tail
            }
            (
                [ESCAPE, b'$', b'@' | b'B', tail @ ..]
                | [ESCAPE, b'$', b'(', b'@' | b'B', tail @ ..],
                _,
            ) => {
                mode = Mode::DoubleByte;
                tail
            }
            // A line ends in ASCII, also where its writer forgot to say so.
            ([control @ 0..0x20, tail @ ..], _) => {
                whole &= *control != ESCAPE;
                if matches!(control, b'\r' | b'\n') {
                    mode = Mode::SingleByte;
                }
                euc.push(*control);
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
                whole &= matches!((mode, one), (Mode::SingleByte, _) | (_, b' '));
                euc.push(*one);
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
