//! Prints a timeline line by line: what happened on each day, and, if that is asked for, who said it
//! and how it came.

use jiff::{SignedDuration, Timestamp};
use tsunagi_domain::{CareTime, Zone};
use tsunagi_event_store::timeline::wording::local_time;
use tsunagi_proto::v1;

use super::Language;
use super::glance::{glance, names, sex, state_words};
use super::said::texts;
use crate::output::{leave_a_line, say};

/// What is recorded longer than this after it happened is marked.
const LATE_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Prints a timeline line by line, and numbers the episodes that it meets.
pub(super) struct Printer {
    language: Language,
    pub(super) zone: Zone,
    episodes: Vec<String>,
    day: String,
    /// Whether who said each entry, and how it came, is shown in full.
    pub(super) details: bool,
}

impl Printer {
    pub(super) fn new(language: Language, zone: Zone) -> Self {
        Self { language, zone, episodes: Vec::new(), day: String::new(), details: false }
    }

    pub(super) fn head(&self, patient: &v1::PatientSummary) {
        let known = patient.demographics.clone().unwrap_or_default();
        let born = match self.language {
            Language::En => format!("born {}", known.birth_on),
            Language::Ja | Language::Both => format!("{}生", known.birth_on),
        };
        let sex = sex(known.sex(), self.language);
        say(format_args!("{}  {sex}  {born}", names(patient)));
        say(format_args!("{}", patient.patient_id));
        for identifier in &patient.identifiers {
            say(format_args!("  {}|{}", identifier.system, identifier.value));
        }
        say(state_words(patient, self.language, &self.zone));
        for (ja, en) in glance(patient, &self.zone) {
            say(format_args!("  {}", if self.language == Language::En { en } else { ja }));
        }
    }

    /// What is still to be said of a merge that was taken back: whose it is what was told meanwhile.
    pub(super) fn told_while_merged(&self, told: &v1::ToldWhileMerged) {
        let v1::ToldWhileMerged {
            survivor_patient_id: survivor, retired_patient_id: retired, ..
        } = told;
        let left = told.events.iter().filter(|event| event.entered_in_error_by_event_id.is_empty());
        let left: Vec<&v1::ToldEvent> = left.collect();
        if left.is_empty() {
            return;
        }
        let number = left.len();
        if self.language == Language::En {
            say(format_args!(
                "  {number} events were told of {survivor} while {retired} was merged into it; what is not its own, move (CareTeam.MoveEvents):"
            ));
        } else {
            say(format_args!(
                "  {retired} を統合していた間に {survivor} に記録された {number} 件。本人のものでなければ移す (CareTeam.MoveEvents):"
            ));
        }
        let listed = u32::try_from(told.events.len()).unwrap_or(u32::MAX);
        let cut = told.count.saturating_sub(listed);
        if cut > 0 {
            if self.language == Language::En {
                say(format_args!(
                    "    (cut: the {cut} told first are not listed here; look for them in the timeline of {survivor})"
                ));
            } else {
                say(format_args!(
                    "    （先に記録された {cut} 件はここに表示されない。{survivor} のタイムラインを参照）"
                ));
            }
        }
        for event in left {
            let at = local_time(&event.occurred_at, &self.zone);
            let by = event.actor.clone().unwrap_or_default().organisation;
            say(format_args!("    {}  {at}  {}  {by}", event.event_id, event.r#type));
        }
    }

    pub(super) fn entry(&mut self, entry: &v1::TimelineEntry) {
        let at = local_time(&entry.occurred_at, &self.zone);
        let (day, clock) = at.split_once(' ').unwrap_or((&at, "     "));
        if day != self.day {
            leave_a_line();
            say(day);
            day.clone_into(&mut self.day);
        }
        let episode = self.episode(&entry.episode_id);
        let by = entry.by.clone().unwrap_or_default();
        let is_cancelled = !entry.cancelled_by_event_id.is_empty();
        let is_error = !entry.entered_in_error_by_event_id.is_empty();
        let words = entry.text.clone().unwrap_or_default();
        let (mark, ja, en) = if is_error {
            ("×", "【誤登録】", "[entered in error] ")
        } else if is_cancelled {
            ("×", "【取消】", "[cancelled] ")
        } else if entry.earlier.is_empty() {
            (" ", "", "")
        } else {
            ("*", "【訂正】", "[corrected] ")
        };
        let note = &entry.note;
        let note = if note.is_empty() { String::new() } else { format!("  「{note}」") };
        let (late_ja, late_en) = self.recorded_late(entry).unwrap_or_default();
        let japanese = format!("{ja}{}{note}  ({}){late_ja}", words.ja, by.ja);
        let english = format!("{en}{}{note}  ({}){late_en}", words.en, by.en);
        let first = if self.language == Language::En { &english } else { &japanese };
        say(format_args!("{mark} {clock}  {episode:<3}  {first}"));
        if self.language == Language::Both {
            say(format_args!("              {english}"));
        }
        if self.details {
            for line in self.details(entry) {
                say(format_args!("              {line}"));
            }
        }
        for earlier in &entry.earlier {
            let words = earlier.text.clone().unwrap_or_default();
            let at = local_time(&earlier.occurred_at, &self.zone);
            if self.language == Language::En {
                say(format_args!("              before: {at} {}", words.en));
            } else {
                say(format_args!("              訂正前: {at} {}", words.ja));
            }
        }
    }

    /// What the marks beside the entries mean, if there were any.
    pub(super) fn legend(&self) {
        if self.episodes.is_empty() {
            return;
        }
        leave_a_line();
        let ja = "E1、E2…: 続けて受けた受診・入院のひとまとまり (救急受診からの入院、転院を含む)";
        let en = "E1, E2 …: stays and visits that continue one another, such as an emergency visit, the stay after it and a transfer";
        match self.language {
            Language::Ja => say(ja),
            Language::En => say(en),
            Language::Both => {
                say(ja);
                say(en);
            }
        }
    }

    /// Who said it and for whom, by which door, when it happened and was recorded; and its ids.
    fn details(&self, entry: &v1::TimelineEntry) -> Vec<String> {
        let actor = entry.actor.clone().unwrap_or_default();
        let source = entry.source.clone().unwrap_or_default();
        let recorded_at = entry.recorded_at.as_ref();
        let recorded_at =
            recorded_at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()).map(CareTime::at);
        let recorded_at = recorded_at.map(|at| at.words(&self.zone)).unwrap_or_default();
        let at = local_time(&entry.occurred_at, &self.zone);
        let told = |ja: &str, en: &str, value: &str| {
            let name = if self.language == Language::En { en } else { ja };
            if value.is_empty() { String::new() } else { format!("{name} {value}  ") }
        };
        let lines = [
            told("記録者", "by", &actor.person)
                + &told("職種", "role", &actor.role)
                + &told("機関", "of", &actor.organisation)
                + &told("代理先", "for", &actor.on_behalf_of),
            told("入口", "door", &source.door)
                + &told("送信元", "system", &source.system)
                + &told("発生", "happened", &at)
                + &told("記録", "recorded", &recorded_at),
            told("事象", "event", &entry.event_id)
                + &told("エピソード", "episode", &entry.episode_id),
        ];
        let lines = lines.into_iter().map(|line| line.trim_end().to_owned());
        lines.chain(texts(entry, self.language)).collect()
    }

    /// When it was recorded, in Japanese and English, if that was long after it happened.
    fn recorded_late(&self, entry: &v1::TimelineEntry) -> Option<(String, String)> {
        let recorded_at = entry.recorded_at.as_ref()?;
        let recorded_at = Timestamp::new(recorded_at.seconds, recorded_at.nanos).ok()?;
        let occurred_at = CareTime::parse(&entry.occurred_at, &self.zone).ok()?;
        let is_late = recorded_at.duration_since(occurred_at.latest()) > LATE_AFTER;
        let at = CareTime::at(recorded_at).words(&self.zone);
        is_late.then(|| (format!("  後日記録 {at}"), format!("  recorded {at}")))
    }

    /// `E1` for the first episode, and so on; nothing for what belongs to none.
    fn episode(&mut self, id: &str) -> String {
        if id.is_empty() {
            return String::new();
        }
        let known = self.episodes.iter().position(|episode| episode == id);
        let index = known.unwrap_or_else(|| {
            self.episodes.push(id.to_owned());
            self.episodes.len() - 1
        });
        format!("E{}", index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_say_who_for_whom_when_and_by_which_door() {
        let zone = Zone::named("Asia/Tokyo").unwrap();
        let recorded_at: Timestamp = "2026-05-02T01:00:00Z".parse().unwrap();
        let entry = v1::TimelineEntry {
            event_id: "e".to_owned(),
            occurred_at: "2026-05-01".to_owned(),
            recorded_at: Some(tsunagi_bus::handler::to_wire(recorded_at)),
            actor: Some(v1::Actor {
                organisation: "acute".to_owned(),
                role: "liaison-nurse".to_owned(),
                person: "ln-1".to_owned(),
                on_behalf_of: "seaside".to_owned(),
            }),
            source: Some(v1::Source { door: "discharge-desk".to_owned(), ..Default::default() }),
            ..v1::TimelineEntry::default()
        };
        let expected = [
            "by ln-1  role liaison-nurse  of acute  for seaside",
            "door discharge-desk  happened 2026-05-01  recorded 2026-05-02 10:00",
            "event e",
        ];
        assert_eq!(Printer::new(Language::En, zone).details(&entry), expected);
    }

    #[test]
    fn what_is_recorded_more_than_a_day_after_it_happened_is_marked() {
        let zone = Zone::named("Asia/Tokyo").unwrap();
        let printer = Printer::new(Language::Ja, zone);
        let late = |occurred_at: &str, recorded_at: &str| {
            let recorded_at: Timestamp = recorded_at.parse().unwrap();
            printer.recorded_late(&v1::TimelineEntry {
                occurred_at: occurred_at.to_owned(),
                recorded_at: Some(tsunagi_bus::handler::to_wire(recorded_at)),
                ..v1::TimelineEntry::default()
            })
        };
        let at = "2026-05-01T10:00:00+09:00";
        assert_eq!(late(at, "2026-05-02T01:00:00Z"), None);
        let marked = late(at, "2026-05-02T01:00:01Z").unwrap();
        assert_eq!(marked.0, "  後日記録 2026-05-02 10:00");
        assert_eq!(marked.1, "  recorded 2026-05-02 10:00");
        assert_eq!(late("2026-05-01", "2026-05-02T14:00:00Z"), None, "a day lasts until its end");
        assert!(late("2026-05-01", "2026-05-02T16:00:00Z").is_some());
    }
}
