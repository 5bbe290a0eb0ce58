//! Stories: what people at the desks do, in their order; and the same told in other orders, twice,
//! and late, as it reaches a server whose lines were down.

use std::future::Future;
use std::pin::Pin;

use tonic::transport::Channel;
use tonic::{Request, Status};
use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;
use tsunagi_proto::v1::care_team_client::CareTeamClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::home_care_client::HomeCareClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use crate::support::{Server, folder, id, liaison, reason, sentences};

/// Somebody at a desk: an organisation, a role, a person.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str);

pub(crate) const LIAISON: Who = Who("acute", "liaison-nurse", "ln-1");
pub(crate) const REHAB: Who = Who("rehab", "liaison-nurse", "ln-2");
pub(crate) const NURSE: Who = Who("nurses", "visiting-nurse", "n-1");
pub(crate) const CARE_MANAGER: Who = Who("cm-office", "care-manager", "cm-1");
pub(crate) const LINK_WORKER: Who = Who("link", "link-worker", "lw-1");
pub(crate) const DOCTOR: Who = Who("clinic", "home-doctor", "d-1");

pub(crate) type Sent = Pin<Box<dyn Future<Output = Result<v1::Receipt, Status>> + Send>>;

/// One thing that somebody does. It can be done again, which adds nothing.
pub(crate) struct Deed {
    patient: String,
    pub(crate) rpc: &'static str,
    pub(crate) send: Box<dyn Fn(&Channel) -> Sent>,
}

/// What happens, in its order. Between parts, somebody decides: what comes after a merge is not
/// known to whoever tells of what was before.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) parts: Vec<Vec<Deed>>,
    number: u128,
}

/// What everybody sees in the end.
#[derive(Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) sentences: Vec<String>,
    pub(crate) patient: v1::PatientSummary,
    pub(crate) liaison: v1::ReadLiaisonBoardResponse,
    pub(crate) team: v1::ReadTeamBoardResponse,
    pub(crate) caseload: v1::ReadCaseloadBoardResponse,
}

/// Adds a deed to a story: who does it, when, by which rpc of which desk, and what is said.
macro_rules! deed {
    ($story:ident, $who:expr, $at:expr, $desk:ident.$rpc:ident($request:ident { $event:expr })) => {{
        let (who, context) = ($who, $story.context($at));
        let event_id = context.event_id.clone();
        let patient = context.patient_id.clone();
        let request = v1::$request { context: Some(context), event: Some($event) };
        $story.add(patient, stringify!($rpc), move |channel| {
            let mut desk = $crate::stories::$desk(channel);
            let request = $crate::stories::signed(who, request.clone());
            Box::pin(async move { desk.$rpc(request).await.map(tonic::Response::into_inner) })
        });
        event_id
    }};
}
pub(crate) use deed;

pub(crate) fn desk(channel: &Channel) -> DischargeDeskClient<Channel> {
    DischargeDeskClient::new(channel.clone())
}

pub(crate) fn home(channel: &Channel) -> HomeCareClient<Channel> {
    HomeCareClient::new(channel.clone())
}

pub(crate) fn link(channel: &Channel) -> LinkWorkerClient<Channel> {
    LinkWorkerClient::new(channel.clone())
}

pub(crate) fn team(channel: &Channel) -> CareTeamClient<Channel> {
    CareTeamClient::new(channel.clone())
}

pub(crate) fn signed<T>(Who(organisation, role, person): Who, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("tsunagi-organisation", organisation.parse().unwrap());
    metadata.insert("tsunagi-role", role.parse().unwrap());
    metadata.insert("tsunagi-person", person.parse().unwrap());
    request
}

#[expect(clippy::unnecessary_wraps, reason = "as fields take it")]
pub(crate) fn organisation(id: &str) -> Option<v1::Organisation> {
    Some(v1::Organisation { id: id.to_owned(), name: String::new() })
}

pub(crate) fn person(Who(office, role, person): Who) -> v1::Participant {
    v1::Participant {
        organisation: organisation(office),
        role: role.to_owned(),
        person: person.to_owned(),
        ..v1::Participant::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as fields take it")]
pub(crate) fn code(code: &str) -> Option<v1::Code> {
    Some(v1::Code { code: code.to_owned(), ..v1::Code::default() })
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { parts: vec![Vec::new()], number: 0 }
    }

    /// What comes now, follows from what was before.
    pub(crate) fn then(&mut self) {
        self.parts.push(Vec::new());
    }

    /// The context of the next deed, about the first patient.
    pub(crate) fn context(&mut self, at: &str) -> v1::CommandContext {
        self.number += 1;
        let (patient_id, at) = match at.split_once('@') {
            Some((patient, at)) => (id(patient.parse().unwrap()), at),
            None => (id(1), at),
        };
        let (at, on_behalf_of) = at.split_once(" for ").unwrap_or((at, ""));
        v1::CommandContext {
            event_id: id(0x1_0000 + self.number),
            patient_id,
            occurred_at: format!("2026-{at}:00+09:00"),
            on_behalf_of: on_behalf_of.to_owned(),
            ..v1::CommandContext::default()
        }
    }

    pub(crate) fn add(
        &mut self,
        patient: String,
        rpc: &'static str,
        send: impl Fn(&Channel) -> Sent + 'static,
    ) {
        self.parts.last_mut().unwrap().push(Deed { patient, rpc, send: Box::new(send) });
    }
}

impl Deed {
    /// Whether it reaches the server when everything else is over: what was told of the first
    /// patient, but that there is such a patient, and what somebody decided on both records.
    fn comes_last(&self) -> bool {
        let is_awaited = ["register_patient", "merge_patients", "unmerge_patients"];
        self.patient == id(1) && !is_awaited.contains(&self.rpc)
    }
}

/// Tells a story in its order; in reverse, as by lines that were down; shuffled; with what can wait
/// after all else, also after records were merged and taken apart; and everything twice, at once
/// and in the end. Each time, everybody sees the same in the end, and that is given back.
pub(crate) async fn told_in_all_ways(story: &Story, today: &str) -> End {
    let mut ends = Vec::new();
    for way in ["in order", "late", "shuffled 1", "shuffled 2", "days late"] {
        let data = folder();
        let server = Server::start(data.path());
        let channel = server.channel().await;
        let mut last = Vec::new();
        for part in &story.parts {
            let mut order: Vec<&Deed> = part.iter().collect();
            match way {
                "in order" => {}
                "late" => order.reverse(),
                "days late" => last.extend(order.extract_if(.., |deed| deed.comes_last())),
                _ => shuffle(&mut order, way),
            }
            tell(&channel, order, way).await;
        }
        last.reverse();
        tell(&channel, last, way).await;
        for deed in story.parts.iter().flatten() {
            let again = (deed.send)(&channel).await.unwrap();
            assert!(again.repeated, "{way}: {}", deed.rpc);
        }
        ends.push((way, end(&channel, today).await));
    }
    let (_, first) = ends.remove(0);
    for (way, end) in ends {
        assert_eq!(end.sentences, first.sentences, "{way}");
        assert_eq!(end, first, "{way}");
    }
    first
}

/// Sends everything twice. What is refused because something comes first is sent again later, as
/// a sender does whose messages overtook each other.
async fn tell(channel: &Channel, mut left: Vec<&Deed>, way: &str) {
    while !left.is_empty() {
        let before = left.len();
        let mut refused = Vec::new();
        for deed in left {
            match (deed.send)(channel).await {
                Ok(receipt) => {
                    assert!(!receipt.repeated, "{way}: {}", deed.rpc);
                    let again = (deed.send)(channel).await.unwrap();
                    assert_eq!(again, v1::Receipt { repeated: true, ..receipt }, "{}", deed.rpc);
                }
                Err(status) => refused.push((deed, status)),
            }
        }
        if way == "in order" {
            assert!(refused.is_empty(), "{} {:?}", refused[0].0.rpc, refused[0].1);
        }
        let reasons = || refused.iter().map(|(deed, status)| (deed.rpc, reason(status)));
        assert!(refused.len() < before, "{way}: never taken: {:?}", reasons().collect::<Vec<_>>());
        left = refused.into_iter().map(|(deed, _)| deed).collect();
    }
}

/// The same order for the same seed, another for another.
fn shuffle(deeds: &mut [&Deed], seed: &str) {
    let mut order: Vec<(u64, usize)> = (0..deeds.len())
        .map(|place| {
            let mixed =
                uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{seed}{place}").as_bytes());
            (mixed.as_u64_pair().0, place)
        })
        .collect();
    order.sort_unstable();
    let shuffled: Vec<&Deed> = order.iter().map(|(_, place)| deeds[*place]).collect();
    deeds.copy_from_slice(&shuffled);
}

/// What is seen of the first patient and on the boards, without what differs from telling to
/// telling: cursors and times of recording.
async fn end(channel: &Channel, today: &str) -> End {
    let mut reader = TimelineClient::new(channel.clone());
    let request = v1::ReadTimelineRequest { patient_id: id(1), ..Default::default() };
    let page = reader.read_timeline(liaison(request)).await.unwrap().into_inner();
    let mut boards = BoardsClient::new(channel.clone());
    let on_day = || today.to_owned();
    let request = v1::ReadLiaisonBoardRequest { on_day: on_day(), ..Default::default() };
    let liaison = boards.read_liaison_board(signed(LIAISON, request)).await.unwrap().into_inner();
    let request = v1::ReadTeamBoardRequest::default();
    let team = boards.read_team_board(signed(CARE_MANAGER, request)).await.unwrap().into_inner();
    let request = v1::ReadCaseloadBoardRequest { on_day: on_day(), ..Default::default() };
    let caseload =
        boards.read_caseload_board(signed(LINK_WORKER, request)).await.unwrap().into_inner();
    End {
        sentences: sentences(channel, &id(1)).await,
        patient: page.patient.unwrap(),
        liaison: v1::ReadLiaisonBoardResponse { cursor: String::new(), ..liaison },
        team: v1::ReadTeamBoardResponse { cursor: String::new(), ..team },
        caseload: v1::ReadCaseloadBoardResponse { cursor: String::new(), ..caseload },
    }
}
