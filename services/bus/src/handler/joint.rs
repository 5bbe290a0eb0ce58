//! Merges and their end, of which two records have to know: first the one that is retired is told,
//! then the one that survives; at the end of a merge the other way round.
//!
//! What must stay true: whether a merge came about is decided in the stream of the record that
//! survives, by the one event that stands there under the merge's id (I3): the merge, or that it
//! was abandoned. So whoever finds a merge half done, because a process was killed or lost its
//! way to the log, can settle it, also while its first process goes on: both come to the same.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use tsunagi_domain::identity::{self, Command as IdentityCommand, Identifier, Retirement};
use tsunagi_domain::{EventId, Order, PatientId, Refusal};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::{Path, Violation};
use tsunagi_proto::v1;
use uuid::Uuid;

use super::{Handler, Prepared, Sender, Submission, SubmitError};
use crate::claims::Occasion;
use crate::patients::{Loaded, MERGES_MAX};
use crate::port::{PublishError, Stored};
use crate::stream::StreamId;
use crate::told_while_merged::{Part, told_while_merged};

/// A merge or its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joint {
    event: EventId,
    pub(super) other: PatientId,
    step: JointStep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JointStep {
    Merge,
    Unmerge,
}

/// On which the system writes its part of a merge: whose doing it is, and when.
struct Cause {
    event: EventId,
    actor: v1::Actor,
    occurred_at: String,
}

/// What says that an event was an error, or another value.
struct Correcting {
    event: EventId,
    payload: Payload,
}

/// What stands under the id of a merge in the record that is to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Merged(PatientId),
    Unmerged(PatientId),
    Abandoned,
    Other,
}

/// The event by which a merge retires the other record.
pub fn retirement(merge: EventId) -> EventId {
    of_merge(merge, "retire")
}

/// The same step of a merge has the same id, whoever takes it.
fn of_merge(merge: EventId, step: &str) -> EventId {
    EventId::new(Uuid::new_v5(&merge.uuid(), step.as_bytes()))
}

/// Whether an event says that the merge did not come about whose id it has.
pub fn is_abandoned(stored: &Stored) -> bool {
    word(stored) == Word::Abandoned
}

/// Whether a refusal may come of a merge that is half done.
pub(super) fn is_of_a_merge(error: &SubmitError) -> bool {
    matches!(
        error,
        SubmitError::Refused(Refusal::Identity(
            identity::Refusal::Retired(_) | identity::Refusal::NotMerged
        ))
    )
}

/// Whether somebody else merges the same two the other way round at this moment, and gives way: each
/// has retired the record into which the other was to be merged.
fn is_crossed(error: &SubmitError, survivor: PatientId, other: PatientId) -> bool {
    let SubmitError::Refused(Refusal::Identity(identity::Refusal::Retired(into))) = error else {
        return false;
    };
    *into == other && survivor < other
}

/// Whether the same would be refused again: nothing of it was or will be stored.
pub(super) fn is_final(error: &SubmitError) -> bool {
    match error {
        SubmitError::Contended
        | SubmitError::Full
        | SubmitError::NoRoom(_)
        | SubmitError::OutcomeUnknown(_)
        | SubmitError::Unreadable(_) => false,
        SubmitError::Fields(_)
        | SubmitError::UnknownType(_)
        | SubmitError::SystemType(_)
        | SubmitError::Payload(_)
        | SubmitError::Encrypted
        | SubmitError::SeveralPatients
        | SubmitError::TooLarge { .. }
        | SubmitError::Refused(_)
        | SubmitError::IdentifierTaken { .. }
        | SubmitError::VersionConflict { .. }
        | SubmitError::Reused(_)
        | SubmitError::CorrectedMeanwhile(_)
        | SubmitError::InMerged { .. }
        | SubmitError::StillTold { .. } => true,
    }
}

/// Half of it is stored, and it will be settled.
pub(super) fn half_done(error: &SubmitError) -> SubmitError {
    SubmitError::OutcomeUnknown(PublishError::OutcomeUnknown(error.to_string()))
}

impl Joint {
    /// The merge that a submission is, if it is one.
    pub(super) fn of(prepared: &Prepared) -> Result<Option<Self>, SubmitError> {
        let joint = |command: &tsunagi_domain::Command| {
            let (merge, step) =
                if let Order::Identity(IdentityCommand::Merge(merge)) = command.order {
                    (merge, JointStep::Merge)
                } else if let Order::Identity(IdentityCommand::Unmerge(merge)) = command.order {
                    (merge, JointStep::Unmerge)
                } else {
                    return None;
                };
            Some(Self { event: command.stamp.event, other: merge.retired, step })
        };
        let Some(joint) = prepared.commands.iter().find_map(joint) else { return Ok(None) };
        if joint.other == prepared.patient {
            return Err(other_patient("must be another patient"));
        }
        if prepared.commands.len() > 1 {
            let violation = Path::ROOT.field("events").violation("must be one, if it is a merge");
            return Err(SubmitError::Fields(vec![violation]));
        }
        Ok(Some(joint))
    }
}

/// The record that a merge names is not what it must be.
fn other_patient(problem: &str) -> SubmitError {
    let field = "payload.retired_patient_id".to_owned();
    let problem = problem.to_owned();
    SubmitError::Fields(vec![Violation { field, problem, is_unlisted: false }])
}

impl Handler {
    pub(super) async fn take_joint(
        &self,
        prepared: &Prepared,
        joint: Joint,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let survivor = prepared.patient;
        match joint.step {
            JointStep::Merge => {
                self.retire(prepared, joint).await?;
                // Until the merge is in, the other record takes no events.
                let mut merged = self.take_alone(self.patients.turn(survivor), prepared).await;
                if let Err(error) = &merged
                    && is_crossed(error, survivor, joint.other)
                {
                    // The other may have given way by itself.
                    self.settle(survivor).await.map_err(|error| half_done(&error))?;
                    merged = self.take_alone(self.patients.turn(survivor), prepared).await;
                }
                match merged {
                    Ok(merged) => Ok(merged),
                    Err(error) if is_final(&error) => {
                        let retirement = Retirement { survivor, merge: joint.event };
                        let cause = Cause::of(prepared, joint);
                        let abandoned = self.abandon(joint.other, retirement, &cause).await;
                        abandoned.map_err(|lost| half_done(&lost))?;
                        Err(self.why_given_up(survivor, joint.other, error).await?)
                    }
                    Err(error) => Err(half_done(&error)),
                }
            }
            JointStep::Unmerge => {
                let merge = self.merge_of(survivor, joint.other).await?;
                let numbers = self.numbers_of(survivor).await?;
                let unmerged = self.take_alone(self.patients.turn(survivor), prepared).await?;
                self.release_lost(prepared, numbers).await.map_err(|error| half_done(&error))?;
                let is_repeat = unmerged.iter().any(|receipt| receipt.repeated);
                let restored = match merge {
                    // A repeat may name two records that were merged anew since.
                    Some(merge) if !is_repeat => {
                        let retirement = Retirement { survivor, merge };
                        self.restore(joint.other, retirement, &Cause::of(prepared, joint)).await
                    }
                    Some(_) | None => self.settle(joint.other).await.map(|_| ()),
                };
                restored.map_err(|error| half_done(&error))?;
                let told = self.with_told_meanwhile(survivor, joint.other, unmerged).await;
                told.map_err(|error| half_done(&error))
            }
        }
    }

    /// Why a merge did not come about. Who merged the two the other way round may have given it up.
    async fn why_given_up(
        &self,
        survivor: PatientId,
        other: PatientId,
        error: SubmitError,
    ) -> Result<SubmitError, SubmitError> {
        let into = self.retirement_of(survivor).await?.map(|of| of.survivor);
        if matches!(error, SubmitError::Reused(_)) && into == Some(other) {
            return Ok(SubmitError::Refused(identity::Refusal::Retired(other).into()));
        }
        Ok(error)
    }

    /// Says in the receipts of an unmerge what was told in the survivor meanwhile.
    async fn with_told_meanwhile(
        &self,
        survivor: PatientId,
        retired: PatientId,
        mut receipts: Vec<v1::Receipt>,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let loaded = self.patients.now(survivor).await?;
        let events = self.all_of(survivor).await?;
        let told = told_while_merged(&events, &loaded.record, survivor, &Part::itself(retired));
        if let Some(receipt) = receipts.first_mut() {
            receipt.told_while_merged = told;
        }
        Ok(receipts)
    }

    /// Settles a merge of which `patient` is the retired record, if it is half done: finishes it,
    /// or undoes it if it can no longer come about; and gives the record back if the merge was
    /// taken apart. True if anything was done.
    ///
    /// A half merge was never acknowledged. It is finished rather than undone: who was not told
    /// what became of it sends it again under the same id, and is right then.
    pub async fn settle(&self, patient: PatientId) -> Result<bool, SubmitError> {
        let Some(retirement) = self.retirement_of(patient).await? else { return Ok(false) };
        let Retirement { survivor, merge } = retirement;
        let stream = StreamId::Patient(survivor);
        let cause = match self.bus.find(stream, merge).await? {
            // Before the state of the survivor is read: that has seen the merge then.
            Some(stored) if word(&stored) == Word::Merged(patient) => {
                if self.merge_of(survivor, patient).await?.is_some() {
                    return Ok(false);
                }
                self.cause_of_end(survivor, patient).await?
            }
            Some(_) => None,
            None => return self.finish_merge(patient, retirement).await,
        };
        let cause = match cause {
            Some(cause) => cause,
            None => self.retired_by(patient, merge).await?.0,
        };
        self.restore(patient, retirement, &cause).await?;
        tracing::info!(patient_id = %patient, survivor_id = %survivor, "half merge undone");
        Ok(true)
    }

    /// Tells the survivor of a merge of which only the retired record knows.
    async fn finish_merge(
        &self,
        patient: PatientId,
        retirement: Retirement,
    ) -> Result<bool, SubmitError> {
        let Retirement { survivor, merge } = retirement;
        let (cause, event) = self.retired_by(patient, merge).await?;
        let finished = match event {
            Some(event) => self.take_event(event).await,
            None => Err(SubmitError::Refused(identity::Refusal::NotMerged.into())),
        };
        match finished {
            Ok(()) => {
                tracing::info!(patient_id = %patient, survivor_id = %survivor, "half merge finished");
            }
            Err(error) if is_final(&error) => {
                self.abandon(patient, retirement, &cause).await?;
                tracing::info!(patient_id = %patient, survivor_id = %survivor, %error, "half merge undone");
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    async fn take_event(&self, event: v1::Event) -> Result<(), SubmitError> {
        let submission = Submission { events: vec![event], expected_version: None };
        let prepared = self.prepare_from(submission, Sender::Outside)?;
        self.take_alone(self.patients.turn(prepared.patient), &prepared).await.map(|_| ())
    }

    /// Says in the other record that it is retired, unless the merge would be refused.
    async fn retire(&self, prepared: &Prepared, joint: Joint) -> Result<(), SubmitError> {
        let survivor = prepared.patient;
        if self.stored_before(StreamId::Patient(survivor), &prepared.drafts).await?.is_some() {
            return Ok(());
        }
        let mut loaded = Loaded::default();
        self.patients.catch_up(survivor, &mut loaded).await?;
        super::decide(prepared, &loaded)?;
        let told = self.bus.find(StreamId::Patient(joint.other), retirement(joint.event)).await?;
        if told.is_some() {
            // It is told already: the merge was interrupted. Or it was given up since.
            let retirement = Retirement { survivor, merge: joint.event };
            let holds = self.retirement_of(joint.other).await? == Some(retirement);
            return if holds { Ok(()) } else { Err(SubmitError::Reused(joint.event)) };
        }
        let mut other = Loaded::default();
        self.patients.catch_up(joint.other, &mut other).await?;
        if other.depth >= MERGES_MAX {
            return Err(SubmitError::Refused(identity::Refusal::MergesTooDeep(MERGES_MAX).into()));
        }
        // What is asked of one version of the record is not to be finished on another.
        let is_to_be_finished = prepared.expected_version.is_none();
        let event = prepared.drafts.first().filter(|_| is_to_be_finished);
        let payload = Payload::PatientRetired(v1::PatientRetirement {
            merge_event: event.map(|draft| draft.record.to_vec()).unwrap_or_default(),
            ..written(Retirement { survivor, merge: joint.event })
        });
        let id = retirement(joint.event);
        let retired = self.say(joint.other, id, &payload, &Cause::of(prepared, joint)).await;
        match retired {
            Err(SubmitError::Refused(Refusal::Identity(identity::Refusal::Unknown))) => {
                Err(other_patient("must be a registered patient"))
            }
            other => other,
        }
    }

    /// Sees to it that a merge cannot come about any more, and gives the other record back; unless
    /// it has come about after all.
    async fn abandon(
        &self,
        patient: PatientId,
        retirement: Retirement,
        cause: &Cause,
    ) -> Result<(), SubmitError> {
        let Retirement { survivor, merge } = retirement;
        let payload = Payload::PatientMergeAbandoned(v1::PatientMergeAbandoned {
            retired_patient_id: patient.to_string(),
        });
        match self.say(survivor, merge, &payload, cause).await {
            Ok(()) => {}
            Err(SubmitError::Reused(_)) => {
                let stored = self.bus.find(StreamId::Patient(survivor), merge).await?;
                if stored.is_some_and(|stored| word(&stored) == Word::Merged(patient)) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
        self.restore(patient, retirement, cause).await
    }

    /// Says in the other record that it is its own again.
    async fn restore(
        &self,
        patient: PatientId,
        retirement: Retirement,
        cause: &Cause,
    ) -> Result<(), SubmitError> {
        let payload = Payload::PatientRestored(written(retirement));
        let id = of_merge(retirement.merge, "restore");
        let restored = event_of_system(patient, id, &payload, cause);
        let corrections =
            Box::pin(self.corrections_of_numbers(retirement.survivor, patient)).await?;
        let has_corrections = !corrections.is_empty();
        let events = [restored.clone()].into_iter().chain(corrections).collect();
        let said = match self.say_all(events).await {
            // What is refused in the record itself stays where it was told.
            Err(error) if has_corrections && is_final(&error) => self.say_all(vec![restored]).await,
            said => said,
        };
        match said {
            // It was never retired, or is restored already; perhaps by somebody else just now.
            Err(
                SubmitError::Refused(Refusal::Identity(identity::Refusal::NotMerged))
                | SubmitError::Reused(_),
            ) => Ok(()),
            other => other,
        }
    }

    /// Writes an event of the system's to a patient's record.
    async fn say(
        &self,
        patient: PatientId,
        id: EventId,
        payload: &Payload,
        cause: &Cause,
    ) -> Result<(), SubmitError> {
        self.say_all(vec![event_of_system(patient, id, payload, cause)]).await
    }

    /// Writes events to a patient's record, all or none.
    async fn say_all(&self, events: Vec<v1::Event>) -> Result<(), SubmitError> {
        let submission = Submission { events, expected_version: None };
        let prepared = self.prepare_from(submission, Sender::System)?;
        let turn = self.patients.turn(prepared.patient);
        self.take_alone(turn, &prepared).await.map(|_| ())
    }

    /// The corrections of the retired record's numbers that were told in the survivor, as they are
    /// told in the record itself when that is its own again: it must not have a number that was
    /// given back, and that may be somebody else's by now; nor lack one because of an error that
    /// was taken back. What is said of a correction that is carried over is said of its copy.
    async fn corrections_of_numbers(
        &self,
        survivor: PatientId,
        retired: PatientId,
    ) -> Result<Vec<v1::Event>, SubmitError> {
        // As they are called in the survivor, and in the record itself; and those in error there.
        let (mut known, mut in_error) = {
            let record = &self.patients.now(retired).await?.record;
            let numbers = record.of_numbers();
            let is_in_error = |event: &EventId| record.outcome(*event).error.is_some();
            let in_error: BTreeSet<EventId> = numbers.iter().copied().filter(is_in_error).collect();
            let known: BTreeMap<EventId, EventId> =
                numbers.into_iter().map(|event| (event, event)).collect();
            (known, in_error)
        };
        let mut carried = Vec::new();
        for stored in self.all_of(survivor).await? {
            let Ok(event) = v1::Event::decode(stored.record.clone()) else { continue };
            let Some(correcting) = Correcting::of(&event) else { continue };
            let Some(corrects) = known.get(&correcting.event).copied() else { continue };
            let own = EventId::new(Uuid::new_v5(&stored.event.uuid(), retired.uuid().as_bytes()));
            if self.bus.find(StreamId::Patient(retired), own).await?.is_some() {
                known.insert(stored.event, own);
                continue;
            }
            let is_void = {
                let loaded = self.patients.now(survivor).await?;
                loaded.record.outcome(stored.event).error.is_some()
            };
            let is_error = matches!(correcting.payload, Payload::EnteredInError(_));
            // Nor is what is in error there already said to be so a second time.
            if is_void || is_error && in_error.contains(&corrects) {
                continue;
            }
            if is_error {
                in_error.insert(corrects);
            }
            known.insert(stored.event, own);
            carried.push(v1::Event {
                event_id: own.to_string(),
                patient_id: retired.to_string(),
                causation_id: stored.event.to_string(),
                payload: correcting.naming(corrects),
                ..event
            });
        }
        Ok(carried)
    }

    async fn all_of(&self, patient: PatientId) -> Result<Vec<Stored>, SubmitError> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page = self.bus.read(StreamId::Patient(patient), after).await?;
            let Some(last) = page.last() else { return Ok(events) };
            after = last.placed.version;
            events.extend(page);
        }
    }

    async fn numbers_of(&self, patient: PatientId) -> Result<Vec<Identifier>, SubmitError> {
        let loaded = self.patients.now(patient).await?;
        Ok(loaded.record.patient().identifiers().cloned().collect())
    }

    /// Gives back what the survivor had claimed for the other record: a number that was corrected.
    async fn release_lost(
        &self,
        prepared: &Prepared,
        before: Vec<Identifier>,
    ) -> Result<(), SubmitError> {
        let held = self.numbers_of(prepared.patient).await?;
        for identifier in before.iter().filter(|of| !held.contains(of)) {
            let released = self.claims.release_own(identifier, &prepared.occasion).await;
            released.map_err(SubmitError::OutcomeUnknown)?;
        }
        Ok(())
    }

    /// Into which record a patient's is merged, as it says itself.
    async fn retirement_of(&self, patient: PatientId) -> Result<Option<Retirement>, SubmitError> {
        let loaded = self.patients.now(patient).await?;
        Ok(loaded.record.patient().retirement())
    }

    /// The merge by which `retired` belongs to `survivor`, as that says.
    async fn merge_of(
        &self,
        survivor: PatientId,
        retired: PatientId,
    ) -> Result<Option<EventId>, SubmitError> {
        let loaded = self.patients.now(survivor).await?;
        Ok(loaded.record.patient().merge_of(retired))
    }

    /// Whose doing a retirement is, and the merge that was to follow, if it is to be finished.
    async fn retired_by(
        &self,
        patient: PatientId,
        merge: EventId,
    ) -> Result<(Cause, Option<v1::Event>), SubmitError> {
        let stored = self.bus.find(StreamId::Patient(patient), retirement(merge)).await?;
        let event = stored.and_then(|stored| v1::Event::decode(stored.record).ok());
        let event = event.unwrap_or_default();
        let follows = match Payload::decode(&event.r#type, &event.payload) {
            Ok(Payload::PatientRetired(retired)) if !retired.merge_event.is_empty() => {
                v1::Event::decode(&*retired.merge_event).ok()
            }
            Ok(_) | Err(_) => None,
        };
        Ok((Cause::from(merge, event), follows))
    }

    /// The event by which a merge was taken apart, the last one of two records.
    async fn cause_of_end(
        &self,
        survivor: PatientId,
        retired: PatientId,
    ) -> Result<Option<Cause>, SubmitError> {
        let (stream, mut after, mut cause) = (StreamId::Patient(survivor), 0, None);
        loop {
            let events = self.bus.read(stream, after).await?;
            let Some(last) = events.last() else { return Ok(cause) };
            after = last.placed.version;
            let end = events.iter().rev().find(|stored| word(stored) == Word::Unmerged(retired));
            if let Some(end) = end
                && let Ok(event) = v1::Event::decode(end.record.clone())
            {
                cause = Some(Cause::from(end.event, event));
            }
        }
    }
}

/// An event of the system's in a patient's record.
fn event_of_system(patient: PatientId, id: EventId, payload: &Payload, cause: &Cause) -> v1::Event {
    v1::Event {
        event_id: id.to_string(),
        r#type: payload.event_type().to_owned(),
        patient_id: patient.to_string(),
        occurred_at: cause.occurred_at.clone(),
        actor: Some(cause.actor.clone()),
        causation_id: cause.event.to_string(),
        payload: payload.encode_to_vec(),
        ..v1::Event::default()
    }
}

impl Cause {
    fn of(prepared: &Prepared, joint: Joint) -> Self {
        let Occasion { actor, occurred_at, .. } = &prepared.occasion;
        Self { event: joint.event, actor: actor.into(), occurred_at: occurred_at.clone() }
    }

    fn from(id: EventId, event: v1::Event) -> Self {
        Self { event: id, actor: event.actor.unwrap_or_default(), occurred_at: event.occurred_at }
    }
}

fn written(Retirement { survivor, merge }: Retirement) -> v1::PatientRetirement {
    v1::PatientRetirement {
        survivor_patient_id: survivor.to_string(),
        merge_event_id: merge.to_string(),
        merge_event: Vec::new(),
    }
}

impl Correcting {
    fn of(event: &v1::Event) -> Option<Self> {
        let mut payload = Payload::decode(&event.r#type, &event.payload).ok()?;
        let event = EventId::parse(corrected_in(&mut payload)?).ok()?;
        Some(Self { event, payload })
    }

    /// The same of another event.
    fn naming(mut self, other: EventId) -> Vec<u8> {
        if let Some(of) = corrected_in(&mut self.payload) {
            *of = other.to_string();
        }
        self.payload.encode_to_vec()
    }
}

fn corrected_in(payload: &mut Payload) -> Option<&mut String> {
    if let Payload::EnteredInError(of) = payload {
        Some(&mut of.corrects_event_id)
    } else if let Payload::ValueCorrected(of) = payload {
        Some(&mut of.corrects_event_id)
    } else {
        None
    }
}

/// What an event says of a merge.
fn word(stored: &Stored) -> Word {
    let Ok(event) = v1::Event::decode(stored.record.clone()) else { return Word::Other };
    match Payload::decode(&event.r#type, &event.payload) {
        Ok(Payload::PatientsMerged(merge)) => {
            PatientId::parse(&merge.retired_patient_id).map_or(Word::Other, Word::Merged)
        }
        Ok(Payload::PatientsUnmerged(merge)) => {
            PatientId::parse(&merge.retired_patient_id).map_or(Word::Other, Word::Unmerged)
        }
        Ok(Payload::PatientMergeAbandoned(_)) => Word::Abandoned,
        Ok(_) | Err(_) => Word::Other,
    }
}
