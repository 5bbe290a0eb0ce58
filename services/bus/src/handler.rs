//! Steps 2 and 3 of the way data takes: a command is decided on the patient's state and its
//! events are published, for every door in the same way.

mod joint;
mod moved;
pub(crate) mod objections;
mod topic;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use tokio_util::task::TaskTracker;
use tsunagi_chassis::{Config, Trace, trace};
use tsunagi_domain::identity::{Command as IdentityCommand, Identifier};
use tsunagi_domain::{Command, EventId, Order, PatientId, Refusal};
use tsunagi_proto::catalogue::{Family, Payload};
use tsunagi_proto::check::{Path, Violation};
use tsunagi_proto::convert;
use tsunagi_proto::v1;

use crate::claims::{Claim, Claims, Occasion};
use crate::cursor::Cursor;
use crate::patients::{Loaded, Patients};
use crate::port::{Bus, Draft, Expected, Placed, Publication, PublishError, ReadError, Stored};
use crate::region::Region;
use crate::stream::StreamId;
use crate::topics::{self, Topics};
use crate::turns;

use joint::{Joint, is_of_a_merge};
pub use joint::{is_abandoned, retirement};
pub use moved::{Moved, Moving};
use objections::Objections;

/// Events about one patient, one resource or one organisation that somebody wants to be taken
/// together.
#[derive(Debug, Clone)]
pub struct Submission {
    pub events: Vec<v1::Event>,
    /// How many events there must be of what they are about, if the caller says so.
    pub expected_version: Option<u64>,
}

/// Why a submission was not taken. Nothing of it was added, but for `OutcomeUnknown` and
/// `StillTold`.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("fields are not what they must be")]
    Fields(Vec<Violation>),
    #[error(
        "the event type `{0}` is not one that this server knows: check the spelling, or update the server"
    )]
    UnknownType(String),
    #[error("events of type `{0}` are written by the system alone")]
    SystemType(String),
    #[error("the payload cannot be read: {0}")]
    Payload(#[from] tsunagi_proto::catalogue::Unreadable),
    #[error(
        "the payload is encrypted under a key that this server does not know: send it unencrypted"
    )]
    Encrypted,
    #[error(
        "the events are about different patients, resources or organisations: publish them one by one"
    )]
    SeveralPatients,
    #[error("this has {bytes} bytes, and {limit} are taken at most: shorten the texts")]
    TooLarge { bytes: usize, limit: usize },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(
        "an identifier belongs to patient {owner} already: use that patient (if it is not registered yet, register it under that id), or check the identifier"
    )]
    IdentifierTaken { owner: PatientId },
    #[error("there are {actual} events and not {expected}: read what they say, and decide again")]
    VersionConflict { expected: u64, actual: u64 },
    #[error(
        "event {0} was taken before, with other content or without the events beside it: take a new id for a new event; a correction is a new event too"
    )]
    Reused(EventId),
    #[error(
        "event {0} was corrected while it was being moved, and stays where it was: read what it says now, and move it under a new id"
    )]
    CorrectedMeanwhile(EventId),
    #[error(
        "event {event} was told in the record of patient {of}, which is merged into another: take that merge back first (`CareTeam.UnmergePatients`), then move it from patient {of}"
    )]
    InMerged { event: EventId, of: PatientId },
    #[error(
        "{refusal}; what was told again of the other patient stands there still, mark it as entered in error after whatever builds on it: {}",
        listed(copies)
    )]
    StillTold { refusal: Box<SubmitError>, copies: Vec<EventId> },
    #[error("others write about the same all the time: try again")]
    Contended,
    #[error("the server takes no more at the moment: try again")]
    Full,
    #[error("{0}, and nothing was stored: tell whoever runs it, and try again")]
    NoRoom(String),
    #[error("it is not known whether this was stored: send it again with the same event ids")]
    OutcomeUnknown(#[source] PublishError),
    #[error("the server cannot read the patient's record: try again later")]
    Unreadable(#[from] ReadError),
}

/// Decides and publishes.
pub struct Handler {
    bus: Arc<dyn Bus>,
    patients: Patients,
    topics: Topics,
    claims: Arc<Claims>,
    record_bytes_max: usize,
    attempts_max: u32,
    /// Submissions that are being taken, whether or not anybody waits for them any more.
    tasks: TaskTracker,
}

/// A place in the queue for what a submission is about.
pub enum Turn {
    Patient(turns::Turn<Loaded>),
    Topic(turns::Turn<topics::Loaded>),
}

/// A submission that is in order as far as it can be said without the patient's state.
struct Prepared {
    patient: PatientId,
    commands: Vec<Command>,
    drafts: Vec<Draft>,
    occasion: Occasion,
    expected_version: Option<u64>,
    objections: Objections,
}

impl Handler {
    pub fn new(bus: Arc<dyn Bus>, config: &Config) -> Self {
        let in_memory_max = NonZeroUsize::new(config.cached_patients).unwrap_or(NonZeroUsize::MIN);
        Self {
            patients: Patients::new(Arc::clone(&bus), in_memory_max),
            topics: Topics::new(Arc::clone(&bus), in_memory_max),
            claims: Arc::new(Claims::new(Arc::clone(&bus), config.claim_wait_ms)),
            record_bytes_max: config.record_bytes,
            attempts_max: config.decide_attempts,
            tasks: TaskTracker::new(),
            bus,
        }
    }

    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    pub fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Takes a submission, or says why not. Answers when it is durable.
    pub async fn submit(
        self: &Arc<Self>,
        submission: Submission,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let turn = self.turn(&submission);
        self.submit_in_turn(turn, submission).await
    }

    /// Queues up for what a submission is about. Submissions about one
    /// are decided in the order in which their turns were given. None if it names none.
    pub fn turn(&self, submission: &Submission) -> Option<Turn> {
        let event = submission.events.first()?;
        if let Some(topic) = topic::topic(event) {
            return Some(Turn::Topic(self.topics.turn(topic)));
        }
        let patient = PatientId::parse(&event.patient_id).ok()?;
        Some(Turn::Patient(self.patients.turn(patient)))
    }

    /// Takes a submission when its turn has come. A caller who goes away meanwhile does not
    /// stop it half way, and does not hold up those who wait for the patient.
    pub async fn submit_in_turn(
        self: &Arc<Self>,
        turn: Option<Turn>,
        submission: Submission,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let is_of_topic = submission.events.first().is_some_and(topic::is_of_topic);
        let handler = Arc::clone(self);
        let taken = if is_of_topic {
            let prepared = self.prepare_topic(submission)?;
            let turn = match turn {
                Some(Turn::Topic(turn)) => turn,
                Some(Turn::Patient(_)) | None => self.topics.turn(prepared.topic.clone()),
            };
            let taken = async move { handler.take_topic(turn, &prepared).await };
            self.tasks.spawn(trace::within(Trace::current(), taken))
        } else {
            let prepared = self.prepare(submission)?;
            let turn = match turn {
                Some(Turn::Patient(turn)) => turn,
                Some(Turn::Topic(_)) | None => self.patients.turn(prepared.patient),
            };
            let taken = async move { handler.take(turn, prepared).await };
            self.tasks.spawn(trace::within(Trace::current(), taken))
        };
        taken.await.unwrap_or_else(|error| {
            let lost = PublishError::OutcomeUnknown(error.to_string());
            Err(SubmitError::OutcomeUnknown(lost))
        })
    }

    /// Waits for the submissions that are being taken. To be called when no more can come.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Takes it; and once more, if a merge was in the way that somebody had left half done.
    async fn take(
        &self,
        turn: turns::Turn<Loaded>,
        prepared: Prepared,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let joint = Joint::of(&prepared)?;
        let refused = match self.take_once(turn, &prepared, joint).await {
            Err(error) if is_of_a_merge(&error) => error,
            taken => return taken,
        };
        let mut has_settled = false;
        for patient in [prepared.patient].into_iter().chain(joint.map(|joint| joint.other)) {
            has_settled |= self.settle(patient).await?;
        }
        if !has_settled {
            return Err(refused);
        }
        match self.take_once(self.patients.turn(prepared.patient), &prepared, joint).await {
            // It was given up because of what refused it.
            Err(SubmitError::Reused(_)) => Err(refused),
            taken => taken,
        }
    }

    async fn take_once(
        &self,
        turn: turns::Turn<Loaded>,
        prepared: &Prepared,
        joint: Option<Joint>,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let Some(joint) = joint else { return self.take_alone(turn, prepared).await };
        // One turn after the other, so that two merges never wait for each other.
        drop(turn);
        self.take_joint(prepared, joint).await
    }

    async fn take_alone(
        &self,
        turn: turns::Turn<Loaded>,
        prepared: &Prepared,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        let mut loaded = turn.come().await;
        let mut claimed = Vec::new();
        let outcome = self.decide_and_publish(prepared, &mut loaded, &mut claimed).await;
        match &outcome {
            Ok(_) | Err(SubmitError::OutcomeUnknown(_)) => {}
            Err(_) => self.release(prepared, &mut loaded, &claimed).await,
        }
        outcome
    }

    async fn decide_and_publish(
        &self,
        prepared: &Prepared,
        loaded: &mut Loaded,
        claimed: &mut Vec<Identifier>,
    ) -> Result<Vec<v1::Receipt>, SubmitError> {
        for _ in 0..self.attempts_max {
            if loaded.is_stale {
                self.patients.catch_up(prepared.patient, loaded).await?;
            }
            if let Some(receipts) = self.attempt(prepared, loaded, claimed).await? {
                return Ok(receipts);
            }
        }
        Err(SubmitError::Contended)
    }

    fn prepare(&self, submission: Submission) -> Result<Prepared, SubmitError> {
        self.prepare_from(submission, Sender::Outside)
    }

    fn prepare_from(
        &self,
        submission: Submission,
        sender: Sender,
    ) -> Result<Prepared, SubmitError> {
        let Submission { events, expected_version } = submission;
        let no_events =
            || SubmitError::Fields(vec![Path::ROOT.field("events").violation("must be given")]);
        let first = events.first().ok_or_else(no_events)?;
        let patient = first.patient_id.clone();
        let occurred_at = first.occurred_at.clone();
        let mut actor = None;
        let mut commands = Vec::with_capacity(events.len());
        let mut drafts = Vec::with_capacity(events.len());
        let mut objections = Objections::default();
        for mut event in events {
            if event.patient_id != patient || topic::is_of_topic(&event) {
                return Err(SubmitError::SeveralPatients);
            }
            let (command, by) = self.read(&mut event, sender, &mut objections)?;
            self.draft(&event, command.stamp.event, &mut drafts)?;
            commands.push(command);
            actor.get_or_insert(by);
        }
        let patient = PatientId::parse(&patient).map_err(|error| {
            SubmitError::Fields(vec![Path::ROOT.field("patient_id").violation(error)])
        })?;
        let actor = actor.ok_or_else(no_events)?;
        let occasion = Occasion { patient, actor, occurred_at };
        Ok(Prepared { patient, commands, drafts, occasion, expected_version, objections })
    }

    /// Adds the record of an event to those that are to be published.
    fn draft(
        &self,
        event: &v1::Event,
        id: EventId,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), SubmitError> {
        let record = event.encode_to_vec();
        if record.len() > self.record_bytes_max {
            let limit = self.record_bytes_max;
            return Err(SubmitError::TooLarge { bytes: record.len(), limit });
        }
        if drafts.iter().any(|draft| draft.event == id) {
            return Err(SubmitError::Reused(id));
        }
        drafts.push(Draft { event: id, record: Bytes::from(record) });
        Ok(())
    }

    /// What an event asks for, and who asks. Ids take their one written form.
    fn read(
        &self,
        event: &mut v1::Event,
        sender: Sender,
        objections: &mut Objections,
    ) -> Result<(Command, tsunagi_domain::Actor), SubmitError> {
        if !event.key_id.is_empty() {
            return Err(SubmitError::Encrypted);
        }
        let payload = Payload::decode(&event.r#type, &event.payload)?;
        let zone = &self.bus.region().zone;
        let (command, of_no_list) =
            convert::command(event, &payload, zone).map_err(SubmitError::Fields)?;
        match sender {
            Sender::Outside | Sender::Mover => {
                let is_own = sender == Sender::Mover && matches!(payload, Payload::EventsMoved(_));
                if payload.family() == Family::System && !is_own {
                    return Err(SubmitError::SystemType(event.r#type.clone()));
                }
                objections.add(event, &payload, of_no_list);
                if sender == Sender::Outside {
                    objections.claims_a_move(&payload);
                }
            }
            Sender::System => {}
        }
        let command = command.ok_or_else(|| SubmitError::UnknownType(event.r#type.clone()))?;
        objections.sends_to(&payload, &command.stamp);
        event.event_id = command.stamp.event.to_string();
        event.patient_id.make_ascii_lowercase();
        let reader = convert::Reader { zone, at: Path::ROOT };
        let actor = convert::actor(event.actor.as_ref(), &reader).map_err(SubmitError::Fields)?;
        Ok((command, actor))
    }

    /// One attempt to decide and publish; none if others wrote meanwhile.
    async fn attempt(
        &self,
        prepared: &Prepared,
        loaded: &mut Loaded,
        claimed: &mut Vec<Identifier>,
    ) -> Result<Option<Vec<v1::Receipt>>, SubmitError> {
        let events = match decide(prepared, loaded) {
            Ok(events) => events,
            Err(refusal) => return self.refuse(prepared, loaded, refusal).await,
        };
        if let Some(refusal) = self.unusable_resource(&prepared.objections).await? {
            return self.refuse(prepared, loaded, refusal).await;
        }
        let (held, gained) = changed_numbers(prepared, loaded, &events);
        self.claim(prepared, &gained, claimed).await?;
        let stream = StreamId::Patient(prepared.patient);
        let expected = expected_version(prepared, loaded.version);
        let drafts = prepared.drafts.clone();
        // Until the answer is in, and for good if the caller goes away before that, the record
        // in memory may lack what is being published.
        loaded.is_stale = true;
        match self.bus.publish(Publication { stream, expected, drafts }).await {
            Ok(placed) => {
                loaded.advance(&placed, &events);
                self.release(prepared, loaded, &held).await;
                Ok(Some(prepared.receipts(self.bus.region(), &placed, false)))
            }
            Err(error) => match not_published(error, &prepared.drafts)? {
                Some(stored) => {
                    let placed = same(&prepared.drafts, &stored)?;
                    Ok(Some(prepared.receipts(self.bus.region(), &placed, true)))
                }
                None => Ok(None),
            },
        }
    }

    /// Gives a refusal out, unless it was decided on a record that others have written on
    /// since, or the events were taken before: a repeat is refused by the very state that the
    /// first one led to.
    async fn refuse(
        &self,
        prepared: &Prepared,
        loaded: &mut Loaded,
        refusal: SubmitError,
    ) -> Result<Option<Vec<v1::Receipt>>, SubmitError> {
        let decided_on = loaded.version;
        self.patients.catch_up(prepared.patient, loaded).await?;
        if loaded.version != decided_on {
            return Ok(None);
        }
        let stream = StreamId::Patient(prepared.patient);
        let placed = self.stored_before(stream, &prepared.drafts).await?.ok_or(refusal)?;
        Ok(Some(prepared.receipts(self.bus.region(), &placed, true)))
    }

    /// Where the events stand, if they were taken before.
    async fn stored_before(
        &self,
        stream: StreamId,
        drafts: &[Draft],
    ) -> Result<Option<Vec<Placed>>, SubmitError> {
        let mut stored = Vec::with_capacity(drafts.len());
        for draft in drafts {
            stored.extend(self.bus.find(stream, draft.event).await?);
        }
        if stored.is_empty() { Ok(None) } else { same(drafts, &stored).map(Some) }
    }

    /// Claims the identifiers that the events link to the patient. Those that were nobody's
    /// before are added to `claimed`.
    async fn claim(
        &self,
        prepared: &Prepared,
        gained: &[Identifier],
        claimed: &mut Vec<Identifier>,
    ) -> Result<(), SubmitError> {
        // Everybody claims in one order: of two who want the same numbers, the first one gets them.
        let wanted: BTreeSet<_> = identifiers(&prepared.commands).chain(gained).collect();
        for identifier in wanted {
            match self.claims.claim(identifier, &prepared.occasion).await {
                Ok(Claim::Taken) => claimed.push(identifier.clone()),
                Ok(Claim::Held) => {}
                Ok(Claim::Others(owner)) => return Err(SubmitError::IdentifierTaken { owner }),
                Err(error @ PublishError::OutcomeUnknown(_)) => {
                    return Err(SubmitError::OutcomeUnknown(error));
                }
                Err(PublishError::NoRoom(told)) => return Err(SubmitError::NoRoom(told)),
                Err(_) => return Err(SubmitError::Full),
            }
        }
        Ok(())
    }

    /// Gives back what was claimed for events that were then refused, or are taken back now.
    async fn release(&self, prepared: &Prepared, loaded: &mut Loaded, claimed: &[Identifier]) {
        if claimed.is_empty() {
            return;
        }
        // One that the patient was given meanwhile is the patient's.
        if loaded.is_stale
            && let Err(error) = self.patients.catch_up(prepared.patient, loaded).await
        {
            tracing::warn!(patient_id = %prepared.patient, %error, "claims not released");
            return;
        }
        let held: Vec<&Identifier> = loaded.record.patient().identifiers().collect();
        for identifier in claimed.iter().filter(|identifier| !held.contains(identifier)) {
            // One that stays claimed without a registration is not lost: it can be taken over
            // after `claim-wait-ms`.
            if let Err(error) = self.claims.release(identifier, &prepared.occasion).await {
                tracing::warn!(patient_id = %prepared.patient, %error, "claim not released");
            }
        }
    }
}

/// The numbers that the patient has before corrections, which may take some of them back: those are
/// free at once. And those that the patient has again after them.
fn changed_numbers(
    prepared: &Prepared,
    loaded: &Loaded,
    events: &[tsunagi_domain::Event],
) -> (Vec<Identifier>, Vec<Identifier>) {
    let is_correction = |command: &Command| matches!(command.order, Order::Correction(_));
    if !prepared.commands.iter().any(is_correction) {
        return (Vec::new(), Vec::new());
    }
    let mut after = loaded.record.clone();
    after.apply_page(events.iter().map(|event| (event, Timestamp::MAX)));
    let before = loaded.record.patient();
    let gained = after.patient().identifiers().filter(|of| !before.has_identifier(of));
    (before.identifiers().cloned().collect(), gained.cloned().collect())
}

/// Who sends a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Outside,
    /// Somebody who moves events to another patient: the system says beside them that they are.
    Mover,
    System,
}

impl Prepared {
    fn receipts(&self, region: &Region, placed: &[Placed], repeated: bool) -> Vec<v1::Receipt> {
        let patient_id = self.patient.to_string();
        let subject = v1::Receipt { patient_id, repeated, ..v1::Receipt::default() };
        receipts(&self.drafts, placed, region, &subject)
    }
}

/// Receipts for events that stand where they were placed; `subject` says what they are about.
fn receipts(
    drafts: &[Draft],
    placed: &[Placed],
    region: &Region,
    subject: &v1::Receipt,
) -> Vec<v1::Receipt> {
    let receipt = |(draft, placed): (&Draft, &Placed)| v1::Receipt {
        event_id: draft.event.to_string(),
        version: placed.version,
        recorded_at: Some(to_wire(placed.recorded_at)),
        cursor: region.cursor_text(&Cursor::at(placed.position)),
        ..subject.clone()
    };
    drafts.iter().zip(placed).map(receipt).collect()
}

/// What is to be done about a publication that was not taken: compare it with what was stored
/// before; decide again, if that is none; or give the error out.
fn not_published(
    error: PublishError,
    drafts: &[Draft],
) -> Result<Option<Vec<Stored>>, SubmitError> {
    match error {
        PublishError::Repeated { stored } => Ok(Some(stored)),
        PublishError::Conflict { .. } => Ok(None),
        PublishError::TooLarge { limit } => {
            let bytes = drafts.iter().map(|draft| draft.record.len()).sum();
            Err(SubmitError::TooLarge { bytes, limit })
        }
        PublishError::TooMany { limit } => {
            let problem = format!("must be at most {limit} at once");
            Err(SubmitError::Fields(vec![Path::ROOT.field("events").violation(problem)]))
        }
        PublishError::Full => Err(SubmitError::Full),
        PublishError::NoRoom(told) => Err(SubmitError::NoRoom(told)),
        PublishError::OutcomeUnknown(_) => Err(SubmitError::OutcomeUnknown(error)),
    }
}

/// Where events that were stored before stand, if they are the same events (I3).
fn same(drafts: &[Draft], stored: &[Stored]) -> Result<Vec<Placed>, SubmitError> {
    let mut placed = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let before = stored.iter().find(|stored| stored.event == draft.event);
        match before {
            Some(before) if is_same(&before.record, &draft.record) => placed.push(before.placed),
            // Of several events, some were stored and some were not: this is not a repeat.
            Some(_) | None => {
                let event = before.or(stored.first()).map_or(draft.event, |stored| stored.event);
                return Err(SubmitError::Reused(event));
            }
        }
    }
    Ok(placed)
}

impl Loaded {
    /// Goes on with what was just published, if nobody else wrote in between; otherwise it
    /// stays stale.
    fn advance(&mut self, placed: &[Placed], events: &[tsunagi_domain::Event]) {
        let (Some(first), Some(last)) = (placed.first(), placed.last()) else { return };
        if first.version != self.version + 1 {
            return;
        }
        let recorded = placed.iter().map(|placed| placed.recorded_at);
        self.record.apply_page(events.iter().zip(recorded));
        self.version = last.version;
        self.is_stale = !self.record.wanted().is_empty();
    }
}

/// The events that the commands cause.
fn decide(prepared: &Prepared, loaded: &Loaded) -> Result<Vec<tsunagi_domain::Event>, SubmitError> {
    prepared.objections.check()?;
    if let Some(expected) = prepared.expected_version
        && expected != loaded.version
    {
        return Err(SubmitError::VersionConflict { expected, actual: loaded.version });
    }
    let decided =
        || loaded.record.decide_together(&prepared.commands, Timestamp::now()).map_err(Into::into);
    let may_take_long = loaded.record.may_take_long(&prepared.commands);
    let has_workers = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    // What is judged with much else must not hold up others.
    if may_take_long && has_workers() { block_in_place(decided) } else { decided() }
}

/// What depends on nothing needs no version.
fn expected_version(prepared: &Prepared, version: u64) -> Expected {
    let independent = prepared.commands.iter().all(|command| command.order.is_independent());
    if independent && prepared.expected_version.is_none() {
        Expected::Any
    } else {
        Expected::Version(version)
    }
}

fn identifiers(commands: &[Command]) -> impl Iterator<Item = &Identifier> {
    commands.iter().flat_map(|command| match &command.order {
        Order::Identity(IdentityCommand::Register(registration)) => {
            registration.identifiers.as_slice()
        }
        Order::Identity(IdentityCommand::LinkIdentifier(identifier)) => {
            std::slice::from_ref(identifier)
        }
        Order::Identity(
            IdentityCommand::UpdateDemographics(_)
            | IdentityCommand::RecordDeath(_)
            | IdentityCommand::OpenAnonymous(())
            | IdentityCommand::Merge(_)
            | IdentityCommand::Unmerge(_)
            | IdentityCommand::Retire(_)
            | IdentityCommand::Restore(_)
            | IdentityCommand::AbandonMerge(_),
        )
        | Order::Correction(_)
        | Order::Encounter(..)
        | Order::TransferRequest(..)
        | Order::Referral(..)
        | Order::Case(..)
        | Order::Document(_) => &[],
    })
}

/// Whether two records say the same, whichever door they came through.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    if one == other {
        return true;
    }
    let read = |record: &Bytes| {
        let mut event = v1::Event::decode(record.clone()).ok()?;
        event.source = None;
        let payload = Payload::decode(&event.r#type, &event.payload).ok()?;
        if payload != Payload::Unknown {
            event.payload = payload.encode_to_vec();
        }
        Some(event)
    };
    matches!((read(one), read(other)), (Some(one), Some(other)) if one == other)
}

/// Ids, one after the other.
pub(crate) fn listed(events: &[EventId]) -> String {
    events.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A moment in protobuf's form.
pub fn to_wire(moment: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: moment.as_second(), nanos: moment.subsec_nanosecond() }
}
