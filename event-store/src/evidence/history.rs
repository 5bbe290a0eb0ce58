//! What is signed beside checkpoints: how far back they can reach.
//!
//! Checkpoints that are taken away leave nothing behind, and those that are signed afterwards
//! do not tell what the log was before. So `checkpoints.txt` begins with a remark when a region
//! begins; and where a log is found with nothing signed of it, that is remarked too, once and
//! for ever. Remarks are signed notes like checkpoints:
//!
//! ```text
//! tsunagi/6f0f4e2e-8f3a-4a58-9f5e-0d3c5b7a9e21/history
//! unsigned 12 40213
//! time 2026-11-22T09:00:00.123456Z
//! ```
//!
//! Whoever takes the remark away has to leave out the ends of segments from before it as well:
//! those are signed when a segment ends, never later, and `audit` misses them.

use jiff::Timestamp;
use uuid::Uuid;

use super::checkpoint::region_name;
use crate::log::Location;

/// What a remark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The region begins: nothing was stored before.
    Begun,
    /// Up to here, the log was found without anything signed of it.
    Unsigned(Location),
    /// Up to here, whoever answers for the log takes it as it is.
    Accepted(Location),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remark {
    pub region: Uuid,
    pub said: Said,
    pub made_at: Timestamp,
}

impl Remark {
    pub fn to_text(self) -> String {
        let Self { region, said, made_at } = self;
        let place = |at: Location| format!("{} {}", at.segment, at.offset);
        let said = match said {
            Said::Begun => "begun".to_owned(),
            Said::Unsigned(at) => format!("unsigned {}", place(at)),
            Said::Accepted(at) => format!("accepted {}", place(at)),
        };
        format!("{}/history\n{said}\ntime {made_at}\n", region_name(region))
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let region = lines.next()?.strip_prefix("tsunagi/")?.strip_suffix("/history")?;
        let region = Uuid::parse_str(region).ok()?;
        let said = match lines.next()?.split_once(' ') {
            None => Said::Begun,
            Some(("unsigned", at)) => Said::Unsigned(place(at)?),
            Some(("accepted", at)) => Said::Accepted(place(at)?),
            Some(_) => return None,
        };
        let made_at = lines.next()?.strip_prefix("time ")?.parse().ok()?;
        let read = Self { region, said, made_at };
        // What is read twice in two ways is no remark of ours.
        (read.to_text() == text).then_some(read)
    }
}

fn place(text: &str) -> Option<Location> {
    let (segment, offset) = text.split_once(' ')?;
    Some(Location { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said() -> impl Strategy<Value = Said> {
        let at = || any::<(u32, u32)>().prop_map(|(segment, offset)| Location { segment, offset });
        prop_oneof![Just(Said::Begun), at().prop_map(Said::Unsigned), at().prop_map(Said::Accepted)]
    }

    proptest! {
        #[test]
        fn a_remark_reads_as_it_was_written(said in said(), us in 0..4_000_000_000_000_000i64) {
            let made_at = Timestamp::from_microsecond(us).unwrap();
            let remark = Remark { region: Uuid::from_u128(7), said, made_at };
            prop_assert_eq!(Remark::from_text(&remark.to_text()), Some(remark));
        }
    }

    #[test]
    fn remarks_are_written_so_for_ever() {
        let said = Said::Unsigned(Location { segment: 12, offset: 40213 });
        let made_at = Timestamp::UNIX_EPOCH;
        let remark = Remark { region: Uuid::nil(), said, made_at };
        let text = "tsunagi/00000000-0000-0000-0000-000000000000/history\nunsigned 12 40213\ntime 1970-01-01T00:00:00Z\n";
        assert_eq!(remark.to_text(), text);
        for (right, wrong) in [("12", "012"), ("unsigned", "signed"), ("Z\n", "Z\nmore\n")] {
            assert_eq!(Remark::from_text(&text.replace(right, wrong)), None, "{wrong}");
        }
    }
}
