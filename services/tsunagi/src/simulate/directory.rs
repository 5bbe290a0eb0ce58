//! The directory of the generated region: its link workers publish what there is before the
//! stories begin.

use jiff::Span;
use jiff::civil::Date;
use tsunagi_proto::v1;
use tsunagi_proto::v1::link_worker_client::LinkWorkerClient;
use uuid::Uuid;

use super::people::in_words;
use super::region::{Office, RESOURCES, Team, code};
use super::teller::Teller;
use crate::client::{refused, signed};

/// Of which kind each resource is, when it takes place, and how many it takes.
const DETAILS: [(&str, &str, &str); RESOURCES.len()] = [
    ("exercise", "FREQ=WEEKLY;BYDAY=MO,WE,FR", "has-capacity"),
    ("gathering", "FREQ=WEEKLY;BYDAY=TU", "has-capacity"),
    ("learning", "FREQ=MONTHLY;BYDAY=2SA", "no-capacity-has-waitlist"),
    ("exercise", "FREQ=WEEKLY;BYDAY=TH", "has-capacity"),
    ("food-support", "FREQ=MONTHLY;BYMONTHDAY=25", "additional-assessment-required"),
    ("learning", "FREQ=WEEKLY;BYDAY=FR", "has-capacity"),
    ("volunteering", "FREQ=WEEKLY;BYDAY=WE", "no-capacity"),
    ("money-advice", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "has-capacity"),
];

/// A resource that ends before the stories begin.
const ENDING: Office = Office { id: "res-09", name: "日曜うたごえの会" };

/// A resource as the region's directory knows it.
pub(super) fn named(resource: Office) -> v1::ResourceRef {
    v1::ResourceRef { id: id(resource, "").to_string(), name: resource.name.to_owned() }
}

/// Publishes the resources and what they can take, a month before the first day. Told again,
/// nothing is added.
pub(super) async fn publish(teller: &Teller, start: Date) -> anyhow::Result<()> {
    let at = in_words(start.saturating_sub(Span::new().days(30)).at(9, 0, 0, 0));
    let desk = &mut teller.link_worker.clone();
    for (resource, (kind, rrule, capacity)) in RESOURCES.into_iter().zip(DETAILS) {
        let context = |step: &str| {
            Some(v1::ResourceContext {
                event_id: id(resource, &format!("{step} {start}")).to_string(),
                resource_id: id(resource, "").to_string(),
                occurred_at: at.clone(),
                ..v1::ResourceContext::default()
            })
        };
        let published = v1::PublishResourceRequest {
            context: context("published"),
            event: Some(describe(resource, kind, rrule)),
        };
        if is_published(desk, published).await? {
            let capacity = Some(code("sp.capacity", capacity, ""));
            let event = v1::ResourceCapacitySet { capacity, ..v1::ResourceCapacitySet::default() };
            let context = context("capacity");
            let request = v1::ReportCapacityRequest { context, event: Some(event) };
            desk.report_capacity(sign(request)).await.map_err(|status| refused(&status))?;
        }
    }
    let context = |step: &str, days: i64| {
        let at = start.saturating_sub(Span::new().days(days)).at(9, 0, 0, 0);
        Some(v1::ResourceContext {
            event_id: id(ENDING, &format!("{step} {start}")).to_string(),
            resource_id: id(ENDING, "").to_string(),
            occurred_at: in_words(at),
            ..v1::ResourceContext::default()
        })
    };
    let published = v1::PublishResourceRequest {
        context: context("published", 30),
        event: Some(describe(ENDING, "gathering", "FREQ=WEEKLY;BYDAY=SU")),
    };
    if is_published(desk, published).await? {
        end(desk, context).await?;
    }
    Ok(())
}

/// A resource changes, is confirmed once more, and then there is none.
async fn end(
    desk: &mut LinkWorkerClient<tonic::transport::Channel>,
    context: impl Fn(&str, i64) -> Option<v1::ResourceContext>,
) -> anyhow::Result<()> {
    let changed = v1::ChangeResourceRequest {
        context: context("changed", 20),
        event: Some(describe(ENDING, "gathering", "FREQ=MONTHLY;BYDAY=1SU")),
    };
    desk.change_resource(sign(changed)).await.map_err(|status| refused(&status))?;
    let confirmed = v1::ConfirmResourceRequest {
        context: context("confirmed", 15),
        event: Some(v1::ResourceVerified {
            means: v1::Means::Telephone.into(),
            ..v1::ResourceVerified::default()
        }),
    };
    desk.confirm_resource(sign(confirmed)).await.map_err(|status| refused(&status))?;
    let withdrawn = v1::WithdrawResourceRequest {
        context: context("withdrawn", 5),
        event: Some(v1::ResourceWithdrawn { reason: "世話役の引退".to_owned() }),
    };
    desk.withdraw_resource(sign(withdrawn)).await.map_err(|status| refused(&status))?;
    Ok(())
}

/// Publishes a resource. False if it is there already: another simulation of another time told
/// of it.
async fn is_published(
    desk: &mut LinkWorkerClient<tonic::transport::Channel>,
    request: v1::PublishResourceRequest,
) -> anyhow::Result<bool> {
    match desk.publish_resource(sign(request)).await {
        Ok(_receipt) => Ok(true),
        Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(false),
        Err(status) => Err(refused(&status)),
    }
}

fn describe(resource: Office, kind: &str, rrule: &str) -> v1::Resource {
    v1::Resource {
        organisation: Some(resource.named()),
        name: resource.name.to_owned(),
        kinds: vec![code("sp.resource-kind", kind, "")],
        areas: vec![v1::ServiceArea { name: "つなぎ市".to_owned(), ..Default::default() }],
        schedules: vec![v1::ResourceSchedule { rrule: rrule.to_owned(), ..Default::default() }],
        ..v1::Resource::default()
    }
}

fn sign<T>(message: T) -> tonic::Request<T> {
    let who = Team::link_worker();
    signed(message, who.office.id, who.role, who.id)
}

/// The same in every simulation.
fn id(resource: Office, step: &str) -> Uuid {
    let of_resource = Uuid::new_v5(&Uuid::NAMESPACE_URL, resource.id.as_bytes());
    if step.is_empty() { of_resource } else { Uuid::new_v5(&of_resource, step.as_bytes()) }
}
