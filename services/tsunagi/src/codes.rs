//! `tsunagi codes`: the code sets that are in use, for whoever writes to the desks.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tsunagi_proto::codes::{self, CodeSet};

use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The code set, such as jp.care-level
    set: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Some(name) = &options.set else {
        codes::all().into_iter().for_each(say_of);
        return Ok(ExitCode::SUCCESS);
    };
    codes::set(name)
        .with_context(|| format!("there is no code set `{name}`: `tsunagi codes` lists them"))?;
    for set in codes::versions(name).into_iter().rev() {
        say_of(set);
        say(set.source);
        for known in set.codes {
            say(format_args!("  {}  {} / {}", known.code, known.ja, known.en));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say_of(set: &CodeSet) {
    let from = match set.in_force_from {
        "" => String::new(),
        from => format!("  from {from}"),
    };
    let verified = if set.verified { "" } else { "  (unverified)" };
    say(format_args!("{}  {}{from}  {} / {}{verified}", set.name, set.version, set.ja, set.en));
}
