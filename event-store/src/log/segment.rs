//! The log's files: `log/0000000001.seg` and so on, and the spare one that comes next.
//!
//! A segment begins with 64 bytes: magic `TSUNAGI1`, format, number, salt, the region's id,
//! the offset at which the segment before it ends, and their CRC-32C. Behind its frames, a
//! segment is zeros: overwriting zeros that are on disk already is faster than growing a file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::LogError;
use super::bytes::take;
use super::file::{LogFile, Patience};

/// Bytes before the first frame.
pub const SEGMENT_HEADER_BYTES: u32 = 64;
const HEADER_LENGTH: usize = 64;
pub const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"TSUNAGI1";
const SPARE: &str = "spare.tmp";

/// One file of the log, open.
#[derive(Debug)]
pub struct Segment {
    pub number: u32,
    pub salt: u64,
    /// Where the segment before it ends.
    pub previous_end: u32,
    file: LogFile,
}

/// The folder of the log.
#[derive(Debug, Clone)]
pub struct Folder {
    pub path: PathBuf,
    pub region: Uuid,
    pub segment_bytes: u32,
    /// Held while the spare file is filled or taken: a file that is a segment already must not
    /// be filled any further.
    spare: Arc<Mutex<()>>,
}

/// The spare file with the header of the next segment, whose name it has not got yet.
#[derive(Debug)]
pub struct Headed<'a> {
    folder: &'a Folder,
    segment: Segment,
    _held: MutexGuard<'a, ()>,
}

impl Headed<'_> {
    /// Makes it the next segment. After an error, it may be that or not.
    pub fn name(self) -> Result<Segment, LogError> {
        let (spare, path) = (self.folder.path.join(SPARE), &self.segment.file.path);
        std::fs::rename(&spare, path).map_err(LogError::io("naming", path))?;
        sync_folder(&self.folder.path)?;
        Ok(self.segment)
    }
}

impl Folder {
    pub fn open(path: PathBuf, region: Uuid, segment_bytes: u32) -> Result<Self, LogError> {
        create_folder(&path)?;
        Ok(Self { path, region, segment_bytes, spare: Arc::default() })
    }

    /// A folder that is only read, and must be there.
    pub fn to_read(path: PathBuf, region: Uuid) -> Self {
        Self { path, region, segment_bytes: 0, spare: Arc::default() }
    }

    /// The numbers of the segments, in order. None is missing between the first and the last.
    pub fn numbers(&self) -> Result<Vec<u32>, LogError> {
        let numbers = self.present()?;
        match numbers.iter().zip(1..).find(|(number, expected)| **number != *expected) {
            Some((_, missing)) => Err(LogError::Missing { path: self.segment_path(missing) }),
            None => Ok(numbers),
        }
    }

    /// The numbers of the segments that are there, in order.
    pub fn present(&self) -> Result<Vec<u32>, LogError> {
        let mut numbers = Vec::new();
        let reading = || LogError::io("reading", &self.path);
        for entry in std::fs::read_dir(&self.path).map_err(reading())? {
            let name = entry.map_err(reading())?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub fn segment_path(&self, number: u32) -> PathBuf {
        self.path.join(format!("{number:010}.seg"))
    }

    /// Opens a segment that is there. It got its name after its header was on disk.
    pub fn open_segment(&self, number: u32) -> Result<Segment, LogError> {
        self.open_with(number, OpenOptions::new().read(true).write(true))
    }

    /// Opens a segment that another process may be writing.
    pub fn open_segment_to_read(&self, number: u32) -> Result<Segment, LogError> {
        self.open_with(number, OpenOptions::new().read(true))
    }

    fn open_with(&self, number: u32, options: &OpenOptions) -> Result<Segment, LogError> {
        let path = self.segment_path(number);
        let file = options.open(&path).map_err(LogError::io("opening", &path))?;
        let mut header = [0; HEADER_LENGTH];
        let file = LogFile { path, file };
        file.read(&mut header, 0, Patience::Wait)?;
        let path = file.path.clone();
        let header = self.decode_header(&path, &header)?;
        if header.number != number {
            let problem = "its header names another number than its file";
            return Err(LogError::Damaged { path, offset: 0, problem });
        }
        let SegmentHeader { number, salt, previous_end } = header;
        Ok(Segment { number, salt, previous_end, file })
    }

    /// Begins the next segment, out of the spare file if there is one.
    pub fn begin_segment(&self, number: u32, previous_end: u32) -> Result<Segment, LogError> {
        self.head_spare(number, previous_end)?.name()
    }

    /// Writes the next segment's header into the spare file. An error has changed nothing yet.
    pub fn head_spare(&self, number: u32, previous_end: u32) -> Result<Headed<'_>, LogError> {
        let held = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        self.fill_spare()?;
        let (spare, path) = (self.path.join(SPARE), self.segment_path(number));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&spare)
            .map_err(LogError::io("opening", &spare))?;
        let salt = random_salt(&spare)?;
        let header = SegmentHeader { number, salt, previous_end };
        let write = || {
            file.write_all_at(&self.encode_header(&header), 0)
                .map_err(LogError::io("writing", &spare))?;
            file.sync_all().map_err(LogError::io("flushing", &spare))
        };
        // What a failed flush left on disk is not known.
        write().inspect_err(|_| drop(std::fs::remove_file(&spare)))?;
        let file = LogFile { path, file };
        Ok(Headed {
            folder: self,
            segment: Segment { number, salt, previous_end, file },
            _held: held,
        })
    }

    /// Fills the spare file with zeros, if that was not done yet.
    pub fn prepare_spare(&self) -> Result<(), LogError> {
        let _held = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        self.fill_spare()
    }

    fn fill_spare(&self) -> Result<(), LogError> {
        const ZEROS: &[u8] = &[0; 1 << 16];
        let path = self.path.join(SPARE);
        let size = u64::from(self.segment_bytes);
        if std::fs::metadata(&path).is_ok_and(|spare| spare.len() == size) {
            return Ok(());
        }
        let fill = || {
            let mut file = File::create(&path).map_err(LogError::io("creating", &path))?;
            let mut left = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX);
            while left > 0 {
                let part = ZEROS.get(..left).unwrap_or(ZEROS);
                file.write_all(part).map_err(LogError::io("writing", &path))?;
                left -= part.len();
            }
            file.sync_all().map_err(LogError::io("flushing", &path))
        };
        // One that is not known to be on disk must not be taken for one that is.
        fill().inspect_err(|_| drop(std::fs::remove_file(&path)))
    }

    fn encode_header(&self, header: &SegmentHeader) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&header.number.to_be_bytes());
        bytes.extend_from_slice(&header.salt.to_be_bytes());
        bytes.extend_from_slice(self.region.as_bytes());
        bytes.extend_from_slice(&header.previous_end.to_be_bytes());
        bytes.resize(HEADER_LENGTH - 4, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode_header(&self, path: &Path, bytes: &[u8]) -> Result<SegmentHeader, LogError> {
        let damaged = |problem| LogError::Damaged { path: path.to_owned(), offset: 0, problem };
        let (body, crc) = bytes.split_last_chunk().ok_or_else(|| damaged("its header is cut"))?;
        let (magic, body_rest) =
            body.split_first_chunk().ok_or_else(|| damaged("its header is cut"))?;
        if magic != MAGIC {
            return Err(damaged("it does not begin as a segment does"));
        }
        let mut rest = body_rest;
        let mut number = || take(&mut rest).map(u32::from_be_bytes);
        let format = number().ok_or_else(|| damaged("its header is cut"))?;
        if format != FORMAT {
            return Err(LogError::Format { path: path.to_owned(), found: format, known: FORMAT });
        }
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return Err(damaged("its header does not match its checksum"));
        }
        let fields = (|| {
            let number = take(&mut rest).map(u32::from_be_bytes)?;
            let salt = take(&mut rest).map(u64::from_be_bytes)?;
            let region = take(&mut rest).map(Uuid::from_bytes)?;
            let previous_end = take(&mut rest).map(u32::from_be_bytes)?;
            Some((region, SegmentHeader { number, salt, previous_end }))
        })();
        let (region, header) = fields.ok_or_else(|| damaged("its header is cut"))?;
        if region != self.region {
            return Err(LogError::OtherRegion { path: path.to_owned() });
        }
        Ok(header)
    }
}

struct SegmentHeader {
    number: u32,
    salt: u64,
    previous_end: u32,
}

impl Segment {
    /// Reads as many bytes as there are, up to the length of `buffer`; says how many.
    pub fn read(
        &self,
        buffer: &mut [u8],
        offset: u32,
        patience: Patience,
    ) -> Result<usize, LogError> {
        self.file.read(buffer, u64::from(offset), patience)
    }

    pub fn write(&self, bytes: &[u8], offset: u32) -> Result<(), LogError> {
        let written = self.file.file.write_all_at(bytes, u64::from(offset));
        written.map_err(LogError::io("writing", &self.file.path))
    }

    /// Flushes what was written to disk.
    pub fn sync(&self) -> Result<(), LogError> {
        self.file.file.sync_data().map_err(LogError::io("flushing", &self.file.path))
    }

    pub fn bytes(&self) -> Result<u32, LogError> {
        Ok(u32::try_from(self.file.bytes()?).unwrap_or(u32::MAX))
    }

    /// That events were signed which should lie behind `offset`, and do not.
    pub fn signed(&self, offset: u32, slot: u16, size: u64, events: u64) -> LogError {
        LogError::Signed { path: self.file.path.clone(), offset, slot, size, events }
    }

    pub fn damaged(&self, offset: u32, problem: &'static str) -> LogError {
        self.file.damaged(offset.into(), problem)
    }
}

/// Creates a folder and those above it, and makes their names durable one after the other. That
/// of a folder that is there too: whoever created it may have been killed before.
pub fn create_folder(path: &Path) -> Result<(), LogError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if path.is_dir() {
        return match sync_folder(parent) {
            // Then it was somebody else who created the folder here.
            Err(LogError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                Ok(())
            }
            synced => synced,
        };
    }
    if path.parent().is_some() {
        create_folder(parent)?;
    }
    // Patients' records are for the owner of the process alone.
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(LogError::io("creating", path))?;
    sync_folder(parent)
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> Result<(), LogError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(LogError::io("flushing", path))
}

fn random_salt(path: &Path) -> Result<u64, LogError> {
    getrandom::u64().map_err(|error| LogError::Io {
        action: "salting",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })
}
