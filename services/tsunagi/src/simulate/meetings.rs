//! The hospitals of the generated region meet their partner institutions (連携機関), as the
//! discharge support fee asks for: three times a year.

use jiff::Span;
use jiff::civil::Date;
use tsunagi_proto::v1;
use uuid::Uuid;

use super::people::in_words;
use super::region::{ACUTE, LONG_TERM, Office, REHABILITATION};
use super::teller::Teller;
use crate::client::{refused, signed};

/// Records the meetings of the three months before the first day, one of which was none. Told
/// again, nothing is added.
pub(super) async fn record(teller: &Teller, start: Date) -> anyhow::Result<()> {
    let partners: Vec<_> = REHABILITATION.into_iter().chain(LONG_TERM).map(Office::named).collect();
    for hospital in ACUTE {
        for days in [70, 40, 10, 9] {
            let held = v1::RecordPartnerMeetingRequest {
                context: Some(context(hospital, start, days, "held")),
                event: Some(v1::PartnerMeetingHeld {
                    partners: partners.clone(),
                    kind: v1::PartnerMeetingKind::Video.into(),
                    subject: "転院の受け入れと退院支援".to_owned(),
                    note: String::new(),
                }),
            };
            let desk = &mut teller.discharge_desk.clone();
            desk.record_partner_meeting(sign(hospital, held)).await.map_err(|s| refused(&s))?;
        }
        let error = v1::MarkPartnerMeetingEnteredInErrorRequest {
            context: Some(context(hospital, start, 8, "error")),
            event: Some(v1::PartnerMeetingEnteredInError {
                corrects_event_id: id(hospital, start, 9, "held"),
                reason: "二重の登録".to_owned(),
            }),
        };
        let desk = &mut teller.discharge_desk.clone();
        let marked = desk.mark_partner_meeting_entered_in_error(sign(hospital, error)).await;
        marked.map_err(|status| refused(&status))?;
    }
    Ok(())
}

fn context(hospital: Office, start: Date, days_before: i64, step: &str) -> v1::OrganisationContext {
    let at = start.saturating_sub(Span::new().days(days_before)).at(14, 0, 0, 0);
    v1::OrganisationContext {
        event_id: id(hospital, start, days_before, step),
        occurred_at: in_words(at),
        ..v1::OrganisationContext::default()
    }
}

/// The same in every simulation from that day on.
fn id(hospital: Office, start: Date, days_before: i64, step: &str) -> String {
    let name = format!("{} {step} {start} {days_before}", hospital.id);
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

fn sign<T>(hospital: Office, message: T) -> tonic::Request<T> {
    let who = hospital.liaison_nurse();
    signed(message, who.office.id, who.role, who.id)
}
