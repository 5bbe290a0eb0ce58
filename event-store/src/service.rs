//! The `EventStore` service: this store's log, for the region's other processes.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tsunagi_bus::desk::whole;
use tsunagi_bus::port::ReadError;
use tsunagi_bus::stored_record::{cursor, to_wire, unreadable_to_wire};
use tsunagi_bus::{Bus, Delivery, Log as _, Run, Shard, Slot, StreamId};
use tsunagi_chassis::{Config, Refused, answers};
use tsunagi_domain::EventId;
use tsunagi_proto::check::Path;
use tsunagi_proto::v1;
use tsunagi_proto::v1::event_store_server::EventStore;

use crate::evidence::roots;
use crate::log::Location;
use crate::store::{Store, off_the_runtime};

/// The service.
#[derive(Clone)]
pub struct EventStoreService {
    store: Store,
    shard: Shard,
    stop: CancellationToken,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl EventStoreService {
    pub fn new(store: Store, config: &Config, stop: CancellationToken) -> Self {
        Self { store, shard: Shard::of(config), stop }
    }

    fn positions(&self) -> v1::WatchPositionsResponse {
        let region = self.store.region();
        let slots = (0..region.slots).map(Slot).filter(|slot| self.shard.has(*slot));
        let position = |slot: Slot| {
            let run = self.store.run(slot).unwrap_or(Run { n: 0, sequence: 0 });
            v1::SlotPosition {
                slot: slot.0.into(),
                n: self.store.durable_n(slot),
                run_n: run.n,
                run_sequence: run.sequence,
            }
        };
        v1::WatchPositionsResponse {
            region_id: region.id.to_string(),
            slots: region.slots.into(),
            positions: slots.map(position).collect(),
        }
    }
}

#[tonic::async_trait]
impl EventStore for EventStoreService {
    type WatchPositionsStream = Answers<v1::WatchPositionsResponse>;
    type FollowLogStream = Answers<v1::FollowLogResponse>;

    async fn read_stream(
        &self,
        request: Request<v1::ReadStreamRequest>,
    ) -> Result<Response<v1::ReadStreamResponse>, Status> {
        let request = whole(request.into_inner())?;
        let stream = self.stream(&request.stream)?;
        let events = Bus::read(&self.store, stream, request.after).await;
        let records = events.map_err(Refused::from)?.iter().map(to_wire).collect();
        Ok(Response::new(v1::ReadStreamResponse { records }))
    }

    async fn find_event(
        &self,
        request: Request<v1::FindEventRequest>,
    ) -> Result<Response<v1::FindEventResponse>, Status> {
        let request = whole(request.into_inner())?;
        let stream = self.stream(&request.stream)?;
        let event = EventId::parse(&request.event_id).map_err(|error| {
            Refused::fields(vec![Path::ROOT.field("event_id").violation(error)])
        })?;
        let found = Bus::find(&self.store, stream, event).await;
        let record = found.map_err(Refused::from)?.as_ref().map(to_wire);
        Ok(Response::new(v1::FindEventResponse { record }))
    }

    async fn watch_positions(
        &self,
        _request: Request<v1::WatchPositionsRequest>,
    ) -> Result<Response<Self::WatchPositionsStream>, Status> {
        let watched = Watched {
            service: self.clone(),
            moved: self.store.watch_end(),
            runs: self.store.runs().subscribe(),
            is_first: true,
        };
        let told = stream::unfold(watched, |mut watched| async move {
            let told = watched.next().await?;
            Some((Ok(told), watched))
        });
        let stop = self.stop.clone();
        let told = told.take_until(stop.clone().cancelled_owned()).chain(answers::end(stop));
        Ok(Response::new(Box::pin(told)))
    }

    async fn follow_log(
        &self,
        request: Request<v1::FollowLogRequest>,
    ) -> Result<Response<Self::FollowLogStream>, Status> {
        let from = cursor(&whole(request.into_inner())?.seen);
        let feed = Bus::follow(&self.store, from);
        let frames = stream::try_unfold(feed, |mut feed| async move {
            let frame = match feed.next().await.map_err(Refused::from)? {
                Delivery::Events(events) => v1::FollowLogResponse {
                    records: events.iter().map(to_wire).collect(),
                    unreadable: None,
                },
                Delivery::Unreadable(of) => v1::FollowLogResponse {
                    records: Vec::new(),
                    unreadable: Some(unreadable_to_wire(of)),
                },
                Delivery::CaughtUp => v1::FollowLogResponse::default(),
            };
            Ok::<_, Status>(Some((frame, feed)))
        });
        let stop = self.stop.clone();
        let frames = frames.take_until(stop.clone().cancelled_owned()).chain(answers::end(stop));
        Ok(Response::new(Box::pin(frames)))
    }

    async fn read_roots(
        &self,
        request: Request<v1::ReadRootsRequest>,
    ) -> Result<Response<v1::ReadRootsResponse>, Status> {
        let wanted = cursor(&whole(request.into_inner())?.positions);
        let store = self.store.clone();
        let sizes = wanted.clone();
        let found = off_the_runtime(move || roots::at(&store, &wanted)).await;
        let root = |(slot, root): (u16, [u8; 32])| v1::SlotRoot {
            slot: slot.into(),
            n: sizes.seen(Slot(slot)),
            root: root.to_vec(),
        };
        let roots = found.map_err(Refused::from)?.into_iter().map(root).collect();
        Ok(Response::new(v1::ReadRootsResponse { roots }))
    }
}

impl EventStoreService {
    /// The stream with a name, if this store has its slot.
    fn stream(&self, name: &str) -> Result<StreamId, Refused> {
        let stream: StreamId = name.parse().map_err(|error: tsunagi_bus::stream::NoStream| {
            Refused::fields(vec![Path::ROOT.field("stream").violation(error)])
        })?;
        let slot = stream.slot(self.store.region().slots);
        if self.shard.has(slot) {
            return Ok(stream);
        }
        let told = format!("slot {} is not in the shard of this store", slot.0);
        Err(ReadError::Log(told).into())
    }
}

/// Somebody who is told how far the store is.
struct Watched {
    service: EventStoreService,
    moved: watch::Receiver<Location>,
    runs: watch::Receiver<Vec<Option<Run>>>,
    is_first: bool,
}

impl Watched {
    /// None when the store is closed.
    async fn next(&mut self) -> Option<v1::WatchPositionsResponse> {
        if !std::mem::take(&mut self.is_first) {
            tokio::select! {
                // Either may be cancelled: both are only waited for.
                moved = self.moved.changed() => moved.ok()?,
                changed = self.runs.changed() => changed.ok()?,
            }
        }
        // What moves from here on is told next.
        self.moved.mark_unchanged();
        self.runs.mark_unchanged();
        Some(self.service.positions())
    }
}
