//! The index of sealed segments: whatever becomes of its files, what is read stays the same.

use std::path::PathBuf;

use tempfile::TempDir;
use tsunagi_bus::{Bus as _, Cursor, Delivery, PublishError, Stored};
use tsunagi_chassis::Config;
use tsunagi_event_store::Store;
use tsunagi_event_store::log::file::Patience;

use crate::support::{config, copy_of, draft, folder, open, publish, stream};

const STREAMS: u128 = 9;

/// Events enough for several files of eight segments and some of one.
async fn many_segments() -> (TempDir, Vec<Vec<Stored>>) {
    let folder = folder();
    let store = open(&folder);
    for number in 0..600 {
        let record = "x".repeat(2_000 + usize::try_from(number).unwrap() * 7 % 5_000);
        // Some streams are in every segment, some in few.
        let to = if number % 5 == 0 { number / 100 } else { number % STREAMS };
        publish(&store, to, vec![draft(number, &record)]).await.unwrap();
    }
    let all = streams(&store);
    store.close().unwrap();
    (folder, all)
}

fn streams(store: &Store) -> Vec<Vec<Stored>> {
    let read = |number| store.read_all(stream(number), Patience::Wait).unwrap();
    (0..STREAMS).map(read).collect()
}

fn index_files(folder: &TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.path().join("log/index")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Reads everything in every way, and compares.
async fn assert_reads(folder: &TempDir, all: &[Vec<Stored>]) {
    let store = open(folder);
    assert!(streams(&store) == all);
    for (number, events) in (0..).zip(all) {
        for stored in events {
            let found = store.find(stream(number), stored.event).await.unwrap();
            assert!(found.as_ref() == Some(stored));
        }
        let half = events.len() / 2;
        let rest = store.read(stream(number), u64::try_from(half).unwrap()).await.unwrap();
        assert!(rest == events[half..]);
        // Dedupe is for ever, and not for what is in memory.
        let first = &events[0];
        let again = tsunagi_bus::Draft { event: first.event, record: first.record.clone() };
        let refused = publish(&store, number, vec![again]).await.unwrap_err();
        assert!(matches!(refused, PublishError::Repeated { .. }), "{refused}");
    }
    let mut feed = store.follow(Cursor::start());
    let mut followed = 0;
    while let Delivery::Events(events) = feed.next().await.unwrap() {
        for stored in &events {
            let of_stream = all.iter().flatten().find(|known| known.event == stored.event);
            assert!(of_stream == Some(stored));
        }
        followed += events.len();
    }
    assert_eq!(followed, all.iter().map(Vec::len).sum::<usize>());
}

#[tokio::test]
async fn sealed_segments_are_read_by_their_index() {
    let (folder, all) = many_segments().await;
    let files = index_files(&folder);
    let merged = files.iter().filter(|file| file.to_str().unwrap().contains("1-0000000008.idx"));
    assert_eq!(merged.count(), 1, "{files:?}");
    assert!(files.len() < 16, "{files:?}");
    assert_reads(&folder, &all).await;
}

#[tokio::test]
async fn an_index_that_is_missing_is_made_again() {
    let (folder, all) = many_segments().await;
    for file in index_files(&folder) {
        let kept = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_reads(&folder, &all).await;
        // It may come back as part of a larger one; then the old one is of no use any more.
        std::fs::write(&file, kept).unwrap();
        assert_reads(&folder, &all).await;
    }
    std::fs::remove_dir_all(folder.path().join("log/index")).unwrap();
    assert_reads(&folder, &all).await;
}

#[tokio::test]
async fn an_index_that_is_made_again_is_the_same_to_the_byte() {
    let (folder, _) = many_segments().await;
    let read = |path: &PathBuf| (path.clone(), std::fs::read(path).unwrap());
    let made: Vec<_> = index_files(&folder).iter().map(read).collect();
    std::fs::remove_dir_all(folder.path().join("log/index")).unwrap();
    open(&folder).close().unwrap();
    let again: Vec<_> = index_files(&folder).iter().map(read).collect();
    assert!(again == made);
}

#[tokio::test]
async fn a_flipped_bit_in_the_index_changes_nothing_that_is_read() {
    let (folder, all) = many_segments().await;
    for file in index_files(&folder) {
        let whole = std::fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 5) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x04;
            std::fs::write(&file, bytes).unwrap();
            let store = open(&folder);
            assert!(streams(&store) == all, "{} at {at}", file.display());
        }
        std::fs::write(&file, whole).unwrap();
    }
}

#[tokio::test]
async fn an_index_file_is_made_again_whichever_of_its_blocks_is_damaged() {
    const BLOCK_BYTES: usize = 4096;
    const MANY: u128 = 700;
    let sealed = folder();
    let large = |folder: &TempDir| {
        let config = Config { segment_bytes: 1 << 20, ..config(folder.path()) };
        Store::open(&config).unwrap()
    };
    let store = large(&sealed);
    for number in 0..MANY {
        let drafts = (0..3).map(|nth| draft(3 * number + nth, &"x".repeat(500)));
        publish(&store, number, drafts.collect()).await.unwrap();
    }
    let read = |store: &Store| -> Vec<Vec<Stored>> {
        (0..MANY).map(|of| store.read_all(stream(of), Patience::Wait).unwrap()).collect()
    };
    let all = read(&store);
    store.close().unwrap();
    drop(store);
    let path = index_files(&sealed).remove(0);
    let whole = std::fs::read(&path).unwrap();
    assert!(whole.len() > 8 * BLOCK_BYTES, "several blocks of streams and of postings");
    for at in (0..whole.len()).step_by(BLOCK_BYTES) {
        let folder = folder();
        copy_of(sealed.path(), folder.path());
        let path = index_files(&folder).remove(0);
        let mut bytes = whole.clone();
        bytes[at + 20] ^= 0x04;
        std::fs::write(&path, bytes).unwrap();
        let store = large(&folder);
        assert!(read(&store) == all, "block {}", at / BLOCK_BYTES);
        // Where only reading finds the damage, it is made again with the next segment.
        let mut number = 3 * MANY;
        while std::fs::read(&path).unwrap() != whole {
            publish(&store, MANY, vec![draft(number, &"x".repeat(50_000))]).await.unwrap();
            number += 1;
        }
        assert!(read(&store) == all, "block {}", at / BLOCK_BYTES);
    }
}

#[tokio::test]
async fn an_index_of_another_log_is_not_believed() {
    let (folder, all) = many_segments().await;
    let (other, _) = many_segments().await;
    for file in index_files(&folder) {
        let foreign = other.path().join("log/index").join(file.file_name().unwrap());
        std::fs::copy(foreign, &file).unwrap();
    }
    assert_reads(&folder, &all).await;
}

#[tokio::test]
async fn what_lies_in_sealed_segments_is_checked_when_it_is_read() {
    let (folder, all) = many_segments().await;
    let first = folder.path().join("log/0000000001.seg");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    let store = open(&folder);
    let damaged = store.read_all(stream(0), Patience::Wait).unwrap_err().to_string();
    assert!(damaged.contains("0000000001.seg is damaged at offset 64"), "{damaged}");
    for (number, events) in (0..).zip(&all).skip(1) {
        let read = store.read_all(stream(number), Patience::Wait).unwrap();
        assert!(read == *events, "the others are as they were");
    }
    drop(store);
    // Without the index, the log cannot be known to be whole, and is not opened.
    std::fs::remove_dir_all(folder.path().join("log/index")).unwrap();
    let error = Store::open(&config(folder.path())).err().unwrap().to_string();
    assert!(error.contains("0000000001.seg is damaged at offset 64"), "{error}");
}
