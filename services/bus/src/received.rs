//! What systems sent and nothing is made of here: kept, and given back by the FHIR door alone.
//!
//! What must stay true: nobody who follows events is sent what such an element says, nor anything
//! by which a guess at it could be confirmed. Whatever the sender wrote is in it, an address that
//! must not leave the record too, and what is said here in its place has that as well.

use prost::Message as _;
use tsunagi_proto::v1;

/// The types of events that keep elements, of whatever version, begin so.
const RECEIVED: &str = "care.record.resource_received.";

/// The event as it is sent to those who follow events: which elements there are, and not what they
/// say.
pub(crate) fn sent(event: v1::Event) -> v1::Event {
    if !event.r#type.starts_with(RECEIVED) {
        return event;
    }
    let mut message = v1::ResourceReceived::decode(&*event.payload).unwrap_or_default();
    for element in &mut message.elements {
        let name = std::mem::take(&mut element.name);
        *element = v1::ReceivedElement { name, ..v1::ReceivedElement::default() };
    }
    for element in &mut message.too_large {
        let name = std::mem::take(&mut element.name);
        *element = v1::ElementTooLarge { name, ..v1::ElementTooLarge::default() };
    }
    v1::Event { payload: message.encode_to_vec(), ..event }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_element_only_its_name_is_sent() {
        const SHOWN: &str = "0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e";
        let element = |json: &str, shown: &str| v1::ReceivedElement {
            name: "contact".to_owned(),
            json: json.to_owned(),
            shown: shown.to_owned(),
        };
        let too_large = |shown: &str| v1::ElementTooLarge {
            name: "photo".to_owned(),
            hash: shown.to_owned(),
            shown: shown.to_owned(),
        };
        let event = |event_type: &str, json: &str, shown: &str| v1::Event {
            r#type: event_type.to_owned(),
            payload: v1::ResourceReceived {
                elements: vec![element(json, shown)],
                too_large: vec![too_large(shown)],
                ..Default::default()
            }
            .encode_to_vec(),
            ..v1::Event::default()
        };
        for version in ["v1", "v2"] {
            let of_type = format!("{RECEIVED}{version}");
            assert_eq!(sent(event(&of_type, "[]", SHOWN)), event(&of_type, "", ""));
        }
        let other = event("care.record.entered_in_error.v1", "[]", SHOWN);
        assert_eq!(sent(other.clone()), other);
    }
}
