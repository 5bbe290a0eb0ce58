//! The characters that a message divides its parts with: any that its header says.

/// Why bytes are no HL7 message. The texts hold nothing of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("there is nothing in it")]
    Empty,
    #[error("it does not begin with the segment MSH")]
    NoHeader,
    #[error("MSH-1, the character behind `MSH`, is no separator: it must be a sign such as `|`")]
    FieldSeparator,
    #[error(
        "MSH-2 must give the separators of components, repetitions and subcomponents and the escape, all different, such as `^~\\&`"
    )]
    Encoding,
}

/// The separators and the escape of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiters {
    pub field: char,
    pub component: char,
    pub repetition: char,
    pub escape: char,
    pub subcomponent: char,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { field: '|', component: '^', repetition: '~', escape: '\\', subcomponent: '&' }
    }
}

impl Delimiters {
    /// Those that a header segment (MSH, BHS, FHS) gives. Where MSH-2 stops short or leaves one
    /// out, that one is the usual one; a fifth character, for truncation, is nothing here.
    pub fn of_header(header: &str) -> Result<Self, Unreadable> {
        let mut chars = header.chars().skip(3);
        let field = chars.next().filter(|c| is_separator(*c)).ok_or(Unreadable::FieldSeparator)?;
        let encoding: Vec<char> = chars.take_while(|c| *c != field && !c.is_control()).collect();
        let delimiters = match encoding.as_slice() {
            // Somebody escaped the escape: `^~\\&`.
            [component, repetition, escape, again, subcomponent, ..] if escape == again => {
                Self::new(field, [*component, *repetition, *escape, *subcomponent])
            }
            [component, repetition, escape, subcomponent, ..] => {
                Self::new(field, [*component, *repetition, *escape, *subcomponent])
            }
            short => Self::of_short(field, short)?,
        };
        if delimiters.are_separators() { Ok(delimiters) } else { Err(Unreadable::Encoding) }
    }

    fn new(field: char, [component, repetition, escape, subcomponent]: [char; 4]) -> Self {
        Self { field, component, repetition, escape, subcomponent }
    }

    /// `^~&` leaves the escape out, and `^\&` the repetition: usual signs mean what they mean.
    /// Others are given in their order.
    fn of_short(field: char, given: &[char]) -> Result<Self, Unreadable> {
        let usual = ['^', '~', '\\', '&'];
        if given.is_empty() {
            return Err(Unreadable::Encoding);
        }
        if given.iter().all(|c| usual.contains(c)) {
            let once = |c: &char| given.iter().filter(|other| *other == c).count() == 1;
            let is_clear = given.iter().all(once);
            return if is_clear { Ok(Self::new(field, usual)) } else { Err(Unreadable::Encoding) };
        }
        let at = |index: usize, usual: char| given.get(index).copied().unwrap_or(usual);
        let [component, repetition, escape, subcomponent] = usual;
        let subcomponent = at(3, subcomponent);
        Ok(Self::new(field, [at(0, component), at(1, repetition), at(2, escape), subcomponent]))
    }

    fn are_separators(self) -> bool {
        let all = [self.field, self.component, self.repetition, self.escape, self.subcomponent];
        let is_single = |(at, c): (usize, &char)| !all.iter().skip(at + 1).any(|other| other == c);
        all.iter().all(|c| is_separator(*c)) && all.iter().enumerate().all(is_single)
    }

    /// MSH-2 of a message with these.
    pub fn encoding_characters(&self) -> String {
        [self.component, self.repetition, self.escape, self.subcomponent].iter().collect()
    }

    /// Whether `c` divides parts, or escapes.
    pub fn divides(&self, c: char) -> bool {
        [self.field, self.component, self.repetition, self.escape, self.subcomponent].contains(&c)
    }
}

/// A sign, and one that stands in every character set.
fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Result<String, Unreadable> {
        let d = Delimiters::of_header(header)?;
        Ok([d.field, d.component, d.repetition, d.escape, d.subcomponent].iter().collect())
    }

    #[test]
    fn a_header_says_its_own_separators() {
        assert_eq!(of(r"MSH|^~\&|A").unwrap(), r"|^~\&");
        assert_eq!(of(r"MSH@~&#\@A").unwrap(), r"@~&#\");
        assert_eq!(of(r"MSH#$%*@#A").unwrap(), "#$%*@");
        assert_eq!(of(r"MSH|^~\\&|A").unwrap(), r"|^~\&", "somebody escaped the escape");
        assert_eq!(of(r"MSH|^~\&#|A").unwrap(), r"|^~\&", "truncation");
        for short in ["MSH|^~|A", "MSH|^~&|A", r"MSH|^\&|A", "MSH|^|A"] {
            assert_eq!(of(short).unwrap(), r"|^~\&", "the rest are the usual ones");
        }
        assert_eq!(of("MSH#$%#").unwrap(), r"#$%\&");
    }

    #[test]
    fn separators_are_signs_and_differ() {
        assert_eq!(of("MSH"), Err(Unreadable::FieldSeparator));
        assert_eq!(of("MSHA^~"), Err(Unreadable::FieldSeparator));
        assert_eq!(of("MSH|"), Err(Unreadable::Encoding));
        assert_eq!(of(r"MSH|^^\&|"), Err(Unreadable::Encoding));
        assert_eq!(of(r"MSH|AB\&|"), Err(Unreadable::Encoding));
    }
}
