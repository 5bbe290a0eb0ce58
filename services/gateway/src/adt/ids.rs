//! Ids of ours for what a message says: made from what the message itself is known by, so that
//! the same message always gets the same ones (I3).

use jiff::tz::TimeZone;
use tsunagi_domain::{EncounterId, EventId, PatientId};
use tsunagi_proto::v1;
use uuid::Uuid;

use crate::hl7::{Message, time};

/// The space in which names made from HL7 messages are unique. Never changes.
const HL7: Uuid = Uuid::from_u128(0x2b0c_54d1_79e2_4d5b_8f27_60d9_1be4_a57c);

/// What one message is known by: its sender, its control id and its content. Control ids alone
/// are used again for other messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageKey(Uuid);

impl MessageKey {
    /// When it was sent does not count, if EVN says when: a message that is sent again may have
    /// another MSH-7. Nor does how its lines end.
    pub(super) fn new(message: &Message<'_>) -> Self {
        let is_time =
            |number| time::parse(&message.field("EVN", number).first(), &TimeZone::UTC).is_ok();
        let says_when = is_time(2) || is_time(6);
        let mut content = String::with_capacity(1024);
        for (at, segment) in message.segments().enumerate() {
            let pieces = segment.line().split(message.delimiters.field);
            for (number, piece) in pieces.enumerate() {
                if at > 0 || number != 6 || !says_when {
                    content.push_str(piece);
                }
                content.push(message.delimiters.field);
            }
            content.push('\r');
        }
        Self(Uuid::new_v5(&HL7, content.as_bytes()))
    }

    /// The same message, taken in another manner.
    pub(super) fn taken(self, manner: &str) -> Self {
        Self(Uuid::new_v5(&self.0, manner.as_bytes()))
    }

    /// The event at a place among those that the message says about its `group`th patient.
    /// Whenever anything is stored, the first is.
    pub(super) fn event(self, group: usize, at: usize) -> EventId {
        EventId::new(Uuid::new_v5(&self.0, format!("{group}/{at}").as_bytes()))
    }

    /// The event of a message that has a name of its own.
    pub(super) fn named(self, name: &str) -> EventId {
        EventId::new(Uuid::new_v5(&self.0, name.as_bytes()))
    }

    /// Names what is kept of the message as it came, a `time`th time: the parts of one sending
    /// belong together, and no others.
    pub(super) fn kept(self, raw: &[u8], time: u32) -> String {
        let of_bytes = Uuid::new_v5(&self.0, raw);
        Uuid::new_v5(&of_bytes, format!("kept {time}").as_bytes()).to_string()
    }

    /// Names the answer to the message.
    pub(super) fn answer(self) -> String {
        let name = Uuid::new_v5(&self.0, b"answer");
        name.simple().to_string().chars().take(20).collect()
    }
}

/// The patient that a number stands for, if it is nobody's yet.
pub(super) fn patient(identifier: &v1::Identifier) -> PatientId {
    let v1::Identifier { system, value } = identifier;
    PatientId::new(Uuid::new_v5(&HL7, format!("patient\n{system}\n{value}").as_bytes()))
}

/// The visit or stay that a facility numbers so; `time` is how often the number was taken from a
/// visit since.
pub(super) fn numbered_encounter(
    facility: &str,
    number: &v1::Identifier,
    time: u32,
) -> EncounterId {
    let v1::Identifier { system, value } = number;
    let anew = if time > 0 { format!("\nanew {time}") } else { String::new() };
    let name = format!("encounter\n{facility}\n{system}\n{value}{anew}");
    EncounterId::new(Uuid::new_v5(&HL7, name.as_bytes()))
}

/// The visit or stay that began at a time, where it has no number.
pub(super) fn timed_encounter(facility: &str, patient: PatientId, what: &str) -> EncounterId {
    let name = format!("encounter\n{facility}\n{patient}\n{what}");
    EncounterId::new(Uuid::new_v5(&HL7, name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> MessageKey {
        MessageKey::new(&Message::parse(text).unwrap())
    }

    #[test]
    fn a_message_is_known_by_its_sender_control_id_and_content_for_ever() {
        let first = "MSH|^~\\&|HIS|H|GW|R|20260501||ADT^A01|42|P|2.5\rEVN||20260501\rPID|1||7\r";
        // Golden: other ids would take every message a second time.
        assert_eq!(key(first).event(0, 0).to_string(), "7d8fbf45-98f8-5268-a554-4d1c954c2f33");
        let again = "MSH|^~\\&|HIS|H|GW|R|20260502||ADT^A01|42|P|2.5\r\nEVN||20260501\nPID|1||7\n";
        assert_eq!(key(first), key(again), "sent again later, with other ends of lines");
        for other in [
            first.replace("|42|", "|43|"),
            first.replace("HIS", "LIS"),
            first.replace("||7", "||8"),
        ] {
            assert_ne!(key(first), key(&other), "{other}");
        }
        assert_ne!(key(first).event(0, 0), key(first).event(1, 0));
        for nothing in ["EVN|A01", "EVN||", "EVN||soon", "ZZZ||20260501"] {
            let [one, other] =
                [first, again].map(|message| key(&message.replace("EVN||20260501", nothing)));
            assert_ne!(one, other, "when it was sent is when it happened: {nothing}");
        }
    }
}
