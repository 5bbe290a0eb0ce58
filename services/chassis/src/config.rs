//! Settings: one table of all of them. A flag wins over the environment, the environment over
//! the file, the file over the default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tsunagi_domain::Zone;

/// One setting. Its flag is `--name`, its variable `TSUNAGI_NAME`, its key in the file `name`.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub default: &'static str,
    /// What it means, its unit, and what happens at the limit.
    pub help: &'static str,
    /// True if it is said without a value.
    pub is_switch: bool,
}

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, default, help, is_switch: false }
}

/// All settings, as `tsunagi config` lists them.
pub const SETTINGS: &[Setting] = &[
    setting(
        "data",
        "tsunagi-data",
        "The folder that holds the log and all else. Created if it is missing",
    ),
    setting(
        "listen",
        "127.0.0.1:7400",
        "Where gRPC is served. Port 0 takes a free one. Other addresses than loopback need insecure-listen",
    ),
    Setting {
        name: "insecure-listen",
        default: "false",
        help: "Listen on any address, though callers cannot prove who they are",
        is_switch: true,
    },
    setting(
        "zone",
        "Asia/Tokyo",
        "The region's time zone, which says when a day begins. Fixed when the data folder is created",
    ),
    setting(
        "slots",
        "64",
        "Into how many slots the region's patients are divided. Fixed when the data folder is created",
    ),
    setting("log", "info", "What is logged, as a filter: `info`, `warn,tsunagi_event_store=debug`"),
    setting("log-format", "text", "How it is logged: `text` or `json`"),
    setting(
        "message-bytes",
        "1048576",
        "Bytes of the largest gRPC message taken; a larger one is refused with OUT_OF_RANGE",
    ),
    setting(
        "record-bytes",
        "786432",
        "Bytes of the largest event taken; a larger one is refused with INVALID_ARGUMENT",
    ),
    setting(
        "calls-per-connection",
        "1024",
        "Calls worked on at once for one connection; further ones wait",
    ),
    setting(
        "session-window",
        "256",
        "Requests of one publish session worked on at once; no more are read until answers are taken",
    ),
    setting(
        "open-streams",
        "1024",
        "Subscriptions that may be open at once, and as many watched timelines; further ones are refused with RESOURCE_EXHAUSTED",
    ),
    setting("subscribe-batch", "256", "Events a reader of the feed gets from the log at a time"),
    setting(
        "heartbeat-ms",
        "15000",
        "Milliseconds of silence after which a subscriber gets a heartbeat",
    ),
    setting(
        "large-timelines",
        "4",
        "Timelines of more than 8 MiB that are read at once; further ones wait read-wait-ms, then RESOURCE_EXHAUSTED",
    ),
    setting(
        "read-back-patients",
        "5000",
        "Patients of whom a board or a page of patients as known at a time is made; of boards with more: RESOURCE_EXHAUSTED",
    ),
    setting(
        "cached-patients",
        "20000",
        "Patients whose state is kept in memory to decide on; others are read from the log when needed",
    ),
    setting(
        "decide-attempts",
        "16",
        "How often a command is decided again when others write about the patient at the same time; then ABORTED",
    ),
    setting(
        "claim-wait-ms",
        "300000",
        "Milliseconds that an identifier is kept for a patient whose registration has not come; then others may take it",
    ),
    setting("segment-bytes", "67108864", "Bytes of one file of the log"),
    setting(
        "scrub-bytes-per-second",
        "1048576",
        "Bytes of the log that are read again and checked each second, in the background; 0 for none",
    ),
    setting(
        "disk-floor-bytes",
        "268435456",
        "Bytes of the log's disk that stay free: with less, writes are refused with RESOURCE_EXHAUSTED, and reads go on",
    ),
    setting(
        "batch-events",
        "1024",
        "Events after which no more requests are added to one flush; a request is never divided",
    ),
    setting("batch-bytes", "1048576", "Bytes after which no more requests are added to one flush"),
    setting(
        "append-queue",
        "4096",
        "Requests that wait for the log; further ones wait append-wait-ms for a place",
    ),
    setting(
        "append-queue-bytes",
        "67108864",
        "Bytes of the requests that wait for the log; further ones wait like those",
    ),
    setting(
        "append-wait-ms",
        "5000",
        "Milliseconds that a request waits for a place in the queue; then RESOURCE_EXHAUSTED",
    ),
    setting(
        "nats",
        "",
        "The NATS servers that carry the region's events, such as nats://127.0.0.1:4222, with commas between several. Empty: the embedded bus",
    ),
    Setting {
        name: "with-nats",
        default: "false",
        help: "Start a nats-server of its own, which lives and dies with this server, and carry the events there. It is found on the PATH or as `nats-server` in the data folder",
        is_switch: true,
    },
    setting(
        "nats-listen",
        "127.0.0.1:4222",
        "Where the nats-server that with-nats starts listens. Port 0 takes a free one",
    ),
    setting(
        "notify",
        "",
        "Organisations that are told by ids of what concerns them, in the stream NOTIFY on NATS, with commas between; `tsunagi nats-accounts` prints the accounts that let them read",
    ),
    setting(
        "nats-credentials",
        "",
        "The file of NATS credentials (.creds) to connect with; user and password may stand in the URL instead",
    ),
    setting(
        "nats-ca",
        "",
        "The file of the certificates (PEM) that NATS servers are trusted by; empty: the system's",
    ),
    setting("nats-certificate", "", "The file of this client's certificate (PEM), with nats-key"),
    setting("nats-key", "", "The file of the key to nats-certificate (PEM)"),
    setting(
        "nats-replicas",
        "1",
        "On how many NATS servers each stream lies: 1, 3 or 5. For streams that are created; with existing ones it is compared",
    ),
    setting(
        "nats-stream-bytes",
        "268435456",
        "Bytes that each slot's stream may have, for streams that are created; when it is full, writes are refused with RESOURCE_EXHAUSTED",
    ),
    setting(
        "nats-start-ms",
        "30000",
        "Milliseconds that NATS may take to answer when the server starts; then it does not start",
    ),
    setting(
        "nats-window",
        "256",
        "Publications that wait for NATS' acknowledgement at once; further ones wait append-wait-ms for a place, then RESOURCE_EXHAUSTED",
    ),
    setting(
        "nats-ack-ms",
        "5000",
        "Milliseconds after which an acknowledgement of NATS is given up, and the stream is read to see what became of it",
    ),
    setting(
        "publish-wait-ms",
        "30000",
        "Milliseconds that a publication may take on NATS in all; then UNAVAILABLE: send it again under the same event id",
    ),
    setting(
        "receipt-wait-ms",
        "10000",
        "Milliseconds that a published event may take to be stored; then UNAVAILABLE: send it again under the same event id",
    ),
    setting(
        "ack",
        "store",
        "When a publication on NATS is acknowledged: `store` when it is in the stream and flushed in an event store, `bus` when it is in the stream",
    ),
    setting(
        "nats-check-ms",
        "3000",
        "Milliseconds after which it is checked again that each stream is the one that the log was made from, and that its messages come",
    ),
    Setting {
        name: "accept-lost",
        default: "false",
        help: "Go on though NATS lost something: make its streams anew from the log when it has none of them, and go on behind messages that a stream lost and this store never had. Say it once, when no other store or backup has them",
        is_switch: true,
    },
    setting(
        "nats-ping-ms",
        "1000",
        "Milliseconds after which NATS is asked whether it is there; when it answers none of three, another of its servers is taken",
    ),
    setting(
        "ingest-batch",
        "1024",
        "Messages that are taken from a stream into the log at once; those of one publication are never divided",
    ),
    setting(
        "shard",
        "1/1",
        "Which share of the slots this event store has on NATS, as 2/3 for the second of three",
    ),
    setting(
        "stores",
        "",
        "The servers that have the shards on NATS, in their order, with commas between, and with `|` between replicas of one shard: http://a:7400|http://b:7400,http://c:7400. Reads about other patients go there; when a replica is gone, the next is asked",
    ),
    setting(
        "stores-answer-ms",
        "30000",
        "Milliseconds that another server of the region may take to answer; then UNAVAILABLE (SHARD_AWAY)",
    ),
    setting(
        "replicas",
        "",
        "Other servers that have the same shard on NATS, with commas between: the roots of their trees are compared with this server's",
    ),
    setting(
        "replica-check-ms",
        "60000",
        "Milliseconds after which the roots of replicas are compared again",
    ),
    setting(
        "checkpoint-interval-ms",
        "60000",
        "Milliseconds after which what was written is signed, if anything was",
    ),
    setting(
        "read-wait-ms",
        "5000",
        "Milliseconds that a read waits for the cursor that it must have seen; then UNAVAILABLE",
    ),
    setting(
        "mllp-listen",
        "",
        "Where HL7 v2 is taken over MLLP, such as 127.0.0.1:2575; empty for nowhere. Other addresses than loopback need mllp-client-ca or insecure-listen",
    ),
    setting(
        "mllp-connections",
        "1024",
        "MLLP connections at once; one more is closed as soon as it is made",
    ),
    setting(
        "mllp-frame-bytes",
        "1048576",
        "Bytes of the largest HL7 message taken; of a larger one the beginning is quarantined, and it is answered with AR",
    ),
    setting(
        "mllp-batch-messages",
        "5000",
        "Messages of the largest HL7 batch or frame taken; one with more is quarantined whole, and answered with AR",
    ),
    setting(
        "mllp-pipeline",
        "16",
        "Messages of one MLLP connection that are read ahead while one is worked on; no more are read until answers are taken",
    ),
    setting(
        "mllp-idle-ms",
        "3600000",
        "Milliseconds of silence, of bytes outside all messages, or within one message, after which an MLLP connection is closed; 0 for never",
    ),
    setting(
        "mllp-tls-cert",
        "",
        "The PEM file with the certificates that MLLP is served with over TLS; empty for no TLS",
    ),
    setting("mllp-tls-key", "", "The PEM file with the private key of mllp-tls-cert"),
    setting(
        "mllp-client-ca",
        "",
        "The PEM file with the authorities that must have signed a client's certificate; empty for clients without",
    ),
    setting(
        "metrics-listen",
        "",
        "Where Prometheus fetches /metrics, such as 127.0.0.1:9464; empty for nowhere. Other addresses than loopback need insecure-listen",
    ),
    setting(
        "fhir-listen",
        "",
        "Where FHIR R4 is served, such as 127.0.0.1:7480; empty for nowhere. Other addresses than loopback need insecure-listen",
    ),
    setting(
        "fhir-requests",
        "256",
        "FHIR requests worked on at once; one more is answered with 503",
    ),
    setting(
        "fhir-body-wait-ms",
        "30000",
        "Milliseconds that the body of a request may take to come; then it is refused (BODY_TOO_SLOW)",
    ),
    setting(
        "fhir-body-bytes",
        "16777216",
        "Bytes of the largest Bundle taken; a larger one is answered with 413",
    ),
    setting(
        "fhir-kept-bytes",
        "16384",
        "Bytes of FHIR elements that are kept as they were sent, of one resource; those beyond are named in the answer (ELEMENTS_NOT_KEPT). 262144 at most",
    ),
    setting(
        "fhir-own-organisations",
        "false",
        "Whether the ids of organisations in Bundles are the sender's own, so that another sender's of the same id is another organisation. Set it before the first Bundle, or never",
    ),
    setting("ssmix2-folder", "", "The folder with an SS-MIX2 storage that is read; empty for none"),
    setting("ssmix2-poll-ms", "10000", "Milliseconds between two looks into the SS-MIX2 storage"),
    setting(
        "ssmix2-settle-ms",
        "2000",
        "Milliseconds that a file of the SS-MIX2 storage must have been left alone to be read to its end",
    ),
    setting(
        "ssmix2-file-bytes",
        "268435456",
        "Bytes of the largest file of the SS-MIX2 storage that is read; a larger one is told of and passed over",
    ),
    setting(
        "ssmix2-unended-ms",
        "3600000",
        "Milliseconds after which the last record of an SS-MIX2 transaction file is taken although its last segment has no end",
    ),
    setting(
        "ssmix2-record-bytes",
        "1048576",
        "Bytes before the place to which an SS-MIX2 transaction file was read in which the beginning of a torn record is looked for",
    ),
    setting(
        "ssmix2-day-files",
        "50000",
        "Files of one of the last days of the SS-MIX2 storage that are each remembered; of a day that has more, all are taken again when one changes",
    ),
    setting(
        "ssmix2-unread-files",
        "1000",
        "Files of the SS-MIX2 storage that cannot be read and are tried again; behind one more, nothing is taken",
    ),
    setting(
        "code-sets",
        "",
        "The folder with versions of code sets beside those built in, such as jp.care-level.toml; empty for none. Every process of a region needs the same",
    ),
    setting(
        "hl7-profiles",
        "",
        "The TOML file that says of each sending facility how its HL7 v2 is to be read; empty for none",
    ),
    setting(
        "stop-wait-ms",
        "10000",
        "Milliseconds that calls may still take when the server stops",
    ),
];

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// When a publication on NATS is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// When it is in the stream, and flushed in an event store.
    Store,
    /// When it is in the stream.
    Bus,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the setting `{setting}` must be {expected}")]
    Value { setting: &'static str, expected: &'static str },
    #[error("the setting `{setting}` must be at least {least}")]
    TooSmall { setting: &'static str, least: String },
    #[error("cannot read the settings file {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings file {path} is not TOML")]
    Toml { path: PathBuf, source: Box<toml::de::Error> },
    #[error(
        "the settings file {path} has an unknown or malformed setting `{key}`: `tsunagi config` lists them all"
    )]
    Key { path: PathBuf, key: String },
}

/// The value of every setting, and where it came from.
#[derive(Debug, Clone)]
pub struct Values(BTreeMap<&'static str, (String, Origin)>);

/// The settings, as the services use them. The table says what each means.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub insecure_listen: bool,
    pub zone: String,
    pub slots: u16,
    pub log: String,
    pub log_format: LogFormat,
    pub message_bytes: usize,
    pub record_bytes: usize,
    pub calls_per_connection: usize,
    pub session_window: usize,
    pub open_streams: usize,
    pub subscribe_batch: usize,
    pub heartbeat_ms: u64,
    pub large_timelines: usize,
    pub read_back_patients: usize,
    pub cached_patients: usize,
    pub decide_attempts: u32,
    pub claim_wait_ms: u32,
    pub segment_bytes: u32,
    pub scrub_bytes_per_second: u32,
    pub disk_floor_bytes: u64,
    pub batch_events: usize,
    pub batch_bytes: usize,
    pub append_queue: usize,
    pub append_queue_bytes: u32,
    pub append_wait_ms: u64,
    pub checkpoint_interval_ms: u64,
    pub read_wait_ms: u64,
    pub mllp: Mllp,
    pub code_sets: Option<PathBuf>,
    pub hl7_profiles: Option<PathBuf>,
    pub ssmix2: Ssmix2,
    pub fhir: Fhir,
    pub metrics_listen: Option<SocketAddr>,
    pub stop_wait_ms: u64,
    /// None: the embedded bus.
    pub nats: Option<String>,
    pub with_nats: bool,
    pub nats_listen: SocketAddr,
    pub notify: Vec<String>,
    pub nats_credentials: Option<PathBuf>,
    pub nats_ca: Option<PathBuf>,
    pub nats_certificate: Option<PathBuf>,
    pub nats_key: Option<PathBuf>,
    pub nats_replicas: usize,
    pub nats_stream_bytes: i64,
    pub nats_start_ms: u64,
    pub nats_window: usize,
    pub nats_ack_ms: u64,
    pub publish_wait_ms: u64,
    pub receipt_wait_ms: u64,
    pub ack: Ack,
    pub nats_check_ms: u64,
    pub accept_lost: bool,
    pub nats_ping_ms: u64,
    /// Which of how many, from 1 on.
    pub shard: (u16, u16),
    pub stores: Vec<String>,
    pub stores_answer_ms: u64,
    pub replicas: Vec<String>,
    pub replica_check_ms: u64,
    pub ingest_batch: usize,
}

/// The settings of the FHIR door.
#[derive(Debug, Clone)]
pub struct Fhir {
    pub listen: Option<SocketAddr>,
    pub requests: usize,
    pub body_bytes: usize,
    pub own_organisations: bool,
    pub kept_bytes: usize,
    pub body_wait_ms: u64,
}

/// The settings of the reader of SS-MIX2 storages.
#[derive(Debug, Clone)]
pub struct Ssmix2 {
    pub folder: Option<PathBuf>,
    pub poll_ms: u64,
    pub settle_ms: u64,
    pub file_bytes: u64,
    pub unended_ms: u64,
    pub record_bytes: u64,
    pub day_files: usize,
    pub unread_files: usize,
}

/// The settings of the MLLP door.
#[derive(Debug, Clone)]
pub struct Mllp {
    pub listen: Option<SocketAddr>,
    pub connections: usize,
    pub frame_bytes: usize,
    pub batch_messages: usize,
    pub pipeline: usize,
    pub idle_ms: u64,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
}

impl Values {
    /// Gathers the values: from `flags`, the environment, the file named by `--config`, by
    /// `TSUNAGI_CONFIG` or `./tsunagi.toml`, and the defaults.
    pub fn gather(
        flags: &BTreeMap<&'static str, String>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads them")]
        let variable = |name: &str| std::env::var(name).ok();
        let named = file.map(Path::to_owned).or_else(|| variable("TSUNAGI_CONFIG").map(Into::into));
        let in_file = match named {
            Some(path) => read_file(&path)?,
            None if Path::new("tsunagi.toml").exists() => read_file(Path::new("tsunagi.toml"))?,
            None => BTreeMap::new(),
        };
        Ok(Self::merge(flags, variable, &in_file))
    }

    fn merge(
        flags: &BTreeMap<&'static str, String>,
        variable: impl Fn(&str) -> Option<String>,
        in_file: &BTreeMap<&'static str, String>,
    ) -> Self {
        let value = |setting: &Setting| {
            let from = |value: Option<String>, origin| value.map(|value| (value, origin));
            from(flags.get(setting.name).cloned(), Origin::Flag)
                .or_else(|| from(variable(&variable_name(setting.name)), Origin::Environment))
                .or_else(|| from(in_file.get(setting.name).cloned(), Origin::File))
                .unwrap_or_else(|| (setting.default.to_owned(), Origin::Default))
        };
        Self(SETTINGS.iter().map(|setting| (setting.name, value(setting))).collect())
    }

    /// A setting's value and origin.
    pub fn get(&self, name: &str) -> Option<(&str, Origin)> {
        self.0.get(name).map(|(value, origin)| (value.as_str(), *origin))
    }

    fn parse<T: FromStr>(
        &self,
        setting: &'static str,
        expected: &'static str,
    ) -> Result<T, ConfigError> {
        let error = ConfigError::Value { setting, expected };
        self.get(setting).and_then(|(value, _)| value.parse().ok()).ok_or(error)
    }

    /// `2/3`, of which the first is from 1 to the second.
    fn share(&self, setting: &'static str) -> Result<(u16, u16), ConfigError> {
        const EXPECTED: &str = "a share such as 2/3";
        let share = self.get(setting).and_then(|(value, _)| value.split_once('/'));
        let share = share.and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        let share = share.filter(|(index, of)| (1..=*of).contains(index));
        share.ok_or(ConfigError::Value { setting, expected: EXPECTED })
    }

    /// What stands between commas.
    fn list(&self, setting: &'static str) -> Vec<String> {
        let value = self.get(setting).map_or("", |(value, _)| value);
        let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    /// A setting that may be empty.
    fn optional<T: FromStr>(
        &self,
        setting: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(setting) {
            None | Some(("", _)) => Ok(None),
            Some(_) => self.parse(setting, expected).map(Some),
        }
    }

    fn number<T: FromStr + PartialOrd + Copy + ToString>(
        &self,
        setting: &'static str,
        least: T,
    ) -> Result<T, ConfigError> {
        let number = self.parse(setting, "a whole number")?;
        if number < least {
            return Err(ConfigError::TooSmall { setting, least: least.to_string() });
        }
        Ok(number)
    }
}

impl Config {
    pub fn new(values: &Values) -> Result<Self, ConfigError> {
        const A_PATH: &str = "a path";
        let no_path = ConfigError::Value { setting: "data", expected: A_PATH };
        let config = Self {
            data: values.optional("data", A_PATH)?.ok_or(no_path)?,
            listen: values.parse("listen", "an address and port such as 127.0.0.1:7400")?,
            insecure_listen: values.parse("insecure-listen", "`true` or `false`")?,
            zone: values.parse("zone", "a time zone such as Asia/Tokyo")?,
            slots: values.number("slots", 1)?,
            log: values.parse("log", "a filter such as `info`")?,
            log_format: values.parse("log-format", "`text` or `json`")?,
            message_bytes: values.number("message-bytes", 1024)?,
            record_bytes: values.number("record-bytes", 1024)?,
            calls_per_connection: values.number("calls-per-connection", 1)?,
            session_window: values.number("session-window", 1)?,
            open_streams: values.number("open-streams", 1)?,
            subscribe_batch: values.number("subscribe-batch", 1)?,
            heartbeat_ms: values.number("heartbeat-ms", 100)?,
            large_timelines: values.number("large-timelines", 1)?,
            read_back_patients: values.number("read-back-patients", 1)?,
            cached_patients: values.number("cached-patients", 1)?,
            decide_attempts: values.number("decide-attempts", 1)?,
            claim_wait_ms: values.number("claim-wait-ms", 0)?,
            segment_bytes: values.number("segment-bytes", 65_536)?,
            scrub_bytes_per_second: values.number("scrub-bytes-per-second", 0)?,
            disk_floor_bytes: values.number("disk-floor-bytes", 0)?,
            batch_events: values.number("batch-events", 1)?,
            batch_bytes: values.number("batch-bytes", 1024)?,
            append_queue: values.number("append-queue", 1)?,
            append_queue_bytes: values.number("append-queue-bytes", 65_536)?,
            append_wait_ms: values.number("append-wait-ms", 1)?,
            checkpoint_interval_ms: values.number("checkpoint-interval-ms", 10)?,
            read_wait_ms: values.number("read-wait-ms", 0)?,
            mllp: Mllp::new(values)?,
            fhir: Fhir::new(values)?,
            metrics_listen: values.optional("metrics-listen", "one such as 127.0.0.1:9464")?,
            ssmix2: Ssmix2::new(values)?,
            code_sets: values.optional("code-sets", "a path, or nothing")?,
            hl7_profiles: values.optional("hl7-profiles", "a path, or nothing")?,
            stop_wait_ms: values.number("stop-wait-ms", 0)?,
            nats: values.optional("nats", "a URL such as nats://127.0.0.1:4222")?,
            with_nats: values.parse("with-nats", "`true` or `false`")?,
            nats_listen: values
                .parse("nats-listen", "an address and port such as 127.0.0.1:4222")?,
            notify: values.list("notify"),
            nats_credentials: values.optional("nats-credentials", "a path")?,
            nats_ca: values.optional("nats-ca", "a path")?,
            nats_certificate: values.optional("nats-certificate", "a path")?,
            nats_key: values.optional("nats-key", "a path")?,
            nats_replicas: values.number("nats-replicas", 1)?,
            nats_stream_bytes: values.number("nats-stream-bytes", 1_048_576)?,
            nats_start_ms: values.number("nats-start-ms", 1)?,
            nats_window: values.number("nats-window", 1)?,
            nats_ack_ms: values.number("nats-ack-ms", 10)?,
            publish_wait_ms: values.number("publish-wait-ms", 10)?,
            receipt_wait_ms: values.number("receipt-wait-ms", 10)?,
            ack: values.parse("ack", "`store` or `bus`")?,
            nats_check_ms: values.number("nats-check-ms", 10)?,
            accept_lost: values.parse("accept-lost", "`true` or `false`")?,
            nats_ping_ms: values.number("nats-ping-ms", 100)?,
            shard: values.share("shard")?,
            stores: values.list("stores"),
            stores_answer_ms: values.number("stores-answer-ms", 10)?,
            replicas: values.list("replicas"),
            replica_check_ms: values.number("replica-check-ms", 10)?,
            ingest_batch: values.number("ingest-batch", 1)?,
        };
        config.check()?;
        Ok(config)
    }

    /// Whether the region's events are carried by NATS, and not by the embedded bus.
    pub fn is_on_nats(&self) -> bool {
        self.nats.is_some() || self.with_nats
    }

    /// Settings that are of use together alone, and what can be looked up.
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |setting, expected| Err(ConfigError::Value { setting, expected });
        if Zone::named(&self.zone).is_none() {
            return wrong("zone", "a time zone such as Asia/Tokyo");
        }
        if ![1, 3, 5].contains(&self.nats_replicas) {
            return wrong("nats-replicas", "1, 3 or 5");
        }
        if self.nats.is_some() && self.with_nats {
            return wrong(
                "with-nats",
                "said without nats: it is a server of its own, or one that runs",
            );
        }
        match (&self.nats_certificate, &self.nats_key) {
            (Some(_), None) => wrong("nats-key", "given with nats-certificate"),
            (None, Some(_)) => wrong("nats-certificate", "given with nats-key"),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }
}

impl Fhir {
    fn new(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            listen: values.optional("fhir-listen", "an address and port such as 127.0.0.1:7480")?,
            requests: values.number("fhir-requests", 1)?,
            body_bytes: values.number("fhir-body-bytes", 1024)?,
            own_organisations: values.parse("fhir-own-organisations", "`true` or `false`")?,
            kept_bytes: values.number("fhir-kept-bytes", 0)?,
            body_wait_ms: values.number("fhir-body-wait-ms", 1)?,
        })
    }
}

impl Ssmix2 {
    fn new(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            folder: values.optional("ssmix2-folder", "a path, or nothing")?,
            poll_ms: values.number("ssmix2-poll-ms", 10)?,
            settle_ms: values.number("ssmix2-settle-ms", 0)?,
            file_bytes: values.number("ssmix2-file-bytes", 1024)?,
            unended_ms: values.number("ssmix2-unended-ms", 0)?,
            record_bytes: values.number("ssmix2-record-bytes", 1024)?,
            day_files: values.number("ssmix2-day-files", 1)?,
            unread_files: values.number("ssmix2-unread-files", 1)?,
        })
    }
}

impl Mllp {
    fn new(values: &Values) -> Result<Self, ConfigError> {
        const PATH: &str = "the path of a PEM file, or nothing";
        let tls = Self {
            listen: values.optional("mllp-listen", "an address and port such as 127.0.0.1:2575")?,
            connections: values.number("mllp-connections", 1)?,
            frame_bytes: values.number("mllp-frame-bytes", 1024)?,
            batch_messages: values.number("mllp-batch-messages", 1)?,
            pipeline: values.number("mllp-pipeline", 1)?,
            idle_ms: values.number("mllp-idle-ms", 0)?,
            tls_cert: values.optional("mllp-tls-cert", PATH)?,
            tls_key: values.optional("mllp-tls-key", PATH)?,
            client_ca: values.optional("mllp-client-ca", PATH)?,
        };
        let wrong = |setting, expected| Err(ConfigError::Value { setting, expected });
        match (&tls.tls_cert, &tls.tls_key, &tls.client_ca) {
            (Some(_), None, _) => wrong("mllp-tls-key", "given with mllp-tls-cert"),
            (None, Some(_), _) | (None, None, Some(_)) => {
                wrong("mllp-tls-cert", "given with mllp-tls-key and mllp-client-ca")
            }
            (Some(_), Some(_), _) | (None, None, None) => Ok(tls),
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

impl FromStr for Ack {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "store" => Ok(Self::Store),
            "bus" => Ok(Self::Bus),
            _ => Err(()),
        }
    }
}

/// The environment variable of a setting.
pub fn variable_name(setting: &str) -> String {
    format!("TSUNAGI_{}", setting.replace('-', "_").to_uppercase())
}

fn read_file(path: &Path) -> Result<BTreeMap<&'static str, String>, ConfigError> {
    let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
    parse_file(path, &std::fs::read_to_string(path).map_err(read_error)?)
}

fn parse_file(path: &Path, text: &str) -> Result<BTreeMap<&'static str, String>, ConfigError> {
    let table: toml::Table = text
        .parse()
        .map_err(|source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let setting = SETTINGS.iter().find(|setting| setting.name == key);
        let value = match value {
            toml::Value::String(text) => Some(text),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Boolean(switch) => Some(switch.to_string()),
            toml::Value::Float(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => None,
        };
        match (setting, value) {
            (Some(setting), Some(value)) => values.insert(setting.name, value),
            (Some(_) | None, _) => return Err(ConfigError::Key { path: path.to_owned(), key }),
        };
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(flag: Option<&str>, variable: Option<&str>, file: Option<&str>) -> (String, Origin) {
        let map =
            |value: Option<&str>| value.map(|v| ("slots", v.to_owned())).into_iter().collect();
        let lookup =
            |name: &str| (name == "TSUNAGI_SLOTS").then(|| variable.map(str::to_owned)).flatten();
        let values = Values::merge(&map(flag), lookup, &map(file));
        let (value, origin) = values.get("slots").unwrap();
        (value.to_owned(), origin)
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
        let all = [Some("1"), Some("2"), Some("3")];
        assert_eq!(merged(all[0], all[1], all[2]), ("1".into(), Origin::Flag));
        assert_eq!(merged(None, all[1], all[2]), ("2".into(), Origin::Environment));
        assert_eq!(merged(None, None, all[2]), ("3".into(), Origin::File));
        assert_eq!(merged(None, None, None), ("64".into(), Origin::Default));
    }

    #[test]
    fn the_defaults_are_valid() {
        let values = Values::merge(&BTreeMap::new(), |_| None, &BTreeMap::new());
        let config = Config::new(&values).unwrap();
        assert!(config.listen.ip().is_loopback());
        assert!(!config.insecure_listen);
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        for (name, wrong) in [
            ("slots", "0"),
            ("slots", "many"),
            ("zone", "Mars/Base"),
            ("listen", "here"),
            ("shard", "3/2"),
            ("ack", "soon"),
        ] {
            let flags = BTreeMap::from([(name, wrong.to_owned())]);
            let error =
                Config::new(&Values::merge(&flags, |_| None, &BTreeMap::new())).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused_and_a_key_without_its_certificate() {
        for (given, lacks) in [("nats-certificate", "nats-key"), ("nats-key", "nats-certificate")] {
            let flags = BTreeMap::from([(given, "a.pem".to_owned())]);
            let error =
                Config::new(&Values::merge(&flags, |_| None, &BTreeMap::new())).unwrap_err();
            assert!(error.to_string().contains(&format!("`{lacks}`")), "{error}");
        }
    }

    #[test]
    fn a_file_has_known_settings_only() {
        let parse = |text| parse_file(Path::new("t.toml"), text);
        let values = parse("slots = 8\nlog = \"debug\"\ninsecure-listen = true").unwrap();
        assert_eq!(values["slots"], "8");
        assert_eq!(values["insecure-listen"], "true");
        assert!(matches!(parse("slotz = 8"), Err(ConfigError::Key { .. })));
        assert!(matches!(parse("slots = [8]"), Err(ConfigError::Key { .. })));
        assert!(matches!(parse("slots"), Err(ConfigError::Toml { .. })));
    }
}
