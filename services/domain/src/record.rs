//! One patient's whole record: the state that commands about the patient are decided on.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::case::{self, Case};
use crate::encounter::{self, Encounter, Stage};
use crate::id::{CaseId, EncounterId, EventId, OrganisationId, ReferralId, TransferRequestId};
use crate::identity::{self, Patient};
use crate::referral::{self, Referral};
use crate::time::CareTime;
use crate::transfer_request::{self, TransferRequest};

/// How far ahead of the server's clock an event may claim to have happened: clocks differ.
pub const FUTURE_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// What every command and event says besides its content.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamp {
    pub event: EventId,
    pub occurred_at: CareTime,
    /// The organisation whose word it is.
    pub acting_for: OrganisationId,
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

/// A form or a note that nothing is decided on. The record only checks what it is about, and
/// that it ends after it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Document {
    pub encounter: Option<EncounterId>,
    pub case: Option<CaseId>,
    /// When what it tells of ended.
    pub ended_at: Option<CareTime>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    Identity(identity::Command),
    Encounter(EncounterId, encounter::Command),
    TransferRequest(TransferRequestId, transfer_request::Command),
    Referral(ReferralId, referral::Command),
    Case(CaseId, case::Command),
    Document(Document),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Identity(identity::Event),
    Encounter(EncounterId, encounter::Event),
    TransferRequest(TransferRequestId, transfer_request::Event),
    Referral(ReferralId, referral::Event),
    Case(CaseId, case::Event),
    Document(Document),
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

/// The state of one patient's record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    patient: Patient,
    encounters: BTreeMap<EncounterId, Encounter>,
    transfer_requests: BTreeMap<TransferRequestId, TransferRequest>,
    referrals: BTreeMap<ReferralId, Referral>,
    cases: BTreeMap<CaseId, Case>,
}

impl Record {
    /// The events that `command` causes at the moment `now`, or why it causes none.
    pub fn decide(&self, command: Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let Command { stamp, order } = command;
        if stamp.occurred_at.earliest() > now + FUTURE_TOLERANCE {
            return Err(Refusal::InFuture);
        }
        let registering = matches!(order, Order::Identity(identity::Command::Register(_)));
        if !registering && !self.patient.is_registered() {
            return Err(identity::Refusal::Unknown.into());
        }
        check_ends(&order, now)?;
        let fact = match order {
            Order::Identity(command) => Fact::Identity(self.patient.decide(&stamp, command)?),
            Order::Encounter(id, command) => {
                Fact::Encounter(id, self.decide_encounter(id, &stamp, command)?)
            }
            Order::TransferRequest(id, command) => {
                Fact::TransferRequest(id, self.decide_transfer_request(id, &stamp, command)?)
            }
            Order::Referral(id, command) => {
                Fact::Referral(id, self.decide_referral(id, &stamp, command)?)
            }
            Order::Case(id, command) => Fact::Case(id, self.decide_case(id, command)?),
            Order::Document(document) => Fact::Document(self.check_document(&stamp, document)?),
        };
        self.check_born(&stamp, &fact)?;
        Ok(vec![Event { stamp, fact }])
    }

    pub fn apply(&mut self, event: &Event) {
        let Event { stamp, fact } = event;
        match fact {
            Fact::Identity(event) => self.patient.apply(event),
            Fact::Encounter(id, event) => {
                self.encounters.entry(*id).or_default().apply(stamp, event);
            }
            Fact::TransferRequest(id, event) => {
                fold(&mut self.transfer_requests, *id, |request| {
                    transfer_request::apply(request, stamp, event);
                });
            }
            Fact::Referral(id, event) => {
                fold(&mut self.referrals, *id, |referral| referral::apply(referral, stamp, event));
            }
            Fact::Case(id, event) => fold(&mut self.cases, *id, |case| case::apply(case, event)),
            Fact::Document(_) => {}
        }
    }

    pub fn patient(&self) -> &Patient {
        &self.patient
    }

    pub fn encounter(&self, id: EncounterId) -> Option<&Encounter> {
        self.encounters.get(&id)
    }

    pub fn encounters(&self) -> impl Iterator<Item = (EncounterId, &Encounter)> {
        self.encounters.iter().map(|(id, encounter)| (*id, encounter))
    }

    pub fn transfer_request(&self, id: TransferRequestId) -> Option<&TransferRequest> {
        self.transfer_requests.get(&id)
    }

    /// The encounter with which the chain that leads to `encounter` begins. The first link of
    /// a chain may be an encounter that nothing else is known of.
    pub fn episode(&self, encounter: EncounterId) -> EncounterId {
        let mut first = encounter;
        // A chain cannot be longer than there are encounters, unless it were circular.
        for _ in 0..=self.encounters.len() {
            match self.encounters.get(&first).and_then(Encounter::preceding) {
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

    fn decide_encounter(
        &self,
        id: EncounterId,
        stamp: &Stamp,
        command: encounter::Command,
    ) -> Result<encounter::Event, Refusal> {
        if let Some(other) = self.stay_in_the_way(id, stamp, &command) {
            return Err(encounter::Refusal::InFacilityAlready(other).into());
        }
        if command.preceding().is_some_and(|preceding| self.leads_to(preceding, id)) {
            return Err(encounter::Refusal::CircularEpisode.into());
        }
        let unknown = Encounter::default();
        let encounter = self.encounters.get(&id).unwrap_or(&unknown);
        Ok(encounter.decide(stamp, command)?)
    }

    /// The stay in a facility where the patient would lie a second time. For an admission that
    /// is told late, only a stay counts that began before it and had not ended: what is told of
    /// the past may come in any order.
    fn stay_in_the_way(
        &self,
        id: EncounterId,
        stamp: &Stamp,
        command: &encounter::Command,
    ) -> Option<EncounterId> {
        let (place, admitted_at) = if let encounter::Command::Admit(admission) = command {
            (&admission.place, Some(stamp.occurred_at))
        } else if matches!(command, encounter::Command::CancelDischarge(_)) {
            (self.encounters.get(&id)?.place()?, None)
        } else {
            return None;
        };
        let in_the_way = |other: &Encounter| {
            let goes_on = other.is_inpatient()
                && other.began_at().is_some_and(|began| {
                    admitted_at.is_none_or(|admitted| !admitted.is_before(&began))
                });
            let went_on = admitted_at.is_some_and(|admitted| other.was_inpatient_at(&admitted));
            (goes_on || went_on)
                && other.place().is_some_and(|there| there.facility.id == place.facility.id)
        };
        self.encounters()
            .find_map(|(other, encounter)| (other != id && in_the_way(encounter)).then_some(other))
    }

    fn leads_to(&self, from: EncounterId, to: EncounterId) -> bool {
        let mut next = Some(from);
        for _ in 0..=self.encounters.len() {
            match next {
                Some(encounter) if encounter == to => return true,
                Some(encounter) => {
                    next = self.encounters.get(&encounter).and_then(Encounter::preceding);
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
        let request = self.transfer_requests.get(&id);
        if let (transfer_request::Command::Accept(()), Some(request)) = (&command, request) {
            let mut others = self.transfer_requests.iter().filter(|(other, _)| **other != id);
            if others
                .any(|(_, other)| other.is_accepted() && other.encounter() == request.encounter())
            {
                return Err(transfer_request::Refusal::AnotherAccepted.into());
            }
        }
        Ok(transfer_request::decide(request, stamp, command)?)
    }

    fn decide_referral(
        &self,
        id: ReferralId,
        stamp: &Stamp,
        command: referral::Command,
    ) -> Result<referral::Event, Refusal> {
        if let referral::Command::Request(referral::Asked { case: Some(case), .. }) = &command {
            self.cases.get(case).ok_or(Refusal::UnknownCase(*case))?;
        }
        Ok(referral::decide(self.referrals.get(&id), stamp, command)?)
    }

    fn decide_case(&self, id: CaseId, command: case::Command) -> Result<case::Event, Refusal> {
        if let case::Command::Open(Some(referral)) = &command {
            let referral =
                self.referrals.get(referral).ok_or(Refusal::UnknownReferral(*referral))?;
            if !referral.is_live() {
                return Err(case::Refusal::ReferralNotLive.into());
            }
        }
        Ok(case::decide(self.cases.get(&id).copied(), command)?)
    }

    /// Nothing happens to a patient before birth. What is said of the person checks itself, and
    /// a cancel tells of the record.
    fn check_born(&self, stamp: &Stamp, fact: &Fact) -> Result<(), Refusal> {
        let tells_of_the_patient = match fact {
            Fact::Identity(_) => false,
            Fact::Encounter(_, event) => event.cancelled().is_none(),
            Fact::TransferRequest(..) | Fact::Referral(..) | Fact::Case(..) | Fact::Document(_) => {
                true
            }
        };
        let birth = self.patient.birth_on();
        if tells_of_the_patient && birth.is_some_and(|birth| stamp.occurred_at.is_before(&birth)) {
            return Err(identity::Refusal::BornAfterEvent.into());
        }
        Ok(())
    }

    fn check_document(&self, stamp: &Stamp, document: Document) -> Result<Document, Refusal> {
        if document.ended_at.is_some_and(|end| end.is_before(&stamp.occurred_at)) {
            return Err(encounter::Refusal::EndsBeforeItBegins.into());
        }
        if let Some(encounter) = document.encounter {
            self.known_encounter(encounter)?;
        }
        match document.case {
            Some(case) if !self.cases.contains_key(&case) => Err(Refusal::UnknownCase(case)),
            Some(_) | None => Ok(document),
        }
    }

    fn known_encounter(&self, id: EncounterId) -> Result<&Encounter, Refusal> {
        self.encounters.get(&id).ok_or(Refusal::UnknownEncounter(id))
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
    Ok(())
}

/// Folds into an entry that may not be there before, or after.
fn fold<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, change: impl FnOnce(&mut Option<V>)) {
    let mut entry = map.remove(&key);
    change(&mut entry);
    if let Some(entry) = entry {
        map.insert(key, entry);
    }
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
            Self::Case(case::Refusal::AlreadyOpened) => "CASE_EXISTS",
            Self::Case(case::Refusal::Closed) => "CASE_CLOSED",
            Self::Case(case::Refusal::Open) => "CASE_OPEN",
            Self::Case(case::Refusal::ReferralNotLive) => "REFERRAL_NOT_LIVE",
        }
    }

    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::InFuture
            | Self::Identity(
                identity::Refusal::BornAfterEvent
                | identity::Refusal::DiesInFuture
                | identity::Refusal::DiedBeforeBirth,
            )
            | Self::Encounter(
                encounter::Refusal::CircularEpisode
                | encounter::Refusal::EndsBeforeItBegins
                | encounter::Refusal::EndsInFuture,
            )
            | Self::TransferRequest(transfer_request::Refusal::SameFacility) => {
                RefusalKind::Invalid
            }
            Self::UnknownEncounter(_)
            | Self::UnknownCase(_)
            | Self::UnknownReferral(_)
            | Self::Identity(identity::Refusal::Unknown)
            | Self::TransferRequest(transfer_request::Refusal::Unknown)
            | Self::Referral(referral::Refusal::Unknown)
            | Self::Case(case::Refusal::Unknown) => RefusalKind::NotFound,
            Self::Identity(
                identity::Refusal::AlreadyRegistered | identity::Refusal::AlreadyLinked,
            )
            | Self::TransferRequest(transfer_request::Refusal::AlreadyRequested)
            | Self::Referral(referral::Refusal::AlreadyRequested)
            | Self::Case(case::Refusal::AlreadyOpened) => RefusalKind::Exists,
            Self::TransferRequest(
                transfer_request::Refusal::NotTheFacilityAsked
                | transfer_request::Refusal::NotTheRequester,
            )
            | Self::Referral(
                referral::Refusal::NotTheReceiver | referral::Refusal::NotTheRequester,
            ) => RefusalKind::NotYours,
            Self::Encounter(_)
            | Self::TransferRequest(
                transfer_request::Refusal::WrongState(_)
                | transfer_request::Refusal::AnotherAccepted,
            )
            | Self::Referral(referral::Refusal::WrongState(_))
            | Self::Case(
                case::Refusal::Closed | case::Refusal::Open | case::Refusal::ReferralNotLive,
            ) => RefusalKind::State,
        }
    }
}

fn identity_reason(refusal: &identity::Refusal) -> &'static str {
    match refusal {
        identity::Refusal::Unknown => "PATIENT_UNKNOWN",
        identity::Refusal::AlreadyRegistered => "PATIENT_EXISTS",
        identity::Refusal::AlreadyLinked => "IDENTIFIER_LINKED",
        identity::Refusal::BornAfterEvent => "BORN_AFTER_EVENT",
        identity::Refusal::DiesInFuture => "DIES_IN_FUTURE",
        identity::Refusal::DiedBeforeBirth => "DIED_BEFORE_BIRTH",
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
        EncounterId::new(uuid::Uuid::from_u128(number))
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
        Order::TransferRequest(TransferRequestId::new(uuid::Uuid::from_u128(request)), command)
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
        let referral_id = ReferralId::new(uuid::Uuid::from_u128(1));
        let case_id = CaseId::new(uuid::Uuid::from_u128(2));
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
        let case = CaseId::new(uuid::Uuid::from_u128(5));
        let of_case = Order::Document(Document { case: Some(case), ..Document::default() });
        assert_eq!(record.when("2026-05-03", of_case), Err(Refusal::UnknownCase(case)));
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
        let case = CaseId::new(uuid::Uuid::from_u128(5));
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
            let id = TransferRequestId::new(uuid::Uuid::from_u128(8));
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
        let id = TransferRequestId::new(uuid::Uuid::from_u128(8));
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
}
