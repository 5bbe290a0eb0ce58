//! `region.toml`: what was fixed when the data folder was created.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tsunagi_bus::Region;
use tsunagi_chassis::Config;
use tsunagi_domain::Zone;
use uuid::Uuid;

use crate::log::LogError;
use crate::log::segment::sync_folder;

pub(crate) const NAME: &str = "region.toml";
const FORMAT: i64 = 1;
const COURSE: &str = "course";

/// Why the region cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    #[error(transparent)]
    File(#[from] LogError),
    #[error("{0} is not what this version writes: restore it from a backup")]
    Malformed(PathBuf),
    #[error(
        "{0} is missing, and the log beside it cannot be read without it: restore it from a backup"
    )]
    Lost(PathBuf),
    #[error(
        "the data folder was created with `{setting}` = {fixed}, and that cannot be changed: say {fixed}, or take another folder"
    )]
    Fixed { setting: &'static str, fixed: String },
}

/// Whether the data folder has a region.
pub fn has_region(data: &Path) -> bool {
    data.join(NAME).exists()
}

/// Reads the region of the data folder, which must be there.
pub fn read(data: &Path) -> Result<Region, RegionError> {
    let path = data.join(NAME);
    if !path.exists() && has_log(data) {
        return Err(RegionError::Lost(path));
    }
    let bytes = std::fs::read(&path).map_err(LogError::io("reading", &path))?;
    // What is damaged need not be text any more.
    let region = str::from_utf8(&bytes).ok().and_then(parse);
    region.ok_or(RegionError::Malformed(path))
}

/// Reads the region of the data folder, or creates it.
pub(crate) fn open(config: &Config) -> Result<Region, RegionError> {
    let path = config.data.join(NAME);
    if !path.exists() {
        if has_log(&config.data) {
            return Err(RegionError::Lost(path));
        }
        create(&path, config)?;
    }
    // Whoever created it may have been killed before its name was durable.
    sync_folder(&config.data)?;
    let region = read(&config.data)?;
    let fixed = |setting, fixed: &str| RegionError::Fixed { setting, fixed: fixed.to_owned() };
    if region.slots != config.slots {
        return Err(fixed("slots", &region.slots.to_string()));
    }
    if region.zone_name != config.zone {
        return Err(fixed("zone", &region.zone_name));
    }
    Ok(region)
}

/// Whether something was ever written to the folder's log.
pub fn has_log(data: &Path) -> bool {
    let files = std::fs::read_dir(data.join("log")).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.path().extension().is_some_and(|end| end == "seg"))
}

fn create(path: &Path, config: &Config) -> Result<(), RegionError> {
    let mut secret = [0; 48];
    getrandom::fill(&mut secret).map_err(|error| LogError::Io {
        action: "creating",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    let (id, key) = secret.split_at(16);
    let id = uuid::Builder::from_random_bytes(id.try_into().unwrap_or_default()).into_uuid();
    let Config { slots, zone, .. } = config;
    let key = BASE64_STANDARD.encode(key);
    let text = with_checksum(&format!(
        "# Written once, when this folder was created. Keep it with the log: without it the log\n\
         # cannot be read. The key is secret.\n\
         format = {FORMAT}\nid = \"{id}\"\nslots = {slots}\nzone = \"{zone}\"\n\
         identifier_key = \"{key}\"\n"
    ));
    write_whole(path, text.as_bytes())?;
    Ok(())
}

/// What the file says of a region that was restored from a copy. None if it is damaged.
pub(crate) fn restored(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(bytes).ok().filter(|text| parse(text).is_some())?;
    let lines = text.lines().filter(|line| !line.starts_with(CHECKSUM));
    let lines = lines.filter(|line| !line.starts_with(COURSE));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let course = getrandom::u32().ok()?;
    Some(with_checksum(&format!("{text}{COURSE} = {course}\n")).into_bytes())
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    write_whole(path, bytes)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes a file that only its owner can read, whole or not at all. Its name is not durable yet.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new).map_err(LogError::io("creating", &new))?;
    file.write_all(bytes).map_err(LogError::io("writing", &new))?;
    file.sync_all().map_err(LogError::io("flushing", &new))?;
    std::fs::rename(&new, path).map_err(LogError::io("naming", path))
}

pub(crate) const CHECKSUM: &str = "checksum = ";

/// A flipped bit in the key would make the patients' identifiers unknown, and nobody would see.
pub(crate) fn with_checksum(text: &str) -> String {
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text}{CHECKSUM}\"{crc:08x}\"\n")
}

/// Whether the text is as it was written. The first data folders have no checksum.
fn is_intact(text: &str) -> bool {
    let checked = text.split_once(CHECKSUM);
    checked.is_none_or(|(checked, _)| with_checksum(checked) == text)
}

fn parse(text: &str) -> Option<Region> {
    if !is_intact(text) {
        return None;
    }
    let table: toml::Table = text.parse().ok()?;
    if table.get("format")?.as_integer()? != FORMAT {
        return None;
    }
    let zone_name = table.get("zone")?.as_str()?.to_owned();
    let key = table.get("identifier_key")?.as_str()?;
    Some(Region {
        id: Uuid::parse_str(table.get("id")?.as_str()?).ok()?,
        slots: u16::try_from(table.get("slots")?.as_integer()?).ok()?,
        zone: Zone::named(&zone_name)?,
        zone_name,
        course: match table.get(COURSE) {
            Some(course) => u32::try_from(course.as_integer()?).ok()?,
            None => 0,
        },
        identifier_key: BASE64_STANDARD.decode(key).ok()?.try_into().ok()?,
    })
}
