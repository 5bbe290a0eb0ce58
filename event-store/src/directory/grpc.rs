//! `Directory` over gRPC.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tonic::{Code, Extensions, Request, Response, Status};
use tsunagi_bus::pages::{Pages, malformed};
use tsunagi_bus::port::ReadError;
use tsunagi_bus::{Bus, Shard, Stored, StreamId};
use tsunagi_chassis::{Config, Refused, caller};
use tsunagi_domain::{OrganisationId, ResourceId};
use tsunagi_proto::check::Path;
use tsunagi_proto::v1;
use tsunagi_proto::v1::directory_client::DirectoryClient;
use tsunagi_proto::v1::directory_server::Directory;

use super::{entry, is_asked_for, on_day};
use crate::boards::today;
use crate::grpc::{checked, from_wire, page_size, rows_refused, rows_unreadable};
use crate::log::LogError;
use crate::log::file::Patience;
use crate::partner_meetings;
use crate::patients::{Patients, RowsError};
use crate::sharded::{ANSWER_BYTES_MAX, Others, forwarded, is_forwarded, next_token, read_token};
use crate::store::Store;

/// The service.
#[derive(Clone)]
pub struct DirectoryService {
    store: Store,
    rows: Patients,
    /// Has the resources and organisations of all shards.
    bus: Arc<dyn Bus>,
    shard: Shard,
    /// None if there is one shard.
    others: Option<Others>,
    read_wait: Duration,
}

impl DirectoryService {
    pub fn new(
        store: Store,
        rows: Patients,
        bus: Arc<dyn Bus>,
        config: &Config,
        others: Option<Others>,
    ) -> Self {
        let read_wait = Duration::from_millis(config.read_wait_ms);
        Self { store, rows, bus, shard: Shard::of(config), others, read_wait }
    }

    /// Waits until the rows have seen all that was stored when it was asked, and what the caller
    /// has seen.
    async fn wait(&self, at_least: &str) -> Result<(), Refused> {
        // What lies in other shards is not waited for here: it never comes.
        let wanted = self.shard.part_of(&self.store.region().read_cursor(at_least)?);
        self.rows.reach(&self.store.end(), self.read_wait).await?;
        self.rows.reach(&wanted, self.read_wait).await
    }

    /// The resources of this shard.
    async fn find_here(
        &self,
        request: v1::FindResourcesRequest,
    ) -> Result<v1::FindResourcesResponse, Refused> {
        let as_known_at = request.as_known_at.as_ref().map(from_wire).transpose()?;
        let pages = pages(&request);
        let after = pages.place(&request.page_token)?;
        let after =
            after.map(|place| ResourceId::parse(&place).or(Err(malformed()))).transpose()?;
        self.wait(&request.at_least_cursor).await?;
        let (rows, store) = (self.rows.clone(), self.store.clone());
        let max = page_size(request.page_size);
        let found = tokio::task::spawn_blocking(move || {
            let zone = &store.region().zone;
            let today = today(&request.on_day, zone);
            let mut damaged = None;
            let show = |row: v1::DirectoryEntry| {
                let entry = match as_known_at {
                    None => Some(row),
                    Some(_) => as_known(&store, &row, as_known_at).unwrap_or_else(|error| {
                        damaged = Some(error);
                        None
                    }),
                };
                let entry = entry.map(|entry| on_day(entry, &today, zone));
                entry.filter(|entry| is_asked_for(entry, &request))
            };
            let found = rows.resources(after, max, show)?;
            damaged.map_or(Ok(found), |error| Err(RowsError::Log(error)))
        });
        let (entries, has_more) = match found.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(rows_refused(error)),
            Err(error) => return Err(rows_unreadable(&error)),
        };
        let next = entries.last().filter(|_| has_more).map(|last| last.resource_id.clone());
        let next_page_token = pages.token(&next.unwrap_or_default());
        Ok(v1::FindResourcesResponse { entries, next_page_token })
    }

    async fn events(&self, stream: StreamId) -> Result<Vec<Stored>, ReadError> {
        let mut events: Vec<Stored> = Vec::new();
        loop {
            let after = events.last().map_or(0, |last| last.placed.version);
            let more = self.bus.read(stream, after).await?;
            if more.is_empty() {
                return Ok(events);
            }
            events.extend(more);
        }
    }
}

#[tonic::async_trait]
impl Directory for DirectoryService {
    async fn read_resource(
        &self,
        request: Request<v1::ReadResourceRequest>,
    ) -> Result<Response<v1::ReadResourceResponse>, Status> {
        let request = checked(request)?;
        let as_known_at = request.as_known_at.as_ref().map(from_wire).transpose()?;
        self.wait(&request.at_least_cursor).await?;
        let zone = &self.store.region().zone;
        let resource = ResourceId::parse(&request.resource_id).map_err(|error| {
            Refused::fields(vec![Path::ROOT.field("resource_id").violation(error)])
        })?;
        let events = self.events(StreamId::Resource(resource)).await.map_err(Refused::from)?;
        let entry = entry(resource, known(&events, as_known_at), zone).ok_or_else(unknown)?;
        let entry = Some(on_day(entry, &today(&request.on_day, zone), zone));
        Ok(Response::new(v1::ReadResourceResponse { entry }))
    }

    async fn find_resources(
        &self,
        request: Request<v1::FindResourcesRequest>,
    ) -> Result<Response<v1::FindResourcesResponse>, Status> {
        let (is_forwarded, metadata) =
            (is_forwarded(request.metadata()), request.metadata().clone());
        let mut request = checked(request)?;
        let Some(others) = self.others.as_ref().filter(|_| !is_forwarded) else {
            return Ok(Response::new(self.find_here(request).await?));
        };
        // Shard by shard, each in the order of its resources.
        let pages = pages(&request);
        let (place, token) = read_token(pages, &request.page_token)?;
        request.page_token = token;
        let mut found = match others.at(place) {
            Some(other) => {
                let request = Request::from_parts(metadata, Extensions::default(), request);
                let mut other =
                    DirectoryClient::new(other).max_decoding_message_size(ANSWER_BYTES_MAX);
                let found = other.find_resources(forwarded(request)).await;
                found.map_err(|status| others.told(place, status))?.into_inner()
            }
            None if place < others.count() => self.find_here(request).await?,
            None => return Err(malformed().into()),
        };
        let next = next_token(place, &found.next_page_token, others.count());
        let next = pages.token(&next);
        found.next_page_token = next;
        Ok(Response::new(found))
    }

    async fn list_partner_meetings(
        &self,
        request: Request<v1::ListPartnerMeetingsRequest>,
    ) -> Result<Response<v1::ListPartnerMeetingsResponse>, Status> {
        let own = caller(request.metadata())?.organisation().clone();
        let request = checked(request)?;
        let as_known_at = request.as_known_at.as_ref().map(from_wire).transpose()?;
        let named = Some(&request.organisation_id).filter(|id| !id.is_empty());
        let named = named.map(|id| OrganisationId::parse(id)).transpose().map_err(|error| {
            Refused::fields(vec![Path::ROOT.field("organisation_id").violation(error)])
        })?;
        self.wait(&request.at_least_cursor).await?;
        let stream = StreamId::of_organisation(&named.unwrap_or(own));
        let events = self.events(stream).await.map_err(Refused::from)?;
        let zone = &self.store.region().zone;
        let page = partner_meetings::page(known(&events, as_known_at), &request, zone);
        Ok(Response::new(page?))
    }
}

fn pages(request: &v1::FindResourcesRequest) -> Pages {
    Pages::of(&v1::FindResourcesRequest {
        page_size: 0,
        page_token: String::new(),
        at_least_cursor: String::new(),
        ..request.clone()
    })
}

/// The events that were known at a time.
fn known(events: &[Stored], as_known_at: Option<Timestamp>) -> &[Stored] {
    let Some(at) = as_known_at else { return events };
    let known = events.iter().take_while(|stored| stored.placed.recorded_at <= at).count();
    events.split_at(known).0
}

/// What the directory said of a resource at a time.
fn as_known(
    store: &Store,
    row: &v1::DirectoryEntry,
    as_known_at: Option<Timestamp>,
) -> Result<Option<v1::DirectoryEntry>, LogError> {
    let Ok(resource) = ResourceId::parse(&row.resource_id) else { return Ok(None) };
    let events = store.read_all(StreamId::Resource(resource), Patience::Wait)?;
    Ok(entry(resource, known(&events, as_known_at), &store.region().zone))
}

fn unknown() -> Refused {
    let message =
        "the resource is not in the directory: check the id, or find it with `FindResources`";
    Refused::new(Code::NotFound, "RESOURCE_UNKNOWN", message)
}
