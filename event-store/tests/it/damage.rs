//! What is found on opening: a torn end is cut, damage is named, and nothing is guessed.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use tempfile::TempDir;
use tsunagi_bus::{Bus as _, PublishError};
use tsunagi_event_store::log::frame::HEADER_BYTES;
use tsunagi_event_store::log::segment::SEGMENT_HEADER_BYTES;
use tsunagi_event_store::{OpenError, Patients, Store};

use tsunagi_event_store::log::file::Patience;

use crate::support::{config, draft, folder, open, publish, records, stream};

const RECORD: &str = "forty bytes of a record, or just as many";

fn frame_bytes() -> u64 {
    u64::try_from(HEADER_BYTES + RECORD.len()).unwrap()
}

fn first_segment(folder: &TempDir) -> PathBuf {
    folder.path().join("log/0000000001.seg")
}

/// A log of five events, each a batch of its own, that was not closed in order.
async fn five_events() -> TempDir {
    let folder = folder();
    let store = open(&folder);
    for number in 0..5 {
        publish(&store, 0, vec![draft(number, RECORD)]).await.unwrap();
    }
    drop(store);
    folder
}

/// Opens a log whose process lost its power before it signed anything.
fn open_unsigned(folder: &TempDir) -> Store {
    std::fs::remove_file(folder.path().join("checkpoints.txt")).unwrap();
    open(folder)
}

async fn count(store: &Store) -> usize {
    store.read(stream(0), 0).await.unwrap().len()
}

fn write(folder: &TempDir, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(first_segment(folder)).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

fn open_error(folder: &TempDir) -> String {
    match Store::open(&config(folder.path())) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_batch_torn_at_any_byte_is_cut_and_no_other() {
    let folder = five_events().await;
    let begin = u64::from(SEGMENT_HEADER_BYTES) + 4 * frame_bytes();
    let whole = std::fs::read(first_segment(&folder)).unwrap();
    for kept in 0..frame_bytes() {
        std::fs::write(first_segment(&folder), &whole).unwrap();
        let lost = usize::try_from(frame_bytes() - kept).unwrap();
        write(&folder, begin + kept, &vec![0; lost]);
        let store = open_unsigned(&folder);
        assert_eq!(count(&store).await, 4, "{kept} bytes of the last frame were kept");
        // What was cut leaves no trace: the same event can be stored again.
        publish(&store, 0, vec![draft(4, RECORD)]).await.unwrap();
        assert_eq!(count(&store).await, 5);
    }
}

#[tokio::test]
async fn a_batch_of_several_events_torn_at_any_byte_is_cut_whole() {
    let folder = folder();
    let store = open(&folder);
    publish(&store, 0, vec![draft(0, RECORD)]).await.unwrap();
    let batch: Vec<_> = (1..4).map(|number| draft(number, RECORD)).collect();
    publish(&store, 0, batch.clone()).await.unwrap();
    drop(store);
    let begin = u64::from(SEGMENT_HEADER_BYTES) + frame_bytes();
    let whole = std::fs::read(first_segment(&folder)).unwrap();
    for kept in 0..3 * frame_bytes() {
        // What follows is zeros, or is missing from the file.
        std::fs::write(first_segment(&folder), &whole).unwrap();
        if kept % 2 == 0 {
            let lost = usize::try_from(3 * frame_bytes() - kept).unwrap();
            write(&folder, begin + kept, &vec![0; lost]);
        } else {
            let file = OpenOptions::new().write(true).open(first_segment(&folder)).unwrap();
            file.set_len(begin + kept).unwrap();
        }
        let store = open_unsigned(&folder);
        assert_eq!(count(&store).await, 1, "{kept} bytes of the batch were kept");
        publish(&store, 0, batch.clone()).await.unwrap();
        assert_eq!(count(&store).await, 4);
    }
}

#[tokio::test]
async fn a_file_that_ends_in_the_middle_is_a_torn_end() {
    let folder = five_events().await;
    let begin = u64::from(SEGMENT_HEADER_BYTES) + 4 * frame_bytes();
    let file = OpenOptions::new().write(true).open(first_segment(&folder)).unwrap();
    file.set_len(begin + 30).unwrap();
    assert_eq!(count(&open_unsigned(&folder)).await, 4);
}

#[tokio::test]
async fn a_torn_batch_whose_later_pages_reached_the_disk_is_cut() {
    let folder = folder();
    let store = open(&folder);
    publish(&store, 0, vec![draft(0, RECORD)]).await.unwrap();
    let batch = (1..4).map(|number| draft(number, RECORD)).collect();
    publish(&store, 0, batch).await.unwrap();
    drop(store);
    // The batch's first frame did not reach the disk, its others did.
    let zeros = vec![0; usize::try_from(frame_bytes()).unwrap()];
    write(&folder, u64::from(SEGMENT_HEADER_BYTES) + frame_bytes(), &zeros);
    assert_eq!(count(&open_unsigned(&folder)).await, 1);
}

#[tokio::test]
async fn a_batch_is_there_whole_or_not_at_all() {
    let folder = folder();
    let store = open(&folder);
    publish(&store, 0, vec![draft(0, RECORD)]).await.unwrap();
    let batch = (1..4).map(|number| draft(number, RECORD)).collect();
    publish(&store, 0, batch).await.unwrap();
    drop(store);
    let last = u64::from(SEGMENT_HEADER_BYTES) + 3 * frame_bytes();
    write(&folder, last + 80, b"?");
    assert_eq!(count(&open_unsigned(&folder)).await, 1);
}

#[tokio::test]
async fn a_damaged_event_before_others_is_named_and_the_log_not_opened() {
    for (place, problem) in [(20, "header"), (80, "record")] {
        let folder = five_events().await;
        let begin = u64::from(SEGMENT_HEADER_BYTES) + 2 * frame_bytes();
        write(&folder, begin + place, b"?");
        let error = open_error(&folder);
        assert!(error.contains("0000000001.seg"), "{error}");
        assert!(error.contains(&format!("offset {begin}")), "{problem}: {error}");
    }
}

#[tokio::test]
async fn a_log_closed_in_order_must_end_where_it_ended() {
    let folder = five_events().await;
    open(&folder).close().unwrap();
    let begin = u64::from(SEGMENT_HEADER_BYTES) + 4 * frame_bytes();
    write(&folder, begin + 80, b"?");
    // Without the note, this would look like a torn end.
    for _attempt in 0..2 {
        assert!(open_error(&folder).contains("closed in order"));
    }
}

#[tokio::test]
async fn a_missing_or_foreign_segment_is_named() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..400 {
        publish(&store, 0, vec![draft(number, &RECORD.repeat(20))]).await.unwrap();
    }
    drop(store);
    let (first, second) = (first_segment(&folder), folder.path().join("log/0000000002.seg"));
    assert!(second.exists());
    let foreign = five_events().await;
    let own = std::fs::read(&first).unwrap();
    std::fs::copy(first_segment(&foreign), &first).unwrap();
    assert!(open_error(&folder).contains("another region"));
    std::fs::write(&first, &own).unwrap();
    let mut header = own.clone();
    header[8..12].copy_from_slice(&99u32.to_be_bytes());
    std::fs::write(&first, &header).unwrap();
    assert!(open_error(&folder).contains("format 99"));
    std::fs::remove_file(&first).unwrap();
    assert!(open_error(&folder).contains("0000000001.seg is missing"));
    std::fs::write(&first, &own).unwrap();
    assert_eq!(open(&folder).read_all(stream(0), Patience::Wait).unwrap().len(), 400);
}

#[tokio::test]
async fn an_earlier_segment_that_lost_its_end_is_named() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..100 {
        publish(&store, 0, vec![draft(number, &RECORD.repeat(20))]).await.unwrap();
    }
    drop(store);
    let bytes = std::fs::read(first_segment(&folder)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    write(&folder, u64::try_from(end).unwrap() - 10, b"?");
    // What has its index is checked when it is read, and what has none when it is opened.
    let damaged = open(&folder).read_all(stream(0), Patience::Wait).unwrap_err().to_string();
    assert!(damaged.contains("0000000001.seg"), "{damaged}");
    std::fs::remove_dir_all(folder.path().join("log/index")).unwrap();
    assert!(open_error(&folder).contains("events are missing from here on"));
}

#[tokio::test]
async fn a_last_segment_without_its_header_is_named() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..100 {
        publish(&store, 0, vec![draft(number, &RECORD.repeat(20))]).await.unwrap();
    }
    drop(store);
    // It had its header before it had its name: zeros are damage, whatever else it holds.
    let second = folder.path().join("log/0000000002.seg");
    let whole = std::fs::read(&second).unwrap();
    let mut damaged = whole.clone();
    damaged[..HEADER_BYTES].fill(0);
    for bytes in [damaged, vec![0; whole.len()], Vec::new()] {
        std::fs::write(&second, &bytes).unwrap();
        assert!(open_error(&folder).contains("0000000002.seg is damaged at offset 0"));
    }
    std::fs::write(&second, &whole).unwrap();
    assert_eq!(open(&folder).read_all(stream(0), Patience::Wait).unwrap().len(), 100);
}

#[tokio::test]
async fn zeros_where_an_event_was_are_damage() {
    let folder = five_events().await;
    let begin = u64::from(SEGMENT_HEADER_BYTES) + 2 * frame_bytes();
    write(&folder, begin, &vec![0; usize::try_from(frame_bytes()).unwrap()]);
    let whole = std::fs::read(first_segment(&folder)).unwrap();
    assert!(open_error(&folder).contains(&format!("offset {begin}")));
    assert!(std::fs::read(first_segment(&folder)).unwrap() == whole, "nothing was overwritten");
}

#[tokio::test]
async fn what_lies_behind_the_end_is_cleared() {
    let folder = five_events().await;
    let end = u64::from(SEGMENT_HEADER_BYTES) + 5 * frame_bytes();
    write(&folder, end + 1000, b"left over");
    assert_eq!(count(&open(&folder)).await, 5);
    let log = std::fs::read(first_segment(&folder)).unwrap();
    assert!(log[usize::try_from(end).unwrap()..].iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_region_that_lost_its_log_does_not_begin_another() {
    let folder = five_events().await;
    drop(Patients::open(records(&open(&folder), folder.path()), folder.path()).unwrap());
    std::fs::remove_file(first_segment(&folder)).unwrap();
    assert!(open_error(&folder).contains("has lost its segments"));
    std::fs::remove_dir_all(folder.path().join("log")).unwrap();
    assert!(open_error(&folder).contains("has lost its segments"));
}

#[tokio::test]
async fn a_log_without_its_region_is_not_given_another() {
    let folder = five_events().await;
    let region = folder.path().join("region.toml");
    let kept = std::fs::read(&region).unwrap();
    std::fs::remove_file(&region).unwrap();
    assert!(open_error(&folder).contains("region.toml is missing"));
    std::fs::write(&region, &kept).unwrap();
    assert_eq!(count(&open(&folder)).await, 5);
}

#[test]
fn the_data_are_for_their_owner_alone() {
    let folder = folder();
    let data = folder.path().join("data");
    drop(Store::open(&config(&data)).unwrap());
    for path in [data.clone(), data.join("log")] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[tokio::test]
async fn a_folder_is_open_to_one_process() {
    let folder = folder();
    let store = open(&folder);
    store.announce("http://127.0.0.1:7400").unwrap();
    match Store::open(&config(folder.path())) {
        Err(OpenError::Locked { address: Some(address), .. }) => {
            assert_eq!(address, "http://127.0.0.1:7400");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it opened"),
    }
    // Nor does it help to take away the file that says so.
    std::fs::remove_file(folder.path().join("lock")).unwrap();
    let refused = Store::open(&config(folder.path()));
    assert!(matches!(refused, Err(OpenError::Locked { .. })));
    drop(store);
    open(&folder);
}

#[tokio::test]
async fn what_was_fixed_at_creation_cannot_be_changed() {
    let folder = folder();
    drop(open(&folder));
    let other_slots = tsunagi_chassis::Config { slots: 8, ..config(folder.path()) };
    let error = Store::open(&other_slots).err().unwrap().to_string();
    assert!(error.contains("`slots` = 4"), "{error}");
    let other_zone = tsunagi_chassis::Config { zone: "UTC".into(), ..config(folder.path()) };
    assert!(Store::open(&other_zone).err().unwrap().to_string().contains("Asia/Tokyo"));
}

#[tokio::test]
async fn an_append_larger_than_a_segment_is_refused_and_others_go_on() {
    let folder = folder();
    let store = open(&folder);
    let large = publish(&store, 0, vec![draft(0, &"x".repeat(70_000))]).await;
    assert!(matches!(large, Err(PublishError::TooLarge { .. })));
    publish(&store, 0, vec![draft(0, RECORD)]).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_log_that_cannot_grow_refuses_until_it_can() {
    let folder = folder();
    let store = open(&folder);
    let spare = folder.path().join("log/spare.tmp");
    while std::fs::metadata(&spare).map_or(0, |spare| spare.len()) < 65_536 {
        tokio::task::yield_now().await;
    }
    // A folder of that name stands in the way as a full disk does.
    std::fs::remove_file(&spare).unwrap();
    std::fs::create_dir(&spare).unwrap();
    let mut stored = 0;
    let refused = loop {
        match publish(&store, 0, vec![draft(stored, &RECORD.repeat(100))]).await {
            Ok(_) => stored += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, PublishError::NoRoom(_)), "{refused}");
    assert!(!store.broken().is_cancelled());
    let small = publish(&store, 0, vec![draft(1000, "still fits")]).await;
    assert!(small.is_ok(), "what needs no new segment is taken");
    std::fs::remove_dir(&spare).unwrap();
    while publish(&store, 0, vec![draft(stored, &RECORD.repeat(100))]).await.is_err() {
        tokio::task::yield_now().await;
    }
    drop(store);
    let there = u128::try_from(count(&open(&folder)).await).unwrap();
    assert_eq!(there, stored + 2);
}
