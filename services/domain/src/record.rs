//! One patient's whole record: the state that commands about the patient are decided on.
//!
//! The state is made of what was told, as it was corrected since, and of the times at which it
//! happened: in which order it was told makes no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::case::{self, Case};
use crate::correction::{self, Change, Correction, Corrections};
use crate::encounter::{self, Encounter, Stage};
use crate::id::{
    CaseId, EncounterId, EventId, OrganisationId, PatientId, ReferralId, TransferRequestId,
};
use crate::identity::{self, Patient};
use crate::note::{self, Course, Document};
use crate::referral::{self, Referral};
use crate::time::CareTime;
use crate::transfer_request::{self, TransferRequest};
use crate::{organisation, resource};

/// How far ahead of the server's clock an event may claim to have happened: clocks differ.
pub const FUTURE_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// What every command and event says besides its content.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamp {
    pub event: EventId,
    pub occurred_at: CareTime,
    /// The organisation whose word it is.
    pub acting_for: OrganisationId,
    /// Whether it is the word of a program, and of no person.
    pub by_program: bool,
    /// Whether another organisation entered it for the one whose word it is.
    pub by_proxy: bool,
}

/// Somebody wants something to have happened to this patient.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub stamp: Stamp,
    pub order: Order,
}

/// Something happened to this patient.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub stamp: Stamp,
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    Identity(identity::Command),
    Encounter(EncounterId, encounter::Command),
    TransferRequest(TransferRequestId, transfer_request::Command),
    Referral(ReferralId, referral::Command),
    Case(CaseId, case::Command),
    Document(Document),
    Correction(Correction),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Identity(identity::Event),
    Encounter(EncounterId, encounter::Event),
    TransferRequest(TransferRequestId, transfer_request::Event),
    Referral(ReferralId, referral::Event),
    Case(CaseId, case::Event),
    Document(Document),
    Correction(Correction),
}

impl Fact {
    /// The event that this cancels, if it is a cancel.
    pub fn cancelled(&self) -> Option<EventId> {
        match self {
            Self::Encounter(_, event) => event.cancelled(),
            Self::Identity(_)
            | Self::TransferRequest(..)
            | Self::Referral(..)
            | Self::Case(..)
            | Self::Document(_)
            | Self::Correction(_) => None,
        }
    }
}

/// Which of the things that happened at one time came first, by what they are: a stay begins before
/// it ends, and nothing is taken back before it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    Registered,
    Known,
    Planned,
    Visited,
    Admitted,
    Moved,
    OnLeave,
    Returned,
    Begun,
    Answered,
    Underway,
    Closed,
    Ended,
    TakenBack,
    Corrected,
}

impl Fact {
    pub fn turn(&self) -> Turn {
        match self {
            Self::Identity(event) => event.turn(),
            Self::Encounter(_, event) => event.turn(),
            Self::TransferRequest(_, event) => event.turn(),
            Self::Referral(_, event) => event.turn(),
            Self::Case(_, event) => event.turn(),
            Self::Document(document) => document.turn(),
            Self::Correction(_) => Turn::Corrected,
        }
    }
}

/// A stored event is a command that was accepted.
impl From<Order> for Fact {
    fn from(order: Order) -> Self {
        match order {
            Order::Identity(command) => Self::Identity(command.into()),
            Order::Encounter(id, command) => Self::Encounter(id, command.into()),
            Order::TransferRequest(id, command) => Self::TransferRequest(id, command.into()),
            Order::Referral(id, command) => Self::Referral(id, command.into()),
            Order::Case(id, command) => Self::Case(id, command.into()),
            Order::Document(document) => Self::Document(document),
            Order::Correction(correction) => Self::Correction(correction),
        }
    }
}

/// What would have to be ordered for it to happen again.
impl From<Fact> for Order {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Identity(event) => Self::Identity(event.into()),
            Fact::Encounter(id, event) => Self::Encounter(id, event.into()),
            Fact::TransferRequest(id, event) => Self::TransferRequest(id, event.into()),
            Fact::Referral(id, event) => Self::Referral(id, event.into()),
            Fact::Case(id, event) => Self::Case(id, event.into()),
            Fact::Document(document) => Self::Document(document),
            Fact::Correction(correction) => Self::Correction(correction),
        }
    }
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "`occurred_at` lies more than 5 minutes ahead of the server's clock: plans are said with the commands that plan, everything else after it happened"
    )]
    InFuture,
    #[error(
        "encounter {0} is not known for this patient: record its admission, visit or plan first, or check the id"
    )]
    UnknownEncounter(EncounterId),
    #[error("case {0} is not known for this patient: open it first, or check the id")]
    UnknownCase(CaseId),
    #[error("referral {0} is not known for this patient: request it first, or check the id")]
    UnknownReferral(ReferralId),
    #[error(transparent)]
    Identity(#[from] identity::Refusal),
    #[error(transparent)]
    Encounter(#[from] encounter::Refusal),
    #[error(transparent)]
    TransferRequest(#[from] transfer_request::Refusal),
    #[error(transparent)]
    Referral(#[from] referral::Refusal),
    #[error(transparent)]
    Case(#[from] case::Refusal),
    #[error(transparent)]
    Note(#[from] note::Refusal),
    #[error(transparent)]
    Correction(#[from] correction::Refusal),
    #[error(transparent)]
    Resource(#[from] resource::Refusal),
    #[error(transparent)]
    Organisation(#[from] organisation::Refusal),
}

/// What a refusal asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The command itself is wrong, whatever the state.
    Invalid,
    /// What it is about does not exist.
    NotFound,
    /// It exists already.
    Exists,
    /// The state does not allow it now.
    State,
    /// Somebody else has to say it.
    NotYours,
}

/// One patient's record: everything that was told, and the state that follows from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// What the state follows from, in the order in which it was told.
    told: Vec<Arc<Told>>,
    /// The forms and notes that no state follows from: only what a correction of them looks at.
    notes: Vec<Note>,
    corrections: Corrections,
    state: State,
}

#[derive(Debug, PartialEq)]
struct Told {
    event: Event,
    /// The record that was merged into this one, if it was told there.
    of: Option<PatientId>,
}

#[derive(Debug, Clone, PartialEq)]
struct Note {
    event: EventId,
    kind: &'static str,
    by: OrganisationId,
    of: Option<PatientId>,
}

/// What follows from what was told, as it is corrected.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    patient: Patient,
    encounters: BTreeMap<EncounterId, Encounter>,
    /// Those of which anything was entered for somebody else.
    by_proxy: BTreeSet<EncounterId>,
    transfer_requests: BTreeMap<TransferRequestId, TransferRequest>,
    referrals: BTreeMap<ReferralId, Referral>,
    cases: BTreeMap<CaseId, Case>,
    courses: BTreeMap<(&'static str, Uuid), Course>,
}

impl Record {
    /// The events that `command` causes at the moment `now`, or why it causes none.
    pub fn decide(&self, command: Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        self.decide_before(command, &[], now)
    }

    /// The same, if those that `follow` are accepted as well, or none. A stay that is cancelled
    /// whole is not open again between the cancel of its discharge and that of its admission,
    /// and so no later stay is in the way.
    pub fn decide_before(
        &self,
        command: Command,
        follow: &[Command],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let Command { stamp, order } = command;
        if stamp.occurred_at.earliest() > now + FUTURE_TOLERANCE {
            return Err(Refusal::InFuture);
        }
        let begins = matches!(
            order,
            Order::Identity(identity::Command::Register(_) | identity::Command::OpenAnonymous(()))
        );
        if !begins && !self.state.patient.is_known() {
            return Err(identity::Refusal::Unknown.into());
        }
        let ends_a_merge = matches!(
            order,
            Order::Identity(identity::Command::Restore(_) | identity::Command::AbandonMerge(_))
        );
        if !ends_a_merge {
            self.state.patient.not_retired()?;
        }
        check_ends(&order, now)?;
        self.check_cancelled(&order)?;
        let fact = match order {
            Order::Correction(correction) => {
                self.check_correction(&stamp, &correction, now)?;
                Fact::Correction(correction)
            }
            order @ (Order::Identity(_)
            | Order::Encounter(..)
            | Order::TransferRequest(..)
            | Order::Referral(..)
            | Order::Case(..)
            | Order::Document(_)) => match self.state.decide(&stamp, order.clone()) {
                Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(_)))
                    if is_withdrawn(&order, follow) =>
                {
                    self.state.decide_of_encounter(&stamp, order)?
                }
                Err(_) if is_taken_back(&stamp, follow) => order.into(),
                decided => decided?,
            },
        };
        Ok(vec![Event { stamp, fact }])
    }

    /// Adds what happened. What was told before is looked at again if this corrects it, or takes
    /// another record off.
    pub fn apply(&mut self, event: &Event) {
        let Event { stamp, fact } = event;
        if let Fact::Document(Document { step: None, kind, .. }) = fact {
            let by = stamp.acting_for.clone();
            self.notes.push(Note { event: stamp.event, kind, by, of: None });
            return;
        }
        let is_corrected = !self.corrections.is_empty()
            && self.corrections.outcome(stamp.event) != correction::Outcome::default();
        self.told.push(Arc::new(Told { event: event.clone(), of: None }));
        if let Fact::Identity(identity::Event::Unmerged(merge)) = &event.fact {
            self.told.retain(|told| told.of != Some(merge.retired));
            self.notes.retain(|note| note.of != Some(merge.retired));
            self.rebuild();
        } else if is_corrected || matches!(event.fact, Fact::Correction(_)) {
            self.rebuild();
        } else {
            self.state.apply(&event.stamp, &event.fact);
        }
    }

    /// Takes over what was told of the same person in another record.
    pub fn absorb(&mut self, retired: PatientId, other: &Self) {
        let told = other.told.iter();
        let told = told.map(|told| Arc::new(Told { event: told.event.clone(), of: Some(retired) }));
        self.told.extend(told);
        let of = Some(retired);
        self.notes.extend(other.notes.iter().map(|note| Note { of, ..note.clone() }));
        self.rebuild();
    }

    /// The records that were merged into this one and are not yet taken over, and the events
    /// that merged them.
    pub fn wanted(&self) -> Vec<(PatientId, EventId)> {
        let merged = self.state.patient.merged();
        merged.filter(|(id, _)| !self.told.iter().any(|told| told.of == Some(*id))).collect()
    }

    /// What was told and holds: as it is corrected, without what was entered in error, in the
    /// order in which it was told; and with it what was told in the records that were merged into
    /// this one.
    pub fn standing(&self) -> impl Iterator<Item = (Stamp, Fact)> {
        self.told.iter().filter_map(|told| effective(told, &self.corrections))
    }

    /// What became of an event: entered in error, or corrected.
    pub fn outcome(&self, event: EventId) -> correction::Outcome<'_> {
        self.corrections.outcome(event)
    }

    /// The corrections of an event, in the order in which they were made.
    pub fn corrections_of(&self, event: EventId) -> impl Iterator<Item = EventId> {
        self.corrections.of(event)
    }

    pub fn has_corrections(&self) -> bool {
        !self.corrections.is_empty()
    }

    pub fn patient(&self) -> &Patient {
        &self.state.patient
    }

    /// Whether the patient died, as anybody says: also a discharge.
    pub fn is_deceased(&self) -> bool {
        self.state.patient.is_deceased() || self.death_in_encounter().is_some()
    }

    /// When the patient died in a stay or visit, and the event that says so.
    pub fn death_in_encounter(&self) -> Option<(EventId, CareTime)> {
        self.state.encounters.values().find_map(Encounter::death)
    }

    pub fn encounter(&self, id: EncounterId) -> Option<&Encounter> {
        self.state.encounters.get(&id)
    }

    /// Without the stays of which the facility itself has told since under another id.
    pub fn encounters(&self) -> impl Iterator<Item = (EncounterId, &Encounter)> {
        let all = self.state.encounters.iter().map(|(id, encounter)| (*id, encounter));
        all.filter(|(id, _)| self.state.successor(*id).is_none())
    }

    /// The event by which the facility itself tells of a stay that somebody had entered for it: that
    /// stay gives way.
    pub fn superseded_by(&self, id: EncounterId) -> Option<EventId> {
        self.state.successor(id).map(|(_, event)| event)
    }

    pub fn transfer_request(&self, id: TransferRequestId) -> Option<&TransferRequest> {
        self.state.transfer_requests.get(&id)
    }

    pub fn transfer_requests(&self) -> impl Iterator<Item = (TransferRequestId, &TransferRequest)> {
        self.state.transfer_requests.iter().map(|(id, request)| (*id, request))
    }

    pub fn referrals(&self) -> impl Iterator<Item = (ReferralId, &Referral)> {
        self.state.referrals.iter().map(|(id, referral)| (*id, referral))
    }

    pub fn cases(&self) -> impl Iterator<Item = (CaseId, &Case)> {
        self.state.cases.iter().map(|(id, case)| (*id, case))
    }

    /// Where things stand of which forms and notes tell the steps: a question, an order.
    pub fn course(&self, of: &'static str, id: Uuid) -> Option<&Course> {
        self.state.courses.get(&(of, id))
    }

    /// The encounter with which the chain that leads to `encounter` begins. The first link of
    /// a chain may be an encounter that nothing else is known of.
    pub fn episode(&self, encounter: EncounterId) -> EncounterId {
        let mut first = encounter;
        // A chain cannot be longer than there are encounters, unless it were circular.
        for _ in 0..=self.state.encounters.len() {
            match self.state.preceding(first) {
                Some(preceding) if preceding != encounter => first = preceding,
                Some(_) | None => break,
            }
        }
        first
    }

    /// The encounter that says where the patient is: the stay or visit that goes on now, or
    /// else the one that ended last.
    pub fn whereabouts(&self) -> Option<(EncounterId, &Encounter)> {
        self.encounters().filter(|(_, encounter)| encounter.began_at().is_some()).max_by_key(
            |(id, encounter)| {
                let rank = match encounter.stage() {
                    Stage::Expected | Stage::Ended => 0,
                    Stage::Visiting => 1,
                    Stage::InHospital | Stage::OnLeave => 2,
                };
                (rank, encounter.since().map(|since| since.earliest()), *id)
            },
        )
    }

    fn rebuild(&mut self) {
        self.corrections = Corrections::default();
        for told in &self.told {
            if let Fact::Correction(correction) = &told.event.fact {
                self.corrections.add(&told.event.stamp, correction);
            }
        }
        self.state = State::default();
        for told in &self.told {
            let Some((stamp, fact)) = effective(told, &self.corrections) else { continue };
            match (told.of, &fact) {
                (Some(_), Fact::Identity(event)) => self.state.patient.absorb(event),
                (
                    _,
                    Fact::Identity(_)
                    | Fact::Encounter(..)
                    | Fact::TransferRequest(..)
                    | Fact::Referral(..)
                    | Fact::Case(..)
                    | Fact::Document(_)
                    | Fact::Correction(_),
                ) => self.state.apply(&stamp, &fact),
            }
        }
    }

    /// What is to be cancelled is no event of something else; one that is not known yet may be told
    /// late.
    fn check_cancelled(&self, order: &Order) -> Result<(), Refusal> {
        let Order::Encounter(id, command) = order else { return Ok(()) };
        let Some(target) = encounter::Event::from(command.clone()).cancelled() else {
            return Ok(());
        };
        let is_of_it = |told: &Told| matches!(told.event.fact, Fact::Encounter(of, _) if of == *id);
        let told = self.told.iter().find(|told| told.event.stamp.event == target);
        let is_note = || self.notes.iter().any(|note| note.event == target);
        if told.map_or_else(is_note, |told| !is_of_it(told)) {
            return Err(encounter::Refusal::NothingToCancel(target).into());
        }
        Ok(())
    }

    /// Whether everything else that was told still makes sense with the correction.
    fn check_correction(
        &self,
        stamp: &Stamp,
        correction: &Correction,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let target = correction.corrects;
        if let Some(note) = self.notes.iter().find(|note| note.event == target) {
            return self.check_correction_of_note(stamp, note, &correction.change, now);
        }
        let told = self.told.iter().find(|told| told.event.stamp.event == target);
        let told = told.ok_or(correction::Refusal::UnknownEvent(target))?;
        if told.event.stamp.acting_for != stamp.acting_for {
            return Err(correction::Refusal::NotTheAuthor(target).into());
        }
        self.corrections.check_in_force(target, &stamp.occurred_at, &correction.change)?;
        check_change(told, &correction.change, now)?;
        let mut corrections = self.corrections.clone();
        corrections.add(stamp, correction);
        let refused_before = self.refused(&self.corrections);
        for (Stamp { event, occurred_at, .. }, refusal) in self.refused(&corrections) {
            if event == target {
                return Err(refusal);
            }
            // What happened after a correction that is told late, does not speak against it.
            let is_later = stamp.occurred_at.is_before(&occurred_at);
            if !is_later && !refused_before.iter().any(|(before, _)| before.event == event) {
                return Err(correction::Refusal::LaterEventDepends(event).into());
            }
        }
        Ok(())
    }

    fn check_correction_of_note(
        &self,
        stamp: &Stamp,
        note: &Note,
        change: &Change,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if note.by != stamp.acting_for {
            return Err(correction::Refusal::NotTheAuthor(note.event).into());
        }
        self.corrections.check_in_force(note.event, &stamp.occurred_at, change)?;
        match change {
            Change::EnteredInError => Ok(()),
            Change::Time(at) if at.earliest() > now + FUTURE_TOLERANCE => Err(Refusal::InFuture),
            Change::Time(at) => self.state.check_born(*at),
            Change::Value(fact) => {
                let order = Order::from(Fact::clone(fact));
                check_ends(&order, now)?;
                match order {
                    Order::Document(document) if document.kind == note.kind => {
                        // When it happened is not known here, and said by another correction.
                        let document = Document { ended_at: None, ..document };
                        self.state.check_document(stamp, &document)
                    }
                    Order::Document(_)
                    | Order::Identity(_)
                    | Order::Encounter(..)
                    | Order::TransferRequest(..)
                    | Order::Referral(..)
                    | Order::Case(..)
                    | Order::Correction(_) => {
                        Err(correction::Refusal::OtherKind(note.event).into())
                    }
                }
            }
        }
    }

    /// What would be refused if all were told again with these corrections, each when it happened.
    fn refused(&self, corrections: &Corrections) -> Vec<(Stamp, Refusal)> {
        let effective = |told: &Arc<Told>| Some((told.of, effective(told, corrections)?));
        let mut left: Vec<_> = self.told.iter().filter_map(effective).collect();
        left.sort_by_key(|(_, (stamp, _))| stamp.occurred_at.earliest());
        let mut state = State::default();
        loop {
            let (before, mut again, mut refused) = (left.len(), Vec::new(), Vec::new());
            for (of, (stamp, fact)) in left {
                if of.is_none()
                    && let Err(refusal) = state.decide(&stamp, fact.clone().into())
                {
                    refused.push((stamp.clone(), refusal));
                    again.push((of, (stamp, fact)));
                } else {
                    state.apply(&stamp, &fact);
                }
            }
            // Of what happened at the same time, one may be what the other waits for.
            if again.len() == before {
                return refused;
            }
            left = again;
        }
    }
}

/// Whether a discharge is cancelled, and the admission of the same stay behind it.
fn is_withdrawn(order: &Order, follow: &[Command]) -> bool {
    let Order::Encounter(id, encounter::Command::CancelDischarge(_)) = order else { return false };
    follow.iter().any(|command| {
        matches!(
            &command.order,
            Order::Encounter(of, encounter::Command::CancelAdmission(_)) if of == id
        )
    })
}

/// Whether what is told late was cancelled or entered in error, and that is told with it.
fn is_taken_back(stamp: &Stamp, follow: &[Command]) -> bool {
    let error =
        Order::Correction(Correction { corrects: stamp.event, change: Change::EnteredInError });
    follow.iter().any(|Command { order, .. }| {
        *order == error || Fact::from(order.clone()).cancelled() == Some(stamp.event)
    })
}

/// What was told, as it is corrected. None if it was entered in error.
fn effective(told: &Told, corrections: &Corrections) -> Option<(Stamp, Fact)> {
    let Event { stamp, fact } = &told.event;
    if corrections.is_empty() {
        return Some((stamp.clone(), fact.clone()));
    }
    let outcome = corrections.outcome(stamp.event);
    if outcome.error.is_some() {
        return None;
    }
    let occurred_at = outcome.time.map_or(stamp.occurred_at, |(_, at)| at);
    let fact = outcome.value.map_or(fact, |(_, fact)| fact);
    Some((Stamp { occurred_at, ..stamp.clone() }, fact.clone()))
}

/// Whether an event can be corrected in this way.
fn check_change(told: &Told, change: &Change, now: Timestamp) -> Result<(), Refusal> {
    let Event { stamp: Stamp { event: target, .. }, fact } = &told.event;
    match (change, fact) {
        (Change::Value(_) | Change::Time(_), Fact::Correction(_)) => {
            return Err(correction::Refusal::IsACorrection(*target).into());
        }
        (
            Change::EnteredInError,
            Fact::Correction(_)
            | Fact::Identity(
                identity::Event::IdentifierLinked(_)
                | identity::Event::DemographicsUpdated(_)
                | identity::Event::DeathRecorded(_),
            ),
        ) => return Ok(()),
        (_, Fact::Identity(_)) => {
            return Err(correction::Refusal::NotCorrectable(*target).into());
        }
        (
            _,
            Fact::Encounter(..)
            | Fact::TransferRequest(..)
            | Fact::Referral(..)
            | Fact::Case(..)
            | Fact::Document(_),
        ) => {}
    }
    match change {
        Change::Time(at) if at.earliest() > now + FUTURE_TOLERANCE => Err(Refusal::InFuture),
        Change::EnteredInError | Change::Time(_) => Ok(()),
        Change::Value(instead) if is_of_same_kind(fact, instead) => {
            check_ends(&Order::from(Fact::clone(instead)), now)
        }
        Change::Value(_) => Err(correction::Refusal::OtherKind(*target).into()),
    }
}

/// Whether two facts tell of the same thing in the same way.
fn is_of_same_kind(one: &Fact, other: &Fact) -> bool {
    match (one, other) {
        (Fact::Encounter(id, one), Fact::Encounter(of, other)) => {
            let is_same_kind = discriminant(one) == discriminant(other);
            id == of && (is_same_kind || one.is_discharge() && other.is_discharge())
        }
        (Fact::TransferRequest(id, one), Fact::TransferRequest(of, other)) => {
            id == of && discriminant(one) == discriminant(other)
        }
        (Fact::Referral(id, one), Fact::Referral(of, other)) => {
            id == of && discriminant(one) == discriminant(other)
        }
        (Fact::Case(id, one), Fact::Case(of, other)) => {
            id == of && discriminant(one) == discriminant(other)
        }
        (Fact::Document(one), Fact::Document(other)) => {
            let id = |document: &Document| document.step.map(|step| step.id);
            one.kind == other.kind && id(one) == id(other)
        }
        (
            Fact::Identity(_)
            | Fact::Encounter(..)
            | Fact::TransferRequest(..)
            | Fact::Referral(..)
            | Fact::Case(..)
            | Fact::Document(_)
            | Fact::Correction(_),
            _,
        ) => false,
    }
}

#[cfg(test)]
impl Record {
    /// Whether the same follows from both, whatever the order in which it was told.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        self.state == other.state && self.corrections == other.corrections
    }
}

impl State {
    fn decide(&self, stamp: &Stamp, order: Order) -> Result<Fact, Refusal> {
        let fact = match order {
            Order::Identity(command) => Fact::Identity(self.patient.decide(stamp, command)?),
            Order::Encounter(id, command) => {
                Fact::Encounter(id, self.decide_encounter(id, stamp, command)?)
            }
            Order::TransferRequest(id, command) => {
                Fact::TransferRequest(id, self.decide_transfer_request(id, stamp, command)?)
            }
            Order::Referral(id, command) => {
                Fact::Referral(id, self.decide_referral(id, stamp, command)?)
            }
            Order::Case(id, command) => Fact::Case(id, self.decide_case(id, stamp, command)?),
            Order::Document(document) => {
                self.check_document(stamp, &document)?;
                Fact::Document(document)
            }
            Order::Correction(correction) => Fact::Correction(correction),
        };
        if tells_of_the_patient(&fact) {
            self.check_born(stamp.occurred_at)?;
        }
        Ok(fact)
    }

    fn apply(&mut self, stamp: &Stamp, fact: &Fact) {
        match fact {
            Fact::Identity(event) => self.patient.apply(stamp, event),
            Fact::Encounter(id, event) => {
                if stamp.by_proxy {
                    self.by_proxy.insert(*id);
                }
                self.encounters.entry(*id).or_default().apply(stamp, event);
            }
            Fact::TransferRequest(id, event) => {
                self.transfer_requests.entry(*id).or_default().apply(stamp, event);
            }
            Fact::Referral(id, event) => {
                self.referrals.entry(*id).or_default().apply(stamp, event);
            }
            Fact::Case(id, event) => self.cases.entry(*id).or_default().apply(stamp, event),
            Fact::Document(Document { step: Some(step), .. }) => {
                self.courses.entry((step.of, step.id)).or_default().apply(stamp, *step);
            }
            Fact::Document(Document { step: None, .. }) | Fact::Correction(_) => {}
        }
    }

    /// The stay by which the facility itself tells of one that somebody had entered for it, and
    /// the event that does so.
    fn successor(&self, id: EncounterId) -> Option<(EncounterId, EventId)> {
        let proxy = self.by_proxy.get(&id).and_then(|id| self.encounters.get(id));
        let proxy = proxy.filter(|proxy| proxy.is_by_proxy())?;
        let mut all = self.encounters.iter();
        all.find_map(|(own, encounter)| Some((*own, encounter.takes_the_place_of(proxy)?)))
    }

    /// The encounter that one continues; a stay also what was said of the one it took the place of.
    fn preceding(&self, id: EncounterId) -> Option<EncounterId> {
        let said = self.encounters.get(&id).and_then(Encounter::preceding);
        said.or_else(|| {
            let gave_way =
                |of: &&EncounterId| self.successor(**of).is_some_and(|(own, _)| own == id);
            let proxy = self.by_proxy.iter().find(gave_way)?;
            self.encounters.get(proxy).and_then(Encounter::preceding)
        })
    }

    fn decide_encounter(
        &self,
        id: EncounterId,
        stamp: &Stamp,
        command: encounter::Command,
    ) -> Result<encounter::Event, Refusal> {
        if let Some(other) = self.stay_in_the_way(id, stamp, &command) {
            return Err(encounter::Refusal::InFacilityAlready(other).into());
        }
        if command.admits() && self.died_before(stamp.occurred_at) {
            return Err(identity::Refusal::Deceased.into());
        }
        let at = &stamp.occurred_at;
        if command.preceding().is_some_and(|preceding| self.leads_to(preceding, id, at)) {
            return Err(encounter::Refusal::CircularEpisode.into());
        }
        let unknown = Encounter::default();
        let encounter = self.encounters.get(&id).unwrap_or(&unknown);
        Ok(encounter.decide(stamp, command)?)
    }

    /// Whether an encounter by itself allows a command.
    fn decide_of_encounter(&self, stamp: &Stamp, order: Order) -> Result<Fact, Refusal> {
        let Order::Encounter(id, command) = order else { return self.decide(stamp, order) };
        let unknown = Encounter::default();
        let encounter = self.encounters.get(&id).unwrap_or(&unknown);
        Ok(Fact::Encounter(id, encounter.decide(stamp, command)?))
    }

    /// The stay in a facility where the patient would lie a second time. What is told of the past
    /// may come in any order: only a stay counts that had begun by then and had not ended, by what
    /// is known now and by what had happened then.
    fn stay_in_the_way(
        &self,
        id: EncounterId,
        stamp: &Stamp,
        command: &encounter::Command,
    ) -> Option<EncounterId> {
        let own = self.encounters.get(&id);
        let place = if let encounter::Command::Admit(admission) = command {
            if own.is_some_and(|own| own.is_cancelled_ahead(stamp, command)) {
                return None;
            }
            &admission.place
        } else if let encounter::Command::CancelDischarge(cancel) = command {
            own.filter(|own| own.goes_on_without(stamp, *cancel))?.place()?
        } else {
            return None;
        };
        let at = &stamp.occurred_at;
        let in_the_way = |other: &Encounter| {
            let goes_on =
                other.is_inpatient() && other.began_at().is_some_and(|began| !at.is_before(&began));
            (goes_on || other.was_inpatient_at(at))
                && other.was_in_hospital_by(at)
                && other.place().is_some_and(|there| there.facility.id == place.facility.id)
        };
        // What somebody entered for the facility gives way to its own word.
        let is_own = !stamp.by_proxy && stamp.acting_for == place.facility.id;
        let gives_way = |other: EncounterId, encounter: &Encounter| {
            is_own && encounter.is_by_proxy() || self.successor(other).is_some()
        };
        let mut others = self.encounters.iter().filter(|(other, _)| **other != id);
        others.find_map(|(other, encounter)| {
            (in_the_way(encounter) && !gives_way(*other, encounter)).then_some(*other)
        })
    }

    /// Whether one encounter continues another, by what was said by a time.
    fn leads_to(&self, from: EncounterId, to: EncounterId, at: &CareTime) -> bool {
        let mut next = Some(from);
        for _ in 0..=self.encounters.len() {
            match next {
                Some(encounter) if encounter == to => return true,
                Some(encounter) => {
                    let said = self.encounters.get(&encounter);
                    next = said.and_then(|said| said.preceding_at(at));
                }
                None => return false,
            }
        }
        false
    }

    fn decide_transfer_request(
        &self,
        id: TransferRequestId,
        stamp: &Stamp,
        command: transfer_request::Command,
    ) -> Result<transfer_request::Event, Refusal> {
        if let transfer_request::Command::Request(question) = &command {
            let encounter = self.known_encounter(question.encounter)?;
            if encounter.place().is_some_and(|place| place.facility.id == question.facility) {
                return Err(transfer_request::Refusal::SameFacility.into());
            }
        }
        let unknown = TransferRequest::default();
        let request = self.transfer_requests.get(&id).unwrap_or(&unknown);
        if matches!(command, transfer_request::Command::Accept(())) && request.encounter().is_some()
        {
            let mut others = self.transfer_requests.iter().filter(|(other, _)| **other != id);
            let at = &stamp.occurred_at;
            if others.any(|(_, other)| {
                other.was_accepted_at(at) && other.encounter() == request.encounter()
            }) {
                return Err(transfer_request::Refusal::AnotherAccepted.into());
            }
        }
        Ok(request.decide(stamp, command)?)
    }

    fn decide_referral(
        &self,
        id: ReferralId,
        stamp: &Stamp,
        command: referral::Command,
    ) -> Result<referral::Event, Refusal> {
        if let referral::Command::Request(referral::Asked { case: Some(case), .. }) = &command {
            self.known_case(*case)?;
        }
        let unknown = Referral::default();
        Ok(self.referrals.get(&id).unwrap_or(&unknown).decide(stamp, command)?)
    }

    fn decide_case(
        &self,
        id: CaseId,
        stamp: &Stamp,
        command: case::Command,
    ) -> Result<case::Event, Refusal> {
        if let case::Command::Open(Some(referral)) = &command {
            let found = self.referrals.get(referral).filter(|found| found.is_known());
            let referral = found.ok_or(Refusal::UnknownReferral(*referral))?;
            if !referral.was_live_at(&stamp.occurred_at) {
                return Err(case::Refusal::ReferralNotLive.into());
            }
        }
        let unknown = Case::default();
        Ok(self.cases.get(&id).unwrap_or(&unknown).decide(stamp, command)?)
    }

    /// Whether the patient was certainly dead before that.
    fn died_before(&self, at: CareTime) -> bool {
        let mut deaths = self.encounters.values().filter_map(Encounter::death);
        self.patient.died_before(at) || deaths.any(|(_, death)| death.is_before(&at))
    }

    /// Nothing happens to a patient before birth.
    fn check_born(&self, at: CareTime) -> Result<(), Refusal> {
        if self.patient.birth_on().is_some_and(|birth| at.is_before(&birth)) {
            return Err(identity::Refusal::BornAfterEvent.into());
        }
        Ok(())
    }

    fn check_document(&self, stamp: &Stamp, document: &Document) -> Result<(), Refusal> {
        if document.ended_at.is_some_and(|end| end.is_before(&stamp.occurred_at)) {
            return Err(encounter::Refusal::EndsBeforeItBegins.into());
        }
        if let (Some(from), Some(to)) = document.valid
            && to.is_before(&from)
        {
            return Err(note::Refusal::NeverValid.into());
        }
        if let Some(encounter) = document.encounter {
            let encounter = self.known_encounter(encounter)?;
            if document.of_facility {
                encounter.check_teller(stamp)?;
            }
        }
        if let Some(id) = document.case {
            let case = self.known_case(id)?;
            if document.is_case_work {
                case.check_work(stamp)?;
            }
        }
        if let Some(referral) = document.referral
            && !self.referrals.get(&referral).is_some_and(Referral::is_known)
        {
            return Err(Refusal::UnknownReferral(referral));
        }
        if let Some(step) = document.step {
            let unknown = Course::default();
            self.courses.get(&(step.of, step.id)).unwrap_or(&unknown).decide(stamp, step)?;
        }
        Ok(())
    }

    fn known_encounter(&self, id: EncounterId) -> Result<&Encounter, Refusal> {
        self.encounters.get(&id).ok_or(Refusal::UnknownEncounter(id))
    }

    fn known_case(&self, id: CaseId) -> Result<&Case, Refusal> {
        let case = self.cases.get(&id).filter(|case| case.state() != case::State::Unopened);
        case.ok_or(Refusal::UnknownCase(id))
    }
}

/// What is said of the person checks itself; a cancel and a correction tell of the record.
fn tells_of_the_patient(fact: &Fact) -> bool {
    match fact {
        Fact::Identity(_) | Fact::Correction(_) => false,
        Fact::Encounter(_, event) => event.cancelled().is_none(),
        Fact::TransferRequest(..) | Fact::Referral(..) | Fact::Case(..) | Fact::Document(_) => true,
    }
}

/// What has happened lies in the past, and so does the end of a visit or a life.
fn check_ends(order: &Order, now: Timestamp) -> Result<(), Refusal> {
    let is_future =
        |time: Option<CareTime>| time.is_some_and(|time| time.earliest() > now + FUTURE_TOLERANCE);
    let ended_at = if let Order::Encounter(_, encounter::Command::RegisterVisit(visit)) = order {
        visit.ended_at
    } else if let Order::Document(document) = order {
        document.ended_at
    } else {
        None
    };
    if is_future(ended_at) {
        return Err(encounter::Refusal::EndsInFuture.into());
    }
    if let Order::Identity(
        identity::Command::Register(identity::Registration { demographics, .. })
        | identity::Command::UpdateDemographics(demographics),
    ) = order
        && is_future(demographics.deceased_at)
    {
        return Err(identity::Refusal::DiesInFuture.into());
    }
    if let Order::Identity(identity::Command::RecordDeath(death)) = order
        && is_future(death.at)
    {
        return Err(identity::Refusal::DiesInFuture.into());
    }
    Ok(())
}

impl Refusal {
    /// The machine-readable reason: stable, for callers to match on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InFuture => "OCCURRED_AT_IN_FUTURE",
            Self::UnknownEncounter(_) => "ENCOUNTER_UNKNOWN",
            Self::UnknownCase(_) | Self::Case(case::Refusal::Unknown) => "CASE_UNKNOWN",
            Self::UnknownReferral(_) | Self::Referral(referral::Refusal::Unknown) => {
                "REFERRAL_UNKNOWN"
            }
            Self::Identity(refusal) => identity_reason(refusal),
            Self::Encounter(refusal) => encounter_reason(refusal),
            Self::TransferRequest(refusal) => transfer_request_reason(refusal),
            Self::Referral(referral::Refusal::AlreadyRequested) => "REFERRAL_EXISTS",
            Self::Referral(referral::Refusal::NotTheReceiver) => "NOT_THE_RECEIVER",
            Self::Referral(referral::Refusal::NotTheRequester) => "NOT_THE_REQUESTER",
            Self::Referral(referral::Refusal::WrongState(_)) => "REFERRAL_IN_WRONG_STATE",
            Self::Referral(referral::Refusal::BeforeRequest)
            | Self::Case(case::Refusal::OutOfOrder) => "OUT_OF_ORDER",
            Self::Note(refusal) => note_reason(refusal),
            Self::Correction(refusal) => correction_reason(refusal),
            Self::Resource(refusal) => resource_reason(refusal),
            Self::Organisation(refusal) => organisation_reason(refusal),
            Self::Case(case::Refusal::AlreadyOpened) => "CASE_EXISTS",
            Self::Case(case::Refusal::Closed) => "CASE_CLOSED",
            Self::Case(case::Refusal::Open) => "CASE_OPEN",
            Self::Case(case::Refusal::ReferralNotLive) => "REFERRAL_NOT_LIVE",
            Self::Case(case::Refusal::NotTheOpener) => "NOT_THE_OPENER",
        }
    }

    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Identity(refusal) => identity_kind(refusal),
            Self::InFuture
            | Self::Resource(resource::Refusal::InFuture)
            | Self::Organisation(organisation::Refusal::InFuture)
            | Self::Encounter(
                encounter::Refusal::CircularEpisode
                | encounter::Refusal::EndsBeforeItBegins
                | encounter::Refusal::EndsInFuture,
            )
            | Self::TransferRequest(transfer_request::Refusal::SameFacility)
            | Self::Note(note::Refusal::NeverValid)
            | Self::Correction(
                correction::Refusal::IsACorrection(_)
                | correction::Refusal::NotCorrectable(_)
                | correction::Refusal::OtherKind(_),
            ) => RefusalKind::Invalid,
            Self::UnknownEncounter(_)
            | Self::UnknownCase(_)
            | Self::UnknownReferral(_)
            | Self::TransferRequest(transfer_request::Refusal::Unknown)
            | Self::Referral(referral::Refusal::Unknown)
            | Self::Case(case::Refusal::Unknown)
            | Self::Note(note::Refusal::Unknown(_))
            | Self::Resource(resource::Refusal::Unknown)
            | Self::Organisation(organisation::Refusal::UnknownMeeting(_))
            | Self::Correction(correction::Refusal::UnknownEvent(_)) => RefusalKind::NotFound,
            Self::Note(note::Refusal::Exists(_))
            | Self::Resource(resource::Refusal::AlreadyPublished)
            | Self::TransferRequest(transfer_request::Refusal::AlreadyRequested)
            | Self::Referral(referral::Refusal::AlreadyRequested)
            | Self::Case(case::Refusal::AlreadyOpened) => RefusalKind::Exists,
            Self::TransferRequest(
                transfer_request::Refusal::NotTheFacilityAsked
                | transfer_request::Refusal::NotTheRequester,
            )
            | Self::Referral(
                referral::Refusal::NotTheReceiver | referral::Refusal::NotTheRequester,
            )
            | Self::Case(case::Refusal::NotTheOpener)
            | Self::Resource(resource::Refusal::NotThePublisher)
            | Self::Organisation(organisation::Refusal::NotTheOrganisation)
            | Self::Note(note::Refusal::NeedsPerson)
            | Self::Encounter(encounter::Refusal::NotTheFacility)
            | Self::Correction(correction::Refusal::NotTheAuthor(_)) => RefusalKind::NotYours,
            Self::Note(note::Refusal::WrongState { .. } | note::Refusal::Differs(_))
            | Self::Resource(resource::Refusal::Withdrawn | resource::Refusal::NotYet)
            | Self::Organisation(organisation::Refusal::AlreadyInError(_))
            | Self::Correction(
                correction::Refusal::AlreadyInError(_) | correction::Refusal::LaterEventDepends(_),
            )
            | Self::Encounter(_)
            | Self::TransferRequest(
                transfer_request::Refusal::WrongState(_)
                | transfer_request::Refusal::AnotherAccepted,
            )
            | Self::Referral(referral::Refusal::WrongState(_) | referral::Refusal::BeforeRequest)
            | Self::Case(
                case::Refusal::Closed
                | case::Refusal::Open
                | case::Refusal::OutOfOrder
                | case::Refusal::ReferralNotLive,
            ) => RefusalKind::State,
        }
    }
}

fn identity_kind(refusal: &identity::Refusal) -> RefusalKind {
    match refusal {
        identity::Refusal::BornAfterEvent
        | identity::Refusal::DiesInFuture
        | identity::Refusal::DiedBeforeBirth => RefusalKind::Invalid,
        identity::Refusal::Unknown => RefusalKind::NotFound,
        identity::Refusal::AlreadyRegistered
        | identity::Refusal::AlreadyLinked
        | identity::Refusal::AlreadyMerged => RefusalKind::Exists,
        identity::Refusal::Retired(_)
        | identity::Refusal::Deceased
        | identity::Refusal::NotMerged
        | identity::Refusal::MergesTooDeep(_) => RefusalKind::State,
    }
}

fn identity_reason(refusal: &identity::Refusal) -> &'static str {
    match refusal {
        identity::Refusal::Unknown => "PATIENT_UNKNOWN",
        identity::Refusal::Retired(_) => "PATIENT_MERGED",
        identity::Refusal::AlreadyMerged => "ALREADY_MERGED",
        identity::Refusal::NotMerged => "NOT_MERGED",
        identity::Refusal::MergesTooDeep(_) => "MERGES_TOO_DEEP",
        identity::Refusal::AlreadyRegistered => "PATIENT_EXISTS",
        identity::Refusal::AlreadyLinked => "IDENTIFIER_LINKED",
        identity::Refusal::BornAfterEvent => "BORN_AFTER_EVENT",
        identity::Refusal::DiesInFuture => "DIES_IN_FUTURE",
        identity::Refusal::DiedBeforeBirth => "DIED_BEFORE_BIRTH",
        identity::Refusal::Deceased => "PATIENT_DECEASED",
    }
}

fn encounter_reason(refusal: &encounter::Refusal) -> &'static str {
    match refusal {
        encounter::Refusal::NotAdmitted => "NOT_ADMITTED",
        encounter::Refusal::AlreadyAdmitted => "ALREADY_ADMITTED",
        encounter::Refusal::InFacilityAlready(_) => "IN_FACILITY_ALREADY",
        encounter::Refusal::AlreadyBegun => "ENCOUNTER_BEGUN",
        encounter::Refusal::AlreadyEnded => "ENCOUNTER_ENDED",
        encounter::Refusal::OnLeave => "ON_LEAVE",
        encounter::Refusal::NotOnLeave => "NOT_ON_LEAVE",
        encounter::Refusal::OutOfOrder => "OUT_OF_ORDER",
        encounter::Refusal::OtherFacility => "OTHER_FACILITY",
        encounter::Refusal::NotTheFacility => "NOT_THE_FACILITY",
        encounter::Refusal::NothingToCancel(_) => "NOTHING_TO_CANCEL",
        encounter::Refusal::LaterMoveDepends(_) => "LATER_MOVE_DEPENDS",
        encounter::Refusal::CircularEpisode => "CIRCULAR_EPISODE",
        encounter::Refusal::EndsBeforeItBegins => "ENDS_BEFORE_IT_BEGINS",
        encounter::Refusal::EndsInFuture => "ENDS_IN_FUTURE",
    }
}

fn transfer_request_reason(refusal: &transfer_request::Refusal) -> &'static str {
    match refusal {
        transfer_request::Refusal::Unknown => "TRANSFER_REQUEST_UNKNOWN",
        transfer_request::Refusal::AlreadyRequested => "TRANSFER_REQUEST_EXISTS",
        transfer_request::Refusal::NotTheFacilityAsked => "NOT_THE_FACILITY_ASKED",
        transfer_request::Refusal::NotTheRequester => "NOT_THE_REQUESTER",
        transfer_request::Refusal::WrongState(_) => "TRANSFER_REQUEST_IN_WRONG_STATE",
        transfer_request::Refusal::SameFacility => "SAME_FACILITY",
        transfer_request::Refusal::AnotherAccepted => "ANOTHER_OFFER_ACCEPTED",
    }
}

fn note_reason(refusal: &note::Refusal) -> &'static str {
    match refusal {
        note::Refusal::Unknown(_) => "NOT_BEGUN",
        note::Refusal::Exists(_) => "BEGUN_ALREADY",
        note::Refusal::WrongState { .. } => "IN_WRONG_STATE",
        note::Refusal::NeedsPerson => "PERSON_NEEDED",
        note::Refusal::NeverValid => "NEVER_VALID",
        note::Refusal::Differs(_) => "DOCUMENT_DIFFERS",
    }
}

fn resource_reason(refusal: &resource::Refusal) -> &'static str {
    match refusal {
        resource::Refusal::Unknown => "RESOURCE_UNKNOWN",
        resource::Refusal::AlreadyPublished => "RESOURCE_EXISTS",
        resource::Refusal::Withdrawn => "RESOURCE_WITHDRAWN",
        resource::Refusal::NotYet => "OUT_OF_ORDER",
        resource::Refusal::NotThePublisher => "NOT_THE_PUBLISHER",
        resource::Refusal::InFuture => "OCCURRED_AT_IN_FUTURE",
    }
}

fn organisation_reason(refusal: &organisation::Refusal) -> &'static str {
    match refusal {
        organisation::Refusal::NotTheOrganisation => "NOT_THE_ORGANISATION",
        organisation::Refusal::UnknownMeeting(_) => "MEETING_UNKNOWN",
        organisation::Refusal::AlreadyInError(_) => "ALREADY_IN_ERROR",
        organisation::Refusal::InFuture => "OCCURRED_AT_IN_FUTURE",
    }
}

fn correction_reason(refusal: &correction::Refusal) -> &'static str {
    match refusal {
        correction::Refusal::UnknownEvent(_) => "EVENT_UNKNOWN",
        correction::Refusal::AlreadyInError(_) => "ALREADY_IN_ERROR",
        correction::Refusal::NotTheAuthor(_) => "NOT_THE_AUTHOR",
        correction::Refusal::IsACorrection(_) => "IS_A_CORRECTION",
        correction::Refusal::NotCorrectable(_) => "NOT_CORRECTABLE",
        correction::Refusal::OtherKind(_) => "CORRECTION_OF_OTHER_KIND",
        correction::Refusal::LaterEventDepends(_) => "LATER_EVENT_DEPENDS",
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Stamp;
    use crate::id::{EventId, OrganisationId};
    use crate::time::{CareTime, Zone};

    pub(crate) fn time(text: &str) -> CareTime {
        CareTime::parse(text, &Zone::named("Asia/Tokyo").unwrap()).unwrap()
    }

    pub(crate) fn event_id(number: u128) -> EventId {
        EventId::new(uuid::Uuid::from_u128(number))
    }

    pub(crate) fn stamp(number: u128, occurred_at: &str) -> Stamp {
        stamp_for(number, occurred_at, "hospital")
    }

    pub(crate) fn stamp_for(number: u128, occurred_at: &str, organisation: &str) -> Stamp {
        Stamp {
            event: event_id(number),
            occurred_at: time(occurred_at),
            acting_for: OrganisationId::parse(organisation).unwrap(),
            by_program: false,
            by_proxy: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{event_id, stamp, stamp_for, time};
    use super::*;
    use crate::encounter::{Admission, Cancellation};
    use crate::identity::{Demographics, Registration};
    use crate::place::{Facility, Place};

    fn encounter_id(number: u128) -> EncounterId {
        EncounterId::new(Uuid::from_u128(number))
    }

    fn register() -> Order {
        Order::Identity(identity::Command::Register(Registration {
            identifiers: Vec::new(),
            demographics: Demographics::default(),
        }))
    }

    fn place(facility: &str) -> Place {
        let facility = Facility { id: OrganisationId::parse(facility).unwrap(), name: "".into() };
        Place { facility, department: "".into(), ward: "".into(), room: "".into(), bed: "".into() }
    }

    fn transfer_order(request: u128, command: transfer_request::Command) -> Order {
        Order::TransferRequest(TransferRequestId::new(Uuid::from_u128(request)), command)
    }

    fn admit(encounter: u128, facility: &str, preceding: Option<u128>) -> Order {
        let preceding = preceding.map(encounter_id);
        let admission = Admission { place: place(facility), preceding };
        Order::Encounter(encounter_id(encounter), encounter::Command::Admit(admission))
    }

    fn discharge(encounter: u128) -> Order {
        Order::Encounter(encounter_id(encounter), encounter::Command::Discharge(()))
    }

    fn noon() -> Timestamp {
        time("2026-06-01T12:00:00+09:00").earliest()
    }

    /// A record to which these orders happened, the nth under the event id n.
    fn given(orders: &[(&str, Order)]) -> Record {
        let mut record = Record::default();
        for ((at, order), number) in orders.iter().zip(1..) {
            record.apply(&Event { stamp: stamp(number, at), fact: order.clone().into() });
        }
        record
    }

    impl Record {
        fn when(&self, at: &str, order: Order) -> Result<(), Refusal> {
            let command = Command { stamp: stamp(99, at), order };
            self.decide(command, noon()).map(|_| ())
        }
    }

    #[test]
    fn nothing_happens_to_a_stranger() {
        let orders = [admit(1, "acute", None), discharge(1)];
        for order in orders {
            assert_eq!(
                given(&[]).when("2026-05-01", order),
                Err(Refusal::Identity(identity::Refusal::Unknown))
            );
        }
    }

    #[test]
    fn the_future_is_refused_beyond_the_tolerance() {
        let at = |text: &str| given(&[]).when(text, register());
        assert_eq!(at("2026-06-01T12:05:00+09:00"), Ok(()));
        assert_eq!(at("2026-06-01T12:05:01+09:00"), Err(Refusal::InFuture));
        assert_eq!(at("2026-06-01"), Ok(()), "today");
        assert_eq!(at("2026-06-02"), Err(Refusal::InFuture), "tomorrow");
    }

    #[test]
    fn a_patient_has_one_open_stay_in_a_facility() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        assert_eq!(
            record.when("2026-05-03", admit(2, "acute", None)),
            Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(encounter_id(1))))
        );
        assert_eq!(record.when("2026-05-03", admit(2, "rehab", None)), Ok(()));
        assert_eq!(record.when("2026-04-03", admit(2, "acute", None)), Ok(()), "told later");
    }

    #[test]
    fn a_cancelled_discharge_does_not_make_a_second_stay() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-05", discharge(1)),
            ("2026-05-09", admit(2, "acute", None)),
        ]);
        let cancel = Order::Encounter(
            encounter_id(1),
            encounter::Command::CancelDischarge(Cancellation { cancelled: event_id(3) }),
        );
        assert_eq!(
            record.when("2026-05-10", cancel),
            Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(encounter_id(2))))
        );
    }

    #[test]
    fn a_visit_whose_end_is_cancelled_is_no_second_stay() {
        let visit = encounter::Visit {
            class: encounter::Class::Outpatient,
            place: place("acute"),
            ended_at: None,
            preceding: None,
        };
        let visited = Order::Encounter(encounter_id(1), encounter::Command::RegisterVisit(visit));
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", visited),
            ("2026-05-03", discharge(1)),
            ("2026-05-09", admit(2, "acute", None)),
        ]);
        let cancel = Order::Encounter(
            encounter_id(1),
            encounter::Command::CancelDischarge(Cancellation { cancelled: event_id(3) }),
        );
        assert_eq!(record.when("2026-05-10", cancel), Ok(()));
    }

    #[test]
    fn a_stay_is_cancelled_whole_though_a_later_one_goes_on() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-04", discharge(1)),
            ("2026-05-09", admit(2, "acute", None)),
        ]);
        let of_first = |command| Order::Encounter(encounter_id(1), command);
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let command = |number, order| Command { stamp: stamp(number, "2026-05-10"), order };
        let cancelled = |number| Cancellation { cancelled: event_id(number) };
        let discharge = command(8, of_first(encounter::Command::CancelDischarge(cancelled(3))));
        let admission = command(9, of_first(encounter::Command::CancelAdmission(cancelled(2))));
        assert!(record.decide(discharge.clone(), now).is_err());
        let mut after = record.clone();
        let follow = std::slice::from_ref(&admission);
        for event in record.decide_before(discharge, follow, now).unwrap() {
            after.apply(&event);
        }
        for event in after.decide(admission, now).unwrap() {
            after.apply(&event);
        }
        assert_eq!(after.encounter(encounter_id(1)).unwrap().stage(), Stage::Expected);
        assert!(after.encounter(encounter_id(2)).unwrap().is_inpatient());
    }

    #[test]
    fn nothing_ends_in_the_future() {
        let record = given(&[("2026-05-01", register())]);
        let visit = encounter::Visit {
            class: encounter::Class::Outpatient,
            place: place("acute"),
            ended_at: Some(time("2026-06-02")),
            preceding: None,
        };
        let visit = Order::Encounter(encounter_id(1), encounter::Command::RegisterVisit(visit));
        assert_eq!(
            record.when("2026-05-02", visit),
            Err(Refusal::Encounter(encounter::Refusal::EndsInFuture))
        );
        let demographics =
            Demographics { deceased_at: Some(time("2026-06-02")), ..Demographics::default() };
        let update = Order::Identity(identity::Command::UpdateDemographics(demographics));
        assert_eq!(
            record.when("2026-05-02", update),
            Err(Refusal::Identity(identity::Refusal::DiesInFuture))
        );
    }

    #[test]
    fn one_offer_for_a_stay_is_accepted() {
        let ask = |request: u128, facility: &str| {
            let question = transfer_request::Question {
                encounter: encounter_id(1),
                facility: OrganisationId::parse(facility).unwrap(),
            };
            transfer_order(request, transfer_request::Command::Request(question))
        };
        let mut record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-03", ask(1, "rehab-1")),
            ("2026-05-03", ask(2, "rehab-2")),
            ("2026-05-04", transfer_order(1, transfer_request::Command::Offer(()))),
            ("2026-05-04", transfer_order(2, transfer_request::Command::Offer(()))),
        ]);
        let accept = |request| transfer_order(request, transfer_request::Command::Accept(()));
        assert_eq!(record.when("2026-05-05", accept(1)), Ok(()));
        record.apply(&Event { stamp: stamp(7, "2026-05-05"), fact: accept(1).into() });
        assert_eq!(
            record.when("2026-05-06", accept(2)),
            Err(Refusal::TransferRequest(transfer_request::Refusal::AnotherAccepted))
        );
        let withdraw = transfer_order(1, transfer_request::Command::Withdraw(()));
        record.apply(&Event { stamp: stamp(8, "2026-05-06"), fact: withdraw.into() });
        assert_eq!(record.when("2026-05-06", accept(2)), Ok(()));
    }

    #[test]
    fn a_case_stands_on_a_referral_that_lives_and_a_referral_on_a_case_that_is_known() {
        let referral_id = ReferralId::new(Uuid::from_u128(1));
        let case_id = CaseId::new(Uuid::from_u128(2));
        let ask = |case: Option<CaseId>| {
            let receiver = OrganisationId::parse("hospital").unwrap();
            let asked = referral::Asked { receiver, case };
            Order::Referral(referral_id, referral::Command::Request(asked))
        };
        let record = given(&[("2026-05-01", register())]);
        assert_eq!(
            record.when("2026-05-02", ask(Some(case_id))),
            Err(Refusal::UnknownCase(case_id))
        );
        let rejected = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", ask(None)),
            ("2026-05-03", Order::Referral(referral_id, referral::Command::Reject(()))),
        ]);
        let open = Order::Case(case_id, case::Command::Open(Some(referral_id)));
        assert_eq!(
            rejected.when("2026-05-04", open),
            Err(Refusal::Case(case::Refusal::ReferralNotLive))
        );
    }

    #[test]
    fn encounters_that_continue_one_another_are_one_episode() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-09", discharge(1)),
            ("2026-05-09", admit(2, "rehab", Some(1))),
            ("2026-05-30", discharge(2)),
            ("2026-05-30", admit(3, "long-term", Some(2))),
        ]);
        for encounter in [1, 2, 3] {
            assert_eq!(record.episode(encounter_id(encounter)), encounter_id(1));
        }
        assert_eq!(record.episode(encounter_id(9)), encounter_id(9));
    }

    #[test]
    fn an_encounter_does_not_continue_itself() {
        let circular = || Err(Refusal::Encounter(encounter::Refusal::CircularEpisode));
        let record =
            given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", Some(2)))]);
        assert_eq!(record.when("2026-05-03", admit(2, "rehab", Some(1))), circular());
        assert_eq!(record.when("2026-05-03", admit(3, "rehab", Some(3))), circular());
    }

    #[test]
    fn the_patient_is_where_the_stay_goes_on() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-09", discharge(1)),
        ]);
        assert_eq!(record.whereabouts().unwrap().0, encounter_id(1));
        let back = given(&[
            ("2026-05-01", register()),
            ("2026-05-20", admit(2, "acute", None)),
            ("2026-05-02", admit(1, "rehab", None)),
            ("2026-05-09", discharge(1)),
        ]);
        assert_eq!(back.whereabouts().unwrap().0, encounter_id(2));
    }

    #[test]
    fn a_document_is_about_what_is_known() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let about = |encounter: u128| {
            Order::Document(Document {
                encounter: Some(encounter_id(encounter)),
                ..Document::default()
            })
        };
        assert_eq!(record.when("2026-05-03", about(1)), Ok(()));
        assert_eq!(
            record.when("2026-05-03", about(2)),
            Err(Refusal::UnknownEncounter(encounter_id(2)))
        );
        let case = CaseId::new(Uuid::from_u128(5));
        let of_case = Order::Document(Document { case: Some(case), ..Document::default() });
        assert_eq!(record.when("2026-05-03", of_case), Err(Refusal::UnknownCase(case)));
    }

    #[test]
    fn a_goal_is_set_in_an_open_case() {
        let case = CaseId::new(Uuid::from_u128(5));
        let of_case = |command| Order::Case(case, command);
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", of_case(case::Command::Open(None))),
            ("2026-05-09", of_case(case::Command::Close(()))),
        ]);
        let document = Document { case: Some(case), ..Document::default() };
        let goal = || Order::Document(Document { is_case_work: true, ..document });
        let closed = || Err(Refusal::Case(case::Refusal::Closed));
        assert_eq!(record.when("2026-05-10", goal()), closed());
        assert_eq!(record.when("2026-05-08", goal()), Ok(()), "before it was closed");
        let measure = Order::Document(document);
        assert_eq!(record.when("2026-05-10", measure), Ok(()), "how it went is asked afterwards");
    }

    #[test]
    fn what_a_document_tells_of_ends_after_it_began_and_in_the_past() {
        let record = given(&[("2026-05-01", register())]);
        let until = |end: &str| {
            let document = Document { ended_at: Some(time(end)), ..Document::default() };
            record.when("2026-05-03T10:00:00+09:00", Order::Document(document))
        };
        assert_eq!(until("2026-05-03T10:00:00+09:00"), Ok(()));
        assert_eq!(until("2026-05-03"), Ok(()), "the same day");
        assert_eq!(
            until("2026-05-03T09:59:59+09:00"),
            Err(Refusal::Encounter(encounter::Refusal::EndsBeforeItBegins))
        );
        assert_eq!(until("2026-06-02"), Err(Refusal::Encounter(encounter::Refusal::EndsInFuture)));
    }

    #[test]
    fn nothing_happens_to_a_patient_before_birth() {
        let demographics =
            Demographics { birth_on: Some(time("2026-05-02")), ..Demographics::default() };
        let update = Order::Identity(identity::Command::UpdateDemographics(demographics));
        let record = given(&[
            ("2026-04-01", register()),
            ("2026-04-02", admit(1, "acute", None)),
            ("2026-05-02", update),
        ]);
        let born_later = || Err(Refusal::Identity(identity::Refusal::BornAfterEvent));
        let document = || Order::Document(Document::default());
        assert_eq!(record.when("2026-05-01", document()), born_later());
        assert_eq!(record.when("2026-05-01", admit(2, "rehab", None)), born_later());
        let case = CaseId::new(Uuid::from_u128(5));
        let open = Order::Case(case, case::Command::Open(None));
        assert_eq!(record.when("2026-05-01", open), born_later());
        assert_eq!(record.when("2026-05-02", document()), Ok(()), "the day of birth");
        let cancellation = Cancellation { cancelled: event_id(2) };
        let cancel =
            Order::Encounter(encounter_id(1), encounter::Command::CancelAdmission(cancellation));
        assert_eq!(record.when("2026-04-03", cancel), Ok(()), "the slip can be mended");
    }

    #[test]
    fn a_stay_that_is_told_late_does_not_begin_within_another() {
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-10T09:00:00+09:00", admit(1, "acute", None)),
            ("2026-05-20T09:00:00+09:00", discharge(1)),
        ]);
        let overlaps =
            || Err(Refusal::Encounter(encounter::Refusal::InFacilityAlready(encounter_id(1))));
        let admit_at = |at: &str| record.when(at, admit(2, "acute", None));
        assert_eq!(admit_at("2026-05-10T09:00:00+09:00"), overlaps());
        assert_eq!(admit_at("2026-05-13"), overlaps());
        assert_eq!(admit_at("2026-05-20T08:59:59+09:00"), overlaps());
        for free in ["2026-05-03", "2026-05-10", "2026-05-20", "2026-05-20T09:00:00+09:00"] {
            assert_eq!(admit_at(free), Ok(()), "{free}");
        }
        assert_eq!(record.when("2026-05-13", admit(2, "rehab", None)), Ok(()), "elsewhere");
    }

    #[test]
    fn the_facility_that_is_asked_is_another_one() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let ask = |facility: &str| {
            let question = transfer_request::Question {
                encounter: encounter_id(1),
                facility: OrganisationId::parse(facility).unwrap(),
            };
            let id = TransferRequestId::new(Uuid::from_u128(8));
            Order::TransferRequest(id, transfer_request::Command::Request(question))
        };
        assert_eq!(record.when("2026-05-03", ask("rehab")), Ok(()));
        assert_eq!(
            record.when("2026-05-03", ask("acute")),
            Err(Refusal::TransferRequest(transfer_request::Refusal::SameFacility))
        );
    }

    #[test]
    fn a_proxy_entry_speaks_for_the_organisation_it_names() {
        let mut record =
            given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let question = transfer_request::Question {
            encounter: encounter_id(1),
            facility: OrganisationId::parse("rehab").unwrap(),
        };
        let id = TransferRequestId::new(Uuid::from_u128(8));
        record.apply(&Event {
            stamp: stamp(3, "2026-05-03"),
            fact: Fact::TransferRequest(id, transfer_request::Event::Requested(question)),
        });
        let offer = |organisation: &str| Command {
            stamp: stamp_for(4, "2026-05-04", organisation),
            order: Order::TransferRequest(id, transfer_request::Command::Offer(())),
        };
        assert_eq!(
            record.decide(offer("hospital"), noon()),
            Err(Refusal::TransferRequest(transfer_request::Refusal::NotTheFacilityAsked))
        );
        assert!(record.decide(offer("rehab"), noon()).is_ok());
    }

    #[test]
    fn what_was_entered_for_a_hospital_gives_way_to_its_own_word() {
        let by_proxy =
            |number: u128, at: &str| Stamp { by_proxy: true, ..stamp_for(number, at, "seaside") };
        let mut record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-20", discharge(1)),
        ]);
        let proxy =
            Event { stamp: by_proxy(4, "2026-05-20"), fact: admit(2, "seaside", Some(1)).into() };
        record.apply(&proxy);
        let own = |number: u128, at: &str, order: Order| Command {
            stamp: stamp_for(number, at, "seaside"),
            order,
        };
        let again = Command { stamp: by_proxy(5, "2026-05-21"), order: admit(3, "seaside", None) };
        let twice = || Err(encounter::Refusal::InFacilityAlready(encounter_id(2)).into());
        assert_eq!(record.decide(again, noon()), twice(), "a proxy does not tell of it twice");
        let word = own(6, "2026-05-20T13:10:00+09:00", admit(3, "seaside", None));
        let told = record.decide(word, noon()).unwrap();
        record.apply(&told[0]);
        assert_eq!(record.superseded_by(encounter_id(2)), Some(event_id(6)));
        assert_eq!(record.whereabouts().unwrap().0, encounter_id(3));
        assert!(record.encounters().all(|(id, _)| id != encounter_id(2)));
        assert_eq!(record.episode(encounter_id(3)), encounter_id(1), "what the desk said of it");
        let late = Command { stamp: by_proxy(7, "2026-05-22"), order: admit(4, "seaside", None) };
        assert_eq!(
            record.decide(late, noon()),
            Err(encounter::Refusal::InFacilityAlready(encounter_id(3)).into())
        );
        let home = record.decide(own(8, "2026-05-25", discharge(3)), noon()).unwrap();
        record.apply(&home[0]);
        assert_eq!(record.whereabouts().unwrap().1.stage(), Stage::Ended, "and nowhere else");
        let another =
            Command { stamp: by_proxy(9, "2026-05-28"), order: admit(5, "seaside", None) };
        let another = record.decide(another, noon()).unwrap();
        record.apply(&another[0]);
        assert_eq!(
            record.whereabouts().unwrap().0,
            encounter_id(5),
            "a later stay is one of its own"
        );
    }

    #[test]
    fn a_cancel_names_its_event() {
        let record = given(&[("2026-05-01", register()), ("2026-05-02", admit(1, "acute", None))]);
        let cancel = |event: u128| {
            let cancellation = Cancellation { cancelled: event_id(event) };
            Order::Encounter(encounter_id(1), encounter::Command::CancelAdmission(cancellation))
        };
        assert_eq!(record.when("2026-05-03", cancel(2)), Ok(()));
        assert_eq!(
            record.when("2026-05-03", cancel(1)),
            Err(Refusal::Encounter(encounter::Refusal::NothingToCancel(event_id(1))))
        );
    }

    fn correct(corrects: u128, change: Change) -> Order {
        Order::Correction(Correction { corrects: event_id(corrects), change })
    }

    /// Registered, admitted on 2 May, discharged on 9 May.
    fn stay() -> Record {
        given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-09", discharge(1)),
        ])
    }

    fn began(record: &Record) -> Option<CareTime> {
        record.encounter(encounter_id(1)).and_then(Encounter::began_at)
    }

    #[test]
    fn a_corrected_time_holds_from_then_on() {
        let mut record = stay();
        let earlier = correct(2, Change::Time(time("2026-05-01")));
        assert_eq!(record.when("2026-05-10", earlier.clone()), Ok(()));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: earlier.into() });
        assert_eq!(began(&record), Some(time("2026-05-01")));
        let after_the_discharge = correct(2, Change::Time(time("2026-05-11")));
        assert!(record.when("2026-05-12", after_the_discharge).is_err());
    }

    #[test]
    fn what_others_build_on_is_not_entered_in_error_first() {
        let mut record = stay();
        assert_eq!(
            record.when("2026-05-10", correct(2, Change::EnteredInError)),
            Err(correction::Refusal::LaterEventDepends(event_id(3)).into())
        );
        let discharge = correct(3, Change::EnteredInError);
        assert_eq!(record.when("2026-05-10", discharge.clone()), Ok(()));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: discharge.into() });
        assert!(record.encounter(encounter_id(1)).unwrap().is_inpatient());
        assert_eq!(record.when("2026-05-11", correct(2, Change::EnteredInError)), Ok(()));
    }

    #[test]
    fn a_correction_that_was_an_error_itself_is_taken_back() {
        let mut record = stay();
        let error = |number, corrects| Event {
            stamp: stamp(number, "2026-05-10"),
            fact: correct(corrects, Change::EnteredInError).into(),
        };
        record.apply(&error(4, 3));
        record.apply(&error(5, 4));
        assert_eq!(record.outcome(event_id(3)), correction::Outcome::default());
        assert!(!record.encounter(encounter_id(1)).unwrap().is_inpatient());
        assert_eq!(
            record.when("2026-05-12", correct(4, Change::Time(time("2026-05-03")))),
            Err(correction::Refusal::AlreadyInError(event_id(4)).into())
        );
    }

    /// A discharge that was an error and the one that holds, told backwards: the error cannot be
    /// named before it is told, and so is told with it.
    #[test]
    fn what_was_entered_in_error_is_told_late_with_that() {
        let record = stay();
        let early = Command { stamp: stamp(4, "2026-05-07T10:00:00+09:00"), order: discharge(1) };
        let error = |corrects| Command {
            stamp: stamp(5, "2026-05-08"),
            order: correct(corrects, Change::EnteredInError),
        };
        let now = noon();
        assert!(record.decide(early.clone(), now).is_err());
        assert!(record.decide_before(early.clone(), &[error(3)], now).is_err(), "of another");
        let mut after = record.clone();
        for event in record.decide_before(early, &[error(4)], now).unwrap() {
            after.apply(&event);
        }
        for event in after.decide(error(4), now).unwrap() {
            after.apply(&event);
        }
        assert!(after.corrections_of(event_id(4)).eq([event_id(5)]));
        assert_eq!(after.encounter(encounter_id(1)), record.encounter(encounter_id(1)));
    }

    #[test]
    fn what_happened_after_a_late_correction_does_not_speak_against_it() {
        let record = stay();
        let error = correct(2, Change::EnteredInError);
        assert_eq!(
            record.when("2026-05-10", error.clone()),
            Err(correction::Refusal::LaterEventDepends(event_id(3)).into())
        );
        assert_eq!(record.when("2026-05-03", error), Ok(()), "the discharge was on 9 May");
    }

    #[test]
    fn one_offer_was_accepted_at_a_time() {
        let of = |request: u128, command| transfer_order(request, command);
        let ask = |request: u128| {
            let facility = OrganisationId::parse("rehab").unwrap();
            let encounter = encounter_id(1);
            of(
                request,
                transfer_request::Command::Request(transfer_request::Question {
                    encounter,
                    facility,
                }),
            )
        };
        let record = given(&[
            ("2026-05-01", register()),
            ("2026-05-02", admit(1, "acute", None)),
            ("2026-05-03", ask(1)),
            ("2026-05-03", ask(2)),
            ("2026-05-04", of(1, transfer_request::Command::Offer(()))),
            ("2026-05-04", of(2, transfer_request::Command::Offer(()))),
            ("2026-05-08", of(2, transfer_request::Command::Accept(()))),
        ]);
        let accept = || of(1, transfer_request::Command::Accept(()));
        assert_eq!(record.when("2026-05-06", accept()), Ok(()), "it was withdrawn by the 8th");
        assert_eq!(
            record.when("2026-05-09", accept()),
            Err(Refusal::TransferRequest(transfer_request::Refusal::AnotherAccepted))
        );
    }

    #[test]
    fn a_corrected_value_is_of_the_same_kind_and_about_the_same_thing() {
        let instead = |order: Order| Change::Value(Box::new(order.into()));
        let record = stay();
        let elsewhere = correct(2, instead(admit(1, "rehab", None)));
        assert_eq!(record.when("2026-05-10", elsewhere), Ok(()));
        for other in [admit(2, "acute", None), discharge(1)] {
            assert_eq!(
                record.when("2026-05-10", correct(2, instead(other))),
                Err(correction::Refusal::OtherKind(event_id(2)).into())
            );
        }
    }

    #[test]
    fn only_whose_word_it_was_corrects_it() {
        let record = stay();
        let command = Command {
            stamp: stamp_for(4, "2026-05-10", "nurses"),
            order: correct(3, Change::EnteredInError),
        };
        assert_eq!(
            record.decide(command, noon()),
            Err(correction::Refusal::NotTheAuthor(event_id(3)).into())
        );
        assert_eq!(
            record.when("2026-05-10", correct(77, Change::EnteredInError)),
            Err(correction::Refusal::UnknownEvent(event_id(77)).into())
        );
        assert_eq!(
            record.when("2026-05-10", correct(1, Change::EnteredInError)),
            Err(correction::Refusal::NotCorrectable(event_id(1)).into())
        );
    }

    #[test]
    fn a_record_that_was_merged_takes_the_other_s_stays_over_and_gives_them_back() {
        let retired = PatientId::new(Uuid::from_u128(7));
        let other = given(&[("2026-05-01", register()), ("2026-05-04", admit(2, "rehab", None))]);
        let mut record = stay();
        let before = record.clone();
        let merge = identity::Merge { retired };
        let merged = Fact::Identity(identity::Event::Merged(merge));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: merged });
        assert_eq!(record.wanted(), [(retired, event_id(4))]);
        record.absorb(retired, &other);
        assert!(record.wanted().is_empty());
        assert!(record.encounter(encounter_id(2)).unwrap().is_inpatient());
        assert_eq!(record.when("2026-05-11", discharge(2)), Ok(()), "what goes on there, goes on");
        let unmerged = Fact::Identity(identity::Event::Unmerged(merge));
        record.apply(&Event { stamp: stamp(5, "2026-05-12"), fact: unmerged });
        assert_eq!(record.state, before.state);
    }

    #[test]
    fn the_end_of_a_stay_that_another_record_has_is_no_stay_here() {
        let retired = PatientId::new(Uuid::from_u128(7));
        let other = given(&[("2026-05-01", register()), ("2026-05-04", admit(2, "rehab", None))]);
        let mut record = stay();
        let merge = identity::Merge { retired };
        let merged = Fact::Identity(identity::Event::Merged(merge));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: merged });
        record.absorb(retired, &other);
        record.apply(&Event { stamp: stamp(5, "2026-05-11"), fact: discharge(2).into() });
        let unmerged = Fact::Identity(identity::Event::Unmerged(merge));
        record.apply(&Event { stamp: stamp(6, "2026-05-12"), fact: unmerged });
        assert_eq!(record.whereabouts().map(|(id, _)| id), Some(encounter_id(1)));
    }

    #[test]
    fn nothing_is_said_of_a_record_that_was_merged_into_another() {
        let survivor = PatientId::new(Uuid::from_u128(8));
        let retirement = identity::Retirement { survivor, merge: event_id(9) };
        let mut record = stay();
        let retired = Fact::Identity(identity::Event::Retired(retirement));
        record.apply(&Event { stamp: stamp(4, "2026-05-10"), fact: retired });
        let refused = || Err(Refusal::Identity(identity::Refusal::Retired(survivor)));
        assert_eq!(record.when("2026-05-11", admit(2, "rehab", None)), refused());
        let restore = Order::Identity(identity::Command::Restore(retirement));
        assert_eq!(record.when("2026-05-11", restore), Ok(()));
    }
}
