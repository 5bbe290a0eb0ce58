//! Copies of a data folder, taken while it is in use, and folders made of such copies.
//!
//! A copy is a folder with `region.toml`, `signing.key`, `checkpoints.txt`, `log/*.seg`, and
//! of a region on NATS `streams.toml`, and `backup.toml`, which lists them with their lengths and CRC-32C. Of the segment that is being written, it has what
//! was whole when it was read. A later copy into the same folder adds to it: a sealed segment
//! never changes, and is copied once.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use crate::evidence::audit::{self, ArchiveError, Problem};
use crate::evidence::{checkpoint_file, key_file};
use crate::ingest;
use crate::log::LogError;
use crate::log::file::Patience;
use crate::log::segment::{Folder, Segment, create_folder, sync_folder};
use crate::log::verify::Verifier;
use crate::region_file::{self, RegionError};

const MANIFEST: &str = "backup.toml";
/// There while a copy is made.
const BEGUN: &str = "backup.begun";
/// What a data folder has that was open.
const LOCK: &str = "lock";
const FORMAT: i64 = 1;
/// Begins its last line.
const CHECKSUM: &str = "# crc32c of the lines above: ";
/// What is copied beside the log, if it is there. `region.toml` is restored last: without it, a
/// folder that was restored in part is not taken for a whole one.
const BESIDE: [&str; 4] =
    [key_file::NAME, checkpoint_file::NAME, ingest::STREAMS, region_file::NAME];

/// Why a copy cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0} has no log: name the data folder of a region with --data")]
    NoLog(PathBuf),
    #[error(
        "{0} holds a copy of another region, or of another course of this one: take another folder"
    )]
    OtherCopy(PathBuf),
    #[error(
        "{0} holds events that the data folder has not, or has otherwise: keep that copy, find out which of the two is right, and take another folder for this one"
    )]
    NewerCopy(PathBuf),
    #[error(
        "{0} is not a copy that `tsunagi backup` made: name the folder that holds `backup.toml`"
    )]
    NoCopy(PathBuf),
    #[error("{0} differs from what `backup.toml` says of it: this copy is damaged, use another")]
    DamagedCopy(PathBuf),
    #[error(
        "{0} has a region already, or one that was restored in part: restore into an empty folder"
    )]
    NotEmpty(PathBuf),
    #[error(
        "no copy was made, and earlier ones are as they were: the data folder is not what was signed: {problem}; `tsunagi verify` names all of it"
    )]
    NotAsSigned { problem: Box<Problem> },
    #[error(
        "nothing was restored: this copy is not what was signed: {problem}; use an earlier copy, and tell whoever answers for the data that this one was changed (`tsunagi verify --data` with the folder of the copy names all of it)"
    )]
    CopyNotAsSigned { problem: Box<Problem> },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("{0} is the data folder, or in it, or around it: take a folder apart from it")]
    OverItself(PathBuf),
    #[error(
        "{0} holds something else than a copy: take a new folder, or one that an earlier backup made"
    )]
    NotACopy(PathBuf),
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub region: Uuid,
    pub segments: usize,
    /// How many of them were copied now, the others having been there already.
    pub fresh: usize,
    pub events: u64,
    pub bytes: u64,
}

/// What a copy says of itself.
#[derive(Debug)]
struct Manifest {
    region: Uuid,
    /// The files beside the log, with their CRC-32C.
    beside: Vec<(String, u32)>,
    segments: Vec<Listed>,
}

/// One segment in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    number: u32,
    salt: u64,
    bytes: u32,
    crc: u32,
    /// Whether it will never change.
    is_sealed: bool,
}

/// Copies the folder `data` into the folder `to`, creating it if need be. Everything is checked
/// as it is read, and read again as it was written.
pub fn backup(data: &Path, to: &Path) -> Result<Copied, BackupError> {
    if !region_file::has_region(data) {
        return Err(BackupError::NoLog(data.to_owned()));
    }
    refuse_target(data, to)?;
    let region = region_file::read(data)?;
    let from = Folder::to_read(data.join("log"), region.id);
    if let Some(problem) = not_as_signed(data)? {
        return Err(BackupError::NotAsSigned { problem });
    }
    let before = match read_manifest(to)? {
        Some(Manifest { region: id, .. }) if id != region.id => {
            return Err(BackupError::OtherCopy(to.to_owned()));
        }
        Some(before) => before.segments,
        None => Vec::new(),
    };
    let into = Folder::to_read(to.join("log"), region.id);
    create_folder(to)?;
    // First: a folder that holds something else than a copy is not written over.
    region_file::write_durably(&to.join(BEGUN), b"This copy is not whole yet.\n")?;
    create_folder(&into.path)?;
    // Read before the log: a checkpoint is about events that are in the log when it is signed.
    let beside = read_all_beside(data)?;
    let numbers = from.numbers()?;
    let mut copied = Copied { region: region.id, segments: 0, fresh: 0, events: 0, bytes: 0 };
    let mut verifier = Verifier::default();
    let mut listed = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        let segment = from.open_segment_to_read(*number)?;
        // The last one may have been sealed meanwhile: then the copy ends where it was whole.
        let next =
            numbers.get(index + 1).map(|next| from.open_segment_to_read(*next)).transpose()?;
        let end = next.as_ref().map(|next| next.previous_end);
        let known = before.iter().find(|known| known.number == *number);
        if known.is_some_and(|known| known.salt != segment.salt) {
            return Err(BackupError::OtherCopy(to.to_owned()));
        }
        let end = verifier.segment(&segment, end)?;
        if let Some(known) = known {
            refuse_other_course(&segment, end, known, next.is_some(), to)?;
        }
        let entry = match known {
            Some(known) if known.is_sealed => *known,
            Some(_) | None => {
                copied.fresh += 1;
                let copy = copy_segment(&segment, end, &into)?;
                Listed { is_sealed: next.is_some(), ..copy }
            }
        };
        copied.bytes += u64::from(entry.bytes);
        listed.push(entry);
    }
    if before.len() > listed.len() {
        return Err(BackupError::NewerCopy(to.to_owned()));
    }
    copied.segments = listed.len();
    copied.events = verifier.events;
    check(&into, &listed)?;
    // What is there stays until the list of the new copy is: a copy that fails spoils none.
    for (name, bytes) in &beside {
        region_file::write_durably(&to.join(next(name)), bytes)?;
    }
    let crcs = beside.iter().map(|(name, bytes)| ((*name).to_owned(), crc32c::crc32c(bytes)));
    let manifest = Manifest { region: region.id, beside: crcs.collect(), segments: listed };
    write_manifest(to, &manifest)?;
    for (name, _) in &beside {
        let path = to.join(name);
        std::fs::rename(to.join(next(name)), &path).map_err(LogError::io("naming", &path))?;
    }
    sync_folder(to)?;
    let begun = to.join(BEGUN);
    std::fs::remove_file(&begun).map_err(LogError::io("removing", &begun))?;
    Ok(copied)
}

/// Whether a folder is a copy, which is restored and not served.
pub(crate) fn is_copy(folder: &Path) -> bool {
    folder.join(MANIFEST).exists() || folder.join(BEGUN).exists()
}

/// What is not a copy must not be written over: least of all a data folder, which may be in use.
fn refuse_target(data: &Path, to: &Path) -> Result<(), BackupError> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // What is not there yet will be where its nearest folder is that is there.
    let there = to.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let (data, there) = (real(data), real(there));
    if there.starts_with(&data) || (to.exists() && data.starts_with(&there)) {
        return Err(BackupError::OverItself(to.to_owned()));
    }
    let mut files = match std::fs::read_dir(to) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(LogError::io("reading", to)(error).into()),
    };
    let is_copy = is_copy(to);
    // Whoever served a copy has made it a data folder.
    let was_served = to.join(LOCK).exists();
    if was_served || (!is_copy && files.next().is_some()) {
        return Err(BackupError::NotACopy(to.to_owned()));
    }
    Ok(())
}

/// Makes the data folder `data` of the copy in `from`, having checked all of it.
pub fn restore(from: &Path, data: &Path) -> Result<Copied, BackupError> {
    let no_copy = || BackupError::NoCopy(from.to_owned());
    let manifest = read_manifest(from)?.ok_or_else(no_copy)?;
    let beside = manifest.beside.iter().map(|(name, crc)| listed_beside(from, name, *crc));
    let mut beside = beside.collect::<Result<Vec<_>, _>>()?;
    beside.sort_by_key(|(name, _)| *name == region_file::NAME);
    let listed = manifest.segments;
    if region_file::has_region(data) || region_file::has_log(data) {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    let source = Folder::to_read(from.join("log"), manifest.region);
    let events = check(&source, &listed)?;
    if let Some(problem) = not_as_signed(from)? {
        return Err(BackupError::CopyNotAsSigned { problem });
    }
    let into = Folder::to_read(data.join("log"), manifest.region);
    create_folder(data)?;
    create_folder(&into.path)?;
    let mut bytes = 0;
    for entry in &listed {
        let segment = source.open_segment_to_read(entry.number)?;
        copy_segment(&segment, entry.bytes, &into)?;
        bytes += u64::from(entry.bytes);
    }
    check(&into, &listed)?;
    // Of a region on NATS, the streams decide which event has which position.
    let is_on_nats = beside.iter().any(|(name, _)| *name == ingest::STREAMS);
    for (name, bytes) in &beside {
        let path = data.join(name);
        if *name == region_file::NAME && !is_on_nats {
            let damaged = || BackupError::DamagedCopy(from.join(name));
            region_file::write_durably(&path, &region_file::restored(bytes).ok_or_else(damaged)?)?;
        } else {
            region_file::write_durably(&path, bytes)?;
        }
    }
    let segments = listed.len();
    Ok(Copied { region: manifest.region, segments, fresh: segments, events, bytes })
}

/// What of a folder's record is not as it was signed, if anything is. Damage is told of where it
/// is copied, with its place.
fn not_as_signed(folder: &Path) -> Result<Option<Box<Problem>>, ArchiveError> {
    let options = audit::Options { newest_alone: true, ..audit::Options::default() };
    let report = match audit::verify(folder, &options) {
        Ok(report) => report,
        // There is nothing to compare with in a folder that is older than keys.
        Err(ArchiveError::NoKey(_)) if !folder.join(checkpoint_file::NAME).exists() => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut problems = report.problems.into_iter();
    Ok(problems.find(Problem::is_against_signatures).map(Box::new))
}

/// Checks that the listed segments are there as they are listed, and that they are one log.
/// Returns how many events they hold.
fn check(folder: &Folder, listed: &[Listed]) -> Result<u64, BackupError> {
    let mut verifier = Verifier::default();
    for (entry, expected) in listed.iter().zip(1..) {
        let path = folder.segment_path(entry.number);
        if entry.number != expected {
            return Err(LogError::Missing { path: folder.segment_path(expected) }.into());
        }
        let segment = folder.open_segment_to_read(entry.number)?;
        let found = list(&segment, entry.bytes)?;
        if (found.salt, found.crc) != (entry.salt, entry.crc) {
            return Err(BackupError::DamagedCopy(path));
        }
        verifier.segment(&segment, Some(entry.bytes))?;
    }
    Ok(verifier.events)
}

/// What was copied before must be what the segment begins with, to the byte.
fn refuse_other_course(
    segment: &Segment,
    end: u32,
    known: &Listed,
    is_sealed: bool,
    to: &Path,
) -> Result<(), BackupError> {
    let is_longer = known.bytes > end || (known.is_sealed && (known.bytes != end || !is_sealed));
    if is_longer || list(segment, known.bytes)?.crc != known.crc {
        return Err(BackupError::NewerCopy(to.to_owned()));
    }
    Ok(())
}

fn list(segment: &Segment, bytes: u32) -> Result<Listed, LogError> {
    let mut crc = 0;
    for_each_piece(segment, bytes, |piece| {
        crc = crc32c::crc32c_append(crc, piece);
        Ok(())
    })?;
    Ok(Listed { number: segment.number, salt: segment.salt, bytes, crc, is_sealed: false })
}

/// Copies the first `bytes` of a segment, durably, under its name when it is whole.
fn copy_segment(segment: &Segment, bytes: u32, into: &Folder) -> Result<Listed, LogError> {
    let path = into.segment_path(segment.number);
    let new = path.with_extension("new");
    let mut file = File::create(&new).map_err(LogError::io("creating", &new))?;
    let mut crc = 0;
    for_each_piece(segment, bytes, |piece| {
        crc = crc32c::crc32c_append(crc, piece);
        file.write_all(piece).map_err(LogError::io("writing", &new))
    })?;
    file.sync_all().map_err(LogError::io("flushing", &new))?;
    std::fs::rename(&new, &path).map_err(LogError::io("naming", &path))?;
    sync_folder(&into.path)?;
    Ok(Listed { number: segment.number, salt: segment.salt, bytes, crc, is_sealed: false })
}

fn for_each_piece(
    segment: &Segment,
    bytes: u32,
    mut take: impl FnMut(&[u8]) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < bytes {
        let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(buffer.len());
        let Some(piece) = buffer.get_mut(..left) else { break };
        let read = segment.read(piece, offset, Patience::Wait)?;
        if read == 0 {
            return Err(segment.damaged(offset, "it ends too early"));
        }
        take(piece.get(..read).unwrap_or_default())?;
        offset = offset.saturating_add(u32::try_from(read).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// What lies beside the log.
fn read_all_beside(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, LogError> {
    let mut read = Vec::new();
    for name in BESIDE {
        read.extend(read_beside(folder, name)?.map(|bytes| (name, bytes)));
    }
    Ok(read)
}

fn read_beside(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, LogError> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("reading", &path)(error)),
    }
}

/// A file of a copy, as the list has it. A backup that was killed may have left it under the name
/// of the next one.
fn listed_beside<'a>(
    from: &Path,
    name: &'a str,
    crc: u32,
) -> Result<(&'a str, Vec<u8>), BackupError> {
    for file in [name, &next(name)] {
        let bytes = read_beside(from, file)?;
        if let Some(bytes) = bytes.filter(|bytes| crc32c::crc32c(bytes) == crc) {
            return Ok((name, bytes));
        }
    }
    Err(BackupError::DamagedCopy(from.join(name)))
}

/// What a file is called until the list of its copy is written.
fn next(name: &str) -> String {
    format!("{name}.next")
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), LogError> {
    let Manifest { region, beside, segments } = manifest;
    let file = |(name, crc): &(String, u32)| {
        format!("\n[[file]]\nname = \"{name}\"\ncrc32c = \"{crc:08x}\"\n")
    };
    let segment = |entry: &Listed| {
        let Listed { number, salt, bytes, crc, is_sealed } = entry;
        format!(
            "\n[[segment]]\nnumber = {number}\nsalt = \"{salt:016x}\"\nbytes = {bytes}\ncrc32c = \"{crc:08x}\"\nsealed = {is_sealed}\n"
        )
    };
    let head = format!(
        "# What `tsunagi restore` needs to know of this copy.\nformat = {FORMAT}\nregion = \"{region}\"\ntaken_at = \"{}\"\n",
        Timestamp::now()
    );
    let listed = beside.iter().map(file).chain(segments.iter().map(segment));
    let text = listed.fold(head, |text, part| text + &part);
    let text = format!("{text}\n{CHECKSUM}{:08x}\n", crc32c::crc32c(text.as_bytes()));
    region_file::write_durably(&folder.join(MANIFEST), text.as_bytes())
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, BackupError> {
    let path = folder.join(MANIFEST);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(LogError::io("reading", &path))?;
    let text = String::from_utf8(bytes).ok();
    let manifest = text.and_then(|text| parse_manifest(&text));
    let manifest = manifest.ok_or(BackupError::DamagedCopy(path))?;
    Ok(Some(manifest))
}

fn parse_manifest(text: &str) -> Option<Manifest> {
    let (text, crc) = text.strip_suffix('\n')?.rsplit_once(&format!("\n{CHECKSUM}"))?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(text.as_bytes()) {
        return None;
    }
    let table: toml::Table = text.parse().ok()?;
    if table.get("format")?.as_integer()? != FORMAT {
        return None;
    }
    let hex = |of: &toml::Value, name| u64::from_str_radix(of.get(name)?.as_str()?, 16).ok();
    let crc = |of: &toml::Value| u32::try_from(hex(of, "crc32c")?).ok();
    let list = |name| table.get(name).and_then(toml::Value::as_array).into_iter().flatten();
    // Names are of files beside the log, and lead nowhere else.
    let beside = list("file").map(|file| {
        let name = file.get("name")?.as_str()?;
        BESIDE.contains(&name).then_some(())?;
        Some((name.to_owned(), crc(file)?))
    });
    let segments = list("segment").map(|segment| {
        let number = |name| u32::try_from(segment.get(name)?.as_integer()?).ok();
        Some(Listed {
            number: number("number")?,
            salt: hex(segment, "salt")?,
            bytes: number("bytes")?,
            crc: crc(segment)?,
            is_sealed: segment.get("sealed")?.as_bool()?,
        })
    });
    Some(Manifest {
        region: Uuid::parse_str(table.get("region")?.as_str()?).ok()?,
        beside: beside.collect::<Option<_>>()?,
        segments: segments.collect::<Option<_>>()?,
    })
}
