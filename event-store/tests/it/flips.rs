//! One flipped bit anywhere, and bytes of any kind: found and located, and never served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use tsunagi_bus::{Bus as _, Cursor, Delivery, Stored};
use tsunagi_domain::EventId;
use tsunagi_event_store::Store;
use tsunagi_event_store::log::file::Patience;
use tsunagi_event_store::log::segment::SEGMENT_HEADER_BYTES;

use crate::support::{config, draft, folder, open, publish, stream};

const STREAMS: u128 = 3;

/// A log closed in order: six events, of which the last three are one batch.
async fn closed_log() -> (TempDir, Vec<Vec<Stored>>) {
    let folder = folder();
    let store = open(&folder);
    for number in 0..3 {
        publish(&store, number % STREAMS, vec![draft(number, "a record")]).await.unwrap();
    }
    publish(&store, 0, (3..6).map(|number| draft(number, "a record")).collect()).await.unwrap();
    let all = streams(&store).map(Result::unwrap).collect();
    store.close().unwrap();
    (folder, all)
}

fn streams(store: &Store) -> impl Iterator<Item = Result<Vec<Stored>, String>> {
    let read = |number| store.read_all(stream(number), Patience::Wait);
    (0..STREAMS).map(move |number| read(number).map_err(|error| error.to_string()))
}

fn segment(folder: &TempDir, number: u32) -> PathBuf {
    folder.path().join(format!("log/{number:010}.seg"))
}

fn flip(path: &Path, whole: &[u8], bit: usize) {
    let mut bytes = whole.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

fn open_error(folder: &TempDir) -> Option<String> {
    Store::open(&config(folder.path())).err().map(|error| error.to_string())
}

#[tokio::test]
async fn a_bit_flipped_in_a_log_that_was_closed_is_named_with_file_and_offset() {
    let (folder, all) = closed_log().await;
    let path = segment(&folder, 1);
    let whole = std::fs::read(&path).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let frame = (end - usize::try_from(SEGMENT_HEADER_BYTES).unwrap()) / 6;
    // Every byte, and each bit of some.
    for bit in (0..end * 8).step_by(7) {
        flip(&path, &whole, bit);
        let error = open_error(&folder).unwrap_or_else(|| panic!("bit {bit} was not found"));
        assert!(error.contains("0000000001.seg"), "{error}");
        let place = (bit / 8).checked_sub(usize::try_from(SEGMENT_HEADER_BYTES).unwrap());
        // Bits of the format's number say that it is another format.
        let header = || error.contains("at offset 0") || error.contains("in format");
        let is_located = place.map_or_else(header, |place| {
            // Of a batch, the beginning.
            let damaged =
                (place / frame).min(3) * frame + usize::try_from(SEGMENT_HEADER_BYTES).unwrap();
            error.contains(&format!("at offset {damaged}:"))
        });
        assert!(is_located, "bit {bit}: {error}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(streams(&open(&folder)).map(Result::unwrap).collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn a_bit_flipped_in_the_note_of_an_orderly_end_is_not_believed() {
    let (folder, all) = closed_log().await;
    let path = folder.path().join("log/closed");
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        flip(&path, &whole, bit);
        assert_eq!(streams(&open(&folder)).map(Result::unwrap).collect::<Vec<_>>(), all);
    }
}

#[tokio::test]
async fn a_bit_flipped_in_the_region_is_named_or_changes_nothing() {
    let (folder, _) = closed_log().await;
    let region = open(&folder).region().clone();
    let path = folder.path().join("region.toml");
    let whole = std::fs::read(&path).unwrap();
    let checksum = whole.len() - "checksum = \"00000000\"\n".len();
    for bit in (0..whole.len() * 8).step_by(3) {
        flip(&path, &whole, bit);
        match Store::open(&config(folder.path())) {
            Err(error) => assert!(error.to_string().contains("region.toml"), "{error}"),
            // The checksum itself may have become something else.
            Ok(store) => {
                assert!(bit / 8 >= checksum, "bit {bit} was not found");
                assert_eq!(store.region().identifier_key, region.identifier_key);
            }
        }
    }
}

/// What was written, by event.
pub(crate) type Written = BTreeMap<EventId, Stored>;

/// A log of several segments, of which all but the last have an index.
pub(crate) async fn sealed_log() -> (TempDir, Written) {
    let folder = folder();
    let store = open(&folder);
    for number in 0..60 {
        let record = "x".repeat(1000 + usize::try_from(number).unwrap() * 61);
        publish(&store, number % STREAMS, vec![draft(number, &record)]).await.unwrap();
    }
    let written = streams(&store).flat_map(Result::unwrap).map(|stored| (stored.event, stored));
    let written = written.collect();
    store.close().unwrap();
    (folder, written)
}

/// Reads all that can be read in every way: nothing but what was written may come. How many
/// streams could not be read to their ends.
pub(crate) async fn assert_only(store: &Store, written: &Written) -> usize {
    let mut feed = store.follow(Cursor::start());
    while let Ok(delivery) = feed.next().await {
        match delivery {
            Delivery::Events(events) => {
                assert!(events.iter().all(|stored| written.get(&stored.event) == Some(stored)));
            }
            Delivery::Unreadable(_) => {}
            Delivery::CaughtUp => break,
        }
    }
    let mut damaged = 0;
    for read in streams(store) {
        match read {
            Ok(events) => {
                assert!(events.iter().all(|stored| written.get(&stored.event) == Some(stored)));
            }
            Err(error) => {
                assert!(error.contains(".seg is damaged at offset"), "{error}");
                damaged += 1;
            }
        }
    }
    damaged
}

#[tokio::test]
async fn a_bit_flipped_in_a_sealed_segment_is_found_when_it_is_read_and_never_served() {
    let (folder, written) = sealed_log().await;
    let path = segment(&folder, 2);
    let whole = std::fs::read(&path).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for bit in (usize::try_from(SEGMENT_HEADER_BYTES).unwrap() * 8..end * 8).step_by(4999) {
        flip(&path, &whole, bit);
        assert_eq!(assert_only(&open(&folder), &written).await, 1, "bit {bit}");
    }
}

/// What becomes of a file.
#[derive(Debug, Clone)]
enum Change {
    Bytes(prop::sample::Index, Vec<u8>),
    Copied(prop::sample::Index, prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        match self {
            Self::Bytes(at, new) => {
                for (place, byte) in bytes[at.index(end)..].iter_mut().zip(new) {
                    *place = *byte;
                }
            }
            Self::Copied(from, to, length) => {
                let (from, to) = (from.index(end), to.index(end));
                let length = (*length).min(bytes.len() - from.max(to));
                bytes.copy_within(from..from + length, to);
            }
            Self::Cut(at) => bytes.truncate(at.index(end)),
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(at, new)| Change::Bytes(at, new)),
        2 => (at(), at(), 1..5000usize).prop_map(|(from, to, length)| Change::Copied(from, to, length)),
        1 => at().prop_map(Change::Cut),
    ]
}

#[test]
fn whatever_the_files_hold_nothing_is_served_that_was_not_written() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (folder, written) = runtime.block_on(sealed_log());
    let mut files: Vec<_> = (1..4).map(|number| segment(&folder, number)).collect();
    let index = std::fs::read_dir(folder.path().join("log/index")).unwrap();
    files.extend(index.map(|file| file.unwrap().path()));
    files.push(folder.path().join("log/closed"));
    let whole: Vec<_> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), change()), 1..4);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    let ran = runner.run(&changes, |changes| {
        let mut contents = whole.clone();
        for (file, change) in changes {
            change.make(&mut contents[file.index(files.len())]);
        }
        for (path, bytes) in files.iter().zip(&contents) {
            std::fs::write(path, bytes).unwrap();
        }
        if let Ok(store) = Store::open(&config(folder.path())) {
            runtime.block_on(assert_only(&store, &written));
        }
        Ok(())
    });
    ran.unwrap();
}
