//! One file of the log, open for reading: with patience, or from memory alone.

use std::fs::File;
use std::io::{ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::io::{ReadWriteFlags, preadv2};

use super::LogError;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    Wait,
    /// Only what the system has in memory; otherwise `LogError::WouldWait`.
    FromMemory,
}

/// A file and its name.
#[derive(Debug)]
pub struct LogFile {
    pub path: PathBuf,
    pub file: File,
}

impl LogFile {
    /// Reads as many bytes as there are, up to the length of `buffer`; says how many. From
    /// memory, less may come than there is.
    pub fn read(
        &self,
        buffer: &mut [u8],
        offset: u64,
        patience: Patience,
    ) -> Result<usize, LogError> {
        match patience {
            Patience::Wait => read_at_most(&self.file, buffer, offset)
                .map_err(LogError::io("reading", &self.path)),
            Patience::FromMemory => {
                let buffers = &mut [IoSliceMut::new(buffer)];
                let read = preadv2(&self.file, buffers, offset, ReadWriteFlags::NOWAIT);
                // Whatever it is, it is told when reading in earnest.
                read.or(Err(LogError::WouldWait))
            }
        }
    }

    pub fn bytes(&self) -> Result<u64, LogError> {
        let metadata = self.file.metadata().map_err(LogError::io("reading", &self.path))?;
        Ok(metadata.len())
    }

    pub fn damaged(&self, offset: u64, problem: &'static str) -> LogError {
        LogError::Damaged { path: self.path.clone(), offset, problem }
    }
}

fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + u64::try_from(done).unwrap_or(u64::MAX);
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
