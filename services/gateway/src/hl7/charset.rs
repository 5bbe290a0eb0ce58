//! The character sets that hospitals send, whatever their messages declare.
//!
//! Bytes are decoded before they are split: the bytes of kanji in ISO-2022-JP are those of
//! separators. MSH-18 says how, or else what the facility is known for, unless the bytes as a whole
//! prove another set; where these contradict each other, a warning says so. A few bytes that are no
//! characters prove nothing: each is marked, and the rest is read.

mod iso_2022_jp;
mod proof;

use std::borrow::Cow;

use encoding_rs::{EUC_JP, EncoderResult, Encoding, ISO_2022_JP, SHIFT_JIS, WINDOWS_1252};

use iso_2022_jp::{has_escape, iso_2022_jp};
use proof::by_bytes;

/// A character set of HL7 messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    Ascii,
    Utf8,
    /// ISO 8859-1, with the quotation marks and letters that Windows has where it has no characters:
    /// every byte is one.
    Latin1,
    /// JIS X 0208 and its kin, switched to by escape sequences, as SS-MIX2 has it; and half-width
    /// katakana of eight bits, which some write between them.
    Iso2022Jp,
    /// Microsoft's Shift JIS.
    Cp932,
    EucJp,
}

/// Something to know about how a message was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("MSH-18 declares another character set than the bytes have")]
    Contradicted,
    #[error("MSH-18 declares a character set that is not known here")]
    UnknownDeclared,
    #[error("no character set is declared, and the bytes are not ASCII")]
    Undeclared,
    #[error("some bytes are no characters of the message's character set")]
    Lossy,
}

/// A message as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// The set in which its sender is answered.
    pub charset: Charset,
    /// The set as which it was read: ASCII, where its bytes are the same characters in all.
    pub read_as: Charset,
    pub warning: Option<Warning>,
}

impl Decoded<'_> {
    /// What is not certain about the text, if anything is, and as what it was read.
    pub fn doubt(&self) -> Option<String> {
        self.warning.map(|warning| format!("{warning}: read as {}", self.read_as.name()))
    }
}

const ESCAPE: u8 = 0x1b;

/// What Japanese printers put in the place of a type that they do not have.
const GETA: &str = "\u{3013}";

impl Charset {
    /// The set that a value of MSH-18 or a facility's profile names.
    pub fn named(name: &str) -> Option<Self> {
        let is_sign = |c: &char| c.is_ascii_alphanumeric();
        let plain: String = name.chars().filter(is_sign).collect::<String>().to_ascii_uppercase();
        match plain.as_str() {
            "ASCII" | "USASCII" | "ISOIR6" | "ISOIR14" => Some(Self::Ascii),
            "UNICODEUTF8" | "UTF8" | "UNICODE" | "ISOIR192" => Some(Self::Utf8),
            "88591" | "ISO88591" | "LATIN1" | "ISOIR100" | "WINDOWS1252" | "CP1252" => {
                Some(Self::Latin1)
            }
            "ISOIR13" | "JISX0201" | "ISOIR87" | "ISOIR159" | "ISO2022JP" | "JIS" => {
                Some(Self::Iso2022Jp)
            }
            "CP932" | "WINDOWS31J" | "MS932" | "SHIFTJIS" | "SJIS" => Some(Self::Cp932),
            "EUCJP" => Some(Self::EucJp),
            _ => None,
        }
    }

    /// As people know it.
    fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ASCII",
            Self::Utf8 => "UTF-8",
            Self::Latin1 => "ISO 8859-1",
            Self::Iso2022Jp => "ISO-2022-JP",
            Self::Cp932 => "CP932",
            Self::EucJp => "EUC-JP",
        }
    }

    /// The text of `bytes`, and whether all of them were characters.
    fn read(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        match self {
            Self::Ascii | Self::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => (Cow::Borrowed(text), self == Self::Utf8 || text.is_ascii()),
                Err(_) => (String::from_utf8_lossy(bytes), false),
            },
            Self::Latin1 => legacy(WINDOWS_1252, bytes),
            Self::Iso2022Jp => iso_2022_jp(bytes),
            Self::Cp932 => legacy(SHIFT_JIS, bytes),
            Self::EucJp => legacy(EUC_JP, bytes),
        }
    }

    /// Whether the set has all characters of a text.
    pub(crate) fn has(self, text: &str) -> bool {
        self.read(&self.write(text)).0 == text
    }

    /// The bytes of `text`. What the set has no character for becomes `?`, or 〓 in Japanese
    /// sets.
    pub fn write(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Ascii => {
                let one = |c: char| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?');
                text.chars().map(one).collect()
            }
            Self::Latin1 => write_legacy(WINDOWS_1252, text, "?"),
            Self::Cp932 => write_legacy(SHIFT_JIS, text, GETA),
            Self::EucJp => write_legacy(EUC_JP, text, GETA),
            Self::Iso2022Jp => write_legacy(ISO_2022_JP, text, GETA),
        }
    }
}

/// Decodes a message. `usual` is what the facility is known to send where it declares nothing.
pub fn decode(bytes: &[u8], usual: Option<Charset>) -> Decoded<'_> {
    let declared = declared(bytes);
    let known = declared.as_ref().and_then(|names| names.iter().find_map(|n| Charset::named(n)));
    if has_escape(bytes) && !is_utf8_beyond_ascii(bytes) && !is_printed(bytes, known, usual) {
        let usual = usual.filter(|usual| *usual == Charset::Iso2022Jp && declared.is_none());
        return decode_as(Charset::Iso2022Jp, bytes, known.or(usual), declared.is_some());
    }
    if bytes.is_ascii() {
        let charset = known.or(usual).unwrap_or(Charset::Ascii);
        let warning = (declared.is_some() && known.is_none()).then_some(Warning::UnknownDeclared);
        // Seven-bit bytes are the same characters in all of these sets.
        let read_as = Charset::Ascii;
        return Decoded { text: read_as.read(bytes).0, charset, read_as, warning };
    }
    let charset = by_bytes(bytes, known, usual);
    // What the facility is known to send is as good as declared.
    let expected = known.or(usual.filter(|usual| *usual == charset && declared.is_none()));
    decode_as(charset, bytes, expected, declared.is_some())
}

/// Whether the escapes are a printer's all the same: none switches to two bytes, and bytes beyond
/// ASCII that are no characters where escapes switch sets are characters of another one.
fn is_printed(bytes: &[u8], known: Option<Charset>, usual: Option<Charset>) -> bool {
    let switches = bytes.windows(2).any(|two| two == [ESCAPE, b'$']);
    !bytes.is_ascii() && !switches && !Charset::Iso2022Jp.read(bytes).1 && {
        let other = by_bytes(bytes, known, usual);
        !matches!(other, Charset::Iso2022Jp | Charset::Latin1) && other.read(bytes).1
    }
}

fn decode_as(
    charset: Charset,
    bytes: &[u8],
    expected: Option<Charset>,
    declared: bool,
) -> Decoded<'_> {
    let (text, whole) = charset.read(bytes);
    let warning = match expected {
        _ if !whole => Some(Warning::Lossy),
        Some(expected) if expected == charset => None,
        Some(_) => Some(Warning::Contradicted),
        None if declared => Some(Warning::UnknownDeclared),
        None => Some(Warning::Undeclared),
    };
    Decoded { text, charset, read_as: charset, warning }
}

/// The repetitions of MSH-18, if it says anything.
fn declared(bytes: &[u8]) -> Option<Vec<String>> {
    let start = bytes.windows(3).position(|three| three.eq_ignore_ascii_case(b"MSH"))?;
    let header = bytes.get(start..)?;
    let end = header.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let header = header.get(..end.unwrap_or(header.len()))?;
    let names = names_in(header);
    let is_known = |names: &Vec<String>| names.iter().any(|name| Charset::named(name).is_some());
    if header.is_ascii() && !has_escape(header) || names.as_ref().is_some_and(is_known) {
        return names;
    }
    // Bytes of characters before it may be those of separators.
    let set = if has_escape(header) { Charset::Iso2022Jp } else { Charset::Cp932 };
    names_in(set.read(header).0.as_bytes()).filter(is_known).or(names)
}

/// The repetitions of MSH-18 of a header, those that say most first.
fn names_in(header: &[u8]) -> Option<Vec<String>> {
    let (separator, rest) = (*header.get(3)?, header.get(4..)?);
    // MSH-1 is the separator itself, so the first piece behind it is MSH-2.
    let field = rest.split(|byte| *byte == separator).nth(16)?;
    let repetition = *rest.get(1)?;
    let names = field.split(|byte| *byte == repetition);
    let names = names.map(|name| String::from_utf8_lossy(name).trim().to_owned());
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    // `ISO IR87` in the second repetition means ISO 2022 whatever the first says, and any other
    // has more than ASCII.
    names.sort_by_key(|name| match Charset::named(name) {
        Some(Charset::Iso2022Jp) => 0,
        Some(Charset::Ascii) => 2,
        _ => 1,
    });
    (!names.is_empty()).then_some(names)
}

fn is_utf8_beyond_ascii(bytes: &[u8]) -> bool {
    !bytes.is_ascii() && std::str::from_utf8(bytes).is_ok()
}

/// A text in CP932, as Japanese office programs save it. None if it cannot be one.
pub(crate) fn decode_cp932(bytes: &[u8]) -> Option<String> {
    let (text, is_right) = legacy(SHIFT_JIS, bytes);
    is_right.then(|| text.into_owned())
}

fn legacy<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> (Cow<'a, str>, bool) {
    let (text, had_errors) = encoding.decode_without_bom_handling(bytes);
    (text, !had_errors)
}

/// Sets of their time; ISO-2022-JP with JIS X 0208 of 1983 and nothing else, as SS-MIX2 asks:
/// half-width katakana become full-width, and every line ends in ASCII.
fn write_legacy(encoding: &'static Encoding, text: &str, mark: &str) -> Vec<u8> {
    let mut encoder = encoding.new_encoder();
    let mut bytes = Vec::with_capacity(text.len() + 16);
    let mut rest = text;
    loop {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len());
        bytes.reserve(room.unwrap_or(rest.len()));
        let (result, read) =
            encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
        rest = rest.get(read..).unwrap_or_default();
        match result {
            EncoderResult::InputEmpty => return bytes,
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => {
                bytes.reserve(16);
                // Each set has its mark.
                let _mark = encoder.encode_from_utf8_to_vec_without_replacement(
                    mark,
                    &mut bytes,
                    rest.is_empty(),
                );
                if rest.is_empty() {
                    return bytes;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "髙橋^花子~タカハシ^ハナコ";

    fn message(declared: &str, charset: Charset, text: &str) -> Vec<u8> {
        let header =
            format!("MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A08|1|P|2.5||||||{declared}\rPID|||1||");
        charset.write(&format!("{header}{text}\r"))
    }

    #[test]
    fn a_message_is_read_in_the_set_that_it_declares() {
        for (declared, charset) in [
            ("UNICODE UTF-8", Charset::Utf8),
            ("~ISO IR87", Charset::Iso2022Jp),
            ("CP932", Charset::Cp932),
            ("EUC-JP", Charset::EucJp),
        ] {
            let name = if charset == Charset::Iso2022Jp { "高橋^花子" } else { NAME };
            let bytes = message(declared, charset, name);
            let decoded = decode(&bytes, None);
            assert_eq!((decoded.charset, decoded.warning), (charset, None), "{declared}");
            assert!(decoded.text.contains(name), "{declared}");
        }
    }

    #[test]
    fn a_message_that_declares_nothing_is_read_by_its_bytes() {
        for charset in [Charset::Utf8, Charset::Iso2022Jp, Charset::Cp932, Charset::EucJp] {
            let bytes = message("", charset, "高橋^花子~タカハシ^ハナコ");
            let decoded = decode(&bytes, None);
            assert_eq!(decoded.charset, charset);
            assert_eq!(decoded.warning, Some(Warning::Undeclared));
            assert!(decoded.text.contains("高橋^花子~タカハシ^ハナコ"), "{charset:?}");
        }
        let bytes = message("", Charset::Latin1, "Müller^Jürgen");
        assert_eq!(decode(&bytes, Some(Charset::Latin1)).charset, Charset::Latin1);
        assert!(decode(&bytes, Some(Charset::Latin1)).text.contains("Müller"));
    }

    #[test]
    fn what_a_facility_is_known_to_send_needs_no_declaration() {
        for charset in [Charset::Utf8, Charset::Iso2022Jp, Charset::Cp932, Charset::EucJp] {
            let bytes = message("", charset, "高橋^花子~タカハシ^ハナコ");
            let decoded = decode(&bytes, Some(charset));
            assert_eq!((decoded.charset, decoded.warning), (charset, None));
            let unknown = message("ISO IR 999", charset, "高橋");
            assert!(decode(&unknown, Some(charset)).warning.is_some(), "it says another");
        }
        let other = message("", Charset::Utf8, NAME);
        assert_eq!(decode(&other, Some(Charset::Cp932)).warning, Some(Warning::Undeclared));
    }

    #[test]
    fn bytes_that_contradict_their_declaration_are_read_as_what_they_are() {
        let bytes = message("8859/1", Charset::Utf8, NAME);
        let decoded = decode(&bytes, None);
        assert_eq!(decoded.charset, Charset::Utf8);
        assert_eq!(decoded.warning, Some(Warning::Contradicted));
        assert!(decoded.text.contains(NAME));
        let unknown = message("ISO IR 999", Charset::Utf8, "Doe");
        assert_eq!(decode(&unknown, None).warning, Some(Warning::UnknownDeclared));
    }

    #[test]
    fn ascii_of_a_set_that_is_not_known_is_read_as_ascii_and_answered_as_is_usual() {
        let unknown = message("ISO IR 999", Charset::Ascii, "Doe^Jo");
        for usual in [Charset::Cp932, Charset::Iso2022Jp] {
            let decoded = decode(&unknown, Some(usual));
            let doubt = decoded.doubt().unwrap();
            assert!(doubt.ends_with("is not known here: read as ASCII"), "{doubt}");
            assert_eq!(decoded.charset, usual);
        }
    }

    #[test]
    fn the_supplement_and_half_width_katakana_are_read() {
        // 髙 is in neither; NEC's row 13 has ①, and the supplement has 丂.
        let bytes = b"MSH|^~\\&|\x1b$B-!\x1b(B|\x1b$(D0!\x1b(B|\x1b(I6\x1b(B|\x1b$B9b\r|x";
        let decoded = decode(bytes, None);
        assert_eq!(decoded.text, "MSH|^~\\&|①|丂|ｶ|高\r|x", "and a line ends in ASCII");
    }

    #[test]
    fn what_no_escape_switches_to_and_half_a_character_are_marked() {
        for (bytes, text) in [
            (&b"\x1b$B9b|\x1b(B|x"[..], "高\u{fffd}|x"),
            (b"\x1b$B9b6\x1b(B|x\r|y", "高\u{fffd}|x\r|y"),
            (b"\x1b$B9b6\r|y", "高\u{fffd}\r|y"),
            (b"\x1b$B9b\x1b(B\x1b$|y", "高\u{fffd}$|y"),
            (b"\x1b$B9b\x1b(B|y\x1b", "高|y\u{fffd}"),
            (b"\x1b$B9b||6666\x1b(B|y", "高\u{fffd}||6666|y"),
            (b"\x1b$B9b||\x1b$B66\x1b(B|y", "高\u{fffd}||橋|y"),
            (b"x\x1b$(C!!!!\x1b(B|y", "x\u{fffd}\u{fffd}|y"),
            (b"x\x1b$(C!!\r|y", "x\u{fffd}\r|y"),
            (b"x\x1b$A!!\r|y", "x\u{fffd}\r|y"),
            (b"x\x1b(H|y", "x|y"),
            (b"\x1b$B9b\x1b(B\x1b$(P!!!|\x1b(B|y", "高\u{fffd}\u{fffd}|y"),
            (b"\x1b$(Q9b\x1b(B|y", "高|y"),
            (b"\x1b$B9b\x1b(H|y", "高|y"),
            (b"\x1b(Ip\x1b(B|\x1b$B9b\x1b(B", "\u{fffd}|高"),
        ] {
            let decoded = decode(bytes, None);
            assert_eq!((&*decoded.text, decoded.charset), (text, Charset::Iso2022Jp));
            assert_eq!(decoded.warning == Some(Warning::Lossy), text.contains('\u{fffd}'));
        }
    }

    #[test]
    fn every_repetition_of_msh_18_declares() {
        for (declared, charset) in [
            ("ASCII~UNICODE UTF-8", Charset::Utf8),
            ("ASCII~ISO IR87", Charset::Iso2022Jp),
            ("ISO IR14~CP932", Charset::Cp932),
        ] {
            let decoded = message(declared, charset, "高橋");
            let decoded = decode(&decoded, None);
            assert_eq!((decoded.charset, decoded.warning), (charset, None), "{declared}");
        }
    }

    #[test]
    fn separators_within_the_characters_of_a_header_hide_no_declaration() {
        // ポ and 奥 have the byte of `|` in these sets.
        for (declared, charset, name) in
            [("CP932", Charset::Cp932, "ポ"), ("~ISO IR87", Charset::Iso2022Jp, "奥万")]
        {
            let header = format!("MSH|^~\\&|HIS|{name}|GW|R|2026||ADT|1|P|2.5||||||{declared}\r");
            let bytes = charset.write(&header);
            assert!(names_in(&bytes).is_none_or(|names| names != [declared.trim_matches('~')]));
            let decoded = decode(&bytes, None);
            assert_eq!((decoded.charset, decoded.warning), (charset, None));
        }
    }

    #[test]
    fn what_windows_has_more_than_latin_1_is_read_and_written() {
        let text = "O\u{2019}Brien\u{2013}Müller\u{20ac}";
        let bytes = message("8859/1", Charset::Latin1, text);
        let decoded = decode(&bytes, None);
        assert_eq!((decoded.charset, decoded.warning), (Charset::Latin1, None));
        assert!(decoded.text.contains(text) && bytes.contains(&0x92), "{}", decoded.text);
        assert_eq!(Charset::Latin1.write(&decoded.text), bytes);
    }

    #[test]
    fn letters_of_western_names_swallow_no_separators() {
        // As Shift JIS, each of these letters would be the first half of a character.
        for name in ["Doe^René||", "Ñandú|^x", "Zoë^Ångström", "Ärzte", "Françoise"] {
            let bytes = message("", Charset::Latin1, name);
            let decoded = decode(&bytes, None);
            assert!(decoded.text.contains(name), "{name}: {}", decoded.text);
            assert_eq!(decoded.warning, Some(Warning::Undeclared));
        }
    }

    #[test]
    fn an_escape_for_a_printer_switches_nothing_where_other_characters_stand() {
        for charset in [Charset::Cp932, Charset::EucJp] {
            let text = "山田^花子~ヤマダ^ハナコ|\u{1b}(B note";
            for declared in ["", if charset == Charset::Cp932 { "CP932" } else { "EUC-JP" }] {
                let bytes = message(declared, charset, text);
                let decoded = decode(&bytes, None);
                assert!(decoded.text.contains(text), "{declared}: {}", decoded.text);
            }
        }
    }

    #[test]
    fn what_is_no_character_is_warned_of() {
        let mut bytes = message("~ISO IR87", Charset::Iso2022Jp, "高橋");
        bytes.push(0xff);
        assert_eq!(decode(&bytes, None).warning, Some(Warning::Lossy));
    }

    #[test]
    fn a_byte_that_is_no_character_is_marked_and_the_rest_is_read() {
        let sets = [
            ("CP932", Charset::Cp932),
            ("EUC-JP", Charset::EucJp),
            ("UNICODE UTF-8", Charset::Utf8),
        ];
        for (declared, charset) in sets {
            // The second byte of ポ in CP932 is that of a separator.
            for (name, is_long) in [("山田^ポール", true), ("林", false)] {
                let spoilt = |declared: &str| {
                    let mut bytes = message(declared, charset, &format!("{name}|NTE "));
                    bytes.insert(bytes.len() - 1, 0xff);
                    bytes
                };
                let whole = format!("{name}|NTE \u{fffd}");
                for (bytes, usual) in [(spoilt(declared), None), (spoilt(""), Some(charset))] {
                    let decoded = decode(&bytes, usual);
                    let said = (decoded.charset, decoded.warning);
                    assert_eq!(said, (charset, Some(Warning::Lossy)), "{declared} {name}");
                    assert!(decoded.text.contains(&whole), "{declared}: {}", decoded.text);
                }
                let bytes = spoilt("");
                let decoded = decode(&bytes, None);
                assert!(!is_long || decoded.text.contains(&whole), "{charset:?}: {}", decoded.text);
            }
        }
        // A character that was cut in two.
        let mut bytes = message("UNICODE UTF-8", Charset::Utf8, "山田^花子|東京都新宿区西");
        bytes.drain(bytes.len() - 2..bytes.len() - 1);
        assert!(decode(&bytes, None).text.contains("山田^花子|東京都新宿区\u{fffd}"));
    }

    #[test]
    fn what_is_nonsense_in_the_set_that_is_declared_is_read_as_what_it_is() {
        let text = "山田^花子~ヤマダ^ハナコ|東京都新宿区西新宿";
        for (declared, charset) in [
            ("CP932", Charset::EucJp),
            ("EUC-JP", Charset::Cp932),
            ("UNICODE UTF-8", Charset::Cp932),
            ("~ISO IR87", Charset::Cp932),
            ("~ISO IR87", Charset::EucJp),
            ("~ISO IR87", Charset::Utf8),
            ("ISO IR13~ISO IR87~ISO IR159", Charset::EucJp),
            ("ASCII~ISO IR87", Charset::Utf8),
            ("CP932", Charset::Utf8),
        ] {
            let bytes = message(declared, charset, text);
            let decoded = decode(&bytes, None);
            assert!(decoded.text.contains(text), "{declared} {charset:?}: {}", decoded.text);
            assert_eq!(decoded.warning, Some(Warning::Contradicted));
        }
    }

    #[test]
    fn half_width_katakana_of_eight_bits_are_read() {
        let text = "ﾔﾏﾀﾞ^ｼﾞﾛｳ";
        for declared in ["", "CP932", "ISO IR13", "~ISO IR87"] {
            let bytes = message(declared, Charset::Cp932, text);
            let decoded = decode(&bytes, None);
            assert!(decoded.text.contains(text), "{declared}: {}", decoded.text);
        }
        assert!(
            decode(&message("", Charset::Cp932, "ﾄｼ"), Some(Charset::Cp932)).text.contains("ﾄｼ")
        );
        let both = message("ISO IR13~ISO IR87", Charset::Iso2022Jp, "山田^花子~");
        let both = [&both[..both.len() - 1], b"\xd4\xcf\xc0\xde^\xca\xc5\xba\r"].concat();
        let decoded = decode(&both, None);
        assert!(decoded.text.contains("山田^花子~ﾔﾏﾀﾞ^ﾊﾅｺ"), "{}", decoded.text);
        assert_eq!((decoded.charset, decoded.warning), (Charset::Iso2022Jp, None));
    }

    #[test]
    fn an_escape_for_a_printer_is_no_change_of_sets() {
        for declared in ["UNICODE UTF-8", ""] {
            let text = "山田^花子|\u{1b}(s1B note \u{1b}(B";
            let bytes = message(declared, Charset::Utf8, text);
            let decoded = decode(&bytes, None);
            assert!(decoded.text.contains(text), "{declared}: {}", decoded.text);
        }
    }

    #[test]
    fn what_a_set_lacks_is_written_as_a_mark() {
        assert_eq!(Charset::Latin1.write("Jü花"), b"J\xfc?");
        let bytes = Charset::Iso2022Jp.write("a😀ｶb");
        assert_eq!(decode(&bytes, None).text, "a〓カb");
        assert!(Charset::EucJp.write("😀").len() == 2, "at the end too");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for usual in [None, Some(Charset::Latin1), Some(Charset::Cp932)] {
                decode(&bytes, usual);
            }
        }

        #[test]
        fn a_message_comes_out_of_its_set_as_it_went_in(
            parts in prop::collection::vec(PARTS, 1..6),
            facility in PARTS,
            set in 0..SETS.len(),
        ) {
            let (declared, charset) = SETS[set];
            // Of what a set does not have, its mark.
            let said = |part: &String| charset.read(&charset.write(part)).0.replace(['?', '〓'], "x");
            let (parts, facility): (Vec<String>, String) =
                (parts.iter().map(said).collect(), said(&facility));
            let text = format!(
                "MSH|^~\\&|HIS|{facility}|GW|R|2026||ADT|1|P|2.5||||||{declared}\rPID|{}|end\rZZZ|x\r",
                parts.join("^")
            );
            let bytes = charset.write(&text);
            let decoded = decode(&bytes, None);
            prop_assert_eq!(&*decoded.text, &text);
            prop_assert_eq!((decoded.charset, decoded.warning), (charset, None));
        }
    }

    const PARTS: &str = "[ぁ-んァ-ヶ亜-熙ーｱ-ﾝ髙﨑①a-z0-9é$(]{0,8}";

    const SETS: [(&str, Charset); 5] = [
        ("UNICODE UTF-8", Charset::Utf8),
        ("8859/1", Charset::Latin1),
        ("~ISO IR87", Charset::Iso2022Jp),
        ("CP932", Charset::Cp932),
        ("EUC-JP", Charset::EucJp),
    ];
}
