//! The work of an import: reading, mapping, publishing, and what comes of each resource.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::ProgressBar;
use jiff::{Timestamp, Unit};
use serde::Deserialize;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tsunagi_domain::PatientId;
use tsunagi_gateway::fhir::door::{Elements, Kept, Remark};
use tsunagi_gateway::fhir::map::{Mapper, set_patient};
use tsunagi_gateway::fhir::resource::{
    self, AnyResource, CareTeam, Encounter, Location, Organization, Patient, Practitioner,
    PractitionerRole,
};
use tsunagi_gateway::fhir::{Directory, Ids, Item, NotMapped, Origin};
use tsunagi_proto::v1;

use super::again::older;
use super::odd::{is_type, is_used};
use super::reading::read_files;
use super::report::{Outcome, Report};
use super::session::{Session, request};

/// What a reading of the files takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Patients,
    Encounters,
    CareTeams,
}

impl Stage {
    pub(super) const ALL: [Self; 3] = [Self::Patients, Self::Encounters, Self::CareTeams];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Patients => "patients",
            Self::Encounters => "encounters",
            Self::CareTeams => "care teams",
        }
    }
}

/// Items read ahead of those that are worked on.
const READ_AHEAD: usize = 64;
/// Requests under way at once.
const UNDER_WAY_MAX: usize = 256;
/// Bytes of a quarantined part.
pub(super) const PART_BYTES: usize = 512 << 10;

pub(super) struct Work {
    pub(super) channel: Channel,
    pub(super) ids: Ids,
    /// Whether the user named the sending system, and so vouches for ids of earlier imports.
    pub(super) source_is_named: bool,
    pub(super) directory: Directory,
    /// Bytes of what is kept of one resource.
    pub(super) kept_bytes: usize,
    /// The time of this import, for what has no time of its own.
    pub(super) now: String,
    /// The patients that these files have, by the key of their resource.
    pub(super) patients: HashMap<String, PatientId>,
    /// The ids of patients who were not known before this import.
    pub(super) newcomers: HashSet<String>,
    /// When the version of an encounter was written that these files had last, by its key: of
    /// those that say so.
    pub(super) written: HashMap<String, Timestamp>,
    /// Patients of earlier imports, looked up once.
    pub(super) earlier: HashMap<String, Option<PatientId>>,
    /// The files that have something for a stage.
    pub(super) wanted: BTreeMap<Stage, HashSet<PathBuf>>,
    /// The files that could not be read, or not to their end.
    pub(super) not_read: HashSet<PathBuf>,
    pub(super) under_way: HashMap<u64, UnderWay>,
    pub(super) resources: HashMap<u64, Resource>,
    pub(super) next_number: u64,
    pub(super) report: Report,
}

/// A request that was sent and not answered.
pub(super) struct UnderWay {
    pub(super) resource: u64,
    /// Whether what it says has the time of this import.
    pub(super) is_timed_now: bool,
    /// The events of a stay, should some of them be known already.
    pub(super) stay: Vec<v1::Event>,
    /// Whether some of the stay may have been imported before.
    pub(super) may_go_on: bool,
    /// The events without what is kept of their resource, if that was sent with them.
    pub(super) alone: Vec<v1::Event>,
    /// Whether it is what is kept of a resource that was taken.
    pub(super) keeps: bool,
}

/// A resource some of whose requests are under way.
pub(super) struct Resource {
    pub(super) origin: Origin,
    pub(super) name: String,
    pub(super) left: usize,
    pub(super) stored: u64,
    pub(super) refused: Option<Outcome>,
    /// Set for patients: what they are, should they be known already.
    pub(super) patient: Option<Box<Patient>>,
    /// Set for visits that have ended: their end, should they be known as going on.
    pub(super) ending: Option<v1::Event>,
    /// What is kept of it when it is taken, and of which patient.
    pub(super) kept: Option<(Kept, PatientId)>,
    /// What is told of it when it is taken.
    pub(super) remarks: Vec<Remark>,
}

impl Work {
    pub(super) fn new(channel: Channel, ids: Ids, source_is_named: bool, report: Report) -> Self {
        let now = Timestamp::now().round(Unit::Second).unwrap_or_else(|_| Timestamp::now());
        Self {
            channel,
            ids,
            source_is_named,
            directory: Directory::default(),
            kept_bytes: 0,
            now: now.to_string(),
            patients: HashMap::new(),
            newcomers: HashSet::new(),
            written: HashMap::new(),
            earlier: HashMap::new(),
            wanted: BTreeMap::new(),
            not_read: HashSet::new(),
            under_way: HashMap::new(),
            resources: HashMap::new(),
            next_number: 0,
            report,
        }
    }

    pub(super) fn is_wanted(&self, file: &Path, stage: Stage) -> bool {
        let has = |files: &HashSet<PathBuf>| files.contains(file);
        stage == Stage::Patients || self.wanted.get(&stage).is_some_and(has)
    }

    pub(super) fn finish(mut self) -> anyhow::Result<Report> {
        self.report.finish()?;
        Ok(self.report)
    }

    /// Reads files and takes in what they have for a stage. Ends when all answers are in.
    pub(super) async fn read(
        &mut self,
        stage: Stage,
        files: Vec<PathBuf>,
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        let mut session = Session::open(self.channel.clone()).await?;
        let requests = session.requests();
        let (items, mut queue) = mpsc::channel(READ_AHEAD);
        let bar = progress.clone();
        let reading = tokio::task::spawn_blocking(move || read_files(files, &items, &bar));
        while let Some(item) = queue.recv().await {
            let item = match item {
                Ok(item) => item,
                Err(not_read) => {
                    self.note_not_read(not_read)?;
                    continue;
                }
            };
            // A stay is added to when the answer says that it was known; what is next may build
            // on its end.
            while self.under_way.values().any(|sent| sent.may_go_on) {
                self.answered(&mut session).await?;
            }
            for (tag, events) in self.take(stage, item, &mut session).await? {
                while self.under_way.len() >= UNDER_WAY_MAX {
                    self.answered(&mut session).await?;
                }
                requests.send(request(tag, events)).await.context("the session ended")?;
            }
        }
        reading.await?;
        self.settle(&mut session).await
    }

    /// Waits until all that was sent is answered.
    pub(super) async fn settle(&mut self, session: &mut Session) -> anyhow::Result<()> {
        while !self.under_way.is_empty() {
            self.answered(session).await?;
        }
        Ok(())
    }

    /// What an item has for a stage, to be sent.
    async fn take(
        &mut self,
        stage: Stage,
        item: Item,
        session: &mut Session,
    ) -> anyhow::Result<Vec<Tagged>> {
        let (origin, json, full_url) = match item {
            Item::Resource { origin, json, full_url } => (origin, json, full_url),
            Item::Unreadable { origin, raw, reason } if stage == Stage::Patients => {
                self.quarantine(&origin, &raw, &reason, "resource").await?;
                return Ok(Vec::new());
            }
            // The first reading kept it.
            Item::Unreadable { .. } => return Ok(Vec::new()),
        };
        let any = serde_json::from_str::<AnyResource>(&json).ok();
        let Some(any) = any.filter(|any| is_type(&any.resource_type)) else {
            if stage == Stage::Patients {
                let reason = "no resource: it has no `resourceType` that is the name of one";
                self.quarantine(&origin, json.as_bytes(), reason, "resource").await?;
            }
            return Ok(Vec::new());
        };
        let id = if any.id.is_empty() { id_in(&full_url) } else { any.id };
        if !id.is_empty() && !resource::is_id(&id) && is_used(&any.resource_type) {
            self.refuse_id(stage, &origin, &any.resource_type, &id)?;
            return Ok(Vec::new());
        }
        let name = format!("{}/{id}", any.resource_type);
        if stage == Stage::Patients {
            self.directory.add_alias(&full_url, &any.resource_type, &id);
        }
        let found = Found { origin: &origin, id, json: &json };
        let taken = match (any.resource_type.as_str(), stage) {
            ("Patient", Stage::Patients) => self.take_patient(found),
            ("Encounter", Stage::Encounters) => self.take_encounter(found, session).await,
            ("CareTeam", Stage::CareTeams) => self.take_care_team(found).await,
            (_, Stage::Patients) => self.gather(&any.resource_type, found),
            (_, Stage::Encounters | Stage::CareTeams) => Ok(Vec::new()),
        };
        match taken {
            Ok(events) => Ok(events),
            Err(NotTaken::Unreadable(reason)) => {
                self.quarantine(&origin, json.as_bytes(), &reason, &name).await?;
                Ok(Vec::new())
            }
            Err(NotTaken::Failed(error)) => Err(error),
        }
    }

    fn take_patient(&mut self, found: Found<'_>) -> Taken {
        let sent = elements(found.json, "Patient")?;
        let patient = Patient { id: found.id, ..parse(found.json)? };
        let name = format!("Patient/{}", patient.id);
        let kept = sent
            .check_modifiers("Patient")
            .and_then(|()| self.mapper().kept_of_patient(&patient, &sent, self.kept_bytes));
        let mapped = kept.and_then(|kept| Ok((self.mapper().patient(&patient)?, kept)));
        let Some((mut mapped, kept)) = self.mapped(found.origin, &name, mapped)? else {
            return Ok(Vec::new());
        };
        let patient_id = self.ids.patient(&mapped.patient_key);
        self.patients.insert(mapped.patient_key.clone(), patient_id);
        set_patient(&mut mapped.events, patient_id);
        Ok(self.enter(found.origin, name, (mapped, kept), Some(Box::new(patient))))
    }

    async fn take_encounter(&mut self, found: Found<'_>, session: &mut Session) -> Taken {
        let sent = elements(found.json, "Encounter")?;
        let mut encounter = Encounter { id: found.id, ..parse(found.json)? };
        encounter.look_within(&mut self.directory, &self.now);
        let name = format!("Encounter/{}", encounter.id);
        let kept = sent
            .check_modifiers("Encounter")
            .and_then(|()| self.mapper().kept_of_encounter(&encounter, &sent, self.kept_bytes));
        let Some(kept) = self.mapped(found.origin, &name, kept)? else { return Ok(Vec::new()) };
        if self.is_older(&encounter, session).await? {
            self.report.note_with((found.origin, &name), &Outcome::Repeated, &[older()])?;
            return Ok(Vec::new());
        }
        if encounter.is_withdrawn() {
            // What these files said of it before may still be under way.
            self.settle(session).await?;
            if let Some(outcome) = self.withdraw(&encounter).await? {
                self.report.note_with((found.origin, &name), &outcome, &kept.remarks())?;
                return Ok(Vec::new());
            }
        }
        let mut mapped = self.mapper().encounter(&encounter);
        if let Ok(mapped) = &mut mapped
            && let Some(outcome) = self.say_again(&encounter, mapped, session).await?
        {
            self.report.note_with((found.origin, &name), &outcome, &kept.remarks())?;
            return Ok(Vec::new());
        }
        Ok(self.about_patient(found.origin, name, mapped, kept).await?)
    }

    async fn take_care_team(&mut self, found: Found<'_>) -> Taken {
        let mut team = CareTeam { id: found.id, ..parse(found.json)? };
        team.look_within(&mut self.directory, &self.now);
        let name = format!("CareTeam/{}", team.id);
        let sent = elements(found.json, "CareTeam")?;
        let mapped = sent.check_modifiers("CareTeam");
        let mapped = mapped.and_then(|()| self.mapper().care_team(&team));
        let kept = Kept::nothing_of("CareTeam", &sent);
        Ok(self.about_patient(found.origin, name, mapped, kept).await?)
    }

    /// Gathers what other resources refer to, and notes which files are read again.
    fn gather(&mut self, resource_type: &str, found: Found<'_>) -> Taken {
        let Found { origin, id, json } = found;
        match resource_type {
            "Organization" => {
                self.directory.add_organization(Organization { id, ..parse(json)? });
            }
            "Location" => self.directory.add_location(Location { id, ..parse(json)? }),
            "Practitioner" => {
                let practitioner = Practitioner { id, ..parse(json)? };
                self.directory.add_practitioner(&practitioner, &self.now);
            }
            "PractitionerRole" => self.directory.add_role(PractitionerRole { id, ..parse(json)? }),
            "Encounter" => self.want(Stage::Encounters, origin),
            "CareTeam" => self.want(Stage::CareTeams, origin),
            other => self.report.note_not_used(origin, other),
        }
        Ok(Vec::new())
    }

    fn want(&mut self, stage: Stage, origin: &Origin) {
        self.wanted.entry(stage).or_default().insert(origin.file.clone());
    }

    pub(super) fn mapper(&self) -> Mapper<'_> {
        Mapper { ids: &self.ids, directory: &self.directory, now: &self.now }
    }
}

/// A resource as it was read. Its id is its own, or the one that its Bundle gives it.
struct Found<'a> {
    origin: &'a Origin,
    id: String,
    json: &'a str,
}

/// The tag of a request, and the events of it, of which all or none are taken.
pub(super) type Tagged = (u64, Vec<v1::Event>);

type Taken = Result<Vec<Tagged>, NotTaken>;

enum NotTaken {
    /// It is JSON, and not what its type says.
    Unreadable(String),
    /// The import cannot go on.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for NotTaken {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, NotTaken> {
    serde_json::from_str(json).map_err(|error| unreadable(&error))
}

fn elements(json: &str, kind: &str) -> Result<Elements, NotTaken> {
    let elements = Elements::read(json).map_err(|error| unreadable(&error))?;
    let of_types = elements.check_types(kind);
    of_types.map_err(|NotMapped { message, .. }| NotTaken::Unreadable(message))?;
    Ok(elements)
}

/// Without what serde quotes: it may be a patient's.
fn unreadable(error: &serde_json::Error) -> NotTaken {
    NotTaken::Unreadable(format!("not the elements of its type, at column {}", error.column()))
}

/// The id that a Bundle's URL gives to a resource that has none itself.
fn id_in(full_url: &str) -> String {
    full_url.rsplit([':', '/']).next().unwrap_or_default().to_owned()
}
