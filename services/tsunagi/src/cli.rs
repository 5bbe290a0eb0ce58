//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{
    Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
};
use tsunagi_bus::nats::notify;
use tsunagi_chassis::config::{Origin, SETTINGS, Values};
use tsunagi_chassis::{Config, code_sets, telemetry};

use crate::{
    backup, board, codes, config, demo, import, meetings, nats_child, output, patients, prove,
    quarantine, serve, simulate, timeline, up, verify,
};

const TEACH: &str = "\
To begin:
  tsunagi demo                     a generated region to look around in
  tsunagi up                       serve your own data folder (./tsunagi-data)
  tsunagi import fhir EXPORT/      take in a FHIR bulk export or Bundles
  tsunagi patients                 who is there
  tsunagi timeline PATIENT         one patient's timeline
  tsunagi board liaison HOSPITAL   who is expected, here, leaving, and which requests wait
  tsunagi verify                   whether the log still says what was signed

Every setting can be given as a flag, an environment variable or in ./tsunagi.toml;
`tsunagi config` lists them all, with their values and where these come from.
Commands that read or write go to the server that has the data folder open; if
there is none, they open the folder themselves.";

/// An event-sourced care-coordination bus: one shared timeline for each patient, through
/// admissions, transfers and discharges.
#[derive(Debug, Parser)]
#[command(name = "tsunagi", version, after_help = TEACH)]
struct Cli {
    /// Read settings from this TOML file instead of ./tsunagi.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The server to talk to, such as <http://127.0.0.1:7400>; by default the one that has the
    /// data folder open
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve all services in one process, until Ctrl-C
    Up,
    /// Serve one service by itself, on NATS and the event stores of other processes
    ///
    /// The data folder needs the region's region.toml alone. Any number of copies can run.
    Serve { service: serve::Service },
    /// Serve a generated region in a folder of its own, and say what to try
    Demo(simulate::Scale),
    /// Take in what other systems export
    #[command(subcommand)]
    Import(Import),
    /// Print a patient's timeline
    Timeline(timeline::Options),
    /// List patients
    Patients(patients::Options),
    /// Print what somebody at a desk has before them
    #[command(subcommand)]
    Board(board::Board),
    /// List a hospital's meetings with its partner institutions in one year
    PartnerMeetings(meetings::Options),
    /// List the code sets, or the codes of one
    Codes(codes::Options),
    /// List what came in and could not be read, or print one of these as it came
    Quarantine(quarantine::Options),
    /// Verify that the log is whole and still what was signed
    ///
    /// Reads the data folder itself, beside a running server or without one, and changes nothing
    /// (but with --accept-unsigned):
    /// checks every checksum, makes the Merkle tree of each slot anew, and compares it with every
    /// signed checkpoint. Whoever can write the data folder can also cut both the log and its
    /// checkpoints: keep copies of checkpoints.txt elsewhere, and compare with --checkpoint.
    /// Exit code: 0 if all is well, 2 if something is wrong, 1 if it could not be verified.
    Verify(verify::Options),
    /// Prove that an event is in the log as it was signed, in a file
    ///
    /// The file CONTAINS THE EVENT, with what it says of the patient: give it only to those who
    /// may read that. It is a C2SP tlog-proof: the event with its place and time of recording,
    /// the way to the root of its slot's tree, and the signed checkpoint of that root.
    Prove(prove::Options),
    /// Check a proof, with neither server nor data folder
    CheckProof(prove::CheckOptions),
    /// Print the public key that checks this region's checkpoints and proofs
    Key,
    /// Tell the stories of a generated region to a server
    Simulate(simulate::Scale),
    /// Copy the data folder, while it is in use, and check the copy
    Backup(backup::BackupOptions),
    /// Make a data folder of a copy: the one that --data names
    Restore(backup::RestoreOptions),
    /// List all settings
    Config,
    /// Print the accounts that let organisations read their notifications on NATS
    ///
    /// They go into nats-server's configuration. Passwords are taken from its environment.
    NatsAccounts {
        /// Their ids: letters, digits and hyphens
        #[arg(required = true)]
        organisations: Vec<String>,
    },
    /// Become the nats-server of another process
    #[command(name = nats_child::COMMAND, hide = true)]
    NatsServerChild {
        /// The process that it ends with
        parent: i32,
        binary: PathBuf,
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Import {
    /// FHIR R4: NDJSON files of a bulk export, Bundles, or folders of them
    ///
    /// Reads patients, encounters and care teams, and the organizations, locations, practitioners
    /// and practitioner roles that they refer to, in any order of files. Running it again adds
    /// nothing. Exit code: 0 if everything was taken, 2 if something was refused or could
    /// not be read, 1 if the import could not be done.
    Fhir(import::Options),
    /// HSDS 3.0: a directory of community resources, as tables (CSV) or as JSON
    ///
    /// Reads the services and what belongs to them, in any order of files. Running it again adds
    /// nothing. Exit code: 0 if everything was taken, 2 if something was refused or could not be
    /// read, 1 if the import could not be done.
    Hsds(import::hsds::Options),
}

/// Runs the command that the command line names.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(told) => {
            told.print()?;
            // 2 says that something was found wrong, and not that nothing could be run.
            return Ok(if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    };
    let cli = Cli::from_arg_matches(&matches)?;
    if let Command::NatsServerChild { parent, binary, file } = &cli.command {
        return nats_child::become_server(binary, file, *parent).map(|()| ExitCode::SUCCESS);
    }
    let values = Values::gather(&flags(&matches), cli.config.as_deref())?;
    let mut settings = Config::new(&values)?;
    let serves = matches!(cli.command, Command::Up | Command::Serve { .. });
    if !serves && values.get("log").is_some_and(|(_, origin)| origin == Origin::Default) {
        // Whoever runs a command wants its output, not the course of things.
        "warn".clone_into(&mut settings.log);
    }
    telemetry::start(&settings)?;
    if let Some(folder) = &settings.code_sets {
        code_sets::adopt(folder)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let server = cli.server;
    runtime.block_on(async {
        match cli.command {
            Command::Up => up::serve(&settings).await.map(|()| ExitCode::SUCCESS),
            Command::Serve { service } => {
                serve::run(&settings, service).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Demo(scale) => demo::run(settings, scale).await.map(|()| ExitCode::SUCCESS),
            Command::Import(Import::Fhir(options)) => {
                import::run(&settings, server, &options).await
            }
            Command::Import(Import::Hsds(options)) => {
                import::hsds::run(&settings, server, &options).await
            }
            Command::Timeline(options) => timeline::run(&settings, server, &options).await,
            Command::Patients(options) => patients::run(&settings, server, &options).await,
            Command::Board(board) => board::run(&settings, server, &board).await,
            Command::PartnerMeetings(options) => meetings::run(&settings, server, &options).await,
            Command::Codes(options) => codes::run(&options),
            Command::Quarantine(options) => quarantine::run(&settings, server, &options).await,
            Command::Simulate(scale) => simulate::run(&settings, server, &scale).await,
            Command::Backup(options) => backup::backup(&settings, options).await,
            Command::Restore(options) => {
                let origin = values.get("data").map(|(_, origin)| origin);
                let is_named = origin.is_some_and(|origin| origin != Origin::Default);
                backup::restore(&settings, is_named, options).await
            }
            Command::Verify(options) => verify::run(&settings, server.as_deref(), &options),
            Command::Prove(options) => prove::run(&settings, server.as_deref(), &options),
            Command::CheckProof(options) => prove::check(&options),
            Command::Key => verify::key(&settings, server.as_deref()),
            Command::Config => {
                config::list(&values);
                Ok(ExitCode::SUCCESS)
            }
            Command::NatsAccounts { organisations } => {
                for line in notify::accounts(&organisations)?.trim_end().lines() {
                    output::say(line);
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::NatsServerChild { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

/// The command line with a flag for every setting of the table.
fn command() -> clap::Command {
    /// Those that a newcomer may want; the others are found with `tsunagi config`.
    const SHOWN: [&str; 2] = ["data", "listen"];
    let setting = |setting: &tsunagi_chassis::config::Setting| {
        let arg = Arg::new(setting.name)
            .long(setting.name)
            .help(setting.help)
            .global(true)
            .hide(!SHOWN.contains(&setting.name));
        if setting.is_switch { arg.action(ArgAction::SetTrue) } else { arg.value_name("VALUE") }
    };
    Cli::command().args(SETTINGS.iter().map(setting))
}

/// The settings that were given as flags.
fn flags(matches: &ArgMatches) -> BTreeMap<&'static str, String> {
    let given = |setting: &tsunagi_chassis::config::Setting| {
        if setting.is_switch {
            return matches.get_flag(setting.name).then(|| "true".to_owned());
        }
        matches.get_one::<String>(setting.name).cloned()
    };
    SETTINGS.iter().filter_map(|setting| Some((setting.name, given(setting)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        command().debug_assert();
    }

    #[test]
    fn a_setting_may_stand_before_or_behind_the_command() {
        for line in [["tsunagi", "--slots", "8", "up"], ["tsunagi", "up", "--slots", "8"]] {
            let matches = command().get_matches_from(line);
            assert_eq!(flags(&matches), BTreeMap::from([("slots", "8".to_owned())]));
        }
    }
}
