//! `tsunagi backup` and `tsunagi restore`: copies of the data folder, as folders or as one file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tsunagi_chassis::Config;
use tsunagi_event_store::backup::{self as copies, Copied};

use crate::output::say;

/// What tells a file from a folder.
const ENDING: &str = "tar";

#[derive(Debug, Args)]
pub(crate) struct BackupOptions {
    /// The folder to copy into, or a file that ends in `.tar`. A folder that holds an earlier
    /// copy is added to. Keep it safe: it holds the patients' records and the region's secrets
    to: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreOptions {
    /// The folder or file that `tsunagi backup` made
    from: PathBuf,
}

pub(crate) async fn backup(config: &Config, options: BackupOptions) -> anyhow::Result<ExitCode> {
    let data = config.data.clone();
    let copied = tokio::task::spawn_blocking(move || {
        if !is_file(&options.to) {
            return Ok(copies::backup(&data, &options.to)?);
        }
        let folder = beside(&options.to)?;
        let copied = copies::backup(&data, folder.path())?;
        pack(folder.path(), &options.to)?;
        anyhow::Ok(copied)
    });
    say(summary("copied", &copied.await??));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn restore(config: &Config, options: RestoreOptions) -> anyhow::Result<ExitCode> {
    let data = config.data.clone();
    let copied = tokio::task::spawn_blocking(move || {
        if !is_file(&options.from) {
            return Ok(copies::restore(&options.from, &data)?);
        }
        let folder = beside(&data)?;
        let cannot = || format!("cannot unpack {}", options.from.display());
        let file = File::open(&options.from).with_context(cannot)?;
        tar::Archive::new(file).unpack(folder.path()).with_context(cannot)?;
        anyhow::Ok(copies::restore(folder.path(), &data)?)
    });
    say(summary("restored", &copied.await??));
    say(format_args!("serve it with: tsunagi up --data {}", config.data.display()));
    Ok(ExitCode::SUCCESS)
}

fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == ENDING)
}

/// A passing folder on the same disk.
fn beside(path: &Path) -> anyhow::Result<tempfile::TempDir> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    tempfile::tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))
}

/// Packs a copy into one file that only its owner can read, whole or not at all.
fn pack(folder: &Path, to: &Path) -> anyhow::Result<()> {
    let new = to.with_extension("tar.new");
    let cannot = || format!("cannot write {}", new.display());
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    let mut archive = tar::Builder::new(file.with_context(cannot)?);
    archive.append_dir_all(".", folder).with_context(cannot)?;
    archive.into_inner().and_then(|file| file.sync_all()).with_context(cannot)?;
    std::fs::rename(&new, to).with_context(|| format!("cannot name {}", to.display()))
}

fn summary(done: &str, copied: &Copied) -> String {
    let Copied { region, segments, fresh, events, bytes } = copied;
    format!(
        "{done} region {region}: {events} events in {segments} segments ({fresh} of them new), {bytes} bytes, all checked"
    )
}
