//! The listener and its routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{
    DefaultBodyLimit, FromRequest as _, Path, Query as Parameters, Request, State,
};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tsunagi_bus::{Handler, address};
use tsunagi_chassis::{Config, Refused, Trace, caller, trace};
use tsunagi_domain::identity::Identifier;
use tsunagi_domain::{Actor, EncounterId, PatientId, ReferralId};
use tsunagi_proto::v1;
use tsunagi_proto::v1::timeline_client::TimelineClient;

use super::bundle::Mode;
use super::capability;
use super::chart::{Chart, Timeline};
use super::emit::{self, Given};
use super::intake::{Intake, Outcome, Taken};
use super::kept::{LABEL_NOT_READ, Remark, Remembered, restored};
use super::outcome::{Problem, answer, issue, outcome};
use super::search::{Query, token};
use crate::known::KnownPatients;

/// Patients looked at for one page of a search; then the page ends, and says how to go on.
const LOOKED_AT_MAX: usize = 20_000;

/// Bodies that may be coming for each request that is worked on.
const BODIES_PER_REQUEST: usize = 4;

/// Why FHIR cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error(
        "{0} is not a loopback address, and callers cannot prove yet who they are: serve FHIR on 127.0.0.1 or [::1], or say --insecure-listen if the network itself keeps strangers out"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address} for FHIR: is another server running there?")]
    Bind { address: SocketAddr, source: std::io::Error },
}

/// A listener that is bound and not yet served.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

struct Door {
    intake: Intake,
    /// Reads patients: what holds of what was told, the event store knows.
    timeline: Timeline,
    /// What is kept of patients. The intake's own memory of patients is for those who are written
    /// about: who reads neither waits for it nor fills it.
    kept: Remembered,
    /// Whose addresses must not leave the record: nothing is given back that was kept of them.
    words: address::Words,
    places: Semaphore,
    /// For those whose bodies are coming.
    bodies: Semaphore,
    body_wait: Duration,
}

type Shared = State<Arc<Door>>;
type Answer = Result<Response, Problem>;

impl Server {
    /// Binds the listener, if the settings ask for one.
    pub async fn bind(config: &Config) -> Result<Option<Self>, DoorError> {
        let Some(address) = config.fhir.listen else { return Ok(None) };
        if !address.ip().is_loopback() && !config.insecure_listen {
            return Err(DoorError::NotLoopback(address));
        }
        let bind_error = |source| DoorError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Some(Self { listener, address }))
    }

    /// Where it listens; with the port that port 0 turned into.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then lets requests that go on finish for a while.
    /// `timeline` leads to the region's `Timeline` service.
    pub async fn run(
        self,
        config: Config,
        handler: Arc<Handler>,
        timeline: Channel,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let known = KnownPatients::new(config.cached_patients);
        let region = handler.bus().region().clone();
        let timeline = Timeline { client: TimelineClient::new(timeline), region };
        let kept = Remembered::new(config.cached_patients);
        let words = address::Words::new(config.cached_patients);
        let intake = Intake {
            handler,
            known,
            attempts_max: config.decide_attempts,
            own_organisations: config.fhir.own_organisations,
            kept_bytes: config.fhir.kept_bytes,
        };
        let places = Semaphore::new(config.fhir.requests);
        let bodies = Semaphore::new(config.fhir.requests.saturating_mul(BODIES_PER_REQUEST));
        let body_wait = Duration::from_millis(config.fhir.body_wait_ms);
        let door = Arc::new(Door { intake, timeline, kept, words, places, bodies, body_wait });
        let served = axum::serve(self.listener, routes(door, config.fhir.body_bytes))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let patience = async {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(config.stop_wait_ms)).await;
        };
        tokio::select! {
            // Dropping the server cuts the requests that go on: what was answered is on disk.
            served = served => served,
            () = patience => Ok(()),
        }
    }
}

fn routes(door: Arc<Door>, body_bytes: usize) -> Router {
    Router::new()
        .route("/fhir/metadata", get(metadata))
        .route("/fhir", post(bundle))
        .route("/fhir/", post(bundle))
        .route("/fhir/$process-message", post(message))
        .route("/fhir/{kind}", get(search))
        .route("/fhir/{kind}/{id}", get(read))
        .route("/fhir/Patient/{id}/$everything", get(everything))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(middleware::from_fn_with_state(Arc::clone(&door), limited))
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(door)
}

/// Works on a limited number of requests at once: on those that are there to their end. Others
/// come as long as they may take.
async fn limited(State(door): Shared, request: Request, next: Next) -> Response {
    let of_caller = Trace::of(request.headers());
    let response = match door.whole(request).await {
        Ok(request) => {
            let Ok(_place) = door.places.try_acquire() else {
                return Problem::busy().into_response();
            };
            trace::within(of_caller, next.run(request)).await
        }
        Err(response) => *response,
    };
    // What the framework itself refuses is told in FHIR's way too.
    let is_told = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
    match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE if !is_told => {
            let message =
                "the body is larger than this server takes (fhir-body-bytes): send several Bundles";
            let refused = Refused::new(tonic::Code::OutOfRange, "MESSAGE_TOO_LARGE", message);
            Problem::from(refused).into_response()
        }
        status if status.is_client_error() && !is_told => {
            Problem::invalid("REQUEST_UNREADABLE", "the request cannot be read").into_response()
        }
        _ => response,
    }
}

async fn nothing() -> Problem {
    Problem::not_supported("nothing is done at this address: GET /fhir/metadata says what can be")
}

fn who(headers: &HeaderMap) -> Result<Actor, Problem> {
    Ok(caller(&MetadataMap::from_headers(headers.clone()))?)
}

/// The address of the door, as the caller knows it.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    format!("http://{}/fhir", host.unwrap_or("localhost"))
}

async fn metadata(headers: HeaderMap) -> Response {
    answer(StatusCode::OK, capability::statement(&base(&headers)))
}

async fn bundle(State(door): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    let taken = door.intake.take(&body, &who(&headers)?, false).await?;
    Ok(answer(StatusCode::OK, response(&taken)))
}

async fn message(State(door): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    let taken = door.intake.take(&body, &who(&headers)?, true).await?;
    let issues: Vec<Value> = (0..taken.outcomes.len()).flat_map(|at| told(&taken, at)).collect();
    let stored = taken.outcomes.contains(&Outcome::Stored);
    let words = if stored { "it is on disk" } else { "it was known already" };
    let all = issue("information", "informational", "TAKEN", words, "");
    let issues: Vec<Value> = std::iter::once(all).chain(issues).collect();
    Ok(answer(StatusCode::OK, outcome(&issues)))
}

/// What is told of an entry besides its status.
fn told(taken: &Taken, at: usize) -> Vec<Value> {
    let place = format!("Bundle.entry[{at}]");
    let informs = |reason: &str, message: &str| {
        issue("information", "not-supported", reason, message, &place)
    };
    match taken.outcomes.get(at) {
        Some(Outcome::NotInForce) => vec![issue(
            "warning",
            "business-rule",
            "NOT_IN_FORCE",
            "it does not hold any more: it was taken back or replaced since, or a version with a later meta.lastUpdated was taken. If it holds again, send it with a meta.lastUpdated of when it was written",
            &place,
        )],
        Some(Outcome::Stored | Outcome::Known) => {
            let remarks = taken.remarks.get(at).into_iter().flatten();
            let told = |remark: &Remark| match remark.reason {
                reason @ LABEL_NOT_READ => {
                    issue("warning", "not-supported", reason, &remark.message, &place)
                }
                reason => informs(reason, &remark.message),
            };
            remarks.map(told).collect()
        }
        Some(Outcome::NotUsed(kind)) => {
            let message = format!("nothing is made of a {kind} here, and it is not kept");
            vec![informs("NOT_USED", &message)]
        }
        Some(Outcome::Refused(problem)) => vec![problem.issue()],
        None => Vec::new(),
    }
}

fn response(taken: &Taken) -> Value {
    let kind = if taken.mode == Mode::Batch { "batch-response" } else { "transaction-response" };
    let entry = |((at, one), place): ((usize, &Outcome), &Option<String>)| {
        let status = match one {
            Outcome::Stored => "201 Created".to_owned(),
            Outcome::Known | Outcome::NotInForce | Outcome::NotUsed(_) => "200 OK".to_owned(),
            Outcome::Refused(problem) => problem.status.to_string(),
        };
        let mut response = json!({ "status": status });
        if let Some(response) = response.as_object_mut() {
            response.extend(place.iter().map(|place| ("location".to_owned(), json!(place))));
            let issues = told(taken, at);
            let outcome = (!issues.is_empty()).then(|| outcome(&issues));
            response.extend(outcome.map(|outcome| ("outcome".to_owned(), outcome)));
        }
        json!({ "response": response })
    };
    let entries = taken.outcomes.iter().enumerate().zip(&taken.places).map(entry);
    let entries: Vec<Value> = entries.collect();
    if entries.is_empty() {
        return json!({ "resourceType": "Bundle", "type": kind });
    }
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries })
}

async fn read(
    State(door): Shared,
    headers: HeaderMap,
    Path((kind, id)): Path<(String, String)>,
) -> Answer {
    who(&headers)?;
    let unknown = || Problem::not_found("there is no such resource: search for it");
    let (patient, own) = match (kind.as_str(), emit::parts(&id)) {
        ("Patient" | "CareTeam", _) => (PatientId::parse(&id).ok(), None),
        ("Encounter" | "ServiceRequest" | "Task", Some((patient, own))) => {
            (Some(patient), Some(own))
        }
        ("Encounter" | "ServiceRequest" | "Task", None) => (None, None),
        _ => return Err(nothing().await),
    };
    let patient = patient.ok_or_else(unknown)?;
    if kind == "Patient" {
        let summary = door.timeline.summary(patient).await?.ok_or_else(unknown)?;
        return door.one(patient, emit::patient(&summary)).await;
    }
    let chart = door.timeline.chart(patient).await?.ok_or_else(unknown)?;
    let resource = match (kind.as_str(), own) {
        ("CareTeam", _) => emit::care_team(&chart),
        ("Encounter", Some(own)) => emit::encounter(&chart, EncounterId::new(own)),
        ("ServiceRequest", Some(own)) => emit::service_request(&chart, ReferralId::new(own)),
        ("Task", Some(own)) => emit::task(&chart, ReferralId::new(own)),
        _ => None,
    };
    door.one(chart.patient, resource.ok_or_else(unknown)?).await
}

async fn everything(State(door): Shared, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    who(&headers)?;
    let unknown = || Problem::not_found("there is no such patient");
    let patient = PatientId::parse(&id).or(Err(unknown()))?;
    let chart = door.timeline.chart(patient).await?.ok_or_else(unknown)?;
    let kinds = ["Patient", "Encounter", "CareTeam", "ServiceRequest", "Task"];
    let all: Vec<Value> = kinds.iter().flat_map(|kind| resources(&chart, kind)).collect();
    let base = base(&headers);
    let links = [("self", format!("{base}/Patient/{}/$everything", chart.patient))];
    let all = door.give(chart.patient, all).await?;
    Ok(answer(StatusCode::OK, emit::searchset(&base, &links, Some(all.len()), all)))
}

/// All of one type that a patient has.
fn resources(chart: &Chart, kind: &str) -> Vec<Value> {
    match kind {
        "Patient" => vec![emit::patient(&chart.summary)],
        "Encounter" => {
            chart.encounters.keys().filter_map(|id| emit::encounter(chart, *id)).collect()
        }
        "CareTeam" => emit::care_team(chart).into_iter().collect(),
        "ServiceRequest" => {
            chart.referrals.keys().filter_map(|id| emit::service_request(chart, *id)).collect()
        }
        "Task" => chart.referrals.keys().filter_map(|id| emit::task(chart, *id)).collect(),
        _ => Vec::new(),
    }
}

async fn search(
    State(door): Shared,
    headers: HeaderMap,
    Path(kind): Path<String>,
    Parameters(given): Parameters<Vec<(String, String)>>,
) -> Answer {
    who(&headers)?;
    if !capability::TYPES.iter().any(|(known, _)| *known == kind) {
        return Err(nothing().await);
    }
    let query = Query::read(&kind, given)?;
    let base = base(&headers);
    if kind == "Patient" {
        return door.search_patients(&base, &query).await;
    }
    let from = query.from()?;
    let whose = query.patients(&base).or_else(|| query.patients_of_ids()).ok_or_else(|| {
        let message = format!("name whose {kind} is looked for: patient=… (or its _id)");
        Problem::invalid("PARAMETER_MISSING", &message)
    })?;
    let mut all: Vec<(PatientId, Value)> = Vec::new();
    for patient in whose {
        let Some(chart) = door.timeline.chart(patient).await? else { continue };
        // Two records that were merged are read as one.
        if all.iter().any(|(other, _)| *other == chart.patient) {
            continue;
        }
        let zone = &door.timeline.region.zone;
        let found = resources(&chart, &kind).into_iter();
        let found = found.filter(|one| query.finds_resource(one, zone));
        all.extend(found.map(|one| (chart.patient, one)));
    }
    let (total, count) = (all.len(), usize::try_from(query.count).unwrap_or(usize::MAX));
    let page: Vec<(PatientId, Value)> = all.into_iter().skip(from).take(count).collect();
    let next = from.saturating_add(page.len());
    let mut links = vec![("self", link(&base, &kind, &query, &query.page))];
    if next < total {
        links.push(("next", link(&base, &kind, &query, &next.to_string())));
    }
    let mut given = Vec::with_capacity(page.len());
    for of_one in page.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((patient, _)) = of_one.first() else { continue };
        given.extend(
            door.give(*patient, of_one.iter().map(|(_, one)| one.clone()).collect()).await?,
        );
    }
    Ok(answer(StatusCode::OK, emit::searchset(&base, &links, Some(total), given)))
}

/// The address of a page of a search.
fn link(base: &str, kind: &str, query: &Query, page: &str) -> String {
    let escape = |text: &str| -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    };
    let named = query.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let count = query.count.to_string();
    let all = [("_count", count.as_str())].into_iter().chain(named).chain([("_page", page)]);
    let said = all.filter(|(_, value)| !value.is_empty());
    let said: Vec<String> =
        said.map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    format!("{base}/{kind}?{}", said.join("&"))
}

impl Door {
    /// A request with its body, or why there is none.
    async fn whole(&self, request: Request) -> Result<Request, Box<Response>> {
        let Ok(_coming) = self.bodies.try_acquire() else {
            return Err(Box::new(Problem::busy().into_response()));
        };
        let (parts, body) = request.into_parts();
        let come = Bytes::from_request(Request::from_parts(parts.clone(), body), &());
        match tokio::time::timeout(self.body_wait, come).await {
            Ok(Ok(bytes)) => Ok(Request::from_parts(parts, bytes.into())),
            Ok(Err(rejection)) => Err(Box::new(rejection.into_response())),
            Err(_) => Err(Box::new(Problem::too_slow().into_response())),
        }
    }

    async fn search_patients(&self, base: &str, query: &Query) -> Answer {
        let is_one = |value: &&str| !value.contains(',');
        let id = query.get("_id").filter(is_one);
        let one = match (id, query.get("identifier").filter(is_one).map(token)) {
            (Some(id), _) => Some(PatientId::parse(id).ok()),
            (None, Some((Some(system), value))) if !system.is_empty() && !value.is_empty() => {
                let identifier = Identifier { system: system.into(), value: value.into() };
                Some(self.intake.handler.claims().owner(&identifier).await?)
            }
            (None, Some(_) | None) => None,
        };
        if let Some(found) = one {
            let summary = match found {
                Some(patient) => self.timeline.summary(patient).await?,
                None => None,
            };
            let found = summary.filter(|summary| query.finds(summary, &self.timeline.region.zone));
            let found = self.patients(found.iter()).await?;
            let links = [("self", link(base, "Patient", query, &query.page))];
            return Ok(answer(
                StatusCode::OK,
                emit::searchset(base, &links, Some(found.len()), found),
            ));
        }
        let (found, next) = self.list(query).await?;
        let mut links = vec![("self", link(base, "Patient", query, &query.page))];
        links.extend((!next.is_empty()).then(|| ("next", link(base, "Patient", query, &next))));
        Ok(answer(StatusCode::OK, emit::searchset(base, &links, None, found)))
    }

    /// Resources of a patient as they are given out: with what was kept of what was sent of them,
    /// unless something of the patient must not leave the record.
    async fn give(&self, patient: PatientId, ours: Vec<Value>) -> Result<Vec<Given>, Problem> {
        let bus = self.intake.handler.bus().as_ref();
        let all = self.kept.of(bus, patient).await?;
        // Of whom nothing is kept, nothing can be given away.
        let is_given = !all.is_empty() && !self.words.is_protected(bus, patient).await?;
        let mut given = Vec::with_capacity(ours.len());
        for resource in ours {
            let text = |name| resource.get(name).and_then(Value::as_str).unwrap_or_default();
            let (kind, id) = (text("resourceType"), text("id"));
            let own = match emit::parts(id) {
                Some((_, own)) => Some(own),
                None => PatientId::parse(id).ok().map(PatientId::uuid),
            };
            let kept = match own.filter(|_| is_given) {
                Some(own) => all.resource(bus, patient, (kind, own)).await?,
                None => Vec::new(),
            };
            let json = restored(&resource, &kept).or(Err(Problem::not_given()))?;
            given.push(Given { place: format!("{kind}/{id}"), json });
        }
        Ok(given)
    }

    async fn one(&self, patient: PatientId, ours: Value) -> Answer {
        let given = self.give(patient, vec![ours]).await?.pop();
        let given = given.ok_or_else(|| Problem::not_found("there is no such resource"))?;
        Ok(answer(StatusCode::OK, given.json))
    }

    async fn patients(
        &self,
        found: impl Iterator<Item = &v1::PatientSummary>,
    ) -> Result<Vec<Given>, Problem> {
        let mut given = Vec::new();
        for summary in found {
            let Ok(patient) = PatientId::parse(&summary.patient_id) else { continue };
            given.extend(self.give(patient, vec![emit::patient(summary)]).await?);
        }
        Ok(given)
    }

    /// A page of patients, and where the next one begins.
    async fn list(&self, query: &Query) -> Result<(Vec<Given>, String), Problem> {
        // Several numbers, or all of a system, are looked for one patient after the other.
        let value = query.get("identifier").filter(|value| !value.contains(','));
        let value = value.map(|value| token(value).1.to_owned());
        let mut page_token = query.page.clone();
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let count = usize::try_from(query.count).unwrap_or(usize::MAX);
        loop {
            let request = v1::ListPatientsRequest {
                // No more than are wanted, so that the page ends where this one does.
                page_size: query.count.min(u32::try_from(count - found.len()).unwrap_or(1)),
                page_token,
                identifier_value: value.clone().unwrap_or_default(),
                ..v1::ListPatientsRequest::default()
            };
            let page = self.timeline.client.clone().list_patients(own(request)).await;
            let page = page.map_err(|status| Problem::of_timeline(&status))?;
            let page = page.into_inner();
            looked_at += page.patients.len();
            let matching = page
                .patients
                .iter()
                .filter(|patient| query.finds(patient, &self.timeline.region.zone));
            found.extend(self.patients(matching).await?);
            page_token = page.next_page_token;
            if page_token.is_empty() || found.len() >= count || looked_at >= LOOKED_AT_MAX {
                return Ok((found, page_token));
            }
        }
    }
}

/// The door itself asks the timeline; who asked the door was seen before.
const CALLER: [(&str, &str); 3] =
    [(caller::ORGANISATION, "tsunagi"), (caller::ROLE, "system"), (caller::PERSON, "fhir")];

/// A request in the name of the door.
pub(super) fn own<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    for (name, text) in CALLER {
        if let Ok(text) = text.parse() {
            request.metadata_mut().insert(name, text);
        }
    }
    request
}
