//! `streams.toml`: from which streams on NATS the log was made, slot by slot. Written and
//! flushed before the first message of a stream is stored.
//!
//! It can be lost: then the streams are compared with the log, which takes longer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tsunagi_bus::nats::Identity;
use tsunagi_bus::{Run, Slot};

use crate::log::LogError;
use crate::region_file::{CHECKSUM, with_checksum, write_durably};

pub(crate) const NAME: &str = "streams.toml";
const FORMAT: i64 = 1;

/// What is known of a slot's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) identity: Identity,
    pub(crate) run: Run,
    /// Positions of events that the stream may have lost, and that are to be published again.
    pub(crate) again: Option<RangeInclusive<u64>>,
}

/// The file, open.
#[derive(Debug)]
pub(crate) struct StreamsFile {
    path: PathBuf,
    /// Readers do not wait for the disk.
    sources: RwLock<Arc<BTreeMap<u16, Source>>>,
    writing: Mutex<()>,
}

impl StreamsFile {
    pub(crate) fn open(data: &Path) -> Result<Self, LogError> {
        let path = data.join(NAME);
        let sources = match std::fs::read(&path) {
            Ok(bytes) => std::str::from_utf8(&bytes).ok().and_then(parse).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "the file is damaged, and is made again");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(LogError::io("reading", &path)(error)),
        };
        Ok(Self { path, sources: RwLock::new(Arc::new(sources)), writing: Mutex::new(()) })
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<Source> {
        self.sources().get(&slot.0).cloned()
    }

    fn sources(&self) -> Arc<BTreeMap<u16, Source>> {
        Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes sources, durably. Waits for the disk.
    pub(crate) fn set(
        &self,
        changed: impl IntoIterator<Item = (Slot, Source)>,
    ) -> Result<(), LogError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.sources();
        let mut all = BTreeMap::clone(&before);
        all.extend(changed.into_iter().map(|(slot, source)| (slot.0, source)));
        if all != *before {
            write_durably(&self.path, render(&all).as_bytes())?;
            *self.sources.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        }
        Ok(())
    }
}

/// Whether the folder takes its events from NATS.
pub(crate) fn is_there(data: &Path) -> bool {
    data.join(NAME).exists()
}

fn render(sources: &BTreeMap<u16, Source>) -> String {
    let mut text = format!(
        "# From which streams on NATS the log was made. Keep it with the log.\nformat = {FORMAT}\n"
    );
    for (slot, Source { identity, run, again }) in sources {
        let Identity { created_ns, epoch } = identity;
        let (again_from, again_to) =
            again.as_ref().map_or((1, 0), |again| (*again.start(), *again.end()));
        // Writing to a text cannot fail.
        let _written = writeln!(
            text,
            "\n[[slot]]\nslot = {slot}\ncreated_ns = {created_ns}\nepoch = \"{epoch}\"\n\
             n = {}\nsequence = {}\nagain_from = {again_from}\nagain_to = {again_to}",
            run.n, run.sequence
        );
    }
    with_checksum(&text)
}

fn parse(text: &str) -> Option<BTreeMap<u16, Source>> {
    let (checked, _) = text.split_once(CHECKSUM)?;
    if with_checksum(checked) != text {
        return None;
    }
    let table: toml::Table = checked.parse().ok()?;
    if table.get("format")?.as_integer()? != FORMAT {
        return None;
    }
    let Some(slots) = table.get("slot") else { return Some(BTreeMap::new()) };
    slots.as_array()?.iter().map(|row| parse_source(row.as_table()?)).collect()
}

fn parse_source(row: &toml::Table) -> Option<(u16, Source)> {
    let number = |name: &str| row.get(name)?.as_integer();
    let count = |name: &str| u64::try_from(number(name)?).ok();
    let epoch = row.get("epoch")?.as_str()?.to_owned();
    let identity = Identity { created_ns: number("created_ns")?, epoch };
    let run = Run { n: count("n")?, sequence: count("sequence")? };
    let again = count("again_from")?..=count("again_to")?;
    let again = (!again.is_empty()).then_some(again);
    Some((u16::try_from(number("slot")?).ok()?, Source { identity, run, again }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source() -> impl Strategy<Value = Source> {
        let number = 1..i64::MAX.unsigned_abs();
        let again = prop::option::of((number.clone(), number.clone()));
        let again =
            again.prop_map(|again| again.map(|(one, other)| one.min(other)..=one.max(other)));
        (any::<i64>(), "[0-9a-f-]{0,36}", number.clone(), number, again).prop_map(
            |(created_ns, epoch, n, sequence, again)| Source {
                identity: Identity { created_ns, epoch },
                run: Run { n, sequence },
                again,
            },
        )
    }

    proptest! {
        #[test]
        fn the_file_reads_as_it_was_written(
            sources in prop::collection::btree_map(any::<u16>(), source(), 0..20)
        ) {
            prop_assert_eq!(parse(&render(&sources)), Some(sources));
        }

        #[test]
        fn a_changed_file_is_not_believed(
            sources in prop::collection::btree_map(any::<u16>(), source(), 1..4),
            at in any::<prop::sample::Index>(),
        ) {
            let mut bytes = render(&sources).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            let read = String::from_utf8(bytes).ok().and_then(|text| parse(&text));
            prop_assert_eq!(read, None);
        }
    }

    #[test]
    fn the_written_form_stays_readable() {
        let text = "format = 1\n\n[[slot]]\nslot = 3\ncreated_ns = 5\nepoch = \"e\"\nn = 8\n\
                    sequence = 2\nagain_from = 4\nagain_to = 7\n";
        let expected = Source {
            identity: Identity { created_ns: 5, epoch: "e".into() },
            run: Run { n: 8, sequence: 2 },
            again: Some(4..=7),
        };
        assert_eq!(parse(&with_checksum(text)), Some(BTreeMap::from([(3, expected)])));
    }
}
