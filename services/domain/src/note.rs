//! Forms and notes: what nothing is decided on but what they are about, and of what they are a
//! step.
//!
//! A question is asked, assigned, answered; an order is issued and amended. The schema declares
//! such steps beside the message (`Step` in `catalogue.proto`), and what holds for all of them
//! is here: no step is taken that its state does not allow.

use crate::id::{CaseId, EncounterId, ReferralId};
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
}

impl Document {
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
    #[error("what `{of}` names is {state} now, and this cannot be said of it")]
    WrongState { of: &'static str, state: &'static str },
    #[error("a person must say this: a program's draft changes nothing until then")]
    NeedsPerson,
    #[error("it must be valid to a day that is not before the first: check `valid_to_on`")]
    NeverValid,
}

/// The state of one such thing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    path: path::Path<Step>,
}

/// Where everything begins.
const NONE: &str = "none";

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
}

impl Course {
    pub fn decide(&self, stamp: &Stamp, step: Step) -> Result<(), Refusal> {
        if step.by_person && stamp.by_program {
            return Err(Refusal::NeedsPerson);
        }
        if self.path.accepts(stamp, step) {
            return Ok(());
        }
        let state = self.path.state();
        Err(if state == NONE {
            Refusal::Unknown(step.of)
        } else if step.from.contains(&NONE) {
            Refusal::Exists(step.of)
        } else {
            Refusal::WrongState { of: step.of, state }
        })
    }

    pub fn apply(&mut self, stamp: &Stamp, step: Step) {
        self.path.insert(stamp, step);
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
        Step { of: "question_id", id: Uuid::from_u128(1), from, to, by_person: false }
    }

    const ASKED: (&[&str], &str) = (&["none"], "open");
    const ANSWERED: (&[&str], &str) = (&["open"], "answered");

    fn given(steps: &[(&'static [&'static str], &'static str)]) -> Course {
        let mut course = Course::default();
        for ((from, to), day) in steps.iter().zip(1_u8..) {
            course.apply(&stamp(day.into(), &format!("2026-05-{day:02}")), step(from, to));
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
    fn what_a_person_must_say_no_program_says() {
        let confirm = Step { by_person: true, ..step(ASKED.0, ASKED.1) };
        let person = stamp(9, "2026-05-09");
        let program = Stamp { by_program: true, ..person.clone() };
        assert_eq!(given(&[]).decide(&person, confirm), Ok(()));
        assert_eq!(given(&[]).decide(&program, confirm), Err(Refusal::NeedsPerson));
    }
}
