//! One message from beginning to end: decoded, read, mapped, decided, durable, or refused.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tsunagi_bus::handler::SubmitError;
use tsunagi_bus::{Handler, Submission, quarantine};
use tsunagi_chassis::Config;
use tsunagi_domain::identity::{self, Identifier};
use tsunagi_domain::{Actor, EventId, OrganisationId, PatientId, Refusal as Refused};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::Told;
use super::encounter::Situation;
use super::group::Group;
use super::ids::{self, MessageKey};
use super::moved;
use super::one_person::{self, Sides, United};
use super::patient;
use super::profile::{Profile, ProfileError, Profiles};
use super::refusal::{Kind, Refusal};
use super::rules;
use super::trigger::{self, Act};
use super::visit::{Said, Visit};
use crate::hl7::charset::{Decoded, decode};
use crate::hl7::{Charset, Message};
use crate::known::{Known, KnownPatients};
use crate::person::{is_none_of, is_somebody_else, never_too_late};
use crate::text::cut;

const ROLE: &str = "system";
const PERSON: &str = "hl7";
/// In whose name an update (A08) tells what changed of a visit.
pub(super) const IN_PASSING: &str = "hl7-update";
/// In whose name the tracking of patients (A09, A10) tells.
pub(super) const TRACKING: &str = "hl7-tracking";

/// Takes HL7 v2 messages.
pub struct Intake {
    pub(super) handler: Arc<Handler>,
    profiles: Profiles,
    pub(super) known: KnownPatients,
    pub(super) attempts_max: u32,
    /// Whoever holds it merges records; nobody else does so meanwhile through this door.
    pub(super) merging: Mutex<()>,
}

/// How a message is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    AsSaid,
    /// What it said, or its like, is to be taken back.
    Withdrawn,
    /// Another message has taken its place: what was stored of this very one is taken back.
    Replaced,
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its events are on disk (I2).
    Stored,
    /// It had been taken before (I3).
    Repeated,
    /// It says nothing that is not known.
    NothingNew,
    /// The facility's profile says that such messages are passed over.
    Ignored,
    Refused(Refusal),
}

/// A message that was answered for.
#[derive(Debug)]
pub struct Taken {
    pub outcome: Outcome,
    /// The message's text, for the answer; empty if there is none.
    pub text: String,
    /// What the answer remarks of a message that was taken.
    pub remark: String,
    pub charset: Charset,
    /// Names the answer: the same for the same message.
    pub answer_id: String,
    /// The facility's profile says to answer, whatever the message says.
    pub is_always_answered: bool,
}

/// Where a message comes from.
struct Origin<'a> {
    door: &'a str,
    /// Whom the sender's certificate names, where senders have any.
    names: Option<&'a [String]>,
}

/// A message on its way in.
pub(super) struct Incoming<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) profile: &'a Profile,
    key: MessageKey,
    /// As it came.
    pub(super) raw: &'a [u8],
    pub(super) door: &'a str,
    manner: Manner,
    /// The messages in whose place it comes.
    replaced: &'a [MessageKey],
    warning: String,
}

impl Intake {
    pub fn new(handler: Arc<Handler>, config: &Config) -> Result<Self, ProfileError> {
        let zone = &handler.bus().region().zone_name;
        let profiles = Profiles::read(config.hl7_profiles.as_deref(), zone)?;
        let known = KnownPatients::new(config.cached_patients);
        let attempts_max = config.decide_attempts;
        Ok(Self { handler, profiles, known, attempts_max, merging: Mutex::new(()) })
    }

    /// Takes a message that came through `door`. Answers when what it says is durable, and what
    /// somebody has to look at is kept.
    pub async fn take(&self, raw: &[u8], door: &str) -> Taken {
        self.take_as(raw, door, Manner::AsSaid).await
    }

    /// Takes a message of a sender whose certificate has these names, if there is one: some
    /// facilities are spoken for by those alone whom their profile names.
    pub async fn take_of(&self, raw: &[u8], door: &str, names: &[String]) -> Taken {
        let from = Origin { door, names: Some(names) };
        self.take_from(raw, &[], from, Manner::AsSaid).await
    }

    /// Takes a message in a manner that stands beside it.
    pub async fn take_as(&self, raw: &[u8], door: &str, manner: Manner) -> Taken {
        self.take_instead(raw, &[], door, manner).await
    }

    /// Takes a message in the place of others: what they said and could not be taken back, because
    /// something builds on it, is corrected.
    pub async fn take_instead(
        &self,
        raw: &[u8],
        replaced: &[Vec<u8>],
        door: &str,
        manner: Manner,
    ) -> Taken {
        self.take_from(raw, replaced, Origin { door, names: None }, manner).await
    }

    async fn take_from(
        &self,
        raw: &[u8],
        replaced: &[Vec<u8>],
        from: Origin<'_>,
        manner: Manner,
    ) -> Taken {
        let Origin { door, names } = from;
        let replaced: Vec<MessageKey> = replaced.iter().filter_map(|raw| self.key(raw)).collect();
        let decoded = decode(raw, None);
        let (profile, decoded) = match Message::parse(&decoded.text) {
            Ok(message) => {
                let profile = self.profiles.of(&message);
                let usual = profile.as_ref().ok().and_then(|profile| profile.charset);
                drop(message);
                (profile, if usual.is_some() { decode(raw, usual) } else { decoded })
            }
            Err(why) => {
                let refusal =
                    Refusal::unreadable("MSH", &format!("this is no HL7 v2 message: {why}"));
                return self.unreadable(raw, door, decoded, refusal).await;
            }
        };
        let Ok(message) = Message::parse(&decoded.text) else {
            let refusal = Refusal::unreadable("MSH-18", "the profile's character set does not fit");
            return self.unreadable(raw, door, decoded.clone(), refusal).await;
        };
        let key = MessageKey::new(&message);
        let remarks = profile.as_ref().map(|profile| self.remarks(&message, profile));
        let remarks = remarks.unwrap_or_default();
        let mut outcome = match &profile {
            Ok(profile) if names.is_some_and(|names| !profile.is_spoken_for_by(names)) => {
                Outcome::Refused(Refusal::unproven())
            }
            Ok(profile) => {
                let warnings = decoded.warning.map(|warning| warning.to_string());
                let warnings: Vec<String> =
                    warnings.into_iter().chain(remarks.iter().cloned()).collect();
                let incoming = Incoming {
                    message: &message,
                    profile,
                    key,
                    raw,
                    door,
                    manner,
                    replaced: &replaced,
                    warning: warnings.join("; "),
                };
                self.take_read(&incoming).await
            }
            // What is not taken from anybody is not missing its sender's name.
            Err(_) if message.kind().0 != "ADT" => {
                Outcome::Refused(trigger::not_adt(&message.kind().0))
            }
            Err(refusal) => Outcome::Refused(refusal.clone()),
        };
        let facility = profile.as_ref().map(|profile| profile.facility.id.as_str());
        let origin = format!("{door}: {}", facility.unwrap_or("unknown sender"));
        if let Some(reason) =
            kept_because(&outcome, &decoded).filter(|_| manner != Manner::Replaced)
            && let Err(refusal) = self.keep(raw, &origin, &reason).await
        {
            outcome = Outcome::Refused(refusal);
        }
        Taken {
            outcome,
            remark: remarks.join("; "),
            charset: decoded.charset,
            answer_id: key.answer(),
            is_always_answered: profile.as_ref().is_ok_and(Profile::always_acknowledges),
            text: decoded.text.into_owned(),
        }
    }

    /// What a message is known by, if it can be read.
    fn key(&self, raw: &[u8]) -> Option<MessageKey> {
        let decoded = decode(raw, None);
        let usual = {
            let message = Message::parse(&decoded.text).ok()?;
            self.profiles.of(&message).ok().and_then(|profile| profile.charset)
        };
        let decoded = if usual.is_some() { decode(raw, usual) } else { decoded };
        Message::parse(&decoded.text).ok().map(|message| MessageKey::new(&message))
    }

    /// Refuses a message of which only the beginning is there, which is kept.
    pub async fn refuse_large(&self, beginning: &[u8], limit: usize, door: &str) -> Taken {
        let decoded = decode(beginning, None);
        self.unreadable(beginning, door, decoded, Refusal::too_large(limit)).await
    }

    /// Refuses a batch of too many messages, which is kept.
    pub async fn refuse_many(&self, batch: &[u8], limit: usize, door: &str) -> Taken {
        let decoded = decode(batch, None);
        self.unreadable(batch, door, decoded, Refusal::too_many(limit)).await
    }

    /// Keeps bytes that came outside every message.
    pub async fn keep_stray(&self, raw: &[u8], door: &str) -> Result<(), Refusal> {
        let reason =
            "bytes outside every MLLP frame: a message begins with 0x0B and ends with 0x1C 0x0D";
        self.keep(raw, &format!("{door}: unknown sender"), reason).await
    }

    async fn unreadable(
        &self,
        raw: &[u8],
        door: &str,
        decoded: Decoded<'_>,
        refusal: Refusal,
    ) -> Taken {
        let kept = self.keep(raw, &format!("{door}: unknown sender"), &refusal.message).await;
        Taken {
            outcome: Outcome::Refused(kept.err().unwrap_or(refusal)),
            remark: String::new(),
            charset: decoded.charset,
            text: decoded.text.into_owned(),
            answer_id: String::new(),
            is_always_answered: true,
        }
    }

    async fn keep(&self, raw: &[u8], origin: &str, reason: &str) -> Result<(), Refusal> {
        self.keep_parts(raw, origin, reason).await.map(drop)
    }

    /// Keeps bytes in quarantine, and gives the ids under which they are.
    pub(super) async fn keep_parts(
        &self,
        raw: &[u8],
        origin: &str,
        reason: &str,
    ) -> Result<Vec<String>, Refusal> {
        let message = v1::MessageQuarantined {
            origin: cut(origin, 500),
            media_type: "application/hl7-v2".to_owned(),
            reason: cut(reason, 500),
            raw: raw.to_owned(),
            ..v1::MessageQuarantined::default()
        };
        let actor = actor("tsunagi").map_err(|refusal| *refusal)?;
        let door = origin.split(':').next().unwrap_or_default();
        let bus = self.handler.bus().as_ref();
        let kept = quarantine::keep_whole(bus, message, &actor, door).await;
        let kept = kept.map_err(|refused| Refusal::of(refused, ""))?;
        Ok(kept.into_iter().map(|receipt| receipt.event_id).collect())
    }

    async fn take_read(&self, incoming: &Incoming<'_>) -> Outcome {
        match self.take_groups(incoming).await {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    async fn take_groups(&self, incoming: &Incoming<'_>) -> Result<Outcome, Refusal> {
        let (kind, event) = incoming.message.kind();
        if incoming.profile.ignores(&event) || incoming.profile.ignores(&kind) {
            return Ok(Outcome::Ignored);
        }
        if kind != "ADT" {
            return Err(trigger::not_adt(&kind));
        }
        let mut act = trigger::act(&event)?;
        if incoming.manner == Manner::Withdrawn {
            act = trigger::withdrawal(act, &event)?;
        }
        let mut groups = Group::all(incoming.message);
        let has_priors = groups.iter().any(|group| !group.segment("MRG").is_missing());
        let is_link = matches!(act, Act::SamePerson | Act::OtherPerson) && !has_priors;
        if act == Act::OtherPerson && groups.len() != 2 {
            return Err(Refusal::missing(
                "PID-3",
                "say in two segments PID which numbers are two people's",
            ));
        }
        if is_link {
            if act == Act::SamePerson {
                one_person::check_link(&groups, incoming.profile)?;
            }
            // A24 names the one person in two segments PID.
            groups = groups
                .split_first()
                .map(|(first, rest)| vec![first.with(rest)])
                .unwrap_or_default();
        }
        if groups.len() > 1 && !act.takes_several() {
            return Err(Refusal::wrong(
                "PID-3",
                "the message tells of several patients: send one message for each",
            ));
        }
        if groups.len() > 1 {
            for (number, group) in groups.iter().enumerate() {
                self.check_group(incoming, act, number, group).await?;
            }
        }
        let mut outcome = Outcome::NothingNew;
        for (number, group) in groups.iter().enumerate() {
            let one = self.take_group(incoming, act, number, group).await;
            let one = one.map_err(|refusal| match outcome {
                Outcome::Stored => refusal.after(number),
                Outcome::Repeated
                | Outcome::NothingNew
                | Outcome::Ignored
                | Outcome::Refused(_) => refusal,
            })?;
            // Whatever was stored now says more than what was not.
            if outcome != Outcome::Stored && one != Outcome::NothingNew {
                outcome = one;
            }
        }
        Ok(outcome)
    }

    /// Refuses what would be refused of one patient among several, as things are before anything
    /// is done for the first of them. What the record itself refuses is known only then.
    async fn check_group(
        &self,
        incoming: &Incoming<'_>,
        act: Act,
        number: usize,
        group: &Group<'_>,
    ) -> Result<(), Refusal> {
        let numbers = numbers(act, group, incoming.profile)?;
        if act == Act::SamePerson {
            return self.check_union(&Sides::read(group, incoming.profile)).await;
        }
        // These look at all that they move by themselves.
        if matches!(act, Act::MoveVisit | Act::MoveNumber) {
            return Ok(());
        }
        let patient = self.owner(&numbers).await?;
        let known = self.known.get(patient);
        let mut known = known.lock().await;
        let bus = self.handler.bus().as_ref();
        known.catch_up(bus, patient).await.map_err(Refusal::of_read)?;
        let first = incoming.events().event(number, 0);
        if known.find(bus, first).await.map_err(Refusal::of_read)?.is_none() {
            self.told(
                incoming,
                Part { act, number, group, numbers: &numbers, moved: &[] },
                patient,
                &known,
            )?;
        }
        Ok(())
    }

    /// Takes what a message says about one patient, of whom there may be several records.
    async fn take_group(
        &self,
        incoming: &Incoming<'_>,
        act: Act,
        number: usize,
        group: &Group<'_>,
    ) -> Result<Outcome, Refusal> {
        let numbers = numbers(act, group, incoming.profile)?;
        if act == Act::MoveVisit {
            return self.move_visits(incoming, group, &numbers).await;
        }
        let at = Said { field: "PID-3", ..self.visit(incoming, group).happened_at()? };
        let sides = Sides::read(group, incoming.profile);
        if act == Act::OtherPerson {
            return self.part(incoming, number, at, &sides).await;
        }
        let united = if act == Act::SamePerson {
            self.unite(incoming, number, &at, &sides).await?
        } else if act == Act::MoveNumber {
            self.move_number(incoming, number, &at, group).await?
        } else if act == Act::Account {
            self.check_account(&sides).await.map(|()| United::Before)?
        } else {
            United::Before
        };
        let part = Part { act, number, group, numbers: &numbers, moved: &[] };
        match united {
            United::NoMore => Ok(Outcome::Repeated),
            United::Now => self.take_part(incoming, part).await.map(|_| Outcome::Stored),
            United::Before => self.take_part(incoming, part).await,
        }
    }

    /// Takes what it says of the patient whose numbers these are, and begins again when others
    /// wrote about the patient meanwhile.
    pub(super) async fn take_part(
        &self,
        incoming: &Incoming<'_>,
        part: Part<'_>,
    ) -> Result<Outcome, Refusal> {
        let mut last = SubmitError::Contended;
        for _ in 0..self.attempts_max {
            let patient = self.owner(part.numbers).await?;
            let known = self.known.get(patient);
            let mut known = known.lock().await;
            let bus = self.handler.bus();
            known.catch_up(bus.as_ref(), patient).await.map_err(Refusal::of_read)?;
            let first = incoming.events().event(part.number, 0);
            let before = known.find(bus.as_ref(), first).await;
            if before.map_err(Refusal::of_read)?.is_some() {
                return Ok(Outcome::Repeated);
            }
            let told = self.told(incoming, part, patient, &known)?;
            if told.is_empty() {
                return Ok(Outcome::NothingNew);
            }
            let field = told.last().map_or("", |told| told.at.field);
            let submission = Submission {
                events: events(incoming, part.number, patient, told),
                expected_version: Some(known.version()),
            };
            match self.handler.submit(submission).await {
                Ok(receipts) if receipts.iter().all(|receipt| receipt.repeated) => {
                    return Ok(Outcome::Repeated);
                }
                Ok(_) => return Ok(Outcome::Stored),
                Err(
                    error @ (SubmitError::VersionConflict { .. }
                    | SubmitError::Contended
                    | SubmitError::IdentifierTaken { .. }
                    // Merged since its owner was found.
                    | SubmitError::Refused(Refused::Identity(identity::Refusal::Retired(_)))),
                ) => last = error,
                Err(error) => return Err(rules::refusal(part.act, error, field)),
            }
        }
        Err(Refusal::of_submit(last, "PID-3"))
    }

    /// The patient to whom the numbers belong, or who is to have them.
    pub(super) async fn owner(&self, numbers: &[v1::Identifier]) -> Result<PatientId, Refusal> {
        if let Some(owner) = self.proven_owner(numbers).await? {
            return Ok(owner);
        }
        let mut owners = Vec::new();
        for number in numbers {
            let owner = self.handler.claims().owner(&Identifier::from(number)).await;
            let owner = owner.map_err(Refusal::of_read)?;
            owners.extend(owner.filter(|owner| !owners.contains(owner)));
        }
        match (owners.as_slice(), numbers) {
            ([owner], _) => Ok(*owner),
            ([], [first, ..]) => Ok(ids::patient(first)),
            ([], []) => Err(Refusal::missing("PID-3", NO_NUMBER)),
            ([one, other, ..], _) => Err(Refusal::contradicts(
                "PID-3",
                "IDENTIFIERS_OF_SEVERAL",
                &format!(
                    "its numbers belong to patient {one} and to patient {other}: correct PID-3, or say that they are one person (A40)"
                ),
            )),
        }
    }

    /// The patient who was registered here by the first of the numbers, if the patient's own
    /// record has all of them: a shorter way than by the claim of each.
    async fn proven_owner(&self, numbers: &[v1::Identifier]) -> Result<Option<PatientId>, Refusal> {
        let Some(patient) = numbers.first().map(ids::patient) else { return Ok(None) };
        let known = self.known.get(patient);
        let mut known = known.lock().await;
        let bus = self.handler.bus();
        known.catch_up(bus.as_ref(), patient).await.map_err(Refusal::of_read)?;
        let record = known.record().patient();
        let has = |number: &v1::Identifier| record.has_identifier(&number.into());
        let is_owner = record.retired_into().is_none() && numbers.iter().all(has);
        Ok(is_owner.then_some(patient))
    }

    pub(super) fn visit<'v>(&'v self, incoming: &Incoming<'v>, group: &'v Group<'v>) -> Visit<'v> {
        let zone = &self.handler.bus().region().zone;
        Visit { group, profile: incoming.profile, zone, now: Timestamp::now() }
    }

    /// What is to be remarked about a message, whatever comes of it: the same for the same one.
    fn remarks(&self, message: &Message<'_>, profile: &Profile) -> Vec<String> {
        let zone = &self.handler.bus().region().zone;
        let mut remarks = Vec::new();
        for group in Group::all(message) {
            let visit = Visit { group: &group, profile, zone, now: Timestamp::now() };
            let act = trigger::act(&message.kind().1);
            if matches!(act, Ok(Act::Admit | Act::Register)) && visit.has_unknown_class() {
                remarks.push(UNKNOWN_CLASS.to_owned());
            }
            let is_spoilt = |number: &usize| patient::is_spoilt(group.field("PID", *number));
            remarks.extend(patient::FIELDS.iter().filter(|number| is_spoilt(number)).map(
                |number| {
                    format!(
                        "PID-{number} holds bytes that are no characters: what was known is kept"
                    )
                },
            ));
        }
        remarks.dedup();
        remarks
    }

    /// What the message says that is not known yet: who the patient is, and what happened.
    fn told(
        &self,
        incoming: &Incoming<'_>,
        part: Part<'_>,
        patient: PatientId,
        known: &Known,
    ) -> Result<Vec<Told>, Refusal> {
        let Part { act, number, group, numbers, moved } = part;
        let visit = self.visit(incoming, group);
        if visit.number().is_some_and(|number| number.value.contains(char::REPLACEMENT_CHARACTER)) {
            return Err(Refusal::wrong("PV1-19", SPOILT_NUMBER));
        }
        let takes_place = !incoming.replaced.is_empty();
        let situation = Situation { visit, known, patient, act, takes_place };
        if incoming.manner == Manner::Replaced {
            let said = |at| incoming.key.event(number, at);
            return situation.take_back(&(0..EVENTS_MAX).map(said).collect::<Vec<_>>());
        }
        let said = incoming
            .replaced
            .iter()
            .flat_map(|key| (0..EVENTS_MAX).map(|at| key.event(number, at)));
        let instead = situation.instead_of(&said.collect::<Vec<_>>(), act)?;
        let mut happened = instead.map_or_else(|| situation.tells(act), Ok)?;
        happened.extend(situation.unknown_of(moved));
        let event = incoming.message.kind().1;
        let numbers = Numbers {
            all: numbers,
            are_one_person: act == Act::SamePerson,
            is_correction: trigger::corrects_person(&event),
        };
        let mut told = person(&visit, known, &numbers, happened.first().map(|told| &told.at))?;
        told.extend(happened);
        Ok(told)
    }
}

const UNKNOWN_CLASS: &str = "PV1-2 is no class of visit that is known here (`classes` in the facility's profile): taken for what the event says";

/// More events than a message says of one patient.
const EVENTS_MAX: usize = 30;

/// One patient's part of a message, and the numbers by which the patient is found.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) act: Act,
    pub(super) number: usize,
    pub(super) group: &'a Group<'a>,
    pub(super) numbers: &'a [v1::Identifier],
    /// What was told of a visit of the patient's in another's record.
    pub(super) moved: &'a [Told],
}

impl Incoming<'_> {
    /// What the events that are said now are named by.
    pub(super) fn events(&self) -> MessageKey {
        match self.manner {
            Manner::AsSaid => self.key,
            Manner::Withdrawn => self.key.taken("withdrawn"),
            Manner::Replaced => self.key.taken("replaced"),
        }
    }
}

const NO_NUMBER: &str = "say who the patient is: PID-3 must have a number, with its assigning authority in PID-3.4, and not only those of an account or a visit (PID-3.5 AN, VN)";

const SPOILT_NUMBER: &str = "it holds bytes that are no characters, and so it cannot be told whose number it is: send it in the character set that MSH-18 names, or that the facility's profile does";

/// The numbers that a message says are one person's.
fn numbers(act: Act, group: &Group<'_>, profile: &Profile) -> Result<Vec<v1::Identifier>, Refusal> {
    for (segment, field, name) in [("PID", 3, "PID-3"), ("MRG", 1, "MRG-1"), ("MRG", 4, "MRG-4")] {
        if group.segments(segment).any(|segment| patient::is_spoilt(segment.field(field))) {
            return Err(Refusal::wrong(name, SPOILT_NUMBER));
        }
    }
    let mut numbers = patient::own_identifiers(group, profile);
    if numbers.is_empty() {
        return Err(Refusal::missing("PID-3", NO_NUMBER));
    }
    if act == Act::MoveNumber {
        // Whose the number is from now on goes before the number.
        let mut all = moved::Number::read(group, profile)?.of;
        all.extend(numbers.into_iter().filter(|number| !all.contains(number)).collect::<Vec<_>>());
        return Ok(all);
    }
    if act == Act::SamePerson {
        let before = numbers.len();
        for merged in group.segments("MRG") {
            let prior = [1, 4].map(|number| patient::identifiers(merged.field(number), profile));
            let prior = prior.into_iter().find(|prior| !prior.is_empty()).unwrap_or_default();
            for number in prior {
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
            }
        }
        let has_priors = !group.segment("MRG").is_missing();
        if numbers.len() < 2 || (has_priors && numbers.len() == before && !says_prior(group)) {
            return Err(Refusal::missing(
                "MRG-1",
                "say in MRG-1 which number is the same person's",
            ));
        }
    }
    Ok(numbers)
}

fn says_prior(group: &Group<'_>) -> bool {
    group.segments("MRG").any(|merged| !merged.field(1).is_empty() || !merged.field(4).is_empty())
}

/// The numbers of one patient.
struct Numbers<'a> {
    all: &'a [v1::Identifier],
    /// The message says so itself, and who is somebody else is no question.
    are_one_person: bool,
    /// The message is there to say who the patient is by now.
    is_correction: bool,
}

/// What a message says of who the patient is, beyond what is known.
fn person(
    visit: &Visit<'_>,
    known: &Known,
    numbers: &Numbers<'_>,
    happened: Option<&Said>,
) -> Result<Vec<Told>, Refusal> {
    let (before, is_protected) = (known.demographics(), known.is_address_protected());
    let demographics = patient::demographics(visit.group, visit.profile, before, is_protected)?;
    let said_at = visit.written_at()?;
    if !known.is_registered() {
        // Known from the first thing that is told: not later than that happened.
        let at = match happened {
            Some(happened) if is_earlier(visit, happened, &said_at) => happened.clone(),
            Some(_) | None => said_at,
        };
        let at = Said { field: "PID-7", ..at };
        let demographics = Some(demographics);
        let identifiers = numbers.all.iter().take(20).cloned().collect();
        let registered = v1::PatientRegistered { identifiers, demographics };
        return Ok(vec![Told { at, payload: Payload::PatientRegistered(registered) }]);
    }
    let has = |number: &v1::Identifier| known.record().patient().has_identifier(&number.into());
    check_patient(known, numbers, &demographics)?;
    let mut told = Vec::new();
    if let Some((at, demographics)) = news(visit, known, &said_at, demographics) {
        let at = Said { field: "PID-7", text: at, ..said_at.clone() };
        let demographics = Some(demographics);
        let updated = v1::DemographicsUpdated { demographics };
        told.push(Told { at, payload: Payload::DemographicsUpdated(updated) });
    }
    for number in numbers.all.iter().filter(|number| !has(number)) {
        let at = Said { field: "PID-3", ..said_at.clone() };
        let linked = v1::IdentifierLinked { identifier: Some(number.clone()) };
        told.push(Told { at, payload: Payload::IdentifierLinked(linked) });
    }
    Ok(told)
}

/// What of a message is news of a patient who is known, and as of when it is said. By when it was
/// written: what it tells of may be long past. Of two words of one time, the one that came later
/// holds, and the one before does not come back: its message may have come again.
fn news(
    visit: &Visit<'_>,
    known: &Known,
    said_at: &Said,
    said: v1::Demographics,
) -> Option<(String, v1::Demographics)> {
    let said_at = said_at.text.clone();
    let written = visit.care_time(&said_at);
    let (Some(written), Some(told_at)) = (written, known.told_at()) else {
        return (said != *known.demographics()).then_some((said_at, said));
    };
    if written.is_before(&told_at) {
        let now = never_too_late(known.demographics(), &said, known.lives_after_all())?;
        // Older, it would not hold.
        return Some((known.told_at_text().unwrap_or_default().to_owned(), now));
    }
    let is_of_same_time = !told_at.is_before(&written);
    let is_news = said != *known.demographics() && !(is_of_same_time && known.was_said(&said));
    is_news.then_some((said_at, said))
}

/// Refuses what a message says of somebody else under a number of this patient's. A number that
/// is new here must belong to the patient as known now; one that is known, to the patient as
/// anybody ever said, unless the message is there to correct that.
fn check_patient(
    known: &Known,
    numbers: &Numbers<'_>,
    said: &v1::Demographics,
) -> Result<(), Refusal> {
    let has = |number: &v1::Identifier| known.record().patient().has_identifier(&number.into());
    let is_mismatch = if numbers.are_one_person {
        false
    } else if numbers.all.first().is_some_and(has) {
        !numbers.is_correction && is_none_of(said, &known.born())
    } else {
        is_somebody_else(known.demographics(), said)
    };
    if !is_mismatch {
        return Ok(());
    }
    Err(Refusal::contradicts(
        "PID-3",
        "PATIENT_MISMATCH",
        "one of its numbers belongs to a patient of another birth date or sex: find out whose number it is, and correct the message; or, if it is the same person, correct the patient first (A31), and then send this again",
    ))
}

fn is_earlier(visit: &Visit<'_>, one: &Said, other: &Said) -> bool {
    let times = [one, other].map(|said| visit.care_time(&said.text));
    matches!(times, [Some(one), Some(other)] if one.earliest() < other.earliest())
}

fn events(
    incoming: &Incoming<'_>,
    group: usize,
    patient: PatientId,
    told: Vec<Told>,
) -> Vec<v1::Event> {
    let is_odd = told.iter().any(|told| told.at.odd_offset);
    let of = |(at, told): (usize, Told)| {
        let at_all = Said { odd_offset: is_odd, ..told.at };
        let id = incoming.events().event(group, at);
        event(incoming, id, patient, Told { at: at_all, ..told })
    };
    told.into_iter().enumerate().map(of).collect()
}

/// What a message tells, as an event.
pub(super) fn event(
    incoming: &Incoming<'_>,
    id: EventId,
    patient: PatientId,
    told: Told,
) -> v1::Event {
    let (message, facility) = (incoming.message, &incoming.profile.facility.id);
    let odd = if told.at.odd_offset {
        "an offset from UTC cannot be one, and the facility's zone was taken"
    } else {
        ""
    };
    let person = match message.kind().1.as_str() {
        "A08" => IN_PASSING,
        "A09" | "A10" => TRACKING,
        _other => PERSON,
    };
    let warnings = [incoming.warning.as_str(), odd].map(str::to_owned);
    let warnings: Vec<String> = warnings.into_iter().filter(|text| !text.is_empty()).collect();
    let source = v1::Source {
        door: incoming.door.to_owned(),
        system: cut(&message.field("MSH", 3).first(), 64),
        message_id: cut(&message.field("MSH", 10).text(), 200),
        warning: cut(&warnings.join("; "), 200),
    };
    v1::Event {
        event_id: id.to_string(),
        r#type: told.payload.event_type().to_owned(),
        patient_id: patient.to_string(),
        occurred_at: told.at.text,
        actor: Some(v1::Actor {
            organisation: facility.clone(),
            role: ROLE.to_owned(),
            person: person.to_owned(),
            on_behalf_of: String::new(),
        }),
        source: Some(source),
        payload: told.payload.encode_to_vec(),
        ..v1::Event::default()
    }
}

pub(super) fn actor(organisation: &str) -> Result<Actor, Box<Refusal>> {
    let organisation = OrganisationId::parse(organisation);
    let actor = organisation.and_then(|organisation| Actor::new(organisation, ROLE, PERSON));
    actor.map_err(|error| Box::new(Refusal::wrong("MSH-4", &error.to_string())))
}

/// Why the bytes of a message are kept, if they are.
fn kept_because(outcome: &Outcome, decoded: &Decoded<'_>) -> Option<String> {
    match (outcome, decoded.warning) {
        (Outcome::Refused(refusal), _) if refusal.is_kept && refusal.kind != Kind::Unavailable => {
            let Refusal { field, reason, message, .. } = refusal;
            Some(format!("{reason} {field}: {message}"))
        }
        (Outcome::Stored, Some(warning)) => Some(format!("taken, with a doubt: {warning}")),
        (
            Outcome::Stored
            | Outcome::Repeated
            | Outcome::NothingNew
            | Outcome::Ignored
            | Outcome::Refused(_),
            _,
        ) => None,
    }
}
