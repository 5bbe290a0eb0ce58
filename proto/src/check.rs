//! Checks what the schema declares of its fields (`care/v1/must.proto`). The build writes an
//! `impl Check` for every message; this file holds what those call.

use std::fmt;

use tsunagi_domain::id::{IdError, is_code, parse_uuid};
use tsunagi_domain::my_number::Writing;
use tsunagi_domain::{CareTime, Zone, my_number, rrule};

use crate::codes::{self, Moment};
use crate::json;
use crate::v1::{self, Code};

/// One field that is not what it must be. Says where and what, never the value: it may be a
/// patient's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path to the field, such as `event.place.facility.id` or `participants[2].name`.
    pub field: String,
    /// What the field must be, such as `must be given`.
    pub problem: String,
    /// Whether the lists that are known now lack it: others may have had it.
    pub is_unlisted: bool,
}

const MY_NUMBER: &str = "must not have a My Number (個人番号) in it: leave it out";
/// Also where a system gives numbers out: none writes them so.
const MY_NUMBER_IN_GROUPS: &str =
    "must not have a My Number (個人番号) in it, however it is grouped: leave it out";

/// So many violations of one message are told, at most: whoever mends these sees the next.
pub(crate) const VIOLATIONS_MAX: usize = 20;

/// Adds a violation, unless there are enough.
pub(crate) fn add(violations: &mut Vec<Violation>, at: &Path<'_>, problem: impl fmt::Display) {
    if violations.len() < VIOLATIONS_MAX {
        violations.push(at.violation(problem));
    }
}

/// A message that the schema says something about.
pub trait Check {
    fn check(&self, at: &Path<'_>, violations: &mut Vec<Violation>);

    /// Whether it is there and names nobody.
    fn names_nobody(&self) -> bool {
        false
    }

    /// All that is wrong with the message.
    fn violations(&self) -> Vec<Violation> {
        self.violations_of(None)
    }

    /// All that is wrong with the message if it tells of this moment.
    fn violations_of(&self, moment: Option<Moment<'_>>) -> Vec<Violation> {
        let mut violations = Vec::new();
        self.check(&Path { parent: None, step: Step::Root(moment) }, &mut violations);
        violations
    }
}

/// The way from the message to a field; only written out for a violation.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root(Option<Moment<'a>>),
    Field(&'static str),
    Item(usize),
}

impl Path<'_> {
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Root(None) };

    pub fn field(&self, name: &'static str) -> Path<'_> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    pub fn item(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), step: Step::Item(index) }
    }

    /// A violation at this place.
    pub fn violation(&self, problem: impl fmt::Display) -> Violation {
        let (field, problem) = (self.to_string(), problem.to_string());
        Violation { field, problem, is_unlisted: false }
    }

    /// Of what moment the message tells, if that is known.
    fn moment(&self) -> Option<Moment<'_>> {
        match (self.step, self.parent) {
            (Step::Root(moment), _) => moment,
            (Step::Field(_) | Step::Item(_), parent) => parent?.moment(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        parent.fmt(f)?;
        match self.step {
            Step::Root(_) => Ok(()),
            Step::Field(name) if parent.parent.is_none() => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// The schema's `Must`, as the build writes it down.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Must {
    pub(crate) given: bool,
    pub(crate) form: i32,
    pub(crate) max_chars: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_items: usize,
    pub(crate) max_value: u32,
    pub(crate) code_set: &'static str,
    pub(crate) numbered_by_system: bool,
}

impl Must {
    pub(crate) const GIVEN: Self = Self {
        given: true,
        form: 0,
        max_chars: 0,
        max_bytes: 0,
        max_items: 0,
        max_value: 0,
        code_set: "",
        numbered_by_system: false,
    };

    pub(crate) fn presence(self, present: bool, at: &Path<'_>, violations: &mut Vec<Violation>) {
        if self.given && !present {
            add(violations, at, "must be given");
        }
    }

    pub(crate) fn message<M: Check>(
        self,
        message: Option<&M>,
        at: &Path<'_>,
        violations: &mut Vec<Violation>,
    ) {
        self.presence(message.is_some(), at, violations);
        let Some(message) = message else { return };
        if self.given {
            named(message, at, violations);
        }
        let before = violations.len();
        message.check(at, violations);
        if self.numbered_by_system {
            let of_message = violations.split_off(before);
            violations.extend(of_message.into_iter().filter(|wrong| wrong.problem != MY_NUMBER));
        }
    }

    pub(crate) fn list<T>(self, list: &[T], at: &Path<'_>, violations: &mut Vec<Violation>) {
        self.presence(!list.is_empty(), at, violations);
        if self.max_items != 0 && list.len() > self.max_items {
            add(violations, at, format_args!("must have at most {} items", self.max_items));
        }
    }

    pub(crate) fn text(self, text: &str, at: &Path<'_>, violations: &mut Vec<Violation>) {
        // Blanks say nothing.
        if text.is_empty() || (self.given && is_blank(text)) {
            return self.presence(false, at, violations);
        }
        // A text has at most as many code points as bytes: most need not be counted.
        if self.max_chars != 0
            && text.len() > self.max_chars
            && text.chars().count() > self.max_chars
        {
            add(violations, at, format_args!("must have at most {} characters", self.max_chars));
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            add(violations, at, "must not have control characters");
        }
        let found = match v1::Form::try_from(self.form) {
            Ok(v1::Form::Uuid) => None,
            Ok(v1::Form::Json) => json::my_number(text),
            Ok(v1::Form::Name) => json::in_name(text),
            Ok(_) | Err(_) => my_number::find(text),
        };
        match found {
            Some(Writing::InOnePiece) if !self.numbered_by_system => {
                add(violations, at, MY_NUMBER);
            }
            Some(Writing::InGroups) => add(violations, at, MY_NUMBER_IN_GROUPS),
            Some(Writing::InOnePiece) | None => {}
        }
        if let Some(problem) = form_problem(self.form, text) {
            add(violations, at, problem);
        }
    }

    /// A code of the field's set, a code of another system, or words alone.
    pub(crate) fn known_code(self, code: &Code, at: &Path<'_>, violations: &mut Vec<Violation>) {
        let set = self.code_set;
        if !is_of(set, code) || code.code.is_empty() || violations.len() >= VIOLATIONS_MAX {
            return;
        }
        let (field, problem) = if !code.version.is_empty()
            && codes::version(set, &code.version).is_none()
        {
            ("version", format!("must be a version of `{set}`: `tsunagi codes {set}` lists them"))
        } else if codes::has(set, &code.version, &code.code, at.moment()) {
            return;
        } else {
            let problem = format!(
                "must be a code of `{set}` that was in force then: `tsunagi codes {set}` lists them; one of another version needs its `version`"
            );
            ("code", problem)
        };
        violations.push(Violation { is_unlisted: true, ..at.field(field).violation(problem) });
    }

    pub(crate) fn bytes(self, bytes: &[u8], at: &Path<'_>, violations: &mut Vec<Violation>) {
        self.presence(!bytes.is_empty(), at, violations);
        if self.max_bytes != 0 && bytes.len() > self.max_bytes {
            add(violations, at, format_args!("must have at most {} bytes", self.max_bytes));
        }
    }

    pub(crate) fn number(self, number: u32, at: &Path<'_>, violations: &mut Vec<Violation>) {
        self.presence(number != 0, at, violations);
        if self.max_value != 0 && number > self.max_value {
            add(violations, at, format_args!("must be at most {}", self.max_value));
        }
    }

    pub(crate) fn code<E: TryFrom<i32>>(
        self,
        code: i32,
        at: &Path<'_>,
        violations: &mut Vec<Violation>,
    ) {
        self.presence(code != 0, at, violations);
        if E::try_from(code).is_err() {
            add(violations, at, "must be a value that the schema knows");
        }
    }
}

/// Somebody who must be given is named.
pub(crate) fn named(message: &impl Check, at: &Path<'_>, violations: &mut Vec<Violation>) {
    if message.names_nobody() {
        add(violations, at, "must name somebody: by an id, a name or a role");
    }
}

/// Whether texts say nothing.
pub(crate) fn are_blank(texts: &[&str]) -> bool {
    texts.iter().all(|text| is_blank(text))
}

/// Whether a code is one of a set: it names it, or no system that somebody could see.
pub(crate) fn is_of(set: &str, code: &Code) -> bool {
    is_blank(&code.system) || code.system == set
}

/// Whether a reader sees nothing: no character, or such alone as are shown as nothing.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || matches!(
                c,
                // Soft hyphen, joiners, marks of direction, selectors of variants and tags.
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
                // Fillers of Hangul, and the Braille pattern without dots.
                | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
                | '\u{2800}'
            )
    })
}

/// A code that is there must say something, in code or in words.
pub(crate) fn said(code: Option<&Code>, at: &Path<'_>, violations: &mut Vec<Violation>) {
    if code.is_some_and(|code| is_blank(&code.code) && is_blank(&code.display)) {
        add(violations, at, "must have a `code`, or words in `display`");
    }
}

/// What is wrong with the form of a text, by the numbers of `care.v1.Form`.
fn form_problem(form: i32, text: &str) -> Option<String> {
    use crate::v1::Form;
    match Form::try_from(form).unwrap_or(Form::Unspecified) {
        Form::Unspecified => None,
        Form::Uuid => parse_uuid(text).err().map(|error| error.to_string()),
        Form::Id | Form::Name => (!is_code(text)).then(|| IdError::Code.to_string()),
        // The zone does not matter to the form.
        Form::Time => CareTime::parse(text, &Zone::utc()).err().map(|error| error.to_string()),
        Form::Date if text.len() > "2026-05-01".len() => {
            Some("must be a date without a time".into())
        }
        Form::Date => CareTime::parse(text, &Zone::utc()).err().map(|error| error.to_string()),
        Form::Decimal => {
            (!is_decimal(text)).then(|| "must be a decimal number such as -12.50".into())
        }
        Form::Rrule => (!rrule::is_rule(text))
            .then(|| "must be an RRULE of RFC 5545, such as FREQ=WEEKLY;BYDAY=TU,TH".into()),
        Form::Json => (!json::is_value(text))
            .then(|| "must be one JSON value, nested at most 127 deep".into()),
        Form::Sha256 => {
            let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            (!is_hash).then(|| "must be a SHA-256 hash: 64 hexadecimal digits".into())
        }
        Form::Clock => {
            (!rrule::is_clock(text)).then(|| "must be a time of day such as 09:30".into())
        }
    }
}

fn is_decimal(text: &str) -> bool {
    const MAX_LENGTH: usize = 42;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= MAX_LENGTH && all_digits(whole) && all_digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    const ID: &str = "0198c9a4-7e3b-7c10-9d4e-3f6a2b1c0d5e";

    fn fields(message: &impl Check) -> Vec<String> {
        message.violations().into_iter().map(|violation| violation.field).collect()
    }

    fn admitted() -> v1::Admitted {
        let facility =
            v1::Organisation { id: "0810112345".into(), name: "日立中央病院".into() };
        let place = v1::Place { facility: Some(facility), ..Default::default() };
        v1::Admitted { encounter_id: ID.into(), place: Some(place), ..Default::default() }
    }

    #[test]
    fn a_message_that_is_as_it_must_be_has_no_violations() {
        assert_eq!(admitted().violations(), []);
    }

    #[test]
    fn every_violation_is_reported_with_its_path() {
        let mut admitted = admitted();
        admitted.encounter_id = "7".into();
        admitted.preceding_encounter_id = "also not a UUID".into();
        admitted.purpose = "長".repeat(501);
        admitted.place.as_mut().unwrap().facility.as_mut().unwrap().id = "病院".into();
        let expected = ["encounter_id", "place.facility.id", "preceding_encounter_id", "purpose"];
        assert_eq!(fields(&admitted), expected);
    }

    #[test]
    fn lengths_are_counted_in_code_points() {
        let admitted = v1::Admitted { purpose: "長".repeat(500), ..admitted() };
        assert_eq!(admitted.violations(), []);
    }

    #[test]
    fn texts_are_to_be_read_and_not_obeyed() {
        let named = |family: &str| v1::HumanName { family: family.into(), ..Default::default() };
        assert_eq!(fields(&named("\u{1b}[31m赤")), ["family"]);
        assert_eq!(fields(&named("\0")), ["family"]);
        assert_eq!(named("二行\n目").violations(), []);
    }

    #[test]
    fn items_of_lists_are_checked_one_by_one() {
        let participant = |means| v1::Participant { means, ..Default::default() };
        let conference = v1::ConferenceHeld {
            encounter_id: ID.into(),
            conference_id: ID.into(),
            participants: vec![participant(1), participant(99)],
            ..Default::default()
        };
        assert_eq!(fields(&conference), ["participants[1].means"]);
        let subscription =
            v1::SubscribeRequest { patient_ids: vec![ID.into(), "x".into()], ..Default::default() };
        assert_eq!(fields(&subscription), ["patient_ids[1]"]);
    }

    #[test]
    fn what_must_be_given_is_missed() {
        let nothing = v1::ConditionChanged::default();
        assert_eq!(fields(&nothing), ["severity", "change", "owner_role", "next_action"]);
        assert_eq!(fields(&v1::Observation::default()), ["code", "value"]);
        assert_eq!(fields(&v1::AdmitRequest::default()), ["context", "event"]);
    }

    #[test]
    fn what_nobody_can_see_says_nothing() {
        for unseen in
            ["\u{200b}\u{200d}", " \u{2060}\u{feff}", "\u{3164}", "\u{ad}\u{fe0f}", "\u{2800}"]
        {
            let changed = v1::ConditionChanged {
                change: unseen.into(),
                owner_role: unseen.into(),
                severity: 1,
                next_action: "電話\u{200b}".into(),
            };
            assert_eq!(fields(&changed), ["change", "owner_role"], "{unseen:?}");
        }
    }

    #[test]
    fn what_nobody_can_see_is_checked_like_any_text() {
        let unseen = "\u{200b}";
        let named = |family: &str| v1::HumanName { family: family.into(), ..Default::default() };
        assert_eq!(named(unseen).violations(), []);
        assert_eq!(fields(&named(&unseen.repeat(101))), ["family"], "it is too long");
        assert_eq!(fields(&named("\u{85}")), ["family"], "it is a control character");
        let born = |on: &str| v1::Demographics { birth_on: on.into(), ..Default::default() };
        assert_eq!(born("").violations(), []);
        assert_eq!(fields(&born(unseen)), ["birth_on"], "it is no date");
        let preceding = |id: &str| v1::Admitted { preceding_encounter_id: id.into(), ..admitted() };
        assert_eq!(fields(&preceding(unseen)), ["preceding_encounter_id"], "it is no UUID");
        let of = |id: &str| v1::Admitted { encounter_id: id.into(), ..admitted() };
        assert_eq!(fields(&of(unseen)), ["encounter_id"], "told once");
    }

    #[test]
    fn an_instrument_is_of_the_list_or_of_another_system_or_said_in_words() {
        let measured = |instrument| v1::MeasureRecorded {
            instrument: Some(instrument),
            score: "4".into(),
            ..Default::default()
        };
        let code = |code: &str| Code { code: code.into(), ..Default::default() };
        let elsewhere = |of: &str| Code { system: "http://loinc.org".into(), ..code(of) };
        let version = |version: &str| Code { version: version.into(), ..code("UCLA-3") };
        for known in [
            code("UCLA-3"),
            version("1"),
            elsewhere("72133-2"),
            Code { display: "自作の尺度".into(), ..code("") },
        ] {
            assert_eq!(measured(known).violations(), []);
        }
        assert_eq!(fields(&measured(code("UCLA-4"))), ["instrument.code"]);
        assert_eq!(fields(&measured(version("7"))), ["instrument.version"]);
    }

    #[test]
    fn a_code_that_must_be_given_says_something() {
        use v1::observation::Value;
        let words = |display: &str| Code { display: display.into(), ..Default::default() };
        let missed = |reason| v1::VisitMissed { kind: 1, reason, ..Default::default() };
        for silent in [
            Code::default(),
            words(" "),
            words("\u{200b}"),
            Code { system: "x".into(), ..words("") },
        ] {
            assert_eq!(fields(&missed(Some(silent.clone()))), ["reason"]);
            let seen =
                v1::Observation { code: Some(silent.clone()), value: Some(Value::Coded(silent)) };
            assert_eq!(fields(&seen), ["code", "coded"]);
        }
        assert_eq!(missed(Some(words("不在"))).violations(), []);
        let coded = Code { code: "absent".into(), ..Default::default() };
        assert_eq!(missed(Some(coded)).violations(), []);
    }

    #[test]
    fn somebody_who_must_be_given_is_named() {
        let nobody = v1::Participant {
            organisation: Some(v1::Organisation::default()),
            name: " ".into(),
            means: 1,
            ..Default::default()
        };
        let declared = |care_manager: v1::Participant| v1::PrimaryCareManagerDeclared {
            care_manager: Some(care_manager),
            ..Default::default()
        };
        assert_eq!(fields(&declared(nobody.clone())), ["care_manager"]);
        let by_role = v1::Participant { role: "care-manager".into(), ..nobody.clone() };
        assert_eq!(declared(by_role.clone()).violations(), []);
        let joined = v1::TeamMemberJoined { members: vec![by_role, nobody], ..Default::default() };
        assert_eq!(fields(&joined), ["members[1]"]);
        let given = v1::AdmissionInfoProvided {
            recipient: Some(v1::Organisation::default()),
            means: 1,
            ..Default::default()
        };
        assert_eq!(fields(&given), ["recipient"]);
    }

    #[test]
    fn times_dates_and_numbers_have_their_form() {
        let planned = |planned_at: &str| v1::DischargePlanned {
            encounter_id: ID.into(),
            planned_at: planned_at.into(),
            ..Default::default()
        };
        assert_eq!(planned("2026-05-09").violations(), []);
        assert_eq!(fields(&planned("next week")), ["planned_at"]);
        let ready = |ready_on: &str| v1::DischargeReadyDeclared {
            encounter_id: ID.into(),
            ready_on: ready_on.into(),
            ..Default::default()
        };
        assert_eq!(ready("2026-05-09").violations(), []);
        assert_eq!(fields(&ready("2026-05-09T10:00:00+09:00")), ["ready_on"]);
        for (text, right) in [
            ("36.80", true),
            ("-1", true),
            ("1e3", false),
            (".5", false),
            ("5.", false),
            ("", false),
        ] {
            assert_eq!(is_decimal(text), right, "{text}");
        }
    }

    #[test]
    fn a_violation_never_repeats_the_value() {
        let named = v1::HumanName { family: "秘密".repeat(100), ..Default::default() };
        let problems = named.violations();
        assert_eq!(problems.len(), 1);
        assert!(!format!("{problems:?}").contains("秘密"));
    }
}
