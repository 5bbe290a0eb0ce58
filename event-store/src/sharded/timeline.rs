//! `Timeline` over all shards.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::stream::{Stream, TryStreamExt as _};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tsunagi_bus::claims::Claims;
use tsunagi_bus::pages::malformed;
use tsunagi_chassis::Refused;
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;
use tsunagi_proto::v1::timeline_server::Timeline as TimelineApi;

use super::{ANSWER_BYTES_MAX, Others, forwarded, is_forwarded, next_token, read_token, to_all};
use crate::grpc::{TimelineService, list_pages};
use crate::look_alikes;

/// The service.
#[derive(Clone)]
pub struct ShardedTimeline {
    own: TimelineService,
    claims: Arc<Claims>,
    others: Others,
}

type Frames = Pin<Box<dyn Stream<Item = Result<v1::WatchTimelineResponse, Status>> + Send>>;

impl ShardedTimeline {
    /// `claims` are looked up on a bus that has all shards.
    pub fn new(own: TimelineService, claims: Arc<Claims>, others: Others) -> Self {
        let own = own.with_claims(Arc::clone(&claims));
        Self { own, claims, others }
    }
}

fn client(channel: Channel) -> TimelineClient<Channel> {
    TimelineClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

#[tonic::async_trait]
impl TimelineApi for ShardedTimeline {
    type WatchTimelineStream = Frames;

    async fn read_timeline(
        &self,
        request: Request<v1::ReadTimelineRequest>,
    ) -> Result<Response<v1::ReadTimelineResponse>, Status> {
        match self.others.of_patient(&request, &request.get_ref().patient_id) {
            Some((place, other)) => {
                let read = client(other).read_timeline(forwarded(request)).await;
                read.map_err(|status| self.others.told(place, status))
            }
            None => self.own.read_timeline(request).await,
        }
    }

    async fn watch_timeline(
        &self,
        request: Request<v1::WatchTimelineRequest>,
    ) -> Result<Response<Frames>, Status> {
        match self.others.of_patient(&request, &request.get_ref().patient_id) {
            Some((place, other)) => {
                let watched = client(other).watch_timeline(forwarded(request)).await;
                let frames = watched.map_err(|status| self.others.told(place, status))?;
                let others = self.others.clone();
                let told = move |status| others.told(place, status);
                Ok(Response::new(Box::pin(frames.into_inner().map_err(told))))
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
        match owner.and_then(|owner| self.others.of_patient(&request, &owner.to_string())) {
            Some((place, other)) => {
                let found = client(other).find_patient(forwarded(request)).await;
                found.map_err(|status| self.others.told(place, status))
            }
            None => self.own.find_patient(request).await,
        }
    }

    /// Shard by shard, each in the order of its patients.
    async fn list_patients(
        &self,
        mut request: Request<v1::ListPatientsRequest>,
    ) -> Result<Response<v1::ListPatientsResponse>, Status> {
        if is_forwarded(request.metadata()) {
            return self.own.list_patients(request).await;
        }
        let pages = list_pages(request.get_ref());
        let (place, token) = read_token(pages, &request.get_ref().page_token)?;
        request.get_mut().page_token = token;
        let shards = self.others.count();
        let mut listed = match self.others.at(place) {
            Some(other) => {
                let listed = client(other).list_patients(forwarded(request)).await;
                listed.map_err(|status| self.others.told(place, status))?
            }
            None if place < shards => self.own.list_patients(request).await?,
            None => return Err(malformed().into()),
        };
        let next = &mut listed.get_mut().next_page_token;
        *next = pages.token(&next_token(place, next, shards));
        Ok(listed)
    }

    /// Each shard compares the patient, wherever that is, with its own.
    async fn find_look_alikes(
        &self,
        request: Request<v1::FindLookAlikesRequest>,
    ) -> Result<Response<v1::FindLookAlikesResponse>, Status> {
        if is_forwarded(request.metadata()) {
            return self.own.find_look_alikes(request).await;
        }
        let (metadata, _extensions, message) = request.into_parts();
        let max = message.max;
        let asked = self.others.all().map(|(place, other)| {
            let request = to_all(&metadata, message.clone());
            async move {
                match other {
                    Some(other) => {
                        let found = client(other).find_look_alikes(request).await;
                        found.map_err(|status| self.others.told(place, status))
                    }
                    None => self.own.find_look_alikes(request).await,
                }
            }
        });
        let found = try_join_all(asked).await?.into_iter();
        let found = found.flat_map(|found| found.into_inner().candidates).collect();
        let candidates = look_alikes::likeliest(found, max);
        Ok(Response::new(v1::FindLookAlikesResponse { candidates }))
    }
}
