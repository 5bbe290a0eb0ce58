//! The directory of community resources: link workers keep it, everybody reads it, and timelines
//! tell its names.

use prost::Message as _;
use tonic::Status;
use tonic::transport::Channel;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_client::CareBusClient;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use tsunagi_proto::v1::subscribe_response::Frame;

use crate::desks::register;
use crate::support::{Server, by, context, folder, id, reason, sentences};

pub(crate) fn salon(name: &str) -> v1::Resource {
    v1::Resource {
        organisation: Some(v1::Organisation {
            id: "salon".into(), name: "日だまりの会".into()
        }),
        name: name.to_owned(),
        kinds: vec![v1::Code { code: "gathering".into(), ..v1::Code::default() }],
        areas: vec![v1::ServiceArea { name: "日立市".into(), ..v1::ServiceArea::default() }],
        schedules: vec![v1::ResourceSchedule {
            rrule: "FREQ=WEEKLY;BYDAY=TU".into(),
            opens_at: "10:00".into(),
            ..v1::ResourceSchedule::default()
        }],
        ..v1::Resource::default()
    }
}

fn of_resource(event: u128, resource: u128, at: &str) -> v1::ResourceContext {
    v1::ResourceContext {
        event_id: id(event),
        resource_id: id(resource),
        occurred_at: at.to_owned(),
        ..v1::ResourceContext::default()
    }
}

struct Desk {
    link_worker: LinkWorkerClient<Channel>,
    directory: DirectoryClient<Channel>,
}

fn worker<T>(message: T) -> tonic::Request<T> {
    by("lw-office", "link-worker", message)
}

impl Desk {
    fn new(channel: &Channel) -> Self {
        let link_worker = LinkWorkerClient::new(channel.clone());
        Self { link_worker, directory: DirectoryClient::new(channel.clone()) }
    }

    async fn publish(&mut self, event: u128, resource: u128, name: &str, at: &str) -> v1::Receipt {
        self.try_publish(event, resource, salon(name), at).await.unwrap()
    }

    async fn try_publish(
        &mut self,
        event: u128,
        resource: u128,
        what: v1::Resource,
        at: &str,
    ) -> Result<v1::Receipt, Status> {
        let context = Some(of_resource(event, resource, at));
        let request = v1::PublishResourceRequest { context, event: Some(what) };
        self.link_worker.publish_resource(worker(request)).await.map(tonic::Response::into_inner)
    }

    async fn change(&mut self, event: u128, resource: u128, name: &str, at: &str) {
        let context = Some(of_resource(event, resource, at));
        let request = v1::ChangeResourceRequest { context, event: Some(salon(name)) };
        self.link_worker.change_resource(worker(request)).await.unwrap();
    }

    async fn confirm(&mut self, event: u128, resource: u128, at: &str) {
        let context = Some(of_resource(event, resource, at));
        let event = Some(v1::ResourceVerified::default());
        let request = v1::ConfirmResourceRequest { context, event };
        self.link_worker.confirm_resource(worker(request)).await.unwrap();
    }

    async fn report(&mut self, event: u128, resource: u128, capacity: &str, at: &str) {
        let code = v1::Code { code: capacity.into(), ..v1::Code::default() };
        let set = v1::ResourceCapacitySet {
            capacity: Some(code),
            valid_to_at: "2026-06-30".into(),
            ..v1::ResourceCapacitySet::default()
        };
        let context = Some(of_resource(event, resource, at));
        let request = v1::ReportCapacityRequest { context, event: Some(set) };
        self.link_worker.report_capacity(worker(request)).await.unwrap();
    }

    async fn withdraw(&mut self, event: u128, resource: u128, at: &str) -> Result<(), Status> {
        let context = Some(of_resource(event, resource, at));
        let event = Some(v1::ResourceWithdrawn::default());
        let request = v1::WithdrawResourceRequest { context, event };
        self.link_worker.withdraw_resource(worker(request)).await.map(|_| ())
    }

    /// The names of those that are found on a day.
    async fn find(&mut self, asked: v1::FindResourcesRequest) -> Vec<String> {
        let mut request = v1::FindResourcesRequest { page_size: 1, ..asked };
        let mut names = Vec::new();
        loop {
            let found = self.directory.find_resources(worker(request.clone())).await.unwrap();
            let v1::FindResourcesResponse { entries, next_page_token } = found.into_inner();
            names.extend(entries.into_iter().filter_map(|entry| Some(entry.resource?.name)));
            if next_page_token.is_empty() {
                return names;
            }
            request.page_token = next_page_token;
        }
    }

    async fn read(&mut self, resource: u128, on_day: &str) -> v1::DirectoryEntry {
        let request = v1::ReadResourceRequest {
            resource_id: id(resource),
            on_day: on_day.to_owned(),
            ..v1::ReadResourceRequest::default()
        };
        let read = self.directory.read_resource(worker(request)).await.unwrap();
        read.into_inner().entry.unwrap()
    }
}

fn on(day: &str) -> v1::FindResourcesRequest {
    v1::FindResourcesRequest { on_day: day.to_owned(), ..v1::FindResourcesRequest::default() }
}

#[tokio::test]
async fn a_resource_is_found_however_its_name_is_typed() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    desk.publish(1, 0xa, "ＮＰＯ髙橋サロン１号", "2026-05-01").await;
    // How kanji sound is not known.
    let typed = [("npo", 1), ("高橋さろん", 1), ("ｻﾛﾝ1", 1), ("サロン １号", 1), ("ﾀｶﾊｼ", 0)];
    for (text, found) in typed {
        let asked = v1::FindResourcesRequest { text: text.into(), ..Default::default() };
        assert_eq!(desk.find(asked).await.len(), found, "{text}");
    }
    for area in ["日立市", "日 立"] {
        let asked = v1::FindResourcesRequest { area: area.into(), ..Default::default() };
        assert_eq!(desk.find(asked).await.len(), 1, "{area}");
    }
}

#[tokio::test]
async fn resources_are_found_by_area_kind_capacity_and_freshness() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    desk.publish(1, 0xa, "火曜サロン", "2026-01-10").await;
    desk.publish(2, 0xb, "木曜サロン", "2026-05-01").await;
    desk.report(3, 0xb, "no-capacity-has-waitlist", "2026-05-02").await;
    let all = ["火曜サロン", "木曜サロン"];
    assert_eq!(desk.find(on("2026-05-10")).await, all);
    let area = |area: &str| v1::FindResourcesRequest { area: area.into(), ..on("2026-05-10") };
    assert_eq!(desk.find(area("日立")).await, all);
    assert!(desk.find(area("水戸")).await.is_empty());
    let of_kind = |kind: &str| v1::FindResourcesRequest {
        kinds: vec!["meal".into(), kind.into()],
        ..on("2026-05-10")
    };
    assert_eq!(desk.find(of_kind("gathering")).await, all);
    assert!(desk.find(of_kind("work")).await.is_empty());
    let with = |capacity: &str, day: &str| v1::FindResourcesRequest {
        capacities: vec![capacity.into()],
        ..on(day)
    };
    let waitlist = "no-capacity-has-waitlist";
    assert_eq!(desk.find(with(waitlist, "2026-05-10")).await, ["木曜サロン"]);
    assert_eq!(desk.find(with("unknown", "2026-05-10")).await, ["火曜サロン"]);
    assert!(desk.find(with(waitlist, "2026-07-01")).await.is_empty(), "it holds no more");
    let stale =
        |day: &str| v1::FindResourcesRequest { freshness: v1::Freshness::Stale.into(), ..on(day) };
    assert!(desk.find(stale("2026-07-08")).await.is_empty());
    assert_eq!(desk.find(stale("2026-07-09")).await, ["火曜サロン"]);
    desk.confirm(4, 0xa, "2026-05-09").await;
    assert!(desk.find(stale("2026-07-09")).await.is_empty());
    let entry = desk.read(0xa, "2026-07-09").await;
    assert_eq!((entry.confirmed_at.as_str(), entry.is_stale), ("2026-05-09", false));
    assert_eq!((entry.stale_on.as_str(), entry.version), ("2026-11-05", 2));
}

#[tokio::test]
async fn what_happened_last_holds_however_late_it_is_told() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    desk.publish(1, 0xa, "サロン", "2026-01-10").await;
    desk.change(2, 0xa, "新サロン", "2026-03-01").await;
    desk.report(3, 0xa, "no-capacity", "2026-05-05").await;
    desk.change(4, 0xa, "旧サロン", "2026-02-01").await;
    desk.report(5, 0xa, "has-capacity", "2026-05-01").await;
    let entry = desk.read(0xa, "2026-05-10").await;
    assert_eq!(entry.resource.unwrap().name, "新サロン");
    assert_eq!((entry.since_at.as_str(), entry.capacity_at.as_str()), ("2026-03-01", "2026-05-05"));
    assert_eq!(entry.capacity.unwrap().capacity.unwrap().code, "no-capacity");
    assert_eq!(entry.by.unwrap().organisation, "lw-office");
}

#[tokio::test]
async fn the_directory_is_read_as_it_was_known_and_survives_a_restart() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    let published = desk.publish(1, 0xa, "サロン", "2026-01-10").await;
    desk.change(2, 0xa, "新サロン", "2026-03-01").await;
    desk.withdraw(3, 0xa, "2026-04-01").await.unwrap();
    desk.publish(4, 0xb, "食堂", "2026-01-10").await;
    assert_eq!(desk.find(on("2026-05-01")).await, ["食堂"]);
    let then = v1::FindResourcesRequest { as_known_at: published.recorded_at, ..on("2026-05-01") };
    assert_eq!(desk.find(then).await, ["サロン"]);
    let read = v1::ReadResourceRequest {
        resource_id: id(0xa),
        as_known_at: published.recorded_at,
        ..v1::ReadResourceRequest::default()
    };
    let read = desk.directory.read_resource(worker(read)).await.unwrap().into_inner();
    assert_eq!(read.entry.unwrap().resource.unwrap().name, "サロン");
    let before = desk.read(0xa, "2026-05-01").await;
    assert!(before.is_withdrawn);
    drop(desk);
    server.kill();
    for rebuilds in [false, true] {
        if rebuilds {
            std::fs::remove_dir_all(data.path().join("rows-7.sled")).unwrap();
        }
        let server = Server::start(data.path());
        let mut desk = Desk::new(&server.channel().await);
        assert_eq!(desk.read(0xa, "2026-05-01").await, before);
        assert_eq!(desk.find(on("2026-05-01")).await, ["食堂"]);
        drop(desk);
        server.kill();
    }
}

#[tokio::test]
async fn what_cannot_be_said_of_a_resource_is_refused() {
    let data = folder();
    let server = Server::start(data.path());
    let mut desk = Desk::new(&server.channel().await);
    let unknown = desk.withdraw(1, 0xa, "2026-01-10").await.unwrap_err();
    assert_eq!(reason(&unknown), "RESOURCE_UNKNOWN");
    let mut sometimes = salon("サロン");
    sometimes.schedules[0].rrule = "every Tuesday".into();
    let refused = desk.try_publish(1, 0xa, sometimes, "2026-01-10").await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID");
    assert!(refused.message().contains("event.schedules[0].rrule"), "{}", refused.message());
    let mut shelter = salon("サロン");
    let address = v1::Address { text: "1-1".into(), confidential: true, ..Default::default() };
    shelter.locations = vec![v1::ResourceLocation { address: Some(address), ..Default::default() }];
    let refused = desk.try_publish(1, 0xa, shelter, "2026-01-10").await.unwrap_err();
    let field = "event.locations[0].address.confidential";
    assert!(refused.message().contains(field), "{}", refused.message());
    desk.publish(1, 0xa, "サロン", "2026-01-10").await;
    let exists = desk.try_publish(2, 0xa, salon("サロン"), "2026-02-10").await.unwrap_err();
    assert_eq!(reason(&exists), "RESOURCE_EXISTS");
    let context = Some(of_resource(3, 0xa, "2026-03-10"));
    let withdraw =
        v1::WithdrawResourceRequest { context, event: Some(v1::ResourceWithdrawn::default()) };
    let stranger = by("another-office", "link-worker", withdraw);
    let stranger = desk.link_worker.withdraw_resource(stranger).await.unwrap_err();
    assert_eq!(reason(&stranger), "NOT_THE_PUBLISHER");
    desk.withdraw(3, 0xa, "2026-03-10").await.unwrap();
    let withdrawn = desk.withdraw(4, 0xa, "2026-04-10").await.unwrap_err();
    assert_eq!(reason(&withdrawn), "RESOURCE_WITHDRAWN");
    desk.publish(5, 0xa, "サロン", "2026-05-10").await;
    let read = v1::ReadResourceRequest { resource_id: id(0xb), ..Default::default() };
    let unknown = desk.directory.read_resource(worker(read)).await.unwrap_err();
    assert_eq!(reason(&unknown), "RESOURCE_UNKNOWN");
}

#[tokio::test]
async fn other_systems_publish_resources_on_the_bus_and_follow_them() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut bus = CareBusClient::new(channel.clone());
    let event = v1::Event {
        event_id: id(1),
        r#type: "care.resource.published.v1".into(),
        resource_id: id(0xa),
        occurred_at: "2026-01-10".into(),
        payload: salon("サロン").encode_to_vec(),
        ..v1::Event::default()
    };
    let published = |event: &v1::Event| {
        worker(v1::PublishRequest { events: vec![event.clone()], expected_version: None })
    };
    let receipt = bus.publish(published(&event)).await.unwrap().into_inner().receipts.remove(0);
    assert_eq!((receipt.resource_id, receipt.patient_id), (id(0xa), String::new()));
    let again = bus.publish(published(&event)).await.unwrap().into_inner().receipts.remove(0);
    assert!(again.repeated);
    let of_nobody = v1::Event { resource_id: String::new(), event_id: id(2), ..event.clone() };
    let of_patient = v1::Event { patient_id: id(1), ..of_nobody.clone() };
    let of_both = v1::Event { resource_id: id(0xa), ..of_patient.clone() };
    for (wrong, field) in
        [(of_nobody, "`patient_id`"), (of_patient, "`type`"), (of_both, "`patient_id`")]
    {
        let refused = bus.publish(published(&wrong)).await.unwrap_err();
        assert_eq!(reason(&refused), "FIELDS_INVALID");
        assert!(refused.message().contains(field), "{}", refused.message());
    }
    register(&channel, &id(1), "00123").await;
    for (prefix, first) in [("care.resource.", id(0xa)), ("", String::new())] {
        let type_prefixes = (!prefix.is_empty()).then(|| prefix.to_owned()).into_iter().collect();
        let asked = v1::SubscribeRequest { type_prefixes, ..v1::SubscribeRequest::default() };
        let mut frames = bus.subscribe(worker(asked)).await.unwrap().into_inner();
        let frame = frames.message().await.unwrap().unwrap().frame.unwrap();
        let Frame::Event(stored) = frame else { panic!("no event: {frame:?}") };
        assert_eq!(stored.event.unwrap().resource_id, first, "{prefix}");
    }
}

#[tokio::test]
async fn a_timeline_tells_the_name_that_the_directory_gives() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    let mut desk = Desk::new(&channel);
    register(&channel, &id(1), "00123").await;
    desk.publish(0x101, 0xa, "火曜サロン", "2026-01-10").await;
    // Ids are written in either case.
    let named = |resource: u128| {
        Some(v1::ResourceRef { id: id(resource).to_uppercase(), name: String::new() })
    };
    let signpost = v1::SignpostRequest {
        context: Some(context(&id(1), &id(0x102), "2026-05-01")),
        event: Some(v1::Signposted { resource: named(0xa), ..v1::Signposted::default() }),
    };
    desk.link_worker.signpost(worker(signpost)).await.unwrap();
    let refer = v1::RequestReferralRequest {
        context: Some(context(&id(1), &id(0x103), "2026-05-02")),
        event: Some(v1::ReferralRequested {
            referral_id: id(0x7),
            receiver: Some(v1::Organisation { id: "salon".into(), name: String::new() }),
            resource: named(0xa),
            ..v1::ReferralRequested::default()
        }),
    };
    desk.link_worker.request_referral(worker(refer)).await.unwrap();
    let accept = v1::AcceptReferralRequest {
        context: Some(context(&id(1), &id(0x104), "2026-05-03")),
        event: Some(v1::ReferralStep { referral_id: id(0x7), ..v1::ReferralStep::default() }),
    };
    desk.link_worker.accept_referral(by("salon", "volunteer", accept)).await.unwrap();
    let told = sentences(&channel, &id(1)).await;
    let expected = [
        "signposted to 火曜サロン",
        "referred to salon / 火曜サロン",
        "referral accepted 火曜サロン",
    ];
    assert_eq!(told[1..], expected);
    let nameless = v1::SignpostRequest {
        context: Some(context(&id(1), &id(0x105), "2026-05-01")),
        event: Some(v1::Signposted {
            resource: Some(v1::ResourceRef { id: "s-1".into(), name: String::new() }),
            ..v1::Signposted::default()
        }),
    };
    let refused = desk.link_worker.signpost(worker(nameless)).await.unwrap_err();
    assert!(refused.message().contains("event.resource.name"), "{}", refused.message());
}

#[tokio::test]
async fn nobody_is_sent_to_a_resource_that_is_not_there() {
    let data = folder();
    let server = Server::start(data.path());
    let channel = server.channel().await;
    register(&channel, &id(1), "00123").await;
    let mut desk = Desk::new(&channel);
    desk.publish(2, 0x50, "体操サロン", "2026-05-01").await;
    desk.withdraw(3, 0x50, "2026-05-10").await.unwrap();
    let refer = |number: u128, day: &str, resource: u128| {
        let event = v1::ReferralRequested {
            referral_id: id(0xc00 + number),
            receiver: Some(v1::Organisation { id: "salon".into(), name: String::new() }),
            resource: Some(v1::ResourceRef { id: id(resource), name: String::new() }),
            ..v1::ReferralRequested::default()
        };
        let context = Some(context(&id(1), &id(number), day));
        worker(v1::RequestReferralRequest { context, event: Some(event) })
    };
    let mut link = LinkWorkerClient::new(channel.clone());
    let unknown = link.request_referral(refer(4, "2026-05-05", 0x51)).await.unwrap_err();
    assert_eq!(reason(&unknown), "RESOURCE_UNKNOWN");
    let withdrawn = link.request_referral(refer(4, "2026-05-11", 0x50)).await.unwrap_err();
    assert_eq!(reason(&withdrawn), "RESOURCE_WITHDRAWN");
    let elsewhere = refer(4, "2026-05-05", 0x50).into_inner();
    let mut event = elsewhere.event.unwrap();
    event.receiver = Some(v1::Organisation { id: "acute".into(), name: String::new() });
    let elsewhere = v1::RequestReferralRequest { event: Some(event), ..elsewhere };
    let of_another = link.request_referral(worker(elsewhere)).await.unwrap_err();
    assert_eq!(reason(&of_another), "RESOURCE_OF_ANOTHER");
    // Told late, of when it was there.
    link.request_referral(refer(4, "2026-05-05", 0x50)).await.unwrap();
    // Signposting, too; a name alone is no resource of the directory.
    let signpost = |number: u128, resource: v1::ResourceRef| {
        let event = v1::Signposted { resource: Some(resource), ..v1::Signposted::default() };
        let context = Some(context(&id(1), &id(number), "2026-05-12"));
        worker(v1::SignpostRequest { context, event: Some(event) })
    };
    let gone = v1::ResourceRef { id: id(0x50), name: "体操サロン".into() };
    let refused = link.signpost(signpost(5, gone)).await.unwrap_err();
    assert_eq!(reason(&refused), "RESOURCE_WITHDRAWN");
    let named = v1::ResourceRef { id: String::new(), name: "体操サロン".into() };
    link.signpost(signpost(6, named)).await.unwrap();
    let contradictory = v1::Resource {
        eligibility: Some(v1::Eligibility {
            age_min: Some(75),
            age_max: Some(65),
            ..v1::Eligibility::default()
        }),
        schedules: vec![v1::ResourceSchedule {
            valid_from_on: "2026-05-02".into(),
            valid_to_on: "2026-05-01".into(),
            ..v1::ResourceSchedule::default()
        }],
        ..salon("逆")
    };
    let refused = desk.try_publish(7, 0x52, contradictory, "2026-05-01").await.unwrap_err();
    assert!(refused.message().contains("age_max"), "{}", refused.message());
    assert!(refused.message().contains("valid_to_on"), "{}", refused.message());
}
