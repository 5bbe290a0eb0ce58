//! Addresses that must not leave the record (DV 住所秘匿): how a patient's events say so, and
//! what is sent in their place.
//!
//! When an address becomes confidential, what was said of it before must not leave either. So
//! whether an event's address may be sent is decided by the patient's whole stream, also beyond
//! the part that is read, and anew each time: an answer that was kept would go stale.

use prost::Message as _;
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use crate::port::{Bus, ReadError, Stored};

/// The version of the last of these events that says that the patient's address is
/// confidential; 0 if none does. Addresses in the stream's events up to it are withheld.
pub fn withheld_up_to(events: &[Stored]) -> u64 {
    let says_so = |stored: &&Stored| {
        let event = v1::Event::decode(stored.record.clone()).ok();
        event.is_some_and(|event| {
            let payload = Payload::decode(&event.r#type, &event.payload);
            payload.is_ok_and(|mut payload| is_confidential(&event, &mut payload))
        })
    };
    events.iter().rev().find(says_so).map_or(0, |stored| stored.placed.version)
}

/// Whether an event says that the patient's address is confidential: in the address, or by its
/// label.
pub fn is_confidential(event: &v1::Event, payload: &mut Payload) -> bool {
    let Some(demographics) = demographics(payload) else { return false };
    let address = demographics.address.as_ref();
    let label = v1::Sensitivity::ConfidentialAddress.into();
    address.is_some_and(|address| address.confidential) || event.sensitivity.contains(&label)
}

/// What a payload says of who the patient is.
pub fn demographics(payload: &mut Payload) -> Option<&mut v1::Demographics> {
    if let Payload::PatientRegistered(message) = payload {
        message.demographics.as_mut()
    } else if let Payload::DemographicsUpdated(message) = payload {
        message.demographics.as_mut()
    } else {
        None
    }
}

/// The bytes of a payload with its address withheld. None if there is no address in it.
pub fn without_address(mut payload: Payload) -> Option<Vec<u8>> {
    withhold(demographics(&mut payload)?.address.as_mut()?);
    Some(payload.encode_to_vec())
}

/// Leaves of an address only that it is confidential.
pub fn withhold(address: &mut v1::Address) {
    *address = v1::Address { confidential: true, ..v1::Address::default() };
}

/// The event as it is sent: as it came, unless an address in it must not leave the record.
pub(crate) async fn sent(
    bus: &dyn Bus,
    stored: &Stored,
    event: v1::Event,
) -> Result<v1::Event, ReadError> {
    let Ok(mut payload) = Payload::decode(&event.r#type, &event.payload) else { return Ok(event) };
    if demographics(&mut payload).is_none_or(|said| said.address.is_none()) {
        return Ok(event);
    }
    if !is_confidential(&event, &mut payload) && !is_confidential_later(bus, stored).await? {
        return Ok(event);
    }
    Ok(v1::Event { payload: without_address(payload).unwrap_or_default(), ..event })
}

/// Whether an event behind this one says that the patient's address is confidential.
async fn is_confidential_later(bus: &dyn Bus, stored: &Stored) -> Result<bool, ReadError> {
    let mut after = stored.placed.version;
    loop {
        let events = bus.read(stored.stream, after).await?;
        let Some(last) = events.last() else { return Ok(false) };
        if withheld_up_to(&events) > 0 {
            return Ok(true);
        }
        after = last.placed.version;
    }
}
