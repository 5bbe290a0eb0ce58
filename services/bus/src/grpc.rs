//! `CareBus` over gRPC: the bus's own door.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tsunagi_chassis::server::unreadable;
use tsunagi_chassis::{Config, Refused, Trace, answers, caller, trace};
use tsunagi_domain::{Actor, EventId, PatientId, note};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::{Check as _, Path};
use tsunagi_proto::v1::care_bus_server::CareBus;
use tsunagi_proto::v1::publish_session_response::Outcome;
use tsunagi_proto::v1::subscribe_response::Frame as Sign;
use tsunagi_proto::{convert, v1};

use crate::address;
use crate::cursor::Progress;
use crate::desk::whole;
use crate::handler::{Handler, Submission, SubmitError, Turn, to_wire};
use crate::port::{Bus, Delivery, Feed, ReadError, Stored, Unreadable};
use crate::quarantine;
use crate::received;
use crate::region::Region;
use crate::stream::StreamId;

const DOOR: &str = "care-bus";
/// Events about the system itself begin so; they are sent only if asked for.
const SYSTEM_TYPES: [&str; 2] = ["care.identifier.", "care.system."];
/// So do those about community resources, and those about organisations.
const RESOURCE_TYPES: [&str; 1] = ["care.resource."];
const ORGANISATION_TYPES: [&str; 1] = ["care.organisation."];

/// The service.
#[derive(Clone)]
pub struct CareBusService {
    handler: Arc<Handler>,
    session_window: usize,
    heartbeat: Duration,
    read_wait: Duration,
    open: answers::Open,
    words: address::Words,
    stop: CancellationToken,
}

type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl CareBusService {
    pub fn new(handler: Arc<Handler>, config: &Config, stop: CancellationToken) -> Self {
        let heartbeat = Duration::from_millis(config.heartbeat_ms);
        let read_wait = Duration::from_millis(config.read_wait_ms);
        let open = answers::Open::new(config.open_streams);
        let words = address::Words::new(config.cached_patients);
        let session_window = config.session_window;
        Self { handler, session_window, heartbeat, read_wait, open, words, stop }
    }
}

#[tonic::async_trait]
impl CareBus for CareBusService {
    type PublishSessionStream = Frames<v1::PublishSessionResponse>;
    type SubscribeStream = Frames<v1::SubscribeResponse>;

    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let actor = caller(request.metadata())?;
        let submission = submission(request.into_inner(), &actor)?;
        let receipts = self.handler.submit(submission).await.map_err(Refused::from)?;
        Ok(Response::new(v1::PublishResponse { receipts }))
    }

    async fn publish_session(
        &self,
        request: Request<Streaming<v1::PublishSessionRequest>>,
    ) -> Result<Response<Self::PublishSessionStream>, Status> {
        let actor = caller(request.metadata())?;
        let handler = Arc::clone(&self.handler);
        // The answers are made when this call has long been answered.
        let of_session = Trace::current();
        let answered = request
            .into_inner()
            .map(move |message| {
                // Turns are queued for here, in the order of the requests.
                let message = message.map(|message| Entered::new(message, &actor, &handler));
                let message = message
                    .map_err(|status| unreadable(status.code()).map_or(status, Status::from));
                let handler = Arc::clone(&handler);
                let of_session = of_session.clone();
                async move { Ok(trace::within(of_session, message?.answer(&handler)).await) }
            })
            .take_until(self.stop.clone().cancelled_owned())
            .buffered(self.session_window);
        // What was read is answered; then the caller is told why there is no more.
        Ok(Response::new(Box::pin(answered.chain(answers::end(self.stop.clone())))))
    }

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        caller(request.metadata())?;
        let request = request.into_inner();
        let bus = self.handler.bus();
        let cursor = bus.region().read_cursor(&request.cursor).map_err(Refused::from)?;
        let filter = Filter::new(request)?;
        bus.reach(&cursor, self.read_wait).await.map_err(Refused::from)?;
        let right = self.open.enter()?;
        let feed = bus.follow(cursor.clone());
        let (bus, seen) = (Arc::clone(bus), Progress::from(cursor));
        let heartbeat = {
            let (bus, seen) = (Arc::clone(&bus), seen.clone());
            move || sign(Sign::Heartbeat(v1::Heartbeat {}), &seen, bus.region())
        };
        let words = self.words.clone();
        let reader = Reader { bus, feed, waiting: VecDeque::new(), seen, filter, words };
        let frames = stream::try_unfold(reader, |mut reader| async move {
            Ok(Some((reader.next().await?, reader)))
        });
        let frames = answers::follow(frames, heartbeat, self.heartbeat, self.stop.clone());
        Ok(Response::new(Box::pin(answers::holding(frames, right))))
    }

    async fn quarantine(
        &self,
        request: Request<v1::QuarantineRequest>,
    ) -> Result<Response<v1::Receipt>, Status> {
        let actor = caller(request.metadata())?;
        let request = whole(request.into_inner())?;
        let message = request.message.unwrap_or_default();
        if message.part > message.parts {
            let at = Path::ROOT.field("message");
            let part = at.field("part").violation("must be at most `parts`");
            return Err(Refused::fields(vec![part]).into());
        }
        let bus = self.handler.bus().as_ref();
        Ok(Response::new(quarantine::keep(bus, message, &actor, DOOR).await?))
    }

    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineResponse>, Status> {
        caller(request.metadata())?;
        let request = whole(request.into_inner())?;
        let bus = self.handler.bus().as_ref();
        Ok(Response::new(quarantine::list(bus, &request).await?))
    }

    async fn release_quarantined(
        &self,
        request: Request<v1::ReleaseQuarantinedRequest>,
    ) -> Result<Response<v1::Receipt>, Status> {
        let actor = caller(request.metadata())?;
        let request = whole(request.into_inner())?;
        let (bus, release) = (self.handler.bus().as_ref(), request.release.unwrap_or_default());
        Ok(Response::new(quarantine::release(bus, release, &actor, DOOR).await?))
    }

    async fn read_quarantined(
        &self,
        request: Request<v1::ReadQuarantinedRequest>,
    ) -> Result<Response<v1::ReadQuarantinedResponse>, Status> {
        caller(request.metadata())?;
        let request = request.into_inner();
        let event = EventId::parse(&request.event_id)
            .map_err(|_malformed| Refused::fields(request.violations()))?;
        let message = quarantine::read(self.handler.bus().as_ref(), event).await?;
        Ok(Response::new(v1::ReadQuarantinedResponse { message: Some(message) }))
    }
}

/// A request of a session that has queued up for what it is about.
struct Entered {
    tag: u64,
    submission: Result<Submission, Refused>,
    turn: Option<Turn>,
}

impl Entered {
    fn new(message: v1::PublishSessionRequest, actor: &Actor, handler: &Handler) -> Self {
        let submission = submission(message.publish.unwrap_or_default(), actor);
        let turn = submission.as_ref().ok().and_then(|submission| handler.turn(submission));
        Self { tag: message.tag, submission, turn }
    }

    async fn answer(self, handler: &Arc<Handler>) -> v1::PublishSessionResponse {
        let published = match self.submission {
            Ok(submission) => {
                handler.submit_in_turn(self.turn, submission).await.map_err(Refused::from)
            }
            Err(refused) => Err(refused),
        };
        let outcome = match published {
            Ok(receipts) => Outcome::Published(v1::PublishResponse { receipts }),
            Err(refused) => Outcome::Refused(refused.into()),
        };
        v1::PublishSessionResponse { tag: self.tag, outcome: Some(outcome) }
    }
}

/// What a publisher asks for, with what the door adds: who sent it, and who acted if the
/// publisher does not say.
fn submission(request: v1::PublishRequest, caller: &Actor) -> Result<Submission, Refused> {
    const EVENTS_MAX: usize = 100;
    let v1::PublishRequest { mut events, expected_version } = request;
    if events.is_empty() || events.len() > EVENTS_MAX {
        // The schema's check says the same of the list; the events are checked by the handler.
        return Err(Refused::fields(v1::PublishRequest { events, expected_version }.violations()));
    }
    for event in &mut events {
        // What a tool sends is its word, whoever it says has acted.
        if convert::is_tool(caller.role()) && !is_draft(event) {
            return Err(Refused::from(SubmitError::Refused(note::Refusal::NeedsPerson.into())));
        }
        let source = event.source.get_or_insert_default();
        DOOR.clone_into(&mut source.door);
        if source.system.is_empty() {
            caller.organisation().as_str().clone_into(&mut source.system);
        }
        event.actor.get_or_insert_with(|| caller.into());
    }
    Ok(Submission { events, expected_version })
}

fn is_draft(event: &v1::Event) -> bool {
    Payload::decode(&event.r#type, &event.payload).is_ok_and(|payload| payload.is_draft())
}

/// Which events a subscriber wants.
struct Filter {
    patients: Vec<PatientId>,
    type_prefixes: Vec<String>,
}

impl Filter {
    fn new(request: v1::SubscribeRequest) -> Result<Self, Refused> {
        let request = whole(request)?;
        let patients = request.patient_ids.iter().filter_map(|id| PatientId::parse(id).ok());
        let mut patients: Vec<PatientId> = patients.collect();
        patients.sort_unstable();
        Ok(Self { patients, type_prefixes: request.type_prefixes })
    }

    /// What is sent of an event, if it is wanted.
    async fn frame(
        &self,
        bus: &dyn Bus,
        words: &address::Words,
        stored: &Stored,
    ) -> Result<Option<Sign>, ReadError> {
        if !self.takes_stream(stored.stream) {
            return Ok(None);
        }
        // A record that is no event at all still counts; there is nothing of it to send.
        let Ok(event) = v1::Event::decode(stored.record.clone()) else { return Ok(None) };
        if !self.takes_type(&event.r#type) {
            return Ok(None);
        }
        let event = address::sent(bus, words, stored, event).await?;
        let event = received::sent(quarantine::sent(event));
        Ok(Some(Sign::Event(v1::StoredEvent {
            event: Some(event),
            version: stored.placed.version,
            recorded_at: Some(to_wire(stored.placed.recorded_at)),
        })))
    }

    fn takes_stream(&self, stream: StreamId) -> bool {
        match stream {
            StreamId::Patient(patient) => {
                self.patients.is_empty() || self.patients.binary_search(&patient).is_ok()
            }
            StreamId::Identifier(_) | StreamId::Quarantine | StreamId::Slot(_) => {
                self.patients.is_empty() && self.asks_for(&SYSTEM_TYPES)
            }
            StreamId::Resource(_) => self.patients.is_empty() && self.asks_for(&RESOURCE_TYPES),
            StreamId::Organisation(_) => {
                self.patients.is_empty() && self.asks_for(&ORGANISATION_TYPES)
            }
        }
    }

    /// What is said of an event that cannot be read, if it may be one that is wanted.
    fn unreadable(&self, of: Option<Unreadable>) -> Option<Sign> {
        let Some(Unreadable { stream, placed, event }) = of else {
            return Some(Sign::Unreadable(v1::UnreadableEvent::default()));
        };
        self.takes_stream(stream).then(|| {
            Sign::Unreadable(v1::UnreadableEvent {
                event_id: event.to_string(),
                patient_id: stream.patient().map(|of| of.to_string()).unwrap_or_default(),
                version: placed.version,
            })
        })
    }

    fn takes_type(&self, event_type: &str) -> bool {
        self.type_prefixes.is_empty()
            || self.type_prefixes.iter().any(|prefix| event_type.starts_with(prefix.as_str()))
    }

    fn asks_for(&self, types: &[&str]) -> bool {
        let is_of_these = |prefix: &String| types.iter().any(|of| prefix.starts_with(of));
        self.type_prefixes.iter().any(is_of_these)
    }
}

/// A subscriber's place in the feed.
struct Reader {
    bus: Arc<dyn Bus>,
    feed: Box<dyn Feed>,
    /// Came out of the feed, and were not looked at yet.
    waiting: VecDeque<Stored>,
    /// What was sent or passed over.
    seen: Progress,
    filter: Filter,
    words: address::Words,
}

impl Reader {
    /// The next frame; waits for it.
    async fn next(&mut self) -> Result<v1::SubscribeResponse, Refused> {
        loop {
            while let Some(stored) = self.waiting.pop_front() {
                let frame = self.filter.frame(self.bus.as_ref(), &self.words, &stored).await?;
                // Not before: a heartbeat may be sent while the frame is made.
                self.seen.advance(stored.placed.position);
                if let Some(frame) = frame {
                    return Ok(sign(frame, &self.seen, self.bus.region()));
                }
            }
            match self.feed.next().await? {
                Delivery::Events(events) => self.waiting.extend(events),
                Delivery::Unreadable(of) => {
                    if let Some(of) = of {
                        self.seen.advance(of.placed.position);
                    }
                    if let Some(frame) = self.filter.unreadable(of) {
                        return Ok(sign(frame, &self.seen, self.bus.region()));
                    }
                }
                Delivery::CaughtUp => {
                    let frame = Sign::CaughtUp(v1::CaughtUp {});
                    return Ok(sign(frame, &self.seen, self.bus.region()));
                }
            }
        }
    }
}

fn sign(frame: Sign, seen: &Progress, region: &Region) -> v1::SubscribeResponse {
    v1::SubscribeResponse { frame: Some(frame), cursor: seen.text(region) }
}
