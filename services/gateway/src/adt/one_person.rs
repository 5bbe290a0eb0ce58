//! Whose records are one person's: those that a message says are (A40 and its like) are merged,
//! and those that it says are not after all (A37) are taken apart again.
//!
//! A merge is told to two records, the one that is retired first. So a message that comes again
//! finishes what was interrupted, and the ids of its merges are made from the message and from how
//! often it was tried: one that was taken and then taken apart by somebody is not taken again.

use tsunagi_bus::handler::{SubmitError, is_abandoned, retirement};
use tsunagi_bus::patients::Loaded;
use tsunagi_bus::{StreamId, Submission};
use tsunagi_domain::identity::{self, Identifier};
use tsunagi_domain::{EventId, PatientId, Refusal as Refused};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::Told;
use super::events::event;
use super::group::Group;
use super::intake::{Incoming, Intake, Outcome};
use super::patient;
use super::profile::Profile;
use super::refusal::Refusal;
use super::visit::Said;
use crate::person::is_somebody_else;

/// The numbers of the person, and those of what was held to be another.
pub(super) struct Sides {
    pub(super) kept: Vec<v1::Identifier>,
    pub(super) other: Vec<v1::Identifier>,
}

/// Two records, and what is already known of their merge.
#[derive(Debug, Clone, Copy)]
struct Joint {
    survivor: PatientId,
    retired: PatientId,
    /// The merge by which the one is retired, and which the other lacks.
    begun: Option<EventId>,
}

/// What came of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum United {
    Now,
    Before,
    /// By this very message, and somebody took it apart since.
    NoMore,
}

/// So often the merge of one message can be refused because of what others do meanwhile.
const TRIES_MAX: u32 = 16;

impl Sides {
    /// MRG has the other's numbers, or, in A24 and A37, the second PID has.
    pub(super) fn read(group: &Group<'_>, profile: &Profile) -> Self {
        let mut other = Vec::new();
        for merged in group.segments("MRG") {
            let prior = [1, 4].map(|number| patient::identifiers(merged.field(number), profile));
            other.extend(prior.into_iter().find(|prior| !prior.is_empty()).unwrap_or_default());
        }
        let mut pids = group.segments("PID");
        let kept =
            pids.by_ref().take(1).flat_map(|pid| patient::numbers_of(pid, profile)).collect();
        other.extend(pids.flat_map(|pid| patient::numbers_of(pid, profile)));
        Self { kept, other }
    }
}

impl Intake {
    /// Makes one record of those to which the numbers of both sides lead.
    pub(super) async fn unite(
        &self,
        incoming: &Incoming<'_>,
        group: usize,
        at: &Said,
        sides: &Sides,
    ) -> Result<United, Refusal> {
        if self.apart(sides).await?.is_none() {
            return Ok(United::Before);
        }
        // One merge after the other: two of the same records would each wait for the other's.
        let _merging = self.merging.lock().await;
        let (mut united, mut last) = (United::Before, SubmitError::Contended);
        for _ in 0..self.attempts_max {
            let Some(joint) = self.apart(sides).await? else { return Ok(united) };
            let Some(id) = self.merge_id(incoming, group, joint).await? else {
                return Ok(United::NoMore);
            };
            if joint.begun.is_none() {
                self.check_one_person([joint.survivor, joint.retired]).await?;
            }
            let payload = Payload::PatientsMerged(v1::PatientsMerged {
                retired_patient_id: joint.retired.to_string(),
                note: format!("HL7 v2 ADT {}", incoming.message.kind().1),
            });
            let told = Told { at: at.clone(), payload };
            match self.say(event(incoming, id, joint.survivor, told)).await {
                Ok(_) => united = United::Now,
                Err(
                    error @ (SubmitError::VersionConflict { .. }
                    | SubmitError::Contended
                    | SubmitError::Refused(Refused::Identity(
                        identity::Refusal::Retired(_) | identity::Refusal::AlreadyMerged,
                    ))),
                ) => last = error,
                Err(error) => return Err(Refusal::of_submit(error, "MRG-1")),
            }
        }
        Err(Refusal::of_submit(last, "MRG-1"))
    }

    /// Refuses what `unite` would refuse of the records as they are.
    pub(super) async fn check_union(&self, sides: &Sides) -> Result<(), Refusal> {
        match self.apart(sides).await? {
            Some(joint) if joint.begun.is_none() => {
                self.check_one_person([joint.survivor, joint.retired]).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes two records apart that were merged.
    pub(super) async fn part(
        &self,
        incoming: &Incoming<'_>,
        group: usize,
        at: Said,
        sides: &Sides,
    ) -> Result<Outcome, Refusal> {
        let (kept, other) = (self.records(&sides.kept).await?, self.records(&sides.other).await?);
        if let Some((both, _)) = kept.iter().find(|record| other.contains(record)) {
            return Err(Refusal::contradicts(
                "PID-3",
                "NOT_MERGED",
                &format!(
                    "both numbers were given to one record, patient {both}, and not to two that were merged: have the event that gave it the wrong one marked as entered in error at a desk (CareTeam.MarkEnteredInError)"
                ),
            ));
        }
        let are_one = kept.iter().any(|(_, one)| other.iter().any(|(_, other)| one == other));
        let mut retired = None;
        for (record, survivor) in other.iter().chain(&kept).filter(|_| are_one) {
            if record != survivor && retired.is_none() {
                let into = self.loaded(*record).await?.record.patient().retired_into();
                retired = into.map(|into| (*record, into));
            }
        }
        let Some((retired, survivor)) = retired else { return Ok(Outcome::NothingNew) };
        self.take_apart(incoming, group, at, (retired, survivor)).await
    }

    /// Gives back to a record what is its own.
    pub(super) async fn take_apart(
        &self,
        incoming: &Incoming<'_>,
        group: usize,
        at: Said,
        (retired, survivor): (PatientId, PatientId),
    ) -> Result<Outcome, Refusal> {
        let payload = Payload::PatientsUnmerged(v1::PatientsUnmerged {
            retired_patient_id: retired.to_string(),
            note: format!("HL7 v2 ADT {}", incoming.message.kind().1),
        });
        let id = incoming.events().named(&format!("{group}/unmerge/{retired}"));
        let said = self.say(event(incoming, id, survivor, Told { at, payload })).await;
        let receipts = said.map_err(|error| Refusal::of_submit(error, "PID-3"))?;
        let is_repeat = receipts.iter().all(|receipt| receipt.repeated);
        Ok(if is_repeat { Outcome::Repeated } else { Outcome::Stored })
    }

    async fn say(&self, event: v1::Event) -> Result<Vec<v1::Receipt>, SubmitError> {
        let submission = Submission { events: vec![event], expected_version: None };
        self.handler.submit(submission).await
    }

    /// Two of the records that are still apart, or whose merge was interrupted.
    async fn apart(&self, sides: &Sides) -> Result<Option<Joint>, Refusal> {
        let (kept, other) = (self.records(&sides.kept).await?, self.records(&sides.other).await?);
        let survivor = kept.first().or(other.first()).map(|(_, survivor)| *survivor);
        let Some(survivor) = survivor else { return Ok(None) };
        if let Some((_, other)) = kept.iter().find(|(_, other)| *other != survivor) {
            return Err(Refusal::contradicts(
                "PID-3",
                "IDENTIFIERS_OF_SEVERAL",
                &format!(
                    "its numbers belong to patient {survivor} and to patient {other}: name in PID-3 the numbers of the record that is to be kept, and in MRG-1 those of the other"
                ),
            ));
        }
        for (record, of) in kept.into_iter().chain(other) {
            if of != survivor {
                return Ok(Some(Joint { survivor, retired: of, begun: None }));
            }
            if let Some(joint) = self.interrupted(record).await? {
                return Ok(Some(joint));
            }
        }
        Ok(None)
    }

    /// The merge by which a record is retired, if the other record does not know of it.
    async fn interrupted(&self, record: PatientId) -> Result<Option<Joint>, Refusal> {
        let loaded = self.loaded(record).await?;
        let patient = loaded.record.patient();
        let (Some(survivor), Some(merge)) = (patient.retired_into(), patient.retired_by()) else {
            return Ok(None);
        };
        let told = self.handler.bus().find(StreamId::Patient(survivor), merge).await;
        let is_told = told.map_err(Refusal::of_read)?.is_some();
        Ok((!is_told).then_some(Joint { survivor, retired: record, begun: Some(merge) }))
    }

    /// The id of the merge that the message asks for. None if the message was taken before.
    async fn merge_id(
        &self,
        incoming: &Incoming<'_>,
        group: usize,
        joint: Joint,
    ) -> Result<Option<EventId>, Refusal> {
        let Joint { survivor, retired, begun } = joint;
        let named = |of: u32| incoming.events().named(&format!("{group}/merge/{retired}/{of}"));
        if let Some(begun) = begun {
            let is_own = (0..TRIES_MAX).any(|of| named(of) == begun);
            return if is_own { Ok(Some(begun)) } else { Err(Refusal::merge_unfinished(retired)) };
        }
        let bus = self.handler.bus();
        for id in (0..TRIES_MAX).map(named) {
            let taken = bus.find(StreamId::Patient(survivor), id).await;
            match taken.map_err(Refusal::of_read)? {
                Some(taken) if is_abandoned(&taken) => continue,
                Some(_) => return Ok(None),
                None => {}
            }
            let tried = bus.find(StreamId::Patient(retired), retirement(id)).await;
            if tried.map_err(Refusal::of_read)?.is_none() {
                return Ok(Some(id));
            }
        }
        Err(Refusal::of_submit(SubmitError::Contended, "MRG-1"))
    }

    /// Refuses to merge two people who cannot be one, as far as is known.
    pub(super) async fn check_one_person(&self, both: [PatientId; 2]) -> Result<(), Refusal> {
        let mut known = Vec::with_capacity(2);
        for patient in both {
            let one = self.known.get(patient);
            let mut one = one.lock().await;
            one.catch_up(self.handler.bus().as_ref(), patient).await.map_err(Refusal::of_read)?;
            known.push(one.demographics().clone());
        }
        match known.as_slice() {
            [one, other] if is_somebody_else(one, other) => {
                let [one, other] = both;
                Err(two_people(&format!("the records of patient {one} and patient {other}")))
            }
            _ => Ok(()),
        }
    }

    /// The records that have these numbers, each once, and those into which they were merged.
    pub(super) async fn records(
        &self,
        numbers: &[v1::Identifier],
    ) -> Result<Vec<(PatientId, PatientId)>, Refusal> {
        let claims = self.handler.claims();
        let mut records: Vec<(PatientId, PatientId)> = Vec::new();
        for number in numbers {
            let record = claims.record_of(&Identifier::from(number)).await;
            let Some(record) = record.map_err(Refusal::of_read)? else { continue };
            if !records.iter().any(|(known, _)| *known == record) {
                let survivor = claims.survivor(record).await.map_err(Refusal::of_read)?;
                records.push((record, survivor));
            }
        }
        Ok(records)
    }

    pub(super) async fn loaded(&self, record: PatientId) -> Result<Loaded, Refusal> {
        let mut loaded = Loaded::default();
        let read = loaded.catch_up(self.handler.bus().as_ref(), record).await;
        read.map_err(Refusal::of_read)?;
        Ok(loaded)
    }
}

/// Refuses a link of two PIDs that tell of two people.
pub(super) fn check_link(groups: &[Group<'_>], profile: &Profile) -> Result<(), Refusal> {
    let unknown = v1::Demographics::default();
    let mut told: Option<v1::Demographics> = None;
    for group in groups {
        let said = patient::said(group, profile, &unknown, false)?.demographics;
        match &told {
            Some(before) if is_somebody_else(before, &said) => {
                return Err(two_people("the two segments PID"));
            }
            Some(_) | None => told = Some(said),
        }
    }
    Ok(())
}

fn two_people(which: &str) -> Refusal {
    let message = format!(
        "{which} are of another birth date or sex: if they are one person, correct what is wrong first (A31), and then send this again; or have them merged at a desk (CareTeam.MergePatients)"
    );
    Refusal::contradicts("PID-3", "PATIENT_MISMATCH", &message)
}
