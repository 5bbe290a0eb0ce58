//! The event of the same record that an event cancels or corrects.

use crate::catalogue::{Payload, Unreadable};

/// The id of the event that an event cancels or corrects, if it does; in what is said instead of a
/// cancel, that of this.
pub fn event_ids(payload: &Payload) -> Result<Vec<String>, Unreadable> {
    let mut named = Vec::new();
    for_each(&mut payload.clone(), &mut |id| named.push(id.clone()))?;
    Ok(named)
}

/// Names other events instead, where `instead` knows one.
pub fn name_instead(
    payload: &mut Payload,
    instead: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Unreadable> {
    for_each(payload, &mut |id| {
        if let Some(other) = instead(id) {
            *id = other;
        }
    })
}

fn for_each(payload: &mut Payload, see: &mut dyn FnMut(&mut String)) -> Result<(), Unreadable> {
    if let Payload::AdmissionPlannedCancelled(cancel)
    | Payload::RegistrationCancelled(cancel)
    | Payload::AdmitCancelled(cancel)
    | Payload::TransferPlannedCancelled(cancel)
    | Payload::TransferCancelled(cancel)
    | Payload::LeaveStartedCancelled(cancel)
    | Payload::LeaveReturnedCancelled(cancel)
    | Payload::DischargePlannedCancelled(cancel)
    | Payload::DischargeCancelled(cancel) = payload
    {
        see(&mut cancel.cancelled_event_id);
    } else if let Payload::EnteredInError(error) = payload {
        see(&mut error.corrects_event_id);
    } else if let Payload::TimeCorrected(correction) = payload {
        see(&mut correction.corrects_event_id);
    } else if let Payload::ValueCorrected(correction) = payload {
        see(&mut correction.corrects_event_id);
        let mut instead = Payload::decode(&correction.r#type, &correction.payload)?;
        let before = instead.clone();
        for_each(&mut instead, see)?;
        // Bytes in which nothing is named stay as they came.
        if instead != before {
            correction.payload = instead.encode_to_vec();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Family, TYPES};
    use crate::fields::Fields;
    use crate::v1;

    /// A type that names an event in a field of its own is known here.
    #[test]
    fn no_event_that_is_named_is_overlooked() {
        for of in TYPES {
            let payload = Payload::decode(of.name, &[]).unwrap();
            let fields = payload.fields().map(Fields::names).unwrap_or_default();
            let named = fields.iter().filter(|name| name.ends_with("_event_id")).count();
            if !matches!(of.family, Family::System | Family::Organisation) {
                assert_eq!(event_ids(&payload).unwrap().len(), named, "{}", of.name);
            }
        }
    }

    #[test]
    fn what_is_said_instead_of_a_cancel_names_another_event_too() {
        let cancel = |of: &str| {
            Payload::AdmitCancelled(v1::EncounterCancellation {
                cancelled_event_id: of.to_owned(),
                ..Default::default()
            })
        };
        let corrected = |corrects: &str, cancels: &str| {
            Payload::ValueCorrected(v1::ValueCorrected {
                corrects_event_id: corrects.to_owned(),
                r#type: cancel("").event_type().to_owned(),
                payload: cancel(cancels).encode_to_vec(),
                ..Default::default()
            })
        };
        let mut payload = corrected("a", "b");
        assert_eq!(event_ids(&payload).unwrap(), ["a", "b"]);
        name_instead(&mut payload, &|id| (id != "a").then(|| format!("{id}2"))).unwrap();
        assert_eq!(payload, corrected("a", "b2"));
    }
}
