//! What systems sent and nothing is made of here: kept, and given back by the FHIR door alone.
//!
//! What must stay true: nobody who follows events is sent what such an element says. Whatever the
//! sender wrote is in it, an address that must not leave the record too.

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
    message.elements.iter_mut().for_each(|element| element.json.clear());
    v1::Event { payload: message.encode_to_vec(), ..event }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_element_only_its_name_is_sent() {
        let element = |json: &str| v1::ReceivedElement {
            name: "contact".to_owned(),
            json: json.to_owned(),
            shown: String::new(),
        };
        let event = |event_type: &str, json: &str| v1::Event {
            r#type: event_type.to_owned(),
            payload: v1::ResourceReceived { elements: vec![element(json)], ..Default::default() }
                .encode_to_vec(),
            ..v1::Event::default()
        };
        for version in ["v1", "v2"] {
            let of_type = format!("{RECEIVED}{version}");
            assert_eq!(sent(event(&of_type, "[]")), event(&of_type, ""));
        }
        let other = event("care.record.entered_in_error.v1", "[]");
        assert_eq!(sent(other.clone()), other);
    }
}
