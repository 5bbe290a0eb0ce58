//! One message from beginning to end: decoded, read, taken (`parts`) or refused, and kept where
//! somebody has to look at it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tsunagi_bus::{Handler, quarantine};
use tsunagi_chassis::Config;
use tsunagi_proto::v1;

use super::events::actor;
use super::group::Group;
use super::ids::MessageKey;
use super::patient;
use super::profile::{Profile, ProfileError, Profiles};
use super::refusal::{Kind, Refusal};
use super::trigger::{self, Act};
use super::visit::Visit;
use crate::hl7::charset::decode;
use crate::hl7::{Charset, Message};
use crate::known::KnownPatients;
use crate::text::cut;

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
    /// Its parts.
    pub(super) groups: &'a [Group<'a>],
    pub(super) profile: &'a Profile,
    pub(super) key: MessageKey,
    /// As it came.
    pub(super) raw: &'a [u8],
    pub(super) door: &'a str,
    pub(super) manner: Manner,
    /// The messages in whose place it comes.
    pub(super) replaced: &'a [MessageKey],
    pub(super) warning: &'a str,
    /// When it was written; empty if it does not say.
    pub(super) written_at: String,
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
                return self.unreadable(raw, door, MESSAGE, refusal).await;
            }
        };
        let Ok(message) = Message::parse(&decoded.text) else {
            let refusal = Refusal::unreadable("MSH-18", "the profile's character set does not fit");
            return self.unreadable(raw, door, MESSAGE, refusal).await;
        };
        let key = MessageKey::new(&message);
        let groups = Group::all(&message);
        let doubt = decoded.doubt();
        let remarks = profile.as_ref().map(|profile| self.remarks(&message, &groups, profile));
        let remarks = doubt.iter().cloned().chain(remarks.unwrap_or_default());
        let remark = remarks.collect::<Vec<_>>().join("; ");
        let mut outcome = match &profile {
            Ok(profile)
                if names.is_some_and(|names| {
                    !self.profiles.may_be_sent_by(names, &message, profile)
                }) =>
            {
                Outcome::Refused(Refusal::unproven())
            }
            Ok(profile) => {
                let incoming = Incoming {
                    message: &message,
                    groups: &groups,
                    profile,
                    key,
                    raw,
                    door,
                    manner,
                    replaced: &replaced,
                    warning: &remark,
                    written_at: self.written_at(&groups, profile),
                };
                self.take_read(&incoming).await
            }
            // What is not taken from anybody is not missing its sender's name.
            Err(_) if message.kind().0 != "ADT" => {
                Outcome::Refused(trigger::not_adt(&message.kind().0))
            }
            Err(refusal) => Outcome::Refused(refusal.clone()),
        };
        let origin = origin(door, profile.as_ref().ok());
        if let Some(reason) = kept_because(&outcome, doubt).filter(|_| manner != Manner::Replaced)
            && let Err(refusal) = self.keep_as(manner.media_type(), raw, &origin, &reason).await
        {
            outcome = Outcome::Refused(refusal);
        }
        Taken {
            outcome,
            remark,
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
        self.unreadable(beginning, door, PIECE, Refusal::too_large(limit)).await
    }

    /// Refuses a batch of too many messages, which is kept.
    pub async fn refuse_many(&self, batch: &[u8], limit: usize, door: &str) -> Taken {
        self.unreadable(batch, door, MESSAGE, Refusal::too_many(limit)).await
    }

    /// Refuses a message of which its sender sent no more than this, which is kept.
    pub async fn refuse_cut(&self, beginning: &[u8], door: &str) -> Taken {
        self.unreadable(beginning, door, PIECE, Refusal::unreadable("", CUT)).await
    }

    /// Refuses a message that its sender takes for ended, which is kept: all of it is there.
    pub async fn refuse_unended(&self, message: &[u8], door: &str) -> Taken {
        self.unreadable(message, door, MESSAGE, Refusal::unreadable("", UNENDED)).await
    }

    /// Keeps bytes that came outside every message.
    pub async fn keep_stray(&self, raw: &[u8], door: &str) -> Result<(), Refusal> {
        let reason =
            "bytes outside every MLLP frame: a message begins with 0x0B and ends with 0x1C 0x0D";
        self.keep(raw, &origin(door, None), reason).await
    }

    async fn unreadable(
        &self,
        raw: &[u8],
        door: &str,
        media_type: &str,
        refusal: Refusal,
    ) -> Taken {
        let decoded = decode(raw, None);
        // Its beginning may say whose it is.
        let message = Message::parse(&decoded.text).ok();
        let profile = message.and_then(|message| self.profiles.of(&message).ok());
        let origin = origin(door, profile.as_ref());
        let kept = self.keep_as(media_type, raw, &origin, &refusal.message).await;
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
        self.keep_as(MESSAGE, raw, origin, reason).await
    }

    async fn keep_as(
        &self,
        media_type: &str,
        raw: &[u8],
        origin: &str,
        reason: &str,
    ) -> Result<Vec<String>, Refusal> {
        let message = v1::MessageQuarantined {
            origin: cut(origin, 500),
            media_type: media_type.to_owned(),
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

    pub(super) fn visit<'v>(&'v self, incoming: &Incoming<'v>, group: &'v Group<'v>) -> Visit<'v> {
        let zone = &self.handler.bus().region().zone;
        Visit { group, profile: incoming.profile, zone, now: Timestamp::now() }
    }

    fn written_at(&self, groups: &[Group<'_>], profile: &Profile) -> String {
        let zone = &self.handler.bus().region().zone;
        let written = groups.first().and_then(|group| {
            let visit = Visit { group, profile, zone, now: Timestamp::now() };
            visit.written_at().ok()
        });
        written.map(|said| said.text).unwrap_or_default()
    }

    /// What is to be remarked about a message, whatever comes of it: the same for the same one.
    fn remarks(
        &self,
        message: &Message<'_>,
        groups: &[Group<'_>],
        profile: &Profile,
    ) -> Vec<String> {
        let zone = &self.handler.bus().region().zone;
        let mut remarks = Vec::new();
        for group in groups {
            let visit = Visit { group, profile, zone, now: Timestamp::now() };
            let act = trigger::act(&message.kind().1);
            if matches!(act, Ok(Act::Admit | Act::Register)) && visit.has_unknown_class() {
                remarks.push(UNKNOWN_CLASS.to_owned());
            }
            if patient::has_unknown_sex(group, profile) {
                remarks.push(UNKNOWN_SEX.to_owned());
            }
            if patient::contradicts_death(group) {
                remarks.push(DEATH_CONTRADICTED.to_owned());
            }
            let is_spoilt = |number: &usize| patient::is_spoilt(group.field("PID", *number));
            remarks.extend(left_out(group));
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
}

/// What is left out of the texts of a message: they are to be read, and not obeyed.
fn left_out(group: &Group<'_>) -> Option<String> {
    let is_left_out = |c: char| c.is_control() && c != '\t';
    let segments = ["PID", "PV1", "PV2", "MRG"].into_iter().map(|name| (name, group.segment(name)));
    let segments = segments.filter(|(_, segment)| segment.line().contains(is_left_out));
    let mut fields = segments.flat_map(|(name, segment)| {
        let spoilt = move |number: &usize| segment.field(*number).raw().contains(is_left_out);
        (1..=FIELDS_MAX).filter(spoilt).map(move |number| format!("{name}-{number}"))
    });
    let first = fields.next()?;
    Some(format!("{first} holds control characters, which are left out"))
}

impl Manner {
    /// What is kept of a message is one only if it means the same when it is sent again: of what is
    /// taken back nobody would see that it is.
    fn media_type(self) -> &'static str {
        match self {
            Self::AsSaid | Self::Replaced => MESSAGE,
            Self::Withdrawn => PIECE,
        }
    }
}

/// What is kept: a message, which can be sent again as it is; or a piece of one, which cannot, since
/// nobody would see that it says only half.
const MESSAGE: &str = "application/hl7-v2";
const PIECE: &str = "application/octet-stream";

/// Of so many fields of a segment is told what they hold that is left out.
const FIELDS_MAX: usize = 60;

const CUT: &str = "the message was cut off before its end: another one began, or the connection ended; what came of it is kept, and its sender has to send it again";

const UNENDED: &str = "the frame does not end with 0x1C 0x0D, as MLLP has it: have the sender end its frames so; what came is kept";

const UNKNOWN_CLASS: &str = "PV1-2 is no class of visit that is known here (`classes` in the facility's profile): taken for what the event says";

const UNKNOWN_SEX: &str =
    "PID-8 is no sex that is known here (`sexes` in the facility's profile): it says nothing of it";

const DEATH_CONTRADICTED: &str =
    "PID-29 says when the patient died, and PID-30 that the patient did not: taken for dead";

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

/// By which door bytes came that are kept, and from whom, if they say so.
fn origin(door: &str, profile: Option<&Profile>) -> String {
    let facility = profile.map(|profile| profile.facility.id.as_str());
    format!("{door}: {}", facility.unwrap_or("unknown sender"))
}

/// Why the bytes of a message are kept, if they are.
fn kept_because(outcome: &Outcome, doubt: Option<String>) -> Option<String> {
    match (outcome, doubt) {
        (Outcome::Refused(refusal), _) if refusal.is_kept && refusal.kind != Kind::Unavailable => {
            let Refusal { field, reason, message, .. } = refusal;
            Some(format!("{reason} {field}: {message}"))
        }
        (Outcome::Stored, Some(doubt)) => Some(format!("taken, with a doubt: {doubt}")),
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
