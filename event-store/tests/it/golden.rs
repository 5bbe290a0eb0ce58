//! Logs as released versions wrote them: they must be readable for ever.
//!
//! `tests/golden/format-1` was written by the first version: a data folder with two segments,
//! and in `events.txt` what is in it, one line an event.

use std::path::{Path, PathBuf};

use tsunagi_bus::{Bus as _, Cursor, Delivery, Stored};
use tsunagi_event_store::Store;

use crate::support::{config, copy_of, folder};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1")
}

fn line(stored: &Stored) -> String {
    format!(
        "{} {} {} {} {} {} {:08x}",
        stored.stream,
        stored.placed.version,
        stored.placed.position.slot.0,
        stored.placed.position.n,
        stored.placed.recorded_at,
        stored.event,
        crc32c::crc32c(&stored.record)
    )
}

async fn lines(store: &Store) -> Vec<String> {
    let mut lines = Vec::new();
    let mut feed = store.follow(Cursor::start());
    while let Delivery::Events(events) = feed.next().await.unwrap() {
        lines.extend(events.iter().map(line));
    }
    lines
}

#[tokio::test]
async fn the_first_format_is_read_with_its_index_and_without() {
    let events = std::fs::read_to_string(golden().join("events.txt")).unwrap();
    let expected: Vec<_> = events.lines().collect();
    for with_index in [true, false] {
        let folder = folder();
        copy_of(&golden(), folder.path());
        let index = folder.path().join("log/index");
        let files = std::fs::read_dir(&index).unwrap().count();
        assert_eq!(files, 1);
        if !with_index {
            std::fs::remove_dir_all(&index).unwrap();
        }
        let store = Store::open(&config(folder.path())).unwrap();
        assert_eq!(lines(&store).await, expected);
        store.close().unwrap();
        drop(store);
        for entry in std::fs::read_dir(golden().join("log/index")).unwrap() {
            let released = entry.unwrap().path();
            let made = index.join(released.file_name().unwrap());
            let is_same = std::fs::read(&released).unwrap() == std::fs::read(made).unwrap();
            assert!(is_same, "{} is made as it was", released.display());
        }
    }
}
