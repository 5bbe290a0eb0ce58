//! Trees and checkpoints: made beside the log, gone on with, and never against it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;
use tsunagi_event_store::Store;
use tsunagi_event_store::evidence::audit::{Options, Problem, verify};
use tsunagi_event_store::evidence::checkpoint::Checkpoint;
use tsunagi_event_store::evidence::checkpoint_file::read;
use tsunagi_event_store::evidence::merkle::Frontier;
use tsunagi_event_store::evidence::tree_file::{self, SegmentTrees};
use tsunagi_event_store::log::frame::{HEADER_BYTES, Header};
use tsunagi_event_store::log::segment::{Folder, Segment};

use crate::support::{config, draft, folder, open, publish};

/// Publishes these events, some to each of nine streams, and closes the store.
async fn write(folder: &TempDir, numbers: std::ops::Range<u128>) {
    let store = open(folder);
    for number in numbers {
        publish(&store, number % 9, vec![draft(number, &"x".repeat(1_000))]).await.unwrap();
    }
    store.close().unwrap();
}

fn checkpoints(folder: &TempDir) -> Vec<Checkpoint> {
    let contents = read(&std::fs::read(folder.path().join("checkpoints.txt")).unwrap());
    assert!(contents.bad.is_empty());
    contents.signed.into_iter().map(|signed| signed.checkpoint).collect()
}

/// Each slot's newest size and root.
fn newest(folder: &TempDir) -> BTreeMap<u16, (u64, [u8; 32])> {
    checkpoints(folder).into_iter().map(|one| (one.slot, (one.size, one.root))).collect()
}

fn tree_files(folder: &TempDir) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder.path().join("log/tree")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[tokio::test]
async fn what_is_stored_is_signed_when_the_store_is_closed() {
    let folder = folder();
    write(&folder, 0..40).await;
    let signed: u64 = newest(&folder).values().map(|(size, _)| size).sum();
    assert_eq!(signed, 40);
    // Nothing new is nothing to sign.
    let before = checkpoints(&folder);
    open(&folder).close().unwrap();
    assert_eq!(checkpoints(&folder), before);
}

#[tokio::test]
async fn what_is_stored_is_signed_while_the_store_is_open() {
    let folder = folder();
    let config = tsunagi_chassis::Config { checkpoint_interval_ms: 10, ..config(folder.path()) };
    let store = Store::open(&config).unwrap();
    publish(&store, 0, vec![draft(0, "x")]).await.unwrap();
    while checkpoints(&folder).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_restart_goes_on_as_if_there_had_been_none() {
    let (once, twice) = (folder(), folder());
    write(&once, 0..300).await;
    for part in [0..100, 100..101, 101..300] {
        write(&twice, part).await;
    }
    assert!(tree_files(&once).len() >= 4);
    assert_eq!(tree_files(&once).len(), tree_files(&twice).len());
    // Times of recording differ, and so do the roots; what is signed of which size does not.
    let sizes = |folder| newest(folder).into_iter().map(|(slot, (size, _))| (slot, size));
    assert!(sizes(&once).eq(sizes(&twice)));
    let sealed: Vec<_> = checkpoints(&once).into_iter().filter_map(|one| one.sealed).collect();
    assert!(sealed.is_sorted() && sealed.contains(&1));
}

#[tokio::test]
async fn trees_that_are_missing_or_damaged_are_made_again() {
    let folder = folder();
    write(&folder, 0..300).await;
    let (files, signed) = (tree_files(&folder), checkpoints(&folder));
    std::fs::remove_dir_all(folder.path().join("log/tree")).unwrap();
    open(&folder).close().unwrap();
    assert!(tree_files(&folder) == files);
    let second = files.keys().nth(1).unwrap();
    let mut damaged = files[second].clone();
    damaged[50] ^= 1;
    std::fs::write(second, damaged).unwrap();
    open(&folder).close().unwrap();
    assert!(tree_files(&folder) == files);
    assert_eq!(checkpoints(&folder), signed, "what was signed is not signed again");
}

#[tokio::test]
async fn what_does_not_match_a_checkpoint_is_not_signed() {
    let folder = folder();
    write(&folder, 0..20).await;
    let before = newest(&folder);
    let path = folder.path().join("checkpoints.txt");
    let kept = std::fs::read_to_string(&path).unwrap();
    // The log goes on, and then an old copy of it is put back beside the newer checkpoints.
    let old: Vec<_> = ["log/0000000001.seg", "log/closed"]
        .map(|name| (name, std::fs::read(folder.path().join(name)).unwrap()))
        .into();
    write(&folder, 20..40).await;
    let newer = std::fs::read_to_string(&path).unwrap();
    assert!(newer.starts_with(&kept) && newest(&folder) != before);
    for (name, bytes) in old {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    write(&folder, 100..140).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
}

#[tokio::test]
async fn the_key_is_for_its_owner_alone_and_is_not_made_twice() {
    let folder = folder();
    write(&folder, 0..1).await;
    let path = folder.path().join("signing.key");
    let key = std::fs::read(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::remove_file(&path).unwrap();
    let error = Store::open(&config(folder.path())).err().unwrap().to_string();
    assert!(error.contains("signing.key is missing"), "{error}");
    std::fs::write(&path, &key).unwrap();
    write(&folder, 1..2).await;
    assert_eq!(std::fs::read(&path).unwrap(), key);
}

/// One slot with several chunks, in more than one segment. The first segment, its end, and the
/// folder of its tree.
async fn chunks(folder: &TempDir) -> (Segment, u32, PathBuf) {
    let store = open(folder);
    for part in 0..30 {
        let drafts = (part * 50..part * 50 + 50).map(|number| draft(number, "x")).collect();
        publish(&store, 0, drafts).await.unwrap();
    }
    let region = store.region().id;
    store.close().unwrap();
    let log = Folder::to_read(folder.path().join("log"), region);
    let end = log.open_segment_to_read(2).unwrap().previous_end;
    (log.open_segment_to_read(1).unwrap(), end, tree_file::folder(&log.path))
}

fn problems(folder: &TempDir, segments: Option<(u32, u32)>) -> Vec<Problem> {
    let options = Options { segments, ..Options::default() };
    verify(folder.path(), &options).unwrap().problems
}

#[tokio::test]
async fn a_rewritten_event_is_located_to_its_chunk() {
    let folder = folder();
    let (segment, _, _) = chunks(&folder).await;
    // The 300th event is in the second chunk: 257 to 512.
    let path = folder.path().join("log/0000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = 64 + 299 * (HEADER_BYTES + 1);
    let header = Header::decode(bytes[at..].first_chunk().unwrap(), segment.salt).unwrap();
    let moved = Header { stream_key: [9; 16], ..header }.encode(segment.salt);
    bytes[at..at + HEADER_BYTES].copy_from_slice(&moved);
    std::fs::write(&path, bytes).unwrap();
    let problems = problems(&folder, None);
    let [Problem::Altered { slot, span: (first, last), .. }] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert_eq!((*slot, first.n, last.n), (header.slot, 257, 512));
    assert_eq!((first.at.segment, last.at.segment), (1, 1));
}

#[tokio::test]
async fn a_tree_file_that_is_wrong_is_named_and_not_the_log() {
    let folder = folder();
    let (segment, end, trees) = chunks(&folder).await;
    assert!(problems(&folder, None).is_empty());
    let mut stored = SegmentTrees::read(&trees, 1, 4).unwrap().unwrap();
    assert!(stored.is_of(&segment, end));
    stored.slots.iter_mut().flat_map(|slot| &mut slot.chunks).for_each(|chunk| chunk[0] ^= 1);
    stored.write(&trees).unwrap();
    assert!(matches!(&problems(&folder, None)[..], [Problem::Tree(_)]));
    // A range begins with what its tree file says, if that was signed.
    assert!(problems(&folder, Some((2, 2))).is_empty());
    let slot = stored.slots.iter_mut().find(|slot| slot.frontier.size() > 0).unwrap();
    slot.frontier.push([0; 32]);
    stored.write(&trees).unwrap();
    assert!(matches!(problems(&folder, Some((2, 2)))[0], Problem::Unanchored { .. }));
    std::fs::remove_dir_all(&trees).unwrap();
    assert!(matches!(&problems(&folder, Some((2, 2)))[..], [Problem::NoTree(_)]));
}

#[tokio::test]
async fn what_was_signed_is_not_cut_as_if_it_were_torn() {
    let folder = folder();
    write(&folder, 0..20).await;
    // Opened and killed: there is no note of an orderly end any more.
    drop(open(&folder));
    let path = folder.path().join("log/0000000001.seg");
    let whole = std::fs::read(&path).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let last = end - (HEADER_BYTES + 1_000);
    for damaged in [last + 3, last + HEADER_BYTES, end - 1] {
        let mut bytes = whole.clone();
        bytes[damaged] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        for _ in 0..2 {
            let error = Store::open(&config(folder.path())).err().unwrap().to_string();
            let place = format!("0000000001.seg, offset {last}: ");
            assert!(error.contains(&place) && error.contains("were signed"), "{error}");
            assert!(std::fs::read(&path).unwrap() == bytes, "nothing was written");
        }
    }
    // As the error says.
    std::fs::remove_file(folder.path().join("checkpoints.txt")).unwrap();
    open(&folder).close().unwrap();
}

#[tokio::test]
async fn a_forged_tree_file_is_made_again_from_the_log() {
    let folder = folder();
    let (_, _, trees) = chunks(&folder).await;
    let files = tree_files(&folder);
    let forge = |change: fn(&mut SegmentTrees)| {
        let mut forged = SegmentTrees::read(&trees, 1, 4).unwrap().unwrap();
        change(&mut forged);
        forged.write(&trees).unwrap();
        assert!(tree_files(&folder) != files);
        open(&folder).close().unwrap();
        assert!(tree_files(&folder) == files, "it is made again");
        assert!(problems(&folder, None).is_empty());
    };
    forge(|trees| trees.slots.iter_mut().flat_map(|slot| &mut slot.chunks).for_each(|c| c[0] ^= 1));
    forge(|trees| {
        let slot = trees.slots.iter_mut().find(|slot| slot.frontier.size() > 0).unwrap();
        let mut subtrees = slot.frontier.subtrees().to_vec();
        subtrees.last_mut().unwrap()[0] ^= 1;
        slot.frontier = Frontier::new(slot.frontier.size(), subtrees).unwrap();
    });
    forge(|trees| {
        let slot = trees.slots.iter_mut().find(|slot| slot.frontier.size() > 0).unwrap();
        slot.frontier.push([0; 32]);
    });
}
