//! `tsunagi demo`: a generated region, served, and three things to try.

use std::pin::pin;

use anyhow::Context as _;
use tsunagi_chassis::Config;
use tsunagi_chassis::config::SETTINGS;

use crate::output::{leave_a_line, say};
use crate::simulate::{self, Scale};
use crate::up::{self, StopSignals};

pub(crate) async fn run(config: Config, scale: Scale) -> anyhow::Result<()> {
    // Without a folder of its own, the demonstration leaves nothing behind.
    let passing = tempfile::tempdir().context("cannot create a folder for the demonstration")?;
    let is_default = SETTINGS
        .iter()
        .any(|setting| setting.name == "data" && config.data.as_os_str() == setting.default);
    let data = if is_default { passing.path().join("region") } else { config.data.clone() };
    let config = Config { data, ..config };
    let mut told_to_stop = pin!(StopSignals::listen()?.wait());
    let running = up::start(&config).await?;
    up::announce(&config, &running);
    leave_a_line();
    let url = running.url();
    let told = tokio::select! {
        // What was told until then stays; the region is a passing one.
        () = told_to_stop.as_mut() => return running.stop().await,
        told = simulate::tell(&url, &scale) => told?,
    };
    say(told.summary());
    leave_a_line();
    say("Three things to try, in another terminal:");
    let server = running.url();
    let tsunagi = command();
    let patient = told.example();
    say(format_args!("  {tsunagi} timeline {patient} --lang both --server {server}"));
    say(format_args!("  {tsunagi} patients --in-hospital --lang en --server {server}"));
    say(format_args!("  {tsunagi} timeline {patient} --follow --server {server}"));
    say("and while the last one runs, do what README.md's tour does: record a visit by gRPC.");
    told_to_stop.await;
    running.stop().await
}

/// How this program was called: by cargo, or by its own name.
fn command() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let built_here = path.components().any(|part| part.as_os_str() == "target");
    if built_here { "cargo run --release --".to_owned() } else { "tsunagi".to_owned() }
}
