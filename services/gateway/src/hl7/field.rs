//! A field and its parts: repetitions, components, subcomponents, counted from 1. What is not
//! there is empty; `""` means that what was known is to be deleted.

use std::borrow::Cow;

use super::delimiters::Delimiters;
use super::escape::unescape;

/// A piece of a message: a field, or any part of one.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    raw: &'a str,
    delimiters: &'a Delimiters,
}

impl<'a> Field<'a> {
    pub(super) fn new(raw: &'a str, delimiters: &'a Delimiters) -> Self {
        Self { raw, delimiters }
    }

    /// As it was sent.
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// Nothing is said here.
    pub fn is_empty(self) -> bool {
        self.raw.trim().is_empty()
    }

    /// It is said that there is nothing: what was known is to be deleted.
    pub fn is_null(self) -> bool {
        self.raw.trim() == r#""""#
    }

    pub fn repetitions(self) -> impl Iterator<Item = Self> {
        let parts = self.raw.split(self.delimiters.repetition);
        parts.map(move |raw| Self { raw, ..self })
    }

    /// A component of the first repetition; of a component, a subcomponent is `subcomponent`.
    #[must_use]
    pub fn component(self, number: usize) -> Self {
        let first = part(self.raw, self.delimiters.repetition, 1);
        Self { raw: part(first, self.delimiters.component, number), ..self }
    }

    #[must_use]
    pub fn subcomponent(self, number: usize) -> Self {
        Self { raw: part(self.raw, self.delimiters.subcomponent, number), ..self }
    }

    /// The characters, without escapes and blanks around them; of a null, none.
    pub fn text(self) -> Cow<'a, str> {
        if self.is_null() {
            return Cow::Borrowed("");
        }
        unescape(self.raw.trim(), self.delimiters)
    }

    /// The text of the first subcomponent of the first component.
    pub fn first(self) -> Cow<'a, str> {
        self.component(1).subcomponent(1).text()
    }
}

fn part(text: &str, separator: char, number: usize) -> &str {
    if text.is_empty() {
        return text;
    }
    text.split(separator).nth(number.saturating_sub(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_parts_counted_from_1() {
        let delimiters = Delimiters::default();
        let field = Field::new(r"A&B^C\T\D~E^F", &delimiters);
        assert_eq!(field.first(), "A");
        assert_eq!(field.component(1).subcomponent(2).text(), "B");
        assert_eq!(field.component(2).text(), "C&D");
        assert_eq!(field.component(3).text(), "");
        let second = field.repetitions().nth(1).unwrap();
        assert_eq!((second.first(), second.component(2).text()), ("E".into(), "F".into()));
    }

    #[test]
    fn null_is_not_empty() {
        let delimiters = Delimiters::default();
        let null = Field::new(r#""""#, &delimiters);
        assert!(null.is_null() && !null.is_empty());
        assert_eq!(null.text(), "");
        assert!(Field::new(" ", &delimiters).is_empty());
    }
}
