//! What every desk does with a request: see who calls, make the event, submit it.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tsunagi_chassis::{Refused, caller};
use tsunagi_domain::{EventId, PatientId};
use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::check::{Check, Path, Violation};
use tsunagi_proto::{CommandRequest, Context, v1};

use crate::handler::{Handler, Moved, Moving, Submission, SubmitError};

/// A request's message, if its fields are what they must be.
pub fn whole<M: Check>(message: M) -> Result<M, Refused> {
    let violations = message.violations();
    if violations.is_empty() { Ok(message) } else { Err(Refused::fields(violations)) }
}

/// The common part of the desks.
#[derive(Clone)]
pub struct Desk {
    handler: Arc<Handler>,
    /// The door's name, as it stands in `Source.door`.
    door: &'static str,
}

impl Desk {
    pub fn new(handler: Arc<Handler>, door: &'static str) -> Self {
        Self { handler, door }
    }

    /// Records what `request` says as the event that `payload` makes of it.
    pub async fn record<R: CommandRequest>(
        &self,
        request: Request<R>,
        payload: impl FnOnce(R::Event) -> Payload,
    ) -> Result<Response<v1::Receipt>, Status> {
        Ok(Response::new(self.take(request, payload).await?))
    }

    async fn take<R: CommandRequest>(
        &self,
        request: Request<R>,
        payload: impl FnOnce(R::Event) -> Payload,
    ) -> Result<v1::Receipt, Refused> {
        let actor = caller(request.metadata())?;
        let request = request.into_inner();
        let violations = request.violations();
        // Whether a list has a code is for the handler to say, who knows what was taken before.
        let is_whole = violations.iter().all(|violation| violation.is_unlisted);
        // Both parts are there if nothing is violated: the schema says they must be given.
        let ((Some(context), Some(event)), true) = (request.into_parts(), is_whole) else {
            return Err(Refused::fields(violations));
        };
        let (expected_version, event) = self.event(context, &actor, &payload(event));
        let submission = Submission { events: vec![event], expected_version };
        let receipts = self.handler.submit(submission).await.map_err(in_request)?;
        receipts.into_iter().next().ok_or_else(|| {
            Refused::new(
                tonic::Code::Internal,
                "NO_RECEIPT",
                "the server gave no receipt: send the same request again",
            )
        })
    }

    /// Tells events again of the patient whose they are, and enters them in error where they were
    /// told.
    pub async fn move_events(
        &self,
        request: Request<v1::MoveEventsRequest>,
    ) -> Result<Response<v1::MoveEventsResponse>, Status> {
        let moving = self.moving(request)?;
        let moved = self.handler.move_events(moving).await.map_err(Refused::from)?;
        let Moved { taken_back, told_again } = moved;
        Ok(Response::new(v1::MoveEventsResponse { taken_back, told_again }))
    }

    fn moving(&self, request: Request<v1::MoveEventsRequest>) -> Result<Moving, Refused> {
        let actor = caller(request.metadata())?;
        let request = whole(request.into_inner())?;
        let context = request.context.unwrap_or_default();
        let unread = |field: &'static str| {
            let violation = Path::ROOT.field(field).violation("must be a UUID");
            move |_| Refused::fields(vec![violation])
        };
        let act = EventId::parse(&context.event_id).map_err(unread("context.event_id"))?;
        let from = PatientId::parse(&context.patient_id).map_err(unread("context.patient_id"))?;
        let to = PatientId::parse(&request.to_patient_id).map_err(unread("to_patient_id"))?;
        let events = request.event_ids.iter().map(|id| EventId::parse(id));
        let events = events.collect::<Result<_, _>>().map_err(unread("event_ids"))?;
        let error = Payload::EnteredInError(v1::EnteredInError::default());
        let (expected_version, said) = self.event(Context::Patient(context), &actor, &error);
        Ok(Moving { act, from, to, events, note: request.note, said, expected_version })
    }

    /// The event, and how many there must be before it of what it is about.
    fn event(
        &self,
        context: Context,
        actor: &tsunagi_domain::Actor,
        payload: &Payload,
    ) -> (Option<u64>, v1::Event) {
        let said = v1::Event {
            r#type: payload.event_type().to_owned(),
            source: Some(v1::Source { door: self.door.to_owned(), ..v1::Source::default() }),
            payload: payload.encode_to_vec(),
            ..v1::Event::default()
        };
        let acting = |on_behalf_of| Some(v1::Actor { on_behalf_of, ..actor.into() });
        match context {
            Context::Patient(context) => {
                let event = v1::Event {
                    event_id: context.event_id,
                    patient_id: context.patient_id,
                    occurred_at: context.occurred_at,
                    actor: acting(context.on_behalf_of),
                    correlation_id: context.correlation_id,
                    causation_id: context.causation_id,
                    sensitivity: context.sensitivity,
                    consent_basis: context.consent_basis,
                    ..said
                };
                (context.expected_version, event)
            }
            Context::Resource(context) => {
                let event = v1::Event {
                    event_id: context.event_id,
                    resource_id: context.resource_id,
                    occurred_at: context.occurred_at,
                    actor: acting(context.on_behalf_of),
                    correlation_id: context.correlation_id,
                    causation_id: context.causation_id,
                    ..said
                };
                (context.expected_version, event)
            }
            Context::Organisation(context) => {
                let caller = || actor.organisation().to_string();
                let represented = Some(&context.on_behalf_of).filter(|of| !of.is_empty());
                let event = v1::Event {
                    event_id: context.event_id,
                    organisation_id: represented.cloned().unwrap_or_else(caller),
                    occurred_at: context.occurred_at,
                    actor: acting(context.on_behalf_of),
                    correlation_id: context.correlation_id,
                    causation_id: context.causation_id,
                    ..said
                };
                (context.expected_version, event)
            }
        }
    }
}

/// The handler speaks of an event's payload; in a desk's request, that is the field `event`.
fn in_request(error: SubmitError) -> Refused {
    let SubmitError::Fields(violations) = error else { return error.into() };
    let in_request = |violation: Violation| match violation.field.strip_prefix("payload.") {
        Some(field) => Violation { field: format!("event.{field}"), ..violation },
        None => violation,
    };
    Refused::fields(violations.into_iter().map(in_request).collect())
}

/// Implements a desk's service: `admit(AdmitRequest) => Admitted` records what the request says as
/// an event of that type. `=> move_events(MoveEventsRequest) -> MoveEventsResponse`
/// is done by the desk's method of that name. The service has a field `desk`.
#[macro_export]
macro_rules! records {
    ($(#[$doc:meta])* $service:ident for $desk:ty {
        $($rpc:ident($request:ident) => $variant:ident,)*
        $(=> $other:ident($asked:ident) -> $answer:ident,)*
    }) => {
        $(#[$doc])*
        #[$crate::tonic::async_trait]
        impl $service for $desk {
            $(async fn $rpc(
                &self,
                request: $crate::tonic::Request<tsunagi_proto::v1::$request>,
            ) -> Result<$crate::tonic::Response<tsunagi_proto::v1::Receipt>, $crate::tonic::Status> {
                self.desk.record(request, tsunagi_proto::catalogue::Payload::$variant).await
            })*
            $(async fn $other(
                &self,
                request: $crate::tonic::Request<tsunagi_proto::v1::$asked>,
            ) -> Result<$crate::tonic::Response<tsunagi_proto::v1::$answer>, $crate::tonic::Status> {
                self.desk.$other(request).await
            })*
        }
    };
}
