//! `tsunagi`: every service in one process, and the commands around it.

mod backup;
mod board;
mod cli;
mod client;
mod codes;
mod config;
mod demo;
mod doors;
mod half_done;
mod import;
mod links;
mod meetings;
mod nats_child;
mod open_files;
mod output;

mod patients;
mod prove;
mod quarantine;
mod region_bus;
mod serve;
mod simulate;
mod timeline;
mod up;
mod verify;

use std::process::ExitCode;

/// A call makes many short-lived texts on whichever thread it runs: half of the time of a long
/// timeline was spent in the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}
