//! Every key in sled, in one table. A released layout never changes: a new one gets a new
//! name for its folder.
//!
//! | key               | value                                        |
//! |-------------------|----------------------------------------------|
//! | `c`               | the cursor up to which the rows are made     |
//! | `p` + patient id  | the patient's row, a `care.v1.PatientSummary` |

use tsunagi_domain::PatientId;
use uuid::Uuid;

/// The folder of the rows. Its number is the layout's.
pub(crate) const FOLDER: &str = "patients-1.sled";

pub(crate) const CHECKPOINT: &[u8] = b"c";
const PATIENT: u8 = b'p';

/// Sorts as patient ids do.
pub(crate) fn patient(id: PatientId) -> [u8; 17] {
    let mut key = [PATIENT; 17];
    for (to, from) in key.iter_mut().skip(1).zip(id.uuid().into_bytes()) {
        *to = from;
    }
    key
}

pub(crate) const PATIENTS: &[u8] = &[PATIENT];

pub(crate) fn read_patient(key: &[u8]) -> Option<PatientId> {
    let (kind, id) = key.split_first()?;
    (*kind == PATIENT).then_some(())?;
    Uuid::from_slice(id).ok().map(PatientId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_was_written() {
        let id = PatientId::new(Uuid::from_u128(7));
        assert_eq!(read_patient(&patient(id)), Some(id));
        assert_eq!(read_patient(CHECKPOINT), None);
    }
}
