//! What somebody who opens a patient's timeline has to know first: who is on the team, what was
//! asked and not answered, what holds. Made of the entries as they are corrected, in the order in
//! which things happened.

use std::collections::{BTreeMap, BTreeSet};

use tsunagi_domain::encounter::{Encounter, Stage};
use tsunagi_domain::{CaseId, EncounterId, case, referral, transfer_request};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;
use uuid::Uuid;

use super::readmission::Stays;
use super::wishes::replaced;
use super::{Standing, Timeline, sort};

/// Whether a glance looks at such an event, besides those of encounters.
pub(super) fn looks_at(payload: &Payload) -> bool {
    payload.step().is_some()
        || payload.ruled().is_some()
        || Stays::look_at(payload)
        || matches!(
            payload,
            Payload::TeamMemberJoined(_)
                | Payload::TeamMemberLeft(_)
                | Payload::PrimaryCareManagerDeclared(_)
                | Payload::SelfcheckContactRequested(_)
        )
}

/// Adds to the summary what stands now.
pub(super) fn add(timeline: &Timeline, summary: &mut v1::PatientSummary) {
    let mut glance = Glance { timeline, ..Glance::new(timeline) };
    let mut entries: Vec<Standing<'_>> =
        timeline.standing().filter(|standing| standing.error.is_none()).collect();
    sort(&mut entries);
    // What is known by its day may stand before what began at an hour of that day.
    for standing in &entries {
        glance.begin(standing);
    }
    for standing in &entries {
        glance.see(standing);
    }
    summary.team = glance.team();
    summary.stays = glance.stays();
    summary.planned_stays = glance.planned_stays();
    summary.transfer_requests = glance.transfer_requests();
    summary.referrals = glance.referrals();
    summary.questions = glance.questions();
    summary.alerts = glance.alerts();
    summary.cases = glance.cases();
    summary.wishes = glance.wishes();
    summary.wish = summary.wishes.first().cloned();
    summary.orders = glance.orders();
    summary.care_level = glance.care_level;
    summary.contacts_asked = glance.contacts_asked;
}

struct Glance<'a> {
    timeline: &'a Timeline,
    team: Vec<Member>,
    ready: BTreeMap<Uuid, String>,
    asked: BTreeMap<Uuid, Asked>,
    questions: BTreeMap<Uuid, v1::OpenQuestion>,
    alerts: BTreeMap<Uuid, v1::OpenAlert>,
    cases: BTreeMap<Uuid, v1::OpenCase>,
    wishes: Vec<v1::StandingWish>,
    /// By which wish others were replaced, as the newer one says.
    newer_of: BTreeMap<Uuid, Uuid>,
    /// By which wish others were replaced, as the end of the older one says.
    ended_by: BTreeMap<Uuid, Uuid>,
    orders: BTreeMap<Uuid, v1::StandingOrder>,
    care_level: Option<v1::CareLevel>,
    /// When that was decided, such as 2026-05-08.
    decided_on: String,
    contacts_asked: Vec<v1::AskedContact>,
    stays: Stays,
}

struct Member {
    shown: v1::TeamMember,
    /// All of what they joined for, of which each may end.
    joined: Vec<Joined>,
}

/// For how long somebody joined a team.
#[derive(Clone, Copy, PartialEq)]
enum Joined {
    UntilTheyLeave,
    Stay(EncounterId),
    Case(CaseId),
}

/// When a transfer request or referral was sent, and by when it is to be answered.
#[derive(Default, Clone)]
struct Asked {
    at: String,
    answer_by_on: String,
}

impl<'a> Glance<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        Self {
            timeline,
            team: Vec::new(),
            ready: BTreeMap::new(),
            asked: BTreeMap::new(),
            questions: BTreeMap::new(),
            alerts: BTreeMap::new(),
            cases: BTreeMap::new(),
            wishes: Vec::new(),
            newer_of: BTreeMap::new(),
            ended_by: BTreeMap::new(),
            orders: BTreeMap::new(),
            care_level: None,
            decided_on: String::new(),
            contacts_asked: Vec::new(),
            stays: Stays::default(),
        }
    }

    fn see(&mut self, standing: &Standing<'_>) {
        let at = || standing.occurred_at.to_owned();
        self.see_team(standing);
        self.see_contact(standing);
        if !self.timeline.cancelled_by.contains_key(&standing.entry.id) {
            self.stays.see(standing);
        }
        if let Payload::DischargeReadyDeclared(m) = &*standing.payload {
            self.ready.insert(key(&m.encounter_id), m.ready_on.clone());
        } else if let Payload::TransferRequested(m) = &*standing.payload {
            let asked = Asked { at: at(), ..Asked::default() };
            self.asked.insert(key(&m.transfer_request_id), asked);
        } else if let Payload::ReferralRequested(m) = &*standing.payload {
            let asked = Asked { at: at(), answer_by_on: m.answer_by_on.clone() };
            self.asked.insert(key(&m.referral_id), asked);
        } else if let Payload::CertificationDecided(m) = &*standing.payload {
            self.see_decided(m, standing.occurred_at);
        } else if let Payload::OrderAmended(m) = &*standing.payload {
            self.see_order(m);
        } else if let Payload::AcpPreferenceRecorded(m) = &*standing.payload {
            if !m.supersedes_preference_id.is_empty() {
                self.newer_of.insert(key(&m.supersedes_preference_id), key(&m.preference_id));
            }
            self.wishes.push(v1::StandingWish {
                preference_id: m.preference_id.clone(),
                scope: m.scope.clone(),
                preference: m.preference.clone(),
                said_at: at(),
                author: m.author.clone(),
                earlier_count: 0,
            });
        } else if let Payload::AcpPreferenceSuperseded(m) = &*standing.payload {
            if !m.superseded_by_preference_id.is_empty() {
                let by = key(&m.superseded_by_preference_id);
                self.ended_by.insert(key(&m.preference_id), by);
            }
        } else {
            self.see_asked(&standing.payload, &at());
        }
    }

    fn see_order(&mut self, order: &v1::NursingOrder) {
        let standing = v1::StandingOrder {
            order_id: order.order_id.clone(),
            kind: order.kind.clone(),
            valid_to_on: order.valid_to_on.clone(),
            valid_from_on: order.valid_from_on.clone(),
        };
        self.orders.insert(key(&order.order_id), standing);
    }

    /// The level that was decided last holds, also where an older decision is told later.
    fn see_decided(&mut self, decided: &v1::CertificationDecided, at: &str) {
        let decided_on = Some(decided.decided_on.as_str()).filter(|day| !day.is_empty());
        let decided_on = decided_on.unwrap_or_else(|| at.get(..10).unwrap_or(at));
        if self.decided_on.as_str() <= decided_on {
            decided_on.clone_into(&mut self.decided_on);
            self.care_level = Some(v1::CareLevel {
                level: decided.level.clone(),
                valid_from_on: decided.valid_from_on.clone(),
                valid_to_on: decided.valid_to_on.clone(),
            });
        }
    }

    /// Who asked to be called waits until somebody talked with them.
    fn see_contact(&mut self, standing: &Standing<'_>) {
        if let Payload::SelfcheckContactRequested(m) = &*standing.payload {
            self.contacts_asked.push(v1::AskedContact {
                event_id: standing.entry.id.to_string(),
                asked_at: standing.occurred_at.to_owned(),
                receiver: m.receiver.clone().or_else(|| teller(standing)),
            });
        } else if matches!(*standing.payload, Payload::ContactHeld(_) | Payload::CaseOpened(_)) {
            self.contacts_asked.clear();
        }
    }

    fn see_team(&mut self, standing: &Standing<'_>) {
        let (payload, at) = (&*standing.payload, standing.occurred_at);
        if let Payload::TeamMemberJoined(m) = payload {
            let stay = EncounterId::parse(&m.encounter_id);
            let joined = stay.map_or(Joined::UntilTheyLeave, Joined::Stay);
            for member in &m.members {
                self.join(member, at, joined);
            }
        } else if let Payload::TeamMemberLeft(m) = payload {
            for member in &m.members {
                self.team.retain(|of| !is_same(of.shown.member.as_ref(), member));
            }
        } else if let Payload::PrimaryCareManagerDeclared(m) = payload
            && let Some(care_manager) = &m.care_manager
        {
            let from_on = &m.valid_from_on;
            if !is_ahead(from_on, at) {
                self.team.iter_mut().for_each(|of| of.shown.is_care_manager = false);
            }
            self.join(care_manager, at, Joined::UntilTheyLeave);
            if let Some(last) = self.team.last_mut() {
                last.shown.is_care_manager = true;
                last.shown.care_manager_from_on.clone_from(from_on);
            }
        } else if let Payload::CaseOpened(m) = payload
            && let Some(link_worker) = link_worker(m, standing)
        {
            let case = CaseId::parse(&m.case_id);
            self.join(&link_worker, at, case.map_or(Joined::UntilTheyLeave, Joined::Case));
        }
    }

    /// Who joins again is on the team since then, last of all.
    fn join(&mut self, member: &v1::Participant, at: &str, joined: Joined) {
        let before = self.team.iter().position(|of| is_same(of.shown.member.as_ref(), member));
        let mut of = before.map_or_else(
            || Member {
                shown: v1::TeamMember { since_at: at.to_owned(), ..v1::TeamMember::default() },
                joined: Vec::new(),
            },
            |place| self.team.remove(place),
        );
        let named = of.shown.member.take().filter(|_| member.name.is_empty());
        let name = named.map_or_else(|| member.name.clone(), |before| before.name);
        of.shown.member = Some(v1::Participant { name, ..member.clone() });
        if !of.joined.contains(&joined) {
            of.joined.push(joined);
        }
        self.team.push(of);
    }

    /// What later steps tell more of.
    fn begin(&mut self, standing: &Standing<'_>) {
        let at = standing.occurred_at;
        if let Payload::OrderIssued(m) | Payload::SpecialOrderIssued(m) = &*standing.payload {
            self.see_order(m);
        } else if let Payload::QuestionAsked(m) = &*standing.payload {
            let question = v1::OpenQuestion {
                question_id: m.question_id.clone(),
                owner_role: m.owner_role.clone(),
                owner: None,
                asked_at: at.to_owned(),
                answer_by_on: m.answer_by_on.clone(),
            };
            self.questions.insert(key(&m.question_id), question);
        } else if let Payload::AlertRaised(m) = &*standing.payload {
            let alert = v1::OpenAlert {
                alert_id: m.alert_id.clone(),
                severity: m.severity,
                owner_role: m.owner_role.clone(),
                next_action: m.next_action.clone(),
                raised_at: at.to_owned(),
                is_acknowledged: false,
            };
            self.alerts.insert(key(&m.alert_id), alert);
        } else if let Payload::CaseOpened(m) = &*standing.payload {
            let case = v1::OpenCase {
                case_id: m.case_id.clone(),
                link_worker: link_worker(m, standing),
                opened_at: at.to_owned(),
                ..v1::OpenCase::default()
            };
            self.cases.insert(key(&m.case_id), case);
        }
    }

    fn see_asked(&mut self, payload: &Payload, at: &str) {
        if let Payload::QuestionAssigned(m) = payload {
            if let Some(question) = self.questions.get_mut(&key(&m.question_id)) {
                question.owner.clone_from(&m.owner);
            }
        } else if let Payload::ContactHeld(m) = payload {
            if let Some(case) = self.cases.get_mut(&key(&m.case_id)) {
                at.clone_into(&mut case.last_contact_at);
                case.next_contact_on.clone_from(&m.next_contact_on);
            }
        } else if let Payload::ContactAttempted(m) = payload
            && let Some(case) = self.cases.get_mut(&key(&m.case_id))
        {
            case.next_contact_on.clone_from(&m.next_contact_on);
        }
    }

    /// Where the steps of something stand.
    fn state(&self, of: &'static str, id: &str) -> &'static str {
        self.timeline.record().course(of, key(id)).map_or("none", |course| course.state())
    }

    /// Those who belong to stays that are over and to cases that are closed alone, have left.
    fn team(&mut self) -> Vec<v1::TeamMember> {
        let record = self.timeline.record();
        let is_closed = |id| {
            let case = record.cases().find(|(of, _)| *of == id);
            case.is_some_and(|(_, case)| case.state() != case::State::Open)
        };
        let has_ended = |of: &Joined| match *of {
            Joined::UntilTheyLeave => false,
            Joined::Stay(id) => record.encounter_in_force(id).is_some_and(is_over),
            Joined::Case(id) => is_closed(id),
        };
        self.team.retain(|of| !of.joined.iter().all(has_ended));
        self.team.drain(..).map(|of| of.shown).collect()
    }

    fn stays(&self) -> Vec<v1::OpenStay> {
        let record = self.timeline.record();
        let open = record.encounters().filter(|(_, encounter)| {
            matches!(encounter.stage(), Stage::InHospital | Stage::OnLeave | Stage::Visiting)
        });
        let shown = open.map(|(id, encounter)| {
            let planned = encounter.planned_discharge();
            let encounter_id = id.to_string();
            v1::OpenStay {
                place: encounter.place().map(Into::into),
                since_at: super::summary::stay_since(self.timeline, encounter),
                is_on_leave: encounter.stage() == Stage::OnLeave,
                planned_discharge_at: planned
                    .map(|(event, _)| super::summary::planned_at(self.timeline, event))
                    .unwrap_or_default(),
                ready_on: self.ready.get(&id.uuid()).cloned().unwrap_or_default(),
                is_stay: encounter.is_inpatient(),
                readmission: self.stays.readmission(id, record, &self.timeline.zone),
                encounter_id,
            }
        });
        shown.collect()
    }

    fn planned_stays(&self) -> Vec<v1::PlannedStay> {
        let record = self.timeline.record();
        let planned = record.encounters().filter_map(|(id, encounter)| {
            let (event, _) = encounter.planned_admission()?;
            Some(v1::PlannedStay {
                encounter_id: id.to_string(),
                place: encounter.place().map(Into::into),
                planned_at: super::summary::planned_at(self.timeline, event),
            })
        });
        planned.collect()
    }

    fn organisation(&self, id: &str) -> v1::Organisation {
        let name = self.timeline.names.organisation(id);
        let name = if name == id { "" } else { name };
        v1::Organisation { id: id.to_owned(), name: name.to_owned() }
    }

    fn transfer_requests(&self) -> Vec<v1::OpenRequest> {
        use transfer_request::State;
        let record = self.timeline.record();
        let shown = record.transfer_requests().filter_map(|(id, request)| {
            let (requester, facility, _) = request.parties()?;
            let stay = request.encounter().and_then(|stay| record.encounter_in_force(stay));
            if stay.is_none_or(is_over) {
                return None;
            }
            let (ja, en) = match request.state() {
                State::Requested => ("返事待ち", "waiting for an answer"),
                State::Offered => ("受入可", "offered"),
                State::Accepted => ("転院先決定", "accepted"),
                State::Declined | State::Withdrawn => return None,
            };
            let asked = self.asked.get(&id.uuid()).cloned().unwrap_or_default();
            Some(v1::OpenRequest {
                request_id: id.to_string(),
                requester: Some(self.organisation(requester.as_str())),
                receiver: Some(self.organisation(facility.as_str())),
                state: Some(v1::Words { ja: ja.to_owned(), en: en.to_owned() }),
                asked_at: asked.at,
                answer_by_on: asked.answer_by_on,
                is_waiting: matches!(request.state(), State::Requested | State::Offered),
                is_offered: request.state() == State::Offered,
            })
        });
        shown.collect()
    }

    fn referrals(&self) -> Vec<v1::OpenRequest> {
        use referral::State;
        let shown = self.timeline.record().referrals().filter_map(|(id, referral)| {
            let (requester, receiver, _) = referral.parties()?;
            let (ja, en) = match referral.state() {
                State::Requested => ("返事待ち", "waiting for an answer"),
                State::Accepted => ("受入", "accepted"),
                State::InProgress => ("対応中", "in progress"),
                State::OnHold => ("保留", "on hold"),
                State::Rejected
                | State::Failed
                | State::Completed
                | State::Cancelled
                | State::EnteredInError => return None,
            };
            let asked = self.asked.get(&id.uuid()).cloned().unwrap_or_default();
            Some(v1::OpenRequest {
                request_id: id.to_string(),
                requester: Some(self.organisation(requester.as_str())),
                receiver: Some(self.organisation(receiver.as_str())),
                state: Some(v1::Words { ja: ja.to_owned(), en: en.to_owned() }),
                asked_at: asked.at,
                answer_by_on: asked.answer_by_on,
                is_waiting: referral.state() == State::Requested,
                is_offered: false,
            })
        });
        shown.collect()
    }

    fn questions(&mut self) -> Vec<v1::OpenQuestion> {
        let questions = std::mem::take(&mut self.questions);
        let is_open = |question: &v1::OpenQuestion| {
            matches!(self.state("question_id", &question.question_id), "open" | "assigned")
        };
        questions.into_values().filter(is_open).collect()
    }

    fn alerts(&mut self) -> Vec<v1::OpenAlert> {
        let alerts = std::mem::take(&mut self.alerts);
        let open = alerts.into_values().filter_map(|alert| {
            let state = self.state("alert_id", &alert.alert_id);
            let is_acknowledged = state == "acknowledged";
            let is_open = is_acknowledged || state == "raised";
            is_open.then_some(v1::OpenAlert { is_acknowledged, ..alert })
        });
        open.collect()
    }

    fn cases(&mut self) -> Vec<v1::OpenCase> {
        let cases = std::mem::take(&mut self.cases);
        let record = self.timeline.record();
        let open = record.cases().filter(|(_, case)| case.state() == case::State::Open);
        open.filter_map(|(id, _)| cases.get(&id.uuid()).cloned()).collect()
    }

    /// What was said holds, the newest first, until it is said to hold no more or something else
    /// is said in its place; and for as long as nobody knows yet what that is.
    fn wishes(&mut self) -> Vec<v1::StandingWish> {
        let wishes = std::mem::take(&mut self.wishes);
        let said: Vec<Uuid> = wishes.iter().map(|wish| key(&wish.preference_id)).collect();
        let replaced = replaced(&self.newer_of, &said);
        let known: BTreeSet<&Uuid> = said.iter().collect();
        let holds = |wish: &v1::StandingWish| {
            let id = key(&wish.preference_id);
            let is_in_force = match self.state("preference_id", &wish.preference_id) {
                "recorded" => true,
                _ => self.ended_by.get(&id).is_some_and(|by| !known.contains(by)),
            };
            is_in_force && !replaced.contains(&id)
        };
        let standing = wishes.into_iter().enumerate().rev().filter(|(_, wish)| holds(wish));
        let numbered = standing.map(|(earlier, wish)| v1::StandingWish {
            earlier_count: u32::try_from(earlier).unwrap_or(u32::MAX),
            ..wish
        });
        numbered.collect()
    }

    fn orders(&mut self) -> Vec<v1::StandingOrder> {
        let orders = std::mem::take(&mut self.orders);
        let holds = |order: &v1::StandingOrder| self.state("order_id", &order.order_id) == "issued";
        orders.into_values().filter(holds).collect()
    }
}

/// Says of a patient's team who is the care manager on a day, such as 2026-05-02, first of all:
/// whoever was declared last for that day, or else the care manager who joined last.
pub fn on_day(summary: &mut v1::PatientSummary, day: &str) {
    let has_begun =
        |of: &v1::TeamMember| of.is_care_manager && !is_ahead(&of.care_manager_from_on, day);
    let is_one = |of: &v1::TeamMember| {
        let member = of.member.as_ref();
        !of.is_care_manager && member.is_some_and(|member| member.role == "care-manager")
    };
    let team = &mut summary.team;
    let declared = team.iter().rposition(has_begun);
    let manager = declared.or_else(|| team.iter().rposition(is_one));
    for (place, member) in team.iter_mut().enumerate() {
        member.is_care_manager = Some(place) == manager;
    }
    team.sort_by_key(|of| !of.is_care_manager);
}

/// Whether a day, written as far as it is known, comes after a time.
fn is_ahead(day: &str, of: &str) -> bool {
    of.get(..day.len()).is_some_and(|of| of < day)
}

/// Whether a stay has ended, or never was: its admission was cancelled and none is planned.
fn is_over(stay: &Encounter) -> bool {
    match stay.stage() {
        Stage::Ended => true,
        Stage::Expected => stay.planned_admission().is_none(),
        Stage::Visiting | Stage::InHospital | Stage::OnLeave => false,
    }
}

/// An id as it is compared: who writes it in capital letters means the same.
fn key(id: &str) -> Uuid {
    Uuid::parse_str(id).unwrap_or_default()
}

/// Of no other organisation, a case's link worker is of the one that opened it.
fn link_worker(case: &v1::CaseOpened, standing: &Standing<'_>) -> Option<v1::Participant> {
    let named = case.link_worker.clone()?;
    let organisation = named.organisation.clone().or_else(|| teller(standing));
    Some(v1::Participant { organisation, ..named })
}

/// Whose word it is.
fn teller(standing: &Standing<'_>) -> Option<v1::Organisation> {
    let actor = standing.entry.event.as_ref()?.actor.as_ref()?;
    let is_own = actor.on_behalf_of.is_empty();
    let id = if is_own { &actor.organisation } else { &actor.on_behalf_of };
    Some(v1::Organisation { id: id.clone(), name: String::new() })
}

/// Whether both are the same person, as far as they are named: whoever has an id may be written in
/// several ways.
fn is_same(one: Option<&v1::Participant>, other: &v1::Participant) -> bool {
    let organisation = |of: &v1::Participant| of.organisation.as_ref().map(|of| of.id.clone());
    one.is_some_and(|one| {
        organisation(one) == organisation(other)
            && one.role == other.role
            && one.person == other.person
            && (!one.person.is_empty() || one.name == other.name)
    })
}
