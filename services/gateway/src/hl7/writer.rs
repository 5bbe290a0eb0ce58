//! Messages written: answers, and whatever else is sent.

use super::delimiters::Delimiters;
use super::escape::escape;

/// Writes a message segment by segment.
#[derive(Debug)]
pub struct Writer {
    delimiters: Delimiters,
    text: String,
}

impl Writer {
    /// Begins a message, or with `BHS` a batch.
    pub fn new(header: &str, delimiters: Delimiters) -> Self {
        let mut text = String::with_capacity(256);
        text.push_str(header);
        text.push(delimiters.field);
        text.push_str(&delimiters.encoding_characters());
        Self { delimiters, text }
    }

    /// Begins another segment.
    #[must_use]
    pub fn segment(mut self, name: &str) -> Self {
        self.end_segment();
        self.text.push_str(name);
        self
    }

    /// Adds a field with one text.
    #[must_use]
    pub fn field(self, text: &str) -> Self {
        self.components(&[text])
    }

    /// Adds a field with several components. Empty ones at its end are left out.
    #[must_use]
    pub fn components(mut self, texts: &[&str]) -> Self {
        self.text.push(self.delimiters.field);
        let said = texts.iter().rposition(|text| !text.is_empty()).map_or(0, |last| last + 1);
        for (at, text) in texts.iter().take(said).enumerate() {
            if at > 0 {
                self.text.push(self.delimiters.component);
            }
            self.text.push_str(&escape(text, &self.delimiters));
        }
        self
    }

    /// Adds a field as another message with the same separators had it.
    #[must_use]
    pub fn raw(mut self, raw: &str) -> Self {
        self.text.push(self.delimiters.field);
        self.text.push_str(raw);
        self
    }

    /// Adds a whole message.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        self.end_segment();
        self.text.push_str(message);
        self
    }

    pub fn end(mut self) -> String {
        self.end_segment();
        self.text
    }

    /// Empty fields at the end of a segment say nothing, and are left out.
    fn end_segment(&mut self) {
        let line = self.text.rfind('\r').map_or(0, |at| at + 1);
        let written = self.text.trim_end_matches(self.delimiters.field).len();
        self.text.truncate(written.max(line));
        if !self.text.is_empty() && !self.text.ends_with('\r') {
            self.text.push('\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::Message;
    use super::*;

    #[test]
    fn a_message_is_written_as_it_is_to_be_sent() {
        let text = Writer::new("MSH", Delimiters::default())
            .field("TSUNAGI")
            .components(&["ACK", "A01"])
            .field("")
            .segment("MSA")
            .field("AE")
            .field("1|2")
            .raw("a^b")
            .end();
        assert_eq!(text, "MSH|^~\\&|TSUNAGI|ACK^A01\rMSA|AE|1\\F\\2|a^b\r");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            texts in prop::collection::vec("[a-z高橋\"|^~&\\\\\r\n ]{0,12}", 1..6),
            custom in any::<bool>(),
        ) {
            let delimiters = if custom {
                Delimiters::of_header("MSH#$%*@#").unwrap()
            } else {
                Delimiters::default()
            };
            let mut writer = Writer::new("MSH", delimiters).segment("ZZZ");
            for text in &texts {
                writer = writer.components(&[text, "x"]);
            }
            let written = writer.end();
            let message = Message::parse(&written).unwrap();
            for (at, text) in texts.iter().enumerate() {
                let field = message.field("ZZZ", at + 1);
                let read = field.component(1).text();
                let said = text.trim_matches(' ');
                prop_assert_eq!(&*read, if said == "\"\"" { "" } else { said });
                prop_assert_eq!(field.component(2).text(), "x");
            }
        }
    }
}
