//! `Timeline` and `Boards` where the region's slots are divided among several stores: whoever is
//! asked answers for its own patients, asks the others for theirs, and puts the answers together.
//!
//! What must stay true: what all of them must know is told when all have answered, or not at all.

mod boards;
mod timeline;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tsunagi_bus::pages::{Pages, malformed};
use tsunagi_bus::remote::{Link, NoAddress, channel};
use tsunagi_bus::{Shard, StreamId};
use tsunagi_chassis::answers::STOPS;
use tsunagi_chassis::refused::reason;
use tsunagi_chassis::{Config, Refused};
use tsunagi_domain::PatientId;

pub use boards::ShardedBoards;
pub use timeline::ShardedTimeline;

/// A board has 500 rows of each kind at most, and each row some entries.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How the stores of all shards are known, in their order; none at the place of this one.
pub type Links = Vec<Option<watch::Receiver<Link>>>;

/// The servers of all shards.
#[derive(Clone)]
pub struct Others {
    shard: Shard,
    slots: u16,
    /// In the order of the shards; none at the place of this one.
    channels: Vec<Option<Channel>>,
    links: Links,
    /// Instead of a server that is another one than it is taken for.
    nowhere: Channel,
}

impl Others {
    pub fn new(slots: u16, config: &Config, links: Links) -> Result<Self, NoAddress> {
        let shard = Shard::of(config);
        let channel = |(place, urls): (usize, &String)| {
            if place + 1 == usize::from(shard.index) {
                return Ok(None);
            }
            channel(urls, config).map(Some)
        };
        let channels = config.stores.iter().enumerate().map(channel).collect::<Result<_, _>>()?;
        Ok(Self { shard, slots, channels, links, nowhere: nowhere() })
    }

    /// Whom to ask about a patient, and its place. None: this store.
    fn of_patient<T>(&self, request: &Request<T>, patient_id: &str) -> Option<(usize, Channel)> {
        if is_forwarded(request.metadata()) {
            return None;
        }
        // What is no id is refused here.
        let patient = PatientId::parse(patient_id).ok()?;
        let slot = StreamId::Patient(patient).slot(self.slots);
        let place = Shard::place_of(slot, self.shard.count);
        Some((place, self.at(place)?))
    }

    pub(crate) fn at(&self, place: usize) -> Option<Channel> {
        let channel = self.channels.get(place).cloned().flatten()?;
        let link = self.links.get(place).and_then(Option::as_ref);
        let is_wrong = link.is_some_and(|link| matches!(&*link.borrow(), Link::Wrong(_)));
        Some(if is_wrong { self.nowhere.clone() } else { channel })
    }

    /// All shards in their order, with whom to ask; none at the place of this one.
    fn all(&self) -> impl Iterator<Item = (usize, Option<Channel>)> {
        (0..self.channels.len()).map(|place| (place, self.at(place)))
    }

    /// The shard at a place.
    fn shard(&self, place: usize) -> Shard {
        Shard::at(place, self.shard.count)
    }

    /// How many shards there are.
    pub(crate) fn count(&self) -> usize {
        self.channels.len()
    }

    /// What another server told, or that it told nothing or stops: a service gives its reason with
    /// each refusal, and the transport does not.
    pub(crate) fn told(&self, place: usize, status: Status) -> Status {
        match reason(&status).as_deref() {
            None | Some(STOPS) => {
                let shard = self.shard(place);
                tracing::warn!(%shard, error = status.message(), "a shard does not answer");
                shard.away().into()
            }
            Some(_) => status,
        }
    }
}

fn nowhere() -> Channel {
    let refuse = |_uri: Uri| async {
        let told = "it is another store than --stores says";
        Err::<TokioIo<TcpStream>, _>(std::io::Error::other(told))
    };
    Endpoint::from_static("http://nowhere").connect_with_connector_lazy(tower::service_fn(refuse))
}

/// At which shard the page is, and its token there.
pub(crate) fn read_token(pages: Pages, token: &str) -> Result<(usize, String), Refused> {
    let Some(place) = pages.place(token)? else { return Ok((0, String::new())) };
    let (place, token) = place.split_once('/').ok_or_else(malformed)?;
    Ok((place.parse().or(Err(malformed()))?, token.to_owned()))
}

/// Where what comes next is: at the same shard, at the one behind it, or nowhere.
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

pub(crate) fn is_forwarded(metadata: &MetadataMap) -> bool {
    metadata.contains_key(FORWARDED)
}

/// The same request in the same name, to be answered by whoever gets it.
pub(crate) fn forwarded<T>(request: Request<T>) -> Request<T> {
    let (metadata, _extensions, message) = request.into_parts();
    to_all(&metadata, message)
}

/// A request in the same name as that with `metadata`, to be answered by whoever gets it.
fn to_all<T>(metadata: &MetadataMap, message: T) -> Request<T> {
    let mut metadata = metadata.clone();
    metadata.insert(FORWARDED, MetadataValue::from_static("1"));
    Request::from_parts(metadata, tonic::Extensions::default(), message)
}
