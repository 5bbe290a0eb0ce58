//! A message: segments in their order, read where they lie.

use std::ops::Range;

use super::delimiters::{Delimiters, Unreadable};
use super::field::Field;

/// What files and frames may have around a message.
const AROUND: [char; 4] = ['\u{feff}', '\u{b}', '\u{1c}', ' '];

/// Of so many fields of a segment is known where they lie. The rest, which nobody asks for, is
/// looked for each time: so a segment of nothing but separators takes no more memory than others.
const PLACED_MAX: usize = 64;

/// A message. Nothing is copied: it borrows its text.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    pub delimiters: Delimiters,
    lines: Vec<Line<'a>>,
    /// Where the fields end in the lines that they belong to, line after line.
    ends: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Line<'a> {
    text: &'a str,
    /// Its places in `ends`.
    ends: Range<usize>,
}

/// One segment of a message, known or not.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    line: &'a str,
    ends: &'a [u32],
    delimiters: &'a Delimiters,
}

impl<'a> Message<'a> {
    /// Reads a message whose segments end in CR, LF or both. Blank lines are nothing.
    pub fn parse(text: &'a str) -> Result<Self, Unreadable> {
        let lines = text.split(['\r', '\n']).map(|line| line.trim_matches(AROUND));
        let mut lines = lines.filter(|line| !line.is_empty());
        let header = lines.next().ok_or(Unreadable::Empty)?;
        if !is_named(header, "MSH") {
            return Err(Unreadable::NoHeader);
        }
        let delimiters = Delimiters::of_header(header)?;
        let mut ends = Vec::new();
        let lines = std::iter::once(header).chain(lines).map(|text| {
            let first = ends.len();
            ends.extend(ends_of(text, delimiters.field));
            Line { text, ends: first..ends.len() }
        });
        let lines = lines.collect();
        Ok(Self { delimiters, lines, ends })
    }

    pub fn segments(&self) -> impl DoubleEndedIterator<Item = Segment<'_>> {
        self.lines.iter().map(|line| Segment {
            line: line.text,
            ends: self.ends.get(line.ends.clone()).unwrap_or_default(),
            delimiters: &self.delimiters,
        })
    }

    /// The first segment of a name; an empty one if there is none.
    pub fn segment(&self, name: &str) -> Segment<'_> {
        self.segments().find(|segment| segment.is(name)).unwrap_or(self.none())
    }

    /// A segment that is not there.
    pub fn none(&self) -> Segment<'_> {
        Segment { line: "", ends: &[], delimiters: &self.delimiters }
    }

    /// A field of the first segment of a name.
    pub fn field(&self, segment: &str, number: usize) -> Field<'_> {
        self.segment(segment).field(number)
    }

    /// MSH-9.1 and MSH-9.2: `ADT` and `A01`. What EVN-1 says may differ, and does not count,
    /// unless MSH-9 has no event.
    pub fn kind(&self) -> (String, String) {
        let kind = self.field("MSH", 9);
        let mut event = kind.component(2).first().to_uppercase();
        if event.is_empty() {
            event = self.field("EVN", 1).first().to_uppercase();
        }
        (kind.component(1).first().to_uppercase(), event)
    }
}

impl<'a> Segment<'a> {
    /// The three characters it begins with.
    pub fn name(self) -> &'a str {
        self.line.get(..3).unwrap_or(self.line)
    }

    /// Whether it has this name, in whichever case.
    pub fn is(self, name: &str) -> bool {
        is_named(self.line, name)
    }

    pub fn is_missing(self) -> bool {
        self.line.is_empty()
    }

    /// As it was sent.
    pub fn line(self) -> &'a str {
        self.line
    }

    /// A field, counted from 1. The separator itself is the first of a header.
    pub fn field(self, number: usize) -> Field<'a> {
        let is_header = ["MSH", "BHS", "FHS"].iter().any(|header| self.is(header));
        let raw = match (is_header, number) {
            (_, 0) => "",
            (true, 1) => self.line.get(3..4).unwrap_or_default(),
            (true, number) => self.piece(number - 1),
            (false, number) => self.piece(number),
        };
        Field::new(raw, self.delimiters)
    }

    fn piece(self, number: usize) -> &'a str {
        let end = |number: usize| self.ends.get(number).and_then(|end| usize::try_from(*end).ok());
        let separator = self.delimiters.field;
        let start = match number {
            0 => Some(0),
            _ => end(number - 1).map(|before| before + separator.len_utf8()),
        };
        let is_placed_whole = (1..PLACED_MAX).contains(&self.ends.len());
        match (start, end(number)) {
            (Some(start), Some(end)) => self.line.get(start..end).unwrap_or_default(),
            (Some(_) | None, _) if is_placed_whole => "",
            (Some(_) | None, _) => self.line.split(separator).nth(number).unwrap_or_default(),
        }
    }
}

/// Where the first fields of a segment end. Of a line that is too long to be counted, none.
fn ends_of(line: &str, separator: char) -> impl Iterator<Item = u32> {
    let is_counted = u32::try_from(line.len()).is_ok();
    let ends = line.match_indices(separator).map(|(at, _)| at).chain([line.len()]);
    let ends = ends.take(if is_counted { PLACED_MAX } else { 0 });
    ends.filter_map(|end| u32::try_from(end).ok())
}

/// Segments are named by three letters or digits at their beginning, and nothing else follows
/// at once.
fn is_named(line: &str, name: &str) -> bool {
    line.split_at_checked(3).is_some_and(|(three, behind)| {
        three.eq_ignore_ascii_case(name) && !behind.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A01: &str = "MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A01^ADT_A01|42|P|2.5\rEVN|A04|20260501\rpid|1||7^^^H~8||Doe\nPV1|1|I\r\n\rZGW|x\r";

    #[test]
    fn segments_end_in_cr_or_lf_or_both_and_keep_their_order() {
        let message = Message::parse(A01).unwrap();
        let names: Vec<&str> = message.segments().map(Segment::name).collect();
        assert_eq!(names, ["MSH", "EVN", "pid", "PV1", "ZGW"]);
        assert_eq!(message.field("PID", 3).repetitions().count(), 2);
        assert!(message.segment("MRG").is_missing());
    }

    #[test]
    fn the_header_counts_its_separator() {
        let message = Message::parse(A01).unwrap();
        assert_eq!(message.field("MSH", 1).raw(), "|");
        assert_eq!(message.field("MSH", 2).raw(), "^~\\&");
        assert_eq!(message.field("MSH", 10).text(), "42");
        assert_eq!(message.field("PID", 5).text(), "Doe");
        assert_eq!(message.field("PID", 99).text(), "");
    }

    #[test]
    fn a_field_is_found_however_many_there_are() {
        for fields in [1, PLACED_MAX - 2, PLACED_MAX - 1, PLACED_MAX, PLACED_MAX + 3] {
            let said: Vec<String> = (1..=fields).map(|number| format!("é{number}")).collect();
            let text = format!("MSH#^~\\&\rPID#{}\rPV1", said.join("#"));
            let message = Message::parse(&text).unwrap();
            let pid = message.segment("PID");
            for (number, said) in (1..).zip(&said) {
                assert_eq!(pid.field(number).raw(), said);
            }
            assert_eq!(pid.field(fields + 1).raw(), "");
            assert_eq!(message.field("PV1", 1).raw(), "");
        }
    }

    #[test]
    fn what_msh_9_says_goes_before_evn() {
        assert_eq!(Message::parse(A01).unwrap().kind(), ("ADT".to_owned(), "A01".to_owned()));
        let bare = "MSH|^~\\&|||||||ADT|1\rEVN|A08";
        assert_eq!(Message::parse(bare).unwrap().kind(), ("ADT".to_owned(), "A08".to_owned()));
    }

    #[test]
    fn what_files_have_around_a_message_is_nothing() {
        let framed = "\u{b}\u{feff}MSH|^~\\&|A\rPID|1\r\u{1c}\r";
        let message = Message::parse(framed).unwrap();
        assert_eq!(message.segments().count(), 2);
        for (text, why) in [
            ("", Unreadable::Empty),
            ("\r\n", Unreadable::Empty),
            ("PID|1", Unreadable::NoHeader),
            ("MSHX|", Unreadable::NoHeader),
            ("MSH", Unreadable::FieldSeparator),
        ] {
            assert_eq!(Message::parse(text).err(), Some(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(MSH[|#][\\^~&\\\\]{0,5})?[\\PC\r\n|^~&\\\\]{0,80}") {
            if let Ok(message) = Message::parse(&text) {
                for segment in message.segments() {
                    for number in 0..6 {
                        let field = segment.field(number);
                        field.text();
                        for part in field.repetitions() {
                            part.component(2).subcomponent(2).text();
                        }
                    }
                }
                message.kind();
            }
        }
    }
}
