//! What follows the log when some of it is damaged: everything else, in its order, and word of what
//! cannot be read.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tsunagi_bus::grpc::CareBusService;
use tsunagi_bus::{Bus as _, Cursor, Stored};
use tsunagi_domain::PatientId;
use tsunagi_event_store::Patients;
use tsunagi_proto::v1;
use tsunagi_proto::v1::care_bus_server::CareBus as _;
use tsunagi_proto::v1::subscribe_response::Frame as Sent;
use uuid::Uuid;

use crate::support::{
    IN_HEADER, IN_RECORD, admitted, care_event, config, damage, draft, event, folder, handed,
    handler, liaison, one, open, publish, records, registered, segment, sixty_events,
};

#[tokio::test]
async fn a_feed_goes_past_what_is_damaged_and_tells_of_it() {
    let folder = folder();
    let store = open(&folder);
    sixty_events(&store).await;
    let (all, _) = handed(&mut store.follow(Cursor::start())).await;
    // In a sealed segment, in the one that is being written, and the very last.
    damage(&folder, 3, IN_RECORD, 1);
    damage(&folder, 5, IN_HEADER, 1);
    damage(&folder, 6, IN_HEADER, 40);
    damage(&folder, 57, IN_RECORD, 200);
    damage(&folder, 59, IN_HEADER, 1);
    let lost = [3, 5, 6, 57, 59].map(event);
    let mut feed = store.follow(Cursor::start());
    let (events, unreadable) = handed(&mut feed).await;
    let rest: Vec<Stored> =
        all.into_iter().filter(|stored| !lost.contains(&stored.event)).collect();
    assert_eq!(events, rest);
    // Two whose headers are gone and that lie side by side are one place.
    assert_eq!(unreadable, [Some(event(3)), None, Some(event(57)), None]);
    assert!(store.damage_found() >= 4);
    // What comes then is handed over live.
    publish(&store, 0, vec![draft(60, "more")]).await.unwrap();
    let (live, again) = handed(&mut feed).await;
    assert_eq!((live.len(), again), (1, vec![]));
}

#[tokio::test]
async fn who_has_seen_past_what_is_damaged_is_not_told_again() {
    let folder = folder();
    let store = open(&folder);
    sixty_events(&store).await;
    damage(&folder, 3, IN_RECORD, 1);
    let mut feed = store.follow(Cursor::start());
    let (events, unreadable) = handed(&mut feed).await;
    assert_eq!((events.len(), unreadable.len()), (59, 1));
    let mut seen = Cursor::start();
    for stored in &events {
        seen.advance(stored.placed.position);
    }
    let (events, unreadable) = handed(&mut store.follow(seen)).await;
    assert_eq!((events.len(), unreadable.len()), (0, 0));
}

#[tokio::test]
async fn a_segment_of_which_nothing_can_be_read_holds_up_nothing() {
    let folder = folder();
    let store = open(&folder);
    sixty_events(&store).await;
    let file = OpenOptions::new().write(true).open(segment(&folder, 2)).unwrap();
    file.write_all_at(&vec![0; 60_000], 64).unwrap();
    let (events, unreadable) = handed(&mut store.follow(Cursor::start())).await;
    assert!(events.len() > 40 && events.len() < 60, "{}", events.len());
    assert_eq!(events.last().unwrap().event, event(59));
    assert_eq!(unreadable, [None]);
}

/// All that a subscriber is sent until it is caught up, by its frames.
async fn subscribed(bus: &CareBusService, request: v1::SubscribeRequest) -> Vec<Sent> {
    let mut frames = bus.subscribe(liaison(request)).await.unwrap().into_inner();
    let mut sent = Vec::new();
    loop {
        match frames.next().await.unwrap().unwrap().frame.unwrap() {
            Sent::CaughtUp(_) => return sent,
            frame @ (Sent::Event(_) | Sent::Unreadable(_) | Sent::Heartbeat(_)) => sent.push(frame),
        }
    }
}

fn id_of(frame: &Sent) -> (&'static str, String) {
    match frame {
        Sent::Event(stored) => ("event", stored.event.clone().unwrap().event_id),
        Sent::Unreadable(unreadable) => ("unreadable", unreadable.event_id.clone()),
        Sent::CaughtUp(_) | Sent::Heartbeat(_) => ("sign", String::new()),
    }
}

#[tokio::test]
async fn a_subscriber_gets_past_a_damaged_event_and_is_told_which_it_is() {
    let folder = folder();
    let store = open(&folder);
    let tell = handler(&store, &folder);
    for patient in 0..3 {
        let number = patient.to_string();
        let mut registered = registered(&[&number]);
        let address = v1::Address { text: format!("本町{number}"), ..Default::default() };
        if let tsunagi_proto::catalogue::Payload::PatientRegistered(said) = &mut registered {
            said.demographics.as_mut().unwrap().address = Some(address);
        }
        let said = [registered, admitted("3")];
        for (payload, n) in said.iter().zip(10 * patient..) {
            tell.submit(one(care_event(patient, n, 1, payload))).await.unwrap();
        }
    }
    damage(&folder, 11, IN_RECORD, 1);
    let bus =
        CareBusService::new(Arc::clone(&tell), &config(folder.path()), CancellationToken::new());
    let sent = subscribed(&bus, v1::SubscribeRequest::default()).await;
    let ids: Vec<_> = sent.iter().map(id_of).collect();
    let told = |what, number| (what, event(number).to_string());
    let all = [0, 1, 10, 20, 21].map(|number| told("event", number));
    assert_eq!(ids.iter().filter(|(what, _)| *what == "event").count(), 5, "{ids:?}");
    assert!(all.iter().all(|one| ids.contains(one)), "{ids:?}");
    assert!(ids.contains(&told("unreadable", 11)), "{ids:?}");
    let patient = |number: u128| PatientId::new(Uuid::from_u128(number + 1)).to_string();
    let of_damaged = sent.iter().find_map(|frame| match frame {
        Sent::Unreadable(of) => Some((of.patient_id.clone(), of.version)),
        Sent::Event(_) | Sent::CaughtUp(_) | Sent::Heartbeat(_) => None,
    });
    assert_eq!(of_damaged, Some((patient(1), 2)));
    // Whether that event says that the address is confidential, nobody knows: it is withheld.
    for frame in &sent {
        let Sent::Event(stored) = frame else { continue };
        let payload = stored.event.as_ref().unwrap().payload.clone();
        let says = |text: &str| payload.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!says("本町1"), "the address of the patient of the damaged event");
    }
    let text: Vec<u8> = sent
        .iter()
        .filter_map(|frame| match frame {
            Sent::Event(stored) => stored.event.clone(),
            Sent::Unreadable(_) | Sent::CaughtUp(_) | Sent::Heartbeat(_) => None,
        })
        .flat_map(|event| event.payload)
        .collect();
    assert!(text.windows("本町0".len()).any(|part| part == "本町0".as_bytes()), "others' is not");
    // Who asks for another patient is not told of it.
    let request = v1::SubscribeRequest { patient_ids: vec![patient(2)], ..Default::default() };
    let ids: Vec<_> = subscribed(&bus, request).await.iter().map(id_of).collect();
    assert_eq!(ids, [told("event", 20), told("event", 21)]);
}

#[tokio::test]
async fn the_rows_of_others_are_made_past_a_damaged_event() {
    let folder = folder();
    let store = open(&folder);
    let tell = handler(&store, &folder);
    for patient in 0..3 {
        let said = registered(&[&patient.to_string()]);
        tell.submit(one(care_event(patient, patient, 1, &said))).await.unwrap();
    }
    damage(&folder, 1, IN_RECORD, 1);
    let rows = Patients::open(records(&store, folder.path()), folder.path()).unwrap();
    let (maker, stop) = (rows.clone(), CancellationToken::new());
    let until = stop.clone();
    let making = tokio::spawn(async move { maker.run(until).await });
    let mut made = rows.watch();
    made.wait_for(|made| made.covers(&store.end())).await.unwrap();
    stop.cancel();
    making.await.unwrap().unwrap();
}
