//! When the version of an Encounter was written of which an event was made. It stands in the event's
//! source, beside the resource's key, as a search for that version: `Encounter/7?_lastUpdated=...`.

use jiff::Timestamp;
use tsunagi_domain::record::FUTURE_TOLERANCE;
use tsunagi_domain::{CareTime, Zone};
use tsunagi_proto::v1;

use super::directory::key;
use super::map::Mapper;
use super::resource::Encounter;
use crate::text::code;

const WRITTEN: &str = "?_lastUpdated=";

/// What was written then, as a source names it. Of what says no time, its key alone.
pub(super) fn name(key: &str, written: &str) -> String {
    if written.is_empty() { key.to_owned() } else { format!("{key}{WRITTEN}{written}") }
}

/// The key of the resource that a source names, and when the version was written, if it says so.
pub(crate) fn of(source: &v1::Source) -> Option<(&str, Timestamp)> {
    let (key, written) = source.message_id.split_once(WRITTEN)?;
    Some((key, moment(written)?))
}

fn moment(written: &str) -> Option<Timestamp> {
    CareTime::parse(written, &Zone::utc()).ok().map(|at| at.earliest())
}

impl Mapper<'_> {
    /// When an encounter says that it was written. What was written by a clock that is far ahead was
    /// written by now: not all that comes later is older.
    pub(super) fn written<'e>(&'e self, encounter: &'e Encounter) -> &'e str {
        let written = encounter.meta.last_updated.as_str();
        match (moment(written), moment(self.now)) {
            (Some(at), Some(now)) if now + FUTURE_TOLERANCE < at => self.now,
            (Some(_), _) => written,
            (None, _) => "",
        }
    }

    /// When an encounter was written, if it says so.
    pub fn written_at(&self, encounter: &Encounter) -> Option<Timestamp> {
        moment(self.written(encounter))
    }

    /// Whether a version of this encounter that was written later was taken: `last` is when the
    /// last one was written that says so.
    pub fn is_older(&self, encounter: &Encounter, last: Option<Timestamp>) -> bool {
        self.written_at(encounter).zip(last).is_some_and(|(written, last)| written < last)
    }

    /// When the version of an encounter was written that was written last, of those of which events
    /// with these sources were made. What another system calls the same is another one.
    pub fn last_written<'s>(
        &self,
        encounter: &Encounter,
        sources: impl Iterator<Item = &'s v1::Source>,
    ) -> Option<Timestamp> {
        let (system, encounter_key) = (code(self.ids.source()), key("Encounter", &encounter.id));
        let of = sources.filter(|source| source.system == system).filter_map(of);
        of.filter(|(key, _)| *key == encounter_key).map(|(_, written)| written).max()
    }

    /// Whether an encounter was written after that of which an entry was made; of one that does
    /// not say when, that was when it was recorded.
    pub(super) fn is_newer(&self, encounter: &Encounter, entry: &v1::TimelineEntry) -> bool {
        let of = entry.source.as_ref().and_then(of).map(|(_, written)| written);
        let recorded = entry.recorded_at.as_ref();
        let recorded = recorded.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
        let written = self.written_at(encounter);
        written.zip(of.or(recorded)).is_some_and(|(written, of)| written > of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_says_of_which_version_an_event_was_made() {
        let source = |message_id: String| v1::Source { message_id, ..v1::Source::default() };
        let written = "2026-03-01T10:00:00.5+09:00";
        let dated = source(name("Encounter/7", written));
        assert_eq!(of(&dated), Some(("Encounter/7", "2026-03-01T01:00:00.5Z".parse().unwrap())));
        assert_eq!(of(&source(name("Encounter/7", ""))), None);
    }
}
