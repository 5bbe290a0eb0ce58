//! Tells a sentence of the schema: what stands in braces is told of the message, and what stands
//! between `<` and `>` is left out where the message says nothing of it. How a sentence is
//! written, `EventType` in `catalogue.proto` says.

use tsunagi_proto::fields::{self, Fields, Value};
use tsunagi_proto::{codes, v1};

use super::roles::role;
use super::units::unit;
use super::{Context, excerpt, local_time, organisation, place};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tongue {
    Ja,
    En,
}

/// The set of what is observed, where no system is named.
const OBSERVED: &str = "loinc.observation";

/// Tells of one message in one language.
#[derive(Clone, Copy)]
pub(super) struct Teller<'a> {
    pub(super) message: &'a dyn Fields,
    pub(super) context: Context<'a>,
    pub(super) tongue: Tongue,
}

impl Teller<'_> {
    pub(super) fn sentence(self, sentence: &str) -> String {
        let mut told = String::new();
        let mut rest = sentence;
        while let Some((before, after)) = rest.split_once('<') {
            let (part, behind) = after.split_once('>').unwrap_or((after, ""));
            told.push_str(&self.plain(before).0);
            if let (part, true) = self.plain(part) {
                told.push_str(&tidy(&part));
            }
            rest = behind;
        }
        told.push_str(&self.plain(rest).0);
        told
    }

    /// The words with their fields filled in, and whether any of these says anything.
    fn plain(self, words: &str) -> (String, bool) {
        let mut told = String::new();
        let mut says_something = false;
        let mut rest = words;
        while let Some((before, after)) = rest.split_once('{') {
            let (named, behind) = after.split_once('}').unwrap_or((after, ""));
            let said = self.said(named);
            says_something |= !said.is_empty();
            told.push_str(before);
            told.push_str(&said);
            rest = behind;
        }
        told.push_str(rest);
        (told, says_something)
    }

    fn said(self, named: &str) -> String {
        if let Some((field, choice)) = named.split_once('?') {
            let (yes, no) = choice.split_once(':').unwrap_or((choice, ""));
            let is_set = matches!(self.message.field(field), Some(Value::Flag(true)));
            return if is_set { yes } else { no }.to_owned();
        }
        if let Some(field) = named.strip_prefix('#') {
            return self.message.field(field).map_or(0, count).to_string();
        }
        if let Some(field) = named.strip_prefix('@') {
            return self.context.names.of(fields::written(self.message, field)).to_owned();
        }
        match named.split_once('|') {
            Some((field, "role")) => self.role(fields::written(self.message, field)).to_owned(),
            Some((field, _clock)) => clock(&self.time(fields::written(self.message, field))),
            None => {
                fields::at(self.message, named).map_or_else(String::new, |value| self.value(value))
            }
        }
    }

    fn value(self, value: Value<'_>) -> String {
        match value {
            Value::Text(text) => excerpt(text),
            Value::Texts(texts) => self.listed(texts.iter().map(|text| excerpt(text))),
            Value::Id(id) => id.to_owned(),
            Value::Time(time) => self.time(time),
            Value::Number(number) => number.to_string(),
            Value::Words(ja, en) => self.in_tongue(ja, en).to_owned(),
            Value::Code(code, set) => self.code(code, set).to_owned(),
            Value::Codes(codes, set) => {
                self.listed(codes.iter().map(|code| self.code(code, set).to_owned()))
            }
            Value::Organisation(one) => organisation(Some(one)).to_owned(),
            Value::People(people) => self.people(people),
            Value::Place(one) => place(Some(one)),
            Value::Quantity(quantity) => self.quantity(quantity),
            Value::Observations(observations) => {
                self.listed(observations.iter().map(|observation| self.observation(observation)))
            }
            Value::ResourceRef(resource) if resource.name.is_empty() => {
                self.context.names.resource(&resource.id).to_owned()
            }
            Value::ResourceRef(resource) => resource.name.clone(),
            // A number of a person, or what has words of its own elsewhere.
            Value::Identifier(_) | Value::Message(_) | Value::Flag(_) | Value::Many(_) => {
                String::new()
            }
        }
    }

    fn in_tongue<'t>(self, ja: &'t str, en: &'t str) -> &'t str {
        match self.tongue {
            Tongue::Ja => ja,
            Tongue::En => en,
        }
    }

    fn listed(self, parts: impl Iterator<Item = String>) -> String {
        parts.collect::<Vec<_>>().join(self.in_tongue("、", ", "))
    }

    fn time(self, time: &str) -> String {
        local_time(time, self.context.zone)
    }

    fn role(self, code: &str) -> &str {
        let (ja, en) = role(code);
        self.in_tongue(ja, en)
    }

    /// A code's words: those of its set, or as its author saw them.
    fn code<'c>(self, code: &'c v1::Code, set: &str) -> &'c str {
        let system = if code.system.is_empty() { set } else { &code.system };
        match codes::words(system, &code.version, &code.code, self.context.moment()) {
            Some(known) => self.in_tongue(known.ja, known.en),
            None if code.display.is_empty() => &code.code,
            None => &code.display,
        }
    }

    fn people(self, people: &[v1::Participant]) -> String {
        const NAMED_MAX: usize = 4;
        let roles = people.iter().take(NAMED_MAX).map(|who| self.role(&who.role).to_owned());
        let roles = self.listed(roles);
        match people.len().saturating_sub(NAMED_MAX) {
            0 => roles,
            more => format!("{roles} +{more}"),
        }
    }

    fn quantity(self, quantity: &v1::Quantity) -> String {
        let (ja, en) = unit(&quantity.unit);
        format!("{} {}", quantity.value, self.in_tongue(ja, en)).trim_end().to_owned()
    }

    /// What was observed. A value in words is the observation itself.
    fn observation(self, observation: &v1::Observation) -> String {
        use v1::observation::Value;
        let what = observation.code.as_ref().map(|code| self.code(code, OBSERVED));
        let what = what.unwrap_or_default();
        let value = match &observation.value {
            Some(Value::Quantity(quantity)) => self.quantity(quantity),
            Some(Value::Coded(value)) => self.code(value, "").to_owned(),
            Some(Value::Text(text)) => excerpt(text),
            None => String::new(),
        };
        format!("{what} {value}").trim_end().to_owned()
    }
}

fn count(value: Value<'_>) -> usize {
    match value {
        Value::Texts(list) => list.len(),
        Value::Codes(list, _) => list.len(),
        Value::People(list) => list.len(),
        Value::Observations(list) => list.len(),
        Value::Many(count) => count,
        Value::Text(_)
        | Value::Id(_)
        | Value::Time(_)
        | Value::Number(_)
        | Value::Flag(_)
        | Value::Words(..)
        | Value::Code(..)
        | Value::Organisation(_)
        | Value::Place(_)
        | Value::Quantity(_)
        | Value::ResourceRef(_)
        | Value::Identifier(_)
        | Value::Message(_) => 0,
    }
}

/// The clock in a time, if it has one: `20:00`.
fn clock(told: &str) -> String {
    told.split_once(' ').map(|(_day, clock)| clock.to_owned()).unwrap_or_default()
}

/// Takes away the gaps that fields leave which say nothing.
fn tidy(part: &str) -> String {
    part.replace("  ", " ").replace("( ", "(").replace(" )", ")")
}

#[cfg(test)]
mod tests {
    use tsunagi_domain::Zone;

    use super::*;
    use crate::timeline::names::Names;

    fn told(message: &dyn Fields, tongue: Tongue, sentence: &str) -> String {
        let (names, zone) = (Names::default(), Zone::utc());
        let context = Context { names: &names, zone: &zone, is_visit: false, told_of: None };
        Teller { message, context, tongue }.sentence(sentence)
    }

    #[test]
    fn what_is_not_said_leaves_no_gap() {
        let sentence = "退院< ({disposition} {destination})>。";
        let mut discharged = v1::Discharged::default();
        assert_eq!(told(&discharged, Tongue::Ja, sentence), "退院。");
        discharged.destination =
            Some(v1::Organisation { id: "x".into(), name: "みどりの丘".into() });
        assert_eq!(told(&discharged, Tongue::Ja, sentence), "退院 (みどりの丘)。");
        discharged.disposition = Some(v1::Code { code: "hospital".into(), ..Default::default() });
        let here = told(&discharged, Tongue::En, sentence);
        assert_eq!(here, "退院 (another hospital みどりの丘)。", "in the words of its set");
    }

    #[test]
    fn a_code_is_told_in_the_words_of_its_set() {
        let missed = v1::VisitMissed {
            reason: Some(v1::Code { code: "absent".into(), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(told(&missed, Tongue::Ja, "{reason}"), "不在");
        assert_eq!(told(&missed, Tongue::En, "{reason}"), "absent");
    }

    #[test]
    fn what_was_observed_is_told_in_words() {
        let observed = |system: &str| v1::ObservationRecorded {
            observations: vec![v1::Observation {
                code: Some(v1::Code {
                    system: system.into(),
                    code: "8310-5".into(),
                    ..Default::default()
                }),
                value: Some(v1::observation::Value::Quantity(v1::Quantity {
                    value: "36.5".into(),
                    unit: "Cel".into(),
                })),
            }],
        };
        for system in ["http://loinc.org", ""] {
            assert_eq!(told(&observed(system), Tongue::Ja, "{observations}"), "体温 36.5 ℃");
            let told = told(&observed(system), Tongue::En, "{observations}");
            assert_eq!(told, "body temperature 36.5 ℃");
        }
    }

    #[test]
    fn a_flag_chooses_and_a_list_is_counted() {
        let screened = v1::ScreeningCompleted {
            factors: vec![v1::Code::default(); 3],
            support_needed: true,
            ..Default::default()
        };
        let sentence = "{#factors}, {support_needed?yes:no}";
        assert_eq!(told(&screened, Tongue::En, sentence), "3, yes");
    }
}
