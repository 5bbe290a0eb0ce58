//! `tsunagi codes`: the code sets that are in use, for whoever writes to the desks.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tsunagi_proto::codes;

use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The code set, such as jp.care-level
    set: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Some(name) = &options.set else {
        for set in codes::all() {
            let verified = if set.verified { "" } else { "  (unverified)" };
            say(format_args!("{}  {}  {} / {}{verified}", set.name, set.version, set.ja, set.en));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let set = codes::set(name)
        .with_context(|| format!("there is no code set `{name}`: `tsunagi codes` lists them"))?;
    say(format_args!("{}  {}  {} / {}", set.name, set.version, set.ja, set.en));
    say(format_args!("{}{}", set.source, if set.verified { "" } else { "  (unverified)" }));
    for known in set.codes {
        say(format_args!("  {}  {} / {}", known.code, known.ja, known.en));
    }
    Ok(ExitCode::SUCCESS)
}
