//! Every key in sled, in one table. A released layout never changes: a new one gets a new
//! name for its folder.
//!
//! | key                                      | value                                         |
//! |------------------------------------------|-----------------------------------------------|
//! | `c`                                      | the cursor up to which the rows are made      |
//! | `e` + organisation id + 0 + patient id   | nothing: it ever had to do with them           |
//! | `m` + patient id                         | nothing: events were moved to their record    |
//! | `o` + organisation id + 0 + patient id   | nothing: the organisation has to do with them |
//! | `p` + patient id                         | the patient's row, a `care.v1.PatientSummary` |
//! | `r` + resource id                        | the resource's, a `care.v1.DirectoryEntry`    |

use tsunagi_domain::{PatientId, ResourceId};
use uuid::Uuid;

/// The folder of the rows. Its number is the layout's, and that of the rules by which they are made.
pub(crate) const FOLDER: &str = "rows-7.sled";
/// The folders of earlier layouts, which nobody needs any more.
pub(crate) const EARLIER_FOLDERS: [&str; 6] = [
    "patients-1.sled",
    "patients-2.sled",
    "rows-3.sled",
    "rows-4.sled",
    "rows-5.sled",
    "rows-6.sled",
];

pub(crate) const CHECKPOINT: &[u8] = b"c";
const PATIENT: u8 = b'p';
const ORGANISATION: u8 = b'o';
const EVER: u8 = b'e';
const MOVED_TO: u8 = b'm';
const RESOURCE: u8 = b'r';

/// Sorts as patient ids do.
pub(crate) fn patient(id: PatientId) -> [u8; 17] {
    key(PATIENT, id.uuid())
}

/// Of a patient to whose record events were moved.
pub(crate) fn moved_to(id: PatientId) -> [u8; 17] {
    key(MOVED_TO, id.uuid())
}

/// Sorts as resource ids do.
pub(crate) fn resource(id: ResourceId) -> [u8; 17] {
    key(RESOURCE, id.uuid())
}

fn key(kind: u8, id: Uuid) -> [u8; 17] {
    let mut key = [kind; 17];
    for (to, from) in key.iter_mut().skip(1).zip(id.into_bytes()) {
        *to = from;
    }
    key
}

pub(crate) const PATIENTS: &[u8] = &[PATIENT];
pub(crate) const MOVED_TO_ALL: &[u8] = &[MOVED_TO];
pub(crate) const RESOURCES: &[u8] = &[RESOURCE];

pub(crate) fn read_patient(key: &[u8]) -> Option<PatientId> {
    read(PATIENT, key).map(PatientId::new)
}

pub(crate) fn read_moved_to(key: &[u8]) -> Option<PatientId> {
    read(MOVED_TO, key).map(PatientId::new)
}

pub(crate) fn read_resource(key: &[u8]) -> Option<ResourceId> {
    read(RESOURCE, key).map(ResourceId::new)
}

fn read(of: u8, key: &[u8]) -> Option<Uuid> {
    let (kind, id) = key.split_first()?;
    (*kind == of).then_some(())?;
    Uuid::from_slice(id).ok()
}

/// With which the keys of an organisation's patients begin. Ids of organisations have no zeros.
pub(crate) fn of_organisation(organisation: &str) -> Vec<u8> {
    [&[ORGANISATION], organisation.as_bytes(), &[0]].concat()
}

/// The same, of all patients that it ever had to do with.
pub(crate) fn ever_of_organisation(organisation: &str) -> Vec<u8> {
    [&[EVER], organisation.as_bytes(), &[0]].concat()
}

/// The key of one of an organisation's patients; `prefix` is with which all of these begin.
pub(crate) fn in_organisation(prefix: &[u8], id: PatientId) -> Vec<u8> {
    [prefix, id.uuid().as_bytes()].concat()
}

/// The patient of a key that begins with `prefix`.
pub(crate) fn read_in_organisation(key: &[u8], prefix: &[u8]) -> Option<PatientId> {
    Uuid::from_slice(key.strip_prefix(prefix)?).ok().map(PatientId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_was_written() {
        let id = PatientId::new(Uuid::from_u128(7));
        assert_eq!(read_patient(&patient(id)), Some(id));
        assert_eq!(read_patient(CHECKPOINT), None);
        let of = ResourceId::new(Uuid::from_u128(7));
        assert_eq!((read_resource(&resource(of)), read_patient(&resource(of))), (Some(of), None));
        let key = in_organisation(&of_organisation("acute"), id);
        assert_eq!(read_in_organisation(&key, &of_organisation("acute")), Some(id));
        assert_eq!(read_in_organisation(&key, &ever_of_organisation("acute")), None);
        assert_eq!(read_in_organisation(&key, &of_organisation("acut")), None);
    }
}
