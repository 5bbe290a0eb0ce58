//! Forms and notes: what nothing is decided on but what they are about, and of what they are a
//! step.
//!
//! A question is asked, assigned, answered; an order is issued and amended. The schema declares
//! such steps beside the message (`Step` in `catalogue.proto`), and what holds for all of them
//! is here: no step is taken that its state does not allow.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{CaseId, EncounterId, EventId, OrganisationId, ReferralId};
use crate::path;
use crate::record::{Stamp, Turn};
use crate::time::CareTime;
use uuid::Uuid;

/// What a form or a note is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Document {
    /// The event's type.
    pub kind: &'static str,
    pub encounter: Option<EncounterId>,
    pub case: Option<CaseId>,
    pub referral: Option<ReferralId>,
    /// Whether it tells of work on the case, which is done on an open one.
    pub is_case_work: bool,
    /// When what it tells of ended.
    pub ended_at: Option<CareTime>,
    /// From when to when it is valid.
    pub valid: (Option<CareTime>, Option<CareTime>),
    pub step: Option<Step>,
    /// From which day on the patient could leave the stay.
    pub ready_on: Option<CareTime>,
    /// Of which plan it is which version, if it is one.
    pub edition: Option<Edition>,
    /// What takes whose place by it.
    pub succession: Option<Succession>,
    /// Whether only the facility of the encounter says it, or somebody on its behalf.
    pub of_facility: bool,
}

/// A step of something that has a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Of what kind of thing, by the field that names it: `question_id`.
    pub of: &'static str,
    /// Of which one.
    pub id: Uuid,
    /// From which states it leads.
    pub from: &'static [&'static str],
    /// To which.
    pub to: &'static str,
    /// Whether only a person may take it.
    pub by_person: bool,
    /// Whether only those who took a first step take it, or the facility of the encounter.
    pub by_beginner: bool,
    /// Whether it begins again what had ended.
    pub begins_again: bool,
    /// The bytes that it is about, if it is about any.
    pub content: Option<Content>,
    /// Of which kind it says that the thing is, where it stays of one kind.
    pub variant: Option<&'static str>,
}

/// One version of a plan that is told whole, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    /// Of which plan.
    pub of: Uuid,
    pub version: u32,
}

/// The versions of one plan that were told. The first to be told may be any: those before it were
/// made before anybody told of the plan here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Editions {
    told: BTreeMap<(u32, EventId), CareTime>,
}

impl Editions {
    /// A version follows the one before it, in number and in time; what was before the first one
    /// known may be told late.
    pub(crate) fn decide(&self, stamp: &Stamp, version: u32) -> Result<(), Refusal> {
        let versions = || self.told.keys().map(|(version, _)| *version);
        let (Some(first), Some(last)) = (versions().next(), versions().next_back()) else {
            return Ok(());
        };
        if versions().any(|known| known == version) {
            return Err(Refusal::VersionKnown(version));
        }
        let at = &stamp.occurred_at;
        let mut neighbours =
            self.told.iter().filter(|((known, _), _)| known.abs_diff(version) == 1);
        let is_in_time = neighbours.all(|((known, _), told_at)| {
            if *known < version { !at.is_before(told_at) } else { !told_at.is_before(at) }
        });
        let is_next = version.checked_sub(1) == Some(last) || first.checked_sub(1) == Some(version);
        let fills_a_gap = first < version && version < last;
        if !is_next && !fills_a_gap {
            return Err(Refusal::NotTheNextVersion { version, last });
        }
        if is_in_time { Ok(()) } else { Err(Refusal::VersionOutOfTime(version)) }
    }

    pub(crate) fn apply(&mut self, stamp: &Stamp, version: u32) {
        self.told.insert((version, stamp.event), stamp.occurred_at);
    }
}

/// Something takes the place of an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Succession {
    /// Of what kind of thing, by the field that names it: `preference_id`.
    pub of: &'static str,
    pub older: Uuid,
    pub newer: Uuid,
}

/// What took whose place, by the events that said so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Successions {
    told: BTreeMap<EventId, Succession>,
}

impl Successions {
    /// Nothing takes the place of what took its own, at first or at last: none of them would be
    /// left.
    pub(crate) fn decide(&self, said: Succession) -> Result<(), Refusal> {
        let (mut next, mut ended) = (vec![said.newer], BTreeSet::new());
        while let Some(older) = next.pop() {
            if ended.insert(older) {
                let of_it = |told: &&Succession| (told.of, told.older) == (said.of, older);
                next.extend(self.told.values().filter(of_it).map(|told| told.newer));
            }
        }
        if ended.contains(&said.older) { Err(Refusal::TookItsPlace(said.of)) } else { Ok(()) }
    }

    pub(crate) fn apply(&mut self, stamp: &Stamp, said: Succession) {
        self.told.insert(stamp.event, said);
    }
}

/// What a document is, as far as it tells two of them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub sha256: [u8; 32],
    /// The code of its kind, if that is a known one.
    pub kind: Option<&'static str>,
}

impl Content {
    fn differs_from(self, other: Self) -> bool {
        let other_kind = self.kind.zip(other.kind).is_some_and(|(one, other)| one != other);
        self.sha256 != other.sha256 || other_kind
    }
}

impl Document {
    /// Whether it depends on nothing that another event could undo, and nothing on it.
    pub fn is_independent(&self) -> bool {
        self.step.is_none() && self.edition.is_none() && !self.is_case_work
    }

    /// Which stay the patient could leave, and from which day on.
    pub(crate) fn ready(&self) -> Option<(EncounterId, CareTime)> {
        self.encounter.zip(self.ready_on)
    }

    pub(crate) fn turn(&self) -> Turn {
        match self.step {
            Some(step) if !step.from.contains(&NONE) => Turn::Answered,
            Some(_) | None => Turn::Begun,
        }
    }
}

/// Why a step is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is nothing with this `{0}`: record its beginning first, or check the id")]
    Unknown(&'static str),
    #[error("there is something with this `{0}` already: take a new id for each")]
    Exists(&'static str),
    #[error(
        "what `{of}` names is {state} now, and this cannot be said of it: look it up in the timeline, or take a new id for another one"
    )]
    WrongState { of: &'static str, state: &'static str },
    #[error(
        "event {0} tells of a later step that could not have followed: check `occurred_at` against the timeline, or correct that event first"
    )]
    LaterStep(EventId),
    #[error(
        "a person must say this: send it as a draft, if there is one for it, and have a person confirm it; a program's draft changes nothing until then"
    )]
    NeedsPerson,
    #[error(
        "under this `{0}` another document is known, by its `sha256` or `kind`: a document that was changed is a new one with an id of its own, which supersedes the other"
    )]
    Differs(&'static str),
    #[error(
        "what `{0}` names is of another `kind`: one of another kind is a new one, with an id of its own"
    )]
    OtherKind(&'static str),
    #[error(
        "what `{of}` names was begun by organisation {by}: only that one, or the facility of the encounter, says this; an entry on its behalf names it in `on_behalf_of`"
    )]
    NotTheBeginner { of: &'static str, by: OrganisationId },
    #[error(
        "of the two that `{0}` names, the one that is to hold was replaced by the other before: what holds now is a new one, with an id of its own"
    )]
    TookItsPlace(&'static str),
    #[error("it must be valid to a day that is not before the first: check `valid_to_on`")]
    NeverValid,
    #[error(
        "version {0} of this plan was told already: a plan that was changed is its next version; to mend what was told, correct it"
    )]
    VersionKnown(u32),
    #[error(
        "version {version} does not follow the versions of this plan that are known, of which the last is {last}: tell those between first, or check `version`"
    )]
    NotTheNextVersion { version: u32, last: u32 },
    #[error(
        "version {0} of this plan does not lie between the ones before and after it: check `occurred_at`"
    )]
    VersionOutOfTime(u32),
}

/// The state of one such thing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    path: path::Path<Step>,
    /// Who took the first steps that only they follow up, and under which stay.
    begun_by: BTreeMap<EventId, (OrganisationId, Option<EncounterId>)>,
}

/// Where everything begins.
const NONE: &str = "none";

#[cfg(test)]
impl Step {
    /// A step of a question, which anybody may take; from `closed`, it begins again.
    pub(crate) fn of_question(
        number: u128,
        from: &'static [&'static str],
        to: &'static str,
    ) -> Self {
        let (of, id) = ("question_id", Uuid::from_u128(number));
        let (by_person, by_beginner, content, variant) = (false, false, None, None);
        let begins_again = from.contains(&"closed");
        Self { of, id, from, to, by_person, by_beginner, begins_again, content, variant }
    }
}

impl Step {
    /// Whether it begins what it is a step of: alone, or as one of those who may call it again.
    pub(crate) fn begins(&self) -> bool {
        self.from == [NONE] || self.by_beginner && self.from.contains(&NONE)
    }
}

impl path::Step for Step {
    type State = &'static str;
    const BEGINNING: Self::State = NONE;

    fn leads_from(&self, state: Self::State) -> Option<Self::State> {
        self.from.contains(&state).then_some(self.to)
    }

    fn leads_to(&self) -> Self::State {
        self.to
    }

    fn repeats(&self, later: &Self) -> bool {
        [self, later].iter().all(|step| step.from.contains(&NONE))
    }

    fn begins_again(&self, state: Self::State) -> bool {
        self.begins_again && self.to == state
    }
}

impl Course {
    pub fn decide(&self, stamp: &Stamp, step: Step) -> Result<(), Refusal> {
        if step.by_person && stamp.by_program {
            return Err(Refusal::NeedsPerson);
        }
        let differs = |content: Content| {
            let mut others = self.path.iter().filter_map(|taken| taken.step.content);
            others.any(|other| content.differs_from(other))
        };
        if step.content.is_some_and(differs) {
            return Err(Refusal::Differs(step.of));
        }
        let is_of_other_kind = |kind| {
            let mut others = self.path.iter().filter_map(|taken| taken.step.variant);
            others.any(|other| other != kind)
        };
        if step.variant.is_some_and(is_of_other_kind) {
            return Err(Refusal::OtherKind(step.of));
        }
        match self.path.fits(stamp, step) {
            Ok(()) => return Ok(()),
            Err(Some(later)) => return Err(Refusal::LaterStep(later)),
            Err(None) => {}
        }
        let state = self.path.state();
        Err(if state == NONE {
            Refusal::Unknown(step.of)
        } else if step.from == [NONE] {
            Refusal::Exists(step.of)
        } else {
            Refusal::WrongState { of: step.of, state }
        })
    }

    /// Whether this organisation may say what only those say who began it.
    pub(crate) fn check_beginner(&self, stamp: &Stamp, step: Step) -> Result<(), Refusal> {
        let mut beginners = self.begun_by.values().map(|(by, _)| by);
        match beginners.next() {
            Some(first) if step.by_beginner && *first != stamp.acting_for => {
                let is_other = !beginners.any(|of| *of == stamp.acting_for);
                let refusal = Refusal::NotTheBeginner { of: step.of, by: first.clone() };
                if is_other { Err(refusal) } else { Ok(()) }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a step that begins it stands.
    pub(crate) fn is_begun(&self) -> bool {
        self.path.iter().any(|taken| taken.step.begins())
    }

    /// The stays under which it was begun.
    pub(crate) fn stays(&self) -> impl Iterator<Item = EncounterId> {
        self.begun_by.values().filter_map(|(_, stay)| *stay)
    }

    pub fn apply(&mut self, stamp: &Stamp, step: Step, stay: Option<EncounterId>) {
        if step.by_beginner && step.begins() {
            self.begun_by.insert(stamp.event, (stamp.acting_for.clone(), stay));
        }
        self.path.insert(stamp, step);
    }

    pub(crate) fn gaps(&self) -> path::Gaps {
        self.path.gaps()
    }

    pub fn state(&self) -> &'static str {
        self.path.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::stamp;

    fn step(from: &'static [&'static str], to: &'static str) -> Step {
        Step::of_question(1, from, to)
    }

    const ASKED: (&[&str], &str) = (&["none"], "open");
    const ANSWERED: (&[&str], &str) = (&["open"], "answered");

    fn given(steps: &[(&'static [&'static str], &'static str)]) -> Course {
        let mut course = Course::default();
        for ((from, to), day) in steps.iter().zip(1_u8..) {
            course.apply(&stamp(day.into(), &format!("2026-05-{day:02}")), step(from, to), None);
        }
        course
    }

    #[test]
    fn a_question_is_asked_once_and_answered_when_it_was_asked() {
        let at = stamp(9, "2026-05-09");
        let (ask, answer) = (step(ASKED.0, ASKED.1), step(ANSWERED.0, ANSWERED.1));
        assert_eq!(given(&[]).decide(&at, answer), Err(Refusal::Unknown("question_id")));
        assert_eq!(given(&[]).decide(&at, ask), Ok(()));
        assert_eq!(given(&[ASKED]).decide(&at, ask), Err(Refusal::Exists("question_id")));
        assert_eq!(given(&[ASKED]).decide(&at, answer), Ok(()));
        let state = Refusal::WrongState { of: "question_id", state: "answered" };
        assert_eq!(given(&[ASKED, ANSWERED]).decide(&at, answer), Err(state));
    }

    #[test]
    fn under_one_id_there_is_one_document() {
        const PUBLISHED: (&[&str], &str) = (&["none"], "published");
        const RECEIVED: (&[&str], &str) = (&["none", "published", "received"], "received");
        let of = |(from, to): (&'static [&'static str], &'static str), byte: u8, kind| Step {
            content: Some(Content { sha256: [byte; 32], kind }),
            ..step(from, to)
        };
        let mut course = Course::default();
        course.apply(&stamp(1, "2026-05-01"), of(PUBLISHED, 1, Some("summary")), None);
        let at = stamp(2, "2026-05-02");
        let differs = || Err(Refusal::Differs("question_id"));
        assert_eq!(course.decide(&at, of(RECEIVED, 2, Some("summary"))), differs());
        assert_eq!(course.decide(&at, of(RECEIVED, 1, Some("letter"))), differs());
        assert_eq!(course.decide(&at, of(RECEIVED, 1, None)), Ok(()));
        assert_eq!(course.decide(&at, of(RECEIVED, 1, Some("summary"))), Ok(()));
    }

    #[test]
    fn a_conference_that_was_called_off_is_not_held() {
        const CALLED: (&[&str], &str) = (&["none", "scheduled", "cancelled"], "scheduled");
        const CALLED_OFF: (&[&str], &str) = (&["scheduled"], "cancelled");
        let held = step(&["none", "scheduled", "held"], "held");
        let course = given(&[CALLED, CALLED_OFF]);
        let state = Refusal::WrongState { of: "question_id", state: "cancelled" };
        assert_eq!(course.decide(&stamp(9, "2026-05-09"), held), Err(state));
        let again = given(&[CALLED, CALLED_OFF, CALLED]);
        assert_eq!(again.decide(&stamp(9, "2026-05-09"), held), Ok(()));
    }

    #[test]
    fn what_was_begun_of_one_kind_stays_of_it() {
        let of = |(from, to): (&'static [&'static str], &'static str), variant| Step {
            variant,
            ..step(from, to)
        };
        let mut course = Course::default();
        course.apply(&stamp(1, "2026-05-01"), of(ASKED, Some("special")), None);
        let at = stamp(2, "2026-05-02");
        let amended = |variant| course.decide(&at, of((&["open"], "open"), variant));
        assert_eq!(amended(Some("nursing")), Err(Refusal::OtherKind("question_id")));
        assert_eq!(amended(Some("special")), Ok(()));
        assert_eq!(amended(None), Ok(()), "what does not say it");
    }

    #[test]
    fn what_a_person_must_say_no_program_says() {
        let confirm = Step { by_person: true, ..step(ASKED.0, ASKED.1) };
        let person = stamp(9, "2026-05-09");
        let program = Stamp { by_program: true, ..person.clone() };
        assert_eq!(given(&[]).decide(&person, confirm), Ok(()));
        assert_eq!(given(&[]).decide(&program, confirm), Err(Refusal::NeedsPerson));
    }
}
