//! A checkpoint: what a slot's tree was at a time, as a signed note can say it
//! (<https://c2sp.org/tlog-checkpoint>).
//!
//! ```text
//! tsunagi/6f0f4e2e-8f3a-4a58-9f5e-0d3c5b7a9e21/slot-07
//! 20852
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! time 2026-11-22T09:00:00.123456Z
//! sealed 12
//! ```
//!
//! Region and slot; events in the slot; the root of their tree. Then two lines of our own: when
//! it was made, and the segment at whose end it was made, if it was made at one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use uuid::Uuid;

use super::merkle::Hash;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    pub region: Uuid,
    pub slot: u16,
    /// Leaves of the tree: the events from the first to this position.
    pub size: u64,
    pub root: Hash,
    pub made_at: Timestamp,
    /// The segment that ends with these events.
    pub sealed: Option<u32>,
}

/// The name of a region, and of its key.
pub fn region_name(region: Uuid) -> String {
    format!("tsunagi/{region}")
}

impl Checkpoint {
    pub fn to_text(self) -> String {
        let Self { region, slot, size, root, made_at, sealed } = self;
        let (name, root) = (region_name(region), BASE64_STANDARD.encode(root));
        let sealed = sealed.map(|segment| format!("sealed {segment}\n")).unwrap_or_default();
        format!("{name}/slot-{slot:02}\n{size}\n{root}\ntime {made_at}\n{sealed}")
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = lines.next()?.strip_prefix("tsunagi/")?;
        let (region, slot) = origin.split_once("/slot-")?;
        let size = lines.next()?.parse().ok()?;
        let root = BASE64_STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let made_at = lines.next()?.strip_prefix("time ")?.parse().ok()?;
        let sealed = match lines.next() {
            Some(line) => Some(line.strip_prefix("sealed ")?.parse().ok()?),
            None => None,
        };
        let region = Uuid::parse_str(region).ok()?;
        let read = Self { region, slot: slot.parse().ok()?, size, root, made_at, sealed };
        // What is read twice in two ways is no checkpoint of ours.
        (read.to_text() == text).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
tsunagi/6f0f4e2e-8f3a-4a58-9f5e-0d3c5b7a9e21/slot-07
20852
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
time 2026-11-22T09:00:00.123456Z
";

    #[test]
    fn a_checkpoint_reads_as_it_was_written() {
        let read = Checkpoint::from_text(TEXT).unwrap();
        assert_eq!((read.slot, read.size, read.sealed), (7, 20852, None));
        assert_eq!(read.to_text(), TEXT);
        let sealed = format!("{TEXT}sealed 12\n");
        assert_eq!(Checkpoint::from_text(&sealed).unwrap().sealed, Some(12));
    }

    #[test]
    fn what_is_nearly_a_checkpoint_is_none() {
        for (right, wrong) in [
            ("slot-07", "slot-7"),
            ("20852", "020852"),
            ("CsUY", "CsU"),
            ("time ", "Time "),
            ("56Z\n", "56Z\nmore\n"),
            ("tsunagi/", "other/"),
        ] {
            assert_eq!(Checkpoint::from_text(&TEXT.replace(right, wrong)), None, "{wrong}");
        }
    }
}
