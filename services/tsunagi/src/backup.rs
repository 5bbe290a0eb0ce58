//! `tsunagi backup` and `tsunagi restore`: copies of the data folder, as folders or as one file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tsunagi_chassis::Config;
use tsunagi_event_store::backup::{self as copies, BackupError, Copied};
use tsunagi_event_store::ingest::is_fed;

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
        let passing = Passing::beside(&options.to)?;
        let copied = copies::backup(&data, &passing.copy())?;
        pack(&passing, &options.to)?;
        anyhow::Ok(copied)
    });
    say(summary("copied", &copied.await??));
    Ok(ExitCode::SUCCESS)
}

/// Restores into the data folder, which has to be `named`: what is there by default may be
/// somebody's.
pub(crate) async fn restore(
    config: &Config,
    named: bool,
    options: RestoreOptions,
) -> anyhow::Result<ExitCode> {
    if !named {
        anyhow::bail!(
            "say where to restore to, with --data: a folder that is new or empty, such as --data ./restored"
        );
    }
    let data = config.data.clone();
    let copied = tokio::task::spawn_blocking(move || {
        if !is_file(&options.from) {
            return Ok(copies::restore(&options.from, &data)?);
        }
        let from = options.from.display();
        let file = File::open(&options.from).with_context(|| format!("cannot read {from}"))?;
        let passing = Passing::beside(&data)?;
        let cannot = || {
            format!(
                "{from} is no whole tar file: it is damaged, or was cut short; use another copy"
            )
        };
        tar::Archive::new(file).unpack(passing.copy()).with_context(cannot)?;
        let restored = copies::restore(&passing.copy(), &data);
        if let Err(BackupError::NoCopy(_)) = restored {
            anyhow::bail!(
                "{from} is not a copy that `tsunagi backup` made, or not a whole one: use another"
            );
        }
        restored.with_context(|| format!("{from} cannot be restored"))
    });
    say(summary("restored", &copied.await??));
    let nats = if is_fed(&config.data) { " --nats URL" } else { "" };
    say(format_args!("serve it with: tsunagi up --data {}{nats}", config.data.display()));
    Ok(ExitCode::SUCCESS)
}

fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == ENDING)
}

/// A passing folder on the same disk, which is gone when it is let go of. That of a process that
/// was killed is emptied by the next one that needs it: it has patients' records in it.
struct Passing {
    folder: PathBuf,
    _lock: File,
}

impl Passing {
    fn beside(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = path.with_file_name(format!(".{name}.passing"));
        let cannot = || format!("cannot make a folder beside {}", path.display());
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).with_context(cannot)?;
        let lock = File::create(folder.join("lock")).with_context(cannot)?;
        if lock.try_lock().is_err() {
            anyhow::bail!("another process is at {}: wait for its end", path.display());
        }
        let passing = Self { folder, _lock: lock };
        if passing.copy().exists() {
            std::fs::remove_dir_all(passing.copy()).with_context(cannot)?;
        }
        std::fs::create_dir(passing.copy()).with_context(cannot)?;
        Ok(passing)
    }

    fn copy(&self) -> PathBuf {
        self.folder.join("copy")
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "a passing folder could not be removed: remove it, it has records in it");
        }
    }
}

/// Packs a copy into one file that only its owner can read, whole or not at all.
fn pack(passing: &Passing, to: &Path) -> anyhow::Result<()> {
    let new = passing.folder.join("packed");
    let cannot = || format!("cannot write {}", new.display());
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    let mut archive = tar::Builder::new(file.with_context(cannot)?);
    archive.append_dir_all(".", passing.copy()).with_context(cannot)?;
    archive.into_inner().and_then(|file| file.sync_all()).with_context(cannot)?;
    let damaged = || format!("{} is not as it was written: use another disk", new.display());
    anyhow::ensure!(is_whole(&new, &passing.copy()).with_context(damaged)?, damaged());
    std::fs::rename(&new, to).with_context(|| format!("cannot name {}", to.display()))?;
    let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")));
    folder.and_then(|folder| folder.sync_all()).with_context(cannot)
}

/// Whether an archive, read again, has the files of a folder.
fn is_whole(archive: &Path, folder: &Path) -> std::io::Result<bool> {
    for entry in tar::Archive::new(File::open(archive)?).entries()? {
        let entry = entry?;
        let path = folder.join(entry.path()?);
        if path.is_file() && !is_same(entry, File::open(path)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_same(one: impl Read, other: impl Read) -> std::io::Result<bool> {
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 || left.get(..length) != right.get(..length) {
            return Ok(left == right);
        }
        one.consume(length);
        other.consume(length);
    }
}

fn summary(done: &str, copied: &Copied) -> String {
    let Copied { region, segments, fresh, events, bytes } = copied;
    format!(
        "{done} region {region}: {events} events in {segments} segments ({fresh} of them new), {bytes} bytes, all checked"
    )
}
