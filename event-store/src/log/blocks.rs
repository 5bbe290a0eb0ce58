//! A file in blocks of 4 KiB, each with a checksum of its own: what is read of it anywhere has
//! been checked, however little is read.
//!
//! A block is 4,092 bytes of content and the CRC-32C of the block's number and that content.
//! Offsets are those of the content.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::LogError;
use super::bytes::to_u64;
use super::file::{LogFile, Patience};

const BLOCK_BYTES: usize = 4096;
/// Bytes of content in a block.
pub const CONTENT_BYTES: usize = BLOCK_BYTES - 4;

/// Writes such a file from its beginning to its end.
pub struct BlockWriter {
    path: PathBuf,
    file: BufWriter<File>,
    block: Vec<u8>,
    blocks: u32,
}

impl BlockWriter {
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let file = File::create(path).map_err(LogError::io("creating", path))?;
        let (path, file) = (path.to_owned(), BufWriter::with_capacity(1 << 16, file));
        Ok(Self { path, file, block: Vec::with_capacity(BLOCK_BYTES), blocks: 0 })
    }

    /// Where the next byte of content goes.
    pub fn offset(&self) -> u64 {
        let whole = u64::from(self.blocks) * to_u64(CONTENT_BYTES);
        whole + to_u64(self.block.len())
    }

    pub fn put(&mut self, mut bytes: &[u8]) -> Result<(), LogError> {
        while !bytes.is_empty() {
            let room = CONTENT_BYTES - self.block.len();
            let (part, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.block.extend_from_slice(part);
            bytes = rest;
            if self.block.len() == CONTENT_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// Fills the block that was begun with zeros.
    pub fn end_block(&mut self) -> Result<(), LogError> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.block.resize(CONTENT_BYTES, 0);
        let crc = checksum(self.blocks, &self.block);
        self.block.extend_from_slice(&crc.to_be_bytes());
        self.file.write_all(&self.block).map_err(LogError::io("writing", &self.path))?;
        self.block.clear();
        self.blocks += 1;
        Ok(())
    }

    /// Ends the file, and flushes it to disk.
    pub fn finish(mut self) -> Result<(), LogError> {
        self.end_block()?;
        let flushing = || LogError::io("flushing", &self.path);
        let file = self.file.into_inner().map_err(|error| flushing()(error.into_error()))?;
        file.sync_all().map_err(flushing())
    }
}

/// Such a file, open for reading.
#[derive(Debug)]
pub struct Blocks {
    file: LogFile,
    blocks: u32,
}

impl Blocks {
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = File::open(path).map_err(LogError::io("opening", path))?;
        let file = LogFile { path: path.to_owned(), file };
        let bytes = file.bytes()?;
        if bytes == 0 || bytes % to_u64(BLOCK_BYTES) != 0 {
            return Err(file.damaged(bytes, "it is not a whole number of blocks"));
        }
        let blocks = u32::try_from(bytes / to_u64(BLOCK_BYTES))
            .map_err(|_too_large| file.damaged(bytes, "it is too long"))?;
        Ok(Self { file, blocks })
    }

    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Bytes of content, with the zeros that fill the last block.
    pub fn content_bytes(&self) -> u64 {
        u64::from(self.blocks) * to_u64(CONTENT_BYTES)
    }

    /// Where the last block's content begins.
    pub fn last_block(&self) -> u64 {
        u64::from(self.blocks.saturating_sub(1)) * to_u64(CONTENT_BYTES)
    }

    /// Reads `length` bytes of content.
    pub fn read(
        &self,
        offset: u64,
        length: usize,
        patience: Patience,
    ) -> Result<Vec<u8>, LogError> {
        let first = offset / to_u64(CONTENT_BYTES);
        let skip = usize::try_from(offset % to_u64(CONTENT_BYTES)).unwrap_or(0);
        let count = (skip + length).div_ceil(CONTENT_BYTES);
        let at = first * to_u64(BLOCK_BYTES);
        let mut bytes = vec![0; count * BLOCK_BYTES];
        let read = self.file.read(&mut bytes, at, patience)?;
        if read < bytes.len() {
            return Err(match patience {
                Patience::FromMemory => LogError::WouldWait,
                Patience::Wait => self.file.damaged(at, "it ends too early"),
            });
        }
        // The contents are moved together over the checksums between them.
        for (index, number) in (0..count).zip(first..) {
            let begin = index * BLOCK_BYTES;
            self.check(bytes.get(begin..begin + BLOCK_BYTES), number)?;
            bytes.copy_within(begin..begin + CONTENT_BYTES, index * CONTENT_BYTES);
        }
        bytes.truncate(skip + length);
        bytes.drain(..skip);
        Ok(bytes)
    }

    fn check(&self, block: Option<&[u8]>, number: u64) -> Result<(), LogError> {
        let is_good = block.and_then(<[u8]>::split_last_chunk).is_some_and(|(content, crc)| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            checksum(number, content) == u32::from_be_bytes(*crc)
        });
        let offset = number * to_u64(BLOCK_BYTES);
        is_good
            .then_some(())
            .ok_or_else(|| self.file.damaged(offset, "a block does not match its checksum"))
    }
}

fn checksum(number: u32, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_be_bytes()), content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(folder: &Path, parts: &[Vec<u8>]) -> PathBuf {
        let path = folder.join("blocks");
        let mut writer = BlockWriter::create(&path).unwrap();
        for part in parts {
            writer.put(part).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_was_put_is_read_at_every_offset(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6000), 1..4),
            at in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let blocks = Blocks::open(&written(folder.path(), &parts)).unwrap();
            let all = parts.concat();
            let from = at.index(all.len());
            let read = blocks.read(to_u64(from), all.len() - from, Patience::Wait).unwrap();
            prop_assert_eq!(&read[..], &all[from..]);
        }

        #[test]
        fn one_flipped_bit_is_found(bit in 0..2 * BLOCK_BYTES * 8) {
            let folder = tempfile::tempdir().unwrap();
            let path = written(folder.path(), &[vec![7; 2 * CONTENT_BYTES]]);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            let blocks = Blocks::open(&path).unwrap();
            let read = blocks.read(0, 2 * CONTENT_BYTES, Patience::Wait);
            let is_found = matches!(read, Err(LogError::Damaged { .. }));
            prop_assert!(is_found);
        }
    }
}
