//! Structured logs: fixed sentences and fields. Ids only, never a patient's data.

use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, LogFormat};

/// Starts logging to standard error. Called once, by the binary.
pub fn start(config: &Config) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&config.log).or(Err(ConfigError::Value {
        setting: "log",
        expected: "a filter such as `info` or `info,tsunagi_event_store=debug`",
    }))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    // A second start keeps the first one's settings: the tests of one process share it.
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started before");
    }
    Ok(())
}
