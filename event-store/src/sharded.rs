//! The `Timeline` service where the region's slots are divided among several stores: whoever is
//! asked answers for its own patients, and asks the others for theirs.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::Stream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tsunagi_bus::claims::Claims;
use tsunagi_bus::remote::NoAddress;
use tsunagi_bus::{Shard, StreamId};
use tsunagi_chassis::{Config, Refused};
use tsunagi_domain::PatientId;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::timeline_server::Timeline as TimelineApi;

use crate::grpc::{MalformedToken, TimelineService};

/// The service.
#[derive(Clone)]
pub struct ShardedTimeline {
    own: TimelineService,
    claims: Arc<Claims>,
    shard: Shard,
    slots: u16,
    /// Those of all shards, in their order; none at the place of this one.
    others: Vec<Option<TimelineClient<Channel>>>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<v1::WatchTimelineResponse, Status>> + Send>>;

impl ShardedTimeline {
    /// `claims` are looked up on a bus that has all shards.
    pub fn new(
        own: TimelineService,
        claims: Arc<Claims>,
        slots: u16,
        config: &Config,
    ) -> Result<Self, NoAddress> {
        let shard = Shard::of(config);
        let other = |(place, url): (usize, &String)| {
            if place + 1 == usize::from(shard.index) {
                return Ok(None);
            }
            let endpoint =
                Endpoint::from_shared(url.clone()).map_err(|_wrong| NoAddress(url.clone()))?;
            Ok(Some(TimelineClient::new(endpoint.tcp_nodelay(true).connect_lazy())))
        };
        let others = config.stores.iter().enumerate().map(other).collect::<Result<_, _>>()?;
        let own = own.with_claims(Arc::clone(&claims));
        Ok(Self { own, claims, shard, slots, others })
    }

    /// Whom to ask about a patient. None: this store.
    fn other<T>(&self, request: &Request<T>, patient_id: &str) -> Option<TimelineClient<Channel>> {
        if is_forwarded(request) {
            return None;
        }
        // What is no id is refused here.
        let patient = PatientId::parse(patient_id).ok()?;
        let slot = StreamId::Patient(patient).slot(self.slots);
        self.others.get(Shard::place_of(slot, self.shard.count)).cloned().flatten()
    }
}

#[tonic::async_trait]
impl TimelineApi for ShardedTimeline {
    type WatchTimelineStream = Frames;

    async fn read_timeline(
        &self,
        request: Request<v1::ReadTimelineRequest>,
    ) -> Result<Response<v1::ReadTimelineResponse>, Status> {
        match self.other(&request, &request.get_ref().patient_id) {
            Some(mut other) => other.read_timeline(forwarded(request)).await,
            None => self.own.read_timeline(request).await,
        }
    }

    async fn watch_timeline(
        &self,
        request: Request<v1::WatchTimelineRequest>,
    ) -> Result<Response<Frames>, Status> {
        match self.other(&request, &request.get_ref().patient_id) {
            Some(mut other) => {
                let frames = other.watch_timeline(forwarded(request)).await?.into_inner();
                Ok(Response::new(Box::pin(frames)))
            }
            None => self.own.watch_timeline(request).await,
        }
    }

    async fn find_patient(
        &self,
        request: Request<v1::FindPatientRequest>,
    ) -> Result<Response<v1::FindPatientResponse>, Status> {
        let identifier = request.get_ref().identifier.clone().unwrap_or_default();
        let owner = self.claims.owner(&(&identifier).into()).await.map_err(Refused::from)?;
        match owner.and_then(|owner| self.other(&request, &owner.to_string())) {
            Some(mut other) => other.find_patient(forwarded(request)).await,
            None => self.own.find_patient(request).await,
        }
    }

    /// Shard by shard, each in the order of its patients.
    async fn list_patients(
        &self,
        mut request: Request<v1::ListPatientsRequest>,
    ) -> Result<Response<v1::ListPatientsResponse>, Status> {
        if is_forwarded(&request) {
            return self.own.list_patients(request).await;
        }
        let token = request.get_ref().page_token.clone();
        let (place, token) = read_token(&token).ok_or_else(|| Refused::from(MalformedToken))?;
        request.get_mut().page_token = token;
        let mut listed = match self.others.get(place).cloned().flatten() {
            Some(mut other) => other.list_patients(forwarded(request)).await?,
            None if place + 1 == usize::from(self.shard.index) => {
                self.own.list_patients(request).await?
            }
            None => return Err(Refused::from(MalformedToken).into()),
        };
        let next = &mut listed.get_mut().next_page_token;
        *next = next_token(place, next, self.others.len());
        Ok(listed)
    }

    async fn find_look_alikes(
        &self,
        request: Request<v1::FindLookAlikesRequest>,
    ) -> Result<Response<v1::FindLookAlikesResponse>, Status> {
        match self.other(&request, &request.get_ref().patient_id) {
            Some(mut other) => other.find_look_alikes(forwarded(request)).await,
            None => self.own.find_look_alikes(request).await,
        }
    }
}

/// At which shard the page is, and its token there.
pub(crate) fn read_token(token: &str) -> Option<(usize, String)> {
    if token.is_empty() {
        return Some((0, String::new()));
    }
    let (place, token) = token.split_once('/')?;
    Some((place.parse().ok()?, token.to_owned()))
}

/// The token of what comes next: at the same shard, at the one behind it, or nowhere.
pub(crate) fn next_token(place: usize, token: &str, shards: usize) -> String {
    if !token.is_empty() {
        format!("{place}/{token}")
    } else if place + 1 < shards {
        format!("{}/", place + 1)
    } else {
        String::new()
    }
}

/// In a request's metadata: another shard asks for what is here.
const FORWARDED: &str = "tsunagi-forwarded";

pub(crate) fn is_forwarded<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(FORWARDED)
}

/// The same request in the same name, to be answered by whoever gets it.
pub(crate) fn forwarded<T>(request: Request<T>) -> Request<T> {
    let (mut metadata, _extensions, message) = request.into_parts();
    metadata.insert(FORWARDED, MetadataValue::from_static("1"));
    Request::from_parts(metadata, tonic::Extensions::default(), message)
}
