//! The parts of a message, one for each patient: whose each is, and that what it says is decided and
//! durable, or refused.

use tsunagi_bus::Submission;
use tsunagi_bus::handler::SubmitError;
use tsunagi_domain::identity::{self, Identifier};
use tsunagi_domain::{PatientId, Refusal as Refused};
use tsunagi_proto::v1;

use super::acts::Told;
use super::encounter::Situation;
use super::events::events;
use super::group::Group;
use super::ids;
use super::intake::{Incoming, Intake, Manner, Outcome};
use super::moved;
use super::news::{Numbers, person};
use super::one_person::{self, Sides, United};
use super::patient;
use super::profile::Profile;
use super::refusal::Refusal;
use super::rules;
use super::trigger::{self, Act};
use super::visit::Said;
use crate::known::Known;

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

impl Intake {
    /// Takes all that a message says of its patients.
    pub(super) async fn take_groups(&self, incoming: &Incoming<'_>) -> Result<Outcome, Refusal> {
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
        let groups = groups(incoming, act)?;
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

/// Its parts, one for each patient; one alone where it says whose records are one person's.
fn groups<'a>(incoming: &Incoming<'a>, act: Act) -> Result<Vec<Group<'a>>, Refusal> {
    let groups = incoming.groups.to_vec();
    if act == Act::OtherPerson && groups.len() != 2 {
        return Err(Refusal::missing(
            "PID-3",
            "say in two segments PID which numbers are two people's",
        ));
    }
    let has_priors = groups.iter().any(|group| !group.segment("MRG").is_missing());
    if matches!(act, Act::SamePerson | Act::OtherPerson) && !has_priors {
        if act == Act::SamePerson {
            one_person::check_link(&groups, incoming.profile)?;
        }
        // A24 names the one person in two segments PID.
        let whole = groups.split_first().map(|(first, rest)| first.with(rest));
        return Ok(whole.into_iter().collect());
    }
    if groups.len() > 1 && !act.takes_several() {
        return Err(Refusal::wrong(
            "PID-3",
            "the message tells of several patients: send one message for each",
        ));
    }
    Ok(groups)
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
