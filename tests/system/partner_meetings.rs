//! Meetings with partner institutions: a liaison office records them, and they are counted by the
//! year and by institution. They are about an organisation, and no patient.

use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tsunagi_bus::StreamId;
use tsunagi_domain::OrganisationId;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::discharge_desk_client::DischargeDeskClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::desks::register;
use crate::nats::on_nats;
use crate::nats_servers::NatsServer;
use crate::shards::Shards;
use crate::support::{Server, by, folder, id, liaison, reason};

pub(crate) fn with(partners: &[&str]) -> v1::PartnerMeetingHeld {
    let partner = |id: &&str| v1::Organisation { id: (*id).to_owned(), name: String::new() };
    v1::PartnerMeetingHeld {
        partners: partners.iter().map(partner).collect(),
        kind: v1::PartnerMeetingKind::Video.into(),
        subject: "退院支援の進め方".into(),
        ..v1::PartnerMeetingHeld::default()
    }
}

pub(crate) fn record(
    event: u128,
    at: &str,
    what: v1::PartnerMeetingHeld,
) -> v1::RecordPartnerMeetingRequest {
    let context = v1::OrganisationContext {
        event_id: id(event),
        occurred_at: at.to_owned(),
        ..v1::OrganisationContext::default()
    };
    v1::RecordPartnerMeetingRequest { context: Some(context), event: Some(what) }
}

fn in_error(event: u128, meeting: u128) -> v1::MarkPartnerMeetingEnteredInErrorRequest {
    let context = v1::OrganisationContext {
        event_id: id(event),
        occurred_at: "2026-07-01".into(),
        ..v1::OrganisationContext::default()
    };
    let marked = v1::PartnerMeetingEnteredInError {
        corrects_event_id: id(meeting).to_uppercase(),
        reason: "別の会合".into(),
    };
    v1::MarkPartnerMeetingEnteredInErrorRequest { context: Some(context), event: Some(marked) }
}

fn of_year(from: &str) -> v1::ListPartnerMeetingsRequest {
    v1::ListPartnerMeetingsRequest { year_from_on: from.to_owned(), ..Default::default() }
}

struct Desk {
    discharge: DischargeDeskClient<Channel>,
    directory: DirectoryClient<Channel>,
}

impl Desk {
    fn new(channel: &Channel) -> Self {
        let discharge = DischargeDeskClient::new(channel.clone());
        Self { discharge, directory: DirectoryClient::new(channel.clone()) }
    }

    async fn record(
        &mut self,
        request: Request<v1::RecordPartnerMeetingRequest>,
    ) -> Result<v1::Receipt, Status> {
        let taken = self.discharge.record_partner_meeting(request).await;
        taken.map(tonic::Response::into_inner)
    }

    async fn held(&mut self, event: u128, at: &str, partners: &[&str]) -> v1::Receipt {
        self.record(liaison(record(event, at, with(partners)))).await.unwrap()
    }

    async fn list(&mut self, asked: v1::ListPartnerMeetingsRequest) -> Listed {
        let listed = self.directory.list_partner_meetings(liaison(asked)).await.unwrap();
        listed.into_inner().into()
    }

    /// The meetings of all pages, one a page.
    async fn pages(&mut self, from: &str) -> Vec<String> {
        let mut asked = v1::ListPartnerMeetingsRequest { page_size: 1, ..of_year(from) };
        let mut events = Vec::new();
        loop {
            let page = self.list(asked.clone()).await;
            assert_eq!(page.events.len(), 1);
            events.extend(page.events);
            if page.next.is_empty() {
                return events;
            }
            asked.page_token = page.next;
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Listed {
    events: Vec<String>,
    /// Meetings, institutions, and institutions that were met regularly.
    counts: [u32; 3],
    next: String,
}

impl From<v1::ListPartnerMeetingsResponse> for Listed {
    fn from(listed: v1::ListPartnerMeetingsResponse) -> Self {
        Self {
            counts: [listed.meeting_count, listed.partner_count, listed.regular_partner_count],
            events: listed.meetings.into_iter().map(|meeting| meeting.event_id).collect(),
            next: listed.next_page_token,
        }
    }
}

#[tokio::test]
async fn meetings_are_counted_by_fiscal_year_and_institution_and_survive_a_restart() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    desk.held(1, "2026-03-31T18:00:00+09:00", &["rehab", "kyotaku"]).await;
    // Told late, and by the clock of the region on the first day of the year.
    desk.held(4, "2026-06-30", &["rehab", "station"]).await;
    desk.held(2, "2026-03-31T15:00:00Z", &["rehab", "kyotaku", "rehab"]).await;
    let receipt = desk.held(3, "2026-05-11T10:00:00+09:00", &["rehab"]).await;
    assert_eq!((receipt.organisation_id.as_str(), receipt.patient_id.as_str()), ("acute", ""));
    assert_eq!((receipt.version, receipt.repeated), (4, false));
    let of_2026 =
        Listed { events: vec![id(2), id(3), id(4)], counts: [3, 3, 1], next: String::new() };
    assert_eq!(desk.list(of_year("2026-04-01")).await, of_2026);
    assert_eq!(desk.list(of_year("2026-04")).await, of_2026);
    assert_eq!(desk.pages("2026-04-01").await, of_2026.events);
    assert_eq!(desk.list(of_year("2025-04-01")).await.counts, [1, 2, 0]);
    assert_eq!(desk.list(of_year("2026")).await.counts, [4, 3, 1], "a calendar year");
    assert_eq!(desk.list(of_year("2027-04-01")).await.counts, [0, 0, 0]);
    let once = v1::ListPartnerMeetingsRequest { regular_from: 1, ..of_year("2026-04-01") };
    assert_eq!(desk.list(once).await.counts, [3, 3, 3]);
    let then = desk.list(v1::ListPartnerMeetingsRequest {
        as_known_at: receipt
            .recorded_at
            .map(|at| prost_types::Timestamp { seconds: at.seconds - 3600, ..at }),
        ..of_year("2026-04-01")
    });
    assert_eq!(then.await.counts, [0, 0, 0], "nobody knew");
    let listed = desk.directory.list_partner_meetings(liaison(of_year("2026-04"))).await.unwrap();
    let first = listed.into_inner().meetings.remove(0);
    assert_eq!(first.meeting, Some(with(&["rehab", "kyotaku", "rehab"])));
    assert_eq!(first.held_at, "2026-03-31T15:00:00Z");
    assert_eq!(first.by.unwrap().organisation, "acute");
    server.kill();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    assert_eq!(desk.list(of_year("2026-04-01")).await, of_2026);
    let again = desk.held(3, "2026-05-11T10:00:00+09:00", &["rehab"]).await;
    assert_eq!(again, v1::Receipt { repeated: true, ..receipt });
    // Another organisation has none, and may read these.
    let of_rehab = |named: &str| {
        let organisation_id = named.to_owned();
        let asked = v1::ListPartnerMeetingsRequest { organisation_id, ..of_year("2026-04-01") };
        by("rehab", "liaison-nurse", asked)
    };
    for (named, meetings) in [("", 0), ("acute", 3)] {
        let listed = desk.directory.list_partner_meetings(of_rehab(named)).await.unwrap();
        assert_eq!(listed.into_inner().meeting_count, meetings);
    }
}

#[tokio::test]
async fn a_meeting_that_was_none_is_taken_back_once() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    desk.held(1, "2026-05-01", &["rehab"]).await;
    desk.held(2, "2026-05-02", &["rehab"]).await;
    let unknown = in_error(3, 9);
    let mark = |request| liaison::<v1::MarkPartnerMeetingEnteredInErrorRequest>(request);
    let refused = desk.discharge.mark_partner_meeting_entered_in_error(mark(unknown)).await;
    assert_eq!(reason(&refused.unwrap_err()), "MEETING_UNKNOWN");
    let marked = desk.discharge.mark_partner_meeting_entered_in_error(mark(in_error(3, 1))).await;
    let marked = marked.unwrap().into_inner();
    assert_eq!(desk.list(of_year("2026-04-01")).await.events, [id(2)]);
    let again = desk.discharge.mark_partner_meeting_entered_in_error(mark(in_error(3, 1))).await;
    assert_eq!(again.unwrap().into_inner(), v1::Receipt { repeated: true, ..marked });
    let refused = desk.discharge.mark_partner_meeting_entered_in_error(mark(in_error(4, 1))).await;
    assert_eq!(reason(&refused.unwrap_err()), "ALREADY_IN_ERROR");
    // It stays taken back when it is sent again.
    assert!(desk.held(1, "2026-05-01", &["rehab"]).await.repeated);
    assert_eq!(desk.list(of_year("2026-04-01")).await.events, [id(2)]);
}

#[tokio::test]
async fn a_meeting_that_cannot_be_is_refused() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    let unnamed = v1::PartnerMeetingHeld {
        partners: vec![v1::Organisation { id: String::new(), name: "ある事業所".into() }],
        ..with(&[])
    };
    let many: Vec<String> = (0..101).map(|number| format!("partner-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let unsaid = v1::PartnerMeetingHeld { kind: 0, ..with(&["rehab"]) };
    let wrong = [
        (with(&[]), "event.partners"),
        (with(&many), "event.partners"),
        (unnamed, "event.partners[0].id"),
        (with(&["rehab", "acute"]), "event.partners[1].id"),
        (unsaid, "event.kind"),
    ];
    for (meeting, field) in wrong {
        let refused = desk.record(liaison(record(1, "2026-05-01", meeting))).await.unwrap_err();
        assert_eq!(reason(&refused), "FIELDS_INVALID");
        assert!(refused.message().contains(field), "{field}: {}", refused.message());
    }
    let ahead = record(1, "2999-05-01", with(&["rehab"]));
    let refused = desk.record(liaison(ahead)).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID", "no such year");
    let ahead = record(1, "2199-05-01", with(&["rehab"]));
    let refused = desk.record(liaison(ahead)).await.unwrap_err();
    assert_eq!(reason(&refused), "OCCURRED_AT_IN_FUTURE");
    let no_year = desk.directory.list_partner_meetings(liaison(of_year(""))).await.unwrap_err();
    assert_eq!(reason(&no_year), "FIELDS_INVALID");
    let page_token = "1".to_owned();
    let asked = v1::ListPartnerMeetingsRequest { page_token, ..of_year("2026-04") };
    let refused = desk.directory.list_partner_meetings(liaison(asked)).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_MALFORMED");
    assert_eq!(desk.list(of_year("2026-04-01")).await.counts, [0, 0, 0], "nothing was taken");
    // Whoever enters it for the hospital names it.
    let mut proxy = record(1, "2026-05-01", with(&["rehab"]));
    proxy.context.as_mut().unwrap().on_behalf_of = "acute".into();
    let receipt = desk.record(by("city", "clerk", proxy)).await.unwrap();
    assert_eq!(receipt.organisation_id, "acute");
    assert_eq!(desk.list(of_year("2026-04-01")).await.counts, [1, 1, 0]);
}

#[tokio::test]
async fn other_systems_publish_an_organisations_own_meetings_and_follow_them() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut bus = CareBusClient::new(channel.clone());
    let event = v1::Event {
        event_id: id(1),
        r#type: "care.organisation.partner_meeting_held.v1".into(),
        organisation_id: "acute".into(),
        occurred_at: "2026-05-01".into(),
        payload: with(&["rehab"]).encode_to_vec(),
        ..v1::Event::default()
    };
    let published = |event: &v1::Event| {
        liaison(v1::PublishRequest { events: vec![event.clone()], expected_version: None })
    };
    let receipt = bus.publish(published(&event)).await.unwrap().into_inner().receipts.remove(0);
    assert_eq!((receipt.organisation_id.as_str(), receipt.version), ("acute", 1));
    let second = v1::Event { event_id: id(2), ..event.clone() };
    let of_another = v1::Event { organisation_id: "clinic".into(), ..second.clone() };
    let refused = bus.publish(published(&of_another)).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_THE_ORGANISATION");
    let both = v1::PublishRequest {
        events: vec![second.clone(), v1::Event { event_id: id(3), ..of_another }],
        expected_version: None,
    };
    let refused = bus.publish(liaison(both)).await.unwrap_err();
    assert_eq!(reason(&refused), "SEVERAL_PATIENTS");
    let of_nobody = v1::Event { organisation_id: String::new(), ..second.clone() };
    let of_patient = v1::Event { patient_id: id(1), ..of_nobody.clone() };
    let of_both = v1::Event { patient_id: id(1), ..second.clone() };
    let of_resource = v1::Event { resource_id: id(0xa), ..of_nobody.clone() };
    let other_type = "care.resource.withdrawn.v1".into();
    let no_meeting = v1::Event { r#type: other_type, payload: Vec::new(), ..second };
    let wrong = [
        (of_nobody, "`patient_id`"),
        (of_patient, "`type`"),
        (of_both, "`patient_id`"),
        (of_resource, "`resource_id`"),
        (no_meeting, "`organisation_id`"),
    ];
    for (wrong, field) in wrong {
        let refused = bus.publish(published(&wrong)).await.unwrap_err();
        assert_eq!(reason(&refused), "FIELDS_INVALID");
        assert!(refused.message().contains(field), "{field}: {}", refused.message());
    }
    register(&channel, &id(1), "00123").await;
    for (prefix, first) in [("care.organisation.", "acute"), ("", "")] {
        let type_prefixes = (!prefix.is_empty()).then(|| prefix.to_owned()).into_iter().collect();
        let asked = v1::SubscribeRequest { type_prefixes, ..v1::SubscribeRequest::default() };
        let mut frames = bus.subscribe(liaison(asked)).await.unwrap().into_inner();
        let frame = frames.message().await.unwrap().unwrap().frame.unwrap();
        let Frame::Event(stored) = frame else { panic!("no event: {frame:?}") };
        assert_eq!(stored.event.unwrap().organisation_id, first, "{prefix}");
    }
}

#[tokio::test]
async fn meetings_are_kept_on_nats_and_a_new_store_reads_them_there() {
    let (data, servers) = (folder(), folder());
    let nats = NatsServer::start(servers.path());
    let url = nats.url();
    let settings = on_nats(&url, &[]);
    let server = Server::start_with(data.path(), &settings);
    let mut desk = Desk::new(&server.channel().await);
    for (event, at) in (1..).zip(["2026-04-10", "2026-06-10", "2026-08-10"]) {
        desk.held(event, at, &["rehab", "station"]).await;
    }
    let three = desk.list(of_year("2026-04-01")).await;
    assert_eq!(three.counts, [3, 2, 2]);
    assert!(desk.held(1, "2026-04-10", &["rehab", "station"]).await.repeated);
    let other = crate::nats::folder_of_the_region(data.path());
    server.kill();
    let server = Server::start_with(other.path(), &settings);
    let mut desk = Desk::new(&server.channel().await);
    assert_eq!(desk.list(of_year("2026-04-01")).await, three);
    assert!(desk.held(3, "2026-08-10", &["rehab", "station"]).await.repeated);
}

#[tokio::test]
async fn meetings_are_listed_by_whichever_shard_is_asked() {
    let shards = Shards::new().await;
    let servers = [shards.start(0), shards.start(1)];
    let place_of = |organisation: &String| {
        let organisation = OrganisationId::parse(organisation).unwrap();
        usize::from(StreamId::of_organisation(&organisation).slot(4).0 % 2)
    };
    let hospital = |place| {
        let mut hospitals = (0..100).map(|number| format!("hospital-{number}"));
        hospitals.find(|hospital| place_of(hospital) == place).unwrap()
    };
    let mut desk = Desk::new(&servers[0].channel().await);
    for (number, hospital) in (1..).zip([hospital(0), hospital(1)]) {
        let request = record(number, "2026-05-01", with(&["rehab"]));
        let receipt = desk.record(by(&hospital, "liaison-nurse", request)).await.unwrap();
        for server in &servers {
            let asked = v1::ListPartnerMeetingsRequest {
                organisation_id: hospital.clone(),
                at_least_cursor: receipt.cursor.clone(),
                ..of_year("2026-04-01")
            };
            let mut desk = Desk::new(&server.channel().await);
            assert_eq!(desk.list(asked).await.events, [id(number)], "{hospital}");
        }
    }
}
