//! Bundles taken: their resources mapped as an import maps them, and decided by the handler.

mod corrections;
mod encounters;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{Timestamp, Unit};
use prost::Message as _;
use tsunagi_bus::handler::SubmitError;
use tsunagi_bus::{Handler, Submission, address};
use tsunagi_domain::identity::Identifier;
use tsunagi_domain::{Actor, CareTime, EventId, PatientId, Zone};
use tsunagi_proto::demographics::Update;
use tsunagi_proto::v1;

use super::bundle::{Bundle, Entry, Mode, Said, by_identifier, no_header};
use super::emit::compound;
use super::fields;
use super::kept::{Kept, Remark};
use super::outcome::Problem;
use crate::fhir::directory::key;
use crate::fhir::map::{Mapper, set_patient};
use crate::fhir::resource::Patient;
use crate::fhir::{Directory, Ids};
use crate::known::{Known, KnownPatients};
use crate::person::{Before, is_somebody_else};
use crate::received::Received;
use crate::text::code;

/// What came of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    /// It says nothing that was not known.
    Known,
    /// Nor does this, and it does not hold any more.
    NotInForce,
    /// Nothing is made of it here.
    NotUsed(String),
    Refused(Problem),
}

/// A Bundle that was taken, entry by entry.
pub(super) struct Taken {
    pub(super) mode: Mode,
    /// What is told of each that was taken.
    pub(super) remarks: Vec<Vec<Remark>>,
    pub(super) outcomes: Vec<Outcome>,
    /// Where each can be read, if it can: `Patient/7`.
    pub(super) places: Vec<Option<String>>,
}

pub(super) struct Intake {
    pub(super) handler: Arc<Handler>,
    pub(super) known: KnownPatients,
    pub(super) attempts_max: u32,
    /// Whether the ids of organisations are the sender's own.
    pub(super) own_organisations: bool,
    /// Bytes of what is kept of one resource.
    pub(super) kept_bytes: usize,
}

/// Takes one Bundle, in the name of one sending system.
struct Work<'a> {
    intake: &'a Intake,
    mode: Mode,
    ids: Ids,
    directory: &'a Directory,
    now: String,
    /// The patients of the Bundle, by the key of their resource.
    patients: HashMap<String, PatientId>,
    /// Where what is said can be read, by the place of its entry.
    places: HashMap<usize, String>,
    /// Those of them who were not to be created if they exist, and do.
    existing: HashSet<String>,
}

impl Intake {
    /// Takes a Bundle that `caller` posts, as a message or not. Answers when it is durable (I2).
    pub(super) async fn take(
        &self,
        bytes: &[u8],
        caller: &Actor,
        is_message: bool,
    ) -> Result<Taken, Problem> {
        // What is told of two requests in one second keeps its order.
        let now = Timestamp::now().round(Unit::Microsecond).unwrap_or_else(|_| Timestamp::now());
        let now = now.to_string();
        let mut bundle = Bundle::read(bytes, &now)?;
        if self.own_organisations {
            bundle.directory.keep_apart(caller.organisation().as_str());
        }
        if (bundle.mode == Mode::Message) != is_message {
            let message = "a Bundle of type message is posted to $process-message, and no other is; one of type transaction or batch is posted to the base address";
            return Err(Problem::invalid("BUNDLE_TYPE", message));
        }
        if is_message && bundle.entries.is_empty() {
            return Err(no_header());
        }
        let ids = Ids::new(caller.organisation().as_str());
        self.keep(&mut bundle, &ids, &now)?;
        let mut work = Work {
            intake: self,
            mode: bundle.mode,
            ids,
            directory: &bundle.directory,
            now,
            patients: HashMap::new(),
            places: HashMap::new(),
            existing: HashSet::new(),
        };
        // Patients first, wherever they stand; then what is said of them.
        let mut order: Vec<usize> = (0..bundle.entries.len()).collect();
        order.sort_by_key(|at| bundle.entries.get(*at).map(|entry| rank(&entry.said)));
        let outcomes = if bundle.mode == Mode::Batch {
            work.each(&bundle.entries, &order).await
        } else {
            work.all_or_nothing(&bundle.entries, &order).await?
        };
        let mut places = work.places;
        let places = (0..bundle.entries.len()).map(|at| places.remove(&at)).collect();
        let remarks = bundle.entries.into_iter().map(|entry| entry.kept.remarks()).collect();
        Ok(Taken { mode: bundle.mode, remarks, outcomes, places })
    }

    /// Decides what is kept of each entry.
    fn keep(&self, bundle: &mut Bundle, ids: &Ids, now: &str) -> Result<(), Problem> {
        let Bundle { mode, entries, directory } = bundle;
        let mapper = Mapper { ids, directory, now };
        for (at, entry) in entries.iter_mut().enumerate() {
            let kept = match &entry.said {
                Said::Patient(patient) => {
                    mapper.kept_of_patient(patient, &entry.sent, self.kept_bytes)
                }
                Said::Encounter(encounter) => {
                    mapper.kept_of_encounter(encounter, &entry.sent, self.kept_bytes)
                }
                // What is given out is one team, of all that were told: theirs come back in none.
                Said::CareTeam(_) => Ok(Kept::nothing_of("CareTeam", &entry.sent)),
                Said::Referred | Said::NotUsed(_) | Said::Unreadable(_) => Ok(Kept::default()),
            };
            match kept.map_err(Problem::from) {
                Ok(kept) => entry.kept = kept,
                Err(problem) if *mode == Mode::Batch => entry.said = Said::Unreadable(problem),
                Err(problem) => return Err(problem.at(at)),
            }
        }
        Ok(())
    }
}

fn rank(said: &Said) -> u8 {
    match said {
        Said::Patient(_) => 0,
        Said::Encounter(_) => 1,
        Said::CareTeam(_) => 2,
        Said::Referred | Said::NotUsed(_) | Said::Unreadable(_) => 3,
    }
}

impl Work<'_> {
    fn mapper(&self) -> Mapper<'_> {
        Mapper { ids: &self.ids, directory: self.directory, now: &self.now }
    }

    /// A batch: each entry for itself.
    async fn each(&mut self, entries: &[Entry], order: &[usize]) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Known; entries.len()];
        for at in order {
            let Some(entry) = entries.get(*at) else { continue };
            let outcome = match self.patient_of(entry).await {
                Ok(Some(patient)) => self
                    .take(patient, &[(*at, entry)])
                    .await
                    .map(|mut all| all.pop().unwrap_or(Outcome::Known)),
                Ok(None) => Ok(idle(&entry.said)),
                Err(problem) => Err(problem),
            };
            if let Some(place) = outcomes.get_mut(*at) {
                *place = outcome.unwrap_or_else(|problem| Outcome::Refused(problem.at(*at)));
            }
        }
        outcomes
    }

    /// A transaction or message: one submission, and so about one patient.
    async fn all_or_nothing(
        &mut self,
        entries: &[Entry],
        order: &[usize],
    ) -> Result<Vec<Outcome>, Problem> {
        let mut outcomes: Vec<Outcome> = entries.iter().map(|entry| idle(&entry.said)).collect();
        let (mut about, mut patient) = (Vec::new(), None);
        for at in order {
            let Some(entry) = entries.get(*at) else { continue };
            let whose = self.patient_of(entry).await.map_err(|problem| problem.at(*at))?;
            let Some(whose) = whose else { continue };
            if patient.is_some_and(|patient| patient != whose) {
                let message = "all of it is taken or nothing, and so it is about one patient: send a batch, or a Bundle for each patient";
                return Err(Problem::rule("SEVERAL_PATIENTS", message).at(*at));
            }
            patient = Some(whose);
            about.push((*at, entry));
        }
        let Some(patient) = patient else { return Ok(outcomes) };
        let taken = self.take(patient, &about).await?;
        for ((at, _), outcome) in about.iter().zip(taken) {
            if let Some(place) = outcomes.get_mut(*at) {
                *place = outcome;
            }
        }
        Ok(outcomes)
    }

    /// The patient that a resource is about, if it is about one.
    async fn patient_of(&mut self, entry: &Entry) -> Result<Option<PatientId>, Problem> {
        let subject = match &entry.said {
            Said::Patient(patient) => {
                let patient_key = key("Patient", &patient.id);
                let existing = match &entry.unless {
                    Some(number) => self.intake.handler.claims().owner(number).await?,
                    None => None,
                };
                let owner = match existing {
                    Some(existing) => {
                        self.existing.insert(patient_key.clone());
                        existing
                    }
                    None => self.owner(patient).await?,
                };
                self.patients.insert(patient_key, owner);
                return Ok(Some(owner));
            }
            Said::Encounter(encounter) => &encounter.subject,
            Said::CareTeam(team) => &team.subject,
            Said::Referred | Said::NotUsed(_) | Said::Unreadable(_) => return Ok(None),
        };
        if let Some(identifier) = conditional(&subject.reference) {
            let owner = self.intake.handler.claims().owner(&identifier?).await?;
            let message = "its conditional reference leads to no patient here: send the Patient with it, or check the identifier";
            let unknown = || Problem::rule("SUBJECT_UNKNOWN", message);
            return owner.map(Some).ok_or_else(unknown);
        }
        let patient_key = self.directory.key_of(subject, "Patient");
        if let Some(patient) = self.patients.get(&patient_key) {
            return Ok(Some(*patient));
        }
        let id = patient_key.strip_prefix("Patient/").unwrap_or_default();
        // One that this system sent before, or one of ours.
        let own = Identifier { system: self.ids.identifier_system().into(), value: id.into() };
        let owner = self.intake.handler.claims().owner(&own).await?;
        let owner = match (owner, PatientId::parse(id)) {
            (Some(owner), _) => Some(owner),
            (None, Ok(ours)) => Some(self.intake.handler.claims().survivor(ours).await?),
            (None, Err(_)) => None,
        };
        owner.map(Some).ok_or_else(|| {
            let message = "the patient that it is about is neither in the Bundle nor known here: send the Patient with it";
            Problem::rule("SUBJECT_UNKNOWN", message)
        })
    }

    /// The patient to whom the resource's numbers belong, or who is to have them.
    async fn owner(&self, patient: &Patient) -> Result<PatientId, Problem> {
        let mut owners: Vec<PatientId> = Vec::new();
        for identifier in self.mapper().identifiers(patient) {
            let owner = self.intake.handler.claims().owner(&Identifier::from(&identifier)).await?;
            owners.extend(owner.filter(|owner| !owners.contains(owner)));
        }
        match owners.as_slice() {
            [] => Ok(self.ids.patient(&key("Patient", &patient.id))),
            [owner] => Ok(*owner),
            [one, other, ..] => Err(Problem::conflict(
                "IDENTIFIERS_OF_SEVERAL",
                &format!(
                    "its identifiers belong to patient {one} and to patient {other}: correct them"
                ),
            )),
        }
    }

    /// Takes what resources say about one patient, all or none, and begins again when others
    /// wrote about the patient meanwhile.
    async fn take(
        &mut self,
        patient: PatientId,
        about: &[(usize, &Entry)],
    ) -> Result<Vec<Outcome>, Problem> {
        let known = self.intake.known.get(patient);
        let mut known = known.lock().await;
        let bus = self.intake.handler.bus();
        let mut last = SubmitError::Contended;
        for _ in 0..self.intake.attempts_max {
            known.catch_up(bus.as_ref(), patient).await?;
            let (mut events, mut outcomes) = (Vec::new(), Vec::with_capacity(about.len()));
            for (at, entry) in about {
                if self.existing.contains(&entry.name) {
                    outcomes.push(Outcome::Known);
                    continue;
                }
                let mut new = self.events(&known, &entry.said).await.map_err(|p| p.at(*at))?;
                let zone = &self.intake.handler.bus().region().zone;
                let checked = fields::check(&entry.said, &new, patient, zone);
                checked.map_err(|wrong| Problem::from(wrong).at(*at))?;
                if !matches!(&entry.said, Said::Encounter(one) if self.is_older(&known, one)) {
                    let received = self.received(&known, &entry.kept, patient).await;
                    new.extend(received.map_err(|problem| problem.at(*at))?);
                }
                outcomes.push(match &entry.said {
                    _ if !new.is_empty() => Outcome::Stored,
                    Said::Encounter(encounter) if !self.holds(&known, encounter).await? => {
                        Outcome::NotInForce
                    }
                    Said::Patient(patient) if !self.is_person_in_force(&known, patient) => {
                        Outcome::NotInForce
                    }
                    Said::Patient(_)
                    | Said::Encounter(_)
                    | Said::CareTeam(_)
                    | Said::Referred
                    | Said::NotUsed(_)
                    | Said::Unreadable(_) => Outcome::Known,
                });
                events.extend(new);
            }
            if events.is_empty() {
                self.note_places(patient, about);
                return Ok(outcomes);
            }
            set_patient(&mut events, patient);
            for event in &mut events {
                "fhir".clone_into(&mut event.source.get_or_insert_default().door);
            }
            let submission = Submission { events, expected_version: Some(known.version()) };
            match self.intake.handler.submit(submission).await {
                Ok(_) => {
                    self.note_places(patient, about);
                    return Ok(outcomes);
                }
                Err(error @ (SubmitError::VersionConflict { .. } | SubmitError::Contended)) => {
                    last = error;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }

    /// Notes where what was taken can be read.
    fn note_places(&mut self, patient: PatientId, about: &[(usize, &Entry)]) {
        for (at, entry) in about {
            let place = match &entry.said {
                Said::Patient(_) => format!("Patient/{patient}"),
                Said::CareTeam(_) => format!("CareTeam/{patient}"),
                Said::Encounter(encounter) => {
                    let id = self.ids.encounter(&key("Encounter", &encounter.id));
                    format!("Encounter/{}", compound(patient, id.uuid()))
                }
                Said::Referred | Said::NotUsed(_) | Said::Unreadable(_) => continue,
            };
            self.places.insert(*at, place);
        }
    }

    /// What a resource says that is not stored yet.
    async fn events(&self, known: &Known, said: &Said) -> Result<Vec<v1::Event>, Problem> {
        match said {
            Said::Patient(resource) => self.of_patient(known, resource),
            Said::Encounter(encounter) => self.encounter_events(known, encounter).await,
            Said::CareTeam(team) => {
                let mapped = self.mapper().care_team(team)?;
                self.unstored(known, mapped.events).await
            }
            Said::Referred | Said::NotUsed(_) | Said::Unreadable(_) => Ok(Vec::new()),
        }
    }

    /// What is kept of a resource, if its sender has not said the same of it, or something newer.
    async fn received(
        &self,
        known: &Known,
        kept: &Kept,
        patient: PatientId,
    ) -> Result<Option<v1::Event>, Problem> {
        let system = code(self.ids.source());
        let before = known.received_from(patient, (&system, kept.sent_as()));
        let at = CareTime::parse(kept.occurred_at(), &Zone::utc()).ok();
        let is_news = match before {
            None => !kept.is_empty(),
            Some(before) => {
                before.content != kept.content()
                    && !kept.sent_as().is_empty()
                    && !at.is_some_and(|at| at.is_before(&before.at))
            }
        };
        if !is_news {
            return Ok(None);
        }
        let event = self.mapper().received(kept, patient, None);
        if self.is_stored(known, &event).await? {
            // Of a resource that does not say when it was written, or was written at that time,
            // nobody knows that it is more than what was sent before, come again.
            let is_newer = |before: &Received| at.is_some_and(|at| before.at.is_before(&at));
            if before.is_some_and(|before| kept.written().is_empty() || !is_newer(before)) {
                return Ok(None);
            }
            // It does not hold any more, or not for this patient: the same is said once more.
            let after = known.last_received_from(&system, kept.sent_as());
            return Ok(Some(self.mapper().received(kept, patient, after)));
        }
        Ok(Some(event))
    }

    fn of_patient(&self, known: &Known, patient: &Patient) -> Result<Vec<v1::Event>, Problem> {
        if !known.is_registered() {
            return Ok(self.mapper().patient(patient)?.events);
        }
        let identifiers = self.mapper().identifiers(patient);
        let said = self.mapper().demographics(patient);
        let has = |one: &v1::Identifier| known.record().patient().has_identifier(&one.into());
        // The first leads back to the resource: with it, the two were found to be one before.
        let is_linked = identifiers.first().is_some_and(has);
        if !is_linked && is_somebody_else(known.demographics(), &said) {
            let message = "one of its identifiers belongs to a patient of another birth date or sex: find out whose it is, and correct the resource or the patient";
            return Err(Problem::conflict("PATIENT_MISMATCH", message));
        }
        let mut events = Vec::new();
        if let Some(news) = self.person_news(known, patient) {
            events.push(self.mapper().patient_update(patient, news, known.version()));
        }
        let new = identifiers.into_iter().filter(|one| !has(one));
        events.extend(new.map(|one| self.mapper().identifier_linked(patient, one)));
        Ok(events)
    }

    /// What a resource says of who the patient is beyond what is known. Of a message that does not
    /// say when the resource was written, what was said before is no news: the message may have
    /// come again.
    fn person_news(&self, known: &Known, patient: &Patient) -> Option<Update> {
        self.hear(known, patient, |before, said| before.news(said))
    }

    /// Whether what a resource says of who the patient is, and is no news, holds. One that says when
    /// it was written is older: what it says then is what it means.
    fn is_person_in_force(&self, known: &Known, patient: &Patient) -> bool {
        self.hear(known, patient, |before, said| before.written.is_some() || before.holds(&said))
    }

    /// Hears what a resource says of who the patient is.
    fn hear<T>(
        &self,
        known: &Known,
        patient: &Patient,
        judge: impl FnOnce(Before<'_>, Update) -> T,
    ) -> T {
        let is_own = |actor: Option<&v1::Actor>, source: Option<&v1::Source>| {
            self.mapper().is_own(patient, actor, source)
        };
        let is_message = self.mode == Mode::Message;
        let (words, shown) = (known.words(is_own, !is_message), shown(known));
        // A day is the region's.
        let zone = &self.intake.handler.bus().region().zone;
        let written = CareTime::parse(&patient.meta.last_updated, zone).ok();
        let said = self.mapper().said(patient, &shown, &words);
        let before = Before {
            known: &shown,
            is_withheld: true,
            was_protected: known.was_address_protected(),
            words: &words,
            written,
            may_have_come: is_message && written.is_none(),
        };
        judge(before, said)
    }

    /// The events that are not stored. One that is stored with other content is a correction,
    /// which is said in another way.
    async fn unstored(
        &self,
        known: &Known,
        events: Vec<v1::Event>,
    ) -> Result<Vec<v1::Event>, Problem> {
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            let Some(before) = self.stored(known, &event).await? else {
                new.push(event);
                continue;
            };
            let is_same = before.payload == event.payload
                && (before.occurred_at == event.occurred_at || event.occurred_at == self.now);
            if !is_same {
                return Err(said_otherwise());
            }
        }
        Ok(new)
    }

    async fn is_stored(&self, known: &Known, event: &v1::Event) -> Result<bool, Problem> {
        Ok(self.stored(known, event).await?.is_some())
    }

    /// The event as it is stored, also if it was told of a record that was merged since.
    async fn stored(&self, known: &Known, event: &v1::Event) -> Result<Option<v1::Event>, Problem> {
        let Ok(id) = EventId::parse(&event.event_id) else { return Ok(None) };
        let stored = known.find(self.intake.handler.bus().as_ref(), id).await?;
        Ok(stored.and_then(|stored| v1::Event::decode(stored.record).ok()))
    }
}

/// Nobody knows which of the two holds.
fn said_otherwise() -> Problem {
    let message = "what it says was taken before with other content: send it with a meta.lastUpdated that is later than that of what was taken, and it is a correction; or send it as entered-in-error first, and then anew under another id";
    Problem::conflict("EVENT_ID_REUSED", message)
}

/// Who a patient is known to be, as far as may be shown.
fn shown(known: &Known) -> v1::Demographics {
    let mut shown = known.demographics().clone();
    if known.is_address_protected() {
        shown.address.get_or_insert_default().confidential = true;
    }
    if let Some(address) = shown.address.as_mut().filter(|address| address.confidential) {
        address::withhold(address);
    }
    shown
}

/// The identifier by which a conditional reference names a patient, if it is one.
fn conditional(reference: &str) -> Option<Result<Identifier, Problem>> {
    let query = reference.strip_prefix("Patient?")?;
    let message = "a conditional reference names its patient by one identifier with its system: Patient?identifier=system|value";
    Some(by_identifier(query).ok_or_else(|| Problem::invalid("REFERENCE_NOT_SUPPORTED", message)))
}

fn idle(said: &Said) -> Outcome {
    match said {
        Said::NotUsed(kind) => Outcome::NotUsed(kind.clone()),
        Said::Unreadable(problem) => Outcome::Refused(problem.clone()),
        Said::Patient(_) | Said::Encounter(_) | Said::CareTeam(_) | Said::Referred => {
            Outcome::Known
        }
    }
}
