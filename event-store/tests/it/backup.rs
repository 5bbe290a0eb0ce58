//! Copies of a data folder: taken while it is written, checked, and good for a new folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tsunagi_event_store::backup::{BackupError, backup, restore};
use tsunagi_event_store::log::file::Patience;
use tsunagi_event_store::log::frame::{HEADER_BYTES, Header};
use tsunagi_event_store::{OpenError, Store};

use crate::support::{config, copy_of, draft, folder, open, publish, stream};

const RECORD_BYTES: usize = 1_000;

async fn written(store: &Store, from: u128, to: u128) {
    for number in from..to {
        publish(store, number % 7, vec![draft(number, &"x".repeat(RECORD_BYTES))]).await.unwrap();
    }
}

fn all(store: &Store) -> Vec<tsunagi_bus::Stored> {
    let read = |number| store.read_all(stream(number), Patience::Wait).unwrap();
    (0..7).flat_map(read).collect()
}

fn restored(copy: &Path) -> (TempDir, Store) {
    let folder = folder();
    let data = folder.path().join("restored");
    restore(copy, &data).unwrap();
    let store = Store::open(&config(&data)).unwrap();
    (folder, store)
}

#[tokio::test]
async fn a_copy_is_the_region_as_it_was() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 200).await;
    let copied = backup(data.path(), copy.path()).unwrap();
    assert_eq!(copied.events, 200);
    let (_folder, other) = restored(copy.path());
    assert!(all(&other) == all(&store));
    assert_eq!(other.region().id, store.region().id);
    // What is restored goes on by itself.
    written(&other, 200, 260).await;
    assert_eq!(all(&other).len(), 260);
    assert_eq!(all(&store).len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_taken_while_events_come_in_are_whole() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                written(&store, number, number + 1).await;
                number += 1;
            }
        }
    });
    let mut before = 0;
    for _ in 0..6 {
        // So that each copy has something new.
        while all(&store).len() < usize::try_from(before).unwrap() + 80 {
            tokio::task::yield_now().await;
        }
        let copied = backup(data.path(), copy.path()).unwrap();
        assert!(copied.events > before);
        before = copied.events;
        let (_folder, other) = restored(copy.path());
        let (ours, theirs) = (all(&store), all(&other));
        assert_eq!(theirs.len(), usize::try_from(copied.events).unwrap());
        assert!(theirs.iter().all(|stored| ours.contains(stored)));
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_later_copy_adds_what_is_new() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 200).await;
    let first = backup(data.path(), copy.path()).unwrap();
    assert_eq!(first.fresh, first.segments);
    written(&store, 200, 300).await;
    let second = backup(data.path(), copy.path()).unwrap();
    assert!(second.segments > first.segments);
    assert_eq!(second.fresh, second.segments - first.segments + 1, "sealed ones were there");
    let (_folder, other) = restored(copy.path());
    assert!(all(&other) == all(&store));
}

#[tokio::test]
async fn a_copy_that_is_damaged_is_not_restored() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 100).await;
    backup(data.path(), copy.path()).unwrap();
    for name in ["log/0000000001.seg", "log/0000000002.seg", "backup.toml", "region.toml"] {
        let path = copy.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x20;
        for damaged in [&whole[..whole.len() - 3], &flipped] {
            std::fs::write(&path, damaged).unwrap();
            let into = folder();
            assert!(restore(copy.path(), &into.path().join("data")).is_err(), "{name}");
            assert!(!into.path().join("data/region.toml").exists());
        }
        std::fs::write(&path, whole).unwrap();
    }
    std::fs::remove_file(copy.path().join("log/0000000001.seg")).unwrap();
    let into = folder();
    assert!(restore(copy.path(), &into.path().join("data")).is_err());
    assert!(!into.path().join("data/region.toml").exists());
}

#[tokio::test]
async fn a_damaged_log_is_not_copied_as_if_it_were_good() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 200).await;
    let first = data.path().join("log/0000000001.seg");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    let refused = backup(data.path(), copy.path()).unwrap_err().to_string();
    assert!(refused.contains("0000000001.seg is damaged at offset 64"), "{refused}");
    assert!(!copy.path().join("backup.toml").exists());
}

#[tokio::test]
async fn a_copy_that_has_more_or_other_events_is_not_written_over() {
    let (data, copy, older) = (folder(), folder(), folder());
    let store = open(&data);
    written(&store, 0, 150).await;
    store.close().unwrap();
    drop(store);
    copy_of(data.path(), older.path());
    let store = open(&data);
    written(&store, 150, 300).await;
    let newest = backup(data.path(), copy.path()).unwrap();
    // As after an old copy of the folder was put back, and then after other events came to it.
    let store = open(&older);
    for numbers in [150..150, 1_000..1_020, 1_020..1_200] {
        written(&store, numbers.start, numbers.end).await;
        let refused = backup(older.path(), copy.path()).unwrap_err();
        assert!(
            matches!(refused, BackupError::NewerCopy(_) | BackupError::OtherCopy(_)),
            "{refused}"
        );
    }
    let (_folder, other) = restored(copy.path());
    assert_eq!(all(&other).len(), usize::try_from(newest.events).unwrap());
}

#[tokio::test]
async fn cursors_from_before_a_restore_are_refused() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 20).await;
    let before = store.region().cursor_text(&store.end());
    backup(data.path(), copy.path()).unwrap();
    let (restored_to, other) = restored(copy.path());
    assert!(other.region().read_cursor(&before).is_err());
    let after = other.region().cursor_text(&other.end());
    assert_eq!(other.region().read_cursor(&after), Ok(other.end()));
    // What was restored is copied like any other.
    let again = folder();
    backup(&restored_to.path().join("restored"), again.path()).unwrap();
}

#[tokio::test]
async fn a_copy_that_fails_leaves_the_one_before_as_it_was() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 200).await;
    store.close().unwrap();
    drop(store);
    let first = backup(data.path(), copy.path()).unwrap();
    let store = open(&data);
    written(&store, 200, 300).await;
    store.close().unwrap();
    let newest = data.path().join("log/0000000004.seg");
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let refused = backup(data.path(), copy.path()).unwrap_err().to_string();
    assert!(refused.contains("0000000004.seg is damaged"), "{refused}");
    let (_folder, other) = restored(copy.path());
    assert_eq!(all(&other).len(), usize::try_from(first.events).unwrap());
}

#[tokio::test]
async fn a_copy_that_was_killed_at_its_very_end_is_restored() {
    let (data, copy, into) = (folder(), folder(), folder());
    let signed = copy.path().join("checkpoints.txt");
    let mut kept = Vec::new();
    for round in 0..2 {
        let store = open(&data);
        written(&store, 20 * round, 20 * round + 20).await;
        store.close().unwrap();
        drop(store);
        backup(data.path(), copy.path()).unwrap();
        kept.push(std::fs::read(&signed).unwrap());
    }
    assert!(kept[0] != kept[1]);
    // The list is that of the new copy, and the file still that of the one before.
    std::fs::write(copy.path().join("checkpoints.txt.next"), &kept[1]).unwrap();
    std::fs::write(&signed, &kept[0]).unwrap();
    let data = into.path().join("data");
    restore(copy.path(), &data).unwrap();
    assert!(std::fs::read(data.join("checkpoints.txt")).unwrap() == kept[1]);
}

#[tokio::test]
async fn what_is_there_is_not_overwritten() {
    let (data, copy, other) = (folder(), folder(), folder());
    written(&open(&data), 0, 10).await;
    written(&open(&other), 0, 10).await;
    backup(data.path(), copy.path()).unwrap();
    let refused = restore(copy.path(), other.path()).unwrap_err();
    assert!(matches!(refused, BackupError::NotEmpty(_)), "{refused}");
    let refused = backup(other.path(), copy.path()).unwrap_err();
    assert!(matches!(refused, BackupError::OtherCopy(_)), "{refused}");
    let nowhere = folder();
    let refused = backup(nowhere.path(), copy.path()).unwrap_err();
    assert!(matches!(refused, BackupError::NoLog(_)), "{refused}");
    let refused = restore(nowhere.path(), &nowhere.path().join("data")).unwrap_err();
    assert!(matches!(refused, BackupError::NoCopy(_)), "{refused}");
}

#[tokio::test]
async fn a_backup_writes_over_nothing_but_an_earlier_copy() {
    let (data, other, elsewhere) = (folder(), folder(), folder());
    let store = open(&data);
    written(&store, 0, 200).await;
    written(&open(&other), 0, 10).await;
    let before = all(&store);
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(data.path(), &link).unwrap();
    let inside =
        [data.path().to_owned(), data.path().join("copy"), link.clone(), link.join("copy")];
    for to in &inside {
        let refused = backup(data.path(), to).unwrap_err();
        assert!(matches!(refused, BackupError::OverItself(_)), "{}: {refused}", to.display());
    }
    let refused = backup(data.path(), other.path()).unwrap_err();
    assert!(matches!(refused, BackupError::NotACopy(_)), "{refused}");
    assert_eq!(all(&open(&other)).len(), 10);
    let junk = folder();
    std::fs::write(junk.path().join("thesis.txt"), "all of it").unwrap();
    let refused = backup(data.path(), junk.path()).unwrap_err();
    assert!(matches!(refused, BackupError::NotACopy(_)), "{refused}");
    // A copy is not served either: it would be none any more.
    let copy = elsewhere.path().join("copy");
    backup(data.path(), &copy).unwrap();
    backup(data.path(), &copy).unwrap();
    let refused = Store::open(&config(&copy)).err().unwrap();
    assert!(matches!(refused, OpenError::Copy(_)), "{refused}");
    backup(data.path(), &copy).unwrap();
    written(&store, 200, 210).await;
    drop(store);
    assert_eq!(all(&open(&data)).len(), before.len() + 10);
}

#[tokio::test]
async fn damage_before_whole_events_of_the_last_segment_does_not_shorten_a_copy() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 10).await;
    let segment = data.path().join("log/0000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[64 + 3 * (HEADER_BYTES + RECORD_BYTES) + 200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let refused = backup(data.path(), copy.path()).unwrap_err().to_string();
    assert!(refused.contains("0000000001.seg is damaged"), "{refused}");
}

/// Changes a record as somebody does who knows the format: all checksums match again.
fn rewrite(folder: &Path) {
    let path = folder.join("log/0000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let salt = u64::from_be_bytes(bytes[16..24].try_into().unwrap());
    let mut header = Header::decode(bytes[64..].first_chunk().unwrap(), salt).unwrap();
    let end = 64 + HEADER_BYTES + RECORD_BYTES;
    bytes[end - 1] ^= 1;
    header.record_crc = crc32c::crc32c(&bytes[64 + HEADER_BYTES..end]);
    bytes[64..64 + HEADER_BYTES].copy_from_slice(&header.encode(salt));
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn a_log_that_is_not_what_was_signed_is_not_copied() {
    let (data, copy) = (folder(), folder());
    let store = open(&data);
    written(&store, 0, 10).await;
    store.close().unwrap();
    backup(data.path(), copy.path()).unwrap();
    let before = std::fs::read(copy.path().join("log/0000000001.seg")).unwrap();
    rewrite(data.path());
    let refused = backup(data.path(), copy.path()).unwrap_err();
    assert!(matches!(refused, BackupError::NotAsSigned { .. }), "{refused}");
    assert!(std::fs::read(copy.path().join("log/0000000001.seg")).unwrap() == before);
    restored(copy.path());
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_signed_is_not_restored() {
    let (data, copy, elsewhere) = (folder(), folder(), folder());
    let store = open(&data);
    written(&store, 0, 10).await;
    store.close().unwrap();
    backup(data.path(), copy.path()).unwrap();
    rewrite(copy.path());
    // Whoever rewrites the log of a copy rewrites its list, too.
    let crc = |folder: &Path, name: &str| {
        format!("{:08x}", crc32c::crc32c(&std::fs::read(folder.join(name)).unwrap()))
    };
    let name = "log/0000000001.seg";
    backup(data.path(), elsewhere.path()).unwrap();
    let list = std::fs::read_to_string(copy.path().join("backup.toml")).unwrap();
    let list = list.replace(&crc(elsewhere.path(), name), &crc(copy.path(), name));
    let (text, _) = list.rsplit_once("\n# crc32c").unwrap();
    let sum = crc32c::crc32c(text.as_bytes());
    let list = format!("{text}\n# crc32c of the lines above: {sum:08x}\n");
    std::fs::write(copy.path().join("backup.toml"), list).unwrap();
    let into = folder().path().join("data");
    let refused = restore(copy.path(), &into).unwrap_err();
    assert!(matches!(refused, BackupError::CopyNotAsSigned { .. }), "{refused}");
    assert!(refused.to_string().contains("use an earlier copy"), "{refused}");
    assert!(!into.exists());
}
