//! Notifications for other organisations: one stream, one reader for each of them, and NATS
//! accounts that let each take its own and nothing else. Off unless organisations are named.
//!
//! An organisation never gets `CONSUMER.CREATE`, `MSG.NEXT` with a wildcard, or `DIRECT.GET`:
//! each lets it read what is others'. It lives in an account of its own: within one account, the
//! reply of a request can be another's inbox.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use bytes::Bytes;

use super::Nats;

const STREAM: &str = "NOTIFY";
/// By what name the region's own processes sign in.
const REGION_USER: &str = "care";
/// What was not fetched by then is gone: a notification is no record.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);
const BYTES_MAX: i64 = 256 << 20;
/// How long an organisation may take over a notification before it comes again.
const ACK_WAIT: Duration = Duration::from_secs(30);
const ACKS_PENDING_MAX: i64 = 256;

/// Why notifications cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("`{0}` cannot be the name of an organisation on NATS: letters, digits and hyphens can")]
    Name(String),
    #[error(
        "`{0}` is the name of the region's own user on NATS, and cannot be an organisation's: give the organisation another id"
    )]
    Own(String),
    #[error(
        "`{one}` and `{other}` would have one account on NATS: name each organisation once, with an id that differs from the others' by more than its case"
    )]
    Same { one: String, other: String },
    #[error("the stream NOTIFY on NATS cannot be used: {0}")]
    Nats(String),
}

/// What an organisation is told.
#[derive(Debug, Clone)]
pub struct Notice {
    pub organisation: String,
    /// One token of a subject.
    pub kind: String,
    /// The same id twice within some minutes is one notice: it must name the organisation too.
    pub id: String,
    pub body: Bytes,
}

/// Tells organisations that something concerns them.
pub struct Notifier {
    nats: Nats,
}

impl Notifier {
    /// Creates the stream, and a reader for each organisation.
    pub async fn open(
        nats: Nats,
        organisations: &[String],
        replicas: usize,
    ) -> Result<Self, NotifyError> {
        let told = |error: &dyn std::fmt::Display| NotifyError::Nats(error.to_string());
        let stream = nats.context.get_or_create_stream(stream(replicas)).await;
        let stream = stream.map_err(|error| told(&error))?;
        for name in all_checked(organisations)? {
            let reader = stream.get_or_create_consumer(name, reader(name)).await;
            reader.map_err(|error| told(&error))?;
        }
        Ok(Self { nats })
    }

    /// Tells an organisation. Answers when NATS has it.
    pub async fn tell(&self, notice: Notice) -> Result<(), NotifyError> {
        let Notice { organisation, kind, id, body } = notice;
        let subject = format!("care.notify.{}.{}", checked(&organisation)?, checked(&kind)?);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id.as_str());
        let context = &self.nats.context;
        let sent = context.publish_with_headers(subject, headers, body).await;
        let told = match sent {
            Ok(ack) => ack.await.map(drop),
            Err(error) => Err(error),
        };
        told.map_err(|error| NotifyError::Nats(error.to_string()))
    }
}

/// The `accounts` of nats-server's configuration: one for the region, one for each organisation.
/// Passwords come from the server's environment.
pub fn accounts(organisations: &[String]) -> Result<String, NotifyError> {
    let mut exports = String::new();
    let mut others = String::new();
    for name in all_checked(organisations)? {
        let account = account(name);
        for (subject, kind) in subjects(name) {
            // Writing to a text cannot fail.
            let _written = writeln!(
                exports,
                "      {{ service: \"{subject}\"{kind}, accounts: [{account}] }}"
            );
        }
        let imports = subjects(name).map(|(subject, _)| {
            format!("      {{ service: {{ account: CARE, subject: \"{subject}\" }} }}\n")
        });
        let _written = writeln!(
            others,
            "  {account} {{\n    users: [{{ user: \"{name}\", password: ${account}_PASSWORD }}]\n    \
             imports: [\n{}    ]\n  }}",
            imports.concat()
        );
    }
    Ok(format!(
        "accounts {{\n  CARE {{\n    jetstream: enabled\n    users: [{{ user: {REGION_USER}, password: \
         $CARE_PASSWORD }}]\n    exports: [\n{exports}    ]\n  }}\n{others}}}\n"
    ))
}

/// What an organisation may ask of JetStream: its next notification, and to say that it has it.
/// The latter has two forms. In the newer one, the domain and the account stand before the
/// stream. The domain must not be a wildcard: in `$JS.ACK.*.*.NOTIFY.acute.>` lies an older form,
/// too, by which others' notifications are fetched.
fn subjects(name: &str) -> [(String, &'static str); 3] {
    [
        (format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{name}"), ", response_type: stream"),
        (format!("$JS.ACK.{STREAM}.{name}.>"), ""),
        (format!("$JS.ACK._.*.{STREAM}.{name}.>"), ""),
    ]
}

/// The names of organisations of which each can have an account and a user of its own.
fn all_checked(organisations: &[String]) -> Result<Vec<&str>, NotifyError> {
    let mut accounts: BTreeMap<String, &str> = BTreeMap::new();
    for organisation in organisations {
        let name = checked(organisation)?;
        if name.eq_ignore_ascii_case(REGION_USER) {
            return Err(NotifyError::Own(name.to_owned()));
        }
        if let Some(one) = accounts.insert(account(name), name) {
            let (one, other) = (one.to_owned(), name.to_owned());
            return Err(NotifyError::Same { one, other });
        }
    }
    Ok(organisations.iter().map(String::as_str).collect())
}

fn account(name: &str) -> String {
    format!("ORG_{}", name.replace('-', "_").to_uppercase())
}

/// A name that is one token of a subject and of the server's configuration.
fn checked(name: &str) -> Result<&str, NotifyError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_name = !name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain);
    if is_name { Ok(name) } else { Err(NotifyError::Name(name.to_owned())) }
}

fn stream(replicas: usize) -> Config {
    Config {
        name: STREAM.to_owned(),
        description: Some("what concerns other organisations".to_owned()),
        subjects: vec!["care.notify.*.*".to_owned()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: replicas,
        max_bytes: BYTES_MAX,
        max_age: KEPT_FOR,
        ..Config::default()
    }
}

fn reader(name: &str) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        filter_subject: format!("care.notify.{name}.*"),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: ACKS_PENDING_MAX,
        ..pull::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_read_more_is_refused() {
        for wrong in ["", "*", ">", "a.b", "a b", "a*", "\"x", "病院"] {
            assert!(accounts(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn organisations_that_would_share_an_account_or_be_the_region_are_refused() {
        let refused = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            accounts(&names).unwrap_err().to_string()
        };
        let told = refused(&["acute", "home", "ACUTE"]);
        assert!(told.contains("`acute` and `ACUTE`"), "{told}");
        assert!(refused(&["acute", "acute"]).contains("once"));
        for own in ["care", "Care"] {
            assert!(refused(&["acute", own]).contains("the region's own user"), "{own}");
        }
    }

    #[test]
    fn an_account_has_its_own_subjects_alone() {
        let text = accounts(&["acute".into(), "home-care".into()]).unwrap();
        let own = "{ service: { account: CARE, subject: \"$JS.ACK.NOTIFY.home-care.>\" } }";
        assert!(text.contains(own) && text.contains("ORG_HOME_CARE {"), "{text}");
        let newer = "{ service: \"$JS.ACK._.*.NOTIFY.acute.>\", accounts: [ORG_ACUTE] }";
        assert!(text.contains(newer) && !text.contains("$JS.ACK.*"), "{text}");
        assert!(!text.contains("CREATE") && !text.contains("DIRECT"), "{text}");
    }
}
