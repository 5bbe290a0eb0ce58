//! `signing.key`: the secret key that signs a region's checkpoints. Made with the region, and
//! kept with it: another key would leave the checkpoints that there are without anybody to
//! vouch for them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::checkpoint::region_name;
use super::note::SigningKey;
use super::{checkpoint_file, note};
use crate::log::LogError;
use crate::region_file::{has_log, write_durably};

pub(crate) const NAME: &str = "signing.key";

/// Why the key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error(transparent)]
    File(#[from] LogError),
    #[error("{path} is not this region's key: restore it from a backup")]
    Malformed { path: PathBuf, source: note::KeyError },
    #[error("{0} is of another region: restore this region's from a backup")]
    OtherRegion(PathBuf),
    #[error(
        "{0} is missing, and there are checkpoints that it has signed: restore it from a backup; if there is none, keep checkpoints.txt elsewhere and take it away, and a new key is made"
    )]
    Lost(PathBuf),
}

/// Reads the key, or makes it.
pub(crate) fn open(data: &Path, region: Uuid) -> Result<SigningKey, KeyFileError> {
    if let Some(key) = read(data, region)? {
        return Ok(key);
    }
    let path = data.join(NAME);
    if data.join(checkpoint_file::NAME).exists() {
        return Err(KeyFileError::Lost(path));
    }
    if has_log(data) {
        tracing::warn!(path = %path.display(), "there was no key, and a new one is made: compare `tsunagi key` with what you were given, and tell those who check");
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| LogError::Io {
        action: "creating",
        path: path.clone(),
        source: std::io::Error::other(error),
    })?;
    let key = SigningKey::new(region_name(region), &secret);
    write_durably(&path, format!("{}\n", key.to_secret_text()).as_bytes())?;
    Ok(key)
}

/// Reads the key, if it is there.
pub(crate) fn read(data: &Path, region: Uuid) -> Result<Option<SigningKey>, KeyFileError> {
    let path = data.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("reading", &path)(error).into()),
    };
    let malformed = |source| KeyFileError::Malformed { path: path.clone(), source };
    let text = str::from_utf8(&bytes).or(Err(note::KeyError)).map_err(malformed)?;
    let key = SigningKey::from_secret_text(text).map_err(malformed)?;
    if key.public().name() != region_name(region) {
        return Err(KeyFileError::OtherRegion(path));
    }
    Ok(Some(key))
}
